/* Walking the files of a log that nobody has open, trusting nothing (scan.h). */
#include "log/scan.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/segment.h"

enum {
    SEGMENT_GROWTH_MAX = 2, /* a repair may group entries into more blocks than there were */
    SCAN_TRIES_MAX = 2048,  /* at most 16 GiB are read in vain */
};

struct scan {
    struct disk *disk;
    const char *folder;
    const struct chain *chain; /* compared with segment headers; NULL: not */
    struct chain *adopting;    /* gets the first header's state instead; NULL: not */
    scan_segment_fn *visit;
    void *context;
    struct scan_result *result;
};

int scan_bad(struct scan_result *result, const char *segment, uint64_t offset, int code)
{
    snprintf(result->bad_segment, sizeof(result->bad_segment), "%s", segment);
    result->bad_offset = offset;
    result->bad_index = result->size;
    return code;
}

static int check_segment_start(struct scan *scan, const char *name, const struct segment_header *header,
                               struct err *err)
{
    struct scan_result *result = scan->result;
    if (scan->adopting != NULL) {
        *scan->adopting = header->chain;
        result->size = header->first_index;
        scan->adopting = NULL;
    }
    if (result->origin[0] == '\0')
        copy_string(result->origin, sizeof(result->origin), header->origin);
    if (strcmp(result->origin, header->origin) != 0)
        return err_set(err, ERR_CORRUPT, "segment %s belongs to log %s, the ones before to %s", name, header->origin,
                       result->origin);
    if (header->first_index != result->size)
        return err_set(err, ERR_CORRUPT, "segment %s starts at entry %llu, but %llu was expected: entries are missing",
                       name, (unsigned long long)header->first_index, (unsigned long long)result->size);
    const struct chain *chain = scan->chain;
    if (chain == NULL || chain->range.size != header->first_index)
        return 0;
    size_t hash_bytes = merkle_range_hash_count(chain->range.size) * HASH_SIZE;
    if (!hash_equal(&chain->prev, &header->chain.prev) || chain->last_time != header->chain.last_time ||
        memcmp(chain->range.hashes, header->chain.range.hashes, hash_bytes) != 0)
        return err_set(err, ERR_CORRUPT, "the header of segment %s does not agree with the entries before it", name);
    return 0;
}

/* Between the end of a block and where the next one may start there are only zeros, which no checksum covers. */
static int check_padding(const struct segment_walk *walk, uint64_t block_end, struct err *err)
{
    uint8_t padding[BLOCK_ALIGNMENT_BYTES];
    size_t size = 0;
    int code = disk_read(walk->file, block_end, padding, (size_t)(walk->offset - block_end), &size, err);
    for (size_t i = 0; code == 0 && i < size; i++) {
        if (padding[i] != 0)
            code = err_set(err, ERR_CORRUPT, "the padding after the block is not zeros");
    }
    return code;
}

struct block_scan {
    scan_block_fn *each;
    void *context;
};

/* The plain way through a segment: block after block, in the caller's thread. */
static int scan_blocks(void *context, const struct scan_segment *segment, struct scan_result *result, struct err *err)
{
    const struct block_scan *scan = context;
    struct segment_walk *walk = segment->walk;
    for (;;) {
        struct scan_block found = {.segment = segment->name, .offset = walk->offset};
        struct bytes bytes;
        int code = segment_walk_next(walk, segment->log_id, &found.header, &bytes, err);
        if (code == ERR_MISMATCH)
            return scan_bad(result, segment->name, found.offset, ERR_CORRUPT);
        if (code != 0)
            return code;
        if (found.header.first_index != result->size)
            code = err_set(err, ERR_CORRUPT, "the block starts at entry %llu, but %llu was expected",
                           (unsigned long long)found.header.first_index, (unsigned long long)result->size);
        else
            code = check_padding(walk, found.offset + bytes.size_bytes, err);
        if (code != 0)
            return code == ERR_CORRUPT ? scan_bad(result, segment->name, found.offset, code) : code;
        found.body = bytes_of(bytes.data + BLOCK_HEADER_BYTES, bytes.size_bytes - BLOCK_HEADER_BYTES);
        code = scan->each == NULL ? 0 : scan->each(scan->context, &found, err);
        if (code != 0)
            return scan_bad(result, segment->name, found.offset, code);
        result->size += found.header.entry_count;
        result->block_count++;
        result->bytes += bytes.size_bytes;
    }
}

/* What stopped the visit was no whole block: in the last segment that may be a torn tail; in the others only zeros
 * may follow. (A whole block in the wrong place never comes here: no crash leaves one behind.) */
static int judge_rest(struct scan *scan, const char *name, struct segment_walk *walk, const uint8_t *log_id, bool last,
                      int stopped, struct err *err)
{
    bool found = false;
    bool dirty = false;
    uint64_t offset = 0;
    walk->tries_max = SCAN_TRIES_MAX;
    int code =
        segment_walk_search(walk, log_id, scan->result->size, SEARCH_LATER_WRITTEN, &found, &offset, &dirty, err);
    if (code != 0)
        return code == ERR_CORRUPT ? scan_bad(scan->result, name, walk->offset, code) : code;
    if (!dirty)
        return 0;
    if (last && !found) {
        scan->result->torn_tail = true;
        scan->result->torn_offset = walk->offset;
        snprintf(scan->result->torn_segment, sizeof(scan->result->torn_segment), "%s", name);
        return 0;
    }
    if (stopped == ERR_END)
        err_set(err, ERR_CORRUPT, "a block is missing (zeros)");
    return scan_bad(scan->result, name, walk->offset, ERR_CORRUPT);
}

static int scan_segment(struct scan *scan, uint64_t first_index, bool last, struct err *err)
{
    char name[SEGMENT_NAME_BYTES + 1];
    struct disk_file *file = NULL;
    struct segment_header header;
    struct segment_walk walk;
    segment_name(first_index, name);
    int code = segment_open(scan->disk, scan->folder, name, 0, &file, &header, err);
    if (code == 0)
        code = check_segment_start(scan, name, &header, err);
    if (code != 0) {
        disk_close(file);
        return code == ERR_CORRUPT ? scan_bad(scan->result, name, 0, code) : code;
    }
    scan->result->segment_count++;
    code = segment_walk_init(&walk, file, err);
    if (code == 0 && walk.file_size / SEGMENT_GROWTH_MAX > LOG_SEGMENT_SIZE_MAX_BYTES) {
        err_set(err, ERR_CORRUPT, "segment %s has %llu bytes, more than any segment", name,
                (unsigned long long)walk.file_size);
        code = scan_bad(scan->result, name, 0, ERR_CORRUPT);
    }
    if (code == 0) {
        struct scan_segment segment = {.name = name, .walk = &walk, .log_id = header.chain.log_id};
        code = scan->visit(scan->context, &segment, scan->result, err);
        bool judged = scan->result->bad_segment[0] != '\0';
        if (!judged && (code == ERR_END || code == ERR_CORRUPT))
            code = judge_rest(scan, name, &walk, header.chain.log_id, last, code, err);
    }
    segment_walk_free(&walk);
    disk_close(file);
    return code;
}

int scan_origin(struct disk *disk, const char *folder, char *ret, struct err *err)
{
    uint64_t *segments = NULL;
    size_t segment_count = 0;
    int code = segment_list(disk, folder, &segments, &segment_count, err);
    if (code != 0)
        return code;
    char name[SEGMENT_NAME_BYTES + 1];
    struct disk_file *file = NULL;
    struct segment_header header;
    segment_name(segments[0], name);
    mem_free(segments);
    code = segment_open(disk, folder, name, 0, &file, &header, err);
    if (code != 0)
        return code;
    disk_close(file);
    copy_string(ret, ENTRY_ORIGIN_MAX_BYTES + 1, header.origin);
    return 0;
}

static int scan_all(struct scan *scan, const struct scan_span *span, struct err *err)
{
    uint64_t *segments = NULL;
    size_t count = 0;
    *scan->result = (struct scan_result){0};
    int code = segment_list(scan->disk, scan->folder, &segments, &count, err);
    if (code != 0)
        return code;
    size_t first = 0;
    while (first + 1 < count && segments[first + 1] <= span->from_index)
        first++;
    size_t end = span->one_segment ? first + 1 : count;
    if (span->one_segment && segments[first] != span->from_index)
        code = err_set(err, ERR_NOT_FOUND, "%s has no segment that starts at entry %llu", scan->folder,
                       (unsigned long long)span->from_index);
    if (first == 0 && !span->one_segment)
        scan->adopting = NULL;
    for (size_t i = first; code == 0 && i < end; i++)
        code = scan_segment(scan, segments[i], i + 1 == end, err);
    mem_free(segments);
    return code;
}

int scan_segments(struct disk *disk, const char *folder, const struct scan_span *span, struct chain *chain,
                  scan_segment_fn *visit, void *context, struct scan_result *ret, struct err *err)
{
    struct scan scan = {.disk = disk,
                        .folder = folder,
                        .chain = chain,
                        .adopting = chain,
                        .visit = visit,
                        .context = context,
                        .result = ret};
    return scan_all(&scan, span, err);
}

int scan_log(struct disk *disk, const char *folder, const struct chain *chain, scan_block_fn *each, void *context,
             struct scan_result *ret, struct err *err)
{
    struct block_scan blocks = {.each = each, .context = context};
    const struct scan_span whole = {0};
    struct scan scan = {
        .disk = disk, .folder = folder, .chain = chain, .visit = scan_blocks, .context = &blocks, .result = ret};
    return scan_all(&scan, &whole, err);
}
