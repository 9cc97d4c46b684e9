/* tally import: newline-delimited JSON to the regions that own it.
 *
 * One thread reads and parses lines, finds each event's home region, and collects events in batches, one for each lane
 * (lane.h) of that region. A full batch goes to its lane; when the input pauses, the others go too, so that a slow
 * producer's events do not lie around.
 *
 * Running an import again is safe: events that are there are answered as duplicates. That is also how it resumes. A
 * line that cannot be understood ends the import: what stood before it is committed first, so "fix line N and run it
 * again" is all there is to do. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "commands.h"
#include "connect.h"
#include "lane.h"
#include "lines.h"
#include "ndjson.h"
#include "output.h"
#include "platform/clock.h"
#include "tally/client.h"

enum {
    REGIONS_MAX = 64,
    LANES_MAX = 32,
    LANES_DEFAULT = 8,
    BATCH_EVENTS_DEFAULT = 500,
    BATCH_MAX_BYTES = 1024 * 1024,
    RETRY_FOR_DEFAULT_S = 120,
    RETRY_FOR_MAX_S = 24 * 3600,
    IDLE_MS = 50,
    PROGRESS_INTERVAL_MS = 2000,
    PROGRESS_TERMINAL_INTERVAL_MS = 250,
    PROGRESS_POLL_MS = 50,
};

struct import_options {
    struct common common;
    const char *file;
    struct option_values to;
    uint64_t lanes;
    uint64_t batch_events;
    uint64_t retry_for_s;
    bool progress;
};

struct import_region {
    struct lane_target target;
    struct lane *lanes[LANES_MAX];
    struct batch *open[LANES_MAX]; /* being filled, one for each lane */
};

struct import {
    const struct import_options *options;
    struct tally_status *status; /* who is home to what */
    size_t region_count;
    struct import_region regions[REGIONS_MAX];
    struct lane_counts counts;
    struct routes *routes;
    atomic_bool done; /* ends the progress thread */
};

/* --- Regions --- */

static int status_from(const char *address, uint64_t timeout_ms, struct tally_status **ret, struct err *err)
{
    struct tally_client *client = NULL;
    int rc = connect_client(address, &client, err);
    if (rc == 0)
        rc = tally_status_get(client, timeout_ms, ret, err);
    tally_client_close(client);
    return rc;
}

/* Any region will do: all hold the same contexts. */
static int learn_homes(struct import *import, struct err *err)
{
    const struct import_options *options = import->options;
    uint64_t begun_us = clock_now().mono_us;
    for (;;) {
        int rc = 0;
        if (options->to.count == 0)
            rc = status_from(server_address(options->common.server), options->common.timeout_ms, &import->status, err);
        for (size_t i = 0; i < options->to.count; i++) {
            rc = status_from(strchr(options->to.items[i], '=') + 1, options->common.timeout_ms, &import->status, err);
            if (rc == 0)
                break;
        }
        bool again = rc == ERR_UNAVAILABLE || rc == ERR_TIMEOUT || rc == ERR_BUSY;
        if (!again || clock_now().mono_us - begun_us >= options->retry_for_s * 1000 * 1000)
            return rc;
        clock_sleep_ms(500);
    }
}

static int add_region(struct import *import, const char *name, struct import_region **ret, struct err *err)
{
    const struct import_options *options = import->options;
    const char *address = routes_given_address(&options->to, name);
    if (address == NULL)
        address = tally_status_address(import->status, name);
    if (address == NULL || address[0] == '\0')
        return err_set(err, ERR_NOT_FOUND, "the address of region %s is not known: add --to %s=HOST:PORT", name, name);
    if (import->region_count == REGIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d regions", REGIONS_MAX);
    struct import_region *region = &import->regions[import->region_count];
    region->target.region = name;
    region->target.address = address;
    region->target.timeout_ms = options->common.timeout_ms;
    region->target.retry_for_ms = options->retry_for_s * 1000;
    int rc = connect_client(address, &region->target.client, err);
    if (rc != 0)
        return rc;
    import->region_count++;
    *ret = region;
    return 0;
}

static int home_of(struct import *import, const struct ndjson_event *event, struct import_region **ret, struct err *err)
{
    const char *home = tally_status_home(import->status, event->context, event->partition);
    if (home == NULL)
        return err_set(err, ERR_NOT_FOUND, "there is no context \"%.100s\" in cluster %s: add it to tallyd.yaml",
                       event->context, import->status->cluster);
    for (size_t i = 0; i < import->region_count; i++) {
        if (strcmp(import->regions[i].target.region, home) == 0) {
            *ret = &import->regions[i];
            return 0;
        }
    }
    return add_region(import, home, ret, err);
}

/* --- Batches --- */

static int flush_lane(struct import *import, struct import_region *region, size_t lane, struct err *err)
{
    struct batch *batch = region->open[lane];
    if (batch == NULL)
        return 0;
    region->open[lane] = NULL;
    if (batch_count(batch) == 0) {
        batch_free(batch);
        return 0;
    }
    if (region->lanes[lane] == NULL) {
        int rc = lane_start(&region->target, import->routes, &import->counts, &region->lanes[lane], err);
        if (rc != 0) {
            batch_free(batch);
            return rc;
        }
    }
    return lane_send(region->lanes[lane], batch) == 0 ? 0 : err_set(err, ERR_CANCELLED, "a region refused a batch");
}

static int flush_all(struct import *import, struct err *err)
{
    int first = 0;
    for (size_t r = 0; r < import->region_count; r++) {
        for (size_t i = 0; i < import->options->lanes; i++) {
            int rc = flush_lane(import, &import->regions[r], i, first == 0 ? err : NULL);
            first = first == 0 ? rc : first;
        }
    }
    return first;
}

static size_t lane_of(const struct import *import, const struct ndjson_event *event)
{
    uint32_t hash = crc32c(0, bytes_of_string(event->context));
    return crc32c(hash, bytes_of_string(event->stream)) % import->options->lanes;
}

/* A batch whose arena the next line is parsed into is not known before it is parsed: so lines are parsed into one of
 * their own and copied. */
static bool copy_event(struct arena *arena, struct ndjson_event *event)
{
    struct tally_event *inner = &event->event;
    event->context = arena_copy(arena, event->context, strlen(event->context) + 1);
    event->partition = arena_copy(arena, event->partition, strlen(event->partition) + 1);
    event->stream = arena_copy(arena, event->stream, strlen(event->stream) + 1);
    inner->type = arena_copy(arena, inner->type, strlen(inner->type) + 1);
    inner->content_type = arena_copy(arena, inner->content_type, strlen(inner->content_type) + 1);
    inner->metadata.data = arena_copy(arena, inner->metadata.data, inner->metadata.size);
    inner->payload.data = arena_copy(arena, inner->payload.data, inner->payload.size);
    bool causation = inner->causation_id != NULL;
    bool correlation = inner->correlation_id != NULL;
    if (causation)
        inner->causation_id = arena_copy(arena, inner->causation_id, TALLY_ID_SIZE);
    if (correlation)
        inner->correlation_id = arena_copy(arena, inner->correlation_id, TALLY_ID_SIZE);
    return event->context != NULL && event->partition != NULL && event->stream != NULL && inner->type != NULL &&
           inner->content_type != NULL && inner->metadata.data != NULL && inner->payload.data != NULL &&
           causation == (inner->causation_id != NULL) && correlation == (inner->correlation_id != NULL);
}

static int add_event(struct import *import, const struct ndjson_event *event, uint64_t line, struct err *err)
{
    struct import_region *region = NULL;
    int rc = home_of(import, event, &region, err);
    if (rc != 0)
        return err_wrap(err, rc, "line %" PRIu64, line);
    size_t lane = lane_of(import, event);
    for (int attempt = 0; attempt < 2; attempt++) {
        struct ndjson_event copy = *event;
        if (region->open[lane] == NULL)
            rc = batch_new(import->options->batch_events, BATCH_MAX_BYTES, &region->open[lane], err);
        if (rc == 0 && !copy_event(batch_arena(region->open[lane]), &copy))
            rc = err_no_memory(err, "a batch");
        if (rc == 0)
            rc = batch_add(region->open[lane], &copy, line, err);
        if (rc != ERR_TOO_LARGE)
            return rc;
        rc = flush_lane(import, region, lane, err);
        if (rc != 0)
            return rc;
    }
    return err_set(err, ERR_TOO_LARGE, "line %" PRIu64 " does not fit into a batch of its own", line);
}

/* --- The input --- */

static bool is_blank(struct bytes line)
{
    for (size_t i = 0; i < line.size_bytes; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t')
            return false;
    return true;
}

static int import_lines(struct import *import, struct lines *lines, struct err *err)
{
    struct arena arena;
    arena_init(&arena, 4 * NDJSON_LINE_MAX_BYTES);
    int rc = 0;
    while (rc == 0) {
        struct bytes line;
        struct ndjson_event event;
        arena_reset(&arena);
        rc = lines_next(lines, IDLE_MS, &line, err);
        if (rc == ERR_BUSY) {
            rc = flush_all(import, err);
            continue;
        }
        if (rc != 0 || is_blank(line))
            continue;
        rc = ndjson_parse(line, false, &arena, &event, err);
        if (rc != 0)
            rc = err_wrap(err, rc, "line %" PRIu64, lines->number);
        else
            rc = add_event(import, &event, lines->number, err);
    }
    arena_free(&arena);
    return rc == ERR_END ? 0 : rc;
}

/* A lane's failure is the cause, and what the reader saw of it (ERR_CANCELLED) only the symptom. */
static int finish_lanes(struct import *import, int rc, struct err *err)
{
    struct err lane_err = {0};
    for (size_t r = 0; r < import->region_count; r++) {
        struct import_region *region = &import->regions[r];
        for (size_t i = 0; i < import->options->lanes; i++) {
            batch_free(region->open[i]);
            region->open[i] = NULL;
            int lane_rc = region->lanes[i] == NULL ? 0 : lane_finish(region->lanes[i], &lane_err);
            region->lanes[i] = NULL;
            if (lane_rc != 0 && (rc == 0 || rc == ERR_CANCELLED)) {
                rc = lane_rc;
                *err = lane_err;
            }
        }
    }
    return rc;
}

/* --- Progress --- */

static void *progress_run(void *context)
{
    struct import *import = context;
    bool terminal = isatty(STDERR_FILENO) == 1;
    uint64_t interval_us = 1000 * (uint64_t)(terminal ? PROGRESS_TERMINAL_INTERVAL_MS : PROGRESS_INTERVAL_MS);
    uint64_t begun_us = clock_now().mono_us;
    uint64_t next_us = begun_us + interval_us;
    while (!atomic_load(&import->done)) {
        clock_sleep_ms(PROGRESS_POLL_MS);
        uint64_t now_us = clock_now().mono_us;
        if (now_us < next_us)
            continue;
        next_us = now_us + interval_us;
        uint64_t added = atomic_load(&import->counts.added);
        uint64_t duplicates = atomic_load(&import->counts.duplicates);
        (void)fprintf(stderr, "%s%" PRIu64 " events: %" PRIu64 " new, %" PRIu64 " already there, %" PRIu64 "/s%s",
                      terminal ? "\r" : "", added + duplicates, added, duplicates,
                      (added + duplicates) * 1000000 / (now_us - begun_us), terminal ? "  " : "\n");
    }
    if (terminal)
        (void)fprintf(stderr, "\r\033[K");
    return NULL;
}

/* --- The command --- */

static int import_all(struct import *import, struct err *err)
{
    struct lines lines;
    pthread_t progress;
    int rc = lines_open(import->options->file, NDJSON_LINE_MAX_BYTES, &lines, err);
    if (rc != 0)
        return rc;
    bool shown = (import->options->progress || isatty(STDERR_FILENO) == 1) &&
                 pthread_create(&progress, NULL, progress_run, import) == 0;
    rc = learn_homes(import, err);
    if (rc == 0) {
        rc = import_lines(import, &lines, err);
        if (rc != ERR_CANCELLED) {
            int flush_rc = flush_all(import, rc == 0 ? err : NULL);
            rc = rc == 0 ? flush_rc : rc;
        }
        rc = finish_lanes(import, rc, err);
    }
    atomic_store(&import->done, true);
    if (shown)
        (void)pthread_join(progress, NULL);
    lines_close(&lines);
    return rc;
}

static void print_summary(const struct import *import, bool json)
{
    uint64_t added = atomic_load(&import->counts.added);
    uint64_t duplicates = atomic_load(&import->counts.duplicates);
    if (json)
        printf("{\"events\":%" PRIu64 ",\"new\":%" PRIu64 ",\"already_there\":%" PRIu64 "}\n", added + duplicates,
               added, duplicates);
    else
        printf("imported %" PRIu64 " events: %" PRIu64 " new, %" PRIu64 " already there\n", added + duplicates, added,
               duplicates);
}

static int import_run(const struct import_options *options)
{
    struct err err = {0};
    struct import *import = mem_alloc_zero(1, sizeof(*import));
    if (import == NULL) {
        (void)err_no_memory(&err, "the import");
        return fail(&err, options->common.json);
    }
    import->options = options;
    int rc = routes_new(&options->to, &import->routes, &err);
    if (rc == 0)
        rc = import_all(import, &err);
    print_summary(import, options->common.json);
    if (rc == 0)
        rc = output_flush(&err);
    for (size_t i = 0; i < import->region_count; i++)
        tally_client_close(import->regions[i].target.client);
    routes_free(import->routes);
    tally_status_free(import->status);
    mem_free(import);
    return rc == 0 ? EXIT_OK : fail(&err, options->common.json);
}

static int run_import(const struct command *command, int argc, char **argv)
{
    struct import_options options = {
        .common.timeout_ms = COMMON_TIMEOUT_MS,
        .lanes = LANES_DEFAULT,
        .batch_events = BATCH_EVENTS_DEFAULT,
        .retry_for_s = RETRY_FOR_DEFAULT_S,
    };
    const struct option table[] = {
        {"to", "REGION=HOST:PORT", OPTION_TEXTS, &options.to,
         "where a region is, repeatable (default: what --server says)"},
        {"retry-for", "SECONDS", OPTION_NUMBER, &options.retry_for_s, "how long to wait for a region (default 120)"},
        {"batch-events", "N", OPTION_NUMBER, &options.batch_events, "events in a batch (default 500)"},
        {"lanes", "N", OPTION_NUMBER, &options.lanes, "batches under way to each region (default 8)"},
        {"progress", NULL, OPTION_FLAG, &options.progress, "report every 2 s, also when it is no terminal"},
        OPTION_SERVER(options.common),
        OPTION_TIMEOUT(options.common),
        OPTION_JSON(options.common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    for (size_t i = 0; i < options.to.count; i++)
        if (strchr(options.to.items[i], '=') == NULL)
            return usage_error(command, "--to wants REGION=HOST:PORT, not \"%s\"", options.to.items[i]);
    if (options.lanes == 0 || options.lanes > LANES_MAX)
        return usage_error(command, "--lanes is 1 to %d", LANES_MAX);
    if (options.batch_events == 0 || options.batch_events > TALLY_BATCH_EVENTS_MAX)
        return usage_error(command, "--batch-events is 1 to %d", TALLY_BATCH_EVENTS_MAX);
    if (options.retry_for_s > RETRY_FOR_MAX_S)
        return usage_error(command, "--retry-for is at most %d", RETRY_FOR_MAX_S);
    options.file = arguments.items[0];
    return import_run(&options);
}

const struct command command_import = {
    .name = "import",
    .arguments = "FILE|-",
    .summary = "append events from newline-delimited JSON",
    .help =
        "Appends the events of FILE, one JSON object a line, each at the home region of its partition:\n"
        "  {\"id\":\"018f3b1c-9c00-7000-8000-000000000001\",\"context\":\"bank\",\"partition\":\"eu\",\n"
        "   "
        "\"stream\":\"account-17\",\"type\":\"Deposited\",\"payload\":{\"amount\":\"12.50\"},\"metadata\":{\"till\":4}}"
        "\n"
        "The payload is any JSON value, or \"payload_base64\"; \"content_type\", \"causation_id\" and "
        "\"correlation_id\"\n"
        "may be there too. The order within a stream is kept. Running it again is safe: an event whose id is there\n"
        "already is counted, not repeated. A line that is wrong ends the import after all lines before it are in.\n"
        "When a partition moves to another home meanwhile, the import follows it.\n\n"
        "Examples:\n"
        "  tally import events.ndjson --server 127.0.0.1:7401\n"
        "  zcat old.gz | tally import - --to eu=10.0.0.1:7401 --to us=10.1.0.1:7401 --progress",
    .connects = true,
    .run = run_import,
};
