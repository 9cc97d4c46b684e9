/* Sorted files in RocksDB (files.h). The only file that knows RocksDB.
 *
 * RocksDB's memtables and its write-ahead log are not used: files are written by its SstFileWriter into the folder
 * `incoming` and ingested, which moves them (by a second name, and removing the first) and adds them to the manifest.
 * Appends are merge operands, which a merge operator joins.
 *
 * Invariants:
 *   1. Everything lies in one column family, because the C interface ingests into one at a time: so one ingestion is
 * one change of the manifest.
 *   2. The files of one ingestion do not overlap: they are cut in the order of keys.
 *   3. A file in `incoming` is removed at open before another can take its name: after a crash amid ingestion it may be
 * one of RocksDB's files under a second name.
 *
 * Failure: a block that fails RocksDB's checksum is ERR_CORRUPT, and the message says what happens next.
 *
 * Memory is bounded: block cache (index and filter blocks are charged to it) and open files have limits. RocksDB itself
 * aborts when memory runs out; only our own allocations answer ERR_NO_MEMORY. */
#include "index/files.h"

#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/clock.h"
#include "platform/disk.h"

enum {
    BLOCK_CACHE_BYTES = 64 * 1024 * 1024,
    OPEN_FILES_MAX = 256,
    BACKGROUND_JOBS = 2,
    FILTER_BITS_PER_KEY = 10,
    INFO_LOG_WARNINGS = 2, /* RocksDB's InfoLogLevel::WARN_LEVEL */
    INFO_LOG_MAX_BYTES = 1024 * 1024,
    INFO_LOGS_MAX = 2,
    LEVEL0_FILES_MAX = 32, /* then ingestion waits for compaction, */
    LEVEL0_PAUSE_MS = 10,  /* and looks so often */
    CUTS_MAX = 3,          /* files a writer makes: before the growing keys, of them, and behind them */
};

struct files {
    rocksdb_t *db;
    rocksdb_options_t *options; /* also of the files that are ingested */
    rocksdb_envoptions_t *file_options;
    rocksdb_ingestexternalfileoptions_t *ingest_options;
    uint64_t file_count; /* begun so far */
    char folder[DISK_PATH_MAX_BYTES];
    char incoming[DISK_PATH_MAX_BYTES];
};

struct files_base {
    struct files *files;
    atomic_uint holders;
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *options;
    bool highest_known; /* no key that begins with FILES_GROWING is above this one: */
    size_t highest_size_bytes;
    uint8_t highest[FILES_KEY_MAX_BYTES];
};

struct files_iterator {
    struct files *files;
    rocksdb_iterator_t *iterator;
    bool backwards;
};

struct files_writer {
    struct files *files;
    rocksdb_sstfilewriter_t *file; /* NULL: no file is begun */
    uint8_t last;                  /* first byte of the key written last */
    size_t count;
    char paths[CUTS_MAX][DISK_PATH_MAX_BYTES];
};

/* --- Errors --- */

int files_corrupt(struct files *files, const char *what, struct err *err)
{
    return err_set(
        err, ERR_CORRUPT,
        "the index in %s is damaged: %s; it is made again from the logs when the server starts, or delete the folder",
        files->folder, what);
}

/* RocksDB calls a merge that ran out of memory corruption: this thread's last one did. */
static _Thread_local bool join_failed;

/* The C interface gives statuses as text only. Frees message. */
static int failure(struct files *files, const char *doing, char *message, struct err *err)
{
    if (join_failed) {
        join_failed = false;
        rocksdb_free(message);
        return err_no_memory(err, "a value of the index");
    }
    int code;
    if (strstr(message, "No space left on device") != NULL)
        code = err_set(err, ERR_NO_SPACE, "%s the index in %s: the disk is full: %s", doing, files->folder, message);
    else if (strncmp(message, "Corruption", strlen("Corruption")) == 0)
        code = files_corrupt(files, message, err);
    else
        code = err_set(err, ERR_IO, "%s the index in %s: %s", doing, files->folder, message);
    rocksdb_free(message);
    return code;
}

static int open_failure(struct files *files, char *message, struct err *err)
{
    if (strstr(message, "While lock file") != NULL || strstr(message, "lock hold by current process") != NULL) {
        rocksdb_free(message);
        return err_set(err, ERR_LOCKED, "another process has the index in %s open; stop it first", files->folder);
    }
    /* The folder was made just before, so a missing file is one that the index's own manifest names. */
    if (strstr(message, "No such file") != NULL ||
        strncmp(message, "Invalid argument", strlen("Invalid argument")) == 0) {
        int code = files_corrupt(files, message, err);
        rocksdb_free(message);
        return code;
    }
    return failure(files, "opening", message, err);
}

/* --- Reading --- */

/* Nothing is said when RocksDB cannot read: the look-up that it is asked for next will say why. */
static void find_highest(struct files_base *base)
{
    const char behind[] = {FILES_GROWING + 1};
    size_t size = 0;
    char *message = NULL;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(base->files->db, base->options);
    rocksdb_iter_seek_for_prev(iterator, behind, sizeof(behind));
    const char *key = rocksdb_iter_valid(iterator) ? rocksdb_iter_key(iterator, &size) : NULL;
    if (size <= sizeof(base->highest)) {
        base->highest_known = true;
        base->highest_size_bytes = size;
        if (size > 0)
            memcpy(base->highest, key, size);
    }
    rocksdb_iter_get_error(iterator, &message);
    if (message != NULL)
        base->highest_known = false;
    rocksdb_free(message);
    rocksdb_iter_destroy(iterator);
}

/* Ids that grow with time: the common question, about a new one, ends here. */
static bool is_above_all(const struct files_base *base, struct bytes key)
{
    return base->highest_known && key.size_bytes > 0 && key.data[0] == FILES_GROWING &&
           bytes_compare(key, bytes_of(base->highest, base->highest_size_bytes)) > 0;
}

struct files_base *files_base_new(struct files *files)
{
    struct files_base *base = mem_alloc(sizeof(*base));
    if (base == NULL)
        return NULL;
    *base = (struct files_base){
        .files = files, .snapshot = rocksdb_create_snapshot(files->db), .options = rocksdb_readoptions_create()};
    atomic_init(&base->holders, 1);
    rocksdb_readoptions_set_snapshot(base->options, base->snapshot);
    find_highest(base);
    return base;
}

struct files_base *files_base_hold(struct files_base *base)
{
    atomic_fetch_add(&base->holders, 1);
    return base;
}

void files_base_release(struct files_base *base)
{
    if (base == NULL || atomic_fetch_sub(&base->holders, 1) > 1)
        return;
    rocksdb_readoptions_destroy(base->options);
    rocksdb_release_snapshot(base->files->db, base->snapshot);
    mem_free(base);
}

int files_get(const struct files_base *base, struct bytes key, struct buf *value, bool *ret_found, struct err *err)
{
    char *message = NULL;
    *ret_found = false;
    if (is_above_all(base, key))
        return 0;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(base->files->db, base->options, (const char *)key.data, key.size_bytes, &message);
    if (message != NULL)
        return failure(base->files, "reading", message, err);
    if (slice == NULL)
        return 0;
    size_t size = 0;
    const char *found = rocksdb_pinnableslice_value(slice, &size);
    buf_clear(value);
    int code = buf_append(value, bytes_of(found, size));
    rocksdb_pinnableslice_destroy(slice);
    *ret_found = code == 0;
    return code == 0 ? 0 : err_set(err, code, "a value of the index cannot be kept in memory");
}

struct files_iterator *files_seek(const struct files_base *base, struct bytes from, bool backwards)
{
    struct files_iterator *iterator = mem_alloc(sizeof(*iterator));
    if (iterator == NULL)
        return NULL;
    *iterator = (struct files_iterator){.files = base->files,
                                        .iterator = rocksdb_create_iterator(base->files->db, base->options),
                                        .backwards = backwards};
    (backwards ? rocksdb_iter_seek_for_prev : rocksdb_iter_seek)(iterator->iterator, (const char *)from.data,
                                                                 from.size_bytes);
    return iterator;
}

struct bytes files_key(const struct files_iterator *iterator)
{
    size_t size = 0;
    if (!rocksdb_iter_valid(iterator->iterator))
        return bytes_of(NULL, 0);
    const char *key = rocksdb_iter_key(iterator->iterator, &size);
    return bytes_of(key, size);
}

struct bytes files_value(const struct files_iterator *iterator)
{
    size_t size = 0;
    const char *value = rocksdb_iter_value(iterator->iterator, &size);
    return bytes_of(value, size);
}

void files_step(struct files_iterator *iterator)
{
    (iterator->backwards ? rocksdb_iter_prev : rocksdb_iter_next)(iterator->iterator);
}

int files_finish(struct files_iterator *iterator, struct err *err)
{
    char *message = NULL;
    rocksdb_iter_get_error(iterator->iterator, &message);
    int code = message == NULL ? 0 : failure(iterator->files, "reading", message, err);
    rocksdb_iter_destroy(iterator->iterator);
    mem_free(iterator);
    return code;
}

/* --- Writing --- */

int files_begin(struct files *files, struct files_writer **ret, struct err *err)
{
    struct files_writer *writer = mem_alloc(sizeof(*writer));
    if (writer == NULL)
        return err_no_memory(err, "files of the index");
    *writer = (struct files_writer){.files = files};
    *ret = writer;
    return 0;
}

static int begin_file(struct files_writer *writer, struct err *err)
{
    struct files *files = writer->files;
    char name[32];
    char *message = NULL;
    INVARIANT(writer->count < CUTS_MAX);
    (void)snprintf(name, sizeof(name), "%llu.sst", (unsigned long long)files->file_count++);
    int code = disk_join(writer->paths[writer->count], files->incoming, name, err);
    if (code != 0)
        return code;
    writer->file = rocksdb_sstfilewriter_create(files->file_options, files->options);
    rocksdb_sstfilewriter_open(writer->file, writer->paths[writer->count++], &message);
    return message == NULL ? 0 : failure(files, "writing", message, err);
}

static int end_file(struct files_writer *writer, struct err *err)
{
    char *message = NULL;
    if (writer->file == NULL)
        return 0;
    rocksdb_sstfilewriter_finish(writer->file, &message);
    rocksdb_sstfilewriter_destroy(writer->file);
    writer->file = NULL;
    return message == NULL ? 0 : failure(writer->files, "writing", message, err);
}

/* The file that the key belongs into is open afterwards. */
static int turn_to(struct files_writer *writer, struct bytes key, struct err *err)
{
    PRE(key.size_bytes > 0 && key.size_bytes <= FILES_KEY_MAX_BYTES);
    uint8_t first = key.data[0];
    bool cut = writer->last != first && (writer->last == FILES_GROWING || first == FILES_GROWING);
    int code = cut ? end_file(writer, err) : 0;
    writer->last = first;
    return code == 0 && writer->file == NULL ? begin_file(writer, err) : code;
}

int files_put(struct files_writer *writer, struct bytes key, struct bytes value, struct err *err)
{
    char *message = NULL;
    int code = turn_to(writer, key, err);
    if (code != 0)
        return code;
    rocksdb_sstfilewriter_put(writer->file, (const char *)key.data, key.size_bytes, (const char *)value.data,
                              value.size_bytes, &message);
    return message == NULL ? 0 : failure(writer->files, "writing", message, err);
}

int files_append(struct files_writer *writer, struct bytes key, struct bytes value, struct err *err)
{
    char *message = NULL;
    int code = turn_to(writer, key, err);
    if (code != 0)
        return code;
    rocksdb_sstfilewriter_merge(writer->file, (const char *)key.data, key.size_bytes, (const char *)value.data,
                                value.size_bytes, &message);
    return message == NULL ? 0 : failure(writer->files, "writing", message, err);
}

int files_remove(struct files_writer *writer, struct bytes key, struct err *err)
{
    char *message = NULL;
    int code = turn_to(writer, key, err);
    if (code != 0)
        return code;
    rocksdb_sstfilewriter_delete(writer->file, (const char *)key.data, key.size_bytes, &message);
    return message == NULL ? 0 : failure(writer->files, "writing", message, err);
}

static uint64_t property(struct files *files, const char *name)
{
    uint64_t value = 0;
    return rocksdb_property_int(files->db, name, &value) == 0 ? value : 0;
}

/* RocksDB holds up writes when it is behind with compaction, but not ingestions. When compaction failed there is
 * nothing to wait for: the ingestion will say so. */
static void await_compaction(struct files *files)
{
    while (property(files, "rocksdb.num-files-at-level0") > LEVEL0_FILES_MAX &&
           property(files, "rocksdb.background-errors") == 0)
        clock_sleep_ms(LEVEL0_PAUSE_MS);
}

int files_ingest(struct files_writer *writer, struct err *err)
{
    struct files *files = writer->files;
    const char *paths[CUTS_MAX];
    char *message = NULL;
    int code = end_file(writer, err);
    for (size_t i = 0; i < writer->count; i++)
        paths[i] = writer->paths[i];
    if (code == 0 && writer->count > 0) {
        await_compaction(files);
        rocksdb_ingest_external_file(files->db, paths, writer->count, files->ingest_options, &message);
        code = message == NULL ? 0 : failure(files, "writing", message, err);
    }
    mem_free(writer);
    return code;
}

/* What was written stays in `incoming` until the next open. */
void files_abandon(struct files_writer *writer)
{
    int code = end_file(writer, NULL);
    (void)code;
    mem_free(writer);
}

/* --- Appends --- */

static char *join(const char *existing, size_t existing_size, const char *const *operands, const size_t *sizes,
                  int count, unsigned char *success, size_t *ret_size)
{
    size_t size = existing_size;
    for (int i = 0; i < count; i++)
        size += sizes[i];
    char *joined = mem_alloc(size);
    *success = joined != NULL;
    join_failed = joined == NULL;
    *ret_size = 0; /* RocksDB copies so much of what is returned, also when it failed */
    if (joined == NULL)
        return NULL;
    size_t at = existing_size;
    if (existing_size > 0)
        memcpy(joined, existing, existing_size);
    for (int i = 0; i < count; at += sizes[i++]) {
        if (sizes[i] > 0)
            memcpy(joined + at, operands[i], sizes[i]);
    }
    *ret_size = size;
    return joined;
}

static char *join_all(void *state, const char *key, size_t key_size, const char *existing, size_t existing_size,
                      const char *const *operands, const size_t *sizes, int count, unsigned char *success,
                      size_t *ret_size)
{
    (void)state;
    (void)key;
    (void)key_size;
    return join(existing, existing == NULL ? 0 : existing_size, operands, sizes, count, success, ret_size);
}

static char *join_some(void *state, const char *key, size_t key_size, const char *const *operands, const size_t *sizes,
                       int count, unsigned char *success, size_t *ret_size)
{
    (void)state;
    (void)key;
    (void)key_size;
    return join(NULL, 0, operands, sizes, count, success, ret_size);
}

static void free_joined(void *state, const char *value, size_t size)
{
    (void)state;
    (void)size;
    mem_free((void *)(uintptr_t)value);
}

static void keep_state(void *state)
{
    (void)state;
}

static const char *name_of_appending(void *state)
{
    (void)state;
    return "tallystick.append";
}

/* --- Opening and closing --- */

static void set_table_options(rocksdb_options_t *options)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(FILTER_BITS_PER_KEY));
    rocksdb_block_based_options_set_whole_key_filtering(table, 1);
    rocksdb_block_based_options_set_index_type(table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_cache_destroy(cache);
    rocksdb_block_based_options_destroy(table);
}

static rocksdb_options_t *new_options(void)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_set_merge_operator(
        options, rocksdb_mergeoperator_create(NULL, keep_state, join_all, join_some, free_joined, name_of_appending));
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_max_background_jobs(options, BACKGROUND_JOBS);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_info_log_level(options, INFO_LOG_WARNINGS);
    rocksdb_options_set_max_log_file_size(options, INFO_LOG_MAX_BYTES);
    rocksdb_options_set_keep_log_file_num(options, INFO_LOGS_MAX);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    set_table_options(options);
    return options;
}

static int open_database(struct files *files, struct err *err)
{
    char *message = NULL;
    files->db = rocksdb_open(files->options, files->folder, &message);
    return message == NULL ? 0 : open_failure(files, message, err);
}

static int remove_left(void *context, const char *name, bool is_dir)
{
    struct files *files = context;
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, files->incoming, name, NULL);
    return code != 0 || is_dir ? code : disk_remove(disk_posix(), path, NULL);
}

/* Once RocksDB's lock is held: another process may have been writing there before. */
static int prepare_incoming(struct files *files, struct err *err)
{
    int code = disk_join(files->incoming, files->folder, "incoming", err);
    if (code == 0)
        code = disk_make_dir(disk_posix(), files->incoming, err);
    if (code == 0)
        code = disk_list(disk_posix(), files->incoming, remove_left, files, err);
    return code;
}

void files_close(struct files *files)
{
    if (files == NULL)
        return;
    if (files->db != NULL)
        rocksdb_close(files->db);
    rocksdb_ingestexternalfileoptions_destroy(files->ingest_options);
    rocksdb_envoptions_destroy(files->file_options);
    rocksdb_options_destroy(files->options);
    mem_free(files);
}

int files_open(const char *folder, struct files **ret, struct err *err)
{
    if (strlen(folder) >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the path of the index folder is longer than %d bytes",
                       DISK_PATH_MAX_BYTES - 1);
    int code = disk_make_dir(disk_posix(), folder, err);
    if (code != 0)
        return err_wrap(err, code, "opening the index");
    struct files *files = mem_alloc_zero(1, sizeof(*files));
    if (files == NULL)
        return err_no_memory(err, "the index");
    copy_string(files->folder, sizeof(files->folder), folder);
    files->options = new_options();
    files->file_options = rocksdb_envoptions_create();
    files->ingest_options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(files->ingest_options, 1);
    code = open_database(files, err);
    if (code == 0)
        code = prepare_incoming(files, err);
    if (code != 0) {
        files_close(files);
        return code;
    }
    *ret = files;
    return 0;
}
