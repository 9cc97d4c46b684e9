/* One log in a data directory, or in a copy of one, looked at without the server: its folder, its keys, and the
 * checkpoint that the outside may see. */
#ifndef TALLY_DATA_LOG_H
#define TALLY_DATA_LOG_H

#include "base/buf.h"
#include "crypto/keyring.h"
#include "platform/disk.h"

struct data_log {
    char folder[DISK_PATH_MAX_BYTES];
    struct keyring keys; /* under the log's name */
    struct buf note;     /* verbatim */
    struct checkpoint checkpoint;
};

/* key_path NULL: the keys are looked for in data/keys. The checkpoint is the cosigned one when there is one (it is what
 * survives the loss of the region), else the signed one; its signature is checked. ERR_NOT_FOUND, ERR_INVALID,
 * ERR_CORRUPT, disk errors. data_log_free, also after a failure. */
int data_log_open(const char *data, const char *origin, const char *key_path, struct data_log *ret,
                  struct err *err) MUST_USE;
void data_log_free(struct data_log *log);

#endif
