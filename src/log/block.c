/* Commit blocks in memory (block.h has the format). A block is built by one thread, sealed, and from then on immutable
 * and shared by count. */
#include "log/block.h"

#include "base/assert.h"
#include "base/mem.h"

static const uint8_t magic[4] = {'T', 'B', 'K', '1'};
enum { COUNT_OFFSET = 8, CRC_OFFSET = 12, BLOCK_INITIAL_BYTES = 16 * 1024, NOTES_FIRST = 4 };
enum { COUNT_MASK = (1 << BLOCK_COUNT_BITS) - 1 };

static_assert((int)BLOCK_BODY_MAX_BYTES > (int)FRAME_ELEMENT_MAX_BYTES, "the largest frame must fit a block");
static_assert((BLOCK_BODY_MAX_BYTES + BLOCK_HEADER_BYTES) % BLOCK_ALIGNMENT_BYTES == 0, "the largest block is aligned");
static_assert((int)BLOCK_ENTRIES_MAX <= (int)COUNT_MASK, "the largest count fits its bits");

static uint32_t padded(uint32_t size_bytes)
{
    return (size_bytes + BLOCK_ALIGNMENT_BYTES - 1) / BLOCK_ALIGNMENT_BYTES * BLOCK_ALIGNMENT_BYTES;
}

static int reserve(struct block *block, uint32_t size_bytes)
{
    uint32_t wanted = padded(size_bytes);
    if (wanted <= block->capacity_bytes)
        return 0;
    uint32_t capacity = block->capacity_bytes < BLOCK_INITIAL_BYTES ? BLOCK_INITIAL_BYTES : 2 * block->capacity_bytes;
    if (capacity < wanted)
        capacity = wanted;
    uint8_t *data = mem_alloc_aligned(BLOCK_ALIGNMENT_BYTES, capacity);
    if (data == NULL)
        return ERR_NO_MEMORY;
    if (block->size_bytes > 0)
        memcpy(data, block->data, block->size_bytes);
    mem_free(block->data);
    block->data = data;
    block->capacity_bytes = capacity;
    return 0;
}

int block_new(uint64_t first_index, const uint8_t log_id[ENTRY_LOG_ID_SIZE], struct block **ret, struct err *err)
{
    struct block *block = mem_alloc_zero(1, sizeof(*block));
    if (block == NULL)
        return err_no_memory(err, "a block");
    if (reserve(block, BLOCK_HEADER_BYTES) != 0) {
        mem_free(block);
        return err_no_memory(err, "a block");
    }
    memset(block->data, 0, BLOCK_HEADER_BYTES);
    memcpy(block->data, magic, sizeof(magic));
    put_u64_le(block->data + 16, first_index);
    memcpy(block->data + 24, log_id, ENTRY_LOG_ID_SIZE);
    block->first_index = first_index;
    block->size_bytes = BLOCK_HEADER_BYTES;
    block->reference_count = 1;
    *ret = block;
    return 0;
}

size_t block_room_bytes(const struct block *block)
{
    return (size_t)BLOCK_HEADER_BYTES + BLOCK_BODY_MAX_BYTES - block->size_bytes;
}

int block_reserve(struct block *block, size_t size_bytes, struct err *err)
{
    size_t room = block_room_bytes(block);
    int code = reserve(block, block->size_bytes + (uint32_t)(size_bytes < room ? size_bytes : room));
    return code == 0 ? 0 : err_no_memory(err, "a block");
}

int block_add(struct block *block, const struct frame *frame, struct err *err)
{
    PRE(block->padded_size_bytes == 0); /* not sealed */
    size_t size = frame_element_size(frame);
    if (size > block_room_bytes(block) || block->entry_count == BLOCK_ENTRIES_MAX)
        return err_set(err, ERR_TOO_LARGE, "the block is full: %u entries, %u bytes", (unsigned)block->entry_count,
                       (unsigned)block->size_bytes);
    if (reserve(block, block->size_bytes + (uint32_t)size) != 0)
        return err_no_memory(err, "a block");
    /* The frame's own encoder writes into the block's memory, which is large enough: it cannot need to grow. */
    struct buf body = {.data = block->data,
                       .size_bytes = block->size_bytes,
                       .capacity_bytes = block->capacity_bytes,
                       .max_bytes = block->capacity_bytes};
    int code = frame_encode_element(frame, &body);
    if (code != 0)
        return err_set(err, code, "a frame of %zu bytes cannot be stored", size);
    INVARIANT(body.data == block->data);
    block->size_bytes = (uint32_t)body.size_bytes;
    if (block->entry_count < block->note_capacity) /* of an entry that was taken off again */
        block->notes[block->entry_count].fingerprint = 0;
    block->entry_count++;
    return 0;
}

static int reserve_notes(struct block *block)
{
    if (block->entry_count <= block->note_capacity)
        return 0;
    uint32_t capacity = block->entry_count < NOTES_FIRST ? NOTES_FIRST : 2 * block->entry_count;
    struct block_note *larger = mem_resize(block->notes, capacity * sizeof(*larger));
    if (larger == NULL)
        return ERR_NO_MEMORY;
    for (uint32_t i = block->note_capacity; i < capacity; i++)
        larger[i].fingerprint = 0;
    block->notes = larger;
    block->note_capacity = capacity;
    return 0;
}

void block_note(struct block *block, uint32_t at, uint64_t fingerprint, const struct hash *leaf)
{
    PRE(at < block->entry_count);
    if (reserve_notes(block) != 0)
        return;
    block->notes[at] = (struct block_note){.fingerprint = fingerprint, .leaf = *leaf};
    if (block->leaf_count == at)
        block->leaf_count++;
}

uint64_t block_fingerprint(const struct block *block, uint32_t at)
{
    PRE(at < block->entry_count);
    return at < block->note_capacity ? block->notes[at].fingerprint : 0;
}

bool block_has_leaves(const struct block *block)
{
    return block->leaf_count == block->entry_count;
}

void block_truncate(struct block *block, uint32_t entry_count, uint32_t size_bytes)
{
    PRE(entry_count <= block->entry_count);
    PRE(size_bytes <= block->size_bytes && size_bytes >= BLOCK_HEADER_BYTES);
    block->entry_count = entry_count;
    block->size_bytes = size_bytes;
    if (block->leaf_count > entry_count)
        block->leaf_count = entry_count;
}

static uint32_t block_crc(struct bytes bytes)
{
    uint32_t crc = crc32c(0, bytes_of(bytes.data, CRC_OFFSET));
    return crc32c(crc, bytes_of(bytes.data + CRC_OFFSET + 4, bytes.size_bytes - CRC_OFFSET - 4));
}

void block_seal(struct block *block)
{
    PRE(block->entry_count >= 1);
    put_u32_le(block->data + 4, block->size_bytes - BLOCK_HEADER_BYTES);
    put_u32_le(block->data + COUNT_OFFSET, block->entry_count);
    put_u32_le(block->data + CRC_OFFSET, block_crc(block_bytes(block)));
    block->padded_size_bytes = padded(block->size_bytes);
    INVARIANT(block->padded_size_bytes <= block->capacity_bytes);
    memset(block->data + block->size_bytes, 0, block->padded_size_bytes - block->size_bytes);
}

void block_stamp(uint8_t *data, uint32_t size_bytes, uint32_t pages_back)
{
    PRE(pages_back <= BLOCK_PAGES_BACK_MAX);
    put_u32_le(data + COUNT_OFFSET, (get_u32_le(data + COUNT_OFFSET) & COUNT_MASK) | pages_back << BLOCK_COUNT_BITS);
    put_u32_le(data + CRC_OFFSET, block_crc(bytes_of(data, size_bytes)));
}

int block_parse_header(const uint8_t header[BLOCK_HEADER_BYTES], struct block_header *ret, struct err *err)
{
    static const uint8_t zeros[BLOCK_HEADER_BYTES];
    if (memcmp(header, zeros, BLOCK_HEADER_BYTES) == 0)
        return ERR_END;
    struct block_header parsed = {
        .body_size_bytes = get_u32_le(header + 4),
        .entry_count = get_u32_le(header + COUNT_OFFSET) & COUNT_MASK,
        .pages_back = get_u32_le(header + COUNT_OFFSET) >> BLOCK_COUNT_BITS,
        .crc = get_u32_le(header + CRC_OFFSET),
        .first_index = get_u64_le(header + 16),
    };
    memcpy(parsed.log_id, header + 24, ENTRY_LOG_ID_SIZE);
    if (memcmp(header, magic, sizeof(magic)) != 0)
        return err_set(err, ERR_CORRUPT, "no block starts here: wrong magic");
    if (parsed.body_size_bytes == 0 || parsed.body_size_bytes > BLOCK_BODY_MAX_BYTES)
        return err_set(err, ERR_CORRUPT, "a block's size of %u bytes is impossible", (unsigned)parsed.body_size_bytes);
    if (parsed.entry_count == 0 || parsed.entry_count > BLOCK_ENTRIES_MAX)
        return err_set(err, ERR_CORRUPT, "a block's count of %u entries is impossible", (unsigned)parsed.entry_count);
    if (parsed.first_index > LOG_ENTRIES_MAX - parsed.entry_count)
        return err_set(err, ERR_CORRUPT, "a block's first index is impossible");
    *ret = parsed;
    return 0;
}

int block_check(struct bytes bytes, struct block_header *ret, struct err *err)
{
    if (bytes.size_bytes < BLOCK_HEADER_BYTES)
        return err_set(err, ERR_CORRUPT, "a block of %zu bytes is too short", bytes.size_bytes);
    struct block_header header;
    int code = block_parse_header(bytes.data, &header, err);
    if (code == ERR_END)
        return err_set(err, ERR_CORRUPT, "a block of zeros");
    if (code != 0)
        return code;
    if (bytes.size_bytes != (size_t)BLOCK_HEADER_BYTES + header.body_size_bytes)
        return err_set(err, ERR_CORRUPT, "a block of %zu bytes says it has %u", bytes.size_bytes,
                       (unsigned)header.body_size_bytes + BLOCK_HEADER_BYTES);
    if (block_crc(bytes) != header.crc)
        return err_set(err, ERR_CORRUPT, "the block's checksum is wrong");
    *ret = header;
    return 0;
}

int block_blank(size_t size_bytes, struct block **ret, struct err *err)
{
    PRE(size_bytes >= BLOCK_HEADER_BYTES && size_bytes <= (size_t)BLOCK_HEADER_BYTES + BLOCK_BODY_MAX_BYTES);
    struct block *block = mem_alloc_zero(1, sizeof(*block));
    if (block == NULL || reserve(block, (uint32_t)size_bytes) != 0) {
        mem_free(block);
        return err_no_memory(err, "a block");
    }
    block->size_bytes = (uint32_t)size_bytes;
    block->reference_count = 1;
    *ret = block;
    return 0;
}

/* A block whose bytes were checked is as if it had been made here. */
static void complete(struct block *block, const struct block_header *header)
{
    if (header->pages_back != 0)
        block_stamp(block->data, block->size_bytes, 0);
    block->first_index = header->first_index;
    block->entry_count = header->entry_count;
    block->padded_size_bytes = padded(block->size_bytes);
    memset(block->data + block->size_bytes, 0, block->padded_size_bytes - block->size_bytes);
}

int block_admit(struct block *block, struct block_header *ret, struct err *err)
{
    int code = block_check(block_bytes(block), ret, err);
    if (code == 0)
        complete(block, ret);
    return code;
}

int block_from_bytes(struct bytes bytes, struct block **ret, struct err *err)
{
    struct block_header header;
    struct block *block = NULL;
    int code = block_check(bytes, &header, err);
    if (code == 0)
        code = block_blank(bytes.size_bytes, &block, err);
    if (code != 0)
        return code;
    memcpy(block->data, bytes.data, bytes.size_bytes);
    complete(block, &header);
    *ret = block;
    return 0;
}

struct bytes block_body(const struct block *block)
{
    return bytes_of(block->data + BLOCK_HEADER_BYTES, block->size_bytes - BLOCK_HEADER_BYTES);
}

struct bytes block_bytes(const struct block *block)
{
    return bytes_of(block->data, block->size_bytes);
}

struct block *block_retain(struct block *block)
{
    uint32_t before = __atomic_fetch_add(&block->reference_count, 1, __ATOMIC_RELAXED);
    INVARIANT(before >= 1);
    return block;
}

void block_release(struct block *block)
{
    if (block == NULL)
        return;
    uint32_t before = __atomic_fetch_sub(&block->reference_count, 1, __ATOMIC_ACQ_REL);
    INVARIANT(before >= 1);
    if (before == 1) {
        mem_free(block->notes);
        mem_free(block->data);
        mem_free(block);
    }
}

int block_find(const struct block *block, uint64_t index, struct bytes *ret_frame, struct err *err)
{
    if (index < block->first_index || index - block->first_index >= block->entry_count)
        return err_set(err, ERR_NOT_FOUND, "entry %llu is not in this block", (unsigned long long)index);
    struct bytes elements = block_body(block);
    struct bytes frame;
    for (uint64_t at = block->first_index; at <= index; at++) {
        int code = frame_next_element(&elements, &frame, err);
        if (code != 0)
            return err_set(err, ERR_CORRUPT, "the block of entry %llu is malformed", (unsigned long long)index);
    }
    *ret_frame = frame;
    return 0;
}
