/* Two generations of hash maps (heads.h). What is written goes into the young one; when it is full it becomes the old
 * one, whose streams are forgotten unless they were written again meanwhile. So memory is bounded, and no list has to
 * be kept in order of use.
 *
 * Invariant: what stands in the young generation is newer than what the old one says of the same stream. */
#include "index/heads.h"

#include "base/assert.h"

enum { GENERATION_MAX_BYTES = HEADS_GENERATION_MAX * 2 * sizeof(struct head_record) };

static void generation_init(struct heads_generation *generation, const uint8_t hash_key[16])
{
    map_init(&generation->map, HEADS_GENERATION_MAX, hash_key);
    arena_init(&generation->arena, GENERATION_MAX_BYTES);
}

static void generation_free(struct heads_generation *generation)
{
    map_free(&generation->map);
    arena_free(&generation->arena);
}

void heads_init(struct heads *heads, const uint8_t hash_key[16])
{
    INVARIANT(pthread_mutex_init(&heads->mutex, NULL) == 0);
    memcpy(heads->hash_key, hash_key, sizeof(heads->hash_key));
    heads->generation_max = HEADS_GENERATION_MAX;
    generation_init(&heads->young, hash_key);
    generation_init(&heads->old, hash_key);
}

void heads_limit(struct heads *heads, size_t generation_max)
{
    PRE(generation_max >= 1 && generation_max <= HEADS_GENERATION_MAX);
    heads->generation_max = generation_max;
}

void heads_free(struct heads *heads)
{
    generation_free(&heads->old);
    generation_free(&heads->young);
    pthread_mutex_destroy(&heads->mutex);
}

bool heads_find(struct heads *heads, struct bytes key, struct head_record *ret)
{
    pthread_mutex_lock(&heads->mutex);
    const struct head_record *found = map_get(&heads->young.map, key);
    if (found == NULL)
        found = map_get(&heads->old.map, key);
    if (found != NULL)
        *ret = *found;
    pthread_mutex_unlock(&heads->mutex);
    return found != NULL;
}

static void turn(struct heads *heads)
{
    generation_free(&heads->old);
    heads->old = heads->young;
    generation_init(&heads->young, heads->hash_key);
}

static void forget_all(struct heads *heads)
{
    generation_free(&heads->old);
    generation_free(&heads->young);
    generation_init(&heads->old, heads->hash_key);
    generation_init(&heads->young, heads->hash_key);
}

void heads_set(struct heads *heads, struct bytes key, const struct head_record *head)
{
    pthread_mutex_lock(&heads->mutex);
    struct head_record *record = map_get(&heads->young.map, key);
    if (record == NULL) {
        if (heads->young.map.live_count == heads->generation_max)
            turn(heads);
        record = arena_alloc(&heads->young.arena, sizeof(*record));
        if (record != NULL && map_put(&heads->young.map, key, record) != 0)
            record = NULL;
    }
    if (record != NULL)
        *record = *head;
    else
        forget_all(heads);
    pthread_mutex_unlock(&heads->mutex);
}

void heads_remove(struct heads *heads, struct bytes key)
{
    pthread_mutex_lock(&heads->mutex);
    (void)map_remove(&heads->young.map, key);
    (void)map_remove(&heads->old.map, key);
    pthread_mutex_unlock(&heads->mutex);
}
