/* Segment files: names, headers, and walking the blocks in one. FORMAT.md has the bytes. Private to src/log and to the
 * verifier, which reads blocks in a way of its own. */
#ifndef LOG_SEGMENT_H
#define LOG_SEGMENT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "log/block.h"
#include "log/log.h"
#include "platform/disk.h"

enum { SEGMENT_NAME_BYTES = 24, SEGMENT_VERSION = 1, SEGMENTS_MAX = 1024 * 1024 };

/* What a segment's first page says. */
struct segment_header {
    uint64_t first_index;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct chain chain; /* before the first entry of the segment */
};

/* "<20 digits>.seg"; out holds SEGMENT_NAME_BYTES + 1. */
void segment_name(uint64_t first_index, char *out);
/* ERR_INVALID when the name is not of that form, or of an index that no log has (LOG_ENTRIES_MAX). */
int segment_parse_name(const char *name, uint64_t *ret_first_index) MUST_USE;

void segment_header_encode(const struct segment_header *header, uint8_t out[LOG_SEGMENT_HEADER_BYTES]);
/* ERR_CORRUPT saying what is wrong; ERR_UNSUPPORTED for a whole header of another version (magic, version and checksum
 * keep their places in every version). */
int segment_header_parse(const uint8_t in[LOG_SEGMENT_HEADER_BYTES], struct segment_header *ret,
                         struct err *err) MUST_USE;
/* Opens folder/name for reading (plus flags) and parses its header. ERR_CORRUPT names the file. */
int segment_open(struct disk *disk, const char *folder, const char *name, unsigned flags, struct disk_file **ret_file,
                 struct segment_header *ret_header, struct err *err) MUST_USE;

/* The first indexes of all segments in a folder, ascending. *ret is owned by the caller (mem_free). ERR_NOT_FOUND when
 * there is no folder or no segment in it; ERR_CORRUPT for a name ending in .seg that is none. */
int segment_list(struct disk *disk, const char *folder, uint64_t **ret, size_t *ret_count, struct err *err) MUST_USE;

/* Walks the blocks of one file. */
struct segment_walk {
    struct disk_file *file;
    uint64_t offset; /* of the next block */
    uint64_t file_size;
    uint64_t tries_max; /* see segment_walk_search */
    struct buf scratch; /* holds the block at hand */
};

/* The walk borrows file. ERR_IO. */
int segment_walk_init(struct segment_walk *walk, struct disk_file *file, struct err *err) MUST_USE;
void segment_walk_free(struct segment_walk *walk);
/* The next block: header and CRC checked, log id compared. *ret_bytes (header and body) is valid until the next call.
 * Moves on only on success. ERR_END at zeros or at the end of the file; ERR_CORRUPT; ERR_MISMATCH for a whole block of
 * another log, which no crash leaves behind; ERR_IO, ERR_NO_MEMORY. */
int segment_walk_next(struct segment_walk *walk, const uint8_t log_id[ENTRY_LOG_ID_SIZE],
                      struct block_header *ret_header, struct bytes *ret_bytes, struct err *err) MUST_USE;
/* Like segment_walk_next, but the block is read into memory of its own, without a copy; the caller owns the reference.
 */
int segment_walk_block(struct segment_walk *walk, const uint8_t log_id[ENTRY_LOG_ID_SIZE], struct block **ret,
                       struct err *err) MUST_USE;
/* Like segment_walk_next, but only the header is read and checked for shape. */
int segment_walk_header(struct segment_walk *walk, struct block_header *ret_header, struct err *err) MUST_USE;
/* After ERR_END or ERR_CORRUPT: looks in the rest of the file, at each place where a block may start, for one that is
 * whole and belongs to this log at or after first_index. *ret_found tells, with its offset; *ret_dirty tells whether
 * the rest holds anything but zeros. A disk may keep the end of a write and lose its beginning: only a block of a
 * later write proves that what stopped the walk was once whole.
 *
 * Each place that has the header of a block of this log and is none costs the reading of a block. Where files may have
 * been made to keep their reader busy, walk->tries_max says how many such places are looked at; then ERR_CORRUPT. */
enum segment_search {
    SEARCH_ANY,           /* every whole block counts */
    SEARCH_LATER_WRITTEN, /* only one whose write began behind walk->offset */
};
int segment_walk_search(struct segment_walk *walk, const uint8_t log_id[ENTRY_LOG_ID_SIZE], uint64_t first_index,
                        enum segment_search which, bool *ret_found, uint64_t *ret_offset, bool *ret_dirty,
                        struct err *err) MUST_USE;

/* Behind a damaged place, at walk->offset: where the segment is whole again (scrub.c has the argument). next: the
 * header of the segment after it, NULL for the last one. *ret_index is above expected_index. ERR_END when nothing that
 * can be vouched for follows; ERR_IO, ERR_NO_MEMORY. The walk stays where it is. */
int segment_resync(struct segment_walk *walk, struct sha256 *sha, const uint8_t log_id[ENTRY_LOG_ID_SIZE],
                   uint64_t expected_index, const struct segment_header *next, uint64_t *ret_offset,
                   uint64_t *ret_index, struct err *err) MUST_USE;

/* Bytes a block of this body takes in a file. */
static inline uint64_t segment_block_span(uint32_t body_size_bytes)
{
    uint64_t size = (uint64_t)BLOCK_HEADER_BYTES + body_size_bytes;
    return (size + BLOCK_ALIGNMENT_BYTES - 1) / BLOCK_ALIGNMENT_BYTES * BLOCK_ALIGNMENT_BYTES;
}

#endif
