/* Emergencies that us accepts for eu, the home of context "bank": its type Frozen may do that. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "unit/region/fixture.h"

static struct site *us_alone_with_eu_known(void)
{
    struct site *eu = site_accepting("us");
    struct site *us = site_new("us", "eu");
    site_tick(us, 0);
    site_meet(us, eu);
    site_free(eu);
    return us;
}

static void order_frozen(struct order *order, const char *stream, uint64_t id)
{
    order_one(order, stream, id, "1");
    order->events[0][0].type = BYTES_LITERAL("Frozen");
    order->command.elsewhere = REGION_ELSEWHERE_OVERRIDE;
    order->command.actor = BYTES_LITERAL("anna");
    order->command.reason = BYTES_LITERAL("stolen");
}

static int submit(struct site *site, struct order *order)
{
    site_submit(site, order);
    site_written_all(site, 0);
    cr_assert_eq(order->answers, 1);
    return order->command.refusal.code;
}

static uint64_t size_of(const struct site *site)
{
    return site->logs[0].durable_size;
}

Test(override, an_emergency_is_accepted_away_from_home_with_its_reason_before_it)
{
    struct site *us = us_alone_with_eu_known();
    struct order order;
    struct index_late late;
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(us, &order), 0, "%s", order.command.refusal.err.message);
    cr_expect(order.command.overridden);
    cr_expect_eq(order.command.ticket, 2);
    cr_expect_eq(order.results[0].index, 1);
    cr_expect_eq(order.results[0].stream_version, 0);
    cr_expect_eq(us->logs[0].blocks[0]->entry_count, 2, "both in one block");
    site_indexed(us, 0);
    cr_assert_eq(index_late_at(us->index, (struct index_place){.index = 1}, &late, NULL), 0);
    cr_expect(late.override);
    cr_expect_eq(late.state, INDEX_LATE_OPEN);
    site_free(us);
}

Test(override, the_same_event_again_is_where_it_is)
{
    struct site *us = us_alone_with_eu_known();
    struct order order;
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(us, &order), 0);
    for (int i = 0; i < 2; i++) { /* not indexed, then indexed */
        order_frozen(&order, "s", 1);
        cr_assert_eq(submit(us, &order), 0);
        cr_expect(order.command.overridden);
        cr_expect(order.results[0].duplicate);
        cr_expect_eq(order.results[0].place.index, 1);
        site_indexed(us, 0);
        site_tick(us, 1000 * 1000);
    }
    cr_expect_eq(size_of(us), 2);
    site_free(us);
}

/* ap has the block of us's log, and its index has applied nothing of it. */
Test(override, one_that_came_with_the_log_of_another_region_is_known_before_the_index_has_it)
{
    struct site *us = us_alone_with_eu_known();
    struct site *ap = site_new("ap", "eu us");
    struct order order;
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(us, &order), 0);
    site_tick(ap, 0);
    site_hello(ap, "eu", NULL, 0);
    site_meet(ap, us);
    site_send_blocks(ap, us, "us");
    site_written_all(ap, site_log_number(ap, "us"));
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(ap, &order), 0, "%s", order.command.refusal.err.message);
    cr_expect(order.results[0].duplicate);
    cr_expect_eq(order.results[0].index, 1);
    cr_expect_eq(size_of(ap), 0, "nothing was appended");
    site_free(ap);
    site_free(us);
}

Test(override, it_does_not_take_its_id_from_an_append_at_the_home)
{
    struct site *us = us_alone_with_eu_known();
    struct order order;
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(us, &order), 0);
    order_frozen(&order, "s", 1);
    order.command.elsewhere = REGION_ELSEWHERE_REFUSE;
    cr_expect_eq(submit(us, &order), ERR_WRONG_HOME, "it is not answered that it was appended");
    site_free(us);
}

Test(override, other_content_under_its_id_is_refused)
{
    struct site *us = us_alone_with_eu_known();
    struct order order;
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(us, &order), 0);
    order_frozen(&order, "other", 1);
    cr_expect_eq(submit(us, &order), ERR_ID_REUSED);
    cr_expect_eq(size_of(us), 2, "nothing of it stays");
    site_free(us);
}

Test(override, only_types_that_the_context_lets_are_accepted)
{
    struct site *us = us_alone_with_eu_known();
    struct order order;
    order_frozen(&order, "s", 1);
    order_event(&order, 2, "1"); /* Deposited */
    cr_expect_eq(submit(us, &order), ERR_PERMISSION);
    cr_expect_not(order.command.overridden);
    cr_expect_eq(size_of(us), 0);
    site_free(us);
}

Test(override, a_region_that_may_not_hold_its_payload_does_not_accept_it)
{
    static const char *const regions[] = {"eu"};
    struct site *us = us_alone_with_eu_known();
    struct order order;
    us->table[0].rules.payload_region_count = 1;
    us->table[0].rules.payload_regions = regions;
    order_frozen(&order, "s", 1);
    cr_expect_eq(submit(us, &order), ERR_PERMISSION);
    us->table[0].rules.payload_region_count = 0;
    site_free(us);
}

Test(override, it_needs_a_reason_and_one_partition_and_expects_nothing)
{
    struct site *us = us_alone_with_eu_known();
    struct order order;
    order_frozen(&order, "s", 1);
    order.command.reason = bytes_of(NULL, 0);
    cr_expect_eq(submit(us, &order), ERR_INVALID);
    order_frozen(&order, "s", 1);
    order.writes[0].expectation = STREAM_NONE;
    cr_expect_eq(submit(us, &order), ERR_INVALID);
    order_frozen(&order, "s", 1);
    order_write(&order, "t", STREAM_ANY, 0)->partition = BYTES_LITERAL("south");
    order_event(&order, 2, "1")->type = BYTES_LITERAL("Frozen");
    cr_expect_eq(submit(us, &order), ERR_INVALID);
    cr_expect_eq(size_of(us), 0);
    site_free(us);
}

/* Else both could stand in one block, which no peer could take: it knows the context once it has stored the block. */
Test(override, one_of_a_context_that_is_created_just_now_waits_until_the_index_shows_it)
{
    static const struct context_type types[] = {{.type = "Frozen", .override = true}};
    static const struct context cards = {.name = "cards", .default_home = "us", .types = types, .type_count = 1};
    struct site *eu = site_accepting("us");
    struct region_define define;
    struct order creation;
    struct order first;
    struct order order;
    order_one(&first, "s", 1, "1");
    site_submit(eu, &first);
    cr_assert_eq(site_count(eu, REGION_WRITE), 1, "what comes now gathers in the next block");
    site_create(eu, &creation, &define, &cards);
    order_frozen(&order, "s", 2);
    order.writes[0].context = BYTES_LITERAL("cards");
    cr_expect_eq(submit(eu, &order), ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(order.command.refusal.err.message, "was created just now"));
    cr_expect_eq(eu->logs[0].blocks[1]->entry_count, 1, "the creation alone");
    site_indexed(eu, 0);
    order_frozen(&order, "s", 2);
    order.writes[0].context = BYTES_LITERAL("cards");
    cr_expect_eq(submit(eu, &order), 0, "%s", order.command.refusal.err.message);
    site_free(eu);
}

Test(override, at_the_home_it_is_an_append)
{
    struct site *eu = site_accepting("us");
    struct order order;
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(eu, &order), 0);
    cr_expect_not(order.command.overridden);
    cr_expect_eq(size_of(eu), 1);
    site_free(eu);
}

Test(override, the_home_settles_it_by_appending_it_in_the_stream)
{
    struct site *eu = site_accepting("us");
    struct site *us = site_new("us", "eu");
    struct order order;
    struct index_event event;
    uint8_t id[ENTRY_ID_SIZE];
    site_tick(us, 0);
    site_meet(us, eu);
    order_frozen(&order, "s", 1);
    cr_assert_eq(submit(us, &order), 0);
    site_append(eu, "s", 9);
    site_tick(eu, 10 * 1000 * 1000);
    site_meet(eu, us);
    uint32_t mirror = site_log_number(eu, "us");
    site_send_blocks(eu, us, "us");
    site_written_all(eu, mirror);
    site_indexed(eu, mirror);
    struct region_settle_item item = {.origin = "demo/us/1", .index = 1};
    struct region_settle settle = {
        .settlement = SETTLED_ACCEPTED, .actor = BYTES_LITERAL("ben"), .item_count = 1, .items = &item};
    order_frozen(&order, "s", 1);
    order.command.elsewhere = REGION_ELSEWHERE_REFUSE;
    order.command.settle = &settle;
    cr_assert_eq(submit(eu, &order), 0, "%s", order.command.refusal.err.message);
    cr_expect_eq(settle.settled, 1);
    site_indexed(eu, 0);
    event_id_of(1, id);
    cr_assert_eq(index_event(eu->index, id, &event, NULL), 0);
    cr_expect_not(event.late);
    cr_expect_eq(event.stream_version, 1);
    site_free(eu);
    site_free(us);
}

Test(override, one_that_fails_for_memory_leaves_nothing)
{
    struct site *us = us_alone_with_eu_known();
    for (uint64_t fail_at = 1;; fail_at++) {
        struct order order;
        cr_assert_lt(fail_at, 100);
        order_frozen(&order, "s", 1);
        site_prepare(us, &order);
        int code =
            site_step_failing(us, (struct region_event){.type = REGION_COMMAND, .command = &order.command}, fail_at);
        site_written_all(us, 0);
        bool done = code == 0 && order.command.refusal.code == 0;
        cr_assert_eq(size_of(us), done ? 2 : 0, "failure %llu", (unsigned long long)fail_at);
        if (done)
            break;
        cr_assert_not(order.command.overridden);
    }
    site_free(us);
}
