/* One generation of a projection in SQLite: opening, compiling, the cursor, applying. sqlite_authority.c keeps the
 * authority events, sqlite_digest.c hashes the contents, sqlite_preview.c tells what an event would change.
 *
 * Tables of ours beside the projection's: _tally_cursor (origin, size), _tally_authority (origin, idx, entry, payload)
 * and _tally_meta (key, value), which holds the digest of the SQL file that made the rows. The cursor moves in the
 * transaction that writes the rows: after a crash both are there or neither, so every event takes effect exactly once.
 *
 * The projection's SQL comes from an operator over the network. An authorizer keeps it to its own tables: no ATTACH, no
 * PRAGMA, no tables of ours, no transactions, no tables that end with the connection, no functions that reach files or
 * that give another answer in another region. Statements are compiled once, when the
 * file is opened, so that a mistake shows then and not at the first event.
 *
 * Nor may a mistake in it run for ever. SQLite calls us every some thousand steps of its machine, and ends what is
 * under way when the region stops, or when the projection's SQL (the schema, or one statement for one event) has taken
 * more steps than it may: a count, so that a slow disk is no reason to fail. Within a step, values are bounded. Memory
 * is not bounded apart: what SQLite sorts and keeps on the way goes to temporary files, and its limit on the heap is
 * one for the process, so that one projection would fail for another.
 *
 * Durability: WAL with synchronous FULL, so a commit is on stable storage when it returns. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "projection/sqlite.h"

enum { LOOK_STEPS = 10000 };

/* --- Bounds --- */

static bool is_exhausted(const struct sqlite_db *db)
{
    uint64_t max = db->bounds.steps_max == 0 ? PROJECTION_STEPS_MAX : db->bounds.steps_max;
    return db->bounded && db->steps > max;
}

static int on_progress(void *context)
{
    struct sqlite_db *db = context;
    db->steps += LOOK_STEPS;
    return is_exhausted(db) || (db->bounds.stopping != NULL && atomic_load(db->bounds.stopping));
}

void sqlite_bound(struct sqlite_db *db)
{
    db->bounded = true;
    db->steps = 0;
}

void sqlite_unbound(struct sqlite_db *db)
{
    db->bounded = false;
}

/* --- Failures --- */

/* Our code for the failure at hand; `otherwise` when neither disk nor memory is to blame. */
static int code_of_failure(const struct sqlite_db *db, int otherwise)
{
    switch (sqlite3_errcode(db->sqlite)) {
    case SQLITE_INTERRUPT:
        return is_exhausted(db) ? otherwise : ERR_UNAVAILABLE;
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_NOMEM:
        return ERR_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_BUSY:
        return ERR_IO;
    default:
        return otherwise;
    }
}

const char *sqlite_why(struct sqlite_db *db)
{
    if (sqlite3_errcode(db->sqlite) != SQLITE_INTERRUPT)
        return sqlite3_errmsg(db->sqlite);
    if (!is_exhausted(db))
        return "the region stops";
    snprintf(db->why, sizeof(db->why), "it was ended after %llu steps of SQLite, more than it may take",
             (unsigned long long)db->steps);
    return db->why;
}

int sqlite_failed(struct sqlite_db *db, const char *doing, struct err *err)
{
    return err_set(err, code_of_failure(db, ERR_IO), "%s: SQLite says: %s", doing, sqlite_why(db));
}

int sqlite_run(struct sqlite_db *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_failed(db, sql, err);
}

int sqlite_prepare(struct sqlite_db *db, const char *sql, sqlite3_stmt **ret, struct err *err)
{
    return sqlite3_prepare_v2(db->sqlite, sql, -1, ret, NULL) == SQLITE_OK ? 0 : sqlite_failed(db, sql, err);
}

/* --- What a projection's SQL may do --- */

static bool is_ours(const char *table)
{
    return table != NULL && sqlite3_strnicmp(table, "_tally_", 7) == 0;
}

static int authorize(void *context, int action, const char *first, const char *second, const char *database,
                     const char *trigger)
{
    static const char *const refused_functions[] = {"load_extension", "readfile",         "writefile",  "edit",
                                                    "fts3_tokenizer", "random",           "randomblob", "current_date",
                                                    "current_time",   "current_timestamp"};
    const struct sqlite_db *db = context;
    (void)database;
    (void)trigger;
    if (!db->guarded)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
    case SQLITE_PRAGMA:
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_VTABLE:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
        return SQLITE_DENY;
    case SQLITE_FUNCTION:
        for (size_t i = 0; i < sizeof(refused_functions) / sizeof(refused_functions[0]); i++) {
            if (second != NULL && sqlite3_stricmp(second, refused_functions[i]) == 0)
                return SQLITE_DENY;
        }
        return SQLITE_OK;
    default:
        return is_ours(first) || is_ours(second) ? SQLITE_DENY : SQLITE_OK;
    }
}

/* --- Compiling --- */

static int find_parameters(struct compiled *compiled, const struct projection_section *section, struct err *err)
{
    for (int i = 1; i <= sqlite3_bind_parameter_count(compiled->statement); i++) {
        const char *name = sqlite3_bind_parameter_name(compiled->statement, i);
        enum parameter found =
            name == NULL || name[0] != ':' ? PARAMETER_COUNT : parameter_find(bytes_of_string(name + 1));
        if (found == PARAMETER_COUNT)
            return err_set(err, ERR_INVALID, "section \"on %.60s %.60s\", line %u: there is no parameter %.60s",
                           section->context, section->type, section->line, name == NULL ? "?" : name);
        INVARIANT(compiled->parameter_count < PARAMETER_COUNT); /* SQLite numbers a name once */
        compiled->parameters[compiled->parameter_count++] = found;
    }
    return 0;
}

int sqlite_compile_section(struct sqlite_db *db, size_t number, struct err *err)
{
    const struct projection_section *section = &db->base.spec->sections[number];
    const char *sql = section->sql;
    while (*sql != '\0') {
        sqlite3_stmt *statement = NULL;
        if (sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, &sql) != SQLITE_OK)
            return err_set(err, ERR_INVALID, "section \"on %.60s %.60s\", line %u: %s", section->context, section->type,
                           section->line, sqlite3_errmsg(db->sqlite));
        if (statement == NULL)
            continue; /* a comment or blank space */
        struct compiled compiled = {.statement = statement, .section = number};
        int code = find_parameters(&compiled, section, err);
        if (code == 0 && db->statement_count == STATEMENTS_MAX)
            code = err_set(err, ERR_TOO_LARGE, "more than %d statements", STATEMENTS_MAX);
        if (code != 0) {
            sqlite3_finalize(statement);
            return code;
        }
        db->statements[db->statement_count++] = compiled;
    }
    return 0;
}

static int compile_all(struct sqlite_db *db, struct err *err)
{
    int code = 0;
    db->guarded = true;
    for (size_t i = 0; code == 0 && i < db->base.spec->section_count; i++)
        code = sqlite_compile_section(db, i, err);
    db->guarded = false;
    if (code == 0 &&
        sqlite3_prepare_v3(
            db->sqlite,
            "INSERT INTO _tally_cursor(origin, size) VALUES(?1, ?2) ON CONFLICT(origin) DO UPDATE SET size = ?2", -1,
            SQLITE_PREPARE_PERSISTENT, &db->move_cursor, NULL) != SQLITE_OK)
        code = sqlite_failed(db, "the cursor's statement", err);
    return code;
}

/* --- Opening --- */

static int make_tables(struct sqlite_db *db, struct err *err)
{
    char text[2 * HASH_SIZE + 1];
    char sql[256];
    hex_encode(bytes_of(db->base.spec->digest.bytes, HASH_SIZE), text);
    snprintf(sql, sizeof(sql), "INSERT INTO _tally_meta(key, value) VALUES('sql', '%s')", text);
    int code = sqlite_run(db, "BEGIN IMMEDIATE", err);
    if (code == 0)
        code = sqlite_run(
            db, "CREATE TABLE _tally_cursor(origin TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID", err);
    if (code == 0)
        code = sqlite_run(db,
                          "CREATE TABLE _tally_authority(origin TEXT NOT NULL, idx INTEGER NOT NULL, entry BLOB NOT "
                          "NULL, payload BLOB NOT NULL, PRIMARY KEY(origin, idx)) WITHOUT ROWID",
                          err);
    if (code == 0)
        code = sqlite_run(db, "CREATE TABLE _tally_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID", err);
    if (code == 0)
        code = sqlite_run(db, sql, err);
    if (code == 0) {
        db->guarded = true;
        sqlite_bound(db);
        if (sqlite3_exec(db->sqlite, db->base.spec->schema.sql, NULL, NULL, NULL) != SQLITE_OK)
            code = err_set(err, code_of_failure(db, ERR_INVALID), "the schema, line %u: %s", db->base.spec->schema.line,
                           sqlite_why(db));
        sqlite_unbound(db);
        db->guarded = false;
    }
    if (code == 0)
        code = sqlite_run(db, "COMMIT", err);
    return code;
}

static int check_made_by(struct sqlite_db *db, struct err *err)
{
    char text[2 * HASH_SIZE + 1];
    sqlite3_stmt *statement = NULL;
    hex_encode(bytes_of(db->base.spec->digest.bytes, HASH_SIZE), text);
    if (sqlite3_prepare_v2(db->sqlite, "SELECT value FROM _tally_meta WHERE key = 'sql'", -1, &statement, NULL) !=
        SQLITE_OK)
        return sqlite_failed(db, "reading what made the file", err);
    int code = 0;
    if (sqlite3_step(statement) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(statement, 0), text) != 0)
        code =
            err_set(err, ERR_MISMATCH, "the database was made by another version of the projection's SQL; rebuild it");
    sqlite3_finalize(statement);
    return code;
}

static int has_tables(struct sqlite_db *db, bool *ret, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db->sqlite, "SELECT 1 FROM sqlite_master WHERE name = '_tally_meta'", -1, &statement,
                           NULL) != SQLITE_OK)
        return sqlite_failed(db, "reading the database", err);
    int step = sqlite3_step(statement);
    sqlite3_finalize(statement);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return sqlite_failed(db, "reading the database", err);
    *ret = step == SQLITE_ROW;
    return 0;
}

static int read_cursor(struct sqlite_db *db, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int step = SQLITE_DONE;
    if (sqlite3_prepare_v2(db->sqlite, "SELECT origin, size FROM _tally_cursor ORDER BY origin", -1, &statement,
                           NULL) != SQLITE_OK)
        return sqlite_failed(db, "reading the cursor", err);
    int code = 0;
    while (code == 0 && (step = sqlite3_step(statement)) == SQLITE_ROW)
        code = database_read_part(&db->base, (const char *)sqlite3_column_text(statement, 0),
                                  (uint64_t)sqlite3_column_int64(statement, 1), err);
    sqlite3_finalize(statement);
    if (code == 0 && step != SQLITE_DONE)
        code = sqlite_failed(db, "reading the cursor", err);
    if (code == 0)
        database_read_end(&db->base);
    return code;
}

static int prepare_file(struct sqlite_db *db, struct err *err)
{
    bool made = false;
    int code = sqlite_run(db, "PRAGMA journal_mode = WAL", err);
    if (code == 0)
        code = sqlite_run(db, "PRAGMA synchronous = FULL", err);
    if (code == 0)
        code = has_tables(db, &made, err);
    if (code == 0)
        code = made ? check_made_by(db, err) : make_tables(db, err);
    if (code == 0)
        code = read_cursor(db, err);
    if (code == 0)
        code = compile_all(db, err);
    return code;
}

/* --- Applying --- */

/* The parts that moved since the begin become rows. */
static int write_cursor(struct sqlite_db *db, struct err *err)
{
    for (size_t i = 0; i < db->base.cursor_count; i++) {
        const struct cursor_part *part = &db->base.cursor[i];
        sqlite3_bind_text(db->move_cursor, 1, part->origin, -1, SQLITE_STATIC);
        sqlite3_bind_int64(db->move_cursor, 2, (sqlite3_int64)part->size);
        int step = sqlite3_step(db->move_cursor);
        sqlite3_reset(db->move_cursor);
        if (step != SQLITE_DONE)
            return sqlite_failed(db, "moving the cursor", err);
    }
    return 0;
}

static int begin(struct projection_db *base, struct err *err)
{
    return sqlite_run(sqlite_of(base), "BEGIN IMMEDIATE", err);
}

static void bind_bytes(sqlite3_stmt *statement, int at, struct bytes value)
{
    const char *data = value.size_bytes == 0 ? "" : (const char *)value.data;
    if (utf8_valid(value))
        sqlite3_bind_text64(statement, at, data, value.size_bytes, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_blob64(statement, at, data, value.size_bytes, SQLITE_STATIC);
}

static void bind_parameter(sqlite3_stmt *statement, int at, enum parameter parameter,
                           const struct projection_event *event)
{
    struct parameter_value value;
    parameter_of(event, parameter, &value);
    if (value.is_null)
        sqlite3_bind_null(statement, at);
    else if (parameter_type(parameter) == PARAMETER_NUMBER)
        sqlite3_bind_int64(statement, at, value.number);
    else if (parameter_type(parameter) == PARAMETER_BYTES)
        sqlite3_bind_blob64(statement, at, value.bytes.size_bytes == 0 ? (const void *)"" : value.bytes.data,
                            value.bytes.size_bytes, SQLITE_STATIC);
    else if (value.id[0] != '\0')
        sqlite3_bind_text(statement, at, value.id, -1, SQLITE_TRANSIENT);
    else
        bind_bytes(statement, at, value.bytes);
}

int sqlite_run_statement(struct sqlite_db *db, const struct compiled *compiled, const struct projection_event *event,
                         struct err *err)
{
    sqlite3_stmt *statement = compiled->statement;
    const struct projection_section *section = &db->base.spec->sections[compiled->section];
    for (int i = 0; i < compiled->parameter_count; i++)
        bind_parameter(statement, i + 1, compiled->parameters[i], event);
    sqlite_bound(db);
    int step = sqlite3_step(statement);
    while (step == SQLITE_ROW)
        step = sqlite3_step(statement);
    int code = 0;
    if (step != SQLITE_DONE)
        code =
            err_set(err, code_of_failure(db, ERR_INVALID), "entry %llu of %s, section \"on %.60s %.60s\", line %u: %s",
                    (unsigned long long)event->entry->index, event->origin, section->context, section->type,
                    section->line, sqlite_why(db));
    sqlite_unbound(db);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code;
}

static int run(struct projection_db *base, size_t section, const struct projection_event *event, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    int code = 0;
    for (size_t i = 0; code == 0 && i < db->statement_count; i++) {
        if (db->statements[i].section == section)
            code = sqlite_run_statement(db, &db->statements[i], event, err);
    }
    return code;
}

static int commit(struct projection_db *base, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    int code = PLANTED(apply_twice) ? 0 : write_cursor(db, err);
    return code == 0 ? sqlite_run(db, "COMMIT", err) : code;
}

static void rollback(struct projection_db *base)
{
    /* An error means that SQLite has done it already. */
    sqlite3_exec(sqlite_of(base)->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

/* --- Opening and closing --- */

static void close_db(struct projection_db *base)
{
    struct sqlite_db *db = sqlite_of(base);
    for (size_t i = 0; i < db->statement_count; i++)
        sqlite3_finalize(db->statements[i].statement);
    sqlite3_finalize(db->move_cursor);
    sqlite3_close(db->sqlite);
    mem_free(db);
}

static const struct database_ops ops = {
    .begin = begin,
    .run = run,
    .commit = commit,
    .rollback = rollback,
    .learn = sqlite_learn,
    .knows = sqlite_knows,
    .authority = sqlite_authority,
    .keep = sqlite_keep,
    .kept = sqlite_kept,
    .same_contexts = sqlite_same_contexts,
    .preview = sqlite_preview,
    .read_begin = sqlite_read_begin,
    .read_end = sqlite_read_end,
    .next_table = sqlite_next_table,
    .digest_rows = sqlite_digest_rows,
    .close = close_db,
};

int projection_db_open(const char *path, const struct projection_spec *spec, const struct projection_bounds *bounds,
                       struct projection_db **ret, struct err *err)
{
    struct sqlite_db *db = mem_alloc_zero(1, sizeof(*db));
    if (db == NULL)
        return err_no_memory(err, "a projection's database");
    db->base.ops = &ops;
    db->base.spec = spec;
    if (bounds != NULL)
        db->bounds = *bounds;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = 0;
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL) != SQLITE_OK) {
        code = err_set(err, ERR_IO, "%s: %s", path, db->sqlite == NULL ? "no memory" : sqlite3_errmsg(db->sqlite));
    } else {
        sqlite3_set_authorizer(db->sqlite, authorize, db);
        sqlite3_limit(db->sqlite, SQLITE_LIMIT_ATTACHED, 0);
        sqlite3_limit(db->sqlite, SQLITE_LIMIT_LENGTH, PROJECTION_VALUE_MAX_BYTES);
        sqlite3_progress_handler(db->sqlite, LOOK_STEPS, on_progress, db);
        sqlite3_busy_timeout(db->sqlite, 5000);
        code = prepare_file(db, err);
        if (code == ERR_CORRUPT)
            err_wrap(err, code, "%s is damaged; remove it, and the projection is filled again from the logs", path);
    }
    if (code != 0) {
        close_db(&db->base);
        return code;
    }
    *ret = &db->base;
    return 0;
}
