/* A log as a replica follows it: where its chain stands, and the roots at the block boundaries that it passed, so that
 * a signed checkpoint at one of them can be checked without reading the log. Used for the region's own log too, which
 * it follows as it writes. Pure: no I/O, no time. One thread. */
#ifndef REPLICATION_MIRROR_H
#define REPLICATION_MIRROR_H

#include "log/block.h"

enum { MIRROR_BOUNDARIES_MAX = 8192 };

struct mirror_boundary {
    uint64_t size;
    struct hash root;
};

struct mirror {
    struct chain chain;
    struct mirror_boundary *boundaries; /* ring, ascending sizes */
    size_t boundary_max;
    size_t boundary_first;
    size_t boundary_count;
};

/* Starts where `chain` stands, which counts as a boundary. boundary_max is how many are remembered, at most
 * MIRROR_BOUNDARIES_MAX. ERR_NO_MEMORY. */
int mirror_init(struct mirror *mirror, const struct chain *chain, size_t boundary_max, struct sha256 *sha,
                struct err *err) MUST_USE;
void mirror_free(struct mirror *mirror);

/* Entries that the chain has passed. */
static inline uint64_t mirror_size(const struct mirror *mirror)
{
    return mirror->chain.range.size;
}

/* Checks a block that must start where the mirror stands, and moves past it: header, log id, every entry
 * (chain_check_block, which see for `each`). ERR_CORRUPT, with the index at fault in the message; then nothing has
 * moved. */
int mirror_check_block(struct mirror *mirror, struct sha256 *sha, const struct block *block, chain_entry_fn *each,
                       void *context, struct err *err) MUST_USE;
/* Remembers that a block ends where the chain stands now (for the writer of the log, who moves the chain itself). */
void mirror_mark_boundary(struct mirror *mirror, struct sha256 *sha);
/* The root at a size, if that was a boundary and is still remembered. */
bool mirror_root(const struct mirror *mirror, uint64_t size, struct hash *ret);

#endif
