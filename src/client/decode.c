/* One ceiling on what a message may make protobuf-c allocate (decode.h). */
#include "client/decode.h"

static void *allocate(void *context, size_t size_bytes)
{
    return arena_alloc(context, size_bytes);
}

/* protobuf-c frees what it half decoded, and its scratch space: the arena does that later. */
static void release(void *context, void *memory)
{
    (void)context;
    (void)memory;
}

ProtobufCAllocator decode_allocator(struct arena *arena)
{
    return (ProtobufCAllocator){.alloc = allocate, .free = release, .allocator_data = arena};
}
