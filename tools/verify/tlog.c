/* Verifying a whole log in the tlog-tiles layout (c2sp.org/tlog-tiles), ours or anybody's, in a folder or on a server.
 *
 * The checkpoint is read first and fixes the size. Each entry bundle is then read once, with the tile that must hold
 * its leaf hashes; the tree is built from the entries, never from tiles, and each tile of the upper levels is compared
 * with it when it is full, and the partial ones at the end. The root must be the signed one. Entries of our logs are
 * held to the rules of the chain as well; other people's entries are only bytes. The first entry tells which they are,
 * and nothing vouches for it when a run resumes behind it: an entry of ours among other people's is a violation.
 *
 * Workers fetch and hash bundles side by side; results are taken in order (pool.h, stretch.h).
 *
 * Resuming from a state of N entries. What the state has of the tree gives the tree at every size that N minus its
 * lowest bits makes, and the run begins at such a size: the start of the bundle that N lies in or, when N ends a
 * bundle, N less its lowest bit. So some entries that the state covers are always read again, and with them
 *  1. the tree at N is made from entries, and its root must be the one in the state;
 *  2. hence those entries are the ones that were verified then, with their links, and the first one's `prev` and time
 *     need no comparison: it is believed as to what it follows;
 *  3. every link from N on is checked.
 * A log that ends below N is read whole, to say all that can be said about a rollback. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "entry/wire.h"
#include "verify/pool.h"
#include "verify/progress.h"
#include "verify/tile_source.h"
#include "verify/verify.h"

enum {
    BUNDLE_MAX_BYTES = TILE_WIDTH * (ENTRY_MAX_BYTES + 2),
    ELEMENTS_MAX_BYTES = TILE_WIDTH * (ENTRY_MAX_BYTES + 16),
    LEVELS = TILE_LEVEL_MAX + 1,
};

struct bundle {
    struct audit *audit;
    uint64_t number;
    unsigned width;

    struct buf bytes;
    unsigned bytes_width; /* how many entries the file that they came from must hold */
    struct buf tile;
    struct buf elements; /* the entries as frames without payload, for the chain's rules */
    struct stretch stretch;
    int code;
    uint64_t bad_index;
    bool has_hashes;
    struct hash expected;
    struct hash found;
    struct err err;
};

/* The tile of a level that grows. */
struct level {
    uint64_t number;
    size_t count;
    size_t known_from; /* hashes before this one were not made in this run, but are in the range */
    struct hash hashes[TILE_WIDTH];
    struct merkle_range range; /* over the hashes */
};

struct audit {
    const struct demands *demands;
    struct log_report *report;
    struct whole whole;
    struct sha256 *sha; /* the owner's */
    struct fetch *fetch;
    struct buf tile;
    size_t worker_count;
    struct sha256 *shas[POOL_WORKERS_MAX];
    struct fetch *fetches[POOL_WORKERS_MAX];
    struct bundle *bundles[POOL_JOBS_MAX];
    bool adopts;                 /* the next bundle is the first of a run that resumes */
    struct merkle_range part;    /* of the level-1 hash that grows */
    struct level levels[LEVELS]; /* from 1; 0 is compared by the workers */
    struct place bad_tile;
    struct progress progress;
};

/* --- In the workers --- */

static int bad_entry(struct bundle *bundle, uint64_t index, const char *what)
{
    bundle->bad_index = index;
    return err_set(&bundle->err, ERR_CORRUPT, "%s", what);
}

static bool is_entry_ours(struct bytes encoded, const uint8_t log_id[ENTRY_LOG_ID_SIZE])
{
    struct entry entry;
    return entry_parse(encoded, &entry, NULL) == 0 && memcmp(entry.log_id, log_id, ENTRY_LOG_ID_SIZE) == 0;
}

static int add_element(struct bundle *bundle, struct bytes entry)
{
    const struct frame frame = {.entry = entry};
    return frame_encode_element(&frame, &bundle->elements) == 0 ? 0 : err_no_memory(&bundle->err, "entries");
}

/* Compares leaf hashes with the tile, one entry after the other. */
static int read_entries(struct bundle *bundle, struct sha256 *sha)
{
    const struct whole *whole = &bundle->audit->whole;
    struct bytes rest = buf_bytes(&bundle->bytes);
    uint64_t first = bundle->number * TILE_WIDTH;
    int code = 0;
    buf_clear(&bundle->elements);
    for (unsigned i = 0; code == 0 && i < bundle->width; i++) {
        size_t size = rest.size_bytes < 2 ? 0 : get_u16_be(rest.data);
        if (rest.size_bytes < 2 || rest.size_bytes - 2 < size)
            return bad_entry(bundle, first + i, "the entry bundle ends inside this entry");
        struct bytes entry = bytes_of(rest.data + 2, size);
        rest = bytes_of(rest.data + 2 + size, rest.size_bytes - 2 - size);
        struct hash leaf = merkle_leaf(sha, entry);
        memcpy(bundle->expected.bytes, bundle->tile.data + (size_t)i * HASH_SIZE, HASH_SIZE);
        if (!hash_equal(&leaf, &bundle->expected)) {
            bundle->found = leaf;
            bundle->has_hashes = true;
            return bad_entry(bundle, first + i, "the entry does not have the hash that the tile of level 0 has for it");
        }
        if (whole->leaves_only && is_entry_ours(entry, whole->chain.log_id))
            return bad_entry(bundle, first + i, "the entry is one of this log in Tallystick's format, entry 0 is not");
        code =
            whole->leaves_only ? stretch_add_leaf(&bundle->stretch, &leaf, &bundle->err) : add_element(bundle, entry);
    }
    /* A full bundle in the place of a partial one that was removed holds entries of a later tree. */
    if (code == 0 && bundle->width == bundle->bytes_width && rest.size_bytes > 0)
        code = bad_entry(bundle, first + bundle->width - 1, "the entry bundle holds more after its last entry");
    return code;
}

/* The chain's rules; on a fault, which entry. */
static int check_chain(struct bundle *bundle)
{
    struct bytes rest = buf_bytes(&bundle->elements);
    int code = 0;
    for (unsigned i = 0; code == 0 && i < bundle->width; i++) {
        struct bytes before = rest;
        struct bytes frame;
        code = frame_next_element(&rest, &frame, &bundle->err);
        if (code == 0)
            code = stretch_check(&bundle->stretch, bytes_of(before.data, (size_t)(rest.data - before.data)), 1,
                                 &bundle->err);
        if (code != 0)
            bundle->bad_index = bundle->number * TILE_WIDTH + i;
    }
    return code;
}

static int read_bundle(struct bundle *bundle, struct fetch *fetch)
{
    int code = tile_source_get(fetch, TILE_LEVEL_ENTRIES, bundle->number, bundle->width, &bundle->bytes,
                               &bundle->bytes_width, &bundle->err);
    if (code == 0)
        code = tile_source_get_hashes(fetch, 0, bundle->number, bundle->width, &bundle->tile, &bundle->err);
    bundle->bad_index = bundle->number * TILE_WIDTH;
    return code;
}

static void work(void *job, size_t worker)
{
    struct bundle *bundle = job;
    struct audit *audit = bundle->audit;
    struct sha256 *sha = audit->shas[worker];
    bundle->has_hashes = false;
    stretch_begin(&bundle->stretch, &audit->whole, sha, bundle->number * TILE_WIDTH, audit->whole.chain.log_id);
    bundle->code = read_bundle(bundle, audit->fetches[worker]);
    if (bundle->code == 0)
        bundle->code = read_entries(bundle, sha);
    if (bundle->code == 0 && !audit->whole.leaves_only)
        bundle->code = check_chain(bundle);
}

/* --- In the owner's thread --- */

static int compare_tile(struct audit *audit, unsigned level, struct err *err)
{
    struct level *ours = &audit->levels[level];
    char path[TILE_PATH_MAX_BYTES];
    const struct tile_id tile = {.level = (int)level, .number = ours->number, .width = (unsigned)ours->count};
    tile_path(&tile, path);
    int code = tile_source_get_hashes(audit->fetch, level, ours->number, (unsigned)ours->count, &audit->tile, err);
    if (code != 0)
        return code;
    for (size_t i = ours->known_from; i < ours->count; i++) {
        struct hash theirs;
        memcpy(theirs.bytes, audit->tile.data + i * HASH_SIZE, HASH_SIZE);
        if (hash_equal(&theirs, &ours->hashes[i]))
            continue;
        audit->bad_tile = (struct place){.has_index = true,
                                         .index = (ours->number * TILE_WIDTH + i) << (TILE_HEIGHT * level),
                                         .has_hashes = true,
                                         .offset = i * HASH_SIZE,
                                         .expected = ours->hashes[i],
                                         .found = theirs};
        snprintf(audit->bad_tile.file, sizeof(audit->bad_tile.file), "%s", path);
        return err_set(err, ERR_CORRUPT, "hash %zu of %s is not that of the entries below it", i, path);
    }
    return 0;
}

/* A hash of level 1, and what it completes above. */
static int add_to_levels(struct audit *audit, struct hash hash, struct err *err)
{
    for (unsigned i = 1; i < LEVELS; i++) {
        struct level *level = &audit->levels[i];
        level->hashes[level->count++] = hash;
        merkle_range_append(&level->range, audit->sha, &hash);
        if (level->count < TILE_WIDTH)
            return 0;
        int code = compare_tile(audit, i, err);
        if (code != 0)
            return code;
        hash = level->range.hashes[0];
        merkle_range_init(&level->range);
        level->count = 0;
        level->known_from = 0;
        level->number++;
    }
    return 0;
}

static int on_node(void *context, unsigned height, uint64_t first_index, const struct hash *root, struct err *err)
{
    struct audit *audit = context;
    (void)first_index;
    merkle_range_append_subtree(&audit->part, audit->sha, height, root);
    if (audit->part.size < TILE_WIDTH)
        return 0;
    struct hash hash = audit->part.hashes[0];
    merkle_range_init(&audit->part);
    return add_to_levels(audit, hash, err);
}

static void say_what_failed(struct audit *audit, int code, const struct place *place, const char *message)
{
    bool violation = code == ERR_CORRUPT || code == ERR_UNSUPPORTED || code == ERR_TOO_LARGE;
    report_finding(audit->report, violation ? AREA_INTEGRITY : AREA_COMPLETENESS,
                   violation ? VERDICT_VIOLATION : VERDICT_INCOMPLETE, place, "%s", message);
}

/* Of a run that resumes, the first bundle is believed as to what it follows (see above). */
static void adopt(struct audit *audit, const struct stretch *stretch)
{
    struct chain *chain = &audit->whole.chain;
    if (!audit->adopts || audit->whole.leaves_only)
        return;
    chain->prev = stretch->first_prev;
    chain->last_time = stretch->first_time - 1;
    audit->adopts = false;
}

/* Where an entry begins in its bundle. */
static uint64_t offset_of(const struct bundle *bundle, uint64_t index)
{
    uint64_t offset = 0;
    for (uint64_t i = bundle->number * TILE_WIDTH; i < index && offset + 2 <= bundle->bytes.size_bytes; i++)
        offset += 2 + (uint64_t)get_u16_be(bundle->bytes.data + offset);
    return offset;
}

static bool take_bundle(struct audit *audit, const struct bundle *bundle)
{
    struct err err = {0};
    char path[TILE_PATH_MAX_BYTES];
    const struct tile_id tile = {.level = TILE_LEVEL_ENTRIES, .number = bundle->number, .width = bundle->width};
    struct place place = {.has_index = true,
                          .index = bundle->bad_index,
                          .offset = bundle->code == 0 ? 0 : offset_of(bundle, bundle->bad_index),
                          .has_hashes = bundle->has_hashes,
                          .expected = bundle->expected,
                          .found = bundle->found};
    tile_path(&tile, path);
    snprintf(place.file, sizeof(place.file), "%s", path);
    if (bundle->code != 0) {
        say_what_failed(audit, bundle->code, &place, bundle->err.message);
        return false;
    }
    adopt(audit, &bundle->stretch);
    if (!whole_is_followed_by(&audit->whole, &bundle->stretch)) {
        place.index = bundle->number * TILE_WIDTH;
        place.has_hashes = true;
        place.expected = audit->whole.chain.prev;
        place.found = bundle->stretch.first_prev;
        say_what_failed(audit, ERR_CORRUPT, &place, "the entry does not follow the one before it");
        return false;
    }
    int code = whole_take(&audit->whole, audit->sha, &bundle->stretch, &err);
    if (code != 0) {
        say_what_failed(audit, code, audit->bad_tile.has_index ? &audit->bad_tile : NULL, err.message);
        return false;
    }
    audit->report->bytes += bundle->bytes.size_bytes + bundle->tile.size_bytes;
    progress_add(&audit->progress, bundle->width, bundle->bytes.size_bytes + bundle->tile.size_bytes);
    return true;
}

/* All bundles from the one that holds the entry where the chain stands. False when something was found. */
static bool read_bundles(struct audit *audit, struct pool *pool, uint64_t size)
{
    uint64_t next = audit->whole.chain.range.size / TILE_WIDTH;
    bool sound = true;
    for (;;) {
        unsigned width = tile_width(0, next, size);
        struct bundle *free_bundle = sound && width > 0 ? pool_free_job(pool) : NULL;
        if (free_bundle != NULL) {
            free_bundle->number = next++;
            free_bundle->width = width;
            pool_submit(pool);
            continue;
        }
        const struct bundle *bundle = pool_oldest(pool);
        if (bundle == NULL)
            return sound;
        sound = sound && take_bundle(audit, bundle);
        pool_take_back(pool);
    }
}

static bool compare_partial_tiles(struct audit *audit)
{
    struct err err = {0};
    for (unsigned i = 1; i < LEVELS; i++) {
        if (audit->levels[i].count == audit->levels[i].known_from)
            continue;
        int code = compare_tile(audit, i, &err);
        if (code != 0) {
            say_what_failed(audit, code, audit->bad_tile.has_index ? &audit->bad_tile : NULL, err.message);
            return false;
        }
    }
    return true;
}

static void judge_root(struct audit *audit)
{
    struct log_report *report = audit->report;
    struct note_report *note = &report->notes[NOTE_CHECKPOINT];
    const struct cut *cut = whole_cut_at(&audit->whole, note->checkpoint.size);
    note->root_compared = cut != NULL;
    note->root_matches = cut != NULL && hash_equal(&cut->root, &note->checkpoint.root);
    if (cut == NULL || note->root_matches)
        return;
    const struct place place = {
        .has_index = true, .has_hashes = true, .expected = note->checkpoint.root, .found = cut->root};
    if (note->checkpoint.size == 0)
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place, "a log without entries has another root");
    else
        report_finding(report, AREA_INTEGRITY, VERDICT_VIOLATION, &place,
                       "entries and tiles agree, but do not have the signed root: something in entries 0 to %" PRIu64
                       " was changed; compare with another copy to find where",
                       note->checkpoint.size - 1);
}

static void judge(struct audit *audit, bool sound)
{
    struct log_report *report = audit->report;
    const struct epochs *authority = &audit->whole.authority;
    const struct state_log *seen = history_find(audit->demands, report->origin);
    report->size = audit->whole.chain.range.size;
    report->root = merkle_range_root(&audit->whole.chain.range, audit->sha);
    report->entries_verified = sound && compare_partial_tiles(audit);
    report_epochs(report, authority);
    judge_root(audit);
    if (report->entries_verified)
        history_judge(audit->demands, seen == NULL ? NULL : whole_cut_at(&audit->whole, seen->range.size), report);
    notes_judge_policy(audit->demands, report);
    if (report->entries_verified && report->notes[NOTE_CHECKPOINT].root_matches)
        history_remember(audit->demands, &audit->whole.chain.range, report);
}

static void dismiss(struct audit *audit)
{
    for (size_t i = 0; i < pool_job_count(audit->worker_count); i++) {
        struct bundle *bundle = audit->bundles[i];
        if (bundle == NULL)
            continue;
        stretch_free(&bundle->stretch);
        buf_free(&bundle->bytes);
        buf_free(&bundle->tile);
        buf_free(&bundle->elements);
        mem_free(bundle);
    }
    for (size_t i = 0; i < audit->worker_count; i++) {
        sha256_free(audit->shas[i]);
        fetch_close(audit->fetches[i]);
    }
    epochs_free(&audit->whole.authority);
    buf_free(&audit->tile);
    sha256_free(audit->sha);
    fetch_close(audit->fetch);
    mem_free(audit);
}

static int hire(const struct demands *demands, const char *base, struct audit *audit, struct err *err)
{
    audit->worker_count = pool_worker_count();
    audit->sha = sha256_new();
    buf_init(&audit->tile, TILE_FULL_SIZE);
    epochs_init(&audit->whole.authority);
    int code =
        audit->sha == NULL ? err_no_memory(err, "the audit") : fetch_open(demands->disk, base, &audit->fetch, err);
    for (size_t i = 0; code == 0 && i < audit->worker_count; i++) {
        audit->shas[i] = sha256_new();
        code = audit->shas[i] == NULL ? err_no_memory(err, "the audit")
                                      : fetch_open(demands->disk, base, &audit->fetches[i], err);
    }
    for (size_t i = 0; code == 0 && i < pool_job_count(audit->worker_count); i++) {
        struct bundle *bundle = mem_alloc_zero(1, sizeof(*bundle));
        audit->bundles[i] = bundle;
        if (bundle == NULL)
            return err_no_memory(err, "the audit");
        bundle->audit = audit;
        buf_init(&bundle->bytes, BUNDLE_MAX_BYTES);
        buf_init(&bundle->tile, TILE_FULL_SIZE);
        buf_init(&bundle->elements, ELEMENTS_MAX_BYTES);
    }
    return code;
}

/* Whether the first entry is in our format and belongs to this log. False when it cannot be had, which is a finding:
 * then nobody knows by which rules to check. */
static bool judge_format(struct audit *audit, uint64_t size)
{
    struct bundle *bundle = audit->bundles[0];
    struct log_report *report = audit->report;
    const struct tile_id tile = {.level = TILE_LEVEL_ENTRIES, .width = tile_width(0, 0, size)};
    struct place place = {.has_index = true};
    struct err err = {0};
    if (size == 0 || entry_check_origin(bytes_of_string(report->origin), NULL) != 0)
        return true;
    int code =
        tile_source_get(audit->fetch, tile.level, tile.number, tile.width, &bundle->bytes, &bundle->bytes_width, &err);
    if (code != 0) {
        tile_path(&tile, place.file);
        say_what_failed(audit, code, &place, err.message);
        return false;
    }
    struct bytes bytes = buf_bytes(&bundle->bytes);
    size_t first_size = bytes.size_bytes < 2 ? 0 : get_u16_be(bytes.data);
    report->entries_are_ours = bytes.size_bytes >= 2 + first_size &&
                               is_entry_ours(bytes_of(bytes.data + 2, first_size), audit->whole.chain.log_id);
    return true;
}

/* Where a run goes on that has verified `size` entries: see above. */
static uint64_t resume_size(uint64_t size)
{
    return size % TILE_WIDTH != 0 ? size - size % TILE_WIDTH : size & (size - 1);
}

/* The tree as it is at the start of the run: the largest subtrees of the range in the state, and for each level of
 * tiles those that lie in the tile that grows. */
static void resume(struct audit *audit, const struct merkle_range *seen)
{
    uint64_t size = resume_size(seen->size);
    struct merkle_range *range = &audit->whole.chain.range;
    const struct hash *next = seen->hashes + merkle_range_hash_count(size);
    if (size == 0)
        return;
    range->size = size;
    memcpy(range->hashes, seen->hashes, merkle_range_hash_count(size) * sizeof(range->hashes[0]));
    for (unsigned i = 1; i < LEVELS; i++) {
        struct level *level = &audit->levels[i];
        uint64_t count = size >> (TILE_HEIGHT * i);
        level->number = count / TILE_WIDTH;
        level->count = level->known_from = (size_t)(count % TILE_WIDTH);
        level->range.size = level->count;
        next -= merkle_range_hash_count(level->count);
        memcpy(level->range.hashes, next, merkle_range_hash_count(level->count) * sizeof(next[0]));
    }
    INVARIANT(next == seen->hashes);
    audit->adopts = true;
    audit->report->resumed_at = size;
}

static void run(struct audit *audit, const struct checkpoint *checkpoint)
{
    struct log_report *report = audit->report;
    const struct state_log *seen = history_find(audit->demands, report->origin);
    struct pool *pool = NULL;
    struct err err = {0};
    struct whole *whole = &audit->whole;
    chain_init(&whole->chain, audit->sha, bytes_of_string(report->origin));
    if (!judge_format(audit, checkpoint->size))
        return;
    whole->leaves_only = !report->entries_are_ours;
    whole->node_height_max = NODE_HEIGHT_MAX;
    whole->on_node = on_node;
    whole->context = audit;
    whole_add_cut(whole, checkpoint->size);
    if (seen != NULL)
        whole_add_cut(whole, seen->range.size);
    if (seen != NULL && audit->demands->resume && checkpoint->size >= seen->range.size)
        resume(audit, &seen->range);
    whole_mark_cuts(whole, audit->sha);
    int code = pool_new(audit->worker_count, (void *const *)audit->bundles, work, &pool, &err);
    if (code != 0) {
        report_finding(report, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "%s", err.message);
        return;
    }
    progress_begin(&audit->progress, "entries", checkpoint->size);
    bool sound = read_bundles(audit, pool, checkpoint->size);
    progress_end(&audit->progress);
    pool_free(pool);
    judge(audit, sound);
}

void tlog_load_checkpoint(const struct demands *demands, const char *base, struct log_report *report)
{
    struct fetch *fetch = NULL;
    struct buf message;
    struct err err = {0};
    buf_init(&message, NOTE_MAX_BYTES);
    int code = fetch_open(demands->disk, base, &fetch, &err);
    if (code == 0)
        code = fetch_get(fetch, "checkpoint", &message, &err);
    if (code == 0)
        note_take(report, NOTE_CHECKPOINT, buf_bytes(&message));
    else
        report_finding(report, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "%s", err.message);
    const struct note_report *note = &report->notes[NOTE_CHECKPOINT];
    if (note->present) {
        snprintf(report->origin, sizeof(report->origin), "%s", note->checkpoint.origin);
        notes_judge(demands, report);
    }
    if (demands->payloads_required)
        report_finding(report, AREA_PAYLOADS, VERDICT_POLICY, NULL,
                       "a tlog holds entries only, and all payloads were asked for");
    fetch_close(fetch);
    buf_free(&message);
}

void verify_tlog(const struct demands *demands, const char *base, struct log_report *ret)
{
    struct err err = {0};
    report_begin(ret, COPY_TLOG, base, demands);
    tlog_load_checkpoint(demands, base, ret);
    if (!ret->notes[NOTE_CHECKPOINT].present)
        return;
    struct audit *audit = mem_alloc_zero(1, sizeof(*audit));
    if (audit == NULL) {
        report_finding(ret, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "memory ran out");
        return;
    }
    audit->demands = demands;
    audit->report = ret;
    int code = hire(demands, base, audit, &err);
    if (code == 0)
        run(audit, &ret->notes[NOTE_CHECKPOINT].checkpoint);
    else
        report_finding(ret, AREA_COMPLETENESS, VERDICT_INCOMPLETE, NULL, "%s", err.message);
    dismiss(audit);
}
