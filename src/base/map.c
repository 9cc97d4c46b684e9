/* Entries live in `slots`, in insertion order; `table` finds them by hash (linear probing). A removed entry leaves a
 * hole in slots and a tombstone in the table. Both are swept out together when slots is full, so that memory follows
 * the live entries.
 *
 * Invariants: live_count <= slot_count <= slot capacity = table_size / 2; every live slot is found by exactly one table
 * cell. */
#include "base/map.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/siphash.h"

/* Short keys, the usual ones, stand in the slot itself: no allocation for each, and no second place in memory to look
 * at. */
enum { MAP_KEY_INSIDE_BYTES = 24 };

struct map_slot {
    union {
        uint8_t inside[MAP_KEY_INSIDE_BYTES];
        uint8_t *outside; /* owned */
    } key;
    size_t key_size_bytes;
    uint64_t hash;
    void *value; /* NULL for a hole */
};

enum { MAP_CELL_FREE = 0, MAP_TABLE_MIN = 32 };
static const uint32_t cell_tombstone = UINT32_MAX;

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

void map_init(struct map *map, size_t max_count, const uint8_t hash_key[16])
{
    PRE(max_count < UINT32_MAX / 4);
    *map = (struct map){.max_count = max_count};
    if (hash_key != NULL)
        memcpy(map->hash_key, hash_key, sizeof(map->hash_key));
}

static struct bytes key_of(const struct map_slot *slot)
{
    bool inside = slot->key_size_bytes <= MAP_KEY_INSIDE_BYTES;
    return bytes_of(inside ? slot->key.inside : slot->key.outside, slot->key_size_bytes);
}

static void free_key(struct map_slot *slot)
{
    if (slot->key_size_bytes > MAP_KEY_INSIDE_BYTES)
        mem_free(slot->key.outside);
}

void map_free(struct map *map)
{
    for (size_t i = 0; i < map->slot_count; i++)
        free_key(&map->slots[i]);
    mem_free(map->slots);
    mem_free(map->table);
    *map = (struct map){.max_count = map->max_count};
}

/* The table cell that holds key, or SIZE_MAX. */
static size_t find_cell(const struct map *map, struct bytes key, uint64_t hash)
{
    if (map->table_size == 0)
        return SIZE_MAX;
    size_t mask = map->table_size - 1;
    for (size_t cell = hash & mask; map->table[cell].slot != MAP_CELL_FREE; cell = (cell + 1) & mask) {
        if (map->table[cell].slot == cell_tombstone || map->table[cell].tag != tag_of(hash))
            continue;
        const struct map_slot *slot = &map->slots[map->table[cell].slot - 1];
        if (slot->hash == hash && bytes_equal(key_of(slot), key))
            return cell;
    }
    return SIZE_MAX;
}

static void link_slot(struct map *map, size_t slot)
{
    size_t mask = map->table_size - 1;
    size_t cell = map->slots[slot].hash & mask;
    while (map->table[cell].slot != MAP_CELL_FREE)
        cell = (cell + 1) & mask;
    map->table[cell] = (struct map_cell){.slot = (uint32_t)(slot + 1), .tag = tag_of(map->slots[slot].hash)};
}

/* Moves the live slots together into fresh tables with room for at least so many in all. */
static int rebuild(struct map *map, size_t count)
{
    size_t table_size = MAP_TABLE_MIN;
    while (table_size / 4 < count)
        table_size *= 2;
    struct map_slot *slots = mem_alloc(table_size / 2 * sizeof(*slots));
    struct map_cell *table = mem_alloc_zero(table_size, sizeof(*table));
    if (slots == NULL || table == NULL) {
        mem_free(slots);
        mem_free(table);
        return ERR_NO_MEMORY;
    }
    size_t live = 0;
    for (size_t i = 0; i < map->slot_count; i++) {
        if (map->slots[i].value != NULL)
            slots[live++] = map->slots[i];
    }
    INVARIANT(live == map->live_count);
    mem_free(map->slots);
    mem_free(map->table);
    map->slots = slots;
    map->table = table;
    map->table_size = table_size;
    map->slot_count = live;
    for (size_t i = 0; i < live; i++)
        link_slot(map, i);
    return 0;
}

void *map_get(const struct map *map, struct bytes key)
{
    size_t cell = find_cell(map, key, siphash24(map->hash_key, key));
    return cell == SIZE_MAX ? NULL : map->slots[map->table[cell].slot - 1].value;
}

int map_reserve(struct map *map, size_t count)
{
    PRE(count <= map->max_count);
    return count <= map->table_size / 2 - map->slot_count + map->live_count ? 0 : rebuild(map, count);
}

/* Puts a key in that is not there. */
static int insert(struct map *map, struct bytes key, uint64_t hash, void *value)
{
    if (map->live_count >= map->max_count)
        return ERR_TOO_LARGE;
    if (map->slot_count == map->table_size / 2) {
        int code = rebuild(map, map->live_count + 1);
        if (code != 0)
            return code;
    }
    struct map_slot slot = {.key_size_bytes = key.size_bytes, .hash = hash, .value = value};
    uint8_t *copy = slot.key.inside;
    if (key.size_bytes > MAP_KEY_INSIDE_BYTES)
        copy = slot.key.outside = mem_alloc(key.size_bytes);
    if (copy == NULL)
        return ERR_NO_MEMORY;
    if (key.size_bytes > 0)
        memcpy(copy, key.data, key.size_bytes);
    map->slots[map->slot_count] = slot;
    link_slot(map, map->slot_count);
    map->slot_count++;
    map->live_count++;
    return 0;
}

int map_put(struct map *map, struct bytes key, void *value)
{
    PRE(value != NULL);
    uint64_t hash = siphash24(map->hash_key, key);
    size_t cell = find_cell(map, key, hash);
    if (cell == SIZE_MAX)
        return insert(map, key, hash, value);
    map->slots[map->table[cell].slot - 1].value = value;
    return 0;
}

int map_add(struct map *map, struct bytes key, void *value, void **ret_there)
{
    PRE(value != NULL);
    uint64_t hash = siphash24(map->hash_key, key);
    size_t cell = find_cell(map, key, hash);
    int code = cell == SIZE_MAX ? insert(map, key, hash, value) : 0;
    if (code == 0)
        *ret_there = cell == SIZE_MAX ? NULL : map->slots[map->table[cell].slot - 1].value;
    return code;
}

void *map_remove(struct map *map, struct bytes key)
{
    size_t cell = find_cell(map, key, siphash24(map->hash_key, key));
    if (cell == SIZE_MAX)
        return NULL;
    struct map_slot *slot = &map->slots[map->table[cell].slot - 1];
    void *value = slot->value;
    free_key(slot);
    *slot = (struct map_slot){0};
    map->table[cell].slot = cell_tombstone;
    map->live_count--;
    return value;
}

bool map_next(const struct map *map, size_t *position, struct bytes *ret_key, void **ret_value)
{
    while (*position < map->slot_count) {
        const struct map_slot *slot = &map->slots[(*position)++];
        if (slot->value == NULL)
            continue;
        *ret_key = key_of(slot);
        *ret_value = slot->value;
        return true;
    }
    return false;
}
