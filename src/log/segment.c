/* Reading and writing the header page of a segment file, and stepping through its blocks. What is found is untrusted:
 * every length is checked against the file before it is used (FORMAT.md). */
#include "log/segment.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

static const char magic[8] = {'T', 'A', 'L', 'L', 'Y', 'S', 'E', 'G'};

/* Offsets in the header page. */
enum {
    AT_VERSION = 8,
    AT_CRC = 12,
    AT_FIRST_INDEX = 16,
    AT_ALIGNMENT = 24,
    AT_ORIGIN_SIZE = 28,
    AT_PREV = 32,
    AT_LAST_TIME = 64,
    AT_HASH_COUNT = 72,
    AT_ORIGIN = 80,
    AT_HASHES = 336,
    AT_END = AT_HASHES + (int)MERKLE_HEIGHT_MAX * (int)HASH_SIZE,
};
static_assert((int)AT_ORIGIN + (int)ENTRY_ORIGIN_MAX_BYTES < (int)AT_HASHES, "the longest origin fits");
static_assert((int)AT_END <= (int)LOG_SEGMENT_HEADER_BYTES, "the largest header fits its page");

void segment_name(uint64_t first_index, char *out)
{
    snprintf(out, SEGMENT_NAME_BYTES + 1, "%020llu.seg", (unsigned long long)first_index);
}

int segment_parse_name(const char *name, uint64_t *ret_first_index)
{
    char again[SEGMENT_NAME_BYTES + 1];
    uint64_t first_index = 0;
    if (strlen(name) != SEGMENT_NAME_BYTES)
        return ERR_INVALID;
    for (int i = 0; i < 20; i++) {
        if (name[i] < '0' || name[i] > '9')
            return ERR_INVALID;
        first_index = first_index * 10 + (uint64_t)(name[i] - '0');
    }
    segment_name(first_index, again);
    if (strcmp(name, again) != 0 || first_index > LOG_ENTRIES_MAX)
        return ERR_INVALID;
    *ret_first_index = first_index;
    return 0;
}

static uint32_t header_crc(const uint8_t *page)
{
    uint32_t crc = crc32c(0, bytes_of(page, AT_CRC));
    return crc32c(crc, bytes_of(page + AT_CRC + 4, LOG_SEGMENT_HEADER_BYTES - AT_CRC - 4));
}

void segment_header_encode(const struct segment_header *header, uint8_t out[LOG_SEGMENT_HEADER_BYTES])
{
    PRE(header->first_index == header->chain.range.size);
    size_t origin_size = strlen(header->origin);
    size_t hash_count = merkle_range_hash_count(header->chain.range.size);
    memset(out, 0, LOG_SEGMENT_HEADER_BYTES);
    memcpy(out, magic, sizeof(magic));
    put_u32_le(out + AT_VERSION, SEGMENT_VERSION);
    put_u64_le(out + AT_FIRST_INDEX, header->first_index);
    put_u32_le(out + AT_ALIGNMENT, BLOCK_ALIGNMENT_BYTES);
    put_u32_le(out + AT_ORIGIN_SIZE, (uint32_t)origin_size);
    memcpy(out + AT_PREV, header->chain.prev.bytes, HASH_SIZE);
    put_u64_le(out + AT_LAST_TIME, header->chain.last_time);
    put_u32_le(out + AT_HASH_COUNT, (uint32_t)hash_count);
    memcpy(out + AT_ORIGIN, header->origin, origin_size);
    memcpy(out + AT_HASHES, header->chain.range.hashes, hash_count * HASH_SIZE);
    put_u32_le(out + AT_CRC, header_crc(out));
}

int segment_header_parse(const uint8_t in[LOG_SEGMENT_HEADER_BYTES], struct segment_header *ret, struct err *err)
{
    if (memcmp(in, magic, sizeof(magic)) != 0)
        return err_set(err, ERR_CORRUPT, "not a segment: it does not start with TALLYSEG");
    if (get_u32_le(in + AT_CRC) != header_crc(in))
        return err_set(err, ERR_CORRUPT, "the segment header's checksum is wrong");
    if (get_u32_le(in + AT_VERSION) != SEGMENT_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "segment format %u is not known here; upgrade",
                       (unsigned)get_u32_le(in + AT_VERSION));
    struct segment_header header = {.first_index = get_u64_le(in + AT_FIRST_INDEX)};
    uint32_t origin_size = get_u32_le(in + AT_ORIGIN_SIZE);
    uint32_t hash_count = get_u32_le(in + AT_HASH_COUNT);
    if (get_u32_le(in + AT_ALIGNMENT) != BLOCK_ALIGNMENT_BYTES || origin_size > ENTRY_ORIGIN_MAX_BYTES ||
        header.first_index > LOG_ENTRIES_MAX || hash_count != merkle_range_hash_count(header.first_index))
        return err_set(err, ERR_CORRUPT, "the segment header's fields are impossible");
    memcpy(header.origin, in + AT_ORIGIN, origin_size);
    int code = entry_check_origin(bytes_of(header.origin, origin_size), err);
    if (code != 0)
        return err_set(err, ERR_CORRUPT, "the segment header's origin is malformed");
    memcpy(header.chain.prev.bytes, in + AT_PREV, HASH_SIZE);
    header.chain.last_time = get_u64_le(in + AT_LAST_TIME);
    header.chain.range.size = header.first_index;
    memcpy(header.chain.range.hashes, in + AT_HASHES, (size_t)hash_count * HASH_SIZE);
    *ret = header;
    return 0;
}

static int read_header(struct disk_file *file, const char *path, struct segment_header *ret, struct err *err)
{
    uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    size_t size = 0;
    int code = disk_read(file, 0, page, sizeof(page), &size, err);
    if (code == 0 && size == 0)
        code = err_set(err, ERR_CORRUPT, "the file is empty");
    else if (code == 0 && size < sizeof(page))
        code = err_set(err, ERR_CORRUPT, "not a segment: only %zu bytes", size);
    struct sha256 *sha = code == 0 ? sha256_new() : NULL;
    if (code == 0 && sha == NULL)
        code = err_no_memory(err, "a hash context");
    if (code == 0)
        code = segment_header_parse(page, ret, err);
    if (code == 0)
        entry_log_id(sha, bytes_of_string(ret->origin), ret->chain.log_id);
    sha256_free(sha);
    return code == 0 ? 0 : err_wrap(err, code, "segment %s", path);
}

int segment_open(struct disk *disk, const char *folder, const char *name, unsigned flags, struct disk_file **ret_file,
                 struct segment_header *ret_header, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct disk_file *file = NULL;
    int code = disk_join(path, folder, name, err);
    if (code == 0)
        code = disk_open(disk, path, DISK_READ | flags, &file, err);
    if (code != 0)
        return code;
    uint64_t named = 0;
    code = read_header(file, path, ret_header, err);
    if (code == 0 && (segment_parse_name(name, &named) != 0 || named != ret_header->first_index))
        code = err_set(err, ERR_CORRUPT, "segment %s says that it starts at entry %llu: it was renamed", path,
                       (unsigned long long)ret_header->first_index);
    if (code != 0) {
        disk_close(file);
        return code;
    }
    *ret_file = file;
    return 0;
}

struct listing {
    uint64_t *first_indexes;
    size_t count;
    size_t capacity;
    struct err *err;
};

static int list_one(void *context, const char *name, bool is_dir)
{
    struct listing *listing = context;
    size_t size = strlen(name);
    if (is_dir || size < 4 || strcmp(name + size - 4, ".seg") != 0)
        return 0;
    uint64_t first_index = 0;
    if (segment_parse_name(name, &first_index) != 0)
        return err_set(listing->err, ERR_CORRUPT, "%.60s is not a segment's name", name);
    if (listing->count == SEGMENTS_MAX)
        return err_set(listing->err, ERR_TOO_LARGE, "more than %d segments", SEGMENTS_MAX);
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 16 : 2 * listing->capacity;
        uint64_t *grown = mem_resize(listing->first_indexes, capacity * sizeof(*grown));
        if (grown == NULL)
            return err_no_memory(listing->err, "the list of segments");
        listing->first_indexes = grown;
        listing->capacity = capacity;
    }
    listing->first_indexes[listing->count++] = first_index;
    return 0;
}

int segment_list(struct disk *disk, const char *folder, uint64_t **ret, size_t *ret_count, struct err *err)
{
    struct listing listing = {.err = err};
    int code = disk_list(disk, folder, list_one, &listing, err);
    if (code == 0 && listing.count == 0)
        code = err_set(err, ERR_NOT_FOUND, "no segments in %s", folder);
    if (code != 0) {
        mem_free(listing.first_indexes);
        return code;
    }
    *ret = listing.first_indexes; /* names of equal length in name order are numbers in order */
    *ret_count = listing.count;
    return 0;
}

int segment_walk_init(struct segment_walk *walk, struct disk_file *file, struct err *err)
{
    *walk = (struct segment_walk){.file = file, .offset = LOG_SEGMENT_HEADER_BYTES, .tries_max = UINT64_MAX};
    buf_init(&walk->scratch, BLOCK_HEADER_BYTES + BLOCK_BODY_MAX_BYTES);
    return disk_size(file, &walk->file_size, err);
}

void segment_walk_free(struct segment_walk *walk)
{
    buf_free(&walk->scratch);
}

/* Reads the header at the walk's offset and checks shape and that the block lies inside the file. */
static int peek_header(struct segment_walk *walk, struct block_header *ret, struct err *err)
{
    uint8_t header[BLOCK_HEADER_BYTES];
    size_t size = 0;
    if (walk->offset >= walk->file_size)
        return ERR_END;
    int code = disk_read(walk->file, walk->offset, header, sizeof(header), &size, err);
    if (code != 0)
        return code;
    if (size < sizeof(header))
        return err_set(err, ERR_CORRUPT, "the file ends inside a block's header");
    code = block_parse_header(header, ret, err);
    if (code == 0 && (uint64_t)BLOCK_HEADER_BYTES + ret->body_size_bytes > walk->file_size - walk->offset)
        return err_set(err, ERR_CORRUPT, "the block reaches past the end of the file");
    return code;
}

int segment_walk_header(struct segment_walk *walk, struct block_header *ret_header, struct err *err)
{
    int code = peek_header(walk, ret_header, err);
    if (code == 0)
        walk->offset += segment_block_span(ret_header->body_size_bytes);
    return code;
}

int segment_walk_next(struct segment_walk *walk, const uint8_t log_id[ENTRY_LOG_ID_SIZE],
                      struct block_header *ret_header, struct bytes *ret_bytes, struct err *err)
{
    struct block_header header;
    int code = peek_header(walk, &header, err);
    if (code != 0)
        return code;
    size_t wanted = (size_t)BLOCK_HEADER_BYTES + header.body_size_bytes;
    size_t size = 0;
    buf_clear(&walk->scratch);
    if (buf_reserve(&walk->scratch, wanted) != 0)
        return err_no_memory(err, "a block");
    code = disk_read(walk->file, walk->offset, walk->scratch.data, wanted, &size, err);
    if (code != 0)
        return code;
    code = block_check(bytes_of(walk->scratch.data, size), &header, err);
    if (code == 0 && memcmp(header.log_id, log_id, ENTRY_LOG_ID_SIZE) != 0)
        code = err_set(err, ERR_MISMATCH, "the block belongs to another log");
    if (code != 0)
        return code;
    walk->offset += segment_block_span(header.body_size_bytes);
    *ret_header = header;
    *ret_bytes = bytes_of(walk->scratch.data, size);
    return 0;
}

int segment_walk_block(struct segment_walk *walk, const uint8_t log_id[ENTRY_LOG_ID_SIZE], struct block **ret,
                       struct err *err)
{
    struct block_header header;
    struct block *block = NULL;
    int code = peek_header(walk, &header, err);
    if (code == 0)
        code = block_blank((size_t)BLOCK_HEADER_BYTES + header.body_size_bytes, &block, err);
    if (code != 0)
        return code;
    size_t size = 0;
    code = disk_read(walk->file, walk->offset, block->data, block->size_bytes, &size, err);
    if (code == 0 && size < block->size_bytes)
        code = err_set(err, ERR_CORRUPT, "the file ends inside a block");
    if (code == 0)
        code = block_admit(block, &header, err);
    if (code == 0 && memcmp(header.log_id, log_id, ENTRY_LOG_ID_SIZE) != 0)
        code = err_set(err, ERR_MISMATCH, "the block belongs to another log");
    if (code != 0) {
        block_release(block);
        return code;
    }
    walk->offset += segment_block_span(header.body_size_bytes);
    *ret = block;
    return 0;
}

static bool all_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

struct search {
    const uint8_t *log_id;
    uint64_t first_index;
    enum segment_search which;
    uint64_t stopped_at; /* offset of what stopped the walk */
    uint64_t tries;      /* blocks that were read */
};

/* Looks at one place where a block may start, other than the one that was refused. */
static int search_at(struct segment_walk *walk, struct search *search, uint64_t at, bool *ret_found, struct err *err)
{
    struct block_header header;
    struct bytes bytes;
    walk->offset = at;
    if (peek_header(walk, &header, NULL) == 0 && memcmp(header.log_id, search->log_id, ENTRY_LOG_ID_SIZE) == 0 &&
        ++search->tries > walk->tries_max)
        return err_set(err, ERR_CORRUPT, "more than %llu places after it look like blocks and are none",
                       (unsigned long long)walk->tries_max);
    int checked = segment_walk_next(walk, search->log_id, &header, &bytes, NULL);
    *ret_found =
        checked == 0 && header.first_index >= search->first_index &&
        (search->which == SEARCH_ANY || at - search->stopped_at > (uint64_t)header.pages_back * BLOCK_ALIGNMENT_BYTES);
    if (checked == ERR_IO || checked == ERR_NO_MEMORY)
        return err_set(err, checked, "cannot search the rest of the segment");
    return 0;
}

/* The rest is mostly zeros that were reserved ahead: it is read in large pieces. */
enum { SEARCH_BYTES = 16 * BLOCK_ALIGNMENT_BYTES };

int segment_walk_search(struct segment_walk *walk, const uint8_t log_id[ENTRY_LOG_ID_SIZE], uint64_t first_index,
                        enum segment_search which, bool *ret_found, uint64_t *ret_offset, bool *ret_dirty,
                        struct err *err)
{
    uint8_t piece[SEARCH_BYTES];
    uint64_t start = walk->offset;
    struct search search = {log_id, first_index, which, start, 0};
    bool dirty = false;
    bool found = false;
    int code = 0;
    for (uint64_t at = start; code == 0 && !found && at < walk->file_size; at += SEARCH_BYTES) {
        size_t size = 0;
        code = disk_read(walk->file, at, piece, sizeof(piece), &size, err);
        for (size_t page = 0; code == 0 && !found && page < size; page += BLOCK_ALIGNMENT_BYTES) {
            size_t left = size - page;
            if (all_zero(piece + page, left < BLOCK_ALIGNMENT_BYTES ? left : BLOCK_ALIGNMENT_BYTES))
                continue;
            dirty = true;
            if (at + page == start)
                continue;
            *ret_offset = at + page;
            code = search_at(walk, &search, at + page, &found, err);
        }
    }
    walk->offset = start;
    *ret_found = found;
    *ret_dirty = dirty;
    return code;
}
