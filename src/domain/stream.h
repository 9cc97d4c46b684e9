/* The rules of one stream: expected versions. Pure. */
#ifndef DOMAIN_STREAM_H
#define DOMAIN_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum stream_expectation {
    STREAM_ANY,    /* append whatever is there */
    STREAM_NONE,   /* the stream must not exist */
    STREAM_EXISTS, /* the stream must exist */
    STREAM_AT,     /* its last event must have exactly this version */
};

struct stream_state {
    bool exists;
    uint64_t version; /* of the last event, from 0; meaningless unless exists */
};

/* ERR_VERSION_CONFLICT with a message that says expected and actual. `stream` is only for the message. */
int stream_decide(const struct stream_state *state, enum stream_expectation expectation, uint64_t expected_version,
                  const char *stream, struct err *err) MUST_USE;

/* "any", "none", "exists", or the version in decimal: for messages and details. out holds 24 bytes. */
void stream_expectation_text(enum stream_expectation expectation, uint64_t expected_version, char *out);

#endif
