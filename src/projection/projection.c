/* A projection in its folder: the SQL, the generations, and which one is live.
 *
 *   projection.sql        as it was given
 *   gen-<n>.sqlite        a generation (with -wal and -shm while it is open)
 *   live                  the number of the live one, in decimal; replaced atomically
 *
 * Crash behaviour. Creating: `live` is written last, so a folder without it was never made, and is made again.
 * Rebuilding: the next generation is only a file until `live` names it; what `live` does not name is removed at the
 * next open. */
#include "projection/projection.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/disk.h"

struct projection {
    char folder[DISK_PATH_MAX_BYTES];
    struct projection_spec *spec;
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

static int open_generation(struct projection *projection, uint64_t generation, struct projection_db **ret,
                           struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = generation_path(projection->folder, generation, "", path, err);
    return code == 0 ? projection_db_open(path, projection->spec, ret, err) : code;
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

static int new_projection(const char *folder, struct bytes sql, struct projection **ret, struct err *err)
{
    struct projection *projection = mem_alloc_zero(1, sizeof(*projection));
    if (projection == NULL)
        return err_no_memory(err, "a projection");
    int code = projection_spec_parse(sql, &projection->spec, err);
    if (code == 0 && strlen(folder) >= sizeof(projection->folder))
        code = err_set(err, ERR_TOO_LARGE, "the path of the projection is too long");
    if (code != 0) {
        projection_close(projection);
        return code;
    }
    memcpy(projection->folder, folder, strlen(folder) + 1);
    *ret = projection;
    return 0;
}

static int fill_folder(struct projection *projection, const char *sql_path, struct bytes sql, struct err *err)
{
    int code = disk_make_dir(disk_posix(), projection->folder, err);
    if (code == 0)
        code = disk_replace_file(disk_posix(), sql_path, sql, 0, err);
    if (code == 0)
        code = remove_generation(projection->folder, 1, err); /* of a creation that a crash cut short */
    if (code == 0)
        code = open_generation(projection, 1, &projection->live, err);
    if (code == 0)
        code = write_live(projection->folder, 1, err);
    projection->generation = 1;
    return code;
}

/* Takes a creation back that failed: `live` first, as it was to be written last. */
static int remove_folder(const char *folder, const char *sql_path)
{
    char live_path[DISK_PATH_MAX_BYTES];
    int code = disk_join(live_path, folder, "live", NULL);
    if (code == 0)
        code = disk_remove(disk_posix(), live_path, NULL);
    if (code == 0 || code == ERR_NOT_FOUND)
        code = remove_generation(folder, 1, NULL);
    if (code == 0)
        code = disk_remove(disk_posix(), sql_path, NULL);
    if (code == 0 || code == ERR_NOT_FOUND)
        code = disk_remove(disk_posix(), folder, NULL);
    return code == ERR_NOT_FOUND ? 0 : code;
}

int projection_create(const char *folder, struct bytes sql, struct projection **ret, struct err *err)
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
        code = new_projection(folder, sql, &projection, err);
    if (code != 0)
        return code;
    code = fill_folder(projection, sql_path, sql, err);
    if (code != 0) {
        projection_close(projection);
        if (remove_folder(folder, sql_path) != 0)
            return err_wrap(err, code, "(and %s could not be removed)", folder);
        return code;
    }
    *ret = projection;
    return 0;
}

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

int projection_open(const char *folder, struct projection **ret, struct err *err)
{
    struct projection *projection = NULL;
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
        code = new_projection(folder, buf_bytes(&sql), &projection, err);
    buf_free(&sql);
    if (code != 0)
        return code;
    struct leftovers leftovers = {.folder = folder, .live = generation, .err = err};
    projection->generation = generation;
    code = disk_list(disk_posix(), folder, remove_leftover, &leftovers, err);
    if (code == 0)
        code = open_generation(projection, generation, &projection->live, err);
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

const char *projection_name(const struct projection *projection)
{
    return projection_spec_name(projection->spec);
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
    projection_db_close(projection->next);
    projection->next = NULL;
    int code = remove_generation(projection->folder, projection->generation + 1, err);
    return code == 0 ? open_generation(projection, projection->generation + 1, &projection->next, err) : code;
}

int projection_rebuild_switch(struct projection *projection, struct err *err)
{
    PRE(projection->next != NULL);
    int code = write_live(projection->folder, projection->generation + 1, err);
    if (code != 0)
        return code;
    projection_db_close(projection->live);
    projection->live = projection->next;
    projection->next = NULL;
    projection->generation++;
    return remove_generation(projection->folder, projection->generation - 1, err);
}
