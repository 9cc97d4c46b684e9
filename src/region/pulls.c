/* Pulls: how the copies of other logs grow, and how the own log comes back after a loss.
 *
 * Each log that is not ours (and ours while restoring) is pulled from one source at a time: its owner when that is up,
 * else the peer that is up and holds most of it. A source that has given all it holds is left for one that holds more:
 * while restoring, such a source will never have more, since it copies from us. Whatever a source sends is checked
 * before anything else happens; one that sends what does not fit the chain is left alone for a while.
 *
 * Payloads. A copy here is whole when it has the payloads that this region holds, and no others (domain/residency.h).
 * So a log is only pulled from its owner, or from a peer that may hold every payload that belongs here: one that may
 * not has given its part away for good. While only such peers are within reach the log waits, and says so. And whatever
 * the source may be: a payload that may not be here is not stored, nor is an entry without one that belongs here.
 *
 * Room. What the index has not applied is kept in memory, and logs that wait for each other's bases cannot be applied:
 * so the one that they all wait for must find room, or they wait for ever. A log that waits may fill a half of the
 * limit (is_held_up). And a log of which nothing is kept may always go beyond the limit by one block (may_go_beyond).
 * That cannot deadlock. Bases refer to the past only, so of the logs that are waited for there is one that does not
 * wait itself. What is kept of it can be applied, and leaves; then its next block is taken. No more than the limit and
 * a block of each log is ever kept. What is stored already is kept whatever the limit says: else a region could not
 * start.
 *
 * A pull that we closed reports so later; until then no new one of the same log is opened at that peer, so that a late
 * message can always be told from a fresh one: it comes from a peer that is not the source. */
#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"
#include "domain/residency.h"
#include "region/region_internal.h"

enum { CONTEXT_SHOWN_MAX = 100 };

/* How the detail of a log begins whose last pull has failed. */
static const char pull_failed[] = "pull from ";

/* The failure is over: another pull is open, or there is nothing more to pull. What a log says else stays, until a
 * block that is good has come. */
static void forget_failure(struct region_log *log)
{
    if (strncmp(log->detail, pull_failed, strlen(pull_failed)) == 0)
        log->detail[0] = '\0';
}

/* A retired log was the own one until now, or is one of those that are completed from peers. */
static bool is_pulled(const struct region *region, const struct region_log *log)
{
    return log->state == REGION_LOG_MIRRORING || log->state == REGION_LOG_RESTORING ||
           (log->state == REGION_LOG_RETIRED && log != region_own(region));
}

void pulls_stop(struct region *region, uint32_t log, struct region_update *update)
{
    struct region_log *pulled = region->logs[log];
    if (pulled->source == REGION_NO_PEER)
        return;
    struct region_effect *effect = region_add(update, REGION_CLOSE_PULL);
    effect->log = log;
    effect->peer = pulled->source;
    pulled->closing[pulled->source] = true;
    pulled->source = REGION_NO_PEER;
}

static void back_off(const struct region *region, struct region_log *log)
{
    log->backoff_us = log->backoff_us == 0 ? region->config.limits.backoff_first_us : 2 * log->backoff_us;
    if (log->backoff_us > region->config.limits.backoff_max_us)
        log->backoff_us = region->config.limits.backoff_max_us;
    log->retry_at_us = region->now.mono_us + log->backoff_us;
}

void pulls_pause(struct region *region, uint32_t log, struct region_update *update)
{
    pulls_stop(region, log, update);
    back_off(region, region->logs[log]);
}

/* What the source sent is wrong: close, and do not ask it again for a while. */
static void reject(struct region *region, uint32_t log, const char *why, struct region_update *update)
{
    struct region_log *pulled = region->logs[log];
    size_t peer = pulled->source;
    region_alarm(update, log, bytes_of(NULL, 0),
                 "peer %s sent something that does not fit log %s, and it was not taken: %s",
                 region->config.peers[peer].region, pulled->origin, why);
    snprintf(pulled->detail, sizeof(pulled->detail), "peer %s: %.300s", region->config.peers[peer].region, why);
    pulled->blocked_until_us[peer] = region->now.mono_us + region->config.limits.penalty_us;
    pulls_stop(region, log, update);
}

struct taking {
    struct region *region;
    uint32_t log;
    struct block *block; /* that was received, for notes; NULL: one that is stored already */
    bool beyond;         /* the limit of what is kept does not hold */
};

static enum overlay_effect effect_of(const struct taking *taking, const struct chain_entry *chain_entry, bool late)
{
    uint32_t flags = chain_entry->entry.flags;
    if (late || (flags & ENTRY_FLAG_OVERRIDE) != 0)
        return OVERLAY_WITHOUT_EFFECT;
    return taking->log == 0 && flags == 0 ? OVERLAY_MOVES_HEAD : OVERLAY_TAKES_ID;
}

static int take_entry(void *context, const struct chain_entry *chain_entry, struct err *err)
{
    struct taking *taking = context;
    struct region *region = taking->region;
    uint64_t fingerprint = chain_entry->frame.has_payload
                               ? entry_fingerprint(region->sha, &chain_entry->entry, chain_entry->frame.payload)
                               : 0;
    if (taking->block != NULL)
        block_note(taking->block, (uint32_t)(chain_entry->entry.index - taking->block->first_index), fingerprint,
                   &chain_entry->leaf);
    bool late = homes_late(region, taking->log, &chain_entry->entry);
    int code = (taking->beyond ? overlay_add_beyond : overlay_add)(&region->overlay, taking->log, &chain_entry->entry,
                                                                   fingerprint, effect_of(taking, chain_entry, late));
    if (code == 0 && !late && !(PLANTED(forget_changes) && !region->started))
        code = homes_received(region, taking->log, chain_entry);
    return code == 0 ? 0 : err_set(err, code, "entries that are not applied yet take too much memory");
}

/* A region that sends may have heard of a definition earlier or later than this one: then neither is to blame. */
static int misfit(const struct region *region, struct bytes name)
{
    const struct context *context = context_known(region_contexts(region), name);
    return context != NULL && context->source != NULL ? ERR_UNAVAILABLE : ERR_CORRUPT;
}

/* Whether the entry is as this region has to keep it. ERR_CORRUPT: not; ERR_UNAVAILABLE: nobody can say yet, or it is
 * not and the context was defined while the system ran. */
static int check_residency(const struct region *region, const struct chain_entry *chain_entry, struct err *err)
{
    const struct entry *entry = &chain_entry->entry;
    unsigned long long index = entry->index;
    int shown = (int)(entry->context.size_bytes > CONTEXT_SHOWN_MAX ? CONTEXT_SHOWN_MAX : entry->context.size_bytes);
    const char *context = (const char *)entry->context.data;
    switch (residency_of(region_contexts(region), bytes_of_string(region->config.region), entry)) {
    case RESIDENCY_HELD:
        if (chain_entry->frame.has_payload)
            return 0;
        return err_set(err, misfit(region, entry->context),
                       "the payload of entry %llu, of context \"%.*s\", is missing, and this region is to hold it",
                       index, shown, context);
    case RESIDENCY_WITHHELD:
        if (!chain_entry->frame.has_payload || PLANTED(store_every_payload))
            return 0;
        return err_set(err, misfit(region, entry->context),
                       "entry %llu came with its payload, and this region may not hold payloads of context \"%.*s\"",
                       index, shown, context);
    case RESIDENCY_UNKNOWN:
        break;
    }
    return err_set(
        err, ERR_UNAVAILABLE,
        "entry %llu is of context \"%.*s\", which this region does not know: it waits until it knows who may "
        "hold its payload",
        index, shown, context);
}

static int take_received(void *context, const struct chain_entry *chain_entry, struct err *err)
{
    const struct taking *taking = context;
    int code = check_residency(taking->region, chain_entry, err);
    return code == 0 ? take_entry(context, chain_entry, err) : code;
}

int region_found_block(struct region *region, uint32_t log, const struct block *block, struct err *err)
{
    PRE(log < region->log_count);
    struct taking taking = {.region = region, .log = log, .beyond = true};
    struct bytes elements = block_body(block);
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        struct chain_entry found;
        code = frame_next_entry(&elements, &found.frame, &found.entry, err);
        if (code == 0 && found.entry.index >= region->logs[log]->indexed_size)
            code = take_entry(&taking, &found, err);
    }
    return code;
}

/* A log that waits for its basis may fill a half of what is kept in memory, so that the log it waits for has room. */
static bool is_held_up(const struct region *region, uint32_t log, const struct block *block)
{
    struct homes_wait wait;
    size_t entries = 0;
    size_t changes = 0;
    if (region->homes.change_count == 0 || !homes_waits(region, log, &wait))
        return false;
    homes_held_up(region, &entries, &changes);
    return entries + block->entry_count > region->config.limits.unindexed_entries / 2 ||
           changes + block->entry_count > REGION_CHANGES_PENDING_MAX / 2;
}

static bool may_go_beyond(const struct region *region, uint32_t log)
{
    return !overlay_holds(&region->overlay, log);
}

static int take_block(struct region *region, uint32_t log, struct block *block, struct err *err)
{
    struct region_log *pulled = region->logs[log];
    struct taking taking = {.region = region, .log = log, .block = block, .beyond = may_go_beyond(region, log)};
    int code = mirror_check_block(&pulled->mirror, region->sha, block, take_received, &taking, err);
    if (code != 0) {
        overlay_undo(&region->overlay, log, block->first_index);
        homes_undo(region, log, block->first_index);
    }
    return code;
}

void pulls_block(struct region *region, const struct region_event *event, struct region_update *update)
{
    struct region_log *pulled = region->logs[event->log];
    struct block *block = event->block;
    struct err err = {0};
    if (!is_pulled(region, pulled) || pulled->source != event->peer)
        return; /* of a pull that was closed meanwhile */
    if (block->first_index != mirror_size(&pulled->mirror)) {
        err_set(&err, ERR_CORRUPT, "a block that starts at entry %llu instead of %llu",
                (unsigned long long)block->first_index, (unsigned long long)mirror_size(&pulled->mirror));
        reject(region, event->log, err.message, update);
        return;
    }
    if (pulled->writes_in_flight >= region->config.limits.mirror_writes || is_held_up(region, event->log, block)) {
        pulls_pause(region, event->log, update);
        return;
    }
    int code = take_block(region, event->log, block, &err);
    if (code == ERR_BUSY || code == ERR_NO_MEMORY) {
        pulls_pause(region, event->log, update);
        return;
    }
    if (code == ERR_UNAVAILABLE) {
        region_warn(region, event->log, bytes_of(NULL, 0), update, "%s", err.message);
        pulls_pause(region, event->log, update);
        return;
    }
    if (code != 0) {
        reject(region, event->log, err.message, update);
        return;
    }
    struct region_effect *effect = region_add(update, REGION_WRITE);
    effect->log = event->log;
    effect->size = mirror_size(&pulled->mirror);
    effect->block = block_retain(block);
    if (PLANTED(ack_before_stored)) {
        struct region_effect *early = region_add(update, REGION_SEND_ACK);
        early->log = event->log;
        early->peer = event->peer;
        early->size = mirror_size(&pulled->mirror);
    }
    pulled->writes_in_flight++;
    pulled->backoff_us = 0;
    pulled->detail[0] = '\0';
    pulled->waits_for_payloads = false;
    if (event->log == 0 && pulled->mirror.chain.last_time > region->last_time)
        region->last_time = pulled->mirror.chain.last_time;
}

void pulls_written(struct region *region, uint32_t log, uint64_t size, struct region_update *update)
{
    struct region_log *pulled = region->logs[log];
    PRE(size > pulled->durable_size);
    pulled->durable_size = size;
    pulled->writes_in_flight--;
    if (pulled->source == REGION_NO_PEER)
        return;
    struct region_effect *effect = region_add(update, REGION_SEND_ACK);
    effect->log = log;
    effect->peer = pulled->source;
    effect->size = size;
}

void pulls_closed(struct region *region, const struct region_event *event, struct region_update *update)
{
    struct region_log *pulled = region->logs[event->log];
    (void)update;
    if (pulled->closing[event->peer]) {
        pulled->closing[event->peer] = false;
    } else if (pulled->source == event->peer && !PLANTED(never_pull_again)) {
        pulled->source = REGION_NO_PEER;
        back_off(region, pulled);
        if (event->err != NULL) {
            snprintf(pulled->detail, sizeof(pulled->detail), "%s%s: %.400s", pull_failed,
                     region->config.peers[event->peer].region, event->err->message);
            if (event->err->code == ERR_CORRUPT)
                pulled->blocked_until_us[event->peer] = region->now.mono_us + region->config.limits.penalty_us;
        }
    }
}

const char *pulls_lack(const struct region *region, const struct region_log *log, size_t peer)
{
    if (peer == log->owner || PLANTED(store_every_payload))
        return NULL;
    return residency_lacks(region_contexts(region), bytes_of_string(region->config.peers[peer].region),
                           bytes_of_string(region->config.region));
}

static bool is_candidate(const struct region *region, const struct region_log *log, size_t peer)
{
    bool has_some = log->held[peer] > 0 && (log->state != REGION_LOG_RETIRED || log->held[peer] > log->durable_size);
    return region->peers[peer].up && !log->closing[peer] && log->blocked_until_us[peer] <= region->now.mono_us &&
           (log->owner == peer || (has_some && pulls_lack(region, log, peer) == NULL));
}

/* The owner if possible, else who holds most; the present source wins a tie. */
static size_t best_source(const struct region *region, const struct region_log *log)
{
    size_t best = REGION_NO_PEER;
    if (log->owner != REGION_NO_PEER && is_candidate(region, log, log->owner))
        return log->owner;
    for (size_t peer = 0; peer < region->config.peer_count; peer++) {
        if (!is_candidate(region, log, peer))
            continue;
        if (best == REGION_NO_PEER || log->held[peer] > log->held[best] ||
            (log->held[peer] == log->held[best] && peer == log->source))
            best = peer;
    }
    return best;
}

static void open_pull(struct region *region, uint32_t log, size_t peer, struct region_update *update)
{
    struct region_log *pulled = region->logs[log];
    struct region_effect *effect = region_add(update, REGION_OPEN_PULL);
    effect->log = log;
    effect->peer = peer;
    effect->size = mirror_size(&pulled->mirror);
    pulled->source = peer;
    forget_failure(pulled);
}

/* Whether to leave the present source for the best one. */
static bool should_move(const struct region *region, const struct region_log *log, size_t best)
{
    uint64_t size = mirror_size(&log->mirror);
    if (best == REGION_NO_PEER || best == log->source)
        return false;
    return !region->peers[log->source].up || best == log->owner ||
           (log->held[log->source] <= size && log->held[best] > size);
}

/* A peer within reach that holds more of the log than this region, and may not give it whole. */
static size_t lesser_source(const struct region *region, const struct region_log *log)
{
    size_t peer = 0;
    while (peer < region->config.peer_count &&
           (!region->peers[peer].up || log->held[peer] <= mirror_size(&log->mirror) ||
            pulls_lack(region, log, peer) == NULL))
        peer++;
    return peer;
}

/* Says so, once, when the log waits although somebody within reach holds more of it. */
static void say_why_it_waits(struct region *region, uint32_t log, struct region_update *update)
{
    struct region_log *pulled = region->logs[log];
    size_t peer = lesser_source(region, pulled);
    if (peer == region->config.peer_count)
        return;
    snprintf(pulled->detail, sizeof(pulled->detail),
             "not complete here: region %s holds more of it, but not the payloads of context %.64s, which belong here; "
             "it waits for a region that has them",
             region->config.peers[peer].region, pulls_lack(region, pulled, peer));
    if (!pulled->waits_for_payloads)
        region_alarm(update, log, bytes_of(NULL, 0), "log %s is %s", pulled->origin, pulled->detail);
    pulled->waits_for_payloads = true;
}

static bool all_up(const struct region *region)
{
    size_t peer = 0;
    while (peer < region->config.peer_count && region->peers[peer].up)
        peer++;
    return peer == region->config.peer_count;
}

static void choose_for(struct region *region, uint32_t log, struct region_update *update)
{
    struct region_log *pulled = region->logs[log];
    if (!is_pulled(region, pulled)) {
        pulls_stop(region, log, update);
        return;
    }
    size_t best = best_source(region, pulled);
    if (best == REGION_NO_PEER || (best != pulled->owner && pulled->held[best] <= mirror_size(&pulled->mirror)))
        say_why_it_waits(region, log, update);
    if (pulled->source != REGION_NO_PEER) {
        if (!should_move(region, pulled, best))
            return;
        pulls_stop(region, log, update);
    }
    if (best != REGION_NO_PEER && region->now.mono_us >= pulled->retry_at_us)
        open_pull(region, log, best, update);
    else if (best == REGION_NO_PEER && pulled->state == REGION_LOG_RETIRED && all_up(region))
        forget_failure(pulled);
}

void pulls_choose(struct region *region, struct region_update *update)
{
    for (size_t log = 0; log < region->log_count; log++)
        choose_for(region, (uint32_t)log, update);
}

/* When a log without a source may get one by the passing of time alone. */
static uint64_t retry_us(const struct region *region, const struct region_log *log)
{
    uint64_t now_us = region->now.mono_us;
    uint64_t deadline = log->retry_at_us > now_us ? log->retry_at_us : REGION_NEVER;
    for (size_t peer = 0; peer < region->config.peer_count; peer++) {
        uint64_t blocked_until_us = log->blocked_until_us[peer];
        if (region->peers[peer].up && blocked_until_us > now_us && blocked_until_us < deadline)
            deadline = blocked_until_us;
    }
    return deadline;
}

uint64_t pulls_deadline_us(const struct region *region)
{
    uint64_t deadline = REGION_NEVER;
    for (size_t i = 0; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (is_pulled(region, log) && log->source == REGION_NO_PEER && retry_us(region, log) < deadline)
            deadline = retry_us(region, log);
    }
    return deadline;
}
