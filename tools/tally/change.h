/* What handover and failover share: options, and repeating a change until nothing remains. */
#ifndef TALLY_CHANGE_H
#define TALLY_CHANGE_H

#include "options.h"
#include "tally/client.h"

struct change_options {
    struct common common;
    struct option_values partitions;
    const char *region;
    const char *actor;
    const char *reason;
    bool force;
};

#define OPTION_PARTITION(change)                                                                                       \
    {                                                                                                                  \
        "partition", "NAME", OPTION_TEXTS, &(change).partitions, "only this one; may be given again (default: all)"    \
    }
#define OPTION_ACTOR(change)                                                                                           \
    {                                                                                                                  \
        "actor", "WHO", OPTION_TEXT, &(change).actor, "who asks for it; stays in the log (default: operator)"          \
    }
#define OPTION_REASON(change)                                                                                          \
    {                                                                                                                  \
        "reason", "TEXT", OPTION_TEXT, &(change).reason, "why; stays in the log"                                       \
    }
#define OPTION_FORCE(change)                                                                                           \
    {                                                                                                                  \
        "force", NULL, OPTION_FLAG, &(change).force, "go on although a readiness check fails; needs --reason"          \
    }

/* The change that the options ask for; borrows from them. */
struct tally_change change_of(const struct change_options *options, const char *context);

#endif
