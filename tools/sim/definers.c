/* Operators who create contexts and change them while everything else goes on, two at once among them: they ask the
 * home of "$system" mostly, sometimes another region, and name the version that they saw, or one that is not in force.
 *
 * The truth about contexts: of the definitions of one name, as far as they are not late by the authority of "$system"
 * (atlas.c), the first of version 1 creates the context, where the configuration does not have it; then the highest
 * version is in force, and of several the first. What must hold:
 *   - only the home of a context's name in "$system" defines it (atlas.c);
 *   - under one epoch versions of a name follow each other in a log, so no two operators made the same one; and whoever
 *     defines one holds the version before it;
 *   - at the end every region, and every index, has the contexts that the definitions it can apply say. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "domain/definition.h"
#include "sim/atlas.h"
#include "sim/sim.h"

static size_t name_number(struct bytes name)
{
    size_t number = 0;
    while (number < SIM_DEFINED && !bytes_equal(name, bytes_of_string(defined_names[number])))
        number++;
    return number;
}

/* --- Asking --- */

static struct context policy_of(struct world *world, size_t number)
{
    struct context policy = {.name = defined_names[number], .default_home = world->region_names[0]};
    if (number == 0)
        policy = world->contexts[0];
    policy.rules.failover = (enum failover_mode)world_draw(world, FAILOVER_AUTOMATIC + 1);
    return policy;
}

static void ask(struct node *node, size_t number, uint64_t expected_version)
{
    struct world *world = node->world;
    struct request *request = sim_must(mem_alloc_zero(1, sizeof(*request)));
    request->context = policy_of(world, number);
    request->define = (struct region_define){
        .context = &request->context, .expected_version = expected_version, .actor = BYTES_LITERAL("operator")};
    request->command = (struct region_command){.define = &request->define};
    world_trace(world, node, "an operator defines context %s, after version %llu", defined_names[number],
                (unsigned long long)expected_version);
    queue_push_back(&node->requests, &request->link);
    struct mail *mail = mail_new(REGION_COMMAND);
    mail->event.command = &request->command;
    node_post(node, mail);
}

/* Mostly the home, as far as somebody knows. */
static size_t whom_to_ask(struct world *world, size_t number)
{
    struct authority_now now;
    if (world_chance(world, 100000))
        return world_draw(world, world->node_count);
    if (!world->plan.system_moves)
        return 0;
    const struct node *node = &world->nodes[world_draw(world, world->node_count)];
    if (!node->up || authority_now(region_authority(node->region), BYTES_LITERAL(CONTEXT_SYSTEM),
                                   bytes_of_string(defined_names[number]), &now, NULL) != 0)
        return 0;
    return world_node_named(world, now.region);
}

static void define(struct world *world)
{
    size_t number = world_draw(world, SIM_DEFINED);
    struct node *node = &world->nodes[whom_to_ask(world, number)];
    if (!node->up || node->paused_until_us > world->now_us)
        return;
    const struct context *found = context_find(region_contexts(node->region), bytes_of_string(defined_names[number]));
    uint64_t expected = found == NULL ? 0 : context_version(found);
    if (expected > 0 && world_chance(world, 200000))
        expected--;
    ask(node, number, expected);
    if (world_chance(world, 300000))
        ask(node, number, expected);
}

static void run_definer(struct world *world, struct task *task)
{
    (void)task;
    if (world->healing)
        return;
    define(world);
    world_after(world, world_draw(world, 2 * world->plan.define_every_us) + 1, NULL, run_definer);
}

void definers_start(struct world *world)
{
    if (world->plan.define_every_us > 0)
        world_after(world, world_draw(world, 2 * world->plan.define_every_us) + 1, NULL, run_definer);
}

/* --- What is in the logs --- */

/* Whether a region holds, or was configured with, a version of a name. */
static bool holds_version(const struct node *node, size_t number, uint64_t version)
{
    const struct definers *definers = &node->world->definers;
    bool holds = version == (number == 0 ? 1 : 0);
    for (size_t i = 0; !holds && i < definers->count; i++) {
        const struct definers_made *made = &definers->made[i];
        holds = made->name == number && made->version == version &&
                made->index < node_durable_size(node, truth_origin(node->world, made->log));
    }
    return holds;
}

static void check_follows(struct node *node, size_t log, const struct definers_made *made)
{
    const struct definers *definers = &node->world->definers;
    bool creates = made->name != 0 && made->version == 1; /* again, where the creation was overtaken */
    uint64_t last = made->version - 1;
    for (size_t i = 0; i < definers->count; i++) {
        const struct definers_made *before = &definers->made[i];
        if (before->log == log && before->name == made->name && before->epoch == made->epoch)
            last = before->version;
    }
    if ((made->version != last + 1 && !creates) || !holds_version(node, made->name, made->version - 1))
        world_fail(node->world, node, "entry %llu of %s defines version %llu of context %s, after version %llu",
                   (unsigned long long)made->index, truth_origin(node->world, log), (unsigned long long)made->version,
                   defined_names[made->name], (unsigned long long)last);
}

void definers_take(struct node *node, size_t log, const struct chain_entry *found)
{
    struct world *world = node->world;
    struct definers *definers = &world->definers;
    struct definition definition;
    size_t number = name_number(found->entry.partition);
    if (number == SIM_DEFINED || definition_parse(found->frame.payload, &definition, NULL) != 0) {
        world_fail(world, node, "entry %llu of %s defines no context that it may",
                   (unsigned long long)found->entry.index, truth_origin(world, log));
        return;
    }
    struct definers_made made = {.log = log,
                                 .index = found->entry.index,
                                 .name = number,
                                 .version = definition.version,
                                 .epoch = found->entry.epoch,
                                 .mode = definition.rules.failover};
    check_follows(node, log, &made);
    if (definers->count == definers->capacity) {
        definers->capacity = definers->capacity == 0 ? 64 : 2 * definers->capacity;
        definers->made = sim_must(mem_resize(definers->made, definers->capacity * sizeof(*definers->made)));
    }
    definers->made[definers->count++] = made;
    world->counts.definitions++;
    world_trace(world, node, "context %s is at version %llu", defined_names[number],
                (unsigned long long)definition.version);
}

void definers_free(struct world *world)
{
    mem_free(world->definers.made);
}

/* --- At the end --- */

/* What the region can apply of what it holds: a log that waits for a basis which nobody there has ends where it waits.
 */
static struct atlas *atlas_of(struct node *node)
{
    uint64_t sizes[TRUTH_LOGS_MAX] = {0};
    for (size_t log = 0; log < truth_log_count(node->world); log++)
        sizes[log] = node_durable_size(node, truth_origin(node->world, log));
    return atlas_new(node->world, sizes);
}

/* In (time, region, incarnation, index) order. */
static bool precedes(const struct world *world, const struct definers_made *a, const struct definers_made *b)
{
    const struct truth_log *of_a = &world->truth->logs[a->log];
    const struct truth_log *of_b = &world->truth->logs[b->log];
    hlc time_a = of_a->entries[a->index].time;
    hlc time_b = of_b->entries[b->index].time;
    int regions = strcmp(of_a->parts.region, of_b->parts.region);
    if (time_a != time_b)
        return time_a < time_b;
    if (regions != 0)
        return regions < 0;
    if (of_a->parts.incarnation != of_b->parts.incarnation)
        return of_a->parts.incarnation < of_b->parts.incarnation;
    return a->index < b->index;
}

/* What is in force; version 0: there is no such context. */
static struct definers_made in_force(const struct node *node, const struct atlas *atlas, size_t number)
{
    const struct world *world = node->world;
    const struct definers *definers = &world->definers;
    bool created = number == 0;
    struct definers_made best = {.version = created ? 1 : 0,
                                 .mode = created ? world->contexts[0].rules.failover : FAILOVER_MANUAL};
    for (size_t i = 0; i < definers->count; i++) {
        const struct definers_made *made = &definers->made[i];
        bool counts = made->name == number && made->index < atlas_applied(atlas, made->log) &&
                      !atlas_late(atlas, made->log, made->index);
        if (!counts || (number == 0 && made->version == 1))
            continue;
        created = created || made->version == 1;
        if (made->version > best.version || (made->version == best.version && precedes(world, made, &best)))
            best = *made;
    }
    return created ? best : (struct definers_made){.version = 0};
}

static void check_table(struct node *node, const struct atlas *atlas, const struct context_table *table,
                        const char *what)
{
    for (size_t number = 0; number < SIM_DEFINED && !node->world->failed; number++) {
        const struct context *found = context_find(table, bytes_of_string(defined_names[number]));
        struct definers_made expected = in_force(node, atlas, number);
        uint64_t version = found == NULL ? 0 : context_version(found);
        bool fits = version == expected.version && (found == NULL || found->rules.failover == expected.mode);
        if (!fits)
            world_fail(node->world, node, "%s has version %llu of context %s, and the logs say %llu", what,
                       (unsigned long long)version, defined_names[number], (unsigned long long)expected.version);
    }
}

void definers_check_end(struct world *world)
{
    for (size_t i = 0; i < world->node_count && !world->failed; i++) {
        struct node *node = &world->nodes[i];
        if (!world->core[i])
            continue;
        struct atlas *atlas = atlas_of(node);
        check_table(node, atlas, region_contexts(node->region), "the region");
        check_table(node, atlas, index_contexts(node->index), "the index");
        atlas_free(atlas);
    }
}
