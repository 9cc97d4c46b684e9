/* What a later life of a region leaves behind (domain/lives.h), as the fold of authority sees it. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "domain/authority.h"

static const struct context contexts[] = {{.name = "shop", .default_home = "a"},
                                          {.name = CONTEXT_SYSTEM, .default_home = "a"}};
static const struct context_table known = {.count = 2, .contexts = contexts};

static struct authority_table table;

static void set_up(void)
{
    authority_table_init(&table, &known);
}

static void tear_down(void)
{
    authority_table_free(&table);
}

TestSuite(lives, .init = set_up, .fini = tear_down);

static struct position position(const char *text)
{
    struct position position;
    cr_assert_eq(position_parse(bytes_of_string(text), &position, NULL), 0, "%s", text);
    return position;
}

static struct authority_event life(const char *region, uint64_t incarnation, const char *basis)
{
    return (struct authority_event){.kind = CONTROL_LOG_CONTINUED,
                                    .context = bytes_of_string(CONTROL_SYSTEM_CONTEXT),
                                    .partition = bytes_of_string(CONTROL_ALL_PARTITIONS),
                                    .epoch = CONTEXT_EPOCH_FIRST,
                                    .region = region,
                                    .incarnation = incarnation,
                                    .change = {.basis = position(basis)}};
}

static struct authority_event seized(uint64_t epoch, const char *region, uint64_t incarnation, uint64_t index,
                                     const char *basis)
{
    return (struct authority_event){.kind = CONTROL_AUTHORITY_SEIZED,
                                    .context = BYTES_LITERAL("shop"),
                                    .partition = BYTES_LITERAL("p"),
                                    .epoch = epoch,
                                    .region = region,
                                    .incarnation = incarnation,
                                    .index = index,
                                    .time = 100 * epoch,
                                    .change = {.basis = position(basis)}};
}

static struct authority_event released(uint64_t epoch, const char *region, uint64_t incarnation, uint64_t index,
                                       const char *successor)
{
    struct authority_event event = seized(epoch, region, incarnation, index, "");
    event.kind = CONTROL_AUTHORITY_RELEASED;
    event.change.successor = bytes_of_string(successor);
    return event;
}

static void apply(struct authority_event event)
{
    struct err err = {0};
    cr_assert_eq(authority_apply(&table, &event, &err), 0, "%s", err.message);
}

/* From which index on entries of a log under an epoch are late. */
static void expect_end(uint64_t epoch, const char *region, uint64_t incarnation, uint64_t end)
{
    struct authority_span span =
        authority_span(&table, BYTES_LITERAL("shop"), BYTES_LITERAL("p"), epoch, region, incarnation);
    cr_assert_eq(span.begin, 0);
    cr_assert_eq(span.end, end, "%s.%llu ends at %llu", region, (unsigned long long)incarnation,
                 (unsigned long long)span.end);
}

static struct authority_now now(void)
{
    struct authority_now now;
    cr_assert_eq(authority_now(&table, BYTES_LITERAL("shop"), BYTES_LITERAL("p"), &now, NULL), 0);
    return now;
}

/* --- Entries --- */

Test(lives, what_a_life_does_not_rest_on_is_late_and_what_it_accepts_counts)
{
    expect_end(1, "a", 1, UINT64_MAX);
    apply(life("a", 2, "a@4"));
    expect_end(1, "a", 1, 4);
    expect_end(1, "a", 2, UINT64_MAX);
}

Test(lives, of_a_log_that_a_life_does_not_name_nothing_counts)
{
    apply(life("a", 3, "a@4"));
    expect_end(1, "a", 2, 0);
}

Test(lives, a_log_of_an_earlier_version_which_says_nothing_leaves_nothing_behind)
{
    apply(seized(2, "b", 1, 0, "a@9,a.2@3"));
    expect_end(1, "a", 1, 9);
    expect_end(1, "a", 2, 3);
}

Test(lives, whoever_seized_without_knowing_of_a_life_goes_on_from_what_it_had)
{
    apply(life("a", 2, "a@4"));
    apply(seized(2, "b", 1, 0, "a@7"));
    expect_end(1, "a", 1, 7);
    expect_end(1, "a", 2, 0);
}

Test(lives, whoever_seized_and_knew_of_it_counts_no_more_than_it_did)
{
    apply(life("a", 2, "a@4"));
    apply(seized(2, "b", 1, 0, "a@7,a.2@3"));
    expect_end(1, "a", 1, 4);
    expect_end(1, "a", 2, 3);
}

Test(lives, each_life_of_the_chain_counts)
{
    apply(life("a", 2, "a@4"));
    apply(life("a", 3, "a@7,a.2@5"));
    expect_end(1, "a", 1, 4);
    expect_end(1, "a", 2, 5);
}

Test(lives, a_life_that_the_next_one_did_not_know_of_counts_for_nothing)
{
    apply(life("a", 3, "a@7"));
    apply(life("a", 2, "a@4"));
    expect_end(1, "a", 1, 7);
    expect_end(1, "a", 2, 0);
}

Test(lives, the_same_life_again_changes_nothing)
{
    apply(life("a", 2, "a@4"));
    apply(life("a", 2, "a@4"));
    expect_end(1, "a", 1, 4);
}

/* --- Changes of homes --- */

Test(lives, a_release_that_was_left_behind_lets_go_of_nothing)
{
    apply(released(1, "a", 1, 5, "b"));
    cr_assert(now().released);
    apply(life("a", 2, "a@5"));
    cr_assert_not(now().released);
    apply(released(1, "a", 2, 8, "c"));
    cr_assert(now().released);
    cr_assert_str_eq(now().successor, "c");
    cr_assert_eq(now().release_incarnation, 2);
    cr_assert_eq(now().release_index, 8);
}

Test(lives, a_change_that_was_left_behind_begins_nothing)
{
    apply(seized(2, "b", 1, 6, "a@3"));
    cr_assert_str_eq(now().region, "b");
    expect_end(1, "a", 1, 3);
    apply(life("b", 2, "b@6"));
    cr_assert_str_eq(now().region, "a");
    expect_end(1, "a", 1, UINT64_MAX);
}

Test(lives, a_change_that_was_left_behind_counts_below_one_that_rests_on_it)
{
    apply(seized(2, "b", 1, 6, "a@3"));
    apply(life("b", 2, "b@6"));
    apply(seized(3, "c", 1, 0, "a@3,b@9"));
    expect_end(1, "a", 1, 3);
    expect_end(2, "b", 2, 0);
    cr_assert_not(authority_is_late(&table, BYTES_LITERAL("shop"), BYTES_LITERAL("p"), 2, "b", 1, 8));
}

/* --- What it affects --- */

Test(lives, a_life_affects_what_it_leaves_behind_and_no_other_log)
{
    struct authority_event event = life("a", 2, "a@4");
    apply(seized(2, "b", 1, 6, "a@9"));
    cr_assert_eq(authority_affected_from(&table, &event, "a", 1), 4);
    cr_assert_eq(authority_affected_from(&table, &event, "b", 1), UINT64_MAX);
    cr_assert_eq(authority_affected_from(&table, &event, "a", 2), UINT64_MAX);
}

Test(lives, a_life_that_leaves_a_change_behind_affects_what_that_changed)
{
    struct authority_event event = life("b", 2, "b@6");
    struct entry entry = {.context = BYTES_LITERAL("shop"), .partition = BYTES_LITERAL("p")};
    apply(seized(2, "b", 1, 6, "a@3"));
    cr_assert_eq(authority_affected_from(&table, &event, "a", 1), 3);
    cr_assert(authority_concerns(&table, &event, &entry));
}

/* --- Order --- */

Test(lives, a_life_waits_for_what_it_rests_on_and_what_is_left_behind_for_nothing)
{
    struct authority_event late = seized(2, "a", 1, 6, "c@9");
    struct authority_event begun = life("a", 2, "a@5");
    struct position applied = position("a@4");
    cr_assert_not(authority_ready(&table, &late, &applied));
    cr_assert_not(authority_ready(&table, &begun, &applied));
    applied = position("a@5");
    cr_assert(authority_ready(&table, &begun, &applied));
    apply(begun);
    cr_assert(authority_ready(&table, &late, &applied), "nobody may have what it rests on");
    cr_assert_eq(authority_lived_end(&table, "a", 1), 5);
    cr_assert_eq(authority_lived_end(&table, "a", 2), UINT64_MAX);
}

Test(lives, a_life_that_was_left_behind_waits_for_nothing_either)
{
    struct authority_event lost = life("a", 2, "a@9");
    struct position applied = position("a@5");
    apply(life("a", 3, "a@5"));
    cr_assert(authority_ready(&table, &lost, &applied));
}

/* --- Reading --- */

static int event_of(struct entry entry, const char *region, uint64_t incarnation, const char *basis)
{
    struct origin origin = {.incarnation = incarnation};
    struct control_authority change = {.basis = position(basis), .reason = BYTES_LITERAL("2 entries are lost")};
    struct authority_event event = {.index = 77};
    struct buf payload;
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    copy_string(origin.region, sizeof(origin.region), region);
    cr_assert_eq(control_authority_encode(CONTROL_LOG_CONTINUED, &change, &payload, NULL), 0);
    int code = authority_event_of(&entry, buf_bytes(&payload), &origin, &event, NULL);
    cr_assert_eq(code == 0, event.kind == CONTROL_LOG_CONTINUED && event.index == entry.index);
    buf_free(&payload);
    return code;
}

Test(lives, a_continuation_stands_at_the_beginning_of_a_later_log_and_names_earlier_ones_of_its_region)
{
    const struct entry good = {.context = bytes_of_string(CONTROL_SYSTEM_CONTEXT),
                               .partition = bytes_of_string(CONTROL_ALL_PARTITIONS),
                               .type = BYTES_LITERAL("$LogContinued"),
                               .epoch = CONTEXT_EPOCH_FIRST,
                               .flags = ENTRY_FLAG_CONTROL};
    struct entry second = good, later = good, elsewhere = good, partial = good;
    second.index = 1;
    later.epoch = 2;
    elsewhere.context = BYTES_LITERAL("shop");
    partial.partition = BYTES_LITERAL("p");
    cr_assert_eq(event_of(good, "a", 3, "a@4,a.2@7"), 0);
    cr_assert_eq(event_of(good, "a", 3, ""), 0);
    cr_assert_eq(event_of(good, "a", 1, ""), ERR_CORRUPT, "the first log of a region continues nothing");
    cr_assert_eq(event_of(good, "a", 3, "a.3@1"), ERR_CORRUPT);
    cr_assert_eq(event_of(good, "a", 3, "a.4@1"), ERR_CORRUPT);
    cr_assert_eq(event_of(good, "a", 3, "b@1"), ERR_CORRUPT);
    cr_assert_eq(event_of(second, "a", 3, "a@4"), ERR_CORRUPT);
    cr_assert_eq(event_of(later, "a", 3, "a@4"), ERR_CORRUPT);
    cr_assert_eq(event_of(elsewhere, "a", 3, "a@4"), ERR_CORRUPT);
    cr_assert_eq(event_of(partial, "a", 3, "a@4"), ERR_CORRUPT);
}

/* --- Failures --- */

Test(lives, running_out_of_memory_changes_nothing)
{
    const struct authority_event events[] = {life("a", 2, "a@4"), life("a", 3, "a@3,a.2@1"), life("a", 4, "a@2,a.3@1")};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        int code = ERR_NO_MEMORY;
        for (uint64_t at = 1; code != 0; at++) {
            mem_fail_at(at);
            code = authority_apply(&table, &events[i], NULL);
            mem_fail_at(0);
            cr_assert(code == 0 || code == ERR_NO_MEMORY);
            expect_end(1, "a", 1, code != 0 ? (i == 0 ? UINT64_MAX : 5 - i) : 4 - i);
        }
    }
}

Test(lives, a_region_that_begins_logs_without_end_is_refused_at_a_limit)
{
    int code = 0;
    uint64_t incarnation = 2;
    for (; code == 0; incarnation++) {
        struct authority_event event = life("a", incarnation, "");
        code = authority_apply(&table, &event, NULL);
    }
    cr_assert_eq(code, ERR_TOO_LARGE);
    cr_assert_eq(incarnation - 3, LIVES_MAX);
}
