/* The settler's second duty: commands that regions have kept for another home (domain/queued.h) are handed to this
 * region when it is the home of their partition.
 *
 * It goes over the open commands in (origin, index) order, so those of one partition and log come in their order. When
 * one cannot be decided now (too few copies, a busy disk), those of its partition that come after it wait, too: a run
 * remembers which partitions these are. What cannot be remembered waits as well. Nothing here must survive: what is
 * decided is not open any more. */
#include "rpc/queue.h"
#include "base/map.h"
#include "base/mem.h"
#include "server/internal.h"

enum { BLOCKED_MAX = 1024, KEY_MAX_BYTES = 1 + 2 * ENTRY_NAME_MAX_BYTES };

struct run {
    struct server *server;
    struct authority_table authority;
    struct map blocked; /* context and partition */
    bool all_blocked;   /* more than could be remembered */
    uint64_t accepted;
    uint64_t refused;
    struct index_queued queued[INDEX_QUEUE_SCAN_MAX];
};

static struct bytes partition_key(const struct index_queued *queued, uint8_t out[KEY_MAX_BYTES])
{
    size_t context = strlen(queued->context);
    size_t partition = strlen(queued->partition);
    out[0] = (uint8_t)context;
    memcpy(out + 1, queued->context, context);
    memcpy(out + 1 + context, queued->partition, partition);
    return bytes_of(out, 1 + context + partition);
}

static bool is_ours(const struct run *run, const struct index_queued *queued)
{
    struct authority_now now;
    return authority_now(&run->authority, bytes_of_string(queued->context), bytes_of_string(queued->partition), &now,
                         NULL) == 0 &&
           !now.released && strcmp(now.region, run->server->config->region.region) == 0;
}

static void decide_one(struct run *run, const struct index_queued *queued)
{
    struct region_verdict verdict;
    struct err err = {0};
    uint8_t bytes[KEY_MAX_BYTES];
    struct bytes key = partition_key(queued, bytes);
    if (run->all_blocked || map_get(&run->blocked, key) != NULL || !is_ours(run, queued))
        return;
    if (queue_decide(&run->server->backend, queued, &verdict, &err) != 0) {
        run->all_blocked = map_put(&run->blocked, key, run) != 0;
        return;
    }
    run->accepted += !verdict.already && verdict.err.code == 0;
    run->refused += !verdict.already && verdict.err.code != 0;
}

static int run_over_queue(struct run *run)
{
    struct server *server = run->server;
    struct index_late_cursor cursor = {.started = false};
    size_t count = INDEX_QUEUE_SCAN_MAX;
    int code = index_authority(server->index, &run->authority, NULL);
    while (code == 0 && count == INDEX_QUEUE_SCAN_MAX && !atomic_load(&server->stopping)) {
        code = index_queue_scan(server->index, &cursor, true, run->queued, INDEX_QUEUE_SCAN_MAX, &count, NULL);
        for (size_t i = 0; code == 0 && i < count && !atomic_load(&server->stopping); i++)
            decide_one(run, &run->queued[i]);
    }
    return code;
}

static bool any_open(struct server *server)
{
    for (uint32_t log = 0; log < INDEX_LOGS_MAX; log++) {
        if (index_queue_open(server->index, log).count > 0)
            return true;
    }
    return false;
}

void queue_run(struct server *server)
{
    if (!atomic_load(&server->accepting) || !any_open(server))
        return;
    struct run *run = mem_alloc_zero(1, sizeof(*run));
    if (run == NULL)
        return; /* the next time */
    run->server = server;
    authority_table_init(&run->authority, &server->config->region.contexts);
    map_init(&run->blocked, BLOCKED_MAX, NULL);
    (void)run_over_queue(run);
    if (run->accepted + run->refused > 0)
        server_say(server, "decided queued commands: %llu accepted, %llu refused", (unsigned long long)run->accepted,
                   (unsigned long long)run->refused);
    map_free(&run->blocked);
    authority_table_free(&run->authority);
    mem_free(run);
}
