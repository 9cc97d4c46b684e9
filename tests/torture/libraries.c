/* Faults of the libraries under us, as they report them: RocksDB's functions that may fail, sent here by the linker,
 * say "IO error" without being called; SQLite runs on a file system layer (a VFS in front of its own) whose reads,
 * writes, syncs and the like fail, so that its error codes and what it leaves in its files are its own. */
#include <sqlite3.h>
#include <stdlib.h>

#include "base/assert.h"
#include "torture/torture.h"

struct fault_calls torture_library;

static bool must_fail(void)
{
    return fault_calls_next(&torture_library);
}

/* --- RocksDB: opaque pointers are all that is needed of its types --- */

void *__real_rocksdb_open(const void *options, const char *name, char **failure);
void *__real_rocksdb_get_pinned(void *db, const void *options, const char *key, size_t size, char **failure);
void __real_rocksdb_sstfilewriter_open(void *writer, const char *name, char **failure);
void __real_rocksdb_sstfilewriter_put(void *writer, const char *key, size_t key_size, const char *value, size_t size,
                                      char **failure);
void __real_rocksdb_sstfilewriter_merge(void *writer, const char *key, size_t key_size, const char *value, size_t size,
                                        char **failure);
void __real_rocksdb_sstfilewriter_delete(void *writer, const char *key, size_t key_size, char **failure);
void __real_rocksdb_sstfilewriter_finish(void *writer, char **failure);
void __real_rocksdb_ingest_external_file(void *db, const char *const *names, size_t count, const void *options,
                                         char **failure);
void *__wrap_rocksdb_open(const void *options, const char *name, char **failure);
void *__wrap_rocksdb_get_pinned(void *db, const void *options, const char *key, size_t size, char **failure);
void __wrap_rocksdb_sstfilewriter_open(void *writer, const char *name, char **failure);
void __wrap_rocksdb_sstfilewriter_put(void *writer, const char *key, size_t key_size, const char *value, size_t size,
                                      char **failure);
void __wrap_rocksdb_sstfilewriter_merge(void *writer, const char *key, size_t key_size, const char *value, size_t size,
                                        char **failure);
void __wrap_rocksdb_sstfilewriter_delete(void *writer, const char *key, size_t key_size, char **failure);
void __wrap_rocksdb_sstfilewriter_finish(void *writer, char **failure);
void __wrap_rocksdb_ingest_external_file(void *db, const char *const *names, size_t count, const void *options,
                                         char **failure);

/* RocksDB's messages come from the C library's heap, and are given back to it. */
static bool fail_with_message(char **failure)
{
    if (!must_fail())
        return false;
    *failure = strdup("IO error: injected");
    return true;
}

void *__wrap_rocksdb_open(const void *options, const char *name, char **failure)
{
    return fail_with_message(failure) ? NULL : __real_rocksdb_open(options, name, failure);
}

void *__wrap_rocksdb_get_pinned(void *db, const void *options, const char *key, size_t size, char **failure)
{
    return fail_with_message(failure) ? NULL : __real_rocksdb_get_pinned(db, options, key, size, failure);
}

void __wrap_rocksdb_sstfilewriter_open(void *writer, const char *name, char **failure)
{
    if (!fail_with_message(failure))
        __real_rocksdb_sstfilewriter_open(writer, name, failure);
}

void __wrap_rocksdb_sstfilewriter_put(void *writer, const char *key, size_t key_size, const char *value, size_t size,
                                      char **failure)
{
    if (!fail_with_message(failure))
        __real_rocksdb_sstfilewriter_put(writer, key, key_size, value, size, failure);
}

void __wrap_rocksdb_sstfilewriter_merge(void *writer, const char *key, size_t key_size, const char *value, size_t size,
                                        char **failure)
{
    if (!fail_with_message(failure))
        __real_rocksdb_sstfilewriter_merge(writer, key, key_size, value, size, failure);
}

void __wrap_rocksdb_sstfilewriter_delete(void *writer, const char *key, size_t key_size, char **failure)
{
    if (!fail_with_message(failure))
        __real_rocksdb_sstfilewriter_delete(writer, key, key_size, failure);
}

void __wrap_rocksdb_sstfilewriter_finish(void *writer, char **failure)
{
    if (!fail_with_message(failure))
        __real_rocksdb_sstfilewriter_finish(writer, failure);
}

void __wrap_rocksdb_ingest_external_file(void *db, const char *const *names, size_t count, const void *options,
                                         char **failure)
{
    if (!fail_with_message(failure))
        __real_rocksdb_ingest_external_file(db, names, count, options, failure);
}

/* --- SQLite --- */

struct shim_file {
    sqlite3_file base; /* first */
    sqlite3_file *real;
};

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct shim_file *)(void *)file)->real;
}

static int shim_close(sqlite3_file *file)
{
    sqlite3_file *real = real_of(file);
    return real->pMethods == NULL ? SQLITE_OK : real->pMethods->xClose(real);
}

static int shim_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    sqlite3_file *real = real_of(file);
    return must_fail() ? SQLITE_IOERR_READ : real->pMethods->xRead(real, out, size, offset);
}

static int shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    sqlite3_file *real = real_of(file);
    return must_fail() ? SQLITE_FULL : real->pMethods->xWrite(real, data, size, offset);
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    sqlite3_file *real = real_of(file);
    return must_fail() ? SQLITE_IOERR_TRUNCATE : real->pMethods->xTruncate(real, size);
}

static int shim_sync(sqlite3_file *file, int flags)
{
    sqlite3_file *real = real_of(file);
    return must_fail() ? SQLITE_IOERR_FSYNC : real->pMethods->xSync(real, flags);
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    sqlite3_file *real = real_of(file);
    return must_fail() ? SQLITE_IOERR_FSTAT : real->pMethods->xFileSize(real, ret_size);
}

static int shim_lock(sqlite3_file *file, int level)
{
    sqlite3_file *real = real_of(file);
    return must_fail() ? SQLITE_IOERR_LOCK : real->pMethods->xLock(real, level);
}

static int shim_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int shim_reserved(sqlite3_file *file, int *ret)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret);
}

static int shim_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int shim_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int shim_traits(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int shim_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
    sqlite3_file *real = real_of(file);
    return must_fail() ? SQLITE_IOERR_SHMMAP : real->pMethods->xShmMap(real, region, size, extend, ret);
}

static int shim_map_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}

static void shim_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int shim_unmap(sqlite3_file *file, int delete_it)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete_it);
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 2,
        .xClose = shim_close,
        .xRead = shim_read,
        .xWrite = shim_write,
        .xTruncate = shim_truncate,
        .xSync = shim_sync,
        .xFileSize = shim_size,
        .xLock = shim_lock,
        .xUnlock = shim_unlock,
        .xCheckReservedLock = shim_reserved,
        .xFileControl = shim_control,
        .xSectorSize = shim_sector,
        .xDeviceCharacteristics = shim_traits,
        .xShmMap = shim_map,
        .xShmLock = shim_map_lock,
        .xShmBarrier = shim_barrier,
        .xShmUnmap = shim_unmap,
    };
    sqlite3_vfs *real = vfs->pAppData;
    struct shim_file *shim = (struct shim_file *)(void *)file;
    shim->base.pMethods = NULL;
    if (must_fail())
        return SQLITE_CANTOPEN;
    shim->real = (sqlite3_file *)(void *)(shim + 1);
    int code = real->xOpen(real, name, shim->real, flags, ret_flags);
    if (code == SQLITE_OK)
        shim->base.pMethods = &methods;
    return code;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    sqlite3_vfs *real = vfs->pAppData;
    return must_fail() ? SQLITE_IOERR_DELETE : real->xDelete(real, name, sync_folder);
}

static int shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    sqlite3_vfs *real = vfs->pAppData;
    return must_fail() ? SQLITE_IOERR_ACCESS : real->xAccess(real, name, flags, ret);
}

void torture_libraries_init(void)
{
    static sqlite3_vfs shim;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    INVARIANT(real != NULL);
    shim = *real;
    shim.zName = "torture";
    shim.pAppData = real;
    shim.pNext = NULL;
    shim.szOsFile = real->szOsFile + (int)sizeof(struct shim_file);
    shim.xOpen = shim_open;
    shim.xDelete = shim_delete;
    shim.xAccess = shim_access;
    INVARIANT(sqlite3_vfs_register(&shim, 1) == SQLITE_OK);
}
