/* A list of chunks, the newest first; only the newest is filled. Each new chunk is twice as large as the one before, so
 * that the number of calls to mem_alloc grows with the logarithm of what is handed out. A request larger than that gets
 * a chunk of its own size. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { ARENA_CHUNK_MIN_BYTES = 16 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t capacity_bytes;
    size_t used_bytes;
    alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *arena, size_t max_bytes)
{
    PRE(max_bytes <= SIZE_MAX / 4);
    *arena = (struct arena){.max_bytes = max_bytes};
}

void arena_free(struct arena *arena)
{
    while (arena->head != NULL) {
        struct arena_chunk *chunk = arena->head;
        arena->head = chunk->next;
        mem_free(chunk);
    }
    arena->used_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *largest = arena->head;
    for (struct arena_chunk *chunk = arena->head; chunk != NULL; chunk = chunk->next) {
        if (chunk->capacity_bytes > largest->capacity_bytes)
            largest = chunk;
    }
    while (arena->head != NULL) {
        struct arena_chunk *chunk = arena->head;
        arena->head = chunk->next;
        if (chunk != largest)
            mem_free(chunk);
    }
    arena->head = largest;
    arena->used_bytes = 0;
    if (largest != NULL) {
        largest->next = NULL;
        largest->used_bytes = 0;
    }
}

static struct arena_chunk *add_chunk(struct arena *arena, size_t size_bytes)
{
    size_t capacity = arena->head == NULL ? ARENA_CHUNK_MIN_BYTES : 2 * arena->head->capacity_bytes;
    if (capacity < size_bytes)
        capacity = size_bytes;
    struct arena_chunk *chunk = mem_alloc(sizeof(*chunk) + capacity);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct arena_chunk){.next = arena->head, .capacity_bytes = capacity};
    arena->head = chunk;
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t size_bytes)
{
    if (size_bytes > arena->max_bytes)
        return NULL;
    size_t rounded = (size_bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (rounded > arena->max_bytes - arena->used_bytes)
        return NULL;
    struct arena_chunk *chunk = arena->head;
    if (chunk == NULL || chunk->capacity_bytes - chunk->used_bytes < rounded)
        chunk = add_chunk(arena, rounded);
    if (chunk == NULL)
        return NULL;
    void *memory = chunk->data + chunk->used_bytes;
    chunk->used_bytes += rounded;
    arena->used_bytes += rounded;
    return memory;
}

void *arena_alloc_zero(struct arena *arena, size_t count, size_t size_bytes)
{
    if (size_bytes != 0 && count > SIZE_MAX / size_bytes)
        return NULL;
    void *memory = arena_alloc(arena, count * size_bytes);
    if (memory != NULL)
        memset(memory, 0, count * size_bytes);
    return memory;
}

void *arena_copy(struct arena *arena, const void *data, size_t size_bytes)
{
    void *memory = arena_alloc(arena, size_bytes);
    if (memory != NULL && size_bytes > 0)
        memcpy(memory, data, size_bytes);
    return memory;
}
