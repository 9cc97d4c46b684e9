#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>

#include "support.h"

static void expect_public_refused(const char *text, const char *word)
{
    struct note_verifier verifier = {.key_id = 77};
    EXPECT_FAILURE(note_verifier_parse(bytes_of_string(text), &verifier, err), ERR_INVALID, word);
    cr_assert_eq(verifier.key_id, 77, "outputs are untouched on failure");
}

static void expect_private_refused(const char *text, const char *word)
{
    struct note_signer signer = {.verifier = {.key_id = 77}};
    EXPECT_FAILURE(note_signer_parse(bytes_of_string(text), &signer, err), ERR_INVALID, word);
    cr_assert_eq(signer.verifier.key_id, 77, "outputs are untouched on failure");
}

/* A vkey with the right key id for these parts, whatever they are. */
static const char *vkey_of(const char *name, uint8_t type, const uint8_t *key, size_t key_size)
{
    static char text[1024];
    uint8_t blob[1 + 64] = {type};
    char base64[128];
    struct sha256 *sha = sha256_new();
    memcpy(blob + 1, key, key_size);
    const struct bytes parts[] = {bytes_of_string(name), BYTES_LITERAL("\n"), bytes_of(blob, 1 + key_size)};
    struct hash hash = sha256_parts(sha, parts, 3);
    base64_encode(bytes_of(blob, 1 + key_size), base64);
    snprintf(text, sizeof(text), "%s+%08x+%s", name, (unsigned)get_u32_be(hash.bytes), base64);
    sha256_free(sha);
    return text;
}

/* --- Names --- */

Test(key, names_hold_any_text_without_spaces_and_plus)
{
    const char *names[] = {"a",
                           "example.com/log/testdata",
                           "demo/eu/1",
                           "\xC3\xA9t\xC3\xA9",
                           "a\x7F"
                           "b",
                           "\xE2\x80\x8B" /* zero width space: no White_Space */,
                           "\xF0\x9F\x92\xB0"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_assert(note_name_valid(bytes_of_string(names[i])), "%s", names[i]);
}

Test(key, names_hold_no_unicode_space_no_plus_and_no_control_character)
{
    const char *names[] = {"",
                           " ",
                           "a b",
                           "a ",
                           "a+b",
                           "+",
                           "a\tb",
                           "a\nb",
                           "a\x1F",
                           "\xFF",
                           "a\xC2\x85",     /* U+0085 */
                           "a\xC2\xA0z",    /* U+00A0 */
                           "\xE1\x9A\x80z", /* U+1680 */
                           "a\xE2\x80\x80", /* U+2000 */
                           "a\xE2\x80\x87z",
                           "a\xE2\x80\x8A",  /* U+200A */
                           "a\xE2\x80\xA8",  /* U+2028 */
                           "a\xE2\x80\xA9",  /* U+2029 */
                           "a\xE2\x80\xAF",  /* U+202F */
                           "a\xE2\x81\x9F",  /* U+205F */
                           "a\xE3\x80\x80"}; /* U+3000 */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        cr_assert_not(note_name_valid(bytes_of_string(names[i])), "number %zu", i);
    cr_assert_not(note_name_valid(BYTES_LITERAL("a\0b")));
}

Test(key, our_own_names_have_at_most_255_bytes)
{
    char name[NOTE_NAME_MAX_BYTES + 2];
    uint8_t seed[32] = {1};
    struct note_signer signer;
    memset(name, 'n', sizeof(name) - 1);
    name[NOTE_NAME_MAX_BYTES + 1] = '\0';
    EXPECT_FAILURE(note_signer_from_seed(name, NOTE_KEY_ED25519, seed, &signer, err), ERR_INVALID, "1 to 255 bytes");
    EXPECT_FAILURE(note_signer_from_seed("", NOTE_KEY_ED25519, seed, &signer, err), ERR_INVALID, "1 to 255 bytes");
    EXPECT_FAILURE(note_signer_from_seed("a\x7F", NOTE_KEY_ED25519, seed, &signer, err), ERR_INVALID, "control");
    EXPECT_FAILURE(note_signer_from_seed("a+b", NOTE_KEY_ED25519, seed, &signer, err), ERR_INVALID, "'+'");
    name[NOTE_NAME_MAX_BYTES] = '\0';
    cr_assert_eq(note_signer_from_seed(name, NOTE_KEY_ED25519, seed, &signer, NULL), 0);
    char text[NOTE_VKEY_MAX_BYTES + 1];
    note_verifier_format(&signer.verifier, text);
    cr_assert_eq(strlen(text), NOTE_VKEY_MAX_BYTES - 4, "33 bytes are 44 digits");
    cr_assert_str_eq(parse_vkey(text).name, name);
}

/* --- Public keys --- */

Test(key, published_public_keys_come_back_as_they_were)
{
    const char *texts[] = {TESSERA_PUBLIC_KEY, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
                           "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
                           "witness.example.com/w1+82ccc88e+BOHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char text[NOTE_VKEY_MAX_BYTES + 1];
        struct note_verifier verifier = parse_vkey(texts[i]);
        note_verifier_format(&verifier, text);
        cr_assert_str_eq(text, texts[i]);
    }
}

Test(key, the_base64_of_a_key_may_hold_a_plus)
{
    struct note_verifier verifier = parse_vkey(TESSERA_PUBLIC_KEY);
    cr_assert_not_null(strstr(TESSERA_PUBLIC_KEY, "280NI+oO5"));
    cr_assert_str_eq(verifier.name, TESSERA_ORIGIN);
    cr_assert_eq(verifier.key_id, 0x33d7b496);
    cr_assert_eq(verifier.type, NOTE_KEY_ED25519);
}

Test(key, the_key_id_depends_on_name_type_and_key)
{
    uint32_t id = make_signer("a", NOTE_KEY_ED25519, 1).verifier.key_id;
    cr_assert_neq(make_signer("b", NOTE_KEY_ED25519, 1).verifier.key_id, id);
    cr_assert_neq(make_signer("a", NOTE_KEY_COSIGNATURE, 1).verifier.key_id, id);
    cr_assert_neq(make_signer("a", NOTE_KEY_ED25519, 2).verifier.key_id, id);
}

Test(key, every_other_shape_of_a_public_key_is_refused)
{
    expect_public_refused("", "must look like");
    expect_public_refused("name", "must look like");
    expect_public_refused("name+", "must look like");
    expect_public_refused("name+33d7b496", "must look like");
    expect_public_refused("name+33d7b49+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "8 hex digits");
    expect_public_refused("name+33d7b4966+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "8 hex digits");
    expect_public_refused("name+33d7b49g+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "8 hex digits");
    expect_public_refused(TESSERA_ORIGIN "+33d7b496+", "33 bytes");
    expect_public_refused(TESSERA_ORIGIN "+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkQ=", "33 bytes");
    expect_public_refused(TESSERA_PUBLIC_KEY "AAAA", "33 bytes");
    expect_public_refused(TESSERA_PUBLIC_KEY "\n", "33 bytes");
    expect_public_refused(" " TESSERA_PUBLIC_KEY, "spaces");
    expect_public_refused("+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "1 to 255 bytes");
    expect_public_refused("\xC2\xA0+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "spaces");
    expect_public_refused("\xFF+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "UTF-8");
    struct note_verifier verifier;
    cr_assert_eq(note_verifier_parse(bytes_of(NULL, 0), &verifier, NULL), ERR_INVALID);
}

Test(key, a_key_id_that_is_not_the_keys_is_refused)
{
    expect_public_refused(TESSERA_ORIGIN "+33d7b497+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "was changed");
    expect_public_refused(TESSERA_ORIGIN "2+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "was changed");
    expect_public_refused(TESSERA_ORIGIN "+33d7b496+BOHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx", "was changed");
}

Test(key, other_types_of_keys_are_refused)
{
    struct note_verifier verifier = parse_vkey(TESSERA_PUBLIC_KEY);
    const uint8_t types[] = {0x00, 0x02, 0x03, 0x05, 0x06, 0xFF};
    for (size_t i = 0; i < sizeof(types); i++)
        expect_public_refused(vkey_of("name", types[i], verifier.public_key, 32), "is not supported");
    expect_public_refused(vkey_of("name", 0x01, (const uint8_t[64]){0}, 64), "33 bytes");
}

/* --- Private keys --- */

Test(key, published_private_keys_have_their_public_keys)
{
    char text[NOTE_VKEY_MAX_BYTES + 1];
    struct note_signer signer = tessera_signer();
    note_verifier_format(&signer.verifier, text);
    cr_assert_str_eq(text, TESSERA_PUBLIC_KEY);
    cr_assert_eq(note_signer_parse(
                     BYTES_LITERAL("PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"),
                     &signer, NULL),
                 0);
    note_verifier_format(&signer.verifier, text);
    cr_assert_str_eq(text, "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
}

Test(key, a_private_key_is_written_as_it_was_read)
{
    struct note_signer signer = tessera_signer();
    struct buf out;
    buf_init(&out, 1024);
    cr_assert_eq(note_signer_format(&signer, &out), 0);
    cr_assert(bytes_equal(buf_bytes(&out), BYTES_LITERAL(TESSERA_SECRET_KEY "\n")));
    buf_free(&out);
}

Test(key, a_cosigners_private_key_comes_back)
{
    struct note_signer signer = make_signer("witness", NOTE_KEY_COSIGNATURE, 3);
    struct note_signer back;
    struct buf out;
    buf_init(&out, 1024);
    cr_assert_eq(note_signer_format(&signer, &out), 0);
    cr_assert_eq(note_signer_parse(bytes_of(out.data, out.size_bytes - 1), &back, NULL), 0);
    cr_assert_eq(back.verifier.type, NOTE_KEY_COSIGNATURE);
    cr_assert_eq(memcmp(back.secret_key, signer.secret_key, sizeof(back.secret_key)), 0);
    buf_free(&out);
}

Test(key, a_private_key_without_room_leaves_nothing_of_itself_behind)
{
    struct note_signer signer = tessera_signer();
    struct buf out;
    buf_init(&out, sizeof(TESSERA_SECRET_KEY) - 1);
    cr_assert_eq(note_signer_format(&signer, &out), ERR_TOO_LARGE);
    cr_assert_eq(out.size_bytes, 0);
    buf_free(&out);
}

Test(key, every_other_shape_of_a_private_key_is_refused)
{
    expect_private_refused("", "must start with");
    expect_private_refused("PRIVATE+KEY", "must start with");
    expect_private_refused(TESSERA_PUBLIC_KEY, "must start with");
    expect_private_refused("private+key+a+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg", "must start with");
    expect_private_refused("PRIVATE+KEY+", "must look like");
    expect_private_refused("PRIVATE+KEY+a+33d7b496+AAAA", "33 bytes");
    expect_private_refused(TESSERA_SECRET_KEY "\n", "33 bytes");
    expect_private_refused("PRIVATE+KEY++33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg", "1 to 255 bytes");
    expect_private_refused("PRIVATE+KEY+a+33d7b496+AuymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg", "type 0x02");
}

Test(key, a_private_key_under_another_name_is_refused)
{
    expect_private_refused("PRIVATE+KEY+other+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg",
                           "does not belong");
    expect_private_refused("PRIVATE+KEY+" TESSERA_ORIGIN "+33d7b497+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg",
                           "does not belong");
}

Test(key, no_message_holds_any_of_a_private_key)
{
    struct note_signer signer;
    struct err err = {0};
    const char *text = "PRIVATE+KEY+other+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";
    cr_assert_eq(note_signer_parse(bytes_of_string(text), &signer, &err), ERR_INVALID);
    cr_assert_null(strstr(err.message, "ymY/"), "%s", err.message);
}

Test(key, wiping_leaves_nothing)
{
    struct note_signer signer = tessera_signer();
    const struct note_signer nothing = {0};
    note_signer_wipe(&signer);
    cr_assert_eq(memcmp(&signer, &nothing, sizeof(signer)), 0);
}

/* --- Which points are keys (the rules are in note.h) --- */

Test(key, a_point_of_small_order_is_no_key)
{
    const char *points[] = {
        "0100000000000000000000000000000000000000000000000000000000000000", /* order 1 */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* order 2 */
        "0000000000000000000000000000000000000000000000000000000000000000", /* order 4 */
        "0000000000000000000000000000000000000000000000000000000000000080",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", /* order 8 */
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    };
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct hash point = hash_of_hex(points[i]);
        expect_public_refused(vkey_of("name", 0x01, point.bytes, 32), "not a canonical point");
        expect_public_refused(vkey_of("name", 0x04, point.bytes, 32), "not a canonical point");
    }
}

Test(key, a_point_with_two_spellings_is_a_key_in_neither_wrong_one)
{
    const char *points[] = {
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* y = p, which is 0 */
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* y = p + 1 */
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0100000000000000000000000000000000000000000000000000000000000080", /* x = -0 */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* y = p + 3 */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct hash point = hash_of_hex(points[i]);
        expect_public_refused(vkey_of("name", 0x01, point.bytes, 32), "not a canonical point");
    }
}

Test(key, bytes_that_are_no_point_are_no_key)
{
    /* x^2 = (y^2 - 1) / (d y^2 + 1) has no root for y = 2. */
    const uint8_t key[32] = {2};
    expect_public_refused(vkey_of("name", 0x01, key, 32), "not a canonical point");
}

/* A good key with a point of small order added. Some verifiers (those that multiply by the cofactor) take the same
 * signatures for it as for the good key, others do not: two auditors would disagree. */
Test(key, a_point_outside_the_main_subgroup_is_no_key)
{
    struct note_signer signer = tessera_signer();
    struct hash torsion = hash_of_hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
    struct hash sum;
    memcpy(sum.bytes, signer.verifier.public_key, 32);
    for (int times = 1; times < 8; times++) {
        cr_assert_eq(crypto_core_ed25519_add(sum.bytes, sum.bytes, torsion.bytes), 0);
        expect_public_refused(vkey_of("name", 0x01, sum.bytes, 32), "not a canonical point");
    }
    cr_assert_eq(crypto_core_ed25519_add(sum.bytes, sum.bytes, torsion.bytes), 0);
    cr_assert_eq(memcmp(sum.bytes, signer.verifier.public_key, 32), 0, "the eighth time it is the good key again");
    cr_assert_str_eq(parse_vkey(vkey_of("name", 0x01, sum.bytes, 32)).name, "name");
}

Test(key, a_renamed_key_is_the_same_key_under_another_name)
{
    struct note_signer signer = tessera_signer();
    struct note_verifier verifier = signer.verifier;
    cr_assert_eq(note_verifier_rename(&verifier, "bank/eu/2", NULL), 0);
    cr_assert_str_eq(verifier.name, "bank/eu/2");
    cr_assert_eq(memcmp(verifier.public_key, signer.verifier.public_key, 32), 0);
    cr_assert_neq(verifier.key_id, signer.verifier.key_id);
    cr_assert_str_eq(parse_vkey(vkey_of("bank/eu/2", 0x01, verifier.public_key, 32)).name, "bank/eu/2");
    cr_assert_eq(parse_vkey(vkey_of("bank/eu/2", 0x01, verifier.public_key, 32)).key_id, verifier.key_id);
    struct note_verifier before = verifier;
    EXPECT_FAILURE(note_verifier_rename(&verifier, "a b", err), ERR_INVALID, "spaces");
    cr_assert_eq(memcmp(&before, &verifier, sizeof(before)), 0, "untouched on failure");
}
