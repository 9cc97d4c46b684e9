/* Which late events a region settles by itself. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "reconcile/policy.h"

static const struct context_type rules[] = {{.type = "CardFrozen", .late = LATE_ACCEPT},
                                            {.type = "Heartbeat", .late = LATE_DROP_DUPLICATE},
                                            {.type = "Paid", .late = LATE_COMPENSATE},
                                            {.type = "Odd", .late = LATE_MANUAL}};
static const struct context contexts[] = {
    {.name = "bank", .default_home = "us", .type_count = 4, .types = rules},
    {.name = "shop", .default_home = "us"},
};
static const struct context_table table = {.count = 2, .contexts = contexts};

static struct index_late item_of(const char *type)
{
    struct index_late item = {.late = true, .fingerprint = 7, .epoch = 1, .state = INDEX_LATE_OPEN};
    snprintf(item.context, sizeof(item.context), "bank");
    snprintf(item.partition, sizeof(item.partition), "north");
    snprintf(item.type, sizeof(item.type), "%s", type);
    return item;
}

static bool decides(const char *region, const struct index_late *item, enum settlement *ret)
{
    struct authority_table authority;
    authority_table_init(&authority, &table);
    bool decided = policy_decide(&table, &authority, region, item, ret);
    authority_table_free(&authority);
    return decided;
}

static void expect_settlement(const char *type, enum settlement expected)
{
    struct index_late item = item_of(type);
    enum settlement settlement = 0;
    cr_assert(decides("us", &item, &settlement), "%s", type);
    cr_expect_eq(settlement, expected, "%s", type);
}

static void expect_none(const char *region, const struct index_late *item, const char *why)
{
    enum settlement settlement = 0;
    cr_expect_not(decides(region, item, &settlement), "%s", why);
}

Test(policy, the_rule_of_the_type_says_what_is_decided)
{
    expect_settlement("CardFrozen", SETTLED_ACCEPTED);
    expect_settlement("Heartbeat", SETTLED_DROPPED);
    expect_settlement("Paid", SETTLED_COMPENSATE);
}

Test(policy, without_a_rule_it_waits_for_a_person)
{
    struct index_late item = item_of("Opened");
    expect_none("us", &item, "no rule");
    item = item_of("Odd");
    expect_none("us", &item, "manual");
    item = item_of("CardFrozen");
    snprintf(item.context, sizeof(item.context), "shop");
    expect_none("us", &item, "another context");
}

Test(policy, only_open_items_are_decided)
{
    for (enum index_late_state state = INDEX_LATE_DUPLICATE; state <= INDEX_LATE_COMPENSATED; state++) {
        struct index_late item = item_of("CardFrozen");
        item.state = state;
        expect_none("us", &item, index_late_state_name(state));
    }
}

Test(policy, only_the_home_decides)
{
    struct index_late item = item_of("CardFrozen");
    expect_none("eu", &item, "not the home");
}

Test(policy, a_partition_that_was_let_go_is_left_to_the_successor)
{
    struct index_late item = item_of("CardFrozen");
    enum settlement settlement = 0;
    struct authority_table authority;
    authority_table_init(&authority, &table);
    struct authority_event release = {.kind = CONTROL_AUTHORITY_RELEASED,
                                      .context = BYTES_LITERAL("bank"),
                                      .partition = BYTES_LITERAL("north"),
                                      .epoch = 1,
                                      .region = "us",
                                      .incarnation = 1,
                                      .time = 1,
                                      .change = {.successor = BYTES_LITERAL("eu")}};
    cr_assert_eq(authority_apply(&authority, &release, NULL), 0);
    cr_expect_not(policy_decide(&table, &authority, "us", &item, &settlement));
    cr_expect_not(policy_decide(&table, &authority, "eu", &item, &settlement), "not before it has taken");
    authority_table_free(&authority);
}

Test(policy, what_must_be_appended_again_needs_its_payload)
{
    struct index_late item = item_of("CardFrozen");
    item.fingerprint = 0;
    expect_none("us", &item, "accept");
    item = item_of("Paid");
    item.fingerprint = 0;
    enum settlement settlement = 0;
    cr_expect(decides("us", &item, &settlement), "a decision alone does not");
}

/* --- Over an index --- */

static void apply(struct index *index, uint32_t log, uint64_t at, const char *type)
{
    struct entry entry = {.index = at,
                          .time = 1000 + at,
                          .context = BYTES_LITERAL("bank"),
                          .partition = BYTES_LITERAL("north"),
                          .stream = BYTES_LITERAL("s"),
                          .stream_version = at,
                          .type = bytes_of_string(type),
                          .epoch = 1};
    put_u64_be(entry.event_id, at + 1);
    struct index_entry item = {.entry = &entry, .fingerprint = 9};
    cr_assert_eq(index_apply(index, log, &item, 1, NULL), 0);
}

Test(policy, a_run_over_the_index_finds_every_decision_once)
{
    enum { ENTRIES = 600 };
    struct index *index = index_memory_new(&table);
    struct index_late *items = mem_alloc_zero(INDEX_LATE_SCAN_MAX, sizeof(*items));
    struct policy_decision *decisions = mem_alloc_zero(POLICY_DECISIONS_MAX, sizeof(*decisions));
    struct authority_table authority;
    struct index_late_cursor cursor = {.started = false};
    uint32_t eu = 0;
    size_t found = 0;
    bool end = false;
    authority_table_init(&authority, &table);
    cr_assert_eq(index_log(index, BYTES_LITERAL("demo/eu/1"), &eu, NULL), 0);
    for (uint64_t i = 0; i < ENTRIES; i++) /* eu never was the home: all are late */
        apply(index, eu, i, i % 3 == 0 ? "CardFrozen" : "Opened");
    while (!end) {
        size_t count = 0;
        cr_assert_eq(policy_next(index, &table, &authority, "us", &cursor, items, decisions, &count, &end, NULL), 0);
        for (size_t i = 0; i < count; i++) {
            cr_assert_eq(decisions[i].place.index, 3 * found);
            cr_assert_str_eq(decisions[i].origin, "demo/eu/1");
            cr_assert_eq(decisions[i].settlement, SETTLED_ACCEPTED);
            found++;
        }
    }
    cr_expect_eq(found, ENTRIES / 3);
    authority_table_free(&authority);
    mem_free(decisions);
    mem_free(items);
    index_close(index);
}
