/* Two senders and one receiver that sleeps on a semaphore whenever it may, under ThreadSanitizer: every item arrives
 * once, each sender's in order, no wake-up is lost and none is made twice. Senders are at most a few items ahead, so
 * that a receiver which missed its wake-up sleeps for ever, and the alarm ends the test. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "platform/inbox.h"

enum { SENDERS = 2, ITEMS_EACH = 20000, AHEAD_MAX = 1 };

struct thing {
    struct inbox_item item; /* first */
    unsigned sender;
    unsigned number;
};

static struct inbox inbox;
static struct thing things[SENDERS][ITEMS_EACH];
static atomic_uint taken[SENDERS];
static sem_t bell;

static void ring(void *context)
{
    INVARIANT(context == &bell);
    INVARIANT(sem_post(&bell) == 0);
}

static void *send_all(void *context)
{
    struct thing *own = context;
    for (unsigned i = 0; i < ITEMS_EACH; i++) {
        own[i].number = i;
        while (i >= atomic_load(&taken[own[i].sender]) + AHEAD_MAX)
            sched_yield();
        inbox_post(&inbox, &own[i].item);
    }
    return NULL;
}

static void take_all(unsigned next[SENDERS], size_t *total)
{
    for (struct inbox_item *item = inbox_take(&inbox); item != NULL; item = item->next) {
        const struct thing *thing = (const struct thing *)(const void *)item;
        INVARIANT(thing->number == next[thing->sender]);
        next[thing->sender]++;
        atomic_store(&taken[thing->sender], next[thing->sender]);
        (*total)++;
    }
}

int main(void)
{
    pthread_t senders[SENDERS];
    unsigned next[SENDERS] = {0};
    size_t total = 0;
    size_t slept = 0;
    (void)alarm(120);
    INVARIANT(sem_init(&bell, 0, 0) == 0);
    inbox_init(&inbox, ring, &bell);
    for (unsigned i = 0; i < SENDERS; i++) {
        for (unsigned n = 0; n < ITEMS_EACH; n++)
            things[i][n].sender = i;
        INVARIANT(pthread_create(&senders[i], NULL, send_all, things[i]) == 0);
    }
    while (total < (size_t)SENDERS * ITEMS_EACH) {
        take_all(next, &total);
        if (total % 16 == 0)
            sched_yield(); /* often something is posted between looking and dozing */
        if (total == (size_t)SENDERS * ITEMS_EACH || !inbox_doze(&inbox))
            continue;
        INVARIANT(sem_wait(&bell) == 0);
        INVARIANT(inbox_rise(&inbox));
        slept++;
    }
    inbox_leave(&inbox);
    INVARIANT(sem_trywait(&bell) != 0);
    for (size_t i = 0; i < SENDERS; i++)
        INVARIANT(pthread_join(senders[i], NULL) == 0);
    INVARIANT(sem_destroy(&bell) == 0);
    printf("  TSAN   inbox: %zu items from %d senders, the receiver slept %s\n", total, SENDERS,
           slept > 0 ? "meanwhile" : "never");
    return 0;
}
