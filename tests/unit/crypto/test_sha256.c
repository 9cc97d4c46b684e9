#include <criterion/criterion.h>
#include <signal.h>

#include "base/mem.h"
#include "support.h"

static struct sha256 *sha;

static void setup(void)
{
    sha = sha256_new();
    cr_assert_not_null(sha);
}

static void teardown(void)
{
    sha256_free(sha);
}

TestSuite(sha256, .init = setup, .fini = teardown);

static void expect_hash(struct hash got, const char *hex)
{
    struct hash expected = hash_of_hex(hex);
    cr_assert(hash_equal(&got, &expected), "%s", hex);
}

Test(sha256, agrees_with_the_examples_of_fips_180)
{
    expect_hash(sha256_of(sha, bytes_of(NULL, 0)), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hash(sha256_of(sha, BYTES_LITERAL("abc")),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_hash(sha256_of(sha, BYTES_LITERAL("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

Test(sha256, a_million_letters_are_hashed)
{
    uint8_t *letters = mem_alloc(1000000);
    memset(letters, 'a', 1000000);
    expect_hash(sha256_of(sha, bytes_of(letters, 1000000)),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    mem_free(letters);
}

Test(sha256, parts_hash_like_one_text_wherever_it_is_cut)
{
    const char *text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    size_t size = strlen(text);
    for (size_t a = 0; a <= size; a++) {
        for (size_t b = a; b <= size; b += 5) {
            const struct bytes parts[] = {bytes_of(text, a), bytes_of(text + a, b - a), bytes_of(text + b, size - b)};
            expect_hash(sha256_parts(sha, parts, 3),
                        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        }
    }
}

Test(sha256, no_parts_hash_like_the_empty_text)
{
    expect_hash(sha256_parts(sha, NULL, 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

Test(sha256, thirty_two_parts_are_the_most)
{
    struct bytes parts[32];
    for (size_t i = 0; i < 32; i++)
        parts[i] = BYTES_LITERAL("ab");
    struct hash got = sha256_parts(sha, parts, 32);
    struct hash expected =
        sha256_of(sha, BYTES_LITERAL("abababababababababababababababababababababababababababababababab"));
    cr_assert(hash_equal(&got, &expected));
}

Test(sha256, a_thirty_third_part_is_our_own_bug, .signal = SIGABRT)
{
    static struct bytes parts[33];
    sha256_parts(sha, parts, 33);
}

static void expect_two(const struct sha256_message messages[2])
{
    struct hash got[2];
    sha256_two(sha, messages, got);
    for (size_t i = 0; i < 2; i++) {
        struct hash expected = sha256_parts(sha, messages[i].parts, messages[i].count);
        cr_assert(hash_equal(&got[i], &expected), "message %zu of %zu and %zu bytes", i,
                  messages[0].parts[0].size_bytes, messages[1].parts[0].size_bytes);
    }
}

Test(sha256, two_at_once_agree_with_the_examples_of_fips_180)
{
    const struct bytes texts[] = {BYTES_LITERAL("abc"),
                                  BYTES_LITERAL("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")};
    struct hash got[2];
    sha256_two(sha, (const struct sha256_message[2]){{&texts[0], 1}, {&texts[1], 1}}, got);
    expect_hash(got[0], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_hash(got[1], "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    sha256_two(sha, (const struct sha256_message[2]){{NULL, 0}, {&texts[0], 1}}, got);
    expect_hash(got[0], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hash(got[1], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* Around every multiple of a block, and of what is copied together at once. */
Test(sha256, two_at_once_are_each_hashed_like_one_whatever_their_sizes)
{
    static uint8_t data[2][4200];
    for (size_t i = 0; i < sizeof(data[0]); i++) {
        data[0][i] = (uint8_t)(i * 7 + i / 256);
        data[1][i] = (uint8_t)(i * 13 + 5);
    }
    for (size_t a = 0; a < sizeof(data[0]); a += a < 260 || (a > 1000 && a < 1100) ? 1 : 53) {
        const size_t others[] = {0, 65, 300, a, sizeof(data[1]) - a};
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            const struct bytes first = bytes_of(data[0], a), second = bytes_of(data[1], others[i]);
            expect_two((const struct sha256_message[2]){{&first, 1}, {&second, 1}});
            expect_two((const struct sha256_message[2]){{&second, 1}, {&first, 1}});
        }
    }
}

Test(sha256, two_at_once_take_parts_wherever_they_are_cut)
{
    static uint8_t data[2300];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    const struct bytes whole = bytes_of(data, sizeof(data));
    struct hash expected = sha256_of(sha, whole);
    for (size_t cut = 0; cut <= sizeof(data); cut += cut < 100 || (cut > 1000 && cut < 1050) ? 1 : 37) {
        const struct bytes parts[] = {bytes_of(data, cut / 2), bytes_of(NULL, 0),
                                      bytes_of(data + cut / 2, cut - cut / 2), bytes_of(data + cut, sizeof(data) - cut),
                                      bytes_of(NULL, 0)};
        struct hash got[2];
        sha256_two(sha, (const struct sha256_message[2]){{parts, 5}, {&whole, 1}}, got);
        cr_assert(hash_equal(&got[0], &expected) && hash_equal(&got[1], &expected), "cut at %zu", cut);
    }
}

Test(sha256, a_thirty_third_part_of_one_of_two_is_our_own_bug, .signal = SIGABRT)
{
    static struct bytes parts[33];
    struct hash got[2];
    sha256_two(sha, (const struct sha256_message[2]){{parts, 1}, {parts, 33}}, got);
}

Test(sha256, hashes_differ_when_any_one_bit_does)
{
    struct hash a = sha256_of(sha, BYTES_LITERAL("abc"));
    for (size_t bit = 0; bit < 8 * HASH_SIZE; bit++) {
        struct hash b = a;
        b.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_not(hash_equal(&a, &b), "bit %zu", bit);
    }
}

Test(sha256, running_out_of_memory_is_reported)
{
    mem_fail_at(1);
    cr_assert_null(sha256_new());
}

Test(sha256, freeing_nothing_is_fine)
{
    sha256_free(NULL);
    cr_assert_not_null(sha);
}
