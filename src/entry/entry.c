/* Rules, encoding and hashes of entries; parsing is in entry_parse.c. The bytes and an example are in FORMAT.md. */
#include "entry/entry.h"

#include "base/assert.h"
#include "crypto/merkle.h"
#include "entry/wire.h"

enum { START_MAX_BYTES = 1 + WIRE_VARINT_MAX_BYTES + 2 + ENTRY_LOG_ID_SIZE + 2 + HASH_SIZE };

static bool has_control_character(struct bytes text)
{
    for (size_t i = 0; i < text.size_bytes; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7F)
            return true;
    }
    return false;
}

/* What most names are: then nothing else has to be looked at. Without an exit, so that it can run over many bytes at
 * once. */
#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

/* Not 0 if one of eight bytes is below 0x20, 0x7F or above: the borrow of a subtraction shows in the top bit of the
 * lowest such byte, and of bytes above it at most. */
static uint64_t not_printable(uint64_t bytes)
{
    uint64_t as_delete = bytes ^ EACH_BYTE(0x7F);
    return (bytes | (bytes - EACH_BYTE(0x20)) | (as_delete - EACH_BYTE(1))) & EACH_BYTE(0x80);
}

/* Eight bytes at a time; what is left is looked at with as many before it, or filled up with what is printable. */
static bool is_printable_ascii(struct bytes text)
{
    uint64_t bad = 0, last = EACH_BYTE('x');
    size_t at = 0;
    for (; at + 8 <= text.size_bytes; at += 8)
        bad |= not_printable(get_u64_le(text.data + at));
    if (text.size_bytes >= 8)
        last = get_u64_le(text.data + text.size_bytes - 8);
    else if (text.size_bytes > 0)
        memcpy(&last, text.data, text.size_bytes);
    return (bad | not_printable(last)) == 0;
}

int entry_check_name(struct bytes name, size_t max_bytes, const char *what, struct err *err)
{
    if (name.size_bytes == 0)
        return err_set(err, ERR_INVALID, "%s must not be empty", what);
    if (name.size_bytes > max_bytes)
        return err_set(err, ERR_TOO_LARGE, "%s has %zu bytes, the limit is %zu", what, name.size_bytes, max_bytes);
    if (is_printable_ascii(name))
        return 0;
    if (!utf8_valid(name))
        return err_set(err, ERR_INVALID, "%s is not valid UTF-8", what);
    if (has_control_character(name))
        return err_set(err, ERR_INVALID, "%s must not hold control characters", what);
    return 0;
}

static int check_optional_id(struct bytes id, const char *what, struct err *err)
{
    if (id.size_bytes != 0 && id.size_bytes != ENTRY_ID_SIZE)
        return err_set(err, ERR_INVALID, "%s must be empty or 16 bytes, not %zu", what, id.size_bytes);
    return 0;
}

static int check_size(size_t size_bytes, size_t max_bytes, const char *what, struct err *err)
{
    if (size_bytes > max_bytes)
        return err_set(err, ERR_TOO_LARGE, "%s has %zu bytes, the limit is %zu", what, size_bytes, max_bytes);
    return 0;
}

static int check_flags(const struct entry *entry, struct err *err)
{
    if ((entry->flags & ENTRY_FLAGS_LOOSE) == 0)
        return 0;
    if ((entry->flags & (entry->flags - 1)) != 0)
        return err_set(err, ERR_INVALID, "flags 0x%x do not go together", (unsigned)entry->flags);
    if (entry->stream_version != 0)
        return err_set(err, ERR_INVALID, "an override, or a commutative event, has no stream version");
    return entry->flags == ENTRY_FLAG_OVERRIDE || entry->epoch == ENTRY_EPOCH_OF_NONE
               ? 0
               : err_set(err, ERR_INVALID, "a commutative event belongs to no epoch: 1 stands there");
}

int entry_validate(const struct entry *entry, struct err *err)
{
    int code = entry_check_name(entry->context, ENTRY_NAME_MAX_BYTES, "context", err);
    if (code == 0)
        code = entry_check_name(entry->partition, ENTRY_NAME_MAX_BYTES, "partition", err);
    if (code == 0)
        code = entry_check_name(entry->stream, ENTRY_STREAM_MAX_BYTES, "stream", err);
    if (code == 0)
        code = entry_check_name(entry->type, ENTRY_NAME_MAX_BYTES, "type", err);
    if (code == 0 && entry->content_type.size_bytes > 0)
        code = entry_check_name(entry->content_type, ENTRY_NAME_MAX_BYTES, "content type", err);
    if (code == 0)
        code = check_optional_id(entry->causation_id, "causation id", err);
    if (code == 0)
        code = check_optional_id(entry->correlation_id, "correlation id", err);
    if (code == 0)
        code = check_size(entry->metadata.size_bytes, ENTRY_METADATA_MAX_BYTES, "metadata", err);
    if (code == 0)
        code = check_size(entry->subject_key_id.size_bytes, ENTRY_KEY_ID_MAX_BYTES, "subject key id", err);
    if (code == 0)
        code = check_size(entry->payload_size_bytes, ENTRY_PAYLOAD_MAX_BYTES, "payload", err);
    if (code == 0 && entry->time == 0)
        code = err_set(err, ERR_INVALID, "time must not be 0");
    if (code == 0 && entry->epoch == 0)
        code = err_set(err, ERR_INVALID, "epoch must not be 0");
    if (code == 0 && (entry->flags & ~(uint32_t)ENTRY_FLAGS_KNOWN) != 0)
        code = err_set(err, ERR_INVALID, "flags 0x%x are not known", (unsigned)entry->flags);
    return code == 0 ? check_flags(entry, err) : code;
}

static uint8_t *put_number(uint8_t *out, uint32_t field, uint64_t value)
{
    if (value == 0)
        return out;
    return wire_put_varint(wire_put_tag(out, field, WIRE_VARINT), value);
}

static uint8_t *put_optional_bytes(uint8_t *out, uint32_t field, struct bytes value)
{
    return value.size_bytes == 0 ? out : wire_put_bytes(out, field, value);
}

/* An upper bound: numbers, tags and lengths at their largest. */
static size_t size_bound(const struct entry *entry)
{
    return 256 + ENTRY_LOG_ID_SIZE + 2 * HASH_SIZE + ENTRY_ID_SIZE + entry->context.size_bytes +
           entry->partition.size_bytes + entry->stream.size_bytes + entry->type.size_bytes +
           entry->causation_id.size_bytes + entry->correlation_id.size_bytes + entry->content_type.size_bytes +
           entry->metadata.size_bytes + entry->subject_key_id.size_bytes;
}

static uint8_t *put_start(uint8_t *out, uint64_t index, const uint8_t log_id[ENTRY_LOG_ID_SIZE],
                          const struct hash *prev)
{
    out = put_number(out, 1, index);
    out = wire_put_bytes(out, 2, bytes_of(log_id, ENTRY_LOG_ID_SIZE));
    return wire_put_bytes(out, 3, bytes_of(prev->bytes, HASH_SIZE));
}

bool entry_stands_at(struct bytes encoded, uint64_t index, const uint8_t log_id[ENTRY_LOG_ID_SIZE],
                     const struct hash *prev)
{
    uint8_t start[START_MAX_BYTES];
    size_t size = (size_t)(put_start(start, index, log_id, prev) - start);
    return encoded.size_bytes > size && memcmp(encoded.data, start, size) == 0;
}

int entry_encode(const struct entry *entry, struct buf *out, struct err *err)
{
    PRE(entry->time != 0);
    PRE(entry->epoch != 0);
    int code = buf_reserve(out, size_bound(entry));
    if (code != 0)
        return err_set(err, code, "no room for an entry");
    uint8_t *start = out->data + out->size_bytes;
    uint8_t *at = put_start(start, entry->index, entry->log_id, &entry->prev);
    at = wire_put_tag(at, 4, WIRE_FIXED64);
    put_u64_le(at, entry->time);
    at = wire_put_bytes(at + 8, 5, bytes_of(entry->event_id, ENTRY_ID_SIZE));
    at = wire_put_bytes(at, 6, entry->context);
    at = wire_put_bytes(at, 7, entry->partition);
    at = wire_put_bytes(at, 8, entry->stream);
    at = put_number(at, 9, entry->stream_version);
    at = wire_put_bytes(at, 10, entry->type);
    at = put_number(at, 11, entry->epoch);
    at = put_number(at, 12, entry->flags);
    at = put_optional_bytes(at, 13, entry->causation_id);
    at = put_optional_bytes(at, 14, entry->correlation_id);
    at = put_optional_bytes(at, 15, entry->content_type);
    at = put_optional_bytes(at, 16, entry->metadata);
    at = wire_put_bytes(at, 17, bytes_of(entry->payload_commitment.bytes, HASH_SIZE));
    at = put_number(at, 18, entry->payload_size_bytes);
    at = put_optional_bytes(at, 19, entry->subject_key_id);
    size_t size = (size_t)(at - start);
    POST(size <= size_bound(entry));
    if (size > ENTRY_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "an entry of %zu bytes is over the limit of %d", size, ENTRY_MAX_BYTES);
    out->size_bytes += size;
    return 0;
}

static bool valid_label(struct bytes label)
{
    if (label.size_bytes == 0 || label.size_bytes > 63 || label.data[0] == '-')
        return false;
    for (size_t i = 0; i < label.size_bytes; i++) {
        uint8_t c = label.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

int entry_check_origin(struct bytes origin, struct err *err)
{
    const char *rule = "an origin must be <cluster>/<region>/<incarnation>, names of 1 to 63 of a-z, 0-9 and '-'";
    if (origin.size_bytes == 0 || origin.size_bytes > ENTRY_ORIGIN_MAX_BYTES)
        return err_set(err, ERR_INVALID, "%s", rule);
    const uint8_t *first = memchr(origin.data, '/', origin.size_bytes);
    const uint8_t *second = memrchr(origin.data, '/', origin.size_bytes);
    if (first == NULL || first == second)
        return err_set(err, ERR_INVALID, "%s", rule);
    const uint8_t *end = origin.data + origin.size_bytes;
    uint64_t incarnation = 0;
    if (!valid_label(bytes_of(origin.data, (size_t)(first - origin.data))) ||
        !valid_label(bytes_of(first + 1, (size_t)(second - first - 1))) ||
        parse_u64((const char *)second + 1, (size_t)(end - second - 1), &incarnation) != 0 || incarnation == 0)
        return err_set(err, ERR_INVALID, "%s", rule);
    return 0;
}

void entry_log_id(struct sha256 *sha, struct bytes origin, uint8_t ret[ENTRY_LOG_ID_SIZE])
{
    struct hash hash = sha256_of(sha, origin);
    memcpy(ret, hash.bytes, ENTRY_LOG_ID_SIZE);
}

struct hash entry_genesis(struct sha256 *sha, struct bytes origin)
{
    const struct bytes parts[] = {BYTES_LITERAL("tallystick-genesis\n"), origin};
    return sha256_parts(sha, parts, 2);
}

/* What a payload commitment is the hash of. */
struct commitment_parts {
    uint8_t head[sizeof("tallystick-payload-v1") + ENTRY_SALT_SIZE + 8]; /* in one piece: each costs a call */
    struct bytes parts[2];
};

static struct sha256_message commitment_message(struct commitment_parts *made, const uint8_t salt[ENTRY_SALT_SIZE],
                                                struct bytes payload)
{
    static const char tag[] = "tallystick-payload-v1"; /* with its NUL */
    memcpy(made->head, tag, sizeof(tag));
    memcpy(made->head + sizeof(tag), salt, ENTRY_SALT_SIZE);
    put_u64_le(made->head + sizeof(tag) + ENTRY_SALT_SIZE, payload.size_bytes);
    made->parts[0] = bytes_of(made->head, sizeof(made->head));
    made->parts[1] = payload;
    return (struct sha256_message){made->parts, 2};
}

enum { CONTENT_FIELDS = 9 };

/* What a fingerprint is the hash of. */
struct content_parts {
    uint8_t sizes[CONTENT_FIELDS][8];
    struct bytes parts[1 + 2 * CONTENT_FIELDS];
};

static struct sha256_message content_message(struct content_parts *made, const struct entry *entry,
                                             struct bytes payload)
{
    const struct bytes fields[CONTENT_FIELDS] = {entry->context,      entry->partition,      entry->stream,
                                                 entry->type,         entry->content_type,   entry->metadata,
                                                 entry->causation_id, entry->correlation_id, payload};
    made->parts[0] = BYTES_LITERAL("tallystick-content-v1\0");
    for (size_t i = 0; i < CONTENT_FIELDS; i++) {
        put_u64_le(made->sizes[i], fields[i].size_bytes);
        made->parts[1 + 2 * i] = bytes_of(made->sizes[i], 8);
        made->parts[2 + 2 * i] = fields[i];
    }
    return (struct sha256_message){made->parts, 1 + 2 * CONTENT_FIELDS};
}

static uint64_t fingerprint_of(const struct hash *content)
{
    uint64_t fingerprint = get_u64_be(content->bytes);
    return fingerprint == 0 ? 1 : fingerprint;
}

struct hash entry_payload_commitment(struct sha256 *sha, const uint8_t salt[ENTRY_SALT_SIZE], struct bytes payload)
{
    struct commitment_parts made;
    struct sha256_message message = commitment_message(&made, salt, payload);
    return sha256_parts(sha, message.parts, message.count);
}

uint64_t entry_fingerprint(struct sha256 *sha, const struct entry *entry, struct bytes payload)
{
    struct content_parts made;
    struct sha256_message message = content_message(&made, entry, payload);
    struct hash hash = sha256_parts(sha, message.parts, message.count);
    return fingerprint_of(&hash);
}

uint64_t entry_fingerprint_and_commitment(struct sha256 *sha, const struct entry *entry,
                                          const uint8_t salt[ENTRY_SALT_SIZE], struct bytes payload,
                                          struct hash *ret_commitment)
{
    struct commitment_parts commitment;
    struct content_parts content;
    struct hash hashes[2];
    const struct sha256_message messages[2] = {commitment_message(&commitment, salt, payload),
                                               content_message(&content, entry, payload)};
    sha256_two(sha, messages, hashes);
    *ret_commitment = hashes[0];
    return fingerprint_of(&hashes[1]);
}

struct hash entry_leaf_and_commitment(struct sha256 *sha, struct bytes encoded, const uint8_t salt[ENTRY_SALT_SIZE],
                                      struct bytes payload, struct hash *ret_commitment)
{
    struct commitment_parts commitment;
    struct hash hashes[2];
    const struct bytes leaf[] = {MERKLE_LEAF_PREFIX, encoded};
    const struct sha256_message messages[2] = {{leaf, 2}, commitment_message(&commitment, salt, payload)};
    sha256_two(sha, messages, hashes);
    *ret_commitment = hashes[1];
    return hashes[0];
}
