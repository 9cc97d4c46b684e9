/* Failover from a region whose log waits for what nobody has, and from one that died before it took over. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "region/region_internal.h"
#include "unit/region/fixture.h"

struct wish {
    struct order order;
    struct region_control control;
    struct bytes partition;
};

static void fill(struct wish *wish, enum region_control_type type, const char *other, bool forced)
{
    memset(wish, 0, sizeof(*wish));
    order_init(&wish->order);
    wish->partition = BYTES_LITERAL("west");
    wish->control = (struct region_control){.type = type,
                                            .context = BYTES_LITERAL("bank"),
                                            .partition_count = 1,
                                            .partitions = &wish->partition,
                                            .actor = BYTES_LITERAL("test"),
                                            .reason = BYTES_LITERAL("a test"),
                                            .forced = forced};
    strcpy(wish->control.region, other);
    wish->order.command = (struct region_command){.control = &wish->control};
}

static int ask(struct site *site, struct wish *wish, enum region_control_type type, const char *other, bool forced)
{
    fill(wish, type, other, forced);
    site_decide(site, &wish->order);
    if (wish->order.answers == 0)
        site_written_all(site, 0);
    cr_assert_eq(wish->order.answers, 1);
    return wish->order.command.refusal.code;
}

static struct site *accepting(const char *region, const char *first, const char *second, const char *peers)
{
    struct site *site = site_new(region, peers);
    site_tick(site, 0);
    site_hello(site, first, NULL, 0);
    site_hello(site, second, NULL, 0);
    cr_assert(region_accepting(site->region));
    return site;
}

static void append_west(struct site *site, uint64_t id)
{
    struct order order;
    order_init(&order);
    order_write(&order, "w", STREAM_ANY, 0)->partition = BYTES_LITERAL("west");
    order_event(&order, id, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
}

static struct authority_now west(const struct site *site)
{
    struct authority_now now;
    cr_assert_eq(
        authority_now(region_authority(site->region), BYTES_LITERAL("bank"), BYTES_LITERAL("west"), &now, NULL), 0);
    return now;
}

static void copy_log(struct site *to, struct site *from, const char *region)
{
    site_meet(to, from);
    site_send_blocks(to, from, region);
    site_written_all(to, site_log_number(to, region));
    site_indexed(to, site_log_number(to, region));
}

/* us wrote to west; ap had that, seized west, and wrote to it; eu has ap's log, and nothing of us's. */
static struct site *eu_that_waits(void)
{
    struct wish wish;
    struct site *us = accepting("us", "eu", "ap", "eu ap");
    struct site *ap = accepting("ap", "eu", "us", "eu us");
    struct site *eu = accepting("eu", "us", "ap", "us ap");
    append_west(us, 1);
    append_west(us, 2);
    copy_log(ap, us, "us");
    site_peer_down(ap, "us");
    cr_assert_eq(ask(ap, &wish, REGION_FAILOVER, "us", false), 0, "%s", wish.order.command.refusal.err.message);
    site_indexed(ap, 0);
    append_west(ap, 3);
    copy_log(eu, ap, "ap");
    site_peer_down(eu, "us");
    site_peer_down(eu, "ap");
    cr_assert_str_eq(west(eu).region, "us", "ap's change waits");
    site_free(us);
    site_free(ap);
    return eu;
}

Test(control, a_log_that_waits_for_what_nobody_has_is_named_and_can_be_left_out_by_force)
{
    struct wish wish;
    struct site *eu = eu_that_waits();
    cr_assert_eq(ask(eu, &wish, REGION_FAILOVER, "us", false), ERR_UNAVAILABLE);
    struct region_failover_report *report = calloc(1, sizeof(*report));
    cr_assert_eq(region_failover_report(eu->region, BYTES_LITERAL("bank"), "ap", report, NULL), 0);
    for (size_t i = 0; i < report->check_count; i++) {
        if (strcmp(report->checks[i].name, "indexed") != 0)
            continue;
        cr_assert_not(report->checks[i].ok);
        cr_assert_not(report->checks[i].passes_by_itself, "waiting does not help");
        cr_assert_not_null(strstr(report->checks[i].detail, "rests on 2 entries of us/1, and 0 are here"), "%s",
                           report->checks[i].detail);
    }
    free(report);
    cr_assert_eq(ask(eu, &wish, REGION_FAILOVER, "us", true), 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_eq(west(eu).epoch, 3, "above the one that waits");
    site_free(eu);
}

Test(control, an_id_that_is_in_what_was_left_out_is_free)
{
    struct wish wish;
    struct site *eu = eu_that_waits();
    cr_assert_eq(ask(eu, &wish, REGION_FAILOVER, "us", true), 0, "%s", wish.order.command.refusal.err.message);
    site_indexed(eu, 0);
    append_west(eu, 3); /* ap's event, which has come too late */
    struct order again;
    order_init(&again);
    order_write(&again, "w", STREAM_ANY, 0)->partition = BYTES_LITERAL("west");
    order_event(&again, 3, "1");
    site_submit(eu, &again);
    cr_assert(again.results[0].duplicate, "and taken once it is here");
    cr_assert_eq(again.results[0].index, 1);
    site_free(eu);
}

/* us's log waits at a taking that rests on ap's; what us accepted for west after it counted until eu seized west. */
Test(control, an_id_in_a_log_that_waits_is_free_once_it_is_late)
{
    struct wish wish;
    struct order order;
    struct site *us = accepting("us", "eu", "ap", "eu ap");
    struct site *ap = accepting("ap", "eu", "us", "eu us");
    struct site *eu = accepting("eu", "us", "ap", "us ap");
    site_peer_down(ap, "us");
    cr_assert_eq(ask(ap, &wish, REGION_FAILOVER, "us", true), 0, "an entry of ap's");
    copy_log(us, ap, "ap");
    order_init(&order);
    wish.partition = BYTES_LITERAL("north");
    wish.control = (struct region_control){.type = REGION_HANDOVER,
                                           .region = "us",
                                           .context = BYTES_LITERAL("till"),
                                           .partition_count = 1,
                                           .partitions = &wish.partition,
                                           .actor = BYTES_LITERAL("test")};
    order.command = (struct region_command){.control = &wish.control};
    site_decide(eu, &order);
    site_written_all(eu, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    copy_log(us, eu, "eu");
    site_written_all(us, 0);
    cr_assert_eq(us->logs[0].durable_size, 1, "us has taken it");
    site_indexed(us, 0);
    order_init(&order);
    order_write(&order, "r", STREAM_ANY, 0)->context = BYTES_LITERAL("shop");
    order_event(&order, 3, "1");
    site_submit(us, &order);
    site_written_all(us, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    copy_log(eu, us, "us");
    site_peer_down(eu, "us");
    site_peer_down(eu, "ap");
    wish.partition = BYTES_LITERAL("north");
    wish.control = (struct region_control){.type = REGION_FAILOVER,
                                           .region = "us",
                                           .context = BYTES_LITERAL("shop"),
                                           .partition_count = 1,
                                           .partitions = &wish.partition,
                                           .actor = BYTES_LITERAL("test"),
                                           .reason = BYTES_LITERAL("a test"),
                                           .forced = true};
    order_init(&order);
    order.command = (struct region_command){.control = &wish.control};
    site_decide(eu, &order);
    site_written_all(eu, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    site_indexed(eu, 0);
    order_init(&order);
    order_write(&order, "r", STREAM_ANY, 0)->context = BYTES_LITERAL("shop");
    order_event(&order, 3, "1");
    site_submit(eu, &order);
    site_written_all(eu, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert_not(order.results[0].duplicate, "us's event has come too late");
    site_free(ap);
    site_free(us);
    site_free(eu);
}

Test(control, what_was_let_go_to_a_region_that_died_is_taken_back_above_what_it_may_have_begun)
{
    struct wish wish;
    struct site *us = accepting("us", "eu", "ap", "eu ap");
    cr_assert_eq(ask(us, &wish, REGION_HANDOVER, "ap", false), 0, "%s", wish.order.command.refusal.err.message);
    cr_assert(west(us).released);
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "ap", false), ERR_UNAVAILABLE, "ap answers");
    site_peer_down(us, "ap");
    cr_assert_eq(ask(us, &wish, REGION_FAILOVER, "ap", false), 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_eq(west(us).epoch, 3);
    cr_assert_str_eq(west(us).region, "us");
    site_free(us);
}

Test(control, a_handover_lets_go_of_two_groups_and_then_waits_for_the_successor)
{
    enum { COUNT = 300, GROUPS = 2 * 128 };
    static char names[COUNT][16];
    static struct bytes partitions[COUNT];
    struct wish wish;
    struct site *eu = site_accepting("us");
    memset(&wish, 0, sizeof(wish));
    order_init(&wish.order);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "p%zu", i);
        partitions[i] = bytes_of_string(names[i]);
    }
    wish.control = (struct region_control){.type = REGION_HANDOVER,
                                           .region = "us",
                                           .context = BYTES_LITERAL("bank"),
                                           .partition_count = COUNT,
                                           .partitions = partitions,
                                           .actor = BYTES_LITERAL("test")};
    wish.order.command = (struct region_command){.control = &wish.control};
    site_step(eu, (struct region_event){.type = REGION_COMMAND, .command = &wish.order.command});
    site_written_all(eu, 0);
    cr_assert_eq(wish.order.answers, 0, "44 are left");
    cr_assert_eq(eu->logs[0].durable_size, GROUPS);
    site_tick(eu, 5 * 1000 * 1000);
    cr_assert_eq(wish.order.answers, 1);
    cr_assert_eq(wish.order.command.refusal.code, 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_eq(wish.control.changed, GROUPS);
    cr_assert_eq(wish.control.remaining, COUNT - GROUPS);
    wish.order.answers = 0;
    site_step(eu, (struct region_event){.type = REGION_COMMAND, .command = &wish.order.command});
    cr_assert_eq(eu->logs[0].durable_size, GROUPS, "nothing more while nobody takes");
    site_hello(eu, "us", NULL, 0);
    site_tick(eu, 5 * 1000 * 1000);
    cr_assert_eq(wish.order.command.refusal.code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(wish.order.command.refusal.err.message, "does not take"));
    site_free(eu);
}

static void append_large(struct site *site, uint64_t id, size_t size_bytes)
{
    static char payload[ENTRY_PAYLOAD_MAX_BYTES];
    static struct order orders[16];
    struct order *order = &orders[id];
    order_one(order, "s", id, "");
    order->events[0][0].payload = bytes_of(payload, size_bytes);
    site_submit(site, order);
    cr_assert_eq(order->command.refusal.code, 0, "%s", order->command.refusal.err.message);
}

/* A write is under way, and the block behind it is all but full. */
Test(control, a_seizure_of_all_partitions_finds_them_however_full_the_block_is)
{
    enum { LEFT_BYTES = 10 * 1024 };
    struct wish wish;
    struct site *eu = accepting("eu", "us", "ap", "us ap");
    site_peer_down(eu, "us");
    append_large(eu, 0, 1);
    append_large(eu, 1, 1);
    for (uint64_t id = 2; block_room_bytes(eu->region->open_block) > ENTRY_PAYLOAD_MAX_BYTES + LEFT_BYTES; id++)
        append_large(eu, id, ENTRY_PAYLOAD_MAX_BYTES);
    append_large(eu, 15, block_room_bytes(eu->region->open_block) - LEFT_BYTES);
    cr_assert_lt(block_room_bytes(eu->region->open_block), LEFT_BYTES);
    cr_assert_gt(block_room_bytes(eu->region->open_block), LEFT_BYTES / 2);
    fill(&wish, REGION_FAILOVER, "us", true);
    wish.control.partition_count = 0;
    site_decide(eu, &wish.order);
    site_written_all(eu, 0);
    cr_assert_eq(wish.order.answers, 1);
    cr_assert_eq(wish.order.command.refusal.code, 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_eq(wish.control.changed, 1);
    cr_assert_eq(wish.control.remaining, 0);
    cr_assert_str_eq(west(eu).region, "eu");
    site_free(eu);
}

/* --- The last drill --- */

static void expect_drill(const struct site *site, bool ok, const char *part)
{
    struct region_failover_report *report = malloc(sizeof(*report));
    struct err err = {0};
    cr_assert_not_null(report);
    cr_assert_eq(region_failover_report(site->region, BYTES_LITERAL("bank"), "us", report, &err), 0, "%s", err.message);
    size_t at = 0;
    while (at < report->check_count && strcmp(report->checks[at].name, "drill") != 0)
        at++;
    cr_assert_lt(at, report->check_count);
    cr_expect_eq(report->checks[at].ok, ok, "%s", report->checks[at].detail);
    cr_expect_not_null(strstr(report->checks[at].detail, part), "%s", report->checks[at].detail);
    free(report);
}

Test(control, a_context_whose_homes_did_not_change_for_too_long_fails_the_check_of_drills)
{
    const uint64_t day_us = UINT64_C(24) * 60 * 60 * 1000000;
    struct wish wish;
    struct site *eu = accepting("eu", "us", "ap", "us ap");
    eu->region->config.drill_max_age_us = 30 * day_us;
    expect_drill(eu, false, "no home of the context was ever changed, by a drill");
    cr_assert_eq(ask(eu, &wish, REGION_FAILOVER, "us", false), ERR_UNAVAILABLE, "it fails like any check");
    cr_assert_eq(ask(eu, &wish, REGION_FAILOVER, "us", true), 0, "%s", wish.order.command.refusal.err.message);
    expect_drill(eu, true, "last changed 0 days ago");
    site_tick(eu, 29 * day_us);
    expect_drill(eu, true, "last changed 29 days ago");
    site_tick(eu, 2 * day_us);
    expect_drill(eu, false, "last changed 31 days ago: longer than drill_max_age_days");
    site_free(eu);
}
