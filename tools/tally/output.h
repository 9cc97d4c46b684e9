/* What commands print: results on standard output, failures on standard error, and never a control character that came
 * from outside. */
#ifndef TALLY_OUTPUT_H
#define TALLY_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "options.h"
#include "tally/client.h"

/* EXIT_UNREACHABLE for ERR_UNAVAILABLE and ERR_TIMEOUT, EXIT_OK for 0, EXIT_FAILED for the rest. */
int exit_code(int rc);
/* Explains on standard error, as a line of JSON if so wished. Returns the exit code. */
int fail(const struct err *err, bool json);

/* Text from outside: bytes that are not printable UTF-8 become '?'. */
void print_text(struct bytes text);
void print_string(const char *text);

/* A JSON string; bytes that are not UTF-8 become '?'. NULL when memory runs out. */
json_t *json_text(struct bytes text);
json_t *json_cstring(const char *text);
json_t *json_number(uint64_t value); /* past 2^63 - 1 as a string */
/* Prints one line and releases the value. An absent value is ERR_NO_MEMORY. */
int print_json(json_t *value, struct err *err) MUST_USE;

/* "2026-11-24T10:00:00.000Z" */
enum { TIME_TEXT_MAX_BYTES = 40 };
void time_format(uint64_t unix_ms, char out[TIME_TEXT_MAX_BYTES]);

/* One event, a line for people or an object for machines. late_state: what became of an event that came too late; NULL
 * for one that counts, or when that is not known. */
int print_event(const struct tally_recorded *event, const char *late_state, bool json, struct err *err) MUST_USE;

/* ERR_IO when what was printed could not be written: a full disk must not look like success. */
int output_flush(struct err *err) MUST_USE;

#endif
