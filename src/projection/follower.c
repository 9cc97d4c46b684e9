/* Keeping a projection up with the logs (follower.h).
 *
 * Why a rebuild ends: a generation that was told a set of authority events meets a conflict only at one outside of it.
 * The next beginning is told that set and the new one, so the sets grow, and the logs hold finitely many. All that a
 * generation is told was met by one before it, behind its basis, so it is met again and the generation becomes
 * complete.
 *
 * Why the switch is right: a complete generation knows exactly the authority events below its position, as one that had
 * seen them all in order would; so its contents are those of its position, which is at or past the live one's. */
#include "projection/follower.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "projection/generation.h"

struct follower {
    struct projection *projection;
    const struct context_table *contexts;
    struct generation *live;
    struct generation *next; /* NULL when none is being filled */
    char reason[GENERATION_REASON_MAX_BYTES];
    bool held;
    struct position hold; /* how far the live one goes meanwhile */
    hlc passed[PROJECTION_LOGS_MAX];
    uint64_t events_max; /* in a transaction */
};

int follower_new(struct projection *projection, const struct context_table *contexts, struct follower **ret,
                 struct err *err)
{
    PRE(projection_next(projection) == NULL);
    struct follower *follower = mem_alloc_zero(1, sizeof(*follower));
    if (follower == NULL)
        return err_no_memory(err, "a projection's follower");
    follower->events_max = FOLLOWER_EVENTS_MAX;
    follower->projection = projection;
    follower->contexts = contexts;
    int code = generation_new(projection_live(projection), contexts, &follower->live, err);
    if (code != 0) {
        follower_free(follower);
        return code;
    }
    *ret = follower;
    return 0;
}

void follower_free(struct follower *follower)
{
    if (follower == NULL)
        return;
    generation_free(follower->next);
    generation_free(follower->live);
    mem_free(follower);
}

/* --- Rebuilding --- */

/* Begins the next generation, which is told what `from` knows. */
static int begin(struct follower *follower, struct generation *from, struct err *err)
{
    struct buf known;
    buf_init(&known, GENERATION_AUTHORITY_MAX_BYTES);
    int code = generation_known(from, &known, err);
    if (code == 0) {
        generation_free(follower->next); /* may be `from` */
        follower->next = NULL;
        code = projection_rebuild_begin(follower->projection, err);
    }
    if (code == 0)
        code = generation_new(projection_next(follower->projection), follower->contexts, &follower->next, err);
    if (code == 0)
        code = generation_tell(follower->next, buf_bytes(&known), err);
    buf_free(&known);
    if (code != 0) {
        generation_free(follower->next);
        follower->next = NULL;
    }
    return code;
}

static int begin_by_itself(struct follower *follower, struct generation *from, struct follower_progress *progress,
                           struct err *err)
{
    const char *reason = "";
    generation_conflict(from, &reason);
    snprintf(follower->reason, sizeof(follower->reason), "%s", reason);
    int code = begin(follower, from, err);
    progress->begun = code == 0;
    progress->moved = code == 0;
    return code;
}

int follower_rebuild(struct follower *follower, struct err *err)
{
    follower->reason[0] = '\0';
    return begin(follower, follower->live, err);
}

static int caught_up(struct follower *follower, bool *ret, struct err *err)
{
    struct position live;
    struct position next;
    bool complete = false;
    int code = generation_position(follower->live, &live, err);
    if (code == 0)
        code = generation_position(follower->next, &next, err);
    if (code == 0 && position_covers(&next, &live))
        code = generation_complete(follower->next, &complete, err);
    if (code == 0)
        *ret = complete;
    return code;
}

static int switch_when_caught_up(struct follower *follower, struct follower_progress *progress, struct err *err)
{
    bool there = false;
    int code = caught_up(follower, &there, err);
    if (code != 0 || !there)
        return code;
    code = projection_rebuild_switch(follower->projection, err);
    if (projection_next(follower->projection) == NULL) { /* it may have failed at removing the old file only */
        generation_free(follower->live);
        follower->live = follower->next;
        follower->next = NULL;
        follower->reason[0] = '\0';
        progress->switched = true;
        progress->moved = true;
    }
    return code;
}

/* --- Following --- */

/* hold may be NULL. A log's name was checked when it was opened. */
static uint64_t end_of(const struct log *log, const struct position *hold)
{
    struct origin origin;
    if (hold == NULL)
        return UINT64_MAX;
    return origin_parse(log_origin(log), &origin, NULL) == 0 ? position_get(hold, origin.region, origin.incarnation)
                                                             : 0;
}

/* A log whose next entry makes a statement fail is left where it stands: others may hold what makes that entry late.
 * *blame gets such a failure. */
static int step_generation(const struct follower *follower, struct generation *generation, const struct position *hold,
                           struct log *const *logs, size_t log_count, struct follower_progress *progress,
                           struct err *blame, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < log_count; i++) {
        struct generation_progress moved = {.moved = false};
        struct err failure = {0};
        code = generation_step(generation, logs, log_count, i, end_of(logs[i], hold), follower->events_max, &moved,
                               &failure);
        progress->moved = progress->moved || moved.moved;
        if (code == ERR_INVALID) {
            code = 0;
            *blame = failure;
        } else if (code != 0 && err != NULL) {
            *err = failure;
        }
    }
    return code;
}

/* The same for one that wants all logs in one order. */
static int step_total(struct follower *follower, struct generation *generation, const struct position *hold,
                      struct log *const *logs, size_t log_count, struct follower_progress *progress, struct err *blame,
                      struct err *err)
{
    uint64_t ends[PROJECTION_LOGS_MAX];
    struct generation_progress moved = {.moved = false};
    struct err failure = {0};
    for (size_t i = 0; i < log_count; i++)
        ends[i] = end_of(logs[i], hold);
    int code = generation_step_total(generation, logs, log_count, ends, follower->passed, follower->events_max, &moved,
                                     &failure);
    progress->moved = progress->moved || moved.moved;
    if (code == ERR_INVALID) {
        *blame = failure;
        return 0;
    }
    if (code != 0 && err != NULL)
        *err = failure;
    return code;
}

static int step_any(struct follower *follower, struct generation *generation, const struct position *hold,
                    struct log *const *logs, size_t log_count, struct follower_progress *progress, struct err *blame,
                    struct err *err)
{
    return projection_db_total_order(projection_live(follower->projection))
               ? step_total(follower, generation, hold, logs, log_count, progress, blame, err)
               : step_generation(follower, generation, hold, logs, log_count, progress, blame, err);
}

void follower_limit(struct follower *follower, uint64_t events)
{
    PRE(events >= 1 && events <= FOLLOWER_EVENTS_MAX);
    follower->events_max = events;
}

int follower_step(struct follower *follower, struct log *const *logs, size_t log_count, struct follower_progress *ret,
                  struct err *err)
{
    struct follower_progress progress = {.moved = false};
    struct err blame = {0};
    int code = step_any(follower, follower->live, follower->held ? &follower->hold : NULL, logs, log_count, &progress,
                        &blame, err);
    if (code == 0 && follower->next != NULL)
        code = step_any(follower, follower->next, NULL, logs, log_count, &progress, &blame, err);
    if (code == 0 && follower->next != NULL && generation_conflict(follower->next, NULL))
        code = begin_by_itself(follower, follower->next, &progress, err);
    else if (code == 0 && follower->next == NULL && generation_conflict(follower->live, NULL))
        code = begin_by_itself(follower, follower->live, &progress, err);
    else if (code == 0 && follower->next != NULL && !follower->held)
        code = switch_when_caught_up(follower, &progress, err);
    if (code == 0 && blame.code != 0 && !progress.moved)
        return err_set(err, blame.code, "%s", blame.message);
    if (code == 0)
        *ret = progress;
    return code;
}

void follower_hold(struct follower *follower, const struct position *at)
{
    follower->held = true;
    follower->hold = *at;
}

void follower_passed(struct follower *follower, const hlc *passed, size_t log_count)
{
    PRE(log_count <= PROJECTION_LOGS_MAX);
    memset(follower->passed, 0, sizeof(follower->passed));
    memcpy(follower->passed, passed, log_count * sizeof(passed[0]));
}

void follower_release(struct follower *follower)
{
    follower->held = false;
}

/* --- Asking --- */

bool follower_rebuilds(const struct follower *follower)
{
    return follower->next != NULL;
}

const char *follower_reason(const struct follower *follower)
{
    return follower->reason;
}

int follower_known(struct follower *follower, struct buf *out, struct err *err)
{
    return generation_known(follower->live, out, err);
}

int follower_position(struct follower *follower, struct position *ret, struct err *err)
{
    return generation_position(follower->live, ret, err);
}

int follower_rebuild_position(struct follower *follower, struct position *ret, struct err *err)
{
    if (follower->next == NULL)
        return err_set(err, ERR_NOT_FOUND, "no rebuild goes on");
    return generation_position(follower->next, ret, err);
}
