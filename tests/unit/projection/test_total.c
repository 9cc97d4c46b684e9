/* Total order: entries of all logs by time, behind what every log has passed. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>

#include "projection/check.h"
#include "projection/follower.h"
#include "projection/generation.h"
#include "unit/projection/fixture.h"
#include "unit/projection/logs.h"

/* Keeps the order in which events came. Partition "south" has its home in us. */
#define HISTORY                                                                                                        \
    "-- tally: projection history\n-- tally: order total\n-- tally: schema\n"                                          \
    "CREATE TABLE history(text TEXT); INSERT INTO history VALUES('');\n"                                               \
    "-- tally: on bank Deposited\n"                                                                                    \
    "UPDATE history SET text = text || :payload;\n"

enum { EU, US, AP };

static struct logs logs;
static struct db_place place;
static struct projection_spec *spec;
static struct projection_db *db;
static struct generation *generation;
static hlc passed[LOGS_MAX];

static void open_generation(void)
{
    struct err err = {0};
    cr_assert_eq(projection_db_open(place.path, spec, NULL, &db, &err), 0, "%s", err.message);
    cr_assert_eq(generation_new(db, &logs_contexts, &generation, &err), 0, "%s", err.message);
}

static void close_generation(void)
{
    generation_free(generation);
    projection_db_close(db);
}

static void setup(void)
{
    logs_open(&logs, 2);
    logs.time = (hlc)900 << 16;
    seize(&logs, US, "south", 2, "");
    db_place_init(&place);
    spec = spec_of(HISTORY);
    open_generation();
    memset(passed, 0, sizeof(passed));
}

static void teardown(void)
{
    close_generation();
    projection_spec_free(spec);
    files_remove_folder(place.folder);
    logs_close(&logs);
}

TestSuite(total, .init = setup, .fini = teardown);

static hlc at_ms(uint64_t ms)
{
    return (hlc)ms << 16;
}

/* The next entry's time. */
static void set_time(uint64_t ms)
{
    logs.time = at_ms(ms) - (1 << 16);
}

static void deposit_at(size_t log, uint64_t ms, const char *payload)
{
    set_time(ms);
    if (log == US)
        deposit(&logs, US, "south", 2, ms, payload);
    else
        deposit(&logs, log, "north", 1, ms, payload);
}

static uint64_t step_of(uint64_t events_max)
{
    static const uint64_t ends[LOGS_MAX] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    struct generation_progress progress;
    struct err err = {0};
    cr_assert_eq(generation_step_total(generation, logs.logs, logs.count, ends, passed, events_max, &progress, &err), 0,
                 "%s", err.message);
    return progress.events;
}

static void settle(void)
{
    while (step_of(100) > 0) {
    }
}

static const char *history_in(const char *path)
{
    static char text[1024];
    sqlite3 *file = NULL;
    sqlite3_stmt *statement = NULL;
    cr_assert_eq(sqlite3_open_v2(path, &file, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(file, "SELECT text FROM history", -1, &statement, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW);
    snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(file);
    return text;
}

static void expect_history(const char *expected)
{
    settle();
    cr_assert_str_eq(history_in(place.path), expected);
    cr_assert_not(generation_conflict(generation, NULL));
}

Test(total, events_of_all_logs_come_by_time)
{
    deposit_at(US, 2000, "b");
    deposit_at(US, 4000, "d");
    deposit_at(EU, 1500, "a");
    deposit_at(EU, 3000, "c");
    deposit_at(EU, 5000, "e");
    passed[US] = at_ms(9000);
    expect_history("abcde");
}

Test(total, nothing_comes_before_every_log_has_passed_its_time)
{
    deposit_at(EU, 1500, "a");
    expect_history("");
    passed[US] = at_ms(1499);
    expect_history("");
    passed[US] = at_ms(1500);
    expect_history("a");
    deposit_at(EU, 1600, "b");
    deposit_at(EU, 1700, "c");
    deposit_at(US, 1650, "x"); /* its entry says how far it is, too */
    passed[US] = 0;
    expect_history("abx");
    passed[US] = HLC_NEVER;
    expect_history("abxc");
}

Test(total, equal_times_are_ordered_by_origin)
{
    deposit_at(US, 2000, "u");
    deposit_at(EU, 2000, "e");
    passed[EU] = passed[US] = HLC_NEVER;
    expect_history("eu");
}

Test(total, batches_and_restarts_do_not_show)
{
    for (int i = 0; i < 20; i++)
        deposit_at(i % 3 == 0 ? US : EU, 2000 + (uint64_t)i * 10, (char[]){(char)('a' + i), '\0'});
    passed[EU] = passed[US] = HLC_NEVER;
    while (step_of(3) > 0) {
        close_generation();
        open_generation();
    }
    expect_history("abcdefghijklmnopqrst");
}

Test(total, what_comes_before_what_had_its_effect_is_a_conflict)
{
    const char *reason = NULL;
    deposit_at(EU, 2000, "b");
    passed[US] = at_ms(3000); /* a claim that is not kept */
    expect_history("b");
    deposit_at(US, 1000, "a");
    settle();
    cr_assert(generation_conflict(generation, &reason));
    cr_assert_str_eq(reason, "entry 1 of demo/us/1 comes before entry 0 of demo/eu/1, which had its effect");
    cr_assert_str_eq(history_in(place.path), "b");
}

Test(total, a_restart_does_not_forget_what_had_its_effect)
{
    deposit_at(EU, 2000, "b");
    passed[US] = at_ms(3000);
    expect_history("b");
    close_generation();
    open_generation();
    deposit_at(US, 1000, "a");
    settle();
    cr_assert(generation_conflict(generation, NULL));
}

Test(total, what_is_late_or_has_no_statements_may_come_whenever)
{
    deposit_at(EU, 1100, "a");
    set_time(2000);
    seize(&logs, US, "north", 2, "eu@1");
    set_time(2100);
    deposit(&logs, US, "north", 2, 7, "b");
    passed[EU] = HLC_NEVER; /* it is lost */
    passed[US] = at_ms(5000);
    expect_history("ab");
    deposit_at(EU, 1200, "late");
    set_time(1300);
    append_event(&logs, EU, "Other", "elsewhere", 1, 9, "x");
    expect_history("ab");
    cr_assert_eq(applied(db, "demo/eu/1"), 3);
}

/* us's clock is behind: its seizure bears a time before what it rests on. */
static void seize_with_a_slow_clock(void)
{
    deposit_at(EU, 3000, "a");
    deposit_at(EU, 3100, "b");
    set_time(2000);
    seize(&logs, US, "north", 2, "eu@2");
    set_time(2100);
    deposit(&logs, US, "north", 2, 7, "c");
    set_time(2200);
    deposit(&logs, US, "north", 2, 8, "d");
    deposit_at(EU, 3200, "late");
}

Test(total, a_change_of_homes_comes_after_what_it_rests_on_whatever_its_clock_said)
{
    seize_with_a_slow_clock();
    passed[EU] = passed[US] = HLC_NEVER;
    expect_history("abcd");
}

Test(total, a_floor_survives_a_restart)
{
    seize_with_a_slow_clock();
    passed[EU] = passed[US] = HLC_NEVER;
    while (step_of(1) > 0) {
        close_generation();
        open_generation();
    }
    expect_history("abcd");
}

Test(total, its_check_is_equal_though_the_order_shows)
{
    uint64_t ends[2];
    struct check_result result;
    struct err err = {0};
    seize_with_a_slow_clock();
    ends[0] = logs_size(&logs, 0);
    ends[1] = logs_size(&logs, 1);
    const struct check_subject subject = {.sql = BYTES_LITERAL(HISTORY),
                                          .contexts = &logs_contexts,
                                          .logs = logs.logs,
                                          .log_count = 2,
                                          .ends = ends,
                                          .seed_count = 8};
    cr_assert_eq(projection_check(&subject, &result, &err), 0, "%s", err.message);
    cr_assert_not(result.differs);
    cr_assert_eq(result.event_count, 7);
}

Test(total, a_follower_rebuilds_what_came_out_of_order)
{
    struct projection *projection = NULL;
    struct follower *follower = NULL;
    struct follower_progress progress = {.moved = true};
    struct err err = {0};
    char folder[FILES_PATH_MAX];
    char file[FILES_PATH_MAX];
    const hlc claims[2] = {HLC_NEVER, HLC_NEVER};
    files_join(place.folder, "p", folder);
    cr_assert_eq(projection_create(folder, BYTES_LITERAL(HISTORY), NULL, NULL, &projection, &err), 0, "%s",
                 err.message);
    cr_assert_eq(follower_new(projection, &logs_contexts, &follower, &err), 0, "%s", err.message);
    follower_passed(follower, claims, 2);
    deposit_at(EU, 2000, "b");
    for (int i = 0; i < 100 && progress.moved; i++)
        cr_assert_eq(follower_step(follower, logs.logs, 2, &progress, &err), 0, "%s", err.message);
    deposit_at(US, 1500, "a");
    deposit_at(EU, 2500, "c");
    progress.moved = true;
    for (int i = 0; i < 100 && progress.moved; i++)
        cr_assert_eq(follower_step(follower, logs.logs, 2, &progress, &err), 0, "%s", err.message);
    cr_assert_not(progress.moved);
    cr_assert_eq(projection_generation(projection), 2);
    files_join(folder, "gen-2.sqlite", file);
    cr_assert_str_eq(history_in(file), "abc");
    follower_free(follower);
    projection_close(projection);
}
