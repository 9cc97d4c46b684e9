/* Jobs done by many threads and taken back in the order in which they were handed in.
 *
 * The jobs are the caller's and are reused, so memory does not grow with the work. One thread (the owner) hands in and
 * takes back; the workers only see the job that they are given. */
#ifndef VERIFY_POOL_H
#define VERIFY_POOL_H

#include <stddef.h>

#include "base/err.h"

enum { POOL_WORKERS_MAX = 64, POOL_JOBS_MAX = 2 * POOL_WORKERS_MAX + 2 };

struct pool;

/* Runs in a worker's thread. `worker` is below the number of workers: for memory that each of them has for itself. */
typedef void pool_work_fn(void *job, size_t worker);

/* As many workers as there are processors for this process, at most POOL_WORKERS_MAX. */
size_t pool_worker_count(void);
/* How many jobs keep that many workers busy. */
size_t pool_job_count(size_t workers);

/* jobs: pool_job_count(workers) pointers, which stay the caller's; none is touched before it is handed in. *ret is
 * owned by the caller: pool_free. ERR_NO_MEMORY. Where no thread can be started, the owner does the work. */
int pool_new(size_t workers, void *const *jobs, pool_work_fn *work, struct pool **ret, struct err *err) MUST_USE;
/* Waits for jobs that are under way. NULL is fine. */
void pool_free(struct pool *pool);

/* The job to fill next, or NULL while all are handed in. */
void *pool_free_job(struct pool *pool);
/* Hands in the job that pool_free_job gave. */
void pool_submit(struct pool *pool);
/* The oldest job that was handed in, once it is done; NULL when there is none. It stays so until pool_take_back. */
void *pool_oldest(struct pool *pool);
void pool_take_back(struct pool *pool);

#endif
