/* Reading the contents of an SQLite database for the digest (projection.h has what goes into it): by bytes, so that a
 * collation does not show. */
#include "projection/sqlite.h"

static int add_column(struct digesting *digesting, sqlite3_stmt *statement, int column)
{
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        return digest_add_integer(digesting, sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT:
        return digest_add_real(digesting, sqlite3_column_double(statement, column));
    case SQLITE_NULL:
        return digest_add(digesting, 'n', bytes_of(NULL, 0));
    case SQLITE_TEXT:
        return digest_add(
            digesting, 't',
            bytes_of(sqlite3_column_text(statement, column), (size_t)sqlite3_column_bytes(statement, column)));
    default:
        return digest_add(
            digesting, 'b',
            bytes_of(sqlite3_column_blob(statement, column), (size_t)sqlite3_column_bytes(statement, column)));
    }
}

static int add_rows(struct sqlite_db *db, struct digesting *digesting, sqlite3_stmt *statement, struct err *err)
{
    int step = SQLITE_DONE;
    int code = 0;
    for (int i = 0; code == 0 && i < sqlite3_column_count(statement); i++)
        code = digest_add(digesting, 'c', bytes_of_string(sqlite3_column_name(statement, i)));
    digest_fold(digesting);
    while (code == 0 && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; code == 0 && i < sqlite3_column_count(statement); i++)
            code = add_column(digesting, statement, i);
        digest_fold(digesting);
        digesting->row_count++;
    }
    if (code == 0 && step != SQLITE_DONE)
        code = sqlite_failed(db, "reading a table", err);
    return code;
}

/* A SELECT of all rows in an order that their contents alone decide: by bytes, whatever collation a column declares,
 * and where numbers of two types are equal by type. NULL when memory ran out; freed by sqlite3_free. */
static char *select_in_order(const char *table, sqlite3_stmt *columns)
{
    char *order = sqlite3_mprintf("");
    for (int i = 0; order != NULL && i < sqlite3_column_count(columns); i++) {
        const char *name = sqlite3_column_name(columns, i);
        order = sqlite3_mprintf("%z%s\"%w\" COLLATE BINARY, typeof(\"%w\")", order, i == 0 ? "" : ", ", name, name);
    }
    return order == NULL ? NULL : sqlite3_mprintf("SELECT * FROM \"%w\" ORDER BY %z", table, order);
}

int sqlite_digest_rows(struct projection_db *base, struct digesting *digesting, const char *table, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", table);
    if (sql == NULL)
        return err_no_memory(err, "a digest");
    int prepared = sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL);
    sqlite3_free(sql);
    if (prepared != SQLITE_OK)
        return sqlite_failed(db, table, err);
    sql = select_in_order(table, statement);
    sqlite3_finalize(statement);
    if (sql == NULL)
        return err_no_memory(err, "a digest");
    prepared = sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL);
    sqlite3_free(sql);
    if (prepared != SQLITE_OK)
        return sqlite_failed(db, table, err);
    int code = add_rows(db, digesting, statement, err);
    sqlite3_finalize(statement);
    return code;
}

int sqlite_next_table(struct projection_db *base, char name[PROJECTION_TABLE_MAX_BYTES + 1], struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    int code = sqlite_prepare(
        db,
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_tally\\_%' ESCAPE '\\' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name > ?1 ORDER BY name LIMIT 1",
        &statement, err);
    if (code != 0)
        return code;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_TRANSIENT);
    int step = sqlite3_step(statement);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        code = sqlite_failed(db, "listing the tables", err);
    if (code == 0 && step == SQLITE_ROW && sqlite3_column_bytes(statement, 0) > PROJECTION_TABLE_MAX_BYTES)
        code = err_set(err, ERR_TOO_LARGE, "a table's name has more than %d bytes", PROJECTION_TABLE_MAX_BYTES);
    if (code == 0)
        copy_string(name, PROJECTION_TABLE_MAX_BYTES + 1,
                    step == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : "");
    sqlite3_finalize(statement);
    return code;
}

int sqlite_read_begin(struct projection_db *base, struct err *err)
{
    return sqlite_run(sqlite_of(base), "BEGIN", err);
}

void sqlite_read_end(struct projection_db *base)
{
    sqlite3_exec(sqlite_of(base)->sqlite, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
}
