/* Who decides about events that came too late. Rules: at each home what the context says about the event's type, as the
 * server's settler asks for it (reconcile/policy.h). People: any decision about any item, at any region, also such as
 * are decided already or had their home elsewhere; compensating events are theirs.
 *
 * Checked here: what is answered as decided is in the log, and what is answered as accepted stands there again. What
 * became of every late event is compared in the end (fates.c). */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "region/settle_event.h"
#include "sim/truth.h"

enum { RULES_EVERY_MS = 250, EVENT_ARENA_MAX_BYTES = 1024 * 1024 };

struct page {
    struct index_late items[INDEX_LATE_SCAN_MAX];
    struct policy_decision decisions[POLICY_DECISIONS_MAX];
    size_t count;
};

/* --- Asking --- */

static void run_submit(struct world *world, struct task *task)
{
    struct mail *mail = mail_new(REGION_COMMAND);
    struct request *request = task->data;
    (void)world;
    mail->event.command = &request->command;
    node_post(task->node, mail);
}

static struct request *new_request(struct node *node, enum settlement settlement, const char *actor)
{
    struct request *request = sim_must(mem_alloc_zero(1, sizeof(*request)));
    arena_init(&request->arena, EVENT_ARENA_MAX_BYTES);
    request->settle = (struct region_settle){.settlement = settlement,
                                             .actor = bytes_of_string(actor),
                                             .reason = BYTES_LITERAL("the simulator said so"),
                                             .items = request->items};
    request->command =
        (struct region_command){.settle = &request->settle, .writes = request->writes, .results = request->results};
    queue_push_back(&node->requests, &request->link);
    return request;
}

/* False: its log cannot be read here now. */
static bool add_item(struct node *node, struct request *request, const char *origin, uint64_t index)
{
    struct region_settle *settle = &request->settle;
    struct region_stream_write *write = &request->writes[request->command.write_count];
    uint32_t log = 0;
    if (settle->settlement == SETTLED_ACCEPTED &&
        (!node_find_log(node, origin, &log) ||
         settle_read_event(node->store.logs[log], index, &request->arena, write, NULL) != 0))
        return false;
    copy_string(request->items[settle->item_count].origin, sizeof(request->items[0].origin), origin);
    request->items[settle->item_count++].index = index;
    request->command.write_count++;
    return true;
}

static void submit(struct node *node, struct request *request)
{
    struct world *world = node->world;
    struct err err = {0};
    if (request->settle.item_count == 0) {
        queue_remove(&request->link);
        request_free(request);
        return;
    }
    int code = region_command_prepare(&request->command, node->sha, node->index, &err);
    INVARIANT(code == 0);
    uint64_t most = world_chance(world, 50000) ? 600 * SIM_MS : 3 * SIM_MS;
    world_after(world, world_draw(world, most), node, run_submit)->data = request;
}

static bool is_at_work(const struct node *node)
{
    return node->up && node->accepting && node->paused_until_us <= node->world->now_us &&
           node->mail_count < SIM_MAIL_MAX - 1;
}

/* --- Rules --- */

static bool all_applied(struct node *node)
{
    for (size_t i = 0; i < atomic_load(&node->store.log_count); i++) {
        uint32_t number = 0;
        int code = index_log(node->index, log_origin(node->store.logs[i]), &number, NULL);
        INVARIANT(code == 0);
        if (index_applied_size(node->index, number) < log_durable_size(node->store.logs[i]))
            return false;
    }
    return true;
}

/* The first page on which something is to be decided. */
static void find_page(struct node *node, struct page *page)
{
    const struct context_table *contexts = &node->config.contexts;
    struct index_late_cursor cursor = {.started = false};
    struct authority_table authority;
    bool end = false;
    authority_table_init(&authority, contexts);
    int code = index_authority(node->index, &authority, NULL);
    while (code == 0 && !end && page->count == 0)
        code = policy_next(node->index, authority.contexts, &authority, node->config.region, &cursor, page->items,
                           page->decisions, &page->count, &end, NULL);
    INVARIANT(code == 0);
    authority_table_free(&authority);
}

/* Some decisions of one kind, or one alone, so that one that is refused does not hold back the others. */
static void decide_page(struct node *node, const struct page *page)
{
    struct world *world = node->world;
    size_t first = world_draw(world, page->count);
    size_t most = world_between(world, 1, SIM_OP_WRITES_MAX);
    struct request *request = new_request(node, page->decisions[first].settlement, "policy");
    for (size_t i = first; i < page->count && request->settle.item_count < most; i++) {
        const struct policy_decision *decision = &page->decisions[i];
        if (decision->settlement == request->settle.settlement &&
            !add_item(node, request, decision->origin, decision->place.index))
            break;
    }
    submit(node, request);
}

static void run_rules(struct world *world, struct task *task)
{
    struct node *node = &world->nodes[task->numbers[0]];
    uint64_t every_us = (uint64_t)RULES_EVERY_MS * SIM_MS / (world->healing ? 5 : 1);
    if (is_at_work(node) && index_late_count(node->index) > 0 && all_applied(node)) {
        struct page *page = sim_must(mem_alloc_zero(1, sizeof(*page)));
        find_page(node, page);
        if (page->count > 0)
            decide_page(node, page);
        mem_free(page);
    }
    world_after(world, world_between(world, every_us / 2, every_us), NULL, run_rules)->numbers[0] = node->number;
}

/* --- People --- */

static bool choose_item(struct node *node, struct index_late *ret)
{
    struct index_late *items = sim_must(mem_alloc_zero(INDEX_LATE_SCAN_MAX, sizeof(*items)));
    struct index_late_cursor cursor = {.started = false};
    size_t count = 0;
    int code = index_late_scan(node->index, &cursor, items, INDEX_LATE_SCAN_MAX, &count, NULL);
    INVARIANT(code == 0);
    if (count > 0)
        *ret = items[world_draw(node->world, count)];
    mem_free(items);
    return count > 0;
}

/* Mostly the home, as far as this region knows. */
static struct node *whom_to_ask(struct node *node, const struct index_late *item)
{
    struct world *world = node->world;
    struct authority_now now;
    if (world_chance(world, 100000) || authority_now(region_authority(node->region), bytes_of_string(item->context),
                                                     bytes_of_string(item->partition), &now, NULL) != 0)
        return &world->nodes[world_draw(world, world->node_count)];
    return &world->nodes[world_node_named(world, now.region)];
}

void settlers_decide(struct node *node, const struct index_late *item)
{
    struct world *world = node->world;
    enum settlement settlement = (enum settlement)world_between(world, SETTLED_ACCEPTED, SETTLED_COMPENSATE);
    struct request *request = new_request(node, settlement, "operator");
    if (add_item(node, request, item->origin, item->place.index) && settlement == SETTLED_COMPENSATE && item->late &&
        world_chance(world, 600000)) {
        request->writes[0] = clients_compensate(world, item);
        request->events[0] = request->writes[0].events[0];
        request->writes[0].events = request->events;
        prng_fill(&world->prng, request->events[0].salt, ENTRY_SALT_SIZE);
    }
    submit(node, request);
}

static void run_people(struct world *world, struct task *task)
{
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    struct index_late item;
    (void)task;
    if (world->healing)
        return;
    if (is_at_work(node) && choose_item(node, &item)) {
        struct node *home = whom_to_ask(node, &item);
        if (is_at_work(home))
            settlers_decide(home, &item);
    }
    world_after(world, world_draw(world, 2 * world->plan.settle_every_us) + 1, NULL, run_people);
}

void settlers_start(struct world *world)
{
    for (size_t i = 0; world->contexts[0].type_count > 0 && i < world->node_count; i++)
        world_after(world, world_draw(world, SIM_S), NULL, run_rules)->numbers[0] = i;
    if (world->plan.settle_every_us > 0)
        world_after(world, world_draw(world, 2 * world->plan.settle_every_us) + 1, NULL, run_people);
}

/* --- Answers --- */

static bool is_decided(const struct world *world, const struct region_settle_item *item, enum settlement settlement)
{
    const struct truth *truth = world->truth;
    size_t log = truth_number(world, item->origin);
    for (size_t i = 0; i < truth->decision_count; i++) {
        const struct truth_decision *decision = truth->decisions[i];
        if (decision->item_log == log && decision->item_index == item->index && decision->settlement == settlement)
            return true;
    }
    return false;
}

void settlers_answered(struct node *node, struct request *request)
{
    struct world *world = node->world;
    const struct region_settle *settle = &request->settle;
    const struct region_refusal *refusal = &request->command.refusal;
    world_trace(world, node, "%s of %zu late events: %s", settlement_name(settle->settlement), settle->item_count,
                refusal->code == 0 ? "done" : refusal->err.message);
    if (refusal->code == ERR_ID_REUSED && settle->item_count == 1 && world->unacceptable_count < SIM_UNACCEPTABLE_MAX)
        world->unacceptable[world->unacceptable_count++] =
            (struct sim_place){.log = truth_number(world, settle->items[0].origin), .index = settle->items[0].index};
    for (size_t i = 0; refusal->code == 0 && i < settle->item_count; i++) {
        const struct region_settle_item *item = &settle->items[i];
        if (!is_decided(world, item, settle->settlement))
            world_fail(world, node, "an answer says that entry %llu of %s is decided, and no log says so",
                       (unsigned long long)item->index, item->origin);
    }
}

/* What cannot be accepted again, because its id was given to something else, waits for a person. */
static bool waits_for_people(const struct world *world, const struct policy_decision *decision)
{
    size_t log = truth_number(world, decision->origin);
    for (size_t i = 0; i < world->unacceptable_count; i++) {
        if (world->unacceptable[i].log == log && world->unacceptable[i].index == decision->place.index)
            return true;
    }
    return false;
}

static size_t first_to_settle(const struct world *world, const struct page *page)
{
    size_t at = 0;
    while (at < page->count && waits_for_people(world, &page->decisions[at]))
        at++;
    return at;
}

bool settlers_done(struct world *world, char *why, size_t why_size)
{
    for (size_t i = 0; i < world->node_count; i++) {
        struct page page = {.count = 0};
        if (world->core[i])
            find_page(&world->nodes[i], &page);
        size_t first = first_to_settle(world, &page);
        if (first < page.count) {
            snprintf(why, why_size, "entry %llu of %.100s is late, and not settled as its context says",
                     (unsigned long long)page.decisions[first].place.index, page.decisions[first].origin);
            return false;
        }
    }
    return true;
}
