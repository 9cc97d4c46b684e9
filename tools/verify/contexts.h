/* The homes of epoch 1, and what event types may do, as the auditor trusts them: a small text file of the auditor's
 * own, never what a region says.
 *
 *   # a comment, and empty lines
 *   context NAME home REGION                 before the lines about its partitions
 *   partition CONTEXT/PARTITION home REGION  a partition that began elsewhere
 *   type CONTEXT/TYPE override               events of this type may be accepted away from home, as emergencies
 *   type CONTEXT/TYPE commutative            any region may accept events of this type: the context is multi-home
 *   payloads CONTEXT in REGION               the region may hold payloads of the context; without such lines all may
 *
 * Contexts that were created while the system ran are not in it: the logs create them, judged by the line of the
 * context "$system".
 *
 * Names may hold blanks and slashes: the region is the last word, the context is the longest declared one that fits. */
#ifndef VERIFY_CONTEXTS_H
#define VERIFY_CONTEXTS_H

#include "base/buf.h"
#include "domain/context.h"

enum { CONTEXTS_FILE_MAX_BYTES = 4 * 1024 * 1024 };

struct contexts {
    struct context_table table; /* for authority_table_init */
    struct context contexts[CONTEXTS_MAX];
    struct context_home *homes[CONTEXTS_MAX]; /* owned; of the context with that number */
    struct context_type *types[CONTEXTS_MAX]; /* likewise */
    const char **regions[CONTEXTS_MAX];       /* likewise */
    struct buf text;                          /* owned; all names lie in it */
};

/* *ret is filled whole; contexts_free in any case but a failure. It must not be moved. ERR_INVALID and ERR_TOO_LARGE
 * (limits of domain/context.h) name the line or the context; ERR_NO_MEMORY. */
int contexts_parse(struct bytes text, struct contexts *ret, struct err *err) MUST_USE;
void contexts_free(struct contexts *contexts);
bool contexts_know(const struct contexts *contexts, struct bytes context);

#endif
