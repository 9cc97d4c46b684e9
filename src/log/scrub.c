/* Scrubbing (scrub.h), and finding the way back after a damaged place.
 *
 * The way back. Behind a damaged block the file is searched, at every place where a block may start, for a run of whole
 * blocks that leads to the end of the segment. A client may have chosen a payload that looks like blocks of this log,
 * so a checksum proves nothing here: a run is believed only if its entries chain up to the hash that the next segment's
 * header has of the entry before it. Whoever made up the run would have to find a second preimage. The last segment has
 * no header behind it; there a run that goes to the end is reported as what it is, and whoever repairs checks it
 * against the entries before.
 *
 * Where the last segment ends, and what there is damage, is judged as recovery judges it (FORMAT.md): a scrub finds
 * nothing in a log that opens, and something where a start is refused.
 *
 * What lies between two damaged places of one segment cannot be vouched for from either side without the entries that
 * are missing, and counts as damaged. */
#include "log/scrub.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/segment.h"

/* Starts a chain just before the first entry of a block, believing what it says of itself. */
static int chain_before(struct bytes body, const struct block_header *block, struct chain *ret, struct err *err)
{
    struct bytes elements = body;
    struct frame frame;
    struct entry entry;
    int code = frame_next_entry(&elements, &frame, &entry, err);
    if (code != 0)
        return code;
    if (entry.time == 0)
        return err_set(err, ERR_CORRUPT, "an entry without a time");
    *ret = (struct chain){.prev = entry.prev, .last_time = entry.time - 1};
    memcpy(ret->log_id, block->log_id, sizeof(ret->log_id));
    ret->range.size = block->first_index;
    return 0;
}

static struct bytes body_of(struct bytes block)
{
    return bytes_of(block.data + BLOCK_HEADER_BYTES, block.size_bytes - BLOCK_HEADER_BYTES);
}

/* Follows whole, chained blocks from the walk's place on; the walk stops behind the last. Returns what stopped it:
 * ERR_END, ERR_CORRUPT, or a real failure. */
static int follow(struct segment_walk *walk, struct sha256 *sha, const uint8_t *log_id, struct chain *chain)
{
    bool first = true;
    for (;;) {
        struct block_header header;
        struct bytes bytes;
        uint64_t offset = walk->offset;
        int code = segment_walk_next(walk, log_id, &header, &bytes, NULL);
        if (code == 0 && first)
            code = chain_before(body_of(bytes), &header, chain, NULL);
        if (code == 0 && header.first_index != chain->range.size)
            code = ERR_CORRUPT;
        if (code == 0)
            code = chain_check_block(chain, sha, body_of(bytes), header.entry_count, NULL, NULL, NULL, NULL);
        if (code != 0) {
            walk->offset = offset;
            return code == ERR_MISMATCH ? ERR_CORRUPT : code;
        }
        first = false;
    }
}

int segment_resync(struct segment_walk *walk, struct sha256 *sha, const uint8_t log_id[ENTRY_LOG_ID_SIZE],
                   uint64_t expected_index, const struct segment_header *next, uint64_t *ret_offset,
                   uint64_t *ret_index, struct err *err)
{
    uint64_t start = walk->offset;
    int code = ERR_END;
    bool found = true;
    while (found) {
        struct chain chain = {.last_time = 0};
        bool dirty = false;
        uint64_t offset = 0;
        code = segment_walk_search(walk, log_id, expected_index + 1, SEARCH_ANY, &found, &offset, &dirty, err);
        if (code != 0 || !found) {
            code = code == 0 ? ERR_END : code;
            break;
        }
        walk->offset = offset;
        struct block_header header;
        code = segment_walk_header(walk, &header, err);
        walk->offset = offset;
        if (code == 0)
            code = follow(walk, sha, log_id, &chain);
        bool whole =
            code == ERR_END &&
            (next == NULL || (chain.range.size == next->first_index && hash_equal(&chain.prev, &next->chain.prev)));
        if (whole) {
            *ret_offset = offset;
            *ret_index = header.first_index;
            code = 0;
            break;
        }
        if (code != ERR_END && code != ERR_CORRUPT)
            break;
        /* Where the run stopped no block begins that leads further: the search goes on behind it. */
    }
    walk->offset = start;
    return code;
}

/* --- One segment --- */

struct pass {
    struct scrub *scrub;
    uint64_t segment;
    struct segment_header header;
    struct segment_header next;
    bool has_next;
    uint64_t end_index;       /* as the name of the next segment says; UINT64_MAX for the last one */
    bool damaged;             /* the tree is of no use any more */
    struct merkle_range tree; /* entry by entry, for the goals */
    struct segment_walk walk;
    struct chain chain;
};

static int report(struct pass *pass, struct scrub_finding finding, const char *what, struct err *err)
{
    finding.segment = pass->segment;
    snprintf(finding.what, sizeof(finding.what), "%.255s", what);
    pass->damaged = true;
    return pass->scrub->found(pass->scrub->context, &finding, err);
}

static int each_entry(void *context, const struct chain_entry *entry, struct err *err)
{
    struct pass *pass = context;
    struct scrub *scrub = pass->scrub;
    (void)err;
    if (pass->damaged || scrub->goal_count == 0)
        return 0;
    merkle_range_append(&pass->tree, scrub->sha, &entry->leaf);
    for (size_t i = 0; i < scrub->goal_count; i++) {
        struct scrub_goal *goal = &scrub->goals[i];
        if (goal->size != pass->tree.size)
            continue;
        struct hash root = merkle_range_root(&pass->tree, scrub->sha);
        goal->compared = true;
        goal->matches = hash_equal(&root, &goal->root);
    }
    return 0;
}

/* Whether the last segment ends at the walk's place, cleanly or torn: as recovery judges it. */
static int is_end(struct pass *pass, int stopped, bool *ret, struct err *err)
{
    bool found = false;
    bool dirty = false;
    uint64_t offset = 0;
    *ret = false;
    if (pass->end_index != UINT64_MAX || stopped == ERR_MISMATCH)
        return 0;
    int code = segment_walk_search(&pass->walk, pass->chain.log_id, pass->chain.range.size, SEARCH_LATER_WRITTEN,
                                   &found, &offset, &dirty, err);
    *ret = !found;
    return code;
}

/* At the walk's place no block follows that fits (stopped is ERR_MISMATCH when a whole one does not). 0 when the way
 * back was found, and the walk stands there; ERR_END when the segment ends here, with damage or without. */
static int pass_damage(struct pass *pass, int stopped, const struct err *why, struct err *err)
{
    uint64_t expected = pass->chain.range.size;
    uint64_t offset = 0;
    uint64_t index = 0;
    uint64_t damaged_at = pass->walk.offset;
    bool ends = false;
    int code = is_end(pass, stopped, &ends, err);
    if (code != 0 || ends)
        return code == 0 ? ERR_END : code;
    code = segment_resync(&pass->walk, pass->scrub->sha, pass->chain.log_id, expected,
                          pass->has_next ? &pass->next : NULL, &offset, &index, err);
    if (code == 0) {
        pass->walk.offset = offset;
        struct block_header header;
        struct bytes bytes;
        code = segment_walk_next(&pass->walk, pass->chain.log_id, &header, &bytes, err);
        if (code == 0)
            code = chain_before(body_of(bytes), &header, &pass->chain, err);
        pass->walk.offset = offset;
        struct scrub_finding finding = {
            .offset = damaged_at, .end_offset = offset, .first_index = expected, .end_index = index};
        return code == 0 ? report(pass, finding, why->message, err) : code;
    }
    if (code != ERR_END)
        return code;
    if (expected < pass->end_index)
        code = report(
            pass, (struct scrub_finding){.offset = damaged_at, .first_index = expected, .end_index = pass->end_index},
            why->message, err);
    return code == 0 ? ERR_END : code;
}

/* From the header on, past damaged places, to the end of the segment. */
static int read_blocks(struct pass *pass, struct err *err)
{
    struct scrub *scrub = pass->scrub;
    const uint8_t *log_id = pass->chain.log_id;
    for (;;) {
        struct block_header header;
        struct bytes bytes;
        struct err why = {0};
        uint64_t offset = pass->walk.offset;
        int code = segment_walk_next(&pass->walk, log_id, &header, &bytes, &why);
        bool whole = code == 0;
        if (whole && header.first_index != pass->chain.range.size)
            code = err_set(&why, ERR_CORRUPT, "the block starts at entry %llu", (unsigned long long)header.first_index);
        else if (whole)
            code = chain_check_block(&pass->chain, scrub->sha, body_of(bytes), header.entry_count, each_entry, pass,
                                     NULL, &why);
        if (whole && code == ERR_CORRUPT)
            code = ERR_MISMATCH; /* no crash leaves it behind */
        if (code == 0) {
            code = scrub->pace == NULL ? 0 : scrub->pace(scrub->context, bytes.size_bytes, err);
            if (code != 0)
                return code;
            continue;
        }
        if (code != ERR_END && code != ERR_CORRUPT && code != ERR_MISMATCH)
            return err_set(err, code, "%s", why.message);
        pass->walk.offset = offset;
        if (code == ERR_END && pass->has_next && pass->chain.range.size == pass->next.first_index)
            return 0;
        if (code == ERR_END)
            err_set(&why, ERR_CORRUPT, "a block is missing (zeros)");
        code = pass_damage(pass, code, &why, err);
        if (code != 0)
            return code == ERR_END ? 0 : code;
    }
}

/* Only the entries, their order and their hashes can be wrong where every block is whole. */
static int compare_with_next(struct pass *pass, struct err *err)
{
    const struct chain *claimed = &pass->next.chain;
    size_t hash_bytes = merkle_range_hash_count(claimed->range.size) * HASH_SIZE;
    if (!pass->has_next || pass->damaged)
        return 0;
    if (hash_equal(&claimed->prev, &pass->chain.prev) && claimed->last_time == pass->chain.last_time &&
        memcmp(claimed->range.hashes, pass->chain.range.hashes, hash_bytes) == 0)
        return 0;
    return report(pass, (struct scrub_finding){.first_index = pass->segment, .end_index = pass->end_index},
                  "its entries do not have the hashes that the header of the next segment has of them", err);
}

static int read_header(struct scrub *scrub, uint64_t first_index, struct segment_header *ret, struct disk_file **file,
                       struct err *err)
{
    char name[SEGMENT_NAME_BYTES + 1];
    segment_name(first_index, name);
    return segment_open(scrub->disk, scrub->folder, name, 0, file, ret, err);
}

int scrub_segment(struct scrub *scrub, const uint64_t *segments, size_t segment_count, size_t number,
                  struct chain *ret_chain, struct err *err)
{
    struct pass pass = {.scrub = scrub, .segment = segments[number], .has_next = number + 1 < segment_count};
    struct disk_file *file = NULL;
    struct err why = {0};
    pass.end_index = pass.has_next ? segments[number + 1] : UINT64_MAX;
    if (pass.has_next && read_header(scrub, pass.end_index, &pass.next, &file, &why) == 0)
        disk_close(file);
    else
        pass.has_next = false; /* its own pass tells what is wrong with it */
    int code = read_header(scrub, pass.segment, &pass.header, &file, &why);
    if (code == ERR_CORRUPT)
        return report(&pass, (struct scrub_finding){.first_index = pass.segment, .end_index = pass.end_index},
                      why.message, err);
    if (code != 0)
        return err_set(err, code, "%s", why.message);
    pass.chain = pass.header.chain;
    pass.tree = pass.header.chain.range;
    code = segment_walk_init(&pass.walk, file, err);
    if (code == 0) {
        code = read_blocks(&pass, err);
        segment_walk_free(&pass.walk);
    }
    disk_close(file);
    if (code == 0)
        code = compare_with_next(&pass, err);
    if (code == 0 && ret_chain != NULL)
        *ret_chain = pass.chain;
    return code;
}
