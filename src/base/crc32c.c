/* CRC-32C (declared in bytes.h), by the CPU's instruction where there is one, else by a table of 256 entries. Both give
 * the same sums: the tests compare them. */
#include <immintrin.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "base/crc32c.h"

uint32_t crc32c_portable(uint32_t crc, struct bytes data)
{
    static _Atomic bool ready;
    static uint32_t table[256];
    if (!atomic_load_explicit(&ready, memory_order_acquire)) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = value & 1 ? value >> 1 ^ 0x82F63B78u : value >> 1;
            __atomic_store_n(&table[i], value, __ATOMIC_RELAXED);
        }
        atomic_store_explicit(&ready, true, memory_order_release);
    }
    crc = ~crc;
    for (size_t i = 0; i < data.size_bytes; i++)
        crc = __atomic_load_n(&table[(crc ^ data.data[i]) & 255], __ATOMIC_RELAXED) ^ crc >> 8;
    return ~crc;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, struct bytes data)
{
    uint64_t state = ~crc;
    size_t at = 0;
    for (; at + 8 <= data.size_bytes; at += 8) {
        uint64_t word;
        memcpy(&word, data.data + at, sizeof(word));
        state = _mm_crc32_u64(state, word);
    }
    uint32_t tail = (uint32_t)state;
    for (; at < data.size_bytes; at++)
        tail = _mm_crc32_u8(tail, data.data[at]);
    return ~tail;
}

uint32_t crc32c(uint32_t crc, struct bytes data)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(crc, data) : crc32c_portable(crc, data);
}
