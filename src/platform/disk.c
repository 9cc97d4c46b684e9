/* The checked front of the disk seam, and whole small files on top of it. */
#include "platform/disk.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"

static int check_path(const char *path, struct err *err)
{
    if (strlen(path) >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "path is longer than %d bytes: %.60s…", DISK_PATH_MAX_BYTES - 1, path);
    return 0;
}

int disk_open(struct disk *disk, const char *path, unsigned flags, struct disk_file **ret, struct err *err)
{
    PRE((flags & DISK_EXCLUSIVE) == 0 || (flags & DISK_CREATE) != 0);
    PRE((flags & DISK_CREATE) == 0 || (flags & DISK_WRITE) != 0);
    int code = check_path(path, err);
    return code != 0 ? code : disk->ops->open(disk, path, flags, ret, err);
}

/* Every file starts with a pointer to its disk: see struct disk_file in the implementations. */
struct disk_file {
    struct disk *disk;
};

void disk_close(struct disk_file *file)
{
    if (file != NULL)
        file->disk->ops->close(file);
}

int disk_read(struct disk_file *file, uint64_t offset, void *out, size_t size, size_t *ret_size, struct err *err)
{
    return file->disk->ops->read(file, offset, out, size, ret_size, err);
}

int disk_write(struct disk_file *file, uint64_t offset, const void *data, size_t size, struct err *err)
{
    return file->disk->ops->write(file, offset, data, size, err);
}

int disk_sync(struct disk_file *file, struct err *err)
{
    return file->disk->ops->sync(file, err);
}

int disk_size(struct disk_file *file, uint64_t *ret_size, struct err *err)
{
    return file->disk->ops->size(file, ret_size, err);
}

int disk_allocate(struct disk_file *file, uint64_t size_bytes, struct err *err)
{
    return file->disk->ops->allocate(file, size_bytes, err);
}

int disk_truncate(struct disk_file *file, uint64_t size_bytes, struct err *err)
{
    return file->disk->ops->truncate(file, size_bytes, err);
}

bool disk_is_direct(struct disk_file *file)
{
    return file->disk->ops->is_direct(file);
}

int disk_lock(struct disk_file *file, struct err *err)
{
    return file->disk->ops->lock(file, err);
}

int disk_make_dir(struct disk *disk, const char *path, struct err *err)
{
    int code = check_path(path, err);
    return code != 0 ? code : disk->ops->make_dir(disk, path, err);
}

int disk_sync_dir(struct disk *disk, const char *path, struct err *err)
{
    int code = check_path(path, err);
    return code != 0 ? code : disk->ops->sync_dir(disk, path, err);
}

int disk_list(struct disk *disk, const char *path, disk_list_fn *each, void *context, struct err *err)
{
    int code = check_path(path, err);
    return code != 0 ? code : disk->ops->list(disk, path, each, context, err);
}

int disk_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
    int code = check_path(from, err);
    if (code == 0)
        code = check_path(to, err);
    return code != 0 ? code : disk->ops->rename(disk, from, to, err);
}

int disk_remove(struct disk *disk, const char *path, struct err *err)
{
    int code = check_path(path, err);
    return code != 0 ? code : disk->ops->remove(disk, path, err);
}

int disk_mode(struct disk *disk, const char *path, uint32_t *ret_mode, struct err *err)
{
    int code = check_path(path, err);
    return code != 0 ? code : disk->ops->mode(disk, path, ret_mode, err);
}

int disk_join(char *out, const char *folder, const char *name, struct err *err)
{
    int size = snprintf(out, DISK_PATH_MAX_BYTES, "%s/%s", folder, name);
    if (size < 0 || size >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "path is longer than %d bytes: %.60s…/%.60s", DISK_PATH_MAX_BYTES - 1,
                       folder, name);
    return 0;
}

int disk_read_file(struct disk *disk, const char *path, struct buf *out, struct err *err)
{
    struct disk_file *file = NULL;
    int code = disk_open(disk, path, DISK_READ, &file, err);
    if (code != 0)
        return code;
    uint64_t size = 0;
    code = disk_size(file, &size, err);
    if (code == 0) {
        code = buf_reserve(out, size);
        if (code == ERR_TOO_LARGE)
            err_set(err, code, "%s: %llu bytes are more than the limit of %zu", path, (unsigned long long)size,
                    out->max_bytes);
        else if (code != 0)
            err_no_memory(err, path);
    }
    size_t read = 0;
    if (code == 0 && size > 0)
        code = disk_read(file, 0, out->data + out->size_bytes, size, &read, err);
    if (code == 0)
        out->size_bytes += read;
    disk_close(file);
    return code;
}

static int write_whole_file(struct disk *disk, const char *path, struct bytes contents, unsigned flags, struct err *err)
{
    struct disk_file *file = NULL;
    int code = disk_open(disk, path, DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE | (flags & DISK_PRIVATE), &file, err);
    if (code != 0)
        return code;
    if (contents.size_bytes > 0)
        code = disk_write(file, 0, contents.data, contents.size_bytes, err);
    if (code == 0 && !PLANTED(forget_file_sync))
        code = disk_sync(file, err);
    disk_close(file);
    return code;
}

int disk_replace_file(struct disk *disk, const char *path, struct bytes contents, unsigned flags, struct err *err)
{
    char temporary[DISK_PATH_MAX_BYTES];
    char folder[DISK_PATH_MAX_BYTES];
    int size = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (size < 0 || (size_t)size >= sizeof(temporary))
        return err_set(err, ERR_TOO_LARGE, "path is longer than %d bytes: %.60s…", DISK_PATH_MAX_BYTES - 1, path);
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path), slash == NULL ? "." : path);

    int code = disk_remove(disk, temporary, NULL); /* left by a crash */
    if (code != 0 && code != ERR_NOT_FOUND)
        return err_set(err, code, "cannot remove %s, which a crash left", temporary);
    code = write_whole_file(disk, temporary, contents, flags, err);
    if (code == 0)
        code = disk_rename(disk, temporary, path, err);
    if (code != 0) {
        (void)!disk_remove(disk, temporary, NULL);
        return code;
    }
    return disk_sync_dir(disk, folder[0] == '\0' ? "/" : folder, err);
}
