/* A disk that passes everything on to another one, counts what makes things durable, and fails one operation of a kind.
 * What the failing write leaves behind is chosen: nothing, or its first bytes, as a torn write would. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "support.h"

struct fault_file {
    struct disk *disk; /* first: disk.c looks here */
    struct disk_file *inner;
};

static struct fault_disk *fault_of(struct disk *disk)
{
    return (struct fault_disk *)(void *)disk;
}

static struct fault_file *file_of(struct disk_file *file)
{
    return (struct fault_file *)(void *)file;
}

static bool fails(struct disk *disk, enum fault_operation operation)
{
    struct fault_disk *fault = fault_of(disk);
    bool now = fault->crashed || ++fault->done[operation] == fault->fail_at[operation];
    fault->crashed = fault->crashed || now;
    return now;
}

static int injected(struct err *err)
{
    return err_set(err, ERR_IO, "injected failure");
}

static int fault_open(struct disk *disk, const char *path, unsigned flags, struct disk_file **ret, struct err *err)
{
    struct fault_file *file = mem_alloc(sizeof(*file));
    cr_assert_not_null(file);
    file->disk = disk;
    int code = disk_open(fault_of(disk)->inner, path, flags, &file->inner, err);
    if (code != 0) {
        mem_free(file);
        return code;
    }
    *ret = (struct disk_file *)(void *)file;
    return 0;
}

static void fault_close(struct disk_file *file)
{
    disk_close(file_of(file)->inner);
    mem_free(file);
}

static int fault_read(struct disk_file *file, uint64_t offset, void *out, size_t size, size_t *ret_size,
                      struct err *err)
{
    return disk_read(file_of(file)->inner, offset, out, size, ret_size, err);
}

static int fault_write(struct disk_file *file, uint64_t offset, const void *data, size_t size, struct err *err)
{
    struct fault_disk *fault = fault_of(file_of(file)->disk);
    bool was_crashed = fault->crashed;
    if (!fails(file_of(file)->disk, FAULT_WRITE))
        return disk_write(file_of(file)->inner, offset, data, size, err);
    size_t torn = fault->torn_bytes < size ? fault->torn_bytes : size;
    if (!was_crashed && torn > 0)
        cr_assert_eq(disk_write(file_of(file)->inner, offset, data, torn, NULL), 0);
    return injected(err);
}

static int fault_sync(struct disk_file *file, struct err *err)
{
    return fails(file_of(file)->disk, FAULT_SYNC) ? injected(err) : disk_sync(file_of(file)->inner, err);
}

static int fault_size(struct disk_file *file, uint64_t *ret_size, struct err *err)
{
    return disk_size(file_of(file)->inner, ret_size, err);
}

static int fault_allocate(struct disk_file *file, uint64_t size_bytes, struct err *err)
{
    return fails(file_of(file)->disk, FAULT_ALLOCATE) ? injected(err)
                                                      : disk_allocate(file_of(file)->inner, size_bytes, err);
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
    return disk_lock(file_of(file)->inner, err);
}

static int fault_make_dir(struct disk *disk, const char *path, struct err *err)
{
    return disk_make_dir(fault_of(disk)->inner, path, err);
}

static int fault_sync_dir(struct disk *disk, const char *path, struct err *err)
{
    return fails(disk, FAULT_SYNC_DIR) ? injected(err) : disk_sync_dir(fault_of(disk)->inner, path, err);
}

static int fault_list(struct disk *disk, const char *path, disk_list_fn *each, void *context, struct err *err)
{
    return disk_list(fault_of(disk)->inner, path, each, context, err);
}

static int fault_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
    return fails(disk, FAULT_RENAME) ? injected(err) : disk_rename(fault_of(disk)->inner, from, to, err);
}

static int fault_remove(struct disk *disk, const char *path, struct err *err)
{
    return fault_of(disk)->crashed ? injected(err) : disk_remove(fault_of(disk)->inner, path, err);
}

static int fault_mode(struct disk *disk, const char *path, uint32_t *ret_mode, struct err *err)
{
    return disk_mode(fault_of(disk)->inner, path, ret_mode, err);
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
