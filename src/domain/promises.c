/* Policies of contexts: names, limits and their part of the digest of contexts. */
#include "domain/promises.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

static const char *const away_names[] = {[AWAY_REFUSE] = "refuse", [AWAY_DEGRADE] = "degrade"};
static const char *const action_names[] = {
    [BOUND_WARN] = "warn", [BOUND_THROTTLE] = "throttle", [BOUND_REFUSE] = "refuse"};

enum {
    AWAY_COUNT = sizeof(away_names) / sizeof(away_names[0]),
    ACTION_COUNT = sizeof(action_names) / sizeof(action_names[0]),
};

/* The place of a name; `count` when it is not there. */
static size_t find_name(const char *const *names, size_t count, const char *name)
{
    size_t at = 0;
    while (at < count && strcmp(names[at], name) != 0)
        at++;
    return at;
}

const char *when_away_name(enum when_away when_away)
{
    PRE((size_t)when_away < AWAY_COUNT);
    return away_names[when_away];
}

int when_away_parse(const char *name, enum when_away *ret, struct err *err)
{
    size_t at = find_name(away_names, AWAY_COUNT, name);
    if (at == AWAY_COUNT)
        return err_set(err, ERR_INVALID, "when_away: \"%.64s\" is neither refuse nor degrade", name);
    *ret = (enum when_away)at;
    return 0;
}

const char *bound_action_name(enum bound_action action)
{
    PRE((size_t)action < ACTION_COUNT);
    return action_names[action];
}

int bound_action_parse(const char *name, enum bound_action *ret, struct err *err)
{
    size_t at = find_name(action_names, ACTION_COUNT, name);
    if (at == ACTION_COUNT)
        return err_set(err, ERR_INVALID, "then: \"%.64s\" is none of warn, throttle, refuse", name);
    *ret = (enum bound_action)at;
    return 0;
}

int promises_check(const struct promises *promises, const char *context, struct err *err)
{
    const struct recovery_point *bound = &promises->recovery_point;
    if (promises->durability.peers > PROMISES_PEERS_MAX)
        return err_set(err, ERR_INVALID, "context %s: durability asks for %u peers, the limit is %d", context,
                       (unsigned)promises->durability.peers, PROMISES_PEERS_MAX);
    if (promises->durability.peers == 0 && promises->durability.when_away != AWAY_REFUSE)
        return err_set(err, ERR_INVALID, "context %s: durability says when_away, but needs no peers: set peers too",
                       context);
    if (bound->events > PROMISES_EVENTS_MAX || bound->seconds > PROMISES_SECONDS_MAX)
        return err_set(err, ERR_INVALID, "context %s: recovery_point allows at most %d events and %d seconds", context,
                       PROMISES_EVENTS_MAX, PROMISES_SECONDS_MAX);
    if (bound->events == 0 && bound->seconds == 0 && bound->then != BOUND_WARN)
        return err_set(err, ERR_INVALID, "context %s: recovery_point says then, but no bound: set events or seconds",
                       context);
    return 0;
}

void promises_mix(const struct promises *promises, const char *context, struct sha256 *sha, struct hash *mixed)
{
    uint64_t numbers[] = {promises->durability.peers, promises->durability.when_away, promises->recovery_point.events,
                          promises->recovery_point.seconds, promises->recovery_point.then};
    uint8_t encoded[sizeof(numbers)];
    bool says_something = false;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        put_u64_le(encoded + 8 * i, numbers[i]);
        says_something = says_something || numbers[i] != 0;
    }
    if (!says_something)
        return;
    const struct bytes parts[] = {BYTES_LITERAL("tallystick-promises\0"), bytes_of(context, strlen(context) + 1),
                                  bytes_of(encoded, sizeof(encoded))};
    struct hash hash = sha256_parts(sha, parts, 3);
    for (size_t i = 0; i < HASH_SIZE; i++)
        mixed->bytes[i] ^= hash.bytes[i];
}
