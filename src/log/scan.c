/* Walking the files of a log that nobody has open, trusting nothing (scan.h). */
#include "log/scan.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/segment.h"

struct scan {
    struct disk *disk;
    const char *folder;
    const struct chain *chain;
    scan_block_fn *each;
    void *context;
    struct scan_result *result;
};

static int bad(struct scan *scan, const char *segment, uint64_t offset, int code)
{
    snprintf(scan->result->bad_segment, sizeof(scan->result->bad_segment), "%s", segment);
    scan->result->bad_offset = offset;
    scan->result->bad_index = scan->result->size;
    return code;
}

static int check_segment_start(struct scan *scan, const char *name, const struct segment_header *header,
                               struct err *err)
{
    struct scan_result *result = scan->result;
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

static int scan_blocks(struct scan *scan, const char *name, struct segment_walk *walk, const uint8_t *log_id,
                       struct err *err)
{
    for (;;) {
        struct scan_block found = {.segment = name, .offset = walk->offset};
        struct bytes bytes;
        int code = segment_walk_next(walk, log_id, &found.header, &bytes, err);
        if (code == ERR_MISMATCH)
            return bad(scan, name, found.offset, ERR_CORRUPT);
        if (code != 0)
            return code;
        if (found.header.first_index != scan->result->size)
            code = err_set(err, ERR_CORRUPT, "the block starts at entry %llu, but %llu was expected",
                           (unsigned long long)found.header.first_index, (unsigned long long)scan->result->size);
        else
            code = check_padding(walk, found.offset + bytes.size_bytes, err);
        if (code != 0)
            return code == ERR_CORRUPT ? bad(scan, name, found.offset, code) : code;
        found.body = bytes_of(bytes.data + BLOCK_HEADER_BYTES, bytes.size_bytes - BLOCK_HEADER_BYTES);
        code = scan->each == NULL ? 0 : scan->each(scan->context, &found, err);
        if (code != 0)
            return bad(scan, name, found.offset, code);
        scan->result->size += found.header.entry_count;
        scan->result->block_count++;
        scan->result->bytes += bytes.size_bytes;
    }
}

/* What stopped scan_blocks was no whole block: in the last segment that may be a torn tail; in the others only zeros
 * may follow. (A whole block in the wrong place never comes here: no crash leaves one behind.) */
static int judge_rest(struct scan *scan, const char *name, struct segment_walk *walk, const uint8_t *log_id, bool last,
                      int stopped, struct err *err)
{
    bool found = false;
    bool dirty = false;
    uint64_t offset = 0;
    int code = segment_walk_search(walk, log_id, scan->result->size, &found, &offset, &dirty, err);
    if (code != 0)
        return code;
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
    return bad(scan, name, walk->offset, ERR_CORRUPT);
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
        return code == ERR_CORRUPT ? bad(scan, name, 0, code) : code;
    }
    scan->result->segment_count++;
    code = segment_walk_init(&walk, file, err);
    if (code == 0) {
        code = scan_blocks(scan, name, &walk, header.chain.log_id, err);
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

int scan_log(struct disk *disk, const char *folder, const struct chain *chain, scan_block_fn *each, void *context,
             struct scan_result *ret, struct err *err)
{
    struct scan scan = {
        .disk = disk, .folder = folder, .chain = chain, .each = each, .context = context, .result = ret};
    *ret = (struct scan_result){0};
    uint64_t *segments = NULL;
    size_t segment_count = 0;
    int code = segment_list(disk, folder, &segments, &segment_count, err);
    for (size_t i = 0; code == 0 && i < segment_count; i++)
        code = scan_segment(&scan, segments[i], i + 1 == segment_count, err);
    mem_free(segments);
    return code;
}
