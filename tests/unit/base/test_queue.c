#include <criterion/criterion.h>

#include "base/queue.h"

struct job {
    int number;
    struct queue_link link;
};

static struct queue_link head;
static struct job jobs[3] = {{.number = 0}, {.number = 1}, {.number = 2}};

static void set_up(void)
{
    queue_init(&head);
}

TestSuite(queue, .init = set_up);

static int pop_number(void)
{
    struct queue_link *link = queue_pop_front(&head);
    return link == NULL ? -1 : QUEUE_ITEM(link, struct job, link)->number;
}

Test(queue, a_new_queue_is_empty)
{
    cr_assert(queue_empty(&head));
    cr_assert_null(queue_pop_front(&head));
}

Test(queue, first_in_first_out)
{
    for (int i = 0; i < 3; i++)
        queue_push_back(&head, &jobs[i].link);
    cr_assert_not(queue_empty(&head));
    cr_assert_eq(pop_number(), 0);
    cr_assert_eq(pop_number(), 1);
    cr_assert_eq(pop_number(), 2);
    cr_assert(queue_empty(&head));
}

Test(queue, any_item_can_be_taken_out)
{
    for (int removed = 0; removed < 3; removed++) {
        for (int i = 0; i < 3; i++)
            queue_push_back(&head, &jobs[i].link);
        queue_remove(&jobs[removed].link);
        cr_assert_null(jobs[removed].link.next);
        for (int i = 0; i < 3; i++) {
            if (i != removed)
                cr_assert_eq(pop_number(), i);
        }
        cr_assert(queue_empty(&head));
    }
}

Test(queue, an_item_can_be_queued_again)
{
    queue_push_back(&head, &jobs[0].link);
    queue_push_back(&head, &jobs[1].link);
    cr_assert_eq(pop_number(), 0);
    queue_push_back(&head, &jobs[0].link);
    cr_assert_eq(pop_number(), 1);
    cr_assert_eq(pop_number(), 0);
}
