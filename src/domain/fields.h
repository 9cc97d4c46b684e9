/* Fields of a payload in the canonical protobuf form of entry/FORMAT.md, written and read one after the other: fields
 * ascending, each at most once, defaults left out, shortest varints. Private to src/domain.
 *
 * Writing: 0, ERR_NO_MEMORY or ERR_TOO_LARGE of the buffer. Reading: a field that is not next is its default; what is
 * wrong shows in `failed`, and what is left over in fields_all_read. */
#ifndef DOMAIN_FIELDS_H
#define DOMAIN_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"

int fields_put_text(struct buf *out, uint32_t field, struct bytes value) MUST_USE;
/* The same, but empty bytes are written too: of a repeated field. */
int fields_put_member(struct buf *out, uint32_t field, struct bytes value) MUST_USE;
int fields_put_number(struct buf *out, uint32_t field, uint64_t value) MUST_USE;

/* What is left of a payload, and whether it was well formed so far. */
struct fields {
    struct bytes rest;
    bool failed;
};

/* Borrowed from the payload. */
struct bytes fields_take_text(struct fields *fields, uint32_t field);
/* One member of a repeated field; false when there is none. */
bool fields_take_member(struct fields *fields, uint32_t field, struct bytes *ret);
uint64_t fields_take_number(struct fields *fields, uint32_t field);
bool fields_all_read(const struct fields *fields);

#endif
