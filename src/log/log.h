/* One log in one folder: segment files, the write path, recovery, reading, and the signed checkpoint. (FORMAT.md beside
 * this file has the bytes.) The segments are the write-ahead log: nothing else has to survive.
 *
 * Folder:  <first index, 20 digits>.seg …   sealed segments are cut to their length and read-only; the last one is
 * preallocated checkpoint                        latest signed note that was stored (see log_save_checkpoint)
 *          checkpoint.published              latest note that also carries cosignatures
 *
 * Threads: one thread writes (log_append, log_save_checkpoint); any number read through cursors of their own. Readers
 * never see an entry before it is durable: log_durable_size moves only after the write returned.
 *
 * Crash behaviour: a block is acknowledged after its durable write returned. Blocks are written one after the other, so
 * after a crash at most the last one is bad ("torn tail": cut, because nobody was told). A bad block with a valid one
 * after it was acknowledged once: that is damage, and the log refuses to open. Only the last segment is read at a
 * start, so damage in a sealed one is met by who reads it. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "log/block.h"
#include "log/scrub.h"
#include "platform/disk.h"

enum {
    LOG_SEGMENT_SIZE_TINY_BYTES = 64 * 1024, /* the log's own floor; a block that is larger gets a segment of its own */
    LOG_SEGMENT_SIZE_MIN_BYTES = 16 * 1024 * 1024, /* what a configuration may say: room for the largest block */
    LOG_SEGMENT_SIZE_DEFAULT_BYTES = 64 * 1024 * 1024,
    LOG_SEGMENT_SIZE_MAX_BYTES = 1024 * 1024 * 1024,
    LOG_TAIL_DEFAULT_BYTES = 32 * 1024 * 1024,
    LOG_SEGMENT_HEADER_BYTES = 4096,
    LOG_DAMAGES_MAX = 64, /* places that are remembered; more are found again by whoever meets them */
};

struct log_options {
    uint64_t segment_size_bytes; /* 0: default */
    uint64_t tail_size_bytes;    /* recent blocks kept in memory for readers; 0: default */
};

struct log;

/* Creates the folder and the first segment for `origin`, durable when it returns. ERR_EXISTS when segments are there,
 * ERR_INVALID (origin), disk errors. */
int log_create(struct disk *disk, const char *folder, struct bytes origin, const struct log_options *options,
               struct err *err) MUST_USE;

/* What opening found. */
struct log_recovery {
    uint64_t size;          /* entries */
    uint64_t cut_bytes;     /* torn tail that was cut, 0 for a clean end */
    char cut_segment[64];   /* file name, "" when nothing was cut */
    uint64_t cut_offset;    /* where in that file */
    uint64_t scanned_bytes; /* read to recover: bounded by one segment */
    bool direct;            /* false: O_DIRECT refused, buffered writes with fdatasync */
};

/* Opens, scans the last segment, cuts a torn tail. expected_origin may be empty (any). *ret is owned by the caller:
 * log_close. ERR_NOT_FOUND (no segments), ERR_CORRUPT (damage, or a stored checkpoint covers entries that are not
 * there; names file, offset, index and the repair), ERR_MISMATCH (other origin), disk errors. On failure the files are
 * as they were. */
int log_open(struct disk *disk, const char *folder, struct bytes expected_origin, const struct log_options *options,
             struct log **ret, struct log_recovery *ret_recovery, struct err *err) MUST_USE;
/* No cursor may be open any more. Waits for nothing, loses nothing: what is durable is durable. */
void log_close(struct log *log);

/* Valid until log_close. */
struct bytes log_origin(const struct log *log);
/* Entries that are on stable storage. Any thread. */
uint64_t log_durable_size(const struct log *log);
/* Copies where the chain stands at the durable end. Writer thread, or before threads start. */
void log_chain(const struct log *log, struct chain *ret);

/* Makes the blocks durable, in order: the first must start at the durable size, each next where the one before ended.
 * They were checked (or made) by the caller. When it returns 0 they are on stable storage and visible to readers. After
 * any failure the log is poisoned: every later call answers ERR_POISONED. Keeps its own references. Writer thread. */
int log_append(struct log *log, struct block *const *blocks, size_t block_count, struct err *err) MUST_USE;

/* Stores the signed note, replacing the one before, durable when it returns. Compare-and-swap on (size, root): a
 * smaller size, or the same size with another root, is ERR_FORK and changes nothing; so is a size past the durable end
 * (ERR_INVALID), or another origin (ERR_MISMATCH). The same for the published note, separately. log_load_… append the
 * note to *out; ERR_NOT_FOUND when there is none. Writer thread. */
int log_save_checkpoint(struct log *log, struct bytes note, bool published, struct err *err) MUST_USE;
int log_load_checkpoint(struct log *log, bool published, struct buf *out, struct err *err) MUST_USE;

/* Reading. A cursor belongs to one thread. It reads whole blocks: recent ones from memory, older ones from the files.
 */
struct log_cursor;

/* index may be anything from 0 to the durable size (then the next read answers ERR_END until more is there). The cursor
 * stands at the block that holds index. *ret is owned by the caller. ERR_INVALID past the end, ERR_NO_MEMORY. */
int log_cursor_open(struct log *log, uint64_t index, struct log_cursor **ret, struct err *err) MUST_USE;
void log_cursor_close(struct log_cursor *cursor);
/* The next block, checked by CRC; the caller owns the reference. ERR_END at the durable end (call again later),
 * ERR_CORRUPT (names file, offset and index), disk errors. */
int log_cursor_next(struct log_cursor *cursor, struct block **ret, struct err *err) MUST_USE;
/* The block before; ERR_END at the start of the log. After log_cursor_open at index i, next gives the block that holds
 * i and prev gives the one before that. */
int log_cursor_prev(struct log_cursor *cursor, struct block **ret, struct err *err) MUST_USE;

/* The block that holds entry `index`. ERR_NOT_FOUND at or past the durable size; ERR_CORRUPT names file, offset, entry
 * and the repair. Damage in a sealed segment costs what is damaged, not what follows it. Any thread. */
int log_read_block(struct log *log, uint64_t index, struct block **ret, struct err *err) MUST_USE;

/* Damage that reading met, or that a scrub told. Copies at most max places to ret and returns how many are known. Any
 * thread. */
size_t log_damages(struct log *log, struct scrub_finding *ret, size_t max);
/* Remembers one; a place that is known already changes nothing. Returns whether it is new. Any thread. */
bool log_add_damage(struct log *log, const struct scrub_finding *finding);
/* The first indexes of the segments that are sealed: all but the last. *ret is owned by the caller (mem_free) and holds
 * the last one too, behind the *ret_count sealed ones. ERR_NO_MEMORY. Any thread. */
int log_sealed_segments(struct log *log, uint64_t **ret, size_t *ret_count, struct err *err) MUST_USE;
const char *log_folder(const struct log *log);

#endif
