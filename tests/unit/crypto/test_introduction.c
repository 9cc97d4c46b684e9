/* How a region shows who it is. */
#include "crypto/introduction.h"

#include <criterion/criterion.h>

static struct note_signer signer, other;
static struct buf line;
static uint8_t question[INTRODUCTION_QUESTION_BYTES];
static struct introduction said;

static void begin(void)
{
    static const uint8_t seed[32] = {1}, another_seed[32] = {2};
    cr_assert_eq(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, seed, &signer, NULL), 0);
    cr_assert_eq(note_signer_from_seed("demo/us", NOTE_KEY_COSIGNATURE, another_seed, &other, NULL), 0);
    memset(question, 7, sizeof(question));
    said = (struct introduction){.cluster = "demo",
                                 .from = "us",
                                 .to = "eu",
                                 .origin = "demo/eu/1",
                                 .from_index = 18,
                                 .question = bytes_of(question, sizeof(question))};
    buf_init(&line, INTRODUCTION_MAX_BYTES);
    cr_assert_eq(introduction_sign(&said, &signer, &line, NULL), 0);
}

static void end(void)
{
    buf_free(&line);
}

TestSuite(introduction, .init = begin, .fini = end);

static int check(const struct introduction *introduction)
{
    return introduction_check(introduction, buf_bytes(&line), &signer.verifier, NULL);
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
    cr_assert_eq(introduction_check(&said, buf_bytes(&line), &other.verifier, &err), ERR_PERMISSION);
    cr_expect_not_null(strstr(err.message, "demo/us"), "%s", err.message);
}

Test(introduction, what_is_no_signature_line_is_refused)
{
    static uint8_t long_line[4096];
    memset(long_line, 'a', sizeof(long_line));
    cr_expect_eq(introduction_check(&said, bytes_of(NULL, 0), &signer.verifier, NULL), ERR_PERMISSION);
    cr_expect_eq(introduction_check(&said, BYTES_LITERAL("\n"), &signer.verifier, NULL), ERR_PERMISSION);
    cr_expect_eq(introduction_check(&said, bytes_of(long_line, sizeof(long_line)), &signer.verifier, NULL),
                 ERR_PERMISSION);
    struct buf twice;
    buf_init(&twice, 2 * INTRODUCTION_MAX_BYTES);
    cr_assert_eq(buf_append(&twice, buf_bytes(&line)), 0);
    cr_assert_eq(buf_append(&twice, buf_bytes(&line)), 0);
    cr_expect_eq(introduction_check(&said, buf_bytes(&twice), &signer.verifier, NULL), ERR_PERMISSION);
    buf_free(&twice);
}

Test(introduction, a_question_has_its_size)
{
    struct introduction small = said;
    small.question.size_bytes--;
    cr_expect_eq(introduction_sign(&small, &signer, &line, NULL), ERR_INVALID);
    cr_expect_eq(check(&small), ERR_INVALID);
}
