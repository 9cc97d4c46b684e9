#include "entry/entry.h"

#include <criterion/criterion.h>

#include "crypto/merkle.h"
#include "support.h"

static uint8_t long_text[5000];

static struct bytes text_of(size_t size_bytes)
{
    memset(long_text, 'x', sizeof(long_text));
    return bytes_of(long_text, size_bytes);
}

static void expect_refused(const struct entry *entry, int code, const char *field)
{
    struct err err = {0};
    cr_assert_eq(entry_validate(entry, &err), code, "%s: %s", field, err.message);
    cr_assert_eq(err.code, code);
    cr_assert(strstr(err.message, field) != NULL, "'%s' does not name %s", err.message, field);
}

Test(entry_validate, accepts_a_full_entry)
{
    struct entry entry = sample_entry();
    cr_assert_eq(entry_validate(&entry, NULL), 0);
}

Test(entry_validate, accepts_empty_optional_fields)
{
    struct entry entry = sample_entry();
    entry.causation_id = entry.correlation_id = entry.content_type = entry.metadata = entry.subject_key_id =
        bytes_of(NULL, 0);
    cr_assert_eq(entry_validate(&entry, NULL), 0);
}

Test(entry_validate, required_names_must_be_there)
{
    size_t offsets[] = {offsetof(struct entry, context), offsetof(struct entry, partition),
                        offsetof(struct entry, stream), offsetof(struct entry, type)};
    const char *names[] = {"context", "partition", "stream", "type"};
    for (size_t i = 0; i < 4; i++) {
        struct entry entry = sample_entry();
        memset((char *)&entry + offsets[i], 0, sizeof(struct bytes));
        expect_refused(&entry, ERR_INVALID, names[i]);
    }
}

Test(entry_validate, names_have_limits)
{
    struct entry entry = sample_entry();
    entry.context = text_of(ENTRY_NAME_MAX_BYTES);
    entry.stream = text_of(ENTRY_STREAM_MAX_BYTES);
    cr_assert_eq(entry_validate(&entry, NULL), 0);
    entry.context = text_of(ENTRY_NAME_MAX_BYTES + 1);
    expect_refused(&entry, ERR_TOO_LARGE, "context");
    entry = sample_entry();
    entry.partition = text_of(ENTRY_NAME_MAX_BYTES + 1);
    expect_refused(&entry, ERR_TOO_LARGE, "partition");
    entry = sample_entry();
    entry.stream = text_of(ENTRY_STREAM_MAX_BYTES + 1);
    expect_refused(&entry, ERR_TOO_LARGE, "stream");
    entry = sample_entry();
    entry.type = text_of(ENTRY_NAME_MAX_BYTES + 1);
    expect_refused(&entry, ERR_TOO_LARGE, "type");
    entry = sample_entry();
    entry.content_type = text_of(ENTRY_NAME_MAX_BYTES + 1);
    expect_refused(&entry, ERR_TOO_LARGE, "content type");
}

Test(entry_validate, metadata_key_id_and_payload_have_limits)
{
    struct entry entry = sample_entry();
    entry.metadata = text_of(ENTRY_METADATA_MAX_BYTES);
    entry.subject_key_id = text_of(ENTRY_KEY_ID_MAX_BYTES);
    entry.payload_size_bytes = ENTRY_PAYLOAD_MAX_BYTES;
    cr_assert_eq(entry_validate(&entry, NULL), 0);
    entry.metadata = text_of(ENTRY_METADATA_MAX_BYTES + 1);
    expect_refused(&entry, ERR_TOO_LARGE, "metadata");
    entry = sample_entry();
    entry.subject_key_id = text_of(ENTRY_KEY_ID_MAX_BYTES + 1);
    expect_refused(&entry, ERR_TOO_LARGE, "subject key id");
    entry = sample_entry();
    entry.payload_size_bytes = ENTRY_PAYLOAD_MAX_BYTES + 1;
    expect_refused(&entry, ERR_TOO_LARGE, "payload");
}

Test(entry_validate, names_must_be_utf8_without_control_characters)
{
    struct entry entry = sample_entry();
    entry.stream = BYTES_LITERAL("a\xC0\xAF");
    expect_refused(&entry, ERR_INVALID, "stream");
    entry.stream = BYTES_LITERAL("a\nb");
    expect_refused(&entry, ERR_INVALID, "stream");
    entry.stream = BYTES_LITERAL("a\x7F");
    expect_refused(&entry, ERR_INVALID, "stream");
    entry.stream = BYTES_LITERAL("a\0b");
    expect_refused(&entry, ERR_INVALID, "stream");
    entry.stream = BYTES_LITERAL("K\xC3\xB6ln");
    cr_assert_eq(entry_validate(&entry, NULL), 0);
}

/* Names are looked at in pieces of eight bytes: each byte of each length counts. */
Test(entry_validate, every_byte_of_a_name_is_looked_at)
{
    static const uint8_t good[] = {0x20, 'x', 0x7E}, bad[] = {0x00, 0x01, 0x1F, 0x7F, 0x80, 0xFF};
    uint8_t text[40];
    for (size_t size = 1; size <= sizeof(text); size++) {
        for (size_t at = 0; at < size; at++) {
            struct entry entry = sample_entry();
            entry.stream = bytes_of(text, size);
            memset(text, 0x7E, sizeof(text));
            for (size_t i = 0; i < sizeof(good); i++) {
                text[at] = good[i];
                cr_assert_eq(entry_validate(&entry, NULL), 0, "0x%02x at %zu of %zu", good[i], at, size);
            }
            for (size_t i = 0; i < sizeof(bad); i++) {
                text[at] = bad[i];
                cr_assert_eq(entry_validate(&entry, NULL), ERR_INVALID, "0x%02x at %zu of %zu", bad[i], at, size);
            }
        }
    }
}

Test(entry_validate, cause_and_correlation_are_empty_or_16_bytes)
{
    struct entry entry = sample_entry();
    entry.causation_id = BYTES_LITERAL("0123456789abcde");
    expect_refused(&entry, ERR_INVALID, "causation id");
    entry = sample_entry();
    entry.correlation_id = BYTES_LITERAL("0123456789abcdef0");
    expect_refused(&entry, ERR_INVALID, "correlation id");
}

Test(entry_validate, time_epoch_and_flags_are_checked)
{
    struct entry entry = sample_entry();
    entry.time = 0;
    expect_refused(&entry, ERR_INVALID, "time");
    entry = sample_entry();
    entry.epoch = 0;
    expect_refused(&entry, ERR_INVALID, "epoch");
    entry = sample_entry();
    entry.flags = ENTRY_FLAGS_KNOWN + 1;
    expect_refused(&entry, ERR_INVALID, "flags");
}

Test(entry_validate, an_override_has_no_version_and_is_no_control_event)
{
    struct entry entry = sample_entry();
    entry.flags = ENTRY_FLAG_OVERRIDE;
    entry.stream_version = 0;
    cr_assert_eq(entry_validate(&entry, NULL), 0);
    entry.stream_version = 1;
    expect_refused(&entry, ERR_INVALID, "version");
    entry.stream_version = 0;
    entry.flags = ENTRY_FLAG_OVERRIDE | ENTRY_FLAG_CONTROL;
    expect_refused(&entry, ERR_INVALID, "together");
}

Test(entry_validate, a_commutative_event_has_neither_version_nor_epoch_nor_another_flag)
{
    struct entry entry = sample_entry();
    entry.flags = ENTRY_FLAG_COMMUTATIVE;
    entry.stream_version = 0;
    entry.epoch = ENTRY_EPOCH_OF_NONE;
    cr_assert_eq(entry_validate(&entry, NULL), 0);
    entry.stream_version = 1;
    expect_refused(&entry, ERR_INVALID, "version");
    entry.stream_version = 0;
    entry.epoch = 2;
    expect_refused(&entry, ERR_INVALID, "epoch");
    entry.epoch = ENTRY_EPOCH_OF_NONE;
    entry.flags = ENTRY_FLAG_COMMUTATIVE | ENTRY_FLAG_OVERRIDE;
    expect_refused(&entry, ERR_INVALID, "together");
    entry.flags = ENTRY_FLAG_COMMUTATIVE | ENTRY_FLAG_CONTROL;
    expect_refused(&entry, ERR_INVALID, "together");
}

Test(entry_check_origin, accepts_the_documented_form)
{
    const char *good[] = {"demo/eu/1", "a/b/18446744073709551615", "0a-/x-1/2"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_assert_eq(entry_check_origin(bytes_of_string(good[i]), NULL), 0, "%s", good[i]);
}

Test(entry_check_origin, refuses_everything_else)
{
    const char *bad[] = {"",
                         "demo",
                         "demo/eu",
                         "demo/eu/",
                         "demo/eu/0",
                         "demo/eu/01",
                         "demo/eu/-1",
                         "demo/eu/1/",
                         "/eu/1",
                         "demo//1",
                         "demo/eu/us/1",
                         "Demo/eu/1",
                         "-demo/eu/1",
                         "demo/-eu/1",
                         "de mo/eu/1",
                         "demo/eu/x",
                         "demo/eu/ 1",
                         "d\xC3\xA9/eu/1",
                         "demo/eu/18446744073709551616"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(entry_check_origin(bytes_of_string(bad[i]), NULL), ERR_INVALID, "'%s'", bad[i]);
    cr_assert_eq(entry_check_origin(BYTES_LITERAL("demo/e\0/1"), NULL), ERR_INVALID);
}

Test(entry_check_origin, names_have_at_most_63_characters)
{
    char origin[80];
    memset(origin, 'a', sizeof(origin));
    memcpy(origin + 63, "/b/1", 4);
    cr_assert_eq(entry_check_origin(bytes_of(origin, 67), NULL), 0);
    origin[63] = 'a';
    memcpy(origin + 64, "/b/1", 4);
    cr_assert_eq(entry_check_origin(bytes_of(origin, 68), NULL), ERR_INVALID);
}

Test(entry_encode, a_full_buffer_is_left_as_it_was)
{
    struct entry entry = sample_entry();
    struct buf out;
    buf_init(&out, 100);
    cr_assert_eq(buf_append_string(&out, "before"), 0);
    cr_assert_eq(entry_encode(&entry, &out, NULL), ERR_TOO_LARGE);
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("before")));
    buf_free(&out);
}

Test(entry_encode, appends_behind_what_is_there)
{
    struct entry entry = sample_entry();
    struct buf alone, behind;
    struct bytes encoded = encode_sample(&entry, &alone);
    buf_init(&behind, 4096);
    cr_assert_eq(buf_append_string(&behind, "xy"), 0);
    cr_assert_eq(entry_encode(&entry, &behind, NULL), 0);
    cr_assert(bytes_equal(bytes_of(behind.data + 2, behind.size_bytes - 2), encoded));
    buf_free(&alone);
    buf_free(&behind);
}

Test(entry_stands_at, tells_index_log_and_prev_and_nothing_else)
{
    struct entry entry = sample_entry();
    for (uint64_t index = 0; index <= UINT64_MAX / 2; index = index * 200 + 7) {
        struct buf out;
        entry.index = index;
        struct bytes encoded = encode_sample(&entry, &out);
        struct hash prev = entry.prev;
        uint8_t log_id[ENTRY_LOG_ID_SIZE];
        memcpy(log_id, entry.log_id, sizeof(log_id));
        cr_assert(entry_stands_at(encoded, index, log_id, &prev));
        cr_assert_not(entry_stands_at(encoded, index + 1, log_id, &prev));
        prev.bytes[HASH_SIZE - 1] ^= 1;
        cr_assert_not(entry_stands_at(encoded, index, log_id, &prev));
        prev = entry.prev;
        log_id[0] ^= 1;
        cr_assert_not(entry_stands_at(encoded, index, log_id, &prev));
        log_id[0] ^= 1;
        cr_assert_not(entry_stands_at(bytes_of(encoded.data, 40), index, log_id, &prev));
        cr_assert_not(entry_stands_at(bytes_of(NULL, 0), index, log_id, &prev));
        out.data[out.size_bytes - 1] ^= 1;
        cr_assert(entry_stands_at(encoded, index, log_id, &prev));
        buf_free(&out);
    }
}

Test(entry_encode, the_largest_entry_fits_the_limit)
{
    static uint8_t big[ENTRY_METADATA_MAX_BYTES];
    memset(big, 'y', sizeof(big));
    struct entry entry = sample_entry();
    entry.index = entry.stream_version = entry.epoch = UINT64_MAX;
    entry.context = entry.partition = entry.type = entry.content_type = bytes_of(big, ENTRY_NAME_MAX_BYTES);
    entry.stream = bytes_of(big, ENTRY_STREAM_MAX_BYTES);
    entry.metadata = bytes_of(big, ENTRY_METADATA_MAX_BYTES);
    entry.subject_key_id = bytes_of(big, ENTRY_KEY_ID_MAX_BYTES);
    entry.payload_size_bytes = ENTRY_PAYLOAD_MAX_BYTES;
    struct buf out;
    struct entry back;
    struct bytes encoded = encode_sample(&entry, &out);
    cr_assert_leq(encoded.size_bytes, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_parse(encoded, &back, NULL), 0);
    buf_free(&out);
}

Test(entry_hashes, commitment_depends_on_salt_size_and_payload)
{
    struct sha256 *sha = sha256_new();
    uint8_t salt[ENTRY_SALT_SIZE] = {1};
    struct hash first = entry_payload_commitment(sha, salt, BYTES_LITERAL("ab"));
    struct hash longer = entry_payload_commitment(sha, salt, BYTES_LITERAL("ab\0"));
    salt[15] = 1;
    struct hash salted = entry_payload_commitment(sha, salt, BYTES_LITERAL("ab"));
    cr_assert_not(hash_equal(&first, &longer));
    cr_assert_not(hash_equal(&first, &salted));
    sha256_free(sha);
}

Test(entry_hashes, two_at_once_are_what_each_is_alone)
{
    struct sha256 *sha = sha256_new();
    struct entry entry = sample_entry();
    static uint8_t payload[5000];
    memset(payload, 7, sizeof(payload));
    const uint8_t salt[ENTRY_SALT_SIZE] = {1, 2, 3};
    const size_t sizes[] = {0, 1, 17, 18, 256, 1000, 5000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct bytes said = bytes_of(payload, sizes[i]);
        struct bytes encoded = bytes_of(payload, 150 + i);
        struct hash expected = entry_payload_commitment(sha, salt, said);
        struct hash leaf = merkle_leaf(sha, encoded);
        struct hash commitment = {{0}};
        uint64_t fingerprint = entry_fingerprint_and_commitment(sha, &entry, salt, said, &commitment);
        cr_assert_eq(fingerprint, entry_fingerprint(sha, &entry, said));
        cr_assert(hash_equal(&commitment, &expected));
        commitment = (struct hash){{0}};
        struct hash got = entry_leaf_and_commitment(sha, encoded, salt, said, &commitment);
        cr_assert(hash_equal(&got, &leaf));
        cr_assert(hash_equal(&commitment, &expected));
    }
    sha256_free(sha);
}

Test(entry_fingerprint, covers_what_the_client_said_and_nothing_else)
{
    struct sha256 *sha = sha256_new();
    struct entry entry = sample_entry();
    struct bytes payload = BYTES_LITERAL("hello");
    uint64_t fingerprint = entry_fingerprint(sha, &entry, payload);
    cr_assert_neq(fingerprint, 0);

    struct entry other = entry; /* what the system adds */
    other.index++;
    other.time++;
    other.epoch++;
    other.stream_version++;
    other.prev.bytes[0] ^= 1;
    cr_assert_eq(entry_fingerprint(sha, &other, payload), fingerprint);

    size_t offsets[] = {offsetof(struct entry, context),      offsetof(struct entry, partition),
                        offsetof(struct entry, stream),       offsetof(struct entry, type),
                        offsetof(struct entry, content_type), offsetof(struct entry, metadata),
                        offsetof(struct entry, causation_id), offsetof(struct entry, correlation_id)};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        other = entry;
        struct bytes changed = BYTES_LITERAL("something else");
        memcpy((char *)&other + offsets[i], &changed, sizeof(changed));
        cr_assert_neq(entry_fingerprint(sha, &other, payload), fingerprint, "field %zu", i);
    }
    cr_assert_neq(entry_fingerprint(sha, &entry, BYTES_LITERAL("hellO")), fingerprint);
    sha256_free(sha);
}

Test(entry_fingerprint, a_byte_moved_between_fields_changes_it)
{
    struct sha256 *sha = sha256_new();
    struct entry a = sample_entry();
    struct entry b = a;
    a.context = BYTES_LITERAL("ab");
    a.partition = BYTES_LITERAL("c");
    b.context = BYTES_LITERAL("a");
    b.partition = BYTES_LITERAL("bc");
    cr_assert_neq(entry_fingerprint(sha, &a, bytes_of(NULL, 0)), entry_fingerprint(sha, &b, bytes_of(NULL, 0)));
    sha256_free(sha);
}
