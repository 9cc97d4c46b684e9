/* tally handover: a planned move of partitions to another region. */
#include <inttypes.h>
#include <stdio.h>

#include "change.h"
#include "commands.h"
#include "output.h"

struct tally_change change_of(const struct change_options *options, const char *context)
{
    return (struct tally_change){.context = context,
                                 .partitions = options->partitions.items,
                                 .partition_count = options->partitions.count,
                                 .region = options->region,
                                 .actor = options->actor,
                                 .reason = options->reason,
                                 .force = options->force};
}

/* One block of the log holds only so many changes: asks again until nothing remains. */
static int hand_over(struct tally_client *client, const struct tally_change *change, uint64_t timeout_ms,
                     struct tally_changed *ret, struct err *err)
{
    uint64_t total = 0;
    int rc = 0;
    do {
        rc = tally_handover(client, change, timeout_ms, ret, err);
        total += rc == 0 ? ret->changed : 0;
    } while (rc == 0 && ret->remaining > 0);
    ret->changed = total;
    return rc;
}

static int print_changed(const struct tally_changed *changed, const struct change_options *options, struct err *err)
{
    if (options->common.json)
        return print_json(json_pack("{s:o,s:o,s:o}", "partitions", json_number(changed->changed), "to",
                                    json_cstring(options->region), "position", json_cstring(changed->position)),
                          err);
    printf("let go of %" PRIu64 " partition%s; ", changed->changed, changed->changed == 1 ? "" : "s");
    print_string(options->region);
    printf(" takes over as soon as it holds everything up to ");
    print_string(changed->position);
    putchar('\n');
    return 0;
}

static int run_handover(const struct command *command, int argc, char **argv)
{
    struct change_options change = {.common = {.timeout_ms = COMMON_TIMEOUT_MS}};
    const struct option options[] = {
        {"to", "REGION", OPTION_TEXT, &change.region, "the new home (required)"},
        OPTION_PARTITION(change),
        OPTION_ACTOR(change),
        OPTION_REASON(change),
        OPTION_FORCE(change),
        OPTION_SERVER(change.common),
        OPTION_TIMEOUT(change.common),
        OPTION_JSON(change.common),
    };
    struct arguments arguments;
    struct tally_client *client = NULL;
    struct tally_changed changed = {0};
    struct err err = {0};
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(options), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    if (change.region == NULL)
        return usage_error(command, "say where to: --to REGION");
    if (change.force && change.reason == NULL)
        return usage_error(command, "--force needs --reason TEXT, which stays in the log");
    struct tally_change wanted = change_of(&change, arguments.items[0]);
    int rc = tally_client_open(server_address(change.common.server), &client, &err);
    if (rc == 0)
        rc = hand_over(client, &wanted, change.common.timeout_ms, &changed, &err);
    if (rc == 0)
        rc = print_changed(&changed, &change, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, change.common.json);
}

const struct command command_handover = {
    .name = "handover",
    .arguments = "CONTEXT --to REGION",
    .summary = "planned move of partitions to another region: nothing is lost, nobody overlaps",
    .help =
        "Asked of the present home. It stops accepting events of the partitions at once and says so in its log; the\n"
        "new home takes over, with the next epoch, when its copy and its index hold everything up to there. Callers\n"
        "who come meanwhile are told where to go. To bring partitions back, hand them over the other way.\n\n"
        "Examples:\n"
        "  tally handover bank --to us --reason 'maintenance in eu'\n"
        "  tally handover bank --to us --partition DE --partition FR\n"
        "  tally homes bank",
    .run = run_handover,
};
