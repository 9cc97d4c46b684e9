/* Incarnations: when a region must not go on with its log, and which log it begins instead.
 *
 * A log's name is <cluster>/<region>/<incarnation>. A region goes on with its log only while nobody can have heard of
 * entries that it does not hold itself: else it would give their indexes to other entries, and sign two histories under
 * one name. What may exist is known from three sides: what peers say that they hold, the checkpoints of this log that
 * they show (signed by this region's key), and the checkpoint that the region itself remembers to have signed, which
 * is kept apart from the log. When entries below the largest of these are here nowhere and with nobody, the log ends:
 * it stays as a read-only copy, which peers may still complete, the lost range is reported, and a new log begins under
 * the next number. Nothing can fork then, because nobody ever signed anything under the new name.
 *
 * A restored backup. What was signed after it is not remembered, and a checkpoint is shown to readers and auditors
 * before any peer has it. So a log that came from a backup always ends, once what the peers hold of it is back. All
 * peers: what one of them brings later was accepted under the epoch that the new log goes on with, and would count
 * beside it.
 *
 * The number. When every peer has told what it holds, it is the largest number that anybody knows, plus one. When not
 * (a region that accepts in isolation), or when the region was restored, an earlier life may have used that one, and an
 * old backup would not know of it; so the number is then the time in seconds, which no earlier life has used while
 * clocks go forward.
 *
 * Nothing is switched inside the core. It says REGION_BEGIN_INCARNATION and does nothing more; its caller makes the
 * new log durable and then a new region, whose own log is the new one. A region of an incarnation that was begun just
 * now (config.fresh) may accept though no peer answers: nobody can hold anything of it. After a crash it is asked about
 * like any other.
 *
 * Invariants:
 *  1. No entry is accepted and nothing is signed between a start and the decision (state of the own log).
 *  2. A log whose known size is above what is here and at the peers that were heard is not gone on with.
 *  3. A later incarnation that a peer holds is taken over, never skipped: its entries may have been acknowledged. A
 *     restored region pulls it back, too, before that log ends like the backup's.
 *  4. What reachable peers hold of this region's earlier logs is here before anything is accepted (peers.c): it counts
 *     under the epochs that the new log goes on with. */
#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"
#include "region/region_internal.h"

enum { SECOND_US = 1000000 };
#define INCARNATION_MAX ((uint64_t)1 << 48) /* of what a peer claims: leaves room for numbers after it */

/* --- Logs that peers name --- */

static bool names_this_region(const struct region *region, const struct origin *origin)
{
    return strcmp(origin->region, region->config.region) == 0;
}

/* A log of a peer's later life is kept when its region names it, or its key signed it: other peers cannot make up logs.
 * Or when a change of homes rests on it, which cannot be obeyed without. */

/* Whether a key of the log's region signed the note that comes with it. */
static bool shows_signature(const struct region *region, const struct region_held *held, size_t owner)
{
    struct checkpoint checkpoint;
    return held->checkpoint.size_bytes > 0 &&
           keyring_open(held->checkpoint, checkpoint_keys_of(region, owner), held->origin, &checkpoint, NULL) == 0;
}

bool incarnation_welcome(struct region *region, const struct region_held *held, const struct origin *origin,
                         size_t owner, size_t peer)
{
    if (names_this_region(region, origin)) {
        if (origin->incarnation > region->config.incarnation && origin->incarnation > region->later_incarnation &&
            origin->incarnation <= INCARNATION_MAX)
            region->later_incarnation = origin->incarnation;
        return origin->incarnation < region->config.incarnation && held->size > 0;
    }
    if (origin->incarnation == 1 || owner == peer)
        return true;
    return shows_signature(region, held, owner) || homes_await(region, origin);
}

void incarnation_note_seen(struct region_log *log, uint64_t size)
{
    if (size > log->known_size)
        log->known_size = size;
}

/* --- Ending the own log --- */

static void begin(struct region *region, uint64_t number, bool fresh, const char *why, struct region_update *update)
{
    struct region_log *own = region_own(region);
    PRE(number > region->config.incarnation);
    own->state = REGION_LOG_RETIRED;
    snprintf(own->detail, sizeof(own->detail), "%s", why);
    pulls_stop(region, 0, update);
    struct region_effect *effect = region_add(update, REGION_BEGIN_INCARNATION);
    effect->size = number;
    effect->fresh = fresh;
    snprintf(effect->text, sizeof(effect->text), "%s", why);
}

/* A number that no life of this region has used, as far as can be told without asking everybody. When the clock was set
 * back since this log began, the next numbers may be those of lives that are not remembered: one of a million is taken,
 * by the clock's microseconds. */
static uint64_t unused_number(const struct region *region)
{
    uint64_t seconds = region->now.wall_us / SECOND_US;
    if (seconds > region->config.incarnation)
        return seconds;
    return region->config.incarnation + 1 + region->now.wall_us % SECOND_US;
}

static bool waited_long_enough(const struct region *region)
{
    return region->config.accept_isolated &&
           region->now.mono_us >= region->started_us + region->config.isolation_wait_us;
}

static bool any_heard(const struct region *region)
{
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (region->peers[i].heard)
            return true;
    }
    return false;
}

static bool all_heard(const struct region *region)
{
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (!region->peers[i].heard)
            return false;
    }
    return true;
}

void incarnation_isolated(struct region *region, struct region_update *update)
{
    char why[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct region_log *own = region_own(region);
    if (any_heard(region) || !waited_long_enough(region))
        return;
    snprintf(why, sizeof(why),
             "no peer answered for %llu ms, so nobody could say whether log %s has entries beyond its %llu here; "
             "when_isolated is accept, so it ends, and a new log begins",
             (unsigned long long)(region->config.isolation_wait_us / 1000), own->origin,
             (unsigned long long)own->durable_size);
    begin(region, unused_number(region), true, why, update);
}

bool incarnation_taken_over(struct region *region, struct region_update *update)
{
    char why[TALLY_ERROR_MESSAGE_MAX_BYTES];
    if (region->later_incarnation <= region->config.incarnation)
        return false;
    snprintf(why, sizeof(why),
             "a peer holds log %s/%s/%llu, which this region began in an earlier life; it is taken over",
             region->config.cluster, region->config.region, (unsigned long long)region->later_incarnation);
    begin(region, region->later_incarnation, false, why, update);
    return true;
}

/* What was signed after the backup, and shown to others than peers, nobody can tell. */
static void end_restored(struct region *region, struct region_update *update)
{
    char why[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct region_log *own = region_own(region);
    snprintf(why, sizeof(why),
             "log %s was restored from a backup; it has %llu entries with what its peers held, and nobody can say what "
             "else followed; it ends, and a new log begins",
             own->origin, (unsigned long long)own->durable_size);
    begin(region, unused_number(region), true, why, update);
}

/* Whether what any peer told to hold of this region's earlier logs is here, though that peer may have gone since: the
 * process that takes over may accept before it hears of anybody. */
static bool earlier_logs_are_back(const struct region *region)
{
    for (size_t i = 1; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        for (size_t peer = 0; log->state == REGION_LOG_RETIRED && peer < region->config.peer_count; peer++) {
            if (log->held[peer] > log->durable_size)
                return false;
        }
    }
    return true;
}

/* A peer that was not heard may hold more of the log than those that were: it is waited for, unless the region is to
 * accept in isolation. */
static bool must_wait(const struct region *region)
{
    return (!all_heard(region) || !earlier_logs_are_back(region)) && !waited_long_enough(region);
}

static void wait_restored(struct region *region)
{
    struct region_log *own = region_own(region);
    own->state = REGION_LOG_WAITING;
    snprintf(own->detail, sizeof(own->detail),
             "it was restored from a backup, and ends with what its peers hold of it; waiting for those that have not "
             "answered");
}

bool incarnation_must_end(struct region *region, struct region_update *update)
{
    char why[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct region_log *own = region_own(region);
    if (region->config.restored && !PLANTED(trust_backup)) {
        if (must_wait(region))
            wait_restored(region);
        else
            end_restored(region, update);
        return true;
    }
    if (own->known_size <= own->durable_size)
        return false;
    if (must_wait(region)) {
        own->state = REGION_LOG_WAITING;
        snprintf(own->detail, sizeof(own->detail),
                 "entries %llu to %llu of it were signed and are not here; no peer that answered holds them, waiting "
                 "for the others",
                 (unsigned long long)own->durable_size, (unsigned long long)own->known_size - 1);
        return true;
    }
    snprintf(why, sizeof(why),
             "LOST: entries %llu to %llu of log %s were signed, and neither this region nor a peer that answered holds "
             "them; the log ends, and a new one begins",
             (unsigned long long)own->durable_size, (unsigned long long)own->known_size - 1, own->origin);
    begin(region, all_heard(region) ? region->config.incarnation + 1 : unused_number(region), true, why, update);
    return true;
}

uint64_t incarnation_deadline_us(const struct region *region)
{
    uint64_t deadline = region->started_us + region->config.isolation_wait_us;
    bool waits = region_own(region)->state == REGION_LOG_WAITING && region->config.accept_isolated;
    return waits && deadline > region->now.mono_us ? deadline : REGION_NEVER;
}

/* --- What stays to be said --- */

bool incarnation_lost(const struct region *region, uint32_t log, uint64_t *ret_from, uint64_t *ret_to)
{
    const struct region_log *retired = region->logs[log];
    if (PLANTED(lose_silently))
        return false;
    if (retired->state != REGION_LOG_RETIRED || retired->known_size <= retired->durable_size)
        return false;
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (retired->held[i] > retired->durable_size)
            return false; /* it is being completed */
    }
    *ret_from = retired->durable_size;
    *ret_to = retired->known_size;
    return true;
}

void incarnation_report(struct region *region, struct region_update *update)
{
    uint64_t from = 0;
    uint64_t to = 0;
    for (size_t i = 1; i < region->log_count; i++) {
        if (incarnation_lost(region, (uint32_t)i, &from, &to))
            region_warn(region, (uint32_t)i, bytes_of(NULL, 0), update,
                        "LOST: entries %llu to %llu of log %s were signed, and nobody that answered holds them; a peer "
                        "that comes back with them completes this copy",
                        (unsigned long long)from, (unsigned long long)to - 1, region->logs[i]->origin);
    }
    if (region->later_incarnation > region->config.incarnation)
        region_warn(region, 0, bytes_of(NULL, 0), update,
                    "a peer holds log %s/%s/%llu, which this region began in an earlier life, and was heard of only "
                    "now; the next start takes it over",
                    region->config.cluster, region->config.region, (unsigned long long)region->later_incarnation);
}
