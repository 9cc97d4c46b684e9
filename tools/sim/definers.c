/* Operators who create contexts and change them while everything else goes on, two at once among them: they ask the
 * home of "$system" mostly, sometimes another region, and name the version that they saw, or one that is not in force.
 *
 * The truth about contexts is plain here, because "$system" stays where it is: of the definitions in its home's logs
 * the highest version of a name is in force, but for those that a later log of its home leaves behind. What must hold:
 *   - versions of a name follow each other in a log, so no two operators made the same one;
 *   - at the end every region, and every index, has the contexts that the definitions it can apply say. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "domain/definition.h"
#include "sim/atlas.h"
#include "sim/sim.h"

static const char *const names[SIM_DEFINED] = {"bank", "shop", "till"};

static size_t name_number(struct bytes name)
{
    size_t number = 0;
    while (number < SIM_DEFINED && !bytes_equal(name, bytes_of_string(names[number])))
        number++;
    return number;
}

/* --- Asking --- */

static struct context policy_of(struct world *world, size_t number)
{
    struct context policy = {.name = names[number], .default_home = world->region_names[0]};
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
    world_trace(world, node, "an operator defines context %s, after version %llu", names[number],
                (unsigned long long)expected_version);
    queue_push_back(&node->requests, &request->link);
    struct mail *mail = mail_new(REGION_COMMAND);
    mail->event.command = &request->command;
    node_post(node, mail);
}

static void define(struct world *world)
{
    size_t number = world_draw(world, SIM_DEFINED);
    struct node *node = &world->nodes[world_chance(world, 100000) ? world_draw(world, world->node_count) : 0];
    if (!node->up || node->paused_until_us > world->now_us)
        return;
    const struct context *found = context_find(region_contexts(node->region), bytes_of_string(names[number]));
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

void definers_take(struct node *node, size_t log, const struct chain_entry *found)
{
    struct world *world = node->world;
    struct definers *definers = &world->definers;
    struct definition definition;
    size_t number = name_number(found->entry.partition);
    uint64_t last = 0;
    if (number == SIM_DEFINED || node->number != 0 || definition_parse(found->frame.payload, &definition, NULL) != 0) {
        world_fail(world, node, "entry %llu of %s defines no context that it may",
                   (unsigned long long)found->entry.index, truth_origin(world, log));
        return;
    }
    for (size_t i = 0; i < definers->count; i++) {
        if (definers->made[i].log == log && definers->made[i].name == number)
            last = definers->made[i].version;
    }
    if (last != 0 && definition.version != last + 1)
        world_fail(world, node, "entry %llu of %s defines version %llu of context %s, after version %llu",
                   (unsigned long long)found->entry.index, truth_origin(world, log),
                   (unsigned long long)definition.version, names[number], (unsigned long long)last);
    if (definers->count == definers->capacity) {
        definers->capacity = definers->capacity == 0 ? 64 : 2 * definers->capacity;
        definers->made = sim_must(mem_resize(definers->made, definers->capacity * sizeof(*definers->made)));
    }
    definers->made[definers->count++] = (struct definers_made){.log = log,
                                                               .index = found->entry.index,
                                                               .name = number,
                                                               .version = definition.version,
                                                               .mode = definition.rules.failover};
    world->counts.definitions++;
    world_trace(world, node, "context %s is at version %llu", names[number], (unsigned long long)definition.version);
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

/* The highest version that can be applied, and that its home did not leave behind; that of the configuration when there
 * is none. */
static struct definers_made highest(const struct node *node, const struct atlas *atlas, size_t number)
{
    const struct definers *definers = &node->world->definers;
    struct definers_made best = {.version = number == 0 ? 1 : 0,
                                 .mode = number == 0 ? node->world->contexts[0].rules.failover : FAILOVER_MANUAL};
    for (size_t i = 0; i < definers->count; i++) {
        const struct definers_made *made = &definers->made[i];
        if (made->name == number && made->version > best.version && made->index < atlas_applied(atlas, made->log) &&
            !atlas_left_behind(atlas, made->log, made->index))
            best = *made;
    }
    return best;
}

static void check_table(struct node *node, const struct atlas *atlas, const struct context_table *table,
                        const char *what)
{
    for (size_t number = 0; number < SIM_DEFINED && !node->world->failed; number++) {
        const struct context *found = context_find(table, bytes_of_string(names[number]));
        struct definers_made expected = highest(node, atlas, number);
        uint64_t version = found == NULL ? 0 : context_version(found);
        bool fits = version == expected.version && (found == NULL || found->rules.failover == expected.mode);
        if (!fits)
            world_fail(node->world, node, "%s has version %llu of context %s, and the logs say %llu", what,
                       (unsigned long long)version, names[number], (unsigned long long)expected.version);
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
