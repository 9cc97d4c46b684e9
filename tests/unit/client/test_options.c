#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>

#include "tally/options.h"

static const struct command command = {.name = "test", .arguments = "FILE", .summary = "", .help = "What it does."};

struct targets {
    bool flag;
    const char *text;
    uint64_t number;
    struct option_values texts;
};

static bool parse(struct targets *targets, const char *const *words, size_t min, size_t max, struct arguments *ret,
                  int *ret_exit)
{
    const struct option options[] = {
        {"flag", NULL, OPTION_FLAG, &targets->flag, "a flag"},
        {"text", "TEXT", OPTION_TEXT, &targets->text, "a text"},
        {"number", "N", OPTION_NUMBER, &targets->number, "a number"},
        {"texts", "TEXT", OPTION_TEXTS, &targets->texts, "texts"},
    };
    static char storage[80][32];
    char *argv[80];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        cr_assert_lt(argc, 80);
        (void)snprintf(storage[argc], sizeof(storage[argc]), "%s", words[argc]);
        argv[argc] = storage[argc];
    }
    return options_parse(&command, OPTIONS(options), argc, argv, min, max, ret, ret_exit);
}

TestSuite(options, .init = cr_redirect_stderr);

Test(options, all_kinds_in_both_spellings)
{
    struct targets targets = {0};
    struct arguments arguments = {0};
    int exit_with = 0;
    const char *const words[] = {"--flag",  "--text", "--x",         "file", "--number=18446744073709551615",
                                 "--texts", "a",      "--texts=b=c", "--",   "--flag",
                                 NULL};
    cr_assert(parse(&targets, words, 1, 2, &arguments, &exit_with));
    cr_expect(targets.flag);
    cr_expect_str_eq(targets.text, "--x");
    cr_expect_eq(targets.number, UINT64_MAX);
    cr_assert_eq(targets.texts.count, 2);
    cr_expect_str_eq(targets.texts.items[1], "b=c");
    cr_assert_eq(arguments.count, 2);
    cr_expect_str_eq(arguments.items[0], "file");
    cr_expect_str_eq(arguments.items[1], "--flag");
}

Test(options, mistakes_are_usage_errors)
{
    const char *const cases[][3] = {
        {"--unknown", NULL},  {"--fla", NULL},
        {"--text", NULL},     {"--number", "x"},
        {"--number", "-1"},   {"--number=", NULL},
        {"--flag=yes", NULL}, {"one", "two"},
        {"--=x", NULL},       {"--number", "18446744073709551616"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct targets targets = {0};
        struct arguments arguments = {0};
        int exit_with = 0;
        cr_expect(!parse(&targets, cases[i], 0, 1, &arguments, &exit_with), "%s", cases[i][0]);
        cr_expect_eq(exit_with, EXIT_USAGE);
    }
}

Test(options, a_missing_argument_is_a_usage_error)
{
    struct targets targets = {0};
    struct arguments arguments = {0};
    int exit_with = 0;
    const char *const words[] = {"--flag", NULL};
    cr_expect(!parse(&targets, words, 1, 1, &arguments, &exit_with));
    cr_expect_eq(exit_with, EXIT_USAGE);
}

Test(options, too_many_repetitions_are_refused)
{
    struct targets targets = {0};
    struct arguments arguments = {0};
    int exit_with = 0;
    const char *words[OPTION_VALUES_MAX + 2] = {0};
    for (size_t i = 0; i <= OPTION_VALUES_MAX; i++)
        words[i] = "--texts=a";
    cr_expect(!parse(&targets, words, 0, 0, &arguments, &exit_with));
    cr_expect_eq(exit_with, EXIT_USAGE);
}

Test(options, help_explains_and_succeeds)
{
    struct targets targets = {0};
    struct arguments arguments = {0};
    int exit_with = -1;
    const char *const words[] = {"--help", NULL};
    cr_redirect_stdout();
    cr_expect(!parse(&targets, words, 1, 1, &arguments, &exit_with));
    cr_expect_eq(exit_with, EXIT_OK);
}

Test(options, the_server_comes_from_the_option_then_the_environment)
{
    (void)unsetenv("TALLY_SERVER");
    cr_expect_str_eq(server_address(NULL), "127.0.0.1:7401");
    (void)setenv("TALLY_SERVER", "there:1", 1);
    cr_expect_str_eq(server_address(NULL), "there:1");
    cr_expect_str_eq(server_address("here:2"), "here:2");
}
