/* One seed, from start to end: a phase with faults in which everything must be safe, then a heal of some of the
 * regions, which must converge in bounded time. */
#include "base/mem.h"
#include "sim/sim.h"

enum { CONVERGE_WITHIN_S = 180, LOOK_EVERY_MS = 500, WIDEN_AFTER_S = 60 };

static void run_first_boot(struct world *world, struct task *task)
{
    (void)world;
    if (!task->node->up)
        node_boot(task->node);
}

static void converge(struct world *world)
{
    char why[300] = "";
    uint64_t until_us = world->now_us + (uint64_t)CONVERGE_WITHIN_S * SIM_S;
    uint64_t widen_us = world->now_us + (uint64_t)WIDEN_AFTER_S * SIM_S;
    while (!world->failed && world->now_us < until_us) {
        if (world->now_us >= widen_us && fates_wait_for_others(world)) {
            nemesis_widen(world);
            until_us = world->now_us + (uint64_t)CONVERGE_WITHIN_S * SIM_S;
        }
        world_run_until(world, world->now_us + (uint64_t)LOOK_EVERY_MS * SIM_MS);
        if (!world->failed && oracle_converged(world, why, sizeof(why)))
            return;
    }
    world_fail(world, NULL, "the healed regions do not converge within %d s: %s", CONVERGE_WITHIN_S, why);
}

void run_seed(struct world *world)
{
    plan_draw(world);
    if (!needs_are_met(world))
        return;
    if (world->print_trace)
        plan_print(world);
    truth_start(world);
    for (size_t i = 0; i < world->node_count; i++)
        node_init(world, i);
    for (size_t i = 0; i < world->node_count; i++)
        world_after(world, world_draw(world, SIM_S), &world->nodes[i], run_first_boot);
    clients_start(world);
    readers_start(world);
    nemesis_start(world);
    operators_start(world);
    definers_start(world);
    settlers_start(world);
    queuers_start(world);
    overriders_start(world);
    atlas_start(world);
    fence_start(world);
    guards_start(world);
    rotators_start(world);
    comparers_start(world);
    world_run_until(world, world->plan.fault_phase_us);
    if (!world->failed) {
        nemesis_heal(world);
        clients_heal(world);
        operators_heal(world);
        guards_heal(world);
        converge(world);
    }
    if (!world->failed)
        oracle_end(world);
    world_drop_tasks(world);
    pulls_free(world);
    for (size_t i = 0; i < world->node_count; i++)
        node_free(&world->nodes[i]);
    projector_clean(world);
    readers_free(world);
    clients_free(world);
    definers_free(world);
    truth_free(world);
}
