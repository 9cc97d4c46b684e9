/* Reading segments again, to find damage before somebody needs what is damaged; and finding where a segment is whole
 * again after a damaged place. Reads only; works beside a running server, on any folder. */
#ifndef LOG_SCRUB_H
#define LOG_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "log/block.h"
#include "platform/disk.h"

/* A damaged place: entries first_index to end_index - 1 cannot be vouched for. */
struct scrub_finding {
    uint64_t segment;    /* first index of the segment: its file's name */
    uint64_t offset;     /* where it begins in the file */
    uint64_t end_offset; /* where whole blocks follow again; 0: nowhere in this file */
    uint64_t first_index;
    uint64_t end_index; /* UINT64_MAX: to the end of the log, which the last segment alone cannot tell */
    char what[256];
};

/* A root that somebody signed, to be compared where its size is passed. */
struct scrub_goal {
    uint64_t size;
    struct hash root;
    bool compared;
    bool matches;
};

struct scrub {
    struct disk *disk;
    const char *folder;
    struct sha256 *sha;
    /* Each damaged place, in order. Not 0 stops with it. */
    int (*found)(void *context, const struct scrub_finding *finding, struct err *err);
    /* After each block: so many bytes were read. May wait, to bound the rate; not 0 stops with it. May be NULL. */
    int (*pace)(void *context, uint64_t bytes, struct err *err);
    void *context;
    struct scrub_goal *goals;
    size_t goal_count;
};

/* Reads the segment that starts at segments[number] of segment_count, hashes every entry and payload, and compares the
 * chain and the tree's roots with the header of the next segment. A torn tail of the last segment is not damage, and
 * what makes recovery refuse it is. *ret_chain (may be NULL) gets where the chain stands at the end; after damage its
 * tree is of no use. ERR_IO, ERR_NOT_FOUND (the file is gone), ERR_NO_MEMORY, or what a callback returned. Any thread;
 * sha is used. */
int scrub_segment(struct scrub *scrub, const uint64_t *segments, size_t segment_count, size_t number,
                  struct chain *ret_chain, struct err *err) MUST_USE;

#endif
