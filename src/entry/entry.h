/* The Entry: what is hashed, stored, shipped and proven (FORMAT.md beside this file has the bytes).
 *
 * An Entry is a protobuf message, but it is written and read here by hand, because its bytes are the identity of the
 * event: the encoding is canonical (fields in ascending order, each at most once, defaults left out, shortest varints)
 * and the parser refuses everything else. Nobody re-encodes an entry: it is made once, by the sequencer of the home
 * region.
 *
 * leaf       = SHA-256(0x00 || entry)                                      (RFC 6962)
 * prev       = leaf of the entry before it; for index 0 SHA-256("tallystick-genesis\n" || origin)
 * commitment = SHA-256("tallystick-payload-v1" || 0x00 || salt[16] || u64 little-endian size || payload)
 *
 * NOTE on byte order: the payload size in the commitment is little-endian, like every number of ours that no foreign
 * specification fixes. */
#ifndef ENTRY_ENTRY_H
#define ENTRY_ENTRY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/time.h"
#include "crypto/sha256.h"

enum {
    ENTRY_MAX_BYTES = 65535, /* so that it fits a tlog-tiles bundle */
    ENTRY_ID_SIZE = 16,
    ENTRY_LOG_ID_SIZE = 8,
    ENTRY_SALT_SIZE = 16,
    ENTRY_NAME_MAX_BYTES = 255,   /* context, partition, type, content type */
    ENTRY_STREAM_MAX_BYTES = 512, /* stream */
    ENTRY_METADATA_MAX_BYTES = 4096,
    ENTRY_PAYLOAD_MAX_BYTES = 1024 * 1024,
    ENTRY_KEY_ID_MAX_BYTES = 64,
    ENTRY_ORIGIN_MAX_BYTES = 255,
};

enum entry_flags {
    ENTRY_FLAG_CONTROL = 1,     /* appended by the system, not by a client */
    ENTRY_FLAG_OVERRIDE = 2,    /* an emergency: accepted by a region that was not the home, which decides about it */
    ENTRY_FLAG_COMMUTATIVE = 4, /* accepted by any region, home or not: its effects commute with all others */
    ENTRY_FLAGS_KNOWN = ENTRY_FLAG_CONTROL | ENTRY_FLAG_OVERRIDE | ENTRY_FLAG_COMMUTATIVE,
    ENTRY_FLAGS_LOOSE = ENTRY_FLAG_OVERRIDE | ENTRY_FLAG_COMMUTATIVE, /* has no stream version */
    ENTRY_EPOCH_OF_NONE = 1, /* of a commutative event, which belongs to no epoch */
};

/* Field numbers are those of message Entry in proto/tally/v1/event.proto. Borrowed bytes point into the encoded entry
 * after entry_parse, and wherever the caller's data is before entry_encode. */
struct entry {
    uint64_t index;                    /* 1: place in the log, from 0 */
    uint8_t log_id[ENTRY_LOG_ID_SIZE]; /* 2: first 8 bytes of SHA-256(origin) */
    struct hash prev;                  /* 3 */
    hlc time;                          /* 4, fixed64: hybrid logical time of acceptance, never 0 */
    uint8_t event_id[ENTRY_ID_SIZE];   /* 5: the client's, a UUID */
    struct bytes context;              /* 6: non-empty */
    struct bytes partition;            /* 7: non-empty */
    struct bytes stream;               /* 8: non-empty */
    uint64_t stream_version;           /* 9: from 0 */
    struct bytes type;                 /* 10: non-empty */
    uint64_t epoch;                    /* 11: owner epoch of the partition, from 1 */
    uint32_t flags;                    /* 12 */
    struct bytes causation_id;         /* 13: empty or 16 bytes */
    struct bytes correlation_id;       /* 14: empty or 16 bytes */
    struct bytes content_type;         /* 15: may be empty */
    struct bytes metadata;             /* 16: may be empty */
    struct hash payload_commitment;    /* 17 */
    uint64_t payload_size_bytes;       /* 18 */
    struct bytes subject_key_id;       /* 19: empty unless the payload is encrypted */
};

/* All rules that do not depend on other entries: lengths, UTF-8, no control characters (below 0x20, and 0x7f) in names,
 * known flags that go together, no stream version where the flags say that there is none, time and epoch not 0.
 * ERR_INVALID or ERR_TOO_LARGE, naming the field. */
int entry_validate(const struct entry *entry, struct err *err) MUST_USE;

/* Appends the canonical encoding. The entry must be valid (asserted in part). ERR_TOO_LARGE when it is over
 * ENTRY_MAX_BYTES, ERR_NO_MEMORY; *out is then unchanged. */
int entry_encode(const struct entry *entry, struct buf *out, struct err *err) MUST_USE;

/* Whether encoded bytes begin as those of the entry at that place in the chain do: index, log, and the leaf of the
 * entry before it. Of the rest nothing is said. */
bool entry_stands_at(struct bytes encoded, uint64_t index, const uint8_t log_id[ENTRY_LOG_ID_SIZE],
                     const struct hash *prev) MUST_USE;

/* Parses and validates. ERR_CORRUPT for anything that entry_encode would not have written (an unknown field number
 * above 19 is ERR_UNSUPPORTED: written by a newer version). *ret borrows from `encoded`. */
int entry_parse(struct bytes encoded, struct entry *ret, struct err *err) MUST_USE;
/* The fields up to the flags alone, of an entry that was checked before: names, type, epoch and flags say whose it is.
 * A fraction of the cost of entry_parse, and none of its rules. *ret borrows from encoded. ERR_CORRUPT. */
int entry_parse_head(struct bytes encoded, struct entry *ret, struct err *err) MUST_USE;

/* The checks of one name field, for requests: ERR_INVALID (empty, not UTF-8, control character) or ERR_TOO_LARGE;
 * `what` names the field in the message, and max_bytes is its limit. */
int entry_check_name(struct bytes name, size_t max_bytes, const char *what, struct err *err) MUST_USE;

/* "<cluster>/<region>/<incarnation>": cluster and region are 1 to 63 characters of [a-z0-9-], not starting with '-';
 * incarnation is a decimal from 1. */
int entry_check_origin(struct bytes origin, struct err *err) MUST_USE;

void entry_log_id(struct sha256 *sha, struct bytes origin, uint8_t ret[ENTRY_LOG_ID_SIZE]);
struct hash entry_genesis(struct sha256 *sha, struct bytes origin);
struct hash entry_payload_commitment(struct sha256 *sha, const uint8_t salt[ENTRY_SALT_SIZE], struct bytes payload);

/* First 8 bytes (big-endian number) of SHA-256 over what the client said: "tallystick-content-v1\0", then context,
 * partition, stream, type, content type, metadata, causation id, correlation id, payload, each behind its u64
 * little-endian length. Two submissions of one event id are the same event if and only if these are equal. Never 0 (0
 * means "unknown", for a payload that is withheld or erased); a computed 0 becomes 1. */
uint64_t entry_fingerprint(struct sha256 *sha, const struct entry *entry, struct bytes payload);

/* Two of the hashes above at once (sha256_two), for who needs both: the fingerprint and the commitment of what a client
 * said; the leaf (merkle_leaf) of an encoded entry and the commitment of its payload. */
uint64_t entry_fingerprint_and_commitment(struct sha256 *sha, const struct entry *entry,
                                          const uint8_t salt[ENTRY_SALT_SIZE], struct bytes payload,
                                          struct hash *ret_commitment);
struct hash entry_leaf_and_commitment(struct sha256 *sha, struct bytes encoded, const uint8_t salt[ENTRY_SALT_SIZE],
                                      struct bytes payload, struct hash *ret_commitment);

#endif
