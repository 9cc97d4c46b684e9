/* The indexer: a thread around the applier, which applies to the index what became durable. It tells the sequencer how
 * far it is, so that ids and heads held in memory can go. The index is derived: whatever it lost in a crash is applied
 * again from its own position. */
#include "base/assert.h"
#include "base/mem.h"
#include "server/internal.h"

enum {
    WAIT_MS = 100,
    FLUSH_EVERY_ENTRIES = 2 * 1000 * 1000,
    FEW_ENTRIES = 512, /* when a step had fewer, more are let gather: */
    GATHER_MS = 2,     /* a batch of one entry costs the index ten times what an entry does */
};

static int step(struct server *server, struct applier_progress *ret, struct err *err)
{
    return applier_step(server->applier, server->store.logs, atomic_load(&server->store.log_count), ret, err);
}

int indexer_catch_up(struct server *server, struct err *err)
{
    struct applier_progress progress = {.moved = true};
    uint64_t before = index_sequence(server->index);
    int code = applier_new(server->index, &server->config->region.contexts, &server->applier, err);
    while (code == 0 && progress.moved)
        code = step(server, &progress, err);
    if (code == 0 && index_sequence(server->index) > before)
        server_say(server, "the index was brought up by replaying %llu entries",
                   (unsigned long long)(index_sequence(server->index) - before));
    return code;
}

static void report(struct server *server, const struct applier_progress *progress)
{
    struct message *message = message_new(REGION_INDEXED);
    if (message == NULL)
        server_die(server, "memory ran out");
    message->event.log = (uint32_t)progress->log;
    message->event.size = progress->size;
    message_send(server, message);
    if (progress->demoted > 0)
        server_say(server, "a change of homes made %llu entries late; they wait for a decision",
                   (unsigned long long)progress->demoted);
}

static void apply_some(struct server *server, struct applier_progress *ret)
{
    struct err err = {0};
    *ret = (struct applier_progress){.moved = false};
    if (step(server, ret, &err) != 0)
        server_die(server, "the index cannot follow the logs, stopping: %s", err.message);
    if (ret->moved)
        report(server, ret);
}

void *indexer_run(void *context)
{
    struct server *server = context;
    struct err err = {0};
    uint64_t seen = 0;
    uint64_t flushed = index_sequence(server->index);
    while (!atomic_load(&server->indexer_stopping)) {
        struct applier_progress progress;
        apply_some(server, &progress);
        if (progress.moved) {
            server_changed(server);
            if (progress.applied < FEW_ENTRIES)
                clock_sleep_ms(GATHER_MS);
            continue;
        }
        if (index_sequence(server->index) - flushed > FLUSH_EVERY_ENTRIES) {
            flushed = index_sequence(server->index);
            if (index_flush(server->index, &err) != 0)
                server_die(server, "the index cannot be flushed, stopping: %s", err.message);
        }
        if (atomic_load(&server->stopping))
            clock_sleep_ms(1); /* calls are ending: changes are not waited for any more */
        seen = server_wait_change(server, seen, WAIT_MS);
    }
    return NULL;
}
