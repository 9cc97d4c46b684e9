#include "log/block.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "base/mem.h"
#include "support.h"

static struct fixture f;

static void setup(void)
{
    fixture_init(&f);
}

static void teardown(void)
{
    fixture_free(&f);
}

TestSuite(block, .init = setup, .fini = teardown);

Test(block, a_sealed_block_checks_and_copies)
{
    struct block *block = make_block(&f, 5, 100);
    struct block_header header;
    struct block *copy = NULL;
    cr_assert_eq(block_check(block_bytes(block), &header, NULL), 0);
    cr_assert_eq(header.entry_count, 5);
    cr_assert_eq(header.first_index, 0);
    cr_assert_eq(memcmp(header.log_id, f.chain.log_id, ENTRY_LOG_ID_SIZE), 0);
    cr_assert_eq(block_from_bytes(block_bytes(block), &copy, NULL), 0);
    cr_assert(bytes_equal(block_bytes(copy), block_bytes(block)));
    cr_assert_eq(copy->padded_size_bytes, block->padded_size_bytes);
    block_release(copy);
    block_release(block);
}

Test(block, is_padded_with_zeros_and_aligned)
{
    struct block *block = make_block(&f, 1, 5000);
    cr_assert_eq(block->padded_size_bytes, 8192);
    cr_assert_eq((uintptr_t)block->data % BLOCK_ALIGNMENT_BYTES, 0);
    for (uint32_t i = block->size_bytes; i < block->padded_size_bytes; i++)
        cr_assert_eq(block->data[i], 0);
    block_release(block);
}

Test(block, every_changed_bit_is_noticed)
{
    struct block *block = make_block(&f, 2, 40);
    struct block_header header;
    for (uint32_t bit = 0; bit < 8 * block->size_bytes; bit++) {
        block->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(block_check(block_bytes(block), &header, NULL), ERR_CORRUPT, "bit %u", bit);
        block->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(block_check(block_bytes(block), &header, NULL), 0);
    block_release(block);
}

Test(block, every_wrong_length_is_noticed)
{
    struct block *block = make_block(&f, 1, 10);
    struct block_header header;
    for (size_t size = 0; size < block->size_bytes; size++)
        cr_assert_eq(block_check(bytes_of(block->data, size), &header, NULL), ERR_CORRUPT, "%zu bytes", size);
    cr_assert_eq(block_check(bytes_of(block->data, block->size_bytes + 1), &header, NULL), ERR_CORRUPT);
    block_release(block);
}

Test(block, impossible_headers_are_refused)
{
    struct block *block = make_block(&f, 1, 10);
    struct block_header header;
    const struct {
        size_t at;
        uint32_t value;
    } cases[] = {{4, 0}, {4, BLOCK_BODY_MAX_BYTES + 1}, {4, UINT32_MAX},
                 {8, 0}, {8, BLOCK_ENTRIES_MAX + 1},    {20, 0x40000000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t copy[BLOCK_HEADER_BYTES];
        memcpy(copy, block->data, sizeof(copy));
        put_u32_le(copy + cases[i].at, cases[i].value);
        cr_assert_eq(block_parse_header(copy, &header, NULL), ERR_CORRUPT, "case %zu", i);
    }
    block_release(block);
}

Test(block, indexes_end_below_the_limit)
{
    struct block *block = make_block(&f, 3, 10);
    struct block_header header;
    for (uint64_t first = LOG_ENTRIES_MAX - 5; first < LOG_ENTRIES_MAX + 2; first++) {
        put_u64_le(block->data + 16, first);
        cr_assert_eq(block_parse_header(block->data, &header, NULL), first + 3 <= LOG_ENTRIES_MAX ? 0 : ERR_CORRUPT,
                     "%lu", first);
    }
    block_release(block);
}

Test(block, what_was_written_together_is_said_in_the_file_alone)
{
    struct block *block = make_block(&f, 5, 100);
    struct block *copy = NULL;
    struct block_header header;
    uint8_t stored[BLOCK_ALIGNMENT_BYTES];
    cr_assert_leq(block->size_bytes, sizeof(stored));
    memcpy(stored, block->data, block->size_bytes);
    block_stamp(stored, block->size_bytes, BLOCK_PAGES_BACK_MAX);
    cr_assert_eq(block_check(bytes_of(stored, block->size_bytes), &header, NULL), 0);
    cr_expect_eq(header.pages_back, BLOCK_PAGES_BACK_MAX);
    cr_expect_eq(header.entry_count, 5);
    cr_assert_eq(block_from_bytes(bytes_of(stored, block->size_bytes), &copy, NULL), 0);
    cr_expect(bytes_equal(block_bytes(copy), block_bytes(block)));
    block_release(copy);
    block_release(block);
}

Test(block, zeros_are_the_end_and_no_block)
{
    const uint8_t zeros[64] = {0};
    struct block_header header;
    cr_assert_eq(block_parse_header(zeros, &header, NULL), ERR_END);
    cr_assert_eq(block_check(bytes_of(zeros, sizeof(zeros)), &header, NULL), ERR_CORRUPT);
}

Test(block, finds_each_entry_and_no_other)
{
    struct block *skipped = make_block(&f, 3, 10);
    struct block *block = make_block(&f, 4, 10);
    struct bytes bytes;
    for (uint64_t index = 3; index < 7; index++) {
        struct frame frame;
        struct entry entry;
        cr_assert_eq(block_find(block, index, &bytes, NULL), 0);
        cr_assert_eq(frame_parse(bytes, &frame, NULL), 0);
        cr_assert_eq(entry_parse(frame.entry, &entry, NULL), 0);
        cr_assert_eq(entry.index, index);
    }
    cr_assert_eq(block_find(block, 2, &bytes, NULL), ERR_NOT_FOUND);
    cr_assert_eq(block_find(block, 7, &bytes, NULL), ERR_NOT_FOUND);
    cr_assert_eq(block_find(block, UINT64_MAX, &bytes, NULL), ERR_NOT_FOUND);
    block_release(block);
    block_release(skipped);
}

Test(block, truncating_undoes_half_a_batch)
{
    struct block *block = NULL;
    struct frame frame = {.entry = BYTES_LITERAL("one entry"), .has_payload = true};
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    uint32_t count = block->entry_count;
    uint32_t size = block->size_bytes;
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    block_truncate(block, count, size);
    cr_assert_eq(block->entry_count, 1);
    cr_assert_eq(block_room_bytes(block), BLOCK_BODY_MAX_BYTES - frame_element_size(&frame));
    block_release(block);
}

Test(block, remembers_fingerprints_of_entries_and_of_none_that_was_taken_off)
{
    const struct hash leaf = {{1}};
    struct block *block = NULL;
    struct block *copy = NULL;
    struct frame frame = {.entry = BYTES_LITERAL("one entry"), .has_payload = true};
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    uint32_t size = block->size_bytes;
    for (uint64_t i = 1; i <= 20; i++) {
        cr_assert_eq(block_add(block, &frame, NULL), 0);
        block_note(block, block->entry_count - 1, 100 + i, &leaf);
    }
    cr_assert_eq(block_fingerprint(block, 0), 0);
    cr_assert_eq(block_fingerprint(block, 1), 101);
    cr_assert_eq(block_fingerprint(block, 20), 120);
    block_truncate(block, 1, size);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    cr_assert_eq(block_fingerprint(block, 1), 0);
    block_note(block, block->entry_count - 1, 7, &leaf);
    cr_assert_eq(block_fingerprint(block, 1), 7);
    block_seal(block);
    cr_assert_eq(block_from_bytes(block_bytes(block), &copy, NULL), 0);
    cr_assert_eq(block_fingerprint(copy, 1), 0);
    block_release(copy);
    block_release(block);
}

Test(block, has_leaves_when_each_of_its_entries_does)
{
    const struct hash leaf = {{1}};
    struct block *block = NULL;
    struct frame frame = {.entry = BYTES_LITERAL("one entry"), .has_payload = true};
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    cr_assert_not(block_has_leaves(block));
    block_note(block, block->entry_count - 1, 0, &leaf);
    cr_assert(block_has_leaves(block));
    uint32_t size = block->size_bytes;
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    cr_assert_not(block_has_leaves(block));
    block_note(block, block->entry_count - 1, 0, &leaf);
    block_truncate(block, 1, size);
    cr_assert(block_has_leaves(block));
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    cr_assert_not(block_has_leaves(block), "the one that was noted there was taken off");
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    block_note(block, block->entry_count - 1, 0, &leaf);
    cr_assert_not(block_has_leaves(block), "one is missing in between");
    block_release(block);
}

Test(block, without_memory_for_fingerprints_nothing_else_happens)
{
    const struct hash leaf = {{1}};
    struct block *block = NULL;
    struct frame frame = {.entry = BYTES_LITERAL("one entry"), .has_payload = true};
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    mem_fail_at(1);
    block_note(block, block->entry_count - 1, 7, &leaf);
    mem_fail_at(0);
    cr_assert_eq(block_fingerprint(block, 0), 0);
    block_note(block, block->entry_count - 1, 7, &leaf);
    cr_assert_eq(block_fingerprint(block, 0), 7);
    block_release(block);
}

Test(block, fills_up_to_its_limit_and_stays_whole)
{
    static uint8_t payload[ENTRY_PAYLOAD_MAX_BYTES];
    struct block *block = NULL;
    struct frame frame = {
        .entry = BYTES_LITERAL("one entry"), .has_payload = true, .payload = bytes_of(payload, sizeof(payload))};
    struct err err = {0};
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), 0);
    while (block_room_bytes(block) >= frame_element_size(&frame))
        cr_assert_eq(block_add(block, &frame, NULL), 0);
    uint32_t size = block->size_bytes;
    cr_assert_eq(block_add(block, &frame, &err), ERR_TOO_LARGE);
    cr_assert_eq(block->size_bytes, size);
    cr_assert_eq(block->entry_count, 7);
    frame.payload.size_bytes = block_room_bytes(block) - 40;
    while (frame_element_size(&frame) < block_room_bytes(block))
        frame.payload.size_bytes++;
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    block_seal(block);
    cr_assert_eq(block->padded_size_bytes, BLOCK_BODY_MAX_BYTES + BLOCK_HEADER_BYTES);
    struct block_header header;
    cr_assert_eq(block_check(block_bytes(block), &header, NULL), 0);
    block_release(block);
}

Test(block, holds_no_more_entries_than_the_limit)
{
    struct block *block = NULL;
    struct frame frame = {.entry = BYTES_LITERAL("e")};
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), 0);
    for (int i = 0; i < BLOCK_ENTRIES_MAX; i++)
        cr_assert_eq(block_add(block, &frame, NULL), 0);
    cr_assert_eq(block_add(block, &frame, NULL), ERR_TOO_LARGE);
    block_release(block);
}

Test(block, out_of_memory_leaves_the_block_as_it_was)
{
    static uint8_t payload[100 * 1024];
    struct block *block = NULL;
    struct frame frame = {
        .entry = BYTES_LITERAL("e"), .has_payload = true, .payload = bytes_of(payload, sizeof(payload))};
    mem_fail_at(1);
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), ERR_NO_MEMORY);
    mem_fail_at(2);
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), ERR_NO_MEMORY);
    cr_assert_null(block);
    cr_assert_eq(block_new(0, f.chain.log_id, &block, NULL), 0);
    mem_fail_at(1);
    cr_assert_eq(block_add(block, &frame, NULL), ERR_NO_MEMORY);
    cr_assert_eq(block->entry_count, 0);
    cr_assert_eq(block->size_bytes, BLOCK_HEADER_BYTES);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    block_release(block);
}

Test(block, copying_reports_out_of_memory)
{
    struct block *block = make_block(&f, 1, 10);
    struct block *copy = NULL;
    for (uint64_t at = 1; at <= 2; at++) {
        mem_fail_at(at);
        cr_assert_eq(block_from_bytes(block_bytes(block), &copy, NULL), ERR_NO_MEMORY);
        cr_assert_null(copy);
    }
    mem_fail_at(0);
    block_release(block);
}

Test(block, adding_to_a_sealed_block_is_our_own_bug, .signal = SIGABRT)
{
    struct block *block = make_block(&f, 1, 10);
    struct frame frame = {.entry = BYTES_LITERAL("e")};
    fixture_free(&f);
    (void)!block_add(block, &frame, NULL);
}
