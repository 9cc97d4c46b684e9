/* tally evidence: what a region kept because it contradicts a log, or does not verify; and saying that one has acted on
 * it. Asks a region that runs, or reads the data directory, which works when the region does not. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "connect.h"
#include "datadir.h"
#include "log/evidence.h"
#include "output.h"
#include "platform/clock.h"

struct evidence_options {
    struct common common;
    const char *data; /* NULL: the region is asked */
    const char *reason;
    bool resolved;
};

/* What a walk does with each item. */
struct showing {
    const struct evidence_options *options;
    const char *name; /* NULL: all, in a line each */
    size_t count;
    struct err *err;
};

/* --- Showing --- */

static json_t *signers_json(const struct note *note)
{
    json_t *list = json_array();
    for (size_t i = 0; i < note->signature_count; i++) {
        char key_id[9];
        (void)snprintf(key_id, sizeof(key_id), "%08" PRIx32, note->signatures[i].key_id);
        (void)json_array_append_new(
            list, json_pack("{s:o,s:s}", "name", json_text(note->signatures[i].name), "key_id", key_id));
    }
    return list;
}

/* The note may be anything that a peer sent: what it claims is only shown as far as it has the shape of a checkpoint.
 */
static bool parse(struct bytes message, struct note *note, struct checkpoint *checkpoint)
{
    return note_parse(message, note, NULL) == 0 && checkpoint_parse_foreign(note->text, checkpoint, NULL) == 0;
}

static int show_json(const struct evidence *evidence, struct bytes message, struct err *err)
{
    struct note note;
    struct checkpoint checkpoint;
    json_t *item =
        json_pack("{s:s,s:s,s:o,s:o,s:o,s:o}", "name", evidence->name, "kind", evidence->fork ? "fork" : "signature",
                  "log", json_cstring(evidence->log), "kept_at_ms", json_number(evidence->kept_at_ms), "reason",
                  json_cstring(evidence->reason), "note", json_text(message));
    if (item != NULL && parse(message, &note, &checkpoint)) {
        char root[2 * HASH_SIZE + 1];
        hex_encode(bytes_of(checkpoint.root.bytes, HASH_SIZE), root);
        (void)json_object_set_new(item, "origin", json_cstring(checkpoint.origin));
        (void)json_object_set_new(item, "size", json_number(checkpoint.size));
        (void)json_object_set_new(item, "root", json_string(root));
        (void)json_object_set_new(item, "signers", signers_json(&note));
    }
    if (item != NULL && evidence->resolved_at_ms > 0) {
        (void)json_object_set_new(item, "resolved_at_ms", json_number(evidence->resolved_at_ms));
        (void)json_object_set_new(item, "resolution", json_cstring(evidence->resolution));
    }
    return print_json(item, err);
}

static void show_note(struct bytes message)
{
    struct note note;
    struct checkpoint checkpoint;
    if (!parse(message, &note, &checkpoint)) {
        printf("  it is no checkpoint, but %zu bytes\n", message.size_bytes);
        return;
    }
    printf("  a checkpoint of log ");
    print_string(checkpoint.origin);
    printf(" for %" PRIu64 " entries, with the signatures of\n", checkpoint.size);
    for (size_t i = 0; i < note.signature_count; i++) {
        printf("    ");
        print_text(note.signatures[i].name);
        printf(", key %08" PRIx32 "\n", note.signatures[i].key_id);
    }
}

static void show_text(const struct evidence *evidence, struct bytes message)
{
    char when[TIME_TEXT_MAX_BYTES];
    time_format(evidence->kept_at_ms, when);
    printf("%s %s of log ", evidence->name, evidence->fork ? "FORK" : "signature");
    print_string(evidence->log);
    printf(", kept %s\n  ", when);
    print_string(evidence->reason);
    putchar('\n');
    show_note(message);
    if (evidence->resolved_at_ms == 0)
        return;
    time_format(evidence->resolved_at_ms, when);
    printf("  resolved %s: ", when);
    print_string(evidence->resolution);
    putchar('\n');
}

static int show(void *context, const struct evidence *evidence, struct bytes message)
{
    struct showing *showing = context;
    if (showing->name != NULL && strncmp(evidence->name, showing->name, strlen(showing->name)) != 0)
        return 0;
    showing->count++;
    if (showing->options->common.json)
        return show_json(evidence, message, showing->err);
    show_text(evidence, message);
    if (showing->name != NULL && fwrite(message.data, 1, message.size_bytes, stdout) != message.size_bytes)
        return err_set(showing->err, ERR_IO, "standard output could not be written");
    return 0;
}

/* One that a region sent, as one that was read. */
static int show_sent(struct showing *showing, const struct tally_evidence_item *item)
{
    struct evidence evidence = {
        .fork = item->fork, .kept_at_ms = item->kept_at_ms, .resolved_at_ms = item->resolved_at_ms};
    if (strlen(item->name) > EVIDENCE_NAME_BYTES || strlen(item->log) > ENTRY_ORIGIN_MAX_BYTES ||
        strlen(item->reason) > EVIDENCE_REASON_MAX_BYTES || strlen(item->resolution) > EVIDENCE_REASON_MAX_BYTES)
        return err_set(showing->err, ERR_CORRUPT, "the region sent evidence with texts that are too long");
    copy_string(evidence.name, sizeof(evidence.name), item->name);
    copy_string(evidence.log, sizeof(evidence.log), item->log);
    copy_string(evidence.reason, sizeof(evidence.reason), item->reason);
    copy_string(evidence.resolution, sizeof(evidence.resolution), item->resolution);
    return show(showing, &evidence, bytes_of(item->note, item->note_size_bytes));
}

static int each_sent(struct showing *showing, struct err *err)
{
    const struct evidence_options *options = showing->options;
    struct tally_client *client = NULL;
    struct tally_evidence *sent = NULL;
    int code = connect_client(server_address(options->common.server), &client, err);
    if (code == 0)
        code = tally_evidence_get(client, options->resolved, options->common.timeout_ms, &sent, err);
    for (size_t i = 0; code == 0 && i < sent->count; i++)
        code = show_sent(showing, &sent->items[i]);
    tally_evidence_free(sent);
    tally_client_close(client);
    return code;
}

static int list(const struct evidence_options *options, const char *name, struct err *err)
{
    struct showing showing = {.options = options, .name = name, .err = err};
    int code = options->data != NULL
                   ? evidence_each(disk_posix(), options->data, options->resolved, show, &showing, err)
                   : each_sent(&showing, err);
    if (code == 0 && name != NULL && showing.count == 0)
        code = err_set(err, ERR_NOT_FOUND, "there is no %sevidence %s in %s", options->resolved ? "resolved " : "",
                       name, options->data != NULL ? options->data : server_address(options->common.server));
    if (code == 0 && name == NULL && !options->common.json)
        printf("%zu kept%s\n", showing.count, options->resolved ? " and resolved" : ", not resolved");
    return code == 0 ? output_flush(err) : code;
}

/* --- Resolving --- */

static int resolve(const struct evidence_options *options, const char *name, struct err *err)
{
    struct disk_file *lock = NULL;
    int code = datadir_lock(options->data, &lock, err);
    if (code != 0)
        return code;
    code = evidence_resolve(disk_posix(), options->data, name, options->reason, clock_now().wall_us / 1000, err);
    disk_close(lock);
    if (code != 0)
        return code;
    if (options->common.json)
        return print_json(json_pack("{s:s,s:o}", "resolved", name, "reason", json_cstring(options->reason)), err);
    printf("moved to %s/evidence/resolved\n", options->data);
    return output_flush(err);
}

/* --- The command --- */

static int run_evidence(const struct command *command, int argc, char **argv)
{
    struct evidence_options options = {.common.timeout_ms = COMMON_TIMEOUT_MS};
    const struct option table[] = {
        OPTION_SERVER(options.common),
        {"data", "DIR", OPTION_TEXT, &options.data,
         "instead of a server: the region's data directory; resolve needs it"},
        {"reason", "TEXT", OPTION_TEXT, &options.reason, "resolve: what was found and done, for whoever looks later"},
        {"resolved", NULL, OPTION_FLAG, &options.resolved, "list, show: what was resolved instead"},
        OPTION_TIMEOUT(options.common),
        OPTION_JSON(options.common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 2, &arguments, &exit_with))
        return exit_with;
    const char *what = arguments.items[0];
    const char *name = arguments.count == 2 ? arguments.items[1] : NULL;
    bool is_list = strcmp(what, "list") == 0;
    bool is_show = strcmp(what, "show") == 0;
    bool is_resolve = strcmp(what, "resolve") == 0;
    if (options.data != NULL && options.common.server != NULL)
        return usage_error(command, "either --server or --data");
    if (!is_list && !is_show && !is_resolve)
        return usage_error(command, "\"%.40s\" is neither list, show nor resolve", what);
    if ((name == NULL) != is_list)
        return usage_error(command, is_list ? "list takes no name" : "name one, as in tally evidence list");
    if (is_resolve && options.data == NULL)
        return usage_error(command, "resolve works on the data directory, with its server stopped: --data DIR");
    if (is_resolve != (options.reason != NULL))
        return usage_error(command, "--reason goes with resolve, which needs it");
    struct err err = {0};
    int code = is_resolve ? resolve(&options, name, &err) : list(&options, name, &err);
    return code == 0 ? EXIT_OK : fail(&err, options.common.json);
}

const struct command command_evidence = {
    .name = "evidence",
    .arguments = "list | show NAME | resolve NAME",
    .summary = "what a region kept because it contradicts a log, or does not verify",
    .help =
        "list and show ask the region, or read DIR/evidence, whether the server runs or not. Names may be shortened "
        "for "
        "show. A log of\n"
        "which a fork was kept stays forked, and the region's health red, until `resolve` has moved the evidence to\n"
        "DIR/evidence/resolved with your reason; the server must be stopped for it. Resolving heals nothing: find "
        "out\n"
        "first which history is true (tally-verify compare), and who has the log's key.\n\n"
        "Example:\n"
        "  tally evidence list --server us.example:7401\n"
        "  tally evidence list --data /var/lib/tally/us\n"
        "  tally evidence resolve NAME --data /var/lib/tally/us --reason 'eu was restored by hand; key rotated'",
    .connects = true,
    .run = run_evidence,
};
