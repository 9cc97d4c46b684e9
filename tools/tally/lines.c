/* Reading lines by poll and read, so that waiting for the next one can be used and interrupted (lines.h). */
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { READ_CHUNK_BYTES = 256 * 1024 };

int lines_open(const char *path, size_t line_max_bytes, struct lines *ret, struct err *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    int fd = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno, "cannot open %s", path);
    *ret = (struct lines){.fd = fd, .owned = !standard_input};
    buf_init(&ret->data, line_max_bytes + READ_CHUNK_BYTES);
    return 0;
}

void lines_close(struct lines *lines)
{
    if (lines->owned)
        (void)close(lines->fd);
    buf_free(&lines->data);
}

/* Moves what is left to the front and reads more behind it. */
static int fill(struct lines *lines, int idle_ms, struct err *err)
{
    struct pollfd ready = {.fd = lines->fd, .events = POLLIN};
    int count = poll(&ready, 1, idle_ms);
    if (count == 0 || (count < 0 && errno == EINTR))
        return err_set(err, ERR_BUSY, "no input for now");
    size_t left = lines->data.size_bytes - lines->start;
    if (lines->start > 0)
        memmove(lines->data.data, lines->data.data + lines->start, left);
    lines->data.size_bytes = left;
    lines->start = 0;
    if (buf_reserve(&lines->data, READ_CHUNK_BYTES) != 0)
        return err_set(err, ERR_TOO_LARGE, "line %" PRIu64 " is over %zu bytes", lines->number + 1,
                       lines->data.max_bytes - READ_CHUNK_BYTES);
    ssize_t got = read(lines->fd, lines->data.data + left, READ_CHUNK_BYTES);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? err_set(err, ERR_BUSY, "no input for now")
                                                 : err_errno(err, errno, "the input cannot be read");
    lines->ended = got == 0;
    lines->data.size_bytes += (size_t)got;
    return 0;
}

int lines_next(struct lines *lines, int idle_ms, struct bytes *ret, struct err *err)
{
    size_t searched = 0;
    for (;;) {
        size_t left = lines->data.size_bytes - lines->start;
        const uint8_t *begin = left == 0 ? NULL : lines->data.data + lines->start;
        const uint8_t *end = left == searched ? NULL : memchr(begin + searched, '\n', left - searched);
        if (end != NULL || (lines->ended && left > 0)) {
            size_t size = end != NULL ? (size_t)(end - begin) : left;
            lines->start += end != NULL ? size + 1 : size;
            lines->number++;
            if (size > 0 && begin[size - 1] == '\r')
                size--;
            *ret = bytes_of(begin, size);
            return 0;
        }
        if (lines->ended)
            return err_set(err, ERR_END, "the input has ended");
        searched = left;
        int rc = fill(lines, idle_ms, err);
        if (rc != 0)
            return rc;
    }
}
