/* Finding damage in the logs of a data directory: what scrub, repair and restore have in common. */
#ifndef TALLY_DAMAGE_H
#define TALLY_DAMAGE_H

#include "datadir.h"
#include "log/mend.h"

/* Prepares mend for one log: its folder, and its own checkpoints as goals and as the size that must be there. Notes are
 * read before segments, so that a log that is being written is never behind them. evidence is borrowed. ERR_CORRUPT
 * when a note is not signed by the key. */
int damage_prepare(const char *data, const char *key_path, const struct datadir_log *log, const char *evidence,
                   struct sha256 *sha, struct mend *ret, struct err *err) MUST_USE;
/* Whether a checkpoint was compared and has another root. */
bool damage_root_differs(const struct mend *mend, uint64_t *ret_size);
/* One line a damaged place. */
void damage_print(const struct mend *mend);

#endif
