/* What index.h promises, checked on both implementations: BOTH(name) is one test for each. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/prng.h"
#include "unit/index/fixture.h"

#define BOTH(name)                                                                                                     \
    static void check_##name(struct index *index);                                                                     \
    Test(index_memory, name)                                                                                           \
    {                                                                                                                  \
        struct index *index = index_memory_new(&fixture_contexts);                                                     \
        cr_assert_not_null(index);                                                                                     \
        check_##name(index);                                                                                           \
        index_close(index);                                                                                            \
    }                                                                                                                  \
    Test(index_rocksdb, name)                                                                                          \
    {                                                                                                                  \
        char folder[FOLDER_MAX_BYTES];                                                                                 \
        folder_make(folder);                                                                                           \
        struct index *index = open_rocksdb(folder);                                                                    \
        check_##name(index);                                                                                           \
        index_close(index);                                                                                            \
        folder_remove(folder);                                                                                         \
    }                                                                                                                  \
    static void check_##name(struct index *index)

/* --- Logs --- */

BOTH(a_new_index_knows_nothing)
{
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    cr_assert_eq(index_origin(index, 0, origin, NULL), ERR_NOT_FOUND);
    cr_assert_eq(index_applied_size(index, 0), 0);
    cr_assert_eq(index_sequence(index), 0);
    expect_no_head(index, "order-1");
    expect_no_event(index, 1);
}

BOTH(an_origin_keeps_its_number)
{
    uint32_t first = number(index, "c/a/1");
    uint32_t second = number(index, "c/b/1");
    cr_assert_neq(first, second);
    cr_assert_eq(number(index, "c/a/1"), first);
    cr_assert_eq(number(index, "c/b/1"), second);
}

BOTH(an_origin_that_begins_like_another_is_another)
{
    cr_assert_neq(number(index, "c/a/1"), number(index, "c/a/12"));
}

BOTH(origin_is_the_inverse_of_log)
{
    number(index, "c/a/1");
    uint32_t log = number(index, "c/b/1");
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    cr_assert_eq(index_origin(index, log, origin, NULL), 0);
    cr_assert_str_eq(origin, "c/b/1");
}

BOTH(the_longest_origin_fits)
{
    char longest[INDEX_ORIGIN_MAX_BYTES + 1];
    memset(longest, 'x', 127);
    longest[63] = '/';
    snprintf(longest + 127, sizeof(longest) - 127, "/%llu", (unsigned long long)UINT64_MAX);
    uint32_t log = number(index, longest);
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    cr_assert_eq(index_origin(index, log, origin, NULL), 0);
    cr_assert_str_eq(origin, longest);
}

BOTH(what_is_no_origin_gets_no_number)
{
    uint32_t log = 7777;
    cr_assert_eq(index_log(index, BYTES_LITERAL("c/a"), &log, NULL), ERR_INVALID);
    cr_assert_eq(log, 7777);
    cr_assert_eq(number(index, "c/a/1"), 0);
}

BOTH(more_logs_than_the_limit_are_refused)
{
    char origin[32];
    for (int i = 0; i < INDEX_LOGS_MAX; i++) {
        snprintf(origin, sizeof(origin), "c/r%d/1", i);
        number(index, origin);
    }
    uint32_t log = 7777;
    struct err err = {0};
    cr_assert_eq(index_log(index, BYTES_LITERAL("c/other/1"), &log, &err), ERR_TOO_LARGE);
    cr_assert_eq(log, 7777);
    cr_assert_eq(number(index, "c/r63/1"), 63);
}

BOTH(a_number_never_given_out_has_applied_nothing)
{
    cr_assert_eq(index_applied_size(index, INDEX_LOGS_MAX - 1), 0);
    cr_assert_eq(index_applied_size(index, UINT32_MAX), 0);
}

/* --- Applying --- */

BOTH(an_applied_entry_is_found_by_stream_and_by_id)
{
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "order-1", 0, 7);
    expect_head(index, "order-1", 0, log, 0);
    expect_event(index, 7, log, 0);
    expect_no_event(index, 8);
    expect_no_head(index, "order-2");
}

BOTH(applying_moves_the_size_of_that_log_only_and_the_sequence)
{
    uint32_t first = number(index, "c/a/1");
    uint32_t second = number(index, "c/b/1");
    apply_run(index, first, 3);
    apply_one(index, second, "order-1", 0, 100);
    cr_assert_eq(index_applied_size(index, first), 3);
    cr_assert_eq(index_applied_size(index, second), 1);
    cr_assert_eq(index_sequence(index), 4);
}

BOTH(applying_nothing_changes_nothing)
{
    uint32_t log = number(index, "c/a/1");
    cr_assert_eq(index_apply(index, log, NULL, 0, NULL), 0);
    cr_assert_eq(index_applied_size(index, log), 0);
    cr_assert_eq(index_sequence(index), 0);
}

BOTH(a_head_moves_to_a_higher_version)
{
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "order-1", 0, 1);
    apply_one(index, log, "order-1", 1, 2);
    expect_head(index, "order-1", 1, log, 1);
}

BOTH(a_head_never_moves_to_a_lower_or_equal_version)
{
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "order-1", 5, 1);
    apply_one(index, log, "order-1", 3, 2);
    apply_one(index, log, "order-1", 5, 3);
    expect_head(index, "order-1", 5, log, 0);
}

BOTH(a_head_may_have_the_highest_version_there_is)
{
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "order-1", UINT64_MAX, 1);
    apply_one(index, log, "order-1", 0, 2);
    expect_head(index, "order-1", UINT64_MAX, log, 0);
}

BOTH(an_event_knows_its_stream_version)
{
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "order-1", 41, 7);
    uint8_t id[ENTRY_ID_SIZE];
    id_of(7, id);
    struct index_event event;
    cr_assert_eq(index_event(index, id, &event, NULL), 0);
    cr_assert_eq(event.stream_version, 41);
}

BOTH(an_id_keeps_its_first_place)
{
    uint32_t first = number(index, "c/a/1");
    uint32_t second = number(index, "c/b/1");
    apply_one(index, first, "order-1", 0, 7);
    apply_one(index, second, "order-2", 0, 7);
    expect_event(index, 7, first, 0);
    expect_head(index, "order-2", 0, second, 0);
}

BOTH(an_id_that_comes_twice_in_one_batch_keeps_its_first_place)
{
    uint32_t log = number(index, "c/a/1");
    struct entry one = entry_of(0, "order-1", 0, 7);
    struct entry two = entry_of(1, "order-2", 0, 7);
    struct index_entry items[] = {{.entry = &one, .fingerprint = 1007}, {.entry = &two, .fingerprint = 9999}};
    cr_assert_eq(index_apply(index, log, items, 2, NULL), 0);
    expect_event(index, 7, log, 0);
}

BOTH(entries_of_one_stream_in_one_batch_are_all_there)
{
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 500);
    check_run(index, log, 510);
    apply_run(index, log, 500);
    check_run(index, log, 1010);
}

BOTH(versions_out_of_order_in_one_batch_keep_their_first_places)
{
    static const uint64_t versions[] = {5, 3, 5, 9, 3, 4};
    uint32_t log = number(index, "c/a/1");
    struct entry entries[6];
    struct index_entry items[6];
    for (size_t i = 0; i < 6; i++) {
        entries[i] = entry_of(i, "order-1", versions[i], i);
        items[i] = (struct index_entry){.entry = &entries[i], .fingerprint = 1000 + i};
    }
    cr_assert_eq(index_apply(index, log, items, 6, NULL), 0);
    expect_head(index, "order-1", 9, log, 3);
    struct index_place places[8];
    size_t count;
    cr_assert_eq(index_scan(index, BYTES_LITERAL("shop"), BYTES_LITERAL("order-1"), 0, false, places, 8, &count, NULL),
                 0);
    static const uint64_t expected[] = {1, 5, 0, 3};
    cr_assert_eq(count, 4);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(places[i].index, expected[i]);
}

/* The child dies before it reaches RocksDB, whose threads it does not have. */
static void expect_assert(struct index *index, uint32_t log, const struct index_entry *items, size_t count)
{
    pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        _exit(index_apply(index, log, items, count, NULL) == 0 ? 1 : 2);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status), "the child ended with status %x", (unsigned)status);
    cr_assert_eq(WTERMSIG(status), SIGABRT);
}

BOTH(an_entry_out_of_turn_is_our_own_bug)
{
    uint32_t log = number(index, "c/a/1");
    struct entry entry = entry_of(1, "order-1", 0, 7);
    expect_assert(index, log, &(struct index_entry){.entry = &entry, .fingerprint = 0}, 1);
}

BOTH(a_gap_inside_a_batch_is_our_own_bug)
{
    uint32_t log = number(index, "c/a/1");
    struct entry one = entry_of(0, "order-1", 0, 7);
    struct entry two = entry_of(2, "order-1", 1, 8);
    struct index_entry items[] = {{.entry = &one, .fingerprint = 0}, {.entry = &two, .fingerprint = 0}};
    expect_assert(index, log, items, 2);
}

BOTH(a_log_without_a_number_is_our_own_bug)
{
    struct entry entry = entry_of(0, "order-1", 0, 7);
    expect_assert(index, 0, &(struct index_entry){.entry = &entry, .fingerprint = 0}, 1);
}

BOTH(running_out_of_memory_applies_nothing)
{
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "order-1", 4, 1);
    struct entry entries[] = {entry_of(1, "order-1", 2, 2), entry_of(2, "order-2", 0, 3), entry_of(3, "order-1", 6, 4),
                              entry_of(4, "order-2", 0, 3), entry_of(5, "order-1", 5, 5)};
    struct index_entry items[5];
    for (size_t i = 0; i < 5; i++)
        items[i] = (struct index_entry){.entry = &entries[i], .fingerprint = 1002 + i};
    uint64_t failures = 0;
    for (;; failures++) {
        struct err err = {0};
        mem_fail_at(failures + 1);
        int code = index_apply(index, log, items, 5, &err);
        mem_fail_at(0);
        if (code == 0)
            break;
        cr_assert_eq(code, ERR_NO_MEMORY);
        cr_assert_eq(err.code, ERR_NO_MEMORY);
        cr_assert_eq(index_applied_size(index, log), 1);
        cr_assert_eq(index_sequence(index), 1);
        expect_head(index, "order-1", 4, log, 0);
        expect_no_head(index, "order-2");
        for (uint64_t id = 2; id <= 5; id++)
            expect_no_event(index, id);
        struct index_place places[4];
        size_t count;
        cr_assert_eq(
            index_scan(index, BYTES_LITERAL("shop"), BYTES_LITERAL("order-1"), 0, false, places, 4, &count, NULL), 0);
        cr_assert_eq(count, 1);
    }
    cr_assert_gt(failures, 1);
    cr_assert_eq(index_applied_size(index, log), 6);
    expect_head(index, "order-1", 6, log, 3);
    expect_head(index, "order-2", 0, log, 2);
}

/* --- Streams --- */

static void apply_in(struct index *index, uint32_t log, const char *context, const char *stream, uint64_t version)
{
    uint64_t next = index_applied_size(index, log);
    struct entry entry = entry_of(next, stream, version, next);
    entry.context = bytes_of_string(context);
    struct index_entry item = {.entry = &entry};
    cr_assert_eq(index_apply(index, log, &item, 1, NULL), 0);
}

/* The versions that a scan of order-1 finds; their entries' indexes are their versions in these tests. */
static void expect_scan(struct index *index, uint64_t from, bool backwards, const uint64_t *expected, size_t count)
{
    struct index_place places[8];
    size_t found = 0;
    cr_assert_eq(
        index_scan(index, BYTES_LITERAL("shop"), BYTES_LITERAL("order-1"), from, backwards, places, 8, &found, NULL),
        0);
    cr_assert_eq(found, count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(places[i].index, expected[i]);
}

BOTH(a_scan_crosses_gaps_in_the_versions)
{
    const uint64_t versions[] = {3, 64, 1000, 1001, 70000};
    uint32_t log = number(index, "c/a/1");
    for (size_t i = 0; i < 5; i++) {
        apply_in(index, log, "shop", "order-1", versions[i]);
        apply_in(index, log, "shop", "order-10", 5000); /* lies beside it */
        if (i == 2)
            cr_assert_eq(index_flush(index, NULL), 0);
    }
    expect_scan(index, 0, false, (const uint64_t[]){0, 2, 4, 6, 8}, 5);
    expect_scan(index, 65, false, (const uint64_t[]){4, 6, 8}, 3);
    expect_scan(index, 70001, false, NULL, 0);
    expect_scan(index, UINT64_MAX, true, (const uint64_t[]){8, 6, 4, 2, 0}, 5);
    expect_scan(index, 69999, true, (const uint64_t[]){6, 4, 2, 0}, 4);
    expect_scan(index, 2, true, NULL, 0);
}

BOTH(context_and_stream_do_not_run_into_each_other)
{
    uint32_t log = number(index, "c/a/1");
    apply_in(index, log, "ab", "c", 5);
    struct index_head head;
    cr_assert_eq(index_head(index, BYTES_LITERAL("a"), BYTES_LITERAL("bc"), &head, NULL), ERR_NOT_FOUND);
    cr_assert_eq(index_head(index, BYTES_LITERAL("abc"), BYTES_LITERAL(""), &head, NULL), ERR_NOT_FOUND);
    cr_assert_eq(index_head(index, BYTES_LITERAL("ab"), BYTES_LITERAL("c"), &head, NULL), 0);
}

BOTH(what_is_asked_for_beforehand_has_the_same_answers)
{
    enum { ASKED = 200 };
    char longest[ENTRY_STREAM_MAX_BYTES + 1] = {0};
    uint8_t ids[ASKED][ENTRY_ID_SIZE];
    struct index_asked asked[ASKED];
    memset(longest, 's', ENTRY_STREAM_MAX_BYTES);
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, longest, 0, 1);
    apply_one(index, log, "order-1", 0, 2);
    for (size_t i = 0; i < ASKED; i++) {
        id_of(i, ids[i]);
        asked[i] = (struct index_asked){.context = BYTES_LITERAL("shop"),
                                        .stream = bytes_of_string(i % 3 == 0   ? longest
                                                                  : i % 3 == 1 ? "order-1"
                                                                               : ""),
                                        .id = i % 2 == 0 ? NULL : ids[i]};
    }
    index_ahead(index, asked, ASKED);
    index_ahead(index, NULL, 0);
    cr_assert_eq(index_sequence(index), 2);
    expect_head(index, longest, 0, log, 0);
    expect_head(index, "order-1", 0, log, 1);
    expect_event(index, 1, log, 0);
    expect_event(index, 2, log, 1);
    expect_no_event(index, 3);
}

BOTH(empty_names_are_not_found)
{
    struct index_head head;
    size_t count = 9;
    struct index_place place;
    struct bytes none = {0};
    cr_assert_eq(index_head(index, none, none, &head, NULL), ERR_NOT_FOUND);
    cr_assert_eq(index_scan(index, none, none, 0, false, &place, 1, &count, NULL), 0);
    cr_assert_eq(count, 0);
}

BOTH(the_longest_names_fit)
{
    char context[ENTRY_NAME_MAX_BYTES + 1] = LONGEST_CONTEXT;
    char stream[ENTRY_STREAM_MAX_BYTES + 1] = {0};
    memset(stream, 's', ENTRY_STREAM_MAX_BYTES);
    uint32_t log = number(index, "c/a/1");
    apply_in(index, log, context, stream, 3);
    struct index_head head;
    cr_assert_eq(index_head(index, bytes_of_string(context), bytes_of_string(stream), &head, NULL), 0);
    cr_assert_eq(head.version, 3);
    struct index_place place;
    size_t count;
    cr_assert_eq(
        index_scan(index, bytes_of_string(context), bytes_of_string(stream), UINT64_MAX, true, &place, 1, &count, NULL),
        0);
    cr_assert_eq(count, 1);
}

/* --- Scans --- */

static size_t scan_many(struct index *index, uint64_t from, bool backwards, size_t max, struct index_place *ret_places)
{
    size_t count = SIZE_MAX;
    struct err err = {0};
    cr_assert_eq(
        index_scan(index, BYTES_LITERAL("shop"), BYTES_LITERAL("many"), from, backwards, ret_places, max, &count, &err),
        0, "%s", err.message);
    return count;
}

BOTH(a_scan_upwards_starts_at_the_version_and_stops_at_max)
{
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 300);
    struct index_place places[10];
    cr_assert_eq(scan_many(index, 254, false, 10, places), 10);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(places[i].index, 254 + i);
}

BOTH(a_scan_upwards_ends_with_the_stream)
{
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 300);
    struct index_place places[10];
    cr_assert_eq(scan_many(index, 298, false, 10, places), 2);
    cr_assert_eq(places[1].index, 299);
    cr_assert_eq(scan_many(index, 300, false, 10, places), 0);
    cr_assert_eq(scan_many(index, UINT64_MAX, false, 10, places), 0);
}

BOTH(a_scan_downwards_from_the_end)
{
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 300);
    struct index_place places[10];
    cr_assert_eq(scan_many(index, UINT64_MAX, true, 10, places), 10);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(places[i].index, 299 - i);
}

BOTH(a_scan_downwards_includes_the_version_it_starts_from)
{
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 300);
    struct index_place places[10];
    cr_assert_eq(scan_many(index, 2, true, 10, places), 3);
    cr_assert_eq(places[0].index, 2);
    cr_assert_eq(places[2].index, 0);
}

BOTH(a_scan_skips_versions_that_are_missing)
{
    uint32_t log = number(index, "c/a/1");
    apply_one(index, log, "many", 10, 1);
    apply_one(index, log, "many", 20, 2);
    struct index_place places[4];
    cr_assert_eq(scan_many(index, 11, false, 4, places), 1);
    cr_assert_eq(places[0].index, 1);
    cr_assert_eq(scan_many(index, 19, true, 4, places), 1);
    cr_assert_eq(places[0].index, 0);
    cr_assert_eq(scan_many(index, 9, true, 4, places), 0);
}

BOTH(a_scan_never_leaves_its_stream)
{
    static const char *const neighbours[] = {"man", "many0", "many\x01", "manx", "manz", "a", "zzzz"};
    uint32_t log = number(index, "c/a/1");
    for (size_t i = 0; i < sizeof(neighbours) / sizeof(*neighbours); i++)
        apply_one(index, log, neighbours[i], 1, 100 + i);
    uint64_t place = index_applied_size(index, log);
    apply_one(index, log, "many", 1, 1);
    struct index_place places[8];
    cr_assert_eq(scan_many(index, 0, false, 8, places), 1);
    cr_assert_eq(places[0].index, place);
    cr_assert_eq(scan_many(index, UINT64_MAX, true, 8, places), 1);
    cr_assert_eq(places[0].index, place);
    cr_assert_eq(scan_many(index, 0, true, 8, places), 0);
}

BOTH(a_scan_of_an_unknown_stream_is_empty)
{
    struct index_place places[1];
    cr_assert_eq(scan_many(index, 0, false, 1, places), 0);
    cr_assert_eq(scan_many(index, UINT64_MAX, true, 1, places), 0);
}

BOTH(flush_changes_no_answer)
{
    uint32_t log = number(index, "c/a/1");
    apply_run(index, log, 100);
    cr_assert_eq(index_flush(index, NULL), 0);
    check_run(index, log, 110);
    apply_run(index, log, 100);
    check_run(index, log, 210);
}

Test(index, closing_nothing_is_fine)
{
    index_close(NULL);
}

/* --- Threads --- */

enum { RACE_ENTRIES = 20000, RACE_BATCH = 50 };

struct race {
    struct index *index;
    uint32_t log;
    atomic_uint misses;
    atomic_uint look_ups;
};

static void *look_up_while_applying(void *argument)
{
    struct race *race = argument;
    uint64_t sequence;
    do {
        sequence = index_sequence(race->index);
        if (sequence == 0)
            continue;
        uint8_t id[ENTRY_ID_SIZE];
        id_of(sequence - 1, id);
        struct index_event event;
        struct index_head head;
        struct index_place place;
        size_t count;
        if (index_event(race->index, id, &event, NULL) != 0 || event.place.index != sequence - 1)
            atomic_fetch_add(&race->misses, 1);
        if (index_head(race->index, BYTES_LITERAL("shop"), BYTES_LITERAL("many"), &head, NULL) != 0 ||
            head.version < sequence - 1)
            atomic_fetch_add(&race->misses, 1);
        if (index_scan(race->index, BYTES_LITERAL("shop"), BYTES_LITERAL("many"), sequence - 1, false, &place, 1,
                       &count, NULL) != 0 ||
            count != 1 || place.index != sequence - 1)
            atomic_fetch_add(&race->misses, 1);
        atomic_fetch_add(&race->look_ups, 1);
    } while (sequence < RACE_ENTRIES);
    return NULL;
}

BOTH(a_look_up_sees_everything_up_to_the_sequence_read_before_it)
{
    struct race race = {.index = index, .log = number(index, "c/a/1")};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, look_up_while_applying, &race), 0);
    for (size_t i = 0; i < RACE_ENTRIES / RACE_BATCH; i++)
        apply_run(index, race.log, RACE_BATCH);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(atomic_load(&race.misses), 0);
    cr_assert_gt(atomic_load(&race.look_ups), 0);
}

struct naming {
    struct index *index;
    uint32_t logs[INDEX_LOGS_MAX];
};

static void *name_logs(void *argument)
{
    struct naming *naming = argument;
    for (uint32_t i = 0; i < INDEX_LOGS_MAX; i++) {
        char origin[32];
        snprintf(origin, sizeof(origin), "c/r%u/1", i);
        if (index_log(naming->index, bytes_of_string(origin), &naming->logs[i], NULL) != 0)
            naming->logs[i] = UINT32_MAX;
    }
    return NULL;
}

BOTH(threads_that_name_the_same_logs_get_the_same_numbers)
{
    struct naming naming[2] = {{.index = index}, {.index = index}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, name_logs, &naming[i]), 0);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < INDEX_LOGS_MAX; i++) {
        cr_assert_lt(naming[0].logs[i], INDEX_LOGS_MAX);
        cr_assert_eq(naming[0].logs[i], naming[1].logs[i]);
    }
}

/* --- The two against each other --- */

enum {
    RANDOM_STREAMS = 20,
    RANDOM_VERSIONS = 40,
    RANDOM_IDS = 800,
    RANDOM_LOGS = 3,
    RANDOM_BATCHES = 150,
    RANDOM_BATCH = 12
};

static void random_batch(struct prng *prng, struct index *one, struct index *two)
{
    char streams[RANDOM_BATCH][16];
    struct entry entries[RANDOM_BATCH];
    struct index_entry items[RANDOM_BATCH];
    size_t count = 1 + prng_below(prng, RANDOM_BATCH);
    uint32_t log = (uint32_t)prng_below(prng, RANDOM_LOGS);
    for (size_t i = 0; i < count; i++) {
        snprintf(streams[i], sizeof(streams[i]), "s%u", (unsigned)prng_below(prng, RANDOM_STREAMS));
        entries[i] = entry_of(index_applied_size(one, log) + i, streams[i], prng_below(prng, RANDOM_VERSIONS),
                              prng_below(prng, RANDOM_IDS));
        entries[i].partition = home_partition(one, log);
        items[i] = (struct index_entry){.entry = &entries[i], .fingerprint = prng_next(prng)};
    }
    cr_assert_eq(index_apply(one, log, items, count, NULL), 0);
    cr_assert_eq(index_apply(two, log, items, count, NULL), 0);
}

static void compare_streams(struct prng *prng, struct index *one, struct index *two)
{
    for (size_t i = 0; i < RANDOM_STREAMS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "s%u", (unsigned)i);
        struct bytes stream = bytes_of_string(name);
        struct index_head a = {0};
        struct index_head b = {0};
        cr_assert_eq(index_head(one, BYTES_LITERAL("shop"), stream, &a, NULL),
                     index_head(two, BYTES_LITERAL("shop"), stream, &b, NULL));
        cr_assert_eq(a.version, b.version);
        cr_assert_eq(a.place.log, b.place.log);
        cr_assert_eq(a.place.index, b.place.index);
        struct index_place places_a[RANDOM_VERSIONS];
        struct index_place places_b[RANDOM_VERSIONS];
        size_t count_a;
        size_t count_b;
        uint64_t from = prng_below(prng, RANDOM_VERSIONS + 1);
        size_t max = 1 + prng_below(prng, RANDOM_VERSIONS);
        bool backwards = prng_below(prng, 2) == 1;
        cr_assert_eq(index_scan(one, BYTES_LITERAL("shop"), stream, from, backwards, places_a, max, &count_a, NULL), 0);
        cr_assert_eq(index_scan(two, BYTES_LITERAL("shop"), stream, from, backwards, places_b, max, &count_b, NULL), 0);
        cr_assert_eq(count_a, count_b);
        for (size_t at = 0; at < count_a; at++) {
            cr_assert_eq(places_a[at].log, places_b[at].log);
            cr_assert_eq(places_a[at].index, places_b[at].index);
        }
    }
}

static void compare_events(struct index *one, struct index *two)
{
    for (uint64_t i = 0; i < RANDOM_IDS; i++) {
        uint8_t id[ENTRY_ID_SIZE];
        id_of(i, id);
        struct index_event a = {0};
        struct index_event b = {0};
        cr_assert_eq(index_event(one, id, &a, NULL), index_event(two, id, &b, NULL));
        cr_assert_eq(a.place.log, b.place.log);
        cr_assert_eq(a.place.index, b.place.index);
        cr_assert_eq(a.fingerprint, b.fingerprint);
        cr_assert_eq(a.stream_version, b.stream_version);
        cr_assert_eq(a.stream_version, b.stream_version);
    }
}

Test(index, both_answer_alike_whatever_is_applied_also_after_reopening)
{
    char folder[FOLDER_MAX_BYTES];
    folder_make(folder);
    struct index *rocks = open_rocksdb(folder);
    struct index *memory = index_memory_new(&fixture_contexts);
    static const char *const origins[RANDOM_LOGS] = {"c/a/1", "c/b/1", "c/c/1"};
    for (size_t i = 0; i < RANDOM_LOGS; i++)
        cr_assert_eq(number(rocks, origins[i]), number(memory, origins[i]));
    struct prng prng;
    prng_seed(&prng, 20240607);
    for (size_t i = 0; i < RANDOM_BATCHES; i++) {
        random_batch(&prng, memory, rocks);
        if (i % 25 == 0) {
            index_close(rocks);
            rocks = open_rocksdb(folder);
        }
        compare_streams(&prng, memory, rocks);
    }
    compare_events(memory, rocks);
    index_close(memory);
    index_close(rocks);
    folder_remove(folder);
}
