/* The report of a reconciliation, for people and for machines: five questions and their figures. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "output.h"
#include "reconcile.h"

/* --- Times --- */

int utc_parse(const char *text, uint64_t *ret_unix_ms, struct err *err)
{
    struct tm parts = {0};
    uint64_t fraction_ms = 0;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest != NULL && *rest == '.') {
        uint64_t unit = 100;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
            fraction_ms += unit * (uint64_t)(*rest - '0');
    }
    time_t seconds = rest == NULL ? -1 : timegm(&parts);
    if (rest == NULL || strcmp(rest, "Z") != 0 || seconds < 0)
        return err_set(err, ERR_INVALID, "\"%.60s\" is not a time in UTC, such as 2026-11-24T10:00:00Z", text);
    *ret_unix_ms = (uint64_t)seconds * 1000 + fraction_ms;
    return 0;
}

/* --- For machines --- */

/* The array with the value; NULL when memory ran out for either, which the whole then lacks. */
static json_t *with(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) == 0)
        return array;
    json_decref(array);
    return NULL;
}

static json_t *time_json(uint64_t unix_ms)
{
    char time[TIME_TEXT_MAX_BYTES];
    time_format(unix_ms, time);
    return json_string(time);
}

static json_t *accepted_json(const struct tally_report *report)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < report->accepted_count; i++) {
        const struct tally_accepted_row *row = &report->accepted[i];
        rows = with(rows, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "origin", json_cstring(row->origin), "epoch",
                                    json_number(row->epoch), "effective", json_number(row->effective), "late",
                                    json_number(row->late), "overrides", json_number(row->overrides), "published",
                                    json_number(row->published), "first", time_json(row->first_unix_ms), "last",
                                    time_json(row->last_unix_ms)));
    }
    return rows;
}

static json_t *logs_json(const struct tally_report *report)
{
    json_t *logs = json_array();
    for (size_t i = 0; i < report->log_count; i++) {
        const struct tally_report_log *log = &report->logs[i];
        logs = with(logs,
                    json_pack("{s:o,s:o,s:o,s:o,s:o}", "origin", json_cstring(log->origin), "size",
                              json_number(log->size), "indexed_size", json_number(log->indexed_size), "checkpoint_size",
                              json_number(log->checkpoint_size), "published_size", json_number(log->published_size)));
    }
    return logs;
}

static json_t *projections_json(const struct tally_report *report)
{
    json_t *projections = json_array();
    for (size_t i = 0; i < report->projection_count; i++) {
        const struct tally_report_projection *from = &report->projections[i];
        projections = with(projections, json_pack("{s:o,s:o,s:o,s:o,s:b}", "name", json_cstring(from->name), "state",
                                                  json_cstring(from->state), "position", json_cstring(from->position),
                                                  "behind", json_number(from->behind), "stale", from->stale));
    }
    return projections;
}

static json_t *homes_json(const struct tally_report *report)
{
    json_t *homes = json_array();
    for (size_t i = 0; i < report->home_count; i++) {
        const struct tally_home_status *home = &report->homes[i];
        homes = with(homes, json_pack("{s:o,s:o,s:o,s:b,s:o}", "partition", json_cstring(home->partition), "region",
                                      json_cstring(home->region), "epoch", json_number(home->epoch), "released",
                                      home->released, "successor", json_cstring(home->successor)));
    }
    return homes;
}

static json_t *changes_json(const struct tally_report *report)
{
    json_t *changes = json_array();
    for (size_t i = 0; i < report->change_count; i++) {
        const struct tally_report_change *change = &report->changes[i];
        changes = with(changes,
                       json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "partition", json_cstring(change->partition),
                                 "epoch", json_number(change->epoch), "kind", json_cstring(change->kind), "region",
                                 json_cstring(change->region), "time", time_json(change->time_unix_ms), "basis",
                                 json_cstring(change->basis), "actor", json_cstring(change->actor), "reason",
                                 json_cstring(change->reason), "forced", change->forced));
    }
    return changes;
}

static json_t *states_json(const struct tally_report *report)
{
    json_t *states = json_object();
    for (size_t i = 0; i < report->state_count; i++)
        (void)json_object_set_new(states, report->states[i].state, json_number(report->states[i].count));
    return states;
}

static json_t *owed_json(const struct tally_report *report)
{
    json_t *owed = json_array();
    for (size_t i = 0; i < report->owed_count; i++)
        owed = with(owed, late_item_json(&report->owed[i]));
    return owed;
}

static json_t *report_json(const struct tally_report *report, const struct report_subject *subject)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o,s:b,s:o,s:o,s:b}", "context", json_cstring(subject->context),
                     "epoch", json_number(subject->epoch), "position", json_cstring(report->position), "accepted",
                     accepted_json(report), "logs", logs_json(report), "projections", projections_json(report), "homes",
                     homes_json(report), "more_homes", report->more_homes, "changes", changes_json(report),
                     "more_changes", report->more_changes, "states", states_json(report), "owed", owed_json(report),
                     "more_owed", report->more_owed);
}

/* --- For people --- */

static void print_accepted(const struct tally_report *report)
{
    puts("Which commands were accepted where:");
    for (size_t i = 0; i < report->accepted_count; i++) {
        const struct tally_accepted_row *row = &report->accepted[i];
        char first[TIME_TEXT_MAX_BYTES];
        char last[TIME_TEXT_MAX_BYTES];
        time_format(row->first_unix_ms, first);
        time_format(row->last_unix_ms, last);
        printf("  ");
        print_string(row->origin);
        printf(" under epoch %" PRIu64 ": %" PRIu64 " effective, %" PRIu64 " late, %" PRIu64
               " overrides, from %s to %s\n",
               row->epoch, row->effective, row->late, row->overrides, first, last);
    }
    for (size_t i = 0; i < report->state_count; i++) {
        if (report->states[i].count > 0)
            printf("  late events and overrides, %s: %" PRIu64 "\n", report->states[i].state, report->states[i].count);
    }
}

static void print_published(const struct tally_report *report)
{
    puts("Which events were published and consumed:");
    for (size_t i = 0; i < report->accepted_count; i++) {
        const struct tally_accepted_row *row = &report->accepted[i];
        printf("  ");
        print_string(row->origin);
        printf(" under epoch %" PRIu64 ": %" PRIu64 " of %" PRIu64 " published\n", row->epoch, row->published,
               row->effective + row->late + row->overrides);
    }
    for (size_t i = 0; i < report->log_count; i++) {
        const struct tally_report_log *log = &report->logs[i];
        printf("  log ");
        print_string(log->origin);
        printf(": %" PRIu64 " entries, %" PRIu64 " signed, %" PRIu64 " published\n", log->size, log->checkpoint_size,
               log->published_size);
    }
    for (size_t i = 0; i < report->projection_count; i++) {
        printf("  projection ");
        print_string(report->projections[i].name);
        printf(" consumed up to ");
        print_string(report->projections[i].position);
        putchar('\n');
    }
}

static void print_stale(const struct tally_report *report)
{
    size_t stale = 0;
    puts("Which projections are stale:");
    for (size_t i = 0; i < report->projection_count; i++) {
        const struct tally_report_projection *projection = &report->projections[i];
        if (!projection->stale)
            continue;
        stale++;
        printf("  ");
        print_string(projection->name);
        printf(": ");
        print_string(projection->state);
        printf(", %" PRIu64 " entries behind\n", projection->behind);
    }
    if (stale == 0)
        puts("  none");
}

static void print_why(const struct tally_report_change *change)
{
    if (change->actor[0] != '\0') {
        printf(", asked for by ");
        print_string(change->actor);
    }
    if (change->reason[0] != '\0') {
        printf(": ");
        print_string(change->reason);
    }
    if (change->forced)
        printf(" (FORCED: readiness checks had failed)");
}

static void print_homes(const struct tally_report *report)
{
    puts("Who is authoritative for each partition:");
    for (size_t i = 0; i < report->home_count; i++) {
        const struct tally_home_status *home = &report->homes[i];
        printf("  ");
        print_string(home->partition);
        printf(": ");
        print_string(home->region);
        printf(", epoch %" PRIu64 "%s\n", home->epoch, home->released ? ", let go" : "");
    }
    if (report->more_homes)
        puts("  and more: tally homes has all");
    for (size_t i = 0; i < report->change_count; i++) {
        const struct tally_report_change *change = &report->changes[i];
        char time[TIME_TEXT_MAX_BYTES];
        time_format(change->time_unix_ms, time);
        printf("  epoch %" PRIu64 " of ", change->epoch);
        print_string(change->partition);
        printf(" was ");
        print_string(change->kind);
        printf(" by ");
        print_string(change->region);
        printf(" at %s, resting on ", time);
        print_string(change->basis[0] == '\0' ? "nothing" : change->basis);
        print_why(change);
        putchar('\n');
    }
}

static void print_owed(const struct tally_report *report)
{
    puts("Which compensations are owed:");
    for (size_t i = 0; i < report->owed_count; i++) {
        printf("  ");
        print_late_item(&report->owed[i]);
    }
    if (report->owed_count == 0)
        puts("  none");
    if (report->more_owed)
        puts("  and more: tally reconcile list --state 'compensation owed'");
}

int print_report(const struct tally_report *report, const struct report_subject *subject, bool json, struct err *err)
{
    if (json)
        return print_json(report_json(report, subject), err);
    printf("Context ");
    print_string(subject->context);
    if (subject->epoch != 0)
        printf(", epoch %" PRIu64 " and the one before it", subject->epoch);
    printf(", at ");
    print_string(report->position);
    putchar('\n');
    print_accepted(report);
    print_published(report);
    print_stale(report);
    print_homes(report);
    print_owed(report);
    return 0;
}
