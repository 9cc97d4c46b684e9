#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "crypto/tile.h"
#include "support.h"

static void expect_path(struct tile_id tile, const char *expected)
{
    char path[TILE_PATH_MAX_BYTES];
    struct tile_id back;
    struct err err = {0};
    tile_path(&tile, path);
    cr_assert_str_eq(path, expected);
    cr_assert_eq(tile_parse(bytes_of_string(path), &back, &err), 0, "%s", err.message);
    cr_assert_eq(back.level, tile.level);
    cr_assert_eq(back.number, tile.number);
    cr_assert_eq(back.width, tile.width);
}

/* --- Paths --- */

Test(tile, numbers_stand_in_groups_of_three)
{
    expect_path((struct tile_id){0, 0, TILE_WIDTH}, "tile/0/000");
    expect_path((struct tile_id){0, 5, TILE_WIDTH}, "tile/0/005");
    expect_path((struct tile_id){0, 999, TILE_WIDTH}, "tile/0/999");
    expect_path((struct tile_id){0, 1000, TILE_WIDTH}, "tile/0/x001/000");
    expect_path((struct tile_id){0, 1234067, TILE_WIDTH}, "tile/0/x001/x234/067");
    expect_path((struct tile_id){3, 1234067, TILE_WIDTH}, "tile/3/x001/x234/067");
}

Test(tile, entry_bundles_have_a_name_for_a_level)
{
    expect_path((struct tile_id){TILE_LEVEL_ENTRIES, 0, TILE_WIDTH}, "tile/entries/000");
    expect_path((struct tile_id){TILE_LEVEL_ENTRIES, 1234067, 7}, "tile/entries/x001/x234/067.p/7");
}

Test(tile, partial_tiles_say_their_width)
{
    expect_path((struct tile_id){0, 273, 112}, "tile/0/273.p/112");
    expect_path((struct tile_id){1, 1, 17}, "tile/1/001.p/17");
    expect_path((struct tile_id){2, 0, 1}, "tile/2/000.p/1");
    expect_path((struct tile_id){0, 0, 255}, "tile/0/000.p/255");
}

Test(tile, the_largest_number_and_level_fit)
{
    expect_path((struct tile_id){TILE_LEVEL_MAX, 0, TILE_WIDTH}, "tile/7/000");
    expect_path((struct tile_id){TILE_LEVEL_ENTRIES, UINT64_MAX, 255},
                "tile/entries/x018/x446/x744/x073/x709/x551/615.p/255");
}

Test(tile, every_other_spelling_is_refused)
{
    const char *paths[] = {
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/5",
        "tile/0/05",
        "tile/0/0005",
        "tile/0/x005",
        "tile/0/x000/005",
        "tile/0/001/005",
        "tile/0/x001",
        "tile/0/x001/x234",
        "tile/0/x01/234",
        "tile/0/1000",
        "tile/0/000/",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/1000",
        "tile/0/000.p/1x",
        "tile/0/000.p/1/",
        "tile/0/000.p/-1",
        "tile/0/000.q/1",
        "tile/00/000",
        "tile/8/000",
        "tile/9/000",
        "tile/10/000",
        "tile/63/000",
        "tile/-1/000",
        "tile/x/000",
        "tile//000",
        "tile/data/000",
        "tile/8/0/000",
        "tile/entries",
        "tile/entries/0",
        "tile/entries000",
        "tile/Entries/000",
        "Tile/0/000",
        "/tile/0/000",
        "tile/0/000 ",
        " tile/0/000",
        "tile/0/../000",
        "tile/0/0a0",
        "tile/0/+05",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/0/\xFF\xFF\xFF",
        "checkpoint",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct tile_id tile = {.number = 77};
        struct err err = {0};
        cr_assert_eq(tile_parse(bytes_of_string(paths[i]), &tile, &err), ERR_INVALID, "'%s'", paths[i]);
        cr_assert_eq(tile.number, 77, "outputs are untouched on failure");
        cr_assert(utf8_valid(bytes_of_string(err.message)));
    }
    struct tile_id tile;
    cr_assert_eq(tile_parse(BYTES_LITERAL("tile/0/000\0"), &tile, NULL), ERR_INVALID);
}

Test(tile, a_spelling_that_is_not_the_one_is_told_the_one)
{
    struct tile_id tile;
    EXPECT_FAILURE(tile_parse(BYTES_LITERAL("tile/0/x000/005"), &tile, err), ERR_INVALID, "expected tile/0/005");
}

Test(tile, a_path_over_the_limit_is_refused_unread)
{
    char path[TILE_PATH_MAX_BYTES + 1];
    struct tile_id tile;
    memset(path, '0', sizeof(path));
    memcpy(path, "tile/0/", 7);
    EXPECT_FAILURE(tile_parse(bytes_of(path, TILE_PATH_MAX_BYTES), &tile, err), ERR_INVALID, "not a tile path");
}

Test(tile, a_tile_without_hashes_has_no_name, .signal = SIGABRT)
{
    char path[TILE_PATH_MAX_BYTES];
    tile_path(&(struct tile_id){0, 0, 0}, path);
}

Test(tile, a_tile_has_at_most_256_hashes, .signal = SIGABRT)
{
    char path[TILE_PATH_MAX_BYTES];
    tile_path(&(struct tile_id){0, 0, TILE_WIDTH + 1}, path);
}

/* --- Which tiles a size has --- */

Test(tile, size_256_has_one_full_tile_and_one_hash_above_it)
{
    cr_assert_eq(tile_width(0, 0, 256), TILE_WIDTH);
    cr_assert_eq(tile_width(0, 1, 256), 0, "empty tiles do not exist");
    cr_assert_eq(tile_width(1, 0, 256), 1);
    cr_assert_eq(tile_width(1, 1, 256), 0);
    cr_assert_eq(tile_width(2, 0, 256), 0);
    cr_assert_eq(tile_width(TILE_LEVEL_ENTRIES, 0, 256), TILE_WIDTH);
    cr_assert_eq(tile_width(TILE_LEVEL_ENTRIES, 1, 256), 0);
}

Test(tile, size_255_has_nothing_above_its_partial_tile)
{
    cr_assert_eq(tile_width(0, 0, 255), 255);
    cr_assert_eq(tile_width(1, 0, 255), 0, "a partial tile is never hashed upward");
    cr_assert_eq(tile_width(TILE_LEVEL_ENTRIES, 0, 255), 255);
}

Test(tile, size_70000_has_the_tiles_of_the_specification)
{
    for (uint64_t number = 0; number < 273; number++)
        cr_assert_eq(tile_width(0, number, 70000), TILE_WIDTH);
    cr_assert_eq(tile_width(0, 273, 70000), 112);
    cr_assert_eq(tile_width(0, 274, 70000), 0);
    cr_assert_eq(tile_width(1, 0, 70000), TILE_WIDTH);
    cr_assert_eq(tile_width(1, 1, 70000), 17);
    cr_assert_eq(tile_width(1, 2, 70000), 0);
    cr_assert_eq(tile_width(2, 0, 70000), 1);
    cr_assert_eq(tile_width(2, 1, 70000), 0);
    cr_assert_eq(tile_width(3, 0, 70000), 0);
}

Test(tile, an_empty_log_has_no_tiles)
{
    for (int level = TILE_LEVEL_ENTRIES; level <= TILE_LEVEL_MAX; level++)
        cr_assert_eq(tile_width(level, 0, 0), 0);
}

Test(tile, widths_add_up_to_the_size)
{
    for (uint64_t size = 0; size < 3000; size += 7) {
        uint64_t sum = 0;
        for (uint64_t number = 0; number < 13; number++)
            sum += tile_width(0, number, size);
        cr_assert_eq(sum, size);
    }
}

Test(tile, numbers_whose_first_hash_is_past_all_sizes_do_not_wrap_round)
{
    cr_assert_eq(tile_width(0, UINT64_MAX, UINT64_MAX), 0);
    cr_assert_eq(tile_width(0, (uint64_t)1 << 56, UINT64_MAX), 0);
    cr_assert_eq(tile_width(0, ((uint64_t)1 << 56) - 1, UINT64_MAX), 255);
    cr_assert_eq(tile_width(7, 0, UINT64_MAX), 255);
}
