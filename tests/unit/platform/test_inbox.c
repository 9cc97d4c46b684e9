/* A list without a lock that one thread empties (platform/inbox.h): order, and when a wake-up is due.
 * tests/threads/inbox.c has the threads. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "platform/inbox.h"

static struct inbox inbox;
static size_t woken;

static void count_wakes(void *context)
{
    cr_assert_eq(context, &woken);
    woken++;
}

static void set_up(void)
{
    woken = 0;
    inbox_init(&inbox, count_wakes, &woken);
}

TestSuite(inbox, .init = set_up);

Test(inbox, gives_everything_in_the_order_of_posting)
{
    struct inbox_item items[3];
    cr_expect_null(inbox_take(&inbox));
    for (size_t i = 0; i < 3; i++)
        inbox_post(&inbox, &items[i]);
    struct inbox_item *item = inbox_take(&inbox);
    for (size_t i = 0; i < 3; i++, item = item->next)
        cr_assert_eq(item, &items[i]);
    cr_expect_null(item);
    cr_expect_null(inbox_take(&inbox));
    inbox_leave(&inbox);
}

Test(inbox, who_is_awake_is_not_woken)
{
    struct inbox_item item;
    inbox_post(&inbox, &item);
    cr_expect_eq(woken, 0);
    cr_expect_not(inbox_doze(&inbox), "there is something to take");
    cr_expect_eq(inbox_take(&inbox), &item);
    cr_expect_eq(woken, 0);
}

Test(inbox, who_sleeps_is_woken_once)
{
    struct inbox_item items[2];
    cr_expect(inbox_doze(&inbox));
    inbox_post(&inbox, &items[0]);
    inbox_post(&inbox, &items[1]);
    cr_expect_eq(woken, 1);
    cr_expect(inbox_rise(&inbox), "the wake-up has to be waited for");
    cr_expect_eq(inbox_take(&inbox), &items[0]);
    cr_expect(inbox_doze(&inbox));
    cr_expect_not(inbox_rise(&inbox), "nobody called");
    cr_expect_eq(woken, 1);
}
