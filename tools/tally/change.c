/* What handover and failover share (change.h). */
#include "change.h"

#include "output.h"

static struct tally_change change_of(const struct change_options *options, const char *context)
{
    return (struct tally_change){.context = context,
                                 .partitions = options->partitions.items,
                                 .partition_count = options->partitions.count,
                                 .region = options->region,
                                 .actor = options->actor,
                                 .reason = options->reason,
                                 .force = options->force};
}

int change_run(const struct command *command, struct change_options *change, const struct option *options,
               size_t option_count, int argc, char **argv, change_fn *carry_out)
{
    struct arguments arguments;
    struct tally_client *client = NULL;
    struct err err = {0};
    int exit_with = 0;
    if (!options_parse(command, options, option_count, argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    if (change->region == NULL)
        return usage_error(command, "say which region: --%s REGION", options[0].name);
    if (change->force && change->reason == NULL)
        return usage_error(command, "--force needs --reason TEXT, which stays in the log");
    struct tally_change wanted = change_of(change, arguments.items[0]);
    int rc = tally_client_open(server_address(change->common.server), &client, &err);
    if (rc == 0)
        rc = carry_out(client, &wanted, change, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, change->common.json);
}
