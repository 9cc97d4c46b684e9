/* Making proofs from stored subtrees (declared in merkle.h), by the recursions of RFC 6962 sections 2.1.1 and 2.1.2
 * written as loops from the root down; hashes are collected root's child first and turned round at the end. */
#include "base/assert.h"
#include "crypto/merkle.h"

/* The largest power of two smaller than n, as a height. n at least 2. */
static unsigned split_height(uint64_t n)
{
    return 63 - (unsigned)__builtin_clzll(n - 1);
}

/* MTH(D[start : start + count]), where start is a multiple of the largest power of two not above count. */
static int subtree_root(struct sha256 *sha, uint64_t start, uint64_t count, merkle_read_fn *read_hash, void *context,
                        struct hash *ret, struct err *err)
{
    struct hash parts[MERKLE_HEIGHT_MAX];
    size_t part_count = 0;
    while (count > 0) {
        unsigned height = 63 - (unsigned)__builtin_clzll(count);
        int code = read_hash(context, height, start >> height, &parts[part_count], err);
        if (code != 0)
            return code;
        part_count++;
        start += (uint64_t)1 << height;
        count -= (uint64_t)1 << height;
    }
    struct hash root = parts[part_count - 1];
    for (size_t i = part_count - 1; i > 0; i--)
        root = merkle_node(sha, &parts[i - 1], &root);
    *ret = root;
    return 0;
}

int merkle_root_at(struct sha256 *sha, uint64_t size, merkle_read_fn *read_hash, void *context, struct hash *ret,
                   struct err *err)
{
    if (size == 0) {
        *ret = sha256_of(sha, bytes_of(NULL, 0));
        return 0;
    }
    return subtree_root(sha, 0, size, read_hash, context, ret, err);
}

static void reverse_proof(struct merkle_proof *proof)
{
    for (size_t i = 0; i < proof->count / 2; i++) {
        struct hash other = proof->hashes[proof->count - 1 - i];
        proof->hashes[proof->count - 1 - i] = proof->hashes[i];
        proof->hashes[i] = other;
    }
}

static int push_subtree(struct merkle_proof *proof, struct sha256 *sha, uint64_t start, uint64_t count,
                        merkle_read_fn *read_hash, void *context, struct err *err)
{
    INVARIANT(proof->count < MERKLE_PROOF_MAX);
    int code = subtree_root(sha, start, count, read_hash, context, &proof->hashes[proof->count], err);
    if (code == 0)
        proof->count++;
    return code;
}

int merkle_prove_inclusion(struct sha256 *sha, uint64_t index, uint64_t size, merkle_read_fn *read_hash, void *context,
                           struct merkle_proof *ret, struct err *err)
{
    if (index >= size)
        return err_set(err, ERR_INVALID, "index %llu is not in a tree of %llu entries", (unsigned long long)index,
                       (unsigned long long)size);
    struct merkle_proof proof = {0};
    uint64_t start = 0;
    uint64_t count = size;
    while (count > 1) {
        uint64_t left = (uint64_t)1 << split_height(count);
        bool in_left = index - start < left;
        int code = in_left ? push_subtree(&proof, sha, start + left, count - left, read_hash, context, err)
                           : push_subtree(&proof, sha, start, left, read_hash, context, err);
        if (code != 0)
            return code;
        start = in_left ? start : start + left;
        count = in_left ? left : count - left;
    }
    reverse_proof(&proof);
    *ret = proof;
    return 0;
}

int merkle_prove_consistency(struct sha256 *sha, uint64_t old_size, uint64_t new_size, merkle_read_fn *read_hash,
                             void *context, struct merkle_proof *ret, struct err *err)
{
    if (old_size == 0 || old_size > new_size)
        return err_set(err, ERR_INVALID, "no consistency proof from %llu to %llu entries", (unsigned long long)old_size,
                       (unsigned long long)new_size);
    struct merkle_proof proof = {0};
    uint64_t start = 0;
    uint64_t count = new_size;
    uint64_t old_count = old_size;
    bool known = true; /* the old subtree at hand is the whole old tree: the verifier has its root */
    while (old_count < count) {
        uint64_t left = (uint64_t)1 << split_height(count);
        bool in_left = old_count <= left;
        int code = in_left ? push_subtree(&proof, sha, start + left, count - left, read_hash, context, err)
                           : push_subtree(&proof, sha, start, left, read_hash, context, err);
        if (code != 0)
            return code;
        known = known && in_left;
        start = in_left ? start : start + left;
        count = in_left ? left : count - left;
        old_count = in_left ? old_count : old_count - left;
    }
    if (!known) {
        int code = push_subtree(&proof, sha, start, count, read_hash, context, err);
        if (code != 0)
            return code;
    }
    reverse_proof(&proof);
    *ret = proof;
    return 0;
}
