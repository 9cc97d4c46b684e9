/* A picture of a tree in constant memory: the roots of all its perfect subtrees of one height, which grows with the
 * tree. Two copies of a log are compared by such pictures. */
#ifndef VERIFY_SAMPLER_H
#define VERIFY_SAMPLER_H

#include <stdint.h>

#include "crypto/merkle.h"

enum { SAMPLER_HEIGHT_MIN = 8, SAMPLER_ROOTS_MAX = 8192 };

struct sampler {
    struct sha256 *sha; /* owned */
    unsigned height;
    size_t count;
    struct hash *roots;       /* owned; of subtrees of 2^height leaves, from leaf 0 */
    struct merkle_range part; /* of the one that grows */
};

/* ERR_NO_MEMORY. */
int sampler_init(struct sampler *sampler, struct err *err) MUST_USE;
void sampler_free(struct sampler *sampler);
/* The next subtree; height at most SAMPLER_HEIGHT_MIN. */
void sampler_add(struct sampler *sampler, unsigned height, const struct hash *root);

#endif
