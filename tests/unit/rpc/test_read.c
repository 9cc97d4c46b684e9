#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"

#define READ_LOG    "/tally.v1.Ledger/ReadLog"
#define READ_STREAM "/tally.v1.Ledger/ReadStream"

/* What a read gave: the entries' places, and the largest message. */
struct seen {
    grpc_status_code status;
    char message[1024];
    size_t count;
    uint64_t indexes[20000];
    uint64_t versions[20000];
    char origin[256];
    size_t messages;
    size_t largest_message_bytes;
};

static void read_all(struct stage *stage, const char *method, const ProtobufCMessage *request, struct seen *seen)
{
    struct outside outside;
    struct buf bytes;
    *seen = (struct seen){0};
    buf_init(&bytes, 4 * 1024 * 1024); /* what clients accept unless told otherwise */
    outside_open(&outside, stage->port, method, 30000);
    outside_write_message(&outside, request);
    outside_writes_done(&outside);
    while (outside_read(&outside, &bytes)) {
        Tally__V1__ReadResponse *response = tally__v1__read_response__unpack(NULL, bytes.size_bytes, bytes.data);
        cr_assert_not_null(response);
        cr_expect_gt(response->n_events, 0);
        for (size_t i = 0; i < response->n_events; i++) {
            seen->indexes[seen->count] = response->events[i]->entry->index;
            seen->versions[seen->count++] = response->events[i]->entry->stream_version;
        }
        snprintf(seen->origin, sizeof(seen->origin), "%s", response->origin);
        seen->messages++;
        if (bytes.size_bytes > seen->largest_message_bytes)
            seen->largest_message_bytes = bytes.size_bytes;
        tally__v1__read_response__free_unpacked(response, NULL);
    }
    seen->status = outside_finish(&outside);
    memcpy(seen->message, outside.message, sizeof(seen->message));
    outside_close(&outside);
    buf_free(&bytes);
}

static void read_log(struct stage *stage, char *origin, uint64_t from, bool backwards, bool from_end, uint64_t limit,
                     struct seen *seen)
{
    Tally__V1__ReadLogRequest request;
    tally__v1__read_log_request__init(&request);
    request.origin = origin;
    request.from_index = from;
    request.backwards = backwards;
    request.from_end = from_end;
    request.limit = limit;
    read_all(stage, READ_LOG, &request.base, seen);
}

static void read_stream(struct stage *stage, char *stream, uint64_t from, bool backwards, bool from_end, uint64_t limit,
                        struct seen *seen)
{
    char context[] = "bank";
    Tally__V1__ReadStreamRequest request;
    tally__v1__read_stream_request__init(&request);
    request.context = context;
    request.stream = stream;
    request.from_version = from;
    request.backwards = backwards;
    request.from_end = from_end;
    request.limit = limit;
    read_all(stage, READ_STREAM, &request.base, seen);
}

static void expect_run(const struct seen *seen, const uint64_t *numbers, uint64_t first, uint64_t count, bool down)
{
    cr_assert_eq(seen->status, GRPC_STATUS_OK, "%s", seen->message);
    cr_assert_eq(seen->count, count, "%zu", seen->count);
    for (uint64_t i = 0; i < count; i++)
        cr_assert_eq(numbers[i], down ? first - i : first + i);
}

static char any[] = "";
static char own[] = OWN_ORIGIN;
static char peer[] = PEER_ORIGIN;
static struct stage stage;
static struct seen seen;

static void set_up(void)
{
    stage_init(&stage);
}

static void tear_down(void)
{
    stage_free(&stage);
}

TestSuite(read, .init = set_up, .fini = tear_down);

Test(read, a_log_forwards_across_blocks_and_from_inside_one)
{
    stage_append(&stage, 0, "s", 7, 10);
    stage_append(&stage, 0, "s", 1, 10);
    stage_append(&stage, 0, "s", 12, 10);
    read_log(&stage, own, 0, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 20, false);
    cr_expect_str_eq(seen.origin, OWN_ORIGIN);
    read_log(&stage, any, 5, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 5, 15, false);
    read_log(&stage, own, 5, false, false, 4, &seen);
    expect_run(&seen, seen.indexes, 5, 4, false);
    read_log(&stage, own, 20, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 0, false);
}

Test(read, a_log_backwards)
{
    stage_append(&stage, 0, "s", 7, 10);
    stage_append(&stage, 0, "s", 1, 10);
    stage_append(&stage, 0, "s", 12, 10);
    read_log(&stage, own, 0, true, true, 0, &seen);
    expect_run(&seen, seen.indexes, 19, 20, true);
    read_log(&stage, own, 10, true, false, 0, &seen);
    expect_run(&seen, seen.indexes, 10, 11, true);
    read_log(&stage, own, 10, true, false, 5, &seen);
    expect_run(&seen, seen.indexes, 10, 5, true);
    read_log(&stage, own, 0, true, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 1, true);
}

Test(read, an_empty_log_both_ways)
{
    read_log(&stage, own, 0, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 0, false);
    read_log(&stage, own, 0, true, true, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 0, true);
}

Test(read, a_mirror_by_its_origin)
{
    stage_add_log(&stage);
    stage_append(&stage, 1, "s", 3, 10);
    read_log(&stage, peer, 0, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 3, false);
    cr_expect_str_eq(seen.origin, PEER_ORIGIN);
}

Test(read, a_large_block_comes_in_messages_of_bounded_size)
{
    stage_append(&stage, 0, "s", 2000, 3000);
    read_log(&stage, own, 0, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 2000, false);
    cr_expect_gt(seen.messages, 20);
    cr_expect_leq(seen.largest_message_bytes, RPC_READ_CHUNK_BYTES + 1024);
    read_log(&stage, own, 0, true, true, 0, &seen);
    expect_run(&seen, seen.indexes, 1999, 2000, true);
}

Test(read, the_largest_payload_comes_through)
{
    stage_append(&stage, 0, "s", 2, ENTRY_PAYLOAD_MAX_BYTES);
    read_log(&stage, own, 0, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 2, false);
    read_stream(&stage, (char[]){"s"}, 0, false, false, 0, &seen);
    expect_run(&seen, seen.versions, 0, 2, false);
}

Test(read, small_blocks_are_put_together)
{
    for (size_t i = 0; i < 300; i++)
        stage_append(&stage, 0, "s", 1, 10);
    read_log(&stage, own, 0, false, false, 0, &seen);
    expect_run(&seen, seen.indexes, 0, 300, false);
    cr_expect_eq(seen.messages, 1);
}

static void expect_status(grpc_status_code status, const char *part)
{
    cr_expect_eq(seen.status, status, "%s", seen.message);
    cr_expect_not_null(strstr(seen.message, part), "%s", seen.message);
}

Test(read, bad_places_in_a_log_are_refused)
{
    stage_append(&stage, 0, "s", 3, 10);
    read_log(&stage, own, 4, false, false, 0, &seen);
    expect_status(GRPC_STATUS_INVALID_ARGUMENT, "past its end");
    read_log(&stage, own, 3, true, false, 0, &seen);
    expect_status(GRPC_STATUS_INVALID_ARGUMENT, "past its end");
    read_log(&stage, own, UINT64_MAX, true, false, 0, &seen);
    expect_status(GRPC_STATUS_INVALID_ARGUMENT, "past its end");
    read_log(&stage, own, 0, false, true, 0, &seen);
    expect_status(GRPC_STATUS_INVALID_ARGUMENT, "backwards");
    read_log(&stage, (char[]){"bank/nowhere/1"}, 0, false, false, 0, &seen);
    expect_status(GRPC_STATUS_NOT_FOUND, "bank/nowhere/1");
    read_log(&stage, (char[]){"../../etc/passwd"}, 0, false, false, 0, &seen);
    expect_status(GRPC_STATUS_INVALID_ARGUMENT, "");
}

Test(read, a_stream_among_others)
{
    for (size_t i = 0; i < 10; i++) {
        stage_append(&stage, 0, "noise", 3, 10);
        stage_append(&stage, 0, "mine", 2, 10);
    }
    read_stream(&stage, (char[]){"mine"}, 0, false, false, 0, &seen);
    expect_run(&seen, seen.versions, 0, 20, false);
    read_stream(&stage, (char[]){"mine"}, 5, false, false, 3, &seen);
    expect_run(&seen, seen.versions, 5, 3, false);
    read_stream(&stage, (char[]){"mine"}, 0, true, true, 0, &seen);
    expect_run(&seen, seen.versions, 19, 20, true);
    read_stream(&stage, (char[]){"mine"}, 5, true, false, 3, &seen);
    expect_run(&seen, seen.versions, 5, 3, true);
    read_stream(&stage, (char[]){"mine"}, 0, true, false, 0, &seen);
    expect_run(&seen, seen.versions, 0, 1, true);
    read_stream(&stage, (char[]){"mine"}, 1000, true, false, 2, &seen);
    expect_run(&seen, seen.versions, 19, 2, true);
    read_stream(&stage, (char[]){"mine"}, 20, false, false, 0, &seen);
    expect_run(&seen, seen.versions, 0, 0, false);
    read_stream(&stage, (char[]){"mine"}, UINT64_MAX, false, false, 0, &seen);
    expect_run(&seen, seen.versions, 0, 0, false);
}

Test(read, a_stream_longer_than_one_scan)
{
    stage_append(&stage, 0, "long", 3000, 10);
    stage_append(&stage, 0, "long", 3000, 10);
    stage_append(&stage, 0, "long", 3000, 10);
    read_stream(&stage, (char[]){"long"}, 0, false, false, 0, &seen);
    expect_run(&seen, seen.versions, 0, 9000, false);
    read_stream(&stage, (char[]){"long"}, 0, true, true, 0, &seen);
    expect_run(&seen, seen.versions, 8999, 9000, true);
}

Test(read, a_stream_that_lives_in_two_logs)
{
    stage_add_log(&stage);
    stage_append(&stage, 1, "moved", 3, 10);
    stage_append(&stage, 0, "moved", 3, 10);
    read_stream(&stage, (char[]){"moved"}, 0, false, false, 0, &seen);
    expect_run(&seen, seen.versions, 0, 6, false);
    cr_expect_eq(seen.messages, 2);
}

Test(read, bad_streams_are_refused)
{
    read_stream(&stage, (char[]){"nothing"}, 0, false, false, 0, &seen);
    expect_status(GRPC_STATUS_NOT_FOUND, "nothing");
    read_stream(&stage, (char[]){""}, 0, false, false, 0, &seen);
    expect_status(GRPC_STATUS_INVALID_ARGUMENT, "stream");
    read_stream(&stage, (char[]){"a\nb"}, 0, false, false, 0, &seen);
    expect_status(GRPC_STATUS_INVALID_ARGUMENT, "stream");
    read_stream(&stage, (char[]){"s"}, 0, false, true, 0, &seen);
    expect_status(GRPC_STATUS_NOT_FOUND, "");
}
