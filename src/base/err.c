/* Messages are built in the caller's struct err, so that reporting an error never allocates: running out of memory can
 * be reported too. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

const char *tally_error_name(int code)
{
    switch (code) {
    case TALLY_OK:
        return "OK";
#define ERROR_NAME(name, value, grpc, meaning)                                                                         \
    case value:                                                                                                        \
        return #name;
        TALLY_ERROR_MAP(ERROR_NAME)
#undef ERROR_NAME
    default:
        return "UNKNOWN";
    }
}

const char *tally_error_meaning(int code)
{
    switch (code) {
    case TALLY_OK:
        return "success";
#define ERROR_MEANING(name, value, grpc, meaning)                                                                      \
    case value:                                                                                                        \
        return meaning;
        TALLY_ERROR_MAP(ERROR_MEANING)
#undef ERROR_MEANING
    default:
        return "an unknown error code";
    }
}

/* A message cut at the buffer's end may have lost half a character: take the rest of it away too. */
static void trim_partial_character(char *text)
{
    size_t size = strlen(text);
    size_t start = size;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (size - (start - 1) < wanted)
        text[start - 1] = '\0';
}

/* Of the UTF-8 character at the start of text; 0 when there is none. */
static size_t character_size(const char *text)
{
    for (size_t size = 1; size <= 4 && text[size - 1] != '\0'; size++) {
        if (utf8_valid(bytes_of(text, size)))
            return size;
    }
    return 0;
}

/* Messages quote what others sent, cut at a count of bytes. What is no UTF-8 then becomes '?': a message goes into JSON
 * and protobuf strings as it is. */
static void replace_invalid_bytes(char *text)
{
    while (*text != '\0') {
        size_t size = character_size(text);
        if (size == 0)
            *text++ = '?';
        else
            text += size;
    }
}

__attribute__((format(printf, 3, 0))) static void set_message(struct err *err, int code, const char *format,
                                                              va_list args)
{
    err->code = code;
    int written = vsnprintf(err->message, sizeof(err->message), format, args);
    if (written < 0)
        err->message[0] = '\0';
    else if ((size_t)written >= sizeof(err->message))
        trim_partial_character(err->message);
    replace_invalid_bytes(err->message);
}

int err_set(struct err *err, int code, const char *format, ...)
{
    PRE(code < 0);
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        set_message(err, code, format, args);
        va_end(args);
    }
    return code;
}

int err_wrap(struct err *err, int code, const char *format, ...)
{
    PRE(code < 0);
    if (err == NULL)
        return code;
    struct err inner = *err;
    if (inner.code != code) /* the callee left no message of its own */
        snprintf(inner.message, sizeof(inner.message), "%s", tally_error_meaning(code));
    va_list args;
    va_start(args, format);
    set_message(err, code, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s", inner.message);
    trim_partial_character(err->message);
    return code;
}

int err_no_memory(struct err *err, const char *what)
{
    return err_set(err, ERR_NO_MEMORY, "memory ran out while allocating %s", what);
}

static int code_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    case ENOMEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_IO;
    }
}

int err_errno(struct err *err, int errno_value, const char *format, ...)
{
    int code = code_of_errno(errno_value);
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    set_message(err, code, format, args);
    va_end(args);
    char reason[128];
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s", strerror_r(errno_value, reason, sizeof(reason)));
    trim_partial_character(err->message);
    return code;
}
