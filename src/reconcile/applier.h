/* The applier: the one piece of code that applies logs to the index, in the order that authority demands (rule 2 of
 * domain/authority.h). The server's indexer thread and the simulator both run it.
 *
 * It takes the logs in turn, a block or some small ones at a time, each from the index's own applied size. A log whose
 * next entry begins an epoch, or the log itself after an earlier one, waits until everything that the entry rests on is
 * applied, or is not needed any more (domain/lives.h); the other logs go on. Before
 * such an entry is applied, the entries that it makes late are read again from the logs and taken back (index_demote).
 *
 * It keeps nothing that must survive: after a crash a new applier goes on where the index says. Memory is bounded by
 * APPLIER_BLOCKS_BYTES and one block of a log, and one batch of entries. One thread. */
#ifndef RECONCILE_APPLIER_H
#define RECONCILE_APPLIER_H

#include "index/index.h"
#include "log/log.h"

enum {
    APPLIER_BATCH_MAX = 4096,
    APPLIER_BLOCKS_MAX = 256,           /* small blocks that are applied together, … */
    APPLIER_BLOCKS_BYTES = 1024 * 1024, /* … until they have so many bytes */
    APPLIER_LOGS_MAX = INDEX_LOGS_MAX,
};

struct applier;

/* What a step did. */
struct applier_progress {
    bool moved;       /* false: every log is applied up to its durable end, or waits for another one */
    size_t log;       /* which of the logs handed in … */
    uint64_t size;    /* … is applied up to here now, … */
    uint64_t applied; /* … so many entries further than before */
    uint64_t demoted; /* entries that became late by the change that was applied, 0 when none was */
};

/* index and contexts (those that the index was opened with) outlive it. ERR_NO_MEMORY, and errors of index_authority.
 */
int applier_new(struct index *index, const struct context_table *contexts, struct applier **ret,
                struct err *err) MUST_USE;
void applier_free(struct applier *applier);

/* Sizes of the applier's own, which the server leaves as they are and the simulator makes tiny: 1 to the maximum above,
 * where a larger one and 0 stand for the maximum. Before the first step. */
struct applier_limits {
    size_t batch_entries;
    size_t blocks;
};
void applier_limit(struct applier *applier, const struct applier_limits *limits);

/* Applies one block of one log, or some that follow each other while they are small. logs may grow from call to call at
 * its end, up to APPLIER_LOGS_MAX, all logs of one cluster. Errors of log_read_block and index_apply; ERR_CORRUPT also
 * when the payload of a control entry is not there. After an error the applier and the index must be given up, except
 * for ERR_NO_MEMORY before anything moved. */
int applier_step(struct applier *applier, struct log *const *logs, size_t log_count, struct applier_progress *ret,
                 struct err *err) MUST_USE;

#endif
