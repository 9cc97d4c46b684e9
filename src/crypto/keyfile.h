/* Keys in files. Private keys are created 0600 and refused when others can read them. */
#ifndef CRYPTO_KEYFILE_H
#define CRYPTO_KEYFILE_H

#include "base/err.h"
#include "crypto/note.h"
#include "platform/disk.h"

/* Writes the private key to path (0600, durable) and the public key, one line, to "<path>.pub". ERR_EXISTS when there
 * is a file of either name: old public keys are needed to check what they signed. ERR_TOO_LARGE (path); errors of
 * disk_replace_file, and then neither file is left. A crash can leave the private key alone. */
int keyfile_create(struct disk *disk, const char *path, const struct note_signer *signer, struct err *err) MUST_USE;
/* ERR_NOT_FOUND; ERR_PERMISSION when group or others have any access; ERR_INVALID. Names the path and the remedy. */
int keyfile_load(struct disk *disk, const char *path, struct note_signer *ret, struct err *err) MUST_USE;
/* A file of public keys, one vkey a line; blank lines and lines that start with '#' are skipped. At most max keys:
 * ERR_TOO_LARGE. ERR_INVALID names the line. After a failure *ret_count is untouched and ret holds nothing of use. */
int keyfile_load_public(struct disk *disk, const char *path, struct note_verifier *ret, size_t max, size_t *ret_count,
                        struct err *err) MUST_USE;

#endif
