/* The tree against RFC 6962's definition, and the verifiers against the proof probes of transparency-dev/merkle
 * (tests/vectors/merkle). */
#include <criterion/criterion.h>
#include <signal.h>

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

TestSuite(merkle, .init = setup, .fini = teardown);

/* --- The tree --- */

Test(merkle, the_published_constants_come_out)
{
    struct hash expected = hash_of_hex("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    struct hash got = merkle_leaf(sha, bytes_of(NULL, 0));
    cr_assert(hash_equal(&got, &expected), "leaf of the empty entry");
    expected = hash_of_hex("395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
    got = merkle_leaf(sha, BYTES_LITERAL("L123456"));
    cr_assert(hash_equal(&got, &expected), "leaf of L123456");
    struct merkle_range range;
    merkle_range_init(&range);
    expected = hash_of_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    got = merkle_range_root(&range, sha);
    cr_assert(hash_equal(&got, &expected), "empty root");
}

Test(merkle, two_leaves_at_once_are_what_each_is_alone)
{
    const struct bytes entries[] = {BYTES_LITERAL("L123456"), bytes_of(NULL, 0)};
    struct hash got[2];
    merkle_two_leaves(sha, entries, got);
    for (size_t i = 0; i < 2; i++) {
        struct hash expected = merkle_leaf(sha, entries[i]);
        cr_assert(hash_equal(&got[i], &expected), "%zu", i);
    }
}

Test(merkle, a_node_is_no_leaf_of_the_same_bytes)
{
    struct hash a = merkle_leaf(sha, BYTES_LITERAL("a"));
    struct hash b = merkle_leaf(sha, BYTES_LITERAL("b"));
    uint8_t both[2 * HASH_SIZE];
    memcpy(both, a.bytes, HASH_SIZE);
    memcpy(both + HASH_SIZE, b.bytes, HASH_SIZE);
    struct hash leaf = merkle_leaf(sha, bytes_of(both, sizeof(both)));
    struct hash node = merkle_node(sha, &a, &b);
    struct hash turned = merkle_node(sha, &b, &a);
    cr_assert_not(hash_equal(&leaf, &node));
    cr_assert_not(hash_equal(&turned, &node));
}

Test(merkle, the_roots_of_the_usual_eight_entries_come_out)
{
    const struct bytes entries[] = {BYTES_LITERAL(""),
                                    BYTES_LITERAL("\x00"),
                                    BYTES_LITERAL("\x10"),
                                    BYTES_LITERAL("\x20\x21"),
                                    BYTES_LITERAL("\x30\x31"),
                                    BYTES_LITERAL("\x40\x41\x42\x43"),
                                    BYTES_LITERAL("\x50\x51\x52\x53\x54\x55\x56\x57"),
                                    BYTES_LITERAL("\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f")};
    const char *roots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                           "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                           "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                           "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                           "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                           "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                           "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                           "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    struct merkle_range range;
    merkle_range_init(&range);
    for (size_t i = 0; i < 8; i++) {
        struct hash leaf = merkle_leaf(sha, entries[i]);
        merkle_range_append(&range, sha, &leaf);
        struct hash root = merkle_range_root(&range, sha);
        struct hash expected = hash_of_hex(roots[i]);
        cr_assert(hash_equal(&root, &expected), "size %zu", i + 1);
    }
}

Test(merkle, a_range_gives_the_recursive_root_at_every_size)
{
    enum { SIZE = 300 };
    static struct hash leaves[SIZE];
    struct merkle_range range;
    merkle_range_init(&range);
    for (uint64_t size = 0; size < SIZE; size++) {
        struct hash root = merkle_range_root(&range, sha);
        struct hash expected = slow_root(sha, leaves, size);
        cr_assert(hash_equal(&root, &expected), "size %llu", (unsigned long long)size);
        cr_assert_eq(range.size, size);
        leaves[size] = numbered_leaf(sha, size);
        merkle_range_append(&range, sha, &leaves[size]);
    }
}

Test(merkle, a_range_holds_the_perfect_subtrees_largest_first)
{
    struct hash leaves[7];
    struct merkle_range range;
    merkle_range_init(&range);
    for (uint64_t i = 0; i < 7; i++) {
        leaves[i] = numbered_leaf(sha, i);
        merkle_range_append(&range, sha, &leaves[i]);
    }
    struct hash four = slow_root(sha, leaves, 4);
    struct hash two = slow_root(sha, leaves + 4, 2);
    cr_assert_eq(merkle_range_hash_count(7), 3);
    cr_assert(hash_equal(&range.hashes[0], &four));
    cr_assert(hash_equal(&range.hashes[1], &two));
    cr_assert(hash_equal(&range.hashes[2], &leaves[6]));
}

Test(merkle, a_range_counts_one_hash_a_set_bit)
{
    cr_assert_eq(merkle_range_hash_count(0), 0);
    cr_assert_eq(merkle_range_hash_count(1), 1);
    cr_assert_eq(merkle_range_hash_count(255), 8);
    cr_assert_eq(merkle_range_hash_count(256), 1);
    cr_assert_eq(merkle_range_hash_count(UINT64_MAX), 64);
}

Test(merkle, the_last_leaf_of_all_still_fits)
{
    struct merkle_range range = {.size = ((uint64_t)1 << 63) - 1};
    struct hash leaf = numbered_leaf(sha, 1);
    merkle_range_append(&range, sha, &leaf);
    cr_assert_eq(range.size, (uint64_t)1 << 63);
}

Test(merkle, a_leaf_past_the_last_is_our_own_bug, .signal = SIGABRT)
{
    struct merkle_range range = {.size = (uint64_t)1 << 63};
    struct hash leaf = numbered_leaf(sha, 1);
    merkle_range_append(&range, sha, &leaf);
}

/* --- Proofs of others --- */

static void try_inclusion(void *context, const char *path)
{
    struct probe probe = probe_load(path);
    struct hash proof[MERKLE_PROOF_MAX];
    struct err err = {0};
    size_t count = probe_proof(&probe, proof);
    struct hash leaf = probe_hash(&probe, "leafHash", 0xFF);
    struct hash root = probe_hash(&probe, "root", 0);
    int code = merkle_verify_inclusion(sha, probe_number(&probe, "leafIdx"), probe_number(&probe, "treeSize"), &leaf,
                                       proof, count, &root, &err);
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
    int code = merkle_verify_consistency(sha, probe_number(&probe, "size1"), probe_number(&probe, "size2"), &root1,
                                         &root2, proof, count, &err);
    probe_settle(context, path, &probe, code, &err);
}

Test(merkle, all_inclusion_probes_are_decided_right)
{
    struct probe_count count = {0};
    cr_assert_eq(files_walk(VECTORS "/merkle/inclusion", ".json", try_inclusion, &count), 98);
    cr_assert_eq(count.accepted, 6);
    cr_assert_eq(count.refused, 92);
}

Test(merkle, all_consistency_probes_are_decided_right)
{
    struct probe_count count = {0};
    cr_assert_eq(files_walk(VECTORS "/merkle/consistency", ".json", try_consistency, &count), 98);
    cr_assert_eq(count.accepted, 6);
    cr_assert_eq(count.refused, 92);
}

/* --- What refusals say --- */

Test(merkle, inclusion_tells_a_wrong_shape_from_a_wrong_hash)
{
    struct hash leaves[3];
    for (uint64_t i = 0; i < 3; i++)
        leaves[i] = numbered_leaf(sha, i);
    struct hash root = slow_root(sha, leaves, 3);
    const struct hash proof[] = {leaves[0], leaves[2], leaves[2]};
    cr_assert_eq(merkle_verify_inclusion(sha, 1, 3, &leaves[1], proof, 2, &root, NULL), 0);
    EXPECT_FAILURE(merkle_verify_inclusion(sha, 3, 3, &leaves[1], proof, 2, &root, err), ERR_INVALID, "not in a tree");
    EXPECT_FAILURE(merkle_verify_inclusion(sha, 1, 3, &leaves[1], proof, 1, &root, err), ERR_INVALID, "too short");
    EXPECT_FAILURE(merkle_verify_inclusion(sha, 1, 3, &leaves[1], proof, 3, &root, err), ERR_INVALID, "too long");
    EXPECT_FAILURE(merkle_verify_inclusion(sha, 1, 3, &leaves[0], proof, 2, &root, err), ERR_CORRUPT, "does not lead");
}

Test(merkle, consistency_tells_a_wrong_shape_from_a_wrong_hash)
{
    struct hash leaves[3];
    for (uint64_t i = 0; i < 3; i++)
        leaves[i] = numbered_leaf(sha, i);
    struct hash two = slow_root(sha, leaves, 2);
    struct hash three = slow_root(sha, leaves, 3);
    const struct hash proof[] = {leaves[2], leaves[2]};
    cr_assert_eq(merkle_verify_consistency(sha, 2, 3, &two, &three, proof, 1, NULL), 0);
    EXPECT_FAILURE(merkle_verify_consistency(sha, 3, 2, &three, &two, proof, 1, err), ERR_INVALID, "larger");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 2, 3, &two, &three, proof, 0, err), ERR_INVALID, "empty");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 2, 3, &two, &three, proof, 2, err), ERR_INVALID, "too long");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 2, 5, &two, &three, proof, 1, err), ERR_INVALID, "too short");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 2, 3, &three, &three, proof, 1, err), ERR_CORRUPT, "not a prefix");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 3, 3, &two, &three, proof, 0, err), ERR_CORRUPT, "two roots");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 3, 3, &three, &three, proof, 1, err), ERR_INVALID, "must be empty");
}

Test(merkle, nothing_is_proven_about_the_empty_tree_but_its_root)
{
    struct hash empty = sha256_of(sha, bytes_of(NULL, 0));
    struct hash other = numbered_leaf(sha, 0);
    cr_assert_eq(merkle_verify_consistency(sha, 0, 0, &empty, &empty, NULL, 0, NULL), 0);
    EXPECT_FAILURE(merkle_verify_consistency(sha, 0, 1, &empty, &other, NULL, 0, err), ERR_INVALID, "nothing");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 0, 0, &other, &other, NULL, 0, err), ERR_INVALID, "nothing");
    EXPECT_FAILURE(merkle_verify_consistency(sha, 0, 0, &empty, &other, NULL, 0, err), ERR_CORRUPT, "two roots");
}
