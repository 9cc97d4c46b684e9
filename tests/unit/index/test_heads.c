#include <criterion/criterion.h>

#include "base/mem.h"
#include "index/heads.h"

static struct heads heads;
static const uint8_t hash_key[16];

static void set_up(void)
{
    heads_init(&heads, hash_key);
}

static void tear_down(void)
{
    heads_free(&heads);
}

TestSuite(heads, .init = set_up, .fini = tear_down);

static struct bytes key_of(uint32_t number)
{
    static uint8_t key[4];
    put_u32_be(key, number);
    return bytes_of(key, sizeof(key));
}

static void set(uint32_t number, uint64_t version)
{
    const struct head_record head = {.place = {.log = 1, .index = 2}, .time = 3, .version = version};
    heads_set(&heads, key_of(number), &head);
}

/* The version, or UINT64_MAX. */
static uint64_t find(uint32_t number)
{
    struct head_record head;
    return heads_find(&heads, key_of(number), &head) ? head.version : UINT64_MAX;
}

Test(heads, what_was_set_last_is_found)
{
    cr_expect_eq(find(1), UINT64_MAX);
    set(1, 10);
    set(1, 11);
    cr_expect_eq(find(1), 11);
    cr_expect_eq(find(2), UINT64_MAX);
}

Test(heads, a_generation_may_have_one_stream)
{
    heads_limit(&heads, 1);
    set(1, 10);
    set(2, 20);
    cr_expect_eq(find(1), 10, "in the old generation");
    cr_expect_eq(find(2), 20);
    set(3, 30);
    cr_expect_eq(find(1), UINT64_MAX);
    cr_expect_eq(find(3), 30);
}

Test(heads, what_was_removed_is_not_found_in_either_generation)
{
    set(0, 10);
    for (uint32_t i = 1; i <= HEADS_GENERATION_MAX; i++)
        set(i, i);
    cr_assert_eq(find(0), 10, "in the old generation by now");
    set(0, 11);
    heads_remove(&heads, key_of(0));
    cr_expect_eq(find(0), UINT64_MAX);
}

Test(heads, the_newer_of_two_generations_counts)
{
    set(0, 10);
    for (uint32_t i = 1; i <= HEADS_GENERATION_MAX; i++)
        set(i, i);
    set(0, 11);
    cr_expect_eq(find(0), 11);
}

Test(heads, memory_is_bounded_and_what_was_not_written_for_long_goes)
{
    for (uint32_t i = 0; i < 3 * HEADS_GENERATION_MAX; i++)
        set(i, i);
    cr_expect_eq(find(0), UINT64_MAX);
    cr_expect_eq(find(3 * HEADS_GENERATION_MAX - 1), 3 * HEADS_GENERATION_MAX - 1);
    cr_expect_leq(heads.young.map.live_count + heads.old.map.live_count, 2 * HEADS_GENERATION_MAX);
}

Test(heads, without_memory_everything_is_forgotten_rather_than_left_stale)
{
    bool failed = true;
    for (uint64_t at = 1; failed; at++) {
        tear_down();
        set_up();
        for (uint32_t i = 0; i <= HEADS_GENERATION_MAX; i++)
            set(i, 10); /* all but the last are in the old generation now */
        uint64_t before = mem_allocation_count();
        mem_fail_at(at);
        for (uint32_t i = 0; i < 100; i++)
            set(i, 11);
        mem_fail_at(0);
        failed = mem_allocation_count() - before >= at;
        for (uint32_t i = 0; i < 100; i++)
            cr_assert(find(i) == UINT64_MAX || find(i) == 11, "a stale head at allocation %llu",
                      (unsigned long long)at);
    }
}
