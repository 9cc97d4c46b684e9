/* Values below HISTOGRAM_STEPS have a bucket each. Above, a value's highest bit names a power of two and the five bits
 * after it one of its steps. */
#include "histogram.h"

#include <string.h>

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

static size_t bucket_of(uint64_t value_us)
{
    if (value_us < HISTOGRAM_STEPS)
        return (size_t)value_us;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value_us) - 5u;
    size_t bucket = (size_t)shift * HISTOGRAM_STEPS + (size_t)(value_us >> shift);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The largest value of a bucket. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    size_t shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t step = bucket - shift * HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value_us)
{
    histogram->buckets[bucket_of(value_us)]++;
    histogram->count++;
    if (value_us > histogram->max_us)
        histogram->max_us = value_us;
}

uint64_t histogram_at(const struct histogram *histogram, uint32_t per_million)
{
    uint64_t whole = histogram->count / 1000000 * per_million;
    uint64_t rest = histogram->count % 1000000 * per_million;
    uint64_t rank = whole + (rest + 999999) / 1000000;
    uint64_t seen = 0;
    if (rank == 0)
        rank = 1;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank)
            return i == HISTOGRAM_BUCKETS - 1 || bucket_end(i) > histogram->max_us ? histogram->max_us : bucket_end(i);
    }
    return 0;
}

uint64_t histogram_up_to(const struct histogram *histogram, uint64_t value_us)
{
    uint64_t seen = 0;
    for (size_t i = 0; i <= bucket_of(value_us); i++)
        seen += histogram->buckets[i];
    return seen;
}
