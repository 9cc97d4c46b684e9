/* Applying in batches: order, exactly once, and which event is to blame. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "projection/generation.h"
#include "unit/projection/fixture.h"
#include "unit/projection/logs.h"

#define PG_BALANCE(checked)                                                                                            \
    sql_of("CREATE TABLE balance(stream text PRIMARY KEY, cents bigint " checked ", last bigint);",                    \
           "INSERT INTO balance VALUES(:stream, :payload::bigint, :position) ON CONFLICT(stream) DO UPDATE SET cents " \
           "= balance.cents + excluded.cents, last = excluded.last;")

struct fed {
    struct projection_spec *spec;
    struct projection_db *db;
};

static struct fed feed(const char *schema, const char *sql)
{
    struct fed fed = {.spec = NULL};
    fed.db = open_schema(schema, sql, &fed.spec);
    return fed;
}

static void end(struct fed *fed)
{
    projection_db_close(fed->db);
    projection_spec_free(fed->spec);
}

/* Events from..to-1 of eu, each of `payload`, in one transaction. */
static int apply_many(struct projection_db *db, uint64_t from, uint64_t to, const char *payload, struct err *err)
{
    int code = projection_db_begin(db, err);
    cr_assert_eq(code, 0, "%s", err->message);
    for (uint64_t i = from; code == 0 && i < to; i++) {
        struct event event;
        event_init(&event, ORIGIN_EU, i, i % 2 == 0 ? "even" : "odd", payload);
        code = projection_db_apply(db, &event.event, err);
    }
    if (code == 0)
        code = projection_db_commit(db, err);
    if (code != 0)
        projection_db_rollback(db);
    return code;
}

Test(postgres_apply, many_batches_are_one_transaction_in_order)
{
    struct err err = {0};
    struct fed fed = feed("many", PG_BALANCE(""));
    cr_assert_eq(apply_many(fed.db, 0, 4321, "2", &err), 0, "%s", err.message);
    cr_assert_eq(applied(fed.db, ORIGIN_EU), 4321);
    cr_assert_str_eq(psql("SELECT string_agg(stream || cents || '/' || last, ' ' ORDER BY stream) FROM many.balance"),
                     "even4322/4320 odd4320/4319");
    end(&fed);
}

Test(postgres_apply, what_is_rolled_back_is_gone_though_it_was_sent)
{
    struct err err = {0};
    struct fed fed = feed("rolled", PG_BALANCE(""));
    cr_assert_eq(projection_db_begin(fed.db, &err), 0);
    for (uint64_t i = 0; i < 2500; i++) {
        struct event event;
        event_init(&event, ORIGIN_EU, i, "s", "1");
        cr_assert_eq(projection_db_apply(fed.db, &event.event, &err), 0);
    }
    projection_db_rollback(fed.db);
    cr_assert_eq(applied(fed.db, ORIGIN_EU), 0);
    cr_assert_eq(row_count(fed.db), 0);
    cr_assert_eq(apply_many(fed.db, 0, 10, "1", &err), 0, "%s", err.message);
    end(&fed);
}

Test(postgres_apply, after_a_failure_the_event_is_named)
{
    struct err err = {0};
    struct fed fed = feed("blamed", PG_BALANCE("CHECK(cents < 10)"));
    cr_assert_eq(apply_many(fed.db, 0, 1500, "3", &err), ERR_INVALID);
    cr_assert(projection_db_unsure(fed.db));
    cr_assert_eq(apply_many(fed.db, 0, 1500, "3", &err), ERR_INVALID);
    cr_assert(!projection_db_unsure(fed.db));
    expect_says(&err, "entry 6 of demo/eu/1, section \"on bank Deposited\", line 5: PostgreSQL says");
    cr_assert_eq(apply_many(fed.db, 0, 6, "3", &err), 0, "%s", err.message);
    cr_assert_eq(applied(fed.db, ORIGIN_EU), 6);
    end(&fed);
}

Test(postgres_apply, a_generation_stops_right_at_the_event_that_fails)
{
    struct logs logs;
    struct generation *generation = NULL;
    struct generation_progress progress;
    struct err err = {0};
    struct fed fed = feed("stops_right", PG_BALANCE("CHECK(cents < 10)"));
    logs_open(&logs, 1);
    for (uint64_t i = 0; i < 8; i++)
        deposit(&logs, 0, "north", 1, i + 1, i == 5 ? "100" : "1");
    cr_assert_eq(generation_new(fed.db, &logs_contexts, &generation, &err), 0, "%s", err.message);
    cr_assert_eq(generation_step(generation, logs.logs, 1, 0, UINT64_MAX, 5000, &progress, &err), 0, "%s", err.message);
    cr_assert_eq(applied(fed.db, "demo/eu/1"), 5);
    cr_assert_eq(generation_step(generation, logs.logs, 1, 0, UINT64_MAX, 5000, &progress, &err), ERR_INVALID);
    expect_says(&err, "entry 5 of demo/eu/1");
    generation_free(generation);
    logs_close(&logs);
    end(&fed);
}

Test(postgres_apply, a_cursor_that_somebody_else_moved_stops_it)
{
    struct err err = {0};
    struct fed fed = feed("two_writers", PG_BALANCE(""));
    apply(fed.db, ORIGIN_EU, 0, "s", "1");
    psql("UPDATE two_writers._tally_cursor SET size = 2");
    cr_assert_eq(apply_many(fed.db, 1, 3, "1", &err), ERR_MISMATCH);
    expect_says(&err, "moved by another process");
    cr_assert_str_eq(psql("SELECT sum(cents) FROM two_writers.balance"), "1");
    end(&fed);
}

Test(postgres_apply, late_and_control_events_move_the_cursor_only)
{
    struct event event;
    struct err err = {0};
    struct fed fed = feed("late", PG_BALANCE(""));
    event_init(&event, ORIGIN_EU, 0, "s", "1");
    event.event.late = true;
    cr_assert_eq(try_apply(fed.db, &event, &err), 0, "%s", err.message);
    event_init(&event, ORIGIN_EU, 1, "s", "1");
    event.entry.flags = ENTRY_FLAG_CONTROL;
    cr_assert_eq(try_apply(fed.db, &event, &err), 0, "%s", err.message);
    cr_assert_eq(applied(fed.db, ORIGIN_EU), 2);
    cr_assert_eq(row_count(fed.db), 0);
    end(&fed);
}

Test(postgres_apply, sections_of_one_event_run_in_the_order_of_the_file)
{
    struct err err = {0};
    struct fed fed =
        feed("sections", "-- tally: projection p\n-- tally: schema\nCREATE TABLE t(n bigserial, what text);\n"
                         "-- tally: on bank Deposited\nINSERT INTO t(what) VALUES('a'); INSERT INTO "
                         "t(what) VALUES('b');\n-- tally: on bank Other\nDELETE FROM t;\n"
                         "-- tally: on bank Deposited\nINSERT INTO t(what) SELECT :stream || count(*) FROM t;\n");
    cr_assert_eq(apply_many(fed.db, 0, 2, "", &err), 0, "%s", err.message);
    cr_assert_str_eq(psql("SELECT string_agg(what, ' ' ORDER BY n) FROM sections.t"), "a b even2 a b odd5");
    end(&fed);
}

Test(postgres_apply, payloads_that_are_not_text_or_not_there)
{
    struct event event;
    struct err err = {0};
    struct fed fed = feed("bytes_in", sql_of("CREATE TABLE t(p bytea);", "INSERT INTO t VALUES(:payload_bytes);"));
    struct fed text = feed("text_in", sql_of("CREATE TABLE t(p text);", "INSERT INTO t VALUES(:payload);"));
    event_init(&event, ORIGIN_EU, 0, "s", "\xff\x01");
    cr_assert_eq(try_apply(fed.db, &event, &err), 0, "%s", err.message);
    cr_assert_eq(try_apply(text.db, &event, &err), ERR_INVALID);
    expect_says(&err, "entry 0 of demo/eu/1: :payload is not text; use :payload_bytes");
    event.event.has_payload = false;
    cr_assert_eq(try_apply(text.db, &event, &err), 0, "%s", err.message);
    cr_assert_str_eq(psql("SELECT (SELECT encode(p, 'hex') FROM bytes_in.t) || (SELECT p IS NULL FROM text_in.t)"),
                     "ff01true");
    end(&fed);
    end(&text);
}

Test(postgres_apply, large_payloads_are_sent_in_smaller_batches)
{
    enum { SIZE = 600 * 1000 };
    struct err err = {0};
    char *large = mem_alloc(SIZE + 1);
    cr_assert_not_null(large);
    memset(large, 'x', SIZE);
    large[SIZE] = '\0';
    struct fed fed = feed("large", sql_of("CREATE TABLE t(s bigint);", "INSERT INTO t VALUES(length(:payload));"));
    cr_assert_eq(apply_many(fed.db, 0, 30, large, &err), 0, "%s", err.message);
    cr_assert_str_eq(psql("SELECT sum(s) FROM large.t"), "18000000");
    mem_free(large);
    end(&fed);
}
