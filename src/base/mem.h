/* The only door to the heap: everything else is forbidden to call malloc (make lint). So tests can count allocations
 * and fail the n-th one, for all n. All functions return NULL when memory runs out; callers answer ERR_NO_MEMORY.
 * A size of 0 is allowed and returns a unique pointer. mem_free(NULL) does nothing. Any thread. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size_bytes) __attribute__((warn_unused_result));
void *mem_alloc_zero(size_t count, size_t size_bytes) __attribute__((warn_unused_result)); /* overflow-checked */
void *mem_alloc_aligned(size_t alignment_bytes, size_t size_bytes) __attribute__((warn_unused_result));
void *mem_resize(void *memory, size_t size_bytes) __attribute__((warn_unused_result)); /* on NULL, memory is intact */
char *mem_copy_string(const char *text) __attribute__((warn_unused_result));
void mem_free(void *memory);

/* For a server: memory that was freed is kept, within limits, instead of being given back to the system and cleared by
 * it again for the next batch. Of the whole process; before its threads start. */
void mem_keep_freed(void);

/* Tests only: the allocation number `at` from now (1 = the next) fails, once; 0 switches it off. */
void mem_fail_at(uint64_t at);
/* Allocations made by this process so far. */
uint64_t mem_allocation_count(void);

#endif
