/* Workers: each takes every n-th seed, tells the parent about each one over a pipe, and stops at its first failure. A
 * seed is a world of its own, so how many workers there are changes nothing but the time.
 *
 * A broken invariant of the product ends a worker by abort: its handler still tells seed, trace and replay line. */
#include "sim/jobs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/clock.h"

enum { WORKERS_MAX = 64 };

static struct {
    struct world *world;
    const char *planted;
    int pipe;
} current;

static void tell(const struct world *world)
{
    struct result result = {.seed = world->seed,
                            .digest = world->digest,
                            .simulated_us = world->now_us,
                            .failed = world->failed,
                            .counts = world->counts};
    copy_string(result.failure, sizeof(result.failure), world->failure);
    ssize_t written = write(current.pipe, &result, sizeof(result));
    if (written != (ssize_t)sizeof(result))
        _exit(2);
}

/* abort() was called, or memory was misused: this process cannot go on, but it can still say which seed it was. */
static void die(int signal_number)
{
    static volatile sig_atomic_t dying;
    if (dying || current.world == NULL)
        _exit(3);
    dying = 1;
    world_fail(current.world, NULL, "the process ended by signal %d: a broken invariant, see above", signal_number);
    report_failure(current.world, current.planted);
    tell(current.world);
    projector_clean(current.world);
    _exit(3);
}

static void run_worker(const struct job_options *options, uint64_t number, int pipe)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    current.pipe = pipe;
    current.planted = options->planted;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], die);
    for (uint64_t i = number; i < options->seed_count; i += options->worker_count) {
        if (clock_now().mono_us >= options->until_mono_us)
            break;
        struct world *world = world_new(options->first_seed + i, options->trace);
        current.world = world;
        run_seed(world);
        if (world->failed)
            report_failure(world, options->planted);
        tell(world);
        bool failed = world->failed;
        current.world = NULL;
        world_free(world);
        if (failed)
            break;
    }
}

static void show_progress(const struct totals *totals)
{
    fprintf(stderr, "\r%llu seeds, %llu simulated minutes, %llu entries, %llu crashes ",
            (unsigned long long)totals->seeds, (unsigned long long)(totals->simulated_us / (60 * SIM_S)),
            (unsigned long long)totals->counts.entries, (unsigned long long)totals->counts.crashes);
}

static bool read_result(int pipe, struct result *ret)
{
    size_t done = 0;
    while (done < sizeof(*ret)) {
        ssize_t got = read(pipe, (char *)ret + done, sizeof(*ret) - done);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static void stop_workers(const pid_t *workers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kill(workers[i], SIGTERM);
}

int jobs_run(const struct job_options *options, struct totals *totals)
{
    pid_t workers[WORKERS_MAX];
    int ends[2];
    uint64_t count = options->worker_count < WORKERS_MAX ? options->worker_count : WORKERS_MAX;
    static_assert(sizeof(struct result) <= 4096, "a result is written to a pipe in one piece");
    if (pipe(ends) != 0)
        return -1;
    fflush(stdout);
    for (size_t i = 0; i < count; i++) {
        workers[i] = fork();
        if (workers[i] < 0)
            return -1;
        if (workers[i] == 0) {
            close(ends[0]);
            run_worker(options, i, ends[1]);
            exit(0); /* with all that happens at an exit: a sanitizer looks for leaks */
        }
    }
    close(ends[1]);
    struct result result;
    while (read_result(ends[0], &result)) {
        totals_add(totals, &result);
        if (options->progress)
            show_progress(totals);
        if (result.failed)
            stop_workers(workers, count);
    }
    if (options->progress)
        fprintf(stderr, "\n");
    close(ends[0]);
    bool broken = false;
    for (size_t i = 0; i < count; i++) {
        int status = 0;
        broken = broken || waitpid(workers[i], &status, 0) < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 2);
    }
    return broken ? -1 : 0;
}
