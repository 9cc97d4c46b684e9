/* Verifying a part of a tree against the whole (declared in merkle.h), after sections 4.3 and 4.4 of "Merkle Tree
 * Certificates" (draft-ietf-plants-merkle-tree-certs), which c2sp.org/tlog-witness's sign-subtree uses.
 *
 * A sub-tree [start, end) is a node of some tree of at least `end` entries: start is a multiple of the smallest power
 * of two that is not below end - start. It may be ragged on its right, and is then a node only of the tree that ends
 * with it; in a larger tree its entries are spread over several nodes, which the proof names.
 *
 * The consistency walk goes up from the last node of the sub-tree. fn and sn are the numbers of the sub-tree's first
 * and last node at the level at hand, tn that of the tree's last one. A hash from the left belongs to the sub-tree as
 * long as fn < sn, and to the tree always; a hash from the right only to the tree.
 *
 * Failure modes: numbers are checked before they are used, so that no shift or difference can overflow; the walk ends
 * after at most 64 levels whatever the proof holds. */
#include "crypto/merkle.h"

static int check_subtree(uint64_t start, uint64_t end, struct err *err)
{
    uint64_t below = start >= end ? 0 : end - start - 1; /* its bits are those that must be clear in start */
    unsigned height = below == 0 ? 0 : 64 - (unsigned)__builtin_clzll(below);
    bool aligned = height == 64 ? start == 0 : (start & (((uint64_t)1 << height) - 1)) == 0;
    if (start >= end || !aligned)
        return err_set(err, ERR_INVALID, "entries %llu to %llu make no sub-tree of a Merkle tree",
                       (unsigned long long)start, (unsigned long long)end);
    return 0;
}

int merkle_verify_subtree_inclusion(struct sha256 *sha, uint64_t index, uint64_t start, uint64_t end,
                                    const struct hash *leaf, const struct hash *proof, size_t proof_count,
                                    const struct hash *root, struct err *err)
{
    int code = check_subtree(start, end, err);
    if (code != 0)
        return code;
    if (index < start || index >= end)
        return err_set(err, ERR_INVALID, "index %llu is not in the sub-tree of entries %llu to %llu",
                       (unsigned long long)index, (unsigned long long)start, (unsigned long long)end);
    return merkle_verify_inclusion(sha, index - start, end - start, leaf, proof, proof_count, root, err);
}

/* No entries: part of every tree that reaches there, and its root is the empty one. */
static int verify_empty(struct sha256 *sha, const struct hash *subtree_root, size_t proof_count, struct err *err)
{
    struct hash empty = sha256_of(sha, bytes_of(NULL, 0));
    if (proof_count != 0)
        return err_set(err, ERR_INVALID, "the proof of an empty sub-tree must be empty");
    if (!hash_equal(subtree_root, &empty))
        return err_set(err, ERR_CORRUPT, "an empty sub-tree has the root of an empty tree, and no other");
    return 0;
}

struct walk {
    uint64_t fn;
    uint64_t sn;
    uint64_t tn;
};

static void ascend(struct walk *walk)
{
    walk->fn >>= 1;
    walk->sn >>= 1;
    walk->tn >>= 1;
}

int merkle_verify_subtree_consistency(struct sha256 *sha, uint64_t start, uint64_t end, uint64_t size,
                                      const struct hash *subtree_root, const struct hash *root,
                                      const struct hash *proof, size_t proof_count, struct err *err)
{
    if (end > size)
        return err_set(err, ERR_INVALID, "the sub-tree ends at %llu, behind a tree of %llu entries",
                       (unsigned long long)end, (unsigned long long)size);
    if (start == end)
        return verify_empty(sha, subtree_root, proof_count, err);
    int code = check_subtree(start, end, err);
    if (code != 0)
        return code;
    struct walk walk = {.fn = start, .sn = end - 1, .tn = size - 1};
    while (walk.fn != walk.sn && (walk.sn == walk.tn || (walk.sn & 1) != 0))
        ascend(&walk);
    bool whole = walk.fn == walk.sn; /* the sub-tree is one node of the tree: its root starts the walk */
    if (!whole && proof_count == 0)
        return err_set(err, ERR_INVALID, "the proof of a sub-tree is too short: it is empty");
    struct hash part_hash = whole ? *subtree_root : proof[0];
    struct hash tree_hash = part_hash;
    for (size_t i = whole ? 0 : 1; i < proof_count; i++) {
        if (walk.tn == 0)
            return err_set(err, ERR_INVALID, "the proof of a sub-tree is too long: %zu hashes", proof_count);
        if ((walk.sn & 1) != 0 || walk.sn == walk.tn) {
            if (walk.fn < walk.sn)
                part_hash = merkle_node(sha, &proof[i], &part_hash);
            tree_hash = merkle_node(sha, &proof[i], &tree_hash);
            while ((walk.sn & 1) == 0 && walk.sn != 0)
                ascend(&walk);
        } else {
            tree_hash = merkle_node(sha, &tree_hash, &proof[i]);
        }
        ascend(&walk);
    }
    if (walk.tn != 0)
        return err_set(err, ERR_INVALID, "the proof of a sub-tree is too short: %zu hashes", proof_count);
    if (!hash_equal(&part_hash, subtree_root) || !hash_equal(&tree_hash, root))
        return err_set(err, ERR_CORRUPT, "entries %llu to %llu are not part of the tree of %llu entries",
                       (unsigned long long)start, (unsigned long long)end, (unsigned long long)size);
    return 0;
}
