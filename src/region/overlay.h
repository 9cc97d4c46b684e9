/* What the index does not show yet: ids, and heads of streams, of entries that were accepted or received but not
 * applied to the index. Without it an id could be taken twice in the moments between. Private to src/region. One
 * thread.
 *
 * Entries leave a while after the index has them (overlay_grace_us), not at once: a command's look-ups were made some
 * time before the command is decided, and stay valid as long as nothing has left since. evicted_sequence says up to
 * which index sequence things have left: look-ups made at or after it are valid. */
#ifndef REGION_OVERLAY_H
#define REGION_OVERLAY_H

#include "base/queue.h"
#include "index/keys.h"
#include "region/region.h"

enum { OVERLAY_GRACE_US = 200 * 1000, OVERLAY_INDEXED_MAX = 1024 };

/* The chains of hash tables that an item may be in. */
enum overlay_table_kind {
    OVERLAY_IDS,   /* the first item with some id that has an effect, or else the first */
    OVERLAY_HEADS, /* the latest item of some stream */
    OVERLAY_TABLES,
};

/* What an entry does to its id and its stream, for this region. */
enum overlay_effect {
    OVERLAY_MOVES_HEAD,    /* takes its id, and is the latest of its stream; own log only */
    OVERLAY_TAKES_ID,      /* of another log, or of the own one outside of streams */
    OVERLAY_WITHOUT_EFFECT /* an override, or an entry that came too late: others may have its id with effect, and it is
                              known all the same */
};

struct overlay_item {
    struct queue_link link; /* in its log's queue, by index */
    struct overlay_item *chained[OVERLAY_TABLES];
    uint64_t hash[OVERLAY_TABLES];
    bool found[OVERLAY_TABLES]; /* is in that table */
    uint64_t index;
    uint64_t stream_version;
    uint64_t fingerprint;
    uint64_t epoch;
    uint32_t log;
    bool without_effect;
    bool commutative;
    uint8_t id[ENTRY_ID_SIZE];
    uint16_t
        context_size; /* of another log: context and partition, so that it can be told whether it came too late … */
    uint16_t partition_size;
    uint16_t type_size;       /* … of a commutative event these and its type, … */
    uint16_t stream_key_size; /* … of the own log: the stream, 0 when it is not kept as a head */
    uint8_t bytes[];
};

/* The index applied `log` up to size, when its sequence was `sequence`. */
struct overlay_indexed {
    uint64_t time_us;
    uint64_t sequence;
    uint64_t size;
    uint32_t log;
};

/* Buckets of items that are chained through themselves: an item that leaves needs no look-up, and there is one place
 * less in memory to go to than with a map. */
struct overlay_table {
    struct overlay_item **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t item_count;
};

struct overlay {
    struct overlay_table tables[OVERLAY_TABLES];
    struct queue_link items[REGION_LOGS_MAX];
    size_t count;
    uint64_t evicted_sequence;
    const struct region_limits *limits;
    struct overlay_indexed indexed[OVERLAY_INDEXED_MAX]; /* ring */
    size_t indexed_first;
    size_t indexed_count;
};

/* limits outlive the overlay, with no field 0. */
void overlay_init(struct overlay *overlay, const struct region_limits *limits);
void overlay_free(struct overlay *overlay);

const struct overlay_item *overlay_id(const struct overlay *overlay, const uint8_t id[ENTRY_ID_SIZE]);
const struct overlay_item *overlay_head(const struct overlay *overlay, struct bytes context, struct bytes stream);
/* Says what is looked up and added next, at most OVERLAY_AHEAD_MAX at a time (index_ahead). */
enum { OVERLAY_AHEAD_MAX = 16 };
void overlay_ahead(const struct overlay *overlay, const struct index_asked *asked, size_t count);
/* Adds the next entry of a log. In the own log it takes the place of one in another with its id: that came too late, or
 * it would not have been accepted. ERR_NO_MEMORY, ERR_BUSY when unindexed_entries are there. */
int overlay_add(struct overlay *overlay, uint32_t log, const struct entry *entry, uint64_t fingerprint,
                enum overlay_effect effect) MUST_USE;
/* The same whatever is there: of a block that has room beyond the limit (pulls.c). ERR_NO_MEMORY. */
int overlay_add_beyond(struct overlay *overlay, uint32_t log, const struct entry *entry, uint64_t fingerprint,
                       enum overlay_effect effect) MUST_USE;
/* Whether entries of a log are there. */
bool overlay_holds(const struct overlay *overlay, uint32_t log);
/* Takes entries of a log off the end again, down to index, which goes too. Heads and ids go back to whose they were. */
void overlay_undo(struct overlay *overlay, uint32_t log, uint64_t index);
/* The index has applied `log` up to size. */
void overlay_indexed(struct overlay *overlay, uint32_t log, uint64_t size, uint64_t sequence, uint64_t now_us);
/* Lets go of everything that the index has, at once: look-ups made before are made again. */
void overlay_evict_indexed(struct overlay *overlay);
/* Lets go of what has been in the index for long enough. */
void overlay_evict(struct overlay *overlay, uint64_t now_us);

#endif
