/* Automatic failover: each region's guard, which carries out what region/takeover.h orders, as src/server/takeover.c
 * does with a thread, and what becomes of the service that it asks (etcd.h): out of reach of one region or of all,
 * slow, with answers that are lost after their request took effect, restarted, its data gone. And regions that go away
 * for long enough to be taken for lost: from everybody, from the service alone, or from the others alone.
 *
 * Checked here:
 *   - who asks its region for a seizure has the claim that it names, of that home;
 *   - no claim is withdrawn by which its region has seized, so that of one loss of a home one region seizes;
 *   - no seizure is asked for when the home's key has been in the service for longer than a decision may take, and none
 *     is decided later than that after the service was asked;
 *   - who is out of touch with the service for a lease is degraded;
 *   - a region does not wait for the service: with it away for good the healed regions converge (oracle.c);
 *   - in the healed core, with the service there, a lost home whose failover would pass its checks is taken within a
 *     bounded time.
 * That no two homes accept at once in a fenced context is fence.c's. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/etcd.h"

enum {
    STEP_MIN_MS = 20,       /* as the server's */
    TIMEOUT_MAX_MS = 2000,  /* as outside/etcd.h's */
    TAKEN_WITHIN_S = 45,    /* of the first moment when it may be */
    OPERATORS_AFTER_S = 25, /* of the heal: what nobody lost by then would not be taken by itself */
    LOST_FOR_S = 20,        /* after the heal: requests to the service, and answers, in some runs */
    DRIFT_SLACK_MS = 200,   /* of a decision's time, on a clock that runs 2 % slow */
    SLOW_SEIZURE_S = 12,    /* a region's thread takes at most so long to come to one, in some cases */
};

struct guard {
    struct takeover takeover;
    struct takeover_view view;
    struct takeover_answer answer;
    bool answered;
    uint64_t call;           /* the number of the one that runs */
    struct request *seizing; /* NULL: nothing is asked of the region */
    bool decided;
    uint64_t claim;
    size_t loss_count;
    struct region_loss losses[CONTEXT_PLACES_MAX];
    struct region_failover_report report;
    uint64_t contact_us;     /* monotonic: when a call was sent that this process had an answer to; 0: never */
    uint64_t ready_since_us; /* since when what is lost could have been seized by this region; 0: it could not */
    char reason[CONTROL_REASON_MAX_BYTES];
};

struct guards {
    struct etcd etcd;
    struct guard guard[SIM_NODES_MAX];
    bool cut[SIM_NODES_MAX];
    uint64_t slow_us;
    uint32_t lost_ppm;
    uint64_t healed_us;
};

static struct guard *guard_of(const struct node *node)
{
    return &node->world->guards->guard[node->number];
}

/* --- Calls --- */

static void run_step(struct world *world, struct task *task);

static void step_after(struct node *node, uint64_t delay_us)
{
    world_after(node->world, delay_us, node, run_step);
}

static void drop_call(struct world *world, struct task *task)
{
    (void)world;
    mem_free(task->data);
}

static void end_call(struct node *node, const struct takeover_answer *answer)
{
    struct guard *guard = guard_of(node);
    uint64_t sent_us = guard->answer.sent_us;
    guard->answer = *answer;
    guard->answer.sent_us = sent_us;
    guard->answered = true;
    guard->call++; /* whatever else comes of it is nobody's */
    if (answer->code == 0)
        guard->contact_us = sent_us;
    step_after(node, 0);
}

static void run_answer(struct world *world, struct task *task)
{
    struct etcd_call *call = task->data;
    (void)world;
    if (guard_of(task->node)->call == call->number)
        end_call(task->node, &call->answer);
    mem_free(call);
}

static void run_timeout(struct world *world, struct task *task)
{
    struct takeover_answer answer = {.code = 0};
    (void)world;
    if (guard_of(task->node)->call != task->numbers[0])
        return;
    answer.code = err_set(&answer.err, ERR_TIMEOUT, "etcd does not answer");
    end_call(task->node, &answer);
}

static uint64_t latency(struct world *world)
{
    return world_between(world, SIM_MS / 2, 10 * SIM_MS) + world_draw(world, world->guards->slow_us + 1);
}

/* It is at the service, which carries it out whether anybody still waits or not. numbers: the boot of who asked. */
static void run_serve(struct world *world, struct task *task)
{
    struct guards *guards = world->guards;
    struct etcd_call *call = task->data;
    struct node *node = &world->nodes[call->by];
    struct guard *guard = &guards->guard[call->by];
    bool current = node->up && node->boot == task->numbers[0] && guard->call == call->number;
    struct takeover_view *view = &guard->view;
    task->data = NULL;
    if (guards->etcd.down || guards->cut[call->by] || (!current && call->type == TAKEOVER_LOOK)) {
        mem_free(call);
        return;
    }
    etcd_serve(&guards->etcd, call, view);
    if (!current || world_chance(world, guards->lost_ppm)) {
        mem_free(call);
        return;
    }
    struct task *answer = world_after(world, latency(world), node, run_answer);
    answer->data = call;
    answer->drop = drop_call;
}

static void call_service(struct node *node, const struct takeover_order *order)
{
    struct world *world = node->world;
    struct guards *guards = world->guards;
    struct guard *guard = guard_of(node);
    uint64_t quarter_us = guards->etcd.lease_us / 4;
    uint64_t timeout_us = quarter_us < TIMEOUT_MAX_MS * SIM_MS ? quarter_us : TIMEOUT_MAX_MS * SIM_MS;
    world_after(world, timeout_us, node, run_timeout)->numbers[0] = guard->call;
    if (guards->etcd.down || guards->cut[node->number] || world_chance(world, guards->lost_ppm))
        return;
    struct etcd_call *call = sim_must(mem_alloc_zero(1, sizeof(*call)));
    *call = (struct etcd_call){.type = order->type,
                               .by = node->number,
                               .lease = order->lease,
                               .revision = order->revision,
                               .number = guard->call};
    if (order->home != NULL)
        call->home = world_node_named(world, order->home);
    struct task *task = world_after(world, latency(world), NULL, run_serve);
    task->numbers[0] = node->boot;
    task->data = call;
    task->drop = drop_call;
}

/* --- Seizures --- */

/* What a seizure rests on, as it is asked for. */
static void check_grounds(struct node *node, size_t home)
{
    struct world *world = node->world;
    struct etcd *etcd = &world->guards->etcd;
    uint64_t revision = guard_of(node)->claim;
    const struct etcd_claim *claim = &etcd->claims[revision];
    uint64_t most_us = (uint64_t)TAKEOVER_DECIDE_US + DRIFT_SLACK_MS * SIM_MS;
    uint64_t since_us = etcd->regions[home].alive_since_us;
    if (etcd_is_alive(etcd, home) && since_us + most_us < world->now_us)
        world_fail(world, node, "it seizes from region %s, whose key has been in etcd for %llu ms",
                   world->region_names[home], (unsigned long long)((world->now_us - since_us) / SIM_MS));
    if (!claim->granted || claim->by != node->number || claim->home != home)
        world_fail(world, node, "it seizes from region %s by claim %llu, which etcd did not give to it",
                   world->region_names[home], (unsigned long long)revision);
}

/* Nobody else may have the claim then as long as the home does not register again. */
static void check_withdrawal(struct node *node, const struct takeover_order *order)
{
    if (node->world->guards->etcd.claims[order->revision].seized)
        world_fail(node->world, node, "it withdraws claim %llu on region %s, and has seized by it",
                   (unsigned long long)order->revision, order->home);
}

/* The region's thread comes to it, which may take its time. */
static void run_seize(struct world *world, struct task *task)
{
    struct guard *guard = guard_of(task->node);
    (void)world;
    struct mail *mail = mail_new(REGION_COMMAND);
    mail->event.command = &guard->seizing->command;
    node_post(task->node, mail);
}

static void seize(struct node *node, const struct takeover_order *order)
{
    struct guard *guard = guard_of(node);
    struct request *request = sim_must(mem_alloc_zero(1, sizeof(*request)));
    int size = snprintf(guard->reason, sizeof(guard->reason), "etcd: the lease of region %s has ended; claim %llu",
                        order->home, (unsigned long long)order->revision);
    memset(&guard->report, 0, sizeof(guard->report));
    request->control = (struct region_control){.type = REGION_FAILOVER,
                                               .context = bytes_of_string(node->world->contexts[0].name),
                                               .actor = BYTES_LITERAL("automatic"),
                                               .reason = bytes_of(guard->reason, (size_t)size),
                                               .until_us = order->until_us,
                                               .report = &guard->report};
    copy_string(request->control.region, sizeof(request->control.region), order->home);
    request->by_guard = true;
    request->command = (struct region_command){.control = &request->control};
    guard->seizing = request;
    guard->decided = false;
    guard->claim = order->revision;
    world_trace(node->world, node, "its guard asks for a failover from %s, by claim %llu", order->home,
                (unsigned long long)order->revision);
    check_grounds(node, world_node_named(node->world, order->home));
    queue_push_back(&node->requests, &request->link);
    bool slow = !node->world->healing && world_chance(node->world, 500000);
    world_after(node->world, slow ? world_draw(node->world, SLOW_SEIZURE_S * SIM_S) : 0, node, run_seize);
}

void guards_stepped(struct node *node)
{
    struct world *world = node->world;
    struct guard *guard = world->guards == NULL ? NULL : guard_of(node);
    if (guard == NULL || guard->seizing == NULL || guard->decided || guard->seizing->control.changed == 0 ||
        guard->seizing->command.refusal.code != 0)
        return;
    uint64_t now_us = node_now(node).mono_us;
    guard->decided = true;
    world->counts.takeovers++;
    world->guards->etcd.claims[guard->claim].seized = true;
    if (now_us > guard->contact_us + TAKEOVER_DECIDE_US)
        world_fail(world, node, "it decides about a seizure from region %s %llu ms after etcd was asked",
                   guard->seizing->control.region, (unsigned long long)((now_us - guard->contact_us) / SIM_MS));
}

static const char *failed_check(const struct region_failover_report *report)
{
    for (size_t i = 0; i < report->check_count; i++) {
        if (!report->checks[i].ok)
            return report->checks[i].name;
    }
    return NULL;
}

void guards_answered(struct node *node, const struct request *request)
{
    struct guard *guard = guard_of(node);
    const struct region_refusal *refusal = &request->command.refusal;
    struct takeover_answer answer = {
        .code = refusal->code, .err = refusal->err, .remaining = request->control.remaining};
    uint64_t contact_us = guard->contact_us;
    if (answer.code != 0)
        answer.check = failed_check(&guard->report);
    world_trace(node->world, node, "its guard is told: %s", answer.code == 0 ? "done" : answer.err.message);
    guard->seizing = NULL;
    end_call(node, &answer);
    guard->contact_us = contact_us; /* with the service it was not */
}

/* --- Steps --- */

static void check_degraded(struct node *node, const struct takeover_status *status, uint64_t now_us)
{
    const struct guard *guard = guard_of(node);
    uint64_t lease_us = node->world->guards->etcd.lease_us;
    if (guard->contact_us != 0 && now_us >= guard->contact_us + lease_us && status->state != TAKEOVER_DEGRADED)
        world_fail(node->world, node, "it is %s, and has not heard from etcd for %llu ms",
                   takeover_state_name(status->state), (unsigned long long)((now_us - guard->contact_us) / SIM_MS));
}

/* Another one that has the claim, and whose failover fails its checks: takeover.h says why nobody takes it from it. */
static bool is_held_up(struct world *world, size_t home)
{
    const struct guards *guards = world->guards;
    size_t by = guards->etcd.regions[home].claimed_by;
    return by != SIM_NODES_MAX && guards->guard[by].ready_since_us == 0;
}

static bool is_there(const struct guards *guards)
{
    return !guards->etcd.down;
}

static void check_taken(struct node *node)
{
    struct world *world = node->world;
    struct guards *guards = world->guards;
    struct guard *guard = guard_of(node);
    size_t home = guard->loss_count == 0 ? SIM_NODES_MAX : world_node_named(world, guard->losses[0].region);
    bool ready = home != SIM_NODES_MAX && guard->losses[0].check == NULL && guards->etcd.regions[home].known &&
                 !etcd_is_alive(&guards->etcd, home);
    if (!ready || !world->healing || !is_there(guards)) {
        guard->ready_since_us = ready ? world->now_us : 0;
        return;
    }
    if (guard->ready_since_us == 0)
        guard->ready_since_us = world->now_us;
    if (is_held_up(world, home))
        return;
    if (world->now_us > guard->ready_since_us + (uint64_t)TAKEN_WITHIN_S * SIM_S)
        world_fail(world, node, "region %s is lost, its failover would pass its checks, and nobody seizes for %d s",
                   world->region_names[home], TAKEN_WITHIN_S);
}

static void step(struct node *node)
{
    struct guard *guard = guard_of(node);
    struct takeover_order order;
    struct takeover_status status;
    uint64_t now_us = node_now(node).mono_us;
    guard->loss_count = region_losses(node->region, guard->losses);
    takeover_step(&guard->takeover, now_us, guard->answered ? &guard->answer : NULL, guard->losses, guard->loss_count,
                  &order);
    takeover_status(&guard->takeover, now_us, guard->losses, guard->loss_count, &status);
    check_degraded(node, &status, now_us);
    check_taken(node);
    guard->answer = (struct takeover_answer){.sent_us = now_us};
    guard->answered = true;
    if (order.type == TAKEOVER_PAUSE) {
        uint64_t least_us = now_us + STEP_MIN_MS * SIM_MS;
        step_after(node, (order.until_us > least_us ? order.until_us : least_us) - now_us);
    } else if (order.type == TAKEOVER_SEIZE) {
        seize(node, &order);
    } else {
        if (order.type == TAKEOVER_WITHDRAW)
            check_withdrawal(node, &order);
        call_service(node, &order);
    }
}

static void run_step(struct world *world, struct task *task)
{
    (void)world;
    step(task->node);
}

void guards_boot(struct node *node)
{
    if (node->world->guards == NULL)
        return;
    struct guard *guard = guard_of(node);
    uint64_t call = guard->call;
    memset(guard, 0, sizeof(*guard));
    guard->call = call + 1;
    takeover_init(&guard->takeover, node->config.region, node->world->guards->etcd.lease_us, node_now(node).mono_us);
    step_after(node, world_draw(node->world, 100 * SIM_MS));
}

/* --- What goes wrong --- */

static void run_end_of_harm(struct world *world, struct task *task)
{
    struct guards *guards = world->guards;
    if (world->healing)
        return;
    memset(guards->cut, 0, sizeof(guards->cut));
    guards->slow_us = 0;
    guards->lost_ppm = 0;
    if (guards->etcd.down)
        etcd_restart(&guards->etcd);
    if (task->numbers[0] == SIM_NODES_MAX)
        return;
    for (size_t other = 0; other < world->node_count; other++) {
        world->links[task->numbers[0]][other].cut = false;
        world->links[other][task->numbers[0]].cut = false;
    }
    world_trace(world, &world->nodes[task->numbers[0]], "is back");
}

static void leave(struct world *world, struct node *node, bool peers, bool service)
{
    for (size_t other = 0; peers && other < world->node_count; other++) {
        world->links[node->number][other].cut = other != node->number;
        world->links[other][node->number].cut = other != node->number;
    }
    world->guards->cut[node->number] = service;
    world_trace(world, node, "goes away from%s%s", peers ? " its peers" : "", service ? " etcd" : "");
}

/* A region is away until everybody has taken it for lost, and some time more. */
static uint64_t away_us(struct world *world)
{
    uint64_t lost_us = 2 * world->guards->etcd.lease_us + world->plan.peer_timeout_us;
    uint64_t fence_us = 3 * (uint64_t)world->contexts[0].rules.lease_ms * SIM_MS;
    return lost_us + fence_us + world_between(world, 3 * SIM_S, 15 * SIM_S);
}

/* The service hears the region again, and its peers do not yet. */
static void run_renews(struct world *world, struct task *task)
{
    if (world->healing)
        return;
    world->guards->cut[task->numbers[0]] = false;
    world_trace(world, &world->nodes[task->numbers[0]], "reaches etcd again");
}

/* Returns how long it lasts; *ret_node is the region whose links are cut, if any are. */
static uint64_t harm(struct world *world, size_t *ret_node)
{
    struct guards *guards = world->guards;
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    uint64_t until_renews_us;
    switch (world_draw(world, 12)) {
    case 0:
    case 1:
    case 2:
        *ret_node = node->number;
        leave(world, node, true, true);
        return away_us(world);
    case 3:
        *ret_node = node->number;
        leave(world, node, true, true);
        until_renews_us = world_draw(world, away_us(world));
        world_after(world, until_renews_us, NULL, run_renews)->numbers[0] = node->number;
        return until_renews_us + world_between(world, 10 * SIM_S, 20 * SIM_S);
    case 4:
    case 5:
        *ret_node = node->number;
        leave(world, node, true, false);
        return away_us(world);
    case 6:
        leave(world, node, false, true);
        return away_us(world);
    case 7:
        guards->slow_us = world_between(world, 50 * SIM_MS, 2 * SIM_S);
        return world_between(world, SIM_S, 10 * SIM_S);
    case 8:
        guards->lost_ppm = (uint32_t)world_between(world, 50000, 600000);
        return world_between(world, SIM_S, 10 * SIM_S);
    case 9:
        if (node->up)
            node->paused_until_us = world->now_us + away_us(world);
        return world_between(world, SIM_S, 10 * SIM_S);
    case 10:
        if (world_chance(world, 300000)) {
            world_trace(world, NULL, "etcd has lost its data");
            etcd_lose(&guards->etcd);
        }
        return SIM_S;
    default:
        guards->etcd.down = true;
        world_trace(world, NULL, "etcd is down");
        return world_between(world, 100 * SIM_MS, 12 * SIM_S);
    }
}

static void run_harm(struct world *world, struct task *task)
{
    size_t node = SIM_NODES_MAX;
    (void)task;
    if (world->healing)
        return;
    uint64_t for_us = harm(world, &node);
    world_after(world, for_us, NULL, run_end_of_harm)->numbers[0] = node;
    world_after(world, for_us + world_between(world, SIM_S, 8 * SIM_S), NULL, run_harm);
}

void guards_start(struct world *world)
{
    if (!world->plan.automatic)
        return;
    world->guards = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(struct guards)));
    etcd_init(&world->guards->etcd, world, world_between(world, 2, 5) * SIM_S);
    world_after(world, world_between(world, SIM_S, 10 * SIM_S), NULL, run_harm);
}

/* --- The heal --- */

static void run_whole(struct world *world, struct task *task)
{
    (void)task;
    world->guards->lost_ppm = 0;
}

void guards_heal(struct world *world)
{
    struct guards *guards = world->guards;
    if (guards == NULL)
        return;
    guards->healed_us = world->now_us;
    memset(guards->cut, 0, sizeof(guards->cut));
    guards->slow_us = 0;
    guards->lost_ppm = world_chance(world, 300000) ? 100000 : 0;
    world_after(world, (uint64_t)LOST_FOR_S * SIM_S, NULL, run_whole);
    if (world_chance(world, 200000)) {
        guards->etcd.down = true;
        world_trace(world, NULL, "etcd is gone for good");
    } else if (guards->etcd.down) {
        etcd_restart(&guards->etcd);
    }
}

/* Not before it is clear that nobody will, and while somebody may. */
bool guards_will_take(const struct world *world)
{
    const struct guards *guards = world->guards;
    if (guards == NULL || !is_there(guards))
        return false;
    if (world->now_us < guards->healed_us + (uint64_t)OPERATORS_AFTER_S * SIM_S)
        return true;
    for (size_t i = 0; i < world->node_count; i++) {
        size_t home = guards->guard[i].loss_count == 0 ? SIM_NODES_MAX
                                                       : world_node_named(world, guards->guard[i].losses[0].region);
        if (world->core[i] && world->nodes[i].up && guards->guard[i].ready_since_us != 0 && home != SIM_NODES_MAX)
            return true;
    }
    return false;
}
