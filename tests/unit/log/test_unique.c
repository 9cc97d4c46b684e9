/* What comes twice, with less room than there are keys. */
#include <criterion/criterion.h>

#include "verify/unique.h"

enum { KEYS = 1000, PASSES_MAX = 10000 };

static const struct unique_room small = {.lines = 1, .candidates = 8, .records = 16};
static const uint8_t seed[UNIQUE_SEED_BYTES] = {1, 2, 3};

static struct unique unique;
static uint64_t told[KEYS]; /* by second place: its first, plus one */
static size_t told_count;
static int answer;

static int on_twice(void *context, uint64_t first, uint64_t second, struct err *err)
{
    (void)context;
    (void)err;
    cr_assert_lt(first, second);
    cr_assert_lt(second, KEYS);
    cr_assert_eq(told[second], 0, "place %d was told twice", (int)second);
    told[second] = first + 1;
    told_count++;
    return answer;
}

static void begin(const struct unique_room *room, uint64_t keys_expected)
{
    cr_assert_eq(unique_init(&unique, room, seed, keys_expected, on_twice, NULL, NULL), 0);
}

static void teardown(void)
{
    unique_free(&unique);
}

TestSuite(unique, .fini = teardown);

static int add(uint64_t number, uint64_t place)
{
    return unique_add(&unique, bytes_of(&number, sizeof(number)), place, NULL);
}

/* Place i has the key numbers[i]; as many passes as it takes. Returns their number. */
static size_t search(uint64_t (*number_at)(uint64_t place))
{
    bool more = true;
    size_t passes = 0;
    while (more) {
        for (uint64_t place = 0; place < KEYS; place++)
            cr_assert_eq(add(number_at(place), place), 0);
        cr_assert_eq(unique_end(&unique, &more, NULL), 0);
        cr_assert_lt(++passes, PASSES_MAX);
    }
    return passes;
}

static uint64_t all_different(uint64_t place)
{
    return place;
}

static uint64_t every_tenth_again(uint64_t place)
{
    return place % 10 == 9 ? place - 7 : place;
}

static uint64_t all_the_same(uint64_t place)
{
    (void)place;
    return 7;
}

static uint64_t each_of_ten(uint64_t place)
{
    return place % 10;
}

static void expect_every_tenth(void)
{
    cr_assert_eq(told_count, KEYS / 10);
    for (uint64_t place = 9; place < KEYS; place += 10)
        cr_assert_eq(told[place], place - 7 + 1);
}

Test(unique, keys_that_differ_take_one_pass)
{
    begin(&unique_room_default, KEYS);
    cr_assert_eq(search(all_different), 1);
    cr_assert_eq(told_count, 0);
}

Test(unique, keys_that_differ_are_not_told_however_many_passes_it_takes)
{
    begin(&small, KEYS);
    cr_assert_gt(search(all_different), 10);
    cr_assert_eq(told_count, 0);
}

Test(unique, each_key_that_comes_twice_is_told_once_with_its_first_place)
{
    begin(&unique_room_default, KEYS);
    cr_assert_eq(search(every_tenth_again), 2);
    expect_every_tenth();
}

Test(unique, with_little_room_the_same_is_told_in_more_passes)
{
    begin(&small, KEYS);
    cr_assert_gt(search(every_tenth_again), 10);
    expect_every_tenth();
}

/* The filter is made for too few, and the ranges are cut when they are full. */
Test(unique, more_keys_than_were_expected_cost_passes_and_nothing_else)
{
    begin(&small, 1);
    cr_assert_gt(search(every_tenth_again), 10);
    expect_every_tenth();
}

Test(unique, all_places_of_keys_that_come_often_are_told_in_the_room_of_their_number)
{
    const struct unique_room room = {.lines = 64, .candidates = 32, .records = 11};
    begin(&room, KEYS);
    cr_assert_eq(search(each_of_ten), 2);
    cr_assert_eq(told_count, KEYS - 10);
    for (uint64_t place = 10; place < KEYS; place++)
        cr_assert_eq(told[place], place % 10 + 1);
}

Test(unique, one_key_alone_is_told_for_every_place_but_the_first)
{
    begin(&small, KEYS);
    search(all_the_same);
    cr_assert_eq(told_count, KEYS - 1);
    cr_assert_eq(told[1], 1);
}

Test(unique, more_keys_at_once_than_there_are_records_for_are_an_error)
{
    const struct unique_room room = {.lines = 64, .candidates = 16, .records = 4};
    bool more = false;
    int code = 0;
    begin(&room, KEYS);
    for (uint64_t place = 0; place < 20; place++)
        cr_assert_eq(add(place % 10, place), 0);
    cr_assert_eq(unique_end(&unique, &more, NULL), 0);
    cr_assert(more);
    for (uint64_t place = 0; code == 0 && place < 10; place++)
        code = add(place, place);
    cr_assert_eq(code, ERR_TOO_LARGE);
}

Test(unique, what_the_caller_answers_ends_the_search)
{
    bool more = false;
    begin(&unique_room_default, KEYS);
    answer = ERR_CANCELLED;
    for (int pass = 0; pass < 2; pass++) {
        cr_assert_eq(add(1, 0), 0);
        cr_assert_eq(add(1, 1), 0);
        cr_assert_eq(unique_end(&unique, &more, NULL), pass == 0 ? 0 : ERR_CANCELLED);
    }
}
