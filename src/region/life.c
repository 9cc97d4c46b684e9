/* What a region keeps on its disk about its own incarnations (life.h; incarnation.c decides).
 *
 *   logs/<region>-<n>      a log; the largest n is the own one
 *   signed/<region>-<n>    the latest checkpoint that the region signed of it. It is written before the note beside the
 *                          log, and kept apart from it on purpose: a log that is lost, or that an old backup took the
 *                          place of, must not take the memory of what was signed with it.
 *
 *   RESTORED               the directory was made from a backup; removed once a new log begins that is nobody's yet
 *
 * Beginning incarnation n: the folder and the first segment are made durable, then whoever runs the region starts it
 * again. A crash between leaves an empty log n, which the next start finds and asks the peers about. */
#include "region/life.h"

#include "base/planted.h"

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

/* 0 when the text is no checkpoint. */
static uint64_t size_of(struct bytes message)
{
    struct note note;
    struct checkpoint checkpoint;
    bool is_one = note_parse(message, &note, NULL) == 0 && checkpoint_parse(note.text, &checkpoint, NULL) == 0;
    return is_one ? checkpoint.size : 0;
}

int life_remember_signed(const struct store *store, const char *origin, struct bytes note, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf kept;
    buf_init(&kept, NOTE_MAX_BYTES);
    int code = store_path(store, "signed", origin, path, err);
    if (code == 0)
        code = disk_read_file(store->disk, path, &kept, err);
    code = code == ERR_NOT_FOUND ? 0 : code;
    /* One of the same size is written again: it may be here and not durable, when a sync failed and the process ended.
     */
    if (code == 0 && size_of(note) > 0 && size_of(note) >= size_of(buf_bytes(&kept)) && !PLANTED(forget_signed))
        code = disk_replace_file(store->disk, path, note, 0, err);
    buf_free(&kept);
    return code;
}

/* The own log's folder holds no segment: notes in it become what is remembered, and go. */
static int forget_notes(const struct store *store, const char *origin, const char *folder, struct err *err)
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
            code = disk_read_file(store->disk, path, &note, err);
        if (code == 0)
            code = life_remember_signed(store, origin, buf_bytes(&note), err);
        if (code == 0)
            code = disk_remove(store->disk, path, err);
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

int life_forget_lost_log(const struct store *store, const char *origin, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    bool has_segment = false;
    int code = store_path(store, "logs", origin, folder, err);
    if (code == 0)
        code = disk_list(store->disk, folder, see_segment, &has_segment, err);
    if (code == ERR_NOT_FOUND)
        return 0;
    return code == 0 && !has_segment ? forget_notes(store, origin, folder, err) : code;
}

int life_find_incarnation(const struct store *store, const char *region, uint64_t *ret, struct err *err)
{
    static const char *const folders[] = {"logs", "signed"};
    struct largest largest = {.region = region, .incarnation = 1};
    char path[DISK_PATH_MAX_BYTES];
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(folders) / sizeof(folders[0]); i++) {
        code = disk_join(path, store->folder, folders[i], err);
        if (code == 0)
            code = disk_make_dir(store->disk, path, err);
        if (code == 0)
            code = disk_list(store->disk, path, see_name, &largest, err);
    }
    if (code == 0)
        *ret = largest.incarnation;
    return code;
}

int life_find_mark(const struct store *store, bool *ret, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    uint32_t mode = 0;
    int code = disk_join(path, store->folder, LIFE_RESTORED_MARK, err);
    if (code == 0)
        code = disk_mode(store->disk, path, &mode, err);
    if (code == 0 || code == ERR_NOT_FOUND)
        *ret = code == 0;
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int remove_mark(const struct store *store, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, store->folder, LIFE_RESTORED_MARK, err);
    if (code == 0)
        code = disk_remove(store->disk, path, err);
    if (code == 0)
        code = disk_sync_dir(store->disk, store->folder, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

int life_begin(const struct store *store, const char *origin, uint64_t incarnation, bool fresh, struct err *err)
{
    struct origin parts;
    char begun[ENTRY_ORIGIN_MAX_BYTES + 1];
    char folder[DISK_PATH_MAX_BYTES];
    int code = origin_parse(bytes_of_string(origin), &parts, err);
    if (code != 0)
        return code;
    parts.incarnation = incarnation;
    origin_format(&parts, begun);
    code = store_path(store, "logs", begun, folder, err);
    if (code == 0)
        code = log_create(store->disk, folder, bytes_of_string(begun), &store->log_options, err);
    code = code == ERR_EXISTS ? 0 : code;
    return code == 0 && fresh ? remove_mark(store, err) : code;
}
