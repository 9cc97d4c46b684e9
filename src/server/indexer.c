/* The indexer: applies to the index what became durable, log by log, and tells the sequencer how far it is, so that ids
 * and heads held in memory can go. The index is derived: whatever it lost in a crash is applied again from its own
 * position. */
#include "base/assert.h"
#include "base/mem.h"
#include "server/internal.h"

enum { WAIT_MS = 100, FLUSH_EVERY_ENTRIES = 2 * 1000 * 1000 };

struct batch {
    struct entry entries[SERVER_INDEX_BATCH_MAX];
    struct index_entry items[SERVER_INDEX_BATCH_MAX];
};

static int parse_element(struct sha256 *sha, struct bytes *elements, struct entry *entry, uint64_t *ret_fingerprint,
                         struct err *err)
{
    struct bytes encoded;
    struct frame frame;
    int code = frame_next_element(elements, &encoded, err);
    if (code == 0)
        code = frame_parse(encoded, &frame, err);
    if (code == 0)
        code = entry_parse(frame.entry, entry, err);
    if (code == 0)
        *ret_fingerprint = frame.has_payload ? entry_fingerprint(sha, entry, frame.payload) : 0;
    return code;
}

/* Applies one block, from the applied size on, in batches. */
static int apply_block(struct server *server, uint32_t index_log_number, const struct block *block, struct batch *batch,
                       struct err *err)
{
    struct bytes elements = block_body(block);
    uint64_t applied = index_applied_size(server->index, index_log_number);
    size_t count = 0;
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        uint64_t fingerprint = 0;
        struct entry *entry = &batch->entries[count];
        code = parse_element(server->sha, &elements, entry, &fingerprint, err);
        if (code != 0 || entry->index < applied)
            continue;
        batch->items[count++] = (struct index_entry){.entry = entry, .fingerprint = fingerprint};
        if (count == SERVER_INDEX_BATCH_MAX) {
            code = index_apply(server->index, index_log_number, batch->items, count, err);
            count = 0;
        }
    }
    if (code == 0 && count > 0)
        code = index_apply(server->index, index_log_number, batch->items, count, err);
    return code;
}

/* Applies at most one block of a log; *ret_moved tells whether there was one. */
static int apply_next(struct server *server, size_t log_number, struct batch *batch, bool *ret_moved, struct err *err)
{
    struct log *log = server->logs[log_number];
    struct block *block = NULL;
    uint32_t number = 0;
    int code = index_log(server->index, log_origin(log), &number, err);
    if (code != 0)
        return code;
    uint64_t applied = index_applied_size(server->index, number);
    if (applied >= log_durable_size(log))
        return 0;
    code = log_read_block(log, applied, &block, err);
    if (code != 0)
        return code;
    code = apply_block(server, number, block, batch, err);
    block_release(block);
    *ret_moved = code == 0;
    return code;
}

static struct batch *new_batch(struct err *err)
{
    struct batch *batch = mem_alloc(sizeof(*batch));
    if (batch == NULL)
        err_no_memory(err, "the indexer's batch");
    return batch;
}

int indexer_catch_up(struct server *server, struct err *err)
{
    struct batch *batch = new_batch(err);
    int code = batch == NULL ? ERR_NO_MEMORY : 0;
    uint64_t before = index_sequence(server->index);
    for (size_t i = 0; code == 0 && i < atomic_load(&server->log_count); i++) {
        bool moved = true;
        while (code == 0 && moved) {
            moved = false;
            code = apply_next(server, i, batch, &moved, err);
        }
    }
    mem_free(batch);
    if (code == 0 && index_sequence(server->index) > before)
        server_say(server, "the index was brought up by replaying %llu entries",
                   (unsigned long long)(index_sequence(server->index) - before));
    return code;
}

static void report(struct server *server, size_t log_number)
{
    struct message *message = message_new(REGION_INDEXED);
    uint32_t number = 0;
    if (message == NULL || index_log(server->index, log_origin(server->logs[log_number]), &number, NULL) != 0)
        server_die(server, "memory ran out");
    message->event.log = (uint32_t)log_number;
    message->event.size = index_applied_size(server->index, number);
    message_send(server, message);
}

static bool apply_round(struct server *server, struct batch *batch)
{
    bool any = false;
    for (size_t i = 0; i < atomic_load(&server->log_count); i++) {
        struct err err = {0};
        bool moved = false;
        if (apply_next(server, i, batch, &moved, &err) != 0)
            server_die(server, "the index cannot follow log %.*s, stopping: %s",
                       (int)log_origin(server->logs[i]).size_bytes, (const char *)log_origin(server->logs[i]).data,
                       err.message);
        if (moved)
            report(server, i);
        any = any || moved;
    }
    return any;
}

void *indexer_run(void *context)
{
    struct server *server = context;
    struct err err = {0};
    struct batch *batch = new_batch(&err);
    uint64_t seen = 0;
    uint64_t flushed = index_sequence(server->index);
    if (batch == NULL)
        server_die(server, "%s", err.message);
    while (!atomic_load(&server->indexer_stopping)) {
        if (apply_round(server, batch)) {
            server_changed(server);
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
    mem_free(batch);
    return NULL;
}
