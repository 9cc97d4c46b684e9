/* SHA-256 (FIPS 180-4) through OpenSSL's libcrypto, which uses the CPU's SHA instructions. One context is reused:
 * making one costs more than hashing a small event. A context belongs to one thread at a time. */
#ifndef CRYPTO_SHA256_H
#define CRYPTO_SHA256_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum { HASH_SIZE = 32 };

struct hash {
    uint8_t bytes[HASH_SIZE];
};

struct sha256;

/* Owned by the caller: sha256_free. NULL when memory runs out. */
struct sha256 *sha256_new(void);
void sha256_free(struct sha256 *sha);

/* The hash of the parts one after the other. count at most 32. Dies if libcrypto fails: there is no way to go on. */
struct hash sha256_parts(struct sha256 *sha, const struct bytes *parts, size_t count);
struct hash sha256_of(struct sha256 *sha, struct bytes data);

/* The parts of one message one after the other; count at most 32. Both are borrowed for the call. */
struct sha256_message {
    const struct bytes *parts;
    size_t count;
};

/* The hashes of two messages, each as by sha256_parts, in two thirds of the time. It saves least when one message is
 * much longer than the other: what is left of it then goes alone. */
void sha256_two(struct sha256 *sha, const struct sha256_message messages[2], struct hash ret[2]);

static inline bool hash_equal(const struct hash *a, const struct hash *b)
{
    return memcmp(a->bytes, b->bytes, HASH_SIZE) == 0;
}

#endif
