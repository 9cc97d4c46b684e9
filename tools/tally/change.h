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
    bool dry_run; /* failover only */
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

/* How long a change is asked for again while the region is busy. Zero-initialised but for until_us. */
struct change_patience {
    uint64_t until_us; /* on clock_now().mono_us */
    bool told;
};

struct change_patience change_patience(uint64_t timeout_ms);

/* Whether to ask again: the region said ERR_BUSY, so what it waits for ends by itself, and there is time left. Pauses,
 * and says so on standard error once. */
bool change_again(struct change_patience *patience, int code, const struct err *err);

/* Does it, and prints what came of it. */
typedef int change_fn(struct tally_client *client, const struct tally_change *change,
                      const struct change_options *options, struct err *err);

/* A whole command: parses (the first option names the region, and is required), connects, carries out. Returns the exit
 * code. */
int change_run(const struct command *command, struct change_options *change, const struct option *options,
               size_t option_count, int argc, char **argv, change_fn *carry_out);

#endif
