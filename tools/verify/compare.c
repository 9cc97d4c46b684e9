/* Finding the first entry in which two copies differ.
 *
 * The roots at the common size are compared first: when they are equal, all entries before it are, and nothing is read.
 * Otherwise the subtrees of one height are laid side by side, as coarse as each copy has them in memory; the first pair
 * that differs holds the first difference (or what lies behind the last whole pair does), and is looked at again with
 * subtrees of a smaller height, until they are single entries. A log of 2^40 entries takes four looks.
 *
 * What a tlog says on the way is only a claim. In the end the leaf at the place found, and the root before it, must
 * lead to the root that its checkpoint signs. */
#include "verify/compare.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

enum { STEP_HEIGHT = 12 }; /* 4,096 subtrees a look */

struct look {
    struct copy *copies[2];
    struct hash *roots[2]; /* COPY_SUBTREES_MAX each */
};

/* Narrows [*first, *end), which holds the first difference, by subtrees of this height. */
static int narrow(struct look *look, unsigned height, uint64_t *first, uint64_t *end, struct err *err)
{
    uint64_t begin = *first >> height;
    uint64_t whole_end = *end >> height;
    while (begin < whole_end) {
        size_t count = whole_end - begin < COPY_SUBTREES_MAX ? (size_t)(whole_end - begin) : COPY_SUBTREES_MAX;
        for (size_t side = 0; side < 2; side++) {
            int code = copy_subtrees(look->copies[side], height, begin, count, look->roots[side], err);
            if (code != 0)
                return code;
        }
        for (size_t i = 0; i < count; i++) {
            if (hash_equal(&look->roots[0][i], &look->roots[1][i]))
                continue;
            *first = (begin + i) << height;
            *end = *first + ((uint64_t)1 << height);
            return 0;
        }
        begin += count;
    }
    *first = whole_end << height;
    return 0;
}

/* The first difference below `common`, where the roots differ. */
static int search(struct look *look, uint64_t common, uint64_t *ret, struct err *err)
{
    uint64_t first = 0;
    uint64_t end = common;
    unsigned height = copy_height(look->copies[0]);
    if (copy_height(look->copies[1]) > height)
        height = copy_height(look->copies[1]);
    while (common >> height >= COPY_SUBTREES_MAX)
        height++;
    for (;;) {
        int code = narrow(look, height, &first, &end, err);
        if (code != 0)
            return code;
        if (height == 0)
            break;
        height = height > STEP_HEIGHT ? height - STEP_HEIGHT : 0;
    }
    if (first >= end)
        return err_set(err, ERR_CORRUPT, "the roots at size %" PRIu64 " differ, but no entry does", common);
    *ret = first;
    return 0;
}

/* The copies must agree before the place that was found, and differ there, by what their roots vouch for. */
static int confirm(struct look *look, struct comparison *ret, struct err *err)
{
    struct hash before[2];
    int code = 0;
    for (size_t side = 0; code == 0 && side < 2; side++) {
        code = copy_root_at(look->copies[side], ret->first_difference, &before[side], err);
        if (code == 0)
            code = copy_leaf_at(look->copies[side], ret->first_difference, &ret->leaves[side], err);
    }
    if (code != 0)
        return code;
    ret->has_hashes = true;
    if (!hash_equal(&before[0], &before[1]) || hash_equal(&ret->leaves[0], &ret->leaves[1]))
        return err_set(err, ERR_CORRUPT, "the hashes of one copy contradict its own root near entry %" PRIu64,
                       ret->first_difference);
    return 0;
}

static int lay_side_by_side(struct look *look, struct comparison *ret, struct err *err)
{
    uint64_t common = look->copies[0]->size < look->copies[1]->size ? look->copies[0]->size : look->copies[1]->size;
    struct hash roots[2];
    int code = 0;
    ret->common_size = common;
    for (size_t side = 0; code == 0 && side < 2; side++)
        code = copy_root_at(look->copies[side], common, &roots[side], err);
    if (code != 0 || hash_equal(&roots[0], &roots[1]))
        return code;
    code = search(look, common, &ret->first_difference, err);
    if (code != 0)
        return code;
    ret->differs = true;
    ret->common_size = ret->first_difference;
    return confirm(look, ret, err);
}

static void explain(const struct copy *a, const struct copy *b, struct comparison *comparison)
{
    char *out = comparison->message;
    size_t room = sizeof(comparison->message);
    const struct copy *shorter = a->size < b->size ? a : b;
    const struct copy *longer = a->size < b->size ? b : a;
    if (comparison->differs)
        snprintf(out, room, "index %" PRIu64 " is the first that differs: these are two histories of %s",
                 comparison->first_difference, a->report.origin);
    else if (a->size == b->size)
        snprintf(out, room, "both hold the same %" PRIu64 " entries", a->size);
    else
        snprintf(out, room, "the %" PRIu64 " entries of %s are the first of the %" PRIu64 " of %s", shorter->size,
                 shorter->report.path, longer->size, longer->report.path);
}

/* The signed notes of two copies, whichever cover most, when the copies are two histories. */
static void keep_evidence(struct copy *a, struct copy *b, const struct comparison *comparison)
{
    const struct note_report *one = report_covering_note(&a->report);
    const struct note_report *other = report_covering_note(&b->report);
    if (a->report.kind == COPY_TLOG)
        one = &a->report.notes[NOTE_CHECKPOINT];
    if (b->report.kind == COPY_TLOG)
        other = &b->report.notes[NOTE_CHECKPOINT];
    if (one == NULL || other == NULL || one->checkpoint.size <= comparison->first_difference ||
        other->checkpoint.size <= comparison->first_difference)
        return;
    report_evidence(&a->report, buf_bytes(&one->message), buf_bytes(&other->message), "two signed histories of %s",
                    a->report.origin);
}

void compare_copies(struct copy *a, struct copy *b, struct comparison *ret)
{
    struct err err = {0};
    struct look look = {.copies = {a, b}};
    *ret = (struct comparison){.verdict = verdict_worse(a->report.verdict, b->report.verdict)};
    if (a->report.origin[0] != '\0' && b->report.origin[0] != '\0' && strcmp(a->report.origin, b->report.origin) != 0) {
        ret->verdict = VERDICT_VIOLATION;
        ret->compared = true;
        ret->differs = true;
        snprintf(ret->message, sizeof(ret->message), "entry 0 differs: these are two logs, %s and %s", a->report.origin,
                 b->report.origin);
        return;
    }
    if (!a->usable || !b->usable) {
        ret->verdict = verdict_worse(ret->verdict, VERDICT_INCOMPLETE);
        snprintf(ret->message, sizeof(ret->message), "not compared, because %s could not be read through",
                 a->usable ? b->report.path : a->report.path);
        return;
    }
    look.roots[0] = mem_alloc_zero(COPY_SUBTREES_MAX, sizeof(struct hash));
    look.roots[1] = mem_alloc_zero(COPY_SUBTREES_MAX, sizeof(struct hash));
    int code = look.roots[0] == NULL || look.roots[1] == NULL ? err_no_memory(&err, "a comparison")
                                                              : lay_side_by_side(&look, ret, &err);
    if (code == 0) {
        ret->compared = true;
        ret->verdict = ret->differs ? VERDICT_VIOLATION : ret->verdict;
        explain(a, b, ret);
        if (ret->differs)
            keep_evidence(a, b, ret);
    } else {
        ret->differs = false;
        ret->verdict = verdict_worse(ret->verdict, code == ERR_CORRUPT ? VERDICT_VIOLATION : VERDICT_INCOMPLETE);
        snprintf(ret->message, sizeof(ret->message), "%s", err.message);
    }
    mem_free(look.roots[1]);
    mem_free(look.roots[0]);
}
