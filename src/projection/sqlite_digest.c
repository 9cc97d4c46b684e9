/* One hash over the contents of a generation (projection.h has what goes into it). Tables are hashed in name order,
 * rows in the order of their bytes, so that neither the order in which they were written nor a collation shows. */
#include "base/assert.h"
#include "base/mem.h"
#include "projection/sqlite.h"

/* Hashing goes row by row: each row's bytes are gathered and folded into the hash so far. */
struct digesting {
    struct sha256 *sha;
    struct hash hash;
    struct buf row;
    uint64_t row_count;
};

enum { ROW_MAX_BYTES = 256 * 1024 * 1024 };

static int add_value(struct digesting *digesting, char type, struct bytes value)
{
    uint8_t size[8];
    put_u64_le(size, value.size_bytes);
    int code = buf_append_byte(&digesting->row, (uint8_t)type);
    if (code == 0)
        code = buf_append(&digesting->row, bytes_of(size, sizeof(size)));
    return code == 0 ? buf_append(&digesting->row, value) : code;
}

static void fold(struct digesting *digesting)
{
    struct bytes parts[] = {bytes_of(digesting->hash.bytes, HASH_SIZE), buf_bytes(&digesting->row)};
    digesting->hash = sha256_parts(digesting->sha, parts, 2);
    buf_clear(&digesting->row);
}

static int add_column(struct digesting *digesting, sqlite3_stmt *statement, int column)
{
    uint8_t number[8];
    double real = 0;
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        put_u64_le(number, (uint64_t)sqlite3_column_int64(statement, column));
        return add_value(digesting, 'i', bytes_of(number, sizeof(number)));
    case SQLITE_FLOAT:
        real = sqlite3_column_double(statement, column) + 0.0; /* so that -0.0 and 0.0, which are equal, look equal */
        memcpy(number, &real, sizeof(number));
        return add_value(digesting, 'r', bytes_of(number, sizeof(number)));
    case SQLITE_NULL:
        return add_value(digesting, 'n', bytes_of(NULL, 0));
    case SQLITE_TEXT:
        return add_value(
            digesting, 't',
            bytes_of(sqlite3_column_text(statement, column), (size_t)sqlite3_column_bytes(statement, column)));
    default:
        return add_value(
            digesting, 'b',
            bytes_of(sqlite3_column_blob(statement, column), (size_t)sqlite3_column_bytes(statement, column)));
    }
}

static int digest_rows(struct projection_db *db, struct digesting *digesting, sqlite3_stmt *statement, struct err *err)
{
    int step = SQLITE_DONE;
    int code = 0;
    for (int i = 0; code == 0 && i < sqlite3_column_count(statement); i++)
        code = add_value(digesting, 'c', bytes_of_string(sqlite3_column_name(statement, i)));
    fold(digesting);
    while (code == 0 && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; code == 0 && i < sqlite3_column_count(statement); i++)
            code = add_column(digesting, statement, i);
        fold(digesting);
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

static int digest_table(struct projection_db *db, struct digesting *digesting, const char *table, struct err *err)
{
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
    int code = add_value(digesting, 'T', bytes_of_string(table));
    if (code == 0)
        code = digest_rows(db, digesting, statement, err);
    sqlite3_finalize(statement);
    return code;
}

/* The name of the first table of the projection's own after `name` ("": the first of all); "" when there is none. */
static int next_table(struct projection_db *db, char name[PROJECTION_TABLE_MAX_BYTES + 1], struct err *err)
{
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

static int digest_tables(struct projection_db *db, struct digesting *digesting, struct err *err)
{
    char name[PROJECTION_TABLE_MAX_BYTES + 1] = "";
    int code = next_table(db, name, err);
    while (code == 0 && name[0] != '\0') {
        code = digest_table(db, digesting, name, err);
        if (code == 0)
            code = next_table(db, name, err);
    }
    return code;
}

/* The digest of one table, or of all when it is NULL. */
static int digest_contents(struct projection_db *db, const char *table, struct hash *ret, uint64_t *ret_row_count,
                           struct err *err)
{
    PRE(!db->in_transaction);
    struct digesting digesting = {.sha = sha256_new()};
    if (digesting.sha == NULL)
        return err_no_memory(err, "a digest");
    digesting.hash = sha256_of(digesting.sha, BYTES_LITERAL("tallystick-projection-v1\n"));
    buf_init(&digesting.row, ROW_MAX_BYTES);
    int code = sqlite_run(db, "BEGIN", err);
    if (code == 0)
        code = table == NULL ? digest_tables(db, &digesting, err) : digest_table(db, &digesting, table, err);
    sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL); /* nothing was written */
    buf_free(&digesting.row);
    sha256_free(digesting.sha);
    if (code == ERR_TOO_LARGE || code == ERR_NO_MEMORY)
        return err_set(err, code, "a row is too large for the digest");
    if (code != 0)
        return code;
    *ret = digesting.hash;
    *ret_row_count = digesting.row_count;
    return 0;
}

int projection_db_digest(struct projection_db *db, struct hash *ret, uint64_t *ret_row_count, struct err *err)
{
    uint64_t row_count = 0;
    int code = digest_contents(db, NULL, ret, &row_count, err);
    if (code == 0 && ret_row_count != NULL)
        *ret_row_count = row_count;
    return code;
}

int projection_db_compare(struct projection_db *a, struct projection_db *b,
                          char ret_table[PROJECTION_TABLE_MAX_BYTES + 1], bool *ret_differs, struct err *err)
{
    char name[PROJECTION_TABLE_MAX_BYTES + 1] = "";
    bool differs = false;
    int code = next_table(a, name, err);
    while (code == 0 && !differs && name[0] != '\0') {
        struct hash hashes[2];
        uint64_t row_count = 0;
        code = digest_contents(a, name, &hashes[0], &row_count, err);
        if (code == 0)
            code = digest_contents(b, name, &hashes[1], &row_count, err);
        differs = code == 0 && !hash_equal(&hashes[0], &hashes[1]);
        if (code == 0 && !differs)
            code = next_table(a, name, err);
    }
    if (code != 0)
        return code;
    copy_string(ret_table, PROJECTION_TABLE_MAX_BYTES + 1, name);
    *ret_differs = differs;
    return 0;
}
