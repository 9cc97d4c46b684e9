/* tally export tlog: from a data directory's files, without the server. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "commands.h"
#include "data_log.h"
#include "output.h"
#include "tlog.h"

struct export_options {
    const char *data;
    const char *origin;
    const char *out;
    const char *key;
    bool json;
};

/* An export never goes back, and never mixes two logs. */
static int check_out(const char *out, const struct checkpoint *checkpoint, const struct keyring *keys, struct err *err)
{
    struct buf note;
    struct checkpoint before;
    char path[DISK_PATH_MAX_BYTES];
    buf_init(&note, NOTE_MAX_BYTES);
    int rc = disk_join(path, out, "checkpoint", err);
    if (rc == 0)
        rc = disk_read_file(disk_posix(), path, &note, err);
    if (rc == ERR_NOT_FOUND) {
        buf_free(&note);
        return 0;
    }
    if (rc == 0) {
        rc = keyring_open(buf_bytes(&note), keys, checkpoint->origin, &before, err);
        if (rc != 0)
            rc = err_wrap(err, rc, "%s/checkpoint is not of this log: name another folder", out);
    }
    if (rc == 0 && before.size > checkpoint->size)
        rc = err_set(err, ERR_MISMATCH, "%s holds an export of %" PRIu64 " entries, more than the %" PRIu64 " here",
                     out, before.size, checkpoint->size);
    buf_free(&note);
    return rc;
}

static int write_text(const char *folder, const char *name, struct bytes text, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int rc = disk_join(path, folder, name, err);
    return rc == 0 ? disk_replace_file(disk_posix(), path, text, 0, err) : rc;
}

/* A line a key. */
static int write_vkey(const char *folder, const struct keyring *keys, struct err *err)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    struct buf text;
    int rc = 0;
    buf_init(&text, KEYRING_MAX * sizeof(vkey));
    for (size_t i = 0; rc == 0 && i < keys->count; i++) {
        note_verifier_format(&keys->keys[i], vkey);
        rc = buf_append_format(&text, "%s\n", vkey);
    }
    rc = rc == 0 ? write_text(folder, "vkey", buf_bytes(&text), err) : err_no_memory(err, "the public keys");
    buf_free(&text);
    return rc;
}

static int export_tlog(const struct export_options *options, struct checkpoint *ret, struct err *err)
{
    struct data_log log;
    int rc = data_log_open(options->data, options->origin, options->key, &log, err);
    if (rc == 0)
        rc = disk_make_dir(disk_posix(), options->out, err);
    if (rc == 0)
        rc = check_out(options->out, &log.checkpoint, &log.keys, err);
    if (rc == 0)
        rc = tlog_write_tiles(disk_posix(), log.folder, &log.checkpoint, options->out, err);
    if (rc == 0)
        rc = write_vkey(options->out, &log.keys, err);
    if (rc == 0)
        rc = write_text(options->out, "checkpoint", buf_bytes(&log.note), err);
    if (rc == 0)
        *ret = log.checkpoint;
    data_log_free(&log);
    return rc;
}

static int run_export(const struct command *command, int argc, char **argv)
{
    struct export_options options = {0};
    const struct option table[] = {
        {"data", "DIR", OPTION_TEXT, &options.data, "required; a region's data directory, or a copy of it"},
        {"origin", "ORIGIN", OPTION_TEXT, &options.origin, "required; which log, such as bank/eu/1"},
        {"out", "DIR", OPTION_TEXT, &options.out, "required; where to write"},
        {"key", "FILE", OPTION_TEXT, &options.key, "the log's public key (default: from DIR/keys)"},
        {"json", NULL, OPTION_FLAG, &options.json, "machine-readable output"},
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    if (strcmp(arguments.items[0], "tlog") != 0)
        return usage_error(command, "\"%s\" is not a format: tlog is", arguments.items[0]);
    if (options.data == NULL || options.origin == NULL || options.out == NULL)
        return usage_error(command, "--data, --origin and --out are required");
    struct err err = {0};
    struct checkpoint checkpoint = {0};
    int rc = export_tlog(&options, &checkpoint, &err);
    if (rc == 0 && options.json)
        rc = print_json(json_pack("{s:s,s:o,s:o}", "origin", checkpoint.origin, "size", json_number(checkpoint.size),
                                  "out", json_cstring(options.out)),
                        &err);
    else if (rc == 0)
        printf("exported %" PRIu64 " entries of %s to %s\n", checkpoint.size, checkpoint.origin, options.out);
    if (rc == 0)
        rc = output_flush(&err);
    return rc == 0 ? EXIT_OK : fail(&err, options.json);
}

const struct command command_export = {
    .name = "export",
    .arguments = "tlog",
    .summary = "a log as static tiles, for auditors",
    .help = "Writes a log as a folder of tiles (c2sp.org/tlog-tiles): checkpoint, tile/…, tile/entries/… and the vkey. "
            "Any\n"
            "web server can serve it, and other people's tools can check it. Reads the files only; the server may be "
            "running\n"
            "or lost. Exports up to the latest checkpoint, the cosigned one if there is one; every entry is checked on "
            "the\n"
            "way. Payloads are not exported, only their commitments. Run it again to bring the folder up to date.\n\n"
            "Example:\n"
            "  tally export tlog --data /var/lib/tally/eu --origin bank/eu/1 --out /srv/www/tlog/eu",
    .run = run_export,
};
