/* How a region shows who it is. */
#include "crypto/introduction.h"

#include <criterion/criterion.h>

static struct note_signer signer, other;
static struct signers signing;
static struct keyring known, unknown;
static struct buf line;
static uint8_t question[INTRODUCTION_QUESTION_BYTES];
static struct introduction said;

static void begin(void)
{
    static const uint8_t seed[32] = {1}, another_seed[32] = {2};
    cr_assert_eq(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, seed, &signer, NULL), 0);
    cr_assert_eq(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, another_seed, &other, NULL), 0);
    signing = (struct signers){.count = 1, .items = {&signer}};
    known = (struct keyring){.count = 1, .keys = {signer.verifier}};
    unknown = (struct keyring){.count = 1, .keys = {other.verifier}};
    memset(question, 7, sizeof(question));
    said = (struct introduction){.cluster = "demo",
                                 .from = "us",
                                 .to = "eu",
                                 .origin = "demo/eu/1",
                                 .from_index = 18,
                                 .question = bytes_of(question, sizeof(question))};
    buf_init(&line, INTRODUCTION_MAX_BYTES);
    cr_assert_eq(introduction_sign(&said, &signing, &line, NULL), 0);
}

static void end(void)
{
    buf_free(&line);
}

TestSuite(introduction, .init = begin, .fini = end);

static int check(const struct introduction *introduction)
{
    return introduction_check(introduction, buf_bytes(&line), &known, NULL);
}

Test(introduction, an_answer_is_good_for_exactly_what_was_asked)
{
    uint8_t elsewhere[INTRODUCTION_QUESTION_BYTES] = {8};
    struct introduction changed = said;
    cr_assert_eq(check(&said), 0);
    changed.cluster = "prod";
    cr_expect_eq(check(&changed), ERR_PERMISSION);
    changed = said;
    changed.from = "uk";
    cr_expect_eq(check(&changed), ERR_PERMISSION);
    changed = said;
    changed.to = "uk";
    cr_expect_eq(check(&changed), ERR_PERMISSION, "it cannot be passed on");
    changed = said;
    changed.origin = "demo/eu/2";
    cr_expect_eq(check(&changed), ERR_PERMISSION);
    changed = said;
    changed.from_index = 19;
    cr_expect_eq(check(&changed), ERR_PERMISSION);
    changed = said;
    changed.question = bytes_of(elsewhere, sizeof(elsewhere));
    cr_expect_eq(check(&changed), ERR_PERMISSION, "it cannot be used again");
}

Test(introduction, another_key_does_not_do)
{
    struct err err = {0};
    cr_assert_eq(introduction_check(&said, buf_bytes(&line), &unknown, &err), ERR_PERMISSION);
    cr_expect_not_null(strstr(err.message, "region us"), "%s", err.message);
}

Test(introduction, what_is_no_signature_line_is_refused)
{
    static uint8_t long_line[4096];
    memset(long_line, 'a', sizeof(long_line));
    cr_expect_eq(introduction_check(&said, bytes_of(NULL, 0), &known, NULL), ERR_PERMISSION);
    cr_expect_eq(introduction_check(&said, BYTES_LITERAL("\n"), &known, NULL), ERR_PERMISSION);
    cr_expect_eq(introduction_check(&said, bytes_of(long_line, sizeof(long_line)), &known, NULL), ERR_PERMISSION);
    struct buf many;
    buf_init(&many, 4 * INTRODUCTION_MAX_BYTES);
    for (int i = 0; i <= SIGNERS_MAX; i++)
        cr_assert_eq(buf_append(&many, buf_bytes(&line)), 0);
    cr_expect_eq(introduction_check(&said, buf_bytes(&many), &known, NULL), ERR_PERMISSION);
    buf_free(&many);
}

Test(introduction, while_a_key_is_replaced_both_sign_and_either_does)
{
    struct keyring both = {.count = 2, .keys = {signer.verifier, other.verifier}};
    signing = (struct signers){.count = 2, .items = {&signer, &other}};
    buf_clear(&line);
    cr_assert_eq(introduction_sign(&said, &signing, &line, NULL), 0);
    cr_expect_eq(introduction_check(&said, buf_bytes(&line), &known, NULL), 0);
    cr_expect_eq(introduction_check(&said, buf_bytes(&line), &unknown, NULL), 0);
    cr_expect_eq(introduction_check(&said, buf_bytes(&line), &both, NULL), 0);
    line.data[line.size_bytes - 20] ^= 1;
    cr_expect_eq(introduction_check(&said, buf_bytes(&line), &both, NULL), ERR_PERMISSION,
                 "a false line condemns both");
}

Test(introduction, a_question_has_its_size)
{
    struct introduction small = said;
    small.question.size_bytes--;
    cr_expect_eq(introduction_sign(&small, &signing, &line, NULL), ERR_INVALID);
    cr_expect_eq(check(&small), ERR_INVALID);
}
