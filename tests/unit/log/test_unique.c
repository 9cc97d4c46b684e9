/* What comes twice, with less room than there are keys. */
#include <criterion/criterion.h>

#include "verify/unique.h"

enum { KEYS = 1000, ROOM = 16, PASSES_MAX = 10000 };

static struct sha256 *sha;
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

static void setup(void)
{
    sha = sha256_new();
    cr_assert_eq(unique_init(&unique, ROOM, on_twice, NULL, NULL), 0);
}

static void teardown(void)
{
    unique_free(&unique);
    sha256_free(sha);
}

TestSuite(unique, .init = setup, .fini = teardown);

static struct hash key_of(uint64_t number)
{
    return sha256_of(sha, bytes_of(&number, sizeof(number)));
}

/* Place i has the key numbers[i]; as many passes as it takes. Returns their number. */
static size_t search(uint64_t (*number_at)(uint64_t place))
{
    bool more = true;
    size_t passes = 0;
    while (more) {
        for (uint64_t place = 0; place < KEYS; place++) {
            struct hash key = key_of(number_at(place));
            cr_assert_eq(unique_add(&unique, &key, place, NULL), 0);
        }
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

Test(unique, keys_that_differ_are_not_told_however_many_passes_it_takes)
{
    cr_assert_gt(search(all_different), KEYS / ROOM);
    cr_assert_eq(told_count, 0);
}

Test(unique, each_key_that_comes_twice_is_told_once_with_its_first_place)
{
    search(every_tenth_again);
    cr_assert_eq(told_count, KEYS / 10);
    for (uint64_t place = 9; place < KEYS; place += 10)
        cr_assert_eq(told[place], place - 7 + 1);
}

Test(unique, one_key_that_fills_all_the_room_needs_no_more_and_is_told)
{
    cr_assert_eq(search(all_the_same), 1);
    cr_assert_geq(told_count, 1);
    cr_assert_eq(told[1], 1);
}

Test(unique, more_keys_that_begin_alike_than_there_is_room_for_are_an_error)
{
    struct hash key = {.bytes = {1}};
    int code = 0;
    for (uint64_t place = 0; code == 0 && place <= ROOM; place++) {
        key.bytes[UNIQUE_KEY_BYTES - 1] = (uint8_t)place;
        code = unique_add(&unique, &key, place, NULL);
    }
    cr_assert_eq(code, ERR_TOO_LARGE);
}

Test(unique, what_the_caller_answers_ends_the_search)
{
    bool more = false;
    struct hash key = key_of(1);
    answer = ERR_CANCELLED;
    cr_assert_eq(unique_add(&unique, &key, 0, NULL), 0);
    cr_assert_eq(unique_add(&unique, &key, 1, NULL), 0);
    cr_assert_eq(unique_end(&unique, &more, NULL), ERR_CANCELLED);
}
