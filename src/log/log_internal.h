/* What the files of src/log share about struct log. Private.
 *
 * Locks: `mutex` guards the tail and the list of segments, and is held for moments only; `views_mutex` guards the views
 * of files, and may be held while headers are read. Order: views_mutex, then mutex. The writer takes only `mutex`. */
#ifndef LOG_LOG_INTERNAL_H
#define LOG_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "log/log.h"
#include "log/segment.h"

enum { LOG_VIEWS_MAX = 32, LOG_TAIL_BLOCKS_MAX = 65536 };

/* Where a block lies. */
struct block_place {
    uint64_t first_index;
    uint64_t offset;
    bool damaged; /* no block can be read here */
};

/* An open segment with the places of its blocks as far as they were looked at: filled on demand by reading headers. */
struct segment_view {
    uint64_t first_index;
    struct segment_walk walk;
    struct disk_file *file;
    struct block_place *places;
    size_t place_count;
    size_t place_capacity;
    uint64_t end_index; /* first index past the places */
    uint64_t last_used; /* for eviction */
    uint32_t pin_count; /* readers in its file right now */
};

struct log {
    struct disk *disk;
    char folder[DISK_PATH_MAX_BYTES];
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct log_options options;
    uint8_t log_id[ENTRY_LOG_ID_SIZE]; /* of the chain, for readers: the chain itself is the writer's */

    /* The writer's. */
    struct sha256 *sha;
    struct chain chain;
    struct disk_file *active;
    uint64_t active_first_index;
    uint64_t active_offset; /* where the next block goes */
    uint8_t *write_buffer;  /* blocks that are written together; NULL until it is needed */
    bool poisoned;

    atomic_uint_fast64_t durable_size;

    pthread_mutex_t mutex;
    uint64_t *segments; /* first indexes, ascending */
    size_t segment_count;
    size_t segment_capacity;
    struct block **tail; /* ring of the latest blocks, counted */
    size_t tail_first;
    size_t tail_count;
    uint64_t tail_bytes;

    struct scrub_finding damages[LOG_DAMAGES_MAX]; /* by mutex */
    size_t damage_count;

    pthread_mutex_t views_mutex;
    struct segment_view *views[LOG_VIEWS_MAX];
    uint64_t view_clock;
};

/* Creates the segment that starts where header->chain stands: under a temporary name first, so that a file named .seg
 * always has its header. */
int log_create_segment(struct disk *disk, const char *folder, const struct segment_header *header,
                       uint64_t segment_size_bytes, struct err *err) MUST_USE;
/* Finds the durable end: recovery.c. Sets chain, active, active_first_index, active_offset and segments. */
int log_recover(struct log *log, struct bytes expected_origin, struct log_recovery *ret, struct err *err) MUST_USE;
/* The size in the stored note, 0 when there is none. ERR_CORRUPT when it cannot be read as one. */
int log_stored_checkpoint_size(struct log *log, bool published, uint64_t *ret, struct err *err) MUST_USE;
int log_add_segment(struct log *log, uint64_t first_index) MUST_USE;
void log_close_views(struct log *log);

#endif
