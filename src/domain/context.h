/* Contexts: which region may accept an event of a partition, and what is done about events that came too late. Pure
 * data and pure functions.
 *
 * A context comes from the configuration, or from a definition that was made while the system ran
 * (domain/definitions.h). What the configuration says is the same in every region of a cluster: its digest is exchanged
 * when peers meet, and a difference is refused. Definitions are control events, so they are the same by themselves.
 *
 * A table that follows definitions has `live`: places that are filled and replaced by one thread while others read. A
 * struct context never changes once it is in a place, and lives as long as the table; a reader that has found one sees
 * one version of it, whole. */
#ifndef DOMAIN_CONTEXT_H
#define DOMAIN_CONTEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/time.h"
#include "crypto/sha256.h"
#include "domain/promises.h"
#include "domain/rules.h"

enum {
    CONTEXTS_MAX = 256,        /* that an operator may make, those of the configuration and the system's included */
    CONTEXT_PLACES_MAX = 1024, /* names that a table can know, those whose creation came too late included */
    CONTEXT_HOMES_MAX = 4096,
    CONTEXT_TYPES_MAX = 1024,
    CONTEXT_EPOCH_FIRST = 1,
};

/* Definitions of contexts are made at the home of this one. */
#define CONTEXT_SYSTEM "$system"

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
    bool commutative; /* effects commute: any region accepts it (multi-home only) */
};

/* The entry that made a version of a context. */
struct context_source {
    char region[64]; /* of its log */
    uint64_t incarnation;
    uint64_t index;
    hlc time;
    const char *actor;
    const char *reason;
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
    /* 0 and NULL: as the configuration has it. */
    uint64_t changed;                     /* so many times since it was created: see context_version */
    uint32_t least_peers;                 /* see context_least_peers */
    const struct context_source *source;  /* of this version … */
    const struct context_source *created; /* … and of its first */
};

/* Places 0 to count - 1; a place may be empty, and keeps its context's name for ever. `known` has what the first
 * creation says that was heard of, whether it counts or not: NULL for contexts of the configuration. */
struct context_places {
    atomic_size_t count;
    _Atomic(const struct context *) at[CONTEXT_PLACES_MAX];
    _Atomic(const struct context *) known[CONTEXT_PLACES_MAX];
};

struct context_table {
    size_t count; /* of the configuration */
    const struct context *contexts;
    const struct context_places *live; /* NULL: there are no others */
};

/* The contexts as they are now: those of the configuration first, in its order. A place, once taken, stays its
 * context's. NULL: there is no context in this place now. Any thread. */
size_t context_count(const struct context_table *table);
const struct context *context_at(const struct context_table *table, size_t place);

/* The context in this place, or what it was to be: entries of it may be in the logs. NULL: neither. */
const struct context *context_known_at(const struct context_table *table, size_t place);
/* The same by name. */
const struct context *context_known(const struct context_table *table, struct bytes context);

/* From 1. */
uint64_t context_version(const struct context *context);
/* The smallest durability that it ever had, those of 0 aside: what entries were promised that may be in the logs. 0:
 * none were. */
uint32_t context_least_peers(const struct context *context);

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

/* The context's promises, and its place in the table; NULL when there is no such context. */
const struct promises *context_promises(const struct context_table *table, struct bytes context, size_t *ret_number);

/* The partitions that the context gives homes: how many (0 for an unknown context), and each. */
size_t context_home_count(const struct context_table *table, struct bytes context);
struct bytes context_home_partition(const struct context_table *table, struct bytes context, size_t at);

/* NULL when there is no such context. */
const struct context *context_find(const struct context_table *table, struct bytes context);
/* What it says about the type; NULL: nothing. */
const struct context_type *context_type_find(const struct context *context, struct bytes type);

/* Whether any region accepts events of the type, home or not: the context is multi-home, and the type commutative.
 * false for NULL. */
bool context_accepts_anywhere(const struct context *context, struct bytes type);
/* Whether `a` lets some type be accepted anywhere that `b` does not. Either may be NULL: it lets none. */
bool context_frees_more(const struct context *a, const struct context *b);

/* LATE_MANUAL for types that are not listed and contexts that do not exist. */
enum late_policy context_late_policy(const struct context_table *table, struct bytes context, struct bytes type);
/* "manual", "accept", "drop-duplicate", "compensate", as the configuration says it. The inverse: ERR_INVALID. */
const char *late_policy_name(enum late_policy policy);
int late_policy_parse(const char *name, enum late_policy *ret, struct err *err) MUST_USE;

/* Whether one context makes sense by itself: names valid, homes and types unique, topology kept, within limits.
 * ERR_INVALID, ERR_TOO_LARGE naming the context. */
int context_check(const struct context *context, struct err *err) MUST_USE;
/* What only the cluster can tell: the context names none but these regions, and as many can hold copies as it needs.
 * ERR_INVALID naming the context. */
int context_check_cluster(const struct context *context, const char *const *regions, size_t region_count,
                          struct err *err) MUST_USE;
/* The same as context_check for all contexts of the configuration, and their names unique. */
int context_table_check(const struct context_table *table, struct err *err) MUST_USE;
/* Of what the configuration says. The same for equal tables, whatever the order of contexts, homes, types and regions.
 */
struct hash context_table_digest(const struct context_table *table, struct sha256 *sha);

#endif
