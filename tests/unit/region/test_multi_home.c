/* Commutative events of a multi-home context: context "bank" lets type "Counted" be accepted anywhere, and eu is its
 * home. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "region/region_internal.h"
#include "unit/region/fixture.h"

static const struct context_type types[] = {{.type = "Counted", .commutative = true},
                                            {.type = "Frozen", .override = true}};
static const char *const in_eu[] = {"eu"};

static void open_context(struct site *site)
{
    site->table[0].rules.topology = TOPOLOGY_MULTI_HOME;
    site->table[0].types = types;
    site->table[0].type_count = 2;
}

static struct site *home(void)
{
    struct site *eu = site_accepting("us");
    open_context(eu);
    return eu;
}

/* us accepts, and is not the home. */
static struct site *elsewhere(const struct site *eu)
{
    struct site *us = site_new("us", "eu");
    open_context(us);
    site_tick(us, 0);
    site_meet(us, eu);
    return us;
}

static void order_counted(struct order *order, const char *stream, uint64_t id, const char *payload)
{
    order_one(order, stream, id, payload);
    order->events[0][0].type = BYTES_LITERAL("Counted");
}

static int submit(struct site *site, struct order *order)
{
    site_submit(site, order);
    site_written_all(site, 0);
    cr_assert_eq(order->answers, 1);
    return order->command.refusal.code;
}

static int count_at(struct site *site, uint64_t id, struct region_result *ret)
{
    struct order order;
    order_counted(&order, "s", id, "1");
    int code = submit(site, &order);
    *ret = order.results[0];
    return code;
}

static struct entry entry_at(const struct site *site, size_t log, uint64_t index)
{
    struct frame frame;
    struct entry entry = {.index = UINT64_MAX};
    for (size_t i = 0; i < site->logs[log].block_count; i++) {
        struct bytes elements = block_body(site->logs[log].blocks[i]);
        while (elements.size_bytes > 0 && entry.index != index)
            cr_assert_eq(frame_next_entry(&elements, &frame, &entry, NULL), 0);
    }
    cr_assert_eq(entry.index, index);
    return entry;
}

/* `to` stores what `from` holds of its own log. */
static void replicate(struct site *to, const struct site *from, const char *region)
{
    site_tick(to, 10 * 1000 * 1000);
    site_meet(to, from);
    site_send_blocks(to, from, region);
    site_written_all(to, site_log_number(to, region));
}

static uint64_t size_of(const struct site *site)
{
    return site->logs[0].durable_size;
}

Test(multi_home, any_region_accepts_a_commutative_event_and_gives_it_neither_version_nor_epoch)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct site *const sites[] = {eu, us};
    for (size_t i = 0; i < 2; i++) {
        struct region_result result;
        cr_assert_eq(count_at(sites[i], 1 + i, &result), 0);
        cr_expect(result.commutative);
        cr_expect_eq(result.stream_version, 0);
        struct entry entry = entry_at(sites[i], 0, 0);
        cr_expect_eq(entry.flags, ENTRY_FLAG_COMMUTATIVE);
        cr_expect_eq(entry.epoch, ENTRY_EPOCH_OF_NONE);
        site_indexed(sites[i], 0);
        struct index_head head;
        cr_expect_eq(index_head(sites[i]->index, BYTES_LITERAL("bank"), BYTES_LITERAL("s"), &head, NULL),
                     ERR_NOT_FOUND);
        cr_expect_eq(index_late_count(sites[i]->index), 0);
    }
    site_free(us);
    site_free(eu);
}

/* Else both could stand in one block, which no peer could take: it knows the context once it has stored the block. */
Test(multi_home, an_event_of_a_context_that_is_created_just_now_waits_until_the_index_shows_it)
{
    static const struct context tallies = {.name = "tallies",
                                           .default_home = "us",
                                           .rules.topology = TOPOLOGY_MULTI_HOME,
                                           .types = types,
                                           .type_count = 2};
    struct site *eu = home();
    struct region_define define;
    struct order creation;
    struct order first;
    struct order order;
    order_one(&first, "s", 1, "1");
    site_submit(eu, &first);
    cr_assert_eq(site_count(eu, REGION_WRITE), 1, "what comes now gathers in the next block");
    site_create(eu, &creation, &define, &tallies);
    order_counted(&order, "s", 2, "1");
    order.writes[0].context = BYTES_LITERAL("tallies");
    cr_expect_eq(submit(eu, &order), ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(order.command.refusal.err.message, "was created just now"));
    cr_expect_eq(eu->logs[0].blocks[1]->entry_count, 1, "the creation alone");
    site_indexed(eu, 0);
    order_counted(&order, "s", 2, "1");
    order.writes[0].context = BYTES_LITERAL("tallies");
    cr_expect_eq(submit(eu, &order), 0, "%s", order.command.refusal.err.message);
    site_free(eu);
}

Test(multi_home, other_types_have_one_home)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct order order;
    order_one(&order, "s", 1, "1");
    cr_expect_eq(submit(us, &order), ERR_WRONG_HOME);
    cr_expect_str_eq(order.command.refusal.home_region, "eu");
    cr_expect_eq(size_of(us), 0);
    site_free(us);
    site_free(eu);
}

Test(multi_home, a_batch_that_needs_the_home_is_accepted_there_and_all_of_it_is_of_its_epoch)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct site *const sites[] = {us, eu};
    for (size_t i = 0; i < 2; i++) {
        struct order order;
        order_counted(&order, "a", 1, "1");
        order_write(&order, "b", STREAM_ANY, 0);
        order_event(&order, 2, "1");
        order_event(&order, 3, "1")->type = BYTES_LITERAL("Counted");
        cr_assert_eq(submit(sites[i], &order), i == 0 ? ERR_WRONG_HOME : 0);
        for (size_t n = 0; i == 1 && n < 3; n++)
            cr_expect(!order.results[n].commutative && order.results[n].stream_version == n / 2);
    }
    cr_expect_eq(size_of(us), 0);
    cr_expect_eq(entry_at(eu, 0, 0).flags, 0);
    site_free(us);
    site_free(eu);
}

Test(multi_home, only_the_home_can_say_whether_a_version_is_as_expected)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct site *const sites[] = {us, eu};
    for (size_t i = 0; i < 2; i++) {
        struct order order;
        order_init(&order);
        order_write(&order, "s", STREAM_NONE, 0);
        order_event(&order, 1, "1")->type = BYTES_LITERAL("Counted");
        cr_expect_eq(submit(sites[i], &order), i == 0 ? ERR_WRONG_HOME : 0);
        cr_expect(i == 0 || !order.results[0].commutative);
    }
    site_free(us);
    site_free(eu);
}

Test(multi_home, the_same_event_again_is_where_it_is_and_other_content_is_refused)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct region_result first;
    struct region_result again;
    struct order order;
    cr_assert_eq(count_at(us, 1, &first), 0);
    replicate(eu, us, "us");
    struct site *const sites[] = {us, eu};
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 2; i++) {
            cr_assert_eq(count_at(sites[i], 1, &again), 0);
            cr_expect(again.duplicate && again.commutative, "round %zu, site %zu", round, i);
            order_counted(&order, "s", 1, "2");
            cr_expect_eq(submit(sites[i], &order), ERR_ID_REUSED);
        }
        site_indexed(us, 0);
        site_indexed(eu, site_log_number(eu, "us"));
        overlay_evict_indexed(&us->region->overlay);
        overlay_evict_indexed(&eu->region->overlay);
    }
    cr_expect_eq(size_of(us), 1);
    cr_expect_eq(size_of(eu), 0);
    site_free(us);
    site_free(eu);
}

Test(multi_home, of_two_regions_that_take_one_id_at_once_the_earlier_one_stands_in_both)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct region_result result;
    cr_assert_eq(count_at(us, 1, &result), 0);
    site_tick(eu, 5 * 1000 * 1000);
    cr_assert_eq(count_at(eu, 1, &result), 0);
    cr_assert_lt(entry_at(us, 0, 0).time, entry_at(eu, 0, 0).time);
    replicate(us, eu, "eu");
    replicate(eu, us, "us");
    struct site *const sites[] = {eu, us};
    struct hash digests[2];
    for (size_t i = 0; i < 2; i++) {
        uint8_t id[ENTRY_ID_SIZE];
        char origin[INDEX_ORIGIN_MAX_BYTES + 1];
        struct index_event event;
        struct index_late late;
        event_id_of(1, id);
        site_indexed(sites[i], 0);
        site_indexed(sites[i], site_log_number(sites[i], i == 0 ? "us" : "eu"));
        cr_assert_eq(index_event(sites[i]->index, id, &event, NULL), 0);
        cr_assert_eq(index_origin(sites[i]->index, event.place.log, origin, NULL), 0);
        cr_expect_str_eq(origin, "demo/us/1");
        cr_expect(!event.late);
        cr_expect_eq(index_late_count(sites[i]->index), 1);
        struct index_late_cursor cursor = {.started = false};
        size_t count = 0;
        cr_assert_eq(index_late_scan(sites[i]->index, &cursor, &late, 1, &count, NULL), 0);
        cr_expect(count == 1 && !late.late && late.commutative && late.state == INDEX_LATE_DUPLICATE);
        cr_assert_eq(index_late_digest(sites[i]->index, sites[i]->sha, &digests[i], NULL), 0);
    }
    cr_expect(hash_equal(&digests[0], &digests[1]));
    site_free(us);
    site_free(eu);
}

Test(multi_home, a_region_that_may_not_hold_payloads_accepts_none)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct region_result result;
    us->table[0].rules.payload_region_count = 1;
    us->table[0].rules.payload_regions = in_eu;
    us->table[0].home_count = 0;
    cr_expect_eq(count_at(us, 1, &result), ERR_WRONG_HOME);
    cr_expect_eq(size_of(us), 0);
    site_free(us);
    site_free(eu);
}

Test(multi_home, an_event_of_a_peer_that_may_not_be_accepted_anywhere_does_not_take_its_id)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct region_result result;
    cr_assert_eq(count_at(us, 1, &result), 0);
    eu->table[0].type_count = 0; /* as eu has it, no type may be */
    replicate(eu, us, "us");
    cr_assert_eq(eu->logs[site_log_number(eu, "us")].durable_size, 1, "it is stored like any other");
    site_indexed(eu, site_log_number(eu, "us"));
    struct index_late late;
    struct index_place place = {.index = 0};
    cr_assert_eq(index_log(eu->index, BYTES_LITERAL("demo/us/1"), &place.log, NULL), 0);
    cr_assert_eq(index_late_at(eu->index, place, &late, NULL), 0);
    cr_expect(late.late && late.commutative && late.state == INDEX_LATE_OPEN);
    cr_assert_eq(count_at(eu, 1, &result), 0);
    cr_expect(!result.duplicate && !result.commutative);
    site_free(us);
    site_free(eu);
}

static int settle(struct site *eu, enum settlement settlement, char *ret_message, size_t size)
{
    struct region_settle_item item = {.origin = "demo/us/1", .index = 0};
    struct region_settle settle = {.settlement = settlement,
                                   .item_count = 1,
                                   .items = &item,
                                   .actor = BYTES_LITERAL("anna"),
                                   .reason = BYTES_LITERAL("test")};
    struct order order;
    order_counted(&order, "s", 1, "1");
    order.command.settle = &settle;
    int code = submit(eu, &order);
    snprintf(ret_message, size, "%s", order.command.refusal.err.message);
    return code;
}

Test(multi_home, one_that_waits_for_its_definition_is_not_appended_again_but_may_be_rejected)
{
    struct site *eu = home();
    struct site *us = elsewhere(eu);
    struct region_result result;
    char message[512];
    cr_assert_eq(count_at(us, 1, &result), 0);
    eu->table[0].type_count = 0;
    replicate(eu, us, "us");
    site_indexed(eu, site_log_number(eu, "us"));
    cr_expect_eq(settle(eu, SETTLED_ACCEPTED, message, sizeof(message)), ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(message, "by itself"));
    cr_expect_eq(settle(eu, SETTLED_REJECTED, message, sizeof(message)), 0, "%s", message);
    site_free(us);
    site_free(eu);
}

Test(multi_home, no_lease_is_needed)
{
    struct site *eu = site_accepting("us ap");
    struct region_result result;
    struct order order;
    open_context(eu);
    eu->table[0].rules.isolation = ISOLATION_FENCE;
    eu->table[0].rules.lease_ms = 1000;
    order_one(&order, "s", 2, "1");
    cr_expect_eq(submit(eu, &order), ERR_UNAVAILABLE);
    cr_expect_eq(count_at(eu, 1, &result), 0);
    site_free(eu);
}

Test(multi_home, a_change_of_home_makes_none_late)
{
    struct site *eu = home();
    struct region_result result;
    cr_assert_eq(count_at(eu, 1, &result), 0);
    struct entry entry = entry_at(eu, 0, 0);
    struct authority_event seizure = {.kind = CONTROL_AUTHORITY_SEIZED,
                                      .context = BYTES_LITERAL("bank"),
                                      .partition = BYTES_LITERAL("north"),
                                      .epoch = 2,
                                      .region = "us",
                                      .incarnation = 1,
                                      .time = 1};
    struct authority_table table;
    authority_table_init(&table, &eu->contexts);
    cr_assert_eq(authority_apply(&table, &seizure, NULL), 0);
    cr_expect(!authority_entry_is_late(&table, &entry, "eu", 1));
    cr_expect(authority_is_late(&table, entry.context, entry.partition, entry.epoch, "eu", 1, 0));
    authority_table_free(&table);
    site_free(eu);
}
