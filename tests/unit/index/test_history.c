/* The index as a function of what is applied: random histories, applied in random interleavings that keep rule 2, must
 * give what the plain model of history.c says, at every point on the way, in both stores, also after reopening, and
 * also when a crash came between demoting and the change. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "unit/index/fixture.h"
#include "unit/index/history.h"

enum { SEEDS = 12, STEPS = 900, BATCH = 9, CHECKS = 4, FLUSH_ONE_IN = 30 };

/* One index on its way through a history. */
struct way {
    const struct history *history;
    struct prng prng;
    const char *folder; /* NULL: in memory */
    struct index *index;
    uint32_t numbers[HISTORY_LOGS];
    size_t sizes[HISTORY_LOGS];
    bool disturbed; /* demoted for a change that is not applied yet */
};

static void open_index(struct way *way)
{
    struct err err = {0};
    if (way->folder == NULL)
        way->index = index_memory_new(&history_contexts);
    else
        cr_assert_eq(index_rocksdb_open(way->folder, &history_contexts, &way->index, &err), 0, "%s", err.message);
    cr_assert_not_null(way->index);
    for (size_t i = 0; i < HISTORY_LOGS; i++) {
        size_t log = (i + way->prng.state[0] % HISTORY_LOGS) % HISTORY_LOGS; /* numbers differ from way to way */
        way->numbers[log] = number(way->index, history_origins[log]);
        cr_assert_eq(index_applied_size(way->index, way->numbers[log]), way->sizes[log]);
    }
}

static void reopen(struct way *way)
{
    if (way->folder == NULL)
        return;
    index_close(way->index);
    open_index(way);
}

/* What is applied lies in memory, in files, or in both: it must make no difference. */
static void move_about(struct way *way)
{
    uint64_t drawn = prng_below(&way->prng, 3);
    if (drawn == 0)
        reopen(way);
    else if (drawn == 1)
        cr_assert_eq(index_flush(way->index, NULL), 0);
}

/* Hands over whatever is late by the table, and more often than needed. */
static void demote_log(struct way *way, const struct authority_table *table, size_t log)
{
    struct index_entry items[BATCH];
    struct origin origin;
    size_t count = 0;
    cr_assert_eq(origin_parse(bytes_of_string(history_origins[log]), &origin, NULL), 0);
    for (size_t i = 0; i < way->sizes[log]; i++) {
        size_t index = way->prng.state[1] % 2 == 0 ? i : way->sizes[log] - 1 - i;
        items[count] = history_item(way->history, log, index);
        const struct entry *entry = items[count].entry;
        if ((entry->flags & ENTRY_FLAG_CONTROL) == 0 &&
            !authority_entry_is_late(table, entry, origin.region, origin.incarnation))
            continue;
        if (++count == BATCH) {
            cr_assert_eq(index_demote(way->index, way->numbers[log], items, count, NULL), 0);
            count = 0;
        }
    }
    cr_assert_eq(index_demote(way->index, way->numbers[log], items, count, NULL), 0);
}

static void demote(struct way *way, size_t log)
{
    size_t sizes[HISTORY_LOGS];
    struct authority_table table;
    memcpy(sizes, way->sizes, sizeof(sizes));
    sizes[log]++;
    history_authority(way->history, sizes, &table);
    for (size_t i = 0; i < HISTORY_LOGS; i++)
        demote_log(way, &table, i);
    authority_table_free(&table);
}

static void apply(struct way *way, size_t log)
{
    struct index_entry items[BATCH];
    size_t first = way->sizes[log];
    size_t end = way->history->counts[log];
    size_t max = 1 + prng_below(&way->prng, BATCH);
    size_t count = 0;
    items[0] = history_item(way->history, log, first);
    bool change = history_stands_alone(way->history, log, first);
    if (change && !index_ready(way->index, way->numbers[log], &items[0]))
        return;
    if (change) {
        demote(way, log);
        if (prng_below(&way->prng, 4) == 0) { /* a crash; others may go on first */
            reopen(way);
            way->disturbed = true;
            return;
        }
        count = 1;
    }
    while (!change && count < max && first + count < end && !history_stands_alone(way->history, log, first + count)) {
        items[count] = history_item(way->history, log, first + count);
        count++;
    }
    struct err err = {0};
    cr_assert_eq(index_apply(way->index, way->numbers[log], items, count, &err), 0, "%s", err.message);
    way->sizes[log] += count;
    way->disturbed = way->disturbed && !change;
}

static size_t left(const struct way *way)
{
    size_t count = 0;
    for (size_t i = 0; i < HISTORY_LOGS; i++)
        count += way->history->counts[i] - way->sizes[i];
    return count;
}

static struct hash travel(const struct history *history, uint64_t seed, const char *folder)
{
    struct way way = {.history = history, .folder = folder};
    prng_seed(&way.prng, seed);
    open_index(&way);
    size_t rounds = 0;
    size_t every = left(&way) / CHECKS + 1;
    size_t next = left(&way) - every;
    while (left(&way) > 0) {
        size_t log = prng_below(&way.prng, HISTORY_LOGS);
        cr_assert_lt(rounds++, 100000, "seed %llu: an order that cannot go on", (unsigned long long)history->seed);
        if (way.sizes[log] < history->counts[log])
            apply(&way, log);
        if (prng_below(&way.prng, FLUSH_ONE_IN) == 0)
            cr_assert_eq(index_flush(way.index, NULL), 0);
        if (left(&way) <= next && !way.disturbed) {
            next = left(&way) > every ? left(&way) - every : 0;
            move_about(&way);
            history_check(history, way.index, way.sizes);
        }
    }
    history_check(history, way.index, way.sizes);
    struct hash digest;
    struct sha256 *sha = sha256_new();
    cr_assert_eq(index_late_digest(way.index, sha, &digest, NULL), 0);
    sha256_free(sha);
    index_close(way.index);
    return digest;
}

Test(history, every_interleaving_gives_what_the_set_of_entries_says, .timeout = 300)
{
    struct hash before = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct history history;
        history_make(&history, seed, STEPS);
        struct hash first = travel(&history, 100 + seed, NULL);
        struct hash second = travel(&history, 200 + seed, NULL);
        char folder[FOLDER_MAX_BYTES];
        folder_make(folder);
        struct hash third = travel(&history, 300 + seed, folder);
        folder_remove(folder);
        cr_assert(hash_equal(&first, &second), "seed %llu", (unsigned long long)seed);
        cr_assert(hash_equal(&first, &third), "seed %llu", (unsigned long long)seed);
        cr_assert_not(hash_equal(&first, &before), "the digest says nothing");
        before = first;
        history_free(&history);
    }
}

/* --- By hand --- */

static void expect_abort(struct index *index, const struct index_entry *items, size_t count)
{
    pid_t child = fork();
    cr_assert_neq(child, -1);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        _exit(index_apply(index, 0, items, count, NULL) == 0 ? 1 : 2);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status), "the child ended with status %x", (unsigned)status);
    cr_assert_eq(WTERMSIG(status), SIGABRT);
}

static struct entry seizure_of(uint64_t index, const char *basis, struct buf *payload)
{
    struct control_authority authority = {.forced = false};
    struct entry entry = entry_of(index, CONTROL_STREAM, 0, 500 + index);
    entry.flags = ENTRY_FLAG_CONTROL;
    entry.epoch = 2;
    entry.type = bytes_of_string(control_type(CONTROL_AUTHORITY_SEIZED));
    cr_assert_eq(position_parse(bytes_of_string(basis), &authority.basis, NULL), 0);
    cr_assert_eq(control_authority_encode(CONTROL_AUTHORITY_SEIZED, &authority, payload, NULL), 0);
    return entry;
}

Test(history, a_change_that_is_not_ready_or_not_alone_is_our_own_bug)
{
    struct index *index = index_memory_new(&fixture_contexts);
    struct buf payload;
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    uint32_t log = number(index, "c/b/1");
    struct entry change = seizure_of(0, "a@1", &payload);
    struct entry next = entry_of(1, "order-1", 0, 7);
    struct index_entry items[] = {{.entry = &change, .payload = buf_bytes(&payload)}, {.entry = &next}};
    cr_assert_not(index_ready(index, log, &items[0]));
    expect_abort(index, items, 1);
    apply_one(index, number(index, "c/a/1"), "order-1", 0, 1);
    cr_assert(index_ready(index, log, &items[0]));
    expect_abort(index, items, 2);
    cr_assert_eq(index_apply(index, 0, items, 1, NULL), 0);
    buf_free(&payload);
    index_close(index);
}

Test(history, an_item_is_found_by_its_place_and_other_entries_are_none)
{
    struct index *index = index_memory_new(&fixture_contexts);
    uint32_t log = number(index, "c/b/1");
    struct entry early = entry_of(0, "order-1", 0, 7); /* partition p, whose home is a */
    struct index_entry item = {.entry = &early, .fingerprint = 3};
    struct index_late late = {.epoch = 99};
    cr_assert_eq(index_apply(index, log, &item, 1, NULL), 0);
    apply_one(index, log, "order-2", 0, 8);
    cr_assert_eq(index_late_at(index, (struct index_place){log, 1}, &late, NULL), ERR_NOT_FOUND);
    cr_assert_eq(index_late_at(index, (struct index_place){log, 2}, &late, NULL), ERR_NOT_FOUND);
    cr_assert_eq(late.epoch, 99);
    cr_assert_eq(index_late_at(index, (struct index_place){log, 0}, &late, NULL), 0);
    cr_assert_eq(late.state, INDEX_LATE_OPEN);
    cr_assert_str_eq(late.stream, "order-1");
    cr_assert_eq(late.fingerprint, 3);
    index_close(index);
}

Test(history, a_scan_from_a_place_of_no_log_goes_on_with_the_logs_after_it)
{
    struct index *index = index_memory_new(&fixture_contexts);
    uint32_t log = number(index, "c/b/1");
    struct entry early = entry_of(0, "order-1", 0, 7);
    struct index_entry item = {.entry = &early};
    struct index_late late;
    size_t count = 0;
    struct index_late_cursor before = {.started = true, .origin = "c/aa/1", .index = 5};
    struct index_late_cursor after = {.started = true, .origin = "c/bb/1", .index = 5};
    cr_assert_eq(index_apply(index, log, &item, 1, NULL), 0);
    cr_assert_eq(index_late_scan(index, &before, &late, 1, &count, NULL), 0);
    cr_assert_eq(count, 1);
    cr_assert_eq(index_late_scan(index, &after, &late, 1, &count, NULL), 0);
    cr_assert_eq(count, 0);
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    cr_assert_eq(index_origin(index, 1, origin, NULL), ERR_NOT_FOUND);
    index_close(index);
}
