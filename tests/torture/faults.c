/* What stands in the place of base/mem.h and disk_posix in the torture programs. The linker's --wrap sends every call
 * of mem_alloc here and gives the real function the name __real_mem_alloc; so the product is not changed for it. */
#include "torture/torture.h"

struct fault_calls torture_memory;
int64_t torture_live_allocations;
struct fault_disk torture_disk;

void *__real_mem_alloc(size_t size_bytes);
void *__real_mem_alloc_zero(size_t count, size_t size_bytes);
void *__real_mem_alloc_aligned(size_t alignment_bytes, size_t size_bytes);
void *__real_mem_resize(void *memory, size_t size_bytes);
char *__real_mem_copy_string(const char *text);
void __real_mem_free(void *memory);
struct disk *__real_disk_posix(void);
void *__wrap_mem_alloc(size_t size_bytes);
void *__wrap_mem_alloc_zero(size_t count, size_t size_bytes);
void *__wrap_mem_alloc_aligned(size_t alignment_bytes, size_t size_bytes);
void *__wrap_mem_resize(void *memory, size_t size_bytes);
char *__wrap_mem_copy_string(const char *text);
void __wrap_mem_free(void *memory);
struct disk *__wrap_disk_posix(void);
void __wrap_server_say(const void *server, const char *format, ...);

static bool must_fail(void)
{
    return fault_calls_next(&torture_memory);
}

static void *counted(void *memory)
{
    torture_live_allocations += memory == NULL ? 0 : 1;
    return memory;
}

void *__wrap_mem_alloc(size_t size_bytes)
{
    return must_fail() ? NULL : counted(__real_mem_alloc(size_bytes));
}

void *__wrap_mem_alloc_zero(size_t count, size_t size_bytes)
{
    return must_fail() ? NULL : counted(__real_mem_alloc_zero(count, size_bytes));
}

void *__wrap_mem_alloc_aligned(size_t alignment_bytes, size_t size_bytes)
{
    return must_fail() ? NULL : counted(__real_mem_alloc_aligned(alignment_bytes, size_bytes));
}

void *__wrap_mem_resize(void *memory, size_t size_bytes)
{
    if (must_fail())
        return NULL;
    void *resized = __real_mem_resize(memory, size_bytes);
    return memory == NULL ? counted(resized) : resized;
}

char *__wrap_mem_copy_string(const char *text)
{
    return must_fail() ? NULL : counted(__real_mem_copy_string(text));
}

void __wrap_mem_free(void *memory)
{
    torture_live_allocations -= memory == NULL ? 0 : 1;
    __real_mem_free(memory);
}

struct disk *__wrap_disk_posix(void)
{
    if (torture_disk.inner == NULL) {
        fault_disk_init(&torture_disk, __real_disk_posix());
        torture_disk.reserve_max_bytes = TORTURE_DISK_RESERVE_BYTES;
    }
    return &torture_disk.disk;
}

/* Thousands of runs need not say that the index was replayed. */
void __wrap_server_say(const void *server, const char *format, ...)
{
    (void)server;
    (void)format;
}
