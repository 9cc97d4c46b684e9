/* Tiles are made in one pass with constant memory: for each level the hashes of the tile being filled, and the entries
 * of the bundle being filled. A tile that is full is written, and its root becomes a hash of the level above. What is
 * left at the end is written as partial tiles.
 *
 * Nothing unchecked gets out: each block goes through the checks that recovery and mirrors use, and the root over what
 * was written must be the one that the checkpoint signs. */
#include "tlog.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "crypto/merkle.h"
#include "crypto/tile.h"
#include "log/block.h"
#include "log/scan.h"

enum { BUNDLE_MAX_BYTES = TILE_WIDTH * (ENTRY_MAX_BYTES + 2) };

struct level {
    unsigned count; /* hashes in the tile being filled */
    uint64_t number;
    uint8_t hashes[TILE_FULL_SIZE];
};

struct writer {
    struct disk *disk;
    const char *folder;
    struct sha256 *sha;
    uint64_t size; /* entries to write */
    struct chain chain;
    struct merkle_range range; /* of what was written */
    struct buf bundle;
    struct level levels[TILE_LEVEL_MAX + 1];
};

static int write_file(struct writer *writer, const struct tile_id *tile, struct bytes contents, struct err *err)
{
    char name[TILE_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    char folder[DISK_PATH_MAX_BYTES];
    tile_path(tile, name);
    int rc = disk_join(path, writer->folder, name, err);
    if (rc != 0)
        return rc;
    memcpy(folder, path, sizeof(folder));
    *strrchr(folder, '/') = '\0';
    rc = disk_make_dir(writer->disk, folder, err);
    return rc == 0 ? disk_replace_file(writer->disk, path, contents, 0, err) : rc;
}

static int write_bundle(struct writer *writer, uint64_t number, unsigned width, struct err *err)
{
    const struct tile_id tile = {.level = TILE_LEVEL_ENTRIES, .number = number, .width = width};
    int rc = write_file(writer, &tile, buf_bytes(&writer->bundle), err);
    buf_clear(&writer->bundle);
    return rc;
}

static int write_tile(struct writer *writer, int level, struct err *err)
{
    const struct level *from = &writer->levels[level];
    const struct tile_id tile = {.level = level, .number = from->number, .width = from->count};
    return write_file(writer, &tile, bytes_of(from->hashes, (size_t)from->count * HASH_SIZE), err);
}

/* The root of a full tile: the perfect tree over its 256 hashes. */
static struct hash tile_root(struct writer *writer, const struct level *level)
{
    struct merkle_range range;
    merkle_range_init(&range);
    for (size_t i = 0; i < TILE_WIDTH; i++) {
        struct hash hash;
        memcpy(hash.bytes, level->hashes + i * HASH_SIZE, HASH_SIZE);
        merkle_range_append(&range, writer->sha, &hash);
    }
    return merkle_range_root(&range, writer->sha);
}

/* Adds a hash to a level, and for each tile that this fills, its root to the one above. */
static int add_hash(struct writer *writer, struct hash hash, struct err *err)
{
    for (int i = 0; i <= TILE_LEVEL_MAX; i++) {
        struct level *level = &writer->levels[i];
        memcpy(level->hashes + (size_t)level->count * HASH_SIZE, hash.bytes, HASH_SIZE);
        level->count++;
        if (level->count < TILE_WIDTH)
            return 0;
        int rc = write_tile(writer, i, err);
        if (rc != 0)
            return rc;
        hash = tile_root(writer, level);
        level->count = 0;
        level->number++;
    }
    return 0;
}

static int on_entry(void *context, const struct chain_entry *entry, struct err *err)
{
    struct writer *writer = context;
    struct bytes bytes = entry->frame.entry;
    uint8_t size[2];
    if (writer->range.size == writer->size)
        return 0;
    put_u16_be(size, (uint16_t)bytes.size_bytes);
    if (buf_append(&writer->bundle, bytes_of(size, sizeof(size))) != 0 || buf_append(&writer->bundle, bytes) != 0)
        return err_no_memory(err, "a bundle of entries");
    merkle_range_append(&writer->range, writer->sha, &entry->leaf);
    int rc = add_hash(writer, entry->leaf, err);
    if (rc == 0 && writer->range.size % TILE_WIDTH == 0)
        rc = write_bundle(writer, writer->range.size / TILE_WIDTH - 1, TILE_WIDTH, err);
    return rc;
}

static int on_block(void *context, const struct scan_block *block, struct err *err)
{
    struct writer *writer = context;
    uint64_t bad_index = 0;
    if (writer->range.size == writer->size)
        return err_set(err, ERR_END, "the checkpoint covers no more");
    int rc = chain_check_block(&writer->chain, writer->sha, block->body, block->header.entry_count, on_entry, writer,
                               &bad_index, err);
    if (rc == ERR_CORRUPT)
        rc = err_wrap(err, rc, "%s at offset %" PRIu64 ", index %" PRIu64, block->segment, block->offset, bad_index);
    return rc;
}

static int write_rest(struct writer *writer, struct err *err)
{
    unsigned entries = (unsigned)(writer->size % TILE_WIDTH);
    int rc = entries == 0 ? 0 : write_bundle(writer, writer->size / TILE_WIDTH, entries, err);
    for (int i = 0; rc == 0 && i <= TILE_LEVEL_MAX; i++) {
        POST(writer->levels[i].count == tile_width(i, writer->levels[i].number, writer->size));
        if (writer->levels[i].count > 0)
            rc = write_tile(writer, i, err);
    }
    return rc;
}

static int write_all(struct writer *writer, const char *log_folder, const struct checkpoint *checkpoint,
                     struct err *err)
{
    struct scan_result result;
    int rc = scan_log(writer->disk, log_folder, &writer->chain, on_block, writer, &result, err);
    if (rc != 0 && rc != ERR_END)
        return rc;
    if (writer->range.size < writer->size)
        return err_set(err, ERR_CORRUPT,
                       "%s holds %" PRIu64 " entries, but its checkpoint signs %" PRIu64
                       ": restore it from a peer before anything else",
                       log_folder, writer->range.size, writer->size);
    struct hash root = merkle_range_root(&writer->range, writer->sha);
    if (!hash_equal(&root, &checkpoint->root))
        return err_set(err, ERR_CORRUPT,
                       "the root of the first %" PRIu64 " entries is not the one that the checkpoint signs",
                       writer->size);
    return write_rest(writer, err);
}

int tlog_write_tiles(struct disk *disk, const char *log_folder, const struct checkpoint *checkpoint,
                     const char *out_folder, struct err *err)
{
    struct writer *writer = mem_alloc_zero(1, sizeof(*writer));
    if (writer == NULL)
        return err_no_memory(err, "the export");
    writer->disk = disk;
    writer->folder = out_folder;
    writer->size = checkpoint->size;
    writer->sha = sha256_new();
    buf_init(&writer->bundle, BUNDLE_MAX_BYTES);
    merkle_range_init(&writer->range);
    int rc = writer->sha == NULL ? err_no_memory(err, "the export") : 0;
    if (rc == 0) {
        chain_init(&writer->chain, writer->sha, bytes_of_string(checkpoint->origin));
        rc = write_all(writer, log_folder, checkpoint, err);
    }
    buf_free(&writer->bundle);
    sha256_free(writer->sha);
    mem_free(writer);
    return rc;
}
