/* Reading: cursors in both directions, from memory and from files, while the log grows. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"

static struct fixture f;
static struct log *log_under_test;

static void setup(void)
{
    fixture_init(&f);
    log_under_test = create_log(&f);
    for (int i = 0; i < 4; i++)
        append_one(log_under_test, make_block(&f, 3, 100)); /* 0-2, 3-5, 6-8, 9-11 */
}

static void teardown(void)
{
    log_close(log_under_test);
    fixture_free(&f);
}

TestSuite(reader, .init = setup, .fini = teardown);

/* Everything below is to hold for blocks in memory and for blocks in files. */
static void reopen(void)
{
    log_close(log_under_test);
    log_under_test = open_log(&f, NULL);
}

static struct log_cursor *cursor_at(uint64_t index)
{
    struct log_cursor *cursor = NULL;
    cr_assert_eq(log_cursor_open(log_under_test, index, &cursor, NULL), 0);
    return cursor;
}

static void expect_next(struct log_cursor *cursor, uint64_t first_index)
{
    struct block *block = NULL;
    struct err err = {0};
    cr_assert_eq(log_cursor_next(cursor, &block, &err), 0, "%s", err.message);
    cr_assert_eq(block->first_index, first_index);
    block_release(block);
}

static void expect_prev(struct log_cursor *cursor, uint64_t first_index)
{
    struct block *block = NULL;
    struct err err = {0};
    cr_assert_eq(log_cursor_prev(cursor, &block, &err), 0, "%s", err.message);
    cr_assert_eq(block->first_index, first_index);
    block_release(block);
}

static void expect_end(int (*step)(struct log_cursor *, struct block **, struct err *), struct log_cursor *cursor)
{
    struct block *block = NULL;
    cr_assert_eq(step(cursor, &block, NULL), ERR_END);
    cr_assert_null(block);
}

Test(reader, forwards_from_every_index)
{
    for (int from_file = 0; from_file <= 1; from_file++) {
        for (uint64_t index = 0; index <= 12; index++) {
            struct log_cursor *cursor = cursor_at(index);
            for (uint64_t first = index / 3 * 3; first < 12; first += 3)
                expect_next(cursor, first);
            expect_end(log_cursor_next, cursor);
            log_cursor_close(cursor);
        }
        reopen();
    }
}

Test(reader, backwards_from_every_index)
{
    for (int from_file = 0; from_file <= 1; from_file++) {
        for (uint64_t index = 0; index <= 12; index++) {
            struct log_cursor *cursor = cursor_at(index);
            for (uint64_t first = index / 3 * 3; first > 0; first -= 3)
                expect_prev(cursor, first - 3);
            expect_end(log_cursor_prev, cursor);
            log_cursor_close(cursor);
        }
        reopen();
    }
}

Test(reader, turning_round_gives_the_block_on_the_other_side)
{
    struct log_cursor *cursor = cursor_at(4);
    expect_next(cursor, 3);
    expect_next(cursor, 6);
    expect_prev(cursor, 3);
    expect_next(cursor, 6);
    expect_next(cursor, 9);
    expect_end(log_cursor_next, cursor);
    expect_prev(cursor, 6);
    log_cursor_close(cursor);
}

Test(reader, an_ended_cursor_goes_on_when_more_is_there)
{
    struct log_cursor *cursor = cursor_at(12);
    expect_end(log_cursor_next, cursor);
    append_one(log_under_test, make_block(&f, 2, 10));
    expect_next(cursor, 12);
    expect_end(log_cursor_next, cursor);
    log_cursor_close(cursor);
}

Test(reader, opening_past_the_end_is_refused)
{
    struct log_cursor *cursor = NULL;
    cr_assert_eq(log_cursor_open(log_under_test, 13, &cursor, NULL), ERR_INVALID);
    cr_assert_null(cursor);
}

Test(reader, read_block_finds_each_entry_and_no_more)
{
    struct block *block = NULL;
    for (int from_file = 0; from_file <= 1; from_file++) {
        for (uint64_t index = 0; index < 12; index++) {
            cr_assert_eq(log_read_block(log_under_test, index, &block, NULL), 0);
            cr_assert_eq(block->first_index, index / 3 * 3);
            block_release(block);
            block = NULL;
        }
        cr_assert_eq(log_read_block(log_under_test, 12, &block, NULL), ERR_NOT_FOUND);
        cr_assert_eq(log_read_block(log_under_test, UINT64_MAX, &block, NULL), ERR_NOT_FOUND);
        cr_assert_null(block);
        reopen();
    }
}

Test(reader, files_and_memory_give_the_same_bytes)
{
    struct block *from_memory = NULL;
    struct block *from_file = NULL;
    cr_assert_eq(log_read_block(log_under_test, 7, &from_memory, NULL), 0);
    reopen();
    cr_assert_eq(log_read_block(log_under_test, 7, &from_file, NULL), 0);
    cr_assert(bytes_equal(block_bytes(from_memory), block_bytes(from_file)));
    block_release(from_memory);
    block_release(from_file);
}

Test(reader, blocks_that_left_the_tail_are_read_from_the_file)
{
    log_close(log_under_test);
    f.options.tail_size_bytes = 1; /* room for the latest block only */
    log_under_test = open_log(&f, NULL);
    for (int i = 0; i < 3; i++)
        append_one(log_under_test, make_block(&f, 3, 100));
    expect_readable(log_under_test, 21);
}

Test(reader, damage_found_while_reading_is_named)
{
    struct block *block = NULL;
    struct err err = {0};
    reopen();
    flip_byte(segment_path(&f, 0), LOG_SEGMENT_HEADER_BYTES + 4096 + 100);
    cr_assert_eq(log_read_block(log_under_test, 4, &block, &err), ERR_CORRUPT);
    cr_assert(strstr(err.message, "00000000000000000000.seg, offset 8192, entries 3 to 5") != NULL, "%s", err.message);
    cr_assert_eq(log_read_block(log_under_test, 7, &block, &err), 0, "the others are still read: %s", err.message);
    block_release(block);
}

Test(reader, a_file_that_became_shorter_is_damage)
{
    struct block *block = NULL;
    reopen();
    cr_assert_eq(truncate(segment_path(&f, 0), 8192), 0);
    cr_assert_eq(log_read_block(log_under_test, 11, &block, NULL), ERR_CORRUPT);
    cr_assert_null(block);
}

Test(reader, more_segments_than_views)
{
    log_close(log_under_test);
    cr_assert_eq(disk_remove(f.disk, segment_path(&f, 0), NULL), 0);
    chain_init(&f.chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    cr_assert_eq(log_create(f.disk, f.log_folder, BYTES_LITERAL(TEST_ORIGIN), &f.options, NULL), 0);
    /* Forty segments of one block each: the folder is built by hand, without filling 16 MiB forty times. */
    for (uint64_t i = 0; i < 40; i++) {
        static uint8_t page[LOG_SEGMENT_HEADER_BYTES];
        struct segment_header header = {.first_index = i, .origin = TEST_ORIGIN, .chain = f.chain};
        segment_header_encode(&header, page);
        struct block *block = make_block(&f, 1, 10);
        if (i > 0)
            overwrite(segment_path(&f, i), 0, page, sizeof(page));
        overwrite(segment_path(&f, i), LOG_SEGMENT_HEADER_BYTES, block->data, block->padded_size_bytes);
        block_release(block);
    }
    log_under_test = open_log(&f, NULL);
    expect_readable(log_under_test, 40);
    expect_readable(log_under_test, 40);
}

enum { RACE_BLOCKS = 300, RACE_READERS = 3 };

/* Returns NULL when all was right, else a static text. */
static void *read_all(void *context)
{
    static char cannot_open[] = "cannot open", cannot_read[] = "cannot read", wrong[] = "read something wrong";
    struct log_cursor *cursor = NULL;
    struct sha256 *sha = sha256_new();
    struct chain chain;
    (void)context;
    chain_init(&chain, sha, BYTES_LITERAL(TEST_ORIGIN));
    if (log_cursor_open(log_under_test, 0, &cursor, NULL) != 0)
        return cannot_open;
    while (chain.range.size < 12 + RACE_BLOCKS) {
        struct block *block = NULL;
        int code = log_cursor_next(cursor, &block, NULL);
        if (code == ERR_END)
            continue;
        if (code != 0)
            return cannot_read;
        if (chain_check_block(&chain, sha, block_body(block), block->entry_count, NULL, NULL, NULL, NULL) != 0)
            return wrong;
        block_release(block);
    }
    log_cursor_close(cursor);
    sha256_free(sha);
    return NULL;
}

Test(reader, many_readers_follow_a_writer)
{
    pthread_t readers[RACE_READERS];
    log_close(log_under_test);
    f.options.tail_size_bytes = 2000; /* so that both memory and file are used */
    log_under_test = open_log(&f, NULL);
    for (int i = 0; i < RACE_READERS; i++)
        cr_assert_eq(pthread_create(&readers[i], NULL, read_all, NULL), 0);
    for (int i = 0; i < RACE_BLOCKS; i++)
        append_one(log_under_test, make_block(&f, 1, 100));
    for (int i = 0; i < RACE_READERS; i++) {
        void *problem = NULL;
        cr_assert_eq(pthread_join(readers[i], &problem), 0);
        cr_assert_null(problem, "%s", (char *)problem);
    }
}
