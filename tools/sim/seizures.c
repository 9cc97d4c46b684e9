/* What a failover may rest on, by the truth (rules 4 and 5 of the design).
 *
 * With durability peers(k) a seizure that is not forced has looked at so many copies that one of them holds whatever
 * was answered on k. So everything that the lost home had answered so, before the failover was asked for, lies below
 * the seizure's basis. What it answers later may be beyond, if it still reaches others: that comes late. Once a disk
 * was lost, a copy that was counted may be gone; and once a region went on with a new log it left things behind: from
 * then on nothing is compared.
 *
 * A forced change says why, in the log. And a region that may not hold the payloads becomes no home, forced or not. */
#include "base/assert.h"
#include "sim/truth.h"

void seizures_take(struct node *node, const struct truth_change *change, bool forced, struct bytes reason)
{
    struct world *world = node->world;
    bool begins = change->kind != CONTROL_AUTHORITY_RELEASED;
    if (forced && reason.size_bytes == 0)
        world_fail(world, node, "entry %llu is a forced change of homes, and does not say why",
                   (unsigned long long)change->index);
    if (begins && change->partition < SIM_SYSTEM_FIRST && node->number == world->plan.outside)
        world_fail(world, node, "it begins epoch %llu of partition %zu, whose payloads it may not hold",
                   (unsigned long long)change->epoch, change->partition);
}

void seizures_answered(struct node *node, const struct request *request)
{
    struct world *world = node->world;
    const struct region_control *control = &request->control;
    if (control->type != REGION_FAILOVER || control->forced || control->changed == 0 ||
        world->contexts[0].promises.durability.peers == 0 || losses_were(world))
        return;
    size_t log = truth_number(world, node->origin);
    for (size_t i = 0; i < world->truth->change_count; i++) {
        const struct truth_change *change = world->truth->changes[i];
        if (change->log != log || change->index >= request->command.ticket ||
            change->index + control->changed < request->command.ticket)
            continue; /* not of this failover */
        INVARIANT(change->kind == CONTROL_AUTHORITY_SEIZED);
        world->counts.unforced++;
        if (change->previous < world->node_count)
            clients_check_seizure(world, change, request->asked_us);
    }
}
