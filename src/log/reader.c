/* Reading a live log (log.h). A block is looked for in the tail first, then in the files. A file is found by its first
 * index, a block in it by the places in the segment's view, which grow by reading block headers up to the durable size
 * and no further. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/log_internal.h"

struct log_cursor {
    struct log *log;
    uint64_t next_index; /* next gives the block that holds this */
    uint64_t prev_end;   /* prev gives the block that holds the entry before this */
};

static struct block *find_in_tail(struct log *log, uint64_t index)
{
    struct block *found = NULL;
    pthread_mutex_lock(&log->mutex);
    size_t low = 0;
    size_t high = log->tail_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct block *block = log->tail[(log->tail_first + middle) % LOG_TAIL_BLOCKS_MAX];
        if (index < block->first_index) {
            high = middle;
        } else if (index - block->first_index >= block->entry_count) {
            low = middle + 1;
        } else {
            found = block_retain(block);
            break;
        }
    }
    pthread_mutex_unlock(&log->mutex);
    return found;
}

/* First index of the segment that holds `index`. */
static uint64_t find_segment(struct log *log, uint64_t index)
{
    pthread_mutex_lock(&log->mutex);
    size_t low = 0;
    size_t high = log->segment_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->segments[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    uint64_t first_index = log->segments[low];
    pthread_mutex_unlock(&log->mutex);
    return first_index;
}

static void free_view(struct segment_view *view)
{
    segment_walk_free(&view->walk);
    disk_close(view->file);
    mem_free(view->places);
    mem_free(view);
}

void log_close_views(struct log *log)
{
    for (size_t i = 0; i < LOG_VIEWS_MAX; i++) {
        if (log->views[i] != NULL)
            free_view(log->views[i]);
        log->views[i] = NULL;
    }
}

/* The view's slot if there is one, else the slot to use: a free one, or the one unused for longest. NULL when all are
 * pinned. */
static struct segment_view **find_view_slot(struct log *log, uint64_t first_index)
{
    struct segment_view **best = NULL;
    for (size_t i = 0; i < LOG_VIEWS_MAX; i++) {
        if (log->views[i] != NULL && log->views[i]->first_index == first_index)
            return &log->views[i];
    }
    for (size_t i = 0; i < LOG_VIEWS_MAX; i++) {
        struct segment_view **slot = &log->views[i];
        if (*slot == NULL)
            return slot;
        if ((*slot)->pin_count == 0 && (best == NULL || (*slot)->last_used < (*best)->last_used))
            best = slot;
    }
    return best;
}

static int open_view(struct log *log, uint64_t first_index, struct segment_view **ret, struct err *err)
{
    struct segment_view *view = mem_alloc_zero(1, sizeof(*view));
    if (view == NULL)
        return err_no_memory(err, "a segment's view");
    char name[SEGMENT_NAME_BYTES + 1];
    struct segment_header header;
    segment_name(first_index, name);
    int code = segment_open(log->disk, log->folder, name, 0, &view->file, &header, err);
    if (code != 0) {
        mem_free(view);
        return code;
    }
    view->first_index = first_index;
    view->end_index = first_index;
    code = segment_walk_init(&view->walk, view->file, err);
    if (code != 0) {
        free_view(view);
        return code;
    }
    *ret = view;
    return 0;
}

static int add_place(struct segment_view *view, uint64_t offset, const struct block_header *header, struct err *err)
{
    if (view->place_count == view->place_capacity) {
        size_t capacity = view->place_capacity == 0 ? 64 : 2 * view->place_capacity;
        struct block_place *grown = mem_resize(view->places, capacity * sizeof(*grown));
        if (grown == NULL)
            return err_no_memory(err, "a segment's view");
        view->places = grown;
        view->place_capacity = capacity;
    }
    view->places[view->place_count++] = (struct block_place){.first_index = header->first_index, .offset = offset};
    view->end_index = header->first_index + header->entry_count;
    return 0;
}

static int unreadable(struct log *log, const struct segment_view *view, uint64_t offset, uint64_t index, int code,
                      struct err *err)
{
    char name[SEGMENT_NAME_BYTES + 1];
    segment_name(view->first_index, name);
    return err_wrap(err, code, "%s/%s, offset %llu, entry %llu", log->folder, name, (unsigned long long)offset,
                    (unsigned long long)index);
}

/* Grows the view until it covers index, which is durable and in this segment. */
static int extend_view(struct log *log, struct segment_view *view, uint64_t index, struct err *err)
{
    int code = disk_size(view->file, &view->walk.file_size, err);
    while (code == 0 && view->end_index <= index) {
        struct block_header header;
        uint64_t offset = view->walk.offset;
        code = segment_walk_header(&view->walk, &header, err);
        if (code == ERR_END)
            code = err_set(err, ERR_CORRUPT, "the segment ends before this entry");
        else if (code == 0 && header.first_index != view->end_index)
            code = err_set(err, ERR_CORRUPT, "the block starts at entry %llu", (unsigned long long)header.first_index);
        if (code == 0)
            code = add_place(view, offset, &header, err);
        else
            code = unreadable(log, view, offset, view->end_index, code, err);
    }
    return code;
}

static uint64_t find_place(const struct segment_view *view, uint64_t index)
{
    size_t low = 0;
    size_t high = view->place_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (view->places[middle].first_index <= index)
            low = middle;
        else
            high = middle;
    }
    return view->places[low].offset;
}

/* Pins the view that covers index and says where its block lies. */
static int acquire_view(struct log *log, uint64_t index, struct segment_view **ret, uint64_t *ret_offset,
                        struct err *err)
{
    uint64_t first_index = find_segment(log, index);
    int code = 0;
    pthread_mutex_lock(&log->views_mutex);
    struct segment_view **slot = find_view_slot(log, first_index);
    if (slot == NULL)
        code = err_set(err, ERR_BUSY, "more than %d readers of old segments", LOG_VIEWS_MAX);
    if (code == 0 && (*slot == NULL || (*slot)->first_index != first_index)) {
        struct segment_view *fresh = NULL;
        code = open_view(log, first_index, &fresh, err);
        if (code == 0) {
            if (*slot != NULL)
                free_view(*slot);
            *slot = fresh;
        }
    }
    if (code == 0)
        code = extend_view(log, *slot, index, err);
    if (code == 0) {
        (*slot)->pin_count++;
        (*slot)->last_used = ++log->view_clock;
        *ret_offset = find_place(*slot, index);
        *ret = *slot;
    }
    pthread_mutex_unlock(&log->views_mutex);
    return code;
}

static void release_view(struct log *log, struct segment_view *view)
{
    pthread_mutex_lock(&log->views_mutex);
    view->pin_count--;
    pthread_mutex_unlock(&log->views_mutex);
}

static int read_from_file(struct log *log, uint64_t index, struct block **ret, struct err *err)
{
    struct segment_view *view = NULL;
    struct segment_walk walk;
    struct block_header header;
    struct bytes bytes;
    uint64_t offset = 0;
    int code = acquire_view(log, index, &view, &offset, err);
    if (code != 0)
        return code;
    code = segment_walk_init(&walk, view->file, err);
    if (code == 0) {
        walk.offset = offset;
        code = segment_walk_next(&walk, log->log_id, &header, &bytes, err);
        if (code == ERR_END)
            code = err_set(err, ERR_CORRUPT, "a block is missing (zeros)");
        else if (code == ERR_MISMATCH)
            code = err_set(err, ERR_CORRUPT, "the block belongs to another log");
        if (code == 0)
            code = block_from_bytes(bytes, ret, err);
        if (code != 0)
            code = unreadable(log, view, offset, index, code, err);
        segment_walk_free(&walk);
    }
    release_view(log, view);
    return code;
}

int log_read_block(struct log *log, uint64_t index, struct block **ret, struct err *err)
{
    if (index >= log_durable_size(log))
        return err_set(err, ERR_NOT_FOUND, "log %s has %llu entries, there is no entry %llu", log->origin,
                       (unsigned long long)log_durable_size(log), (unsigned long long)index);
    struct block *block = find_in_tail(log, index);
    if (block == NULL)
        return read_from_file(log, index, ret, err);
    *ret = block;
    return 0;
}

int log_cursor_open(struct log *log, uint64_t index, struct log_cursor **ret, struct err *err)
{
    if (index > log_durable_size(log))
        return err_set(err, ERR_INVALID, "log %s has %llu entries, cannot start at %llu", log->origin,
                       (unsigned long long)log_durable_size(log), (unsigned long long)index);
    struct log_cursor *cursor = mem_alloc(sizeof(*cursor));
    if (cursor == NULL)
        return err_no_memory(err, "a cursor");
    *cursor = (struct log_cursor){.log = log, .next_index = index, .prev_end = index};
    *ret = cursor;
    return 0;
}

void log_cursor_close(struct log_cursor *cursor)
{
    mem_free(cursor);
}

int log_cursor_next(struct log_cursor *cursor, struct block **ret, struct err *err)
{
    if (cursor->next_index >= log_durable_size(cursor->log))
        return ERR_END;
    struct block *block = NULL;
    int code = log_read_block(cursor->log, cursor->next_index, &block, err);
    if (code != 0)
        return code;
    cursor->prev_end = block->first_index;
    cursor->next_index = block->first_index + block->entry_count;
    *ret = block;
    return 0;
}

int log_cursor_prev(struct log_cursor *cursor, struct block **ret, struct err *err)
{
    if (cursor->prev_end == 0)
        return ERR_END;
    struct block *block = NULL;
    int code = log_read_block(cursor->log, cursor->prev_end - 1, &block, err);
    if (code != 0)
        return code;
    if (block->first_index + block->entry_count > cursor->prev_end) {
        /* Opened in the middle of a block: this is the block the cursor stands at, not the one before. */
        uint64_t first_index = block->first_index;
        block_release(block);
        if (first_index == 0)
            return ERR_END;
        code = log_read_block(cursor->log, first_index - 1, &block, err);
        if (code != 0)
            return code;
    }
    cursor->next_index = block->first_index + block->entry_count;
    cursor->prev_end = block->first_index;
    *ret = block;
    return 0;
}
