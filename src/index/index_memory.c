/* The index in memory: for tests, the simulator, and as the plain statement of what the other one must answer.
 *
 * Two hash maps: stream key to the sorted places of its versions (so the head is simply the last one), and event id to
 * its event. One read-write lock: an apply is seen whole or not at all.
 *
 * Invariants:
 *   1. A stream in the map has at least one version; its versions ascend strictly.
 *   2. Whatever is in the maps came from entries below the applied size of their log, and everything below it is in the
 * maps.
 *
 * Failure: memory can run out half-way through a batch. Each entry therefore notes what it added, and a failed batch
 * takes that back in reverse order; taking back needs no memory. */
#include <pthread.h>

#include "base/assert.h"
#include "base/map.h"
#include "base/mem.h"
#include "index/keys.h"
#include "index/logs.h"

enum {
    MEMORY_KEYS_MAX = 1 << 28,
    STREAM_CAPACITY_MIN = 4,
};

struct version {
    uint64_t version;
    struct index_place place;
};

struct stream {
    struct version *versions;
    size_t count;
    size_t capacity;
};

struct index_memory {
    struct index index;
    struct logs logs;
    pthread_rwlock_t lock; /* guards the maps and what they point to */
    struct map streams;    /* stream key to struct stream */
    struct map events;     /* event id to struct index_event */
};

/* What one entry added. */
struct added {
    bool event;
    struct stream *stream; /* NULL: the version was there already */
    size_t version_at;
};

static struct index_memory *from_index(struct index *index)
{
    return (struct index_memory *)(void *)index;
}

static void lock_read(struct index_memory *memory)
{
    INVARIANT(pthread_rwlock_rdlock(&memory->lock) == 0);
}

static void lock_write(struct index_memory *memory)
{
    INVARIANT(pthread_rwlock_wrlock(&memory->lock) == 0);
}

static void unlock(struct index_memory *memory)
{
    INVARIANT(pthread_rwlock_unlock(&memory->lock) == 0);
}

static struct bytes id_key(const uint8_t id[ENTRY_ID_SIZE])
{
    return bytes_of(id, ENTRY_ID_SIZE);
}

/* Position of the first version that is not below `version`. */
static size_t lower_bound(const struct stream *stream, uint64_t version)
{
    size_t low = 0;
    size_t high = stream->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stream->versions[middle].version < version)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct stream *find_stream(const struct index_memory *memory, struct bytes context, struct bytes stream)
{
    uint8_t key[STREAM_KEY_MAX_BYTES];
    size_t size = put_stream_key(context, stream, key);
    return map_get(&memory->streams, bytes_of(key, size));
}

static int memory_log(struct index *index, struct bytes origin, uint32_t *ret_log, struct err *err)
{
    return logs_number(&from_index(index)->logs, origin, NULL, NULL, ret_log, err);
}

static int memory_origin(struct index *index, uint32_t log, char ret[INDEX_ORIGIN_MAX_BYTES + 1], struct err *err)
{
    return logs_origin(&from_index(index)->logs, log, ret, err);
}

static uint64_t memory_applied_size(struct index *index, uint32_t log)
{
    return logs_applied_size(&from_index(index)->logs, log);
}

static uint64_t memory_sequence(struct index *index)
{
    return logs_sequence(&from_index(index)->logs);
}

static int add_event(struct index_memory *memory, uint32_t log, const struct index_entry *entry, struct added *added)
{
    struct bytes key = id_key(entry->entry->event_id);
    if (map_get(&memory->events, key) != NULL)
        return 0;
    struct index_event *event = mem_alloc(sizeof(*event));
    if (event == NULL)
        return ERR_NO_MEMORY;
    *event = (struct index_event){{log, entry->entry->index}, entry->fingerprint, entry->entry->stream_version};
    int code = map_put(&memory->events, key, event);
    if (code != 0) {
        mem_free(event);
        return code;
    }
    added->event = true;
    return 0;
}

static int reserve_version(struct stream *stream)
{
    if (stream->count < stream->capacity)
        return 0;
    size_t capacity = stream->capacity == 0 ? STREAM_CAPACITY_MIN : stream->capacity * 2;
    struct version *versions = mem_resize(stream->versions, capacity * sizeof(*versions));
    if (versions == NULL)
        return ERR_NO_MEMORY;
    stream->versions = versions;
    stream->capacity = capacity;
    return 0;
}

static void free_stream(struct stream *stream)
{
    mem_free(stream->versions);
    mem_free(stream);
}

/* A stream with room for a version, not in the map yet: NULL when memory runs out. */
static struct stream *new_stream(void)
{
    struct stream *stream = mem_alloc_zero(1, sizeof(*stream));
    if (stream != NULL && reserve_version(stream) != 0) {
        free_stream(stream);
        return NULL;
    }
    return stream;
}

static int stream_with_room(struct index_memory *memory, const struct entry *entry, struct stream **ret)
{
    uint8_t bytes[STREAM_KEY_MAX_BYTES];
    struct bytes key = bytes_of(bytes, put_stream_key(entry->context, entry->stream, bytes));
    struct stream *stream = map_get(&memory->streams, key);
    if (stream != NULL) {
        *ret = stream;
        return reserve_version(stream);
    }
    stream = new_stream();
    if (stream == NULL)
        return ERR_NO_MEMORY;
    int code = map_put(&memory->streams, key, stream);
    if (code != 0) {
        free_stream(stream);
        return code;
    }
    *ret = stream;
    return 0;
}

static int add_version(struct index_memory *memory, uint32_t log, const struct entry *entry, struct added *added)
{
    struct stream *stream;
    int code = stream_with_room(memory, entry, &stream);
    if (code != 0)
        return code;
    size_t at = lower_bound(stream, entry->stream_version);
    if (at < stream->count && stream->versions[at].version == entry->stream_version)
        return 0;
    memmove(&stream->versions[at + 1], &stream->versions[at], (stream->count - at) * sizeof(*stream->versions));
    stream->versions[at] = (struct version){entry->stream_version, {log, entry->index}};
    stream->count++;
    added->stream = stream;
    added->version_at = at;
    return 0;
}

static void take_back(struct index_memory *memory, const struct entry *entry, const struct added *added)
{
    if (added->event)
        mem_free(map_remove(&memory->events, id_key(entry->event_id)));
    struct stream *stream = added->stream;
    if (stream == NULL)
        return;
    stream->count--;
    memmove(&stream->versions[added->version_at], &stream->versions[added->version_at + 1],
            (stream->count - added->version_at) * sizeof(*stream->versions));
    if (stream->count == 0) {
        uint8_t key[STREAM_KEY_MAX_BYTES];
        size_t size = put_stream_key(entry->context, entry->stream, key);
        free_stream(map_remove(&memory->streams, bytes_of(key, size)));
    }
}

static int apply_locked(struct index_memory *memory, uint32_t log, const struct index_entry *entries, size_t count,
                        struct added *added)
{
    size_t done = 0;
    int code = 0;
    for (; done < count && code == 0; done++) {
        code = add_event(memory, log, &entries[done], &added[done]);
        if (code == 0)
            code = add_version(memory, log, entries[done].entry, &added[done]);
    }
    if (code == 0)
        return 0;
    while (done-- > 0)
        take_back(memory, entries[done].entry, &added[done]);
    return code;
}

static int memory_apply(struct index *index, uint32_t log, const struct index_entry *entries, size_t count,
                        struct err *err)
{
    struct index_memory *memory = from_index(index);
    logs_check_next(&memory->logs, log, entries, count);
    struct added *added = mem_alloc_zero(count, sizeof(*added));
    if (added == NULL)
        return err_no_memory(err, "what a batch adds to the index");
    lock_write(memory);
    int code = apply_locked(memory, log, entries, count, added);
    if (code == 0)
        logs_advance(&memory->logs, log, count);
    unlock(memory);
    mem_free(added);
    return code == 0 ? 0 : err_no_memory(err, "index entries");
}

static int memory_flush(struct index *index, struct err *err)
{
    (void)index;
    (void)err;
    return 0;
}

static int memory_head(struct index *index, struct bytes context, struct bytes stream, struct index_head *ret,
                       struct err *err)
{
    struct index_memory *memory = from_index(index);
    lock_read(memory);
    const struct stream *found = find_stream(memory, context, stream);
    if (found != NULL) {
        INVARIANT(found->count > 0);
        const struct version *last = &found->versions[found->count - 1];
        *ret = (struct index_head){last->version, last->place};
    }
    unlock(memory);
    return found != NULL ? 0 : err_set(err, ERR_NOT_FOUND, "the stream has no events");
}

static int memory_event(struct index *index, const uint8_t id[ENTRY_ID_SIZE], struct index_event *ret, struct err *err)
{
    struct index_memory *memory = from_index(index);
    lock_read(memory);
    const struct index_event *found = map_get(&memory->events, id_key(id));
    if (found != NULL)
        *ret = *found;
    unlock(memory);
    return found != NULL ? 0 : err_set(err, ERR_NOT_FOUND, "no event has this id");
}

static size_t copy_up(const struct stream *stream, uint64_t from_version, struct index_place *ret_places, size_t max)
{
    size_t count = 0;
    for (size_t at = lower_bound(stream, from_version); at < stream->count && count < max; at++)
        ret_places[count++] = stream->versions[at].place;
    return count;
}

static size_t copy_down(const struct stream *stream, uint64_t from_version, struct index_place *ret_places, size_t max)
{
    size_t count = 0;
    size_t end = from_version == UINT64_MAX ? stream->count : lower_bound(stream, from_version + 1);
    while (end > 0 && count < max)
        ret_places[count++] = stream->versions[--end].place;
    return count;
}

static int memory_scan(struct index *index, struct bytes context, struct bytes stream, uint64_t from_version,
                       bool backwards, struct index_place *ret_places, size_t max, size_t *ret_count, struct err *err)
{
    (void)err;
    struct index_memory *memory = from_index(index);
    lock_read(memory);
    const struct stream *found = find_stream(memory, context, stream);
    if (found == NULL)
        *ret_count = 0;
    else
        *ret_count = (backwards ? copy_down : copy_up)(found, from_version, ret_places, max);
    unlock(memory);
    return 0;
}

static void memory_close(struct index *index)
{
    struct index_memory *memory = from_index(index);
    struct bytes key;
    void *value;
    for (size_t at = 0; map_next(&memory->streams, &at, &key, &value);)
        free_stream(value);
    for (size_t at = 0; map_next(&memory->events, &at, &key, &value);)
        mem_free(value);
    map_free(&memory->streams);
    map_free(&memory->events);
    INVARIANT(pthread_rwlock_destroy(&memory->lock) == 0);
    logs_free(&memory->logs);
    mem_free(memory);
}

static const struct index_ops memory_ops = {
    .log = memory_log,
    .origin = memory_origin,
    .applied_size = memory_applied_size,
    .sequence = memory_sequence,
    .apply = memory_apply,
    .flush = memory_flush,
    .head = memory_head,
    .event = memory_event,
    .scan = memory_scan,
    .close = memory_close,
};

struct index *index_memory_new(void)
{
    struct index_memory *memory = mem_alloc(sizeof(*memory));
    if (memory == NULL)
        return NULL;
    memory->index.ops = &memory_ops;
    logs_init(&memory->logs);
    map_init(&memory->streams, MEMORY_KEYS_MAX, NULL);
    map_init(&memory->events, MEMORY_KEYS_MAX, NULL);
    INVARIANT(pthread_rwlock_init(&memory->lock, NULL) == 0);
    return &memory->index;
}
