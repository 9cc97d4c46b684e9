#include <criterion/criterion.h>
#include <signal.h>
#include <stdalign.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/mem.h"

Test(arena, hands_out_memory_that_does_not_overlap)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    enum { COUNT = 2000 };
    static uint8_t *pieces[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = arena_alloc(&arena, 1 + i % 97);
        cr_assert_not_null(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        memset(pieces[i], (int)(i % 251), 1 + i % 97);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < 1 + i % 97; at++)
            cr_assert_eq(pieces[i][at], i % 251);
    }
    arena_free(&arena);
}

Test(arena, refuses_past_its_limit_and_stays_usable)
{
    struct arena arena;
    arena_init(&arena, 1024);
    cr_assert_not_null(arena_alloc(&arena, 1000));
    cr_assert_null(arena_alloc(&arena, 64));
    cr_assert_null(arena_alloc(&arena, SIZE_MAX));
    cr_assert_not_null(arena_alloc(&arena, 8));
    arena_free(&arena);
}

Test(arena, limit_is_exact_for_aligned_sizes)
{
    struct arena arena;
    arena_init(&arena, 1024);
    cr_assert_not_null(arena_alloc(&arena, 1024));
    cr_assert_null(arena_alloc(&arena, 1));
    arena_reset(&arena);
    cr_assert_null(arena_alloc(&arena, 1025));
    arena_free(&arena);
}

Test(arena, gives_a_piece_larger_than_a_chunk)
{
    struct arena arena;
    arena_init(&arena, 10 << 20);
    uint8_t *small = arena_alloc(&arena, 10);
    uint8_t *large = arena_alloc(&arena, 5 << 20);
    cr_assert_not_null(small);
    cr_assert_not_null(large);
    memset(small, 1, 10);
    memset(large, 2, 5 << 20);
    cr_assert_eq(small[9], 1);
    arena_free(&arena);
}

Test(arena, reset_reuses_the_largest_chunk)
{
    struct arena arena;
    arena_init(&arena, 1 << 20);
    for (int i = 0; i < 10; i++)
        cr_assert_not_null(arena_alloc(&arena, 10000));
    cr_assert_eq(arena.used_bytes, 100000);
    arena_reset(&arena);
    cr_assert_eq(arena.used_bytes, 0);
    uint64_t before = mem_allocation_count();
    for (int i = 0; i < 5; i++)
        cr_assert_not_null(arena_alloc(&arena, 10000));
    cr_assert_eq(mem_allocation_count(), before);
    arena_free(&arena);
}

Test(arena, reset_of_an_unused_arena_is_fine)
{
    struct arena arena;
    arena_init(&arena, 100);
    arena_reset(&arena);
    arena_free(&arena);
    arena_free(&arena);
    cr_assert_eq(arena.used_bytes, 0);
}

Test(arena, zeroed_memory_is_zero_even_when_reused)
{
    struct arena arena;
    arena_init(&arena, 4096);
    memset(arena_alloc(&arena, 1000), 0xAA, 1000);
    arena_reset(&arena);
    const uint8_t *zeros = arena_alloc_zero(&arena, 100, 10);
    cr_assert_not_null(zeros);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(zeros[i], 0);
    arena_free(&arena);
}

Test(arena, zeroed_memory_refuses_a_size_that_overflows)
{
    struct arena arena;
    arena_init(&arena, 4096);
    cr_assert_null(arena_alloc_zero(&arena, SIZE_MAX / 8 + 2, 8));
    cr_assert_null(arena_alloc_zero(&arena, SIZE_MAX, SIZE_MAX));
    cr_assert_not_null(arena_alloc_zero(&arena, 8, 0));
    arena_free(&arena);
}

Test(arena, copies_bytes)
{
    struct arena arena;
    arena_init(&arena, 4096);
    const char *copy = arena_copy(&arena, "ledger", 7);
    cr_assert_str_eq(copy, "ledger");
    cr_assert_not_null(arena_copy(&arena, NULL, 0));
    arena_free(&arena);
}

Test(arena, every_failing_allocation_is_reported_and_leaves_it_usable)
{
    for (uint64_t at = 1; at <= 2; at++) { /* the second chunk holds two of the pieces */
        struct arena arena;
        arena_init(&arena, 1 << 20);
        mem_fail_at(at);
        int refused = 0;
        for (int i = 0; i < 4; i++)
            refused += arena_alloc(&arena, 100000) == NULL;
        mem_fail_at(0);
        cr_assert_eq(refused, 1);
        cr_assert_eq(arena.used_bytes, 300000);
        cr_assert_not_null(arena_alloc(&arena, 1000));
        arena_free(&arena);
    }
}

Test(arena, refuses_a_limit_whose_rounding_could_overflow, .signal = SIGABRT)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX);
}
