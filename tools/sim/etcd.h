/* The simulated consensus service that automatic failover asks (region/takeover.h): what etcd does with the requests
 * of outside/etcd.h. Keys under leases, one revision for everything, transactions that are all or nothing. It has a
 * clock of its own, and after a restart every lease lasts for its whole time again, as after an election of etcd's.
 *
 * Beside what it answers it keeps what only the oracles look at: since when a region's key has been there, and of each
 * claim that it ever gave whose it is and on which home. */
#ifndef SIM_ETCD_H
#define SIM_ETCD_H

#include "region/takeover.h"
#include "sim/sim.h"

enum { ETCD_LEASES = 8192, ETCD_CLAIMS = 4096 };

/* An order on its way: nothing in it is borrowed. Regions are numbers. */
struct etcd_call {
    enum takeover_order_type type;
    size_t by;
    uint64_t lease;
    uint64_t revision;
    size_t home; /* of a claim */
    uint64_t number;
    struct takeover_answer answer;
};

struct etcd_region {
    bool known;
    uint64_t lease;    /* 0: its key is not there */
    size_t claimed_by; /* SIM_NODES_MAX: nobody */
    uint64_t claim;    /* the revision that made it */
    uint64_t alive_since_us;
};

struct etcd_claim {
    bool granted;
    size_t by;
    size_t home;
    bool seized; /* … by what was decided under it */
};

struct etcd {
    struct world *world;
    uint64_t lease_us;
    int64_t drift_ppm;
    uint64_t revision;
    uint64_t lease_count;
    uint64_t lease_ends_us[ETCD_LEASES]; /* by the world's clock; 0: revoked, or never granted */
    struct etcd_region regions[SIM_NODES_MAX];
    struct etcd_claim claims[ETCD_CLAIMS]; /* by revision */
    bool down;
};

void etcd_init(struct etcd *etcd, struct world *world, uint64_t lease_us);
/* Carries out what arrives; a view is put where call->answer.view points. */
void etcd_serve(struct etcd *etcd, struct etcd_call *call, struct takeover_view *view);
/* It is up again. */
void etcd_restart(struct etcd *etcd);
/* Its data is gone: it is a new one. */
void etcd_lose(struct etcd *etcd);
/* Whether the region's key is there now. */
bool etcd_is_alive(struct etcd *etcd, size_t region);

#endif
