/* The index in RocksDB. The only file that knows RocksDB.
 *
 * Everything lives in one column family, told apart by the first byte of the key (README.md has the table): 'm' what
 * the index knows about itself, 'h' stream heads, 's' the places of a stream's versions, 'i' event ids. RocksDB's own
 * write-ahead log is off, because the segments are the log: what is lost here is replayed from them.
 *
 * Invariants:
 *   1. One apply is one WriteBatch, and the log's new applied size is in it. RocksDB switches memtables only between
 * batches and makes the memtables of one column family durable in order. So whatever survives a crash is what some
 * prefix of the applies wrote, and the applied sizes found are those of exactly that prefix. Two column families would
 * lose this.
 *   2. A log's number is written before any entry that mentions it (same argument), so no place on disk names an
 * unknown log.
 *   3. An event id keeps its first place, a version of a stream keeps its first place, and a head only moves to a
 * higher version. A version above the head is therefore new and need not be looked up.
 *   4. The format number is the first thing written: a folder with contents but without it is not an index.
 *
 * Applying. The thread that applies reads what is there (one look-up per id, one per stream and batch), collects the
 * changes in a stage, and writes them at once. Entries of a batch may touch the same stream or id, so the stage is
 * asked before the disk. Heads are written once per batch.
 *
 * Crash behaviour: invariant 1. Reopening finds applied sizes at or below those before the crash; the caller replays
 * from there.
 *
 * Failure: an apply that fails leaves the applied size where it was and shows nothing. Each value read back is checked
 * for its size and for a known log; what does not fit, like a block that fails RocksDB's checksum, is ERR_CORRUPT, and
 * the message says to delete the folder. After a failed background write RocksDB refuses further writes until reopened;
 * look-ups go on.
 *
 * Memory is bounded: memtables, block cache (index and filter blocks are charged to it) and open files have limits.
 * RocksDB itself aborts when memory runs out; only our own allocations answer ERR_NO_MEMORY. */
#include <rocksdb/c.h>

#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "index/keys.h"
#include "index/logs.h"
#include "platform/clock.h"
#include "platform/disk.h"

enum {
    FORMAT_NUMBER = 1,

    META_PREFIX = 'm',
    HEAD_PREFIX = 'h',
    VERSION_PREFIX = 's',
    EVENT_PREFIX = 'i',

    META_FORMAT = 'f',
    META_ORIGIN = 'o',
    META_APPLIED = 'a',

    KEY_MAX_BYTES = 1 + VERSION_KEY_MAX_BYTES,
    META_KEY_BYTES = 2 + 4,
    FORMAT_BYTES = 4,
    APPLIED_BYTES = 8,
    PLACE_BYTES = 4 + 8,
    HEAD_BYTES = 8 + PLACE_BYTES,
    EVENT_BYTES = PLACE_BYTES + 8 + 8,

    BLOCK_CACHE_BYTES = 64 * 1024 * 1024,
    MEMTABLE_BYTES = 32 * 1024 * 1024,
    MEMTABLES_MAX = 3,
    OPEN_FILES_MAX = 256,
    BACKGROUND_JOBS = 2,
    FILTER_BITS_PER_KEY = 10,
    INFO_LOG_WARNINGS = 2, /* RocksDB's InfoLogLevel::WARN_LEVEL */
    INFO_LOG_MAX_BYTES = 1024 * 1024,
    INFO_LOGS_MAX = 2,
};

struct index_rocksdb {
    struct index index;
    struct logs logs;
    rocksdb_t *db;
    rocksdb_readoptions_t *read_options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_flushoptions_t *flush_options;
    uint8_t hash_key[16]; /* of the stage's maps: outsiders choose ids and streams */
    char folder[DISK_PATH_MAX_BYTES];
};

static struct index_rocksdb *from_index(struct index *index)
{
    return (struct index_rocksdb *)(void *)index;
}

/* --- Errors --- */

static int corrupt(const struct index_rocksdb *rocks, const char *what, struct err *err)
{
    return err_set(
        err, ERR_CORRUPT,
        "the index in %s is damaged: %s; it is made again from the logs when the server starts, or delete the folder",
        rocks->folder, what);
}

/* The C interface gives statuses as text only. Frees message. */
static int failure(const struct index_rocksdb *rocks, const char *doing, char *message, struct err *err)
{
    int code;
    if (strstr(message, "No space left on device") != NULL)
        code = err_set(err, ERR_NO_SPACE, "%s the index in %s: the disk is full: %s", doing, rocks->folder, message);
    else if (strncmp(message, "Corruption", strlen("Corruption")) == 0)
        code = corrupt(rocks, message, err);
    else
        code = err_set(err, ERR_IO, "%s the index in %s: %s", doing, rocks->folder, message);
    rocksdb_free(message);
    return code;
}

static int open_failure(const struct index_rocksdb *rocks, char *message, struct err *err)
{
    if (strstr(message, "While lock file") != NULL || strstr(message, "lock hold by current process") != NULL) {
        rocksdb_free(message);
        return err_set(err, ERR_LOCKED, "another process has the index in %s open; stop it first", rocks->folder);
    }
    /* The folder was made just before, so a missing file is one that the index's own manifest names. */
    if (strstr(message, "No such file") != NULL ||
        strncmp(message, "Invalid argument", strlen("Invalid argument")) == 0) {
        int code = corrupt(rocks, message, err);
        rocksdb_free(message);
        return code;
    }
    return failure(rocks, "opening", message, err);
}

/* --- Keys and values --- */

static struct bytes meta_key(char kind, uint32_t number, uint8_t out[META_KEY_BYTES])
{
    out[0] = META_PREFIX;
    out[1] = (uint8_t)kind;
    put_u32_be(out + 2, number);
    return bytes_of(out, META_KEY_BYTES);
}

static struct bytes head_key(struct bytes context, struct bytes stream, uint8_t out[KEY_MAX_BYTES])
{
    out[0] = HEAD_PREFIX;
    return bytes_of(out, 1 + put_stream_key(context, stream, out + 1));
}

static struct bytes version_key(struct bytes context, struct bytes stream, uint64_t version, uint8_t out[KEY_MAX_BYTES])
{
    out[0] = VERSION_PREFIX;
    return bytes_of(out, 1 + put_version_key(context, stream, version, out + 1));
}

static struct bytes event_key(const uint8_t id[ENTRY_ID_SIZE], uint8_t out[KEY_MAX_BYTES])
{
    out[0] = EVENT_PREFIX;
    memcpy(out + 1, id, ENTRY_ID_SIZE);
    return bytes_of(out, 1 + ENTRY_ID_SIZE);
}

static void encode_place(struct index_place place, uint8_t out[PLACE_BYTES])
{
    put_u32_le(out, place.log);
    put_u64_le(out + 4, place.index);
}

static int decode_place(struct index_rocksdb *rocks, const uint8_t in[PLACE_BYTES], struct index_place *ret,
                        struct err *err)
{
    struct index_place place = {get_u32_le(in), get_u64_le(in + 4)};
    if (place.log >= logs_count(&rocks->logs))
        return corrupt(rocks, "a place names a log that was never numbered", err);
    *ret = place;
    return 0;
}

static int decode_head(struct index_rocksdb *rocks, const uint8_t in[HEAD_BYTES], struct index_head *ret,
                       struct err *err)
{
    int code = decode_place(rocks, in + 8, &ret->place, err);
    if (code == 0)
        ret->version = get_u64_le(in);
    return code;
}

/* Reads a value of exactly `size` bytes. *ret_found tells whether the key is there. */
static int read_value(struct index_rocksdb *rocks, struct bytes key, void *ret_value, size_t size, bool *ret_found,
                      struct err *err)
{
    char *message = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(rocks->db, rocks->read_options, (const char *)key.data, key.size_bytes, &message);
    if (message != NULL)
        return failure(rocks, "reading", message, err);
    *ret_found = slice != NULL;
    if (slice == NULL)
        return 0;
    size_t found_size;
    const char *found = rocksdb_pinnableslice_value(slice, &found_size);
    if (found_size == size)
        memcpy(ret_value, found, size);
    rocksdb_pinnableslice_destroy(slice);
    return found_size == size ? 0 : corrupt(rocks, "a value has the wrong size", err);
}

static int write_value(struct index_rocksdb *rocks, struct bytes key, struct bytes value, struct err *err)
{
    char *message = NULL;
    rocksdb_put(rocks->db, rocks->write_options, (const char *)key.data, key.size_bytes, (const char *)value.data,
                value.size_bytes, &message);
    return message == NULL ? 0 : failure(rocks, "writing", message, err);
}

/* --- Applying --- */

struct staged_head {
    struct index_head head;
    bool exists;
    bool changed;
};

/* The changes of one batch before they are written. */
struct stage {
    struct index_rocksdb *rocks;
    uint32_t log;
    struct staged_head *heads; /* one per entry at most */
    size_t head_count;
    struct map head_of; /* head key to an element of heads */
    struct map written; /* event and version keys that are in the batch */
    rocksdb_writebatch_t *batch;
};

static int stage_init(struct stage *stage, struct index_rocksdb *rocks, uint32_t log, size_t entry_count,
                      struct err *err)
{
    *stage = (struct stage){.rocks = rocks, .log = log};
    stage->heads = mem_alloc_zero(entry_count, sizeof(*stage->heads));
    if (stage->heads == NULL)
        return err_no_memory(err, "stream heads of a batch");
    map_init(&stage->head_of, entry_count, rocks->hash_key);
    map_init(&stage->written, 2 * entry_count, rocks->hash_key);
    stage->batch = rocksdb_writebatch_create();
    return 0;
}

static void stage_free(struct stage *stage)
{
    rocksdb_writebatch_destroy(stage->batch);
    map_free(&stage->written);
    map_free(&stage->head_of);
    mem_free(stage->heads);
}

static void stage_put(struct stage *stage, struct bytes key, const uint8_t *value, size_t size)
{
    rocksdb_writebatch_put(stage->batch, (const char *)key.data, key.size_bytes, (const char *)value, size);
}

/* Puts a key that keeps its first value; the caller knows that it is new. */
static int stage_put_new(struct stage *stage, struct bytes key, const uint8_t *value, size_t size, struct err *err)
{
    if (map_put(&stage->written, key, stage) != 0)
        return err_no_memory(err, "keys of a batch");
    stage_put(stage, key, value, size);
    return 0;
}

/* Whether the batch or the disk has a value of that size at key. */
static int stage_has(struct stage *stage, struct bytes key, size_t size, bool *ret_has, struct err *err)
{
    uint8_t value[EVENT_BYTES];
    INVARIANT(size <= sizeof(value));
    if (map_get(&stage->written, key) != NULL) {
        *ret_has = true;
        return 0;
    }
    return read_value(stage->rocks, key, value, size, ret_has, err);
}

static int stage_event(struct stage *stage, const struct index_entry *entry, struct err *err)
{
    uint8_t key_bytes[KEY_MAX_BYTES];
    struct bytes key = event_key(entry->entry->event_id, key_bytes);
    bool has;
    int code = stage_has(stage, key, EVENT_BYTES, &has, err);
    if (code != 0 || has)
        return code;
    uint8_t value[EVENT_BYTES];
    encode_place((struct index_place){stage->log, entry->entry->index}, value);
    put_u64_le(value + PLACE_BYTES, entry->fingerprint);
    put_u64_le(value + PLACE_BYTES + 8, entry->entry->stream_version);
    return stage_put_new(stage, key, value, sizeof(value), err);
}

static int stage_head(struct stage *stage, const struct entry *entry, struct staged_head **ret, struct err *err)
{
    uint8_t key_bytes[KEY_MAX_BYTES];
    struct bytes key = head_key(entry->context, entry->stream, key_bytes);
    struct staged_head *head = map_get(&stage->head_of, key);
    if (head != NULL) {
        *ret = head;
        return 0;
    }
    head = &stage->heads[stage->head_count];
    uint8_t value[HEAD_BYTES];
    int code = read_value(stage->rocks, key, value, sizeof(value), &head->exists, err);
    if (code == 0 && head->exists)
        code = decode_head(stage->rocks, value, &head->head, err);
    if (code != 0)
        return code;
    if (map_put(&stage->head_of, key, head) != 0)
        return err_no_memory(err, "stream heads of a batch");
    stage->head_count++;
    *ret = head;
    return 0;
}

static int stage_version(struct stage *stage, const struct entry *entry, struct err *err)
{
    struct staged_head *head = NULL;
    int code = stage_head(stage, entry, &head, err);
    if (code != 0)
        return code;
    uint8_t key_bytes[KEY_MAX_BYTES];
    struct bytes key = version_key(entry->context, entry->stream, entry->stream_version, key_bytes);
    struct index_place place = {stage->log, entry->index};
    if (!head->exists || entry->stream_version > head->head.version) {
        *head = (struct staged_head){{entry->stream_version, place}, .exists = true, .changed = true};
    } else {
        bool has;
        code = stage_has(stage, key, PLACE_BYTES, &has, err);
        if (code != 0 || has)
            return code;
    }
    uint8_t value[PLACE_BYTES];
    encode_place(place, value);
    return stage_put_new(stage, key, value, sizeof(value), err);
}

static void stage_finish(struct stage *stage, uint64_t applied_size)
{
    struct bytes key;
    void *found;
    for (size_t at = 0; map_next(&stage->head_of, &at, &key, &found);) {
        const struct staged_head *head = found;
        uint8_t value[HEAD_BYTES];
        put_u64_le(value, head->head.version);
        encode_place(head->head.place, value + 8);
        if (head->changed)
            stage_put(stage, key, value, sizeof(value));
    }
    uint8_t applied_key[META_KEY_BYTES];
    uint8_t applied[APPLIED_BYTES];
    put_u64_le(applied, applied_size);
    stage_put(stage, meta_key(META_APPLIED, stage->log, applied_key), applied, sizeof(applied));
}

static int stage_write(struct stage *stage, struct err *err)
{
    char *message = NULL;
    rocksdb_write(stage->rocks->db, stage->rocks->write_options, stage->batch, &message);
    return message == NULL ? 0 : failure(stage->rocks, "writing", message, err);
}

static int rocks_apply(struct index *index, uint32_t log, const struct index_entry *entries, size_t count,
                       struct err *err)
{
    struct index_rocksdb *rocks = from_index(index);
    logs_check_next(&rocks->logs, log, entries, count);
    struct stage stage;
    int code = stage_init(&stage, rocks, log, count, err);
    if (code != 0)
        return code;
    for (size_t i = 0; i < count && code == 0; i++) {
        code = stage_event(&stage, &entries[i], err);
        if (code == 0)
            code = stage_version(&stage, entries[i].entry, err);
    }
    if (code == 0) {
        stage_finish(&stage, logs_applied_size(&rocks->logs, log) + count);
        code = stage_write(&stage, err);
    }
    if (code == 0)
        logs_advance(&rocks->logs, log, count);
    stage_free(&stage);
    return code;
}

static int rocks_flush(struct index *index, struct err *err)
{
    struct index_rocksdb *rocks = from_index(index);
    char *message = NULL;
    rocksdb_flush(rocks->db, rocks->flush_options, &message);
    return message == NULL ? 0 : failure(rocks, "flushing", message, err);
}

/* --- Looking up --- */

static int keep_origin(void *context, uint32_t log, struct bytes origin, struct err *err)
{
    uint8_t key[META_KEY_BYTES];
    return write_value(context, meta_key(META_ORIGIN, log, key), origin, err);
}

static int rocks_log(struct index *index, struct bytes origin, uint32_t *ret_log, struct err *err)
{
    struct index_rocksdb *rocks = from_index(index);
    return logs_number(&rocks->logs, origin, keep_origin, rocks, ret_log, err);
}

static int rocks_origin(struct index *index, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err)
{
    return logs_origin(&from_index(index)->logs, log, ret, err);
}

static uint64_t rocks_applied_size(struct index *index, uint32_t log)
{
    return logs_applied_size(&from_index(index)->logs, log);
}

static uint64_t rocks_sequence(struct index *index)
{
    return logs_sequence(&from_index(index)->logs);
}

static int rocks_head(struct index *index, struct bytes context, struct bytes stream, struct index_head *ret,
                      struct err *err)
{
    struct index_rocksdb *rocks = from_index(index);
    uint8_t key[KEY_MAX_BYTES];
    uint8_t value[HEAD_BYTES];
    bool found;
    int code = read_value(rocks, head_key(context, stream, key), value, sizeof(value), &found, err);
    if (code != 0)
        return code;
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "the stream has no events");
    return decode_head(rocks, value, ret, err);
}

static int rocks_event(struct index *index, const uint8_t id[ENTRY_ID_SIZE], struct index_event *ret, struct err *err)
{
    struct index_rocksdb *rocks = from_index(index);
    uint8_t key[KEY_MAX_BYTES];
    uint8_t value[EVENT_BYTES];
    bool found;
    int code = read_value(rocks, event_key(id, key), value, sizeof(value), &found, err);
    if (code != 0)
        return code;
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "no event has this id");
    code = decode_place(rocks, value, &ret->place, err);
    if (code == 0) {
        ret->fingerprint = get_u64_le(value + PLACE_BYTES);
        ret->stream_version = get_u64_le(value + PLACE_BYTES + 8);
    }
    return code;
}

/* Copies places from where the iterator stands until it leaves the stream whose version keys begin with prefix. */
static int collect(struct index_rocksdb *rocks, rocksdb_iterator_t *iterator, struct bytes prefix, bool backwards,
                   struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err)
{
    size_t count = 0;
    while (count < max && rocksdb_iter_valid(iterator)) {
        size_t key_size;
        size_t value_size;
        const char *key = rocksdb_iter_key(iterator, &key_size);
        if (key_size < prefix.size_bytes || memcmp(key, prefix.data, prefix.size_bytes) != 0)
            break;
        const char *value = rocksdb_iter_value(iterator, &value_size);
        if (key_size != prefix.size_bytes + 8 || value_size != PLACE_BYTES)
            return corrupt(rocks, "a version of a stream has the wrong size", err);
        int code = decode_place(rocks, (const uint8_t *)value, &ret_places[count], err);
        if (code != 0)
            return code;
        count++;
        (backwards ? rocksdb_iter_prev : rocksdb_iter_next)(iterator);
    }
    char *message = NULL;
    rocksdb_iter_get_error(iterator, &message);
    if (message != NULL)
        return failure(rocks, "reading", message, err);
    *ret_count = count;
    return 0;
}

static int rocks_scan(struct index *index, struct bytes context, struct bytes stream, uint64_t from_version,
                      bool backwards, struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err)
{
    struct index_rocksdb *rocks = from_index(index);
    uint8_t key_bytes[KEY_MAX_BYTES];
    struct bytes key = version_key(context, stream, from_version, key_bytes);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(rocks->db, rocks->read_options);
    (backwards ? rocksdb_iter_seek_for_prev : rocksdb_iter_seek)(iterator, (const char *)key.data, key.size_bytes);
    struct bytes prefix = bytes_of(key.data, key.size_bytes - 8);
    int code = collect(rocks, iterator, prefix, backwards, ret_places, max, ret_count, err);
    rocksdb_iter_destroy(iterator);
    return code;
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

static int open_database(struct index_rocksdb *rocks, struct err *err)
{
    rocksdb_options_t *options = new_options();
    char *message = NULL;
    rocks->db = rocksdb_open(options, rocks->folder, &message);
    rocksdb_options_destroy(options);
    return message == NULL ? 0 : open_failure(rocks, message, err);
}

static int is_empty(struct index_rocksdb *rocks, bool *ret_empty, struct err *err)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(rocks->db, rocks->read_options);
    rocksdb_iter_seek_to_first(iterator);
    bool empty = !rocksdb_iter_valid(iterator);
    char *message = NULL;
    rocksdb_iter_get_error(iterator, &message);
    rocksdb_iter_destroy(iterator);
    if (message != NULL)
        return failure(rocks, "reading", message, err);
    *ret_empty = empty;
    return 0;
}

static int start_format(struct index_rocksdb *rocks, struct err *err)
{
    bool empty = false;
    int code = is_empty(rocks, &empty, err);
    if (code != 0)
        return code;
    if (!empty)
        return corrupt(rocks, "it has contents but no format number", err);
    uint8_t key[META_KEY_BYTES];
    uint8_t value[FORMAT_BYTES];
    put_u32_le(value, FORMAT_NUMBER);
    return write_value(rocks, meta_key(META_FORMAT, 0, key), bytes_of(value, sizeof(value)), err);
}

static int check_format(struct index_rocksdb *rocks, struct err *err)
{
    uint8_t key[META_KEY_BYTES];
    uint8_t value[FORMAT_BYTES];
    bool found;
    int code = read_value(rocks, meta_key(META_FORMAT, 0, key), value, sizeof(value), &found, err);
    if (code != 0)
        return code;
    if (!found)
        return start_format(rocks, err);
    return get_u32_le(value) == FORMAT_NUMBER ? 0 : corrupt(rocks, "its format is not the one of this version", err);
}

/* Takes over one origin from disk; *ret_found is false past the last one. */
static int load_origin(struct index_rocksdb *rocks, uint32_t log, bool *ret_found, struct err *err)
{
    uint8_t key[META_KEY_BYTES];
    struct bytes name = meta_key(META_ORIGIN, log, key);
    char *message = NULL;
    size_t size = 0;
    char *origin =
        rocksdb_get(rocks->db, rocks->read_options, (const char *)name.data, name.size_bytes, &size, &message);
    if (message != NULL)
        return failure(rocks, "reading", message, err);
    *ret_found = origin != NULL;
    if (origin == NULL)
        return 0;
    int code;
    uint32_t given = log;
    if (size == 0 || size > INDEX_ORIGIN_MAX_BYTES || memchr(origin, 0, size) != NULL)
        code = corrupt(rocks, "the name of a log has the wrong size", err);
    else
        code = logs_number(&rocks->logs, bytes_of(origin, size), NULL, NULL, &given, err);
    if (code == 0 && given != log)
        code = corrupt(rocks, "two numbers belong to one log", err);
    rocksdb_free(origin);
    return code;
}

static int load_logs(struct index_rocksdb *rocks, struct err *err)
{
    for (uint32_t log = 0; log < INDEX_LOGS_MAX; log++) {
        bool found;
        int code = load_origin(rocks, log, &found, err);
        if (code != 0 || !found)
            return code;
        uint8_t key[META_KEY_BYTES];
        uint8_t value[APPLIED_BYTES];
        code = read_value(rocks, meta_key(META_APPLIED, log, key), value, sizeof(value), &found, err);
        if (code != 0)
            return code;
        if (found)
            logs_set_applied_size(&rocks->logs, log, get_u64_le(value));
    }
    return 0;
}

static void free_index(struct index_rocksdb *rocks)
{
    if (rocks->db != NULL)
        rocksdb_close(rocks->db);
    rocksdb_flushoptions_destroy(rocks->flush_options);
    rocksdb_writeoptions_destroy(rocks->write_options);
    rocksdb_readoptions_destroy(rocks->read_options);
    logs_free(&rocks->logs);
    mem_free(rocks);
}

static void rocks_close(struct index *index)
{
    struct index_rocksdb *rocks = from_index(index);
    int code = rocks_flush(index, NULL);
    (void)code; /* What could not be flushed is replayed. */
    free_index(rocks);
}

static const struct index_ops rocks_ops = {
    .log = rocks_log,
    .origin = rocks_origin,
    .applied_size = rocks_applied_size,
    .sequence = rocks_sequence,
    .apply = rocks_apply,
    .flush = rocks_flush,
    .head = rocks_head,
    .event = rocks_event,
    .scan = rocks_scan,
    .close = rocks_close,
};

static struct index_rocksdb *new_index(const char *folder)
{
    struct index_rocksdb *rocks = mem_alloc_zero(1, sizeof(*rocks));
    if (rocks == NULL)
        return NULL;
    rocks->index.ops = &rocks_ops;
    logs_init(&rocks->logs);
    entropy_fill(rocks->hash_key, sizeof(rocks->hash_key));
    memcpy(rocks->folder, folder, strlen(folder) + 1);
    rocks->read_options = rocksdb_readoptions_create();
    rocks->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(rocks->write_options, 1);
    rocks->flush_options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(rocks->flush_options, 1);
    return rocks;
}

int index_rocksdb_open(const char *folder, struct index **ret, struct err *err)
{
    if (strlen(folder) >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the path of the index folder is longer than %d bytes",
                       DISK_PATH_MAX_BYTES - 1);
    int code = disk_make_dir(disk_posix(), folder, err);
    if (code != 0)
        return err_wrap(err, code, "opening the index");
    struct index_rocksdb *rocks = new_index(folder);
    if (rocks == NULL)
        return err_no_memory(err, "the index");
    code = open_database(rocks, err);
    if (code == 0)
        code = check_format(rocks, err);
    if (code == 0)
        code = load_logs(rocks, err);
    if (code != 0) {
        free_index(rocks);
        return code;
    }
    *ret = &rocks->index;
    return 0;
}
