/* The prepared requests and the cheap look at answers, against protobuf-c, which knows nothing of them. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "tally/bench_load.h"
#include "tally/v1/ledger.pb-c.h"

static const struct load_shape plain = {
    .context = "c", .partition = "p", .events = 7, .payload_bytes = 300, .streams = 3};

static struct load *new_load(const struct load_shape *shape)
{
    struct load *load = NULL;
    struct err err = {0};
    cr_assert_eq(load_new(shape, 1, &load, &err), 0, "%s", err.message);
    return load;
}

static Tally__V1__AppendRequest *decode(struct bytes request)
{
    Tally__V1__AppendRequest *message = tally__v1__append_request__unpack(NULL, request.size_bytes, request.data);
    cr_assert_not_null(message);
    return message;
}

static struct bytes pack(const ProtobufCMessage *message, uint8_t *out)
{
    return bytes_of(out, protobuf_c_message_pack(message, out));
}

Test(bench_load, a_request_holds_all_its_events_and_each_stream_once)
{
    struct load *load = new_load(&plain);
    Tally__V1__AppendRequest *request = decode(load_next(load, 1));
    cr_assert_eq(request->n_writes, 3);
    size_t events = 0;
    for (size_t i = 0; i < 3; i++) {
        const Tally__V1__StreamWrite *write = request->writes[i];
        cr_expect_str_eq(write->context, "c");
        cr_expect_str_eq(write->partition, "p");
        cr_expect_str_neq(write->stream, request->writes[(i + 1) % 3]->stream);
        events += write->n_events;
        for (size_t e = 0; e < write->n_events; e++) {
            cr_expect_eq(write->events[e]->id.len, 16);
            cr_expect_eq(write->events[e]->payload.len, 300);
        }
    }
    cr_expect_eq(events, 7);
    tally__v1__append_request__free_unpacked(request, NULL);
    load_free(load);
}

Test(bench_load, streams_are_taken_in_turn_and_ids_never_twice)
{
    const struct load_shape one = {.context = "c", .partition = "p", .events = 1, .payload_bytes = 0, .streams = 10};
    struct load *load = new_load(&one);
    unsigned seen = 0;
    uint8_t last[16] = {0};
    for (int i = 0; i < 10; i++) {
        unsigned number = 0;
        Tally__V1__AppendRequest *request = decode(load_next(load, 1));
        cr_assert_eq(sscanf(request->writes[0]->stream, BENCH_STREAM_PREFIX "%u", &number), 1);
        seen |= 1u << number;
        cr_expect_neq(memcmp(last, request->writes[0]->events[0]->id.data, 16), 0);
        memcpy(last, request->writes[0]->events[0]->id.data, 16);
        tally__v1__append_request__free_unpacked(request, NULL);
    }
    cr_expect_eq(seen, 0x3FF);
    load_free(load);
}

Test(bench_load, a_stamp_is_the_beginning_of_the_payload)
{
    const struct load_shape probe = {
        .context = "c", .partition = "p", .stream = "probe", .events = 1, .payload_bytes = 8, .streams = 1};
    struct load *load = new_load(&probe);
    Tally__V1__AppendRequest *request = decode(load_stamped(load, 1, 0x1122334455667788u));
    cr_expect_str_eq(request->writes[0]->stream, "probe");
    cr_expect_eq(get_u64_le(request->writes[0]->events[0]->payload.data), 0x1122334455667788u);
    tally__v1__append_request__free_unpacked(request, NULL);
    load_free(load);
}

Test(bench_load, what_no_request_may_hold_is_refused)
{
    struct load *load = NULL;
    struct load_shape large = plain;
    large.events = 10001;
    cr_expect_eq(load_new(&large, 1, &load, NULL), ERR_TOO_LARGE);
    large.events = 5000;
    large.payload_bytes = 1000;
    cr_expect_eq(load_new(&large, 1, &load, NULL), ERR_TOO_LARGE);
}

Test(bench_load, running_out_of_memory_leaves_nothing)
{
    struct load *load = NULL;
    for (uint64_t at = 1; at <= 6; at++) {
        mem_fail_at(at);
        int code = load_new(&plain, 1, &load, NULL);
        mem_fail_at(0);
        cr_assert_eq(code, ERR_NO_MEMORY, "at %llu", (unsigned long long)at);
    }
}

Test(bench_load, results_and_duplicates_of_an_answer_are_counted)
{
    uint8_t out[256];
    struct load_answer answer;
    Tally__V1__AppendResult fresh;
    Tally__V1__AppendResult duplicate;
    Tally__V1__AppendResponse response;
    tally__v1__append_result__init(&fresh);
    tally__v1__append_result__init(&duplicate);
    tally__v1__append_response__init(&response);
    fresh.index = 1000000;
    duplicate.duplicate = true;
    Tally__V1__AppendResult *results[] = {&fresh, &duplicate, &fresh};
    response.results = results;
    response.n_results = 3;
    cr_assert_eq(load_check_answer(pack(&response.base, out), &answer, NULL), 0);
    cr_expect_eq(answer.results, 3);
    cr_expect_eq(answer.duplicates, 1);
    cr_expect_not(answer.refused);
}

Test(bench_load, a_refusal_is_seen_with_its_code_and_reason)
{
    uint8_t out[256];
    char reason[] = "no room";
    struct load_answer answer;
    Tally__V1__ErrorDetail detail;
    Tally__V1__AppendResponse response;
    tally__v1__error_detail__init(&detail);
    tally__v1__append_response__init(&response);
    detail.number = ERR_BUSY;
    detail.message = reason;
    response.error = &detail;
    cr_assert_eq(load_check_answer(pack(&response.base, out), &answer, NULL), 0);
    cr_expect(answer.refused);
    cr_expect_eq(answer.code, ERR_BUSY);
    cr_expect(bytes_equal(answer.reason, BYTES_LITERAL("no room")));
}

/* A page with entries of these indexes. */
static int check_page(const uint64_t *indexes, size_t count, struct load_page *page)
{
    uint8_t out[512];
    uint8_t payload[] = "last";
    Tally__V1__Entry entries[4];
    Tally__V1__RecordedEvent events[4];
    Tally__V1__RecordedEvent *list[4];
    Tally__V1__ReadResponse response;
    tally__v1__read_response__init(&response);
    for (size_t i = 0; i < count; i++) {
        tally__v1__entry__init(&entries[i]);
        tally__v1__recorded_event__init(&events[i]);
        entries[i].index = indexes[i];
        events[i].entry = &entries[i];
        events[i].payload = (ProtobufCBinaryData){.len = i, .data = payload};
        list[i] = &events[i];
    }
    response.events = list;
    response.n_events = count;
    return load_check_page(pack(&response.base, out), page, NULL);
}

Test(bench_load, a_page_tells_its_indexes)
{
    struct load_page page;
    cr_assert_eq(check_page((uint64_t[]){0, 1, 2}, 3, &page), 0);
    cr_expect_eq(page.events, 3);
    cr_expect_eq(page.first_index, 0);
    cr_expect_eq(page.last_index, 2);
    cr_expect(page.consecutive);
    cr_expect_eq(page.last_payload.size_bytes, 2);
}

Test(bench_load, a_gap_within_a_page_is_seen)
{
    struct load_page page;
    cr_assert_eq(check_page((uint64_t[]){5, 7}, 2, &page), 0);
    cr_expect_not(page.consecutive);
}

Test(bench_load, what_is_no_answer_is_refused)
{
    struct load_answer answer;
    struct load_page page;
    cr_expect_eq(load_check_answer(BYTES_LITERAL("\x12\x7f"), &answer, NULL), ERR_CORRUPT);
    cr_expect_eq(load_check_answer(BYTES_LITERAL("\x12\x01\x08"), &answer, NULL), ERR_CORRUPT);
    cr_expect_eq(load_check_page(BYTES_LITERAL("\x0a\x02\x0a\x09"), &page, NULL), ERR_CORRUPT);
}
