/* The auditor's memory: what was verified before, so that a log that was rolled back or rewritten as a whole is found.
 * Nothing else can find that.
 *
 * One JSON file; a record for each log and key. Records are found by what the local policy pins, an origin and a key,
 * never by what a copy says. A size of 0 is never kept: nothing can be proven from it. */
#ifndef VERIFY_STATE_H
#define VERIFY_STATE_H

#include "base/buf.h"
#include "crypto/merkle.h"
#include "crypto/note.h"
#include "platform/disk.h"

enum { STATE_LOGS_MAX = 1024, STATE_MAX_BYTES = 64 * 1024 * 1024 };

struct state_log {
    char origin[NOTE_NAME_MAX_BYTES + 1];
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    struct merkle_range range; /* range.size is never 0 */
    struct hash root;
    struct buf note; /* as it was signed: evidence, should another history appear */
};

struct state {
    struct disk *disk;
    const char *path;
    size_t count;
    struct state_log *logs[STATE_LOGS_MAX];
    bool changed;
};

/* A file that does not exist is an empty state. ERR_INVALID for a file that is none of ours. *ret is owned by the
 * caller: state_free. path is borrowed. */
int state_load(struct disk *disk, const char *path, struct state **ret, struct err *err) MUST_USE;
void state_free(struct state *state);
const struct state_log *state_find(const struct state *state, const char *origin, const char *vkey);
/* Replaces or adds. ERR_TOO_LARGE, ERR_NO_MEMORY. */
int state_put(struct state *state, const char *origin, const char *vkey, const struct merkle_range *range,
              const struct hash *root, struct bytes note, struct err *err) MUST_USE;
/* Writes the file, durably and at once or not at all, if anything changed. */
int state_save(struct state *state, struct err *err) MUST_USE;
/* Keeps two notes that contradict each other in "<path>.evidence", behind what is there. */
int state_keep_evidence(struct state *state, const char *reason, struct bytes a, struct bytes b,
                        struct err *err) MUST_USE;

#endif
