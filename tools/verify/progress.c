/* A line that is written over, at most a few times a second (progress.h). It holds only numbers, and marks that the
 * filter of output.h would take out: it goes past it. */
#include "verify/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { STEP_US = 200 * 1000 };

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void progress_begin(struct progress *progress, const char *unit, uint64_t total)
{
    *progress = (struct progress){.shown = isatty(STDERR_FILENO) == 1, .unit = unit, .total = total};
    progress->begin_us = progress->last_us = now_us();
}

static void show(struct progress *progress, uint64_t elapsed_us)
{
    double seconds = (double)elapsed_us / 1e6;
    double rate = (double)progress->done / seconds;
    char of_total[32] = "", left[32] = "";
    if (progress->total > 0)
        snprintf(of_total, sizeof(of_total), " of %" PRIu64, progress->total);
    if (progress->total > progress->done && rate > 0)
        snprintf(left, sizeof(left), ", %.0f s left", (double)(progress->total - progress->done) / rate);
    dprintf(STDERR_FILENO, "\r\033[K%" PRIu64 "%s %s, %.0f/s, %.0f MB/s%s", progress->done, of_total, progress->unit,
            rate, (double)progress->bytes / 1e6 / seconds, left);
    progress->used = true;
}

void progress_add(struct progress *progress, uint64_t units, uint64_t bytes)
{
    progress->done += units;
    progress->bytes += bytes;
    if (!progress->shown)
        return;
    uint64_t now = now_us();
    if (now - progress->last_us < STEP_US)
        return;
    progress->last_us = now;
    show(progress, now - progress->begin_us);
}

void progress_end(struct progress *progress)
{
    if (progress->used)
        dprintf(STDERR_FILENO, "\r\033[K");
}
