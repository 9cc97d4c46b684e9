/* tally residency audit: proves of a data directory that it holds no payload that its region may not hold. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "commands.h"
#include "output.h"
#include "residency.h"

enum { TEXT_MIN_BYTES = 8 };

struct residency_options {
    struct option_values texts;
    bool without_index;
    bool json;
};

/* --- What was found --- */

static json_t *count_json(const char *context, bool may_hold, const struct residency_count *count)
{
    return json_pack("{s:o,s:b,s:o,s:o,s:o,s:o}", "context", json_cstring(context), "may_hold", may_hold, "entries",
                     json_number(count->entries), "held", json_number(count->held), "withheld",
                     json_number(count->withheld), "missing", json_number(count->missing));
}

static bool may_hold(const struct residency_audit *audit, const struct context *context)
{
    return rules_region_holds_payloads(&context->rules, bytes_of_string(audit->config->region.region));
}

static json_t *log_json(const struct residency_audit *audit, const struct residency_log *log)
{
    const struct context_table *contexts = residency_contexts(audit);
    json_t *list = json_array();
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_known_at(contexts, i);
        if (context != NULL && log->contexts[i].entries > 0)
            (void)json_array_append_new(list, count_json(context->name, may_hold(audit, context), &log->contexts[i]));
    }
    if (log->unknown.entries > 0)
        (void)json_array_append_new(list, count_json("", false, &log->unknown));
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "origin", json_cstring(log->origin), "size", json_number(log->size),
                     "control", json_number(log->control), "queued_commands", json_number(log->queued), "looked_up",
                     json_number(log->looked_up), "contexts", list);
}

/* A text was found, and not an entry. */
static bool is_text(const struct residency_violation *violation)
{
    return strcmp(violation->where, "file") == 0 || strcmp(violation->where, "record") == 0 ||
           strcmp(violation->where, "row") == 0;
}

static json_t *violations_json(const struct residency_audit *audit)
{
    json_t *list = json_array();
    for (size_t i = 0; i < audit->violation_count && i < RESIDENCY_VIOLATIONS_MAX; i++) {
        const struct residency_violation *violation = &audit->violations[i];
        if (is_text(violation)) {
            (void)json_array_append_new(list, json_pack("{s:s,s:o,s:o,s:o}", "where", violation->where, "path",
                                                        json_cstring(violation->path), "offset",
                                                        json_number(violation->offset), "text",
                                                        json_cstring(audit->texts[violation->text])));
            continue;
        }
        (void)json_array_append_new(
            list,
            json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "where", violation->where, "path", json_cstring(violation->path),
                      "origin", json_cstring(violation->origin), "offset", json_number(violation->offset), "index",
                      json_number(violation->index), "context", json_cstring(violation->context)));
    }
    return list;
}

static int show_json(const struct residency_audit *audit, struct err *err)
{
    json_t *logs = json_array();
    json_t *projections = json_array();
    for (size_t i = 0; i < audit->log_count; i++)
        (void)json_array_append_new(logs, log_json(audit, &audit->logs[i]));
    for (size_t i = 0; i < audit->projection_count; i++)
        (void)json_array_append_new(projections, json_cstring(audit->projections[i]));
    json_t *searched =
        json_pack("{s:o,s:o,s:o,s:o}", "texts", json_number(audit->text_count), "files", json_number(audit->file_count),
                  "records", json_number(audit->record_count), "values", json_number(audit->value_count));
    return print_json(
        json_pack("{s:s,s:s,s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "cluster", audit->config->region.cluster, "region",
                  audit->config->region.region, "clean", audit->violation_count == 0, "index_looked_into",
                  audit->index != NULL, "logs", logs, "loose_files", json_number(audit->loose_count), "projections",
                  projections, "projections_in_postgresql", json_number(audit->elsewhere_count), "searched", searched,
                  "violation_count", json_number(audit->violation_count), "violations", violations_json(audit)),
        err);
}

static void show_count(const char *context, const char *what, const struct residency_count *count)
{
    if (count->entries == 0)
        return;
    printf("  ");
    print_string(context);
    printf(" (%s): %" PRIu64 " entries, %" PRIu64 " payloads held, %" PRIu64 " withheld", what, count->entries,
           count->held, count->withheld);
    if (count->missing > 0)
        printf("; %" PRIu64 " MISSING, which belong here", count->missing);
    putchar('\n');
}

static void show_log(const struct residency_audit *audit, const struct residency_log *log)
{
    const struct context_table *contexts = residency_contexts(audit);
    printf("log %s: %" PRIu64 " entries, %" PRIu64 " of them control events\n", log->origin, log->size, log->control);
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_known_at(contexts, i);
        if (context != NULL)
            show_count(context->name, may_hold(audit, context) ? "held here" : "not to be held here",
                       &log->contexts[i]);
    }
    show_count("other contexts", "not in tallyd.yaml", &log->unknown);
}

static void show_violation(const struct residency_violation *violation, const char *text)
{
    printf("VIOLATION ");
    print_string(violation->path);
    if (is_text(violation)) {
        printf(strcmp(violation->where, "file") == 0 ? ", offset %" PRIu64 ": the text "
                                                     : ", in a record or row, at byte %" PRIu64 ": the text ",
               violation->offset);
        print_string(text);
        putchar('\n');
        return;
    }
    if (strcmp(violation->where, "loose file") == 0)
        printf(", offset %" PRIu64 ", entry %" PRIu64 ": a payload", violation->offset, violation->index);
    else if (strcmp(violation->where, "segment") == 0)
        printf(", offset %" PRIu64 ", entry %" PRIu64 " of %s: a payload", violation->offset, violation->index,
               violation->origin);
    else if (strcmp(violation->where, "queued command") == 0)
        printf(", offset %" PRIu64 ", entry %" PRIu64 " of %s: a command queued for its home", violation->offset,
               violation->index, violation->origin);
    else if (strcmp(violation->where, "projection") == 0)
        printf(": takes payloads");
    else
        printf(", %s, entry %" PRIu64 " of %s: made from a payload", violation->where, violation->index,
               violation->origin);
    printf(" of context ");
    print_string(violation->context);
    putchar('\n');
}

static void show(const struct residency_audit *audit)
{
    uint64_t looked_up = 0;
    uint64_t queued = 0;
    printf("region %s of cluster %s\n", audit->config->region.region, audit->config->region.cluster);
    for (size_t i = 0; i < audit->log_count; i++) {
        show_log(audit, &audit->logs[i]);
        looked_up += audit->logs[i].looked_up;
        queued += audit->logs[i].queued;
    }
    if (audit->index == NULL)
        printf("index and queue: NOT looked into\n");
    else
        printf("index and queue: %" PRIu64 " entries whose payloads may not be here were looked up\n", looked_up);
    printf("commands queued for their homes: %" PRIu64 " looked at\n", queued);
    printf("files of no log, index or projection: %zu searched for blocks\n", audit->loose_count);
    printf("projections: %zu%s\n", audit->projection_count, audit->elsewhere_count == 0 ? "" : ", their SQL looked at");
    if (audit->elsewhere_count > 0)
        printf("  %zu of them in PostgreSQL: their rows are NOT looked into\n", audit->elsewhere_count);
    if (audit->text_count > 0)
        printf("searched for %zu text%s: %" PRIu64 " files, %" PRIu64 " records of the index, %" PRIu64
               " values of SQLite\n",
               audit->text_count, audit->text_count == 1 ? "" : "s", audit->file_count, audit->record_count,
               audit->value_count);
    for (size_t i = 0; i < audit->violation_count && i < RESIDENCY_VIOLATIONS_MAX; i++)
        show_violation(&audit->violations[i], audit->text_count == 0 ? "" : audit->texts[audit->violations[i].text]);
    if (audit->violation_count > RESIDENCY_VIOLATIONS_MAX)
        printf("… and %" PRIu64 " more\n", audit->violation_count - RESIDENCY_VIOLATIONS_MAX);
    if (audit->violation_count == 0)
        printf("clean: %sno payload is here that this region may not hold\n",
               audit->index == NULL ? "but for index and queue, " : "");
}

/* --- The command --- */

/* A folder that is not there was deleted, and is made again from the logs. */
static int open_index(struct residency_audit *audit, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    uint32_t mode = 0;
    int code = disk_join(folder, audit->data, "index", err);
    if (code == 0)
        code = disk_mode(disk_posix(), folder, &mode, err);
    if (code == 0)
        code = index_rocksdb_open(folder, &audit->config->region.contexts, &audit->index, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int audit_data(const char *data, const struct residency_options *options, bool *ret_clean, struct err *err)
{
    struct residency_audit *audit = mem_alloc_zero(1, sizeof(*audit));
    struct server_config *config = NULL;
    struct disk_file *lock = NULL;
    if (audit == NULL)
        return err_no_memory(err, "an audit");
    int code = server_config_read(disk_posix(), data, &config, err);
    if (code == 0 && !options->without_index)
        code = datadir_lock(data, &lock, err);
    if (code == ERR_LOCKED)
        code =
            err_set(err, code, "a tallyd runs on %s: stop it first, or leave the index out with --without-index", data);
    if (code == 0) {
        audit->data = data;
        audit->config = config;
        audit->texts = options->texts.items;
        audit->text_count = options->texts.count;
        if (!options->without_index)
            code = open_index(audit, err);
    }
    if (code == 0)
        code = residency_audit_run(audit, err);
    if (code == 0 && options->json)
        code = show_json(audit, err);
    else if (code == 0)
        show(audit);
    *ret_clean = audit->violation_count == 0;
    index_close(audit->index);
    disk_close(lock);
    server_config_free(config);
    mem_free(audit);
    return code;
}

static int run_residency(const struct command *command, int argc, char **argv)
{
    struct residency_options options = {0};
    const struct option table[] = {
        {"search", "TEXT", OPTION_TEXTS, &options.texts,
         "a text of such a payload, to be found nowhere (8 to 4096 bytes); may be given again"},
        {"without-index", NULL, OPTION_FLAG, &options.without_index,
         "leave index and queue out: then the region may be running"},
        {"json", NULL, OPTION_FLAG, &options.json, "one JSON object"},
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 2, 2, &arguments, &exit_with))
        return exit_with;
    if (strcmp(arguments.items[0], "audit") != 0)
        return usage_error(command, "there is no \"%s\"; only audit", arguments.items[0]);
    for (size_t i = 0; i < options.texts.count; i++) {
        size_t size = strlen(options.texts.items[i]);
        if (size < TEXT_MIN_BYTES || size > RESIDENCY_TEXT_MAX_BYTES)
            return usage_error(command, "--search takes %d to %d bytes: less is found anywhere", TEXT_MIN_BYTES,
                               RESIDENCY_TEXT_MAX_BYTES);
    }
    struct err err = {0};
    bool clean = true;
    int code = audit_data(arguments.items[1], &options, &clean, &err);
    if (code == 0)
        code = output_flush(&err);
    if (code != 0)
        return fail(&err, options.json);
    return clean ? EXIT_OK : EXIT_FAILED;
}

const struct command command_residency = {
    .name = "residency",
    .arguments = "audit DIR",
    .summary = "proves that a data directory holds no payload that its region may not hold",
    .help =
        "DIR is a data directory, or a copy that tally backup made. Reads every entry of every log and counts, for "
        "each\n"
        "context, payloads that are held and withheld; looks at commands that were queued for their homes, which "
        "carry\n"
        "payloads, at every other file for blocks of a log (repairs keep some), at the index and the queue of\n"
        "reconciliation for fingerprints made from such a payload, and at projections for statements that take one.\n"
        "Exit 1 when one is here that the context's payload_regions do not allow, with file, offset and entry.\n"
        "What it does not look into it says: rows of PostgreSQL; rows that another program wrote. For these, and to\n"
        "see for yourself, --search: append an event with a text of your own at the home, and look for it. It is\n"
        "searched for in every file, in the index's records and in SQLite's values, as it is: neither compressed nor\n"
        "encoded otherwise. The server must be stopped, unless the index is left out. That the logs are whole is\n"
        "another question: tally-verify log.\n\n"
        "Examples:\n"
        "  tally residency audit /var/lib/tally/us\n"
        "  tally residency audit /var/lib/tally/us --without-index --json\n"
        "  tally residency audit /backup/us-2026-11-24 --search 'canary-7c1f0a'",
    .run = run_residency,
};
