/* tally failover: the evidence first, then the seizure of what a lost region was the home of. */
#include <inttypes.h>
#include <stdio.h>

#include "change.h"
#include "commands.h"
#include "output.h"

/* --- What is shown --- */

static json_t *log_json(const struct tally_lost_log *log)
{
    json_t *survivors = json_array();
    for (size_t i = 0; i < log->survivor_count; i++)
        json_array_append_new(survivors,
                              json_pack("{s:o,s:b,s:o}", "region", json_cstring(log->survivors[i].region), "reachable",
                                        log->survivors[i].reachable, "size", json_number(log->survivors[i].size)));
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "origin", json_cstring(log->origin), "size", json_number(log->size),
                     "indexed_size", json_number(log->indexed_size), "checkpoint_size",
                     json_number(log->checkpoint_size), "known_size", json_number(log->known_size), "survivors",
                     survivors);
}

static json_t *failover_json(const struct tally_failover *failover)
{
    json_t *logs = json_array();
    json_t *checks = json_array();
    for (size_t i = 0; i < failover->log_count; i++)
        json_array_append_new(logs, log_json(&failover->logs[i]));
    for (size_t i = 0; i < failover->check_count; i++)
        json_array_append_new(checks,
                              json_pack("{s:o,s:b,s:o}", "name", json_cstring(failover->checks[i].name), "ok",
                                        failover->checks[i].ok, "detail", json_cstring(failover->checks[i].detail)));
    json_t *whole = json_pack(
        "{s:o,s:b,s:b,s:o,s:o,s:o,s:o,s:b}", "from", json_cstring(failover->from), "reachable", failover->reachable,
        "heard", failover->heard, "last_contact_ms_ago", json_number(failover->last_contact_ms_ago), "partitions",
        json_number(failover->partition_count), "logs", logs, "checks", checks, "done", failover->done);
    if (whole != NULL && failover->done) {
        json_object_set_new(whole, "seized", json_number(failover->result.changed));
        json_object_set_new(whole, "position", json_cstring(failover->result.position));
    }
    return whole;
}

static void print_log(const struct tally_lost_log *log)
{
    printf("  log ");
    print_string(log->origin);
    printf(": %" PRIu64 " entries here, %" PRIu64 " of them under its signature, at most %" PRIu64 " known\n",
           log->size, log->checkpoint_size, log->known_size);
    for (size_t i = 0; i < log->survivor_count; i++) {
        printf("    ");
        print_string(log->survivors[i].region);
        printf(" holds %" PRIu64 "%s\n", log->survivors[i].size,
               log->survivors[i].reachable ? "" : " (when it was last heard of)");
    }
}

static int print_failover(const struct tally_failover *failover, bool json, struct err *err)
{
    if (json)
        return print_json(failover_json(failover), err);
    printf("region ");
    print_string(failover->from);
    printf(" is the home of %" PRIu64 " partition%s here, \"*\" counted as one\n", failover->partition_count,
           failover->partition_count == 1 ? "" : "s");
    for (size_t i = 0; i < failover->log_count; i++)
        print_log(&failover->logs[i]);
    for (size_t i = 0; i < failover->check_count; i++) {
        printf("  %-4s ", failover->checks[i].ok ? "ok" : "FAIL");
        print_string(failover->checks[i].name);
        printf(": ");
        print_string(failover->checks[i].detail);
        putchar('\n');
    }
    if (failover->done) {
        printf("seized %" PRIu64 " partition%s, at ", failover->result.changed,
               failover->result.changed == 1 ? "" : "s");
        print_string(failover->result.position);
        putchar('\n');
    }
    return 0;
}

/* --- What is done --- */

static int show(struct tally_client *client, const struct tally_change *change, const struct change_options *options,
                struct err *err)
{
    const struct common *common = &options->common;
    struct tally_failover *failover = NULL;
    int rc = tally_failover(client, change, true, common->timeout_ms, &failover, err);
    if (rc == 0)
        rc = print_failover(failover, common->json, err);
    if (rc == 0 && !common->json && options->partitions_from != NULL)
        printf("%zu partitions would be seized, %d at a time\n", options->names.count, CHANGE_GROUP);
    if (rc == 0 && !common->json)
        puts("nothing was changed: this was a dry run");
    tally_failover_free(failover);
    return rc;
}

/* The evidence is shown even if the seizure is refused. */
static void show_refused(struct tally_client *client, const struct tally_change *change, const struct common *common,
                         uint64_t seized)
{
    struct tally_failover *failover = NULL;
    struct err ignored = {0};
    if (tally_failover(client, change, true, common->timeout_ms, &failover, &ignored) == 0)
        (void)print_failover(failover, common->json, &ignored);
    if (!common->json)
        printf("refused after %" PRIu64 " partition%s had been seized\n", seized, seized == 1 ? "" : "s");
    tally_failover_free(failover);
}

struct seizing {
    const struct common *common;
    struct tally_failover **last; /* the answer to the last command that succeeded */
};

/* One block of the log holds only so many changes: asks again until nothing remains. */
static int seize_group(struct tally_client *client, const struct tally_change *change, const void *context,
                       uint64_t *changed, struct err *err)
{
    const struct seizing *seizing = context;
    struct change_patience patience = change_patience(seizing->common->timeout_ms);
    bool again = true;
    int rc = 0;
    while (again) {
        struct tally_failover *failover = NULL;
        rc = tally_failover(client, change, false, seizing->common->timeout_ms, &failover, err);
        if (rc == 0) {
            tally_failover_free(*seizing->last);
            *seizing->last = failover;
            *changed += failover->result.changed;
        }
        again = rc == 0 ? failover->result.remaining > 0 : change_again(&patience, rc, err);
    }
    return rc;
}

/* All that the file names have another home already. */
static int print_nothing_left(bool json, struct err *err)
{
    if (json)
        return print_json(json_pack("{s:b,s:i}", "done", true, "seized", 0), err);
    puts("nothing is left to be seized");
    return 0;
}

static int seize(struct tally_client *client, const struct tally_change *change, const struct change_options *options,
                 struct err *err)
{
    struct tally_failover *failover = NULL;
    const struct seizing seizing = {.common = &options->common, .last = &failover};
    uint64_t total = 0;
    int rc = change_groups(client, change, options, "seized", seize_group, &seizing, &total, err);
    if (rc == 0 && failover == NULL) {
        rc = print_nothing_left(options->common.json, err);
    } else if (rc == 0) {
        failover->result.changed = total;
        rc = print_failover(failover, options->common.json, err);
    } else {
        show_refused(client, change, &options->common, total);
    }
    tally_failover_free(failover);
    return rc;
}

static int carry_out(struct tally_client *client, const struct tally_change *change,
                     const struct change_options *options, struct err *err)
{
    return options->dry_run ? show(client, change, options, err) : seize(client, change, options, err);
}

static int run_failover(const struct command *command, int argc, char **argv)
{
    struct change_options change = {.common = {.timeout_ms = COMMON_TIMEOUT_MS}, .leaves = true};
    const struct option options[] = {
        {"from", "REGION", OPTION_TEXT, &change.region, "the region that is lost (required)"},
        {"dry-run", NULL, OPTION_FLAG, &change.dry_run, "show the evidence and change nothing"},
        OPTION_PARTITION(change),
        OPTION_PARTITIONS_FROM(change),
        OPTION_ACTOR(change),
        OPTION_REASON(change),
        OPTION_FORCE(change),
        OPTION_SERVER(change.common),
        OPTION_TIMEOUT(change.common),
        OPTION_JSON(change.common),
    };
    return change_run(command, &change, OPTIONS(options), argc, argv, carry_out);
}

const struct command command_failover = {
    .name = "failover",
    .arguments = "CONTEXT --from REGION",
    .summary = "take over what a lost region was the home of",
    .help =
        "Asked of a survivor. Shows what is known of the lost region: when it was last heard of, how much of its log\n"
        "is here and elsewhere, and the readiness checks; then seizes its partitions with the next epoch. What the\n"
        "lost region accepted and nobody has a copy of comes back as late events when the region does.\n"
        "A check that fails stops it, unless it is forced with a reason, which stays in the log. Forced in a fenced\n"
        "context, the new home accepts without leases: be sure that the others are down. Partitions that were let go "
        "to\n"
        "the lost region, and that it did not take, are among them.\n\n"
        "Examples:\n"
        "  tally failover bank --from eu --dry-run --server us.example:7401\n"
        "  tally failover bank --from eu --reason 'eu lost power' --server us.example:7401\n"
        "  tally failover bank --from eu --partitions-from first-half.txt --reason 'eu lost power' --server "
        "us.example:7401\n"
        "  tally homes bank --server us.example:7401",
    .connects = true,
    .run = run_failover,
};
