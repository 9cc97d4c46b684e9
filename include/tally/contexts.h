/* The C client's view of contexts: which there are, and defining them while the system runs. As client.h in everything
 * else. */
#ifndef TALLY_CONTEXTS_H
#define TALLY_CONTEXTS_H

#include "tally/client.h"

struct tally_partition_home {
    const char *partition;
    const char *region;
};

struct tally_event_type {
    const char *type;
    const char *settle; /* "manual", "accept", "drop-duplicate", "compensate": what becomes of late ones */
    bool override;      /* may be accepted away from home */
    bool commutative;   /* effects commute */
};

/* A policy. When one is given, a NULL text stands for the first of those that are possible. */
struct tally_context_policy {
    const char *name;
    const char *default_home;
    size_t home_count;
    const struct tally_partition_home *homes; /* of epoch 1; tally_homes_get has those of now */
    const char *topology;                     /* "home-affinity", "active-passive", "multi-home" */
    const char *isolation;                    /* "accept", "fence" */
    uint32_t lease_ms;                        /* with "fence" */
    const char *failover;                     /* "manual", "assisted", "automatic" */
    size_t payload_region_count;              /* 0: every region may hold payloads */
    const char *const *payload_regions;
    size_t type_count;
    const struct tally_event_type *types;
    uint32_t durability_peers;
    const char *when_away;    /* "refuse", "degrade" */
    uint64_t recovery_events; /* 0: no bound */
    uint64_t recovery_seconds;
    const char *recovery_then; /* "warn", "throttle", "refuse" */
};

struct tally_context {
    struct tally_context_policy policy;
    uint64_t version;           /* from 1 */
    struct tally_place defined; /* the entry that says it; none: the configuration does */
    uint64_t time_unix_ms;      /* of that entry, like actor and reason */
    const char *actor;
    const char *reason;
};

struct tally_contexts {
    size_t count;
    const struct tally_context *items;
};

/* The contexts that the region's index knows, without homes and event types. *ret: tally_contexts_free. */
int tally_context_list(struct tally_client *client, uint64_t timeout_ms, struct tally_contexts **ret, struct err *err);
/* One of them, whole: a single item. ERR_NOT_FOUND. */
int tally_context_show(struct tally_client *client, const char *name, uint64_t timeout_ms, struct tally_contexts **ret,
                       struct err *err);
void tally_contexts_free(struct tally_contexts *contexts);

struct tally_define {
    const struct tally_context_policy *policy; /* all of it */
    uint64_t expected_version;                 /* in force; 0: there is no such context, and this creates it */
    const char *actor;                         /* NULL: "operator" */
    const char *reason;
    bool dry_run; /* only ask whether it would be done */
};

struct tally_defined {
    uint64_t version;   /* in force now; with dry_run: it would be */
    bool already;       /* it was so before, and nothing changed */
    char position[256]; /* a read that demands it sees the definition; cut off when longer */
};

/* Creates or changes a context. Asked of the home of the context "$system": ERR_WRONG_HOME (*ret_refusal, which may be
 * NULL, names it). ERR_EXISTS, ERR_NOT_FOUND, ERR_VERSION_CONFLICT (expected_version is not in force), ERR_INVALID (it
 * makes no sense, in itself or in this cluster), ERR_UNSUPPORTED (it would break a promise), ERR_TOO_LARGE. */
int tally_context_define(struct tally_client *client, const struct tally_define *define, uint64_t timeout_ms,
                         struct tally_defined *ret, struct tally_refusal *ret_refusal, struct err *err);

#endif
