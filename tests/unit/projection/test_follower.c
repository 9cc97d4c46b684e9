/* A projection that follows logs, and rebuilds itself when what it has applied becomes late. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/prng.h"
#include "projection/follower.h"
#include "projection/generation.h"
#include "unit/projection/fixture.h"
#include "unit/projection/logs.h"

enum { EU, US, AP };

static struct logs logs;
static char folder[FILES_PATH_MAX];
static struct projection *projection;
static struct follower *follower;

static void follow(void)
{
    struct err err = {0};
    cr_assert_eq(follower_new(projection, &logs_contexts, &follower, &err), 0, "%s", err.message);
}

static void setup(void)
{
    struct err err = {0};
    logs_open(&logs, 3);
    files_join(logs.folder, "projection", folder);
    cr_assert_eq(projection_create(folder, BYTES_LITERAL(DEPOSITS), NULL, NULL, &projection, &err), 0, "%s",
                 err.message);
    follow();
}

static void teardown(void)
{
    follower_free(follower);
    projection_close(projection);
    logs_close(&logs);
}

TestSuite(follower, .init = setup, .fini = teardown);

/* As after a crash. */
static void reopen(void)
{
    struct err err = {0};
    follower_free(follower);
    projection_close(projection);
    cr_assert_eq(projection_open(folder, NULL, NULL, &projection, &err), 0, "%s", err.message);
    follow();
}

static struct follower_progress step(void)
{
    struct follower_progress progress;
    struct err err = {0};
    cr_assert_eq(follower_step(follower, logs.logs, logs.count, &progress, &err), 0, "%s", err.message);
    return progress;
}

/* Steps until everything stands still; returns how many rebuilds were begun. */
static unsigned settle(void)
{
    struct follower_progress progress = {.moved = true};
    unsigned begun = 0;
    for (unsigned steps = 0; progress.moved; steps++) {
        cr_assert_lt(steps, 1000, "it does not come to an end");
        progress = step();
        begun += progress.begun ? 1 : 0;
    }
    return begun;
}

static uint64_t rows(void)
{
    return row_count(projection_live(projection));
}

static void deposits(size_t at, uint64_t epoch, uint64_t first_id, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        deposit(&logs, at, "north", epoch, first_id + i, "1");
}

/* eu accepts three, of which us has one when it takes over and accepts two. */
static void fail_over(void)
{
    deposits(EU, 1, 0, 3);
    seize(&logs, US, "*", 2, "eu@1");
    deposits(US, 2, 10, 2);
}

Test(follower, keeps_up_with_all_logs)
{
    deposits(EU, 1, 0, 3);
    cr_assert_eq(settle(), 0);
    cr_assert_eq(rows(), 3);
    deposits(EU, 1, 3, 1);
    cr_assert_eq(settle(), 0);
    cr_assert_eq(rows(), 4);
    cr_assert_str_eq(follower_reason(follower), "");
}

Test(follower, a_transaction_may_have_one_event)
{
    follower_limit(follower, 1);
    fail_over();
    cr_assert_eq(settle(), 0);
    cr_assert_eq(rows(), 3, "one of eu, two of us");
}

Test(follower, rebuilds_itself_when_what_it_has_applied_becomes_late)
{
    fail_over();
    cr_assert_eq(settle(), 1);
    cr_assert_eq(projection_generation(projection), 2);
    cr_assert_eq(rows(), 3);
    cr_assert_eq(applied(projection_live(projection), "demo/eu/1"), 3);
    cr_assert_eq(applied(projection_live(projection), "demo/us/1"), 3);
    cr_assert_str_eq(follower_reason(follower), "");
    deposits(US, 2, 12, 1);
    deposits(EU, 1, 3, 1);
    cr_assert_eq(settle(), 0);
    cr_assert_eq(rows(), 4);
}

Test(follower, the_live_generation_stays_readable_while_the_next_is_filled)
{
    struct position position;
    struct err err = {0};
    fail_over();
    struct follower_progress progress = step();
    cr_assert(progress.begun);
    cr_assert_not(progress.switched);
    cr_assert_eq(rows(), 3);
    cr_assert_eq(follower_position(follower, &position, &err), 0);
    cr_assert_eq(position_get(&position, "eu", 1), 3);
    cr_assert_eq(position_get(&position, "us", 1), 0);
    cr_assert_eq(follower_rebuild_position(follower, &position, &err), 0);
    cr_assert_not_null(strstr(follower_reason(follower), "makes entry 1 of demo/eu/1 late"));
    settle();
    cr_assert_eq(follower_rebuild_position(follower, &position, &err), ERR_NOT_FOUND);
}

Test(follower, a_crash_after_any_step_ends_in_the_same_contents)
{
    fail_over();
    settle();
    struct hash expected = digest(projection_live(projection), NULL);
    for (unsigned crash_after = 0; crash_after < 4; crash_after++) {
        struct err err = {0};
        char name[32];
        snprintf(name, sizeof(name), "crashed-%u", crash_after);
        files_join(logs.folder, name, folder);
        follower_free(follower);
        projection_close(projection);
        cr_assert_eq(projection_create(folder, BYTES_LITERAL(DEPOSITS), NULL, NULL, &projection, &err), 0, "%s",
                     err.message);
        follow();
        for (unsigned i = 0; i < crash_after; i++)
            step();
        reopen();
        settle();
        struct hash found = digest(projection_live(projection), NULL);
        cr_assert(hash_equal(&expected, &found), "after %u steps", crash_after);
    }
}

/* Here the log with the change comes first, so the next generation reaches the live one's position before the change.
 */
Test(follower, a_generation_that_has_not_passed_all_it_was_told_is_not_switched_to)
{
    struct log *order[] = {logs.logs[US], logs.logs[EU]};
    struct follower_progress progress = {.begun = false};
    struct err err = {0};
    deposits(EU, 1, 0, 3);
    seize(&logs, US, "*", 2, "eu@1");
    while (!progress.begun)
        cr_assert_eq(follower_step(follower, order, 2, &progress, &err), 0, "%s", err.message);
    cr_assert_eq(follower_step(follower, order, 2, &progress, &err), 0, "%s", err.message);
    cr_assert_eq(applied(projection_next(projection), "demo/eu/1"), 3);
    cr_assert_not(progress.switched);
    cr_assert_eq(follower_step(follower, order, 2, &progress, &err), 0, "%s", err.message);
    cr_assert(progress.switched);
    cr_assert_eq(rows(), 1);
}

/* us's tail was never seen by ap, which takes over from it in turn. */
Test(follower, a_conflict_of_the_next_generation_begins_it_again)
{
    deposits(EU, 1, 0, 3);
    cr_assert_eq(settle(), 0);
    seize(&logs, US, "*", 2, "eu@1");
    cr_assert(step().begun);
    deposits(US, 2, 10, 3);
    step();
    seize(&logs, AP, "*", 3, "eu@1,us@2");
    deposits(AP, 3, 20, 1);
    settle();
    cr_assert_eq(rows(), 3); /* eu's first, us's first, ap's */
    cr_assert_eq(applied(projection_live(projection), "demo/us/1"), 4);
}

Test(follower, a_rebuild_that_was_asked_for_knows_what_the_live_one_knows)
{
    struct err err = {0};
    fail_over();
    settle();
    struct hash before = digest(projection_live(projection), NULL);
    cr_assert_eq(follower_rebuild(follower, &err), 0, "%s", err.message);
    cr_assert_str_eq(follower_reason(follower), "");
    cr_assert_eq(settle(), 0);
    cr_assert_eq(projection_generation(projection), 3);
    struct hash after = digest(projection_live(projection), NULL);
    cr_assert(hash_equal(&before, &after));
}

Test(follower, a_competing_seizure_that_wins_brings_back_what_was_left_out)
{
    deposits(EU, 1, 0, 1);
    settle();
    seize(&logs, AP, "*", 2, "eu@1"); /* rests on less than it could; wins by its time */
    seize(&logs, US, "*", 2, "");
    deposits(US, 2, 10, 1);
    settle();
    cr_assert_eq(rows(), 1);
    deposits(AP, 2, 20, 2);
    settle();
    cr_assert_eq(rows(), 3);
}

/* us is the home of "north" now, from epoch 1 on. */
Test(follower, what_is_held_goes_to_its_place_and_no_further)
{
    struct position at;
    struct position stands;
    deposits(0, 1, 1, 4);
    deposits(1, 1, 10, 4);
    cr_assert_eq(position_parse(BYTES_LITERAL("eu@3,us@1"), &at, NULL), 0);
    follower_hold(follower, &at);
    settle();
    cr_assert_eq(follower_position(follower, &stands, NULL), 0);
    cr_assert(position_equal(&stands, &at));
    follower_release(follower);
    settle();
    cr_assert_eq(follower_position(follower, &stands, NULL), 0);
    cr_assert_eq(position_get(&stands, "eu", 1), 4);
    cr_assert_eq(position_get(&stands, "us", 1), 4);
}

Test(follower, no_next_generation_becomes_live_while_it_is_held)
{
    struct position at;
    struct err err = {0};
    deposits(0, 1, 1, 4);
    settle();
    cr_assert_eq(follower_rebuild(follower, &err), 0, "%s", err.message);
    cr_assert_eq(follower_position(follower, &at, NULL), 0);
    follower_hold(follower, &at);
    settle();
    cr_assert_eq(projection_generation(projection), 1);
    follower_release(follower);
    settle();
    cr_assert_eq(projection_generation(projection), 2);
}

Test(follower, other_contexts_are_a_reason_to_rebuild)
{
    static const struct context_home homes[] = {{"north", "us"}};
    static const struct context contexts[] = {{.name = "bank", .default_home = "eu", .home_count = 1, .homes = homes}};
    static const struct context_table others = {.count = 1, .contexts = contexts};
    struct err err = {0};
    deposits(EU, 1, 0, 3);
    deposits(US, 1, 10, 2);
    settle();
    cr_assert_eq(rows(), 3);
    follower_free(follower);
    cr_assert_eq(follower_new(projection, &others, &follower, &err), 0, "%s", err.message);
    cr_assert_eq(settle(), 1);
    cr_assert_eq(rows(), 2);
    cr_assert_eq(projection_generation(projection), 2);
    cr_assert_eq(settle(), 0);
}

#define POSITIVE                                                                                                       \
    "-- tally: projection positive\n-- tally: schema\nCREATE TABLE deposit(n INTEGER CHECK(n > 0));\n"                 \
    "-- tally: on bank Deposited\nINSERT INTO deposit VALUES(CAST(:payload AS INTEGER));\n"

static void follow_positive(void)
{
    struct err err = {0};
    follower_free(follower);
    projection_close(projection);
    files_join(logs.folder, "positive", folder);
    cr_assert_eq(projection_create(folder, BYTES_LITERAL(POSITIVE), NULL, NULL, &projection, &err), 0, "%s",
                 err.message);
    follow();
}

Test(follower, an_event_whose_statement_fails_stops_it_with_the_event)
{
    struct follower_progress progress;
    struct err err = {0};
    follow_positive();
    deposits(EU, 1, 0, 2);
    deposit(&logs, EU, "north", 1, 2, "0");
    cr_assert(step().moved);
    cr_assert_eq(follower_step(follower, logs.logs, logs.count, &progress, &err), ERR_INVALID);
    expect_says(&err, "entry 2 of demo/eu/1");
    cr_assert_eq(rows(), 2);
}

Test(follower, an_event_whose_statement_fails_is_passed_once_it_is_late)
{
    follow_positive();
    deposits(EU, 1, 0, 2);
    deposit(&logs, EU, "north", 1, 2, "0");
    seize(&logs, US, "*", 2, "eu@2");
    deposit(&logs, US, "north", 2, 10, "7");
    cr_assert_eq(settle(), 0);
    cr_assert_eq(rows(), 3);
    cr_assert_eq(applied(projection_live(projection), "demo/eu/1"), 3);
}

/* --- Any history, any order --- */

enum { HISTORIES = 8, ACTIONS = 100, ORDERS = 3 };

/* What a region has seen of the logs, and who is home by it. */
struct view {
    struct position seen;
    struct authority_table table;
};

static void parse_at(size_t at, uint64_t index, struct entry *ret, struct bytes *ret_payload, struct block **ret_block)
{
    struct bytes encoded;
    struct frame frame;
    cr_assert_eq(log_read_block(logs.logs[at], index, ret_block, NULL), 0);
    cr_assert_eq(block_find(*ret_block, index, &encoded, NULL), 0);
    cr_assert_eq(frame_parse(encoded, &frame, NULL), 0);
    cr_assert_eq(entry_parse(frame.entry, ret, NULL), 0);
    *ret_payload = frame.payload;
}

/* The view takes the next entry of a log in, if it may. */
static bool look(struct view *view, size_t at)
{
    const struct origin *origin = &logs.origins[at];
    uint64_t index = position_get(&view->seen, origin->region, origin->incarnation);
    if (index >= logs_size(&logs, at))
        return false;
    struct entry entry;
    struct bytes payload;
    struct block *block = NULL;
    struct authority_event event;
    parse_at(at, index, &entry, &payload, &block);
    cr_assert_eq(authority_event_of(&entry, payload, origin, &event, NULL), 0);
    bool ready = event.kind == CONTROL_UNKNOWN || authority_ready(&view->table, &event, &view->seen);
    if (ready && event.kind != CONTROL_UNKNOWN)
        cr_assert_eq(authority_apply(&view->table, &event, NULL), 0);
    block_release(block);
    if (ready)
        cr_assert_eq(position_set(&view->seen, origin->region, origin->incarnation, index + 1), 0);
    return ready;
}

static const char *const partitions[] = {"north", "south"};

/* The region appends to a partition that it is home of, as far as it has seen, or takes one over. */
static void act(struct prng *prng, struct view *view, size_t at, uint64_t id)
{
    struct authority_now now;
    const char *partition = partitions[prng_below(prng, 2)];
    while (look(view, at))
        ;
    cr_assert_eq(authority_now(&view->table, BYTES_LITERAL("bank"), bytes_of_string(partition), &now, NULL), 0);
    if (strcmp(now.region, logs.origins[at].region) == 0)
        deposit(&logs, at, partition, now.epoch, id, "1");
    else if (prng_below(prng, 4) == 0) {
        const char *all = prng_below(prng, 3) == 0 ? "*" : partition;
        cr_assert_eq(authority_now(&view->table, BYTES_LITERAL("bank"), bytes_of_string(all), &now, NULL), 0);
        seize_at(&logs, at, all, now.epoch + 1, &view->seen);
    }
}

static void make_history(struct prng *prng)
{
    struct view views[3];
    for (size_t i = 0; i < 3; i++) {
        views[i] = (struct view){.seen = {.count = 0}};
        authority_table_init(&views[i].table, &logs_contexts);
    }
    for (uint64_t action = 0; action < ACTIONS; action++) {
        size_t at = prng_below(prng, 3);
        for (uint64_t looks = prng_below(prng, 6); looks > 0; looks--)
            look(&views[at], prng_below(prng, 3));
        act(prng, &views[at], at, action);
    }
    for (size_t i = 0; i < 3; i++)
        authority_table_free(&views[i].table);
}

/* Entries that count, by a table that has seen everything at once. */
static uint64_t effective_count(void)
{
    struct view view = {.seen = {.count = 0}};
    authority_table_init(&view.table, &logs_contexts);
    bool moved = true;
    while (moved) {
        moved = false;
        for (size_t at = 0; at < 3; at++)
            moved = look(&view, at) || moved;
    }
    uint64_t count = 0;
    for (size_t at = 0; at < 3; at++) {
        for (uint64_t index = 0; index < logs_size(&logs, at); index++) {
            struct entry entry;
            struct bytes payload;
            struct block *block = NULL;
            parse_at(at, index, &entry, &payload, &block);
            if ((entry.flags & ENTRY_FLAG_CONTROL) == 0 &&
                !authority_is_late(&view.table, entry.context, entry.partition, entry.epoch, logs.origins[at].region,
                                   logs.origins[at].incarnation, index))
                count++;
            block_release(block);
        }
    }
    authority_table_free(&view.table);
    return count;
}

/* Fills a new projection, in an order that the seed decides, with closes between. */
static struct hash fill(struct prng *prng, uint64_t history, unsigned order, uint64_t *ret_rows)
{
    struct err err = {0};
    char name[64];
    snprintf(name, sizeof(name), "h%llu-%u", (unsigned long long)history, order);
    files_join(logs.folder, name, folder);
    cr_assert_eq(projection_create(folder, BYTES_LITERAL(DEPOSITS), NULL, NULL, &projection, &err), 0, "%s",
                 err.message);
    struct generation *first = NULL;
    cr_assert_eq(generation_new(projection_live(projection), &logs_contexts, &first, &err), 0, "%s", err.message);
    for (unsigned i = 0; i < 30; i++) {
        struct generation_progress progress;
        cr_assert_eq(generation_step(first, logs.logs, logs.count, prng_below(prng, 3), UINT64_MAX,
                                     1 + prng_below(prng, 6), &progress, &err),
                     0, "%s", err.message);
    }
    generation_free(first);
    follow();
    settle();
    struct hash hash = digest(projection_live(projection), ret_rows);
    follower_free(follower);
    projection_close(projection);
    return hash;
}

Test(follower_order, every_order_of_any_history_ends_in_the_effective_events)
{
    struct prng prng;
    prng_seed(&prng, 20261124);
    for (uint64_t history = 0; history < HISTORIES; history++) {
        struct hash first;
        logs_open(&logs, 3);
        make_history(&prng);
        uint64_t expected = effective_count();
        for (unsigned order = 0; order < ORDERS; order++) {
            uint64_t found = 0;
            struct hash hash = fill(&prng, history, order, &found);
            cr_assert_eq(found, expected, "history %llu, order %u: %llu rows, not %llu", (unsigned long long)history,
                         order, (unsigned long long)found, (unsigned long long)expected);
            first = order == 0 ? hash : first;
            cr_assert(hash_equal(&hash, &first), "history %llu, order %u", (unsigned long long)history, order);
        }
        logs_close(&logs);
    }
}
