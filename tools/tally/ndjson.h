/* One event as a JSON object: a line of `tally import`, an element of `tally append --batch`.
 *
 *   {"id":UUID, "context":TEXT, "partition":TEXT, "stream":TEXT, "type":TEXT,
 *    "payload":ANY | "payload_base64":TEXT, "content_type":TEXT, "metadata":OBJECT, "causation_id":UUID,
 * "correlation_id":UUID}
 *
 * The first five are required. A payload is kept as it stands, without white space between its parts; content_type is
 * "application/json" then, unless it says otherwise. Unknown and repeated names are refused, so that a slip of the pen
 * does not become an event without its payload. */
#ifndef TALLY_NDJSON_H
#define TALLY_NDJSON_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"
#include "tally/client.h"

enum { NDJSON_LINE_MAX_BYTES = 8 * 1024 * 1024 };

struct ndjson_event {
    const char *context;
    const char *partition;
    const char *stream;
    struct tally_event event;
    enum tally_expectation expected;
    uint64_t expected_version;
};

/* "any", "none", "exists" or a version. ERR_INVALID. */
int expectation_parse(const char *text, enum tally_expectation *ret, uint64_t *ret_version, struct err *err) MUST_USE;

/* Everything in *ret lives in the arena. allow_expected: also accept "expected", a text for expectation_parse or a
 * number. ERR_INVALID or ERR_TOO_LARGE saying what is wrong, ERR_NO_MEMORY. */
int ndjson_parse(struct bytes line, bool allow_expected, struct arena *arena, struct ndjson_event *ret,
                 struct err *err) MUST_USE;

#endif
