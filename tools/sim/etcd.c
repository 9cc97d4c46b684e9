/* The simulated consensus service (etcd.h). */
#include "sim/etcd.h"

#include "base/assert.h"

void etcd_init(struct etcd *etcd, struct world *world, uint64_t lease_us)
{
    etcd->world = world;
    etcd->lease_us = lease_us;
    etcd->drift_ppm = (int64_t)world_draw(world, 2001) - 1000;
    for (size_t i = 0; i < SIM_NODES_MAX; i++)
        etcd->regions[i].claimed_by = SIM_NODES_MAX;
}

static bool lives(const struct etcd *etcd, uint64_t lease)
{
    return lease != 0 && etcd->lease_ends_us[lease] > etcd->world->now_us;
}

static void renew(struct etcd *etcd, uint64_t lease)
{
    uint64_t lasts_us = etcd->lease_us * 1000000 / (uint64_t)(1000000 + etcd->drift_ppm);
    etcd->lease_ends_us[lease] = etcd->world->now_us + lasts_us;
}

static void remove_keys(struct etcd *etcd)
{
    for (size_t i = 0; i < SIM_NODES_MAX; i++) {
        struct etcd_region *region = &etcd->regions[i];
        if (region->lease == 0 || lives(etcd, region->lease))
            continue;
        region->lease = 0;
        world_trace(etcd->world, &etcd->world->nodes[i], "its key in etcd is gone");
    }
}

bool etcd_is_alive(struct etcd *etcd, size_t region)
{
    if (!etcd->down)
        remove_keys(etcd);
    return etcd->regions[region].lease != 0;
}

void etcd_restart(struct etcd *etcd)
{
    etcd->down = false;
    for (uint64_t lease = 1; lease <= etcd->lease_count; lease++) {
        if (etcd->lease_ends_us[lease] != 0)
            renew(etcd, lease);
    }
}

void etcd_lose(struct etcd *etcd)
{
    memset(etcd->lease_ends_us, 0, sizeof(etcd->lease_ends_us));
    for (size_t i = 0; i < SIM_NODES_MAX; i++) {
        etcd->regions[i].known = false;
        etcd->regions[i].lease = 0;
        etcd->regions[i].claimed_by = SIM_NODES_MAX;
    }
}

static void put_alive(struct etcd *etcd, size_t at, uint64_t lease)
{
    struct etcd_region *region = &etcd->regions[at];
    if (region->lease == 0)
        region->alive_since_us = etcd->world->now_us;
    region->known = true;
    region->lease = lease;
    region->claimed_by = SIM_NODES_MAX;
}

static void claim(struct etcd *etcd, const struct etcd_call *call, struct takeover_answer *ret)
{
    struct etcd_region *home = &etcd->regions[call->home];
    ret->granted = home->known && home->lease == 0 && home->claimed_by == SIM_NODES_MAX && call->lease != 0 &&
                   etcd->regions[call->by].lease == call->lease;
    if (!ret->granted)
        return;
    home->claimed_by = call->by;
    home->claim = etcd->revision;
    ret->revision = etcd->revision;
    INVARIANT(etcd->revision < ETCD_CLAIMS);
    etcd->claims[etcd->revision] = (struct etcd_claim){.granted = true, .by = call->by, .home = call->home};
}

static void fill(const struct etcd *etcd, struct takeover_view *view)
{
    const struct world *world = etcd->world;
    view->revision = etcd->revision;
    view->region_count = 0;
    view->claim_count = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        const struct etcd_region *from = &etcd->regions[i];
        if (from->known || from->lease != 0) {
            struct takeover_region *region = &view->regions[view->region_count++];
            copy_string(region->name, sizeof(region->name), world->region_names[i]);
            region->known = from->known;
            region->lease = from->lease;
        }
        if (from->claimed_by == SIM_NODES_MAX)
            continue;
        struct takeover_claim *claimed = &view->claims[view->claim_count++];
        copy_string(claimed->home, sizeof(claimed->home), world->region_names[i]);
        copy_string(claimed->context, sizeof(claimed->context), world->contexts[0].name);
        copy_string(claimed->by, sizeof(claimed->by), world->region_names[from->claimed_by]);
        claimed->revision = from->claim;
    }
}

void etcd_serve(struct etcd *etcd, struct etcd_call *call, struct takeover_view *view)
{
    struct takeover_answer *ret = &call->answer;
    remove_keys(etcd);
    switch (call->type) {
    case TAKEOVER_GRANT:
        ret->lease = ++etcd->lease_count;
        INVARIANT(ret->lease < ETCD_LEASES);
        renew(etcd, ret->lease);
        ret->lease_us = etcd->lease_us;
        return;
    case TAKEOVER_KEEP:
        if (!lives(etcd, call->lease))
            return;
        renew(etcd, call->lease);
        ret->lease_us = etcd->lease_us;
        return;
    case TAKEOVER_REGISTER:
        if (!lives(etcd, call->lease)) {
            ret->code = err_set(&ret->err, ERR_NOT_FOUND, "there is no such lease");
            return;
        }
        etcd->revision++;
        put_alive(etcd, call->by, call->lease);
        return;
    case TAKEOVER_LOOK:
        fill(etcd, view);
        ret->view = view;
        return;
    case TAKEOVER_CLAIM:
        etcd->revision++;
        claim(etcd, call, ret);
        return;
    case TAKEOVER_WITHDRAW:
        if (etcd->regions[call->home].claim == call->revision)
            etcd->regions[call->home].claimed_by = SIM_NODES_MAX;
        return;
    case TAKEOVER_PAUSE:
    case TAKEOVER_SEIZE:
        break;
    }
    INVARIANT(!"an order that the service carries out");
}
