/* The audit of files (residency.h): every one below DIR, whatever its name, so that what nobody thought of is looked
 * at.
 *
 * Files of the index and of projections are not made of blocks: of them only texts are looked for. All others are
 * searched for whole blocks; of a log's segments the part that belongs to the log is left out, for the walk over the
 * log has seen it. A region that runs meanwhile may take files away; what is gone when its turn comes was not kept. */
#include <stdio.h>

#include "base/mem.h"
#include "log/segment.h"
#include "projection/projection.h"
#include "residency.h"

enum { CHUNK_BYTES = 1024 * 1024 };

/* --- Texts --- */

static bool finds(struct bytes where, const char *text, uint64_t *ret_offset)
{
    size_t size = strlen(text);
    const uint8_t *found = where.size_bytes < size ? NULL : memmem(where.data, where.size_bytes, text, size);
    if (found != NULL)
        *ret_offset = (uint64_t)(found - where.data);
    return found != NULL;
}

static void add_text(struct residency_audit *audit, const char *where, const char *path, uint64_t offset, size_t text)
{
    struct residency_violation *violation = residency_add(audit, where);
    copy_string(violation->path, sizeof(violation->path), path);
    violation->offset = offset;
    violation->text = text;
}

/* The first place of each text in one file. Chunks overlap by as much as a text may have, so none is cut. */
static int search_file(struct residency_audit *audit, const char *path, struct disk_file *file, struct err *err)
{
    uint8_t *chunk = mem_alloc(CHUNK_BYTES + RESIDENCY_TEXT_MAX_BYTES);
    if (chunk == NULL)
        return err_no_memory(err, "a file to search");
    uint64_t found = 0; /* a bit each */
    uint64_t offset = 0;
    size_t size = 0;
    int code = 0;
    do {
        code = disk_read(file, offset, chunk, CHUNK_BYTES + RESIDENCY_TEXT_MAX_BYTES, &size, err);
        for (size_t i = 0; code == 0 && i < audit->text_count; i++) {
            uint64_t at = 0;
            if ((found >> i & 1) != 0 || !finds(bytes_of(chunk, size), audit->texts[i], &at))
                continue;
            add_text(audit, "file", path, offset + at, i);
            found |= UINT64_C(1) << i;
        }
        offset += CHUNK_BYTES;
    } while (code == 0 && size == CHUNK_BYTES + RESIDENCY_TEXT_MAX_BYTES);
    audit->file_count += code == 0;
    mem_free(chunk);
    return code;
}

struct searching {
    struct residency_audit *audit;
    const char *path;
};

static void search_bytes(const struct searching *searching, const char *where, struct bytes bytes)
{
    for (size_t i = 0; i < searching->audit->text_count; i++) {
        uint64_t at = 0;
        if (finds(bytes, searching->audit->texts[i], &at))
            add_text(searching->audit, where, searching->path, at, i);
    }
}

static int search_record(void *context, struct bytes key, struct bytes value, struct err *err)
{
    const struct searching *searching = context;
    (void)err;
    search_bytes(searching, "record", key);
    search_bytes(searching, "record", value);
    searching->audit->record_count++;
    return 0;
}

static int search_index(struct residency_audit *audit, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    struct searching searching = {.audit = audit, .path = path};
    int code = disk_join(path, audit->data, "index", err);
    return code == 0 ? index_records(audit->index, search_record, &searching, err) : code;
}

static int search_value(void *context, const char *table, struct bytes value, struct err *err)
{
    const struct searching *searching = context;
    (void)table;
    (void)err;
    search_bytes(searching, "row", value);
    searching->audit->value_count++;
    return 0;
}

static bool is_sqlite(struct disk_file *file)
{
    static const char magic[16] = "SQLite format 3"; /* with its NUL */
    char start[sizeof(magic)];
    size_t size = 0;
    return disk_read(file, 0, start, sizeof(start), &size, NULL) == 0 && size == sizeof(start) &&
           memcmp(start, magic, sizeof(magic)) == 0;
}

/* --- Blocks --- */

/* To the end of the file: every whole block, wherever one may start. */
static int see_blocks(struct residency_audit *audit, const char *path, struct segment_walk *walk, struct err *err)
{
    int code = 0;
    while (code == 0 && walk->offset < walk->file_size) {
        uint64_t offset = walk->offset;
        struct block_header header;
        struct bytes block;
        code = segment_walk_header(walk, &header, err);
        walk->offset = offset;
        if (code == 0)
            code = segment_walk_next(walk, header.log_id, &header, &block, err);
        if (code == 0)
            residency_see_block(audit, path, offset,
                                bytes_of(block.data + BLOCK_HEADER_BYTES, block.size_bytes - BLOCK_HEADER_BYTES));
        else if (code == ERR_END || code == ERR_CORRUPT)
            walk->offset = offset + BLOCK_ALIGNMENT_BYTES;
        code = code == ERR_END || code == ERR_CORRUPT ? 0 : code;
    }
    return code;
}

/* What belongs to the log: blocks that follow each other from the first page on. */
static int pass_segment(struct segment_walk *walk, struct err *err)
{
    struct block_header header;
    struct bytes block;
    uint64_t first = walk->offset;
    int code = segment_walk_header(walk, &header, err);
    walk->offset = first;
    while (code == 0)
        code = segment_walk_next(walk, header.log_id, &header, &block, err);
    return code == ERR_END || code == ERR_CORRUPT || code == ERR_MISMATCH ? 0 : code;
}

static int see_loose(struct residency_audit *audit, const char *path, struct disk_file *file, bool segment,
                     struct err *err)
{
    struct segment_walk walk;
    int code = segment_walk_init(&walk, file, err);
    if (code != 0)
        return code;
    walk.offset = 0;
    if (segment) {
        walk.offset = LOG_SEGMENT_HEADER_BYTES;
        code = pass_segment(&walk, err);
    } else {
        audit->loose_count++;
    }
    if (code == 0)
        code = see_blocks(audit, path, &walk, err);
    segment_walk_free(&walk);
    return code;
}

/* --- The walk --- */

enum place { PLACE_TOP, PLACE_LOGS, PLACE_LOG, PLACE_INDEX, PLACE_PROJECTIONS, PLACE_ELSEWHERE };

struct folder {
    struct residency_audit *audit;
    const char *path;
    enum place place;
    int depth;
    struct err *err;
};

static enum place place_of(const struct folder *parent, const char *name)
{
    switch (parent->place) {
    case PLACE_TOP:
        return strcmp(name, "logs") == 0          ? PLACE_LOGS
               : strcmp(name, "index") == 0       ? PLACE_INDEX
               : strcmp(name, "projections") == 0 ? PLACE_PROJECTIONS
                                                  : PLACE_ELSEWHERE;
    case PLACE_LOGS:
        return PLACE_LOG;
    case PLACE_INDEX:
    case PLACE_PROJECTIONS:
        return parent->place;
    default:
        return PLACE_ELSEWHERE;
    }
}

static int see_file(const struct folder *folder, const char *path, const char *name, struct err *err)
{
    struct residency_audit *audit = folder->audit;
    struct searching searching = {.audit = audit, .path = path};
    struct disk_file *file = NULL;
    uint64_t first = 0;
    int code = disk_open(disk_posix(), path, DISK_READ, &file, err);
    if (code == ERR_NOT_FOUND)
        return 0;
    if (code == 0 && folder->place != PLACE_INDEX && folder->place != PLACE_PROJECTIONS)
        code = see_loose(audit, path, file, folder->place == PLACE_LOG && segment_parse_name(name, &first) == 0, err);
    if (code == 0 && audit->text_count > 0) {
        bool sqlite = is_sqlite(file);
        code = search_file(audit, path, file, err);
        if (code == 0 && sqlite)
            code = projection_file_values(path, search_value, &searching, err);
    }
    disk_close(file);
    return code;
}

static int see_name(void *context, const char *name, bool is_dir)
{
    const struct folder *folder = context;
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, folder->path, name, folder->err);
    if (code != 0 || !is_dir)
        return code == 0 ? see_file(folder, path, name, folder->err) : code;
    struct folder below = {.audit = folder->audit,
                           .path = path,
                           .place = place_of(folder, name),
                           .depth = folder->depth + 1,
                           .err = folder->err};
    if (below.depth > RESIDENCY_DEPTH_MAX)
        return err_set(folder->err, ERR_TOO_LARGE, "%s is more than %d folders deep: no region makes such a one", path,
                       RESIDENCY_DEPTH_MAX);
    code = disk_list(disk_posix(), path, see_name, &below, folder->err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

int residency_audit_files(struct residency_audit *audit, struct err *err)
{
    struct folder top = {.audit = audit, .path = audit->data, .place = PLACE_TOP, .err = err};
    int code = disk_list(disk_posix(), audit->data, see_name, &top, err);
    if (code == 0 && audit->index != NULL && audit->text_count > 0)
        code = search_index(audit, err);
    return code;
}
