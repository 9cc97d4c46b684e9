/* One log as c2sp.org/tlog-tiles has it, under /<origin>/:
 *
 *   checkpoint              the latest checkpoint that the region shows; it changes
 *   tile/<L>/<N>[.p/<W>]    hashes, for ever the same
 *   tile/entries/<N>[.p/<W>]   entries (not payloads) behind their sizes, for ever the same
 *
 * What the checkpoint at hand covers is there, and nothing else; every partial width that it covers is there, so also
 * those of all earlier checkpoints. Nothing unchecked gets out: a full tile leads to the hash above it (tiles_read),
 * and the leaves of a bundle are those of its tile. The cost of a request does not depend on the log's size: a tile is
 * one read, a bundle at most 256 blocks. */
#include "admin/route.h"
#include "base/mem.h"

/* Appends one entry, and gives its leaf. */
static int add_entry(struct sha256 *sha, struct bytes encoded, struct buf *out, struct hash *ret_leaf, struct err *err)
{
    struct frame frame;
    uint8_t size[2];
    int code = frame_parse(encoded, &frame, err);
    if (code != 0)
        return code;
    put_u16_be(size, (uint16_t)frame.entry.size_bytes);
    if (buf_append(out, bytes_of(size, sizeof(size))) != 0 || buf_append(out, frame.entry) != 0)
        return err_no_memory(err, "a bundle of entries");
    *ret_leaf = merkle_leaf(sha, frame.entry);
    return 0;
}

/* The entries of one block from *index on, up to end. */
static int add_block(struct sha256 *sha, const struct block *block, uint64_t first, uint64_t *index, uint64_t end,
                     struct buf *out, struct hash *leaves, struct err *err)
{
    struct bytes elements = block_body(block);
    struct bytes encoded;
    uint64_t block_end = block->first_index + block->entry_count;
    int code = 0;
    for (uint64_t at = block->first_index; code == 0 && at < block_end && *index < end; at++) {
        code = frame_next_element(&elements, &encoded, err);
        if (code != 0 || at < *index)
            continue;
        code = add_entry(sha, encoded, out, &leaves[*index - first], err);
        (*index)++;
    }
    return code;
}

static int read_entries(struct log *log, struct sha256 *sha, uint64_t first, unsigned width, struct buf *out,
                        struct hash *leaves, struct err *err)
{
    uint64_t index = first;
    int code = 0;
    while (code == 0 && index < first + width) {
        struct block *block = NULL;
        code = log_read_block(log, index, &block, err);
        if (code != 0)
            break;
        code = add_block(sha, block, first, &index, first + width, out, leaves, err);
        block_release(block);
    }
    return code;
}

static int read_bundle(struct log *log, struct tiles *tiles, struct sha256 *sha, const struct tile_id *tile,
                       struct buf *out, struct err *err)
{
    struct hash leaves[TILE_WIDTH];
    struct tile_id hashes = {.level = 0, .number = tile->number, .width = tile->width};
    struct buf expected;
    buf_init(&expected, TILE_FULL_SIZE);
    int code = read_entries(log, sha, tile->number * TILE_WIDTH, tile->width, out, leaves, err);
    if (code == 0)
        code = tiles_read(tiles, sha, &hashes, &expected, err);
    if (code == 0 && !bytes_equal(buf_bytes(&expected), bytes_of(leaves, (size_t)tile->width * HASH_SIZE)))
        code = err_set(err, ERR_CORRUPT, "the entries from %llu on are not those of their tile",
                       (unsigned long long)(tile->number * TILE_WIDTH));
    buf_free(&expected);
    return code;
}

/* Appends what a path under tile/ stands for. */
static int read_any(struct admin *admin, struct sha256 *sha, size_t log, const struct tile_id *tile, struct buf *out,
                    struct err *err)
{
    struct admin_backend *backend = admin->backend;
    uint64_t size = 0;
    int code = backend->ops->checkpoint(backend, log, NULL, &size, err);
    struct tiles *tiles = backend->ops->tiles_at(backend, log);
    if (code != 0)
        return code;
    if (tiles == NULL || tile_width(tile->level, tile->number, size) < tile->width)
        return err_set(err, ERR_NOT_FOUND, "the checkpoint of size %llu has no such tile", (unsigned long long)size);
    if (tile->level == TILE_LEVEL_ENTRIES)
        return read_bundle(backend->ops->log_at(backend, log), tiles, sha, tile, out, err);
    return tiles_read(tiles, sha, tile, out, err);
}

static void report_damage(struct admin *admin, size_t log, const struct tile_id *tile, const struct err *err)
{
    pthread_mutex_lock(&admin->mutex);
    admin->damage = (struct damage){.known = true, .log = log, .tile = *tile};
    copy_string(admin->damage.message, sizeof(admin->damage.message), err->message);
    pthread_mutex_unlock(&admin->mutex);
    admin->backend->ops->tiles_damaged(admin->backend, log);
}

bool tlog_damaged(struct admin *admin, char ret_message[TALLY_ERROR_MESSAGE_MAX_BYTES])
{
    struct buf contents;
    struct sha256 *sha = NULL;
    pthread_mutex_lock(&admin->mutex);
    struct damage damage = admin->damage;
    pthread_mutex_unlock(&admin->mutex);
    if (!damage.known)
        return false;
    buf_init(&contents, ADMIN_RESPONSE_MAX_BYTES);
    sha = sha256_new();
    bool well = sha != NULL && read_any(admin, sha, damage.log, &damage.tile, &contents, NULL) == 0;
    sha256_free(sha);
    buf_free(&contents);
    pthread_mutex_lock(&admin->mutex);
    if (well)
        admin->damage.known = false;
    pthread_mutex_unlock(&admin->mutex);
    memcpy(ret_message, damage.message, sizeof(damage.message));
    return !well;
}

static void answer_tile(struct admin *admin, const struct request *request, size_t log, const struct tile_id *tile,
                        struct response *response)
{
    struct err err = {0};
    int code = read_any(admin, request->sha, log, tile, &response->body, &err);
    if (code == ERR_CORRUPT)
        report_damage(admin, log, tile, &err);
    if (code != 0) {
        response_fail(response, code, &err);
        return;
    }
    response->status = 200;
    response->content_type = "application/octet-stream";
    response->cache_control = ADMIN_FOREVER;
}

static void answer_checkpoint(struct admin *admin, size_t log, struct response *response)
{
    struct err err = {0};
    uint64_t size = 0;
    int code = admin->backend->ops->checkpoint(admin->backend, log, &response->body, &size, &err);
    if (code != 0) {
        response_fail(response, code, &err);
        return;
    }
    response->status = 200;
    response->content_type = ADMIN_TEXT;
    response->cache_control = ADMIN_RECHECK;
}

void tlog_answer(struct admin *admin, const struct request *request, size_t log, const char *rest,
                 struct response *response)
{
    struct tile_id tile;
    struct err err = {0};
    if (strcmp(rest, "checkpoint") == 0)
        answer_checkpoint(admin, log, response);
    else if (strncmp(rest, "tile/", 5) != 0)
        response_refuse(response, 404, "a log has checkpoint and tile/ here");
    else if (tile_parse(bytes_of_string(rest), &tile, &err) != 0)
        response_fail(response, ERR_INVALID, &err);
    else
        answer_tile(admin, request, log, &tile, response);
}
