/* What a source sends, and what it believes. The log is a real one in a temporary folder. */
#include "replication/source.h"

#include <criterion/criterion.h>

#include "support/files.h"

#define ORIGIN "demo/eu/1"

static char folder[FILES_PATH_MAX];
static char folder_of_log[FILES_PATH_MAX];
static struct log *served;
static struct sha256 *sha;
static struct chain made; /* after the entries made so far */
static struct source source;
static enum residency residency; /* of what entries of odd numbers say */

static void begin(void)
{
    struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_TINY_BYTES};
    struct log_recovery recovery;
    struct err err = {0};
    files_temp_folder(folder);
    files_join(folder, "log", folder_of_log);
    sha = sha256_new();
    chain_init(&made, sha, bytes_of_string(ORIGIN));
    cr_assert_eq(log_create(disk_posix(), folder_of_log, bytes_of_string(ORIGIN), &options, &err), 0, "%s",
                 err.message);
    cr_assert_eq(log_open(disk_posix(), folder_of_log, bytes_of(NULL, 0), &options, &served, &recovery, &err), 0, "%s",
                 err.message);
}

static void end(void)
{
    log_close(served);
    sha256_free(sha);
    files_remove_folder(folder);
}

TestSuite(source, .init = begin, .fini = end);

static void add_entry(struct block *block)
{
    struct entry entry = {.index = made.range.size,
                          .prev = made.prev,
                          .time = made.last_time + 1,
                          .context = BYTES_LITERAL("bank"),
                          .partition = BYTES_LITERAL("north"),
                          .stream = BYTES_LITERAL("s"),
                          .stream_version = made.range.size,
                          .type = BYTES_LITERAL("Deposited"),
                          .epoch = 1};
    static const char said[] = "a payload that can be found again";
    struct frame frame = {.has_payload = true, .payload = BYTES_LITERAL(said), .salt = {9, 9, 9, 9}};
    entry.payload_size_bytes = frame.payload.size_bytes;
    struct buf encoded;
    memcpy(entry.log_id, made.log_id, ENTRY_LOG_ID_SIZE);
    entry.event_id[0] = (uint8_t)(made.range.size + 1);
    entry.payload_commitment = entry_payload_commitment(sha, frame.salt, frame.payload);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    chain_append(&made, sha, frame.entry, entry.time);
    buf_free(&encoded);
}

static void append(size_t entry_count)
{
    struct block *block = NULL;
    cr_assert_eq(block_new(made.range.size, made.log_id, &block, NULL), 0);
    for (size_t i = 0; i < entry_count; i++)
        add_entry(block);
    block_seal(block);
    cr_assert_eq(log_append(served, &block, 1, NULL), 0);
    block_release(block);
}

static void save_checkpoint(void)
{
    static const uint8_t seed[32] = {1};
    struct checkpoint checkpoint = {
        .origin = ORIGIN, .size = made.range.size, .root = merkle_range_root(&made.range, sha)};
    struct note_signer signer;
    struct buf note;
    cr_assert_eq(note_signer_from_seed(ORIGIN, NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &note, NULL), 0);
    cr_assert_eq(log_save_checkpoint(served, buf_bytes(&note), false, NULL), 0);
    buf_free(&note);
}

static enum residency residency_at(void *context, const struct entry *entry)
{
    cr_assert_eq(context, served);
    return entry->index % 2 == 1 ? residency : RESIDENCY_HELD;
}

static int open_source(uint64_t from_index)
{
    return source_open(&source, served, from_index, source_load_stored, residency_at, served, NULL);
}

static void expect_block(uint64_t first_index, uint32_t entry_count)
{
    struct block *block = NULL;
    struct err err = {0};
    cr_assert_eq(source_next_block(&source, &block, &err), 0, "%s", err.message);
    cr_assert_eq(block->first_index, first_index);
    cr_assert_eq(block->entry_count, entry_count);
    block_release(block);
}

static void expect_end(void)
{
    struct block *block = NULL;
    cr_assert_eq(source_next_block(&source, &block, NULL), ERR_END);
}

Test(source, blocks_come_in_order_and_go_on_as_the_log_grows)
{
    append(2);
    append(1);
    cr_assert_eq(open_source(0), 0);
    expect_block(0, 2);
    expect_block(2, 1);
    expect_end();
    append(3);
    expect_block(3, 3);
    expect_end();
    source_close(&source);
}

Test(source, a_puller_that_is_behind_begins_where_it_stands)
{
    append(2);
    append(2);
    cr_assert_eq(open_source(2), 0);
    expect_block(2, 2);
    source_close(&source);
}

Test(source, a_puller_ahead_of_the_log_is_refused)
{
    append(2);
    cr_assert_eq(open_source(3), ERR_MISMATCH);
}

Test(source, a_puller_that_stands_inside_a_block_is_refused)
{
    struct block *block = NULL;
    append(3);
    cr_assert_eq(open_source(1), 0);
    cr_assert_eq(source_next_block(&source, &block, NULL), ERR_MISMATCH);
    source_close(&source);
}

Test(source, a_checkpoint_comes_behind_what_it_covers_and_once)
{
    append(1);
    append(1);
    save_checkpoint();
    cr_assert_eq(open_source(0), 0);
    expect_block(0, 1);
    cr_assert_eq(source_next_checkpoint(&source).size_bytes, 0, "it covers two entries, one was sent");
    expect_block(1, 1);
    cr_assert_gt(source_next_checkpoint(&source).size_bytes, 0);
    cr_assert_eq(source_next_checkpoint(&source).size_bytes, 0);
    append(1);
    expect_block(2, 1);
    cr_assert_eq(source_next_checkpoint(&source).size_bytes, 0, "there is no newer one");
    save_checkpoint();
    cr_assert_gt(source_next_checkpoint(&source).size_bytes, 0);
    source_close(&source);
}

/* --- Payloads --- */

static struct block *next_block(void)
{
    struct block *block = NULL;
    struct err err = {0};
    cr_assert_eq(source_next_block(&source, &block, &err), 0, "%s", err.message);
    return block;
}

static bool holds(const struct block *block, struct bytes part)
{
    return memmem(block->data, block->size_bytes, part.data, part.size_bytes) != NULL;
}

Test(source, what_the_puller_may_hold_is_sent_as_it_stands)
{
    append(3);
    cr_assert_eq(open_source(0), 0);
    struct block *block = next_block();
    struct block *stored = NULL;
    cr_assert_eq(log_read_block(served, 0, &stored, NULL), 0);
    cr_assert(bytes_equal(block_bytes(block), block_bytes(stored)));
    block_release(stored);
    block_release(block);
    source_close(&source);
}

Test(source, what_the_puller_may_not_hold_is_left_out_with_its_salt)
{
    append(1);
    append(4);
    residency = RESIDENCY_WITHHELD;
    cr_assert_eq(open_source(1), 0);
    struct block *block = next_block();
    struct block_header header;
    struct chain chain;
    cr_assert_eq(block_check(block_bytes(block), &header, NULL), 0, "its checksum is that of what is left");
    cr_assert_eq(header.first_index, 1);
    cr_assert_eq(header.entry_count, 4);
    struct bytes elements = block_body(block);
    for (uint64_t index = 1; index < 5; index++) {
        struct frame frame;
        struct entry entry;
        static const uint8_t none[ENTRY_SALT_SIZE];
        cr_assert_eq(frame_next_entry(&elements, &frame, &entry, NULL), 0);
        cr_assert_eq(frame.has_payload, index % 2 == 0);
        cr_assert_eq(memcmp(frame.salt, none, sizeof(none)) == 0, index % 2 == 1);
        cr_assert_gt(entry.payload_size_bytes, 0);
    }
    chain_init(&chain, sha, bytes_of_string(ORIGIN));
    struct block *first = NULL;
    cr_assert_eq(log_read_block(served, 0, &first, NULL), 0);
    cr_assert_eq(chain_check_block(&chain, sha, block_body(first), 1, NULL, NULL, NULL, NULL), 0);
    cr_assert_eq(chain_check_block(&chain, sha, block_body(block), 4, NULL, NULL, NULL, NULL), 0);
    struct hash with = merkle_range_root(&made.range, sha);
    struct hash without = merkle_range_root(&chain.range, sha);
    cr_assert(hash_equal(&with, &without), "the tree is one of entries");
    block_release(first);
    block_release(block);
    source_close(&source);
}

Test(source, nothing_of_a_withheld_payload_is_in_the_block)
{
    append(1);
    append(1);
    residency = RESIDENCY_WITHHELD;
    cr_assert_eq(open_source(1), 0);
    struct block *block = next_block();
    cr_assert_not(holds(block, BYTES_LITERAL("payload that")));
    cr_assert_not(holds(block, BYTES_LITERAL("\x09\x09\x09\x09")), "the salt");
    block_release(block);
    source_close(&source);
}

Test(source, a_context_that_is_not_known_yet_is_not_sent)
{
    struct block *block = NULL;
    struct err err = {0};
    append(1);
    append(2);
    residency = RESIDENCY_UNKNOWN;
    cr_assert_eq(open_source(0), 0);
    expect_block(0, 1);
    cr_assert_eq(source_next_block(&source, &block, &err), ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(err.message, "entry 1 is of context \"bank\""), "%s", err.message);
    source_close(&source);
    residency = RESIDENCY_HELD;
    cr_assert_eq(open_source(1), 0);
    expect_block(1, 2);
    source_close(&source);
}

Test(source, an_entry_whose_payload_is_not_here_is_sent_without_asking)
{
    append(2);
    residency = RESIDENCY_WITHHELD;
    cr_assert_eq(open_source(0), 0);
    struct block *block = next_block();
    source_close(&source);
    log_close(served);
    files_remove_folder(folder_of_log);
    struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_TINY_BYTES};
    struct log_recovery recovery;
    cr_assert_eq(log_create(disk_posix(), folder_of_log, bytes_of_string(ORIGIN), &options, NULL), 0);
    cr_assert_eq(log_open(disk_posix(), folder_of_log, bytes_of(NULL, 0), &options, &served, &recovery, NULL), 0);
    cr_assert_eq(log_append(served, &block, 1, NULL), 0);
    residency = RESIDENCY_UNKNOWN;
    cr_assert_eq(open_source(0), 0);
    struct block *again = next_block();
    cr_assert(bytes_equal(block_bytes(again), block_bytes(block)));
    block_release(again);
    block_release(block);
    source_close(&source);
}

Test(source, acknowledgements_that_cannot_be_true_are_refused)
{
    static uint8_t long_line[SOURCE_COSIGNATURE_MAX_BYTES + 1];
    append(2);
    cr_assert_eq(source_check_acknowledged(served, 2, 2, bytes_of(NULL, 0), NULL), 0);
    cr_assert_eq(source_check_acknowledged(served, 3, 0, bytes_of(NULL, 0), NULL), ERR_MISMATCH);
    cr_assert_eq(source_check_acknowledged(served, 1, 2, bytes_of(NULL, 0), NULL), ERR_INVALID);
    cr_assert_eq(source_check_acknowledged(served, 2, 2, bytes_of(long_line, sizeof(long_line)), NULL), ERR_TOO_LARGE);
}
