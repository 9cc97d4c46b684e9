/* The store in files: what was written last is in memory, the rest in sorted files (files.h).
 *
 * What batches write is collected in a stretch (stretch.h). A full stretch is closed, and a thread of the store sorts
 * it, writes it as files and ingests them, while the next stretch is being filled. There are never more than two: when
 * the second is full before the first is in files, the next batch waits.
 *
 * A look-up asks the open stretch, then the closed one, then the files, until a put or a removal answers it; appends
 * found before are added to that.
 *
 * Invariants:
 *   1. All records of a stretch, and so all of a batch, become part of the files by one ingestion, and stretches do in
 * order. So whatever survives a crash is what some prefix of the batches wrote.
 *   2. The files are read as of `base` until the stretch that was ingested is let go of and a base with it stands in
 * its place, in one move under `sources`. So no look-up finds an append twice, or a stretch nowhere.
 *   3. Only the thread that applies opens stretches and batches; only the store's own thread lets closed ones go.
 *
 * Crash behaviour: invariant 1; what is in memory is replayed from the logs.
 *
 * Failure: after an ingestion that failed its stretch stays in memory, look-ups go on, and every batch that wants the
 * next stretch is refused with that error until the index is opened again.
 *
 * Memory is bounded by two stretches, each STRETCH_FULL_BYTES and one batch. */
#include <pthread.h>

#include "base/assert.h"
#include "base/mem.h"
#include "index/files.h"
#include "index/store.h"
#include "index/stretch.h"
#include "platform/clock.h"

enum {
    SOURCES = 2, /* stretches: the open one, and the closed one */
    APPENDS_MAX_BYTES = 64 * 1024 * 1024,
};

#define EVERYTHING (UINT64_MAX - 1) /* batch number of one who sees all that was not taken back */

/* What a look-up sees. */
struct sight {
    const uint8_t *hash_key;            /* of the stretches */
    uint64_t batch_number;              /* of the last batch that is seen */
    struct stretch *stretches[SOURCES]; /* the open one, the closed one or NULL */
    struct files_base *base;
};

struct store_view {
    struct sight sight;
};

struct store_layered {
    struct store store;
    struct files *files;

    pthread_mutex_t writing; /* of the open stretch: the batch, and keys put alone */
    bool batch_open;
    struct store_view batch_view;   /* only its address matters */
    atomic_uint_fast64_t committed; /* number of the last batch that others see */

    pthread_rwlock_t sources; /* of the two below */
    struct stretch *stretches[SOURCES];
    struct files_base *base;

    pthread_t thread;
    bool thread_started;
    pthread_mutex_t mutex; /* of the three below */
    pthread_cond_t changed;
    struct stretch *closed; /* what the thread puts into files, or is to */
    bool stopping;
    struct err failed; /* code 0: nothing failed yet */

    const char *unordered; /* bytes that begin a key which is mostly got, not walked to */
    uint8_t hash_key[16];  /* of the stretches' tables: outsiders choose keys */
};

static struct store_layered *from_store(struct store *store)
{
    return (struct store_layered *)(void *)store;
}

/* --- What a look-up sees --- */

static void lock_sources(struct store_layered *layered)
{
    INVARIANT(pthread_rwlock_rdlock(&layered->sources) == 0);
}

static void unlock_sources(struct store_layered *layered)
{
    INVARIANT(pthread_rwlock_unlock(&layered->sources) == 0);
}

/* Valid as long as the sources are locked. */
static struct sight sight_of(struct store_layered *layered, const struct store_view *view)
{
    if (view != STORE_LATEST && view != &layered->batch_view)
        return view->sight;
    struct sight sight = {.hash_key = layered->hash_key, .base = layered->base};
    memcpy(sight.stretches, layered->stretches, sizeof(sight.stretches));
    sight.batch_number = atomic_load_explicit(&layered->committed, memory_order_acquire);
    if (view == &layered->batch_view)
        sight.batch_number++;
    return sight;
}

static struct sight hold_sight(struct store_layered *layered, const struct store_view *view)
{
    lock_sources(layered);
    struct sight sight = sight_of(layered, view);
    for (size_t i = 0; i < SOURCES; i++)
        (void)stretch_hold(sight.stretches[i]);
    (void)files_base_hold(sight.base);
    unlock_sources(layered);
    return sight;
}

static void release_sight(const struct sight *sight)
{
    for (size_t i = 0; i < SOURCES; i++)
        stretch_release(sight->stretches[i]);
    files_base_release(sight->base);
}

static int layered_view_open(struct store *store, struct store_view **ret, struct err *err)
{
    struct store_view *view = mem_alloc(sizeof(*view));
    if (view == NULL)
        return err_no_memory(err, "a view of the index");
    view->sight = hold_sight(from_store(store), STORE_LATEST);
    *ret = view;
    return 0;
}

static void layered_view_close(struct store *store, struct store_view *view)
{
    PRE(view != &from_store(store)->batch_view);
    release_sight(&view->sight);
    mem_free(view);
}

/* --- Reading --- */

static int cannot_keep(int code, struct err *err)
{
    return err_set(err, code, "a value of the index cannot be kept in memory");
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

static int look_up(const struct sight *sight, struct bytes key, struct buf *value, bool *ret_found, struct err *err)
{
    uint64_t hash = stretch_hash(sight->hash_key, key);
    const struct stretch_record *under = NULL;
    struct buf appends;
    bool found = false;
    int code = 0;
    buf_init(&appends, APPENDS_MAX_BYTES);
    for (size_t i = 0; code == 0 && under == NULL && i < SOURCES; i++)
        code = gather(stretch_find(sight->stretches[i], sight->batch_number, key, hash), sight->batch_number, &appends,
                      &under);
    if (code == 0 && under == NULL) {
        code = files_get(sight->base, key, value, &found, err);
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

static int layered_get(struct store *store, const struct store_view *view, struct bytes key, struct buf *value,
                       bool *ret_found, struct err *err)
{
    struct store_layered *layered = from_store(store);
    lock_sources(layered);
    struct sight sight = sight_of(layered, view);
    int code = look_up(&sight, key, value, ret_found, err);
    unlock_sources(layered);
    return code;
}

static void layered_ahead(struct store *store, const struct bytes *keys, size_t count)
{
    struct store_layered *layered = from_store(store);
    uint64_t hashes[STORE_AHEAD_MAX];
    PRE(count <= STORE_AHEAD_MAX);
    for (size_t i = 0; i < count; i++)
        hashes[i] = stretch_hash(layered->hash_key, keys[i]);
    lock_sources(layered);
    for (size_t i = 0; i < SOURCES; i++)
        stretch_ahead(layered->stretches[i], hashes, count);
    unlock_sources(layered);
}

/* A walk over the keys of the files and those of the stretches, each once. */
struct walking {
    struct sight sight;
    struct files_iterator *iterator;
    const struct stretch_key *keys[SOURCES]; /* the next ones; NULL at the end */
    struct bytes prefix;
    bool backwards;
    struct buf value;
};

static struct bytes key_in_files(const struct walking *walking)
{
    struct bytes key = files_key(walking->iterator);
    struct bytes prefix = walking->prefix;
    bool inside = key.size_bytes >= prefix.size_bytes &&
                  (prefix.size_bytes == 0 || memcmp(key.data, prefix.data, prefix.size_bytes) == 0);
    return inside ? key : bytes_of(NULL, 0);
}

/* The next key of all, empty at the end. */
static struct bytes nearest(const struct walking *walking)
{
    struct bytes best = key_in_files(walking);
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
    for (size_t i = 0; i < SOURCES; i++)
        in_memory = in_memory || (walking->keys[i] != NULL && bytes_equal(stretch_key_bytes(walking->keys[i]), key));
    if (!in_memory)
        return each(context, key, files_value(walking->iterator), err);
    int code = look_up(&walking->sight, key, &walking->value, &found, err);
    return code == 0 && found ? each(context, key, buf_bytes(&walking->value), err) : code;
}

static void step_over(struct walking *walking, struct bytes key)
{
    bool in_files = bytes_equal(key_in_files(walking), key);
    for (size_t i = 0; i < SOURCES; i++) {
        const struct stretch_key *at = walking->keys[i];
        if (at != NULL && bytes_equal(stretch_key_bytes(at), key))
            walking->keys[i] =
                stretch_next(walking->sight.stretches[i], walking->prefix, key, true, walking->backwards);
    }
    if (in_files) /* last: key may be the iterator's */
        files_step(walking->iterator);
}

static int walk_from(struct walking *walking, struct bytes from, store_walk_fn *each, void *context, struct err *err)
{
    int code = 0;
    for (size_t i = 0; i < SOURCES; i++) {
        const struct stretch *stretch = walking->sight.stretches[i];
        if (stretch != NULL)
            walking->keys[i] = stretch_next(stretch, walking->prefix, from, false, walking->backwards);
    }
    for (struct bytes key = nearest(walking); code == 0 && key.size_bytes > 0; key = nearest(walking)) {
        code = visit(walking, key, each, context, err);
        if (code == 0)
            step_over(walking, key);
        else
            break;
    }
    return code == ERR_END ? 0 : code;
}

static int layered_walk(struct store *store, const struct store_view *view, struct bytes prefix, struct bytes from,
                        bool backwards, store_walk_fn *each, void *context, struct err *err)
{
    struct walking walking = {.sight = hold_sight(from_store(store), view), .prefix = prefix, .backwards = backwards};
    buf_init(&walking.value, STORE_VALUE_MAX_BYTES);
    walking.iterator = files_seek(walking.sight.base, from, backwards);
    int code = walking.iterator == NULL ? err_no_memory(err, "a walk of the index") : 0;
    if (code == 0) {
        code = walk_from(&walking, from, each, context, err);
        int end_code = files_finish(walking.iterator, code == 0 ? err : NULL);
        code = code == 0 ? end_code : code;
    }
    buf_free(&walking.value);
    release_sight(&walking.sight);
    return code;
}

/* --- Into files --- */

/* A stretch on its way. */
struct filing {
    struct files_writer *writer;
    struct buf appends;
    struct buf value;
};

/* What all records of a key come to. */
static int file_key_records(struct filing *filing, const struct stretch_key *key, struct err *err)
{
    struct bytes name = stretch_key_bytes(key);
    const struct stretch_record *under = NULL;
    buf_clear(&filing->appends);
    buf_clear(&filing->value);
    const struct stretch_record *latest = stretch_latest(key, EVERYTHING);
    if (latest == NULL)
        return 0;
    int code = gather(latest, EVERYTHING, &filing->appends, &under);
    if (code == 0 && under != NULL && under->kind == STRETCH_PUT)
        code = buf_append(&filing->value, stretch_value(under));
    if (code == 0)
        code = add_appends(&filing->appends, &filing->value);
    if (code != 0)
        return cannot_keep(code, err);
    if (under == NULL)
        return files_append(filing->writer, name, buf_bytes(&filing->value), err);
    if (latest->kind == STRETCH_REMOVE)
        return files_remove(filing->writer, name, err);
    return files_put(filing->writer, name, buf_bytes(&filing->value), err);
}

/* In order, keys and their records lie anywhere in memory: those that come soon are fetched meanwhile. */
static void fetch_ahead(const struct stretch_key *const *keys, size_t count, size_t at)
{
    enum { KEYS_AHEAD = 16, RECORDS_AHEAD = 8, CACHE_LINE_BYTES = 64 };
    if (at + KEYS_AHEAD < count) {
        const uint8_t *key = (const uint8_t *)keys[at + KEYS_AHEAD];
        __builtin_prefetch(key);
        __builtin_prefetch(key + CACHE_LINE_BYTES);
    }
    if (at + RECORDS_AHEAD < count)
        __builtin_prefetch(atomic_load_explicit(&keys[at + RECORDS_AHEAD]->latest, memory_order_relaxed));
}

static int put_into_files(struct store_layered *layered, const struct stretch *stretch, struct err *err)
{
    struct filing filing = {.writer = NULL};
    const struct stretch_key **keys = stretch_sorted(stretch);
    int code =
        keys == NULL ? err_no_memory(err, "files of the index") : files_begin(layered->files, &filing.writer, err);
    if (code != 0)
        goto out;
    buf_init(&filing.appends, APPENDS_MAX_BYTES);
    buf_init(&filing.value, APPENDS_MAX_BYTES);
    for (size_t i = 0; code == 0 && i < stretch->key_count; i++) {
        fetch_ahead(keys, stretch->key_count, i);
        code = file_key_records(&filing, keys[i], err);
    }
    if (code == 0)
        code = files_ingest(filing.writer, err);
    else
        files_abandon(filing.writer);
    buf_free(&filing.appends);
    buf_free(&filing.value);
out:
    mem_free((void *)keys);
    return code;
}

/* The files have what the closed stretch has. */
static int let_go(struct store_layered *layered, struct stretch *closed, struct err *err)
{
    struct files_base *base = files_base_new(layered->files);
    if (base == NULL)
        return err_no_memory(err, "a snapshot of the index");
    INVARIANT(pthread_rwlock_wrlock(&layered->sources) == 0);
    struct files_base *before = layered->base;
    INVARIANT(layered->stretches[1] == closed);
    layered->stretches[1] = NULL;
    layered->base = base;
    unlock_sources(layered);
    files_base_release(before);
    stretch_release(closed);
    return 0;
}

static void *put_closed_into_files(void *context)
{
    struct store_layered *layered = context;
    INVARIANT(pthread_mutex_lock(&layered->mutex) == 0);
    for (;;) {
        while (!layered->stopping && (layered->closed == NULL || layered->failed.code != 0))
            INVARIANT(pthread_cond_wait(&layered->changed, &layered->mutex) == 0);
        struct stretch *closed = layered->closed;
        if (closed == NULL || layered->failed.code != 0)
            break;
        INVARIANT(pthread_mutex_unlock(&layered->mutex) == 0);
        struct err err = {0};
        int code = put_into_files(layered, closed, &err);
        if (code == 0)
            code = let_go(layered, closed, &err);
        INVARIANT(pthread_mutex_lock(&layered->mutex) == 0);
        if (code == 0)
            layered->closed = NULL;
        else
            layered->failed = err;
        INVARIANT(pthread_cond_broadcast(&layered->changed) == 0);
    }
    INVARIANT(pthread_mutex_unlock(&layered->mutex) == 0);
    return NULL;
}

/* Until no stretch is closed. With the mutex. */
static int await_files(struct store_layered *layered, struct err *err)
{
    while (layered->closed != NULL && layered->failed.code == 0)
        INVARIANT(pthread_cond_wait(&layered->changed, &layered->mutex) == 0);
    return layered->failed.code == 0 ? 0 : err_set(err, layered->failed.code, "%s", layered->failed.message);
}

/* Closes the open stretch, which nobody writes meanwhile, and opens the next. */
static int close_stretch(struct store_layered *layered, struct err *err)
{
    struct stretch *next = stretch_new(layered->hash_key, layered->unordered);
    if (next == NULL)
        return err_no_memory(err, "a stretch of the index");
    INVARIANT(pthread_mutex_lock(&layered->mutex) == 0);
    int code = await_files(layered, err);
    if (code == 0) {
        INVARIANT(pthread_mutex_lock(&layered->writing) == 0);
        INVARIANT(pthread_rwlock_wrlock(&layered->sources) == 0);
        layered->closed = layered->stretches[0];
        layered->stretches[1] = layered->closed;
        layered->stretches[0] = next;
        unlock_sources(layered);
        INVARIANT(pthread_mutex_unlock(&layered->writing) == 0);
        INVARIANT(pthread_cond_broadcast(&layered->changed) == 0);
    }
    INVARIANT(pthread_mutex_unlock(&layered->mutex) == 0);
    if (code != 0)
        stretch_release(next);
    return code;
}

static int layered_flush(struct store *store, struct err *err)
{
    struct store_layered *layered = from_store(store);
    PRE(!layered->batch_open);
    int code = stretch_empty(layered->stretches[0]) ? 0 : close_stretch(layered, err);
    if (code != 0)
        return code;
    INVARIANT(pthread_mutex_lock(&layered->mutex) == 0);
    code = await_files(layered, err);
    INVARIANT(pthread_mutex_unlock(&layered->mutex) == 0);
    return code;
}

/* --- Changing --- */

static int layered_begin(struct store *store, struct store_view **ret, struct err *err)
{
    struct store_layered *layered = from_store(store);
    PRE(!layered->batch_open);
    int code = stretch_full(layered->stretches[0]) ? close_stretch(layered, err) : 0;
    if (code != 0)
        return code;
    layered->batch_open = true;
    *ret = &layered->batch_view;
    return 0;
}

/* ahead: 1 in the batch that is open, 0 for what is there at once. */
static int write_record(struct store_layered *layered, unsigned ahead, enum stretch_kind kind, struct bytes key,
                        struct bytes value, struct err *err)
{
    INVARIANT(pthread_mutex_lock(&layered->writing) == 0);
    uint64_t number = atomic_load_explicit(&layered->committed, memory_order_relaxed) + ahead;
    int code = stretch_write(layered->stretches[0], number, ahead > 0, kind, key, value);
    INVARIANT(pthread_mutex_unlock(&layered->writing) == 0);
    return code == 0 ? 0 : err_no_memory(err, "a batch of the index");
}

static int layered_put(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return write_record(from_store(store), 1, STRETCH_PUT, key, value, err);
}

static int layered_append(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return write_record(from_store(store), 1, STRETCH_APPEND, key, value, err);
}

static int layered_remove(struct store *store, struct bytes key, struct err *err)
{
    return write_record(from_store(store), 1, STRETCH_REMOVE, key, bytes_of(NULL, 0), err);
}

static int layered_put_alone(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return write_record(from_store(store), 0, STRETCH_PUT, key, value, err);
}

static int layered_commit(struct store *store, struct err *err)
{
    struct store_layered *layered = from_store(store);
    (void)err;
    PRE(layered->batch_open);
    atomic_fetch_add_explicit(&layered->committed, 1, memory_order_release);
    layered->batch_open = false;
    return 0;
}

static void layered_abort(struct store *store)
{
    struct store_layered *layered = from_store(store);
    PRE(layered->batch_open);
    stretch_take_back(layered->stretches[0], atomic_load_explicit(&layered->committed, memory_order_relaxed) + 1);
    layered->batch_open = false;
}

/* --- Opening and closing --- */

static int start_thread(struct store_layered *layered, struct err *err)
{
    layered->thread_started = pthread_create(&layered->thread, NULL, put_closed_into_files, layered) == 0;
    return layered->thread_started ? 0 : err_set(err, ERR_NO_MEMORY, "no thread can be started for the index's files");
}

static void stop_thread(struct store_layered *layered)
{
    if (!layered->thread_started)
        return;
    INVARIANT(pthread_mutex_lock(&layered->mutex) == 0);
    layered->stopping = true;
    INVARIANT(pthread_cond_broadcast(&layered->changed) == 0);
    INVARIANT(pthread_mutex_unlock(&layered->mutex) == 0);
    INVARIANT(pthread_join(layered->thread, NULL) == 0);
}

static void layered_close(struct store *store)
{
    struct store_layered *layered = from_store(store);
    stop_thread(layered);
    for (size_t i = 0; i < SOURCES; i++)
        stretch_release(layered->stretches[i]);
    files_base_release(layered->base);
    files_close(layered->files);
    INVARIANT(pthread_cond_destroy(&layered->changed) == 0);
    INVARIANT(pthread_mutex_destroy(&layered->mutex) == 0);
    INVARIANT(pthread_rwlock_destroy(&layered->sources) == 0);
    INVARIANT(pthread_mutex_destroy(&layered->writing) == 0);
    mem_free(layered);
}

static int layered_corrupt(struct store *store, const char *what, struct err *err)
{
    return files_corrupt(from_store(store)->files, what, err);
}

static const struct store_ops layered_ops = {
    .view_open = layered_view_open,
    .view_close = layered_view_close,
    .get = layered_get,
    .ahead = layered_ahead,
    .walk = layered_walk,
    .begin = layered_begin,
    .put = layered_put,
    .append = layered_append,
    .remove = layered_remove,
    .commit = layered_commit,
    .abort = layered_abort,
    .put_alone = layered_put_alone,
    .flush = layered_flush,
    .corrupt = layered_corrupt,
    .close = layered_close,
};

/* A look-up never holds the lock for long, and looks again as soon as it can: writers would wait for ever. */
static void init_locks(struct store_layered *layered)
{
    pthread_rwlockattr_t attributes;
    INVARIANT(pthread_rwlockattr_init(&attributes) == 0);
    INVARIANT(pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) == 0);
    INVARIANT(pthread_rwlock_init(&layered->sources, &attributes) == 0);
    INVARIANT(pthread_rwlockattr_destroy(&attributes) == 0);
    INVARIANT(pthread_mutex_init(&layered->writing, NULL) == 0);
    INVARIANT(pthread_mutex_init(&layered->mutex, NULL) == 0);
    INVARIANT(pthread_cond_init(&layered->changed, NULL) == 0);
}

static int open_sources(struct store_layered *layered, const char *folder, struct err *err)
{
    int code = files_open(folder, &layered->files, err);
    if (code != 0)
        return code;
    layered->base = files_base_new(layered->files);
    layered->stretches[0] = stretch_new(layered->hash_key, layered->unordered);
    return layered->base == NULL || layered->stretches[0] == NULL ? err_no_memory(err, "the index") : 0;
}

int store_files_open(const char *folder, const char *unordered, struct store **ret, struct err *err)
{
    struct store_layered *layered = mem_alloc_zero(1, sizeof(*layered));
    if (layered == NULL)
        return err_no_memory(err, "the index");
    layered->store.ops = &layered_ops;
    layered->unordered = unordered;
    entropy_fill(layered->hash_key, sizeof(layered->hash_key));
    init_locks(layered);
    int code = open_sources(layered, folder, err);
    if (code == 0)
        code = start_thread(layered, err);
    if (code != 0) {
        layered_close(&layered->store);
        return code;
    }
    *ret = &layered->store;
    return 0;
}
