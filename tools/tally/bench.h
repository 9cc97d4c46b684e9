/* What the files of `tally bench` share: the wishes from the command line, a running append load, and how figures are
 * shown. */
#ifndef TALLY_BENCH_H
#define TALLY_BENCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "bench_load.h"
#include "client/channel.h"
#include "histogram.h"
#include "output.h"
#include "tally/client.h"

enum { BENCH_CALLERS_MAX = 1024, BENCH_CONNECTIONS_MAX = 64, BENCH_REDRAW_MS = 500 };

struct bench_config {
    const char *server;
    const char *mirror;
    const char *context;
    const char *partition;
    const char *origin;
    uint64_t batch;
    uint64_t payload_bytes;
    uint64_t streams;
    uint64_t callers;
    uint64_t in_flight;
    uint64_t connections;
    uint64_t events;  /* 0: no limit */
    uint64_t seconds; /* 0: no limit */
    uint64_t rate;    /* events a second, of all callers together; 0: as fast as answers come */
    uint64_t probes;  /* a second */
    uint64_t timeout_ms;
    bool unary;
    bool subscribe;
    bool json;
};

/* --- An append load --- */

struct bench_append;

struct bench_append_counts {
    uint64_t events; /* acknowledged, duplicates not counted */
    uint64_t duplicates;
    uint64_t refused; /* events of batches that were refused for want of room */
    uint64_t batches;
    uint64_t elapsed_us;
    struct histogram latency; /* of batches, from when they were due */
};

/* Starts the thread that drives all callers. Time counts from when their calls are open. */
int bench_append_start(const struct bench_config *config, struct bench_append **ret, struct err *err) MUST_USE;
/* What was counted so far. Any thread. */
void bench_append_counts(struct bench_append *append, struct bench_append_counts *ret);
/* Whether the load is through. */
bool bench_append_finished(struct bench_append *append);
/* Nothing more is sent. */
void bench_append_stop(struct bench_append *append);
/* Waits until it is through; its first failure. Frees nothing. */
int bench_append_join(struct bench_append *append, struct err *err) MUST_USE;
/* After bench_append_join. NULL is fine. */
void bench_append_free(struct bench_append *append);

/* --- Benchmarks: each measures and prints. --- */

int bench_run_append(const struct bench_config *config, struct err *err) MUST_USE;
int bench_run_ping(const struct bench_config *config, struct err *err) MUST_USE;
int bench_run_read(const struct bench_config *config, struct err *err) MUST_USE;
int bench_run_replicate(const struct bench_config *config, struct err *err) MUST_USE;

/* --- Showing (bench_show.c) --- */

/* Whether standard error is a terminal: only then are there lines that are drawn over. */
bool bench_live(void);
/* Draws the line over once BENCH_REDRAW_MS have passed: the rate since it was drawn last and in all, what percentiles
 * of `latency` are so far, and of `lag` (may be NULL). *drawn begins as zeros. Nothing when there is no terminal. */
struct bench_drawn {
    uint64_t events;
    uint64_t elapsed_us;
};
void bench_show_live(struct bench_drawn *drawn, uint64_t events, uint64_t elapsed_us, const struct histogram *latency,
                     const struct histogram *lag);
void bench_clear_live(void);
void bench_show_append(const struct bench_append_counts *counts, const struct bench_config *config);
void bench_show_histogram(const char *title, const struct histogram *histogram);
/* NULL when memory runs out. */
json_t *bench_json_append(const struct bench_append_counts *counts, const struct bench_config *config);
json_t *bench_json_histogram(const struct histogram *histogram);

/* Events (or anything) a second. */
double bench_per_second(uint64_t count, uint64_t elapsed_us);

#endif
