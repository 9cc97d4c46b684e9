/* The digest: equal contents have equal digests, whatever order they were written in, and others have others. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "unit/projection/fixture.h"

/* The digest of a table with this schema after these payloads, inserted by this statement in this order. */
static struct hash digest_of(const char *schema, const char *statement, const char *const *payloads, size_t count,
                             bool backwards)
{
    struct opened opened;
    db_open_new(&opened, sql_of(schema, statement));
    for (size_t i = 0; i < count; i++)
        apply(opened.db, ORIGIN_EU, i, "s", payloads[backwards ? count - 1 - i : i]);
    struct hash hash = digest(opened.db, NULL);
    cr_assert_eq(row_count(opened.db), count);
    db_close_and_remove(&opened);
    return hash;
}

static void expect_any_order(const char *schema, const char *statement, const char *const *payloads, size_t count)
{
    struct hash forwards = digest_of(schema, statement, payloads, count, false);
    struct hash backwards = digest_of(schema, statement, payloads, count, true);
    cr_assert(hash_equal(&forwards, &backwards), "%s", schema);
}

Test(sqlite_digest, it_does_not_depend_on_the_order_of_insertion)
{
    static const char *const texts[] = {"b", "a", "c", "", "a"};
    expect_any_order("CREATE TABLE t(a);", "INSERT INTO t VALUES(:payload);", texts, 5);
    expect_any_order("CREATE TABLE t(a, b);", "INSERT INTO t VALUES(1, :payload);", texts, 5);
}

Test(sqlite_digest, it_does_not_depend_on_collations)
{
    static const char *const texts[] = {"a", "A", "b ", "b", "B"};
    expect_any_order("CREATE TABLE t(a TEXT COLLATE NOCASE);", "INSERT INTO t VALUES(:payload);", texts, 5);
    expect_any_order("CREATE TABLE t(a TEXT COLLATE RTRIM);", "INSERT INTO t VALUES(:payload);", texts, 5);
}

Test(sqlite_digest, it_orders_equal_numbers_of_two_types)
{
    static const char *const numbers[] = {"1", "1.0", "0.0", "-0.0", "0"};
    expect_any_order("CREATE TABLE t(a);",
                     "INSERT INTO t VALUES(CASE WHEN instr(:payload, '.') THEN CAST(:payload AS REAL) ELSE "
                     "CAST(:payload AS INTEGER) END);",
                     numbers, 5);
}

Test(sqlite_digest, it_tells_contents_apart)
{
    static const char *const schemas[][2] = {
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('ab', 'c');"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('a', 'bc');"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('a', x'6263');"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('atb', 'c');"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('a', 'btc');"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('a', NULL);"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('a', '');"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('a', 1);"},
        {"CREATE TABLE t(a, b);", "INSERT INTO t VALUES('a', 1.0);"},
        {"CREATE TABLE t(a, c);", "INSERT INTO t VALUES('a', 1.0);"},
        {"CREATE TABLE u(a, b);", "INSERT INTO u VALUES('a', 1.0);"},
        {"CREATE TABLE t(a, b); CREATE TABLE u(a);", "INSERT INTO t VALUES('a', 1.0);"},
    };
    enum { COUNT = sizeof(schemas) / sizeof(schemas[0]) };
    static const char *const payload[] = {""};
    struct hash digests[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        digests[i] = digest_of(schemas[i][0], schemas[i][1], payload, 1, false);
        for (size_t other = 0; other < i; other++)
            cr_assert_not(hash_equal(&digests[i], &digests[other]), "%zu and %zu", other, i);
    }
}

Test(sqlite_digest, it_leaves_the_cursor_out)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(&opened, DEPOSITS);
    apply(opened.db, ORIGIN_EU, 0, "s", "1");
    struct hash before = digest(opened.db, NULL);
    event_init(&event, ORIGIN_EU, 1, "s", "1");
    event.entry.type = BYTES_LITERAL("Withdrawn");
    cr_assert_eq(try_apply(opened.db, &event, &err), 0);
    struct hash after = digest(opened.db, NULL);
    cr_assert(hash_equal(&before, &after));
    db_close_and_remove(&opened);
}

Test(sqlite_digest, it_quotes_names_of_tables_and_columns)
{
    static const char *const payloads[] = {"2", "1"};
    expect_any_order("CREATE TABLE \"a \"\"b\"\"; DROP TABLE x\"(\"c \"\"d\"\"\", \"1\", \"select\");",
                     "INSERT INTO \"a \"\"b\"\"; DROP TABLE x\" VALUES(1, :payload, 1);", payloads, 2);
}

Test(sqlite_digest, of_an_empty_projection_names_its_tables)
{
    struct opened one;
    struct opened other;
    db_open_new(&one, sql_of("CREATE TABLE t(a);", "SELECT 1;"));
    db_open_new(&other, sql_of("CREATE TABLE t(b);", "SELECT 1;"));
    struct hash first = digest(one.db, NULL);
    struct hash second = digest(other.db, NULL);
    cr_assert_not(hash_equal(&first, &second));
    db_close_and_remove(&one);
    db_close_and_remove(&other);
}

/* --- Comparing --- */

#define TWO_TABLES "CREATE TABLE a(n INTEGER);\nCREATE TABLE b(n INTEGER);"

Test(sqlite_digest, two_databases_are_compared_table_by_table)
{
    struct opened opened[2];
    struct err err = {0};
    char table[PROJECTION_TABLE_MAX_BYTES + 1] = "";
    bool differs = true;
    const char *sql = sql_of(TWO_TABLES, "INSERT INTO a VALUES(1);\nINSERT INTO b SELECT 2 WHERE :stream = 'b';");
    for (size_t i = 0; i < 2; i++) {
        db_open_new(&opened[i], sql);
        apply(opened[i].db, ORIGIN_EU, 0, "s", "");
    }
    cr_assert_eq(projection_db_compare(opened[0].db, opened[1].db, table, &differs, &err), 0, "%s", err.message);
    cr_assert_not(differs);
    cr_assert_str_eq(table, "");
    apply(opened[0].db, ORIGIN_EU, 1, "b", "");
    apply(opened[1].db, ORIGIN_EU, 1, "s", "");
    cr_assert_eq(projection_db_compare(opened[0].db, opened[1].db, table, &differs, &err), 0, "%s", err.message);
    cr_assert(differs);
    cr_assert_str_eq(table, "b");
    for (size_t i = 0; i < 2; i++)
        db_close_and_remove(&opened[i]);
}
