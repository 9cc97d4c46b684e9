#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/prng.h"

static struct map map;
static int values[2000];

static void set_up(void)
{
    map_init(&map, 1000, NULL);
}

static void tear_down(void)
{
    map_free(&map);
}

TestSuite(map, .init = set_up, .fini = tear_down);

static struct bytes key_of(uint32_t number)
{
    static uint8_t key[4];
    put_u32_be(key, number);
    return bytes_of(key, sizeof(key));
}

Test(map, an_empty_map_has_nothing)
{
    size_t position = 0;
    struct bytes key;
    void *value;
    cr_assert_null(map_get(&map, BYTES_LITERAL("x")));
    cr_assert_null(map_remove(&map, BYTES_LITERAL("x")));
    cr_assert_not(map_next(&map, &position, &key, &value));
}

Test(map, finds_what_was_put)
{
    cr_assert_eq(map_put(&map, BYTES_LITERAL("a"), &values[0]), 0);
    cr_assert_eq(map_put(&map, BYTES_LITERAL("ab"), &values[1]), 0);
    cr_assert_eq(map_put(&map, bytes_of(NULL, 0), &values[2]), 0);
    cr_assert_eq(map_put(&map, bytes_of("a\0", 2), &values[3]), 0);
    cr_assert_eq(map_get(&map, BYTES_LITERAL("a")), &values[0]);
    cr_assert_eq(map_get(&map, BYTES_LITERAL("ab")), &values[1]);
    cr_assert_eq(map_get(&map, BYTES_LITERAL("")), &values[2]);
    cr_assert_eq(map_get(&map, bytes_of("a\0", 2)), &values[3]);
    cr_assert_eq(map.live_count, 4);
}

Test(map, keys_are_copied)
{
    char key[] = "key";
    cr_assert_eq(map_put(&map, bytes_of(key, 3), &values[0]), 0);
    key[0] = 'x';
    cr_assert_eq(map_get(&map, BYTES_LITERAL("key")), &values[0]);
}

Test(map, put_again_replaces_the_value_and_keeps_the_place)
{
    cr_assert_eq(map_put(&map, BYTES_LITERAL("a"), &values[0]), 0);
    cr_assert_eq(map_put(&map, BYTES_LITERAL("b"), &values[1]), 0);
    cr_assert_eq(map_put(&map, BYTES_LITERAL("a"), &values[2]), 0);
    size_t position = 0;
    struct bytes key;
    void *value;
    cr_assert(map_next(&map, &position, &key, &value));
    cr_assert(bytes_equal(key, BYTES_LITERAL("a")));
    cr_assert_eq(value, &values[2]);
    cr_assert_eq(map.live_count, 2);
}

Test(map, add_puts_in_what_is_not_there_and_tells_what_is)
{
    int first = 1, second = 2;
    void *there = &second;
    cr_assert_eq(map_add(&map, BYTES_LITERAL("a"), &first, &there), 0);
    cr_assert_null(there);
    cr_assert_eq(map_add(&map, BYTES_LITERAL("a"), &second, &there), 0);
    cr_assert_eq(there, &first);
    cr_assert_eq(map_get(&map, BYTES_LITERAL("a")), &first);
    cr_assert_eq(map.live_count, 1);
}

Test(map, what_was_reserved_needs_no_more_memory)
{
    enum { COUNT = 1000 };
    int value = 0;
    char key[16];
    map_free(&map);
    map_init(&map, COUNT, NULL);
    cr_assert_eq(map_put(&map, BYTES_LITERAL("gone"), &value), 0);
    cr_assert_eq(map_put(&map, BYTES_LITERAL("kept"), &value), 0);
    cr_assert_eq(map_remove(&map, BYTES_LITERAL("gone")), &value);
    mem_fail_at(1);
    cr_assert_eq(map_reserve(&map, COUNT), ERR_NO_MEMORY);
    cr_assert_eq(map_reserve(&map, COUNT), 0);
    uint64_t allocations = mem_allocation_count();
    for (int i = 1; i < COUNT; i++) {
        snprintf(key, sizeof(key), "%d", i);
        cr_assert_eq(map_put(&map, bytes_of_string(key), &value), 0);
    }
    cr_assert_eq(map_reserve(&map, COUNT), 0);
    cr_assert_eq(mem_allocation_count(), allocations);
    cr_assert_eq(map_get(&map, BYTES_LITERAL("kept")), &value);
    cr_assert_eq(map_get(&map, BYTES_LITERAL("999")), &value);
}

Test(map, walks_in_insertion_order_over_holes_and_rebuilds)
{
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(map_put(&map, key_of(i * 2654435761u), &values[i]), 0);
    for (uint32_t i = 0; i < 1000; i += 3)
        cr_assert_eq(map_remove(&map, key_of(i * 2654435761u)), &values[i]);
    size_t position = 0;
    struct bytes key;
    void *value;
    for (uint32_t i = 0; i < 1000; i++) {
        if (i % 3 == 0)
            continue;
        cr_assert(map_next(&map, &position, &key, &value));
        cr_assert_eq(value, &values[i]);
        cr_assert(bytes_equal(key, key_of(i * 2654435761u)));
    }
    cr_assert_not(map_next(&map, &position, &key, &value));
}

Test(map, the_current_entry_may_be_removed_on_a_walk)
{
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_eq(map_put(&map, key_of(i), &values[i]), 0);
    size_t position = 0;
    size_t seen = 0;
    struct bytes key;
    void *value;
    while (map_next(&map, &position, &key, &value)) {
        cr_assert_eq(map_remove(&map, key), value);
        seen++;
    }
    cr_assert_eq(seen, 100);
    cr_assert_eq(map.live_count, 0);
}

Test(map, holds_no_more_than_its_limit)
{
    for (uint32_t i = 0; i < 1000; i++)
        cr_assert_eq(map_put(&map, key_of(i), &values[i]), 0);
    cr_assert_eq(map_put(&map, key_of(1000), &values[0]), ERR_TOO_LARGE);
    cr_assert_eq(map_put(&map, key_of(999), &values[1]), 0, "replacing needs no room");
    cr_assert_not_null(map_remove(&map, key_of(0)));
    cr_assert_eq(map_put(&map, key_of(1000), &values[0]), 0);
}

Test(map, memory_follows_the_live_entries_when_entries_come_and_go)
{
    for (uint32_t i = 0; i < 100000; i++) {
        cr_assert_eq(map_put(&map, key_of(i), &values[0]), 0);
        if (i >= 8)
            cr_assert_not_null(map_remove(&map, key_of(i - 8)));
    }
    cr_assert_leq(map.table_size, 64);
    cr_assert_eq(map.live_count, 8);
}

/* The same random operations on the map and on an array that is indexed by the key. */
Test(map, agrees_with_a_plain_array)
{
    static int *model[600];
    struct prng prng;
    prng_seed(&prng, 42);
    size_t live = 0;
    for (int step = 0; step < 50000; step++) {
        uint32_t number = (uint32_t)prng_below(&prng, 600);
        int *value = &values[prng_below(&prng, 2000)];
        if (prng_below(&prng, 2) == 0) {
            cr_assert_eq(map_put(&map, key_of(number), value), 0);
            live += model[number] == NULL;
            model[number] = value;
        } else {
            cr_assert_eq(map_remove(&map, key_of(number)), model[number]);
            live -= model[number] != NULL;
            model[number] = NULL;
        }
        uint32_t other = (uint32_t)prng_below(&prng, 600);
        cr_assert_eq(map_get(&map, key_of(other)), model[other]);
        cr_assert_eq(map.live_count, live);
    }
}

Test(map, a_hash_key_changes_where_entries_lie_but_not_the_walk)
{
    struct map keyed;
    uint8_t hash_key[16] = {1, 2, 3};
    map_init(&keyed, 1000, hash_key);
    for (uint32_t i = 0; i < 50; i++) {
        cr_assert_eq(map_put(&map, key_of(i), &values[i]), 0);
        cr_assert_eq(map_put(&keyed, key_of(i), &values[i]), 0);
    }
    cr_assert_eq(map.table_size, keyed.table_size);
    cr_assert_neq(memcmp(map.table, keyed.table, map.table_size * sizeof(*map.table)), 0);
    size_t position = 0;
    struct bytes key;
    void *value;
    for (uint32_t i = 0; map_next(&keyed, &position, &key, &value); i++)
        cr_assert_eq(value, &values[i]);
    map_free(&keyed);
}

/* Too long to stand in a slot. */
static struct bytes long_key(uint8_t number)
{
    static uint8_t key[40];
    key[39] = number;
    return bytes_of(key, sizeof(key));
}

Test(map, keys_are_found_whatever_their_length)
{
    uint8_t key[40] = {0};
    for (size_t size = 0; size <= sizeof(key); size++)
        cr_assert_eq(map_put(&map, bytes_of(key, size), &values[size]), 0);
    for (size_t size = 0; size <= sizeof(key); size += 2)
        cr_assert_eq(map_remove(&map, bytes_of(key, size)), &values[size]);
    for (size_t i = 0; i < 200; i++)
        cr_assert_eq(map_put(&map, key_of((uint32_t)(1000 + i)), &values[i]), 0, "a rebuild moves the keys");
    for (size_t size = 0; size <= sizeof(key); size++)
        cr_assert_eq(map_get(&map, bytes_of(key, size)), size % 2 == 0 ? NULL : (void *)&values[size]);
    size_t position = 0;
    struct bytes found;
    void *value;
    cr_assert(map_next(&map, &position, &found, &value));
    cr_assert_eq(found.size_bytes, 1);
    cr_assert_eq(value, &values[1]);
}

Test(map, running_out_of_memory_changes_nothing)
{
    for (uint64_t at = 1; at <= 3; at++) { /* slots, table, key */
        mem_fail_at(at);
        cr_assert_eq(map_put(&map, long_key(1), &values[0]), ERR_NO_MEMORY);
        mem_fail_at(0);
        cr_assert_null(map_get(&map, long_key(1)));
        cr_assert_eq(map.live_count, 0);
        map_free(&map);
    }
    for (uint32_t i = 0; i < 16; i++)
        cr_assert_eq(map_put(&map, key_of(i), &values[i]), 0);
    for (uint64_t at = 1; at <= 2; at++) {
        mem_fail_at(at);
        cr_assert_eq(map_put(&map, key_of(16), &values[16]), ERR_NO_MEMORY, "the rebuild is due now");
        mem_fail_at(0);
        for (uint32_t i = 0; i < 16; i++)
            cr_assert_eq(map_get(&map, key_of(i)), &values[i]);
    }
    cr_assert_eq(map_put(&map, key_of(16), &values[16]), 0);
}

Test(map, a_null_value_is_a_bug, .signal = SIGABRT)
{
    (void)!map_put(&map, BYTES_LITERAL("a"), NULL);
}
