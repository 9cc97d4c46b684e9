/* How a region shows another one who it is. The one that is asked for a log draws a question, 32 random bytes, and the
 * one that asks signs it with its cosigning key, together with both names, the log and the place from which it pulls.
 * An answer is good for one question; and because it names whom it is meant for, that one cannot pass it on as its own
 * to a third.
 *
 * What is signed is a text like that of a note (note.h):
 *
 *   tallystick-pull/v1
 *   <cluster>
 *   <region that asks>
 *   <region that is asked>
 *   <origin of the log>
 *   <first index that is asked for, in decimal>
 *   <question, in base64>
 *
 * No checkpoint has such a text: a checkpoint's third line is 44 characters of base64, longer than the name of a region
 * and with one that names do not have.
 *
 * It shows who asked, when the connection was opened. It does not keep the connection from being read or taken over:
 * that is the transport's to do. */
#ifndef CRYPTO_INTRODUCTION_H
#define CRYPTO_INTRODUCTION_H

#include "crypto/keyring.h"

enum { INTRODUCTION_QUESTION_BYTES = 32, INTRODUCTION_MAX_BYTES = 1024 };

/* Borrowed. */
struct introduction {
    const char *cluster;
    const char *from; /* region that asks */
    const char *to;   /* region that is asked */
    const char *origin;
    uint64_t from_index;
    struct bytes question; /* INTRODUCTION_QUESTION_BYTES of them */
};

/* Appends a signature line by each key. ERR_INVALID for a question of another size, ERR_NO_MEMORY. */
int introduction_sign(const struct introduction *introduction, const struct signers *signers, struct buf *out,
                      struct err *err) MUST_USE;
/* ERR_PERMISSION unless one of the lines is one of the keys' signature under exactly this, and none is a false one;
 * ERR_NO_MEMORY. */
int introduction_check(const struct introduction *introduction, struct bytes lines, const struct keyring *keys,
                       struct err *err) MUST_USE;

#endif
