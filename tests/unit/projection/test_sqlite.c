/* One generation: what the SQL may do, and that each event takes effect exactly once. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "unit/projection/fixture.h"

/* --- Exactly once --- */

Test(sqlite, rows_and_cursor_commit_together)
{
    struct opened opened;
    db_open_new(&opened, DEPOSITS);
    apply(opened.db, ORIGIN_EU, 0, "s", "1");
    db_reopen(&opened);
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 1);
    cr_assert_eq(row_count(opened.db), 1);
    db_close_and_remove(&opened);
}

Test(sqlite, what_was_not_committed_is_gone_with_its_cursor)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(&opened, DEPOSITS);
    apply(opened.db, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(projection_db_begin(opened.db, &err), 0);
    event_init(&event, ORIGIN_EU, 1, "s", "2");
    cr_assert_eq(projection_db_apply(opened.db, &event.event, &err), 0);
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 2);
    db_reopen(&opened); /* as after a crash */
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 1);
    cr_assert_eq(row_count(opened.db), 1);
    db_close_and_remove(&opened);
}

Test(sqlite, a_rollback_gives_rows_and_cursor_back)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(&opened, DEPOSITS);
    cr_assert_eq(projection_db_begin(opened.db, &err), 0);
    event_init(&event, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(projection_db_apply(opened.db, &event.event, &err), 0);
    projection_db_rollback(opened.db);
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 0);
    cr_assert_eq(row_count(opened.db), 0);
    apply(opened.db, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(row_count(opened.db), 1);
    db_close_and_remove(&opened);
}

Test(sqlite, an_event_twice_or_out_of_order_is_refused)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(&opened, DEPOSITS);
    apply(opened.db, ORIGIN_EU, 0, "s", "1");
    event_init(&event, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(try_apply(opened.db, &event, &err), ERR_INVALID);
    event_init(&event, ORIGIN_EU, 2, "s", "1");
    cr_assert_eq(try_apply(opened.db, &event, &err), ERR_INVALID);
    expect_says(&err, "entry 2 of demo/eu/1 does not follow the 1 applied");
    cr_assert_eq(row_count(opened.db), 1);
    db_close_and_remove(&opened);
}

Test(sqlite, every_log_has_a_place_of_its_own_in_the_cursor)
{
    struct opened opened;
    size_t position = 0;
    const char *origin = NULL;
    uint64_t size = 0;
    db_open_new(&opened, DEPOSITS);
    apply(opened.db, "demo/us/1", 0, "s", "1");
    apply(opened.db, ORIGIN_EU, 0, "s", "1");
    apply(opened.db, ORIGIN_EU, 1, "s", "1");
    db_reopen(&opened);
    cr_assert(projection_db_cursor_next(opened.db, &position, &origin, &size));
    cr_assert_str_eq(origin, ORIGIN_EU);
    cr_assert_eq(size, 2);
    cr_assert(projection_db_cursor_next(opened.db, &position, &origin, &size));
    cr_assert_str_eq(origin, "demo/us/1");
    cr_assert_eq(size, 1);
    cr_assert_not(projection_db_cursor_next(opened.db, &position, &origin, &size));
    cr_assert_eq(applied(opened.db, "demo/ap/1"), 0);
    db_close_and_remove(&opened);
}

Test(sqlite, the_number_of_logs_has_a_limit)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    char origin[32];
    db_open_new(&opened, DEPOSITS);
    for (int i = 0; i < PROJECTION_LOGS_MAX; i++) {
        snprintf(origin, sizeof(origin), "demo/r%d/1", i);
        apply(opened.db, origin, 0, "s", "1");
    }
    event_init(&event, "demo/more/1", 0, "s", "1");
    cr_assert_eq(try_apply(opened.db, &event, &err), ERR_TOO_LARGE);
    db_reopen(&opened);
    cr_assert_eq(applied(opened.db, "demo/r63/1"), 1);
    db_close_and_remove(&opened);
}

Test(sqlite, events_that_no_section_wants_move_the_cursor_only)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(&opened, DEPOSITS);
    event_init(&event, ORIGIN_EU, 0, "s", "1");
    event.entry.type = BYTES_LITERAL("Withdrawn");
    cr_assert_eq(try_apply(opened.db, &event, &err), 0, "%s", err.message);
    event_init(&event, ORIGIN_EU, 1, "s", "1");
    event.entry.flags = ENTRY_FLAG_CONTROL;
    cr_assert_eq(try_apply(opened.db, &event, &err), 0, "%s", err.message);
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 2);
    cr_assert_eq(row_count(opened.db), 0);
    db_close_and_remove(&opened);
}

Test(sqlite, a_statement_that_fails_undoes_the_events_before_it)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(&opened, sql_of("CREATE TABLE t(a TEXT PRIMARY KEY);", "INSERT INTO t VALUES(:payload);"));
    cr_assert_eq(projection_db_begin(opened.db, &err), 0);
    event_init(&event, ORIGIN_EU, 0, "s", "same");
    cr_assert_eq(projection_db_apply(opened.db, &event.event, &err), 0);
    event_init(&event, ORIGIN_EU, 1, "s", "same");
    cr_assert_eq(projection_db_apply(opened.db, &event.event, &err), ERR_INVALID);
    expect_says(&err, "entry 1 of demo/eu/1, section \"on bank Deposited\", line 5: UNIQUE");
    projection_db_rollback(opened.db);
    cr_assert_eq(row_count(opened.db), 0);
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 0);
    db_close_and_remove(&opened);
}

Test(sqlite, a_disk_that_refuses_leaves_the_last_commit_and_is_not_called_a_mistake_of_the_sql)
{
    struct opened opened;
    struct err err = {0};
    struct rlimit limit;
    int code = 0;
    char *payload = mem_alloc_zero(1, 1024 * 1024 + 1);
    memset(payload, 'x', 1024 * 1024);
    db_open_new(&opened, DEPOSITS);
    apply(opened.db, ORIGIN_EU, 0, "s", "1");
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    rlim_t unlimited = limit.rlim_cur;
    limit.rlim_cur = 512 * 1024;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(projection_db_begin(opened.db, &err), 0, "%s", err.message);
    for (uint64_t i = 1; code == 0 && i < 6; i++) { /* more than SQLite keeps in memory */
        struct event event;
        event_init(&event, ORIGIN_EU, i, "s", payload);
        code = projection_db_apply(opened.db, &event.event, &err);
    }
    cr_assert_eq(code, ERR_IO, "%s", err.message);
    projection_db_rollback(opened.db);
    limit.rlim_cur = unlimited;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 1);
    cr_assert_eq(row_count(opened.db), 1);
    apply(opened.db, ORIGIN_EU, 1, "s", "2");
    mem_free(payload);
    db_close_and_remove(&opened);
}

/* --- Parameters --- */

Test(sqlite, parameters_are_what_the_event_says)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(
        &opened,
        sql_of("CREATE TABLE t(ok INTEGER CHECK(ok = 1));",
               "INSERT INTO t VALUES(:context = 'bank' AND :partition = 'north' AND :stream = 'it''s' AND :version "
               "= 0 AND :type = 'Deposited' AND :event_id = '00000000-0000-0001-0000-000000000000' AND :time_ms = "
               "1700000000000 AND :payload = '{}' AND :metadata = 'm' AND :content_type = 'application/json' AND "
               ":origin = 'demo/eu/1' AND :position = 0 AND :epoch = 7 AND :causation_id = "
               "'30313233-3435-3637-3839-616263646566' AND :correlation_id IS NULL);"));
    event_init(&event, ORIGIN_EU, 0, "it's", "{}");
    event.entry.metadata = BYTES_LITERAL("m");
    event.entry.content_type = BYTES_LITERAL("application/json");
    event.entry.epoch = 7;
    event.entry.causation_id = BYTES_LITERAL("0123456789abcdef");
    cr_assert_eq(try_apply(opened.db, &event, &err), 0, "%s", err.message);
    cr_assert_eq(row_count(opened.db), 1);
    db_close_and_remove(&opened);
}

/* Applies one payload to a table that takes only this type of it. */
static void expect_type(struct bytes payload, bool has_payload, const char *type)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    char schema[128];
    snprintf(schema, sizeof(schema), "CREATE TABLE t(a CHECK(typeof(a) = '%s'), size);", type);
    db_open_new(&opened, sql_of(schema, "INSERT INTO t VALUES(:payload, length(:payload));"));
    event_init(&event, ORIGIN_EU, 0, "s", "");
    event.event.payload = payload;
    event.event.has_payload = has_payload;
    cr_assert_eq(try_apply(opened.db, &event, &err), 0, "%s", err.message);
    db_close_and_remove(&opened);
}

Test(sqlite, a_payload_is_text_blob_or_null)
{
    expect_type(BYTES_LITERAL("text"), true, "text");
    expect_type(bytes_of(NULL, 0), true, "text");
    expect_type(BYTES_LITERAL("\xff\x00\x01"), true, "blob");
    expect_type(bytes_of(NULL, 0), false, "null");
}

Test(sqlite, hostile_names_are_data)
{
    static const char *const names[] = {
        "'); DROP TABLE deposit; --", "\"", "'", "%s%n", ":payload", "\xf0\x9f\x92\xa3"};
    struct opened opened;
    db_open_new(&opened, DEPOSITS);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        apply(opened.db, ORIGIN_EU, i, names[i], names[i]);
    cr_assert_eq(row_count(opened.db), sizeof(names) / sizeof(names[0]));
    db_close_and_remove(&opened);
}

/* --- What the SQL may do --- */

static void expect_refused(const char *sql, int code, const char *said)
{
    struct db_place place;
    struct projection_spec *spec = spec_of(sql);
    struct projection_db *db = NULL;
    struct err err = {0};
    db_place_init(&place);
    cr_assert_eq(projection_db_open(place.path, spec, NULL, &db, &err), code, "%s: %s", sql, err.message);
    cr_assert_null(db);
    expect_says(&err, said);
    projection_spec_free(spec);
    files_remove_folder(place.folder);
}

Test(sqlite, a_mistake_shows_when_the_file_is_opened)
{
    expect_refused(sql_of("CREATE TABEL t(a);", "SELECT 1;"), ERR_INVALID, "the schema, line 3: near \"TABEL\"");
    expect_refused(sql_of("CREATE TABLE t(a);", "INSERT INTO u VALUES(1);"), ERR_INVALID,
                   "section \"on bank Deposited\", line 5: no such table: u");
    expect_refused(sql_of("CREATE TABLE t(a);", "INSERT INTO t VALUES(:amount);"), ERR_INVALID,
                   "line 5: there is no parameter :amount");
    expect_refused(sql_of("CREATE TABLE t(a);", "INSERT INTO t VALUES(?1);"), ERR_INVALID, "there is no parameter ?1");
    expect_refused(sql_of("CREATE TABLE t(a);", "INSERT INTO t VALUES(?);"), ERR_INVALID, "there is no parameter ?");
}

Test(sqlite, statements_that_reach_beyond_the_projection_are_refused)
{
    static const char *const statements[] = {
        "ATTACH '/etc/passwd' AS x;",
        "PRAGMA synchronous = OFF;",
        "COMMIT;",
        "SAVEPOINT x;",
        "UPDATE _tally_cursor SET size = 0;",
        "DELETE FROM _TALLY_CURSOR;",
        "SELECT value FROM _tally_meta;",
        "INSERT INTO t SELECT size FROM _tally_cursor;",
        "DROP TABLE _tally_cursor;",
        "CREATE TABLE _Tally_hidden(a);",
        "CREATE TRIGGER x AFTER INSERT ON _tally_cursor BEGIN SELECT 1; END;",
        "CREATE TEMP TABLE x(a);",
        "CREATE TEMP VIEW x AS SELECT 1;",
        "CREATE VIRTUAL TABLE x USING fts5(a);",
        "SELECT load_extension('x');",
        "INSERT INTO t VALUES(random());",
        "INSERT INTO t VALUES(CURRENT_TIMESTAMP);",
        "UPDATE sqlite_master SET sql = '';",
    };
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        expect_refused(sql_of("CREATE TABLE t(a);", statements[i]), ERR_INVALID, "section \"on bank Deposited\"");
        expect_refused(sql_of(statements[i], "SELECT 1;"), ERR_INVALID, "the schema, line 3");
    }
}

Test(sqlite, a_schema_that_fails_half_way_leaves_no_half)
{
    struct db_place place;
    struct projection_spec *bad = spec_of(sql_of("CREATE TABLE t(a); CREATE TABEL u(a);", "SELECT 1;"));
    struct projection_spec *good = spec_of(sql_of("CREATE TABLE t(a);", "SELECT 1;"));
    struct projection_db *db = NULL;
    struct err err = {0};
    db_place_init(&place);
    cr_assert_eq(projection_db_open(place.path, bad, NULL, &db, &err), ERR_INVALID);
    cr_assert_eq(projection_db_open(place.path, good, NULL, &db, &err), 0, "%s", err.message);
    projection_db_close(db);
    projection_spec_free(bad);
    projection_spec_free(good);
    files_remove_folder(place.folder);
}

Test(sqlite, the_number_of_statements_has_a_limit)
{
    struct buf sql;
    buf_init(&sql, PROJECTION_SQL_MAX_BYTES);
    cr_assert_eq(buf_append_string(&sql, sql_of("CREATE TABLE t(a);", "")), 0);
    for (int i = 0; i < 1025; i++)
        cr_assert_eq(buf_append_string(&sql, "SELECT 1;"), 0);
    cr_assert_eq(buf_terminate(&sql), 0);
    expect_refused((const char *)sql.data, ERR_TOO_LARGE, "1024");
    buf_free(&sql);
}

/* --- Bounds --- */

#define ENDLESS "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"

static void open_bounded(struct opened *opened, const char *sql, const struct projection_bounds *bounds, int code,
                         const char *said)
{
    struct err err = {0};
    db_place_init(&opened->place);
    opened->spec = spec_of(sql);
    opened->db = NULL;
    cr_assert_eq(projection_db_open(opened->place.path, opened->spec, bounds, &opened->db, &err), code, "%s",
                 err.message);
    expect_says(&err, said);
}

Test(sqlite, a_schema_that_does_not_end_is_ended, .timeout = 120)
{
    struct projection_bounds bounds = {.steps_max = 100 * 1000};
    struct opened opened;
    open_bounded(&opened, sql_of("CREATE TABLE t(a);\nINSERT INTO t " ENDLESS " SELECT i FROM n;", "SELECT 1;"),
                 &bounds, ERR_INVALID, "the schema, line 3: it was ended after 110000 steps");
    db_close_and_remove(&opened);
}

Test(sqlite, a_statement_that_does_not_end_is_ended_and_named, .timeout = 120)
{
    struct projection_bounds bounds = {.steps_max = 100 * 1000};
    struct opened opened;
    struct event event;
    struct err err = {0};
    open_bounded(&opened,
                 sql_of("CREATE TABLE t(a);", "INSERT INTO t " ENDLESS
                                              " SELECT i FROM n LIMIT CASE :stream WHEN 'endless' THEN -1 ELSE 1 END;"),
                 &bounds, 0, "");
    event_init(&event, ORIGIN_EU, 0, "endless", "{}");
    cr_assert_eq(try_apply(opened.db, &event, &err), ERR_INVALID);
    expect_says(&err, "entry 0 of demo/eu/1, section \"on bank Deposited\", line 5: it was ended after");
    cr_assert_eq(row_count(opened.db), 0);
    apply(opened.db, ORIGIN_EU, 0, "short", "{}");
    cr_assert_eq(row_count(opened.db), 1);
    db_close_and_remove(&opened);
}

Test(sqlite, each_event_has_all_the_steps)
{
    enum { EVENTS = 100 };
    struct projection_bounds bounds = {.steps_max = 20 * 1000};
    struct opened opened;
    open_bounded(&opened,
                 sql_of("CREATE TABLE t(a);", "INSERT INTO t " ENDLESS " SELECT sum(i) FROM (SELECT i FROM n "
                                              "LIMIT 200);"),
                 &bounds, 0, "");
    for (uint64_t i = 0; i < EVENTS; i++)
        apply(opened.db, ORIGIN_EU, i, "s", "{}");
    cr_assert_eq(row_count(opened.db), EVENTS);
    db_close_and_remove(&opened);
}

Test(sqlite, a_region_that_stops_is_not_kept_waiting, .timeout = 120)
{
    atomic_bool stopping = true;
    struct projection_bounds bounds = {.stopping = &stopping, .steps_max = UINT64_MAX};
    struct opened opened;
    struct event event;
    struct err err = {0};
    open_bounded(&opened, sql_of("CREATE TABLE t(a);\nINSERT INTO t " ENDLESS " SELECT i FROM n;", "SELECT 1;"),
                 &bounds, ERR_UNAVAILABLE, "the schema, line 3: the region stops");
    db_close_and_remove(&opened);
    open_bounded(&opened, sql_of("CREATE TABLE t(a);", "INSERT INTO t " ENDLESS " SELECT i FROM n;"), &bounds, 0, "");
    event_init(&event, ORIGIN_EU, 0, "s", "{}");
    cr_assert_eq(try_apply(opened.db, &event, &err), ERR_UNAVAILABLE);
    expect_says(&err, "the region stops");
    cr_assert_eq(applied(opened.db, ORIGIN_EU), 0);
    db_close_and_remove(&opened);
}

Test(sqlite, a_value_has_a_limit)
{
    struct opened opened;
    struct event event;
    struct err err = {0};
    db_open_new(&opened, sql_of("CREATE TABLE t(a);", "INSERT INTO t VALUES(zeroblob(:version));"));
    event_init(&event, ORIGIN_EU, 0, "s", "{}");
    event.entry.stream_version = PROJECTION_VALUE_MAX_BYTES + 1;
    cr_assert_eq(try_apply(opened.db, &event, &err), ERR_INVALID);
    expect_says(&err, "too big");
    db_close_and_remove(&opened);
    expect_refused(sql_of("CREATE TABLE t AS SELECT hex(zeroblob(50000000)) AS a;", "SELECT 1;"), ERR_INVALID,
                   "the schema, line 3: string or blob too big");
}

/* --- Files that are not what they should be --- */

Test(sqlite, a_file_of_other_sql_is_refused)
{
    struct opened opened;
    struct projection_db *db = NULL;
    struct err err = {0};
    db_open_new(&opened, DEPOSITS);
    struct projection_spec *other = spec_of(DEPOSITS "-- other\n");
    projection_db_close(opened.db);
    cr_assert_eq(projection_db_open(opened.place.path, other, NULL, &db, &err), ERR_MISMATCH);
    expect_says(&err, "rebuild it");
    projection_spec_free(other);
    projection_spec_free(opened.spec);
    files_remove_folder(opened.place.folder);
}

Test(sqlite, a_file_that_is_no_database_is_damaged_and_the_message_says_what_to_do)
{
    struct db_place place;
    struct projection_spec *spec = spec_of(DEPOSITS);
    struct projection_db *db = NULL;
    struct err err = {0};
    uint8_t noise[8192];
    db_place_init(&place);
    memset(noise, 0x5a, sizeof(noise));
    files_write(place.path, bytes_of(noise, sizeof(noise)));
    cr_assert_eq(projection_db_open(place.path, spec, NULL, &db, &err), ERR_CORRUPT);
    expect_says(&err, place.path);
    expect_says(&err, "remove it");
    projection_spec_free(spec);
    files_remove_folder(place.folder);
}

Test(sqlite, damage_inside_is_found_by_whoever_reads_it)
{
    struct opened opened;
    struct buf file;
    struct projection_db *db = NULL;
    struct err err = {0};
    struct hash hash;
    buf_init(&file, 16 * 1024 * 1024);
    db_open_new(&opened, DEPOSITS);
    for (uint64_t i = 0; i < 400; i++)
        apply(opened.db, ORIGIN_EU, i, "a stream with a name of some length", "a payload of some length");
    projection_db_close(opened.db);
    files_read(opened.place.path, &file);
    memset(file.data + file.size_bytes / 2, 0x5a,
           file.size_bytes / 2); /* leaves the first pages, which opening reads */
    files_write(opened.place.path, buf_bytes(&file));
    int code = projection_db_open(opened.place.path, opened.spec, NULL, &db, &err);
    if (code == 0) {
        code = projection_db_digest(db, &hash, NULL, &err);
        projection_db_close(db);
    }
    cr_assert_eq(code, ERR_CORRUPT, "%s", err.message);
    buf_free(&file);
    projection_spec_free(opened.spec);
    files_remove_folder(opened.place.folder);
}

Test(sqlite, a_path_that_cannot_be_opened_is_named)
{
    struct projection_spec *spec = spec_of(DEPOSITS);
    struct projection_db *db = NULL;
    struct err err = {0};
    cr_assert_eq(projection_db_open("/nowhere/at/all/db", spec, NULL, &db, &err), ERR_IO);
    expect_says(&err, "/nowhere/at/all/db");
    projection_spec_free(spec);
}
