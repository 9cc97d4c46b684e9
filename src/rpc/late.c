/* Late events and duplicates: listing, showing, settling, and the digest over all. Looking asks the index alone; a
 * decision goes the way of every command (settle.h). */
#include "rpc/late.h"

#include "base/mem.h"
#include "entry/frame.h"
#include "platform/clock.h"
#include "rpc/held.h"
#include "rpc/methods.h"
#include "rpc/operation.h"
#include "rpc/preview.h"
#include "rpc/settle.h"

enum {
    SCANS_OF_A_PAGE_MAX = 16, /* a filter that nothing passes must not make a call endless */
    PLACES_MAX = 10000,
    SHOWN_MAX = 256, /* events of each side */
    SHOWN_MAX_BYTES = 2 * 1024 * 1024,
    SHOW_ARENA_MAX_BYTES = 8 * 1024 * 1024,
    DIGEST_TRIES_MAX = 100,
};

static int no_memory(struct err *err)
{
    return err_no_memory(err, "an answer");
}

/* --- An item --- */

static Tally__V1__LogPlace *place_new(struct arena *arena, const char *origin, uint64_t index)
{
    Tally__V1__LogPlace *place = arena_alloc_zero(arena, 1, sizeof(*place));
    if (place == NULL)
        return NULL;
    tally__v1__log_place__init(place);
    place->origin = operation_text(arena, origin);
    place->index = index;
    return place->origin == NULL ? NULL : place;
}

static int fill_place(struct index *index, bool there, struct index_place place, Tally__V1__LogPlace **ret,
                      struct arena *arena, struct err *err)
{
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    if (!there)
        return 0;
    int code = index_origin(index, place.log, origin, err);
    if (code != 0)
        return code;
    *ret = place_new(arena, origin, place.index);
    return *ret == NULL ? no_memory(err) : 0;
}

static char *copy_name(struct arena *arena, struct bytes name)
{
    char *text = arena_alloc_zero(arena, name.size_bytes + 1, 1);
    if (text != NULL && name.size_bytes > 0)
        memcpy(text, name.data, name.size_bytes);
    return text;
}

static int fill_names_from_log(struct rpc_backend *backend, const struct index_late *item, Tally__V1__LateItem *ret,
                               struct arena *arena, struct err *err)
{
    struct block *block = NULL;
    struct bytes encoded;
    struct frame frame;
    struct entry entry;
    int code = held_frame(backend, item->origin, item->place.index, &block, &encoded, err);
    if (code != 0)
        return code;
    code = frame_parse(encoded, &frame, err);
    if (code == 0)
        code = entry_parse(frame.entry, &entry, err);
    if (code == 0) {
        ret->epoch = entry.epoch;
        ret->context = copy_name(arena, entry.context);
        ret->partition = copy_name(arena, entry.partition);
        ret->stream = copy_name(arena, entry.stream);
        ret->type = copy_name(arena, entry.type);
    }
    block_release(block);
    return code;
}

static int fill_names(struct rpc_backend *backend, const struct index_late *item, Tally__V1__LateItem *ret,
                      struct arena *arena, struct err *err)
{
    if (!item->late)
        return fill_names_from_log(backend, item, ret, arena, err);
    ret->epoch = item->epoch;
    ret->context = operation_text(arena, item->context);
    ret->partition = operation_text(arena, item->partition);
    ret->stream = operation_text(arena, item->stream);
    ret->type = operation_text(arena, item->type);
    return 0;
}

int late_fill(struct rpc_backend *backend, const struct index_late *item, Tally__V1__LateItem *ret, struct arena *arena,
              struct err *err)
{
    tally__v1__late_item__init(ret);
    int code = fill_names(backend, item, ret, arena, err);
    if (code != 0)
        return code;
    ret->place = place_new(arena, item->origin, item->place.index);
    ret->late = item->late;
    ret->event_id.data = arena_copy(arena, item->event_id, ENTRY_ID_SIZE);
    ret->event_id.len = ENTRY_ID_SIZE;
    ret->time = item->time;
    ret->stream_version = item->stream_version;
    ret->state = operation_text(arena, index_late_state_name(item->state));
    ret->kind = operation_text(arena, index_late_kind_name(item));
    ret->payload_held = item->fingerprint != 0;
    if (ret->place == NULL || ret->event_id.data == NULL || ret->context == NULL || ret->partition == NULL ||
        ret->stream == NULL || ret->type == NULL || ret->state == NULL || ret->kind == NULL)
        return no_memory(err);
    struct index *index = backend->index;
    code = fill_place(index, item->has_effective, item->effective, &ret->effective, arena, err);
    if (code == 0)
        code = fill_place(index, item->decided, item->decision, &ret->decision, arena, err);
    if (code == 0)
        code = fill_place(index, item->state == INDEX_LATE_COMPENSATED, item->compensation, &ret->compensation, arena,
                          err);
    return code;
}

/* --- ListLate --- */

static bool fits(const char *wanted, const char *value)
{
    return wanted[0] == '\0' || strcmp(wanted, value) == 0;
}

static int check_state(const char *state, struct err *err)
{
    for (enum index_late_state known = INDEX_LATE_OPEN; known <= INDEX_LATE_COMPENSATED; known++) {
        if (fits(state, index_late_state_name(known)))
            return 0;
    }
    return err_set(err, ERR_INVALID,
                   "there is no state \"%.40s\"; there are: open, duplicate, accepted, dropped, "
                   "rejected, compensation owed, compensated",
                   state);
}

struct page {
    const Tally__V1__ListLateRequest *request;
    struct index_late *items; /* as scanned */
    Tally__V1__LateItem *filled;
    Tally__V1__ListLateResponse response;
    size_t max;
};

/* Adds those of a scan that are wanted. */
static int add_wanted(struct call *call, struct page *page, size_t scanned, struct arena *arena, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < scanned; i++) {
        Tally__V1__LateItem *item = &page->filled[page->response.n_items];
        if (!fits(page->request->state, index_late_state_name(page->items[i].state)) ||
            !fits(page->request->kind, index_late_kind_name(&page->items[i])))
            continue;
        code = late_fill(call->backend, &page->items[i], item, arena, err);
        if (code == 0 && fits(page->request->context, item->context) && fits(page->request->partition, item->partition))
            page->response.items[page->response.n_items++] = item;
    }
    return code;
}

static int start_cursor(const Tally__V1__ListLateRequest *request, struct index_late_cursor *ret, struct err *err)
{
    if (request->after == NULL)
        return 0;
    if (strlen(request->after->origin) > INDEX_ORIGIN_MAX_BYTES)
        return err_set(err, ERR_INVALID, "after: the origin is too long");
    ret->started = true;
    copy_string(ret->origin, sizeof(ret->origin), request->after->origin);
    ret->index = request->after->index;
    return 0;
}

/* A scan takes as many items as the page has room for, so that the cursor never runs ahead of what was looked at. */
static int fill_page(struct call *call, struct page *page, struct arena *arena, struct err *err)
{
    struct index_late_cursor cursor = {.started = false};
    size_t scanned = 0;
    bool end = false;
    int code = start_cursor(page->request, &cursor, err);
    for (size_t i = 0; code == 0 && !end && i < SCANS_OF_A_PAGE_MAX && page->response.n_items < page->max; i++) {
        size_t room = page->max - page->response.n_items;
        code = index_late_scan(call->backend->index, &cursor, page->items, room, &scanned, err);
        if (code == 0)
            code = add_wanted(call, page, scanned, arena, err);
        end = code == 0 && scanned < room;
    }
    if (code != 0 || end)
        return code;
    page->response.next = place_new(arena, cursor.origin, cursor.index);
    return page->response.next == NULL ? no_memory(err) : 0;
}

static int list_late(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    struct page page = {.request = (const Tally__V1__ListLateRequest *)message, .max = INDEX_LATE_SCAN_MAX};
    if (page.request->limit > 0 && page.request->limit < page.max)
        page.max = page.request->limit;
    tally__v1__list_late_response__init(&page.response);
    page.items = arena_alloc_zero(arena, page.max, sizeof(*page.items));
    page.filled = arena_alloc_zero(arena, page.max, sizeof(*page.filled));
    page.response.items = arena_alloc_zero(arena, page.max, sizeof(*page.response.items));
    if (page.items == NULL || page.filled == NULL || page.response.items == NULL)
        return no_memory(err);
    int code = check_state(page.request->state, err);
    if (code == 0)
        code = held_wait_indexed(call, err);
    if (code == 0)
        code = fill_page(call, &page, arena, err);
    return code == 0 ? call_answer(call, &page.response.base) : code;
}

int method_list_late(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__list_late_request__descriptor, list_late, err);
}

/* --- ShowLate --- */

static int find_item(struct rpc_backend *backend, const Tally__V1__LogPlace *place, struct index_late *ret,
                     struct err *err)
{
    struct log *log = NULL;
    struct index_place at = {.index = place == NULL ? 0 : place->index};
    if (place == NULL || place->origin[0] == '\0')
        return err_set(err, ERR_INVALID, "a place needs the origin of a log");
    int code = held_find(backend, bytes_of_string(place->origin), &log, NULL, err);
    if (code == 0)
        code = index_log(backend->index, log_origin(log), &at.log, err);
    if (code == 0)
        code = index_late_at(backend->index, at, ret, err);
    return code == ERR_NOT_FOUND
               ? err_wrap(err, code, "entry %llu of log %.200s", (unsigned long long)at.index, place->origin)
               : code;
}

struct showing {
    struct call *call;
    struct arena arena; /* of the events */
    size_t size_bytes;
    uint64_t from_version; /* of the stream: where the two versions part, the item's or that of an earlier late event */
    Tally__V1__ShowLateResponse response;
};

/* Adds an event to one side; what does not fit is left out, and said so. */
static int show_event(struct showing *showing, const char *origin, uint64_t index, const char *state,
                      Tally__V1__ShownEvent **side, size_t *count, struct err *err)
{
    struct block *block = NULL;
    struct bytes encoded;
    int code = held_frame(showing->call->backend, origin, index, &block, &encoded, err);
    if (code != 0)
        return code;
    if (*count == SHOWN_MAX ||
        (showing->size_bytes > 0 && showing->size_bytes + encoded.size_bytes > SHOWN_MAX_BYTES)) {
        showing->response.cut_off = true;
        block_release(block);
        return 0;
    }
    Tally__V1__ShownEvent *event = arena_alloc_zero(&showing->arena, 1, sizeof(*event));
    uint8_t *copy = arena_copy(&showing->arena, encoded.data, encoded.size_bytes);
    size_t size_bytes = encoded.size_bytes;
    block_release(block);
    if (event == NULL || copy == NULL)
        return no_memory(err);
    tally__v1__shown_event__init(event);
    event->origin = operation_text(&showing->arena, origin);
    event->state = operation_text(&showing->arena, state);
    event->event = (ProtobufCBinaryData){.data = copy, .len = size_bytes};
    if (event->origin == NULL || event->state == NULL)
        return no_memory(err);
    side[(*count)++] = event;
    showing->size_bytes += size_bytes;
    return 0;
}

/* The late events of the item's stream: items are few, and lie in no order of streams, so all are looked at. */
static int show_late_side(struct showing *showing, const struct index_late *item, struct err *err)
{
    Tally__V1__ShowLateResponse *response = &showing->response;
    struct index_late_cursor cursor = {.started = false};
    struct index_late *items = arena_alloc_zero(&showing->arena, INDEX_LATE_SCAN_MAX, sizeof(*items));
    size_t count = 1;
    int code = items == NULL ? no_memory(err) : 0;
    while (code == 0 && count > 0 && !response->cut_off) {
        code = index_late_scan(showing->call->backend->index, &cursor, items, INDEX_LATE_SCAN_MAX, &count, err);
        for (size_t i = 0; code == 0 && i < count; i++) {
            if (!items[i].late || strcmp(items[i].context, item->context) != 0 ||
                strcmp(items[i].stream, item->stream) != 0)
                continue;
            code = show_event(showing, items[i].origin, items[i].place.index, index_late_state_name(items[i].state),
                              response->late, &response->n_late, err);
            if (!items[i].override && !items[i].commutative && items[i].stream_version < showing->from_version)
                showing->from_version = items[i].stream_version;
        }
        if (code == 0)
            code = call_check(showing->call, err);
    }
    return code;
}

static int show_effective_side(struct showing *showing, const char *context, const char *stream, struct err *err)
{
    Tally__V1__ShowLateResponse *response = &showing->response;
    struct index *index = showing->call->backend->index;
    struct index_place *places = arena_alloc_zero(&showing->arena, SHOWN_MAX + 1, sizeof(*places));
    size_t count = 0;
    if (places == NULL)
        return no_memory(err);
    int code = index_scan(index, bytes_of_string(context), bytes_of_string(stream), showing->from_version, false,
                          places, SHOWN_MAX + 1, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        char origin[INDEX_ORIGIN_MAX_BYTES + 1];
        code = index_origin(index, places[i].log, origin, err);
        if (code == 0)
            code = show_event(showing, origin, places[i].index, "", response->effective, &response->n_effective, err);
    }
    return code;
}

/* What has no version parts from the stream where that ends now. */
static uint64_t first_shown(struct rpc_backend *backend, const struct index_late *item)
{
    struct index_head head;
    if (!item->override && !item->commutative)
        return item->stream_version;
    return index_head(backend->index, bytes_of_string(item->context), bytes_of_string(item->stream), &head, NULL) == 0
               ? head.version
               : 0;
}

static int show_all(struct showing *showing, const Tally__V1__ShowLateRequest *request, struct err *err)
{
    Tally__V1__ShowLateResponse *response = &showing->response;
    struct rpc_backend *backend = showing->call->backend;
    struct index_late *item = arena_alloc_zero(&showing->arena, 1, sizeof(*item));
    response->item = arena_alloc_zero(&showing->arena, 1, sizeof(*response->item));
    response->late = arena_alloc_zero(&showing->arena, SHOWN_MAX, sizeof(*response->late));
    response->effective = arena_alloc_zero(&showing->arena, SHOWN_MAX, sizeof(*response->effective));
    if (item == NULL || response->item == NULL || response->late == NULL || response->effective == NULL)
        return no_memory(err);
    int code = held_wait_indexed(showing->call, err);
    if (code == 0)
        code = find_item(backend, request->place, item, err);
    if (code == 0)
        code = late_fill(backend, item, response->item, &showing->arena, err);
    showing->from_version = first_shown(backend, item);
    if (code == 0 && item->late)
        code = show_late_side(showing, item, err);
    if (code == 0)
        code = show_effective_side(showing, response->item->context, response->item->stream, err);
    if (code == 0 && request->projections)
        code = preview_fill(showing->call, item, &showing->arena, response, err);
    return code;
}

static int show_late(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    struct showing *showing = arena_alloc_zero(arena, 1, sizeof(*showing));
    if (showing == NULL)
        return no_memory(err);
    showing->call = call;
    arena_init(&showing->arena, SHOW_ARENA_MAX_BYTES);
    tally__v1__show_late_response__init(&showing->response);
    int code = show_all(showing, (const Tally__V1__ShowLateRequest *)message, err);
    if (code == 0)
        code = call_answer(call, &showing->response.base);
    arena_free(&showing->arena);
    return code;
}

int method_show_late(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__show_late_request__descriptor, show_late, err);
}

/* --- Settle --- */

static const struct {
    const char *name;
    enum settlement settlement;
} settlements[] = {
    {"accept", SETTLED_ACCEPTED},
    {"drop", SETTLED_DROPPED},
    {"reject", SETTLED_REJECTED},
    {"compensate", SETTLED_COMPENSATE},
};

static int take_settlement(const char *name, enum settlement *ret, struct err *err)
{
    for (size_t i = 0; i < sizeof(settlements) / sizeof(settlements[0]); i++) {
        if (strcmp(settlements[i].name, name) == 0) {
            *ret = settlements[i].settlement;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "settlement \"%.40s\" is none of accept, drop, reject, compensate", name);
}

static int take_places(const Tally__V1__SettleRequest *from, struct settle_request *request, struct arena *arena,
                       struct err *err)
{
    if (from->n_places == 0 || from->n_places > PLACES_MAX)
        return err_set(err, ERR_INVALID, "1 to %d places at once, not %zu", PLACES_MAX, from->n_places);
    struct settle_place *places = arena_alloc_zero(arena, from->n_places, sizeof(*places));
    if (places == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_places; i++)
        places[i] = (struct settle_place){.origin = from->places[i]->origin, .index = from->places[i]->index};
    request->places = places;
    request->place_count = from->n_places;
    return 0;
}

static int take_people(const Tally__V1__SettleRequest *from, struct settle_request *request, struct err *err)
{
    request->actor = from->actor[0] == '\0' ? BYTES_LITERAL("operator") : bytes_of_string(from->actor);
    request->reason = bytes_of_string(from->reason);
    int code = entry_check_name(request->actor, CONTROL_ACTOR_MAX_BYTES, "actor", err);
    if (code == 0 && request->reason.size_bytes > 0)
        code = entry_check_name(request->reason, CONTROL_REASON_MAX_BYTES, "reason", err);
    return code;
}

static struct bytes bytes_from(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

/* The event stands in the context and partition of the item; the region checks that it is caused by it. */
static int take_compensation(struct call *call, const Tally__V1__SettleRequest *from, struct settle_request *request,
                             struct arena *arena, struct err *err)
{
    const Tally__V1__Compensation *compensation = from->compensation;
    if (compensation == NULL)
        return 0;
    if (request->settlement != SETTLED_COMPENSATE || request->place_count != 1)
        return err_set(err, ERR_INVALID, "a compensating event goes with \"compensate\" and one place");
    const Tally__V1__NewEvent *event = compensation->event;
    if (event == NULL || event->id.len != ENTRY_ID_SIZE)
        return err_set(err, ERR_INVALID, "the compensating event needs an id of %d bytes", ENTRY_ID_SIZE);
    struct region_stream_write *write = arena_alloc_zero(arena, 1, sizeof(*write));
    struct region_new_event *made = arena_alloc_zero(arena, 1, sizeof(*made));
    struct index_late *item = arena_alloc_zero(arena, 1, sizeof(*item));
    struct region_refusal *refusal = arena_alloc_zero(arena, 1, sizeof(*refusal));
    if (write == NULL || made == NULL || item == NULL || refusal == NULL)
        return no_memory(err);
    int code = find_item(call->backend, from->places[0], item, err);
    if (code != 0)
        return code;
    *made = (struct region_new_event){.type = bytes_of_string(event->type),
                                      .content_type = bytes_of_string(event->content_type),
                                      .metadata = bytes_from(event->metadata),
                                      .payload = bytes_from(event->payload),
                                      .causation_id = bytes_from(event->causation_id),
                                      .correlation_id = bytes_from(event->correlation_id)};
    memcpy(made->id, event->id.data, ENTRY_ID_SIZE);
    entropy_fill(made->salt, ENTRY_SALT_SIZE);
    *write = (struct region_stream_write){.context = bytes_of_string(item->context),
                                          .partition = bytes_of_string(item->partition),
                                          .stream = bytes_of_string(compensation->stream),
                                          .expectation = STREAM_ANY,
                                          .event_count = 1,
                                          .events = made};
    const struct region_command command = {.write_count = 1, .writes = write};
    if (region_command_check(&command, refusal) != 0)
        return err_set(err, refusal->code, "the compensating event: %s", refusal->err.message);
    request->compensation = write;
    return 0;
}

static int answer_settled(struct call *call, const struct settle_outcome *outcome, struct arena *arena, struct err *err)
{
    Tally__V1__SettleResponse response;
    tally__v1__settle_response__init(&response);
    response.settled = outcome->settled;
    response.already = outcome->already;
    response.position = outcome->ticket == 0 ? operation_text(arena, "")
                                             : operation_own_position(call->backend, outcome->ticket, arena);
    return response.position == NULL ? no_memory(err) : call_answer(call, &response.base);
}

static int settle(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__SettleRequest *from = (const Tally__V1__SettleRequest *)message;
    struct settle_request request = {.call = call};
    struct settle_outcome *outcome = arena_alloc_zero(arena, 1, sizeof(*outcome));
    if (outcome == NULL)
        return no_memory(err);
    int code = take_settlement(from->settlement, &request.settlement, err);
    if (code == 0)
        code = take_people(from, &request, err);
    if (code == 0)
        code = take_places(from, &request, arena, err);
    if (code == 0)
        code = take_compensation(call, from, &request, arena, err);
    if (code != 0)
        return code;
    code = settle_places(call->backend, &request, outcome, err);
    if (outcome->refusal.code != 0)
        return call_fail_refused(call, &outcome->refusal, NULL, err);
    return code == 0 ? answer_settled(call, outcome, arena, err) : code;
}

int method_settle(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__settle_request__descriptor, settle, err);
}

/* --- LateDigest --- */

static int applied_position(struct rpc_backend *backend, struct position *ret, struct err *err)
{
    size_t count = backend->ops->log_count(backend);
    int code = 0;
    ret->count = 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct bytes origin = log_origin(backend->ops->log_at(backend, i));
        uint32_t number = 0;
        code = index_log(backend->index, origin, &number, err);
        if (code == 0)
            code = held_set_position(ret, origin, index_applied_size(backend->index, number), err);
    }
    return code;
}

/* Digest, count and position belong together if nothing was applied while they were taken. */
static int digest_once(struct rpc_backend *backend, struct sha256 *sha, struct hash *ret, uint64_t *ret_count,
                       struct position *ret_position, bool *ret_still, struct err *err)
{
    uint64_t before = index_sequence(backend->index);
    int code = applied_position(backend, ret_position, err);
    if (code == 0)
        code = index_late_digest(backend->index, sha, ret, err);
    *ret_count = index_late_count(backend->index);
    *ret_still = index_sequence(backend->index) == before;
    return code;
}

static int digest_still(struct call *call, struct hash *ret, uint64_t *ret_count, struct position *ret_position,
                        struct err *err)
{
    struct sha256 *sha = sha256_new();
    bool still = false;
    int code = sha == NULL ? no_memory(err) : 0;
    for (size_t i = 0; code == 0 && !still && i < DIGEST_TRIES_MAX; i++) {
        code = digest_once(call->backend, sha, ret, ret_count, ret_position, &still, err);
        if (code == 0)
            code = call_check(call, err);
    }
    sha256_free(sha);
    if (code == 0 && !still)
        code = err_set(err, ERR_BUSY, "the index moves on faster than the digest is made; ask again");
    return code;
}

static int late_digest(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    struct position position;
    struct hash hash;
    char digest[2 * HASH_SIZE + 1];
    Tally__V1__LateDigestResponse response;
    (void)message;
    tally__v1__late_digest_response__init(&response);
    int code = held_wait_indexed(call, err);
    if (code == 0)
        code = digest_still(call, &hash, &response.item_count, &position, err);
    if (code != 0)
        return code;
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), digest);
    response.digest = digest;
    response.position = operation_position_text(arena, &position);
    return response.position == NULL ? no_memory(err) : call_answer(call, &response.base);
}

int method_late_digest(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__late_digest_request__descriptor, late_digest, err);
}
