/* The figures of a reconciliation report: what each log accepted under each epoch, and what became of it. A look at the
 * logs and the index; it decides nothing.
 *
 * Entries are counted up to what the index has applied, so that counts and states belong together as long as nothing is
 * applied meanwhile: position is taken first, and only grows. */
#ifndef RECONCILE_REPORT_H
#define RECONCILE_REPORT_H

#include "index/index.h"
#include "log/log.h"

enum {
    REPORT_ROWS_MAX = 4096,
    REPORT_OWED_MAX = 256,
    REPORT_STATES = INDEX_LATE_COMPENSATED + 1,
    REPORT_NO_EPOCH = 0,
};

/* Zeroed members do not narrow, but for the context, which is required. */
struct report_filter {
    struct bytes context;
    uint64_t epoch; /* and the one before it */
    hlc from;
    hlc to; /* exclusive; 0: no end */
};

/* Client events of one log and epoch. */
struct report_row {
    size_t log;     /* among the logs handed in */
    uint64_t epoch; /* REPORT_NO_EPOCH: commutative ones */
    uint64_t effective;
    uint64_t late;
    uint64_t overrides; /* emergencies that were accepted away from home; commutative events are among the others */
    uint64_t published; /* of all */
    hlc first_time;
    hlc last_time;
};

struct report {
    struct position position;
    size_t row_count;
    struct report_row rows[REPORT_ROWS_MAX]; /* by log, then epoch */
    uint64_t states[REPORT_STATES];          /* items, by state */
    size_t owed_count;
    struct index_late owed[REPORT_OWED_MAX];
    bool more_owed;
};

/* Asked now and then during a long look: anything but 0 ends it. */
typedef int report_check_fn(void *context, struct err *err);

/* Whether something of this context, epoch and time is asked for. */
bool report_wants(const struct report_filter *filter, struct bytes context, uint64_t epoch, hlc time);

/* published_sizes: of each log. *ret is large: allocate it. ERR_TOO_LARGE (more rows), errors of log_read_block,
 * index_late_scan and check. Any thread. */
int report_gather(struct index *index, const struct context_table *contexts, struct log *const *logs,
                  const uint64_t *published_sizes, size_t log_count, const struct report_filter *filter,
                  report_check_fn *check, void *check_context, struct report *ret, struct err *err) MUST_USE;

#endif
