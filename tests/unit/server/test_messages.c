/* What the operator is told. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "server/internal.h"

/* What stderr gets, after time and region. */
static void expect_said(const char *text, const char *expected)
{
    static struct server_config config = {.region.region = "eu"};
    struct server server = {.config = &config};
    char line[4096] = "";
    cr_redirect_stderr();
    server_say(&server, "peer us: %s", text);
    fflush(stderr);
    FILE *said = cr_get_redirected_stderr();
    size_t size = fread(line, 1, sizeof(line) - 1, said);
    line[size] = '\0';
    const char *after = strstr(line, " tallyd[eu]: peer us: ");
    cr_assert_not_null(after, "%s", line);
    cr_expect_str_eq(after + strlen(" tallyd[eu]: peer us: "), expected);
}

Test(messages, what_others_wrote_cannot_begin_a_line_of_its_own)
{
    expect_said("no\n2026-01-01T00:00:00Z tallyd[eu]: ALARM\r", "no?2026-01-01T00:00:00Z tallyd[eu]: ALARM?\n");
}

Test(messages, what_others_wrote_is_not_obeyed_by_a_terminal)
{
    expect_said("\x1b[2J \x7f \xc2\x9b"
                "31m \xc2\x80 \t",
                "?[2J ? ??31m ?? ?\n");
}

Test(messages, text_in_any_language_stays_as_it_is)
{
    expect_said("Z\xc3\xbcrich \xc2\xa0 \xe2\x82\x9b \xf0\x9f\x92\xb6",
                "Z\xc3\xbcrich \xc2\xa0 \xe2\x82\x9b \xf0\x9f\x92\xb6\n");
}
