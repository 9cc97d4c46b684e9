/* Copying a log: up to a size, checked on the way. Segments: entries 0-14, 15-29, 30-35; blocks of three entries. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "log/copy.h"
#include "support.h"

enum { BLOCKS = 12, PAYLOAD_BYTES = 1000 * 1000 };

static struct fixture f;
static char target[300];
static struct hash roots[BLOCKS + 1]; /* after so many blocks */
static struct log_copy copy;
static struct hash root;

static void setup(void)
{
    fixture_init(&f);
    struct log *log = create_log(&f);
    roots[0] = merkle_range_root(&f.chain.range, f.sha);
    for (int i = 0; i < BLOCKS; i++) {
        append_one(log, make_block(&f, 3, PAYLOAD_BYTES));
        roots[i + 1] = merkle_range_root(&f.chain.range, f.sha);
    }
    log_close(log);
    snprintf(target, sizeof(target), "%s/copy", f.folder);
    copy = (struct log_copy){.disk = f.disk, .from = f.log_folder, .to = target, .sha = f.sha, .ret_root = &root};
}

static void teardown(void)
{
    fixture_free(&f);
}

TestSuite(copy, .init = setup, .fini = teardown);

static void expect_copy(uint64_t size)
{
    struct err err = {0};
    struct log *log = NULL;
    struct log_recovery recovery;
    copy.size = size;
    cr_assert_eq(log_copy(&copy, &err), 0, "%s", err.message);
    cr_expect(hash_equal(&root, &roots[size / 3]));
    cr_assert_eq(log_open(f.disk, target, BYTES_LITERAL(TEST_ORIGIN), &f.options, &log, &recovery, &err), 0, "%s",
                 err.message);
    expect_readable(log, size);
    log_close(log);
}

static void expect_refusal(int code, const char *word)
{
    struct err err = {0};
    cr_assert_eq(log_copy(&copy, &err), code, "%s", err.message);
    cr_expect_not_null(strstr(err.message, word), "%s", err.message);
}

Test(copy, all_of_it)
{
    expect_copy(36);
}

Test(copy, up_to_a_size_inside_a_segment)
{
    expect_copy(21);
}

Test(copy, up_to_the_end_of_a_segment_and_nothing_at_all)
{
    expect_copy(15);
    snprintf(target, sizeof(target), "%s/empty", f.folder);
    expect_copy(0);
}

Test(copy, a_size_that_is_not_there_or_splits_a_block_is_refused)
{
    copy.size = 37;
    expect_refusal(ERR_NOT_FOUND, "36 are there");
    snprintf(target, sizeof(target), "%s/other", f.folder);
    copy.size = 20;
    expect_refusal(ERR_NOT_FOUND, "21 are there");
}

Test(copy, damage_is_named_and_never_copied)
{
    flip_byte(segment_path(&f, 15), LOG_SEGMENT_HEADER_BYTES + 50000);
    copy.size = 36;
    expect_refusal(ERR_CORRUPT, "00000000000000000015.seg");
}

Test(copy, a_folder_with_a_log_is_left_alone)
{
    expect_copy(15);
    expect_refusal(ERR_EXISTS, "already");
}
