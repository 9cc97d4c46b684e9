/* The plan of a run: which faults it may meet, how often, and with what settings. Drawn anew for each seed, so that
 * some runs have one fault alone and others all of them (Groce et al., "Swarm testing", 2012). */
#include <stdio.h>

#include "projection/follower.h"
#include "sim/sim.h"

static const char *const region_names[SIM_NODES_MAX] = {"eu", "us", "ap", "af", "sa"};

static void draw_faults(struct world *world)
{
    struct plan *plan = &world->plan;
    uint32_t share = (uint32_t)world_between(world, 1, 8) * 100000;
    bool calm = world_chance(world, 50000);
    for (int i = 0; i < FAULT_COUNT; i++)
        plan->enabled[i] = !calm && world_chance(world, share);
    plan->fault_phase_us = world_between(world, 5, 40) * SIM_S;
    plan->fault_every_us = world_between(world, 100, 4000) * SIM_MS;
    plan->message_fault_ppm = (uint32_t)world_between(world, 100, 30000);
    plan->latency_us = world_between(world, 100, 60000);
}

/* Each one is tiny, or as usual. */
static void draw_limits(struct world *world)
{
    struct plan *plan = &world->plan;
    struct region_limits *limits = &plan->limits;
    size_t *const sizes[] = {&limits->ready_blocks,
                             &limits->commands_pending,
                             &limits->unindexed_entries,
                             &limits->indexed_steps,
                             &limits->mirror_writes,
                             &limits->kept_notes,
                             &limits->boundaries,
                             &limits->block_bytes,
                             &plan->applier_limits.blocks,
                             &plan->index_limits.restored,
                             &plan->applier_limits.batch_entries};
    uint64_t *const times[] = {&limits->overlay_grace_us, &limits->backoff_first_us, &limits->backoff_max_us,
                               &limits->penalty_us};
    for (size_t i = 0; world->plan.enabled[FAULT_TINY_LIMITS] && i < sizeof(sizes) / sizeof(sizes[0]); i++)
        *sizes[i] = world_chance(world, 500000) ? world_between(world, 1, 8) : 0;
    for (size_t i = 0; world->plan.enabled[FAULT_EARLY_TIMEOUTS] && i < sizeof(times) / sizeof(times[0]); i++)
        *times[i] = world_chance(world, 500000) ? world_between(world, 1, 20) * SIM_MS : 0;
    bool tiny = plan->enabled[FAULT_TINY_LIMITS] && world_chance(world, 500000);
    plan->projected_events = tiny ? world_between(world, 1, 32) : FOLLOWER_EVENTS_MAX;
    if (limits->unindexed_entries > 0)
        limits->unindexed_entries *= 32; /* room for a request, and for a block of a peer */
}

static void draw_settings(struct world *world)
{
    struct plan *plan = &world->plan;
    bool tiny = plan->enabled[FAULT_TINY_LIMITS];
    bool early = plan->enabled[FAULT_EARLY_TIMEOUTS];
    plan->index_lag_us = world_chance(world, 150000) ? world_between(world, 20, 800) * SIM_MS : 2 * SIM_MS;
    plan->client_count = world_between(world, 1, 6);
    plan->think_us = world_between(world, 1, 400) * SIM_MS;
    if (world_chance(world, 150000)) { /* a crowd, for a short while */
        plan->client_count = world_between(world, 6, 16);
        plan->think_us = world_between(world, 1, 5) * SIM_MS;
        plan->fault_phase_us = world_between(world, 3, 8) * SIM_S;
        plan->fault_every_us /= 4;
    }
    plan->log_options.segment_size_bytes = (tiny ? 16 : world_between(world, 32, 128)) * BLOCK_ALIGNMENT_BYTES;
    plan->log_options.tail_size_bytes = tiny ? 4096 : 1024 * 1024;
    plan->checkpoint_interval_us = world_between(world, 1, 1000) * SIM_MS;
    plan->hello_interval_us = world_between(world, 500, 3000) * SIM_MS;
    plan->peer_timeout_us = early ? plan->hello_interval_us / 2 : 4 * plan->hello_interval_us;
    plan->call_timeout_us = early ? 2 * plan->latency_us : 3 * SIM_S;
    plan->keepalive_us = early ? 500 * SIM_MS : world_between(world, 1, 20) * SIM_S;
    plan->pull_window = tiny ? 1 : world_between(world, 1, 32);
    plan->accept_isolated = world->node_count > 1 && world_chance(world, 250000);
    plan->isolation_wait_us = world_between(world, 500, 5000) * SIM_MS;
    draw_limits(world);
    world->counts.faults[FAULT_TINY_LIMITS] += tiny;
    world->counts.faults[FAULT_EARLY_TIMEOUTS] += early;
}

/* What the homes do about events that came too late, by type; what has no rule waits for a person. */
static void draw_rules(struct world *world)
{
    struct context *context = &world->contexts[0];
    if (world->plan.operate_every_us == 0)
        return;
    if (world_chance(world, 700000))
        world->plan.settle_every_us = world_between(world, 20, 800) * SIM_MS;
    context->types = world->types;
    for (size_t i = 0; i < SIM_TYPES; i++) {
        enum late_policy policy = (enum late_policy)world_draw(world, LATE_COMPENSATE + 1);
        if (policy != LATE_MANUAL)
            world->types[context->type_count++] = (struct context_type){.type = event_types[i], .late = policy};
    }
}

/* In some runs one region may not hold payloads. Where disks are lost, what only it has would stay without them, and
 * projections are about payloads: not in the same runs. By the seed, so that the other runs are as they were. */
static void choose_outside(struct world *world)
{
    struct plan *plan = &world->plan;
    struct context *context = &world->contexts[0];
    size_t outside = world->node_count - 1;
    plan->outside = SIM_NODES_MAX;
    if (world->seed % 4 != 3 || world->node_count < 3 || plan->projections || plan->accept_isolated ||
        plan->enabled[FAULT_LOST_DISK] || plan->enabled[FAULT_LOST_LOGS] || plan->enabled[FAULT_OLD_BACKUP] ||
        plan->enabled[FAULT_BIT_ROT])
        return;
    plan->outside = outside;
    world->homes[outside].region = world->region_names[0];
    for (size_t i = 0; i < outside; i++)
        world->payload_regions[i] = world->region_names[i];
    context->rules = (struct context_rules){.payload_region_count = outside, .payload_regions = world->payload_regions};
}

static void draw_copies(struct world *world)
{
    struct durability *durability = &world->contexts[0].promises.durability;
    world->plan.give_up_us = world_between(world, 100, 5000) * SIM_MS;
    if (world->node_count < 2 || !world_chance(world, 350000))
        return;
    durability->peers = (uint32_t)world_between(world, 1, world->node_count - 1);
    world->plan.limits.commands_pending = 0; /* who decides about late and queued events waits for copies for ever */
    world->plan.peer_timeout_us = 4 * world->plan.hello_interval_us; /* else there may never be enough peers at once */
    world->plan.call_timeout_us = 3 * SIM_S;
    durability->when_away = world_chance(world, 500000) ? AWAY_REFUSE : AWAY_DEGRADE;
    if (world->plan.outside < SIM_NODES_MAX && durability->peers > world->node_count - 2)
        durability->peers = (uint32_t)world->node_count - 2;
}

/* In some runs, by the seed, a home may be only so far ahead of its copies. */
static void choose_recovery_point(struct world *world)
{
    struct recovery_point *point = &world->contexts[0].promises.recovery_point;
    if (world->seed % 6 != 4 || world->node_count == 1)
        return;
    point->events = world_between(world, SIM_OP_EVENTS_MAX, 10 * SIM_OP_EVENTS_MAX);
    point->then = world_chance(world, 500000) ? BOUND_THROTTLE : BOUND_REFUSE;
}

/* Leases too short for the links that are drawn keep homes from accepting for most of the time, which is no bug. */
static void draw_fence(struct world *world)
{
    struct context_rules *rules = &world->contexts[0].rules;
    if (world->node_count == 1 || !world_chance(world, 400000))
        return;
    rules->isolation = ISOLATION_FENCE;
    world->plan.fault_every_us *= 4; /* the rest is faults enough */
    rules->lease_ms = (uint32_t)world_between(world, RULES_LEASE_MIN_MS, 8 * RULES_LEASE_MIN_MS);
    world->plan.drifts_apart = world->seed % 2 == 0 && world->node_count > 2;
    if (!world->plan.drifts_apart)
        return;
    /* What a clock is off by in a lease is more than everything else takes, and a home is taken for lost before its
     * lease ends. */
    rules->lease_ms = (uint32_t)world_between(world, 8, 24) * RULES_LEASE_MIN_MS;
    world->plan.hello_interval_us = 500 * SIM_MS;
    world->plan.peer_timeout_us = 4 * world->plan.hello_interval_us;
    world->plan.call_timeout_us = SIM_S;
    world->plan.latency_us = world_between(world, 100, 5000);
    world->plan.think_us = world_between(world, 1, 30) * SIM_MS;
    world->plan.fault_phase_us += 20 * SIM_S;
}

/* In some runs any region accepts events of type 0, by the seed. */
static void choose_multi_home(struct world *world)
{
    struct context *context = &world->contexts[0];
    size_t at = 0;
    world->plan.multi_home = world->seed % 3 == 1 && world->node_count > 1;
    if (!world->plan.multi_home)
        return;
    context->rules.topology = TOPOLOGY_MULTI_HOME;
    context->types = world->types;
    while (at < context->type_count && strcmp(world->types[at].type, event_types[0]) != 0)
        at++;
    if (at == context->type_count)
        world->types[context->type_count++] = (struct context_type){.type = event_types[0]};
    world->types[at].commutative = true;
}

/* In some runs events of one type may be accepted away from home, by the seed. */
static void choose_overrides(struct world *world)
{
    struct context *context = &world->contexts[0];
    size_t at = 0;
    world->plan.overrides = world->seed % 5 == 2 && world->node_count > 1;
    if (!world->plan.overrides)
        return;
    context->types = world->types;
    while (at < context->type_count && strcmp(world->types[at].type, event_types[SIM_URGENT_TYPE]) != 0)
        at++;
    if (at == context->type_count)
        world->types[context->type_count++] = (struct context_type){.type = event_types[SIM_URGENT_TYPE]};
    world->types[at].override = true;
}

/* In half of the runs in which both happen, by the seed. */
static void plan_system(struct world *world)
{
    world->plan.system_moves =
        world->seed % 2 == 0 && world->plan.operate_every_us > 0 && world->plan.define_every_us > 0;
}

/* In some runs guards seize by themselves, by the seed. The checks of a failover want everybody else there, and time.
 */
static void choose_automatic(struct world *world)
{
    struct plan *plan = &world->plan;
    plan->automatic = world->seed % 5 == 3 && world->node_count > 1;
    if (!plan->automatic)
        return;
    world->contexts[0].rules.failover = FAILOVER_AUTOMATIC;
    plan->fault_every_us *= 8;
    plan->fault_phase_us += 30 * SIM_S;
    if (plan->think_us < 100 * SIM_MS)
        plan->think_us *= 8;
    if (world->seed % 2 == 0)
        plan->define_every_us = 0; /* it stays automatic */
}

/* A link carries the blocks that may be under way once in two latencies. Where clients append more for long, copies
 * stay behind by more than the healed regions have time for, which is no bug. */
static void choose_pace(struct world *world)
{
    enum { LONG_S = 20 };
    struct plan *plan = &world->plan;
    uint64_t least_us = plan->client_count * 2 * plan->latency_us / plan->pull_window;
    if (plan->fault_phase_us > LONG_S * SIM_S && plan->think_us < least_us)
        plan->think_us = least_us;
}

void plan_draw(struct world *world)
{
    world->plan.node_count = world_chance(world, 100000) ? 1 : world_between(world, 2, SIM_NODES_MAX);
    world->node_count = world->plan.node_count;
    draw_faults(world);
    draw_settings(world);
    world->plan.projections = world_chance(world, 250000);
    if (world->node_count > 1 && world_chance(world, 700000))
        world->plan.operate_every_us = world_between(world, 200, 6000) * SIM_MS;
    if (world_chance(world, 500000))
        world->plan.define_every_us = world_between(world, 300, 8000) * SIM_MS;
    plan_system(world);
    for (size_t i = 0; i < world->node_count; i++) {
        snprintf(world->region_names[i], sizeof(world->region_names[i]), "%s", region_names[i]);
        snprintf(world->partition_names[i], sizeof(world->partition_names[i]), "p%zu", i);
        world->homes[i] =
            (struct context_home){.partition = world->partition_names[i], .region = world->region_names[i]};
    }
    for (size_t i = 0; i < SIM_FREE_PARTITIONS; i++)
        snprintf(world->partition_names[world->node_count + i], sizeof(world->partition_names[0]), "q%zu", i);
    world->partition_count = world->node_count + SIM_FREE_PARTITIONS;
    world->contexts[0] = (struct context){
        .name = "bank", .default_home = world->region_names[0], .home_count = world->node_count, .homes = world->homes};
    world->contexts[1] = (struct context){.name = CONTEXT_SYSTEM, .default_home = world->region_names[0]};
    choose_outside(world);
    draw_rules(world);
    choose_multi_home(world);
    choose_overrides(world);
    draw_copies(world);
    choose_recovery_point(world);
    draw_fence(world);
    world->plan.mistake_ppm = 100000;
    choose_automatic(world);
    choose_pace(world);
    if (world->seed % 4 == 1 && world->node_count > 1)
        world->plan.rotate_every_us = world_between(world, 200, 3000) * SIM_MS;
    themes_choose(world);
}

void plan_print(const struct world *world)
{
    static const char *const themes[THEME_COUNT] = {"", "; about guards", "; about leases", "; about drift",
                                                    "; about copies"};
    const struct plan *plan = &world->plan;
    printf("%zu regions, %zu clients that think for %llu ms, links of %llu us, %zu blocks under way, %llu s of faults, "
           "one every %llu ms; faults:",
           plan->node_count, plan->client_count, (unsigned long long)(plan->think_us / SIM_MS),
           (unsigned long long)plan->latency_us, plan->pull_window, (unsigned long long)(plan->fault_phase_us / SIM_S),
           (unsigned long long)(plan->fault_every_us / SIM_MS));
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (plan->enabled[i])
            printf(" %s", fault_names[i]);
    }
    if (plan->operate_every_us > 0)
        printf("; homes move every %llu ms", (unsigned long long)(plan->operate_every_us / SIM_MS));
    if (world->contexts[0].promises.durability.peers > 0)
        printf("; appends wait for %u copies", (unsigned)world->contexts[0].promises.durability.peers);
    if (world->contexts[0].promises.recovery_point.events > 0)
        printf("; %llu events may be on one disk alone",
               (unsigned long long)world->contexts[0].promises.recovery_point.events);
    if (plan->settle_every_us > 0)
        printf("; people settle late events every %llu ms", (unsigned long long)(plan->settle_every_us / SIM_MS));
    if (plan->outside < SIM_NODES_MAX)
        printf("; region %zu holds no payloads", plan->outside);
    if (plan->overrides)
        printf("; %s is accepted away from home", event_types[SIM_URGENT_TYPE]);
    if (plan->multi_home)
        printf("; %s commutes", event_types[0]);
    if (plan->accept_isolated)
        printf("; accepts in isolation after %llu ms", (unsigned long long)(plan->isolation_wait_us / SIM_MS));
    if (plan->define_every_us > 0)
        printf("; contexts change every %llu ms", (unsigned long long)(plan->define_every_us / SIM_MS));
    if (plan->system_moves)
        printf(", and \"$system\" moves");
    if (world->contexts[0].rules.isolation == ISOLATION_FENCE)
        printf("; fenced%s, leases of %u ms", plan->drifts_apart ? ", clocks run apart" : "",
               (unsigned)world->contexts[0].rules.lease_ms);
    if (plan->rotate_every_us > 0)
        printf("; keys change every %llu ms", (unsigned long long)(plan->rotate_every_us / SIM_MS));
    if (plan->automatic)
        printf("; failed over by guards");
    printf("%s%s\n", plan->projections ? "; projections" : "", themes[plan->theme]);
}
