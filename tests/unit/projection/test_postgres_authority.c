/* The authority events that a generation in PostgreSQL keeps, as in SQLite. */
#include <criterion/criterion.h>

#include "unit/projection/fixture.h"

static struct projection_spec *spec;
static struct projection_db *db;

static void open_new(const char *schema)
{
    db = open_schema(schema, sql_of("CREATE TABLE t(a text);", "INSERT INTO t VALUES(:stream);"), &spec);
}

static void end(void)
{
    projection_db_close(db);
    projection_spec_free(spec);
}

static void learn(const char *origin, uint64_t index, const char *entry)
{
    const struct projection_authority event = {.origin = origin, .index = index, .entry = bytes_of_string(entry)};
    struct err err = {0};
    cr_assert_eq(projection_db_learn(db, &event, &err), 0, "%s", err.message);
}

static bool knows(const char *origin, uint64_t index)
{
    bool ret = false;
    struct err err = {0};
    cr_assert_eq(projection_db_knows(db, origin, index, &ret, &err), 0, "%s", err.message);
    return ret;
}

static void begin(void)
{
    struct err err = {0};
    cr_assert_eq(projection_db_begin(db, &err), 0, "%s", err.message);
}

static void commit(void)
{
    struct err err = {0};
    cr_assert_eq(projection_db_commit(db, &err), 0, "%s", err.message);
}

/* Counts the events, and sees that each is after the one before it. */
struct listed {
    int count;
    char origin[64];
    uint64_t index;
};

static int list_one(void *context, const struct projection_authority *event, struct err *err)
{
    struct listed *listed = context;
    int order = strcmp(event->origin, listed->origin);
    (void)err;
    cr_assert(order > 0 || (order == 0 && event->index > listed->index), "%s %d", event->origin, (int)event->index);
    cr_assert(bytes_equal(event->entry, BYTES_LITERAL("x")));
    copy_string(listed->origin, sizeof(listed->origin), event->origin);
    listed->index = event->index;
    listed->count++;
    return 0;
}

Test(postgres_authority, all_are_handed_out_by_origin_and_index)
{
    struct listed listed = {.count = 0};
    struct err err = {0};
    open_new("all_known");
    begin();
    for (uint64_t i = 250; i-- > 0;)
        learn(i % 2 == 0 ? "demo/us/1" : "demo/eu/1", i, "x");
    learn("demo/us/1", 4, "again");
    commit();
    cr_assert_eq(projection_db_authority(db, list_one, &listed, &err), 0, "%s", err.message);
    cr_assert_eq(listed.count, 250);
    end();
}

Test(postgres_authority, they_are_kept_with_the_transaction_of_the_rows)
{
    struct event event;
    struct err err = {0};
    open_new("with_rows");
    begin();
    event_init(&event, ORIGIN_EU, 0, "s", "1");
    cr_assert_eq(projection_db_apply(db, &event.event, &err), 0);
    learn(ORIGIN_EU, 0, "x");
    cr_assert(knows(ORIGIN_EU, 0)); /* while statements wait to be sent */
    projection_db_rollback(db);
    cr_assert_not(knows(ORIGIN_EU, 0));
    cr_assert_eq(row_count(db), 0);
    end();
}

static int refuse(void *context, const struct projection_authority *event, struct err *err)
{
    (void)event;
    (*(unsigned *)context)++;
    return err_set(err, ERR_CORRUPT, "no");
}

Test(postgres_authority, handing_out_stops_at_the_first_failure)
{
    unsigned calls = 0;
    struct err err = {0};
    open_new("refused");
    begin();
    learn("demo/us/1", 1, "x");
    learn("demo/us/1", 2, "x");
    commit();
    cr_assert_eq(projection_db_authority(db, refuse, &calls, &err), ERR_CORRUPT);
    cr_assert_eq(calls, 1);
    end();
}

static bool same_contexts(uint8_t digest_byte)
{
    struct hash contexts = {.bytes = {digest_byte}};
    struct err err = {0};
    bool ret = false;
    cr_assert_eq(projection_db_same_contexts(db, &contexts, &ret, &err), 0, "%s", err.message);
    return ret;
}

Test(postgres_authority, the_contexts_that_came_first_are_kept)
{
    open_new("contexts");
    cr_assert(same_contexts(1));
    cr_assert_not(same_contexts(2));
    cr_assert(same_contexts(1));
    end();
}

Test(postgres_authority, numbers_are_kept_with_the_transaction)
{
    uint64_t number = 9;
    struct err err = {0};
    open_new("numbers");
    cr_assert_eq(projection_db_kept(db, "floor eu", &number, &err), 0, "%s", err.message);
    cr_assert_eq(number, 0);
    begin();
    cr_assert_eq(projection_db_keep(db, "floor eu", UINT64_MAX, &err), 0, "%s", err.message);
    cr_assert_eq(projection_db_keep(db, "floor eu", 7, &err), 0, "%s", err.message);
    commit();
    begin();
    cr_assert_eq(projection_db_keep(db, "floor eu", 8, &err), 0, "%s", err.message);
    projection_db_rollback(db);
    cr_assert_eq(projection_db_kept(db, "floor eu", &number, &err), 0, "%s", err.message);
    cr_assert_eq(number, 7);
    end();
}
