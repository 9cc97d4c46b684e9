/* The oracle of leases: in a fenced context no two homes accept at overlapping times for one partition. It looks at the
 * moment when a command is decided, by the world's clock, and at nothing that the regions say about leases.
 *
 * A reign is a home under one epoch. Of each partition the reigns are listed in the order in which they first accepted:
 * a reign accepts only while it is the last of the list, and a new one has no lower epoch than the last. Reigns that a
 * forced seizure began without a lease may overlap, and are left out. */
#include "base/assert.h"
#include "sim/sim.h"

enum { REIGNS_MAX = 512 };

struct reign {
    size_t node;
    uint64_t epoch;
    uint64_t index; /* of the change that began it */
};

struct fence {
    size_t count[SIM_PARTITIONS_MAX];
    struct reign reigns[SIM_PARTITIONS_MAX][REIGNS_MAX];
};

void fence_start(struct world *world)
{
    world->fence = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(struct fence)));
}

static size_t partition_numbered(const struct world *world, struct bytes name)
{
    size_t partition = 0;
    while (partition < world->partition_count &&
           !bytes_equal(name, bytes_of_string(world->partition_names[partition])))
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
        world_fail(world, node,
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
    if (world->contexts[0].rules.isolation != ISOLATION_FENCE || command->refusal.code != 0)
        return;
    for (size_t w = 0; w < command->write_count; w++) {
        const struct region_stream_write *write = &command->writes[w];
        bool accepted = false;
        for (size_t i = 0; i < write->event_count; i++, result++)
            accepted = accepted || !result->duplicate;
        struct authority_now now;
        int code = authority_now(region_authority(node->region), write->context, write->partition, &now, NULL);
        INVARIANT(code == 0);
        if (accepted && !now.unfenced)
            accepts(node, partition_numbered(world, write->partition), &now);
    }
}
