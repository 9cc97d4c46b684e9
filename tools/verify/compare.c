/* Laying two copies side by side.
 *
 * Both were verified before, so each is a chain: an entry holds the hash of the one before it, and two logs that agree
 * at entry k agree everywhere before. So the first difference is found by looking at every 1,024th leaf hash, which
 * verifying left behind, and then reading the leaf hashes of one stretch again. Leaf hashes are SHA-256 over the
 * entry's bytes: equal hashes are equal bytes. */
#include <stdio.h>

#include "base/mem.h"
#include "verify/verify.h"

/* Leaf hashes of entries first … first + count - 1. */
struct stretch {
    uint64_t first;
    uint64_t count;
    uint64_t filled;
    struct sha256 *sha;
    struct hash leaves[LEAF_STRIDE];
};

static int read_leaves(void *context, const struct scan_block *block, struct err *err)
{
    struct stretch *stretch = context;
    struct bytes elements = block->body;
    uint64_t index = block->header.first_index;
    if (index + block->header.entry_count <= stretch->first)
        return 0;
    for (uint32_t i = 0; i < block->header.entry_count && stretch->filled < stretch->count; i++, index++) {
        struct bytes frame_bytes;
        struct frame frame;
        int code = frame_next_element(&elements, &frame_bytes, err);
        if (code == 0)
            code = frame_parse(frame_bytes, &frame, err);
        if (code != 0)
            return err_set(err, ERR_CORRUPT, "entry %llu changed while it was being read", (unsigned long long)index);
        if (index >= stretch->first)
            stretch->leaves[stretch->filled++] = merkle_leaf(stretch->sha, frame.entry);
    }
    return stretch->filled == stretch->count ? ERR_END : 0;
}

static int fill(struct disk *disk, const char *folder, uint64_t first, uint64_t count, struct stretch *ret,
                struct err *err)
{
    struct scan_result result;
    ret->first = first;
    ret->count = count;
    ret->filled = 0;
    int code = scan_log(disk, folder, NULL, read_leaves, ret, &result, err);
    if (code == 0 && ret->filled < count)
        return err_set(err, ERR_IO, "%s became shorter while it was being read", folder);
    return code == ERR_END ? 0 : code;
}

/* The stretch in which the first difference lies, if there is one: the samples before it agree. */
static uint64_t first_suspect(const struct log_report *a, const struct log_report *b, uint64_t common)
{
    uint64_t stretch = 0;
    while ((stretch + 1) * LEAF_STRIDE <= common && stretch < a->leaf_count && stretch < b->leaf_count &&
           hash_equal(&a->leaves[stretch], &b->leaves[stretch]))
        stretch++;
    return stretch * LEAF_STRIDE;
}

static int find_difference(struct disk *disk, const struct log_report *a, const struct log_report *b,
                           struct stretch *left, struct stretch *right, struct comparison *ret, struct err *err)
{
    uint64_t common = a->scan.size < b->scan.size ? a->scan.size : b->scan.size;
    uint64_t first = first_suspect(a, b, common);
    uint64_t count = common - first < LEAF_STRIDE ? common - first : LEAF_STRIDE;
    ret->common_size = common;
    if (count == 0)
        return 0;
    int code = fill(disk, a->folder, first, count, left, err);
    if (code == 0)
        code = fill(disk, b->folder, first, count, right, err);
    for (uint64_t i = 0; code == 0 && i < count; i++) {
        if (hash_equal(&left->leaves[i], &right->leaves[i]))
            continue;
        ret->differs = true;
        ret->first_difference = first + i;
        ret->common_size = first + i;
        break;
    }
    return code;
}

static void explain(const struct log_report *a, const struct log_report *b, struct comparison *comparison)
{
    unsigned long long a_size = a->scan.size;
    unsigned long long b_size = b->scan.size;
    char *out = comparison->message;
    size_t room = sizeof(comparison->message);
    if (comparison->differs)
        snprintf(out, room, "index %llu is the first that differs: these are two histories of %s",
                 (unsigned long long)comparison->first_difference, a->origin);
    else if (a_size == b_size)
        snprintf(out, room, "both hold the same %llu entries", a_size);
    else
        snprintf(out, room, "the %llu entries of %s are the first of the %llu of %s", a_size < b_size ? a_size : b_size,
                 a_size < b_size ? a->folder : b->folder, a_size < b_size ? b_size : a_size,
                 a_size < b_size ? b->folder : a->folder);
}

static enum verdict worse(enum verdict a, enum verdict b)
{
    if (a == VERDICT_VIOLATION || b == VERDICT_VIOLATION)
        return VERDICT_VIOLATION;
    return a > b ? a : b;
}

void compare_logs(struct disk *disk, const struct log_report *a, const struct log_report *b, struct comparison *ret)
{
    struct err err = {0};
    *ret = (struct comparison){.verdict = worse(a->verdict, b->verdict)};
    if (a->origin[0] != '\0' && b->origin[0] != '\0' && strcmp(a->origin, b->origin) != 0) {
        ret->verdict = VERDICT_VIOLATION;
        snprintf(ret->message, sizeof(ret->message), "entry 0 differs: these are two logs, %s and %s", a->origin,
                 b->origin);
        ret->compared = true;
        ret->differs = true;
        return;
    }
    if (!a->entries_verified || !b->entries_verified) {
        snprintf(ret->message, sizeof(ret->message), "not compared, because %s could not be read through",
                 a->entries_verified ? b->folder : a->folder);
        return;
    }
    struct stretch *left = mem_alloc_zero(1, sizeof(*left));
    struct stretch *right = mem_alloc_zero(1, sizeof(*right));
    struct sha256 *sha = sha256_new();
    int code = left == NULL || right == NULL || sha == NULL ? err_no_memory(&err, "a comparison") : 0;
    if (code == 0) {
        left->sha = sha;
        right->sha = sha;
        code = find_difference(disk, a, b, left, right, ret, &err);
    }
    if (code == 0) {
        ret->compared = true;
        ret->verdict = ret->differs ? VERDICT_VIOLATION : ret->verdict;
        explain(a, b, ret);
    } else {
        ret->verdict = worse(ret->verdict, code == ERR_CORRUPT ? VERDICT_VIOLATION : VERDICT_INCOMPLETE);
        snprintf(ret->message, sizeof(ret->message), "%s", err.message);
    }
    sha256_free(sha);
    mem_free(right);
    mem_free(left);
}
