#include "crypto/keyring.h"

#include <criterion/criterion.h>

#include "support.h"

#define ORIGIN "bank/eu/1"
#define TEXT   ORIGIN "\n15\nrKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=\n"

static struct note_signer first, second, third;
static struct buf note;

static void setup(void)
{
    first = make_signer(ORIGIN, NOTE_KEY_ED25519, 1);
    second = make_signer(ORIGIN, NOTE_KEY_ED25519, 2);
    third = make_signer(ORIGIN, NOTE_KEY_ED25519, 3);
    buf_init(&note, NOTE_MAX_BYTES);
}

static void teardown(void)
{
    buf_free(&note);
}

TestSuite(keyring, .init = setup, .fini = teardown);

static void sign(struct signers signers)
{
    buf_clear(&note);
    cr_assert_eq(buf_append_string(&note, TEXT "\n"), 0);
    cr_assert_eq(signers_sign(&signers, BYTES_LITERAL(TEXT), 0, &note, NULL), 0);
}

static int open_with(struct keyring ring, const char *origin)
{
    struct checkpoint checkpoint = {.size = 77};
    int code = keyring_open(buf_bytes(&note), &ring, origin, &checkpoint, NULL);
    cr_assert_eq(checkpoint.size, code == 0 ? 15 : 77, "outputs are untouched on failure");
    return code;
}

Test(keyring, in_the_overlap_whoever_knows_either_key_believes)
{
    sign((struct signers){2, {&first, &second}});
    cr_expect_eq(open_with((struct keyring){1, {first.verifier}}, ORIGIN), 0);
    cr_expect_eq(open_with((struct keyring){1, {second.verifier}}, ORIGIN), 0);
    cr_expect_eq(open_with((struct keyring){2, {second.verifier, first.verifier}}, ORIGIN), 0);
    cr_expect_eq(open_with((struct keyring){1, {third.verifier}}, ORIGIN), ERR_CORRUPT);
}

Test(keyring, one_known_key_is_enough_and_none_is_not)
{
    sign((struct signers){1, {&second}});
    cr_expect_eq(open_with((struct keyring){2, {first.verifier, second.verifier}}, ORIGIN), 0);
    cr_expect_eq(open_with((struct keyring){1, {first.verifier}}, ORIGIN), ERR_CORRUPT);
    cr_expect_eq(open_with((struct keyring){0}, ORIGIN), ERR_CORRUPT);
}

/* Although the other key's line is good. */
Test(keyring, a_line_of_a_known_key_that_does_not_verify_condemns_the_note)
{
    sign((struct signers){2, {&first, &second}});
    struct keyring both = {2, {first.verifier, second.verifier}};
    size_t text_size = sizeof(TEXT);
    for (size_t line = 0; line < 2; line++) {
        uint8_t *at = note.data + text_size;
        for (size_t i = 0; i < line; i++)
            at = (uint8_t *)memchr(at, '\n', note.size_bytes) + 1;
        uint8_t *end = memchr(at, '\n', note.size_bytes - (size_t)(at - note.data));
        end[-20] = end[-20] == 'A' ? 'B' : 'A';
        cr_expect_eq(open_with(both, ORIGIN), ERR_CORRUPT, "line %zu", line);
        sign((struct signers){2, {&first, &second}});
    }
}

Test(keyring, keys_serve_every_incarnation_of_their_log)
{
    struct note_signer later = first;
    cr_assert_eq(note_verifier_rename(&later.verifier, "bank/eu/7", NULL), 0);
    struct checkpoint checkpoint = {.origin = "bank/eu/7", .size = 15};
    cr_assert_eq(checkpoint_sign(&checkpoint, &later, &note, NULL), 0);
    cr_expect_eq(open_with((struct keyring){1, {first.verifier}}, "bank/eu/7"), 0);
    cr_expect_eq(open_with((struct keyring){1, {first.verifier}}, ORIGIN), ERR_CORRUPT);
}

Test(keyring, a_cosigners_key_opens_nothing)
{
    struct note_signer cosigner = make_signer(ORIGIN, NOTE_KEY_COSIGNATURE, 4);
    sign((struct signers){1, {&first}});
    cr_expect_eq(open_with((struct keyring){2, {first.verifier, cosigner.verifier}}, ORIGIN), ERR_INVALID);
}

Test(keyring, has_a_key_once_and_not_too_many)
{
    struct keyring ring = {.count = 0};
    struct err err = {0};
    for (uint8_t i = 0; i < KEYRING_MAX; i++) {
        struct note_signer signer = make_signer(ORIGIN, NOTE_KEY_ED25519, (uint8_t)(10 + i));
        cr_assert_eq(keyring_add(&ring, &signer.verifier, NULL), 0);
        cr_assert_eq(keyring_add(&ring, &signer.verifier, NULL), 0);
    }
    cr_expect_eq(ring.count, KEYRING_MAX);
    cr_expect_eq(keyring_add(&ring, &first.verifier, &err), ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.message, ORIGIN));
}

Test(keyring, lines_that_do_not_all_fit_are_not_there)
{
    struct buf small;
    struct signers signers = {2, {&first, &second}};
    buf_init(&small, 200);
    cr_assert_neq(signers_sign(&signers, BYTES_LITERAL(TEXT), 0, &small, NULL), 0);
    cr_expect_eq(small.size_bytes, 0);
    buf_free(&small);
}
