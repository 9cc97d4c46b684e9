/* Command lines: one table of options a command, from which both parsing and --help are made. */
#ifndef TALLY_OPTIONS_H
#define TALLY_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tally/client.h"

enum { OPTION_VALUES_MAX = 64, ARGUMENTS_MAX = 64 };

/* Exit codes of every command. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNREACHABLE = 3 };

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char *, borrowed from argv */
    OPTION_NUMBER, /* uint64_t */
    OPTION_TEXTS,  /* struct option_values, repeatable */
};

struct option_values {
    size_t count;
    const char *items[OPTION_VALUES_MAX];
};

struct option {
    const char *name;        /* without "--" */
    const char *placeholder; /* of its value, NULL for a flag */
    enum option_kind kind;
    void *target;
    const char *help;
};

struct command {
    const char *name;
    const char *arguments; /* as in the usage line, "" for none */
    const char *summary;   /* one line, for the list of commands */
    const char *help;      /* what it does, with an example */
    bool connects;         /* it has --tls-ca, --tls-cert and --tls-key */
    int (*run)(const struct command *command, int argc, char **argv);
};

struct arguments {
    size_t count;
    const char *items[ARGUMENTS_MAX];
};

/* Options that most commands have. */
struct common {
    const char *server; /* NULL: $TALLY_SERVER, then 127.0.0.1:7401 */
    uint64_t timeout_ms;
    bool json;
};
#define COMMON_TIMEOUT_MS 10000
#define OPTION_SERVER(common)                                                                                          \
    {                                                                                                                  \
        "server", "HOST:PORT", OPTION_TEXT, &(common).server,                                                          \
            "the region to ask (default: $TALLY_SERVER, or 127.0.0.1:7401)"                                            \
    }
#define OPTION_TIMEOUT(common)                                                                                         \
    {                                                                                                                  \
        "timeout-ms", "N", OPTION_NUMBER, &(common).timeout_ms,                                                        \
            "give up on an answer after N milliseconds (default 10000)"                                                \
    }
#define OPTION_JSON(common)                                                                                            \
    {                                                                                                                  \
        "json", NULL, OPTION_FLAG, &(common).json, "machine-readable output"                                           \
    }

/* True when the command should run: targets are filled, *ret holds the other arguments, between min and max of them.
 * False after --help or a mistake, which was explained on standard error: then *ret_exit is the exit code. argv starts
 * after the command's name. */
bool options_parse(const struct command *command, const struct option *options, size_t option_count, int argc,
                   char **argv, size_t min, size_t max, struct arguments *ret, int *ret_exit);
#define OPTIONS(table) (table), sizeof(table) / sizeof((table)[0])

/* One line on standard error, then how to get help. Returns EXIT_USAGE. */
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What --tls-ca, --tls-cert and --tls-key say, or else $TALLY_TLS_CA, $TALLY_TLS_CERT and $TALLY_TLS_KEY: each NULL
 * when neither does. Borrowed from argv and the environment. */
struct tally_tls options_tls(void);

/* The address to use for `given`. */
const char *server_address(const char *given);

#endif
