/* Naming the entry at fault in a block whose checksum is wrong.
 *
 * The checksum only says that something in up to eight megabytes changed. The chain says more, if one byte (or one
 * entry) is assumed to be wrong:
 *  1. The elements are walked without believing the header. Each is held to the rules of the chain. One that does not
 * parse, has the wrong index, or does not match its payload's commitment is at fault itself.
 *  2. An entry k whose prev is not the hash of k-1: either k-1 was changed, or k's prev was. If the prev of k+1 is the
 * hash of k, then k is as it was made, and k-1 is at fault; otherwise k is.
 *  3. All elements pass: then it is the header, the padding, or the last entry, which nothing in the block follows. The
 * next block's first prev tells, or a checkpoint whose size is the block's end. A header that promises more, both in
 * bytes and in entries, than the walk found has an element behind it whose first byte is wrong.
 *
 * An interrupted write leaves parts of the block unwritten, and the file was zeros before. So a block without a line of
 * 64 zeros was written whole. */
#include "verify/locate.h"

#include <stdio.h>

#include "base/mem.h"

enum { WINDOW_BYTES = BLOCK_HEADER_BYTES + BLOCK_BODY_MAX_BYTES + 256 * 1024, LINE_BYTES = 64 };

struct view {
    struct bytes window; /* from the block's first byte to the end of the file, or WINDOW_BYTES */
    bool to_end_of_file;
    bool header_readable;
    struct block_header header;
    struct sha256 *sha;
    struct chain before;         /* the first entry that was not accepted */
    struct merkle_range shorter; /* the same, less the last entry that was accepted */
    struct bytes rest;           /* from there on */
    uint64_t first_index;
    const struct checkpoint *known;
    size_t known_count;
    bool has_named; /* what comes after the last entry accepted says what its hash was; `before.prev` is what it is */
    struct hash named;
};

/* Index, prev and leaf of the element that starts `elements`. */
static bool read_link(struct sha256 *sha, struct bytes elements, struct entry *ret, struct hash *ret_leaf)
{
    struct bytes frame_bytes;
    struct frame frame;
    if (frame_next_element(&elements, &frame_bytes, NULL) != 0 || frame_parse(frame_bytes, &frame, NULL) != 0 ||
        entry_parse(frame.entry, ret, NULL) != 0)
        return false;
    *ret_leaf = merkle_leaf(sha, frame.entry);
    return true;
}

/* Where the block after this one starts, if the header is to be believed. */
static struct bytes next_block_body(const struct view *view)
{
    size_t size = BLOCK_HEADER_BYTES + (size_t)view->header.body_size_bytes;
    size_t at = (size + BLOCK_ALIGNMENT_BYTES - 1) / BLOCK_ALIGNMENT_BYTES * BLOCK_ALIGNMENT_BYTES + BLOCK_HEADER_BYTES;
    if (!view->header_readable || at >= view->window.size_bytes)
        return bytes_of(NULL, 0);
    return bytes_of(view->window.data + at, view->window.size_bytes - at);
}

/* Whether a checkpoint of this size has this root; otherwise what to say when there is no checkpoint of this size. */
static bool is_root_known(const struct merkle_range *range, const struct view *view, bool without_checkpoint)
{
    for (size_t i = 0; i < view->known_count; i++) {
        struct hash root = merkle_range_root(range, view->sha);
        if (view->known[i].size == range->size)
            return hash_equal(&view->known[i].root, &root);
    }
    return without_checkpoint;
}

/* Rule 2: entry k passes by itself but its prev is wrong. */
static bool is_entry_before_at_fault(struct view *view)
{
    struct entry entry, next;
    struct hash leaf, next_leaf;
    struct bytes following = view->rest;
    struct bytes skipped;
    uint64_t index = view->before.range.size;
    if (index == view->first_index || !read_link(view->sha, view->rest, &entry, &leaf) || entry.index != index ||
        memcmp(entry.log_id, view->before.log_id, ENTRY_LOG_ID_SIZE) != 0 ||
        hash_equal(&entry.prev, &view->before.prev))
        return false;
    view->named = entry.prev;
    if (frame_next_element(&following, &skipped, NULL) != 0)
        return false;
    if (following.size_bytes == 0 || following.data[0] != 0x0A)
        following = next_block_body(view);
    if (read_link(view->sha, following, &next, &next_leaf) && next.index == index + 1)
        return hash_equal(&next.prev, &leaf);
    /* Nothing follows. A checkpoint here tells whether the tree is right with the hash that k names in the place of
     * k-1. */
    struct merkle_range range = view->shorter;
    merkle_range_append(&range, view->sha, &entry.prev);
    merkle_range_append(&range, view->sha, &leaf);
    return is_root_known(&range, view, false);
}

/* Walks what the chain accepts. True when it stopped at an element that it refuses (with *reason), false at the end of
 * the elements. */
static bool walk(struct view *view, struct err *reason)
{
    while (view->rest.size_bytes > 0 && view->rest.data[0] == 0x0A) {
        struct bytes after = view->rest;
        struct bytes frame;
        if (frame_next_element(&after, &frame, reason) != 0)
            return true;
        struct bytes element = bytes_of(view->rest.data, (size_t)(after.data - view->rest.data));
        struct merkle_range shorter = view->before.range;
        if (chain_check_block(&view->before, view->sha, element, 1, NULL, NULL, NULL, reason) != 0)
            return true;
        view->shorter = shorter;
        view->rest = after;
    }
    return false;
}

static bool is_cut_off(const struct view *view)
{
    struct bytes after = view->rest;
    struct bytes frame;
    if (!view->to_end_of_file)
        return false;
    if (view->window.size_bytes < BLOCK_HEADER_BYTES)
        return true;
    if (!view->header_readable ||
        (uint64_t)BLOCK_HEADER_BYTES + view->header.body_size_bytes <= view->window.size_bytes)
        return false;
    return view->rest.size_bytes == 0 || (view->rest.data[0] == 0x0A && frame_next_element(&after, &frame, NULL) != 0);
}

/* Rule 3: whether the last entry accepted is not the one that was written. */
static bool is_last_entry_at_fault(struct view *view)
{
    struct entry next;
    struct hash next_leaf;
    if (read_link(view->sha, next_block_body(view), &next, &next_leaf) && next.index == view->before.range.size) {
        view->named = next.prev;
        view->has_named = true;
        return !hash_equal(&next.prev, &view->before.prev);
    }
    return !is_root_known(&view->before.range, view, true);
}

static bool header_fits(const struct view *view, const struct chain *chain)
{
    return view->header_readable && view->header.first_index == chain->range.size &&
           memcmp(view->header.log_id, chain->log_id, ENTRY_LOG_ID_SIZE) == 0;
}

static bool all_written(const struct view *view)
{
    size_t end = (size_t)(view->rest.data - view->window.data);
    size_t promised = BLOCK_HEADER_BYTES + (size_t)view->header.body_size_bytes;
    if (view->header_readable && promised <= view->window.size_bytes && promised > end)
        end = promised;
    if (end <= BLOCK_HEADER_BYTES)
        return false;
    static const uint8_t zeros[LINE_BYTES];
    for (size_t at = 0; at + LINE_BYTES <= end; at += LINE_BYTES) {
        if (memcmp(view->window.data + at, zeros, LINE_BYTES) == 0)
            return false;
    }
    return true;
}

static void found(struct located *ret, enum located_kind kind, uint64_t index, const char *reason)
{
    ret->kind = kind;
    ret->index = index;
    snprintf(ret->reason, sizeof(ret->reason), "%s", reason);
}

static void judge(struct view *view, const struct chain *chain, struct located *ret)
{
    struct err reason = {0};
    bool refused = walk(view, &reason);
    uint64_t index = view->before.range.size;
    uint64_t accepted = index - chain->range.size;
    size_t walked = (size_t)(view->rest.data - view->window.data) - BLOCK_HEADER_BYTES;
    ret->all_written = all_written(view);
    if (is_cut_off(view)) {
        found(ret, LOCATED_CUT_OFF, index, "the file ends inside the block");
    } else if (refused && is_entry_before_at_fault(view)) {
        found(ret, LOCATED_ENTRY, index - 1, "the entry's bytes do not have the hash that the next entry names");
        view->has_named = true;
    } else if (refused) {
        found(ret, LOCATED_ENTRY, index, reason.message);
    } else if (view->header_readable && accepted < view->header.entry_count && walked < view->header.body_size_bytes) {
        found(ret, LOCATED_ENTRY, index, "the entry's frame does not parse");
    } else if (accepted > 0 && header_fits(view, chain) && accepted == view->header.entry_count &&
               walked == view->header.body_size_bytes && is_last_entry_at_fault(view)) {
        found(ret, LOCATED_ENTRY, index - 1, "the entry's bytes do not have the hash that what follows names");
    } else {
        found(ret, LOCATED_BLOCK, chain->range.size, "the block's header, checksum, padding or last entry is wrong");
    }
    if (ret->kind == LOCATED_ENTRY && view->has_named && ret->index + 1 == index) {
        ret->has_hashes = true;
        ret->expected = view->named;
        ret->found = view->before.prev;
    }
}

static int read_window(struct disk *disk, const char *path, uint64_t offset, uint8_t *window, size_t *ret_size,
                       struct err *err)
{
    struct disk_file *file = NULL;
    int code = disk_open(disk, path, DISK_READ, &file, err);
    if (code != 0)
        return code;
    code = disk_read(file, offset, window, WINDOW_BYTES, ret_size, err);
    disk_close(file);
    return code;
}

int locate_damage(struct disk *disk, const char *folder, const char *segment, uint64_t offset,
                  const struct chain *chain, const struct checkpoint *known, size_t known_count, struct located *ret,
                  struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    size_t size = 0;
    int code = disk_join(path, folder, segment, err);
    if (code != 0)
        return code;
    uint8_t *window = mem_alloc(WINDOW_BYTES);
    struct sha256 *sha = sha256_new();
    if (window == NULL || sha == NULL)
        code = err_no_memory(err, "a look into a damaged block");
    if (code == 0)
        code = read_window(disk, path, offset, window, &size, err);
    if (code == 0) {
        size_t body_at = size < BLOCK_HEADER_BYTES ? size : BLOCK_HEADER_BYTES;
        struct view view = {.window = bytes_of(window, size),
                            .to_end_of_file = size < WINDOW_BYTES,
                            .sha = sha,
                            .before = *chain,
                            .rest = bytes_of(window + body_at, size - body_at),
                            .first_index = chain->range.size,
                            .known = known,
                            .known_count = known_count};
        view.header_readable = size >= BLOCK_HEADER_BYTES && block_parse_header(window, &view.header, NULL) == 0;
        *ret = (struct located){0};
        if (size < BLOCK_HEADER_BYTES)
            found(ret, LOCATED_CUT_OFF, chain->range.size, "the file ends inside a block's header");
        else
            judge(&view, chain, ret);
    }
    sha256_free(sha);
    mem_free(window);
    return code;
}
