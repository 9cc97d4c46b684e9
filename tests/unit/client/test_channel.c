#include <criterion/criterion.h>
#include <grpc/status.h>
#include <pthread.h>

#include "client/channel.h"
#include "fake_server.h"
#include "platform/clock.h"
#include "tally/v1/ledger.pb-c.h"

#define METHOD "/test/Method"

static struct buf buffer(void)
{
    struct buf buf;
    buf_init(&buf, CHANNEL_MESSAGE_MAX_BYTES);
    return buf;
}

static struct channel *open_channel(const char *address)
{
    struct channel *channel = NULL;
    struct err err = {0};
    cr_assert_eq(channel_open(address, NULL, &channel, &err), 0, "%s", err.message);
    return channel;
}

/* --- Addresses --- */

Test(channel, malformed_addresses_are_refused)
{
    const char *bad[] = {"",           "host",    "host:",          ":7401",         "host:0",      "host:65536",
                         "host:07401", "a b:1",   "unix:/tmp/x",    "dns:///host:1", "host:1/path", "::1:7401",
                         "[::1]",      "[::1]:",  "[]:1",           "[g]:1",         "host:+1",     "[::1:80",
                         "h%41:1",     "host:1 ", "ipv4:1.2.3.4:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct channel *channel = NULL;
        struct err err = {0};
        cr_expect_eq(channel_open(bad[i], NULL, &channel, &err), ERR_INVALID, "%s", bad[i]);
        cr_expect_null(channel);
    }
}

Test(channel, an_address_may_be_as_long_as_the_limit_and_no_longer)
{
    char address[CHANNEL_ADDRESS_MAX_BYTES + 2] = {0};
    struct channel *channel = NULL;
    memset(address, 'a', CHANNEL_ADDRESS_MAX_BYTES);
    memcpy(address + CHANNEL_ADDRESS_MAX_BYTES - 3, ":80", 3);
    cr_assert_eq(channel_open(address, NULL, &channel, NULL), 0);
    channel_close(channel);
    address[CHANNEL_ADDRESS_MAX_BYTES] = '0';
    cr_expect_eq(channel_open(address, NULL, &channel, NULL), ERR_INVALID);
}

Test(channel, an_unreachable_server_is_unavailable_at_once_and_named)
{
    struct channel *channel = open_channel("127.0.0.1:1");
    struct buf out = buffer();
    struct err err = {0};
    uint64_t begun_us = clock_now().mono_us;
    cr_expect_eq(channel_unary(channel, METHOD, BYTES_LITERAL("x"), 30000, &out, NULL, &err), ERR_UNAVAILABLE);
    cr_expect_lt(clock_now().mono_us - begun_us, 10 * 1000 * 1000);
    cr_expect_not_null(strstr(err.message, "127.0.0.1:1"), "%s", err.message);
    cr_expect_eq(out.size_bytes, 0);
    channel_close(channel);
}

/* --- One request, one response --- */

static void echo_handler(struct fake_call *call, void *context)
{
    (void)context;
    struct buf message = buffer();
    while (fake_read(call, &message)) {
        (void)fake_send(call, buf_bytes(&message));
        buf_clear(&message);
    }
    buf_free(&message);
}

Test(channel, unary_appends_the_response)
{
    const char *address = NULL;
    struct fake_server *server = fake_server_start(echo_handler, NULL, &address);
    struct channel *channel = open_channel(address);
    struct buf out = buffer();
    struct err err = {0};
    cr_assert_eq(buf_append_string(&out, "before "), 0);
    cr_assert_eq(channel_unary(channel, METHOD, BYTES_LITERAL("hello"), 5000, &out, NULL, &err), 0, "%s", err.message);
    cr_expect(bytes_equal(buf_bytes(&out), BYTES_LITERAL("before hello")));
    buf_free(&out);
    channel_close(channel);
    fake_server_stop(server);
}

Test(channel, a_message_over_the_limit_is_not_sent)
{
    const char *address = NULL;
    struct fake_server *server = fake_server_start(echo_handler, NULL, &address);
    struct channel *channel = open_channel(address);
    struct buf message = buffer();
    struct buf out = buffer();
    struct err err = {0};
    cr_assert_eq(buf_reserve(&message, 3 * 1024 * 1024), 0);
    message.size_bytes = 3 * 1024 * 1024;
    memset(message.data, 'z', message.size_bytes);
    cr_assert_eq(channel_unary(channel, METHOD, buf_bytes(&message), 10000, &out, NULL, &err), 0, "%s", err.message);
    cr_expect(bytes_equal(buf_bytes(&out), buf_bytes(&message)));
    struct bytes too_large = bytes_of(message.data, CHANNEL_MESSAGE_MAX_BYTES + 1);
    cr_expect_eq(channel_unary(channel, METHOD, too_large, 10000, &out, NULL, &err), ERR_TOO_LARGE);
    buf_free(&message);
    buf_free(&out);
    channel_close(channel);
    fake_server_stop(server);
}

Test(channel, a_response_that_does_not_fit_leaves_the_buffer_as_it_was)
{
    const char *address = NULL;
    struct fake_server *server = fake_server_start(echo_handler, NULL, &address);
    struct channel *channel = open_channel(address);
    struct buf out;
    buf_init(&out, 4);
    cr_assert_eq(buf_append_string(&out, "ab"), 0);
    cr_expect_eq(channel_unary(channel, METHOD, BYTES_LITERAL("hello"), 5000, &out, NULL, NULL), ERR_TOO_LARGE);
    cr_expect(bytes_equal(buf_bytes(&out), BYTES_LITERAL("ab")));
    buf_free(&out);
    channel_close(channel);
    fake_server_stop(server);
}

static void silent_handler(struct fake_call *call, void *context)
{
    (void)context;
    fake_wait_cancelled(call);
}

Test(channel, no_answer_in_time_is_a_timeout)
{
    const char *address = NULL;
    struct fake_server *server = fake_server_start(silent_handler, NULL, &address);
    struct channel *channel = open_channel(address);
    struct buf out = buffer();
    struct err err = {0};
    cr_expect_eq(channel_unary(channel, METHOD, BYTES_LITERAL("x"), 50, &out, NULL, &err), ERR_TIMEOUT);
    cr_expect_not_null(strstr(err.message, address));
    channel_close(channel);
    fake_server_stop(server);
}

/* --- Errors --- */

struct ending {
    int status;
    const char *message;
    struct bytes detail;
};

static void ending_handler(struct fake_call *call, void *context)
{
    const struct ending *ending = context;
    fake_end(call, ending->status, ending->message, ending->detail);
}

static int unary_ending(struct ending ending, struct buf *detail, struct err *err)
{
    const char *address = NULL;
    struct fake_server *server = fake_server_start(ending_handler, &ending, &address);
    struct channel *channel = open_channel(address);
    struct buf out = buffer();
    int rc = channel_unary(channel, METHOD, BYTES_LITERAL("x"), 5000, &out, detail, err);
    cr_expect_eq(out.size_bytes, 0);
    channel_close(channel);
    fake_server_stop(server);
    return rc;
}

static struct bytes pack_detail(int number, uint8_t out[256])
{
    char message[] = "the stream is at 4";
    Tally__V1__ErrorDetail detail;
    tally__v1__error_detail__init(&detail);
    detail.number = number;
    detail.message = message;
    return bytes_of(out, tally__v1__error_detail__pack(&detail, out));
}

Test(channel, the_detail_decides_code_and_message)
{
    uint8_t storage[256];
    struct bytes packed = pack_detail(ERR_WRONG_HOME, storage);
    struct buf detail = buffer();
    struct err err = {0};
    cr_expect_eq(unary_ending((struct ending){GRPC_STATUS_INTERNAL, "other", packed}, &detail, &err), ERR_WRONG_HOME);
    cr_expect_str_eq(err.message, "the stream is at 4");
    cr_expect(bytes_equal(buf_bytes(&detail), packed));
    buf_free(&detail);
}

Test(channel, an_unknown_number_in_the_detail_falls_back_to_the_status)
{
    const int numbers[] = {0, 1, ERR_END - 1, INT32_MIN};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint8_t storage[256];
        struct bytes packed = pack_detail(numbers[i], storage);
        struct buf detail = buffer();
        struct err err = {0};
        cr_expect_eq(unary_ending((struct ending){GRPC_STATUS_NOT_FOUND, "gone", packed}, &detail, &err), ERR_NOT_FOUND,
                     "%d", numbers[i]);
        cr_expect_not_null(strstr(err.message, "gone"));
        cr_expect_eq(detail.size_bytes, 0);
    }
}

Test(channel, a_detail_that_is_no_protobuf_falls_back_to_the_status)
{
    struct err err = {0};
    cr_expect_eq(
        unary_ending((struct ending){GRPC_STATUS_ABORTED, "conflict", BYTES_LITERAL("\xff\xff\xff")}, NULL, &err),
        ERR_VERSION_CONFLICT);
    cr_expect_not_null(strstr(err.message, "conflict"));
}

Test(channel, statuses_without_detail_are_mapped)
{
    const struct {
        int status;
        int code;
    } cases[] = {
        {GRPC_STATUS_INVALID_ARGUMENT, ERR_INVALID},   {GRPC_STATUS_RESOURCE_EXHAUSTED, ERR_BUSY},
        {GRPC_STATUS_UNAVAILABLE, ERR_UNAVAILABLE},    {GRPC_STATUS_UNIMPLEMENTED, ERR_UNSUPPORTED},
        {GRPC_STATUS_DATA_LOSS, ERR_CORRUPT},          {GRPC_STATUS_PERMISSION_DENIED, ERR_PERMISSION},
        {GRPC_STATUS_UNAUTHENTICATED, ERR_PERMISSION}, {GRPC_STATUS_UNKNOWN, ERR_IO},
        {GRPC_STATUS_CANCELLED, ERR_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(unary_ending((struct ending){cases[i].status, "why", bytes_of(NULL, 0)}, NULL, NULL),
                     cases[i].code, "status %d", cases[i].status);
}

Test(channel, an_ok_without_a_message_is_corrupt)
{
    cr_expect_eq(unary_ending((struct ending){GRPC_STATUS_OK, "", bytes_of(NULL, 0)}, NULL, NULL), ERR_CORRUPT);
}

/* --- Streaming --- */

struct stream {
    struct fake_server *server;
    struct channel *channel;
    struct channel_call *call;
};

static struct stream open_stream(fake_handler *handler, void *context)
{
    struct stream stream = {0};
    const char *address = NULL;
    stream.server = fake_server_start(handler, context, &address);
    stream.channel = open_channel(address);
    cr_assert_eq(channel_call_open(stream.channel, METHOD, 0, &stream.call, NULL), 0);
    return stream;
}

static void close_stream(struct stream *stream)
{
    channel_call_close(stream->call);
    channel_close(stream->channel);
    fake_server_stop(stream->server);
}

Test(channel, messages_come_back_in_order_and_then_the_end_again_and_again)
{
    struct stream stream = open_stream(echo_handler, NULL);
    struct buf in = buffer();
    for (uint8_t i = 0; i < 20; i++)
        cr_assert_eq(channel_call_write(stream.call, bytes_of(&i, 1), NULL), 0);
    cr_assert_eq(channel_call_writes_done(stream.call, NULL), 0);
    for (uint8_t i = 0; i < 20; i++)
        cr_assert_eq(channel_call_read(stream.call, &in, NULL, NULL), 0);
    cr_expect_eq(channel_call_read(stream.call, &in, NULL, NULL), ERR_END);
    cr_expect_eq(channel_call_read(stream.call, &in, NULL, NULL), ERR_END);
    cr_assert_eq(in.size_bytes, 20);
    for (uint8_t i = 0; i < 20; i++)
        cr_expect_eq(in.data[i], i);
    buf_free(&in);
    close_stream(&stream);
}

static void *write_many(void *context)
{
    struct channel_call *call = context;
    uint8_t block[4096] = {7};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 500; i++)
        rc = channel_call_write(call, bytes_of(block, sizeof(block)), NULL);
    if (rc == 0)
        rc = channel_call_writes_done(call, NULL);
    return rc == 0 ? call : NULL;
}

Test(channel, one_thread_reads_while_another_writes)
{
    struct stream stream = open_stream(echo_handler, NULL);
    struct buf in = buffer();
    pthread_t writer;
    cr_assert_eq(pthread_create(&writer, NULL, write_many, stream.call), 0);
    int rc = 0;
    while (rc == 0)
        rc = channel_call_read(stream.call, &in, NULL, NULL);
    void *written = NULL;
    cr_assert_eq(pthread_join(writer, &written), 0);
    cr_expect_not_null(written);
    cr_expect_eq(rc, ERR_END);
    cr_expect_eq(in.size_bytes, 500 * 4096);
    buf_free(&in);
    close_stream(&stream);
}

static void *cancel_soon(void *context)
{
    clock_sleep_ms(30);
    channel_call_cancel(context);
    channel_call_cancel(context);
    return NULL;
}

Test(channel, cancel_wakes_a_waiting_reader_and_fails_all_that_follows)
{
    struct stream stream = open_stream(silent_handler, NULL);
    struct buf in = buffer();
    pthread_t canceller;
    cr_assert_eq(pthread_create(&canceller, NULL, cancel_soon, stream.call), 0);
    cr_expect_eq(channel_call_read(stream.call, &in, NULL, NULL), ERR_CANCELLED);
    cr_expect_eq(channel_call_read(stream.call, &in, NULL, NULL), ERR_CANCELLED);
    cr_expect_eq(channel_call_write(stream.call, BYTES_LITERAL("x"), NULL), ERR_CANCELLED);
    cr_assert_eq(pthread_join(canceller, NULL), 0);
    close_stream(&stream);
}

Test(channel, cancel_wakes_a_writer_that_waits_for_flow_control)
{
    struct stream stream = open_stream(silent_handler, NULL);
    static uint8_t block[1024 * 1024];
    pthread_t canceller;
    cr_assert_eq(pthread_create(&canceller, NULL, cancel_soon, stream.call), 0);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 1000; i++)
        rc = channel_call_write(stream.call, bytes_of(block, sizeof(block)), NULL);
    cr_expect_eq(rc, ERR_CANCELLED);
    cr_assert_eq(pthread_join(canceller, NULL), 0);
    close_stream(&stream);
}

Test(channel, a_stream_ends_with_the_servers_error_and_writes_are_refused_then)
{
    uint8_t storage[256];
    struct ending ending = {GRPC_STATUS_ABORTED, "x", pack_detail(ERR_FORK, storage)};
    struct stream stream = open_stream(ending_handler, &ending);
    struct buf in = buffer();
    struct err err = {0};
    cr_expect_eq(channel_call_read(stream.call, &in, NULL, &err), ERR_FORK);
    cr_expect_str_eq(err.message, "the stream is at 4");
    cr_expect_eq(channel_call_write(stream.call, BYTES_LITERAL("x"), NULL), ERR_UNAVAILABLE);
    close_stream(&stream);
}

static void pausing_handler(struct fake_call *call, void *context)
{
    (void)context;
    (void)fake_send(call, BYTES_LITERAL("one"));
    fake_wait_cancelled(call);
}

Test(channel, a_server_that_falls_silent_ends_the_call_when_the_read_has_waited_enough)
{
    const char *address = NULL;
    struct fake_server *server = fake_server_start(pausing_handler, NULL, &address);
    struct channel *channel = open_channel(address);
    struct channel_call *call = NULL;
    struct buf in = buffer();
    struct err err = {0};
    cr_assert_eq(channel_call_open(channel, METHOD, 1000, &call, NULL), 0);
    int rc = 0;
    int messages = 0;
    while ((rc = channel_call_read(call, &in, NULL, &err)) == 0)
        messages++;
    cr_expect_leq(messages, 1);
    cr_expect_eq(rc, ERR_TIMEOUT, "%s", err.message);
    cr_expect_not_null(strstr(err.message, address), "%s", err.message);
    cr_expect_eq(channel_call_read(call, &in, NULL, NULL), ERR_TIMEOUT);
    buf_free(&in);
    channel_call_close(call);
    channel_close(channel);
    fake_server_stop(server);
}

Test(channel, a_call_may_be_closed_while_the_server_is_still_at_it)
{
    struct stream stream = open_stream(silent_handler, NULL);
    cr_expect_eq(channel_call_write(stream.call, BYTES_LITERAL("x"), NULL), 0);
    close_stream(&stream);
}

Test(channel, an_unreachable_server_fails_a_stream_too)
{
    struct channel *channel = open_channel("127.0.0.1:1");
    struct channel_call *call = NULL;
    struct buf in = buffer();
    cr_assert_eq(channel_call_open(channel, METHOD, 0, &call, NULL), 0);
    cr_expect_eq(channel_call_read(call, &in, NULL, NULL), ERR_UNAVAILABLE);
    channel_call_close(call);
    channel_close(channel);
}

/* --- Many calls, one thread --- */

struct shared {
    struct fake_server *server;
    struct channel *channel;
    struct channel_queue *queue;
    struct buf in;
};

static struct shared open_shared(fake_handler *handler, void *context)
{
    struct shared shared = {.in = buffer()};
    const char *address = NULL;
    shared.server = fake_server_start(handler, context, &address);
    shared.channel = open_channel(address);
    cr_assert_eq(channel_queue_new(&shared.queue, NULL), 0);
    return shared;
}

static void close_shared(struct shared *shared)
{
    channel_queue_free(shared->queue);
    channel_close(shared->channel);
    fake_server_stop(shared->server);
    buf_free(&shared->in);
}

static struct channel_event next_event(struct shared *shared)
{
    struct channel_event event;
    cr_assert(channel_queue_next(shared->queue, UINT64_MAX, &event));
    return event;
}

static struct channel_call *open_on(struct shared *shared, void *context)
{
    struct channel_call *call = NULL;
    cr_assert_eq(channel_queue_open(shared->queue, shared->channel, METHOD, context, &call, NULL), 0);
    return call;
}

Test(channel_queue, unary_calls_are_told_apart_by_their_context)
{
    struct shared shared = open_shared(echo_handler, NULL);
    int contexts[3];
    bool seen[3] = {false};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(channel_queue_unary(shared.queue, shared.channel, METHOD, BYTES_LITERAL("hello"), 30000,
                                         &contexts[i], NULL),
                     0);
    for (size_t i = 0; i < 3; i++) {
        struct channel_event event = next_event(&shared);
        cr_expect_eq(event.happened, CHANNEL_READ);
        seen[(int *)event.context - contexts] = true;
        buf_clear(&shared.in);
        cr_expect_eq(channel_queue_take(event.call, &shared.in, NULL, NULL), 0);
        cr_expect_gt(shared.in.size_bytes, 0);
    }
    cr_expect(seen[0] && seen[1] && seen[2]);
    close_shared(&shared);
}

Test(channel_queue, a_stream_asks_again_and_again)
{
    struct shared shared = open_shared(echo_handler, NULL);
    struct channel_call *call = open_on(&shared, &shared);
    for (uint8_t i = 0; i < 20; i++) {
        cr_assert_eq(channel_queue_ask(call, bytes_of(&i, 1), NULL), 0);
        struct channel_event event = next_event(&shared);
        cr_assert_eq(event.happened, CHANNEL_READ);
        cr_assert_eq(event.call, call);
        cr_assert_eq(event.context, &shared);
        buf_clear(&shared.in);
        cr_assert_eq(channel_queue_take(call, &shared.in, NULL, NULL), 0);
        cr_expect_eq(shared.in.data[0], i);
    }
    close_shared(&shared);
}

Test(channel_queue, writes_and_reads_are_announced_apart)
{
    struct shared shared = open_shared(echo_handler, NULL);
    struct channel_call *call = open_on(&shared, NULL);
    size_t read = 0;
    size_t written = 0;
    channel_queue_read(call);
    cr_assert_eq(channel_queue_write(call, BYTES_LITERAL("x"), NULL), 0);
    while (read < 10) {
        struct channel_event event = next_event(&shared);
        if (event.happened == CHANNEL_WRITTEN && ++written < 10)
            cr_assert_eq(channel_queue_write(call, BYTES_LITERAL("x"), NULL), 0);
        if (event.happened != CHANNEL_READ)
            continue;
        cr_assert_eq(channel_queue_take(call, &shared.in, NULL, NULL), 0);
        if (++read < 10)
            channel_queue_read(call);
    }
    cr_expect_eq(shared.in.size_bytes, 10);
    close_shared(&shared);
}

Test(channel_queue, a_message_over_the_limit_is_not_sent)
{
    struct shared shared = open_shared(silent_handler, NULL);
    struct channel_call *call = open_on(&shared, NULL);
    uint8_t one = 1;
    struct bytes large = bytes_of(&one, CHANNEL_MESSAGE_MAX_BYTES + 1); /* refused by its size, not looked at */
    cr_expect_eq(channel_queue_write(call, large, NULL), ERR_TOO_LARGE);
    cr_expect_eq(channel_queue_ask(call, large, NULL), ERR_TOO_LARGE);
    cr_expect_eq(channel_queue_unary(shared.queue, shared.channel, METHOD, large, 30000, NULL, NULL), ERR_TOO_LARGE);
    close_shared(&shared);
}

Test(channel_queue, a_read_says_why_the_call_has_ended)
{
    uint8_t storage[256];
    struct ending ending = {GRPC_STATUS_ABORTED, "x", pack_detail(ERR_FORK, storage)};
    struct shared shared = open_shared(ending_handler, &ending);
    struct channel_call *call = open_on(&shared, NULL);
    struct err err = {0};
    channel_queue_read(call);
    cr_assert_eq(next_event(&shared).happened, CHANNEL_READ);
    cr_expect_eq(channel_queue_take(call, &shared.in, NULL, &err), ERR_FORK);
    cr_expect_str_eq(err.message, "the stream is at 4");
    cr_assert_eq(channel_queue_unary(shared.queue, shared.channel, METHOD, BYTES_LITERAL("x"), 30000, NULL, NULL), 0);
    cr_expect_eq(channel_queue_take(next_event(&shared).call, &shared.in, NULL, NULL), ERR_FORK);
    close_shared(&shared);
}

Test(channel_queue, next_does_not_wait_longer_than_asked)
{
    struct shared shared = open_shared(silent_handler, NULL);
    struct channel_event event;
    channel_queue_read(open_on(&shared, NULL));
    cr_expect_not(channel_queue_next(shared.queue, clock_now().mono_us + 20000, &event));
    close_shared(&shared);
}

Test(channel_queue, may_be_freed_while_calls_are_under_way)
{
    struct shared shared = open_shared(silent_handler, NULL);
    struct channel_call *call = open_on(&shared, NULL);
    channel_queue_read(call);
    cr_assert_eq(channel_queue_write(call, BYTES_LITERAL("x"), NULL), 0);
    cr_assert_eq(channel_queue_ask(open_on(&shared, NULL), BYTES_LITERAL("x"), NULL), 0);
    cr_assert_eq(channel_queue_unary(shared.queue, shared.channel, METHOD, BYTES_LITERAL("x"), 0, NULL, NULL), 0);
    close_shared(&shared);
}
