/* The filter (output.h): a "?" for each character that is not there to be read. Those are the controls C0 (but for the
 * end of a line) and C1, DEL, the marks that turn the direction of writing, and bytes that are not UTF-8. A character
 * may come in two pieces, so a stream remembers its beginning. */
#include "verify/output.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

enum { CHARACTER_MAX_BYTES = 4, OUT_BYTES = 4096 };

struct filter {
    int fd;
    size_t held; /* of a character that is not whole yet */
    uint8_t character[CHARACTER_MAX_BYTES];
};

static size_t character_size(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

static bool is_shown(const uint8_t *character, size_t size)
{
    if (!utf8_valid(bytes_of(character, size)))
        return false;
    if (size == 1)
        return character[0] == '\n' || (character[0] >= 0x20 && character[0] != 0x7F);
    if (size == 2)
        return character[0] != 0xC2 || character[1] >= 0xA0;
    bool turns = size == 3 && character[0] == 0xE2 &&
                 ((character[1] == 0x80 && character[2] >= 0xAA && character[2] <= 0xAE) ||
                  (character[1] == 0x81 && character[2] >= 0xA6 && character[2] <= 0xA9));
    return !turns;
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        data += put;
        size -= (size_t)put;
    }
    return true;
}

/* Takes one byte; appends to out what can be told now: at most a character and what was held. */
static size_t take(struct filter *filter, uint8_t byte, uint8_t *out)
{
    size_t size = 0;
    bool continues = (byte & 0xC0) == 0x80;
    if (filter->held > 0 && !continues) {
        out[size++] = '?';
        filter->held = 0;
    }
    if (filter->held == 0 && continues) {
        out[size++] = '?';
        return size;
    }
    filter->character[filter->held++] = byte;
    if (filter->held < character_size(filter->character[0]))
        return size;
    if (is_shown(filter->character, filter->held)) {
        memcpy(out + size, filter->character, filter->held);
        size += filter->held;
    } else {
        out[size++] = '?';
    }
    filter->held = 0;
    return size;
}

static ssize_t on_write(void *context, const char *data, size_t size)
{
    struct filter *filter = context;
    uint8_t out[OUT_BYTES];
    size_t out_size = 0;
    for (size_t i = 0; i < size; i++) {
        out_size += take(filter, (uint8_t)data[i], out + out_size);
        bool full = out_size + 1 + CHARACTER_MAX_BYTES > sizeof(out);
        if ((full || i + 1 == size) && !write_all(filter->fd, out, out_size))
            return 0;
        out_size = full ? 0 : out_size;
    }
    return (ssize_t)size;
}

static FILE *filtered(struct filter *filter, int mode)
{
    FILE *stream = fopencookie(filter, "w", (cookie_io_functions_t){.write = on_write});
    if (stream != NULL)
        setvbuf(stream, NULL, mode, 0);
    return stream;
}

void output_filter(void)
{
    static struct filter out = {.fd = STDOUT_FILENO}, err = {.fd = STDERR_FILENO};
    FILE *out_stream = filtered(&out, isatty(STDOUT_FILENO) == 1 ? _IOLBF : _IOFBF);
    FILE *err_stream = filtered(&err, _IOLBF);
    stdout = out_stream != NULL ? out_stream : stdout;
    stderr = err_stream != NULL ? err_stream : stderr;
}
