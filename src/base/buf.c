/* Doubling keeps the cost of an append constant on average; the ceiling cuts the last doubling short rather than
 * refusing it. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

void buf_init(struct buf *buf, size_t max_bytes)
{
    PRE(max_bytes >= 1);
    *buf = (struct buf){.max_bytes = max_bytes};
}

void buf_free(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){.max_bytes = buf->max_bytes};
}

void buf_clear(struct buf *buf)
{
    buf->size_bytes = 0;
}

int buf_reserve(struct buf *buf, size_t extra_bytes)
{
    INVARIANT(buf->size_bytes <= buf->max_bytes);
    if (extra_bytes > buf->max_bytes - buf->size_bytes)
        return ERR_TOO_LARGE;
    size_t wanted = buf->size_bytes + extra_bytes;
    if (wanted <= buf->capacity_bytes)
        return 0;
    size_t capacity = buf->capacity_bytes < 32 ? 64 : 2 * buf->capacity_bytes;
    if (capacity > buf->max_bytes)
        capacity = buf->max_bytes;
    if (capacity < wanted)
        capacity = wanted;
    uint8_t *data = mem_resize(buf->data, capacity);
    if (data == NULL)
        return ERR_NO_MEMORY;
    buf->data = data;
    buf->capacity_bytes = capacity;
    return 0;
}

int buf_append(struct buf *buf, struct bytes bytes)
{
    int code = buf_reserve(buf, bytes.size_bytes);
    if (code != 0)
        return code;
    if (bytes.size_bytes > 0)
        memcpy(buf->data + buf->size_bytes, bytes.data, bytes.size_bytes);
    buf->size_bytes += bytes.size_bytes;
    return 0;
}

int buf_append_string(struct buf *buf, const char *text)
{
    return buf_append(buf, bytes_of_string(text));
}

int buf_append_byte(struct buf *buf, uint8_t byte)
{
    return buf_append(buf, bytes_of(&byte, 1));
}

int buf_append_format(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int code = size < 0 ? ERR_INVALID : (size_t)size > buf->max_bytes - buf->size_bytes ? ERR_TOO_LARGE : 0;
    char *text = code == 0 ? mem_alloc((size_t)size + 1) : NULL;
    if (code == 0 && text == NULL)
        code = ERR_NO_MEMORY;
    if (code == 0) {
        vsnprintf(text, (size_t)size + 1, format, again);
        code = buf_append(buf, bytes_of(text, (size_t)size));
    }
    va_end(again);
    mem_free(text);
    return code;
}

int buf_terminate(struct buf *buf)
{
    int code = buf_append_byte(buf, 0);
    if (code == 0)
        buf->size_bytes--;
    return code;
}
