/* A bump allocator for things that die together: one request, one batch, one parsed file. Memory stays valid until
 * arena_reset or arena_free. Not thread-safe. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *head;
    size_t used_bytes; /* handed out since the last reset */
    size_t max_bytes;
};

/* No allocation. max_bytes at most SIZE_MAX / 4. */
void arena_init(struct arena *arena, size_t max_bytes);
void arena_free(struct arena *arena);
/* Forgets everything handed out; keeps the largest chunk for reuse. */
void arena_reset(struct arena *arena);
/* Aligned for any type, not zeroed. NULL past max_bytes or when memory runs out. */
void *arena_alloc(struct arena *arena, size_t size_bytes) __attribute__((warn_unused_result));
/* Zeroed, overflow-checked. */
void *arena_alloc_zero(struct arena *arena, size_t count, size_t size_bytes) __attribute__((warn_unused_result));
void *arena_copy(struct arena *arena, const void *data, size_t size_bytes) __attribute__((warn_unused_result));

#endif
