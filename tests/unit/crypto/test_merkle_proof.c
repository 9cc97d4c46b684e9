#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"

enum { LEAVES = 40 };

/* Stored subtrees as the prover reads them, made from the leaves each time. */
struct store {
    struct hash leaves[LEAVES];
    uint64_t size;
    uint64_t reads_left; /* the read after these fails */
};

static struct sha256 *sha;
static struct store store;

static void setup(void)
{
    sha = sha256_new();
    store = (struct store){.size = LEAVES, .reads_left = UINT64_MAX};
    for (uint64_t i = 0; i < LEAVES; i++)
        store.leaves[i] = numbered_leaf(sha, i);
}

static void teardown(void)
{
    sha256_free(sha);
}

TestSuite(merkle_proof, .init = setup, .fini = teardown);

static int read_store(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    struct store *from = context;
    if (from->reads_left == 0)
        return err_set(err, ERR_IO, "the disk is gone");
    from->reads_left--;
    uint64_t first = number << height;
    cr_assert_leq(first + ((uint64_t)1 << height), from->size, "only whole subtrees are there to be read");
    *ret = slow_root(sha, from->leaves + first, (uint64_t)1 << height);
    return 0;
}

static void expect_refused(uint64_t index, uint64_t size, const struct hash *leaf, const struct merkle_proof *proof,
                           const struct hash *root)
{
    cr_assert_neq(merkle_verify_inclusion(sha, index, size, leaf, proof->hashes, proof->count, root, NULL), 0,
                  "index %llu of %llu", (unsigned long long)index, (unsigned long long)size);
}

Test(merkle_proof, every_entry_is_proven_at_every_size)
{
    for (uint64_t size = 1; size <= LEAVES; size++) {
        struct hash root = slow_root(sha, store.leaves, size);
        store.size = size;
        for (uint64_t index = 0; index < size; index++) {
            struct merkle_proof proof;
            struct err err = {0};
            int code = merkle_prove_inclusion(sha, index, size, read_store, &store, &proof, &err);
            cr_assert_eq(code, 0, "%s", err.message);
            code =
                merkle_verify_inclusion(sha, index, size, &store.leaves[index], proof.hashes, proof.count, &root, &err);
            cr_assert_eq(code, 0, "%s", err.message);
        }
    }
}

Test(merkle_proof, a_proof_proves_no_other_entry_index_or_hash)
{
    for (uint64_t size = 2; size <= 17; size++) {
        struct hash root = slow_root(sha, store.leaves, size);
        for (uint64_t index = 0; index < size; index++) {
            struct merkle_proof proof;
            cr_assert_eq(merkle_prove_inclusion(sha, index, size, read_store, &store, &proof, NULL), 0);
            for (uint64_t other = 0; other < size; other++) {
                if (other == index)
                    continue;
                expect_refused(other, size, &store.leaves[index], &proof, &root);
                expect_refused(index, size, &store.leaves[other], &proof, &root);
            }
            for (size_t i = 0; i < proof.count; i++) {
                proof.hashes[i].bytes[i] ^= 1;
                expect_refused(index, size, &store.leaves[index], &proof, &root);
                proof.hashes[i].bytes[i] ^= 1;
            }
        }
    }
}

Test(merkle_proof, every_older_tree_is_proven_a_prefix_of_every_newer)
{
    for (uint64_t new_size = 1; new_size <= LEAVES; new_size++) {
        struct hash new_root = slow_root(sha, store.leaves, new_size);
        store.size = new_size;
        for (uint64_t old_size = 1; old_size <= new_size; old_size++) {
            struct hash old_root = slow_root(sha, store.leaves, old_size);
            struct merkle_proof proof;
            struct err err = {0};
            int code = merkle_prove_consistency(sha, old_size, new_size, read_store, &store, &proof, &err);
            cr_assert_eq(code, 0, "%s", err.message);
            code = merkle_verify_consistency(sha, old_size, new_size, &old_root, &new_root, proof.hashes, proof.count,
                                             &err);
            cr_assert_eq(code, 0, "%llu of %llu: %s", (unsigned long long)old_size, (unsigned long long)new_size,
                         err.message);
            for (size_t i = 0; i < proof.count; i++) {
                proof.hashes[i].bytes[31] ^= 0x80;
                code = merkle_verify_consistency(sha, old_size, new_size, &old_root, &new_root, proof.hashes,
                                                 proof.count, NULL);
                cr_assert_eq(code, ERR_CORRUPT);
                proof.hashes[i].bytes[31] ^= 0x80;
            }
        }
    }
}

Test(merkle_proof, equal_sizes_need_no_proof)
{
    struct merkle_proof proof;
    cr_assert_eq(merkle_prove_consistency(sha, 5, 5, read_store, &store, &proof, NULL), 0);
    cr_assert_eq(proof.count, 0);
    cr_assert_eq(merkle_prove_inclusion(sha, 0, 1, read_store, &store, &proof, NULL), 0);
    cr_assert_eq(proof.count, 0);
}

/* The path of RFC 6962 section 2.1.3: the audit path of d3 in the tree of 7 is [c, g, l]. */
Test(merkle_proof, the_leafs_sibling_comes_first_and_the_roots_child_last)
{
    struct merkle_proof proof;
    struct hash right = slow_root(sha, store.leaves + 4, 3);
    struct hash pair = slow_root(sha, store.leaves, 2);
    store.size = 7;
    cr_assert_eq(merkle_prove_inclusion(sha, 3, 7, read_store, &store, &proof, NULL), 0);
    cr_assert_eq(proof.count, 3);
    cr_assert(hash_equal(&proof.hashes[0], &store.leaves[2]));
    cr_assert(hash_equal(&proof.hashes[1], &pair));
    cr_assert(hash_equal(&proof.hashes[2], &right));
}

/* RFC 6962 section 2.1.3: PROOF(3, D[7]) = [c, d, g, l], PROOF(4, D[7]) = [l], PROOF(6, D[7]) = [i, j, k]. */
Test(merkle_proof, the_examples_of_the_rfc_have_their_lengths)
{
    const struct {
        uint64_t old_size;
        size_t count;
    } cases[] = {{3, 4}, {4, 1}, {6, 3}};
    store.size = 7;
    for (size_t i = 0; i < 3; i++) {
        struct merkle_proof proof;
        cr_assert_eq(merkle_prove_consistency(sha, cases[i].old_size, 7, read_store, &store, &proof, NULL), 0);
        cr_assert_eq(proof.count, cases[i].count);
    }
}

Test(merkle_proof, the_root_at_a_size_is_that_of_the_prefix)
{
    for (uint64_t size = 0; size <= LEAVES; size++) {
        struct hash root;
        struct hash expected = slow_root(sha, store.leaves, size);
        cr_assert_eq(merkle_root_at(sha, size, read_store, &store, &root, NULL), 0);
        cr_assert(hash_equal(&root, &expected), "size %llu", (unsigned long long)size);
    }
}

/* --- Refusals --- */

Test(merkle_proof, what_no_proof_exists_of_is_refused)
{
    struct merkle_proof proof;
    EXPECT_FAILURE(merkle_prove_inclusion(sha, 5, 5, read_store, &store, &proof, err), ERR_INVALID, "index 5");
    EXPECT_FAILURE(merkle_prove_inclusion(sha, 0, 0, read_store, &store, &proof, err), ERR_INVALID, "index 0");
    EXPECT_FAILURE(merkle_prove_consistency(sha, 0, 5, read_store, &store, &proof, err), ERR_INVALID, "from 0");
    EXPECT_FAILURE(merkle_prove_consistency(sha, 6, 5, read_store, &store, &proof, err), ERR_INVALID, "from 6");
}

Test(merkle_proof, the_readers_error_is_passed_on_whichever_read_fails)
{
    struct merkle_proof proof = {.count = 99};
    struct hash root = {.bytes = {7}};
    size_t failures = 0;
    int code = ERR_IO;
    for (uint64_t reads = 0; code != 0; reads++) {
        store.reads_left = reads;
        code = merkle_prove_inclusion(sha, 12, 23, read_store, &store, &proof, NULL);
        cr_assert(code == 0 || (code == ERR_IO && proof.count == 99), "outputs are untouched on failure");
        failures += code != 0;
    }
    cr_assert_geq(failures, 5);
    proof.count = 99;
    code = ERR_IO;
    for (uint64_t reads = 0; code != 0; reads++) {
        store.reads_left = reads;
        code = merkle_prove_consistency(sha, 11, 23, read_store, &store, &proof, NULL);
        cr_assert(code == 0 || (code == ERR_IO && proof.count == 99));
        failures += code != 0;
    }
    cr_assert_geq(failures, 10);
    store.reads_left = 2;
    EXPECT_FAILURE(merkle_root_at(sha, 23, read_store, &store, &root, err), ERR_IO, "disk is gone");
    cr_assert_eq(root.bytes[0], 7);
}

/* --- The largest trees: of equal leaves, so that a subtree of each height has one hash --- */

struct tall {
    struct hash by_height[64];
};

static int read_tall(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    (void)number;
    (void)err;
    *ret = ((struct tall *)context)->by_height[height];
    return 0;
}

static void make_tall(struct tall *tall)
{
    tall->by_height[0] = numbered_leaf(sha, 0);
    for (size_t i = 1; i < 64; i++)
        tall->by_height[i] = merkle_node(sha, &tall->by_height[i - 1], &tall->by_height[i - 1]);
}

static const uint64_t tall_sizes[] = {((uint64_t)1 << 62) + 1, ((uint64_t)1 << 63) - 1, (uint64_t)1 << 63,
                                      ((uint64_t)1 << 63) + 1, UINT64_MAX - 1,          UINT64_MAX};
enum { TALL_SIZES = sizeof(tall_sizes) / sizeof(tall_sizes[0]) };

Test(merkle_proof, inclusion_holds_in_the_largest_trees)
{
    struct tall tall;
    make_tall(&tall);
    for (size_t i = 0; i < TALL_SIZES; i++) {
        uint64_t size = tall_sizes[i];
        const uint64_t indexes[] = {0, 1, size / 2, size - 2, size - 1};
        struct hash root;
        cr_assert_eq(merkle_root_at(sha, size, read_tall, &tall, &root, NULL), 0);
        for (size_t j = 0; j < 5; j++) {
            struct merkle_proof proof;
            cr_assert_eq(merkle_prove_inclusion(sha, indexes[j], size, read_tall, &tall, &proof, NULL), 0);
            int code = merkle_verify_inclusion(sha, indexes[j], size, &tall.by_height[0], proof.hashes, proof.count,
                                               &root, NULL);
            cr_assert_eq(code, 0, "index %llu of %llu", (unsigned long long)indexes[j], (unsigned long long)size);
        }
    }
}

Test(merkle_proof, consistency_holds_in_the_largest_trees)
{
    struct tall tall;
    make_tall(&tall);
    for (size_t i = 0; i < TALL_SIZES; i++) {
        uint64_t size = tall_sizes[i];
        const uint64_t olds[] = {1, 3, size / 2, ((uint64_t)1 << 62) - 1, ((uint64_t)1 << 62) + 1, size - 1, size};
        struct hash root;
        cr_assert_eq(merkle_root_at(sha, size, read_tall, &tall, &root, NULL), 0);
        for (size_t j = 0; j < 7; j++) {
            struct merkle_proof proof;
            struct hash old_root;
            cr_assert_eq(merkle_root_at(sha, olds[j], read_tall, &tall, &old_root, NULL), 0);
            cr_assert_eq(merkle_prove_consistency(sha, olds[j], size, read_tall, &tall, &proof, NULL), 0);
            int code = merkle_verify_consistency(sha, olds[j], size, &old_root, &root, proof.hashes, proof.count, NULL);
            cr_assert_eq(code, 0, "%llu of %llu", (unsigned long long)olds[j], (unsigned long long)size);
        }
    }
}

/* The longest path goes down all 64 levels to the last leaf but one of the left half, and needs that leaf too. */
Test(merkle_proof, the_longest_consistency_proof_fits)
{
    struct tall tall;
    struct merkle_proof proof;
    struct hash old_root, root;
    uint64_t old_size = ((uint64_t)1 << 63) - 1;
    make_tall(&tall);
    cr_assert_eq(merkle_root_at(sha, old_size, read_tall, &tall, &old_root, NULL), 0);
    cr_assert_eq(merkle_root_at(sha, UINT64_MAX, read_tall, &tall, &root, NULL), 0);
    cr_assert_eq(merkle_prove_consistency(sha, old_size, UINT64_MAX, read_tall, &tall, &proof, NULL), 0);
    cr_assert_eq(proof.count, MERKLE_PROOF_MAX);
    int code = merkle_verify_consistency(sha, old_size, UINT64_MAX, &old_root, &root, proof.hashes, proof.count, NULL);
    cr_assert_eq(code, 0);
}
