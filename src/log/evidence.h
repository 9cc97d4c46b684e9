/* Evidence about logs: signed notes that contradict what is held here, and signatures that do not verify, with the
 * reason why each was kept. They stay until an operator has looked at them.
 *
 *   DIR/evidence/<sha256>.note      the bytes as they came, named after their hash: the same note is kept once
 *   DIR/evidence/<sha256>.txt       why: lines "kind:", "log:", "kept_at_ms:", "reason:"
 *   DIR/evidence/resolved/          the same two files, once an operator has acted; the text then also says how
 *
 * A note is there when its .note file is: that one is written last and removed first. One without a text (a crash, or a
 * hand) counts as a fork of the log that it names: red by mistake is better than green by mistake.
 *
 * Threads: one writer a folder; reading may go on beside it. */
#ifndef LOG_EVIDENCE_H
#define LOG_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"
#include "entry/entry.h"
#include "platform/disk.h"

enum {
    EVIDENCE_NAME_BYTES = 2 * HASH_SIZE,
    EVIDENCE_REASON_MAX_BYTES = TALLY_ERROR_MESSAGE_MAX_BYTES - 1,
    EVIDENCE_FILES_MAX = 1000, /* what a hostile peer can make us store; */
    EVIDENCE_FORK_FILES_MAX =
        2000, /* forks have room of their own, for each needs a signature by the log's key, and they count */
};

struct evidence {
    char name[EVIDENCE_NAME_BYTES + 1];
    char log[ENTRY_ORIGIN_MAX_BYTES + 1]; /* "" when that is not known */
    bool fork;                            /* two histories of the log; else something that does not verify */
    uint64_t kept_at_ms;                  /* Unix time; 0 when it is not known */
    char reason[EVIDENCE_REASON_MAX_BYTES + 1];
    uint64_t resolved_at_ms; /* 0: not resolved */
    char resolution[EVIDENCE_REASON_MAX_BYTES + 1];
};

/* Keeps a note durably; `what` has log, fork, kept_at_ms and reason set, and gets its name. One that is kept already
 * stays as it is. ERR_TOO_LARGE when there are too many files, ERR_INVALID for a reason with control characters, disk
 * errors. */
int evidence_keep(struct disk *disk, const char *data, struct bytes note, struct sha256 *sha, struct evidence *what,
                  struct err *err) MUST_USE;

/* Both are borrowed during the call. Returning non-zero stops the walk with that value,
 * which is not ERR_NOT_FOUND. */
typedef int evidence_fn(void *context, const struct evidence *evidence, struct bytes note);
/* What is kept and not resolved, or what is, in the order of names. No folder: none. ERR_CORRUPT for a text that is not
 * one, disk errors. */
int evidence_each(struct disk *disk, const char *data, bool resolved, evidence_fn *each, void *context,
                  struct err *err) MUST_USE;

/* Moves one away, with the reason. The caller holds the data directory's lock. ERR_NOT_FOUND, ERR_INVALID (no name; a
 * reason that is empty, too long, or has control characters), disk errors. A crash leaves it unresolved or resolved,
 * and then maybe its text behind. */
int evidence_resolve(struct disk *disk, const char *data, const char *name, const char *reason, uint64_t now_ms,
                     struct err *err) MUST_USE;

#endif
