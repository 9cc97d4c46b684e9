/* The authority events that a generation knows, in the bytes of their logs, in the table _tally_authority. They are
 * written in the transaction that moves the cursor past them, so that what a generation leaves out as late can be told
 * from its file alone. */
#include "projection/sqlite.h"

static struct bytes column_bytes(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column); /* before the size: SQLite asks for this order */
    return bytes_of(data, (size_t)sqlite3_column_bytes(statement, column));
}

static void bind_blob(sqlite3_stmt *statement, int at, struct bytes value)
{
    sqlite3_bind_blob64(statement, at, value.size_bytes == 0 ? (const void *)"" : value.data, value.size_bytes,
                        SQLITE_STATIC);
}

int sqlite_learn(struct projection_db *base, const struct projection_authority *event, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    int code = sqlite_prepare(db,
                              "INSERT OR IGNORE INTO _tally_authority(origin, idx, entry, payload) "
                              "VALUES(?1, ?2, ?3, ?4)",
                              &statement, err);
    if (code != 0)
        return code;
    sqlite3_bind_text(statement, 1, event->origin, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)event->index);
    bind_blob(statement, 3, event->entry);
    bind_blob(statement, 4, event->payload);
    if (sqlite3_step(statement) != SQLITE_DONE)
        code = sqlite_failed(db, "keeping an authority event", err);
    sqlite3_finalize(statement);
    return code;
}

int sqlite_knows(struct projection_db *base, const char *origin, uint64_t index, bool *ret, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    int code = sqlite_prepare(db, "SELECT 1 FROM _tally_authority WHERE origin = ?1 AND idx = ?2", &statement, err);
    if (code != 0)
        return code;
    sqlite3_bind_text(statement, 1, origin, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)index);
    int step = sqlite3_step(statement);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        code = sqlite_failed(db, "looking for an authority event", err);
    sqlite3_finalize(statement);
    if (code == 0)
        *ret = step == SQLITE_ROW;
    return code;
}

int sqlite_authority(struct projection_db *base, projection_authority_fn *each, void *context, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    int step = SQLITE_DONE;
    int code = sqlite_prepare(db, "SELECT origin, idx, entry, payload FROM _tally_authority ORDER BY origin, idx",
                              &statement, err);
    while (code == 0 && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        struct projection_authority event = {.origin = (const char *)sqlite3_column_text(statement, 0),
                                             .index = (uint64_t)sqlite3_column_int64(statement, 1),
                                             .entry = column_bytes(statement, 2),
                                             .payload = column_bytes(statement, 3)};
        code = each(context, &event, err);
    }
    if (code == 0 && step != SQLITE_DONE)
        code = sqlite_failed(db, "reading the authority events", err);
    sqlite3_finalize(statement);
    return code;
}

int sqlite_keep(struct projection_db *base, const char *name, const char *value, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    int code = sqlite_prepare(db, "INSERT OR REPLACE INTO _tally_meta(key, value) VALUES(?1, ?2)", &statement, err);
    if (code != 0)
        return code;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, value, -1, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE)
        code = sqlite_failed(db, "keeping a number", err);
    sqlite3_finalize(statement);
    return code;
}

int sqlite_kept(struct projection_db *base, const char *name, char ret[PROJECTION_NOTE_MAX_BYTES + 1], struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    int code = sqlite_prepare(db, "SELECT value FROM _tally_meta WHERE key = ?1", &statement, err);
    if (code != 0)
        return code;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    int step = sqlite3_step(statement);
    const char *text = step == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : "";
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        code = sqlite_failed(db, "reading a note", err);
    else if (text == NULL || strlen(text) > PROJECTION_NOTE_MAX_BYTES)
        code = err_set(err, ERR_CORRUPT, "the projection keeps a damaged note; rebuild it");
    if (code == 0)
        copy_string(ret, PROJECTION_NOTE_MAX_BYTES + 1, text);
    sqlite3_finalize(statement);
    return code;
}

static int keep_contexts(struct sqlite_db *db, const char *text, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite_prepare(db, "INSERT OR IGNORE INTO _tally_meta(key, value) VALUES('contexts', ?1)", &statement, err);
    if (code != 0)
        return code;
    sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE)
        code = sqlite_failed(db, "keeping the contexts' digest", err);
    sqlite3_finalize(statement);
    return code;
}

int sqlite_same_contexts(struct projection_db *base, const char *digest, bool *ret, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    sqlite3_stmt *statement = NULL;
    int code = keep_contexts(db, digest, err);
    if (code == 0)
        code = sqlite_prepare(db, "SELECT 1 FROM _tally_meta WHERE key = 'contexts' AND value = ?1", &statement, err);
    if (code != 0)
        return code;
    sqlite3_bind_text(statement, 1, digest, -1, SQLITE_STATIC);
    int step = sqlite3_step(statement);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        code = sqlite_failed(db, "reading the contexts' digest", err);
    sqlite3_finalize(statement);
    if (code == 0)
        *ret = step == SQLITE_ROW;
    return code;
}
