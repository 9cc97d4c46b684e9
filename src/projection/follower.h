/* The follower: keeps one projection up with the logs, and rebuilds it by itself when it has to. The server's projector
 * thread and the simulator both run it.
 *
 * It takes the logs in turn, a transaction at a time, for the live generation and for the next one when there is one.
 * When the live one meets a conflict (generation.h: an entry that begins an epoch makes late what it has applied, or
 * effective what it has left out), it stops in that log, stays readable, and goes on in the others. A next generation
 * is begun that is told all authority events the live one knows, and that entry. Once it has passed them all and covers
 * the live one's position, it becomes live. If the next one meets a conflict of its own, it is begun again, and is told
 * that entry, too. Every beginning is told one authority event more than the one before, so there are never more of
 * them than authority events in the logs.
 *
 * Crash behaviour: what a projection keeps survives, see projection.h; a next generation is given up and begun again
 * when the live one meets the conflict again.
 *
 * One thread. */
#ifndef PROJECTION_FOLLOWER_H
#define PROJECTION_FOLLOWER_H

#include "base/buf.h"
#include "domain/context.h"
#include "domain/position.h"
#include "log/log.h"
#include "projection/projection.h"

enum { FOLLOWER_EVENTS_MAX = 5000 }; /* in a transaction */

struct follower;

/* The projection and contexts outlive it. Errors of generation_new. */
int follower_new(struct projection *projection, const struct context_table *contexts, struct follower **ret,
                 struct err *err) MUST_USE;
void follower_free(struct follower *follower);

/* Events in a transaction: 1 to FOLLOWER_EVENTS_MAX, which it is at first. */
void follower_limit(struct follower *follower, uint64_t events);

/* What a step did. */
struct follower_progress {
    bool moved;    /* false: everything is applied up to its durable end, or waits for another log */
    bool begun;    /* a rebuild was begun by itself: follower_reason says why */
    bool switched; /* the next generation became live */
};

/* One transaction of each log in each generation. logs may grow from call to call at its end, up to
 * PROJECTION_LOGS_MAX. Errors of generation_step, projection_rebuild_begin and projection_rebuild_switch; ERR_INVALID
 * (a statement fails) only once nothing else can be applied. The projection stays as it is, and the call may be
 * repeated. */
int follower_step(struct follower *follower, struct log *const *logs, size_t log_count, struct follower_progress *ret,
                  struct err *err) MUST_USE;

/* Until the release the live generation goes to *at (at or past where it stands) and no further, and no next one
 * becomes live: for a comparison with another region that stands there. */
void follower_hold(struct follower *follower, const struct position *at);
void follower_release(struct follower *follower);

/* Total order: the times that logs have passed, as generation_step_total has them; until the next call, and 0 for logs
 * past log_count. */
void follower_passed(struct follower *follower, const hlc *passed, size_t log_count);

/* Begins the next generation because somebody asked, or begins it again. Errors of projection_rebuild_begin. */
int follower_rebuild(struct follower *follower, struct err *err) MUST_USE;

/* Whether a next generation is being filled. */
bool follower_rebuilds(const struct follower *follower);
/* Why the rebuild that goes on was begun by itself; "" when somebody asked for it, or none goes on. Valid until the
 * next step. */
const char *follower_reason(const struct follower *follower);

/* Appends what the live generation knows, as generation_known does. */
int follower_known(struct follower *follower, struct buf *out, struct err *err) MUST_USE;
/* Where the live generation stands. */
int follower_position(struct follower *follower, struct position *ret, struct err *err) MUST_USE;
/* Where the next one stands. ERR_NOT_FOUND when there is none. */
int follower_rebuild_position(struct follower *follower, struct position *ret, struct err *err) MUST_USE;

#endif
