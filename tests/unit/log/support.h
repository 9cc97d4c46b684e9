/* What the tests of the log share: a temporary folder, a maker of valid blocks. */
#ifndef TEST_LOG_SUPPORT_H
#define TEST_LOG_SUPPORT_H

#include "base/prng.h"
#include "log/log.h"
#include "log/scan.h"
#include "log/segment.h"
#include "platform/disk.h"
#include "support/fault_disk.h"

#define TEST_ORIGIN "demo/eu/1"

struct fixture {
    char folder[256]; /* removed at the end */
    char log_folder[300];
    struct disk *disk;
    struct sha256 *sha;
    struct chain chain; /* after the entries made so far */
    struct prng prng;
    struct log_options options; /* smallest segments */
};

void fixture_init(struct fixture *fixture);
void fixture_free(struct fixture *fixture);

/* A sealed block of valid entries that follow the ones made before. */
struct block *make_block(struct fixture *fixture, uint32_t entry_count, size_t payload_size_bytes);
/* The same, but `spoil` may change each entry before it is encoded. */
typedef void spoil_fn(struct entry *entry);
struct block *make_spoiled_block(struct fixture *fixture, uint32_t entry_count, size_t payload_size_bytes,
                                 spoil_fn *spoil);
/* Writes a new CRC after the block's bytes were changed in place. */
void reseal(uint8_t *block_bytes);

struct log *create_log(struct fixture *fixture);
struct log *open_log(struct fixture *fixture, struct log_recovery *ret_recovery);
/* Opening must fail with this code; the message is left in *err. */
void expect_open_fails(struct fixture *fixture, int code, struct err *err);
void append_one(struct log *log, struct block *block); /* takes over the reference */
/* Checks that entries 0 … size - 1 are read back, in order, from start to end. */
void expect_readable(struct log *log, uint64_t size);
void save_checkpoint(struct fixture *fixture, struct log *log, uint64_t size, const struct hash *root, bool published,
                     int expected_code);

/* Path of a file in the log's folder; static storage, overwritten by the next call. */
const char *log_path(struct fixture *fixture, const char *name);
const char *segment_path(struct fixture *fixture, uint64_t first_index);
void overwrite(const char *path, uint64_t offset, const void *data, size_t size);
void flip_byte(const char *path, uint64_t offset);
uint64_t file_size(const char *path);

#endif
