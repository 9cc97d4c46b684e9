/* What many threads hand to one that waits elsewhere: a list without a lock, and a wake-up only when the receiver
 * sleeps. For a receiver that waits in a library (a poller, a completion queue) and has to be woken through it; between
 * threads of our own use a mailbox, which is bounded. Here the bound is the senders': an item is part of what it is
 * about, and is on its way at most once. */
#ifndef PLATFORM_INBOX_H
#define PLATFORM_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct inbox_item {
    struct inbox_item *next;
};

enum inbox_receiver { INBOX_AWAKE, INBOX_ASLEEP, INBOX_CALLED };

struct inbox {
    _Atomic(struct inbox_item *) newest;
    _Atomic(enum inbox_receiver) receiver;
    atomic_size_t posting; /* threads inside inbox_post */
    void (*wake)(void *context);
    void *context;
};

/* wake is called by a thread that posts, once each time that the receiver sleeps. It must make the receiver's wait end,
 * soon or later, exactly once. */
void inbox_init(struct inbox *inbox, void (*wake)(void *context), void *context);
/* Waits until no thread is inside inbox_post any more. All that was posted has been taken. */
void inbox_leave(struct inbox *inbox);

/* Any thread. What the item is part of may be gone when it returns, the inbox not. */
void inbox_post(struct inbox *inbox, struct inbox_item *item);

/* --- The receiver --- */

/* All that was posted, in that order; NULL when there is nothing. */
struct inbox_item *inbox_take(struct inbox *inbox);
/* Before it waits. False: there is something to take, do not wait. */
bool inbox_doze(struct inbox *inbox);
/* After inbox_doze said true and the wait has ended, for whatever reason. True: wake was called, or is about to be. It
 * must have had its effect before the next inbox_doze. */
bool inbox_rise(struct inbox *inbox);

#endif
