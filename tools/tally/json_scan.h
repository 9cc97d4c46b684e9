/* Pieces of JSON text, as they stand. A parsed and printed number may have other digits than the one that was read (0.1
 * becomes 0.10000000000000001), and a ledger must not do that to anybody's amounts: so payloads are cut out of the
 * text, not printed again.
 *
 * json_scan_valid decides what is JSON (RFC 8259, through jansson); the others expect text that it has accepted. */
#ifndef TALLY_JSON_SCAN_H
#define TALLY_JSON_SCAN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

bool json_scan_valid(struct bytes text);
/* Appends the text without white space between its parts. */
int json_scan_compact(struct bytes text, struct buf *out) MUST_USE;
/* The value of a member of an object; false when it has none of that name (names written with escapes are not found).
 */
bool json_scan_member(struct bytes object, const char *name, struct bytes *ret);
/* The elements of an array one after the other: start with *rest the array; false at its end. */
bool json_scan_element(struct bytes *rest, struct bytes *ret);

#endif
