/* The lives of a region on its disk: which incarnation it is in, what it remembers to have signed, whether its disk was
 * made from a backup, and how the next incarnation begins. For whoever carries out effects, as store.h is; the store
 * needs disk, folder and log_options alone. Not while another thread calls one of these. */
#ifndef REGION_LIFE_H
#define REGION_LIFE_H

#include "region/store.h"

/* tally restore leaves this file in the data directory. */
#define LIFE_RESTORED_MARK "RESTORED"

/* The largest own incarnation that logs/ and signed/ know, 1 when they know none; makes both folders. Disk errors. */
int life_find_incarnation(const struct store *store, const char *region, uint64_t *ret, struct err *err) MUST_USE;
/* Before the own log is opened: where its segments are gone, notes beside it are kept as what was signed. Disk errors.
 */
int life_forget_lost_log(const struct store *store, const char *origin, struct err *err) MUST_USE;
/* Keeps the own log's checkpoint apart from the log, unless a larger one is kept; one of the same size is
 * written again, and durable then. Before the log's own copy is stored,
 * and so before anybody sees it. Disk errors. */
int life_remember_signed(const struct store *store, const char *origin, struct bytes note, struct err *err) MUST_USE;
/* Whether the directory was restored from a backup, and no log was begun since. Disk errors. */
int life_find_mark(const struct store *store, bool *ret, struct err *err) MUST_USE;
/* Makes the log of a later incarnation than the origin's durable (it may be there). fresh: it is nobody's yet, so the
 * mark goes. Errors of log_create. */
int life_begin(const struct store *store, const char *origin, uint64_t incarnation, bool fresh,
               struct err *err) MUST_USE;

#endif
