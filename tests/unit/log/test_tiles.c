/* Tiles in files: they are the tree's hashes at every size, they survive what files survive, and rot is seen. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "log/tiles.h"
#include "support.h"

enum { LEAVES_MAX = 66000 };

static struct fixture f;
static char folder[400];
static struct tiles *tiles;
static struct merkle_range whole; /* of the leaves appended so far */

static void reopen(void)
{
    cr_assert_eq(tiles_open(f.disk, folder, &tiles, NULL), 0);
}

static void set_up(void)
{
    fixture_init(&f);
    snprintf(folder, sizeof(folder), "%s/tiles", f.folder);
    merkle_range_init(&whole);
    reopen();
}

static void tear_down(void)
{
    tiles_close(tiles);
    fixture_free(&f);
}

TestSuite(tiles, .init = set_up, .fini = tear_down);

static struct hash leaf_at(uint64_t index)
{
    uint8_t bytes[8];
    put_u64_be(bytes, index);
    return merkle_leaf(f.sha, bytes_of(bytes, sizeof(bytes)));
}

/* Appends leaves up to the size, and commits. */
static void grow(uint64_t size)
{
    for (uint64_t i = tiles_next_index(tiles); i < size; i++) {
        struct hash leaf = leaf_at(i);
        cr_assert_eq(tiles_append(tiles, &leaf, NULL), 0);
        merkle_range_append(&whole, f.sha, &leaf);
    }
    cr_assert_eq(tiles_commit(tiles, NULL), 0);
}

static struct hash root_of(uint64_t size)
{
    struct tiles_reader reader = {.tiles = tiles, .sha = f.sha};
    struct hash root;
    cr_assert_eq(merkle_root_at(f.sha, size, tiles_read_hash, &reader, &root, NULL), 0);
    return root;
}

static bool root_is_right(void)
{
    struct hash expected = merkle_range_root(&whole, f.sha);
    struct hash root = root_of(tiles_size(tiles));
    return hash_equal(&root, &expected);
}

static int read_tile(int level, uint64_t number, unsigned width, struct buf *out)
{
    const struct tile_id tile = {.level = level, .number = number, .width = width};
    buf_init(out, TILE_FULL_SIZE);
    return tiles_read(tiles, f.sha, &tile, out, NULL);
}

static int tile_code(int level, uint64_t number, unsigned width)
{
    struct buf tile;
    int code = read_tile(level, number, width, &tile);
    cr_expect_eq(tile.size_bytes, code == 0 ? width * HASH_SIZE : 0);
    buf_free(&tile);
    return code;
}

static void flip(const char *name, uint64_t offset)
{
    char path[500];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    flip_byte(path, offset);
}

Test(tiles, are_empty_at_first)
{
    cr_expect_eq(tiles_size(tiles), 0);
    cr_expect_eq(tile_code(0, 0, 1), ERR_NOT_FOUND);
}

Test(tiles, lead_to_the_root_at_every_size)
{
    static const uint64_t sizes[] = {1, 2, 3, 255, 256, 257, 511, 512, 1000, 65535, 65536, 65537, LEAVES_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        grow(sizes[i]);
        cr_expect(root_is_right(), "size %llu", (unsigned long long)sizes[i]);
    }
}

Test(tiles, keep_the_roots_of_earlier_sizes)
{
    struct hash roots[600];
    for (uint64_t size = 1; size < 600; size++) {
        grow(size);
        roots[size] = merkle_range_root(&whole, f.sha);
    }
    for (uint64_t size = 1; size < 600; size++) {
        struct hash root = root_of(size);
        cr_expect(hash_equal(&root, &roots[size]), "size %llu", (unsigned long long)size);
    }
}

Test(tiles, hold_the_leaves_at_level_0)
{
    struct buf tile;
    grow(300);
    cr_assert_eq(read_tile(0, 1, 44, &tile), 0);
    for (uint64_t i = 0; i < 44; i++) {
        struct hash leaf = leaf_at(256 + i);
        cr_expect_arr_eq(tile.data + i * HASH_SIZE, leaf.bytes, HASH_SIZE);
    }
    buf_free(&tile);
}

Test(tiles, exist_as_wide_as_they_are_and_narrower)
{
    grow(300);
    cr_expect_eq(tile_code(0, 0, 256), 0);
    cr_expect_eq(tile_code(0, 0, 7), 0);
    cr_expect_eq(tile_code(0, 1, 44), 0);
    cr_expect_eq(tile_code(0, 1, 1), 0);
    cr_expect_eq(tile_code(1, 0, 1), 0);
    cr_expect_eq(tile_code(0, 1, 45), ERR_NOT_FOUND);
    cr_expect_eq(tile_code(0, 2, 1), ERR_NOT_FOUND);
    cr_expect_eq(tile_code(1, 0, 2), ERR_NOT_FOUND);
    cr_expect_eq(tile_code(2, 0, 1), ERR_NOT_FOUND);
    cr_expect_eq(tile_code(0, UINT64_MAX, 1), ERR_NOT_FOUND);
}

Test(tiles, show_nothing_before_the_commit)
{
    struct hash leaf = leaf_at(0);
    cr_assert_eq(tiles_append(tiles, &leaf, NULL), 0);
    cr_expect_eq(tiles_size(tiles), 0);
    cr_expect_eq(tiles_next_index(tiles), 1);
    cr_expect_eq(tile_code(0, 0, 1), ERR_NOT_FOUND);
}

Test(tiles, forget_what_was_not_committed)
{
    grow(10);
    struct hash leaf = leaf_at(10);
    cr_assert_eq(tiles_append(tiles, &leaf, NULL), 0);
    tiles_rewind(tiles);
    cr_expect_eq(tiles_next_index(tiles), 10);
    grow(300);
    cr_expect(root_is_right());
}

Test(tiles, go_on_where_they_were_closed)
{
    grow(70000 % LEAVES_MAX);
    tiles_close(tiles);
    reopen();
    cr_expect_eq(tiles_size(tiles), 70000 % LEAVES_MAX);
    grow(5000);
    cr_expect(root_is_right());
}

Test(tiles, that_were_never_synced_count_as_nothing_after_a_crash)
{
    struct tiles *crashed = tiles;
    grow(300);
    reopen(); /* the first one is not closed: what it knows is lost */
    cr_expect_eq(tiles_size(tiles), 0);
    merkle_range_init(&whole);
    grow(600);
    cr_expect(root_is_right());
    tiles_reset(crashed);
    tiles_close(crashed);
}

Test(tiles, that_were_synced_are_there_after_a_crash)
{
    struct tiles *crashed = tiles;
    grow(300);
    cr_assert_eq(tiles_sync(tiles, NULL), 0);
    grow(900);
    reopen();
    cr_expect_eq(tiles_size(tiles), 300);
    merkle_range_init(&whole);
    for (uint64_t i = 0; i < 300; i++) {
        struct hash leaf = leaf_at(i);
        merkle_range_append(&whole, f.sha, &leaf);
    }
    grow(900);
    cr_expect(root_is_right());
    tiles_close(crashed);
}

static void expect_made_again(void)
{
    reopen();
    cr_expect_eq(tiles_size(tiles), 0);
    merkle_range_init(&whole);
    grow(300);
    cr_expect(root_is_right());
}

Test(tiles, on_the_right_edge_that_rotted_are_made_again)
{
    grow(300);
    tiles_close(tiles);
    flip("0", 299 * HASH_SIZE);
    expect_made_again();
}

Test(tiles, with_a_state_that_lies_are_made_again)
{
    grow(300);
    tiles_close(tiles);
    flip("state", 1);
    expect_made_again();
}

Test(tiles, with_a_missing_level_are_made_again)
{
    char path[500];
    grow(300);
    tiles_close(tiles);
    snprintf(path, sizeof(path), "%s/1", folder);
    cr_assert_eq(disk_remove(f.disk, path, NULL), 0);
    expect_made_again();
}

Test(tiles, that_are_full_and_rotted_are_not_given_out)
{
    grow(600);
    cr_expect_eq(tile_code(0, 1, 256), 0);
    flip("0", 300 * HASH_SIZE + 5);
    cr_expect_eq(tile_code(0, 1, 256), ERR_CORRUPT);
    cr_expect_eq(tile_code(0, 1, 3), ERR_CORRUPT, "nor a part of them");
    cr_expect_eq(tile_code(0, 0, 256), 0);
}

Test(tiles, whose_parent_rotted_are_not_given_out)
{
    grow(600);
    flip("1", HASH_SIZE);
    cr_expect_eq(tile_code(0, 1, 256), ERR_CORRUPT);
    cr_expect_eq(tile_code(0, 0, 256), 0);
}

Test(tiles, that_were_reset_start_again)
{
    grow(600);
    tiles_reset(tiles);
    cr_expect_eq(tiles_size(tiles), 0);
    cr_expect_eq(tile_code(0, 0, 1), ERR_NOT_FOUND);
    merkle_range_init(&whole);
    grow(257);
    cr_expect(root_is_right());
}

Test(tiles, prove_inclusion_and_consistency)
{
    struct tiles_reader reader;
    struct merkle_proof proof;
    grow(1000);
    reader = (struct tiles_reader){.tiles = tiles, .sha = f.sha};
    struct hash root = root_of(1000);
    struct hash old_root = root_of(300);
    struct hash leaf = leaf_at(777);
    cr_assert_eq(merkle_prove_inclusion(f.sha, 777, 1000, tiles_read_hash, &reader, &proof, NULL), 0);
    cr_expect_eq(merkle_verify_inclusion(f.sha, 777, 1000, &leaf, proof.hashes, proof.count, &root, NULL), 0);
    cr_assert_eq(merkle_prove_consistency(f.sha, 300, 1000, tiles_read_hash, &reader, &proof, NULL), 0);
    cr_expect_eq(merkle_verify_consistency(f.sha, 300, 1000, &old_root, &root, proof.hashes, proof.count, NULL), 0);
}

/* Every write and sync fails once, in turn; after it the writer rewinds and goes on, and the tree is right. */
Test(tiles, are_right_after_any_failed_write)
{
    for (enum fault_operation operation = FAULT_WRITE; operation <= FAULT_SYNC; operation++) {
        for (uint64_t at = 1; at < 12; at++) {
            struct fault_disk fault;
            char own_folder[450];
            struct tiles *faulty = NULL;
            struct merkle_range range;
            size_t failures = 0;
            merkle_range_init(&range);
            fault_disk_init(&fault, f.disk);
            snprintf(own_folder, sizeof(own_folder), "%s/fault-%d-%llu", f.folder, (int)operation,
                     (unsigned long long)at);
            cr_assert_eq(tiles_open(&fault.disk, own_folder, &faulty, NULL), 0);
            fault.fail_at[operation] = fault.done[operation] + at;
            while (tiles_size(faulty) < 1200) {
                struct hash leaf = leaf_at(tiles_next_index(faulty));
                int code = tiles_append(faulty, &leaf, NULL);
                if (code == 0 && tiles_next_index(faulty) % 100 == 0)
                    code = tiles_commit(faulty, NULL);
                if (code == 0 && tiles_next_index(faulty) % 200 == 0)
                    code = tiles_sync(faulty, NULL);
                if (code == 0)
                    continue;
                failures++;
                fault.crashed = false;
                fault.fail_at[operation] = 0;
                tiles_rewind(faulty);
            }
            cr_expect_leq(failures, 1);
            for (uint64_t i = 0; i < 1200; i++) {
                struct hash leaf = leaf_at(i);
                merkle_range_append(&range, f.sha, &leaf);
            }
            struct hash expected = merkle_range_root(&range, f.sha);
            struct hash root;
            struct tiles_reader reader = {.tiles = faulty, .sha = f.sha};
            cr_assert_eq(merkle_root_at(f.sha, 1200, tiles_read_hash, &reader, &root, NULL), 0);
            cr_expect(hash_equal(&root, &expected), "operation %d at %llu", (int)operation, (unsigned long long)at);
            tiles_close(faulty);
        }
    }
}
