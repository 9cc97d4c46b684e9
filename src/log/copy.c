/* Copying a log (copy.h). A log only grows and sealed segments never change, so a copy up to a size that was durable
 * before the copy began is consistent whatever is written meanwhile. */
#include "log/copy.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/segment.h"

static int refuse_segments(const struct log_copy *copy, struct err *err)
{
    uint64_t *segments = NULL;
    size_t count = 0;
    int code = disk_make_dir(copy->disk, copy->to, err);
    if (code != 0)
        return code;
    code = segment_list(copy->disk, copy->to, &segments, &count, err);
    mem_free(segments);
    if (code == ERR_NOT_FOUND)
        return 0;
    return code == 0 ? err_set(err, ERR_EXISTS, "%s holds a log already; name another folder", copy->to) : code;
}

static int copy_blocks(struct log_copy *copy, struct segment_walk *walk, struct disk_file *out, struct chain *chain,
                       struct err *err)
{
    while (chain->range.size < copy->size) {
        struct block_header header;
        struct bytes bytes;
        uint64_t offset = walk->offset;
        int code = segment_walk_next(walk, chain->log_id, &header, &bytes, err);
        if (code == ERR_END)
            return 0;
        if (code == 0) {
            struct bytes body = bytes_of(bytes.data + BLOCK_HEADER_BYTES, bytes.size_bytes - BLOCK_HEADER_BYTES);
            code = chain_check_block(chain, copy->sha, body, header.entry_count, NULL, NULL, NULL, err);
        }
        if (code != 0)
            return err_wrap(err, code == ERR_MISMATCH ? ERR_CORRUPT : code, "offset %llu, entry %llu",
                            (unsigned long long)offset, (unsigned long long)chain->range.size);
        code = disk_write(out, offset, bytes.data, bytes.size_bytes, err);
        if (code != 0)
            return code;
        copy->bytes += bytes.size_bytes;
    }
    return 0;
}

static int copy_into(struct log_copy *copy, struct disk_file *in, struct disk_file *out,
                     const struct segment_header *header, struct chain *chain, struct err *err)
{
    uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    struct segment_walk walk;
    segment_header_encode(header, page);
    int code = disk_write(out, 0, page, sizeof(page), err);
    if (code != 0)
        return code;
    code = segment_walk_init(&walk, in, err);
    if (code != 0)
        return code;
    code = copy_blocks(copy, &walk, out, chain, err);
    if (code == 0)
        code = disk_truncate(out, walk.offset, err); /* zeros behind the last block, up to where the next would begin */
    segment_walk_free(&walk);
    return code == 0 ? disk_sync(out, err) : code;
}

static int check_header(const struct chain *chain, const struct chain *claimed, struct err *err)
{
    size_t hash_bytes = merkle_range_hash_count(chain->range.size) * HASH_SIZE;
    if (claimed->range.size == chain->range.size && hash_equal(&claimed->prev, &chain->prev) &&
        memcmp(claimed->range.hashes, chain->range.hashes, hash_bytes) == 0)
        return 0;
    return err_set(err, ERR_CORRUPT, "its header does not continue the %llu entries before it",
                   (unsigned long long)chain->range.size);
}

static int copy_segment(struct log_copy *copy, uint64_t segment, struct chain *chain, struct err *err)
{
    char name[SEGMENT_NAME_BYTES + 1];
    char path[DISK_PATH_MAX_BYTES];
    struct segment_header header;
    struct disk_file *in = NULL;
    struct disk_file *out = NULL;
    segment_name(segment, name);
    int code = disk_join(path, copy->to, name, err);
    if (code == 0)
        code = segment_open(copy->disk, copy->from, name, 0, &in, &header, err);
    if (code != 0)
        return code;
    code = segment == 0 ? 0 : check_header(chain, &header.chain, err);
    if (segment == 0)
        *chain = header.chain;
    if (code == 0)
        code = disk_open(copy->disk, path, DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &out, err);
    if (code == 0)
        code = copy_into(copy, in, out, &header, chain, err);
    disk_close(out);
    disk_close(in);
    return code == 0 ? 0 : err_wrap(err, code, "%s/%s", copy->from, name);
}

int log_copy(struct log_copy *copy, struct err *err)
{
    uint64_t *segments = NULL;
    size_t count = 0;
    struct chain chain = {.last_time = 0};
    int code = refuse_segments(copy, err);
    if (code == 0)
        code = segment_list(copy->disk, copy->from, &segments, &count, err);
    for (size_t i = 0; code == 0 && i < count && (i == 0 || segments[i] < copy->size); i++)
        code = copy_segment(copy, segments[i], &chain, err);
    mem_free(segments);
    if (code == 0)
        code = disk_sync_dir(copy->disk, copy->to, err);
    if (code == 0 && chain.range.size != copy->size)
        code = err_set(err, ERR_NOT_FOUND, "%s: %llu entries were to be copied, and %llu are there", copy->from,
                       (unsigned long long)copy->size, (unsigned long long)chain.range.size);
    if (code == 0 && copy->ret_root != NULL)
        *copy->ret_root = merkle_range_root(&chain.range, copy->sha);
    return code;
}
