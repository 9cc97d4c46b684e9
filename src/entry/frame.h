/* The frame: protobuf message RecordedEvent { bytes entry = 1; bytes payload = 2; bytes salt = 3; }, canonical like the
 * entry.
 *
 * A frame with a salt holds its payload (left out when it is empty); a frame without a salt does not: the payload is
 * withheld from this region, or erased. In files and messages a frame stands as an element of a repeated field, "0x0a,
 * varint size, frame", so that a run of frames is itself a protobuf message { repeated RecordedEvent events = 1; } and
 * is copied to readers as it is. Below, "element" means a frame with that prefix. */
#ifndef ENTRY_FRAME_H
#define ENTRY_FRAME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "entry/entry.h"

enum {
    FRAME_MAX_BYTES = ENTRY_MAX_BYTES + ENTRY_PAYLOAD_MAX_BYTES + 64,
    FRAME_ELEMENT_MAX_BYTES = FRAME_MAX_BYTES + 8,
};

struct frame {
    struct bytes entry;
    struct bytes payload;
    bool has_payload; /* whether a salt is there */
    uint8_t salt[ENTRY_SALT_SIZE];
};

/* Size of the element that frame_encode_element would append. */
size_t frame_element_size(const struct frame *frame);
/* Appends the element. ERR_TOO_LARGE (entry or payload over its limit, or out->max_bytes), ERR_NO_MEMORY. */
int frame_encode_element(const struct frame *frame, struct buf *out) MUST_USE;
/* Parses the frame inside an element (without the prefix). *ret borrows from `encoded`. ERR_CORRUPT when not canonical
 * or over a limit. The entry's own bytes are not parsed. */
int frame_parse(struct bytes encoded, struct frame *ret, struct err *err) MUST_USE;
/* Takes the next element off *elements: *ret_frame gets the frame's bytes without the prefix. ERR_END when *elements is
 * empty, ERR_CORRUPT. */
int frame_next_element(struct bytes *elements, struct bytes *ret_frame, struct err *err) MUST_USE;

/* The same, taken apart: the frame and its entry, both borrowing from the element. Adds the errors of entry_parse. */
int frame_next_entry(struct bytes *elements, struct frame *ret_frame, struct entry *ret_entry,
                     struct err *err) MUST_USE;

/* Pair assertion between entry and payload: when the payload is held, its size and commitment must be the entry's.
 * ERR_CORRUPT. */
int frame_check_payload(struct sha256 *sha, const struct frame *frame, const struct entry *entry,
                        struct err *err) MUST_USE;
/* The same, and the leaf of the entry (merkle_leaf), in less time than one after the other. Same errors; *ret_leaf is
 * untouched then. */
int frame_check_and_hash(struct sha256 *sha, const struct frame *frame, const struct entry *entry,
                         struct hash *ret_leaf, struct err *err) MUST_USE;

#endif
