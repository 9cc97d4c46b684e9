/* tally read and tally tail. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "commands.h"
#include "connect.h"
#include "output.h"
#include "tally/reconcile.h"

/* Prints what the reader gives until it ends, or a subscription has caught up and stop_when_caught_up. */
static int print_all(struct tally_reader *reader, bool json, bool stop_when_caught_up, struct err *err)
{
    for (;;) {
        struct tally_recorded event;
        enum tally_item item;
        int rc = tally_reader_next(reader, &item, &event, err);
        if (rc == ERR_END)
            return output_flush(err);
        if (rc == 0 && item == TALLY_ITEM_CAUGHT_UP && stop_when_caught_up)
            return output_flush(err);
        if (rc == 0 && item == TALLY_ITEM_EVENT)
            rc = print_event(&event, NULL, json, err);
        if (rc == 0 && !stop_when_caught_up && item == TALLY_ITEM_CAUGHT_UP)
            rc = output_flush(err);
        if (rc != 0)
            return rc;
    }
}

/* --- read --- */

/* CONTEXT/STREAM: a context has no slash, a stream may have some. The caller frees *ret_context. */
static int split_stream(const char *text, char **ret_context, const char **ret_stream, struct err *err)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL || slash == text || slash[1] == '\0')
        return err_set(err, ERR_INVALID, "\"%.100s\" is not CONTEXT/STREAM, such as bank/account-17", text);
    char *copy = mem_copy_string(text);
    if (copy == NULL)
        return err_no_memory(err, "a name");
    copy[slash - text] = '\0';
    *ret_context = copy;
    *ret_stream = slash + 1;
    return 0;
}

static int read_open(struct tally_client *client, const char *stream, const char *log, const struct tally_range *range,
                     struct tally_reader **ret, struct err *err)
{
    if (stream == NULL)
        return tally_read_log(client, log, range, ret, err);
    char *context = NULL;
    const char *name = NULL;
    int rc = split_stream(stream, &context, &name, err);
    if (rc == 0)
        rc = tally_read_stream(client, context, name, range, ret, err);
    mem_free(context);
    return rc;
}

static int print_late_event(struct tally_client *client, const struct tally_late_item *item,
                            const struct common *common, struct err *err)
{
    const struct tally_range range = {.from = item->place.index, .limit = 1, .timeout_ms = common->timeout_ms};
    struct tally_reader *reader = NULL;
    struct tally_recorded event;
    enum tally_item kind;
    int rc = tally_read_log(client, item->place.origin, &range, &reader, err);
    if (rc == 0)
        rc = tally_reader_next(reader, &kind, &event, err);
    if (rc == 0)
        rc = print_event(&event, item->state, common->json, err);
    tally_reader_close(reader);
    return rc;
}

/* What the stream would also have, had it not come too late. */
static int print_late_events(struct tally_client *client, const char *stream, const struct common *common,
                             struct err *err)
{
    struct tally_late_page *page = NULL;
    char *context = NULL;
    const char *name = NULL;
    bool more = true;
    int rc = split_stream(stream, &context, &name, err);
    const struct tally_late_filter filter = {.context = context};
    while (rc == 0 && more) {
        struct tally_late_page *before = page;
        rc = tally_late_list(client, &filter, before == NULL ? NULL : &before->next, common->timeout_ms, &page, err);
        tally_late_page_free(before);
        if (rc != 0)
            page = NULL;
        for (size_t i = 0; rc == 0 && i < page->count; i++) {
            if (page->items[i].late && strcmp(page->items[i].stream, name) == 0)
                rc = print_late_event(client, &page->items[i], common, err);
        }
        more = rc == 0 && page->next.origin != NULL;
    }
    tally_late_page_free(page);
    mem_free(context);
    return rc;
}

static void say_as_of(const struct tally_as_of *as_of)
{
    if (as_of == NULL)
        return;
    if (as_of->staleness_unknown)
        (void)fprintf(stderr, "as of %s; region %s was not heard of\n", as_of->position, as_of->home);
    else
        (void)fprintf(stderr, "as of %s; at most %" PRIu64 " ms behind region %s\n", as_of->position,
                      as_of->staleness_ms, as_of->home);
}

static int run_read(const struct command *command, int argc, char **argv)
{
    struct common common = {.timeout_ms = COMMON_TIMEOUT_MS};
    const char *stream = NULL;
    const char *log = NULL;
    uint64_t from = UINT64_MAX;
    bool late = false;
    struct tally_range range = {0};
    struct tally_demand demand = {0};
    const struct option options[] = {
        {"stream", "CONTEXT/STREAM", OPTION_TEXT, &stream, "the events of one stream"},
        {"log", "ORIGIN", OPTION_TEXT, &log, "the entries of one log (default: the region's own)"},
        {"from", "N", OPTION_NUMBER, &from, "start at this version or index (default: the first; backwards: the last)"},
        {"backwards", NULL, OPTION_FLAG, &range.backwards, "newest first"},
        {"limit", "N", OPTION_NUMBER, &range.limit, "at most N events"},
        {"late", NULL, OPTION_FLAG, &late,
         "with --stream: then the events that came too late, with what became of them"},
        {"at-least", "POSITION", OPTION_TEXT, &demand.at_least, "wait until this position, of an append, is there"},
        {"max-staleness", "MS", OPTION_NUMBER, &demand.max_staleness_ms, "refuse when the answer may be older"},
        {"home-only", NULL, OPTION_FLAG, &demand.home_only, "refuse anywhere but at the home"},
        OPTION_TIMEOUT(common),
        OPTION_SERVER(common),
        OPTION_JSON(common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(options), argc, argv, 0, 0, &arguments, &exit_with))
        return exit_with;
    if (stream != NULL && log != NULL)
        return usage_error(command, "either --stream or --log, not both");
    if (late && stream == NULL)
        return usage_error(command, "--late needs --stream");
    demand.timeout_ms = common.timeout_ms;
    range.timeout_ms = common.timeout_ms;
    if (demand.at_least != NULL || demand.max_staleness_ms > 0 || demand.home_only)
        range.demand = &demand;
    range.loose = stream != NULL && !range.backwards && !late;
    range.from_end = range.backwards && from == UINT64_MAX;
    range.from = from == UINT64_MAX ? 0 : from;
    struct err err = {0};
    struct tally_client *client = NULL;
    struct tally_reader *reader = NULL;
    int rc = connect_client(server_address(common.server), &client, &err);
    if (rc == 0)
        rc = read_open(client, stream, log, &range, &reader, &err);
    if (rc == 0)
        rc = print_all(reader, common.json, false, &err);
    if (rc == 0)
        say_as_of(tally_reader_as_of(reader));
    tally_reader_close(reader);
    if (late && (rc == 0 || rc == ERR_NOT_FOUND)) /* a stream may have nothing but late events */
        rc = print_late_events(client, stream, &common, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, common.json);
}

const struct command command_read = {
    .name = "read",
    .arguments = "",
    .summary = "print the events of a stream, or the entries of a log",
    .help =
        "Prints the events of a stream, or the entries of a log, one a line:\n"
        "  ORIGIN INDEX TIME CONTEXT/STREAM@VERSION TYPE PAYLOAD\n"
        "A stream has the events that count, and then, marked, the emergency overrides that its home has not decided\n"
        "(not with --backwards; --late shows what became of all). A log has all entries; which of them came too late, "
        "tally reconcile\n"
        "list says.\n\n"
        "Examples:\n"
        "  tally read --stream bank/account-17\n"
        "  tally read --stream bank/account-17 --late\n"
        "  tally read --stream bank/account-17 --backwards --limit 1\n"
        "  tally read --stream bank/account-17 --at-least eu@1024 --max-staleness 5000\n"
        "  tally read --log bank/us/1 --from 1000 --limit 50 --json",
    .connects = true,
    .run = run_read,
};

/* --- tail --- */

static int run_tail(const struct command *command, int argc, char **argv)
{
    struct common common = {.timeout_ms = COMMON_TIMEOUT_MS};
    const char *from = NULL;
    const char *context = NULL;
    const char *stream = NULL;
    bool once = false;
    const struct option options[] = {
        {"from", "POSITION", OPTION_TEXT, &from, "start here, such as eu@1024,us@998 (default: the start)"},
        {"context", "CONTEXT", OPTION_TEXT, &context, "only this context"},
        {"stream", "STREAM", OPTION_TEXT, &stream, "with --context: only this stream"},
        {"once", NULL, OPTION_FLAG, &once, "stop when everything there is was printed"},
        OPTION_SERVER(common),
        OPTION_JSON(common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(options), argc, argv, 0, 0, &arguments, &exit_with))
        return exit_with;
    if (stream != NULL && context == NULL)
        return usage_error(command, "--stream needs --context");
    struct err err = {0};
    struct tally_client *client = NULL;
    struct tally_reader *reader = NULL;
    if (!once)
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
    int rc = connect_client(server_address(common.server), &client, &err);
    if (rc == 0)
        rc = tally_subscribe(client, from, context, stream, &reader, &err);
    if (rc == 0)
        rc = print_all(reader, common.json, once, &err);
    if (reader != NULL && tally_reader_position(reader)[0] != '\0')
        (void)fprintf(stderr, "position: %s\n", tally_reader_position(reader));
    tally_reader_close(reader);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, common.json);
}

const struct command command_tail = {
    .name = "tail",
    .arguments = "",
    .summary = "follow every log from a position",
    .help = "Prints every entry of every log once, in order within its log, and goes on as new ones arrive.\n"
            "At the end (--once, or a lost connection) the position to go on from is printed on standard error.\n\n"
            "Examples:\n"
            "  tally tail --context bank\n"
            "  tally tail --from eu@1024,us@998 --once --json",
    .connects = true,
    .run = run_tail,
};
