#include "support.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/note.h"
#include "support/files.h"

void fixture_init(struct fixture *fixture)
{
    *fixture = (struct fixture){.disk = disk_posix(), .options = {.segment_size_bytes = LOG_SEGMENT_SIZE_MIN_BYTES}};
    files_temp_folder_within(fixture->folder, sizeof(fixture->folder));
    snprintf(fixture->log_folder, sizeof(fixture->log_folder), "%s/log", fixture->folder);
    fixture->sha = sha256_new();
    chain_init(&fixture->chain, fixture->sha, BYTES_LITERAL(TEST_ORIGIN));
    prng_seed(&fixture->prng, 1);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

void fixture_free(struct fixture *fixture)
{
    sha256_free(fixture->sha);
    cr_assert_eq(nftw(fixture->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void add_entry(struct fixture *fixture, struct block *block, size_t payload_size_bytes, spoil_fn *spoil)
{
    uint8_t *payload = mem_alloc(payload_size_bytes);
    struct buf encoded;
    struct frame frame = {.has_payload = true, .payload = bytes_of(payload, payload_size_bytes)};
    prng_fill(&fixture->prng, payload, payload_size_bytes);
    prng_fill(&fixture->prng, frame.salt, sizeof(frame.salt));
    struct entry entry = {
        .index = fixture->chain.range.size,
        .prev = fixture->chain.prev,
        .time = fixture->chain.last_time + 1000,
        .context = BYTES_LITERAL("test"),
        .partition = BYTES_LITERAL("p"),
        .stream = BYTES_LITERAL("s"),
        .stream_version = fixture->chain.range.size,
        .type = BYTES_LITERAL("Happened"),
        .epoch = 1,
        .payload_size_bytes = payload_size_bytes,
        .payload_commitment = entry_payload_commitment(fixture->sha, frame.salt, frame.payload),
    };
    memcpy(entry.log_id, fixture->chain.log_id, ENTRY_LOG_ID_SIZE);
    prng_fill(&fixture->prng, entry.event_id, ENTRY_ID_SIZE);
    if (spoil != NULL)
        spoil(&entry);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    cr_assert_eq(entry_encode(&entry, &encoded, NULL), 0);
    frame.entry = buf_bytes(&encoded);
    cr_assert_eq(block_add(block, &frame, NULL), 0);
    chain_append(&fixture->chain, fixture->sha, frame.entry, fixture->chain.last_time + 1000);
    buf_free(&encoded);
    mem_free(payload);
}

struct block *make_spoiled_block(struct fixture *fixture, uint32_t entry_count, size_t payload_size_bytes,
                                 spoil_fn *spoil)
{
    struct block *block = NULL;
    cr_assert_eq(block_new(fixture->chain.range.size, fixture->chain.log_id, &block, NULL), 0);
    for (uint32_t i = 0; i < entry_count; i++)
        add_entry(fixture, block, payload_size_bytes, i + 1 == entry_count ? spoil : NULL);
    block_seal(block);
    return block;
}

struct block *make_block(struct fixture *fixture, uint32_t entry_count, size_t payload_size_bytes)
{
    return make_spoiled_block(fixture, entry_count, payload_size_bytes, NULL);
}

void reseal(uint8_t *block_bytes)
{
    size_t size = BLOCK_HEADER_BYTES + get_u32_le(block_bytes + 4);
    uint32_t crc = crc32c(0, bytes_of(block_bytes, 12));
    put_u32_le(block_bytes + 12, crc32c(crc, bytes_of(block_bytes + 16, size - 16)));
}

struct log *open_log(struct fixture *fixture, struct log_recovery *ret_recovery)
{
    struct log *log = NULL;
    struct err err = {0};
    struct log_recovery recovery;
    int code = log_open(fixture->disk, fixture->log_folder, BYTES_LITERAL(TEST_ORIGIN), &fixture->options, &log,
                        &recovery, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    if (ret_recovery != NULL)
        *ret_recovery = recovery;
    return log;
}

void expect_open_fails(struct fixture *fixture, int code, struct err *err)
{
    struct log *log = NULL;
    struct log_recovery recovery;
    int got = log_open(fixture->disk, fixture->log_folder, BYTES_LITERAL(TEST_ORIGIN), &fixture->options, &log,
                       &recovery, err);
    cr_assert_eq(got, code, "%s: %s", tally_error_name(got), err->message);
    cr_assert_null(log);
}

struct log *create_log(struct fixture *fixture)
{
    struct err err = {0};
    int code = log_create(fixture->disk, fixture->log_folder, BYTES_LITERAL(TEST_ORIGIN), &fixture->options, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    return open_log(fixture, NULL);
}

void append_one(struct log *log, struct block *block)
{
    struct err err = {0};
    int code = log_append(log, &block, 1, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    block_release(block);
}

void expect_readable(struct log *log, uint64_t size)
{
    struct log_cursor *cursor = NULL;
    struct block *block = NULL;
    struct err err = {0};
    struct chain chain;
    struct sha256 *sha = sha256_new();
    chain_init(&chain, sha, log_origin(log));
    cr_assert_eq(log_durable_size(log), size);
    cr_assert_eq(log_cursor_open(log, 0, &cursor, &err), 0, "%s", err.message);
    int code;
    while ((code = log_cursor_next(cursor, &block, &err)) == 0) {
        cr_assert_eq(block->first_index, chain.range.size);
        code = chain_check_block(&chain, sha, block_body(block), block->entry_count, NULL, NULL, NULL, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        block_release(block);
    }
    cr_assert_eq(code, ERR_END, "%s", err.message);
    cr_assert_eq(chain.range.size, size);
    log_cursor_close(cursor);
    sha256_free(sha);
}

void save_checkpoint(struct fixture *fixture, struct log *log, uint64_t size, const struct hash *root, bool published,
                     int expected_code)
{
    static const uint8_t seed[32] = {1};
    struct note_signer signer;
    struct checkpoint checkpoint = {.origin = TEST_ORIGIN, .size = size, .root = *root};
    struct buf note;
    struct err err = {0};
    (void)fixture;
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(note_signer_from_seed(TEST_ORIGIN, NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &note, NULL), 0);
    int code = log_save_checkpoint(log, buf_bytes(&note), published, &err);
    cr_assert_eq(code, expected_code, "%s: %s", tally_error_name(code), err.message);
    buf_free(&note);
}

const char *log_path(struct fixture *fixture, const char *name)
{
    static char path[400];
    snprintf(path, sizeof(path), "%s/%s", fixture->log_folder, name);
    return path;
}

const char *segment_path(struct fixture *fixture, uint64_t first_index)
{
    char name[SEGMENT_NAME_BYTES + 1];
    segment_name(first_index, name);
    return log_path(fixture, name);
}

void overwrite(const char *path, uint64_t offset, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(pwrite(fd, data, size, (off_t)offset), (ssize_t)size);
    cr_assert_eq(close(fd), 0);
}

void flip_byte(const char *path, uint64_t offset)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
    byte ^= 0x10;
    overwrite(path, offset, &byte, 1);
}

uint64_t file_size(const char *path)
{
    struct stat status;
    cr_assert_eq(stat(path, &status), 0, "%s", path);
    return (uint64_t)status.st_size;
}
