/* What the tests of crypto share. Vectors are read relative to the top of the source tree, where make runs them. */
#ifndef TEST_CRYPTO_SUPPORT_H
#define TEST_CRYPTO_SUPPORT_H

#include "base/buf.h"
#include "crypto/merkle.h"
#include "crypto/note.h"
#include "crypto/sha256.h"

#define VECTORS "tests/vectors"

/* Published with the log in tests/vectors/tessera15, for tests. */
#define TESSERA_ORIGIN     "example.com/log/testdata"
#define TESSERA_SECRET_KEY "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg"
#define TESSERA_PUBLIC_KEY "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"

struct note_signer tessera_signer(void);
/* A key whose seed is 32 times `fill`. */
struct note_signer make_signer(const char *name, enum note_key_type type, uint8_t fill);
struct note_verifier parse_vkey(const char *text);

struct hash hash_of_hex(const char *hex);
/* The hash by the definition of RFC 6962 section 2.1, recursively: the slow twin of merkle_range. */
struct hash slow_root(struct sha256 *sha, const struct hash *leaves, uint64_t count);
/* Leaf number i of a tree of leaves that are all different: the hash of i in decimal. */
struct hash numbered_leaf(struct sha256 *sha, uint64_t number);

/* "text\n\n" with one signature line a signer, into *out (initialised here). */
void make_note(const char *text, const struct note_signer *const *signers, size_t count, struct buf *out);
/* What follows the blank line of a note; borrowed from message. */
struct bytes signatures_of(struct bytes message);

/* The call must fail with this code and a message that holds this word. */
#define EXPECT_FAILURE(call, expected_code, word)                                                                      \
    do {                                                                                                               \
        struct err failure = {0};                                                                                      \
        struct err *err = &failure;                                                                                    \
        int failed = (call);                                                                                           \
        cr_assert_eq(failed, (expected_code), "%s: %s", tally_error_name(failed), failure.message);                    \
        cr_assert(strstr(failure.message, (word)) != NULL, "'%s' lacks '%s'", failure.message, (word));                \
    } while (0)

#endif
