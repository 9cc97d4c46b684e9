/* What a log says to a witness (c2sp.org/tlog-witness v1.0.0), and what the witness answers. Pure. */
#ifndef OUTSIDE_SUBMISSION_H
#define OUTSIDE_SUBMISSION_H

#include "crypto/merkle.h"
#include "crypto/note.h"
#include "outside/http.h"

enum {
    SUBMISSION_PROOF_MAX = 63, /* the specification's limit; a tree of 2^63 leaves needs no more */
    SUBMISSION_MAX_BYTES = NOTE_MAX_BYTES + 8 * 1024,
    SUBMISSION_ANSWER_MAX_BYTES = 16 * 1024, /* a few signature lines, or a size */
};

/* Appends the body of add-checkpoint: the size that the witness knows, the consistency proof from there (no hashes when
 * there is none: old_size is 0, or that of the note), and the note as it was signed. ERR_TOO_LARGE, ERR_NO_MEMORY; then
 * *out is of no use. */
int submission_format(uint64_t old_size, const struct merkle_proof *proof, struct bytes note, struct buf *out) MUST_USE;

/* Takes the answer. 0: it is a cosignature by `key` on the text of the note; the lines by that key are appended to
 * *lines, others are left out. ERR_VERSION_CONFLICT: the witness knows the log at *ret_size. Otherwise what an operator
 * must know:
 *   ERR_FORK         the witness holds another history of the log (422)
 *   ERR_NOT_FOUND    it does not witness this log (404)
 *   ERR_PERMISSION   it does not know the key that signed it (403)
 *   ERR_INVALID      it does not understand what was sent (400)
 *   ERR_CORRUPT      it answers what no witness does: nothing by the key, a signature that does not verify, a size that
 * is none ERR_UNAVAILABLE  any other status ERR_NO_MEMORY. */
int submission_judge(const struct http_answer *answer, struct bytes body, struct bytes note,
                     const struct note_verifier *key, struct buf *lines, uint64_t *ret_size, struct err *err) MUST_USE;

#endif
