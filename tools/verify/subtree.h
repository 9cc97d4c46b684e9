/* Cutting a run of leaves, wherever it starts, into perfect subtrees that are aligned in the tree: the largest that
 * fit, but not above a height, and none across a size at which the tree is wanted. */
#ifndef VERIFY_SUBTREE_H
#define VERIFY_SUBTREE_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/merkle.h"

struct subtree {
    unsigned height;
    struct hash root;
};

struct subtree_run {
    struct subtree *nodes; /* owned; in order */
    size_t count;
    size_t capacity;
    size_t piece;        /* nodes before this one are not merged any more */
    uint64_t next_index; /* of the leaf to come */
    unsigned height_max;
};

/* Starts at a leaf; memory of an earlier run is used again. Zeros are fine. */
void subtree_begin(struct subtree_run *run, uint64_t first_index, unsigned height_max);
void subtree_free(struct subtree_run *run);
/* No subtree spans the leaf to come and the one before. */
void subtree_cut(struct subtree_run *run);
/* The next leaf. ERR_NO_MEMORY. */
int subtree_add(struct subtree_run *run, struct sha256 *sha, const struct hash *leaf, struct err *err) MUST_USE;

#endif
