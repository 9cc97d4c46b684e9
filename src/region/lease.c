/* Leases (lease.h): what this region was granted, and what it has granted. Neither is kept on disk; what a start must
 * assume is said in the header.
 *
 * Invariants:
 *  1. counted[p] is a grant whose conditions were met here when it came to be counted, and so for ever: what was obeyed
 *     stays obeyed.
 *  2. granted_us[p] is at or after every grant given to p, or the start, whichever is later.
 *  3. A change that has taken a partition from a region is told as obeyed to its new home only when the grants that the
 *     other region had then have ended; it is told to the other region at once. */
#include "region/lease.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"
#include "region/region_internal.h"

enum { MILLION = 1000000, NAME_SHOWN_MAX = 64 };

#define NO_BARRIER UINT64_MAX

/* Whoever counts on a slow clock may still count when so much has passed on a fast one. */
uint64_t lease_stretched_us(uint64_t lease_us)
{
    if (PLANTED(no_drift_bound))
        return lease_us;
    return lease_us * (MILLION + LEASE_DRIFT_PPM) / (MILLION - LEASE_DRIFT_PPM) + 1;
}

size_t lease_needed(const struct region *region)
{
    return (region->config.peer_count + 1) / 2 + 1;
}

size_t lease_witnesses(const struct region *region)
{
    return region->config.peer_count + 1 - lease_needed(region) + 1;
}

uint64_t lease_hello_interval_us(const struct region *region)
{
    enum { ASKED_IN_A_LEASE = 4 };
    uint64_t usual_us = region->config.hello_interval_us;
    uint64_t part_us = region->leases.shortest_us / ASKED_IN_A_LEASE;
    return region->leases.shortest_us > 0 && part_us < usual_us ? part_us : usual_us;
}

/* --- The start --- */

void lease_init(struct region *region)
{
    struct leases *leases = &region->leases;
    for (size_t i = 0; i < REGION_LOGS_MAX; i++)
        leases->barrier[i] = NO_BARRIER;
}

/* What was promised for a while is promised for the longest that there ever was. */
void lease_know_contexts(struct region *region)
{
    struct leases *leases = &region->leases;
    const struct context_table *contexts = region_contexts(region);
    leases->shortest_us = 0;
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_at(contexts, i);
        uint64_t lease_us = context == NULL ? 0 : lease_of(context);
        if (lease_us > leases->longest_us)
            leases->longest_us = lease_us;
        if (lease_us > 0 && (leases->shortest_us == 0 || lease_us < leases->shortest_us))
            leases->shortest_us = lease_us;
    }
}

static uint32_t find_log(const struct region *region, const char *of_region, uint64_t incarnation)
{
    uint32_t log = 0;
    while (log < region->log_count && (region->logs[log]->parts.incarnation != incarnation ||
                                       strcmp(region->logs[log]->parts.region, of_region) != 0))
        log++;
    return log;
}

static bool has_nothing(const struct region *region)
{
    for (size_t i = 0; i < region->log_count; i++) {
        if (region->logs[i]->durable_size > 0)
            return false;
    }
    return true;
}

void lease_load(struct region *region)
{
    struct leases *leases = &region->leases;
    struct authority_walk at = {0};
    struct authority_record record;
    lease_know_contexts(region);
    leases->amnesia =
        region->config.peer_count > 0 && (has_nothing(region) || region->config.restored || region->config.fresh);
    while (authority_next(&region->homes.authority, &at, &record)) {
        const struct context *context = context_find(region_contexts(region), record.context);
        uint32_t log = find_log(region, record.region, record.incarnation);
        if (log == region->log_count)
            continue;
        if (record.index >= leases->obeyed_end[log])
            leases->obeyed_end[log] = record.index + 1;
        if (context != NULL && lease_of(context) > 0 && record.index < leases->barrier[log])
            leases->barrier[log] = record.index;
    }
}

void lease_begin(struct region *region)
{
    struct leases *leases = &region->leases;
    uint64_t now_us = region->now.mono_us;
    leases->began = true;
    for (size_t i = 0; i < REGION_PEERS_MAX; i++)
        leases->granted_us[i] = now_us;
    for (size_t i = 0; i < REGION_LOGS_MAX; i++)
        leases->barrier_until_us[i] = now_us + lease_stretched_us(leases->longest_us);
}

void lease_forgot(struct region *region)
{
    struct leases *leases = &region->leases;
    leases->amnesia = region->config.peer_count > 0;
    memset(leases->taught, 0, sizeof(leases->taught));
}

static void learn(struct region *region, size_t peer)
{
    struct leases *leases = &region->leases;
    size_t count = 0;
    leases->taught[peer] = true;
    for (size_t i = 0; i < region->config.peer_count; i++)
        count += leases->taught[i];
    if (count >= lease_witnesses(region) || count == region->config.peer_count)
        leases->amnesia = false;
}

/* --- Held --- */

/* All changes of the log below this are obeyed here. */
static uint64_t obeyed_below(const struct region *region, uint32_t log)
{
    const struct queue_link *changes = &region->homes.changes[log];
    if (queue_empty(changes))
        return log == 0 ? mirror_size(&region->logs[log]->mirror) : region->logs[log]->durable_size;
    return homes_first_change(region, log);
}

static bool is_met(const struct region *region, const struct lease_grant *grant)
{
    for (uint32_t i = 0; i < region->log_count && !PLANTED(lease_of_the_ignorant); i++) {
        if (grant->obeyed[i] > obeyed_below(region, i))
            return false;
    }
    return true;
}

static void count_grant(struct region *region, size_t peer, const struct lease_grant *grant)
{
    region->leases.counted[peer] = *grant;
    region->leases.coming[peer].given = false;
}

void lease_heard(struct region *region, const struct region_event *event)
{
    struct leases *leases = &region->leases;
    struct lease_grant grant = {.given = event->granted, .asked_us = event->asked_us};
    if (leases->shortest_us == 0)
        return;
    for (size_t i = 0; i < event->held_count; i++) {
        uint32_t log = 0;
        while (log < region->log_count && strcmp(region->logs[log]->origin, event->held[i].origin) != 0)
            log++;
        if (log == region->log_count && event->held[i].obeyed > 0)
            return; /* of a log that is not here: the next one may be met */
        if (log < region->log_count)
            grant.obeyed[log] = event->held[i].obeyed;
    }
    struct lease_grant *coming = &leases->coming[event->peer];
    if (is_met(region, &grant)) {
        learn(region, event->peer);
        if (grant.given)
            count_grant(region, event->peer, &grant);
    } else if (grant.given && (!coming->given || coming->asked_us + leases->shortest_us / 2 < region->now.mono_us)) {
        *coming = grant;
    }
}

void lease_follow(struct region *region)
{
    struct leases *leases = &region->leases;
    for (size_t i = 0; i < region->config.peer_count && leases->shortest_us > 0; i++) {
        struct lease_grant *coming = &leases->coming[i];
        if (coming->given && is_met(region, coming)) {
            struct lease_grant met = *coming;
            count_grant(region, i, &met);
        }
    }
}

void lease_stored(struct region *region, size_t peer, uint64_t before, uint64_t now)
{
    uint64_t end = region->leases.obeyed_end[0];
    if (region->leases.shortest_us > 0 && before < end && now >= end)
        region->peers[peer].next_hello_us = region->now.mono_us;
}

/* Of the change that made this region a home, or of none when the context did. */
struct title {
    uint32_t log; /* log_count: none that is here */
    uint64_t index;
    bool original;
};

static struct title title_of(const struct region *region, const struct authority_now *now)
{
    struct title title = {.original = now->incarnation == 0, .index = now->index};
    title.log = title.original ? 0 : find_log(region, region->config.region, now->incarnation);
    return title;
}

static bool is_past_barrier(const struct region *region, const struct title *title)
{
    const struct leases *leases = &region->leases;
    return title->index < leases->barrier[title->log] || region->now.mono_us >= leases->barrier_until_us[title->log];
}

static bool counts_itself(const struct region *region, const struct title *title)
{
    return region->leases.began && !region->leases.amnesia && (title->original || is_past_barrier(region, title));
}

static bool counts(const struct region *region, size_t peer, const struct title *title, uint64_t lease_us)
{
    const struct lease_grant *grant = &region->leases.counted[peer];
    return grant->given && region->now.mono_us < grant->asked_us + lease_us &&
           (title->original || grant->obeyed[title->log] > title->index);
}

static void list_missing(const struct region *region, const struct title *title, uint64_t lease_us, char *out,
                         size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    if (!counts_itself(region, title))
        used +=
            (size_t)snprintf(out, size, " %s (it waits out what it may have granted before)", region->config.region);
    for (size_t i = 0; i < region->config.peer_count && used < size; i++) {
        if (!counts(region, i, title, lease_us))
            used += (size_t)snprintf(out + used, size - used, " %s (%s)", region->config.peers[i].region,
                                     region->peers[i].up ? "answers, and has not granted it yet" : "does not answer");
    }
}

int lease_check(const struct region *region, const struct context *context, const struct authority_now *now,
                struct err *err)
{
    uint64_t lease_us = lease_of(context);
    if (lease_us == 0 || now->unfenced || PLANTED(accept_without_lease))
        return 0;
    struct title title = title_of(region, now);
    if (title.log == region->log_count)
        return err_set(err, ERR_UNAVAILABLE, "the log of the change that made this region the home is not here; retry");
    char missing[TALLY_ERROR_MESSAGE_MAX_BYTES / 2];
    size_t count = counts_itself(region, &title);
    for (size_t i = 0; i < region->config.peer_count; i++)
        count += counts(region, i, &title, lease_us);
    if (count >= lease_needed(region))
        return 0;
    list_missing(region, &title, lease_us, missing, sizeof(missing));
    return err_set(err, ERR_UNAVAILABLE,
                   "context \"%.64s\" is fenced: region %s accepts for it while %zu of %zu regions grant it a lease, "
                   "and %zu do; missing:%s; retry",
                   context->name, region->config.region, lease_needed(region), region->config.peer_count + 1, count,
                   missing);
}

/* When the lease ends that the best grants make; 0: they are too few. */
static uint64_t held_until_us(const struct region *region, uint64_t lease_us, size_t *ret_granters)
{
    const struct title title = {.original = true};
    uint64_t ends[REGION_PEERS_MAX];
    size_t count = 0;
    size_t others = lease_needed(region) - counts_itself(region, &title);
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (!counts(region, i, &title, lease_us))
            continue;
        uint64_t end = region->leases.counted[i].asked_us + lease_us;
        size_t at = count++;
        for (; at > 0 && ends[at - 1] < end; at--)
            ends[at] = ends[at - 1];
        ends[at] = end;
    }
    *ret_granters = count + counts_itself(region, &title);
    if (others == 0)
        return REGION_NEVER;
    return count >= others ? ends[others - 1] : 0;
}

bool lease_held(const struct region *region, const struct context *context, uint64_t *ret_left_us, size_t *ret_granters)
{
    uint64_t until_us = held_until_us(region, lease_of(context), ret_granters);
    bool held = until_us > region->now.mono_us;
    *ret_left_us = until_us == REGION_NEVER ? REGION_NEVER : held ? until_us - region->now.mono_us : 0;
    return held;
}

/* --- Granted --- */

uint64_t lease_given_left_us(const struct region *region, size_t peer, uint64_t lease_us)
{
    uint64_t end_us = region->leases.granted_us[peer] + lease_stretched_us(lease_us);
    if (!region->leases.began)
        return lease_stretched_us(lease_us);
    return end_us > region->now.mono_us ? end_us - region->now.mono_us : 0;
}

/* How much longer a region may count grants of this one; this region knows of itself that it has stopped. */
static uint64_t left_us(const struct region *region, const char *home, uint64_t lease_us)
{
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (strcmp(region->config.peers[i].region, home) == 0)
            return lease_given_left_us(region, i, lease_us);
    }
    return 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Whether the change of "*" took a partition that had changes of its own, from whomever. */
static bool takes_others(const struct region *region, const struct authority_event *event)
{
    const struct authority_table *table = &region->homes.authority;
    const struct bytes star = bytes_of_string(CONTROL_ALL_PARTITIONS);
    struct bytes partition;
    size_t at = 0;
    while (bytes_equal(event->partition, star) && authority_partition_next(table, event->context, &at, &partition)) {
        struct authority_now now;
        if (!bytes_equal(partition, star) && authority_now(table, event->context, partition, &now, NULL) == 0 &&
            now.index == event->index && now.incarnation == event->incarnation &&
            strcmp(now.region, event->region) == 0)
            return true;
    }
    return false;
}

static void raise_barrier(struct region *region, uint32_t log, uint64_t index, uint64_t until_us)
{
    struct leases *leases = &region->leases;
    uint64_t now_us = region->now.mono_us;
    if (until_us <= now_us)
        return;
    if (leases->barrier_until_us[log] <= now_us)
        leases->barrier[log] = NO_BARRIER;
    if (index < leases->barrier[log])
        leases->barrier[log] = index;
    leases->barrier_until_us[log] = later(leases->barrier_until_us[log], until_us);
}

/* Of the region's logs, the last barrier that stands. */
static uint64_t standing_until_us(const struct region *region, const char *home)
{
    uint64_t until_us = 0;
    for (size_t i = 0; i < region->log_count; i++) {
        if (strcmp(region->logs[i]->parts.region, home) == 0 && region->leases.barrier[i] != NO_BARRIER)
            until_us = later(until_us, region->leases.barrier_until_us[i]);
    }
    return until_us;
}

void lease_obeyed(struct region *region, uint32_t log, const struct authority_event *event,
                  const struct authority_now *before, const char *region_before, bool let_go_to_it)
{
    struct leases *leases = &region->leases;
    const struct context *context = context_find(region_contexts(region), event->context);
    struct authority_now now;
    if (event->index >= leases->obeyed_end[log])
        leases->obeyed_end[log] = event->index + 1;
    if (context == NULL || lease_of(context) == 0 ||
        authority_now(&region->homes.authority, event->context, event->partition, &now, NULL) != 0 ||
        now.index != event->index || now.incarnation != event->incarnation || strcmp(now.region, event->region) != 0)
        return;
    uint64_t lease_us = lease_of(context);
    bool consent = let_go_to_it && event->kind == CONTROL_AUTHORITY_TAKEN && event->epoch == before->epoch + 1;
    uint64_t until_us = 0;
    if (!consent && strcmp(region_before, event->region) != 0)
        until_us = region->now.mono_us + left_us(region, region_before, lease_us);
    if (strcmp(region_before, event->region) != 0)
        until_us = later(until_us, standing_until_us(region, region_before));
    if (takes_others(region, event))
        until_us = region->now.mono_us + lease_stretched_us(lease_us);
    raise_barrier(region, log, event->index, until_us);
}

static uint64_t told_as_obeyed(const struct region *region, uint32_t log, const char *asker)
{
    const struct leases *leases = &region->leases;
    uint64_t end = leases->obeyed_end[log];
    bool standing = region->now.mono_us < leases->barrier_until_us[log] && leases->barrier[log] < end;
    return standing && strcmp(region->logs[log]->parts.region, asker) == 0 ? leases->barrier[log] : end;
}

void region_lease_asked(struct region *region, struct time_now now, size_t peer,
                        const struct region_lease_question *question, struct region_lease_answer *ret)
{
    PRE(peer < region->config.peer_count);
    struct leases *leases = &region->leases;
    enum region_log_state state = region_own(region)->state;
    memset(ret, 0, sizeof(*ret));
    if (leases->shortest_us == 0 || !leases->began)
        return;
    region->now = now;
    ret->granted = !leases->amnesia && state != REGION_LOG_FORKED && state != REGION_LOG_RETIRED &&
                   now.mono_us >= leases->barred_until_us[peer];
    if (ret->granted)
        leases->granted_us[peer] = now.mono_us;
    ret->log_count = region->log_count;
    for (uint32_t i = 0; i < region->log_count; i++)
        ret->obeyed[i] = told_as_obeyed(region, i, region->config.peers[peer].region);
    for (size_t i = 0; i < region->config.peer_count && question->about[0] != '\0'; i++) {
        if (strcmp(region->config.peers[i].region, question->about) != 0)
            continue;
        ret->left_us = lease_given_left_us(region, i, question->lease_us);
        ret->abstains = ret->left_us == 0;
        if (ret->abstains && question->abstain)
            leases->barred_until_us[i] =
                later(leases->barred_until_us[i], now.mono_us + lease_stretched_us(question->lease_us));
    }
}

/* --- Saying so --- */

void lease_status(const struct region *region, size_t at, struct region_context_status *ret)
{
    const struct context *context = context_at(region_contexts(region), at);
    uint64_t left = 0;
    size_t granters = 0;
    if (context == NULL || lease_of(context) == 0)
        return;
    ret->lease_held = lease_held(region, context, &left, &granters);
    ret->lease_left_ms = left == REGION_NEVER ? context->rules.lease_ms : left / 1000;
    ret->lease_granters = (uint32_t)granters;
    ret->lease_needed = (uint32_t)lease_needed(region);
}

/* Whether the region is a home in the context that needs a lease. */
static bool needs_lease(const struct region *region, const struct context *context)
{
    const struct authority_table *table = &region->homes.authority;
    struct bytes name = bytes_of_string(context->name);
    struct bytes partition;
    size_t at = 0;
    while (authority_partition_next(table, name, &at, &partition)) {
        struct authority_now now;
        if (authority_now(table, name, partition, &now, NULL) == 0 && !now.released && !now.unfenced &&
            strcmp(now.region, region->config.region) == 0)
            return true;
    }
    return false;
}

void lease_watch(struct region *region, size_t at, struct region_update *update)
{
    const struct context *context = context_at(region_contexts(region), at);
    struct context_state *state = &region->states[at];
    uint64_t left = 0;
    size_t granters = 0;
    if (context == NULL || lease_of(context) == 0)
        return;
    bool held = lease_held(region, context, &left, &granters);
    bool lost = state->had_lease && !held;
    state->had_lease = held;
    if (lost && needs_lease(region, context))
        region_alarm(
            update, 0, bytes_of(NULL, 0),
            "context %.64s is FENCED: %zu of %zu regions grant this one a lease, and %zu must; its appends are "
            "refused until they do",
            context->name, granters, region->config.peer_count + 1, lease_needed(region));
}

uint64_t lease_deadline_us(const struct region *region)
{
    uint64_t deadline_us = REGION_NEVER;
    const struct context_table *contexts = region_contexts(region);
    for (size_t i = 0; i < context_count(contexts); i++) {
        size_t granters = 0;
        const struct context *context = context_at(contexts, i);
        uint64_t lease_us = context == NULL ? 0 : lease_of(context);
        uint64_t until_us = lease_us == 0 ? 0 : held_until_us(region, lease_us, &granters);
        if (until_us > region->now.mono_us && until_us < deadline_us)
            deadline_us = until_us;
    }
    return deadline_us;
}
