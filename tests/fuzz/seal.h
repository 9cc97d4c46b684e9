/* Checksums made right again: a fuzzer cannot guess a CRC, and must get behind it. */
#ifndef FUZZ_SEAL_H
#define FUZZ_SEAL_H

#include "log/block.h"

/* The block that starts at data, if its size lies inside: header's CRC over the rest of it. */
static inline void seal_block(uint8_t *data, size_t size)
{
    if (size < BLOCK_HEADER_BYTES)
        return;
    uint64_t whole = (uint64_t)BLOCK_HEADER_BYTES + get_u32_le(data + 4);
    if (whole > size)
        return;
    uint32_t crc = crc32c(0, bytes_of(data, 12));
    put_u32_le(data + 12, crc32c(crc, bytes_of(data + 16, (size_t)whole - 16)));
}

#endif
