/* Operators, who move homes: planned handovers and handbacks, failovers from regions that are down, stand still or
 * cannot be reached, and two at once who do not know of each other; of the clients'
 * context, and in some runs of "$system", too. They see what the region that they ask sees, and
 * go on against its advice, with a reason, as often as not. In the core that heals they seize what has its home
 * elsewhere. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

enum { HEAL_EVERY_MS = 1500, PATIENCE_ROUNDS = 10, SPLIT_MAX_S = 8 };

static bool answers(const struct node *node)
{
    return node->up && node->paused_until_us <= node->world->now_us;
}

/* Where a partition is now, by what this region knows. */
static bool look_up(const struct node *node, size_t partition, struct authority_now *ret)
{
    struct bytes name = world_partition_name(node->world, partition);
    return node->up && authority_now(region_authority(node->region), world_context_of(node->world, partition), name,
                                     ret, NULL) == 0;
}

/* Asks a region; the number of a "*": for all that it concerns. */
void operators_ask(struct node *node, enum region_control_type type, size_t other, size_t partition, bool forced)
{
    struct world *world = node->world;
    struct request *request = sim_must(mem_alloc_zero(1, sizeof(*request)));
    struct region_control *control = &request->control;
    *control = (struct region_control){.type = type,
                                       .context = world_context_of(world, partition),
                                       .actor = BYTES_LITERAL("operator"),
                                       .forced = forced};
    memcpy(control->region, world->region_names[other], sizeof(world->region_names[other]));
    if (forced || world_chance(world, 300000))
        control->reason = BYTES_LITERAL("the simulator said so");
    if (!world_is_all(partition)) {
        request->partitions[0] = world_partition_name(world, partition);
        control->partitions = request->partitions;
        control->partition_count = 1;
    }
    request->asked_us = world->now_us;
    request->command = (struct region_command){.control = control};
    world_trace(world, node, "an operator asks for a %s, region %s, partition %zu%s",
                type == REGION_HANDOVER ? "handover" : "failover", control->region, partition,
                forced ? ", forced" : "");
    queue_push_back(&node->requests, &request->link);
    struct mail *mail = mail_new(REGION_COMMAND);
    mail->event.command = &request->command;
    node_post(node, mail);
}

/* --- While there are faults --- */

static size_t other_than(struct world *world, size_t node)
{
    return (node + 1 + world_draw(world, world->node_count - 1)) % world->node_count;
}

static size_t choose_partition(struct world *world)
{
    if (world->plan.system_moves && world_chance(world, 300000))
        return world_between(world, SIM_SYSTEM_FIRST, SIM_SYSTEM_ALL);
    return world_chance(world, 200000) ? SIM_ALL_PARTITIONS : world_draw(world, world->partition_count);
}

static bool hand_over(struct world *world, bool back)
{
    size_t partition = choose_partition(world);
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    struct authority_now now;
    if (!world_is_all(partition) && look_up(node, partition, &now))
        node = &world->nodes[world_node_named(world, now.region)];
    size_t to = other_than(world, node->number);
    if (back && !world_is_all(partition))
        to = world_first_home(world, partition);
    if (!answers(node) || to == node->number)
        return false;
    operators_ask(node, REGION_HANDOVER, to, partition, world_chance(world, 200000));
    return true;
}

static bool fail_over(struct world *world)
{
    size_t partition = choose_partition(world);
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    struct authority_now now;
    size_t from = other_than(world, node->number);
    if (!world_is_all(partition) && look_up(node, partition, &now))
        from = world_node_named(world, now.region);
    if (!answers(node) || from == node->number)
        return false;
    operators_ask(node, REGION_FAILOVER, from, partition, world_chance(world, 500000));
    return true;
}

static void run_join(struct world *world, struct task *task)
{
    for (size_t i = 0; i < 2; i++)
        world->links[task->numbers[i]][task->numbers[1 - i]].cut = false;
}

/* Two regions cannot reach each other, and both seize the same partitions. */
static bool split(struct world *world)
{
    size_t from = world_draw(world, world->node_count);
    size_t first = other_than(world, from);
    size_t second = other_than(world, from);
    size_t partition = choose_partition(world);
    struct authority_now now;
    if (!world_is_all(partition) && look_up(&world->nodes[first], partition, &now))
        from = world_node_named(world, now.region);
    if (first == second || from == first || from == second || !answers(&world->nodes[first]) ||
        !answers(&world->nodes[second]))
        return false;
    if (world_chance(world, 700000)) {
        world->links[first][second].cut = true;
        world->links[second][first].cut = true;
        struct task *task = world_after(world, world_between(world, SIM_S, SPLIT_MAX_S * SIM_S), NULL, run_join);
        task->numbers[0] = first;
        task->numbers[1] = second;
    }
    operators_ask(&world->nodes[first], REGION_FAILOVER, from, partition, true);
    operators_ask(&world->nodes[second], REGION_FAILOVER, from, partition, true);
    return true;
}

static void set_links(struct world *world, size_t node, bool cut)
{
    for (size_t other = 0; other < world->node_count; other++) {
        world->links[node][other].cut = cut && other != node;
        world->links[other][node].cut = cut && other != node;
    }
}

static void run_meet(struct world *world, struct task *task)
{
    if (!world->healing)
        set_links(world, task->numbers[0], false);
}

/* numbers: who is cut off, and whom it has lost. */
static void run_mistake(struct world *world, struct task *task)
{
    struct node *node = &world->nodes[task->numbers[0]];
    if (world->healing)
        return;
    if (answers(node))
        operators_ask(node, REGION_FAILOVER, task->numbers[1], SIM_ALL_PARTITIONS, false);
    world_after(world, SIM_S, NULL, run_meet)->numbers[0] = node->number;
}

/* A region that reaches nobody, whose operator takes all others for lost, and forces nothing; meanwhile these go on. */
static bool mistake(struct world *world)
{
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    uint64_t for_us = world->plan.peer_timeout_us + world_between(world, SIM_S, 4 * SIM_S);
    set_links(world, node->number, true);
    struct task *task = world_after(world, for_us, NULL, run_mistake);
    task->numbers[0] = node->number;
    task->numbers[1] = other_than(world, node->number);
    return true;
}

static bool operate(struct world *world)
{
    const struct durability *durability = &world->contexts[0].promises.durability;
    if (durability->peers > 0 && world->node_count > 2 && world_chance(world, world->plan.mistake_ppm))
        return mistake(world);
    switch (world_draw(world, 8)) {
    case 0:
    case 1:
        return hand_over(world, false);
    case 2:
        return hand_over(world, true);
    case 3:
        return split(world);
    default:
        return fail_over(world);
    }
}

static void run_operator(struct world *world, struct task *task)
{
    (void)task;
    if (world->healing)
        return;
    for (int tries = 0; tries < 5 && !operate(world); tries++)
        continue;
    world_after(world, world_draw(world, 2 * world->plan.operate_every_us) + 1, NULL, run_operator);
}

void operators_start(struct world *world)
{
    if (world->plan.operate_every_us > 0)
        world_after(world, world_draw(world, 2 * world->plan.operate_every_us) + 1, NULL, run_operator);
}

/* --- In the core that heals --- */

/* A region of the core, other than `home`, that accepts. */
static struct node *survivor(struct world *world, size_t home)
{
    size_t first = world_draw(world, world->node_count);
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[(first + i) % world->node_count];
        if (world->core[node->number] && node->number != home && node->up && node->accepting)
            return node;
    }
    return NULL;
}

/* A home that gets no lease, because the others stay away, goes on without one: the operator says that they are down.
 */
static bool is_stuck(struct world *world, size_t home, const struct authority_now *now)
{
    const struct node *node = &world->nodes[home];
    struct region_context_status status;
    if (world->contexts[0].rules.isolation != ISOLATION_FENCE || now->unfenced || !node->up || !node->accepting)
        return false;
    region_context_status(node->region, 0, &status);
    return !status.lease_held;
}

static void run_heal(struct world *world, struct task *task)
{
    size_t rounds = ++task->numbers[0];
    struct node *any = survivor(world, SIM_NODES_MAX);
    for (size_t p = world_next_partition(world, SIM_NUMBERS); any != NULL && p < SIM_NUMBERS;
         p = world_next_partition(world, p)) {
        struct authority_now now;
        if (!look_up(any, p, &now))
            continue;
        size_t home = world_node_named(world, now.region);
        bool away = !world->core[home] || (now.released && !world->core[world_node_named(world, now.successor)]);
        struct node *node = away ? survivor(world, home) : NULL;
        if (node != NULL && p < SIM_SYSTEM_FIRST && guards_will_take(world))
            continue;
        if (node != NULL)
            operators_ask(node, REGION_FAILOVER, home, p, true);
        else if (!away && p < SIM_SYSTEM_FIRST && rounds > PATIENCE_ROUNDS && is_stuck(world, home, &now))
            operators_ask(&world->nodes[home], REGION_FAILOVER, home, p, true);
    }
    world_after(world, (uint64_t)HEAL_EVERY_MS * SIM_MS, NULL, run_heal)->numbers[0] = rounds;
}

void operators_heal(struct world *world)
{
    world_after(world, (uint64_t)HEAL_EVERY_MS * SIM_MS, NULL, run_heal);
}
