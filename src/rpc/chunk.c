/* Cutting the bodies of blocks at element boundaries, so that a response is filled without decoding an event (chunk.h).
 */
#include "rpc/chunk.h"

#include "base/assert.h"
#include "base/mem.h"
#include "entry/wire.h"
#include "rpc/rpc.h"

enum { FIELD_ORIGIN = 2, FIELD_POSITION = 3, FIELD_CAUGHT_UP = 4 };
enum { CHUNK_SLICES_RESERVED = 3 }; /* copied runs, a last borrowed one, and the other fields */

static_assert(RPC_READ_CHUNK_BYTES + FRAME_ELEMENT_MAX_BYTES < CHUNK_MAX_BYTES, "an element always fits");

void block_view_free(struct block_view *view)
{
    if (view->block != NULL)
        block_release(view->block);
    mem_free(view->offsets);
    *view = (struct block_view){0};
}

static int find_offsets(struct block_view *view, const struct block *block, struct err *err)
{
    struct bytes body = block_body(block);
    struct bytes rest = body;
    struct bytes frame;
    for (uint32_t i = 0; i < block->entry_count; i++) {
        view->offsets[i] = (uint32_t)(body.size_bytes - rest.size_bytes);
        int code = frame_next_element(&rest, &frame, err);
        if (code != 0)
            return err_set(err, ERR_CORRUPT, "the block of entry %llu ends before its %u entries",
                           (unsigned long long)block->first_index, (unsigned)block->entry_count);
    }
    view->offsets[block->entry_count] = (uint32_t)body.size_bytes;
    if (rest.size_bytes != 0)
        return err_set(err, ERR_CORRUPT, "the block of entry %llu goes on after its %u entries",
                       (unsigned long long)block->first_index, (unsigned)block->entry_count);
    return 0;
}

int block_view_set(struct block_view *view, struct block *block, struct err *err)
{
    if (view->block != NULL)
        block_release(view->block);
    view->block = NULL;
    int code = 0;
    if (view->capacity < block->entry_count + 1) {
        uint32_t *grown = mem_resize(view->offsets, (block->entry_count + 1) * sizeof(*grown));
        if (grown == NULL) {
            code = err_no_memory(err, "the places of a block's entries");
            goto release_block;
        }
        view->offsets = grown;
        view->capacity = block->entry_count + 1;
    }
    code = find_offsets(view, block, err);
    if (code != 0)
        goto release_block;
    view->block = block;
    return 0;

release_block:
    block_release(block);
    return code;
}

bool block_view_holds(const struct block_view *view, uint64_t index)
{
    return view->block != NULL && index >= view->block->first_index &&
           index - view->block->first_index < view->block->entry_count;
}

struct bytes block_view_run(const struct block_view *view, uint64_t index, uint64_t count)
{
    PRE(block_view_holds(view, index));
    uint64_t first = index - view->block->first_index;
    PRE(count <= view->block->entry_count - first);
    uint32_t offset = view->offsets[first];
    return bytes_of(block_body(view->block).data + offset, view->offsets[first + count] - offset);
}

uint64_t block_view_fit(const struct block_view *view, uint64_t index, uint64_t max_count, size_t room_bytes)
{
    PRE(block_view_holds(view, index));
    PRE(max_count >= 1);
    uint64_t first = index - view->block->first_index;
    uint64_t fits = 1;
    uint64_t too_many = view->block->entry_count - first;
    if (too_many > max_count)
        too_many = max_count;
    too_many++;
    while (too_many - fits > 1) {
        uint64_t middle = fits + (too_many - fits) / 2;
        if (view->offsets[first + middle] - view->offsets[first] <= room_bytes)
            fits = middle;
        else
            too_many = middle;
    }
    return fits;
}

void chunk_init(struct chunk *chunk)
{
    chunk->size_bytes = 0;
    chunk->slice_count = 0;
    buf_init(&chunk->small, CHUNK_MAX_BYTES);
}

void chunk_free(struct chunk *chunk)
{
    for (size_t i = 0; i < chunk->slice_count; i++)
        grpc_slice_unref(chunk->slices[i]);
    chunk->slice_count = 0;
    chunk->size_bytes = 0;
    buf_free(&chunk->small);
}

bool chunk_empty(const struct chunk *chunk)
{
    return chunk->size_bytes == 0;
}

bool chunk_full(const struct chunk *chunk)
{
    return chunk->size_bytes >= RPC_READ_CHUNK_BYTES || chunk->slice_count > CHUNK_SLICES_MAX - CHUNK_SLICES_RESERVED;
}

size_t chunk_room_bytes(const struct chunk *chunk)
{
    return chunk_full(chunk) ? 0 : RPC_READ_CHUNK_BYTES - chunk->size_bytes;
}

static void put_slice(struct chunk *chunk, grpc_slice slice)
{
    INVARIANT(chunk->slice_count < CHUNK_SLICES_MAX);
    chunk->slices[chunk->slice_count++] = slice;
}

static void flush_small(struct chunk *chunk)
{
    if (chunk->small.size_bytes == 0)
        return;
    put_slice(chunk, grpc_slice_from_copied_buffer((const char *)chunk->small.data, chunk->small.size_bytes));
    buf_clear(&chunk->small);
}

static void release_block(void *block)
{
    block_release(block);
}

/* gRPC only reads what it sends, though its slices are not const. */
static grpc_slice borrow(struct block *block, struct bytes run)
{
    PRE(run.data >= block->data);
    uint8_t *start = block->data + (run.data - block->data);
    return grpc_slice_new_with_user_data(start, run.size_bytes, release_block, block_retain(block));
}

int chunk_add(struct chunk *chunk, struct block *block, struct bytes run, struct err *err)
{
    PRE(!chunk_full(chunk));
    if (run.size_bytes < CHUNK_BORROW_MIN_BYTES) {
        if (buf_append(&chunk->small, run) != 0)
            return err_no_memory(err, "a part of the answer");
    } else {
        flush_small(chunk);
        put_slice(chunk, borrow(block, run));
    }
    chunk->size_bytes += run.size_bytes;
    return 0;
}

static int append_bytes_field(struct buf *out, uint32_t field, struct bytes value)
{
    if (value.size_bytes == 0)
        return 0;
    uint8_t head[2 * WIRE_VARINT_MAX_BYTES];
    uint8_t *end = wire_put_varint(wire_put_tag(head, field, WIRE_BYTES), value.size_bytes);
    int code = buf_append(out, bytes_of(head, (size_t)(end - head)));
    return code != 0 ? code : buf_append(out, value);
}

int chunk_take(struct chunk *chunk, struct bytes origin, struct bytes position, bool caught_up, grpc_slice *slices,
               size_t *ret_count, struct err *err)
{
    static const uint8_t caught_up_field[] = {FIELD_CAUGHT_UP << 3 | WIRE_VARINT, 1};
    size_t size_before = chunk->small.size_bytes;
    int code = append_bytes_field(&chunk->small, FIELD_ORIGIN, origin);
    if (code == 0)
        code = append_bytes_field(&chunk->small, FIELD_POSITION, position);
    if (code == 0 && caught_up)
        code = buf_append(&chunk->small, bytes_of(caught_up_field, sizeof(caught_up_field)));
    if (code != 0) {
        chunk->small.size_bytes = size_before;
        return err_no_memory(err, "the end of an answer");
    }
    flush_small(chunk);
    memcpy(slices, chunk->slices, chunk->slice_count * sizeof(*slices));
    *ret_count = chunk->slice_count;
    chunk->slice_count = 0;
    chunk->size_bytes = 0;
    return 0;
}
