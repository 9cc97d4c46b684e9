/* The verifier's pool of workers, whose jobs the owner reads without a lock once they are done. */
#include "verify/pool.h"
#include "verify/pool.c"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { JOBS = 20000, WORKERS = 4 };

struct job {
    uint64_t in;
    uint64_t out;
};

static uint64_t done_by[WORKERS]; /* each worker's own */

static void square(void *context, size_t worker)
{
    struct job *job = context;
    job->out = job->in * job->in;
    done_by[worker]++;
}

int main(void)
{
    struct job storage[POOL_JOBS_MAX];
    void *jobs[POOL_JOBS_MAX];
    struct pool *pool = NULL;
    for (size_t i = 0; i < POOL_JOBS_MAX; i++)
        jobs[i] = &storage[i];
    INVARIANT(pool_new(WORKERS, jobs, square, &pool, NULL) == 0);
    uint64_t handed_in = 0;
    for (uint64_t taken = 0; taken < JOBS;) {
        struct job *next = handed_in < JOBS ? pool_free_job(pool) : NULL;
        if (next != NULL) {
            next->in = handed_in++;
            pool_submit(pool);
            continue;
        }
        const struct job *oldest = pool_oldest(pool);
        INVARIANT(oldest->out == taken * taken);
        pool_take_back(pool);
        taken++;
    }
    pool_free(pool);
    uint64_t total = 0;
    for (size_t i = 0; i < WORKERS; i++)
        total += done_by[i];
    INVARIANT(total == JOBS);
    printf("  TSAN   pool: %d jobs in order\n", JOBS);
    return 0;
}
