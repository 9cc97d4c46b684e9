/* What a definition may say about a context that exists: what would break a promise is refused, with the reason.
 *
 * The rule behind the table: regions hear of a definition at different times, and what was accepted before it stays as
 * it was accepted. So nothing may be taken away that a region which has not heard yet goes on relying on, or that
 * entries in the logs rely on.
 *
 *   change                             | why it is refused                                    | what to do instead
 *   -----------------------------------|------------------------------------------------------|-----------------------
 *   another default_home, other homes  | homes of epoch 1 decide which entries are late       | tally handover
 *   a region leaves payload_regions    | it may hold payloads: nothing takes them back        | another context
 *     (the first list leaves out the   |                                                      |
 *     regions that it does not name)   |                                                      |
 *   a region joins payload_regions     | who has heard sends it payloads of older entries,    | another context; or, in
 *                                      | too; one that has not heard refuses them, and the    | tallyd.yaml, with all
 *                                      | definition may be behind them in the same log        | regions stopped
 *   to active-passive, with partitions | they go their own way: "*" moves without them        | stay home-affinity
 *     that have homes or changes of    |                                                      |
 *     their own                        |                                                      |
 *   from multi-home; commutative is    | events are accepted in any region without asking:    | another context, or
 *     taken off a type                 | they would come to be late                           | a type of another name
 *   another lease_ms, while it fences  | who counts the shorter one would seize under one     | isolation accept first,
 *                                      | who still counts the longer                          | which gives that up
 *
 * Allowed, because what is in the logs counts as before, and a region that has not heard yet only goes on with what the
 * version before promised and let it do: active-passive to home-affinity or multi-home, home-affinity to multi-home;
 * any durability, recovery point and failover mode; accept to fence and back; settlement and override of types. A
 * durability that grows makes failover need fewer copies: it goes on counting with the smallest one that the context
 * ever had (context_least_peers).
 *
 * A type that becomes commutative makes projections that have applied events of it rebuild themselves once
 * (projection/standing.h).
 *
 * Pure. What only the cluster can tell (its regions, how many peers) is region/contexts.c's to ask. */
#ifndef DOMAIN_REDEFINE_H
#define DOMAIN_REDEFINE_H

#include "domain/context.h"

/* What is known about the context where the definition is decided. */
struct redefine_facts {
    bool partitions_apart;      /* some partition has changes of owner of its own */
    size_t region_count;        /* of the cluster … */
    const char *const *regions; /* … all of them */
};

/* Whether `after`, which context_check finds right, may follow `before`, under the same name. ERR_UNSUPPORTED with the
 * reason and what to do. */
int redefine_check(const struct context *before, const struct context *after, const struct redefine_facts *facts,
                   struct err *err) MUST_USE;
/* Its rows about payload_regions alone: for one that is created again. */
int redefine_check_residency(const struct context *before, const struct context *after,
                             const struct redefine_facts *facts, struct err *err) MUST_USE;
/* That no region leaves them, which logs of any age must keep to. */
int redefine_check_payload_regions(const struct context *before, const struct context *after,
                                   const struct redefine_facts *facts, struct err *err) MUST_USE;

#endif
