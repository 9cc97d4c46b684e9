/* Thin covers of the system calls. A clock or an entropy source that fails leaves nothing sensible to do, so failure is
 * an assertion. */
#include "platform/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/assert.h"

static uint64_t read_us(clockid_t clock)
{
    struct timespec time;
    INVARIANT(clock_gettime(clock, &time) == 0);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

struct time_now clock_now(void)
{
    return (struct time_now){.wall_us = read_us(CLOCK_REALTIME), .mono_us = read_us(CLOCK_MONOTONIC)};
}

void clock_sleep_us(uint64_t duration_us)
{
    struct timespec left = {.tv_sec = (time_t)(duration_us / 1000000), .tv_nsec = (long)(duration_us % 1000000) * 1000};
    while (nanosleep(&left, &left) != 0)
        INVARIANT(errno == EINTR);
}

void clock_sleep_ms(uint64_t duration_ms)
{
    clock_sleep_us(duration_ms * 1000);
}

void entropy_fill(void *out, size_t size_bytes)
{
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t got = getrandom((char *)out + done, size_bytes - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        INVARIANT(got > 0);
        done += (size_t)got;
    }
}

void entropy_take(struct entropy_pool *pool, void *out, size_t size_bytes)
{
    PRE(size_bytes <= ENTROPY_POOL_BYTES);
    if (pool->left < size_bytes) {
        entropy_fill(pool->bytes, ENTROPY_POOL_BYTES);
        pool->left = ENTROPY_POOL_BYTES;
    }
    pool->left -= size_bytes;
    memcpy(out, pool->bytes + pool->left, size_bytes);
    memset(pool->bytes + pool->left, 0, size_bytes); /* what was given out is not kept */
}

void uuid_v7(uint64_t unix_ms, const uint8_t random[10], uint8_t out[16])
{
    for (int i = 0; i < 6; i++)
        out[i] = (uint8_t)(unix_ms >> (8 * (5 - i)));
    memcpy(out + 6, random, 10);
    out[6] = (uint8_t)((out[6] & 0x0F) | 0x70);
    out[8] = (uint8_t)((out[8] & 0x3F) | 0x80);
}
