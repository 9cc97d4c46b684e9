/* Keys of the store (README.md has the table). Private to src/index. A key begins with a letter that says what it is.
 * Under 's' the length of the stream's key stands in front of it, so that no stream's versions lie among another's.
 * Numbers are big-endian: they sort. */
#ifndef INDEX_STORE_KEYS_H
#define INDEX_STORE_KEYS_H

#include "index/keys.h"

enum {
    META_PREFIX = 'm',
    HEAD_PREFIX = 'h',
    VERSION_PREFIX = 's',
    EVENT_PREFIX = 'i',
    AUTHORITY_PREFIX = 'a',
    ITEM_PREFIX = 'l',
    ITEM_ID_PREFIX = 'x',
    DECISION_PREFIX = 'd',
    OWED_PREFIX = 'o',
    CAUSED_PREFIX = 'c',
    QUEUED_PREFIX = 'q',
    OPEN_PREFIX = 'w',
    VERDICT_PREFIX = 'v',
    LOOSE_PREFIX = 'u',

    META_FORMAT = 'f',
    META_CONTEXTS = 'c',
    META_ORIGIN = 'o',
    META_APPLIED = 'a',
    META_RESTORING = 'r',

    KEY_PLACE_BYTES = 1 + 8,
    KEY_MAX_BYTES = 1 + 2 + STREAM_KEY_MAX_BYTES + 8,
};

/* Room for any key. */
struct key {
    size_t size_bytes;
    uint8_t bytes[KEY_MAX_BYTES];
};

static inline struct bytes key_bytes(const struct key *key)
{
    return bytes_of(key->bytes, key->size_bytes);
}

static inline void key_start(struct key *key, uint8_t prefix)
{
    key->bytes[0] = prefix;
    key->size_bytes = 1;
}

static inline void key_add(struct key *key, struct bytes bytes)
{
    PRE(bytes.size_bytes <= sizeof(key->bytes) - key->size_bytes);
    if (bytes.size_bytes > 0)
        memcpy(key->bytes + key->size_bytes, bytes.data, bytes.size_bytes);
    key->size_bytes += bytes.size_bytes;
}

static inline void key_add_u8(struct key *key, uint8_t value)
{
    key_add(key, bytes_of(&value, 1));
}

static inline void key_add_u64(struct key *key, uint64_t value)
{
    uint8_t bytes[8];
    put_u64_be(bytes, value);
    key_add(key, bytes_of(bytes, sizeof(bytes)));
}

static inline void key_add_place(struct key *key, struct index_place place)
{
    key_add_u8(key, (uint8_t)place.log);
    key_add_u64(key, place.index);
}

static inline struct bytes meta_key(struct key *key, char kind, uint32_t number)
{
    uint8_t bytes[4];
    put_u32_be(bytes, number);
    key_start(key, META_PREFIX);
    key_add_u8(key, (uint8_t)kind);
    key_add(key, bytes_of(bytes, sizeof(bytes)));
    return key_bytes(key);
}

static inline struct bytes head_key(struct key *key, struct bytes context, struct bytes stream)
{
    key_start(key, HEAD_PREFIX);
    key->size_bytes += put_stream_key(context, stream, key->bytes + 1);
    return key_bytes(key);
}

/* What all entries of a stream begin with. */
static inline struct bytes stream_entries_key(struct key *key, uint8_t prefix, struct bytes context,
                                              struct bytes stream)
{
    size_t size = put_stream_key(context, stream, key->bytes + 3);
    key->bytes[0] = prefix;
    put_u16_be(key->bytes + 1, (uint16_t)size);
    key->size_bytes = 3 + size;
    return key_bytes(key);
}

/* What all lists of versions of a stream begin with (versions.h); a u64 follows. */
static inline struct bytes versions_key(struct key *key, struct bytes context, struct bytes stream)
{
    return stream_entries_key(key, VERSION_PREFIX, context, stream);
}

/* Of an entry without a version. */
static inline struct bytes loose_key(struct key *key, struct bytes context, struct bytes stream, hlc time,
                                     struct index_place place)
{
    stream_entries_key(key, LOOSE_PREFIX, context, stream);
    key_add_u64(key, time);
    key_add_place(key, place);
    return key_bytes(key);
}

static inline struct bytes id_key(struct key *key, uint8_t prefix, const uint8_t id[ENTRY_ID_SIZE])
{
    key_start(key, prefix);
    key_add(key, bytes_of(id, ENTRY_ID_SIZE));
    return key_bytes(key);
}

static inline struct bytes id_place_key(struct key *key, uint8_t prefix, const uint8_t id[ENTRY_ID_SIZE],
                                        struct index_place place)
{
    id_key(key, prefix, id);
    key_add_place(key, place);
    return key_bytes(key);
}

static inline struct bytes place_key(struct key *key, uint8_t prefix, struct index_place place)
{
    key_start(key, prefix);
    key_add_place(key, place);
    return key_bytes(key);
}

/* What all decisions on one entry, or verdicts on one command, begin with. The entry's log is named, not numbered: it
 * may be one that never comes. */
static inline struct bytes decisions_key(struct key *key, uint8_t prefix, const char *region, uint64_t incarnation,
                                         uint64_t index)
{
    key_start(key, prefix);
    key_add_u8(key, (uint8_t)strlen(region));
    key_add(key, bytes_of_string(region));
    key_add_u64(key, incarnation);
    key_add_u64(key, index);
    return key_bytes(key);
}

/* The place at the end of a key. */
static inline struct index_place place_of_key(struct bytes key)
{
    PRE(key.size_bytes > KEY_PLACE_BYTES);
    const uint8_t *at = key.data + key.size_bytes - KEY_PLACE_BYTES;
    return (struct index_place){.log = at[0], .index = get_u64_be(at + 1)};
}

#endif
