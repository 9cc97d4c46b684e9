/* Judging entries of a log on disk. The rules, one by one, are in tests/integration/test_verify_authority.py. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "support.h"
#include "verify/judge.h"

enum { ENTRIES = 40 };

static const struct unique_room small = {.lines = 1, .candidates = 4, .records = 8};

static struct fixture f;
static struct demands demands;
static struct cluster *cluster;
static struct contexts *contexts;
static struct judge *judge;

static void give_id(struct entry *entry)
{
    put_u64_be(entry->event_id, entry->index + 1);
}

static void give_one_id(struct entry *entry)
{
    memset(entry->event_id, 7, ENTRY_ID_SIZE);
}

static void setup(void)
{
    fixture_init(&f);
    cluster = mem_alloc_zero(1, sizeof(*cluster));
    contexts = mem_alloc_zero(1, sizeof(*contexts));
    judge = mem_alloc_zero(1, sizeof(*judge));
    demands = (struct demands){.disk = f.disk};
}

static void teardown(void)
{
    judge_free(judge);
    contexts_free(contexts);
    cluster_close(cluster);
    mem_free(judge);
    mem_free(contexts);
    mem_free(cluster);
    fixture_free(&f);
}

TestSuite(judge, .init = setup, .fini = teardown);

static void judge_log(spoil_fn *spoil, const char *homes, const struct unique_room *room)
{
    struct log *log = create_log(&f);
    for (size_t i = 0; i < ENTRIES; i++)
        append_one(log, make_spoiled_block(&f, 1, 50, spoil));
    log_close(log);
    const char *paths[] = {f.log_folder};
    cr_assert_eq(cluster_open(&demands, paths, 1, cluster, NULL), 0);
    cr_assert_eq(contexts_parse(bytes_of_string(homes), contexts, NULL), 0);
    cr_assert_eq(judge_init(judge, cluster, f.disk, contexts, room, NULL), 0);
    cr_assert_eq(judge_run(judge, NULL), 0);
}

Test(judge, entries_by_the_home_of_epoch_1_count)
{
    judge_log(give_id, "context test home eu\n", &unique_room_default);
    cr_assert_not(judge->first.found, "%s", judge->first.message);
    cr_assert_eq(judge->effective_count, ENTRIES);
    cr_assert_eq(judge->pass_count, 1);
}

Test(judge, more_passes_count_nothing_twice)
{
    judge_log(give_id, "context test home eu\n", &small);
    cr_assert_not(judge->first.found, "%s", judge->first.message);
    cr_assert_eq(judge->effective_count, ENTRIES);
    cr_assert_gt(judge->pass_count, 3);
}

Test(judge, one_id_of_all_is_found_with_little_room)
{
    judge_log(give_one_id, "context test home eu\n", &small);
    cr_assert_geq(judge->violation_counts[RULE_ID], 1);
    cr_assert_eq(judge->violation_counts[RULE_VERSION], 0);
    cr_assert_eq(judge->first.index, 1);
    cr_assert_eq(judge->first.rule, RULE_ID);
}

Test(judge, entries_by_another_than_the_home_are_violations_and_the_first_is_named)
{
    judge_log(give_id, "context test home us\n", &unique_room_default);
    cr_assert_eq(judge->violation_counts[RULE_HOME], ENTRIES);
    cr_assert_eq(judge->first.index, 0);
    cr_assert_str_eq(rule_name(judge->first.rule), "home");
    cr_assert_eq(judge->effective_count, 0);
    cr_assert_eq(judge->late_count, 0);
}

Test(judge, a_context_that_the_auditor_does_not_know_is_not_judged)
{
    judge_log(give_id, "context other home eu\n", &small);
    cr_assert_not(judge->first.found);
    cr_assert_eq(judge->unjudged_count, ENTRIES);
    cr_assert(strstr(judge->unjudged, "context \"test\"") != NULL, "%s", judge->unjudged);
}

Test(judge, every_entry_with_an_id_that_was_used_before_is_counted)
{
    judge_log(give_one_id, "context test home eu\n", &unique_room_default);
    cr_assert_eq(judge->violation_counts[RULE_ID], ENTRIES - 1);
}

static void make_commutative(struct entry *entry)
{
    give_id(entry);
    entry->flags = ENTRY_FLAG_COMMUTATIVE;
    entry->type = BYTES_LITERAL("Counted");
    entry->epoch = ENTRY_EPOCH_OF_NONE;
    entry->stream_version = 0;
}

Test(judge, commutative_events_count_in_any_region_if_the_context_lets_them)
{
    judge_log(make_commutative, "context test home us\ntype test/Counted commutative\n", &small);
    cr_expect_not(judge->first.found, "%s", judge->first.message);
    cr_expect_eq(judge->effective_count, ENTRIES);
    cr_expect_eq(judge->commutative_count, ENTRIES);
}

Test(judge, commutative_events_of_other_types_are_violations_also_at_their_home)
{
    judge_log(make_commutative, "context test home eu\ntype test/Paid commutative\n", &small);
    cr_expect_eq(judge->violation_counts[RULE_COMMUTATIVE], ENTRIES);
    cr_expect_eq(judge->effective_count, 0);
}
