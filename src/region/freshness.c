/* How old a read here may be: since when this region knows that it had all of a log.
 *
 * A peer's hello says how much its own log held at that moment, which was not before the hello was asked for. Once the
 * index here has applied as much, every later read sees at least what the owner had then. A hello is kept until that is
 * so, and only then the next one is looked at: under a constant load the newest would never be reached. */
#include <stdio.h>

#include "region/region_internal.h"

void freshness_hello(struct region *region, size_t peer, uint64_t asked_us)
{
    for (size_t i = 1; i < region->log_count; i++) {
        struct region_log *log = region->logs[i];
        if (log->owner != peer || log->told)
            continue;
        log->told = true;
        log->told_size = log->held[peer];
        log->told_us = asked_us;
    }
}

void freshness_update(struct region *region)
{
    for (size_t i = 1; i < region->log_count; i++) {
        struct region_log *log = region->logs[i];
        if (!log->told || log->indexed_size < log->told_size)
            continue;
        log->told = false;
        log->fresh = true;
        log->fresh_us = log->told_us;
    }
}

/* Of all logs of a region: the least fresh one counts. */
static uint64_t staleness_of(const struct region *region, const char *home)
{
    uint64_t staleness_us = REGION_STALENESS_UNKNOWN;
    bool found = false;
    if (strcmp(home, region->config.region) == 0)
        return 0;
    for (size_t i = 1; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (strcmp(log->parts.region, home) != 0)
            continue;
        if (!log->fresh)
            return REGION_STALENESS_UNKNOWN;
        uint64_t log_us = region->now.mono_us - log->fresh_us;
        if (!found || log_us > staleness_us)
            staleness_us = log_us;
        found = true;
    }
    return staleness_us;
}

static void consider(const struct region *region, const struct authority_now *now, struct region_freshness *ret)
{
    uint64_t staleness_us = staleness_of(region, now->region);
    if (ret->home[0] != '\0' && staleness_us <= ret->staleness_us)
        return;
    ret->staleness_us = staleness_us;
    snprintf(ret->home, sizeof(ret->home), "%s", now->region);
    ret->home_address[0] = '\0';
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (strcmp(region->config.peers[i].region, now->region) == 0)
            memcpy(ret->home_address, region->config.peers[i].address, sizeof(ret->home_address));
    }
}

int region_freshness(const struct region *region, struct bytes context, struct bytes partition,
                     struct region_freshness *ret, struct err *err)
{
    const struct authority_table *table = &region->homes.authority;
    struct region_freshness freshness = {.staleness_us = 0};
    struct authority_now now;
    size_t at = 0;
    bool named = partition.size_bytes > 0;
    int code = authority_now(table, context, named ? partition : bytes_of_string(CONTROL_ALL_PARTITIONS), &now, err);
    if (code != 0)
        return code;
    if (named)
        consider(region, &now, &freshness);
    while (!named && authority_partition_next(table, context, &at, &partition)) {
        if (authority_now(table, context, partition, &now, NULL) == 0)
            consider(region, &now, &freshness);
    }
    freshness.at_home = strcmp(freshness.home, region->config.region) == 0 && !(named && now.released);
    *ret = freshness;
    return 0;
}

uint64_t region_log_staleness(const struct region *region, const char *home)
{
    return staleness_of(region, home);
}

/* What is stored here is the index's to judge, as soon as it has applied it. */
static bool is_stored(const struct region *region, const char *home, uint64_t incarnation, uint64_t index)
{
    for (size_t i = 0; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (log->parts.incarnation == incarnation && strcmp(log->parts.region, home) == 0)
            return index < log->durable_size;
    }
    return false;
}

bool region_tail_is_late(const struct region *region, struct bytes context, struct bytes partition, const char *home,
                         uint64_t incarnation, uint64_t index)
{
    struct authority_now now;
    bool may_commute = context_frees_more(context_find(region_contexts(region), context), NULL);
    if (may_commute || authority_now(&region->homes.authority, context, partition, &now, NULL) != 0)
        return false;
    if (strcmp(now.region, home) == 0) /* then only a later life of the home can have left it behind */
        return !is_stored(region, home, incarnation, index) &&
               authority_is_late(&region->homes.authority, context, partition, now.epoch, home, incarnation, index);
    if (now.epoch < 2)
        return false;
    return authority_is_late(&region->homes.authority, context, partition, now.epoch - 1, home, incarnation, index);
}
