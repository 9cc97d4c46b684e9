/* The operating system's files behind the disk seam.
 *
 * A DISK_DURABLE file is opened twice: for writing with O_DIRECT | O_DSYNC, where each write returns when the bytes and
 * the size are on stable storage, and for reading through the page cache, which the kernel keeps coherent with direct
 * writes. Where O_DIRECT is refused (tmpfs, some network file systems), writes are buffered and followed by fdatasync:
 * the same promise, slower. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/disk.h"

struct posix_file {
    struct disk *disk; /* first: disk.c looks here */
    int read_fd;
    int write_fd; /* the same as read_fd unless direct */
    bool durable;
    bool direct;
    char path[];
};

static struct posix_file *posix(struct disk_file *file)
{
    return (struct posix_file *)(void *)file;
}

static int open_retry(const char *path, int flags, mode_t mode)
{
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* Whoever reads may be shown anything under a file's name. A device has no end, and a pipe keeps whoever opens it
 * waiting for its other end; O_NONBLOCK, which means nothing for files, lets the question be asked. */
static int check_regular(int fd, const char *path, struct err *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(err, errno, "cannot stat %s", path);
    return S_ISREG(status.st_mode) ? 0 : err_set(err, ERR_INVALID, "%s is not a regular file", path);
}

static void posix_close(struct disk_file *file)
{
    struct posix_file *self = posix(file);
    if (self->write_fd != self->read_fd)
        close(self->write_fd);
    close(self->read_fd);
    mem_free(self);
}

static int posix_open(struct disk *disk, const char *path, unsigned flags, struct disk_file **ret, struct err *err)
{
    size_t path_size = strlen(path) + 1;
    struct posix_file *file = mem_alloc(sizeof(*file) + path_size);
    if (file == NULL)
        return err_no_memory(err, "an open file");
    *file = (struct posix_file){.disk = disk, .durable = (flags & DISK_DURABLE) != 0};
    memcpy(file->path, path, path_size);

    int mode_flags = O_NONBLOCK | O_NOCTTY | ((flags & DISK_WRITE) ? O_RDWR : O_RDONLY);
    mode_flags |= (flags & DISK_CREATE) ? O_CREAT : 0;
    mode_flags |= (flags & DISK_EXCLUSIVE) ? O_EXCL : 0;
    file->read_fd = open_retry(path, mode_flags, (flags & DISK_PRIVATE) ? 0600 : 0644);
    if (file->read_fd < 0) {
        int code = err_errno(err, errno, "cannot open %s", path);
        mem_free(file);
        return code;
    }
    file->write_fd = file->read_fd;
    int code = (flags & DISK_WRITE) ? 0 : check_regular(file->read_fd, path, err);
    if (code != 0) {
        posix_close((struct disk_file *)(void *)file);
        return code;
    }
    if (file->durable && (flags & DISK_WRITE) != 0) {
        int fd = open_retry(path, O_RDWR | O_DIRECT | O_DSYNC, 0);
        if (fd >= 0) {
            file->write_fd = fd;
            file->direct = true;
        } else if (errno != EINVAL && errno != EOPNOTSUPP) {
            code = err_errno(err, errno, "cannot open %s for direct writes", path);
            posix_close((struct disk_file *)(void *)file);
            return code;
        }
    }
    *ret = (struct disk_file *)(void *)file;
    return 0;
}

static int posix_read(struct disk_file *base, uint64_t offset, void *out, size_t size, size_t *ret_size,
                      struct err *err)
{
    struct posix_file *file = posix(base);
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(file->read_fd, (char *)out + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, errno, "cannot read %s at offset %llu", file->path, (unsigned long long)offset);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *ret_size = done;
    return 0;
}

static int posix_write(struct disk_file *base, uint64_t offset, const void *data, size_t size, struct err *err)
{
    struct posix_file *file = posix(base);
    if (file->durable) {
        PRE((uintptr_t)data % DISK_ALIGNMENT_BYTES == 0);
        PRE(offset % DISK_ALIGNMENT_BYTES == 0);
        PRE(size % DISK_ALIGNMENT_BYTES == 0);
    }
    size_t done = 0;
    while (done < size) {
        ssize_t put = pwrite(file->write_fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_errno(err, errno, "cannot write %s at offset %llu", file->path, (unsigned long long)offset);
        if (put == 0)
            return err_set(err, ERR_IO, "cannot write %s at offset %llu: nothing was taken", file->path,
                           (unsigned long long)offset);
        done += (size_t)put;
    }
    if (file->durable && !file->direct && fdatasync(file->write_fd) != 0)
        return err_errno(err, errno, "cannot sync %s", file->path);
    return 0;
}

static int posix_sync(struct disk_file *base, struct err *err)
{
    struct posix_file *file = posix(base);
    if (fsync(file->write_fd) != 0)
        return err_errno(err, errno, "cannot sync %s", file->path);
    return 0;
}

static int posix_size(struct disk_file *base, uint64_t *ret_size, struct err *err)
{
    struct posix_file *file = posix(base);
    struct stat status;
    if (fstat(file->read_fd, &status) != 0)
        return err_errno(err, errno, "cannot stat %s", file->path);
    if (!S_ISREG(status.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a regular file", file->path);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

static int posix_allocate(struct disk_file *base, uint64_t size_bytes, struct err *err)
{
    struct posix_file *file = posix(base);
    uint64_t size = 0;
    int code = posix_size(base, &size, err);
    if (code != 0 || size >= size_bytes)
        return code;
    int failed;
    do {
        failed = fallocate(file->write_fd, 0, 0, (off_t)size_bytes);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0 && errno == EOPNOTSUPP)
        failed = ftruncate(file->write_fd, (off_t)size_bytes);
    if (failed != 0)
        return err_errno(err, errno, "cannot reserve %llu bytes for %s", (unsigned long long)size_bytes, file->path);
    return 0;
}

static int posix_truncate(struct disk_file *base, uint64_t size_bytes, struct err *err)
{
    struct posix_file *file = posix(base);
    if (ftruncate(file->write_fd, (off_t)size_bytes) != 0)
        return err_errno(err, errno, "cannot cut %s to %llu bytes", file->path, (unsigned long long)size_bytes);
    return 0;
}

static bool posix_is_direct(struct disk_file *file)
{
    return posix(file)->direct;
}

static int posix_lock(struct disk_file *base, struct err *err)
{
    struct posix_file *file = posix(base);
    if (flock(file->read_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(err, ERR_LOCKED, "%s is locked by another process; stop that one first", file->path);
    return err_errno(err, errno, "cannot lock %s", file->path);
}

static int posix_sync_dir(struct disk *disk, const char *path, struct err *err)
{
    (void)disk;
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_errno(err, errno, "cannot open folder %s", path);
    int code = fsync(fd) == 0 ? 0 : err_errno(err, errno, "cannot sync folder %s", path);
    close(fd);
    return code;
}

static int sync_parent(const char *path, struct err *err)
{
    char parent[DISK_PATH_MAX_BYTES];
    const char *slash = strrchr(path, '/');
    snprintf(parent, sizeof(parent), "%.*s", slash == NULL ? 1 : (int)(slash - path), slash == NULL ? "." : path);
    return posix_sync_dir(NULL, parent[0] == '\0' ? "/" : parent, err);
}

/* Whoever made the folder may have died before its name was synced. A parent that may not be opened is not one that we
 * made it in. */
static int sync_existing(const char *path, struct err *err)
{
    struct err refused = {0};
    int code = sync_parent(path, &refused);
    return code == 0 || code == ERR_PERMISSION ? 0 : err_set(err, code, "%s", refused.message);
}

static int posix_make_dir(struct disk *disk, const char *path, struct err *err)
{
    if (mkdir(path, 0755) == 0)
        return sync_parent(path, err);
    if (errno == EEXIST) {
        struct stat status;
        if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
            return sync_existing(path, err);
        return err_set(err, ERR_EXISTS, "%s is there already and is not a folder", path);
    }
    const char *slash = strrchr(path, '/');
    if (errno != ENOENT || slash == NULL || slash == path)
        return err_errno(err, errno, "cannot make folder %s", path);
    char parent[DISK_PATH_MAX_BYTES];
    snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    int code = posix_make_dir(disk, parent, err);
    if (code != 0)
        return code;
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return err_errno(err, errno, "cannot make folder %s", path);
    return posix_sync_dir(disk, parent, err);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int posix_list(struct disk *disk, const char *path, disk_list_fn *each, void *context, struct err *err)
{
    (void)disk;
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, by_name);
    if (count < 0)
        return err_errno(err, errno, "cannot list folder %s", path);
    int code = 0;
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (code == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            char full[DISK_PATH_MAX_BYTES];
            struct stat status;
            code = disk_join(full, path, name, err);
            if (code == 0)
                code = each(context, name, stat(full, &status) == 0 && S_ISDIR(status.st_mode));
        }
        free(names[i]); /* scandir's own */
    }
    free(names);
    return code;
}

static int posix_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
    (void)disk;
    if (rename(from, to) != 0)
        return err_errno(err, errno, "cannot rename %s to %s", from, to);
    return 0;
}

static int posix_remove(struct disk *disk, const char *path, struct err *err)
{
    (void)disk;
    if (remove(path) != 0)
        return err_errno(err, errno, "cannot remove %s", path);
    return 0;
}

static int posix_mode(struct disk *disk, const char *path, uint32_t *ret_mode, struct err *err)
{
    (void)disk;
    struct stat status;
    if (stat(path, &status) != 0)
        return err_errno(err, errno, "cannot stat %s", path);
    *ret_mode = status.st_mode & 0777;
    return 0;
}

struct disk *disk_posix(void)
{
    static const struct disk_ops ops = {
        .open = posix_open,
        .close = posix_close,
        .read = posix_read,
        .write = posix_write,
        .sync = posix_sync,
        .size = posix_size,
        .allocate = posix_allocate,
        .truncate = posix_truncate,
        .is_direct = posix_is_direct,
        .lock = posix_lock,
        .make_dir = posix_make_dir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
        .rename = posix_rename,
        .remove = posix_remove,
        .mode = posix_mode,
    };
    static struct disk disk = {.ops = &ops};
    return &disk;
}
