/* Keys that come twice (unique.h).
 *
 * Invariants:
 *  1. The records are those keys of [begin, last] that were added in this pass, or of a key that comes as often as
 * there is room for, at least its first two.
 *  2. Whatever leaves the range by cutting it is added again in a later pass, which begins behind `last`: equal keys
 *     have equal first bytes, so they are never parted.
 *  3. Only the end of a pass tells: a key that is told is not cut away afterwards, to be told again.
 *
 * Keys whose first 8 bytes are equal but which differ cannot be parted by a cut. As many as there is room for would be
 * needed to stop the search, and each takes some 2^64 attempts to find; it is an error then, not a silent gap. */
#include "verify/unique.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

int unique_init(struct unique *unique, size_t capacity, unique_twice_fn *twice, void *context, struct err *err)
{
    PRE(capacity >= 4 && capacity <= UNIQUE_RECORDS_MAX);
    *unique = (struct unique){
        .capacity = capacity, .last = UINT64_MAX, .width = UINT64_MAX, .twice = twice, .context = context};
    unique->records = mem_alloc_zero(capacity, sizeof(*unique->records));
    return unique->records == NULL ? err_no_memory(err, "the search for what came twice") : 0;
}

void unique_free(struct unique *unique)
{
    mem_free(unique->records);
    unique->records = NULL;
}

static int compare_records(const void *left, const void *right)
{
    const struct unique_record *a = left, *b = right;
    int order = memcmp(a->key, b->key, UNIQUE_KEY_BYTES);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

static void sort(struct unique *unique)
{
    qsort(unique->records, unique->count, sizeof(*unique->records), compare_records);
}

static uint64_t prefix(const struct unique *unique, size_t at)
{
    return get_u64_be(unique->records[at].key);
}

static bool same_key(const struct unique_record *a, const struct unique_record *b)
{
    return memcmp(a->key, b->key, UNIQUE_KEY_BYTES) == 0;
}

/* Of sorted records that cannot be parted: keeps the first two of each key. */
static void thin_out(struct unique *unique)
{
    size_t kept = 0;
    for (size_t i = 0; i < unique->count; i++) {
        const struct unique_record *record = &unique->records[i];
        if (kept < 2 || !same_key(&unique->records[kept - 2], record))
            unique->records[kept++] = *record;
    }
    unique->count = kept;
}

/* Leaves the upper half to a later pass. */
static int make_room(struct unique *unique, struct err *err)
{
    sort(unique);
    size_t cut = unique->count / 2;
    while (cut > 0 && prefix(unique, cut - 1) == prefix(unique, cut))
        cut--;
    if (cut == 0) {
        do
            cut++;
        while (cut < unique->count && prefix(unique, cut) == prefix(unique, 0));
    }
    if (cut == unique->count) {
        thin_out(unique);
        return unique->count < unique->capacity
                   ? 0
                   : err_set(err, ERR_TOO_LARGE, "too many keys have hashes that begin alike");
    }
    unique->last = prefix(unique, cut) - 1;
    unique->width = unique->last - unique->begin;
    unique->count = cut;
    return 0;
}

int unique_add(struct unique *unique, const struct hash *hash, uint64_t place, struct err *err)
{
    uint64_t at = get_u64_be(hash->bytes);
    if (at < unique->begin || at > unique->last)
        return 0;
    if (unique->count == unique->capacity) {
        int code = make_room(unique, err);
        if (code != 0 || at > unique->last)
            return code;
    }
    struct unique_record *record = &unique->records[unique->count++];
    memcpy(record->key, hash->bytes, UNIQUE_KEY_BYTES);
    record->place = place;
    return 0;
}

int unique_end(struct unique *unique, bool *ret_more, struct err *err)
{
    size_t first = 0;
    sort(unique);
    for (size_t i = 1; i < unique->count; i++) {
        if (!same_key(&unique->records[first], &unique->records[i])) {
            first = i;
            continue;
        }
        int code = unique->twice(unique->context, unique->records[first].place, unique->records[i].place, err);
        if (code != 0)
            return code;
    }
    unique->count = 0;
    *ret_more = unique->last != UINT64_MAX;
    if (*ret_more) {
        unique->begin = unique->last + 1;
        unique->last = UINT64_MAX - unique->begin < unique->width ? UINT64_MAX : unique->begin + unique->width;
    }
    return 0;
}
