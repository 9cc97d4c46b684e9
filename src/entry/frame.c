/* Frames and elements: accepted only in the one spelling that the encoder writes, because readers and peers are handed
 * the bytes as they stand (frame.h). */
#include "entry/frame.h"

#include "base/planted.h"
#include "crypto/merkle.h"
#include "entry/wire.h"

static size_t field_size(size_t size_bytes)
{
    return 1 + wire_varint_size(size_bytes) + size_bytes;
}

static size_t frame_size(const struct frame *frame)
{
    size_t size = field_size(frame->entry.size_bytes);
    if (frame->has_payload && frame->payload.size_bytes > 0)
        size += field_size(frame->payload.size_bytes);
    if (frame->has_payload)
        size += field_size(ENTRY_SALT_SIZE);
    return size;
}

size_t frame_element_size(const struct frame *frame)
{
    return field_size(frame_size(frame));
}

int frame_encode_element(const struct frame *frame, struct buf *out)
{
    if (frame->entry.size_bytes == 0 || frame->entry.size_bytes > ENTRY_MAX_BYTES ||
        frame->payload.size_bytes > ENTRY_PAYLOAD_MAX_BYTES)
        return ERR_TOO_LARGE;
    size_t size = frame_size(frame);
    int code = buf_reserve(out, field_size(size));
    if (code != 0)
        return code;
    uint8_t *at = out->data + out->size_bytes;
    at = wire_put_varint(wire_put_tag(at, 1, WIRE_BYTES), size);
    at = wire_put_bytes(at, 1, frame->entry);
    if (frame->has_payload && frame->payload.size_bytes > 0)
        at = wire_put_bytes(at, 2, frame->payload);
    if (frame->has_payload)
        at = wire_put_bytes(at, 3, bytes_of(frame->salt, ENTRY_SALT_SIZE));
    out->size_bytes = (size_t)(at - out->data);
    return 0;
}

int frame_parse(struct bytes encoded, struct frame *ret, struct err *err)
{
    struct frame frame = {0};
    uint32_t last = 0;
    while (encoded.size_bytes > 0) {
        uint32_t field = 0;
        enum wire_type type;
        struct bytes value;
        if (!wire_take_tag(&encoded, &field, &type) || type != WIRE_BYTES || field <= last || field > 3 ||
            !wire_take_bytes(&encoded, &value) || value.size_bytes == 0)
            return err_set(err, ERR_CORRUPT, "the frame is malformed after field %u", (unsigned)last);
        last = field;
        if (field == 1) {
            frame.entry = value;
        } else if (field == 2) {
            frame.payload = value;
        } else {
            if (value.size_bytes != ENTRY_SALT_SIZE)
                return err_set(err, ERR_CORRUPT, "the frame's salt has %zu bytes, not 16", value.size_bytes);
            memcpy(frame.salt, value.data, ENTRY_SALT_SIZE);
            frame.has_payload = true;
        }
    }
    if (frame.entry.size_bytes == 0 || frame.entry.size_bytes > ENTRY_MAX_BYTES)
        return err_set(err, ERR_CORRUPT, "the frame's entry has %zu bytes", frame.entry.size_bytes);
    if (frame.payload.size_bytes > ENTRY_PAYLOAD_MAX_BYTES)
        return err_set(err, ERR_CORRUPT, "the frame's payload has %zu bytes", frame.payload.size_bytes);
    if (frame.payload.size_bytes > 0 && !frame.has_payload)
        return err_set(err, ERR_CORRUPT, "the frame has a payload without a salt");
    *ret = frame;
    return 0;
}

int frame_next_element(struct bytes *elements, struct bytes *ret_frame, struct err *err)
{
    if (elements->size_bytes == 0)
        return ERR_END;
    struct bytes rest = *elements;
    uint32_t field = 0;
    enum wire_type type;
    if (!wire_take_tag(&rest, &field, &type) || field != 1 || type != WIRE_BYTES || !wire_take_bytes(&rest, ret_frame))
        return err_set(err, ERR_CORRUPT, "a frame's prefix is malformed");
    *elements = rest;
    return 0;
}

int frame_next_entry(struct bytes *elements, struct frame *ret_frame, struct entry *ret_entry, struct err *err)
{
    struct bytes encoded;
    int code = frame_next_element(elements, &encoded, err);
    if (code == 0)
        code = frame_parse(encoded, ret_frame, err);
    return code == 0 ? entry_parse(ret_frame->entry, ret_entry, err) : code;
}

static int check_payload_size(const struct frame *frame, const struct entry *entry, struct err *err)
{
    if (frame->payload.size_bytes == entry->payload_size_bytes)
        return 0;
    return err_set(err, ERR_CORRUPT, "the payload of entry %llu has %zu bytes, its entry says %llu",
                   (unsigned long long)entry->index, frame->payload.size_bytes,
                   (unsigned long long)entry->payload_size_bytes);
}

static int check_commitment(const struct hash *commitment, const struct entry *entry, struct err *err)
{
    if (hash_equal(commitment, &entry->payload_commitment) || PLANTED(skip_commitment_check))
        return 0;
    return err_set(err, ERR_CORRUPT, "the payload of entry %llu does not match its commitment",
                   (unsigned long long)entry->index);
}

int frame_check_payload(struct sha256 *sha, const struct frame *frame, const struct entry *entry, struct err *err)
{
    if (!frame->has_payload)
        return 0;
    int code = check_payload_size(frame, entry, err);
    if (code != 0)
        return code;
    struct hash commitment = entry_payload_commitment(sha, frame->salt, frame->payload);
    return check_commitment(&commitment, entry, err);
}

int frame_check_and_hash(struct sha256 *sha, const struct frame *frame, const struct entry *entry,
                         struct hash *ret_leaf, struct err *err)
{
    if (!frame->has_payload) {
        *ret_leaf = merkle_leaf(sha, frame->entry);
        return 0;
    }
    int code = check_payload_size(frame, entry, err);
    if (code != 0)
        return code;
    struct hash commitment;
    struct hash leaf = entry_leaf_and_commitment(sha, frame->entry, frame->salt, frame->payload, &commitment);
    code = check_commitment(&commitment, entry, err);
    if (code == 0)
        *ret_leaf = leaf;
    return code;
}
