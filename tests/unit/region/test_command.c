/* What is checked and computed before a command reaches the region. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "unit/region/fixture.h"

static void expect_refused(const struct order *order, int code, const char *said)
{
    struct region_refusal refusal;
    cr_assert_eq(region_command_check(&order->command, &refusal), code, "%s", refusal.err.message);
    cr_assert_eq(refusal.code, code);
    cr_assert_not_null(strstr(refusal.err.message, said), "\"%s\" does not say \"%s\"", refusal.err.message, said);
}

static void expect_accepted(const struct order *order)
{
    struct region_refusal refusal;
    cr_assert_eq(region_command_check(&order->command, &refusal), 0, "%s", refusal.err.message);
    cr_assert_eq(refusal.code, 0);
    cr_assert_eq(refusal.err.message[0], '\0');
}

Test(command, a_request_without_events_is_refused)
{
    struct order order;
    order_init(&order);
    expect_refused(&order, ERR_INVALID, "empty");
    order_write(&order, "s", STREAM_ANY, 0);
    expect_refused(&order, ERR_INVALID, "has no events");
}

Test(command, an_id_of_zeros_is_refused)
{
    struct order order;
    order_one(&order, "s", 1, "1");
    memset(order.events[0][0].id, 0, ENTRY_ID_SIZE);
    expect_refused(&order, ERR_INVALID, "all zeros");
}

Test(command, an_id_twice_is_refused_wherever_it_stands)
{
    struct order order;
    struct region_refusal refusal;
    order_one(&order, "s", 1, "1");
    order_event(&order, 1, "1");
    expect_refused(&order, ERR_INVALID, "twice");
    order_one(&order, "s", 1, "1");
    order_write(&order, "t", STREAM_ANY, 0);
    order_event(&order, 1, "1");
    expect_refused(&order, ERR_INVALID, "twice");
    cr_assert_eq(region_command_check(&order.command, &refusal), ERR_INVALID);
    cr_assert_eq(refusal.write_number, 1);
    cr_assert_arr_eq(refusal.event_id, order.events[1][0].id, ENTRY_ID_SIZE);
}

Test(command, a_stream_twice_is_refused_but_not_in_another_context)
{
    struct order order;
    order_one(&order, "s", 1, "1");
    order_write(&order, "s", STREAM_ANY, 0);
    order_event(&order, 2, "1");
    expect_refused(&order, ERR_INVALID, "stands twice");
    order.writes[1].context = BYTES_LITERAL("shop");
    expect_accepted(&order);
}

Test(command, names_that_run_together_are_two_streams)
{
    struct order order;
    order_one(&order, "bc", 1, "1");
    order.writes[0].context = BYTES_LITERAL("a");
    order_write(&order, "c", STREAM_ANY, 0)->context = BYTES_LITERAL("ab");
    order_event(&order, 2, "1");
    expect_accepted(&order);
}

Test(command, names_are_checked)
{
    static uint8_t long_name[ENTRY_STREAM_MAX_BYTES + 1];
    struct order order;
    memset(long_name, 'x', sizeof(long_name));
    order_one(&order, "", 1, "1");
    expect_refused(&order, ERR_INVALID, "stream");
    order_one(&order, "two\nlines", 1, "1");
    expect_refused(&order, ERR_INVALID, "stream");
    order_one(&order, "\xff", 1, "1");
    expect_refused(&order, ERR_INVALID, "stream");
    order_one(&order, "s", 1, "1");
    order.writes[0].stream = bytes_of(long_name, sizeof(long_name));
    expect_refused(&order, ERR_TOO_LARGE, "stream");
    order_one(&order, "s", 1, "1");
    order.writes[0].partition = bytes_of(NULL, 0);
    expect_refused(&order, ERR_INVALID, "partition");
    order_one(&order, "s", 1, "1");
    order.events[0][0].type = bytes_of(NULL, 0);
    expect_refused(&order, ERR_INVALID, "type");
}

Test(command, ids_of_causes_have_16_bytes_or_none)
{
    struct order order;
    order_one(&order, "s", 1, "1");
    order.events[0][0].causation_id = BYTES_LITERAL("short");
    expect_refused(&order, ERR_INVALID, "causation");
    order.events[0][0].causation_id = BYTES_LITERAL("0123456789abcdef");
    expect_accepted(&order);
    order.events[0][0].correlation_id = BYTES_LITERAL("0123456789abcdef0");
    expect_refused(&order, ERR_INVALID, "correlation");
}

Test(command, sizes_have_limits)
{
    static uint8_t bytes[ENTRY_PAYLOAD_MAX_BYTES + 1];
    struct order order;
    order_one(&order, "s", 1, "1");
    order.events[0][0].payload = bytes_of(bytes, ENTRY_PAYLOAD_MAX_BYTES);
    order.events[0][0].metadata = bytes_of(bytes, ENTRY_METADATA_MAX_BYTES);
    expect_accepted(&order);
    order.events[0][0].payload = bytes_of(bytes, ENTRY_PAYLOAD_MAX_BYTES + 1);
    expect_refused(&order, ERR_TOO_LARGE, "payload");
    order.events[0][0].payload = bytes_of(bytes, 1);
    order.events[0][0].metadata = bytes_of(bytes, ENTRY_METADATA_MAX_BYTES + 1);
    expect_refused(&order, ERR_TOO_LARGE, "metadata");
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0);
    for (uint64_t i = 1; i <= 4; i++)
        order_event(&order, i, "")->payload = bytes_of(bytes, ENTRY_PAYLOAD_MAX_BYTES);
    expect_accepted(&order);
    order_event(&order, 5, "1");
    expect_refused(&order, ERR_TOO_LARGE, "split it");
}

Test(command, the_number_of_events_has_a_limit)
{
    size_t count = REGION_REQUEST_EVENTS_MAX + 1;
    struct region_new_event *events = mem_alloc_zero(count, sizeof(*events));
    struct order order;
    cr_assert_not_null(events);
    for (size_t i = 0; i < count; i++) {
        event_id_of(i + 1, events[i].id);
        events[i].type = BYTES_LITERAL("T");
    }
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0)->events = events;
    order.writes[0].event_count = count - 1;
    expect_accepted(&order);
    order.writes[0].event_count = count;
    expect_refused(&order, ERR_TOO_LARGE, "at most 10000");
    mem_free(events);
}

/* Look-ups are announced some events ahead: no event may be passed over, wherever its write begins. */
Test(command, prepare_looks_up_every_event_of_many)
{
    enum { WRITES = 30, EVENTS = 3, EVERY = 7 };
    struct site *site = site_alone();
    struct region_command command = {0};
    struct region_stream_write writes[WRITES];
    struct region_new_event events[WRITES][EVENTS];
    char streams[WRITES][8];
    memset(events, 0, sizeof(events));
    for (size_t w = 0; w < WRITES; w++) {
        snprintf(streams[w], sizeof(streams[w]), "s%zu", w);
        if (w % EVERY == 0)
            site_append(site, streams[w], 1 + w * EVENTS + w % EVENTS);
        writes[w] = (struct region_stream_write){.context = BYTES_LITERAL("bank"),
                                                 .partition = BYTES_LITERAL("north"),
                                                 .stream = bytes_of_string(streams[w]),
                                                 .events = events[w],
                                                 .event_count = EVENTS};
        for (size_t i = 0; i < EVENTS; i++) {
            event_id_of(1 + w * EVENTS + i, events[w][i].id);
            events[w][i].type = BYTES_LITERAL("T");
        }
    }
    site_indexed(site, 0);
    command.writes = writes;
    command.write_count = WRITES;
    struct sha256 *sha = sha256_new();
    cr_assert_eq(region_command_prepare(&command, sha, site->index, NULL), 0);
    sha256_free(sha);
    for (size_t w = 0; w < WRITES; w++) {
        cr_assert_eq(writes[w].head_known, w % EVERY == 0);
        for (size_t i = 0; i < EVENTS; i++) {
            cr_assert_eq(events[w][i].known, w % EVERY == 0 && i == w % EVENTS);
            cr_assert_neq(events[w][i].fingerprint, 0);
        }
    }
    site_free(site);
}

Test(command, prepare_computes_hashes_and_looks_everything_up)
{
    struct site *site = site_alone();
    struct order order;
    struct order other;
    site_append(site, "s", 1);
    site_indexed(site, 0);
    order_one(&order, "s", 1, "1");
    order_event(&order, 2, "2");
    order_write(&order, "new", STREAM_ANY, 0);
    order_event(&order, 3, "2");
    site_prepare(site, &order);
    cr_assert_eq(order.command.index_sequence, 1);
    cr_assert(order.writes[0].head_known);
    cr_assert_eq(order.writes[0].head.version, 0);
    cr_assert_not(order.writes[1].head_known);
    cr_assert(order.events[0][0].known);
    cr_assert_eq(order.events[0][0].seen.fingerprint, order.events[0][0].fingerprint);
    cr_assert_not(order.events[0][1].known);
    cr_assert_neq(order.events[0][1].fingerprint, order.events[1][0].fingerprint, "the stream is part of the content");
    order_one(&other, "s", 2, "2");
    memset(other.events[0][0].salt, 1, ENTRY_SALT_SIZE);
    site_prepare(site, &other);
    cr_assert_eq(other.events[0][0].fingerprint, order.events[0][1].fingerprint);
    cr_assert_not(hash_equal(&other.events[0][0].commitment, &order.events[0][1].commitment), "salted");
    site_free(site);
}
