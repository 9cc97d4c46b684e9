/* Regions that compare their projections (projection/drift.h), as the server's comparer does with a thread: of two the
 * one that comes first asks; it holds where it stands, the other goes there, or says where both can meet, and then both
 * go there. Asking is cut off, lost and delayed like everything between regions. In some runs a hand changes a row of
 * one projection behind its back.
 *
 * Checked here:
 *   - no comparison finds a difference unless one of the two was changed;
 *   - a projection that was changed, and not made afresh since, is found to differ by its region and by a peer, before
 *     the healed regions count as converged. */
#include "projection/drift.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "projection/database.h"
#include "sim/projector.h"

enum { HOLD_MS = 2000, LOOK_MS = 20, ROUNDS = 2, EVERY_MS = 4000 };
#define SUBJECT "totals"

/* One conversation. It is handed from task to task, and ends where it is not. */
struct meeting {
    size_t first, second;
    int round;
    struct position asked;
    struct hash asked_digest;
    struct position place; /* where the one whose turn it is goes */
    struct hash found_digest;
    uint64_t until_us;
};

struct holding {
    uint64_t boot; /* of the process that holds; 0: none does */
    size_t peer;
    uint64_t number;
};

struct comparers {
    struct drift_table tables[SIM_NODES_MAX];
    struct holding holdings[SIM_NODES_MAX];
    bool was_harmed;
    bool is_harmed; /* unless another generation is live by now */
    size_t harmed;
    uint64_t harmed_generation;
};

static void drop_meeting(struct world *world, struct task *task)
{
    (void)world;
    mem_free(task->data);
}

static void hand_on(struct node *node, uint64_t delay_us, task_fn *run, const struct meeting *meeting)
{
    struct task *task = world_after(node->world, delay_us, node, run);
    struct meeting *copy = sim_must(mem_alloc(sizeof(*copy)));
    *copy = *meeting;
    task->data = copy;
    task->drop = drop_meeting;
}

/* --- Holding --- */

static struct holding *holding_of(const struct node *node)
{
    return &node->world->comparers->holdings[node->number];
}

static bool is_held_for_another(const struct node *node, size_t peer)
{
    const struct holding *holding = holding_of(node);
    return holding->boot == node->boot && holding->peer != peer;
}

static void let_go(struct node *node)
{
    holding_of(node)->boot = 0;
    follower_release(node->projector->follower);
    projector_changed(node);
}

static void run_let_go(struct world *world, struct task *task)
{
    (void)world;
    if (holding_of(task->node)->number == task->numbers[0] && holding_of(task->node)->boot == task->node->boot)
        let_go(task->node);
}

static void hold(struct node *node, size_t peer, const struct position *at)
{
    struct holding *holding = holding_of(node);
    *holding = (struct holding){.boot = node->boot, .peer = peer, .number = holding->number + 1};
    follower_hold(node->projector->follower, at);
    world_after(node->world, HOLD_MS * SIM_MS, node, run_let_go)->numbers[0] = holding->number;
    projector_changed(node);
}

static bool position_of(const struct node *node, struct position *ret)
{
    return follower_position(node->projector->follower, ret, NULL) == 0;
}

static bool stands_at(const struct node *node, const struct position *at)
{
    struct position position;
    return position_of(node, &position) && position_equal(&position, at);
}

static bool digest_of(const struct node *node, struct hash *ret)
{
    return projection_db_digest(projection_live(node->projector->projection), ret, NULL, NULL) == 0;
}

/* --- Verdicts --- */

bool comparers_harmed(const struct node *node)
{
    const struct comparers *comparers = node->world->comparers;
    return comparers != NULL && comparers->is_harmed && comparers->harmed == node->number && node->projector != NULL &&
           projection_generation(node->projector->projection) == comparers->harmed_generation;
}

static void record(struct node *node, const struct node *other, const struct meeting *meeting, const struct hash *ours,
                   const struct hash *theirs)
{
    struct world *world = node->world;
    struct comparers *comparers = world->comparers;
    bool explained = comparers->was_harmed && (comparers->harmed == node->number || comparers->harmed == other->number);
    enum drift_news news =
        drift_record(&comparers->tables[node->number], SUBJECT, other->config.region, &meeting->asked, ours, theirs);
    world->counts.comparisons++;
    if (news == DRIFT_NOTHING_NEW)
        return;
    world_trace(world, node, "its projection %s from that of %s",
                news == DRIFT_BEGAN ? "differs" : "does not differ any more", other->config.region);
    if (news == DRIFT_BEGAN && !explained)
        world_fail(world, node, "its projection differs from that of %s at one position, and nobody changed either",
                   other->config.region);
}

static bool knows(const struct world *world, size_t node, size_t other)
{
    struct drift_verdict verdicts[SIM_NODES_MAX];
    size_t count = drift_list(&world->comparers->tables[node], SUBJECT, verdicts, SIM_NODES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (verdicts[i].differs && strcmp(verdicts[i].region, world->region_names[other]) == 0)
            return true;
    }
    return false;
}

bool comparers_done(const struct world *world, char *why, size_t why_size)
{
    if (world->comparers == NULL)
        return true;
    size_t harmed = world->comparers->harmed;
    size_t others = 0;
    if (!world->core[harmed] || !comparers_harmed(&world->nodes[harmed]))
        return true;
    for (size_t i = 0; i < world->node_count; i++) {
        if (i == harmed || !world->core[i])
            continue;
        others++;
        if (knows(world, harmed, i) && knows(world, i, harmed))
            return true;
    }
    snprintf(why, why_size, "nobody has found that the projection of region %s was changed",
             world->region_names[harmed]);
    return others == 0;
}

/* --- A meeting --- */

static void run_at_second(struct world *world, struct task *task);

static bool passes(struct world *world, const struct node *from, const struct node *to)
{
    return to->up && !net_cut(world, from->number, to->number) &&
           !world_fault(world, FAULT_LOSS, world->plan.message_fault_ppm);
}

/* The first stands where it went: it asks. */
static void ask(struct node *first, struct meeting *meeting)
{
    struct world *world = first->world;
    struct node *second = &world->nodes[meeting->second];
    meeting->asked = meeting->place;
    meeting->round++;
    if (digest_of(first, &meeting->asked_digest) && passes(world, first, second))
        hand_on(second, net_latency(world, first->number, second->number), run_at_second, meeting);
    else
        let_go(first);
}

static void run_first_goes(struct world *world, struct task *task)
{
    struct meeting *meeting = task->data;
    if (stands_at(task->node, &meeting->place))
        ask(task->node, meeting);
    else if (world->now_us < meeting->until_us)
        hand_on(task->node, LOOK_MS * SIM_MS, run_first_goes, meeting);
    mem_free(meeting);
}

/* The second stands elsewhere, and waits there. */
static void run_elsewhere(struct world *world, struct task *task)
{
    struct node *first = task->node;
    struct meeting *meeting = task->data;
    struct position position;
    struct position meet;
    if (meeting->round < ROUNDS && !is_held_for_another(first, meeting->second) && position_of(first, &position) &&
        drift_meet(&position, &meeting->place, &meet) == 0 && position_equal(&meet, &meeting->place)) {
        hold(first, meeting->second, &meet);
        meeting->until_us = world->now_us + HOLD_MS * SIM_MS;
        hand_on(first, LOOK_MS * SIM_MS, run_first_goes, meeting);
    }
    mem_free(meeting);
}

static void run_compared(struct world *world, struct task *task)
{
    struct node *first = task->node;
    struct meeting *meeting = task->data;
    record(first, &world->nodes[meeting->second], meeting, &meeting->asked_digest, &meeting->found_digest);
    if (!is_held_for_another(first, meeting->second))
        let_go(first);
    mem_free(meeting);
}

static void answer(struct node *second, struct meeting *meeting)
{
    struct world *world = second->world;
    struct node *first = &world->nodes[meeting->first];
    bool there = position_equal(&meeting->place, &meeting->asked);
    if (there && !digest_of(second, &meeting->found_digest))
        return;
    if (there) {
        record(second, first, meeting, &meeting->found_digest, &meeting->asked_digest);
        let_go(second);
    }
    if (passes(world, second, first))
        hand_on(first, net_latency(world, second->number, first->number), there ? run_compared : run_elsewhere,
                meeting);
}

static void run_second_goes(struct world *world, struct task *task)
{
    struct meeting *meeting = task->data;
    if (stands_at(task->node, &meeting->place))
        answer(task->node, meeting);
    else if (world->now_us < meeting->until_us)
        hand_on(task->node, LOOK_MS * SIM_MS, run_second_goes, meeting);
    mem_free(meeting);
}

static void run_at_second(struct world *world, struct task *task)
{
    struct node *second = task->node;
    struct meeting *meeting = task->data;
    struct position position;
    if (!is_held_for_another(second, meeting->first) && position_of(second, &position) &&
        drift_meet(&position, &meeting->asked, &meeting->place) == 0) {
        hold(second, meeting->first, &meeting->place);
        meeting->until_us = world->now_us + HOLD_MS * SIM_MS;
        hand_on(second, SIM_MS, run_second_goes, meeting);
    }
    mem_free(meeting);
}

static void run_compare(struct world *world, struct task *task)
{
    size_t one = world_draw(world, world->node_count);
    size_t two = (one + 1 + world_draw(world, world->node_count - 1)) % world->node_count;
    struct meeting meeting = {.first = one < two ? one : two, .second = one < two ? two : one};
    struct node *first = &world->nodes[meeting.first];
    (void)task;
    if (first->up && first->paused_until_us <= world->now_us && holding_of(first)->boot != first->boot &&
        position_of(first, &meeting.place)) {
        hold(first, meeting.second, &meeting.place);
        ask(first, &meeting);
    }
    world_after(world, world_between(world, EVERY_MS * SIM_MS / 2, EVERY_MS * SIM_MS), NULL, run_compare);
}

/* --- The hand --- */

/* The statements of an event once more, without the cursor. */
static bool change_a_row(struct node *node, const struct block *block)
{
    struct projection_db *db = projection_live(node->projector->projection);
    struct bytes elements = block_body(block);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        struct frame frame;
        struct entry entry;
        if (frame_next_entry(&elements, &frame, &entry, NULL) != 0 || (entry.flags & ENTRY_FLAG_CONTROL) != 0)
            continue;
        struct projection_event event = {
            .origin = node->origin, .entry = &entry, .payload = frame.payload, .has_payload = frame.has_payload};
        return projection_db_begin(db, NULL) == 0 && db->ops->run(db, 0, &event, NULL) == 0 &&
               projection_db_commit(db, NULL) == 0;
    }
    return false;
}

static void run_harm(struct world *world, struct task *task)
{
    struct comparers *comparers = world->comparers;
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    struct block *block = NULL;
    (void)task;
    if (world->healing)
        return;
    if (!node->up || log_durable_size(node->store.logs[0]) == 0 ||
        log_read_block(node->store.logs[0], 0, &block, NULL) != 0 || !change_a_row(node, block)) {
        block_release(block);
        world_after(world, SIM_S, NULL, run_harm);
        return;
    }
    block_release(block);
    comparers->was_harmed = true;
    comparers->is_harmed = true;
    comparers->harmed = node->number;
    comparers->harmed_generation = projection_generation(node->projector->projection);
    world->counts.harmed++;
    world_trace(world, node, "a hand changes a row of its projection");
}

void comparers_erased(const struct node *node)
{
    struct comparers *comparers = node->world->comparers;
    if (comparers != NULL && comparers->harmed == node->number)
        comparers->is_harmed = false;
}

void comparers_start(struct world *world)
{
    if (!world->plan.projections || world->node_count < 2)
        return;
    world->comparers = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(struct comparers)));
    world_after(world, EVERY_MS * SIM_MS, NULL, run_compare);
    if (world->seed % 2 == 0)
        world_after(world, world_draw(world, world->plan.fault_phase_us), NULL, run_harm);
}
