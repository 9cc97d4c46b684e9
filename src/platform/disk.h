/* The disk seam: every byte that must survive goes through here. disk_posix is the real one; tests put others in front
 * of it, which count operations and fail them.
 *
 * Contract that the log's crash argument rests on; every implementation keeps it:
 *  - disk_write to a file opened DISK_DURABLE returns only after the bytes and the metadata needed to read them back
 * are on stable storage. On other files that holds after disk_sync.
 *  - A created, renamed or removed name is durable after disk_sync_dir of its folder.
 *  - After a failed write or sync nothing is promised about the bytes; the caller must not retry, it must stop.
 * Paths are relative to the process's working directory or absolute, at most DISK_PATH_MAX_BYTES with the NUL. */
#ifndef PLATFORM_DISK_H
#define PLATFORM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

enum { DISK_PATH_MAX_BYTES = 1024, DISK_ALIGNMENT_BYTES = 4096 };

enum disk_open_flags {
    DISK_READ = 1,
    DISK_WRITE = 2,     /* implies DISK_READ */
    DISK_CREATE = 4,    /* create when missing */
    DISK_EXCLUSIVE = 8, /* with DISK_CREATE: ERR_EXISTS when there */
    DISK_DURABLE =
        16, /* O_DIRECT|O_DSYNC; where the file system refuses O_DIRECT: buffered, fdatasync after each write */
    DISK_PRIVATE = 32, /* create with mode 0600 instead of 0644 */
};

struct disk_file;
struct disk;

/* One directory entry. name is valid during the callback. Returning non-zero stops the walk with that value. */
typedef int disk_list_fn(void *context, const char *name, bool is_dir);

/* What an implementation provides. Use the disk_… functions below, which check preconditions. */
struct disk_ops {
    int (*open)(struct disk *disk, const char *path, unsigned flags, struct disk_file **ret, struct err *err);
    void (*close)(struct disk_file *file);
    int (*read)(struct disk_file *file, uint64_t offset, void *out, size_t size, size_t *ret_size, struct err *err);
    int (*write)(struct disk_file *file, uint64_t offset, const void *data, size_t size, struct err *err);
    int (*sync)(struct disk_file *file, struct err *err);
    int (*size)(struct disk_file *file, uint64_t *ret_size, struct err *err);
    int (*allocate)(struct disk_file *file, uint64_t size_bytes, struct err *err);
    int (*truncate)(struct disk_file *file, uint64_t size_bytes, struct err *err);
    bool (*is_direct)(struct disk_file *file);
    int (*lock)(struct disk_file *file, struct err *err);
    int (*make_dir)(struct disk *disk, const char *path, struct err *err);
    int (*sync_dir)(struct disk *disk, const char *path, struct err *err);
    int (*list)(struct disk *disk, const char *path, disk_list_fn *each, void *context, struct err *err);
    int (*rename)(struct disk *disk, const char *from, const char *to, struct err *err);
    int (*remove)(struct disk *disk, const char *path, struct err *err);
    int (*mode)(struct disk *disk, const char *path, uint32_t *ret_mode, struct err *err);
};

struct disk {
    const struct disk_ops *ops;
};

/* The operating system's files. Static storage, any thread, never freed. */
struct disk *disk_posix(void);

/* *ret is owned by the caller: disk_close. ERR_INVALID for reading what is no file (a folder, a pipe, a device),
 * ERR_NOT_FOUND, ERR_EXISTS, ERR_PERMISSION, ERR_NO_SPACE, ERR_IO, ERR_TOO_LARGE (path), ERR_NO_MEMORY. */
int disk_open(struct disk *disk, const char *path, unsigned flags, struct disk_file **ret, struct err *err) MUST_USE;
/* Never fails: data that must survive was synced before. NULL is fine. */
void disk_close(struct disk_file *file);
/* Reads up to size bytes at offset; *ret_size is short only at the end of the file. Any thread, concurrently. */
int disk_read(struct disk_file *file, uint64_t offset, void *out, size_t size, size_t *ret_size,
              struct err *err) MUST_USE;
/* Writes all of it or fails (ERR_NO_SPACE, ERR_IO). For DISK_DURABLE files data, offset and size must be multiples of
 * DISK_ALIGNMENT_BYTES. One writer a file. */
int disk_write(struct disk_file *file, uint64_t offset, const void *data, size_t size, struct err *err) MUST_USE;
int disk_sync(struct disk_file *file, struct err *err) MUST_USE;
int disk_size(struct disk_file *file, uint64_t *ret_size, struct err *err) MUST_USE;
/* Makes the file at least size_bytes long with real blocks reserved, reading as zeros. ERR_NO_SPACE; where the file
 * system cannot reserve, it just extends. */
int disk_allocate(struct disk_file *file, uint64_t size_bytes, struct err *err) MUST_USE;
/* Sets the length: cuts, or extends with zeros without reserving. Durable after disk_sync. */
int disk_truncate(struct disk_file *file, uint64_t size_bytes, struct err *err) MUST_USE;
/* False when DISK_DURABLE had to fall back to buffered writes with fdatasync: say so at start. */
bool disk_is_direct(struct disk_file *file);
/* Exclusive lock for the life of the open file; ERR_LOCKED when another process (or file handle) has it. */
int disk_lock(struct disk_file *file, struct err *err) MUST_USE;
/* Missing parents are made too; existing folders are fine. Each new name is synced in its parent. */
int disk_make_dir(struct disk *disk, const char *path, struct err *err) MUST_USE;
int disk_sync_dir(struct disk *disk, const char *path, struct err *err) MUST_USE;
/* In name order (memcmp), without "." and "..". */
int disk_list(struct disk *disk, const char *path, disk_list_fn *each, void *context, struct err *err) MUST_USE;
int disk_rename(struct disk *disk, const char *from, const char *to, struct err *err) MUST_USE;
/* A file or an empty folder. ERR_NOT_FOUND. */
int disk_remove(struct disk *disk, const char *path, struct err *err) MUST_USE;
/* Permission bits (0777 mask) of a file. ERR_NOT_FOUND. */
int disk_mode(struct disk *disk, const char *path, uint32_t *ret_mode, struct err *err) MUST_USE;

/* Whole small files, built on the above. */

/* Appends the file's contents to *out; ERR_TOO_LARGE past out->max_bytes, ERR_NOT_FOUND. */
int disk_read_file(struct disk *disk, const char *path, struct buf *out, struct err *err) MUST_USE;
/* Replaces path atomically and durably: writes "<path>.tmp", syncs, renames, syncs the folder. A reader sees the old
 * contents or the new, never a mixture. flags: 0 or DISK_PRIVATE. */
int disk_replace_file(struct disk *disk, const char *path, struct bytes contents, unsigned flags,
                      struct err *err) MUST_USE;

/* Joins folder and name with "/"; out holds DISK_PATH_MAX_BYTES. ERR_TOO_LARGE. */
int disk_join(char *out, const char *folder, const char *name, struct err *err) MUST_USE;

#endif
