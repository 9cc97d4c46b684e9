#include "domain/queued.h"

#include <criterion/criterion.h>

#include "base/mem.h"
#include "domain/control.h"

static struct buf out;
static struct buf events;

static void setup(void)
{
    buf_init(&out, QUEUED_PAYLOAD_MAX_BYTES + 4096);
    buf_init(&events, QUEUED_PAYLOAD_MAX_BYTES);
}

static void teardown(void)
{
    buf_free(&out);
    buf_free(&events);
}

TestSuite(queued, .init = setup, .fini = teardown);

static struct queued_event full_event(void)
{
    return (struct queued_event){.id = {7, 0, 1},
                                 .type = BYTES_LITERAL("Paid"),
                                 .content_type = BYTES_LITERAL("application/json"),
                                 .metadata = BYTES_LITERAL("m"),
                                 .payload = BYTES_LITERAL("{\"n\":1}"),
                                 .causation_id = BYTES_LITERAL("0123456789abcdef"),
                                 .correlation_id = BYTES_LITERAL("fedcba9876543210")};
}

static void put_write(const char *stream, enum stream_expectation expectation, uint64_t version, size_t count)
{
    buf_clear(&events);
    struct queued_event event = full_event();
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(queued_put_event(&event, &events), 0);
    struct queued_write write = {.stream = bytes_of_string(stream),
                                 .expectation = expectation,
                                 .expected_version = version,
                                 .events = buf_bytes(&events)};
    cr_assert_eq(queued_put_write(&write, &out), 0);
}

static int check(void)
{
    size_t writes = 99;
    size_t found = 99;
    int code = queued_check(buf_bytes(&out), &writes, &found, NULL);
    cr_assert(code == 0 || (code == ERR_CORRUPT && writes == 99 && found == 99));
    return code;
}

/* One event instead of full_event. */
static int check_event(struct queued_event event)
{
    buf_clear(&out);
    buf_clear(&events);
    cr_assert_eq(queued_put_event(&event, &events), 0);
    struct queued_write write = {.stream = BYTES_LITERAL("s"), .events = buf_bytes(&events)};
    cr_assert_eq(queued_put_write(&write, &out), 0);
    return check();
}

Test(queued, a_command_is_read_back_piece_by_piece)
{
    struct queued_write write;
    struct queued_event event;
    struct queued_event expected = full_event();
    size_t writes = 0;
    size_t found = 0;
    put_write("a", STREAM_AT, 17, 2);
    put_write("b", STREAM_NONE, 0, 1);
    cr_assert_eq(queued_check(buf_bytes(&out), &writes, &found, NULL), 0);
    cr_expect_eq(writes, 2);
    cr_expect_eq(found, 3);
    struct bytes rest = buf_bytes(&out);
    cr_assert(queued_next_write(&rest, &write));
    cr_expect(bytes_equal(write.stream, BYTES_LITERAL("a")));
    cr_expect_eq(write.expectation, STREAM_AT);
    cr_expect_eq(write.expected_version, 17);
    cr_assert(queued_next_event(&write.events, &event));
    cr_expect_eq(memcmp(event.id, expected.id, ENTRY_ID_SIZE), 0);
    cr_expect(bytes_equal(event.type, expected.type));
    cr_expect(bytes_equal(event.content_type, expected.content_type));
    cr_expect(bytes_equal(event.metadata, expected.metadata));
    cr_expect(bytes_equal(event.payload, expected.payload));
    cr_expect(bytes_equal(event.causation_id, expected.causation_id));
    cr_expect(bytes_equal(event.correlation_id, expected.correlation_id));
    cr_assert(queued_next_event(&write.events, &event));
    cr_assert_not(queued_next_event(&write.events, &event));
    cr_assert(queued_next_write(&rest, &write));
    cr_expect_eq(write.expectation, STREAM_NONE);
    cr_assert_not(queued_next_write(&rest, &write));
}

Test(queued, only_what_a_region_writes_is_read)
{
    cr_expect_eq(check(), ERR_CORRUPT, "no writes");
    put_write("s", STREAM_ANY, 0, 0);
    cr_expect_eq(check(), ERR_CORRUPT, "no events");
    buf_clear(&out);
    put_write("", STREAM_ANY, 0, 1);
    cr_expect_eq(check(), ERR_CORRUPT, "no stream");
    buf_clear(&out);
    put_write("$control", STREAM_ANY, 0, 1);
    cr_expect_eq(check(), ERR_CORRUPT, "a stream of the system's");
    buf_clear(&out);
    put_write("s", (enum stream_expectation)(STREAM_AT + 1), 0, 1);
    cr_expect_eq(check(), ERR_CORRUPT, "an unknown expectation");
    buf_clear(&out);
    put_write("s", STREAM_EXISTS, 3, 1);
    cr_expect_eq(check(), ERR_CORRUPT, "a version that is not expected");
    buf_clear(&out);
    put_write("s", STREAM_AT, 0, 1);
    cr_expect_eq(check(), 0, "version 0 is left out");
    cr_assert_eq(buf_append_byte(&out, 0), 0);
    cr_expect_eq(check(), ERR_CORRUPT, "something after it");
}

Test(queued, events_keep_the_rules_of_appends)
{
    struct queued_event event = full_event();
    static uint8_t metadata[ENTRY_METADATA_MAX_BYTES + 1] = {1};
    cr_expect_eq(check_event(event), 0);
    event.type = BYTES_LITERAL("$CommandQueued");
    cr_expect_eq(check_event(event), ERR_CORRUPT);
    event = full_event();
    event.type = BYTES_LITERAL("");
    cr_expect_eq(check_event(event), ERR_CORRUPT);
    event = full_event();
    event.content_type = BYTES_LITERAL("a\n");
    cr_expect_eq(check_event(event), ERR_CORRUPT);
    event = full_event();
    event.metadata = bytes_of(metadata, sizeof(metadata));
    cr_expect_eq(check_event(event), ERR_CORRUPT);
    event = full_event();
    event.causation_id = BYTES_LITERAL("short");
    cr_expect_eq(check_event(event), ERR_CORRUPT);
    event = full_event();
    event.correlation_id = BYTES_LITERAL("short");
    cr_expect_eq(check_event(event), ERR_CORRUPT);
}

Test(queued, the_limits_hold)
{
    size_t writes = 0;
    size_t found = 0;
    put_write("s", STREAM_ANY, 0, QUEUED_EVENTS_MAX);
    cr_expect_eq(queued_check(buf_bytes(&out), &writes, &found, NULL), 0);
    cr_expect_eq(found, QUEUED_EVENTS_MAX);
    put_write("t", STREAM_ANY, 0, 1);
    cr_expect_eq(check(), ERR_CORRUPT, "one event too many");
}

Test(queued, a_payload_over_its_limit_is_refused)
{
    struct queued_event event = full_event();
    void *large = mem_alloc_zero(1, QUEUED_PAYLOAD_MAX_BYTES);
    cr_assert_not_null(large);
    event.payload = bytes_of(large, QUEUED_PAYLOAD_MAX_BYTES - 512);
    cr_expect_eq(check_event(event), 0);
    event.payload = bytes_of(large, QUEUED_PAYLOAD_MAX_BYTES);
    cr_expect_eq(queued_put_event(&event, &events), ERR_TOO_LARGE);
    mem_free(large);
}

Test(queued, memory_that_runs_out_is_said)
{
    struct queued_event event = full_event();
    int code = ERR_NO_MEMORY;
    for (uint64_t at = 1; code != 0; at++) {
        buf_free(&events);
        buf_init(&events, QUEUED_PAYLOAD_MAX_BYTES);
        mem_fail_at(at);
        code = queued_put_event(&event, &events);
        mem_fail_at(0);
        cr_assert(code == 0 || code == ERR_NO_MEMORY, "allocation %d", (int)at);
    }
}
