/* An ordered map from byte strings to byte strings: what the index needs of RocksDB, and nothing else. Private to
 * src/index.
 *
 * Keys are compared as unsigned bytes, a prefix first. One thread changes it, in batches: store_begin, then puts,
 * deletes and reads that see them, then store_commit or store_abort. A batch becomes visible to other threads whole or
 * not at all, and (RocksDB) batches survive a crash in order: what is found is what some prefix of them wrote.
 *
 * Other threads read through a view. STORE_LATEST is for one look-up; store_view_open gives one moment for several. */
#ifndef INDEX_STORE_H
#define INDEX_STORE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

enum {
    STORE_KEY_MAX_BYTES = 1024,
    STORE_VALUE_MAX_BYTES = 64 * 1024, /* put at once, or appended */
    STORE_AHEAD_MAX = 64,
};

struct store;

/* What a read sees. NULL: the latest committed state. */
struct store_view;
#define STORE_LATEST ((struct store_view *)NULL)

/* 0 goes on; ERR_END ends the walk, which then answers 0; any other code ends it and is its answer. Must not change the
 * store. key and value are valid during the call. */
typedef int store_walk_fn(void *context, struct bytes key, struct bytes value, struct err *err);

struct store_ops {
    int (*view_open)(struct store *store, struct store_view **ret, struct err *err);
    void (*view_close)(struct store *store, struct store_view *view);
    int (*get)(struct store *store, const struct store_view *view, struct bytes key, struct buf *value, bool *ret_found,
               struct err *err);
    void (*ahead)(struct store *store, const struct bytes *keys, size_t count);
    int (*walk)(struct store *store, const struct store_view *view, struct bytes prefix, struct bytes from,
                bool backwards, store_walk_fn *each, void *context, struct err *err);
    int (*begin)(struct store *store, struct store_view **ret, struct err *err);
    int (*put)(struct store *store, struct bytes key, struct bytes value, struct err *err);
    int (*append)(struct store *store, struct bytes key, struct bytes value, struct err *err);
    int (*remove)(struct store *store, struct bytes key, struct err *err);
    int (*commit)(struct store *store, struct err *err);
    void (*abort)(struct store *store);
    int (*put_alone)(struct store *store, struct bytes key, struct bytes value, struct err *err);
    int (*flush)(struct store *store, struct err *err);
    int (*corrupt)(struct store *store, const char *what, struct err *err);
    void (*close)(struct store *store);
};

/* First member of each implementation. */
struct store {
    const struct store_ops *ops;
};

/* Sees one moment until it is closed. In memory, batches wait meanwhile, so close it soon. */
static inline int store_view_open(struct store *store, struct store_view **ret, struct err *err)
{
    return store->ops->view_open(store, ret, err);
}

static inline void store_view_close(struct store *store, struct store_view *view)
{
    store->ops->view_close(store, view);
}

/* Replaces the contents of *value when the key is there. ERR_IO, ERR_CORRUPT, ERR_NO_MEMORY; ERR_TOO_LARGE when it was
 * appended to past value->max_bytes. */
static inline int store_get(struct store *store, const struct store_view *view, struct bytes key, struct buf *value,
                            bool *ret_found, struct err *err)
{
    return store->ops->get(store, view, key, value, ret_found, err);
}

/* Says that these keys, at most STORE_AHEAD_MAX, are got or written next: what has to be fetched from memory for that
 * is fetched for all of them together. Nothing else happens, and no answer depends on it. Any thread. */
static inline void store_ahead(struct store *store, const struct bytes *keys, size_t count)
{
    store->ops->ahead(store, keys, count);
}

/* Visits the keys that begin with prefix: from the first that is not below `from` upwards, or backwards from the last
 * that is not above it. `from` begins with prefix. */
static inline int store_walk(struct store *store, const struct store_view *view, struct bytes prefix, struct bytes from,
                             bool backwards, store_walk_fn *each, void *context, struct err *err)
{
    return store->ops->walk(store, view, prefix, from, backwards, each, context, err);
}

/* The view that sees the batch's own changes, for the thread that makes them; it dies with the batch. */
static inline int store_begin(struct store *store, struct store_view **ret, struct err *err)
{
    return store->ops->begin(store, ret, err);
}

static inline int store_put(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return store->ops->put(store, key, value, err);
}

/* Adds bytes to the end of the key's value, without looking at it: of no bytes when the key is not there. */
static inline int store_append(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return store->ops->append(store, key, value, err);
}

/* A key that is not there is no error. */
static inline int store_remove(struct store *store, struct bytes key, struct err *err)
{
    return store->ops->remove(store, key, err);
}

/* The batch is over either way; after an error it was as if never begun. */
static inline int store_commit(struct store *store, struct err *err)
{
    return store->ops->commit(store, err);
}

static inline void store_abort(struct store *store)
{
    store->ops->abort(store);
}

/* Writes one key outside of any batch. Any thread. */
static inline int store_put_alone(struct store *store, struct bytes key, struct bytes value, struct err *err)
{
    return store->ops->put_alone(store, key, value, err);
}

/* ERR_CORRUPT with a message that says where the index is and what to do. */
static inline int store_corrupt(struct store *store, const char *what, struct err *err)
{
    return store->ops->corrupt(store, what, err);
}

/* NULL when memory runs out. */
struct store *store_memory_new(void);
/* Makes the folder if need be. unordered: bytes that begin keys which are mostly got and seldom walked to; it outlives
 * the store. ERR_LOCKED, ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY, ERR_TOO_LARGE (path). */
int store_files_open(const char *folder, const char *unordered, struct store **ret, struct err *err) MUST_USE;

#endif
