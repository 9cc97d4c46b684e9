/* The four pieces of protobuf's wire format that entries and frames use (protobuf.dev/programming-guides/encoding), in
 * their canonical form only: shortest varints, fields in ascending order. */
#ifndef ENTRY_WIRE_H
#define ENTRY_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };
enum { WIRE_VARINT_MAX_BYTES = 10 };

size_t wire_varint_size(uint64_t value);
/* Writes to out, which has room; returns the end. */
uint8_t *wire_put_varint(uint8_t *out, uint64_t value);
uint8_t *wire_put_tag(uint8_t *out, uint32_t field, enum wire_type type);
uint8_t *wire_put_bytes(uint8_t *out, uint32_t field, struct bytes value);

/* For wire_take_varint: any length. */
bool wire_take_long_varint(struct bytes *in, uint64_t *ret);

/* Takes the value off the front of *in; false when it is cut off or not the shortest form. Inline for the common cases
 * of one byte and two: an entry has some thirty of them. */
static inline bool wire_take_varint(struct bytes *in, uint64_t *ret)
{
    size_t size = 1;
    if (in->size_bytes > 0 && in->data[0] < 0x80) {
        *ret = in->data[0];
    } else if (in->size_bytes > 1 && in->data[1] > 0 && in->data[1] < 0x80) {
        *ret = (uint64_t)in->data[1] << 7 | (in->data[0] & 0x7Fu);
        size = 2;
    } else {
        return wire_take_long_varint(in, ret);
    }
    in->data += size;
    in->size_bytes -= size;
    return true;
}

static inline bool wire_take_bytes(struct bytes *in, struct bytes *ret)
{
    uint64_t size = 0;
    if (!wire_take_varint(in, &size) || size > in->size_bytes)
        return false;
    *ret = bytes_of(in->data, (size_t)size);
    in->data += size;
    in->size_bytes -= (size_t)size;
    return true;
}

/* The next tag: field number at least 1. */
static inline bool wire_take_tag(struct bytes *in, uint32_t *ret_field, enum wire_type *ret_type)
{
    uint64_t tag = 0;
    if (!wire_take_varint(in, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF)
        return false;
    unsigned type = (unsigned)(tag & 7);
    if (type != WIRE_VARINT && type != WIRE_FIXED64 && type != WIRE_BYTES)
        return false;
    *ret_field = (uint32_t)(tag >> 3);
    *ret_type = (enum wire_type)type;
    return true;
}

bool wire_take_fixed64(struct bytes *in, uint64_t *ret);

#endif
