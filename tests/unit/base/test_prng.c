#include <criterion/criterion.h>
#include <signal.h>

#include "base/prng.h"

/* The authors' published sequence for seed 1234567. */
Test(prng, seeding_is_splitmix64)
{
    struct prng prng;
    prng_seed(&prng, 1234567);
    cr_assert_eq(prng.state[0], 6457827717110365317u);
    cr_assert_eq(prng.state[1], 3203168211198807973u);
    cr_assert_eq(prng.state[2], 9817491932198370423u);
    cr_assert_eq(prng.state[3], 4593380528125082431u);
}

/* The sequence that other implementations are tested with: state 1, 2, 3, 4. */
Test(prng, numbers_are_xoshiro256_starstar)
{
    static const uint64_t expected[] = {
        11520u,
        0u,
        1509978240u,
        1215971899390074240u,
        1216172134540287360u,
        607988272756665600u,
        16172922978634559625u,
        8476171486693032832u,
        10595114339597558777u,
        2904607092377533576u,
    };
    struct prng prng = {.state = {1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_eq(prng_next(&prng), expected[i], "number %zu", i);
}

Test(prng, same_seed_same_numbers_other_seed_others)
{
    struct prng a, b, c;
    prng_seed(&a, 5);
    prng_seed(&b, 5);
    prng_seed(&c, 6);
    size_t same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t number = prng_next(&a);
        cr_assert_eq(number, prng_next(&b));
        same += number == prng_next(&c);
    }
    cr_assert_eq(same, 0);
}

Test(prng, below_stays_below_and_reaches_every_value_evenly)
{
    struct prng prng;
    size_t counts[10] = {0};
    prng_seed(&prng, 7);
    for (int i = 0; i < 100000; i++) {
        uint64_t number = prng_below(&prng, 10);
        cr_assert_lt(number, 10);
        counts[number]++;
    }
    for (int i = 0; i < 10; i++) {
        cr_assert_gt(counts[i], 9500);
        cr_assert_lt(counts[i], 10500);
    }
}

/* With bound 3 * 2^62 plain modulo would hit the lowest third twice as often as each of the others. */
Test(prng, below_has_no_modulo_bias)
{
    struct prng prng;
    size_t low = 0;
    prng_seed(&prng, 8);
    for (int i = 0; i < 30000; i++)
        low += prng_below(&prng, (uint64_t)3 << 62) < (uint64_t)1 << 62;
    cr_assert_gt(low, 9500);
    cr_assert_lt(low, 10500);
}

Test(prng, below_takes_the_extreme_bounds)
{
    struct prng prng;
    prng_seed(&prng, 9);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(prng_below(&prng, 1), 0);
        cr_assert_lt(prng_below(&prng, UINT64_MAX), UINT64_MAX);
    }
}

Test(prng, a_bound_of_nothing_is_a_bug, .signal = SIGABRT)
{
    struct prng prng;
    prng_seed(&prng, 9);
    (void)prng_below(&prng, 0);
}

Test(prng, fill_writes_all_bytes_and_no_more)
{
    for (size_t size = 0; size < 40; size++) {
        struct prng prng;
        uint8_t bytes[42];
        memset(bytes, 0xEE, sizeof(bytes));
        prng_seed(&prng, 10);
        prng_fill(&prng, bytes, size);
        cr_assert_eq(bytes[size], 0xEE);
        uint8_t longer[42];
        prng_seed(&prng, 10);
        prng_fill(&prng, longer, 40);
        cr_assert_eq(memcmp(bytes, longer, size), 0, "a shorter fill is a prefix of a longer one");
    }
}
