/* Leases: a context with `isolation: fence` is accepted for only by a home that knows, at that moment, that nobody else
 * accepts for it. Private to src/region. One thread. Rule 10 of the design.
 *
 * Of the n regions of the cluster each is a granter, and the home needs grants of more than half of them
 * (lease_needed), its own among them if it counts. It asks with every hello. A grant says two things: that it was
 * given, and which changes of homes the granter had obeyed when it gave it. The home counts a grant for a partition
 *   - for `lease_ms` from before it asked, on its own clock;
 *   - only if it has obeyed itself, in every log, what the granter had obeyed; and
 *   - only if the granter had obeyed the change that made it the home of this partition.
 * So at that moment the granter, too, held it for the home.
 *
 * A granter obeys a change that takes a partition from a region without that region's consent. It may have granted
 * that region a moment before. So until that grant must have ended, `lease_ms` from after it was given, stretched by
 * LEASE_DRIFT_PPM, it tells the new home that it has not obeyed the change yet: a barrier.
 *
 * Why two regions never accept for one partition at once: let Y and Z count grants for it at some time. The two sets
 * of granters have a region g in common, whose homes are a fold of what it has obeyed: it held the partition for Y
 * when it granted Y, and for Z when it granted Z, say in this order. When it obeyed the change to Z, either Y had let
 * go, or the barrier rose; and every grant to Y after that one Y may not count before it has obeyed the change itself.
 * So Y had stopped before g's grant to Z counted.
 *
 * What this asks of clocks: that two monotonic clocks, while both run, differ in speed by no more than two times
 * LEASE_DRIFT_PPM. Quartz is off by less than 200 ppm, and the kernel slews by 500 at most; 20,000 leaves room for a
 * virtual machine whose clock is being corrected. A clock that stands still while the rest of the world goes on (a
 * virtual machine that is stopped and resumed with its clocks) is outside of this; a stopped process is not.
 *
 * What a granter forgets. After a start it counts as if it had granted everybody just then, and as if every change
 * that it finds obeyed were new. A region that came back without its disk does not know what it had obeyed: it grants
 * nothing until it has obeyed what enough others have (lease_witnesses). Whether that is done is not kept either: one
 * that is started again before it is, and has some entries back by then, takes itself for whole. It may then grant a
 * home that does not know of its loss a lease, which a change that only the lost disk had obeyed should have kept it
 * from: what that home accepts under it comes late. Starts with a whole disk are not concerned.
 *
 * A seizure needs no lease, and two at once are as safe as one. But what the old home accepts after the seizure's basis
 * is late, so a seizure that is not forced first asks the others: so many that the old home cannot have more than half
 * (lease_witnesses) must say that their grants to it have ended, and promise to give none for as long as a lease lasts,
 * so that they have seen the seizure before. A forced seizure without that, or without enough regions within reach to
 * grant the new home a lease, begins an epoch that is `unfenced`: its home accepts without a lease until another epoch
 * begins. That is for when the operator knows what regions cannot: that the others are down. */
#ifndef REGION_LEASE_H
#define REGION_LEASE_H

#include "domain/authority.h"
#include "region/region.h"

enum { LEASE_DRIFT_PPM = 20000 };

/* What one peer granted, and what it had obeyed then. */
struct lease_grant {
    bool given;
    uint64_t asked_us;
    uint64_t obeyed[REGION_LOGS_MAX]; /* by this region's numbers of logs */
};

struct leases {
    uint64_t shortest_us; /* of all contexts that are fenced; 0: none is, and nothing here is used */
    uint64_t longest_us;
    bool began; /* the first step was made: times below are set */
    /* Held. */
    struct lease_grant counted[REGION_PEERS_MAX]; /* the newest whose conditions are met here … */
    struct lease_grant coming[REGION_PEERS_MAX];  /* … and one whose conditions are not met yet */
    /* Granted. */
    uint64_t granted_us[REGION_PEERS_MAX];
    uint64_t barred_until_us[REGION_PEERS_MAX]; /* promised to a region that is about to seize from it */
    uint64_t obeyed_end[REGION_LOGS_MAX];       /* past the last change of homes of a log that was obeyed */
    uint64_t barrier[REGION_LOGS_MAX];          /* changes of this log from here on are not told as obeyed … */
    uint64_t barrier_until_us[REGION_LOGS_MAX]; /* … until then */
    bool amnesia;                               /* what was obeyed before is not known … */
    bool taught[REGION_PEERS_MAX];              /* … and this peer's knowledge is here since */
};

/* A region's time until which others wait that count a lease of so long from now. */
uint64_t lease_stretched_us(uint64_t lease_us);

void lease_init(struct region *region);
/* After contexts changed: which leases there are now. */
void lease_know_contexts(struct region *region);
/* After homes were loaded and before the first step: what was obeyed before the start. */
void lease_load(struct region *region);
/* At the first step. */
void lease_begin(struct region *region);
/* The own log had to be pulled back: more may be lost than that. */
void lease_forgot(struct region *region);

/* How many of the regions must grant, and how many must not so that nobody has a lease. */
size_t lease_needed(const struct region *region);
size_t lease_witnesses(const struct region *region);

/* How often peers are asked: the interval of hellos, or a part of the shortest lease. */
uint64_t lease_hello_interval_us(const struct region *region);
/* A peer's answer to a hello came in. */
void lease_heard(struct region *region, const struct region_event *event);
/* The peer has stored what made this region a home: it is asked at once, not in its turn. */
void lease_stored(struct region *region, size_t peer, uint64_t before, uint64_t now);
/* At each step: grants whose conditions are met by now. */
void lease_follow(struct region *region);
/* A change of homes, which begins an epoch, was put to the table. `before`: the home until then; its texts may be gone,
 * `region_before` is the region. */
void lease_obeyed(struct region *region, uint32_t log, const struct authority_event *event,
                  const struct authority_now *before, const char *region_before, bool let_go_to_it);

/* Whether this region, which is the home by `now`, may accept for the context now: 0, or ERR_UNAVAILABLE that names
 * who does not grant. */
int lease_check(const struct region *region, const struct context *context, const struct authority_now *now,
                struct err *err) MUST_USE;
/* The same for a context whose homes have not moved, and how much longer; *ret_granters counts this region. */
bool lease_held(const struct region *region, const struct context *context, uint64_t *ret_left_us,
                size_t *ret_granters);
/* How long the grants that this region gave a peer may still be counted for a lease of so long; 0: they have ended. */
uint64_t lease_given_left_us(const struct region *region, size_t peer, uint64_t lease_us);
void lease_status(const struct region *region, size_t at, struct region_context_status *ret);
/* At the end of each step: alarms for leases that are lost; at is the place of the context. */
void lease_watch(struct region *region, size_t at, struct region_update *update);
uint64_t lease_deadline_us(const struct region *region);

/* The context's lease; 0: it is not fenced. */
static inline uint64_t lease_of(const struct context *context)
{
    return context->rules.isolation == ISOLATION_FENCE ? (uint64_t)context->rules.lease_ms * 1000 : 0;
}

#endif
