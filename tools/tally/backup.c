/* See backup.h. */
#include "backup.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "log/copy.h"

int backup_copy_file(const char *from, const char *to, const char *name, bool private, struct err *err)
{
    char source[DISK_PATH_MAX_BYTES];
    char target[DISK_PATH_MAX_BYTES];
    struct buf contents;
    buf_init(&contents, BACKUP_FILE_MAX_BYTES);
    int code = disk_join(source, from, name, err);
    if (code == 0)
        code = disk_join(target, to, name, err);
    if (code == 0)
        code = disk_read_file(disk_posix(), source, &contents, err);
    if (code == 0)
        code = disk_replace_file(disk_posix(), target, buf_bytes(&contents), private ? DISK_PRIVATE : 0, err);
    if (contents.data != NULL)
        explicit_bzero(contents.data, contents.size_bytes); /* it may be a private key */
    buf_free(&contents);
    return code;
}

struct folder_copy {
    const char *from;
    const char *to;
    const char *suffix;
    bool private;
    struct err *err;
};

static int copy_one(void *context, const char *name, bool is_dir)
{
    struct folder_copy *copy = context;
    size_t size = strlen(name);
    size_t suffix = strlen(copy->suffix);
    if (is_dir || size < suffix || strcmp(name + size - suffix, copy->suffix) != 0)
        return 0;
    return backup_copy_file(copy->from, copy->to, name, copy->private, copy->err);
}

int backup_copy_folder(const char *from, const char *to, const char *folder, const char *suffix, bool private,
                       struct err *err)
{
    char source[DISK_PATH_MAX_BYTES];
    char target[DISK_PATH_MAX_BYTES];
    struct folder_copy copy = {.from = source, .to = target, .suffix = suffix, .private = private, .err = err};
    int code = disk_join(source, from, folder, err);
    if (code == 0)
        code = disk_join(target, to, folder, err);
    if (code == 0)
        code = disk_make_dir(disk_posix(), target, err);
    if (code == 0)
        code = disk_list(disk_posix(), source, copy_one, &copy, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* The bytes of a note and what it says. They are read once: a live log replaces its notes. */
struct read_note {
    struct buf text;
    struct checkpoint checkpoint;
};

static int take_note(const struct datadir_log *log, const char *name, const struct keyring *keys, struct read_note *ret,
                     struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, log->folder, name, err);
    if (code == 0)
        code = disk_read_file(disk_posix(), path, &ret->text, err);
    if (code != 0)
        return code == ERR_NOT_FOUND ? 0 : code;
    code = keyring_open(buf_bytes(&ret->text), keys, log->origin, &ret->checkpoint, err);
    return code == 0 ? 0 : err_wrap(err, code, "%s", path);
}

static int put_note(const char *folder, const char *name, const struct read_note *note, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, folder, name, err);
    return code == 0 ? disk_replace_file(disk_posix(), path, buf_bytes(&note->text), 0, err) : code;
}

/* The notes go where the entries are that they cover, after them. */
static int copy_noted(const struct datadir_log *log, const char *target, const struct read_note *latest,
                      const struct read_note *published, struct backup_log *ret, struct err *err)
{
    struct log_copy copy = {.disk = disk_posix(),
                            .from = log->folder,
                            .to = target,
                            .sha = sha256_new(),
                            .size = latest->checkpoint.size,
                            .ret_root = &ret->root};
    int code = copy.sha == NULL ? err_no_memory(err, "a hash context") : log_copy(&copy, err);
    sha256_free(copy.sha);
    if (code == 0 && copy.size > 0 && !hash_equal(&ret->root, &latest->checkpoint.root))
        code = err_set(err, ERR_CORRUPT, "log %s does not have the root that was signed for its %llu entries",
                       log->origin, (unsigned long long)copy.size);
    if (code == 0 && copy.size > 0)
        code = put_note(target, "checkpoint", latest, err);
    if (code == 0 && published->checkpoint.size > 0 && published->checkpoint.size <= copy.size)
        code = put_note(target, "checkpoint.published", published, err);
    ret->size = copy.size;
    return code;
}

int backup_copy_log(const char *from, const char *to, const char *key_path, const struct datadir_log *log,
                    struct backup_log *ret, struct err *err)
{
    struct read_note latest = {.checkpoint = {.size = 0}};
    struct read_note published = {.checkpoint = {.size = 0}};
    struct origin origin;
    struct keyring keys;
    char target[DISK_PATH_MAX_BYTES];
    buf_init(&latest.text, NOTE_MAX_BYTES);
    buf_init(&published.text, NOTE_MAX_BYTES);
    copy_string(ret->origin, sizeof(ret->origin), log->origin);
    int code = origin_parse(bytes_of_string(log->origin), &origin, err);
    if (code == 0)
        code = datadir_log_folder(to, &origin, target, err);
    if (code == 0)
        code = datadir_keys(from, key_path, &origin, &keys, err);
    if (code == 0)
        code = take_note(log, "checkpoint.published", &keys, &published, err);
    if (code == 0)
        code = take_note(log, "checkpoint", &keys, &latest, err);
    if (code == 0)
        code = copy_noted(log, target, &latest, &published, ret, err);
    buf_free(&published.text);
    buf_free(&latest.text);
    return code;
}

static int refuse_name(void *context, const char *name, bool is_dir)
{
    (void)context;
    (void)name;
    (void)is_dir;
    return ERR_EXISTS;
}

int backup_require_empty(const char *folder, struct err *err)
{
    int code = disk_make_dir(disk_posix(), folder, err);
    if (code == 0)
        code = disk_list(disk_posix(), folder, refuse_name, NULL, err);
    return code == ERR_EXISTS ? err_set(err, code, "%s is not empty; name a new folder", folder) : code;
}
