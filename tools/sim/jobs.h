/* Running many seeds in several processes. */
#ifndef SIM_JOBS_H
#define SIM_JOBS_H

#include "sim/report.h"

struct job_options {
    uint64_t first_seed;
    uint64_t seed_count;
    uint64_t until_mono_us; /* no seed starts after it; UINT64_MAX: never */
    uint64_t worker_count;
    bool trace;
    bool progress;
    const char *planted; /* NULL: none */
};

/* Runs the seeds; stops at the first failure. 0, or -1 when a process could not be started. */
int jobs_run(const struct job_options *options, struct totals *totals);

#endif
