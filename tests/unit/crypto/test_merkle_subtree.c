/* The verifiers of sub-trees against the probes of transparency-dev/merkle (tests/vectors/merkle), and against trees by
 * the definition of RFC 6962. */
#include <criterion/criterion.h>

#include "probe.h"
#include "support.h"
#include "support/files.h"

static struct sha256 *sha;

static void setup(void)
{
    sha = sha256_new();
    cr_assert_not_null(sha);
}

static void teardown(void)
{
    sha256_free(sha);
}

TestSuite(merkle_subtree, .init = setup, .fini = teardown);

static void try_inclusion(void *context, const char *path)
{
    struct probe probe = probe_load(path);
    struct hash proof[MERKLE_PROOF_MAX];
    struct err err = {0};
    size_t count = probe_proof(&probe, proof);
    struct hash leaf = probe_hash(&probe, "leafHash", 0xFF);
    struct hash root = probe_hash(&probe, "root", 0);
    int code = merkle_verify_subtree_inclusion(sha, probe_number(&probe, "leafIdx"), probe_number(&probe, "start"),
                                               probe_number(&probe, "end"), &leaf, proof, count, &root, &err);
    probe_settle(context, path, &probe, code, &err);
}

static void try_consistency(void *context, const char *path)
{
    struct probe probe = probe_load(path);
    struct hash proof[MERKLE_PROOF_MAX];
    struct err err = {0};
    size_t count = probe_proof(&probe, proof);
    struct hash root1 = probe_hash(&probe, "root1", 0);
    struct hash root2 = probe_hash(&probe, "root2", 0);
    int code = merkle_verify_subtree_consistency(sha, probe_number(&probe, "start"), probe_number(&probe, "end"),
                                                 probe_number(&probe, "size"), &root1, &root2, proof, count, &err);
    probe_settle(context, path, &probe, code, &err);
}

Test(merkle_subtree, all_inclusion_probes_are_decided_right)
{
    struct probe_count count = {0};
    cr_assert_eq(files_walk(VECTORS "/merkle/subtreeinclusion", ".json", try_inclusion, &count), 204);
    cr_assert_eq(count.accepted, 12);
    cr_assert_eq(count.refused, 192);
}

Test(merkle_subtree, all_consistency_probes_are_decided_right)
{
    struct probe_count count = {0};
    cr_assert_eq(files_walk(VECTORS "/merkle/subtreeconsistency", ".json", try_consistency, &count), 118);
    cr_assert_eq(count.accepted, 12);
    cr_assert_eq(count.refused, 106);
}

/* --- Against the definition --- */

enum { LEAVES = 20 };

/* SUBTREE_PROOF of the specification, by its recursion: where the tree [low, high) is split, down to [start, end). */
static void prove(const struct hash *leaves, uint64_t low, uint64_t high, uint64_t start, uint64_t end, bool known,
                  struct merkle_proof *proof)
{
    if (start == low && end == high) {
        if (!known)
            proof->hashes[proof->count++] = slow_root(sha, leaves + low, high - low);
        return;
    }
    uint64_t left = 1;
    while (2 * left < high - low)
        left *= 2;
    uint64_t middle = low + left;
    if (end <= middle) {
        prove(leaves, low, middle, start, end, known, proof);
        proof->hashes[proof->count++] = slow_root(sha, leaves + middle, high - middle);
    } else if (start >= middle) {
        prove(leaves, middle, high, start, end, known, proof);
        proof->hashes[proof->count++] = slow_root(sha, leaves + low, left);
    } else {
        cr_assert_eq(start, low);
        prove(leaves, middle, high, middle, end, false, proof);
        proof->hashes[proof->count++] = slow_root(sha, leaves + low, left);
    }
}

static bool is_subtree(uint64_t start, uint64_t end)
{
    uint64_t width = 1;
    while (width < end - start)
        width *= 2;
    return start % width == 0;
}

Test(merkle_subtree, every_subtree_is_proven_part_of_every_tree_and_no_changed_one_is)
{
    struct hash leaves[LEAVES];
    for (uint64_t i = 0; i < LEAVES; i++)
        leaves[i] = numbered_leaf(sha, i);
    size_t proven = 0;
    for (uint64_t size = 1; size <= LEAVES; size++) {
        struct hash root = slow_root(sha, leaves, size);
        for (uint64_t start = 0; start < size; start++) {
            for (uint64_t end = start + 1; end <= size; end++) {
                struct merkle_proof proof = {0};
                struct hash part = slow_root(sha, leaves + start, end - start);
                if (!is_subtree(start, end)) {
                    EXPECT_FAILURE(merkle_verify_subtree_consistency(sha, start, end, size, &part, &root, NULL, 0, err),
                                   ERR_INVALID, "no sub-tree");
                    continue;
                }
                prove(leaves, 0, size, start, end, true, &proof);
                cr_assert_eq(merkle_verify_subtree_consistency(sha, start, end, size, &part, &root, proof.hashes,
                                                               proof.count, NULL),
                             0, "[%d, %d) of %d", (int)start, (int)end, (int)size);
                part.bytes[0] ^= 1;
                cr_assert_eq(merkle_verify_subtree_consistency(sha, start, end, size, &part, &root, proof.hashes,
                                                               proof.count, NULL),
                             ERR_CORRUPT);
                proven++;
            }
        }
    }
    cr_assert_gt(proven, 500);
}

/* --- What refusals say --- */

Test(merkle_subtree, inclusion_tells_a_wrong_place_from_a_wrong_hash)
{
    struct hash leaves[4];
    for (uint64_t i = 0; i < 4; i++)
        leaves[i] = numbered_leaf(sha, i);
    struct hash root = slow_root(sha, leaves + 2, 2);
    cr_assert_eq(merkle_verify_subtree_inclusion(sha, 2, 2, 4, &leaves[2], &leaves[3], 1, &root, NULL), 0);
    EXPECT_FAILURE(merkle_verify_subtree_inclusion(sha, 1, 2, 4, &leaves[2], &leaves[3], 1, &root, err), ERR_INVALID,
                   "not in the sub-tree");
    EXPECT_FAILURE(merkle_verify_subtree_inclusion(sha, 2, 2, 4, &leaves[3], &leaves[3], 1, &root, err), ERR_CORRUPT,
                   "does not lead");
    EXPECT_FAILURE(merkle_verify_subtree_inclusion(sha, 2, 1, 4, &leaves[2], &leaves[3], 1, &root, err), ERR_INVALID,
                   "no sub-tree");
}

Test(merkle_subtree, consistency_tells_a_wrong_shape_from_a_wrong_hash)
{
    struct hash leaves[4];
    for (uint64_t i = 0; i < 4; i++)
        leaves[i] = numbered_leaf(sha, i);
    struct hash part = slow_root(sha, leaves + 2, 2);
    struct hash left = slow_root(sha, leaves, 2);
    struct hash root = slow_root(sha, leaves, 4);
    const struct hash proof[] = {left, left};
    cr_assert_eq(merkle_verify_subtree_consistency(sha, 2, 4, 4, &part, &root, proof, 1, NULL), 0);
    EXPECT_FAILURE(merkle_verify_subtree_consistency(sha, 2, 4, 3, &part, &root, proof, 1, err), ERR_INVALID, "ends");
    EXPECT_FAILURE(merkle_verify_subtree_consistency(sha, 2, 4, 4, &part, &root, proof, 0, err), ERR_INVALID, "short");
    EXPECT_FAILURE(merkle_verify_subtree_consistency(sha, 2, 4, 4, &part, &root, proof, 2, err), ERR_INVALID, "long");
    EXPECT_FAILURE(merkle_verify_subtree_consistency(sha, 2, 4, 4, &left, &root, proof, 1, err), ERR_CORRUPT, "part");
}

Test(merkle_subtree, the_largest_trees_do_not_overflow)
{
    struct hash leaf = numbered_leaf(sha, 0);
    EXPECT_FAILURE(merkle_verify_subtree_inclusion(sha, 1, 1, UINT64_MAX, &leaf, NULL, 0, &leaf, err), ERR_INVALID,
                   "no sub-tree");
    EXPECT_FAILURE(
        merkle_verify_subtree_consistency(sha, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX, &leaf, &leaf, NULL, 0, err),
        ERR_INVALID, "short");
    EXPECT_FAILURE(merkle_verify_subtree_consistency(sha, 0, UINT64_MAX - 1, UINT64_MAX, &leaf, &leaf, NULL, 0, err),
                   ERR_INVALID, "short");
}
