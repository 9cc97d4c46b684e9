/* What a run gives back, and how it is told. */
#ifndef SIM_REPORT_H
#define SIM_REPORT_H

#include "sim/sim.h"

enum { RESULT_FAILURE_BYTES = 600 };

/* One seed's outcome, as it travels from a worker to the parent: at most PIPE_BUF bytes, so that it arrives whole. */
struct result {
    uint64_t seed;
    uint64_t digest;
    uint64_t simulated_us;
    bool failed;
    char failure[RESULT_FAILURE_BYTES];
    struct counts counts;
};

struct totals {
    uint64_t seeds;
    uint64_t failed;
    uint64_t first_failed_seed;
    uint64_t digest; /* of all seeds, whatever their order */
    uint64_t simulated_us;
    struct counts counts;
    char failure[RESULT_FAILURE_BYTES];
};

void totals_add(struct totals *totals, const struct result *result);
/* The failure, the line that replays it, the commit, and the last lines of the trace, on standard error. */
void report_failure(const struct world *world, const char *planted);
void report_totals(const struct totals *totals, uint64_t wall_us);
void report_totals_json(const struct totals *totals, uint64_t wall_us);

#endif
