/* What a call costs that does nothing: an AppendRequest without events, which the region refuses as soon as it has
 * decoded it, on the thread that serves appends. No look-up, no sequencer, no disk: what is left is gRPC, the kernel's
 * TCP and two processes that wake each other. Beside the time of a durable write it says what an append of one event
 * could at best take (bench/README.md).
 *
 * One caller, who waits for each answer: on a stream as `tally bench append` does it, or with --unary by a call of its
 * own each time. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "bench.h"
#include "connect.h"
#include "platform/clock.h"

struct ping {
    const struct bench_config *config;
    struct channel *channel;
    struct channel_queue *queue;
    struct channel_call *call; /* NULL with --unary */
    struct buf answer;
    struct histogram latency;
    uint64_t elapsed_us;
};

static int ask(struct ping *ping, struct err *err)
{
    struct bytes nothing = bytes_of(NULL, 0);
    if (ping->call != NULL)
        return channel_queue_ask(ping->call, nothing, err);
    return channel_queue_unary(ping->queue, ping->channel, "/tally.v1.Ledger/Append", nothing, ping->config->timeout_ms,
                               NULL, err);
}

/* It must be the refusal of an empty request: on a stream a message, else what the call ends with. */
static int take(struct ping *ping, struct channel_call *call, struct err *err)
{
    struct load_answer found = {0};
    struct err refusal = {0};
    buf_clear(&ping->answer);
    int rc = channel_queue_take(call, &ping->answer, NULL, &refusal);
    if (rc == 0)
        rc = load_check_answer(buf_bytes(&ping->answer), &found, err);
    else if (ping->call == NULL && rc == ERR_INVALID)
        return 0;
    else
        return err_set(err, rc, "%s", refusal.message);
    if (rc == 0 && found.code != ERR_INVALID)
        rc = err_set(err, ERR_CORRUPT, "the region did not refuse a request without events");
    return rc;
}

static int ping_once(struct ping *ping, struct err *err)
{
    struct channel_event event;
    uint64_t until_us = clock_now().mono_us + ping->config->timeout_ms * 1000;
    uint64_t begun_us = clock_now().mono_us;
    int rc = ask(ping, err);
    if (rc != 0)
        return rc;
    if (!channel_queue_next(ping->queue, ping->config->timeout_ms == 0 ? UINT64_MAX : until_us, &event))
        return err_set(err, ERR_TIMEOUT, "no answer within %" PRIu64 " ms", ping->config->timeout_ms);
    rc = take(ping, event.call, err);
    if (rc == 0)
        histogram_add(&ping->latency, clock_now().mono_us - begun_us);
    return rc;
}

static int ping_all(struct ping *ping, struct err *err)
{
    const struct bench_config *config = ping->config;
    uint64_t begun_us = clock_now().mono_us;
    int rc = 0;
    while (rc == 0 && (config->events == 0 || ping->latency.count < config->events) &&
           (config->seconds == 0 || ping->elapsed_us < config->seconds * 1000000)) {
        rc = ping_once(ping, err);
        ping->elapsed_us = clock_now().mono_us - begun_us;
    }
    return rc;
}

static int show(const struct ping *ping, struct err *err)
{
    if (ping->config->json)
        return print_json(json_pack("{s:s,s:o,s:f,s:o,s:b}", "bench", "ping", "calls", json_number(ping->latency.count),
                                    "seconds", (double)ping->elapsed_us / 1e6, "latency_us",
                                    bench_json_histogram(&ping->latency), "unary", ping->config->unary),
                          err);
    printf("%" PRIu64 " empty calls in %.2f s\n", ping->latency.count, (double)ping->elapsed_us / 1e6);
    bench_show_histogram("round trip", &ping->latency);
    return 0;
}

int bench_run_ping(const struct bench_config *config, struct err *err)
{
    struct ping *ping = mem_alloc_zero(1, sizeof(*ping));
    if (ping == NULL)
        return err_no_memory(err, "a ping");
    ping->config = config;
    buf_init(&ping->answer, CHANNEL_MESSAGE_MAX_BYTES);
    histogram_init(&ping->latency);
    int rc = connect_channel(config->server, &ping->channel, err);
    if (rc == 0)
        rc = channel_queue_new(&ping->queue, err);
    if (rc == 0 && !config->unary)
        rc = channel_queue_open(ping->queue, ping->channel, "/tally.v1.Ledger/AppendStream", NULL, &ping->call, err);
    if (rc == 0)
        rc = ping_all(ping, err);
    if (rc == 0)
        rc = show(ping, err);
    channel_queue_free(ping->queue);
    channel_close(ping->channel);
    buf_free(&ping->answer);
    mem_free(ping);
    return rc;
}
