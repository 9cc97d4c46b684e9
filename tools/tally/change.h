/* What handover and failover share: options, repeating a change until nothing remains, and many partitions in groups.
 *
 * Partitions that a file names (--partitions-from) are changed CHANGE_GROUP at a time, each group as one command of
 * which everything happens or nothing, with a line of progress behind each. Those that have another home than the one
 * they are to leave are left out beforehand, so after a failure the same command is given again and goes on. */
#ifndef TALLY_CHANGE_H
#define TALLY_CHANGE_H

#include "base/buf.h"
#include "options.h"
#include "tally/client.h"

enum {
    CHANGE_GROUP = 500,         /* partitions of one command: well below what one block of a log holds */
    CHANGE_NAMES_MAX = 1048576, /* of one file: as many as a cluster has with homes of their own */
};

/* The partitions of a file. Zero-initialised. */
struct change_names {
    const char **items; /* in the order of the file, without those that are left out */
    size_t count;
    size_t read_count; /* lines with a name */
    size_t skip_count; /* of these: those whose home is another one already */
    struct buf text;   /* what items point to */
};

struct change_options {
    struct common common;
    struct option_values partitions;
    const char *partitions_from; /* NULL: none */
    struct change_names names;   /* read from there */
    const char *region;
    const char *actor;
    const char *reason;
    bool force;
    bool leaves;  /* region is the one that partitions leave, not the one they go to */
    bool dry_run; /* failover only */
};

#define OPTION_PARTITION(change)                                                                                       \
    {                                                                                                                  \
        "partition", "NAME", OPTION_TEXTS, &(change).partitions, "only this one; may be given again (default: all)"    \
    }
#define OPTION_PARTITIONS_FROM(change)                                                                                 \
    {                                                                                                                  \
        "partitions-from", "FILE", OPTION_TEXT, &(change).partitions_from,                                             \
            "only those that FILE names, one a line; -: standard input"                                                \
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

/* One command for these partitions, repeated until nothing of it remains; adds to *changed. */
typedef int change_group_fn(struct tally_client *client, const struct tally_change *change, const void *context,
                            uint64_t *changed, struct err *err);

/* The named partitions group by group, or, if no file named any, all as one command. Says on standard error after each
 * group how far it is, done_word in front ("seized"), and after a failure what was done and how to go on. */
int change_groups(struct tally_client *client, const struct tally_change *change, const struct change_options *options,
                  const char *done_word, change_group_fn *group, const void *context, uint64_t *changed,
                  struct err *err);

/* Does it, and prints what came of it. */
typedef int change_fn(struct tally_client *client, const struct tally_change *change,
                      const struct change_options *options, struct err *err);

/* A whole command: parses (the first option names the region, and is required), connects, carries out. Returns the exit
 * code. */
int change_run(const struct command *command, struct change_options *change, const struct option *options,
               size_t option_count, int argc, char **argv, change_fn *carry_out);

#endif
