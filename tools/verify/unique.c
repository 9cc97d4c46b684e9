/* Keys that come twice (unique.h).
 *
 * The filter is a Bloom filter in lines: a key's marks are MARKS bits of one line, so that a key costs one look at
 * memory. Marks are only ever added during a pass, and every key adds its own. Hence
 *  1. the second and every later place of a key makes its hash a candidate: nothing that comes twice is missed;
 *  2. so the pass that follows sees all places of that key, the first one too, and tells them.
 * What is cut off a range in the first pass is added again by the passes of a later range: equal keys have equal
 * hashes, so they are never parted. Of the records of one key only the first must be kept; the others are told when
 * room is needed, and then dropped. */
#include "verify/unique.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/siphash.h"

enum {
    MARKS = 7,              /* nine bits of a hash each */
    BITS_OF_KEY_MIN = 10,   /* when a range is full: one key in a hundred is a candidate by chance */
    BITS_OF_KEY_WANTED = 64 /* one in a million */
};

const struct unique_room unique_room_default = {
    .lines = (size_t)1 << 20, .candidates = (size_t)1 << 19, .records = (size_t)1 << 20};

/* A power of two, for so many keys: a small filter stays in the processor's cache. */
static size_t lines_for(uint64_t keys, size_t most)
{
    size_t lines = 1;
    while (lines < most && lines * UNIQUE_LINE_BITS / BITS_OF_KEY_WANTED < keys)
        lines *= 2;
    return lines;
}

int unique_init(struct unique *ret, const struct unique_room *room, const uint8_t seed[UNIQUE_SEED_BYTES],
                uint64_t keys_expected, unique_twice_fn *twice, void *context, struct err *err)
{
    PRE(room->lines > 0 && (room->lines & (room->lines - 1)) == 0);
    PRE(room->candidates >= 2 && room->records >= 1);
    uint64_t keys_of_range = room->lines * UNIQUE_LINE_BITS / BITS_OF_KEY_MIN;
    *ret = (struct unique){.room = *room, .twice = twice, .context = context};
    ret->room.lines = lines_for(keys_expected, room->lines);
    ret->width = ret->last = UINT64_MAX / (keys_expected / keys_of_range + 1);
    memcpy(ret->seed, seed, UNIQUE_SEED_BYTES);
    ret->sha = sha256_new();
    ret->filter = mem_alloc_zero(ret->room.lines, UNIQUE_LINE_BITS / 8);
    ret->candidates = mem_alloc_zero(room->candidates, sizeof(*ret->candidates));
    ret->records = mem_alloc_zero(room->records, sizeof(*ret->records));
    bool whole = ret->sha != NULL && ret->filter != NULL && ret->candidates != NULL && ret->records != NULL;
    return whole ? 0 : err_no_memory(err, "the search for what came twice");
}

void unique_free(struct unique *unique)
{
    sha256_free(unique->sha);
    mem_free(unique->filter);
    mem_free(unique->candidates);
    mem_free(unique->records);
}

/* --- The first pass --- */

/* Whether all marks were there. */
static bool mark(struct unique *unique, uint64_t hash)
{
    uint64_t *line = &unique->filter[(hash & (unique->room.lines - 1)) * (UNIQUE_LINE_BITS / 64)];
    uint64_t marks = hash * UINT64_C(0x9E3779B97F4A7C15); /* as independent of the line as need be */
    marks ^= marks >> 32;
    bool all = true;
    for (unsigned i = 0; i < MARKS; i++, marks >>= 9) {
        uint64_t *word = &line[(marks & 511) / 64];
        uint64_t bit = UINT64_C(1) << (marks & 63);
        all = all && (*word & bit) != 0;
        *word |= bit;
    }
    return all;
}

static int compare_hashes(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* In order, each once. */
static void tidy_candidates(struct unique *unique)
{
    size_t kept = 0;
    qsort(unique->candidates, unique->candidate_count, sizeof(unique->candidates[0]), compare_hashes);
    for (size_t i = 0; i < unique->candidate_count; i++) {
        if (kept == 0 || unique->candidates[kept - 1] != unique->candidates[i])
            unique->candidates[kept++] = unique->candidates[i];
    }
    unique->candidate_count = kept;
}

/* When there is not half of the room to win, the upper half of the range is left to later. */
static void make_room_for_candidates(struct unique *unique)
{
    tidy_candidates(unique);
    size_t most = unique->room.candidates / 2;
    if (unique->candidate_count <= most)
        return;
    unique->last = unique->candidates[most] - 1;
    unique->width = unique->last - unique->begin;
    unique->candidate_count = most;
}

static void add_candidate(struct unique *unique, uint64_t hash)
{
    if (unique->candidate_count == unique->room.candidates)
        make_room_for_candidates(unique);
    if (hash <= unique->last)
        unique->candidates[unique->candidate_count++] = hash;
}

/* --- The second pass --- */

static bool is_candidate(const struct unique *unique, uint64_t hash)
{
    size_t low = 0, high = unique->candidate_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unique->candidates[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < unique->candidate_count && unique->candidates[low] == hash;
}

static int compare_records(const void *left, const void *right)
{
    const struct unique_record *a = left, *b = right;
    int order = memcmp(a->key, b->key, UNIQUE_KEY_BYTES);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

/* Tells all later places of each key, and keeps the first ones. */
static int tell(struct unique *unique, struct err *err)
{
    size_t kept = 0;
    qsort(unique->records, unique->record_count, sizeof(unique->records[0]), compare_records);
    for (size_t i = 0; i < unique->record_count; i++) {
        const struct unique_record *record = &unique->records[i];
        if (kept == 0 || memcmp(unique->records[kept - 1].key, record->key, UNIQUE_KEY_BYTES) != 0) {
            unique->records[kept++] = *record;
            continue;
        }
        int code = unique->twice(unique->context, unique->records[kept - 1].place, record->place, err);
        if (code != 0)
            return code;
    }
    unique->record_count = kept;
    return 0;
}

static int add_record(struct unique *unique, struct bytes key, uint64_t place, struct err *err)
{
    if (unique->record_count == unique->room.records) {
        int code = tell(unique, err);
        if (code == 0 && unique->record_count == unique->room.records)
            code = err_set(err, ERR_TOO_LARGE, "too many keys have hashes that are alike");
        if (code != 0)
            return code;
    }
    struct unique_record *record = &unique->records[unique->record_count++];
    struct hash hash = sha256_of(unique->sha, key);
    memcpy(record->key, hash.bytes, UNIQUE_KEY_BYTES);
    record->place = place;
    return 0;
}

/* --- Both --- */

int unique_add(struct unique *unique, struct bytes key, uint64_t place, struct err *err)
{
    uint64_t hash = siphash24(unique->seed, key);
    if (hash < unique->begin || hash > unique->last)
        return 0;
    if (unique->matching)
        return is_candidate(unique, hash) ? add_record(unique, key, place, err) : 0;
    if (mark(unique, hash))
        add_candidate(unique, hash);
    return 0;
}

static void next_range(struct unique *unique, bool *ret_more)
{
    unique->matching = false;
    unique->candidate_count = unique->record_count = 0;
    *ret_more = unique->last != UINT64_MAX;
    if (!*ret_more)
        return;
    unique->begin = unique->last + 1;
    unique->last = UINT64_MAX - unique->begin < unique->width ? UINT64_MAX : unique->begin + unique->width;
    memset(unique->filter, 0, unique->room.lines * (UNIQUE_LINE_BITS / 8));
}

int unique_end(struct unique *unique, bool *ret_more, struct err *err)
{
    if (!unique->matching) {
        tidy_candidates(unique);
        unique->matching = unique->candidate_count > 0;
        *ret_more = true;
        if (!unique->matching)
            next_range(unique, ret_more);
        return 0;
    }
    int code = tell(unique, err);
    if (code == 0)
        next_range(unique, ret_more);
    return code;
}
