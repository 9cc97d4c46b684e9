/* tally context: which contexts there are, creating one, and changing its policy while the system runs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "connect.h"
#include "policy.h"
#include "tally/context.h"

enum { MEMORY_MAX_BYTES = 64 * 1024 * 1024 };

struct context_options {
    struct common common;
    struct policy_options policy;
    uint64_t expected_version;
    const char *actor;
    const char *reason;
    bool dry_run;
};

static int no_memory(struct err *err)
{
    return err_no_memory(err, "the contexts");
}

/* --- Showing --- */

static json_t *source_json(const struct tally_context *context)
{
    char time[TIME_TEXT_MAX_BYTES];
    if (context->defined.origin == NULL)
        return json_null();
    time_format(context->time_unix_ms, time);
    return json_pack("{s:o,s:o,s:s,s:o,s:o}", "origin", json_cstring(context->defined.origin), "index",
                     json_number(context->defined.index), "time", time, "actor", json_cstring(context->actor), "reason",
                     json_cstring(context->reason));
}

static json_t *context_json(const struct tally_context *context, const struct policy_line *lines)
{
    json_t *policy = json_object();
    for (size_t i = 0; i < POLICY_LINES; i++) {
        if (json_object_set_new(policy, lines[i].key, json_cstring(lines[i].value)) != 0) {
            json_decref(policy);
            return NULL;
        }
    }
    return json_pack("{s:o,s:o,s:o,s:o}", "name", json_cstring(context->policy.name), "version",
                     json_number(context->version), "policy", policy, "defined", source_json(context));
}

static void print_source(const struct tally_context *context)
{
    char time[TIME_TEXT_MAX_BYTES];
    if (context->defined.origin == NULL) {
        printf("  defined               in tallyd.yaml\n");
        return;
    }
    time_format(context->time_unix_ms, time);
    printf("  defined               entry %" PRIu64 " of ", context->defined.index);
    print_string(context->defined.origin);
    printf(", %s, by ", time);
    print_string(context->actor);
    if (context->reason[0] != '\0') {
        printf(": ");
        print_string(context->reason);
    }
    putchar('\n');
}

static int print_context(const struct tally_context *context, bool json, struct arena *arena, struct err *err)
{
    const struct policy_line *lines = policy_lines(&context->policy, arena);
    if (lines == NULL)
        return no_memory(err);
    if (json)
        return print_json(context_json(context, lines), err);
    print_string(context->policy.name);
    printf(": version %" PRIu64 "\n", context->version);
    for (size_t i = 0; i < POLICY_LINES; i++) {
        if (lines[i].value[0] == '\0' || strcmp(lines[i].key, "name") == 0)
            continue;
        printf("  %-21s ", lines[i].key);
        print_string(lines[i].value);
        putchar('\n');
    }
    print_source(context);
    return 0;
}

static void print_column(const char *text, size_t width)
{
    print_string(text);
    for (size_t used = strlen(text); used < width; used++)
        putchar(' ');
    putchar(' ');
}

static void print_row(const struct tally_context *context)
{
    const struct tally_context_policy *policy = &context->policy;
    char durability[32] = "local";
    char version[32];
    if (policy->durability_peers > 0)
        (void)snprintf(durability, sizeof(durability), "peers(%u)", (unsigned)policy->durability_peers);
    (void)snprintf(version, sizeof(version), "%" PRIu64, context->version);
    print_column(policy->name, 24);
    print_column(version, 7);
    print_column(policy->topology, 14);
    print_column(policy->default_home, 12);
    print_column(durability, 10);
    print_column(policy->isolation, 9);
    print_string(policy->failover);
    putchar('\n');
}

static int list(struct tally_client *client, const struct context_options *options, struct arena *arena,
                struct err *err)
{
    struct tally_contexts *contexts = NULL;
    int rc = tally_context_list(client, options->common.timeout_ms, &contexts, err);
    if (rc == 0 && !options->common.json)
        printf("%-24s %-7s %-14s %-12s %-10s %-9s FAILOVER\n", "CONTEXT", "VERSION", "TOPOLOGY", "DEFAULT HOME",
               "DURABILITY", "ISOLATION");
    for (size_t i = 0; rc == 0 && i < contexts->count; i++) {
        if (options->common.json)
            rc = print_context(&contexts->items[i], true, arena, err);
        else
            print_row(&contexts->items[i]);
    }
    tally_contexts_free(contexts);
    return rc;
}

static int show(struct tally_client *client, const struct context_options *options, const char *name,
                struct arena *arena, struct err *err)
{
    struct tally_contexts *contexts = NULL;
    int rc = tally_context_show(client, name, options->common.timeout_ms, &contexts, err);
    if (rc == 0)
        rc = print_context(&contexts->items[0], options->common.json, arena, err);
    tally_contexts_free(contexts);
    return rc;
}

/* --- Defining --- */

static json_t *differences_json(const struct policy_line *before, const struct policy_line *after)
{
    json_t *differences = json_array();
    for (size_t i = 0; differences != NULL && i < POLICY_LINES; i++) {
        if (before != NULL && strcmp(before[i].value, after[i].value) == 0)
            continue;
        json_t *line = json_pack("{s:s,s:o,s:o}", "what", after[i].key, "before",
                                 before == NULL ? json_null() : json_cstring(before[i].value), "after",
                                 json_cstring(after[i].value));
        if (json_array_append_new(differences, line) != 0) {
            json_decref(differences);
            return NULL;
        }
    }
    return differences;
}

static void print_value(const char *value)
{
    print_string(value[0] == '\0' ? "(none)" : value);
}

static void print_differences(const struct policy_line *before, const struct policy_line *after)
{
    for (size_t i = 0; i < POLICY_LINES; i++) {
        bool same = before == NULL ? after[i].value[0] == '\0' : strcmp(before[i].value, after[i].value) == 0;
        if (same || strcmp(after[i].key, "name") == 0)
            continue;
        printf("  %-21s ", after[i].key);
        if (before != NULL) {
            print_value(before[i].value);
            printf(" -> ");
        }
        print_value(after[i].value);
        putchar('\n');
    }
}

static void print_verdict(const struct context_options *options, const char *name, const struct tally_defined *defined)
{
    print_string(name);
    if (defined->already)
        printf(": version %" PRIu64 " says so already; nothing was written\n", defined->version);
    else if (options->dry_run)
        printf(": would be version %" PRIu64 "; nothing was written\n", defined->version);
    else {
        printf(": version %" PRIu64 ", at ", defined->version);
        print_string(defined->position);
        putchar('\n');
    }
}

static int print_defined(const struct context_options *options, const struct tally_context_policy *before,
                         const struct tally_context_policy *after, const struct tally_defined *defined,
                         struct arena *arena, struct err *err)
{
    const struct policy_line *old = before == NULL ? NULL : policy_lines(before, arena);
    const struct policy_line *new = policy_lines(after, arena);
    if (new == NULL || (before != NULL && old == NULL))
        return no_memory(err);
    if (options->common.json)
        return print_json(json_pack("{s:o,s:o,s:b,s:b,s:o,s:o}", "name", json_cstring(after->name), "version",
                                    json_number(defined->version), "already", defined->already, "dry_run",
                                    options->dry_run, "position", json_cstring(defined->position), "changes",
                                    differences_json(old, new)),
                          err);
    print_verdict(options, after->name, defined);
    if (!defined->already)
        print_differences(old, new);
    return 0;
}

static int define(struct tally_client *client, const struct context_options *options,
                  const struct tally_context *before, const char *name, struct arena *arena, struct err *err)
{
    const struct tally_context_policy *old = before == NULL ? NULL : &before->policy;
    struct tally_context_policy policy;
    struct tally_defined defined;
    struct tally_define wanted = {
        .policy = &policy, .actor = options->actor, .reason = options->reason, .dry_run = options->dry_run};
    if (before != NULL)
        wanted.expected_version = before->version;
    if (options->expected_version != POLICY_UNSET)
        wanted.expected_version = options->expected_version;
    int rc = policy_change(old, name, &options->policy, arena, &policy, err);
    if (rc == 0)
        rc = tally_context_define(client, &wanted, options->common.timeout_ms, &defined, NULL, err);
    return rc == 0 ? print_defined(options, old, &policy, &defined, arena, err) : rc;
}

static int set(struct tally_client *client, const struct context_options *options, const char *name,
               struct arena *arena, struct err *err)
{
    struct tally_contexts *contexts = NULL;
    int rc = tally_context_show(client, name, options->common.timeout_ms, &contexts, err);
    if (rc == 0)
        rc = define(client, options, &contexts->items[0], name, arena, err);
    tally_contexts_free(contexts);
    return rc;
}

/* --- The command --- */

static int check_usage(const struct command *command, const struct context_options *options,
                       const struct arguments *arguments)
{
    const char *action = arguments->items[0];
    bool listing = strcmp(action, "list") == 0;
    bool creating = strcmp(action, "create") == 0;
    if (!listing && !creating && strcmp(action, "show") != 0 && strcmp(action, "set") != 0)
        return usage_error(command, "there is no action \"%s\"", action);
    if (arguments->count != (listing ? 1 : 2))
        return usage_error(command, listing ? "%s takes no name" : "%s needs one NAME", action);
    bool changes = policy_is_given(&options->policy) || options->expected_version != POLICY_UNSET || options->dry_run ||
                   options->actor != NULL || options->reason != NULL;
    if (changes && (listing || strcmp(action, "show") == 0))
        return usage_error(command, "%s changes nothing: options that do are for create and set", action);
    if (creating && options->policy.default_home == NULL)
        return usage_error(command, "create needs --default-home REGION");
    if (creating && options->expected_version != POLICY_UNSET)
        return usage_error(command, "create expects that there is none: --expected-version is for set");
    return EXIT_OK;
}

static int act(struct tally_client *client, const struct context_options *options, const struct arguments *arguments,
               struct err *err)
{
    const char *action = arguments->items[0];
    const char *name = arguments->count > 1 ? arguments->items[1] : NULL;
    struct arena arena;
    int rc = 0;
    arena_init(&arena, MEMORY_MAX_BYTES);
    if (strcmp(action, "list") == 0)
        rc = list(client, options, &arena, err);
    else if (strcmp(action, "show") == 0)
        rc = show(client, options, name, &arena, err);
    else if (strcmp(action, "create") == 0)
        rc = define(client, options, NULL, name, &arena, err);
    else
        rc = set(client, options, name, &arena, err);
    arena_free(&arena);
    return rc;
}

static int run_parsed(const struct command *command, struct context_options *options, const struct option *table,
                      size_t table_size, int argc, char **argv)
{
    struct arguments arguments;
    struct tally_client *client = NULL;
    struct err err = {0};
    int exit_with = 0;
    if (!options_parse(command, table, table_size, argc, argv, 1, 2, &arguments, &exit_with))
        return exit_with;
    exit_with = check_usage(command, options, &arguments);
    if (exit_with != EXIT_OK)
        return exit_with;
    int rc = connect_client(server_address(options->common.server), &client, &err);
    if (rc == 0)
        rc = act(client, options, &arguments, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, options->common.json);
}

static int run_context(const struct command *command, int argc, char **argv)
{
    struct context_options options = {.common = {.timeout_ms = COMMON_TIMEOUT_MS},
                                      .policy = {.lease_ms = POLICY_UNSET,
                                                 .peers = POLICY_UNSET,
                                                 .recovery_events = POLICY_UNSET,
                                                 .recovery_seconds = POLICY_UNSET},
                                      .expected_version = POLICY_UNSET};
    struct policy_options *policy = &options.policy;
    const struct option table[] = {
        {"default-home", "REGION", OPTION_TEXT, &policy->default_home, "create: who accepts events (required)"},
        {"home", "PARTITION=REGION", OPTION_TEXTS, &policy->homes, "create: a partition that lives elsewhere"},
        {"topology", "WORD", OPTION_TEXT, &policy->topology, "home-affinity, active-passive or multi-home"},
        {"isolation", "WORD", OPTION_TEXT, &policy->isolation, "accept, or fence by a lease, when no peer answers"},
        {"lease-ms", "N", OPTION_NUMBER, &policy->lease_ms, "of fence"},
        {"failover", "WORD", OPTION_TEXT, &policy->failover, "manual, assisted, or automatic (with etcd)"},
        {"payload-region", "REGION", OPTION_TEXTS, &policy->payload_regions,
         "only these may hold payloads; may be given again ('*': every region)"},
        {"type", "TYPE=WORD[,WORD]", OPTION_TEXTS, &policy->types,
         "manual, accept, drop-duplicate or compensate, and override, commutative"},
        {"peers", "N", OPTION_NUMBER, &policy->peers, "peers that must have stored an append before it is answered"},
        {"when-away", "WORD", OPTION_TEXT, &policy->when_away, "refuse, or degrade, when too few peers answer"},
        {"recovery-events", "N", OPTION_NUMBER, &policy->recovery_events, "that may be at the home alone (0: any)"},
        {"recovery-seconds", "N", OPTION_NUMBER, &policy->recovery_seconds, "… and for how long (0: any)"},
        {"recovery-then", "WORD", OPTION_TEXT, &policy->recovery_then, "warn, throttle or refuse past that"},
        {"expected-version", "N", OPTION_NUMBER, &options.expected_version,
         "set: refuse unless this is in force (default: what is shown now)"},
        {"dry-run", NULL, OPTION_FLAG, &options.dry_run, "only say what would change, and whether it would be done"},
        {"actor", "WHO", OPTION_TEXT, &options.actor, "who asks for it; stays in the log (default: operator)"},
        {"reason", "TEXT", OPTION_TEXT, &options.reason, "why; stays in the log"},
        OPTION_SERVER(options.common),
        OPTION_TIMEOUT(options.common),
        OPTION_JSON(options.common),
    };
    return run_parsed(command, &options, OPTIONS(table), argc, argv);
}

const struct command command_context = {
    .name = "context",
    .arguments = "list | show NAME | create NAME | set NAME",
    .summary = "contexts and their policies: which there are, making and changing them",
    .help =
        "A context is a namespace of streams with one policy. Those of tallyd.yaml are version 1; create makes others\n"
        "and set changes any while the system runs: what is not given stays. Each change is an entry in the log of "
        "the\n"
        "home of the context $system (`tally homes '$system'`), with a version, --actor and --reason; ask that "
        "region,\n"
        "others name it. It counts in each region from when it has stored and applied it. What would break a promise\n"
        "is refused, with the reason. Homes are those of the beginning: `tally handover` moves partitions.\n\n"
        "Examples:\n"
        "  tally context list\n"
        "  tally context create bank --default-home eu --topology active-passive\n"
        "  tally context set bank --peers 1 --dry-run\n"
        "  tally context set bank --topology home-affinity --expected-version 2 --reason 'us takes its own'\n"
        "  tally context set bank --type CardFrozen=accept,override --recovery-events 1000 --recovery-then refuse",
    .connects = true,
    .run = run_context,
};
