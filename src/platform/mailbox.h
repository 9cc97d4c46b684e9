/* A bounded queue of pointers between threads: many senders, one or more receivers. The bound is the back-pressure. */
#ifndef PLATFORM_MAILBOX_H
#define PLATFORM_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mailbox;

/* Owned by the caller: mailbox_free. capacity at least 1. NULL when memory runs out. */
struct mailbox *mailbox_new(size_t capacity);
/* The mailbox must be empty and nobody may be waiting. */
void mailbox_free(struct mailbox *mailbox);

/* Never waits: ERR_BUSY when full, ERR_CANCELLED once closed. Ownership of item passes on success. */
int mailbox_try_send(struct mailbox *mailbox, void *item) MUST_USE;
/* Waits for room; ERR_CANCELLED once closed. */
int mailbox_send(struct mailbox *mailbox, void *item) MUST_USE;
/* Takes up to max items in order; waits up to timeout_ms for the first (0: do not wait, UINT64_MAX: for ever).
 * Returns the count; 0 on timeout, or when closed and empty. */
size_t mailbox_receive(struct mailbox *mailbox, void **items, size_t max, uint64_t timeout_ms);
/* Senders are refused from now on, receivers drain what is left and are then woken with 0. Idempotent. */
void mailbox_close(struct mailbox *mailbox);
bool mailbox_closed(struct mailbox *mailbox);

#endif
