/* What handover and failover share (change.h). */
#include "change.h"

#include <stdio.h>

#include "connect.h"
#include "output.h"
#include "platform/clock.h"

struct change_patience change_patience(uint64_t timeout_ms)
{
    return (struct change_patience){.until_us = clock_now().mono_us + timeout_ms * 1000};
}

bool change_again(struct change_patience *patience, int code, const struct err *err)
{
    enum { PAUSE_MS = 100 };
    if (code != ERR_BUSY || clock_now().mono_us >= patience->until_us)
        return false;
    if (!patience->told)
        fprintf(stderr, "waiting: %s\n", err->message);
    patience->told = true;
    clock_sleep_ms(PAUSE_MS);
    return true;
}

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
    int rc = connect_client(server_address(change->common.server), &client, &err);
    if (rc == 0)
        rc = carry_out(client, &wanted, change, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, change->common.json);
}
