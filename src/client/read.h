/* ReadResponse taken apart in place: one message may hold thousands of events, and none of them is copied. Private to
 * src/client. */
#ifndef CLIENT_READ_H
#define CLIENT_READ_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "tally/client.h"

struct read_batch {
    struct bytes rest; /* the message, from the next field on */
    struct bytes origin;
    struct bytes position;
    bool caught_up;
    struct bytes as_of; /* the answer to a demand, with the three below; empty: there is none in this message */
    struct bytes home;
    uint64_t staleness_ms;
    bool staleness_unknown;
};

/* Checks the whole message's shape and finds the fields that stand once. *ret borrows from message. ERR_CORRUPT. */
int read_batch_parse(struct bytes message, struct read_batch *ret, struct err *err) MUST_USE;
/* The next event, everything but its origin. ERR_END, ERR_CORRUPT, ERR_UNSUPPORTED (it was written by a newer version).
 */
int read_batch_next(struct read_batch *batch, struct tally_recorded *ret, struct err *err) MUST_USE;

/* One RecordedEvent, as it is stored. *ret borrows from it. Errors of read_batch_next. */
int read_recorded(struct bytes bytes, struct tally_recorded *ret, struct err *err) MUST_USE;

#endif
