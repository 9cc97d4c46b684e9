/* Trees of copies (copy.h). A folder answers from the picture that its verification left behind (sampler.h), and reads
 * the stretch in question again for what is finer than that. */
#include "verify/copy.h"

#include "base/assert.h"
#include "base/mem.h"
#include "log/segment.h"

/* Whether the folder is in the layout of tlog-tiles. */
static bool is_tlog(const struct demands *demands, const char *path)
{
    char name[DISK_PATH_MAX_BYTES];
    uint32_t mode = 0;
    return disk_join(name, path, "tile", NULL) == 0 && disk_mode(demands->disk, name, &mode, NULL) == 0;
}

/* The tree at the size that was seen before must be the first part of the signed one. Whoever serves tiles also chooses
 * which are missing: what cannot be compared is said, and never counts as compared. */
static void judge_history(struct copy *copy)
{
    struct log_report *report = &copy->report;
    const struct state_log *seen = history_find(copy->demands, report->origin);
    struct cut cut = {0};
    struct err reason = {0};
    if (seen != NULL && seen->range.size <= copy->size) {
        cut.size = seen->range.size;
        int code = copy->usable ? copy_root_at(copy, cut.size, &cut.root, &reason)
                                : err_set(&reason, ERR_IO, "they do not lead to the signed root");
        if (code != 0)
            report_finding(report, AREA_HISTORY, code == ERR_CORRUPT ? VERDICT_VIOLATION : VERDICT_INCOMPLETE, NULL,
                           "the tree at size %llu, which was verified before, cannot be made from the tiles: %s",
                           (unsigned long long)cut.size, reason.message);
        cut.reached = code == 0;
    }
    history_judge(copy->demands, cut.reached ? &cut : NULL, report);
}

/* The tiles must lead to the signed root, now and at the size that was seen before. */
static int open_tiles(struct copy *copy, struct err *err)
{
    struct log_report *report = &copy->report;
    struct note_report *note = &report->notes[NOTE_CHECKPOINT];
    struct hash root;
    struct err reason = {0};
    copy->size = report->size = note->checkpoint.size;
    report->root = note->checkpoint.root;
    report->tiles_only = true;
    int code = tile_source_open(copy->demands->disk, report->path, copy->size, &copy->tiles, err);
    if (code != 0)
        return code;
    code = merkle_root_at(copy->sha, copy->size, tile_source_read_hash, copy->tiles, &root, &reason);
    if (code != 0) {
        report_finding(report, code == ERR_CORRUPT ? AREA_INTEGRITY : AREA_COMPLETENESS,
                       code == ERR_CORRUPT ? VERDICT_VIOLATION : VERDICT_INCOMPLETE, NULL, "%s", reason.message);
        judge_history(copy);
        return 0;
    }
    note->root_compared = true;
    note->root_matches = hash_equal(&root, &note->checkpoint.root);
    copy->usable = note->root_matches;
    const struct place place = {.has_hashes = true, .expected = note->checkpoint.root, .found = root};
    if (!note->root_matches)
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place, "the tiles do not lead to the signed root");
    judge_history(copy);
    notes_judge_policy(copy->demands, report);
    return 0;
}

int copy_open(const struct demands *demands, const char *path, struct copy *copy, struct err *err)
{
    copy->demands = demands;
    copy->sha = sha256_new();
    if (copy->sha == NULL)
        return err_no_memory(err, "a copy of a log");
    if (!fetch_is_url(path) && !is_tlog(demands, path)) {
        verify_folder(demands, path, &copy->report);
        copy->size = copy->report.size;
        copy->usable = copy->report.entries_verified;
        return 0;
    }
    report_begin(&copy->report, COPY_TLOG, path, demands);
    tlog_load_checkpoint(demands, path, &copy->report);
    return copy->report.notes[NOTE_CHECKPOINT].present ? open_tiles(copy, err) : 0;
}

void copy_close(struct copy *copy)
{
    report_free(&copy->report);
    tile_source_close(copy->tiles);
    sha256_free(copy->sha);
}

unsigned copy_height(const struct copy *copy)
{
    return copy->report.kind == COPY_FOLDER ? copy->report.sampler.height : 0;
}

/* --- Folders --- */

/* Gathers subtrees of one height, or the tree itself, from a stretch that is read again. */
struct gathering {
    struct sha256 *sha;
    uint64_t first_index;
    uint64_t end_index;
    unsigned height;
    struct merkle_range *range; /* grows by what is read; or NULL: */
    struct merkle_range part;   /* of the subtree that grows */
    struct hash *roots;
    size_t count;
};

static int on_node(void *context, unsigned height, uint64_t first_index, const struct hash *root, struct err *err)
{
    struct gathering *gathering = context;
    (void)err;
    if (first_index < gathering->first_index || first_index >= gathering->end_index)
        return 0;
    if (gathering->range != NULL) {
        merkle_range_append_subtree(gathering->range, gathering->sha, height, root);
        return 0;
    }
    merkle_range_append_subtree(&gathering->part, gathering->sha, height, root);
    if (gathering->part.size < (uint64_t)1 << gathering->height)
        return 0;
    gathering->roots[gathering->count++] = gathering->part.hashes[0];
    merkle_range_init(&gathering->part);
    return 0;
}

static int read_again(struct copy *copy, struct gathering *gathering, struct err *err)
{
    struct sweep *sweep = mem_alloc_zero(1, sizeof(*sweep));
    if (sweep == NULL)
        return err_no_memory(err, "another look at a stretch");
    sweep->disk = copy->demands->disk;
    sweep->folder = copy->report.path;
    sweep->span.from_index = gathering->first_index;
    sweep->end_index = gathering->end_index;
    sweep->whole.node_height_max = gathering->height < NODE_HEIGHT_MAX ? gathering->height : NODE_HEIGHT_MAX;
    sweep->whole.on_node = on_node;
    sweep->whole.context = gathering;
    epochs_init(&sweep->whole.authority);
    whole_add_cut(&sweep->whole, gathering->first_index);
    whole_add_cut(&sweep->whole, gathering->end_index);
    chain_init(&sweep->whole.chain, copy->sha, bytes_of_string(copy->report.origin));
    int code = sweep_run(sweep, err);
    if (code == ERR_END || code == 0)
        code = sweep->scan.size >= gathering->end_index
                   ? 0
                   : err_set(err, ERR_IO, "%s became shorter while it was being read", copy->report.path);
    epochs_free(&sweep->whole.authority);
    mem_free(sweep);
    return code;
}

static int folder_root_at(struct copy *copy, uint64_t size, struct hash *ret, struct err *err)
{
    const struct sampler *sampler = &copy->report.sampler;
    struct merkle_range range;
    if (size == copy->size) {
        *ret = copy->report.root;
        return 0;
    }
    merkle_range_init(&range);
    for (size_t i = 0; i < size >> sampler->height; i++)
        merkle_range_append_subtree(&range, copy->sha, sampler->height, &sampler->roots[i]);
    struct gathering gathering = {
        .sha = copy->sha, .first_index = range.size, .end_index = size, .height = NODE_HEIGHT_MAX, .range = &range};
    int code = range.size == size ? 0 : read_again(copy, &gathering, err);
    if (code == 0)
        *ret = merkle_range_root(&range, copy->sha);
    return code;
}

static int folder_subtrees(struct copy *copy, unsigned height, uint64_t first, size_t count, struct hash *ret,
                           struct err *err)
{
    const struct sampler *sampler = &copy->report.sampler;
    if (height < sampler->height) {
        struct gathering gathering = {.sha = copy->sha,
                                      .first_index = first << height,
                                      .end_index = (first + count) << height,
                                      .height = height,
                                      .roots = ret};
        return read_again(copy, &gathering, err);
    }
    unsigned above = height - sampler->height;
    for (size_t i = 0; i < count; i++) {
        struct merkle_range range;
        merkle_range_init(&range);
        for (uint64_t k = (first + i) << above; k < (first + i + 1) << above; k++)
            merkle_range_append(&range, copy->sha, &sampler->roots[k]);
        ret[i] = range.hashes[0];
    }
    return 0;
}

/* --- Tlogs --- */

static int tlog_root_at(struct copy *copy, uint64_t size, struct hash *ret, struct err *err)
{
    struct merkle_proof proof = {0};
    struct hash root;
    if (size == copy->size) {
        *ret = copy->report.root;
        return 0;
    }
    int code = merkle_root_at(copy->sha, size, tile_source_read_hash, copy->tiles, &root, err);
    if (code == 0 && size > 0)
        code = merkle_prove_consistency(copy->sha, size, copy->size, tile_source_read_hash, copy->tiles, &proof, err);
    if (code == 0 && size > 0)
        code = merkle_verify_consistency(copy->sha, size, copy->size, &root, &copy->report.root, proof.hashes,
                                         proof.count, err);
    if (code != 0)
        return err_wrap(err, code, "the tiles of %s", copy->report.path);
    *ret = root;
    return 0;
}

static int tlog_leaf_at(struct copy *copy, uint64_t index, struct hash *ret, struct err *err)
{
    struct merkle_proof proof = {0};
    struct hash leaf;
    int code = tile_source_read_hash(copy->tiles, 0, index, &leaf, err);
    if (code == 0)
        code = merkle_prove_inclusion(copy->sha, index, copy->size, tile_source_read_hash, copy->tiles, &proof, err);
    if (code == 0)
        code = merkle_verify_inclusion(copy->sha, index, copy->size, &leaf, proof.hashes, proof.count,
                                       &copy->report.root, err);
    if (code != 0)
        return err_wrap(err, code, "the tiles of %s", copy->report.path);
    *ret = leaf;
    return 0;
}

/* --- Either --- */

int copy_root_at(struct copy *copy, uint64_t size, struct hash *ret, struct err *err)
{
    PRE(copy->usable && size <= copy->size);
    return copy->report.kind == COPY_FOLDER ? folder_root_at(copy, size, ret, err) : tlog_root_at(copy, size, ret, err);
}

int copy_leaf_at(struct copy *copy, uint64_t index, struct hash *ret, struct err *err)
{
    PRE(copy->usable && index < copy->size);
    return copy->report.kind == COPY_FOLDER ? folder_subtrees(copy, 0, index, 1, ret, err)
                                            : tlog_leaf_at(copy, index, ret, err);
}

int copy_subtrees(struct copy *copy, unsigned height, uint64_t first, size_t count, struct hash *ret, struct err *err)
{
    PRE(copy->usable && count <= COPY_SUBTREES_MAX);
    PRE((first + count) << height <= copy->size);
    if (copy->report.kind == COPY_FOLDER)
        return folder_subtrees(copy, height, first, count, ret, err);
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = tile_source_read_hash(copy->tiles, height, first + i, &ret[i], err);
    return code;
}

/* --- Places --- */

/* The offset of the block that holds the entry, which lies in this segment; 0 when it cannot be found. */
static uint64_t block_of(const struct copy *copy, const char *segment, uint64_t index)
{
    struct disk_file *file = NULL;
    struct segment_header header;
    struct segment_walk walk;
    struct block_header block = {0};
    uint64_t offset = 0;
    if (segment_open(copy->demands->disk, copy->report.path, segment, 0, &file, &header, NULL) != 0)
        return 0;
    int code = segment_walk_init(&walk, file, NULL);
    while (code == 0 && block.first_index + block.entry_count <= index) {
        offset = walk.offset;
        code = segment_walk_header(&walk, &block, NULL);
    }
    segment_walk_free(&walk);
    disk_close(file);
    return code == 0 ? offset : 0;
}

void copy_where(const struct copy *copy, uint64_t index, char *file, uint64_t *ret_offset)
{
    uint64_t *firsts = NULL;
    size_t count = 0;
    file[0] = '\0';
    *ret_offset = 0;
    if (copy->report.kind == COPY_TLOG) {
        uint64_t number = index / TILE_WIDTH;
        const struct tile_id tile = {.number = number, .width = tile_width(0, number, copy->size)};
        tile_path(&tile, file);
        *ret_offset = index % TILE_WIDTH * HASH_SIZE;
        return;
    }
    if (segment_list(copy->demands->disk, copy->report.path, &firsts, &count, NULL) != 0)
        return;
    for (size_t i = 0; i < count && firsts[i] <= index; i++)
        segment_name(firsts[i], file);
    mem_free(firsts);
    if (file[0] != '\0')
        *ret_offset = block_of(copy, file, index);
}
