/* Tickets: one request, one answer, turned into plain structs in the arena of the answer. */
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "tally/v1/ledger.pb-c.h"

/* Each starts with the public part, whose address the free functions get. */
struct ticket_answer {
    struct tally_ticket public;
    struct arena arena;
};
struct list_answer {
    struct tally_tickets public;
    struct arena arena;
};

static int ticket_of(const Tally__V1__Ticket *from, struct arena *arena, struct tally_ticket *ret, struct err *err)
{
    if (from->command_id.len != TALLY_ID_SIZE)
        return err_set(err, ERR_CORRUPT, "the server sent a ticket without its command's id");
    struct tally_result *results = arena_alloc_zero(arena, from->n_results, sizeof(*results));
    if (results == NULL)
        return err_no_memory(err, "a ticket");
    for (size_t i = 0; i < from->n_results; i++)
        results[i] = (struct tally_result){.origin = from->results[i]->origin,
                                           .index = from->results[i]->index,
                                           .stream_version = from->results[i]->stream_version,
                                           .duplicate = from->results[i]->duplicate};
    *ret = (struct tally_ticket){.ticket = from->ticket,
                                 .state = from->state,
                                 .context = from->context,
                                 .partition = from->partition,
                                 .time_unix_ms = from->time >> 16, /* of a hybrid time */
                                 .event_count = from->event_count,
                                 .home = from->home,
                                 .decision_origin = from->decision_origin,
                                 .decision_index = from->decision_index,
                                 .position = from->position,
                                 .result_count = from->n_results,
                                 .results = results};
    memcpy(ret->command_id, from->command_id.data, TALLY_ID_SIZE);
    if (from->code != 0)
        (void)err_set(&ret->refusal, from->code < 0 && from->code >= ERR_END ? from->code : ERR_INVALID, "%s",
                      from->message);
    return 0;
}

int tally_ticket_get(struct tally_client *client, const char *ticket, uint64_t wait_ms, uint64_t timeout_ms,
                     struct tally_ticket **ret, struct err *err)
{
    struct ticket_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    ProtobufCMessage *message = NULL;
    Tally__V1__ShowTicketRequest request;
    if (answer == NULL)
        return err_no_memory(err, "a ticket");
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    tally__v1__show_ticket_request__init(&request);
    request.ticket = client_text(ticket);
    request.wait_ms = wait_ms;
    /* The wait happens in the server: the call itself must outlast it. */
    int rc = client_call(client, "/tally.v1.Ledger/ShowTicket", &request.base, &tally__v1__ticket__descriptor,
                         timeout_ms == 0 ? 0 : timeout_ms + wait_ms, &answer->arena, &message, NULL, err);
    if (rc == 0)
        rc = ticket_of((const Tally__V1__Ticket *)message, &answer->arena, &answer->public, err);
    if (rc != 0) {
        tally_ticket_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_ticket_free(struct tally_ticket *public)
{
    if (public == NULL)
        return;
    struct ticket_answer *answer = (struct ticket_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

static int page_of(const Tally__V1__ListTicketsResponse *from, struct list_answer *answer, struct err *err)
{
    struct tally_ticket *tickets = arena_alloc_zero(&answer->arena, from->n_tickets, sizeof(*tickets));
    int rc = tickets == NULL ? err_no_memory(err, "tickets") : 0;
    for (size_t i = 0; rc == 0 && i < from->n_tickets; i++)
        rc = ticket_of(from->tickets[i], &answer->arena, &tickets[i], err);
    answer->public = (struct tally_tickets){.count = from->n_tickets, .tickets = tickets, .next = from->next};
    return rc;
}

int tally_tickets_list(struct tally_client *client, bool open_only, const char *after, uint64_t timeout_ms,
                       struct tally_tickets **ret, struct err *err)
{
    struct list_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    ProtobufCMessage *message = NULL;
    Tally__V1__ListTicketsRequest request;
    if (answer == NULL)
        return err_no_memory(err, "tickets");
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    tally__v1__list_tickets_request__init(&request);
    request.open_only = open_only;
    request.after = client_text(after);
    int rc =
        client_call(client, "/tally.v1.Ledger/ListTickets", &request.base,
                    &tally__v1__list_tickets_response__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0)
        rc = page_of((const Tally__V1__ListTicketsResponse *)message, answer, err);
    if (rc != 0) {
        tally_tickets_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_tickets_free(struct tally_tickets *public)
{
    if (public == NULL)
        return;
    struct list_answer *answer = (struct list_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}
