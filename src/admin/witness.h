/* A witness (c2sp.org/tlog-witness v1.0.0) for the logs of a region's peers: it cosigns only what extends what it
 * cosigned before. (The essay is in witness.c.) Any thread. */
#ifndef ADMIN_WITNESS_H
#define ADMIN_WITNESS_H

#include "crypto/note.h"
#include "platform/disk.h"

struct request;
struct response;
struct witness;

/* logs: the keys of the logs that are witnessed; a key's name is its log's origin. signer outlives the witness. The
 * folder is made when it is missing. *ret is owned by the caller: witness_close. ERR_CORRUPT when stored state is not
 * what this key signed: then nothing must be cosigned. Disk errors, ERR_NO_MEMORY. */
int witness_open(struct disk *disk, const char *folder, const struct note_signer *signer,
                 const struct note_verifier *logs, size_t log_count, struct witness **ret, struct err *err) MUST_USE;
void witness_close(struct witness *witness);

/* POST add-checkpoint. */
void witness_add_checkpoint(struct witness *witness, const struct request *request, struct response *response);
/* GET <hex of SHA-256(origin)>/checkpoint: the latest note that was cosigned. */
void witness_latest(struct witness *witness, struct bytes origin_hash_hex, struct response *response);

#endif
