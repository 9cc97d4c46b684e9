/* The Merkle tree of RFC 6962 section 2.1 over SHA-256, and the verifiers of RFC 9162 section 2.1.3.2 and 2.1.4.2.
 *
 * leaf = SHA-256(0x00 || entry), node = SHA-256(0x01 || left || right), empty root = SHA-256("").
 * A compact range holds the roots of the perfect subtrees that make up a tree of `size` leaves: all that is needed to
 * append, and to compute the root. It is what a segment header stores, so that recovery never needs the whole log. */
#ifndef CRYPTO_MERKLE_H
#define CRYPTO_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"

/* A path has at most one hash a level; a consistency proof also names the subtree where it starts. */
enum { MERKLE_HEIGHT_MAX = 64, MERKLE_PROOF_MAX = MERKLE_HEIGHT_MAX + 1 };

struct merkle_range {
    uint64_t size;                         /* leaves */
    struct hash hashes[MERKLE_HEIGHT_MAX]; /* popcount(size) used: the largest subtree first */
};

/* What stands before an entry in the hash that is its leaf. */
#define MERKLE_LEAF_PREFIX bytes_of("\0", 1)

struct hash merkle_leaf(struct sha256 *sha, struct bytes entry);
/* Two leaves at once (sha256_two). */
void merkle_two_leaves(struct sha256 *sha, const struct bytes entries[2], struct hash ret[2]);
struct hash merkle_node(struct sha256 *sha, const struct hash *left, const struct hash *right);

void merkle_range_init(struct merkle_range *range);
/* Dies at 2^63 leaves. */
void merkle_range_append(struct merkle_range *range, struct sha256 *sha, const struct hash *leaf);
/* The same for a whole perfect subtree of 2^height leaves with this root. range->size must be a multiple of 2^height.
 */
void merkle_range_append_subtree(struct merkle_range *range, struct sha256 *sha, unsigned height,
                                 const struct hash *root);
struct hash merkle_range_root(const struct merkle_range *range, struct sha256 *sha);
/* popcount(size). */
size_t merkle_range_hash_count(uint64_t size);

struct merkle_proof {
    size_t count;
    struct hash hashes[MERKLE_PROOF_MAX]; /* leaf's sibling first, root's child last */
};

/* ERR_INVALID when index >= size or the proof has the wrong length, ERR_CORRUPT when it does not lead to root. */
int merkle_verify_inclusion(struct sha256 *sha, uint64_t index, uint64_t size, const struct hash *leaf,
                            const struct hash *proof, size_t proof_count, const struct hash *root,
                            struct err *err) MUST_USE;
/* Two trees, the older with old_size leaves. No proof exists for old_size 0: ERR_INVALID unless new_size is 0 too and
 * both roots are the empty one. Same errors as above. */
int merkle_verify_consistency(struct sha256 *sha, uint64_t old_size, uint64_t new_size, const struct hash *old_root,
                              const struct hash *new_root, const struct hash *proof, size_t proof_count,
                              struct err *err) MUST_USE;

/* A part of a tree against its own root, and against that of the whole: what a range that was repaired, or kept when
 * the rest was pruned, is checked with against a signed checkpoint. [start, end) is a sub-tree when start is a multiple
 * of the smallest power of two that is not below end - start. ERR_INVALID when it is none, does not hold index or ends
 * behind size, or when the proof has the wrong length; ERR_CORRUPT when it does not lead to root. An empty sub-tree
 * (start == end) is part of every tree, its root is the empty one, and it includes nothing. */
int merkle_verify_subtree_inclusion(struct sha256 *sha, uint64_t index, uint64_t start, uint64_t end,
                                    const struct hash *leaf, const struct hash *proof, size_t proof_count,
                                    const struct hash *root, struct err *err) MUST_USE;
int merkle_verify_subtree_consistency(struct sha256 *sha, uint64_t start, uint64_t end, uint64_t size,
                                      const struct hash *subtree_root, const struct hash *root,
                                      const struct hash *proof, size_t proof_count, struct err *err) MUST_USE;

/* Where proofs get hashes from: the root of the perfect subtree of 2^height leaves that starts at leaf
 * number * 2^height. Returns 0 or an error code. */
typedef int merkle_read_fn(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err);

/* ERR_INVALID when index >= size (old_size == 0 or old_size > new_size), or the reader's error. */
int merkle_prove_inclusion(struct sha256 *sha, uint64_t index, uint64_t size, merkle_read_fn *read_hash, void *context,
                           struct merkle_proof *ret, struct err *err) MUST_USE;
int merkle_prove_consistency(struct sha256 *sha, uint64_t old_size, uint64_t new_size, merkle_read_fn *read_hash,
                             void *context, struct merkle_proof *ret, struct err *err) MUST_USE;
/* The root at `size` from stored subtrees. */
int merkle_root_at(struct sha256 *sha, uint64_t size, merkle_read_fn *read_hash, void *context, struct hash *ret,
                   struct err *err) MUST_USE;

#endif
