/* Signed notes (c2sp.org/signed-note v1.0.0), their keys, checkpoints (c2sp.org/tlog-checkpoint v1.0.0) and
 * cosignatures (c2sp.org/tlog-cosignature v1.0.1). All text, all deterministic: signing draws no randomness (RFC 8032).
 *
 * Which Ed25519 signatures are valid differs between implementations at the edges, and auditors must not disagree.
 * Here, as in libsodium 1.0.18, (R, S) by A over M is valid if and only if
 *
 *  1. A is the canonical encoding of a point of the main subgroup, and not of small order. All of that is checked where
 *     a key enters (note_verifier_parse); note_verify once more refuses other encodings and small orders. (libsodium
 *     without the fix of CVE-2025-69277 lets through points with a part of order 2; the unit tests notice.)
 *  2. S < L, the order of the main subgroup: no signature has a second spelling.
 *  3. R is not of small order, and is to the byte the encoding of S B - k A with k = SHA-512(R || A || M) mod L. The
 *     equation has no cofactor, so an encoding of R that is not canonical is never accepted either.
 *
 * A verifier that multiplies by the cofactor accepts all of these signatures too, and for such keys and R in the main
 * subgroup no others. tests/unit/crypto/test_ed25519.c tries the edges. */
#ifndef CRYPTO_NOTE_H
#define CRYPTO_NOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"

enum {
    NOTE_NAME_MAX_BYTES = 255,
    NOTE_MAX_BYTES = 64 * 1024,
    NOTE_SIGNATURES_MAX = 64,
    NOTE_VKEY_MAX_BYTES = NOTE_NAME_MAX_BYTES + 1 + 8 + 1 + 48,
};

enum note_key_type {
    NOTE_KEY_ED25519 = 0x01,     /* signs the note's text */
    NOTE_KEY_COSIGNATURE = 0x04, /* signs "cosignature/v1\ntime <t>\n" + the text */
};

/* A public key with its name. Plain data, copy freely. */
struct note_verifier {
    char name[NOTE_NAME_MAX_BYTES + 1];
    uint32_t key_id;
    enum note_key_type type;
    uint8_t public_key[32];
};

/* A private key. Wipe with note_signer_wipe as soon as it is not needed; never print it. */
struct note_signer {
    struct note_verifier verifier;
    uint8_t secret_key[64]; /* libsodium form: seed || public key */
};

/* The specification's rule for names in signature lines: non-empty UTF-8 without white space (Unicode), control
 * characters, '+'. */
bool note_name_valid(struct bytes name);

/* name: non-empty UTF-8, no white space (Unicode), no '+', no control characters, at most NOTE_NAME_MAX_BYTES. */
int note_signer_from_seed(const char *name, enum note_key_type type, const uint8_t seed[32], struct note_signer *ret,
                          struct err *err) MUST_USE;
void note_signer_wipe(struct note_signer *signer);

/* The same key under another name, as a later incarnation of a log uses it: name and key id change. ERR_INVALID for a
 * name that is none; then nothing changed. */
int note_verifier_rename(struct note_verifier *verifier, const char *name, struct err *err) MUST_USE;

/* "name+keyid+base64(type||key)"; out holds NOTE_VKEY_MAX_BYTES + 1. */
void note_verifier_format(const struct note_verifier *verifier, char *out);
/* ERR_INVALID: not of that shape, a key id that does not match, an unknown type, a low-order or non-canonical point. */
int note_verifier_parse(struct bytes text, struct note_verifier *ret, struct err *err) MUST_USE;
/* Appends "PRIVATE+KEY+name+keyid+base64(type||seed)\n". Wipe the buffer afterwards. */
int note_signer_format(const struct note_signer *signer, struct buf *out) MUST_USE;
int note_signer_parse(struct bytes text, struct note_signer *ret, struct err *err) MUST_USE;

struct note_signature {
    struct bytes name;
    uint32_t key_id;
    struct bytes blob; /* decoded, in the note's own storage, without the key id */
    struct bytes line; /* the whole line with its newline, as it stood */
};

/* A parsed note. text and signatures point into the parsed bytes or into storage below. */
struct note {
    struct bytes text; /* with its final newline */
    size_t signature_count;
    struct note_signature signatures[NOTE_SIGNATURES_MAX];
    uint8_t storage[NOTE_MAX_BYTES / 4 *
                    3]; /* decoded signatures: room for all that a note can hold, post-quantum ones too */
};

/* Shape only, no keys yet. message must outlive *ret. ERR_INVALID with what is wrong, ERR_TOO_LARGE. After a failure
 * *ret holds nothing of use. */
int note_parse(struct bytes message, struct note *ret, struct err *err) MUST_USE;

/* Checks every signature made by `verifier` (name and key id). Returns how many lines verified (0: it did not sign), or
 * ERR_CORRUPT when a line that claims to be its signature does not verify: then the whole note must be refused. For a
 * cosignature *ret_time_s (may be NULL) gets the largest time signed; it is untouched when nothing verified. */
int note_verify(const struct note *note, const struct note_verifier *verifier, uint64_t *ret_time_s,
                struct err *err) MUST_USE;

/* Appends the signature line. text is the note's text with its final newline. time_s is only for cosignatures. */
int note_sign(const struct note_signer *signer, struct bytes text, uint64_t time_s, struct buf *out,
              struct err *err) MUST_USE;

/* A checkpoint: what a log's signature stands for. */
struct checkpoint {
    char origin[NOTE_NAME_MAX_BYTES + 1];
    uint64_t size;
    struct hash root;
};

/* Appends the three lines. */
int checkpoint_format(const struct checkpoint *checkpoint, struct buf *out) MUST_USE;
/* Exactly three lines, as our logs write them; extension lines are ERR_UNSUPPORTED. ERR_INVALID otherwise. */
int checkpoint_parse(struct bytes text, struct checkpoint *ret, struct err *err) MUST_USE;
/* The same for other people's logs, which may add lines: those are signed, but mean nothing here. ERR_INVALID. */
int checkpoint_parse_foreign(struct bytes text, struct checkpoint *ret, struct err *err) MUST_USE;
/* Appends text, blank line and the signature. */
int checkpoint_sign(const struct checkpoint *checkpoint, const struct note_signer *signer, struct buf *out,
                    struct err *err) MUST_USE;
/* Parses the note, checks that `log_key` signed it and that its origin is log_key's name. ERR_INVALID (shape; or the
 * key is a cosigner's: a cosignature says what its signer has seen, never what the log is), ERR_TOO_LARGE,
 * ERR_UNSUPPORTED (extension lines), ERR_CORRUPT (bad or missing signature), ERR_MISMATCH (other origin). */
int checkpoint_open(struct bytes message, const struct note_verifier *log_key, struct checkpoint *ret,
                    struct err *err) MUST_USE;

#endif
