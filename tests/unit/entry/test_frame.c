#include "entry/frame.h"

#include <criterion/criterion.h>

#include "base/mem.h"
#include "crypto/merkle.h"
#include "entry/wire.h"
#include "support.h"

static struct frame sample_frame(void)
{
    return (struct frame){
        .entry = BYTES_LITERAL("the entry"), .payload = BYTES_LITERAL("hello world"), .has_payload = true, .salt = {9}};
}

static struct bytes encode(const struct frame *frame, struct buf *out)
{
    buf_init(out, 4 * 1024 * 1024);
    cr_assert_eq(frame_encode_element(frame, out), 0);
    cr_assert_eq(out->size_bytes, frame_element_size(frame));
    return buf_bytes(out);
}

/* A frame from raw fields, without the prefix. */
static int parse_fields(const uint32_t *numbers, const struct bytes *values, size_t count)
{
    static uint8_t raw[2 * 1024 * 1024];
    uint8_t *end = raw;
    struct frame back;
    for (size_t i = 0; i < count; i++)
        end = wire_put_bytes(end, numbers[i], values[i]);
    return frame_parse(bytes_of(raw, (size_t)(end - raw)), &back, NULL);
}

Test(frame, an_element_comes_back)
{
    struct frame frame = sample_frame();
    struct frame back;
    struct buf out;
    struct bytes frame_bytes;
    struct bytes elements = encode(&frame, &out);
    cr_assert_eq(frame_next_element(&elements, &frame_bytes, NULL), 0);
    cr_assert_eq(elements.size_bytes, 0);
    cr_assert_eq(frame_parse(frame_bytes, &back, NULL), 0);
    cr_assert(bytes_equal(back.entry, frame.entry));
    cr_assert(bytes_equal(back.payload, frame.payload));
    cr_assert(back.has_payload);
    cr_assert_eq(memcmp(back.salt, frame.salt, ENTRY_SALT_SIZE), 0);
    buf_free(&out);
}

Test(frame, an_empty_payload_is_held_and_a_withheld_one_is_not)
{
    for (int held = 0; held <= 1; held++) {
        struct frame frame = {.entry = BYTES_LITERAL("e"), .has_payload = held == 1};
        struct frame back;
        struct buf out;
        struct bytes frame_bytes;
        struct bytes elements = encode(&frame, &out);
        cr_assert_eq(elements.size_bytes, held == 1 ? 2 + 3 + 18 : 2 + 3);
        cr_assert_eq(frame_next_element(&elements, &frame_bytes, NULL), 0);
        cr_assert_eq(frame_parse(frame_bytes, &back, NULL), 0);
        cr_assert_eq(back.has_payload, held == 1);
        cr_assert_eq(back.payload.size_bytes, 0);
        buf_free(&out);
    }
}

Test(frame, elements_follow_each_other)
{
    struct frame frame = sample_frame();
    struct buf out;
    struct bytes frame_bytes;
    buf_init(&out, 4096);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(frame_encode_element(&frame, &out), 0);
    struct bytes elements = buf_bytes(&out);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(frame_next_element(&elements, &frame_bytes, NULL), 0);
    cr_assert_eq(frame_next_element(&elements, &frame_bytes, NULL), ERR_END);
    buf_free(&out);
}

Test(frame, a_cut_element_is_refused_and_not_taken)
{
    struct frame frame = sample_frame();
    struct buf out;
    struct bytes frame_bytes;
    struct bytes whole = encode(&frame, &out);
    for (size_t cut = 1; cut < whole.size_bytes; cut++) {
        struct bytes elements = bytes_of(whole.data, cut);
        cr_assert_eq(frame_next_element(&elements, &frame_bytes, NULL), ERR_CORRUPT, "cut at %zu", cut);
        cr_assert_eq(elements.size_bytes, cut);
    }
    buf_free(&out);
}

Test(frame, a_prefix_of_another_field_or_type_is_refused)
{
    const uint8_t tags[] = {0x00, 0x08, 0x09, 0x0B, 0x12, 0x0D};
    for (size_t i = 0; i < sizeof(tags); i++) {
        const uint8_t raw[] = {tags[i], 1, 0, 0, 0, 0, 0, 0, 0};
        struct bytes elements = bytes_of(raw, sizeof(raw));
        struct bytes frame_bytes;
        cr_assert_eq(frame_next_element(&elements, &frame_bytes, NULL), ERR_CORRUPT, "tag 0x%02x", tags[i]);
    }
}

Test(frame, limits_on_entry_and_payload)
{
    static uint8_t big[ENTRY_PAYLOAD_MAX_BYTES + 1];
    struct buf out;
    buf_init(&out, 4 * 1024 * 1024);
    struct frame frame = sample_frame();
    frame.entry = bytes_of(big, ENTRY_MAX_BYTES);
    frame.payload = bytes_of(big, ENTRY_PAYLOAD_MAX_BYTES);
    cr_assert_eq(frame_encode_element(&frame, &out), 0);
    cr_assert_leq(out.size_bytes, FRAME_ELEMENT_MAX_BYTES);
    buf_clear(&out);
    frame.entry = bytes_of(big, ENTRY_MAX_BYTES + 1);
    cr_assert_eq(frame_encode_element(&frame, &out), ERR_TOO_LARGE);
    frame = sample_frame();
    frame.payload = bytes_of(big, ENTRY_PAYLOAD_MAX_BYTES + 1);
    cr_assert_eq(frame_encode_element(&frame, &out), ERR_TOO_LARGE);
    frame = sample_frame();
    frame.entry = bytes_of(NULL, 0);
    cr_assert_eq(frame_encode_element(&frame, &out), ERR_TOO_LARGE);
    cr_assert_eq(out.size_bytes, 0);
    buf_free(&out);
}

Test(frame, a_full_buffer_is_left_as_it_was)
{
    struct frame frame = sample_frame();
    struct buf out;
    buf_init(&out, frame_element_size(&frame) - 1);
    cr_assert_eq(frame_encode_element(&frame, &out), ERR_TOO_LARGE);
    cr_assert_eq(out.size_bytes, 0);
    buf_free(&out);
}

Test(frame, out_of_memory_is_reported)
{
    struct frame frame = sample_frame();
    struct buf out;
    buf_init(&out, 4096);
    mem_fail_at(1);
    cr_assert_eq(frame_encode_element(&frame, &out), ERR_NO_MEMORY);
    mem_fail_at(0);
    cr_assert_eq(frame_encode_element(&frame, &out), 0);
    buf_free(&out);
}

Test(frame, parse_refuses_what_the_encoder_would_not_write)
{
    static const uint8_t big[ENTRY_PAYLOAD_MAX_BYTES + 1];
    const struct bytes entry = BYTES_LITERAL("e"), payload = BYTES_LITERAL("p"),
                       salt = BYTES_LITERAL("0123456789abcdef");
    const struct bytes empty = {0};
    const struct {
        const char *what;
        size_t count;
        uint32_t numbers[4];
        struct bytes values[4];
    } cases[] = {
        {"no entry", 2, {2, 3}, {payload, salt}},
        {"empty frame", 0, {0}, {empty}},
        {"empty entry", 2, {1, 3}, {empty, salt}},
        {"empty payload spelled out", 3, {1, 2, 3}, {entry, empty, salt}},
        {"payload without salt", 2, {1, 2}, {entry, payload}},
        {"short salt", 2, {1, 3}, {entry, BYTES_LITERAL("0123456789abcde")}},
        {"long salt", 2, {1, 3}, {entry, BYTES_LITERAL("0123456789abcdef0")}},
        {"entry twice", 3, {1, 1, 3}, {entry, entry, salt}},
        {"out of order", 3, {1, 3, 2}, {entry, salt, payload}},
        {"unknown field", 2, {1, 4}, {entry, payload}},
        {"entry too large", 1, {1}, {bytes_of(big, ENTRY_MAX_BYTES + 1)}},
        {"payload too large", 3, {1, 2, 3}, {entry, bytes_of(big, ENTRY_PAYLOAD_MAX_BYTES + 1), salt}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_assert_eq(parse_fields(cases[i].numbers, cases[i].values, cases[i].count), ERR_CORRUPT, "%s", cases[i].what);
    const uint32_t numbers[] = {1, 2, 3};
    const struct bytes values[] = {entry, payload, salt};
    cr_assert_eq(parse_fields(numbers, values, 3), 0);
}

Test(frame, parse_refuses_a_varint_where_bytes_belong)
{
    const uint8_t raw[] = {0x08, 0x01};
    struct frame back;
    cr_assert_eq(frame_parse(bytes_of(raw, sizeof(raw)), &back, NULL), ERR_CORRUPT);
}

Test(frame, payload_must_match_size_and_commitment)
{
    struct sha256 *sha = sha256_new();
    struct frame frame = sample_frame();
    struct entry entry = sample_entry();
    struct err err = {0};
    entry.payload_size_bytes = frame.payload.size_bytes;
    entry.payload_commitment = entry_payload_commitment(sha, frame.salt, frame.payload);
    cr_assert_eq(frame_check_payload(sha, &frame, &entry, NULL), 0);
    frame.payload = BYTES_LITERAL("hello World");
    cr_assert_eq(frame_check_payload(sha, &frame, &entry, &err), ERR_CORRUPT);
    cr_assert(strstr(err.message, "300") != NULL, "%s", err.message);
    frame.payload = BYTES_LITERAL("hello worl");
    cr_assert_eq(frame_check_payload(sha, &frame, &entry, &err), ERR_CORRUPT);
    frame = sample_frame();
    frame.salt[0] ^= 1;
    cr_assert_eq(frame_check_payload(sha, &frame, &entry, &err), ERR_CORRUPT);
    frame.has_payload = false;
    cr_assert_eq(frame_check_payload(sha, &frame, &entry, NULL), 0);
    sha256_free(sha);
}

Test(frame, payload_is_checked_the_same_while_the_leaf_is_hashed)
{
    struct sha256 *sha = sha256_new();
    struct entry entry = sample_entry();
    struct frame frame = sample_frame();
    struct buf encoded;
    frame.entry = encode_sample(&entry, &encoded);
    entry.payload_size_bytes = frame.payload.size_bytes;
    entry.payload_commitment = entry_payload_commitment(sha, frame.salt, frame.payload);
    const struct hash expected = merkle_leaf(sha, frame.entry);
    const struct hash untouched = {{1}};
    struct hash leaf = untouched;
    struct err err = {0};
    cr_assert_eq(frame_check_and_hash(sha, &frame, &entry, &leaf, NULL), 0);
    cr_assert(hash_equal(&leaf, &expected));

    struct frame wrong[] = {frame, frame, frame};
    wrong[0].payload = BYTES_LITERAL("hello World");
    wrong[1].payload = BYTES_LITERAL("hello worl");
    wrong[2].salt[0] ^= 1;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        leaf = untouched;
        cr_assert_eq(frame_check_and_hash(sha, &wrong[i], &entry, &leaf, &err), ERR_CORRUPT, "%zu", i);
        cr_assert(strstr(err.message, "300") != NULL, "%s", err.message);
        cr_assert(hash_equal(&leaf, &untouched));
    }
    frame.has_payload = false;
    cr_assert_eq(frame_check_and_hash(sha, &frame, &entry, &leaf, NULL), 0);
    cr_assert(hash_equal(&leaf, &expected));
    buf_free(&encoded);
    sha256_free(sha);
}

Test(frame, next_entry_gives_the_frame_and_its_entry_and_passes_over_both)
{
    struct entry entry = sample_entry();
    struct frame frame = sample_frame();
    struct buf encoded, elements;
    buf_init(&elements, FRAME_ELEMENT_MAX_BYTES);
    frame.entry = encode_sample(&entry, &encoded);
    cr_assert_eq(frame_encode_element(&frame, &elements), 0);
    struct bytes rest = buf_bytes(&elements);
    struct frame back;
    struct entry parsed;
    cr_assert_eq(frame_next_entry(&rest, &back, &parsed, NULL), 0);
    cr_assert(bytes_equal(back.payload, frame.payload));
    cr_assert_eq(parsed.index, entry.index);
    cr_assert_eq(frame_next_entry(&rest, &back, &parsed, NULL), ERR_END);
    elements.data[6] ^= 0x40; /* the tag that the entry begins with */
    rest = buf_bytes(&elements);
    cr_assert_eq(frame_next_entry(&rest, &back, &parsed, NULL), ERR_CORRUPT);
    buf_free(&elements);
    buf_free(&encoded);
}
