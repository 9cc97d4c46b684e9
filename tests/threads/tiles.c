/* One writer and four readers on one log's tiles, under ThreadSanitizer: whatever size a reader sees, the tree over it
 * has the root that it should have, and every tile that is full leads to the hash above it; also while the writer
 * starts all over again. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/assert.h"
#include "log/tiles.h"
#include "support/files.h"

enum { READERS = 4, LEAVES = 3000, RESETS = 3 };

static struct tiles *shared;
static struct hash roots[LEAVES + 1];
static atomic_bool writer_done;
static atomic_uint_fast64_t checked;

static struct hash leaf_at(struct sha256 *sha, uint64_t index)
{
    uint8_t bytes[8];
    put_u64_be(bytes, index);
    return merkle_leaf(sha, bytes_of(bytes, sizeof(bytes)));
}

static void *write_all(void *context)
{
    struct sha256 *sha = sha256_new();
    (void)context;
    INVARIANT(sha != NULL);
    for (int round = 0; round <= RESETS; round++) {
        for (uint64_t i = 0; i < LEAVES; i++) {
            struct hash leaf = leaf_at(sha, i);
            INVARIANT(tiles_append(shared, &leaf, NULL) == 0);
            if (i % 37 == 0 || i + 1 == LEAVES)
                INVARIANT(tiles_commit(shared, NULL) == 0);
        }
        if (round < RESETS)
            tiles_reset(shared);
    }
    sha256_free(sha);
    atomic_store(&writer_done, true);
    return NULL;
}

/* A reset takes hashes away under a reader's feet: then they are not found. Wrong ones are never given. */
static void look(struct sha256 *sha)
{
    struct tiles_reader reader = {.tiles = shared, .sha = sha};
    uint64_t size = tiles_size(shared);
    struct tile_id tile = {.level = 0, .number = size / TILE_WIDTH / 2, .width = TILE_WIDTH};
    struct hash root;
    struct buf hashes;
    int code = merkle_root_at(sha, size, tiles_read_hash, &reader, &root, NULL);
    INVARIANT(code == 0 || code == ERR_NOT_FOUND);
    if (code == 0)
        INVARIANT(hash_equal(&root, &roots[size]));
    buf_init(&hashes, TILE_FULL_SIZE);
    code = tiles_read(shared, sha, &tile, &hashes, NULL);
    INVARIANT(code == 0 || code == ERR_NOT_FOUND);
    buf_free(&hashes);
    atomic_fetch_add(&checked, 1);
}

static void *read_all(void *context)
{
    struct sha256 *sha = sha256_new();
    (void)context;
    INVARIANT(sha != NULL);
    while (!atomic_load(&writer_done))
        look(sha);
    look(sha);
    sha256_free(sha);
    return NULL;
}

static void compute_roots(void)
{
    struct sha256 *sha = sha256_new();
    struct merkle_range range;
    INVARIANT(sha != NULL);
    merkle_range_init(&range);
    for (uint64_t i = 0; i <= LEAVES; i++) {
        roots[i] = merkle_range_root(&range, sha);
        struct hash leaf = leaf_at(sha, i);
        merkle_range_append(&range, sha, &leaf);
    }
    sha256_free(sha);
}

int main(void)
{
    char folder[FILES_PATH_MAX];
    pthread_t writer;
    pthread_t readers[READERS];
    compute_roots();
    files_temp_folder(folder);
    INVARIANT(tiles_open(disk_posix(), folder, &shared, NULL) == 0);
    for (size_t i = 0; i < READERS; i++)
        INVARIANT(pthread_create(&readers[i], NULL, read_all, NULL) == 0);
    INVARIANT(pthread_create(&writer, NULL, write_all, NULL) == 0);
    INVARIANT(pthread_join(writer, NULL) == 0);
    for (size_t i = 0; i < READERS; i++)
        INVARIANT(pthread_join(readers[i], NULL) == 0);
    tiles_close(shared);
    files_remove_folder(folder);
    printf("  TSAN   tiles: %llu looks of %d readers while %d leaves were written, and %d times again\n",
           (unsigned long long)atomic_load(&checked), READERS, LEAVES, RESETS);
    return 0;
}
