/* Values of the store (README.md has the table). Private to src/index.
 *
 * Encoders write to a buffer that is emptied first; they fail only with ERR_NO_MEMORY. Decoders answer false for what
 * no encoder writes; what they return borrows from `in`. Numbers that are usually small are varints. */
#ifndef INDEX_RECORDS_H
#define INDEX_RECORDS_H

#include "base/buf.h"
#include "index/index.h"

/* Where the event with some id is. */
struct event_record {
    struct index_place place;
    hlc time;
    uint64_t fingerprint;
    uint64_t stream_version;
    bool late;
    bool commutative; /* no stream version */
};

/* What was said about a version of a stream: the entry at `place` has it, or has it no more. */
enum { VERSION_RECORD_MIN_BYTES = 1 + 1 + 8 + 1, VERSION_RECORD_MAX_BYTES = 1 + 1 + 8 + 10 };
struct version_record {
    bool removed;
    uint8_t low; /* the version's last digits: the key has the others */
    hlc time;
    struct index_place place;
};

struct head_record {
    struct index_place place;
    hlc time;
    uint64_t version;
};

/* An item, or an entry that may become one: names are empty and epoch is 0 when `late` is false in the store. */
struct item {
    bool late;
    bool override;    /* then late, too */
    bool commutative; /* no stream version; late: its context does not let its type be accepted anywhere */
    uint8_t event_id[ENTRY_ID_SIZE];
    hlc time;
    uint64_t fingerprint;
    uint64_t stream_version;
    uint64_t epoch;
    struct bytes context;
    struct bytes partition;
    struct bytes stream;
    struct bytes type;
    struct bytes causation_id;
};

struct decision_record {
    enum settlement settlement;
    uint8_t event_id[ENTRY_ID_SIZE]; /* of the late event */
    uint64_t epoch;                  /* … and of the decision's own entry: */
    hlc time;
    struct bytes context;
    struct bytes partition;
};

/* An entry with a causation id that waits for its compensation. */
struct caused_record {
    uint64_t epoch;
    struct bytes context;
    struct bytes partition;
};

struct queued_record {
    uint8_t event_id[ENTRY_ID_SIZE];
    hlc time;
    uint64_t size_bytes;
    uint64_t event_count;
    struct bytes context;
    struct bytes partition;
};

/* On a queued command. */
struct verdict_record {
    int code;                        /* 0: accepted */
    uint8_t event_id[ENTRY_ID_SIZE]; /* of the command */
    uint64_t epoch;                  /* … and of the verdict's own entry: */
    hlc time;
    struct bytes context;
    struct bytes partition;
};

struct authority_event_record {
    enum control_kind kind;
    uint64_t epoch;
    hlc time;
    struct bytes context;
    struct bytes partition;
    struct bytes payload;
};

struct item item_of(const struct index_entry *entry, bool late);

int event_encode(const uint8_t id[ENTRY_ID_SIZE], const struct event_record *event, struct buf *out) MUST_USE;
bool event_decode(const uint8_t id[ENTRY_ID_SIZE], struct bytes in, struct event_record *ret);
int head_encode(const struct head_record *head, struct buf *out) MUST_USE;
bool head_decode(struct bytes in, struct head_record *ret);
/* Returns the size. */
size_t version_encode(const struct version_record *version, uint8_t out[VERSION_RECORD_MAX_BYTES]);
/* Takes one from the front. */
bool version_take(struct bytes *in, struct version_record *ret);
int item_encode(const struct item *item, struct buf *out) MUST_USE;
bool item_decode(struct bytes in, struct item *ret);
int decision_encode(const struct decision_record *decision, struct buf *out) MUST_USE;
bool decision_decode(struct bytes in, struct decision_record *ret);
int caused_encode(const struct caused_record *caused, struct buf *out) MUST_USE;
bool caused_decode(struct bytes in, struct caused_record *ret);
int queued_encode(const struct queued_record *queued, struct buf *out) MUST_USE;
bool queued_decode(struct bytes in, struct queued_record *ret);
int verdict_encode(const struct verdict_record *verdict, struct buf *out) MUST_USE;
bool verdict_decode(struct bytes in, struct verdict_record *ret);
int authority_encode(const struct authority_event_record *event, struct buf *out) MUST_USE;
bool authority_decode(struct bytes in, struct authority_event_record *ret);

#endif
