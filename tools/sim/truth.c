/* The truth: what each log is, entry by entry, as its owner's disk was first seen to hold it durably. Every copy in
 * every process is compared with it, byte for byte, as it grows and again after each start.
 *
 * What is checked as the truth grows: the chain (with the verifier's rules), that a client said what the entry says
 * (or that it is a change of homes), and that its home could accept it then (atlas.c). What it is worth is looked at
 * in the end, by those who know all logs (fates.c). */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/truth.h"

void truth_start(struct world *world)
{
    struct truth *truth = sim_must(mem_alloc_zero(1, sizeof(*truth)));
    map_init(&truth->ids, TRUTH_ENTRIES_MAX, NULL);
    world->truth = truth;
}

void truth_free(struct world *world)
{
    struct truth *truth = world->truth;
    for (size_t i = 0; i < truth->log_count; i++)
        mem_free(truth->logs[i].entries);
    map_free(&truth->ids);
    mem_free(truth->changes);
    mem_free(truth->decisions);
    mem_free(truth->caused);
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
    int code = origin_parse(bytes_of_string(origin), &log->parts, NULL);
    INVARIANT(code == 0);
    log->owner = world_node_named(world, log->parts.region);
    log->lost_from = UINT64_MAX;
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

const struct truth_place *truth_places(const struct world *world, const uint8_t id[ENTRY_ID_SIZE])
{
    return map_get(&world->truth->ids, bytes_of(id, ENTRY_ID_SIZE));
}

size_t truth_log_count(const struct world *world)
{
    return world->truth->log_count;
}

const char *truth_origin(const struct world *world, size_t log)
{
    return world->truth->logs[log].origin;
}

size_t truth_number(const struct world *world, const char *origin)
{
    return (size_t)(find_log(world, origin) - world->truth->logs);
}

size_t truth_owner(const struct world *world, size_t log)
{
    return world->truth->logs[log].owner;
}

static struct hash frame_at(const struct node *node, const struct truth_log *log, uint64_t index)
{
    const struct truth_entry *entry = &log->entries[index];
    return node->number == node->world->plan.outside ? entry->bare : entry->element;
}

struct hash truth_frame(const struct node *node, const char *origin, uint64_t index)
{
    const struct truth_log *log = find_log(node->world, origin);
    PRE(index < log->chain.range.size);
    return frame_at(node, log, index);
}

/* --- What is lost --- */

void truth_lose(struct world *world, size_t log, uint64_t from, bool told)
{
    struct truth_log *lost = &world->truth->logs[log];
    uint64_t end = lost->lost_from < truth_log_size(lost) ? lost->lost_from : truth_log_size(lost);
    if (from >= end)
        return;
    world->counts.entries_lost += end - from;
    lost->told = told && (lost->told || lost->lost_from == UINT64_MAX);
    lost->lost_from = from;
    world_trace(world, NULL, "entries %llu to %llu of %s are lost for ever, of which %llu were signed",
                (unsigned long long)from, (unsigned long long)truth_log_size(lost) - 1, lost->origin,
                (unsigned long long)lost->signed_size);
}

void truth_forget_signed(struct world *world, size_t owner)
{
    for (size_t log = 0; log < world->truth->log_count; log++) {
        if (world->truth->logs[log].owner == owner)
            world->truth->logs[log].told = false;
    }
}

bool truth_is_lost(const struct world *world, size_t log, uint64_t index)
{
    return index >= world->truth->logs[log].lost_from;
}

bool truth_is_left(const struct world *world, size_t log, uint64_t index)
{
    const struct truth_log *of = &world->truth->logs[log];
    for (size_t i = 0; i < world->truth->log_count; i++) {
        const struct truth_log *life = &world->truth->logs[i];
        if (life->owner == of->owner && life->continues && life->parts.incarnation > of->parts.incarnation &&
            position_get(&life->basis, of->parts.region, of->parts.incarnation) <= index)
            return true;
    }
    return false;
}

uint64_t truth_kept_size(const struct world *world, size_t log)
{
    const struct truth_log *kept = &world->truth->logs[log];
    return kept->lost_from < truth_log_size(kept) ? kept->lost_from : truth_log_size(kept);
}

void truth_signs(struct world *world, const char *origin, uint64_t size, bool stored)
{
    struct truth_log *log = find_log(world, origin);
    uint64_t *largest = stored ? &log->signed_size : &log->signing_size;
    if (size > *largest)
        *largest = size;
}

uint64_t truth_signed_size(const struct world *world, size_t log)
{
    return world->truth->logs[log].signed_size;
}

void truth_check_lost(struct node *node, size_t log, uint64_t held, const struct region_log_status *status)
{
    struct world *world = node->world;
    const struct truth_log *of = &world->truth->logs[log];
    bool lost = of->lost_from != UINT64_MAX && of->signed_size > held;
    if (lost && !of->told)
        return; /* what was signed of it was forgotten with a backup */
    if (lost != (status->lost_from < status->lost_to) ||
        (lost &&
         (status->lost_from != held || status->lost_to < of->signed_size || status->lost_to > of->signing_size)))
        world_fail(world, node,
                   "it says that entries %llu up to %llu of %s are lost; %llu are held, and %llu were signed",
                   (unsigned long long)status->lost_from, (unsigned long long)status->lost_to, of->origin,
                   (unsigned long long)held, (unsigned long long)of->signed_size);
}

/* --- Growing --- */

static void take_place(struct world *world, const struct truth_log *log, uint64_t index)
{
    struct truth *truth = world->truth;
    struct bytes key = bytes_of(log->entries[index].id, ENTRY_ID_SIZE);
    struct truth_place *first = map_get(&truth->ids, key);
    struct truth_place *place = sim_must(arena_alloc(&world->arena, sizeof(*place)));
    *place = (struct truth_place){.log = (size_t)(log - truth->logs), .index = index};
    if (first == NULL) {
        int code = map_put(&truth->ids, key, place);
        INVARIANT(code == 0);
        return;
    }
    while (first->next != NULL)
        first = first->next;
    first->next = place;
}

/* --- Authority events --- */

static size_t partition_of(const struct world *world, const struct entry *entry)
{
    size_t partition = world_partition_numbered(world, entry->context, entry->partition);
    INVARIANT(partition < SIM_NUMBERS);
    return partition;
}

static size_t node_named(const struct world *world, struct bytes name)
{
    char text[64];
    snprintf(text, sizeof(text), "%.*s", (int)name.size_bytes, (const char *)name.data);
    return world_node_named(world, text);
}

static void take_decision(struct world *world, struct node *node, struct truth_log *log,
                          const struct chain_entry *found)
{
    struct truth *truth = world->truth;
    const struct entry *entry = &found->entry;
    struct control_settled settled;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct err err = {0};
    if (control_settled_parse(found->frame.payload, &settled, &err) != 0) {
        world_fail(world, node, "entry %llu of %s is no decision: %s", (unsigned long long)entry->index, log->origin,
                   err.message);
        return;
    }
    struct truth_decision *decision = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*decision)));
    snprintf(origin, sizeof(origin), "sim/%s/%llu", settled.region, (unsigned long long)settled.incarnation);
    *decision = (struct truth_decision){.log = (size_t)(log - truth->logs),
                                        .index = entry->index,
                                        .item_log = (size_t)(find_log(world, origin) - truth->logs),
                                        .item_index = settled.index,
                                        .settlement = settled.settlement};
    memcpy(decision->item_id, settled.event_id, ENTRY_ID_SIZE);
    if (truth->decision_count == truth->decision_capacity) {
        truth->decision_capacity = truth->decision_capacity == 0 ? 64 : 2 * truth->decision_capacity;
        truth->decisions =
            sim_must(mem_resize(truth->decisions, truth->decision_capacity * sizeof(struct truth_decision *)));
    }
    truth->decisions[truth->decision_count++] = decision;
    log->entries[entry->index].decision = decision;
    log->entries[entry->index].partition = partition_of(world, entry);
    world->counts.decisions[settled.settlement]++;
    clients_settled(world, settled.event_id);
    world_trace(world, node, "decided at %llu, under epoch %llu: entry %llu of %s is %s",
                (unsigned long long)entry->index, (unsigned long long)entry->epoch, (unsigned long long)settled.index,
                origin, settlement_name(settled.settlement));
}

static void take_cause(struct world *world, const struct truth_log *log, const struct entry *entry)
{
    struct truth *truth = world->truth;
    if (entry->causation_id.size_bytes != ENTRY_ID_SIZE)
        return;
    if (truth->caused_count == truth->caused_capacity) {
        truth->caused_capacity = truth->caused_capacity == 0 ? 64 : 2 * truth->caused_capacity;
        truth->caused = sim_must(mem_resize(truth->caused, truth->caused_capacity * sizeof(struct truth_caused)));
    }
    struct truth_caused *caused = &truth->caused[truth->caused_count++];
    *caused = (struct truth_caused){.log = (size_t)(log - truth->logs), .index = entry->index};
    memcpy(caused->cause, entry->causation_id.data, ENTRY_ID_SIZE);
}

/* What a log continues: entries of earlier logs of its region, all of which it holds. */
static void take_continued(struct world *world, struct node *node, struct truth_log *log,
                           const struct chain_entry *found)
{
    struct control_authority parsed;
    struct err err = {0};
    if (control_authority_parse(CONTROL_LOG_CONTINUED, found->frame.payload, &parsed, &err) != 0 ||
        found->entry.index != 0) {
        world_fail(world, node, "entry %llu of %s does not say what it continues: %s",
                   (unsigned long long)found->entry.index, log->origin, err.message);
        return;
    }
    log->continues = true;
    log->basis = parsed.basis;
    for (size_t i = 0; i < parsed.basis.count; i++) {
        const struct position_log *part = &parsed.basis.logs[i];
        struct origin earlier = log->parts;
        char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
        earlier.incarnation = part->incarnation;
        origin_format(&earlier, origin);
        if (strcmp(part->region, log->parts.region) != 0 || part->incarnation >= log->parts.incarnation ||
            part->size > node_durable_size(node, origin))
            world_fail(world, node, "%s continues %llu entries of %s.%llu, which is not so", log->origin,
                       (unsigned long long)part->size, part->region, (unsigned long long)part->incarnation);
        world_trace(world, node, "%s continues %llu entries of %s", log->origin, (unsigned long long)part->size,
                    origin);
    }
}

/* Overrides follow, with one entry that says why. */
static void take_announcement(struct world *world, struct node *node, struct truth_log *log,
                              const struct chain_entry *found)
{
    struct control_override parsed;
    struct err err = {0};
    if (control_override_parse(found->frame.payload, &parsed, &err) != 0)
        world_fail(world, node, "entry %llu of %s does not say why overrides follow: %s",
                   (unsigned long long)found->entry.index, log->origin, err.message);
    else
        log->overrides_announced = parsed.event_count;
}

static void take_override(struct node *node, struct truth_log *log, const struct entry *entry)
{
    if (log->overrides_announced == 0)
        world_fail(node->world, node, "override %llu of %s is not announced", (unsigned long long)entry->index,
                   log->origin);
    else
        log->overrides_announced--;
    overriders_take(node, (size_t)(log - node->world->truth->logs), entry);
    log->entries[entry->index].override = true;
}

/* Changes of homes, decisions, and definitions of contexts are written by the system here; each is what the codec
 * takes. */
static void take_control(struct world *world, struct node *node, struct truth_log *log, const struct chain_entry *found)
{
    struct truth *truth = world->truth;
    const struct entry *entry = &found->entry;
    enum control_kind kind = control_kind_of(entry);
    struct control_authority parsed;
    struct err err = {0};
    if (kind == CONTROL_CONTEXT_DEFINED) {
        log->entries[entry->index].defines = true;
        log->entries[entry->index].partition = partition_of(world, entry);
        definers_take(node, (size_t)(log - truth->logs), found);
        return;
    }
    if (kind == CONTROL_LOG_CONTINUED) {
        take_continued(world, node, log, found);
        return;
    }
    if (kind == CONTROL_LATE_SETTLED) {
        take_decision(world, node, log, found);
        return;
    }
    if (kind == CONTROL_OVERRIDE_MADE) {
        take_announcement(world, node, log, found);
        return;
    }
    if (control_is_key(kind)) {
        log->entries[entry->index].about_keys = true;
        rotators_take(node, (size_t)(log - truth->logs), found);
        return;
    }
    if (kind == CONTROL_COMMAND_QUEUED || control_decides_command(kind))
        return; /* compared in the end (queuers.c) */
    if (!control_is_authority(kind) || control_authority_parse(kind, found->frame.payload, &parsed, &err) != 0) {
        world_fail(world, node, "entry %llu of %s is no change of homes, and no decision: %s",
                   (unsigned long long)entry->index, log->origin, err.message);
        return;
    }
    struct truth_change *change = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*change)));
    change->log = (size_t)(log - truth->logs);
    change->index = entry->index;
    change->partition = partition_of(world, entry);
    change->kind = kind;
    change->epoch = entry->epoch;
    change->time = entry->time;
    change->basis = parsed.basis;
    change->successor = kind == CONTROL_AUTHORITY_RELEASED ? node_named(world, parsed.successor) : SIM_NODES_MAX;
    change->previous = node_named(world, parsed.previous);
    if (truth->change_count == truth->change_capacity) {
        truth->change_capacity = truth->change_capacity == 0 ? 64 : 2 * truth->change_capacity;
        truth->changes = sim_must(mem_resize(truth->changes, truth->change_capacity * sizeof(struct truth_change *)));
    }
    truth->changes[truth->change_count++] = change;
    log->entries[entry->index].change = change;
    seizures_take(node, change, parsed.forced, parsed.reason);
    world->counts.changes[kind - CONTROL_AUTHORITY_RELEASED]++;
    struct buf basis;
    buf_init(&basis, CONTROL_BASIS_MAX_BYTES);
    INVARIANT(position_format(&parsed.basis, &basis) == 0);
    world_trace(world, node, "%s of partition %zu, epoch %llu, at %llu, on %.*s", control_type(kind), change->partition,
                (unsigned long long)change->epoch, (unsigned long long)change->index, (int)basis.size_bytes,
                (const char *)basis.data);
    buf_free(&basis);
}

struct growing {
    struct world *world;
    struct node *node;
    struct truth_log *log;
};

/* A client said it. */
static void take_said(struct world *world, struct node *node, struct truth_log *log, const struct chain_entry *found)
{
    const struct entry *entry = &found->entry;
    struct truth_entry *kept = &log->entries[entry->index];
    uint64_t fingerprint = entry_fingerprint(world->sha, entry, found->frame.payload);
    kept->op = clients_find_said(world, entry, fingerprint);
    if (kept->op == NULL) {
        world_fail(world, node, "entry %llu of %s is not what any client said", (unsigned long long)entry->index,
                   log->origin);
        return;
    }
    kept->partition = partition_of(world, entry);
    kept->stream = clients_stream_number(entry->stream);
    kept->commutative = (entry->flags & ENTRY_FLAG_COMMUTATIVE) != 0;
    if (kept->commutative && !(world->plan.multi_home && bytes_equal(entry->type, bytes_of_string(event_types[0]))))
        world_fail(world, node, "entry %llu of %s is commutative, and its type is not",
                   (unsigned long long)entry->index, log->origin);
    if ((entry->flags & ENTRY_FLAG_OVERRIDE) != 0)
        take_override(node, log, entry);
    take_cause(world, log, entry);
}

/* The element without what a client said. */
static struct hash bare_element(const struct world *world, const struct chain_entry *found)
{
    struct frame bare = {.entry = found->frame.entry};
    struct buf element;
    if ((found->entry.flags & ENTRY_FLAG_CONTROL) != 0)
        return sha256_of(world->sha, found->element);
    buf_init(&element, FRAME_ELEMENT_MAX_BYTES);
    INVARIANT(frame_encode_element(&bare, &element) == 0);
    struct hash hash = sha256_of(world->sha, buf_bytes(&element));
    buf_free(&element);
    return hash;
}

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
    struct truth_entry *kept = &log->entries[entry->index];
    *kept = (struct truth_entry){.element = sha256_of(world->sha, found->element),
                                 .bare = bare_element(world, found),
                                 .leaf = found->leaf,
                                 .stream_version = entry->stream_version,
                                 .epoch = entry->epoch,
                                 .time = entry->time};
    memcpy(kept->id, entry->event_id, ENTRY_ID_SIZE);
    if (entry->index == 0 && log->parts.incarnation > 1 && control_kind_of(entry) != CONTROL_LOG_CONTINUED)
        world_fail(world, growing->node, "%s does not say what it continues", log->origin);
    if ((entry->flags & ENTRY_FLAG_CONTROL) != 0)
        take_control(world, growing->node, log, found);
    else
        take_said(world, growing->node, log, found);
    if (world->failed)
        return 0;
    take_place(world, log, entry->index);
    atlas_accepted(growing->node, (size_t)(log - world->truth->logs), entry->index);
    recovery_take(growing->node, (size_t)(log - world->truth->logs), entry->index);
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
    if (log->overrides_announced > 0)
        world_fail(world, node, "%llu overrides that entries before %llu of %s announce do not follow",
                   (unsigned long long)log->overrides_announced, (unsigned long long)log->chain.range.size,
                   log->origin);
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
        struct hash expected = frame_at(node, log, index);
        if (code == 0 && hash_equal(&hash, &expected))
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
    size_t number = (size_t)(log - node->world->truth->logs);
    if (end > node->ever[number])
        node->ever[number] = end;
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
