/* Disks that are lost. Never more than the design promises to survive:
 *
 *   a lost disk    with nothing on it that a peer does not have, and with the memory of what was signed.
 *   lost logs      of as many regions at once as contexts ask for copies (of one where the home's own disk is enough).
 * A tail of their own logs goes that nobody else holds, if a checkpoint that covers some of it was signed: the memory
 * of that is kept apart from the logs, and survives. A tail that nobody signed could be told by nobody. an old backup
 * takes a disk's place, with the mark of tally restore. Whatever the region did since, and nobody else holds, is gone,
 * with the memory of what was signed.
 *
 * Of every other log another region has what is lost here. The next loss waits until each disk holds again what it
 * held. */
#include "base/assert.h"
#include "sim/sim.h"

/* What a region that is up holds of a log, or will when it has worked off what it has received. */
static uint64_t may_hold(const struct node *node, const char *origin)
{
    uint64_t size = node_durable_size(node, origin);
    for (uint32_t log = 0; log < region_log_count(node->region); log++) {
        struct region_log_status status;
        region_log_status(node->region, log, &status);
        if (strcmp(status.origin, origin) != 0)
            continue;
        for (struct queue_link *link = node->jobs.next; link != &node->jobs; link = link->next) {
            const struct job *job = QUEUE_ITEM(link, struct job, link);
            if (job->type == JOB_WRITE && job->log == log && job->size > size)
                size = job->size;
        }
        for (struct queue_link *link = node->mail.next; link != &node->mail; link = link->next) {
            const struct region_event *event = &QUEUE_ITEM(link, struct mail, link)->event;
            if (event->type == REGION_PULL_BLOCK && event->log == log &&
                event->block->first_index + event->block->entry_count > size)
                size = event->block->first_index + event->block->entry_count;
        }
    }
    return size;
}

/* Whether its disk has everything that it ever had, but for what is lost for good. */
static bool is_whole(struct world *world, const struct node *node)
{
    if (!node->up || node->rotten || node->must_restore)
        return false;
    for (size_t log = 0; log < truth_log_count(world); log++) {
        uint64_t kept = truth_kept_size(world, log);
        uint64_t had = node->ever[log] < kept ? node->ever[log] : kept;
        if (node_held_size(node, log) < had)
            return false;
    }
    return true;
}

static uint64_t largest(struct world *world, size_t log, const bool *victims, bool of_victims)
{
    uint64_t most = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (victims[i] != of_victims)
            continue;
        uint64_t size = of_victims ? node_held_size(node, log) : may_hold(node, truth_origin(world, log));
        most = size > most ? size : most;
    }
    return most;
}

static bool others_are_whole(struct world *world, const bool *victims)
{
    bool whole = true;
    size_t others = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        whole = whole && (victims[i] ? !world->nodes[i].must_restore : is_whole(world, &world->nodes[i]));
        others += !victims[i];
    }
    return whole && others > 0;
}

/* The one whose own log it is now; NULL when that is none of the victims. */
static struct node *own_of(struct world *world, size_t log, const bool *victims)
{
    struct node *node = &world->nodes[truth_owner(world, log)];
    return victims[node->number] && strcmp(node->origin, truth_origin(world, log)) == 0 ? node : NULL;
}

/* After a start a region believes the peers that it reaches (rule 3 of the design): one that comes back without its log
 * must hear the same from each of them, or know by what it has signed that there is more. */
static bool all_tell_the_same(struct world *world, size_t log, const bool *victims)
{
    uint64_t size = truth_size(world, truth_origin(world, log));
    bool same = true;
    for (size_t i = 0; i < world->node_count; i++)
        same = same && (victims[i] || node_held_size(&world->nodes[i], log) >= size);
    return same || truth_signed_size(world, log) >= size;
}

/* What a peer has received and not stored yet it does not tell, and it would come to light when the log has ended. */
static bool all_have_stored(struct world *world, size_t log, const bool *victims)
{
    for (size_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!victims[i] && may_hold(node, truth_origin(world, log)) > node_held_size(node, log))
            return false;
    }
    return true;
}

/* What is about "$system" has no copies by promise: a change of its home may rest on the tail of a victim's log, and
 * its only other copy may be with another victim, whose own log survives. Two disks at once are more than that
 * promises. */
static bool is_shared(struct world *world, size_t log, const bool *victims, uint64_t surviving)
{
    for (size_t i = 0; world->plan.system_moves && i < world->node_count; i++) {
        if (victims[i] && i != truth_owner(world, log) && node_held_size(&world->nodes[i], log) > surviving)
            return true;
    }
    return false;
}

/* Whether of each log either all survives, or it is a tail of a victim's own log that may go. */
static bool may_go(struct world *world, const bool *victims, bool remembered)
{
    for (size_t log = 0; log < truth_log_count(world); log++) {
        uint64_t surviving = largest(world, log, victims, false);
        bool own = own_of(world, log, victims) != NULL;
        if (own && !all_have_stored(world, log, victims))
            return false;
        uint64_t here = own ? truth_size(world, truth_origin(world, log)) : largest(world, log, victims, true);
        if (here <= surviving && own && remembered && !all_tell_the_same(world, log, victims))
            return false;
        if (here <= surviving)
            continue;
        if (!own || (remembered && truth_signed_size(world, log) <= surviving) ||
            is_shared(world, log, victims, surviving))
            return false;
    }
    return true;
}

static void crash(struct node *node)
{
    struct sim_disk_faults none = {.full_at_bytes = UINT64_MAX};
    if (node->up)
        node_crash(node, true, "its disk is lost");
    pulls_lose_sent(node);
    sim_disk_set_faults(node->disk, &none);
    sim_disk_stop_at(node->disk, SIM_DISK_NEVER);
    projector_erase(node);
    atlas_forget(node);
    node->rotten = false;
    node->must_restore = true;
    node->fresh_incarnation = 0;
}

static void lose_tails(struct world *world, const bool *victims, bool told)
{
    for (size_t log = 0; log < truth_log_count(world); log++) {
        const struct node *node = own_of(world, log, victims);
        uint64_t surviving = largest(world, log, victims, false);
        if (node == NULL)
            continue;
        if (!told && node->backup_sizes[log] > surviving)
            surviving = node->backup_sizes[log];
        truth_lose(world, log, surviving, told);
    }
}

bool losses_were(const struct world *world)
{
    const uint64_t *faults = world->counts.faults;
    return world->counts.lives > 0 || faults[FAULT_LOST_DISK] > 0 || faults[FAULT_LOST_LOGS] > 0 ||
           faults[FAULT_OLD_BACKUP] > 0;
}

bool losses_none(struct world *world, const struct node *node)
{
    bool victims[SIM_NODES_MAX] = {false};
    victims[node->number] = true;
    if (!others_are_whole(world, victims))
        return false;
    for (size_t log = 0; log < truth_log_count(world); log++) {
        uint64_t size = truth_kept_size(world, log);
        for (size_t i = 0; i < world->node_count; i++) {
            uint32_t number = 0;
            const struct node *other = &world->nodes[i];
            if (other == node || truth_owner(world, log) != node->number)
                continue;
            if (!node_find_log(other, truth_origin(world, log), &number) || node_held_size(other, log) < size)
                return false;
        }
    }
    return may_go(world, victims, true);
}

static bool may_begin_lives(const struct world *world, const bool *victims)
{
    bool may = true;
    for (size_t i = 0; i < world->node_count; i++)
        may = may && (!victims[i] || world->nodes[i].lives < SIM_LIVES_MAX);
    return may;
}

static void lose_logs(struct world *world, const bool *victims)
{
    for (size_t i = 0; i < world->node_count; i++) {
        if (victims[i])
            crash(&world->nodes[i]);
    }
    lose_tails(world, victims, true);
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (!victims[i])
            continue;
        backups_lose_folder(node, "logs");
        memset(node->was_durable, 0, sizeof(node->was_durable));
        node_restart_after(node, world_between(world, 10 * SIM_MS, 5 * SIM_S));
    }
}

static void cut_off(struct world *world, size_t number, bool cut)
{
    for (size_t i = 0; i < world->node_count; i++) {
        world->links[number][i].cut = cut;
        world->links[i][number].cut = cut;
    }
}

/* numbers[0]: a bit for each victim. */
static void run_reach(struct world *world, struct task *task)
{
    for (size_t i = 0; i < world->node_count; i++) {
        if ((task->numbers[0] >> i & 1) != 0)
            cut_off(world, i, false);
    }
}

/* Who accepts in isolation is often alone when it comes back with less than it had, and so goes on without what its
 * peers hold. */
static void stay_apart(struct world *world, uint64_t victims)
{
    uint64_t least_us = world->plan.isolation_wait_us;
    uint64_t for_us = 0;
    if (world->plan.accept_isolated && world_chance(world, 500000))
        for_us = world_between(world, least_us, 2 * least_us + 10 * SIM_S);
    for (size_t i = 0; for_us > 0 && i < world->node_count; i++) {
        if ((victims >> i & 1) != 0)
            cut_off(world, i, true);
    }
    world_after(world, for_us + 1, NULL, run_reach)->numbers[0] = victims;
}

/* numbers[0]: a bit for each victim. */
static void run_loss(struct world *world, struct task *task)
{
    bool victims[SIM_NODES_MAX] = {false};
    for (size_t i = 0; i < world->node_count; i++)
        victims[i] = (task->numbers[0] >> i & 1) != 0;
    if (world->healing)
        return;
    if (may_begin_lives(world, victims) && others_are_whole(world, victims) && may_go(world, victims, true)) {
        world->counts.faults[FAULT_LOST_LOGS]++;
        lose_logs(world, victims);
    }
    stay_apart(world, task->numbers[0]);
}

/* Mostly after a while in which nobody reaches them, so that there is a tail. */
void losses_strike(struct world *world)
{
    size_t copies = world->contexts[0].promises.durability.peers;
    size_t count = world_between(world, 1, copies == 0 ? 1 : copies);
    bool apart = world_chance(world, 700000);
    uint64_t victims = 0;
    for (size_t i = 0; i < count; i++)
        victims |= (uint64_t)1 << world_draw(world, world->node_count);
    for (size_t i = 0; apart && i < world->node_count; i++) {
        if ((victims >> i & 1) != 0)
            cut_off(world, i, true);
    }
    world_after(world, apart ? world_between(world, 200 * SIM_MS, 4 * SIM_S) : 1, NULL, run_loss)->numbers[0] = victims;
}

static bool take_backup(struct node *node)
{
    struct world *world = node->world;
    if (!is_whole(world, node))
        return false;
    backups_take(node);
    memset(node->backup_sizes, 0, sizeof(node->backup_sizes));
    for (size_t log = 0; log < truth_log_count(world); log++)
        node->backup_sizes[log] = node_held_size(node, log);
    world_trace(world, node, "an operator makes a backup");
    return false; /* that is no fault */
}

bool losses_strike_backup(struct world *world)
{
    bool victims[SIM_NODES_MAX] = {false};
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    victims[node->number] = true;
    if (node->backup == NULL || world_chance(world, 500000))
        return take_backup(node);
    if (!may_begin_lives(world, victims) || !others_are_whole(world, victims) || !may_go(world, victims, false))
        return false;
    crash(node);
    lose_tails(world, victims, false);
    backups_restore(node);
    truth_forget_signed(world, node->number);
    memcpy(node->was_durable, node->backup_sizes, sizeof(node->was_durable));
    world_trace(world, node, "an operator restores a backup");
    stay_apart(world, (uint64_t)1 << node->number);
    node_restart_after(node, world_between(world, 10 * SIM_MS, 5 * SIM_S));
    return true;
}
