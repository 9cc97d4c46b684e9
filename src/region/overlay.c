/* The overlay (overlay.h). Items of one log stand in index order in one queue; two hash tables find them by id and by
 * stream. Undoing half a batch walks back from the end of the queue, so an item that replaced a head must be able to
 * give it back: the head before it is looked for further back in the same queue, which is only as long as what is not
 * indexed, and only when a batch is refused half-way.
 *
 * The tables are made for millions of items of which each is looked at three times, so each hash is computed once and
 * kept. The key of the hash is fixed, so that every run is the same. */
#include "region/overlay.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "base/siphash.h"

enum {
    BUCKETS_FIRST = 1024,
    CACHE_LINE_BYTES = 64,
    ITEM_BYTES = 192, /* about what an item takes, with its stream's name */
};

static const uint8_t hash_key[16];

void overlay_init(struct overlay *overlay, const struct region_limits *limits)
{
    memset(overlay, 0, sizeof(*overlay));
    overlay->limits = limits;
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
    for (size_t i = 0; i < OVERLAY_TABLES; i++)
        mem_free((void *)overlay->tables[i].buckets);
}

/* --- Tables --- */

static struct bytes key_of(const struct overlay_item *item, enum overlay_table_kind kind)
{
    return kind == OVERLAY_IDS ? bytes_of(item->id, ENTRY_ID_SIZE) : bytes_of(item->bytes, item->stream_key_size);
}

static struct overlay_item **bucket_of(const struct overlay_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static struct overlay_item *find(const struct overlay *overlay, enum overlay_table_kind kind, struct bytes key,
                                 uint64_t hash)
{
    const struct overlay_table *table = &overlay->tables[kind];
    if (table->item_count == 0)
        return NULL;
    struct overlay_item *item = *bucket_of(table, hash);
    while (item != NULL && (item->hash[kind] != hash || !bytes_equal(key_of(item, kind), key)))
        item = item->chained[kind];
    return item;
}

static void link_item(struct overlay_table *table, enum overlay_table_kind kind, struct overlay_item *item)
{
    struct overlay_item **bucket = bucket_of(table, item->hash[kind]);
    item->chained[kind] = *bucket;
    *bucket = item;
}

static void unlink_item(struct overlay *overlay, enum overlay_table_kind kind, struct overlay_item *item)
{
    struct overlay_item **at = bucket_of(&overlay->tables[kind], item->hash[kind]);
    while (*at != item)
        at = &(*at)->chained[kind];
    *at = item->chained[kind];
    item->found[kind] = false;
    overlay->tables[kind].item_count--;
}

/* The items of a bucket go into two, in the order they were in. */
static void split_bucket(const struct overlay_table *from, enum overlay_table_kind kind, size_t bucket,
                         struct overlay_table *to)
{
    struct overlay_item **ends[2] = {&to->buckets[bucket], &to->buckets[bucket + from->bucket_count]};
    for (struct overlay_item *item = from->buckets[bucket]; item != NULL; item = item->chained[kind]) {
        struct overlay_item ***end = &ends[(item->hash[kind] & from->bucket_count) != 0];
        **end = item;
        *end = &item->chained[kind];
    }
    *ends[0] = NULL;
    *ends[1] = NULL;
}

/* Room for one more, so that putting cannot fail. */
static int reserve(struct overlay_table *table, enum overlay_table_kind kind)
{
    if (table->item_count < table->bucket_count)
        return 0;
    struct overlay_table larger = {.bucket_count = table->bucket_count == 0 ? BUCKETS_FIRST : 2 * table->bucket_count,
                                   .item_count = table->item_count};
    larger.buckets = mem_alloc_zero(larger.bucket_count, sizeof(*larger.buckets));
    if (larger.buckets == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < table->bucket_count; i++)
        split_bucket(table, kind, i, &larger);
    mem_free((void *)table->buckets);
    *table = larger;
    return 0;
}

/* In front of others with its key: it is found, and they are again when it leaves. */
static void put(struct overlay *overlay, enum overlay_table_kind kind, struct overlay_item *item)
{
    link_item(&overlay->tables[kind], kind, item);
    item->found[kind] = true;
    overlay->tables[kind].item_count++;
}

/* In the place of the head before it: a stream that is written to much would make a chain of all its events. */
static void put_head(struct overlay *overlay, struct overlay_item *item)
{
    struct overlay_item *before = find(overlay, OVERLAY_HEADS, key_of(item, OVERLAY_HEADS), item->hash[OVERLAY_HEADS]);
    if (before != NULL)
        unlink_item(overlay, OVERLAY_HEADS, before);
    put(overlay, OVERLAY_HEADS, item);
}

/* --- Items --- */

const struct overlay_item *overlay_id(const struct overlay *overlay, const uint8_t id[ENTRY_ID_SIZE])
{
    struct bytes key = bytes_of(id, ENTRY_ID_SIZE);
    return find(overlay, OVERLAY_IDS, key, siphash24(hash_key, key));
}

const struct overlay_item *overlay_head(const struct overlay *overlay, struct bytes context, struct bytes stream)
{
    uint8_t bytes[STREAM_KEY_MAX_BYTES];
    struct bytes key = bytes_of(bytes, put_stream_key(context, stream, bytes));
    return find(overlay, OVERLAY_HEADS, key, siphash24(hash_key, key));
}

/* Two rounds, because an item is known only from its bucket. */
void overlay_ahead(const struct overlay *overlay, const struct index_asked *asked, size_t count)
{
    struct overlay_item **buckets[OVERLAY_AHEAD_MAX * OVERLAY_TABLES];
    size_t bucket_count = 0;
    uint8_t bytes[STREAM_KEY_MAX_BYTES];
    PRE(count <= OVERLAY_AHEAD_MAX);
    const struct overlay_table *ids = &overlay->tables[OVERLAY_IDS];
    const struct overlay_table *heads = &overlay->tables[OVERLAY_HEADS];
    for (size_t i = 0; i < count; i++) {
        struct bytes id = bytes_of(asked[i].id, ENTRY_ID_SIZE);
        if (ids->bucket_count > 0 && asked[i].id != NULL)
            buckets[bucket_count++] = bucket_of(ids, siphash24(hash_key, id));
        if (heads->bucket_count == 0 || asked[i].stream.size_bytes == 0)
            continue;
        struct bytes stream = bytes_of(bytes, put_stream_key(asked[i].context, asked[i].stream, bytes));
        buckets[bucket_count++] = bucket_of(heads, siphash24(hash_key, stream));
    }
    for (size_t i = 0; i < bucket_count; i++)
        __builtin_prefetch(buckets[i]);
    for (size_t i = 0; i < bucket_count; i++) {
        const uint8_t *item = (const uint8_t *)*buckets[i];
        for (size_t line = 0; item != NULL && line < ITEM_BYTES; line += CACHE_LINE_BYTES)
            __builtin_prefetch(item + line);
    }
}

static struct overlay_item *new_item(uint32_t log, const struct entry *entry, uint64_t fingerprint,
                                     enum overlay_effect effect)
{
    uint8_t key[STREAM_KEY_MAX_BYTES];
    PRE(log == 0 || effect != OVERLAY_MOVES_HEAD);
    size_t key_size = effect == OVERLAY_MOVES_HEAD ? put_stream_key(entry->context, entry->stream, key) : 0;
    bool commutative = (entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0;
    size_t type_size = commutative ? entry->type.size_bytes : 0;
    size_t names_size = log == 0 && !commutative ? 0 : entry->context.size_bytes + entry->partition.size_bytes;
    struct overlay_item *item = mem_alloc(sizeof(*item) + key_size + names_size + type_size);
    if (item == NULL)
        return NULL;
    *item = (struct overlay_item){.index = entry->index,
                                  .stream_version = entry->stream_version,
                                  .fingerprint = fingerprint,
                                  .epoch = entry->epoch,
                                  .log = log,
                                  .without_effect = effect == OVERLAY_WITHOUT_EFFECT,
                                  .commutative = commutative,
                                  .type_size = (uint16_t)type_size,
                                  .context_size = names_size == 0 ? 0 : (uint16_t)entry->context.size_bytes,
                                  .partition_size = names_size == 0 ? 0 : (uint16_t)entry->partition.size_bytes,
                                  .stream_key_size = (uint16_t)key_size};
    memcpy(item->id, entry->event_id, ENTRY_ID_SIZE);
    memcpy(item->bytes, key, key_size);
    if (item->context_size > 0)
        memcpy(item->bytes + key_size, entry->context.data, item->context_size);
    if (item->partition_size > 0)
        memcpy(item->bytes + key_size + item->context_size, entry->partition.data, item->partition_size);
    if (type_size > 0)
        memcpy(item->bytes + key_size + names_size, entry->type.data, type_size);
    for (size_t i = 0; i < OVERLAY_TABLES; i++)
        item->hash[i] = siphash24(hash_key, key_of(item, i));
    return item;
}

/* Whether an id that an item has is this one's from now on. */
static bool takes_id(const struct overlay_item *item, const struct overlay_item *from)
{
    return from == NULL || (!item->without_effect && (from->without_effect || (item->log == 0 && from->log != 0)));
}

int overlay_add(struct overlay *overlay, uint32_t log, const struct entry *entry, uint64_t fingerprint,
                enum overlay_effect effect)
{
    if (overlay->count >= overlay->limits->unindexed_entries)
        return ERR_BUSY;
    return overlay_add_beyond(overlay, log, entry, fingerprint, effect);
}

int overlay_add_beyond(struct overlay *overlay, uint32_t log, const struct entry *entry, uint64_t fingerprint,
                       enum overlay_effect effect)
{
    PRE(log < REGION_LOGS_MAX);
    for (size_t i = 0; i < OVERLAY_TABLES; i++) {
        if (reserve(&overlay->tables[i], i) != 0)
            return ERR_NO_MEMORY;
    }
    struct overlay_item *item = new_item(log, entry, fingerprint, effect);
    if (item == NULL)
        return ERR_NO_MEMORY;
    struct overlay_item *known = find(overlay, OVERLAY_IDS, key_of(item, OVERLAY_IDS), item->hash[OVERLAY_IDS]);
    if (takes_id(item, known))
        put(overlay, OVERLAY_IDS, item);
    if (effect == OVERLAY_MOVES_HEAD)
        put_head(overlay, item);
    queue_push_back(&overlay->items[log], &item->link);
    overlay->count++;
    return 0;
}

bool overlay_holds(const struct overlay *overlay, uint32_t log)
{
    return !queue_empty(&overlay->items[log]);
}

static void remove_item(struct overlay *overlay, struct overlay_item *item)
{
    for (size_t i = 0; i < OVERLAY_TABLES; i++) {
        if (item->found[i])
            unlink_item(overlay, i, item);
    }
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
        if (before->stream_key_size > 0 && bytes_equal(key_of(before, OVERLAY_HEADS), key_of(item, OVERLAY_HEADS)))
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
        struct overlay_item *before = item->stream_key_size > 0 ? head_before(overlay, item) : NULL;
        if (before != NULL)
            put_head(overlay, before);
        remove_item(overlay, item);
    }
}

/* Fetches what removing the first items of the queue touches. */
static void remove_ahead(const struct overlay *overlay, struct queue_link *items)
{
    struct queue_link *link = items->next;
    for (size_t i = 0; i < OVERLAY_AHEAD_MAX && link != items; i++, link = link->next) {
        const struct overlay_item *item = QUEUE_ITEM(link, struct overlay_item, link);
        for (size_t kind = 0; kind < OVERLAY_TABLES; kind++) {
            if (item->found[kind])
                __builtin_prefetch(bucket_of(&overlay->tables[kind], item->hash[kind]));
        }
    }
}

static void evict_oldest(struct overlay *overlay)
{
    const struct overlay_indexed *indexed = &overlay->indexed[overlay->indexed_first];
    struct queue_link *items = &overlay->items[indexed->log];
    for (size_t i = 0; !queue_empty(items); i++) {
        struct overlay_item *item = QUEUE_ITEM(items->next, struct overlay_item, link);
        if (item->index >= indexed->size)
            break;
        if (i % OVERLAY_AHEAD_MAX == 0)
            remove_ahead(overlay, items);
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
