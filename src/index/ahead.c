/* What is looked up or applied next, said beforehand.
 *
 * An event's id, its stream's head and its list of versions lie anywhere in memory, and each is found only by way of
 * others. One by one, an event waits for some ten of them. Said for a dozen events together (store_ahead) the processor
 * fetches them at the same time. */
#include "index/versions.h"

enum { KEYS_MAX_BYTES = 8 * 1024 };

struct keys {
    struct index *index;
    size_t count;
    size_t size_bytes;
    struct bytes keys[STORE_AHEAD_MAX];
    uint8_t bytes[KEYS_MAX_BYTES];
};

_Static_assert((int)KEYS_MAX_BYTES >= (int)KEY_MAX_BYTES, "any key finds room");

static void say(struct keys *keys)
{
    store_ahead(keys->index->store, keys->keys, keys->count);
    keys->count = 0;
    keys->size_bytes = 0;
}

static void add(struct keys *keys, struct bytes key)
{
    if (keys->count == STORE_AHEAD_MAX || key.size_bytes > sizeof(keys->bytes) - keys->size_bytes)
        say(keys);
    uint8_t *copy = keys->bytes + keys->size_bytes;
    memcpy(copy, key.data, key.size_bytes);
    keys->keys[keys->count++] = bytes_of(copy, key.size_bytes);
    keys->size_bytes += key.size_bytes;
}

static void begin(struct keys *keys, struct index *index)
{
    keys->index = index;
    keys->count = 0;
    keys->size_bytes = 0;
}

void index_ahead(struct index *index, const struct index_asked *asked, size_t count)
{
    struct keys keys;
    struct key key;
    begin(&keys, index);
    for (size_t i = 0; i < count; i++) {
        if (asked[i].stream.size_bytes > 0)
            add(&keys, head_key(&key, asked[i].context, asked[i].stream));
        if (asked[i].id != NULL)
            add(&keys, id_key(&key, EVENT_PREFIX, asked[i].id));
    }
    say(&keys);
}

void index_ahead_of_entries(struct index *index, const struct index_entry *entries, size_t count)
{
    struct keys keys;
    struct key key;
    begin(&keys, index);
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = entries[i].entry;
        add(&keys, id_key(&key, EVENT_PREFIX, entry->event_id));
        if ((entry->flags & ENTRY_FLAG_CONTROL) != 0)
            continue;
        add(&keys, head_key(&key, entry->context, entry->stream));
        add(&keys, versions_list_key(&key, entry->context, entry->stream, entry->stream_version));
    }
    say(&keys);
}
