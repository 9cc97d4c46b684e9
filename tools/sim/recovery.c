/* Recovery points (region/bounds.c): in some runs the context lets its homes be only so many events ahead of their
 * copies, and asks them to throttle or to refuse then. By the truth and by what is on disks, no home ever is further
 * ahead than that: events of clients that its log holds durably, and that do not stand on as many other disks, with
 * payloads, as durability asks for, and at least one.
 *
 * What a settlement appends, and overrides, are held up by no bound. Where a copy that was counted may be gone, nothing
 * is compared from then on. That a bound does not hold a region up for ever is oracle.c's: the healed regions
 * converge. */
#include <stdlib.h>

#include "sim/truth.h"

static int compare_sizes(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? 1 : left > right ? -1 : 0;
}

/* What stands on enough other disks. */
static uint64_t copied_size(const struct world *world, const struct node *home, size_t log)
{
    uint32_t peers = world->contexts[0].promises.durability.peers;
    size_t wanted = peers == 0 ? 1 : peers;
    uint64_t sizes[SIM_NODES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        if (i != home->number && i != world->plan.outside)
            sizes[count++] = node_held_size(&world->nodes[i], log);
    }
    qsort(sizes, count, sizeof(sizes[0]), compare_sizes);
    return count < wanted ? 0 : sizes[wanted - 1];
}

/* An event whose id has another place, too, may be one that came too late and that a settlement appended again. */
static bool is_bounded(const struct world *world, const struct truth_entry *entry)
{
    if (entry->op == NULL || entry->override)
        return false;
    const struct truth_place *place = truth_places(world, entry->id);
    return place != NULL && place->next == NULL;
}

/* Of the rest, what compensates: the decision that says so stands before it. */
static uint64_t unbounded(const struct world *world)
{
    return world->counts.decisions[SETTLED_COMPENSATE];
}

void recovery_take(struct node *node, size_t log, uint64_t index)
{
    struct world *world = node->world;
    const struct recovery_point *point = &world->contexts[0].promises.recovery_point;
    uint64_t ahead = 0;
    if (point->events == 0 || losses_were(world))
        return;
    for (uint64_t i = copied_size(world, node, log); i <= index; i++)
        ahead += is_bounded(world, &world->truth->logs[log].entries[i]);
    world->counts.bounded++;
    if (ahead > point->events + unbounded(world))
        world_fail(world, node, "%llu events of log %s up to entry %llu are on its disk alone, and %llu may be",
                   (unsigned long long)ahead, truth_origin(world, log), (unsigned long long)index,
                   (unsigned long long)point->events);
}
