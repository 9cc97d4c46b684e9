/* Commands for a home that cannot be reached. Clients ask some region to keep a command; homes decide what was kept, in
 * order and out of it, as the server's settler does (server/queue.c), and regions that are no homes try, too.
 *
 * Checked: what is answered as kept stands in the region's log. In the end every command is decided, by one verdict
 * that counts, the same for every index; an accepted one's events count, in every region. What these events are, and
 * that each has one effect, is compared with those of all clients (fates.c, clients.c). */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "entry/frame.h"
#include "region/queued_command.h"
#include "sim/truth.h"

enum { QUEUE_EVERY_MS = 1500, DECIDE_EVERY_MS = 200, COMMAND_ARENA_MAX_BYTES = 1024 * 1024 };

static bool is_at_work(const struct node *node)
{
    return node->up && node->accepting && node->paused_until_us <= node->world->now_us &&
           node->mail_count < SIM_MAIL_MAX - 1;
}

static void submit(struct node *node, struct request *request)
{
    struct mail *mail = mail_new(REGION_COMMAND);
    struct err err = {0};
    int code = region_command_prepare(&request->command, node->sha, node->index, &err);
    INVARIANT(code == 0);
    mail->event.command = &request->command;
    queue_push_back(&node->requests, &request->link);
    node_post(node, mail);
}

static struct request *new_request(void)
{
    struct request *request = sim_must(mem_alloc_zero(1, sizeof(*request)));
    arena_init(&request->arena, COMMAND_ARENA_MAX_BYTES);
    return request;
}

static void draw_salts(struct world *world, const struct region_command *command)
{
    for (size_t w = 0; w < command->write_count; w++) {
        for (size_t i = 0; i < command->writes[w].event_count; i++)
            prng_fill(&world->prng, command->writes[w].events[i].salt, ENTRY_SALT_SIZE);
    }
}

/* --- Keeping --- */

static void run_queue(struct world *world, struct task *task)
{
    struct node *node = &world->nodes[world_draw(world, world->node_count)];
    (void)task;
    if (world->healing)
        return;
    if (is_at_work(node)) {
        struct request *request = new_request();
        request->writes[0] = clients_queue(world);
        for (size_t i = 0; i < request->writes[0].event_count; i++)
            request->events[i] = request->writes[0].events[i];
        request->writes[0].events = request->events;
        request->command = (struct region_command){.elsewhere = REGION_ELSEWHERE_QUEUE,
                                                   .write_count = 1,
                                                   .writes = request->writes,
                                                   .results = request->results};
        draw_salts(world, &request->command);
        submit(node, request);
    }
    world_after(world, world_draw(world, 2 * QUEUE_EVERY_MS * SIM_MS) + 1, NULL, run_queue);
}

/* --- Deciding --- */

/* Mostly what this region is the home of, and mostly the first of its partition. */
static bool is_tried(struct node *node, const struct index_queued *queued)
{
    struct authority_now now;
    int code = authority_now(region_authority(node->region), bytes_of_string(queued->context),
                             bytes_of_string(queued->partition), &now, NULL);
    INVARIANT(code == 0);
    bool ours = strcmp(now.region, node->config.region) == 0 && !now.released;
    return ours ? !world_chance(node->world, 100000) : world_chance(node->world, 20000);
}

static void decide(struct node *node, const struct index_queued *queued)
{
    struct request *request = new_request();
    uint32_t log = 0;
    if (!node_find_log(node, queued->origin, &log) ||
        queued_command_read(node->store.logs[log], queued, &request->arena, &request->command, NULL) != 0) {
        request_free(request);
        return;
    }
    request->verdict.index = queued->place.index;
    copy_string(request->verdict.origin, sizeof(request->verdict.origin), queued->origin);
    request->command.verdict = &request->verdict;
    draw_salts(node->world, &request->command);
    submit(node, request);
}

static size_t scan(struct node *node, struct index_late_cursor *cursor, bool open_only, struct index_queued *ret)
{
    size_t count = 0;
    int code = index_queue_scan(node->index, cursor, open_only, ret, INDEX_QUEUE_SCAN_MAX, &count, NULL);
    INVARIANT(code == 0);
    return count;
}

static void run_decide(struct world *world, struct task *task)
{
    struct node *node = &world->nodes[task->numbers[0]];
    if (is_at_work(node)) {
        struct index_late_cursor cursor = {.started = false};
        struct index_queued *queued = sim_must(mem_alloc(INDEX_QUEUE_SCAN_MAX * sizeof(*queued)));
        size_t count = scan(node, &cursor, true, queued);
        size_t most = world_between(world, 1, 4);
        for (size_t i = 0; i < count && most > 0; i++) {
            if (!is_tried(node, &queued[i]))
                continue;
            decide(node, &queued[i]);
            most--;
        }
        mem_free(queued);
    }
    world_after(world, world_between(world, DECIDE_EVERY_MS * SIM_MS / 2, DECIDE_EVERY_MS * SIM_MS), NULL, run_decide)
        ->numbers[0] = node->number;
}

void queuers_start(struct world *world)
{
    world_after(world, world_draw(world, 2 * QUEUE_EVERY_MS * SIM_MS) + 1, NULL, run_queue);
    for (size_t i = 0; i < world->node_count; i++)
        world_after(world, world_draw(world, SIM_S), NULL, run_decide)->numbers[0] = i;
}

/* --- Answers --- */

void queuers_answered(struct node *node, struct request *request)
{
    const struct region_command *command = &request->command;
    bool refused = command->refusal.code != 0;
    const char *said = refused ? command->refusal.err.message : command->queued ? "kept" : "done";
    world_trace(node->world, node, "%s: %s", command->verdict == NULL ? "a command for its home" : "a queued command",
                said);
    if (refused)
        return;
    if (command->queued && log_durable_size(node->store.logs[0]) < command->queued_size)
        world_fail(node->world, node, "a command is answered as kept at %llu, which is not durable",
                   (unsigned long long)command->queued_size);
    bool decided = command->verdict != NULL && (command->verdict->already || command->verdict->err.code != 0);
    if (!command->queued && !decided)
        oracle_answer(node, request);
}

/* --- The end --- */

bool queuers_done(struct world *world, char *why, size_t why_size)
{
    for (size_t i = 0; i < world->node_count; i++) {
        for (uint32_t log = 0; world->core[i] && log < INDEX_LOGS_MAX; log++) {
            if (index_queue_open(world->nodes[i].index, log).count == 0)
                continue;
            snprintf(why, why_size, "region %s knows of queued commands that nobody has decided",
                     world->region_names[i]);
            return false;
        }
    }
    return true;
}

/* How many verdicts on one command count. */
static uint64_t count_in_block(const struct node *node, const struct block *block, const struct origin *origin,
                               const struct index_queued *queued)
{
    struct bytes elements = block_body(block);
    uint64_t count = 0;
    for (uint32_t i = 0; i < block->entry_count; i++) {
        struct frame frame;
        struct entry entry;
        struct control_decided decided;
        int code = frame_next_entry(&elements, &frame, &entry, NULL);
        INVARIANT(code == 0);
        enum control_kind kind = control_kind_of(&entry);
        if (!control_decides_command(kind) || control_decided_parse(kind, frame.payload, &decided, NULL) != 0 ||
            memcmp(decided.event_id, queued->event_id, ENTRY_ID_SIZE) != 0)
            continue;
        count += !authority_entry_is_late(region_authority(node->region), &entry, origin->region, origin->incarnation);
    }
    return count;
}

static uint64_t count_verdicts(struct node *node, const struct index_queued *queued)
{
    uint64_t count = 0;
    for (size_t i = 0; i < atomic_load(&node->store.log_count); i++) {
        struct log *log = node->store.logs[i];
        struct origin origin;
        int code = origin_parse(log_origin(log), &origin, NULL);
        for (uint64_t at = 0; code == 0 && at < log_durable_size(log);) {
            struct block *block = NULL;
            code = log_read_block(log, at, &block, NULL);
            INVARIANT(code == 0);
            count += count_in_block(node, block, &origin, queued);
            at = block->first_index + block->entry_count;
            block_release(block);
        }
    }
    return count;
}

static void check_events(struct node *node, const struct index_queued *queued)
{
    struct request *request = new_request();
    uint32_t log = 0;
    bool found = node_find_log(node, queued->origin, &log);
    int code = found ? queued_command_read(node->store.logs[log], queued, &request->arena, &request->command, NULL)
                     : ERR_NOT_FOUND;
    INVARIANT(code == 0);
    for (size_t w = 0; w < request->command.write_count; w++) {
        for (size_t i = 0; i < request->command.writes[w].event_count; i++) {
            struct index_event event;
            if (index_event(node->index, request->command.writes[w].events[i].id, &event, NULL) != 0 || event.late)
                world_fail(node->world, node,
                           "entry %llu of %s, a queued command, is accepted, and its event has no "
                           "effect",
                           (unsigned long long)queued->place.index, queued->origin);
        }
    }
    request_free(request);
}

static void check_command(struct node *first, struct node *node, const struct index_queued *expected,
                          const struct index_queued *found)
{
    char there[INDEX_ORIGIN_MAX_BYTES + 1] = "";
    char here[INDEX_ORIGIN_MAX_BYTES + 1] = "";
    int code = index_origin(first->index, expected->decision.log, there, NULL);
    if (code == 0)
        code = index_origin(node->index, found->decision.log, here, NULL);
    INVARIANT(code == 0);
    if (strcmp(expected->origin, found->origin) != 0 || expected->place.index != found->place.index ||
        expected->state != found->state || found->state == INDEX_QUEUED_OPEN || strcmp(there, here) != 0 ||
        expected->decision.index != found->decision.index)
        world_fail(node->world, node,
                   "entry %llu of %s, a queued command, is %s by entry %llu of %s here, and %s by "
                   "entry %llu of %s elsewhere",
                   (unsigned long long)found->place.index, found->origin, index_queued_state_name(found->state),
                   (unsigned long long)found->decision.index, here, index_queued_state_name(expected->state),
                   (unsigned long long)expected->decision.index, there);
    if (!node->world->failed && found->state == INDEX_QUEUED_ACCEPTED)
        check_events(node, found);
    uint64_t verdicts = node == first ? count_verdicts(node, found) : 1;
    if (verdicts != 1)
        world_fail(node->world, node, "entry %llu of %s, a queued command, is decided by %llu verdicts that count",
                   (unsigned long long)found->place.index, found->origin, (unsigned long long)verdicts);
}

static void check_node(struct node *first, struct node *node)
{
    struct index_queued *expected = sim_must(mem_alloc(INDEX_QUEUE_SCAN_MAX * sizeof(*expected)));
    struct index_queued *found = sim_must(mem_alloc(INDEX_QUEUE_SCAN_MAX * sizeof(*found)));
    struct index_late_cursor there = {.started = false};
    struct index_late_cursor here = {.started = false};
    size_t count = INDEX_QUEUE_SCAN_MAX;
    while (count == INDEX_QUEUE_SCAN_MAX && !node->world->failed) {
        count = scan(first, &there, false, expected);
        if (scan(node, &here, false, found) != count)
            world_fail(node->world, node, "it knows of another number of queued commands than region %s",
                       first->config.region);
        for (size_t i = 0; i < count && !node->world->failed; i++)
            check_command(first, node, &expected[i], &found[i]);
    }
    mem_free(found);
    mem_free(expected);
}

void queuers_check_end(struct world *world)
{
    struct node *first = NULL;
    for (size_t i = 0; i < world->node_count && !world->failed; i++) {
        if (!world->core[i])
            continue;
        first = first == NULL ? &world->nodes[i] : first;
        check_node(first, &world->nodes[i]);
    }
}
