/* A growable byte buffer with a ceiling. The ceiling is part of the type on purpose: a buffer that is fed from outside
 * cannot grow past what its owner once decided. Once an append fails the contents are as they were before it. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct buf {
    uint8_t *data; /* owned; NULL until the first append */
    size_t size_bytes;
    size_t capacity_bytes;
    size_t max_bytes;
};

/* No allocation. max_bytes at least 1. */
void buf_init(struct buf *buf, size_t max_bytes);
/* Frees the memory; the buffer is empty and usable again. Safe on a zeroed or freed buf. */
void buf_free(struct buf *buf);
/* Empties, keeps the memory. */
void buf_clear(struct buf *buf);

/* Makes room for extra_bytes more. ERR_TOO_LARGE past max_bytes, ERR_NO_MEMORY. Pointers into data become invalid. */
int buf_reserve(struct buf *buf, size_t extra_bytes) MUST_USE;
/* Same errors as buf_reserve. */
int buf_append(struct buf *buf, struct bytes bytes) MUST_USE;
int buf_append_string(struct buf *buf, const char *text) MUST_USE;
int buf_append_byte(struct buf *buf, uint8_t byte) MUST_USE;
int buf_append_format(struct buf *buf, const char *format, ...) MUST_USE PRINTF_LIKE(2, 3); /* no NUL is stored */
/* Appends a NUL that is not counted in size_bytes, so that data can be used as a C string until the next append. */
int buf_terminate(struct buf *buf) MUST_USE;

static inline struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->data, buf->size_bytes);
}

#endif
