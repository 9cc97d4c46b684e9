#include <criterion/criterion.h>
#include <time.h>

#include "base/bytes.h"
#include "platform/clock.h"

Test(clock, the_wall_clock_is_the_systems)
{
    uint64_t before = (uint64_t)time(NULL);
    struct time_now now = clock_now();
    uint64_t after = (uint64_t)time(NULL);
    cr_assert_geq(now.wall_us / 1000000 + 1, before);
    cr_assert_leq(now.wall_us / 1000000, after + 1);
}

Test(clock, the_monotonic_clock_never_goes_back)
{
    uint64_t last = clock_now().mono_us;
    for (int i = 0; i < 100000; i++) {
        uint64_t next = clock_now().mono_us;
        if (next < last)
            cr_assert_fail("went back at step %d", i);
        last = next;
    }
}

Test(clock, sleep_lasts_as_long_as_asked)
{
    uint64_t before = clock_now().mono_us;
    clock_sleep_ms(30);
    uint64_t slept_us = clock_now().mono_us - before;
    cr_assert_geq(slept_us, 30000);
    cr_assert_lt(slept_us, 5000000);
    clock_sleep_ms(0);
}

Test(entropy, fills_all_of_it_and_no_more)
{
    uint8_t seen[300] = {0};
    uint8_t random[302];
    random[0] = random[301] = 0xEE;
    for (int round = 0; round < 20; round++) {
        entropy_fill(random + 1, 300);
        for (int i = 0; i < 300; i++)
            seen[i] |= random[i + 1];
    }
    for (int i = 0; i < 300; i++)
        cr_assert_neq(seen[i], 0, "byte %d is never set", i);
    cr_assert_eq(random[0], 0xEE);
    cr_assert_eq(random[301], 0xEE);
    entropy_fill(NULL, 0);
}

Test(entropy, never_the_same_twice)
{
    uint8_t a[16], b[16];
    entropy_fill(a, sizeof(a));
    entropy_fill(b, sizeof(b));
    cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
}

/* The example of RFC 9562 appendix A.6. */
Test(uuid_v7, published_example)
{
    static const uint8_t random[10] = {0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
    uint8_t id[16];
    char text[UUID_TEXT_SIZE + 1];
    uuid_v7(0x017F22E279B0, random, id);
    uuid_format(id, text);
    cr_assert_str_eq(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

Test(uuid_v7, version_and_variant_whatever_the_random_bytes)
{
    uint8_t random[10];
    for (int byte = 0; byte < 256; byte += 51) {
        uint8_t id[16];
        memset(random, byte, sizeof(random));
        uuid_v7(UINT64_MAX, random, id);
        cr_assert_eq(id[6] >> 4, 7);
        cr_assert_eq(id[8] >> 6, 2);
        cr_assert_eq(id[0], 0xFF);
    }
}

Test(uuid_v7, sorts_by_time)
{
    uint8_t high[10], low[10] = {0};
    uint8_t earlier[16], later[16];
    memset(high, 0xFF, sizeof(high));
    uuid_v7(1000, high, earlier);
    uuid_v7(1001, low, later);
    cr_assert_lt(memcmp(earlier, later, 16), 0);
}

Test(entropy, a_pool_gives_each_byte_once)
{
    static struct entropy_pool pool;
    static uint8_t drawn[200][16];
    for (size_t i = 0; i < 200; i++)
        entropy_take(&pool, drawn[i], sizeof(drawn[i]));
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(memcmp(drawn[i], drawn[j], sizeof(drawn[i])), 0);
    }
    for (size_t i = pool.left; i < ENTROPY_POOL_BYTES; i++)
        cr_assert_eq(pool.bytes[i], 0, "what was given out is still there");
}
