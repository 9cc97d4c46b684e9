/* A hash map from short byte strings to a pointer. Keys are copied in; values are the caller's. Iteration is in
 * insertion order of the live entries, never in hash order, so that anything derived from a walk is the same in every
 * run and in every region. Hashing is keyed SipHash-2-4 with a fixed key unless map_init gets one: pass a random key
 * where outsiders choose the keys. Not thread-safe. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct map_slot;

/* Where a slot is, and the upper half of its key's hash: a slot is looked at only when that is equal. */
struct map_cell {
    uint32_t slot; /* position in slots + 1 */
    uint32_t tag;
};

struct map {
    struct map_slot *slots; /* insertion-ordered, with holes where entries were removed */
    struct map_cell *table; /* open addressing */
    size_t slot_count;      /* used prefix of slots, holes included */
    size_t live_count;
    size_t table_size;
    size_t max_count;
    uint8_t hash_key[16];
};

/* hash_key may be NULL. No allocation yet. */
void map_init(struct map *map, size_t max_count, const uint8_t hash_key[16]);
/* Frees keys and tables, not the values. */
void map_free(struct map *map);

/* The value, or NULL. */
void *map_get(const struct map *map, struct bytes key);
/* Inserts or replaces; value must not be NULL. ERR_TOO_LARGE past max_count, ERR_NO_MEMORY; then nothing changed. */
int map_put(struct map *map, struct bytes key, void *value) MUST_USE;
/* Inserts unless the key is there: then nothing changes, and *ret_there is its value, otherwise NULL. One look-up. Same
 * errors. */
int map_add(struct map *map, struct bytes key, void *value, void **ret_there) MUST_USE;
/* Makes room for so many entries in all, at most max_count, so that it need not grow on the way. ERR_NO_MEMORY; then
 * nothing changed. */
int map_reserve(struct map *map, size_t count) MUST_USE;
/* Removes and returns the value, or NULL. */
void *map_remove(struct map *map, struct bytes key);
/* Walks in insertion order: start with *position = 0; false at the end. The current entry may be removed meanwhile;
 * nothing may be inserted. ret_key is valid until that entry is removed, or another is inserted. */
bool map_next(const struct map *map, size_t *position, struct bytes *ret_key, void **ret_value);

#endif
