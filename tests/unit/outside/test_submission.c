/* What is said to a witness, and what its answers are taken for. */
#include <criterion/criterion.h>

#include "outside/submission.h"

static struct note_signer witness, stranger;
static struct buf message, lines;
static struct note note;
static struct err err;
static uint64_t known;

static void signer_of(const char *name, uint8_t seed_byte, struct note_signer *ret)
{
    uint8_t seed[32] = {seed_byte};
    cr_assert_eq(note_signer_from_seed(name, NOTE_KEY_COSIGNATURE, seed, ret, NULL), 0);
}

static void set_up(void)
{
    uint8_t seed[32] = {1};
    struct note_signer log;
    struct checkpoint checkpoint = {.origin = "bank/eu/1", .size = 7};
    signer_of("witness.example/w", 2, &witness);
    signer_of("witness.example/x", 3, &stranger);
    buf_init(&message, NOTE_MAX_BYTES);
    buf_init(&lines, NOTE_MAX_BYTES);
    cr_assert_eq(note_signer_from_seed("bank/eu/1", NOTE_KEY_ED25519, seed, &log, NULL), 0);
    cr_assert_eq(checkpoint_sign(&checkpoint, &log, &message, NULL), 0);
    cr_assert_eq(note_parse(buf_bytes(&message), &note, NULL), 0);
}

static void tear_down(void)
{
    buf_free(&message);
    buf_free(&lines);
}

TestSuite(submission, .init = set_up, .fini = tear_down);

static int judge(long status, const char *type, struct bytes body)
{
    struct http_answer answer = {.status = status};
    copy_string(answer.content_type, sizeof(answer.content_type), type);
    memset(&err, 0, sizeof(err));
    known = 0;
    return submission_judge(&answer, body, buf_bytes(&message), &witness.verifier, &lines, &known, &err);
}

static void cosign(const struct note_signer *signer, struct bytes text, struct buf *out)
{
    cr_assert_eq(note_sign(signer, text, 1700000000, out, NULL), 0);
}

static void refused(struct bytes body, const char *word)
{
    cr_assert_eq(judge(200, "text/plain", body), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.message, word), "%s", err.message);
    cr_assert_eq(lines.size_bytes, 0);
}

Test(submission, has_the_old_size_the_proof_and_the_note)
{
    struct merkle_proof proof = {.count = 2};
    struct buf out;
    memset(proof.hashes[1].bytes, 0xff, HASH_SIZE);
    buf_init(&out, SUBMISSION_MAX_BYTES);
    cr_assert_eq(submission_format(5, &proof, BYTES_LITERAL("note\n"), &out), 0);
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("old 5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
                                                         "//////////////////////////////////////////8=\n\nnote\n")));
    buf_clear(&out);
    proof.count = 0;
    cr_assert_eq(submission_format(0, &proof, BYTES_LITERAL("note\n"), &out), 0);
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("old 0\n\nnote\n")));
    proof.count = SUBMISSION_PROOF_MAX + 1;
    cr_assert_eq(submission_format(0, &proof, BYTES_LITERAL("note\n"), &out), ERR_TOO_LARGE);
    buf_free(&out);
}

Test(submission, the_configured_keys_cosignature_is_taken_and_others_are_left_out)
{
    struct buf body, expected;
    buf_init(&body, NOTE_MAX_BYTES);
    buf_init(&expected, NOTE_MAX_BYTES);
    cosign(&stranger, note.text, &body);
    cosign(&witness, note.text, &body);
    cosign(&witness, note.text, &expected);
    cr_assert_eq(judge(200, "text/plain", buf_bytes(&body)), 0, "%s", err.message);
    cr_assert(bytes_equal(buf_bytes(&lines), buf_bytes(&expected)));
    buf_free(&body);
    buf_free(&expected);
}

Test(submission, what_is_no_cosignature_by_the_key_is_refused)
{
    struct buf body, text;
    buf_init(&body, NOTE_MAX_BYTES);
    buf_init(&text, NOTE_MAX_BYTES);
    refused(bytes_of(NULL, 0), "no signature lines");
    refused(BYTES_LITERAL("thank you\n"), "no signature lines");
    cosign(&stranger, note.text, &body);
    refused(buf_bytes(&body), "nothing by the key");
    buf_clear(&body);
    cosign(&witness, BYTES_LITERAL("bank/eu/1\n8\nAAAA\n"), &body);
    refused(buf_bytes(&body), "does not verify");
    buf_clear(&body);
    cosign(&witness, note.text, &body);
    cosign(&witness, note.text, &body);
    refused(buf_bytes(&body), "two lines");
    buf_clear(&body);
    cr_assert_eq(buf_append(&text, note.text), 0);
    cr_assert_eq(buf_append_string(&text, "\nmore\n"), 0);
    cr_assert_eq(buf_append_string(&body, "more\n\n"), 0);
    cosign(&witness, buf_bytes(&text), &body);
    refused(buf_bytes(&body), "text of its own");
    buf_free(&body);
    buf_free(&text);
}

Test(submission, the_size_that_the_witness_knows_is_taken)
{
    cr_assert_eq(judge(409, "text/x.tlog.size", BYTES_LITERAL("17\n")), ERR_VERSION_CONFLICT);
    cr_assert_eq(known, 17);
    cr_assert_eq(judge(409, "text/plain", BYTES_LITERAL("17\n")), ERR_CORRUPT);
    cr_assert_eq(judge(409, "text/x.tlog.size", BYTES_LITERAL("17")), ERR_CORRUPT);
    cr_assert_eq(judge(409, "text/x.tlog.size", BYTES_LITERAL("-1\n")), ERR_CORRUPT);
    cr_assert_eq(judge(409, "text/x.tlog.size", BYTES_LITERAL("017\n")), ERR_CORRUPT);
    cr_assert_eq(judge(409, "text/x.tlog.size", bytes_of(NULL, 0)), ERR_CORRUPT);
    cr_assert_eq(known, 0);
}

Test(submission, each_refusal_has_its_meaning)
{
    cr_expect_eq(judge(400, "text/plain", BYTES_LITERAL("x")), ERR_INVALID);
    cr_expect_eq(judge(403, "text/plain", BYTES_LITERAL("x")), ERR_PERMISSION);
    cr_expect_eq(judge(404, "text/plain", BYTES_LITERAL("x")), ERR_NOT_FOUND);
    cr_expect_eq(judge(422, "text/plain", BYTES_LITERAL("x")), ERR_FORK);
    cr_expect_eq(judge(302, "text/plain", BYTES_LITERAL("x")), ERR_UNAVAILABLE);
    cr_expect_eq(judge(500, "text/plain", BYTES_LITERAL("x")), ERR_UNAVAILABLE);
}
