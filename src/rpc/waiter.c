/* Waiting for batches (rpc.h). sem_post is one atomic addition, and a system call only when somebody sleeps; since
 * glibc 2.21 it looks at nothing after the addition, so the semaphore may be destroyed as soon as the post is taken. */
#include <errno.h>
#include <time.h>

#include "base/assert.h"
#include "rpc/rpc.h"

void rpc_waiter_init(struct rpc_waiter *waiter)
{
    INVARIANT(sem_init(&waiter->finished, 0, 0) == 0);
    atomic_init(&waiter->owed, 0);
}

void rpc_waiter_destroy(struct rpc_waiter *waiter)
{
    while (atomic_load(&waiter->owed) > 0)
        (void)rpc_waiter_take(waiter, UINT64_MAX);
    INVARIANT(sem_destroy(&waiter->finished) == 0);
}

void rpc_waiter_expect(struct rpc_waiter *waiter)
{
    atomic_fetch_add(&waiter->owed, 1);
}

void rpc_waiter_post(struct rpc_waiter *waiter)
{
    INVARIANT(sem_post(&waiter->finished) == 0);
}

bool rpc_waiter_take(struct rpc_waiter *waiter, uint64_t until_mono_us)
{
    struct timespec until = {.tv_sec = (time_t)(until_mono_us / 1000000),
                             .tv_nsec = (long)(until_mono_us % 1000000) * 1000};
    int waited = 0;
    do
        waited = until_mono_us == UINT64_MAX ? sem_wait(&waiter->finished)
                                             : sem_clockwait(&waiter->finished, CLOCK_MONOTONIC, &until);
    while (waited != 0 && errno == EINTR);
    if (waited != 0)
        return false;
    atomic_fetch_sub(&waiter->owed, 1);
    return true;
}
