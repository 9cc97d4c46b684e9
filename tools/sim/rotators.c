/* People who replace keys, as `tally key rotate` and `retire` do it: a region is stopped, gets another generation of a
 * key, and starts with both signing; the public keys are brought to each peer, which reads them when it starts the next
 * time, soon or late; when every peer's process has read them, the old private key is destroyed. All of it happens
 * while regions crash, are away, or lose their disks; keys are kept apart from these.
 *
 * Checked here:
 *   - a checkpoint that a region signs has a line by each key that is in force there, and by no other of its keys;
 *   - whatever a log tells of keys was done, once in a log;
 *   - who knows the first key of a region finds in its logs, step by step, which key took the place of which, up to the
 *     last, and which have ended.
 * That what leaves a region verifies by its keys, and that nobody raises an alarm about them, is oracle.c's and
 * effects.c's. */
#include "base/assert.h"
#include "sim/truth.h"

enum { TOLD_MAX = 1024 };

struct rotators_told {
    size_t owner;
    size_t log;
    uint64_t index;
    enum control_kind kind;
    bool cosign;
    size_t generation; /* the old one */
};

struct rotators {
    size_t count;
    struct rotators_told told[TOLD_MAX];
};

/* --- Keys --- */

static struct hash hash_of(const struct world *world, const struct note_verifier *key)
{
    char vkey[NOTE_VKEY_MAX_BYTES + 1];
    note_verifier_format(key, vkey);
    return sha256_of(world->sha, bytes_of_string(vkey));
}

void keys_add(struct world *world, const char *name, enum note_key_type type, struct sim_keys *keys)
{
    uint8_t seed[32];
    struct err err = {0};
    PRE(keys->count < SIM_KEYS_MAX);
    prng_fill(&world->prng, seed, sizeof(seed));
    int code = note_signer_from_seed(name, type, seed, &keys->signers[keys->count], &err);
    INVARIANT(code == 0);
    keys->names[keys->count] = keys->signers[keys->count].verifier;
    keys->count++;
}

static void add_changes(struct node *node, const struct sim_keys *keys, const char *role)
{
    struct region_config *config = &node->config;
    for (size_t i = 0; i + 1 < keys->count; i++) {
        struct control_key change = {.kind = CONTROL_KEY_ROTATED,
                                     .role = bytes_of_string(role),
                                     .old_key = hash_of(node->world, &keys->names[i]),
                                     .new_key = hash_of(node->world, &keys->names[i + 1])};
        node->key_changes[config->key_change_count++] = change;
        change.kind = CONTROL_KEY_RETIRED;
        if (i < keys->first)
            node->key_changes[config->key_change_count++] = change;
    }
}

static struct signers signers_of(const struct sim_keys *keys)
{
    struct signers signers = {.count = keys->count - keys->first};
    for (size_t i = 0; i < signers.count; i++)
        signers.items[i] = &keys->signers[keys->first + i];
    return signers;
}

struct keyring keys_ring(const struct sim_keys *keys, size_t count)
{
    struct keyring ring = {.count = count};
    for (size_t i = 0; i < count; i++)
        ring.keys[i] = keys->names[i];
    return ring;
}

/* What a start reads from the folder of keys: the server's keys_load. */
void keys_read(struct node *node)
{
    struct region_config *config = &node->config;
    config->log_signers = signers_of(&node->log_keys);
    config->cosign_signers = signers_of(&node->cosign_keys);
    config->retired_log_keys = keys_ring(&node->log_keys, node->log_keys.first);
    config->key_change_count = 0;
    config->key_changes = node->key_changes;
    add_changes(node, &node->log_keys, "log");
    add_changes(node, &node->cosign_keys, "cosign");
    for (size_t peer = 0; peer < config->peer_count; peer++) {
        struct node *other = &node->world->nodes[node_of_peer(node, peer)];
        struct sim_keys *roles[] = {&other->log_keys, &other->cosign_keys};
        for (size_t i = 0; i < 2; i++)
            roles[i]->read[node->number] = roles[i]->brought[node->number];
        config->peers[peer].log_keys = keys_ring(&other->log_keys, other->log_keys.read[node->number]);
        config->peers[peer].cosign_keys = keys_ring(&other->cosign_keys, other->cosign_keys.read[node->number]);
    }
}

void rotators_check_signed(struct node *node, struct bytes message)
{
    struct note note;
    const struct sim_keys *keys = &node->log_keys;
    struct hash name = sha256_of(node->world->sha, message);
    if (map_get(&node->world->notes, bytes_of(name.bytes, HASH_SIZE)) != NULL)
        return; /* an earlier process signed it, and had not stored it */
    if (node->world->rotators == NULL || note_parse(message, &note, NULL) != 0)
        return;
    for (size_t i = 0; i < keys->count; i++) {
        struct note_verifier key = keys->names[i];
        int code = note_verifier_rename(&key, node->origin, NULL);
        INVARIANT(code == 0);
        bool is_signed = note_verify(&note, &key, NULL, NULL) == 1;
        if (is_signed != (i >= keys->first))
            world_fail(node->world, node,
                       "a checkpoint of %s is%s signed by generation %zu of its key; %zu to %zu are in force",
                       node->origin, is_signed ? "" : " not", i, keys->first, keys->count - 1);
    }
}

/* --- What people do --- */

static void restart(struct node *node, const char *why)
{
    if (!node->up)
        return;
    node_crash(node, false, why);
    node_restart_after(node, world_between(node->world, 10 * SIM_MS, 2 * SIM_S));
}

static bool is_read_by_all(const struct world *world, const struct node *node, const struct sim_keys *keys)
{
    for (size_t i = 0; i < world->node_count; i++) {
        if (i != node->number && keys->read[i] < keys->count)
            return false;
    }
    return true;
}

static void bring(struct world *world, struct node *node)
{
    struct node *peer =
        &world->nodes[(node->number + 1 + world_draw(world, world->node_count - 1)) % world->node_count];
    node->log_keys.brought[peer->number] = node->log_keys.count;
    node->cosign_keys.brought[peer->number] = node->cosign_keys.count;
    world_trace(world, peer, "is brought the keys of %s", node->config.region);
    if (world_chance(world, 600000))
        restart(peer, "it is to read keys");
}

static void rotate(struct node *node, struct sim_keys *keys, enum note_key_type type)
{
    keys_add(node->world, keys->names[0].name, type, keys);
    node->world->counts.rotations++;
    world_trace(node->world, node, "a key is rotated: generation %zu of %s", keys->count - 1, keys->names[0].name);
    restart(node, "a key is rotated");
}

static void run_rotator(struct world *world, struct task *task)
{
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    bool cosign = world_chance(world, 400000);
    struct sim_keys *keys = cosign ? &node->cosign_keys : &node->log_keys;
    (void)task;
    if (world->healing)
        return;
    if (keys->count - keys->first > 1 && is_read_by_all(world, node, keys)) {
        keys->first++;
        world_trace(world, node, "a key is retired: generation %zu of %s", keys->first - 1, keys->names[0].name);
        restart(node, "a key is retired");
    } else if (keys->count - keys->first == 1 && keys->count < SIM_KEYS_MAX) {
        rotate(node, keys, cosign ? NOTE_KEY_COSIGNATURE : NOTE_KEY_ED25519);
    } else {
        bring(world, node);
    }
    world_after(world, world_draw(world, 2 * world->plan.rotate_every_us) + 1, NULL, run_rotator);
}

void rotators_start(struct world *world)
{
    if (world->plan.rotate_every_us == 0)
        return;
    world->rotators = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(struct rotators)));
    world_after(world, world_draw(world, 2 * world->plan.rotate_every_us) + 1, NULL, run_rotator);
}

/* --- What logs tell --- */

/* The generation that a change is about; SIM_KEYS_MAX: it is none that was made. */
static size_t generation_of(const struct world *world, const struct sim_keys *keys, const struct control_key *change)
{
    size_t most = change->kind == CONTROL_KEY_RETIRED ? keys->first : keys->count - 1;
    for (size_t i = 0; i < most; i++) {
        struct hash old_key = hash_of(world, &keys->names[i]);
        struct hash new_key = hash_of(world, &keys->names[i + 1]);
        if (hash_equal(&change->old_key, &old_key) && hash_equal(&change->new_key, &new_key))
            return i;
    }
    return SIM_KEYS_MAX;
}

void rotators_take(struct node *node, size_t log, const struct chain_entry *found)
{
    struct world *world = node->world;
    struct rotators *rotators = world->rotators;
    struct control_key change;
    enum control_kind kind = control_kind_of(&found->entry);
    bool parsed = rotators != NULL && control_key_parse(kind, found->frame.payload, &change, NULL) == 0;
    bool cosign = parsed && bytes_equal(change.role, BYTES_LITERAL("cosign"));
    size_t generation =
        !parsed ? SIM_KEYS_MAX : generation_of(world, cosign ? &node->cosign_keys : &node->log_keys, &change);
    if (generation == SIM_KEYS_MAX) {
        world_fail(world, node, "entry %llu of %s tells of a change of keys that nobody made",
                   (unsigned long long)found->entry.index, truth_origin(world, log));
        return;
    }
    for (size_t i = 0; i < rotators->count; i++) {
        const struct rotators_told *told = &rotators->told[i];
        if (told->log == log && told->kind == kind && told->cosign == cosign && told->generation == generation)
            world_fail(world, node, "entry %llu of %s tells of a change of keys that entry %llu told of",
                       (unsigned long long)found->entry.index, truth_origin(world, log),
                       (unsigned long long)told->index);
    }
    INVARIANT(rotators->count < TOLD_MAX);
    rotators->told[rotators->count++] = (struct rotators_told){.owner = node->number,
                                                               .log = log,
                                                               .index = found->entry.index,
                                                               .kind = kind,
                                                               .cosign = cosign,
                                                               .generation = generation};
    world_trace(world, node, "its log tells of generation %zu: %s", generation, control_type(kind));
}

static bool is_told(struct world *world, const struct node *node, enum control_kind kind, bool cosign,
                    size_t generation)
{
    const struct rotators *rotators = world->rotators;
    for (size_t i = 0; i < rotators->count; i++) {
        const struct rotators_told *told = &rotators->told[i];
        if (told->owner == node->number && told->kind == kind && told->cosign == cosign &&
            told->generation == generation && !truth_is_lost(world, told->log, told->index))
            return true;
    }
    return false;
}

void rotators_check_end(struct world *world)
{
    for (size_t n = 0; n < world->node_count && world->rotators != NULL; n++) {
        const struct node *node = &world->nodes[n];
        for (size_t role = 0; role < 2 && world->core[n]; role++) {
            const struct sim_keys *keys = role == 1 ? &node->cosign_keys : &node->log_keys;
            for (size_t i = 0; i + 1 < keys->count && !world->failed; i++) {
                if (!is_told(world, node, CONTROL_KEY_ROTATED, role == 1, i) ||
                    (i < keys->first && !is_told(world, node, CONTROL_KEY_RETIRED, role == 1, i)))
                    world_fail(world, node, "no log of region %s tells what became of generation %zu of %s",
                               node->config.region, i, keys->names[0].name);
            }
        }
    }
}
