/* Appends that are answered when peers have stored them. */
#include <criterion/criterion.h>
#include <string.h>

#include "unit/region/fixture.h"

static const struct promises one_refuse = {.durability = {.peers = 1}};
static const struct promises two_refuse = {.durability = {.peers = 2}};
static const struct promises two_degrade = {.durability = {.peers = 2, .when_away = AWAY_DEGRADE}};

static void acknowledge(struct site *site, const char *peer, uint64_t size)
{
    site_step(site, (struct region_event){.type = REGION_ACKNOWLEDGED, .peer = site_peer(site, peer), .size = size});
}

static void expect_waiting(const struct order *order)
{
    cr_assert_eq(order->answers, 0, "it was answered");
}

static void expect_answered(const struct order *order, int code)
{
    cr_assert_eq(order->answers, 1, "it was not answered");
    cr_assert_eq(order->command.refusal.code, code, "%s", order->command.refusal.err.message);
}

/* One event, durable at home. */
static void submit_durable(struct site *site, struct order *order, uint64_t id)
{
    order_one(order, "s", id, "1");
    order->command.number = id;
    site_submit(site, order);
    site_written_all(site, 0);
}

Test(durability, an_append_is_answered_when_a_peer_has_stored_it)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order order;
    submit_durable(site, &order, 1);
    expect_waiting(&order);
    acknowledge(site, "us", 1);
    expect_answered(&order, 0);
    cr_assert_eq(order.command.copies, 1);
    cr_assert_not(order.command.degraded);
    site_free(site);
}

Test(durability, a_copy_alone_is_not_enough)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order order;
    order_one(&order, "s", 1, "1");
    site_submit(site, &order);
    acknowledge(site, "us", 1); /* the peer may see it before the region hears of its own disk */
    expect_waiting(&order);
    site_written(site, 0);
    expect_answered(&order, 0);
    site_free(site);
}

Test(durability, two_copies_are_two_peers)
{
    struct site *site = site_promising("us ap", &two_refuse);
    struct order order;
    submit_durable(site, &order, 1);
    acknowledge(site, "us", 1);
    acknowledge(site, "us", 1);
    expect_waiting(&order);
    acknowledge(site, "ap", 1);
    expect_answered(&order, 0);
    site_free(site);
}

Test(durability, what_a_hello_tells_counts_as_stored)
{
    struct site *site = site_promising("us", &one_refuse);
    struct region_held held = {.origin = "demo/eu/1", .size = 1};
    struct order order;
    submit_durable(site, &order, 1);
    site_hello(site, "us", &held, 1);
    expect_answered(&order, 0);
    site_free(site);
}

Test(durability, a_context_without_copies_does_not_wait_behind_one_that_does)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order waits;
    struct order local;
    submit_durable(site, &waits, 1);
    order_one(&local, "t", 2, "1");
    local.writes[0].context = BYTES_LITERAL("till");
    site_submit(site, &local);
    site_written_all(site, 0);
    expect_answered(&local, 0);
    expect_waiting(&waits);
    acknowledge(site, "us", 1);
    expect_answered(&waits, 0);
    site_free(site);
}

Test(durability, answers_come_in_the_order_of_their_tickets)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order first;
    struct order second;
    submit_durable(site, &first, 1);
    submit_durable(site, &second, 2);
    acknowledge(site, "us", 1);
    expect_answered(&first, 0);
    expect_waiting(&second);
    acknowledge(site, "us", 2);
    expect_answered(&second, 0);
    site_free(site);
}

Test(durability, a_repetition_waits_for_the_copies_of_the_original)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order order;
    struct order again;
    submit_durable(site, &order, 1);
    order_one(&again, "s", 1, "1");
    site_submit(site, &again);
    expect_waiting(&again);
    acknowledge(site, "us", 1);
    expect_answered(&order, 0);
    expect_answered(&again, 0);
    cr_assert(again.results[0].duplicate);
    site_free(site);
}

Test(durability, an_earlier_log_of_this_region_s_own_is_no_copy)
{
    struct site *site = site_promising("us", &one_refuse);
    const struct region_held held = {.origin = "demo/eu/1", .size = 1};
    struct order order;
    struct order again;
    submit_durable(site, &order, 1);
    expect_waiting(&order);
    site = site_next_life(site, true);
    site_tick(site, 0);
    site_hello(site, "us", NULL, 0);
    cr_assert(region_accepting(site->region));
    order_one(&again, "s", 1, "1");
    site_submit(site, &again);
    expect_answered(&again, ERR_UNAVAILABLE);
    site_hello(site, "us", &held, 1);
    order_one(&again, "s", 1, "1");
    site_submit(site, &again);
    expect_answered(&again, 0);
    cr_assert(again.results[0].duplicate);
    site_free(site);
}

Test(durability, with_the_peers_away_nothing_is_accepted)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order order;
    site_peer_down(site, "us");
    cr_assert_eq(site_count(site, REGION_ALARM), 1, "it says so, once");
    order_one(&order, "s", 1, "1");
    site_submit(site, &order);
    expect_answered(&order, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "1 peers have stored it, and 0 of"));
    cr_assert_eq(site_count(site, REGION_WRITE), 0);
    cr_assert_eq(site_count(site, REGION_ALARM), 0);
    site_free(site);
}

Test(durability, degraded_it_is_answered_on_the_copies_that_can_be_made_and_says_so)
{
    struct site *site = site_promising("us ap", &two_degrade);
    struct region_context_status status;
    struct order order;
    site_peer_down(site, "ap");
    submit_durable(site, &order, 1);
    expect_waiting(&order);
    acknowledge(site, "us", 1);
    expect_answered(&order, 0);
    cr_assert(order.command.degraded);
    cr_assert_eq(order.command.copies, 1);
    region_context_status(site->region, 0, &status);
    cr_assert(status.away);
    cr_assert_eq(status.degraded_count, 1);
    site_free(site);
}

Test(durability, peers_that_go_away_after_the_acceptance_are_waited_for)
{
    struct site *site = site_promising("us ap", &two_degrade);
    struct order order;
    submit_durable(site, &order, 1);
    acknowledge(site, "us", 1);
    site_peer_down(site, "ap");
    site_tick(site, 3600ull * 1000 * 1000);
    expect_waiting(&order);
    site_hello(site, "ap", &(struct region_held){.origin = "demo/eu/1", .size = 1}, 1);
    expect_answered(&order, 0);
    cr_assert_not(order.command.degraded);
    site_free(site);
}

Test(durability, a_caller_that_is_gone_gets_its_command_back_and_the_entry_stays)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order orders[3];
    struct order again;
    for (uint64_t i = 0; i < 3; i++)
        submit_durable(site, &orders[i], i + 1);
    site_step(site, (struct region_event){.type = REGION_GIVE_UP, .number = 3});
    expect_answered(&orders[2], ERR_TIMEOUT);
    site_step(site, (struct region_event){.type = REGION_GIVE_UP, .number = 2});
    expect_answered(&orders[1], ERR_TIMEOUT);
    site_step(site, (struct region_event){.type = REGION_GIVE_UP, .number = 2});
    expect_waiting(&orders[0]);
    order_one(&again, "s", 3, "1");
    site_submit(site, &again);
    acknowledge(site, "us", 3);
    expect_answered(&orders[0], 0);
    expect_answered(&again, 0);
    cr_assert(again.results[0].duplicate);
    site_free(site);
}

Test(durability, commands_that_wait_for_copies_are_bounded)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order *orders = calloc(REGION_COMMANDS_PENDING_MAX + 1, sizeof(*orders));
    for (uint64_t i = 0; i <= REGION_COMMANDS_PENDING_MAX; i++) {
        order_one(&orders[i], "s", i + 1, "1");
        site_submit(site, &orders[i]);
    }
    expect_answered(&orders[REGION_COMMANDS_PENDING_MAX], ERR_BUSY);
    site_written_all(site, 0);
    acknowledge(site, "us", REGION_COMMANDS_PENDING_MAX);
    for (uint64_t i = 0; i < REGION_COMMANDS_PENDING_MAX; i++)
        expect_answered(&orders[i], 0);
    free(orders);
    site_free(site);
}

Test(durability, more_than_was_written_does_not_count_as_stored)
{
    struct site *site = site_promising("us", &one_refuse);
    struct order order;
    submit_durable(site, &order, 1);
    acknowledge(site, "us", 2);
    expect_waiting(&order);
    site_free(site);
}

/* us seizes the partitions of context "bank" from eu, which it has not heard of for long, with ap as its witness. */
static void seize_away(struct site *us)
{
    struct region_control seize = {.type = REGION_FAILOVER,
                                   .region = "eu",
                                   .context = BYTES_LITERAL("bank"),
                                   .actor = BYTES_LITERAL("op"),
                                   .reason = BYTES_LITERAL("drill"),
                                   .forced = true};
    struct order seizure = {.command = {.control = &seize}};
    site_tick(us, 0);
    site_hello(us, "eu", NULL, 0);
    site_hello(us, "ap", NULL, 0);
    site_peer_down(us, "eu");
    site_decide(us, &seizure);
    site_written_all(us, 0);
    expect_answered(&seizure, 0);
}

/* us was away, seized the partition, and stores what eu accepted meanwhile. */
Test(durability, a_copy_at_a_region_that_has_seized_the_partition_does_not_acknowledge_what_is_late)
{
    struct site *eu = site_promising("us ap", &two_refuse);
    struct site *us = site_new_promising("us", "eu ap", &two_refuse);
    struct order order;
    struct order again;
    submit_durable(eu, &order, 1);
    order_one(&again, "s", 1, "1");
    site_submit(eu, &again);
    site_peer_down(eu, "us");
    seize_away(us);

    acknowledge(eu, "ap", 1);
    site_meet(eu, us);
    acknowledge(eu, "us", 1);
    expect_waiting(&order);
    site_send_blocks(eu, us, "us");
    site_written_all(eu, site_log_number(eu, "us"));
    expect_answered(&order, ERR_WRONG_HOME);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "it is late"));
    expect_answered(&again, ERR_WRONG_HOME);
    cr_expect(again.results[0].duplicate, "it was found to be a repetition before anybody knew better");
    site_free(eu);
    site_free(us);
}

/* The index of eu has applied the event, and not the seizure, which eu obeys since it is durable. */
Test(durability, a_repetition_of_what_is_late_is_no_answer_while_the_index_does_not_show_that)
{
    static const struct promises local = {.durability = {.peers = 0}};
    struct site *eu = site_promising("us ap", &local);
    struct site *us = site_new_promising("us", "eu ap", &local);
    struct order order;
    struct order again;
    submit_durable(eu, &order, 1);
    expect_answered(&order, 0);
    site_indexed(eu, 0);
    site_peer_down(eu, "us");
    seize_away(us);
    site_meet(eu, us);
    site_send_blocks(eu, us, "us");
    order_one(&again, "s", 1, "1");
    site_submit(eu, &again);
    expect_answered(&again, 0);
    site_written_all(eu, site_log_number(eu, "us"));
    order_one(&again, "s", 1, "1");
    site_submit(eu, &again);
    expect_answered(&again, ERR_WRONG_HOME);
    cr_assert_not_null(strstr(again.command.refusal.err.message, "it is late"));
    site_free(eu);
    site_free(us);
}

/* us, the home of "west", accepted it; ap had nothing of that when it seized "west", and eu hears of both. */
Test(durability, nor_is_one_of_what_is_late_in_another_region_s_log)
{
    struct site *us = site_new("us", "eu ap");
    struct site *ap = site_new("ap", "eu us");
    struct site *eu = site_accepting("us ap");
    struct bytes west = BYTES_LITERAL("west");
    struct region_control seize = {.type = REGION_FAILOVER,
                                   .region = "us",
                                   .context = BYTES_LITERAL("bank"),
                                   .partition_count = 1,
                                   .partitions = &west,
                                   .actor = BYTES_LITERAL("op"),
                                   .reason = BYTES_LITERAL("drill"),
                                   .forced = true};
    struct order seizure = {.command = {.control = &seize}};
    struct order orders[3];
    for (size_t i = 0; i < 3; i++) {
        order_one(&orders[i], "w", 1, "1");
        orders[i].writes[0].partition = west;
    }
    site_tick(us, 0);
    site_hello(us, "eu", NULL, 0);
    site_hello(us, "ap", NULL, 0);
    site_submit(us, &orders[0]);
    site_written_all(us, 0);
    expect_answered(&orders[0], 0);
    site_meet(eu, us);
    site_send_blocks(eu, us, "us");
    site_written_all(eu, site_log_number(eu, "us"));
    site_indexed(eu, site_log_number(eu, "us"));
    site_tick(ap, 0);
    site_hello(ap, "eu", NULL, 0);
    site_hello(ap, "us", NULL, 0);
    site_peer_down(ap, "us");
    site_decide(ap, &seizure);
    site_written_all(ap, 0);
    expect_answered(&seizure, 0);

    site_submit(eu, &orders[1]);
    expect_answered(&orders[1], 0);
    site_meet(eu, ap);
    site_send_blocks(eu, ap, "ap");
    site_written_all(eu, site_log_number(eu, "ap"));
    site_submit(eu, &orders[2]);
    expect_answered(&orders[2], ERR_WRONG_HOME);
    cr_assert_not_null(strstr(orders[2].command.refusal.err.message, "log demo/us/1"), "%s",
                       orders[2].command.refusal.err.message);
    site_free(us);
    site_free(ap);
    site_free(eu);
}
