#include "torture/blocks.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "torture/torture.h"

static void add_entry(struct chain *chain, struct sha256 *sha, struct block *block, struct bytes payload)
{
    struct buf encoded;
    char stream[8];
    struct frame frame = {.payload = payload, .has_payload = true};
    snprintf(stream, sizeof(stream), "s%llu", (unsigned long long)(chain->range.size % 3));
    struct entry entry = {
        .index = chain->range.size,
        .prev = chain->prev,
        .time = chain->last_time + 1000,
        .context = BYTES_LITERAL("bank"),
        .partition = BYTES_LITERAL("p"),
        .stream = bytes_of_string(stream),
        .stream_version = chain->range.size / 3,
        .type = BYTES_LITERAL("Happened"),
        .epoch = 1,
        .payload_commitment = entry_payload_commitment(sha, frame.salt, payload),
        .payload_size_bytes = payload.size_bytes,
    };
    memcpy(entry.log_id, chain->log_id, sizeof(entry.log_id));
    put_u64_be(entry.event_id, entry.index + 1);
    buf_init(&encoded, ENTRY_MAX_BYTES);
    INVARIANT(entry_encode(&entry, &encoded, NULL) == 0);
    frame.entry = buf_bytes(&encoded);
    INVARIANT(block_add(block, &frame, NULL) == 0);
    (void)chain_append(chain, sha, frame.entry, entry.time);
    buf_free(&encoded);
}

static void sign(struct blocks *blocks, size_t number, const struct chain *chain, struct sha256 *sha)
{
    struct checkpoint checkpoint = {
        .origin = BLOCKS_ORIGIN, .size = chain->range.size, .root = merkle_range_root(&chain->range, sha)};
    struct buf *text = &blocks->storage[2 * number];
    struct buf *note = &blocks->storage[2 * number + 1];
    buf_init(text, NOTE_MAX_BYTES);
    buf_init(note, NOTE_MAX_BYTES);
    INVARIANT(checkpoint_format(&checkpoint, text) == 0);
    INVARIANT(checkpoint_sign(&checkpoint, &blocks->signer, note, NULL) == 0);
    blocks->texts[number] = buf_bytes(text);
    blocks->notes[number] = buf_bytes(note);
}

void blocks_make(struct blocks *blocks, size_t count, size_t payload_size_bytes)
{
    static const uint8_t seed[32] = {1};
    struct sha256 *sha = sha256_new();
    uint8_t *payload = calloc(1, payload_size_bytes);
    struct chain chain;
    INVARIANT(sha != NULL && payload != NULL && count <= BLOCKS_MAX);
    memset(blocks, 0, sizeof(*blocks));
    blocks->count = count;
    INVARIANT(note_signer_from_seed(BLOCKS_ORIGIN, NOTE_KEY_ED25519, seed, &blocks->signer, NULL) == 0);
    chain_init(&chain, sha, BYTES_LITERAL(BLOCKS_ORIGIN));
    for (size_t i = 0; i < count; i++) {
        INVARIANT(block_new(chain.range.size, chain.log_id, &blocks->blocks[i], NULL) == 0);
        for (size_t e = 0; e <= i; e++)
            add_entry(&chain, sha, blocks->blocks[i], bytes_of(payload, payload_size_bytes));
        block_seal(blocks->blocks[i]);
        blocks->sizes[i] = chain.range.size;
        sign(blocks, i, &chain, sha);
    }
    free(payload);
    sha256_free(sha);
}

void blocks_free(struct blocks *blocks)
{
    for (size_t i = 0; i < blocks->count; i++) {
        block_release(blocks->blocks[i]);
        buf_free(&blocks->storage[2 * i]);
        buf_free(&blocks->storage[2 * i + 1]);
    }
}

void blocks_write_log(const struct blocks *blocks, size_t count, const char *folder)
{
    struct log *log = NULL;
    struct log_recovery recovery;
    INVARIANT(log_create(disk_posix(), folder, BYTES_LITERAL(BLOCKS_ORIGIN), NULL, NULL) == 0);
    INVARIANT(log_open(disk_posix(), folder, bytes_of(NULL, 0), NULL, &log, &recovery, NULL) == 0);
    INVARIANT(log_append(log, blocks->blocks, count, NULL) == 0);
    INVARIANT(count == 0 || log_save_checkpoint(log, blocks->notes[count - 1], false, NULL) == 0);
    INVARIANT(count == 0 || log_save_checkpoint(log, blocks->notes[count - 1], true, NULL) == 0);
    log_close(log);
}
