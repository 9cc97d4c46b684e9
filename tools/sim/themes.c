/* Themes: one run in seven is about one thing, and everything else holds still, so that what takes three rare things in
 * a row happens again and again: a lease that is waited out to the last moment, a home that comes back to grants before
 * it hears who has its partitions now, a claim that its owner does not carry out. Chosen by the seed, so that the other
 * runs are as they were; all other plans mix everything with everything.
 *
 * Processes are still killed and paused, and links cut, now and then. */
#include "projection/follower.h"
#include "sim/sim.h"

enum { THEMED = 7, FAULTS_EVERY_MIN_S = 8, FAULTS_EVERY_MAX_S = 30 };

static void hold_still(struct world *world)
{
    struct plan *plan = &world->plan;
    for (int i = 0; i < FAULT_COUNT; i++)
        plan->enabled[i] = i == FAULT_KILL || i == FAULT_PAUSE || i == FAULT_PARTITION;
    world->counts.faults[FAULT_TINY_LIMITS] = 0;
    world->counts.faults[FAULT_EARLY_TIMEOUTS] = 0;
    plan->fault_every_us = world_between(world, FAULTS_EVERY_MIN_S, FAULTS_EVERY_MAX_S) * SIM_S;
    plan->fault_phase_us = world_between(world, 60, 120) * SIM_S;
    plan->limits = (struct region_limits){.block_bytes = 0};
    plan->applier_limits = (struct applier_limits){.blocks = 0};
    plan->index_limits = (struct index_limits){.restored = 0};
    plan->projected_events = FOLLOWER_EVENTS_MAX;
    plan->index_lag_us = 2 * SIM_MS;
    plan->hello_interval_us = 500 * SIM_MS;
    plan->peer_timeout_us = 4 * plan->hello_interval_us;
    plan->call_timeout_us = 3 * SIM_S;
    plan->accept_isolated = false;
    plan->projections = false;
    plan->operate_every_us = 0;
    plan->define_every_us = 0;
    plan->rotate_every_us = 0;
    plan->settle_every_us = 0;
    plan->system_moves = false;
    plan->automatic = false;
    plan->drifts_apart = false;
    world->contexts[0].rules.failover = FAILOVER_MANUAL;
    world->contexts[0].rules.isolation = ISOLATION_ACCEPT;
    world->contexts[0].rules.lease_ms = 0;
    world->contexts[0].promises = (struct promises){.durability = {.peers = 0}};
}

static void about_guards(struct world *world)
{
    world->plan.automatic = true;
    world->contexts[0].rules.failover = FAILOVER_AUTOMATIC;
    world->plan.think_us = world_between(world, 100, 400) * SIM_MS;
}

/* Clients ask often enough to come between the end of a lease on one clock and on another, or between the first grant
 * and the first block after a region was cut off. */
static void about_leases(struct world *world, bool drift)
{
    struct context_rules *rules = &world->contexts[0].rules;
    rules->isolation = ISOLATION_FENCE;
    world->plan.drifts_apart = drift;
    rules->lease_ms = (uint32_t)(drift ? world_between(world, 8, 24) : world_between(world, 2, 6)) * RULES_LEASE_MIN_MS;
    world->plan.latency_us = drift ? world_between(world, 100, 5000) : world_between(world, 5000, 60000);
    world->plan.call_timeout_us = SIM_S;
    world->plan.client_count = world_between(world, 3, 5);
    world->plan.think_us = world_between(world, 20, 60) * SIM_MS;
    world->plan.fault_phase_us = world_between(world, 40, 70) * SIM_S;
}

/* Regions that are cut off seize by mistake. */
static void about_copies(struct world *world)
{
    struct durability *durability = &world->contexts[0].promises.durability;
    size_t most = world->node_count - 1 - (world->plan.outside < SIM_NODES_MAX);
    durability->peers = (uint32_t)world_between(world, 1, most);
    durability->when_away = world_chance(world, 500000) ? AWAY_REFUSE : AWAY_DEGRADE;
    world->plan.operate_every_us = world_between(world, 1, 5) * SIM_S;
    world->plan.mistake_ppm = 600000;
}

void themes_choose(struct world *world)
{
    struct plan *plan = &world->plan;
    if (world->seed % THEMED != THEMED - 1 || world->node_count < 3)
        return;
    plan->theme = (enum theme)(1 + world->seed / THEMED % (THEME_COUNT - 1));
    hold_still(world);
    switch (plan->theme) {
    case THEME_GUARDS:
        about_guards(world);
        return;
    case THEME_DRIFT:
    case THEME_LEASES:
        about_leases(world, plan->theme == THEME_DRIFT);
        return;
    default:
        about_copies(world);
    }
}
