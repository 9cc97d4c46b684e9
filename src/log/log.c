/* The write path of a log, and its life cycle. Recovery is in recovery.c, reading in reader.c, the signed notes in
 * notes.c.
 *
 * Algorithm. log_append writes the blocks into the active segment, as many as fit WRITE_MAX_BYTES in one write, which
 * is durable when it returns; then it moves the chain, hands the blocks to the tail, and last raises durable_size,
 * which is what readers look at. A block that does not fit starts a new segment. Blocks of one write say so (block.h),
 * because nothing tells which of its parts a crash leaves.
 *
 * Invariants:
 *  1. Everything below durable_size is on stable storage and is found in the tail or in a file.
 *  2. Blocks start at multiples of 4,096 and are never written over.
 *  3. A file named *.seg has a whole header: it is made under another name and renamed when it is durable.
 *  4. After a failed write nothing more is written, and so nothing more is acknowledged, until recovery has looked at
 * the file again.
 *  5. What goes into the file is a block whose entries follow each other and those in the file. Of a block without
 * notes (block.h) every leaf is computed. Of one with notes the bytes are held to the CRC that was made when it was
 * sealed, every entry to its place and to the leaf noted of the one before it, and the last one's leaf is computed. So
 * a fault of memory in between is found, be it in the bytes or in the notes, and so are notes of another block. What is
 * not found here is a fault between hashing an entry and sealing its block, some milliseconds: that is found when the
 * tiles are made, which takes no leaf from notes and holds its root to the signed checkpoint before that is shown, by
 * every mirror before it stores the entry, and by the scrubber.
 *
 * Crash behaviour. Between two writes: nothing is lost. Inside a write: its blocks were never acknowledged; whole ones
 * up to the first torn one stay, the rest is cut by recovery. While rolling: the next segment exists with a header or
 * not at all; the one before may keep its zeros, which a reader takes for its end. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "log/log_internal.h"

enum { WRITE_MAX_BYTES = 1024 * 1024 };
static_assert(WRITE_MAX_BYTES / BLOCK_ALIGNMENT_BYTES <= BLOCK_PAGES_BACK_MAX, "a block can say where its write began");

static struct log_options with_defaults(const struct log_options *options)
{
    struct log_options full = options == NULL ? (struct log_options){0} : *options;
    if (full.segment_size_bytes == 0)
        full.segment_size_bytes = LOG_SEGMENT_SIZE_DEFAULT_BYTES;
    if (full.tail_size_bytes == 0)
        full.tail_size_bytes = LOG_TAIL_DEFAULT_BYTES;
    return full;
}

static int check_options(const struct log_options *options, struct err *err)
{
    if (options->segment_size_bytes < LOG_SEGMENT_SIZE_TINY_BYTES ||
        options->segment_size_bytes > LOG_SEGMENT_SIZE_MAX_BYTES ||
        options->segment_size_bytes % BLOCK_ALIGNMENT_BYTES != 0)
        return err_set(err, ERR_INVALID, "segment_size_bytes must be %d to %d and a multiple of %d",
                       LOG_SEGMENT_SIZE_TINY_BYTES, LOG_SEGMENT_SIZE_MAX_BYTES, BLOCK_ALIGNMENT_BYTES);
    return 0;
}

static int write_new_segment(struct disk *disk, const char *path, const struct segment_header *header,
                             uint64_t segment_size_bytes, struct err *err)
{
    uint8_t *page = mem_alloc_aligned(DISK_ALIGNMENT_BYTES, LOG_SEGMENT_HEADER_BYTES);
    if (page == NULL)
        return err_no_memory(err, "a segment header");
    segment_header_encode(header, page);
    struct disk_file *file = NULL;
    int code = disk_open(disk, path, DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &file, err);
    if (code == 0)
        code = disk_allocate(file, segment_size_bytes, err);
    if (code == 0)
        code = disk_write(file, 0, page, LOG_SEGMENT_HEADER_BYTES, err);
    if (code == 0)
        code = disk_sync(file, err);
    disk_close(file);
    mem_free(page);
    return code;
}

int log_create_segment(struct disk *disk, const char *folder, const struct segment_header *header,
                       uint64_t segment_size_bytes, struct err *err)
{
    char name[SEGMENT_NAME_BYTES + 1];
    char path[DISK_PATH_MAX_BYTES];
    char temporary[DISK_PATH_MAX_BYTES];
    segment_name(header->first_index, name);
    int code = disk_join(path, folder, name, err);
    if (code == 0)
        code = disk_join(temporary, folder, "next-segment.tmp", err);
    if (code == 0) {
        code = disk_remove(disk, temporary, err); /* left by a crash */
        code = code == ERR_NOT_FOUND ? 0 : code;
    }
    if (code == 0)
        code = write_new_segment(disk, temporary, header, segment_size_bytes, err);
    if (code == 0)
        code = disk_rename(disk, temporary, path, err);
    if (code == 0 && !PLANTED(forget_folder_sync))
        code = disk_sync_dir(disk, folder, err);
    return code;
}

int log_create(struct disk *disk, const char *folder, struct bytes origin, const struct log_options *options,
               struct err *err)
{
    struct log_options full = with_defaults(options);
    uint64_t *segments = NULL;
    size_t segment_count = 0;
    int code = entry_check_origin(origin, err);
    if (code == 0)
        code = check_options(&full, err);
    if (code == 0)
        code = disk_make_dir(disk, folder, err);
    if (code != 0)
        return code;
    int listed = segment_list(disk, folder, &segments, &segment_count, err);
    mem_free(segments);
    if (listed == 0)
        return err_set(err, ERR_EXISTS, "%s holds a log already", folder);
    if (listed != ERR_NOT_FOUND)
        return listed;
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "a hash context");
    struct segment_header header = {.first_index = 0};
    memcpy(header.origin, origin.data, origin.size_bytes);
    chain_init(&header.chain, sha, origin);
    sha256_free(sha);
    return log_create_segment(disk, folder, &header, full.segment_size_bytes, err);
}

int log_add_segment(struct log *log, uint64_t first_index)
{
    if (log->segment_count == log->segment_capacity) {
        size_t capacity = log->segment_capacity == 0 ? 16 : 2 * log->segment_capacity;
        uint64_t *grown = mem_resize(log->segments, capacity * sizeof(*grown));
        if (grown == NULL)
            return ERR_NO_MEMORY;
        log->segments = grown;
        log->segment_capacity = capacity;
    }
    log->segments[log->segment_count++] = first_index;
    return 0;
}

int log_open(struct disk *disk, const char *folder, struct bytes expected_origin, const struct log_options *options,
             struct log **ret, struct log_recovery *ret_recovery, struct err *err)
{
    struct log_options full = with_defaults(options);
    int code = check_options(&full, err);
    if (code != 0)
        return code;
    if (strlen(folder) >= DISK_PATH_MAX_BYTES - SEGMENT_NAME_BYTES - 8)
        return err_set(err, ERR_TOO_LARGE, "the folder's path is too long: %.60s…", folder);
    struct log *log = mem_alloc_zero(1, sizeof(*log));
    if (log == NULL)
        return err_no_memory(err, "a log");
    log->disk = disk;
    log->options = full;
    copy_string(log->folder, sizeof(log->folder), folder);
    INVARIANT(pthread_mutex_init(&log->mutex, NULL) == 0);
    INVARIANT(pthread_mutex_init(&log->views_mutex, NULL) == 0);
    log->sha = sha256_new();
    log->tail = mem_alloc_zero(LOG_TAIL_BLOCKS_MAX, sizeof(struct block *));
    code = log->sha == NULL || log->tail == NULL ? err_no_memory(err, "a log") : 0;
    if (code == 0)
        code = log_recover(log, expected_origin, ret_recovery, err);
    if (code != 0) {
        log_close(log);
        return code;
    }
    memcpy(log->log_id, log->chain.log_id, sizeof(log->log_id));
    atomic_store(&log->durable_size, log->chain.range.size);
    *ret = log;
    return 0;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    log_close_views(log);
    for (size_t i = 0; i < log->tail_count; i++)
        block_release(log->tail[(log->tail_first + i) % LOG_TAIL_BLOCKS_MAX]);
    mem_free(log->write_buffer);
    mem_free(log->tail);
    mem_free(log->segments);
    disk_close(log->active);
    sha256_free(log->sha);
    pthread_mutex_destroy(&log->mutex);
    pthread_mutex_destroy(&log->views_mutex);
    mem_free(log);
}

struct bytes log_origin(const struct log *log)
{
    return bytes_of_string(log->origin);
}

uint64_t log_durable_size(const struct log *log)
{
    return atomic_load_explicit(&log->durable_size, memory_order_acquire);
}

void log_chain(const struct log *log, struct chain *ret)
{
    *ret = log->chain;
}

/* Cuts the active segment to its length and starts the next one. */
static int roll(struct log *log, struct err *err)
{
    struct segment_header header = {.first_index = log->chain.range.size, .chain = log->chain};
    copy_string(header.origin, sizeof(header.origin), log->origin);
    int code = disk_truncate(log->active, log->active_offset, err);
    if (code == 0)
        code = disk_sync(log->active, err);
    if (code == 0)
        code = log_create_segment(log->disk, log->folder, &header, log->options.segment_size_bytes, err);
    char name[SEGMENT_NAME_BYTES + 1];
    char path[DISK_PATH_MAX_BYTES];
    segment_name(header.first_index, name);
    struct disk_file *next = NULL;
    if (code == 0)
        code = disk_join(path, log->folder, name, err);
    if (code == 0)
        code = disk_open(log->disk, path, DISK_WRITE | (PLANTED(sync_nothing) ? 0 : DISK_DURABLE), &next, err);
    if (code != 0)
        return code;
    disk_close(log->active);
    log->active = next;
    log->active_first_index = header.first_index;
    log->active_offset = LOG_SEGMENT_HEADER_BYTES;
    pthread_mutex_lock(&log->mutex);
    code = log_add_segment(log, header.first_index);
    pthread_mutex_unlock(&log->mutex);
    return code == 0 ? 0 : err_no_memory(err, "the list of segments");
}

static int malformed(int code, struct err *err)
{
    return err_wrap(err, code, "a block handed to the log is malformed");
}

/* The last entry hashed again: notes that are not those of this block's entries, or not made as leaves are, show here.
 */
static int check_last(const struct chain *chain, struct sha256 *sha, struct bytes encoded, const struct hash *leaf,
                      hlc *ret_time, struct err *err)
{
    struct entry entry;
    int code = entry_parse(encoded, &entry, err);
    if (code != 0)
        return code;
    struct hash again = merkle_leaf(sha, encoded);
    if (!hash_equal(&again, leaf) || entry.time <= chain->last_time)
        return err_set(err, ERR_CORRUPT, "entry %llu is not what was noted of it", (unsigned long long)entry.index);
    *ret_time = entry.time;
    return 0;
}

/* Moves *chain past a block whose leaves whoever made or checked it noted: they are not computed again. What is checked
 * instead is the essay's invariant 5. */
static int advance_by_notes(struct chain *chain, struct sha256 *sha, const struct block *block, struct err *err)
{
    struct bytes elements = block_body(block);
    struct block_header header;
    struct bytes encoded;
    struct frame frame;
    hlc time = 0;
    int code = block_check(block_bytes(block), &header, err);
    if (code == 0 && header.entry_count != block->entry_count)
        code = err_set(err, ERR_CORRUPT, "its header counts %u entries", (unsigned)header.entry_count);
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        const struct hash *leaf = &block->notes[i].leaf;
        code = frame_next_element(&elements, &encoded, err);
        if (code == 0)
            code = frame_parse(encoded, &frame, err);
        if (code == 0 && !entry_stands_at(frame.entry, chain->range.size, chain->log_id, &chain->prev))
            code = err_set(err, ERR_CORRUPT, "entry %llu does not follow the one before it",
                           (unsigned long long)chain->range.size);
        if (code == 0 && i + 1 == block->entry_count)
            code = check_last(chain, sha, frame.entry, leaf, &time, err);
        if (code != 0)
            break;
        merkle_range_append(&chain->range, sha, leaf);
        chain->prev = *leaf;
    }
    if (code == 0)
        chain->last_time = time;
    return code == 0 ? 0 : malformed(code == ERR_END ? ERR_CORRUPT : code, err);
}

/* Moves *chain past a block whose entries the caller made or checked. */
static int advance_chain(struct chain *chain, struct sha256 *sha, const struct block *block, struct err *err)
{
    struct bytes elements = block_body(block);
    if (block_has_leaves(block))
        return advance_by_notes(chain, sha, block, err);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        struct frame frame;
        struct entry entry;
        int code = frame_next_entry(&elements, &frame, &entry, err);
        if (code != 0)
            return malformed(code, err);
        INVARIANT(entry.index == chain->range.size);
        INVARIANT(hash_equal(&entry.prev, &chain->prev));
        chain_append(chain, sha, frame.entry, entry.time);
    }
    return 0;
}

static void push_tail(struct log *log, struct block *block)
{
    pthread_mutex_lock(&log->mutex);
    while (log->tail_count > 0 && (log->tail_count == LOG_TAIL_BLOCKS_MAX ||
                                   log->tail_bytes + block->size_bytes > log->options.tail_size_bytes)) {
        struct block *oldest = log->tail[log->tail_first];
        log->tail_first = (log->tail_first + 1) % LOG_TAIL_BLOCKS_MAX;
        log->tail_count--;
        log->tail_bytes -= oldest->size_bytes;
        block_release(oldest);
    }
    log->tail[(log->tail_first + log->tail_count) % LOG_TAIL_BLOCKS_MAX] = block_retain(block);
    log->tail_count++;
    log->tail_bytes += block->size_bytes;
    pthread_mutex_unlock(&log->mutex);
}

static bool fits_segment(const struct log *log, uint64_t size_bytes)
{
    return log->active_offset == LOG_SEGMENT_HEADER_BYTES ||
           log->active_offset + size_bytes <= log->options.segment_size_bytes;
}

/* How many of the blocks go into one write; at least one. */
static size_t write_length(struct log *log, struct block *const *blocks, size_t count)
{
    uint64_t size = blocks[0]->padded_size_bytes;
    size_t length = 1;
    while (length < count && size + blocks[length]->padded_size_bytes <= WRITE_MAX_BYTES &&
           fits_segment(log, size + blocks[length]->padded_size_bytes))
        size += blocks[length++]->padded_size_bytes;
    if (length > 1 && log->write_buffer == NULL)
        log->write_buffer = mem_alloc_aligned(BLOCK_ALIGNMENT_BYTES, WRITE_MAX_BYTES);
    return log->write_buffer == NULL ? 1 : length;
}

/* Each copy says where the write begins, so that recovery knows what may be torn together. */
static int write_together(struct log *log, struct block *const *blocks, size_t count, struct err *err)
{
    uint32_t size = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t *copy = log->write_buffer + size;
        memcpy(copy, blocks[i]->data, blocks[i]->padded_size_bytes);
        if (size > 0)
            block_stamp(copy, blocks[i]->size_bytes, size / BLOCK_ALIGNMENT_BYTES);
        size += blocks[i]->padded_size_bytes;
    }
    return disk_write(log->active, log->active_offset, log->write_buffer, size, err);
}

/* One write of as many blocks as may go together; *ret_count of them did. */
static int append_some(struct log *log, struct block *const *blocks, size_t count, size_t *ret_count, struct err *err)
{
    int code = fits_segment(log, blocks[0]->padded_size_bytes) ? 0 : roll(log, err);
    size_t length = code == 0 ? write_length(log, blocks, count) : 0;
    struct chain moved = log->chain;
    for (size_t i = 0; code == 0 && i < length; i++) {
        PRE(blocks[i]->padded_size_bytes > 0); /* sealed */
        PRE(blocks[i]->first_index == moved.range.size);
        code = advance_chain(&moved, log->sha, blocks[i], err); /* a malformed block must never reach the file */
    }
    if (code == 0)
        code = length == 1
                   ? disk_write(log->active, log->active_offset, blocks[0]->data, blocks[0]->padded_size_bytes, err)
                   : write_together(log, blocks, length, err);
    if (code != 0)
        return code;
    log->chain = moved;
    for (size_t i = 0; i < length; i++) {
        log->active_offset += blocks[i]->padded_size_bytes;
        push_tail(log, blocks[i]);
    }
    atomic_store_explicit(&log->durable_size, log->chain.range.size, memory_order_release);
    *ret_count = length;
    return 0;
}

int log_append(struct log *log, struct block *const *blocks, size_t block_count, struct err *err)
{
    for (size_t done = 0; done < block_count;) {
        size_t count = 0;
        if (log->poisoned)
            return err_set(err, ERR_POISONED, "log %s had a failed write; nothing is acknowledged until a restart",
                           log->origin);
        int code = append_some(log, blocks + done, block_count - done, &count, err);
        if (code != 0) {
            log->poisoned = true;
            return err_wrap(err, code, "log %s", log->origin);
        }
        done += count;
    }
    return 0;
}
