/* Entries and frames against vectors that another implementation made (tests/golden/golden.py). */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/mem.h"
#include "support.h"

static json_t *vectors;

static void setup(void)
{
    json_error_t error;
    vectors = json_load_file("tests/golden/vectors.json", 0, &error);
    cr_assert_not_null(vectors, "%s (run from the top of the source tree)", error.text);
}

static void teardown(void)
{
    json_decref(vectors);
}

TestSuite(golden, .init = setup, .fini = teardown);

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    cr_assert_not_null(text, "%s", name);
    return text;
}

/* The caller frees data. */
static struct bytes hex_of(const json_t *object, const char *name)
{
    const char *text = text_of(object, name);
    size_t size = strlen(text) / 2;
    uint8_t *data = mem_alloc(size);
    cr_assert_eq(hex_decode(text, strlen(text), data, size), 0);
    return bytes_of(data, size);
}

static void fill(const json_t *object, const char *name, uint8_t *out, size_t size)
{
    cr_assert_eq(hex_decode(text_of(object, name), strlen(text_of(object, name)), out, size), 0, "%s", name);
}

static uint64_t number_of(const json_t *object, const char *name)
{
    uint64_t value = 0;
    cr_assert_eq(parse_u64(text_of(object, name), strlen(text_of(object, name)), &value), 0);
    return value;
}

enum { BORROWED = 9 };

struct golden {
    struct entry entry;
    struct frame frame;
    struct bytes owned[BORROWED + 1];
    struct bytes encoded;
    struct bytes element;
};

static void load(const json_t *object, struct golden *ret)
{
    static const char *names[BORROWED] = {"context",        "partition",    "stream",   "type",          "causation_id",
                                          "correlation_id", "content_type", "metadata", "subject_key_id"};
    *ret = (struct golden){0};
    struct entry *entry = &ret->entry;
    struct bytes *fields[BORROWED] = {&entry->context,      &entry->partition,    &entry->stream,
                                      &entry->type,         &entry->causation_id, &entry->correlation_id,
                                      &entry->content_type, &entry->metadata,     &entry->subject_key_id};
    for (size_t i = 0; i < BORROWED; i++)
        *fields[i] = ret->owned[i] = hex_of(object, names[i]);
    entry->index = number_of(object, "index");
    entry->time = number_of(object, "time");
    entry->stream_version = number_of(object, "stream_version");
    entry->epoch = number_of(object, "epoch");
    entry->flags = (uint32_t)number_of(object, "flags");
    entry->payload_size_bytes = number_of(object, "payload_size");
    fill(object, "log_id", entry->log_id, ENTRY_LOG_ID_SIZE);
    fill(object, "prev", entry->prev.bytes, HASH_SIZE);
    fill(object, "event_id", entry->event_id, ENTRY_ID_SIZE);
    fill(object, "payload_commitment", entry->payload_commitment.bytes, HASH_SIZE);
    fill(object, "salt", ret->frame.salt, ENTRY_SALT_SIZE);
    ret->frame.payload = ret->owned[BORROWED] = hex_of(object, "payload");
    ret->frame.has_payload = json_is_true(json_object_get(object, "held"));
    ret->encoded = ret->frame.entry = hex_of(object, "encoded");
    ret->element = hex_of(object, "element");
}

static void unload(struct golden *golden)
{
    for (size_t i = 0; i <= BORROWED; i++)
        mem_free((void *)(uintptr_t)golden->owned[i].data);
    mem_free((void *)(uintptr_t)golden->encoded.data);
    mem_free((void *)(uintptr_t)golden->element.data);
}

Test(golden, entries_encode_to_the_same_bytes_and_parse_back)
{
    size_t at;
    const json_t *object;
    json_array_foreach(json_object_get(vectors, "entries"), at, object)
    {
        struct golden golden;
        struct buf out;
        struct entry back;
        load(object, &golden);
        cr_assert(bytes_equal(encode_sample(&golden.entry, &out), golden.encoded), "entry %zu", at);
        cr_assert_eq(entry_parse(golden.encoded, &back, NULL), 0, "entry %zu", at);
        cr_assert_eq(back.index, at);
        buf_free(&out);
        unload(&golden);
    }
    cr_assert_geq(at, 7);
}

Test(golden, elements_encode_to_the_same_bytes_and_parse_back)
{
    size_t at;
    const json_t *object;
    json_array_foreach(json_object_get(vectors, "entries"), at, object)
    {
        struct golden golden;
        struct frame back;
        struct buf out;
        load(object, &golden);
        buf_init(&out, 1024 * 1024);
        cr_assert_eq(frame_encode_element(&golden.frame, &out), 0);
        cr_assert(bytes_equal(buf_bytes(&out), golden.element), "entry %zu", at);
        struct bytes rest = golden.element;
        struct bytes frame_bytes;
        cr_assert_eq(frame_next_element(&rest, &frame_bytes, NULL), 0);
        cr_assert_eq(frame_parse(frame_bytes, &back, NULL), 0);
        cr_assert(bytes_equal(back.entry, golden.encoded));
        cr_assert_eq(back.has_payload, golden.frame.has_payload);
        buf_free(&out);
        unload(&golden);
    }
}

Test(golden, commitments_and_fingerprints_are_the_same)
{
    struct sha256 *sha = sha256_new();
    size_t at;
    const json_t *object;
    json_array_foreach(json_object_get(vectors, "entries"), at, object)
    {
        struct golden golden;
        load(object, &golden);
        struct hash commitment = entry_payload_commitment(sha, golden.frame.salt, golden.frame.payload);
        uint64_t fingerprint = entry_fingerprint(sha, &golden.entry, golden.frame.payload);
        cr_assert(hash_equal(&commitment, &golden.entry.payload_commitment), "entry %zu", at);
        cr_assert_eq(fingerprint, strtoull(text_of(object, "fingerprint"), NULL, 16), "entry %zu", at);
        unload(&golden);
    }
    sha256_free(sha);
}

Test(golden, log_id_and_genesis_are_the_same)
{
    struct sha256 *sha = sha256_new();
    struct bytes origin = bytes_of_string(text_of(vectors, "origin"));
    uint8_t id[ENTRY_LOG_ID_SIZE], expected_id[ENTRY_LOG_ID_SIZE];
    struct hash expected;
    entry_log_id(sha, origin, id);
    fill(vectors, "log_id", expected_id, sizeof(expected_id));
    cr_assert_eq(memcmp(id, expected_id, sizeof(id)), 0);
    struct hash genesis = entry_genesis(sha, origin);
    fill(vectors, "genesis", expected.bytes, HASH_SIZE);
    cr_assert(hash_equal(&genesis, &expected));
    sha256_free(sha);
}
