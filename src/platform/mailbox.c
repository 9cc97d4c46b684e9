/* A ring of pointers under one mutex with two conditions. Deadlines are on the monotonic clock: setting the wall clock
 * neither shortens nor prolongs a wait.
 *
 * Invariants: count <= capacity; the items are at first, first + 1, ..., modulo capacity; once closed, count never
 * grows. */
#include "platform/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"

struct mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    size_t capacity;
    size_t first;
    size_t count;
    bool closed;
    void *items[];
};

struct mailbox *mailbox_new(size_t capacity)
{
    PRE(capacity >= 1);
    struct mailbox *mailbox = mem_alloc_zero(1, sizeof(*mailbox) + capacity * sizeof(void *));
    if (mailbox == NULL)
        return NULL;
    mailbox->capacity = capacity;
    pthread_condattr_t monotonic;
    INVARIANT(pthread_condattr_init(&monotonic) == 0);
    INVARIANT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    INVARIANT(pthread_mutex_init(&mailbox->mutex, NULL) == 0);
    INVARIANT(pthread_cond_init(&mailbox->not_empty, &monotonic) == 0);
    INVARIANT(pthread_cond_init(&mailbox->not_full, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    return mailbox;
}

void mailbox_free(struct mailbox *mailbox)
{
    if (mailbox == NULL)
        return;
    PRE(mailbox->count == 0);
    pthread_cond_destroy(&mailbox->not_empty);
    pthread_cond_destroy(&mailbox->not_full);
    pthread_mutex_destroy(&mailbox->mutex);
    mem_free(mailbox);
}

static int put_locked(struct mailbox *mailbox, void *item)
{
    if (mailbox->closed)
        return ERR_CANCELLED;
    if (mailbox->count == mailbox->capacity)
        return ERR_BUSY;
    mailbox->items[(mailbox->first + mailbox->count) % mailbox->capacity] = item;
    mailbox->count++;
    return 0;
}

/* The receiver is woken when it can have the mutex. */
static int unlock_and_tell(struct mailbox *mailbox, int code)
{
    pthread_mutex_unlock(&mailbox->mutex);
    if (code == 0)
        pthread_cond_signal(&mailbox->not_empty);
    return code;
}

int mailbox_try_send(struct mailbox *mailbox, void *item)
{
    pthread_mutex_lock(&mailbox->mutex);
    return unlock_and_tell(mailbox, put_locked(mailbox, item));
}

int mailbox_send(struct mailbox *mailbox, void *item)
{
    pthread_mutex_lock(&mailbox->mutex);
    while (!mailbox->closed && mailbox->count == mailbox->capacity)
        pthread_cond_wait(&mailbox->not_full, &mailbox->mutex);
    return unlock_and_tell(mailbox, put_locked(mailbox, item));
}

static struct timespec deadline_after_ms(uint64_t timeout_ms)
{
    struct timespec deadline;
    INVARIANT(clock_gettime(CLOCK_MONOTONIC, &deadline) == 0);
    uint64_t nanoseconds = (uint64_t)deadline.tv_nsec + timeout_ms % 1000 * 1000000;
    deadline.tv_sec += (time_t)(timeout_ms / 1000 + nanoseconds / 1000000000);
    deadline.tv_nsec = (long)(nanoseconds % 1000000000);
    return deadline;
}

size_t mailbox_receive(struct mailbox *mailbox, void **items, size_t max, uint64_t timeout_ms)
{
    pthread_mutex_lock(&mailbox->mutex);
    struct timespec deadline = deadline_after_ms(timeout_ms == UINT64_MAX ? 0 : timeout_ms);
    while (mailbox->count == 0 && !mailbox->closed && timeout_ms > 0) {
        if (timeout_ms == UINT64_MAX)
            pthread_cond_wait(&mailbox->not_empty, &mailbox->mutex);
        else if (pthread_cond_timedwait(&mailbox->not_empty, &mailbox->mutex, &deadline) == ETIMEDOUT)
            break;
    }
    size_t taken = 0;
    while (taken < max && mailbox->count > 0) {
        items[taken++] = mailbox->items[mailbox->first];
        mailbox->first = (mailbox->first + 1) % mailbox->capacity;
        mailbox->count--;
    }
    if (taken > 0)
        pthread_cond_broadcast(&mailbox->not_full);
    pthread_mutex_unlock(&mailbox->mutex);
    return taken;
}

void mailbox_close(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->mutex);
    mailbox->closed = true;
    pthread_cond_broadcast(&mailbox->not_empty);
    pthread_cond_broadcast(&mailbox->not_full);
    pthread_mutex_unlock(&mailbox->mutex);
}

bool mailbox_closed(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->mutex);
    bool closed = mailbox->closed;
    pthread_mutex_unlock(&mailbox->mutex);
    return closed;
}
