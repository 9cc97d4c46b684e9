/* The scrubber: the thread that looks for damage before somebody needs what is damaged, and that tells the operator of
 * any, whoever met it. Sealed segments are read again one after the other at a bounded rate (log/scrub.h); a pass over
 * all logs begins at most once in PASS_INTERVAL_US. Damage never stops the region unless on_damage is refuse: what is
 * intact is served, reads of the damaged range fail, status shows it, and the alarm is raised once for each place. */
#include <stdio.h>

#include "base/mem.h"
#include "server/internal.h"

enum { LOOK_INTERVAL_MS = 200, PACE_SLEEP_MAX_MS = 200 };
#define PASS_INTERVAL_US (3600ull * 1000000)

struct scrubber {
    struct server *server;
    struct sha256 *sha;
    struct log *log;              /* being read */
    size_t told[REGION_LOGS_MAX]; /* damages of each log that were told */
    uint64_t window_start_us;     /* the rate is kept since then */
    uint64_t window_bytes;
};

/* --- Telling --- */

static void tell(struct scrubber *scrubber, struct log *log, const struct scrub_finding *finding)
{
    struct server *server = scrubber->server;
    char end[32];
    struct bytes origin = log_origin(log);
    snprintf(end, sizeof(end), "%llu", (unsigned long long)finding->end_index - 1);
    server_say(server,
               "ALARM: log %.*s is damaged: %s/%020llu.seg, offset %llu, entries %llu to %s: %s. What is intact is "
               "served. Stop the region and run: tally repair --data %s --origin %.*s --from HOST:PORT",
               (int)origin.size_bytes, (const char *)origin.data, log_folder(log), (unsigned long long)finding->segment,
               (unsigned long long)finding->offset, (unsigned long long)finding->first_index, end, finding->what,
               server->config->folder, (int)origin.size_bytes, (const char *)origin.data);
    if (server->config->refuse_damaged)
        server_die(server, "on_damage is refuse, stopping at once");
}

/* Whoever met it put it into the log's list. */
static void tell_new(struct scrubber *scrubber)
{
    struct scrub_finding *known = mem_alloc(LOG_DAMAGES_MAX * sizeof(*known));
    if (known == NULL)
        return; /* at the next look */
    for (size_t i = 0; i < atomic_load(&scrubber->server->store.log_count); i++) {
        struct log *log = scrubber->server->store.logs[i];
        size_t count = log_damages(log, known, LOG_DAMAGES_MAX);
        while (scrubber->told[i] < count)
            tell(scrubber, log, &known[scrubber->told[i]++]);
    }
    mem_free(known);
}

/* --- Reading --- */

static int found(void *context, const struct scrub_finding *finding, struct err *err)
{
    struct scrubber *scrubber = context;
    (void)err;
    log_add_damage(scrubber->log, finding);
    tell_new(scrubber);
    return 0;
}

/* Sleeps as long as what was read is ahead of the rate. */
static int pace(void *context, uint64_t bytes, struct err *err)
{
    struct scrubber *scrubber = context;
    struct server *server = scrubber->server;
    uint64_t rate = server->config->scrub_mib_per_s * 1024 * 1024;
    scrubber->window_bytes += bytes;
    atomic_fetch_add(&server->scrub_read_bytes, bytes);
    for (;;) {
        if (atomic_load(&server->stopping))
            return err_set(err, ERR_CANCELLED, "stopping");
        uint64_t due_us = scrubber->window_start_us + scrubber->window_bytes * 1000000 / rate;
        uint64_t now_us = clock_now().mono_us;
        if (now_us >= due_us)
            break;
        uint64_t wait_ms = (due_us - now_us) / 1000 + 1;
        clock_sleep_ms(wait_ms < PACE_SLEEP_MAX_MS ? wait_ms : PACE_SLEEP_MAX_MS);
    }
    return 0;
}

static int scrub_log(struct scrubber *scrubber, struct log *log, struct err *err)
{
    struct scrub scrub = {.disk = scrubber->server->disk,
                          .folder = log_folder(log),
                          .sha = scrubber->sha,
                          .found = found,
                          .pace = pace,
                          .context = scrubber};
    uint64_t *segments = NULL;
    size_t count = 0;
    scrubber->log = log;
    int code = log_sealed_segments(log, &segments, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = scrub_segment(&scrub, segments, count + 1, i, NULL, err);
    mem_free(segments);
    return code;
}

static void run_pass(struct scrubber *scrubber)
{
    struct server *server = scrubber->server;
    struct err err = {0};
    int code = 0;
    scrubber->window_start_us = clock_now().mono_us;
    scrubber->window_bytes = 0;
    atomic_store(&server->scrub_read_bytes, 0);
    for (size_t i = 0; code == 0 && i < atomic_load(&server->store.log_count); i++)
        code = scrub_log(scrubber, server->store.logs[i], &err);
    if (code == 0)
        atomic_fetch_add(&server->scrub_passes, 1);
    else if (code != ERR_CANCELLED)
        server_say(server, "ALARM: the scrub could not go on: %s", err.message);
}

void *scrubber_run(void *context)
{
    struct server *server = context;
    struct scrubber scrubber = {.server = server, .sha = sha256_new()};
    uint64_t next_pass_us = clock_now().mono_us;
    if (scrubber.sha == NULL)
        server_die(server, "memory ran out");
    while (!atomic_load(&server->stopping)) {
        tell_new(&scrubber);
        if (server->config->scrub_mib_per_s > 0 && clock_now().mono_us >= next_pass_us) {
            next_pass_us = clock_now().mono_us + PASS_INTERVAL_US;
            run_pass(&scrubber);
        }
        clock_sleep_ms(LOOK_INTERVAL_MS);
    }
    sha256_free(scrubber.sha);
    return NULL;
}

void scrubber_status(struct server *server, struct rpc_status *ret)
{
    struct scrub_finding *known = mem_alloc(LOG_DAMAGES_MAX * sizeof(*known));
    ret->scrub_mib_per_s = server->config->scrub_mib_per_s;
    ret->scrub_passes = atomic_load(&server->scrub_passes);
    ret->scrub_read_bytes = atomic_load(&server->scrub_read_bytes);
    for (size_t i = 0; known != NULL && i < atomic_load(&server->store.log_count); i++) {
        size_t count = log_damages(server->store.logs[i], known, LOG_DAMAGES_MAX);
        for (size_t d = 0; d < count && ret->damage_count < RPC_DAMAGES_MAX; d++)
            ret->damages[ret->damage_count++] =
                (struct rpc_damage){.folder = log_folder(server->store.logs[i]), .log = i, .finding = known[d]};
    }
    mem_free(known);
}
