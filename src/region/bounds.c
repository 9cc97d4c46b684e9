/* Recovery points: how far this region, as a home, may run ahead of its copies, for each context that says so.
 *
 * What is ahead is known from marks: so many events of the context, accepted first at that time, are below that size of
 * the own log. A mark goes when the size that stands on enough copies has reached it. Marks are few: when all are in
 * use, the newest one grows, so that what is ahead is never counted too low, only sometimes for longer than it is true.
 * When a region begins to accept, or a context gets a recovery point, the tail that no peer is known to hold counts for
 * the context, because nobody knows whose it is.
 *
 * Enough copies: as many as the context's durability asks for, and at least one, with payloads.
 *
 * A batch is checked as a whole, when everything else about it is decided: with `throttle` and `refuse` no batch, and
 * no queued command, makes the events ahead more than the bound. Overrides, and what is appended to settle late events,
 * are neither held back nor counted: they are what cannot wait, and what a home owes for before. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "region/region_internal.h"

enum { BOUND_MARKS_MAX = 64, BOUND_PAUSE_MS = 200, SECOND_US = 1000000, BOUND_ALARM_PAUSE_US = 10 * SECOND_US };

struct bound_mark {
    uint64_t size; /* of the own log after them */
    uint64_t events;
    uint64_t first_us;
};

struct bound {
    struct bound_mark marks[BOUND_MARKS_MAX]; /* by size */
    size_t count;
    uint64_t adding; /* by the batch that is being decided */
    bool held_back;  /* something was refused since nothing was ahead */
    bool past;
    uint64_t quiet_until_us; /* for alarms */
};

static bool has_bound(const struct recovery_point *point)
{
    return point->events > 0 || point->seconds > 0;
}

void bounds_free(struct region *region)
{
    for (size_t i = 0; region->states != NULL && i < CONTEXT_PLACES_MAX; i++)
        mem_free(region->states[i].bound);
}

/* --- What is ahead --- */

static void add_mark(struct bound *bound, uint64_t size, uint64_t events, uint64_t now_us)
{
    struct bound_mark *last = bound->count == 0 ? NULL : &bound->marks[bound->count - 1];
    if (bound->count == BOUND_MARKS_MAX) {
        last->size = size;
        last->events += events;
        return;
    }
    bound->marks[bound->count++] = (struct bound_mark){.size = size, .events = events, .first_us = now_us};
}

static void drop_marks(struct bound *bound, uint64_t copied)
{
    size_t gone = 0;
    while (gone < bound->count && bound->marks[gone].size <= copied)
        gone++;
    bound->count -= gone;
    memmove(bound->marks, bound->marks + gone, bound->count * sizeof(bound->marks[0]));
    if (bound->count == 0)
        bound->held_back = false;
}

static uint64_t copied_size(const struct region *region, const struct context *context)
{
    uint32_t peers = context->promises.durability.peers;
    return durability_copied(region, peers == 0 ? 1 : peers, durability_lacking(region, context));
}

static uint64_t events_ahead(const struct bound *bound)
{
    uint64_t events = 0;
    for (size_t i = 0; i < bound->count; i++)
        events += bound->marks[i].events;
    return events;
}

static uint64_t age_us(const struct region *region, const struct bound *bound)
{
    return bound->count == 0 ? 0 : region->now.mono_us - bound->marks[0].first_us;
}

static bool too_old(const struct region *region, const struct recovery_point *point, const struct bound *bound)
{
    return point->seconds > 0 && age_us(region, bound) >= point->seconds * SECOND_US;
}

static bool too_many(const struct recovery_point *point, const struct bound *bound, uint64_t more)
{
    return point->events > 0 && more + events_ahead(bound) > point->events;
}

/* --- Deciding --- */

static int hold_back(const struct region *region, const struct context *context, struct bound *bound,
                     struct region_refusal *refusal)
{
    const struct recovery_point *point = &context->promises.recovery_point;
    if (point->events > 0 && bound->adding > point->events)
        return err_set(&refusal->err, ERR_TOO_LARGE,
                       "the batch has %llu events, and context %.64s may have %llu at its home alone; split it",
                       (unsigned long long)bound->adding, context->name, (unsigned long long)point->events);
    bound->held_back = true;
    if (point->then == BOUND_THROTTLE)
        refusal->retry_after_ms = BOUND_PAUSE_MS;
    return err_set(&refusal->err, point->then == BOUND_THROTTLE ? ERR_BUSY : ERR_UNAVAILABLE,
                   "context %.64s is at its recovery point: %llu of its events, the oldest %llu ms old, are in region "
                   "%s alone; it may be %llu events and %llu s ahead of its copies (0: any); retry",
                   context->name, (unsigned long long)events_ahead(bound),
                   (unsigned long long)(age_us(region, bound) / 1000), region->config.region,
                   (unsigned long long)point->events, (unsigned long long)point->seconds);
}

static struct bound *bound_of(const struct region *region, struct bytes context, const struct context **ret)
{
    size_t number = 0;
    if (context_promises(region_contexts(region), context, &number) == NULL)
        return NULL;
    *ret = context_at(region_contexts(region), number);
    return has_bound(&(*ret)->promises.recovery_point) ? region->states[number].bound : NULL;
}

static void add_up(const struct region *region, const struct region_command *command)
{
    const struct region_result *result = command->results;
    const struct context *context = NULL;
    struct bound *bound = NULL;
    for (size_t i = 0; i < command->write_count; i++) {
        if (i == 0 || !bytes_equal(command->writes[i].context, command->writes[i - 1].context))
            bound = bound_of(region, command->writes[i].context, &context);
        for (size_t event = 0; event < command->writes[i].event_count; event++, result++) {
            if (bound != NULL && !result->duplicate)
                bound->adding++;
        }
    }
}

static int check_write(const struct region *region, const struct context *context, struct bound *bound,
                       struct region_refusal *refusal)
{
    const struct recovery_point *point = &context->promises.recovery_point;
    if (bound->adding == 0 || point->then == BOUND_WARN || PLANTED(past_recovery_point))
        return 0;
    drop_marks(bound, copied_size(region, context));
    if (!too_old(region, point, bound) && !too_many(point, bound, bound->adding))
        return 0;
    return hold_back(region, context, bound, refusal);
}

int bounds_decide(struct region *region, struct region_command *command)
{
    const struct context *context = NULL;
    int code = 0;
    add_up(region, command);
    for (size_t i = 0; code == 0 && i < command->write_count; i++) {
        struct bound *bound = bound_of(region, command->writes[i].context, &context);
        if (bound == NULL)
            continue;
        command->refusal.write_number = i;
        code = check_write(region, context, bound, &command->refusal);
    }
    for (size_t i = 0; i < command->write_count; i++) {
        struct bound *bound = bound_of(region, command->writes[i].context, &context);
        if (bound == NULL)
            continue;
        if (code == 0 && bound->adding > 0)
            add_mark(bound, command->ticket, bound->adding, region->now.mono_us);
        bound->adding = 0;
    }
    return code;
}

/* --- Saying so --- */

/* A context has a recovery point now: what nobody else is known to hold is ahead. */
static struct bound *begin(struct region *region, const struct context *context)
{
    uint64_t size = region_own(region)->durable_size;
    uint64_t copied = copied_size(region, context);
    struct bound *bound = mem_alloc_zero(1, sizeof(*bound));
    if (bound != NULL && copied < size)
        add_mark(bound, size, size - copied, region->now.mono_us);
    return bound;
}

void bounds_follow(struct region *region)
{
    const struct context_table *contexts = region_contexts(region);
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_at(contexts, i);
        bool wanted = context != NULL && has_bound(&context->promises.recovery_point);
        if (wanted && region->states[i].bound == NULL)
            region->states[i].bound = begin(region, context);
        if (!wanted) {
            mem_free(region->states[i].bound);
            region->states[i].bound = NULL;
        }
    }
}

void bounds_watch(struct region *region, size_t at, struct region_update *update)
{
    const struct context *context = context_at(region_contexts(region), at);
    const struct recovery_point *point = &context->promises.recovery_point;
    struct bound *bound = region->states[at].bound;
    if (bound == NULL)
        return;
    drop_marks(bound, copied_size(region, context));
    bool before = bound->past;
    bound->past = bound->held_back || too_old(region, point, bound) || too_many(point, bound, 0);
    if (!bound->past || before || region->now.mono_us < bound->quiet_until_us)
        return;
    bound->quiet_until_us = region->now.mono_us + BOUND_ALARM_PAUSE_US;
    region_alarm(
        update, 0, bytes_of(NULL, 0),
        "context %.64s is at its recovery point (%llu events, %llu s; 0: any): %llu events, the oldest %llu ms "
        "old, are here alone; then: %s",
        context->name, (unsigned long long)point->events, (unsigned long long)point->seconds,
        (unsigned long long)events_ahead(bound), (unsigned long long)(age_us(region, bound) / 1000),
        bound_action_name(point->then));
}

void bounds_status(const struct region *region, size_t at, struct region_context_status *ret)
{
    const struct bound *bound = region->states[at].bound;
    if (bound == NULL)
        return;
    ret->ahead_events = events_ahead(bound);
    ret->ahead_ms = age_us(region, bound) / 1000;
    ret->past_bound = bound->past;
}
