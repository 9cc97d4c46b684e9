/* The parts of the verifier that work side by side: stretches, epochs, pools, pictures of trees. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "support.h"
#include "verify/pool.h"
#include "verify/sampler.h"
#include "verify/stretch.h"

static struct fixture f;

static void setup(void)
{
    fixture_init(&f);
}

static void teardown(void)
{
    fixture_free(&f);
}

TestSuite(stretch, .init = setup, .fini = teardown);

static void whole_init(struct whole *whole)
{
    memset(whole, 0, sizeof(*whole));
    chain_init(&whole->chain, f.sha, BYTES_LITERAL(TEST_ORIGIN));
    whole->node_height_max = NODE_HEIGHT_MAX;
    epochs_init(&whole->authority);
}

Test(stretch, stretches_of_any_size_make_the_chain_that_one_pass_makes)
{
    const uint32_t counts[] = {1, 2, 3, 300, 7, 256, 511};
    const uint64_t wanted[] = {0, 1, 5, 6, 128, 306, 600, 1080};
    struct whole whole;
    struct stretch stretch = {0};
    whole_init(&whole);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        cr_assert(whole_add_cut(&whole, wanted[i]));
    whole_mark_cuts(&whole, f.sha);
    struct hash roots[1081];
    struct merkle_range range;
    merkle_range_init(&range);
    roots[0] = merkle_range_root(&range, f.sha);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint64_t first = f.chain.range.size;
        struct block *block = make_block(&f, counts[i], 0);
        struct bytes rest = block_body(block);
        struct bytes frame_bytes;
        struct frame frame;
        while (frame_next_element(&rest, &frame_bytes, NULL) == 0) {
            cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
            struct hash leaf = merkle_leaf(f.sha, frame.entry);
            merkle_range_append(&range, f.sha, &leaf);
            roots[range.size] = merkle_range_root(&range, f.sha);
        }
        stretch_begin(&stretch, &whole, f.sha, first, f.chain.log_id);
        cr_assert_eq(stretch_check(&stretch, block_body(block), counts[i], NULL), 0);
        cr_assert(whole_is_followed_by(&whole, &stretch));
        cr_assert_eq(whole_take(&whole, f.sha, &stretch, NULL), 0);
        cr_assert_not(whole_is_followed_by(&whole, &stretch), "a stretch follows only once");
        cr_assert(hash_equal(&whole.chain.prev, &f.chain.prev));
        cr_assert_eq(whole.chain.last_time, f.chain.last_time);
        block_release(block);
    }
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        const struct cut *cut = whole_cut_at(&whole, wanted[i]);
        cr_assert_not_null(cut, "size %d was not reached", (int)wanted[i]);
        cr_assert(hash_equal(&cut->root, &roots[wanted[i]]), "the root at %d", (int)wanted[i]);
    }
    cr_assert_eq(whole.payloads.held, 1080);
    stretch_free(&stretch);
    epochs_free(&whole.authority);
}

Test(stretch, a_stretch_that_does_not_follow_is_told)
{
    struct whole whole;
    struct stretch stretch = {0};
    whole_init(&whole);
    struct block *skipped = make_block(&f, 2, 0);
    struct block *block = make_block(&f, 2, 0);
    stretch_begin(&stretch, &whole, f.sha, 2, f.chain.log_id);
    cr_assert_eq(stretch_check(&stretch, block_body(block), 2, NULL), 0);
    cr_assert_not(whole_is_followed_by(&whole, &stretch));
    block_release(block);
    block_release(skipped);
    stretch_free(&stretch);
    epochs_free(&whole.authority);
}

/* --- Epochs --- */

static void feed(struct epochs *authority, const char *partitions, const char *epochs)
{
    struct epochs_stretch stretch = {0};
    static uint64_t index;
    epochs_stretch_begin(&stretch);
    for (size_t i = 0; partitions[i] != '\0'; i++) {
        const struct entry entry = {.index = index++,
                                    .context = BYTES_LITERAL("bank"),
                                    .partition = bytes_of(&partitions[i], 1),
                                    .epoch = (uint64_t)(epochs[i] - '0')};
        cr_assert_eq(epochs_stretch_add(&stretch, &entry, NULL), 0);
    }
    cr_assert_eq(epochs_take(authority, &stretch, NULL), 0);
    epochs_stretch_free(&stretch);
}

Test(authority, epochs_may_rise_and_differ_between_partitions)
{
    struct epochs authority;
    epochs_init(&authority);
    feed(&authority, "ababab", "113135");
    feed(&authority, "abc", "371");
    cr_assert_not(authority.fault.found);
    cr_assert_eq(authority.latest.live_count, 3);
    epochs_free(&authority);
}

Test(authority, an_epoch_that_falls_inside_a_stretch_is_named)
{
    struct epochs authority;
    epochs_init(&authority);
    feed(&authority, "abab", "2311");
    cr_assert(authority.fault.found);
    cr_assert_eq(authority.fault.index, 2);
    cr_assert_eq(authority.fault.epoch, 1);
    cr_assert_eq(authority.fault.epoch_before, 2);
    cr_assert_str_eq(authority.fault.partition, "bank/a");
    epochs_free(&authority);
}

Test(authority, an_epoch_that_falls_between_stretches_is_named)
{
    struct epochs authority;
    epochs_init(&authority);
    feed(&authority, "ab", "25");
    feed(&authority, "ab", "34");
    cr_assert(authority.fault.found);
    cr_assert_eq(authority.fault.index, 3);
    epochs_free(&authority);
}

/* --- Pools --- */

struct sum {
    uint64_t in;
    uint64_t out;
};

static void square(void *job, size_t worker)
{
    struct sum *sum = job;
    (void)worker;
    sum->out = sum->in * sum->in;
}

Test(pool, results_come_back_in_order)
{
    struct sum sums[POOL_JOBS_MAX];
    void *jobs[POOL_JOBS_MAX];
    struct pool *pool = NULL;
    for (size_t i = 0; i < POOL_JOBS_MAX; i++)
        jobs[i] = &sums[i];
    cr_assert_eq(pool_new(3, jobs, square, &pool, NULL), 0);
    uint64_t handed_in = 0;
    uint64_t taken = 0;
    while (taken < 1000) {
        struct sum *next = handed_in < 1000 ? pool_free_job(pool) : NULL;
        if (next != NULL) {
            next->in = handed_in++;
            pool_submit(pool);
            continue;
        }
        const struct sum *done = pool_oldest(pool);
        cr_assert_eq(done->out, taken * taken);
        pool_take_back(pool);
        taken++;
    }
    cr_assert_null(pool_oldest(pool));
    pool_free(pool);
}

/* --- Pictures of trees --- */

Test(sampler, a_full_picture_becomes_coarser_and_stays_the_same_tree)
{
    struct sampler sampler;
    struct merkle_range whole, seen;
    uint64_t subtrees = 2 * SAMPLER_ROOTS_MAX + 6;
    struct sha256 *sha = sha256_new();
    cr_assert_eq(sampler_init(&sampler, NULL), 0);
    merkle_range_init(&whole);
    for (uint64_t i = 0; i < subtrees; i++) {
        struct hash root = sha256_of(sha, bytes_of(&i, sizeof(i)));
        sampler_add(&sampler, SAMPLER_HEIGHT_MIN, &root);
        merkle_range_append_subtree(&whole, sha, SAMPLER_HEIGHT_MIN, &root);
    }
    cr_assert_eq(sampler.height, SAMPLER_HEIGHT_MIN + 2);
    merkle_range_init(&seen);
    for (size_t i = 0; i < sampler.count; i++)
        merkle_range_append_subtree(&seen, sha, sampler.height, &sampler.roots[i]);
    cr_assert_eq(seen.size + sampler.part.size, whole.size);
    for (size_t i = 0; i < merkle_range_hash_count(seen.size); i++)
        cr_assert(hash_equal(&seen.hashes[i], &whole.hashes[i]));
    sampler_free(&sampler);
    sha256_free(sha);
}
