/* Repair: what is fetched is believed only when it fits on both sides and a signed root covers it. Segments: entries
 * 0-14, 15-29, 30-35; blocks of three entries. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "log/mend.h"
#include "support.h"

enum { BLOCKS = 12, PAYLOAD_BYTES = 1000 * 1000 };

static struct fixture f;
static struct block *blocks[BLOCKS]; /* what a peer has */
static uint64_t offsets[BLOCKS];
static struct hash roots[BLOCKS]; /* of the tree up to each block's end */
static char evidence[300];
static struct mend mend;
static size_t fetch_count;
static size_t peer_block_count;

static int fetch(void *context, uint64_t first_index, uint64_t end_index, mend_block_fn *each, void *each_context,
                 struct err *err)
{
    (void)context;
    fetch_count++;
    for (size_t i = 0; i < peer_block_count; i++) {
        if (blocks[i]->first_index + blocks[i]->entry_count <= first_index || blocks[i]->first_index >= end_index)
            continue;
        int code = each(each_context, blocks[i], err);
        if (code != 0)
            return code;
    }
    return 0;
}

static void setup(void)
{
    uint64_t offset = LOG_SEGMENT_HEADER_BYTES;
    fixture_init(&f);
    struct log *log = create_log(&f);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = make_block(&f, 3, PAYLOAD_BYTES);
        roots[i] = merkle_range_root(&f.chain.range, f.sha);
        if (i % 5 == 0)
            offset = LOG_SEGMENT_HEADER_BYTES;
        offsets[i] = offset;
        offset += blocks[i]->padded_size_bytes;
        append_one(log, block_retain(blocks[i]));
    }
    log_close(log);
    peer_block_count = BLOCKS;
    fetch_count = 0;
    snprintf(evidence, sizeof(evidence), "%s/evidence", f.folder);
    mend = (struct mend){.disk = f.disk,
                         .folder = f.log_folder,
                         .evidence = evidence,
                         .origin = TEST_ORIGIN,
                         .sha = f.sha,
                         .fetch = fetch,
                         .required_size = 36,
                         .goal_count = 1,
                         .goals = {{.size = 36, .root = roots[BLOCKS - 1]}}};
}

static void teardown(void)
{
    mend_free(&mend);
    for (int i = 0; i < BLOCKS; i++)
        block_release(blocks[i]);
    fixture_free(&f);
}

TestSuite(mend, .init = setup, .fini = teardown);

static const char *file_of(int block)
{
    return segment_path(&f, (uint64_t)block / 5 * 15);
}

static void damage(int block)
{
    flip_byte(file_of(block), offsets[block] + 100000);
}

static void find(size_t expected_count)
{
    struct err err = {0};
    cr_assert_eq(mend_find(&mend, &err), 0, "%s", err.message);
    cr_assert_eq(mend.finding_count, expected_count, "%zu", mend.finding_count);
}

static void expect_repairs(void)
{
    struct err err = {0};
    cr_assert_eq(mend_stage(&mend, &err), 0, "%s", err.message);
    cr_assert_eq(mend_commit(&mend, &err), 0, "%s", err.message);
    struct log *log = open_log(&f, NULL);
    expect_readable(log, 36);
    log_close(log);
}

/* And nothing that was there is changed. */
static void expect_refusal(int code, const char *word)
{
    struct err err = {0};
    uint64_t size = file_size(file_of(2));
    cr_assert_eq(mend_stage(&mend, &err), code, "%s", err.message);
    cr_expect_not_null(strstr(err.message, word), "%s", err.message);
    cr_expect_eq(file_size(file_of(2)), size);
}

Test(mend, an_intact_log_needs_nothing)
{
    find(0);
}

/* Blocks, chain and headers agree also in a log that was rewritten: only a signed root tells. */
Test(mend, roots_are_compared_where_nothing_is_damaged)
{
    find(0);
    cr_expect(mend.goals[0].compared && mend.goals[0].matches);
    mend_free(&mend);
    mend.goals[0].root.bytes[0] ^= 1;
    find(0);
    cr_expect(mend.goals[0].compared && !mend.goals[0].matches);
}

Test(mend, exactly_what_is_damaged_is_fetched)
{
    damage(2);
    find(1);
    expect_repairs();
    cr_expect_eq(fetch_count, 1);
}

Test(mend, several_segments_and_the_last_one)
{
    damage(0);
    damage(7);
    damage(10);
    find(3);
    expect_repairs();
}

Test(mend, a_tail_that_a_checkpoint_covers_is_fetched)
{
    damage(11);
    find(1);
    cr_expect_eq(mend.findings[0].first_index, 33);
    cr_expect_eq(mend.findings[0].end_index, 36);
    expect_repairs();
}

/* A whole block in a place that is not its own: the start refuses, so there must be something to repair. */
Test(mend, a_wrong_block_at_the_end_is_fetched_when_a_checkpoint_says_how_many_entries_there_are)
{
    struct err err = {0};
    overwrite(file_of(11), offsets[11], blocks[3]->data, blocks[3]->size_bytes);
    mend.required_size = 33;
    cr_assert_eq(mend_find(&mend, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.message, "the end of the log is damaged from entry 33 on"), "%s", err.message);
    mend_free(&mend);
    mend.required_size = 36;
    find(1);
    cr_expect_eq(mend.findings[0].end_index, 36);
    expect_repairs();
}

Test(mend, headers_are_made_from_the_segment_before)
{
    flip_byte(file_of(0), 20);
    flip_byte(file_of(5), 20);
    find(2);
    expect_repairs();
}

Test(mend, a_peer_with_other_blocks_gives_the_same_entries)
{
    struct bytes elements[2] = {block_body(blocks[2]), block_body(blocks[3])};
    struct block *joined = NULL;
    cr_assert_eq(block_new(6, f.chain.log_id, &joined, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        struct bytes frame_bytes;
        struct frame frame;
        while (frame_next_element(&elements[i], &frame_bytes, NULL) == 0) {
            cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
            cr_assert_eq(block_add(joined, &frame, NULL), 0);
        }
    }
    block_seal(joined);
    block_release(blocks[2]);
    block_release(blocks[3]);
    blocks[2] = joined;
    blocks[3] = block_retain(joined);
    damage(3);
    find(1);
    expect_repairs();
}

/* What was written together long ago was acknowledged long ago: behind damage it must count as whole again. */
Test(mend, a_repaired_file_forgets_what_was_written_together)
{
    block_stamp(blocks[9]->data, blocks[9]->size_bytes, 1);
    overwrite(file_of(9), offsets[9], blocks[9]->data, blocks[9]->size_bytes);
    damage(8);
    find(1);
    expect_repairs();
    uint8_t header[BLOCK_HEADER_BYTES];
    struct block_header parsed;
    FILE *file = fopen(file_of(9), "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, (long)offsets[9], SEEK_SET), 0);
    cr_assert_eq(fread(header, 1, sizeof(header), file), sizeof(header));
    fclose(file);
    cr_assert_eq(block_parse_header(header, &parsed, NULL), 0);
    cr_expect_eq(parsed.pages_back, 0);
}

Test(mend, the_damaged_file_is_kept)
{
    char path[400];
    uint64_t size = file_size(file_of(2));
    damage(2);
    find(1);
    expect_repairs();
    snprintf(path, sizeof(path), "%s/%s-%020d.damaged.0", evidence, strrchr(f.log_folder, '/') + 1, 0);
    cr_expect_eq(file_size(path), size);
}

Test(mend, entries_of_another_history_are_refused)
{
    struct fixture other;
    fixture_init(&other);
    prng_seed(&other.prng, 99);
    for (int i = 0; i < 3; i++) {
        block_release(blocks[i]);
        blocks[i] = make_block(&other, 3, PAYLOAD_BYTES);
    }
    damage(2);
    find(1);
    expect_refusal(ERR_CORRUPT, "entries 6 to 8");
    fixture_free(&other);
}

Test(mend, entries_that_fit_on_the_left_only_are_refused)
{
    struct fixture other;
    fixture_init(&other);
    for (int i = 0; i < 2; i++)
        block_release(make_block(&other, 3, PAYLOAD_BYTES)); /* the same as the log's: the same seed */
    prng_seed(&other.prng, 99);
    block_release(blocks[2]);
    blocks[2] = make_block(&other, 3, PAYLOAD_BYTES);
    damage(2);
    find(1);
    expect_refusal(ERR_CORRUPT, "");
    fixture_free(&other);
}

Test(mend, a_root_that_was_not_signed_is_refused)
{
    mend.goals[0].root.bytes[0] ^= 1;
    damage(2);
    find(1);
    expect_refusal(ERR_CORRUPT, "root");
}

/* In segments that are not read again the first look counts. */
Test(mend, a_root_that_differs_before_the_damage_is_refused)
{
    mend.goals[mend.goal_count++] = (struct scrub_goal){.size = 3};
    damage(10);
    find(1);
    expect_refusal(ERR_CORRUPT, "signed for 3 entries");
}

/* Whole blocks that the next segment does not follow are damage: the root of what was there does not count. */
Test(mend, a_root_that_differs_because_of_the_damage_is_compared_again)
{
    struct fixture other;
    fixture_init(&other);
    for (int i = 0; i < 4; i++)
        block_release(make_block(&other, 3, PAYLOAD_BYTES)); /* the same as the log's: the same seed */
    mend.goals[mend.goal_count++] = (struct scrub_goal){.size = 15, .root = roots[4]};
    prng_seed(&other.prng, 99);
    struct block *rewritten = make_block(&other, 3, PAYLOAD_BYTES);
    overwrite(file_of(4), offsets[4], rewritten->data, rewritten->size_bytes);
    find(1);
    cr_expect(mend.goals[1].compared && !mend.goals[1].matches);
    expect_repairs();
    cr_expect(mend.goals[1].compared && mend.goals[1].matches);
    block_release(rewritten);
    fixture_free(&other);
}

Test(mend, without_a_checkpoint_that_covers_it_nothing_is_believed)
{
    mend.goals[0].size = 100;
    damage(2);
    find(1);
    expect_refusal(ERR_CORRUPT, "no signed checkpoint");
}

Test(mend, a_peer_that_has_too_little_is_refused)
{
    peer_block_count = 2;
    damage(2);
    find(1);
    expect_refusal(ERR_NOT_FOUND, "entries up to 6");
}
