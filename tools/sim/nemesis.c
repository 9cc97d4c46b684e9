/* The nemesis: what goes wrong, and when. Message faults are drawn where messages are sent; everything else starts
 * here, one at a time, at random moments of the fault phase.
 *
 * Never more than the design promises to survive (losses.c says it of disks): a bit rots only where another region has
 * the bytes, and only on one disk at a time. */
#include <stdio.h>

#include "base/assert.h"
#include "sim/sim.h"

static struct node *random_node(struct world *world)
{
    return &world->nodes[world_draw(world, world->node_count)];
}

static bool chosen(struct world *world, enum fault fault)
{
    world->counts.faults[fault]++;
    return true;
}

/* --- Network --- */

static void run_join(struct world *world, struct task *task)
{
    world->links[task->numbers[0]][task->numbers[1]].cut = false;
    world->links[task->numbers[0]][task->numbers[1]].extra_us = 0;
    world_trace(world, NULL, "link %s to %s is whole", world->region_names[task->numbers[0]],
                world->region_names[task->numbers[1]]);
}

static void harm_link(struct world *world, size_t from, size_t to, uint64_t extra_us, uint64_t for_us)
{
    world->links[from][to].cut = extra_us == 0;
    world->links[from][to].extra_us = extra_us;
    world_trace(world, NULL, "link %s to %s is %s", world->region_names[from], world->region_names[to],
                extra_us == 0 ? "cut" : "slow");
    struct task *task = world_after(world, for_us, NULL, run_join);
    task->numbers[0] = from;
    task->numbers[1] = to;
}

static bool harm_links(struct world *world, enum fault fault)
{
    if (world->node_count < 2)
        return false;
    size_t from = world_draw(world, world->node_count);
    size_t to = (from + 1 + world_draw(world, world->node_count - 1)) % world->node_count;
    uint64_t for_us = world_between(world, 100 * SIM_MS, 10 * SIM_S);
    uint64_t extra_us = fault == FAULT_SLOW_PEER ? world_between(world, 50 * SIM_MS, SIM_S) : 0;
    harm_link(world, from, to, extra_us, for_us);
    if (fault != FAULT_ONE_WAY)
        harm_link(world, to, from, extra_us, for_us);
    return chosen(world, fault);
}

/* --- Processes --- */

static bool end_process(struct world *world, enum fault fault)
{
    struct node *node = random_node(world);
    if (!node->up)
        return false;
    if (fault == FAULT_KILL && world_chance(world, 500000)) {
        node->kill_after = world_between(world, 1, 20);
    } else if (fault == FAULT_KILL_IN_WRITE) {
        sim_disk_stop_at(node->disk, world_between(world, 1, 20));
    } else {
        node_crash(node, fault == FAULT_POWER, fault == FAULT_POWER ? "power" : "killed");
        node_restart_after(node, world_between(world, 10 * SIM_MS, 5 * SIM_S));
        if (world_chance(world, 300000)) /* and again, while it starts */
            sim_disk_stop_at(node->disk, world_between(world, 1, 10));
    }
    return chosen(world, fault);
}

static bool pause_process(struct world *world)
{
    struct node *node = random_node(world);
    if (!node->up || node->paused_until_us > world->now_us)
        return false;
    node->paused_until_us = world->now_us + world_between(world, 10 * SIM_MS, 8 * SIM_S);
    world_trace(world, node, "is paused");
    return chosen(world, FAULT_PAUSE);
}

static bool jump_clock(struct world *world)
{
    struct node *node = random_node(world);
    int64_t jump_us = (int64_t)(world_draw(world, 7200) * SIM_S) - (int64_t)(3600 * SIM_S);
    node->wall_offset_us += world_chance(world, 500000) ? jump_us : jump_us / 3600;
    world_trace(world, node, "its wall clock jumps");
    return chosen(world, FAULT_CLOCK_JUMP);
}

static bool drift_clock(struct world *world)
{
    struct node *node = random_node(world);
    node_set_drift(node, (int64_t)world_draw(world, 40001) - 20000);
    world_trace(world, node, "its clock drifts by %lld ppm", (long long)node->drift_ppm);
    return chosen(world, FAULT_CLOCK_DRIFT);
}

/* --- Disks --- */

static void run_end_of_errors(struct world *world, struct task *task)
{
    struct sim_disk_faults faults = {.full_at_bytes = UINT64_MAX};
    sim_disk_set_faults(world->nodes[task->numbers[0]].disk, &faults);
}

static bool harm_disk(struct world *world, enum fault fault)
{
    struct node *node = random_node(world);
    struct sim_disk_faults faults = {.full_at_bytes = UINT64_MAX};
    if (fault == FAULT_WRITE_ERROR)
        faults.write_error_ppm = (uint32_t)world_between(world, 1000, 300000);
    else if (fault == FAULT_SYNC_ERROR)
        faults.sync_error_ppm = (uint32_t)world_between(world, 1000, 500000);
    else
        faults.full_at_bytes = world_draw(world, 1024 * 1024);
    sim_disk_set_faults(node->disk, &faults);
    world_trace(world, node, "its disk has %s", fault_names[fault]);
    world_after(world, world_between(world, 100 * SIM_MS, 5 * SIM_S), NULL, run_end_of_errors)->numbers[0] =
        node->number;
    return chosen(world, fault);
}

static bool lose_disk(struct world *world)
{
    struct node *node = random_node(world);
    if (!losses_none(world, node))
        return false;
    if (node->up)
        node_crash(node, true, "its disk is gone");
    projector_erase(node);
    sim_disk_erase(node->disk);
    truth_forget_signed(world, node->number);
    memset(node->was_durable, 0, sizeof(node->was_durable));
    node->rotten = false;
    node->must_restore = true;
    atlas_forget(node);
    node_restart_after(node, world_between(world, 10 * SIM_MS, 5 * SIM_S));
    return chosen(world, FAULT_LOST_DISK);
}

/* --- Faults in turn --- */

static bool strike(struct world *world, enum fault fault)
{
    switch (fault) {
    case FAULT_PARTITION:
    case FAULT_ONE_WAY:
    case FAULT_SLOW_PEER:
        return harm_links(world, fault);
    case FAULT_KILL:
    case FAULT_KILL_IN_WRITE:
    case FAULT_POWER:
        return end_process(world, fault);
    case FAULT_PAUSE:
        return pause_process(world);
    case FAULT_CLOCK_JUMP:
        return jump_clock(world);
    case FAULT_CLOCK_DRIFT:
        return drift_clock(world);
    case FAULT_WRITE_ERROR:
    case FAULT_SYNC_ERROR:
    case FAULT_DISK_FULL:
        return harm_disk(world, fault);
    case FAULT_BIT_ROT:
        return rot_strike(world) && chosen(world, fault);
    case FAULT_LOST_DISK:
        return lose_disk(world);
    case FAULT_LOST_LOGS:
        losses_strike(world);
        return true;
    case FAULT_OLD_BACKUP:
        return losses_strike_backup(world) && chosen(world, fault);
    default:
        return false; /* of messages, or of the plan */
    }
}

static void run_nemesis(struct world *world, struct task *task)
{
    (void)task;
    if (world->healing)
        return;
    for (int tries = 0; tries < 20; tries++) {
        enum fault fault = (enum fault)world_draw(world, FAULT_COUNT);
        if (world->plan.enabled[fault] && strike(world, fault))
            break;
    }
    world_after(world, world_draw(world, 2 * world->plan.fault_every_us) + 1, NULL, run_nemesis);
}

void nemesis_start(struct world *world)
{
    world_after(world, world_draw(world, 2 * world->plan.fault_every_us) + 1, NULL, run_nemesis);
}

/* --- The heal --- */

/* A region alone cannot accept after a start: the core has two at least, where there are two; more where contexts ask
 * for more copies. */
static void choose_core(struct world *world)
{
    const struct durability *durability = &world->contexts[0].promises.durability;
    bool held_up = durability->when_away == AWAY_REFUSE || world->contexts[0].promises.recovery_point.events > 0;
    size_t least = durability->peers > 1 && held_up ? durability->peers + 1 : 2;
    size_t size = world->node_count < 2 ? 1 : world_between(world, least, world->node_count);
    if (world->plan.outside < SIM_NODES_MAX)
        size = world->node_count; /* what only a region without payloads has cannot be completed by it */
    else if (world->plan.theme == THEME_GUARDS)
        size = world->node_count - 1; /* with two away no failover passes its checks */
    size_t chosen_count = 0;
    while (chosen_count < size) {
        size_t i = world_draw(world, world->node_count);
        chosen_count += !world->core[i];
        world->core[i] = true;
    }
}

static void heal_nodes(struct world *world)
{
    struct sim_disk_faults none = {.full_at_bytes = UINT64_MAX};
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        for (size_t j = 0; j < world->node_count; j++)
            world->links[i][j].cut = !world->core[i] || !world->core[j];
        node->kill_after = 0;
        sim_disk_stop_at(node->disk, SIM_DISK_NEVER);
        sim_disk_set_faults(node->disk, &none);
        node->held_down = !world->core[i];
        if (node->paused_until_us > world->now_us)
            node->paused_until_us = world->now_us;
        if (node->rotten)
            rot_repair(node);
        if (node->up && node->held_down)
            node_crash(node, false, "not in the core");
        if (!node->up && !node->held_down)
            node_restart_after(node, world_draw(world, SIM_S) + 1);
        world_trace(world, node, world->core[i] ? "is in the core that heals" : "stays away");
    }
}

void nemesis_heal(struct world *world)
{
    world->healing = true;
    choose_core(world);
    heal_nodes(world);
}

void nemesis_widen(struct world *world)
{
    for (size_t i = 0; i < world->node_count; i++)
        world->core[i] = true;
    heal_nodes(world);
}
