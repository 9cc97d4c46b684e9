#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

Test(assert, what_holds_goes_on)
{
    PRE(1 + 1 == 2);
    INVARIANT(1 < 2);
    POST(2 > 1);
    cr_assert(true);
}

Test(assert, a_broken_precondition_ends_the_process, .signal = SIGABRT)
{
    PRE(1 + 1 == 3);
}

Test(assert, a_broken_invariant_ends_the_process, .signal = SIGABRT)
{
    INVARIANT(1 > 2);
}

Test(assert, a_broken_postcondition_ends_the_process, .signal = SIGABRT)
{
    POST(2 < 1);
}

Test(assert, the_message_names_kind_place_and_condition)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        assert_fail("invariant", "pigs == 0", "farm.c", 17);
    }
    close(ends[1]);
    char said[200] = {0};
    cr_assert_gt(read(ends[0], said, sizeof(said) - 1), 0);
    close(ends[0]);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGABRT);
    cr_assert_str_eq(said, "tallystick: broken invariant at farm.c:17: pigs == 0\n");
}

Test(assert, the_condition_is_evaluated_once)
{
    int count = 0;
    INVARIANT(++count == 1);
    cr_assert_eq(count, 1);
}
