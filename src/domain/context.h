/* Contexts: which region may accept an event of a partition, and what is done about events that came too late. Pure
 * data and pure functions.
 *
 * Every region of a cluster must hold the same table; the digest is exchanged when peers meet, and a difference is
 * refused. */
#ifndef DOMAIN_CONTEXT_H
#define DOMAIN_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"
#include "domain/promises.h"
#include "domain/rules.h"

enum { CONTEXTS_MAX = 256, CONTEXT_HOMES_MAX = 4096, CONTEXT_TYPES_MAX = 1024, CONTEXT_EPOCH_FIRST = 1 };

struct context_home {
    const char *partition;
    const char *region;
};

/* What the home does about an event of some type that came too late, and that nobody has repeated since. */
enum late_policy {
    LATE_MANUAL,         /* it waits for a person */
    LATE_ACCEPT,         /* it is appended again */
    LATE_DROP_DUPLICATE, /* events of this type only repeat what others say: it is dropped as a repetition */
    LATE_COMPENSATE,     /* it is owed a compensating event */
};

/* What a context says about events of one type. */
struct context_type {
    const char *type;
    enum late_policy late;
    bool override;    /* may be accepted away from home, as an emergency: the home settles it */
    bool commutative; /* effects commute: a multi-home context accepts it in any region */
};

/* Strings are owned by whoever built the table and outlive it. */
struct context {
    const char *name;
    const char *default_home; /* region */
    size_t home_count;
    const struct context_home *homes; /* partitions that live elsewhere */
    size_t type_count;
    const struct context_type *types; /* that are not LATE_MANUAL, home only */
    struct context_rules rules;
    struct promises promises;
};

struct context_table {
    size_t count;
    const struct context *contexts;
};

/* Who owns a partition, and since which epoch. */
struct authority {
    const char *region;
    uint64_t epoch;
};

/* ERR_NOT_FOUND when there is no such context: the message lists what to do. */
int context_authority(const struct context_table *table, struct bytes context, struct bytes partition,
                      struct authority *ret, struct err *err) MUST_USE;

/* Whether the context gives this partition a home of its own. */
bool context_has_home(const struct context_table *table, struct bytes context, struct bytes partition);

/* The context's policy, and its place in the table; NULL when there is no such context. */
const struct promises *context_promises(const struct context_table *table, struct bytes context, size_t *ret_number);

/* The partitions that the context gives homes: how many (0 for an unknown context), and each. */
size_t context_home_count(const struct context_table *table, struct bytes context);
struct bytes context_home_partition(const struct context_table *table, struct bytes context, size_t at);

/* NULL when there is no such context. */
const struct context *context_find(const struct context_table *table, struct bytes context);
/* What it says about the type; NULL: nothing. */
const struct context_type *context_type_find(const struct context *context, struct bytes type);

/* LATE_MANUAL for types that are not listed and contexts that do not exist. */
enum late_policy context_late_policy(const struct context_table *table, struct bytes context, struct bytes type);
/* "manual", "accept", "drop-duplicate", "compensate", as the configuration says it. The inverse: ERR_INVALID. */
const char *late_policy_name(enum late_policy policy);
int late_policy_parse(const char *name, enum late_policy *ret, struct err *err) MUST_USE;

/* Names valid and unique, homes and types unique per context, topology kept, within limits. ERR_INVALID, ERR_TOO_LARGE
 * naming the context. */
int context_table_check(const struct context_table *table, struct err *err) MUST_USE;
/* The same for equal tables, whatever the order of contexts, homes, types and regions. */
struct hash context_table_digest(const struct context_table *table, struct sha256 *sha);

#endif
