/* A projection in its folder: creation, generations, and what a crash leaves. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "unit/projection/fixture.h"

struct place {
    char root[FILES_PATH_MAX];
    char folder[FILES_PATH_MAX]; /* of the projection, not made yet */
};

static void place_init(struct place *place)
{
    files_temp_folder(place->root);
    files_join(place->root, "deposits", place->folder);
}

static const char *path_of(const struct place *place, const char *name)
{
    static char path[FILES_PATH_MAX];
    return files_join(place->folder, name, path);
}

static bool exists(const struct place *place, const char *name)
{
    return access(path_of(place, name), F_OK) == 0;
}

static struct projection *create(const struct place *place)
{
    struct projection *projection = NULL;
    struct err err = {0};
    cr_assert_eq(projection_create(place->folder, BYTES_LITERAL(DEPOSITS), NULL, NULL, &projection, &err), 0, "%s",
                 err.message);
    return projection;
}

static struct projection *reopen(const struct place *place)
{
    struct projection *projection = NULL;
    struct err err = {0};
    cr_assert_eq(projection_open(place->folder, NULL, NULL, &projection, &err), 0, "%s", err.message);
    return projection;
}

static void fill(struct projection_db *db, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        apply(db, "demo/eu/1", i, "s", "1");
}

Test(projection, a_new_one_is_empty_and_of_generation_1)
{
    struct place place;
    place_init(&place);
    struct projection *projection = create(&place);
    cr_assert_str_eq(projection_name(projection), "deposits");
    cr_assert_eq(projection_generation(projection), 1);
    cr_assert_eq(row_count(projection_live(projection)), 0);
    cr_assert_null(projection_next(projection));
    projection_close(projection);
    files_remove_folder(place.root);
}

Test(projection, rows_and_cursor_are_there_after_a_close)
{
    struct place place;
    place_init(&place);
    struct projection *projection = create(&place);
    fill(projection_live(projection), 3);
    projection_close(projection);
    projection = reopen(&place);
    cr_assert_eq(row_count(projection_live(projection)), 3);
    cr_assert_eq(applied(projection_live(projection), "demo/eu/1"), 3);
    projection_close(projection);
    files_remove_folder(place.root);
}

Test(projection, is_created_once)
{
    struct place place;
    struct err err = {0};
    struct projection *again = NULL;
    place_init(&place);
    projection_close(create(&place));
    cr_assert_eq(projection_create(place.folder, BYTES_LITERAL(DEPOSITS), NULL, NULL, &again, &err), ERR_EXISTS);
    cr_assert_null(again);
    projection_close(reopen(&place));
    files_remove_folder(place.root);
}

Test(projection, a_creation_that_fails_leaves_nothing_behind)
{
    static const char *const mistakes[] = {
        "no marker at all",
        "-- tally: projection p\n-- tally: schema\nCREATE TABEL t(a);\n-- tally: on bank A\nSELECT 1;\n",
        "-- tally: projection p\n-- tally: schema\nCREATE TABLE t(a);\n-- tally: on bank A\nINSERT INTO u VALUES(1);\n",
    };
    struct place place;
    place_init(&place);
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct projection *projection = NULL;
        struct err err = {0};
        cr_assert_eq(projection_create(place.folder, bytes_of_string(mistakes[i]), NULL, NULL, &projection, &err),
                     ERR_INVALID);
        cr_assert_null(projection);
        cr_assert_neq(access(place.folder, F_OK), 0, "%s", mistakes[i]);
    }
    projection_close(create(&place));
    files_remove_folder(place.root);
}

Test(projection, every_failing_allocation_of_a_creation_leaves_nothing_behind)
{
    struct place place;
    uint64_t at = 0;
    int code = ERR_NO_MEMORY;
    place_init(&place);
    while (code != 0) {
        struct projection *projection = NULL;
        struct err err = {0};
        mem_fail_at(++at);
        code = projection_create(place.folder, BYTES_LITERAL(DEPOSITS), NULL, NULL, &projection, &err);
        mem_fail_at(0);
        cr_assert(code == 0 || code == ERR_NO_MEMORY, "%s", err.message);
        if (code != 0)
            cr_assert_neq(access(place.folder, F_OK), 0, "allocation %llu", (unsigned long long)at);
        projection_close(projection);
    }
    cr_assert_gt(at, 3);
    files_remove_folder(place.root);
}

Test(projection, a_creation_that_a_crash_cut_short_is_made_again)
{
    struct place place;
    place_init(&place);
    struct projection *projection = create(&place);
    fill(projection_live(projection), 3);
    projection_close(projection);
    cr_assert_eq(unlink(path_of(&place, "live")), 0); /* it is written last */
    projection = create(&place);
    cr_assert_eq(row_count(projection_live(projection)), 0);
    projection_close(projection);
    files_remove_folder(place.root);
}

Test(projection, a_rebuild_fills_the_next_generation_beside_the_live_one_and_then_switches)
{
    struct place place;
    struct err err = {0};
    place_init(&place);
    struct projection *projection = create(&place);
    fill(projection_live(projection), 3);
    struct hash before = digest(projection_live(projection), NULL);
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message);
    cr_assert_eq(row_count(projection_next(projection)), 0);
    cr_assert_eq(applied(projection_next(projection), "demo/eu/1"), 0);
    cr_assert_eq(row_count(projection_live(projection)), 3);
    fill(projection_next(projection), 3);
    cr_assert_eq(projection_generation(projection), 1);
    cr_assert_eq(projection_rebuild_switch(projection, &err), 0, "%s", err.message);
    cr_assert_eq(projection_generation(projection), 2);
    cr_assert_null(projection_next(projection));
    struct hash after = digest(projection_live(projection), NULL);
    cr_assert(hash_equal(&before, &after));
    cr_assert_not(exists(&place, "gen-1.sqlite"));
    projection_close(projection);
    projection = reopen(&place);
    cr_assert_eq(projection_generation(projection), 2);
    cr_assert_eq(row_count(projection_live(projection)), 3);
    projection_close(projection);
    files_remove_folder(place.root);
}

Test(projection, a_rebuild_that_is_begun_again_begins_empty)
{
    struct place place;
    struct err err = {0};
    place_init(&place);
    struct projection *projection = create(&place);
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message);
    fill(projection_next(projection), 2);
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message);
    cr_assert_eq(row_count(projection_next(projection)), 0);
    projection_close(projection);
    files_remove_folder(place.root);
}

Test(projection, a_crash_in_a_rebuild_leaves_the_live_generation_alone)
{
    struct place place;
    struct err err = {0};
    place_init(&place);
    struct projection *projection = create(&place);
    fill(projection_live(projection), 3);
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message);
    fill(projection_next(projection), 1);
    projection_close(projection);
    cr_assert(exists(&place, "gen-2.sqlite"));
    projection = reopen(&place);
    cr_assert_eq(projection_generation(projection), 1);
    cr_assert_eq(row_count(projection_live(projection)), 3);
    cr_assert_not(exists(&place, "gen-2.sqlite"));
    projection_close(projection);
    files_remove_folder(place.root);
}

Test(projection, a_crash_right_after_the_switch_leaves_the_new_generation)
{
    struct place place;
    struct err err = {0};
    place_init(&place);
    struct projection *projection = create(&place);
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message);
    fill(projection_next(projection), 2);
    projection_close(projection);
    files_write(path_of(&place, "live"), BYTES_LITERAL("2\n"));
    projection = reopen(&place);
    cr_assert_eq(projection_generation(projection), 2);
    cr_assert_eq(row_count(projection_live(projection)), 2);
    cr_assert_not(exists(&place, "gen-1.sqlite"));
    projection_close(projection);
    files_remove_folder(place.root);
}

Test(projection, other_files_in_the_folder_stay)
{
    static const char *const names[] = {"gen-x.sqlite", "g", "notes", "gen-"};
    struct place place;
    place_init(&place);
    projection_close(create(&place));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        files_write(path_of(&place, names[i]), BYTES_LITERAL("mine"));
    projection_close(reopen(&place));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_assert(exists(&place, names[i]), "%s", names[i]);
    files_remove_folder(place.root);
}

/* What opening says when `live` holds this. */
static void expect_bad_pointer(const struct place *place, const char *text)
{
    struct projection *projection = NULL;
    struct err err = {0};
    files_write(path_of(place, "live"), bytes_of_string(text));
    cr_assert_eq(projection_open(place->folder, NULL, NULL, &projection, &err), ERR_CORRUPT, "%s", text);
    expect_says(&err, "create the projection again");
}

Test(projection, a_damaged_pointer_is_refused)
{
    struct place place;
    place_init(&place);
    projection_close(create(&place));
    expect_bad_pointer(&place, "");
    expect_bad_pointer(&place, "1");
    expect_bad_pointer(&place, "0\n");
    expect_bad_pointer(&place, "one\n");
    expect_bad_pointer(&place, "99999999999999999999\n");
    files_remove_folder(place.root);
}

Test(projection, a_folder_that_holds_none_is_not_found)
{
    struct place place;
    struct projection *projection = NULL;
    place_init(&place);
    cr_assert_eq(projection_open(place.folder, NULL, NULL, &projection, NULL), ERR_NOT_FOUND);
    files_remove_folder(place.root);
}

Test(projection, sql_that_was_changed_behind_its_back_asks_for_a_rebuild)
{
    struct place place;
    struct projection *projection = NULL;
    struct err err = {0};
    place_init(&place);
    projection_close(create(&place));
    files_write(path_of(&place, "projection.sql"), BYTES_LITERAL(DEPOSITS "-- changed\n"));
    cr_assert_eq(projection_open(place.folder, NULL, NULL, &projection, &err), ERR_MISMATCH);
    expect_says(&err, "rebuild it");
    files_remove_folder(place.root);
}

Test(projection, a_generation_that_was_deleted_begins_again)
{
    struct place place;
    place_init(&place);
    struct projection *projection = create(&place);
    fill(projection_live(projection), 3);
    projection_close(projection);
    cr_assert_eq(unlink(path_of(&place, "gen-1.sqlite")), 0);
    projection = reopen(&place);
    cr_assert_eq(applied(projection_live(projection), "demo/eu/1"), 0);
    projection_close(projection);
    files_remove_folder(place.root);
}

/* --- In PostgreSQL --- */

#define PG_DEPOSITS(name)                                                                                              \
    "-- tally: projection " name "\n-- tally: schema\nCREATE TABLE deposit(stream text, payload text);\n"              \
    "-- tally: on bank Deposited\nINSERT INTO deposit VALUES(:stream, :payload);\n"

static struct projection *create_in_postgres(const char *folder, const char *sql)
{
    struct projection *projection = NULL;
    struct err err = {0};
    cr_assert_eq(projection_create(folder, bytes_of_string(sql), &test_server, NULL, &projection, &err), 0, "%s",
                 err.message);
    return projection;
}

Test(projection, in_postgresql_it_is_rebuilt_beside_the_live_one_and_opened_again)
{
    const struct projection_servers servers = {.items = &test_server, .count = 1};
    struct db_place place;
    struct err err = {0};
    db_place_init(&place);
    struct projection *projection = create_in_postgres(place.path, PG_DEPOSITS("in-postgres"));
    apply(projection_live(projection), ORIGIN_EU, 0, "s", "old");
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message);
    apply(projection_next(projection), ORIGIN_EU, 0, "s", "given up");
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message);
    apply(projection_next(projection), ORIGIN_EU, 0, "s", "new");
    cr_assert_str_eq(psql("SELECT string_agg(payload, ' ') FROM \"in-postgres\".deposit"), "old");
    cr_assert_eq(projection_rebuild_switch(projection, &err), 0, "%s", err.message);
    cr_assert_eq(projection_generation(projection), 2);
    cr_assert_str_eq(psql("SELECT string_agg(payload, ' ') FROM \"in-postgres\".deposit"), "new");
    cr_assert_eq(projection_rebuild_begin(projection, &err), 0, "%s", err.message); /* a crash gives it up */
    projection_close(projection);
    cr_assert_eq(projection_open(place.path, &servers, NULL, &projection, &err), 0, "%s", err.message);
    cr_assert_eq(projection_generation(projection), 2);
    cr_assert_eq(applied(projection_live(projection), ORIGIN_EU), 1);
    cr_assert_str_eq(psql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'in-postgres%'"), "1");
    projection_close(projection);
    files_remove_folder(place.folder);
}

Test(projection, in_a_database_that_is_not_configured_is_not_opened)
{
    struct db_place place;
    struct projection *projection = NULL;
    struct err err = {0};
    db_place_init(&place);
    projection_close(create_in_postgres(place.path, PG_DEPOSITS("unconfigured")));
    cr_assert_eq(projection_open(place.path, NULL, NULL, &projection, &err), ERR_NOT_FOUND);
    expect_says(&err, "database \"test\", which is not in the configuration");
    files_remove_folder(place.folder);
}

Test(projection, one_that_cannot_be_made_in_postgresql_leaves_nothing)
{
    struct db_place place;
    struct projection *projection = NULL;
    struct err err = {0};
    char path[FILES_PATH_MAX];
    db_place_init(&place);
    projection_close(create_in_postgres(place.path, PG_DEPOSITS("twice")));
    files_join(place.folder, "other", path);
    cr_assert_eq(projection_create(path, BYTES_LITERAL(PG_DEPOSITS("twice")), &test_server, NULL, &projection, &err),
                 ERR_EXISTS);
    cr_assert_eq(projection_open(path, NULL, NULL, &projection, &err), ERR_NOT_FOUND);
    cr_assert_str_eq(psql("SELECT count(*) FROM twice.deposit"), "0"); /* whoever made it still has it */
    cr_assert_eq(
        projection_create(path,
                          BYTES_LITERAL(PG_DEPOSITS("a-name-that-is-longer-than-what-a-schema-may-be-called-when-"
                                                    "dot")),
                          &test_server, NULL, &projection, &err),
        ERR_INVALID);
    expect_says(&err, "at most 58");
    files_remove_folder(place.folder);
}
