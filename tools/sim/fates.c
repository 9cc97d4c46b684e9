/* What the indexes must say. At the end of a run the atlas is drawn at the position that the healed regions have
 * reached, and every index is compared with it: what is late and in which state, the versions of every stream, the
 * place of every event id, the home of every partition. So is an index that is made afresh from the same logs, in
 * another interleaving. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/atlas.h"

enum { PLACES_MAX = INDEX_SCAN_MAX };

/* An index under comparison. */
struct subject {
    struct world *world;
    struct node *node;
    struct index *index;
    const struct atlas *atlas;
    const char *what;
};

/* --- Converging --- */

static struct node *first_of_core(struct world *world)
{
    size_t first = 0;
    while (!world->core[first])
        first++;
    return &world->nodes[first];
}

static uint64_t applied_size(struct index *index, const char *origin)
{
    uint32_t number = 0;
    int code = index_log(index, bytes_of_string(origin), &number, NULL);
    INVARIANT(code == 0);
    return index_applied_size(index, number);
}

static struct atlas *draw_atlas(struct world *world)
{
    uint64_t held[TRUTH_LOGS_MAX] = {0};
    for (size_t log = 0; log < truth_log_count(world); log++)
        held[log] = node_durable_size(first_of_core(world), truth_origin(world, log));
    return atlas_new(world, held);
}

static bool indexes_are_up(struct world *world, char *why, size_t why_size)
{
    struct atlas *atlas = draw_atlas(world);
    bool up = true;
    for (size_t i = 0; up && i < world->node_count; i++) {
        for (size_t log = 0; up && world->core[i] && log < truth_log_count(world); log++) {
            uint64_t applied = applied_size(world->nodes[i].index, truth_origin(world, log));
            up = applied == atlas_applied(atlas, log);
            if (!up)
                snprintf(why, why_size, "the index of region %s has %llu of %llu entries of %s", world->region_names[i],
                         (unsigned long long)applied, (unsigned long long)atlas_applied(atlas, log),
                         truth_origin(world, log));
        }
    }
    atlas_free(atlas);
    return up;
}

/* Whether some of the core hold a log of a region that is away, and others do not: without a signature of its region
 * they cannot know a later log for its own (region/incarnation.c). */
static bool is_unknown_life(struct world *world, size_t log)
{
    size_t have = 0;
    size_t lack = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        bool holds = node_durable_size(&world->nodes[i], truth_origin(world, log)) > 0;
        have += world->core[i] && holds;
        lack += world->core[i] && !holds;
    }
    return have > 0 && lack > 0 && !world->core[truth_owner(world, log)];
}

/* Whether a region is to hold what of its own earlier log only those have who stay away. */
static bool is_held_elsewhere(struct world *world, size_t log)
{
    uint64_t most = 0;
    for (size_t i = 0; i < world->node_count; i++) {
        uint64_t size = world->core[i] ? node_durable_size(&world->nodes[i], truth_origin(world, log)) : 0;
        most = size > most ? size : most;
    }
    return world->core[truth_owner(world, log)] && most < truth_kept_size(world, log);
}

bool fates_wait_for_others(struct world *world)
{
    uint64_t held[TRUTH_LOGS_MAX] = {0};
    bool waits = false;
    bool all = true;
    for (size_t i = 0; i < world->node_count; i++) {
        all = all && world->core[i];
        waits = waits || (world->core[i] && world->nodes[i].must_restore);
        for (size_t log = 0; world->core[i] && log < truth_log_count(world); log++) {
            waits = waits || is_unknown_life(world, log) || is_held_elsewhere(world, log);
            uint64_t size = node_durable_size(&world->nodes[i], truth_origin(world, log));
            held[log] = size > held[log] ? size : held[log];
        }
    }
    struct atlas *atlas = atlas_new(world, held);
    for (size_t log = 0; log < truth_log_count(world); log++)
        waits = waits || atlas_applied(atlas, log) < held[log];
    atlas_free(atlas);
    return waits && !all;
}

static bool homes_agree(struct world *world, char *why, size_t why_size)
{
    for (size_t p = world_next_partition(world, SIM_NUMBERS); p < SIM_NUMBERS; p = world_next_partition(world, p)) {
        struct bytes name = world_partition_name(world, p);
        struct authority_now first = {.region = NULL};
        for (size_t i = 0; i < world->node_count; i++) {
            struct authority_now now;
            if (!world->core[i])
                continue;
            int code =
                authority_now(region_authority(world->nodes[i].region), world_context_of(world, p), name, &now, NULL);
            INVARIANT(code == 0);
            if (first.region == NULL)
                first = now;
            bool same = strcmp(first.region, now.region) == 0 && first.epoch == now.epoch;
            if (same && !now.released && world->core[world_node_named(world, now.region)])
                continue;
            snprintf(why, why_size, "partition %.*s is with %s%s under epoch %llu for region %s, with %s under %llu",
                     (int)name.size_bytes, (const char *)name.data, now.region, now.released ? ", released," : "",
                     (unsigned long long)now.epoch, world->region_names[i], first.region,
                     (unsigned long long)first.epoch);
            return false;
        }
    }
    return true;
}

static struct hash digest_of(struct world *world, struct index *index)
{
    struct hash digest;
    struct err err = {0};
    int code = index_late_digest(index, world->sha, &digest, &err);
    INVARIANT(code == 0);
    return digest;
}

static bool digests_agree(struct world *world, char *why, size_t why_size)
{
    struct hash first = digest_of(world, first_of_core(world)->index);
    for (size_t i = 0; i < world->node_count; i++) {
        struct hash other = world->core[i] ? digest_of(world, world->nodes[i].index) : first;
        if (!hash_equal(&first, &other)) {
            snprintf(why, why_size, "region %s has another digest of late events than region %s",
                     world->region_names[i], first_of_core(world)->config.region);
            return false;
        }
    }
    return true;
}

bool fates_converged(struct world *world, char *why, size_t why_size)
{
    return homes_agree(world, why, why_size) && indexes_are_up(world, why, why_size) &&
           digests_agree(world, why, why_size);
}

/* --- Late events --- */

/* The effective entry with an id; false when there is none. */
static bool find_effective(const struct subject *subject, const uint8_t id[ENTRY_ID_SIZE], struct truth_place *ret)
{
    return atlas_stands(subject->atlas, id, ret);
}

/* Whether a client's entry is effective, and another one with its id has the effect. */
static bool is_duplicate(const struct subject *subject, size_t log, uint64_t index)
{
    struct truth_place effective;
    return !atlas_late(subject->atlas, log, index) &&
           find_effective(subject, subject->world->truth->logs[log].entries[index].id, &effective) &&
           (effective.log != log || effective.index != index);
}

/* Whether a decision is before another one, in (epoch, time, origin, index) order. */
static bool decides_before(const struct world *world, const struct truth_decision *a, const struct truth_decision *b)
{
    const struct truth_log *of_a = &world->truth->logs[a->log];
    const struct truth_log *of_b = &world->truth->logs[b->log];
    const struct truth_entry *entry_a = &of_a->entries[a->index];
    const struct truth_entry *entry_b = &of_b->entries[b->index];
    int origins = strcmp(of_a->origin, of_b->origin);
    if (entry_a->epoch != entry_b->epoch)
        return entry_a->epoch < entry_b->epoch;
    if (entry_a->time != entry_b->time)
        return entry_a->time < entry_b->time;
    return origins != 0 ? origins < 0 : a->index < b->index;
}

/* The decision about a late entry that counts: made by the home, as far as that was not overtaken; the first one. */
static const struct truth_decision *decision_of(const struct subject *subject, size_t log, uint64_t index)
{
    const struct truth *truth = subject->world->truth;
    const struct truth_entry *item = &truth->logs[log].entries[index];
    const struct truth_decision *first = NULL;
    for (size_t i = 0; i < truth->decision_count; i++) {
        const struct truth_decision *decision = truth->decisions[i];
        if (decision->item_log != log || decision->item_index != index ||
            decision->index >= atlas_applied(subject->atlas, decision->log) ||
            memcmp(decision->item_id, item->id, ENTRY_ID_SIZE) != 0 ||
            truth->logs[decision->log].entries[decision->index].partition != item->partition ||
            atlas_late(subject->atlas, decision->log, decision->index))
            continue;
        if (first == NULL || decides_before(subject->world, decision, first))
            first = decision;
    }
    return first;
}

/* Whether an effective event that follows the decision names the late one as its cause. */
static bool is_compensated(const struct subject *subject, const struct truth_decision *decision)
{
    const struct truth *truth = subject->world->truth;
    const struct truth_entry *decided = &truth->logs[decision->log].entries[decision->index];
    for (size_t i = 0; i < truth->caused_count; i++) {
        const struct truth_caused *caused = &truth->caused[i];
        const struct truth_entry *entry = &truth->logs[caused->log].entries[caused->index];
        bool follows =
            (caused->log == decision->log && caused->index > decision->index) || entry->epoch > decided->epoch;
        if (follows && entry->partition == decided->partition &&
            memcmp(caused->cause, decision->item_id, ENTRY_ID_SIZE) == 0 &&
            caused->index < atlas_applied(subject->atlas, caused->log) &&
            !atlas_late(subject->atlas, caused->log, caused->index))
            return true;
    }
    return false;
}

/* What became of a late entry. */
static enum index_late_state state_of(const struct subject *subject, size_t log, uint64_t index)
{
    struct truth_place effective;
    const struct truth_decision *decision = decision_of(subject, log, index);
    if (decision == NULL)
        return find_effective(subject, subject->world->truth->logs[log].entries[index].id, &effective)
                   ? INDEX_LATE_DUPLICATE
                   : INDEX_LATE_OPEN;
    switch (decision->settlement) {
    case SETTLED_ACCEPTED:
        return INDEX_LATE_ACCEPTED;
    case SETTLED_DROPPED:
        return INDEX_LATE_DROPPED;
    case SETTLED_REJECTED:
        return INDEX_LATE_REJECTED;
    case SETTLED_COMPENSATE:
        break;
    }
    return is_compensated(subject, decision) ? INDEX_LATE_COMPENSATED : INDEX_LATE_COMPENSATION_OWED;
}

static bool is_place(const struct subject *subject, struct index_place place, size_t log, uint64_t index)
{
    char origin[INDEX_ORIGIN_MAX_BYTES + 1] = "";
    int code = index_origin(subject->index, place.log, origin, NULL);
    INVARIANT(code == 0);
    return place.index == index && strcmp(origin, truth_origin(subject->world, log)) == 0;
}

static void check_duplicate(const struct subject *subject, size_t log, const struct index_late *item)
{
    struct truth_place effective = {.log = 0};
    const struct truth_entry *entry = &subject->world->truth->logs[log].entries[item->place.index];
    bool found = find_effective(subject, entry->id, &effective);
    if (!found || !is_duplicate(subject, log, item->place.index) || item->state != INDEX_LATE_DUPLICATE ||
        item->commutative != entry->commutative || !item->has_effective ||
        !is_place(subject, item->effective, effective.log, effective.index))
        world_fail(subject->world, subject->node,
                   "%s has entry %llu of %s as a duplicate, and it is not, or of another one", subject->what,
                   (unsigned long long)item->place.index, item->origin);
    subject->world->counts.one_id++;
}

static void check_item(const struct subject *subject, const struct index_late *item)
{
    struct world *world = subject->world;
    size_t log = truth_number(world, item->origin);
    struct truth_place effective;
    if (!item->late && item->place.index < atlas_applied(subject->atlas, log)) {
        check_duplicate(subject, log, item);
        return;
    }
    if (item->place.index >= atlas_applied(subject->atlas, log) || !item->late ||
        !atlas_late(subject->atlas, log, item->place.index)) {
        world_fail(world, subject->node, "%s has entry %llu of %s (of partition %s, epoch %llu) among its items, %s",
                   subject->what, (unsigned long long)item->place.index, item->origin, item->partition,
                   (unsigned long long)item->epoch, item->late ? "which is not late" : "which it cannot have");
        return;
    }
    enum index_late_state state = state_of(subject, log, item->place.index);
    bool found = find_effective(subject, world->truth->logs[log].entries[item->place.index].id, &effective);
    if (item->state != state)
        world_fail(world, subject->node, "%s says that late entry %llu of %s is %s, and it is %s", subject->what,
                   (unsigned long long)item->place.index, item->origin, index_late_state_name(item->state),
                   index_late_state_name(state));
    const struct truth_decision *decision = decision_of(subject, log, item->place.index);
    if (decision != NULL && state != INDEX_LATE_ACCEPTED && found && effective.log == decision->log &&
        effective.index < decision->index)
        world_fail(world, subject->node, "late entry %llu of %s is %s, and its home had taken the event again before",
                   (unsigned long long)item->place.index, item->origin, index_late_state_name(state));
    if (state == INDEX_LATE_ACCEPTED && !found)
        world_fail(world, subject->node, "late entry %llu of %s was accepted, and has no effect",
                   (unsigned long long)item->place.index, item->origin);
}

static uint64_t count_late(const struct subject *subject)
{
    uint64_t count = 0;
    for (size_t log = 0; log < truth_log_count(subject->world); log++) {
        for (uint64_t i = 0; i < atlas_applied(subject->atlas, log); i++)
            count += subject->world->truth->logs[log].entries[i].op != NULL && atlas_late(subject->atlas, log, i);
    }
    return count;
}

static uint64_t count_duplicates(const struct subject *subject)
{
    uint64_t count = 0;
    for (size_t log = 0; log < truth_log_count(subject->world); log++) {
        for (uint64_t i = 0; i < atlas_applied(subject->atlas, log); i++)
            count += subject->world->truth->logs[log].entries[i].op != NULL && is_duplicate(subject, log, i);
    }
    return count;
}

/* For the totals. */
static void count_states(const struct subject *subject)
{
    struct world *world = subject->world;
    world->counts.late += count_late(subject);
    for (size_t log = 0; log < truth_log_count(world); log++) {
        for (uint64_t i = 0; i < atlas_applied(subject->atlas, log); i++) {
            if (world->truth->logs[log].entries[i].op != NULL && atlas_late(subject->atlas, log, i))
                world->counts.states[state_of(subject, log, i)]++;
            world->counts.left_behind += atlas_left_behind(subject->atlas, log, i);
        }
    }
}

static void check_late(const struct subject *subject)
{
    struct world *world = subject->world;
    struct index_late *items = sim_must(mem_alloc_zero(INDEX_LATE_SCAN_MAX, sizeof(*items)));
    struct index_late_cursor cursor = {.started = false};
    uint64_t total = 0;
    size_t count = 0;
    do {
        struct err err = {0};
        int code = index_late_scan(subject->index, &cursor, items, INDEX_LATE_SCAN_MAX, &count, &err);
        INVARIANT(code == 0);
        for (size_t i = 0; i < count && !world->failed; i++)
            check_item(subject, &items[i]);
        total += count;
    } while (count > 0);
    mem_free(items);
    uint64_t expected = count_late(subject) + count_duplicates(subject);
    if (total != expected)
        world_fail(world, subject->node, "%s has %llu late events and duplicates, and %llu are", subject->what,
                   (unsigned long long)total, (unsigned long long)expected);
}

/* --- Streams and ids --- */

/* The effective entries of one stream, by version. */
struct versions {
    size_t count;
    struct version {
        uint64_t version;
        size_t log;
        uint64_t index;
    } all[PLACES_MAX];
};

static int compare_versions(const void *a, const void *b)
{
    const struct version *left = a;
    const struct version *right = b;
    if (left->version != right->version)
        return left->version < right->version ? -1 : 1;
    if (left->log != right->log)
        return left->log < right->log ? -1 : 1;
    return left->index < right->index ? -1 : left->index > right->index;
}

static void collect_versions(const struct subject *subject, size_t partition, size_t stream, struct versions *ret)
{
    ret->count = 0;
    for (size_t log = 0; log < truth_log_count(subject->world); log++) {
        const struct truth_log *of = &subject->world->truth->logs[log];
        for (uint64_t i = 0; i < atlas_applied(subject->atlas, log) && ret->count < PLACES_MAX; i++) {
            const struct truth_entry *entry = &of->entries[i];
            if (entry->op != NULL && entry->partition == partition && entry->stream == stream && !entry->commutative &&
                !atlas_late(subject->atlas, log, i))
                ret->all[ret->count++] = (struct version){.version = entry->stream_version, .log = log, .index = i};
        }
    }
    qsort(ret->all, ret->count, sizeof(ret->all[0]), compare_versions);
}

static void check_stream(const struct subject *subject, size_t partition, size_t stream, struct versions *versions,
                         struct index_place *places)
{
    struct world *world = subject->world;
    size_t count = 0;
    char name[32];
    collect_versions(subject, partition, stream, versions);
    snprintf(name, sizeof(name), "%s-s%zu", world->partition_names[partition], stream);
    int code = index_scan(subject->index, bytes_of_string(world->contexts[0].name), bytes_of_string(name), 0, false,
                          places, PLACES_MAX, &count, NULL);
    INVARIANT(code == 0);
    for (size_t i = 0; i < versions->count && !world->failed; i++) {
        const struct version *version = &versions->all[i];
        if (version->version != i)
            world_fail(world, subject->node, "stream %s has version %llu in entry %llu of %s, where %zu belongs", name,
                       (unsigned long long)version->version, (unsigned long long)version->index,
                       truth_origin(world, version->log), i);
        else if (i >= count || !is_place(subject, places[i], version->log, version->index))
            world_fail(world, subject->node,
                       "%s does not have version %zu of stream %s (%zu versions) at entry %llu of %s, but at %llu",
                       subject->what, i, name, count, (unsigned long long)version->index,
                       truth_origin(world, version->log), (unsigned long long)(i < count ? places[i].index : 0));
    }
    if (count > versions->count)
        world_fail(world, subject->node, "%s has %zu versions of stream %s, and there are %zu", subject->what, count,
                   name, versions->count);
}

/* The entries of a stream that have no version, in (time, origin) order. */
static void check_loose(const struct subject *subject, size_t partition, size_t stream, struct index_place *places)
{
    struct world *world = subject->world;
    struct index_loose_cursor cursor = {.started = false};
    char name[32];
    size_t count = 0;
    size_t expected = 0;
    snprintf(name, sizeof(name), "%s-s%zu", world->partition_names[partition], stream);
    int code = index_loose(subject->index, bytes_of_string(world->contexts[0].name), bytes_of_string(name), &cursor,
                           places, PLACES_MAX, &count, NULL);
    INVARIANT(code == 0);
    for (size_t log = 0; log < truth_log_count(world); log++) {
        const struct truth_log *of = &world->truth->logs[log];
        for (uint64_t i = 0; i < atlas_applied(subject->atlas, log); i++)
            expected += of->entries[i].op != NULL && (of->entries[i].commutative || of->entries[i].override) &&
                        of->entries[i].partition == partition && of->entries[i].stream == stream;
    }
    if (count != expected && count < PLACES_MAX)
        world_fail(world, subject->node, "%s has %zu events without a version beside stream %s, and there are %zu",
                   subject->what, count, name, expected);
    hlc last = 0;
    for (size_t i = 0; i < count && !world->failed; i++) {
        char origin[INDEX_ORIGIN_MAX_BYTES + 1] = "";
        code = index_origin(subject->index, places[i].log, origin, NULL);
        INVARIANT(code == 0);
        const struct truth_entry *entry = &world->truth->logs[truth_number(world, origin)].entries[places[i].index];
        if ((!entry->commutative && !entry->override) || entry->time < last)
            world_fail(world, subject->node, "%s has entry %llu of %s beside stream %s, where it does not belong",
                       subject->what, (unsigned long long)places[i].index, origin, name);
        last = entry->time;
    }
}

static void check_streams(const struct subject *subject)
{
    struct versions *versions = sim_must(mem_alloc(sizeof(*versions)));
    struct index_place *places = sim_must(mem_alloc_zero(PLACES_MAX, sizeof(*places)));
    for (size_t p = 0; p < subject->world->partition_count; p++) {
        for (size_t s = 0; s < SIM_STREAMS && !subject->world->failed; s++)
            check_stream(subject, p, s, versions, places);
        for (size_t s = 0; s < SIM_STREAMS && !subject->world->failed; s++)
            check_loose(subject, p, s, places);
    }
    mem_free(places);
    mem_free(versions);
}

static void check_ids(const struct subject *subject)
{
    struct world *world = subject->world;
    for (size_t log = 0; log < truth_log_count(world); log++) {
        const struct truth_log *of = &world->truth->logs[log];
        for (uint64_t i = 0; i < atlas_applied(subject->atlas, log) && !world->failed; i++) {
            struct index_event event;
            struct truth_place effective;
            if (of->entries[i].op == NULL)
                continue;
            bool found = find_effective(subject, of->entries[i].id, &effective);
            int code = index_event(subject->index, of->entries[i].id, &event, NULL);
            if (code != 0 || event.late == found ||
                (found && !is_place(subject, event.place, effective.log, effective.index)))
                world_fail(world, subject->node, "%s does not know the id of entry %llu of %s as it should",
                           subject->what, (unsigned long long)i, of->origin);
        }
    }
}

static void check_index(const struct subject *subject)
{
    check_late(subject);
    if (!subject->world->failed)
        check_streams(subject);
    if (!subject->world->failed)
        check_ids(subject);
}

/* --- Homes --- */

static void check_homes(const struct subject *subject)
{
    struct world *world = subject->world;
    for (size_t p = world_next_partition(world, SIM_NUMBERS); p < SIM_NUMBERS; p = world_next_partition(world, p)) {
        struct atlas_home home = atlas_home(subject->atlas, p);
        struct authority_now now;
        int code = authority_now(region_authority(subject->node->region), world_context_of(world, p),
                                 world_partition_name(world, p), &now, NULL);
        INVARIANT(code == 0);
        if (strcmp(now.region, world->region_names[home.node]) != 0 || now.epoch != home.epoch ||
            now.released != home.released)
            world_fail(world, subject->node,
                       "partition %zu is with %s under epoch %llu, and should be with %s under %llu", p, now.region,
                       (unsigned long long)now.epoch, world->region_names[home.node], (unsigned long long)home.epoch);
    }
}

/* --- An index made afresh --- */

/* The logs in another order, so that the applier takes them in other turns. */
static void shuffle(struct world *world, struct log **logs, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t other = world_draw(world, i);
        struct log *log = logs[i - 1];
        logs[i - 1] = logs[other];
        logs[other] = log;
    }
}

static void check_afresh(struct world *world, struct node *node, const struct atlas *atlas)
{
    struct index *index = sim_must(index_memory_new(&node->config.contexts));
    struct applier *applier = NULL;
    struct applier_progress progress = {.moved = true};
    struct log *logs[REGION_LOGS_MAX];
    struct err err = {0};
    size_t count = atomic_load(&node->store.log_count);
    memcpy(logs, node->store.logs, sizeof(logs));
    shuffle(world, logs, count);
    int code = applier_new(index, &node->config.contexts, &applier, &err);
    while (code == 0 && progress.moved)
        code = applier_step(applier, logs, count, &progress, &err);
    if (code != 0) {
        world_fail(world, node, "an index cannot be made afresh: %s", err.message);
    } else {
        struct subject subject = {world, node, index, atlas, "an index made afresh"};
        struct hash live = digest_of(world, node->index);
        struct hash afresh = digest_of(world, index);
        check_index(&subject);
        if (!world->failed && !hash_equal(&live, &afresh))
            world_fail(world, node, "an index made afresh has another digest of late events");
    }
    applier_free(applier);
    index_close(index);
}

static bool stands_in_truth(const void *context, const char *origin, uint64_t index)
{
    const struct atlas *atlas = context;
    struct world *world = atlas_world(atlas);
    size_t log = truth_number(world, origin);
    struct truth_place effective;
    return world->truth->logs[log].entries[index].op != NULL &&
           atlas_stands(atlas, world->truth->logs[log].entries[index].id, &effective) && effective.log == log &&
           effective.index == index;
}

void fates_check_end(struct world *world)
{
    struct atlas *atlas = draw_atlas(world);
    size_t chosen = world_draw(world, world->node_count);
    atlas_check_handovers(atlas);
    for (size_t i = 0; i < world->node_count && !world->failed; i++) {
        struct node *node = &world->nodes[i];
        struct subject subject = {world, node, node->index, atlas, "the index"};
        if (!world->core[i])
            continue;
        check_homes(&subject);
        if (!world->failed)
            check_index(&subject);
        if (!world->failed && (i == chosen || !world->core[chosen]))
            check_afresh(world, node, atlas);
        if (node == first_of_core(world))
            count_states(&subject);
    }
    for (size_t i = 0; i < world->node_count && !world->failed; i++) {
        if (world->core[i])
            projector_check_truth(&world->nodes[i], stands_in_truth, atlas);
    }
    if (!world->failed)
        overriders_check_end(world, atlas);
    if (!world->failed)
        queuers_check_end(world);
    if (!world->failed)
        clients_check_fates(world, atlas);
    atlas_free(atlas);
}
