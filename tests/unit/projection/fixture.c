#include "unit/projection/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct projection_spec *spec_of(const char *sql)
{
    struct projection_spec *spec = NULL;
    struct err err = {0};
    cr_assert_eq(projection_spec_parse(bytes_of_string(sql), &spec, &err), 0, "%s", err.message);
    return spec;
}

void event_init(struct event *event, const char *origin, uint64_t index, const char *stream, const char *payload)
{
    *event = (struct event){.entry = {.index = index,
                                      .time = (hlc)(1700000000000 + index) << 16,
                                      .context = BYTES_LITERAL("bank"),
                                      .partition = BYTES_LITERAL("north"),
                                      .stream = bytes_of_string(stream),
                                      .stream_version = index,
                                      .type = BYTES_LITERAL("Deposited"),
                                      .epoch = 1}};
    put_u64_be(event->entry.event_id, index + 1);
    event->event = (struct projection_event){
        .origin = origin, .entry = &event->entry, .payload = bytes_of_string(payload), .has_payload = true};
}

struct projection_db *open_db(const char *path, const char *sql, struct projection_spec **ret_spec)
{
    struct projection_db *db = NULL;
    struct err err = {0};
    *ret_spec = spec_of(sql);
    cr_assert_eq(projection_db_open(path, *ret_spec, NULL, &db, &err), 0, "%s", err.message);
    return db;
}

int try_apply(struct projection_db *db, const struct event *event, struct err *err)
{
    int code = projection_db_begin(db, err);
    cr_assert_eq(code, 0, "%s", err->message);
    code = projection_db_apply(db, &event->event, err);
    if (code == 0)
        code = projection_db_commit(db, err);
    if (code != 0)
        projection_db_rollback(db);
    return code;
}

void apply(struct projection_db *db, const char *origin, uint64_t index, const char *stream, const char *payload)
{
    struct event event;
    struct err err = {0};
    event_init(&event, origin, index, stream, payload);
    cr_assert_eq(try_apply(db, &event, &err), 0, "%s", err.message);
}

uint64_t applied(struct projection_db *db, const char *origin)
{
    uint64_t size = 0;
    cr_assert_eq(projection_db_applied(db, origin, &size, NULL), 0);
    return size;
}

struct hash digest(struct projection_db *db, uint64_t *ret_row_count)
{
    struct hash hash;
    struct err err = {0};
    cr_assert_eq(projection_db_digest(db, &hash, ret_row_count, &err), 0, "%s", err.message);
    return hash;
}

uint64_t row_count(struct projection_db *db)
{
    uint64_t count = 0;
    digest(db, &count);
    return count;
}

void expect_says(const struct err *err, const char *part)
{
    cr_assert_not_null(strstr(err->message, part), "\"%s\" does not say \"%s\"", err->message, part);
}

void db_place_init(struct db_place *place)
{
    files_temp_folder(place->folder);
    files_join(place->folder, "db", place->path);
}

const char *sql_of(const char *schema, const char *statements)
{
    static char sql[16 * 1024];
    snprintf(sql, sizeof(sql), "-- tally: projection p\n-- tally: schema\n%s\n-- tally: on bank Deposited\n%s\n",
             schema, statements);
    return sql;
}

void db_open_new(struct opened *opened, const char *sql)
{
    db_place_init(&opened->place);
    opened->db = open_db(opened->place.path, sql, &opened->spec);
}

void db_reopen(struct opened *opened)
{
    struct err err = {0};
    projection_db_close(opened->db);
    cr_assert_eq(projection_db_open(opened->place.path, opened->spec, NULL, &opened->db, &err), 0, "%s", err.message);
}

void db_close_and_remove(struct opened *opened)
{
    projection_db_close(opened->db);
    projection_spec_free(opened->spec);
    files_remove_folder(opened->place.folder);
}

/* --- PostgreSQL --- */

struct projection_server test_server = {.name = "test", .url = "postgresql:///"};

__attribute__((constructor)) static void find_server(void)
{
    const char *url = getenv("TALLY_TEST_POSTGRES");
    if (url != NULL)
        test_server.url = url;
}

int try_schema(const char *schema, const char *sql, struct err *err)
{
    struct projection_spec *spec = spec_of(sql);
    struct projection_db *db = NULL;
    int code = projection_schema_open(&test_server, schema, SCHEMA_REPLACE, 1, spec, &db, err);
    projection_db_close(db);
    projection_spec_free(spec);
    return code;
}

struct projection_db *open_schema(const char *schema, const char *sql, struct projection_spec **ret_spec)
{
    struct projection_db *db = NULL;
    struct err err = {0};
    *ret_spec = spec_of(sql);
    cr_assert_eq(projection_schema_open(&test_server, schema, SCHEMA_REPLACE, 1, *ret_spec, &db, &err), 0, "%s",
                 err.message);
    return db;
}

const char *psql(const char *sql)
{
    static char out[4096];
    char command[8192];
    snprintf(command, sizeof(command), "psql -qAtX '%s' <<'END_OF_SQL'\n%s\nEND_OF_SQL\n", test_server.url, sql);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t size = fread(out, 1, sizeof(out) - 1, pipe);
    out[size] = '\0';
    cr_assert_eq(pclose(pipe), 0, "psql: %s", out);
    out[strcspn(out, "\n")] = '\0';
    return out;
}
