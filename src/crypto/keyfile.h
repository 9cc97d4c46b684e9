/* Keys in files. Private keys are created 0600 and refused when others can read them.
 *
 * A region has a key for each role, and each has generations, so that it can be replaced:
 *
 *   keys/log.key, log.key.pub          the first generation
 *   keys/log-2.key, log-2.key.pub      the next, and so on
 *
 * No file is ever overwritten or renamed. Private keys that are there sign: one, or two while a key is being replaced.
 * To retire a generation is to destroy its private key; its public key stays. A generation is there when its public key
 * is: that one is written last, so a private key alone was left by a crash and never signed anything. */
#ifndef CRYPTO_KEYFILE_H
#define CRYPTO_KEYFILE_H

#include <stdbool.h>
#include <stdint.h>

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

enum key_role { KEY_LOG, KEY_COSIGN, KEY_WITNESS, KEY_ROLE_COUNT };
enum { KEY_GENERATIONS_MAX = 99, KEY_FILE_NAME_MAX_BYTES = 32 };

/* One generation of a key. */
struct key_generation {
    uint32_t number; /* from 1 */
    bool is_private; /* its private key is there: it signs */
    struct note_verifier verifier;
};

/* "log", "cosign", "witness". */
const char *key_role_name(enum key_role role);
bool key_role_parse(const char *name, enum key_role *ret);
enum note_key_type key_role_type(enum key_role role);
/* "log-2.key". */
void keyfile_name(enum key_role role, uint32_t number, char out[KEY_FILE_NAME_MAX_BYTES]);
/* The generations of a role in a folder of keys, in order; ret has room for KEY_GENERATIONS_MAX. The first counts even
 * when there is only its private key, or none: then it is not private and has an empty name. ERR_INVALID, ERR_MISMATCH
 * (the two halves are not one key), ERR_PERMISSION, disk errors. */
int keyfile_generations(struct disk *disk, const char *folder, enum key_role role, struct key_generation *ret,
                        size_t *ret_count, struct err *err) MUST_USE;
/* Destroys a private key: overwrites the file, makes that durable, and removes it. File systems and disks may keep old
 * blocks all the same. The public key stays. ERR_NOT_FOUND, disk errors. */
int keyfile_destroy(struct disk *disk, const char *folder, enum key_role role, uint32_t number,
                    struct err *err) MUST_USE;

#endif
