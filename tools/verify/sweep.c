/* The pass (sweep.h).
 *
 * For each segment the owner hops from block header to block header and hands runs of whole blocks to the workers, by
 * place, not by contents: a worker reads its run in one piece and repeats nothing. Results are taken in the order of
 * the log. A result is good when the worker found nothing and its first entry follows the last entry of the run before.
 * For a run that is not good, the owner goes through the same bytes again, block by block and with the plain rules of
 * chain_check_block: that finds the first block and entry at fault and what to say, exactly as one thread would. What
 * later jobs found does not count then.
 *
 * Invariants:
 *  1. sweep->whole stands after the runs taken so far: whole.chain.range.size == scan.size.
 *  2. All jobs are taken back before a segment is closed. */
#include "verify/sweep.h"

#include "base/assert.h"
#include "base/mem.h"
#include "log/segment.h"
#include "verify/pool.h"

enum {
    RUN_TARGET_BYTES = 512 * 1024, /* large enough that threads rarely meet, small enough for a processor's cache */
    RUN_BUFFER_STEP_BYTES = 2 * RUN_TARGET_BYTES,
    RUN_BLOCKS_MAX = 256,
};

struct run_block {
    uint64_t offset;
    struct block_header header;
};

struct run {
    struct sweep *sweep; /* only what does not change is read by workers */
    struct sha256 *const *shas;
    const uint8_t *log_id;

    struct disk_file *file;
    uint64_t offset;
    size_t size_bytes; /* with padding */
    size_t block_count;
    struct run_block blocks[RUN_BLOCKS_MAX];

    /* The worker's. */
    uint8_t *bytes;
    size_t capacity_bytes;
    size_t read_bytes;
    struct stretch stretch;
    int code;        /* 0: good by itself */
    bool unreadable; /* err says why */
    struct err err;
};

struct crew {
    struct sweep *sweep;
    struct pool *pool;
    struct sha256 *sha; /* the owner's */
    size_t worker_count;
    struct sha256 *shas[POOL_WORKERS_MAX];
    struct run *runs[POOL_JOBS_MAX];
    const char *segment;
};

/* --- In the workers --- */

static bool all_zeros(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* The block's bytes in the run, after every check that needs no other block. */
static int open_block(const struct run *run, size_t at, struct bytes *ret_body, struct err *err)
{
    const struct run_block *block = &run->blocks[at];
    size_t start = (size_t)(block->offset - run->offset);
    size_t size = BLOCK_HEADER_BYTES + (size_t)block->header.body_size_bytes;
    size_t end = at + 1 < run->block_count ? (size_t)(run->blocks[at + 1].offset - run->offset) : run->size_bytes;
    struct block_header header;
    if (run->read_bytes < start + size)
        return err_set(err, ERR_CORRUPT, "the file became shorter while it was being read");
    int code = block_check(bytes_of(run->bytes + start, size), &header, err);
    if (code != 0)
        return code;
    if (header.first_index != block->header.first_index || header.entry_count != block->header.entry_count)
        return err_set(err, ERR_CORRUPT, "the block changed while it was being read");
    if (memcmp(header.log_id, run->log_id, ENTRY_LOG_ID_SIZE) != 0)
        return err_set(err, ERR_MISMATCH, "the block belongs to another log");
    if (end > run->read_bytes)
        end = run->read_bytes;
    if (!all_zeros(run->bytes + start + size, end - start - size))
        return err_set(err, ERR_MISMATCH, "the padding after the block is not zeros");
    *ret_body = bytes_of(run->bytes + start + BLOCK_HEADER_BYTES, size - BLOCK_HEADER_BYTES);
    return 0;
}

static int read_run(struct run *run)
{
    if (run->capacity_bytes < run->size_bytes) {
        /* In large steps, so that the buffers are soon as large as they will ever be. */
        size_t capacity = (run->size_bytes + RUN_BUFFER_STEP_BYTES - 1) / RUN_BUFFER_STEP_BYTES * RUN_BUFFER_STEP_BYTES;
        mem_free(run->bytes);
        run->bytes = mem_alloc(capacity);
        run->capacity_bytes = run->bytes == NULL ? 0 : capacity;
    }
    if (run->bytes == NULL)
        return err_no_memory(&run->err, "a run of blocks");
    return disk_read(run->file, run->offset, run->bytes, run->size_bytes, &run->read_bytes, &run->err);
}

/* Everything about the bytes that were read. */
static int check_run(struct run *run, struct sha256 *sha)
{
    int code = 0;
    stretch_begin(&run->stretch, &run->sweep->whole, sha, run->blocks[0].header.first_index, run->log_id);
    for (size_t i = 0; code == 0 && i < run->block_count; i++) {
        const struct block_header *header = &run->blocks[i].header;
        struct bytes body;
        code = open_block(run, i, &body, &run->err);
        if (code == 0 && run->stretch.tip.index != header->first_index)
            code = ERR_CORRUPT;
        if (code == 0)
            code = stretch_check(&run->stretch, body, header->entry_count, &run->err);
    }
    return code;
}

static void work(void *job, size_t worker)
{
    struct run *run = job;
    run->code = read_run(run);
    run->unreadable = run->code != 0;
    if (run->code == 0)
        run->code = check_run(run, run->shas[worker]);
}

/* --- In the owner's thread --- */

static int take_good_run(struct crew *crew, const struct run *run, struct err *err)
{
    struct sweep *sweep = crew->sweep;
    struct scan_result *scan = &sweep->scan;
    int code = whole_take(&sweep->whole, crew->sha, &run->stretch, err);
    if (code != 0)
        return code;
    uint64_t entries = sweep->whole.chain.range.size - scan->size;
    scan->size += entries;
    scan->block_count += run->block_count;
    scan->bytes += run->size_bytes;
    if (sweep->progress != NULL)
        progress_add(sweep->progress, entries, run->size_bytes);
    return 0;
}

/* The first block of the run that is not good, by the plain rules, with what is wrong in *err; ERR_CORRUPT for bytes
 * that are no whole block, ERR_MISMATCH for a whole block that is wrong. */
static int find_bad_block(struct crew *crew, const struct run *run, size_t *ret_at, struct err *err)
{
    struct chain chain = crew->sweep->whole.chain;
    for (size_t i = 0; i < run->block_count; i++) {
        const struct block_header *header = &run->blocks[i].header;
        struct bytes body;
        *ret_at = i;
        int code = open_block(run, i, &body, err);
        if (code != 0)
            return code;
        if (header->first_index != chain.range.size)
            return err_set(err, ERR_MISMATCH, "the block starts at entry %llu, but %llu was expected",
                           (unsigned long long)header->first_index, (unsigned long long)chain.range.size);
        code = chain_check_block(&chain, crew->sha, body, header->entry_count, NULL, NULL, NULL, err);
        if (code != 0) {
            crew->sweep->entry_refused = true;
            return ERR_MISMATCH;
        }
    }
    return err_set(err, ERR_IO, "%s/%s changed while it was being read: try again", crew->sweep->folder, crew->segment);
}

/* A run that is not good: what stands before the bad block counts. */
static int take_bad_run(struct crew *crew, struct run *run, struct segment_walk *walk, struct err *err)
{
    size_t at = 0;
    int bad = find_bad_block(crew, run, &at, err);
    uint64_t offset = run->blocks[at].offset;
    if (bad != ERR_CORRUPT && bad != ERR_MISMATCH)
        return bad;
    if (at > 0) {
        run->block_count = at;
        run->size_bytes = (size_t)(offset - run->offset);
        int code = check_run(run, crew->sha);
        INVARIANT(code == 0 || code == ERR_NO_MEMORY);
        code = code == 0 ? take_good_run(crew, run, err) : err_no_memory(err, "the entries of a run");
        if (code != 0)
            return code;
    }
    walk->offset = offset;
    return bad == ERR_CORRUPT ? bad : scan_bad(&crew->sweep->scan, crew->segment, offset, ERR_CORRUPT);
}

static int take_run(struct crew *crew, struct run *run, struct segment_walk *walk, struct err *err)
{
    if (run->unreadable)
        return err_set(err, run->code, "%s", run->err.message);
    if (run->code == ERR_NO_MEMORY)
        return err_no_memory(err, "the entries of a run");
    if (run->code != 0 || !whole_is_followed_by(&crew->sweep->whole, &run->stretch))
        return take_bad_run(crew, run, walk, err);
    int code = take_good_run(crew, run, err);
    return code == 0 && crew->sweep->scan.size >= crew->sweep->end_index ? ERR_CANCELLED : code;
}

/* Takes back the oldest run; false when there is none. The first failure is kept, and what comes after it does not
 * count. */
static bool take_oldest(struct crew *crew, struct segment_walk *walk, int *code, struct err *err)
{
    struct run *run = pool_oldest(crew->pool);
    if (run == NULL)
        return false;
    if (*code == 0)
        *code = take_run(crew, run, walk, err);
    pool_take_back(crew->pool);
    return true;
}

/* Adds the blocks that come next, as far as their headers can be read. Returns what stopped the walk, or 0 when the run
 * is full. */
static int gather(struct run *run, const struct scan_segment *segment, struct err *err)
{
    struct segment_walk *walk = segment->walk;
    run->file = walk->file;
    run->log_id = segment->log_id;
    run->offset = walk->offset;
    run->block_count = 0;
    int code = 0;
    while (run->block_count < RUN_BLOCKS_MAX && walk->offset - run->offset < RUN_TARGET_BYTES) {
        struct run_block *block = &run->blocks[run->block_count];
        block->offset = walk->offset;
        code = segment_walk_header(walk, &block->header, err);
        if (code != 0)
            break;
        run->block_count++;
    }
    uint64_t end = walk->offset < walk->file_size ? walk->offset : walk->file_size;
    run->size_bytes = (size_t)(end - run->offset);
    return code;
}

/* Reads one segment on all processors. What stopped the hopping counts only when nothing before it was wrong. */
static int visit(void *context, const struct scan_segment *segment, struct scan_result *result, struct err *err)
{
    struct crew *crew = context;
    struct segment_walk *walk = segment->walk;
    struct err end_err = {0};
    int code = 0;
    int end = 0;
    INVARIANT(result == &crew->sweep->scan);
    crew->segment = segment->name;
    whole_mark_cuts(&crew->sweep->whole, crew->sha);
    while (code == 0 && end == 0) {
        struct run *run = pool_free_job(crew->pool);
        if (run == NULL) {
            take_oldest(crew, walk, &code, err);
            continue;
        }
        end = gather(run, segment, &end_err);
        if (run->block_count > 0)
            pool_submit(crew->pool);
    }
    while (take_oldest(crew, walk, &code, err)) {
    }
    if (code != 0)
        return code;
    return end == ERR_END ? ERR_END : err_set(err, end, "%s", end_err.message);
}

static void dismiss(struct crew *crew)
{
    pool_free(crew->pool);
    for (size_t i = 0; i < pool_job_count(crew->worker_count); i++) {
        struct run *run = crew->runs[i];
        if (run == NULL)
            continue;
        stretch_free(&run->stretch);
        mem_free(run->bytes);
        mem_free(run);
    }
    for (size_t i = 0; i < crew->worker_count; i++)
        sha256_free(crew->shas[i]);
    sha256_free(crew->sha);
    mem_free(crew);
}

static int hire(struct sweep *sweep, struct crew **ret, struct err *err)
{
    struct crew *crew = mem_alloc_zero(1, sizeof(*crew));
    if (crew == NULL)
        return err_no_memory(err, "the workers");
    crew->sweep = sweep;
    crew->worker_count = pool_worker_count();
    crew->sha = sha256_new();
    bool whole = crew->sha != NULL;
    for (size_t i = 0; whole && i < crew->worker_count; i++) {
        crew->shas[i] = sha256_new();
        whole = crew->shas[i] != NULL;
    }
    for (size_t i = 0; whole && i < pool_job_count(crew->worker_count); i++) {
        crew->runs[i] = mem_alloc_zero(1, sizeof(*crew->runs[i]));
        whole = crew->runs[i] != NULL;
        if (whole) {
            crew->runs[i]->sweep = sweep;
            crew->runs[i]->shas = crew->shas;
        }
    }
    int code = whole ? pool_new(crew->worker_count, (void *const *)crew->runs, work, &crew->pool, err)
                     : err_no_memory(err, "the workers");
    if (code != 0) {
        dismiss(crew);
        return code;
    }
    *ret = crew;
    return 0;
}

int sweep_run(struct sweep *sweep, struct err *err)
{
    struct crew *crew = NULL;
    PRE(sweep->whole.node_height_max <= NODE_HEIGHT_MAX);
    int code = hire(sweep, &crew, err);
    if (code != 0)
        return code;
    if (sweep->span.from_index == 0)
        whole_mark_cuts(&sweep->whole, crew->sha);
    code = scan_segments(sweep->disk, sweep->folder, &sweep->span, &sweep->whole.chain, visit, crew, &sweep->scan, err);
    dismiss(crew);
    return code == ERR_CANCELLED ? ERR_END : code;
}
