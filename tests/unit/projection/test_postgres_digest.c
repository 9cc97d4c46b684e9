/* The digest of a PostgreSQL schema is that of an SQLite file with equal contents. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "unit/projection/fixture.h"

/* Contents that are written by the schema alone, in the SQL of each. */
static struct hash sqlite_digest(const char *schema)
{
    struct projection_spec *spec = NULL;
    struct projection_db *db = open_db("", sql_of(schema, "SELECT 1;"), &spec);
    struct hash hash = digest(db, NULL);
    projection_db_close(db);
    projection_spec_free(spec);
    return hash;
}

static struct hash postgres_digest(const char *name, const char *schema)
{
    struct projection_spec *spec = NULL;
    struct projection_db *db = open_schema(name, sql_of(schema, "SELECT 1;"), &spec);
    struct hash hash = digest(db, NULL);
    projection_db_close(db);
    projection_spec_free(spec);
    return hash;
}

static void expect_equal(const char *name, const char *in_sqlite, const char *in_postgres)
{
    struct hash a = sqlite_digest(in_sqlite);
    struct hash b = postgres_digest(name, in_postgres);
    cr_assert(hash_equal(&a, &b), "%s\n%s", in_sqlite, in_postgres);
}

Test(postgres_digest, is_that_of_sqlite_for_equal_contents)
{
    expect_equal("d1", "CREATE TABLE t(a TEXT, n INTEGER);", "CREATE TABLE t(a text, n bigint);");
    expect_equal("d2",
                 "CREATE TABLE t(a TEXT, n INTEGER); INSERT INTO t VALUES('b', 2), ('B', -1), (NULL, 7), ('', 0);",
                 "CREATE TABLE t(a text, n integer); INSERT INTO t VALUES('', 0), ('B', -1), ('b', 2), (NULL, 7);");
    expect_equal("d3",
                 "CREATE TABLE t(b BLOB, r REAL); INSERT INTO t VALUES(x'00ff', 1.5), (x'00', -0.0), (x'', 1e300);",
                 "CREATE TABLE t(b bytea, r double precision); INSERT INTO t VALUES('\\x', 1e300), ('\\x00ff', 1.5), "
                 "('\\x00', 0.0);");
    expect_equal(
        "d4", "CREATE TABLE zeta(a INTEGER); CREATE TABLE Alpha(b TEXT); INSERT INTO Alpha VALUES('é'), ('z');",
        "CREATE TABLE zeta(a smallint); CREATE TABLE \"Alpha\"(b varchar(9)); INSERT INTO \"Alpha\" VALUES('z'), "
        "('é');");
    expect_equal(
        "d5", "CREATE TABLE t(yes INTEGER, u TEXT); INSERT INTO t VALUES(1, '01000000-0000-0000-0000-000000000000');",
        "CREATE TABLE t(yes boolean, u uuid); INSERT INTO t VALUES(true, '01000000-0000-0000-0000-000000000000');");
}

Test(postgres_digest, is_that_of_sqlite_after_the_same_events)
{
    struct projection_spec *specs[2];
    struct projection_db *dbs[2] = {
        open_db("",
                sql_of("CREATE TABLE t(stream TEXT PRIMARY KEY, n INTEGER, last TEXT);",
                       "INSERT INTO t VALUES(:stream, 1, :payload) ON CONFLICT(stream) DO UPDATE SET n = n + 1, "
                       "last = excluded.last;"),
                &specs[0]),
        open_schema("d6",
                    sql_of("CREATE TABLE t(stream text PRIMARY KEY, n integer, last text);",
                           "INSERT INTO t VALUES(:stream, 1, :payload) ON CONFLICT(stream) DO UPDATE SET n = t.n + "
                           "1, last = excluded.last;"),
                    &specs[1])};
    struct hash hashes[2];
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t at = 0; at < 100; at++) {
            char stream[16];
            snprintf(stream, sizeof(stream), "s%d", (int)(at * 7 % 13));
            apply(dbs[i], ORIGIN_EU, at, stream, stream);
        }
        hashes[i] = digest(dbs[i], NULL);
    }
    cr_assert(hash_equal(&hashes[0], &hashes[1]));
    psql("UPDATE d6.t SET n = n + 1 WHERE stream = 's3'");
    hashes[1] = digest(dbs[1], NULL);
    cr_assert(!hash_equal(&hashes[0], &hashes[1]));
    for (size_t i = 0; i < 2; i++) {
        projection_db_close(dbs[i]);
        projection_spec_free(specs[i]);
    }
}

Test(postgres_digest, tells_apart_what_differs)
{
    const char *const contents[] = {
        "CREATE TABLE t(a text);",
        "CREATE TABLE t(b text);",
        "CREATE TABLE u(a text);",
        "CREATE TABLE t(a text); INSERT INTO t VALUES(NULL);",
        "CREATE TABLE t(a text); INSERT INTO t VALUES('');",
        "CREATE TABLE t(a bytea); INSERT INTO t VALUES('');",
        "CREATE TABLE t(a text); INSERT INTO t VALUES(''), ('');",
        "CREATE TABLE t(a bigint); INSERT INTO t VALUES(1);",
        "CREATE TABLE t(a text); INSERT INTO t VALUES('1');",
        "CREATE TABLE t(a text); CREATE TABLE v(a text);",
    };
    enum { COUNT = sizeof(contents) / sizeof(contents[0]) };
    struct hash hashes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        hashes[i] = postgres_digest("d7", contents[i]);
        for (size_t j = 0; j < i; j++)
            cr_assert(!hash_equal(&hashes[i], &hashes[j]), "%s\n%s", contents[i], contents[j]);
    }
}

Test(postgres_digest, compare_names_the_table_that_differs)
{
    char table[PROJECTION_TABLE_MAX_BYTES + 1];
    bool differs = false;
    struct err err = {0};
    struct projection_spec *specs[2];
    const char *sql = sql_of("CREATE TABLE a(x int); CREATE TABLE b(x text);", "INSERT INTO b VALUES(:payload);");
    struct projection_db *one = open_schema("c1", sql, &specs[0]);
    struct projection_db *two = open_schema("c2", sql, &specs[1]);
    cr_assert_eq(projection_db_compare(one, two, table, &differs, &err), 0, "%s", err.message);
    cr_assert(!differs);
    apply(one, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(projection_db_compare(one, two, table, &differs, &err), 0, "%s", err.message);
    cr_assert(differs);
    cr_assert_str_eq(table, "b");
    projection_db_close(one);
    projection_db_close(two);
    projection_spec_free(specs[0]);
    projection_spec_free(specs[1]);
}
