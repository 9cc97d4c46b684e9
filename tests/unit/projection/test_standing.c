/* Of events with one id that several regions accepted, the earliest has its effect, whatever order the logs come in. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "projection/check.h"
#include "projection/follower.h"
#include "projection/generation.h"
#include "unit/projection/fixture.h"
#include "unit/projection/logs.h"

#define COUNTS(columns)                                                                                                \
    "-- tally: projection counts\n"                                                                                    \
    "-- tally: schema\n"                                                                                               \
    "CREATE TABLE counted(id TEXT, payload, place TEXT);\n"                                                            \
    "-- tally: on bank Counted\n"                                                                                      \
    "INSERT INTO counted VALUES(:event_id, :payload, " columns ");\n"

enum { EU, US, AP };

static struct logs logs;
static char folder[FILES_PATH_MAX];
static const char *sql;
static struct projection *projection;
static struct follower *follower;

static void follow(void)
{
    struct err err = {0};
    cr_assert_eq(follower_new(projection, &logs_contexts, &follower, &err), 0, "%s", err.message);
}

static void setup_with(const char *file)
{
    struct err err = {0};
    sql = file;
    logs_open(&logs, 3);
    files_join(logs.folder, "projection", folder);
    cr_assert_eq(projection_create(folder, bytes_of_string(sql), NULL, NULL, &projection, &err), 0, "%s", err.message);
    follow();
}

static void setup(void)
{
    setup_with(COUNTS("''"));
}

static void setup_telling(void)
{
    setup_with(COUNTS(":origin || ' ' || :position"));
}

static void setup_both(void)
{
    setup_with(COUNTS("''") "-- tally: on bank Deposited\n"
                            "INSERT INTO counted VALUES(:event_id, :payload, '');\n");
}

static void teardown(void)
{
    follower_free(follower);
    projection_close(projection);
    logs_close(&logs);
}

TestSuite(standing, .init = setup, .fini = teardown);
TestSuite(standing_telling, .init = setup_telling, .fini = teardown);

static void reopen(void)
{
    struct err err = {0};
    follower_free(follower);
    projection_close(projection);
    cr_assert_eq(projection_open(folder, NULL, NULL, &projection, &err), 0, "%s", err.message);
    follow();
}

/* Steps until everything stands still; returns how many rebuilds were begun. */
static unsigned settle(void)
{
    struct follower_progress progress = {.moved = true};
    unsigned begun = 0;
    for (unsigned steps = 0; progress.moved; steps++) {
        struct err err = {0};
        cr_assert_lt(steps, 1000, "it does not come to an end");
        cr_assert_eq(follower_step(follower, logs.logs, logs.count, &progress, &err), 0, "%s", err.message);
        begun += progress.begun;
    }
    return begun;
}

/* One log alone. */
static void settle_to(size_t at)
{
    struct position position = {.count = 0};
    for (size_t i = 0; i < logs.count; i++)
        cr_assert_eq(position_set(&position, logs.origins[i].region, logs.origins[i].incarnation,
                                  i == at ? logs_size(&logs, i) : 0),
                     0);
    follower_hold(follower, &position);
    settle();
    follower_release(follower);
}

static uint64_t rows(void)
{
    return row_count(projection_live(projection));
}

/* What a projection has that sees nothing but these events, in this order. */
static struct hash expected(size_t count, const uint64_t *ids, const char *const *payloads, const char *const *places)
{
    struct projection_spec *spec = NULL;
    struct projection_db *db = open_db("", sql, &spec);
    for (size_t i = 0; i < count; i++) {
        struct event event;
        char origin[64] = "demo/eu/1";
        unsigned long long index = i;
        if (places != NULL)
            index = strtoull(strchr(places[i], ' ') + 1, NULL, 10);
        if (places != NULL)
            snprintf(origin, sizeof(origin), "%.*s", (int)strcspn(places[i], " "), places[i]);
        event_init(&event, origin, index, "s", payloads[i]);
        event.entry.type = BYTES_LITERAL("Counted");
        memset(event.entry.event_id, 0, ENTRY_ID_SIZE);
        put_u64_be(event.entry.event_id, ids[i]);
        cr_assert_eq(try_apply(db, &event, NULL), 0);
    }
    struct hash hash = digest(db, NULL);
    projection_db_close(db);
    projection_spec_free(spec);
    return hash;
}

static void expect_live(struct hash hash)
{
    struct hash live = digest(projection_live(projection), NULL);
    cr_expect(hash_equal(&live, &hash));
}

static void expect_check_agrees(void)
{
    struct check_result result;
    struct err err = {0};
    struct buf known;
    uint64_t ends[LOGS_MAX];
    for (size_t i = 0; i < logs.count; i++)
        ends[i] = logs_size(&logs, i);
    buf_init(&known, GENERATION_AUTHORITY_MAX_BYTES);
    cr_assert_eq(follower_known(follower, &known, &err), 0, "%s", err.message);
    const struct check_subject subject = {.sql = bytes_of_string(sql),
                                          .contexts = &logs_contexts,
                                          .known = buf_bytes(&known),
                                          .logs = logs.logs,
                                          .log_count = logs.count,
                                          .ends = ends,
                                          .seed_count = 10};
    cr_assert_eq(projection_check(&subject, &result, &err), 0, "%s", err.message);
    cr_expect_not(result.differs, "seed %llu", (unsigned long long)result.seed);
    buf_free(&known);
}

Test(standing, an_event_that_two_regions_accepted_has_one_effect_in_either_order)
{
    static const uint64_t ids[] = {1, 2};
    static const char *const payloads[] = {"1", "2"};
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, EU, 1, "1");
    count_anywhere(&logs, US, 1, "1");
    count_anywhere(&logs, US, 2, "2");
    count_anywhere(&logs, EU, 2, "2");
    settle_to(EU); /* 2 of us is the earlier one, and comes second */
    cr_expect_eq(rows(), 2);
    cr_expect_eq(settle(), 0, "it says the same: nothing is to be taken back");
    expect_live(expected(2, ids, payloads, NULL));
    expect_check_agrees();
}

Test(standing_telling, where_statements_ask_for_the_place_the_earlier_one_takes_over_by_a_rebuild)
{
    static const uint64_t ids[] = {1};
    static const char *const payloads[] = {"1"};
    static const char *const places[] = {"demo/us/1 0"};
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, US, 1, "1");
    count_anywhere(&logs, EU, 1, "1");
    settle_to(EU);
    cr_expect_eq(rows(), 1);
    cr_expect_eq(settle(), 1);
    expect_live(expected(1, ids, payloads, places));
    reopen();
    cr_expect_eq(settle(), 0);
    expect_live(expected(1, ids, payloads, places));
    expect_check_agrees();
}

Test(standing, of_two_that_say_different_things_the_earlier_one_has_its_effect)
{
    static const uint64_t ids[] = {1};
    static const char *const payloads[] = {"earlier"};
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, US, 1, "earlier");
    count_anywhere(&logs, EU, 1, "later");
    settle_to(EU);
    cr_expect_eq(settle(), 1);
    expect_live(expected(1, ids, payloads, NULL));
    expect_check_agrees();
}

Test(standing, three_of_one_id_end_in_the_earliest)
{
    static const uint64_t ids[] = {1};
    static const char *const payloads[] = {"first"};
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, AP, 1, "first");
    count_anywhere(&logs, US, 1, "second");
    count_anywhere(&logs, EU, 1, "third");
    settle_to(EU);
    settle_to(US);
    settle();
    expect_live(expected(1, ids, payloads, NULL));
    expect_check_agrees();
}

Test(standing, one_that_no_context_lets_be_accepted_there_runs_nothing)
{
    count_anywhere(&logs, US, 1, "1");
    cr_expect_eq(settle(), 0);
    cr_expect_eq(rows(), 0);
}

Test(standing, a_definition_that_comes_after_them_brings_them_in_by_a_rebuild)
{
    count_anywhere(&logs, US, 1, "1");
    let_count_anywhere(&logs, EU, 2, true);
    settle_to(US);
    cr_expect_eq(rows(), 0);
    cr_expect_eq(settle(), 1);
    cr_expect_eq(rows(), 1);
    expect_check_agrees();
}

Test(standing, what_the_home_accepted_before_it_heard_counts_once_too)
{
    static const uint64_t ids[] = {1};
    static const char *const payloads[] = {"1"};
    append_event(&logs, EU, "Counted", "north", 1, 1, "1");
    settle_to(EU);
    cr_expect_eq(rows(), 1);
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, US, 1, "1");
    cr_expect_eq(settle(), 1, "nobody had asked for ids of this type");
    expect_live(expected(1, ids, payloads, NULL));
    expect_check_agrees();
}

Test(standing, a_definition_that_takes_it_back_takes_them_out)
{
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, US, 1, "1");
    settle_to(EU);
    settle();
    cr_expect_eq(rows(), 1);
    let_count_anywhere(&logs, EU, 3, false); /* no home that obeys the rules says so */
    cr_expect_eq(settle(), 1);
    cr_expect_eq(rows(), 0);
    expect_check_agrees();
}

/* A "Deposited", which has a home, and a commutative event under one id, neither home knowing of the other. */
Test(standing, an_id_that_a_type_with_a_home_has_first_is_not_counted_in_either_order)
{
    let_count_anywhere(&logs, EU, 2, true);
    settle();
    deposit(&logs, EU, "north", 1, 1, "1");
    count_anywhere(&logs, US, 1, "1");
    settle_to(US);
    cr_expect_eq(rows(), 1, "it is the only one so far");
    cr_expect_eq(settle(), 1);
    cr_expect_eq(rows(), 0, "although the projection has no statements for what has the id");
    expect_check_agrees();
}

Test(standing, an_id_that_was_counted_first_is_kept_from_a_type_with_a_home)
{
    let_count_anywhere(&logs, EU, 2, true);
    settle();
    count_anywhere(&logs, US, 1, "1");
    deposit(&logs, EU, "north", 1, 1, "1");
    settle_to(EU);
    cr_expect_eq(rows(), 0);
    settle();
    cr_expect_eq(rows(), 1, "the earlier one has its effect");
    expect_check_agrees();
}

TestSuite(standing_both, .init = setup_both, .fini = teardown);

Test(standing_both, of_two_types_under_one_id_the_earlier_one_has_the_effect)
{
    let_count_anywhere(&logs, EU, 2, true);
    settle();
    count_anywhere(&logs, US, 1, "counted first");
    deposit(&logs, EU, "north", 1, 1, "1");
    deposit(&logs, EU, "north", 1, 2, "2");
    count_anywhere(&logs, US, 2, "too late");
    settle_to(EU);
    cr_expect_eq(rows(), 2);
    cr_expect_eq(settle(), 1);
    cr_expect_eq(rows(), 2, "one row an id");
    expect_check_agrees();
}

Test(standing_both, a_definition_asks_of_all_types_once)
{
    deposit(&logs, EU, "north", 1, 1, "1");
    settle_to(EU);
    cr_expect_eq(rows(), 1);
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, US, 1, "too late");
    cr_expect_eq(settle(), 1);
    cr_expect_eq(rows(), 1);
    expect_check_agrees();
}

Test(standing, other_types_are_applied_as_often_as_they_are_effective)
{
    let_count_anywhere(&logs, EU, 2, true);
    settle();
    append_event(&logs, EU, "Counted", "north", 1, 7, "1");
    settle();
    append_event(&logs, EU, "Counted", "north", 1, 8, "1");
    cr_expect_eq(settle(), 0);
    cr_expect_eq(rows(), 2);
}

Test(standing, an_earlier_one_waits_for_the_transaction_at_hand)
{
    static const uint64_t ids[] = {1, 2, 3};
    static const char *const payloads[] = {"earlier", "2", "3"};
    let_count_anywhere(&logs, EU, 2, true);
    count_anywhere(&logs, US, 2, "2");
    count_anywhere(&logs, US, 1, "earlier");
    count_anywhere(&logs, US, 3, "3");
    count_anywhere(&logs, EU, 1, "later");
    settle_to(EU);
    cr_expect_eq(settle(), 1);
    expect_live(expected(3, ids, payloads, NULL));
}
