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

static int add_place(struct segment_view *view, struct block_place place, uint64_t end_index, struct err *err)
{
    if (view->place_count == view->place_capacity) {
        size_t capacity = view->place_capacity == 0 ? 64 : 2 * view->place_capacity;
        struct block_place *grown = mem_resize(view->places, capacity * sizeof(*grown));
        if (grown == NULL)
            return err_no_memory(err, "a segment's view");
        view->places = grown;
        view->place_capacity = capacity;
    }
    view->places[view->place_count++] = place;
    view->end_index = end_index;
    return 0;
}

/* Remembers the damage, and says what a person needs to know. Others than ERR_CORRUPT are only wrapped. */
static int unreadable(struct log *log, const struct segment_view *view, uint64_t offset, uint64_t index,
                      uint64_t end_index, int code, struct err *err)
{
    struct scrub_finding finding = {
        .segment = view->first_index, .offset = offset, .first_index = index, .end_index = end_index};
    char name[SEGMENT_NAME_BYTES + 1];
    segment_name(view->first_index, name);
    if (code != ERR_CORRUPT)
        return err_wrap(err, code, "%s/%s, offset %llu, entry %llu", log->folder, name, (unsigned long long)offset,
                        (unsigned long long)index);
    snprintf(finding.what, sizeof(finding.what), "%.200s", err == NULL ? "damaged" : err->message);
    log_add_damage(log, &finding);
    return err_set(err, code,
                   "log %s is damaged: %s/%s, offset %llu, entries %llu to %llu: %s. Stop the "
                   "region and run: tally repair --data DIR --origin %s --from HOST:PORT",
                   log->origin, log->folder, name, (unsigned long long)offset, (unsigned long long)index,
                   (unsigned long long)end_index - 1, finding.what, log->origin);
}

/* The header of the segment behind this one; ERR_NOT_FOUND for the last one, which is being written. */
static int next_header(struct log *log, uint64_t first_index, struct segment_header *ret, struct err *err)
{
    char name[SEGMENT_NAME_BYTES + 1];
    struct disk_file *file = NULL;
    size_t at = 0;
    uint64_t next = 0;
    pthread_mutex_lock(&log->mutex);
    while (at < log->segment_count && log->segments[at] <= first_index)
        at++;
    bool last = at == log->segment_count;
    if (!last)
        next = log->segments[at];
    pthread_mutex_unlock(&log->mutex);
    if (last)
        return ERR_NOT_FOUND;
    segment_name(next, name);
    int code = segment_open(log->disk, log->folder, name, 0, &file, ret, err);
    if (code == 0)
        disk_close(file);
    return code;
}

/* At the end of the view stands no block. In a sealed segment the view goes on behind the damage. */
static int view_past_damage(struct log *log, struct segment_view *view, const struct err *why, struct err *err)
{
    struct segment_header next;
    uint64_t damaged_at = view->walk.offset;
    uint64_t index = view->end_index;
    uint64_t found_index = 0;
    uint64_t found_offset = 0;
    int code = next_header(log, view->first_index, &next, err);
    if (code != 0 || next.first_index <= index)
        return err_set(err, ERR_CORRUPT, "%s", why->message);
    struct sha256 *sha = sha256_new();
    if (sha == NULL)
        return err_no_memory(err, "a hash context");
    code = segment_resync(&view->walk, sha, log->log_id, index, &next, &found_offset, &found_index, err);
    sha256_free(sha);
    if (code == ERR_END)
        found_index = next.first_index;
    else if (code != 0)
        return code;
    else
        view->walk.offset = found_offset;
    struct block_place place = {.first_index = index, .offset = damaged_at, .damaged = true};
    return add_place(view, place, found_index, err);
}

/* Grows the view until it covers index, which is durable and in this segment. */
static int extend_view(struct log *log, struct segment_view *view, uint64_t index, struct err *err)
{
    int code = disk_size(view->file, &view->walk.file_size, err);
    while (code == 0 && view->end_index <= index) {
        struct block_header header;
        struct err why = {0};
        uint64_t offset = view->walk.offset;
        code = segment_walk_header(&view->walk, &header, &why);
        if (code == ERR_END)
            code = err_set(&why, ERR_CORRUPT, "the segment ends before this entry");
        else if (code == 0 && header.first_index != view->end_index)
            code = err_set(&why, ERR_CORRUPT, "the block starts at entry %llu", (unsigned long long)header.first_index);
        if (code == 0) {
            struct block_place place = {.first_index = header.first_index, .offset = offset};
            code = add_place(view, place, header.first_index + header.entry_count, err);
        } else if (code == ERR_CORRUPT) {
            view->walk.offset = offset;
            code = view_past_damage(log, view, &why, err);
        } else {
            code = err_set(err, code, "%s", why.message);
        }
        if (code != 0)
            code = unreadable(log, view, offset, view->end_index, index + 1, code, err);
    }
    return code;
}

static const struct block_place *find_place(const struct segment_view *view, uint64_t index)
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
    return &view->places[low];
}

/* Pins the view that covers index and says where its block lies, and where the one after it begins. */
static int acquire_view(struct log *log, uint64_t index, struct segment_view **ret, struct block_place *ret_place,
                        uint64_t *ret_end_index, struct err *err)
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
        if (code == ERR_CORRUPT) {
            struct segment_view headless = {.first_index = first_index};
            code = unreadable(log, &headless, 0, first_index, index + 1, code, err);
        }
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
        const struct block_place *place = find_place(*slot, index);
        bool last = place + 1 == (*slot)->places + (*slot)->place_count;
        *ret_place = *place;
        *ret_end_index = last ? (*slot)->end_index : place[1].first_index;
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

static int read_place(struct log *log, const struct segment_view *view, const struct block_place *place,
                      struct block **ret, struct err *err)
{
    struct segment_walk walk;
    if (place->damaged)
        return err_set(err, ERR_CORRUPT, "no whole block is here");
    int code = segment_walk_init(&walk, view->file, err);
    if (code != 0)
        return code;
    walk.offset = place->offset;
    code = segment_walk_block(&walk, log->log_id, ret, err);
    if (code == ERR_END)
        code = err_set(err, ERR_CORRUPT, "a block is missing (zeros)");
    else if (code == ERR_MISMATCH)
        code = err_set(err, ERR_CORRUPT, "the block belongs to another log");
    segment_walk_free(&walk);
    return code;
}

static int read_from_file(struct log *log, uint64_t index, struct block **ret, struct err *err)
{
    struct segment_view *view = NULL;
    struct block_place place;
    struct err why = {0};
    uint64_t end_index = 0;
    int code = acquire_view(log, index, &view, &place, &end_index, err);
    if (code != 0)
        return code;
    code = read_place(log, view, &place, ret, &why);
    if (code != 0) {
        err_set(err, code, "%s", why.message);
        code = unreadable(log, view, place.offset, place.first_index, end_index, code, err);
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

size_t log_damages(struct log *log, struct scrub_finding *ret, size_t max)
{
    pthread_mutex_lock(&log->mutex);
    size_t count = log->damage_count;
    for (size_t i = 0; i < count && i < max; i++)
        ret[i] = log->damages[i];
    pthread_mutex_unlock(&log->mutex);
    return count;
}

bool log_add_damage(struct log *log, const struct scrub_finding *finding)
{
    pthread_mutex_lock(&log->mutex);
    bool known = log->damage_count == LOG_DAMAGES_MAX;
    for (size_t i = 0; !known && i < log->damage_count; i++)
        known = log->damages[i].segment == finding->segment && log->damages[i].offset == finding->offset;
    if (!known)
        log->damages[log->damage_count++] = *finding;
    pthread_mutex_unlock(&log->mutex);
    return !known;
}

int log_sealed_segments(struct log *log, uint64_t **ret, size_t *ret_count, struct err *err)
{
    pthread_mutex_lock(&log->mutex);
    size_t count = log->segment_count;
    uint64_t *segments = mem_alloc(count * sizeof(*segments));
    if (segments != NULL)
        memcpy(segments, log->segments, count * sizeof(*segments));
    pthread_mutex_unlock(&log->mutex);
    if (segments == NULL)
        return err_no_memory(err, "the list of segments");
    *ret = segments;
    *ret_count = count - 1;
    return 0;
}

const char *log_folder(const struct log *log)
{
    return log->folder;
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
