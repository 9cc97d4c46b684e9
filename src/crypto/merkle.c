/* Compact ranges and verifiers (merkle.h). The verifiers walk the two node numbers fn and sn of RFC 9162 upwards; a set
 * bit of fn, or fn == sn, means that the proof's hash is the left sibling. */
#include "crypto/merkle.h"

#include "base/assert.h"

struct hash merkle_leaf(struct sha256 *sha, struct bytes entry)
{
    const struct bytes parts[] = {MERKLE_LEAF_PREFIX, entry};
    return sha256_parts(sha, parts, 2);
}

void merkle_two_leaves(struct sha256 *sha, const struct bytes entries[2], struct hash ret[2])
{
    const struct bytes first[] = {MERKLE_LEAF_PREFIX, entries[0]};
    const struct bytes second[] = {MERKLE_LEAF_PREFIX, entries[1]};
    sha256_two(sha, (const struct sha256_message[2]){{first, 2}, {second, 2}}, ret);
}

struct hash merkle_node(struct sha256 *sha, const struct hash *left, const struct hash *right)
{
    uint8_t node[1 + 2 * HASH_SIZE];
    node[0] = 1;
    memcpy(node + 1, left->bytes, HASH_SIZE);
    memcpy(node + 1 + HASH_SIZE, right->bytes, HASH_SIZE);
    return sha256_of(sha, bytes_of(node, sizeof(node)));
}

void merkle_range_init(struct merkle_range *range)
{
    memset(range, 0, sizeof(*range));
}

size_t merkle_range_hash_count(uint64_t size)
{
    return (size_t)__builtin_popcountll(size);
}

void merkle_range_append_subtree(struct merkle_range *range, struct sha256 *sha, unsigned height,
                                 const struct hash *root)
{
    PRE(height < MERKLE_HEIGHT_MAX - 1);
    PRE(range->size % ((uint64_t)1 << height) == 0);
    PRE(range->size <= ((uint64_t)1 << 63) - ((uint64_t)1 << height));
    size_t count = merkle_range_hash_count(range->size);
    struct hash hash = *root;
    for (uint64_t bits = range->size >> height; (bits & 1) != 0; bits >>= 1)
        hash = merkle_node(sha, &range->hashes[--count], &hash);
    range->hashes[count] = hash;
    range->size += (uint64_t)1 << height;
    POST(count + 1 == merkle_range_hash_count(range->size));
}

void merkle_range_append(struct merkle_range *range, struct sha256 *sha, const struct hash *leaf)
{
    merkle_range_append_subtree(range, sha, 0, leaf);
}

struct hash merkle_range_root(const struct merkle_range *range, struct sha256 *sha)
{
    size_t count = merkle_range_hash_count(range->size);
    if (count == 0)
        return sha256_of(sha, bytes_of(NULL, 0));
    struct hash root = range->hashes[count - 1];
    for (size_t i = count - 1; i > 0; i--)
        root = merkle_node(sha, &range->hashes[i - 1], &root);
    return root;
}

int merkle_verify_inclusion(struct sha256 *sha, uint64_t index, uint64_t size, const struct hash *leaf,
                            const struct hash *proof, size_t proof_count, const struct hash *root, struct err *err)
{
    if (index >= size)
        return err_set(err, ERR_INVALID, "index %llu is not in a tree of %llu entries", (unsigned long long)index,
                       (unsigned long long)size);
    uint64_t fn = index;
    uint64_t sn = size - 1;
    struct hash hash = *leaf;
    for (size_t i = 0; i < proof_count; i++) {
        if (sn == 0)
            return err_set(err, ERR_INVALID, "the inclusion proof is too long: %zu hashes", proof_count);
        if ((fn & 1) != 0 || fn == sn) {
            hash = merkle_node(sha, &proof[i], &hash);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            hash = merkle_node(sha, &hash, &proof[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0)
        return err_set(err, ERR_INVALID, "the inclusion proof is too short: %zu hashes", proof_count);
    if (!hash_equal(&hash, root))
        return err_set(err, ERR_CORRUPT, "the inclusion proof of entry %llu does not lead to the root at size %llu",
                       (unsigned long long)index, (unsigned long long)size);
    return 0;
}

/* The trivial cases of consistency: both sizes equal, or the older tree empty. */
static int verify_trivial_consistency(struct sha256 *sha, uint64_t old_size, uint64_t new_size,
                                      const struct hash *old_root, const struct hash *new_root, size_t proof_count,
                                      struct err *err)
{
    if (old_size > new_size)
        return err_set(err, ERR_INVALID, "the older tree is larger: %llu entries, then %llu",
                       (unsigned long long)old_size, (unsigned long long)new_size);
    if (proof_count != 0)
        return err_set(err, ERR_INVALID, "a proof between trees of %llu and %llu entries must be empty",
                       (unsigned long long)old_size, (unsigned long long)new_size);
    struct hash empty = sha256_of(sha, bytes_of(NULL, 0));
    if (old_size == 0 && (new_size != 0 || !hash_equal(old_root, &empty)))
        return err_set(err, ERR_INVALID,
                       "nothing can be proven about an empty tree but that its root is the empty one");
    if (!hash_equal(old_root, new_root))
        return err_set(err, ERR_CORRUPT, "two roots of one size, %llu", (unsigned long long)old_size);
    return 0;
}

int merkle_verify_consistency(struct sha256 *sha, uint64_t old_size, uint64_t new_size, const struct hash *old_root,
                              const struct hash *new_root, const struct hash *proof, size_t proof_count,
                              struct err *err)
{
    if (old_size == 0 || old_size >= new_size)
        return verify_trivial_consistency(sha, old_size, new_size, old_root, new_root, proof_count, err);
    if (proof_count == 0)
        return err_set(err, ERR_INVALID, "the consistency proof is empty");
    uint64_t fn = old_size - 1;
    uint64_t sn = new_size - 1;
    while ((fn & 1) != 0) {
        fn >>= 1;
        sn >>= 1;
    }
    bool whole = (old_size & (old_size - 1)) == 0; /* the old tree is one perfect subtree: its root starts the walk */
    size_t next = whole ? 0 : 1;
    struct hash old_hash = whole ? *old_root : proof[0];
    struct hash new_hash = old_hash;
    for (size_t i = next; i < proof_count; i++) {
        if (sn == 0)
            return err_set(err, ERR_INVALID, "the consistency proof is too long: %zu hashes", proof_count);
        if ((fn & 1) != 0 || fn == sn) {
            old_hash = merkle_node(sha, &proof[i], &old_hash);
            new_hash = merkle_node(sha, &proof[i], &new_hash);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            new_hash = merkle_node(sha, &new_hash, &proof[i]);
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0)
        return err_set(err, ERR_INVALID, "the consistency proof is too short: %zu hashes", proof_count);
    if (!hash_equal(&old_hash, old_root) || !hash_equal(&new_hash, new_root))
        return err_set(err, ERR_CORRUPT, "the tree of %llu entries is not a prefix of the tree of %llu",
                       (unsigned long long)old_size, (unsigned long long)new_size);
    return 0;
}
