/* tally ticket: what became of batches that a region keeps for their home. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "commands.h"
#include "connect.h"
#include "output.h"
#include "tally/client.h"

struct ticket_options {
    struct common common;
    uint64_t wait_ms;
    bool open;
};

/* --- Printing --- */

static json_t *results_json(const struct tally_ticket *ticket)
{
    json_t *results = json_array();
    for (size_t i = 0; i < ticket->result_count; i++) {
        const struct tally_result *result = &ticket->results[i];
        (void)json_array_append_new(results,
                                    json_pack("{s:o,s:o,s:o,s:b}", "origin", json_cstring(result->origin), "index",
                                              json_number(result->index), "version",
                                              json_number(result->stream_version), "duplicate", result->duplicate));
    }
    return results;
}

static int print_ticket_json(const struct tally_ticket *ticket, struct err *err)
{
    char id[UUID_TEXT_SIZE + 1];
    char time[TIME_TEXT_MAX_BYTES];
    uuid_format(ticket->command_id, id);
    time_format(ticket->time_unix_ms, time);
    json_t *refusal = ticket->refusal.code == 0 ? json_null()
                                                : json_pack("{s:s,s:o}", "code", tally_error_name(ticket->refusal.code),
                                                            "message", json_cstring(ticket->refusal.message));
    json_t *decision = ticket->decision_origin[0] == '\0'
                           ? json_null()
                           : json_pack("{s:o,s:o}", "origin", json_cstring(ticket->decision_origin), "index",
                                       json_number(ticket->decision_index));
    return print_json(json_pack("{s:o,s:o,s:o,s:o,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o}", "ticket",
                                json_cstring(ticket->ticket), "state", json_cstring(ticket->state), "context",
                                json_cstring(ticket->context), "partition", json_cstring(ticket->partition),
                                "command_id", id, "time", time, "events", json_number(ticket->event_count), "home",
                                json_cstring(ticket->home), "decision", decision, "position",
                                json_cstring(ticket->position), "results", results_json(ticket), "refusal", refusal),
                      err);
}

static void print_decision(const struct tally_ticket *ticket)
{
    printf(", decided by ");
    print_string(ticket->decision_origin);
    printf("@%" PRIu64, ticket->decision_index);
    if (ticket->refusal.code == 0)
        return;
    printf(", %s", tally_error_name(ticket->refusal.code));
    if (ticket->refusal.message[0] != '\0') {
        printf(": ");
        print_string(ticket->refusal.message);
    }
}

static void print_ticket(const struct tally_ticket *ticket)
{
    char time[TIME_TEXT_MAX_BYTES];
    time_format(ticket->time_unix_ms, time);
    print_string(ticket->ticket);
    putchar(' ');
    print_string(ticket->state);
    printf(": %" PRIu64 " events, %s, ", ticket->event_count, time);
    print_string(ticket->context);
    printf(", partition ");
    print_string(ticket->partition);
    if (ticket->home[0] != '\0') {
        printf(", home ");
        print_string(ticket->home);
    }
    if (ticket->decision_origin[0] != '\0')
        print_decision(ticket);
    putchar('\n');
    for (size_t i = 0; i < ticket->result_count; i++) {
        const struct tally_result *result = &ticket->results[i];
        printf("  event %zu: ", i);
        print_string(result->origin[0] == '\0' ? "not here yet" : result->origin);
        if (result->origin[0] != '\0')
            printf(" index %" PRIu64 ", version %" PRIu64, result->index, result->stream_version);
        printf("%s\n", result->duplicate ? ", was there already" : "");
    }
    if (ticket->position[0] != '\0') {
        printf("position ");
        print_string(ticket->position);
        putchar('\n');
    }
}

static int print_one(const struct tally_ticket *ticket, bool json, struct err *err)
{
    if (json)
        return print_ticket_json(ticket, err);
    print_ticket(ticket);
    return 0;
}

/* --- The command --- */

static int show(struct tally_client *client, const struct ticket_options *options, const char *name, struct err *err)
{
    struct tally_ticket *ticket = NULL;
    int rc = tally_ticket_get(client, name, options->wait_ms, options->common.timeout_ms, &ticket, err);
    if (rc == 0)
        rc = print_one(ticket, options->common.json, err);
    tally_ticket_free(ticket);
    return rc;
}

static int list(struct tally_client *client, const struct ticket_options *options, struct err *err)
{
    struct tally_tickets *page = NULL;
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        struct tally_tickets *before = page;
        page = NULL;
        rc = tally_tickets_list(client, options->open, before == NULL ? NULL : before->next, options->common.timeout_ms,
                                &page, err);
        tally_tickets_free(before);
        for (size_t i = 0; rc == 0 && i < page->count; i++)
            rc = print_one(&page->tickets[i], options->common.json, err);
        more = rc == 0 && page->next[0] != '\0';
    }
    tally_tickets_free(page);
    return rc;
}

static int run_ticket(const struct command *command, int argc, char **argv)
{
    struct ticket_options options = {.common.timeout_ms = COMMON_TIMEOUT_MS};
    const struct option table[] = {
        {"wait", "MS", OPTION_NUMBER, &options.wait_ms, "show: wait so long until it is decided"},
        {"open", NULL, OPTION_FLAG, &options.open, "list: only those that are not decided"},
        OPTION_SERVER(options.common),
        OPTION_TIMEOUT(options.common),
        OPTION_JSON(options.common),
    };
    struct arguments arguments;
    struct tally_client *client = NULL;
    struct err err = {0};
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, 2, &arguments, &exit_with))
        return exit_with;
    bool shows = strcmp(arguments.items[0], "show") == 0;
    if (!shows && strcmp(arguments.items[0], "list") != 0)
        return usage_error(command, "\"%.60s\" is neither show nor list", arguments.items[0]);
    if (shows != (arguments.count == 2))
        return usage_error(command, "show needs one ticket, and list none");
    if (shows ? options.open : options.wait_ms > 0)
        return usage_error(command, "--wait is for show, and --open for list");
    int rc = connect_client(server_address(options.common.server), &client, &err);
    if (rc == 0)
        rc = shows ? show(client, &options, arguments.items[1], &err) : list(client, &options, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, options.common.json);
}

const struct command command_ticket = {
    .name = "ticket",
    .arguments = "show TICKET | list",
    .summary = "what became of a batch that was queued for its home",
    .help =
        "tally append --queue prints a ticket when the region asked is not the home: the batch is durable there, and\n"
        "its home decides it, once, when the two can reach each other. Any region that has heard of it can be asked.\n"
        "A ticket is queued, accepted (then where its events are), or refused (then why).\n\n"
        "Examples:\n"
        "  tally ticket show us@58 --wait 60000\n"
        "  tally ticket list --open --server us.example:7401 --json",
    .connects = true,
    .run = run_ticket,
};
