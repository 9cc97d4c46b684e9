/* Collecting events into batches for one region (batch.h). The arena holds every text until the batch is answered. */
#include "batch.h"

#include <string.h>

#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "entry/entry.h"

enum {
    STREAM_KEY_MAX_BYTES = ENTRY_NAME_MAX_BYTES + 1 + ENTRY_STREAM_MAX_BYTES,
    EVENT_OVERHEAD_BYTES = 128,
    MEMORY_MAX_BYTES = 512 * 1024 * 1024
};

struct item {
    struct tally_event event;
    uint64_t line;
    size_t write;
};

struct batch {
    struct arena arena;
    size_t max_events;
    size_t max_bytes;
    size_t bytes;
    size_t count;
    struct item *items;
    size_t write_count;
    struct tally_write *writes;
    struct map streams; /* context NUL stream -> struct tally_write */
    struct map ids;     /* event id -> the batch: a set */
    bool finished;
    struct tally_event *ordered; /* once finished: by write */
    uint64_t *ordered_lines;
};

int batch_new(size_t max_events, size_t max_bytes, struct batch **ret, struct err *err)
{
    PRE(max_events > 0);
    struct batch *batch = mem_alloc_zero(1, sizeof(*batch));
    if (batch == NULL)
        return err_no_memory(err, "a batch");
    arena_init(&batch->arena, MEMORY_MAX_BYTES);
    map_init(&batch->streams, max_events, NULL);
    map_init(&batch->ids, max_events, NULL);
    batch->max_events = max_events;
    batch->max_bytes = max_bytes;
    batch->items = mem_alloc_zero(max_events, sizeof(*batch->items));
    batch->writes = mem_alloc_zero(max_events, sizeof(*batch->writes));
    if (batch->items == NULL || batch->writes == NULL) {
        batch_free(batch);
        return err_no_memory(err, "a batch");
    }
    *ret = batch;
    return 0;
}

void batch_free(struct batch *batch)
{
    if (batch == NULL)
        return;
    mem_free(batch->writes);
    mem_free(batch->items);
    map_free(&batch->ids);
    map_free(&batch->streams);
    arena_free(&batch->arena);
    mem_free(batch);
}

struct arena *batch_arena(struct batch *batch)
{
    return &batch->arena;
}

size_t batch_count(const struct batch *batch)
{
    return batch->count;
}

static struct bytes stream_key(const struct ndjson_event *event, uint8_t out[STREAM_KEY_MAX_BYTES])
{
    size_t context_size = strlen(event->context);
    size_t stream_size = strlen(event->stream);
    PRE(context_size <= ENTRY_NAME_MAX_BYTES);
    PRE(stream_size <= ENTRY_STREAM_MAX_BYTES);
    memcpy(out, event->context, context_size + 1);
    memcpy(out + context_size + 1, event->stream, stream_size);
    return bytes_of(out, context_size + 1 + stream_size);
}

static size_t event_size(const struct ndjson_event *event)
{
    return EVENT_OVERHEAD_BYTES + strlen(event->event.type) + strlen(event->stream) + event->event.metadata.size +
           event->event.payload.size;
}

static int add_write(struct batch *batch, const struct ndjson_event *event, struct bytes key, struct tally_write **ret)
{
    struct tally_write *write = &batch->writes[batch->write_count];
    int rc = map_put(&batch->streams, key, write);
    if (rc != 0)
        return rc;
    *write = (struct tally_write){
        .context = event->context,
        .partition = event->partition,
        .stream = event->stream,
        .expected = event->expected,
        .expected_version = event->expected_version,
    };
    batch->write_count++;
    *ret = write;
    return 0;
}

int batch_add(struct batch *batch, const struct ndjson_event *event, uint64_t line, struct err *err)
{
    PRE(!batch->finished);
    uint8_t storage[STREAM_KEY_MAX_BYTES];
    struct bytes key = stream_key(event, storage);
    struct bytes id = bytes_of(event->event.id, TALLY_ID_SIZE);
    struct tally_write *write = map_get(&batch->streams, key);
    size_t size = event_size(event);
    if (batch->count == batch->max_events || (batch->count > 0 && batch->bytes + size > batch->max_bytes))
        return err_set(err, ERR_TOO_LARGE, "the batch is full");
    if (map_get(&batch->ids, id) != NULL)
        return err_set(err, ERR_TOO_LARGE, "the event's id is in the batch already");
    if (write != NULL && strcmp(write->partition, event->partition) != 0)
        return err_set(err, ERR_TOO_LARGE, "stream %.100s is in the batch with another partition", event->stream);
    if (map_put(&batch->ids, id, batch) != 0)
        return err_no_memory(err, "a batch");
    if (write == NULL && add_write(batch, event, key, &write) != 0)
        return err_no_memory(err, "a batch");
    write->event_count++;
    batch->items[batch->count++] =
        (struct item){.event = event->event, .line = line, .write = (size_t)(write - batch->writes)};
    batch->bytes += size;
    return 0;
}

int batch_finish(struct batch *batch, const struct tally_write **ret, size_t *ret_count, struct err *err)
{
    PRE(!batch->finished);
    batch->ordered = arena_alloc_zero(&batch->arena, batch->count, sizeof(*batch->ordered));
    batch->ordered_lines = arena_alloc_zero(&batch->arena, batch->count, sizeof(*batch->ordered_lines));
    size_t *next = arena_alloc_zero(&batch->arena, batch->write_count, sizeof(*next));
    if (batch->ordered == NULL || batch->ordered_lines == NULL || next == NULL)
        return err_no_memory(err, "a batch");
    size_t start = 0;
    for (size_t i = 0; i < batch->write_count; i++) {
        batch->writes[i].events = batch->ordered + start;
        next[i] = start;
        start += batch->writes[i].event_count;
    }
    for (size_t i = 0; i < batch->count; i++) {
        size_t at = next[batch->items[i].write]++;
        batch->ordered[at] = batch->items[i].event;
        batch->ordered_lines[at] = batch->items[i].line;
    }
    batch->finished = true;
    *ret = batch->writes;
    *ret_count = batch->write_count;
    return 0;
}

const struct tally_event *batch_event(const struct batch *batch, size_t at, uint64_t *ret_line)
{
    PRE(batch->finished);
    PRE(at < batch->count);
    *ret_line = batch->ordered_lines[at];
    return &batch->ordered[at];
}

uint64_t batch_find_line(const struct batch *batch, const uint8_t id[TALLY_ID_SIZE])
{
    for (size_t i = 0; i < batch->count; i++)
        if (memcmp(batch->items[i].event.id, id, TALLY_ID_SIZE) == 0)
            return batch->items[i].line;
    return 0;
}

void batch_lines(const struct batch *batch, uint64_t *ret_first, uint64_t *ret_last)
{
    PRE(batch->count > 0);
    *ret_first = batch->items[0].line;
    *ret_last = batch->items[batch->count - 1].line;
}
