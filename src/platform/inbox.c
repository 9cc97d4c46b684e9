/* A stack that senders push on and the receiver takes as a whole, and a word that says whether the receiver sleeps.
 *
 *   sender     push, then: ASLEEP becomes CALLED, and who made that so wakes
 *   receiver   AWAKE becomes ASLEEP, then: look whether something was pushed; wait; back to AWAKE
 *
 * No wake-up is lost: both sides write first and look afterwards, in one order for all (sequentially consistent), so
 * either the sender sees ASLEEP or the receiver sees what was pushed. None is made twice: of all senders one changes
 * ASLEEP, and the receiver goes to ASLEEP again only once the wake-up has come.
 *
 * A sender still looks at the inbox after its item can be seen. It is counted until it is through, and the receiver,
 * who may let go of everything once it has taken the last item, waits for the count. */
#include "platform/inbox.h"

#include <sched.h>

void inbox_init(struct inbox *inbox, void (*wake)(void *context), void *context)
{
    atomic_init(&inbox->newest, NULL);
    atomic_init(&inbox->receiver, INBOX_AWAKE);
    atomic_init(&inbox->posting, 0);
    inbox->wake = wake;
    inbox->context = context;
}

void inbox_leave(struct inbox *inbox)
{
    while (atomic_load(&inbox->posting) > 0)
        sched_yield();
}

void inbox_post(struct inbox *inbox, struct inbox_item *item)
{
    enum inbox_receiver asleep = INBOX_ASLEEP;
    atomic_fetch_add(&inbox->posting, 1);
    item->next = atomic_load(&inbox->newest);
    while (!atomic_compare_exchange_weak(&inbox->newest, &item->next, item)) {
    }
    if (atomic_load(&inbox->receiver) == INBOX_ASLEEP &&
        atomic_compare_exchange_strong(&inbox->receiver, &asleep, INBOX_CALLED))
        inbox->wake(inbox->context);
    atomic_fetch_sub(&inbox->posting, 1);
}

struct inbox_item *inbox_take(struct inbox *inbox)
{
    struct inbox_item *oldest = NULL;
    if (atomic_load(&inbox->newest) == NULL)
        return NULL;
    struct inbox_item *item = atomic_exchange(&inbox->newest, NULL);
    while (item != NULL) {
        struct inbox_item *before = item->next;
        item->next = oldest;
        oldest = item;
        item = before;
    }
    return oldest;
}

bool inbox_doze(struct inbox *inbox)
{
    enum inbox_receiver asleep = INBOX_ASLEEP;
    atomic_store(&inbox->receiver, INBOX_ASLEEP);
    if (atomic_load(&inbox->newest) == NULL)
        return true;
    /* If a sender was quicker, its wake-up comes: then waiting does no harm. */
    return !atomic_compare_exchange_strong(&inbox->receiver, &asleep, INBOX_AWAKE);
}

bool inbox_rise(struct inbox *inbox)
{
    return atomic_exchange(&inbox->receiver, INBOX_AWAKE) == INBOX_CALLED;
}
