/* The hashes of a log that is published as tiles (c2sp.org/tlog-tiles), read as they are asked for. They are claims
 * until they have led to a signed root. */
#ifndef VERIFY_TILE_SOURCE_H
#define VERIFY_TILE_SOURCE_H

#include <stdint.h>

#include "crypto/merkle.h"
#include "crypto/tile.h"
#include "verify/fetch.h"

struct tile_source;

/* size: of the tree that the checkpoint covers. Belongs to one thread. *ret is owned by the caller: tile_source_close.
 */
int tile_source_open(struct disk *disk, const char *base, uint64_t size, struct tile_source **ret,
                     struct err *err) MUST_USE;
void tile_source_close(struct tile_source *tiles);

/* Replaces *out by the tile or bundle that `width` of are needed of: the partial one, or the full one where that is
 * gone (a log may delete partial tiles). *ret_width: how many it must hold. ERR_NOT_FOUND when neither is there;
 * fetch_get's errors. */
int tile_source_get(struct fetch *fetch, int level, uint64_t number, unsigned width, struct buf *out,
                    unsigned *ret_width, struct err *err) MUST_USE;
/* The same for a tile of hashes, at least `width` of them: ERR_CORRUPT when it has another size than its name says. */
int tile_source_get_hashes(struct fetch *fetch, unsigned level, uint64_t number, unsigned width, struct buf *out,
                           struct err *err) MUST_USE;

/* merkle_read_fn with a struct tile_source as context. ERR_CORRUPT for a tile of the wrong size. */
int tile_source_read_hash(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err);

#endif
