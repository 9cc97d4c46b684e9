/* Replaying in random interleavings: what commutes passes, what does not is named. */
#include <criterion/criterion.h>

#include "projection/check.h"
#include "projection/generation.h"
#include "unit/projection/fixture.h"
#include "unit/projection/logs.h"

/* "first" keeps whichever came first, which no two regions agree on; "sum" commutes. */
#define WHOEVER_COMES_FIRST                                                                                            \
    "-- tally: projection deposits\n-- tally: schema\n"                                                                \
    "CREATE TABLE first(partition TEXT PRIMARY KEY, id TEXT);\n"                                                       \
    "CREATE TABLE sum(n INTEGER);\nINSERT INTO sum VALUES(0);\n"                                                       \
    "-- tally: on bank Deposited\n"                                                                                    \
    "INSERT OR IGNORE INTO first VALUES('any', :event_id);\n"                                                          \
    "UPDATE sum SET n = n + 1;\n"

/* Fails when "south" comes before the first of "north". */
#define NEEDS_AN_ORDER                                                                                                 \
    "-- tally: projection deposits\n-- tally: schema\n"                                                                \
    "CREATE TABLE open(n INTEGER CHECK(n >= 0));\nINSERT INTO open VALUES(0);\n"                                       \
    "-- tally: on bank Deposited\n"                                                                                    \
    "UPDATE open SET n = n + CASE :partition WHEN 'north' THEN 1 ELSE -1 END;\n"

static struct logs logs;
static uint64_t ends[LOGS_MAX];

static void setup(void)
{
    logs_open(&logs, 2);
}

static void teardown(void)
{
    logs_close(&logs);
}

TestSuite(check, .init = setup, .fini = teardown);

static int check(const char *sql, struct bytes known, struct check_result *ret, struct err *err)
{
    for (size_t i = 0; i < logs.count; i++)
        ends[i] = logs_size(&logs, i);
    const struct check_subject subject = {.sql = bytes_of_string(sql),
                                          .contexts = &logs_contexts,
                                          .logs = logs.logs,
                                          .log_count = logs.count,
                                          .ends = ends,
                                          .known = known,
                                          .seed_count = 8};
    return projection_check(&subject, ret, err);
}

/* us takes "south" over, and both accept. */
static void two_homes(void)
{
    seize(&logs, 1, "south", 2, "");
    for (uint64_t i = 0; i < 20; i++) {
        deposit(&logs, 0, "north", 1, i, "1");
        deposit(&logs, 1, "south", 2, 100 + i, "1");
    }
}

Test(check, statements_that_commute_pass)
{
    struct check_result result;
    struct err err = {0};
    two_homes();
    cr_assert_eq(check(DEPOSITS, bytes_of(NULL, 0), &result, &err), 0, "%s", err.message);
    cr_assert_not(result.differs);
    cr_assert_eq(result.seeds_run, 8);
    cr_assert_eq(result.event_count, 41);
}

Test(check, statements_that_do_not_commute_are_found_with_seed_and_table)
{
    struct check_result result;
    struct check_result again;
    struct err err = {0};
    two_homes();
    cr_assert_eq(check(WHOEVER_COMES_FIRST, bytes_of(NULL, 0), &result, &err), 0, "%s", err.message);
    cr_assert(result.differs);
    cr_assert_str_eq(result.table, "first");
    cr_assert_eq(result.seeds_run, result.seed);
    cr_assert_eq(check(WHOEVER_COMES_FIRST, bytes_of(NULL, 0), &again, &err), 0, "%s", err.message);
    cr_assert_eq(again.seed, result.seed);
}

Test(check, a_statement_that_fails_in_another_order_is_named_with_its_seed)
{
    struct check_result result;
    struct err err = {0};
    two_homes();
    cr_assert_eq(check(NEEDS_AN_ORDER, bytes_of(NULL, 0), &result, &err), ERR_INVALID);
    expect_says(&err, "seed");
    expect_says(&err, "CHECK constraint failed");
}

/* Without what the live generation knows, some interleavings would apply eu's tail before it is late. */
Test(check, late_entries_have_no_effect_in_any_interleaving)
{
    struct check_result result;
    struct err err = {0};
    struct projection_spec *spec = NULL;
    struct projection_db *db = open_db("", DEPOSITS, &spec);
    struct generation *generation = NULL;
    struct generation_progress progress;
    struct buf known;
    for (uint64_t i = 0; i < 20; i++)
        deposit(&logs, 0, "north", 1, i, "1");
    seize(&logs, 1, "*", 2, "eu@5");
    deposit(&logs, 1, "north", 2, 100, "1");
    cr_assert_eq(generation_new(db, &logs_contexts, &generation, &err), 0);
    cr_assert_eq(generation_step(generation, logs.logs, 2, 0, 5, 100, &progress, &err), 0);
    cr_assert_eq(generation_step(generation, logs.logs, 2, 1, UINT64_MAX, 100, &progress, &err), 0);
    buf_init(&known, GENERATION_AUTHORITY_MAX_BYTES);
    cr_assert_eq(generation_known(generation, &known, &err), 0);
    cr_assert_eq(check(DEPOSITS, buf_bytes(&known), &result, &err), 0, "%s", err.message);
    cr_assert_not(result.differs);
    cr_assert_eq(result.event_count, 22);
    cr_assert_eq(result.seeds_run, 8);
    buf_free(&known);
    generation_free(generation);
    projection_db_close(db);
    projection_spec_free(spec);
}

static bool stop_at_once(void *context)
{
    (void)context;
    return true;
}

Test(check, it_can_be_stopped)
{
    struct check_result result;
    struct err err = {0};
    two_homes();
    for (size_t i = 0; i < logs.count; i++)
        ends[i] = logs_size(&logs, i);
    const struct check_subject subject = {.sql = BYTES_LITERAL(DEPOSITS),
                                          .contexts = &logs_contexts,
                                          .logs = logs.logs,
                                          .log_count = logs.count,
                                          .ends = ends,
                                          .seed_count = 1,
                                          .stop = stop_at_once};
    cr_assert_eq(projection_check(&subject, &result, &err), ERR_UNAVAILABLE);
}
