/* The Merkle tiles of one log, kept in files so that any hash of the tree, any tile and any proof costs the same
 * however long the log is. Derived from the log: what is lost or damaged is made again by replay. (The essay is in
 * tiles.c.)
 *
 * Threads: one thread writes (tiles_append, tiles_commit, tiles_sync, tiles_reset, tiles_rewind); any number read. A
 * reader sees what was committed before it began. */
#ifndef LOG_TILES_H
#define LOG_TILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/merkle.h"
#include "crypto/tile.h"
#include "platform/disk.h"

struct tiles;

/* Opens or creates the folder. What a crash left half done, or what does not lead to the root that was noted, counts as
 * nothing: then the size is 0 and the log must be replayed. *ret is owned by the caller: tiles_close. Disk errors,
 * ERR_NO_MEMORY. */
int tiles_open(struct disk *disk, const char *folder, struct tiles **ret, struct err *err) MUST_USE;
/* Commits and syncs what it can; never fails. NULL is fine. */
void tiles_close(struct tiles *tiles);

/* Leaves committed. Any thread. */
uint64_t tiles_size(const struct tiles *tiles);
/* Leaves appended, committed or not: the next leaf's index. Writer. */
uint64_t tiles_next_index(const struct tiles *tiles);

/* Adds the leaf hash of the next entry. Readers see it after tiles_commit. After an error call tiles_rewind. Writer. */
int tiles_append(struct tiles *tiles, const struct hash *leaf, struct err *err) MUST_USE;
/* Writes what was appended, then shows it to readers. After an error call tiles_rewind. Writer. */
int tiles_commit(struct tiles *tiles, struct err *err) MUST_USE;
/* Makes what was committed survive a crash (it saves a replay, nothing more). Writer. */
int tiles_sync(struct tiles *tiles, struct err *err) MUST_USE;
/* Forgets what was appended and not committed. When even that cannot be read back, forgets everything. Writer. */
void tiles_rewind(struct tiles *tiles);
/* Forgets everything. Readers that are in the middle of it are answered ERR_NOT_FOUND or ERR_CORRUPT. Writer. */
void tiles_reset(struct tiles *tiles);

/* Appends the hashes of a tile (level 0 or higher) to *out. ERR_NOT_FOUND when fewer are committed. A tile that is full
 * is held against the hash that the level above has of it first: ERR_CORRUPT when they differ. Any thread, with a sha
 * of its own. */
int tiles_read(struct tiles *tiles, struct sha256 *sha, const struct tile_id *tile, struct buf *out,
               struct err *err) MUST_USE;

/* For merkle_prove_… and merkle_root_at: merkle_read_fn whose context is a struct tiles_reader. Reads at most 128
 * hashes a call, and does not check them: a proof made so may not lead to the root. ERR_NOT_FOUND, disk errors. */
struct tiles_reader {
    struct tiles *tiles;
    struct sha256 *sha;
};
int tiles_read_hash(void *reader, unsigned height, uint64_t number, struct hash *ret, struct err *err) MUST_USE;

#endif
