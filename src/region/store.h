/* What a region keeps on its disk, and how it starts from it: its own log and the mirrors, opened and recovered in one
 * order, and the region made from what was found. region_step never sees this: it is for whoever carries out effects,
 * which are the server (with threads) and the simulator (without).
 *
 * Folder:  logs/<region>-<incarnation>/   one a log, the own one among them
 *          signed/<region>-<incarnation>  the latest note that the region signed of its log, kept apart from it
 *          evidence/                      signed notes that contradict a log (log/evidence.h): such a log is forked
 *
 * Threads: store_open, store_make_region and store_close while nothing else runs. After that one thread writes to the
 * logs and calls store_add_log; log_count grows last, so others may read logs below it at any time. */
#ifndef REGION_STORE_H
#define REGION_STORE_H

#include <stdatomic.h>

#include "index/index.h"
#include "log/log.h"
#include "platform/disk.h"
#include "region/region.h"

struct store {
    struct disk *disk;
    const char *folder; /* the data directory; outlives the store */
    struct log_options log_options;
    struct log *logs[REGION_LOGS_MAX]; /* 0 is the own one, numbered as the region numbers them */
    atomic_size_t log_count;
};

/* Told about each log that was opened. */
typedef void store_opened_fn(void *context, const char *folder, const struct log_recovery *recovery);

/* Opens (creates) the own log, then every mirror that is there, and an empty copy of each log of an earlier incarnation
 * of this region that is gone while signed/ remembers it. *store has disk, folder and log_options set, the rest
 * zero. Damage stops it: ERR_CORRUPT with the repair in the message. ERR_MISMATCH for logs of another cluster,
 * ERR_TOO_LARGE, disk errors. After a failure store_close frees what was opened. */
int store_open(struct store *store, const char *own_origin, store_opened_fn *opened, void *context,
               struct err *err) MUST_USE;
void store_close(struct store *store);

/* Makes the folder of a mirror, opens it as number log_count: what REGION_CREATE_LOG asks for. */
int store_add_log(struct store *store, const char *origin, struct err *err) MUST_USE;
/* "<folder>/<kind>/<region>-<incarnation>": where things of this kind are kept for an origin; logs are of kind "logs".
 * ERR_INVALID, ERR_TOO_LARGE. */
int store_path(const struct store *store, const char *kind, const char *origin, char out[DISK_PATH_MAX_BYTES],
               struct err *err) MUST_USE;

/* Makes the region from the logs' chains and stored checkpoints, once the index was brought up to the logs. Errors of
 * region_new and region_found_block. */
int store_make_region(struct store *store, const struct region_config *config, struct index *index, struct region **ret,
                      struct err *err) MUST_USE;

#endif
