/* Projections: the real ones, with SQLite on real files in a folder of the run's own, which stands for a part of each
 * region's disk. A process that ends leaves them as the last commit did; a lost disk takes them too.
 *
 * Checked: a projection that lived through the run has the digest of one made afresh from the logs. Since every
 * region's logs are the same bytes, regions at one position have one digest. And that of rows made from the entries
 * that the atlas says have their effect, one after the other. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "projection/generation.h"
#include "sim/projector.h"

static const char sql[] =
    "-- tally: projection totals\n"
    "-- tally: schema\n"
    "CREATE TABLE totals (stream TEXT PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL, version INTEGER "
    "NOT "
    "NULL);\n"
    "-- tally: on bank *\n"
    "INSERT INTO totals VALUES (:stream, 1, length(:payload), :version) ON CONFLICT (stream) DO UPDATE SET events = "
    "events + 1, bytes = bytes + excluded.bytes, version = max(version, excluded.version);\n";

/* --- The folder --- */

static const char *make_temporary(struct world *world)
{
    if (world->temporary[0] == '\0') {
        const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(world->temporary, sizeof(world->temporary), "%s/tally-sim-XXXXXX", parent);
        INVARIANT(mkdtemp(world->temporary) != NULL);
    }
    return world->temporary;
}

static void folder_of(const struct node *node, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", make_temporary(node->world), node->config.region);
}

static void remove_files(const char *folder)
{
    DIR *listing = opendir(folder);
    const struct dirent *entry = NULL;
    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%.200s", folder, entry->d_name);
        unlink(path);
    }
    if (listing != NULL)
        closedir(listing);
    rmdir(folder);
}

void projector_erase(struct node *node)
{
    char folder[256];
    if (!node->world->plan.projections)
        return;
    comparers_erased(node);
    folder_of(node, folder, sizeof(folder));
    remove_files(folder);
}

void projector_clean(struct world *world)
{
    for (size_t i = 0; i < world->node_count; i++)
        projector_erase(&world->nodes[i]);
    if (world->temporary[0] != '\0')
        rmdir(world->temporary);
}

/* --- Following --- */

static int follow_round(struct node *node, struct projector *projector, bool *moved, struct err *err)
{
    struct follower_progress progress = {.moved = false};
    int code =
        follower_step(projector->follower, node->store.logs, atomic_load(&node->store.log_count), &progress, err);
    if (code == 0 && projection_next(projector->projection) == NULL && world_chance(node->world, 10000))
        code = follower_rebuild(projector->follower, err);
    if (progress.switched)
        world_trace(node->world, node, "projection: generation %llu is live",
                    (unsigned long long)projection_generation(projector->projection));
    *moved = progress.moved || projection_next(projector->projection) != NULL;
    return code;
}

static void run_projector(struct world *world, struct task *task)
{
    struct node *node = task->node;
    struct err err = {0};
    bool moved = false;
    node->projector->waits = false;
    int code = follow_round(node, node->projector, &moved, &err);
    world->counts.projected += moved;
    if (code != 0 && code != ERR_IO && !node->rotten)
        world_fail(world, node, "the projection cannot follow: %s", err.message);
    if (moved)
        projector_changed(node);
}

void projector_changed(struct node *node)
{
    if (node->projector == NULL || node->projector->waits)
        return;
    node->projector->waits = true;
    uint64_t most_us = node->world->healing ? 5 * SIM_MS : 200 * SIM_MS;
    world_after(node->world, world_between(node->world, SIM_MS, most_us), node, run_projector);
}

void projector_boot(struct node *node)
{
    char folder[256];
    struct err err = {0};
    struct projector *projector = NULL;
    if (!node->world->plan.projections)
        return;
    folder_of(node, folder, sizeof(folder));
    projector = sim_must(mem_alloc_zero(1, sizeof(*projector)));
    int code = access(folder, F_OK) == 0
                   ? projection_open(folder, NULL, NULL, &projector->projection, &err)
                   : projection_create(folder, bytes_of_string(sql), NULL, NULL, &projector->projection, &err);
    if (code == 0)
        code = follower_new(projector->projection, &node->config.contexts, &projector->follower, &err);
    if (code == 0)
        follower_limit(projector->follower, node->world->plan.projected_events);
    if (code != 0)
        world_fail(node->world, node, "the projection does not open: %s", err.message);
    node->projector = projector;
    if (code == 0)
        projector_changed(node);
}

void projector_crash(struct node *node)
{
    if (node->projector == NULL)
        return;
    follower_free(node->projector->follower);
    projection_close(node->projector->projection);
    mem_free(node->projector);
    node->projector = NULL;
}

/* --- Checks --- */

bool projector_caught_up(const struct node *node)
{
    if (node->projector == NULL)
        return true;
    for (size_t i = 0; i < atomic_load(&node->store.log_count); i++) {
        const struct log *log = node->store.logs[i];
        char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
        uint64_t applied = 0;
        memcpy(origin, log_origin(log).data, log_origin(log).size_bytes);
        if (projection_db_applied(projection_live(node->projector->projection), origin, &applied, NULL) != 0 ||
            applied != log_durable_size(log))
            return false;
    }
    return true;
}

/* In passes over the logs, because a change of homes may wait in one for what stands in another. */
static int fill(struct node *node, struct generation *generation, struct err *err)
{
    size_t count = atomic_load(&node->store.log_count);
    bool moved = true;
    int code = 0;
    while (code == 0 && moved) {
        moved = false;
        for (size_t i = 0; code == 0 && i < count; i++) {
            struct generation_progress progress = {.moved = false};
            code = generation_step(generation, node->store.logs, count, i, UINT64_MAX, FOLLOWER_EVENTS_MAX, &progress,
                                   err);
            moved = moved || progress.moved;
        }
    }
    return code;
}

/* Of a generation that is told this, filled from the start. When it meets a conflict, *known has that, too. */
static int digest_told(struct node *node, const struct projection_spec *spec, struct buf *known, bool *ret_conflict,
                       struct hash *ret, struct err *err)
{
    struct projection_db *db = NULL;
    struct generation *generation = NULL;
    int code = projection_db_open(":memory:", spec, NULL, &db, err);
    if (code == 0)
        code = generation_new(db, &node->config.contexts, &generation, err);
    if (code == 0)
        code = generation_tell(generation, buf_bytes(known), err);
    if (code == 0)
        code = fill(node, generation, err);
    if (code == 0)
        code = projection_db_digest(db, ret, NULL, err);
    *ret_conflict = code == 0 && generation_conflict(generation, NULL);
    if (*ret_conflict) {
        buf_clear(known);
        code = generation_known(generation, known, err);
    }
    generation_free(generation);
    projection_db_close(db);
    return code;
}

/* It is told what the live one knows. In another order of the logs it may meet two events of one id the other way
 * round, and then has to be told that, too. */
static int digest_afresh(struct node *node, struct hash *ret, struct err *err)
{
    struct projection_spec *spec = NULL;
    struct buf known;
    bool conflict = true;
    buf_init(&known, GENERATION_AUTHORITY_MAX_BYTES);
    int code = projection_spec_parse(bytes_of_string(sql), &spec, err);
    if (code == 0)
        code = follower_known(node->projector->follower, &known, err);
    while (code == 0 && conflict)
        code = digest_told(node, spec, &known, &conflict, ret, err);
    projection_spec_free(spec);
    buf_free(&known);
    return code;
}

static void check_projection(struct node *node)
{
    struct world *world = node->world;
    struct hash live;
    struct hash afresh;
    struct err err = {0};
    int code = projection_db_digest(projection_live(node->projector->projection), &live, NULL, &err);
    if (code == 0)
        code = digest_afresh(node, &afresh, &err);
    if (code != 0)
        world_fail(world, node, "the projection has no digest: %s", err.message);
    else if (!hash_equal(&live, &afresh))
        world_fail(world, node, "the projection's digest is not that of one made afresh from the same logs");
}

/* --- Against the truth --- */

struct refilling {
    struct projection_db *db;
    projector_stands_fn *stands;
    const void *context;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
};

static int refill_block(const struct refilling *refilling, const struct block *block, struct err *err)
{
    struct bytes elements = block_body(block);
    int code = projection_db_begin(refilling->db, err);
    for (uint32_t i = 0; code == 0 && i < block->entry_count; i++) {
        struct frame frame;
        struct entry entry;
        code = frame_next_entry(&elements, &frame, &entry, err);
        struct projection_event event = {
            .origin = refilling->origin, .entry = &entry, .payload = frame.payload, .has_payload = frame.has_payload};
        if (code == 0)
            event.late = !refilling->stands(refilling->context, refilling->origin, entry.index);
        if (code == 0)
            code = projection_db_apply(refilling->db, &event, err);
    }
    return code == 0 ? projection_db_commit(refilling->db, err) : code;
}

static int refill(struct node *node, struct refilling *refilling, struct err *err)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < atomic_load(&node->store.log_count); i++) {
        struct log *log = node->store.logs[i];
        memset(refilling->origin, 0, sizeof(refilling->origin));
        memcpy(refilling->origin, log_origin(log).data, log_origin(log).size_bytes);
        for (uint64_t at = 0; code == 0 && at < log_durable_size(log);) {
            struct block *block = NULL;
            code = log_read_block(log, at, &block, err);
            if (code != 0)
                break;
            code = refill_block(refilling, block, err);
            at = block->first_index + block->entry_count;
            block_release(block);
        }
    }
    return code;
}

void projector_check_truth(struct node *node, projector_stands_fn *stands, const void *context)
{
    struct world *world = node->world;
    struct refilling refilling = {.stands = stands, .context = context};
    struct projection_spec *spec = NULL;
    struct hash live;
    struct hash expected;
    struct err err = {0};
    if (node->projector == NULL || comparers_harmed(node))
        return;
    int code = projection_spec_parse(bytes_of_string(sql), &spec, &err);
    if (code == 0)
        code = projection_db_open(":memory:", spec, NULL, &refilling.db, &err);
    if (code == 0)
        code = refill(node, &refilling, &err);
    if (code == 0)
        code = projection_db_digest(refilling.db, &expected, NULL, &err);
    if (code == 0)
        code = projection_db_digest(projection_live(node->projector->projection), &live, NULL, &err);
    projection_db_close(refilling.db);
    projection_spec_free(spec);
    if (code != 0)
        world_fail(world, node, "the projection cannot be compared with the truth: %s", err.message);
    else if (!hash_equal(&live, &expected))
        world_fail(world, node, "the projection's digest is not that of the events that have their effect");
}

void projector_check_end(struct world *world)
{
    for (size_t i = 0; i < world->node_count && !world->failed; i++) {
        if (world->core[i] && world->nodes[i].projector != NULL && !comparers_harmed(&world->nodes[i]))
            check_projection(&world->nodes[i]);
    }
}
