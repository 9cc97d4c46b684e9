/* Appending at one region while another mirrors it: how fast, and how far behind.
 *
 * The load is that of bench_append.c. Beside it, probes: one event after another in a stream of its own, with a number
 * as payload, and a subscription to that stream at the mirror. Lag is the time from when the region acknowledged a
 * probe until the mirror delivered it; both are seen by this process on one clock. A probe that the mirror delivers
 * before its acknowledgement is here counts as 0. Probes are due at fixed times, whatever became of those before: one
 * that its region's answer held up is sent at once, so a pause does not thin them out.
 *
 * The mirror counts as complete when its copy has the size that the region's own log had when the load ended. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "bench.h"
#include "connect.h"
#include "platform/clock.h"

enum { PROBES_MAX = 4096, PROBE_BYTES = 8, COMPLETE_POLL_MS = 5, COMPLETE_MAX_MS = 120000, PROBE_GRACE_MS = 1000 };

static const char probe_stream[] = "bench-probe";

struct probes {
    const struct bench_config *config;
    struct tally_client *mirror;
    struct tally_reader *reader;
    struct channel *channel;
    struct load *load;
    pthread_t sender, receiver;
    atomic_bool stop;
    pthread_mutex_t mutex;                /* of everything below */
    uint64_t acknowledged_us[PROBES_MAX]; /* ring; 0: not yet */
    uint64_t sent, seen;
    uint64_t session; /* tells this run's probes from older ones */
    struct histogram lag;
    struct err failure;
};

static void set_failure(struct probes *probes, int code, const struct err *err)
{
    pthread_mutex_lock(&probes->mutex);
    if (probes->failure.code == 0) {
        probes->failure = *err;
        probes->failure.code = code;
    }
    pthread_mutex_unlock(&probes->mutex);
    atomic_store(&probes->stop, true);
}

static void *send_probes(void *context)
{
    struct probes *probes = context;
    const struct bench_config *config = probes->config;
    struct err err = {0};
    struct buf answer;
    int rc = 0;
    uint64_t begun_us = clock_now().mono_us;
    buf_init(&answer, CHANNEL_MESSAGE_MAX_BYTES);
    for (uint64_t number = 0; rc == 0 && !atomic_load(&probes->stop); number++) {
        struct bytes request = load_stamped(probes->load, clock_now().wall_us / 1000, probes->session + number);
        pthread_mutex_lock(&probes->mutex);
        probes->acknowledged_us[number % PROBES_MAX] = 0;
        probes->sent++;
        pthread_mutex_unlock(&probes->mutex);
        buf_clear(&answer);
        rc =
            channel_unary(probes->channel, "/tally.v1.Ledger/Append", request, config->timeout_ms, &answer, NULL, &err);
        pthread_mutex_lock(&probes->mutex);
        probes->acknowledged_us[number % PROBES_MAX] = clock_now().mono_us;
        pthread_mutex_unlock(&probes->mutex);
        uint64_t due_us = begun_us + (number + 1) * 1000000 / config->probes;
        uint64_t now_us = clock_now().mono_us;
        if (due_us > now_us)
            clock_sleep_us(due_us - now_us);
    }
    buf_free(&answer);
    if (rc != 0)
        set_failure(probes, rc, &err);
    return NULL;
}

static void count_probe(struct probes *probes, uint64_t stamp)
{
    uint64_t now_us = clock_now().mono_us;
    pthread_mutex_lock(&probes->mutex);
    uint64_t number = stamp - probes->session;
    if (number < probes->sent && probes->sent - number <= PROBES_MAX) {
        uint64_t acknowledged_us = probes->acknowledged_us[number % PROBES_MAX];
        histogram_add(&probes->lag, acknowledged_us == 0 ? 0 : now_us - acknowledged_us);
        probes->seen++;
    }
    pthread_mutex_unlock(&probes->mutex);
}

static void *receive_probes(void *context)
{
    struct probes *probes = context;
    struct err err = {0};
    enum tally_item item;
    struct tally_recorded event;
    int rc = 0;
    while ((rc = tally_reader_next(probes->reader, &item, &event, &err)) == 0) {
        if (item == TALLY_ITEM_EVENT && event.payload.size == PROBE_BYTES)
            count_probe(probes, get_u64_le(event.payload.data));
    }
    if (rc != ERR_CANCELLED)
        set_failure(probes, rc, &err);
    return NULL;
}

/* --- Sizes --- */

/* Durable entries that the region at `client` has of `origin`; of its own log when that is NULL, whose name *ret_origin
 * then gets. */
static int log_size(struct tally_client *client, const char *origin, uint64_t timeout_ms, uint64_t *ret_size,
                    char ret_origin[TALLY_NAME_MAX_BYTES + 1], struct err *err)
{
    struct tally_status *status = NULL;
    int rc = tally_status_get(client, timeout_ms, &status, err);
    if (rc != 0)
        return rc;
    rc = ERR_NOT_FOUND;
    for (size_t i = 0; rc != 0 && i < status->log_count; i++) {
        const struct tally_log_status *log = &status->logs[i];
        if (origin == NULL ? !log->own : strcmp(origin, log->origin) != 0)
            continue;
        *ret_size = log->size;
        if (origin == NULL)
            copy_string(ret_origin, TALLY_NAME_MAX_BYTES + 1, log->origin);
        rc = 0;
    }
    if (rc != 0)
        rc = err_set(err, rc, "region %s keeps no copy of log %s: is it a peer?", status->region,
                     origin == NULL ? "(its own)" : origin);
    tally_status_free(status);
    return rc;
}

/* Waits until the mirror holds what the region holds now. */
static int wait_until_complete(const struct bench_config *config, struct tally_client *region,
                               struct tally_client *mirror, struct err *err)
{
    char origin[TALLY_NAME_MAX_BYTES + 1];
    uint64_t size = 0;
    uint64_t copied = 0;
    uint64_t begun_us = clock_now().mono_us;
    int rc = log_size(region, NULL, config->timeout_ms, &size, origin, err);
    while (rc == 0) {
        rc = log_size(mirror, origin, config->timeout_ms, &copied, NULL, err);
        if (rc == 0 && copied >= size)
            return 0;
        if (clock_now().mono_us - begun_us > COMPLETE_MAX_MS * 1000ull)
            return err_set(err, ERR_TIMEOUT, "after %d s the mirror has %" PRIu64 " of %" PRIu64 " entries",
                           COMPLETE_MAX_MS / 1000, copied, size);
        clock_sleep_ms(COMPLETE_POLL_MS);
    }
    return rc;
}

/* --- The whole --- */

static int open_probes(struct probes *probes, const struct bench_config *config, struct err *err)
{
    struct load_shape shape = {.context = config->context,
                               .partition = config->partition,
                               .stream = probe_stream,
                               .events = 1,
                               .payload_bytes = PROBE_BYTES,
                               .streams = 1};
    struct tally_status *status = NULL;
    probes->config = config;
    histogram_init(&probes->lag);
    entropy_fill(&probes->session, sizeof(probes->session));
    INVARIANT(pthread_mutex_init(&probes->mutex, NULL) == 0);
    int rc = load_new(&shape, probes->session, &probes->load, err);
    if (rc == 0)
        rc = connect_channel(config->server, &probes->channel, err);
    if (rc == 0)
        rc = connect_client(config->mirror, &probes->mirror, err);
    if (rc == 0)
        rc = tally_status_get(probes->mirror, config->timeout_ms, &status, err);
    if (rc == 0)
        rc = tally_subscribe(probes->mirror, status->position, config->context, probe_stream, &probes->reader, err);
    tally_status_free(status);
    return rc;
}

static int start_probes(struct probes *probes, struct err *err)
{
    int failure = pthread_create(&probes->receiver, NULL, receive_probes, probes);
    if (failure != 0)
        return err_errno(err, failure, "a thread for probes");
    failure = pthread_create(&probes->sender, NULL, send_probes, probes);
    if (failure == 0)
        return 0;
    tally_reader_cancel(probes->reader);
    (void)pthread_join(probes->receiver, NULL);
    return err_errno(err, failure, "a thread for probes");
}

/* The last ones get a moment to arrive. */
static void stop_probes(struct probes *probes)
{
    bool arrived = false;
    atomic_store(&probes->stop, true);
    (void)pthread_join(probes->sender, NULL);
    for (size_t i = 0; !arrived && i < PROBE_GRACE_MS; i++) {
        pthread_mutex_lock(&probes->mutex);
        arrived = probes->seen >= probes->sent;
        pthread_mutex_unlock(&probes->mutex);
        clock_sleep_ms(1);
    }
    tally_reader_cancel(probes->reader);
    (void)pthread_join(probes->receiver, NULL);
}

static void close_probes(struct probes *probes)
{
    tally_reader_close(probes->reader);
    tally_client_close(probes->mirror);
    channel_close(probes->channel);
    load_free(probes->load);
    pthread_mutex_destroy(&probes->mutex);
}

static void watch(struct bench_append *append, struct probes *probes)
{
    struct bench_append_counts counts;
    struct bench_drawn drawn = {0};
    uint64_t begun_us = clock_now().mono_us;
    while (bench_live() && !bench_append_finished(append)) {
        clock_sleep_ms(BENCH_REDRAW_MS);
        bench_append_counts(append, &counts);
        pthread_mutex_lock(&probes->mutex);
        bench_show_live(&drawn, counts.events, clock_now().mono_us - begun_us, &counts.latency, &probes->lag);
        pthread_mutex_unlock(&probes->mutex);
    }
}

static int show(const struct bench_append_counts *counts, const struct probes *probes, uint64_t complete_us,
                struct err *err)
{
    const struct bench_config *config = probes->config;
    double replicated = bench_per_second(counts->events, complete_us);
    if (config->json) {
        json_t *object = bench_json_append(counts, config);
        (void)json_object_set_new(object, "bench", json_string("replicate"));
        (void)json_object_set_new(object, "replicated_seconds", json_real((double)complete_us / 1e6));
        (void)json_object_set_new(object, "replicated_per_second", json_real(replicated));
        (void)json_object_set_new(object, "probes_sent", json_number(probes->sent));
        (void)json_object_set_new(object, "lag_us", bench_json_histogram(&probes->lag));
        return print_json(object, err);
    }
    bench_show_append(counts, config);
    printf("the mirror held all of it after %.2f s: %.0f events/s replicated\n", (double)complete_us / 1e6, replicated);
    printf("%" PRIu64 " of %" PRIu64 " probes arrived at the mirror\n", probes->seen, probes->sent);
    bench_show_histogram("lag, from the acknowledgement until the mirror delivered", &probes->lag);
    return 0;
}

/* Load, and wait for the mirror. */
static int run_load(const struct bench_config *config, struct probes *probes, struct bench_append_counts *counts,
                    uint64_t *ret_complete_us, struct err *err)
{
    struct bench_append *append = NULL;
    struct tally_client *region = NULL;
    uint64_t begun_us = clock_now().mono_us;
    int rc = connect_client(config->server, &region, err);
    if (rc == 0)
        rc = bench_append_start(config, &append, err);
    if (rc == 0) {
        watch(append, probes);
        rc = bench_append_join(append, err);
        bench_append_counts(append, counts);
        bench_append_free(append);
    }
    if (rc == 0)
        rc = wait_until_complete(config, region, probes->mirror, err);
    *ret_complete_us = clock_now().mono_us - begun_us;
    tally_client_close(region);
    return rc;
}

int bench_run_replicate(const struct bench_config *config, struct err *err)
{
    struct probes *probes = mem_alloc_zero(1, sizeof(*probes));
    struct bench_append_counts counts = {0};
    uint64_t complete_us = 0;
    if (probes == NULL)
        return err_no_memory(err, "probes");
    int rc = open_probes(probes, config, err);
    bool probing = rc == 0 && config->probes > 0;
    if (probing)
        rc = start_probes(probes, err);
    probing = probing && rc == 0;
    if (rc == 0)
        rc = run_load(config, probes, &counts, &complete_us, err);
    if (probing)
        stop_probes(probes);
    bench_clear_live();
    if (rc == 0 && probes->failure.code != 0)
        rc = err_set(err, probes->failure.code, "a probe: %s", probes->failure.message);
    if (rc == 0)
        rc = show(&counts, probes, complete_us, err);
    close_probes(probes);
    mem_free(probes);
    return rc;
}
