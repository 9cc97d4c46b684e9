/* tally-verify: what an auditor runs, with nothing but a copy of the files and public keys. */
#include <getopt.h>
#include <stdio.h>

#include "base/mem.h"
#include "crypto/keyfile.h"
#include "verify/verify.h"

#define VERIFY_VERSION "1.0.0"

static const char help[] =
    "tally-verify checks copies of Tallystick logs. It needs no server, writes nothing, and trusts only the keys you "
    "give it.\n"
    "\n"
    "  tally-verify log DIR [--key FILE] [--json]\n"
    "      Checks one log: every segment, block and checksum, that each entry names the hash of the one before, that "
    "each payload\n"
    "      matches its commitment, and that the Merkle root is the one in the checkpoint and in the published "
    "checkpoint.\n"
    "\n"
    "  tally-verify compare DIR_A DIR_B [--key FILE] [--json]\n"
    "      Checks both, and that the entries of one are the first entries of the other, byte for byte. Names the first "
    "that differs.\n"
    "\n"
    "  DIR         the folder of one log: it holds files named 00000000000000000000.seg and, once something was "
    "signed, checkpoint\n"
    "              and checkpoint.published. In a region's data directory that is logs/<name>. Copy it while the "
    "server runs if\n"
    "              you like: an unfinished last block is recognised and left out.\n"
    "  --key FILE  public keys, one a line (name+keyid+base64). The log's key has the log's name, "
    "<cluster>/<region>/<incarnation>;\n"
    "              all incarnations of a region's log have one key, and any of their names will do.\n"
    "              Add the keys of other regions to have their cosignatures checked. Get keys from the region's "
    "operator by a way\n"
    "              that you trust, never from the copy that you check. Without --key signatures are NOT checked.\n"
    "  --json      one JSON object on standard output\n"
    "\n"
    "  Exit code   0 verified   1 violation: something was changed, dropped or reordered; the message names the first "
    "bad entry\n"
    "              2 usage      3 could not be checked: unreadable, or entries that a checkpoint covers are not there\n"
    "\n"
    "  Examples\n"
    "      tally-verify log /backup/eu --key eu.pub\n"
    "      tally-verify compare /backup/eu /mirror-of-eu-in-us --key all.pub --json\n";

struct arguments {
    const char *command;
    const char *folders[2];
    size_t folder_count;
    const char *key_path;
    bool json;
};

static int usage(const char *problem, const char *what)
{
    fprintf(stderr, "tally-verify: %s%s\nTry: tally-verify --help\n", problem, what);
    return VERDICT_USAGE;
}

/* Returns -1 to go on, else the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *ret)
{
    static const struct option options[] = {{"key", required_argument, NULL, 'k'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'k':
            ret->key_path = optarg;
            break;
        case 'j':
            ret->json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return VERDICT_VERIFIED;
        case 'v':
            puts("tally-verify " VERIFY_VERSION);
            return VERDICT_VERIFIED;
        default:
            return usage("that is not an option, or its value is missing", "");
        }
    }
    if (optind == argc)
        return usage("say what to check: log DIR, or compare DIR_A DIR_B", "");
    ret->command = argv[optind];
    for (int i = optind + 1; i < argc; i++) {
        if (ret->folder_count == 2)
            return usage("too many folders: ", argv[i]);
        ret->folders[ret->folder_count++] = argv[i];
    }
    if (strcmp(ret->command, "log") == 0)
        return ret->folder_count == 1 ? -1 : usage("log needs one folder", "");
    if (strcmp(ret->command, "compare") == 0)
        return ret->folder_count == 2 ? -1 : usage("compare needs two folders", "");
    return usage("no such command: ", ret->command);
}

static int load_keys(struct disk *disk, const char *path, struct key_set *ret)
{
    struct err err = {0};
    if (path == NULL)
        return 0;
    ret->given = true;
    int code = keyfile_load_public(disk, path, ret->keys, KEYS_MAX, &ret->count, &err);
    if (code == 0 && ret->count == 0)
        code = err_set(&err, ERR_INVALID, "%s holds no key", path);
    if (code != 0)
        fprintf(stderr, "tally-verify: %s\n", err.message);
    return code;
}

static enum verdict run(const struct arguments *arguments, struct disk *disk, const struct key_set *keys,
                        struct log_report reports[2])
{
    for (size_t i = 0; i < arguments->folder_count; i++)
        verify_log(disk, arguments->folders[i], keys, &reports[i]);
    if (arguments->folder_count == 1) {
        if (arguments->json)
            print_log_json(&reports[0]);
        else
            print_log(&reports[0]);
        return reports[0].verdict;
    }
    struct comparison comparison;
    compare_logs(disk, &reports[0], &reports[1], &comparison);
    if (arguments->json)
        print_comparison_json(&reports[0], &reports[1], &comparison);
    else
        print_comparison(&reports[0], &reports[1], &comparison);
    return comparison.verdict;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct disk *disk = disk_posix();
    int exit_code = parse_arguments(argc, argv, &arguments);
    if (exit_code >= 0)
        return exit_code;
    struct key_set *keys = mem_alloc_zero(1, sizeof(*keys));
    struct log_report *reports = mem_alloc_zero(2, sizeof(*reports));
    if (keys == NULL || reports == NULL) {
        fprintf(stderr, "tally-verify: memory ran out\n");
        exit_code = VERDICT_INCOMPLETE;
    } else if (load_keys(disk, arguments.key_path, keys) != 0) {
        exit_code = VERDICT_INCOMPLETE;
    } else {
        exit_code = run(&arguments, disk, keys, reports);
        log_report_free(&reports[0]);
        log_report_free(&reports[1]);
    }
    if (fflush(stdout) != 0 && exit_code == VERDICT_VERIFIED)
        exit_code = VERDICT_INCOMPLETE;
    mem_free(reports);
    mem_free(keys);
    return exit_code;
}
