#include <criterion/criterion.h>

#include "base/siphash.h"

/* From the authors' reference: key 00 01 .. 0f, input 00 01 .. (n - 1). */
Test(siphash, reference_values)
{
    static const struct {
        size_t size;
        uint64_t hash;
    } table[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
        {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}, {63, 0x958a324ceb064572},
    };
    uint8_t key[16];
    uint8_t input[64];
    for (uint8_t i = 0; i < 64; i++)
        input[i] = i;
    memcpy(key, input, 16);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        cr_assert_eq(siphash24(key, bytes_of(input, table[i].size)), table[i].hash, "size %zu", table[i].size);
}

Test(siphash, another_key_gives_another_hash)
{
    uint8_t a[16] = {0};
    uint8_t b[16] = {0};
    b[15] = 1;
    cr_assert_neq(siphash24(a, BYTES_LITERAL("x")), siphash24(b, BYTES_LITERAL("x")));
    b[15] = 0;
    b[0] = 1;
    cr_assert_neq(siphash24(a, BYTES_LITERAL("x")), siphash24(b, BYTES_LITERAL("x")));
}

Test(siphash, trailing_zeros_count)
{
    uint8_t key[16] = {0};
    uint8_t zeros[16] = {0};
    for (size_t size = 0; size < 16; size++)
        cr_assert_neq(siphash24(key, bytes_of(zeros, size)), siphash24(key, bytes_of(zeros, size + 1)));
    cr_assert_eq(siphash24(key, bytes_of(NULL, 0)), siphash24(key, bytes_of(zeros, 0)));
}
