/* The world's clock, its queue of tasks, its one source of chance, and its trace.
 *
 * The digest of a run is a hash of every trace line: two runs that differ anywhere differ there. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

enum { WORLD_ARENA_MAX_BYTES = 1024 * 1024 * 1024, WORLD_NOTES_MAX = 1 << 24 };

#define FNV_OFFSET 0xcbf29ce484222325u
#define FNV_PRIME  0x100000001b3u

const char *const fault_names[FAULT_COUNT] = {
#define SIM_FAULT_NAME(name, text, what) text,
    SIM_FAULTS(SIM_FAULT_NAME)
#undef SIM_FAULT_NAME
};

const char *const fault_texts[FAULT_COUNT] = {
#define SIM_FAULT_TEXT(name, text, what) what,
    SIM_FAULTS(SIM_FAULT_TEXT)
#undef SIM_FAULT_TEXT
};

const char *const event_types[SIM_TYPES] = {"Opened", "Deposited", "Withdrawn", "Renamed"};

const char *const defined_names[SIM_DEFINED] = {"bank", "shop", "till"};

/* --- Names and numbers --- */

size_t world_node_named(const struct world *world, const char *region)
{
    size_t node = 0;
    while (node < world->node_count && strcmp(world->region_names[node], region) != 0)
        node++;
    return node < world->node_count ? node : SIM_NODES_MAX;
}

size_t world_first_home(const struct world *world, size_t partition)
{
    return partition < world->node_count && partition != world->plan.outside ? partition : 0;
}

size_t world_next_partition(const struct world *world, size_t partition)
{
    size_t next = partition >= SIM_NUMBERS ? 0 : partition + 1;
    if (next < SIM_SYSTEM_FIRST && next >= world->partition_count)
        next = SIM_SYSTEM_FIRST;
    return next < SIM_SYSTEM_ALL ? next : SIM_NUMBERS;
}

bool world_is_all(size_t partition)
{
    return partition == SIM_ALL_PARTITIONS || partition == SIM_SYSTEM_ALL;
}

size_t world_all_of(size_t partition)
{
    return partition < SIM_SYSTEM_FIRST ? SIM_ALL_PARTITIONS : SIM_SYSTEM_ALL;
}

struct bytes world_context_of(const struct world *world, size_t partition)
{
    return bytes_of_string(world->contexts[partition < SIM_SYSTEM_FIRST ? 0 : 1].name);
}

struct bytes world_partition_name(const struct world *world, size_t partition)
{
    if (world_is_all(partition))
        return BYTES_LITERAL(CONTROL_ALL_PARTITIONS);
    return bytes_of_string(partition < SIM_SYSTEM_FIRST ? world->partition_names[partition]
                                                        : defined_names[partition - SIM_SYSTEM_FIRST]);
}

size_t world_partition_numbered(const struct world *world, struct bytes context, struct bytes name)
{
    bool system = bytes_equal(context, bytes_of_string(world->contexts[1].name));
    size_t partition = world_next_partition(world, SIM_NUMBERS);
    if (bytes_equal(name, BYTES_LITERAL(CONTROL_ALL_PARTITIONS)))
        return system ? SIM_SYSTEM_ALL : SIM_ALL_PARTITIONS;
    while (partition < SIM_NUMBERS &&
           ((partition >= SIM_SYSTEM_FIRST) != system || !bytes_equal(name, world_partition_name(world, partition))))
        partition = world_next_partition(world, partition);
    return partition;
}

void *sim_must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "tally-sim: memory ran out\n");
        abort();
    }
    return memory;
}

/* --- Life cycle --- */

struct world *world_new(uint64_t seed, bool print_trace)
{
    struct world *world = sim_must(mem_alloc_zero(1, sizeof(*world)));
    world->seed = seed;
    world->digest = FNV_OFFSET;
    world->print_trace = print_trace;
    world->sha = sim_must(sha256_new());
    prng_seed(&world->prng, seed);
    arena_init(&world->arena, WORLD_ARENA_MAX_BYTES);
    map_init(&world->notes, WORLD_NOTES_MAX, NULL);
    queue_init(&world->pulls);
    return world;
}

static void free_task(struct world *world, struct task *task)
{
    if (task->drop != NULL)
        task->drop(world, task);
    mem_free(task);
}

void world_drop_tasks(struct world *world)
{
    for (size_t i = 0; i < world->queue_count; i++)
        free_task(world, world->queue[i]);
    world->queue_count = 0;
}

void world_free(struct world *world)
{
    world_drop_tasks(world);
    mem_free(world->queue);
    map_free(&world->notes);
    arena_free(&world->arena);
    sha256_free(world->sha);
    mem_free(world);
}

/* --- The queue --- */

static bool is_before(const struct task *a, const struct task *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->sequence < b->sequence;
}

static void push_task(struct world *world, struct task *task)
{
    if (world->queue_count == world->queue_capacity) {
        world->queue_capacity = world->queue_capacity == 0 ? 256 : 2 * world->queue_capacity;
        world->queue = sim_must(mem_resize(world->queue, world->queue_capacity * sizeof(struct task *)));
    }
    size_t at = world->queue_count++;
    while (at > 0 && is_before(task, world->queue[(at - 1) / 2])) {
        world->queue[at] = world->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->queue[at] = task;
}

static struct task *pop_task(struct world *world)
{
    struct task *first = world->queue[0];
    struct task *last = world->queue[--world->queue_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->queue_count)
            break;
        if (child + 1 < world->queue_count && is_before(world->queue[child + 1], world->queue[child]))
            child++;
        if (!is_before(world->queue[child], last))
            break;
        world->queue[at] = world->queue[child];
        at = child;
    }
    if (world->queue_count > 0)
        world->queue[at] = last;
    return first;
}

struct task *world_at(struct world *world, uint64_t at_us, struct node *node, task_fn *run)
{
    struct task *task = sim_must(mem_alloc_zero(1, sizeof(*task)));
    task->at_us = at_us < world->now_us ? world->now_us : at_us;
    task->sequence = world->next_sequence++;
    task->run = run;
    task->node = node;
    task->boot = node == NULL ? 0 : node->boot;
    push_task(world, task);
    return task;
}

struct task *world_after(struct world *world, uint64_t delay_us, struct node *node, task_fn *run)
{
    return world_at(world, world->now_us + delay_us, node, run);
}

/* A process that is stopped does nothing until it goes on. */
static bool must_wait(const struct world *world, const struct task *task)
{
    return task->node != NULL && task->node->boot == task->boot && task->node->paused_until_us > world->now_us;
}

void world_run_until(struct world *world, uint64_t until_us)
{
    while (!world->failed && world->queue_count > 0 && world->queue[0]->at_us <= until_us) {
        struct task *task = pop_task(world);
        world->now_us = task->at_us;
        if (must_wait(world, task)) {
            task->at_us = task->node->paused_until_us;
            push_task(world, task);
        } else if (task->node == NULL || task->node->boot == task->boot) {
            task->run(world, task);
            mem_free(task);
        } else {
            free_task(world, task);
        }
    }
    if (!world->failed && world->now_us < until_us)
        world->now_us = until_us;
}

/* --- Chance --- */

uint64_t world_draw(struct world *world, uint64_t bound)
{
    return prng_below(&world->prng, bound);
}

uint64_t world_between(struct world *world, uint64_t low, uint64_t high)
{
    PRE(low <= high);
    return low + prng_below(&world->prng, high - low + 1);
}

bool world_chance(struct world *world, uint32_t ppm)
{
    return prng_below(&world->prng, 1000000) < ppm;
}

bool world_fault(struct world *world, enum fault fault, uint32_t ppm)
{
    if (!world->plan.enabled[fault] || world->healing || !world_chance(world, ppm))
        return false;
    world->counts.faults[fault]++;
    return true;
}

/* --- The trace --- */

__attribute__((format(printf, 3, 0))) static void trace(struct world *world, const struct node *node,
                                                        const char *format, va_list args)
{
    char *line = world->trace[world->trace_count++ % SIM_TRACE_LINES];
    int used = snprintf(line, SIM_TRACE_LINE_BYTES, "%4llu.%06llu %-5s ", (unsigned long long)(world->now_us / SIM_S),
                        (unsigned long long)(world->now_us % SIM_S), node == NULL ? "" : node->config.region);
    vsnprintf(line + used, (size_t)(SIM_TRACE_LINE_BYTES - used), format, args);
    for (const char *at = line; *at != '\0'; at++)
        world->digest = (world->digest ^ (uint8_t)*at) * FNV_PRIME;
    if (world->print_trace)
        puts(line);
}

void world_trace(struct world *world, const struct node *node, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    trace(world, node, format, args);
    va_end(args);
}

void world_fail(struct world *world, const struct node *node, const char *format, ...)
{
    va_list args;
    if (world->failed)
        return;
    world->failed = true;
    va_start(args, format);
    vsnprintf(world->failure, sizeof(world->failure), format, args);
    va_end(args);
    world_trace(world, node, "FAILED %s", world->failure);
}
