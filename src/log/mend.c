/* Repair (mend.h).
 *
 * A damaged segment is written anew: its header, its intact blocks at their places, and for each damaged range the
 * entries that somebody else has. Entries and frames are the same bytes in every copy of a log, or their hashes would
 * differ. Blocks are how they were written together: a mirror stores the blocks that it received, so they are the same
 * too, unless the source was itself made anew; then blocks are cut at the ends of the range, and only there.
 *
 * Why the result can be believed. Left: the segment's header has the hash before its first entry, every entry names the
 * hash before it, so the fetched ones continue what is here. Right: the first intact entry behind the range names the
 * last fetched one, and the next segment's header has the hash and the tree at the end. Above: the root of a checkpoint
 * that the log's key signed, at a size past the range, is recomputed from what was staged and what follows. A header
 * that is damaged itself is made from the end of the segment before.
 *
 * Nothing is replaced before all of it was checked. */
#include "log/mend.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/segment.h"

enum { COPY_CHUNK_BYTES = 1024 * 1024 };

static int path_of(const struct mend *mend, uint64_t segment, const char *suffix, char out[DISK_PATH_MAX_BYTES],
                   struct err *err)
{
    char name[SEGMENT_NAME_BYTES + 16];
    segment_name(segment, name);
    memcpy(name + SEGMENT_NAME_BYTES, suffix, strlen(suffix) + 1);
    return disk_join(out, mend->folder, name, err);
}

/* --- Finding --- */

static int add_finding(void *context, const struct scrub_finding *finding, struct err *err)
{
    struct mend *mend = context;
    if (mend->finding_count == MEND_FINDINGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d damaged places; restore the folder from a copy",
                       MEND_FINDINGS_MAX);
    mend->findings[mend->finding_count++] = *finding;
    return 0;
}

/* The last segment does not say where the log ends; the checkpoints that are stored say how far it must go. */
static int judge_end(struct mend *mend, uint64_t first_finding, const struct chain *chain, struct err *err)
{
    uint64_t last = mend->segments[mend->segment_count - 1];
    for (size_t i = first_finding; i < mend->finding_count; i++) {
        if (mend->findings[i].end_index != UINT64_MAX)
            continue;
        if (mend->required_size <= mend->findings[i].first_index)
            return err_set(
                err, ERR_CORRUPT,
                "the end of the log is damaged from entry %llu on, and no checkpoint is stored that says how "
                "many entries followed",
                (unsigned long long)mend->findings[i].first_index);
        mend->findings[i].end_index = mend->required_size;
        mend->size = mend->required_size;
        return 0;
    }
    mend->size = chain->range.size;
    if (mend->size >= mend->required_size)
        return 0;
    struct scrub_finding finding = {
        .segment = last, .first_index = mend->size, .end_index = mend->required_size, .what = "the log ends too early"};
    mend->size = mend->required_size;
    return add_finding(mend, &finding, err);
}

int mend_find(struct mend *mend, struct err *err)
{
    struct scrub scrub = {.disk = mend->disk,
                          .folder = mend->folder,
                          .sha = mend->sha,
                          .found = add_finding,
                          .context = mend,
                          .goals = mend->goals,
                          .goal_count = mend->goal_count};
    mend->findings = mem_alloc_zero(MEND_FINDINGS_MAX, sizeof(*mend->findings));
    if (mend->findings == NULL)
        return err_no_memory(err, "the list of damaged places");
    int code = segment_list(mend->disk, mend->folder, &mend->segments, &mend->segment_count, err);
    if (code == 0 && mend->segments[0] != 0)
        code = err_set(err, ERR_NOT_FOUND,
                       "%s: the first segment starts at entry %llu: whole files are missing; copy them from a peer's "
                       "folder of this log",
                       mend->folder, (unsigned long long)mend->segments[0]);
    size_t before = 0;
    struct chain chain = {.last_time = 0};
    for (size_t i = 0; code == 0 && i < mend->segment_count; i++) {
        before = mend->finding_count;
        code = scrub_segment(&scrub, mend->segments, mend->segment_count, i, &chain, err);
    }
    return code == 0 ? judge_end(mend, before, &chain, err) : code;
}

/* --- Staging --- */

struct stage {
    struct mend *mend;
    uint64_t segment;
    struct segment_header header;
    struct disk_file *file;
    uint64_t offset; /* in the new file, of the next block */
    struct chain chain;
    struct merkle_range tree;
    const struct scrub_finding *range; /* being fetched */
};

static int each_entry(void *context, const struct chain_entry *entry, struct err *err)
{
    struct stage *stage = context;
    struct mend *mend = stage->mend;
    (void)err;
    merkle_range_append(&stage->tree, mend->sha, &entry->leaf);
    for (size_t i = 0; i < mend->goal_count; i++) {
        if (mend->goals[i].size != stage->tree.size)
            continue;
        struct hash root = merkle_range_root(&stage->tree, mend->sha);
        mend->goals[i].compared = true;
        mend->goals[i].matches = hash_equal(&root, &mend->goals[i].root);
    }
    return 0;
}

/* Checks a whole block that starts where the chain stands, and writes it. */
static int put_block(struct stage *stage, struct bytes bytes, uint32_t entry_count, struct err *err)
{
    struct block *block = NULL;
    int code = block_from_bytes(bytes, &block, err); /* which tells nothing of writes long ago */
    if (code == 0)
        code = chain_check_block(&stage->chain, stage->mend->sha, block_body(block), entry_count, each_entry, stage,
                                 NULL, err);
    if (code == 0)
        code = disk_write(stage->file, stage->offset, block->data, block->size_bytes, err);
    stage->offset += segment_block_span((uint32_t)bytes.size_bytes - BLOCK_HEADER_BYTES);
    block_release(block);
    return code;
}

/* The part of a block that lies in the range, as a block of its own. */
static int put_part(struct stage *stage, const struct block *block, struct err *err)
{
    struct bytes elements = block_body(block);
    struct block *part = NULL;
    uint64_t wanted = stage->chain.range.size;
    int code = block_new(wanted, stage->chain.log_id, &part, err);
    for (uint64_t index = block->first_index; code == 0 && index < stage->range->end_index; index++) {
        struct bytes frame_bytes;
        struct frame frame;
        code = frame_next_element(&elements, &frame_bytes, err);
        if (code == ERR_END) {
            code = 0;
            break;
        }
        if (code == 0 && index >= wanted)
            code = frame_parse(frame_bytes, &frame, err);
        if (code == 0 && index >= wanted)
            code = block_add(part, &frame, err);
    }
    if (code == 0 && part->entry_count > 0) {
        block_seal(part);
        code = put_block(stage, block_bytes(part), part->entry_count, err);
    }
    if (part != NULL)
        block_release(part);
    return code;
}

static int take_fetched(void *context, const struct block *block, struct err *err)
{
    struct stage *stage = context;
    uint64_t end = block->first_index + block->entry_count;
    uint64_t wanted = stage->chain.range.size;
    if (end <= wanted || wanted >= stage->range->end_index)
        return 0;
    if (block->first_index > wanted)
        return err_set(err, ERR_CORRUPT, "a block starts at entry %llu, entry %llu was wanted",
                       (unsigned long long)block->first_index, (unsigned long long)wanted);
    if (block->first_index == wanted && end <= stage->range->end_index)
        return put_block(stage, block_bytes(block), block->entry_count, err);
    return put_part(stage, block, err);
}

static int fetch_range(struct stage *stage, const struct scrub_finding *range, struct err *err)
{
    struct mend *mend = stage->mend;
    stage->range = range;
    int code = mend->fetch(mend->context, range->first_index, range->end_index, take_fetched, stage, err);
    if (code == ERR_CORRUPT)
        return err_wrap(err, code, "what the peer sent for entries %llu to %llu does not fit",
                        (unsigned long long)range->first_index, (unsigned long long)range->end_index - 1);
    if (code == 0 && stage->chain.range.size != range->end_index)
        return err_set(err, ERR_NOT_FOUND, "the peer gave entries up to %llu, %llu are needed",
                       (unsigned long long)stage->chain.range.size, (unsigned long long)range->end_index);
    return code;
}

/* Old blocks up to end_index (UINT64_MAX: to where they end), from *offset in the old file on. */
static int copy_blocks(struct stage *stage, struct segment_walk *walk, uint64_t end_index, struct err *err)
{
    while (stage->chain.range.size < end_index) {
        struct block_header header;
        struct bytes bytes;
        int code = segment_walk_next(walk, stage->chain.log_id, &header, &bytes, err);
        if (end_index == UINT64_MAX && (code == ERR_END || code == ERR_CORRUPT))
            return 0;
        if (code == 0)
            code = put_block(stage, bytes, header.entry_count, err);
        if (code != 0)
            return code == ERR_END ? err_set(err, ERR_CORRUPT, "the file changed meanwhile") : code;
    }
    return 0;
}

static int fill(struct stage *stage, size_t first, size_t count, uint64_t end_index, struct err *err)
{
    struct mend *mend = stage->mend;
    char path[DISK_PATH_MAX_BYTES];
    struct disk_file *old = NULL;
    struct segment_walk walk;
    int code = path_of(mend, stage->segment, "", path, err);
    if (code == 0)
        code = disk_open(mend->disk, path, DISK_READ, &old, err);
    if (code != 0)
        return code;
    code = segment_walk_init(&walk, old, err);
    if (code != 0)
        goto close;
    for (size_t i = first; code == 0 && i < first + count; i++) {
        const struct scrub_finding *range = &mend->findings[i];
        code = copy_blocks(stage, &walk, range->first_index, err);
        if (code == 0)
            code = fetch_range(stage, range, err);
        walk.offset = range->end_offset;
        if (range->end_offset == 0)
            walk.file_size = 0; /* nothing in the old file follows */
    }
    if (code == 0)
        code = copy_blocks(stage, &walk, end_index, err);
    segment_walk_free(&walk);
close:
    disk_close(old);
    return code;
}

static int write_header(struct stage *stage, struct err *err)
{
    uint8_t page[LOG_SEGMENT_HEADER_BYTES];
    segment_header_encode(&stage->header, page);
    stage->offset = sizeof(page);
    return disk_write(stage->file, 0, page, sizeof(page), err);
}

/* The header that is there, or the one that belongs there: the end of the segment before says it. */
static int take_header(struct stage *stage, const struct chain *before, struct err *err)
{
    struct mend *mend = stage->mend;
    struct disk_file *file = NULL;
    char name[SEGMENT_NAME_BYTES + 1];
    segment_name(stage->segment, name);
    int code = segment_open(mend->disk, mend->folder, name, 0, &file, &stage->header, err);
    if (code == 0)
        disk_close(file);
    if (code != ERR_CORRUPT)
        return code;
    if (before->range.size != stage->segment)
        return err_wrap(err, code, "the segment before does not lead to it");
    stage->header = (struct segment_header){.first_index = stage->segment, .chain = *before};
    copy_string(stage->header.origin, sizeof(stage->header.origin), mend->origin);
    return 0;
}

static int check_next(const struct stage *stage, size_t number, struct err *err)
{
    struct mend *mend = stage->mend;
    struct segment_header next;
    struct disk_file *file = NULL;
    char name[SEGMENT_NAME_BYTES + 1];
    if (number + 1 == mend->segment_count)
        return 0;
    segment_name(mend->segments[number + 1], name);
    int code = segment_open(mend->disk, mend->folder, name, 0, &file, &next, err);
    if (code == ERR_CORRUPT)
        return 0; /* damaged too: it is made from what was staged here, and the checkpoint judges both */
    if (code != 0)
        return code;
    disk_close(file);
    size_t hash_bytes = merkle_range_hash_count(next.chain.range.size) * HASH_SIZE;
    if (next.chain.range.size != stage->chain.range.size || !hash_equal(&next.chain.prev, &stage->chain.prev) ||
        memcmp(next.chain.range.hashes, stage->chain.range.hashes, hash_bytes) != 0)
        return err_set(err, ERR_CORRUPT, "the repaired segment %llu does not lead to the header of the next one",
                       (unsigned long long)stage->segment);
    return 0;
}

/* Segment `number`, whose findings are `count` from `first` on. *chain: the end of the segment before, then of this. */
static int stage_segment(struct mend *mend, size_t number, size_t first, size_t count, struct chain *chain,
                         struct err *err)
{
    struct stage stage = {.mend = mend, .segment = mend->segments[number]};
    bool last = number + 1 == mend->segment_count;
    char path[DISK_PATH_MAX_BYTES];
    int code = take_header(&stage, chain, err);
    if (code == 0)
        code = path_of(mend, stage.segment, ".mend", path, err);
    if (code != 0)
        return code;
    int removed = disk_remove(mend->disk, path, NULL);
    stage.chain = stage.header.chain;
    stage.tree = stage.header.chain.range;
    code = removed != 0 && removed != ERR_NOT_FOUND ? err_set(err, removed, "%s cannot be removed", path) : 0;
    if (code == 0)
        code = disk_open(mend->disk, path, DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &stage.file, err);
    if (code != 0)
        return code;
    code = write_header(&stage, err);
    if (code == 0)
        code = fill(&stage, first, count, last ? UINT64_MAX : mend->segments[number + 1], err);
    if (code == 0)
        code = disk_truncate(stage.file, stage.offset, err);
    if (code == 0)
        code = disk_sync(stage.file, err);
    disk_close(stage.file);
    if (code == 0)
        code = check_next(&stage, number, err);
    *chain = stage.chain;
    return code;
}

static int never_found(void *context, const struct scrub_finding *finding, struct err *err)
{
    (void)context;
    return err_set(err, ERR_CORRUPT, "segment %llu changed meanwhile: %s", (unsigned long long)finding->segment,
                   finding->what);
}

/* Roots of the checkpoints: none may differ, and one must cover all that was fetched. */
static int check_goals(const struct mend *mend, struct err *err)
{
    uint64_t needed = mend->findings[mend->finding_count - 1].end_index;
    bool covered = false;
    for (size_t i = 0; i < mend->goal_count; i++) {
        const struct scrub_goal *goal = &mend->goals[i];
        if (goal->compared && !goal->matches)
            return err_set(err, ERR_CORRUPT, "the repaired log does not have the root that was signed for %llu entries",
                           (unsigned long long)goal->size);
        covered = covered || (goal->compared && goal->size >= needed);
    }
    if (!covered)
        return err_set(err, ERR_CORRUPT,
                       "no signed checkpoint, here or at the peer, covers the %llu entries that a repair would vouch "
                       "for",
                       (unsigned long long)needed);
    return 0;
}

int mend_stage(struct mend *mend, struct err *err)
{
    PRE(mend->finding_count > 0);
    struct scrub scrub = {.disk = mend->disk,
                          .folder = mend->folder,
                          .sha = mend->sha,
                          .found = never_found,
                          .goals = mend->goals,
                          .goal_count = mend->goal_count};
    struct chain chain;
    int code = 0;
    /* What was compared in segments that are read or made again here tells nothing of the repaired log. */
    for (size_t i = 0; i < mend->goal_count; i++) {
        if (mend->goals[i].size > mend->findings[0].segment)
            mend->goals[i].compared = mend->goals[i].matches = false;
    }
    chain_init(&chain, mend->sha, bytes_of_string(mend->origin));
    for (size_t i = 0, at = 0; code == 0 && i < mend->segment_count; i++) {
        size_t first = at;
        while (at < mend->finding_count && mend->findings[at].segment == mend->segments[i])
            at++;
        bool needed_for_the_next = at < mend->finding_count && i + 1 < mend->segment_count &&
                                   mend->findings[at].segment == mend->segments[i + 1];
        if (at > first)
            code = stage_segment(mend, i, first, at - first, &chain, err);
        else if (at > 0 || needed_for_the_next)
            code = scrub_segment(&scrub, mend->segments, mend->segment_count, i, &chain, err);
    }
    return code == 0 ? check_goals(mend, err) : code;
}

/* --- Committing --- */

static int copy_file(struct disk *disk, const char *from, const char *to, struct err *err)
{
    struct disk_file *in = NULL;
    struct disk_file *out = NULL;
    uint8_t *chunk = mem_alloc(COPY_CHUNK_BYTES);
    int code = chunk == NULL ? err_no_memory(err, "a copy") : disk_open(disk, from, DISK_READ, &in, err);
    if (code == 0)
        code = disk_open(disk, to, DISK_WRITE | DISK_CREATE | DISK_EXCLUSIVE, &out, err);
    uint64_t offset = 0;
    size_t size = COPY_CHUNK_BYTES;
    while (code == 0 && size == COPY_CHUNK_BYTES) {
        code = disk_read(in, offset, chunk, COPY_CHUNK_BYTES, &size, err);
        if (code == 0 && size > 0)
            code = disk_write(out, offset, chunk, size, err);
        offset += size;
    }
    if (code == 0)
        code = disk_sync(out, err);
    disk_close(out);
    disk_close(in);
    mem_free(chunk);
    return code;
}

/* "<log's folder name>-<segment>.damaged", with a number behind it when that is taken. */
static int keep_evidence(const struct mend *mend, uint64_t segment, const char *path, struct err *err)
{
    const char *slash = strrchr(mend->folder, '/');
    char name[256];
    char target[DISK_PATH_MAX_BYTES];
    int code = ERR_EXISTS;
    for (int attempt = 0; code == ERR_EXISTS && attempt < 1000; attempt++) {
        snprintf(name, sizeof(name), "%.100s-%020llu.damaged.%d", slash == NULL ? mend->folder : slash + 1,
                 (unsigned long long)segment, attempt);
        code = disk_join(target, mend->evidence, name, err);
        if (code == 0)
            code = copy_file(mend->disk, path, target, err);
    }
    return code == 0 ? disk_sync_dir(mend->disk, mend->evidence, err) : code;
}

int mend_commit(struct mend *mend, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    char staged[DISK_PATH_MAX_BYTES];
    int code = disk_make_dir(mend->disk, mend->evidence, err);
    for (size_t i = 0; code == 0 && i < mend->finding_count; i++) {
        uint64_t segment = mend->findings[i].segment;
        if (i > 0 && segment == mend->findings[i - 1].segment)
            continue;
        code = path_of(mend, segment, "", path, err);
        if (code == 0)
            code = path_of(mend, segment, ".mend", staged, err);
        if (code == 0)
            code = keep_evidence(mend, segment, path, err);
        if (code == 0)
            code = disk_rename(mend->disk, staged, path, err);
        if (code == 0)
            code = disk_sync_dir(mend->disk, mend->folder, err);
    }
    return code;
}

void mend_free(struct mend *mend)
{
    char path[DISK_PATH_MAX_BYTES];
    for (size_t i = 0; i < mend->finding_count; i++) {
        if (path_of(mend, mend->findings[i].segment, ".mend", path, NULL) == 0)
            (void)!disk_remove(mend->disk, path, NULL);
    }
    mem_free(mend->findings);
    mem_free(mend->segments);
    mend->findings = NULL;
    mend->segments = NULL;
    mend->finding_count = 0;
}
