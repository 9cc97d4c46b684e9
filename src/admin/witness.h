/* A witness (c2sp.org/tlog-witness v1.0.0) for the logs of a region's peers: it cosigns only what extends what it
 * cosigned before. (The essay is in witness.c.) Any thread. */
#ifndef ADMIN_WITNESS_H
#define ADMIN_WITNESS_H

#include "crypto/keyring.h"
#include "platform/disk.h"

struct request;
struct response;
struct witness;

/* Who cosigns. The signers outlive the witness. */
struct witness_keys {
    struct signers signers;
    struct keyring known; /* these, and retired ones that may have signed what is stored */
};

/* logs: for each log that is witnessed, its keys; a key's name is the log's origin. The folder is made when it is
 * missing. *ret is owned by the caller: witness_close. ERR_CORRUPT when stored state is not what known keys signed:
 * then nothing must be cosigned. Disk errors, ERR_NO_MEMORY. */
int witness_open(struct disk *disk, const char *folder, const struct witness_keys *keys, const struct keyring *logs,
                 size_t log_count, struct witness **ret, struct err *err) MUST_USE;
void witness_close(struct witness *witness);

/* POST add-checkpoint. */
void witness_add_checkpoint(struct witness *witness, const struct request *request, struct response *response);
/* GET <hex of SHA-256(origin)>/checkpoint: the latest note that was cosigned. */
void witness_latest(struct witness *witness, struct bytes origin_hash_hex, struct response *response);

#endif
