/* How `tally bench` shows what it measured: one line that is drawn over while it runs, figures and a histogram at the
 * end, or one object for machines. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "bench.h"

enum { BARS_MAX = 16, BAR_WIDTH = 40 };

double bench_per_second(uint64_t count, uint64_t elapsed_us)
{
    return elapsed_us == 0 ? 0 : (double)count * 1e6 / (double)elapsed_us;
}

bool bench_live(void)
{
    return isatty(STDERR_FILENO) == 1;
}

static double milliseconds(uint64_t us)
{
    return (double)us / 1000;
}

static void show_percentiles(const char *name, const struct histogram *histogram)
{
    (void)fprintf(stderr, "  %s p50 %.2f  p99 %.2f  p99.9 %.2f ms", name, milliseconds(histogram_at(histogram, 500000)),
                  milliseconds(histogram_at(histogram, 990000)), milliseconds(histogram_at(histogram, 999000)));
}

void bench_show_live(struct bench_drawn *drawn, uint64_t events, uint64_t elapsed_us, const struct histogram *latency,
                     const struct histogram *lag)
{
    uint64_t since_us = elapsed_us - drawn->elapsed_us;
    if (since_us < BENCH_REDRAW_MS * 1000 || !bench_live())
        return;
    (void)fprintf(stderr, "\r\x1b[K%6.1f s  %.0f events/s now, %.0f in all", (double)elapsed_us / 1e6,
                  bench_per_second(events - drawn->events, since_us), bench_per_second(events, elapsed_us));
    show_percentiles("latency", latency);
    if (lag != NULL && lag->count > 0)
        show_percentiles("lag", lag);
    *drawn = (struct bench_drawn){.events = events, .elapsed_us = elapsed_us};
}

void bench_clear_live(void)
{
    if (bench_live())
        (void)fputs("\r\x1b[K", stderr);
}

void bench_show_histogram(const char *title, const struct histogram *histogram)
{
    uint64_t low_us = 1;
    uint64_t below = 0;
    if (histogram->count == 0)
        return;
    printf("%s: p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  largest %.3f ms\n", title,
           milliseconds(histogram_at(histogram, 500000)), milliseconds(histogram_at(histogram, 900000)),
           milliseconds(histogram_at(histogram, 990000)), milliseconds(histogram_at(histogram, 999000)),
           milliseconds(histogram->max_us));
    while (low_us * 2 <= histogram_at(histogram, 1))
        low_us *= 2;
    for (uint64_t end_us = low_us; below < histogram->count; end_us *= 2) {
        uint64_t up_to = histogram_up_to(histogram, end_us);
        double share = (double)(up_to - below) / (double)histogram->count;
        printf("  up to %10.3f ms %9" PRIu64 " %5.1f %% %.*s\n", milliseconds(end_us), up_to - below, share * 100,
               (int)(share * BAR_WIDTH + 0.5), "########################################");
        below = up_to;
    }
}

void bench_show_append(const struct bench_append_counts *counts, const struct bench_config *config)
{
    printf("%" PRIu64 " events of %" PRIu64 " bytes in %.2f s: %.0f events/s, %.1f MB/s of payload\n", counts->events,
           config->payload_bytes, (double)counts->elapsed_us / 1e6,
           bench_per_second(counts->events, counts->elapsed_us),
           bench_per_second(counts->events * config->payload_bytes, counts->elapsed_us) / 1e6);
    printf("%" PRIu64 " batches of %" PRIu64 ", %" PRIu64 " callers with %" PRIu64
           " in flight each; every event durable at the region when it was counted\n",
           counts->batches, config->batch, config->callers, config->unary ? 1 : config->in_flight);
    if (counts->duplicates != 0)
        printf("%" PRIu64 " events were there already and are not counted\n", counts->duplicates);
    if (counts->refused != 0)
        printf("%" PRIu64 " events were refused, because the region had no room\n", counts->refused);
    bench_show_histogram(config->rate == 0 ? "batch latency" : "batch latency, from when each was due",
                         &counts->latency);
}

json_t *bench_json_histogram(const struct histogram *histogram)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "count", json_number(histogram->count), "p50",
                     json_number(histogram_at(histogram, 500000)), "p90", json_number(histogram_at(histogram, 900000)),
                     "p99", json_number(histogram_at(histogram, 990000)), "p999",
                     json_number(histogram_at(histogram, 999000)), "max", json_number(histogram->max_us));
}

json_t *bench_json_append(const struct bench_append_counts *counts, const struct bench_config *config)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:o,s:f,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "bench", "append", "events",
                     json_number(counts->events), "duplicates", json_number(counts->duplicates), "refused",
                     json_number(counts->refused), "batches", json_number(counts->batches), "seconds",
                     (double)counts->elapsed_us / 1e6, "events_per_second",
                     bench_per_second(counts->events, counts->elapsed_us), "latency_us",
                     bench_json_histogram(&counts->latency), "batch", json_number(config->batch), "payload_bytes",
                     json_number(config->payload_bytes), "streams", json_number(config->streams), "callers",
                     json_number(config->callers), "in_flight", json_number(config->in_flight), "rate",
                     json_number(config->rate), "unary", config->unary);
}
