/* How a generation takes a step, for generation.c and total.c. Private to src/projection. */
#ifndef PROJECTION_STEPPING_H
#define PROJECTION_STEPPING_H

#include "projection/generation.h"

/* Why a log does not go on at an entry, so that neither its block is read nor the question is asked again and again. */
struct pause {
    enum { PAUSE_NONE, PAUSE_BASIS, PAUSE_CONFLICT } why;
    uint64_t index;           /* of the entry that begins an epoch */
    struct position_log need; /* PAUSE_BASIS: one part of its basis that is not reached */
};

struct generation {
    struct projection_db *db;
    const struct context_table *contexts;
    struct authority_table table;
    struct authority_table ahead;
    bool current; /* both tables are as the database has it */
    struct pause pauses[PROJECTION_LOGS_MAX];
    bool has_conflict;
    bool other_contexts; /* filled with others: it stands still as it is */
    char reason[GENERATION_REASON_MAX_BYTES];
    size_t floor_count; /* total order: the floors of so many logs are as the database has them */
    hlc floors[PROJECTION_LOGS_MAX];
    struct buf conflict; /* the event, as generation_known appends it */
    struct map told;     /* event id -> struct told (standing.c): clients' entries that it was told of */
    struct sha256 *sha;
};

/* The step at hand. */
struct step {
    struct generation *generation;
    struct log *const *logs;
    size_t log_count;
    size_t at;
    struct origin origin;
    char name[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t end;
    uint64_t events_max;
    uint64_t count; /* entries in the transaction */
    bool over;
};

/* One entry as it lies in a block. */
struct item {
    struct frame frame;
    struct entry entry;
};

/* The next entry of a block's body. */
int stepping_next_item(struct bytes *elements, struct item *ret, struct err *err) MUST_USE;
int stepping_origin(const struct log *log, char name[ENTRY_ORIGIN_MAX_BYTES + 1], struct origin *ret,
                    struct err *err) MUST_USE;
/* Whether logs[step->at] still waits, or is stopped, at its entry `index`. */
int stepping_paused(const struct step *step, uint64_t index, bool *ret, struct err *err) MUST_USE;
bool stepping_is_late(const struct generation *generation, const struct entry *entry, const struct origin *origin);
/* Applies the entry of logs[step->at] at its cursor, in the step's transaction, which it begins. Sets step->over when
 * the transaction ends before the entry (it is not applied; count tells) or behind it. */
int stepping_apply(struct step *step, const struct item *item, struct err *err) MUST_USE;
/* A transaction: what `apply` does with the step, committed when it applied anything. *ret_count counts the entry that
 * failed, too. */
typedef int stepping_fn(struct step *step, void *context, struct err *err);
int stepping_transaction(struct step *step, stepping_fn *apply, void *context, uint64_t *ret_count,
                         struct err *err) MUST_USE;

#endif
