/* What opening makes of every kind of end and of damage. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"

static struct fixture f;
static struct block *blocks[3]; /* entries 0-1, 2-4, 5 */
static uint64_t offsets[4];     /* where they start; offsets[3] is the end */

static void setup(void)
{
    fixture_init(&f);
    struct log *log = create_log(&f);
    const uint32_t counts[] = {2, 3, 1};
    offsets[0] = LOG_SEGMENT_HEADER_BYTES;
    for (size_t i = 0; i < 3; i++) {
        blocks[i] = make_block(&f, counts[i], i == 1 ? 3000 : 100);
        cr_assert_eq(log_append(log, &blocks[i], 1, NULL), 0);
        offsets[i + 1] = offsets[i] + blocks[i]->padded_size_bytes;
    }
    log_close(log);
}

static void teardown(void)
{
    for (size_t i = 0; i < 3; i++)
        block_release(blocks[i]);
    fixture_free(&f);
}

TestSuite(recovery, .init = setup, .fini = teardown);

static const char *segment(void)
{
    return segment_path(&f, 0);
}

static void zero(uint64_t offset, size_t size)
{
    uint8_t *zeros = mem_alloc_zero(1, size);
    overwrite(segment(), offset, zeros, size);
    mem_free(zeros);
}

static struct log_recovery expect_cut_to(uint64_t size, uint64_t offset)
{
    struct log_recovery recovery;
    struct log *log = open_log(&f, &recovery);
    cr_assert_eq(recovery.size, size);
    cr_assert_gt(recovery.cut_bytes, 0);
    cr_assert_eq(recovery.cut_offset, offset);
    cr_assert_str_eq(recovery.cut_segment, "00000000000000000000.seg");
    expect_readable(log, size);
    log_close(log);
    log = open_log(&f, &recovery);
    cr_assert_eq(recovery.cut_bytes, 0, "cut once");
    log_close(log);
    return recovery;
}

Test(recovery, a_clean_end_is_reported_as_such)
{
    struct log_recovery recovery;
    struct log *log = open_log(&f, &recovery);
    cr_assert_eq(recovery.size, 6);
    cr_assert_eq(recovery.cut_bytes, 0);
    cr_assert_gt(recovery.scanned_bytes, 0);
    struct chain chain;
    log_chain(log, &chain);
    cr_assert(hash_equal(&chain.prev, &f.chain.prev));
    log_close(log);
}

Test(recovery, a_last_block_torn_after_any_sector_is_cut)
{
    struct block *big = make_block(&f, 4, 5000);
    for (uint32_t written = 512; written < big->size_bytes; written += 512) {
        overwrite(segment(), offsets[3], big->data, written);
        expect_cut_to(6, offsets[3]);
    }
    overwrite(segment(), offsets[3], big->data, big->padded_size_bytes);
    struct log *log = open_log(&f, NULL);
    expect_readable(log, 10);
    log_close(log);
    block_release(big);
}

Test(recovery, a_last_block_without_its_first_page_is_cut)
{
    struct block *big = make_block(&f, 4, 5000);
    overwrite(segment(), offsets[3], big->data, big->padded_size_bytes);
    zero(offsets[3], 4096);
    expect_cut_to(6, offsets[3]);
    block_release(big);
}

/* Three more blocks behind the six entries, in one write; then whatever spoils the first of them. */
static uint64_t append_together(void)
{
    struct block *together[] = {make_block(&f, 1, 5000), make_block(&f, 2, 10), make_block(&f, 1, 10)};
    struct log *log = open_log(&f, NULL);
    cr_assert_eq(log_append(log, together, 3, NULL), 0);
    log_close(log);
    uint64_t second = offsets[3] + together[0]->padded_size_bytes;
    for (size_t i = 0; i < 3; i++)
        block_release(together[i]);
    return second;
}

Test(recovery, a_write_of_several_blocks_whose_beginning_was_lost_is_cut)
{
    append_together();
    flip_byte(segment(), offsets[3] + 100);
    expect_cut_to(6, offsets[3]);
}

Test(recovery, a_write_of_several_blocks_whose_middle_was_lost_keeps_what_is_whole)
{
    uint64_t second = append_together();
    zero(second, 4096);
    expect_cut_to(7, second);
}

Test(recovery, a_bad_block_before_a_later_write_is_damage_whatever_it_was_written_with)
{
    struct err err = {0};
    append_together();
    struct log *log = open_log(&f, NULL);
    append_one(log, make_block(&f, 1, 10));
    log_close(log);
    flip_byte(segment(), offsets[3] + 100);
    expect_open_fails(&f, ERR_CORRUPT, &err);
    cr_expect_not_null(strstr(err.message, "damaged"));
}

Test(recovery, garbage_after_the_end_is_cut)
{
    const uint64_t places[] = {offsets[3], offsets[3] + 1, offsets[3] + 4095, offsets[3] + 4096,
                               LOG_SEGMENT_SIZE_MIN_BYTES - 1};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        overwrite(segment(), places[i], "x", 1);
        expect_cut_to(6, offsets[3]);
    }
}

Test(recovery, after_a_cut_the_rest_of_the_file_is_zeros)
{
    struct block *big = make_block(&f, 4, 5000);
    uint8_t page[4096];
    overwrite(segment(), offsets[3] + 8192, big->data + 8192, big->padded_size_bytes - 8192);
    expect_cut_to(6, offsets[3]);
    struct disk_file *file = NULL;
    cr_assert_eq(disk_open(f.disk, segment(), DISK_READ, &file, NULL), 0);
    for (uint64_t at = offsets[3]; at < offsets[3] + big->padded_size_bytes; at += 4096) {
        size_t size = 0;
        cr_assert_eq(disk_read(file, at, page, sizeof(page), &size, NULL), 0);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(page[i], 0);
    }
    disk_close(file);
    block_release(big);
}

Test(recovery, a_file_that_ends_inside_the_last_block_is_cut)
{
    const uint64_t ends[] = {offsets[2] + 1, offsets[2] + 16, offsets[2] + BLOCK_HEADER_BYTES,
                             offsets[2] + blocks[2]->size_bytes - 1};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        cr_assert_eq(truncate(segment(), (off_t)ends[i]), 0);
        expect_cut_to(5, offsets[2]);
        overwrite(segment(), offsets[2], blocks[2]->data, blocks[2]->padded_size_bytes);
    }
}

Test(recovery, a_file_that_ends_between_blocks_is_a_clean_end)
{
    cr_assert_eq(truncate(segment(), (off_t)offsets[2]), 0);
    struct log_recovery recovery;
    struct log *log = open_log(&f, &recovery);
    cr_assert_eq(recovery.size, 5);
    cr_assert_eq(recovery.cut_bytes, 0);
    log_close(log);
    cr_assert_eq(file_size(segment()), LOG_SEGMENT_SIZE_MIN_BYTES);
}

static void expect_damage(uint64_t offset, uint64_t index)
{
    struct err err = {0};
    char expected[64];
    uint64_t size = file_size(segment());
    expect_open_fails(&f, ERR_CORRUPT, &err);
    snprintf(expected, sizeof(expected), "offset %llu, entry %llu:", (unsigned long long)offset,
             (unsigned long long)index);
    cr_assert(strstr(err.message, expected) != NULL, "'%s' lacks '%s'", err.message, expected);
    cr_assert(strstr(err.message, "00000000000000000000.seg") != NULL);
    cr_assert(strstr(err.message, "tally repair") != NULL);
    cr_assert_eq(file_size(segment()), size, "nothing was cut");
}

Test(recovery, damage_before_a_whole_block_is_refused_at_every_byte)
{
    for (uint64_t at = offsets[0]; at < offsets[0] + blocks[0]->size_bytes; at++) {
        flip_byte(segment(), at);
        expect_damage(offsets[0], 0);
        flip_byte(segment(), at);
    }
    log_close(open_log(&f, NULL));
}

Test(recovery, a_block_replaced_by_zeros_is_damage)
{
    zero(offsets[1], blocks[1]->padded_size_bytes);
    expect_damage(offsets[1], 2);
}

Test(recovery, a_missing_block_is_damage)
{
    overwrite(segment(), offsets[1], blocks[2]->data, blocks[2]->padded_size_bytes);
    zero(offsets[1] + blocks[2]->padded_size_bytes, offsets[3] - offsets[1] - blocks[2]->padded_size_bytes);
    expect_damage(offsets[1], 2);
}

Test(recovery, a_block_with_good_checksum_and_bad_entries_is_damage_even_at_the_end)
{
    uint8_t copy[4096];
    memcpy(copy, blocks[2]->data, sizeof(copy));
    copy[BLOCK_HEADER_BYTES + 30] ^= 1; /* in prev */
    reseal(copy);
    overwrite(segment(), offsets[2], copy, sizeof(copy));
    expect_damage(offsets[2], 5);
}

Test(recovery, a_whole_block_of_another_log_is_damage_even_at_the_end)
{
    uint8_t copy[4096];
    memcpy(copy, blocks[2]->data, sizeof(copy));
    copy[24] ^= 1;
    reseal(copy);
    overwrite(segment(), offsets[2], copy, sizeof(copy));
    expect_damage(offsets[2], 5);
}

Test(recovery, a_torn_tail_that_imitates_a_block_is_refused_and_never_accepted)
{
    /* Payload bytes of a torn write that look like a block of ours, at a place where a block may start. */
    struct block *torn = make_block(&f, 4, 5000);
    struct block *forged = make_block(&f, 1, 10);
    overwrite(segment(), offsets[3], torn->data, 4096);
    overwrite(segment(), offsets[3] + 8192, forged->data, forged->padded_size_bytes);
    expect_damage(offsets[3], 6);
    block_release(torn);
    block_release(forged);
}

Test(recovery, the_end_of_a_checkpoint_is_never_cut)
{
    struct log *log = open_log(&f, NULL);
    struct hash root = merkle_range_root(&f.chain.range, f.sha);
    save_checkpoint(&f, log, 6, &root, false, 0);
    log_close(log);
    flip_byte(segment(), offsets[2] + 60);
    expect_damage(offsets[2], 5);
    cr_assert_eq(truncate(segment(), (off_t)offsets[2]), 0);
    expect_damage(offsets[2], 5);
    cr_assert_eq(disk_remove(f.disk, log_path(&f, "checkpoint"), NULL), 0);
    log_close(open_log(&f, NULL));
}

Test(recovery, a_damaged_checkpoint_file_is_refused)
{
    struct err err = {0};
    overwrite(log_path(&f, "checkpoint"), 0, "not a note\n", 11);
    expect_open_fails(&f, ERR_CORRUPT, &err);
    cr_assert(strstr(err.message, "checkpoint") != NULL, "%s", err.message);
}

Test(recovery, files_that_are_no_segment_are_refused)
{
    struct err err = {0};
    overwrite(segment_path(&f, 6), 0, "", 0);
    expect_open_fails(&f, ERR_CORRUPT, &err);
    cr_assert(strstr(err.message, "empty") != NULL, "%s", err.message);
    static const uint8_t text[8192] = "this is a text";
    overwrite(segment_path(&f, 6), 0, text, sizeof(text));
    expect_open_fails(&f, ERR_CORRUPT, &err);
    cr_assert(strstr(err.message, "not a segment") != NULL, "%s", err.message);
}

Test(recovery, another_origin_is_refused_and_nothing_is_touched)
{
    struct log *log = NULL;
    struct log_recovery recovery;
    struct err err = {0};
    overwrite(segment(), offsets[3], "torn", 4);
    int code = log_open(f.disk, f.log_folder, BYTES_LITERAL("demo/us/1"), &f.options, &log, &recovery, &err);
    cr_assert_eq(code, ERR_MISMATCH);
    cr_assert(strstr(err.message, "demo/eu/1") != NULL && strstr(err.message, "demo/us/1") != NULL, "%s", err.message);
    expect_cut_to(6, offsets[3]);
}

Test(recovery, a_missing_first_segment_is_refused)
{
    struct err err = {0};
    struct segment_header header = {.first_index = 6, .origin = TEST_ORIGIN, .chain = f.chain};
    static uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&header, page);
    overwrite(segment_path(&f, 6), 0, page, sizeof(page));
    cr_assert_eq(disk_remove(f.disk, segment_path(&f, 0), NULL), 0);
    expect_open_fails(&f, ERR_CORRUPT, &err);
    cr_assert(strstr(err.message, "not 0") != NULL, "%s", err.message);
}

Test(recovery, random_damage_is_never_accepted_silently)
{
    /* Whatever is overwritten: opening fails, or gives a log that reads as a prefix of what was appended. */
    struct prng prng;
    prng_seed(&prng, 20240607);
    for (int round = 0; round < 300; round++) {
        uint8_t junk[600];
        size_t size = 1 + prng_below(&prng, sizeof(junk));
        uint64_t at = offsets[0] + prng_below(&prng, offsets[3] - offsets[0]);
        struct log *log = NULL;
        struct log_recovery recovery;
        prng_fill(&prng, junk, size);
        overwrite(segment(), at, junk, size);
        if (log_open(f.disk, f.log_folder, bytes_of(NULL, 0), &f.options, &log, &recovery, NULL) == 0) {
            cr_assert_leq(recovery.size, 6);
            expect_readable(log, recovery.size);
            log_close(log);
        }
        zero(offsets[0], offsets[3] - offsets[0] + 4096);
        for (size_t i = 0; i < 3; i++)
            overwrite(segment(), offsets[i], blocks[i]->data, blocks[i]->padded_size_bytes);
    }
}

/* A process may have died between renaming a segment and syncing the folder: without this, a power failure would take
 * the segment away later, with what was acknowledged into it since. */
Test(recovery, nothing_is_believed_before_the_folder_is_synced)
{
    struct fault_disk fault;
    struct log_recovery recovery;
    struct log *log = NULL;
    fault_disk_init(&fault, f.disk);
    cr_assert_eq(log_open(&fault.disk, f.log_folder, bytes_of(NULL, 0), &f.options, &log, &recovery, NULL), 0);
    cr_assert_eq(fault.done[FAULT_SYNC_DIR], 1);
    log_close(log);
    fault_disk_init(&fault, f.disk);
    fault.fail_at[FAULT_SYNC_DIR] = 1;
    cr_assert_eq(log_open(&fault.disk, f.log_folder, bytes_of(NULL, 0), &f.options, &log, &recovery, NULL), ERR_IO);
}
