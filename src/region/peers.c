/* Peers: hello, who is up, who holds what; and rule 3 of the design: after a start the region neither accepts nor signs
 * until it has heard, from the peers that it can reach and from at least one, the largest size of its own log that they
 * hold. When that is not enough, incarnation.c says what happens.
 *
 * Logs that peers name are kept here in places of which there are REGION_LOGS_MAX, each with a folder that stays. A log
 * that finds no place is not kept, and an alarm says so. Peers' logs never take the last places (PLACES_KEPT): those
 * are for earlier logs of this region that come back, and the very last for the one that it may have to begin. */
#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"
#include "region/region_internal.h"

enum { PLACES_KEPT = 8 };

static uint32_t find_log(const struct region *region, const char *origin)
{
    uint32_t log = 0;
    while (log < region->log_count && strcmp(region->logs[log]->origin, origin) != 0)
        log++;
    return log;
}

/* How much of its own log a peer had when this region met it after the start: what this region reads before it accepts,
 * because a partition may have found another home meanwhile. */
static void note_start_size(struct region *region, uint32_t log, size_t peer, uint64_t size)
{
    struct region_log *mirror = region->logs[log];
    if (mirror->owner == peer && mirror->start_size == 0 && region_own(region)->state != REGION_LOG_ACCEPTING)
        mirror->start_size = size;
}

static bool has_place(const struct region *region, size_t owner)
{
    size_t kept = owner == REGION_NO_PEER ? 1 : PLACES_KEPT;
    return region->log_count + kept < REGION_LOGS_MAX;
}

/* Once for each peer: it says so at every hello. */
static void refuse_log(struct region *region, const struct region_held *held, size_t peer, const char *why,
                       struct region_update *update)
{
    if (region->peers[peer].log_refused)
        return;
    region->peers[peer].log_refused = true;
    region_alarm(update, 0, bytes_of(NULL, 0), "log %s, which peer %s holds, is not copied to here: %s", held->origin,
                 region->config.peers[peer].region, why);
}

/* A log that was not known. */
static void meet_log(struct region *region, const struct region_held *held, size_t peer, struct region_update *update)
{
    struct origin origin;
    struct chain chain;
    uint32_t log = 0;
    size_t owner = REGION_NO_PEER;
    if (origin_parse(bytes_of_string(held->origin), &origin, NULL) != 0 ||
        region_owner_of(region, held->origin, &origin, &owner, NULL) != 0)
        return;
    if (!incarnation_welcome(region, held, &origin, owner, peer)) {
        if (owner == peer)
            refuse_log(region, held, peer, "that region has many already, and this one comes without a signature yet",
                       update);
        return;
    }
    if (!has_place(region, owner)) {
        refuse_log(
            region, held, peer,
            "there are too many logs here; stop the region, move the folders of logs that no region has any more "
            "elsewhere, and start it again",
            update);
        return;
    }
    chain_init(&chain, region->sha, bytes_of_string(held->origin));
    if (region_log_new(region, held->origin, &chain, &log, NULL) != 0)
        return; /* no log of a peer; or no memory, then the next hello tries again */
    region->logs[log]->held[peer] = held->size;
    note_start_size(region, log, peer, held->size);
    region_add(update, REGION_CREATE_LOG)->log = log;
    checkpoint_compare(region, log, held->checkpoint, update);
}

static void take_held(struct region *region, const struct region_held *held, size_t peer, struct region_update *update)
{
    uint32_t log = find_log(region, held->origin);
    if (log == region->log_count) {
        meet_log(region, held, peer, update);
        return;
    }
    if (log == 0)
        lease_stored(region, peer, region->logs[0]->held[peer], held->size);
    region->logs[log]->held[peer] = held->size;
    note_start_size(region, log, peer, held->size);
    checkpoint_compare(region, log, held->checkpoint, update);
}

static void contact(struct region *region, size_t peer)
{
    region->peers[peer].last_contact_us = region->now.mono_us;
}

void peers_said_hello(struct region *region, const struct region_event *event, struct region_update *update)
{
    struct region_peer *peer = &region->peers[event->peer];
    peer->hello_outstanding = false;
    peer->next_hello_us = region->now.mono_us + lease_hello_interval_us(region);
    peer->up = true;
    peer->heard = true;
    peer->reported = true;
    peer->error[0] = '\0';
    peer->certificate_end_s = event->certificate_end_s;
    peer->wall_us = event->wall_us < PEER_WALL_MAX_US ? event->wall_us : PEER_WALL_MAX_US;
    peer->asked_us = event->asked_us;
    peer->told_us = region->now.mono_us;
    contact(region, event->peer);
    for (size_t i = 0; i < event->held_count; i++)
        take_held(region, &event->held[i], event->peer, update);
    freshness_hello(region, event->peer, event->asked_us);
    lease_heard(region, event);
    inquiry_heard(region, event);
    peers_decide(region, update);
    if (region_own(region)->state == REGION_LOG_ACCEPTING)
        incarnation_report(region, update);
}

void peers_went_down(struct region *region, const struct region_event *event, struct region_update *update)
{
    struct region_peer *peer = &region->peers[event->peer];
    peer->hello_outstanding = false;
    peer->next_hello_us = region->now.mono_us + lease_hello_interval_us(region);
    peer->up = false;
    peer->reported = true;
    snprintf(peer->error, sizeof(peer->error), "%s", event->err == NULL ? "not reachable" : event->err->message);
    peers_decide(region, update);
}

void peers_acknowledged(struct region *region, const struct region_event *event, struct region_update *update)
{
    struct region_log *log = region->logs[event->log];
    contact(region, event->peer);
    if (event->size >
        mirror_size(
            &log->mirror)) { /* durable may lag: peers see what is durable before this region's thread hears of it */
        region_alarm(update, event->log, bytes_of(NULL, 0),
                     "peer %s says that it stored %llu entries of log %s, which has %llu",
                     region->config.peers[event->peer].region, (unsigned long long)event->size, log->origin,
                     (unsigned long long)mirror_size(&log->mirror));
        return;
    }
    if (event->log == 0)
        lease_stored(region, event->peer, log->held[event->peer], event->size);
    if (event->size > log->held[event->peer])
        log->held[event->peer] = event->size;
    if (event->log == 0 && event->note.size_bytes > 0)
        checkpoint_cosigned(region, event->peer, event->cosigned_size, event->note, update);
}

static uint64_t largest_held(const struct region *region)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (region_own(region)->held[i] > largest)
            largest = region_own(region)->held[i];
    }
    return largest;
}

static void describe_waiting(struct region *region)
{
    struct region_log *own = region_own(region);
    size_t used = (size_t)snprintf(own->detail, sizeof(own->detail),
                                   "it must hear from a peer how much of its log is known; not heard:");
    for (size_t i = 0; i < region->config.peer_count && used < sizeof(own->detail); i++) {
        if (!region->peers[i].heard)
            used +=
                (size_t)snprintf(own->detail + used, sizeof(own->detail) - used, " %s", region->config.peers[i].region);
    }
}

static bool all_reported(const struct region *region)
{
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (!region->peers[i].reported)
            return false;
    }
    return true;
}

/* Everybody reachable has told, and somebody was reachable: whether the own log is whole can be decided. */
static bool all_told(const struct region *region)
{
    if (PLANTED(accept_before_hearing))
        return true;
    bool heard = region->config.peer_count == 0;
    for (size_t i = 0; i < region->config.peer_count; i++)
        heard = heard || region->peers[i].heard;
    return heard && all_reported(region);
}

/* An owner that sends what does not fit is not waited for. */
static bool is_reachable(const struct region *region, const struct region_log *log, size_t peer)
{
    return region->peers[peer].up && log->blocked_until_us[peer] <= region->now.mono_us;
}

/* How much of a log must be here before this region accepts: of a reachable peer's log what it had when this region met
 * it; of a log of this region's own that has ended what reachable peers hold. */
static uint64_t needed_size(const struct region *region, const struct region_log *log)
{
    uint64_t held = 0;
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (region->peers[i].up && log->held[i] > held)
            held = log->held[i];
    }
    if (log->state == REGION_LOG_MIRRORING && is_reachable(region, log, log->owner))
        return held < log->start_size ? held : log->start_size; /* the owner may have lost its disk since */
    return log->state == REGION_LOG_RETIRED ? held : 0;
}

static const struct region_log *still_catching_up(const struct region *region)
{
    for (size_t i = 1; i < region->log_count; i++) {
        if (region->logs[i]->durable_size < needed_size(region, region->logs[i]))
            return region->logs[i];
    }
    return NULL;
}

void peers_decide(struct region *region, struct region_update *update)
{
    struct region_log *own = region_own(region);
    uint64_t largest = largest_held(region);
    if (own->state == REGION_LOG_FORKED || own->state == REGION_LOG_RETIRED)
        return;
    if (own->state == REGION_LOG_ACCEPTING) {
        if (largest > mirror_size(&own->mirror))
            region_fork(region, 0, bytes_of(NULL, 0), update,
                        "a peer holds %llu entries of this region's own log, which has %llu: entries were lost here "
                        "and others may have taken their place",
                        (unsigned long long)largest, (unsigned long long)mirror_size(&own->mirror));
        return;
    }
    bool begun_in_isolation = region->config.fresh && all_reported(region);
    if (!begun_in_isolation && !all_told(region)) {
        if (!all_reported(region) || !incarnation_isolated(region, update))
            describe_waiting(region);
        return;
    }
    if (largest > own->durable_size) {
        if (own->state != REGION_LOG_RESTORING)
            lease_forgot(region);
        own->state = REGION_LOG_RESTORING;
        snprintf(own->detail, sizeof(own->detail),
                 "peers hold %llu entries of it, %llu are here; pulling the rest back", (unsigned long long)largest,
                 (unsigned long long)own->durable_size);
        return;
    }
    const struct region_log *behind = still_catching_up(region);
    if (own->writes_in_flight == 0 && incarnation_taken_over(region, update))
        return;
    if (behind != NULL) {
        snprintf(own->detail, sizeof(own->detail),
                 "it reads log %s up to %llu first, for a partition may have found another home", behind->origin,
                 (unsigned long long)needed_size(region, behind));
        return;
    }
    if (own->writes_in_flight > 0 || incarnation_must_end(region, update) || !incarnation_continued(region, update))
        return;
    own->state = REGION_LOG_ACCEPTING;
    settle_begin(region);
    elsewhere_free(&region->kept_commands); /* of a log that has ended since, or counted by the index soon */
    own->detail[0] = '\0';
    pulls_stop(region, 0, update);
}

void peers_ask(struct region *region, size_t peer, struct region_update *update)
{
    region->peers[peer].hello_outstanding = true;
    struct region_effect *effect = region_add(update, REGION_HELLO);
    effect->peer = peer;
    if (region->inquiry.command != NULL)
        effect->question = region->inquiry.question;
}

/* When a peer that is up counts as down if nothing is heard of it until then. */
static uint64_t silent_at_us(const struct region *region, const struct region_peer *peer)
{
    return peer->last_contact_us + region->config.peer_timeout_us + 1;
}

void peers_timer(struct region *region, struct region_update *update)
{
    for (size_t i = 0; i < region->config.peer_count; i++) {
        struct region_peer *peer = &region->peers[i];
        if (peer->up && region->now.mono_us >= silent_at_us(region, peer)) {
            peer->up = false;
            snprintf(peer->error, sizeof(peer->error), "not heard of for %llu ms",
                     (unsigned long long)(region->config.peer_timeout_us / 1000));
        }
        if (!peer->hello_outstanding && region->now.mono_us >= peer->next_hello_us)
            peers_ask(region, i, update);
    }
}

uint64_t peers_deadline_us(const struct region *region)
{
    uint64_t deadline = REGION_NEVER;
    for (size_t i = 0; i < region->config.peer_count; i++) {
        const struct region_peer *peer = &region->peers[i];
        if (!peer->hello_outstanding && peer->next_hello_us < deadline)
            deadline = peer->next_hello_us;
        if (peer->up && silent_at_us(region, peer) < deadline)
            deadline = silent_at_us(region, peer);
    }
    return deadline;
}
