/* Scrubbing, and reading on behind damage in a sealed segment. Segments: entries 0-14, 15-29, and 30-35, which is being
 * written; blocks of three entries. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "support.h"

enum { BLOCKS = 12, PAYLOAD_BYTES = 1000 * 1000, FINDINGS_MAX = 8 };

static struct fixture f;
static struct log *log_under_test;
static uint64_t offsets[BLOCKS]; /* of each block in its file */
static struct scrub_finding findings[FINDINGS_MAX];
static size_t finding_count;
static uint64_t paced_bytes;

static void setup(void)
{
    uint64_t offset = LOG_SEGMENT_HEADER_BYTES;
    fixture_init(&f);
    log_under_test = create_log(&f);
    for (int i = 0; i < BLOCKS; i++) {
        struct block *block = make_block(&f, 3, PAYLOAD_BYTES);
        if (i % 5 == 0)
            offset = LOG_SEGMENT_HEADER_BYTES;
        offsets[i] = offset;
        offset += block->padded_size_bytes;
        append_one(log_under_test, block);
    }
    log_close(log_under_test);
    log_under_test = NULL;
    finding_count = 0;
    paced_bytes = 0;
}

static void teardown(void)
{
    log_close(log_under_test);
    fixture_free(&f);
}

TestSuite(scrub, .init = setup, .fini = teardown);

static const char *file_of(int block)
{
    return segment_path(&f, (uint64_t)block / 5 * 15);
}

static int found(void *context, const struct scrub_finding *finding, struct err *err)
{
    (void)context;
    (void)err;
    cr_assert_lt(finding_count, FINDINGS_MAX);
    findings[finding_count++] = *finding;
    return 0;
}

static int pace(void *context, uint64_t bytes, struct err *err)
{
    (void)context;
    (void)err;
    paced_bytes += bytes;
    return 0;
}

static void scrub_all(struct scrub_goal *goals, size_t goal_count)
{
    struct scrub scrub = {.disk = f.disk,
                          .folder = f.log_folder,
                          .sha = f.sha,
                          .found = found,
                          .pace = pace,
                          .goals = goals,
                          .goal_count = goal_count};
    uint64_t *segments = NULL;
    size_t count = 0;
    struct err err = {0};
    cr_assert_eq(segment_list(f.disk, f.log_folder, &segments, &count, NULL), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(scrub_segment(&scrub, segments, count, i, NULL, &err), 0, "%s", err.message);
    mem_free(segments);
}

static void expect_finding(size_t number, uint64_t first_index, uint64_t end_index)
{
    cr_assert_lt(number, finding_count);
    cr_expect_eq(findings[number].first_index, first_index, "from %lu", findings[number].first_index);
    cr_expect_eq(findings[number].end_index, end_index, "to %lu", findings[number].end_index);
}

/* Blocks 3 * number … that cannot be read, all others can. */
static void expect_reads_except(int first_block, int end_block)
{
    struct block *block = NULL;
    struct err err = {0};
    log_under_test = open_log(&f, NULL);
    for (int i = 0; i < BLOCKS; i++) {
        int code = log_read_block(log_under_test, (uint64_t)i * 3 + 1, &block, &err);
        if (i >= first_block && i < end_block) {
            cr_expect_eq(code, ERR_CORRUPT, "block %d", i);
            continue;
        }
        cr_assert_eq(code, 0, "block %d: %s", i, err.message);
        cr_expect_eq(block->first_index, i * 3);
        block_release(block);
    }
}

Test(scrub, an_intact_log_has_no_findings_and_every_byte_is_counted)
{
    scrub_all(NULL, 0);
    cr_expect_eq(finding_count, 0);
    cr_expect_gt(paced_bytes, BLOCKS * 3 * PAYLOAD_BYTES);
}

Test(scrub, a_changed_payload_is_found_and_costs_its_block_only)
{
    flip_byte(file_of(2), offsets[2] + 100000);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 6, 9);
    cr_expect_eq(findings[0].segment, 0);
    cr_expect_eq(findings[0].offset, offsets[2]);
    expect_reads_except(2, 3);
}

Test(scrub, a_destroyed_block_header_costs_its_block_only)
{
    static const uint8_t rubbish[64] = {1, 2, 3};
    overwrite(file_of(7), offsets[7], rubbish, sizeof(rubbish));
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 21, 24);
    expect_reads_except(7, 8);
}

Test(scrub, zeros_in_a_sealed_segment_are_damage)
{
    uint8_t *zeros = mem_alloc_zero(1, (size_t)(offsets[2] - offsets[1]));
    overwrite(file_of(1), offsets[1], zeros, (size_t)(offsets[2] - offsets[1]));
    mem_free(zeros);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 3, 6);
    expect_reads_except(1, 2);
}

Test(scrub, the_first_and_the_last_block_of_a_segment)
{
    flip_byte(file_of(0), offsets[0] + 5000);
    flip_byte(file_of(9), offsets[9] + 5000);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 2);
    expect_finding(0, 0, 3);
    expect_finding(1, 27, 30);
}

Test(scrub, what_lies_between_two_damaged_places_is_not_vouched_for)
{
    flip_byte(file_of(1), offsets[1] + 5000);
    flip_byte(file_of(3), offsets[3] + 5000);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 3, 12);
}

Test(scrub, a_sealed_segment_that_was_cut_ends_in_damage)
{
    cr_assert_eq(truncate(file_of(4), (off_t)offsets[4] + 100), 0);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 12, 15);
    expect_reads_except(4, 5);
}

Test(scrub, a_damaged_segment_header_costs_the_segment_and_not_the_ones_beside_it)
{
    flip_byte(file_of(5), 20);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 15, 30);
    expect_reads_except(5, 10);
}

/* A block with a right checksum, of the right log and with a plausible index, inside a client's payload. */
Test(scrub, a_payload_that_imitates_a_block_is_not_taken_for_one)
{
    struct fixture other;
    fixture_init(&other);
    struct block *skipped = make_block(&other, 7, 10);
    struct block *imitation = make_block(&other, 2, 1000);
    cr_assert_eq(imitation->first_index, 7);
    static const uint8_t rubbish[64] = {1};
    overwrite(file_of(2), offsets[2], rubbish, sizeof(rubbish));
    overwrite(file_of(2), offsets[2] + 8192, imitation->data, imitation->padded_size_bytes);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 6, 9);
    expect_reads_except(2, 3);
    block_release(skipped);
    block_release(imitation);
    fixture_free(&other);
}

static void put_past_all_indexes(struct entry *entry)
{
    entry->index = (uint64_t)1 << 63;
}

static void add_first_frame(struct block *to, struct block *from)
{
    struct bytes elements = block_body(from);
    struct bytes bytes;
    struct frame frame;
    cr_assert_eq(frame_next_element(&elements, &bytes, NULL), 0);
    cr_assert_eq(frame_parse(bytes, &frame, NULL), 0);
    cr_assert_eq(block_add(to, &frame, NULL), 0);
    block_release(from);
}

/* The same, with entries that chain and lead past 2^63, where no tree can count them: nobody may try. */
Test(scrub, a_payload_that_imitates_entries_which_no_log_can_have_is_damage_and_no_more)
{
    struct fixture other;
    struct block *imitation = NULL;
    fixture_init(&other);
    other.chain.range.size = ((uint64_t)1 << 63) - 1;
    cr_assert_eq(block_new(other.chain.range.size, f.chain.log_id, &imitation, NULL), 0);
    add_first_frame(imitation, make_block(&other, 1, 10));
    merkle_range_init(&other.chain.range);
    add_first_frame(imitation, make_spoiled_block(&other, 1, 10, put_past_all_indexes));
    block_seal(imitation);
    static const uint8_t rubbish[64] = {1};
    overwrite(file_of(2), offsets[2], rubbish, sizeof(rubbish));
    overwrite(file_of(2), offsets[2] + 8192, imitation->data, imitation->padded_size_bytes);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 6, 9);
    expect_reads_except(2, 3);
    block_release(imitation);
    fixture_free(&other);
}

Test(scrub, entries_that_were_replaced_by_others_do_not_fit_the_next_header)
{
    struct fixture other;
    fixture_init(&other);
    prng_seed(&other.prng, 99);
    for (int i = 0; i < 5; i++) {
        struct block *block = make_block(&other, 3, PAYLOAD_BYTES);
        overwrite(file_of(i), offsets[i], block->data, block->padded_size_bytes);
        block_release(block);
    }
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 0, 15);
    fixture_free(&other);
}

Test(scrub, roots_are_compared_where_their_size_is_passed)
{
    struct scrub_goal goals[] = {{.size = 36, .root = merkle_range_root(&f.chain.range, f.sha)}, {.size = 31}};
    scrub_all(goals, 2);
    cr_expect(goals[0].compared);
    cr_expect(goals[0].matches);
    cr_expect(goals[1].compared);
    cr_expect_not(goals[1].matches);
}

Test(scrub, a_torn_tail_of_the_last_segment_is_not_damage)
{
    flip_byte(file_of(11), offsets[11] + 5000);
    scrub_all(NULL, 0);
    cr_expect_eq(finding_count, 0);
}

/* Says in the file that the block was written together with those from `first` on. */
static void stamp_as_written_with(int block, int first)
{
    uint8_t header[BLOCK_HEADER_BYTES];
    FILE *file = fopen(file_of(block), "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, (long)offsets[block], SEEK_SET), 0);
    cr_assert_eq(fread(header, 1, sizeof(header), file), sizeof(header));
    size_t size = BLOCK_HEADER_BYTES + get_u32_le(header + 4);
    uint8_t *data = mem_alloc(size);
    cr_assert_eq(fseek(file, (long)offsets[block], SEEK_SET), 0);
    cr_assert_eq(fread(data, 1, size, file), size);
    fclose(file);
    block_stamp(data, (uint32_t)size, (uint32_t)((offsets[block] - offsets[first]) / BLOCK_ALIGNMENT_BYTES));
    overwrite(file_of(block), offsets[block], data, size);
    mem_free(data);
}

Test(scrub, a_torn_write_of_several_blocks_is_not_damage)
{
    stamp_as_written_with(11, 10);
    flip_byte(file_of(10), offsets[10] + 5000);
    scrub_all(NULL, 0);
    cr_expect_eq(finding_count, 0);
    log_under_test = open_log(&f, NULL);
    cr_expect_eq(log_durable_size(log_under_test), 30);
}

Test(scrub, a_damaged_block_before_a_later_write_is_damage_whatever_the_end_is_like)
{
    struct err err = {0};
    struct block *later = make_block(&f, 3, 10);
    overwrite(file_of(11), offsets[11] + (offsets[11] - offsets[10]), later->data, later->padded_size_bytes);
    block_release(later);
    flip_byte(file_of(10), offsets[10] + 5000);
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 30, 33);
    flip_byte(file_of(11), offsets[11] + (offsets[11] - offsets[10]) + 100);
    finding_count = 0;
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, 30, UINT64_MAX);
    expect_open_fails(&f, ERR_CORRUPT, &err);
}

static void expect_damaged_end(uint64_t first_index)
{
    struct err err = {0};
    finding_count = 0;
    scrub_all(NULL, 0);
    cr_assert_eq(finding_count, 1);
    expect_finding(0, first_index, UINT64_MAX);
    expect_open_fails(&f, ERR_CORRUPT, &err);
}

/* No crash leaves a whole block behind that does not fit. */
Test(scrub, a_whole_last_block_that_is_wrong_is_damage)
{
    struct fixture other;
    fixture_init(&other);
    prng_seed(&other.prng, 99);
    memcpy(other.chain.range.hashes, f.chain.range.hashes, sizeof(f.chain.range.hashes));
    other.chain.range.size = 33;
    struct block *of_another_history = make_block(&other, 3, 10);
    struct block *of_a_wrong_index = make_block(&f, 1, 10);
    overwrite(file_of(11), offsets[11], of_another_history->data, of_another_history->padded_size_bytes);
    expect_damaged_end(33);
    overwrite(file_of(11), offsets[11], of_a_wrong_index->data, of_a_wrong_index->padded_size_bytes);
    expect_damaged_end(33);
    of_another_history->data[24] ^= 1; /* the log's id */
    reseal(of_another_history->data);
    overwrite(file_of(11), offsets[11], of_another_history->data, of_another_history->padded_size_bytes);
    expect_damaged_end(33);
    block_release(of_another_history);
    block_release(of_a_wrong_index);
    fixture_free(&other);
}

Test(scrub, a_read_of_damage_names_file_offset_entries_and_the_repair)
{
    struct block *block = NULL;
    struct err err = {0};
    char offset[32];
    flip_byte(file_of(2), offsets[2] + 100000);
    log_under_test = open_log(&f, NULL);
    cr_assert_eq(log_read_block(log_under_test, 7, &block, &err), ERR_CORRUPT);
    snprintf(offset, sizeof(offset), "offset %lu", offsets[2]);
    cr_expect_not_null(strstr(err.message, "00000000000000000000.seg"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, offset), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "entries 6 to 8"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "tally repair --data DIR --origin demo/eu/1 --from"), "%s", err.message);
}

Test(scrub, damage_is_remembered_once)
{
    struct scrub_finding known[2];
    struct block *block = NULL;
    flip_byte(file_of(2), offsets[2] + 100000);
    log_under_test = open_log(&f, NULL);
    cr_expect_eq(log_damages(log_under_test, known, 2), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(log_read_block(log_under_test, 6 + (uint64_t)i, &block, NULL), ERR_CORRUPT);
    cr_assert_eq(log_damages(log_under_test, known, 2), 1);
    cr_expect_eq(known[0].first_index, 6);
    cr_expect_eq(known[0].end_index, 9);
    cr_expect_not(log_add_damage(log_under_test, &known[0]));
}
