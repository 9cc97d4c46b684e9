/* One pass over a log's segments on all processors: every byte is read once, and everything about it is checked then.
 *
 * What one job (a run of blocks) can be told by itself is done by workers: checksums, padding, canonical form, payload
 * commitments, leaf hashes, the chain inside the run, and the roots of the perfect subtrees that it is made of. The
 * owner's thread puts jobs together in order: the chain from one to the next, the tree, epochs. Memory does not depend
 * on the size of the log. */
#ifndef VERIFY_SWEEP_H
#define VERIFY_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "log/scan.h"
#include "platform/disk.h"
#include "verify/progress.h"
#include "verify/stretch.h"

struct sweep {
    /* What to do. */
    struct disk *disk;
    const char *folder;
    struct scan_span span;
    struct whole whole;        /* what to look for, and what was seen */
    uint64_t end_index;        /* stop, with ERR_END, once the tree is at least so large; UINT64_MAX: never */
    struct progress *progress; /* may be NULL */

    /* What was found. */
    struct scan_result scan;
    bool entry_refused; /* the bad block's checksum is right, but not its entries */
};

/* Returns what scan_log would: 0, ERR_CORRUPT with sweep->scan.bad_…, ERR_IO, ERR_NO_MEMORY, ERR_NOT_FOUND, or ERR_END
 * when end_index was reached. */
int sweep_run(struct sweep *sweep, struct err *err) MUST_USE;

#endif
