/* One generation of a projection in PostgreSQL: connecting, waiting, making and opening its schema. postgres_apply.c
 * applies events, postgres_authority.c keeps the authority events, postgres_digest.c reads the contents.
 *
 * A generation is a schema: the projection's own tables, and _tally_cursor, _tally_authority and _tally_meta as in
 * SQLite. The live one has the projection's name, the one being filled is "<name>.next"; the switch drops the one and
 * renames the other in one transaction, so readers have one name and see one or the other. A temporary database is the
 * session's schema of temporary tables, which ends with the connection.
 *
 * Each section of the file becomes a function of its schema, whose body is the section's statements and whose arguments
 * are the parameters it uses. So PostgreSQL itself checks a section when it is made, refuses transaction commands in
 * it, and a batch of events is one statement (postgres_apply.c). What else a section may do, the rights of the role
 * decide: give it a database, or schemas, of its own. parameters.c refuses what would differ between regions by its
 * name.
 *
 * Waiting: nothing here waits without looking, some times a second, whether the region stops. That a server is gone is
 * found by TCP keepalives (about ten seconds), unless the URL says otherwise.
 *
 * Failure: everything that a repetition on a new connection may cure is ERR_UNAVAILABLE (connection, rights to connect,
 * resources, locks, a server that shuts down); the transaction is then rolled back by the server. Statements of the
 * projection that fail are ERR_INVALID.
 *
 * Two processes that follow with one schema, by a mistake, do no harm: the cursor moves only from where its owner knows
 * it to stand (postgres_apply.c), so the second one fails. */
#include "projection/postgres.h"

#include <poll.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/clock.h"

enum { LOOK_MS = 200, CONNECT_MS = 5000 };

/* --- Failures --- */

static bool begins_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static int code_of_state(const char *state, int otherwise)
{
    static const char *const passing[] = {"08", "28", "40", "53", "55P03", "57", "58"};
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        if (begins_with(state, passing[i]))
            return ERR_UNAVAILABLE;
    }
    if (begins_with(state, "XX001") || begins_with(state, "XX002"))
        return ERR_CORRUPT;
    if (begins_with(state, "42501") && otherwise != ERR_INVALID)
        return ERR_PERMISSION;
    return otherwise;
}

/* libpq ends messages with a line break, and writes several lines; one is what an operator can use. */
static int say(struct err *err, int code, const char *doing, const char *message)
{
    int size = (int)strcspn(message, "\n");
    return err_set(err, code, "%s: PostgreSQL says: %.*s", doing, size > 300 ? 300 : size, message);
}

int postgres_failed(struct postgres_db *db, const PGresult *result, const char *doing, int otherwise, struct err *err)
{
    const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (message == NULL)
        message = result == NULL ? PQerrorMessage(db->connection) : PQresultErrorMessage(result);
    if (state == NULL || PQstatus(db->connection) == CONNECTION_BAD)
        return say(err, ERR_UNAVAILABLE, doing, message);
    bool timed_out = db->timed && begins_with(state, "57014");
    return say(err, timed_out ? otherwise : code_of_state(state, otherwise), doing, message);
}

/* --- Waiting --- */

static bool is_stopping(const struct postgres_db *db)
{
    return db->server->stopping != NULL && atomic_load(db->server->stopping);
}

static int wait_socket(struct postgres_db *db, short events, const char *doing, struct err *err)
{
    struct pollfd waited = {.fd = PQsocket(db->connection), .events = events};
    if (is_stopping(db))
        return err_set(err, ERR_UNAVAILABLE, "%s: the region stops", doing);
    if (waited.fd < 0)
        return say(err, ERR_UNAVAILABLE, doing, PQerrorMessage(db->connection));
    poll(&waited, 1, LOOK_MS); /* whatever it says, libpq is asked next */
    return 0;
}

static int wait_sent(struct postgres_db *db, const char *doing, struct err *err)
{
    int more = 0;
    while ((more = PQflush(db->connection)) == 1) {
        int code = wait_socket(db, POLLIN | POLLOUT, doing, err);
        if (code != 0)
            return code;
        if (PQconsumeInput(db->connection) != 1)
            break;
    }
    return more == 0 ? 0 : postgres_failed(db, NULL, doing, ERR_IO, err);
}

static int next_result(struct postgres_db *db, const char *doing, PGresult **ret, struct err *err)
{
    while (PQisBusy(db->connection) == 1) {
        int code = wait_socket(db, POLLIN, doing, err);
        if (code != 0)
            return code;
        if (PQconsumeInput(db->connection) != 1)
            return postgres_failed(db, NULL, doing, ERR_IO, err);
    }
    *ret = PQgetResult(db->connection);
    return 0;
}

static bool succeeded(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
}

/* Of several results the first failure counts, else the last one. */
int postgres_wait(struct postgres_db *db, const char *doing, int otherwise, PGresult **ret, struct err *err)
{
    PGresult *kept = NULL;
    int code = wait_sent(db, doing, err);
    while (code == 0) {
        PGresult *result = NULL;
        code = next_result(db, doing, &result, err);
        if (code != 0 || result == NULL)
            break;
        if (kept != NULL && !succeeded(kept)) {
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
    }
    if (code == 0 && (kept == NULL || !succeeded(kept)))
        code = postgres_failed(db, kept, doing, otherwise, err);
    if (code != 0) {
        PQclear(kept);
        return code;
    }
    *ret = kept;
    return 0;
}

int postgres_query(struct postgres_db *db, const char *doing, const char *sql, const struct argument *arguments,
                   size_t count, PGresult **ret, struct err *err)
{
    PRE(count <= POSTGRES_ARGUMENTS_MAX);
    Oid types[POSTGRES_ARGUMENTS_MAX];
    const char *values[POSTGRES_ARGUMENTS_MAX];
    int sizes[POSTGRES_ARGUMENTS_MAX];
    int formats[POSTGRES_ARGUMENTS_MAX];
    PGresult *result = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct bytes *value = &arguments[i].value;
        types[i] = arguments[i].type;
        values[i] = arguments[i].is_null ? NULL : value->size_bytes == 0 ? "" : (const char *)value->data;
        sizes[i] = (int)value->size_bytes;
        formats[i] = 1;
    }
    if (PQsendQueryParams(db->connection, sql, (int)count, types, values, sizes, formats, 1) != 1)
        return postgres_failed(db, NULL, doing, ERR_IO, err);
    int code = postgres_wait(db, doing, ERR_IO, &result, err);
    if (code == 0 && ret != NULL)
        *ret = result;
    else
        PQclear(result);
    return code;
}

int postgres_send_rows(struct postgres_db *db, const char *doing, const char *sql, struct err *err)
{
    if (PQsendQueryParams(db->connection, sql, 0, NULL, NULL, NULL, NULL, 1) != 1 ||
        PQsetSingleRowMode(db->connection) != 1)
        return postgres_failed(db, NULL, doing, ERR_IO, err);
    return wait_sent(db, doing, err);
}

int postgres_next(struct postgres_db *db, const char *doing, PGresult **ret, struct err *err)
{
    PGresult *result = NULL;
    int code = next_result(db, doing, &result, err);
    if (code == 0 && result != NULL && !succeeded(result) && PQresultStatus(result) != PGRES_SINGLE_TUPLE)
        code = postgres_failed(db, result, doing, ERR_IO, err);
    if (code != 0) {
        PQclear(result);
        return code;
    }
    *ret = result;
    return 0;
}

/* Takes what is left of a statement that was not read to its end. */
static void drain(struct postgres_db *db)
{
    PGresult *result = NULL;
    while (next_result(db, "giving up", &result, NULL) == 0 && result != NULL)
        PQclear(result);
}

static int run_as(struct postgres_db *db, const char *doing, const char *sql, int otherwise, struct err *err)
{
    PGresult *result = NULL;
    drain(db);
    if (PQsendQuery(db->connection, sql) != 1)
        return postgres_failed(db, NULL, doing, otherwise, err);
    int code = postgres_wait(db, doing, otherwise, &result, err);
    PQclear(result);
    return code;
}

int postgres_run(struct postgres_db *db, const char *sql, struct err *err)
{
    char doing[96];
    snprintf(doing, sizeof(doing), "database %.60s", db->server->name);
    return run_as(db, doing, sql, ERR_IO, err);
}

struct bytes postgres_field(const PGresult *result, int row, int column)
{
    return bytes_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

int64_t postgres_number(const PGresult *result, int row, int column)
{
    struct bytes field = postgres_field(result, row, column);
    return field.size_bytes == 8 ? (int64_t)get_u64_be(field.data) : 0;
}

/* --- Quoting --- */

static int quote(struct buf *out, struct bytes text, uint8_t mark)
{
    int code = buf_append_byte(out, mark);
    for (size_t i = 0; code == 0 && i < text.size_bytes; i++) {
        code = buf_append_byte(out, text.data[i]);
        if (code == 0 && text.data[i] == mark)
            code = buf_append_byte(out, mark);
    }
    return code == 0 ? buf_append_byte(out, mark) : code;
}

int postgres_quote(struct buf *out, const char *name)
{
    return quote(out, bytes_of_string(name), '"');
}

/* Backslashes mean nothing: standard_conforming_strings is on. */
int postgres_quote_text(struct buf *out, struct bytes text)
{
    return quote(out, text, '\'');
}

/* --- Connecting --- */

int projection_server_check(const char *url, struct err *err)
{
    char *message = NULL;
    if (!begins_with(url, "postgresql://") && !begins_with(url, "postgres://"))
        return err_set(err, ERR_INVALID, "a database's url begins with postgresql://");
    PQconninfoOption *options = PQconninfoParse(url, &message);
    int code = 0;
    if (options == NULL) /* libpq's message quotes the URL, and with it perhaps a password */
        code = err_set(err, ERR_INVALID, "a database's url cannot be read: see libpq's connection URIs");
    for (const PQconninfoOption *option = options; code == 0 && option->keyword != NULL; option++) {
        if (strcmp(option->keyword, "password") == 0 && option->val != NULL)
            code = err_set(err, ERR_INVALID,
                           "a database's url carries a password: put that into a password file that only the server's "
                           "user may read (?passfile=… in the url, or ~/.pgpass)");
    }
    PQfreemem(message);
    PQconninfoFree(options);
    return code;
}

static int wait_connected(struct postgres_db *db, const char *doing, struct err *err)
{
    uint64_t deadline_us = clock_now().mono_us + (uint64_t)CONNECT_MS * 1000;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (PQstatus(db->connection) == CONNECTION_BAD || state == PGRES_POLLING_FAILED)
            return say(err, ERR_UNAVAILABLE, doing, PQerrorMessage(db->connection));
        if (clock_now().mono_us > deadline_us)
            return err_set(err, ERR_UNAVAILABLE, "%s: no connection within %d ms", doing, CONNECT_MS);
        int code = wait_socket(db, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, doing, err);
        if (code != 0)
            return code;
        state = PQconnectPoll(db->connection);
    }
    return 0;
}

/* What would show in the contents, or differ with a role's or a server's settings, is set; so is what ends waits. */
static int set_session(struct postgres_db *db, struct err *err)
{
    struct buf sql;
    buf_init(&sql, POSTGRES_SQL_MAX_BYTES);
    int code =
        buf_append_string(&sql, "SET standard_conforming_strings = on; SET timezone = 'UTC'; SET datestyle = "
                                "'ISO, YMD'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET "
                                "lock_timeout = '5s'; SET statement_timeout = 0; SET row_security = off; SET "
                                "check_function_bodies = on; SET client_min_messages = error; SET search_path = ");
    if (code == 0)
        code = postgres_quote(&sql, db->schema);
    if (code == 0)
        code = buf_terminate(&sql);
    code = code == 0 ? postgres_run(db, (const char *)sql.data, err) : err_no_memory(err, "a projection's database");
    buf_free(&sql);
    return code;
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static int check_encoding(struct postgres_db *db, const char *doing, struct err *err)
{
    const char *encoding = PQparameterStatus(db->connection, "server_encoding");
    if (encoding != NULL && strcmp(encoding, "UTF8") == 0)
        return 0;
    return err_set(err, ERR_MISMATCH, "%s: the database's encoding is %.40s; it must be UTF8", doing,
                   encoding == NULL ? "?" : encoding);
}

static int connect_db(struct postgres_db *db, struct err *err)
{
    static const char *const keywords[] = {
        "fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout",          "dbname",          "client_encoding",     NULL};
    const char *values[] = {"tallyd", "5", "2", "3", "10000", db->server->url, "UTF8", NULL};
    char doing[128];
    snprintf(doing, sizeof(doing), "database %.60s", db->server->name);
    db->connection = PQconnectStartParams(keywords, values, 1);
    if (db->connection == NULL)
        return err_no_memory(err, "a projection's database");
    PQsetNoticeReceiver(db->connection, ignore_notice, NULL);
    int code = wait_connected(db, doing, err);
    if (code == 0)
        code = check_encoding(db, doing, err);
    if (code == 0 && PQsetnonblocking(db->connection, 1) != 0)
        code = postgres_failed(db, NULL, doing, ERR_IO, err);
    return code == 0 ? set_session(db, err) : code;
}

/* --- The schema --- */

static const char tables[] = "CREATE TABLE _tally_cursor(origin text COLLATE \"C\" PRIMARY KEY, size bigint NOT NULL);"
                             "CREATE TABLE _tally_authority(origin text COLLATE \"C\", idx bigint, entry bytea NOT "
                             "NULL, payload bytea NOT NULL, "
                             "PRIMARY KEY(origin, idx));"
                             "CREATE TABLE _tally_meta(key text PRIMARY KEY, value text NOT NULL);";

static int out_of_room(struct err *err, int code)
{
    return err_set(err, code, "the SQL of a projection is too large for its database");
}

/* In the transaction at hand: the next statements may take so long each; 0: as long as they want. */
static int set_timeout(struct postgres_db *db, uint64_t timeout_ms, struct err *err)
{
    char sql[64];
    snprintf(sql, sizeof(sql), "SET LOCAL statement_timeout = %llu", (unsigned long long)timeout_ms);
    db->timed = timeout_ms > 0;
    return postgres_run(db, sql, err);
}

/* A query without an end would hold up whoever else wants to make a projection. */
static int run_schema(struct postgres_db *db, const char *doing, const char *sql, struct err *err)
{
    int code = set_timeout(db, db->server->schema_ms == 0 ? PROJECTION_SCHEMA_MS : db->server->schema_ms, err);
    if (code == 0)
        code = run_as(db, doing, sql, ERR_INVALID, err);
    db->timed = false;
    return code == 0 ? set_timeout(db, 0, err) : code;
}

/* The statements run in a block of PL/pgSQL, which refuses transaction commands; unlike in a function's body, they may
 * use what those before them made. */
static int make_own_tables(struct postgres_db *db, struct err *err)
{
    const struct projection_section *schema = &db->base.spec->schema;
    struct parameters_used used = {.count = 0};
    struct buf text;
    struct buf block;
    struct buf sql;
    char doing[64];
    snprintf(doing, sizeof(doing), "the schema, line %u", schema->line);
    buf_init(&text, POSTGRES_SQL_MAX_BYTES);
    buf_init(&block, POSTGRES_SQL_MAX_BYTES);
    buf_init(&sql, POSTGRES_SQL_MAX_BYTES);
    int code = parameters_number(schema->sql, schema->line, &text, &used, err);
    if (code == 0 && used.count > 0)
        code = err_set(err, ERR_INVALID, "%s: a schema is made before any event: %s is not there", doing,
                       parameter_name(used.items[0]));
    if (code != 0)
        goto free_all;
    if (buf_append_string(&block, "BEGIN EXECUTE ") != 0 || postgres_quote_text(&block, buf_bytes(&text)) != 0 ||
        buf_append_string(&block, "; END") != 0 || buf_append_string(&sql, "DO ") != 0 ||
        postgres_quote_text(&sql, buf_bytes(&block)) != 0 || buf_terminate(&sql) != 0)
        code = out_of_room(err, ERR_TOO_LARGE);
    else if (text.size_bytes > 0)
        code = run_schema(db, doing, (const char *)sql.data, err);
free_all:
    buf_free(&text);
    buf_free(&block);
    buf_free(&sql);
    return code;
}

static const char *type_name(enum parameter parameter)
{
    static const char *const names[] = {
        [PARAMETER_TEXT] = "text", [PARAMETER_NUMBER] = "bigint", [PARAMETER_BYTES] = "bytea"};
    return names[parameter_type(parameter)];
}

static int write_function(struct postgres_db *db, size_t number, struct bytes body, struct buf *sql)
{
    const struct parameters_used *used = &db->used[number];
    int code = buf_append_string(sql, "CREATE FUNCTION ");
    if (code == 0)
        code = postgres_quote(sql, db->schema);
    if (code == 0)
        code = buf_append_format(sql, "._tally_on_%zu(", number);
    for (size_t i = 0; code == 0 && i < used->count; i++)
        code = buf_append_format(sql, "%s%s", i == 0 ? "" : ", ", type_name(used->items[i]));
    if (code == 0)
        code = buf_append_string(sql, ") RETURNS void LANGUAGE sql AS ");
    if (code == 0)
        code = postgres_quote_text(sql, body);
    return code == 0 ? buf_terminate(sql) : code;
}

static void add_columns(struct postgres_db *db, const struct parameters_used *used)
{
    for (size_t i = 0; i < used->count; i++) {
        size_t at = 0;
        while (at < db->columns.count && db->columns.items[at] != used->items[i])
            at++;
        if (at == db->columns.count)
            db->columns.items[db->columns.count++] = used->items[i];
    }
}

static int number_section(struct postgres_db *db, size_t number, struct buf *body, struct err *err)
{
    const struct projection_section *section = &db->base.spec->sections[number];
    int code = parameters_number(section->sql, section->line, body, &db->used[number], err);
    if (code != 0)
        return err_wrap(err, code, "section \"on %.60s %.60s\"", section->context, section->type);
    add_columns(db, &db->used[number]);
    return 0;
}

/* With `make`, the functions are made; else only their arguments are found. */
static int read_sections(struct postgres_db *db, bool make, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < db->base.spec->section_count; i++) {
        const struct projection_section *section = &db->base.spec->sections[i];
        char doing[192];
        struct buf body;
        struct buf sql;
        snprintf(doing, sizeof(doing), "section \"on %.60s %.60s\", line %u", section->context, section->type,
                 section->line);
        buf_init(&body, POSTGRES_SQL_MAX_BYTES);
        buf_init(&sql, POSTGRES_SQL_MAX_BYTES);
        code = number_section(db, i, &body, err);
        if (code == 0 && make && write_function(db, i, buf_bytes(&body), &sql) != 0)
            code = out_of_room(err, ERR_TOO_LARGE);
        if (code == 0 && make)
            code = run_as(db, doing, (const char *)sql.data, ERR_INVALID, err);
        buf_free(&body);
        buf_free(&sql);
    }
    return code;
}

static int keep(struct postgres_db *db, const char *key, const char *value, struct err *err)
{
    const struct argument arguments[] = {{.type = POSTGRES_TEXT, .value = bytes_of_string(key)},
                                         {.type = POSTGRES_TEXT, .value = bytes_of_string(value)}};
    return postgres_query(db, "describing a generation", "INSERT INTO _tally_meta(key, value) VALUES($1, $2)",
                          arguments, 2, NULL, err);
}

static int run_on_schema(struct postgres_db *db, const char *before, const char *schema, const char *after,
                         struct err *err)
{
    struct buf sql;
    buf_init(&sql, POSTGRES_SQL_MAX_BYTES);
    int code = buf_append_string(&sql, before);
    if (code == 0)
        code = postgres_quote(&sql, schema);
    if (code == 0)
        code = buf_append_string(&sql, after);
    if (code == 0)
        code = buf_terminate(&sql);
    code = code == 0 ? postgres_run(db, (const char *)sql.data, err) : err_no_memory(err, "a projection's database");
    buf_free(&sql);
    return code;
}

static bool is_temporary(const struct postgres_db *db)
{
    return strcmp(db->schema, "pg_temp") == 0;
}

static int has_schema(struct postgres_db *db, bool *ret, struct err *err)
{
    const struct argument name = {.type = POSTGRES_TEXT, .value = bytes_of_string(db->schema)};
    PGresult *result = NULL;
    int code = postgres_query(db, "looking for a schema", "SELECT 1 FROM pg_namespace WHERE nspname = $1", &name, 1,
                              &result, err);
    if (code == 0)
        *ret = PQntuples(result) > 0;
    PQclear(result);
    return code;
}

static int make_schema(struct postgres_db *db, bool replace, struct err *err)
{
    char digest[2 * HASH_SIZE + 1];
    char number[32];
    bool there = false;
    hex_encode(bytes_of(db->base.spec->digest.bytes, HASH_SIZE), digest);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)db->generation);
    int code = postgres_run(db, "BEGIN", err);
    if (code == 0 && !is_temporary(db)) {
        if (replace)
            code = run_on_schema(db, "DROP SCHEMA IF EXISTS ", db->schema, " CASCADE", err);
        if (code == 0)
            code = has_schema(db, &there, err);
        if (code == 0 && there)
            code = err_set(err, ERR_EXISTS,
                           "database %.60s has a schema \"%s\" already: drop it, or give the projection another name",
                           db->server->name, db->schema);
        if (code == 0)
            code = run_on_schema(db, "CREATE SCHEMA ", db->schema, "", err);
    }
    if (code == 0)
        code = postgres_run(db, tables, err);
    if (code == 0)
        code = keep(db, "sql", digest, err);
    if (code == 0)
        code = keep(db, "generation", number, err);
    if (code == 0)
        code = make_own_tables(db, err);
    if (code == 0)
        code = read_sections(db, true, err);
    return code == 0 ? postgres_run(db, "COMMIT", err) : code;
}

static int check_made_by(struct postgres_db *db, struct err *err)
{
    char text[2 * HASH_SIZE + 1];
    PGresult *result = NULL;
    hex_encode(bytes_of(db->base.spec->digest.bytes, HASH_SIZE), text);
    int code = postgres_query(
        db, "reading what made the schema",
        "SELECT (SELECT value FROM _tally_meta WHERE key = 'sql'), (SELECT value::bigint FROM _tally_meta WHERE key = "
        "'generation')",
        NULL, 0, &result, err);
    if (code == 0 && !bytes_equal(postgres_field(result, 0, 0), bytes_of_string(text)))
        code = err_set(err, ERR_MISMATCH,
                       "schema \"%s\" was made by another version of the projection's SQL; drop it and create the "
                       "projection again",
                       db->schema);
    if (code == 0)
        db->generation = (uint64_t)postgres_number(result, 0, 1);
    PQclear(result);
    return code;
}

static int open_schema(struct postgres_db *db, struct err *err)
{
    bool there = false;
    int code = has_schema(db, &there, err);
    if (code == 0 && !there)
        code =
            err_set(err, ERR_NOT_FOUND,
                    "database %.60s has no schema \"%s\" any more; remove the projection's folder and create it again",
                    db->server->name, db->schema);
    if (code == 0)
        code = check_made_by(db, err);
    return code == 0 ? read_sections(db, false, err) : code;
}

static int read_cursor(struct postgres_db *db, struct err *err)
{
    PGresult *result = NULL;
    int code = postgres_query(db, "reading the cursor", "SELECT origin, size FROM _tally_cursor ORDER BY origin", NULL,
                              0, &result, err);
    for (int row = 0; code == 0 && row < PQntuples(result); row++)
        code =
            database_read_part(&db->base, PQgetvalue(result, row, 0), (uint64_t)postgres_number(result, row, 1), err);
    if (code == 0)
        database_read_end(&db->base);
    PQclear(result);
    return code;
}

/* --- Opening and closing --- */

static void close_db(struct projection_db *base)
{
    struct postgres_db *db = postgres_of(base);
    PQfinish(db->connection);
    buf_free(&db->batch_section.elements);
    for (size_t i = 0; i < PARAMETER_COUNT; i++)
        buf_free(&db->batch[i].elements);
    mem_free(db);
}

static const struct database_ops ops = {
    .begin = postgres_begin,
    .run = postgres_apply,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .learn = postgres_learn,
    .knows = postgres_knows,
    .authority = postgres_authority,
    .keep = postgres_keep,
    .kept = postgres_kept,
    .same_contexts = postgres_same_contexts,
    .read_begin = postgres_read_begin,
    .read_end = postgres_read_end,
    .next_table = postgres_next_table,
    .digest_rows = postgres_digest_rows,
    .close = close_db,
};

int projection_schema_open(const struct projection_server *server, const char *schema, enum schema_mode mode,
                           uint64_t generation, const struct projection_spec *spec, struct projection_db **ret,
                           struct err *err)
{
    PRE(strlen(schema) <= POSTGRES_SCHEMA_MAX_BYTES);
    struct postgres_db *db = mem_alloc_zero(1, sizeof(*db));
    if (db == NULL)
        return err_no_memory(err, "a projection's database");
    db->base.ops = &ops;
    db->base.spec = spec;
    db->server = server;
    db->generation = generation;
    copy_string(db->schema, sizeof(db->schema), mode == SCHEMA_TEMPORARY ? "pg_temp" : schema);
    int code = connect_db(db, err);
    if (code == 0)
        code = mode == SCHEMA_OPEN ? open_schema(db, err) : make_schema(db, mode == SCHEMA_REPLACE, err);
    if (code == 0)
        code = read_cursor(db, err);
    if (code == 0)
        code = postgres_prepare(db, err);
    if (code != 0) {
        close_db(&db->base);
        return code;
    }
    *ret = &db->base;
    return 0;
}

uint64_t projection_schema_generation(struct projection_db *db)
{
    return postgres_of(db)->generation;
}

int projection_schema_drop(struct projection_db *db, const char *schema, struct err *err)
{
    return run_on_schema(postgres_of(db), "DROP SCHEMA IF EXISTS ", schema, " CASCADE", err);
}

int projection_schema_rename(struct projection_db *base, const char *name, struct err *err)
{
    struct postgres_db *db = postgres_of(base);
    char old[POSTGRES_SCHEMA_MAX_BYTES + 1];
    copy_string(old, sizeof(old), db->schema);
    struct buf rename;
    buf_init(&rename, 4096);
    int code = buf_append_string(&rename, " RENAME TO ");
    if (code == 0)
        code = postgres_quote(&rename, name);
    if (code == 0)
        code = buf_terminate(&rename);
    code = code == 0 ? postgres_run(db, "BEGIN", err) : err_no_memory(err, "a projection's database");
    if (code == 0)
        code = projection_schema_drop(base, name, err);
    if (code == 0)
        code = run_on_schema(db, "ALTER SCHEMA ", old, (const char *)rename.data, err);
    if (code == 0)
        code = postgres_run(db, "COMMIT", err);
    buf_free(&rename);
    if (code != 0)
        return code;
    copy_string(db->schema, sizeof(db->schema), name);
    code = postgres_run(db, "DEALLOCATE ALL", err);
    if (code == 0)
        code = set_session(db, err);
    return code == 0 ? postgres_prepare(db, err) : code;
}
