/* One log in a data directory, or in a copy of one, looked at without the server: its folder, its key, and the
 * checkpoint that the outside may see. */
#ifndef TALLY_DATA_LOG_H
#define TALLY_DATA_LOG_H

#include "base/buf.h"
#include "crypto/note.h"
#include "platform/disk.h"

struct data_log {
    char folder[DISK_PATH_MAX_BYTES];
    struct note_verifier key;
    struct buf note; /* verbatim */
    struct checkpoint checkpoint;
};

/* The log's public key among those in a file. ERR_NOT_FOUND. */
int data_log_find_key(const char *path, const char *origin, struct note_verifier *ret, struct err *err) MUST_USE;
/* key_path NULL: the key is looked for in data/keys. The checkpoint is the cosigned one when there is one (it is what
 * survives the loss of the region), else the signed one; its signature is checked. ERR_NOT_FOUND, ERR_INVALID,
 * ERR_CORRUPT, disk errors. data_log_free, also after a failure. */
int data_log_open(const char *data, const char *origin, const char *key_path, struct data_log *ret,
                  struct err *err) MUST_USE;
void data_log_free(struct data_log *log);

#endif
