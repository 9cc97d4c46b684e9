#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "base/mem.h"
#include "support.h"
#include "support/files.h"

#define DASH    "\xE2\x80\x94 "
#define TEXT    "a text\n"
#define FOO_KEY "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
#define FOO_NOTE                                                                                                       \
    "This is an example message.\n\n" DASH                                                                             \
    "example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
/* 5 bytes: the shortest that can hold a key id and something of a signature. */
#define LINE DASH "name AAAAAAA=\n"

static struct note note; /* large */

static struct bytes parsed_text(struct bytes message)
{
    struct err err = {0};
    cr_assert_eq(note_parse(message, &note, &err), 0, "%s", err.message);
    return note.text;
}

static void expect_refused(struct bytes message, int code, const char *word)
{
    EXPECT_FAILURE(note_parse(message, &note, err), code, word);
    cr_assert_eq(note_parse(message, &note, NULL), code);
}

static int verify(struct bytes message, const struct note_verifier *verifier, uint64_t *ret_time_s)
{
    struct err err = {0};
    cr_assert_eq(note_parse(message, &note, &err), 0, "%s", err.message);
    return note_verify(&note, verifier, ret_time_s, &err);
}

/* --- Examples of others --- */

Test(note, the_example_of_the_specification_verifies)
{
    struct note_verifier key = parse_vkey(FOO_KEY);
    cr_assert_eq(verify(BYTES_LITERAL(FOO_NOTE), &key, NULL), 1);
    cr_assert(bytes_equal(note.text, BYTES_LITERAL("This is an example message.\n")));
}

Test(note, the_example_of_gos_note_package_is_signed_again_to_the_byte)
{
    struct note_signer signer;
    struct buf out;
    const char *text = "If you think cryptography is the answer to your problem,\n"
                       "then you don't know what your problem is.\n";
    cr_assert_eq(note_signer_parse(
                     BYTES_LITERAL("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"),
                     &signer, NULL),
                 0);
    make_note(text, (const struct note_signer *[]){&signer}, 1, &out);
    cr_assert(bytes_equal(signatures_of(buf_bytes(&out)),
                          BYTES_LITERAL(DASH "PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
                                             "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")));
    buf_free(&out);
}

#define WITNESS_NAME "witness.example.com/w1"
#define WITNESS_TIME 1679315147
#define WITNESS_LINE                                                                                                   \
    DASH WITNESS_NAME " gszIjgAAAABkGFDLU8lL/xl41ywuQPE4WNwBRA1vvmUnCQ/yy6aSAjZW42mczmnuBM5L6fhzKnTK9SPHBTn/n3KBl4dS"  \
                      "A7KK7aJFCA==\n"

Test(note, the_cosignature_vector_is_made_again_to_the_byte_and_verifies)
{
    struct note_signer log = tessera_signer();
    struct note_signer witness;
    struct buf message;
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    uint64_t time_s = 0;
    buf_init(&message, NOTE_MAX_BYTES);
    files_read(VECTORS "/tessera15/checkpoint.15", &message);
    cr_assert_eq(note_signer_from_seed(WITNESS_NAME, NOTE_KEY_COSIGNATURE, log.secret_key, &witness, NULL), 0);
    note_verifier_format(&witness.verifier, vkey);
    cr_assert_str_eq(vkey, WITNESS_NAME "+82ccc88e+BOHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx");
    struct bytes text = parsed_text(buf_bytes(&message));
    struct buf line;
    buf_init(&line, 1024);
    cr_assert_eq(note_sign(&witness, text, WITNESS_TIME, &line, NULL), 0);
    cr_assert(bytes_equal(buf_bytes(&line), BYTES_LITERAL(WITNESS_LINE)));
    cr_assert_eq(buf_append(&message, buf_bytes(&line)), 0);
    cr_assert_eq(verify(buf_bytes(&message), &witness.verifier, &time_s), 1);
    cr_assert_eq(time_s, WITNESS_TIME);
    cr_assert_eq(note_verify(&note, &log.verifier, NULL, NULL), 1, "the log's own signature is still there");
    buf_free(&line);
    buf_free(&message);
}

/* --- Shape --- */

Test(note, a_note_is_text_a_blank_line_and_signature_lines)
{
    cr_assert(bytes_equal(parsed_text(BYTES_LITERAL(TEXT "\n" LINE)), BYTES_LITERAL(TEXT)));
    cr_assert_eq(note.signature_count, 1);
    cr_assert(bytes_equal(note.signatures[0].name, BYTES_LITERAL("name")));
    cr_assert(bytes_equal(note.signatures[0].line, BYTES_LITERAL(LINE)));
    cr_assert(bytes_equal(note.signatures[0].blob, BYTES_LITERAL("\0")));
    cr_assert_eq(note.signatures[0].key_id, 0);
}

Test(note, the_last_blank_line_separates)
{
    cr_assert(bytes_equal(parsed_text(BYTES_LITERAL("a\n\nb\n\n" LINE)), BYTES_LITERAL("a\n\nb\n")));
    cr_assert(bytes_equal(parsed_text(BYTES_LITERAL("a\n\n\n" LINE)), BYTES_LITERAL("a\n\n")));
    cr_assert(bytes_equal(parsed_text(BYTES_LITERAL("a\n\n" LINE "\n" LINE)), BYTES_LITERAL("a\n\n" LINE)),
              "signature lines before the last blank line are text");
    cr_assert_eq(note.signature_count, 1);
}

Test(note, any_other_shape_is_refused)
{
    const char *messages[] = {"",
                              "\n",
                              "\n\n",
                              "a",
                              "a\n",
                              "a\n\n",
                              TEXT LINE,
                              "a\n" LINE "\n",
                              "a" LINE,
                              "\n" LINE,
                              "\n\n" LINE,
                              TEXT "\n" DASH "name AAAAAAA=",
                              TEXT "\n" LINE "\n",
                              TEXT "\n" LINE DASH "name AAAAAAA="};
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        expect_refused(bytes_of_string(messages[i]), ERR_INVALID, "a note must be text");
    expect_refused(bytes_of(NULL, 0), ERR_INVALID, "a note must be text");
}

Test(note, every_line_after_the_blank_one_is_a_signature_line)
{
    const char *lines[] = {"name AAAAAAA=\n",
                           "- name AAAAAAA=\n",
                           "\xE2\x80\x93 name AAAAAAA=\n", /* en dash */
                           "\xE2\x80\x94name AAAAAAA=\n",
                           "\xE2\x80\x94\xC2\xA0name AAAAAAA=\n",
                           " " LINE,
                           "\xE2\x80\x94\n",
                           LINE "text\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char message[256];
        int size = snprintf(message, sizeof(message), TEXT "\n%s", lines[i]);
        expect_refused(bytes_of(message, (size_t)size), ERR_INVALID, "em dash and a space");
    }
}

Test(note, a_signature_line_has_a_name_without_spaces_and_plus)
{
    const char *names[] = {"",
                           "a+b",
                           "+",
                           "a\xC2\xA0"
                           "b",
                           "a\xE3\x80\x80",
                           "\xE2\x80\xA8",
                           "\xC2\x85"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char message[256];
        int size = snprintf(message, sizeof(message), TEXT "\n" DASH "%s AAAAAAA=\n", names[i]);
        expect_refused(bytes_of(message, (size_t)size), ERR_INVALID, "em dash, name, base64");
    }
    expect_refused(BYTES_LITERAL(TEXT "\n" DASH "name\n"), ERR_INVALID, "em dash, name, base64");
    expect_refused(BYTES_LITERAL(TEXT "\n" DASH "\n"), ERR_INVALID, "em dash, name, base64");
}

Test(note, a_signature_is_canonical_base64_of_more_than_a_key_id)
{
    const char *signatures[] = {
        "",          "AAAA",     "AAAAAA==", "AAAAAAA",  "AAAAAAB=",     "AAAAAAA==",        "AAAA AAA=", " AAAAAAA=",
        "AAAAAAA= ", "AAAAAA-_", "AAAA=AAA", "=AAAAAAA", "AAAAAAA=AAAA", "AAAAAAA=\xC3\xA9", "two words", "AAAAA==="};
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        char message[256];
        int size = snprintf(message, sizeof(message), TEXT "\n" DASH "name %s\n", signatures[i]);
        expect_refused(bytes_of(message, (size_t)size), ERR_INVALID, "base64 of a key id and a signature");
    }
}

Test(note, a_note_is_utf8_without_control_characters)
{
    const char *messages[] = {"a\tb\n\n" LINE, "a\r\n\n" LINE, "a\x1B\n\n" LINE, "\x01\n\n" LINE,
                              TEXT "\n" DASH "name AAAAAAA=\r\n"};
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        expect_refused(bytes_of_string(messages[i]), ERR_INVALID, "control characters");
    expect_refused(BYTES_LITERAL("a\xFF\n\n" LINE), ERR_INVALID, "UTF-8");
    expect_refused(BYTES_LITERAL("\xC0\xAF\n\n" LINE), ERR_INVALID, "UTF-8");
    expect_refused(BYTES_LITERAL("\xED\xA0\x80\n\n" LINE), ERR_INVALID, "UTF-8");
    expect_refused(BYTES_LITERAL("a\0b\n\n" LINE), ERR_INVALID, "UTF-8");
    expect_refused(BYTES_LITERAL(TEXT "\n" DASH "n\xFFme AAAAAAA=\n"), ERR_INVALID, "UTF-8");
}

static struct bytes note_with_lines(size_t count, struct buf *out)
{
    buf_init(out, 4 * NOTE_MAX_BYTES);
    cr_assert_eq(buf_append_string(out, TEXT "\n"), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(buf_append_string(out, LINE), 0);
    return buf_bytes(out);
}

Test(note, signatures_are_limited_to_64)
{
    struct buf message;
    parsed_text(note_with_lines(NOTE_SIGNATURES_MAX, &message));
    cr_assert_eq(note.signature_count, NOTE_SIGNATURES_MAX);
    buf_free(&message);
    expect_refused(note_with_lines(NOTE_SIGNATURES_MAX + 1, &message), ERR_TOO_LARGE, "more than 64 signatures");
    buf_free(&message);
}

Test(note, a_note_is_limited_in_bytes)
{
    struct buf message;
    buf_init(&message, 2 * NOTE_MAX_BYTES);
    while (message.size_bytes < NOTE_MAX_BYTES - strlen("\n\n" LINE))
        cr_assert_eq(buf_append_byte(&message, 'x'), 0);
    cr_assert_eq(buf_append_string(&message, "\n\n" LINE), 0);
    parsed_text(buf_bytes(&message));
    cr_assert_eq(buf_append_string(&message, LINE), 0);
    expect_refused(buf_bytes(&message), ERR_TOO_LARGE, "limit of 65536");
    buf_free(&message);
}

/* A post-quantum signature has kilobytes; the storage holds whatever fits into a note. */
Test(note, one_signature_may_fill_the_whole_note)
{
    struct buf message;
    buf_init(&message, NOTE_MAX_BYTES);
    cr_assert_eq(buf_append_string(&message, TEXT "\n" DASH "name "), 0);
    while (message.size_bytes + 5 <= NOTE_MAX_BYTES)
        cr_assert_eq(buf_append_string(&message, "AAAA"), 0);
    cr_assert_eq(buf_append_byte(&message, '\n'), 0);
    parsed_text(buf_bytes(&message));
    cr_assert_gt(note.signatures[0].blob.size_bytes, 49000);
    buf_free(&message);
}

/* --- Verifying --- */

Test(note, what_is_signed_verifies)
{
    const enum note_key_type types[] = {NOTE_KEY_ED25519, NOTE_KEY_COSIGNATURE};
    for (size_t i = 0; i < 2; i++) {
        struct note_signer signer = make_signer("a", types[i], 1);
        struct buf message;
        make_note(TEXT, (const struct note_signer *[]){&signer}, 1, &message);
        cr_assert_eq(verify(buf_bytes(&message), &signer.verifier, NULL), 1);
        buf_free(&message);
    }
}

Test(note, a_text_with_blank_lines_is_signed_whole)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    struct buf message;
    make_note("one\n\n\ntwo\n\n", (const struct note_signer *[]){&signer}, 1, &message);
    cr_assert_eq(verify(buf_bytes(&message), &signer.verifier, NULL), 1);
    cr_assert(bytes_equal(note.text, BYTES_LITERAL("one\n\n\ntwo\n\n")));
    buf_free(&message);
}

Test(note, signatures_of_unknown_keys_are_ignored)
{
    struct note_signer known = make_signer("a", NOTE_KEY_ED25519, 1);
    struct note_signer same_name = make_signer("a", NOTE_KEY_ED25519, 2);
    struct note_signer other_type = make_signer("a", NOTE_KEY_COSIGNATURE, 1);
    struct note_signer other_name = make_signer("b", NOTE_KEY_ED25519, 1);
    const struct note_signer *signers[] = {&same_name, &other_type, &known, &other_name};
    struct buf message;
    make_note(TEXT, signers, 4, &message);
    cr_assert_eq(buf_append_string(&message, LINE DASH "a AAAAAAA=\n"), 0);
    cr_assert_eq(verify(buf_bytes(&message), &known.verifier, NULL), 1);
    buf_free(&message);
}

/* The name and the key id together say whose a signature is. */
Test(note, a_key_id_under_another_name_is_unknown)
{
    struct note_signer known = make_signer("a", NOTE_KEY_ED25519, 1);
    struct note_signer renamed = known;
    struct buf message;
    copy_string(renamed.verifier.name, sizeof(renamed.verifier.name), "b");
    make_note(TEXT, (const struct note_signer *[]){&renamed}, 1, &message);
    cr_assert_eq(verify(buf_bytes(&message), &known.verifier, NULL), 0);
    buf_free(&message);
}

Test(note, without_a_signature_of_the_key_the_count_is_zero)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    struct note_signer other = make_signer("b", NOTE_KEY_COSIGNATURE, 1);
    struct buf message;
    uint64_t time_s = 77;
    make_note(TEXT, (const struct note_signer *[]){&signer}, 1, &message);
    cr_assert_eq(verify(buf_bytes(&message), &other.verifier, &time_s), 0);
    cr_assert_eq(time_s, 77, "untouched");
    buf_free(&message);
}

static void expect_forged(struct bytes message, const struct note_verifier *verifier)
{
    uint64_t time_s = 77;
    struct err err = {0};
    cr_assert_eq(note_parse(message, &note, &err), 0, "%s", err.message);
    cr_assert_eq(note_verify(&note, verifier, &time_s, &err), ERR_CORRUPT);
    cr_assert_not_null(strstr(err.message, "forged or damaged"), "%s", err.message);
    cr_assert_eq(time_s, 77, "untouched");
}

Test(note, one_bad_signature_of_a_known_key_condemns_the_note)
{
    struct note_signer known = make_signer("a", NOTE_KEY_ED25519, 1);
    struct note_signer other = make_signer("b", NOTE_KEY_ED25519, 2);
    struct buf message, elsewhere;
    make_note("another text\n", (const struct note_signer *[]){&known}, 1, &elsewhere);
    struct bytes bad_line = signatures_of(buf_bytes(&elsewhere));
    make_note(TEXT, (const struct note_signer *[]){&known, &other}, 2, &message);
    cr_assert_eq(buf_append(&message, bad_line), 0);
    expect_forged(buf_bytes(&message), &known.verifier);
    cr_assert_eq(verify(buf_bytes(&message), &other.verifier, NULL), 1, "who did not sign badly is not concerned");
    buf_free(&message);
    buf_free(&elsewhere);
}

Test(note, any_flipped_bit_of_the_text_or_the_signature_is_found)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    struct buf message;
    make_note(TEXT, (const struct note_signer *[]){&signer}, 1, &message);
    message.data[0] ^= 1;
    expect_forged(buf_bytes(&message), &signer.verifier);
    message.data[0] ^= 1;
    parsed_text(buf_bytes(&message));
    uint8_t *blob = note.storage + 4;
    for (size_t bit = 0; bit < 8 * 64; bit++) {
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(note_verify(&note, &signer.verifier, NULL, NULL), ERR_CORRUPT, "bit %zu", bit);
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_assert_eq(note_verify(&note, &signer.verifier, NULL, NULL), 1);
    buf_free(&message);
}

Test(note, a_signature_of_the_wrong_length_is_bad)
{
    const enum note_key_type types[] = {NOTE_KEY_ED25519, NOTE_KEY_COSIGNATURE};
    for (size_t i = 0; i < 2; i++) {
        struct note_signer signer = make_signer("a", types[i], 1);
        struct buf message;
        make_note(TEXT, (const struct note_signer *[]){&signer}, 1, &message);
        parsed_text(buf_bytes(&message));
        size_t size = note.signatures[0].blob.size_bytes;
        const size_t sizes[] = {0, 1, 8, 63, size - 1, size + 1, size + 8};
        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            note.signatures[0].blob.size_bytes = sizes[j];
            cr_assert_eq(note_verify(&note, &signer.verifier, NULL, NULL), ERR_CORRUPT, "%zu bytes", sizes[j]);
        }
        note.signatures[0].blob.size_bytes = size;
        cr_assert_eq(note_verify(&note, &signer.verifier, NULL, NULL), 1);
        buf_free(&message);
    }
}

Test(note, sixteen_signatures_are_all_verified)
{
    struct note_signer signers[16];
    const struct note_signer *list[16];
    struct buf message;
    for (size_t i = 0; i < 16; i++) {
        char name[16];
        snprintf(name, sizeof(name), "signer-%zu", i);
        signers[i] = make_signer(name, i % 2 == 0 ? NOTE_KEY_ED25519 : NOTE_KEY_COSIGNATURE, (uint8_t)(i + 1));
        list[i] = &signers[i];
    }
    make_note(TEXT, list, 16, &message);
    for (size_t i = 0; i < 16; i++)
        cr_assert_eq(verify(buf_bytes(&message), &signers[i].verifier, NULL), 1, "signer %zu", i);
    cr_assert_eq(note.signature_count, 16);
    buf_free(&message);
}

Test(note, a_repeated_signature_counts_each_time)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    struct buf message;
    make_note(TEXT, (const struct note_signer *[]){&signer, &signer}, 2, &message);
    cr_assert_eq(verify(buf_bytes(&message), &signer.verifier, NULL), 2);
    buf_free(&message);
}

/* '+' and '/' are digits of the standard alphabet: of a hundred signatures most have both. */
Test(note, signatures_with_every_digit_of_base64_verify)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    size_t with_plus = 0, with_slash = 0;
    for (int i = 0; i < 100; i++) {
        char text[32];
        struct buf message;
        snprintf(text, sizeof(text), "text %d\n", i);
        make_note(text, (const struct note_signer *[]){&signer}, 1, &message);
        struct bytes lines = signatures_of(buf_bytes(&message));
        with_plus += memchr(lines.data, '+', lines.size_bytes) != NULL;
        with_slash += memchr(lines.data, '/', lines.size_bytes) != NULL;
        cr_assert_eq(verify(buf_bytes(&message), &signer.verifier, NULL), 1);
        buf_free(&message);
    }
    cr_assert_gt(with_plus, 10);
    cr_assert_gt(with_slash, 10);
}

/* --- Cosignatures --- */

Test(note, the_latest_of_several_cosignatures_counts)
{
    struct note_signer witness = make_signer("w", NOTE_KEY_COSIGNATURE, 1);
    const uint64_t times[] = {1000, 3000, 2000};
    struct buf message;
    uint64_t time_s = 0;
    make_note(TEXT, NULL, 0, &message);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(note_sign(&witness, BYTES_LITERAL(TEXT), times[i], &message, NULL), 0);
    cr_assert_eq(verify(buf_bytes(&message), &witness.verifier, &time_s), 3);
    cr_assert_eq(time_s, 3000);
    buf_free(&message);
}

Test(note, the_time_of_a_cosignature_is_signed)
{
    struct note_signer witness = make_signer("w", NOTE_KEY_COSIGNATURE, 1);
    struct buf message;
    make_note(TEXT, (const struct note_signer *[]){&witness}, 1, &message);
    parsed_text(buf_bytes(&message));
    note.storage[4 + 7] ^= 1;
    cr_assert_eq(note_verify(&note, &witness.verifier, NULL, NULL), ERR_CORRUPT);
    buf_free(&message);
}

Test(note, a_cosignature_is_no_signature_of_the_bare_text)
{
    struct note_signer log = make_signer("a", NOTE_KEY_ED25519, 1);
    struct note_signer witness = make_signer("a", NOTE_KEY_COSIGNATURE, 1);
    struct buf message;
    make_note(TEXT, (const struct note_signer *[]){&log}, 1, &message);
    parsed_text(buf_bytes(&message));
    cr_assert_eq(memcmp(log.verifier.public_key, witness.verifier.public_key, 32), 0);
    cr_assert_eq(note_verify(&note, &witness.verifier, NULL, NULL), 0, "another key id");
    witness.verifier.key_id = log.verifier.key_id;
    cr_assert_eq(note_verify(&note, &witness.verifier, NULL, NULL), ERR_CORRUPT);
    buf_free(&message);
}

Test(note, a_text_that_is_too_long_for_a_checkpoint_is_not_cosigned)
{
    struct note_signer witness = make_signer("w", NOTE_KEY_COSIGNATURE, 1);
    char text[1100];
    struct buf out;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    buf_init(&out, 4096);
    EXPECT_FAILURE(note_sign(&witness, bytes_of(text, sizeof(text)), 1, &out, err), ERR_TOO_LARGE,
                   "too long to cosign");
    cr_assert_eq(out.size_bytes, 0);
    text[900] = '\n';
    cr_assert_eq(note_sign(&witness, bytes_of(text, 901), 1, &out, NULL), 0);
    buf_free(&out);
}

/* --- Signing --- */

Test(note, a_line_without_room_is_not_begun)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    struct buf out;
    buf_init(&out, 50);
    cr_assert_eq(buf_append_string(&out, "head"), 0);
    EXPECT_FAILURE(note_sign(&signer, BYTES_LITERAL(TEXT), 0, &out, err), ERR_TOO_LARGE, "no room");
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL("head")));
    buf_free(&out);
}

Test(note, memory_that_runs_out_is_reported)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    struct buf out;
    buf_init(&out, 4096);
    mem_fail_at(1);
    EXPECT_FAILURE(note_sign(&signer, BYTES_LITERAL(TEXT), 0, &out, err), ERR_NO_MEMORY, "no room");
    cr_assert_eq(out.size_bytes, 0);
}

Test(note, a_text_without_its_final_newline_is_our_own_bug, .signal = SIGABRT)
{
    struct note_signer signer = make_signer("a", NOTE_KEY_ED25519, 1);
    struct buf out;
    buf_init(&out, 4096);
    cr_assert_eq(note_sign(&signer, BYTES_LITERAL("a text"), 0, &out, NULL), 0);
}
