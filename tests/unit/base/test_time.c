#include <criterion/criterion.h>

#include "base/time.h"

Test(hlc, follows_a_wall_clock_that_is_ahead)
{
    hlc time = hlc_next(0, 1700000000123456);
    cr_assert_eq(hlc_unix_ms(time), 1700000000123);
    cr_assert_eq(time & 0xFFFF, 0);
}

Test(hlc, counts_within_one_millisecond)
{
    hlc first = hlc_next(0, 1700000000123000);
    hlc second = hlc_next(first, 1700000000123999);
    cr_assert_eq(second, first + 1);
}

Test(hlc, never_goes_back_when_the_wall_clock_does)
{
    hlc time = hlc_next(0, 1700000000000000);
    for (uint64_t i = 0; i < 100000; i++) {
        hlc next = hlc_next(time, 1600000000000000 + i);
        if (next <= time)
            cr_assert_fail("step %d", (int)i);
        time = next;
    }
    cr_assert_eq(hlc_unix_ms(time), 1700000000001, "the counter runs over into the milliseconds");
}
