/* The policy of a context as `tally context` reads it from options, changes it and shows it. */
#ifndef TALLY_POLICY_H
#define TALLY_POLICY_H

#include "base/arena.h"
#include "options.h"
#include "output.h"
#include "tally/context.h"

/* Options that are not given: NULL, POLICY_UNSET, empty. */
#define POLICY_UNSET UINT64_MAX
struct policy_options {
    const char *default_home;
    struct option_values homes;
    const char *topology;
    const char *isolation;
    uint64_t lease_ms;
    const char *failover;
    struct option_values payload_regions;
    struct option_values types;
    uint64_t peers;
    const char *when_away;
    uint64_t recovery_events;
    uint64_t recovery_seconds;
    const char *recovery_then;
};

/* Whether any of them is given. */
bool policy_is_given(const struct policy_options *options);
/* What `before` (NULL: nothing yet) becomes with the options. *ret borrows from both and from the arena. ERR_INVALID:
 * an option that cannot be read; ERR_NO_MEMORY. */
int policy_change(const struct tally_context_policy *before, const char *name, const struct policy_options *options,
                  struct arena *arena, struct tally_context_policy *ret, struct err *err) MUST_USE;

/* One line of what a policy says: `key` is its name in JSON and in tallyd.yaml. value is "" when there is nothing to
 * say. */
struct policy_line {
    const char *key;
    const char *value;
};

/* All lines of a policy, always as many, in one order; NULL when memory runs out. Two policies differ where values do.
 */
enum { POLICY_LINES = 14 };
const struct policy_line *policy_lines(const struct tally_context_policy *policy, struct arena *arena);

#endif
