#include <criterion/criterion.h>

#include "base/bytes.h"
#include "base/prng.h"

Test(hex, encodes_in_lower_case)
{
    char out[9];
    hex_encode(BYTES_LITERAL("\x00\x9a\xff\x10"), out);
    cr_assert_str_eq(out, "009aff10");
    hex_encode(bytes_of(NULL, 0), out);
    cr_assert_str_eq(out, "");
}

Test(hex, decodes_either_case)
{
    uint8_t out[4];
    cr_assert_eq(hex_decode("009AfF10", 8, out, 4), 0);
    cr_assert_arr_eq(out, "\x00\x9a\xff\x10", 4);
    cr_assert_eq(hex_decode("", 0, out, 0), 0);
}

Test(hex, refuses_wrong_sizes_and_digits_and_changes_nothing)
{
    static const char *const bad[] = {"",     "0",     "000",  "00000", "000g", "00 0", "-000",
                                      "0x00", "00\n0", "/000", ":000",  "@000", "`000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t out[2] = {7, 7};
        cr_assert_eq(hex_decode(bad[i], strlen(bad[i]), out, 2), ERR_INVALID, "took '%s'", bad[i]);
        cr_assert_eq(out[0], 7);
    }
}

/* RFC 4648 section 10. */
static const struct {
    const char *plain;
    const char *encoded;
} base64_table[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

Test(base64, published_values)
{
    for (size_t i = 0; i < sizeof(base64_table) / sizeof(base64_table[0]); i++) {
        char text[16];
        uint8_t plain[16];
        size_t size = 99;
        base64_encode(bytes_of_string(base64_table[i].plain), text);
        cr_assert_str_eq(text, base64_table[i].encoded);
        cr_assert_eq(base64_decode(text, strlen(text), plain, sizeof(plain), &size), 0);
        cr_assert(bytes_equal(bytes_of(plain, size), bytes_of_string(base64_table[i].plain)));
    }
}

Test(base64, everything_comes_back)
{
    struct prng prng;
    prng_seed(&prng, 3);
    for (size_t size = 0; size < 200; size++) {
        uint8_t in[200], out[200];
        char text[BASE64_ENCODED_SIZE(200) + 1];
        size_t got = 0;
        prng_fill(&prng, in, size);
        base64_encode(bytes_of(in, size), text);
        cr_assert_eq(strlen(text), BASE64_ENCODED_SIZE(size));
        cr_assert_eq(base64_decode(text, strlen(text), out, size, &got), 0);
        cr_assert(bytes_equal(bytes_of(in, size), bytes_of(out, got)));
    }
}

Test(base64, refuses_everything_that_is_not_canonical)
{
    static const char *const bad[] = {
        "Z",      "Zg",       "Zg=",      "Zm8",      "Zm9vY", "=",        "==",       "===",   "====",   "A===",
        "Zh==",   "Zn==",     "Zv==",     "Zm9=",     "Zm+=",  "Zg==Zg==", "Zm8=Zm9v", "Zg=a",  "Z=g=",   "=Zg=",
        "Zm9v\n", "Zm 9v===", "Zm9v====", "Zm9v Zg=", "Zm-v",  "Zm_v",     "Zm9\xC3",  "Zm9v=", "Zm9v==", "Zm9v===",
        "Zm\n9",  "\nm9v",    "Zm9,",     "Zm9.",     "*m9v",  "Zm9[",     "Zm9`",     "Zm9{",  "Zm9@",   "Zm9:",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t out[16];
        size_t size = 99;
        cr_assert_eq(base64_decode(bad[i], strlen(bad[i]), out, sizeof(out), &size), ERR_INVALID, "took '%s'", bad[i]);
        cr_assert_eq(size, 99);
    }
    uint8_t out[16];
    size_t size = 99;
    cr_assert_eq(base64_decode("Zm\0v", 4, out, sizeof(out), &size), ERR_INVALID);
}

/* Of all texts of four characters that start "Zm", each decodes to something that encodes to the same text, or is
 * refused. */
Test(base64, one_text_for_each_value)
{
    size_t taken = 0;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            const char text[4] = {'Z', 'm', (char)a, (char)b};
            uint8_t out[3];
            char again[5];
            size_t size = 0;
            if (base64_decode(text, 4, out, 3, &size) != 0)
                continue;
            taken++;
            base64_encode(bytes_of(out, size), again);
            if (memcmp(text, again, 4) != 0)
                cr_assert_fail("%.4s is not canonical", text);
        }
    }
    cr_assert_eq(taken, 64 * 64 + 16, "and \"Zm==\" has unused bits set");
}

Test(base64, does_not_write_past_the_end)
{
    uint8_t out[4] = {7, 7, 7, 7};
    size_t size = 99;
    cr_assert_eq(base64_decode("Zm9v", 4, out, 2, &size), ERR_TOO_LARGE);
    cr_assert_eq(base64_decode("Zg==", 4, out, 0, &size), ERR_TOO_LARGE);
    cr_assert_eq(size, 99);
    cr_assert_eq(out[0], 7);
    cr_assert_eq(base64_decode("Zm9v", 4, out, 3, &size), 0);
    cr_assert_eq(out[3], 7);
}

static const char uuid_text[] = "0190163d-8694-739b-aea5-966c26f8ad91";

Test(uuid, text_comes_back)
{
    uint8_t id[UUID_SIZE];
    char text[UUID_TEXT_SIZE + 1];
    cr_assert_eq(uuid_parse(uuid_text, UUID_TEXT_SIZE, id), 0);
    cr_assert_arr_eq(id, "\x01\x90\x16\x3d\x86\x94\x73\x9b\xae\xa5\x96\x6c\x26\xf8\xad\x91", UUID_SIZE);
    uuid_format(id, text);
    cr_assert_str_eq(text, uuid_text);
}

Test(uuid, upper_case_is_read)
{
    uint8_t id[UUID_SIZE];
    cr_assert_eq(uuid_parse("0190163D-8694-739B-AEA5-966C26F8AD91", UUID_TEXT_SIZE, id), 0);
    cr_assert_eq(id[3], 0x3d);
}

Test(uuid, refuses_every_other_shape_and_changes_nothing)
{
    static const char *const bad[] = {
        "",
        "0190163d8694739baea5966c26f8ad91",
        "0190163d-8694-739b-aea5-966c26f8ad9",
        "0190163d-8694-739b-aea5-966c26f8ad911",
        "{190163d-8694-739b-aea5-966c26f8ad9}",
        "0190163d-8694-739b-aea5-966c26f8ad9g",
        "0190163d_8694-739b-aea5-966c26f8ad91",
        "0190163-d8694-739b-aea5-966c26f8ad91",
        "0190163d-8694-739b-aea5966c-26f8ad91",
        " 190163d-8694-739b-aea5-966c26f8ad91",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t id[UUID_SIZE] = {7};
        cr_assert_eq(uuid_parse(bad[i], strlen(bad[i]), id), ERR_INVALID, "took '%s'", bad[i]);
        cr_assert_eq(id[0], 7);
    }
}
