#include <criterion/criterion.h>

#include "base/mem.h"
#include "support.h"

static struct fixture f;
static struct chain before;

static void setup(void)
{
    fixture_init(&f);
    struct block *block = make_block(&f, 3, 20);
    block_release(block);
    before = f.chain;
}

static void teardown(void)
{
    fixture_free(&f);
}

TestSuite(chain, .init = setup, .fini = teardown);

static void expect_bad(const struct block *block, uint64_t expected_index, const char *word)
{
    struct chain chain = before;
    struct err err = {0};
    uint64_t bad_index = UINT64_MAX;
    int code = chain_check_block(&chain, f.sha, block_body(block), block->entry_count, NULL, NULL, &bad_index, &err);
    cr_assert_eq(code, ERR_CORRUPT, "%s", err.message);
    cr_assert_eq(bad_index, expected_index);
    cr_assert(strstr(err.message, word) != NULL, "'%s' lacks '%s'", err.message, word);
    cr_assert_eq(chain.range.size, before.range.size);
    cr_assert(hash_equal(&chain.prev, &before.prev));
}

static void spoil_index(struct entry *entry)
{
    entry->index++;
}

static void spoil_log_id(struct entry *entry)
{
    entry->log_id[7] ^= 1;
}

static void spoil_prev(struct entry *entry)
{
    entry->prev.bytes[31] ^= 1;
}

static void spoil_time(struct entry *entry)
{
    entry->time = entry->time - 1000;
}

static void spoil_commitment(struct entry *entry)
{
    entry->payload_commitment.bytes[0] ^= 1;
}

static void spoil_size(struct entry *entry)
{
    entry->payload_size_bytes++;
}

Test(chain, accepts_what_follows_and_moves)
{
    struct block *block = make_block(&f, 4, 20);
    struct chain chain = before;
    cr_assert_eq(chain_check_block(&chain, f.sha, block_body(block), 4, NULL, NULL, NULL, NULL), 0);
    struct hash root = merkle_range_root(&chain.range, f.sha);
    struct hash expected = merkle_range_root(&f.chain.range, f.sha);
    cr_assert_eq(chain.range.size, 7);
    cr_assert(hash_equal(&root, &expected));
    cr_assert(hash_equal(&chain.prev, &f.chain.prev));
    cr_assert_eq(chain.last_time, f.chain.last_time);
    block_release(block);
}

Test(chain, starts_at_the_genesis_of_its_origin)
{
    struct chain ours, other;
    chain_init(&ours, f.sha, BYTES_LITERAL("demo/eu/1"));
    chain_init(&other, f.sha, BYTES_LITERAL("demo/eu/2"));
    cr_assert_eq(ours.range.size, 0);
    cr_assert_not(hash_equal(&ours.prev, &other.prev));
    cr_assert_neq(memcmp(ours.log_id, other.log_id, ENTRY_LOG_ID_SIZE), 0);
}

Test(chain, names_each_kind_of_bad_entry)
{
    const struct {
        spoil_fn *spoil;
        const char *word;
    } cases[] = {{spoil_index, "number"},  {spoil_log_id, "another log"},    {spoil_prev, "does not follow"},
                 {spoil_time, "the time"}, {spoil_commitment, "commitment"}, {spoil_size, "its entry says"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f.chain = before;
        struct block *block = make_spoiled_block(&f, 3, 20, cases[i].spoil);
        expect_bad(block, before.range.size + 2, cases[i].word);
        block_release(block);
    }
}

Test(chain, a_changed_entry_breaks_the_one_after_it)
{
    struct block *block = make_block(&f, 3, 20);
    struct bytes frame_bytes;
    struct frame frame;
    struct entry entry;
    cr_assert_eq(block_find(block, 4, &frame_bytes, NULL), 0);
    cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
    cr_assert_eq(entry_parse(frame.entry, &entry, NULL), 0);
    block->data[entry.stream.data - block->data] = 'S';
    expect_bad(block, 5, "does not follow");
    block_release(block);
}

Test(chain, the_count_must_be_exact)
{
    struct block *block = make_block(&f, 3, 20);
    block->entry_count = 2;
    expect_bad(block, 5, "more bytes");
    block->entry_count = 4;
    expect_bad(block, 6, "fewer entries");
    block_release(block);
}

Test(chain, a_block_from_further_on_is_refused)
{
    struct block *skipped = make_block(&f, 1, 20);
    struct block *block = make_block(&f, 1, 20);
    expect_bad(block, 3, "entry 3 belongs here");
    block_release(skipped);
    block_release(block);
}

Test(chain, withheld_payloads_are_fine)
{
    struct block *held = make_block(&f, 1, 20);
    struct block *withheld = NULL;
    struct bytes frame_bytes;
    struct frame frame;
    struct chain chain = before;
    cr_assert_eq(block_find(held, 3, &frame_bytes, NULL), 0);
    cr_assert_eq(frame_parse(frame_bytes, &frame, NULL), 0);
    frame.has_payload = false;
    cr_assert_eq(block_new(3, f.chain.log_id, &withheld, NULL), 0);
    cr_assert_eq(block_add(withheld, &frame, NULL), 0);
    block_seal(withheld);
    cr_assert_eq(chain_check_block(&chain, f.sha, block_body(withheld), 1, NULL, NULL, NULL, NULL), 0);
    cr_assert(hash_equal(&chain.prev, &f.chain.prev));
    block_release(held);
    block_release(withheld);
}

struct seen {
    uint64_t next;
    uint64_t stop_at;
};

static int see(void *context, const struct chain_entry *entry, struct err *err)
{
    struct seen *seen = context;
    cr_assert_eq(entry->entry.index, seen->next);
    cr_assert_eq(entry->element.data[0], 0x0A);
    seen->next++;
    return entry->entry.index == seen->stop_at ? err_set(err, ERR_CANCELLED, "enough") : 0;
}

Test(chain, shows_each_entry_and_stops_when_asked)
{
    struct block *block = make_block(&f, 4, 20);
    struct seen seen = {.next = 3, .stop_at = 5};
    struct chain chain = before;
    cr_assert_eq(chain_check_block(&chain, f.sha, block_body(block), 4, see, &seen, NULL, NULL), ERR_CANCELLED);
    cr_assert_eq(chain.range.size, 3);
    seen = (struct seen){.next = 3, .stop_at = 100};
    cr_assert_eq(chain_check_block(&chain, f.sha, block_body(block), 4, see, &seen, NULL, NULL), 0);
    cr_assert_eq(seen.next, 7);
    block_release(block);
}
