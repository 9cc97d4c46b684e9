/* What cannot wait for the home (region/override.h): clients ask any region to accept events of one type at once, such
 * as the freezing of a card; they lose answers, and repeat the same events there, elsewhere, and at the home. Once the
 * faults are over, somebody at each home decides about what no rule has settled.
 *
 * Checked as logs grow (truth.c, which calls overriders_take): an override is of a type that its context lets be
 * accepted anywhere, in a region that may hold it, behind an entry that says why, in one block with it, and once in a
 * log. What is not marked as an override is accepted by homes alone (atlas.c). Of what was answered: it is durable
 * (oracle.c), and readers of that region find it beside its stream, marked, as soon as the index has it.
 *
 * In the end every override has one fate, the same in every index (fates.c compares these with the truth): it was taken
 * by its home, and has one effect; or it repeats an effective event; or a decision in the logs says what it is. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/atlas.h"

enum { OVERRIDE_EVERY_MS = 800, LOOK_EVERY_MS = 200, DECIDE_EVERY_MS = 300, URGENT_MAX = 4096, LOOSE_MAX = 64 };

/* What a client cannot wait with. */
struct urgent {
    struct region_stream_write write;
    bool answered;
};

struct overriders {
    size_t count;
    struct urgent *all[URGENT_MAX];
};

static bool is_at_work(const struct node *node)
{
    return node->up && node->accepting && node->paused_until_us <= node->world->now_us &&
           node->mail_count < SIM_MAIL_MAX - 1;
}

/* --- Asking --- */

/* By name, as an override where the home is elsewhere; or as any client asks a home. */
static void ask(struct node *node, struct urgent *urgent, enum region_elsewhere elsewhere)
{
    struct world *world = node->world;
    struct request *request = sim_must(mem_alloc_zero(1, sizeof(*request)));
    struct mail *mail = mail_new(REGION_COMMAND);
    request->urgent = urgent;
    request->writes[0] = urgent->write;
    for (size_t i = 0; i < urgent->write.event_count; i++) {
        request->events[i] = urgent->write.events[i];
        prng_fill(&world->prng, request->events[i].salt, ENTRY_SALT_SIZE);
    }
    request->writes[0].events = request->events;
    request->command = (struct region_command){.elsewhere = elsewhere,
                                               .write_count = 1,
                                               .writes = request->writes,
                                               .results = request->results,
                                               .actor = BYTES_LITERAL("client"),
                                               .reason = BYTES_LITERAL("the card was stolen")};
    int code = region_command_prepare(&request->command, node->sha, node->index, NULL);
    INVARIANT(code == 0);
    queue_push_back(&node->requests, &request->link);
    mail->event.command = &request->command;
    node_post(node, mail);
}

static struct urgent *new_urgent(struct world *world)
{
    struct overriders *overriders = world->overriders;
    struct urgent *urgent = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*urgent)));
    urgent->write = clients_override(world);
    overriders->all[overriders->count++] = urgent;
    return urgent;
}

/* New ones, and such as were sent before. */
static void run_override(struct world *world, struct task *task)
{
    struct overriders *overriders = world->overriders;
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    bool again = overriders->count == URGENT_MAX || (overriders->count > 0 && world_chance(world, 400000));
    (void)task;
    if (world->healing)
        return;
    if (is_at_work(node)) {
        struct urgent *urgent = again ? overriders->all[world_draw(world, overriders->count)] : new_urgent(world);
        bool insists = !again || world_chance(world, 700000);
        ask(node, urgent, insists ? REGION_ELSEWHERE_OVERRIDE : REGION_ELSEWHERE_REFUSE);
        if (world_chance(world, 200000)) /* two regions, at one moment */
            node = &world->nodes[world_draw(world, world->node_count)];
        if (is_at_work(node) && world_chance(world, 300000))
            ask(node, urgent, REGION_ELSEWHERE_OVERRIDE);
    }
    world_after(world, world_draw(world, 2 * OVERRIDE_EVERY_MS * SIM_MS) + 1, NULL, run_override);
}

/* --- Answers --- */

static bool stands_beside(struct node *node, const struct urgent *urgent, struct index_place place)
{
    struct index_loose_cursor cursor = {.started = false};
    struct index_place places[LOOSE_MAX];
    size_t count = LOOSE_MAX;
    while (count == LOOSE_MAX) {
        int code = index_loose(node->index, urgent->write.context, urgent->write.stream, &cursor, places, LOOSE_MAX,
                               &count, NULL);
        INVARIANT(code == 0);
        for (size_t i = 0; i < count; i++) {
            if (places[i].log == place.log && places[i].index == place.index)
                return true;
        }
    }
    return false;
}

/* numbers: log and index of an override that was answered here. */
static void run_look(struct world *world, struct task *task)
{
    struct node *node = task->node;
    struct index_place place = {.log = (uint32_t)task->numbers[0], .index = task->numbers[1]};
    struct index_late item;
    if (index_applied_size(node->index, place.log) <= place.index) {
        struct task *again = world_after(world, (uint64_t)LOOK_EVERY_MS * SIM_MS, node, run_look);
        memcpy(again->numbers, task->numbers, sizeof(task->numbers));
        again->data = task->data;
        return;
    }
    if (index_late_at(node->index, place, &item, NULL) != 0 || !item.override || item.stream_version != 0)
        world_fail(world, node, "entry %llu was answered as an override, and is none in the index",
                   (unsigned long long)place.index);
    else if (!stands_beside(node, task->data, place))
        world_fail(world, node, "readers do not find override %llu beside its stream", (unsigned long long)place.index);
}

static void look_later(struct node *node, struct request *request, const struct region_result *result)
{
    struct task *task = world_after(node->world, SIM_MS, node, run_look);
    task->numbers[0] = result->place.log;
    task->numbers[1] = result->index;
    task->data = request->urgent;
}

void overriders_answered(struct node *node, struct request *request)
{
    const struct region_command *command = &request->command;
    world_trace(node->world, node, "an urgent command: %.120s",
                command->refusal.code != 0 ? command->refusal.err.message
                : command->overridden      ? "overridden"
                                           : "accepted");
    oracle_answer(node, request);
    if (command->refusal.code != 0)
        return;
    request->urgent->answered = true;
    for (size_t i = 0; command->overridden && i < request->urgent->write.event_count; i++) {
        if (!command->results[i].duplicate)
            look_later(node, request, &command->results[i]);
    }
}

/* --- What is in the logs --- */

void overriders_take(struct node *node, size_t log, const struct entry *entry)
{
    struct world *world = node->world;
    const char *origin = truth_origin(world, log);
    if (!world->plan.overrides || !bytes_equal(entry->type, bytes_of_string(event_types[SIM_URGENT_TYPE])))
        world_fail(world, node, "entry %llu of %s is an override, and its type may not be",
                   (unsigned long long)entry->index, origin);
    if (node->number == world->plan.outside)
        world_fail(world, node, "override %llu of %s is accepted where its payload may not be",
                   (unsigned long long)entry->index, origin);
    for (const struct truth_place *place = truth_places(world, entry->event_id); place != NULL; place = place->next) {
        if (place->log == log && world->truth->logs[log].entries[place->index].override)
            world_fail(world, node, "override %llu of %s stands there in entry %llu already",
                       (unsigned long long)entry->index, origin, (unsigned long long)place->index);
    }
    world->counts.overrides++;
}

/* --- Once the faults are over --- */

/* Whether it waits for a decision; ours: of this region. */
static bool is_open(const struct node *node, bool ours, const struct index_late *item)
{
    struct authority_now now;
    if (!item->override || item->state != INDEX_LATE_OPEN)
        return false;
    int code = authority_now(region_authority(node->region), bytes_of_string(item->context),
                             bytes_of_string(item->partition), &now, NULL);
    INVARIANT(code == 0);
    return !ours || strcmp(now.region, node->config.region) == 0;
}

/* The first of them; false when there is none. */
static bool find_open(struct node *node, bool ours, struct index_late *ret)
{
    struct index_late *items = sim_must(mem_alloc_zero(INDEX_LATE_SCAN_MAX, sizeof(*items)));
    struct index_late_cursor cursor = {.started = false};
    size_t count = INDEX_LATE_SCAN_MAX;
    bool found = false;
    while (!found && count > 0) {
        int code = index_late_scan(node->index, &cursor, items, INDEX_LATE_SCAN_MAX, &count, NULL);
        INVARIANT(code == 0);
        for (size_t i = 0; !found && i < count; i++) {
            found = is_open(node, ours, &items[i]);
            if (found)
                *ret = items[i];
        }
    }
    mem_free(items);
    return found;
}

static void run_decide(struct world *world, struct task *task)
{
    struct node *node = &world->nodes[task->numbers[0]];
    struct index_late item;
    if (world->healing && is_at_work(node) && find_open(node, true, &item))
        settlers_decide(node, &item);
    world_after(world, (uint64_t)DECIDE_EVERY_MS * SIM_MS, NULL, run_decide)->numbers[0] = node->number;
}

bool overriders_done(struct world *world, char *why, size_t why_size)
{
    for (size_t i = 0; world->plan.overrides && i < world->node_count; i++) {
        struct index_late item;
        if (!world->core[i] || !find_open(&world->nodes[i], false, &item))
            continue;
        snprintf(why, why_size, "override %llu of %.100s has no fate yet for region %s",
                 (unsigned long long)item.place.index, item.origin, world->region_names[i]);
        return false;
    }
    return true;
}

void overriders_start(struct world *world)
{
    if (!world->plan.overrides)
        return;
    world->overriders = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(struct overriders)));
    world_after(world, world_draw(world, 2 * OVERRIDE_EVERY_MS * SIM_MS) + 1, NULL, run_override);
    for (size_t i = 0; i < world->node_count; i++)
        world_after(world, world_draw(world, SIM_S), NULL, run_decide)->numbers[0] = i;
}

/* --- The end --- */

static void check_fate(struct node *node, const struct atlas *atlas, size_t log, uint64_t index)
{
    struct world *world = node->world;
    const struct truth_entry *entry = &world->truth->logs[log].entries[index];
    const char *origin = truth_origin(world, log);
    struct index_place place = {.index = index};
    struct index_late item;
    struct truth_place effective;
    int code = index_log(node->index, bytes_of_string(origin), &place.log, NULL);
    if (code == 0)
        code = index_late_at(node->index, place, &item, NULL);
    bool stands = atlas_stands(atlas, entry->id, &effective);
    if (code != 0 || !item.override)
        world_fail(world, node, "override %llu of %s is no override in the index", (unsigned long long)index, origin);
    else if (item.state == INDEX_LATE_OPEN ||
             ((item.state == INDEX_LATE_DUPLICATE || item.state == INDEX_LATE_ACCEPTED) && !stands))
        world_fail(world, node, "override %llu of %s is %s, and no effective event has its id",
                   (unsigned long long)index, origin, index_late_state_name(item.state));
    else if (item.state != INDEX_LATE_DUPLICATE && !item.decided)
        world_fail(world, node, "override %llu of %s is %s, and no decision says so", (unsigned long long)index, origin,
                   index_late_state_name(item.state));
}

void overriders_check_end(struct world *world, const struct atlas *atlas)
{
    const struct overriders *overriders = world->overriders;
    for (size_t i = 0; overriders != NULL && i < overriders->count; i++) {
        const struct urgent *urgent = overriders->all[i];
        for (size_t e = 0; urgent->answered && e < urgent->write.event_count; e++) {
            if (truth_places(world, urgent->write.events[e].id) == NULL)
                world_fail(world, NULL, "event %zu of an urgent command was acknowledged, and is in no log", e);
        }
    }
    for (size_t log = 0; overriders != NULL && log < truth_log_count(world); log++) {
        for (uint64_t i = 0; i < atlas_applied(atlas, log); i++) {
            for (size_t n = 0; n < world->node_count && !world->failed; n++) {
                if (world->core[n] && world->truth->logs[log].entries[i].override)
                    check_fate(&world->nodes[n], atlas, log, i);
            }
        }
    }
}
