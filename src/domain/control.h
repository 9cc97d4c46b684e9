/* Control events: what the system itself appends to a log, with ENTRY_FLAG_CONTROL, beside what clients append. Pure.
 *
 * A control event is an ordinary entry: hashed, chained, shipped and proven like any other. Its type says what it is,
 * its context and partition say what it is about, its epoch says under whose authority it was written, and its payload
 * is a protobuf message of proto/tally/v1/control.proto in the canonical form of entry/FORMAT.md (fields ascending,
 * defaults left out), written and read here by hand because domain code has no outside libraries.
 *
 * Names that begin with '$', and the partition "*", are the system's: clients may not use them. Partition "*" stands
 * for every partition of the context that has no change of its own. Control events belong to the stream "$control" and
 * carry stream version 0: they take part in no stream's order. */
#ifndef DOMAIN_CONTROL_H
#define DOMAIN_CONTROL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"
#include "domain/position.h"
#include "entry/entry.h"

enum {
    CONTROL_REASON_MAX_BYTES = 1000,
    CONTROL_ACTOR_MAX_BYTES = 255,
    CONTROL_BASIS_MAX_BYTES = 8192,
    CONTROL_CODE_MAX = 1000, /* of a refusal, without its sign: a newer version may know more codes */
    CONTROL_PAYLOAD_MAX_BYTES = 16 * 1024,
    CONTROL_KEY_ROLE_MAX_BYTES = 32,
};

#define CONTROL_STREAM         "$control"
#define CONTROL_ALL_PARTITIONS "*"
#define CONTROL_SYSTEM_CONTEXT "$system" /* of events that are about the region itself */
#define CONTROL_CONTENT_TYPE   "application/x-protobuf"

enum control_kind {
    CONTROL_UNKNOWN, /* not a control event, or of a type that a newer version writes: ignored by folds */
    CONTROL_AUTHORITY_RELEASED,
    CONTROL_AUTHORITY_TAKEN,
    CONTROL_AUTHORITY_SEIZED,
    CONTROL_LATE_SETTLED,
    CONTROL_KEY_ROTATED,
    CONTROL_KEY_RETIRED,
    CONTROL_COMMAND_QUEUED,   /* by a region that is not the home: domain/queued.h has the payload */
    CONTROL_COMMAND_ACCEPTED, /* by the home: what became of a queued command; its causation id is that command's id */
    CONTROL_COMMAND_REFUSED,  /* likewise */
    CONTROL_OVERRIDE_MADE,    /* by a region that is not the home: why the overrides that follow were accepted there */
    CONTROL_CONTEXT_DEFINED,  /* domain/definition.h */
    CONTROL_LOG_CONTINUED,    /* the first entry of a log that is not its region's first: domain/lives.h */
};

/* By flag and type. */
enum control_kind control_kind_of(const struct entry *entry);
/* "$AuthorityReleased", …; kind is not CONTROL_UNKNOWN. */
const char *control_type(enum control_kind kind);
/* Released, taken, seized, or continued: has a struct control_authority. */
bool control_is_authority(enum control_kind kind);
bool control_is_key(enum control_kind kind);
/* Taken or seized. */
bool control_begins_epoch(enum control_kind kind);
/* Taken, seized, or continued: has a basis, and counts once that is there. */
bool control_rests(enum control_kind kind);
/* Accepted or refused: decides a queued command. */
bool control_decides_command(enum control_kind kind);
/* Authority events, and definitions of contexts: what the fold of domain/authority.h takes. */
bool control_governs(enum control_kind kind);
/* Of those, the ones that can make late, or late no more, what was applied before: whoever applies logs applies them
 * alone. */
bool control_stands_alone(enum control_kind kind);
/* Whether a name is kept for the system. */
bool control_name_reserved(struct bytes name);

/* Payload of the four authority events. Texts are borrowed: from the payload after control_authority_parse.
 *   released: successor. The home of entry.epoch stops; only the successor may take.
 *   taken, seized: basis. The appending region is home from entry.epoch on, which is one more than the epoch it knew.
 *   continued: basis, which names earlier logs of the appending region alone, and a reason. In context "$system",
 *   partition "*", epoch 1. */
struct control_authority {
    struct bytes successor; /* region; released only */
    struct position
        basis; /* taken and seized: the position that the new epoch rests on; continued: that the log does */
    struct bytes previous; /* region that was the home, for people */
    struct bytes actor;    /* who asked: "operator", "automatic", … */
    struct bytes reason;   /* why, in words */
    bool forced;           /* readiness checks had failed, and the actor went on */
    bool unfenced;         /* seized: the home of this epoch accepts without a lease (region/lease.h) */
};

/* What became of one late event, decided at the present home of its partition (entry.epoch). */
enum settlement {
    SETTLED_ACCEPTED = 1,   /* the home appended the same event again, in the same batch */
    SETTLED_DROPPED = 2,    /* it is a repetition of an effective event */
    SETTLED_REJECTED = 3,   /* it has no effect, by decision */
    SETTLED_COMPENSATE = 4, /* it is owed a compensating event: one whose causation id is the late event's id */
};

struct control_settled {
    char region[POSITION_REGION_MAX_BYTES + 1]; /* the late event's log … */
    uint64_t incarnation;
    uint64_t index; /* … and place */
    uint8_t event_id[ENTRY_ID_SIZE];
    enum settlement settlement;
    struct bytes actor;
    struct bytes reason;
};

/* Payload of the two events about a region's keys, in context "$system", partition "*", epoch 1. A key is named by the
 * SHA-256 of its public form, "name+id+base64" (crypto/note.h), as it stands in keys/region.pub.
 *   rotated: from here on the new key signs beside the old one.
 *   retired: the old key signs no more; new_key is the one that signs now. */
struct control_key {
    enum control_kind kind;
    struct bytes role; /* "log", "cosign", "witness"; a later version may have others */
    struct hash old_key;
    struct hash new_key;
};

/* What became of one queued command, decided at the present home of its partition (entry.epoch): its events stand
 * before this entry in the same batch, as far as they were not there already; or it is refused for good. */
struct control_decided {
    char region[POSITION_REGION_MAX_BYTES + 1]; /* the command's log … */
    uint64_t incarnation;
    uint64_t index; /* … and place */
    uint8_t event_id[ENTRY_ID_SIZE];
    int code;             /* why it is refused, of tally/error.h; 0: it is accepted */
    struct bytes message; /* the same in words; refused only */
};

/* The next `event_count` entries, of the same block, context and partition, are overrides (ENTRY_FLAG_OVERRIDE). */
struct control_override {
    uint64_t event_count; /* from 1 */
    struct bytes actor;
    struct bytes reason; /* not empty */
};

/* Append the payload. ERR_INVALID for what the parsers below would refuse (a text too long, or not UTF-8 without
 * control characters; a release without successor or with a basis, another change with a successor; a settlement
 * or verdict without region, incarnation or known decision; a change of keys without a role, or from a key to itself),
 * ERR_NO_MEMORY; then *out is unchanged. */
int control_authority_encode(enum control_kind kind, const struct control_authority *authority, struct buf *out,
                             struct err *err) MUST_USE;
int control_settled_encode(const struct control_settled *settled, struct buf *out, struct err *err) MUST_USE;
int control_key_encode(const struct control_key *key, struct buf *out, struct err *err) MUST_USE;
int control_override_encode(const struct control_override *override, struct buf *out, struct err *err) MUST_USE;
int control_decided_encode(const struct control_decided *decided, struct buf *out, struct err *err) MUST_USE;

/* ERR_CORRUPT for anything that encode would not have written. *ret borrows from payload. */
int control_authority_parse(enum control_kind kind, struct bytes payload, struct control_authority *ret,
                            struct err *err) MUST_USE;
int control_settled_parse(struct bytes payload, struct control_settled *ret, struct err *err) MUST_USE;
int control_key_parse(enum control_kind kind, struct bytes payload, struct control_key *ret, struct err *err) MUST_USE;
int control_override_parse(struct bytes payload, struct control_override *ret, struct err *err) MUST_USE;
/* kind: accepted or refused; the payload must say the same. */
int control_decided_parse(enum control_kind kind, struct bytes payload, struct control_decided *ret,
                          struct err *err) MUST_USE;

const char *settlement_name(enum settlement settlement);

#endif
