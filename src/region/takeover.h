/* Automatic failover: who may seize, as an existing consensus service decides it (etcd), and never a protocol of our
 * own. Pure data: answers in, orders out. The server carries orders out with a thread (server/takeover.c).
 *
 * What the service holds, for a cluster:
 *   known/<region>            the region has registered before
 *   alive/<region>            held by the region's lease: gone when the service has not heard of it for so long
 *   claims/<home>/<context>   which survivor may seize what the lost home had in the context. Its create revision is
 *                             the fencing token, which the seizure names
 *
 * A region registers (known, alive) and renews its lease. When, for it, the home of partitions of an `automatic`
 * context is lost (assist.c) and would pass a failover's checks, it CLAIMS: one transaction that is carried out only if
 * the home is known and not alive, nobody has the claim, and this region is alive itself. Granted, it asks its own
 * region for the failover that an operator would ask for, unforced: evidence and checks are the same, and what fails
 * them is not seized.
 *
 *   1. One loss, one seizer: a claim is never given away while its owner may have seized. It is withdrawn only when
 *      every attempt under it was refused, for a refusal appends nothing; and it is removed by the home itself, in the
 *      transaction in which it registers again: what follows is another loss.
 *   2. No seizure while the home renews: a seizure is decided at most TAKEOVER_DECIDE_US after the service was asked,
 *      and said that the home is not alive and that the claim stands (`until_us`, which the region enforces). A home
 *      that comes back within that time is as one that comes back while an operator fails over.
 *   3. A region that was out of touch knows nothing: it waits for a lease's time after it is back, so that everybody
 *      else can be back too, and acts on nothing that it saw before. The service that lost its data knows nobody, and
 *      who is not known is not lost.
 *   4. Nothing here stops anybody from accepting. A home that loses the service and is alive goes on: its peers hear
 * it, so the check `silent` holds them back. One that loses the service and its peers at once is seized from; what
 *      stops it is `isolation: fence`, by leases among peers (lease.h), whose end the check `lease` waits for. So the
 *      service being wrong, or lying, can name a wrong seizer, but in a fenced context cannot make two homes accept.
 *
 * While the service is out of reach, every context that is `automatic` is as one that is `assisted`. */
#ifndef REGION_TAKEOVER_H
#define REGION_TAKEOVER_H

#include "region/region.h"

enum {
    TAKEOVER_REGIONS_MAX = REGION_PEERS_MAX + 1,
    TAKEOVER_CLAIMS_MAX = 512,
    TAKEOVER_TRIES_MAX = 8, /* refusals before a claim is withdrawn */
    TAKEOVER_LOOK_US = 1000 * 1000,
    TAKEOVER_RETRY_US = 500 * 1000,
    TAKEOVER_TRY_US = 1000 * 1000,   /* between two attempts under one claim */
    TAKEOVER_REST_US = 10 * 1000000, /* after a claim was withdrawn, before the next */
    TAKEOVER_DECIDE_US = 5 * 1000000,
};

struct takeover_region {
    char name[64];
    bool known;
    uint64_t lease; /* that holds its key; 0: it is not alive */
};

struct takeover_claim {
    char home[64];
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char by[64];
    uint64_t revision; /* that created it */
};

/* What the service holds, as of one revision. */
struct takeover_view {
    uint64_t revision;
    size_t region_count;
    struct takeover_region regions[TAKEOVER_REGIONS_MAX];
    size_t claim_count;
    struct takeover_claim claims[TAKEOVER_CLAIMS_MAX];
};

enum takeover_order_type {
    TAKEOVER_PAUSE,    /* nothing: come again at until_us, or sooner */
    TAKEOVER_GRANT,    /* a new lease of the configured time */
    TAKEOVER_KEEP,     /* renew `lease` */
    TAKEOVER_REGISTER, /* in one transaction: known, alive under `lease`, and no claims on this region */
    TAKEOVER_LOOK,     /* everything, by a read that is up to date */
    TAKEOVER_CLAIM,    /* `context` of `home`, if this region is alive under `lease`, and as said above */
    TAKEOVER_SEIZE, /* ask the region for the failover of `context` from `home`, named by `revision`; not decided after
                     * until_us */
    TAKEOVER_WITHDRAW, /* the claim, if it is the one that `revision` created */
};

struct takeover_order {
    enum takeover_order_type type;
    uint64_t lease;
    uint64_t revision;
    uint64_t until_us; /* monotonic */
    const char *home;  /* borrowed until the next step, as context */
    const char *context;
};

/* What came of an order. code 0: it was carried out. */
struct takeover_answer {
    int code;
    struct err err;
    uint64_t sent_us;                 /* monotonic, from before it was carried out */
    uint64_t lease;                   /* GRANT */
    uint64_t lease_us;                /* GRANT and KEEP: it lasts for so long; KEEP, 0: it has ended */
    const struct takeover_view *view; /* LOOK; borrowed */
    bool granted;                     /* CLAIM */
    uint64_t revision;                /* CLAIM, granted */
    uint64_t remaining;               /* SEIZE: partitions that are left for the next */
    const char *check;                /* SEIZE, refused: the check that failed, NULL if it is none; static */
};

enum takeover_state {
    TAKEOVER_OFF,      /* no service is configured */
    TAKEOVER_ARMING,   /* in touch for less than a lease, or not registered */
    TAKEOVER_ARMED,    /* what is lost will be claimed */
    TAKEOVER_DEGRADED, /* out of touch: as `assisted` */
};
/* "off", "arming", "armed", "degraded". */
const char *takeover_state_name(enum takeover_state state);

/* Why the first loss is not seized, or on its way to be. */
enum takeover_stage {
    TAKEOVER_NOTHING,   /* nothing is lost */
    TAKEOVER_UNARMED,   /* it is not armed */
    TAKEOVER_UNKNOWN,   /* the home never registered */
    TAKEOVER_RENEWS,    /* the home's lease has not ended: it may be cut off from here, and alive */
    TAKEOVER_NOT_READY, /* a check fails */
    TAKEOVER_OTHERS,    /* another survivor has the claim */
    TAKEOVER_CLAIMED,   /* this region has the claim */
    TAKEOVER_REFUSED,   /* this region had the claim, and its failover was refused */
};

struct takeover_status {
    enum takeover_state state;
    enum takeover_stage stage;
    uint64_t revision;  /* of the last look */
    uint64_t takeovers; /* since the start */
    uint64_t refusals;
    uint64_t contact_us; /* monotonic; 0: never */
    uint64_t lease_us;
    char detail[TALLY_ERROR_MESSAGE_MAX_BYTES]; /* why it is not armed, or "" */
    char loss[TALLY_ERROR_MESSAGE_MAX_BYTES];   /* about the first loss, or "" */
    /* What tells one loss from the next, for alarms. */
    char context[ENTRY_NAME_MAX_BYTES + 1];
    char home[64];
    const char *check; /* static, or NULL */
};

struct takeover {
    char region[64];
    uint64_t asked_lease_us; /* as configured */
    uint64_t started_us;
    struct takeover_order order; /* that is being carried out */

    uint64_t lease; /* 0: none */
    uint64_t lease_us;
    bool registered;
    uint64_t keep_at_us;
    uint64_t look_at_us;
    uint64_t retry_at_us;
    uint64_t contact_us; /* when an order was sent that was answered; 0: never */
    uint64_t since_us;   /* since when there was no gap of a lease in that */
    struct err error;    /* of the last order that was not carried out */

    struct takeover_view view;
    uint64_t looked_us; /* 0: nothing of it may be acted on */

    /* One claim at a time. */
    bool claimed;
    char home[64];
    char context[ENTRY_NAME_MAX_BYTES + 1];
    uint64_t revision;
    uint64_t verified_us; /* the service said that it stands, and the home is not alive */
    bool may_have_seized;
    bool withdraw;
    unsigned tries;
    uint64_t try_at_us;
    struct err refusal; /* of the last attempt, code 0: there was none */
    const char *refused_by;
    char refused_home[64];
    char refused_context[ENTRY_NAME_MAX_BYTES + 1];
    uint64_t rest_until_us;

    uint64_t takeovers;
    uint64_t refusals;
};

/* lease_us: what is asked for. */
void takeover_init(struct takeover *takeover, const char *region, uint64_t lease_us, uint64_t now_us);
/* answer: to the order of the last step; NULL at the first. losses: what region_losses says now. Fills *ret with what
 * to do next. */
void takeover_step(struct takeover *takeover, uint64_t now_us, const struct takeover_answer *answer,
                   const struct region_loss *losses, size_t loss_count, struct takeover_order *ret);
void takeover_status(const struct takeover *takeover, uint64_t now_us, const struct region_loss *losses,
                     size_t loss_count, struct takeover_status *ret);

#endif
