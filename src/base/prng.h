/* A deterministic generator for tests, the simulator, back-off jitter: never for keys or salts. SplitMix64 seeds
 * xoshiro256** (Blackman and Vigna, 2018). Same seed, same numbers, on every machine. */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t state[4];
};

void prng_seed(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);
/* Uniform in [0, bound), without modulo bias; bound at least 1. */
uint64_t prng_below(struct prng *prng, uint64_t bound);
void prng_fill(struct prng *prng, uint8_t *out, size_t size_bytes);

#endif
