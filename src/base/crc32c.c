/* CRC-32C (declared in bytes.h), by the CPU's instruction where there is one, else by a table of 256 entries. Both give
 * the same sums: the tests compare them.
 *
 * The instruction takes three cycles, and another can begin in each. So long data goes in three lanes side by side, of
 * LANE_BYTES each, the later two from state 0. The state is linear in state and data: the state after A and B is the
 * one after A and as many zeros as B has, exclusive-or the one after B from 0. What so many zeros do is a table by
 * byte. */
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

enum { LANE_BYTES = 1024 };

static uint64_t word_at(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

/* What LANE_BYTES zeros make of each value of each byte of the state. */
static uint32_t after_zeros[4][256];

__attribute__((target("sse4.2"))) static void make_after_zeros(void)
{
    static _Atomic bool ready;
    if (atomic_load_explicit(&ready, memory_order_acquire))
        return;
    for (uint32_t i = 0; i < 4 * 256; i++) {
        uint64_t state = (uint64_t)(i % 256) << 8 * (i / 256);
        for (size_t at = 0; at < LANE_BYTES; at += 8)
            state = _mm_crc32_u64(state, 0);
        __atomic_store_n(&after_zeros[i / 256][i % 256], (uint32_t)state, __ATOMIC_RELAXED);
    }
    atomic_store_explicit(&ready, true, memory_order_release);
}

static uint64_t pass_lane(uint64_t state)
{
    uint32_t passed = 0;
    for (unsigned i = 0; i < 4; i++)
        passed ^= __atomic_load_n(&after_zeros[i][state >> 8 * i & 255], __ATOMIC_RELAXED);
    return passed;
}

__attribute__((target("sse4.2"))) static uint64_t three_lanes(uint64_t state, const uint8_t *data)
{
    uint64_t second = 0, third = 0;
    for (size_t at = 0; at < LANE_BYTES; at += 8) {
        state = _mm_crc32_u64(state, word_at(data + at));
        second = _mm_crc32_u64(second, word_at(data + LANE_BYTES + at));
        third = _mm_crc32_u64(third, word_at(data + 2 * LANE_BYTES + at));
    }
    return pass_lane(pass_lane(state) ^ second) ^ third;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, struct bytes data)
{
    uint64_t state = ~crc;
    size_t at = 0;
    if (data.size_bytes >= 3 * LANE_BYTES)
        make_after_zeros();
    for (; at + 3 * LANE_BYTES <= data.size_bytes; at += 3 * LANE_BYTES)
        state = three_lanes(state, data.data + at);
    for (; at + 8 <= data.size_bytes; at += 8)
        state = _mm_crc32_u64(state, word_at(data.data + at));
    uint32_t tail = (uint32_t)state;
    for (; at < data.size_bytes; at++)
        tail = _mm_crc32_u8(tail, data.data[at]);
    return ~tail;
}

uint32_t crc32c(uint32_t crc, struct bytes data)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(crc, data) : crc32c_portable(crc, data);
}
