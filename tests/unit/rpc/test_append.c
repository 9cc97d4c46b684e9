#include <criterion/criterion.h>

#include "base/mem.h"
#include "support.h"

#define APPEND        "/tally.v1.Ledger/Append"
#define APPEND_STREAM "/tally.v1.Ledger/AppendStream"

/* A request with one write of one event, and what it points to. */
struct request {
    Tally__V1__AppendRequest message;
    Tally__V1__StreamWrite write;
    Tally__V1__StreamWrite *writes[1];
    Tally__V1__NewEvent event;
    Tally__V1__NewEvent *events[1];
    uint8_t id[16];
    char context[8], partition[8], stream[8], type[8];
};

static void request_init(struct request *request, uint8_t id)
{
    *request = (struct request){
        .id = {0, 1, 2, 3, 4, 5, 6, 7, 8, id}, .context = "bank", .partition = "p", .stream = "s", .type = "Opened"};
    tally__v1__append_request__init(&request->message);
    tally__v1__stream_write__init(&request->write);
    tally__v1__new_event__init(&request->event);
    request->event.id = (ProtobufCBinaryData){.len = 16, .data = request->id};
    request->event.type = request->type;
    request->event.payload = (ProtobufCBinaryData){.len = 4, .data = request->id};
    request->events[0] = &request->event;
    request->write.context = request->context;
    request->write.partition = request->partition;
    request->write.stream = request->stream;
    request->write.n_events = 1;
    request->write.events = request->events;
    request->writes[0] = &request->write;
    request->message.n_writes = 1;
    request->message.writes = request->writes;
    request->message.tag = id;
}

static void expect_refused(struct stage *stage, const struct request *request, const char *part)
{
    struct outside outside;
    struct buf answer;
    buf_init(&answer, 1024 * 1024);
    cr_expect_eq(outside_unary(&outside, stage->port, APPEND, &request->message.base, &answer),
                 GRPC_STATUS_INVALID_ARGUMENT);
    cr_expect_not_null(strstr(outside.message, part), "%s", outside.message);
    cr_assert_not_null(outside.detail);
    cr_expect_str_eq(outside.detail->message, outside.message);
    outside_close(&outside);
    buf_free(&answer);
}

Test(append, is_answered_with_place_and_position)
{
    static struct stage stage;
    struct request request;
    struct outside outside;
    struct buf answer;
    stage_init(&stage);
    stage_append(&stage, 0, "s", 3, 10);
    request_init(&request, 9);
    buf_init(&answer, 1024 * 1024);
    cr_assert_eq(outside_unary(&outside, stage.port, APPEND, &request.message.base, &answer), GRPC_STATUS_OK, "%s",
                 outside.message);
    Tally__V1__AppendResponse *response = tally__v1__append_response__unpack(NULL, answer.size_bytes, answer.data);
    cr_assert_not_null(response);
    cr_assert_eq(response->n_results, 1);
    cr_expect_eq(response->results[0]->index, 3);
    cr_expect_str_eq(response->results[0]->origin, "");
    cr_expect_str_eq(response->origin, OWN_ORIGIN);
    cr_expect_str_eq(response->position, "eu@4");
    cr_expect_eq(response->tag, 9);
    cr_expect_null(response->error);
    tally__v1__append_response__free_unpacked(response, NULL);
    outside_close(&outside);
    buf_free(&answer);
    stage_free(&stage);
}

Test(append, a_refusal_carries_its_detail)
{
    static struct stage stage;
    struct request request;
    struct outside outside;
    struct buf answer;
    stage_init(&stage);
    stage.refuse_with = ERR_VERSION_CONFLICT;
    request_init(&request, 1);
    buf_init(&answer, 1024);
    cr_expect_eq(outside_unary(&outside, stage.port, APPEND, &request.message.base, &answer), GRPC_STATUS_ABORTED);
    cr_expect_str_eq(outside.message, "refused for the test");
    cr_assert_not_null(outside.detail);
    cr_expect_str_eq(outside.detail->code, "VERSION_CONFLICT");
    cr_expect_str_eq(outside.detail->stream, "s");
    cr_expect_str_eq(outside.detail->actual, "4");
    outside_close(&outside);
    buf_free(&answer);
    stage_free(&stage);
}

Test(append, bad_requests_are_refused_before_the_region_sees_them)
{
    static struct stage stage;
    struct request request;
    static char long_name[ENTRY_NAME_MAX_BYTES + 2];
    char empty[1] = "";
    memset(long_name, 'n', sizeof(long_name) - 1);
    stage_init(&stage);

    request_init(&request, 1);
    request.event.id.len = 15;
    expect_refused(&stage, &request, "the id has 15 bytes");

    request_init(&request, 1);
    request.write.expected_case = TALLY__V1__STREAM_WRITE__EXPECTED_NO_STREAM;
    request.write.no_stream = 0;
    expect_refused(&stage, &request, "set to false");

    request_init(&request, 1);
    request.message.n_writes = 0;
    expect_refused(&stage, &request, "");

    request_init(&request, 1);
    request.write.n_events = 0;
    expect_refused(&stage, &request, "");

    request_init(&request, 1);
    request.write.context = empty;
    expect_refused(&stage, &request, "context");

    request_init(&request, 1);
    request.event.type = long_name;
    expect_refused(&stage, &request, "type");

    request_init(&request, 1);
    request.event.causation_id = (ProtobufCBinaryData){.len = 5, .data = request.id};
    expect_refused(&stage, &request, "causation");

    request_init(&request, 1);
    request.stream[0] = '\xff';
    expect_refused(&stage, &request, "UTF-8");

    cr_expect_eq(stage.submitted, 0);
    stage_free(&stage);
}

Test(append, more_events_than_the_limit_are_refused)
{
    static struct stage stage;
    static Tally__V1__NewEvent *events[REGION_REQUEST_EVENTS_MAX + 1];
    struct request request;
    stage_init(&stage);
    request_init(&request, 1);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        events[i] = &request.event;
    request.write.events = events;
    request.write.n_events = REGION_REQUEST_EVENTS_MAX + 1;
    expect_refused(&stage, &request, "10001 events");
    stage_free(&stage);
}

Test(append, a_request_over_its_byte_limit_is_refused_by_us_and_over_grpcs_by_grpc)
{
    static struct stage stage;
    struct request request;
    struct outside outside;
    struct buf answer;
    stage_init(&stage);
    request_init(&request, 1);
    uint8_t *large = mem_alloc_zero(1, RPC_MESSAGE_MAX_BYTES + 1);
    request.event.payload = (ProtobufCBinaryData){.len = REGION_REQUEST_MAX_BYTES, .data = large};
    expect_refused(&stage, &request, "split it");
    request.event.payload.len = RPC_MESSAGE_MAX_BYTES + 1;
    buf_init(&answer, 1024);
    cr_expect_eq(outside_unary(&outside, stage.port, APPEND, &request.message.base, &answer),
                 GRPC_STATUS_RESOURCE_EXHAUSTED, "%s", outside.message);
    outside_close(&outside);
    buf_free(&answer);
    mem_free(large);
    stage_free(&stage);
}

Test(append, bytes_that_are_no_message_are_refused)
{
    static struct stage stage;
    struct outside outside;
    struct buf answer;
    stage_init(&stage);
    buf_init(&answer, 1024);
    outside_open(&outside, stage.port, APPEND, 30000);
    outside_write(&outside, BYTES_LITERAL("\x0a\xff\xff\xff"));
    outside_writes_done(&outside);
    cr_expect_not(outside_read(&outside, &answer));
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_INVALID_ARGUMENT);
    outside_close(&outside);
    buf_free(&answer);
    stage_free(&stage);
}

Test(append, no_message_at_all_is_refused)
{
    static struct stage stage;
    struct outside outside;
    stage_init(&stage);
    outside_open(&outside, stage.port, APPEND, 30000);
    outside_writes_done(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_INVALID_ARGUMENT);
    outside_close(&outside);
    stage_free(&stage);
}

Test(append, is_waited_for_after_the_client_has_gone)
{
    static struct stage stage;
    struct request request;
    struct outside outside;
    struct buf answer;
    stage_init(&stage);
    stage.hold = true;
    request_init(&request, 1);
    buf_init(&answer, 1024);
    cr_expect_eq((outside_open(&outside, stage.port, APPEND, 300),
                  outside_write_message(&outside, &request.message.base), outside_writes_done(&outside),
                  outside_finish(&outside)),
                 GRPC_STATUS_DEADLINE_EXCEEDED);
    outside_close(&outside);
    stage_wait_submitted(&stage, 1);
    cr_expect_eq(memcmp(stage.held->command.writes[0].stream.data, "s", 1), 0, "the region still has it whole");
    stage_release(&stage);
    cr_expect_eq(log_durable_size(stage.logs[0]), 1);
    buf_free(&answer);
    stage_free(&stage);
}

static Tally__V1__AppendResponse *read_answer(struct outside *outside, struct buf *bytes)
{
    cr_assert(outside_read(outside, bytes));
    Tally__V1__AppendResponse *response = tally__v1__append_response__unpack(NULL, bytes->size_bytes, bytes->data);
    cr_assert_not_null(response);
    return response;
}

Test(append_stream, answers_in_order_and_goes_on_after_a_refusal)
{
    static struct stage stage;
    struct request request;
    struct outside outside;
    struct buf bytes;
    stage_init(&stage);
    buf_init(&bytes, 1024 * 1024);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    for (uint8_t i = 1; i <= 100; i++) {
        request_init(&request, i);
        if (i % 10 == 0)
            request.event.id.len = 3;
        outside_write_message(&outside, &request.message.base);
    }
    outside_writes_done(&outside);
    for (uint64_t i = 1; i <= 100; i++) {
        Tally__V1__AppendResponse *response = read_answer(&outside, &bytes);
        cr_expect_eq(response->tag, i);
        cr_expect_eq(response->error != NULL, i % 10 == 0);
        if (response->error != NULL)
            cr_expect_str_eq(response->error->code, "INVALID");
        tally__v1__append_response__free_unpacked(response, NULL);
    }
    cr_expect_not(outside_read(&outside, &bytes));
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK, "%s", outside.message);
    cr_expect_eq(log_durable_size(stage.logs[0]), 90);
    outside_close(&outside);
    buf_free(&bytes);
    stage_free(&stage);
}

Test(append_stream, a_message_that_cannot_be_decoded_is_answered_too)
{
    static struct stage stage;
    struct outside outside;
    struct buf bytes;
    stage_init(&stage);
    buf_init(&bytes, 1024 * 1024);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    outside_write(&outside, BYTES_LITERAL("\x0a\xff"));
    Tally__V1__AppendResponse *response = read_answer(&outside, &bytes);
    cr_assert_not_null(response->error);
    cr_expect_str_eq(response->error->code, "INVALID");
    tally__v1__append_response__free_unpacked(response, NULL);
    outside_writes_done(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK);
    outside_close(&outside);
    buf_free(&bytes);
    stage_free(&stage);
}

Test(append_stream, a_client_that_leaves_does_not_take_its_batch_along)
{
    static struct stage stage;
    struct request request;
    struct outside outside;
    stage_init(&stage);
    stage.hold = true;
    request_init(&request, 1);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    outside_write_message(&outside, &request.message.base);
    stage_wait_submitted(&stage, 1);
    outside_cancel(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_CANCELLED);
    outside_close(&outside);
    stage_wait_given_up(&stage, 1); /* once, however long it takes */
    stage_release(&stage);
    cr_expect_eq(log_durable_size(stage.logs[0]), 1);
    stage_free(&stage);
}

Test(append_stream, an_idle_stream_does_not_keep_the_server_from_stopping)
{
    static struct stage stage;
    struct outside outside;
    stage_init(&stage);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    struct request request;
    struct buf bytes;
    buf_init(&bytes, 1024 * 1024);
    request_init(&request, 1);
    outside_write_message(&outside, &request.message.base);
    tally__v1__append_response__free_unpacked(read_answer(&outside, &bytes), NULL);
    stage_free(&stage);
    cr_expect_neq(outside_finish(&outside), GRPC_STATUS_OK);
    outside_close(&outside);
    buf_free(&bytes);
}

/* A request whose payload makes it larger than what is prepared on the spot. */
static void make_large(struct request *request, uint8_t *payload)
{
    enum { LARGE_BYTES = 64 * 1024 };
    request->event.payload = (ProtobufCBinaryData){.len = LARGE_BYTES, .data = payload};
}

Test(append_stream, large_and_small_batches_keep_their_order)
{
    static struct stage stage;
    static uint8_t payload[64 * 1024];
    struct request request;
    struct outside outside;
    struct buf bytes;
    stage_init(&stage);
    buf_init(&bytes, 1024 * 1024);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    for (uint8_t i = 0; i < 60; i++) {
        request_init(&request, i);
        if (i % 3 == 0)
            make_large(&request, payload);
        outside_write_message(&outside, &request.message.base);
    }
    outside_writes_done(&outside);
    for (uint64_t i = 0; i < 60; i++) {
        Tally__V1__AppendResponse *response = read_answer(&outside, &bytes);
        cr_expect_eq(response->tag, i);
        cr_assert_null(response->error);
        cr_expect_eq(response->results[0]->index, i, "the region had them in that order");
        tally__v1__append_response__free_unpacked(response, NULL);
    }
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK);
    outside_close(&outside);
    buf_free(&bytes);
    stage_free(&stage);
}

static void append_in_stream(struct outside *outside, uint64_t from, uint64_t to, struct buf *bytes)
{
    struct request request;
    for (uint64_t i = from; i < to; i++) {
        request_init(&request, (uint8_t)i);
        outside_write_message(outside, &request.message.base);
    }
    for (uint64_t i = from; i < to; i++) {
        Tally__V1__AppendResponse *response = read_answer(outside, bytes);
        cr_expect_eq(response->tag, i);
        tally__v1__append_response__free_unpacked(response, NULL);
    }
}

Test(append_stream, a_client_may_wait_for_answers_and_send_ahead_by_turns)
{
    static struct stage stage;
    struct outside outside;
    struct buf bytes;
    stage_init(&stage);
    buf_init(&bytes, 1024 * 1024);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    for (uint64_t turn = 0; turn < 3; turn++) {
        for (uint64_t i = 0; i < 50; i++)
            append_in_stream(&outside, turn * 80 + i, turn * 80 + i + 1, &bytes);
        append_in_stream(&outside, turn * 80 + 50, turn * 80 + 80, &bytes);
    }
    outside_writes_done(&outside);
    cr_expect_not(outside_read(&outside, &bytes));
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK);
    cr_expect_eq(log_durable_size(stage.logs[0]), 240);
    outside_close(&outside);
    buf_free(&bytes);
    stage_free(&stage);
}

Test(append_stream, an_empty_message_is_answered)
{
    static struct stage stage;
    struct outside outside;
    struct buf bytes;
    stage_init(&stage);
    buf_init(&bytes, 1024 * 1024);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    outside_write(&outside, bytes_of(NULL, 0));
    outside_write(&outside, BYTES_LITERAL("\x10\x07")); /* the tag alone */
    for (uint64_t tag = 0; tag <= 7; tag += 7) {
        Tally__V1__AppendResponse *response = read_answer(&outside, &bytes);
        cr_assert_not_null(response->error);
        cr_expect_not_null(strstr(response->error->message, "the request is empty"), "%s", response->error->message);
        cr_expect_eq(response->tag, tag);
        tally__v1__append_response__free_unpacked(response, NULL);
    }
    outside_writes_done(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK);
    outside_close(&outside);
    buf_free(&bytes);
    stage_free(&stage);
}

Test(append_stream, a_large_batch_of_a_client_that_leaves_is_waited_for)
{
    static struct stage stage;
    static uint8_t payload[64 * 1024];
    struct request request;
    struct outside outside;
    stage_init(&stage);
    stage.hold = true;
    request_init(&request, 1);
    make_large(&request, payload);
    outside_open(&outside, stage.port, APPEND_STREAM, 30000);
    outside_write_message(&outside, &request.message.base);
    stage_wait_submitted(&stage, 1);
    outside_cancel(&outside);
    outside_finish(&outside);
    outside_close(&outside);
    stage_wait_given_up(&stage, 1);
    stage_release(&stage);
    cr_expect_eq(log_durable_size(stage.logs[0]), 1);
    stage_free(&stage);
}

Test(append, calls_over_the_limit_are_refused_and_others_go_on)
{
    static struct stage stage;
    static struct outside open[RPC_CALLS_MAX];
    struct request request;
    struct outside outside;
    struct buf bytes;
    stage_init(&stage);
    buf_init(&bytes, 1024 * 1024);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        outside_open(&open[i], stage.port, APPEND_STREAM, 0);
        append_in_stream(&open[i], 1, 2, &bytes);
    }
    request_init(&request, 1);
    for (size_t i = 0; i < 200; i++) { /* more than may be refused at once */
        cr_assert_eq(outside_unary(&outside, stage.port, APPEND, &request.message.base, &bytes),
                     GRPC_STATUS_RESOURCE_EXHAUSTED);
        cr_expect_not_null(strstr(outside.message, "its limit"), "%s", outside.message);
        outside_close(&outside);
    }
    append_in_stream(&open[0], 2, 4, &bytes);
    outside_cancel(&open[0]);
    outside_finish(&open[0]);
    while (outside_unary(&outside, stage.port, APPEND, &request.message.base, &bytes) != GRPC_STATUS_OK)
        outside_close(&outside);
    outside_close(&outside);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        outside_cancel(&open[i]);
        outside_close(&open[i]);
    }
    buf_free(&bytes);
    stage_free(&stage);
}

struct release {
    struct stage *stage;
    bool released;
};

static void *release_when_given_up(void *context)
{
    struct release *release = context;
    stage_wait_given_up(release->stage, 1);
    release->released = true;
    stage_release(release->stage);
    return NULL;
}

Test(append, when_the_server_stops_the_region_is_told_that_nobody_waits)
{
    static struct stage stage;
    struct request request;
    struct outside outside;
    struct buf answer;
    pthread_t releaser;
    struct release release = {.stage = &stage};
    stage_init(&stage);
    stage.hold = true;
    request_init(&request, 1);
    buf_init(&answer, 1024);
    outside_open(&outside, stage.port, APPEND, 0);
    outside_write_message(&outside, &request.message.base);
    outside_writes_done(&outside);
    stage_wait_submitted(&stage, 1);
    cr_assert_eq(pthread_create(&releaser, NULL, release_when_given_up, &release), 0);
    stage_free(&stage); /* waits for the batch, which the region lets go of when it is told */
    pthread_join(releaser, NULL);
    cr_expect(release.released);
    (void)outside_read(&outside, &answer);
    (void)outside_finish(&outside);
    outside_close(&outside);
    buf_free(&answer);
}
