/* A stretch of changes in memory: what batches of the store wrote since the stretch before it, to be found at once and
 * to become sorted files later. Private to src/index.
 *
 * Each key has its records, the latest first, and each record the number of the batch that wrote it. So a reader that
 * knows the number of the last batch committed sees exactly the batches up to it, without a lock, while the next batch
 * is being written. Keys and records stay where they are until the stretch is freed.
 *
 * Keys that begin with one of the `unordered` bytes are found by hash alone: they are the many, and a place among the
 * sorted ones would cost each a microsecond. stretch_next finds them, too, but looks at all that begin with that byte.
 *
 * Threads: one thread at a time writes; any number read meanwhile. */
#ifndef INDEX_STRETCH_H
#define INDEX_STRETCH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

enum {
    STRETCH_LEVELS_MAX = 10,
    STRETCH_UNORDERED_MAX = 4,
    STRETCH_FULL_BYTES = 32 * 1024 * 1024,  /* then it takes no more batches … */
    STRETCH_BYTES_MAX = 1024 * 1024 * 1024, /* … and no batch makes it larger than this */
};

enum stretch_kind {
    STRETCH_PUT,
    STRETCH_REMOVE,
    STRETCH_APPEND, /* after what the key had before */
};

struct stretch_record {
    struct stretch_record *older;      /* of the same key, or NULL */
    atomic_uint_fast64_t batch_number; /* UINT64_MAX: of a batch that was taken back */
    uint32_t size_bytes;
    enum stretch_kind kind;
    uint8_t data[];
};

struct stretch_key {
    struct stretch_key *_Atomic chained; /* the next of its bucket */
    struct stretch_record *_Atomic latest;
    uint64_t hash;
    uint16_t size_bytes;
    uint16_t level_count;
    struct stretch_key *_Atomic next[]; /* on each level; then the key's bytes */
};

/* Opaque to others, but for the fields that count. */
struct stretch {
    atomic_uint holders;
    struct arena arena;
    size_t key_count;
    struct stretch_key *_Atomic *buckets;
    _Atomic uint8_t *filter; /* a bit for each key of the bucket, by its hash: most keys that are not there end here */
    struct stretch_key *first[STRETCH_UNORDERED_MAX + 1]; /* heads: of each unordered byte, and of all the others */
    uint8_t unordered[STRETCH_UNORDERED_MAX];
    size_t unordered_count;
    uint64_t levels_seed;
    uint8_t hash_key[16];
};

/* NULL when memory runs out. The caller holds it. At most STRETCH_UNORDERED_MAX bytes are unordered. */
struct stretch *stretch_new(const uint8_t hash_key[16], const char *unordered);
/* One more holder. NULL is fine, and stays NULL. */
struct stretch *stretch_hold(struct stretch *stretch);
/* The last one frees it. NULL is fine. */
void stretch_release(struct stretch *stretch);
bool stretch_full(const struct stretch *stretch);
bool stretch_empty(const struct stretch *stretch);

/* Writing thread. unseen: no other thread reads up to that number yet. ERR_NO_MEMORY: nothing was written. */
int stretch_write(struct stretch *stretch, uint64_t batch_number, bool unseen, enum stretch_kind kind, struct bytes key,
                  struct bytes value) MUST_USE;
/* As if that batch, the latest, had written nothing. Writing thread. */
void stretch_take_back(struct stretch *stretch, uint64_t batch_number);

/* Of a key, the same in all stretches that were made with one hash_key. */
uint64_t stretch_hash(const uint8_t hash_key[16], struct bytes key);
/* Fetches what a look-up or a write of keys with these hashes touches, so that the waiting for memory is done once for
 * all of them. Changes nothing. Nothing for a NULL stretch. */
void stretch_ahead(const struct stretch *stretch, const uint64_t *hashes, size_t count);
/* The latest record of the key, whose hash that is, that a batch up to that number wrote, or NULL. NULL for a NULL
 * stretch. */
const struct stretch_record *stretch_find(const struct stretch *stretch, uint64_t batch_number, struct bytes key,
                                          uint64_t hash);
const struct stretch_record *stretch_latest(const struct stretch_key *key, uint64_t batch_number);
/* The one before it, or NULL. */
const struct stretch_record *stretch_older(const struct stretch_record *record, uint64_t batch_number);
struct bytes stretch_key_bytes(const struct stretch_key *key);
static inline struct bytes stretch_value(const struct stretch_record *record)
{
    return bytes_of(record->data, record->size_bytes);
}

/* The key next to `from` among those with the prefix, whoever wrote it: the lowest that is not below it (not above it
 * and the highest, when backwards), or, when `beyond`, the lowest above it (highest below it). NULL: none. */
const struct stretch_key *stretch_next(const struct stretch *stretch, struct bytes prefix, struct bytes from,
                                       bool beyond, bool backwards);
/* All keys in order, in an array of key_count that the caller frees (mem_free). Of a stretch that nobody writes any
 * more. NULL when memory runs out. */
const struct stretch_key **stretch_sorted(const struct stretch *stretch);

#endif
