/* The atlas (atlas.h), and what must hold of every entry at the moment when its home has made it durable:
 *   - a region accepts only under an epoch that it began itself, or that the context gave it;
 *   - what it has released it accepts no more; under an epoch below one that it began, neither;
 *   - once it holds another region's higher epoch, and all that this rests on, it accepts no more either.
 *
 * Everything here is a loop over all changes of homes. There are few. */
#include "sim/atlas.h"

#include "base/assert.h"
#include "base/mem.h"

enum { LOOK_EVERY_MS = 200, FENCES_WITHIN_S = 12 };

/* The claims that are a partition's history, by epoch, ascending. */
struct reigns {
    size_t count;
    const struct truth_change **claims;
};

struct atlas {
    struct world *world;
    uint64_t applied[TRUTH_LOGS_MAX];
    struct reigns reigns[SIM_NUMBERS];
};

/* --- What can be applied --- */

static bool covers(const struct world *world, const uint64_t *sizes, const struct position *basis)
{
    const struct truth *truth = world->truth;
    for (size_t i = 0; i < basis->count; i++) {
        const struct position_log *needed = &basis->logs[i];
        size_t log = 0;
        while (log < truth->log_count && (strcmp(truth->logs[log].parts.region, needed->region) != 0 ||
                                          truth->logs[log].parts.incarnation != needed->incarnation))
            log++;
        if (needed->size > 0 && (log == truth->log_count || sizes[log] < needed->size))
            return false;
    }
    return true;
}

static uint64_t basis_of(const struct world *world, const struct truth_change *claim, size_t log)
{
    const struct origin *parts = &world->truth->logs[log].parts;
    for (size_t i = 0; i < claim->basis.count; i++) {
        const struct position_log *component = &claim->basis.logs[i];
        if (strcmp(component->region, parts->region) == 0 && component->incarnation == parts->incarnation)
            return component->size;
    }
    return 0;
}

/* How much of each log somebody knew who made a claim. */
static void known_by(const struct world *world, const struct truth_change *claim, uint64_t *sizes)
{
    for (size_t log = 0; log < world->truth->log_count; log++)
        sizes[log] = log == claim->log ? claim->index : basis_of(world, claim, log);
}

static uint64_t continued(const struct truth_log *life, const struct truth_log *of)
{
    return position_get(&life->basis, of->parts.region, of->parts.incarnation);
}

/* Whether a later life of its region has left the entry behind, for somebody who knows so much of each log: the latest
 * life that is known counts, and of those before it the latest that it knew, and so on. */
static bool left_behind(const struct world *world, const uint64_t *sizes, size_t log, uint64_t index)
{
    const struct truth *truth = world->truth;
    const struct truth_log *of = &truth->logs[log];
    const struct truth_log *life = NULL;
    do {
        const struct truth_log *next = NULL;
        for (size_t i = 0; i < truth->log_count; i++) {
            const struct truth_log *other = &truth->logs[i];
            bool known = life == NULL ? sizes[i] > 0 : continued(life, other) > 0;
            if (other->owner == of->owner && other->continues && known &&
                (life == NULL || other->parts.incarnation < life->parts.incarnation) &&
                (next == NULL || other->parts.incarnation > next->parts.incarnation))
                next = other;
        }
        life = next;
        if (life != NULL && life->parts.incarnation > of->parts.incarnation && index >= continued(life, of))
            return true;
    } while (life != NULL);
    return false;
}

static bool begins(const struct truth_change *change)
{
    return change->kind != CONTROL_AUTHORITY_RELEASED;
}

static bool apply_log(struct atlas *atlas, const uint64_t *held, size_t log)
{
    const struct truth *truth = atlas->world->truth;
    uint64_t end = held[log];
    const struct truth_log *of = &truth->logs[log];
    if (of->continues && !covers(atlas->world, atlas->applied, &of->basis) &&
        !left_behind(atlas->world, atlas->applied, log, 0))
        end = 0;
    for (size_t i = 0; i < truth->change_count; i++) {
        const struct truth_change *change = truth->changes[i];
        if (change->log == log && begins(change) && change->index < end &&
            !covers(atlas->world, atlas->applied, &change->basis) &&
            !left_behind(atlas->world, atlas->applied, log, change->index))
            end = change->index;
    }
    bool moved = end > atlas->applied[log];
    atlas->applied[log] = end;
    return moved;
}

static void apply_all(struct atlas *atlas, const uint64_t *held)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (size_t log = 0; log < atlas->world->truth->log_count; log++)
            moved = apply_log(atlas, held, log) || moved;
    }
}

uint64_t atlas_applied(const struct atlas *atlas, size_t log)
{
    return atlas->applied[log];
}

/* --- Whose history it is --- */

static size_t owner_of(const struct world *world, const struct truth_change *change)
{
    return world->truth->logs[change->log].owner;
}

/* Whether a is before b in (time, region, incarnation, index) order. */
static bool precedes(const struct world *world, const struct truth_change *a, const struct truth_change *b)
{
    const struct origin *of_a = &world->truth->logs[a->log].parts;
    const struct origin *of_b = &world->truth->logs[b->log].parts;
    int regions = strcmp(of_a->region, of_b->region);
    if (a->time != b->time)
        return a->time < b->time;
    if (regions != 0)
        return regions < 0;
    if (of_a->incarnation != of_b->incarnation)
        return of_a->incarnation < of_b->incarnation;
    return a->index < b->index;
}

/* Whether whoever made a claim knew the other one. */
static bool knew(const struct world *world, const struct truth_change *claim, const struct truth_change *other)
{
    if (claim->log == other->log)
        return other->index < claim->index;
    return other->index < basis_of(world, claim, other->log);
}

/* Whether a claim is one of this partition, by its name or by "*". */
static bool is_claim_of(const struct atlas *atlas, const struct truth_change *claim, size_t partition)
{
    const struct truth *truth = atlas->world->truth;
    if (!begins(claim) || claim->index >= atlas->applied[claim->log])
        return false;
    if (claim->partition != world_all_of(partition))
        return claim->partition == partition;
    if (partition < atlas->world->node_count)
        return false; /* the context gives it a home */
    for (size_t i = 0; i < truth->change_count; i++) {
        const struct truth_change *own = truth->changes[i];
        if (own->partition == partition && begins(own) && own->index < atlas->applied[own->log] &&
            knew(atlas->world, claim, own))
            return false;
    }
    return true;
}

/* The one that comes next when a partition's history is read backwards, from `above` or from its end. */
static const struct truth_change *before(const struct atlas *atlas, size_t partition, const struct truth_change *above)
{
    const struct truth *truth = atlas->world->truth;
    const struct truth_change *best = NULL;
    uint64_t known[TRUTH_LOGS_MAX];
    memcpy(known, atlas->applied, sizeof(known));
    if (above != NULL)
        known_by(atlas->world, above, known);
    for (size_t i = 0; i < truth->change_count; i++) {
        const struct truth_change *claim = truth->changes[i];
        if (!is_claim_of(atlas, claim, partition) || left_behind(atlas->world, known, claim->log, claim->index) ||
            (above != NULL && (claim->epoch >= above->epoch || !knew(atlas->world, above, claim))))
            continue;
        if (best == NULL || claim->epoch > best->epoch ||
            (claim->epoch == best->epoch && precedes(atlas->world, claim, best)))
            best = claim;
    }
    return best;
}

static void find_reigns(struct atlas *atlas, size_t partition)
{
    struct reigns *reigns = &atlas->reigns[partition];
    const struct truth_change *claim = NULL;
    reigns->claims = sim_must(mem_alloc_zero(atlas->world->truth->change_count + 1, sizeof(reigns->claims[0])));
    while ((claim = before(atlas, partition, claim)) != NULL)
        reigns->claims[reigns->count++] = claim;
    for (size_t i = 0; i < reigns->count / 2; i++) {
        const struct truth_change *swapped = reigns->claims[i];
        reigns->claims[i] = reigns->claims[reigns->count - 1 - i];
        reigns->claims[reigns->count - 1 - i] = swapped;
    }
}

struct atlas *atlas_new(struct world *world, const uint64_t *held)
{
    struct atlas *atlas = sim_must(mem_alloc_zero(1, sizeof(*atlas)));
    atlas->world = world;
    apply_all(atlas, held);
    for (size_t i = world_next_partition(world, SIM_NUMBERS); i < SIM_NUMBERS; i = world_next_partition(world, i))
        find_reigns(atlas, i);
    return atlas;
}

void atlas_free(struct atlas *atlas)
{
    for (size_t i = 0; i < SIM_NUMBERS; i++)
        mem_free(atlas->reigns[i].claims);
    mem_free(atlas);
}

/* --- Asking --- */

struct world *atlas_world(const struct atlas *atlas)
{
    return atlas->world;
}

static bool is_before_claim(const struct truth_log *log, const struct truth_log *claims, uint64_t index,
                            const struct truth_change *claim)
{
    if (log->parts.incarnation != claims->parts.incarnation)
        return log->parts.incarnation < claims->parts.incarnation;
    return index < claim->index;
}

bool atlas_late(const struct atlas *atlas, size_t log, uint64_t index)
{
    const struct world *world = atlas->world;
    const struct truth_log *of = &world->truth->logs[log];
    const struct truth_entry *entry = &of->entries[index];
    const struct reigns *reigns = &atlas->reigns[entry->partition];
    if (entry->override)
        return true; /* whoever was the home */
    if (entry->commutative)
        return false; /* no home had a say in it */
    bool begun = entry->epoch == CONTEXT_EPOCH_FIRST && of->owner == world_first_home(world, entry->partition);
    const struct truth_change *above = NULL;
    uint64_t known[TRUTH_LOGS_MAX];
    for (size_t i = reigns->count; i > 0 && reigns->claims[i - 1]->epoch > entry->epoch; i--)
        above = reigns->claims[i - 1];
    memcpy(known, atlas->applied, sizeof(known));
    if (above != NULL)
        known_by(world, above, known);
    if (left_behind(world, known, log, index))
        return true;
    for (size_t i = 0; i < reigns->count; i++) {
        const struct truth_change *claim = reigns->claims[i];
        const struct truth_log *claims = &world->truth->logs[claim->log];
        if (claim->epoch == entry->epoch)
            begun = claims->owner == of->owner && !is_before_claim(of, claims, index, claim);
        else if (claim->epoch > entry->epoch &&
                 index >= (claim->log == log ? claim->index : basis_of(world, claim, log)))
            return true;
    }
    return !begun;
}

bool atlas_stands(const struct atlas *atlas, const uint8_t id[ENTRY_ID_SIZE], struct truth_place *ret)
{
    const struct truth *truth = atlas->world->truth;
    const struct truth_place *first = NULL;
    for (const struct truth_place *place = truth_places(atlas->world, id); place != NULL; place = place->next) {
        if (place->index >= atlas_applied(atlas, place->log) || atlas_late(atlas, place->log, place->index))
            continue;
        hlc time = truth->logs[place->log].entries[place->index].time;
        hlc before = first == NULL ? 0 : truth->logs[first->log].entries[first->index].time;
        if (first == NULL || time < before ||
            (time == before && strcmp(truth->logs[place->log].origin, truth->logs[first->log].origin) < 0))
            first = place;
    }
    if (first != NULL)
        *ret = *first;
    return first != NULL;
}

bool atlas_left_behind(const struct atlas *atlas, size_t log, uint64_t index)
{
    return left_behind(atlas->world, atlas->applied, log, index);
}

/* The first release of an epoch by the region that holds it, for whoever knows so much of each log. */
static const struct truth_change *release_of(const struct atlas *atlas, size_t partition, uint64_t epoch, size_t node,
                                             const uint64_t *known)
{
    const struct world *world = atlas->world;
    const struct reigns *reigns = &atlas->reigns[partition];
    const struct truth_change *first = NULL;
    bool by_star = partition >= world->node_count;
    for (size_t i = 0; i < reigns->count; i++)
        by_star = by_star && (reigns->claims[i]->epoch != epoch || world_is_all(reigns->claims[i]->partition));
    for (size_t i = 0; i < world->truth->change_count; i++) {
        const struct truth_change *change = world->truth->changes[i];
        bool names = change->partition == partition || (by_star && change->partition == world_all_of(partition));
        if (names && !begins(change) && change->epoch == epoch && owner_of(world, change) == node &&
            change->index < atlas->applied[change->log] && !left_behind(world, known, change->log, change->index) &&
            (first == NULL || precedes(world, change, first)))
            first = change;
    }
    return first;
}

struct atlas_home atlas_home(const struct atlas *atlas, size_t partition)
{
    const struct reigns *reigns = &atlas->reigns[partition];
    struct atlas_home home = {.node = world_first_home(atlas->world, partition), .epoch = CONTEXT_EPOCH_FIRST};
    if (reigns->count > 0) {
        home.node = owner_of(atlas->world, reigns->claims[reigns->count - 1]);
        home.epoch = reigns->claims[reigns->count - 1]->epoch;
    }
    const struct truth_change *release = release_of(atlas, partition, home.epoch, home.node, atlas->applied);
    home.released = release != NULL;
    home.successor = release == NULL ? SIM_NODES_MAX : release->successor;
    return home;
}

static void check_taking(const struct atlas *atlas, size_t partition, const struct truth_change *claim,
                         const struct truth_change *last)
{
    struct world *world = atlas->world;
    size_t from = last == NULL ? world_first_home(world, partition) : owner_of(world, last);
    uint64_t epoch = last == NULL ? CONTEXT_EPOCH_FIRST : last->epoch;
    uint64_t known[TRUTH_LOGS_MAX] = {0};
    known_by(world, claim, known);
    const struct truth_change *release = release_of(atlas, partition, epoch, from, known);
    if (epoch + 1 != claim->epoch || release == NULL || release->successor != owner_of(world, claim))
        return; /* it took from one that turned out to have lost */
    if (basis_of(world, claim, release->log) <= release->index)
        world_fail(world, NULL, "partition %zu was handed over in entry %llu of %s, and taken without it", partition,
                   (unsigned long long)release->index, world->truth->logs[release->log].origin);
    for (size_t i = 0; last != NULL && i < world->truth->log_count; i++) {
        if (i != last->log && basis_of(world, last, i) > basis_of(world, claim, i) && i != claim->log)
            world_fail(world, NULL, "partition %zu was taken under epoch %llu without what epoch %llu rests on",
                       partition, (unsigned long long)claim->epoch, (unsigned long long)epoch);
    }
}

void atlas_check_handovers(const struct atlas *atlas)
{
    for (size_t p = 0; p < SIM_NUMBERS; p++) {
        const struct reigns *reigns = &atlas->reigns[p];
        for (size_t i = 0; i < reigns->count; i++) {
            if (reigns->claims[i]->kind == CONTROL_AUTHORITY_TAKEN)
                check_taking(atlas, p, reigns->claims[i], i == 0 ? NULL : reigns->claims[i - 1]);
        }
    }
}

/* --- As it happens --- */

static bool has_met(const struct node *node, const struct truth_change *change)
{
    const struct world *world = node->world;
    uint64_t sizes[TRUTH_LOGS_MAX] = {0};
    for (size_t log = 0; log < world->truth->log_count; log++)
        sizes[log] = node_durable_size(node, truth_origin(world, log));
    return sizes[change->log] > change->index && (!begins(change) || covers(world, sizes, &change->basis));
}

static void run_look(struct world *world, struct task *task)
{
    (void)task;
    for (size_t i = 0; i < world->truth->change_count; i++) {
        struct truth_change *change = world->truth->changes[i];
        for (size_t n = 0; n < world->node_count; n++) {
            if (change->met_at_us[n] == 0 && world->nodes[n].up && has_met(&world->nodes[n], change))
                change->met_at_us[n] = world->now_us;
        }
    }
    world_after(world, (uint64_t)LOOK_EVERY_MS * SIM_MS, NULL, run_look);
}

void atlas_start(struct world *world)
{
    world_after(world, (uint64_t)LOOK_EVERY_MS * SIM_MS, NULL, run_look);
}

void atlas_forget(struct node *node)
{
    for (size_t i = 0; i < node->world->truth->change_count; i++)
        node->world->truth->changes[i]->met_at_us[node->number] = 0;
}

/* Whether a change speaks of this partition; what "*" says counts only where the partition was never named itself. */
static bool speaks_of(const struct world *world, const struct truth_change *change, size_t partition)
{
    if (change->partition != world_all_of(partition) || partition < world->node_count)
        return change->partition == partition;
    for (size_t i = 0; i < world->truth->change_count; i++) {
        if (world->truth->changes[i]->partition == partition)
            return false;
    }
    return true;
}

bool atlas_has_moved(const struct world *world, size_t partition)
{
    for (size_t i = 0; i < world->truth->change_count; i++) {
        if (speaks_of(world, world->truth->changes[i], partition))
            return true;
    }
    return false;
}

static const char *breach(const struct node *node, const struct truth_change *change, const struct truth_entry *entry)
{
    const struct world *world = node->world;
    uint64_t sizes[TRUTH_LOGS_MAX] = {0};
    for (size_t log = 0; log < world->truth->log_count; log++)
        sizes[log] = node_durable_size(node, truth_origin(world, log));
    if (truth_is_lost(world, change->log, change->index) || left_behind(world, sizes, change->log, change->index))
        return NULL;
    bool own = owner_of(world, change) == node->number;
    uint64_t met_at_us = change->met_at_us[node->number];
    if (own && !begins(change) && change->epoch == entry->epoch)
        return "it has released it";
    if (own && begins(change) && change->epoch > entry->epoch)
        return "it has begun a later epoch itself";
    if (!own && begins(change) && change->epoch > entry->epoch && met_at_us != 0 &&
        world->now_us - met_at_us > FENCES_WITHIN_S * SIM_S)
        return "it has long met a later epoch";
    return NULL;
}

void atlas_accepted(struct node *node, size_t log, uint64_t index)
{
    struct world *world = node->world;
    const struct truth_entry *entry = &world->truth->logs[log].entries[index];
    if (entry->commutative && node->number == world->plan.outside)
        world_fail(world, node, "entry %llu is accepted where its payload may not be", (unsigned long long)index);
    if ((entry->op == NULL && entry->decision == NULL && !entry->defines) || entry->commutative || entry->override)
        return;
    size_t partition = entry->partition;
    bool begun = entry->epoch == CONTEXT_EPOCH_FIRST && world_first_home(world, partition) == node->number;
    for (size_t i = 0; i < world->truth->change_count; i++) {
        const struct truth_change *change = world->truth->changes[i];
        bool names = change->partition == partition ||
                     (change->partition == world_all_of(partition) && partition >= world->node_count);
        begun = begun || (names && !truth_is_lost(world, change->log, change->index) && begins(change) &&
                          change->epoch == entry->epoch && owner_of(world, change) == node->number);
        const char *why = speaks_of(world, change, partition) ? breach(node, change, entry) : NULL;
        if (why != NULL)
            world_fail(world, node, "entry %llu is accepted for partition %zu under epoch %llu, and %s",
                       (unsigned long long)index, partition, (unsigned long long)entry->epoch, why);
    }
    if (!begun)
        world_fail(world, node, "entry %llu is accepted for partition %zu under epoch %llu, which it never began",
                   (unsigned long long)index, partition, (unsigned long long)entry->epoch);
}
