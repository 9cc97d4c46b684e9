/* Homes: which partitions this region may write, and how that changes. Private to src/region. One thread.
 *
 * The table of authority (domain/authority.h) as the region has applied it. A change in another log counts once its
 * entry is durable here and everything below its basis is (rule 2); a change in the own log counts from the moment it
 * is made: a partition that was let go accepts nothing more, and what is accepted after a taking follows it in the log.
 *
 * Whoever becomes the home decides by its index, so it takes only what its index has applied: the basis that it writes
 * is the index's position, and the overlay is emptied of what is indexed, so that no late entry's stream head or id
 * is left in it. Until the index has applied the change itself, it may still show what the change makes late, so the
 * region decides nothing about the partition before that. Contexts that are created while the system runs are alike: no
 * event of one is accepted, as its home or away from it, while the index lacks a change by which contexts came or went,
 * and which this region has applied. So none is in the block of the creation, which no peer could take: a peer knows
 * who may hold what an event says once it has the creation stored (pulls.c). */
#ifndef REGION_HOMES_H
#define REGION_HOMES_H

#include "base/queue.h"
#include "domain/authority.h"
#include "log/block.h"
#include "region/overlay.h"
#include "region/region.h"

struct homes {
    struct authority_table authority;
    struct queue_link changes[REGION_LOGS_MAX]; /* received, not applied: struct homes_change, by index */
    size_t change_count;
    size_t log_change_count[REGION_LOGS_MAX];
    struct queue_link takes; /* released to this region, to be taken: struct homes_take */
    size_t take_count;
    uint64_t own_end;                    /* past the last change in the own log, or further */
    uint64_t governed[REGION_LOGS_MAX];  /* past the last applied change of a log by which contexts came or went */
    uint64_t continued[REGION_LOGS_MAX]; /* past the entry of a log that says what it continues, once that is applied */
};

struct region_log;

void homes_init(struct homes *homes, const struct context_table *contexts);
void homes_free(struct homes *homes);
/* What the index has applied, at the start: the index reflects every log entirely. */
int homes_load(struct region *region, struct err *err) MUST_USE;

/* Decides whether a write may be accepted here: 0 and the epoch, or the refusal. */
int homes_decide(struct region *region, const struct region_stream_write *write, uint64_t *ret_epoch,
                 struct region_refusal *refusal) MUST_USE;
/* Whether events of the context may be accepted yet, by its home or anybody: ERR_UNAVAILABLE while the index does not
 * show its creation. */
int homes_check_created(const struct region *region, struct bytes name, struct err *err) MUST_USE;
/* Whether the log (as the index numbers it) is of a region that is, or was, the home of the write's partition: only
 * then can it hold the stream's head. */
bool homes_wrote(const struct region *region, const struct region_stream_write *write, uint32_t index_log);

/* An entry of another log passed its checks, or one was appended to the own log: kept if it is an authority event.
 * ERR_BUSY past REGION_CHANGES_PENDING_MAX, ERR_NO_MEMORY. A malformed one raises an alarm and is ignored, in every
 * region alike. */
int homes_received(struct region *region, uint32_t log, const struct chain_entry *entry) MUST_USE;
/* Entries of a log from index on were not taken after all. */
void homes_undo(struct region *region, uint32_t log, uint64_t index);
/* The index has applied more of a log; before its indexed size moves. */
void homes_indexed(struct region *region, uint32_t log);
/* Sizes of all logs: durable, or as the index has them. */
struct position homes_position(const struct region *region, bool indexed);
/* After something became durable or indexed: applies what can be applied, takes what can be taken. */
void homes_move(struct region *region, struct region_update *update);
/* Whether a change that waits rests on entries of this log. */
bool homes_await(const struct region *region, const struct origin *origin);
/* The place of the first change of a log that was received and is not applied; there is one. */
uint64_t homes_first_change(const struct region *region, uint32_t log);
/* Whether an entry received now is late by what this region has applied, or has no effect for another reason. */
bool homes_late(const struct region *region, uint32_t log, const struct entry *entry);

/* The same of one that was received and is not indexed. */
bool homes_late_item(const struct region *region, const struct overlay_item *item);

/* What a log waits for: its entry `index` is a change of homes that rests on `size` entries of another log, of which
 * `have` are here. False: it waits for nothing but the disk. */
struct homes_wait {
    uint64_t index;
    char region[POSITION_REGION_MAX_BYTES + 1];
    uint64_t incarnation;
    uint64_t size;
    uint64_t have;
};
bool homes_waits(const struct region *region, uint32_t log, struct homes_wait *ret);
/* Entries, and changes of homes, that are held in memory behind such a wait, over all logs. */
void homes_held_up(const struct region *region, size_t *ret_entries, size_t *ret_changes);
/* Whether a failover from `from` is about this partition: it is the home, or the region that it was let go to. */
bool homes_lost_with(const struct authority_now *now, const char *from);

/* Whether the index has applied all that made this region a home, and its earlier logs: only then is its position one
 * that a seizure from itself may rest on. */
bool homes_are_indexed(const struct region *region);
/* For control.c and handover.c. Appends one authority event to the own log, after sequencer_control_room. */
int homes_append(struct region *region, enum control_kind kind, struct bytes context, struct bytes partition,
                 uint64_t epoch, const struct control_authority *change, struct err *err) MUST_USE;
/* Puts what can be applied to the table; what was appended, too. */
void homes_apply(struct region *region, struct region_update *update);
/* Whether a region may hold the context's payloads, without which it does not become the home (rule 5 of the design);
 * the refusal. */
bool homes_may_own(const struct region *region, const char *name, struct bytes context);
int homes_refuse_residency(const char *name, struct bytes context, struct err *err);
/* The largest epoch that a change of the context begins that was received and waits for what it rests on. */
uint64_t homes_waiting_epoch(const struct region *region, struct bytes context);
/* Place among the peers; peer_count: none. */
size_t homes_peer_named(const struct region *region, const char *name);
/* How much of a name an error message shows. */
enum { HOMES_NAME_SHOWN_MAX = 100 };
int homes_shown(struct bytes name);

#endif
