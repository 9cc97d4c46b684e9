/* Bit rot in sealed segments, and the operator who repairs it: what a region finds damaged names the file, and the same
 * file of a peer's copy of the log takes its place (the log's own message says so, and here it is done). */
#include <stdio.h>

#include "base/assert.h"
#include "log/segment.h"
#include "sim/sim.h"

struct segments {
    size_t count;
    char last[2][SEGMENT_NAME_BYTES + 1]; /* the last two seen */
    char chosen[SEGMENT_NAME_BYTES + 1];
    struct world *world;
};

/* Chooses one of those that another follows. */
static int look_at(void *context, const char *name, bool is_dir)
{
    struct segments *segments = context;
    uint64_t first = 0;
    if (is_dir || segment_parse_name(name, &first) != 0)
        return 0;
    if (segments->count > 0 && world_draw(segments->world, segments->count) == 0)
        memcpy(segments->chosen, segments->last[0], sizeof(segments->chosen));
    copy_string(segments->last[0], sizeof(segments->last[0]), name);
    segments->count++;
    return 0;
}

/* The hash of a whole file; false when it cannot be read. */
static bool hash_file(struct node *node, const char *path, uint64_t *ret_size, struct hash *ret)
{
    struct buf contents;
    buf_init(&contents, 64 * 1024 * 1024);
    bool read = disk_read_file(sim_disk_seam(node->disk), path, &contents, NULL) == 0;
    if (read) {
        *ret = sha256_of(node->world->sha, buf_bytes(&contents));
        *ret_size = contents.size_bytes;
    }
    buf_free(&contents);
    return read;
}

/* Another region whose file of this segment has the bytes that were here: it is sealed there too. */
static struct node *find_copy(struct node *node, const struct rot *rot)
{
    struct world *world = node->world;
    for (size_t i = 0; i < world->node_count; i++) {
        char path[DISK_PATH_MAX_BYTES];
        struct node *other = &world->nodes[i];
        struct hash hash;
        uint64_t size = 0;
        snprintf(path, sizeof(path), "%s/%s", other->folder, rot->path);
        if (other != node && !other->rotten && hash_file(other, path, &size, &hash) && hash_equal(&hash, &rot->hash))
            return other;
    }
    return NULL;
}

static bool choose_segment(struct node *node, uint32_t log, struct rot *ret)
{
    struct segments segments = {.world = node->world};
    char folder[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    int code = store_path(&node->store, "logs", (const char *)log_origin(node->store.logs[log]).data, folder, NULL);
    if (code == 0)
        code = disk_list(node->store.disk, folder, look_at, &segments, NULL);
    if (code != 0 || segments.chosen[0] == '\0')
        return false;
    snprintf(path, sizeof(path), "%.300s/%s", folder, segments.chosen);
    copy_string(ret->path, sizeof(ret->path), path + strlen(node->folder) + 1);
    return hash_file(node, path, &ret->size, &ret->hash);
}

bool rot_strike(struct world *world)
{
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    struct rot rot;
    char path[DISK_PATH_MAX_BYTES];
    for (size_t i = 0; i < world->node_count; i++) {
        if (world->nodes[i].rotten || world->nodes[i].must_restore)
            return false;
    }
    if (!node->up || !choose_segment(node, (uint32_t)world_draw(world, atomic_load(&node->store.log_count)), &rot) ||
        find_copy(node, &rot) == NULL)
        return false;
    snprintf(path, sizeof(path), "%s/%s", node->folder, rot.path);
    uint64_t at = world_between(world, LOG_SEGMENT_HEADER_BYTES, rot.size - 1);
    if (!sim_disk_rot(node->disk, path, at, (unsigned)world_draw(world, 8)))
        return false;
    node->rotten = true;
    node->rot = rot;
    world_trace(world, node, "a bit rots in %s at %llu", path, (unsigned long long)at);
    return true;
}

void rot_repair(struct node *node)
{
    char from[DISK_PATH_MAX_BYTES];
    char to[DISK_PATH_MAX_BYTES];
    struct node *copy = find_copy(node, &node->rot);
    if (copy == NULL)
        return; /* the one that has it is being repaired or replaced: later */
    snprintf(from, sizeof(from), "%s/%s", copy->folder, node->rot.path);
    snprintf(to, sizeof(to), "%s/%s", node->folder, node->rot.path);
    if (node->up)
        node_crash(node, false, "an operator repairs it");
    sim_disk_copy_file(node->disk, to, copy->disk, from);
    node->rotten = false;
    world_trace(node->world, node, "an operator copies %s from %s", node->rot.path, copy->config.region);
    node_restart_after(node, world_between(node->world, 10 * SIM_MS, SIM_S));
}
