/* The store in RocksDB. The only file that knows RocksDB.
 *
 * Everything lies in one column family. RocksDB's own write-ahead log is off, because the segments are the log: what is
 * lost here is replayed from them.
 *
 * A batch is collected in memory, so that its own reads see it before anybody else does, and is written at once, in
 * the order of keys. As long as there are only puts, they are in a hash map; with the first removal or walk they move
 * into RocksDB's indexed write batch.
 *
 * Invariants:
 *   1. One commit is one WriteBatch. RocksDB switches memtables only between batches and makes the memtables of one
 * column family durable in order. So whatever survives a crash is what some prefix of the commits wrote. Two column
 * families would lose this.
 *
 * Failure: a block that fails RocksDB's checksum is ERR_CORRUPT, and the message says what happens next. After a failed
 * background write RocksDB refuses further writes until reopened; look-ups go on.
 *
 * Memory is bounded: memtables, block cache (index and filter blocks are charged to it) and open files have limits.
 * RocksDB itself aborts when memory runs out; only our own allocations answer ERR_NO_MEMORY. */
#include <rocksdb/c.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "index/store.h"
#include "platform/clock.h"
#include "platform/disk.h"

enum {
    BLOCK_CACHE_BYTES = 64 * 1024 * 1024,
    MEMTABLE_BYTES = 32 * 1024 * 1024,
    MEMTABLES_MAX = 3,
    OPEN_FILES_MAX = 256,
    BACKGROUND_JOBS = 2,
    FILTER_BITS_PER_KEY = 10,
    INFO_LOG_WARNINGS = 2, /* RocksDB's InfoLogLevel::WARN_LEVEL */
    INFO_LOG_MAX_BYTES = 1024 * 1024,
    INFO_LOGS_MAX = 2,
    BATCH_MAX_BYTES = 256 * 1024 * 1024,
    BATCH_PUTS_MAX = 1024 * 1024,
};

struct store_view {
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read_options;
};

/* One put of a batch. */
struct put {
    struct bytes key;
    struct bytes value;
};

struct batch {
    bool open;
    rocksdb_writebatch_wi_t *sorted; /* NULL as long as there were only puts and gets: then all is in the others */
    struct arena arena;              /* of the puts */
    struct map puts;                 /* key -> the latest struct put of it */
};

struct store_rocksdb {
    struct store store;
    rocksdb_t *db;
    rocksdb_readoptions_t *read_options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_flushoptions_t *flush_options;
    struct store_view batch_view; /* only its address matters */
    struct batch batch;           /* the one that may be open */
    uint8_t hash_key[16];         /* of its map: outsiders choose keys */
    char folder[DISK_PATH_MAX_BYTES];
};

static struct store_rocksdb *from_store(struct store *store)
{
    return (struct store_rocksdb *)(void *)store;
}

/* --- Errors --- */

static int rocks_corrupt(struct store *store, const char *what, struct err *err)
{
    return err_set(
        err, ERR_CORRUPT,
        "the index in %s is damaged: %s; it is made again from the logs when the server starts, or delete the folder",
        from_store(store)->folder, what);
}

/* The C interface gives statuses as text only. Frees message. */
static int failure(struct store_rocksdb *rocks, const char *doing, char *message, struct err *err)
{
    int code;
    if (strstr(message, "No space left on device") != NULL)
        code = err_set(err, ERR_NO_SPACE, "%s the index in %s: the disk is full: %s", doing, rocks->folder, message);
    else if (strncmp(message, "Corruption", strlen("Corruption")) == 0)
        code = rocks_corrupt(&rocks->store, message, err);
    else
        code = err_set(err, ERR_IO, "%s the index in %s: %s", doing, rocks->folder, message);
    rocksdb_free(message);
    return code;
}

static int open_failure(struct store_rocksdb *rocks, char *message, struct err *err)
{
    if (strstr(message, "While lock file") != NULL || strstr(message, "lock hold by current process") != NULL) {
        rocksdb_free(message);
        return err_set(err, ERR_LOCKED, "another process has the index in %s open; stop it first", rocks->folder);
    }
    /* The folder was made just before, so a missing file is one that the index's own manifest names. */
    if (strstr(message, "No such file") != NULL ||
        strncmp(message, "Invalid argument", strlen("Invalid argument")) == 0) {
        int code = rocks_corrupt(&rocks->store, message, err);
        rocksdb_free(message);
        return code;
    }
    return failure(rocks, "opening", message, err);
}

/* --- Reading --- */

/* From here on the batch is sorted. */
static rocksdb_writebatch_wi_t *sort_batch(struct store_rocksdb *rocks)
{
    struct batch *batch = &rocks->batch;
    if (batch->sorted != NULL)
        return batch->sorted;
    batch->sorted = rocksdb_writebatch_wi_create(0, 1);
    struct bytes key;
    void *value = NULL;
    for (size_t at = 0; map_next(&batch->puts, &at, &key, &value);) {
        const struct put *put = value;
        rocksdb_writebatch_wi_put(batch->sorted, (const char *)put->key.data, put->key.size_bytes,
                                  (const char *)put->value.data, put->value.size_bytes);
    }
    return batch->sorted;
}

static int rocks_view_open(struct store *store, struct store_view **ret, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    struct store_view *view = mem_alloc(sizeof(*view));
    if (view == NULL)
        return err_no_memory(err, "a view of the index");
    *view = (struct store_view){.snapshot = rocksdb_create_snapshot(rocks->db),
                                .read_options = rocksdb_readoptions_create()};
    rocksdb_readoptions_set_snapshot(view->read_options, view->snapshot);
    *ret = view;
    return 0;
}

static void rocks_view_close(struct store *store, struct store_view *view)
{
    struct store_rocksdb *rocks = from_store(store);
    PRE(view != &rocks->batch_view);
    rocksdb_readoptions_destroy(view->read_options);
    rocksdb_release_snapshot(rocks->db, view->snapshot);
    mem_free(view);
}

static int get_sorted(struct store_rocksdb *rocks, struct bytes key, struct buf *value, bool *ret_found,
                      struct err *err)
{
    char *message = NULL;
    size_t size = 0;
    char *found = rocksdb_writebatch_wi_get_from_batch_and_db(rocks->batch.sorted, rocks->db, rocks->read_options,
                                                              (const char *)key.data, key.size_bytes, &size, &message);
    if (message != NULL)
        return failure(rocks, "reading", message, err);
    int code = 0;
    if (found != NULL) {
        buf_clear(value);
        code = buf_append(value, bytes_of(found, size));
    }
    *ret_found = found != NULL;
    rocksdb_free(found);
    return code == 0 ? 0 : err_no_memory(err, "a value of the index");
}

static int rocks_get(struct store *store, const struct store_view *view, struct bytes key, struct buf *value,
                     bool *ret_found, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    char *message = NULL;
    bool in_batch = view == &rocks->batch_view;
    if (in_batch && rocks->batch.sorted != NULL)
        return get_sorted(rocks, key, value, ret_found, err);
    const struct put *put = in_batch ? map_get(&rocks->batch.puts, key) : NULL;
    if (put != NULL) {
        buf_clear(value);
        *ret_found = true;
        return buf_append(value, put->value) == 0 ? 0 : err_no_memory(err, "a value of the index");
    }
    const rocksdb_readoptions_t *options = view == STORE_LATEST || in_batch ? rocks->read_options : view->read_options;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(rocks->db, options, (const char *)key.data, key.size_bytes, &message);
    if (message != NULL)
        return failure(rocks, "reading", message, err);
    int code = 0;
    if (slice != NULL) {
        size_t size = 0;
        const char *found = rocksdb_pinnableslice_value(slice, &size);
        buf_clear(value);
        code = buf_append(value, bytes_of(found, size));
        rocksdb_pinnableslice_destroy(slice);
    }
    *ret_found = slice != NULL;
    return code == 0 ? 0 : err_no_memory(err, "a value of the index");
}

static int walk_from(struct store_rocksdb *rocks, rocksdb_iterator_t *iterator, struct bytes prefix, bool backwards,
                     store_walk_fn *each, void *context, struct err *err)
{
    int code = 0;
    while (code == 0 && rocksdb_iter_valid(iterator)) {
        size_t key_size = 0;
        size_t value_size = 0;
        const char *key = rocksdb_iter_key(iterator, &key_size);
        if (key_size < prefix.size_bytes || memcmp(key, prefix.data, prefix.size_bytes) != 0)
            break;
        const char *value = rocksdb_iter_value(iterator, &value_size);
        code = each(context, bytes_of(key, key_size), bytes_of(value, value_size), err);
        if (code == 0)
            (backwards ? rocksdb_iter_prev : rocksdb_iter_next)(iterator);
    }
    char *message = NULL;
    rocksdb_iter_get_error(iterator, &message);
    if (message != NULL)
        return failure(rocks, "reading", message, err);
    return code == ERR_END ? 0 : code;
}

static int rocks_walk(struct store *store, const struct store_view *view, struct bytes prefix, struct bytes from,
                      bool backwards, store_walk_fn *each, void *context, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    bool in_batch = view == &rocks->batch_view;
    bool other = view != STORE_LATEST && !in_batch;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(rocks->db, other ? view->read_options : rocks->read_options);
    if (in_batch) /* takes over the iterator below it */
        iterator = rocksdb_writebatch_wi_create_iterator_with_base(sort_batch(rocks), iterator);
    (backwards ? rocksdb_iter_seek_for_prev : rocksdb_iter_seek)(iterator, (const char *)from.data, from.size_bytes);
    int code = walk_from(rocks, iterator, prefix, backwards, each, context, err);
    rocksdb_iter_destroy(iterator);
    return code;
}

/* --- Changing --- */

static int rocks_begin(struct store *store, struct store_view **ret, struct err *err)
{
    (void)err;
    struct store_rocksdb *rocks = from_store(store);
    struct batch *batch = &rocks->batch;
    PRE(!batch->open);
    *batch = (struct batch){.open = true};
    arena_init(&batch->arena, BATCH_MAX_BYTES);
    map_init(&batch->puts, BATCH_PUTS_MAX, rocks->hash_key);
    *ret = &rocks->batch_view;
    return 0;
}

static void end_batch(struct batch *batch)
{
    map_free(&batch->puts);
    arena_free(&batch->arena);
    if (batch->sorted != NULL)
        rocksdb_writebatch_wi_destroy(batch->sorted);
    *batch = (struct batch){.open = false};
}

static struct put *new_put(struct batch *batch, struct bytes key, struct bytes value)
{
    struct put *put = arena_alloc(&batch->arena, sizeof(*put) + key.size_bytes + value.size_bytes);
    if (put == NULL)
        return NULL;
    uint8_t *copy = (uint8_t *)(put + 1);
    memcpy(copy, key.data, key.size_bytes);
    if (value.size_bytes > 0)
        memcpy(copy + key.size_bytes, value.data, value.size_bytes);
    *put =
        (struct put){.key = bytes_of(copy, key.size_bytes), .value = bytes_of(copy + key.size_bytes, value.size_bytes)};
    return put;
}

static int rocks_put(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    struct batch *batch = &from_store(store)->batch;
    if (batch->sorted != NULL) {
        rocksdb_writebatch_wi_put(batch->sorted, (const char *)key.data, key.size_bytes, (const char *)value.data,
                                  value.size_bytes);
        return 0;
    }
    struct put *put = new_put(batch, key, value);
    if (put == NULL || map_put(&batch->puts, put->key, put) != 0)
        return err_no_memory(err, "a batch of the index");
    return 0;
}

static int rocks_remove(struct store *store, struct bytes key, struct err *err)
{
    (void)err;
    rocksdb_writebatch_wi_delete(sort_batch(from_store(store)), (const char *)key.data, key.size_bytes);
    return 0;
}

static void rocks_abort(struct store *store)
{
    end_batch(&from_store(store)->batch);
}

/* A put and the first bytes of its key as numbers: most comparisons end there. */
struct sorting {
    uint64_t first, second;
    const struct put *put;
};

static uint64_t key_word(struct bytes key, size_t at)
{
    uint8_t word[8] = {0};
    if (key.size_bytes > at)
        memcpy(word, key.data + at, key.size_bytes - at < sizeof(word) ? key.size_bytes - at : sizeof(word));
    return get_u64_be(word);
}

static int compare_puts(const void *a, const void *b)
{
    const struct sorting *left = a;
    const struct sorting *right = b;
    if (left->first != right->first)
        return left->first < right->first ? -1 : 1;
    if (left->second != right->second)
        return left->second < right->second ? -1 : 1;
    return bytes_compare(left->put->key, right->put->key);
}

/* The latest put of each key, in the order of keys: each then goes into the memtable beside the one before it, where
 * the skip list need not be searched from its top and the nodes to compare with are in the processor's cache. */
static rocksdb_writebatch_t *batch_in_order(struct batch *batch)
{
    struct sorting *puts = mem_alloc(batch->puts.live_count * sizeof(*puts));
    struct bytes key;
    void *value = NULL;
    size_t count = 0;
    if (puts == NULL)
        return NULL;
    for (size_t at = 0; map_next(&batch->puts, &at, &key, &value); count++)
        puts[count] = (struct sorting){.first = key_word(key, 0), .second = key_word(key, 8), .put = value};
    qsort(puts, count, sizeof(*puts), compare_puts);
    rocksdb_writebatch_t *in_order = rocksdb_writebatch_create();
    for (size_t i = 0; i < count; i++)
        rocksdb_writebatch_put(in_order, (const char *)puts[i].put->key.data, puts[i].put->key.size_bytes,
                               (const char *)puts[i].put->value.data, puts[i].put->value.size_bytes);
    mem_free(puts);
    return in_order;
}

static int rocks_commit(struct store *store, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    rocksdb_writebatch_t *in_order = NULL;
    char *message = NULL;
    if (rocks->batch.sorted == NULL) {
        in_order = batch_in_order(&rocks->batch);
        if (in_order == NULL) {
            end_batch(&rocks->batch);
            return err_no_memory(err, "a batch of the index");
        }
        rocksdb_write(rocks->db, rocks->write_options, in_order, &message);
        rocksdb_writebatch_destroy(in_order);
    } else {
        rocksdb_write_writebatch_wi(rocks->db, rocks->write_options, rocks->batch.sorted, &message);
    }
    end_batch(&rocks->batch);
    return message == NULL ? 0 : failure(rocks, "writing", message, err);
}

static int rocks_put_alone(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    char *message = NULL;
    rocksdb_put(rocks->db, rocks->write_options, (const char *)key.data, key.size_bytes, (const char *)value.data,
                value.size_bytes, &message);
    return message == NULL ? 0 : failure(rocks, "writing", message, err);
}

static int rocks_flush(struct store *store, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    char *message = NULL;
    rocksdb_flush(rocks->db, rocks->flush_options, &message);
    return message == NULL ? 0 : failure(rocks, "flushing", message, err);
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
    rocksdb_options_set_compression(options, rocksdb_no_compression); /* ids and places are close to random */
    rocksdb_options_set_write_buffer_size(options, MEMTABLE_BYTES);
    rocksdb_options_set_max_write_buffer_number(options, MEMTABLES_MAX);
    rocksdb_options_set_memtable_whole_key_filtering(options, 1);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(options, 0.05);
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

static int open_database(struct store_rocksdb *rocks, struct err *err)
{
    rocksdb_options_t *options = new_options();
    char *message = NULL;
    rocks->db = rocksdb_open(options, rocks->folder, &message);
    rocksdb_options_destroy(options);
    return message == NULL ? 0 : open_failure(rocks, message, err);
}

static void rocks_close(struct store *store)
{
    struct store_rocksdb *rocks = from_store(store);
    if (rocks->db != NULL)
        rocksdb_close(rocks->db);
    rocksdb_flushoptions_destroy(rocks->flush_options);
    rocksdb_writeoptions_destroy(rocks->write_options);
    rocksdb_readoptions_destroy(rocks->read_options);
    mem_free(rocks);
}

static const struct store_ops rocks_ops = {
    .view_open = rocks_view_open,
    .view_close = rocks_view_close,
    .get = rocks_get,
    .walk = rocks_walk,
    .begin = rocks_begin,
    .put = rocks_put,
    .remove = rocks_remove,
    .commit = rocks_commit,
    .abort = rocks_abort,
    .put_alone = rocks_put_alone,
    .flush = rocks_flush,
    .corrupt = rocks_corrupt,
    .close = rocks_close,
};

int store_rocksdb_open(const char *folder, struct store **ret, struct err *err)
{
    if (strlen(folder) >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the path of the index folder is longer than %d bytes",
                       DISK_PATH_MAX_BYTES - 1);
    int code = disk_make_dir(disk_posix(), folder, err);
    if (code != 0)
        return err_wrap(err, code, "opening the index");
    struct store_rocksdb *rocks = mem_alloc_zero(1, sizeof(*rocks));
    if (rocks == NULL)
        return err_no_memory(err, "the index");
    rocks->store.ops = &rocks_ops;
    copy_string(rocks->folder, sizeof(rocks->folder), folder);
    entropy_fill(rocks->hash_key, sizeof(rocks->hash_key));
    rocks->read_options = rocksdb_readoptions_create();
    rocks->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_options, 1);
    rocks->flush_options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(rocks->flush_options, 1);
    code = open_database(rocks, err);
    if (code != 0) {
        rocks_close(&rocks->store);
        return code;
    }
    *ret = &rocks->store;
    return 0;
}
