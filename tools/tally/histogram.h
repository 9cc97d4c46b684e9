/* A histogram of durations that costs a few nanoseconds a value and a fixed amount of memory.
 *
 * Buckets are linear inside each power of two (as in HdrHistogram): every value is known to within 1/32 of itself, from
 * 1 µs to 12 days. Not thread-safe. */
#ifndef TALLY_HISTOGRAM_H
#define TALLY_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum {
    HISTOGRAM_STEPS = 32, /* in each power of two */
    HISTOGRAM_POWERS = 36,
    HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * HISTOGRAM_POWERS,
};

struct histogram {
    uint64_t count;
    uint64_t max_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *histogram);
/* What is above the last bucket is counted in it; max_us stays exact. */
void histogram_add(struct histogram *histogram, uint64_t value_us);
/* The value that so many of 1,000,000 values do not exceed, rounded up to the end of its bucket and never above the
 * largest value; 0 when there are none. */
uint64_t histogram_at(const struct histogram *histogram, uint32_t per_million);
/* How many values are at most value_us, to the exactness of a bucket. */
uint64_t histogram_up_to(const struct histogram *histogram, uint64_t value_us);

#endif
