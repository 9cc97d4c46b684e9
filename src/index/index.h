/* The index: everything that is derived from the logs and must be found fast. It is never the truth: it may be behind,
 * damaged or deleted, and is then brought up by replaying the logs from its own position.
 *
 * Two implementations keep this contract and pass one conformance suite: index_rocksdb (files, without a write-ahead
 * log of its own, flushed atomically with the position it reflects) and index_memory (tests and the simulator).
 *
 * What it holds, per stream key (context, stream): the head, and for each version where the event is; per event id:
 * where it is, and the fingerprint of its content; per log: how many of its entries are applied. Entries of one log are
 * applied in order; logs interleave freely.
 *
 * Threads: one thread applies; any number look up, concurrently. A look-up sees every apply that returned before it
 * began. */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "entry/entry.h"

enum {
    INDEX_LOGS_MAX = 64,
    INDEX_ORIGIN_MAX_BYTES = 255,
    INDEX_SCAN_MAX = 4096, /* places a scan returns at once */
};

/* Where an event is. log is the number that index_log gave for its origin. */
struct index_place {
    uint32_t log;
    uint64_t index;
};

struct index_head {
    uint64_t version; /* of the last event */
    struct index_place place;
};

struct index_event {
    struct index_place place;
    uint64_t fingerprint;    /* entry_fingerprint, 0 when unknown */
    uint64_t stream_version; /* as the entry has it */
};

/* One entry to apply. Borrowed during the call. */
struct index_entry {
    const struct entry *entry;
    uint64_t fingerprint;
};

struct index;

struct index_ops {
    int (*log)(struct index *index, struct bytes origin, uint32_t *ret_log, struct err *err);
    int (*origin)(struct index *index, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err);
    uint64_t (*applied_size)(struct index *index, uint32_t log);
    uint64_t (*sequence)(struct index *index);
    int (*apply)(struct index *index, uint32_t log, const struct index_entry *entries, size_t count, struct err *err);
    int (*flush)(struct index *index, struct err *err);
    int (*head)(struct index *index, struct bytes context, struct bytes stream, struct index_head *ret,
                struct err *err);
    int (*event)(struct index *index, const uint8_t id[ENTRY_ID_SIZE], struct index_event *ret, struct err *err);
    int (*scan)(struct index *index, struct bytes context, struct bytes stream, uint64_t from_version, bool backwards,
                struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err);
    void (*close)(struct index *index);
};

struct index {
    const struct index_ops *ops;
};

/* Opens or creates the RocksDB folder. ERR_LOCKED, ERR_CORRUPT (it is rebuilt by replay),
 * ERR_IO. */
int index_rocksdb_open(const char *folder, struct index **ret, struct err *err) MUST_USE;
/* NULL when memory runs out. */
struct index *index_memory_new(void);
/* Flushes what it can; never fails. NULL is fine. */
void index_close(struct index *index);

/* The number of an origin, given out on first use and kept for the life of the index (for RocksDB: on disk).
 * ERR_TOO_LARGE past INDEX_LOGS_MAX. Any thread. */
int index_log(struct index *index, struct bytes origin, uint32_t *ret_log, struct err *err) MUST_USE;
/* The inverse. ERR_NOT_FOUND. Any thread. */
int index_origin(struct index *index, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err) MUST_USE;
/* Entries of that log applied so far; 0 for a number never given out. Any thread. */
uint64_t index_applied_size(struct index *index, uint32_t log);
/* Counts applied entries over all logs since the index was opened. A look-up made after reading sequence s saw
 * everything up to s. */
uint64_t index_sequence(struct index *index);

/* Applies the next `count` entries of one log; entries[0].entry->index must be the applied size (asserted), and they
 * follow each other. All or nothing. A stream head only moves to a higher version; an event id that is there already
 * keeps its first place. Control entries are indexed like others. ERR_IO, ERR_NO_SPACE, ERR_NO_MEMORY. */
int index_apply(struct index *index, uint32_t log, const struct index_entry *entries, size_t count,
                struct err *err) MUST_USE;
/* Makes everything applied so far survive a crash (a performance matter only: what is lost is replayed). */
int index_flush(struct index *index, struct err *err) MUST_USE;

/* ERR_NOT_FOUND when the stream has no events. */
int index_head(struct index *index, struct bytes context, struct bytes stream, struct index_head *ret,
               struct err *err) MUST_USE;
/* ERR_NOT_FOUND when the id was never seen: the common answer, and a cheap one. */
int index_event(struct index *index, const uint8_t id[ENTRY_ID_SIZE], struct index_event *ret,
                struct err *err) MUST_USE;
/* Places of a stream's events from from_version on, upwards, or downwards when backwards (from_version UINT64_MAX: from
 * the last). At most max (1..INDEX_SCAN_MAX); *ret_count 0 when there are none. */
int index_scan(struct index *index, struct bytes context, struct bytes stream, uint64_t from_version, bool backwards,
               struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err) MUST_USE;

#endif
