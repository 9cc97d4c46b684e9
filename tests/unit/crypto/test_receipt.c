/* Receipts: their text, and what they prove. */
#include <criterion/criterion.h>

#include "crypto/receipt.h"

#define ORIGIN "bank/eu/1"

enum { LEAVES = 5, INDEX = 2 };

static struct sha256 *sha;
static struct note_signer signer;
static struct bytes entries[LEAVES];
static struct merkle_proof proof;
static struct buf note;
static struct buf text;

static int read_leaf(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    struct merkle_range range;
    (void)context;
    (void)err;
    merkle_range_init(&range);
    for (uint64_t i = number << height; i < (number + 1) << height; i++) {
        struct hash leaf = merkle_leaf(sha, entries[i]);
        merkle_range_append(&range, sha, &leaf);
    }
    *ret = merkle_range_root(&range, sha);
    return 0;
}

static void set_up(void)
{
    static const char *const words[LEAVES] = {"one", "two", "three", "four", "five"};
    uint8_t seed[32] = {7};
    struct checkpoint checkpoint = {.origin = ORIGIN, .size = LEAVES};
    sha = sha256_new();
    for (size_t i = 0; i < LEAVES; i++)
        entries[i] = bytes_of_string(words[i]);
    buf_init(&note, NOTE_MAX_BYTES);
    buf_init(&text, RECEIPT_MAX_BYTES);
    cr_assert_eq(note_signer_from_seed(ORIGIN, NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    cr_assert_eq(merkle_root_at(sha, LEAVES, read_leaf, NULL, &checkpoint.root, NULL), 0);
    cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &note, NULL), 0);
    cr_assert_eq(merkle_prove_inclusion(sha, INDEX, LEAVES, read_leaf, NULL, &proof, NULL), 0);
    cr_assert_eq(receipt_format(entries[INDEX], INDEX, &proof, buf_bytes(&note), &text, NULL), 0);
}

static void tear_down(void)
{
    sha256_free(sha);
    buf_free(&note);
    buf_free(&text);
}

TestSuite(receipt, .init = set_up, .fini = tear_down);

static int verify(struct bytes receipt_text, struct bytes entry, struct checkpoint *ret)
{
    struct receipt receipt;
    int code = receipt_parse(receipt_text, &receipt, NULL);
    if (code == 0)
        code = receipt_verify(sha, &receipt, entry, &signer.verifier, ret, NULL);
    receipt_free(&receipt);
    return code;
}

Test(receipt, has_the_text_of_the_specification)
{
    static const char start[] = "c2sp.org/tlog-proof@v1\nextra dGhyZWU=\nindex 2\n";
    cr_assert(text.size_bytes > sizeof(start) + note.size_bytes);
    cr_expect_arr_eq(text.data, start, sizeof(start) - 1);
    struct bytes end = bytes_of(text.data + text.size_bytes - note.size_bytes, note.size_bytes);
    cr_expect(bytes_equal(end, buf_bytes(&note)), "the checkpoint stands at the end, verbatim");
    cr_expect_eq(text.data[text.size_bytes - note.size_bytes - 1], '\n');
    cr_expect_eq(text.data[text.size_bytes - note.size_bytes - 2], '\n', "a blank line comes before it");
}

Test(receipt, is_read_back_as_it_was_written)
{
    struct receipt receipt;
    cr_assert_eq(receipt_parse(buf_bytes(&text), &receipt, NULL), 0);
    cr_expect(receipt.has_extra);
    cr_expect(bytes_equal(buf_bytes(&receipt.extra), entries[INDEX]));
    cr_expect_eq(receipt.index, INDEX);
    cr_expect_eq(receipt.proof.count, proof.count);
    cr_expect(bytes_equal(receipt.note, buf_bytes(&note)));
    receipt_free(&receipt);
}

Test(receipt, may_come_without_its_entry)
{
    struct receipt receipt;
    struct buf bare;
    buf_init(&bare, RECEIPT_MAX_BYTES);
    cr_assert_eq(receipt_format(bytes_of(NULL, 0), INDEX, &proof, buf_bytes(&note), &bare, NULL), 0);
    cr_assert_eq(receipt_parse(buf_bytes(&bare), &receipt, NULL), 0);
    cr_expect_not(receipt.has_extra);
    receipt_free(&receipt);
    buf_free(&bare);
}

Test(receipt, proves_its_entry)
{
    struct checkpoint checkpoint;
    cr_assert_eq(verify(buf_bytes(&text), entries[INDEX], &checkpoint), 0);
    cr_expect_eq(checkpoint.size, LEAVES);
}

Test(receipt, proves_no_other_entry)
{
    struct checkpoint checkpoint;
    cr_expect_eq(verify(buf_bytes(&text), entries[INDEX + 1], &checkpoint), ERR_CORRUPT);
}

Test(receipt, proves_nothing_under_another_key)
{
    struct checkpoint checkpoint;
    uint8_t seed[32] = {8};
    cr_assert_eq(note_signer_from_seed(ORIGIN, NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    cr_expect_eq(verify(buf_bytes(&text), entries[INDEX], &checkpoint), ERR_CORRUPT);
}

Test(receipt, does_not_survive_a_change_of_any_byte)
{
    size_t extra_end = (size_t)((uint8_t *)memchr(text.data + 30, '\n', text.size_bytes - 30) - text.data);
    for (size_t i = 0; i < text.size_bytes; i++) {
        struct checkpoint checkpoint;
        if (i > 22 && i < extra_end)
            continue; /* the extra line is only carried: the caller supplies the entry here */
        text.data[i] ^= 1;
        cr_expect_neq(verify(buf_bytes(&text), entries[INDEX], &checkpoint), 0, "byte %zu", i);
        text.data[i] ^= 1;
    }
}

Test(receipt, does_not_survive_being_cut_anywhere)
{
    for (size_t size = 0; size < text.size_bytes; size++) {
        struct checkpoint checkpoint;
        cr_expect_neq(verify(bytes_of(text.data, size), entries[INDEX], &checkpoint), 0, "cut to %zu", size);
    }
}

static void expect_malformed(const char *malformed)
{
    struct receipt receipt;
    struct err err = {0};
    cr_expect_eq(receipt_parse(bytes_of_string(malformed), &receipt, &err), ERR_INVALID, "%s", malformed);
    cr_expect_neq(err.message[0], '\0');
    receipt_free(&receipt);
}

Test(receipt, malformed_texts_are_refused)
{
    expect_malformed("");
    expect_malformed("c2sp.org/tlog-proof@v2\nindex 1\n\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\n");
    expect_malformed("c2sp.org/tlog-proof@v1\nindex 01\n\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\nindex -1\n\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\nindex\n\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\nextra !!!\nindex 1\n\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\nextra AAAA\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\nindex 1\nnot base64\n\nnote");
    expect_malformed("c2sp.org/tlog-proof@v1\nindex 1\n");
}

Test(receipt, more_hashes_than_a_tree_can_have_are_refused)
{
    struct buf many;
    buf_init(&many, RECEIPT_MAX_BYTES);
    cr_assert_eq(buf_append_string(&many, "c2sp.org/tlog-proof@v1\nindex 1\n"), 0);
    for (size_t i = 0; i <= MERKLE_PROOF_MAX; i++)
        cr_assert_eq(buf_append_string(&many, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0);
    cr_assert_eq(buf_append_string(&many, "\nnote"), 0);
    cr_assert_eq(buf_terminate(&many), 0);
    expect_malformed((const char *)many.data);
    buf_free(&many);
}

Test(receipt, extra_data_over_the_limit_is_refused)
{
    struct receipt receipt;
    struct buf large;
    buf_init(&large, RECEIPT_MAX_BYTES);
    cr_assert_eq(buf_append_string(&large, "c2sp.org/tlog-proof@v1\nextra "), 0);
    for (size_t i = 0; i < RECEIPT_EXTRA_MAX_BYTES / 3 + 10; i++)
        cr_assert_eq(buf_append_string(&large, "AAAA"), 0);
    cr_assert_eq(buf_append_string(&large, "\nindex 1\n\nnote"), 0);
    cr_expect_eq(receipt_parse(buf_bytes(&large), &receipt, NULL), ERR_TOO_LARGE);
    receipt_free(&receipt);
    buf_free(&large);
}
