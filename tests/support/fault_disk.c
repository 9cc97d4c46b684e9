/* The disk that fails on command (fault_disk.h). Its own memory comes from the C library, so that it does not count
 * among the allocations of the code under test. */
#include "support/fault_disk.h"

#include <stdlib.h>

struct fault_file {
    struct disk *disk; /* first: disk.c looks here */
    struct disk_file *inner;
    bool durable;
};

static struct fault_disk *fault_of(struct disk *disk)
{
    return (struct fault_disk *)(void *)disk;
}

static struct fault_file *file_of(struct disk_file *file)
{
    return (struct fault_file *)(void *)file;
}

static bool fails_by_number(struct disk *disk)
{
    return fault_calls_next(&fault_of(disk)->numbered);
}

static bool fails_by_kind(struct disk *disk, enum fault_operation operation)
{
    struct fault_disk *fault = fault_of(disk);
    bool now = fault->crashed || ++fault->done[operation] == fault->fail_at[operation];
    fault->crashed = fault->crashed || now;
    return now;
}

static bool fails(struct disk *disk, enum fault_operation operation)
{
    bool by_number = fails_by_number(disk);
    return fails_by_kind(disk, operation) || by_number;
}

static int injected(struct err *err)
{
    return err_set(err, ERR_IO, "injected failure");
}

static int fault_open(struct disk *disk, const char *path, unsigned flags, struct disk_file **ret, struct err *err)
{
    if (fails_by_number(disk))
        return injected(err);
    struct fault_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        abort();
    file->disk = disk;
    file->durable = (flags & DISK_DURABLE) != 0;
    int code = disk_open(fault_of(disk)->inner, path, flags, &file->inner, err);
    if (code != 0) {
        free(file);
        return code;
    }
    fault_of(disk)->open_files++;
    *ret = (struct disk_file *)(void *)file;
    return 0;
}

static void fault_close(struct disk_file *file)
{
    fault_of(file_of(file)->disk)->open_files--;
    disk_close(file_of(file)->inner);
    free(file);
}

static int fault_read(struct disk_file *file, uint64_t offset, void *out, size_t size, size_t *ret_size,
                      struct err *err)
{
    return fails_by_number(file_of(file)->disk) ? injected(err)
                                                : disk_read(file_of(file)->inner, offset, out, size, ret_size, err);
}

static void tear(struct disk_file *file, uint64_t offset, const void *data, size_t size)
{
    if (size > 0 && disk_write(file, offset, data, size, NULL) != 0)
        abort();
}

/* Half of a write: to a durable file only whole aligned pieces can be written. */
static size_t half(const struct fault_file *file, size_t size)
{
    return file->durable ? size / 2 / DISK_ALIGNMENT_BYTES * DISK_ALIGNMENT_BYTES : size / 2;
}

static int fault_write(struct disk_file *file, uint64_t offset, const void *data, size_t size, struct err *err)
{
    struct fault_disk *fault = fault_of(file_of(file)->disk);
    bool was_crashed = fault->crashed;
    bool by_number = fails_by_number(file_of(file)->disk);
    bool by_kind = fails_by_kind(file_of(file)->disk, FAULT_WRITE);
    if (by_kind && !was_crashed)
        tear(file_of(file)->inner, offset, data, fault->torn_bytes < size ? fault->torn_bytes : size);
    else if (by_number && !by_kind)
        tear(file_of(file)->inner, offset, data, half(file_of(file), size));
    return by_kind || by_number ? injected(err) : disk_write(file_of(file)->inner, offset, data, size, err);
}

static int fault_sync(struct disk_file *file, struct err *err)
{
    return fails(file_of(file)->disk, FAULT_SYNC) ? injected(err) : disk_sync(file_of(file)->inner, err);
}

static int fault_size(struct disk_file *file, uint64_t *ret_size, struct err *err)
{
    return fails_by_number(file_of(file)->disk) ? injected(err) : disk_size(file_of(file)->inner, ret_size, err);
}

static int fault_allocate(struct disk_file *file, uint64_t size_bytes, struct err *err)
{
    struct fault_disk *fault = fault_of(file_of(file)->disk);
    if (fails(file_of(file)->disk, FAULT_ALLOCATE))
        return injected(err);
    if (fault->reserve_max_bytes > 0 && size_bytes > fault->reserve_max_bytes)
        size_bytes = fault->reserve_max_bytes;
    return disk_allocate(file_of(file)->inner, size_bytes, err);
}

static int fault_truncate(struct disk_file *file, uint64_t size_bytes, struct err *err)
{
    return fails(file_of(file)->disk, FAULT_TRUNCATE) ? injected(err)
                                                      : disk_truncate(file_of(file)->inner, size_bytes, err);
}

static bool fault_is_direct(struct disk_file *file)
{
    return disk_is_direct(file_of(file)->inner);
}

static int fault_lock(struct disk_file *file, struct err *err)
{
    return fails_by_number(file_of(file)->disk) ? injected(err) : disk_lock(file_of(file)->inner, err);
}

static int fault_make_dir(struct disk *disk, const char *path, struct err *err)
{
    return fails_by_number(disk) ? injected(err) : disk_make_dir(fault_of(disk)->inner, path, err);
}

static int fault_sync_dir(struct disk *disk, const char *path, struct err *err)
{
    return fails(disk, FAULT_SYNC_DIR) ? injected(err) : disk_sync_dir(fault_of(disk)->inner, path, err);
}

static int fault_list(struct disk *disk, const char *path, disk_list_fn *each, void *context, struct err *err)
{
    return fails_by_number(disk) ? injected(err) : disk_list(fault_of(disk)->inner, path, each, context, err);
}

static int fault_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
    return fails(disk, FAULT_RENAME) ? injected(err) : disk_rename(fault_of(disk)->inner, from, to, err);
}

static int fault_remove(struct disk *disk, const char *path, struct err *err)
{
    bool by_number = fails_by_number(disk);
    return by_number || fault_of(disk)->crashed ? injected(err) : disk_remove(fault_of(disk)->inner, path, err);
}

static int fault_mode(struct disk *disk, const char *path, uint32_t *ret_mode, struct err *err)
{
    return fails_by_number(disk) ? injected(err) : disk_mode(fault_of(disk)->inner, path, ret_mode, err);
}

void fault_disk_init(struct fault_disk *fault, struct disk *inner)
{
    static const struct disk_ops ops = {
        .open = fault_open,
        .close = fault_close,
        .read = fault_read,
        .write = fault_write,
        .sync = fault_sync,
        .size = fault_size,
        .allocate = fault_allocate,
        .truncate = fault_truncate,
        .is_direct = fault_is_direct,
        .lock = fault_lock,
        .make_dir = fault_make_dir,
        .sync_dir = fault_sync_dir,
        .list = fault_list,
        .rename = fault_rename,
        .remove = fault_remove,
        .mode = fault_mode,
    };
    *fault = (struct fault_disk){.disk = {.ops = &ops}, .inner = inner};
}
