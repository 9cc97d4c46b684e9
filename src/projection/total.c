/* Following all logs in one order (generation.h, generation_step_total).
 *
 * A step is one transaction. Each log has a head, its entry at the cursor; the smallest head is applied, again and
 * again, as long as nothing smaller can come: a log without a head must have passed that time.
 *
 * The key of an entry is (time, origin, index), where time is at least the log's floor. Clocks of regions differ, so a
 * change of homes may bear a time before entries that it rests on. Its log waits for those (rule 2 of
 * domain/authority.h), the others go on meanwhile, and then its floor is raised past the time that was reached. So the
 * order is the same wherever the same logs are merged: it follows from the logs, not from when they came. Floors are
 * kept with the rows.
 *
 * Invariants:
 *   1. Every entry whose statements run has a key past those of all applied before it; else it is a conflict, and the
 *      generation is rebuilt, which puts it in its place.
 *   2. Entries that run nothing (late, control, no section) move the cursor wherever they stand. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "projection/stepping.h"

/* A log, as the merge sees it. */
struct head {
    struct origin origin;
    char name[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t next; /* index at the cursor */
    uint64_t end;
    bool capped;         /* more is durable than may be applied */
    struct block *block; /* that holds `next`, or NULL */
    struct bytes elements;
    bool there;
    struct item item;
    hlc tail; /* the time of the entry before the cursor, at least the floor; 0: none */
};

struct merge {
    struct step *step;
    const hlc *passed;
    struct head *heads;
    bool any; /* of the last key */
    hlc last_time;
    size_t last_at;
    uint64_t last_index;
};

static hlc later(hlc a, hlc b)
{
    return a > b ? a : b;
}

static hlc time_of(const struct merge *merge, size_t at)
{
    return later(merge->heads[at].item.entry.time, merge->step->generation->floors[at]);
}

/* Whether (time, name of log a, index) comes before the other. */
static bool before(const struct merge *merge, hlc time, size_t at, uint64_t index, hlc other_time, size_t other_at,
                   uint64_t other_index)
{
    if (time != other_time)
        return time < other_time;
    int order = strcmp(merge->heads[at].name, merge->heads[other_at].name);
    return order != 0 ? order < 0 : index < other_index;
}

static void remember(struct merge *merge, hlc time, size_t at, uint64_t index)
{
    if (merge->any && before(merge, time, at, index, merge->last_time, merge->last_at, merge->last_index))
        return;
    merge->any = true;
    merge->last_time = time;
    merge->last_at = at;
    merge->last_index = index;
}

/* --- Heads --- */

static int seek(struct head *head, struct log *log, uint64_t index, struct item *ret, struct err *err)
{
    int code = 0;
    if (head->block == NULL || index >= head->block->first_index + head->block->entry_count) {
        block_release(head->block);
        head->block = NULL;
        code = log_read_block(log, index, &head->block, err);
        if (code != 0)
            return code;
        head->elements = block_body(head->block);
    }
    do
        code = stepping_next_item(&head->elements, ret, err);
    while (code == 0 && ret->entry.index < index);
    return code;
}

static int find_head(struct merge *merge, size_t at, struct err *err)
{
    struct head *head = &merge->heads[at];
    if (head->there || head->next >= head->end)
        return 0;
    int code = seek(head, merge->step->logs[at], head->next, &head->item, err);
    head->there = code == 0;
    return code;
}

static void floor_name(const struct head *head, char out[PROJECTION_NOTE_MAX_BYTES + 1])
{
    snprintf(out, PROJECTION_NOTE_MAX_BYTES + 1, "floor %s", head->name);
}

static int read_floor(struct merge *merge, size_t at, struct err *err)
{
    struct generation *generation = merge->step->generation;
    char name[PROJECTION_NOTE_MAX_BYTES + 1];
    floor_name(&merge->heads[at], name);
    return projection_db_kept(generation->db, name, &generation->floors[at], err);
}

static int start_head(struct merge *merge, size_t at, uint64_t end, struct err *err)
{
    struct head *head = &merge->heads[at];
    struct log *log = merge->step->logs[at];
    struct generation *generation = merge->step->generation;
    struct item item;
    uint64_t durable = log_durable_size(log);
    int code = stepping_origin(log, head->name, &head->origin, err);
    if (code == 0)
        code = projection_db_applied(generation->db, head->name, &head->next, err);
    if (code == 0 && at >= generation->floor_count)
        code = read_floor(merge, at, err);
    head->capped = end < durable;
    head->end = head->capped ? end : durable;
    if (code != 0 || head->next == 0)
        return code;
    code = seek(head, log, head->next - 1, &item, err);
    if (code == 0) {
        head->tail = later(item.entry.time, generation->floors[at]);
        remember(merge, head->tail, at, head->next - 1);
    }
    return code;
}

/* --- Choosing --- */

static int is_paused(struct merge *merge, size_t at, bool *ret, struct err *err)
{
    struct step asking = *merge->step;
    asking.at = at;
    return stepping_paused(&asking, merge->heads[at].next, ret, err);
}

/* The log with the smallest head; log_count when there is none. */
static int choose(struct merge *merge, size_t *ret, struct err *err)
{
    size_t best = merge->step->log_count;
    int code = 0;
    for (size_t i = 0; code == 0 && i < merge->step->log_count; i++) {
        bool paused = false;
        code = find_head(merge, i, err);
        if (code != 0 || !merge->heads[i].there)
            continue;
        code = is_paused(merge, i, &paused, err);
        if (code == 0 && !paused &&
            (best == merge->step->log_count || before(merge, time_of(merge, i), i, merge->heads[i].next,
                                                      time_of(merge, best), best, merge->heads[best].next)))
            best = i;
    }
    if (code == 0)
        *ret = best;
    return code;
}

static bool can_still_come_before(const struct merge *merge, hlc time)
{
    for (size_t i = 0; i < merge->step->log_count; i++) {
        const struct head *head = &merge->heads[i];
        if (!head->there && !head->capped && later(merge->passed[i], head->tail) < time)
            return true;
    }
    return false;
}

/* --- Applying --- */

static void stop_at(struct merge *merge, size_t at)
{
    struct generation *generation = merge->step->generation;
    const struct head *head = &merge->heads[at];
    generation->has_conflict = true;
    generation->pauses[at] = (struct pause){.why = PAUSE_CONFLICT, .index = head->next};
    snprintf(generation->reason, sizeof(generation->reason),
             "entry %llu of %.160s comes before entry %llu of %.160s, which had its effect",
             (unsigned long long)head->next, head->name, (unsigned long long)merge->last_index,
             merge->heads[merge->last_at].name);
}

static bool breaks_order(const struct merge *merge, size_t at)
{
    const struct generation *generation = merge->step->generation;
    const struct head *head = &merge->heads[at];
    return merge->any &&
           before(merge, time_of(merge, at), at, head->next, merge->last_time, merge->last_at, merge->last_index) &&
           projection_db_wants(generation->db, &head->item.entry) &&
           !stepping_is_late(generation, &head->item.entry, &head->origin);
}

static int raise_floor(struct merge *merge, size_t at, struct err *err)
{
    struct generation *generation = merge->step->generation;
    char name[PROJECTION_NOTE_MAX_BYTES + 1];
    if (!merge->any || merge->last_time < time_of(merge, at) ||
        !control_is_authority(control_kind_of(&merge->heads[at].item.entry)))
        return 0;
    floor_name(&merge->heads[at], name);
    generation->floors[at] = merge->last_time + 1;
    return projection_db_keep(generation->db, name, merge->last_time + 1, err);
}

static int apply_head(struct merge *merge, size_t at, struct err *err)
{
    struct step *step = merge->step;
    struct head *head = &merge->heads[at];
    uint64_t count = step->count;
    if (breaks_order(merge, at)) {
        if (step->count == 0)
            stop_at(merge, at);
        step->over = step->count > 0;
        return 0;
    }
    step->at = at;
    step->origin = head->origin;
    copy_string(step->name, sizeof(step->name), head->name);
    int code = stepping_apply(step, &head->item, err);
    if (code != 0)
        return code;
    if (step->count == count) { /* it waits, or is a conflict; the others go on */
        step->over = count > 0;
        return 0;
    }
    code = raise_floor(merge, at, err);
    head->tail = time_of(merge, at);
    remember(merge, head->tail, at, head->next);
    head->next++;
    head->there = false;
    return code;
}

static int apply_merged(struct step *step, void *context, struct err *err)
{
    struct merge *merge = context;
    int code = 0;
    while (code == 0 && !step->over && step->count < step->events_max) {
        size_t at = 0;
        code = choose(merge, &at, err);
        if (code != 0 || at == step->log_count || can_still_come_before(merge, time_of(merge, at)))
            return code;
        code = apply_head(merge, at, err);
    }
    return code;
}

/* --- A step --- */

static int run(struct step *step, const uint64_t *ends, const hlc *passed, uint64_t *ret_count, struct err *err)
{
    struct merge merge = {.step = step, .passed = passed};
    int code = 0;
    merge.heads = mem_alloc_zero(step->log_count, sizeof(*merge.heads));
    if (merge.heads == NULL)
        return err_no_memory(err, "a projection's logs");
    for (size_t i = 0; code == 0 && i < step->log_count; i++)
        code = start_head(&merge, i, ends[i], err);
    if (code == 0) {
        step->generation->floor_count = step->log_count;
        code = stepping_transaction(step, apply_merged, &merge, ret_count, err);
    }
    for (size_t i = 0; i < step->log_count; i++)
        block_release(merge.heads[i].block);
    mem_free(merge.heads);
    return code;
}

int generation_step_total(struct generation *generation, struct log *const *logs, size_t log_count,
                          const uint64_t *ends, const hlc *passed, uint64_t events_max, struct generation_progress *ret,
                          struct err *err)
{
    PRE(log_count <= PROJECTION_LOGS_MAX);
    PRE(events_max > 0);
    const struct step step = {
        .generation = generation, .logs = logs, .log_count = log_count, .end = UINT64_MAX, .events_max = events_max};
    struct step now = step;
    uint64_t count = 0;
    int code = generation->other_contexts ? 0 : run(&now, ends, passed, &count, err);
    if (code == ERR_INVALID && projection_db_unsure(generation->db)) {
        now = step;
        code = run(&now, ends, passed, &count, err);
    }
    if (code == ERR_INVALID && count > 1) {
        now = step;
        now.events_max = count - 1;
        code = run(&now, ends, passed, &count, err);
    }
    if (code == 0)
        *ret = (struct generation_progress){.moved = count > 0, .events = count};
    return code;
}
