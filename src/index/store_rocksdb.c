/* The store in RocksDB. The only file that knows RocksDB.
 *
 * RocksDB's memtables and its write-ahead log are not used: the segments are the log, and what is lost here is replayed
 * from them. What batches write is collected in a stretch (stretch.h), in memory. A full stretch is closed, and a thread
 * of the store sorts it, writes it as a few sorted files, and hands these to RocksDB in one call (ingestion), while the
 * next stretch is being filled. There are never more than two: when the second is full before the first is in files, the
 * next batch waits.
 *
 * A look-up asks the open stretch, then the closed one, then RocksDB, until a put or a removal answers it; appends found
 * before are added to that.
 *
 * Invariants:
 *   1. All records of a stretch, and so all of a batch, become part of RocksDB by one change of its manifest, and
 * stretches do in order: everything is in one column family, and the files of a stretch are ingested together. So
 * whatever survives a crash is what some prefix of the batches wrote. Two column families would lose this: the C
 * interface ingests into one at a time.
 *   2. RocksDB is read as of a snapshot, `base`, until the stretch that was ingested is let go of and the next snapshot
 * stands in its place, in one move under `sources`. So no look-up finds an append twice, or a stretch nowhere.
 *   3. Only the thread that applies opens stretches and batches; only the store's own thread lets closed ones go.
 *   4. A file in `incoming` is removed at open before another can take its name: after a crash amid ingestion it may be
 * the same file as one of RocksDB's, under a second name.
 *
 * Why few files, cut before and behind the ids: ids that grow with time (UUIDv7) never lie among those of older files,
 * and such a file needs no compaction, ever. Heads and versions do lie among others.
 *
 * Failure: a block that fails RocksDB's checksum is ERR_CORRUPT, and the message says what happens next. After a failed
 * ingestion its stretch stays in memory, look-ups go on, and every batch that wants the next stretch is refused with
 * that error until the index is opened again.
 *
 * Memory is bounded: stretches, block cache (index and filter blocks are charged to it) and open files have limits.
 * RocksDB itself aborts when memory runs out; only our own allocations answer ERR_NO_MEMORY. */
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "index/store.h"
#include "index/stretch.h"
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
    LEVEL0_FILES_MAX = 32, /* then the next stretch waits for compaction, */
    LEVEL0_PAUSE_MS = 10,  /* and looks so often */
    FILES_OF_STRETCH_MAX = 3,
    SOURCES = 2, /* stretches: the open one, and the closed one */
    APPENDS_MAX_BYTES = 64 * 1024 * 1024,
};

/* RocksDB as it was at some moment. */
struct base {
    atomic_uint holders;
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *options;
    bool highest_known; /* no key that begins with STORE_GROWING is above this one: */
    size_t highest_size_bytes;
    uint8_t highest[STORE_KEY_MAX_BYTES];
};

/* What a look-up sees. */
struct sight {
    uint64_t batch_number;              /* of the last batch that is seen */
    struct stretch *stretches[SOURCES]; /* the open one, the closed one or NULL */
    struct base *base;
};

struct store_view {
    struct sight sight;
};

struct store_rocksdb {
    struct store store;
    rocksdb_t *db;
    rocksdb_options_t *options; /* also of the files that are ingested */
    rocksdb_envoptions_t *file_options;
    rocksdb_ingestexternalfileoptions_t *ingest_options;

    pthread_mutex_t writing; /* of the open stretch: the batch, and keys put alone */
    bool batch_open;
    struct store_view batch_view;   /* only its address matters */
    atomic_uint_fast64_t committed; /* number of the last batch that others see */

    pthread_rwlock_t sources; /* of the two below */
    struct stretch *stretches[SOURCES];
    struct base *base;

    pthread_t thread;
    bool thread_started;
    pthread_mutex_t mutex; /* of the three below */
    pthread_cond_t changed;
    struct stretch *closed; /* what the thread puts into files, or is to */
    bool stopping;
    struct err failed;   /* code 0: nothing failed yet */
    uint64_t file_count; /* the thread's: begun so far */

    const char *unordered; /* bytes that begin a key which is mostly got, not walked to */
    uint8_t hash_key[16];  /* of the stretches' tables: outsiders choose keys */
    char folder[DISK_PATH_MAX_BYTES];
    char incoming[DISK_PATH_MAX_BYTES];
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

/* --- What a look-up sees --- */

/* Nothing is said when RocksDB cannot read: the look-up that it is asked for next will say why. */
static void find_highest(struct store_rocksdb *rocks, struct base *base)
{
    const char behind[] = {STORE_GROWING + 1};
    size_t size = 0;
    char *message = NULL;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(rocks->db, base->options);
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
static bool is_above_all(const struct base *base, struct bytes key)
{
    return base->highest_known && key.size_bytes > 0 && key.data[0] == STORE_GROWING &&
           bytes_compare(key, bytes_of(base->highest, base->highest_size_bytes)) > 0;
}

static struct base *new_base(struct store_rocksdb *rocks)
{
    struct base *base = mem_alloc(sizeof(*base));
    if (base == NULL)
        return NULL;
    *base = (struct base){.snapshot = rocksdb_create_snapshot(rocks->db), .options = rocksdb_readoptions_create()};
    atomic_init(&base->holders, 1);
    rocksdb_readoptions_set_snapshot(base->options, base->snapshot);
    find_highest(rocks, base);
    return base;
}

static void release_base(struct store_rocksdb *rocks, struct base *base)
{
    if (base == NULL || atomic_fetch_sub(&base->holders, 1) > 1)
        return;
    rocksdb_readoptions_destroy(base->options);
    rocksdb_release_snapshot(rocks->db, base->snapshot);
    mem_free(base);
}

static void lock_sources(struct store_rocksdb *rocks)
{
    INVARIANT(pthread_rwlock_rdlock(&rocks->sources) == 0);
}

static void unlock_sources(struct store_rocksdb *rocks)
{
    INVARIANT(pthread_rwlock_unlock(&rocks->sources) == 0);
}

/* Valid as long as the sources are locked. */
static struct sight sight_of(struct store_rocksdb *rocks, const struct store_view *view)
{
    if (view != STORE_LATEST && view != &rocks->batch_view)
        return view->sight;
    struct sight sight = {.base = rocks->base};
    memcpy(sight.stretches, rocks->stretches, sizeof(sight.stretches));
    sight.batch_number = atomic_load_explicit(&rocks->committed, memory_order_acquire);
    if (view == &rocks->batch_view)
        sight.batch_number++;
    return sight;
}

static struct sight hold_sight(struct store_rocksdb *rocks, const struct store_view *view)
{
    lock_sources(rocks);
    struct sight sight = sight_of(rocks, view);
    for (size_t i = 0; i < SOURCES; i++)
        (void)stretch_hold(sight.stretches[i]);
    atomic_fetch_add(&sight.base->holders, 1);
    unlock_sources(rocks);
    return sight;
}

static void release_sight(struct store_rocksdb *rocks, const struct sight *sight)
{
    for (size_t i = 0; i < SOURCES; i++)
        stretch_release(sight->stretches[i]);
    release_base(rocks, sight->base);
}

static int rocks_view_open(struct store *store, struct store_view **ret, struct err *err)
{
    struct store_view *view = mem_alloc(sizeof(*view));
    if (view == NULL)
        return err_no_memory(err, "a view of the index");
    view->sight = hold_sight(from_store(store), STORE_LATEST);
    *ret = view;
    return 0;
}

static void rocks_view_close(struct store *store, struct store_view *view)
{
    struct store_rocksdb *rocks = from_store(store);
    PRE(view != &rocks->batch_view);
    release_sight(rocks, &view->sight);
    mem_free(view);
}

/* --- Reading --- */

static int cannot_keep(int code, struct err *err)
{
    return code == ERR_TOO_LARGE ? err_set(err, ERR_TOO_LARGE, "a value of the index is longer than is read at once")
                                 : err_no_memory(err, "a value of the index");
}

static int read_files(struct store_rocksdb *rocks, const struct base *base, struct bytes key, struct buf *value,
                      bool *ret_found, struct err *err)
{
    char *message = NULL;
    *ret_found = false;
    if (is_above_all(base, key))
        return 0;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(rocks->db, base->options, (const char *)key.data, key.size_bytes, &message);
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
    return code == 0 ? 0 : cannot_keep(code, err);
}

/* The records of one key in one stretch that are appends, latest first, go to *appends (pointers to them); returns what
 * they are appended to, or NULL when that is older than the stretch. */
static int gather(const struct stretch_record *record, uint64_t batch_number, struct buf *appends,
                  const struct stretch_record **ret_under)
{
    int code = 0;
    for (; code == 0 && record != NULL && record->kind == STRETCH_APPEND; record = stretch_older(record, batch_number))
        code = buf_append(appends, bytes_of(&record, sizeof(record)));
    *ret_under = record;
    return code;
}

static int add_appends(const struct buf *appends, struct buf *value)
{
    int code = 0;
    for (size_t at = appends->size_bytes; code == 0 && at > 0; at -= sizeof(struct stretch_record *)) {
        const struct stretch_record *record = NULL;
        memcpy(&record, appends->data + at - sizeof(record), sizeof(record));
        code = buf_append(value, stretch_value(record));
    }
    return code;
}

static int look_up(struct store_rocksdb *rocks, const struct sight *sight, struct bytes key, struct buf *value,
                   bool *ret_found, struct err *err)
{
    const struct stretch_record *under = NULL;
    struct buf appends;
    bool found = false;
    int code = 0;
    buf_init(&appends, APPENDS_MAX_BYTES);
    for (size_t i = 0; code == 0 && under == NULL && i < SOURCES; i++)
        code = gather(stretch_find(sight->stretches[i], sight->batch_number, key), sight->batch_number, &appends,
                      &under);
    if (code == 0 && under == NULL) {
        code = read_files(rocks, sight->base, key, value, &found, err);
        if (code != 0)
            goto out;
    } else if (code == 0 && under->kind == STRETCH_PUT) {
        buf_clear(value);
        found = true;
        code = buf_append(value, stretch_value(under));
    }
    if (code == 0 && appends.size_bytes > 0) {
        if (!found)
            buf_clear(value);
        found = true;
        code = add_appends(&appends, value);
    }
    code = code == 0 ? 0 : cannot_keep(code, err);
out:
    buf_free(&appends);
    if (code == 0)
        *ret_found = found;
    return code;
}

static int rocks_get(struct store *store, const struct store_view *view, struct bytes key, struct buf *value,
                     bool *ret_found, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    lock_sources(rocks);
    struct sight sight = sight_of(rocks, view);
    int code = look_up(rocks, &sight, key, value, ret_found, err);
    unlock_sources(rocks);
    return code;
}

/* A walk over RocksDB's keys and those of the stretches, each key once. */
struct walking {
    struct store_rocksdb *rocks;
    struct sight sight;
    rocksdb_iterator_t *iterator;
    const struct stretch_key *keys[SOURCES]; /* the next ones; NULL at the end */
    struct bytes prefix;
    bool backwards;
    struct buf value;
};

static struct bytes file_key(const struct walking *walking)
{
    size_t size = 0;
    if (!rocksdb_iter_valid(walking->iterator))
        return bytes_of(NULL, 0);
    const char *key = rocksdb_iter_key(walking->iterator, &size);
    bool inside = size >= walking->prefix.size_bytes &&
                  (walking->prefix.size_bytes == 0 || memcmp(key, walking->prefix.data, walking->prefix.size_bytes) == 0);
    return inside ? bytes_of(key, size) : bytes_of(NULL, 0);
}

/* The next key of all, empty at the end. */
static struct bytes nearest(const struct walking *walking)
{
    struct bytes best = file_key(walking);
    for (size_t i = 0; i < SOURCES; i++) {
        if (walking->keys[i] == NULL)
            continue;
        struct bytes key = stretch_key_bytes(walking->keys[i]);
        if (best.size_bytes == 0 || (bytes_compare(key, best) > 0) == walking->backwards)
            best = key;
    }
    return best;
}

static int visit(struct walking *walking, struct bytes key, store_walk_fn *each, void *context, struct err *err)
{
    bool in_memory = false;
    bool found = true;
    size_t size = 0;
    for (size_t i = 0; i < SOURCES; i++)
        in_memory = in_memory || (walking->keys[i] != NULL && bytes_equal(stretch_key_bytes(walking->keys[i]), key));
    if (!in_memory) {
        const char *value = rocksdb_iter_value(walking->iterator, &size);
        return each(context, key, bytes_of(value, size), err);
    }
    int code = look_up(walking->rocks, &walking->sight, key, &walking->value, &found, err);
    return code == 0 && found ? each(context, key, buf_bytes(&walking->value), err) : code;
}

static void step_over(struct walking *walking, struct bytes key)
{
    bool in_files = bytes_equal(file_key(walking), key);
    for (size_t i = 0; i < SOURCES; i++) {
        const struct stretch_key *at = walking->keys[i];
        if (at != NULL && bytes_equal(stretch_key_bytes(at), key))
            walking->keys[i] =
                stretch_next(walking->sight.stretches[i], walking->prefix, key, true, walking->backwards);
    }
    if (in_files) /* last: key may be the iterator's */
        (walking->backwards ? rocksdb_iter_prev : rocksdb_iter_next)(walking->iterator);
}

static int walk_from(struct walking *walking, struct bytes from, store_walk_fn *each, void *context, struct err *err)
{
    int code = 0;
    for (size_t i = 0; i < SOURCES; i++) {
        const struct stretch *stretch = walking->sight.stretches[i];
        if (stretch != NULL)
            walking->keys[i] = stretch_next(stretch, walking->prefix, from, false, walking->backwards);
    }
    (walking->backwards ? rocksdb_iter_seek_for_prev : rocksdb_iter_seek)(walking->iterator, (const char *)from.data,
                                                                          from.size_bytes);
    for (struct bytes key = nearest(walking); code == 0 && key.size_bytes > 0; key = nearest(walking)) {
        code = visit(walking, key, each, context, err);
        if (code == 0)
            step_over(walking, key);
        else
            break;
    }
    char *message = NULL;
    rocksdb_iter_get_error(walking->iterator, &message);
    if (message != NULL)
        return failure(walking->rocks, "reading", message, err);
    return code == ERR_END ? 0 : code;
}

static int rocks_walk(struct store *store, const struct store_view *view, struct bytes prefix, struct bytes from,
                      bool backwards, store_walk_fn *each, void *context, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    struct walking walking = {
        .rocks = rocks, .sight = hold_sight(rocks, view), .prefix = prefix, .backwards = backwards};
    buf_init(&walking.value, STORE_VALUE_MAX_BYTES);
    walking.iterator = rocksdb_create_iterator(rocks->db, walking.sight.base->options);
    int code = walk_from(&walking, from, each, context, err);
    rocksdb_iter_destroy(walking.iterator);
    buf_free(&walking.value);
    release_sight(rocks, &walking.sight);
    return code;
}

/* --- Into files --- */

/* One file after the other, of a stretch. */
struct filing {
    struct store_rocksdb *rocks;
    rocksdb_sstfilewriter_t *writer; /* NULL: no file is begun */
    char paths[FILES_OF_STRETCH_MAX][DISK_PATH_MAX_BYTES];
    size_t count;
    struct buf appends;
    struct buf value;
};

static int begin_file(struct filing *filing, struct err *err)
{
    struct store_rocksdb *rocks = filing->rocks;
    char name[32];
    char *message = NULL;
    INVARIANT(filing->count < FILES_OF_STRETCH_MAX);
    (void)snprintf(name, sizeof(name), "%llu.sst", (unsigned long long)rocks->file_count++);
    int code = disk_join(filing->paths[filing->count], rocks->incoming, name, err);
    if (code != 0)
        return code;
    filing->writer = rocksdb_sstfilewriter_create(rocks->file_options, rocks->options);
    rocksdb_sstfilewriter_open(filing->writer, filing->paths[filing->count], &message);
    filing->count++;
    return message == NULL ? 0 : failure(rocks, "writing", message, err);
}

static int end_file(struct filing *filing, struct err *err)
{
    char *message = NULL;
    if (filing->writer == NULL)
        return 0;
    rocksdb_sstfilewriter_finish(filing->writer, &message);
    rocksdb_sstfilewriter_destroy(filing->writer);
    filing->writer = NULL;
    return message == NULL ? 0 : failure(filing->rocks, "writing", message, err);
}

/* What all records of a key come to. */
static int file_key_records(struct filing *filing, const struct stretch_key *key, struct err *err)
{
    struct bytes name = stretch_key_bytes(key);
    const struct stretch_record *under = NULL;
    char *message = NULL;
    buf_clear(&filing->appends);
    buf_clear(&filing->value);
    const struct stretch_record *latest = stretch_latest(key, UINT64_MAX - 1);
    if (latest == NULL)
        return 0;
    int code = gather(latest, UINT64_MAX - 1, &filing->appends, &under);
    if (code == 0 && under != NULL && under->kind == STRETCH_PUT)
        code = buf_append(&filing->value, stretch_value(under));
    if (code == 0)
        code = add_appends(&filing->appends, &filing->value);
    if (code != 0)
        return cannot_keep(code, err);
    struct bytes value = buf_bytes(&filing->value);
    if (under == NULL)
        rocksdb_sstfilewriter_merge(filing->writer, (const char *)name.data, name.size_bytes, (const char *)value.data,
                                    value.size_bytes, &message);
    else if (latest == under && under->kind == STRETCH_REMOVE)
        rocksdb_sstfilewriter_delete(filing->writer, (const char *)name.data, name.size_bytes, &message);
    else
        rocksdb_sstfilewriter_put(filing->writer, (const char *)name.data, name.size_bytes, (const char *)value.data,
                                  value.size_bytes, &message);
    return message == NULL ? 0 : failure(filing->rocks, "writing", message, err);
}

/* A new file begins with the ids, and another behind them. */
static bool begins_file(const struct stretch_key *before, const struct stretch_key *key)
{
    uint8_t last = stretch_key_bytes(before).data[0];
    uint8_t next = stretch_key_bytes(key).data[0];
    return last != next && (last == STORE_GROWING || next == STORE_GROWING);
}

static int write_files(struct filing *filing, const struct stretch_key **keys, size_t count, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        if (i > 0 && begins_file(keys[i - 1], keys[i]))
            code = end_file(filing, err);
        if (code == 0 && filing->writer == NULL)
            code = begin_file(filing, err);
        if (code == 0)
            code = file_key_records(filing, keys[i], err);
    }
    int end_code = end_file(filing, code == 0 ? err : NULL);
    return code == 0 ? end_code : code;
}

/* Ingestion does not wait for compaction as writes do. */
static void await_compaction(struct store_rocksdb *rocks)
{
    uint64_t files = 0;
    while (rocksdb_property_int(rocks->db, "rocksdb.num-files-at-level0", &files) == 0 && files > LEVEL0_FILES_MAX)
        clock_sleep_ms(LEVEL0_PAUSE_MS);
}

static int ingest(struct filing *filing, struct err *err)
{
    const char *paths[FILES_OF_STRETCH_MAX];
    char *message = NULL;
    for (size_t i = 0; i < filing->count; i++)
        paths[i] = filing->paths[i];
    await_compaction(filing->rocks);
    rocksdb_ingest_external_file(filing->rocks->db, paths, filing->count, filing->rocks->ingest_options, &message);
    return message == NULL ? 0 : failure(filing->rocks, "writing", message, err);
}

static int put_into_files(struct store_rocksdb *rocks, const struct stretch *stretch, struct err *err)
{
    const struct stretch_key **keys = stretch_sorted(stretch);
    struct filing *filing = mem_alloc_zero(1, sizeof(*filing));
    int code = keys == NULL || filing == NULL ? err_no_memory(err, "files of the index") : 0;
    if (code == 0) {
        filing->rocks = rocks;
        buf_init(&filing->appends, APPENDS_MAX_BYTES);
        buf_init(&filing->value, APPENDS_MAX_BYTES);
        code = write_files(filing, keys, stretch->key_count, err);
        if (code == 0)
            code = ingest(filing, err);
        buf_free(&filing->appends);
        buf_free(&filing->value);
    }
    mem_free(filing);
    mem_free((void *)keys);
    return code;
}

/* RocksDB has what the closed stretch has. */
static int let_go(struct store_rocksdb *rocks, struct stretch *closed, struct err *err)
{
    struct base *base = new_base(rocks);
    if (base == NULL)
        return err_no_memory(err, "a snapshot of the index");
    INVARIANT(pthread_rwlock_wrlock(&rocks->sources) == 0);
    struct base *before = rocks->base;
    INVARIANT(rocks->stretches[1] == closed);
    rocks->stretches[1] = NULL;
    rocks->base = base;
    unlock_sources(rocks);
    release_base(rocks, before);
    stretch_release(closed);
    return 0;
}

static void *put_closed_into_files(void *context)
{
    struct store_rocksdb *rocks = context;
    INVARIANT(pthread_mutex_lock(&rocks->mutex) == 0);
    for (;;) {
        while (!rocks->stopping && (rocks->closed == NULL || rocks->failed.code != 0))
            INVARIANT(pthread_cond_wait(&rocks->changed, &rocks->mutex) == 0);
        struct stretch *closed = rocks->closed;
        if (closed == NULL || rocks->failed.code != 0)
            break;
        INVARIANT(pthread_mutex_unlock(&rocks->mutex) == 0);
        struct err err = {0};
        int code = put_into_files(rocks, closed, &err);
        if (code == 0)
            code = let_go(rocks, closed, &err);
        INVARIANT(pthread_mutex_lock(&rocks->mutex) == 0);
        if (code == 0)
            rocks->closed = NULL;
        else
            rocks->failed = err;
        INVARIANT(pthread_cond_broadcast(&rocks->changed) == 0);
    }
    INVARIANT(pthread_mutex_unlock(&rocks->mutex) == 0);
    return NULL;
}

/* Until no stretch is closed. With the mutex. */
static int await_files(struct store_rocksdb *rocks, struct err *err)
{
    while (rocks->closed != NULL && rocks->failed.code == 0)
        INVARIANT(pthread_cond_wait(&rocks->changed, &rocks->mutex) == 0);
    return rocks->failed.code == 0 ? 0 : err_set(err, rocks->failed.code, "%s", rocks->failed.message);
}

/* Closes the open stretch, which nobody writes meanwhile, and opens the next. */
static int close_stretch(struct store_rocksdb *rocks, struct err *err)
{
    struct stretch *next = stretch_new(rocks->hash_key, rocks->unordered);
    if (next == NULL)
        return err_no_memory(err, "a stretch of the index");
    INVARIANT(pthread_mutex_lock(&rocks->mutex) == 0);
    int code = await_files(rocks, err);
    if (code == 0) {
        INVARIANT(pthread_mutex_lock(&rocks->writing) == 0);
        INVARIANT(pthread_rwlock_wrlock(&rocks->sources) == 0);
        rocks->closed = rocks->stretches[0];
        rocks->stretches[1] = rocks->closed;
        rocks->stretches[0] = next;
        unlock_sources(rocks);
        INVARIANT(pthread_mutex_unlock(&rocks->writing) == 0);
        INVARIANT(pthread_cond_broadcast(&rocks->changed) == 0);
    }
    INVARIANT(pthread_mutex_unlock(&rocks->mutex) == 0);
    if (code != 0)
        stretch_release(next);
    return code;
}

static int rocks_flush(struct store *store, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    PRE(!rocks->batch_open);
    int code = stretch_empty(rocks->stretches[0]) ? 0 : close_stretch(rocks, err);
    if (code != 0)
        return code;
    INVARIANT(pthread_mutex_lock(&rocks->mutex) == 0);
    code = await_files(rocks, err);
    INVARIANT(pthread_mutex_unlock(&rocks->mutex) == 0);
    return code;
}

/* --- Changing --- */

static int rocks_begin(struct store *store, struct store_view **ret, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    PRE(!rocks->batch_open);
    int code = stretch_full(rocks->stretches[0]) ? close_stretch(rocks, err) : 0;
    if (code != 0)
        return code;
    rocks->batch_open = true;
    *ret = &rocks->batch_view;
    return 0;
}

/* ahead: 1 in the batch that is open, 0 for what is there at once. */
static int write_record(struct store_rocksdb *rocks, unsigned ahead, enum stretch_kind kind, struct bytes key,
                        struct bytes value, struct err *err)
{
    INVARIANT(pthread_mutex_lock(&rocks->writing) == 0);
    uint64_t number = atomic_load_explicit(&rocks->committed, memory_order_relaxed) + ahead;
    int code = stretch_write(rocks->stretches[0], number, ahead > 0, kind, key, value);
    INVARIANT(pthread_mutex_unlock(&rocks->writing) == 0);
    return code == 0 ? 0 : err_no_memory(err, "a batch of the index");
}

static int rocks_put(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return write_record(from_store(store), 1, STRETCH_PUT, key, value, err);
}

static int rocks_append(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return write_record(from_store(store), 1, STRETCH_APPEND, key, value, err);
}

static int rocks_remove(struct store *store, struct bytes key, struct err *err)
{
    return write_record(from_store(store), 1, STRETCH_REMOVE, key, bytes_of(NULL, 0), err);
}

static int rocks_put_alone(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return write_record(from_store(store), 0, STRETCH_PUT, key, value, err);
}

static int rocks_commit(struct store *store, struct err *err)
{
    struct store_rocksdb *rocks = from_store(store);
    (void)err;
    PRE(rocks->batch_open);
    atomic_fetch_add_explicit(&rocks->committed, 1, memory_order_release);
    rocks->batch_open = false;
    return 0;
}

static void rocks_abort(struct store *store)
{
    struct store_rocksdb *rocks = from_store(store);
    PRE(rocks->batch_open);
    stretch_take_back(rocks->stretches[0], atomic_load_explicit(&rocks->committed, memory_order_relaxed) + 1);
    rocks->batch_open = false;
}

/* --- Appends, in files --- */

static char *join(const char *existing, size_t existing_size, const char *const *operands, const size_t *sizes,
                  int count, unsigned char *success, size_t *ret_size)
{
    size_t size = existing_size;
    for (int i = 0; i < count; i++)
        size += sizes[i];
    char *joined = mem_alloc(size);
    *success = joined != NULL;
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
    rocksdb_options_set_compression(options, rocksdb_no_compression); /* ids and places are close to random */
    rocksdb_options_set_merge_operator(options, rocksdb_mergeoperator_create(NULL, keep_state, join_all, join_some,
                                                                             free_joined, name_of_appending));
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
    char *message = NULL;
    rocks->db = rocksdb_open(rocks->options, rocks->folder, &message);
    if (message != NULL)
        return open_failure(rocks, message, err);
    rocks->base = new_base(rocks);
    rocks->stretches[0] = stretch_new(rocks->hash_key, rocks->unordered);
    return rocks->base == NULL || rocks->stretches[0] == NULL ? err_no_memory(err, "the index") : 0;
}

static int remove_left(void *context, const char *name, bool is_dir)
{
    struct store_rocksdb *rocks = context;
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, rocks->incoming, name, NULL);
    return code != 0 || is_dir ? code : disk_remove(disk_posix(), path, NULL);
}

/* Once RocksDB's lock is held: another process may be writing there before. */
static int prepare_incoming(struct store_rocksdb *rocks, struct err *err)
{
    int code = disk_join(rocks->incoming, rocks->folder, "incoming", err);
    if (code == 0)
        code = disk_make_dir(disk_posix(), rocks->incoming, err);
    if (code == 0)
        code = disk_list(disk_posix(), rocks->incoming, remove_left, rocks, err);
    return code;
}

static int start_thread(struct store_rocksdb *rocks, struct err *err)
{
    rocks->thread_started = pthread_create(&rocks->thread, NULL, put_closed_into_files, rocks) == 0;
    return rocks->thread_started ? 0 : err_set(err, ERR_NO_MEMORY, "no thread can be started for the index's files");
}

static void stop_thread(struct store_rocksdb *rocks)
{
    if (!rocks->thread_started)
        return;
    INVARIANT(pthread_mutex_lock(&rocks->mutex) == 0);
    rocks->stopping = true;
    INVARIANT(pthread_cond_broadcast(&rocks->changed) == 0);
    INVARIANT(pthread_mutex_unlock(&rocks->mutex) == 0);
    INVARIANT(pthread_join(rocks->thread, NULL) == 0);
}

static void rocks_close(struct store *store)
{
    struct store_rocksdb *rocks = from_store(store);
    stop_thread(rocks);
    for (size_t i = 0; i < SOURCES; i++)
        stretch_release(rocks->stretches[i]);
    release_base(rocks, rocks->base);
    if (rocks->db != NULL)
        rocksdb_close(rocks->db);
    rocksdb_ingestexternalfileoptions_destroy(rocks->ingest_options);
    rocksdb_envoptions_destroy(rocks->file_options);
    rocksdb_options_destroy(rocks->options);
    INVARIANT(pthread_cond_destroy(&rocks->changed) == 0);
    INVARIANT(pthread_mutex_destroy(&rocks->mutex) == 0);
    INVARIANT(pthread_rwlock_destroy(&rocks->sources) == 0);
    INVARIANT(pthread_mutex_destroy(&rocks->writing) == 0);
    mem_free(rocks);
}

static const struct store_ops rocks_ops = {
    .view_open = rocks_view_open,
    .view_close = rocks_view_close,
    .get = rocks_get,
    .walk = rocks_walk,
    .begin = rocks_begin,
    .put = rocks_put,
    .append = rocks_append,
    .remove = rocks_remove,
    .commit = rocks_commit,
    .abort = rocks_abort,
    .put_alone = rocks_put_alone,
    .flush = rocks_flush,
    .corrupt = rocks_corrupt,
    .close = rocks_close,
};

/* A look-up never holds the lock for long, and looks again as soon as it can: writers would wait for ever. */
static void init_locks(struct store_rocksdb *rocks)
{
    pthread_rwlockattr_t attributes;
    INVARIANT(pthread_rwlockattr_init(&attributes) == 0);
    INVARIANT(pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    INVARIANT(pthread_rwlock_init(&rocks->sources, &attributes) == 0);
    INVARIANT(pthread_rwlockattr_destroy(&attributes) == 0);
    INVARIANT(pthread_mutex_init(&rocks->writing, NULL) == 0);
    INVARIANT(pthread_mutex_init(&rocks->mutex, NULL) == 0);
    INVARIANT(pthread_cond_init(&rocks->changed, NULL) == 0);
}

static struct store_rocksdb *new_rocks(const char *folder, const char *unordered)
{
    struct store_rocksdb *rocks = mem_alloc_zero(1, sizeof(*rocks));
    if (rocks == NULL)
        return NULL;
    rocks->store.ops = &rocks_ops;
    copy_string(rocks->folder, sizeof(rocks->folder), folder);
    rocks->unordered = unordered;
    entropy_fill(rocks->hash_key, sizeof(rocks->hash_key));
    rocks->options = new_options();
    rocks->file_options = rocksdb_envoptions_create();
    rocks->ingest_options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(rocks->ingest_options, 1);
    init_locks(rocks);
    return rocks;
}

int store_rocksdb_open(const char *folder, const char *unordered, struct store **ret, struct err *err)
{
    if (strlen(folder) >= DISK_PATH_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "the path of the index folder is longer than %d bytes",
                       DISK_PATH_MAX_BYTES - 1);
    int code = disk_make_dir(disk_posix(), folder, err);
    if (code != 0)
        return err_wrap(err, code, "opening the index");
    struct store_rocksdb *rocks = new_rocks(folder, unordered);
    if (rocks == NULL)
        return err_no_memory(err, "the index");
    code = open_database(rocks, err);
    if (code == 0)
        code = prepare_incoming(rocks, err);
    if (code == 0)
        code = start_thread(rocks, err);
    if (code != 0) {
        rocks_close(&rocks->store);
        return code;
    }
    *ret = &rocks->store;
    return 0;
}
