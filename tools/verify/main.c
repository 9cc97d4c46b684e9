/* tally-verify: what an auditor runs, with nothing but a copy and public keys. */
#include <getopt.h>
#include <time.h>

#include "base/mem.h"
#include "crypto/keyfile.h"
#include "verify/commands.h"
#include "verify/output.h"

#define VERIFY_VERSION "1.0.0"

/* What a command does something about. An option that it would pass over in silence is refused: whoever gave it would
 * believe that it was checked. */
enum {
    TAKES_TRUST = 1, /* --policy, --key */
    TAKES_STATE = 2,
    TAKES_RESUME = 4,
    TAKES_AGE = 8,
    TAKES_PAYLOADS = 16,
    TAKES_SUBJECT = 32, /* --entry, --event */
    TAKES_CONTEXTS = 64,
    TAKES_COPY = TAKES_TRUST | TAKES_STATE | TAKES_AGE | TAKES_PAYLOADS,
};

struct command {
    const char *name;
    size_t operands_min;
    size_t operands_max;
    const char *what; /* its operands, for the message */
    unsigned takes;
    int (*run)(const struct arguments *arguments);
};

static const struct command commands[] = {
    {"log", 1, 1, "one folder", TAKES_COPY | TAKES_RESUME, cmd_log},
    {"segment", 1, 1, "one segment file", TAKES_PAYLOADS, cmd_segment},
    {"tlog", 1, 1, "one folder or URL", TAKES_COPY | TAKES_RESUME, cmd_tlog},
    {"compare", 2, OPERANDS_MAX, "two or more folders or URLs", TAKES_COPY, cmd_compare},
    {"proof", 1, 1, "one receipt", TAKES_TRUST | TAKES_AGE | TAKES_PAYLOADS | TAKES_SUBJECT, cmd_proof},
    {"checkpoint", 1, 1, "one note", TAKES_TRUST | TAKES_AGE, cmd_checkpoint},
    {"consistency", 3, 3, "the older note, the newer note, and a copy of the log", TAKES_COPY, cmd_consistency},
    {"projection", 2, 2, "two files with digests", 0, cmd_projection},
    {"authority", 1, OPERANDS_MAX, "the folders of all logs, or of data directories", TAKES_COPY | TAKES_CONTEXTS,
     cmd_authority},
};

static int usage(const char *problem, const char *what)
{
    fprintf(stderr, "tally-verify: %s%s\nTry: tally-verify --help\n", problem, what);
    return VERDICT_USAGE;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static bool take_seconds(const char *text, uint64_t *ret)
{
    return parse_u64(text, strlen(text), ret) == 0;
}

/* Returns -1 to go on, else the exit code. */
static int take_option(int option, struct arguments *ret)
{
    switch (option) {
    case 'p':
        ret->policy_path = optarg;
        return -1;
    case 'k':
        if (ret->key_path_count == KEY_FILES_MAX)
            return usage("too many files of keys: ", optarg);
        ret->key_paths[ret->key_path_count++] = optarg;
        return -1;
    case 's':
        ret->state_path = optarg;
        return -1;
    case 'r':
        ret->demands.resume = true;
        return -1;
    case 'a':
        ret->demands.has_max_age = true;
        return take_seconds(optarg, &ret->demands.max_age_s) ? -1 : usage("--max-age needs seconds, not ", optarg);
    case 'n':
        return take_seconds(optarg, &ret->demands.now_s) ? -1 : usage("--now needs Unix seconds, not ", optarg);
    case 'P':
        ret->demands.payloads_required = true;
        return -1;
    case 'e':
        ret->entry_path = optarg;
        return -1;
    case 'E':
        ret->event_path = optarg;
        return -1;
    case 'c':
        ret->contexts_path = optarg;
        return -1;
    case 'j':
        ret->json = true;
        return -1;
    case 'h':
        fputs(help_commands, stdout);
        fputs(help_options, stdout);
        return VERDICT_VERIFIED;
    case 'v':
        puts("tally-verify " VERIFY_VERSION);
        return VERDICT_VERIFIED;
    default:
        return usage("that is not an option, or its value is missing", "");
    }
}

/* The first option that was given and that the command does nothing about; NULL when there is none. */
static const char *ignored_option(const struct arguments *arguments, const struct command *command)
{
    const struct {
        unsigned takes;
        bool given;
        const char *name;
    } options[] = {
        {TAKES_TRUST, arguments->policy_path != NULL, "--policy"},
        {TAKES_TRUST, arguments->key_path_count > 0, "--key"},
        {TAKES_STATE, arguments->state_path != NULL, "--state"},
        {TAKES_RESUME, arguments->demands.resume, "--resume"},
        {TAKES_AGE, arguments->demands.has_max_age, "--max-age"},
        {TAKES_PAYLOADS, arguments->demands.payloads_required, "--require-payloads"},
        {TAKES_SUBJECT, arguments->entry_path != NULL, "--entry"},
        {TAKES_SUBJECT, arguments->event_path != NULL, "--event"},
        {TAKES_CONTEXTS, arguments->contexts_path != NULL, "--contexts"},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (options[i].given && (command->takes & options[i].takes) == 0)
            return options[i].name;
    }
    return NULL;
}

static int check_arguments(const struct arguments *arguments, const struct command *command)
{
    if (arguments->operand_count < command->operands_min || arguments->operand_count > command->operands_max) {
        fprintf(stderr, "tally-verify: %s needs %s\nTry: tally-verify --help\n", command->name, command->what);
        return VERDICT_USAGE;
    }
    const char *ignored = ignored_option(arguments, command);
    if (ignored != NULL) {
        fprintf(stderr, "tally-verify: %s does nothing about %s\nTry: tally-verify --help\n", command->name, ignored);
        return VERDICT_USAGE;
    }
    if (arguments->policy_path != NULL && arguments->key_path_count > 0)
        return usage("give --policy or --key, not both", "");
    bool trusts = arguments->policy_path != NULL || arguments->key_path_count > 0;
    if (arguments->state_path != NULL && !trusts)
        return usage("--state remembers what a pinned key signed: give --policy or --key, too", "");
    if (arguments->demands.resume && arguments->state_path == NULL)
        return usage("--resume goes on from a --state", "");
    if (arguments->demands.has_max_age && !trusts)
        return usage("--max-age asks how old cosignatures are: give --policy or --key, too", "");
    if ((command->takes & TAKES_CONTEXTS) != 0 && arguments->contexts_path == NULL)
        return usage("authority needs the homes of epoch 1: give --contexts FILE", "");
    return -1;
}

/* Returns -1 to go on, else the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *ret, const struct command **ret_command)
{
    static const struct option options[] = {{"policy", required_argument, NULL, 'p'},
                                            {"key", required_argument, NULL, 'k'},
                                            {"state", required_argument, NULL, 's'},
                                            {"resume", no_argument, NULL, 'r'},
                                            {"max-age", required_argument, NULL, 'a'},
                                            {"now", required_argument, NULL, 'n'},
                                            {"require-payloads", no_argument, NULL, 'P'},
                                            {"entry", required_argument, NULL, 'e'},
                                            {"event", required_argument, NULL, 'E'},
                                            {"contexts", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int exit_code = take_option(option, ret);
        if (exit_code >= 0)
            return exit_code;
    }
    if (optind == argc)
        return usage("say what to check, for example: log DIR", "");
    ret->command = argv[optind];
    *ret_command = find_command(ret->command);
    if (*ret_command == NULL)
        return usage("no such command: ", ret->command);
    for (int i = optind + 1; i < argc; i++) {
        if (ret->operand_count == OPERANDS_MAX)
            return usage("too many operands: ", argv[i]);
        ret->operands[ret->operand_count++] = argv[i];
    }
    return check_arguments(ret, *ret_command);
}

static int load_keys(const struct arguments *arguments, struct policy *ret, struct err *err)
{
    size_t count = 0;
    int code = 0;
    struct note_verifier *keys = mem_alloc_zero(POLICY_LOGS_MAX, sizeof(*keys));
    if (keys == NULL)
        return err_no_memory(err, "the keys");
    for (size_t i = 0; code == 0 && i < arguments->key_path_count; i++) {
        size_t added = 0;
        code = keyfile_load_public(arguments->demands.disk, arguments->key_paths[i], keys + count,
                                   POLICY_LOGS_MAX - count, &added, err);
        if (code == 0 && added == 0)
            code = err_set(err, ERR_INVALID, "%s holds no key", arguments->key_paths[i]);
        count += added;
    }
    if (code == 0)
        code = policy_from_keys(keys, count, ret, err);
    mem_free(keys);
    return code;
}

static int load_policy(struct disk *disk, const char *path, struct policy *ret, struct err *err)
{
    struct buf text;
    buf_init(&text, POLICY_MAX_BYTES);
    int code = disk_read_file(disk, path, &text, err);
    if (code == 0)
        code = policy_parse(buf_bytes(&text), ret, err);
    if (code != 0)
        code = err_wrap(err, code, "%s", path);
    buf_free(&text);
    return code;
}

static int load_trust(struct arguments *arguments, struct policy *policy, struct state **ret_state, struct err *err)
{
    struct disk *disk = arguments->demands.disk;
    int code = 0;
    if (arguments->policy_path != NULL)
        code = load_policy(disk, arguments->policy_path, policy, err);
    else if (arguments->key_path_count > 0)
        code = load_keys(arguments, policy, err);
    else
        return 0;
    if (code == 0)
        arguments->demands.policy = policy;
    if (code == 0 && arguments->state_path != NULL)
        code = state_load(disk, arguments->state_path, ret_state, err);
    if (code == 0)
        arguments->demands.state = *ret_state;
    return code;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.demands = {.disk = disk_posix(), .now_s = (uint64_t)time(NULL)}};
    const struct command *command = NULL;
    struct state *state = NULL;
    struct err err = {0};
    output_filter();
    int exit_code = parse_arguments(argc, argv, &arguments, &command);
    if (exit_code >= 0)
        return exit_code;
    struct policy *policy = mem_alloc_zero(1, sizeof(*policy));
    int code = policy == NULL ? err_no_memory(&err, "the policy") : load_trust(&arguments, policy, &state, &err);
    if (code == 0) {
        exit_code = command->run(&arguments);
        if (state != NULL)
            code = state_save(state, &err);
    }
    if (code != 0) {
        fprintf(stderr, "tally-verify: %s\n", err.message);
        exit_code = exit_code <= VERDICT_VERIFIED ? VERDICT_INCOMPLETE : exit_code;
    }
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && exit_code == VERDICT_VERIFIED)
        exit_code = VERDICT_INCOMPLETE;
    state_free(state);
    mem_free(policy);
    return exit_code;
}
