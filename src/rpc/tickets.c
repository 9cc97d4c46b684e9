/* Tickets: what became of commands that were queued for their homes. All is asked of the index; what it does not keep,
 * the events' ids and why a command was refused, is read from the logs. */
#include "base/mem.h"
#include "domain/queued.h"
#include "entry/frame.h"
#include "platform/clock.h"
#include "rpc/held.h"
#include "rpc/methods.h"
#include "rpc/operation.h"

enum { WAIT_MAX_MS = 3600 * 1000, TICKET_ARENA_MAX_BYTES = 8 * 1024 * 1024 };

static int no_memory(struct err *err)
{
    return err_no_memory(err, "an answer");
}

/* --- The text of a ticket --- */

static int parse_ticket(const char *text, struct position_log *ret, struct err *err)
{
    struct position position;
    int code = position_parse(bytes_of_string(text), &position, err);
    if (code != 0)
        return code;
    if (position.count != 1)
        return err_set(err, ERR_INVALID, "\"%.100s\" is no ticket: a ticket names one log, as in us@17", text);
    *ret = position.logs[0];
    return 0;
}

static char *ticket_text(const char *origin, uint64_t index, struct arena *arena)
{
    struct position position = {.count = 0};
    if (held_set_position(&position, bytes_of_string(origin), index + 1, NULL) != 0)
        return NULL;
    return operation_position_text(arena, &position);
}

/* The command that a ticket names, as the index has it. ERR_NOT_FOUND. */
static int find_queued(struct rpc_backend *backend, const struct position_log *ticket, struct index_queued *ret,
                       struct err *err)
{
    struct origin origin = {.incarnation = ticket->incarnation};
    char text[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct index_place place = {.index = ticket->size - 1};
    copy_string(origin.cluster, sizeof(origin.cluster), backend->config->cluster);
    copy_string(origin.region, sizeof(origin.region), ticket->region);
    origin_format(&origin, text);
    int code = held_find(backend, bytes_of_string(text), NULL, NULL, err);
    if (code == 0)
        code = index_log(backend->index, bytes_of_string(text), &place.log, err);
    if (code != 0)
        return code;
    uint64_t applied = index_applied_size(backend->index, place.log);
    if (applied < ticket->size)
        return err_set(err, ERR_NOT_FOUND,
                       "region %s has applied %llu entries of log %s, and the ticket is for entry %llu; ask again "
                       "later, or the region that took the command",
                       backend->config->region, (unsigned long long)applied, text, (unsigned long long)place.index);
    return index_queue_at(backend->index, place, ret, err);
}

/* --- A ticket --- */

static int fill_decision(struct rpc_backend *backend, const struct index_queued *queued, Tally__V1__Ticket *ret,
                         struct arena *arena, struct err *err)
{
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    if (queued->state == INDEX_QUEUED_OPEN)
        return 0;
    int code = index_origin(backend->index, queued->decision.log, origin, err);
    if (code != 0)
        return code;
    ret->decision_origin = operation_text(arena, origin);
    ret->decision_index = queued->decision.index;
    ret->position = ticket_text(origin, queued->decision.index, arena);
    ret->code = queued->code;
    ret->code_name = operation_text(arena, queued->code == 0 ? "" : tally_error_name(queued->code));
    return ret->decision_origin == NULL || ret->position == NULL || ret->code_name == NULL ? no_memory(err) : 0;
}

static int fill(struct rpc_backend *backend, const struct index_queued *queued, Tally__V1__Ticket *ret,
                struct arena *arena, struct err *err)
{
    tally__v1__ticket__init(ret);
    ret->ticket = ticket_text(queued->origin, queued->place.index, arena);
    ret->state = operation_text(arena, index_queued_state_name(queued->state));
    ret->context = operation_text(arena, queued->context);
    ret->partition = operation_text(arena, queued->partition);
    ret->command_id.data = arena_copy(arena, queued->event_id, ENTRY_ID_SIZE);
    ret->command_id.len = ENTRY_ID_SIZE;
    ret->time = queued->time;
    ret->event_count = queued->event_count;
    if (ret->ticket == NULL || ret->state == NULL || ret->context == NULL || ret->partition == NULL ||
        ret->command_id.data == NULL)
        return no_memory(err);
    return fill_decision(backend, queued, ret, arena, err);
}

/* --- What the logs know --- */

static int copy_payload(struct rpc_backend *backend, const char *origin, uint64_t index, struct arena *arena,
                        struct bytes *ret, struct err *err)
{
    struct block *block = NULL;
    struct bytes encoded;
    struct frame frame;
    int code = held_frame(backend, origin, index, &block, &encoded, err);
    if (code != 0)
        return code;
    code = frame_parse(encoded, &frame, err);
    if (code == 0) {
        *ret = bytes_of(arena_copy(arena, frame.payload.data, frame.payload.size_bytes), frame.payload.size_bytes);
        code = ret->data == NULL ? no_memory(err) : 0;
    }
    block_release(block);
    return code;
}

static int fill_result(struct rpc_backend *backend, const struct index_queued *queued, const uint8_t *id,
                       Tally__V1__AppendResult *ret, struct arena *arena, struct err *err)
{
    struct index_event event;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    int code = index_event(backend->index, id, &event, err);
    tally__v1__append_result__init(ret);
    ret->duplicate = true;
    if (code == ERR_NOT_FOUND)
        return 0; /* a repetition of what this region has not heard of yet */
    if (code == 0)
        code = index_origin(backend->index, event.place.log, origin, err);
    if (code != 0)
        return code;
    bool with_verdict = event.place.log == queued->decision.log && event.place.index < queued->decision.index &&
                        event.place.index + queued->event_count >= queued->decision.index;
    ret->origin = operation_text(arena, origin);
    ret->index = event.place.index;
    ret->stream_version = event.stream_version;
    ret->duplicate = !with_verdict;
    return ret->origin == NULL ? no_memory(err) : 0;
}

static int fill_results(struct rpc_backend *backend, const struct index_queued *queued, Tally__V1__Ticket *ret,
                        struct arena *arena, struct err *err)
{
    struct bytes payload;
    struct queued_write write;
    struct queued_event event;
    Tally__V1__AppendResult *results = arena_alloc_zero(arena, queued->event_count, sizeof(*results));
    ret->results = arena_alloc_zero(arena, queued->event_count, sizeof(*ret->results));
    if (results == NULL || ret->results == NULL)
        return no_memory(err);
    int code = copy_payload(backend, queued->origin, queued->place.index, arena, &payload, err);
    while (code == 0 && queued_next_write(&payload, &write)) {
        while (code == 0 && ret->n_results < queued->event_count && queued_next_event(&write.events, &event)) {
            Tally__V1__AppendResult *result = &results[ret->n_results];
            code = fill_result(backend, queued, event.id, result, arena, err);
            if (code == 0)
                ret->results[ret->n_results++] = result;
        }
    }
    return code;
}

static int fill_message(struct rpc_backend *backend, Tally__V1__Ticket *ret, struct arena *arena, struct err *err)
{
    struct bytes payload;
    struct control_decided decided;
    int code = copy_payload(backend, ret->decision_origin, ret->decision_index, arena, &payload, err);
    if (code == 0)
        code = control_decided_parse(CONTROL_COMMAND_REFUSED, payload, &decided, err);
    if (code != 0)
        return code;
    ret->message = arena_alloc_zero(arena, decided.message.size_bytes + 1, 1);
    if (ret->message == NULL)
        return no_memory(err);
    memcpy(ret->message, decided.message.data, decided.message.size_bytes);
    return 0;
}

static int fill_home(struct rpc_backend *backend, const struct index_queued *queued, Tally__V1__Ticket *ret,
                     struct arena *arena, struct err *err)
{
    struct region_freshness freshness;
    int code = backend->ops->freshness(backend, bytes_of_string(queued->context), bytes_of_string(queued->partition),
                                       NULL, &freshness, err);
    if (code != 0)
        return code;
    ret->home = operation_text(arena, freshness.home);
    return ret->home == NULL ? no_memory(err) : 0;
}

static int fill_all(struct rpc_backend *backend, const struct index_queued *queued, Tally__V1__Ticket *ret,
                    struct arena *arena, struct err *err)
{
    int code = fill(backend, queued, ret, arena, err);
    if (code == 0)
        code = fill_home(backend, queued, ret, arena, err);
    if (code == 0 && queued->state == INDEX_QUEUED_ACCEPTED)
        code = fill_results(backend, queued, ret, arena, err);
    if (code == 0 && queued->state == INDEX_QUEUED_REFUSED)
        code = fill_message(backend, ret, arena, err);
    return code;
}

/* --- ShowTicket --- */

/* Until it is decided, or the time is over. */
static int wait_decided(struct call *call, const struct position_log *ticket, uint64_t wait_ms,
                        struct index_queued *ret, struct err *err)
{
    struct rpc_backend *backend = call->backend;
    uint64_t deadline_us = clock_now().mono_us + (wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS : wait_ms) * 1000;
    uint64_t seen = backend->ops->wait_change(backend, 0, 0);
    while (true) {
        struct err why = {0};
        int code = find_queued(backend, ticket, ret, &why);
        uint64_t now_us = clock_now().mono_us;
        bool undecided = code == ERR_NOT_FOUND || (code == 0 && ret->state == INDEX_QUEUED_OPEN);
        if (!undecided || now_us >= deadline_us)
            return code == 0 ? 0 : err_set(err, code, "%s", why.message);
        code = call_wait_change(call, &seen, (deadline_us - now_us) / 1000 + 1, err);
        if (code != 0)
            return code;
    }
}

static int show(struct call *call, ProtobufCMessage *message, struct arena *unused, struct err *err)
{
    const Tally__V1__ShowTicketRequest *request = (const Tally__V1__ShowTicketRequest *)message;
    struct position_log ticket;
    struct index_queued queued;
    struct arena arena;
    Tally__V1__Ticket answer;
    (void)unused;
    int code = parse_ticket(request->ticket, &ticket, err);
    if (code == 0)
        code = held_wait_indexed(call, err); /* whoever was given a ticket here finds it */
    if (code == 0)
        code = wait_decided(call, &ticket, request->wait_ms, &queued, err);
    if (code != 0)
        return code;
    arena_init(&arena, TICKET_ARENA_MAX_BYTES);
    code = fill_all(call->backend, &queued, &answer, &arena, err);
    if (code == 0)
        code = call_answer(call, &answer.base);
    arena_free(&arena);
    return code;
}

int method_show_ticket(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__show_ticket_request__descriptor, show, err);
}

/* --- ListTickets --- */

static int start_after(struct rpc_backend *backend, const char *text, struct index_late_cursor *ret, struct err *err)
{
    struct position_log ticket;
    struct origin origin;
    if (text[0] == '\0')
        return 0;
    int code = parse_ticket(text, &ticket, err);
    if (code != 0)
        return code;
    origin.incarnation = ticket.incarnation;
    copy_string(origin.cluster, sizeof(origin.cluster), backend->config->cluster);
    copy_string(origin.region, sizeof(origin.region), ticket.region);
    origin_format(&origin, ret->origin);
    ret->index = ticket.size - 1;
    ret->started = true;
    return 0;
}

static int fill_page(struct rpc_backend *backend, const struct index_queued *queued, size_t count,
                     Tally__V1__ListTicketsResponse *ret, struct arena *arena, struct err *err)
{
    Tally__V1__Ticket *tickets = arena_alloc_zero(arena, count, sizeof(*tickets));
    ret->tickets = arena_alloc_zero(arena, count, sizeof(*ret->tickets));
    int code = tickets == NULL || ret->tickets == NULL ? no_memory(err) : 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        code = fill(backend, &queued[i], &tickets[i], arena, err);
        ret->tickets[i] = &tickets[i];
    }
    ret->n_tickets = count;
    return code;
}

static int list(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__ListTicketsRequest *request = (const Tally__V1__ListTicketsRequest *)message;
    struct rpc_backend *backend = call->backend;
    size_t max = request->limit == 0 || request->limit > INDEX_QUEUE_SCAN_MAX ? INDEX_QUEUE_SCAN_MAX : request->limit;
    struct index_late_cursor cursor = {.started = false};
    struct index_queued *queued = mem_alloc(max * sizeof(*queued));
    size_t count = 0;
    Tally__V1__ListTicketsResponse answer;
    tally__v1__list_tickets_response__init(&answer);
    int code = queued == NULL ? no_memory(err) : start_after(backend, request->after, &cursor, err);
    if (code == 0)
        code = held_wait_indexed(call, err);
    if (code == 0)
        code = index_queue_scan(backend->index, &cursor, request->open_only, queued, max, &count, err);
    if (code == 0)
        code = fill_page(backend, queued, count, &answer, arena, err);
    if (code == 0 && count == max)
        answer.next = answer.tickets[count - 1]->ticket;
    if (code == 0)
        code = call_answer(call, &answer.base);
    mem_free(queued);
    return code;
}

int method_list_tickets(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__list_tickets_request__descriptor, list, err);
}
