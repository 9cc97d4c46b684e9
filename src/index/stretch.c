/* Keys stand in a hash table with a chain for each bucket, and in lists: one for each unordered byte, in no order, and
 * a skip list for all others. New keys and records are complete before a pointer to them is stored (release), and
 * readers follow pointers with acquire, so they see all of it or nothing.
 *
 * The table has a fixed size, because it could not grow under its readers. STRETCH_FULL_BYTES bounds the keys to about
 * as many as there are buckets; a batch that goes on past that makes chains longer, and nothing else.
 *
 * Invariant: along `older`, batch numbers never grow, but for records taken back. */
#include "index/stretch.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/siphash.h"

enum { BUCKETS = 512 * 1024, CACHE_LINE_BYTES = 64, LEVEL_FANOUT_BITS = 2, ORDERED = STRETCH_UNORDERED_MAX };

#define TAKEN_BACK UINT64_MAX

/* --- Making --- */

static struct stretch_key *new_key(struct stretch *stretch, struct bytes bytes, uint64_t hash, unsigned level_count)
{
    size_t levels_bytes = level_count * sizeof(struct stretch_key *);
    struct stretch_key *key = arena_alloc(&stretch->arena, sizeof(*key) + levels_bytes + bytes.size_bytes);
    if (key == NULL)
        return NULL;
    *key = (struct stretch_key){
        .hash = hash, .size_bytes = (uint16_t)bytes.size_bytes, .level_count = (uint16_t)level_count};
    memset(key->next, 0, levels_bytes);
    if (bytes.size_bytes > 0)
        memcpy((uint8_t *)(uintptr_t)(key->next + level_count), bytes.data, bytes.size_bytes);
    return key;
}

struct stretch *stretch_new(const uint8_t hash_key[16], const char *unordered)
{
    struct stretch *stretch = mem_alloc_zero(1, sizeof(*stretch));
    if (stretch == NULL)
        return NULL;
    PRE(strlen(unordered) <= STRETCH_UNORDERED_MAX);
    stretch->unordered_count = strlen(unordered);
    memcpy(stretch->unordered, unordered, stretch->unordered_count);
    memcpy(stretch->hash_key, hash_key, sizeof(stretch->hash_key));
    atomic_init(&stretch->holders, 1);
    arena_init(&stretch->arena, STRETCH_BYTES_MAX);
    stretch->levels_seed = 1;
    stretch->buckets = mem_alloc_zero(BUCKETS, sizeof(struct stretch_key *));
    stretch->filter = mem_alloc_zero(BUCKETS, sizeof(*stretch->filter));
    bool complete = stretch->buckets != NULL && stretch->filter != NULL;
    for (size_t i = 0; i <= ORDERED && complete; i++) {
        stretch->first[i] = new_key(stretch, bytes_of(NULL, 0), 0, i == ORDERED ? STRETCH_LEVELS_MAX : 1);
        complete = stretch->first[i] != NULL;
    }
    if (complete)
        return stretch;
    stretch_release(stretch);
    return NULL;
}

struct stretch *stretch_hold(struct stretch *stretch)
{
    if (stretch != NULL)
        atomic_fetch_add(&stretch->holders, 1);
    return stretch;
}

void stretch_release(struct stretch *stretch)
{
    if (stretch == NULL || atomic_fetch_sub(&stretch->holders, 1) > 1)
        return;
    mem_free((void *)(uintptr_t)stretch->filter);
    mem_free((void *)(uintptr_t)stretch->buckets);
    arena_free(&stretch->arena);
    mem_free(stretch);
}

bool stretch_full(const struct stretch *stretch)
{
    return stretch->arena.used_bytes >= STRETCH_FULL_BYTES;
}

bool stretch_empty(const struct stretch *stretch)
{
    return stretch->key_count == 0;
}

/* --- Keys --- */

struct bytes stretch_key_bytes(const struct stretch_key *key)
{
    return bytes_of(key->next + key->level_count, key->size_bytes);
}

static struct stretch_key *following(const struct stretch_key *key, unsigned level)
{
    return atomic_load_explicit(&key->next[level], memory_order_acquire);
}

/* Which list the key is in. */
static size_t list_of(const struct stretch *stretch, struct bytes key)
{
    for (size_t i = 0; key.size_bytes > 0 && i < stretch->unordered_count; i++) {
        if (stretch->unordered[i] == key.data[0])
            return i;
    }
    return ORDERED;
}

static uint8_t filter_bit(uint64_t hash)
{
    return (uint8_t)(1u << (hash >> 61));
}

/* NULL when no key with that hash is there, for all that the filter knows. */
static struct stretch_key *first_of_bucket(const struct stretch *stretch, uint64_t hash)
{
    /* The key is in its bucket before its bit is set, and the bit is set before the batch is committed. */
    uint8_t bits = atomic_load_explicit(&stretch->filter[hash % BUCKETS], memory_order_acquire);
    if ((bits & filter_bit(hash)) == 0)
        return NULL;
    return atomic_load_explicit(&stretch->buckets[hash % BUCKETS], memory_order_acquire);
}

static struct stretch_key *find_key(const struct stretch *stretch, struct bytes bytes, uint64_t hash)
{
    struct stretch_key *key = first_of_bucket(stretch, hash);
    while (key != NULL && (key->hash != hash || !bytes_equal(stretch_key_bytes(key), bytes)))
        key = atomic_load_explicit(&key->chained, memory_order_acquire);
    return key;
}

/* The last key of the skip list below `bytes` on each level (or the head). */
static void find_path(const struct stretch *stretch, struct bytes bytes, struct stretch_key *path[STRETCH_LEVELS_MAX])
{
    struct stretch_key *at = stretch->first[ORDERED];
    for (unsigned level = STRETCH_LEVELS_MAX; level-- > 0;) {
        struct stretch_key *next = following(at, level);
        while (next != NULL && bytes_compare(stretch_key_bytes(next), bytes) < 0) {
            at = next;
            next = following(at, level);
        }
        path[level] = at;
    }
}

/* xorshift64 (Marsaglia, 2003). */
static unsigned draw_level_count(struct stretch *stretch)
{
    unsigned count = 1;
    uint64_t *seed = &stretch->levels_seed;
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    for (uint64_t bits = *seed; count < STRETCH_LEVELS_MAX && (bits & ((1u << LEVEL_FANOUT_BITS) - 1)) == 0; count++)
        bits >>= LEVEL_FANOUT_BITS;
    return count;
}

static struct stretch_key *add_key(struct stretch *stretch, struct bytes bytes, uint64_t hash)
{
    size_t list = list_of(stretch, bytes);
    unsigned level_count = list == ORDERED ? draw_level_count(stretch) : 1;
    struct stretch_key *key = new_key(stretch, bytes, hash, level_count);
    if (key == NULL)
        return NULL;
    struct stretch_key *path[STRETCH_LEVELS_MAX] = {stretch->first[list]};
    if (list == ORDERED)
        find_path(stretch, bytes, path);
    for (unsigned level = 0; level < level_count; level++) {
        atomic_store_explicit(&key->next[level], following(path[level], level), memory_order_relaxed);
        atomic_store_explicit(&path[level]->next[level], key, memory_order_release);
    }
    struct stretch_key *_Atomic *bucket = &stretch->buckets[hash % BUCKETS];
    atomic_store_explicit(&key->chained, atomic_load_explicit(bucket, memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(bucket, key, memory_order_release);
    (void)atomic_fetch_or_explicit(&stretch->filter[hash % BUCKETS], filter_bit(hash), memory_order_release);
    stretch->key_count++;
    return key;
}

/* --- Writing --- */

static int add_record(struct stretch *stretch, struct stretch_key *key, uint64_t batch_number, enum stretch_kind kind,
                      struct bytes value)
{
    struct stretch_record *record = arena_alloc(&stretch->arena, sizeof(*record) + value.size_bytes);
    if (record == NULL)
        return ERR_NO_MEMORY;
    record->older = atomic_load_explicit(&key->latest, memory_order_relaxed);
    atomic_init(&record->batch_number, batch_number);
    record->size_bytes = (uint32_t)value.size_bytes;
    record->kind = kind;
    if (value.size_bytes > 0)
        memcpy(record->data, value.data, value.size_bytes);
    atomic_store_explicit(&key->latest, record, memory_order_release);
    return 0;
}

/* A put over one of the same batch and size: nobody else has seen the one before, so its bytes may change. */
static bool put_over(struct stretch_key *key, uint64_t batch_number, struct bytes value)
{
    struct stretch_record *record = atomic_load_explicit(&key->latest, memory_order_relaxed);
    if (record == NULL || record->kind != STRETCH_PUT || record->size_bytes != value.size_bytes ||
        value.size_bytes == 0 || atomic_load_explicit(&record->batch_number, memory_order_relaxed) != batch_number)
        return false;
    memcpy(record->data, value.data, value.size_bytes);
    return true;
}

int stretch_write(struct stretch *stretch, uint64_t batch_number, bool unseen, enum stretch_kind kind,
                  struct bytes bytes, struct bytes value)
{
    PRE(bytes.size_bytes <= UINT16_MAX && value.size_bytes <= UINT32_MAX);
    uint64_t hash = siphash24(stretch->hash_key, bytes);
    struct stretch_key *key = find_key(stretch, bytes, hash);
    if (key == NULL)
        key = add_key(stretch, bytes, hash);
    if (key == NULL)
        return ERR_NO_MEMORY;
    if (unseen && kind == STRETCH_PUT && put_over(key, batch_number, value))
        return 0;
    return add_record(stretch, key, batch_number, kind, value);
}

void stretch_take_back(struct stretch *stretch, uint64_t batch_number)
{
    for (size_t list = 0; list <= ORDERED; list++) {
        for (struct stretch_key *key = following(stretch->first[list], 0); key != NULL; key = following(key, 0)) {
            struct stretch_record *record = atomic_load_explicit(&key->latest, memory_order_relaxed);
            for (; record != NULL; record = record->older) {
                if (atomic_load_explicit(&record->batch_number, memory_order_relaxed) == batch_number)
                    atomic_store_explicit(&record->batch_number, TAKEN_BACK, memory_order_relaxed);
            }
        }
    }
}

/* --- Reading --- */

static const struct stretch_record *first_visible(const struct stretch_record *record, uint64_t batch_number)
{
    while (record != NULL && atomic_load_explicit(&record->batch_number, memory_order_relaxed) > batch_number)
        record = record->older;
    return record;
}

const struct stretch_record *stretch_latest(const struct stretch_key *key, uint64_t batch_number)
{
    return first_visible(atomic_load_explicit(&key->latest, memory_order_acquire), batch_number);
}

const struct stretch_record *stretch_older(const struct stretch_record *record, uint64_t batch_number)
{
    return first_visible(record->older, batch_number);
}

const struct stretch_record *stretch_find(const struct stretch *stretch, uint64_t batch_number, struct bytes bytes,
                                          uint64_t hash)
{
    if (stretch == NULL)
        return NULL;
    const struct stretch_key *key = find_key(stretch, bytes, hash);
    return key == NULL ? NULL : stretch_latest(key, batch_number);
}

uint64_t stretch_hash(const uint8_t hash_key[16], struct bytes key)
{
    return siphash24(hash_key, key);
}

/* Three rounds, because each place is known only from the one before it: filter and bucket, first key of the bucket,
 * its latest record. A key is two lines of the cache: its bytes, for most, begin in the first and end in the second. */
void stretch_ahead(const struct stretch *stretch, const uint64_t *hashes, size_t count)
{
    if (stretch == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        __builtin_prefetch((const void *)(uintptr_t)&stretch->filter[hashes[i] % BUCKETS]);
        __builtin_prefetch((const void *)(uintptr_t)&stretch->buckets[hashes[i] % BUCKETS]);
    }
    for (size_t i = 0; i < count; i++) {
        const uint8_t *key = (const uint8_t *)first_of_bucket(stretch, hashes[i]);
        if (key != NULL) {
            __builtin_prefetch(key);
            __builtin_prefetch(key + CACHE_LINE_BYTES);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct stretch_key *key = first_of_bucket(stretch, hashes[i]);
        if (key != NULL)
            __builtin_prefetch(atomic_load_explicit(&key->latest, memory_order_relaxed));
    }
}

/* --- In order --- */

static bool has_prefix(const struct stretch_key *key, struct bytes prefix)
{
    struct bytes bytes = stretch_key_bytes(key);
    return bytes.size_bytes >= prefix.size_bytes &&
           (prefix.size_bytes == 0 || memcmp(bytes.data, prefix.data, prefix.size_bytes) == 0);
}

static const struct stretch_key *next_ordered(const struct stretch *stretch, struct bytes prefix, struct bytes from,
                                              bool beyond, bool backwards)
{
    struct stretch_key *path[STRETCH_LEVELS_MAX];
    find_path(stretch, from, path);
    const struct stretch_key *key = following(path[0], 0);
    bool there = key != NULL && bytes_equal(stretch_key_bytes(key), from);
    if (backwards && (beyond || !there))
        key = path[0] == stretch->first[ORDERED] ? NULL : path[0];
    else if (!backwards && beyond && there)
        key = following(key, 0);
    return key != NULL && has_prefix(key, prefix) ? key : NULL;
}

/* Whether a comes before b on the way. */
static bool is_nearer(const struct stretch_key *a, const struct stretch_key *b, bool backwards)
{
    int order = bytes_compare(stretch_key_bytes(a), stretch_key_bytes(b));
    return backwards ? order > 0 : order < 0;
}

static const struct stretch_key *next_unordered(const struct stretch *stretch, size_t list, struct bytes prefix,
                                                struct bytes from, bool beyond, bool backwards)
{
    const struct stretch_key *best = NULL;
    for (const struct stretch_key *key = following(stretch->first[list], 0); key != NULL; key = following(key, 0)) {
        if (!has_prefix(key, prefix))
            continue;
        int order = bytes_compare(stretch_key_bytes(key), from);
        bool ahead = order == 0 ? !beyond : (order > 0) != backwards;
        if (ahead && (best == NULL || is_nearer(key, best, backwards)))
            best = key;
    }
    return best;
}

const struct stretch_key *stretch_next(const struct stretch *stretch, struct bytes prefix, struct bytes from,
                                       bool beyond, bool backwards)
{
    const struct stretch_key *best = next_ordered(stretch, prefix, from, beyond, backwards);
    size_t list = list_of(stretch, prefix);
    for (size_t i = 0; i < stretch->unordered_count; i++) {
        if (prefix.size_bytes > 0 && i != list)
            continue;
        const struct stretch_key *key = next_unordered(stretch, i, prefix, from, beyond, backwards);
        if (key != NULL && (best == NULL || is_nearer(key, best, backwards)))
            best = key;
    }
    return best;
}

/* A key and its first bytes as numbers: most comparisons end there. */
struct sorting {
    uint64_t first;
    uint64_t second;
    const struct stretch_key *key;
};

/* The 8 bytes of a key from `from` on, zeros where it is shorter: then the keys themselves decide. */
static uint64_t word_of(struct bytes key, size_t from)
{
    uint8_t bytes[8] = {0};
    if (key.size_bytes > from)
        memcpy(bytes, key.data + from, key.size_bytes - from < 8 ? key.size_bytes - from : 8);
    return get_u64_be(bytes);
}

static int compare(const void *a, const void *b)
{
    const struct sorting *left = a;
    const struct sorting *right = b;
    if (left->first != right->first)
        return left->first < right->first ? -1 : 1;
    if (left->second != right->second)
        return left->second < right->second ? -1 : 1;
    return bytes_compare(stretch_key_bytes(left->key), stretch_key_bytes(right->key));
}

const struct stretch_key **stretch_sorted(const struct stretch *stretch)
{
    struct sorting *sorting = mem_alloc(stretch->key_count * sizeof(*sorting));
    size_t count = 0;
    if (sorting == NULL)
        return NULL;
    for (size_t list = 0; list <= ORDERED; list++) {
        for (const struct stretch_key *key = following(stretch->first[list], 0); key != NULL; key = following(key, 0)) {
            struct bytes bytes = stretch_key_bytes(key);
            sorting[count++] = (struct sorting){word_of(bytes, 0), word_of(bytes, 8), key};
        }
    }
    INVARIANT(count == stretch->key_count);
    qsort(sorting, count, sizeof(*sorting), compare);
    const struct stretch_key **keys = (const struct stretch_key **)(void *)sorting; /* each where it is read no more */
    for (size_t i = 0; i < count; i++)
        keys[i] = sorting[i].key;
    return keys;
}
