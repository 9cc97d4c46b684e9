/* The edges of Ed25519 verification (the rules are in note.h): signatures that the bare equation S B = R + k A accepts,
 * made with libsodium's arithmetic, and that must be refused all the same. Each test first convinces itself that the
 * equation holds, so that the refusal is for the reason named. */
#include <criterion/criterion.h>
#include <sodium.h>

#include "support.h"

#define TEXT "the edges of ed25519\n"

struct edge {
    uint8_t public_key[32];
    uint8_t r[32];
    uint8_t s[32];
};

static const char *const small_order_points[] = {
    "0100000000000000000000000000000000000000000000000000000000000000", /* order 1 */
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* order 2 */
    "0000000000000000000000000000000000000000000000000000000000000000", /* order 4 */
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", /* order 8 */
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
};
enum { SMALL_ORDER_POINTS = sizeof(small_order_points) / sizeof(small_order_points[0]) };

static const uint8_t group_order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                        0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                        0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};

static uint8_t secret_scalar[32];
static struct note_signer signer;

static void setup(void)
{
    uint8_t hashed[64];
    cr_assert_geq(sodium_init(), 0);
    signer = tessera_signer();
    crypto_hash_sha512(hashed, signer.secret_key, 32);
    hashed[0] &= 248;
    hashed[31] &= 127;
    hashed[31] |= 64;
    memset(hashed + 32, 0, 32);
    crypto_core_ed25519_scalar_reduce(secret_scalar, hashed);
}

TestSuite(ed25519, .init = setup);

/* k = SHA-512(R || A || M) mod L. */
static void challenge(const struct edge *edge, uint8_t out[32])
{
    crypto_hash_sha512_state state;
    uint8_t hashed[64];
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, edge->r, 32);
    crypto_hash_sha512_update(&state, edge->public_key, 32);
    crypto_hash_sha512_update(&state, (const uint8_t *)TEXT, strlen(TEXT));
    crypto_hash_sha512_final(&state, hashed);
    crypto_core_ed25519_scalar_reduce(out, hashed);
}

/* R = r B and S = r + k a, as in signing, but with a public key and an R of the caller's choice (NULL: r B). */
static struct edge make_edge(const uint8_t public_key[32], const uint8_t r_point[32], uint8_t r_seed)
{
    struct edge edge;
    uint8_t r[32] = {0};
    uint8_t k[32];
    if (r_point == NULL) {
        r[0] = r_seed;
        cr_assert_eq(crypto_scalarmult_ed25519_base_noclamp(edge.r, r), 0);
    } else {
        memcpy(edge.r, r_point, 32);
    }
    memcpy(edge.public_key, public_key, 32);
    challenge(&edge, k);
    crypto_core_ed25519_scalar_mul(k, k, secret_scalar);
    crypto_core_ed25519_scalar_add(edge.s, r, k);
    return edge;
}

static int verify_edge(const struct edge *edge, struct err *err)
{
    uint8_t blob[4 + 64];
    char base64[BASE64_ENCODED_SIZE(sizeof(blob)) + 1];
    struct note_verifier verifier = signer.verifier;
    struct note note;
    struct buf text;
    memcpy(verifier.public_key, edge->public_key, 32); /* past the checks of note_verifier_parse */
    put_u32_be(blob, verifier.key_id);
    memcpy(blob + 4, edge->r, 32);
    memcpy(blob + 36, edge->s, 32);
    base64_encode(bytes_of(blob, sizeof(blob)), base64);
    buf_init(&text, 4096);
    cr_assert_eq(buf_append_format(&text, "%s\n\xE2\x80\x94 %s %s\n", TEXT, verifier.name, base64), 0);
    cr_assert_eq(note_parse(buf_bytes(&text), &note, err), 0, "%s", err->message);
    int code = note_verify(&note, &verifier, NULL, err);
    buf_free(&text);
    return code;
}

static void expect_refused(const struct edge *edge, const char *what)
{
    struct err err = {0};
    cr_assert_eq(verify_edge(edge, &err), ERR_CORRUPT, "%s", what);
    cr_assert_not_null(strstr(err.message, "does not verify"), "%s", err.message);
}

static void add_group_order(uint8_t scalar[32])
{
    unsigned carry = 0;
    for (size_t i = 0; i < 32; i++) {
        carry += (unsigned)scalar[i] + group_order[i];
        scalar[i] = (uint8_t)carry;
        carry >>= 8;
    }
    cr_assert_eq(carry, 0);
}

Test(ed25519, a_signature_made_by_hand_verifies)
{
    struct edge edge = make_edge(signer.verifier.public_key, NULL, 5);
    struct err err = {0};
    cr_assert_eq(verify_edge(&edge, &err), 1, "%s", err.message);
}

Test(ed25519, s_has_no_second_spelling)
{
    struct edge edge = make_edge(signer.verifier.public_key, NULL, 5);
    for (int times = 1; times < 8; times++) {
        uint8_t reduced[32], wide[64] = {0};
        struct edge usual = make_edge(signer.verifier.public_key, NULL, 5);
        add_group_order(edge.s);
        memcpy(wide, edge.s, 32);
        crypto_core_ed25519_scalar_reduce(reduced, wide);
        cr_assert_eq(memcmp(reduced, usual.s, 32), 0, "the same S modulo L");
        expect_refused(&edge, "S + a multiple of L");
    }
}

Test(ed25519, s_equal_to_the_group_order_is_refused)
{
    struct edge edge = make_edge(signer.verifier.public_key, NULL, 5);
    memcpy(edge.s, group_order, 32);
    expect_refused(&edge, "S = L");
    memset(edge.s, 0xFF, 32);
    expect_refused(&edge, "S of all ones");
}

/* With A of small order and k A = 0, S = r and R = r B satisfy the equation for any text: whoever could make such a key
 * a log's would sign everything with one signature. */
Test(ed25519, a_public_key_of_small_order_verifies_nothing)
{
    size_t holding = 0;
    for (size_t i = 0; i < SMALL_ORDER_POINTS; i++) {
        struct hash key = hash_of_hex(small_order_points[i]);
        for (uint8_t seed = 1; seed < 32; seed++) {
            struct edge edge = make_edge(key.bytes, NULL, seed);
            uint8_t k[32];
            challenge(&edge, k);
            memset(edge.s, 0, 32);
            edge.s[0] = seed;
            holding += (k[0] & 7) == 0 || i == 0;
            expect_refused(&edge, small_order_points[i]);
        }
    }
    cr_assert_gt(holding, 31, "the equation held for some of them");
}

Test(ed25519, a_public_key_with_a_second_spelling_verifies_nothing)
{
    const char *points[] = {"0100000000000000000000000000000000000000000000000000000000000080",
                            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct hash key = hash_of_hex(points[i]);
        struct edge edge = make_edge(key.bytes, NULL, 8);
        memset(edge.s, 0, 32);
        edge.s[0] = 8;
        expect_refused(&edge, points[i]);
    }
}

/* R = 0 and S = k a satisfy the equation: S B = k A. */
Test(ed25519, an_r_of_order_one_is_refused)
{
    struct hash identity = hash_of_hex(small_order_points[0]);
    struct edge edge = make_edge(signer.verifier.public_key, identity.bytes, 0);
    uint8_t k[32], left[32], right[32];
    challenge(&edge, k);
    cr_assert_eq(crypto_scalarmult_ed25519_base_noclamp(left, edge.s), 0);
    cr_assert_eq(crypto_scalarmult_ed25519_noclamp(right, k, edge.public_key), 0);
    cr_assert_eq(memcmp(left, right, 32), 0, "the equation holds");
    expect_refused(&edge, "R = 0");
}

/* These satisfy the equation times the cofactor: 8 S B = 8 R + 8 k A. */
Test(ed25519, an_r_of_small_order_is_refused)
{
    for (size_t i = 1; i < SMALL_ORDER_POINTS; i++) {
        struct hash point = hash_of_hex(small_order_points[i]);
        struct edge edge = make_edge(signer.verifier.public_key, point.bytes, 0);
        expect_refused(&edge, small_order_points[i]);
    }
}

Test(ed25519, an_r_with_a_second_spelling_is_refused)
{
    struct hash point = hash_of_hex("0100000000000000000000000000000000000000000000000000000000000080");
    struct edge edge = make_edge(signer.verifier.public_key, point.bytes, 0);
    expect_refused(&edge, "R = 0, with a sign");
    point = hash_of_hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    edge = make_edge(signer.verifier.public_key, point.bytes, 0);
    expect_refused(&edge, "R = 0, as y = p + 1");
}

/* R with a point of small order added satisfies the equation times the cofactor alone. */
Test(ed25519, an_r_outside_the_main_subgroup_is_refused)
{
    for (size_t i = 1; i < SMALL_ORDER_POINTS; i++) {
        struct hash torsion = hash_of_hex(small_order_points[i]);
        struct edge edge;
        uint8_t r[32] = {5};
        uint8_t k[32];
        memcpy(edge.public_key, signer.verifier.public_key, 32);
        cr_assert_eq(crypto_scalarmult_ed25519_base_noclamp(edge.r, r), 0);
        cr_assert_eq(crypto_core_ed25519_add(edge.r, edge.r, torsion.bytes), 0);
        challenge(&edge, k);
        crypto_core_ed25519_scalar_mul(k, k, secret_scalar);
        crypto_core_ed25519_scalar_add(edge.s, r, k);
        expect_refused(&edge, small_order_points[i]);
    }
}

Test(ed25519, signing_draws_no_randomness)
{
    struct buf a, b;
    const struct note_signer *signers[] = {&signer};
    make_note(TEXT, signers, 1, &a);
    make_note(TEXT, signers, 1, &b);
    cr_assert(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
    buf_free(&a);
    buf_free(&b);
}
