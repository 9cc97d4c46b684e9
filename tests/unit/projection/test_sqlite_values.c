/* Every value of an SQLite file, read for an audit. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "projection/projection.h"

static char path[] = "/tmp/tally-values-XXXXXX";

static void set_up(void)
{
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    close(file);
}

static void tear_down(void)
{
    unlink(path);
}

TestSuite(sqlite_values, .init = set_up, .fini = tear_down);

static void make(const char *sql)
{
    sqlite3 *sqlite = NULL;
    cr_assert_eq(sqlite3_open(path, &sqlite), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(sqlite));
    sqlite3_close(sqlite);
}

struct seen {
    const char *wanted;
    char table[64];
    int code;
    size_t count;
};

static int see(void *context, const char *table, struct bytes value, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    seen->count++;
    if (bytes_equal(value, bytes_of_string(seen->wanted)))
        snprintf(seen->table, sizeof(seen->table), "%s", table);
    return seen->code;
}

Test(sqlite_values, texts_and_blobs_of_every_table_are_visited)
{
    struct seen text = {.wanted = "a text"};
    struct seen blob = {.wanted = "a blob"};
    make("CREATE TABLE \"odd \"\" name\"(a, b); INSERT INTO \"odd \"\" name\" VALUES(1, 'a text'), (NULL, 2.5);"
         "CREATE TABLE _tally_other(c BLOB); INSERT INTO _tally_other VALUES(x'6120626c6f62')");
    cr_assert_eq(projection_file_values(path, see, &text, NULL), 0);
    cr_assert_str_eq(text.table, "odd \" name");
    cr_assert_eq(projection_file_values(path, see, &blob, NULL), 0);
    cr_assert_str_eq(blob.table, "_tally_other");
}

Test(sqlite_values, the_schema_s_own_texts_are_visited)
{
    struct seen seen = {.wanted = "CREATE TABLE t(a DEFAULT 'x')"};
    make("CREATE TABLE t(a DEFAULT 'x')");
    cr_assert_eq(projection_file_values(path, see, &seen, NULL), 0);
    cr_assert_str_eq(seen.table, "sqlite_master");
}

Test(sqlite_values, what_the_visitor_returns_ends_it)
{
    struct seen seen = {.wanted = "", .code = ERR_BUSY};
    make("CREATE TABLE t(a); INSERT INTO t VALUES('1'), ('2')");
    cr_assert_eq(projection_file_values(path, see, &seen, NULL), ERR_BUSY);
    cr_assert_eq(seen.count, 1);
}

Test(sqlite_values, what_is_no_database_is_corrupt)
{
    struct seen seen = {.wanted = ""};
    struct err err = {0};
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("nothing that SQLite has made, and long enough to be looked at for its magic", file);
    fclose(file);
    cr_assert_eq(projection_file_values(path, see, &seen, &err), ERR_CORRUPT);
    cr_assert(strstr(err.message, path) != NULL, "%s", err.message);
}
