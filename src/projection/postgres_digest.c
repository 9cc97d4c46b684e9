/* Reading the contents of a PostgreSQL schema for the digest (projection.h has what goes into it), so that equal
 * contents have the digest that they have in SQLite: whole numbers and truth values are integers, floating-point
 * numbers are reals, bytea is bytes, and every other type is the text that PostgreSQL writes for it. Text is ordered by
 * bytes, NULL comes first. */
#include <stdio.h>

#include "projection/postgres.h"

/* How a column is read, by the type's name: what it is cast to, and what the digest calls it. */
struct reading {
    char type; /* as digest_add has it */
    const char *cast;
};

static struct reading reading_of(const char *type)
{
    static const struct {
        const char *name;
        struct reading reading;
    } readings[] = {{"int2", {'i', "::bigint"}},
                    {"int4", {'i', "::bigint"}},
                    {"int8", {'i', "::bigint"}},
                    {"bool", {'i', "::integer::bigint"}},
                    {"float4", {'r', "::double precision"}},
                    {"float8", {'r', "::double precision"}},
                    {"bytea", {'b', ""}}};
    for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
        if (strcmp(type, readings[i].name) == 0)
            return readings[i].reading;
    }
    return (struct reading){'t', "::text COLLATE \"C\""};
}

int postgres_read_begin(struct projection_db *base, struct err *err)
{
    return postgres_run(postgres_of(base), "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
}

void postgres_read_end(struct projection_db *base)
{
    int code = postgres_run(postgres_of(base), "ROLLBACK", NULL); /* nothing was written */
    (void)code;
}

int postgres_next_table(struct projection_db *base, char name[PROJECTION_TABLE_MAX_BYTES + 1], struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    const struct argument after = {.type = POSTGRES_TEXT, .value = bytes_of_string(name)};
    PGresult *result = NULL;
    int code =
        postgres_query(db, "listing the tables",
                       "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND "
                       "relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = '_tally_meta'::regclass) "
                       "AND NOT starts_with(relname::text, '_tally_') AND relname::text COLLATE \"C\" > $1 ORDER "
                       "BY relname::text COLLATE \"C\" LIMIT 1",
                       &after, 1, &result, err);
    if (code == 0)
        copy_string(name, PROJECTION_TABLE_MAX_BYTES + 1, PQntuples(result) == 0 ? "" : PQgetvalue(result, 0, 0));
    PQclear(result);
    return code;
}

/* Names and types of the columns, in order. */
static int read_columns(struct postgres_db *db, const char *table, PGresult **ret, struct err *err)
{
    const struct argument name = {.type = POSTGRES_TEXT, .value = bytes_of_string(table)};
    return postgres_query(db, table,
                          "SELECT a.attname::text, t.typname::text FROM pg_attribute a JOIN pg_type t ON t.oid = "
                          "a.atttypid JOIN pg_class c "
                          "ON c.oid = a.attrelid WHERE c.relname = $1 AND c.relnamespace = (SELECT relnamespace FROM "
                          "pg_class WHERE oid = "
                          "'_tally_meta'::regclass) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                          &name, 1, ret, err);
}

/* Column number `at` of `columns`, cast. */
static int write_column(struct buf *sql, const PGresult *columns, int at)
{
    int code = postgres_quote(sql, PQgetvalue(columns, at, 0));
    return code == 0 ? buf_append_string(sql, reading_of(PQgetvalue(columns, at, 1)).cast) : code;
}

static int write_select(struct postgres_db *db, struct buf *sql, const PGresult *columns, const char *table)
{
    int count = PQntuples(columns);
    int code = buf_append_string(sql, "SELECT ");
    for (int i = 0; code == 0 && i < count; i++) {
        code = buf_append_string(sql, i == 0 ? "" : ", ");
        if (code == 0)
            code = write_column(sql, columns, i);
    }
    if (code == 0)
        code = buf_append_string(sql, " FROM ");
    if (code == 0)
        code = postgres_quote(sql, db->schema);
    if (code == 0)
        code = buf_append_byte(sql, '.');
    if (code == 0)
        code = postgres_quote(sql, table);
    for (int i = 0; code == 0 && i < count; i++)
        code = buf_append_format(sql, "%s%d NULLS FIRST", i == 0 ? " ORDER BY " : ", ", i + 1);
    return code == 0 ? buf_terminate(sql) : code;
}

static int add_value(struct digesting *digesting, const PGresult *row, int column, char type)
{
    struct bytes field = postgres_field(row, 0, column);
    uint64_t bits = 0;
    double real = 0;
    if (PQgetisnull(row, 0, column))
        return digest_add(digesting, 'n', bytes_of(NULL, 0));
    if (type == 'i')
        return digest_add_integer(digesting, postgres_number(row, 0, column));
    if (type != 'r')
        return digest_add(digesting, type, field);
    bits = (uint64_t)postgres_number(row, 0, column);
    memcpy(&real, &bits, sizeof(real));
    return digest_add_real(digesting, real);
}

static int add_row(struct digesting *digesting, const PGresult *row, const PGresult *columns)
{
    int code = 0;
    for (int i = 0; code == 0 && i < PQntuples(columns); i++)
        code = add_value(digesting, row, i, reading_of(PQgetvalue(columns, i, 1)).type);
    digest_fold(digesting);
    digesting->row_count++;
    return code;
}

static int add_rows(struct postgres_db *db, struct digesting *digesting, const char *table, const PGresult *columns,
                    struct err *err)
{
    PGresult *row = NULL;
    int code = 0;
    while (code == 0 && (code = postgres_next(db, table, &row, err)) == 0 && row != NULL) {
        code = PQntuples(row) == 0 ? 0 : add_row(digesting, row, columns);
        PQclear(row);
    }
    return code;
}

int postgres_digest_rows(struct projection_db *base, struct digesting *digesting, const char *table, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    PGresult *columns = NULL;
    struct buf sql;
    buf_init(&sql, POSTGRES_SQL_MAX_BYTES);
    int code = read_columns(db, table, &columns, err);
    for (int i = 0; code == 0 && i < PQntuples(columns); i++)
        code = digest_add(digesting, 'c', postgres_field(columns, i, 0));
    if (code == 0) {
        digest_fold(digesting);
        code = write_select(db, &sql, columns, table);
    }
    if (code == 0)
        code = postgres_send_rows(db, table, (const char *)sql.data, err);
    if (code == 0)
        code = add_rows(db, digesting, table, columns, err);
    PQclear(columns);
    buf_free(&sql);
    return code;
}
