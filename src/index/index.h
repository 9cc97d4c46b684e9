/* The index: everything that is derived from the logs and must be found fast. It is never the truth: it may be behind,
 * damaged or deleted, and is then brought up by replaying the logs from its own position.
 *
 * Two stores stand behind this contract and pass one conformance suite: RocksDB (files, without a write-ahead log of
 * its own, flushed atomically with the position it reflects) and memory (tests and the simulator).
 *
 * What it answers is a pure function of the contexts and of which entries are applied, whatever the order in which the
 * logs were interleaved. With the authority that follows from the applied control events (domain/authority.h), each
 * client entry is either EFFECTIVE or LATE, and
 *   - per stream key (context, stream): for each version the effective entry that has it (of several, which takes a
 *     stream in partitions with different homes, the one with the smallest (time, origin)); the head is the highest;
 *   - per event id: the place and the fingerprint of the effective entry with that id; of several, the smallest
 *     (time, origin); when all are late, the smallest of those, marked late;
 *     An override (ENTRY_FLAG_OVERRIDE) is never effective: it is treated as late, whoever is the home. A commutative
 *     event (ENTRY_FLAG_COMMUTATIVE) is effective, wherever it was accepted, if the contexts let it be; else it is
 *     treated as late. It has no version;
 *   - ITEMS of reconciliation: every late entry, and every effective entry whose id has its place elsewhere (a
 * duplicate: it keeps its version in its stream), each with a state that follows from the decisions applied. Control
 * entries are found by their id, never by stream, and are never late. Decisions ($LateSettled) count unless they are
 * late themselves.
 *   - the QUEUE: every command that a region took for another home ($CommandQueued), open until a verdict on it
 *     ($CommandAccepted, $CommandRefused) counts: one that is not late.
 *
 * Order (rule 2 of domain/authority.h). Entries of one log are applied in order; logs interleave freely, but an entry
 * that begins an epoch, or a new log, waits for its basis (index_ready). One that begins an epoch stands in a call with
 * its like, one that begins a log, or defines a context, in a call of its own; all are announced before: the caller
 * hands what becomes late by them to index_demote. reconcile/applier.h does all this; nobody else applies.
 *
 * Threads: one thread applies and demotes; any number look up, concurrently. A look-up sees every apply that returned
 * before it began. */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "domain/authority.h"
#include "entry/entry.h"

enum {
    INDEX_LOGS_MAX = 64,
    INDEX_ORIGIN_MAX_BYTES = 255,
    INDEX_SCAN_MAX = 4096,      /* places a scan returns at once */
    INDEX_LATE_SCAN_MAX = 256,  /* items a scan returns at once */
    INDEX_QUEUE_SCAN_MAX = 256, /* queued commands a scan returns at once */
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
    bool late;               /* no effective entry has this id */
    bool commutative;        /* without a version */
};

/* One entry to apply. Borrowed during the call. */
struct index_entry {
    const struct entry *entry;
    uint64_t fingerprint;
    struct bytes payload; /* looked at for control entries only */
};

/* What became of an item. A decision counts when it names the item's place and id, was made in the item's context and
 * partition, and is not late itself; of several, the first in (epoch, time, origin) order. */
enum index_late_state {
    INDEX_LATE_OPEN,              /* nobody decided, and no effective event has its id */
    INDEX_LATE_DUPLICATE,         /* nobody decided, and nobody has to: `effective` has its id */
    INDEX_LATE_ACCEPTED,          /* appended again */
    INDEX_LATE_DROPPED,           /* a repetition, by decision */
    INDEX_LATE_REJECTED,          /* without effect, by decision */
    INDEX_LATE_COMPENSATION_OWED, /* to be compensated, and not yet compensated */
    INDEX_LATE_COMPENSATED,       /* after the decision, `compensation` was appended: an effective entry of the same
                                     context and partition with the item's id as its causation id */
};

/* An item. The names and the epoch are known for late entries; for a duplicate that is effective they are empty and 0
 * (the entry itself has them). Plain data. */
struct index_late {
    struct index_place place;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    bool late;        /* false: an effective entry whose id has its place elsewhere */
    bool override;    /* with late: not overtaken, but accepted away from home as an emergency */
    bool commutative; /* without a version; with late: the contexts do not let its type be accepted anywhere, or not yet
                       */
    uint8_t event_id[ENTRY_ID_SIZE];
    hlc time;
    uint64_t fingerprint;    /* 0 when unknown */
    uint64_t stream_version; /* as the entry has it */
    uint64_t epoch;
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char partition[ENTRY_NAME_MAX_BYTES + 1];
    char stream[ENTRY_STREAM_MAX_BYTES + 1];
    char type[ENTRY_NAME_MAX_BYTES + 1];
    enum index_late_state state;
    bool has_effective; /* an effective entry has the item's id … */
    struct index_place effective;
    bool decided; /* a decision counts … */
    struct index_place decision;
    struct index_place compensation; /* INDEX_LATE_COMPENSATED only */
};

enum index_queued_state {
    INDEX_QUEUED_OPEN, /* no verdict counts: the home has to decide */
    INDEX_QUEUED_ACCEPTED,
    INDEX_QUEUED_REFUSED,
};

/* A command that was taken for another home. A verdict counts when it names the command's place and id, was made in
 * its context and partition, and is not late itself; of several, the first in (epoch, time, origin) order. Plain data.
 */
struct index_queued {
    struct index_place place;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    uint8_t event_id[ENTRY_ID_SIZE];
    hlc time;
    uint64_t size_bytes; /* of its payload */
    uint64_t event_count;
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char partition[ENTRY_NAME_MAX_BYTES + 1];
    enum index_queued_state state;
    struct index_place decision; /* unless it is open */
    int code;                    /* why it is refused */
};

/* Where a scan of items, or of queued commands, goes on: after this place. Zeroed: at the start. */
struct index_late_cursor {
    bool started;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    uint64_t index;
};

struct index;

/* Opens or creates the RocksDB folder. contexts outlives the index. ERR_LOCKED, ERR_CORRUPT (also: another format, or
 * made with other contexts; it is rebuilt by replay), ERR_IO. */
int index_rocksdb_open(const char *folder, const struct context_table *contexts, struct index **ret,
                       struct err *err) MUST_USE;
/* NULL when memory runs out. contexts outlives the index. */
struct index *index_memory_new(const struct context_table *contexts);
/* Sizes of the index's own, which the server leaves as they are and the simulator makes tiny. 0: as usual, which is
 * also the most. Before anything is applied. */
struct index_limits {
    size_t restored; /* entries that are made effective again as one */
};
void index_limit(struct index *index, const struct index_limits *limits);
/* Flushes what it can; never fails. NULL is fine. */
void index_close(struct index *index);

/* The number of an origin, given out on first use and kept for the life of the index (for RocksDB: on disk).
 * ERR_TOO_LARGE past INDEX_LOGS_MAX. Any thread. */
int index_log(struct index *index, struct bytes origin, uint32_t *ret_log, struct err *err) MUST_USE;
/* The inverse. ERR_NOT_FOUND. Any thread. */
int index_origin(struct index *index, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err) MUST_USE;
/* Entries of that log applied so far; 0 for a number never given out. Any thread. */
uint64_t index_applied_size(struct index *index, uint32_t log);
/* Counts changes over all logs since the index was opened: entries applied, demoted and restored. A look-up made after
 * reading sequence s saw everything up to s. */
uint64_t index_sequence(struct index *index);

/* Whether the next entry of the log may be applied now: false for one that rests on what is not applied yet, unless a
 * later life of its region has left it behind. One that is malformed is ready: it will be ignored. Applying thread. */
bool index_ready(struct index *index, uint32_t log, const struct index_entry *entry);

/* Applies the next `count` entries of one log; entries[0].entry->index must be the applied size, they follow each
 * other; if the first begins an epoch, all do and are ready; another one that stands alone (control_stands_alone) is
 * alone (all asserted). ERR_IO, ERR_NO_SPACE, ERR_NO_MEMORY, ERR_CORRUPT; then nothing was applied, except that after
 * entries that stand alone, which may restore entries that are late no more, the index must be closed. */
int index_apply(struct index *index, uint32_t log, const struct index_entry *entries, size_t count,
                struct err *err) MUST_USE;
/* Makes late what was effective: entries of one log below its applied size, in any order, which are late under the
 * change that the caller applies next. What is late already, and control entries, are skipped, so that it can be done
 * again after a crash. All or nothing; errors of index_apply. Applying thread. */
int index_demote(struct index *index, uint32_t log, const struct index_entry *entries, size_t count,
                 struct err *err) MUST_USE;
/* Makes everything applied so far survive a crash (a performance matter only: what is lost is replayed). */
int index_flush(struct index *index, struct err *err) MUST_USE;

/* ERR_NOT_FOUND when the stream has no events: no failure, so *err is left alone, as it is by index_event. */
int index_head(struct index *index, struct bytes context, struct bytes stream, struct index_head *ret,
               struct err *err) MUST_USE;
/* ERR_NOT_FOUND when the id was never seen: the common answer, and a cheap one. */
int index_event(struct index *index, const uint8_t id[ENTRY_ID_SIZE], struct index_event *ret,
                struct err *err) MUST_USE;
/* Says what is looked up next, so that the memory of all of it is fetched together and not waited for one by one: a
 * matter of speed alone. Pays for some ten or more; of hundreds the first have left the cache again when they are
 * wanted. Any thread. */
struct index_asked {
    struct bytes context;
    struct bytes stream; /* empty: no stream is asked for */
    const uint8_t *id;   /* NULL: no id is */
};
void index_ahead(struct index *index, const struct index_asked *asked, size_t count);
/* Places of a stream's events from from_version on, upwards, or downwards when backwards (from_version UINT64_MAX: from
 * the last). At most max (1..INDEX_SCAN_MAX); *ret_count 0 when there are none. */
int index_scan(struct index *index, struct bytes context, struct bytes stream, uint64_t from_version, bool backwards,
               struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err) MUST_USE;

/* Applies every authority event that the index has applied to the caller's table, for one that starts. Any thread.
 * Errors of authority_apply. */
int index_authority(struct index *index, struct authority_table *into, struct err *err) MUST_USE;

/* The contexts that follow from what is applied: see context.h for what may be read meanwhile. Lives as long as the
 * index. Any thread. */
const struct context_table *index_contexts(const struct index *index);

/* Items after the cursor, in (origin, index) order, with their states, as of one moment; moves the cursor. At most max
 * (1..INDEX_LATE_SCAN_MAX); *ret_count 0 at the end. Any thread. */
int index_late_scan(struct index *index, struct index_late_cursor *cursor, struct index_late *ret_items, size_t max,
                    size_t *ret_count, struct err *err) MUST_USE;
/* Entries of a stream that have no version: its overrides and commutative events, with effect or without
 * (index_late_at tells), in (time, origin, index) order. At most max (1..INDEX_SCAN_MAX) from the place after *cursor
 * on; moves it. *ret_count 0 at the end. Any thread. */
struct index_loose_cursor {
    bool started;
    hlc time;
    struct index_place place;
};
int index_loose(struct index *index, struct bytes context, struct bytes stream, struct index_loose_cursor *cursor,
                struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err) MUST_USE;
/* "late", "override" or "duplicate". */
const char *index_late_kind_name(const struct index_late *item);
/* The item of one place. ERR_NOT_FOUND: the entry there is no item (or not applied). Any thread. */
int index_late_at(struct index *index, struct index_place place, struct index_late *ret, struct err *err) MUST_USE;
/* Visits every key and value that the index holds, in the order of keys, as of one moment: for audits of what it keeps
 * (README.md has the layout). Heads and ids that were applied since the index was opened are only visited once
 * index_flush has put them into files. What `each` returns, if not 0, ends the walk; all but ERR_END is returned. Any
 * thread. */
typedef int index_record_fn(void *context, struct bytes key, struct bytes value, struct err *err);
int index_records(struct index *index, index_record_fn *each, void *context, struct err *err) MUST_USE;
/* Items now. Cheap. Any thread. */
uint64_t index_late_count(struct index *index);
/* "open", "duplicate", "accepted", "dropped", "rejected", "compensation owed", "compensated". */
const char *index_late_state_name(enum index_late_state state);
/* SHA-256 over all items and their states in (origin, index) order, as of one moment: equal in every region at equal
 * position. Fingerprints are left out, since a region may not hold the payload. Any thread. */
int index_late_digest(struct index *index, struct sha256 *sha, struct hash *ret, struct err *err) MUST_USE;

/* Queued commands after the cursor, all or the open ones, in (origin, index) order, as of one moment; moves the cursor.
 * At most max (1..INDEX_QUEUE_SCAN_MAX); *ret_count 0 at the end. Any thread. */
int index_queue_scan(struct index *index, struct index_late_cursor *cursor, bool open_only, struct index_queued *ret,
                     size_t max, size_t *ret_count, struct err *err) MUST_USE;
/* The queued command of one place. ERR_NOT_FOUND: the entry there is none (or not applied). Any thread. */
int index_queue_at(struct index *index, struct index_place place, struct index_queued *ret, struct err *err) MUST_USE;
/* The first open command of a partition with from.index <= index < end in from's log. ERR_NOT_FOUND. Any thread. */
int index_queue_first(struct index *index, struct bytes context, struct bytes partition, struct index_place from,
                      uint64_t end, uint64_t *ret_index, struct err *err) MUST_USE;
/* Open commands in one log, and the bytes of their payloads. Cheap. Any thread. */
struct index_queue_size {
    uint64_t count;
    uint64_t bytes;
};
struct index_queue_size index_queue_open(struct index *index, uint32_t log);
/* "queued", "accepted", "refused". */
const char *index_queued_state_name(enum index_queued_state state);

#endif
