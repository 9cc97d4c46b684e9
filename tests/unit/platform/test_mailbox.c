#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>

#include "base/mem.h"
#include "platform/clock.h"
#include "platform/mailbox.h"

static int items[4];

Test(mailbox, first_in_first_out)
{
    struct mailbox *mailbox = mailbox_new(4);
    void *got[4];
    for (int round = 0; round < 3; round++) { /* round the end of the ring */
        for (int i = 0; i < 3; i++)
            cr_assert_eq(mailbox_try_send(mailbox, &items[i]), 0);
        cr_assert_eq(mailbox_receive(mailbox, got, 4, 0), 3);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(got[i], &items[i]);
    }
    mailbox_free(mailbox);
}

Test(mailbox, a_full_one_refuses)
{
    struct mailbox *mailbox = mailbox_new(2);
    void *got[4];
    cr_assert_eq(mailbox_try_send(mailbox, &items[0]), 0);
    cr_assert_eq(mailbox_try_send(mailbox, &items[1]), 0);
    cr_assert_eq(mailbox_try_send(mailbox, &items[2]), ERR_BUSY);
    cr_assert_eq(mailbox_receive(mailbox, got, 1, 0), 1);
    cr_assert_eq(mailbox_try_send(mailbox, &items[2]), 0);
    cr_assert_eq(mailbox_receive(mailbox, got, 4, 0), 2);
    cr_assert_eq(got[1], &items[2]);
    mailbox_free(mailbox);
}

Test(mailbox, receive_takes_at_most_max)
{
    struct mailbox *mailbox = mailbox_new(4);
    void *got[4] = {0};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(mailbox_try_send(mailbox, &items[i]), 0);
    cr_assert_eq(mailbox_receive(mailbox, got, 0, UINT64_MAX), 0);
    cr_assert_eq(mailbox_receive(mailbox, got, 3, UINT64_MAX), 3);
    cr_assert_null(got[3]);
    cr_assert_eq(mailbox_receive(mailbox, got, 3, UINT64_MAX), 1);
    cr_assert_eq(got[0], &items[3]);
    mailbox_free(mailbox);
}

Test(mailbox, an_empty_one_times_out)
{
    struct mailbox *mailbox = mailbox_new(1);
    void *got[1];
    cr_assert_eq(mailbox_receive(mailbox, got, 1, 0), 0);
    uint64_t before = clock_now().mono_us;
    cr_assert_eq(mailbox_receive(mailbox, got, 1, 30), 0);
    uint64_t waited_us = clock_now().mono_us - before;
    cr_assert_geq(waited_us, 30000);
    cr_assert_lt(waited_us, 5000000);
    mailbox_free(mailbox);
}

Test(mailbox, a_closed_one_refuses_senders_and_is_drained)
{
    struct mailbox *mailbox = mailbox_new(2);
    void *got[2];
    cr_assert_eq(mailbox_try_send(mailbox, &items[0]), 0);
    cr_assert_not(mailbox_closed(mailbox));
    mailbox_close(mailbox);
    mailbox_close(mailbox);
    cr_assert(mailbox_closed(mailbox));
    cr_assert_eq(mailbox_try_send(mailbox, &items[1]), ERR_CANCELLED);
    cr_assert_eq(mailbox_send(mailbox, &items[1]), ERR_CANCELLED);
    cr_assert_eq(mailbox_receive(mailbox, got, 2, UINT64_MAX), 1);
    cr_assert_eq(mailbox_receive(mailbox, got, 2, UINT64_MAX), 0);
    mailbox_free(mailbox);
}

static void *close_soon(void *mailbox)
{
    clock_sleep_ms(20);
    mailbox_close(mailbox);
    return NULL;
}

Test(mailbox, closing_wakes_a_waiting_receiver, .timeout = 20)
{
    struct mailbox *mailbox = mailbox_new(1);
    pthread_t closer;
    void *got[1];
    cr_assert_eq(pthread_create(&closer, NULL, close_soon, mailbox), 0);
    cr_assert_eq(mailbox_receive(mailbox, got, 1, UINT64_MAX), 0);
    pthread_join(closer, NULL);
    mailbox_free(mailbox);
}

Test(mailbox, closing_wakes_a_waiting_sender, .timeout = 20)
{
    struct mailbox *mailbox = mailbox_new(1);
    pthread_t closer;
    void *got[1];
    cr_assert_eq(mailbox_send(mailbox, &items[0]), 0);
    cr_assert_eq(pthread_create(&closer, NULL, close_soon, mailbox), 0);
    cr_assert_eq(mailbox_send(mailbox, &items[1]), ERR_CANCELLED);
    pthread_join(closer, NULL);
    cr_assert_eq(mailbox_receive(mailbox, got, 1, 0), 1);
    mailbox_free(mailbox);
}

static void *receive_soon(void *mailbox)
{
    static void *got[1];
    clock_sleep_ms(20);
    cr_assert_eq(mailbox_receive(mailbox, got, 1, UINT64_MAX), 1);
    return got[0];
}

Test(mailbox, room_wakes_a_waiting_sender, .timeout = 20)
{
    struct mailbox *mailbox = mailbox_new(1);
    pthread_t receiver;
    void *got[1];
    void *first = NULL;
    cr_assert_eq(mailbox_send(mailbox, &items[0]), 0);
    cr_assert_eq(pthread_create(&receiver, NULL, receive_soon, mailbox), 0);
    cr_assert_eq(mailbox_send(mailbox, &items[1]), 0);
    pthread_join(receiver, &first);
    cr_assert_eq(first, &items[0]);
    cr_assert_eq(mailbox_receive(mailbox, got, 1, 0), 1);
    cr_assert_eq(got[0], &items[1]);
    mailbox_free(mailbox);
}

/* Many senders through a small mailbox, many receivers: every message arrives once, and each receiver sees each
 * sender's messages in order. */
enum { SENDERS = 4, RECEIVERS = 3, MESSAGES = 5000 };

struct message {
    int sender;
    int number;
    int seen;
};

static struct message messages[SENDERS][MESSAGES];
static struct mailbox *shared;

static void *send_all(void *context)
{
    struct message *own = context;
    for (int i = 0; i < MESSAGES; i++) {
        int code = ERR_BUSY;
        if (i % 3 == 0)
            code = mailbox_try_send(shared, &own[i]);
        if (code == ERR_BUSY)
            code = mailbox_send(shared, &own[i]);
        cr_assert_eq(code, 0);
    }
    return NULL;
}

static void *receive_all(void *context)
{
    (void)context;
    int last[SENDERS] = {-1, -1, -1, -1};
    void *got[5];
    size_t count;
    while ((count = mailbox_receive(shared, got, 5, UINT64_MAX)) > 0) {
        for (size_t i = 0; i < count; i++) {
            struct message *message = got[i];
            message->seen++;
            cr_assert_gt(message->number, last[message->sender]);
            last[message->sender] = message->number;
        }
    }
    return NULL;
}

Test(mailbox, nothing_is_lost_or_doubled_between_threads, .timeout = 60)
{
    pthread_t senders[SENDERS], receivers[RECEIVERS];
    shared = mailbox_new(7);
    for (int i = 0; i < RECEIVERS; i++)
        cr_assert_eq(pthread_create(&receivers[i], NULL, receive_all, NULL), 0);
    for (int i = 0; i < SENDERS; i++) {
        for (int n = 0; n < MESSAGES; n++)
            messages[i][n] = (struct message){.sender = i, .number = n};
        cr_assert_eq(pthread_create(&senders[i], NULL, send_all, messages[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    mailbox_close(shared);
    for (int i = 0; i < RECEIVERS; i++)
        pthread_join(receivers[i], NULL);
    for (int i = 0; i < SENDERS; i++) {
        for (int n = 0; n < MESSAGES; n++) {
            if (messages[i][n].seen != 1)
                cr_assert_fail("message %d of sender %d was seen %d times", n, i, messages[i][n].seen);
        }
    }
    mailbox_free(shared);
}

Test(mailbox, running_out_of_memory_gives_none)
{
    mem_fail_at(1);
    cr_assert_null(mailbox_new(4));
    mailbox_free(NULL);
}

Test(mailbox, freeing_one_that_holds_items_is_a_bug, .signal = SIGABRT)
{
    struct mailbox *mailbox = mailbox_new(4);
    cr_assert_eq(mailbox_try_send(mailbox, &items[0]), 0);
    mailbox_free(mailbox);
}

Test(mailbox, one_without_room_is_a_bug, .signal = SIGABRT)
{
    (void)mailbox_new(0);
}
