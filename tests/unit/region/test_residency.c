/* Regions that may not hold a context's payloads: what they store, from whom a log is pulled, whose copies count, and
 * who may become a home. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "region/region_internal.h"
#include "unit/region/fixture.h"

static const char *const in_us[] = {"us"};
static const char *const in_eu[] = {"eu"};
static const char *const in_us_and_eu[] = {"us", "eu"};
static const char *const in_eu_and_ap[] = {"eu", "ap"};

enum { BANK, SHOP };

static void keep_in(struct site *site, size_t context, const char *const *regions, size_t count)
{
    site->table[context].rules = (struct context_rules){.payload_region_count = count, .payload_regions = regions};
}

/* us, with events of context "shop" in its own log. */
static struct site *source(uint64_t events)
{
    struct site *us = site_new("us", "eu ap");
    site_tick(us, 0);
    site_hello(us, "eu", NULL, 0);
    site_hello(us, "ap", NULL, 0);
    for (uint64_t i = 1; i <= events; i++) {
        struct order order;
        order_one(&order, "cart", i, "a payload");
        order.writes[0].context = BYTES_LITERAL("shop");
        site_submit(us, &order);
        site_written_all(us, 0);
    }
    return us;
}

/* The block without its payloads. */
static struct block *withheld(const struct block *block)
{
    struct block *copy = NULL;
    struct bytes elements = block_body(block);
    cr_assert_eq(block_new(block->first_index, block->data + 24, &copy, NULL), 0);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        struct frame frame;
        struct entry entry;
        cr_assert_eq(frame_next_entry(&elements, &frame, &entry, NULL), 0);
        frame.has_payload = false;
        frame.payload = bytes_of(NULL, 0);
        cr_assert_eq(block_add(copy, &frame, NULL), 0);
    }
    block_seal(copy);
    return copy;
}

static void send_block(struct site *to, const char *peer, struct block *block)
{
    site_step(to, (struct region_event){.type = REGION_PULL_BLOCK,
                                        .peer = site_peer(to, peer),
                                        .log = site_log_number(to, "us"),
                                        .block = block});
}

static const char *detail_of(const struct site *site, const char *region)
{
    static struct region_log_status status;
    region_log_status(site->region, site_log_number(site, region), &status);
    return status.detail;
}

/* --- What is stored --- */

Test(residency, a_payload_that_may_not_be_here_is_refused_and_nothing_is_stored)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    keep_in(eu, SHOP, in_us, 1);
    site_meet(eu, us);
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_eq(site_count(eu, REGION_CLOSE_PULL), 1);
    cr_assert_not_null(strstr(site_effect(eu, REGION_ALARM)->text, "may not hold payloads of context \"shop\""), "%s",
                       site_effect(eu, REGION_ALARM)->text);
    cr_assert_not_null(strstr(detail_of(eu, "us"), "may not hold payloads"));
    cr_assert_eq(eu->region->overlay.count, 0, "nothing of it stays in memory");
    site_free(us);
    site_free(eu);
}

Test(residency, entries_without_the_payload_that_may_not_be_here_are_stored_and_acknowledged)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    struct block *block = withheld(us->logs[0].blocks[0]);
    keep_in(eu, SHOP, in_us, 1);
    site_meet(eu, us);
    send_block(eu, "us", block);
    cr_assert_eq(site_effect(eu, REGION_WRITE)->block, block);
    site_written(eu, site_log_number(eu, "us"));
    cr_assert_eq(site_effect(eu, REGION_SEND_ACK)->size, 1);
    block_release(block);
    site_free(us);
    site_free(eu);
}

Test(residency, an_entry_without_the_payload_that_belongs_here_is_refused)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    struct block *block = withheld(us->logs[0].blocks[0]);
    site_meet(eu, us);
    send_block(eu, "us", block);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_not_null(strstr(site_effect(eu, REGION_ALARM)->text, "this region is to hold it"));
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0, "the source is left alone for a while");
    block_release(block);
    site_free(us);
    site_free(eu);
}

Test(residency, entries_of_a_context_that_is_not_known_wait_until_it_is)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    eu->table[SHOP].name = "another";
    site_meet(eu, us);
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_eq(site_count(eu, REGION_CLOSE_PULL), 1);
    cr_assert_not_null(strstr(detail_of(eu, "us"), "does not know"), "%s", detail_of(eu, "us"));
    site_step(eu, (struct region_event){
                      .type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = site_log_number(eu, "us")});
    eu->table[SHOP].name = "shop";
    site_tick(eu, REGION_BACKOFF_FIRST_US);
    cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 1, "nobody is to blame: it is tried again after a pause");
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 1);
    cr_assert_str_empty(detail_of(eu, "us"));
    site_free(us);
    site_free(eu);
}

/* --- From whom --- */

Test(residency, a_relay_that_may_not_hold_what_belongs_here_is_no_source)
{
    struct site *us = source(2);
    struct site *eu = site_accepting("us ap sa");
    struct region_held held = {.origin = "demo/us/1", .size = 2};
    keep_in(eu, SHOP, in_us_and_eu, 2);
    site_peer_down(eu, "us");
    site_hello(eu, "ap", &held, 1);
    cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 0);
    cr_assert_not_null(strstr(site_effect(eu, REGION_ALARM)->text,
                              "region ap holds more of it, but not the payloads of "
                              "context shop"));
    cr_assert_not_null(strstr(detail_of(eu, "us"), "waits for a region that has them"));
    site_hello(eu, "ap", &held, 1);
    cr_assert_eq(site_count(eu, REGION_ALARM), 0, "once is enough");
    site_meet(eu, us);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "us"), "the owner has all of its own log");
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_str_empty(detail_of(eu, "us"));
    site_free(us);
    site_free(eu);
}

Test(residency, of_two_relays_the_one_that_may_hold_everything_is_the_source)
{
    static const char *const three[] = {"us", "eu", "sa"};
    struct site *eu = site_accepting("us ap sa");
    struct region_held more = {.origin = "demo/us/1", .size = 9};
    struct region_held less = {.origin = "demo/us/1", .size = 4};
    keep_in(eu, SHOP, three, 3);
    site_peer_down(eu, "us");
    site_hello(eu, "sa", &less, 1);
    site_hello(eu, "ap", &more, 1);
    uint32_t log = site_log_number(eu, "us");
    cr_assert_eq(eu->region->logs[log]->source, site_peer(eu, "sa"));
    site_free(eu);
}

Test(residency, a_region_that_holds_less_may_be_served_by_any)
{
    struct site *eu = site_accepting("us ap");
    struct region_held held = {.origin = "demo/us/1", .size = 2};
    keep_in(eu, SHOP, in_us, 1);
    site_peer_down(eu, "us");
    site_hello(eu, "ap", &held, 1);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "ap"));
    site_free(eu);
}

/* --- Whose copies count --- */

static const struct promises one_refuse = {.durability = {.peers = 1}};
static const struct promises one_degrade = {.durability = {.peers = 1, .when_away = AWAY_DEGRADE}};

static void acknowledge(struct site *site, const char *peer, uint64_t size)
{
    site_step(site, (struct region_event){.type = REGION_ACKNOWLEDGED, .peer = site_peer(site, peer), .size = size});
}

static void submit_durable(struct site *site, struct order *order, const char *context, uint64_t id)
{
    order_one(order, "s", id, "1");
    order->writes[0].context = bytes_of_string(context);
    order->writes[0].stream = bytes_of_string(context);
    order->command.number = id;
    site_submit(site, order);
    site_written_all(site, 0);
}

Test(residency, a_copy_without_payloads_is_no_copy)
{
    struct site *eu = site_promising("us ap", &one_refuse);
    struct order order;
    keep_in(eu, BANK, in_eu_and_ap, 2);
    submit_durable(eu, &order, "bank", 1);
    acknowledge(eu, "us", 1);
    cr_assert_eq(order.answers, 0);
    acknowledge(eu, "ap", 1);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.command.refusal.code, 0);
    cr_assert_eq(order.command.copies, 1);
    site_free(eu);
}

Test(residency, what_waits_for_some_peers_does_not_hold_up_what_waits_for_any)
{
    struct site *eu = site_promising("us ap", &one_refuse);
    struct order bank, till, again;
    eu->table[2].promises = one_refuse;
    keep_in(eu, BANK, in_eu_and_ap, 2);
    submit_durable(eu, &bank, "bank", 1);
    submit_durable(eu, &till, "till", 2);
    submit_durable(eu, &again, "bank", 3);
    acknowledge(eu, "us", 3);
    cr_assert_eq(till.answers, 1);
    cr_assert_eq(bank.answers, 0);
    acknowledge(eu, "ap", 1);
    cr_assert_eq(bank.answers, 1);
    cr_assert_eq(again.answers, 0);
    site_step(eu, (struct region_event){.type = REGION_GIVE_UP, .number = 3});
    cr_assert_eq(again.answers, 1);
    cr_assert_eq(again.command.refusal.code, ERR_TIMEOUT);
    site_free(eu);
}

Test(residency, peers_that_may_not_hold_payloads_do_not_count_as_present)
{
    struct site *eu = site_promising("us ap", &one_refuse);
    struct order order;
    keep_in(eu, BANK, in_eu_and_ap, 2);
    site_peer_down(eu, "ap");
    submit_durable(eu, &order, "bank", 1);
    cr_assert_eq(order.command.refusal.code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "0 of region eu's 2 peers may hold its payloads"),
                       "%s", order.command.refusal.err.message);
    site_free(eu);
    eu = site_promising("us ap", &one_degrade);
    keep_in(eu, BANK, in_eu_and_ap, 2);
    site_peer_down(eu, "ap");
    submit_durable(eu, &order, "bank", 1);
    cr_assert_eq(order.command.refusal.code, 0);
    cr_assert(order.command.degraded);
    site_free(eu);
}

/* --- Who is a home --- */

struct wish {
    struct order order; /* first: the fixture counts its answers */
    struct region_control control;
};

static int ask(struct site *site, struct wish *wish, enum region_control_type type, const char *region)
{
    static struct bytes partitions[1];
    order_init(&wish->order);
    partitions[0] = BYTES_LITERAL("north");
    wish->control = (struct region_control){.type = type,
                                            .context = BYTES_LITERAL("bank"),
                                            .partition_count = 1,
                                            .partitions = partitions,
                                            .actor = BYTES_LITERAL("test"),
                                            .reason = BYTES_LITERAL("a drill"),
                                            .forced = true};
    snprintf(wish->control.region, sizeof(wish->control.region), "%s", region);
    wish->order.command.control = &wish->control;
    site_decide(site, &wish->order);
    return wish->order.command.refusal.code;
}

Test(residency, a_home_does_not_hand_over_to_a_region_that_may_not_hold_payloads)
{
    struct site *eu = site_accepting("us ap");
    struct wish wish;
    keep_in(eu, BANK, in_eu_and_ap, 2);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us"), ERR_MISMATCH);
    cr_assert_not_null(strstr(wish.order.command.refusal.err.message, "payload_regions"));
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "ap"), 0);
    site_free(eu);
}

Test(residency, a_region_that_may_not_hold_payloads_does_not_seize_though_forced)
{
    struct site *us = source(0);
    struct wish wish;
    keep_in(us, BANK, in_eu_and_ap, 2);
    site_peer_down(us, "eu");
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "eu"), ERR_MISMATCH);
    cr_assert_not_null(strstr(wish.order.command.refusal.err.message, "cannot be forced"));
    cr_assert_eq(site_count(us, REGION_WRITE), 0);
    keep_in(us, BANK, in_us_and_eu, 2);
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "eu"), 0);
    site_free(us);
}

static struct region_check check_of(struct site *site, const char *name)
{
    struct region_failover_report *report = calloc(1, sizeof(*report));
    struct region_check found = {.name = NULL};
    cr_assert_not_null(report);
    cr_assert_eq(region_failover_report(site->region, BYTES_LITERAL("bank"), "eu", report, NULL), 0);
    for (size_t i = 0; i < report->check_count; i++) {
        if (strcmp(report->checks[i].name, name) == 0)
            found = report->checks[i];
    }
    free(report);
    cr_assert_not_null(found.name, "there is no check %s", name);
    return found;
}

Test(residency, the_evidence_says_who_may_and_what_cannot_come)
{
    struct site *us = source(0);
    struct region_held held = {.origin = "demo/eu/1", .size = 7};
    site_peer_down(us, "eu");
    cr_expect(check_of(us, "residency").ok);
    keep_in(us, BANK, in_eu_and_ap, 2);
    cr_expect_not(check_of(us, "residency").ok);
    keep_in(us, BANK, in_us_and_eu, 2);
    site_hello(us, "ap", &held, 1);
    cr_expect_not(check_of(us, "complete").ok);
    cr_expect_not_null(strstr(check_of(us, "complete").detail, "no payloads of context bank"), "%s",
                       check_of(us, "complete").detail);
    site_free(us);
}

Test(residency, only_copies_with_payloads_are_looked_at_for_what_was_promised)
{
    struct site *us = source(0);
    us->table[BANK].promises = one_refuse;
    site_peer_down(us, "eu");
    site_peer_down(us, "ap");
    cr_expect_not(check_of(us, "copies").ok, "ap may have the one copy");
    keep_in(us, BANK, in_us_and_eu, 2);
    cr_expect(check_of(us, "copies").ok, "nobody but us can have it");
    site_free(us);
}

Test(residency, what_was_released_to_a_region_that_may_not_is_not_taken)
{
    struct site *eu = site_accepting("us");
    struct site *us = site_new("us", "eu");
    struct wish wish;
    site_tick(us, 0);
    keep_in(us, BANK, in_eu, 1);
    site_hello(us, "eu", NULL, 0);
    cr_assert_eq(ask(eu, &wish, REGION_HANDOVER, "us"), 0, "eu breaks the rule");
    site_written_all(eu, 0);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    uint32_t log = site_log_number(us, "eu");
    site_written_all(us, log);
    cr_assert_not_null(strstr(site_effect(us, REGION_ALARM)->text, "does not take it"));
    site_indexed(us, log);
    cr_assert_eq(site_count(us, REGION_WRITE), 0);
    site_free(eu);
    site_free(us);
}

Test(residency, a_home_that_may_not_hold_payloads_accepts_nothing)
{
    struct site *eu = site_accepting("us");
    struct order order;
    site_append(eu, "s", 1);
    keep_in(eu, BANK, in_us, 1);
    order_one(&order, "s", 2, "{}");
    site_submit(eu, &order);
    cr_assert_eq(order.command.refusal.code, ERR_MISMATCH);
    site_free(eu);
}

/* --- Ids --- */

Test(residency, an_id_whose_content_is_not_held_is_neither_a_repetition_nor_free)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    struct block *block = withheld(us->logs[0].blocks[0]);
    struct order order;
    keep_in(eu, SHOP, in_us, 1);
    site_meet(eu, us);
    send_block(eu, "us", block);
    site_written(eu, site_log_number(eu, "us"));
    order_one(&order, "cart", 1, "a payload");
    order.writes[0].context = BYTES_LITERAL("shop");
    site_submit(eu, &order);
    cr_assert_eq(order.command.refusal.code, ERR_WRONG_HOME, "only the home can tell whether it says the same");
    order_one(&order, "s", 1, "another");
    site_submit(eu, &order);
    cr_assert_eq(order.command.refusal.code, ERR_ID_REUSED);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "not held here"));
    block_release(block);
    site_free(us);
    site_free(eu);
}
