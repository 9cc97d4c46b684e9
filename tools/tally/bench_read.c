/* Reading as fast as it goes: one log from its start, or a subscription until it has caught up. Counted are events and
 * bytes of messages; checked is that within a log each index follows the one before it. Events are not decoded further,
 * and nothing is hashed: that is tally-verify's work. The histogram is of how long each message was waited for, from
 * when the one before had come: what a reader stands still at most. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "bench.h"
#include "connect.h"
#include "entry/wire.h"
#include "platform/clock.h"

enum { REQUEST_MAX_BYTES = 512 };

struct read_counts {
    uint64_t events;
    uint64_t bytes;
    uint64_t messages;
    uint64_t elapsed_us;
    struct histogram wait; /* for each message */
};

static int open_read(struct channel *channel, const struct bench_config *config, struct channel_call **ret,
                     struct err *err)
{
    const char *method = config->subscribe ? "/tally.v1.Ledger/Subscribe" : "/tally.v1.Ledger/ReadLog";
    struct bytes origin = bytes_of_string(config->origin == NULL ? "" : config->origin);
    uint8_t request[REQUEST_MAX_BYTES]; /* of a SubscribeRequest, empty: all from the start */
    uint8_t *end = request;
    if (origin.size_bytes > TALLY_NAME_MAX_BYTES)
        return err_set(err, ERR_INVALID, "the name of a log has at most %d bytes", TALLY_NAME_MAX_BYTES);
    if (!config->subscribe && origin.size_bytes > 0)
        end = wire_put_bytes(end, 1, origin);
    if (!config->subscribe && config->events > 0)
        end = wire_put_varint(wire_put_tag(end, 5, WIRE_VARINT), config->events);
    size_t size = (size_t)(end - request);
    struct channel_call *call = NULL;
    int rc = channel_call_open(channel, method, 0, &call, err);
    if (rc == 0)
        rc = channel_call_write(call, bytes_of(request, size), err);
    if (rc == 0)
        rc = channel_call_writes_done(call, err);
    if (rc != 0) {
        channel_call_close(call);
        return rc;
    }
    *ret = call;
    return 0;
}

/* Until there is no more, the wished number of events has come, or the time is over. */
static int read_all(struct channel_call *call, const struct bench_config *config, struct read_counts *counts,
                    struct err *err)
{
    uint64_t begun_us = clock_now().mono_us;
    uint64_t asked_us = begun_us;
    struct bench_drawn drawn = {0};
    struct load_page page = {0};
    uint64_t last_index = 0;
    struct buf message;
    int rc = 0;
    buf_init(&message, CHANNEL_MESSAGE_MAX_BYTES);
    while (rc == 0 && !page.caught_up && (config->events == 0 || counts->events < config->events) &&
           (config->seconds == 0 || counts->elapsed_us < config->seconds * 1000000)) {
        buf_clear(&message);
        rc = channel_call_read(call, &message, NULL, err);
        if (rc == 0)
            rc = load_check_page(buf_bytes(&message), &page, err);
        if (rc != 0)
            break;
        bool follows = page.consecutive && (config->subscribe || counts->events == 0 || page.events == 0 ||
                                            page.first_index == last_index + 1);
        if (!follows)
            rc = err_set(err, ERR_CORRUPT, "an entry is missing: after index %" PRIu64 " came %" PRIu64, last_index,
                         page.first_index);
        last_index = page.events > 0 ? page.last_index : last_index;
        counts->events += page.events;
        counts->bytes += message.size_bytes;
        counts->messages++;
        uint64_t now_us = clock_now().mono_us;
        histogram_add(&counts->wait, now_us - asked_us);
        asked_us = now_us;
        counts->elapsed_us = now_us - begun_us;
        bench_show_live(&drawn, counts->events, counts->elapsed_us, &counts->wait, NULL);
    }
    buf_free(&message);
    return rc == ERR_END ? 0 : rc;
}

static int show(const struct read_counts *counts, const struct bench_config *config, struct err *err)
{
    double events_per_second = bench_per_second(counts->events, counts->elapsed_us);
    double bytes_per_second = bench_per_second(counts->bytes, counts->elapsed_us);
    const char *what = config->subscribe ? "subscribe" : "read";
    if (config->json)
        return print_json(json_pack("{s:s,s:o,s:o,s:o,s:f,s:f,s:f,s:o}", "bench", what, "events",
                                    json_number(counts->events), "bytes", json_number(counts->bytes), "messages",
                                    json_number(counts->messages), "seconds", (double)counts->elapsed_us / 1e6,
                                    "events_per_second", events_per_second, "bytes_per_second", bytes_per_second,
                                    "wait_us", bench_json_histogram(&counts->wait)),
                          err);
    printf("%" PRIu64 " events in %.2f s: %.0f events/s, %.1f MB/s in %" PRIu64
           " messages; indexes were seen to follow each other\n",
           counts->events, (double)counts->elapsed_us / 1e6, events_per_second, bytes_per_second / 1e6,
           counts->messages);
    bench_show_histogram("wait for a message", &counts->wait);
    return 0;
}

int bench_run_read(const struct bench_config *config, struct err *err)
{
    struct channel *channel = NULL;
    struct channel_call *call = NULL;
    struct read_counts counts = {0};
    int rc = connect_channel(config->server, &channel, err);
    if (rc == 0)
        rc = open_read(channel, config, &call, err);
    if (rc == 0)
        rc = read_all(call, config, &counts, err);
    channel_call_close(call);
    channel_close(channel);
    bench_clear_live();
    return rc == 0 ? show(&counts, config, err) : rc;
}
