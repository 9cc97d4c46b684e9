/* The evidence for a failover: what is known of the lost region and its logs, and every readiness check with its
 * outcome. A pure look at the region; homes.c acts on it, and an operator sees it first.
 *
 * The checks: this region may hold the context's payloads, and accepts; the lost one does not answer; the other
 * survivors do; what anybody within reach holds of its logs is here; the index has applied it; a signature covers it;
 * enough copies were looked at to hold whatever was acknowledged; what may be missing is within the context's recovery
 * point; the lost region's lease has ended, and a new one can be had (lease.h); no clock is wrong; a home of the
 * context was changed not too long ago; no certificate has expired; and, as the caller says, projections are not
 * behind. */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"
#include "base/time.h"
#include "crypto/certificate.h"
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
    bool allowed = residency_allows(region_contexts(region), bytes_of_string(region->config.region), context);
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
    if (used == 0 || PLANTED(seize_alone))
        add_check(report, "survivors", true, "every other region answers");
    else
        add_check(report, "survivors", false, "other survivors do not answer, and may hold more of the log:%s",
                  missing);
}

static void check_copies(const struct region *region, struct region_failover_report *report)
{
    const struct inquiry *inquiry = &region->inquiry;
    for (size_t peer = 0; inquiry->command != NULL && peer < region->config.peer_count; peer++) {
        if (!inquiry->awaited[peer] || inquiry->answered[peer])
            continue;
        add_check(report, "complete", false, "region %s was asked what it holds, and did not answer",
                  region->config.peers[peer].region);
        return;
    }
    for (size_t i = 0; i < report->log_count; i++) {
        const struct region_lost_log *log = &report->logs[i];
        for (size_t peer = 0; peer < region->config.peer_count; peer++) {
            if (peer == report->peer || !region->peers[peer].up || log->held[peer] <= log->size)
                continue;
            const char *lacks =
                residency_lacks(region_contexts(region), bytes_of_string(region->config.peers[peer].region),
                                bytes_of_string(region->config.region));
            add_check(report, "complete", false, "region %s holds %llu entries of log %.120s, %llu are here; %s%.64s",
                      region->config.peers[peer].region, (unsigned long long)log->held[peer], log->origin,
                      (unsigned long long)log->size,
                      lacks == NULL ? "they are on their way" : "they stay there, for it has no payloads of context ",
                      lacks == NULL ? "" : lacks);
            return;
        }
    }
    add_check(report, "complete", true, "what the survivors hold of its logs is here%s",
              inquiry->command != NULL ? ", as they said just now" : "");
}

/* A log that waits for what nobody has who answers will not be indexed by itself: what is beyond the wait can only be
 * left out, and comes late. */
static bool check_waiting(const struct region *region, struct region_failover_report *report)
{
    struct homes_wait wait;
    for (uint32_t i = 1; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (!homes_waits(region, i, &wait))
            continue;
        add_check(
            report, "indexed", false,
            "log %.100s waits from entry %llu on: it rests on %llu entries of %.64s/%llu, and %llu are here; bring "
            "back a region that has them; forced, its %llu entries from there on come late",
            log->origin, (unsigned long long)wait.index, (unsigned long long)wait.size, wait.region,
            (unsigned long long)wait.incarnation, (unsigned long long)wait.have,
            (unsigned long long)(log->durable_size - wait.index));
        return true;
    }
    return false;
}

/* The index is where the log's wait begins, or where the log ends. */
static uint64_t wanted_size(const struct region *region, uint32_t log)
{
    struct homes_wait wait;
    return homes_waits(region, log, &wait) ? wait.index : mirror_size(&region->logs[log]->mirror);
}

static void check_indexed(const struct region *region, struct region_failover_report *report)
{
    for (uint32_t i = 1; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        uint64_t wanted = wanted_size(region, i);
        if (log->owner != report->peer || log->indexed_size >= wanted)
            continue;
        add_check(report, "indexed", false, "log %.120s is still being indexed, %llu of %llu entries", log->origin,
                  (unsigned long long)log->indexed_size, (unsigned long long)wanted);
        report->checks[report->check_count - 1].passes_by_itself = true;
        return;
    }
    if (!check_waiting(region, report))
        add_check(report, "indexed", true, "the index has applied what is here");
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

/* Rule 4: what k of n peers have stored is with at least one of any n - k + 1 of them. k is the smallest that was ever
 * promised: what was accepted then may be in the logs. */
static void check_promised(const struct region *region, const struct context *context,
                           struct region_failover_report *report)
{
    uint32_t promised = context_least_peers(context);
    uint32_t lacking = durability_lacking(region, context);
    size_t peers = 1; /* of the lost region, whose copies count: this one */
    size_t within_reach = 1;
    if (promised == 0) {
        add_check(report, "copies", true,
                  "the context answers appends that only their home holds: the newest may be missing here");
        return;
    }
    for (size_t peer = 0; peer < region->config.peer_count; peer++) {
        bool counts = peer != report->peer && (lacking & 1u << peer) == 0;
        peers += counts;
        within_reach += counts && region->peers[peer].up;
    }
    if (peers < promised)
        peers = promised; /* a promise that could not be kept */
    size_t needed = peers + 1 - promised;
    add_check(report, "copies", within_reach >= needed || PLANTED(seize_alone),
              "every acknowledged append is with %u of %zu regions, so %zu of their copies must be looked at; %zu are "
              "within reach%s",
              (unsigned)promised, peers, needed, within_reach,
              context->promises.durability.when_away == AWAY_DEGRADE ? " (degraded appends may be with fewer)" : "");
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

/* --- Leases --- */

/* Whether the region accepts for some partition of the context without a lease. */
static bool is_unfenced(const struct region *region, struct bytes context, const char *from)
{
    const struct authority_table *table = &region->homes.authority;
    struct bytes partition;
    size_t at = 0;
    while (authority_partition_next(table, context, &at, &partition)) {
        struct authority_now now;
        if (authority_now(table, context, partition, &now, NULL) == 0 && now.unfenced && strcmp(now.region, from) == 0)
            return true;
    }
    return false;
}

/* Regions that grant the lost one nothing, and will not for a while; how long the last of the others may have to wait.
 */
static size_t count_witnesses(const struct region *region, const struct region_failover_report *report,
                              uint64_t lease_us, uint64_t *ret_left_us)
{
    const struct inquiry *inquiry = &region->inquiry;
    uint64_t left_us = lease_given_left_us(region, report->peer, lease_us);
    size_t count = left_us == 0;
    for (size_t i = 0; inquiry->command == NULL && left_us == 0 && i < region->config.peer_count; i++)
        count += i != report->peer && region->peers[i].up; /* as this one: they are asked when it is done */
    for (size_t i = 0; inquiry->command != NULL && i < region->config.peer_count; i++) {
        if (i == report->peer || !inquiry->answered[i] || region->now.mono_us >= inquiry->asked_us[i] + lease_us)
            continue;
        count += inquiry->abstains[i];
        if (inquiry->left_us[i] > left_us)
            left_us = inquiry->left_us[i];
    }
    *ret_left_us = left_us;
    return count;
}

static void check_lease_ended(const struct region *region, const struct context *context,
                              struct region_failover_report *report)
{
    const char *name = region->config.peers[report->peer].region;
    uint64_t left_us = 0;
    size_t witnesses = count_witnesses(region, report, lease_of(context), &left_us);
    if (is_unfenced(region, bytes_of_string(context->name), name)) {
        add_check(report, "lease", false,
                  "region %s accepts without a lease, since it seized with force: nothing here tells when it stops; "
                  "forced, both accept unless it is down",
                  name);
        report->unfenced = true;
    } else if (witnesses >= lease_witnesses(region)) {
        add_check(report, "lease", true,
                  "region %s has no lease, and gets none: %zu of %zu regions abstain, and %zu must", name, witnesses,
                  region->config.peer_count + 1, lease_witnesses(region));
    } else {
        add_check(report, "lease", false,
                  "region %s may hold a lease: %zu of %zu regions say that theirs has ended, and %zu must%s%llu ms; "
                  "forced, the new home accepts without a lease, and both accept unless that region is down",
                  name, witnesses, region->config.peer_count + 1, lease_witnesses(region),
                  left_us > 0 ? "; ask again in " : "; it was waited for ",
                  (unsigned long long)((left_us + 999) / 1000));
        report->unfenced = true;
    }
}

static void check_lease_to_come(const struct region *region, struct region_failover_report *report)
{
    size_t within_reach = 1;
    for (size_t peer = 0; peer < region->config.peer_count; peer++)
        within_reach += peer != report->peer && region->peers[peer].up;
    bool enough = within_reach >= lease_needed(region);
    add_check(report, "granters", enough,
              "the new home accepts while %zu of %zu regions grant it a lease; %zu are within reach%s",
              lease_needed(region), region->config.peer_count + 1, within_reach,
              enough ? "" : "; forced, it accepts without one until its partitions are handed over");
    report->unfenced = report->unfenced || !enough;
}

static void check_lease(const struct region *region, const struct context *context,
                        struct region_failover_report *report)
{
    if (lease_of(context) == 0) {
        add_check(report, "lease", true, "the context is not fenced: a region that is cut off goes on accepting");
        return;
    }
    check_lease_ended(region, context, report);
    check_lease_to_come(region, report);
}

/* --- This region --- */

static void check_accepting(const struct region *region, struct region_failover_report *report)
{
    const struct region_log *own = region_own(region);
    bool accepting = own->state == REGION_LOG_ACCEPTING;
    add_check(report, "accepting", accepting, "this region %s%s%s%.200s",
              accepting ? "accepts" : "does not accept: ", accepting ? "" : region_log_state_name(own->state),
              own->detail[0] == '\0' ? "" : ": ", own->detail);
    report->checks[report->check_count - 1].passes_by_itself = !accepting;
}

enum { CLOCK_OFF_MAX_MS = 2000 };

/* A log that no clock here can have written. NULL: there is none. */
static const struct region_log *log_ahead(const struct region *region, uint64_t *ret_ahead_ms)
{
    uint64_t here_ms = region->now.wall_us / 1000;
    for (size_t i = 1; i < region->log_count; i++) {
        uint64_t there_ms = hlc_unix_ms(region->logs[i]->mirror.chain.last_time);
        *ret_ahead_ms = there_ms - here_ms;
        if (there_ms > here_ms + CLOCK_OFF_MAX_MS)
            return region->logs[i];
    }
    return NULL;
}

/* How far a peer's wall clock is ahead of the one here, at least; negative: behind. It was read between asking and
 * hearing, and whatever of that time makes the difference smaller is believed. By the clock here as it is now, so that
 * one which was set since then shows. */
static int64_t peer_ahead_ms(const struct region *region, const struct region_peer *peer)
{
    int64_t here_us = (int64_t)(region->now.wall_us - (region->now.mono_us - peer->told_us));
    int64_t ahead_us = (int64_t)peer->wall_us - here_us;
    int64_t took_us = (int64_t)(peer->told_us - peer->asked_us);
    if (ahead_us <= 0)
        ahead_us = ahead_us + took_us < 0 ? ahead_us + took_us : 0;
    return ahead_us / 1000;
}

/* How the peers' wall clocks compare with the one here. */
struct clocks {
    size_t off;
    size_t agree;
    char names[200]; /* of those that are off, and how far; the last are left out when they are many */
};

static void compare_clocks(const struct region *region, struct clocks *ret)
{
    *ret = (struct clocks){.off = 0};
    size_t used = 0;
    for (size_t i = 0; i < region->config.peer_count; i++) {
        const struct region_peer *peer = &region->peers[i];
        int64_t ahead_ms = peer_ahead_ms(region, peer);
        int64_t off_ms = ahead_ms < 0 ? -ahead_ms : ahead_ms;
        bool is_off = peer->wall_us != 0 && off_ms > CLOCK_OFF_MAX_MS;
        ret->agree += peer->wall_us != 0 && !is_off;
        if (!is_off)
            continue;
        if (used < sizeof(ret->names))
            used += (size_t)snprintf(ret->names + used, sizeof(ret->names) - used, "%s%.60s is %lld ms %s",
                                     ret->off == 0 ? "" : ", ", region->config.peers[i].region, (long long)off_ms,
                                     ahead_ms < 0 ? "behind" : "ahead");
        ret->off++;
    }
}

/* The order of two changes of one epoch, and of projections that need one, is the order of wall clocks. With one clock
 * against one nobody can tell which is wrong; else the one here is, if fewer agree with it than not, itself among
 * them. */
static void check_clock(const struct region *region, struct region_failover_report *report)
{
    struct clocks clocks;
    uint64_t ahead_ms = 0;
    const struct region_log *ahead = log_ahead(region, &ahead_ms);
    compare_clocks(region, &clocks);
    if (ahead != NULL)
        add_check(
            report, "clock", false,
            "the last entry of log %.120s is %llu ms ahead of the wall clock here: one of the two clocks is wrong",
            ahead->origin, (unsigned long long)ahead_ms);
    else if (clocks.off > clocks.agree)
        add_check(report, "clock", false, "the wall clock here is off, or that of others: %s", clocks.names);
    else if (clocks.off > 0)
        add_check(report, "clock", true, "no log is ahead of the wall clock here, and most peers agree with it; but %s",
                  clocks.names);
    else
        add_check(report, "clock", true, "no log is ahead of the wall clock here, and %zu peers agree with it",
                  clocks.agree);
}

/* A drill of a failover, or a planned move, is in the logs: the last change of a home of the context. What nobody has
 * tried for a year may not work today. */
static void check_drill(const struct region *region, struct bytes context, struct region_failover_report *report)
{
    static const uint64_t DAY_MS = UINT64_C(24) * 60 * 60 * 1000;
    const struct authority_table *table = &region->homes.authority;
    uint64_t bound_ms = region->config.drill_max_age_us / 1000;
    uint64_t here_ms = region->now.wall_us / 1000;
    uint64_t last_ms = 0;
    struct bytes partition;
    size_t at = 0;
    while (authority_partition_next(table, context, &at, &partition)) {
        struct authority_now now;
        if (authority_now(table, context, partition, &now, NULL) == 0 && hlc_unix_ms(now.time) > last_ms)
            last_ms = hlc_unix_ms(now.time);
    }
    uint64_t age_ms = here_ms > last_ms ? here_ms - last_ms : 0;
    bool ok = bound_ms == 0 || (last_ms != 0 && age_ms <= bound_ms);
    if (last_ms == 0)
        add_check(report, "drill", ok, "no home of the context was ever changed%s",
                  ok ? "" : ", by a drill or otherwise, and drill_max_age_days of this region asks for it");
    else
        add_check(report, "drill", ok, "a home of the context was last changed %llu days ago%s",
                  (unsigned long long)(age_ms / DAY_MS), ok ? "" : ": longer than drill_max_age_days of this region");
}

/* A region that shuts everybody out within the hour is no new home. And one whose certificate has ended is not lost: it
 * is silent because nobody can connect, and comes back with everything when the certificate is replaced. What peers'
 * certificates are is what they said themselves, when they were last heard of. */
static void check_certificate(const struct region *region, struct region_failover_report *report)
{
    uint64_t now_s = region->now.wall_us / 1000000;
    char end[CERTIFICATE_TIME_TEXT_BYTES];
    for (size_t i = 0; i <= region->config.peer_count; i++) {
        bool here = i == region->config.peer_count;
        bool lost = i == report->peer;
        const char *name = here ? region->config.region : region->config.peers[i].region;
        uint64_t end_s = here ? region->certificate_end_s : region->peers[i].certificate_end_s;
        uint64_t needed_s = lost ? 0 : CERTIFICATE_FAILOVER_S;
        if (end_s == 0 || end_s >= now_s + needed_s)
            continue;
        certificate_time_format(end_s, end);
        add_check(report, "certificate", false, "the certificate of region %s %s at %s%s", name,
                  end_s < now_s ? "expired" : "ends", end,
                  lost ? ": it may be alive, and only shut out; replace the certificate first"
                       : ": replace it first, or clients and peers cannot connect");
        return;
    }
    add_check(report, "certificate", true,
              region->certificate_end_s == 0 ? "this region has no TLS" : "the certificates last for an hour and more");
}

void failover_add_projections(struct region_failover_report *report, const char *behind)
{
    if (behind == NULL)
        add_check(report, "projections", true, "no projection here has failed, is being rebuilt or is far behind");
    else
        add_check(report, "projections", false, "%s", behind);
}

static uint64_t count_partitions(const struct region *region, struct bytes context, const char *from)
{
    const struct authority_table *table = &region->homes.authority;
    struct bytes partition;
    uint64_t count = 0;
    size_t at = 0;
    while (authority_partition_next(table, context, &at, &partition)) {
        struct authority_now now;
        if (authority_now(table, context, partition, &now, NULL) == 0 && homes_lost_with(&now, from))
            count++;
    }
    return count;
}

/* What this region had taken over, and its index does not show yet, a basis of the index's position would leave out: a
 * region that has its log back from its peers is the home before its index has seen anything. */
static void check_indexed_here(const struct region *region, struct region_failover_report *report)
{
    const struct region_log *own = region_own(region);
    bool indexed = homes_are_indexed(region);
    add_check(report, "indexed", indexed,
              "the index has applied %s of what made this region a home: %llu of %llu entries "
              "of log %.120s",
              indexed ? "all" : "not all", (unsigned long long)own->indexed_size, (unsigned long long)own->durable_size,
              own->origin);
    report->checks[report->check_count - 1].passes_by_itself = !indexed;
}

/* The home itself goes on without a lease, because its operator knows that the others are down; or with one again. */
static int report_on_itself(const struct region *region, const struct context *context,
                            struct region_failover_report *ret, struct err *err)
{
    uint64_t left_us = 0;
    size_t granters = 0;
    if (lease_of(context) == 0)
        return err_set(err, ERR_INVALID,
                       "region %s is the home here, and context \"%.64s\" is not fenced: nothing stops it",
                       region->config.region, context->name);
    bool held = lease_held(region, context, &left_us, &granters);
    memset(ret, 0, sizeof(*ret));
    ret->peer = REGION_NO_PEER;
    ret->up = true;
    ret->heard = true;
    ret->partition_count = count_partitions(region, bytes_of_string(context->name), region->config.region);
    check_accepting(region, ret);
    check_indexed_here(region, ret);
    add_check(ret, "granters", held, "%zu of %zu regions grant this one a lease, and %zu must%s", granters,
              region->config.peer_count + 1, lease_needed(region),
              held ? "" : "; forced, it accepts without one, and so does whoever has taken over there meanwhile");
    ret->unfenced = !held;
    return 0;
}

int region_failover_report(const struct region *region, struct bytes context, const char *from,
                           struct region_failover_report *ret, struct err *err)
{
    struct authority_now now;
    size_t peer = 0;
    const struct context *found = context_find(region_contexts(region), context);
    if (found != NULL && strcmp(from, region->config.region) == 0)
        return report_on_itself(region, found, ret, err);
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
    check_accepting(region, ret);
    check_answers(region, ret);
    check_survivors(region, ret);
    check_copies(region, ret);
    check_indexed(region, ret);
    check_signed(ret);
    INVARIANT(found != NULL); /* authority_now found it */
    check_promised(region, found, ret);
    check_recovery_point(&found->promises, ret);
    check_lease(region, found, ret);
    check_clock(region, ret);
    check_drill(region, context, ret);
    check_certificate(region, ret);
    return 0;
}
