/* Settling late events at the home of their partition. Private to src/region. One thread.
 *
 * The queue of late events is the index's (index/index.h), and the index is behind: a decision that this region just
 * made does not show there yet. It is remembered here until it does, so that no item is decided twice. The same goes
 * for queued commands, which are decided by the same homes (elsewhere.h). */
#ifndef REGION_SETTLE_H
#define REGION_SETTLE_H

#include "base/map.h"
#include "base/queue.h"
#include "region/region.h"

enum { SETTLE_PENDING_MAX = 64 * 1024, SETTLE_KEY_BYTES = 4 + 8 };

/* A decision that is in the own log and not in the index. */
struct settle_pending {
    struct queue_link link;
    uint64_t own_index; /* of the decision */
    enum settlement settlement;
    uint8_t key[SETTLE_KEY_BYTES];
};

struct settles {
    struct map places;         /* of the item -> struct settle_pending */
    struct queue_link pending; /* in the order of the own log */
    uint64_t needed_size; /* of the own log, must be indexed: decisions below it are an earlier life's, not in here */
};

void settle_init(struct settles *settles);
void settle_free(struct settles *settles);

/* The region begins to accept: what its log holds now was not decided by this life of it. */
void settle_begin(struct region *region);
/* Decides all items of the command's settle, or none: 0 with command->ticket, settle->settled and what became of each
 * item, or the refusal, whose write_number is the item's. */
int settle_decide(struct region *region, struct region_command *command) MUST_USE;
/* The decision about what is at a place; NULL when there is none that the index does not show. */
const struct settle_pending *settle_pending_at(const struct region *region, struct index_place place);
/* A decision about what is at a place was appended as own_index. ERR_NO_MEMORY, ERR_TOO_LARGE. */
int settle_remember(struct region *region, struct index_place place, enum settlement settlement,
                    uint64_t own_index) MUST_USE;
/* Whether the decisions of an earlier life show in the index. ERR_BUSY. */
int settle_check_indexed(const struct region *region, struct err *err) MUST_USE;
/* Entries of the own log from index on were not appended after all. */
void settle_undo(struct region *region, uint64_t index);
/* The index has applied the own log up to size. */
void settle_indexed(struct region *region, uint64_t size);

#endif
