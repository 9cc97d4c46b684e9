/* What the files of src/index share. Private. */
#ifndef INDEX_INDEX_INTERNAL_H
#define INDEX_INDEX_INTERNAL_H

#include "base/arena.h"
#include "index/logs.h"
#include "index/records.h"
#include "index/store.h"
#include "index/store_keys.h"

/* Locks are taken in this order: table_lock, then the store's own (a view in memory holds one).
 *
 * The applying thread changes the table under the write lock and reads it without; others read under the read lock. */
enum { INDEX_RESTORED_MAX = 256 };

struct index {
    struct store *store;
    struct logs logs;
    pthread_rwlock_t table_lock;
    struct authority_table table; /* all authority events applied */
    atomic_uint_fast64_t item_count;
    size_t restored_max;   /* in a batch of index_restore: at most INDEX_RESTORED_MAX */
    uint64_t owed_count;   /* ids that some decision wants compensated. Applying thread */
    uint64_t queued_count; /* commands that were ever queued. Applying thread */
    struct open_count {
        atomic_uint_fast64_t count;
        atomic_uint_fast64_t bytes;
    } open[INDEX_LOGS_MAX]; /* queued commands that are open */
};

/* index.c */

/* "The index is damaged: …" */
int index_corrupt(struct index *index, const char *what, struct err *err);
/* ERR_CORRUPT for a place in a log that was never numbered. */
int index_check_place(struct index *index, struct index_place place, struct err *err) MUST_USE;
/* Reads a value into *value and tells whether it is there. */
int index_read(struct index *index, const struct store_view *view, struct bytes key, struct buf *value, bool *ret_found,
               struct err *err) MUST_USE;
int index_read_event(struct index *index, const struct store_view *view, const uint8_t id[ENTRY_ID_SIZE],
                     struct event_record *ret, bool *ret_found, struct err *err) MUST_USE;
/* The order that settles every contest: (time, origin), and in one log the index. */
bool index_precedes(struct index *index, hlc time_a, struct index_place a, hlc time_b, struct index_place b);

/* The ruling on one matter that counts, when several homes ruled: that of the smallest epoch, and of one epoch the one
 * that precedes. */
struct ruling {
    bool found;
    struct index_place place;
    uint64_t epoch;
    hlc time;
};

/* Whether the given one counts before those that were seen; then it is remembered. */
bool ruling_is_first(struct index *index, struct ruling *ruling, struct index_place place, uint64_t epoch, hlc time);

/* Whether an entry at this place is late by the table. */
bool index_is_late(struct index *index, struct index_place place, struct bytes context, struct bytes partition,
                   uint64_t epoch);

/* The log after `origin` in the order of origins (the first when it is NULL); the number of logs when there is none. */
uint32_t index_next_log(struct index *index, const char *origin);

/* ahead.c */

/* Says that these entries are applied next (store_ahead). */
void index_ahead_of_entries(struct index *index, const struct index_entry *entries, size_t count);

/* change.c: one batch of changes. */

struct change {
    struct index *index;
    struct store_view *view; /* sees the batch */
    struct buf value;        /* what is about to be written */
    struct buf found;        /* what was read last */
    int64_t items_added;
    int64_t owed_added;
    int64_t queued_added;
    struct open_change {
        int64_t count;
        int64_t bytes;
    } open[INDEX_LOGS_MAX];
};

/* After begin exactly one of commit and abort. commit publishes the counts, too. */
int change_begin(struct change *change, struct index *index, struct err *err) MUST_USE;
int change_commit(struct change *change, struct err *err) MUST_USE;
void change_abort(struct change *change);

int change_put_meta(struct change *change, char kind, uint32_t number, uint64_t value, struct err *err) MUST_USE;
int change_remove_meta(struct change *change, char kind, uint32_t number, struct err *err) MUST_USE;

/* The canonical operations: after them the store holds what it would hold had the entry been of that kind from the
 * start, whatever was applied before and in between. */

/* Finds the entry by its id. */
int change_add_id(struct change *change, struct index_place place, const struct item *item, struct err *err) MUST_USE;
/* A client's entry that counts. */
int change_add_effective(struct change *change, struct index_place place, const struct item *item,
                         struct err *err) MUST_USE;
/* A client's entry that came too late. item->late. */
int change_add_late(struct change *change, struct index_place place, const struct item *item, struct err *err) MUST_USE;
/* From effective to late; nothing when it is late already. item->late. */
int change_demote(struct change *change, struct index_place place, const struct item *item, struct err *err) MUST_USE;
/* From late to effective. */
int change_restore(struct change *change, struct index_place place, const struct item *item, struct err *err) MUST_USE;

int change_add_decision(struct change *change, struct index_place place, const struct entry *entry,
                        const struct control_settled *settled, struct err *err) MUST_USE;
int change_add_authority(struct change *change, struct index_place place, const struct authority_event *event,
                         struct bytes payload, struct err *err) MUST_USE;

/* queue.c */

/* entry is $CommandQueued with a payload of so many bytes and events. */
int change_add_queued(struct change *change, struct index_place place, const struct entry *entry, size_t size_bytes,
                      size_t event_count, struct err *err) MUST_USE;
int change_add_verdict(struct change *change, struct index_place place, const struct entry *entry,
                       const struct control_decided *decided, struct err *err) MUST_USE;
/* After a change of authority: verdicts may be late now, or late no more. Some commands from *from on; *ret_end: these
 * were the last. */
int change_reconsider(struct change *change, struct key *from, bool *ret_end, struct err *err) MUST_USE;
/* What is open, at the start. */
int queue_load(struct index *index, struct err *err) MUST_USE;

/* apply.c */

/* Makes effective what is late no more: after a change, and at open when a crash came in between. */
int index_restore(struct index *index, struct err *err) MUST_USE;
#endif
