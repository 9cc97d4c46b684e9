/* Settling (settle.h): what becomes of an event that came too late, decided once, by the home of its partition.
 *
 * Every decision is a $LateSettled control event in the home's log. Accepting appends the same event again before it:
 * same id, content and stream, with the stream's next version and the home's epoch; the late entry is then a repetition
 * of it (rule 7 of the design). Compensating may append the compensating event after it: the order in which the index
 * looks for one. All of a command stands in one block, so it is there whole or not at all.
 *
 * The content of an accepted event comes from the caller, who read it from the log of the late entry. It is trusted as
 * far as it is the content that the index has seen: id and fingerprint must be the item's.
 *
 * Invariants:
 *  1. An item is decided at most once under one home: what the index does not show yet is in `places`.
 *  2. An event is appended again, or decided otherwise, only if no effective event has its id, in the index or in the
 *     overlay.
 *  3. Asking for the decision that was made changes nothing, and is answered when that decision is durable. */
#include "region/settle.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "region/region_internal.h"

enum {
    SETTLED_PAYLOAD_MAX_BYTES = CONTROL_ACTOR_MAX_BYTES + CONTROL_REASON_MAX_BYTES + POSITION_REGION_MAX_BYTES + 128,
};

void settle_init(struct settles *settles)
{
    memset(settles, 0, sizeof(*settles));
    map_init(&settles->places, SETTLE_PENDING_MAX, NULL);
    queue_init(&settles->pending);
}

void settle_free(struct settles *settles)
{
    struct queue_link *link = NULL;
    while ((link = queue_pop_front(&settles->pending)) != NULL)
        mem_free(QUEUE_ITEM(link, struct settle_pending, link));
    map_free(&settles->places);
}

/* --- What was decided and is not indexed --- */

static struct bytes place_key(struct index_place place, uint8_t out[SETTLE_KEY_BYTES])
{
    put_u32_be(out, place.log);
    put_u64_be(out + 4, place.index);
    return bytes_of(out, SETTLE_KEY_BYTES);
}

const struct settle_pending *settle_pending_at(const struct region *region, struct index_place place)
{
    uint8_t key[SETTLE_KEY_BYTES];
    return map_get(&region->settles.places, place_key(place, key));
}

int settle_remember(struct region *region, struct index_place place, enum settlement settlement, uint64_t own_index)
{
    struct settle_pending *pending = mem_alloc_zero(1, sizeof(*pending));
    if (pending == NULL)
        return ERR_NO_MEMORY;
    pending->own_index = own_index;
    pending->settlement = settlement;
    int code = map_put(&region->settles.places, place_key(place, pending->key), pending);
    if (code != 0) {
        mem_free(pending);
        return code;
    }
    queue_push_back(&region->settles.pending, &pending->link);
    return 0;
}

static void forget(struct region *region, struct settle_pending *pending)
{
    map_remove(&region->settles.places, bytes_of(pending->key, SETTLE_KEY_BYTES));
    queue_remove(&pending->link);
    mem_free(pending);
}

void settle_undo(struct region *region, uint64_t index)
{
    struct queue_link *queue = &region->settles.pending;
    while (!queue_empty(queue)) {
        struct settle_pending *last = QUEUE_ITEM(queue->prev, struct settle_pending, link);
        if (last->own_index < index)
            return;
        forget(region, last);
    }
}

void settle_indexed(struct region *region, uint64_t size)
{
    struct queue_link *queue = &region->settles.pending;
    while (!queue_empty(queue)) {
        struct settle_pending *first = QUEUE_ITEM(queue->next, struct settle_pending, link);
        if (first->own_index >= size)
            return;
        forget(region, first);
    }
}

void settle_begin(struct region *region)
{
    settle_free(&region->settles); /* of a log that has ended since, or indexed before the next decision */
    region->settles.needed_size = mirror_size(&region_own(region)->mirror);
}

int settle_check_indexed(const struct region *region, struct err *err)
{
    uint64_t needed = region->settles.needed_size;
    if (region_own(region)->indexed_size >= needed)
        return 0;
    return err_set(err, ERR_BUSY, "the index is at %llu of %llu entries; retry after a pause",
                   (unsigned long long)region_own(region)->indexed_size, (unsigned long long)needed);
}

/* --- The item --- */

struct subject {
    struct region_settle_item *item;
    struct region_stream_write *write;
    struct region_result *result;
    struct index_late late;
    const struct settle_pending *pending;
    uint64_t epoch; /* of the home's decision */
};

static int find_item(struct region *region, struct subject *subject, struct err *err)
{
    struct index_place place = {.index = subject->item->index};
    for (size_t i = 0; i < region->log_count; i++) {
        if (strcmp(region->logs[i]->origin, subject->item->origin) != 0)
            continue;
        int code = index_log(region->index, bytes_of_string(region->logs[i]->origin), &place.log, err);
        if (code == 0)
            code = index_late_at(region->index, place, &subject->late, err);
        if (code == 0 && !subject->late.late)
            code = err_set(err, ERR_INVALID, "it is effective; nothing about it is to be decided");
        subject->pending = code == 0 ? settle_pending_at(region, place) : NULL;
        return code;
    }
    return err_set(err, ERR_NOT_FOUND, "no such log is held here");
}

static bool is_decided(const struct subject *subject, enum settlement *ret)
{
    static const enum settlement settlements[] = {
        [INDEX_LATE_ACCEPTED] = SETTLED_ACCEPTED,      [INDEX_LATE_DROPPED] = SETTLED_DROPPED,
        [INDEX_LATE_REJECTED] = SETTLED_REJECTED,      [INDEX_LATE_COMPENSATION_OWED] = SETTLED_COMPENSATE,
        [INDEX_LATE_COMPENSATED] = SETTLED_COMPENSATE,
    };
    if (subject->pending == NULL && !subject->late.decided)
        return false;
    *ret = subject->pending != NULL ? subject->pending->settlement : settlements[subject->late.state];
    return true;
}

static int refuse_duplicate(struct err *err)
{
    return err_set(err, ERR_EXISTS, "an effective event has its id: it is a repetition, and needs no decision");
}

/* --- Deciding --- */

static int append_decision(struct region *region, const struct region_command *command, const struct subject *subject,
                           struct err *err)
{
    const struct index_late *late = &subject->late;
    struct origin origin;
    int code = origin_parse(bytes_of_string(late->origin), &origin, err);
    if (code != 0)
        return code;
    struct control_settled settled = {.incarnation = origin.incarnation,
                                      .index = late->place.index,
                                      .settlement = command->settle->settlement,
                                      .actor = command->settle->actor,
                                      .reason = command->settle->reason};
    memcpy(settled.region, origin.region, sizeof(settled.region));
    memcpy(settled.event_id, late->event_id, ENTRY_ID_SIZE);
    struct buf payload;
    buf_init(&payload, SETTLED_PAYLOAD_MAX_BYTES);
    uint64_t own_index = mirror_size(&region_own(region)->mirror);
    code = control_settled_encode(&settled, &payload, err);
    struct control_event event = {.kind = CONTROL_LATE_SETTLED,
                                  .context = bytes_of_string(late->context),
                                  .partition = bytes_of_string(late->partition),
                                  .epoch = subject->epoch,
                                  .payload = buf_bytes(&payload)};
    if (code == 0)
        code = sequencer_control(region, &event, err);
    if (code == 0) {
        code = settle_remember(region, late->place, settled.settlement, own_index);
        if (code == ERR_TOO_LARGE)
            code = err_set(err, ERR_BUSY, "%d decisions wait to be indexed; retry after a pause", SETTLE_PENDING_MAX);
        else if (code != 0)
            code = err_no_memory(err, "a decision");
    }
    buf_free(&payload);
    return code;
}

static int check_same_partition(const struct subject *subject, struct err *err)
{
    const struct region_stream_write *write = subject->write;
    if (bytes_equal(write->context, bytes_of_string(subject->late.context)) &&
        bytes_equal(write->partition, bytes_of_string(subject->late.partition)))
        return 0;
    return err_set(err, ERR_INVALID, "it belongs to partition \"%.100s\" of context \"%.100s\"",
                   subject->late.partition, subject->late.context);
}

static int check_content(const struct subject *subject, struct err *err)
{
    const struct region_new_event *event = subject->write->events;
    if (subject->late.fingerprint == 0 || subject->write->event_count == 0)
        return err_set(err, ERR_NOT_FOUND, "its payload is not held here, so it cannot be appended again");
    if (memcmp(event->id, subject->late.event_id, ENTRY_ID_SIZE) != 0 ||
        event->fingerprint != subject->late.fingerprint ||
        !bytes_equal(subject->write->stream, bytes_of_string(subject->late.stream)))
        return err_set(err, ERR_MISMATCH, "the content given is not the late event's");
    return 0;
}

static int append_again(struct region *region, struct region_command *command, const struct subject *subject)
{
    struct err *err = &command->refusal.err;
    int code = check_same_partition(subject, err);
    if (code == 0)
        code = check_content(subject, err);
    if (code == 0)
        code = sequencer_write(region, command, subject->write, subject->result);
    return code == 0 && subject->result->duplicate ? refuse_duplicate(err) : code;
}

static int append_compensation(struct region *region, struct region_command *command, const struct subject *subject)
{
    struct err *err = &command->refusal.err;
    if (subject->write->event_count == 0)
        return 0;
    const struct region_new_event *event = subject->write->events;
    int code = check_same_partition(subject, err);
    if (code == 0 && !bytes_equal(event->causation_id, bytes_of(subject->late.event_id, ENTRY_ID_SIZE)))
        code =
            err_set(err, ERR_INVALID, "the causation id of the event that compensates it must be the late event's id");
    return code == 0 ? sequencer_write(region, command, subject->write, subject->result) : code;
}

/* What was decided before: the same again is done already, all but a compensation that is still owed. */
static int decide_again(struct region *region, struct region_command *command, struct subject *subject,
                        enum settlement before)
{
    uint64_t size = mirror_size(&region_own(region)->mirror);
    if (before != command->settle->settlement)
        return err_set(&command->refusal.err, ERR_EXISTS, "it is decided already: %s", settlement_name(before));
    if (subject->pending != NULL && subject->pending->own_index + 1 > command->ticket)
        command->ticket = subject->pending->own_index + 1;
    int code = before == SETTLED_COMPENSATE && subject->late.state != INDEX_LATE_COMPENSATED
                   ? append_compensation(region, command, subject)
                   : 0;
    subject->item->already = mirror_size(&region_own(region)->mirror) == size;
    return code;
}

/* Whether the event was appended again here, which the index does not show yet. */
static bool is_repeated(const struct region *region, const struct subject *subject)
{
    const struct overlay_item *item = overlay_id(&region->overlay, subject->late.event_id);
    return item != NULL && item->log == 0 && !item->without_effect;
}

/* It would be there twice when the definition comes that lets it count. */
static int check_commutative(const struct region_settle *settle, const struct subject *subject, struct err *err)
{
    if (!subject->late.commutative || settle->settlement != SETTLED_ACCEPTED)
        return 0;
    return err_set(err, ERR_UNSUPPORTED,
                   "it is a commutative event of a type that context %.100s does not let be accepted anywhere, or not "
                   "yet; it counts by itself as soon as it does (tally context set --type), or reject it",
                   subject->late.context);
}

static int decide_open(struct region *region, struct region_command *command, struct subject *subject)
{
    struct region_settle *settle = command->settle;
    struct err *err = &command->refusal.err;
    int code = 0;
    if ((subject->late.state == INDEX_LATE_DUPLICATE || is_repeated(region, subject)) && !PLANTED(decide_repeated))
        return refuse_duplicate(err);
    code = check_commutative(settle, subject, err);
    if (code != 0)
        return code;
    if (settle->settlement == SETTLED_ACCEPTED && !PLANTED(settle_without_effect))
        code = append_again(region, command, subject);
    if (code == 0)
        code = append_decision(region, command, subject, err);
    if (code == 0 && settle->settlement == SETTLED_COMPENSATE)
        code = append_compensation(region, command, subject);
    settle->settled += code == 0;
    command->ticket = mirror_size(&region_own(region)->mirror);
    return code;
}

static int decide_item(struct region *region, struct region_command *command, size_t number)
{
    struct region_refusal *refusal = &command->refusal;
    struct subject subject = {.item = &command->settle->items[number],
                              .write = &command->writes[number],
                              .result = &command->results[number]};
    enum settlement before = SETTLED_ACCEPTED;
    refusal->write_number = number;
    subject.item->already = false;
    int code = find_item(region, &subject, &refusal->err);
    if (code == 0) {
        const struct region_stream_write about = {.context = bytes_of_string(subject.late.context),
                                                  .partition = bytes_of_string(subject.late.partition)};
        code = homes_decide(region, &about, &subject.epoch, refusal);
    }
    if (code == 0)
        code = is_decided(&subject, &before) ? decide_again(region, command, &subject, before)
                                             : decide_open(region, command, &subject);
    return code == 0 ? 0
                     : err_wrap(&refusal->err, code, "entry %llu of log %.200s",
                                (unsigned long long)subject.item->index, subject.item->origin);
}

int settle_decide(struct region *region, struct region_command *command)
{
    struct region_settle *settle = command->settle;
    struct err *err = &command->refusal.err;
    PRE(settle->item_count >= 1 && settle->item_count <= REGION_SETTLE_ITEMS_MAX);
    PRE(command->write_count == settle->item_count);
    settle->settled = 0;
    int code = settle_check_indexed(region, err);
    if (code == 0)
        code = sequencer_room(region, command, settle->item_count, SETTLED_PAYLOAD_MAX_BYTES, err);
    if (code != 0)
        return code;
    struct sequencer_mark mark = sequencer_mark(region);
    for (size_t i = 0; code == 0 && i < settle->item_count; i++)
        code = decide_item(region, command, i);
    if (code != 0) {
        sequencer_take_back(region, &mark);
        settle->settled = 0;
    }
    return code;
}
