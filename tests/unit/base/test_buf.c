#include <criterion/criterion.h>
#include <signal.h>

#include "base/buf.h"
#include "base/mem.h"

static struct buf buf;

static void set_up(void)
{
    buf_init(&buf, 100);
}

static void tear_down(void)
{
    buf_free(&buf);
}

TestSuite(buf, .init = set_up, .fini = tear_down);

static void assert_holds(const char *text)
{
    cr_assert(bytes_equal(buf_bytes(&buf), bytes_of_string(text)), "holds %.*s, not %s", (int)buf.size_bytes,
              (const char *)buf.data, text);
}

Test(buf, appends_in_order)
{
    cr_assert_eq(buf_append(&buf, BYTES_LITERAL("ab")), 0);
    cr_assert_eq(buf_append_string(&buf, "cd"), 0);
    cr_assert_eq(buf_append_byte(&buf, 'e'), 0);
    cr_assert_eq(buf_append_format(&buf, "%d%s", 42, "!"), 0);
    cr_assert_eq(buf_append(&buf, bytes_of(NULL, 0)), 0);
    assert_holds("abcde42!");
}

Test(buf, takes_exactly_its_limit)
{
    uint8_t hundred[100] = {0};
    cr_assert_eq(buf_append(&buf, bytes_of(hundred, 100)), 0);
    cr_assert_eq(buf.size_bytes, 100);
    cr_assert_eq(buf_append_byte(&buf, 1), ERR_TOO_LARGE);
    cr_assert_eq(buf.size_bytes, 100);
}

Test(buf, a_refused_append_changes_nothing)
{
    uint8_t hundred[100] = {0};
    cr_assert_eq(buf_append_string(&buf, "x"), 0);
    cr_assert_eq(buf_append(&buf, bytes_of(hundred, 100)), ERR_TOO_LARGE);
    cr_assert_eq(buf_append_format(&buf, "%0100d", 1), ERR_TOO_LARGE);
    assert_holds("x");
}

Test(buf, a_size_that_would_wrap_round_is_refused)
{
    cr_assert_eq(buf_append_string(&buf, "x"), 0);
    cr_assert_eq(buf_reserve(&buf, SIZE_MAX), ERR_TOO_LARGE);
    cr_assert_eq(buf_reserve(&buf, SIZE_MAX - 1), ERR_TOO_LARGE);
    assert_holds("x");
}

Test(buf, reserve_makes_the_next_append_free)
{
    cr_assert_eq(buf_reserve(&buf, 90), 0);
    uint64_t before = mem_allocation_count();
    uint8_t ninety[90] = {0};
    cr_assert_eq(buf_append(&buf, bytes_of(ninety, 90)), 0);
    cr_assert_eq(mem_allocation_count(), before);
}

Test(buf, never_reserves_more_than_its_limit)
{
    for (int i = 0; i < 70; i++)
        cr_assert_eq(buf_append_byte(&buf, 'x'), 0);
    cr_assert_leq(buf.capacity_bytes, 100);
}

Test(buf, terminate_adds_a_nul_that_is_not_counted)
{
    cr_assert_eq(buf_append_string(&buf, "name"), 0);
    cr_assert_eq(buf_terminate(&buf), 0);
    cr_assert_eq(buf.size_bytes, 4);
    cr_assert_str_eq((const char *)buf.data, "name");
}

Test(buf, terminate_needs_room_below_the_limit)
{
    uint8_t hundred[100] = {0};
    cr_assert_eq(buf_append(&buf, bytes_of(hundred, 100)), 0);
    cr_assert_eq(buf_terminate(&buf), ERR_TOO_LARGE);
}

Test(buf, clear_keeps_the_memory_and_free_gives_it_back)
{
    cr_assert_eq(buf_append_string(&buf, "name"), 0);
    const uint8_t *data = buf.data;
    buf_clear(&buf);
    cr_assert_eq(buf.size_bytes, 0);
    cr_assert_eq(buf.data, data);
    buf_free(&buf);
    buf_free(&buf);
    cr_assert_null(buf.data);
    cr_assert_eq(buf_append_string(&buf, "again"), 0);
    assert_holds("again");
}

Test(buf, free_of_a_zeroed_buf_is_fine)
{
    struct buf zeroed = {0};
    buf_free(&zeroed);
    cr_assert_null(zeroed.data);
}

Test(buf, running_out_of_memory_keeps_the_contents)
{
    cr_assert_eq(buf_append_string(&buf, "kept"), 0);
    uint8_t ninety[90] = {0};
    mem_fail_at(1);
    cr_assert_eq(buf_append(&buf, bytes_of(ninety, 90)), ERR_NO_MEMORY);
    mem_fail_at(1);
    cr_assert_eq(buf_append_format(&buf, "%090d", 0), ERR_NO_MEMORY);
    mem_fail_at(2);
    cr_assert_eq(buf_append_format(&buf, "%090d", 0), ERR_NO_MEMORY);
    mem_fail_at(0);
    assert_holds("kept");
}

Test(buf, a_limit_of_nothing_is_a_bug, .signal = SIGABRT)
{
    struct buf none;
    buf_init(&none, 0);
}
