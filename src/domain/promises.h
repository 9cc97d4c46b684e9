/* What a context promises about its events: on how many copies an append is answered, and how far the home may run
 * ahead of its copies. Pure data and pure functions; part of the table of contexts, so that every region holds the
 * same. */
#ifndef DOMAIN_PROMISES_H
#define DOMAIN_PROMISES_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/sha256.h"

enum {
    PROMISES_PEERS_MAX = 16,
    PROMISES_EVENTS_MAX = 1000 * 1000 * 1000,
    PROMISES_SECONDS_MAX = 365 * 24 * 3600,
};

/* What happens to an append when fewer peers answer than it needs copies. */
enum when_away {
    AWAY_REFUSE,  /* ERR_UNAVAILABLE, before anything is accepted */
    AWAY_DEGRADE, /* accepted on the copies that can be made, and the answer says so */
};

struct durability {
    uint32_t peers; /* that must have stored an append before it is answered; 0: none, durable at its home is enough */
    enum when_away when_away;
};

/* What happens to an append that would take the home past its bound. */
enum bound_action {
    BOUND_WARN,     /* accepted; alarm and status say so */
    BOUND_THROTTLE, /* ERR_BUSY, with a pause */
    BOUND_REFUSE,   /* ERR_UNAVAILABLE */
};

/* How much of a context may exist at its home alone. 0 in a field: no such bound. */
struct recovery_point {
    uint64_t events;
    uint64_t seconds;
    enum bound_action then;
};

struct promises {
    struct durability durability;
    struct recovery_point recovery_point;
};

/* "refuse", "degrade"; "warn", "throttle", "refuse", as the configuration says it. The inverses: ERR_INVALID. */
const char *when_away_name(enum when_away when_away);
int when_away_parse(const char *name, enum when_away *ret, struct err *err) MUST_USE;
const char *bound_action_name(enum bound_action action);
int bound_action_parse(const char *name, enum bound_action *ret, struct err *err) MUST_USE;

/* Numbers within their limits. ERR_INVALID naming the context. */
int promises_check(const struct promises *promises, const char *context, struct err *err) MUST_USE;
/* XORs what the promises says into *mixed; nothing when it says nothing. */
void promises_mix(const struct promises *promises, const char *context, struct sha256 *sha, struct hash *mixed);

#endif
