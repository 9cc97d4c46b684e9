/* The region's own keys, from the files in keys/ (crypto/keyfile.h). Part of config.c's work. */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include "server/config.h"

/* Loads the private keys, finds out which public keys of the region stay known, and what the log must tell of changes.
 * ERR_NOT_FOUND (no private key of the newest generation), ERR_PERMISSION, ERR_MISMATCH (of another region, or used
 * twice), ERR_TOO_LARGE (more that sign than a rotation needs), ERR_INVALID, disk errors. */
int keys_load(struct server_config *config, struct disk *disk, struct err *err) MUST_USE;
void keys_wipe(struct server_config *config);

#endif
