#include "base/planted.h"

#include <criterion/criterion.h>

#include "tally/error.h"

Test(planted, every_bug_has_a_name_and_a_meaning)
{
    size_t count = 0;
    while (planted_name(count) != NULL) {
        cr_assert_not_null(planted_meaning(count));
        count++;
    }
    cr_assert_geq(count, 10);
    cr_assert_null(planted_meaning(count));
}

/* Only MODE=planted has them: here every one of them is the constant false. */
Test(planted, cannot_be_switched_on_in_this_build)
{
    cr_assert_eq(planted_select("answer_before_durable"), ERR_UNSUPPORTED);
    cr_assert_eq(PLANTED(answer_before_durable), 0);
    cr_assert_eq(planted_select("no such bug"), ERR_NOT_FOUND);
}
