/* What an expected version means, decided in one place for the sequencer and for whoever explains a refusal. */
#include "domain/stream.h"

#include <stdio.h>

enum { EXPECTATION_TEXT_BYTES = 24 };

void stream_expectation_text(enum stream_expectation expectation, uint64_t expected_version, char *out)
{
    switch (expectation) {
    case STREAM_ANY:
        snprintf(out, EXPECTATION_TEXT_BYTES, "any");
        return;
    case STREAM_NONE:
        snprintf(out, EXPECTATION_TEXT_BYTES, "none");
        return;
    case STREAM_EXISTS:
        snprintf(out, EXPECTATION_TEXT_BYTES, "exists");
        return;
    case STREAM_AT:
        snprintf(out, EXPECTATION_TEXT_BYTES, "%llu", (unsigned long long)expected_version);
        return;
    }
}

int stream_decide(const struct stream_state *state, enum stream_expectation expectation, uint64_t expected_version,
                  const char *stream, struct err *err)
{
    bool met = expectation == STREAM_ANY || (expectation == STREAM_NONE && !state->exists) ||
               (expectation == STREAM_EXISTS && state->exists) ||
               (expectation == STREAM_AT && state->exists && state->version == expected_version);
    if (met)
        return 0;
    char expected[EXPECTATION_TEXT_BYTES];
    char actual[EXPECTATION_TEXT_BYTES];
    stream_expectation_text(expectation, expected_version, expected);
    stream_expectation_text(state->exists ? STREAM_AT : STREAM_NONE, state->version, actual);
    return err_set(err, ERR_VERSION_CONFLICT,
                   "stream %.100s: expected version %s, actual %s; read the stream again and decide anew", stream,
                   expected, actual);
}
