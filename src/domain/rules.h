/* What a context says about its homes: how many regions may write, what an isolated home does, who may name another,
 * and which regions may hold what its events say. Pure data and pure functions; part of the table of contexts, so that
 * every region holds the same. */
#ifndef DOMAIN_RULES_H
#define DOMAIN_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "crypto/sha256.h"

enum {
    RULES_PAYLOAD_REGIONS_MAX = 64,
    RULES_LEASE_MIN_MS = 500,
    RULES_LEASE_MAX_MS = 3600 * 1000,
};

enum topology {
    TOPOLOGY_HOME_AFFINITY,  /* each partition has a home of its own */
    TOPOLOGY_ACTIVE_PASSIVE, /* all partitions have one home, and move together */
    TOPOLOGY_MULTI_HOME,     /* as home-affinity; and event types that are commutative are accepted in any region */
};

/* What a home does that no peer answers. */
enum isolation {
    ISOLATION_ACCEPT, /* it goes on: what it accepts may come too late */
    ISOLATION_FENCE,  /* it accepts only as long as its lease lasts; nobody seizes before it must have ended */
};

enum failover_mode {
    FAILOVER_MANUAL,    /* an operator watches, decides and acts */
    FAILOVER_ASSISTED,  /* regions say when a home is lost and whether all is ready; an operator acts */
    FAILOVER_AUTOMATIC, /* as assisted; and whoever the consensus service lets act does (region/takeover.h) */
};

/* Strings are owned by whoever built the table of contexts and outlive it. */
struct context_rules {
    enum topology topology;
    enum isolation isolation;
    uint32_t lease_ms; /* of ISOLATION_FENCE; else 0 */
    enum failover_mode failover;
    size_t payload_region_count; /* 0: every region may hold payloads */
    const char *const *payload_regions;
};

/* "home-affinity", "active-passive", "multi-home"; "accept", "fence"; "manual", "assisted", "automatic", as the
 * configuration says it. The inverses: ERR_INVALID. */
const char *topology_name(enum topology topology);
int topology_parse(const char *name, enum topology *ret, struct err *err) MUST_USE;
const char *isolation_name(enum isolation isolation);
int isolation_parse(const char *name, enum isolation *ret, struct err *err) MUST_USE;
const char *failover_mode_name(enum failover_mode mode);
int failover_mode_parse(const char *name, enum failover_mode *ret, struct err *err) MUST_USE;

bool rules_region_holds_payloads(const struct context_rules *rules, struct bytes region);

/* A lease where one is needed and nowhere else, payload regions once each, within limits. ERR_INVALID, ERR_TOO_LARGE
 * naming the context. */
int rules_check(const struct context_rules *rules, const char *context, struct err *err) MUST_USE;
/* XORs what the rules say into *mixed, whatever the order of regions; nothing when they say nothing. */
void rules_mix(const struct context_rules *rules, const char *context, struct sha256 *sha, struct hash *mixed);

#endif
