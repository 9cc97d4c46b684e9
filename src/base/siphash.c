/* SipHash-2-4: two rounds for each 8 bytes, four at the end; the last block carries the size modulo 256. */
#include "base/siphash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* By value and inline, so that the state stays in registers: keys are short, and hashed by the million. */
static inline __attribute__((always_inline)) struct sip sip_round(struct sip s)
{
    s.v0 += s.v1;
    s.v1 = rotate_left(s.v1, 13) ^ s.v0;
    s.v0 = rotate_left(s.v0, 32);
    s.v2 += s.v3;
    s.v3 = rotate_left(s.v3, 16) ^ s.v2;
    s.v0 += s.v3;
    s.v3 = rotate_left(s.v3, 21) ^ s.v0;
    s.v2 += s.v1;
    s.v1 = rotate_left(s.v1, 17) ^ s.v2;
    s.v2 = rotate_left(s.v2, 32);
    return s;
}

static inline __attribute__((always_inline)) struct sip sip_absorb(struct sip s, uint64_t word)
{
    s.v3 ^= word;
    s = sip_round(sip_round(s));
    s.v0 ^= word;
    return s;
}

/* Little-endian; compilers make one load of it. */
static inline uint64_t word_at(const uint8_t *in)
{
    return (uint64_t)in[0] | (uint64_t)in[1] << 8 | (uint64_t)in[2] << 16 | (uint64_t)in[3] << 24 |
           (uint64_t)in[4] << 32 | (uint64_t)in[5] << 40 | (uint64_t)in[6] << 48 | (uint64_t)in[7] << 56;
}

uint64_t siphash24(const uint8_t key[16], struct bytes data)
{
    uint64_t k0 = word_at(key);
    uint64_t k1 = word_at(key + 8);
    struct sip s = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                    k1 ^ 0x7465646279746573u};
    size_t at = 0;
    for (; at + 8 <= data.size_bytes; at += 8)
        s = sip_absorb(s, word_at(data.data + at));
    uint64_t last = (uint64_t)data.size_bytes << 56;
    for (size_t i = 0; at + i < data.size_bytes; i++)
        last |= (uint64_t)data.data[at + i] << (8 * i);
    s = sip_absorb(s, last);
    s.v2 ^= 0xff;
    s = sip_round(sip_round(sip_round(sip_round(s))));
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
