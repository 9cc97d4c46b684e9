/* Parsing and help from one table (options.h), so that help cannot say something else than what is accepted. */
#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static struct tally_tls tls_given;
static const struct option tls_options[] = {
    {"tls-ca", "FILE", OPTION_TEXT, &tls_given.ca_file, "TLS: CAs to believe, PEM (default: $TALLY_TLS_CA)"},
    {"tls-cert", "FILE", OPTION_TEXT, &tls_given.cert_file, "TLS: certificate to show (default: $TALLY_TLS_CERT)"},
    {"tls-key", "FILE", OPTION_TEXT, &tls_given.key_file, "TLS: its private key (default: $TALLY_TLS_KEY)"},
};
enum { TLS_OPTIONS = sizeof(tls_options) / sizeof(tls_options[0]) };

static void help_options(const struct option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char left[64];
        (void)snprintf(left, sizeof(left), "--%s%s%s", options[i].name, options[i].placeholder ? " " : "",
                       options[i].placeholder ? options[i].placeholder : "");
        printf("  %-26s %s\n", left, options[i].help);
    }
}

static void help_print(const struct command *command, const struct option *options, size_t count)
{
    printf("Usage: tally %s%s%s [options]\n\n%s\n\nOptions:\n", command->name, command->arguments[0] ? " " : "",
           command->arguments, command->help);
    help_options(options, count);
    if (command->connects)
        help_options(tls_options, TLS_OPTIONS);
    printf("  %-26s %s\n", "--help", "this text");
    printf("\nExit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 region not reachable.\n");
}

int usage_error(const struct command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "tally %s: ", command->name);
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\nTry: tally %s --help\n", command->name);
    va_end(args);
    return EXIT_USAGE;
}

static const struct option *find(const struct option *options, size_t count, const char *name, size_t name_size)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(options[i].name) == name_size && memcmp(options[i].name, name, name_size) == 0)
            return &options[i];
    return NULL;
}

static bool store(const struct command *command, const struct option *option, const char *value)
{
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->target = true;
        return true;
    case OPTION_TEXT:
        *(const char **)option->target = value;
        return true;
    case OPTION_NUMBER:
        if (parse_u64(value, strlen(value), option->target) == 0)
            return true;
        (void)usage_error(command, "--%s wants a whole number, not \"%s\"", option->name, value);
        return false;
    case OPTION_TEXTS: {
        struct option_values *values = option->target;
        if (values->count == OPTION_VALUES_MAX) {
            (void)usage_error(command, "--%s may be given at most %d times", option->name, OPTION_VALUES_MAX);
            return false;
        }
        values->items[values->count++] = value;
        return true;
    }
    }
    return false;
}

/* One option at argv[*at], "--name value" or "--name=value"; moves *at to the last argument used. */
static bool take_option(const struct command *command, const struct option *options, size_t count, int argc,
                        char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t name_size = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find(options, count, name, name_size);
    if (option == NULL && command->connects)
        option = find(tls_options, TLS_OPTIONS, name, name_size);
    if (option == NULL) {
        (void)usage_error(command, "unknown option --%.*s", (int)name_size, name);
        return false;
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (option->kind == OPTION_FLAG && value != NULL) {
        (void)usage_error(command, "--%s takes no value", option->name);
        return false;
    }
    if (option->kind != OPTION_FLAG && value == NULL) {
        if (*at + 1 >= argc) {
            (void)usage_error(command, "--%s wants a value: --%s %s", option->name, option->name, option->placeholder);
            return false;
        }
        value = argv[++*at];
    }
    return store(command, option, value);
}

bool options_parse(const struct command *command, const struct option *options, size_t option_count, int argc,
                   char **argv, size_t min, size_t max, struct arguments *ret, int *ret_exit)
{
    struct arguments arguments = {0};
    bool options_over = false;
    *ret_exit = EXIT_USAGE;
    for (int i = 0; i < argc; i++) {
        if (!options_over && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            help_print(command, options, option_count);
            *ret_exit = EXIT_OK;
            return false;
        }
        if (!options_over && strcmp(argv[i], "--") == 0) {
            options_over = true;
        } else if (!options_over && strncmp(argv[i], "--", 2) == 0) {
            if (!take_option(command, options, option_count, argc, argv, &i))
                return false;
        } else if (arguments.count == max || arguments.count == ARGUMENTS_MAX) {
            (void)usage_error(command, "unexpected argument \"%s\"", argv[i]);
            return false;
        } else {
            arguments.items[arguments.count++] = argv[i];
        }
    }
    if (arguments.count < min) {
        (void)usage_error(command, "an argument is missing: tally %s %s", command->name, command->arguments);
        return false;
    }
    *ret = arguments;
    return true;
}

/* NULL when it is not set, or empty. */
static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

struct tally_tls options_tls(void)
{
    return (struct tally_tls){
        .ca_file = tls_given.ca_file != NULL ? tls_given.ca_file : from_environment("TALLY_TLS_CA"),
        .cert_file = tls_given.cert_file != NULL ? tls_given.cert_file : from_environment("TALLY_TLS_CERT"),
        .key_file = tls_given.key_file != NULL ? tls_given.key_file : from_environment("TALLY_TLS_KEY")};
}

const char *server_address(const char *given)
{
    const char *address = given != NULL ? given : from_environment("TALLY_SERVER");
    return address != NULL ? address : "127.0.0.1:7401";
}
