/* Parsing entries. An entry's bytes are its identity, so the parser accepts exactly what entry_encode writes: it reads
 * fields in ascending order, each at most once, no defaults spelled out, and then holds the result to entry_validate.
 */
#include "entry/entry.h"
#include "entry/wire.h"

enum { FIELD_FLAGS = 12, FIELD_LAST = 19 };

static int bad_field(uint32_t field, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "the entry's field %u is malformed", (unsigned)field);
}

static bool take_exact(struct bytes value, void *out, size_t size_bytes)
{
    if (value.size_bytes != size_bytes)
        return false;
    memcpy(out, value.data, size_bytes);
    return true;
}

static bool store_number(struct entry *entry, uint32_t field, uint64_t value)
{
    if (value == 0)
        return false; /* a default that is spelled out */
    switch (field) {
    case 1:
        entry->index = value;
        return true;
    case 9:
        entry->stream_version = value;
        return true;
    case 11:
        entry->epoch = value;
        return true;
    case 12:
        entry->flags = (uint32_t)value;
        return value <= UINT32_MAX;
    case 18:
        entry->payload_size_bytes = value;
        return true;
    default:
        return false;
    }
}

static bool store_bytes(struct entry *entry, uint32_t field, struct bytes value)
{
    if (value.size_bytes == 0)
        return false;
    switch (field) {
    case 2:
        return take_exact(value, entry->log_id, ENTRY_LOG_ID_SIZE);
    case 3:
        return take_exact(value, entry->prev.bytes, HASH_SIZE);
    case 5:
        return take_exact(value, entry->event_id, ENTRY_ID_SIZE);
    case 6:
        entry->context = value;
        return true;
    case 7:
        entry->partition = value;
        return true;
    case 8:
        entry->stream = value;
        return true;
    case 10:
        entry->type = value;
        return true;
    case 13:
        entry->causation_id = value;
        return true;
    case 14:
        entry->correlation_id = value;
        return true;
    case 15:
        entry->content_type = value;
        return true;
    case 16:
        entry->metadata = value;
        return true;
    case 17:
        return take_exact(value, entry->payload_commitment.bytes, HASH_SIZE);
    case 19:
        entry->subject_key_id = value;
        return true;
    default:
        return false;
    }
}

static bool take_field(struct bytes *in, uint32_t field, enum wire_type type, struct entry *entry)
{
    struct bytes value;
    uint64_t number = 0;
    switch (type) {
    case WIRE_VARINT:
        return wire_take_varint(in, &number) && store_number(entry, field, number);
    case WIRE_FIXED64:
        return field == 4 && wire_take_fixed64(in, &entry->time);
    case WIRE_BYTES:
        return wire_take_bytes(in, &value) && store_bytes(entry, field, value);
    }
    return false;
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
    for (uint32_t field = 1; field <= FIELD_LAST; field++) {
        if ((required & 1u << field) != 0 && (seen & 1u << field) == 0)
            return err_set(err, ERR_CORRUPT, "the entry lacks field %u", (unsigned)field);
    }
    struct err inner; /* half a kilobyte that is only written when it is needed */
    if (entry_validate(&entry, &inner) != 0)
        return err_set(err, ERR_CORRUPT, "the entry breaks a rule: %s", inner.message);
    *ret = entry;
    return 0;
}
