/* Where two regions meet, and what is kept of a comparison. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "projection/drift.h"

static struct position position(const char *text)
{
    struct position ret;
    cr_assert_eq(position_parse(bytes_of_string(text), &ret, NULL), 0, "%s", text);
    return ret;
}

static void expect_meet(const char *a, const char *b, const char *expected)
{
    struct position one = position(a);
    struct position two = position(b);
    struct position wanted = position(expected);
    struct position met;
    cr_assert_eq(drift_meet(&one, &two, &met), 0);
    cr_expect(position_equal(&met, &wanted), "%s and %s", a, b);
    cr_assert_eq(drift_meet(&two, &one, &met), 0);
    cr_expect(position_equal(&met, &wanted), "%s and %s", b, a);
}

Test(drift, regions_meet_at_the_first_position_past_both)
{
    expect_meet("", "", "");
    expect_meet("eu@3", "", "eu@3");
    expect_meet("eu@3,us@9", "eu@5,us@2", "eu@5,us@9");
    expect_meet("ap@1,eu@3", "eu@3,eu.2@4,us@1", "ap@1,eu@3,eu.2@4,us@1");
}

static struct drift_table *table;

static void set_up(void)
{
    table = mem_alloc_zero(1, sizeof(*table));
    cr_assert_not_null(table);
}

static void tear_down(void)
{
    mem_free(table);
}

TestSuite(drift_table, .init = set_up, .fini = tear_down);

static enum drift_news record(const char *subject, const char *region, uint8_t ours, uint8_t theirs)
{
    struct position at = position("eu@3,us@4");
    struct hash hashes[2] = {{.bytes = {ours}}, {.bytes = {theirs}}};
    return drift_record(table, subject, region, &at, &hashes[0], &hashes[1]);
}

Test(drift_table, only_what_begins_or_ends_is_news)
{
    cr_assert_eq(record("sums", "us", 1, 1), DRIFT_NOTHING_NEW);
    cr_assert_eq(record("sums", "us", 1, 2), DRIFT_BEGAN);
    cr_assert_eq(record("sums", "us", 3, 4), DRIFT_NOTHING_NEW);
    cr_assert_eq(record("sums", "ap", 1, 1), DRIFT_NOTHING_NEW);
    cr_assert_eq(record("counts", "us", 1, 1), DRIFT_NOTHING_NEW);
    cr_assert_eq(record("sums", "us", 5, 5), DRIFT_ENDED);
    cr_assert_eq(record("sums", "us", 5, 5), DRIFT_NOTHING_NEW);
}

Test(drift_table, a_verdict_has_position_and_both_digests)
{
    struct drift_verdict found[4];
    record("sums", "us", 0x1a, 0x2b);
    record("sums", "us", 0x1a, 0x3c);
    cr_assert_eq(drift_list(table, "sums", found, 4), 1);
    cr_assert(found[0].differs);
    cr_assert_eq(found[0].comparisons, 2);
    cr_assert_str_eq(found[0].position, "eu@3,us@4");
    cr_assert_eq(strncmp(found[0].ours, "1a00", 4), 0);
    cr_assert_eq(strncmp(found[0].theirs, "3c00", 4), 0);
}

Test(drift_table, what_differs_is_listed_first_and_within_room)
{
    struct drift_verdict found[4];
    record("a", "us", 1, 1);
    record("b", "us", 1, 1);
    record("c", "us", 1, 2);
    cr_assert_eq(drift_list(table, NULL, found, 2), 2);
    cr_assert_str_eq(found[0].subject, "c");
    cr_assert_str_eq(found[1].subject, "a");
    cr_assert_eq(drift_list(table, NULL, found, 4), 3);
    cr_assert_eq(drift_list(table, "none", found, 4), 0);
}

Test(drift_table, one_that_finds_no_room_is_still_news)
{
    for (int i = 0; i < DRIFT_VERDICTS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        record(name, "us", 1, 1);
    }
    cr_assert_eq(record("more", "us", 1, 1), DRIFT_NOTHING_NEW);
    cr_assert_eq(record("more", "us", 1, 2), DRIFT_BEGAN);
    cr_assert_eq(table->count, DRIFT_VERDICTS_MAX);
}
