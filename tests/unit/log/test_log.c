/* Creating, appending, rolling, and what a failing disk does to it. */
#include "log/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"

enum { MIB = 1024 * 1024 };

static struct fixture f;

static void setup(void)
{
    fixture_init(&f);
}

static void teardown(void)
{
    fixture_free(&f);
}

TestSuite(log, .init = setup, .fini = teardown);

static int create(const char *origin, uint64_t segment_size_bytes, struct err *err)
{
    struct log_options options = {.segment_size_bytes = segment_size_bytes};
    return log_create(f.disk, f.log_folder, bytes_of_string(origin), &options, err);
}

Test(log, a_new_log_is_empty)
{
    struct log *log = create_log(&f);
    struct chain chain;
    cr_assert_eq(log_durable_size(log), 0);
    cr_assert(bytes_equal(log_origin(log), BYTES_LITERAL(TEST_ORIGIN)));
    log_chain(log, &chain);
    cr_assert(hash_equal(&chain.prev, &f.chain.prev));
    expect_readable(log, 0);
    log_close(log);
}

Test(log, create_refuses_bad_origins_and_sizes)
{
    cr_assert_eq(create("no origin", 0, NULL), ERR_INVALID);
    cr_assert_eq(create(TEST_ORIGIN, LOG_SEGMENT_SIZE_TINY_BYTES - 4096, NULL), ERR_INVALID);
    cr_assert_eq(create(TEST_ORIGIN, LOG_SEGMENT_SIZE_MIN_BYTES + 1, NULL), ERR_INVALID);
    cr_assert_eq(create(TEST_ORIGIN, (uint64_t)LOG_SEGMENT_SIZE_MAX_BYTES + 4096, NULL), ERR_INVALID);
    cr_assert_eq(create(TEST_ORIGIN, LOG_SEGMENT_SIZE_MIN_BYTES, NULL), 0);
}

Test(log, create_never_overwrites)
{
    log_close(create_log(&f));
    cr_assert_eq(create(TEST_ORIGIN, 0, NULL), ERR_EXISTS);
}

Test(log, create_after_a_crash_in_create)
{
    cr_assert_eq(disk_make_dir(f.disk, f.log_folder, NULL), 0);
    overwrite(log_path(&f, "next-segment.tmp"), 0, "half", 4);
    log_close(create_log(&f));
}

Test(log, opening_nothing_is_not_found)
{
    struct err err = {0};
    expect_open_fails(&f, ERR_NOT_FOUND, &err);
}

Test(log, appended_entries_are_readable_at_once_and_after_reopening)
{
    struct log *log = create_log(&f);
    append_one(log, make_block(&f, 3, 100));
    cr_assert_eq(log_durable_size(log), 3);
    append_one(log, make_block(&f, 1, 9000));
    expect_readable(log, 4);
    log_close(log);
    struct log_recovery recovery;
    log = open_log(&f, &recovery);
    cr_assert_eq(recovery.size, 4);
    cr_assert_eq(recovery.cut_bytes, 0);
    cr_assert_str_eq(recovery.cut_segment, "");
    expect_readable(log, 4);
    append_one(log, make_block(&f, 2, 10));
    expect_readable(log, 6);
    log_close(log);
}

Test(log, several_blocks_at_once)
{
    struct log *log = create_log(&f);
    struct block *blocks[] = {make_block(&f, 2, 10), make_block(&f, 1, 5000), make_block(&f, 3, 10)};
    cr_assert_eq(log_append(log, blocks, 3, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        block_release(blocks[i]);
    expect_readable(log, 6);
    struct chain chain;
    log_chain(log, &chain);
    cr_assert(hash_equal(&chain.prev, &f.chain.prev));
    cr_assert_eq(chain.last_time, f.chain.last_time);
    log_close(log);
}

/* The header of the block that is stored at the offset. */
static struct block_header stored_header(uint64_t offset)
{
    uint8_t bytes[BLOCK_HEADER_BYTES];
    struct block_header header;
    FILE *file = fopen(segment_path(&f, 0), "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, (long)offset, SEEK_SET), 0);
    cr_assert_eq(fread(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    fclose(file);
    cr_assert_eq(block_parse_header(bytes, &header, NULL), 0);
    return header;
}

Test(log, blocks_that_wait_together_are_one_write_and_say_so)
{
    struct fault_disk counting;
    fault_disk_init(&counting, f.disk);
    log_close(create_log(&f));
    struct log *log = NULL;
    struct log_recovery recovery;
    cr_assert_eq(log_open(&counting.disk, f.log_folder, BYTES_LITERAL(TEST_ORIGIN), &f.options, &log, &recovery, NULL),
                 0);
    struct block *blocks[] = {make_block(&f, 2, 10), make_block(&f, 1, 5000), make_block(&f, 3, 10)};
    uint64_t writes = counting.done[FAULT_WRITE];
    cr_assert_eq(log_append(log, blocks, 3, NULL), 0);
    cr_expect_eq(counting.done[FAULT_WRITE], writes + 1);
    uint64_t offset = LOG_SEGMENT_HEADER_BYTES;
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(stored_header(offset).pages_back, (offset - LOG_SEGMENT_HEADER_BYTES) / BLOCK_ALIGNMENT_BYTES);
        offset += blocks[i]->padded_size_bytes;
        block_release(blocks[i]);
    }
    log_close(log);
    log = open_log(&f, NULL);
    expect_readable(log, 6);
    struct block *read = NULL;
    struct block_header header;
    cr_assert_eq(log_read_block(log, 3, &read, NULL), 0);
    cr_assert_eq(block_parse_header(read->data, &header, NULL), 0);
    cr_expect_eq(header.pages_back, 0, "a reader is not told");
    block_release(read);
    log_close(log);
}

Test(log, a_write_is_no_longer_than_its_limit_and_never_spans_segments)
{
    struct log *log = create_log(&f);
    struct block *blocks[40];
    for (size_t i = 0; i < 40; i++)
        blocks[i] = make_block(&f, 1, 900 * 1000);
    cr_assert_eq(log_append(log, blocks, 40, NULL), 0);
    for (size_t i = 0; i < 40; i++)
        block_release(blocks[i]);
    log_close(log);
    log = open_log(&f, NULL);
    expect_readable(log, 40);
    log_close(log);
    cr_expect_eq(stored_header(LOG_SEGMENT_HEADER_BYTES).pages_back, 0);
    cr_expect_eq(stored_header(LOG_SEGMENT_HEADER_BYTES + segment_block_span(900 * 1000)).pages_back, 0);
}

Test(log, appending_nothing_is_fine)
{
    struct log *log = create_log(&f);
    cr_assert_eq(log_append(log, NULL, 0, NULL), 0);
    log_close(log);
}

Test(log, rolls_into_segments_that_are_cut_to_their_length)
{
    struct log *log = create_log(&f);
    for (int i = 0; i < 7; i++)
        append_one(log, make_block(&f, 5, MIB));
    expect_readable(log, 35);
    struct block *probe = make_block(&f, 1, 10);
    append_one(log, probe);
    log_close(log);
    uint64_t *segments = NULL;
    size_t count = 0;
    cr_assert_eq(segment_list(f.disk, f.log_folder, &segments, &count, NULL), 0);
    cr_assert_eq(count, 3);
    cr_assert_eq(segments[1], 15);
    cr_assert_eq(segments[2], 30);
    mem_free(segments);
    cr_assert_lt(file_size(segment_path(&f, 0)), LOG_SEGMENT_SIZE_MIN_BYTES);
    cr_assert_eq(file_size(segment_path(&f, 30)), LOG_SEGMENT_SIZE_MIN_BYTES);
    struct log_recovery recovery;
    log = open_log(&f, &recovery);
    cr_assert_lt(recovery.scanned_bytes, 7 * MIB, "only the last segment is read");
    expect_readable(log, 36);
    log_close(log);
}

Test(log, a_crash_while_rolling_loses_nothing)
{
    struct log *log = create_log(&f);
    append_one(log, make_block(&f, 3, 100));
    log_close(log);
    /* Cut to its length, and the next segment only half made. */
    cr_assert_eq(truncate(segment_path(&f, 0), 8192), 0);
    overwrite(log_path(&f, "next-segment.tmp"), 0, "half", 4);
    log = open_log(&f, NULL);
    expect_readable(log, 3);
    for (int i = 0; i < 4; i++)
        append_one(log, make_block(&f, 5, MIB));
    expect_readable(log, 23);
    log_close(log);
    log = open_log(&f, NULL);
    expect_readable(log, 23);
    log_close(log);
}

Test(log, an_empty_last_segment_is_a_clean_end)
{
    struct log *log = create_log(&f);
    append_one(log, make_block(&f, 3, 100));
    log_close(log);
    struct segment_header header = {.first_index = 3, .origin = TEST_ORIGIN, .chain = f.chain};
    static uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&header, page);
    overwrite(segment_path(&f, 3), 0, page, sizeof(page));
    log = open_log(&f, NULL);
    append_one(log, make_block(&f, 2, 10));
    expect_readable(log, 5);
    log_close(log);
}

Test(log, a_malformed_block_never_reaches_the_file)
{
    struct log *log = create_log(&f);
    struct err err = {0};
    struct block *block = make_block(&f, 2, 100);
    block->data[BLOCK_HEADER_BYTES] = 0x12;
    cr_assert_eq(log_append(log, &block, 1, &err), ERR_CORRUPT);
    block_release(block);
    cr_assert_eq(log_durable_size(log), 0);
    log_close(log);
    log = open_log(&f, NULL);
    expect_readable(log, 0);
    log_close(log);
}

static void remove_log(void)
{
    const char *names[] = {"next-segment.tmp"};
    uint64_t *segments = NULL;
    size_t count = 0;
    cr_assert_eq(segment_list(f.disk, f.log_folder, &segments, &count, NULL), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(disk_remove(f.disk, segment_path(&f, segments[i]), NULL), 0);
    (void)!disk_remove(f.disk, log_path(&f, names[0]), NULL);
    mem_free(segments);
}

/* A block as its maker leaves it, with the leaves of its entries; *chain is moved past them. */
static struct block *make_noted_block(struct chain *chain, uint32_t entry_count)
{
    struct block *plain = make_block(&f, entry_count, 100);
    struct block *block = NULL;
    struct bytes elements = block_body(plain);
    cr_assert_eq(block_new(plain->first_index, chain->log_id, &block, NULL), 0);
    for (uint32_t i = 0; i < entry_count; i++) {
        struct frame frame;
        struct entry entry;
        cr_assert_eq(frame_next_entry(&elements, &frame, &entry, NULL), 0);
        cr_assert_eq(block_add(block, &frame, NULL), 0);
        struct hash leaf = chain_append(chain, f.sha, frame.entry, entry.time);
        block_note(block, block->entry_count - 1, 0, &leaf);
    }
    block_release(plain);
    return block;
}

Test(log, leaves_that_were_noted_make_the_same_chain)
{
    struct log *log = create_log(&f);
    struct chain expected = f.chain;
    struct chain chain;
    struct log_recovery recovery;
    for (uint32_t count = 1; count <= 5; count++) {
        struct block *block = make_noted_block(&expected, count);
        block_seal(block);
        cr_assert(block_has_leaves(block));
        append_one(log, block);
    }
    log_chain(log, &chain);
    cr_assert(hash_equal(&chain.prev, &expected.prev));
    cr_assert_eq(chain.last_time, expected.last_time);
    struct hash root = merkle_range_root(&chain.range, f.sha);
    struct hash expected_root = merkle_range_root(&expected.range, f.sha);
    cr_assert(hash_equal(&root, &expected_root));
    log_close(log);
    log = open_log(&f, &recovery); /* which hashes what is in the file */
    expect_readable(log, 15);
    log_chain(log, &chain);
    root = merkle_range_root(&chain.range, f.sha);
    cr_assert(hash_equal(&root, &expected_root));
    log_close(log);
}

static void spoil_byte(struct block *block)
{
    block->data[block->size_bytes - 20] ^= 1; /* of a payload */
}

static void spoil_prev(struct block *block)
{
    /* Tags and lengths of element, frame and entry, the index and the log id stand before it. */
    block->data[BLOCK_HEADER_BYTES + 40] ^= 1;
    reseal(block->data);
}

static void spoil_note(struct block *block)
{
    block->notes[1].leaf.bytes[0] ^= 1;
}

static void spoil_last_note(struct block *block)
{
    block->notes[2].leaf.bytes[0] ^= 1;
}

static void spoil_count(struct block *block)
{
    put_u32_le(block->data + 8, 2);
    reseal(block->data);
}

Test(log, a_block_that_its_notes_do_not_fit_never_reaches_the_file)
{
    static const struct {
        void (*spoil)(struct block *block);
        const char *said;
    } faults[] = {{spoil_byte, "checksum"},
                  {spoil_prev, "does not follow"},
                  {spoil_note, "does not follow"},
                  {spoil_last_note, "not what was noted"},
                  {spoil_count, "counts 2 entries"}};
    struct chain chain = f.chain;
    struct block *block = make_noted_block(&chain, 3);
    block_seal(block);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct log *log = create_log(&f);
        struct block *spoiled = NULL;
        struct err err = {0};
        cr_assert_eq(block_from_bytes(block_bytes(block), &spoiled, NULL), 0);
        spoiled->notes = mem_alloc(3 * sizeof(*spoiled->notes));
        memcpy(spoiled->notes, block->notes, 3 * sizeof(*spoiled->notes));
        spoiled->note_capacity = spoiled->leaf_count = 3;
        faults[i].spoil(spoiled);
        cr_assert_eq(log_append(log, &spoiled, 1, &err), ERR_CORRUPT);
        cr_assert_not_null(strstr(err.message, faults[i].said), "fault %zu: %s", i, err.message);
        cr_assert_eq(log_durable_size(log), 0);
        cr_assert_eq(log_append(log, &block, 1, &err), ERR_POISONED);
        block_release(spoiled);
        log_close(log);
        remove_log();
    }
    block_release(block);
}

/* Opens the log through a disk that fails, appends until it does, and then looks at what is left with a sound disk. */
struct outcome {
    uint64_t acknowledged;
    uint64_t recovered;
    bool failed;
};

static struct outcome run_with_fault(enum fault_operation operation, uint64_t at, size_t torn_bytes)
{
    struct fault_disk fault;
    struct outcome outcome = {0};
    struct err err = {0};
    struct log *log = NULL;
    struct log_recovery recovery;
    fault_disk_init(&fault, f.disk);
    cr_assert_eq(log_create(f.disk, f.log_folder, BYTES_LITERAL(TEST_ORIGIN), &f.options, NULL), 0);
    cr_assert_eq(log_open(&fault.disk, f.log_folder, bytes_of(NULL, 0), &f.options, &log, &recovery, &err), 0, "%s",
                 err.message);
    memset(fault.done, 0, sizeof(fault.done));
    fault.fail_at[operation] = at;
    fault.torn_bytes = torn_bytes;
    for (int i = 0; i < 8; i++) {
        struct block *block = make_block(&f, 5, MIB - i * 1000);
        int code = log_append(log, &block, 1, &err);
        block_release(block);
        if (code == 0) {
            cr_assert_not(outcome.failed);
            outcome.acknowledged = log_durable_size(log);
            continue;
        }
        cr_assert_eq(code, outcome.failed ? ERR_POISONED : ERR_IO, "%s", err.message);
        cr_assert_eq(log_durable_size(log), outcome.acknowledged, "nothing is visible that was not acknowledged");
        outcome.failed = true;
        fault.crashed = false; /* the disk works again, the log must not */
        fault.fail_at[operation] = 0;
    }
    expect_readable(log, outcome.acknowledged);
    log_close(log);
    log = open_log(&f, &recovery);
    outcome.recovered = recovery.size;
    expect_readable(log, outcome.recovered);
    chain_init(&f.chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    log_close(log);
    cr_assert_geq(outcome.recovered, outcome.acknowledged);
    return outcome;
}

Test(log, every_failing_operation_poisons_and_loses_nothing_acknowledged)
{
    /* Eight blocks of 5 MiB are written into three segments: each durable operation of that run fails once. */
    static const char *names[] = {"write", "sync", "allocate", "truncate", "rename", "sync_dir"};
    unsigned failures = 0;
    for (int operation = 0; operation < FAULT_KINDS; operation++) {
        for (uint64_t at = 1;; at++) {
            struct outcome outcome = run_with_fault((enum fault_operation)operation, at, 0);
            remove_log();
            if (!outcome.failed)
                break; /* there are fewer operations than that */
            failures++;
            cr_assert_eq(outcome.recovered, outcome.acknowledged, "%s %llu", names[operation], (unsigned long long)at);
        }
    }
    cr_assert_geq(failures, 8 + 2 + 2 * 6 - 4);
}

Test(log, a_write_that_was_torn_anywhere_is_cut)
{
    for (size_t torn_bytes = 4096; torn_bytes < 5 * MIB; torn_bytes = torn_bytes * 7 / 4096 * 4096) {
        struct outcome outcome = run_with_fault(FAULT_WRITE, 2, torn_bytes);
        cr_assert(outcome.failed);
        cr_assert_eq(outcome.acknowledged, 5);
        cr_assert_eq(outcome.recovered, 5);
        remove_log();
    }
}

Test(log, a_write_that_was_reported_failed_but_is_whole_may_come_back)
{
    struct outcome outcome = run_with_fault(FAULT_WRITE, 2, 6 * MIB);
    cr_assert_eq(outcome.acknowledged, 5);
    cr_assert_eq(outcome.recovered, 10);
}

Test(log, opening_reports_out_of_memory_at_every_allocation)
{
    struct log *log = create_log(&f);
    append_one(log, make_block(&f, 2, 10));
    log_close(log);
    bool opened = false;
    for (uint64_t at = 1; !opened; at++) {
        struct log_recovery recovery;
        struct err err = {0};
        log = NULL;
        mem_fail_at(at);
        int code = log_open(f.disk, f.log_folder, bytes_of(NULL, 0), &f.options, &log, &recovery, &err);
        mem_fail_at(0);
        opened = code == 0;
        cr_assert(opened || code == ERR_NO_MEMORY, "%s: %s", tally_error_name(code), err.message);
        cr_assert(opened == (log != NULL));
    }
    expect_readable(log, 2);
    log_close(log);
}
