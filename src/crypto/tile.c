/* Tile names are short and there is one for each tile: they are read by a small scanner and then held against the one
 * spelling. */
#include "crypto/tile.h"

#include <stdio.h>

#include "base/assert.h"

enum { GROUPS_MAX = 7 }; /* 3 digits each: enough for 64 bits */

void tile_path(const struct tile_id *tile, char *out)
{
    PRE(tile->width >= 1 && tile->width <= TILE_WIDTH);
    char level[4] = "";
    if (tile->level != TILE_LEVEL_ENTRIES)
        snprintf(level, sizeof(level), "%d", tile->level);
    size_t used =
        (size_t)snprintf(out, TILE_PATH_MAX_BYTES, "tile/%s", tile->level == TILE_LEVEL_ENTRIES ? "entries" : level);
    unsigned groups[GROUPS_MAX];
    size_t count = 0;
    uint64_t number = tile->number;
    do {
        groups[count++] = (unsigned)(number % 1000);
        number /= 1000;
    } while (number > 0);
    while (count > 0) {
        count--;
        used +=
            (size_t)snprintf(out + used, TILE_PATH_MAX_BYTES - used, "/%s%03u", count > 0 ? "x" : "", groups[count]);
    }
    if (tile->width < TILE_WIDTH)
        snprintf(out + used, TILE_PATH_MAX_BYTES - used, ".p/%u", tile->width);
}

static bool take_text(struct bytes *path, const char *text)
{
    size_t size = strlen(text);
    if (path->size_bytes < size || memcmp(path->data, text, size) != 0)
        return false;
    *path = bytes_of(path->data + size, path->size_bytes - size);
    return true;
}

/* 1 to digits_max digits, as many as there are. */
static bool take_number(struct bytes *path, size_t digits_max, uint64_t *ret)
{
    size_t digits = 0;
    uint64_t value = 0;
    while (digits < digits_max && digits < path->size_bytes && path->data[digits] >= '0' && path->data[digits] <= '9')
        value = value * 10 + (uint64_t)(path->data[digits++] - '0');
    *path = bytes_of(path->data + digits, path->size_bytes - digits);
    *ret = value;
    return digits > 0;
}

/* Reads without judging the spelling; tile_parse then compares with the one spelling that tile_path gives. */
static bool read_loosely(struct bytes path, struct tile_id *ret)
{
    struct tile_id tile = {.width = TILE_WIDTH};
    uint64_t value = 0;
    if (!take_text(&path, "tile/"))
        return false;
    if (take_text(&path, "entries/"))
        tile.level = TILE_LEVEL_ENTRIES;
    else if (take_number(&path, 1, &value) && value <= TILE_LEVEL_MAX && take_text(&path, "/"))
        tile.level = (int)value;
    else
        return false;
    for (bool more = true; more;) {
        more = take_text(&path, "x");
        if (!take_number(&path, 3, &value) || tile.number > (UINT64_MAX - value) / 1000)
            return false;
        tile.number = tile.number * 1000 + value;
        if (more && !take_text(&path, "/"))
            return false;
    }
    if (take_text(&path, ".p/")) {
        if (!take_number(&path, 3, &value) || value < 1 || value >= TILE_WIDTH)
            return false;
        tile.width = (unsigned)value;
    }
    *ret = tile;
    return true;
}

int tile_parse(struct bytes path, struct tile_id *ret, struct err *err)
{
    char canonical[TILE_PATH_MAX_BYTES];
    struct tile_id tile;
    if (path.size_bytes == 0 || path.size_bytes >= TILE_PATH_MAX_BYTES || !utf8_valid(path))
        return err_set(err, ERR_INVALID, "not a tile path");
    if (!read_loosely(path, &tile))
        return err_set(err, ERR_INVALID, "not a tile path: %.*s", (int)path.size_bytes, (const char *)path.data);
    tile_path(&tile, canonical);
    if (!bytes_equal(path, bytes_of_string(canonical)))
        return err_set(err, ERR_INVALID, "not the canonical tile path: %.*s, expected %s", (int)path.size_bytes,
                       (const char *)path.data, canonical);
    *ret = tile;
    return 0;
}

unsigned tile_width(int level, uint64_t number, uint64_t size)
{
    uint64_t hashes = level == TILE_LEVEL_ENTRIES ? size : size >> (TILE_HEIGHT * level);
    uint64_t first = number * TILE_WIDTH;
    if (number > UINT64_MAX / TILE_WIDTH || hashes <= first)
        return 0;
    return hashes - first >= TILE_WIDTH ? TILE_WIDTH : (unsigned)(hashes - first);
}
