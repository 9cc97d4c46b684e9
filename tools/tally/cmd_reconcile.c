/* tally reconcile: what a lost region brought back too late, and what becomes of it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "commands.h"
#include "connect.h"
#include "output.h"
#include "platform/clock.h"
#include "reconcile.h"

enum { PLACES_MAX = 10000, PLACES_MEMORY_MAX_BYTES = 8 * 1024 * 1024 };

struct reconcile_options {
    struct common common;
    struct tally_late_filter filter;
    const char *type; /* filter; with compensate: of the event that compensates */
    const char *stream;
    const char *payload;
    const char *id;
    const char *actor;
    const char *reason;
    const char *html;
    const char *from;
    const char *to;
    uint64_t epoch;
    uint64_t expect_count;
    bool all;
};

/* --- Items --- */

static json_t *place_json(const struct tally_place *place)
{
    if (place->origin == NULL)
        return json_null();
    return json_pack("{s:o,s:o}", "origin", json_cstring(place->origin), "index", json_number(place->index));
}

json_t *late_item_json(const struct tally_late_item *item)
{
    char id[UUID_TEXT_SIZE + 1];
    char time[TIME_TEXT_MAX_BYTES];
    uuid_format(item->event_id, id);
    time_format(item->time_unix_ms, time);
    return json_pack("{s:o,s:o,s:o,s:b,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:o,s:o}", "origin",
                     json_cstring(item->place.origin), "index", json_number(item->place.index), "kind",
                     json_cstring(item->kind), "late", item->late, "id", id, "time", time, "version",
                     json_number(item->stream_version), "epoch", json_number(item->epoch), "context",
                     json_cstring(item->context), "partition", json_cstring(item->partition), "stream",
                     json_cstring(item->stream), "type", json_cstring(item->type), "state", json_cstring(item->state),
                     "payload_held", item->payload_held, "effective", place_json(&item->effective), "decision",
                     place_json(&item->decision), "compensation", place_json(&item->compensation));
}

static void print_place(const char *what, const struct tally_place *place)
{
    if (place->origin == NULL)
        return;
    printf(", %s ", what);
    print_string(place->origin);
    printf("@%" PRIu64, place->index);
}

void print_late_item(const struct tally_late_item *item)
{
    char time[TIME_TEXT_MAX_BYTES];
    time_format(item->time_unix_ms, time);
    print_string(item->place.origin);
    printf("@%" PRIu64 " ", item->place.index);
    if (strcmp(item->kind, "override") == 0)
        printf("override, ");
    print_string(item->state);
    printf(": ");
    print_string(item->context);
    putchar('/');
    print_string(item->stream);
    printf("@%" PRIu64 " ", item->stream_version);
    print_string(item->type);
    printf(", partition ");
    print_string(item->partition);
    printf(", epoch %" PRIu64 ", %s%s", item->epoch, time, item->payload_held ? "" : ", payload not held here");
    print_place("effective", &item->effective);
    print_place("decided by", &item->decision);
    print_place("compensated by", &item->compensation);
    putchar('\n');
}

/* ORIGIN@INDEX; *ret borrows from the arena. */
static int place_parse(const char *text, struct arena *arena, struct tally_place *ret, struct err *err)
{
    const char *at = strrchr(text, '@');
    if (at == NULL || at == text || parse_u64(at + 1, strlen(at + 1), &ret->index) != 0)
        return err_set(err, ERR_INVALID, "\"%.100s\" is not ORIGIN@INDEX, such as bank/eu/1@17", text);
    char *origin = arena_alloc_zero(arena, (size_t)(at - text) + 1, 1);
    if (origin == NULL)
        return err_no_memory(err, "a place");
    memcpy(origin, text, (size_t)(at - text));
    ret->origin = origin;
    return 0;
}

/* Calls visit for each item that the options ask for. */
typedef int visit_fn(void *context, const struct tally_late_item *item, struct err *err);

static int visit_items(struct tally_client *client, const struct reconcile_options *options, visit_fn *visit,
                       void *context, struct err *err)
{
    struct tally_late_page *page = NULL;
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        struct tally_late_page *before = page;
        page = NULL;
        rc = tally_late_list(client, &options->filter, before == NULL ? NULL : &before->next,
                             options->common.timeout_ms, &page, err);
        tally_late_page_free(before);
        for (size_t i = 0; rc == 0 && i < page->count; i++) {
            if (options->type == NULL || strcmp(options->type, page->items[i].type) == 0)
                rc = visit(context, &page->items[i], err);
        }
        more = rc == 0 && page->next.origin != NULL;
    }
    tally_late_page_free(page);
    return rc;
}

/* --- list --- */

static int list_one(void *context, const struct tally_late_item *item, struct err *err)
{
    const struct reconcile_options *options = context;
    if (options->common.json)
        return print_json(late_item_json(item), err);
    print_late_item(item);
    return 0;
}

static int list(struct tally_client *client, struct reconcile_options *options, struct err *err)
{
    struct tally_late_digest digest;
    int rc = visit_items(client, options, list_one, options, err);
    if (rc == 0)
        rc = tally_late_digest(client, options->common.timeout_ms, &digest, err);
    if (rc == 0 && !options->common.json)
        printf("%" PRIu64 " late events, overrides and duplicates in all, digest %.16s… at %s\n", digest.item_count,
               digest.digest, digest.position);
    return rc;
}

/* --- show --- */

/* The event that was asked for is marked. */
static int print_side(const char *title, const struct tally_shown_event *events, size_t count,
                      const struct tally_place *asked, bool json, struct err *err)
{
    int rc = 0;
    if (!json)
        printf("%s:\n", title);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct tally_recorded *event = &events[i].event;
        bool is_asked = event->index == asked->index && strcmp(event->origin, asked->origin) == 0;
        if (!json)
            printf("%s epoch %" PRIu64 ", ", is_asked ? ">" : " ", event->epoch);
        rc = print_event(event, events[i].state[0] == '\0' ? NULL : events[i].state, json, err);
    }
    return rc;
}

static json_t *row_json(const char *row)
{
    return row[0] == '\0' ? json_null() : json_loads(row, 0, NULL);
}

static json_t *shown_projection_json(const struct tally_shown_projection *projection)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < projection->row_count; i++) {
        const struct tally_shown_row *row = &projection->rows[i];
        (void)json_array_append_new(rows, json_pack("{s:o,s:o,s:o}", "table", json_cstring(row->table), "without",
                                                    row_json(row->without), "with", row_json(row->with)));
    }
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "projection", json_cstring(projection->name), "position",
                     json_cstring(projection->position), "error", json_cstring(projection->error), "changed",
                     json_number(projection->changed), "rows", rows);
}

static void print_row(const char *title, const char *row)
{
    printf("    %s ", title);
    print_string(row[0] == '\0' ? "(no such row)" : row);
    putchar('\n');
}

static void print_projection(const struct tally_shown_projection *projection)
{
    printf("projection ");
    print_string(projection->name);
    printf(" at ");
    print_string(projection->position[0] == '\0' ? "(start)" : projection->position);
    if (projection->error[0] != '\0') {
        printf(" cannot have it: ");
        print_string(projection->error);
    } else if (projection->changed == 0) {
        printf(" says the same without and with it");
    } else {
        printf(", without and with it (rows that differ: %" PRIu64 "):", projection->changed);
    }
    putchar('\n');
    for (size_t i = 0; i < projection->row_count; i++) {
        printf("  table ");
        print_string(projection->rows[i].table);
        putchar('\n');
        print_row("without", projection->rows[i].without);
        print_row("with   ", projection->rows[i].with);
    }
    if (projection->changed > projection->row_count)
        printf("  and %" PRIu64 " rows more\n", projection->changed - projection->row_count);
}

static int print_shown(const struct tally_late_shown *shown, bool json, struct err *err)
{
    const struct tally_place *asked = &shown->item.place;
    int rc = json ? print_json(late_item_json(&shown->item), err) : 0;
    if (!json)
        print_late_item(&shown->item);
    if (rc == 0)
        rc = print_side("came too late", shown->late, shown->late_count, asked, json, err);
    if (rc == 0)
        rc = print_side("counts, from where they part", shown->effective, shown->effective_count, asked, json, err);
    for (size_t i = 0; rc == 0 && i < shown->projection_count; i++) {
        if (json)
            rc = print_json(shown_projection_json(&shown->projections[i]), err);
        else
            print_projection(&shown->projections[i]);
    }
    if (rc == 0 && shown->cut_off)
        (void)fputs("there are more; tally read has all\n", stderr);
    return rc;
}

static int show(struct tally_client *client, const struct reconcile_options *options, const struct tally_place *place,
                struct err *err)
{
    struct tally_late_shown *shown = NULL;
    int rc = tally_late_show(client, place, true, options->common.timeout_ms, &shown, err);
    if (rc == 0)
        rc = print_shown(shown, options->common.json, err);
    tally_late_shown_free(shown);
    return rc;
}

/* --- Decisions --- */

struct gathering {
    struct arena arena;
    struct tally_place *places;
    size_t count;
};

static int gather_one(void *context, const struct tally_late_item *item, struct err *err)
{
    struct gathering *gathering = context;
    if (gathering->count == PLACES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d items; narrow them with --context, --partition or --type",
                       PLACES_MAX);
    char *origin = arena_copy(&gathering->arena, item->place.origin, strlen(item->place.origin) + 1);
    if (origin == NULL)
        return err_no_memory(err, "the items");
    gathering->places[gathering->count++] = (struct tally_place){.origin = origin, .index = item->place.index};
    return 0;
}

/* Everything that is open, if it is as much as the operator has seen. */
static int gather_all(struct tally_client *client, struct reconcile_options *options, struct gathering *gathering,
                      struct err *err)
{
    options->filter.state = "open";
    int rc = visit_items(client, options, gather_one, gathering, err);
    if (rc == 0 && gathering->count != options->expect_count)
        rc = err_set(err, ERR_MISMATCH,
                     "%zu open items are concerned, not %" PRIu64 "; nothing was decided. Look again: tally reconcile "
                     "list --state open",
                     gathering->count, options->expect_count);
    return rc;
}

static int gather(struct tally_client *client, struct reconcile_options *options, const struct arguments *arguments,
                  struct gathering *gathering, struct err *err)
{
    gathering->places = arena_alloc_zero(&gathering->arena, PLACES_MAX, sizeof(*gathering->places));
    if (gathering->places == NULL)
        return err_no_memory(err, "the items");
    if (options->all)
        return gather_all(client, options, gathering, err);
    int rc = 0;
    for (size_t i = 1; rc == 0 && i < arguments->count; i++) {
        rc = place_parse(arguments->items[i], &gathering->arena, &gathering->places[gathering->count], err);
        gathering->count += rc == 0;
    }
    return rc;
}

/* The event that compensates the one item; left out, the compensation stays owed. */
static int add_compensation(struct tally_client *client, const struct reconcile_options *options,
                            struct tally_settle *settle, struct tally_event *event, uint8_t *cause, struct err *err)
{
    struct tally_late_shown *shown = NULL;
    uint8_t random[10];
    if (options->stream == NULL)
        return 0;
    if (options->id != NULL && uuid_parse(options->id, strlen(options->id), event->id) != 0)
        return err_set(err, ERR_INVALID, "--id \"%.60s\" is not a UUID", options->id);
    if (options->id == NULL) {
        entropy_fill(random, sizeof(random));
        uuid_v7(clock_now().wall_us / 1000, random, event->id);
    }
    int rc = tally_late_show(client, &settle->places[0], false, options->common.timeout_ms, &shown, err);
    if (rc != 0)
        return rc;
    memcpy(cause, shown->item.event_id, TALLY_ID_SIZE);
    tally_late_shown_free(shown);
    event->type = options->type;
    event->content_type = options->payload == NULL ? "" : "application/json";
    event->payload =
        (struct tally_bytes){.data = options->payload, .size = options->payload == NULL ? 0 : strlen(options->payload)};
    event->causation_id = cause;
    settle->compensation = event;
    settle->compensation_stream = options->stream;
    return 0;
}

static int print_settled(const struct tally_settled *settled, const char *action, bool json, struct err *err)
{
    if (json)
        return print_json(json_pack("{s:s,s:o,s:o,s:o}", "settlement", action, "settled", json_number(settled->settled),
                                    "already", json_number(settled->already), "position",
                                    json_cstring(settled->position)),
                          err);
    if (settled->settled == 0 && settled->already == 0 && settled->position[0] != '\0')
        printf("%s: the event was appended", action); /* for what was owed */
    else
        printf("%s: %" PRIu64 " decided", action, settled->settled);
    if (settled->already > 0)
        printf(", %" PRIu64 " had been decided so before", settled->already);
    if (settled->position[0] != '\0') {
        printf(", at ");
        print_string(settled->position);
    }
    putchar('\n');
    return 0;
}

static int decide(struct tally_client *client, struct reconcile_options *options, const struct arguments *arguments,
                  struct err *err)
{
    const char *action = arguments->items[0];
    struct gathering gathering = {.count = 0};
    struct tally_settled settled = {.settled = 0};
    struct tally_event event = {.type = NULL};
    uint8_t cause[TALLY_ID_SIZE];
    arena_init(&gathering.arena, PLACES_MEMORY_MAX_BYTES);
    int rc = gather(client, options, arguments, &gathering, err);
    struct tally_settle settle = {.places = gathering.places,
                                  .place_count = gathering.count,
                                  .settlement = action,
                                  .actor = options->actor,
                                  .reason = options->reason};
    if (rc == 0)
        rc = add_compensation(client, options, &settle, &event, cause, err);
    if (rc == 0 && gathering.count > 0)
        rc = tally_settle(client, &settle, options->common.timeout_ms, &settled, NULL, err);
    if (rc == 0)
        rc = print_settled(&settled, action, options->common.json, err);
    arena_free(&gathering.arena);
    return rc;
}

/* --- report --- */

static int report(struct tally_client *client, const struct reconcile_options *options, struct err *err)
{
    struct tally_report *made = NULL;
    struct tally_report_request request = {.context = options->filter.context, .epoch = options->epoch};
    const struct report_subject subject = {.context = options->filter.context,
                                           .epoch = options->epoch,
                                           .from = options->from,
                                           .to = options->to,
                                           .server = server_address(options->common.server)};
    int rc = options->from == NULL ? 0 : utc_parse(options->from, &request.from_unix_ms, err);
    if (rc == 0 && options->to != NULL)
        rc = utc_parse(options->to, &request.to_unix_ms, err);
    if (rc == 0)
        rc = tally_report_get(client, &request, options->common.timeout_ms, &made, err);
    if (rc == 0)
        rc = print_report(made, &subject, options->common.json, err);
    if (rc == 0 && options->html != NULL)
        rc = write_report_html(options->html, made, &subject, err);
    tally_report_free(made);
    return rc;
}

/* --- The command --- */

static bool is_decision(const char *action)
{
    static const char *const decisions[] = {"accept", "drop", "reject", "compensate"};
    for (size_t i = 0; i < sizeof(decisions) / sizeof(decisions[0]); i++) {
        if (strcmp(decisions[i], action) == 0)
            return true;
    }
    return false;
}

/* What is done, as far as options are concerned. */
enum deed { DO_REPORT = 1, DO_LIST = 2, DO_SHOW = 4, DO_DECIDE_ITEMS = 8, DO_DECIDE_ALL = 16 };

static enum deed deed_of(const char *action, bool all)
{
    if (strcmp(action, "report") == 0)
        return DO_REPORT;
    if (strcmp(action, "list") == 0)
        return DO_LIST;
    if (strcmp(action, "show") == 0)
        return DO_SHOW;
    return all ? DO_DECIDE_ALL : DO_DECIDE_ITEMS;
}

/* An option that was given in vain: whoever narrows a decision must not get a wider one. NULL: there is none. */
static const char *option_in_vain(const struct reconcile_options *options, enum deed deed)
{
    const struct {
        const char *name;
        bool given;
        int used_by;
    } all[] = {
        {"context", options->filter.context != NULL, DO_REPORT | DO_LIST | DO_DECIDE_ALL},
        {"partition", options->filter.partition != NULL, DO_LIST | DO_DECIDE_ALL},
        {"state", options->filter.state != NULL, DO_LIST},
        {"kind", options->filter.kind != NULL, DO_LIST | DO_DECIDE_ALL},
        {"type", options->type != NULL, DO_LIST | DO_DECIDE_ALL | DO_DECIDE_ITEMS},
        {"all", options->all, DO_DECIDE_ALL},
        {"expect-count", options->expect_count != UINT64_MAX, DO_DECIDE_ALL},
        {"stream", options->stream != NULL, DO_DECIDE_ITEMS},
        {"payload", options->payload != NULL, DO_DECIDE_ITEMS},
        {"id", options->id != NULL, DO_DECIDE_ITEMS},
        {"epoch", options->epoch != 0, DO_REPORT},
        {"from", options->from != NULL, DO_REPORT},
        {"to", options->to != NULL, DO_REPORT},
        {"html", options->html != NULL, DO_REPORT},
        {"actor", options->actor != NULL, DO_DECIDE_ITEMS | DO_DECIDE_ALL},
        {"reason", options->reason != NULL, DO_DECIDE_ITEMS | DO_DECIDE_ALL},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].given && (all[i].used_by & (int)deed) == 0)
            return all[i].name;
    }
    return NULL;
}

static int check_decision(const struct command *command, const struct reconcile_options *options, const char *action,
                          size_t items)
{
    if (options->all ? items > 0 || options->expect_count == UINT64_MAX : items == 0)
        return usage_error(command, "%s needs items, or --all with --expect-count N: how many you expect", action);
    bool event = !options->all &&
                 (options->stream != NULL || options->type != NULL || options->payload != NULL || options->id != NULL);
    if (event && (strcmp(action, "compensate") != 0 || items != 1 || options->stream == NULL || options->type == NULL))
        return usage_error(command, "an event that compensates needs compensate, one item, --stream and --type");
    return EXIT_OK;
}

/* EXIT_OK, or what was said about the misuse. */
static int check_usage(const struct command *command, const struct reconcile_options *options,
                       const struct arguments *arguments)
{
    const char *action = arguments->items[0];
    size_t items = arguments->count - 1;
    enum deed deed = deed_of(action, options->all);
    if (deed >= DO_DECIDE_ITEMS && !is_decision(action))
        return usage_error(command, "there is no action \"%s\"", action);
    if (deed == DO_REPORT && (options->filter.context == NULL || items > 0))
        return usage_error(command, "report needs --context alone");
    if (deed == DO_LIST && items > 0)
        return usage_error(command, "list takes filters, no items");
    if (deed == DO_SHOW && items != 1)
        return usage_error(command, "show needs one ORIGIN@INDEX");
    const char *vain = option_in_vain(options, deed);
    if (vain != NULL)
        return usage_error(command, "%s%s does nothing about --%s", action,
                           deed == DO_DECIDE_ALL     ? " --all"
                           : deed == DO_DECIDE_ITEMS ? " without --all"
                                                     : "",
                           vain);
    return deed >= DO_DECIDE_ITEMS ? check_decision(command, options, action, items) : EXIT_OK;
}

static int act(struct tally_client *client, struct reconcile_options *options, const struct arguments *arguments,
               struct err *err)
{
    const char *action = arguments->items[0];
    struct arena arena;
    struct tally_place place = {.origin = NULL};
    if (strcmp(action, "report") == 0)
        return report(client, options, err);
    if (strcmp(action, "list") == 0)
        return list(client, options, err);
    if (is_decision(action))
        return decide(client, options, arguments, err);
    arena_init(&arena, PLACES_MEMORY_MAX_BYTES);
    int rc = place_parse(arguments->items[1], &arena, &place, err);
    if (rc == 0)
        rc = show(client, options, &place, err);
    arena_free(&arena);
    return rc;
}

static int run_reconcile(const struct command *command, int argc, char **argv)
{
    struct reconcile_options options = {.common = {.timeout_ms = COMMON_TIMEOUT_MS}, .expect_count = UINT64_MAX};
    const struct option table[] = {
        {"context", "NAME", OPTION_TEXT, &options.filter.context, "list, --all: only this context; report needs it"},
        {"partition", "NAME", OPTION_TEXT, &options.filter.partition, "list, --all: only this partition"},
        {"state", "STATE", OPTION_TEXT, &options.filter.state, "list: only this state, such as open"},
        {"kind", "KIND", OPTION_TEXT, &options.filter.kind, "only late, override or duplicate"},
        {"type", "TYPE", OPTION_TEXT, &options.type,
         "list, --all: only this event type; of the compensating event with --stream"},
        {"all", NULL, OPTION_FLAG, &options.all, "decide about every open item that passes the filters"},
        {"expect-count", "N", OPTION_NUMBER, &options.expect_count,
         "with --all: how many there are, or nothing is done"},
        {"stream", "NAME", OPTION_TEXT, &options.stream,
         "compensate: append the event that compensates to this stream"},
        {"payload", "JSON", OPTION_TEXT, &options.payload, "… its payload"},
        {"id", "UUID", OPTION_TEXT, &options.id, "… its id (default: a new one)"},
        {"epoch", "N", OPTION_NUMBER, &options.epoch, "report: the failover that began this epoch"},
        {"from", "TIME", OPTION_TEXT, &options.from, "report: accepted at or after, such as 2026-11-24T10:00:00Z"},
        {"to", "TIME", OPTION_TEXT, &options.to, "report: accepted before"},
        {"html", "FILE", OPTION_TEXT, &options.html, "report: also as one page, to be filed"},
        {"actor", "WHO", OPTION_TEXT, &options.actor, "who decides; stays in the log (default: operator)"},
        {"reason", "TEXT", OPTION_TEXT, &options.reason, "why; stays in the log"},
        OPTION_SERVER(options.common),
        OPTION_TIMEOUT(options.common),
        OPTION_JSON(options.common),
    };
    struct arguments arguments;
    struct tally_client *client = NULL;
    struct err err = {0};
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(table), argc, argv, 1, ARGUMENTS_MAX, &arguments, &exit_with))
        return exit_with;
    exit_with = check_usage(command, &options, &arguments);
    if (exit_with != EXIT_OK)
        return exit_with;
    int rc = connect_client(server_address(options.common.server), &client, &err);
    if (rc == 0)
        rc = act(client, &options, &arguments, &err);
    if (rc == 0)
        rc = output_flush(&err);
    tally_client_close(client);
    return rc == 0 ? EXIT_OK : fail(&err, options.common.json);
}

const struct command command_reconcile = {
    .name = "reconcile",
    .arguments = "report|list|show|accept|drop|reject|compensate [ORIGIN@INDEX …]",
    .summary = "events that a lost region brought back too late",
    .help =
        "What a region accepted after another had taken over comes back as late events. They have no effect until the\n"
        "home of their partition decides about them:\n"
        "  accept      append the same event again, as the stream's next\n"
        "  drop        it repeats an event that counts\n"
        "  reject      it shall have no effect\n"
        "  compensate  a compensating event is owed; --stream, --type and --payload append it together with the "
        "decision\n"
        "A duplicate (somebody repeated the command at the new home) needs no decision. Decisions are asked of the "
        "home,\n"
        "may be repeated, and stay in the log with --actor and --reason.\n\n"
        "Examples:\n"
        "  tally reconcile list --context bank --state open\n"
        "  tally reconcile show bank/eu/1@17\n"
        "  tally reconcile accept bank/eu/1@17 --reason 'the customer confirmed'\n"
        "  tally reconcile reject --all --expect-count 3 --context bank --type Ping\n"
        "  tally reconcile compensate bank/eu/1@18 --stream account-1 --type Refunded --payload '{\"amount\":5}'\n"
        "  tally reconcile report --context bank --epoch 2 --html failover.html",
    .connects = true,
    .run = run_reconcile,
};
