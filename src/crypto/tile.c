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
    size_t used = (size_t)snprintf(out, TILE_PATH_MAX_BYTES, "tile/%s",
                                   tile->level == TILE_LEVEL_ENTRIES ? "entries" : level);
    unsigned groups[GROUPS_MAX];
    size_t count = 0;
    uint64_t number = tile->number;
    do {
        groups[count++] = (unsigned)(number % 1000);
        number /= 1000;
    } while (number > 0);
    while (count > 0) {
        count--;
        used += (size_t)snprintf(out + used, TILE_PATH_MAX_BYTES - used, "/%s%03u", count > 0 ? "x" : "", groups[count]);
    }
    if (tile->width < TILE_WIDTH)
        snprintf(out + used, TILE_PATH_MAX_BYTES - used, ".p/%u", tile->width);
}

/* Reads without judging the spelling; tile_parse then compares with the one spelling that tile_path gives. */
static bool read_loosely(const char *text, struct tile_id *ret)
{
    int used = 0;
    struct tile_id tile = {.width = TILE_WIDTH};
    if (strncmp(text, "tile/entries/", 13) == 0) {
        tile.level = TILE_LEVEL_ENTRIES;
        used = 13;
    } else if (sscanf(text, "tile/%2d/%n", &tile.level, &used) != 1 || used == 0 || tile.level < 0 ||
               tile.level > TILE_LEVEL_MAX) {
        return false;
    }
    const char *at = text + used;
    for (int group = 0; group < GROUPS_MAX; group++) {
        bool more = *at == 'x';
        unsigned digits = 0;
        if (sscanf(more ? at + 1 : at, "%3u%n", &digits, &used) != 1)
            return false;
        if (tile.number > (UINT64_MAX - digits) / 1000)
            return false;
        tile.number = tile.number * 1000 + digits;
        at += used + (more ? 1 : 0);
        if (!more)
            break;
        if (*at++ != '/')
            return false;
    }
    if (*at != '\0' && (sscanf(at, ".p/%3u", &tile.width) != 1 || tile.width < 1 || tile.width >= TILE_WIDTH))
        return false;
    *ret = tile;
    return true;
}

int tile_parse(struct bytes path, struct tile_id *ret, struct err *err)
{
    char text[TILE_PATH_MAX_BYTES];
    char again[TILE_PATH_MAX_BYTES];
    struct tile_id tile;
    if (path.size_bytes >= sizeof(text) || !utf8_valid(path))
        return err_set(err, ERR_INVALID, "not a tile path");
    memcpy(text, path.data, path.size_bytes);
    text[path.size_bytes] = '\0';
    if (!read_loosely(text, &tile))
        return err_set(err, ERR_INVALID, "not a tile path: %s", text);
    tile_path(&tile, again);
    if (strcmp(text, again) != 0)
        return err_set(err, ERR_INVALID, "not the canonical tile path: %s, expected %s", text, again);
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
