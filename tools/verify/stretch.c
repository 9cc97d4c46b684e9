/* Stretches and the whole (stretch.h).
 *
 * Invariant: no subtree of a stretch spans a cut or a multiple of 2^node_height_max, so the tree of the whole passes
 * through every size that is wanted. */
#include "verify/stretch.h"

#include "base/assert.h"

bool whole_add_cut(struct whole *whole, uint64_t size)
{
    size_t at = 0;
    while (at < whole->cut_count && whole->cuts[at].size < size)
        at++;
    if (at < whole->cut_count && whole->cuts[at].size == size)
        return true;
    if (whole->cut_count == CUTS_MAX)
        return false;
    memmove(&whole->cuts[at + 1], &whole->cuts[at], (whole->cut_count - at) * sizeof(whole->cuts[0]));
    whole->cuts[at] = (struct cut){.size = size};
    whole->cut_count++;
    return true;
}

const struct cut *whole_cut_at(const struct whole *whole, uint64_t size)
{
    for (size_t i = 0; i < whole->cut_count; i++) {
        if (whole->cuts[i].size == size)
            return whole->cuts[i].reached ? &whole->cuts[i] : NULL;
    }
    return NULL;
}

void whole_mark_cuts(struct whole *whole, struct sha256 *sha)
{
    for (size_t i = 0; i < whole->cut_count; i++) {
        struct cut *cut = &whole->cuts[i];
        if (cut->size != whole->chain.range.size || cut->reached)
            continue;
        cut->reached = true;
        cut->range = whole->chain.range;
        cut->root = merkle_range_root(&cut->range, sha);
    }
}

void stretch_begin(struct stretch *stretch, const struct whole *whole, struct sha256 *sha, uint64_t first_index,
                   const uint8_t log_id[ENTRY_LOG_ID_SIZE])
{
    stretch->whole = whole;
    stretch->sha = sha;
    stretch->payloads = (struct payload_counts){0};
    stretch->started = false;
    stretch->first_index = first_index;
    stretch->tip = (struct chain_tip){.index = first_index};
    memcpy(stretch->tip.log_id, log_id, ENTRY_LOG_ID_SIZE);
    stretch->next_cut = 0;
    while (stretch->next_cut < whole->cut_count && whole->cuts[stretch->next_cut].size < first_index)
        stretch->next_cut++;
    epochs_stretch_begin(&stretch->authority);
    stretch->retired.count = 0;
    stretch->retired.overflowed = false;
    subtree_begin(&stretch->nodes, first_index, whole->node_height_max);
}

void stretch_free(struct stretch *stretch)
{
    epochs_stretch_free(&stretch->authority);
    subtree_free(&stretch->nodes);
}

int stretch_add_leaf(struct stretch *stretch, const struct hash *leaf, struct err *err)
{
    const struct whole *whole = stretch->whole;
    if (stretch->next_cut < whole->cut_count && whole->cuts[stretch->next_cut].size == stretch->nodes.next_index) {
        subtree_cut(&stretch->nodes);
        stretch->next_cut++;
    }
    return subtree_add(&stretch->nodes, stretch->sha, leaf, err);
}

static int each_entry(void *context, const struct chain_entry *entry, struct err *err)
{
    struct stretch *stretch = context;
    bool encrypted = entry->entry.subject_key_id.size_bytes > 0;
    if (entry->frame.has_payload) {
        stretch->payloads.held++;
        stretch->payloads.held_encrypted += encrypted;
    } else {
        stretch->payloads.withheld++;
        stretch->payloads.withheld_encrypted += encrypted;
    }
    if ((entry->entry.flags & ENTRY_FLAG_CONTROL) != 0)
        retired_add(&stretch->retired, entry);
    int code = stretch_add_leaf(stretch, &entry->leaf, err);
    return code == 0 ? epochs_stretch_add(&stretch->authority, &entry->entry, err) : code;
}

/* The first entry is believed for the moment; the whole compares what it follows. */
static int start(struct stretch *stretch, struct bytes elements, struct err *err)
{
    struct frame frame;
    struct entry entry;
    int code = frame_next_entry(&elements, &frame, &entry, err);
    if (code != 0)
        return code;
    stretch->started = true;
    stretch->first_prev = stretch->tip.prev = entry.prev;
    stretch->first_time = entry.time;
    stretch->tip.last_time = entry.time - 1;
    return 0;
}

int stretch_check(struct stretch *stretch, struct bytes elements, uint32_t entry_count, struct err *err)
{
    int code = stretch->started ? 0 : start(stretch, elements, err);
    if (code == 0)
        code = chain_check_links(&stretch->tip, stretch->sha, elements, entry_count, each_entry, stretch, NULL, err);
    return code;
}

bool whole_is_followed_by(const struct whole *whole, const struct stretch *stretch)
{
    const struct chain *chain = &whole->chain;
    if (stretch->first_index != chain->range.size)
        return false;
    return whole->leaves_only ||
           (hash_equal(&stretch->first_prev, &chain->prev) && stretch->first_time > chain->last_time);
}

int whole_take(struct whole *whole, struct sha256 *sha, const struct stretch *stretch, struct err *err)
{
    PRE(whole_is_followed_by(whole, stretch));
    int code = 0;
    for (size_t i = 0; code == 0 && i < stretch->nodes.count; i++) {
        const struct subtree *node = &stretch->nodes.nodes[i];
        uint64_t first = whole->chain.range.size;
        merkle_range_append_subtree(&whole->chain.range, sha, node->height, &node->root);
        whole_mark_cuts(whole, sha);
        if (whole->on_node != NULL)
            code = whole->on_node(whole->context, node->height, first, &node->root, err);
    }
    if (code == 0)
        code = epochs_take(&whole->authority, &stretch->authority, err);
    if (code != 0)
        return code;
    INVARIANT(whole->chain.range.size == stretch->nodes.next_index);
    retired_take(&whole->retired, &stretch->retired);
    whole->chain.prev = stretch->tip.prev;
    whole->chain.last_time = stretch->tip.last_time;
    whole->payloads.held += stretch->payloads.held;
    whole->payloads.held_encrypted += stretch->payloads.held_encrypted;
    whole->payloads.withheld += stretch->payloads.withheld;
    whole->payloads.withheld_encrypted += stretch->payloads.withheld_encrypted;
    return 0;
}
