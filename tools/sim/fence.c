/* The oracle of leases: in a fenced context no two homes accept at overlapping times for one partition. It looks at the
 * moment when a command is decided, by the world's clock, and at nothing that the regions say about leases.
 *
 * A reign is a home under one epoch. Of each partition the reigns are listed in the order in which they first accepted:
 * a reign accepts only while it is the last of the list, and a new one has no lower epoch than the last. Reigns that a
 * forced seizure began without a lease may overlap, and are left out.
 *
 * What leases are for happens here, too, since nothing else makes it often: a home that nobody reaches but its clients,
 * or whose process stands still, while a survivor is asked again and again, without force, to take over. In every other
 * fenced run the clocks are then as far apart as rule 10 allows for, the wrong way round for those who wait. */
#include "base/assert.h"
#include "region/lease.h"
#include "sim/sim.h"

enum { REIGNS_MAX = 512, SEIZE_EVERY_MS = 400, SEIZE_BUSILY_EVERY_MS = 40 };

struct reign {
    size_t node;
    uint64_t epoch;
    uint64_t index; /* of the change that began it */
};

struct fence {
    size_t count[SIM_PARTITIONS_MAX];
    struct reign reigns[SIM_PARTITIONS_MAX][REIGNS_MAX];
};

static size_t partition_numbered(const struct world *world, struct bytes name)
{
    size_t partition = 0;
    while (partition < world->partition_count && !bytes_equal(name, bytes_of_string(world->partition_names[partition])))
        partition++;
    INVARIANT(partition < world->partition_count);
    return partition;
}

static bool is_same(const struct reign *a, const struct reign *b)
{
    return a->node == b->node && a->epoch == b->epoch && a->index == b->index;
}

static void accepts(struct node *node, size_t partition, const struct authority_now *now)
{
    struct world *world = node->world;
    struct fence *fence = world->fence;
    struct reign reign = {.node = node->number, .epoch = now->epoch, .index = now->index};
    size_t count = fence->count[partition];
    const struct reign *last = count == 0 ? NULL : &fence->reigns[partition][count - 1];
    if (last != NULL && is_same(last, &reign))
        return;
    bool overlaps = last != NULL && reign.epoch < last->epoch;
    for (size_t i = 0; i + 1 < count; i++)
        overlaps = overlaps || is_same(&fence->reigns[partition][i], &reign);
    if (overlaps)
        world_fail(
            world, node,
            "it accepts for partition %zu, which is fenced, under epoch %llu, after region %s did under epoch %llu",
            partition, (unsigned long long)reign.epoch, world->region_names[last->node],
            (unsigned long long)last->epoch);
    INVARIANT(count < REIGNS_MAX);
    fence->reigns[partition][fence->count[partition]++] = reign;
    world->counts.reigns++;
}

void fence_decided(struct node *node, const struct region_command *command)
{
    struct world *world = node->world;
    const struct region_result *result = command->results;
    if (world->contexts[0].rules.isolation != ISOLATION_FENCE || command->refusal.code != 0 || command->queued ||
        command->overridden)
        return;
    if (command->verdict != NULL && command->verdict->already)
        return; /* decided before, and told again */
    for (size_t w = 0; w < command->write_count; w++) {
        const struct region_stream_write *write = &command->writes[w];
        bool accepted = false;
        if (write->event_count == 0)
            continue; /* a decision that appends nothing */
        for (size_t i = 0; i < write->event_count; i++, result++)
            accepted = accepted || (!result->duplicate && !result->commutative);
        struct authority_now now;
        int code = authority_now(region_authority(node->region), write->context, write->partition, &now, NULL);
        INVARIANT(code == 0);
        if (accepted && !now.unfenced)
            accepts(node, partition_numbered(world, write->partition), &now);
    }
}

/* --- Homes that are cut off --- */

static void set_links(struct world *world, size_t node, bool cut)
{
    for (size_t other = 0; other < world->node_count; other++) {
        world->links[node][other].cut = cut && other != node;
        world->links[other][node].cut = cut && other != node;
    }
}

/* numbers: who is cut off, until when. */
static void run_rejoin(struct world *world, struct task *task)
{
    if (!world->healing)
        set_links(world, task->numbers[0], false);
}

static void run_seize(struct world *world, struct task *task)
{
    size_t lost = task->numbers[0];
    struct node *node = &world->nodes[(lost + 1 + world_draw(world, world->node_count - 1)) % world->node_count];
    if (world->healing || world->now_us >= task->numbers[1])
        return;
    if (node->up && node->paused_until_us <= world->now_us)
        operators_ask(node, REGION_FAILOVER, lost, SIM_ALL_PARTITIONS, false);
    uint64_t every_ms = world->plan.drifts_apart ? SEIZE_BUSILY_EVERY_MS : SEIZE_EVERY_MS;
    struct task *again = world_after(world, every_ms * SIM_MS, NULL, run_seize);
    memcpy(again->numbers, task->numbers, sizeof(task->numbers));
}

/* The clock of the one that is cut off runs as slow as a clock may, those of all others, who granted it its lease, as
 * fast: what it counts on longest is over for them soonest. Wall clocks are set by the time of day now and then, or the
 * check of clocks would refuse every seizure. */
static void drift_apart(struct world *world, const struct node *holder)
{
    for (size_t i = 0; i < world->node_count; i++) {
        node_set_drift(&world->nodes[i], i == holder->number ? -LEASE_DRIFT_PPM : LEASE_DRIFT_PPM);
        node_set_wall(&world->nodes[i]);
    }
}

static void run_cut_off(struct world *world, struct task *task)
{
    (void)task;
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    uint64_t lease_us = world->contexts[0].rules.lease_ms * SIM_MS;
    uint64_t for_us = lease_us + world->plan.peer_timeout_us + world_between(world, SIM_S, 6 * SIM_S);
    if (world->healing)
        return;
    if (world->plan.drifts_apart)
        drift_apart(world, node);
    if (node->up && !world->plan.drifts_apart && world_chance(world, 300000)) {
        node->paused_until_us = world->now_us + for_us;
    } else {
        set_links(world, node->number, true);
        world_after(world, for_us, NULL, run_rejoin)->numbers[0] = node->number;
    }
    world_trace(world, node, "is cut off for %llu ms", (unsigned long long)(for_us / SIM_MS));
    struct task *seize = world_after(world, SEIZE_EVERY_MS * SIM_MS, NULL, run_seize);
    seize->numbers[0] = node->number;
    seize->numbers[1] = world->now_us + for_us;
    world_after(world, for_us + world_between(world, SIM_S, 8 * SIM_S), NULL, run_cut_off);
}

void fence_start(struct world *world)
{
    world->fence = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(struct fence)));
    if (world->contexts[0].rules.isolation == ISOLATION_FENCE && world->node_count > 2)
        world_after(world, world_between(world, SIM_S, 8 * SIM_S), NULL, run_cut_off);
}
