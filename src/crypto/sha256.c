/* libcrypto's SHA-256 (sha256.h), through its functions for this one digest: they are plain code over a plain struct,
 * use the processor's instructions as EVP does, and cannot fail. EVP, which OpenSSL 3 prefers, costs some 30 ns more a
 * hash with a context that is reused; entries need three hashes of 70 to 170 ns each. OPENSSL_API_COMPAT says that this
 * file uses the interface of OpenSSL 1.1, on purpose.
 *
 * Two hashes at once. Each instruction of a round waits for the one before it, so a hash leaves most of the processor
 * idle, but a block is short enough for it to begin with the next while it waits. When that belongs to another message
 * both advance: a block of one and a block of the other, in turn, take two thirds of the time. So messages are cut into
 * blocks here, padding included (FIPS 180-4, 5.1.1), and SHA256_Transform, which takes one block, does the rest. */
#define OPENSSL_API_COMPAT 0x10100000L

#include "crypto/sha256.h"

#include <openssl/sha.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    SHA256_PARTS_MAX = 32,
    BLOCK_BYTES = SHA256_CBLOCK,
    LENGTH_BYTES = 8,
    STAGE_BYTES = 16 * BLOCK_BYTES,
    PADDING_MAX_BYTES = BLOCK_BYTES + LENGTH_BYTES,
};

/* A message on its way: its parts are copied together, a stage at a time. */
struct lane {
    SHA256_CTX context; /* only its state is used */
    const struct bytes *parts;
    size_t part_count;
    size_t part_offset;  /* in the first of them */
    uint64_t size_bytes; /* of what was staged */
    bool ended;          /* the stage holds the end and its padding */
    size_t at;           /* in the stage */
    size_t staged_bytes;
    uint8_t stage[STAGE_BYTES + PADDING_MAX_BYTES];
};

struct sha256 {
    SHA256_CTX context;
    struct lane lanes[2];
};

struct sha256 *sha256_new(void)
{
    return mem_alloc_zero(1, sizeof(struct sha256));
}

void sha256_free(struct sha256 *sha)
{
    mem_free(sha);
}

struct hash sha256_parts(struct sha256 *sha, const struct bytes *parts, size_t count)
{
    PRE(count <= SHA256_PARTS_MAX);
    struct hash hash;
    INVARIANT(SHA256_Init(&sha->context) == 1);
    for (size_t i = 0; i < count; i++)
        INVARIANT(SHA256_Update(&sha->context, parts[i].data, parts[i].size_bytes) == 1);
    INVARIANT(SHA256_Final(hash.bytes, &sha->context) == 1);
    return hash;
}

struct hash sha256_of(struct sha256 *sha, struct bytes data)
{
    return sha256_parts(sha, &data, 1);
}

/* Most parts are short, and calling memcpy costs more than they do. */
static void copy(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
    if (size_bytes > 16) {
        memcpy(to, from, size_bytes);
    } else if (size_bytes >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + size_bytes - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + size_bytes - 8, &last, 8);
    } else {
        for (size_t i = 0; i < size_bytes; i++)
            to[i] = from[i];
    }
}

static void lane_pad(struct lane *lane)
{
    size_t end = (lane->staged_bytes + 1 + LENGTH_BYTES + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    uint64_t bits = __builtin_bswap64(lane->size_bytes * 8);
    lane->stage[lane->staged_bytes] = 0x80;
    memset(lane->stage + lane->staged_bytes + 1, 0, end - LENGTH_BYTES - lane->staged_bytes - 1);
    memcpy(lane->stage + end - LENGTH_BYTES, &bits, LENGTH_BYTES);
    lane->staged_bytes = end;
    lane->ended = true;
}

/* Whole blocks, unless the message has ended. */
static void lane_fill(struct lane *lane)
{
    size_t staged = 0;
    while (lane->part_count > 0 && staged < STAGE_BYTES) {
        const struct bytes *part = lane->parts;
        size_t room = STAGE_BYTES - staged;
        size_t left = part->size_bytes - lane->part_offset;
        size_t taken = left < room ? left : room;
        if (taken > 0) /* an empty part may have no data to point into */
            copy(lane->stage + staged, part->data + lane->part_offset, taken);
        staged += taken;
        lane->part_offset += taken;
        if (taken == left) {
            lane->parts++;
            lane->part_count--;
            lane->part_offset = 0;
        }
    }
    lane->at = 0;
    lane->staged_bytes = staged;
    lane->size_bytes += staged;
    if (lane->part_count == 0)
        lane_pad(lane);
}

static void lane_begin(struct lane *lane, const struct sha256_message *message)
{
    PRE(message->count <= SHA256_PARTS_MAX);
    INVARIANT(SHA256_Init(&lane->context) == 1);
    lane->parts = message->parts;
    lane->part_count = message->count;
    lane->part_offset = 0;
    lane->size_bytes = 0;
    lane->ended = false;
    lane_fill(lane);
}

/* The next block, if there is one. */
static bool lane_step(struct lane *lane)
{
    if (lane->at == lane->staged_bytes) {
        if (lane->ended)
            return false;
        lane_fill(lane);
    }
    SHA256_Transform(&lane->context, lane->stage + lane->at);
    lane->at += BLOCK_BYTES;
    return true;
}

static struct hash lane_hash(const struct lane *lane)
{
    struct hash hash;
    for (size_t i = 0; i < HASH_SIZE / 4; i++) {
        uint32_t word = __builtin_bswap32(lane->context.h[i]);
        memcpy(hash.bytes + 4 * i, &word, sizeof(word));
    }
    return hash;
}

void sha256_two(struct sha256 *sha, const struct sha256_message messages[2], struct hash ret[2])
{
    bool first = true, second = true;
    for (size_t i = 0; i < 2; i++)
        lane_begin(&sha->lanes[i], &messages[i]);
    while (first || second) {
        first = first && lane_step(&sha->lanes[0]);
        second = second && lane_step(&sha->lanes[1]);
    }
    for (size_t i = 0; i < 2; i++)
        ret[i] = lane_hash(&sha->lanes[i]);
}
