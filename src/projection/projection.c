/* A projection in its folder: the SQL, the generations, and which one is live.
 *
 *   projection.sql        as it was given
 *   gen-<n>.sqlite        a generation (with -wal and -shm while it is open)
 *   live                  the number of the live one, in decimal; replaced atomically
 *   database              only with PostgreSQL: the name of the database, in which the schema "<projection>" is the
 * live generation and "<projection>.next" the next one; their numbers are in them
 *
 * Crash behaviour. Creating: `live` is written last, so a folder without it was never made, and is made again; a schema
 * that was made by then is in the way (ERR_EXISTS), because nobody can tell whose it is.
 * Rebuilding: the next generation is only a file until `live` names it; what `live` does not name is removed at the
 * next open. With PostgreSQL one transaction switches, and `live` only says that the projection was made. */
#include "projection/projection.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/disk.h"
#include "projection/spec.h"

struct projection {
    char folder[DISK_PATH_MAX_BYTES];
    struct projection_spec *spec;
    const struct projection_server *server; /* NULL: files */
    struct projection_bounds bounds;
    uint64_t generation;
    struct projection_db *live;
    struct projection_db *next;
};

static int generation_path(const char *folder, uint64_t generation, const char *suffix, char out[DISK_PATH_MAX_BYTES],
                           struct err *err)
{
    char name[64];
    snprintf(name, sizeof(name), "gen-%llu.sqlite%s", (unsigned long long)generation, suffix);
    return disk_join(out, folder, name, err);
}

static int remove_generation(const char *folder, uint64_t generation, struct err *err)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        char path[DISK_PATH_MAX_BYTES];
        code = generation_path(folder, generation, suffixes[i], path, err);
        if (code == 0)
            code = disk_remove(disk_posix(), path, err);
        if (code == ERR_NOT_FOUND)
            code = 0;
    }
    return code;
}

static bool in_files(const struct projection *projection)
{
    return projection->server == NULL;
}

static void next_schema(const struct projection *projection, char out[PROJECTION_NAME_MAX_BYTES + 1])
{
    snprintf(out, PROJECTION_NAME_MAX_BYTES + 1, "%.58s.next", projection_name(projection));
}

static int open_file(const struct projection *projection, uint64_t generation, struct projection_db **ret,
                     struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = generation_path(projection->folder, generation, "", path, err);
    return code == 0 ? projection_db_open(path, projection->spec, &projection->bounds, ret, err) : code;
}

static int write_live(const char *folder, uint64_t generation, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    char text[32];
    int size = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)generation);
    int code = disk_join(path, folder, "live", err);
    return code == 0 ? disk_replace_file(disk_posix(), path, bytes_of(text, (size_t)size), 0, err) : code;
}

static int read_live(const char *folder, uint64_t *ret_generation, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text;
    buf_init(&text, 32);
    int code = disk_join(path, folder, "live", err);
    if (code == 0)
        code = disk_read_file(disk_posix(), path, &text, err);
    if (code == 0 &&
        (text.size_bytes < 2 || text.data[text.size_bytes - 1] != '\n' ||
         parse_u64((const char *)text.data, text.size_bytes - 1, ret_generation) != 0 || *ret_generation == 0))
        code =
            err_set(err, ERR_CORRUPT,
                    "%s does not hold a generation's number; remove the folder and create the projection again", path);
    buf_free(&text);
    return code;
}

static int new_projection(const char *folder, struct bytes sql, const struct projection_server *server,
                          const struct projection_bounds *bounds, struct projection **ret, struct err *err)
{
    struct projection *projection = mem_alloc_zero(1, sizeof(*projection));
    if (projection == NULL)
        return err_no_memory(err, "a projection");
    int code = projection_spec_parse(sql, &projection->spec, err);
    if (code == 0 && strlen(folder) >= sizeof(projection->folder))
        code = err_set(err, ERR_TOO_LARGE, "the path of the projection is too long");
    if (code == 0 && server != NULL && strlen(projection_name(projection)) > PROJECTION_SCHEMA_NAME_MAX_BYTES)
        code = err_set(err, ERR_INVALID, "the name of a projection in PostgreSQL has at most %d characters",
                       PROJECTION_SCHEMA_NAME_MAX_BYTES);
    if (code != 0) {
        projection_close(projection);
        return code;
    }
    memcpy(projection->folder, folder, strlen(folder) + 1);
    projection->server = server;
    if (bounds != NULL)
        projection->bounds = *bounds;
    *ret = projection;
    return 0;
}

/* --- Creating --- */

static int write_server(const struct projection *projection, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    char text[PROJECTION_SERVER_NAME_MAX_BYTES + 2];
    if (in_files(projection))
        return 0;
    int size = snprintf(text, sizeof(text), "%.63s\n", projection->server->name);
    int code = disk_join(path, projection->folder, "database", err);
    return code == 0 ? disk_replace_file(disk_posix(), path, bytes_of(text, (size_t)size), 0, err) : code;
}

static int make_first(struct projection *projection, struct err *err)
{
    if (!in_files(projection))
        return projection_schema_open(projection->server, projection_name(projection), SCHEMA_CREATE, 1,
                                      projection->spec, &projection->live, err);
    int code = remove_generation(projection->folder, 1, err); /* of a creation that a crash cut short */
    return code == 0 ? open_file(projection, 1, &projection->live, err) : code;
}

static int fill_folder(struct projection *projection, const char *sql_path, struct bytes sql, struct err *err)
{
    int code = disk_make_dir(disk_posix(), projection->folder, err);
    if (code == 0)
        code = disk_replace_file(disk_posix(), sql_path, sql, 0, err);
    if (code == 0)
        code = write_server(projection, err);
    if (code == 0)
        code = make_first(projection, err);
    if (code == 0)
        code = write_live(projection->folder, 1, err);
    projection->generation = 1;
    return code;
}

static int remove_if_there(const char *path)
{
    int code = disk_remove(disk_posix(), path, NULL);
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int remove_named(const char *folder, const char *name)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, folder, name, NULL);
    return code == 0 ? remove_if_there(path) : code;
}

/* `live` goes first: without it the rest is no projection, should removing fail half-way. */
static int undo_creation(struct projection *projection)
{
    int code = remove_named(projection->folder, "live");
    if (code == 0 && !in_files(projection) && projection->live != NULL)
        code = projection_schema_drop(projection->live, projection_name(projection), NULL);
    if (code == 0 && in_files(projection))
        code = remove_generation(projection->folder, 1, NULL);
    if (code == 0)
        code = remove_named(projection->folder, "database");
    if (code == 0)
        code = remove_named(projection->folder, "projection.sql");
    return code == 0 ? remove_if_there(projection->folder) : code;
}

int projection_take_back(struct projection *projection, int code, struct err *err)
{
    if (undo_creation(projection) != 0)
        code = err_wrap(err, code, "(and %s could not be removed)", projection->folder);
    projection_close(projection);
    return code;
}

int projection_create(const char *folder, struct bytes sql, const struct projection_server *server,
                      const struct projection_bounds *bounds, struct projection **ret, struct err *err)
{
    struct projection *projection = NULL;
    char sql_path[DISK_PATH_MAX_BYTES];
    uint64_t generation = 0;
    int code = read_live(folder, &generation, err);
    if (code == 0 || code == ERR_CORRUPT)
        return err_set(err, ERR_EXISTS, "%s holds a projection already", folder);
    if (code != ERR_NOT_FOUND)
        return code;
    code = disk_join(sql_path, folder, "projection.sql", err);
    if (code == 0)
        code = new_projection(folder, sql, server, bounds, &projection, err);
    if (code != 0)
        return code;
    code = fill_folder(projection, sql_path, sql, err);
    if (code != 0)
        return projection_take_back(projection, code, err);
    *ret = projection;
    return 0;
}

/* --- Opening and closing --- */

struct leftovers {
    const char *folder;
    uint64_t live;
    struct err *err;
};

static int remove_leftover(void *context, const char *name, bool is_dir)
{
    const struct leftovers *leftovers = context;
    const char *digits = name + 4;
    uint64_t generation = 0;
    (void)is_dir;
    if (strncmp(name, "gen-", 4) != 0 || parse_u64(digits, strspn(digits, "0123456789"), &generation) != 0 ||
        generation == leftovers->live)
        return 0;
    return remove_generation(leftovers->folder, generation, leftovers->err);
}

int projection_folder_server(const char *folder, char ret[PROJECTION_SERVER_NAME_MAX_BYTES + 1], struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text;
    buf_init(&text, PROJECTION_SERVER_NAME_MAX_BYTES + 1);
    int code = disk_join(path, folder, "database", err);
    if (code == 0)
        code = disk_read_file(disk_posix(), path, &text, NULL);
    size_t size = text.size_bytes;
    if (code == ERR_NOT_FOUND) {
        ret[0] = '\0';
        code = 0;
    } else if (code != 0) {
        err_set(err, code, "%s cannot be read", path);
    } else if (size < 2 || text.data[size - 1] != '\n' || memchr(text.data, '\0', size) != NULL) {
        code = err_set(err, ERR_CORRUPT, "%s does not hold a database's name", path);
    } else {
        memcpy(ret, text.data, size - 1);
        ret[size - 1] = '\0';
    }
    buf_free(&text);
    return code;
}

static int find_server(const char *folder, const struct projection_servers *servers,
                       const struct projection_server **ret, struct err *err)
{
    char name[PROJECTION_SERVER_NAME_MAX_BYTES + 1];
    int code = projection_folder_server(folder, name, err);
    if (code != 0 || name[0] == '\0')
        return code;
    for (size_t i = 0; servers != NULL && i < servers->count; i++) {
        if (strcmp(servers->items[i].name, name) == 0) {
            *ret = &servers->items[i];
            return 0;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "the projection lies in database \"%s\", which is not in the configuration",
                   name);
}

static int open_files(struct projection *projection, struct err *err)
{
    struct leftovers leftovers = {.folder = projection->folder, .live = projection->generation, .err = err};
    int code = disk_list(disk_posix(), projection->folder, remove_leftover, &leftovers, err);
    return code == 0 ? open_file(projection, projection->generation, &projection->live, err) : code;
}

static int open_schemas(struct projection *projection, struct err *err)
{
    char next[PROJECTION_NAME_MAX_BYTES + 1];
    next_schema(projection, next);
    int code = projection_schema_open(projection->server, projection_name(projection), SCHEMA_OPEN, 0, projection->spec,
                                      &projection->live, err);
    if (code != 0)
        return code;
    projection->generation = projection_schema_generation(projection->live);
    return projection_schema_drop(projection->live, next, err);
}

int projection_open(const char *folder, const struct projection_servers *servers,
                    const struct projection_bounds *bounds, struct projection **ret, struct err *err)
{
    struct projection *projection = NULL;
    const struct projection_server *server = NULL;
    char sql_path[DISK_PATH_MAX_BYTES];
    struct buf sql;
    uint64_t generation = 0;
    buf_init(&sql, PROJECTION_SQL_MAX_BYTES);
    int code = disk_join(sql_path, folder, "projection.sql", err);
    if (code == 0)
        code = disk_read_file(disk_posix(), sql_path, &sql, err);
    if (code == 0)
        code = read_live(folder, &generation, err);
    if (code == 0)
        code = find_server(folder, servers, &server, err);
    if (code == 0)
        code = new_projection(folder, buf_bytes(&sql), server, bounds, &projection, err);
    buf_free(&sql);
    if (code != 0)
        return code;
    projection->generation = generation;
    code = in_files(projection) ? open_files(projection, err) : open_schemas(projection, err);
    if (code != 0) {
        projection_close(projection);
        return code;
    }
    *ret = projection;
    return 0;
}

void projection_close(struct projection *projection)
{
    if (projection == NULL)
        return;
    projection_db_close(projection->live);
    projection_db_close(projection->next);
    projection_spec_free(projection->spec);
    mem_free(projection);
}

const struct projection_spec *projection_spec_of(const struct projection *projection)
{
    return projection->spec;
}

const char *projection_name(const struct projection *projection)
{
    return projection_spec_name(projection->spec);
}

const struct hash *projection_sql_digest(const struct projection *projection)
{
    return &projection->spec->digest;
}

const struct projection_server *projection_server_of(const struct projection *projection)
{
    return projection->server;
}

uint64_t projection_generation(const struct projection *projection)
{
    return projection->generation;
}

struct projection_db *projection_live(struct projection *projection)
{
    return projection->live;
}

struct projection_db *projection_next(struct projection *projection)
{
    return projection->next;
}

int projection_rebuild_begin(struct projection *projection, struct err *err)
{
    char next[PROJECTION_NAME_MAX_BYTES + 1];
    projection_db_close(projection->next);
    projection->next = NULL;
    next_schema(projection, next);
    if (!in_files(projection))
        return projection_schema_open(projection->server, next, SCHEMA_REPLACE, projection->generation + 1,
                                      projection->spec, &projection->next, err);
    int code = remove_generation(projection->folder, projection->generation + 1, err);
    return code == 0 ? open_file(projection, projection->generation + 1, &projection->next, err) : code;
}

/* The next generation is the live one from here on, whatever becomes of the old one. */
static void take_over(struct projection *projection)
{
    projection_db_close(projection->live);
    projection->live = projection->next;
    projection->next = NULL;
    projection->generation++;
}

int projection_rebuild_switch(struct projection *projection, struct err *err)
{
    PRE(projection->next != NULL);
    int code = in_files(projection) ? write_live(projection->folder, projection->generation + 1, err)
                                    : projection_schema_rename(projection->next, projection_name(projection), err);
    if (code != 0)
        return code;
    take_over(projection);
    return in_files(projection) ? remove_generation(projection->folder, projection->generation - 1, err) : 0;
}
