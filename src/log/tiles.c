/* Tiles in files (tiles.h).
 *
 *   <folder>/0 … 7    level l: the hashes of that level, 32 bytes each, one after the other. Hash i of level l is the
 *                     root of the perfect subtree of 256^l leaves that starts at leaf i * 256^l, so tile n is the 8,192
 *                     bytes at n * 8192, and a partial tile is a prefix of the full one.
 *   <folder>/state    "<size> <root in hex>\n": so many leaves were on stable storage, and this is their root
 *
 * Algorithm. A leaf is added to the tile being filled at level 0; a tile that is full is written, and its root is added
 * to the level above. A commit writes the part of each level's last tile that is not in its file yet, then raises the
 * size that readers look at.
 *
 * Invariants:
 *  1. Below the committed size the files hold every hash of every level, and are never changed, only remade.
 *  2. Level l has size >> 8l hashes: all counts follow from the size.
 *  3. `state` is replaced after the levels were synced, so what it says was there once.
 *
 * Crash behaviour: the files may be longer than `state` says (ignored, overwritten with the same bytes) and pages that
 * were not synced may be missing (past what `state` says). If the root over what `state` says is another, everything is
 * remade. Nothing here is acknowledged to anybody, so nothing can be lost.
 *
 * Rot: a full tile is checked against the level above whenever it is served; partial tiles are on the right edge, and
 * whoever publishes a size has its root computed through them first. Single hashes are not checked: whoever makes a
 * proof of them has to see that it leads to the root. */
#include "log/tiles.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/block.h"

enum { LEVEL_COUNT = TILE_LEVEL_MAX + 1, STATE_MAX_BYTES = 128 };

/* The writer's side of a level. */
struct tiles_level {
    uint64_t count;   /* hashes */
    uint64_t written; /* of them, in the file */
    uint8_t hashes[TILE_FULL_SIZE];
};

struct tiles {
    struct disk *disk;
    char folder[DISK_PATH_MAX_BYTES];
    struct sha256 *sha; /* the writer's */
    uint64_t synced_size;
    _Atomic(struct disk_file *) files[LEVEL_COUNT]; /* opened when first needed, before the size that needs it shows */
    atomic_uint_fast64_t size;
    struct tiles_level levels[LEVEL_COUNT];
};

static uint64_t hash_count(unsigned level, uint64_t size)
{
    return size >> (TILE_HEIGHT * level);
}

static struct hash tile_root(struct sha256 *sha, const uint8_t *hashes, size_t count)
{
    struct merkle_range range;
    merkle_range_init(&range);
    for (size_t i = 0; i < count; i++) {
        struct hash hash;
        memcpy(hash.bytes, hashes + i * HASH_SIZE, HASH_SIZE);
        merkle_range_append(&range, sha, &hash);
    }
    return merkle_range_root(&range, sha);
}

/* --- Files --- */

static int open_level(struct tiles *tiles, unsigned level, struct err *err)
{
    char name[4];
    char path[DISK_PATH_MAX_BYTES];
    struct disk_file *file = NULL;
    if (atomic_load(&tiles->files[level]) != NULL)
        return 0;
    snprintf(name, sizeof(name), "%u", level);
    int code = disk_join(path, tiles->folder, name, err);
    if (code == 0)
        code = disk_open(tiles->disk, path, DISK_WRITE | DISK_CREATE, &file, err);
    if (code == 0)
        atomic_store(&tiles->files[level], file);
    return code;
}

static int read_level(struct tiles *tiles, unsigned level, uint64_t first, size_t count, uint8_t *out, struct err *err)
{
    struct disk_file *file = atomic_load(&tiles->files[level]);
    size_t size = 0;
    if (count == 0)
        return 0;
    if (file == NULL)
        return err_set(err, ERR_CORRUPT, "%s/%u is missing", tiles->folder, level);
    int code = disk_read(file, first * HASH_SIZE, out, count * HASH_SIZE, &size, err);
    if (code == 0 && size < count * HASH_SIZE)
        code = err_set(err, ERR_CORRUPT, "%s/%u ends before hash %llu", tiles->folder, level,
                       (unsigned long long)(first + count - 1));
    return code;
}

static int write_level(struct tiles *tiles, unsigned number, struct err *err)
{
    struct tiles_level *level = &tiles->levels[number];
    if (level->written == level->count)
        return 0;
    uint64_t tile_first = (level->count - 1) / TILE_WIDTH * TILE_WIDTH;
    INVARIANT(level->written >= tile_first);
    int code = open_level(tiles, number, err);
    if (code == 0)
        code = disk_write(atomic_load(&tiles->files[number]), level->written * HASH_SIZE,
                          level->hashes + (level->written - tile_first) * HASH_SIZE,
                          (size_t)(level->count - level->written) * HASH_SIZE, err);
    if (code == 0)
        level->written = level->count;
    return code;
}

/* Brings the writer's side to `size`, whose hashes are in the files. */
static int load_levels(struct tiles *tiles, uint64_t size, struct err *err)
{
    int code = 0;
    for (unsigned i = 0; code == 0 && i < LEVEL_COUNT; i++) {
        struct tiles_level *level = &tiles->levels[i];
        level->count = hash_count(i, size);
        level->written = level->count;
        size_t partial = (size_t)(level->count % TILE_WIDTH);
        if (level->count > 0)
            code = open_level(tiles, i, err);
        if (code == 0)
            code = read_level(tiles, i, level->count - partial, partial, level->hashes, err);
    }
    return code;
}

static int read_state(struct tiles *tiles, uint64_t *ret_size, struct hash *ret_root, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct buf text;
    buf_init(&text, STATE_MAX_BYTES);
    int code = disk_join(path, tiles->folder, "state", err);
    if (code == 0)
        code = disk_read_file(tiles->disk, path, &text, err);
    const char *start = (const char *)text.data;
    const char *space = code == 0 && text.size_bytes > 0 ? memchr(start, ' ', text.size_bytes) : NULL;
    if (code == 0 && (space == NULL || parse_u64(start, (size_t)(space - start), ret_size) != 0 ||
                      (size_t)(space - start) + 1 + 2 * HASH_SIZE + 1 != text.size_bytes ||
                      hex_decode(space + 1, 2 * HASH_SIZE, ret_root->bytes, HASH_SIZE) != 0))
        code = err_set(err, ERR_CORRUPT, "%s is not what was written", path);
    buf_free(&text);
    return code;
}

static int root_at(struct tiles *tiles, uint64_t size, struct hash *ret, struct err *err)
{
    struct tiles_reader reader = {.tiles = tiles, .sha = tiles->sha};
    return merkle_root_at(tiles->sha, size, tiles_read_hash, &reader, ret, err);
}

/* --- Life cycle --- */

static void recover(struct tiles *tiles)
{
    uint64_t size = 0;
    struct hash noted, root;
    if (read_state(tiles, &size, &noted, NULL) != 0 || size > LOG_ENTRIES_MAX)
        return;
    atomic_store(&tiles->size, size);
    if (load_levels(tiles, size, NULL) != 0 || root_at(tiles, size, &root, NULL) != 0 || !hash_equal(&root, &noted))
        tiles_reset(tiles);
    else
        tiles->synced_size = size;
}

int tiles_open(struct disk *disk, const char *folder, struct tiles **ret, struct err *err)
{
    struct tiles *tiles = mem_alloc_zero(1, sizeof(*tiles));
    if (tiles == NULL)
        return err_no_memory(err, "the tiles of a log");
    tiles->disk = disk;
    tiles->sha = sha256_new();
    int code = tiles->sha == NULL ? err_no_memory(err, "the tiles of a log") : 0;
    if (code == 0 && strlen(folder) >= sizeof(tiles->folder))
        code = err_set(err, ERR_TOO_LARGE, "path too long: %.60s…", folder);
    if (code == 0)
        code = disk_make_dir(disk, folder, err);
    if (code != 0) {
        sha256_free(tiles->sha);
        mem_free(tiles);
        return code;
    }
    copy_string(tiles->folder, sizeof(tiles->folder), folder);
    recover(tiles);
    *ret = tiles;
    return 0;
}

void tiles_close(struct tiles *tiles)
{
    if (tiles == NULL)
        return;
    if (tiles_commit(tiles, NULL) != 0 || tiles_sync(tiles, NULL) != 0)
        tiles_reset(tiles); /* made again after the next start */
    for (size_t i = 0; i < LEVEL_COUNT; i++)
        disk_close(atomic_load(&tiles->files[i]));
    sha256_free(tiles->sha);
    mem_free(tiles);
}

uint64_t tiles_size(const struct tiles *tiles)
{
    return atomic_load(&tiles->size);
}

uint64_t tiles_next_index(const struct tiles *tiles)
{
    return tiles->levels[0].count;
}

/* --- Writing --- */

int tiles_append(struct tiles *tiles, const struct hash *leaf, struct err *err)
{
    struct hash hash = *leaf;
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        struct tiles_level *level = &tiles->levels[i];
        memcpy(level->hashes + level->count % TILE_WIDTH * HASH_SIZE, hash.bytes, HASH_SIZE);
        level->count++;
        if (level->count % TILE_WIDTH != 0)
            break;
        int code = write_level(tiles, i, err);
        if (code != 0)
            return code;
        hash = tile_root(tiles->sha, level->hashes, TILE_WIDTH);
    }
    return 0;
}

int tiles_commit(struct tiles *tiles, struct err *err)
{
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        int code = write_level(tiles, i, err);
        if (code != 0)
            return code;
    }
    atomic_store(&tiles->size, tiles->levels[0].count);
    return 0;
}

int tiles_sync(struct tiles *tiles, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    char hex[2 * HASH_SIZE + 1];
    char text[STATE_MAX_BYTES];
    struct hash root;
    uint64_t size = tiles_size(tiles);
    int code = 0;
    if (size == tiles->synced_size)
        return 0;
    for (size_t i = 0; code == 0 && i < LEVEL_COUNT; i++) {
        struct disk_file *file = atomic_load(&tiles->files[i]);
        code = file == NULL ? 0 : disk_sync(file, err);
    }
    if (code == 0)
        code = root_at(tiles, size, &root, err);
    if (code == 0)
        code = disk_join(path, tiles->folder, "state", err);
    if (code != 0)
        return code;
    hex_encode(bytes_of(root.bytes, HASH_SIZE), hex);
    int length = snprintf(text, sizeof(text), "%llu %s\n", (unsigned long long)size, hex);
    code = disk_replace_file(tiles->disk, path, bytes_of(text, (size_t)length), 0, err);
    if (code == 0)
        tiles->synced_size = size;
    return code;
}

void tiles_rewind(struct tiles *tiles)
{
    if (load_levels(tiles, tiles_size(tiles), NULL) != 0)
        tiles_reset(tiles);
}

void tiles_reset(struct tiles *tiles)
{
    char path[DISK_PATH_MAX_BYTES];
    atomic_store(&tiles->size, 0);
    tiles->synced_size = 0;
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        tiles->levels[i].count = 0;
        tiles->levels[i].written = 0;
    }
    int code = disk_join(path, tiles->folder, "state", NULL);
    if (code == 0)
        code = disk_remove(tiles->disk, path, NULL);
    (void)code; /* a state that stays is harmless: what it says is checked before it is believed */
}

/* --- Reading --- */

int tiles_read(struct tiles *tiles, struct sha256 *sha, const struct tile_id *tile, struct buf *out, struct err *err)
{
    PRE(tile->level >= 0 && tile->level <= TILE_LEVEL_MAX);
    uint8_t hashes[TILE_FULL_SIZE];
    struct hash above;
    unsigned level = (unsigned)tile->level;
    unsigned width = tile_width(tile->level, tile->number, tiles_size(tiles));
    if (width < tile->width)
        return err_set(err, ERR_NOT_FOUND, "the tile does not exist yet");
    int code = read_level(tiles, level, tile->number * TILE_WIDTH, width, hashes, err);
    if (code == 0 && width == TILE_WIDTH && level < TILE_LEVEL_MAX) {
        code = read_level(tiles, level + 1, tile->number, 1, above.bytes, err);
        struct hash root = tile_root(sha, hashes, TILE_WIDTH);
        if (code == 0 && !hash_equal(&root, &above))
            code = err_set(err, ERR_CORRUPT, "%s/%u, tile %llu: its hashes do not lead to the one above it",
                           tiles->folder, level, (unsigned long long)tile->number);
    }
    if (code == 0 && buf_append(out, bytes_of(hashes, (size_t)tile->width * HASH_SIZE)) != 0)
        code = err_no_memory(err, "a tile");
    return code;
}

int tiles_read_hash(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    struct tiles_reader *reader = context;
    uint8_t hashes[TILE_FULL_SIZE / 2];
    unsigned level = height / TILE_HEIGHT;
    size_t count = (size_t)1 << (height % TILE_HEIGHT);
    uint64_t size = tiles_size(reader->tiles);
    if (height >= MERKLE_HEIGHT_MAX || number >= size >> height)
        return err_set(err, ERR_NOT_FOUND, "the subtree is not complete yet");
    int code = read_level(reader->tiles, level, number * count, count, hashes, err);
    if (code == 0)
        *ret = tile_root(reader->sha, hashes, count);
    return code;
}
