/* A ring of jobs (pool.h). Three counters that only grow, each modulo the number of jobs:
 *
 *   taken_back <= started <= handed_in <= taken_back + jobs
 *
 * Jobs from taken_back to started are being worked on or done; those from started to handed_in wait for a worker. One
 * lock guards the counters and the marks; work is done without it. Threads are started one by one while jobs wait, so a
 * small piece of work takes one. */
#include "verify/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t handed;   /* a job waits, or the end */
    pthread_cond_t finished; /* a job is done */
    pool_work_fn *work;
    void *const *jobs;
    size_t job_count;
    size_t handed_in;
    size_t started;
    size_t taken_back;
    bool ended;
    bool done[POOL_JOBS_MAX];
    size_t worker_count; /* threads at most; they are started when jobs wait for one */
    size_t thread_count;
    size_t idle_count;
    pthread_t threads[POOL_WORKERS_MAX];
    struct start {
        struct pool *pool;
        size_t worker;
    } starts[POOL_WORKERS_MAX];
};

size_t pool_worker_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    if (count < 1)
        return 1;
    return count > POOL_WORKERS_MAX ? POOL_WORKERS_MAX : (size_t)count;
}

size_t pool_job_count(size_t workers)
{
    return 2 * workers + 2;
}

static void *run(void *argument)
{
    const struct start *start = argument;
    struct pool *pool = start->pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->started == pool->handed_in && !pool->ended) {
            pool->idle_count++;
            pthread_cond_wait(&pool->handed, &pool->lock);
            pool->idle_count--;
        }
        if (pool->started == pool->handed_in)
            break;
        size_t at = pool->started++ % pool->job_count;
        pthread_mutex_unlock(&pool->lock);
        pool->work(pool->jobs[at], start->worker);
        pthread_mutex_lock(&pool->lock);
        pool->done[at] = true;
        pthread_cond_signal(&pool->finished);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int pool_new(size_t workers, void *const *jobs, pool_work_fn *work, struct pool **ret, struct err *err)
{
    PRE(workers >= 1 && workers <= POOL_WORKERS_MAX);
    struct pool *pool = mem_alloc_zero(1, sizeof(*pool));
    if (pool == NULL)
        return err_no_memory(err, "the workers");
    pool->work = work;
    pool->jobs = jobs;
    pool->job_count = pool_job_count(workers);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->handed, NULL);
    pthread_cond_init(&pool->finished, NULL);
    pool->worker_count = workers;
    *ret = pool;
    return 0;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ended = true;
    pthread_cond_broadcast(&pool->handed);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->handed);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

void *pool_free_job(struct pool *pool)
{
    /* Only the owner moves these two. */
    return pool->handed_in - pool->taken_back == pool->job_count ? NULL : pool->jobs[pool->handed_in % pool->job_count];
}

/* One more thread, when there is work for it. Without any the owner does the job itself. */
static void start_thread(struct pool *pool)
{
    size_t at = pool->thread_count;
    pool->starts[at] = (struct start){.pool = pool, .worker = at};
    if (pthread_create(&pool->threads[at], NULL, run, &pool->starts[at]) == 0)
        pool->thread_count++;
}

void pool_submit(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    INVARIANT(pool->handed_in - pool->taken_back < pool->job_count);
    size_t at = pool->handed_in % pool->job_count;
    pool->done[at] = false;
    pool->handed_in++;
    if (pool->idle_count < pool->handed_in - pool->started && pool->thread_count < pool->worker_count)
        start_thread(pool);
    bool alone = pool->thread_count == 0;
    if (alone) {
        pool->started++;
        pool->done[at] = true;
    } else {
        pthread_cond_signal(&pool->handed);
    }
    pthread_mutex_unlock(&pool->lock);
    if (alone)
        pool->work(pool->jobs[at], 0);
}

void *pool_oldest(struct pool *pool)
{
    if (pool->taken_back == pool->handed_in)
        return NULL;
    size_t at = pool->taken_back % pool->job_count;
    pthread_mutex_lock(&pool->lock);
    while (!pool->done[at])
        pthread_cond_wait(&pool->finished, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return pool->jobs[at];
}

void pool_take_back(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    INVARIANT(pool->taken_back < pool->started);
    pool->taken_back++;
    pthread_mutex_unlock(&pool->lock);
}
