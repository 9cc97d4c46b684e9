#include "index/stretch.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"

static const uint8_t hash_key[16];

static struct stretch *stretch;

static void set_up(void)
{
    stretch = stretch_new(hash_key, "u");
    cr_assert_not_null(stretch);
}

static void tear_down(void)
{
    stretch_release(stretch);
}

TestSuite(stretch, .init = set_up, .fini = tear_down);

static void write_text(uint64_t batch_number, enum stretch_kind kind, const char *key, const char *value)
{
    cr_assert_eq(stretch_write(stretch, batch_number, true, kind, bytes_of_string(key), bytes_of_string(value)), 0);
}

static const struct stretch_record *find(const struct stretch *in, uint64_t batch_number, const char *key)
{
    uint64_t hash = stretch_hash(hash_key, bytes_of_string(key));
    stretch_ahead(in, &hash, 1);
    return stretch_find(in, batch_number, bytes_of_string(key), hash);
}

/* NULL: no record. */
static void expect(uint64_t batch_number, const char *key, const char *value)
{
    const struct stretch_record *record = find(stretch, batch_number, key);
    cr_assert_eq(record != NULL, value != NULL, "%s", key);
    if (value != NULL)
        cr_assert(bytes_equal(stretch_value(record), bytes_of_string(value)));
}

Test(stretch, a_reader_sees_the_batches_up_to_its_number)
{
    cr_assert(stretch_empty(stretch));
    write_text(1, STRETCH_PUT, "a", "one");
    write_text(3, STRETCH_PUT, "a", "three");
    write_text(4, STRETCH_REMOVE, "a", "");
    cr_assert_not(stretch_empty(stretch));
    expect(0, "a", NULL);
    expect(1, "a", "one");
    expect(2, "a", "one");
    expect(3, "a", "three");
    cr_assert_eq(find(stretch, 4, "a")->kind, STRETCH_REMOVE);
    expect(4, "b", NULL);
    cr_assert_null(find(NULL, 4, "a"));
}

Test(stretch, what_a_batch_puts_over_its_own_leaves_earlier_batches_alone)
{
    write_text(1, STRETCH_PUT, "a", "1");
    write_text(2, STRETCH_PUT, "a", "2");
    write_text(2, STRETCH_PUT, "a", "3");
    expect(1, "a", "1");
    expect(2, "a", "3");
    cr_assert_eq(stretch_write(stretch, 2, false, STRETCH_PUT, BYTES_LITERAL("a"), BYTES_LITERAL("4")), 0);
    const struct stretch_record *latest = find(stretch, 2, "a");
    cr_assert(bytes_equal(stretch_value(stretch_older(latest, 2)), BYTES_LITERAL("3")));
}

Test(stretch, a_batch_taken_back_was_never_there)
{
    write_text(1, STRETCH_PUT, "a", "1");
    write_text(1, STRETCH_PUT, "u", "1");
    write_text(2, STRETCH_PUT, "a", "22");
    write_text(2, STRETCH_PUT, "u", "22");
    write_text(2, STRETCH_PUT, "u2", "22");
    stretch_take_back(stretch, 2);
    expect(2, "a", "1");
    expect(2, "u", "1");
    expect(2, "u2", NULL);
    write_text(2, STRETCH_APPEND, "a", "3");
    const struct stretch_record *latest = find(stretch, 2, "a");
    cr_assert(bytes_equal(stretch_value(latest), BYTES_LITERAL("3")));
    cr_assert(bytes_equal(stretch_value(stretch_older(latest, 2)), BYTES_LITERAL("1")));
    expect(UINT64_MAX - 1, "u2", NULL);
}

static void expect_next(const char *prefix, const char *from, bool beyond, bool backwards, const char *expected)
{
    const struct stretch_key *key =
        stretch_next(stretch, bytes_of_string(prefix), bytes_of_string(from), beyond, backwards);
    cr_assert_eq(key != NULL, expected != NULL, "%s from %s", prefix, from);
    if (expected != NULL)
        cr_assert(bytes_equal(stretch_key_bytes(key), bytes_of_string(expected)), "%s from %s", prefix, from);
}

static void check_next(char letter)
{
    char two[] = {letter, '2', 0};
    char three[] = {letter, '3', 0};
    char four[] = {letter, '4', 0};
    char nine[] = {letter, '9', 0};
    char prefix[] = {letter, 0};
    expect_next(prefix, prefix, false, false, two);
    expect_next(prefix, two, false, false, two);
    expect_next(prefix, two, true, false, four);
    expect_next(prefix, three, false, false, four);
    expect_next(prefix, four, true, false, NULL);
    expect_next(prefix, nine, false, true, four);
    expect_next(prefix, four, false, true, four);
    expect_next(prefix, four, true, true, two);
    expect_next(prefix, three, false, true, two);
    expect_next(prefix, two, true, true, NULL);
}

Test(stretch, the_next_key_is_found_among_ordered_and_unordered_ones)
{
    for (const char *at = "4z2a"; *at != 0; at++) {
        write_text(1, STRETCH_PUT, (char[]){'k', *at == 'z' || *at == 'a' ? '4' : *at, 0}, "");
        write_text(1, STRETCH_PUT, (char[]){'u', *at == 'z' || *at == 'a' ? '2' : *at, 0}, "");
        write_text(1, STRETCH_PUT, (char[]){*at, 0}, "");
    }
    check_next('k');
    check_next('u');
    expect_next("", "", false, false, "2");
    expect_next("", "k4", true, false, "u2");
    expect_next("", "u4", true, false, "z");
    expect_next("", "u2", true, true, "k4");
}

Test(stretch, all_keys_come_out_in_order)
{
    enum { KEYS = 2000 };
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t scattered = i * 2654435761u;
        char key[32];
        int size = snprintf(key, sizeof(key), "%c%0*u", i % 2 == 0 ? 'k' : 'u', (int)(i % 20), scattered);
        cr_assert_eq(stretch_write(stretch, 1, true, STRETCH_PUT, bytes_of(key, (size_t)size), bytes_of(key, 1)), 0);
    }
    cr_assert_eq(stretch->key_count, KEYS);
    const struct stretch_key **keys = stretch_sorted(stretch);
    cr_assert_not_null(keys);
    for (size_t i = 1; i < KEYS; i++)
        cr_assert_lt(bytes_compare(stretch_key_bytes(keys[i - 1]), stretch_key_bytes(keys[i])), 0);
    mem_free((void *)keys);
}

Test(stretch, running_out_of_memory_writes_nothing)
{
    static uint8_t value[1024 * 1024];
    int code = 0;
    mem_fail_at(1);
    while (code == 0)
        code = stretch_write(stretch, 1, true, STRETCH_PUT, BYTES_LITERAL("a"), bytes_of(value, sizeof(value) - 1));
    mem_fail_at(0);
    cr_assert_eq(code, ERR_NO_MEMORY);
    for (uint64_t at = 1; at <= 3; at++) {
        mem_fail_at(at);
        struct stretch *other = stretch_new(hash_key, "u");
        mem_fail_at(0);
        cr_assert_null(other);
    }
}

Test(stretch, one_that_is_held_outlives_its_release)
{
    write_text(1, STRETCH_PUT, "a", "1");
    struct stretch *held = stretch_hold(stretch);
    stretch_release(stretch);
    expect(1, "a", "1");
    stretch = held;
    cr_assert_null(stretch_hold(NULL));
    stretch_release(NULL);
}

Test(stretch, it_is_full_when_it_holds_what_it_may)
{
    static uint8_t value[STRETCH_FULL_BYTES / 8];
    for (uint64_t batch = 1; batch <= 8; batch++) {
        cr_assert_not(stretch_full(stretch));
        cr_assert_eq(
            stretch_write(stretch, batch, true, STRETCH_PUT, BYTES_LITERAL("a"), bytes_of(value, sizeof(value))), 0);
    }
    cr_assert(stretch_full(stretch));
}
