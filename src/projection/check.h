/* Checking that a projection's statements commute across logs: the logs are replayed up to one position in several
 * random interleavings, each into a temporary database, and the contents are compared. Regions see logs interleaved
 * differently, so a projection that fails this check will differ between regions sooner or later.
 *
 * The interleavings keep rule 2 of domain/authority.h, as every region does. A seed always gives the same one. */
#ifndef PROJECTION_CHECK_H
#define PROJECTION_CHECK_H

#include "domain/context.h"
#include "log/log.h"
#include "projection/projection.h"

enum { CHECK_SEEDS_MAX = 1000 };

/* What is checked. Borrowed during the call. */
struct check_subject {
    struct bytes sql;
    const struct projection_server *server; /* NULL: SQLite; else the replays are its temporary tables */
    const struct projection_bounds *bounds; /* NULL: the defaults */
    const struct context_table *contexts;
    struct log *const *logs;
    size_t log_count;            /* at most PROJECTION_LOGS_MAX */
    const uint64_t *ends;        /* for each log: how much of it; a position that a generation has stood at */
    struct bytes known;          /* generation_known at that position */
    uint64_t seed_count;         /* 1 to CHECK_SEEDS_MAX: seeds 1, 2, … are compared with seed 0 */
    bool (*stop)(void *context); /* asked now and then; may be NULL */
    void *context;
};

struct check_result {
    uint64_t event_count; /* entries replayed each time */
    uint64_t seeds_run;   /* compared, the one that differs included */
    bool differs;
    uint64_t seed;                              /* the first that differs … */
    char table[PROJECTION_TABLE_MAX_BYTES + 1]; /* … and the first table, by name, in which it does */
};

/* ERR_UNAVAILABLE when it was told to stop; errors of projection_spec_parse, projection_db_open, generation_step and
 * projection_db_digest; ERR_INVALID when a statement fails under one of the interleavings: the message names the seed.
 * Any thread. */
int projection_check(const struct check_subject *subject, struct check_result *ret, struct err *err) MUST_USE;

#endif
