/* What an event would change: told row by row, and not done. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "unit/projection/fixture.h"

static struct arena arena;
static struct projection_preview preview;

static void begin_case(void)
{
    arena_init(&arena, 8 * 1024 * 1024);
}

static void end_case(void)
{
    arena_free(&arena);
}

TestSuite(sqlite_preview, .init = begin_case, .fini = end_case);

#define SUMS                                                                                                           \
    "CREATE TABLE sum(stream TEXT PRIMARY KEY, total INTEGER NOT NULL CHECK(total >= 0));"                             \
    "CREATE TABLE moved(stream TEXT, version INTEGER);"
#define ADD                                                                                                            \
    "INSERT INTO sum VALUES(:stream, max(0, CAST(:payload AS INTEGER))) ON CONFLICT(stream) "                          \
    "DO UPDATE SET total = total + CAST(:payload AS INTEGER);"

static int look(struct opened *opened, const char *stream, const char *payload, struct err *err)
{
    struct event event;
    event_init(&event, "demo/us/1", 7, stream, payload);
    return projection_db_preview(opened->db, &event.event, &arena, &preview, err);
}

static void expect_look(struct opened *opened, const char *stream, const char *payload)
{
    struct err err = {0};
    cr_assert_eq(look(opened, stream, payload, &err), 0, "%s", err.message);
}

static void expect_row(size_t at, const char *table, const char *without, const char *with)
{
    const struct projection_row *row = &preview.rows[at];
    cr_assert_lt(at, preview.count);
    cr_expect_str_eq(row->table, table);
    cr_expect_str_eq(row->without == NULL ? "" : row->without, without);
    cr_expect_str_eq(row->with == NULL ? "" : row->with, with);
}

Test(sqlite_preview, a_row_is_told_without_and_with_the_event_and_stays_as_it_is)
{
    struct opened opened;
    db_open_new(&opened, sql_of(SUMS, ADD "INSERT INTO moved VALUES(:stream, :version);"));
    apply(opened.db, ORIGIN_EU, 0, "s", "5");
    struct hash before = digest(opened.db, NULL);
    expect_look(&opened, "s", "3");
    cr_assert_eq(preview.count, 2);
    cr_assert_eq(preview.changed, 2);
    expect_row(0, "sum", "{\"stream\":\"s\",\"total\":5}", "{\"stream\":\"s\",\"total\":8}");
    expect_row(1, "moved", "", "{\"stream\":\"s\",\"version\":7}");
    struct hash after = digest(opened.db, NULL);
    cr_assert(hash_equal(&before, &after));
    cr_assert_eq(applied(opened.db, "demo/us/1"), 0);
    apply(opened.db, ORIGIN_EU, 1, "s", "1"); /* goes on */
    db_close_and_remove(&opened);
}

Test(sqlite_preview, a_statement_that_fails_is_told_and_stops_nothing)
{
    struct opened opened;
    struct err err = {0};
    db_open_new(&opened, sql_of(SUMS, ADD));
    apply(opened.db, ORIGIN_EU, 0, "s", "5");
    cr_assert_eq(look(&opened, "s", "-6", &err), ERR_INVALID);
    expect_says(&err, "CHECK constraint failed");
    expect_look(&opened, "s", "-5");
    expect_row(0, "sum", "{\"stream\":\"s\",\"total\":5}", "{\"stream\":\"s\",\"total\":0}");
    db_close_and_remove(&opened);
}

Test(sqlite_preview, a_row_that_is_changed_twice_is_told_once)
{
    struct opened opened;
    db_open_new(&opened, sql_of(SUMS, ADD "UPDATE sum SET total = total * 2 WHERE stream = :stream;"));
    apply(opened.db, ORIGIN_EU, 0, "s", "5");
    expect_look(&opened, "s", "1");
    cr_assert_eq(preview.changed, 1);
    expect_row(0, "sum", "{\"stream\":\"s\",\"total\":10}", "{\"stream\":\"s\",\"total\":22}");
    expect_look(&opened, "t", "1");
    cr_assert_eq(preview.changed, 1);
    expect_row(0, "sum", "", "{\"stream\":\"t\",\"total\":2}");
    db_close_and_remove(&opened);
}

Test(sqlite_preview, a_row_that_ends_as_it_began_is_left_out)
{
    struct opened opened;
    db_open_new(&opened, sql_of(SUMS, ADD "UPDATE sum SET total = total - CAST(:payload AS INTEGER);"
                                          "INSERT INTO moved VALUES('x', 1); DELETE FROM moved;"));
    expect_look(&opened, "s", "0");
    cr_assert_eq(preview.changed, 1);
    expect_row(0, "sum", "", "{\"stream\":\"s\",\"total\":0}");
    apply(opened.db, ORIGIN_EU, 0, "s", "0");
    expect_look(&opened, "s", "3");
    cr_assert_eq(preview.count, 0);
    db_close_and_remove(&opened);
}

/* SQLite empties a table at one stroke when nobody watches. */
Test(sqlite_preview, rows_are_told_of_a_table_that_is_emptied_and_of_what_triggers_change)
{
    struct opened opened;
    db_open_new(&opened,
                sql_of("CREATE TABLE kept(payload); CREATE TABLE gone(what);"
                       "CREATE TRIGGER noted AFTER DELETE ON kept BEGIN INSERT INTO gone VALUES(old.payload); END;",
                       "DELETE FROM gone; DELETE FROM kept; INSERT INTO kept VALUES(:payload);"));
    apply(opened.db, ORIGIN_EU, 0, "s", "one");
    apply(opened.db, ORIGIN_EU, 1, "s", "two");
    expect_look(&opened, "s", "three");
    cr_assert_eq(preview.changed, 4);
    expect_row(0, "gone", "{\"what\":\"one\"}", "");
    expect_row(1, "kept", "{\"payload\":\"two\"}", "");
    expect_row(2, "gone", "", "{\"what\":\"two\"}");
    expect_row(3, "kept", "", "{\"payload\":\"three\"}");
    db_close_and_remove(&opened);
}

Test(sqlite_preview, values_are_json)
{
    struct opened opened;
    db_open_new(&opened, sql_of("CREATE TABLE t(\"a \"\"b\" INTEGER PRIMARY KEY, c REAL, d, e, f, g, h);",
                                "INSERT INTO t VALUES(7, 2, 0.1, :payload, x'00ff', NULL, CAST(x'ff' AS TEXT));"));
    expect_look(&opened, "s", "q\"\\\n\xc3\xa9");
    expect_row(0, "t", "",
               "{\"a \\\"b\":7,\"c\":2,\"d\":0.1,\"e\":\"q\\\"\\\\\\u000a\xc3\xa9\",\"f\":\"x'00ff'\",\"g\":null,"
               "\"h\":\"x'ff'\"}");
    db_close_and_remove(&opened);
}

Test(sqlite_preview, there_are_limits)
{
    struct opened opened;
    struct err err = {0};
    db_open_new(&opened,
                sql_of("CREATE TABLE t(n, filler);",
                       "INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < "
                       "CAST(:payload AS INTEGER)) SELECT n, zeroblob(CASE :stream WHEN 'large' THEN 40000 ELSE 0 "
                       "END) FROM c;"));
    expect_look(&opened, "s", "1000");
    cr_assert_eq(preview.changed, PROJECTION_PREVIEW_CHANGES_MAX);
    cr_assert_eq(preview.count, PROJECTION_PREVIEW_ROWS_MAX);
    cr_assert_eq(look(&opened, "s", "1001", &err), ERR_TOO_LARGE);
    expect_says(&err, "more than 1000 rows");
    cr_assert_eq(look(&opened, "large", "1", &err), ERR_TOO_LARGE);
    cr_assert_eq(row_count(opened.db), 0);
    db_close_and_remove(&opened);
}

Test(sqlite_preview, a_table_with_generated_columns_is_not_guessed_at)
{
    struct opened opened;
    struct err err = {0};
    db_open_new(&opened, sql_of("CREATE TABLE t(a, b AS (a || 'x'), c);", "INSERT INTO t(a, c) VALUES(1, 2);"));
    cr_assert_eq(look(&opened, "s", "1", &err), ERR_INVALID);
    expect_says(&err, "generated columns");
    db_close_and_remove(&opened);
}
