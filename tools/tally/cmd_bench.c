/* tally bench: measures a running region through its real interface. */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "commands.h"

enum {
    BATCH_DEFAULT = 1000,
    PAYLOAD_DEFAULT = 256,
    STREAMS_DEFAULT = 10000,
    IN_FLIGHT_DEFAULT = 8,
    SECONDS_DEFAULT = 10,
    PROBES_DEFAULT = 100,
    PROBES_PER_SECOND_MAX = 1000,
    STREAMS_MAX = 1000000000,
    RATE_MAX = 100000000,
    TIMES_MAX = 1000000,
};

struct bench_kind {
    const char *name;
    int (*run)(const struct bench_config *config, struct err *err);
    bool appends;
};

static const struct bench_kind kinds[] = {
    {"append", bench_run_append, true},
    {"ping", bench_run_ping, false},
    {"read", bench_run_read, false},
    {"replicate", bench_run_replicate, true},
};

static const struct bench_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static bool within(const struct command *command, const char *option, uint64_t value, uint64_t min, uint64_t max)
{
    if (value >= min && value <= max)
        return true;
    (void)usage_error(command, "--%s must be between %llu and %llu", option, (unsigned long long)min,
                      (unsigned long long)max);
    return false;
}

static bool check_load(const struct command *command, struct bench_config *config)
{
    if (config->context == NULL || config->partition == NULL) {
        (void)usage_error(command, "an append load needs --context and --partition: use ones of their own");
        return false;
    }
    if (strlen(config->context) > TALLY_NAME_MAX_BYTES || strlen(config->partition) > TALLY_NAME_MAX_BYTES) {
        (void)usage_error(command, "names have at most %d bytes", TALLY_NAME_MAX_BYTES);
        return false;
    }
    if (config->unary)
        config->in_flight = 1;
    return within(command, "batch", config->batch, 1, TALLY_BATCH_EVENTS_MAX) &&
           within(command, "payload", config->payload_bytes, 0, TALLY_PAYLOAD_MAX_BYTES) &&
           within(command, "streams", config->streams, 1, STREAMS_MAX) &&
           within(command, "callers", config->callers, 1, BENCH_CALLERS_MAX) &&
           within(command, "in-flight", config->in_flight, 1, TALLY_IN_FLIGHT_MAX) &&
           within(command, "connections", config->connections, 1, BENCH_CONNECTIONS_MAX) &&
           within(command, "rate", config->rate, 0, RATE_MAX) &&
           within(command, "probes", config->probes, 0, PROBES_PER_SECOND_MAX);
}

static int run_bench(const struct command *command, int argc, char **argv)
{
    struct common common = {.timeout_ms = COMMON_TIMEOUT_MS};
    struct bench_config config = {.batch = BATCH_DEFAULT,
                                  .payload_bytes = PAYLOAD_DEFAULT,
                                  .streams = STREAMS_DEFAULT,
                                  .callers = 1,
                                  .in_flight = IN_FLIGHT_DEFAULT,
                                  .connections = 1,
                                  .probes = PROBES_DEFAULT};
    const struct option table[] = {
        {"context", "NAME", OPTION_TEXT, &config.context, "append, replicate: where the events go; they stay for ever"},
        {"partition", "NAME", OPTION_TEXT, &config.partition, "append, replicate: the same"},
        {"batch", "N", OPTION_NUMBER, &config.batch, "events of one batch (default 1000)"},
        {"payload", "BYTES", OPTION_NUMBER, &config.payload_bytes, "payload of each event (default 256)"},
        {"streams", "N", OPTION_NUMBER, &config.streams, "streams that the events go to, in turn (default 10000)"},
        {"callers", "N", OPTION_NUMBER, &config.callers, "callers at once (default 1)"},
        {"in-flight", "N", OPTION_NUMBER, &config.in_flight, "batches that a caller sends ahead (default 8)"},
        {"unary", NULL, OPTION_FLAG, &config.unary, "a call of its own for each batch, instead of a stream of them"},
        {"connections", "N", OPTION_NUMBER, &config.connections, "connections that the callers share (default 1)"},
        {"rate", "N", OPTION_NUMBER, &config.rate,
         "events a second that are due, whatever the region does (default: as many as go)"},
        {"events", "N", OPTION_NUMBER, &config.events, "stop after so many events (ping: calls)"},
        {"seconds", "N", OPTION_NUMBER, &config.seconds, "stop after so many seconds (default 10 without --events)"},
        {"mirror", "HOST:PORT", OPTION_TEXT, &config.mirror, "replicate: the region that mirrors --server"},
        {"probes", "N", OPTION_NUMBER, &config.probes, "replicate: events a second that measure the lag (default 100)"},
        {"origin", "LOG", OPTION_TEXT, &config.origin, "read: which log (default: the region's own)"},
        {"subscribe", NULL, OPTION_FLAG, &config.subscribe, "read: by a subscription, until it has caught up"},
        OPTION_SERVER(common),
        OPTION_TIMEOUT(common),
        OPTION_JSON(common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    const struct bench_kind *kind = find_kind(arguments.items[0]);
    if (kind == NULL)
        return usage_error(command, "there is no benchmark \"%s\": append, ping, read or replicate",
                           arguments.items[0]);
    if (kind->appends && !check_load(command, &config))
        return EXIT_USAGE;
    if (kind->run != bench_run_read && config.events == 0 && config.seconds == 0)
        config.seconds = SECONDS_DEFAULT;
    if (kind->run == bench_run_replicate && config.mirror == NULL)
        return usage_error(command, "replicate needs --mirror, the region that copies --server");
    if (!within(command, "seconds", config.seconds, 0, TIMES_MAX))
        return EXIT_USAGE;
    config.server = server_address(common.server);
    config.timeout_ms = common.timeout_ms;
    config.json = common.json;
    struct err err = {0};
    int rc = kind->run(&config, &err);
    if (rc == 0)
        rc = output_flush(&err);
    return rc == 0 ? EXIT_OK : fail(&err, common.json);
}

const struct command command_bench = {
    .name = "bench",
    .arguments = "append|ping|read|replicate",
    .summary = "measure a region: appends, empty calls, reads, replication",
    .help =
        "append     sends batches and counts what was acknowledged, that is, durable at the region\n"
        "ping       asks for nothing, one call after another: what gRPC and the network take of an append\n"
        "read       reads a log from its start, or a subscription until it has caught up\n"
        "replicate  appends at --server, and measures how far behind --mirror is\n\n"
        "With --rate the load is open: each batch is due at its time whatever the region does, and its latency counts\n"
        "from then, so that a pause of the region shows in full. Without it each caller sends when it may.\n"
        "Bytes that a benchmark appends are in the log for ever: measure a region that is made for it.\n\n"
        "Examples:\n"
        "  tally bench append --context bench --partition p --seconds 10\n"
        "  tally bench append --context bench --partition p --batch 1 --callers 64 --in-flight 1 --rate 20000\n"
        "  tally bench read --subscribe --json\n"
        "  tally bench replicate --context bench --partition p --server eu:7401 --mirror us:7401 --rate 100000",
    .connects = true,
    .run = run_bench,
};
