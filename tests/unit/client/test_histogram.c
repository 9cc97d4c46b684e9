#include <criterion/criterion.h>

#include "tally/histogram.h"

static struct histogram histogram;

static void set_up(void)
{
    histogram_init(&histogram);
}

TestSuite(histogram, .init = set_up);

Test(histogram, an_empty_one_has_no_percentiles)
{
    cr_expect_eq(histogram_at(&histogram, 500000), 0);
    cr_expect_eq(histogram_up_to(&histogram, UINT64_MAX), 0);
}

Test(histogram, small_values_are_exact)
{
    for (uint64_t value = 1; value <= 31; value++)
        histogram_add(&histogram, value);
    cr_expect_eq(histogram_at(&histogram, 1000000), 31);
    cr_expect_eq(histogram_at(&histogram, 500000), 16);
    cr_expect_eq(histogram_at(&histogram, 1), 1);
    cr_expect_eq(histogram_up_to(&histogram, 10), 10);
}

Test(histogram, every_value_is_known_to_a_thirtysecond)
{
    for (uint64_t value = 1; value < (1ull << 40); value = value * 5 / 4 + 1) {
        histogram_init(&histogram);
        histogram_add(&histogram, value);
        histogram_add(&histogram, 1ull << 41);
        uint64_t found = histogram_at(&histogram, 500000);
        cr_assert(found >= value && found - value <= value / 32, "%llu as %llu", (unsigned long long)value,
                  (unsigned long long)found);
    }
}

Test(histogram, no_percentile_is_above_the_largest_value)
{
    histogram_add(&histogram, 1000001);
    cr_expect_eq(histogram_at(&histogram, 990000), 1000001);
    histogram_init(&histogram);
    histogram_add(&histogram, UINT64_MAX);
    cr_expect_eq(histogram_at(&histogram, 990000), UINT64_MAX);
}

Test(histogram, a_percentile_is_the_value_that_so_many_do_not_exceed)
{
    for (int i = 0; i < 990; i++)
        histogram_add(&histogram, 10);
    for (int i = 0; i < 10; i++)
        histogram_add(&histogram, 20);
    cr_expect_eq(histogram_at(&histogram, 990000), 10);
    cr_expect_eq(histogram_at(&histogram, 990001), 20);
}
