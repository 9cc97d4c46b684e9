/* Checking a log in stretches: each by itself, by any thread, and then one after the other.
 *
 * A stretch believes its first entry as to what that follows; everything else is checked inside: canonical form, index,
 * log id, prev, time, payload commitments. It is reduced to the subtrees that it is made of, its ends, and what was
 * seen of epochs and payloads. The whole takes stretches in order and compares the ends: together that is every rule of
 * chain_check_block, with nearly all the work done side by side. */
#ifndef VERIFY_STRETCH_H
#define VERIFY_STRETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "log/block.h"
#include "verify/epochs.h"
#include "verify/retired.h"
#include "verify/subtree.h"

enum { CUTS_MAX = 16, NODE_HEIGHT_MAX = 8 };

/* A size at which the tree is wanted. */
struct cut {
    uint64_t size;
    bool reached;
    struct merkle_range range;
    struct hash root;
};

struct payload_counts {
    uint64_t held;
    uint64_t held_encrypted; /* of those held: with a subject's key id */
    uint64_t withheld;       /* without salt, which is how one that is withheld or was erased looks */
    uint64_t withheld_encrypted;
};

/* The root of a perfect subtree of 2^height entries that starts at first_index; in order, without gaps. */
typedef int on_node_fn(void *context, unsigned height, uint64_t first_index, const struct hash *root, struct err *err);

struct whole {
    struct chain chain;        /* chain_init before; where the log stands after the stretches taken */
    bool leaves_only;          /* entries of other people's logs: only the tree is checked */
    unsigned node_height_max;  /* largest subtree that on_node sees, at most NODE_HEIGHT_MAX */
    on_node_fn *on_node;       /* may be NULL */
    void *context;             /* of on_node */
    struct cut cuts[CUTS_MAX]; /* by size */
    size_t cut_count;
    struct epochs authority; /* epochs_init before, epochs_free afterwards */
    struct retired retired;
    struct payload_counts payloads;
};

/* Asks for the tree at `size`, before anything is taken. False when there is no room. */
bool whole_add_cut(struct whole *whole, uint64_t size);
/* The cut of that size, or NULL when it was not reached. */
const struct cut *whole_cut_at(const struct whole *whole, uint64_t size);
/* Reaches the cuts at the size where the chain stands. */
void whole_mark_cuts(struct whole *whole, struct sha256 *sha);

struct stretch {
    const struct whole *whole; /* only what does not change while stretches are checked is looked at */
    struct sha256 *sha;
    size_t next_cut;
    struct subtree_run nodes;
    struct epochs_stretch authority;
    struct retired retired;
    struct payload_counts payloads;
    bool started;
    struct hash first_prev;
    hlc first_time;
    uint64_t first_index;
    struct chain_tip tip; /* behind the last entry */
};

/* Starts anew, in memory that an earlier stretch used; zeros are fine. */
void stretch_begin(struct stretch *stretch, const struct whole *whole, struct sha256 *sha, uint64_t first_index,
                   const uint8_t log_id[ENTRY_LOG_ID_SIZE]);
void stretch_free(struct stretch *stretch);
/* A run of elements. The bytes must stay until the stretch is taken. ERR_CORRUPT, ERR_UNSUPPORTED, ERR_NO_MEMORY. */
int stretch_check(struct stretch *stretch, struct bytes elements, uint32_t entry_count, struct err *err) MUST_USE;
/* For leaves_only. ERR_NO_MEMORY. */
int stretch_add_leaf(struct stretch *stretch, const struct hash *leaf, struct err *err) MUST_USE;

/* Whether the stretch is what comes next. */
bool whole_is_followed_by(const struct whole *whole, const struct stretch *stretch);
/* Takes a stretch that comes next. ERR_NO_MEMORY, or what on_node returned. */
int whole_take(struct whole *whole, struct sha256 *sha, const struct stretch *stretch, struct err *err) MUST_USE;

#endif
