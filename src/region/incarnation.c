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
 * old backup would not know of it; so the number is then the time in milliseconds, which no earlier life has used while
 * clocks go forward.
 *
 * Where it would find no place (REGION_LOGS_MAX) the new log is not begun, for then no start would succeed any more:
 * the region waits, and says so.
 *
 * What the new log says. Its first entry, $LogContinued, names how much of each earlier log of the region it rests on:
 * what the region's index has applied when it begins to accept (domain/lives.h). Others apply the new log only once
 * they have so much of the earlier ones; and what turns up of these beyond it, with a peer who was away, is late in
 * every region alike. So nothing that is lost, or away, can count beside what the region accepts since. An earlier log
 * that waits for entries that nobody within reach has is gone on from where it waits.
 *
 * And when what a log says that it continues is lost: the region held it when it wrote that, and then lost its disk,
 * while a peer had the new log and not the end of the earlier one. Nobody could apply the new log, so it ends, too, and
 * the next one rests on what is there. What the log between had is late then, and waits for nothing.
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
 *  4. What reachable peers hold of this region's earlier logs is here before anything is accepted (peers.c), and the
 *     index has applied it: else it would be late.
 *  5. A log that is not its region's first accepts nothing before it has said what it continues. */
#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"
#include "region/region_internal.h"

enum { SECOND_US = 1000000, UNSIGNED_LOGS_MAX = 16 };
#define INCARNATION_MAX ((uint64_t)1 << 48) /* of what a peer claims: leaves room for numbers after it */

/* --- Logs that peers name --- */

static bool names_this_region(const struct region *region, const struct origin *origin)
{
    return strcmp(origin->region, region->config.region) == 0;
}

/* A log of a peer's later life is kept when its region names it, or its key signed it: other peers cannot make up logs.
 * Or when a change of homes rests on it, which cannot be obeyed without. Once a region has UNSIGNED_LOGS_MAX, its word
 * alone is not enough: each takes a place and a folder for good. */

/* Whether a key of the log's region signed the note that comes with it. */
static bool shows_signature(const struct region *region, const struct region_held *held, size_t owner)
{
    struct checkpoint checkpoint;
    return held->checkpoint.size_bytes > 0 &&
           keyring_open(held->checkpoint, checkpoint_keys_of(region, owner), held->origin, &checkpoint, NULL) == 0;
}

static size_t count_logs(const struct region *region, size_t owner)
{
    size_t count = 0;
    for (size_t i = 0; i < region->log_count; i++)
        count += region->logs[i]->owner == owner;
    return count;
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
    if (origin->incarnation == 1 || (owner == peer && count_logs(region, owner) < UNSIGNED_LOGS_MAX))
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
    if (region->log_count == REGION_LOGS_MAX) {
        own->state = REGION_LOG_WAITING;
        region_warn(
            region, 0, bytes_of(NULL, 0), update,
            "its log must end, but %d logs are here, which is the limit, so there is no place for the next; stop "
            "the region, move the folders of logs that no region has any more elsewhere, and start it again (%s)",
            REGION_LOGS_MAX, why);
        return;
    }
    own->state = REGION_LOG_RETIRED;
    snprintf(own->detail, sizeof(own->detail), "%s", why);
    pulls_stop(region, 0, update);
    struct region_effect *effect = region_add(update, REGION_BEGIN_INCARNATION);
    effect->size = number;
    effect->fresh = fresh;
    snprintf(effect->text, sizeof(effect->text), "%s", why);
}

/* A number that no life of this region has used, as far as can be told without asking everybody: the wall clock's
 * milliseconds, in which no life begins and ends. When the clock was set back since this log began, the next numbers
 * may be those of lives that are not remembered: one of a million is taken, by the clock's microseconds. */
static uint64_t unused_number(const struct region *region)
{
    uint64_t ms = region->now.wall_us / 1000;
    if (ms > region->config.incarnation)
        return ms;
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

bool incarnation_isolated(struct region *region, struct region_update *update)
{
    char why[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct region_log *own = region_own(region);
    if (any_heard(region) || !waited_long_enough(region))
        return false;
    snprintf(why, sizeof(why),
             "no peer answered for %llu ms, so nobody could say whether log %s has entries beyond its %llu here; "
             "when_isolated is accept, so it ends, and a new log begins",
             (unsigned long long)(region->config.isolation_wait_us / 1000), own->origin,
             (unsigned long long)own->durable_size);
    begin(region, unused_number(region), true, why, update);
    return true;
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

/* --- What a new log continues --- */

static bool is_earlier(const struct region *region, const struct region_log *log)
{
    return log != region_own(region) && names_this_region(region, &log->parts) &&
           log->parts.incarnation < region->config.incarnation;
}

/* Whether somebody said to hold what the log waits for. */
static bool is_within_reach(const struct region *region, const struct homes_wait *wait)
{
    for (size_t i = 0; i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (log->parts.incarnation != wait->incarnation || strcmp(log->parts.region, wait->region) != 0)
            continue;
        for (size_t peer = 0; peer < region->config.peer_count; peer++) {
            if (log->held[peer] >= wait->size)
                return true;
        }
        return log->durable_size >= wait->size; /* the index is on its way, or that log waits itself */
    }
    return false;
}

/* An earlier log that the index has not applied, and that is worth waiting for. */
static const struct region_log *still_to_index(const struct region *region)
{
    for (uint32_t i = 1; i < region->log_count; i++) {
        struct homes_wait wait;
        const struct region_log *log = region->logs[i];
        if (!is_earlier(region, log) || log->indexed_size >= log->durable_size)
            continue;
        if (!homes_waits(region, i, &wait) || log->indexed_size < wait.index || is_within_reach(region, &wait) ||
            !all_heard(region))
            return log;
    }
    return NULL;
}

/* Says what is known to be lost, as far as there is room. */
static void describe_lost(const struct region *region, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 1; i < region->log_count && used < size; i++) {
        uint64_t from = 0;
        uint64_t to = 0;
        if (incarnation_lost(region, i, &from, &to))
            used +=
                (size_t)snprintf(out + used, size - used, "%sentries %llu to %llu of %s are lost", used > 0 ? "; " : "",
                                 (unsigned long long)from, (unsigned long long)to - 1, region->logs[i]->origin);
    }
}

static int append_continued(struct region *region)
{
    char lost[CONTROL_REASON_MAX_BYTES + 1];
    struct control_authority change = {.basis.count = 0};
    int code = 0;
    for (size_t i = 1; code == 0 && i < region->log_count; i++) {
        const struct region_log *log = region->logs[i];
        if (is_earlier(region, log))
            code = position_set(&change.basis, log->parts.region, log->parts.incarnation,
                                log->indexed_size + PLANTED(continue_unheld));
    }
    describe_lost(region, lost, sizeof(lost));
    change.reason = bytes_of_string(lost);
    if (code == 0)
        code = sequencer_control_room(region, 1, CONTROL_PAYLOAD_MAX_BYTES, NULL);
    return code == 0 ? homes_append(region, CONTROL_LOG_CONTINUED, bytes_of_string(CONTROL_SYSTEM_CONTEXT),
                                    bytes_of_string(CONTROL_ALL_PARTITIONS), CONTEXT_EPOCH_FIRST, &change, NULL)
                     : code;
}

bool incarnation_continued(struct region *region, struct region_update *update)
{
    struct region_log *own = region_own(region);
    if (region->config.incarnation == 1 || mirror_size(&own->mirror) > 0 || PLANTED(continue_silently))
        return true;
    const struct region_log *behind = waited_long_enough(region) ? NULL : still_to_index(region);
    if (behind != NULL) {
        own->state = REGION_LOG_WAITING;
        snprintf(own->detail, sizeof(own->detail),
                 "it continues log %s, of which the index has applied %llu of %llu entries", behind->origin,
                 (unsigned long long)behind->indexed_size, (unsigned long long)behind->durable_size);
        return false;
    }
    if (append_continued(region) != 0)
        return false; /* for want of memory: tried again at the next step */
    homes_apply(region, update);
    sequencer_flush(region, update);
    return true;
}

/* A part of what the own log continues that is not here. */
static bool lacks_continued(const struct region *region, struct position_log *ret, uint64_t *ret_have)
{
    struct resting life;
    if (!lives_find(&region->homes.authority.lives, region->config.region, region->config.incarnation, &life))
        return false;
    struct position durable = homes_position(region, false);
    for (size_t i = 0; i < life.basis_count; i++) {
        *ret = life.basis[i];
        *ret_have = position_get(&durable, ret->region, ret->incarnation);
        if (*ret_have < ret->size)
            return true;
    }
    return false;
}

/* The own log came back, and what it says that it continues did not. */
static bool end_for_earlier(struct region *region, struct region_update *update)
{
    char why[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct position_log need;
    uint64_t have = 0;
    struct region_log *own = region_own(region);
    if (!lacks_continued(region, &need, &have))
        return false;
    if (must_wait(region)) {
        own->state = REGION_LOG_WAITING;
        snprintf(own->detail, sizeof(own->detail),
                 "it continues %llu entries of %s/%s/%llu, and %llu are here; no peer that answered holds the rest, "
                 "waiting for the others",
                 (unsigned long long)need.size, region->config.cluster, need.region,
                 (unsigned long long)need.incarnation, (unsigned long long)have);
        return true;
    }
    snprintf(why, sizeof(why),
             "LOST: entries %llu to %llu of log %.63s/%s/%llu, which log %.150s continues, and neither this region nor "
             "a peer "
             "that answered holds them; that log ends, too, and a new one begins",
             (unsigned long long)have, (unsigned long long)need.size - 1, region->config.cluster, need.region,
             (unsigned long long)need.incarnation, own->origin);
    begin(region, all_heard(region) ? region->config.incarnation + 1 : unused_number(region), true, why, update);
    return true;
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
        return end_for_earlier(region, update);
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
