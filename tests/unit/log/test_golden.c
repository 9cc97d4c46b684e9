/* Blocks, segment headers, roots and checkpoint texts against vectors that another implementation made
 * (tests/golden/golden.py). */
#include <criterion/criterion.h>
#include <jansson.h>

#include "base/mem.h"
#include "crypto/note.h"
#include "support.h"

static json_t *vectors;
static struct sha256 *sha;
static struct chain chain;

static void setup(void)
{
    json_error_t error;
    vectors = json_load_file("tests/golden/vectors.json", 0, &error);
    cr_assert_not_null(vectors, "%s (run from the top of the source tree)", error.text);
    sha = sha256_new();
    chain_init(&chain, sha, bytes_of_string(json_string_value(json_object_get(vectors, "origin"))));
}

static void teardown(void)
{
    sha256_free(sha);
    json_decref(vectors);
}

TestSuite(golden, .init = setup, .fini = teardown);

/* *out is initialised here. */
static struct bytes hex_of(const json_t *object, const char *name, struct buf *out)
{
    const char *text = json_string_value(json_object_get(object, name));
    cr_assert_not_null(text, "%s", name);
    buf_init(out, 16 * 1024 * 1024);
    cr_assert_eq(buf_reserve(out, strlen(text) / 2 + 1), 0);
    cr_assert_eq(hex_decode(text, strlen(text), out->data, strlen(text) / 2), 0);
    out->size_bytes = strlen(text) / 2;
    return buf_bytes(out);
}

/* The block, and the chain moved past it. */
static struct block *load_block(const json_t *object)
{
    struct buf bytes;
    struct block *block = NULL;
    struct err err = {0};
    cr_assert_eq(block_from_bytes(hex_of(object, "bytes", &bytes), &block, &err), 0, "%s", err.message);
    int code = chain_check_block(&chain, sha, block_body(block), block->entry_count, NULL, NULL, NULL, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    buf_free(&bytes);
    return block;
}

Test(golden, blocks_are_accepted_and_made_again_byte_for_byte)
{
    size_t at;
    const json_t *object;
    json_array_foreach(json_object_get(vectors, "blocks"), at, object)
    {
        struct block *block = load_block(object);
        struct block *again = NULL;
        struct bytes rest = block_body(block);
        cr_assert_eq(block->first_index, (uint64_t)json_integer_value(json_object_get(object, "first_index")));
        cr_assert_eq(block->entry_count, (uint32_t)json_integer_value(json_object_get(object, "entry_count")));
        cr_assert_eq(block_new(block->first_index, chain.log_id, &again, NULL), 0);
        for (uint32_t i = 0; i < block->entry_count; i++) {
            struct bytes frame_bytes;
            struct frame frame;
            cr_assert_eq(frame_next_element(&rest, &frame_bytes, NULL), 0);
            cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
            cr_assert_eq(block_add(again, &frame, NULL), 0);
        }
        block_seal(again);
        cr_assert(bytes_equal(block_bytes(again), block_bytes(block)), "block %zu", at);
        block_release(again);
        block_release(block);
    }
    cr_assert_eq(chain.range.size, json_array_size(json_object_get(vectors, "entries")));
}

Test(golden, segment_headers_are_the_same)
{
    const json_t *blocks = json_object_get(vectors, "blocks");
    size_t at;
    const json_t *object;
    json_array_foreach(json_object_get(vectors, "segment_headers"), at, object)
    {
        struct segment_header header = {.first_index = chain.range.size, .origin = TEST_ORIGIN, .chain = chain};
        struct segment_header back;
        uint8_t page[LOG_SEGMENT_HEADER_BYTES];
        uint8_t expected[LOG_SEGMENT_HEADER_BYTES] = {0};
        struct buf trimmed;
        struct bytes front = hex_of(object, "page", &trimmed);
        memcpy(expected, front.data, front.size_bytes);
        segment_header_encode(&header, page);
        cr_assert_eq(memcmp(page, expected, sizeof(page)), 0, "header %zu", at);
        cr_assert_eq(segment_header_parse(expected, &back, NULL), 0);
        cr_assert_eq(back.first_index, header.first_index);
        buf_free(&trimmed);
        if (at < json_array_size(blocks))
            block_release(load_block(json_array_get(blocks, at)));
    }
    cr_assert_eq(at, json_array_size(blocks) + 1);
}

Test(golden, leaves_roots_and_checkpoint_texts_are_the_same)
{
    const json_t *entries = json_object_get(vectors, "entries");
    const json_t *checkpoints = json_object_get(vectors, "checkpoints");
    for (size_t size = 0; size <= json_array_size(entries); size++) {
        struct checkpoint checkpoint = {
            .origin = TEST_ORIGIN, .size = size, .root = merkle_range_root(&chain.range, sha)};
        struct buf text;
        buf_init(&text, 4096);
        cr_assert_eq(checkpoint_format(&checkpoint, &text), 0);
        cr_assert(bytes_equal(buf_bytes(&text), bytes_of_string(json_string_value(json_array_get(checkpoints, size)))));
        buf_free(&text);
        if (size == json_array_size(entries))
            break;
        const json_t *object = json_array_get(entries, size);
        struct buf encoded, leaf, root;
        struct bytes entry_bytes = hex_of(object, "encoded", &encoded);
        struct entry entry;
        cr_assert_eq(entry_parse(entry_bytes, &entry, NULL), 0);
        struct hash made = chain_append(&chain, sha, entry_bytes, entry.time);
        cr_assert(bytes_equal(bytes_of(made.bytes, HASH_SIZE), hex_of(object, "leaf", &leaf)));
        made = merkle_range_root(&chain.range, sha);
        cr_assert(bytes_equal(bytes_of(made.bytes, HASH_SIZE), hex_of(object, "root", &root)));
        buf_free(&encoded);
        buf_free(&leaf);
        buf_free(&root);
    }
}
