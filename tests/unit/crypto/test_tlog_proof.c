/* Receipts: what parses. That they prove something is the verifier's to test. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "crypto/tlog_proof.h"

#define HASH "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"

static struct tlog_proof proof;

static int parse(const char *text)
{
    return tlog_proof_parse(bytes_of_string(text), &proof, NULL);
}

Test(tlog_proof, index_path_and_note_are_taken_apart)
{
    cr_assert_eq(parse("c2sp.org/tlog-proof@v1\nindex 42\n" HASH HASH "\nnote\n"), 0);
    cr_assert_eq(proof.index, 42);
    cr_assert_eq(proof.path.count, 2);
    cr_assert_not(proof.has_extra);
    cr_assert(bytes_equal(proof.note, BYTES_LITERAL("note\n")));
}

Test(tlog_proof, extra_is_kept_as_it_stands)
{
    cr_assert_eq(parse("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\nnote\n"), 0);
    cr_assert(proof.has_extra);
    cr_assert(bytes_equal(proof.extra, BYTES_LITERAL("AAAA")));
    cr_assert_eq(proof.path.count, 0);
}

Test(tlog_proof, anything_else_is_refused)
{
    static const char *const bad[] = {
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nnote\n",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v1\nextra AAAA\n",
        "c2sp.org/tlog-proof@v1\nindex 01\n\nnote\n",
        "c2sp.org/tlog-proof@v1\nindex -1\n\nnote\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n" HASH,
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nnote\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nindex 1\n\nnote\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(parse(bad[i]), ERR_INVALID, "%s", bad[i]);
}

Test(tlog_proof, the_path_is_bounded)
{
    char text[8192] = "c2sp.org/tlog-proof@v1\nindex 0\n";
    size_t size = strlen(text);
    for (int i = 0; i <= MERKLE_PROOF_MAX; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s", HASH);
    snprintf(text + size, sizeof(text) - size, "\nnote\n");
    cr_assert_eq(parse(text), ERR_TOO_LARGE);
}
