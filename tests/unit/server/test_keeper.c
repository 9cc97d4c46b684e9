/* When a region warns of its own certificate. */
#include <criterion/criterion.h>

#include "server/internal.h"

static const uint64_t hour_us = UINT64_C(3600) * 1000000;
static const uint64_t start_us = UINT64_C(1000) * 3600 * 1000000;

Test(keeper, a_good_certificate_is_never_warned_of)
{
    struct certificate_warning last = {0};
    for (uint64_t hour = 0; hour < 100; hour++)
        cr_expect_not(certificate_warning_due(&last, CERTIFICATE_VALID, start_us + hour * hour_us), "%d", (int)hour);
}

Test(keeper, a_certificate_that_ends_is_warned_of_at_once_and_daily)
{
    const enum certificate_state states[] = {CERTIFICATE_ENDS_SOON, CERTIFICATE_EXPIRED};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        struct certificate_warning last = {0};
        for (uint64_t hour = 0; hour < 100; hour++) {
            bool due = certificate_warning_due(&last, states[i], start_us + hour * hour_us);
            cr_expect_eq(due, hour % 24 == 0, "state %zu, hour %d", i, (int)hour);
        }
    }
}

Test(keeper, soon_after_a_start_of_the_machine_it_is_warned_of_too)
{
    struct certificate_warning last = {0};
    cr_expect(certificate_warning_due(&last, CERTIFICATE_ENDS_SOON, 1));
    cr_expect_not(certificate_warning_due(&last, CERTIFICATE_ENDS_SOON, 24 * hour_us));
    cr_expect(certificate_warning_due(&last, CERTIFICATE_ENDS_SOON, 24 * hour_us + 1));
}

Test(keeper, its_end_is_said_though_it_was_warned_of_within_the_day)
{
    struct certificate_warning last = {0};
    cr_expect(certificate_warning_due(&last, CERTIFICATE_ENDS_SOON, start_us));
    cr_expect(certificate_warning_due(&last, CERTIFICATE_EXPIRED, start_us + hour_us));
    cr_expect_not(certificate_warning_due(&last, CERTIFICATE_EXPIRED, start_us + 24 * hour_us));
    cr_expect(certificate_warning_due(&last, CERTIFICATE_EXPIRED, start_us + 25 * hour_us));
}

Test(keeper, one_that_was_replaced_is_warned_of_afresh)
{
    struct certificate_warning last = {0};
    cr_expect(certificate_warning_due(&last, CERTIFICATE_ENDS_SOON, start_us));
    cr_expect_not(certificate_warning_due(&last, CERTIFICATE_VALID, start_us + hour_us));
    cr_expect(certificate_warning_due(&last, CERTIFICATE_ENDS_SOON, start_us + 2 * hour_us));
}
