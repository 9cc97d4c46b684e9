/* What store.h promises, checked on both stores: BOTH(name) is one test for each. */
#include "index/store.h"

#include <criterion/criterion.h>

#include "unit/index/fixture.h"

#define BOTH(name)                                                                                                     \
    static void check_##name(struct store *store);                                                                     \
    Test(store_memory, name)                                                                                           \
    {                                                                                                                  \
        struct store *store = store_memory_new();                                                                      \
        cr_assert_not_null(store);                                                                                     \
        check_##name(store);                                                                                           \
        store->ops->close(store);                                                                                      \
    }                                                                                                                  \
    Test(store_files, name)                                                                                            \
    {                                                                                                                  \
        char folder[FOLDER_MAX_BYTES];                                                                                 \
        struct store *store = NULL;                                                                                    \
        folder_make(folder);                                                                                           \
        cr_assert_eq(store_files_open(folder, "u", &store, NULL), 0);                                                  \
        check_##name(store);                                                                                           \
        store->ops->close(store);                                                                                      \
        folder_remove(folder);                                                                                         \
    }                                                                                                                  \
    static void check_##name(struct store *store)

/* --- Shorthand: keys and values are texts --- */

static struct store_view *begin(struct store *store)
{
    struct store_view *view = NULL;
    cr_assert_eq(store_begin(store, &view, NULL), 0);
    return view;
}

static void put(struct store *store, const char *key, const char *value)
{
    cr_assert_eq(store_put(store, bytes_of_string(key), bytes_of_string(value), NULL), 0);
}

static void append(struct store *store, const char *key, const char *value)
{
    cr_assert_eq(store_append(store, bytes_of_string(key), bytes_of_string(value), NULL), 0);
}

static void drop(struct store *store, const char *key)
{
    cr_assert_eq(store_remove(store, bytes_of_string(key), NULL), 0);
}

static void commit(struct store *store)
{
    cr_assert_eq(store_commit(store, NULL), 0);
}

static void flush(struct store *store)
{
    cr_assert_eq(store->ops->flush(store, NULL), 0);
}

/* NULL: not there. */
static void expect(struct store *store, const struct store_view *view, const char *key, const char *value)
{
    struct buf found;
    bool there = value == NULL;
    buf_init(&found, STORE_VALUE_MAX_BYTES);
    cr_assert_eq(store_get(store, view, bytes_of_string(key), &found, &there, NULL), 0);
    cr_assert_eq(there, value != NULL, "%s", key);
    if (value != NULL)
        cr_assert(bytes_equal(buf_bytes(&found), bytes_of_string(value)), "%s: %.*s", key, (int)found.size_bytes,
                  (const char *)found.data);
    buf_free(&found);
}

static int see(void *context, struct bytes key, struct bytes value, struct err *err)
{
    (void)err;
    struct buf *seen = context;
    cr_assert_eq(buf_append(seen, key), 0);
    cr_assert_eq(buf_append_byte(seen, '='), 0);
    cr_assert_eq(buf_append(seen, value), 0);
    cr_assert_eq(buf_append_byte(seen, ' '), 0);
    return 0;
}

static void expect_walk(struct store *store, const struct store_view *view, const char *prefix, const char *from,
                        bool backwards, const char *expected)
{
    struct buf seen;
    buf_init(&seen, 4096);
    cr_assert_eq(store_walk(store, view, bytes_of_string(prefix), bytes_of_string(from), backwards, see, &seen, NULL),
                 0);
    cr_assert(bytes_equal(buf_bytes(&seen), bytes_of_string(expected)), "%.*s", (int)seen.size_bytes,
              (const char *)seen.data);
    buf_free(&seen);
}

/* --- Batches --- */

BOTH(a_batch_sees_itself_and_what_was_taken_back_was_never_there)
{
    struct store_view *view = begin(store);
    put(store, "a", "1");
    append(store, "b", "2");
    expect(store, view, "a", "1");
    expect(store, view, "b", "2");
    store_abort(store);
    expect(store, STORE_LATEST, "a", NULL);
    expect(store, STORE_LATEST, "b", NULL);
    (void)begin(store);
    append(store, "b", "3");
    commit(store);
    expect(store, STORE_LATEST, "b", "3");
}

BOTH(a_key_that_is_put_twice_in_a_batch_has_the_later_value)
{
    (void)begin(store);
    put(store, "a", "one");
    commit(store);
    struct store_view *view = begin(store);
    put(store, "a", "two");
    put(store, "a", "six");
    put(store, "a", "three");
    expect(store, view, "a", "three");
    store_abort(store);
    expect(store, STORE_LATEST, "a", "one");
}

BOTH(a_key_put_alone_is_there_at_once)
{
    cr_assert_eq(store_put_alone(store, BYTES_LITERAL("a"), BYTES_LITERAL("1"), NULL), 0);
    expect(store, STORE_LATEST, "a", "1");
    cr_assert_eq(store_put_alone(store, BYTES_LITERAL("a"), BYTES_LITERAL("2"), NULL), 0);
    expect(store, STORE_LATEST, "a", "2");
}

/* --- Appends --- */

BOTH(appends_add_up_wherever_they_lie)
{
    (void)begin(store);
    put(store, "a", "x");
    append(store, "a", "y");
    append(store, "b", "1");
    commit(store);
    flush(store);
    (void)begin(store);
    append(store, "a", "z");
    append(store, "b", "2");
    commit(store);
    expect(store, STORE_LATEST, "a", "xyz");
    expect(store, STORE_LATEST, "b", "12");
    flush(store);
    (void)begin(store);
    append(store, "b", "3");
    commit(store);
    flush(store);
    expect(store, STORE_LATEST, "a", "xyz");
    expect(store, STORE_LATEST, "b", "123");
}

BOTH(what_is_removed_begins_anew)
{
    (void)begin(store);
    put(store, "a", "x");
    append(store, "b", "1");
    commit(store);
    flush(store);
    struct store_view *view = begin(store);
    drop(store, "a");
    drop(store, "b");
    drop(store, "never");
    expect(store, view, "a", NULL);
    append(store, "b", "2");
    commit(store);
    expect(store, STORE_LATEST, "a", NULL);
    expect(store, STORE_LATEST, "b", "2");
    flush(store);
    expect(store, STORE_LATEST, "a", NULL);
    expect(store, STORE_LATEST, "b", "2");
}

BOTH(a_value_that_grew_past_what_is_wanted_is_refused)
{
    struct buf found;
    bool there = false;
    (void)begin(store);
    append(store, "a", "123");
    append(store, "a", "456");
    commit(store);
    buf_init(&found, 5);
    cr_assert_eq(store_get(store, STORE_LATEST, BYTES_LITERAL("a"), &found, &there, NULL), ERR_TOO_LARGE);
    flush(store);
    cr_assert_eq(store_get(store, STORE_LATEST, BYTES_LITERAL("a"), &found, &there, NULL), ERR_TOO_LARGE);
    buf_free(&found);
}

/* --- Walks: "u…" keys are found by hash in a stretch, the others in order --- */

static void check_walks(struct store *store, const struct store_view *view)
{
    expect_walk(store, view, "k", "k", false, "k1=1 k2=2b k4=4 ");
    expect_walk(store, view, "k", "k2", false, "k2=2b k4=4 ");
    expect_walk(store, view, "k", "k3", true, "k2=2b k1=1 ");
    expect_walk(store, view, "u", "u", false, "u1=1 u2=2b u4=4 ");
    expect_walk(store, view, "u", "u2", true, "u2=2b u1=1 ");
    expect_walk(store, view, "u", "u9", true, "u4=4 u2=2b u1=1 ");
    expect_walk(store, view, "", "", false, "j=0 k1=1 k2=2b k4=4 l=9 u1=1 u2=2b u4=4 v=8 ");
}

BOTH(a_walk_visits_each_key_once_and_in_order)
{
    (void)begin(store);
    put(store, "j", "0");
    for (const char *letters = "ku"; *letters != 0; letters++) {
        put(store, (char[]){*letters, '2', 0}, "2");
        put(store, (char[]){*letters, '3', 0}, "3");
        put(store, (char[]){*letters, '4', 0}, "old");
    }
    put(store, "v", "8");
    commit(store);
    flush(store);
    struct store_view *view = begin(store);
    for (const char *letters = "uk"; *letters != 0; letters++) {
        put(store, (char[]){*letters, '4', 0}, "4");
        put(store, (char[]){*letters, '1', 0}, "1");
        append(store, (char[]){*letters, '2', 0}, "b");
        drop(store, (char[]){*letters, '3', 0});
    }
    put(store, "l", "9");
    check_walks(store, view);
    commit(store);
    check_walks(store, STORE_LATEST);
    flush(store);
    check_walks(store, STORE_LATEST);
}

/* --- Views; in memory, changes wait for them --- */

Test(store_files, a_view_sees_one_moment)
{
    char folder[FOLDER_MAX_BYTES];
    struct store *store = NULL;
    struct store_view *view = NULL;
    folder_make(folder);
    cr_assert_eq(store_files_open(folder, "u", &store, NULL), 0);
    (void)begin(store);
    put(store, "k1", "old");
    append(store, "k2", "1");
    commit(store);
    cr_assert_eq(store_view_open(store, &view, NULL), 0);
    for (int i = 0; i < 2; i++) {
        (void)begin(store);
        put(store, "k1", "new");
        append(store, "k2", "2");
        put(store, "k3", "x");
        commit(store);
        expect(store, view, "k1", "old");
        expect(store, view, "k2", "1");
        expect(store, view, "k3", NULL);
        expect_walk(store, view, "k", "k", false, "k1=old k2=1 ");
        flush(store);
    }
    expect_walk(store, view, "k", "k", false, "k1=old k2=1 ");
    store_view_close(store, view);
    expect_walk(store, STORE_LATEST, "k", "k", false, "k1=new k2=122 k3=x ");
    store->ops->close(store);
    folder_remove(folder);
}

Test(store_files, keys_that_grow_are_found_and_new_ones_are_not)
{
    char folder[FOLDER_MAX_BYTES];
    struct store *store = NULL;
    folder_make(folder);
    cr_assert_eq(store_files_open(folder, "i", &store, NULL), 0);
    (void)begin(store);
    put(store, "i3", "3");
    put(store, "i5", "5");
    put(store, "h", "h");
    put(store, "j", "j");
    commit(store);
    expect(store, STORE_LATEST, "i5", "5");
    flush(store);
    expect(store, STORE_LATEST, "i3", "3");
    expect(store, STORE_LATEST, "i5", "5");
    expect(store, STORE_LATEST, "i6", NULL);
    (void)begin(store);
    put(store, "i4", "4");
    put(store, "i9", "9");
    commit(store);
    flush(store);
    store->ops->close(store);
    cr_assert_eq(store_files_open(folder, "i", &store, NULL), 0);
    expect_walk(store, STORE_LATEST, "", "", false, "h=h i3=3 i4=4 i5=5 i9=9 j=j ");
    expect(store, STORE_LATEST, "i4", "4");
    expect(store, STORE_LATEST, "i91", NULL);
    store->ops->close(store);
    folder_remove(folder);
}
