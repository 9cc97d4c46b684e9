/* Those who read: subscribers that follow every log from a position and take up at another region after a crash;
 * readers of single streams; followers of checkpoints who check each new one against the one before. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

enum { SUBSCRIBERS_MAX = 3, FOLLOWERS_MAX = 2, BLOCKS_A_ROUND = 4, PLACES_MAX = 64 };

struct subscriber {
    size_t region;
    uint64_t next[REGION_LOGS_MAX]; /* of each of the truth's logs: the position */
};

struct seen {
    uint64_t size;
    struct hash root;
};

struct follower {
    struct seen last[REGION_LOGS_MAX];
};

struct readers {
    struct subscriber subscribers[SUBSCRIBERS_MAX];
    struct follower followers[FOLLOWERS_MAX];
};

static struct node *some_up(struct world *world)
{
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    return node->up && node->paused_until_us <= world->now_us ? node : NULL;
}

/* --- Subscribers --- */

/* Entries of a block from `next` on: each once, in order, and what the log is. */
static void take_block(struct world *world, struct node *node, size_t origin, const struct block *block, uint64_t *next)
{
    const char *name = truth_origin(world, origin);
    struct bytes elements = block_body(block);
    if (block->first_index > *next || block->first_index + block->entry_count > truth_size(world, name)) {
        world_fail(world, node, "a subscriber at entry %llu of %s gets the block at %llu", (unsigned long long)*next,
                   name, (unsigned long long)block->first_index);
        return;
    }
    for (uint64_t index = block->first_index; index < block->first_index + block->entry_count; index++) {
        const uint8_t *start = elements.data;
        struct bytes frame;
        int code = frame_next_element(&elements, &frame, NULL);
        struct hash hash = sha256_of(world->sha, bytes_of(start, (size_t)(elements.data - start)));
        struct hash expected = truth_frame(node, name, index);
        if (code != 0 || !hash_equal(&hash, &expected))
            world_fail(world, node, "a subscriber gets another entry %llu of %s than was written",
                       (unsigned long long)index, name);
        if (index == *next)
            (*next)++;
        world->counts.reads++;
    }
}

static void follow_log(struct world *world, struct node *node, struct subscriber *subscriber, size_t origin)
{
    uint32_t number = 0;
    struct log_cursor *cursor = NULL;
    if (!node_find_log(node, truth_origin(world, origin), &number) ||
        subscriber->next[origin] >= log_durable_size(node->store.logs[number]))
        return; /* this region does not have it yet: wait */
    struct err err = {0};
    int code = log_cursor_open(node->store.logs[number], subscriber->next[origin], &cursor, &err);
    for (int i = 0; code == 0 && i < BLOCKS_A_ROUND && !world->failed; i++) {
        struct block *block = NULL;
        code = log_cursor_next(cursor, &block, &err);
        if (code != 0)
            break;
        take_block(world, node, origin, block, &subscriber->next[origin]);
        block_release(block);
    }
    log_cursor_close(cursor);
    if (code != 0 && code != ERR_END && code != ERR_IO && !node->rotten)
        world_fail(world, node, "a subscriber cannot read %s: %s", truth_origin(world, origin), err.message);
}

static void run_subscriber(struct world *world, struct task *task)
{
    struct subscriber *subscriber = &world->readers->subscribers[task->numbers[0]];
    struct node *node = &world->nodes[subscriber->region];
    if (!node->up || world_chance(world, 20000))
        subscriber->region = world_draw(world, world->node_count); /* with the position that it has */
    else if (node->paused_until_us <= world->now_us)
        for (size_t origin = 0; origin < truth_log_count(world); origin++)
            follow_log(world, node, subscriber, origin);
    world_after(world, world_between(world, SIM_MS, 200 * SIM_MS), NULL, run_subscriber)->numbers[0] = task->numbers[0];
}

/* --- Readers of a stream --- */

static void check_places(struct world *world, struct node *node, const struct index_place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char origin[INDEX_ORIGIN_MAX_BYTES + 1];
        uint8_t id[ENTRY_ID_SIZE];
        uint64_t version = 0;
        int code = index_origin(node->index, places[i].log, origin, NULL);
        INVARIANT(code == 0);
        if (!truth_entry(world, origin, places[i].index, id, &version) || version != i)
            world_fail(world, node, "a reader finds version %llu of a stream where version %zu belongs",
                       (unsigned long long)version, i);
        world->counts.reads++;
    }
}

static void run_reader(struct world *world, struct task *task)
{
    struct node *node = some_up(world);
    struct index_place places[PLACES_MAX];
    size_t count = 0;
    char stream[32];
    (void)task;
    if (node != NULL) {
        size_t home = world_draw(world, world->node_count);
        snprintf(stream, sizeof(stream), "%s-s%llu", world->partition_names[home],
                 (unsigned long long)world_draw(world, SIM_STREAMS));
        int code = index_scan(node->index, bytes_of_string(world->contexts[0].name), bytes_of_string(stream), 0, false,
                              places, PLACES_MAX, &count, NULL);
        INVARIANT(code == 0);
        check_places(world, node, places, count);
    }
    world_after(world, world_between(world, 10 * SIM_MS, SIM_S), NULL, run_reader);
}

/* --- Followers of checkpoints --- */

static void see_note(struct world *world, struct node *node, size_t origin, struct bytes note, struct seen *last)
{
    struct checkpoint checkpoint;
    const char *name = truth_origin(world, origin);
    oracle_note(node, name, note);
    if (world->failed || !oracle_parse_note(note, &checkpoint))
        return;
    struct seen now = {.size = checkpoint.size, .root = checkpoint.root};
    if (last->size > 0 && last->size < now.size)
        truth_prove(world, name, last->size, now.size, &last->root, &now.root);
    if (now.size > last->size)
        *last = now;
}

static void run_follower(struct world *world, struct task *task)
{
    struct follower *follower = &world->readers->followers[task->numbers[0]];
    struct node *node = some_up(world);
    for (size_t origin = 0; node != NULL && origin < truth_log_count(world); origin++) {
        uint32_t number = 0;
        struct buf note;
        buf_init(&note, NOTE_MAX_BYTES);
        if (node_find_log(node, truth_origin(world, origin), &number) &&
            log_load_checkpoint(node->store.logs[number], world_chance(world, 500000), &note, NULL) == 0)
            see_note(world, node, origin, buf_bytes(&note), &follower->last[origin]);
        buf_free(&note);
    }
    world_after(world, world_between(world, 100 * SIM_MS, 2 * SIM_S), NULL, run_follower)->numbers[0] =
        task->numbers[0];
}

void readers_start(struct world *world)
{
    world->readers = sim_must(mem_alloc_zero(1, sizeof(struct readers)));
    for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
        world_after(world, world_draw(world, SIM_S), NULL, run_subscriber)->numbers[0] = i;
    for (size_t i = 0; i < FOLLOWERS_MAX; i++)
        world_after(world, world_draw(world, SIM_S), NULL, run_follower)->numbers[0] = i;
    world_after(world, world_draw(world, SIM_S), NULL, run_reader);
}

void readers_free(struct world *world)
{
    mem_free(world->readers);
}
