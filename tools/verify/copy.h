/* A copy of a log as a tree that can be asked: a folder of segments, or a log in tlog-tiles layout, in a folder or on a
 * server. What compare and consistency need, the same for both.
 *
 * A folder's tree is made from its entries, all of which were checked. A tlog's hashes are claims; copy_root_at and
 * copy_leaf_at only give what leads to the root that the checkpoint signs. */
#ifndef VERIFY_COPY_H
#define VERIFY_COPY_H

#include "verify/tile_source.h"
#include "verify/verify.h"

enum { COPY_SUBTREES_MAX = SAMPLER_ROOTS_MAX, COPY_FILE_BYTES = TILE_PATH_MAX_BYTES };

struct copy {
    const struct demands *demands;
    struct log_report report;
    struct sha256 *sha;
    struct tile_source *tiles; /* of a tlog */
    uint64_t size;
    bool usable; /* read through, or a checkpoint was found */
};

/* Opens, and verifies what can be: a folder wholly, of a tlog the checkpoint. Findings are in copy->report. *copy is
 * all zeros before; copy_close in any case. ERR_NO_MEMORY. */
int copy_open(const struct demands *demands, const char *path, struct copy *copy, struct err *err) MUST_USE;
void copy_close(struct copy *copy);

/* The root of the first `size` entries, at most copy->size. ERR_CORRUPT when a tlog's tiles do not lead to the signed
 * root; errors of reading. */
int copy_root_at(struct copy *copy, uint64_t size, struct hash *ret, struct err *err) MUST_USE;
/* The leaf hash of one entry; same errors. */
int copy_leaf_at(struct copy *copy, uint64_t index, struct hash *ret, struct err *err) MUST_USE;
/* The lowest height at which copy_subtrees is served from memory. */
unsigned copy_height(const struct copy *copy);
/* The roots of the subtrees first, first + 1, … among those of this height, at most COPY_SUBTREES_MAX, all of them
 * whole within copy->size. Of a tlog these are claims. */
int copy_subtrees(struct copy *copy, unsigned height, uint64_t first, size_t count, struct hash *ret,
                  struct err *err) MUST_USE;

/* Where an entry is: of a folder the segment and its block's offset, of a tlog the tile of level 0 and the hash's. file
 * holds COPY_FILE_BYTES; "" when it cannot be told. */
void copy_where(const struct copy *copy, uint64_t index, char *file, uint64_t *ret_offset);

#endif
