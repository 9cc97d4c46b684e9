/* Receipts: transparency proofs as c2sp.org/tlog-proof@v1 has them (file suffix .tlog-proof). A receipt shows, to
 * whoever has the log's public key and nothing else, that an entry is in a log:
 *
 *   c2sp.org/tlog-proof@v1
 *   extra <base64 of the entry's bytes>     the specification calls this unauthenticated: here the proof itself vouches
 *                                           for it, since the leaf is computed from these bytes
 *   index <decimal>
 *   <base64 hash>…                          inclusion path, the leaf's sibling first
 *
 *   <the signed checkpoint, verbatim, with its cosignatures> */
#ifndef CRYPTO_RECEIPT_H
#define CRYPTO_RECEIPT_H

#include "crypto/merkle.h"
#include "crypto/note.h"

enum { RECEIPT_EXTRA_MAX_BYTES = 65535, RECEIPT_MAX_BYTES = 192 * 1024 };

struct receipt {
    bool has_extra;
    struct buf extra; /* decoded */
    uint64_t index;
    struct merkle_proof proof;
    struct bytes note; /* borrowed from the text that was parsed */
};

/* Appends the text. extra may be empty: then the line is left out. ERR_TOO_LARGE, ERR_NO_MEMORY. */
int receipt_format(struct bytes extra, uint64_t index, const struct merkle_proof *proof, struct bytes note,
                   struct buf *out, struct err *err) MUST_USE;
/* Shape only. text must outlive *ret; free it with receipt_free, also after a failure. ERR_INVALID with what is wrong.
 */
int receipt_parse(struct bytes text, struct receipt *ret, struct err *err) MUST_USE;
void receipt_free(struct receipt *receipt);
/* The note is signed by log_key, and the entry is at receipt->index of the tree that it signs. *ret_checkpoint gets
 * what was signed. ERR_INVALID, ERR_MISMATCH, ERR_CORRUPT as checkpoint_open and merkle_verify_inclusion. */
int receipt_verify(struct sha256 *sha, const struct receipt *receipt, struct bytes entry,
                   const struct note_verifier *log_key, struct checkpoint *ret_checkpoint, struct err *err) MUST_USE;

#endif
