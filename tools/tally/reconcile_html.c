/* The report of a reconciliation as one page that can be filed: it loads nothing, and what came from outside is text in
 * it, never markup. */
#include <inttypes.h>

#include "base/buf.h"
#include "output.h"
#include "platform/clock.h"
#include "platform/disk.h"
#include "reconcile.h"

enum { PAGE_MAX_BYTES = 32 * 1024 * 1024 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Reconciliation report</title><style>\n"
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}\n"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}th,td{border:1px solid #999;padding:.2em "
    ".6em;text-align:left}\n"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}th{background:#eee}\n"
    "</style></head><body>\n<h1>Reconciliation report</h1>\n";

/* A page under construction; the first error stays. */
struct page {
    struct buf text;
    int rc;
};

static void put(struct page *page, const char *markup)
{
    if (page->rc == 0)
        page->rc = buf_append_string(&page->text, markup);
}

static void put_text(struct page *page, const char *text)
{
    for (const char *c = text; page->rc == 0 && *c != '\0'; c++) {
        if (*c == '&')
            put(page, "&amp;");
        else if (*c == '<')
            put(page, "&lt;");
        else if (*c == '>')
            put(page, "&gt;");
        else if (*c == '"')
            put(page, "&quot;");
        else
            page->rc = buf_append_byte(&page->text, (uint8_t)*c);
    }
}

static void cell(struct page *page, const char *text)
{
    put(page, "<td>");
    put_text(page, text);
    put(page, "</td>");
}

static void number(struct page *page, uint64_t value)
{
    if (page->rc == 0)
        page->rc = buf_append_format(&page->text, "<td class=\"n\">%" PRIu64 "</td>", value);
}

static void time_cell(struct page *page, uint64_t unix_ms)
{
    char text[TIME_TEXT_MAX_BYTES];
    time_format(unix_ms, text);
    cell(page, text);
}

/* heading NULL: a further table under the one before. columns are separated by '|'. */
static void begin(struct page *page, const char *heading, const char *columns)
{
    if (heading != NULL) {
        put(page, "<h2>");
        put_text(page, heading);
        put(page, "</h2>\n");
    }
    put(page, "<table><tr><th>");
    for (const char *c = columns; page->rc == 0 && *c != '\0'; c++) {
        if (*c == '|')
            put(page, "</th><th>");
        else
            page->rc = buf_append_byte(&page->text, (uint8_t)*c);
    }
    put(page, "</th></tr>\n");
}

static void end(struct page *page, bool more)
{
    put(page, "</table>\n");
    if (more)
        put(page, "<p>There are more than fit this report.</p>\n");
}

/* --- The five questions --- */

static void put_accepted(struct page *page, const struct tally_report *report)
{
    begin(page, "Which commands were accepted where", "Log|Epoch|Effective|Late|Overrides|First|Last");
    for (size_t i = 0; i < report->accepted_count; i++) {
        const struct tally_accepted_row *row = &report->accepted[i];
        put(page, "<tr>");
        cell(page, row->origin);
        number(page, row->epoch);
        number(page, row->effective);
        number(page, row->late);
        number(page, row->overrides);
        time_cell(page, row->first_unix_ms);
        time_cell(page, row->last_unix_ms);
        put(page, "</tr>\n");
    }
    end(page, false);
    begin(page, NULL, "Late events and overrides that are|Count");
    for (size_t i = 0; i < report->state_count; i++) {
        put(page, "<tr>");
        cell(page, report->states[i].state);
        number(page, report->states[i].count);
        put(page, "</tr>\n");
    }
    end(page, false);
}

static void put_published(struct page *page, const struct tally_report *report)
{
    begin(page, "Which events were published and consumed", "Log|Epoch|Events|Published");
    for (size_t i = 0; i < report->accepted_count; i++) {
        const struct tally_accepted_row *row = &report->accepted[i];
        put(page, "<tr>");
        cell(page, row->origin);
        number(page, row->epoch);
        number(page, row->effective + row->late + row->overrides);
        number(page, row->published);
        put(page, "</tr>\n");
    }
    end(page, false);
    begin(page, NULL, "Log|Entries|Signed|Published");
    for (size_t i = 0; i < report->log_count; i++) {
        put(page, "<tr>");
        cell(page, report->logs[i].origin);
        number(page, report->logs[i].size);
        number(page, report->logs[i].checkpoint_size);
        number(page, report->logs[i].published_size);
        put(page, "</tr>\n");
    }
    end(page, false);
}

static void put_projections(struct page *page, const struct tally_report *report)
{
    begin(page, "Which projections are stale", "Projection|State|Consumed up to|Entries behind|Stale");
    for (size_t i = 0; i < report->projection_count; i++) {
        const struct tally_report_projection *projection = &report->projections[i];
        put(page, "<tr>");
        cell(page, projection->name);
        cell(page, projection->state);
        cell(page, projection->position);
        number(page, projection->behind);
        cell(page, projection->stale ? "yes" : "no");
        put(page, "</tr>\n");
    }
    end(page, false);
}

static void put_homes(struct page *page, const struct tally_report *report)
{
    begin(page, "Who is authoritative for each partition", "Partition|Home|Epoch|Let go to");
    for (size_t i = 0; i < report->home_count; i++) {
        put(page, "<tr>");
        cell(page, report->homes[i].partition);
        cell(page, report->homes[i].region);
        number(page, report->homes[i].epoch);
        cell(page, report->homes[i].successor);
        put(page, "</tr>\n");
    }
    end(page, report->more_homes);
    begin(page, NULL, "Partition|Epoch|Begun by|Region|At|Resting on|Asked for by|Why");
    for (size_t i = 0; i < report->change_count; i++) {
        const struct tally_report_change *change = &report->changes[i];
        put(page, "<tr>");
        cell(page, change->partition);
        number(page, change->epoch);
        cell(page, change->kind);
        cell(page, change->region);
        time_cell(page, change->time_unix_ms);
        cell(page, change->basis);
        cell(page, change->actor);
        cell(page, change->reason);
        put(page, change->forced ? "<td>forced: readiness checks had failed</td></tr>\n" : "</tr>\n");
    }
    end(page, report->more_changes);
}

static void put_owed(struct page *page, const struct tally_report *report)
{
    begin(page, "Which compensations are owed", "Log|Entry|Stream|Version|Type|Epoch|Accepted at");
    for (size_t i = 0; i < report->owed_count; i++) {
        const struct tally_late_item *item = &report->owed[i];
        put(page, "<tr>");
        cell(page, item->place.origin);
        number(page, item->place.index);
        cell(page, item->stream);
        number(page, item->stream_version);
        cell(page, item->type);
        number(page, item->epoch);
        time_cell(page, item->time_unix_ms);
        put(page, "</tr>\n");
    }
    end(page, report->more_owed);
}

/* --- The page --- */

static void put_subject(struct page *page, const struct tally_report *report, const struct report_subject *subject)
{
    char now[TIME_TEXT_MAX_BYTES];
    time_format(clock_now().wall_us / 1000, now);
    put(page, "<p>Context <b>");
    put_text(page, subject->context);
    put(page, "</b>");
    if (subject->epoch != 0 && page->rc == 0)
        page->rc = buf_append_format(&page->text, ", epoch %" PRIu64 " and the one before it", subject->epoch);
    if (subject->from != NULL) {
        put(page, ", accepted from ");
        put_text(page, subject->from);
    }
    if (subject->to != NULL) {
        put(page, ", accepted before ");
        put_text(page, subject->to);
    }
    put(page, ".<br>As region at ");
    put_text(page, subject->server);
    put(page, " has it at position <code>");
    put_text(page, report->position);
    put(page, "</code>, made ");
    put_text(page, now);
    put(page, ".</p>\n");
}

int write_report_html(const char *path, const struct tally_report *report, const struct report_subject *subject,
                      struct err *err)
{
    struct page page = {.rc = 0};
    buf_init(&page.text, PAGE_MAX_BYTES);
    put(&page, head);
    put_subject(&page, report, subject);
    put_accepted(&page, report);
    put_published(&page, report);
    put_projections(&page, report);
    put_homes(&page, report);
    put_owed(&page, report);
    put(&page, "</body></html>\n");
    int rc = page.rc == 0 ? disk_replace_file(disk_posix(), path, buf_bytes(&page.text), 0, err)
                          : err_set(err, page.rc, "the page does not fit into %d bytes", PAGE_MAX_BYTES);
    buf_free(&page.text);
    return rc;
}
