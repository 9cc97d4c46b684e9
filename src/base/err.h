/* Making and passing on errors. The shape and the codes are in include/tally/error.h. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "tally/error.h"

#define MUST_USE                        __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, args_at) __attribute__((format(printf, format_at, args_at)))

/* Fills *err (when not NULL) with code and a formatted message, truncated at a UTF-8 boundary if too long; bytes that
 * are no UTF-8 become '?'. Returns code, so that `return err_set(err, ERR_INVALID, "…")` reads well. code must be
 * negative. */
int err_set(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "<formatted context>: " in front of the message already in *err and returns err's code. For the way up: each
 * layer adds where it was. With err NULL returns code unchanged. */
int err_wrap(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* ERR_NO_MEMORY with a standard message naming what could not be allocated. */
int err_no_memory(struct err *err, const char *what);

/* Turns errno into ERR_IO, ERR_NO_SPACE, ERR_NOT_FOUND, ERR_EXISTS, ERR_PERMISSION or ERR_NO_MEMORY with a message
 * "<formatted what>: <strerror>". */
int err_errno(struct err *err, int errno_value, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
