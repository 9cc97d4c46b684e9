/* One generation that follows logs: what is late has no effect, changes wait for their basis, and what cannot be taken
 * back is a conflict. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "projection/generation.h"
#include "unit/projection/fixture.h"
#include "unit/projection/logs.h"

enum { EU, US, AP, US2 };

static struct logs logs;
static char path[FILES_PATH_MAX];
static struct projection_spec *spec;
static struct projection_db *db;
static struct generation *generation;

static void open_generation(void)
{
    struct err err = {0};
    cr_assert_eq(generation_new(db, &logs_contexts, &generation, &err), 0, "%s", err.message);
}

static void setup_with(const char *sql)
{
    logs_open(&logs, LOGS_MAX);
    files_join(logs.folder, "db", path);
    db = open_db(path, sql, &spec);
    open_generation();
}

static void setup(void)
{
    setup_with(DEPOSITS);
}

static void teardown(void)
{
    generation_free(generation);
    projection_db_close(db);
    projection_spec_free(spec);
    logs_close(&logs);
}

/* As after a crash. */
static void reopen(void)
{
    struct err err = {0};
    generation_free(generation);
    projection_db_close(db);
    cr_assert_eq(projection_db_open(path, spec, NULL, &db, &err), 0, "%s", err.message);
    open_generation();
}

TestSuite(generation, .init = setup, .fini = teardown);

static int try_step(size_t at, uint64_t end, struct err *err)
{
    struct generation_progress progress;
    return generation_step(generation, logs.logs, logs.count, at, end, 1000, &progress, err);
}

/* Steps one log until it stands still; returns where. */
static uint64_t run_to(size_t at, uint64_t end)
{
    static const char *const names[] = {"demo/eu/1", "demo/us/1", "demo/ap/1", "demo/us/2"};
    struct generation_progress progress = {.moved = true};
    struct err err = {0};
    while (progress.moved)
        cr_assert_eq(generation_step(generation, logs.logs, logs.count, at, end, 1000, &progress, &err), 0, "%s",
                     err.message);
    return applied(db, names[at]);
}

static uint64_t run(size_t at)
{
    return run_to(at, UINT64_MAX);
}

static void deposits(size_t at, uint64_t epoch, uint64_t first_id, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        deposit(&logs, at, "north", epoch, first_id + i, "1");
}

static void expect_conflict(const char *words)
{
    const char *reason = "";
    cr_assert(generation_conflict(generation, &reason));
    cr_assert_not_null(strstr(reason, words), "\"%s\" does not say \"%s\"", reason, words);
}

static bool complete(void)
{
    bool ret = false;
    struct err err = {0};
    cr_assert_eq(generation_complete(generation, &ret, &err), 0, "%s", err.message);
    return ret;
}

Test(generation, applies_what_the_log_has)
{
    deposits(EU, 1, 0, 3);
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(row_count(db), 3);
    cr_assert_not(generation_conflict(generation, NULL));
}

Test(generation, a_step_applies_no_more_than_it_is_told)
{
    struct generation_progress progress;
    struct err err = {0};
    deposits(EU, 1, 0, 5);
    cr_assert_eq(generation_step(generation, logs.logs, logs.count, EU, UINT64_MAX, 2, &progress, &err), 0);
    cr_assert_eq(progress.events, 2);
    cr_assert_eq(run_to(EU, 4), 4);
    cr_assert_eq(row_count(db), 4);
}

Test(generation, an_entry_that_is_late_moves_the_cursor_and_runs_nothing)
{
    deposits(EU, 1, 0, 3);
    seize(&logs, US, "*", 2, "eu@1");
    cr_assert_eq(run_to(EU, 1), 1);
    cr_assert_eq(run(US), 1);
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(row_count(db), 1);
    cr_assert_not(generation_conflict(generation, NULL));
}

Test(generation, an_entry_of_a_region_that_was_never_home_runs_nothing)
{
    deposits(US, 1, 0, 2);
    cr_assert_eq(run(US), 2);
    cr_assert_eq(row_count(db), 0);
}

Test(generation, a_change_and_what_follows_it_wait_for_the_basis)
{
    deposits(EU, 1, 0, 2);
    deposits(US, 1, 50, 1);
    seize(&logs, US, "*", 2, "eu@2");
    deposits(US, 2, 100, 1);
    cr_assert_eq(run(US), 1);
    cr_assert_eq(run_to(EU, 1), 1);
    cr_assert_eq(run(US), 1);
    cr_assert_eq(run(EU), 2);
    cr_assert_eq(run(US), 3);
    cr_assert_eq(row_count(db), 3);
}

Test(generation, a_change_that_makes_late_what_had_its_effect_is_a_conflict)
{
    deposits(EU, 1, 0, 3);
    seize(&logs, US, "*", 2, "eu@1");
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(run(US), 0);
    expect_conflict("entry 0 of demo/us/1 makes entry 1 of demo/eu/1 late");
    cr_assert_eq(row_count(db), 3);
    deposits(EU, 1, 3, 1);
    cr_assert_eq(run(EU), 4); /* the other logs go on */
    cr_assert_eq(run(US), 0);
    reopen();
    cr_assert_eq(run(US), 0);
    expect_conflict("late");
}

Test(generation, entries_without_statements_are_no_conflict)
{
    deposits(EU, 1, 0, 1);
    append_event(&logs, EU, "Ignored", "north", 1, 1, "1");
    seize(&logs, US, "*", 2, "eu@1");
    cr_assert_eq(run(EU), 2);
    cr_assert_eq(run(US), 1);
    cr_assert_not(generation_conflict(generation, NULL));
}

Test(generation, entries_of_other_partitions_are_no_conflict)
{
    deposits(EU, 1, 0, 3);
    seize(&logs, US, "south", 2, "eu@1");
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(run(US), 1);
    cr_assert_not(generation_conflict(generation, NULL));
}

Test(generation, a_handover_is_no_conflict)
{
    deposits(EU, 1, 0, 2);
    release_to(&logs, EU, "north", 1, "us");
    seize(&logs, US, "north", 2, "eu@3");
    deposits(US, 2, 10, 2);
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(run(US), 3);
    cr_assert_eq(row_count(db), 4);
    cr_assert_not(generation_conflict(generation, NULL));
}

/* ap's seizure was first, so it wins over that of us, and it rests on more. */
Test(generation, a_competing_seizure_that_makes_effective_what_was_left_out_is_a_conflict)
{
    deposits(EU, 1, 0, 3);
    seize(&logs, AP, "*", 2, "eu@3");
    seize(&logs, US, "*", 2, "eu@1");
    cr_assert_eq(run_to(EU, 1), 1);
    cr_assert_eq(run(US), 1);
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(row_count(db), 1);
    cr_assert_eq(run(AP), 0);
    expect_conflict("makes entry 1 of demo/eu/1 effective");
}

Test(generation, a_loser_of_an_epoch_makes_nothing_late)
{
    deposits(EU, 1, 0, 3);
    seize(&logs, AP, "*", 2, "eu@3");
    seize(&logs, US, "*", 2, "eu@1");
    deposits(US, 2, 10, 1);
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(run(AP), 1);
    cr_assert_eq(run(US), 2);
    cr_assert_eq(row_count(db), 3);
}

/* The log of a second incarnation may be met before the change that it rests on. */
Test(generation, a_change_that_makes_a_later_incarnations_entries_effective_is_a_conflict)
{
    seize(&logs, US, "*", 2, "");
    deposits(US2, 2, 0, 2);
    cr_assert_eq(run(US2), 2);
    cr_assert_eq(row_count(db), 0);
    cr_assert_eq(run(US), 0);
    expect_conflict("makes entry 0 of demo/us/2 effective");
}

Test(generation, what_is_late_is_told_from_the_database_alone)
{
    deposits(EU, 1, 0, 1);
    seize(&logs, US, "*", 2, "eu@1");
    cr_assert_eq(run(EU), 1);
    cr_assert_eq(run(US), 1);
    reopen();
    deposits(EU, 1, 1, 2);
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(row_count(db), 1);
}

/* The generation that a conflict calls for. */
Test(generation, one_that_was_told_leaves_out_what_is_late_from_the_start)
{
    struct buf known;
    struct err err = {0};
    deposits(EU, 1, 0, 3);
    seize(&logs, US, "*", 2, "eu@1");
    run(EU);
    run(US);
    expect_conflict("late");
    buf_init(&known, GENERATION_AUTHORITY_MAX_BYTES);
    cr_assert_eq(generation_known(generation, &known, &err), 0, "%s", err.message);
    generation_free(generation);
    projection_db_close(db);
    projection_spec_free(spec);
    files_join(logs.folder, "db2", path);
    db = open_db(path, DEPOSITS, &spec);
    open_generation();
    cr_assert_eq(generation_tell(generation, buf_bytes(&known), &err), 0, "%s", err.message);
    buf_free(&known);
    cr_assert_not(complete());
    cr_assert_eq(run(US), 0); /* what it knows does not release it from the basis */
    cr_assert_eq(run(EU), 3);
    cr_assert_eq(row_count(db), 1);
    cr_assert_not(complete());
    cr_assert_eq(run(US), 1);
    cr_assert(complete());
    cr_assert_not(generation_conflict(generation, NULL));
}

Test(generation, an_id_accepted_again_under_a_higher_epoch_has_one_effect)
{
    deposit(&logs, EU, "north", 1, 7, "late");
    seize(&logs, US, "*", 2, "");
    deposit(&logs, US, "north", 2, 7, "again");
    cr_assert_eq(run(US), 2);
    cr_assert_eq(run(EU), 1);
    cr_assert_eq(row_count(db), 1);
}

Test(generation, a_seizure_that_is_none_is_ignored)
{
    deposits(EU, 1, 0, 1);
    append_broken_seizure(&logs, US, true);
    cr_assert_eq(run(EU), 1);
    cr_assert_eq(run(US), 1);
    deposits(EU, 1, 1, 1);
    cr_assert_eq(run(EU), 2);
    cr_assert_eq(row_count(db), 2);
}

Test(generation, a_seizure_whose_payload_is_not_here_is_refused)
{
    struct err err = {0};
    append_broken_seizure(&logs, US, false);
    cr_assert_eq(try_step(US, UINT64_MAX, &err), ERR_CORRUPT);
    expect_says(&err, "control entry 0 of demo/us/1");
}

Test(generation, one_epoch_after_another_is_applied_in_order)
{
    deposits(EU, 1, 0, 2);
    seize(&logs, US, "*", 2, "eu@2");
    deposits(US, 2, 10, 2);
    seize(&logs, AP, "*", 3, "eu@2,us@2");
    deposits(AP, 3, 20, 2);
    cr_assert_eq(run(AP), 0);
    cr_assert_eq(run(EU), 2);
    cr_assert_eq(run(AP), 0);
    cr_assert_eq(run_to(US, 2), 2);
    cr_assert_eq(run(AP), 3);
    cr_assert_eq(run(US), 3);
    cr_assert_eq(row_count(db), 5);
}

#define POSITIVE                                                                                                       \
    "-- tally: projection deposits\n-- tally: schema\nCREATE TABLE deposit(id TEXT, n CHECK(n > 0));\n"                \
    "-- tally: on bank Deposited\nINSERT INTO deposit VALUES(:event_id, CAST(:payload AS INTEGER));\n"

static void setup_positive(void)
{
    setup_with(POSITIVE);
}

Test(generation_failure, a_statement_that_fails_stops_right_there_and_may_turn_out_to_be_late, .init = setup_positive,
     .fini = teardown)
{
    struct err err = {0};
    deposit(&logs, EU, "north", 1, 0, "1");
    release_to(&logs, EU, "*", 1, "us");
    deposit(&logs, EU, "north", 1, 1, "0");
    cr_assert_eq(try_step(EU, UINT64_MAX, &err), 0);
    cr_assert_eq(applied(db, "demo/eu/1"), 2);
    cr_assert_eq(try_step(EU, UINT64_MAX, &err), ERR_INVALID);
    expect_says(&err, "entry 2 of demo/eu/1");
    cr_assert_eq(applied(db, "demo/eu/1"), 2);
    cr_assert_eq(row_count(db), 1);
    seize(&logs, US, "*", 2, "eu@2");
    cr_assert_eq(run(US), 1);
    cr_assert_eq(run(EU), 3); /* late by now, so its statement is not run */
    cr_assert_eq(row_count(db), 1);
}

Test(generation, every_failing_allocation_of_a_change_leaves_the_generation_usable)
{
    int code = ERR_NO_MEMORY;
    deposits(EU, 1, 0, 1);
    seize(&logs, US, "*", 2, "eu@1");
    cr_assert_eq(run(EU), 1);
    for (uint64_t at = 1; code != 0; at++) {
        struct err err = {0};
        mem_fail_at(at);
        code = try_step(US, UINT64_MAX, &err);
        mem_fail_at(0);
        cr_assert(code == 0 || code == ERR_NO_MEMORY, "%s", err.message);
    }
    deposits(EU, 1, 1, 1);
    cr_assert_eq(run(EU), 2);
    cr_assert_eq(row_count(db), 1);
}

/* --- Contexts that are created on the way --- */

static void setup_shop(void)
{
    setup_with(DEPOSITS "-- tally: on shop Deposited\n"
                        "INSERT INTO deposit VALUES(:event_id, :stream, :payload);\n");
}

TestSuite(generation_contexts, .init = setup_shop, .fini = teardown);

Test(generation_contexts, entries_of_a_context_that_is_created_before_them_have_their_effect)
{
    create_context(&logs, EU, "shop", "us", "");
    deposit_in(&logs, US, "shop", 1);
    cr_assert_eq(run(EU), 1);
    cr_assert_eq(run(US), 1);
    cr_assert_eq(row_count(db), 1);
    reopen();
    deposit_in(&logs, US, "shop", 2);
    cr_assert_eq(run(US), 2);
    cr_assert_eq(row_count(db), 2);
    cr_assert_not(generation_conflict(generation, NULL));
}

Test(generation_contexts, a_creation_that_comes_after_entries_of_its_context_is_a_conflict)
{
    deposits(US, 1, 10, 1);
    create_context(&logs, EU, "shop", "us", "us@1");
    deposit_in(&logs, US, "shop", 2);
    cr_assert_eq(run(US), 2);
    cr_assert_eq(row_count(db), 0);
    cr_assert_eq(run(EU), 0);
    expect_conflict("entry 1 of demo/us/1 effective");
}

Test(generation_contexts, a_creation_before_all_entries_that_are_applied_is_no_conflict)
{
    deposits(EU, 1, 0, 3);
    deposits(US, 1, 10, 3);
    create_context(&logs, EU, "shop", "us", "eu@3,us@3");
    cr_assert_eq(run(US), 3);
    cr_assert_eq(run(EU), 4);
    cr_assert_eq(row_count(db), 3);
    cr_assert_not(generation_conflict(generation, NULL));
}
