#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "base/bytes.h"
#include "base/err.h"

Test(err, set_keeps_code_and_message)
{
    struct err err = {0};
    cr_assert_eq(err_set(&err, ERR_CORRUPT, "block %d of %s", 7, "a.seg"), ERR_CORRUPT);
    cr_assert_eq(err.code, ERR_CORRUPT);
    cr_assert_str_eq(err.message, "block 7 of a.seg");
}

Test(err, null_is_allowed_everywhere)
{
    cr_assert_eq(err_set(NULL, ERR_IO, "%d", 1), ERR_IO);
    cr_assert_eq(err_wrap(NULL, ERR_IO, "%d", 1), ERR_IO);
    cr_assert_eq(err_no_memory(NULL, "x"), ERR_NO_MEMORY);
    cr_assert_eq(err_errno(NULL, ENOSPC, "%d", 1), ERR_NO_SPACE);
}

Test(err, success_is_not_an_error, .signal = SIGABRT)
{
    err_set(NULL, 0, "fine");
}

Test(err, wrap_puts_the_context_in_front)
{
    struct err err = {0};
    err_set(&err, ERR_IO, "cannot read");
    cr_assert_eq(err_wrap(&err, ERR_IO, "segment %d", 3), ERR_IO);
    cr_assert_str_eq(err.message, "segment 3: cannot read");
}

Test(err, wrap_of_a_callee_without_message_says_what_the_code_means)
{
    struct err err = {0};
    cr_assert_eq(err_wrap(&err, ERR_LOCKED, "data folder"), ERR_LOCKED);
    cr_assert_eq(err.code, ERR_LOCKED);
    cr_assert_str_eq(err.message, "data folder: another process holds the lock");
}

Test(err, what_is_no_utf8_becomes_question_marks)
{
    struct err err = {0};
    err_set(&err, ERR_INVALID, "stream %.3s: \xFF\xC3.", "a\xE2\x82\xAC");
    cr_assert_str_eq(err.message, "stream a?\?: ?\?.");
    err_set(&err, ERR_INVALID, "stream \xE2\x82\xAC \xF0\x9F\x92\xB0 \xC3");
    cr_assert_str_eq(err.message, "stream \xE2\x82\xAC \xF0\x9F\x92\xB0 ?");
    cr_assert_eq(err_wrap(&err, ERR_INVALID, "file \x80"), ERR_INVALID);
    cr_assert_str_eq(err.message, "file ?: stream \xE2\x82\xAC \xF0\x9F\x92\xB0 ?");
    cr_assert_eq(err_errno(&err, ENOENT, "%s", "\xC0\xAF"), ERR_NOT_FOUND);
    cr_assert(utf8_valid(bytes_of_string(err.message)), "%s", err.message);
}

Test(err, a_long_message_is_cut_between_characters)
{
    char text[2 * TALLY_ERROR_MESSAGE_MAX_BYTES];
    for (size_t offset = 0; offset < 4; offset++) {
        struct err err = {0};
        size_t at = 0;
        while (at < offset)
            text[at++] = 'x';
        for (; at + 4 < sizeof(text); at += 4)
            memcpy(text + at, "\xF0\x9F\x92\xB0", 4);
        text[at] = '\0';
        err_set(&err, ERR_INVALID, "%s", text);
        cr_assert(utf8_valid(bytes_of_string(err.message)), "offset %zu", offset);
        cr_assert_geq(strlen(err.message), TALLY_ERROR_MESSAGE_MAX_BYTES - 4);
        cr_assert_lt(strlen(err.message), TALLY_ERROR_MESSAGE_MAX_BYTES);
        err_wrap(&err, ERR_INVALID, "%.*s", (int)offset, "abcd");
        cr_assert(utf8_valid(bytes_of_string(err.message)), "wrapped, offset %zu", offset);
    }
}

Test(err, wrapping_a_full_message_keeps_the_context)
{
    struct err err = {0};
    err_set(&err, ERR_IO, "%0600d", 1);
    err_wrap(&err, ERR_IO, "%0600d", 2);
    cr_assert_eq(strlen(err.message), TALLY_ERROR_MESSAGE_MAX_BYTES - 1);
    err_wrap(&err, ERR_IO, "front");
    cr_assert_eq(strncmp(err.message, "front: 000", 10), 0);
}

Test(err, errno_values_become_codes)
{
    static const struct {
        int value;
        int code;
    } table[] = {
        {ENOSPC, ERR_NO_SPACE},  {EDQUOT, ERR_NO_SPACE},
        {ENOENT, ERR_NOT_FOUND}, {ENOTDIR, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},    {EACCES, ERR_PERMISSION},
        {EPERM, ERR_PERMISSION}, {EROFS, ERR_PERMISSION},
        {ENOMEM, ERR_NO_MEMORY}, {EIO, ERR_IO},
        {EBADF, ERR_IO},         {99999, ERR_IO},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct err err = {0};
        cr_assert_eq(err_errno(&err, table[i].value, "x"), table[i].code, "errno %d", table[i].value);
        cr_assert_eq(err.code, table[i].code);
    }
}

Test(err, errno_message_has_the_systems_reason)
{
    struct err err = {0};
    err_errno(&err, ENOENT, "cannot open %s", "a");
    cr_assert_str_eq(err.message, "cannot open a: No such file or directory");
    err_no_memory(&err, "a segment");
    cr_assert_str_eq(err.message, "memory ran out while allocating a segment");
}

Test(err, every_code_has_a_name_and_a_meaning)
{
#define CHECK_CODE(name, value, grpc, meaning)                                                                         \
    cr_assert_eq(ERR_##name, value);                                                                                   \
    cr_assert_str_eq(tally_error_name(value), #name);                                                                  \
    cr_assert_str_eq(tally_error_meaning(value), meaning);
    TALLY_ERROR_MAP(CHECK_CODE)
    cr_assert_str_eq(tally_error_name(0), "OK");
    cr_assert_str_eq(tally_error_meaning(0), "success");
    cr_assert_str_eq(tally_error_name(-9999), "UNKNOWN");
    cr_assert_str_eq(tally_error_meaning(1), "an unknown error code");
}
