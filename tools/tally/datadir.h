/* A region's data directory as the operator's commands see it from outside: which logs, whose keys, what was signed. */
#ifndef TALLY_DATADIR_H
#define TALLY_DATADIR_H

#include "crypto/keyring.h"
#include "domain/position.h"
#include "platform/disk.h"

enum { DATADIR_LOGS_MAX = 64 };

/* A log in DIR/logs. */
struct datadir_log {
    char origin[256];
    char folder[DISK_PATH_MAX_BYTES];
};

/* Those that hold a segment, in name order. ERR_NOT_FOUND when there is no DIR/logs; ERR_CORRUPT when a first segment
 * does not say whose it is; ERR_TOO_LARGE. */
int datadir_logs(const char *data, struct datadir_log *ret, size_t *ret_count, struct err *err) MUST_USE;
/* DIR/logs/<region>-<incarnation>. */
int datadir_log_folder(const char *data, const struct origin *origin, char out[DISK_PATH_MAX_BYTES],
                       struct err *err) MUST_USE;
/* The keys of a log, under the log's name: from key_path, or from the region's own public keys, or those kept for the
 * peer. All incarnations of a region's log are signed with the same keys. ERR_NOT_FOUND says how to name them. */
int datadir_keys(const char *data, const char *key_path, const struct origin *origin, struct keyring *ret,
                 struct err *err) MUST_USE;
/* A note in a folder, opened with the log's keys. ERR_NOT_FOUND when there is none. */
int datadir_checkpoint(const char *folder, const char *name, const char *origin, const struct keyring *keys,
                       struct checkpoint *ret, struct err *err) MUST_USE;
/* Takes the directory's lock, so that no tallyd runs on it until *ret is closed. ERR_LOCKED says to stop it. */
int datadir_lock(const char *data, struct disk_file **ret, struct err *err) MUST_USE;

#endif
