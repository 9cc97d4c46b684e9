/* Deciding batches. That no answer leaves early is checked by the fixture at every step of every test here. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "region/region_internal.h"
#include "unit/region/fixture.h"

static void expect_refused(const struct order *order, int code)
{
    cr_assert_eq(order->answers, 1, "a refusal is answered in the same step");
    cr_assert_eq(order->command.refusal.code, code, "%s instead of %s: %s",
                 tally_error_name(order->command.refusal.code), tally_error_name(code),
                 order->command.refusal.err.message);
}

static void expect_said(const struct order *order, const char *part)
{
    const char *message = order->command.refusal.err.message;
    cr_assert_not_null(strstr(message, part), "\"%s\" does not say \"%s\"", message, part);
}

/* --- Durability --- */

Test(sequencer, an_accepted_command_is_answered_by_the_write_that_holds_it)
{
    struct site *site = site_alone();
    struct order order;
    order_one(&order, "s", 1, "10");
    site_submit(site, &order);
    cr_assert_eq(order.answers, 0);
    cr_assert_eq(site_effect(site, REGION_WRITE)->size, 1);
    site_written(site, 0);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.command.refusal.code, 0);
    cr_assert_eq(order.results[0].index, 0);
    cr_assert_eq(order.results[0].stream_version, 0);
    cr_assert_not(order.results[0].duplicate);
    site_free(site);
}

Test(sequencer, a_repetition_of_a_pending_event_waits_for_the_original)
{
    struct site *site = site_alone();
    struct order order;
    struct order again;
    order_one(&order, "s", 1, "10");
    order_one(&again, "s", 1, "10");
    site_submit(site, &order);
    site_submit(site, &again);
    cr_assert_eq(again.answers, 0);
    site_written(site, 0);
    cr_assert_eq(again.answers, 1);
    cr_assert_eq(again.command.refusal.code, 0);
    cr_assert(again.results[0].duplicate);
    cr_assert_eq(again.results[0].index, 0);
    cr_assert_eq(site->logs[0].durable_size, 1);
    site_free(site);
}

Test(sequencer, a_repetition_of_what_still_gathers_waits_for_the_second_write)
{
    struct site *site = site_alone();
    struct order orders[3];
    order_one(&orders[0], "a", 1, "10");
    order_one(&orders[1], "b", 2, "10");
    order_one(&orders[2], "b", 2, "10");
    for (size_t i = 0; i < 3; i++)
        site_submit(site, &orders[i]);
    site_written(site, 0);
    cr_assert_eq(orders[0].answers, 1);
    cr_assert_eq(orders[2].answers, 0);
    site_written(site, 0);
    cr_assert_eq(orders[2].answers, 1);
    site_free(site);
}

Test(sequencer, what_comes_while_a_write_is_in_flight_gathers_in_one_block)
{
    struct site *site = site_alone();
    struct order orders[6];
    for (size_t i = 0; i < 6; i++) {
        order_one(&orders[i], "s", i + 1, "10");
        site_submit(site, &orders[i]);
        cr_assert_eq(site_count(site, REGION_WRITE), i == 0 ? 1 : 0);
    }
    site_written(site, 0);
    cr_assert_eq(site_effect(site, REGION_WRITE)->block->entry_count, 5);
    cr_assert_eq(site_count(site, REGION_ANSWER), 1);
    site_written(site, 0);
    cr_assert_eq(site_count(site, REGION_ANSWER), 5);
    cr_assert_eq(site_count(site, REGION_WRITE), 0);
    site_free(site);
}

Test(sequencer, what_it_writes_is_a_chain_that_another_region_accepts)
{
    struct site *site = site_alone();
    for (uint64_t i = 1; i <= 20; i++)
        site_append(site, i % 2 == 0 ? "even" : "odd", i);
    struct chain chain;
    struct err err = {0};
    chain_init(&chain, site->sha, BYTES_LITERAL("demo/eu/1"));
    for (size_t i = 0; i < site->logs[0].block_count; i++) {
        const struct block *block = site->logs[0].blocks[i];
        cr_assert_eq(
            chain_check_block(&chain, site->sha, block_body(block), block->entry_count, NULL, NULL, NULL, &err), 0,
            "%s", err.message);
    }
    cr_assert_eq(chain.range.size, 20);
    site_free(site);
}

Test(sequencer, time_goes_forward_although_the_clock_goes_back)
{
    struct site *site = site_alone();
    site_append(site, "s", 1);
    site->now.wall_us -= 3600000000;
    site_append(site, "s", 2);
    struct chain chain;
    chain_init(&chain, site->sha, BYTES_LITERAL("demo/eu/1"));
    for (size_t i = 0; i < 2; i++) {
        const struct block *block = site->logs[0].blocks[i];
        cr_assert_eq(
            chain_check_block(&chain, site->sha, block_body(block), block->entry_count, NULL, NULL, NULL, NULL), 0);
    }
    site_free(site);
}

/* --- Expected versions --- */

/* Submits one event with an expectation to stream "s"; returns the code. */
static int expecting(struct site *site, struct order *order, uint64_t id, enum stream_expectation expectation,
                     uint64_t version)
{
    order_init(order);
    order_write(order, "s", expectation, version);
    order_event(order, id, "1");
    site_submit(site, order);
    site_written_all(site, 0);
    cr_assert_eq(order->answers, 1);
    return order->command.refusal.code;
}

Test(sequencer, none_is_met_by_a_new_stream_only)
{
    struct site *site = site_alone();
    struct order order;
    cr_assert_eq(expecting(site, &order, 1, STREAM_NONE, 0), 0);
    cr_assert_eq(expecting(site, &order, 2, STREAM_NONE, 0), ERR_VERSION_CONFLICT);
    cr_assert_str_eq(order.command.refusal.expected, "none");
    cr_assert_str_eq(order.command.refusal.actual, "0");
    site_free(site);
}

Test(sequencer, exists_is_met_by_a_stream_with_events_only)
{
    struct site *site = site_alone();
    struct order order;
    cr_assert_eq(expecting(site, &order, 1, STREAM_EXISTS, 0), ERR_VERSION_CONFLICT);
    cr_assert_str_eq(order.command.refusal.expected, "exists");
    cr_assert_str_eq(order.command.refusal.actual, "none");
    cr_assert_eq(expecting(site, &order, 2, STREAM_ANY, 0), 0);
    cr_assert_eq(expecting(site, &order, 3, STREAM_EXISTS, 0), 0);
    site_free(site);
}

Test(sequencer, an_exact_version_is_met_by_that_version_only)
{
    struct site *site = site_alone();
    struct order order;
    cr_assert_eq(expecting(site, &order, 1, STREAM_AT, 0), ERR_VERSION_CONFLICT);
    cr_assert_eq(expecting(site, &order, 2, STREAM_ANY, 0), 0);
    cr_assert_eq(expecting(site, &order, 3, STREAM_AT, 0), 0);
    cr_assert_eq(order.results[0].stream_version, 1);
    cr_assert_eq(expecting(site, &order, 4, STREAM_AT, 0), ERR_VERSION_CONFLICT);
    cr_assert_str_eq(order.command.refusal.expected, "0");
    cr_assert_str_eq(order.command.refusal.actual, "1");
    expect_said(&order, "read the stream again");
    site_free(site);
}

Test(sequencer, a_version_is_judged_by_what_is_accepted_and_not_by_what_is_durable)
{
    struct site *site = site_alone();
    struct order first;
    struct order second;
    order_one(&first, "s", 1, "1");
    order_init(&second);
    order_write(&second, "s", STREAM_NONE, 0);
    order_event(&second, 2, "1");
    site_submit(site, &first);
    site_submit(site, &second);
    expect_refused(&second, ERR_VERSION_CONFLICT);
    site_free(site);
}

Test(sequencer, a_version_is_found_in_the_index_when_memory_has_let_go_of_it)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    site_append(site, "s", 2);
    site_indexed(site, 0);
    site_tick(site, 2 * OVERLAY_GRACE_US);
    cr_assert_eq(site->region->overlay.count, 0);
    cr_assert_eq(expecting(site, &order, 3, STREAM_AT, 1), 0);
    cr_assert_eq(order.results[0].stream_version, 2);
    site_free(site);
}

/* --- Batches --- */

Test(sequencer, a_batch_over_several_streams_is_one_block)
{
    struct site *site = site_alone();
    struct order order;
    order_init(&order);
    order_write(&order, "a", STREAM_NONE, 0);
    order_event(&order, 1, "1");
    order_event(&order, 2, "2");
    order_write(&order, "b", STREAM_NONE, 0);
    order_event(&order, 3, "3");
    site_submit(site, &order);
    cr_assert_eq(site_effect(site, REGION_WRITE)->block->entry_count, 3);
    site_written(site, 0);
    cr_assert_eq(order.results[1].stream_version, 1);
    cr_assert_eq(order.results[2].index, 2);
    cr_assert_eq(order.results[2].stream_version, 0);
    cr_assert_eq(order.command.ticket, 3);
    site_free(site);
}

/* A batch whose last write is refused, after two that would have been accepted. */
static void refused_batch(struct order *order)
{
    order_init(order);
    order_write(order, "a", STREAM_ANY, 0);
    order_event(order, 11, "1");
    order_event(order, 12, "2");
    order_write(order, "b", STREAM_NONE, 0);
    order_event(order, 13, "3");
    order_write(order, "c", STREAM_EXISTS, 0);
    order_event(order, 14, "4");
}

Test(sequencer, a_refused_batch_names_its_write)
{
    struct site *site = site_alone();
    struct order order;
    refused_batch(&order);
    site_submit(site, &order);
    expect_refused(&order, ERR_VERSION_CONFLICT);
    cr_assert_eq(order.command.refusal.write_number, 2);
    cr_assert_eq(site_count(site, REGION_WRITE), 0);
    site_free(site);
}

Test(sequencer, a_refused_batch_leaves_chain_block_and_memory_as_they_were)
{
    struct site *site = site_alone();
    struct order before;
    struct order order;
    site_append(site, "a", 1);
    order_one(&before, "a", 2, "1");
    site_submit(site, &before);
    struct chain chain = region_own(site->region)->mirror.chain;
    hlc last_time = site->region->last_time;
    size_t count = site->region->overlay.count;
    refused_batch(&order);
    site_submit(site, &order);
    expect_refused(&order, ERR_VERSION_CONFLICT);
    cr_assert_arr_eq(&chain, &region_own(site->region)->mirror.chain, sizeof(chain));
    cr_assert_eq(site->region->last_time, last_time);
    cr_assert_eq(site->region->overlay.count, count);
    cr_assert_eq(site->region->open_block->entry_count, 0);
    uint8_t id[ENTRY_ID_SIZE];
    for (uint64_t i = 11; i <= 14; i++) {
        event_id_of(i, id);
        cr_assert_null(overlay_id(&site->region->overlay, id));
    }
    site_free(site);
}

Test(sequencer, a_refused_batch_gives_heads_back)
{
    struct site *site = site_alone();
    struct order order;
    struct order after;
    site_append(site, "a", 1);
    refused_batch(&order);
    site_submit(site, &order);
    cr_assert_eq(overlay_head(&site->region->overlay, BYTES_LITERAL("bank"), BYTES_LITERAL("a"))->stream_version, 0);
    cr_assert_null(overlay_head(&site->region->overlay, BYTES_LITERAL("bank"), BYTES_LITERAL("b")));
    order_init(&after);
    order_write(&after, "a", STREAM_AT, 0);
    order_event(&after, 11, "other content: the id was never used");
    order_write(&after, "b", STREAM_NONE, 0);
    order_event(&after, 13, "3");
    site_submit(site, &after);
    site_written_all(site, 0);
    cr_assert_eq(after.command.refusal.code, 0, "%s", after.command.refusal.err.message);
    cr_assert_eq(after.results[0].stream_version, 1);
    site_free(site);
}

Test(sequencer, a_batch_refused_between_two_others_leaves_a_chain_that_fits)
{
    struct site *site = site_alone();
    struct order order;
    struct order behind;
    site_append(site, "a", 1);
    order_one(&behind, "a", 2, "1");
    site_submit(site, &behind);
    refused_batch(&order);
    site_submit(site, &order);
    order_one(&order, "a", 3, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    struct chain chain;
    chain_init(&chain, site->sha, BYTES_LITERAL("demo/eu/1"));
    for (size_t i = 0; i < site->logs[0].block_count; i++) {
        const struct block *block = site->logs[0].blocks[i];
        cr_assert_eq(
            chain_check_block(&chain, site->sha, block_body(block), block->entry_count, NULL, NULL, NULL, NULL), 0);
    }
    cr_assert_eq(chain.range.size, 3);
    site_free(site);
}

/* --- Idempotency --- */

Test(sequencer, the_same_id_with_other_content_is_refused)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    order_one(&order, "s", 1, "another payload");
    site_submit(site, &order);
    expect_refused(&order, ERR_ID_REUSED);
    uint8_t id[ENTRY_ID_SIZE];
    event_id_of(1, id);
    cr_assert_arr_eq(order.command.refusal.event_id, id, ENTRY_ID_SIZE);
    expect_said(&order, "give the new event an id of its own");
    site_free(site);
}

Test(sequencer, every_part_of_the_content_counts)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    for (int part = 0; part < 6; part++) {
        order_one(&order, "s", 1, "1");
        struct region_new_event *event = &order.events[0][0];
        if (part == 0)
            event->type = BYTES_LITERAL("Withdrawn");
        else if (part == 1)
            event->content_type = BYTES_LITERAL("text/plain");
        else if (part == 2)
            event->metadata = BYTES_LITERAL("m");
        else if (part == 3)
            event->causation_id = BYTES_LITERAL("0123456789abcdef");
        else if (part == 4)
            order.writes[0].stream = BYTES_LITERAL("t");
        else
            order.writes[0].partition = BYTES_LITERAL("south");
        site_submit(site, &order);
        expect_refused(&order, ERR_ID_REUSED);
    }
    site_free(site);
}

Test(sequencer, a_salt_is_no_content)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    order_one(&order, "s", 1, "1");
    memset(order.events[0][0].salt, 0x77, ENTRY_SALT_SIZE);
    site_submit(site, &order);
    cr_assert_eq(order.command.refusal.code, 0);
    cr_assert(order.results[0].duplicate);
    site_free(site);
}

Test(sequencer, a_repetition_is_found_in_the_index)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    site_append(site, "s", 2);
    site_indexed(site, 0);
    site_tick(site, 2 * OVERLAY_GRACE_US);
    cr_assert_eq(site->region->overlay.count, 0);
    order_one(&order, "s", 2, "1");
    site_submit(site, &order);
    cr_assert_eq(order.answers, 1);
    cr_assert(order.results[0].duplicate);
    cr_assert_eq(order.results[0].index, 1);
    cr_assert_eq(order.results[0].stream_version, 1);
    order_one(&order, "s", 2, "other");
    site_submit(site, &order);
    expect_refused(&order, ERR_ID_REUSED);
    site_free(site);
}

Test(sequencer, a_repetition_is_found_after_a_restart)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    site = site_restart(site);
    site_tick(site, 0);
    order_one(&order, "s", 1, "1");
    site_submit(site, &order);
    cr_assert(order.results[0].duplicate);
    site_free(site);
}

Test(sequencer, look_ups_that_became_stale_are_made_again)
{
    struct site *site = site_alone();
    struct order repeated;
    struct order expecting_none;
    order_one(&repeated, "s", 1, "1");
    site_prepare(site, &repeated); /* knows nothing of id 1 … */
    order_init(&expecting_none);
    order_write(&expecting_none, "s", STREAM_NONE, 0);
    order_event(&expecting_none, 2, "1");
    site_prepare(site, &expecting_none); /* … nor of stream s */
    site_append(site, "s", 1);
    site_indexed(site, 0);
    site_tick(site, 2 * OVERLAY_GRACE_US);
    cr_assert_eq(site->region->overlay.count, 0);
    site_decide(site, &repeated);
    cr_assert(repeated.results[0].duplicate);
    cr_assert_eq(site->logs[0].block_count, 1, "the event was not written again");
    site_decide(site, &expecting_none);
    expect_refused(&expecting_none, ERR_VERSION_CONFLICT);
    site_free(site);
}

Test(sequencer, a_repetition_does_not_have_its_expectation_judged_again)
{
    struct site *site = site_alone();
    struct order order;
    cr_assert_eq(expecting(site, &order, 1, STREAM_NONE, 0), 0);
    cr_assert_eq(expecting(site, &order, 1, STREAM_NONE, 0), 0);
    cr_assert(order.results[0].duplicate);
    site_free(site);
}

Test(sequencer, a_write_that_repeats_in_part_needs_no_expectation)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    order_init(&order);
    order_write(&order, "s", STREAM_AT, 0);
    order_event(&order, 1, "1");
    order_event(&order, 2, "1");
    site_submit(site, &order);
    expect_refused(&order, ERR_VERSION_CONFLICT);
    expect_said(&order, "repeated as a whole");
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0);
    order_event(&order, 1, "1");
    order_event(&order, 2, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.command.refusal.code, 0);
    cr_assert(order.results[0].duplicate);
    cr_assert_not(order.results[1].duplicate);
    cr_assert_eq(order.results[1].stream_version, 1);
    site_free(site);
}

/* A mirror of us at eu with one event of context "shop". */
static struct site *site_with_foreign_event(struct site **ret_us)
{
    struct site *eu = site_accepting("us");
    struct site *us = site_new("us", "eu");
    struct order order;
    site_tick(us, 0);
    site_meet(us, eu);
    order_one(&order, "cart", 7, "1");
    order.writes[0].context = BYTES_LITERAL("shop");
    site_submit(us, &order);
    site_written_all(us, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    site_meet(eu, us);
    site_send_blocks(eu, us, "us");
    *ret_us = us;
    return eu;
}

Test(sequencer, an_id_in_another_regions_log_is_a_repetition_that_says_where)
{
    struct site *us = NULL;
    struct site *eu = site_with_foreign_event(&us);
    struct order order;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    for (int indexed = 0; indexed < 2; indexed++) {
        order_one(&order, "cart", 7, "1");
        order.writes[0].context = BYTES_LITERAL("shop");
        site_submit(eu, &order);
        cr_assert_eq(order.answers, 1);
        cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
        cr_assert(order.results[0].duplicate);
        cr_assert_eq(index_origin(eu->index, order.results[0].place.log, origin, NULL), 0);
        cr_assert_str_eq(origin, "demo/us/1");
        if (indexed == 0) {
            uint32_t log = site_log_number(eu, "us");
            site_written_all(eu, log);
            site_indexed(eu, log);
            site_tick(eu, 2 * OVERLAY_GRACE_US);
            cr_assert_eq(eu->region->overlay.count, 0);
        }
    }
    site_free(us);
    site_free(eu);
}

Test(sequencer, an_id_of_another_regions_log_with_other_content_is_refused)
{
    struct site *us = NULL;
    struct site *eu = site_with_foreign_event(&us);
    struct order order;
    order_one(&order, "account", 7, "1");
    site_submit(eu, &order);
    expect_refused(&order, ERR_ID_REUSED);
    site_free(us);
    site_free(eu);
}

/* --- Homes --- */

Test(sequencer, a_partition_of_another_home_is_refused_with_its_address)
{
    struct site *site = site_accepting("us ap");
    struct order order;
    order_one(&order, "s", 1, "1");
    order.writes[0].partition = BYTES_LITERAL("west");
    site_submit(site, &order);
    expect_refused(&order, ERR_WRONG_HOME);
    cr_assert_str_eq(order.command.refusal.home_region, "us");
    cr_assert_str_eq(order.command.refusal.home_address, "us.example:7001");
    expect_said(&order, "us.example:7001");
    site_free(site);
}

Test(sequencer, a_home_that_is_no_peer_is_named_without_an_address)
{
    struct site *site = site_alone();
    struct order order;
    order_one(&order, "s", 1, "1");
    order.writes[0].context = BYTES_LITERAL("shop");
    site_submit(site, &order);
    expect_refused(&order, ERR_WRONG_HOME);
    cr_assert_str_eq(order.command.refusal.home_address, "");
    expect_said(&order, "does not know");
    site_free(site);
}

Test(sequencer, a_context_that_does_not_exist_is_refused)
{
    struct site *site = site_alone();
    struct order order;
    order_one(&order, "s", 1, "1");
    order.writes[0].context = BYTES_LITERAL("nowhere");
    site_submit(site, &order);
    expect_refused(&order, ERR_NOT_FOUND);
    site_free(site);
}

/* --- Limits --- */

Test(sequencer, too_many_pending_batches_are_refused_and_may_be_retried)
{
    struct site *site = site_alone();
    struct order *orders = mem_alloc_zero(REGION_COMMANDS_PENDING_MAX + 1, sizeof(*orders));
    cr_assert_not_null(orders);
    for (size_t i = 0; i <= REGION_COMMANDS_PENDING_MAX; i++) {
        order_one(&orders[i], "s", i + 1, "1");
        site_submit(site, &orders[i]);
    }
    struct order *refused = &orders[REGION_COMMANDS_PENDING_MAX];
    expect_refused(refused, ERR_BUSY);
    expect_said(refused, "retry");
    site_written_all(site, 0);
    order_one(refused, "s", REGION_COMMANDS_PENDING_MAX + 1, "1");
    site_submit(site, refused);
    site_written_all(site, 0);
    cr_assert_eq(refused->command.refusal.code, 0);
    cr_assert_eq(site->logs[0].durable_size, REGION_COMMANDS_PENDING_MAX + 1);
    mem_free(orders);
    site_free(site);
}

/* Four payloads of 1 MiB less a little: one such order fills more than half a block. */
static void large_order(struct order *order, uint64_t id)
{
    static uint8_t payload[ENTRY_PAYLOAD_MAX_BYTES];
    order_init(order);
    order_write(order, "large", STREAM_ANY, 0);
    for (uint64_t i = 0; i < 4; i++)
        order_event(order, 4 * id + i + 1, "")->payload = bytes_of(payload, sizeof(payload));
}

Test(sequencer, full_blocks_wait_up_to_a_limit_and_then_go_out_in_order)
{
    enum { FITTING = 1 + REGION_READY_BLOCKS_MAX + 1 }; /* in flight, ready, open */
    struct site *site = site_alone();
    struct order orders[FITTING + 1];
    for (size_t i = 0; i <= FITTING; i++) {
        large_order(&orders[i], i);
        site_submit(site, &orders[i]);
        cr_assert_eq(orders[i].answers, i == FITTING ? 1 : 0);
    }
    expect_refused(&orders[FITTING], ERR_BUSY);
    for (size_t i = 0; i < FITTING; i++) {
        site_written(site, 0);
        cr_assert_eq(orders[i].answers, 1);
        cr_assert_eq(site_count(site, REGION_ANSWER), 1);
    }
    cr_assert_eq(site->logs[0].durable_size, 4 * FITTING);
    site_free(site);
}

Test(sequencer, a_request_that_no_block_can_hold_is_refused)
{
    struct site *site = site_alone();
    struct order order;
    static uint8_t payload[3 * 1024 * 1024]; /* over the limit of region_command_check, which is not asked here */
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0);
    for (uint64_t i = 1; i <= 3; i++)
        order_event(&order, i, "")->payload = bytes_of(payload, sizeof(payload));
    site_decide(site, &order);
    expect_refused(&order, ERR_TOO_LARGE);
    expect_said(&order, "split it");
    site_free(site);
}

Test(sequencer, an_index_that_is_far_behind_stops_appends_and_leaves_nothing_half_done)
{
    struct site *site = site_alone();
    struct order order;
    struct overlay *overlay = &site->region->overlay;
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0);
    order_event(&order, 1, "1");
    order_event(&order, 2, "1");
    overlay->count = REGION_UNINDEXED_MAX - 1; /* as if so many waited for the index */
    site_submit(site, &order);
    expect_refused(&order, ERR_BUSY);
    expect_said(&order, "retry");
    cr_assert_eq(overlay->count, REGION_UNINDEXED_MAX - 1);
    overlay->count = 0;
    order_one(&order, "s", 1, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.results[0].index, 0);
    site_free(site);
}

Test(sequencer, nothing_is_accepted_while_it_waits_for_peers)
{
    struct site *site = site_new("eu", "us");
    struct order order;
    site_tick(site, 0);
    order_one(&order, "s", 1, "1");
    site_submit(site, &order);
    expect_refused(&order, ERR_UNAVAILABLE);
    expect_said(&order, "us");
    site_free(site);
}

/* --- Memory --- */

Test(sequencer, every_failing_allocation_refuses_the_batch_and_leaves_nothing_half_done)
{
    struct site *site = site_alone();
    struct order order;
    uint64_t at = 0;
    int code = ERR_NO_MEMORY;
    while (code != 0) {
        refused_batch(&order);                    /* would be refused at its end anyway … */
        order.writes[2].expectation = STREAM_ANY; /* … but for this */
        site_prepare(site, &order);
        region_update_free(&site->update);
        code = site_step_failing(site, (struct region_event){.type = REGION_COMMAND, .command = &order.command}, ++at);
        if (code == 0)
            code = order.command.refusal.code;
        cr_assert(code == 0 || code == ERR_NO_MEMORY, "%s", order.command.refusal.err.message);
        cr_assert_eq(site->region->overlay.count, code == 0 ? 4 : 0);
        cr_assert_eq(mirror_size(&region_own(site->region)->mirror), code == 0 ? 4 : 0);
    }
    cr_assert_gt(at, 5);
    site_written_all(site, 0);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.results[3].index, 3);
    site_free(site);
}

Test(sequencer, the_end_of_a_write_needs_no_memory_to_let_answers_go)
{
    struct site *site = site_alone();
    struct order orders[3];
    for (size_t i = 0; i < 3; i++) {
        order_one(&orders[i], "s", i + 1, "1");
        site_submit(site, &orders[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        struct site_log *disk = &site->logs[0];
        const struct block *block = disk->blocks[disk->durable_count++];
        disk->durable_size = block->first_index + block->entry_count;
        cr_assert_eq(
            site_step_failing(site, (struct region_event){.type = REGION_WRITTEN, .size = disk->durable_size}, 1), 0);
    }
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(orders[i].answers, 1);
    site_free(site);
}
