/* Appending: one batch at a time, or pipelined.
 *
 * Requests are built as protobuf-c messages in an arena, so that a failure half-way has one thing to free, and packed.
 * The strings and payloads in them are the caller's and are only read.
 *
 * An answer is one allocation with the arena that everything in it lives in; `struct answer` starts with the public
 * part. */
#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "client/client_internal.h"
#include "tally/v1/ledger.pb-c.h"

struct answer {
    struct tally_answer public; /* first: tally_answer_free gets its address */
    struct arena arena;
};

struct tally_appender {
    struct channel_call *call;
    struct buf sent;
    struct buf received;
    struct arena arena; /* of the sending side */
};

/* --- Requests --- */

static ProtobufCBinaryData binary(const void *data, size_t size)
{
    union {
        const void *borrowed;
        uint8_t *unused_as_mutable;
    } cast = {.borrowed = data};
    return (ProtobufCBinaryData){.len = data == NULL ? 0 : size, .data = cast.unused_as_mutable};
}

static void event_message(const struct tally_event *event, Tally__V1__NewEvent *ret)
{
    tally__v1__new_event__init(ret);
    ret->id = binary(event->id, TALLY_ID_SIZE);
    ret->type = client_text(event->type);
    ret->content_type = client_text(event->content_type);
    ret->metadata = binary(event->metadata.data, event->metadata.size);
    ret->payload = binary(event->payload.data, event->payload.size);
    ret->causation_id = binary(event->causation_id, TALLY_ID_SIZE);
    ret->correlation_id = binary(event->correlation_id, TALLY_ID_SIZE);
}

static void expectation_message(const struct tally_write *write, Tally__V1__StreamWrite *ret)
{
    switch (write->expected) {
    case TALLY_ANY:
        ret->expected_case = TALLY__V1__STREAM_WRITE__EXPECTED_ANY;
        ret->any = true;
        break;
    case TALLY_NO_STREAM:
        ret->expected_case = TALLY__V1__STREAM_WRITE__EXPECTED_NO_STREAM;
        ret->no_stream = true;
        break;
    case TALLY_EXISTS:
        ret->expected_case = TALLY__V1__STREAM_WRITE__EXPECTED_STREAM_EXISTS;
        ret->stream_exists = true;
        break;
    case TALLY_VERSION:
        ret->expected_case = TALLY__V1__STREAM_WRITE__EXPECTED_VERSION;
        ret->version = write->expected_version;
        break;
    }
}

static bool write_message(const struct tally_write *write, struct arena *arena, Tally__V1__StreamWrite *ret)
{
    tally__v1__stream_write__init(ret);
    ret->context = client_text(write->context);
    ret->partition = client_text(write->partition);
    ret->stream = client_text(write->stream);
    expectation_message(write, ret);
    ret->n_events = write->event_count;
    ret->events = arena_alloc_zero(arena, write->event_count, sizeof(*ret->events));
    Tally__V1__NewEvent *events = arena_alloc_zero(arena, write->event_count, sizeof(*events));
    if (ret->events == NULL || events == NULL)
        return false;
    for (size_t i = 0; i < write->event_count; i++) {
        event_message(&write->events[i], &events[i]);
        ret->events[i] = &events[i];
    }
    return true;
}

static int check_counts(const struct tally_write *writes, size_t write_count, struct err *err)
{
    size_t events = 0;
    if (write_count == 0)
        return err_set(err, ERR_INVALID, "a batch without events: add at least one");
    for (size_t i = 0; i < write_count; i++) {
        if (writes[i].event_count == 0)
            return err_set(err, ERR_INVALID, "write %zu of the batch has no events", i);
        if (events > TALLY_BATCH_EVENTS_MAX || writes[i].event_count > TALLY_BATCH_EVENTS_MAX - events)
            return err_set(err, ERR_TOO_LARGE, "more than %d events in a batch: split it", TALLY_BATCH_EVENTS_MAX);
        events += writes[i].event_count;
    }
    return 0;
}

/* *ret lives in the arena. */
static int request_message(const struct tally_write *writes, size_t write_count, uint64_t tag, struct arena *arena,
                           Tally__V1__AppendRequest *ret, struct err *err)
{
    int rc = check_counts(writes, write_count, err);
    if (rc != 0)
        return rc;
    tally__v1__append_request__init(ret);
    ret->tag = tag;
    ret->n_writes = write_count;
    ret->writes = arena_alloc_zero(arena, write_count, sizeof(*ret->writes));
    Tally__V1__StreamWrite *messages = arena_alloc_zero(arena, write_count, sizeof(*messages));
    bool made = ret->writes != NULL && messages != NULL;
    for (size_t i = 0; made && i < write_count; i++) {
        made = write_message(&writes[i], arena, &messages[i]);
        ret->writes[i] = &messages[i];
    }
    return made ? 0 : err_no_memory(err, "a batch");
}

/* --- Answers --- */

static struct answer *answer_new(void)
{
    struct answer *answer = mem_alloc_zero(1, sizeof(*answer));
    if (answer != NULL)
        arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    return answer;
}

void tally_answer_free(struct tally_answer *public)
{
    if (public == NULL)
        return;
    struct answer *answer = (struct answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

static int answer_error(const Tally__V1__ErrorDetail *detail, struct answer *answer, struct err *err)
{
    struct buf bytes;
    buf_init(&bytes, CHANNEL_MESSAGE_MAX_BYTES);
    int rc = client_encode(&detail->base, &bytes, err);
    if (rc == 0) {
        int code = detail->number < 0 && detail->number >= ERR_END ? detail->number : ERR_IO;
        (void)err_set(&answer->public.err, code, "%s", detail->message);
        client_refusal(buf_bytes(&bytes), &answer->public.refusal);
    }
    buf_free(&bytes);
    return rc;
}

static int answer_fill(const Tally__V1__AppendResponse *response, struct answer *answer, struct err *err)
{
    answer->public.tag = response->tag;
    answer->public.position = response->position;
    answer->public.degraded = response->degraded;
    answer->public.copies = response->copies;
    answer->public.ticket = response->ticket;
    answer->public.overridden = response->overridden;
    if (response->error != NULL)
        return answer_error(response->error, answer, err);
    struct tally_result *results = arena_alloc_zero(&answer->arena, response->n_results, sizeof(*results));
    if (results == NULL)
        return err_no_memory(err, "an answer");
    for (size_t i = 0; i < response->n_results; i++) {
        const Tally__V1__AppendResult *from = response->results[i];
        results[i].origin = from->origin[0] != '\0' ? from->origin : response->origin;
        results[i].index = from->index;
        results[i].stream_version = from->stream_version;
        results[i].duplicate = from->duplicate;
        results[i].commutative = from->commutative;
    }
    answer->public.results = results;
    answer->public.result_count = response->n_results;
    return 0;
}

/* --- One batch --- */

static int check_result_count(const struct tally_answer *answer, const struct tally_write *writes, size_t write_count,
                              struct err *err)
{
    size_t events = 0;
    for (size_t i = 0; i < write_count; i++)
        events += writes[i].event_count;
    if (answer->result_count != (answer->ticket[0] == '\0' ? events : 0))
        return err_set(err, ERR_CORRUPT, "the server answered %zu results for %zu events", answer->result_count,
                       events);
    return 0;
}

static Tally__V1__AtWrongHome at_wrong_home(struct tally_client *client)
{
    switch ((enum tally_at_wrong_home)atomic_load(&client->at_wrong_home)) {
    case TALLY_REDIRECT:
        break;
    case TALLY_FORWARD:
        return TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_FORWARD;
    case TALLY_OVERRIDE:
        return TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_OVERRIDE;
    case TALLY_QUEUE:
        return TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_QUEUE;
    }
    return TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_REDIRECT;
}

int tally_append(struct tally_client *client, const struct tally_write *writes, size_t write_count, uint64_t timeout_ms,
                 struct tally_answer **ret, struct tally_refusal *ret_refusal, struct err *err)
{
    Tally__V1__AppendRequest request;
    Tally__V1__Override override;
    ProtobufCMessage *response = NULL;
    struct arena arena;
    arena_init(&arena, REQUEST_MEMORY_MAX_BYTES);
    struct answer *answer = answer_new();
    int rc = answer == NULL ? err_no_memory(err, "an answer") : 0;
    if (rc == 0)
        rc = request_message(writes, write_count, 0, &arena, &request, err);
    tally__v1__override__init(&override);
    override.actor = client_text(client->override_actor);
    override.reason = client_text(client->override_reason);
    if (rc == 0) {
        request.at_wrong_home = at_wrong_home(client);
        request.emergency =
            request.at_wrong_home == TALLY__V1__AT_WRONG_HOME__AT_WRONG_HOME_OVERRIDE ? &override : NULL;
    }
    if (rc == 0)
        rc = client_call(client, "/tally.v1.Ledger/Append", &request.base, &tally__v1__append_response__descriptor,
                         timeout_ms, &answer->arena, &response, ret_refusal, err);
    if (rc == 0)
        rc = answer_fill((const Tally__V1__AppendResponse *)response, answer, err);
    if (rc == 0 && answer->public.err.code == 0)
        rc = check_result_count(&answer->public, writes, write_count, err);
    if (rc == 0)
        *ret = &answer->public;
    else if (answer != NULL)
        tally_answer_free(&answer->public);
    arena_free(&arena);
    return rc;
}

/* --- Pipelined --- */

int tally_appender_open(struct tally_client *client, struct tally_appender **ret, struct err *err)
{
    struct tally_appender *appender = mem_alloc_zero(1, sizeof(*appender));
    if (appender == NULL)
        return err_no_memory(err, "an appender");
    int rc = channel_call_open(client->channel, "/tally.v1.Ledger/AppendStream", 0, &appender->call, err);
    if (rc != 0) {
        mem_free(appender);
        return rc;
    }
    buf_init(&appender->sent, CHANNEL_MESSAGE_MAX_BYTES);
    buf_init(&appender->received, CHANNEL_MESSAGE_MAX_BYTES);
    arena_init(&appender->arena, REQUEST_MEMORY_MAX_BYTES);
    *ret = appender;
    return 0;
}

int tally_appender_send(struct tally_appender *appender, const struct tally_write *writes, size_t write_count,
                        uint64_t tag, struct err *err)
{
    Tally__V1__AppendRequest request;
    arena_reset(&appender->arena);
    buf_clear(&appender->sent);
    int rc = request_message(writes, write_count, tag, &appender->arena, &request, err);
    if (rc == 0)
        rc = client_encode(&request.base, &appender->sent, err);
    return rc == 0 ? channel_call_write(appender->call, buf_bytes(&appender->sent), err) : rc;
}

int tally_appender_finish(struct tally_appender *appender, struct err *err)
{
    return channel_call_writes_done(appender->call, err);
}

int tally_appender_receive(struct tally_appender *appender, struct tally_answer **ret, struct err *err)
{
    buf_clear(&appender->received);
    int rc = channel_call_read(appender->call, &appender->received, NULL, err);
    if (rc != 0)
        return rc;
    struct answer *answer = answer_new();
    if (answer == NULL)
        return err_no_memory(err, "an answer");
    ProtobufCMessage *response = NULL;
    rc = client_decode(&tally__v1__append_response__descriptor, buf_bytes(&appender->received), &answer->arena,
                       &response, err);
    if (rc == 0)
        rc = answer_fill((const Tally__V1__AppendResponse *)response, answer, err);
    if (rc != 0) {
        tally_answer_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_appender_cancel(struct tally_appender *appender)
{
    channel_call_cancel(appender->call);
}

void tally_appender_close(struct tally_appender *appender)
{
    if (appender == NULL)
        return;
    channel_call_close(appender->call);
    arena_free(&appender->arena);
    buf_free(&appender->received);
    buf_free(&appender->sent);
    mem_free(appender);
}
