#include <criterion/criterion.h>

#include "base/mem.h"

Test(mem, a_size_of_nothing_gives_a_unique_pointer)
{
    void *a = mem_alloc(0);
    void *b = mem_alloc_zero(0, 8);
    void *c = mem_alloc_zero(8, 0);
    void *d = mem_alloc_aligned(4096, 0);
    void *e = mem_resize(NULL, 0);
    cr_assert_not_null(a);
    cr_assert_not_null(b);
    cr_assert_not_null(c);
    cr_assert_not_null(d);
    cr_assert_not_null(e);
    cr_assert_neq(a, b);
    cr_assert_neq(b, c);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free(e);
    mem_free(NULL);
}

Test(mem, zeroed_memory_is_zero)
{
    uint8_t *memory = mem_alloc_zero(100, 10);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(memory[i], 0);
    mem_free(memory);
}

Test(mem, aligned_memory_is_aligned)
{
    for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
        uint8_t *memory = mem_alloc_aligned(alignment, 100);
        cr_assert_eq((uintptr_t)memory % alignment, 0);
        memset(memory, 1, 100);
        mem_free(memory);
    }
}

/* The sanitizers treat these attempts themselves as findings. The sizes are volatile so that the compiler does not see
 * what is tried. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
Test(mem, a_size_beyond_all_memory_is_refused)
{
    volatile size_t count = SIZE_MAX / 2;
    cr_assert_null(mem_alloc_zero(count, 3), "the product overflows");
    cr_assert_null(mem_alloc(count + 100));
}

Test(mem, an_alignment_that_is_no_power_of_two_is_refused)
{
    volatile size_t alignment = 100;
    cr_assert_null(mem_alloc_aligned(alignment, 100));
}
#endif

Test(mem, resize_keeps_the_contents)
{
    char *memory = mem_copy_string("abc");
    cr_assert_str_eq(memory, "abc");
    memory = mem_resize(memory, 100000);
    cr_assert_str_eq(memory, "abc");
    mem_free(memory);
}

Test(mem, a_failed_resize_leaves_the_memory_intact)
{
    char *memory = mem_copy_string("abc");
    mem_fail_at(1);
    cr_assert_null(mem_resize(memory, 100000));
    cr_assert_str_eq(memory, "abc");
    mem_free(memory);
}

Test(mem, exactly_the_chosen_allocation_fails_and_only_once)
{
    for (uint64_t at = 1; at <= 5; at++) {
        void *memory[5];
        mem_fail_at(at);
        memory[0] = mem_alloc(1);
        memory[1] = mem_alloc_zero(1, 1);
        memory[2] = mem_alloc_aligned(64, 1);
        memory[3] = mem_resize(NULL, 1);
        memory[4] = mem_copy_string("");
        for (uint64_t i = 0; i < 5; i++) {
            cr_assert_eq(memory[i] == NULL, i + 1 == at, "chosen %d, looked at %d", (int)at, (int)i + 1);
            mem_free(memory[i]);
        }
    }
}

Test(mem, a_planned_failure_can_be_called_off)
{
    mem_fail_at(1);
    mem_fail_at(0);
    void *memory = mem_alloc(1);
    cr_assert_not_null(memory);
    mem_free(memory);
}

Test(mem, counts_every_allocation)
{
    uint64_t before = mem_allocation_count();
    mem_free(mem_alloc(1));
    mem_free(mem_alloc_zero(1, 1));
    mem_free(mem_alloc_aligned(16, 1));
    mem_free(mem_resize(NULL, 1));
    mem_free(mem_copy_string("x"));
    cr_assert_eq(mem_allocation_count(), before + 5);
}
