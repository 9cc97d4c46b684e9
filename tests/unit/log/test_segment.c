#include "log/segment.h"

#include <criterion/criterion.h>

#include "base/mem.h"
#include "support.h"

static struct fixture f;

static void setup(void)
{
    fixture_init(&f);
    cr_assert_eq(disk_make_dir(f.disk, f.log_folder, NULL), 0);
}

static void teardown(void)
{
    fixture_free(&f);
}

TestSuite(segment, .init = setup, .fini = teardown);

static struct segment_header sample_header(void)
{
    struct block *block = make_block(&f, 11, 10);
    block_release(block);
    struct segment_header header = {.first_index = 11, .origin = TEST_ORIGIN, .chain = f.chain};
    return header;
}

Test(segment, names_come_back)
{
    const uint64_t indexes[] = {0, 1, 4096, LOG_ENTRIES_MAX};
    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
        char name[SEGMENT_NAME_BYTES + 1];
        uint64_t index = 7;
        segment_name(indexes[i], name);
        cr_assert_eq(strlen(name), SEGMENT_NAME_BYTES);
        cr_assert_eq(segment_parse_name(name, &index), 0);
        cr_assert_eq(index, indexes[i]);
    }
}

Test(segment, other_names_are_refused)
{
    const char *bad[] = {"",
                         "0.seg",
                         "0000000000000000000x.seg",
                         "00000000000000000000.SEG",
                         "000000000000000000000.seg",
                         "99999999999999999999.seg",
                         "09223372036854775807.seg", /* no log has such an entry */
                         "04611686018427387905.seg",
                         "00000000000000000000.seg.tmp",
                         "-0000000000000000000.seg"};
    uint64_t index = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(segment_parse_name(bad[i], &index), ERR_INVALID, "%s", bad[i]);
    cr_assert_eq(index, 7);
}

Test(segment, a_header_comes_back)
{
    struct segment_header header = sample_header();
    struct segment_header back;
    uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&header, page);
    cr_assert_eq(segment_header_parse(page, &back, NULL), 0);
    cr_assert_eq(back.first_index, 11);
    cr_assert_str_eq(back.origin, TEST_ORIGIN);
    cr_assert(hash_equal(&back.chain.prev, &header.chain.prev));
    cr_assert_eq(back.chain.last_time, header.chain.last_time);
    struct hash root = merkle_range_root(&header.chain.range, f.sha);
    struct hash back_root = merkle_range_root(&back.chain.range, f.sha);
    cr_assert(hash_equal(&root, &back_root));
}

Test(segment, every_changed_byte_of_a_header_is_noticed)
{
    struct segment_header header = sample_header();
    struct segment_header back;
    uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&header, page);
    for (size_t at = 0; at < sizeof(page); at++) {
        page[at] ^= 0x40;
        cr_assert_eq(segment_header_parse(page, &back, NULL), ERR_CORRUPT, "byte %zu", at);
        page[at] ^= 0x40;
    }
}

/* A page with a good checksum over wrong contents. */
static int parse_patched(size_t at, uint32_t value)
{
    struct segment_header header = {.first_index = 0, .origin = TEST_ORIGIN};
    struct segment_header back;
    uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    chain_init(&header.chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    segment_header_encode(&header, page);
    put_u32_le(page + at, value);
    uint32_t crc = crc32c(0, bytes_of(page, 12));
    put_u32_le(page + 12, crc32c(crc, bytes_of(page + 16, sizeof(page) - 16)));
    return segment_header_parse(page, &back, NULL);
}

Test(segment, impossible_headers_are_refused_even_with_a_good_checksum)
{
    cr_assert_eq(parse_patched(24, BLOCK_ALIGNMENT_BYTES), 0);
    cr_assert_eq(parse_patched(8, 2), ERR_UNSUPPORTED);
    cr_assert_eq(parse_patched(20, 0x40000000), ERR_CORRUPT, "first index");
    cr_assert_eq(parse_patched(24, 512), ERR_CORRUPT, "alignment");
    cr_assert_eq(parse_patched(28, 256), ERR_CORRUPT, "origin size over its limit");
    cr_assert_eq(parse_patched(28, 4), ERR_CORRUPT, "origin cut");
    cr_assert_eq(parse_patched(72, 1), ERR_CORRUPT, "hash count");
    cr_assert_eq(parse_patched(72, UINT32_MAX), ERR_CORRUPT, "hash count");
    cr_assert_eq(parse_patched(80, 0x41414141), ERR_CORRUPT, "origin");
}

static void write_segment_file(const char *name, const uint8_t page[LOG_SEGMENT_HEADER_BYTES])
{
    overwrite(log_path(&f, name), 0, page, LOG_SEGMENT_HEADER_BYTES);
}

Test(segment, open_compares_the_name_with_the_header)
{
    struct segment_header header = sample_header();
    struct segment_header back;
    struct disk_file *file = NULL;
    struct err err = {0};
    uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&header, page);
    write_segment_file("00000000000000000011.seg", page);
    write_segment_file("00000000000000000012.seg", page);
    cr_assert_eq(segment_open(f.disk, f.log_folder, "00000000000000000011.seg", 0, &file, &back, NULL), 0);
    cr_assert_eq(memcmp(back.chain.log_id, f.chain.log_id, ENTRY_LOG_ID_SIZE), 0);
    disk_close(file);
    file = NULL;
    cr_assert_eq(segment_open(f.disk, f.log_folder, "00000000000000000012.seg", 0, &file, &back, &err), ERR_CORRUPT);
    cr_assert(strstr(err.message, "renamed") != NULL, "%s", err.message);
    cr_assert_null(file);
}

Test(segment, open_refuses_files_too_short_to_be_one)
{
    struct segment_header back;
    struct disk_file *file = NULL;
    struct err err = {0};
    overwrite(log_path(&f, "00000000000000000000.seg"), 0, "", 0);
    cr_assert_eq(segment_open(f.disk, f.log_folder, "00000000000000000000.seg", 0, &file, &back, &err), ERR_CORRUPT);
    cr_assert(strstr(err.message, "empty") != NULL, "%s", err.message);
    overwrite(log_path(&f, "00000000000000000000.seg"), 0, "TALLYSEG", 8);
    cr_assert_eq(segment_open(f.disk, f.log_folder, "00000000000000000000.seg", 0, &file, &back, &err), ERR_CORRUPT);
    cr_assert(strstr(err.message, "only 8 bytes") != NULL, "%s", err.message);
}

Test(segment, list_is_ascending_and_ignores_other_files)
{
    uint64_t *indexes = NULL;
    size_t count = 0;
    const char *names[] = {"00000000000000000100.seg", "00000000000000000000.seg", "00000000000000000009.seg",
                           "checkpoint", "next-segment.tmp"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        overwrite(log_path(&f, names[i]), 0, "x", 1);
    cr_assert_eq(segment_list(f.disk, f.log_folder, &indexes, &count, NULL), 0);
    cr_assert_eq(count, 3);
    cr_assert_eq(indexes[0], 0);
    cr_assert_eq(indexes[1], 9);
    cr_assert_eq(indexes[2], 100);
    mem_free(indexes);
}

Test(segment, list_refuses_a_stray_name)
{
    uint64_t *indexes = NULL;
    size_t count = 0;
    overwrite(log_path(&f, "00000000000000000000.seg"), 0, "x", 1);
    overwrite(log_path(&f, "copy-of-0.seg"), 0, "x", 1);
    cr_assert_eq(segment_list(f.disk, f.log_folder, &indexes, &count, NULL), ERR_CORRUPT);
    cr_assert_null(indexes);
}

Test(segment, list_says_when_there_is_nothing)
{
    uint64_t *indexes = NULL;
    size_t count = 0;
    cr_assert_eq(segment_list(f.disk, f.log_folder, &indexes, &count, NULL), ERR_NOT_FOUND);
    cr_assert_eq(segment_list(f.disk, "/nowhere/at/all", &indexes, &count, NULL), ERR_NOT_FOUND);
}

/* A file with the given blocks after an unread header page, and a walk over it. */
static struct disk_file *walk_over(struct segment_walk *walk, struct block **blocks, size_t count)
{
    struct disk_file *file = NULL;
    uint64_t offset = LOG_SEGMENT_HEADER_BYTES;
    const char *path = log_path(&f, "file");
    for (size_t i = 0; i < count; i++) {
        overwrite(path, offset, blocks[i]->data, blocks[i]->padded_size_bytes);
        offset += blocks[i]->padded_size_bytes;
    }
    overwrite(path, offset + 8191, "", 1);
    cr_assert_eq(disk_open(f.disk, path, DISK_READ, &file, NULL), 0);
    cr_assert_eq(segment_walk_init(walk, file, NULL), 0);
    return file;
}

Test(segment, a_walk_gives_each_block_and_ends_at_zeros)
{
    struct block *blocks[] = {make_block(&f, 2, 10), make_block(&f, 3, 6000)};
    struct segment_walk walk;
    struct disk_file *file = walk_over(&walk, blocks, 2);
    struct block_header header;
    struct bytes bytes;
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(segment_walk_next(&walk, f.chain.log_id, &header, &bytes, NULL), 0);
        cr_assert(bytes_equal(bytes, block_bytes(blocks[i])));
        block_release(blocks[i]);
    }
    cr_assert_eq(segment_walk_next(&walk, f.chain.log_id, &header, &bytes, NULL), ERR_END);
    walk.offset = walk.file_size;
    cr_assert_eq(segment_walk_next(&walk, f.chain.log_id, &header, &bytes, NULL), ERR_END);
    segment_walk_free(&walk);
    disk_close(file);
}

Test(segment, a_walk_tells_a_bad_block_from_a_foreign_one)
{
    struct block *block = make_block(&f, 2, 10);
    struct segment_walk walk;
    struct disk_file *file = walk_over(&walk, &block, 1);
    struct block_header header;
    struct bytes bytes;
    const uint8_t other[ENTRY_LOG_ID_SIZE] = {1};
    cr_assert_eq(segment_walk_next(&walk, other, &header, &bytes, NULL), ERR_MISMATCH);
    cr_assert_eq(walk.offset, LOG_SEGMENT_HEADER_BYTES);
    flip_byte(log_path(&f, "file"), LOG_SEGMENT_HEADER_BYTES + 50);
    cr_assert_eq(segment_walk_next(&walk, f.chain.log_id, &header, &bytes, NULL), ERR_CORRUPT);
    cr_assert_eq(walk.offset, LOG_SEGMENT_HEADER_BYTES);
    block_release(block);
    segment_walk_free(&walk);
    disk_close(file);
}

Test(segment, a_walk_reads_blocks_into_memory_of_their_own)
{
    struct block *blocks[] = {make_block(&f, 2, 10), make_block(&f, 3, 6000)};
    struct segment_walk walk;
    struct disk_file *file = walk_over(&walk, blocks, 2);
    struct block *read = NULL;
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(segment_walk_block(&walk, f.chain.log_id, &read, NULL), 0);
        cr_assert(bytes_equal(block_bytes(read), block_bytes(blocks[i])));
        cr_assert_eq(read->first_index, blocks[i]->first_index);
        cr_assert_eq(read->entry_count, blocks[i]->entry_count);
        cr_assert_eq(read->padded_size_bytes, blocks[i]->padded_size_bytes);
        block_release(read);
        block_release(blocks[i]);
    }
    cr_assert_eq(segment_walk_block(&walk, f.chain.log_id, &read, NULL), ERR_END);
    segment_walk_free(&walk);
    disk_close(file);
}

Test(segment, a_walk_that_reads_blocks_refuses_what_is_none)
{
    struct block *block = make_block(&f, 2, 10);
    struct segment_walk walk;
    struct disk_file *file = walk_over(&walk, &block, 1);
    struct block *read = NULL;
    const uint8_t other[ENTRY_LOG_ID_SIZE] = {1};
    cr_assert_eq(segment_walk_block(&walk, other, &read, NULL), ERR_MISMATCH);
    for (uint64_t at = 1; at <= 2; at++) {
        mem_fail_at(at);
        cr_assert_eq(segment_walk_block(&walk, f.chain.log_id, &read, NULL), ERR_NO_MEMORY);
    }
    mem_fail_at(0);
    flip_byte(log_path(&f, "file"), LOG_SEGMENT_HEADER_BYTES + 50);
    cr_assert_eq(segment_walk_block(&walk, f.chain.log_id, &read, NULL), ERR_CORRUPT);
    cr_assert_eq(walk.offset, LOG_SEGMENT_HEADER_BYTES);
    cr_assert_null(read);
    block_release(block);
    segment_walk_free(&walk);
    disk_close(file);
}

Test(segment, search_finds_a_whole_block_behind_a_bad_one)
{
    struct block *blocks[] = {make_block(&f, 2, 10), make_block(&f, 3, 6000), make_block(&f, 1, 10)};
    struct segment_walk walk;
    struct disk_file *file = walk_over(&walk, blocks, 3);
    bool found = false, dirty = false;
    uint64_t offset = 0;
    flip_byte(log_path(&f, "file"), LOG_SEGMENT_HEADER_BYTES + 50);
    cr_assert_eq(segment_walk_search(&walk, f.chain.log_id, 0, SEARCH_ANY, &found, &offset, &dirty, NULL), 0);
    cr_assert(found);
    cr_assert(dirty);
    cr_assert_eq(offset, LOG_SEGMENT_HEADER_BYTES + blocks[0]->padded_size_bytes);
    cr_assert_eq(walk.offset, LOG_SEGMENT_HEADER_BYTES);
    cr_assert_eq(segment_walk_search(&walk, f.chain.log_id, 6, SEARCH_ANY, &found, &offset, &dirty, NULL), 0);
    cr_assert_not(found, "blocks of entries before the expected one do not count");
    for (size_t i = 0; i < 3; i++)
        block_release(blocks[i]);
    segment_walk_free(&walk);
    disk_close(file);
}

Test(segment, search_for_a_later_write_passes_over_what_was_written_together)
{
    struct block *blocks[] = {make_block(&f, 2, 10), make_block(&f, 3, 6000), make_block(&f, 1, 10)};
    uint32_t before = blocks[0]->padded_size_bytes / BLOCK_ALIGNMENT_BYTES;
    block_stamp(blocks[1]->data, blocks[1]->size_bytes, before);
    struct segment_walk walk;
    struct disk_file *file = walk_over(&walk, blocks, 3);
    bool found = false, dirty = false;
    uint64_t offset = 0;
    cr_assert_eq(segment_walk_search(&walk, f.chain.log_id, 0, SEARCH_LATER_WRITTEN, &found, &offset, &dirty, NULL), 0);
    cr_assert(found);
    cr_expect_eq(offset, LOG_SEGMENT_HEADER_BYTES + blocks[0]->padded_size_bytes + blocks[1]->padded_size_bytes);
    cr_assert_eq(segment_walk_search(&walk, f.chain.log_id, 0, SEARCH_ANY, &found, &offset, &dirty, NULL), 0);
    cr_assert(found);
    cr_expect_eq(offset, LOG_SEGMENT_HEADER_BYTES + blocks[0]->padded_size_bytes);
    for (size_t i = 0; i < 3; i++)
        block_release(blocks[i]);
    segment_walk_free(&walk);
    disk_close(file);
}

Test(segment, search_tells_zeros_from_something)
{
    struct block *block = make_block(&f, 2, 10);
    struct segment_walk walk;
    struct disk_file *file = walk_over(&walk, &block, 1);
    bool found = true, dirty = true;
    uint64_t offset = 0;
    walk.offset += block->padded_size_bytes;
    cr_assert_eq(segment_walk_search(&walk, f.chain.log_id, 2, SEARCH_ANY, &found, &offset, &dirty, NULL), 0);
    cr_assert_not(found);
    cr_assert_not(dirty);
    overwrite(log_path(&f, "file"), walk.file_size - 1, "x", 1);
    cr_assert_eq(segment_walk_search(&walk, f.chain.log_id, 2, SEARCH_ANY, &found, &offset, &dirty, NULL), 0);
    cr_assert_not(found);
    cr_assert(dirty);
    block_release(block);
    segment_walk_free(&walk);
    disk_close(file);
}
