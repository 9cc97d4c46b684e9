/* The overlay (overlay.h). Items of one log stand in index order in one queue; two maps find them by id and by stream.
 * Undoing half a batch walks back from the end of the queue, so an item that replaced a head must be able to give it
 * back: the head before it is looked for further back in the same queue, which is only as long as what is not indexed,
 * and only when a batch is refused half-way. */
#include "region/overlay.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"

void overlay_init(struct overlay *overlay, const struct region_limits *limits)
{
    memset(overlay, 0, sizeof(*overlay));
    overlay->limits = limits;
    map_init(&overlay->ids, REGION_UNINDEXED_MAX, NULL);
    map_init(&overlay->heads, REGION_UNINDEXED_MAX, NULL);
    for (size_t i = 0; i < REGION_LOGS_MAX; i++)
        queue_init(&overlay->items[i]);
}

void overlay_free(struct overlay *overlay)
{
    for (size_t i = 0; i < REGION_LOGS_MAX; i++) {
        struct queue_link *link = NULL;
        while ((link = queue_pop_front(&overlay->items[i])) != NULL)
            mem_free(QUEUE_ITEM(link, struct overlay_item, link));
    }
    map_free(&overlay->ids);
    map_free(&overlay->heads);
}

const struct overlay_item *overlay_id(const struct overlay *overlay, const uint8_t id[ENTRY_ID_SIZE])
{
    return map_get(&overlay->ids, bytes_of(id, ENTRY_ID_SIZE));
}

const struct overlay_item *overlay_head(const struct overlay *overlay, struct bytes context, struct bytes stream)
{
    uint8_t key[STREAM_KEY_MAX_BYTES];
    size_t size = put_stream_key(context, stream, key);
    return map_get(&overlay->heads, bytes_of(key, size));
}

static struct overlay_item *new_item(uint32_t log, const struct entry *entry, uint64_t fingerprint, bool with_head)
{
    uint8_t key[STREAM_KEY_MAX_BYTES];
    PRE(log == 0 || !with_head);
    size_t key_size = with_head ? put_stream_key(entry->context, entry->stream, key) : 0;
    size_t names_size = log == 0 ? 0 : entry->context.size_bytes + entry->partition.size_bytes;
    struct overlay_item *item = mem_alloc(sizeof(*item) + key_size + names_size);
    if (item == NULL)
        return NULL;
    item->index = entry->index;
    item->stream_version = entry->stream_version;
    item->fingerprint = fingerprint;
    item->epoch = entry->epoch;
    item->log = log;
    memcpy(item->id, entry->event_id, ENTRY_ID_SIZE);
    item->context_size = names_size == 0 ? 0 : (uint16_t)entry->context.size_bytes;
    item->partition_size = names_size == 0 ? 0 : (uint16_t)entry->partition.size_bytes;
    item->stream_key_size = (uint16_t)key_size;
    memcpy(item->bytes, key, key_size);
    if (item->context_size > 0)
        memcpy(item->bytes + key_size, entry->context.data, item->context_size);
    if (item->partition_size > 0)
        memcpy(item->bytes + key_size + item->context_size, entry->partition.data, item->partition_size);
    return item;
}

static struct bytes stream_key(const struct overlay_item *item)
{
    return bytes_of(item->bytes, item->stream_key_size);
}

static struct bytes id_key(const struct overlay_item *item)
{
    return bytes_of(item->id, ENTRY_ID_SIZE);
}

int overlay_add(struct overlay *overlay, uint32_t log, const struct entry *entry, uint64_t fingerprint, bool with_head)
{
    PRE(log < REGION_LOGS_MAX);
    if (overlay->count >= overlay->limits->unindexed_entries)
        return ERR_BUSY;
    struct overlay_item *item = new_item(log, entry, fingerprint, with_head);
    if (item == NULL)
        return ERR_NO_MEMORY;
    const struct overlay_item *known = map_get(&overlay->ids, id_key(item));
    bool first = known == NULL || (log == 0 && known->log != 0);
    int code = first ? map_put(&overlay->ids, id_key(item), item) : 0;
    if (code == 0 && with_head)
        code = map_put(&overlay->heads, stream_key(item), item);
    if (code != 0) {
        if (first && map_get(&overlay->ids, id_key(item)) == item)
            map_remove(&overlay->ids, id_key(item));
        mem_free(item);
        return code;
    }
    queue_push_back(&overlay->items[log], &item->link);
    overlay->count++;
    return 0;
}

static void remove_item(struct overlay *overlay, struct overlay_item *item)
{
    if (map_get(&overlay->ids, id_key(item)) == item)
        map_remove(&overlay->ids, id_key(item));
    if (item->stream_key_size > 0 && map_get(&overlay->heads, stream_key(item)) == item)
        map_remove(&overlay->heads, stream_key(item));
    queue_remove(&item->link);
    mem_free(item);
    overlay->count--;
}

/* The latest item before `item` of the same stream. */
static struct overlay_item *head_before(struct overlay *overlay, const struct overlay_item *item)
{
    struct queue_link *end = &overlay->items[item->log];
    for (struct queue_link *link = item->link.prev; link != end; link = link->prev) {
        struct overlay_item *before = QUEUE_ITEM(link, struct overlay_item, link);
        if (before->stream_key_size > 0 && bytes_equal(stream_key(before), stream_key(item)))
            return before;
    }
    return NULL;
}

void overlay_undo(struct overlay *overlay, uint32_t log, uint64_t index)
{
    struct queue_link *end = &overlay->items[log];
    while (!queue_empty(end)) {
        struct overlay_item *item = QUEUE_ITEM(end->prev, struct overlay_item, link);
        if (item->index < index)
            return;
        if (item->stream_key_size > 0) {
            struct overlay_item *before = head_before(overlay, item);
            if (before != NULL) {
                int code = map_put(&overlay->heads, stream_key(item), before); /* replaces: needs no memory */
                INVARIANT(code == 0);
            }
        }
        remove_item(overlay, item);
    }
}

static void evict_oldest(struct overlay *overlay)
{
    const struct overlay_indexed *indexed = &overlay->indexed[overlay->indexed_first];
    struct queue_link *items = &overlay->items[indexed->log];
    while (!queue_empty(items)) {
        struct overlay_item *item = QUEUE_ITEM(items->next, struct overlay_item, link);
        if (item->index >= indexed->size)
            break;
        remove_item(overlay, item);
    }
    if (indexed->sequence > overlay->evicted_sequence && !PLANTED(lose_overlay))
        overlay->evicted_sequence = indexed->sequence;
    overlay->indexed_first = (overlay->indexed_first + 1) % OVERLAY_INDEXED_MAX;
    overlay->indexed_count--;
}

void overlay_indexed(struct overlay *overlay, uint32_t log, uint64_t size, uint64_t sequence, uint64_t now_us)
{
    PRE(log < REGION_LOGS_MAX);
    if (overlay->indexed_count == overlay->limits->indexed_steps)
        evict_oldest(overlay);
    size_t place = (overlay->indexed_first + overlay->indexed_count++) % OVERLAY_INDEXED_MAX;
    overlay->indexed[place] =
        (struct overlay_indexed){.time_us = now_us, .sequence = sequence, .size = size, .log = log};
}

void overlay_evict_indexed(struct overlay *overlay)
{
    while (overlay->indexed_count > 0)
        evict_oldest(overlay);
}

void overlay_evict(struct overlay *overlay, uint64_t now_us)
{
    uint64_t grace_us = overlay->limits->overlay_grace_us;
    while (overlay->indexed_count > 0 && overlay->indexed[overlay->indexed_first].time_us + grace_us <= now_us)
        evict_oldest(overlay);
}
