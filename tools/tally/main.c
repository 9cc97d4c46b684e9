/* tally, the operator's command: one file a command, found in the table below. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/channel.h"
#include "commands.h"

static const struct command *const commands[] = {
    &command_init,       &command_append, &command_import,    &command_read,    &command_tail,    &command_status,
    &command_projection, &command_export, &command_proof,     &command_context, &command_homes,   &command_handover,
    &command_failover,   &command_scrub,  &command_repair,    &command_backup,  &command_restore, &command_reconcile,
    &command_evidence,   &command_key,    &command_residency, &command_ticket,  &command_bench,
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void overview(FILE *out)
{
    (void)fputs("Usage: tally COMMAND [arguments] [options]\n\nCommands:\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        (void)fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs("\nEach explains itself, with examples: tally COMMAND --help\n"
                "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 region not reachable.\n",
                out);
}

int main(int argc, char **argv)
{
    json_set_alloc_funcs(mem_alloc, mem_free);
    channel_keep_quiet();
    if (argc < 2) {
        overview(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        overview(stdout);
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(commands[i], argc - 2, argv + 2);
    (void)fprintf(stderr, "tally: there is no command \"%s\"\nTry: tally --help\n", argv[1]);
    return EXIT_USAGE;
}
