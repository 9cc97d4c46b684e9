/* The region: life cycle, the step's dispatch, and what a status page shows. The parts are in sequencer.c (commands),
 * checkpoint.c (signing), pulls.c (copies of logs), peers.c (hello and rule 3), incarnation.c (new logs), overlay.c
 * (what the index does not show yet), keys.c (what the log tells of the region's keys).
 *
 * A step never fails half-way: room for its effects is made first, and what needs memory after that either undoes
 * itself or is tried again at the next occasion. A command makes the room for its own answer, so that with one update
 * for all steps the event that lets answers go needs no memory. */
#include "region/region.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "region/region_internal.h"

/* --- Life cycle --- */

int region_owner_of(const struct region *region, const char *origin_text, const struct origin *origin, size_t *ret_peer,
                    struct err *err)
{
    if (strcmp(origin->cluster, region->config.cluster) != 0)
        return err_set(err, ERR_MISMATCH, "log %s belongs to another cluster than %s; move its folder away",
                       origin_text, region->config.cluster);
    if (strcmp(region->config.region, origin->region) == 0) {
        *ret_peer = REGION_NO_PEER;
        return 0;
    }
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (strcmp(region->config.peers[i].region, origin->region) == 0) {
            *ret_peer = i;
            return 0;
        }
    }
    return err_set(err, ERR_MISMATCH,
                   "log %s belongs to a region that is no peer; list it in tallyd.yaml, or move its folder away",
                   origin_text);
}

int region_log_new(struct region *region, const char *origin, const struct chain *chain, uint32_t *ret_log,
                   struct err *err)
{
    size_t owner = REGION_NO_PEER;
    struct origin parts;
    if (region->log_count == REGION_LOGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d logs", REGION_LOGS_MAX);
    int code = origin_parse(bytes_of_string(origin), &parts, err);
    if (code == 0 && region->log_count > 0)
        code = region_owner_of(region, origin, &parts, &owner, err);
    if (code != 0)
        return code;
    struct region_log *log = mem_alloc_zero(1, sizeof(*log));
    if (log == NULL)
        return err_no_memory(err, "a log");
    code = mirror_init(&log->mirror, chain, region->config.limits.boundaries, region->sha, err);
    if (code != 0) {
        mem_free(log);
        return code;
    }
    log->owner = owner;
    snprintf(log->origin, sizeof(log->origin), "%s", origin);
    log->parts = parts;
    buf_init(&log->pending, NOTE_MAX_BYTES);
    log->state = region->log_count == 0    ? REGION_LOG_WAITING
                 : owner == REGION_NO_PEER ? REGION_LOG_RETIRED
                                           : REGION_LOG_MIRRORING;
    log->durable_size = chain->range.size;
    log->indexed_size = chain->range.size;
    log->source = REGION_NO_PEER;
    *ret_log = (uint32_t)region->log_count;
    region->logs[region->log_count++] = log;
    return 0;
}

/* A stored checkpoint must be signed by the log's key, and must not be ahead of the log. */
static int take_stored_note(struct region *region, struct region_log *log, struct bytes note, struct err *err)
{
    struct checkpoint checkpoint;
    struct hash root;
    if (note.size_bytes == 0)
        return 0;
    int code = checkpoint_open_of(region, log, note, &checkpoint, err);
    if (code != 0)
        return err_wrap(err, code,
                        "the stored checkpoint of log %s (after a rotation of keys, the old public key must stay known "
                        "until a newer checkpoint is stored)",
                        log->origin);
    incarnation_note_seen(log, checkpoint.size);
    if (checkpoint.size > log->durable_size)
        return err_set(err, ERR_MISMATCH,
                       "log %s has %llu entries, but its stored checkpoint covers %llu: files are missing; restore "
                       "them from a copy",
                       log->origin, (unsigned long long)log->durable_size, (unsigned long long)checkpoint.size);
    if (mirror_root(&log->mirror, checkpoint.size, &root) && !hash_equal(&root, &checkpoint.root))
        return err_set(err, ERR_MISMATCH, "log %s is not what its stored checkpoint of size %llu was signed for",
                       log->origin, (unsigned long long)checkpoint.size);
    log->checkpoint = checkpoint;
    return 0;
}

/* At the start the index may lag behind a log: by a crash, or because a change of homes waits for its basis. */
static int take_indexed_size(struct region *region, struct region_log *log, struct err *err)
{
    uint32_t number = 0;
    int code = index_log(region->index, bytes_of_string(log->origin), &number, err);
    if (code != 0)
        return code;
    log->indexed_size = index_applied_size(region->index, number);
    if (log->indexed_size > log->durable_size)
        return err_set(err, ERR_MISMATCH, "the index has applied %llu entries of log %s, which has %llu",
                       (unsigned long long)log->indexed_size, log->origin, (unsigned long long)log->durable_size);
    return 0;
}

/* What the region remembers to have signed may be ahead of the log; whether it goes on then is decided later. */
static int take_signed_note(struct region *region, struct region_log *log, struct bytes note, struct err *err)
{
    struct checkpoint checkpoint;
    if (note.size_bytes == 0)
        return 0;
    int code = checkpoint_open_of(region, log, note, &checkpoint, err);
    if (code != 0)
        return err_wrap(err, code, "the note of what was signed of log %s", log->origin);
    incarnation_note_seen(log, checkpoint.size);
    return 0;
}

/* Each size is at least 1 and at most its default. */
static void set_size(size_t *size, size_t most)
{
    if (*size == 0 || *size > most)
        *size = most;
}

static void set_time(uint64_t *time_us, uint64_t usual_us)
{
    if (*time_us == 0)
        *time_us = usual_us;
}

static void set_limits(struct region_limits *limits)
{
    set_size(&limits->ready_blocks, REGION_READY_BLOCKS_MAX);
    set_size(&limits->block_bytes, BLOCK_BODY_MAX_BYTES);
    set_size(&limits->commands_pending, REGION_COMMANDS_PENDING_MAX);
    set_size(&limits->unindexed_entries, REGION_UNINDEXED_MAX);
    set_size(&limits->indexed_steps, OVERLAY_INDEXED_MAX);
    set_size(&limits->mirror_writes, REGION_MIRROR_WRITES_MAX);
    set_size(&limits->kept_notes, REGION_KEPT_NOTES_MAX);
    set_size(&limits->queued_open, REGION_QUEUED_OPEN_MAX);
    set_size(&limits->boundaries, MIRROR_BOUNDARIES_MAX);
    set_time(&limits->overlay_grace_us, OVERLAY_GRACE_US);
    set_time(&limits->backoff_first_us, REGION_BACKOFF_FIRST_US);
    set_time(&limits->backoff_max_us, REGION_BACKOFF_MAX_US);
    set_time(&limits->penalty_us, REGION_PENALTY_US);
}

static int take_logs(struct region *region, const struct region_log_found *found, size_t found_count, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < found_count; i++) {
        uint32_t log = 0;
        code = region_log_new(region, found[i].origin, &found[i].chain, &log, err);
        if (code == 0)
            code = take_stored_note(region, region->logs[log], found[i].checkpoint, err);
        if (code == 0)
            code = take_indexed_size(region, region->logs[log], err);
        if (code == 0)
            code = take_signed_note(region, region->logs[log], found[i].signed_note, err);
        if (code == 0 && found[i].forked != NULL) {
            region->logs[log]->state = REGION_LOG_FORKED;
            copy_string(region->logs[log]->detail, sizeof(region->logs[log]->detail), found[i].forked);
        }
        if (code == 0 && found[i].chain.last_time > region->last_time && region->logs[log]->owner == REGION_NO_PEER &&
            !PLANTED(forget_time))
            region->last_time = found[i].chain.last_time;
    }
    if (code == 0)
        code = index_log(region->index, bytes_of_string(region->logs[0]->origin), &region->own_index_log, err);
    return code;
}

static int take_own_keys(struct region *region, struct err *err)
{
    const struct region_config *config = &region->config;
    int code = 0;
    region->own_keys = config->retired_log_keys;
    for (size_t i = 0; code == 0 && i < config->log_signers.count; i++)
        code = keyring_add(&region->own_keys, &config->log_signers.items[i]->verifier, err);
    return code;
}

int region_new(const struct region_config *config, const struct region_log_found *found, size_t found_count,
               struct index *index, struct region **ret, struct err *err)
{
    PRE(found_count >= 1);
    PRE(config->peer_count <= REGION_PEERS_MAX);
    PRE(config->key_change_count <= REGION_KEY_CHANGES_MAX);
    struct region *region = mem_alloc_zero(1, sizeof(*region));
    int code = 0;
    if (region == NULL)
        return err_no_memory(err, "the region");
    region->config = *config;
    region->index = index;
    set_limits(&region->config.limits);
    overlay_init(&region->overlay, &region->config.limits);
    homes_init(&region->homes, &region->config.contexts);
    lease_init(region);
    settle_init(&region->settles);
    elsewhere_init(&region->kept_commands);
    code = policies_init(region, err);
    if (code == 0)
        code = take_own_keys(region, err);
    buf_init(&region->encoded, ENTRY_MAX_BYTES);
    region->sha = sha256_new();
    if (code == 0 && region->sha == NULL)
        code = err_no_memory(err, "the region");
    if (code == 0)
        code = take_logs(region, found, found_count, err);
    if (code == 0)
        code = homes_load(region, err);
    if (code == 0)
        lease_load(region);
    if (code != 0) {
        region_free(region);
        return code;
    }
    *ret = region;
    return 0;
}

void region_free(struct region *region)
{
    if (region == NULL)
        return;
    for (size_t i = 0; i < region->log_count; i++) {
        mirror_free(&region->logs[i]->mirror);
        buf_free(&region->logs[i]->pending);
        mem_free(region->logs[i]);
    }
    for (size_t i = 0; i < region->kept_count; i++)
        kept_note_free(&region->kept[i]);
    for (size_t i = 0; i < region->ready_count; i++)
        block_release(region->ready[i]);
    if (region->open_block != NULL)
        block_release(region->open_block);
    settle_free(&region->settles);
    elsewhere_free(&region->kept_commands);
    policies_free(region);
    homes_free(&region->homes);
    overlay_free(&region->overlay);
    buf_free(&region->encoded);
    sha256_free(region->sha);
    mem_free(region);
}

void region_fork(struct region *region, uint32_t log, struct bytes evidence, struct region_update *update,
                 const char *format, ...)
{
    struct region_log *forked = region->logs[log];
    va_list args;
    va_start(args, format);
    vsnprintf(forked->detail, sizeof(forked->detail), format, args);
    va_end(args);
    forked->state = REGION_LOG_FORKED;
    region_alarm(update, log, evidence, "FORK: %s", forked->detail);
    update->effects[update->effect_count - 1].fork = true;
    pulls_stop(region, log, update);
}

void region_warn(struct region *region, uint32_t log, struct bytes evidence, struct region_update *update,
                 const char *format, ...)
{
    char text[TALLY_ERROR_MESSAGE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (strcmp(region->logs[log]->detail, text) == 0)
        return;
    memcpy(region->logs[log]->detail, text, sizeof(text));
    region_alarm(update, log, evidence, "%s", text);
}

/* --- The step --- */

static void written(struct region *region, const struct region_event *event, struct region_update *update)
{
    bool own = event->log == 0 && region_own(region)->source == REGION_NO_PEER &&
               region_own(region)->state != REGION_LOG_RESTORING;
    if (own)
        sequencer_written(region, event->size, update);
    else
        pulls_written(region, event->log, event->size, update);
    if (event->log == 0 && region_own(region)->state == REGION_LOG_RESTORING)
        peers_decide(region, update);
    checkpoint_written(region, event->log, update);
}

static void indexed(struct region *region, const struct region_event *event)
{
    overlay_indexed(&region->overlay, event->log, event->size, index_sequence(region->index), region->now.mono_us);
    homes_indexed(region, event->log);
    region->logs[event->log]->indexed_size = event->size;
    if (event->log == 0)
        settle_indexed(region, event->size);
    if (event->log == 0)
        elsewhere_indexed(region, event->size);
}

static void dispatch(struct region *region, const struct region_event *event, struct region_update *update)
{
    switch (event->type) {
    case REGION_COMMAND:
        sequencer_command(region, event->command, update);
        return;
    case REGION_WRITTEN:
        written(region, event, update);
        return;
    case REGION_CHECKPOINT_SAVED:
        checkpoint_saved(region, event->log, update);
        return;
    case REGION_INDEXED:
        indexed(region, event);
        return;
    case REGION_PEER_HELLO:
        peers_said_hello(region, event, update);
        return;
    case REGION_PEER_DOWN:
        peers_went_down(region, event, update);
        return;
    case REGION_PULL_CLOSED:
        pulls_closed(region, event, update);
        return;
    case REGION_PULL_BLOCK:
        pulls_block(region, event, update);
        return;
    case REGION_PULL_CHECKPOINT:
        if (region->logs[event->log]->source == event->peer)
            checkpoint_received(region, event->log, event->peer, event->note, update);
        return;
    case REGION_ACKNOWLEDGED:
        peers_acknowledged(region, event, update);
        return;
    case REGION_WITNESSED:
        checkpoint_witnessed(region, event->witness, event->size, event->note, update);
        return;
    case REGION_CERTIFICATE:
        region->certificate_end_s = event->certificate_end_s;
        return;
    case REGION_GIVE_UP:
        durability_give_up(region, event->number, update);
        return;
    case REGION_TIMER:
        peers_decide(region, update);
        return;
    }
    INVARIANT(!"an event of a known type");
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int region_step(struct region *region, const struct region_event *event, struct region_update *update, struct err *err)
{
    PRE(event->log < region->log_count);
    PRE(event->peer < region->config.peer_count || event->peer == 0);
    region_update_clear(update);
    size_t answers = region->pending_count + (event->type == REGION_COMMAND ? 1 : 0) +
                     (region->inquiry.command != NULL) + (region->moving.command != NULL);
    int code = region_update_reserve(update, REGION_EFFECTS_SLACK + answers, err);
    if (code != 0)
        return code;
    region->now = event->now;
    if (!region->started) {
        region->started_us = event->now.mono_us;
        lease_begin(region);
    }
    region->started = true;
    overlay_evict(&region->overlay, event->now.mono_us);
    dispatch(region, event, update);
    homes_move(region, update);
    lease_follow(region);
    inquiry_move(region, update);
    handover_move(region, update);
    if (region_own(region)->state != REGION_LOG_ACCEPTING)
        peers_decide(region, update);
    keys_tell(region, update);
    peers_timer(region, update);
    durability_release(region, update);
    policies_watch(region, update);
    assist_watch(region, update);
    freshness_update(region);
    pulls_choose(region, update);
    checkpoint_resume(region, update);
    update->deadline_mono_us = earlier(earlier(peers_deadline_us(region), pulls_deadline_us(region)),
                                       earlier(checkpoint_deadline_us(region), incarnation_deadline_us(region)));
    update->deadline_mono_us =
        earlier(update->deadline_mono_us, earlier(region->assist_at_us, handover_deadline_us(region)));
    update->deadline_mono_us =
        earlier(earlier(update->deadline_mono_us, inquiry_deadline_us(region)), lease_deadline_us(region));
    return 0;
}

/* --- Status --- */

size_t region_log_count(const struct region *region)
{
    return region->log_count;
}

void region_log_status(const struct region *region, uint32_t log, struct region_log_status *ret)
{
    PRE(log < region->log_count);
    const struct region_log *from = region->logs[log];
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->origin, from->origin, sizeof(ret->origin));
    memcpy(ret->detail, from->detail, sizeof(ret->detail));
    ret->state = from->state;
    ret->size = from->durable_size;
    ret->indexed_size = from->indexed_size;
    ret->checkpoint_size = from->checkpoint.size;
    ret->published_size = from->published_size;
    ret->known_size = from->durable_size;
    for (size_t i = 0; i < region->config.peer_count; i++) {
        if (from->held[i] > ret->known_size)
            ret->known_size = from->held[i];
    }
    (void)incarnation_lost(region, log, &ret->lost_from, &ret->lost_to);
    uint32_t number = 0;
    if (index_log(region->index, bytes_of_string(from->origin), &number, NULL) == 0)
        ret->queued_open = index_queue_open(region->index, number).count;
}

void region_peer_status(const struct region *region, size_t peer, struct region_peer_status *ret)
{
    PRE(peer < region->config.peer_count);
    const struct region_peer *from = &region->peers[peer];
    *ret = (struct region_peer_status){.up = from->up,
                                       .heard = from->heard,
                                       .last_contact_mono_us = from->last_contact_us,
                                       .mirrored_size = region_own(region)->held[peer],
                                       .certificate_end_s = from->certificate_end_s};
    memcpy(ret->error, from->error, sizeof(ret->error));
}

bool region_accepting(const struct region *region)
{
    return region_own(region)->state == REGION_LOG_ACCEPTING;
}

const struct context_table *region_contexts(const struct region *region)
{
    return region->homes.authority.contexts;
}

const struct authority_table *region_authority(const struct region *region)
{
    return &region->homes.authority;
}

const char *region_log_state_name(enum region_log_state state)
{
    switch (state) {
    case REGION_LOG_WAITING:
        return "waiting for peers";
    case REGION_LOG_RESTORING:
        return "restoring";
    case REGION_LOG_ACCEPTING:
        return "accepting";
    case REGION_LOG_MIRRORING:
        return "mirroring";
    case REGION_LOG_FORKED:
        return "forked";
    case REGION_LOG_RETIRED:
        return "retired";
    }
    INVARIANT(!"a log's state");
    return "";
}
