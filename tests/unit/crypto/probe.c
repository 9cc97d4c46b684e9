#include "probe.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/files.h"

enum { PROBE_MAX_BYTES = 64 * 1024 };

struct probe probe_load(const char *path)
{
    struct probe probe;
    json_error_t error;
    buf_init(&probe.text, PROBE_MAX_BYTES);
    files_read(path, &probe.text);
    cr_assert_eq(buf_append_byte(&probe.text, 0), 0);
    probe.object = json_loads((const char *)probe.text.data, JSON_DECODE_INT_AS_REAL, &error);
    cr_assert_not_null(probe.object, "%s: %s", path, error.text);
    return probe;
}

static struct hash hash_of_base64(const json_t *value, uint8_t fill)
{
    struct hash hash;
    const char *text = json_is_null(value) ? "" : json_string_value(value);
    size_t size = 0;
    cr_assert_not_null(text);
    memset(hash.bytes, fill, HASH_SIZE);
    cr_assert_eq(base64_decode(text, strlen(text), hash.bytes, HASH_SIZE, &size), 0, "%s", text);
    return hash;
}

struct hash probe_hash(const struct probe *probe, const char *name, uint8_t fill)
{
    return hash_of_base64(json_object_get(probe->object, name), fill);
}

/* From the text itself: jansson has no integers past 2^63, and as reals they are rounded. */
uint64_t probe_number(const struct probe *probe, const char *name)
{
    char key[64];
    char *end = NULL;
    snprintf(key, sizeof(key), "\"%s\": ", name);
    const char *at = strstr((const char *)probe->text.data, key);
    cr_assert_not_null(at, "no %s", name);
    cr_assert(at[strlen(key)] >= '0' && at[strlen(key)] <= '9');
    uint64_t number = strtoull(at + strlen(key), &end, 10);
    cr_assert(*end == ',' || *end == '\n');
    return number;
}

size_t probe_proof(const struct probe *probe, struct hash out[MERKLE_PROOF_MAX])
{
    size_t at;
    const json_t *value;
    const json_t *proof = json_object_get(probe->object, "proof");
    cr_assert_leq(json_array_size(proof), MERKLE_PROOF_MAX);
    json_array_foreach(proof, at, value)
    {
        out[at] = hash_of_base64(value, 0);
    }
    return json_array_size(proof);
}

void probe_settle(struct probe_count *count, const char *path, struct probe *probe, int code, const struct err *err)
{
    bool refuse = json_is_true(json_object_get(probe->object, "wantErr"));
    cr_assert_eq(code != 0, refuse, "%s: %s (%s)", path, tally_error_name(code), err->message);
    cr_assert(code == 0 || code == ERR_INVALID || code == ERR_CORRUPT, "%s: %s", path, tally_error_name(code));
    cr_assert_eq(code, err->code, "%s", path);
    count->accepted += code == 0;
    count->refused += code != 0;
    json_decref(probe->object);
    buf_free(&probe->text);
}
