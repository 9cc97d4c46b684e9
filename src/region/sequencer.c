/* The sequencer: every decision about a batch, in the one order that there is.
 *
 * A batch is decided write by write: is it a repetition, is this its home, is the stream at the expected version? Each
 * accepted event becomes an entry at the end of the open block, moves the chain, and enters the overlay. If a later
 * write is refused everything is taken back: chain, block, overlay. So a batch is whole or not there.
 *
 * A batch of nothing but events that may be accepted anywhere (context_accepts_anywhere), which expects no version,
 * asks for no home and no lease: its events become commutative ones (ENTRY_FLAG_COMMUTATIVE). Whether the id was used
 * is asked as always; two regions that accept one id at one moment both keep it, and the index says which stands. In
 * any other batch such events are their home's, like the rest: so a batch that is overtaken is late as a whole.
 *
 * Group commit. One write of the own log is in flight at a time. What is accepted meanwhile gathers in the open block;
 * when the write is durable, the next block goes out with all of it. A batch never spans two blocks; when the open
 * block is full it is sealed and waits, and past its limit callers are told to retry.
 *
 * Promise 1: an accepted command waits (durability.c) until the durable size has reached its ticket, here and on as
 * many peers as its contexts ask for. Repetitions wait too, for the ticket of the original.
 *
 * Invariants:
 *  1. The chain's size is the number of entries in durable, in-flight, ready and open blocks.
 *  2. An id that was accepted is in the overlay or in the index, at any time. */
#include <stdio.h>

#include "base/assert.h"
#include "base/planted.h"
#include "region/region_internal.h"

/* --- Looking things up --- */

static bool lookups_valid(const struct region *region, const struct region_command *command)
{
    return command->index_sequence >= region->overlay.evicted_sequence;
}

static int index_number(struct region *region, uint32_t log, uint32_t *ret, struct err *err)
{
    return index_log(region->index, bytes_of_string(region->logs[log]->origin), ret, err);
}

int sequencer_look(struct region *region, const struct region_command *command, const struct region_new_event *event,
                   bool late_too, struct sighting *ret, struct err *err)
{
    const struct overlay_item *item = overlay_id(&region->overlay, event->id);
    struct index_event found = event->seen;
    memset(ret, 0, sizeof(*ret));
    if (item != NULL && (late_too || (!item->without_effect && !homes_late_item(region, item)))) {
        ret->seen = true;
        ret->own_pending = item->log == 0 && item->index >= region_own(region)->durable_size;
        ret->commutative = item->commutative;
        ret->stream_version = item->stream_version;
        ret->fingerprint = item->fingerprint;
        ret->place.index = item->index;
        return index_number(region, item->log, &ret->place.log, err);
    }
    int code = event->known ? 0 : ERR_NOT_FOUND;
    if (!lookups_valid(region, command))
        code = index_event(region->index, event->id, &found, err);
    if (PLANTED(forget_index))
        code = ERR_NOT_FOUND;
    if (code == ERR_NOT_FOUND)
        return 0;
    if (code != 0)
        return code;
    if (found.late && !late_too && (found.fingerprint == 0 || found.fingerprint == event->fingerprint))
        return 0; /* an entry that came too late has no effect: this one will, and stands (rule 7 of the design) */
    ret->seen = true;
    ret->commutative = found.commutative;
    ret->stream_version = found.stream_version;
    ret->fingerprint = found.fingerprint;
    ret->place = found.place;
    return 0;
}

static int look_for_head(struct region *region, const struct region_command *command,
                         const struct region_stream_write *write, struct stream_state *ret, struct err *err)
{
    const struct overlay_item *item = overlay_head(&region->overlay, write->context, write->stream);
    struct index_head head = write->head;
    if (item != NULL) {
        *ret = (struct stream_state){.exists = true, .version = item->stream_version};
        return 0;
    }
    int code = write->head_known ? 0 : ERR_NOT_FOUND;
    if (!lookups_valid(region, command))
        code = index_head(region->index, write->context, write->stream, &head, err);
    if (code == ERR_NOT_FOUND) {
        *ret = (struct stream_state){.exists = false};
        return 0;
    }
    if (code != 0)
        return code;
    if (head.place.log != region->own_index_log && !homes_wrote(region, write, head.place.log))
        return err_set(
            err, ERR_INVALID,
            "this stream has events of another partition, in another region's log; a stream belongs to one partition");
    *ret = (struct stream_state){.exists = true, .version = head.version};
    return 0;
}

/* --- Refusals --- */

static int refuse_not_accepting(const struct region *region, struct region_refusal *refusal)
{
    const struct region_log *own = region_own(region);
    return err_set(&refusal->err, ERR_UNAVAILABLE, "region %s does not accept appends now (%s%s%.300s); retry",
                   region->config.region, region_log_state_name(own->state), own->detail[0] == '\0' ? "" : ": ",
                   own->detail);
}

static int check_version(const struct region_stream_write *write, const struct stream_state *state,
                         struct region_refusal *refusal)
{
    if (write->expectation == STREAM_ANY)
        return 0;
    char stream[128];
    snprintf(stream, sizeof(stream), "%.*s", (int)(write->stream.size_bytes > 100 ? 100 : write->stream.size_bytes),
             (const char *)write->stream.data);
    int code = stream_decide(state, write->expectation, write->expected_version, stream, &refusal->err);
    if (code == 0)
        return 0;
    stream_expectation_text(write->expectation, write->expected_version, refusal->expected);
    if (state->exists)
        snprintf(refusal->actual, sizeof(refusal->actual), "%llu", (unsigned long long)state->version);
    else
        snprintf(refusal->actual, sizeof(refusal->actual), "none");
    return code;
}

static int refuse_reused(const struct region_new_event *event, bool known, struct region_refusal *refusal)
{
    char id[UUID_TEXT_SIZE + 1];
    uuid_format(event->id, id);
    memcpy(refusal->event_id, event->id, ENTRY_ID_SIZE);
    return err_set(&refusal->err, ERR_ID_REUSED, "event id %s was used before, %s; give the new event an id of its own",
                   id, known ? "with other content" : "in a context whose payloads are not held here");
}

/* --- Accepting --- */

/* Completes an entry as the next of the own log and appends it. On failure the chain is as before, and whoever decides
 * takes block and overlay back. */
static int append_entry(struct region *region, struct entry *entry, const uint8_t salt[ENTRY_SALT_SIZE],
                        struct bytes payload, uint64_t fingerprint, struct err *err)
{
    struct chain *chain = &region_own(region)->mirror.chain;
    entry->index = chain->range.size;
    entry->prev = chain->prev;
    entry->time = hlc_next(region->last_time, region->now.wall_us);
    entry->payload_size_bytes = payload.size_bytes;
    memcpy(entry->log_id, chain->log_id, ENTRY_LOG_ID_SIZE);
    bool overrides = (entry->flags & ENTRY_FLAG_OVERRIDE) != 0;
    enum overlay_effect effect = entry->flags == 0 ? OVERLAY_MOVES_HEAD
                                 : overrides       ? OVERLAY_WITHOUT_EFFECT
                                                   : OVERLAY_TAKES_ID;
    buf_clear(&region->encoded);
    int code = entry_encode(entry, &region->encoded, err);
    struct frame frame = {.entry = buf_bytes(&region->encoded), .payload = payload, .has_payload = true};
    memcpy(frame.salt, salt, ENTRY_SALT_SIZE);
    struct chain_entry made = {.frame = frame, .entry = *entry};
    if (code == 0)
        code = block_add(region->open_block, &frame, err);
    if (code == 0)
        code = overlay_add(&region->overlay, 0, entry, fingerprint, effect);
    if (code == 0)
        code = homes_received(region, 0, &made);
    if (code == ERR_BUSY)
        code = err_set(err, code, "the index is %zu entries behind; retry after a pause", region->overlay.count);
    if (code == ERR_NO_MEMORY)
        code = err_no_memory(err, "an entry");
    if (code == 0) {
        struct hash leaf = chain_append(chain, region->sha, frame.entry, entry->time);
        block_note(region->open_block, region->open_block->entry_count - 1, fingerprint, &leaf);
        region->last_time = entry->time;
    }
    return code;
}

int sequencer_append(struct region *region, struct region_command *command, const struct region_stream_write *write,
                     const struct region_new_event *event, uint32_t flags, uint64_t stream_version, uint64_t epoch,
                     struct region_result *result)
{
    uint64_t index = mirror_size(&region_own(region)->mirror);
    struct entry entry = {.context = write->context,
                          .partition = write->partition,
                          .stream = write->stream,
                          .stream_version = stream_version,
                          .type = event->type,
                          .epoch = epoch,
                          .flags = flags,
                          .causation_id = event->causation_id,
                          .correlation_id = event->correlation_id,
                          .content_type = event->content_type,
                          .metadata = event->metadata,
                          .payload_commitment = event->commitment};
    memcpy(entry.event_id, event->id, ENTRY_ID_SIZE);
    int code = append_entry(region, &entry, event->salt, event->payload, event->fingerprint, &command->refusal.err);
    if (code != 0)
        return code;
    *result = (struct region_result){.index = index,
                                     .stream_version = stream_version,
                                     .commutative = (flags & ENTRY_FLAG_COMMUTATIVE) != 0,
                                     .place = {.log = region->own_index_log, .index = index}};
    command->ticket = index + 1;
    return 0;
}

int sequencer_repeat(struct region_command *command, const struct region_new_event *event,
                     const struct sighting *sighting, struct region_result *result)
{
    if (sighting->fingerprint != event->fingerprint)
        return refuse_reused(event, sighting->fingerprint != 0, &command->refusal);
    *result = (struct region_result){.index = sighting->place.index,
                                     .stream_version = sighting->stream_version,
                                     .duplicate = true,
                                     .commutative = sighting->commutative,
                                     .place = sighting->place};
    if (sighting->own_pending && sighting->place.index + 1 > command->ticket)
        command->ticket = sighting->place.index + 1;
    return 0;
}

/* Decides one event of a write. *state follows the stream; the command's ticket rises to what must be durable before
 * the answer. */
static int decide_event(struct region *region, struct region_command *command, const struct region_stream_write *write,
                        const struct region_new_event *event, uint64_t epoch, struct stream_state *state,
                        struct region_result *result)
{
    struct region_refusal *refusal = &command->refusal;
    struct sighting sighting;
    int code = sequencer_look(region, command, event, false, &sighting, &refusal->err);
    if (code != 0)
        return code;
    if (sighting.seen) {
        code = sequencer_repeat(command, event, &sighting, result);
        return code == 0 ? durability_repetition(region, command, &sighting.place) : code;
    }
    if (command->anywhere)
        return sequencer_append(region, command, write, event, ENTRY_FLAG_COMMUTATIVE, 0, ENTRY_EPOCH_OF_NONE, result);
    uint64_t version = state->exists ? state->version + 1 : 0;
    code = sequencer_append(region, command, write, event, 0, version, epoch, result);
    if (code == 0)
        *state = (struct stream_state){.exists = true, .version = version};
    return code;
}

/* Whether every event of the write was seen before: then it is a repetition, and its expectation was judged the first
 * time. Of an event whose payload is withheld from this region only its home can tell whether this one says the same.
 */
static int is_repetition(struct region *region, const struct region_command *command,
                         const struct region_stream_write *write, bool *ret, struct err *err)
{
    bool all = true;
    for (size_t i = 0; all && i < write->event_count; i++) {
        struct sighting sighting;
        int code = sequencer_look(region, command, &write->events[i], false, &sighting, err);
        if (code != 0)
            return code;
        all = sighting.seen && sighting.fingerprint != 0;
    }
    *ret = all;
    return 0;
}

/* What is known from one write of a command to the next. */
struct deciding {
    struct command_cursor ahead;               /* of what is not announced to the overlay */
    size_t number;                             /* of the write in its command, as the cursor counts */
    const struct region_stream_write *at_home; /* the last one of which this region was found to be the home, or NULL */
};

/* Event `event` of the write is next: when nothing from it on has been announced, some are. */
static void look_ahead(const struct region *region, const struct region_command *command, struct deciding *deciding,
                       size_t event)
{
    struct index_asked asked[COMMAND_AHEAD_EVENTS];
    if (deciding->ahead.write == deciding->number && deciding->ahead.event == event)
        overlay_ahead(&region->overlay, asked, command_ahead(command, &deciding->ahead, asked));
}

/* Events of clients change no home, so what was found for one write of a command is so for the next with its names. */
static int decide_home(struct region *region, const struct region_stream_write *write, struct deciding *deciding,
                       uint64_t *ret_epoch, struct region_refusal *refusal)
{
    const struct region_stream_write *known = deciding->at_home;
    if (known != NULL && bytes_equal(known->context, write->context) &&
        bytes_equal(known->partition, write->partition)) {
        *ret_epoch = known->epoch;
        return 0;
    }
    int code = homes_decide(region, write, ret_epoch, refusal);
    if (code == 0)
        deciding->at_home = write;
    return code;
}

static int decide_write(struct region *region, struct region_command *command, struct region_stream_write *write,
                        struct deciding *deciding, struct region_result *results)
{
    struct region_refusal *refusal = &command->refusal;
    struct stream_state state = {.exists = false};
    uint64_t epoch = ENTRY_EPOCH_OF_NONE;
    bool repetition = false;
    look_ahead(region, command, deciding, 0);
    int code = is_repetition(region, command, write, &repetition, &refusal->err);
    bool by_home = !repetition && !command->anywhere;
    if (code == 0 && by_home)
        code = decide_home(region, write, deciding, &epoch, refusal);
    if (code == 0 && command->anywhere && !repetition)
        code = homes_check_created(region, write->context, &refusal->err);
    write->epoch = epoch;
    if (code == 0)
        code = durability_decide(region, command, write, repetition);
    if (code == 0 && by_home)
        code = look_for_head(region, command, write, &state, &refusal->err);
    if (code == 0 && by_home)
        code = check_version(write, &state, refusal);
    for (size_t i = 0; code == 0 && i < write->event_count; i++) {
        look_ahead(region, command, deciding, i);
        code = decide_event(region, command, write, &write->events[i], epoch, &state, &results[i]);
        if (code == 0 && results[i].duplicate && !repetition && write->expectation != STREAM_ANY)
            code = err_set(&refusal->err, ERR_VERSION_CONFLICT,
                           "event %zu of the write is in the stream already, others are not; with an expected version "
                           "a write is repeated as a whole",
                           i);
    }
    return code;
}

int sequencer_write(struct region *region, struct region_command *command, struct region_stream_write *write,
                    struct region_result *results)
{
    struct deciding alone = {.ahead = {.write = SIZE_MAX}};
    return decide_write(region, command, write, &alone, results);
}

/* --- Blocks --- */

static void emit_write(struct region *region, struct block *block, struct region_update *update)
{
    struct region_effect *effect = region_add(update, REGION_WRITE);
    effect->log = 0;
    effect->size = block->first_index + block->entry_count;
    effect->block = block; /* the region's reference passes on */
    region_own(region)->writes_in_flight++;
}

static struct block *seal_open_block(struct region *region)
{
    struct block *block = region->open_block;
    region->open_block = NULL;
    block_seal(block);
    mirror_mark_boundary(&region_own(region)->mirror, region->sha);
    return block;
}

static bool open_block_has_entries(const struct region *region)
{
    return region->open_block != NULL && region->open_block->entry_count > 0;
}

/* When nothing is in flight: the oldest block goes out. */
static void write_next(struct region *region, struct region_update *update)
{
    if (region_own(region)->writes_in_flight > 0)
        return;
    if (region->ready_count > 0) {
        struct block *block = region->ready[0];
        region->ready_count--;
        memmove(region->ready, region->ready + 1, region->ready_count * sizeof(region->ready[0]));
        emit_write(region, block, update);
    } else if (open_block_has_entries(region)) {
        emit_write(region, seal_open_block(region), update);
    }
}

/* An upper bound for what the command's entries take in a block. */
static size_t command_size_bytes(const struct region_command *command, size_t *ret_events)
{
    enum { FIXED_BYTES = 512 }; /* numbers, hashes, ids, tags and lengths of one entry and its frame */
    size_t size = 0;
    size_t events = 0;
    for (size_t w = 0; w < command->write_count; w++) {
        const struct region_stream_write *write = &command->writes[w];
        size_t names = write->context.size_bytes + write->partition.size_bytes + write->stream.size_bytes;
        for (size_t i = 0; i < write->event_count; i++) {
            const struct region_new_event *event = &write->events[i];
            size += FIXED_BYTES + names + event->type.size_bytes + event->content_type.size_bytes +
                    event->metadata.size_bytes + event->payload.size_bytes;
        }
        events += write->event_count;
    }
    *ret_events = events;
    return size;
}

/* Makes sure that so much fits the open block. */
static int make_room(struct region *region, size_t events, size_t size_bytes, struct err *err)
{
    if (size_bytes > BLOCK_BODY_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE,
                       "the request would take up to %zu bytes in the log, at most %d fit; split it", size_bytes,
                       BLOCK_BODY_MAX_BYTES);
    const struct region_limits *limits = &region->config.limits;
    if (open_block_has_entries(region) &&
        (block_room_bytes(region->open_block) < size_bytes || region->open_block->size_bytes >= limits->block_bytes ||
         region->open_block->entry_count + events > BLOCK_ENTRIES_MAX)) {
        if (region->ready_count == limits->ready_blocks)
            return err_set(err, ERR_BUSY, "%zu full blocks wait for the disk; retry after a pause",
                           region->ready_count);
        region->ready[region->ready_count++] = seal_open_block(region);
    }
    int code = 0;
    if (region->open_block == NULL)
        code = block_new(mirror_size(&region_own(region)->mirror), region_own(region)->mirror.chain.log_id,
                         &region->open_block, err);
    return code == 0 ? block_reserve(region->open_block, size_bytes, err) : code;
}

struct sequencer_mark sequencer_mark(const struct region *region)
{
    return (struct sequencer_mark){.chain = region_own(region)->mirror.chain,
                                   .last_time = region->last_time,
                                   .entry_count = region->open_block->entry_count,
                                   .size_bytes = region->open_block->size_bytes};
}

void sequencer_take_back(struct region *region, const struct sequencer_mark *mark)
{
    region_own(region)->mirror.chain = mark->chain;
    region->last_time = mark->last_time;
    block_truncate(region->open_block, mark->entry_count, mark->size_bytes);
    if (!PLANTED(forget_undo))
        overlay_undo(&region->overlay, 0, mark->chain.range.size);
    homes_undo(region, 0, mark->chain.range.size);
    settle_undo(region, mark->chain.range.size);
    elsewhere_undo(region, mark->chain.range.size);
}

/* --- Control events --- */

enum { CONTROL_FIXED_BYTES = 512 + 2 * ENTRY_NAME_MAX_BYTES }; /* what an entry takes beside its payload */

int sequencer_control_room(struct region *region, size_t count, size_t payload_max_bytes, struct err *err)
{
    return make_room(region, count, count * (payload_max_bytes + CONTROL_FIXED_BYTES), err);
}

int sequencer_room(struct region *region, const struct region_command *command, size_t controls,
                   size_t payload_max_bytes, struct err *err)
{
    size_t events = 0;
    size_t size_bytes = command_size_bytes(command, &events);
    return make_room(region, events + controls, size_bytes + controls * (payload_max_bytes + CONTROL_FIXED_BYTES), err);
}

/* Id and salt of a control event follow from its place: the core draws no randomness, and its payload is no secret. */
static struct hash control_seed(struct region *region, uint64_t index)
{
    uint8_t number[8];
    put_u64_le(number, index);
    const struct bytes parts[] = {BYTES_LITERAL("tallystick-control-v1\0"),
                                  bytes_of(region_own(region)->mirror.chain.log_id, ENTRY_LOG_ID_SIZE),
                                  bytes_of(number, sizeof(number))};
    return sha256_parts(region->sha, parts, 3);
}

int sequencer_control(struct region *region, const struct control_event *event, struct err *err)
{
    struct sequencer_mark mark = sequencer_mark(region);
    struct hash seed = control_seed(region, mark.chain.range.size);
    const uint8_t *id = event->id != NULL ? event->id : seed.bytes;
    const uint8_t *salt = event->salt != NULL ? event->salt : seed.bytes + ENTRY_ID_SIZE;
    struct entry entry = {.context = event->context,
                          .partition = event->partition,
                          .stream = bytes_of_string(CONTROL_STREAM),
                          .type = bytes_of_string(control_type(event->kind)),
                          .epoch = event->epoch,
                          .flags = ENTRY_FLAG_CONTROL,
                          .causation_id = event->causation_id,
                          .content_type = bytes_of_string(CONTROL_CONTENT_TYPE),
                          .payload_commitment = entry_payload_commitment(region->sha, salt, event->payload)};
    memcpy(entry.event_id, id, ENTRY_ID_SIZE);
    int code =
        append_entry(region, &entry, salt, event->payload, entry_fingerprint(region->sha, &entry, event->payload), err);
    if (code != 0)
        sequencer_take_back(region, &mark);
    return code;
}

void sequencer_flush(struct region *region, struct region_update *update)
{
    write_next(region, update);
}

/* --- Commands --- */

/* This region must be allowed to hold what they say. */
static bool write_is_for_any_region(const struct region *region, const struct region_stream_write *write)
{
    const struct context *context = context_find(region_contexts(region), write->context);
    bool any = write->expectation == STREAM_ANY && homes_may_own(region, region->config.region, write->context);
    for (size_t i = 0; any && i < write->event_count; i++)
        any = context_accepts_anywhere(context, write->events[i].type);
    return any;
}

int sequencer_writes(struct region *region, struct region_command *command)
{
    struct region_refusal *refusal = &command->refusal;
    struct region_result *results = command->results;
    struct deciding deciding = {0};
    int code = 0;
    command->anywhere = true;
    for (size_t i = 0; command->anywhere && i < command->write_count; i++)
        command->anywhere = write_is_for_any_region(region, &command->writes[i]);
    for (size_t i = 0; code == 0 && i < command->write_count; i++) {
        refusal->write_number = i;
        deciding.number = i;
        code = decide_write(region, command, &command->writes[i], &deciding, results);
        results += command->writes[i].event_count;
    }
    return code == 0 ? bounds_decide(region, command) : code;
}

static int decide_batch(struct region *region, struct region_command *command)
{
    int code = sequencer_room(region, command, 0, 0, &command->refusal.err);
    if (code != 0)
        return code;
    struct sequencer_mark mark = sequencer_mark(region);
    code = sequencer_writes(region, command);
    if (code != 0)
        sequencer_take_back(region, &mark);
    return code;
}

/* Here, or, when the home is elsewhere, as the caller wants it. */
static int decide_here(struct region *region, struct region_command *command)
{
    int code = decide_batch(region, command);
    if (code == ERR_WRONG_HOME && command->elsewhere == REGION_ELSEWHERE_QUEUE)
        return elsewhere_queue(region, command);
    if (code == ERR_WRONG_HOME && command->elsewhere == REGION_ELSEWHERE_OVERRIDE)
        return override_append(region, command);
    return code;
}

static int decide(struct region *region, struct region_command *command, struct region_update *update)
{
    struct region_refusal *refusal = &command->refusal;
    bool looks_only = command->control != NULL && command->control->dry_run;
    if (region_own(region)->state != REGION_LOG_ACCEPTING && !looks_only)
        return refuse_not_accepting(region, refusal);
    if (region->pending_count >= region->config.limits.commands_pending)
        return err_set(&refusal->err, ERR_BUSY, "%zu batches wait to become durable; retry after a pause",
                       region->pending_count);
    if (command->settle != NULL)
        return settle_decide(region, command);
    if (command->verdict != NULL)
        return elsewhere_decide(region, command);
    if (command->define != NULL)
        return contexts_define(region, command);
    return command->control != NULL ? control_seize(region, command, update) : decide_here(region, command);
}

static void answer(struct region_command *command, struct region_update *update)
{
    region_add(update, REGION_ANSWER)->command = command;
}

void sequencer_decide(struct region *region, struct region_command *command, struct region_update *update)
{
    sequencer_finish(region, command, decide(region, command, update), update);
}

void sequencer_finish(struct region *region, struct region_command *command, int code, struct region_update *update)
{
    command->refusal.code = code;
    if (code == 0)
        durability_count(region, command);
    if (code != 0 || command->ticket <= durability_copied(region, command->copies, command->lacking)) {
        if (code == 0)
            command->refusal.code = durability_confirm(region, command);
        answer(command, update);
        return;
    }
    if (PLANTED(answer_before_durable)) {
        answer(command, update);
        write_next(region, update);
        return;
    }
    durability_wait(region, command);
    write_next(region, update);
}

static void begin_handover(struct region *region, struct region_command *command, struct region_update *update)
{
    int code = region_own(region)->state != REGION_LOG_ACCEPTING ? refuse_not_accepting(region, &command->refusal)
                                                                 : handover_begin(region, command, update);
    if (code != 0)
        sequencer_finish(region, command, code, update);
}

void sequencer_command(struct region *region, struct region_command *command, struct region_update *update)
{
    memset(&command->refusal, 0, sizeof(command->refusal));
    command->ticket = 0;
    command->copies = 0;
    command->lacking = 0;
    command->degraded = false;
    command->queued = false;
    command->overridden = false;
    command->anywhere = false;
    command->next = NULL;
    bool failover = command->control != NULL && command->control->type == REGION_FAILOVER;
    bool handover = command->control != NULL && !failover;
    if (handover)
        begin_handover(region, command, update);
    else if (!failover || !inquiry_begin(region, command, update))
        sequencer_decide(region, command, update);
}

void sequencer_written(struct region *region, uint64_t size, struct region_update *update)
{
    struct region_log *own = region_own(region);
    PRE(size > own->durable_size);
    own->durable_size = size;
    own->writes_in_flight--;
    write_next(region, update);
}
