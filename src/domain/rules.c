/* Rules of contexts about homes: names, limits and their part of the digest of contexts. */
#include "domain/rules.h"

#include <string.h>

#include "base/assert.h"
#include "entry/entry.h"

static const char *const topology_names[] = {
    [TOPOLOGY_HOME_AFFINITY] = "home-affinity",
    [TOPOLOGY_ACTIVE_PASSIVE] = "active-passive",
    [TOPOLOGY_MULTI_HOME] = "multi-home",
};
static const char *const isolation_names[] = {[ISOLATION_ACCEPT] = "accept", [ISOLATION_FENCE] = "fence"};
static const char *const mode_names[] = {
    [FAILOVER_MANUAL] = "manual", [FAILOVER_ASSISTED] = "assisted", [FAILOVER_AUTOMATIC] = "automatic"};

enum {
    TOPOLOGY_COUNT = sizeof(topology_names) / sizeof(topology_names[0]),
    ISOLATION_COUNT = sizeof(isolation_names) / sizeof(isolation_names[0]),
    MODE_COUNT = sizeof(mode_names) / sizeof(mode_names[0]),
};

/* The place of a name; `count` when it is not there. */
static size_t find_name(const char *const *names, size_t count, const char *name)
{
    size_t at = 0;
    while (at < count && strcmp(names[at], name) != 0)
        at++;
    return at;
}

const char *topology_name(enum topology topology)
{
    PRE((size_t)topology < TOPOLOGY_COUNT);
    return topology_names[topology];
}

int topology_parse(const char *name, enum topology *ret, struct err *err)
{
    size_t at = find_name(topology_names, TOPOLOGY_COUNT, name);
    if (at == TOPOLOGY_COUNT)
        return err_set(err, ERR_INVALID, "topology: \"%.64s\" is none of home-affinity, active-passive, multi-home",
                       name);
    *ret = (enum topology)at;
    return 0;
}

const char *isolation_name(enum isolation isolation)
{
    PRE((size_t)isolation < ISOLATION_COUNT);
    return isolation_names[isolation];
}

int isolation_parse(const char *name, enum isolation *ret, struct err *err)
{
    size_t at = find_name(isolation_names, ISOLATION_COUNT, name);
    if (at == ISOLATION_COUNT)
        return err_set(err, ERR_INVALID, "isolation: \"%.64s\" is neither accept nor fence", name);
    *ret = (enum isolation)at;
    return 0;
}

const char *failover_mode_name(enum failover_mode mode)
{
    PRE((size_t)mode < MODE_COUNT);
    return mode_names[mode];
}

int failover_mode_parse(const char *name, enum failover_mode *ret, struct err *err)
{
    size_t at = find_name(mode_names, MODE_COUNT, name);
    if (at == MODE_COUNT)
        return err_set(err, ERR_INVALID, "failover: \"%.64s\" is none of manual, assisted, automatic", name);
    *ret = (enum failover_mode)at;
    return 0;
}

bool rules_region_holds_payloads(const struct context_rules *rules, struct bytes region)
{
    for (size_t i = 0; i < rules->payload_region_count; i++) {
        if (bytes_equal(bytes_of_string(rules->payload_regions[i]), region))
            return true;
    }
    return rules->payload_region_count == 0;
}

static int check_payload_regions(const struct context_rules *rules, const char *context, struct err *err)
{
    if (rules->payload_region_count > RULES_PAYLOAD_REGIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "context %s: %zu payload_regions, the limit is %d", context,
                       rules->payload_region_count, RULES_PAYLOAD_REGIONS_MAX);
    for (size_t i = 0; i < rules->payload_region_count; i++) {
        int code = entry_check_name(bytes_of_string(rules->payload_regions[i]), ENTRY_NAME_MAX_BYTES, "region", err);
        for (size_t j = 0; code == 0 && j < i; j++) {
            if (strcmp(rules->payload_regions[i], rules->payload_regions[j]) == 0)
                code = err_set(err, ERR_INVALID, "context %s: payload_regions names %s twice", context,
                               rules->payload_regions[i]);
        }
        if (code != 0)
            return code;
    }
    return 0;
}

int rules_check(const struct context_rules *rules, const char *context, struct err *err)
{
    if (rules->isolation == ISOLATION_ACCEPT && rules->lease_ms != 0)
        return err_set(err, ERR_INVALID, "context %s: a lease is of use only with isolation: fence", context);
    if (rules->isolation == ISOLATION_FENCE &&
        (rules->lease_ms < RULES_LEASE_MIN_MS || rules->lease_ms > RULES_LEASE_MAX_MS))
        return err_set(err, ERR_INVALID, "context %s: isolation: fence needs lease_ms from %d to %d", context,
                       RULES_LEASE_MIN_MS, RULES_LEASE_MAX_MS);
    return check_payload_regions(rules, context, err);
}

static void mix_part(struct hash *mixed, struct sha256 *sha, struct bytes kind, const char *context, struct bytes value)
{
    const struct bytes parts[] = {kind, bytes_of(context, strlen(context) + 1), value};
    struct hash hash = sha256_parts(sha, parts, 3);
    for (size_t i = 0; i < HASH_SIZE; i++)
        mixed->bytes[i] ^= hash.bytes[i];
}

void rules_mix(const struct context_rules *rules, const char *context, struct sha256 *sha, struct hash *mixed)
{
    const uint64_t numbers[] = {rules->topology, rules->isolation, rules->lease_ms, rules->failover};
    uint8_t encoded[sizeof(numbers)];
    bool says_something = false;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        put_u64_le(encoded + 8 * i, numbers[i]);
        says_something = says_something || numbers[i] != 0;
    }
    if (says_something)
        mix_part(mixed, sha, BYTES_LITERAL("tallystick-rules\0"), context, bytes_of(encoded, sizeof(encoded)));
    for (size_t i = 0; i < rules->payload_region_count; i++)
        mix_part(mixed, sha, BYTES_LITERAL("tallystick-payload-region\0"), context,
                 bytes_of_string(rules->payload_regions[i]));
}
