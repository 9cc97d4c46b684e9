/* The evidence for a failover: what is known of the lost region and its logs, and every readiness check with its
 * outcome. A pure look at the region; homes.c acts on it, and an operator sees it first.
 *
 * The checks: this region may hold the context's payloads; the lost region does not answer; the other survivors do;
 * what anybody within reach holds of its logs is here; the index has applied it; a signature covers it; enough copies
 * were looked at to hold whatever was acknowledged; and what may be missing is within the context's recovery point. */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "domain/residency.h"
#include "region/region_internal.h"

static PRINTF_LIKE(4, 5) void add_check(struct region_failover_report *report, const char *name, bool ok,
                                        const char *format, ...)
{
    INVARIANT(report->check_count < REGION_CHECKS_MAX);
    struct region_check *check = &report->checks[report->check_count++];
    va_list args;
    check->name = name;
    check->ok = ok;
    va_start(args, format);
    vsnprintf(check->detail, sizeof(check->detail), format, args);
    va_end(args);
}

static void add_logs(const struct region *region, struct region_failover_report *report)
{
    for (size_t i = 0; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (log->owner != report->peer)
            continue;
        struct region_lost_log *lost = &report->logs[report->log_count++];
        memcpy(lost->origin, log->origin, sizeof(lost->origin));
        lost->size = log->durable_size;
        lost->indexed_size = log->indexed_size;
        lost->checkpoint_size = log->checkpoint.size;
        lost->known_size = log->durable_size;
        for (size_t peer = 0; peer < region->config.peer_count; peer++) {
            lost->held[peer] = log->held[peer];
            if (log->held[peer] > lost->known_size)
                lost->known_size = log->held[peer];
        }
    }
}

static void check_residency(const struct region *region, struct bytes context, struct region_failover_report *report)
{
    bool allowed = residency_allows(&region->config.contexts, bytes_of_string(region->config.region), context);
    add_check(report, "residency", allowed, "region %s %s", region->config.region,
              allowed ? "may hold the context's payloads"
                      : "may not hold the context's payloads, so it cannot become a home; this cannot be forced");
}

static void check_answers(const struct region *region, struct region_failover_report *report)
{
    const char *name = region->config.peers[report->peer].region;
    if (report->up)
        add_check(report, "silent", false, "region %s answers: hand its partitions over instead", name);
    else if (!report->heard)
        add_check(report, "silent", true, "region %s was not heard of since this one started", name);
    else
        add_check(report, "silent", true, "region %s was last heard of %llu ms ago", name,
                  (unsigned long long)(report->last_contact_us_ago / 1000));
}

static void check_survivors(const struct region *region, struct region_failover_report *report)
{
    char missing[REGION_CHECK_DETAIL_MAX_BYTES / 2] = "";
    size_t used = 0;
    for (size_t peer = 0; peer < region->config.peer_count && used < sizeof(missing); peer++) {
        if (peer != report->peer && !region->peers[peer].up)
            used += (size_t)snprintf(missing + used, sizeof(missing) - used, " %s", region->config.peers[peer].region);
    }
    if (used == 0)
        add_check(report, "survivors", true, "every other region answers");
    else
        add_check(report, "survivors", false, "other survivors do not answer, and may hold more of the log:%s",
                  missing);
}

static void check_copies(const struct region *region, struct region_failover_report *report)
{
    for (size_t i = 0; i < report->log_count; i++) {
        const struct region_lost_log *log = &report->logs[i];
        for (size_t peer = 0; peer < region->config.peer_count; peer++) {
            if (peer == report->peer || !region->peers[peer].up || log->held[peer] <= log->size)
                continue;
            const char *lacks =
                residency_lacks(&region->config.contexts, bytes_of_string(region->config.peers[peer].region),
                                bytes_of_string(region->config.region));
            add_check(report, "complete", false, "region %s holds %llu entries of log %.120s, %llu are here; %s%.64s",
                      region->config.peers[peer].region, (unsigned long long)log->held[peer], log->origin,
                      (unsigned long long)log->size,
                      lacks == NULL ? "they are on their way" : "they stay there, for it has no payloads of context ",
                      lacks == NULL ? "" : lacks);
            return;
        }
    }
    add_check(report, "complete", true, "what the survivors hold of its logs is here");
}

/* Entries that passed their checks: some may be on their way to the disk. */
static uint64_t received_size(const struct region *region, const char *origin)
{
    for (size_t i = 0; i < region->log_count; i++) {
        if (strcmp(region->logs[i]->origin, origin) == 0)
            return mirror_size(&region->logs[i]->mirror);
    }
    return 0;
}

static void check_indexed(const struct region *region, struct region_failover_report *report)
{
    for (size_t i = 0; i < report->log_count; i++) {
        const struct region_lost_log *log = &report->logs[i];
        uint64_t received = received_size(region, log->origin);
        if (log->indexed_size < received) {
            add_check(report, REGION_CHECK_INDEXED, false, "log %.120s is still being indexed, %llu of %llu entries",
                      log->origin, (unsigned long long)log->indexed_size, (unsigned long long)received);
            return;
        }
    }
    add_check(report, REGION_CHECK_INDEXED, true, "the index has applied what is here");
}

static void check_signed(struct region_failover_report *report)
{
    for (size_t i = 0; i < report->log_count; i++) {
        const struct region_lost_log *log = &report->logs[i];
        if (log->checkpoint_size < log->size) {
            add_check(report, "signed", true,
                      "the last %llu entries of log %.120s rest on its chain, not on a signature",
                      (unsigned long long)(log->size - log->checkpoint_size), log->origin);
            return;
        }
    }
    add_check(report, "signed", true, "signatures cover what is here");
}

/* Rule 4: what k of n peers have stored is with at least one of any n - k + 1 of them. */
static void check_promised(const struct region *region, const struct context *context,
                           struct region_failover_report *report)
{
    const struct promises *policy = &context->promises;
    uint32_t lacking = durability_lacking(region, context);
    size_t peers = 1; /* of the lost region, whose copies count: this one */
    size_t within_reach = 1;
    if (policy->durability.peers == 0) {
        add_check(report, "copies", true,
                  "the context answers appends that only their home holds: the newest may be missing here");
        return;
    }
    for (size_t peer = 0; peer < region->config.peer_count; peer++) {
        bool counts = peer != report->peer && (lacking & 1u << peer) == 0;
        peers += counts;
        within_reach += counts && region->peers[peer].up;
    }
    if (peers < policy->durability.peers)
        peers = policy->durability.peers; /* a promise that could not be kept */
    size_t needed = peers + 1 - policy->durability.peers;
    add_check(report, "copies", within_reach >= needed,
              "every acknowledged append is with %u of %zu regions, so %zu of their copies must be looked at; %zu are "
              "within reach%s",
              (unsigned)policy->durability.peers, peers, needed, within_reach,
              policy->durability.when_away == AWAY_DEGRADE ? " (degraded appends may be with fewer)" : "");
}

static void check_recovery_point(const struct promises *policy, struct region_failover_report *report)
{
    const struct recovery_point *point = &policy->recovery_point;
    uint64_t missing = 0;
    if (point->events == 0 && point->seconds == 0) {
        add_check(report, "recovery-point", true, "the context sets no bound for what its home may hold alone");
        return;
    }
    for (size_t i = 0; i < report->log_count; i++)
        missing += report->logs[i].known_size - report->logs[i].size;
    add_check(report, "recovery-point", point->events == 0 || missing <= point->events,
              "%llu entries are known to be missing here; the context's bound is %llu events and %llu s (0: any), then "
              "%s: %s",
              (unsigned long long)missing, (unsigned long long)point->events, (unsigned long long)point->seconds,
              bound_action_name(point->then),
              point->then == BOUND_WARN ? "the home may have gone past it" : "the home accepted nothing past it");
}

static uint64_t count_partitions(const struct region *region, struct bytes context, const char *from)
{
    const struct authority_table *table = &region->homes.authority;
    struct bytes partition;
    uint64_t count = 0;
    size_t at = 0;
    while (authority_partition_next(table, context, &at, &partition)) {
        struct authority_now now;
        if (authority_now(table, context, partition, &now, NULL) == 0 && strcmp(now.region, from) == 0)
            count++;
    }
    return count;
}

int region_failover_report(const struct region *region, struct bytes context, const char *from,
                           struct region_failover_report *ret, struct err *err)
{
    struct authority_now now;
    size_t peer = 0;
    while (peer < region->config.peer_count && strcmp(region->config.peers[peer].region, from) != 0)
        peer++;
    if (peer == region->config.peer_count)
        return err_set(err, ERR_INVALID, "region \"%.63s\" is not a peer of %s, so it cannot fail over from it", from,
                       region->config.region);
    int code = authority_now(&region->homes.authority, context, bytes_of_string(CONTROL_ALL_PARTITIONS), &now, err);
    if (code != 0)
        return code;
    const struct region_peer *state = &region->peers[peer];
    memset(ret, 0, sizeof(*ret));
    ret->peer = peer;
    ret->up = state->up;
    ret->heard = state->heard;
    ret->last_contact_us_ago = state->heard ? region->now.mono_us - state->last_contact_us : 0;
    ret->partition_count = count_partitions(region, context, from);
    for (size_t i = 0; i < region->config.peer_count; i++)
        ret->peer_up[i] = region->peers[i].up;
    add_logs(region, ret);
    check_residency(region, context, ret);
    check_answers(region, ret);
    check_survivors(region, ret);
    check_copies(region, ret);
    check_indexed(region, ret);
    check_signed(ret);
    const struct context *found = context_find(&region->config.contexts, context);
    INVARIANT(found != NULL); /* authority_now found the context */
    check_promised(region, found, ret);
    check_recovery_point(&found->promises, ret);
    return 0;
}
