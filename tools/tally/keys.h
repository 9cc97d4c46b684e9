/* A region's key files (crypto/keyfile.h), as the operator's commands change them. */
#ifndef TALLY_KEYS_H
#define TALLY_KEYS_H

#include "base/err.h"
#include "crypto/keyfile.h"

/* All generations of all roles of a data directory. */
struct keys {
    size_t counts[KEY_ROLE_COUNT];
    struct key_generation generations[KEY_ROLE_COUNT][KEY_GENERATIONS_MAX];
};

/* Makes a new private key in a folder of keys; vkey, its public form, holds NOTE_VKEY_MAX_BYTES + 1. ERR_EXISTS, disk
 * errors. */
int keys_make(const char *folder, enum key_role role, uint32_t number, const char *name, char *vkey,
              struct err *err) MUST_USE;
/* Reads data/keys. *ret is owned by the caller: mem_free. ERR_NOT_FOUND when it is no data directory. */
int keys_read(const char *data, struct keys **ret, struct err *err) MUST_USE;
/* How many generations of a role sign, and which is the first of them. */
size_t keys_signing(const struct keys *keys, enum key_role role, const struct key_generation **ret_oldest);
/* Whether a note of the data directory's own logs needs the generation of the log's key: it verifies with no key that
 * signs. */
int keys_needed(const char *data, const struct keys *keys, const struct key_generation *generation, bool *ret,
                struct err *err) MUST_USE;
/* Makes keys/region.pub what peers and auditors need: the public keys that sign logs and cosignatures, and retired ones
 * of the log that are needed. Written at once or not at all, and only when it changes. */
int keys_publish(const char *data, const struct keys *keys, struct err *err) MUST_USE;
/* The name of a generation in events: SHA-256 of its public form, in hexadecimal. */
int keys_hash(const struct note_verifier *key, char out[2 * HASH_SIZE + 1], struct err *err) MUST_USE;

#endif
