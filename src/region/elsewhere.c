/* Commands whose home is elsewhere (elsewhere.h).
 *
 * Keeping. The batch becomes one $CommandQueued entry of the own log, with the batch's context and partition and the
 * epoch of the home as this region knows it. Its event id is a hash over the log and over all that the client said, so
 * the same command sent again finds itself, in the overlay or the index, and is answered with the same place. It is
 * answered when it is durable, on as many copies as its context asks for.
 *
 * Deciding. The home hands each queued command in, with the writes read from its payload. It is put to the very code
 * that decides a client's batch; its events, as far as they are new, and the verdict stand in one block. What would be
 * refused again at a second try is refused for good; anything else leaves the command open.
 *
 * Invariants:
 *  1. A command is decided at most once under one home: a verdict that the index does not show yet is remembered
 *     (settle.h), and those of an earlier life are waited for.
 *  2. Commands of one partition are decided in the order of the log that kept them.
 *  3. The writes decided are those that were kept: the command's event id is computed again from them.
 *  4. A region keeps at most REGION_QUEUED_OPEN_MAX open commands; one that the region has kept and the index has just
 *     applied may be counted twice for a moment. */
#include "region/elsewhere.h"

#include "base/assert.h"
#include "base/mem.h"
#include "domain/queued.h"
#include "domain/residency.h"
#include "region/region_internal.h"

enum { DECIDED_PAYLOAD_MAX_BYTES = CONTROL_REASON_MAX_BYTES + POSITION_REGION_MAX_BYTES + 128, NAME_SHOWN_MAX = 100 };

struct kept_command {
    struct queue_link link;
    uint64_t own_index;
    uint64_t size_bytes;
};

/* --- What is kept and not indexed --- */

void elsewhere_init(struct kept_commands *kept)
{
    memset(kept, 0, sizeof(*kept));
    queue_init(&kept->list);
}

static void forget(struct kept_commands *kept, struct kept_command *command)
{
    queue_remove(&command->link);
    kept->count--;
    kept->bytes -= command->size_bytes;
    mem_free(command);
}

void elsewhere_free(struct kept_commands *kept)
{
    while (!queue_empty(&kept->list))
        forget(kept, QUEUE_ITEM(kept->list.next, struct kept_command, link));
}

void elsewhere_undo(struct region *region, uint64_t index)
{
    struct kept_commands *kept = &region->kept_commands;
    while (!queue_empty(&kept->list)) {
        struct kept_command *last = QUEUE_ITEM(kept->list.prev, struct kept_command, link);
        if (last->own_index < index)
            return;
        forget(kept, last);
    }
}

void elsewhere_indexed(struct region *region, uint64_t size)
{
    struct kept_commands *kept = &region->kept_commands;
    while (!queue_empty(&kept->list)) {
        struct kept_command *first = QUEUE_ITEM(kept->list.next, struct kept_command, link);
        if (first->own_index >= size)
            return;
        forget(kept, first);
    }
}

static int remember(struct region *region, uint64_t own_index, uint64_t size_bytes)
{
    struct kept_commands *kept = &region->kept_commands;
    struct kept_command *command = mem_alloc_zero(1, sizeof(*command));
    if (command == NULL)
        return ERR_NO_MEMORY;
    command->own_index = own_index;
    command->size_bytes = size_bytes;
    queue_push_back(&kept->list, &command->link);
    kept->count++;
    kept->bytes += size_bytes;
    return 0;
}

/* --- What a command is --- */

/* The event id of the $CommandQueued entry: SHA-256 over the log's origin and, each behind its length or number, what
 * the client said. The fingerprints of its events stand for their content. */
static struct hash hash_write(struct region *region, const struct hash *before, const struct region_stream_write *write)
{
    uint8_t numbers[8 * 6];
    put_u64_le(numbers, write->context.size_bytes);
    put_u64_le(numbers + 8, write->partition.size_bytes);
    put_u64_le(numbers + 16, write->stream.size_bytes);
    put_u64_le(numbers + 24, write->expectation);
    put_u64_le(numbers + 32, write->expectation == STREAM_AT ? write->expected_version : 0);
    put_u64_le(numbers + 40, write->event_count);
    const struct bytes parts[] = {bytes_of(before->bytes, HASH_SIZE), bytes_of(numbers, sizeof(numbers)),
                                  write->context, write->partition, write->stream};
    struct hash hash = sha256_parts(region->sha, parts, sizeof(parts) / sizeof(parts[0]));
    for (size_t i = 0; i < write->event_count; i++) {
        uint8_t fingerprint[8];
        put_u64_le(fingerprint, write->events[i].fingerprint);
        const struct bytes event[] = {bytes_of(hash.bytes, HASH_SIZE), bytes_of(write->events[i].id, ENTRY_ID_SIZE),
                                      bytes_of(fingerprint, sizeof(fingerprint))};
        hash = sha256_parts(region->sha, event, sizeof(event) / sizeof(event[0]));
    }
    return hash;
}

static void command_id(struct region *region, const struct region_command *command, const char *origin,
                       uint8_t ret[ENTRY_ID_SIZE])
{
    const struct bytes start[] = {BYTES_LITERAL("tallystick-queued-v1\0"), bytes_of_string(origin)};
    struct hash hash = sha256_parts(region->sha, start, sizeof(start) / sizeof(start[0]));
    for (size_t i = 0; i < command->write_count; i++)
        hash = hash_write(region, &hash, &command->writes[i]);
    memcpy(ret, hash.bytes, ENTRY_ID_SIZE);
}

/* --- Keeping --- */

int elsewhere_one_partition(const struct region_command *command, struct err *err)
{
    const struct region_stream_write *first = &command->writes[0];
    for (size_t i = 0; i < command->write_count; i++) {
        const struct region_stream_write *write = &command->writes[i];
        if (!bytes_equal(write->context, first->context) || !bytes_equal(write->partition, first->partition))
            return err_set(err, ERR_INVALID,
                           "a command that is accepted for another home may have writes of one partition only; split "
                           "it");
    }
    return 0;
}

static int check_events(const struct region_command *command, struct err *err)
{
    size_t events = 0;
    for (size_t i = 0; i < command->write_count; i++)
        events += command->writes[i].event_count;
    if (events > QUEUED_EVENTS_MAX)
        return err_set(err, ERR_TOO_LARGE, "a command that is queued may have %d events, not %zu; split it",
                       QUEUED_EVENTS_MAX, events);
    return 0;
}

/* A queued command is a control event, whose payload every region holds: so every region must be one that may. */
static int check_residency(const struct region *region, struct bytes context, struct err *err)
{
    const struct region_config *config = &region->config;
    bool allowed = residency_allows(region_contexts(region), bytes_of_string(config->region), context);
    for (size_t i = 0; allowed && i < config->peer_count; i++)
        allowed = residency_allows(region_contexts(region), bytes_of_string(config->peers[i].region), context);
    if (allowed)
        return 0;
    return err_set(err, ERR_PERMISSION,
                   "context \"%.*s\" keeps its payloads in some regions (payload_regions), and a queued command would "
                   "carry them to all: forward it, or ask the home",
                   (int)(context.size_bytes > NAME_SHOWN_MAX ? NAME_SHOWN_MAX : context.size_bytes),
                   (const char *)context.data);
}

static int encode_write(const struct region_stream_write *from, struct buf *out)
{
    struct buf events;
    int code = 0;
    buf_init(&events, out->max_bytes);
    for (size_t i = 0; code == 0 && i < from->event_count; i++) {
        const struct region_new_event *event = &from->events[i];
        struct queued_event said = {.type = event->type,
                                    .content_type = event->content_type,
                                    .metadata = event->metadata,
                                    .payload = event->payload,
                                    .causation_id = event->causation_id,
                                    .correlation_id = event->correlation_id};
        memcpy(said.id, event->id, ENTRY_ID_SIZE);
        code = queued_put_event(&said, &events);
    }
    const struct queued_write write = {.stream = from->stream,
                                       .expectation = from->expectation,
                                       .expected_version = from->expectation == STREAM_AT ? from->expected_version : 0,
                                       .events = buf_bytes(&events)};
    if (code == 0)
        code = queued_put_write(&write, out);
    buf_free(&events);
    return code;
}

static int encode_command(const struct region_command *command, struct buf *out, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < command->write_count; i++)
        code = encode_write(&command->writes[i], out);
    if (code == ERR_TOO_LARGE)
        return err_set(err, code, "a command that is queued may have %d bytes; split it", QUEUED_PAYLOAD_MAX_BYTES);
    return code == 0 ? 0 : err_no_memory(err, "a queued command");
}

/* Commands that this region keeps, in the logs of all its incarnations. */
static int check_open(struct region *region, uint64_t size_bytes, struct err *err)
{
    uint64_t count = region->kept_commands.count;
    uint64_t bytes = region->kept_commands.bytes;
    for (size_t i = 0; i < region->log_count; i++) {
        uint32_t number = 0;
        if (region->logs[i]->owner != REGION_NO_PEER)
            continue;
        int code = index_log(region->index, bytes_of_string(region->logs[i]->origin), &number, err);
        if (code != 0)
            return code;
        struct index_queue_size open = index_queue_open(region->index, number);
        count += open.count;
        bytes += open.bytes;
    }
    if (count < region->config.limits.queued_open && bytes + size_bytes <= REGION_QUEUED_OPEN_MAX_BYTES)
        return 0;
    return err_set(err, ERR_BUSY,
                   "%llu commands with %llu bytes wait here for their homes already; retry after a pause, or ask the "
                   "home",
                   (unsigned long long)count, (unsigned long long)bytes);
}

/* What entry_fingerprint says of the $CommandQueued entry: a client's event that was given its id is another. */
static uint64_t fingerprint_of(struct region *region, const struct region_command *command, struct bytes payload)
{
    struct entry said = {.context = command->writes[0].context,
                         .partition = command->writes[0].partition,
                         .stream = bytes_of_string(CONTROL_STREAM),
                         .type = bytes_of_string(control_type(CONTROL_COMMAND_QUEUED)),
                         .content_type = bytes_of_string(CONTROL_CONTENT_TYPE)};
    return entry_fingerprint(region->sha, &said, payload);
}

/* Whether the command is in the own log already, and the log's size after it. ERR_EXISTS: its id belongs to something
 * else. */
static int find_kept(struct region *region, const uint8_t id[ENTRY_ID_SIZE], uint64_t fingerprint, uint64_t *ret_size,
                     struct err *err)
{
    struct index_event event;
    const struct overlay_item *item = overlay_id(&region->overlay, id);
    if (item != NULL)
        event = (struct index_event){.place = {.index = item->index}, .fingerprint = item->fingerprint};
    int code = item != NULL ? 0 : index_event(region->index, id, &event, err);
    if (code == ERR_NOT_FOUND) {
        *ret_size = 0;
        return 0;
    }
    bool own = item != NULL ? item->log == 0 : code == 0 && event.place.log == region->own_index_log;
    if (code == 0 && (!own || event.fingerprint != fingerprint))
        code = err_set(err, ERR_EXISTS, "the id that this command would be kept under belongs to another event");
    if (code == 0)
        *ret_size = event.place.index + 1;
    return code;
}

static int keep(struct region *region, const struct region_command *command, const uint8_t id[ENTRY_ID_SIZE],
                struct bytes payload, struct err *err)
{
    const struct region_stream_write *first = &command->writes[0];
    struct authority_now now;
    int code = authority_now(&region->homes.authority, first->context, first->partition, &now, err);
    if (code != 0)
        return code;
    struct control_event event = {.kind = CONTROL_COMMAND_QUEUED,
                                  .context = first->context,
                                  .partition = first->partition,
                                  .epoch = now.epoch,
                                  .payload = payload,
                                  .id = id,
                                  .salt = first->events[0].salt};
    code = sequencer_control_room(region, 1, payload.size_bytes, err);
    if (code != 0)
        return code;
    struct sequencer_mark mark = sequencer_mark(region);
    code = sequencer_control(region, &event, err);
    if (code == 0 && remember(region, mark.chain.range.size, payload.size_bytes) != 0) {
        sequencer_take_back(region, &mark);
        code = err_no_memory(err, "a queued command");
    }
    return code;
}

static int keep_once(struct region *region, struct region_command *command, struct bytes payload)
{
    struct err *err = &command->refusal.err;
    uint8_t id[ENTRY_ID_SIZE];
    uint64_t size = 0;
    command_id(region, command, region_own(region)->origin, id);
    int code = find_kept(region, id, fingerprint_of(region, command, payload), &size, err);
    bool kept = size > 0;
    if (code == 0 && !kept)
        code = check_open(region, payload.size_bytes, err);
    if (code == 0)
        code = durability_decide(region, command, &command->writes[0], kept);
    if (code == 0 && !kept)
        code = keep(region, command, id, payload, err);
    if (code != 0)
        return code;
    command->queued = true;
    command->queued_size = kept ? size : mirror_size(&region_own(region)->mirror);
    command->ticket = command->queued_size;
    return 0;
}

int elsewhere_queue(struct region *region, struct region_command *command)
{
    struct buf payload;
    memset(&command->refusal, 0, sizeof(command->refusal));
    command->copies = 0;
    command->degraded = false;
    buf_init(&payload, QUEUED_PAYLOAD_MAX_BYTES);
    int code = elsewhere_one_partition(command, &command->refusal.err);
    if (code == 0)
        code = check_events(command, &command->refusal.err);
    if (code == 0)
        code = check_residency(region, command->writes[0].context, &command->refusal.err);
    if (code == 0)
        code = encode_command(command, &payload, &command->refusal.err);
    if (code == 0)
        code = keep_once(region, command, buf_bytes(&payload));
    buf_free(&payload);
    return code;
}

/* --- Deciding --- */

static bool is_final(int code)
{
    return code == ERR_VERSION_CONFLICT || code == ERR_ID_REUSED || code == ERR_INVALID || code == ERR_TOO_LARGE;
}

static int find_queued(struct region *region, const struct region_verdict *verdict, struct index_queued *ret,
                       struct err *err)
{
    struct index_place place = {.index = verdict->index};
    for (size_t i = 0; i < region->log_count; i++) {
        if (strcmp(region->logs[i]->origin, verdict->origin) != 0)
            continue;
        int code = index_log(region->index, bytes_of_string(verdict->origin), &place.log, err);
        return code == 0 ? index_queue_at(region->index, place, ret, err) : code;
    }
    return err_set(err, ERR_NOT_FOUND, "no such log is held here");
}

/* The writes must be what was queued: same partition, and the id that binds all the rest. */
static int check_content(struct region *region, const struct region_command *command, const struct index_queued *queued,
                         struct err *err)
{
    uint8_t id[ENTRY_ID_SIZE];
    bool same = command->write_count > 0;
    for (size_t i = 0; i < command->write_count; i++)
        same = same && bytes_equal(command->writes[i].context, bytes_of_string(queued->context)) &&
               bytes_equal(command->writes[i].partition, bytes_of_string(queued->partition));
    command_id(region, command, queued->origin, id);
    if (same && memcmp(id, queued->event_id, ENTRY_ID_SIZE) == 0)
        return 0;
    return err_set(err, ERR_MISMATCH, "the writes given are not those of the queued command");
}

static int check_order(struct region *region, const struct index_queued *queued, struct err *err)
{
    struct index_place from = {.log = queued->place.log};
    int code = 0;
    while (code == 0) {
        code = index_queue_first(region->index, bytes_of_string(queued->context), bytes_of_string(queued->partition),
                                 from, queued->place.index, &from.index, err);
        if (code == 0 && settle_pending_at(region, from) == NULL)
            return err_set(err, ERR_BUSY, "entry %llu, a command of the same partition, is to be decided first",
                           (unsigned long long)from.index);
        from.index++;
    }
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* Messages may have been cut inside a character. */
static struct bytes plain_text(char *message)
{
    size_t size = 0;
    for (; message[size] != '\0' && size < CONTROL_REASON_MAX_BYTES; size++) {
        if (message[size] < 0x20 || message[size] > 0x7e)
            message[size] = '?';
    }
    return bytes_of((const uint8_t *)message, size);
}

static int append_verdict(struct region *region, struct region_verdict *verdict, const struct index_queued *queued,
                          uint64_t epoch, struct err *err)
{
    struct origin origin;
    struct buf payload;
    uint64_t own_index = mirror_size(&region_own(region)->mirror);
    int code = origin_parse(bytes_of_string(queued->origin), &origin, err);
    if (code != 0)
        return code;
    struct control_decided decided = {
        .incarnation = origin.incarnation, .index = queued->place.index, .code = verdict->err.code};
    bool accepted = decided.code == 0;
    if (!accepted)
        decided.message = plain_text(verdict->err.message);
    memcpy(decided.region, origin.region, sizeof(decided.region));
    memcpy(decided.event_id, queued->event_id, ENTRY_ID_SIZE);
    buf_init(&payload, DECIDED_PAYLOAD_MAX_BYTES);
    code = control_decided_encode(&decided, &payload, err);
    struct control_event event = {.kind = accepted ? CONTROL_COMMAND_ACCEPTED : CONTROL_COMMAND_REFUSED,
                                  .context = bytes_of_string(queued->context),
                                  .partition = bytes_of_string(queued->partition),
                                  .epoch = epoch,
                                  .payload = buf_bytes(&payload),
                                  .causation_id = bytes_of(queued->event_id, ENTRY_ID_SIZE)};
    if (code == 0)
        code = sequencer_control(region, &event, err);
    if (code == 0 &&
        settle_remember(region, queued->place, accepted ? SETTLED_ACCEPTED : SETTLED_REJECTED, own_index) != 0)
        code = err_no_memory(err, "a verdict");
    buf_free(&payload);
    return code;
}

/* The command's events and the verdict, or the verdict that it is refused. On failure nothing has changed. */
static int decide_open(struct region *region, struct region_command *command, const struct index_queued *queued,
                       uint64_t epoch)
{
    struct region_verdict *verdict = command->verdict;
    struct region_refusal *refusal = &command->refusal;
    int code = sequencer_room(region, command, 1, DECIDED_PAYLOAD_MAX_BYTES, &refusal->err);
    if (code == ERR_TOO_LARGE)
        verdict->err = refusal->err;
    if (code == ERR_TOO_LARGE)
        code = sequencer_control_room(region, 1, DECIDED_PAYLOAD_MAX_BYTES, &refusal->err);
    if (code != 0)
        return code;
    struct sequencer_mark mark = sequencer_mark(region);
    if (verdict->err.code == 0)
        code = sequencer_writes(region, command);
    if (is_final(code)) {
        sequencer_take_back(region, &mark);
        verdict->err = refusal->err;
        verdict->err.code = code;
        code = 0;
    }
    if (code == 0)
        code = append_verdict(region, verdict, queued, epoch, &refusal->err);
    if (code != 0)
        sequencer_take_back(region, &mark);
    return code;
}

int elsewhere_decide(struct region *region, struct region_command *command)
{
    struct region_verdict *verdict = command->verdict;
    struct region_refusal *refusal = &command->refusal;
    struct index_queued queued;
    uint64_t epoch = 0;
    verdict->already = false;
    memset(&verdict->err, 0, sizeof(verdict->err));
    int code = settle_check_indexed(region, &refusal->err);
    if (code == 0)
        code = find_queued(region, verdict, &queued, &refusal->err);
    if (code != 0)
        return code;
    const struct settle_pending *pending = settle_pending_at(region, queued.place);
    verdict->already = pending != NULL || queued.state != INDEX_QUEUED_OPEN;
    if (verdict->already) {
        command->ticket = pending == NULL ? 0 : pending->own_index + 1;
        return 0;
    }
    const struct region_stream_write about = {.context = bytes_of_string(queued.context),
                                              .partition = bytes_of_string(queued.partition)};
    code = homes_decide(region, &about, &epoch, refusal);
    if (code == 0)
        code = check_content(region, command, &queued, &refusal->err);
    if (code == 0)
        code = check_order(region, &queued, &refusal->err);
    if (code == 0)
        code = decide_open(region, command, &queued, epoch);
    if (code != 0)
        return code;
    if (verdict->err.code != 0) {
        command->copies = 0; /* a refusal is answered when it is durable here */
        command->degraded = false;
        memset(refusal, 0, sizeof(*refusal));
    }
    command->ticket = mirror_size(&region_own(region)->mirror);
    return 0;
}
