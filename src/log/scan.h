/* Reading a log's files without opening the log: for the verifier, for exports, for tools on a copy. It takes no lock,
 * writes nothing, trusts nothing, and needs constant memory. */
#ifndef LOG_SCAN_H
#define LOG_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "log/block.h"
#include "platform/disk.h"

/* One block as it was found. Borrowed memory is valid during the callback. */
struct scan_block {
    const char *segment; /* file name */
    uint64_t offset;     /* of the block in that file */
    struct block_header header;
    struct bytes body;
};
typedef int scan_block_fn(void *context, const struct scan_block *block, struct err *err);

struct scan_result {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1]; /* as the first segment claims; "" when none could be read */
    uint64_t segment_count;
    uint64_t block_count;
    uint64_t size;         /* entries in blocks whose header and CRC were good, contiguous from 0 */
    uint64_t bytes;        /* read */
    bool torn_tail;        /* bytes after the last good block of the last segment that are not zero */
    char torn_segment[64]; /* where they start */
    uint64_t torn_offset;
    char bad_segment[64]; /* where a violation was found, "" when none */
    uint64_t bad_offset;
    uint64_t bad_index; /* first index that could not be vouched for */
};

/* What the first segment says whose log this is; ret holds ENTRY_ORIGIN_MAX_BYTES + 1 bytes. ERR_NOT_FOUND without
 * segments, ERR_CORRUPT. */
int scan_origin(struct disk *disk, const char *folder, char *ret, struct err *err) MUST_USE;

/* Calls `each` for every block in order. Checked here: segment file names and headers (CRC, origin, first index; the
 * stored chain state is compared with *chain when given), contiguity, block headers, CRCs and padding. Entries are the
 * callback's to check (chain_check_block). ERR_NOT_FOUND when the folder has no segments, ERR_CORRUPT with ret->bad_…
 * filled, ERR_IO when something cannot be read, or what the callback returned. A torn tail is not an error: *ret says
 * so. chain may be NULL; it is only read, when a segment starts. */
int scan_log(struct disk *disk, const char *folder, const struct chain *chain, scan_block_fn *each, void *context,
             struct scan_result *ret, struct err *err) MUST_USE;

/* --- The same walk for who reads the blocks in a way of his own --- */

struct segment_walk;

/* An open segment whose header is good. Valid during the callback. */
struct scan_segment {
    const char *name;
    struct segment_walk *walk; /* stands at the first block */
    const uint8_t *log_id;
};

/* Reads the blocks of one segment, adds what is good to *result (size, block_count, bytes), and leaves the walk at the
 * first block that is not. Returns ERR_END at zeros or the end of the file; ERR_CORRUPT for bytes that are no whole
 * block (the caller judges whether it is a torn tail), or, with scan_bad, for a whole block that is wrong; or any other
 * error. */
typedef int scan_segment_fn(void *context, const struct scan_segment *segment, struct scan_result *result,
                            struct err *err);

/* Which segments. */
struct scan_span {
    uint64_t from_index; /* start with the segment that holds this entry: *chain and result->size are then what its
                            header says, which is the caller's to check. 0: the whole log. */
    bool one_segment;    /* only the segment that starts at from_index */
};

/* Like scan_log. *chain is moved by the callback. ERR_NOT_FOUND when no segment starts at from_index (one_segment). */
int scan_segments(struct disk *disk, const char *folder, const struct scan_span *span, struct chain *chain,
                  scan_segment_fn *visit, void *context, struct scan_result *ret, struct err *err) MUST_USE;
/* Marks the block at `offset` as a violation; returns code. */
int scan_bad(struct scan_result *result, const char *segment, uint64_t offset, int code);

#endif
