/* Repairing a log that nobody has open, from somebody else's copy of it. */
#ifndef LOG_MEND_H
#define LOG_MEND_H

#include "log/scrub.h"

enum { MEND_FINDINGS_MAX = 1024, MEND_GOALS_MAX = 4 };

/* Takes one block. */
typedef int mend_block_fn(void *context, const struct block *block, struct err *err);

struct mend {
    struct disk *disk;
    const char *folder;   /* the log's */
    const char *evidence; /* a folder, where damaged files are kept */
    const char *origin;
    struct sha256 *sha;
    /* Checkpoints whose signature was verified. At least one that is compared must cover each repaired range. */
    struct scrub_goal goals[MEND_GOALS_MAX];
    size_t goal_count;
    uint64_t required_size; /* entries that must be there: what the stored checkpoints cover */
    /* Calls each for blocks of the log that hold entries from first_index to end_index - 1, in order and without a gap;
     * the first may begin before, the last may end behind. Nothing is believed of them. */
    int (*fetch)(void *context, uint64_t first_index, uint64_t end_index, mend_block_fn *each, void *each_context,
                 struct err *err);
    void *context;
    /* Filled by mend_find. */
    uint64_t *segments;
    size_t segment_count;
    struct scrub_finding *findings; /* in order */
    size_t finding_count;
    uint64_t size; /* entries that the log claims to hold */
};

/* Reads everything, lists what is damaged, and compares the root of each goal that lies before the damage of its
 * segment: where every block is whole, only such a root tells that the log was changed and chained anew. ERR_NOT_FOUND
 * (no segment), ERR_TOO_LARGE (more places than are listed), disk errors. */
int mend_find(struct mend *mend, struct err *err) MUST_USE;
/* Makes whole copies of the damaged segments beside them ("<segment>.mend"), with the intact blocks as they are and the
 * missing entries as fetched, byte for byte; checks the chain on both sides of each range, the tree against the next
 * segment's header, and the root of a signed checkpoint that covers all of it. ERR_CORRUPT when what was fetched does
 * not fit or no checkpoint vouches for it; errors of fetch and of the disk. Nothing that was there is changed. */
int mend_stage(struct mend *mend, struct err *err) MUST_USE;
/* After mend_stage: copies each damaged file to the evidence, then replaces it, atomically and durably. A crash leaves
 * some segments repaired and some not; repeating finishes it. */
int mend_commit(struct mend *mend, struct err *err) MUST_USE;
/* Removes staged files that were not committed, and frees. */
void mend_free(struct mend *mend);

#endif
