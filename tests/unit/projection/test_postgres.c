/* Schemas of a real PostgreSQL server: making, opening, switching, and what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "unit/projection/fixture.h"

#define PG_DEPOSITS                                                                                                    \
    "-- tally: projection deposits\n"                                                                                  \
    "-- tally: schema\n"                                                                                               \
    "CREATE TABLE deposit(id text, stream text, payload text);\n"                                                      \
    "-- tally: on bank Deposited\n"                                                                                    \
    "INSERT INTO deposit VALUES(:event_id, :stream, :payload); -- the end\n"

Test(postgres, keeps_rows_and_cursor_when_it_is_opened_again)
{
    struct projection_spec *spec = NULL;
    struct err err = {0};
    struct projection_db *db = open_schema("again", PG_DEPOSITS, &spec);
    apply(db, ORIGIN_EU, 0, "s", "1");
    apply(db, ORIGIN_EU, 1, "s", "2");
    apply(db, "demo/us/1", 0, "s", "3");
    projection_db_close(db);
    cr_assert_eq(projection_schema_open(&test_server, "again", SCHEMA_OPEN, 0, spec, &db, &err), 0, "%s", err.message);
    cr_assert_eq(projection_schema_generation(db), 1);
    cr_assert_eq(applied(db, ORIGIN_EU), 2);
    cr_assert_eq(applied(db, "demo/us/1"), 1);
    cr_assert_eq(row_count(db), 3);
    cr_assert_str_eq(psql("SELECT payload FROM again.deposit ORDER BY payload LIMIT 1"), "1");
    apply(db, ORIGIN_EU, 2, "s", "4");
    projection_db_close(db);
    projection_spec_free(spec);
}

Test(postgres, a_schema_that_is_there_is_not_taken)
{
    struct projection_spec *spec = NULL;
    struct projection_db *other = NULL;
    struct err err = {0};
    projection_db_close(open_schema("taken", PG_DEPOSITS, &spec));
    cr_assert_eq(projection_schema_open(&test_server, "taken", SCHEMA_CREATE, 1, spec, &other, &err), ERR_EXISTS);
    expect_says(&err, "has a schema \"taken\" already");
    cr_assert_eq(projection_schema_open(&test_server, "none such", SCHEMA_OPEN, 0, spec, &other, &err), ERR_NOT_FOUND);
    projection_spec_free(spec);
    spec = spec_of(sql_of("CREATE TABLE other(a int);", "DELETE FROM other;"));
    cr_assert_eq(projection_schema_open(&test_server, "taken", SCHEMA_OPEN, 0, spec, &other, &err), ERR_MISMATCH);
    projection_spec_free(spec);
}

Test(postgres, the_switch_gives_readers_one_or_the_other_under_one_name)
{
    struct projection_spec *spec = NULL;
    struct projection_db *next = NULL;
    struct err err = {0};
    struct projection_db *live = open_schema("switched", PG_DEPOSITS, &spec);
    apply(live, ORIGIN_EU, 0, "s", "old");
    cr_assert_eq(projection_schema_open(&test_server, "switched.next", SCHEMA_REPLACE, 2, spec, &next, &err), 0, "%s",
                 err.message);
    apply(next, ORIGIN_EU, 0, "s", "new");
    cr_assert_eq(projection_schema_rename(next, "switched", &err), 0, "%s", err.message);
    cr_assert_str_eq(psql("SELECT payload FROM switched.deposit"), "new");
    apply(next, ORIGIN_EU, 1, "s", "newer"); /* goes on under its new name */
    cr_assert_str_eq(psql("SELECT count(*) FROM switched.deposit"), "2");
    cr_assert_str_eq(psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'switched.next'"), "0");
    projection_db_close(live);
    projection_db_close(next);
    projection_spec_free(spec);
}

Test(postgres, a_temporary_database_leaves_nothing)
{
    struct projection_spec *spec = spec_of(PG_DEPOSITS);
    struct projection_db *db = NULL;
    struct err err = {0};
    cr_assert_eq(projection_schema_open(&test_server, "", SCHEMA_TEMPORARY, 1, spec, &db, &err), 0, "%s", err.message);
    apply(db, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(row_count(db), 1);
    projection_db_close(db);
    projection_spec_free(spec);
}

Test(postgres, mistakes_are_found_when_it_is_made)
{
    static const struct {
        const char *schema, *statements, *says;
    } mistakes[] = {
        {"CREATE TABLE t(a int);", "INSERT INTO missing VALUES(1);", "section \"on bank Deposited\", line 5"},
        {"CREATE TABLE t(a int);", "INSERT INTO t VALUES(:colour);", "there is no parameter :colour"},
        {"CREATE TABLE t(a int);", "INSERT INTO t VALUES(now());", "another answer in another region"},
        {"CREATE TABLE t(a int); COMMIT;", "DELETE FROM t;", "the schema, line 3"},
        {"CREATE TABLE t(a int;", "DELETE FROM t;", "the schema, line 3"},
        {"CREATE TABLE t(a int DEFAULT :epoch);", "DELETE FROM t;", "made before any event"},
        {"CREATE TABLE t(a int);", "DELETE FROM _tally_cursor;", "_tally_"},
    };
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct err err = {0};
        cr_assert_eq(try_schema("mistakes", sql_of(mistakes[i].schema, mistakes[i].statements), &err), ERR_INVALID,
                     "%s / %s: %s", mistakes[i].schema, mistakes[i].statements, err.message);
        expect_says(&err, mistakes[i].says);
        cr_assert_str_eq(psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'mistakes'"), "0");
    }
}

Test(postgres, sections_cannot_end_the_transaction)
{
    struct projection_spec *spec = NULL;
    struct event event;
    struct err err = {0};
    struct projection_db *db =
        open_schema("ends", sql_of("CREATE TABLE t(a text);", "INSERT INTO t VALUES(:stream); COMMIT;"), &spec);
    event_init(&event, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(try_apply(db, &event, &err), ERR_INVALID);
    cr_assert_eq(try_apply(db, &event, &err), ERR_INVALID);
    expect_says(&err, "COMMIT is not allowed");
    cr_assert_eq(row_count(db), 0);
    projection_db_close(db);
    projection_spec_free(spec);
}

Test(postgres, quotes_and_dollars_reach_the_server_as_they_are)
{
    struct projection_spec *spec = NULL;
    struct projection_db *db =
        open_schema("o\"d d",
                    sql_of("CREATE TABLE t(\"a'b\" text DEFAULT 'it''s $1 \\'); INSERT INTO t VALUES('x');",
                           "INSERT INTO t VALUES($q$'$q$ || :stream || E'\\'' || '\\') -- 'open"),
                    &spec);
    apply(db, ORIGIN_EU, 0, "s", "1");
    cr_assert_str_eq(psql("SELECT string_agg(\"a'b\", ';' ORDER BY \"a'b\") FROM \"o\"\"d d\".t"), "'s'\\;x");
    projection_db_close(db);
    projection_spec_free(spec);
}

Test(postgres, a_url_holds_no_password)
{
    struct err err = {0};
    cr_assert_eq(projection_server_check("postgresql://tally@db:5432/ledger?passfile=/etc/tally/pgpass", &err), 0, "%s",
                 err.message);
    static const char *const refused[] = {"postgresql://tally:hush@db/ledger", "postgresql://db/l?password=hush",
                                          "host=db password=hush", "postgresql://tally:hush@db/?nonsense=hush"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        cr_assert_eq(projection_server_check(refused[i], &err), ERR_INVALID, "%s", refused[i]);
        cr_assert_null(strstr(err.message, "hush"), "%s", err.message);
    }
}

Test(postgres, a_server_that_is_not_there_is_unavailable)
{
    const struct projection_server nowhere = {.name = "nowhere",
                                              .url = "postgresql:///postgres?host=/nonexistent&user=x"};
    struct projection_spec *spec = spec_of(PG_DEPOSITS);
    struct projection_db *db = NULL;
    struct err err = {0};
    cr_assert_eq(projection_schema_open(&nowhere, "s", SCHEMA_CREATE, 1, spec, &db, &err), ERR_UNAVAILABLE);
    expect_says(&err, "database nowhere");
    projection_spec_free(spec);
}

Test(postgres, a_connection_that_is_lost_is_unavailable_and_loses_nothing)
{
    struct projection_spec *spec = NULL;
    struct projection_db *db = open_schema("lost", PG_DEPOSITS, &spec);
    struct event event;
    struct err err = {0};
    apply(db, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(projection_db_begin(db, &err), 0);
    event_init(&event, ORIGIN_EU, 1, "s", "2");
    cr_assert_eq(projection_db_apply(db, &event.event, &err), 0);
    cr_assert_str_eq(psql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity, "
                          "pg_namespace WHERE nspname = 'lost' AND application_name = 'tallyd' AND state = 'idle in "
                          "transaction' AND query = 'BEGIN'"),
                     "1");
    cr_assert_eq(projection_db_commit(db, &err), ERR_UNAVAILABLE, "%s", err.message);
    projection_db_rollback(db);
    cr_assert_eq(projection_db_begin(db, &err), ERR_UNAVAILABLE);
    projection_db_close(db);
    cr_assert_eq(projection_schema_open(&test_server, "lost", SCHEMA_OPEN, 0, spec, &db, &err), 0, "%s", err.message);
    cr_assert_eq(applied(db, ORIGIN_EU), 1);
    cr_assert_eq(row_count(db), 1);
    projection_db_close(db);
    projection_spec_free(spec);
}

Test(postgres, a_region_that_stops_is_not_kept_waiting)
{
    atomic_bool stopping = false;
    struct projection_server server = {.name = "test", .url = test_server.url, .stopping = &stopping};
    struct projection_spec *spec = spec_of(PG_DEPOSITS);
    struct projection_db *db = NULL;
    struct err err = {0};
    cr_assert_eq(projection_schema_open(&server, "stops", SCHEMA_REPLACE, 1, spec, &db, &err), 0, "%s", err.message);
    atomic_store(&stopping, true);
    cr_assert_eq(projection_db_begin(db, &err), ERR_UNAVAILABLE);
    expect_says(&err, "the region stops");
    projection_db_close(db);
    projection_spec_free(spec);
}

Test(postgres, a_schema_that_does_not_end_is_ended, .timeout = 120)
{
    struct projection_server server = {.name = "test", .url = test_server.url, .schema_ms = 300};
    struct projection_spec *spec =
        spec_of(sql_of("CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) "
                       "SELECT count(*) FROM n;",
                       "SELECT 1;"));
    struct projection_db *db = NULL;
    struct err err = {0};
    cr_assert_eq(projection_schema_open(&server, "endless", SCHEMA_CREATE, 1, spec, &db, &err), ERR_INVALID, "%s",
                 err.message);
    expect_says(&err, "the schema, line 3: PostgreSQL says: canceling statement due to statement timeout");
    projection_spec_free(spec);
    spec = spec_of(PG_DEPOSITS);
    cr_assert_eq(projection_schema_open(&server, "endless", SCHEMA_CREATE, 1, spec, &db, &err), 0, "%s", err.message);
    projection_db_close(db);
    projection_spec_free(spec);
}
