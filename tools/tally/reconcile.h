/* What the files of `tally reconcile` share. */
#ifndef TALLY_RECONCILE_H
#define TALLY_RECONCILE_H

#include <jansson.h>

#include "base/err.h"
#include "tally/reconcile.h"

/* An item as an object, and as a line. */
json_t *late_item_json(const struct tally_late_item *item);
void print_late_item(const struct tally_late_item *item);

/* What a report is about, for its heading. */
struct report_subject {
    const char *context;
    uint64_t epoch; /* 0: all */
    const char *from;
    const char *to; /* NULL: no end */
    const char *server;
};

int print_report(const struct tally_report *report, const struct report_subject *subject, bool json,
                 struct err *err) MUST_USE;
/* Writes one page that needs nothing else: no script, no style sheet, no picture of elsewhere. */
int write_report_html(const char *path, const struct tally_report *report, const struct report_subject *subject,
                      struct err *err) MUST_USE;

/* "2026-11-24T10:00:00Z", with parts of a second if so wished, to Unix milliseconds. ERR_INVALID. */
int utc_parse(const char *text, uint64_t *ret_unix_ms, struct err *err) MUST_USE;

#endif
