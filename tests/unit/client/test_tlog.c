#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "crypto/tile.h"
#include "log/log.h"
#include "support/files.h"
#include "tally/tlog.h"

#define ORIGIN "bank/eu/1"

enum { LOG_SIZE = 600, BLOCK_ENTRIES = 100 };

struct fixture {
    char folder[64];
    char log[80];
    char out[80];
    struct sha256 *sha;
    struct chain chain;
    struct hash leaves[LOG_SIZE];
};

static void add_entry(struct fixture *fixture, struct block *block, uint64_t index)
{
    struct buf encoded;
    buf_init(&encoded, ENTRY_MAX_BYTES);
    struct frame frame = {.has_payload = true, .salt = {(uint8_t)index}, .payload = BYTES_LITERAL("{}")};
    struct entry entry = {
        .index = index,
        .prev = fixture->chain.prev,
        .time = hlc_next(fixture->chain.last_time, 1700000000000000ULL),
        .event_id = {(uint8_t)(index >> 8), (uint8_t)index},
        .context = BYTES_LITERAL("bank"),
        .partition = BYTES_LITERAL("eu"),
        .stream = BYTES_LITERAL("a"),
        .stream_version = index,
        .type = BYTES_LITERAL("Deposited"),
        .epoch = 1,
        .payload_size_bytes = frame.payload.size_bytes,
        .payload_commitment = entry_payload_commitment(fixture->sha, frame.salt, frame.payload),
    };
    memcpy(entry.log_id, fixture->chain.log_id, sizeof(entry.log_id));
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    fixture->leaves[index] = chain_append(&fixture->chain, fixture->sha, frame.entry, entry.time);
    buf_free(&encoded);
}

static struct fixture *make_log(void)
{
    struct fixture *fixture = mem_alloc_zero(1, sizeof(*fixture));
    struct log_options options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES};
    struct log_recovery recovery;
    struct log *log = NULL;
    files_temp_folder_within(fixture->folder, sizeof(fixture->folder));
    (void)snprintf(fixture->log, sizeof(fixture->log), "%s/log", fixture->folder);
    (void)snprintf(fixture->out, sizeof(fixture->out), "%s/out", fixture->folder);
    fixture->sha = sha256_new();
    chain_init(&fixture->chain, fixture->sha, BYTES_LITERAL(ORIGIN));
    cr_assert_eq(log_create(disk_posix(), fixture->log, BYTES_LITERAL(ORIGIN), &options, NULL), 0);
    cr_assert_eq(log_open(disk_posix(), fixture->log, BYTES_LITERAL(ORIGIN), &options, &log, &recovery, NULL), 0);
    for (uint64_t first = 0; first < LOG_SIZE; first += BLOCK_ENTRIES) {
        struct block *block = NULL;
        cr_assert_eq(block_new(first, fixture->chain.log_id, &block, NULL), 0);
        for (uint64_t i = 0; i < BLOCK_ENTRIES; i++)
            add_entry(fixture, block, first + i);
        block_seal(block);
        cr_assert_eq(log_append(log, &block, 1, NULL), 0);
        block_release(block);
    }
    log_close(log);
    return fixture;
}

static void free_log(struct fixture *fixture)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -r %s", fixture->folder);
    cr_assert_eq(system(command), 0);
    sha256_free(fixture->sha);
    mem_free(fixture);
}

static struct hash root_of(struct fixture *fixture, const struct hash *leaves, uint64_t size)
{
    struct merkle_range range;
    merkle_range_init(&range);
    for (uint64_t i = 0; i < size; i++)
        merkle_range_append(&range, fixture->sha, &leaves[i]);
    return merkle_range_root(&range, fixture->sha);
}

static int export(struct fixture *fixture, uint64_t size, struct err *err)
{
    struct checkpoint checkpoint = {.origin = ORIGIN, .size = size, .root = {{1}}};
    if (size <= LOG_SIZE)
        checkpoint.root = root_of(fixture, fixture->leaves, size);
    return tlog_write_tiles(disk_posix(), fixture->log, &checkpoint, fixture->out, err);
}

static struct buf read_out(struct fixture *fixture, const char *name, int wanted)
{
    struct buf out;
    char path[200];
    buf_init(&out, 64 * 1024 * 1024);
    (void)snprintf(path, sizeof(path), "%s/%s", fixture->out, name);
    cr_expect_eq(disk_read_file(disk_posix(), path, &out, NULL), wanted, "%s", name);
    return out;
}

static void expect_hashes(struct fixture *fixture, const char *name, const struct hash *hashes, size_t count)
{
    struct buf tile = read_out(fixture, name, 0);
    cr_expect(bytes_equal(buf_bytes(&tile), bytes_of(hashes, count * HASH_SIZE)), "%s", name);
    buf_free(&tile);
}

static void expect_absent(struct fixture *fixture, const char *name)
{
    struct buf none = read_out(fixture, name, ERR_NOT_FOUND);
    buf_free(&none);
}

Test(tlog, tiles_hold_the_hashes_of_each_level)
{
    struct fixture *fixture = make_log();
    struct err err = {0};
    cr_assert_eq(export(fixture, LOG_SIZE, &err), 0, "%s", err.message);
    const struct hash roots[2] = {root_of(fixture, fixture->leaves, 256), root_of(fixture, fixture->leaves + 256, 256)};
    expect_hashes(fixture, "tile/0/000", fixture->leaves, 256);
    expect_hashes(fixture, "tile/0/001", fixture->leaves + 256, 256);
    expect_hashes(fixture, "tile/0/002.p/88", fixture->leaves + 512, 88);
    expect_hashes(fixture, "tile/1/000.p/2", roots, 2);
    expect_absent(fixture, "tile/2/000.p/1");
    expect_absent(fixture, "tile/0/002");
    free_log(fixture);
}

Test(tlog, bundles_hold_the_entries_behind_their_sizes)
{
    struct fixture *fixture = make_log();
    cr_assert_eq(export(fixture, LOG_SIZE, NULL), 0);
    const char *names[] = {"tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"};
    uint64_t index = 0;
    for (size_t i = 0; i < 3; i++) {
        struct buf bundle = read_out(fixture, names[i], 0);
        size_t at = 0;
        while (at + 2 <= bundle.size_bytes) {
            size_t size = get_u16_be(bundle.data + at);
            cr_assert_leq(at + 2 + size, bundle.size_bytes);
            cr_assert_lt(index, LOG_SIZE);
            struct hash leaf = merkle_leaf(fixture->sha, bytes_of(bundle.data + at + 2, size));
            cr_assert(hash_equal(&leaf, &fixture->leaves[index]), "entry %d", (int)index);
            at += 2 + size;
            index++;
        }
        cr_expect_eq(at, bundle.size_bytes);
        buf_free(&bundle);
    }
    cr_expect_eq(index, LOG_SIZE);
    free_log(fixture);
}

Test(tlog, entries_past_the_checkpoint_stay_out)
{
    struct fixture *fixture = make_log();
    cr_assert_eq(export(fixture, 257, NULL), 0);
    expect_hashes(fixture, "tile/0/001.p/1", fixture->leaves + 256, 1);
    expect_absent(fixture, "tile/0/001");
    expect_absent(fixture, "tile/0/001.p/44");
    free_log(fixture);
}

Test(tlog, an_empty_log_has_no_tiles)
{
    struct fixture *fixture = make_log();
    cr_assert_eq(export(fixture, 0, NULL), 0);
    expect_absent(fixture, "tile/0/000.p/1");
    free_log(fixture);
}

Test(tlog, a_full_tile_has_no_partial_beside_it)
{
    struct fixture *fixture = make_log();
    cr_assert_eq(export(fixture, 512, NULL), 0);
    expect_absent(fixture, "tile/0/002.p/1");
    expect_absent(fixture, "tile/entries/002.p/1");
    free_log(fixture);
}

Test(tlog, a_log_shorter_than_its_checkpoint_is_corrupt)
{
    struct fixture *fixture = make_log();
    struct err err = {0};
    cr_expect_eq(export(fixture, LOG_SIZE + 1, &err), ERR_CORRUPT);
    cr_expect_not_null(strstr(err.message, "600"), "%s", err.message);
    free_log(fixture);
}

Test(tlog, another_root_than_the_signed_one_is_corrupt)
{
    struct fixture *fixture = make_log();
    struct checkpoint checkpoint = {.origin = ORIGIN, .size = 300, .root = root_of(fixture, fixture->leaves, 299)};
    cr_expect_eq(tlog_write_tiles(disk_posix(), fixture->log, &checkpoint, fixture->out, NULL), ERR_CORRUPT);
    free_log(fixture);
}

Test(tlog, another_logs_files_are_refused)
{
    struct fixture *fixture = make_log();
    struct checkpoint checkpoint = {.origin = "bank/us/1", .size = 300, .root = root_of(fixture, fixture->leaves, 300)};
    cr_expect_lt(tlog_write_tiles(disk_posix(), fixture->log, &checkpoint, fixture->out, NULL), 0);
    free_log(fixture);
}
