/* Applying events in PostgreSQL, in batches.
 *
 * A round trip for each statement would cost more than the statement. So events gather, with the values of the
 * parameters that their sections use as one array a parameter, and a batch is one prepared statement:
 *
 *   SELECT count(CASE s WHEN 0 THEN _tally_on_0(c1, c2) WHEN 1 THEN … END) FROM unnest($1, $2, …) AS e(s, c1, c2, …)
 *
 * It calls the sections' functions (postgres.c) row by row in the order of the arrays: volatile functions see what the
 * calls before them did, and no plan of this form changes the order. While the server works on one batch the next one
 * is gathered. At the commit the cursor is moved, in the same transaction, and only from where it is known to stand.
 *
 * When a batch fails, nobody knows at which event. The transaction is given up (projection_db_unsure), and the next one
 * runs each event at once until one transaction succeeds, so the failure names its event, section and line. */
#include <stdio.h>

#include "base/assert.h"
#include "projection/postgres.h"

enum {
    BATCH_ROWS_MAX = 1000,
    BATCH_MAX_BYTES = 4 * 1024 * 1024,
    COLUMN_MAX_BYTES = BATCH_MAX_BYTES + 2 * ENTRY_PAYLOAD_MAX_BYTES,
    ARRAY_HEADER_BYTES = 20,
    OID_INT4 = 23,
};

#define APPLY "_tally_apply"

static const char *array_type(enum parameter parameter)
{
    static const char *const names[] = {
        [PARAMETER_TEXT] = "text[]", [PARAMETER_NUMBER] = "bigint[]", [PARAMETER_BYTES] = "bytea[]"};
    return names[parameter_type(parameter)];
}

static uint32_t element_type(enum parameter parameter)
{
    static const uint32_t types[] = {
        [PARAMETER_TEXT] = POSTGRES_TEXT, [PARAMETER_NUMBER] = POSTGRES_INT8, [PARAMETER_BYTES] = POSTGRES_BYTEA};
    return types[parameter_type(parameter)];
}

/* --- The statement --- */

static int write_call(struct postgres_db *db, size_t section, struct buf *sql)
{
    const struct parameters_used *used = &db->used[section];
    int code = buf_append_format(sql, " WHEN %zu THEN ", section);
    if (code == 0)
        code = postgres_quote(sql, db->schema);
    if (code == 0)
        code = buf_append_format(sql, "._tally_on_%zu(", section);
    for (size_t i = 0; code == 0 && i < used->count; i++)
        code = buf_append_format(sql, "%sc%d", i == 0 ? "" : ", ", (int)used->items[i]);
    return code == 0 ? buf_append_byte(sql, ')') : code;
}

static int write_statement(struct postgres_db *db, struct buf *sql)
{
    int code = buf_append_string(sql, "SELECT count(CASE s");
    for (size_t i = 0; code == 0 && i < db->base.spec->section_count; i++)
        code = write_call(db, i, sql);
    if (code == 0)
        code = buf_append_string(sql, " END) FROM unnest($1::integer[]");
    for (size_t i = 0; code == 0 && i < db->columns.count; i++)
        code = buf_append_format(sql, ", $%zu::%s", i + 2, array_type(db->columns.items[i]));
    if (code == 0)
        code = buf_append_string(sql, ") AS e(s");
    for (size_t i = 0; code == 0 && i < db->columns.count; i++)
        code = buf_append_format(sql, ", c%d", (int)db->columns.items[i]);
    if (code == 0)
        code = buf_append_byte(sql, ')');
    return code == 0 ? buf_terminate(sql) : code;
}

int postgres_prepare(struct postgres_db *db, struct err *err)
{
    struct buf sql;
    PGresult *result = NULL;
    buf_init(&sql, POSTGRES_SQL_MAX_BYTES);
    int code = write_statement(db, &sql);
    if (code != 0)
        code = err_set(err, code, "the sections of a projection do not fit into one statement");
    else if (PQsendPrepare(db->connection, APPLY, (const char *)sql.data, 0, NULL) != 1)
        code = postgres_failed(db, NULL, "preparing the sections", ERR_IO, err);
    else
        code = postgres_wait(db, "preparing the sections", ERR_INVALID, &result, err);
    PQclear(result);
    buf_free(&sql);
    return code;
}

/* --- Gathering --- */

static void start_column(struct column *column)
{
    static const uint8_t header[ARRAY_HEADER_BYTES];
    column->has_null = false;
    if (column->elements.max_bytes == 0)
        buf_init(&column->elements, COLUMN_MAX_BYTES);
    buf_clear(&column->elements);
    /* Room for it, and its failure shows at the first element, which needs more. */
    if (buf_append(&column->elements, bytes_of(header, sizeof(header))) != 0)
        buf_clear(&column->elements);
}

static void start_batch(struct postgres_db *db)
{
    db->batch_rows = 0;
    db->batch_bytes = 0;
    start_column(&db->batch_section);
    for (size_t i = 0; i < db->columns.count; i++)
        start_column(&db->batch[i]);
}

static int add_element(struct column *column, bool is_null, struct bytes value)
{
    uint8_t size[4];
    put_u32_be(size, is_null ? UINT32_MAX : (uint32_t)value.size_bytes);
    column->has_null = column->has_null || is_null;
    if (column->elements.size_bytes < ARRAY_HEADER_BYTES)
        return ERR_NO_MEMORY;
    int code = buf_append(&column->elements, bytes_of(size, sizeof(size)));
    return code == 0 && !is_null ? buf_append(&column->elements, value) : code;
}

static bool uses(const struct parameters_used *used, enum parameter parameter)
{
    for (size_t i = 0; i < used->count; i++) {
        if (used->items[i] == parameter)
            return true;
    }
    return false;
}

static int add_value(struct postgres_db *db, size_t at, const struct projection_event *event, struct err *err)
{
    enum parameter parameter = db->columns.items[at];
    struct parameter_value value;
    uint8_t number[8];
    parameter_of(event, parameter, &value);
    if (!value.is_null && parameter_type(parameter) == PARAMETER_NUMBER) {
        put_u64_be(number, (uint64_t)value.number);
        value.bytes = bytes_of(number, sizeof(number));
    } else if (!value.is_null && parameter_type(parameter) == PARAMETER_TEXT && !utf8_valid(value.bytes)) {
        return err_set(err, ERR_INVALID, "entry %llu of %s: %s is not text; use %s_bytes",
                       (unsigned long long)event->entry->index, event->origin, parameter_name(parameter),
                       parameter_name(parameter));
    }
    db->batch_bytes += value.bytes.size_bytes;
    int code = add_element(&db->batch[at], value.is_null, value.bytes);
    return code == 0 ? 0 : err_set(err, code, "a batch of events does not fit in memory");
}

static int add_row(struct postgres_db *db, size_t section, const struct projection_event *event, struct err *err)
{
    uint8_t number[4];
    put_u32_be(number, (uint32_t)section);
    if (db->batch_rows == 0)
        start_batch(db);
    int code = add_element(&db->batch_section, false, bytes_of(number, sizeof(number)));
    if (code != 0)
        return err_set(err, code, "a batch of events does not fit in memory");
    for (size_t i = 0; code == 0 && i < db->columns.count; i++) {
        if (uses(&db->used[section], db->columns.items[i]))
            code = add_value(db, i, event, err);
        else if (add_element(&db->batch[i], true, bytes_of(NULL, 0)) != 0)
            code = err_no_memory(err, "a batch of events");
    }
    db->batch_rows += code == 0;
    return code;
}

/* --- Sending --- */

/* src/include/utils/array.h: dimensions, whether there are NULLs, the elements' type; size and lower bound. */
static struct bytes finish_column(struct column *column, uint32_t type, size_t rows)
{
    uint8_t *header = column->elements.data;
    put_u32_be(header, 1);
    put_u32_be(header + 4, column->has_null);
    put_u32_be(header + 8, type);
    put_u32_be(header + 12, (uint32_t)rows);
    put_u32_be(header + 16, 1);
    return buf_bytes(&column->elements);
}

static int finish_batch(struct postgres_db *db, const char *doing, struct err *err)
{
    PGresult *result = NULL;
    if (!db->in_flight)
        return 0;
    db->in_flight = false;
    int code = postgres_wait(db, doing, ERR_INVALID, &result, err);
    PQclear(result);
    if (code != ERR_INVALID)
        return code;
    db->base.unsure = !db->one_by_one;
    db->one_by_one = true;
    return code;
}

static int send_batch(struct postgres_db *db, struct err *err)
{
    const char *values[POSTGRES_ARGUMENTS_MAX];
    int sizes[POSTGRES_ARGUMENTS_MAX];
    int formats[POSTGRES_ARGUMENTS_MAX];
    if (db->batch_rows == 0)
        return 0;
    for (size_t i = 0; i <= db->columns.count; i++) {
        struct bytes array =
            i == 0 ? finish_column(&db->batch_section, OID_INT4, db->batch_rows)
                   : finish_column(&db->batch[i - 1], element_type(db->columns.items[i - 1]), db->batch_rows);
        values[i] = (const char *)array.data;
        sizes[i] = (int)array.size_bytes;
        formats[i] = 1;
    }
    if (PQsendQueryPrepared(db->connection, APPLY, (int)db->columns.count + 1, values, sizes, formats, 1) != 1)
        return postgres_failed(db, NULL, "applying events", ERR_IO, err);
    db->in_flight = true;
    db->batch_rows = 0;
    return PQflush(db->connection) < 0 ? postgres_failed(db, NULL, "applying events", ERR_IO, err) : 0;
}

static int flush(struct postgres_db *db, const char *doing, struct err *err)
{
    int code = finish_batch(db, doing, err);
    return code == 0 ? send_batch(db, err) : code;
}

int postgres_settle(struct postgres_db *db, struct err *err)
{
    int code = flush(db, "applying events", err);
    return code == 0 ? finish_batch(db, "applying events", err) : code;
}

/* --- The transaction --- */

int postgres_begin(struct projection_db *base, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    db->batch_rows = 0;
    return postgres_run(db, "BEGIN", err);
}

int postgres_apply(struct projection_db *base, size_t section, const struct projection_event *event, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    const struct projection_section *of = &base->spec->sections[section];
    char doing[512];
    int code = add_row(db, section, event, err);
    if (code != 0)
        return code;
    if (!db->one_by_one)
        return db->batch_rows == BATCH_ROWS_MAX || db->batch_bytes >= BATCH_MAX_BYTES
                   ? flush(db, "applying events", err)
                   : 0;
    snprintf(doing, sizeof(doing), "entry %llu of %s, section \"on %.60s %.60s\", line %u",
             (unsigned long long)event->entry->index, event->origin, of->context, of->type, of->line);
    code = send_batch(db, err);
    return code == 0 ? finish_batch(db, doing, err) : code;
}

static int move_part(struct postgres_db *db, const struct cursor_part *part, uint64_t from, struct err *err)
{
    uint8_t numbers[2][8];
    put_u64_be(numbers[0], from);
    put_u64_be(numbers[1], part->size);
    const struct argument arguments[] = {{.type = POSTGRES_TEXT, .value = bytes_of_string(part->origin)},
                                         {.type = POSTGRES_INT8, .value = bytes_of(numbers[0], 8)},
                                         {.type = POSTGRES_INT8, .value = bytes_of(numbers[1], 8)}};
    PGresult *result = NULL;
    int code = postgres_query(db, "moving the cursor",
                              from == 0 ? "INSERT INTO _tally_cursor AS c(origin, size) VALUES($1, $3) ON CONFLICT "
                                          "(origin) DO UPDATE SET size = $3 WHERE c.size = $2"
                                        : "UPDATE _tally_cursor SET size = $3 WHERE origin = $1 AND size = $2",
                              arguments, 3, &result, err);
    if (code == 0 && strcmp(PQcmdTuples(result), "1") != 0)
        code = err_set(err, ERR_MISMATCH,
                       "the cursor of schema \"%s\" was moved by another process: two regions, or a region and its "
                       "restored copy, write to it",
                       db->schema);
    PQclear(result);
    return code;
}

int postgres_commit(struct projection_db *base, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    int code = postgres_settle(db, err);
    for (size_t i = 0; code == 0 && i < base->cursor_count; i++) {
        uint64_t from = database_committed(base, base->cursor[i].origin);
        if (from != base->cursor[i].size)
            code = move_part(db, &base->cursor[i], from, err);
    }
    if (code == 0)
        code = postgres_run(db, "COMMIT", err);
    if (code == 0)
        db->one_by_one = false;
    return code;
}

void postgres_rollback(struct projection_db *base)
{
    struct postgres_db *db = postgres_of(base);
    bool unsure = base->unsure;
    if (db->in_flight && finish_batch(db, "giving up", NULL) != 0)
        base->unsure = unsure;
    db->batch_rows = 0;
    int code = postgres_run(db, "ROLLBACK", NULL);
    (void)code; /* without a connection the server has done it already, and the next begin says so */
}
