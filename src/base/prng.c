/* SplitMix64 stretches the seed to the state, xoshiro256** makes the numbers (prng.h). */
#include "base/prng.h"

#include "base/assert.h"

static uint64_t splitmix_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

void prng_seed(struct prng *prng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        prng->state[i] = splitmix_next(&seed);
}

uint64_t prng_next(struct prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    PRE(bound >= 1);
    uint64_t unfair = (UINT64_MAX - bound + 1) % bound; /* 2^64 mod bound: draws below it would be too frequent */
    uint64_t draw;
    do {
        draw = prng_next(prng);
    } while (draw < unfair);
    return draw % bound;
}

void prng_fill(struct prng *prng, uint8_t *out, size_t size_bytes)
{
    for (size_t at = 0; at < size_bytes; at += 8) {
        uint64_t draw = prng_next(prng);
        for (size_t i = 0; i < 8 && at + i < size_bytes; i++)
            out[at + i] = (uint8_t)(draw >> (8 * i));
    }
}
