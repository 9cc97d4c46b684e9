/* What a region's server keeps about its own incarnations (region/incarnation.c decides, this carries out).
 *
 *   logs/<region>-<n>      a log; the largest n is the own one
 *   signed/<region>-<n>    the latest checkpoint that the region signed of it. It is written before the note beside the
 *                          log, and kept apart from it on purpose: a log that is lost, or that an old backup took the
 *                          place of, must not take the memory of what was signed with it.
 *
 *   RESTORED               the directory was made from a backup; removed once a log goes on or a new one begins
 *
 * Beginning incarnation n: the folder and the first segment are made durable, then the server asks its owner to stop it
 * and to start it again. A crash between leaves an empty log n, which the next start finds and asks the peers about. */
#include <stdio.h>

#include "base/mem.h"
#include "server/internal.h"

/* tally restore leaves this file in the data directory. */
static const char restored_mark[] = "RESTORED";

struct largest {
    const char *region;
    uint64_t incarnation;
};

static int see_name(void *context, const char *name, bool is_dir)
{
    struct largest *largest = context;
    size_t size = strlen(largest->region);
    uint64_t incarnation = 0;
    (void)is_dir;
    if (strncmp(name, largest->region, size) == 0 && name[size] == '-' &&
        parse_u64(name + size + 1, strlen(name + size + 1), &incarnation) == 0 && incarnation > largest->incarnation)
        largest->incarnation = incarnation;
    return 0;
}

static int load_signed(struct server *server, struct buf *out, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = store_path(&server->store, "signed", server->config->origin, path, err);
    if (code == 0)
        code = disk_read_file(server->disk, path, out, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* 0 when the text is no checkpoint. */
static uint64_t size_of(struct bytes message)
{
    struct note note;
    struct checkpoint checkpoint;
    bool is_one = note_parse(message, &note, NULL) == 0 && checkpoint_parse(note.text, &checkpoint, NULL) == 0;
    return is_one ? checkpoint.size : 0;
}

int life_remember_signed(struct server *server, struct bytes note, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf kept;
    buf_init(&kept, NOTE_MAX_BYTES);
    int code = store_path(&server->store, "signed", server->config->origin, path, err);
    if (code == 0)
        code = load_signed(server, &kept, err);
    if (code == 0 && size_of(note) > size_of(buf_bytes(&kept)))
        code = disk_replace_file(server->disk, path, note, 0, err);
    buf_free(&kept);
    return code;
}

/* The own log's folder holds no segment: notes in it become what is remembered, and go. */
static int forget_notes(struct server *server, const char *folder, struct err *err)
{
    static const char *const names[] = {"checkpoint", "checkpoint.published"};
    char path[DISK_PATH_MAX_BYTES];
    struct buf note;
    int code = 0;
    buf_init(&note, NOTE_MAX_BYTES);
    for (size_t i = 0; code == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        code = disk_join(path, folder, names[i], err);
        buf_clear(&note);
        if (code == 0)
            code = disk_read_file(server->disk, path, &note, err);
        if (code == 0)
            code = life_remember_signed(server, buf_bytes(&note), err);
        if (code == 0)
            code = disk_remove(server->disk, path, err);
        code = code == ERR_NOT_FOUND ? 0 : code;
    }
    buf_free(&note);
    return code;
}

static int see_segment(void *context, const char *name, bool is_dir)
{
    size_t size = strlen(name);
    if (!is_dir && size > 4 && strcmp(name + size - 4, ".seg") == 0)
        *(bool *)context = true;
    return 0;
}

static int forget_lost_log(struct server *server, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    bool has_segment = false;
    int code = store_path(&server->store, "logs", server->config->origin, folder, err);
    if (code == 0)
        code = disk_list(server->disk, folder, see_segment, &has_segment, err);
    if (code == ERR_NOT_FOUND)
        return 0;
    return code == 0 && !has_segment ? forget_notes(server, folder, err) : code;
}

int life_find_incarnation(struct server *server, struct err *err)
{
    static const char *const folders[] = {"logs", "signed"};
    struct largest largest = {.region = server->config->region.region, .incarnation = 1};
    char path[DISK_PATH_MAX_BYTES];
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(folders) / sizeof(folders[0]); i++) {
        code = disk_join(path, server->config->folder, folders[i], err);
        if (code == 0)
            code = disk_make_dir(server->disk, path, err);
        if (code == 0)
            code = disk_list(server->disk, path, see_name, &largest, err);
    }
    if (code == 0)
        code = server_config_set_incarnation(server->config, largest.incarnation, err);
    return code == 0 ? forget_lost_log(server, err) : code;
}

int life_find_mark(struct server *server, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    uint32_t mode = 0;
    int code = disk_join(path, server->config->folder, restored_mark, err);
    if (code == 0)
        code = disk_mode(server->disk, path, &mode, err);
    server->config->region.restored = code == 0;
    return code == ERR_NOT_FOUND ? 0 : code;
}

int life_remove_mark(struct server *server, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    if (!server->config->region.restored)
        return 0;
    int code = disk_join(path, server->config->folder, restored_mark, err);
    if (code == 0)
        code = disk_remove(server->disk, path, err);
    if (code == 0)
        code = disk_sync_dir(server->disk, server->config->folder, err);
    server->config->region.restored = false;
    return code == ERR_NOT_FOUND ? 0 : code;
}

int life_begin(struct server *server, uint64_t incarnation, struct err *err)
{
    struct origin parts;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    char folder[DISK_PATH_MAX_BYTES];
    int code = origin_parse(bytes_of_string(server->config->origin), &parts, err);
    if (code != 0)
        return code;
    parts.incarnation = incarnation;
    origin_format(&parts, origin);
    code = store_path(&server->store, "logs", origin, folder, err);
    if (code == 0)
        code = log_create(server->disk, folder, bytes_of_string(origin), &server->store.log_options, err);
    code = code == ERR_EXISTS ? 0 : code;
    return code == 0 ? life_remove_mark(server, err) : code;
}
