/* Tiles on demand, with the latest tile of each level kept (tile_source.h). */
#include "verify/tile_source.h"

#include "base/mem.h"

enum { LEVELS = TILE_LEVEL_MAX + 1 };

struct cached {
    bool filled;
    uint64_t number;
    unsigned width;
    struct hash hashes[TILE_WIDTH];
};

struct tile_source {
    struct fetch *fetch;
    uint64_t size;
    struct sha256 *sha;
    struct buf bytes;
    struct cached cached[LEVELS];
};

int tile_source_open(struct disk *disk, const char *base, uint64_t size, struct tile_source **ret, struct err *err)
{
    struct tile_source *tiles = mem_alloc_zero(1, sizeof(*tiles));
    if (tiles == NULL)
        return err_no_memory(err, "tiles");
    tiles->size = size;
    tiles->sha = sha256_new();
    buf_init(&tiles->bytes, TILE_FULL_SIZE);
    int code = tiles->sha == NULL ? err_no_memory(err, "tiles") : fetch_open(disk, base, &tiles->fetch, err);
    if (code != 0) {
        tile_source_close(tiles);
        return code;
    }
    *ret = tiles;
    return 0;
}

void tile_source_close(struct tile_source *tiles)
{
    if (tiles == NULL)
        return;
    fetch_close(tiles->fetch);
    buf_free(&tiles->bytes);
    sha256_free(tiles->sha);
    mem_free(tiles);
}

int tile_source_get(struct fetch *fetch, int level, uint64_t number, unsigned width, struct buf *out,
                    unsigned *ret_width, struct err *err)
{
    char path[TILE_PATH_MAX_BYTES];
    struct tile_id tile = {.level = level, .number = number, .width = width};
    tile_path(&tile, path);
    int code = fetch_get(fetch, path, out, err);
    *ret_width = width;
    if (code != ERR_NOT_FOUND || width == TILE_WIDTH)
        return code;
    tile.width = *ret_width = TILE_WIDTH;
    tile_path(&tile, path);
    return fetch_get(fetch, path, out, NULL) == 0 ? 0 : code;
}

int tile_source_get_hashes(struct fetch *fetch, unsigned level, uint64_t number, unsigned width, struct buf *out,
                           struct err *err)
{
    unsigned got_width = 0;
    int code = tile_source_get(fetch, (int)level, number, width, out, &got_width, err);
    if (code == 0 && out->size_bytes != (size_t)got_width * HASH_SIZE)
        return err_set(err, ERR_CORRUPT, "the tile %llu of level %u has the wrong size: %zu bytes, expected %zu",
                       (unsigned long long)number, level, out->size_bytes, (size_t)got_width * HASH_SIZE);
    return code;
}

static int load(struct tile_source *tiles, unsigned level, uint64_t number, struct err *err)
{
    struct cached *cached = &tiles->cached[level];
    unsigned width = tile_width((int)level, number, tiles->size);
    if (cached->filled && cached->number == number)
        return 0;
    if (width == 0)
        return err_set(err, ERR_INVALID, "a tree of %llu entries has no tile %llu of level %u",
                       (unsigned long long)tiles->size, (unsigned long long)number, level);
    int code = tile_source_get_hashes(tiles->fetch, level, number, width, &tiles->bytes, err);
    if (code != 0)
        return code;
    memcpy(cached->hashes, tiles->bytes.data, (size_t)width * HASH_SIZE);
    cached->filled = true;
    cached->number = number;
    cached->width = width;
    return 0;
}

int tile_source_read_hash(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    struct tile_source *tiles = context;
    unsigned level = height / TILE_HEIGHT;
    unsigned above = height % TILE_HEIGHT; /* heights above the tile's own hashes */
    uint64_t first = number << above;      /* among the hashes of that level */
    if (level >= LEVELS)
        return err_set(err, ERR_INVALID, "no tree is %u high", height);
    int code = load(tiles, level, first / TILE_WIDTH, err);
    if (code != 0)
        return code;
    const struct cached *cached = &tiles->cached[level];
    size_t at = (size_t)(first % TILE_WIDTH);
    size_t count = (size_t)1 << above;
    struct merkle_range range;
    if (at + count > cached->width)
        return err_set(err, ERR_INVALID, "the subtree is not in a tree of this size");
    merkle_range_init(&range);
    for (size_t i = 0; i < count; i++)
        merkle_range_append(&range, tiles->sha, &cached->hashes[at + i]);
    *ret = range.hashes[0];
    return 0;
}
