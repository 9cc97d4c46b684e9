#include "replication/mirror.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "base/mem.h"

#define ORIGIN "demo/eu/1"

/* Plays the region that writes the log: makes blocks of valid entries, each after the other. */
struct writer {
    struct sha256 *sha;
    struct chain chain; /* after the entries made so far */
    size_t payload_size_bytes;
};

typedef void spoil_fn(struct entry *entry, struct frame *frame);

static struct writer writer;
static struct mirror mirror;

static void setup(void)
{
    struct err err = {0};
    writer = (struct writer){.sha = sha256_new(), .payload_size_bytes = 20};
    cr_assert_not_null(writer.sha);
    chain_init(&writer.chain, writer.sha, BYTES_LITERAL(ORIGIN));
    cr_assert_eq(mirror_init(&mirror, &writer.chain, MIRROR_BOUNDARIES_MAX, writer.sha, &err), 0, "%s", err.message);
}

static void teardown(void)
{
    mirror_free(&mirror);
    sha256_free(writer.sha);
}

TestSuite(mirror, .init = setup, .fini = teardown);

static void add_entry(struct block *block, spoil_fn *spoil)
{
    uint8_t payload[64];
    uint64_t index = writer.chain.range.size;
    memset(payload, (int)(index & 0x7F), sizeof(payload));
    struct frame frame = {.has_payload = true, .payload = bytes_of(payload, writer.payload_size_bytes)};
    memset(frame.salt, 0x5A, sizeof(frame.salt));
    struct entry entry = {
        .index = index,
        .prev = writer.chain.prev,
        .time = writer.chain.last_time + 1000,
        .context = BYTES_LITERAL("test"),
        .partition = BYTES_LITERAL("p"),
        .stream = BYTES_LITERAL("s"),
        .stream_version = index,
        .type = BYTES_LITERAL("Happened"),
        .epoch = 1,
        .payload_size_bytes = frame.payload.size_bytes,
        .payload_commitment = entry_payload_commitment(writer.sha, frame.salt, frame.payload),
    };
    memcpy(entry.log_id, writer.chain.log_id, ENTRY_LOG_ID_SIZE);
    put_u64_be(entry.event_id, index + 1);
    if (spoil != NULL)
        spoil(&entry, &frame);
    struct buf encoded;
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    chain_append(&writer.chain, writer.sha, frame.entry, writer.chain.last_time + 1000);
    buf_free(&encoded);
}

/* A sealed block whose last entry was spoiled (NULL: none was). */
static struct block *make_block(uint32_t entry_count, spoil_fn *spoil)
{
    struct block *block = NULL;
    cr_assert_eq(block_new(writer.chain.range.size, writer.chain.log_id, &block, NULL), 0);
    for (uint32_t i = 0; i < entry_count; i++)
        add_entry(block, i + 1 == entry_count ? spoil : NULL);
    block_seal(block);
    return block;
}

static void expect_taken(struct block *block)
{
    struct err err = {0};
    int code = mirror_check_block(&mirror, writer.sha, block, NULL, NULL, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    block_release(block);
}

static struct hash writer_root(void)
{
    return merkle_range_root(&writer.chain.range, writer.sha);
}

static void expect_root(uint64_t size, const struct hash *expected)
{
    struct hash root;
    cr_assert(mirror_root(&mirror, size, &root), "no boundary at %llu", (unsigned long long)size);
    cr_assert(hash_equal(&root, expected), "root at %llu", (unsigned long long)size);
}

static void expect_no_root(uint64_t size)
{
    struct hash root = {.bytes = {7}};
    cr_assert_not(mirror_root(&mirror, size, &root), "a boundary at %llu", (unsigned long long)size);
    cr_assert_eq(root.bytes[0], 7, "outputs are untouched on failure");
}

/* The block is refused with words in the message, nothing moves, and the true block fits afterwards. */
static void expect_refused(struct block *block, const char *word)
{
    struct chain before = mirror.chain;
    size_t boundaries = mirror.boundary_count;
    struct err err = {0};
    cr_assert_eq(mirror_check_block(&mirror, writer.sha, block, NULL, NULL, &err), ERR_CORRUPT, "%s", err.message);
    cr_assert_not_null(strstr(err.message, word), "'%s' lacks '%s'", err.message, word);
    cr_assert_eq(mirror_check_block(&mirror, writer.sha, block, NULL, NULL, NULL), ERR_CORRUPT);
    cr_assert_eq(mirror_size(&mirror), before.range.size);
    cr_assert(hash_equal(&mirror.chain.prev, &before.prev));
    cr_assert_eq(mirror.chain.last_time, before.last_time);
    cr_assert_eq(mirror.boundary_count, boundaries);
    block_release(block);
    writer.chain = before;
    expect_taken(make_block(3, NULL));
}

/* --- Blocks that fit --- */

Test(mirror, starts_where_its_chain_stands_which_is_a_boundary)
{
    struct hash empty = sha256_of(writer.sha, bytes_of(NULL, 0));
    cr_assert_eq(mirror_size(&mirror), 0);
    expect_root(0, &empty);
    expect_no_root(1);
}

Test(mirror, can_start_in_the_middle_of_a_log)
{
    struct mirror later;
    block_release(make_block(5, NULL));
    cr_assert_eq(mirror_init(&later, &writer.chain, MIRROR_BOUNDARIES_MAX, writer.sha, NULL), 0);
    struct hash root;
    struct hash expected = writer_root();
    cr_assert_eq(mirror_size(&later), 5);
    cr_assert(mirror_root(&later, 5, &root));
    cr_assert(hash_equal(&root, &expected));
    cr_assert_not(mirror_root(&later, 0, &root));
    struct block *next = make_block(2, NULL);
    cr_assert_eq(mirror_check_block(&later, writer.sha, next, NULL, NULL, NULL), 0);
    cr_assert_eq(mirror_size(&later), 7);
    block_release(next);
    mirror_free(&later);
}

Test(mirror, moves_past_blocks_that_follow_and_remembers_their_ends)
{
    struct hash roots[4];
    const uint32_t counts[] = {1, 3, 7, 2};
    uint64_t size = 0;
    for (size_t i = 0; i < 4; i++) {
        expect_taken(make_block(counts[i], NULL));
        size += counts[i];
        roots[i] = writer_root();
        cr_assert_eq(mirror_size(&mirror), size);
    }
    expect_root(1, &roots[0]);
    expect_root(4, &roots[1]);
    expect_root(11, &roots[2]);
    expect_root(13, &roots[3]);
    cr_assert(hash_equal(&mirror.chain.prev, &writer.chain.prev));
    cr_assert_eq(mirror.chain.last_time, writer.chain.last_time);
}

Test(mirror, sizes_between_blocks_are_no_boundaries)
{
    expect_taken(make_block(3, NULL));
    expect_taken(make_block(3, NULL));
    const uint64_t sizes[] = {1, 2, 4, 5, 7, UINT64_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        expect_no_root(sizes[i]);
}

Test(mirror, two_mirrors_of_one_log_have_the_same_roots)
{
    struct mirror other;
    struct chain start;
    struct hash ours, theirs;
    chain_init(&start, writer.sha, BYTES_LITERAL(ORIGIN));
    cr_assert_eq(mirror_init(&other, &start, MIRROR_BOUNDARIES_MAX, writer.sha, NULL), 0);
    struct block *block = make_block(9, NULL);
    cr_assert_eq(mirror_check_block(&other, writer.sha, block, NULL, NULL, NULL), 0);
    expect_taken(block);
    cr_assert(mirror_root(&mirror, 9, &ours));
    cr_assert(mirror_root(&other, 9, &theirs));
    cr_assert(hash_equal(&ours, &theirs));
    mirror_free(&other);
}

static void drop_payload(struct entry *entry, struct frame *frame)
{
    (void)entry;
    frame->has_payload = false;
    frame->payload = bytes_of(NULL, 0);
}

/* A region that may not hold payloads still follows the log. */
Test(mirror, a_payload_may_be_withheld)
{
    expect_taken(make_block(2, drop_payload));
    struct hash expected = writer_root();
    expect_root(2, &expected);
}

/* --- Blocks that do not --- */

static void spoil_index(struct entry *entry, struct frame *frame)
{
    (void)frame;
    entry->index++;
}

static void spoil_log_id(struct entry *entry, struct frame *frame)
{
    (void)frame;
    entry->log_id[7] ^= 1;
}

static void spoil_prev(struct entry *entry, struct frame *frame)
{
    (void)frame;
    entry->prev.bytes[31] ^= 1;
}

static void spoil_time(struct entry *entry, struct frame *frame)
{
    (void)frame;
    entry->time -= 1000;
}

static void spoil_commitment(struct entry *entry, struct frame *frame)
{
    (void)frame;
    entry->payload_commitment.bytes[0] ^= 1;
}

static void spoil_payload(struct entry *entry, struct frame *frame)
{
    (void)entry;
    frame->payload = BYTES_LITERAL("not these 20 bytes..");
}

static void spoil_payload_size(struct entry *entry, struct frame *frame)
{
    (void)entry;
    frame->payload.size_bytes--;
}

static void spoil_salt(struct entry *entry, struct frame *frame)
{
    (void)entry;
    frame->salt[0] ^= 1;
}

Test(mirror, an_entry_with_a_wrong_index_is_refused)
{
    expect_refused(make_block(3, spoil_index), "entry 2: the entry says it is number 3");
}

Test(mirror, an_entry_of_another_log_is_refused)
{
    expect_refused(make_block(3, spoil_log_id), "entry 2 belongs to another log");
}

Test(mirror, an_entry_that_does_not_follow_is_refused)
{
    expect_refused(make_block(3, spoil_prev), "entry 2 does not follow entry 1");
    expect_refused(make_block(1, spoil_prev), "entry 3 does not follow entry 2");
}

Test(mirror, an_entry_from_before_the_one_before_it_is_refused)
{
    expect_refused(make_block(3, spoil_time), "entry 2: the time of entry 2");
}

Test(mirror, an_entry_with_a_wrong_commitment_is_refused)
{
    expect_refused(make_block(3, spoil_commitment), "entry 2: ");
}

Test(mirror, a_changed_payload_is_refused)
{
    expect_refused(make_block(3, spoil_payload), "commitment");
    expect_refused(make_block(3, spoil_payload_size), "entry 5: ");
}

Test(mirror, a_changed_salt_is_refused)
{
    expect_refused(make_block(3, spoil_salt), "commitment");
}

/* A forger can make a good checksum; what he cannot make is the entry that prev and the root stand for. */
Test(mirror, a_changed_byte_anywhere_in_a_block_is_refused_or_changes_the_root)
{
    struct block *block = make_block(3, NULL);
    struct hash true_root = writer_root();
    struct chain start = mirror.chain;
    for (size_t at = BLOCK_HEADER_BYTES; at < block->size_bytes; at++) {
        block->data[at] ^= 1;
        int code = mirror_check_block(&mirror, writer.sha, block, NULL, NULL, NULL);
        block->data[at] ^= 1;
        cr_assert(code == 0 || code == ERR_CORRUPT || code == ERR_UNSUPPORTED, "byte %zu: %d", at, code);
        if (code == 0) {
            struct hash root;
            cr_assert(mirror_root(&mirror, 3, &root));
            cr_assert_not(hash_equal(&root, &true_root), "byte %zu", at);
            mirror_free(&mirror);
            cr_assert_eq(mirror_init(&mirror, &start, MIRROR_BOUNDARIES_MAX, writer.sha, NULL), 0);
        }
        cr_assert_eq(mirror_size(&mirror), 0);
    }
    expect_taken(block);
    expect_root(3, &true_root);
}

Test(mirror, a_block_of_another_log_is_refused)
{
    struct block *block = make_block(3, NULL);
    block->data[24] ^= 1; /* the header's log id */
    expect_refused(block, "the block at entry 0 belongs to another log");
}

Test(mirror, a_block_whose_header_is_none_is_refused)
{
    struct block *block = make_block(3, NULL);
    block->data[0] ^= 1;
    expect_refused(block, "block");
}

Test(mirror, the_same_indexes_of_another_incarnation_are_refused)
{
    struct chain ours = writer.chain;
    chain_init(&writer.chain, writer.sha, BYTES_LITERAL("demo/eu/2"));
    struct block *block = make_block(3, NULL);
    writer.chain = ours;
    expect_refused(block, "belongs to another log");
}

/* A fork: the same index, another entry. */
Test(mirror, a_block_of_another_history_is_refused)
{
    struct chain common = writer.chain;
    writer.payload_size_bytes = 21;
    block_release(make_block(1, NULL));
    struct block *fork = make_block(2, NULL);
    writer.chain = common;
    writer.payload_size_bytes = 20;
    expect_taken(make_block(1, NULL));
    expect_refused(fork, "entry 1 does not follow entry 0");
}

Test(mirror, a_block_that_starts_elsewhere_is_our_own_bug, .signal = SIGABRT)
{
    block_release(make_block(1, NULL));
    struct block *second = make_block(1, NULL);
    cr_assert_neq(mirror_check_block(&mirror, writer.sha, second, NULL, NULL, NULL), 0);
}

/* --- Each entry, as it passes --- */

struct seen {
    uint64_t count;
    uint64_t stop_at; /* this entry is not wanted */
};

static int see(void *context, const struct chain_entry *entry, struct err *err)
{
    struct seen *seen = context;
    cr_assert_eq(entry->entry.index, seen->count);
    if (seen->count == seen->stop_at)
        return err_set(err, ERR_BUSY, "no room for this one");
    seen->count++;
    return 0;
}

Test(mirror, each_entry_is_shown_once_and_in_order)
{
    struct seen seen = {.stop_at = UINT64_MAX};
    for (int i = 0; i < 3; i++) {
        struct block *block = make_block(4, NULL);
        cr_assert_eq(mirror_check_block(&mirror, writer.sha, block, see, &seen, NULL), 0);
        block_release(block);
    }
    cr_assert_eq(seen.count, 12);
}

Test(mirror, entries_before_a_bad_one_are_shown_but_nothing_moves)
{
    struct seen seen = {.stop_at = UINT64_MAX};
    struct block *block = make_block(4, spoil_prev);
    cr_assert_eq(mirror_check_block(&mirror, writer.sha, block, see, &seen, NULL), ERR_CORRUPT);
    cr_assert_eq(seen.count, 3);
    cr_assert_eq(mirror_size(&mirror), 0);
    block_release(block);
}

Test(mirror, whoever_looks_can_stop_it_and_nothing_moves)
{
    struct seen seen = {.stop_at = 2};
    struct err err = {0};
    struct block *block = make_block(4, NULL);
    cr_assert_eq(mirror_check_block(&mirror, writer.sha, block, see, &seen, &err), ERR_BUSY);
    cr_assert_not_null(strstr(err.message, "no room for this one"), "%s", err.message);
    cr_assert_eq(mirror_size(&mirror), 0);
    expect_no_root(4);
    expect_taken(block);
}

/* --- The ring of boundaries --- */

Test(mirror, the_writer_of_a_log_marks_its_own_boundaries)
{
    block_release(make_block(6, NULL));
    mirror.chain = writer.chain;
    expect_no_root(6);
    mirror_mark_boundary(&mirror, writer.sha);
    struct hash expected = writer_root();
    expect_root(6, &expected);
}

Test(mirror, a_full_ring_forgets_the_oldest_boundary_alone)
{
    enum { EXTRA = 5 };
    static struct hash roots[MIRROR_BOUNDARIES_MAX + EXTRA + 1];
    struct hash leaf = {.bytes = {1}};
    roots[0] = sha256_of(writer.sha, bytes_of(NULL, 0));
    for (uint64_t size = 1; size <= MIRROR_BOUNDARIES_MAX + EXTRA; size++) {
        merkle_range_append(&mirror.chain.range, writer.sha, &leaf);
        mirror_mark_boundary(&mirror, writer.sha);
        roots[size] = merkle_range_root(&mirror.chain.range, writer.sha);
        if (size == MIRROR_BOUNDARIES_MAX - 1)
            expect_root(0, &roots[0]);
        if (size == MIRROR_BOUNDARIES_MAX) {
            expect_no_root(0);
            expect_root(1, &roots[1]);
        }
    }
    cr_assert_eq(mirror.boundary_count, MIRROR_BOUNDARIES_MAX);
    for (uint64_t size = 0; size <= EXTRA; size++)
        expect_no_root(size);
    for (uint64_t size = EXTRA + 1; size <= MIRROR_BOUNDARIES_MAX + EXTRA; size++)
        expect_root(size, &roots[size]);
    expect_no_root(MIRROR_BOUNDARIES_MAX + EXTRA + 1);
}

Test(mirror, running_out_of_memory_is_reported)
{
    struct mirror other = {.boundary_count = 77};
    struct err err = {0};
    mem_fail_at(1);
    cr_assert_eq(mirror_init(&other, &writer.chain, MIRROR_BOUNDARIES_MAX, writer.sha, &err), ERR_NO_MEMORY);
    cr_assert_eq(err.code, ERR_NO_MEMORY);
    cr_assert_eq(other.boundary_count, 77, "outputs are untouched on failure");
}

Test(mirror, freeing_twice_is_fine)
{
    mirror_free(&mirror);
    cr_assert_null(mirror.boundaries);
    mirror_free(&mirror);
}
