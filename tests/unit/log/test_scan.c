/* Scanning a folder that nobody has open. */
#include "log/scan.h"

#include <criterion/criterion.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"

enum { MIB = 1024 * 1024 };

static struct fixture f;
static uint64_t offsets[5]; /* of the blocks with entries 0-1, 2-4, 5, 6-9, and the end */

static void setup(void)
{
    fixture_init(&f);
    struct log *log = create_log(&f);
    const uint32_t counts[] = {2, 3, 1, 4};
    offsets[0] = LOG_SEGMENT_HEADER_BYTES;
    for (size_t i = 0; i < 4; i++) {
        struct block *block = make_block(&f, counts[i], 900);
        offsets[i + 1] = offsets[i] + block->padded_size_bytes;
        append_one(log, block);
    }
    log_close(log);
}

static void teardown(void)
{
    fixture_free(&f);
}

TestSuite(scan, .init = setup, .fini = teardown);

struct checker {
    struct chain chain;
    uint64_t blocks;
};

static int check_block(void *context, const struct scan_block *block, struct err *err)
{
    struct checker *checker = context;
    checker->blocks++;
    return chain_check_block(&checker->chain, f.sha, block->body, block->header.entry_count, NULL, NULL, NULL, err);
}

static int scan(struct scan_result *result, struct err *err)
{
    struct checker checker = {0};
    chain_init(&checker.chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    int code = scan_log(f.disk, f.log_folder, &checker.chain, check_block, &checker, result, err);
    cr_assert_eq(checker.chain.range.size, result->size);
    return code;
}

static void expect_bad(uint64_t offset, uint64_t index)
{
    struct scan_result result;
    struct err err = {0};
    int code = scan(&result, &err);
    cr_assert_eq(code, ERR_CORRUPT, "%s: %s", tally_error_name(code), err.message);
    cr_assert_neq(result.bad_segment[0], '\0');
    cr_assert_eq(result.bad_offset, offset);
    cr_assert_eq(result.bad_index, index);
    cr_assert_neq(err.message[0], '\0');
}

static void rewrite_block(uint64_t offset, size_t patch_at, uint32_t value)
{
    static uint8_t block[8192];
    size_t size = 0;
    struct disk_file *file = NULL;
    cr_assert_eq(disk_open(f.disk, segment_path(&f, 0), DISK_READ, &file, NULL), 0);
    cr_assert_eq(disk_read(file, offset, block, sizeof(block), &size, NULL), 0);
    disk_close(file);
    put_u32_le(block + patch_at, value);
    reseal(block);
    overwrite(segment_path(&f, 0), offset, block, BLOCK_HEADER_BYTES);
}

Test(scan, a_sound_log)
{
    struct scan_result result;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    cr_assert_eq(scan(&result, NULL), 0);
    cr_assert_str_eq(result.origin, TEST_ORIGIN);
    cr_assert_eq(result.segment_count, 1);
    cr_assert_eq(result.block_count, 4);
    cr_assert_eq(result.size, 10);
    cr_assert_not(result.torn_tail);
    cr_assert_str_eq(result.bad_segment, "");
    cr_assert_eq(scan_origin(f.disk, f.log_folder, origin, NULL), 0);
    cr_assert_str_eq(origin, TEST_ORIGIN);
}

Test(scan, an_empty_folder_and_no_folder)
{
    struct scan_result result;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "as before";
    cr_assert_eq(scan_log(f.disk, f.folder, NULL, NULL, NULL, &result, NULL), ERR_NOT_FOUND);
    cr_assert_eq(scan_log(f.disk, "/nowhere/at/all", NULL, NULL, NULL, &result, NULL), ERR_NOT_FOUND);
    cr_assert_eq(scan_origin(f.disk, f.folder, origin, NULL), ERR_NOT_FOUND);
    cr_assert_str_eq(origin, "as before");
}

Test(scan, any_changed_byte_before_the_last_block_is_a_violation)
{
    const uint64_t indexes[] = {0, 2, 5};
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t at = offsets[i]; at < offsets[i + 1]; at += 13) {
            flip_byte(segment_path(&f, 0), at);
            expect_bad(offsets[i], indexes[i]);
            flip_byte(segment_path(&f, 0), at);
        }
    }
}

Test(scan, changed_padding_after_the_last_block_is_a_violation)
{
    flip_byte(segment_path(&f, 0), offsets[4] - 1);
    expect_bad(offsets[3], 6);
}

/* Places behind the last block that have the header of a block, each of which costs a look. */
static void write_decoys(size_t count)
{
    uint8_t header[BLOCK_HEADER_BYTES];
    size_t size = 0;
    struct disk_file *file = NULL;
    uint64_t end = offsets[4] + (count + 1) * BLOCK_ALIGNMENT_BYTES;
    cr_assert_eq(disk_open(f.disk, segment_path(&f, 0), DISK_WRITE, &file, NULL), 0);
    cr_assert_eq(disk_read(file, offsets[0], header, sizeof(header), &size, NULL), 0);
    cr_assert_eq(disk_truncate(file, end, NULL), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(disk_write(file, offsets[4] + i * BLOCK_ALIGNMENT_BYTES, header, sizeof(header), NULL), 0);
    disk_close(file);
}

Test(scan, a_tail_that_is_made_to_keep_its_reader_busy_is_a_violation)
{
    struct scan_result result;
    write_decoys(100);
    cr_assert_eq(scan(&result, NULL), 0);
    cr_assert(result.torn_tail);
    write_decoys(3000);
    expect_bad(offsets[4], 10);
}

Test(scan, a_file_that_is_larger_than_any_segment_is_a_violation)
{
    struct scan_result result;
    struct err err = {0};
    cr_assert_eq(truncate(segment_path(&f, 0), (off_t)4 * LOG_SEGMENT_SIZE_MAX_BYTES), 0);
    cr_assert_eq(scan(&result, &err), ERR_CORRUPT, "%s", err.message);
    cr_assert_eq(result.size, 0);
}

Test(scan, a_bad_last_block_is_a_torn_tail)
{
    struct scan_result result;
    flip_byte(segment_path(&f, 0), offsets[3] + 40);
    cr_assert_eq(scan(&result, NULL), 0);
    cr_assert_eq(result.size, 6);
    cr_assert(result.torn_tail);
    cr_assert_eq(result.torn_offset, offsets[3]);
    cr_assert_str_eq(result.torn_segment, "00000000000000000000.seg");
}

Test(scan, a_whole_last_block_in_the_wrong_place_is_a_violation_and_no_torn_tail)
{
    rewrite_block(offsets[3], 16, 7);
    expect_bad(offsets[3], 6);
    rewrite_block(offsets[3], 16, 5);
    expect_bad(offsets[3], 6);
    rewrite_block(offsets[3], 16, 6);
    rewrite_block(offsets[3], 24, 0x12345678);
    expect_bad(offsets[3], 6);
}

Test(scan, entries_that_the_callback_refuses_are_a_violation)
{
    rewrite_block(offsets[3], 8, 3); /* a good checksum over a wrong count */
    expect_bad(offsets[3], 6);
}

Test(scan, changed_segment_headers_are_a_violation)
{
    for (uint64_t at = 0; at < LOG_SEGMENT_HEADER_BYTES; at += 37) {
        flip_byte(segment_path(&f, 0), at);
        expect_bad(0, 0);
        flip_byte(segment_path(&f, 0), at);
    }
}

static void fill_three_segments(void)
{
    struct log *log = open_log(&f, NULL);
    for (int i = 0; i < 7; i++)
        append_one(log, make_block(&f, 5, MIB)); /* entries 10 to 44: segments start at 0, 20 and 35 or so */
    log_close(log);
}

static uint64_t second_segment(void)
{
    uint64_t *segments = NULL;
    size_t count = 0;
    cr_assert_eq(segment_list(f.disk, f.log_folder, &segments, &count, NULL), 0);
    cr_assert_eq(count, 3);
    uint64_t second = segments[1];
    mem_free(segments);
    return second;
}

Test(scan, goes_through_all_segments)
{
    struct scan_result result;
    fill_three_segments();
    cr_assert_eq(scan(&result, NULL), 0);
    cr_assert_eq(result.segment_count, 3);
    cr_assert_eq(result.size, 45);
}

Test(scan, a_missing_segment_is_a_violation)
{
    struct scan_result result;
    struct err err = {0};
    fill_three_segments();
    uint64_t second = second_segment();
    cr_assert_eq(disk_remove(f.disk, segment_path(&f, second), NULL), 0);
    cr_assert_eq(scan(&result, &err), ERR_CORRUPT);
    cr_assert_eq(result.bad_index, second);
    cr_assert(strstr(err.message, "entries are missing") != NULL, "%s", err.message);
}

Test(scan, a_bad_block_at_the_end_of_a_sealed_segment_is_a_violation)
{
    struct scan_result result;
    fill_three_segments();
    uint64_t second = second_segment();
    flip_byte(segment_path(&f, 0), file_size(segment_path(&f, 0)) - 5000);
    cr_assert_eq(scan(&result, NULL), ERR_CORRUPT);
    cr_assert_eq(result.bad_index, second - 5);
    cr_assert_not(result.torn_tail);
}

Test(scan, a_sealed_segment_that_is_cut_is_a_violation)
{
    struct scan_result result;
    fill_three_segments();
    uint64_t second = second_segment();
    cr_assert_eq(truncate(segment_path(&f, 0), (off_t)offsets[4]), 0);
    cr_assert_eq(scan(&result, NULL), ERR_CORRUPT);
    cr_assert_eq(result.bad_index, 10);
    cr_assert_lt(result.bad_index, second);
}

Test(scan, a_header_that_lies_about_the_chain_is_a_violation)
{
    struct scan_result result;
    struct segment_header header = {.first_index = 10, .origin = TEST_ORIGIN, .chain = f.chain};
    static uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&header, page);
    overwrite(segment_path(&f, 10), 0, page, sizeof(page));
    cr_assert_eq(scan(&result, NULL), 0);
    for (int lie = 0; lie < 3; lie++) {
        struct segment_header wrong = header;
        wrong.chain.prev.bytes[0] ^= lie == 0;
        wrong.chain.last_time += lie == 1;
        wrong.chain.range.hashes[1].bytes[5] ^= lie == 2;
        segment_header_encode(&wrong, page);
        overwrite(segment_path(&f, 10), 0, page, sizeof(page));
        cr_assert_eq(scan(&result, NULL), ERR_CORRUPT, "lie %d", lie);
        cr_assert_eq(result.bad_index, 10);
    }
}

Test(scan, a_segment_of_another_log_is_a_violation)
{
    struct scan_result result;
    struct segment_header header = {.first_index = 10, .origin = "demo/us/1", .chain = f.chain};
    static uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&header, page);
    overwrite(segment_path(&f, 10), 0, page, sizeof(page));
    cr_assert_eq(scan(&result, NULL), ERR_CORRUPT);
    cr_assert_eq(result.bad_index, 10);
}

Test(scan, leaves_the_files_as_they_are)
{
    struct scan_result result;
    flip_byte(segment_path(&f, 0), offsets[3] + 40);
    uint64_t size = file_size(segment_path(&f, 0));
    cr_assert_eq(scan(&result, NULL), 0);
    cr_assert_eq(scan(&result, NULL), 0);
    cr_assert(result.torn_tail, "nothing was cut");
    cr_assert_eq(file_size(segment_path(&f, 0)), size);
}
