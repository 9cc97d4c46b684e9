/* A whole log that other software wrote (tests/vectors/tessera15): from its fifteen entries and its published key every
 * file is made again, byte for byte. Ed25519 is deterministic, so that includes the signatures. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "crypto/tile.h"
#include "support.h"
#include "support/files.h"

enum { ENTRIES = 15, FILES = 1 + (ENTRIES + 1) + 2 * ENTRIES };

static const char *entries[ENTRIES] = {"one",  "two", "three",  "four",  "five",     "six",     "seven", "eit",
                                       "nain", "ten", "ileven", "twelf", "threeten", "fourten", "fivten"};

static struct sha256 *sha;
static struct buf file;
static struct hash leaves[ENTRIES];

static void setup(void)
{
    sha = sha256_new();
    buf_init(&file, 64 * 1024);
    for (size_t i = 0; i < ENTRIES; i++)
        leaves[i] = merkle_leaf(sha, bytes_of_string(entries[i]));
}

static void teardown(void)
{
    buf_free(&file);
    sha256_free(sha);
}

TestSuite(tessera15, .init = setup, .fini = teardown);

static void expect_file(const char *name, struct bytes expected)
{
    char path[FILES_PATH_MAX];
    files_read(files_join(VECTORS "/tessera15", name, path), &file);
    cr_assert(bytes_equal(buf_bytes(&file), expected), "%s", name);
}

static struct checkpoint checkpoint_at(uint64_t size)
{
    struct checkpoint checkpoint = {.origin = TESSERA_ORIGIN, .size = size};
    struct merkle_range range;
    merkle_range_init(&range);
    for (uint64_t i = 0; i < size; i++)
        merkle_range_append(&range, sha, &leaves[i]);
    checkpoint.root = merkle_range_root(&range, sha);
    return checkpoint;
}

static const char *tile_name(int level, uint64_t size)
{
    static char path[TILE_PATH_MAX_BYTES];
    const struct tile_id tile = {level, 0, tile_width(level, 0, size)};
    tile_path(&tile, path);
    return path;
}

static void count_file(void *context, const char *path)
{
    (void)path;
    ++*(size_t *)context;
}

Test(tessera15, these_tests_look_at_every_file)
{
    size_t count = 0;
    files_walk(VECTORS "/tessera15", "", count_file, &count);
    cr_assert_eq(count, FILES);
}

Test(tessera15, every_checkpoint_is_signed_again_to_the_byte)
{
    struct note_signer signer = tessera_signer();
    for (uint64_t size = 0; size <= ENTRIES; size++) {
        char name[32];
        struct buf note;
        struct err err = {0};
        struct checkpoint checkpoint = checkpoint_at(size);
        buf_init(&note, NOTE_MAX_BYTES);
        cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &note, &err), 0, "%s", err.message);
        snprintf(name, sizeof(name), "checkpoint.%llu", (unsigned long long)size);
        expect_file(name, buf_bytes(&note));
        if (size == ENTRIES)
            expect_file("checkpoint", buf_bytes(&note));
        buf_free(&note);
    }
}

Test(tessera15, every_checkpoint_opens_under_the_published_key)
{
    struct note_verifier key = parse_vkey(TESSERA_PUBLIC_KEY);
    for (uint64_t size = 0; size <= ENTRIES; size++) {
        char name[32], path[FILES_PATH_MAX];
        struct checkpoint opened;
        struct err err = {0};
        snprintf(name, sizeof(name), "checkpoint.%llu", (unsigned long long)size);
        files_read(files_join(VECTORS "/tessera15", name, path), &file);
        cr_assert_eq(checkpoint_open(buf_bytes(&file), &key, &opened, &err), 0, "%s", err.message);
        struct checkpoint expected = checkpoint_at(size);
        cr_assert_str_eq(opened.origin, expected.origin);
        cr_assert_eq(opened.size, size);
        cr_assert(hash_equal(&opened.root, &expected.root));
    }
}

Test(tessera15, every_tile_is_made_again_to_the_byte)
{
    for (uint64_t size = 1; size <= ENTRIES; size++) {
        struct buf tile;
        buf_init(&tile, TILE_FULL_SIZE);
        for (uint64_t i = 0; i < size; i++)
            cr_assert_eq(buf_append(&tile, bytes_of(leaves[i].bytes, HASH_SIZE)), 0);
        expect_file(tile_name(0, size), buf_bytes(&tile));
        buf_free(&tile);
    }
}

Test(tessera15, every_entry_bundle_is_made_again_to_the_byte)
{
    for (uint64_t size = 1; size <= ENTRIES; size++) {
        struct buf bundle;
        buf_init(&bundle, 4096);
        for (uint64_t i = 0; i < size; i++) {
            uint8_t prefix[2];
            put_u16_be(prefix, (uint16_t)strlen(entries[i]));
            cr_assert_eq(buf_append(&bundle, bytes_of(prefix, 2)), 0);
            cr_assert_eq(buf_append_string(&bundle, entries[i]), 0);
        }
        expect_file(tile_name(TILE_LEVEL_ENTRIES, size), buf_bytes(&bundle));
        buf_free(&bundle);
    }
}

/* Hashes out of the newest tile, which has only leaves. */
static int read_tile(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    struct hash in_tile[ENTRIES];
    (void)context;
    (void)err;
    cr_assert_eq(file.size_bytes, sizeof(in_tile));
    memcpy(in_tile, file.data, sizeof(in_tile));
    *ret = slow_root(sha, in_tile + (number << height), (uint64_t)1 << height);
    return 0;
}

Test(tessera15, its_checkpoints_are_prefixes_of_each_other_by_proofs_from_its_tile)
{
    char path[FILES_PATH_MAX];
    files_read(files_join(VECTORS "/tessera15", tile_name(0, ENTRIES), path), &file);
    for (uint64_t old_size = 1; old_size <= ENTRIES; old_size++) {
        for (uint64_t new_size = old_size; new_size <= ENTRIES; new_size++) {
            struct merkle_proof proof;
            struct checkpoint older = checkpoint_at(old_size);
            struct checkpoint newer = checkpoint_at(new_size);
            cr_assert_eq(merkle_prove_consistency(sha, old_size, new_size, read_tile, NULL, &proof, NULL), 0);
            cr_assert_eq(merkle_verify_consistency(sha, old_size, new_size, &older.root, &newer.root, proof.hashes,
                                                   proof.count, NULL),
                         0);
        }
    }
}
