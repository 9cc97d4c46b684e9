/* The tiler: follows every log with its Merkle tiles (log/tiles.h), and decides which checkpoint the outside gets to
 * see.
 *
 * A checkpoint is shown once the tiles cover it and lead to its root, never before: whoever has seen a size finds every
 * tile of it. For the own log of a region that has peers it is the published checkpoint, which a peer has cosigned;
 * with no peers the signed one, or the one that a witness has cosigned, where there are witnesses; for a mirror the
 * latest that came with the log.
 *
 * Invariants:
 *  1. view->note covers at most the committed tiles, and its root was computed through them.
 *  2. The size of what is shown never goes back while the process lives, other than to nothing.
 *
 * Failure modes. A block that cannot be read, or a disk that refuses: said once, shown in /health, tried again after a
 * pause; the log itself goes on. Tiles that contradict a checkpoint, or themselves (found when one is served, or when a
 * proof made from them does not lead to the root): forgotten and made again from the log, meanwhile nothing of that log
 * is shown. Tiles that contradict it again after
 * that were made from a log that does: that is left standing for the operator. */
#include "base/assert.h"
#include "base/mem.h"
#include "crypto/receipt.h"
#include "server/internal.h"

enum {
    WAIT_MS = 100,
    GATHER_MS = 5, /* small group commits are let gather: a write of tiles for each would cost more than they do */
    PUBLISH_EVERY_US = 50 * 1000,
    RETRY_US = 10 * 1000 * 1000,
    SYNC_EVERY_ENTRIES = 1000 * 1000,
};

/* What is known of one log. mutex guards the note, with its size and root, and the error; the rest is the tiler's. */
struct tile_view {
    _Atomic(struct tiles *) tiles;
    pthread_mutex_t mutex;
    struct buf note;
    uint64_t note_size;
    struct hash note_root;
    bool behind; /* there is, or may be, a checkpoint that the tiles do not cover yet */
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES];
    atomic_bool damaged; /* a reader found it: make them again */
    bool remade;         /* once already for a wrong root */
    bool stopped;
    uint64_t retry_mono_us;
    uint64_t looked_mono_us;
    uint64_t synced_size;
};

struct tiler {
    struct server *server;
    struct sha256 *sha;
    pthread_t thread;
    atomic_bool stopping;
    struct tile_view views[REGION_LOGS_MAX];
};

static void fail(struct tiler *tiler, size_t log, const struct err *err)
{
    struct tile_view *view = &tiler->views[log];
    pthread_mutex_lock(&view->mutex);
    bool news = strcmp(view->error, err->message) != 0;
    copy_string(view->error, sizeof(view->error), err->message);
    pthread_mutex_unlock(&view->mutex);
    if (news)
        server_say(tiler->server, "tiles: %s", err->message);
    view->retry_mono_us = clock_now().mono_us + RETRY_US;
}

static void succeed(struct tile_view *view)
{
    pthread_mutex_lock(&view->mutex);
    view->error[0] = '\0';
    pthread_mutex_unlock(&view->mutex);
}

static void forget(struct tile_view *view)
{
    pthread_mutex_lock(&view->mutex);
    buf_clear(&view->note);
    view->note_size = 0;
    view->behind = true;
    pthread_mutex_unlock(&view->mutex);
    tiles_reset(atomic_load(&view->tiles));
    view->synced_size = 0;
}

/* --- Following the log --- */

static int open_tiles(struct tiler *tiler, size_t log, struct err *err)
{
    struct tile_view *view = &tiler->views[log];
    struct server *server = tiler->server;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
    char folder[DISK_PATH_MAX_BYTES];
    struct tiles *tiles = NULL;
    if (atomic_load(&view->tiles) != NULL)
        return 0;
    memcpy(origin, log_origin(server->store.logs[log]).data, log_origin(server->store.logs[log]).size_bytes);
    int code = store_path(&server->store, "tiles", origin, folder, err);
    if (code == 0)
        code = tiles_open(server->disk, folder, &tiles, err);
    if (code != 0)
        return code;
    if (tiles_size(tiles) > log_durable_size(server->store.logs[log]))
        tiles_reset(tiles); /* they are of a log that was here before */
    view->synced_size = tiles_size(tiles);
    atomic_store(&view->tiles, tiles);
    return 0;
}

static int append_leaves(struct tiler *tiler, struct tiles *tiles, const struct bytes entries[2], size_t count,
                         struct err *err)
{
    struct hash leaves[2];
    if (count == 2)
        merkle_two_leaves(tiler->sha, entries, leaves);
    else if (count == 1)
        leaves[0] = merkle_leaf(tiler->sha, entries[0]);
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = tiles_append(tiles, &leaves[i], err);
    return code;
}

/* Two entries at a time: their leaves take less time together. */
static int append_block(struct tiler *tiler, struct tiles *tiles, const struct block *block, struct err *err)
{
    struct bytes elements = block_body(block);
    struct bytes entries[2];
    size_t count = 0;
    uint64_t from = tiles_next_index(tiles);
    int code = 0;
    for (uint64_t index = block->first_index; code == 0 && index < block->first_index + block->entry_count; index++) {
        struct bytes encoded;
        struct frame frame;
        code = frame_next_element(&elements, &encoded, err);
        if (code != 0 || index < from)
            continue;
        code = frame_parse(encoded, &frame, err);
        if (code != 0)
            break;
        entries[count++] = frame.entry;
        if (count < 2)
            continue;
        code = append_leaves(tiler, tiles, entries, count, err);
        count = 0;
    }
    if (code == 0)
        code = append_leaves(tiler, tiles, entries, count, err);
    return code == 0 ? tiles_commit(tiles, err) : code;
}

/* At most one block; *ret_moved tells whether there was one. */
static int follow(struct tiler *tiler, size_t log, bool *ret_moved, struct err *err)
{
    struct tile_view *view = &tiler->views[log];
    struct log *from = tiler->server->store.logs[log];
    struct tiles *tiles = atomic_load(&view->tiles);
    struct block *block = NULL;
    if (tiles_size(tiles) >= log_durable_size(from))
        return 0;
    int code = log_read_block(from, tiles_size(tiles), &block, err);
    if (code != 0)
        return code;
    code = append_block(tiler, tiles, block, err);
    block_release(block);
    if (code == 0 && tiles_size(tiles) - view->synced_size >= SYNC_EVERY_ENTRIES) {
        code = tiles_sync(tiles, err);
        view->synced_size = tiles_size(tiles);
    }
    if (code != 0)
        tiles_rewind(tiles);
    *ret_moved = code == 0;
    return code;
}

/* --- Showing a checkpoint --- */

static int load_note(struct server *server, size_t log, struct buf *out, struct err *err)
{
    bool own = log == 0;
    bool alone = server->config->region.peer_count == 0;
    int code = own && alone && server->config->region.witness_count == 0
                   ? ERR_NOT_FOUND
                   : log_load_checkpoint(server->store.logs[log], true, out, err);
    if (code == ERR_NOT_FOUND && (!own || alone))
        code = log_load_checkpoint(server->store.logs[log], false, out, err);
    return code;
}

static int check_root(struct tiler *tiler, struct tiles *tiles, const struct checkpoint *checkpoint, struct err *err)
{
    struct tiles_reader reader = {.tiles = tiles, .sha = tiler->sha};
    struct hash root;
    int code = merkle_root_at(tiler->sha, checkpoint->size, tiles_read_hash, &reader, &root, err);
    if (code == 0 && !hash_equal(&root, &checkpoint->root))
        code = err_set(err, ERR_CORRUPT, "the entries of log %s do not lead to the root of its checkpoint of size %llu",
                       checkpoint->origin, (unsigned long long)checkpoint->size);
    return code;
}

static int show(struct tiler *tiler, size_t log, const struct buf *note, struct err *err)
{
    struct tile_view *view = &tiler->views[log];
    struct tiles *tiles = atomic_load(&view->tiles);
    struct note parsed;
    struct checkpoint checkpoint;
    if (bytes_equal(buf_bytes(note), buf_bytes(&view->note)))
        return 0;
    int code = note_parse(buf_bytes(note), &parsed, err);
    if (code == 0)
        code = checkpoint_parse(parsed.text, &checkpoint, err);
    if (code != 0)
        return code;
    bool covered = checkpoint.size <= tiles_size(tiles);
    if (covered && checkpoint.size >= view->note_size)
        code = check_root(tiler, tiles, &checkpoint, err);
    if (code != 0)
        return code;
    pthread_mutex_lock(&view->mutex);
    view->behind = !covered;
    if (covered && checkpoint.size >= view->note_size) {
        buf_clear(&view->note);
        code = buf_append(&view->note, buf_bytes(note));
        view->note_size = code == 0 ? checkpoint.size : 0;
        view->note_root = checkpoint.root;
    }
    pthread_mutex_unlock(&view->mutex);
    server_changed(tiler->server); /* whoever waits for a receipt looks again */
    return code != 0 ? err_no_memory(err, "a checkpoint") : 0;
}

static int publish(struct tiler *tiler, size_t log, struct err *err)
{
    struct tile_view *view = &tiler->views[log];
    struct buf note;
    uint64_t now_us = clock_now().mono_us;
    if (now_us < view->looked_mono_us + PUBLISH_EVERY_US)
        return 0;
    view->looked_mono_us = now_us;
    buf_init(&note, NOTE_MAX_BYTES);
    int code = load_note(tiler->server, log, &note, err);
    if (code == ERR_NOT_FOUND) {
        code = 0;
        pthread_mutex_lock(&view->mutex);
        view->behind = false;
        pthread_mutex_unlock(&view->mutex);
    } else if (code == 0) {
        code = show(tiler, log, &note, err);
    }
    buf_free(&note);
    return code;
}

/* --- The thread --- */

/* A wrong root may come from rotten tiles: they are made again, once. */
static void handle_failure(struct tiler *tiler, size_t log, int code, const struct err *err)
{
    struct tile_view *view = &tiler->views[log];
    fail(tiler, log, err);
    if (code != ERR_CORRUPT || atomic_load(&view->tiles) == NULL)
        return;
    forget(view);
    view->stopped = view->remade;
    view->remade = true;
}

static bool step(struct tiler *tiler, size_t log)
{
    struct tile_view *view = &tiler->views[log];
    struct err err = {0};
    bool moved = false;
    if (view->stopped || clock_now().mono_us < view->retry_mono_us)
        return false;
    int code = open_tiles(tiler, log, &err);
    if (code == 0 && atomic_exchange(&view->damaged, false)) {
        struct bytes origin = log_origin(tiler->server->store.logs[log]);
        server_say(tiler->server, "the tiles of log %.*s are damaged; they are made again from the log",
                   (int)origin.size_bytes, (const char *)origin.data);
        forget(view);
    }
    if (code == 0)
        code = follow(tiler, log, &moved, &err);
    if (code != 0)
        fail(tiler, log, &err);
    if (code == 0) {
        code = publish(tiler, log, &err);
        if (code != 0)
            handle_failure(tiler, log, code, &err);
    }
    if (code == 0 && view->error[0] != '\0')
        succeed(view);
    return moved;
}

static void *run(void *context)
{
    struct tiler *tiler = context;
    uint64_t seen = 0;
    while (!atomic_load(&tiler->stopping)) {
        bool moved = false;
        for (size_t i = 0; i < atomic_load(&tiler->server->store.log_count); i++)
            moved = step(tiler, i) || moved;
        if (!moved && atomic_load(&tiler->server->stopping))
            clock_sleep_ms(1); /* changes are not waited for any more */
        if (!moved) {
            seen = server_wait_change(tiler->server, seen, WAIT_MS);
            clock_sleep_ms(GATHER_MS);
        }
    }
    return NULL;
}

static void free_tiler(struct tiler *tiler)
{
    for (size_t i = 0; i < REGION_LOGS_MAX; i++) {
        tiles_close(atomic_load(&tiler->views[i].tiles));
        buf_free(&tiler->views[i].note);
        pthread_mutex_destroy(&tiler->views[i].mutex);
    }
    sha256_free(tiler->sha);
    mem_free(tiler);
}

int tiler_start(struct server *server, struct tiler **ret, struct err *err)
{
    struct tiler *tiler = mem_alloc_zero(1, sizeof(*tiler));
    if (tiler == NULL)
        return err_no_memory(err, "the tiler");
    tiler->server = server;
    tiler->sha = sha256_new();
    for (size_t i = 0; i < REGION_LOGS_MAX; i++) {
        pthread_mutex_init(&tiler->views[i].mutex, NULL);
        buf_init(&tiler->views[i].note, NOTE_MAX_BYTES);
        tiler->views[i].behind = true; /* until it was looked at */
    }
    int code = tiler->sha == NULL ? err_no_memory(err, "the tiler") : 0;
    if (code == 0 && pthread_create(&tiler->thread, NULL, run, tiler) != 0)
        code = err_set(err, ERR_NO_MEMORY, "a thread could not be started");
    if (code != 0) {
        free_tiler(tiler);
        return code;
    }
    *ret = tiler;
    return 0;
}

void tiler_stop(struct tiler *tiler)
{
    if (tiler == NULL)
        return;
    atomic_store(&tiler->stopping, true);
    server_changed(tiler->server);
    pthread_join(tiler->thread, NULL);
    free_tiler(tiler);
}

/* --- What others may ask. Any thread. --- */

struct tiles *tiler_tiles(struct tiler *tiler, size_t log)
{
    return log < REGION_LOGS_MAX ? atomic_load(&tiler->views[log].tiles) : NULL;
}

static int copy_shown(struct tiler *tiler, size_t log, struct buf *out, uint64_t *ret_size, struct hash *ret_root,
                      struct err *err)
{
    struct tile_view *view = &tiler->views[log];
    pthread_mutex_lock(&view->mutex);
    int code = 0;
    if (view->note.size_bytes == 0)
        code = view->behind ? err_set(err, ERR_UNAVAILABLE, "the tiles of this log are being made; try again later")
                            : err_set(err, ERR_NOT_FOUND, "no checkpoint of this log has been published yet");
    else if (out != NULL && buf_append(out, buf_bytes(&view->note)) != 0)
        code = err_no_memory(err, "a checkpoint");
    if (code == 0) {
        *ret_size = view->note_size;
        *ret_root = view->note_root;
    }
    pthread_mutex_unlock(&view->mutex);
    return code;
}

int tiler_checkpoint(struct tiler *tiler, size_t log, struct buf *out, uint64_t *ret_size, struct err *err)
{
    struct hash root;
    return copy_shown(tiler, log, out, ret_size, &root, err);
}

void tiler_error(struct tiler *tiler, size_t log, char out[TALLY_ERROR_MESSAGE_MAX_BYTES])
{
    struct tile_view *view = &tiler->views[log];
    pthread_mutex_lock(&view->mutex);
    memcpy(out, view->error, TALLY_ERROR_MESSAGE_MAX_BYTES);
    pthread_mutex_unlock(&view->mutex);
}

void tiler_damaged(struct tiler *tiler, size_t log)
{
    atomic_store(&tiler->views[log].damaged, true);
    server_changed(tiler->server);
}

/* For whoever asked for a proof that could not be made from tiles, or does not lead to the root. */
static int try_later(struct tiler *tiler, size_t log, int code, struct err *err)
{
    if (code != ERR_CORRUPT && code != ERR_NOT_FOUND) /* they were just forgotten */
        return code;
    if (code == ERR_CORRUPT)
        tiler_damaged(tiler, log);
    return err_set(err, ERR_UNAVAILABLE, "the tiles of this log are being made again; try again later");
}

/* Old tiles were not looked at since they were made, and may have rotted: a proof is checked before it leaves. */
static int prove_inclusion(struct tiles_reader *reader, struct bytes entry, uint64_t index, uint64_t size,
                           const struct hash *root, struct merkle_proof *ret, struct err *err)
{
    int code = merkle_prove_inclusion(reader->sha, index, size, tiles_read_hash, reader, ret, err);
    if (code != 0)
        return code;
    struct hash leaf = merkle_leaf(reader->sha, entry);
    return merkle_verify_inclusion(reader->sha, index, size, &leaf, ret->hashes, ret->count, root, err);
}

int tiler_prove_consistency(struct tiler *tiler, struct sha256 *sha, uint64_t old_size,
                            const struct checkpoint *checkpoint, struct merkle_proof *ret, struct err *err)
{
    struct tiles_reader reader = {.tiles = tiler_tiles(tiler, 0), .sha = sha};
    struct hash old_root;
    int code = merkle_root_at(sha, old_size, tiles_read_hash, &reader, &old_root, err);
    if (code == 0)
        code = merkle_prove_consistency(sha, old_size, checkpoint->size, tiles_read_hash, &reader, ret, err);
    if (code == 0)
        code = merkle_verify_consistency(sha, old_size, checkpoint->size, &old_root, &checkpoint->root, ret->hashes,
                                         ret->count, err);
    return try_later(tiler, 0, code, err);
}

int tiler_prove(struct tiler *tiler, size_t log, uint64_t index, struct buf *out, struct err *err)
{
    struct buf note;
    struct block *block = NULL;
    struct bytes frame_bytes;
    struct frame frame;
    struct merkle_proof proof;
    struct hash root;
    uint64_t size = 0;
    struct tiles_reader reader = {.tiles = tiler_tiles(tiler, log), .sha = sha256_new()};
    buf_init(&note, NOTE_MAX_BYTES);
    int code = reader.sha == NULL ? err_no_memory(err, "a receipt") : 0;
    if (code == 0)
        code = copy_shown(tiler, log, &note, &size, &root, err);
    if (code == ERR_NOT_FOUND)
        code = err_set(err, ERR_UNAVAILABLE, "no checkpoint of this log has been published yet");
    if (code == 0 && index >= size)
        code =
            err_set(err, ERR_UNAVAILABLE, "the published checkpoint covers %llu entries, entry %llu is not in it yet",
                    (unsigned long long)size, (unsigned long long)index);
    if (code == 0)
        code = log_read_block(tiler->server->store.logs[log], index, &block, err);
    if (code == 0)
        code = block_find(block, index, &frame_bytes, err);
    if (code == 0)
        code = frame_parse(frame_bytes, &frame, err);
    if (code == 0)
        code = try_later(tiler, log, prove_inclusion(&reader, frame.entry, index, size, &root, &proof, err), err);
    if (code == 0)
        code = receipt_format(frame.entry, index, &proof, buf_bytes(&note), out, err);
    if (block != NULL)
        block_release(block);
    buf_free(&note);
    sha256_free(reader.sha);
    return code;
}
