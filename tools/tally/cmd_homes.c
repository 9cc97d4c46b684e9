/* tally homes: who is the home of what. */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "connect.h"
#include "output.h"
#include "tally/client.h"

static int print_home(const struct tally_home_status *home, bool json, struct err *err)
{
    if (json)
        return print_json(json_pack("{s:o,s:o,s:o,s:b,s:o}", "partition", json_cstring(home->partition), "region",
                                    json_cstring(home->region), "epoch", json_number(home->epoch), "released",
                                    home->released, "successor", json_cstring(home->successor)),
                          err);
    print_string(home->partition);
    printf(": home ");
    print_string(home->region);
    printf(", epoch %" PRIu64, home->epoch);
    if (home->released) {
        printf(", let go, on its way to ");
        print_string(home->successor);
    }
    putchar('\n');
    return 0;
}

static int run_homes(const struct command *command, int argc, char **argv)
{
    struct common common = {.timeout_ms = COMMON_TIMEOUT_MS};
    const struct option options[] = {OPTION_SERVER(common), OPTION_TIMEOUT(common), OPTION_JSON(common)};
    struct arguments arguments;
    struct tally_client *client = NULL;
    struct tally_homes *homes = NULL;
    struct err err = {0};
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(options), argc, argv, 1, 1, &arguments, &exit_with))
        return exit_with;
    int rc = connect_client(server_address(common.server), &client, &err);
    if (rc == 0)
        rc = tally_homes_get(client, arguments.items[0], common.timeout_ms, &homes, &err);
    for (size_t i = 0; rc == 0 && i < homes->count; i++)
        rc = print_home(&homes->homes[i], common.json, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_homes_free(homes);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, common.json);
}

const struct command command_homes = {
    .name = "homes",
    .arguments = "CONTEXT",
    .summary = "who is the home of each partition, and under which epoch",
    .help = "One line a partition that is governed apart from the others; \"*\" is all that are not named.\n"
            "What is shown is what the region that is asked has applied.\n\n"
            "Examples:\n"
            "  tally homes bank\n"
            "  tally homes bank --server us.example:7401 --json",
    .connects = true,
    .run = run_homes,
};
