/* The truth: what each log is, entry by entry, as its owner's disk was first seen to hold it durably. Every copy in
 * every process is compared with it, byte for byte, as it grows and again after each start.
 *
 * What is checked as the truth grows: the chain (with the verifier's rules), that a client said what the entry says,
 * that its event id has no other place in any log, and that its stream's versions have no gap. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

enum { TRUTH_LOGS_MAX = 64, TRUTH_ENTRIES_MAX = 1 << 24 };

struct truth_entry {
    struct hash element; /* hash of the element's bytes */
    struct hash leaf;
    struct hash root; /* of the log up to and including this entry */
    uint64_t stream_version;
    uint8_t id[ENTRY_ID_SIZE];
};

struct truth_log {
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct chain chain;
    struct truth_entry *entries;
    size_t capacity;
};

struct place {
    const struct truth_log *log;
    uint64_t index;
};

struct stream_head {
    uint64_t next_version;
};

struct truth {
    size_t log_count;
    struct truth_log logs[TRUTH_LOGS_MAX];
    struct map ids;     /* event id -> struct place */
    struct map streams; /* context '/' stream -> struct stream_head */
};

void truth_start(struct world *world)
{
    struct truth *truth = sim_must(mem_alloc_zero(1, sizeof(*truth)));
    map_init(&truth->ids, TRUTH_ENTRIES_MAX, NULL);
    map_init(&truth->streams, TRUTH_ENTRIES_MAX, NULL);
    world->truth = truth;
}

void truth_free(struct world *world)
{
    struct truth *truth = world->truth;
    for (size_t i = 0; i < truth->log_count; i++)
        mem_free(truth->logs[i].entries);
    map_free(&truth->ids);
    map_free(&truth->streams);
    mem_free(truth);
}

static struct truth_log *find_log(const struct world *world, const char *origin)
{
    struct truth *truth = world->truth;
    for (size_t i = 0; i < truth->log_count; i++) {
        if (strcmp(truth->logs[i].origin, origin) == 0)
            return &truth->logs[i];
    }
    INVARIANT(truth->log_count < TRUTH_LOGS_MAX);
    struct truth_log *log = &truth->logs[truth->log_count++];
    copy_string(log->origin, sizeof(log->origin), origin);
    chain_init(&log->chain, world->sha, bytes_of_string(origin));
    return log;
}

/* --- Looking at it --- */

uint64_t truth_size(const struct world *world, const char *origin)
{
    return find_log(world, origin)->chain.range.size;
}

bool truth_root(const struct world *world, const char *origin, uint64_t size, struct hash *ret)
{
    const struct truth_log *log = find_log(world, origin);
    if (size == 0 || size > log->chain.range.size)
        return false;
    *ret = log->entries[size - 1].root;
    return true;
}

bool truth_entry(const struct world *world, const char *origin, uint64_t index, uint8_t ret_id[ENTRY_ID_SIZE],
                 uint64_t *ret_version)
{
    const struct truth_log *log = find_log(world, origin);
    if (index >= log->chain.range.size)
        return false;
    memcpy(ret_id, log->entries[index].id, ENTRY_ID_SIZE);
    *ret_version = log->entries[index].stream_version;
    return true;
}

bool truth_find(const struct world *world, const uint8_t id[ENTRY_ID_SIZE], const char **ret_origin,
                uint64_t *ret_index)
{
    const struct place *place = map_get(&world->truth->ids, bytes_of(id, ENTRY_ID_SIZE));
    if (place == NULL)
        return false;
    *ret_origin = place->log->origin;
    *ret_index = place->index;
    return true;
}

struct hash truth_frame(const struct world *world, const char *origin, uint64_t index)
{
    const struct truth_log *log = find_log(world, origin);
    PRE(index < log->chain.range.size);
    return log->entries[index].element;
}

/* --- Growing --- */

static void take_place(struct world *world, struct node *node, struct truth_log *log, const struct entry *entry)
{
    struct truth *truth = world->truth;
    struct bytes key = bytes_of(entry->event_id, ENTRY_ID_SIZE);
    const struct place *before = map_get(&truth->ids, key);
    if (before != NULL) {
        world_fail(world, node, "one event id has two effects: %s@%llu and %s@%llu", before->log->origin,
                   (unsigned long long)before->index, log->origin, (unsigned long long)entry->index);
        return;
    }
    struct place *place = sim_must(arena_alloc(&world->arena, sizeof(*place)));
    *place = (struct place){.log = log, .index = entry->index};
    int code = map_put(&truth->ids, key, place);
    INVARIANT(code == 0);
}

static void follow_stream(struct world *world, struct node *node, const struct entry *entry)
{
    char key[ENTRY_NAME_MAX_BYTES + ENTRY_STREAM_MAX_BYTES + 2];
    int size =
        snprintf(key, sizeof(key), "%.*s/%.*s", (int)entry->context.size_bytes, (const char *)entry->context.data,
                 (int)entry->stream.size_bytes, (const char *)entry->stream.data);
    struct stream_head *head = map_get(&world->truth->streams, bytes_of(key, (size_t)size));
    if (head == NULL) {
        head = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*head)));
        int code = map_put(&world->truth->streams, bytes_of(key, (size_t)size), head);
        INVARIANT(code == 0);
    }
    if (entry->stream_version != head->next_version)
        world_fail(world, node, "stream %s has version %llu at entry %llu, where %llu belongs", key,
                   (unsigned long long)entry->stream_version, (unsigned long long)entry->index,
                   (unsigned long long)head->next_version);
    head->next_version = entry->stream_version + 1;
}

struct growing {
    struct world *world;
    struct node *node;
    struct truth_log *log;
};

static int take_entry(void *context, const struct chain_entry *found, struct err *err)
{
    struct growing *growing = context;
    struct world *world = growing->world;
    struct truth_log *log = growing->log;
    const struct entry *entry = &found->entry;
    (void)err;
    if (entry->index >= log->capacity) {
        log->capacity = log->capacity == 0 ? 256 : 2 * log->capacity;
        log->entries = sim_must(mem_resize(log->entries, log->capacity * sizeof(*log->entries)));
    }
    uint64_t fingerprint = entry_fingerprint(world->sha, entry, found->frame.payload);
    if (clients_find_said(world, entry, fingerprint) == NULL)
        world_fail(world, growing->node, "entry %llu of %s is not what any client said",
                   (unsigned long long)entry->index, log->origin);
    struct truth_entry *kept = &log->entries[entry->index];
    *kept = (struct truth_entry){
        .element = sha256_of(world->sha, found->element), .leaf = found->leaf, .stream_version = entry->stream_version};
    memcpy(kept->id, entry->event_id, ENTRY_ID_SIZE);
    take_place(world, growing->node, log, entry);
    follow_stream(world, growing->node, entry);
    world->counts.entries++;
    return 0;
}

/* The owner's log has a block that is new. Roots are kept for every size, so the chain moves entry by entry here. */
static void grow(struct node *node, struct truth_log *log, const struct block *block)
{
    struct world *world = node->world;
    struct growing growing = {.world = world, .node = node, .log = log};
    struct merkle_range range = log->chain.range;
    uint64_t from = range.size;
    struct err err = {0};
    int code = chain_check_block(&log->chain, world->sha, block_body(block), block->entry_count, take_entry, &growing,
                                 NULL, &err);
    if (code != 0) {
        world_fail(world, node, "the log of its owner %s breaks its chain: %s", log->origin, err.message);
        return;
    }
    for (uint64_t i = from; i < log->chain.range.size; i++) {
        merkle_range_append(&range, world->sha, &log->entries[i].leaf);
        log->entries[i].root = merkle_range_root(&range, world->sha);
    }
}

static void compare(struct node *node, struct truth_log *log, const struct block *block)
{
    struct world *world = node->world;
    struct bytes elements = block_body(block);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        const uint8_t *start = elements.data;
        struct bytes frame;
        int code = frame_next_element(&elements, &frame, NULL);
        uint64_t index = block->first_index + i;
        struct bytes element = bytes_of(start, (size_t)(elements.data - start));
        struct hash hash = sha256_of(world->sha, element);
        if (code == 0 && hash_equal(&hash, &log->entries[index].element))
            continue;
        world_fail(world, node, "entry %llu of log %s is not the same here as where it was written",
                   (unsigned long long)index, log->origin);
        return;
    }
}

static void follow_block(struct node *node, struct truth_log *log, const struct block *block)
{
    bool own = strcmp(node->origin, log->origin) == 0;
    uint64_t end = block->first_index + block->entry_count;
    if (end <= log->chain.range.size)
        compare(node, log, block);
    else if (own && block->first_index == log->chain.range.size)
        grow(node, log, block);
    else
        world_fail(node->world, node, "log %s has %llu entries here, %llu where it was written", log->origin,
                   (unsigned long long)end, (unsigned long long)log->chain.range.size);
}

void truth_follow(struct node *node, uint32_t log_number)
{
    struct world *world = node->world;
    struct log *log = node->store.logs[log_number];
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
    memcpy(origin, log_origin(log).data, log_origin(log).size_bytes);
    struct truth_log *truth = find_log(world, origin);
    while (!world->failed && node->checked[log_number] < log_durable_size(log)) {
        struct block *block = NULL;
        struct err err = {0};
        if (log_read_block(log, node->checked[log_number], &block, &err) != 0) {
            if (!node->rotten)
                world_fail(world, node, "entry %llu of log %s cannot be read: %s",
                           (unsigned long long)node->checked[log_number], origin, err.message);
            return;
        }
        follow_block(node, truth, block);
        node->checked[log_number] = block->first_index + block->entry_count;
        block_release(block);
    }
}

/* --- Proofs --- */

struct leaves {
    const struct truth_log *log;
    struct sha256 *sha;
};

static struct hash subtree(const struct leaves *leaves, unsigned height, uint64_t number)
{
    if (height == 0)
        return leaves->log->entries[number].leaf;
    struct hash left = subtree(leaves, height - 1, 2 * number);
    struct hash right = subtree(leaves, height - 1, 2 * number + 1);
    return merkle_node(leaves->sha, &left, &right);
}

static int read_hash(void *context, unsigned height, uint64_t number, struct hash *ret, struct err *err)
{
    (void)err;
    *ret = subtree(context, height, number);
    return 0;
}

void truth_prove(struct world *world, const char *origin, uint64_t old_size, uint64_t new_size,
                 const struct hash *old_root, const struct hash *new_root)
{
    struct leaves leaves = {.log = find_log(world, origin), .sha = world->sha};
    struct merkle_proof proof;
    struct err err = {0};
    int code = merkle_prove_consistency(world->sha, old_size, new_size, read_hash, &leaves, &proof, &err);
    if (code == 0)
        code = merkle_verify_consistency(world->sha, old_size, new_size, old_root, new_root, proof.hashes, proof.count,
                                         &err);
    world->counts.proofs++;
    if (code != 0)
        world_fail(world, NULL, "checkpoints of %s at %llu and %llu are not consistent: %s", origin,
                   (unsigned long long)old_size, (unsigned long long)new_size, err.message);
}
