/* Names of tiles and entry bundles (c2sp.org/tlog-tiles). Pure text and arithmetic. */
#ifndef CRYPTO_TILE_H
#define CRYPTO_TILE_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
    TILE_HEIGHT = 8,
    TILE_WIDTH = 256,
    TILE_FULL_SIZE = TILE_WIDTH * 32,
    TILE_LEVEL_MAX = 7, /* 8 * 8 = 64 bits of leaves; the specification's 63 is never reached */
    TILE_PATH_MAX_BYTES = 64,
    TILE_LEVEL_ENTRIES = -1,
};

struct tile_id {
    int level; /* 0..TILE_LEVEL_MAX, or TILE_LEVEL_ENTRIES for an entry bundle */
    uint64_t number;
    unsigned width; /* 1..255 for a partial tile, TILE_WIDTH for a full one */
};

/* "tile/0/x001/x234/067", "tile/1/000.p/17", "tile/entries/000". out holds TILE_PATH_MAX_BYTES. */
void tile_path(const struct tile_id *tile, char *out);
/* The exact inverse; anything else is ERR_INVALID. */
int tile_parse(struct bytes path, struct tile_id *ret, struct err *err) MUST_USE;
/* Hashes in tile `number` of `level` when the log has `size` entries: 0 (does not exist) to TILE_WIDTH. */
unsigned tile_width(int level, uint64_t number, uint64_t size);

#endif
