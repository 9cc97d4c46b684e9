/* The authority events that a generation keeps. */
#include <criterion/criterion.h>

#include "unit/projection/fixture.h"

static struct opened opened;

static void setup(void)
{
    db_open_new(&opened, DEPOSITS);
}

static void teardown(void)
{
    db_close_and_remove(&opened);
}

TestSuite(sqlite_authority, .init = setup, .fini = teardown);

static void learn(const char *origin, uint64_t index, const char *entry)
{
    const struct projection_authority event = {.origin = origin, .index = index, .entry = bytes_of_string(entry)};
    struct err err = {0};
    cr_assert_eq(projection_db_learn(opened.db, &event, &err), 0, "%s", err.message);
}

static void learn_and_commit(const char *origin, uint64_t index, const char *entry)
{
    struct err err = {0};
    cr_assert_eq(projection_db_begin(opened.db, &err), 0, "%s", err.message);
    learn(origin, index, entry);
    cr_assert_eq(projection_db_commit(opened.db, &err), 0, "%s", err.message);
}

static bool knows(const char *origin, uint64_t index)
{
    bool ret = false;
    struct err err = {0};
    cr_assert_eq(projection_db_knows(opened.db, origin, index, &ret, &err), 0, "%s", err.message);
    return ret;
}

/* Appends "origin@index=entry " of each. */
static int list_one(void *context, const struct projection_authority *event, struct err *err)
{
    (void)err;
    return buf_append_format(context, "%s@%d=%.*s ", event->origin, (int)event->index, (int)event->entry.size_bytes,
                             (const char *)event->entry.data);
}

static void expect_listed(const char *expected)
{
    struct buf list;
    struct err err = {0};
    buf_init(&list, 1024);
    cr_assert_eq(projection_db_authority(opened.db, list_one, &list, &err), 0, "%s", err.message);
    cr_assert_eq(buf_terminate(&list), 0);
    cr_assert_str_eq((const char *)list.data, expected);
    buf_free(&list);
}

Test(sqlite_authority, what_was_kept_is_there_after_a_crash)
{
    cr_assert_not(knows("demo/us/1", 4));
    learn_and_commit("demo/us/1", 4, "x");
    db_reopen(&opened);
    cr_assert(knows("demo/us/1", 4));
    cr_assert_not(knows("demo/us/1", 5));
    cr_assert_not(knows("demo/us/2", 4));
}

Test(sqlite_authority, what_was_not_committed_is_gone)
{
    struct err err = {0};
    cr_assert_eq(projection_db_begin(opened.db, &err), 0);
    learn("demo/us/1", 4, "x");
    projection_db_rollback(opened.db);
    cr_assert_not(knows("demo/us/1", 4));
}

Test(sqlite_authority, the_same_again_changes_nothing)
{
    learn_and_commit("demo/us/1", 4, "x");
    learn_and_commit("demo/us/1", 4, "other");
    expect_listed("demo/us/1@4=x ");
}

Test(sqlite_authority, all_are_handed_out_by_origin_and_index)
{
    learn_and_commit("demo/us/1", 10, "c");
    learn_and_commit("demo/us/1", 9, "b");
    learn_and_commit("demo/eu/1", 70, "a");
    expect_listed("demo/eu/1@70=a demo/us/1@9=b demo/us/1@10=c ");
}

static int refuse(void *context, const struct projection_authority *event, struct err *err)
{
    (void)event;
    (*(unsigned *)context)++;
    return err_set(err, ERR_CORRUPT, "no");
}

Test(sqlite_authority, handing_out_stops_at_the_first_failure)
{
    unsigned calls = 0;
    struct err err = {0};
    learn_and_commit("demo/us/1", 1, "a");
    learn_and_commit("demo/us/1", 2, "b");
    cr_assert_eq(projection_db_authority(opened.db, refuse, &calls, &err), ERR_CORRUPT);
    cr_assert_eq(calls, 1);
}

static bool same_contexts(uint8_t digest)
{
    struct hash contexts = {.bytes = {digest}};
    struct err err = {0};
    bool ret = false;
    cr_assert_eq(projection_db_same_contexts(opened.db, &contexts, &ret, &err), 0, "%s", err.message);
    return ret;
}

Test(sqlite_authority, the_contexts_that_came_first_are_kept)
{
    cr_assert(same_contexts(1));
    db_reopen(&opened);
    cr_assert_not(same_contexts(2));
    cr_assert(same_contexts(1));
}

Test(sqlite_authority, the_digest_leaves_them_out)
{
    struct hash before = digest(opened.db, NULL);
    learn_and_commit("demo/us/1", 1, "a");
    struct hash after = digest(opened.db, NULL);
    cr_assert(hash_equal(&before, &after));
}
