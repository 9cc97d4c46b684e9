/* What an event would change in a generation (projection_db_preview).
 *
 * The event's statements run in a transaction that is taken back, while SQLite's pre-update hook reports each row that
 * they, or triggers behind them, insert, update or delete: before and after. So the answer is exact, whatever the
 * statements are, and costs what the event costs and not what the projection holds. A row that is changed again joins
 * the change whose outcome it was, so that each row is told once, from what is there now to what would be; rows that
 * end as they began are left out. Rows of equal contents cannot be told apart, and need not be.
 *
 * The statements are compiled anew, under the hook: those at hand may empty a table at one stroke, without a word about
 * its rows, as SQLite does when nobody listens.
 *
 * In the hook no statement may run, so it keeps bare values; the names of columns are asked for afterwards. */
#define SQLITE_ENABLE_PREUPDATE_HOOK
#include "projection/sqlite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

/* A row is its values as JSON, each behind by a line break: in JSON none stands bare. */
enum { MEMORY_MAX_BYTES = 16 * 1024 * 1024, SEPARATOR = '\n' };

struct change {
    const char *table;
    const char *before; /* NULL: there was none */
    const char *after;
};

struct watch {
    sqlite3 *sqlite;
    struct arena arena;
    struct buf row;
    struct change *changes;
    size_t count;
    int code; /* of the hook, which can return none */
};

/* --- Values --- */

static int append_text(struct buf *out, struct bytes text)
{
    int code = buf_append_byte(out, '"');
    for (size_t i = 0; code == 0 && i < text.size_bytes; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\')
            code = buf_append_format(out, "\\%c", byte);
        else if (byte < 0x20)
            code = buf_append_format(out, "\\u%04x", byte);
        else
            code = buf_append_byte(out, byte);
    }
    return code == 0 ? buf_append_byte(out, '"') : code;
}

static int append_blob(struct buf *out, struct bytes blob)
{
    int code = buf_append_string(out, "\"x'");
    for (size_t i = 0; code == 0 && i < blob.size_bytes; i++)
        code = buf_append_format(out, "%02x", blob.data[i]);
    return code == 0 ? buf_append_string(out, "'\"") : code;
}

/* The shortest of two that reads back as the same number. JSON has no infinity. */
static int append_real(struct buf *out, double value)
{
    char text[40];
    snprintf(text, sizeof(text), "%.15g", value);
    if (isinf(value))
        return buf_append_string(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    return strtod(text, NULL) == value ? buf_append_string(out, text) : buf_append_format(out, "%.17g", value);
}

static int append_value(struct buf *out, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    if (type == SQLITE_NULL)
        return buf_append_string(out, "null");
    if (type == SQLITE_INTEGER)
        return buf_append_format(out, "%lld", (long long)sqlite3_value_int64(value));
    if (type == SQLITE_FLOAT)
        return append_real(out, sqlite3_value_double(value));
    const void *data = type == SQLITE_TEXT ? (const void *)sqlite3_value_text(value) : sqlite3_value_blob(value);
    struct bytes bytes = bytes_of(data, (size_t)sqlite3_value_bytes(value));
    if (data == NULL && bytes.size_bytes > 0)
        return ERR_NO_MEMORY;
    return type == SQLITE_TEXT && utf8_valid(bytes) ? append_text(out, bytes) : append_blob(out, bytes);
}

/* --- The hook --- */

typedef int value_fn(sqlite3 *sqlite, int column, sqlite3_value **ret);

/* The row on one side of the change, in the arena. */
static int take_row(struct watch *watch, value_fn *value_at, const char **ret)
{
    int code = 0;
    buf_clear(&watch->row);
    for (int i = 0; code == 0 && i < sqlite3_preupdate_count(watch->sqlite); i++) {
        sqlite3_value *value = NULL;
        int got = value_at(watch->sqlite, i, &value);
        if (got != SQLITE_OK)
            return got == SQLITE_NOMEM ? ERR_NO_MEMORY : ERR_INVALID;
        code = append_value(&watch->row, value);
        if (code == 0)
            code = buf_append_byte(&watch->row, SEPARATOR);
    }
    if (code == 0)
        code = buf_append_byte(&watch->row, '\0');
    if (code != 0)
        return code;
    *ret = arena_copy(&watch->arena, watch->row.data, watch->row.size_bytes);
    return *ret == NULL ? ERR_TOO_LARGE : 0;
}

static int add_change(struct watch *watch, const char *table, const char *before, const char *after)
{
    for (size_t i = 0; before != NULL && i < watch->count; i++) {
        struct change *earlier = &watch->changes[i];
        if (earlier->after != NULL && strcmp(earlier->after, before) == 0 && strcmp(earlier->table, table) == 0) {
            earlier->after = after;
            return 0;
        }
    }
    if (watch->count == PROJECTION_PREVIEW_CHANGES_MAX)
        return ERR_TOO_LARGE;
    const char *name = arena_copy(&watch->arena, table, strlen(table) + 1);
    if (name == NULL)
        return ERR_TOO_LARGE;
    watch->changes[watch->count++] = (struct change){.table = name, .before = before, .after = after};
    return 0;
}

static void on_change(void *context, sqlite3 *sqlite, int operation, const char *database, const char *table,
                      sqlite3_int64 key, sqlite3_int64 new_key)
{
    struct watch *watch = context;
    const char *before = NULL;
    const char *after = NULL;
    (void)sqlite;
    (void)database;
    (void)key;
    (void)new_key;
    if (watch->code == 0 && operation != SQLITE_INSERT)
        watch->code = take_row(watch, sqlite3_preupdate_old, &before);
    if (watch->code == 0 && operation != SQLITE_DELETE)
        watch->code = take_row(watch, sqlite3_preupdate_new, &after);
    if (watch->code == 0)
        watch->code = add_change(watch, table, before, after);
}

/* --- Running --- */

/* The hook gives other values than these, or none, and of all that stand behind them in their row. */
static int generated(struct err *err)
{
    return err_set(err, ERR_INVALID, "the event changes a table with generated columns, whose values cannot be told");
}

static int run_sections(struct sqlite_db *db, const struct projection_event *event, struct err *err)
{
    const struct projection_spec *spec = db->base.spec;
    size_t first = db->statement_count;
    int code = 0;
    for (size_t i = 0; code == 0 && i < spec->section_count; i++) {
        if (projection_section_applies(spec, &spec->sections[i], event->entry->context, event->entry->type))
            code = sqlite_compile_section(db, i, err);
    }
    for (size_t i = first; code == 0 && i < db->statement_count; i++)
        code = sqlite_run_statement(db, &db->statements[i], event, err);
    while (db->statement_count > first)
        sqlite3_finalize(db->statements[--db->statement_count].statement);
    return code;
}

static int run_watched(struct sqlite_db *db, const struct projection_event *event, struct watch *watch, struct err *err)
{
    sqlite3_preupdate_hook(db->sqlite, on_change, watch);
    int code = run_sections(db, event, err);
    sqlite3_preupdate_hook(db->sqlite, NULL, NULL);
    if (code == 0 && watch->code == ERR_TOO_LARGE)
        return err_set(err, ERR_TOO_LARGE, "the event would change more than %d rows, or one of more than %d bytes",
                       PROJECTION_PREVIEW_CHANGES_MAX, PROJECTION_PREVIEW_ROW_MAX_BYTES);
    if (code == 0 && watch->code == ERR_INVALID)
        return generated(err);
    return code == 0 && watch->code != 0 ? err_no_memory(err, "the rows that an event would change") : code;
}

/* --- Names --- */

/* The names of a table's columns, to be finalized by the caller. */
static int columns_of(struct sqlite_db *db, const char *table, sqlite3_stmt **ret, struct err *err)
{
    int code = sqlite_prepare(db, "SELECT name, hidden FROM pragma_table_xinfo(?1) ORDER BY cid", ret, err);
    if (code == 0)
        sqlite3_bind_text(*ret, 1, table, -1, SQLITE_STATIC);
    return code;
}

static int append_columns(struct buf *out, sqlite3_stmt *columns, const char *values, const char *table,
                          struct err *err)
{
    int code = buf_append_byte(out, '{');
    while (code == 0 && *values != '\0' && sqlite3_step(columns) == SQLITE_ROW) {
        const char *end = strchr(values, SEPARATOR);
        INVARIANT(end != NULL);
        if (sqlite3_column_int(columns, 1) != 0)
            return generated(err);
        if (out->size_bytes > 1)
            code = buf_append_byte(out, ',');
        if (code == 0)
            code = append_text(out, bytes_of_string((const char *)sqlite3_column_text(columns, 0)));
        if (code == 0)
            code = buf_append_byte(out, ':');
        if (code == 0)
            code = buf_append(out, bytes_of(values, (size_t)(end - values)));
        values = end + 1;
    }
    if (code == 0)
        code = buf_append_byte(out, '}');
    return code == 0 ? 0 : err_set(err, code, "a row of table %.200s is too large to be shown", table);
}

static int name_values(struct sqlite_db *db, const struct change *change, const char *values, struct arena *arena,
                       char **ret, struct err *err)
{
    struct buf text;
    sqlite3_stmt *columns = NULL;
    if (values == NULL)
        return 0;
    buf_init(&text, 2 * PROJECTION_PREVIEW_ROW_MAX_BYTES);
    int code = columns_of(db, change->table, &columns, err);
    if (code == 0)
        code = append_columns(&text, columns, values, change->table, err);
    sqlite3_finalize(columns);
    if (code == 0 && buf_append_byte(&text, '\0') == 0)
        *ret = arena_copy(arena, text.data, text.size_bytes);
    buf_free(&text);
    return code == 0 && *ret == NULL ? err_no_memory(err, "a row that an event would change") : code;
}

static bool is_equal(const struct change *change)
{
    return change->before == NULL || change->after == NULL ? change->before == change->after
                                                           : strcmp(change->before, change->after) == 0;
}

static int show_changes(struct sqlite_db *db, const struct watch *watch, struct arena *arena,
                        struct projection_preview *ret, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < watch->count; i++) {
        const struct change *change = &watch->changes[i];
        if (is_equal(change) || ++ret->changed > PROJECTION_PREVIEW_ROWS_MAX)
            continue;
        struct projection_row *row = &ret->rows[ret->count++];
        row->table = arena_copy(arena, change->table, strlen(change->table) + 1);
        code = row->table == NULL ? err_no_memory(err, "the rows that an event would change") : 0;
        if (code == 0)
            code = name_values(db, change, change->before, arena, &row->without, err);
        if (code == 0)
            code = name_values(db, change, change->after, arena, &row->with, err);
    }
    return code;
}

int sqlite_preview(struct projection_db *base, const struct projection_event *event, struct arena *arena,
                   struct projection_preview *ret, struct err *err)
{
    struct sqlite_db *db = sqlite_of(base);
    struct watch watch = {.sqlite = db->sqlite};
    arena_init(&watch.arena, MEMORY_MAX_BYTES);
    buf_init(&watch.row, PROJECTION_PREVIEW_ROW_MAX_BYTES);
    watch.changes = arena_alloc_zero(&watch.arena, PROJECTION_PREVIEW_CHANGES_MAX, sizeof(*watch.changes));
    int code = watch.changes == NULL ? err_no_memory(err, "the rows that an event would change") : 0;
    if (code == 0)
        code = run_watched(db, event, &watch, err);
    if (code == 0)
        code = show_changes(db, &watch, arena, ret, err);
    buf_free(&watch.row);
    arena_free(&watch.arena);
    return code;
}
