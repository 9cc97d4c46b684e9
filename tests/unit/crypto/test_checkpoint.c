#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"

#define ROOT "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs="
#define TEXT TESSERA_ORIGIN "\n15\n" ROOT "\n"

static void expect_refused(struct bytes text, int code, const char *word)
{
    struct checkpoint checkpoint = {.size = 77};
    EXPECT_FAILURE(checkpoint_parse(text, &checkpoint, err), code, word);
    cr_assert_eq(checkpoint.size, 77, "outputs are untouched on failure");
    cr_assert_eq(checkpoint_parse(text, &checkpoint, NULL), code);
}

static struct checkpoint parsed(struct bytes text)
{
    struct checkpoint checkpoint;
    struct err err = {0};
    cr_assert_eq(checkpoint_parse(text, &checkpoint, &err), 0, "%s", err.message);
    return checkpoint;
}

/* --- Text --- */

Test(checkpoint, has_an_origin_a_size_and_a_root)
{
    struct checkpoint checkpoint = parsed(BYTES_LITERAL(TEXT));
    char root[BASE64_ENCODED_SIZE(HASH_SIZE) + 1];
    base64_encode(bytes_of(checkpoint.root.bytes, HASH_SIZE), root);
    cr_assert_str_eq(checkpoint.origin, TESSERA_ORIGIN);
    cr_assert_eq(checkpoint.size, 15);
    cr_assert_str_eq(root, ROOT);
}

Test(checkpoint, is_written_as_it_was_read)
{
    const char *texts[] = {TEXT, "o\n0\n" ROOT "\n", "a b/c\n18446744073709551615\n" ROOT "\n",
                           "\xE2\x82\xAC\n1\n" ROOT "\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct checkpoint checkpoint = parsed(bytes_of_string(texts[i]));
        struct buf out;
        buf_init(&out, 1024);
        cr_assert_eq(checkpoint_format(&checkpoint, &out), 0);
        cr_assert(bytes_equal(buf_bytes(&out), bytes_of_string(texts[i])), "%s", texts[i]);
        buf_free(&out);
    }
}

Test(checkpoint, needs_three_whole_lines)
{
    const char *texts[] = {"",
                           "\n",
                           TESSERA_ORIGIN,
                           TESSERA_ORIGIN "\n",
                           TESSERA_ORIGIN "\n15",
                           TESSERA_ORIGIN "\n15\n",
                           TESSERA_ORIGIN "\n15\n" ROOT};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_refused(bytes_of_string(texts[i]), ERR_INVALID, "three lines");
    expect_refused(bytes_of(NULL, 0), ERR_INVALID, "three lines");
}

Test(checkpoint, a_fourth_line_is_not_supported)
{
    expect_refused(BYTES_LITERAL(TEXT "extension\n"), ERR_UNSUPPORTED, "extension");
    expect_refused(BYTES_LITERAL(TEXT "\n"), ERR_UNSUPPORTED, "extension");
    expect_refused(BYTES_LITERAL(TEXT "x"), ERR_UNSUPPORTED, "extension");
}

Test(checkpoint, a_size_has_one_spelling)
{
    const char *sizes[] = {"",
                           "00",
                           "01",
                           "015",
                           "-1",
                           "+1",
                           " 1",
                           "1 ",
                           "0x1",
                           "1.0",
                           "1e3",
                           "one",
                           "18446744073709551616",
                           "99999999999999999999",
                           "100000000000000000000"};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char text[256];
        int size = snprintf(text, sizeof(text), "o\n%s\n" ROOT "\n", sizes[i]);
        expect_refused(bytes_of(text, (size_t)size), ERR_INVALID, "leading zeros");
    }
}

Test(checkpoint, a_root_is_32_bytes_in_base64)
{
    const char *roots[] = {"",
                           "AAAA",
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v38",             /* 30 bytes */
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383Q==",         /* 31 bytes */
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383csA",         /* 33 bytes */
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383csAAAAAAAAA", /* 39 bytes */
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs",          /* no padding */
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383ct=",         /* bits that are not used */
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja_1nk427v383cs=",         /* the other alphabet */
                           "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs= ",
                           "\xC3\xA9"
                           "bDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs="};
    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        char text[256];
        int size = snprintf(text, sizeof(text), "o\n15\n%s\n", roots[i]);
        expect_refused(bytes_of(text, (size_t)size), ERR_INVALID, "32 bytes in base64");
    }
}

Test(checkpoint, an_origin_has_1_to_255_bytes_of_utf8)
{
    char text[512];
    char origin[NOTE_NAME_MAX_BYTES + 2];
    memset(origin, 'o', sizeof(origin));
    int size = snprintf(text, sizeof(text), "%.255s\n15\n" ROOT "\n", origin);
    struct checkpoint checkpoint = parsed(bytes_of(text, (size_t)size));
    cr_assert_eq(strlen(checkpoint.origin), NOTE_NAME_MAX_BYTES);
    size = snprintf(text, sizeof(text), "%.256s\n15\n" ROOT "\n", origin);
    expect_refused(bytes_of(text, (size_t)size), ERR_INVALID, "1 to 255 bytes");
    expect_refused(BYTES_LITERAL("\n15\n" ROOT "\n"), ERR_INVALID, "1 to 255 bytes");
    expect_refused(BYTES_LITERAL("\xFF\n15\n" ROOT "\n"), ERR_INVALID, "UTF-8");
    expect_refused(BYTES_LITERAL("a\0b\n15\n" ROOT "\n"), ERR_INVALID, "UTF-8");
}

/* --- Signing and opening --- */

static struct bytes sign_text(const char *text, const struct note_signer *signer, struct buf *out)
{
    make_note(text, &signer, 1, out);
    return buf_bytes(out);
}

static void expect_closed(struct bytes note, const struct note_verifier *key, int code, const char *word)
{
    struct checkpoint checkpoint = {.size = 77};
    EXPECT_FAILURE(checkpoint_open(note, key, &checkpoint, err), code, word);
    cr_assert_eq(checkpoint.size, 77, "outputs are untouched on failure");
}

Test(checkpoint, what_is_signed_opens)
{
    struct note_signer signer = make_signer("demo/eu/1", NOTE_KEY_ED25519, 1);
    struct checkpoint checkpoint = {.origin = "demo/eu/1", .size = 5, .root = {{1, 2, 3}}};
    struct checkpoint opened;
    struct buf note;
    struct err err = {0};
    buf_init(&note, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &note, &err), 0, "%s", err.message);
    cr_assert_eq(checkpoint_open(buf_bytes(&note), &signer.verifier, &opened, &err), 0, "%s", err.message);
    cr_assert_str_eq(opened.origin, "demo/eu/1");
    cr_assert_eq(opened.size, 5);
    cr_assert(hash_equal(&opened.root, &checkpoint.root));
    buf_free(&note);
}

Test(checkpoint, any_changed_byte_of_the_note_closes_it)
{
    struct note_signer signer = tessera_signer();
    struct buf note;
    sign_text(TEXT, &signer, &note);
    for (size_t at = 0; at < note.size_bytes; at++) {
        struct checkpoint opened;
        note.data[at] ^= 1;
        cr_assert_neq(checkpoint_open(buf_bytes(&note), &signer.verifier, &opened, NULL), 0, "byte %zu", at);
        note.data[at] ^= 1;
    }
    buf_free(&note);
}

Test(checkpoint, a_note_cut_anywhere_is_refused)
{
    struct note_signer signer = tessera_signer();
    struct buf note;
    sign_text(TEXT, &signer, &note);
    for (size_t size = 0; size < note.size_bytes; size++) {
        struct checkpoint opened;
        cr_assert_neq(checkpoint_open(bytes_of(note.data, size), &signer.verifier, &opened, NULL), 0, "%zu", size);
    }
    buf_free(&note);
}

Test(checkpoint, another_logs_key_does_not_open_it)
{
    struct note_signer signer = tessera_signer();
    struct note_signer other = make_signer(TESSERA_ORIGIN, NOTE_KEY_ED25519, 9);
    struct buf note;
    sign_text(TEXT, &signer, &note);
    expect_closed(buf_bytes(&note), &other.verifier, ERR_CORRUPT, "not signed by " TESSERA_ORIGIN);
    buf_free(&note);
}

Test(checkpoint, a_key_signs_for_its_own_origin_alone)
{
    struct note_signer signer = make_signer("demo/eu/1", NOTE_KEY_ED25519, 1);
    struct buf note;
    sign_text("demo/us/1\n15\n" ROOT "\n", &signer, &note);
    expect_closed(buf_bytes(&note), &signer.verifier, ERR_MISMATCH, "demo/us/1");
    buf_free(&note);
}

Test(checkpoint, a_cosigners_key_is_no_logs_key)
{
    struct note_signer cosigner = make_signer(TESSERA_ORIGIN, NOTE_KEY_COSIGNATURE, 1);
    struct buf note;
    sign_text(TEXT, &cosigner, &note);
    expect_closed(buf_bytes(&note), &cosigner.verifier, ERR_INVALID, "cosigner");
    buf_free(&note);
}

Test(checkpoint, cosignatures_beside_the_logs_signature_do_not_matter)
{
    struct note_signer signer = tessera_signer();
    struct note_signer cosigner = make_signer("witness", NOTE_KEY_COSIGNATURE, 1);
    const struct note_signer *signers[] = {&cosigner, &signer, &cosigner};
    struct checkpoint opened;
    struct buf note;
    make_note(TEXT, signers, 3, &note);
    cr_assert_eq(checkpoint_open(buf_bytes(&note), &signer.verifier, &opened, NULL), 0);
    cr_assert_eq(opened.size, 15);
    buf_free(&note);
}

Test(checkpoint, a_signed_text_that_is_no_checkpoint_is_refused)
{
    struct note_signer signer = tessera_signer();
    struct buf note;
    sign_text(TESSERA_ORIGIN "\n015\n" ROOT "\n", &signer, &note);
    expect_closed(buf_bytes(&note), &signer.verifier, ERR_INVALID, "leading zeros");
    buf_free(&note);
    sign_text(TEXT "extension\n", &signer, &note);
    expect_closed(buf_bytes(&note), &signer.verifier, ERR_UNSUPPORTED, "extension");
    buf_free(&note);
}

Test(checkpoint, without_room_nothing_is_left_behind)
{
    struct note_signer signer = tessera_signer();
    struct checkpoint checkpoint = parsed(BYTES_LITERAL(TEXT));
    struct buf whole;
    buf_init(&whole, NOTE_MAX_BYTES);
    cr_assert_eq(checkpoint_sign(&checkpoint, &signer, &whole, NULL), 0);
    for (size_t room = 1; room < whole.size_bytes; room += 9) {
        struct buf out;
        buf_init(&out, 4 + room);
        cr_assert_eq(buf_append_string(&out, "head"), 0);
        EXPECT_FAILURE(checkpoint_sign(&checkpoint, &signer, &out, err), ERR_TOO_LARGE, "no room");
        cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("head")), "room for %zu", room);
        buf_free(&out);
    }
    buf_free(&whole);
}
