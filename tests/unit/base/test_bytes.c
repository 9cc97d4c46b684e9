#include <criterion/criterion.h>

#include "base/bytes.h"

Test(bytes, order_is_memcmp_with_shorter_prefixes_first)
{
    cr_assert_eq(bytes_compare(BYTES_LITERAL("ab"), BYTES_LITERAL("ab")), 0);
    cr_assert_lt(bytes_compare(BYTES_LITERAL("ab"), BYTES_LITERAL("abc")), 0);
    cr_assert_gt(bytes_compare(BYTES_LITERAL("b"), BYTES_LITERAL("abc")), 0);
    cr_assert_lt(bytes_compare(BYTES_LITERAL("\x7f"), BYTES_LITERAL("\x80")), 0, "bytes are unsigned");
    cr_assert_lt(bytes_compare(bytes_of(NULL, 0), BYTES_LITERAL("\0")), 0);
    cr_assert_eq(bytes_compare(bytes_of(NULL, 0), BYTES_LITERAL("")), 0);
}

Test(bytes, equality_needs_size_and_contents)
{
    cr_assert(bytes_equal(BYTES_LITERAL("a\0b"), BYTES_LITERAL("a\0b")));
    cr_assert_not(bytes_equal(BYTES_LITERAL("a\0b"), BYTES_LITERAL("a\0c")));
    cr_assert_not(bytes_equal(BYTES_LITERAL("a"), BYTES_LITERAL("ab")));
    cr_assert(bytes_equal(bytes_of(NULL, 0), BYTES_LITERAL("")));
}

Test(bytes, big_endian_numbers_have_the_high_byte_first)
{
    uint8_t out[8];
    put_u64_be(out, 0x0123456789abcdef);
    cr_assert_arr_eq(out, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    cr_assert_eq(get_u64_be(out), 0x0123456789abcdef);
    put_u32_be(out, 0xfedcba98);
    cr_assert_arr_eq(out, "\xfe\xdc\xba\x98", 4);
    cr_assert_eq(get_u32_be(out), 0xfedcba98);
    put_u16_be(out, 0xff01);
    cr_assert_arr_eq(out, "\xff\x01", 2);
    cr_assert_eq(get_u16_be(out), 0xff01);
}

Test(bytes, little_endian_numbers_have_the_low_byte_first)
{
    uint8_t out[8];
    put_u64_le(out, 0xfedcba9876543210);
    cr_assert_arr_eq(out, "\x10\x32\x54\x76\x98\xba\xdc\xfe", 8);
    cr_assert_eq(get_u64_le(out), 0xfedcba9876543210);
    put_u32_le(out, 0xfedcba98);
    cr_assert_arr_eq(out, "\x98\xba\xdc\xfe", 4);
    cr_assert_eq(get_u32_le(out), 0xfedcba98);
}

Test(bytes, numbers_need_no_alignment)
{
    uint8_t out[9] = {0};
    put_u64_le(out + 1, UINT64_MAX - 1);
    cr_assert_eq(get_u64_le(out + 1), UINT64_MAX - 1);
    cr_assert_eq(out[0], 0);
}

Test(parse_u64, reads_the_whole_range)
{
    uint64_t value = 1;
    cr_assert_eq(parse_u64("0", 1, &value), 0);
    cr_assert_eq(value, 0);
    cr_assert_eq(parse_u64("18446744073709551615", 20, &value), 0);
    cr_assert_eq(value, UINT64_MAX);
    cr_assert_eq(parse_u64("1234567", 3, &value), 0);
    cr_assert_eq(value, 123);
}

Test(parse_u64, refuses_every_other_spelling)
{
    static const char *const bad[] = {
        "",
        "00",
        "01",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "0x1",
        "1e3",
        "1.0",
        "١",
        "a",
        "/",
        ":",
        "18446744073709551616",
        "18446744073709551620",
        "28446744073709551615",
        "99999999999999999999",
        "100000000000000000000",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t value = 77;
        cr_assert_eq(parse_u64(bad[i], strlen(bad[i]), &value), ERR_INVALID, "took '%s'", bad[i]);
        cr_assert_eq(value, 77, "changed its output for '%s'", bad[i]);
    }
    uint64_t value = 77;
    cr_assert_eq(parse_u64("1\0002", 3, &value), ERR_INVALID);
    cr_assert_eq(parse_u64(NULL, 0, &value), ERR_INVALID);
}

/* One row for each boundary of RFC 3629 section 4. */
static const struct {
    const char *text;
    bool valid;
} utf8_table[] = {
    {"\x01", true},
    {"\x7F", true},
    {"\x80", false},
    {"\xBF", false},
    {"\xC0\x80", false}, /* overlong NUL */
    {"\xC0\xAF", false}, /* overlong slash */
    {"\xC1\xBF", false},
    {"\xC2", false},
    {"\xC2\x7F", false},
    {"\xC2\x80", true},
    {"\xC2\xBF", true},
    {"\xC2\xC0", false},
    {"\xDF\xBF", true},
    {"\xE0\x80\x80", false},
    {"\xE0\x9F\xBF", false}, /* overlong */
    {"\xE0\xA0\x80", true},
    {"\xE0\xA0", false},
    {"\xE0\xA0\x7F", false},
    {"\xE1\x80\x80", true},
    {"\xEC\xBF\xBF", true},
    {"\xED\x9F\xBF", true},  /* U+D7FF */
    {"\xED\xA0\x80", false}, /* U+D800, a surrogate */
    {"\xED\xBF\xBF", false},
    {"\xEE\x80\x80", true},
    {"\xEF\xBF\xBF", true},
    {"\xEF\xBB\xBF", true}, /* a byte order mark is a character like others */
    {"\xF0\x80\x80\x80", false},
    {"\xF0\x8F\xBF\xBF", false}, /* overlong */
    {"\xF0\x90\x80\x80", true},
    {"\xF0\x90\x80", false},
    {"\xF0\x90\x80\xC0", false},
    {"\xF0\x90\x7F\x80", false},
    {"\xF3\xBF\xBF\xBF", true},
    {"\xF4\x8F\xBF\xBF", true},  /* U+10FFFF */
    {"\xF4\x90\x80\x80", false}, /* U+110000 */
    {"\xF5\x80\x80\x80", false},
    {"\xF8\x88\x80\x80\x80", false},
    {"\xFE", false},
    {"\xFF", false},
    {"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x92\xB0", true},
    {"good\xC3", false},
};

Test(utf8, table_of_boundaries)
{
    for (size_t i = 0; i < sizeof(utf8_table) / sizeof(utf8_table[0]); i++)
        cr_assert_eq(utf8_valid(bytes_of_string(utf8_table[i].text)), utf8_table[i].valid, "row %zu", i);
}

Test(utf8, nothing_is_valid_and_nul_is_not)
{
    cr_assert(utf8_valid(bytes_of(NULL, 0)));
    cr_assert_not(utf8_valid(bytes_of("\0", 1)));
    cr_assert_not(utf8_valid(bytes_of("a\0b", 3)));
}

/* All code points through a plain encoder; surrogates must be refused, the rest taken. */
Test(utf8, every_code_point)
{
    for (uint32_t point = 0x80; point <= 0x10FFFF; point++) {
        uint8_t text[4];
        size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        for (size_t i = size - 1; i > 0; i--)
            text[i] = (uint8_t)(0x80 | (point >> (6 * (size - 1 - i)) & 0x3F));
        text[0] = (uint8_t)((0xF00u >> size & 0xFF) | point >> (6 * (size - 1)));
        bool surrogate = point >= 0xD800 && point <= 0xDFFF;
        if (utf8_valid(bytes_of(text, size)) == surrogate)
            cr_assert_fail("U+%04X", (unsigned)point);
        for (size_t cut = 1; cut < size; cut++) {
            if (utf8_valid(bytes_of(text, cut)))
                cr_assert_fail("U+%04X cut to %zu bytes", (unsigned)point, cut);
        }
    }
}
