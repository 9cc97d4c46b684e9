/* Every text and blob that is in an SQLite file, whoever made it: for audits of what a projection keeps (projection.h).
 * The file need not be a projection's, and nothing of it is trusted; it is opened for reading alone, beside a region
 * that may be writing it. */
#include "projection/sqlite.h"

struct visit {
    sqlite3 *sqlite;
    const char *path;
    projection_value_fn *each;
    void *context;
    struct err *err;
};

static int failed(const struct visit *visit)
{
    int code = sqlite3_errcode(visit->sqlite) == SQLITE_NOMEM ? ERR_NO_MEMORY : ERR_CORRUPT;
    return err_set(visit->err, code, "%s: SQLite says: %s", visit->path, sqlite3_errmsg(visit->sqlite));
}

static int visit_row(const struct visit *visit, const char *table, sqlite3_stmt *rows)
{
    int code = 0;
    for (int i = 0; code == 0 && i < sqlite3_column_count(rows); i++) {
        int type = sqlite3_column_type(rows, i);
        if (type != SQLITE_TEXT && type != SQLITE_BLOB)
            continue;
        const void *data = sqlite3_column_blob(rows, i); /* a text's bytes, as they are */
        code = visit->each(visit->context, table, bytes_of(data, (size_t)sqlite3_column_bytes(rows, i)), visit->err);
    }
    return code;
}

static int visit_table(const struct visit *visit, const char *table)
{
    sqlite3_stmt *rows = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", table);
    if (sql == NULL)
        return err_no_memory(visit->err, "a table to read");
    int prepared = sqlite3_prepare_v2(visit->sqlite, sql, -1, &rows, NULL);
    sqlite3_free(sql);
    if (prepared != SQLITE_OK)
        return failed(visit);
    int step = SQLITE_DONE;
    int code = 0;
    while (code == 0 && (step = sqlite3_step(rows)) == SQLITE_ROW)
        code = visit_row(visit, table, rows);
    if (code == 0 && step != SQLITE_DONE)
        code = failed(visit);
    sqlite3_finalize(rows);
    return code;
}

static int visit_tables(const struct visit *visit)
{
    sqlite3_stmt *tables = NULL;
    int step = SQLITE_DONE;
    int code = 0;
    if (sqlite3_prepare_v2(visit->sqlite,
                           "SELECT name FROM sqlite_master WHERE type = 'table' UNION ALL SELECT 'sqlite_master'", -1,
                           &tables, NULL) != SQLITE_OK)
        return failed(visit);
    while (code == 0 && (step = sqlite3_step(tables)) == SQLITE_ROW)
        code = visit_table(visit, (const char *)sqlite3_column_text(tables, 0));
    if (code == 0 && step != SQLITE_DONE)
        code = failed(visit);
    sqlite3_finalize(tables);
    return code;
}

int projection_file_values(const char *path, projection_value_fn *each, void *context, struct err *err)
{
    enum { WAIT_MS = 5000 };
    struct visit visit = {.path = path, .each = each, .context = context, .err = err};
    int opened = sqlite3_open_v2(path, &visit.sqlite, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (visit.sqlite == NULL)
        return err_no_memory(err, "an SQLite file to read");
    sqlite3_busy_timeout(visit.sqlite, WAIT_MS);
    int code = opened == SQLITE_OK ? visit_tables(&visit) : failed(&visit);
    sqlite3_close(visit.sqlite);
    return code;
}
