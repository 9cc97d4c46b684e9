/* One generation of a projection in SQLite: opening, compiling, the cursor, applying. sqlite_authority.c keeps the
 * authority events, sqlite_digest.c hashes the contents.
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
 * Durability: WAL with synchronous FULL, so a commit is on stable storage when it returns. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "projection/sqlite.h"

/* Our code for the failure at hand; `otherwise` when neither disk nor memory is to blame. */
static int code_of_failure(const struct projection_db *db, int otherwise)
{
    switch (sqlite3_errcode(db->sqlite)) {
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

int sqlite_failed(struct projection_db *db, const char *doing, struct err *err)
{
    return err_set(err, code_of_failure(db, ERR_IO), "%s: SQLite says: %s", doing, sqlite3_errmsg(db->sqlite));
}

int sqlite_run(struct projection_db *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_failed(db, sql, err);
}

int sqlite_prepare(struct projection_db *db, const char *sql, sqlite3_stmt **ret, struct err *err)
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
    const struct projection_db *db = context;
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

enum parameter {
    PARAMETER_CONTEXT,
    PARAMETER_PARTITION,
    PARAMETER_STREAM,
    PARAMETER_VERSION,
    PARAMETER_TYPE,
    PARAMETER_EVENT_ID,
    PARAMETER_TIME_MS,
    PARAMETER_PAYLOAD,
    PARAMETER_METADATA,
    PARAMETER_CONTENT_TYPE,
    PARAMETER_ORIGIN,
    PARAMETER_POSITION,
    PARAMETER_EPOCH,
    PARAMETER_CAUSATION_ID,
    PARAMETER_CORRELATION_ID,
    PARAMETER_COUNT,
};

static const char *const parameter_names[PARAMETER_COUNT] = {
    ":context",  ":partition",    ":stream", ":version",  ":type",  ":event_id",     ":time_ms",       ":payload",
    ":metadata", ":content_type", ":origin", ":position", ":epoch", ":causation_id", ":correlation_id"};

static enum parameter find_parameter(const char *name)
{
    int found = 0;
    while (found < PARAMETER_COUNT && (name == NULL || strcmp(name, parameter_names[found]) != 0))
        found++;
    return (enum parameter)found;
}

static int check_parameters(sqlite3_stmt *statement, const struct projection_section *section, struct err *err)
{
    for (int i = 1; i <= sqlite3_bind_parameter_count(statement); i++) {
        const char *name = sqlite3_bind_parameter_name(statement, i);
        if (find_parameter(name) == PARAMETER_COUNT)
            return err_set(err, ERR_INVALID, "section \"on %.60s %.60s\", line %u: there is no parameter %.60s",
                           section->context, section->type, section->line, name == NULL ? "?" : name);
    }
    return 0;
}

static int compile_section(struct projection_db *db, const struct projection_section *section, struct err *err)
{
    const char *sql = section->sql;
    while (*sql != '\0') {
        sqlite3_stmt *statement = NULL;
        if (sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, &sql) != SQLITE_OK)
            return err_set(err, ERR_INVALID, "section \"on %.60s %.60s\", line %u: %s", section->context, section->type,
                           section->line, sqlite3_errmsg(db->sqlite));
        if (statement == NULL)
            continue; /* a comment or blank space */
        int code = check_parameters(statement, section, err);
        if (code == 0 && db->statement_count == STATEMENTS_MAX)
            code = err_set(err, ERR_TOO_LARGE, "more than %d statements", STATEMENTS_MAX);
        if (code != 0) {
            sqlite3_finalize(statement);
            return code;
        }
        db->statements[db->statement_count++] = (struct compiled){.statement = statement, .section = section};
    }
    return 0;
}

static int compile_all(struct projection_db *db, struct err *err)
{
    int code = 0;
    db->guarded = true;
    for (size_t i = 0; code == 0 && i < db->spec->section_count; i++)
        code = compile_section(db, &db->spec->sections[i], err);
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

static int make_tables(struct projection_db *db, struct err *err)
{
    char text[2 * HASH_SIZE + 1];
    char sql[256];
    hex_encode(bytes_of(db->spec->digest.bytes, HASH_SIZE), text);
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
        if (sqlite3_exec(db->sqlite, db->spec->schema.sql, NULL, NULL, NULL) != SQLITE_OK)
            code =
                err_set(err, ERR_INVALID, "the schema, line %u: %s", db->spec->schema.line, sqlite3_errmsg(db->sqlite));
        db->guarded = false;
    }
    if (code == 0)
        code = sqlite_run(db, "COMMIT", err);
    return code;
}

static int check_made_by(struct projection_db *db, struct err *err)
{
    char text[2 * HASH_SIZE + 1];
    sqlite3_stmt *statement = NULL;
    hex_encode(bytes_of(db->spec->digest.bytes, HASH_SIZE), text);
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

static int has_tables(struct projection_db *db, bool *ret, struct err *err)
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

static int read_cursor(struct projection_db *db, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int step = SQLITE_DONE;
    if (sqlite3_prepare_v2(db->sqlite, "SELECT origin, size FROM _tally_cursor ORDER BY origin", -1, &statement,
                           NULL) != SQLITE_OK)
        return sqlite_failed(db, "reading the cursor", err);
    while ((step = sqlite3_step(statement)) == SQLITE_ROW && db->cursor_count < CURSOR_MAX) {
        struct cursor_part *part = &db->cursor[db->cursor_count++];
        snprintf(part->origin, sizeof(part->origin), "%s", (const char *)sqlite3_column_text(statement, 0));
        part->size = (uint64_t)sqlite3_column_int64(statement, 1);
    }
    sqlite3_finalize(statement);
    if (step != SQLITE_DONE)
        return sqlite_failed(db, "reading the cursor", err);
    memcpy(db->committed, db->cursor, sizeof(db->cursor));
    db->committed_count = db->cursor_count;
    return 0;
}

static int prepare_file(struct projection_db *db, struct err *err)
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

int projection_db_open(const char *path, const struct projection_spec *spec, struct projection_db **ret,
                       struct err *err)
{
    struct projection_db *db = mem_alloc_zero(1, sizeof(*db));
    if (db == NULL)
        return err_no_memory(err, "a projection's database");
    db->spec = spec;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = 0;
    if (sqlite3_open_v2(path, &db->sqlite, flags, NULL) != SQLITE_OK) {
        code = err_set(err, ERR_IO, "%s: %s", path, db->sqlite == NULL ? "no memory" : sqlite3_errmsg(db->sqlite));
    } else {
        sqlite3_set_authorizer(db->sqlite, authorize, db);
        sqlite3_limit(db->sqlite, SQLITE_LIMIT_ATTACHED, 0);
        sqlite3_busy_timeout(db->sqlite, 5000);
        code = prepare_file(db, err);
        if (code == ERR_CORRUPT)
            err_wrap(err, code, "%s is damaged; remove it, and the projection is filled again from the logs", path);
    }
    if (code != 0) {
        projection_db_close(db);
        return code;
    }
    *ret = db;
    return 0;
}

void projection_db_close(struct projection_db *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < db->statement_count; i++)
        sqlite3_finalize(db->statements[i].statement);
    sqlite3_finalize(db->move_cursor);
    sqlite3_close(db->sqlite);
    mem_free(db);
}

/* --- Cursor --- */

static struct cursor_part *find_part(struct projection_db *db, const char *origin)
{
    for (size_t i = 0; i < db->cursor_count; i++) {
        if (strcmp(db->cursor[i].origin, origin) == 0)
            return &db->cursor[i];
    }
    return NULL;
}

int projection_db_applied(struct projection_db *db, const char *origin, uint64_t *ret_size, struct err *err)
{
    const struct cursor_part *part = find_part(db, origin);
    (void)err;
    *ret_size = part == NULL ? 0 : part->size;
    return 0;
}

bool projection_db_cursor_next(struct projection_db *db, size_t *position, const char **ret_origin, uint64_t *ret_size)
{
    if (*position >= db->cursor_count)
        return false;
    *ret_origin = db->cursor[*position].origin;
    *ret_size = db->cursor[*position].size;
    (*position)++;
    return true;
}

static int move_cursor(struct projection_db *db, const struct projection_event *event, struct err *err)
{
    struct cursor_part *part = find_part(db, event->origin);
    if (event->entry->index != (part == NULL ? 0 : part->size))
        return err_set(err, ERR_INVALID, "entry %llu of %s does not follow the %llu applied",
                       (unsigned long long)event->entry->index, event->origin,
                       (unsigned long long)(part == NULL ? 0 : part->size));
    if (part == NULL) {
        if (db->cursor_count == CURSOR_MAX)
            return err_set(err, ERR_TOO_LARGE, "events of more than %d logs", CURSOR_MAX);
        size_t place = 0;
        while (place < db->cursor_count && strcmp(db->cursor[place].origin, event->origin) < 0)
            place++;
        memmove(&db->cursor[place + 1], &db->cursor[place], (db->cursor_count - place) * sizeof(db->cursor[0]));
        part = &db->cursor[place];
        db->cursor_count++;
        memset(part, 0, sizeof(*part));
        snprintf(part->origin, sizeof(part->origin), "%s", event->origin);
    }
    part->size = event->entry->index + 1;
    return 0;
}

/* The parts that moved since the begin become rows. */
static int write_cursor(struct projection_db *db, struct err *err)
{
    for (size_t i = 0; i < db->cursor_count; i++) {
        const struct cursor_part *part = &db->cursor[i];
        sqlite3_bind_text(db->move_cursor, 1, part->origin, -1, SQLITE_STATIC);
        sqlite3_bind_int64(db->move_cursor, 2, (sqlite3_int64)part->size);
        int step = sqlite3_step(db->move_cursor);
        sqlite3_reset(db->move_cursor);
        if (step != SQLITE_DONE)
            return sqlite_failed(db, "moving the cursor", err);
    }
    return 0;
}

/* --- Applying --- */

int projection_db_begin(struct projection_db *db, struct err *err)
{
    PRE(!db->in_transaction);
    int code = sqlite_run(db, "BEGIN IMMEDIATE", err);
    if (code == 0)
        db->in_transaction = true;
    return code;
}

static void bind_bytes(sqlite3_stmt *statement, int at, struct bytes value)
{
    const char *data = value.size_bytes == 0 ? "" : (const char *)value.data;
    if (utf8_valid(value))
        sqlite3_bind_text64(statement, at, data, value.size_bytes, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_blob64(statement, at, data, value.size_bytes, SQLITE_STATIC);
}

static void bind_id(sqlite3_stmt *statement, int at, struct bytes id)
{
    char text[UUID_TEXT_SIZE + 1];
    if (id.size_bytes != UUID_SIZE) {
        sqlite3_bind_null(statement, at);
        return;
    }
    uuid_format(id.data, text);
    sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

static void bind_parameter(sqlite3_stmt *statement, int at, enum parameter parameter,
                           const struct projection_event *event)
{
    const struct entry *entry = event->entry;
    switch (parameter) {
    case PARAMETER_CONTEXT:
        bind_bytes(statement, at, entry->context);
        return;
    case PARAMETER_PARTITION:
        bind_bytes(statement, at, entry->partition);
        return;
    case PARAMETER_STREAM:
        bind_bytes(statement, at, entry->stream);
        return;
    case PARAMETER_VERSION:
        sqlite3_bind_int64(statement, at, (sqlite3_int64)entry->stream_version);
        return;
    case PARAMETER_TYPE:
        bind_bytes(statement, at, entry->type);
        return;
    case PARAMETER_EVENT_ID:
        bind_id(statement, at, bytes_of(entry->event_id, ENTRY_ID_SIZE));
        return;
    case PARAMETER_TIME_MS:
        sqlite3_bind_int64(statement, at, (sqlite3_int64)hlc_unix_ms(entry->time));
        return;
    case PARAMETER_PAYLOAD:
        if (event->has_payload)
            bind_bytes(statement, at, event->payload);
        else
            sqlite3_bind_null(statement, at);
        return;
    case PARAMETER_METADATA:
        bind_bytes(statement, at, entry->metadata);
        return;
    case PARAMETER_CONTENT_TYPE:
        bind_bytes(statement, at, entry->content_type);
        return;
    case PARAMETER_ORIGIN:
        sqlite3_bind_text(statement, at, event->origin, -1, SQLITE_STATIC);
        return;
    case PARAMETER_POSITION:
        sqlite3_bind_int64(statement, at, (sqlite3_int64)entry->index);
        return;
    case PARAMETER_EPOCH:
        sqlite3_bind_int64(statement, at, (sqlite3_int64)entry->epoch);
        return;
    case PARAMETER_CAUSATION_ID:
        bind_id(statement, at, entry->causation_id);
        return;
    case PARAMETER_CORRELATION_ID:
        bind_id(statement, at, entry->correlation_id);
        return;
    case PARAMETER_COUNT:
        break;
    }
    INVARIANT(!"a known parameter"); /* checked when it was compiled */
}

static int run_statement(struct projection_db *db, const struct compiled *compiled,
                         const struct projection_event *event, struct err *err)
{
    sqlite3_stmt *statement = compiled->statement;
    for (int i = 1; i <= sqlite3_bind_parameter_count(statement); i++)
        bind_parameter(statement, i, find_parameter(sqlite3_bind_parameter_name(statement, i)), event);
    int step = sqlite3_step(statement);
    while (step == SQLITE_ROW)
        step = sqlite3_step(statement);
    int code = 0;
    if (step != SQLITE_DONE)
        code =
            err_set(err, code_of_failure(db, ERR_INVALID), "entry %llu of %s, section \"on %.60s %.60s\", line %u: %s",
                    (unsigned long long)event->entry->index, event->origin, compiled->section->context,
                    compiled->section->type, compiled->section->line, sqlite3_errmsg(db->sqlite));
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return code;
}

int projection_db_apply(struct projection_db *db, const struct projection_event *event, struct err *err)
{
    PRE(db->in_transaction);
    int code = move_cursor(db, event, err);
    if (code != 0 || event->late || (event->entry->flags & ENTRY_FLAG_CONTROL) != 0)
        return code;
    for (size_t i = 0; code == 0 && i < db->statement_count; i++) {
        const struct compiled *compiled = &db->statements[i];
        if (projection_section_applies(db->spec, compiled->section, event->entry->context, event->entry->type))
            code = run_statement(db, compiled, event, err);
    }
    return code;
}

bool projection_db_wants(const struct projection_db *db, const struct entry *entry)
{
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0)
        return false;
    for (size_t i = 0; i < db->spec->section_count; i++) {
        if (projection_section_applies(db->spec, &db->spec->sections[i], entry->context, entry->type))
            return true;
    }
    return false;
}

const char *projection_db_next_payload_context(const struct projection_db *db, size_t *at)
{
    while (*at < db->statement_count) {
        const struct compiled *compiled = &db->statements[(*at)++];
        if (sqlite3_bind_parameter_index(compiled->statement, parameter_names[PARAMETER_PAYLOAD]) != 0)
            return compiled->section->context;
    }
    return NULL;
}

int projection_db_commit(struct projection_db *db, struct err *err)
{
    PRE(db->in_transaction);
    int code = PLANTED(apply_twice) ? 0 : write_cursor(db, err);
    if (code == 0)
        code = sqlite_run(db, "COMMIT", err);
    if (code != 0)
        return code;
    db->in_transaction = false;
    memcpy(db->committed, db->cursor, sizeof(db->cursor));
    db->committed_count = db->cursor_count;
    return 0;
}

void projection_db_rollback(struct projection_db *db)
{
    sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL); /* an error means that SQLite has done it already */
    db->in_transaction = false;
    memcpy(db->cursor, db->committed, sizeof(db->cursor));
    db->cursor_count = db->committed_count;
}
