/* The oracles: what must hold, whatever went wrong. truth.c has those about the logs' contents, readers.c those about
 * what readers see, projector.c those about projections, clients.c those about what a client was told. */
#include <stdio.h>

#include "base/assert.h"
#include "log/scan.h"
#include "sim/sim.h"

/* --- Starts --- */

/* What was durable is there again, and is the same. */
void oracle_booted(struct node *node)
{
    struct world *world = node->world;
    for (size_t i = 0; i < atomic_load(&node->store.log_count); i++)
        truth_follow(node, (uint32_t)i);
    for (size_t log = 0; log < truth_log_count(world); log++) {
        uint64_t size = node_durable_size(node, truth_origin(world, log));
        if (size < node->was_durable[log])
            world_fail(world, node, "log %s had %llu durable entries before the process ended, and has %llu after it",
                       truth_origin(world, log), (unsigned long long)node->was_durable[log], (unsigned long long)size);
    }
}

void oracle_accepting(struct node *node)
{
    struct world *world = node->world;
    uint64_t size = log_durable_size(node->store.logs[0]);
    node->must_restore = false;
    if (world->node_count > 1 && !node->heard && !node->config.fresh)
        world_fail(world, node, "it accepts before it has heard from any peer");
    if (size < truth_size(world, node->origin))
        world_fail(world, node, "it accepts at size %llu, and its log had %llu entries", (unsigned long long)size,
                   (unsigned long long)truth_size(world, node->origin));
}

/* --- Answers --- */

/* How many other disks than its owner's have had an entry. */
static uint32_t copies_of(const struct world *world, const char *origin, uint64_t index)
{
    size_t log = truth_number(world, origin);
    uint32_t copies = 0;
    for (size_t i = 0; i < world->node_count; i++)
        copies += i != truth_owner(world, log) && world->nodes[i].ever[log] > index;
    return copies;
}

static void check_result(struct node *node, const struct region_command *command, const struct region_new_event *event,
                         const struct region_result *result)
{
    struct world *world = node->world;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1] = "";
    uint8_t id[ENTRY_ID_SIZE];
    uint64_t version = 0;
    uint32_t log = 0;
    int code = index_origin(node->index, result->place.log, origin, NULL);
    INVARIANT(code == 0);
    if (!truth_entry(world, origin, result->index, id, &version)) {
        world_fail(world, node, "an answer names entry %llu of %s, which is durable nowhere",
                   (unsigned long long)result->index, origin);
        return;
    }
    if (memcmp(id, event->id, ENTRY_ID_SIZE) != 0 || version != result->stream_version)
        world_fail(world, node, "an answer names entry %llu of %s, which is another event",
                   (unsigned long long)result->index, origin);
    if (node_find_log(node, origin, &log) && log == 0 && result->index >= log_durable_size(node->store.logs[0]))
        world_fail(world, node, "an answer names entry %llu, which is not durable here yet",
                   (unsigned long long)result->index);
    uint32_t copies = copies_of(world, origin, result->index);
    if (copies < command->copies)
        world_fail(world, node, "an answer names entry %llu of %s as stored by %u peers, and %u have stored it",
                   (unsigned long long)result->index, origin, (unsigned)command->copies, (unsigned)copies);
    world->counts.duplicates += result->duplicate;
}

void oracle_answer(struct node *node, const struct request *request)
{
    const struct region_command *command = &request->command;
    const struct durability *durability = &node->world->contexts[0].promises.durability;
    size_t at = 0;
    if (command->refusal.code != 0) {
        node->world->counts.refused++;
        return;
    }
    if (command->copies < durability->peers && !(command->degraded && durability->when_away == AWAY_DEGRADE))
        world_fail(node->world, node, "an answer on %u copies, and its context asks for %u", (unsigned)command->copies,
                   (unsigned)durability->peers);
    for (size_t w = 0; w < command->write_count; w++) {
        for (size_t i = 0; i < command->writes[w].event_count; i++, at++)
            check_result(node, command, &command->writes[w].events[i], &command->results[at]);
    }
    node->world->counts.acknowledged += at;
}

/* --- Checkpoints --- */

/* All that its owner ever had: a note may have been signed at any time. */
static struct keyring keys_of(const struct world *world, const char *origin)
{
    const struct sim_keys *keys = &world->nodes[truth_owner(world, truth_number(world, origin))].log_keys;
    return keys_ring(keys, keys->count);
}

/* The size and root of a note, without a look at its signatures. */
bool oracle_parse_note(struct bytes message, struct checkpoint *ret)
{
    struct note note;
    return note_parse(message, &note, NULL) == 0 && checkpoint_parse(note.text, ret, NULL) == 0;
}

/* A note that leaves a region, or is stored: its root is the one of the log, for ever. The same bytes are looked at
 * once: checking signatures is what takes longest here. */
void oracle_note(struct node *node, const char *origin, struct bytes note)
{
    struct world *world = node->world;
    struct checkpoint checkpoint;
    struct hash root;
    struct err err = {0};
    struct hash name = sha256_of(world->sha, note);
    if (map_get(&world->notes, bytes_of(name.bytes, HASH_SIZE)) != NULL)
        return;
    int code = map_put(&world->notes, bytes_of(name.bytes, HASH_SIZE), world);
    INVARIANT(code == 0);
    struct keyring keys = keys_of(world, origin);
    code = keyring_open(note, &keys, origin, &checkpoint, &err);
    if (code != 0)
        world_fail(world, node, "a checkpoint of %s does not verify: %s", origin, err.message);
    else if (!truth_root(world, origin, checkpoint.size, &root))
        world_fail(world, node, "a checkpoint of %s covers %llu entries, more than are durable anywhere", origin,
                   (unsigned long long)checkpoint.size);
    else if (!hash_equal(&root, &checkpoint.root))
        world_fail(world, node, "a checkpoint of %s at size %llu signs a root that is not the log's", origin,
                   (unsigned long long)checkpoint.size);
}

static uint64_t stored_checkpoint_size(struct log *log)
{
    struct buf note;
    struct checkpoint checkpoint = {.size = 0};
    buf_init(&note, NOTE_MAX_BYTES);
    if (log_load_checkpoint(log, false, &note, NULL) != 0 || !oracle_parse_note(buf_bytes(&note), &checkpoint))
        checkpoint.size = 0;
    buf_free(&note);
    return checkpoint.size;
}

/* What is acknowledged is stored, and so is what is cosigned. */
void oracle_acknowledges(struct node *node, const struct region_effect *effect)
{
    struct world *world = node->world;
    struct region_log_status status;
    region_log_status(node->region, effect->log, &status);
    uint64_t size =
        effect->log < atomic_load(&node->store.log_count) ? log_durable_size(node->store.logs[effect->log]) : 0;
    if (effect->size > size)
        world_fail(world, node, "it acknowledges %llu entries of %s and has stored %llu",
                   (unsigned long long)effect->size, status.origin, (unsigned long long)size);
    if (effect->note.size_bytes == 0 || world->failed)
        return;
    uint64_t stored = stored_checkpoint_size(node->store.logs[effect->log]);
    if (effect->cosigned_size > stored)
        world_fail(world, node, "it cosigns %s at size %llu, and the checkpoint that it has stored has size %llu",
                   status.origin, (unsigned long long)effect->cosigned_size, (unsigned long long)stored);
}

/* --- Limits --- */

void oracle_limits(struct node *node)
{
    if (node->mail_count >= SIM_MAIL_MAX)
        world_fail(node->world, node, "%zu messages wait for the region", node->mail_count);
    if (node->job_count >= SIM_JOBS_MAX)
        world_fail(node->world, node, "%zu jobs wait for the writer", node->job_count);
}

/* --- Convergence --- */

/* A log whose owner is there is whole, but for what is lost. */
static bool log_converged(struct world *world, size_t log, char *why, size_t why_size)
{
    const char *origin = truth_origin(world, log);
    bool whole = world->core[truth_owner(world, log)] && truth_kept_size(world, log) == truth_size(world, origin);
    uint64_t most = whole ? truth_size(world, origin) : 0;
    uint64_t sizes[SIM_NODES_MAX] = {0};
    for (size_t i = 0; i < world->node_count; i++) {
        if (world->core[i])
            sizes[i] = node_durable_size(&world->nodes[i], origin);
        if (sizes[i] > most)
            most = sizes[i];
    }
    for (size_t i = 0; i < world->node_count; i++) {
        if (world->core[i] && sizes[i] < most) {
            snprintf(why, why_size, "region %s holds %llu of %llu entries of %s", world->region_names[i],
                     (unsigned long long)sizes[i], (unsigned long long)most, origin);
            return false;
        }
    }
    return true;
}

bool oracle_converged(struct world *world, char *why, size_t why_size)
{
    for (size_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (world->core[i] && (!node->up || !node->accepting)) {
            struct region_log_status status = {.detail = ""};
            if (node->up)
                region_log_status(node->region, 0, &status);
            snprintf(why, why_size, "region %s %s: %.200s", world->region_names[i],
                     node->up ? "does not accept" : "is not up", status.detail);
            return false;
        }
    }
    for (size_t log = 0; log < truth_log_count(world); log++) {
        if (!log_converged(world, log, why, why_size))
            return false;
    }
    for (size_t i = 0; i < world->node_count; i++) {
        if (world->core[i] && !projector_caught_up(&world->nodes[i])) {
            snprintf(why, why_size, "projections of region %s are behind", world->region_names[i]);
            return false;
        }
    }
    return clients_satisfied(world, why, why_size) && settlers_done(world, why, why_size) &&
           queuers_done(world, why, why_size) && overriders_done(world, why, why_size) &&
           fates_converged(world, why, why_size);
}

/* --- The end --- */

static int ignore_block(void *context, const struct scan_block *block, struct err *err)
{
    struct chain *chain = context;
    struct sha256 *sha = sha256_new();
    int code = sha == NULL
                   ? err_no_memory(err, "a hash context")
                   : chain_check_block(chain, sha, block->body, block->header.entry_count, NULL, NULL, NULL, err);
    sha256_free(sha);
    return code;
}

/* As an auditor would: every file of every log of the core is read and checked from its first byte. */
static void verify_files(struct node *node)
{
    for (size_t i = 0; i < atomic_load(&node->store.log_count); i++) {
        char folder[DISK_PATH_MAX_BYTES];
        char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
        struct scan_result result;
        struct chain chain;
        struct err err = {0};
        memcpy(origin, log_origin(node->store.logs[i]).data, log_origin(node->store.logs[i]).size_bytes);
        chain_init(&chain, node->sha, bytes_of_string(origin));
        int code = store_path(&node->store, "logs", origin, folder, &err);
        if (code == 0)
            code = scan_log(node->store.disk, folder, &chain, ignore_block, &chain, &result, &err);
        if (code != 0 || result.size != log_durable_size(node->store.logs[i])) {
            world_fail(node->world, node, "the files of %s do not verify (%llu entries): %s", origin,
                       (unsigned long long)result.size, err.message);
            return;
        }
        truth_follow(node, (uint32_t)i);
    }
}

/* Of every own log that has ended: what its region says to be lost of it is what nobody has. With some regions away,
 * they may have it. */
static void check_lost(struct world *world)
{
    for (size_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        for (uint32_t log = 1; world->core[i] && log < region_log_count(node->region); log++) {
            struct region_log_status status;
            region_log_status(node->region, log, &status);
            size_t number = truth_number(world, status.origin);
            uint64_t held = 0;
            for (size_t other = 0; other < world->node_count; other++) {
                uint64_t size = node_held_size(&world->nodes[other], number);
                held = size > held ? size : held;
            }
            if (truth_owner(world, number) == i && held == node_held_size(node, number))
                truth_check_lost(node, number, held, &status);
        }
    }
}

void oracle_end(struct world *world)
{
    check_lost(world);
    for (size_t i = 0; i < world->node_count && !world->failed; i++) {
        if (world->core[i])
            verify_files(&world->nodes[i]);
    }
    if (!world->failed)
        clients_check_end(world);
    if (!world->failed)
        clients_check_copies(world);
    if (!world->failed)
        fates_check_end(world);
    if (!world->failed)
        definers_check_end(world);
    if (!world->failed)
        rotators_check_end(world);
    if (!world->failed)
        projector_check_end(world);
}
