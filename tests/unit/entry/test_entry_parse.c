#include <criterion/criterion.h>

#include "base/prng.h"
#include "entry/wire.h"
#include "support.h"

static struct buf encoded;

static void setup(void)
{
    struct entry entry = sample_entry();
    encode_sample(&entry, &encoded);
}

static void teardown(void)
{
    buf_free(&encoded);
}

TestSuite(entry_parse, .init = setup, .fini = teardown);

/* One field as the parser meets it. */
struct field {
    uint32_t number;
    enum wire_type type;
    struct bytes whole; /* tag and value */
};

static size_t split(struct bytes in, struct field fields[32])
{
    size_t count = 0;
    while (in.size_bytes > 0) {
        const uint8_t *start = in.data;
        uint64_t number = 0;
        struct bytes value;
        struct field *field = &fields[count++];
        cr_assert(wire_take_tag(&in, &field->number, &field->type));
        if (field->type == WIRE_VARINT)
            cr_assert(wire_take_varint(&in, &number));
        else if (field->type == WIRE_FIXED64)
            cr_assert(wire_take_fixed64(&in, &number));
        else
            cr_assert(wire_take_bytes(&in, &value));
        field->whole = bytes_of(start, (size_t)(in.data - start));
    }
    return count;
}

static int parse(struct bytes in, char *message)
{
    struct entry back;
    struct err err = {0};
    int code = entry_parse(in, &back, &err);
    strcpy(message, err.message);
    return code;
}

/* The sample with field `number` replaced by `with` (may be empty: left out). */
static int parse_with(uint32_t number, struct bytes with, char *message)
{
    struct field fields[32];
    struct buf changed;
    buf_init(&changed, 128 * 1024);
    size_t count = split(buf_bytes(&encoded), fields);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(buf_append(&changed, fields[i].number == number ? with : fields[i].whole), 0);
    int code = parse(buf_bytes(&changed), message);
    buf_free(&changed);
    return code;
}

Test(entry_parse, gives_back_every_field)
{
    struct entry entry = sample_entry();
    struct entry back;
    cr_assert_eq(entry_parse(buf_bytes(&encoded), &back, NULL), 0);
    cr_assert_eq(back.index, entry.index);
    cr_assert_eq(memcmp(back.log_id, entry.log_id, ENTRY_LOG_ID_SIZE), 0);
    cr_assert(hash_equal(&back.prev, &entry.prev));
    cr_assert_eq(back.time, entry.time);
    cr_assert_eq(memcmp(back.event_id, entry.event_id, ENTRY_ID_SIZE), 0);
    cr_assert(bytes_equal(back.context, entry.context));
    cr_assert(bytes_equal(back.partition, entry.partition));
    cr_assert(bytes_equal(back.stream, entry.stream));
    cr_assert_eq(back.stream_version, entry.stream_version);
    cr_assert(bytes_equal(back.type, entry.type));
    cr_assert_eq(back.epoch, entry.epoch);
    cr_assert_eq(back.flags, entry.flags);
    cr_assert(bytes_equal(back.causation_id, entry.causation_id));
    cr_assert(bytes_equal(back.correlation_id, entry.correlation_id));
    cr_assert(bytes_equal(back.content_type, entry.content_type));
    cr_assert(bytes_equal(back.metadata, entry.metadata));
    cr_assert(hash_equal(&back.payload_commitment, &entry.payload_commitment));
    cr_assert_eq(back.payload_size_bytes, entry.payload_size_bytes);
    cr_assert(bytes_equal(back.subject_key_id, entry.subject_key_id));
}

Test(entry_parse, zero_hashes_and_ids_are_spelled_out_and_zero_numbers_are_not)
{
    struct entry entry = sample_entry();
    struct entry back;
    struct buf out;
    struct field fields[32];
    entry.index = entry.stream_version = entry.flags = 0;
    entry.payload_size_bytes = 0;
    memset(&entry.prev, 0, sizeof(entry.prev));
    memset(entry.log_id, 0, sizeof(entry.log_id));
    memset(entry.event_id, 0, sizeof(entry.event_id));
    memset(&entry.payload_commitment, 0, sizeof(entry.payload_commitment));
    struct bytes bytes = encode_sample(&entry, &out);
    cr_assert_eq(entry_parse(bytes, &back, NULL), 0);
    cr_assert_eq(split(bytes, fields), 19 - 4);
    cr_assert_eq(fields[0].number, 2);
    buf_free(&out);
}

Test(entry_parse, refuses_every_cut_but_those_after_an_optional_last_field)
{
    struct field fields[32];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    size_t count = split(buf_bytes(&encoded), fields);
    size_t after_18 = (size_t)(fields[count - 1].whole.data - encoded.data);
    size_t after_17 = (size_t)(fields[count - 2].whole.data - encoded.data);
    for (size_t cut = 0; cut < encoded.size_bytes; cut++) {
        bool whole = cut == after_17 || cut == after_18;
        cr_assert_eq(parse(bytes_of(encoded.data, cut), message), whole ? 0 : ERR_CORRUPT, "cut at %zu", cut);
    }
}

Test(entry_parse, what_it_accepts_encodes_to_the_same_bytes)
{
    struct prng prng;
    prng_seed(&prng, 42);
    unsigned accepted = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t copy[1024];
        struct entry back;
        memcpy(copy, encoded.data, encoded.size_bytes);
        size_t changes = 1 + prng_below(&prng, 2);
        for (size_t i = 0; i < changes; i++)
            copy[prng_below(&prng, encoded.size_bytes)] ^= (uint8_t)(1u << prng_below(&prng, 8));
        if (entry_parse(bytes_of(copy, encoded.size_bytes), &back, NULL) != 0)
            continue;
        struct buf again;
        accepted++;
        cr_assert(bytes_equal(encode_sample(&back, &again), bytes_of(copy, encoded.size_bytes)));
        buf_free(&again);
    }
    cr_assert_gt(accepted, 1000);
}

Test(entry_parse, refuses_fields_out_of_order)
{
    struct field fields[32];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    size_t count = split(buf_bytes(&encoded), fields);
    for (size_t swap = 0; swap + 1 < count; swap++) {
        struct buf changed;
        buf_init(&changed, 4096);
        for (size_t i = 0; i < count; i++) {
            size_t from = i == swap ? swap + 1 : i == swap + 1 ? swap : i;
            cr_assert_eq(buf_append(&changed, fields[from].whole), 0);
        }
        cr_assert_eq(parse(buf_bytes(&changed), message), ERR_CORRUPT);
        cr_assert(strstr(message, "comes after") != NULL, "%s", message);
        buf_free(&changed);
    }
}

Test(entry_parse, refuses_every_repeated_field)
{
    struct field fields[32];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    size_t count = split(buf_bytes(&encoded), fields);
    for (size_t twice = 0; twice < count; twice++) {
        struct buf changed;
        buf_init(&changed, 4096);
        for (size_t i = 0; i < count; i++) {
            cr_assert_eq(buf_append(&changed, fields[i].whole), 0);
            if (i == twice)
                cr_assert_eq(buf_append(&changed, fields[i].whole), 0);
        }
        cr_assert_eq(parse(buf_bytes(&changed), message), ERR_CORRUPT);
        buf_free(&changed);
    }
}

Test(entry_parse, refuses_an_entry_without_a_mandatory_field)
{
    const uint32_t mandatory[] = {2, 3, 4, 5, 6, 7, 8, 10, 11, 17};
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    for (size_t i = 0; i < sizeof(mandatory) / sizeof(mandatory[0]); i++)
        cr_assert_eq(parse_with(mandatory[i], bytes_of(NULL, 0), message), ERR_CORRUPT, "field %u",
                     (unsigned)mandatory[i]);
}

Test(entry_parse, accepts_an_entry_without_each_optional_field)
{
    const uint32_t optional[] = {1, 9, 12, 13, 14, 15, 16, 18, 19};
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++)
        cr_assert_eq(parse_with(optional[i], bytes_of(NULL, 0), message), 0, "field %u: %s", (unsigned)optional[i],
                     message);
}

Test(entry_parse, refuses_numbers_spelled_as_zero)
{
    const uint32_t numbers[] = {1, 9, 11, 12, 18};
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint8_t tag[4];
        size_t size = (size_t)(wire_put_varint(wire_put_tag(tag, numbers[i], WIRE_VARINT), 0) - tag);
        cr_assert_eq(parse_with(numbers[i], bytes_of(tag, size), message), ERR_CORRUPT, "field %u",
                     (unsigned)numbers[i]);
    }
}

Test(entry_parse, refuses_bytes_spelled_as_empty)
{
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    for (uint32_t field = 2; field <= 19; field++) {
        uint8_t tag[4];
        size_t size = (size_t)(wire_put_bytes(tag, field, bytes_of(NULL, 0)) - tag);
        cr_assert_eq(parse_with(field, bytes_of(tag, size), message), ERR_CORRUPT, "field %u", (unsigned)field);
    }
}

Test(entry_parse, refuses_every_field_with_another_wire_type)
{
    struct field fields[32];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    size_t count = split(buf_bytes(&encoded), fields);
    for (size_t i = 0; i < count; i++) {
        for (unsigned type = 0; type < 6; type++) {
            uint8_t other[32] = {0};
            if (type == fields[i].type)
                continue;
            uint8_t *end = wire_put_varint(other, (uint64_t)fields[i].number << 3 | type);
            *end++ = 1;
            end += type == WIRE_FIXED64 ? 7 : type == WIRE_BYTES ? 1 : 0;
            cr_assert_eq(parse_with(fields[i].number, bytes_of(other, (size_t)(end - other)), message), ERR_CORRUPT,
                         "field %u type %u", (unsigned)fields[i].number, type);
        }
    }
}

Test(entry_parse, refuses_hashes_and_ids_of_another_length)
{
    const uint32_t fields[] = {2, 3, 5, 13, 14, 17};
    const size_t sizes[] = {8, 32, 16, 16, 16, 32};
    const uint8_t filler[40] = {7};
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        for (int difference = -1; difference <= 1; difference++) {
            uint8_t field[64];
            struct bytes value = bytes_of(filler, sizes[i] + (size_t)difference);
            size_t size = (size_t)(wire_put_bytes(field, fields[i], value) - field);
            int expected = difference == 0 ? 0 : ERR_CORRUPT;
            cr_assert_eq(parse_with(fields[i], bytes_of(field, size), message), expected, "field %u",
                         (unsigned)fields[i]);
        }
    }
}

Test(entry_parse, refuses_flags_over_32_bits_even_if_their_low_bits_are_known)
{
    uint8_t field[16];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    size_t size = (size_t)(wire_put_varint(wire_put_tag(field, 12, WIRE_VARINT), ((uint64_t)1 << 32) | 1) - field);
    cr_assert_eq(parse_with(12, bytes_of(field, size), message), ERR_CORRUPT);
}

Test(entry_parse, rules_of_validation_are_corruption_here)
{
    uint8_t field[16];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    size_t size = (size_t)(wire_put_bytes(field, 7, BYTES_LITERAL("a\nb")) - field);
    cr_assert_eq(parse_with(7, bytes_of(field, size), message), ERR_CORRUPT);
    cr_assert(strstr(message, "partition") != NULL, "%s", message);
}

Test(entry_parse, a_field_of_a_newer_version_is_unsupported)
{
    uint8_t more[8];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    size_t size = (size_t)(wire_put_bytes(more, 20, BYTES_LITERAL("new")) - more);
    cr_assert_eq(buf_append(&encoded, bytes_of(more, size)), 0);
    cr_assert_eq(parse(buf_bytes(&encoded), message), ERR_UNSUPPORTED);
    cr_assert(strstr(message, "upgrade") != NULL);
}

Test(entry_parse, refuses_an_entry_over_the_limit)
{
    static uint8_t big[ENTRY_MAX_BYTES + 1];
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    cr_assert_eq(parse(bytes_of(big, sizeof(big)), message), ERR_CORRUPT);
    cr_assert(strstr(message, "limit") != NULL);
}

Test(entry_parse, leaves_the_result_alone_on_failure)
{
    struct entry back = {.index = 99};
    cr_assert_eq(entry_parse(bytes_of(encoded.data, encoded.size_bytes - 1), &back, NULL), ERR_CORRUPT);
    cr_assert_eq(back.index, 99);
}

Test(entry_parse, the_head_is_what_the_whole_says)
{
    struct entry whole, head;
    cr_assert_eq(entry_parse(buf_bytes(&encoded), &whole, NULL), 0);
    cr_assert_eq(entry_parse_head(buf_bytes(&encoded), &head, NULL), 0);
    cr_expect_eq(head.index, whole.index);
    cr_expect(bytes_equal(head.context, whole.context));
    cr_expect(bytes_equal(head.partition, whole.partition));
    cr_expect(bytes_equal(head.stream, whole.stream));
    cr_expect(bytes_equal(head.type, whole.type));
    cr_expect_eq(head.epoch, whole.epoch);
    cr_expect_eq(head.flags, whole.flags);
    cr_expect_eq(head.payload_size_bytes, 0, "it stops behind the flags");
}

Test(entry_parse, a_head_that_is_cut_is_refused)
{
    struct entry head;
    cr_expect_eq(entry_parse_head(bytes_of(encoded.data, 20), &head, NULL), ERR_CORRUPT);
    cr_expect_eq(entry_parse_head(BYTES_LITERAL("\xff"), &head, NULL), ERR_CORRUPT);
}
