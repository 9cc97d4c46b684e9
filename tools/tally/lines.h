/* Lines of a file or of standard input, with a limit, and a way to do something else while none comes. */
#ifndef TALLY_LINES_H
#define TALLY_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct lines {
    int fd;
    bool owned; /* close it */
    bool ended;
    uint64_t number; /* of the last line returned, from 1 */
    struct buf data;
    size_t start; /* of the next line in data */
};

/* path "-": standard input. ERR_NOT_FOUND, ERR_PERMISSION, ERR_IO. */
int lines_open(const char *path, size_t line_max_bytes, struct lines *ret, struct err *err) MUST_USE;
void lines_close(struct lines *lines);
/* The next line without its end, valid until the next call. The last one may lack a newline. ERR_END; ERR_BUSY when
 * none came within idle_ms (call again); ERR_TOO_LARGE; ERR_IO. */
int lines_next(struct lines *lines, int idle_ms, struct bytes *ret, struct err *err) MUST_USE;

#endif
