/* The keys of one name: while a key is replaced, two sign and both are believed.
 *
 * A rotation has an overlap. The region signs every note with the old key and the new one (struct signers), a line
 * each; whoever knows either key believes the note, and whoever knows both has checked both (struct keyring). When
 * everybody who must know the new key does, the old private key is destroyed, and its public key stays for what it has
 * signed (keyfile.h has the files). */
#ifndef CRYPTO_KEYRING_H
#define CRYPTO_KEYRING_H

#include "crypto/note.h"

enum {
    KEYRING_MAX = 8, /* public keys of one name that are believed */
    SIGNERS_MAX = 2, /* private keys of one name that sign: one, or the old and the new */
};

/* Public keys of one name and type. Plain data; all zero is the empty one. */
struct keyring {
    size_t count;
    struct note_verifier keys[KEYRING_MAX];
};

/* Borrowed private keys of one name and type, the oldest first. */
struct signers {
    size_t count;
    const struct note_signer *items[SIGNERS_MAX];
};

/* Adds a key unless it is there. ERR_TOO_LARGE. */
int keyring_add(struct keyring *ring, const struct note_verifier *key, struct err *err) MUST_USE;
/* Checks the note's lines by every key of the ring, under `name` (an incarnation of a log; NULL: the key's own).
 * Returns how many verified, 0 when none of the keys signed; ERR_CORRUPT when a line that claims to be by one does not
 * verify: then the whole note must be refused. */
int keyring_verify(const struct note *note, const struct keyring *ring, const char *name, struct err *err) MUST_USE;
/* checkpoint_open with whichever keys of the ring signed, under the origin's name. The same errors. */
int keyring_open(struct bytes message, const struct keyring *ring, const char *origin, struct checkpoint *ret,
                 struct err *err) MUST_USE;

/* Appends a line by each key (note_sign). On failure out is as before. */
int signers_sign(const struct signers *signers, struct bytes text, uint64_t time_s, struct buf *out,
                 struct err *err) MUST_USE;

#endif
