/* Clocks and entropy: the only places where time is read and randomness is drawn. Both are handed to core code as data.
 */
#ifndef PLATFORM_CLOCK_H
#define PLATFORM_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"

/* CLOCK_REALTIME and CLOCK_MONOTONIC, microseconds. Any thread. */
struct time_now clock_now(void);
void clock_sleep_ms(uint64_t duration_ms);
void clock_sleep_us(uint64_t duration_us);

/* Random bytes fit for keys and salts, straight from the kernel (getrandom(2)). One system call per call: draw for a
 * whole batch at once. Dies if the kernel cannot give any. Any thread. */
void entropy_fill(void *out, size_t size_bytes);

/* For who draws a few bytes again and again: they come from the kernel a poolful at a time, and are given out once.
 * Zeroed at first; for one thread. */
enum { ENTROPY_POOL_BYTES = 1024 };
struct entropy_pool {
    uint8_t bytes[ENTROPY_POOL_BYTES];
    size_t left;
};
/* size_bytes at most ENTROPY_POOL_BYTES. */
void entropy_take(struct entropy_pool *pool, void *out, size_t size_bytes);

/* A UUIDv7 (RFC 9562 section 5.7) from Unix milliseconds and 10 random bytes. Pure. */
void uuid_v7(uint64_t unix_ms, const uint8_t random[10], uint8_t out[16]);

#endif
