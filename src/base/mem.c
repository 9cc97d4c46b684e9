/* The C library's heap behind one counter. Tests make allocation number n fail, for n = 1, 2, 3 and so on until a run
 * succeeds: so every path that handles running out of memory is walked. */
#include "base/mem.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE_PAGE_BYTES = 2 * 1024 * 1024, LARGE_BYTES = 2 * LARGE_PAGE_BYTES };

/* What mem_keep_freed keeps: at the end of each of the heap's parts, of which there is about one a thread that is busy,
 * at most so much; larger blocks than that are the system's, each. */
enum { KEPT_FREE_BYTES = 32 * 1024 * 1024, KEPT_BLOCK_BYTES = 32 * 1024 * 1024 };

static atomic_uint_fast64_t allocation_count;
static atomic_uint_fast64_t fail_at; /* allocation number that fails; 0 for none */

static bool must_fail(void)
{
    uint64_t number = atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed) + 1;
    return number == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

void mem_fail_at(uint64_t at)
{
    atomic_store(&fail_at, at == 0 ? 0 : atomic_load(&allocation_count) + at);
}

uint64_t mem_allocation_count(void)
{
    return atomic_load(&allocation_count);
}

/* Large tables and arenas are looked at all over, and pages of 4 KiB are more than the processor's tables of pages have
 * room for: asks for large ones. A kernel that has none goes on with small ones. */
static void *want_large_pages(void *memory, size_t size_bytes)
{
    uintptr_t begin = ((uintptr_t)memory + LARGE_PAGE_BYTES - 1) / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    uintptr_t end = ((uintptr_t)memory + size_bytes) / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    if (memory != NULL && begin < end)
        (void)madvise((uint8_t *)memory + (begin - (uintptr_t)memory), end - begin, MADV_HUGEPAGE);
    return memory;
}

void *mem_alloc(size_t size_bytes)
{
    if (must_fail())
        return NULL;
    void *memory = malloc(size_bytes == 0 ? 1 : size_bytes);
    return size_bytes < LARGE_BYTES ? memory : want_large_pages(memory, size_bytes);
}

void *mem_alloc_zero(size_t count, size_t size_bytes)
{
    if (must_fail())
        return NULL;
    void *memory = count == 0 || size_bytes == 0 ? calloc(1, 1) : calloc(count, size_bytes);
    return count < LARGE_BYTES / (size_bytes + 1) ? memory : want_large_pages(memory, count * size_bytes);
}

void *mem_alloc_aligned(size_t alignment_bytes, size_t size_bytes)
{
    void *memory = NULL;
    if (must_fail() || posix_memalign(&memory, alignment_bytes, size_bytes == 0 ? 1 : size_bytes) != 0)
        return NULL;
    return memory;
}

void *mem_resize(void *memory, size_t size_bytes)
{
    return must_fail() ? NULL : realloc(memory, size_bytes == 0 ? 1 : size_bytes);
}

char *mem_copy_string(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc(size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

void mem_keep_freed(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES); /* a C library that does not know them does as before */
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES);
}

void mem_free(void *memory)
{
    free(memory);
}
