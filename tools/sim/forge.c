/* A lying source: a block in which a payload, or the hash that an entry names as the one before it, was changed, and
 * whose checksum is right. Only what a mirror promises to see at once is changed: other fields of the last entry are
 * vouched for by the next entry or checkpoint. */
#include "base/assert.h"
#include "sim/sim.h"

enum { AT_CRC = 12 };

static size_t find_bytes(struct bytes in, struct bytes what)
{
    for (size_t at = 0; at + what.size_bytes <= in.size_bytes; at++) {
        if (memcmp(in.data + at, what.data, what.size_bytes) == 0)
            return at;
    }
    return in.size_bytes;
}

bool forge_block(struct world *world, struct buf *bytes)
{
    struct block_header header;
    struct frame frame;
    struct entry entry;
    struct bytes encoded = {0};
    if (block_check(buf_bytes(bytes), &header, NULL) != 0)
        return false; /* garbled already */
    struct bytes elements = bytes_of(bytes->data + BLOCK_HEADER_BYTES, bytes->size_bytes - BLOCK_HEADER_BYTES);
    uint64_t chosen = world_draw(world, header.entry_count);
    for (uint64_t i = 0; i <= chosen; i++) {
        int code = frame_next_element(&elements, &encoded, NULL);
        INVARIANT(code == 0);
    }
    int code = frame_parse(encoded, &frame, NULL);
    if (code == 0)
        code = entry_parse(frame.entry, &entry, NULL);
    INVARIANT(code == 0);
    size_t offset = 0;
    if (world_chance(world, 500000) && frame.payload.size_bytes > 0) {
        offset = (size_t)(frame.payload.data - bytes->data) + world_draw(world, frame.payload.size_bytes);
    } else {
        size_t at = find_bytes(frame.entry, bytes_of(entry.prev.bytes, HASH_SIZE));
        offset = (size_t)(frame.entry.data - bytes->data) + at + world_draw(world, HASH_SIZE);
    }
    bytes->data[offset] ^= (uint8_t)(1u << world_draw(world, 8));
    uint32_t crc = crc32c(0, bytes_of(bytes->data, AT_CRC));
    crc = crc32c(crc, bytes_of(bytes->data + AT_CRC + 4, bytes->size_bytes - AT_CRC - 4));
    put_u32_le(bytes->data + AT_CRC, crc);
    return true;
}
