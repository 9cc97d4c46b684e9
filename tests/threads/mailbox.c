/* Four senders and two receivers on one small mailbox, under ThreadSanitizer: every item arrives once, each sender's in
 * order. A program of its own, because Criterion does not start under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "platform/mailbox.h"

enum { SENDERS = 4, RECEIVERS = 2, ITEMS_EACH = 20000, CAPACITY = 16, TAKE_MAX = 5 };

static struct mailbox *mailbox;
static unsigned values[SENDERS][ITEMS_EACH];
static atomic_uint seen[SENDERS][ITEMS_EACH];

static void *send_all(void *context)
{
    unsigned *own = context;
    for (unsigned i = 0; i < ITEMS_EACH; i++) {
        own[i] = i;
        int code = i % 3 == 0 ? mailbox_try_send(mailbox, &own[i]) : ERR_BUSY;
        if (code != 0)
            code = mailbox_send(mailbox, &own[i]);
        INVARIANT(code == 0);
    }
    return NULL;
}

static void *receive_all(void *context)
{
    void *items[TAKE_MAX];
    int64_t last[SENDERS] = {-1, -1, -1, -1};
    (void)context;
    for (;;) {
        size_t count = mailbox_receive(mailbox, items, TAKE_MAX, UINT64_MAX);
        if (count == 0)
            return NULL;
        for (size_t i = 0; i < count; i++) {
            unsigned *item = items[i];
            size_t sender = (size_t)(item - &values[0][0]) / ITEMS_EACH;
            INVARIANT(*item > last[sender] || last[sender] == -1);
            last[sender] = *item;
            atomic_fetch_add(&seen[sender][*item], 1);
        }
    }
}

int main(void)
{
    pthread_t senders[SENDERS];
    pthread_t receivers[RECEIVERS];
    mailbox = mailbox_new(CAPACITY);
    INVARIANT(mailbox != NULL);
    for (size_t i = 0; i < RECEIVERS; i++)
        INVARIANT(pthread_create(&receivers[i], NULL, receive_all, NULL) == 0);
    for (size_t i = 0; i < SENDERS; i++)
        INVARIANT(pthread_create(&senders[i], NULL, send_all, values[i]) == 0);
    for (size_t i = 0; i < SENDERS; i++)
        INVARIANT(pthread_join(senders[i], NULL) == 0);
    mailbox_close(mailbox);
    for (size_t i = 0; i < RECEIVERS; i++)
        INVARIANT(pthread_join(receivers[i], NULL) == 0);
    for (size_t sender = 0; sender < SENDERS; sender++) {
        for (size_t i = 0; i < ITEMS_EACH; i++)
            INVARIANT(atomic_load(&seen[sender][i]) == 1);
    }
    mailbox_free(mailbox);
    printf("  TSAN   mailbox: %d items from %d senders to %d receivers\n", SENDERS * ITEMS_EACH, SENDERS, RECEIVERS);
    return 0;
}
