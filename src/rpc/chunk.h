/* From blocks to ReadResponse messages without decoding an event: a block's body is a run of `events` elements already,
 * so any part of it that starts and ends between elements is copied, or borrowed, as it stands. */
#ifndef RPC_CHUNK_H
#define RPC_CHUNK_H

#include <grpc/slice.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "log/block.h"

/* A block and where its elements are. */
struct block_view {
    struct block *block; /* owned; NULL when there is none */
    uint32_t *offsets;   /* entry_count + 1: of each element in the body, and of its end */
    uint32_t capacity;
};

/* Zeroed is empty. */
void block_view_free(struct block_view *view);
/* Takes over the reference, also on failure, and lets go of the block before. ERR_CORRUPT when the elements are not
 * entry_count whole ones, ERR_NO_MEMORY. */
int block_view_set(struct block_view *view, struct block *block, struct err *err) MUST_USE;
bool block_view_holds(const struct block_view *view, uint64_t index);
/* The elements of `count` entries from `index` on, all of them in the block. */
struct bytes block_view_run(const struct block_view *view, uint64_t index, uint64_t count);
/* How many elements from index on fit into room_bytes; at least 1, at most max_count (1 or more) and to the end of the
 * block. */
uint64_t block_view_fit(const struct block_view *view, uint64_t index, uint64_t max_count, size_t room_bytes);

enum {
    CHUNK_SLICES_MAX = 64,
    CHUNK_BORROW_MIN_BYTES = 16 * 1024, /* shorter runs are copied together */
    CHUNK_MAX_BYTES = 2 * 1024 * 1024,  /* RPC_READ_CHUNK_BYTES and the largest element */
};

/* A ReadResponse under construction. */
struct chunk {
    struct buf small; /* copied runs that are not in a slice yet */
    size_t size_bytes;
    size_t slice_count;
    grpc_slice slices[CHUNK_SLICES_MAX];
};

void chunk_init(struct chunk *chunk);
void chunk_free(struct chunk *chunk);
bool chunk_empty(const struct chunk *chunk);
/* The size that a chunk should have is reached. */
bool chunk_full(const struct chunk *chunk);
/* Bytes until it is full; 0 when it is. */
size_t chunk_room_bytes(const struct chunk *chunk);
/* Adds elements of the block, which is retained for as long as gRPC needs the bytes if they are not copied. The chunk
 * is not full. ERR_NO_MEMORY. */
int chunk_add(struct chunk *chunk, struct block *block, struct bytes run, struct err *err) MUST_USE;
/* Ends the message with the other fields. slices has room for CHUNK_SLICES_MAX and becomes the owner of what it gets;
 * the chunk is empty again. */
int chunk_take(struct chunk *chunk, struct bytes origin, struct bytes position, bool caught_up, grpc_slice *slices,
               size_t *ret_count, struct err *err) MUST_USE;

#endif
