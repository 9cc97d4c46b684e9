/* tally handover: a planned move of partitions to another region. */
#include <inttypes.h>
#include <stdio.h>

#include "change.h"
#include "commands.h"
#include "output.h"

struct handing {
    uint64_t timeout_ms;
    struct tally_changed *last;
};

/* A part at a time is let go of: asks again until nothing remains. */
static int hand_over(struct tally_client *client, const struct tally_change *change, const void *context,
                     uint64_t *changed, struct err *err)
{
    const struct handing *handing = context;
    struct change_patience patience = change_patience(handing->timeout_ms);
    int rc = 0;
    do {
        rc = tally_handover(client, change, handing->timeout_ms, handing->last, err);
        *changed += rc == 0 ? handing->last->changed : 0;
    } while (rc == 0 ? handing->last->remaining > 0 : change_again(&patience, rc, err));
    return rc;
}

static int print_changed(const struct tally_changed *changed, const struct change_options *options, struct err *err)
{
    if (options->common.json)
        return print_json(json_pack("{s:o,s:o,s:o}", "partitions", json_number(changed->changed), "to",
                                    json_cstring(options->region), "position", json_cstring(changed->position)),
                          err);
    if (changed->position[0] == '\0') {
        puts("nothing is left to be let go of");
        return 0;
    }
    printf("let go of %" PRIu64 " partition%s; ", changed->changed, changed->changed == 1 ? "" : "s");
    print_string(options->region);
    printf(" takes over as soon as it holds everything up to ");
    print_string(changed->position);
    putchar('\n');
    return 0;
}

static int carry_out(struct tally_client *client, const struct tally_change *change,
                     const struct change_options *options, struct err *err)
{
    struct tally_changed changed = {0};
    const struct handing handing = {.timeout_ms = options->common.timeout_ms, .last = &changed};
    uint64_t total = 0;
    int rc = change_groups(client, change, options, "let go of", hand_over, &handing, &total, err);
    changed.changed = total;
    return rc == 0 ? print_changed(&changed, options, err) : rc;
}

static int run_handover(const struct command *command, int argc, char **argv)
{
    struct change_options change = {.common = {.timeout_ms = COMMON_TIMEOUT_MS}};
    const struct option options[] = {
        {"to", "REGION", OPTION_TEXT, &change.region, "the new home (required)"},
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

const struct command command_handover = {
    .name = "handover",
    .arguments = "CONTEXT --to REGION",
    .summary = "planned move of partitions to another region: nothing is lost, nobody overlaps",
    .help =
        "Asked of the present home. It stops accepting events of the partitions at once and says so in its log; the\n"
        "new home takes over, with the next epoch, when its copy and its index hold everything up to there. Callers\n"
        "who come meanwhile are told where to go. Many partitions are let go of in groups, each when the one before "
        "the\n"
        "last was taken. To bring partitions back, hand them over the other way; if the new home dies before it took\n"
        "them, fail over from it.\n\n"
        "Examples:\n"
        "  tally handover bank --to us --reason 'maintenance in eu'\n"
        "  tally handover bank --to us --partition DE --partition FR\n"
        "  tally handover bank --to us --partitions-from moving.txt --reason 'half of them'\n"
        "  tally homes bank",
    .connects = true,
    .run = run_handover,
};
