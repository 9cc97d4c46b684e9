/* Receipts: c2sp.org/tlog-proof. An entry's index, its inclusion path, and the checkpoint that it leads to.
 *
 *   c2sp.org/tlog-proof@v1
 *   extra <base64>            optional; the application's, and not vouched for by anything
 *   index <decimal>
 *   <base64 hash> …           leaf's sibling first, at most MERKLE_PROOF_MAX
 *   (blank line)
 *   <checkpoint note> */
#ifndef CRYPTO_TLOG_PROOF_H
#define CRYPTO_TLOG_PROOF_H

#include "crypto/merkle.h"
#include "crypto/note.h"

enum { TLOG_PROOF_MAX_BYTES = NOTE_MAX_BYTES + 64 * 1024 };

struct tlog_proof {
    bool has_extra;
    struct bytes extra; /* still in base64 */
    uint64_t index;
    struct merkle_proof path;
    struct bytes note;
};

/* Shape only: neither the path nor the note is checked. *ret borrows from text. ERR_INVALID, ERR_TOO_LARGE. */
int tlog_proof_parse(struct bytes text, struct tlog_proof *ret, struct err *err) MUST_USE;

#endif
