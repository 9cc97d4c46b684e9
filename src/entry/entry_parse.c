/* Parsing entries. An entry's bytes are its identity, so the parser accepts exactly what entry_encode writes: it reads
 * fields in ascending order, each at most once, no defaults spelled out, and then holds the result to entry_validate.
 */
#include <stddef.h>

#include "entry/entry.h"
#include "entry/wire.h"

enum { FIELD_FLAGS = 12, FIELD_LAST = 19 };

static int bad_field(uint32_t field, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the entry's field %u is malformed", (unsigned)field);
}

/* Where each field goes, and how. */
enum field_kind {
    KIND_NONE,
    KIND_NUMBER,
    KIND_FLAGS,
    KIND_TIME,
    KIND_BYTES,
    KIND_EXACT_8,
    KIND_EXACT_16,
    KIND_EXACT_32
};

struct field_rule {
    uint8_t kind;
    uint8_t type; /* enum wire_type */
    uint16_t offset;
};

#define RULE(kind, type, member)                                                                                       \
    {                                                                                                                  \
        kind, type, offsetof(struct entry, member)                                                                     \
    }

static const struct field_rule rules[FIELD_LAST + 1] = {
    [1] = RULE(KIND_NUMBER, WIRE_VARINT, index),
    [2] = RULE(KIND_EXACT_8, WIRE_BYTES, log_id),
    [3] = RULE(KIND_EXACT_32, WIRE_BYTES, prev),
    [4] = RULE(KIND_TIME, WIRE_FIXED64, time),
    [5] = RULE(KIND_EXACT_16, WIRE_BYTES, event_id),
    [6] = RULE(KIND_BYTES, WIRE_BYTES, context),
    [7] = RULE(KIND_BYTES, WIRE_BYTES, partition),
    [8] = RULE(KIND_BYTES, WIRE_BYTES, stream),
    [9] = RULE(KIND_NUMBER, WIRE_VARINT, stream_version),
    [10] = RULE(KIND_BYTES, WIRE_BYTES, type),
    [11] = RULE(KIND_NUMBER, WIRE_VARINT, epoch),
    [12] = RULE(KIND_FLAGS, WIRE_VARINT, flags),
    [13] = RULE(KIND_BYTES, WIRE_BYTES, causation_id),
    [14] = RULE(KIND_BYTES, WIRE_BYTES, correlation_id),
    [15] = RULE(KIND_BYTES, WIRE_BYTES, content_type),
    [16] = RULE(KIND_BYTES, WIRE_BYTES, metadata),
    [17] = RULE(KIND_EXACT_32, WIRE_BYTES, payload_commitment),
    [18] = RULE(KIND_NUMBER, WIRE_VARINT, payload_size_bytes),
    [19] = RULE(KIND_BYTES, WIRE_BYTES, subject_key_id),
};

_Static_assert(ENTRY_LOG_ID_SIZE == 8 && HASH_SIZE == 32 && ENTRY_ID_SIZE == 16, "the exact kinds");

/* A default that is spelled out is refused. */
static bool take_number(struct bytes *in, const struct field_rule *rule, void *out)
{
    uint64_t value = 0;
    if (!wire_take_varint(in, &value) || value == 0)
        return false;
    if (rule->kind == KIND_NUMBER) {
        *(uint64_t *)out = value;
        return true;
    }
    *(uint32_t *)out = (uint32_t)value;
    return value <= UINT32_MAX;
}

/* The sizes are constants, so that the copies are a few instructions. */
static bool take_bytes(struct bytes *in, const struct field_rule *rule, void *out)
{
    struct bytes value;
    if (!wire_take_bytes(in, &value) || value.size_bytes == 0)
        return false;
    switch ((enum field_kind)rule->kind) {
    case KIND_EXACT_8:
        return value.size_bytes == 8 && memcpy(out, value.data, 8) != NULL;
    case KIND_EXACT_16:
        return value.size_bytes == 16 && memcpy(out, value.data, 16) != NULL;
    case KIND_EXACT_32:
        return value.size_bytes == 32 && memcpy(out, value.data, 32) != NULL;
    default:
        *(struct bytes *)out = value;
        return true;
    }
}

static bool take_field(struct bytes *in, uint32_t field, enum wire_type type, struct entry *entry)
{
    const struct field_rule *rule = &rules[field];
    void *out = (uint8_t *)entry + rule->offset;
    if (type != rule->type)
        return false;
    if (type == WIRE_BYTES)
        return take_bytes(in, rule, out);
    return type == WIRE_VARINT ? take_number(in, rule, out) : wire_take_fixed64(in, out);
}

int entry_parse_head(struct bytes encoded, struct entry *ret, struct err *err)
{
    struct entry entry = {0};
    while (encoded.size_bytes > 0) {
        uint32_t field = 0;
        enum wire_type type;
        if (!wire_take_tag(&encoded, &field, &type))
            return err_set(err, ERR_CORRUPT, "the entry has a malformed tag");
        if (field > FIELD_FLAGS)
            break;
        if (!take_field(&encoded, field, type, &entry))
            return bad_field(field, err);
    }
    *ret = entry;
    return 0;
}

int entry_parse(struct bytes encoded, struct entry *ret, struct err *err)
{
    if (encoded.size_bytes > ENTRY_MAX_BYTES)
        return err_set(err, ERR_CORRUPT, "an entry of %zu bytes is over the limit of %d", encoded.size_bytes,
                       ENTRY_MAX_BYTES);
    /* Fields that are always there, even when their value is all zeros. */
    static const uint32_t required = 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 17;
    struct entry entry = {0};
    uint32_t seen = 0;
    uint32_t last = 0;
    while (encoded.size_bytes > 0) {
        uint32_t field = 0;
        enum wire_type type;
        if (!wire_take_tag(&encoded, &field, &type))
            return err_set(err, ERR_CORRUPT, "the entry has a malformed tag after field %u", (unsigned)last);
        if (field > FIELD_LAST)
            return err_set(err, ERR_UNSUPPORTED, "the entry has field %u: it was written by a newer version; upgrade",
                           (unsigned)field);
        if (field <= last)
            return err_set(err, ERR_CORRUPT, "the entry's field %u comes after field %u", (unsigned)field,
                           (unsigned)last);
        if (!take_field(&encoded, field, type, &entry))
            return bad_field(field, err);
        seen |= 1u << field;
        last = field;
    }
    uint32_t lacking = required & ~seen;
    if (lacking != 0)
        return err_set(err, ERR_CORRUPT, "the entry lacks field %u", (unsigned)__builtin_ctz(lacking));
    struct err inner; /* half a kilobyte that is only written when it is needed */
    if (entry_validate(&entry, &inner) != 0)
        return err_set(err, ERR_CORRUPT, "the entry breaks a rule: %s", inner.message);
    *ret = entry;
    return 0;
}
