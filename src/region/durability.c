/* Waiting for copies: an append to a context with durability `peers(k)` is answered when it is durable here and k peers
 * have stored it.
 *
 * Commands that were accepted wait in lists, one for each number of copies, in the order of acceptance. A list lets go
 * of its head as soon as the size that stands on so many copies reaches the head's ticket. So what needs only the own
 * disk never waits for a peer.
 *
 * What counts as a copy. Only a region that may hold a context's payloads keeps what was said; another one's copy of
 * the entries alone does not count. Commands that some peers' copies do not count for wait in a list of their own,
 * which is looked through as a whole. A peer tells how much of the own log it has stored, by acknowledgements on its
 * pull and in its hellos. It is only counted while what that peer had in logs of its own when it came up is here, and
 * applied: it may have seized a partition while it was away, and then what it stores of it is late, not kept. Whatever
 * was counted stays counted. What is late by what this region knows when its command is to be answered is not
 * acknowledged, neither by the command that appended it nor by a repetition: either ends with WRONG_HOME. The one
 * exception is the first answer in a context with neither copies nor leases, which promises the own disk alone.
 *
 * Giving up. A caller that is gone takes its command back by number; the entries stay, and a repetition with the same
 * ids finds them.
 *
 * Invariants:
 *  1. An accepted command waits in exactly one list until it is answered.
 *  2. With code 0 and `copies` k a command is answered only when k counted sizes and the durable size have reached its
 *     ticket. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "region/region_internal.h"

enum { NAME_SHOWN_MAX = 100 };

int policies_init(struct region *region, struct err *err)
{
    region->states = mem_alloc_zero(CONTEXT_PLACES_MAX, sizeof(*region->states));
    return region->states == NULL ? err_no_memory(err, "the contexts") : 0;
}

void policies_free(struct region *region)
{
    bounds_free(region);
    mem_free(region->states);
}

static int shown(struct bytes name)
{
    return (int)(name.size_bytes > NAME_SHOWN_MAX ? NAME_SHOWN_MAX : name.size_bytes);
}

/* --- Which copies there are --- */

uint32_t durability_lacking(const struct region *region, const struct context *context)
{
    uint32_t lacking = 0;
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (!rules_region_holds_payloads(&context->rules, bytes_of_string(region->config.peers[i].region)))
            lacking |= 1u << i;
    }
    return lacking;
}

uint64_t durability_copied(const struct region *region, uint32_t copies, uint32_t lacking)
{
    uint64_t sizes[REGION_PEERS_MAX];
    size_t count = 0;
    if (copies == 0 || PLANTED(answer_before_copies))
        return region_own(region)->durable_size;
    for (size_t i = 0; i < region->config.peer_count; i++) { /* descending */
        size_t at = count;
        if ((lacking & 1u << i) != 0)
            continue;
        count++;
        for (; at > 0 && sizes[at - 1] < region->counted[i]; at--)
            sizes[at] = sizes[at - 1];
        sizes[at] = region->counted[i];
    }
    if (copies > count)
        return 0;
    uint64_t copied = sizes[copies - 1];
    return copied < region_own(region)->durable_size ? copied : region_own(region)->durable_size;
}

/* Of those whose copies count. */
static uint32_t peers_up(const struct region *region, uint32_t lacking)
{
    uint32_t up = 0;
    for (size_t i = 0; i < region->config.peer_count; i++)
        up += region->peers[i].up && (lacking & 1u << i) == 0;
    return up;
}

/* What the peer had in its own logs when it came up is what must be here before its copies count. */
static void meet(struct region *region, size_t peer)
{
    for (size_t i = 1; i < region->log_count; i++) {
        if (region->logs[i]->owner == peer)
            region->logs[i]->met_size = region->logs[i]->held[peer];
    }
}

static bool caught_up(const struct region *region, size_t peer)
{
    for (size_t i = 1; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (log->owner == peer && (log->durable_size < log->met_size || !queue_empty(&region->homes.changes[i])))
            return false;
    }
    return true;
}

static void count_copies(struct region *region)
{
    const struct region_log *own = region_own(region);
    for (size_t i = 0; i < region->config.peer_count; i++) {
        bool up = region->peers[i].up;
        if (up && !region->met[i])
            meet(region, i);
        region->met[i] = up;
        bool believed = own->held[i] <= mirror_size(&own->mirror) && own->state != REGION_LOG_FORKED;
        if (up && believed && own->held[i] > region->counted[i] && caught_up(region, i))
            region->counted[i] = own->held[i];
    }
}

/* --- Deciding --- */

static int refuse_away(const struct region *region, const struct region_stream_write *write, uint32_t wanted,
                       uint32_t lacking, struct err *err)
{
    return err_set(
        err, ERR_UNAVAILABLE,
        "context \"%.*s\" answers an append when %u peers have stored it, and %u of region %s's %zu peers %s; "
        "retry",
        shown(write->context), (const char *)write->context.data, (unsigned)wanted, (unsigned)peers_up(region, lacking),
        region->config.region, region->config.peer_count, lacking == 0 ? "answer" : "may hold its payloads and answer");
}

int durability_decide(const struct region *region, struct region_command *command,
                      const struct region_stream_write *write, bool repetition)
{
    const struct context *context = context_find(region_contexts(region), write->context);
    if (context == NULL || context->promises.durability.peers == 0)
        return 0; /* what is not a context was refused before */
    uint32_t wanted = context->promises.durability.peers;
    uint32_t lacking = command->lacking | durability_lacking(region, context);
    uint32_t up = peers_up(region, lacking);
    if (up < wanted && (context->promises.durability.when_away == AWAY_DEGRADE || PLANTED(degrade_always))) {
        wanted = up;
        command->degraded = true;
    }
    if (wanted < command->copies)
        wanted = command->copies; /* of a context before, in the same batch */
    if (up < wanted && !repetition)
        return refuse_away(region, write, wanted, lacking, &command->refusal.err);
    command->copies = wanted;
    command->lacking = lacking;
    return 0;
}

/* The region's number of a log that the index knows as `number`; log_count when it is none of them. */
static uint32_t log_numbered(struct region *region, uint32_t number)
{
    for (uint32_t i = 0; i < region->log_count; i++) {
        uint32_t found = 0;
        if (index_log(region->index, bytes_of_string(region->logs[i]->origin), &found, NULL) == 0 && found == number)
            return i;
    }
    return (uint32_t)region->log_count;
}

int durability_repetition(struct region *region, struct region_command *command, const struct index_place *place)
{
    if (command->copies == 0)
        return 0;
    if (place->log == region->own_index_log) {
        if (place->index + 1 > command->ticket)
            command->ticket = place->index + 1;
        return 0;
    }
    uint32_t number = log_numbered(region, place->log);
    uint32_t copies = 0;
    if (number < region->log_count) {
        const struct region_log *log = region->logs[number];
        bool own =
            log->owner == REGION_NO_PEER; /* an earlier log of this region; else it is one of the owner's peers */
        copies = !own && log->durable_size > place->index;
        for (size_t i = 0; i < region->config.peer_count; i++)
            copies += i != log->owner && log->held[i] > place->index && (command->lacking & 1u << i) == 0;
    }
    if (copies >= command->copies)
        return 0;
    return err_set(&command->refusal.err, ERR_UNAVAILABLE,
                   "an event of the batch is in the log of another region already, and %u of the %u peers that must "
                   "have stored it are known to have it; retry",
                   (unsigned)copies, (unsigned)command->copies);
}

/* --- Waiting --- */

void durability_wait(struct region *region, struct region_command *command)
{
    struct region_waiting *waiting =
        command->lacking == 0 ? &region->waiting[command->copies] : &region->waiting_for_some;
    if (waiting->last == NULL)
        waiting->first = command;
    else
        waiting->last->next = command;
    waiting->last = command;
    region->pending_count++;
}

static struct region_command *take_first(struct region *region, struct region_waiting *waiting)
{
    struct region_command *command = waiting->first;
    waiting->first = command->next;
    if (waiting->first == NULL)
        waiting->last = NULL;
    region->pending_count--;
    return command;
}

static int refuse_late(const struct region_log *log, const struct region_result *result, struct err *err)
{
    return err_set(
        err, ERR_WRONG_HOME,
        "entry %llu of log %.200s was accepted, and another region had become the home before it was sure to "
        "count: it is late, and settled there; append it at the home, with the same ids",
        (unsigned long long)result->index, log->origin);
}

/* Whether an entry is late by what is known here. Under which epoch a repetition was accepted nobody has looked up. */
static bool is_late(const struct region *region, const struct region_log *log, const struct region_stream_write *write,
                    const struct region_result *result)
{
    const struct authority_table *authority = &region->homes.authority;
    const struct origin *of = &log->parts;
    return result->duplicate ? authority_was_away(authority, write->context, write->partition, of->region,
                                                  of->incarnation, result->index)
                             : authority_is_late(authority, write->context, write->partition, write->epoch, of->region,
                                                 of->incarnation, result->index);
}

/* In a fenced context what is in the own log, and not late, is only acknowledged under a lease while this region is the
 * home: without one it may have come too late, and nobody here would know. Where another region is the home, or is to
 * be, it took over what stands here, or it would be late. */
static int check_lease(const struct region *region, const struct context *context,
                       const struct region_stream_write *write, const struct region_result *result, struct err *err)
{
    struct authority_now now;
    if (context == NULL || lease_of(context) == 0)
        return 0;
    int code = authority_now(&region->homes.authority, write->context, write->partition, &now, err);
    if (code != 0 || now.released || strcmp(now.region, region->config.region) != 0)
        return code;
    code = lease_check(region, context, &now, err);
    return code == 0 ? 0
                     : err_wrap(err, code, "entry %llu is here, and may not count; append it again with the same ids",
                                (unsigned long long)result->index);
}

/* Of one event. `log` is where it is: NULL when that is none of the region's. */
static int confirm(const struct region *region, const struct region_log *log, const struct context *context,
                   const struct region_command *command, const struct region_stream_write *write,
                   const struct region_result *result, struct err *err)
{
    bool may_be_late = result->duplicate || command->copies > 0 || (context != NULL && lease_of(context) > 0);
    if (result->commutative || log == NULL)
        return 0; /* no home of it could be overtaken, or lose its lease */
    if (may_be_late && is_late(region, log, write, result))
        return refuse_late(log, result, err);
    return log == region_own(region) ? check_lease(region, context, write, result, err) : 0;
}

int durability_confirm(struct region *region, struct region_command *command)
{
    const struct region_result *result = command->results;
    const struct context *context = NULL;
    const struct region_log *log = region_own(region);
    uint32_t number = region->own_index_log; /* of that log, as the index has it */
    int code = 0;
    if (command->settle != NULL || command->control != NULL || command->verdict != NULL || command->define != NULL ||
        command->queued || command->overridden)
        return 0;
    for (size_t i = 0; i < command->write_count; i++) {
        const struct region_stream_write *write = &command->writes[i];
        if (i == 0 || !bytes_equal(write->context, command->writes[i - 1].context))
            context = context_find(region_contexts(region), write->context);
        for (size_t event = 0; code == 0 && event < write->event_count; event++, result++) {
            command->refusal.write_number = i;
            if (result->place.log != number) {
                number = result->place.log;
                uint32_t at = log_numbered(region, number);
                log = at < region->log_count ? region->logs[at] : NULL;
            }
            code = confirm(region, log, context, command, write, result, &command->refusal.err);
        }
    }
    if (code == 0)
        command->refusal.write_number = 0;
    return code;
}

static void answer(struct region *region, struct region_command *command, struct region_update *update)
{
    command->refusal.code = durability_confirm(region, command);
    region_add(update, REGION_ANSWER)->command = command;
}

static void let_go(struct region *region, uint32_t copies, struct region_update *update)
{
    struct region_waiting *waiting = &region->waiting[copies];
    if (waiting->first == NULL)
        return;
    uint64_t size = durability_copied(region, copies, 0);
    while (waiting->first != NULL && waiting->first->ticket <= size)
        answer(region, take_first(region, waiting), update);
}

/* Takes the command that stands behind `before` (NULL: the first one) out of the list. */
static struct region_command *take_behind(struct region *region, struct region_waiting *waiting,
                                          struct region_command *before)
{
    if (before == NULL)
        return take_first(region, waiting);
    struct region_command *command = before->next;
    before->next = command->next;
    if (command->next == NULL)
        waiting->last = before;
    region->pending_count--;
    return command;
}

static void let_go_of_some(struct region *region, struct region_update *update)
{
    struct region_waiting *waiting = &region->waiting_for_some;
    struct region_command *before = NULL;
    struct region_command *command = waiting->first;
    while (command != NULL) {
        struct region_command *next = command->next;
        if (command->ticket <= durability_copied(region, command->copies, command->lacking))
            answer(region, take_behind(region, waiting, before), update);
        else
            before = command;
        command = next;
    }
}

void durability_release(struct region *region, struct region_update *update)
{
    count_copies(region);
    for (uint32_t copies = 0; copies <= region->config.peer_count; copies++)
        let_go(region, copies, update);
    let_go_of_some(region, update);
}

/* The command with that number, taken out of the list; NULL when it is not there. */
static struct region_command *take_numbered(struct region *region, struct region_waiting *waiting, uint64_t number)
{
    struct region_command *before = NULL;
    struct region_command *command = waiting->first;
    while (command != NULL && command->number != number) {
        before = command;
        command = command->next;
    }
    return command == NULL ? NULL : take_behind(region, waiting, before);
}

void durability_give_up(struct region *region, uint64_t number, struct region_update *update)
{
    struct region_command *command = take_numbered(region, &region->waiting_for_some, number);
    for (uint32_t copies = 1; command == NULL && copies <= region->config.peer_count; copies++)
        command = take_numbered(region, &region->waiting[copies], number);
    if (command == NULL)
        return;
    command->refusal.code =
        err_set(&command->refusal.err, ERR_TIMEOUT,
                "region %s has accepted it, and %u peers have not stored it yet; append it again, with the same ids",
                region->config.region, (unsigned)command->copies);
    region_add(update, REGION_ANSWER)->command = command;
}

/* --- Saying so --- */

void durability_count(struct region *region, const struct region_command *command)
{
    const struct context_table *contexts = region_contexts(region);
    for (size_t i = 0; command->degraded && i < command->write_count; i++) {
        size_t number = 0;
        if (context_promises(contexts, command->writes[i].context, &number) == NULL)
            continue;
        const struct context *context = context_at(contexts, number);
        if (context->promises.durability.peers > peers_up(region, durability_lacking(region, context)))
            region->states[number].degraded_count++;
    }
}

void region_context_status(const struct region *region, size_t context, struct region_context_status *ret)
{
    const struct context *found = context_at(region_contexts(region), context);
    const struct context_state *state = &region->states[context];
    *ret = (struct region_context_status){.away = state->away, .degraded_count = state->degraded_count};
    if (found != NULL)
        copy_string(ret->name, sizeof(ret->name), found->name);
    bounds_status(region, context, ret);
    lease_status(region, context, ret);
    ret->failover_ready = state->ready;
    memcpy(ret->advice, state->advice, sizeof(ret->advice));
}

static void watch_peers(struct region *region, const struct context *context, size_t at, struct region_update *update)
{
    const struct durability *durability = &context->promises.durability;
    uint32_t up = peers_up(region, durability_lacking(region, context));
    bool away = up < durability->peers;
    if (away == region->states[at].away)
        return;
    region->states[at].away = away;
    if (away)
        region_alarm(update, 0, bytes_of(NULL, 0),
                     "context %.64s needs %u peers that store its appends, payloads included, %u answer: %s",
                     context->name, (unsigned)durability->peers, (unsigned)up,
                     durability->when_away == AWAY_DEGRADE ? "appends are DEGRADED, answered on fewer copies"
                                                           : "its appends are refused");
}

void policies_watch(struct region *region, struct region_update *update)
{
    const struct context_table *contexts = region_contexts(region);
    if (region_own(region)->state != REGION_LOG_ACCEPTING)
        return;
    bounds_follow(region);
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_at(contexts, i);
        if (update->effect_count + REGION_EFFECTS_SLACK / 2 > update->effect_capacity)
            return; /* the rest at the next step */
        if (context == NULL)
            continue;
        watch_peers(region, context, i, update);
        bounds_watch(region, i, update);
        lease_watch(region, i, update);
    }
}
