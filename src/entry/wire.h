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

/* Takes the value off the front of *in; false when it is cut off or not the shortest form. */
bool wire_take_varint(struct bytes *in, uint64_t *ret);
bool wire_take_fixed64(struct bytes *in, uint64_t *ret);
bool wire_take_bytes(struct bytes *in, struct bytes *ret);
/* The next tag: field number at least 1. */
bool wire_take_tag(struct bytes *in, uint32_t *ret_field, enum wire_type *ret_type);

#endif
