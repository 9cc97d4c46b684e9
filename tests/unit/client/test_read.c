#include <criterion/criterion.h>
#include <grpc/status.h>

#include "base/mem.h"
#include "client/read.h"
#include "entry/entry.h"
#include "entry/frame.h"
#include "fake_server.h"

enum { MESSAGE_MAX_BYTES = 1024 * 1024 };

/* Appends an event as field 1. */
static void put_event(struct buf *out, uint64_t index, const char *payload)
{
    struct buf encoded;
    buf_init(&encoded, ENTRY_MAX_BYTES);
    struct entry entry = {
        .index = index,
        .time = (1700000000000ULL << 16) | 5,
        .event_id = {7},
        .context = BYTES_LITERAL("bank"),
        .partition = BYTES_LITERAL("eu"),
        .stream = BYTES_LITERAL("a"),
        .stream_version = index,
        .type = BYTES_LITERAL("Deposited"),
        .epoch = 1,
        .payload_size_bytes = payload == NULL ? 9 : strlen(payload),
    };
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    struct frame frame = {.entry = buf_bytes(&encoded), .has_payload = payload != NULL, .salt = {3}};
    if (payload != NULL)
        frame.payload = bytes_of_string(payload);
    cr_assert_eq(frame_encode_element(&frame, out), 0);
    buf_free(&encoded);
}

static void put_text(struct buf *out, uint8_t field, const char *text)
{
    cr_assert_lt(strlen(text), 128);
    cr_assert_eq(buf_append_byte(out, (uint8_t)(field << 3 | 2)), 0);
    cr_assert_eq(buf_append_byte(out, (uint8_t)strlen(text)), 0);
    cr_assert_eq(buf_append_string(out, text), 0);
}

static void put_caught_up(struct buf *out)
{
    cr_assert_eq(buf_append(out, BYTES_LITERAL("\x20\x01")), 0);
}

static struct buf buffer(void)
{
    struct buf buf;
    buf_init(&buf, MESSAGE_MAX_BYTES);
    return buf;
}

/* --- One message --- */

Test(read, a_message_gives_its_events_wherever_the_other_fields_stand)
{
    struct buf message = buffer();
    put_event(&message, 4, "one");
    put_text(&message, 2, "bank/eu/1");
    put_event(&message, 5, NULL);
    put_text(&message, 3, "eu@6");
    struct read_batch batch;
    struct tally_recorded event;
    cr_assert_eq(read_batch_parse(buf_bytes(&message), &batch, NULL), 0);
    cr_expect(bytes_equal(batch.origin, BYTES_LITERAL("bank/eu/1")));
    cr_expect(bytes_equal(batch.position, BYTES_LITERAL("eu@6")));
    cr_expect(!batch.caught_up);
    cr_assert_eq(read_batch_next(&batch, &event, NULL), 0);
    cr_expect_eq(event.index, 4);
    cr_expect_eq(event.time_unix_ms, 1700000000000ULL);
    cr_expect_eq(event.time_counter, 5);
    cr_expect_eq(event.event_id[0], 7);
    cr_expect(event.payload_held);
    cr_expect(bytes_equal(bytes_of(event.payload.data, event.payload.size), BYTES_LITERAL("one")));
    cr_assert_eq(read_batch_next(&batch, &event, NULL), 0);
    cr_expect_eq(event.index, 5);
    cr_expect(!event.payload_held);
    cr_expect_eq(event.payload_size, 9);
    cr_expect_eq(read_batch_next(&batch, &event, NULL), ERR_END);
    buf_free(&message);
}

Test(read, unknown_fields_are_skipped)
{
    struct buf message = buffer();
    put_text(&message, 9, "later");
    cr_assert_eq(buf_append(&message, BYTES_LITERAL("\x50\x07")), 0);
    put_event(&message, 4, "one");
    struct read_batch batch;
    struct tally_recorded event;
    cr_assert_eq(read_batch_parse(buf_bytes(&message), &batch, NULL), 0);
    cr_expect_eq(read_batch_next(&batch, &event, NULL), 0);
    buf_free(&message);
}

Test(read, a_message_cut_off_anywhere_inside_a_field_is_corrupt)
{
    struct buf message = buffer();
    put_event(&message, 4, "one");
    size_t event_size = message.size_bytes;
    put_text(&message, 3, "eu@6");
    for (size_t size = 1; size < message.size_bytes; size++) {
        struct read_batch batch;
        int rc = read_batch_parse(bytes_of(message.data, size), &batch, NULL);
        cr_expect_eq(rc, size == event_size ? 0 : ERR_CORRUPT, "%zu bytes", size);
    }
    buf_free(&message);
}

Test(read, fields_of_the_wrong_type_or_size_are_corrupt)
{
    static char long_origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct read_batch batch;
    cr_expect_eq(read_batch_parse(BYTES_LITERAL("\x10\x01"), &batch, NULL), ERR_CORRUPT);
    cr_expect_eq(read_batch_parse(BYTES_LITERAL("\x12\x02\xff\xff"), &batch, NULL), ERR_CORRUPT);
    cr_expect_eq(read_batch_parse(BYTES_LITERAL("\x0b"), &batch, NULL), ERR_CORRUPT);
    struct buf message = buffer();
    memset(long_origin, 'a', sizeof(long_origin));
    cr_assert_eq(buf_append(&message, BYTES_LITERAL("\x12\x80\x02")), 0);
    cr_assert_eq(buf_append(&message, bytes_of(long_origin, sizeof(long_origin))), 0);
    cr_expect_eq(read_batch_parse(buf_bytes(&message), &batch, NULL), ERR_CORRUPT);
    buf_free(&message);
}

Test(read, an_event_that_breaks_the_rules_is_corrupt)
{
    struct buf message = buffer();
    put_event(&message, 4, "one");
    struct read_batch batch;
    struct tally_recorded event;
    message.data[1] ^= 1; /* the size of the element */
    int rc = read_batch_parse(buf_bytes(&message), &batch, NULL);
    cr_expect_eq(rc == 0 ? read_batch_next(&batch, &event, NULL) : rc, ERR_CORRUPT);
    message.data[1] ^= 1;
    message.data[3] ^= 0x08; /* the first tag in the frame */
    cr_assert_eq(read_batch_parse(buf_bytes(&message), &batch, NULL), 0);
    cr_expect_eq(read_batch_next(&batch, &event, NULL), ERR_CORRUPT);
    buf_free(&message);
}

/* --- Readers --- */

struct script {
    size_t count;
    struct buf messages[4];
    int end_with;
};

static void play(struct fake_call *call, void *context)
{
    const struct script *script = context;
    struct buf request = buffer();
    (void)fake_read(call, &request);
    for (size_t i = 0; i < script->count; i++)
        (void)fake_send(call, buf_bytes(&script->messages[i]));
    fake_end(call, script->end_with, "as told", bytes_of(NULL, 0));
    buf_free(&request);
}

static void free_script(struct script *script)
{
    for (size_t i = 0; i < script->count; i++)
        buf_free(&script->messages[i]);
}

Test(read, a_subscription_gives_events_then_caught_up_and_a_position_that_never_runs_ahead)
{
    struct script script = {
        .count = 3, .messages = {buffer(), buffer(), buffer()}, .end_with = GRPC_STATUS_UNAVAILABLE};
    put_text(&script.messages[0], 2, "bank/eu/1");
    put_event(&script.messages[0], 0, "a");
    put_event(&script.messages[0], 1, "b");
    put_text(&script.messages[0], 3, "eu@2");
    put_caught_up(&script.messages[1]);
    put_text(&script.messages[2], 2, "bank/us/1");
    put_event(&script.messages[2], 0, "c");
    put_text(&script.messages[2], 3, "eu@2,us@1");
    const char *address = NULL;
    struct fake_server *server = fake_server_start(play, &script, &address);
    struct tally_client *client = NULL;
    struct tally_reader *reader = NULL;
    struct tally_recorded event;
    enum tally_item item;
    cr_assert_eq(tally_client_open(address, &client, NULL), 0);
    cr_assert_eq(tally_subscribe(client, NULL, NULL, NULL, &reader, NULL), 0);
    cr_expect_str_eq(tally_reader_position(reader), "");
    cr_assert_eq(tally_reader_next(reader, &item, &event, NULL), 0);
    cr_expect_str_eq(event.origin, "bank/eu/1");
    cr_assert_eq(tally_reader_next(reader, &item, &event, NULL), 0);
    cr_expect_eq(event.index, 1);
    cr_expect_str_eq(tally_reader_position(reader), "", "the message's last event was only just returned");
    cr_assert_eq(tally_reader_next(reader, &item, &event, NULL), 0);
    cr_expect_eq(item, TALLY_ITEM_CAUGHT_UP);
    cr_expect_str_eq(tally_reader_position(reader), "eu@2");
    cr_assert_eq(tally_reader_next(reader, &item, &event, NULL), 0);
    cr_expect_eq(item, TALLY_ITEM_EVENT);
    cr_expect_str_eq(event.origin, "bank/us/1");
    cr_expect_eq(tally_reader_next(reader, &item, &event, NULL), ERR_UNAVAILABLE);
    cr_expect_str_eq(tally_reader_position(reader), "eu@2,us@1");
    tally_reader_close(reader);
    tally_client_close(client);
    fake_server_stop(server);
    free_script(&script);
}

Test(read, a_read_ends_with_end_or_with_the_servers_error)
{
    const struct tally_range range = {0};
    const int ends[] = {GRPC_STATUS_OK, GRPC_STATUS_NOT_FOUND};
    for (size_t i = 0; i < 2; i++) {
        struct script script = {.end_with = ends[i]};
        const char *address = NULL;
        struct fake_server *server = fake_server_start(play, &script, &address);
        struct tally_client *client = NULL;
        struct tally_reader *reader = NULL;
        struct tally_recorded event;
        enum tally_item item;
        cr_assert_eq(tally_client_open(address, &client, NULL), 0);
        cr_assert_eq(tally_read_stream(client, "bank", "a", &range, &reader, NULL), 0);
        cr_expect_eq(tally_reader_next(reader, &item, &event, NULL), i == 0 ? ERR_END : ERR_NOT_FOUND);
        tally_reader_close(reader);
        tally_client_close(client);
        fake_server_stop(server);
    }
}

static void say_nothing(struct fake_call *call, void *context)
{
    (void)context;
    fake_wait_cancelled(call);
}

Test(read, a_region_that_says_nothing_is_waited_for_as_long_as_the_range_says)
{
    const struct tally_demand demand = {.home_only = true, .timeout_ms = 50};
    const struct tally_range ranges[] = {{.timeout_ms = 50}, {.timeout_ms = 50, .demand = &demand}};
    const char *address = NULL;
    struct fake_server *server = fake_server_start(say_nothing, NULL, &address);
    struct tally_client *client = NULL;
    cr_assert_eq(tally_client_open(address, &client, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        struct tally_reader *reader = NULL;
        struct tally_recorded event;
        enum tally_item item;
        cr_assert_eq(tally_read_stream(client, "bank", "a", &ranges[i], &reader, NULL), 0);
        cr_expect_eq(tally_reader_next(reader, &item, &event, NULL), ERR_TIMEOUT);
        tally_reader_close(reader);
        cr_assert_eq(tally_read_log(client, NULL, &ranges[i], &reader, NULL), 0);
        cr_expect_eq(tally_reader_next(reader, &item, &event, NULL), ERR_TIMEOUT);
        tally_reader_close(reader);
    }
    tally_client_close(client);
    fake_server_stop(server);
}

Test(read, a_region_that_is_not_there_fails_the_read)
{
    const struct tally_range range = {0};
    struct tally_client *client = NULL;
    struct tally_reader *reader = NULL;
    struct tally_recorded event;
    enum tally_item item;
    cr_assert_eq(tally_client_open("127.0.0.1:1", &client, NULL), 0);
    int rc = tally_read_log(client, NULL, &range, &reader, NULL);
    if (rc == 0)
        rc = tally_reader_next(reader, &item, &event, NULL);
    cr_expect_eq(rc, ERR_UNAVAILABLE);
    tally_reader_close(reader);
    tally_client_close(client);
}
