/* The commit block: one group commit, the unit that is written, shipped and torn.
 *
 *   offset size
 *        0    4  magic "TBK1"
 *        4    4  body size in bytes, little-endian, 1..BLOCK_BODY_MAX_BYTES
 *        8    4  low 17 bits: entry count, 1..BLOCK_ENTRIES_MAX; high 15 bits: how many pages of
 *                BLOCK_ALIGNMENT_BYTES before this block the write that stored it began (0: with this block)
 *       12    4  CRC-32C over the header with these four bytes left out, then the body
 *       16    8  index of the first entry; every index is below LOG_ENTRIES_MAX
 *       24    8  log id (first 8 bytes of SHA-256(origin))
 *       32    …  body: `count` elements (entry/frame.h)
 *
 * In a segment a block starts at a multiple of BLOCK_ALIGNMENT_BYTES and is padded with zeros to the next one; on the
 * wire the padding is left out. A client's atomic batch never spans two blocks, so a torn block tears no batch. What
 * was written together is a matter of the file alone: a block in memory and on the wire says 0.
 *
 * A block in memory is immutable once sealed, and counted: the writer, the mirrors' senders, the index and readers
 * share it. */
#ifndef LOG_BLOCK_H
#define LOG_BLOCK_H

#include <assert.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "entry/entry.h"
#include "entry/frame.h"

enum {
    BLOCK_HEADER_BYTES = 32,
    BLOCK_ALIGNMENT_BYTES = 4096,
    BLOCK_BODY_MAX_BYTES = 8 * 1024 * 1024 - BLOCK_HEADER_BYTES,
    BLOCK_ENTRIES_MAX = 100000,
    BLOCK_COUNT_BITS = 17,
    BLOCK_PAGES_BACK_MAX = (1 << (32 - BLOCK_COUNT_BITS)) - 1,
};

/* A log holds at most so many entries: every index is below it. With what is appended to a tree of that size it stays
 * far from the 2^63 leaves at which counting would end, whatever a file or a peer claims. */
#define LOG_ENTRIES_MAX ((uint64_t)1 << 62)

struct block {
    uint64_t first_index;
    uint32_t entry_count;
    uint32_t size_bytes;        /* header and body, without padding */
    uint32_t padded_size_bytes; /* multiple of BLOCK_ALIGNMENT_BYTES, zeros after size_bytes */
    uint8_t *data;              /* aligned to BLOCK_ALIGNMENT_BYTES, ready for a direct write */
    uint32_t capacity_bytes;
    uint32_t reference_count; /* atomic access only */
    struct block_note *notes; /* beside the bytes, in memory only; owned, may be NULL */
    uint32_t note_capacity;
    uint32_t leaf_count; /* of so many entries, from the first on, the leaf is noted */
};

/* What is known of an entry beside its bytes. */
struct block_note {
    uint64_t fingerprint; /* 0: not known */
    struct hash leaf;
};

/* A block under construction: first_index and log id are set, entries are added, then it is sealed. One thread. The
 * caller owns one reference. ERR_NO_MEMORY. */
int block_new(uint64_t first_index, const uint8_t log_id[ENTRY_LOG_ID_SIZE], struct block **ret,
              struct err *err) MUST_USE;
/* Gets memory for so many more bytes of elements at once, at most what the body may have. ERR_NO_MEMORY. */
int block_reserve(struct block *block, size_t size_bytes, struct err *err) MUST_USE;
/* Room left in the body. */
size_t block_room_bytes(const struct block *block);
/* Appends one element made from the parts. ERR_TOO_LARGE when it does not fit any more (bytes or count), ERR_NO_MEMORY;
 * then the block is as before. */
int block_add(struct block *block, const struct frame *frame, struct err *err) MUST_USE;
/* Takes entries off the end again, down to a state remembered earlier as (entry_count, size_bytes): undoes half a
 * batch. */
void block_truncate(struct block *block, uint32_t entry_count, uint32_t size_bytes);
/* Remembers, of the entry at that place, its fingerprint (entry_fingerprint) and its leaf, so that whoever writes or
 * applies the block while it is in memory need not hash again. By who made or checked the entry, before the block is
 * shared. When memory runs out they are not remembered, and nothing else happens. */
void block_note(struct block *block, uint32_t at, uint64_t fingerprint, const struct hash *leaf);
/* What was noted of the entry at that place, 0 when nothing was: always for a block that was just read or received. */
uint64_t block_fingerprint(const struct block *block, uint32_t at);
/* Whether the leaf of every entry was noted, in order. */
bool block_has_leaves(const struct block *block);
/* Writes header, CRC and padding. At least one entry. */
void block_seal(struct block *block);

/* Says in a sealed block's bytes (header and body) that the write which stores it began so many pages before it, at
 * most BLOCK_PAGES_BACK_MAX. */
void block_stamp(uint8_t *data, uint32_t size_bytes, uint32_t pages_back);

/* Copies received or read bytes (header and body, no padding needed after them) into a new block, after block_check.
 * Same errors as block_check, and ERR_NO_MEMORY. */
int block_from_bytes(struct bytes bytes, struct block **ret, struct err *err) MUST_USE;
/* The same without a copy: memory for a block of so many bytes (header and body, within the limits of both), which are
 * read into block->data; then block_admit has them checked, once, and the block is whole. When that fails, with the
 * errors of block_check, all that can be done with the block is to release it. */
int block_blank(size_t size_bytes, struct block **ret, struct err *err) MUST_USE;

/* A block's header, checked for shape only. ERR_END when it is all zeros (nothing was written here), ERR_CORRUPT
 * otherwise. */
struct block_header {
    uint32_t body_size_bytes;
    uint32_t entry_count;
    uint32_t pages_back;
    uint32_t crc;
    uint64_t first_index;
    uint8_t log_id[ENTRY_LOG_ID_SIZE];
};
int block_parse_header(const uint8_t header[BLOCK_HEADER_BYTES], struct block_header *ret, struct err *err) MUST_USE;
/* Header shape, size and CRC of exactly one block without padding. Not the entries. ERR_CORRUPT. */
int block_check(struct bytes bytes, struct block_header *ret, struct err *err) MUST_USE;
int block_admit(struct block *block, struct block_header *ret, struct err *err) MUST_USE;

/* The elements, ready to be copied to a reader. Valid as long as the block. */
struct bytes block_body(const struct block *block);
/* Header and body without padding: what travels to peers. */
struct bytes block_bytes(const struct block *block);

/* The frame of one entry inside a block: *ret_frame borrows from the block. ERR_NOT_FOUND when the index is not in it.
 */
int block_find(const struct block *block, uint64_t index, struct bytes *ret_frame, struct err *err) MUST_USE;

/* Thread-safe. The last release frees. */
struct block *block_retain(struct block *block);
void block_release(struct block *block);

/* Where a chain stands: all that is needed to check, or make, the next entry. */
struct chain {
    uint8_t log_id[ENTRY_LOG_ID_SIZE];
    struct hash prev; /* leaf of the last entry, or the genesis hash */
    hlc last_time;    /* time of the last entry, 0 before the first */
    struct merkle_range range;
};

/* The start of the log `origin`. */
void chain_init(struct chain *chain, struct sha256 *sha, struct bytes origin);

/* One entry of a checked block, as the caller of chain_check_block sees it. */
struct chain_entry {
    struct bytes element; /* with prefix */
    struct frame frame;
    struct entry entry;
    struct hash leaf;
};
typedef int chain_entry_fn(void *context, const struct chain_entry *entry, struct err *err);

/* Checks every entry of a block body (count elements) against the chain and moves the chain past them: canonical frame
 * and entry, index, log id, prev, time strictly increasing, payload against its commitment where it is held. `each`
 * (may be NULL) sees each entry after it passed; non-zero stops with that code. On failure *chain is as before,
 * *ret_bad_index (may be NULL) names the index at fault. ERR_CORRUPT, ERR_UNSUPPORTED (entry_parse). Used by recovery,
 * mirrors, and the verifier alike: there is one set of rules. */
int chain_check_block(struct chain *chain, struct sha256 *sha, struct bytes body, uint32_t entry_count,
                      chain_entry_fn *each, void *context, uint64_t *ret_bad_index, struct err *err) MUST_USE;

/* Where a chain's entries stand, without the tree: enough to hold a stretch of entries to the rules when the tree is
 * made by somebody else. */
struct chain_tip {
    uint8_t log_id[ENTRY_LOG_ID_SIZE];
    uint64_t index; /* of the next entry */
    struct hash prev;
    hlc last_time;
};

/* chain_check_block without the tree: the same rules, errors and callback. */
int chain_check_links(struct chain_tip *tip, struct sha256 *sha, struct bytes body, uint32_t entry_count,
                      chain_entry_fn *each, void *context, uint64_t *ret_bad_index, struct err *err) MUST_USE;

/* Moves the chain past an entry just made (entry bytes as encoded, its time). Returns the leaf hash. */
struct hash chain_append(struct chain *chain, struct sha256 *sha, struct bytes entry, hlc time);

#endif
