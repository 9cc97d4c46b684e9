/* tally backup and tally restore: a consistent, verified copy of a data directory, and the way back. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backup.h"
#include "base/mem.h"
#include "commands.h"
#include "damage.h"
#include "output.h"
#include "platform/clock.h"

struct backup_options {
    const char *from;
    const char *to;
    const char *key;
    bool with_keys;
    bool verify;
    bool json;
};

struct copied {
    size_t count;
    struct backup_log logs[DATADIR_LOGS_MAX];
    struct datadir_log found[DATADIR_LOGS_MAX];
};

static int copy_logs(const struct backup_options *options, struct copied *copied, struct err *err)
{
    int code = datadir_logs(options->from, copied->found, &copied->count, err);
    for (size_t i = 0; code == 0 && i < copied->count; i++)
        code = backup_copy_log(options->from, options->to, options->key, &copied->found[i], &copied->logs[i], err);
    return code;
}

/* Reads the copy again, as a scrub does. */
static int verify_copy(const struct backup_options *options, struct copied *copied, struct err *err)
{
    size_t count = 0;
    struct sha256 *sha = sha256_new();
    int code =
        sha == NULL ? err_no_memory(err, "a hash context") : datadir_logs(options->to, copied->found, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct mend mend;
        uint64_t size = 0;
        code = damage_prepare(options->to, options->key, &copied->found[i], "", sha, &mend, err);
        if (code == 0)
            code = mend_find(&mend, err);
        if (code == 0 && mend.finding_count > 0)
            code = err_set(err, ERR_CORRUPT, "the copy of log %s in %s is damaged; run tally scrub on it",
                           copied->found[i].origin, options->to);
        if (code == 0 && damage_root_differs(&mend, &size))
            code = err_set(err, ERR_CORRUPT,
                           "the copy of log %s in %s does not have the root that was signed for %" PRIu64
                           " entries; compare the log with a peer's: tally-verify compare",
                           copied->found[i].origin, options->to, size);
        mend_free(&mend);
    }
    sha256_free(sha);
    return code;
}

static json_t *logs_json(const struct copied *copied)
{
    json_t *logs = json_array();
    for (size_t i = 0; i < copied->count; i++) {
        char root[2 * HASH_SIZE + 1];
        hex_encode(bytes_of(copied->logs[i].root.bytes, HASH_SIZE), root);
        (void)json_array_append_new(logs, json_pack("{s:s,s:o,s:s}", "origin", copied->logs[i].origin, "size",
                                                    json_number(copied->logs[i].size), "root", root));
    }
    return logs;
}

static int write_manifest(const struct backup_options *options, const struct copied *copied, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    json_t *manifest =
        json_pack("{s:i,s:o,s:b,s:o}", "format", 1, "made_at_s", json_number(clock_now().wall_us / 1000000),
                  "private_keys", options->with_keys, "logs", logs_json(copied));
    char *text = manifest == NULL ? NULL : json_dumps(manifest, JSON_INDENT(2));
    int code = text == NULL ? err_no_memory(err, "the manifest") : disk_join(path, options->to, BACKUP_MANIFEST, err);
    if (code == 0)
        code = disk_replace_file(disk_posix(), path, bytes_of_string(text), 0, err);
    mem_free(text);
    json_decref(manifest);
    return code;
}

static int show(const struct backup_options *options, const struct copied *copied, const char *verb, struct err *err)
{
    if (options->json)
        return print_json(json_pack("{s:o,s:o}", "to", json_cstring(options->to), "logs", logs_json(copied)), err);
    for (size_t i = 0; i < copied->count; i++)
        printf("log %s: %" PRIu64 " entries %s, %s\n", copied->logs[i].origin, copied->logs[i].size, verb,
               copied->logs[i].size == 0 ? "nothing of it is signed yet" : "the root is the one that was signed");
    return 0;
}

static int backup(const struct backup_options *options, struct copied *copied, struct err *err)
{
    int code = backup_require_empty(options->to, err);
    if (code == 0)
        code = copy_logs(options, copied, err);
    if (code == 0)
        code = backup_copy_folder(options->from, options->to, "signed", "", false, err);
    if (code == 0)
        code = backup_copy_folder(options->from, options->to, "keys", ".pub", false, err);
    if (code == 0 && options->with_keys)
        code = backup_copy_folder(options->from, options->to, "keys", ".key", true, err);
    if (code == 0)
        code = backup_copy_file(options->from, options->to, "tallyd.yaml", false, err);
    if (code == 0 && options->verify)
        code = verify_copy(options, copied, err);
    if (code == 0)
        code = write_manifest(options, copied, err);
    if (code == 0)
        code = show(options, copied, "backed up", err);
    if (code == 0 && !options->json && !options->with_keys)
        printf("private keys are NOT in it (--with-keys): keep %s/keys/*.key elsewhere\n", options->from);
    return code;
}

static int require_manifest(const char *folder, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    uint32_t mode = 0;
    int code = disk_join(path, folder, BACKUP_MANIFEST, err);
    if (code == 0)
        code = disk_mode(disk_posix(), path, &mode, err);
    return code == ERR_NOT_FOUND ? err_set(err, code, "%s is no whole backup: it has no " BACKUP_MANIFEST, folder)
                                 : code;
}

/* The configuration comes last: without it tallyd does not start, so half a restore is never run. */
static int restore(const struct backup_options *options, struct copied *copied, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = require_manifest(options->from, err);
    if (code == 0)
        code = backup_require_empty(options->to, err);
    if (code == 0)
        code = copy_logs(options, copied, err);
    if (code == 0)
        code = backup_copy_folder(options->from, options->to, "signed", "", false, err);
    if (code == 0)
        code = backup_copy_folder(options->from, options->to, "keys", ".pub", false, err);
    if (code == 0)
        code = backup_copy_folder(options->from, options->to, "keys", ".key", true, err);
    if (code == 0)
        code = disk_join(path, options->to, RESTORED_MARK, err);
    if (code == 0)
        code = disk_replace_file(disk_posix(), path, bytes_of_string("restored from a backup\n"), 0, err);
    if (code == 0)
        code = backup_copy_file(options->from, options->to, "tallyd.yaml", false, err);
    return code == 0 ? show(options, copied, "restored", err) : code;
}

static int run_with(const struct backup_options *options,
                    int (*action)(const struct backup_options *, struct copied *, struct err *))
{
    struct err err = {0};
    struct copied *copied = mem_alloc_zero(1, sizeof(*copied));
    int code = copied == NULL ? err_no_memory(&err, "a backup") : action(options, copied, &err);
    if (code == 0)
        code = output_flush(&err);
    mem_free(copied);
    return code == 0 ? EXIT_OK : fail(&err, options->json);
}

static int run_backup(const struct command *command, int argc, char **argv)
{
    struct backup_options options = {0};
    const struct option table[] = {
        {"data", "DIR", OPTION_TEXT, &options.from, "required; the region's data directory, its server running or not"},
        {"out", "DIR", OPTION_TEXT, &options.to, "required; a new folder"},
        {"key", "FILE", OPTION_TEXT, &options.key, "public keys of the logs (default: from DIR/keys)"},
        {"with-keys", NULL, OPTION_FLAG, &options.with_keys,
         "private keys too, mode 0600: then guard the backup like them"},
        {"verify", NULL, OPTION_FLAG, &options.verify, "read the copy again when it is made"},
        {"json", NULL, OPTION_FLAG, &options.json, "machine-readable output"},
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 0, 0, &arguments, &exit_with))
        return exit_with;
    if (options.from == NULL || options.to == NULL)
        return usage_error(command, "--data and --out are required");
    return run_with(&options, backup);
}

static int run_restore(const struct command *command, int argc, char **argv)
{
    struct backup_options options = {0};
    const struct option table[] = {
        {"from", "DIR", OPTION_TEXT, &options.from, "required; a backup"},
        {"data", "DIR", OPTION_TEXT, &options.to, "required; a new data directory"},
        {"key", "FILE", OPTION_TEXT, &options.key, "public keys of the logs (default: those in the backup)"},
        {"json", NULL, OPTION_FLAG, &options.json, "machine-readable output"},
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 0, 0, &arguments, &exit_with))
        return exit_with;
    if (options.from == NULL || options.to == NULL)
        return usage_error(command, "--from and --data are required");
    return run_with(&options, restore);
}

const struct command command_backup = {
    .name = "backup",
    .arguments = "",
    .summary = "a consistent, verified copy of a data directory, also of a live one",
    .help =
        "Copies every log up to its latest checkpoint, checking each entry, payload and the signed root on the way, "
        "and\n"
        "the configuration and the public keys. Entries that are not signed yet stay out (checkpoint_interval_ms). "
        "The\n"
        "index and the projections are not copied: they are made again from the logs.\n\n"
        "Example:\n"
        "  tally backup --data /var/lib/tally/eu --out /backup/eu-2026-11-24 --verify",
    .run = run_backup,
};

const struct command command_restore = {
    .name = "restore",
    .arguments = "",
    .summary = "makes a data directory from a backup, verifying it",
    .help = "Copies a backup into a new data directory and verifies every entry, payload and signed root on the way. A "
            "region\n"
            "that starts on it asks its peers first: what they hold beyond the backup is pulled back before anything "
            "is\n"
            "accepted or signed, and when nobody can be asked it does not go on with the log. A region without peers "
            "begins\n"
            "a new incarnation of its log, because nobody can say what was signed after the backup.\n\n"
            "Example:\n"
            "  tally restore --from /backup/eu-2026-11-24 --data /var/lib/tally/eu",
    .run = run_restore,
};
