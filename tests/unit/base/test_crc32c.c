#include <criterion/criterion.h>

#include "base/crc32c.h"
#include "base/prng.h"

/* RFC 3720 appendix B.4, and the check value of the catalogue of CRCs. */
Test(crc32c, published_values)
{
    uint8_t block[32] = {0};
    cr_assert_eq(crc32c(0, BYTES_LITERAL("123456789")), 0xe3069283);
    cr_assert_eq(crc32c(0, bytes_of(block, 32)), 0x8a9136aa);
    memset(block, 0xff, 32);
    cr_assert_eq(crc32c(0, bytes_of(block, 32)), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        block[i] = i;
    cr_assert_eq(crc32c(0, bytes_of(block, 32)), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        block[i] = (uint8_t)(31 - i);
    cr_assert_eq(crc32c(0, bytes_of(block, 32)), 0x113fdb5c);
}

Test(crc32c, nothing_changes_nothing)
{
    cr_assert_eq(crc32c(0, bytes_of(NULL, 0)), 0);
    cr_assert_eq(crc32c(0x12345678, bytes_of(NULL, 0)), 0x12345678);
    cr_assert_eq(crc32c_portable(0x12345678, bytes_of(NULL, 0)), 0x12345678);
}

Test(crc32c, cpu_and_table_agree_at_every_size_and_alignment)
{
    struct prng prng;
    uint8_t data[300];
    prng_seed(&prng, 1);
    prng_fill(&prng, data, sizeof(data));
    for (size_t start = 0; start < 9; start++) {
        for (size_t size = 0; size + start <= sizeof(data); size++) {
            struct bytes piece = bytes_of(data + start, size);
            if (crc32c(7, piece) != crc32c_portable(7, piece))
                cr_assert_fail("start %zu size %zu", start, size);
        }
    }
}

/* Long data goes in lanes of 1,024 bytes, three at a time. */
Test(crc32c, cpu_and_table_agree_where_lanes_begin_and_end)
{
    struct prng prng;
    uint8_t data[2 * 3072 + 40];
    prng_seed(&prng, 2);
    prng_fill(&prng, data, sizeof(data));
    for (size_t lanes = 1; lanes <= 6; lanes++) {
        for (size_t size = 1024 * lanes - 20; size < 1024 * lanes + 20; size++) {
            struct bytes piece = bytes_of(data + lanes, size);
            cr_assert_eq(crc32c(7, piece), crc32c_portable(7, piece), "size %zu", size);
        }
    }
}

Test(crc32c, pieces_give_the_same_sum_as_the_whole)
{
    struct bytes whole = BYTES_LITERAL("append-only, hash-chained, replicated");
    uint32_t expected = crc32c(0, whole);
    for (size_t cut = 0; cut <= whole.size_bytes; cut++) {
        uint32_t first = crc32c(0, bytes_of(whole.data, cut));
        cr_assert_eq(crc32c(first, bytes_of(whole.data + cut, whole.size_bytes - cut)), expected);
    }
}

Test(crc32c, every_flipped_bit_is_seen)
{
    uint8_t data[64] = {1, 2, 3};
    uint32_t expected = crc32c(0, bytes_of(data, sizeof(data)));
    for (size_t bit = 0; bit < 8 * sizeof(data); bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(crc32c(0, bytes_of(data, sizeof(data))), expected);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
