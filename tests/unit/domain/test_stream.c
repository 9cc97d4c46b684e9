#include <criterion/criterion.h>

#include "base/bytes.h"
#include "domain/stream.h"

static const struct stream_state missing = {.exists = false, .version = 0};
static const struct stream_state at_zero = {.exists = true, .version = 0};
static const struct stream_state at_seven = {.exists = true, .version = 7};

static void expect_conflict(const struct stream_state *state, enum stream_expectation expectation, uint64_t version,
                            const char *words)
{
    struct err err = {0};
    cr_assert_eq(stream_decide(state, expectation, version, "account-7", &err), ERR_VERSION_CONFLICT);
    cr_assert_eq(err.code, ERR_VERSION_CONFLICT);
    cr_assert_not_null(strstr(err.message, words), "'%s' lacks '%s'", err.message, words);
    cr_assert_not_null(strstr(err.message, "account-7"), "%s", err.message);
    cr_assert_eq(stream_decide(state, expectation, version, "account-7", NULL), ERR_VERSION_CONFLICT);
}

static void expect_met(const struct stream_state *state, enum stream_expectation expectation, uint64_t version)
{
    struct err err = {0};
    cr_assert_eq(stream_decide(state, expectation, version, "account-7", &err), 0, "%s", err.message);
    cr_assert_str_eq(err.message, "");
}

Test(stream, any_is_always_met)
{
    expect_met(&missing, STREAM_ANY, 0);
    expect_met(&at_zero, STREAM_ANY, 0);
    expect_met(&at_seven, STREAM_ANY, 99);
}

Test(stream, none_is_met_by_a_missing_stream_alone)
{
    expect_met(&missing, STREAM_NONE, 0);
    expect_conflict(&at_zero, STREAM_NONE, 0, "expected version none, actual 0");
    expect_conflict(&at_seven, STREAM_NONE, 0, "expected version none, actual 7");
}

Test(stream, exists_is_met_by_any_stream_that_does)
{
    expect_met(&at_zero, STREAM_EXISTS, 0);
    expect_met(&at_seven, STREAM_EXISTS, 99);
    expect_conflict(&missing, STREAM_EXISTS, 0, "expected version exists, actual none");
}

Test(stream, a_version_is_met_by_exactly_that_one)
{
    expect_met(&at_zero, STREAM_AT, 0);
    expect_met(&at_seven, STREAM_AT, 7);
    expect_conflict(&at_seven, STREAM_AT, 6, "expected version 6, actual 7");
    expect_conflict(&at_seven, STREAM_AT, 8, "expected version 8, actual 7");
}

Test(stream, version_zero_is_not_a_missing_stream)
{
    expect_conflict(&missing, STREAM_AT, 0, "expected version 0, actual none");
}

Test(stream, a_missing_stream_has_no_version_whatever_the_field_says)
{
    const struct stream_state odd = {.exists = false, .version = 7};
    expect_conflict(&odd, STREAM_AT, 7, "actual none");
    expect_met(&odd, STREAM_NONE, 0);
}

Test(stream, the_largest_version_is_a_version)
{
    const struct stream_state last = {.exists = true, .version = UINT64_MAX};
    expect_met(&last, STREAM_AT, UINT64_MAX);
    expect_conflict(&last, STREAM_AT, UINT64_MAX - 1,
                    "expected version 18446744073709551614, actual 18446744073709551615");
}

Test(stream, the_message_says_what_to_do)
{
    expect_conflict(&at_seven, STREAM_AT, 6, "read the stream again");
}

/* A name may have 512 bytes; the message quotes its start, and must be UTF-8 wherever that ends. */
Test(stream, a_long_name_is_cut_to_valid_text)
{
    for (size_t offset = 0; offset < 4; offset++) {
        char name[256] = "";
        struct err err = {0};
        memset(name, 'x', offset);
        for (size_t at = offset; at + 4 < sizeof(name); at += 4)
            memcpy(name + at, "\xF0\x9F\x92\xB0", 4);
        cr_assert_eq(stream_decide(&missing, STREAM_AT, 1, name, &err), ERR_VERSION_CONFLICT);
        cr_assert(utf8_valid(bytes_of_string(err.message)), "offset %zu", offset);
        cr_assert_not_null(strstr(err.message, "actual none"), "%s", err.message);
    }
}

Test(stream, each_expectation_has_a_text)
{
    char text[24];
    stream_expectation_text(STREAM_ANY, 5, text);
    cr_assert_str_eq(text, "any");
    stream_expectation_text(STREAM_NONE, 5, text);
    cr_assert_str_eq(text, "none");
    stream_expectation_text(STREAM_EXISTS, 5, text);
    cr_assert_str_eq(text, "exists");
    stream_expectation_text(STREAM_AT, 5, text);
    cr_assert_str_eq(text, "5");
    stream_expectation_text(STREAM_AT, UINT64_MAX, text);
    cr_assert_str_eq(text, "18446744073709551615");
}
