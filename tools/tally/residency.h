/* Whether a data directory holds payloads that its region may not hold (domain/residency.h): an audit of everything in
 * it that is made from payloads.
 *
 *   segments     every frame of every log: a payload or a salt that may not be there
 *   loose files  every frame that can be read in what a repair has kept or left (evidence/, *.mend)
 *   index        every entry whose payload may not be here: its fingerprint, which is made from the payload, must be
 *                unknown; likewise in the queue of reconciliation
 *   projections  no statement may take the payloads of a context that may not be here
 *
 * Contexts are those of DIR/tallyd.yaml. What was never stored leaves no trace: of a log whose chain is whole every
 * entry is looked at, so a clean audit of a whole log says that none of them has its payload here. That the log is
 * whole is tally-verify's to say. */
#ifndef TALLY_RESIDENCY_H
#define TALLY_RESIDENCY_H

#include "datadir.h"
#include "domain/context.h"
#include "index/index.h"
#include "server/config.h"

enum { RESIDENCY_VIOLATIONS_MAX = 100, RESIDENCY_PROJECTIONS_MAX = 64 };

/* Of one log, or of all. */
struct residency_count {
    uint64_t entries;
    uint64_t held;
    uint64_t withheld;
    uint64_t missing; /* withheld, although they belong here */
};

struct residency_log {
    char origin[256];
    uint64_t size;
    uint64_t looked_up; /* in the index */
    struct residency_count contexts[CONTEXTS_MAX];
    struct residency_count unknown; /* of contexts that tallyd.yaml does not name */
    uint64_t control;               /* the system's own events */
};

struct residency_violation {
    const char *where; /* "segment", "loose file", "index", "queue", "projection" */
    char path[DISK_PATH_MAX_BYTES];
    char origin[256]; /* "" for a projection or a loose file */
    uint64_t offset;  /* in a file: of the block */
    uint64_t index;
    char context[ENTRY_NAME_MAX_BYTES + 1];
};

struct residency_audit {
    const char *data;
    const struct server_config *config;
    struct index *index; /* NULL: it is not looked into */
    struct sha256 *sha;
    size_t log_count;
    struct residency_log logs[DATADIR_LOGS_MAX];
    size_t loose_count;
    size_t projection_count;
    char projections[RESIDENCY_PROJECTIONS_MAX][64];
    uint64_t violation_count;
    struct residency_violation violations[RESIDENCY_VIOLATIONS_MAX]; /* the first */
};

/* Looks at everything. The fields up to `sha` are set, the rest zero. ERR_CORRUPT when a log cannot be read through (a
 * torn end is none: it was never part of the log); errors of the disk, the index and the projection's SQL. */
int residency_audit_run(struct residency_audit *audit, struct err *err) MUST_USE;

#endif
