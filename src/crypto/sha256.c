/* libcrypto's SHA-256 (sha256.h), through its functions for this one digest: they are plain code over a plain struct,
 * use the processor's instructions as EVP does, and cannot fail. EVP, which OpenSSL 3 prefers, costs some 30 ns more a
 * hash with a context that is reused; entries need three hashes of 70 to 170 ns each. OPENSSL_API_COMPAT says that this
 * file uses the interface of OpenSSL 1.1, on purpose. */
#define OPENSSL_API_COMPAT 0x10100000L

#include "crypto/sha256.h"

#include <openssl/sha.h>

#include "base/assert.h"
#include "base/mem.h"

enum { SHA256_PARTS_MAX = 32 };

struct sha256 {
    SHA256_CTX context;
};

struct sha256 *sha256_new(void)
{
    return mem_alloc_zero(1, sizeof(struct sha256));
}

void sha256_free(struct sha256 *sha)
{
    mem_free(sha);
}

struct hash sha256_parts(struct sha256 *sha, const struct bytes *parts, size_t count)
{
    PRE(count <= SHA256_PARTS_MAX);
    struct hash hash;
    INVARIANT(SHA256_Init(&sha->context) == 1);
    for (size_t i = 0; i < count; i++)
        INVARIANT(SHA256_Update(&sha->context, parts[i].data, parts[i].size_bytes) == 1);
    INVARIANT(SHA256_Final(hash.bytes, &sha->context) == 1);
    return hash;
}

struct hash sha256_of(struct sha256 *sha, struct bytes data)
{
    return sha256_parts(sha, &data, 1);
}
