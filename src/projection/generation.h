/* One generation that follows the logs: a database, and the authority that follows from what it has applied.
 *
 * Its contents are a pure function of its position: the effect of every client entry below it that is not late by the
 * authority events below it (domain/authority.h). It gets there in one pass, forwards only, so it has to do two things
 * at an entry that begins an epoch:
 *   - wait until it has applied the basis (rule 2); the other logs go on;
 *   - ask whether the entry makes late something whose statements have run, or effective something that was left out.
 *     Then the generation stops in that log (a CONFLICT), for statements cannot be taken back. Another generation,
 * which knows the entry before it begins, takes its place: follower.h.
 *
 * Of events that any region may accept, several may have one id: only the first in (time, origin) order has an effect
 * (standing.h). One that comes after another has had its effect is a conflict, too.
 *
 * A generation that was told authority events, or such events, ahead of its position (generation_tell) judges by them
 * from the start. Until it has passed them all, generation_complete is false and its contents mean nothing yet.
 *
 * One thread. */
#ifndef PROJECTION_GENERATION_H
#define PROJECTION_GENERATION_H

#include "base/buf.h"
#include "domain/authority.h"
#include "log/log.h"
#include "projection/projection.h"

enum {
    GENERATION_AUTHORITY_MAX_BYTES = 1024 * 1024 * 1024,
    GENERATION_REASON_MAX_BYTES = 400,
    GENERATION_TOLD_MAX = 1024 * 1024, /* ids of clients' events */
};

struct generation;

/* db and contexts (of the cluster) outlive it. A database that was filled with other contexts is a conflict from the
 * start. Errors of projection_db_same_contexts and projection_db_authority; ERR_CORRUPT when what the database
 * keeps is no authority event. */
int generation_new(struct projection_db *db, const struct context_table *contexts, struct generation **ret,
                   struct err *err) MUST_USE;
void generation_free(struct generation *generation);

struct generation_progress {
    bool moved;      /* the cursor did */
    uint64_t events; /* by so many entries */
};

/* Applies entries of logs[at], from where the cursor stands to at most `end` (and the durable end), about events_max of
 * them (1 or more; exactly that many or fewer), in one transaction. Does nothing while the log waits or is stopped.
 * logs may grow from call to call at its end, up to PROJECTION_LOGS_MAX. Errors of log_read_block and of
 * projection_db_apply (ERR_INVALID: a statement of the entry at the cursor is to blame); ERR_CORRUPT when the payload
 * of an authority event is not there. Then nothing was applied, and the call may be repeated. */
int generation_step(struct generation *generation, struct log *const *logs, size_t log_count, size_t at, uint64_t end,
                    uint64_t events_max, struct generation_progress *ret, struct err *err) MUST_USE;

/* Total order (the projection's file says "order total"): entries of all logs in the order of (time, origin, index).
 * In place of generation_step: applies about events_max entries in one transaction, those that stand before everything
 * that can still come. ends and passed are arrays of log_count: how far each log may be applied, and a time that all
 * entries which are not durable here yet come after (HLC_NEVER: the log counts as ended; 0: nothing is known but its
 * last entry). A change of homes and what follows it in its log count as no earlier than what it rests on. An entry
 * that comes before what has been applied, against what `passed` said, is a conflict. Errors as generation_step. */
#define HLC_NEVER UINT64_MAX
int generation_step_total(struct generation *generation, struct log *const *logs, size_t log_count,
                          const uint64_t *ends, const hlc *passed, uint64_t events_max, struct generation_progress *ret,
                          struct err *err) MUST_USE;

/* Whether a conflict was met; *ret_reason (may be NULL) says which, in words, valid until the next step. */
bool generation_conflict(const struct generation *generation, const char **ret_reason);
/* Whether the position covers all authority events that are known. */
int generation_complete(struct generation *generation, bool *ret, struct err *err) MUST_USE;
int generation_position(struct generation *generation, struct position *ret, struct err *err) MUST_USE;

/* Appends all events that the generation was told or has learnt, that of the conflict included, in a form for
 * generation_tell. out->max_bytes is at least GENERATION_AUTHORITY_MAX_BYTES. Errors of projection_db_authority,
 * ERR_TOO_LARGE. */
int generation_known(struct generation *generation, struct buf *out, struct err *err) MUST_USE;
/* Gives them to a generation that has applied nothing. Durable when it returns. Errors of projection_db_learn. */
int generation_tell(struct generation *generation, struct bytes known, struct err *err) MUST_USE;

#endif
