/* libcrypto's digest interface, with the algorithm looked up once (sha256.h). */
#include "crypto/sha256.h"

#include <openssl/evp.h>

#include "base/assert.h"
#include "base/mem.h"

enum { SHA256_PARTS_MAX = 32 };

struct sha256 {
    EVP_MD *method; /* fetched once: a look-up by name at each hash would cost more than the hash */
    EVP_MD_CTX *context;
};

struct sha256 *sha256_new(void)
{
    struct sha256 *sha = mem_alloc_zero(1, sizeof(*sha));
    if (sha == NULL)
        return NULL;
    sha->method = EVP_MD_fetch(NULL, "SHA256", NULL);
    sha->context = EVP_MD_CTX_new();
    if (sha->method == NULL || sha->context == NULL) {
        sha256_free(sha);
        return NULL;
    }
    return sha;
}

void sha256_free(struct sha256 *sha)
{
    if (sha == NULL)
        return;
    EVP_MD_CTX_free(sha->context);
    EVP_MD_free(sha->method);
    mem_free(sha);
}

struct hash sha256_parts(struct sha256 *sha, const struct bytes *parts, size_t count)
{
    PRE(count <= SHA256_PARTS_MAX);
    struct hash hash;
    unsigned size = 0;
    INVARIANT(EVP_DigestInit_ex2(sha->context, sha->method, NULL) == 1);
    for (size_t i = 0; i < count; i++)
        INVARIANT(EVP_DigestUpdate(sha->context, parts[i].data, parts[i].size_bytes) == 1);
    INVARIANT(EVP_DigestFinal_ex(sha->context, hash.bytes, &size) == 1);
    POST(size == HASH_SIZE);
    return hash;
}

struct hash sha256_of(struct sha256 *sha, struct bytes data)
{
    return sha256_parts(sha, &data, 1);
}
