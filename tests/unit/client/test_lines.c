#include <criterion/criterion.h>
#include <unistd.h>

#include "tally/lines.h"

enum { LINE_MAX_BYTES_HERE = 300 * 1024 };

/* A pipe with the text in it; the write end is returned. */
static int piped(const char *text, struct lines *lines)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], text, strlen(text)), (ssize_t)strlen(text));
    *lines = (struct lines){.fd = ends[0], .owned = true};
    buf_init(&lines->data, LINE_MAX_BYTES_HERE);
    return ends[1];
}

static void expect_line(struct lines *lines, const char *wanted, uint64_t number)
{
    struct bytes line = {0};
    struct err err = {0};
    cr_assert_eq(lines_next(lines, 1000, &line, &err), 0, "%s", err.message);
    cr_expect(bytes_equal(line, bytes_of_string(wanted)), "%.*s", (int)line.size_bytes, line.data);
    cr_expect_eq(lines->number, number);
}

Test(lines, lines_are_counted_and_ends_of_both_kinds_are_cut)
{
    struct lines lines;
    struct bytes line;
    (void)close(piped("one\n\ntwo\r\nlast", &lines));
    expect_line(&lines, "one", 1);
    expect_line(&lines, "", 2);
    expect_line(&lines, "two", 3);
    expect_line(&lines, "last", 4);
    cr_expect_eq(lines_next(&lines, 1000, &line, NULL), ERR_END);
    cr_expect_eq(lines_next(&lines, 1000, &line, NULL), ERR_END);
    lines_close(&lines);
}

Test(lines, an_empty_input_has_no_lines)
{
    struct lines lines;
    struct bytes line;
    (void)close(piped("", &lines));
    cr_expect_eq(lines_next(&lines, 1000, &line, NULL), ERR_END);
    lines_close(&lines);
}

Test(lines, a_pause_is_reported_and_half_a_line_is_kept)
{
    struct lines lines;
    struct bytes line;
    int in = piped("one\ntw", &lines);
    expect_line(&lines, "one", 1);
    cr_expect_eq(lines_next(&lines, 1, &line, NULL), ERR_BUSY);
    cr_assert_eq(write(in, "o\n", 2), 2);
    expect_line(&lines, "two", 2);
    (void)close(in);
    lines_close(&lines);
}

Test(lines, a_line_without_end_is_refused)
{
    static char text[60 * 1024];
    struct lines lines;
    struct bytes line;
    int in = piped("", &lines);
    int rc = ERR_BUSY;
    memset(text, 'x', sizeof(text));
    for (int i = 0; rc == ERR_BUSY && i < 100; i++) {
        cr_assert_eq(write(in, text, sizeof(text)), (ssize_t)sizeof(text));
        rc = lines_next(&lines, 0, &line, NULL);
    }
    cr_expect_eq(rc, ERR_TOO_LARGE);
    (void)close(in);
    lines_close(&lines);
}

Test(lines, a_missing_file_is_named)
{
    struct lines lines;
    struct err err = {0};
    cr_expect_eq(lines_open("/nonexistent/file", 100, &lines, &err), ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.message, "/nonexistent/file"));
}
