/* Late events: one request, one answer, turned into plain structs in the arena of the answer. */
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "client/read.h"
#include "tally/reconcile.h"
#include "tally/v1/operations.pb-c.h"

/* Each starts with the public part, whose address the free functions get. */
struct page_answer {
    struct tally_late_page public;
    struct arena arena;
};
struct shown_answer {
    struct tally_late_shown public;
    struct arena arena;
};
struct report_answer {
    struct tally_report public;
    struct arena arena;
};

static int no_memory(struct err *err)
{
    return err_no_memory(err, "an answer");
}

static uint64_t unix_ms(uint64_t time)
{
    return time >> 16; /* of a hybrid time */
}

/* --- Items --- */

static struct tally_place place_of(const Tally__V1__LogPlace *from)
{
    return from == NULL ? (struct tally_place){.origin = NULL}
                        : (struct tally_place){.origin = from->origin, .index = from->index};
}

static int item_of(const Tally__V1__LateItem *from, struct tally_late_item *ret, struct err *err)
{
    if (from == NULL || from->place == NULL || from->event_id.len != TALLY_ID_SIZE)
        return err_set(err, ERR_CORRUPT, "the server sent an item without its place or id");
    *ret = (struct tally_late_item){.place = place_of(from->place),
                                    .late = from->late,
                                    .time_unix_ms = unix_ms(from->time),
                                    .stream_version = from->stream_version,
                                    .epoch = from->epoch,
                                    .context = from->context,
                                    .partition = from->partition,
                                    .stream = from->stream,
                                    .type = from->type,
                                    .kind = from->kind,
                                    .state = from->state,
                                    .payload_held = from->payload_held,
                                    .effective = place_of(from->effective),
                                    .decision = place_of(from->decision),
                                    .compensation = place_of(from->compensation)};
    memcpy(ret->event_id, from->event_id.data, TALLY_ID_SIZE);
    return 0;
}

static int items_of(Tally__V1__LateItem *const *from, size_t count, struct arena *arena,
                    const struct tally_late_item **ret, struct err *err)
{
    struct tally_late_item *items = arena_alloc_zero(arena, count, sizeof(*items));
    int rc = items == NULL ? no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = item_of(from[i], &items[i], err);
    *ret = items;
    return rc;
}

static void place_to(const struct tally_place *from, Tally__V1__LogPlace *ret)
{
    tally__v1__log_place__init(ret);
    ret->origin = client_text(from->origin);
    ret->index = from->index;
}

int tally_late_list(struct tally_client *client, const struct tally_late_filter *filter,
                    const struct tally_place *after, uint64_t timeout_ms, struct tally_late_page **ret, struct err *err)
{
    struct page_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    ProtobufCMessage *message = NULL;
    Tally__V1__LogPlace place;
    Tally__V1__ListLateRequest request;
    if (answer == NULL)
        return no_memory(err);
    tally__v1__list_late_request__init(&request);
    request.context = client_text(filter->context);
    request.partition = client_text(filter->partition);
    request.state = client_text(filter->state);
    request.kind = client_text(filter->kind);
    if (after != NULL) {
        place_to(after, &place);
        request.after = &place;
    }
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    int rc = client_call(client, "/tally.v1.Operations/ListLate", &request.base,
                         &tally__v1__list_late_response__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0) {
        const Tally__V1__ListLateResponse *page = (const Tally__V1__ListLateResponse *)message;
        answer->public.count = page->n_items;
        answer->public.next = place_of(page->next);
        rc = items_of(page->items, page->n_items, &answer->arena, &answer->public.items, err);
    }
    if (rc != 0) {
        tally_late_page_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_late_page_free(struct tally_late_page *public)
{
    if (public == NULL)
        return;
    struct page_answer *answer = (struct page_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

/* --- One item --- */

static int events_of(Tally__V1__ShownEvent *const *from, size_t count, struct arena *arena,
                     const struct tally_shown_event **ret, struct err *err)
{
    struct tally_shown_event *events = arena_alloc_zero(arena, count, sizeof(*events));
    int rc = events == NULL ? no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = read_recorded(bytes_of(from[i]->event.data, from[i]->event.len), &events[i].event, err);
        events[i].event.origin = from[i]->origin;
        events[i].state = from[i]->state;
    }
    *ret = events;
    return rc;
}

static int rows_of(const Tally__V1__ShownProjection *from, struct arena *arena, struct tally_shown_projection *ret,
                   struct err *err)
{
    struct tally_shown_row *rows = arena_alloc_zero(arena, from->n_rows, sizeof(*rows));
    if (rows == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_rows; i++)
        rows[i] = (struct tally_shown_row){
            .table = from->rows[i]->table, .without = from->rows[i]->without, .with = from->rows[i]->with};
    *ret = (struct tally_shown_projection){.name = from->name,
                                           .position = from->position,
                                           .error = from->error,
                                           .row_count = from->n_rows,
                                           .rows = rows,
                                           .changed = from->changed};
    return 0;
}

static int projections_of(const Tally__V1__ShowLateResponse *from, struct arena *arena, struct tally_late_shown *ret,
                          struct err *err)
{
    struct tally_shown_projection *projections = arena_alloc_zero(arena, from->n_projections, sizeof(*projections));
    int rc = projections == NULL ? no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < from->n_projections; i++)
        rc = rows_of(from->projections[i], arena, &projections[i], err);
    ret->projection_count = from->n_projections;
    ret->projections = projections;
    return rc;
}

int tally_late_show(struct tally_client *client, const struct tally_place *place, bool projections, uint64_t timeout_ms,
                    struct tally_late_shown **ret, struct err *err)
{
    struct shown_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    ProtobufCMessage *message = NULL;
    Tally__V1__LogPlace wanted;
    Tally__V1__ShowLateRequest request;
    if (answer == NULL)
        return no_memory(err);
    tally__v1__show_late_request__init(&request);
    place_to(place, &wanted);
    request.place = &wanted;
    request.projections = projections;
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    int rc = client_call(client, "/tally.v1.Operations/ShowLate", &request.base,
                         &tally__v1__show_late_response__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0) {
        const Tally__V1__ShowLateResponse *shown = (const Tally__V1__ShowLateResponse *)message;
        struct tally_late_shown *public = &answer->public;
        public->late_count = shown->n_late;
        public->effective_count = shown->n_effective;
        public->cut_off = shown->cut_off;
        rc = item_of(shown->item, &public->item, err);
        if (rc == 0)
            rc = events_of(shown->late, shown->n_late, &answer->arena, &public->late, err);
        if (rc == 0)
            rc = events_of(shown->effective, shown->n_effective, &answer->arena, &public->effective, err);
        if (rc == 0)
            rc = projections_of(shown, &answer->arena, public, err);
    }
    if (rc != 0) {
        tally_late_shown_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_late_shown_free(struct tally_late_shown *public)
{
    if (public == NULL)
        return;
    struct shown_answer *answer = (struct shown_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

/* --- Decisions --- */

static int places_to(const struct tally_settle *settle, struct arena *arena, Tally__V1__SettleRequest *request,
                     struct err *err)
{
    Tally__V1__LogPlace *places = arena_alloc_zero(arena, settle->place_count, sizeof(*places));
    request->places = arena_alloc_zero(arena, settle->place_count, sizeof(*request->places));
    if (places == NULL || request->places == NULL)
        return err_no_memory(err, "a request");
    for (size_t i = 0; i < settle->place_count; i++) {
        place_to(&settle->places[i], &places[i]);
        request->places[i] = &places[i];
    }
    request->n_places = settle->place_count;
    return 0;
}

static ProtobufCBinaryData binary(const void *data, size_t size)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = size};
}

static void event_to(const struct tally_event *from, Tally__V1__NewEvent *ret)
{
    tally__v1__new_event__init(ret);
    ret->id = binary(from->id, TALLY_ID_SIZE);
    ret->type = client_text(from->type);
    ret->content_type = client_text(from->content_type);
    ret->metadata = binary(from->metadata.data, from->metadata.size);
    ret->payload = binary(from->payload.data, from->payload.size);
    if (from->causation_id != NULL)
        ret->causation_id = binary(from->causation_id, TALLY_ID_SIZE);
    if (from->correlation_id != NULL)
        ret->correlation_id = binary(from->correlation_id, TALLY_ID_SIZE);
}

int tally_settle(struct tally_client *client, const struct tally_settle *settle, uint64_t timeout_ms,
                 struct tally_settled *ret, struct tally_refusal *ret_refusal, struct err *err)
{
    struct arena arena;
    ProtobufCMessage *message = NULL;
    Tally__V1__SettleRequest request;
    Tally__V1__Compensation compensation;
    Tally__V1__NewEvent event;
    tally__v1__settle_request__init(&request);
    tally__v1__compensation__init(&compensation);
    request.settlement = client_text(settle->settlement);
    request.actor = client_text(settle->actor);
    request.reason = client_text(settle->reason);
    if (settle->compensation != NULL) {
        event_to(settle->compensation, &event);
        compensation.stream = client_text(settle->compensation_stream);
        compensation.event = &event;
        request.compensation = &compensation;
    }
    arena_init(&arena, ANSWER_MEMORY_MAX_BYTES);
    int rc = places_to(settle, &arena, &request, err);
    if (rc == 0)
        rc = client_call(client, "/tally.v1.Operations/Settle", &request.base, &tally__v1__settle_response__descriptor,
                         timeout_ms, &arena, &message, ret_refusal, err);
    if (rc == 0) {
        const Tally__V1__SettleResponse *response = (const Tally__V1__SettleResponse *)message;
        *ret = (struct tally_settled){.settled = response->settled, .already = response->already};
        copy_string(ret->position, sizeof(ret->position), response->position);
    }
    arena_free(&arena);
    return rc;
}

/* --- Digest --- */

int tally_late_digest(struct tally_client *client, uint64_t timeout_ms, struct tally_late_digest *ret, struct err *err)
{
    struct arena arena;
    ProtobufCMessage *message = NULL;
    Tally__V1__LateDigestRequest request;
    tally__v1__late_digest_request__init(&request);
    arena_init(&arena, ANSWER_MEMORY_MAX_BYTES);
    int rc = client_call(client, "/tally.v1.Operations/LateDigest", &request.base,
                         &tally__v1__late_digest_response__descriptor, timeout_ms, &arena, &message, NULL, err);
    if (rc == 0) {
        const Tally__V1__LateDigestResponse *response = (const Tally__V1__LateDigestResponse *)message;
        ret->item_count = response->item_count;
        copy_string(ret->digest, sizeof(ret->digest), response->digest);
        copy_string(ret->position, sizeof(ret->position), response->position);
    }
    arena_free(&arena);
    return rc;
}

/* --- Report --- */

static int report_accepted(const Tally__V1__ReportResponse *from, struct arena *arena, struct tally_report *to,
                           struct err *err)
{
    struct tally_accepted_row *rows = arena_alloc_zero(arena, from->n_accepted, sizeof(*rows));
    if (rows == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_accepted; i++)
        rows[i] = (struct tally_accepted_row){.origin = from->accepted[i]->origin,
                                              .epoch = from->accepted[i]->epoch,
                                              .effective = from->accepted[i]->effective,
                                              .late = from->accepted[i]->late,
                                              .overrides = from->accepted[i]->overrides,
                                              .published = from->accepted[i]->published,
                                              .first_unix_ms = unix_ms(from->accepted[i]->first_time),
                                              .last_unix_ms = unix_ms(from->accepted[i]->last_time)};
    to->accepted_count = from->n_accepted;
    to->accepted = rows;
    return 0;
}

static int report_logs(const Tally__V1__ReportResponse *from, struct arena *arena, struct tally_report *to,
                       struct err *err)
{
    struct tally_report_log *logs = arena_alloc_zero(arena, from->n_logs, sizeof(*logs));
    if (logs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_logs; i++)
        logs[i] = (struct tally_report_log){.origin = from->logs[i]->origin,
                                            .size = from->logs[i]->size,
                                            .indexed_size = from->logs[i]->indexed_size,
                                            .checkpoint_size = from->logs[i]->checkpoint_size,
                                            .published_size = from->logs[i]->published_size};
    to->log_count = from->n_logs;
    to->logs = logs;
    return 0;
}

static int report_projections(const Tally__V1__ReportResponse *from, struct arena *arena, struct tally_report *to,
                              struct err *err)
{
    struct tally_report_projection *projections = arena_alloc_zero(arena, from->n_projections, sizeof(*projections));
    if (projections == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_projections; i++)
        projections[i] = (struct tally_report_projection){.name = from->projections[i]->name,
                                                          .state = from->projections[i]->state,
                                                          .position = from->projections[i]->position,
                                                          .behind = from->projections[i]->behind,
                                                          .stale = from->projections[i]->stale};
    to->projection_count = from->n_projections;
    to->projections = projections;
    return 0;
}

static int report_homes(const Tally__V1__ReportResponse *from, struct arena *arena, struct tally_report *to,
                        struct err *err)
{
    struct tally_home_status *homes = arena_alloc_zero(arena, from->n_homes, sizeof(*homes));
    struct tally_report_change *changes = arena_alloc_zero(arena, from->n_changes, sizeof(*changes));
    if (homes == NULL || changes == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_homes; i++)
        homes[i] = (struct tally_home_status){.partition = from->homes[i]->partition,
                                              .region = from->homes[i]->region,
                                              .epoch = from->homes[i]->epoch,
                                              .released = from->homes[i]->released,
                                              .successor = from->homes[i]->successor};
    for (size_t i = 0; i < from->n_changes; i++)
        changes[i] = (struct tally_report_change){.partition = from->changes[i]->partition,
                                                  .epoch = from->changes[i]->epoch,
                                                  .kind = from->changes[i]->kind,
                                                  .region = from->changes[i]->region,
                                                  .time_unix_ms = unix_ms(from->changes[i]->time),
                                                  .basis = from->changes[i]->basis,
                                                  .actor = from->changes[i]->actor,
                                                  .reason = from->changes[i]->reason,
                                                  .forced = from->changes[i]->forced};
    to->home_count = from->n_homes;
    to->homes = homes;
    to->more_homes = from->more_homes;
    to->change_count = from->n_changes;
    to->changes = changes;
    to->more_changes = from->more_changes;
    return 0;
}

static int report_items(const Tally__V1__ReportResponse *from, struct arena *arena, struct tally_report *to,
                        struct err *err)
{
    struct tally_state_count *states = arena_alloc_zero(arena, from->n_states, sizeof(*states));
    if (states == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_states; i++)
        states[i] = (struct tally_state_count){.state = from->states[i]->state, .count = from->states[i]->count};
    to->state_count = from->n_states;
    to->states = states;
    to->owed_count = from->n_owed;
    to->more_owed = from->more_owed;
    to->position = from->position;
    return items_of(from->owed, from->n_owed, arena, &to->owed, err);
}

static int report_fill(const Tally__V1__ReportResponse *from, struct report_answer *answer, struct err *err)
{
    static int (*const parts[])(const Tally__V1__ReportResponse *, struct arena *, struct tally_report *,
                                struct err *) = {report_accepted, report_logs, report_projections, report_homes,
                                                 report_items};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
        rc = parts[i](from, &answer->arena, &answer->public, err);
    return rc;
}

int tally_report_get(struct tally_client *client, const struct tally_report_request *wanted, uint64_t timeout_ms,
                     struct tally_report **ret, struct err *err)
{
    struct report_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    ProtobufCMessage *message = NULL;
    Tally__V1__ReportRequest request;
    if (answer == NULL)
        return no_memory(err);
    tally__v1__report_request__init(&request);
    request.context = client_text(wanted->context);
    request.epoch = wanted->epoch;
    request.from_unix_ms = wanted->from_unix_ms;
    request.to_unix_ms = wanted->to_unix_ms;
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    int rc = client_call(client, "/tally.v1.Operations/Report", &request.base, &tally__v1__report_response__descriptor,
                         timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0)
        rc = report_fill((const Tally__V1__ReportResponse *)message, answer, err);
    if (rc != 0) {
        tally_report_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_report_free(struct tally_report *public)
{
    if (public == NULL)
        return;
    struct report_answer *answer = (struct report_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}
