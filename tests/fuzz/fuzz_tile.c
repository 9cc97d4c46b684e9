/* Names of tiles and bundles: parsing and writing are inverse. */
#include "crypto/tile.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tile_id tile;
    char text[TILE_PATH_MAX_BYTES];
    if (tile_parse(bytes_of(data, size), &tile, NULL) != 0)
        return 0;
    FUZZ_CHECK(tile.width >= 1 && tile.width <= TILE_WIDTH);
    FUZZ_CHECK(tile.level >= TILE_LEVEL_ENTRIES && tile.level <= TILE_LEVEL_MAX);
    tile_path(&tile, text);
    FUZZ_CHECK(bytes_equal(bytes_of(data, size), bytes_of_string(text)));
    return 0;
}
