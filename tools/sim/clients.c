/* The workload: clients that append, lose answers, retry with the same ids, race themselves, guess versions, reuse ids
 * by mistake, ask the wrong region and follow homes as they move; and what they may conclude from what they are told.
 *
 * Checked here: every accepted attempt of an operation is told the same places, as long as the partition stays where it
 * is; an operation whose attempts were all refused left nothing; an operation is in the logs as a whole or not at all;
 * every acknowledged event is effective once, or late. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/atlas.h"

enum { OPS_MAX = 1 << 20, HEAL_WORK_S = 5 };

struct said {
    struct op *op;
    uint64_t fingerprint;
    struct said *next;
};

struct op {
    size_t number;
    size_t client;
    size_t partition; /* of the first write */
    size_t target;
    size_t write_count;
    size_t event_count;
    struct region_stream_write writes[SIM_OP_WRITES_MAX];
    size_t partitions[SIM_OP_WRITES_MAX];
    size_t streams[SIM_OP_WRITES_MAX];
    struct region_new_event events[SIM_OP_EVENTS_MAX];
    struct truth_place
        first[SIM_OP_EVENTS_MAX]; /* what the first accepted attempt was told, as far as that is not lost */
    uint64_t first_versions[SIM_OP_EVENTS_MAX];
    uint64_t copied_us; /* when, at last, */
    bool copied;        /* an attempt was accepted on as many copies as the context asks for … */
    struct truth_place kept[SIM_OP_EVENTS_MAX]; /* … in these places */
    uint32_t attempts, refused, accepted;       /* an attempt that was accepted, and told otherwise, is neither */
    uint64_t next_send;
    bool reuses;   /* one of its ids is another operation's too */
    bool crosses;  /* it is about several partitions: perhaps no region can take it */
    bool finished; /* the client has an answer that it believes, or gave up */
    bool healthy;  /* made after the heal */
    bool settled;  /* somebody decided about one of its events alone */
    bool anywhere; /* of commutative events alone: any region takes it */
};

struct clients {
    struct op **ops;
    size_t op_count, op_capacity;
    struct map said;                                  /* event id -> struct said */
    uint64_t belief[SIM_PARTITIONS_MAX][SIM_STREAMS]; /* the version that clients believe a stream has, plus one */
    size_t home[SIM_PARTITIONS_MAX];                  /* where they believe a partition to be */
    size_t accepted_since_heal[SIM_PARTITIONS_MAX];
    uint64_t stop_at_us;
};

struct response {
    struct op *op;
    int code;
    size_t home; /* where a refusal sends it */
    struct region_result results[SIM_OP_EVENTS_MAX];
};

static void run_client(struct world *world, struct task *task);
static void send_op(struct world *world, struct op *op);

/* --- Making an operation --- */

static struct bytes random_bytes(struct world *world, size_t size)
{
    uint8_t *data = sim_must(arena_alloc(&world->arena, size));
    prng_fill(&world->prng, data, size);
    return bytes_of(data, size);
}

static struct bytes payload(struct world *world)
{
    uint64_t kind = world_draw(world, 1000);
    if (kind < 5)
        return random_bytes(world, world_draw(world, 100000));
    if (kind < 50)
        return random_bytes(world, world_draw(world, 8000));
    return random_bytes(world, world_draw(world, 120));
}

/* The id of an event that another operation has in the same partition. */
static void reuse_id(struct world *world, struct op *op, size_t partition, struct region_new_event *event)
{
    struct clients *clients = world->clients;
    struct op *other = clients->ops[world_draw(world, clients->op_count)];
    if (other->crosses || other->partition != partition || other->anywhere != op->anywhere)
        return; /* two regions may both keep an id that they take at one moment: a documented limit */
    memcpy(event->id, other->events[world_draw(world, other->event_count)].id, ENTRY_ID_SIZE);
    for (size_t i = 0; i < op->event_count; i++) {
        if (memcmp(op->events[i].id, event->id, ENTRY_ID_SIZE) == 0)
            event->id[0] ^= 1; /* an id stands only once in a request */
    }
    op->reuses = true;
    other->reuses = true;
}

/* Where type 0 is commutative it comes alone, for the most part. */
static struct bytes draw_type(struct world *world, const struct op *op)
{
    size_t type = (size_t)world_draw(world, SIM_TYPES);
    if (world->plan.multi_home && type == 0 && !world_chance(world, 100000))
        type = 1;
    return bytes_of_string(event_types[op->anywhere ? 0 : type]);
}

static void make_event(struct world *world, struct op *op, size_t partition, struct region_new_event *event)
{
    memset(event, 0, sizeof(*event));
    prng_fill(&world->prng, event->id, ENTRY_ID_SIZE);
    event->type = draw_type(world, op);
    event->content_type = bytes_of_string(world_chance(world, 500000) ? "" : "application/octet-stream");
    event->payload = payload(world);
    if (world_chance(world, 200000))
        event->metadata = random_bytes(world, world_draw(world, 60));
    if (world_chance(world, 30000) && world->clients->op_count > 1)
        reuse_id(world, op, partition, event);
}

static void expect(struct world *world, struct region_stream_write *write, size_t partition, size_t stream)
{
    uint64_t kind = world_draw(world, 100);
    uint64_t belief = world->clients->belief[partition][stream];
    write->expectation = STREAM_ANY;
    if (kind < 10) {
        write->expectation = STREAM_NONE;
    } else if (kind < 25) {
        write->expectation = STREAM_EXISTS;
    } else if (kind < 50 && belief > 0) {
        write->expectation = STREAM_AT;
        write->expected_version = belief - 1 + (world_chance(world, 100000) ? 1 : 0);
    }
}

static void make_write(struct world *world, struct op *op, size_t partition, size_t stream, size_t event_count)
{
    struct region_stream_write *write = &op->writes[op->write_count];
    char name[32];
    int size = snprintf(name, sizeof(name), "%s-s%zu", world->partition_names[partition], stream);
    char *copy = sim_must(arena_copy(&world->arena, name, (size_t)size));
    op->partitions[op->write_count] = partition;
    op->streams[op->write_count++] = stream;
    *write = (struct region_stream_write){.context = bytes_of_string(world->contexts[0].name),
                                          .partition = bytes_of_string(world->partition_names[partition]),
                                          .stream = bytes_of(copy, (size_t)size),
                                          .event_count = event_count,
                                          .events = &op->events[op->event_count]};
    if (!op->anywhere || world_chance(world, 20000))
        expect(world, write, partition, stream);
    for (size_t i = 0; i < event_count; i++) {
        make_event(world, op, partition, &op->events[op->event_count]);
        op->event_count++;
    }
}

size_t clients_stream_number(struct bytes stream)
{
    uint64_t number = 0;
    int code = parse_u64((const char *)stream.data + 4, stream.size_bytes - 4, &number); /* "p0-s" */
    INVARIANT(code == 0);
    return number;
}

static void note_said(struct world *world, struct op *op)
{
    struct map *map = &world->clients->said;
    for (size_t w = 0; w < op->write_count; w++) {
        const struct region_stream_write *write = &op->writes[w];
        for (size_t i = 0; i < write->event_count; i++) {
            const struct region_new_event *event = &write->events[i];
            struct entry entry = {.context = write->context,
                                  .partition = write->partition,
                                  .stream = write->stream,
                                  .type = event->type,
                                  .content_type = event->content_type,
                                  .causation_id = event->causation_id,
                                  .metadata = event->metadata};
            struct bytes key = bytes_of(event->id, ENTRY_ID_SIZE);
            struct said *said = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*said)));
            *said = (struct said){.op = op,
                                  .fingerprint = entry_fingerprint(world->sha, &entry, event->payload),
                                  .next = map_get(map, key)};
            int code = map_put(map, key, said);
            INVARIANT(code == 0);
        }
    }
}

/* The home that clients know, or, because it may have moved, any other; in the end one that can be reached. */
static void choose_target(struct world *world, struct op *op, uint32_t elsewhere_ppm)
{
    bool elsewhere = world_chance(world, elsewhere_ppm);
    op->target = elsewhere ? world_draw(world, world->node_count) : world->clients->home[op->partition];
    while (world->healing && !world->core[op->target])
        op->target = world_draw(world, world->node_count);
}

static void keep_op(struct clients *clients, struct op *op)
{
    if (clients->op_count == clients->op_capacity) {
        clients->op_capacity = clients->op_capacity == 0 ? 256 : 2 * clients->op_capacity;
        clients->ops = sim_must(mem_resize(clients->ops, clients->op_capacity * sizeof(struct op *)));
    }
    clients->ops[clients->op_count++] = op;
}

static struct op *make_op(struct world *world, size_t client)
{
    struct clients *clients = world->clients;
    struct op *op = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*op)));
    size_t writes = world_chance(world, 150000) ? world_between(world, 2, SIM_OP_WRITES_MAX) : 1;
    size_t stream = world_draw(world, SIM_STREAMS);
    op->number = clients->op_count;
    op->client = client;
    op->partition = world_draw(world, world->partition_count);
    op->healthy = world->healing;
    op->anywhere = world->plan.multi_home && world_chance(world, 400000);
    choose_target(world, op, op->anywhere ? 1000000 : 30000);
    for (size_t i = 0; i < writes; i++) {
        bool crosses = i > 0 && world_chance(world, 50000);
        size_t partition = crosses ? world_draw(world, world->partition_count) : op->partition;
        op->crosses = op->crosses || partition != op->partition;
        make_write(world, op, partition, (stream + i) % SIM_STREAMS,
                   world_between(world, 1, SIM_OP_EVENTS_MAX / SIM_OP_WRITES_MAX));
    }
    note_said(world, op);
    keep_op(clients, op);
    return op;
}

struct region_stream_write clients_compensate(struct world *world, const struct index_late *item)
{
    struct op *op = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*op)));
    size_t partition = 0;
    while (strcmp(world->partition_names[partition], item->partition) != 0)
        partition++;
    *op = (struct op){.number = world->clients->op_count, .partition = partition, .finished = true, .settled = true};
    make_write(world, op, partition, clients_stream_number(bytes_of_string(item->stream)), 1);
    op->writes[0].expectation = STREAM_ANY;
    op->events[0].causation_id =
        bytes_of(sim_must(arena_copy(&world->arena, item->event_id, ENTRY_ID_SIZE)), ENTRY_ID_SIZE);
    note_said(world, op);
    keep_op(world->clients, op);
    return op->writes[0];
}

struct region_stream_write clients_queue(struct world *world)
{
    struct op *op = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*op)));
    size_t partition = world_draw(world, world->partition_count);
    *op = (struct op){.number = world->clients->op_count, .partition = partition, .finished = true, .settled = true};
    make_write(world, op, partition, world_draw(world, SIM_STREAMS), world_between(world, 1, 3));
    note_said(world, op);
    keep_op(world->clients, op);
    return op->writes[0];
}

struct region_stream_write clients_override(struct world *world)
{
    struct op *op = sim_must(arena_alloc_zero(&world->arena, 1, sizeof(*op)));
    size_t partition = world_draw(world, world->partition_count);
    bool by_mistake = world_chance(world, 100000); /* of types, and with expectations, that may not be */
    *op = (struct op){.number = world->clients->op_count, .partition = partition, .finished = true, .settled = true};
    make_write(world, op, partition, world_draw(world, SIM_STREAMS), world_between(world, 1, 3));
    for (size_t i = 0; !by_mistake && i < op->event_count; i++)
        op->events[i].type = bytes_of_string(event_types[SIM_URGENT_TYPE]);
    if (!by_mistake)
        op->writes[0].expectation = STREAM_ANY;
    note_said(world, op);
    keep_op(world->clients, op);
    return op->writes[0];
}

void clients_settled(struct world *world, const uint8_t id[ENTRY_ID_SIZE])
{
    for (struct said *said = map_get(&world->clients->said, bytes_of(id, ENTRY_ID_SIZE)); said != NULL;
         said = said->next)
        said->op->settled = true;
}

const struct op *clients_find_said(const struct world *world, const struct entry *entry, uint64_t fingerprint)
{
    const struct said *said = map_get(&world->clients->said, bytes_of(entry->event_id, ENTRY_ID_SIZE));
    while (said != NULL && said->fingerprint != fingerprint)
        said = said->next;
    return said == NULL ? NULL : said->op;
}

/* --- A request at a region --- */

static void run_give_up(struct world *world, struct task *task)
{
    struct mail *mail = mail_new(REGION_GIVE_UP);
    (void)world;
    mail->event.number = task->numbers[0];
    node_post(task->node, mail);
}

static void run_submit(struct world *world, struct task *task)
{
    struct node *node = task->node;
    struct request *request = task->data;
    if (node->mail_count >= SIM_MAIL_MAX - 1) {
        request->command.refusal.code = ERR_BUSY;
        clients_answered(node, request);
        queue_remove(&request->link);
        request_free(request);
        return;
    }
    struct mail *mail = mail_new(REGION_COMMAND);
    mail->event.command = &request->command;
    node_post(node, mail);
    if (world->contexts[0].promises.durability.peers > 0)
        world_after(world, world->plan.give_up_us, node, run_give_up)->numbers[0] = request->command.number;
}

static struct request *new_request(struct world *world, struct op *op)
{
    struct request *request = sim_must(mem_alloc_zero(1, sizeof(*request)));
    struct region_new_event *event = request->events;
    request->op = op;
    memcpy(request->writes, op->writes, sizeof(op->writes));
    memcpy(request->events, op->events, sizeof(op->events));
    for (size_t w = 0; w < op->write_count; w++) {
        request->writes[w].events = event;
        event += request->writes[w].event_count;
    }
    for (size_t i = 0; i < op->event_count; i++)
        prng_fill(&world->prng, request->events[i].salt, ENTRY_SALT_SIZE);
    request->command = (struct region_command){.write_count = op->write_count,
                                               .writes = request->writes,
                                               .results = request->results,
                                               .number = ++world->next_command};
    return request;
}

/* What the appender does: checks, look-ups, and then the region's mail, a little later. */
static void run_arrive(struct world *world, struct task *task)
{
    struct op *op = task->data;
    struct node *node = &world->nodes[task->numbers[0]];
    struct err err = {0};
    if (!node->up)
        return;
    if (node->paused_until_us > world->now_us) {
        struct task *again = world_at(world, node->paused_until_us, NULL, run_arrive);
        again->data = op;
        again->numbers[0] = task->numbers[0];
        return;
    }
    op->attempts++;
    struct request *request = new_request(world, op);
    queue_push_back(&node->requests, &request->link);
    int code = region_command_check(&request->command, &request->command.refusal);
    if (code == 0)
        code = region_command_prepare(&request->command, node->sha, node->index, &err);
    INVARIANT(code == 0);
    uint64_t most = world_chance(world, 50000) ? 600 * SIM_MS : 3 * SIM_MS;
    world_after(world, world_draw(world, most), node, run_submit)->data = request;
}

/* --- Answers --- */

static struct truth_place place_of(const struct node *node, const struct region_result *result)
{
    char origin[INDEX_ORIGIN_MAX_BYTES + 1] = "";
    int code = index_origin(node->index, result->place.log, origin, NULL);
    INVARIANT(code == 0);
    return (struct truth_place){.log = truth_number(node->world, origin), .index = result->index};
}

static void keep_first(const struct node *node, struct op *op, const struct region_result *results, size_t i)
{
    op->first[i] = place_of(node, &results[i]);
    op->first_versions[i] = results[i].stream_version;
}

static void compare_with_first(const struct node *node, struct op *op, const struct region_result *results)
{
    struct world *world = node->world;
    if (atlas_has_moved(world, op->partition) || op->crosses)
        return; /* what was told first may have come too late: its fate is looked at in the end */
    for (size_t i = 0; i < op->event_count; i++) {
        struct truth_place place = place_of(node, &results[i]);
        const struct truth_place *first = &op->first[i];
        if (results[i].commutative)
            continue; /* two regions may have taken it at once */
        bool same = first->log == place.log && first->index == place.index &&
                    op->first_versions[i] == results[i].stream_version;
        bool gone = truth_is_lost(world, first->log, first->index) || truth_is_left(world, first->log, first->index);
        if (!same && gone)
            keep_first(node, op, results, i);
        else if (!same)
            world_fail(world, NULL,
                       "operation %zu was told two places for one event: entry %llu of %s, then %llu of %s", op->number,
                       (unsigned long long)first->index, truth_origin(world, first->log),
                       (unsigned long long)place.index, truth_origin(world, place.log));
    }
}

static void keep_copied(const struct node *node, struct op *op, const struct region_result *results)
{
    op->copied = true;
    op->copied_us = node->world->now_us;
    for (size_t i = 0; i < op->event_count; i++)
        op->kept[i] = place_of(node, &results[i]);
}

static void take_results(const struct node *node, struct op *op, const struct region_command *command)
{
    const struct region_result *results = command->results;
    uint32_t wanted = node->world->contexts[0].promises.durability.peers;
    node->world->counts.degraded += command->degraded ? op->event_count : 0;
    if (wanted > 0 && command->copies >= wanted) {
        keep_copied(node, op, results);
        node->world->counts.copied += op->event_count;
    }
    if (op->accepted++ > 0) {
        compare_with_first(node, op, results);
        return;
    }
    for (size_t i = 0; i < op->event_count; i++)
        keep_first(node, op, results, i);
}

static void believe(struct world *world, const struct response *response)
{
    const struct op *op = response->op;
    size_t at = 0;
    for (size_t w = 0; w < op->write_count; w++) {
        uint64_t *belief = &world->clients->belief[op->partitions[w]][op->streams[w]];
        at += op->writes[w].event_count;
        if (response->results[at - 1].commutative)
            continue;
        uint64_t next = response->results[at - 1].stream_version + 1;
        if (response->code != 0)
            *belief = 0; /* it was wrong */
        else if (next > *belief)
            *belief = next;
    }
}

static void finish(struct world *world, struct op *op)
{
    op->finished = true;
    world_after(world, world_draw(world, 2 * world->plan.think_us) + 1, NULL, run_client)->numbers[0] = op->client;
}

static void run_resend(struct world *world, struct task *task)
{
    struct op *op = task->data;
    if (task->numbers[0] != op->next_send)
        return; /* it was sent again for another reason meanwhile */
    choose_target(world, op, op->anywhere ? 500000 : 200000);
    send_op(world, op);
}

/* There is one next time at most. */
static void resend_after(struct world *world, struct op *op, uint64_t delay_us)
{
    struct task *task = world_after(world, delay_us, NULL, run_resend);
    task->data = op;
    task->numbers[0] = ++op->next_send;
}

static bool is_final(int code)
{
    return code != ERR_UNAVAILABLE && code != ERR_BUSY && code != ERR_WRONG_HOME && code != ERR_NO_MEMORY &&
           code != ERR_TIMEOUT;
}

static void run_response(struct world *world, struct task *task)
{
    struct response *response = task->data;
    struct op *op = response->op;
    bool final = is_final(response->code) || (response->code == ERR_WRONG_HOME && op->crosses);
    bool again = false; /* the client forgets that it was answered */
    if (op->finished) {
        mem_free(response);
        return;
    }
    if (response->code == 0 || response->code == ERR_VERSION_CONFLICT)
        believe(world, response);
    if (response->code == 0) {
        world->clients->accepted_since_heal[op->partition] += op->healthy && !op->anywhere;
        again = world_chance(world, 100000);
    }
    if (response->home < world->node_count && !op->crosses)
        world->clients->home[op->partition] = response->home;
    op->next_send++;
    if (final)
        finish(world, op);
    if (!final)
        resend_after(world, op, world_between(world, 10 * SIM_MS, SIM_S));
    else if (again)
        resend_after(world, op, world_draw(world, 5 * SIM_S));
    mem_free(response);
}

static void drop_response(struct world *world, struct task *task)
{
    (void)world;
    mem_free(task->data);
}

/* Accepted, and not told so, because copies were not made in time, or because the lease had ended. */
static bool is_accepted_late(const struct world *world, const struct region_command *command)
{
    int code = command->refusal.code;
    bool fenced = world->contexts[0].rules.isolation == ISOLATION_FENCE;
    return code == ERR_TIMEOUT || (code == ERR_WRONG_HOME && command->copies > 0) ||
           (fenced && (code == ERR_UNAVAILABLE || code == ERR_WRONG_HOME) && command->ticket > 0);
}

void clients_answered(struct node *node, struct request *request)
{
    struct world *world = node->world;
    struct op *op = request->op;
    int code = request->command.refusal.code;
    world_trace(world, node, "op %zu: %s %.120s", op->number, code == 0 ? "accepted" : tally_error_name(code),
                code == 0 ? "" : request->command.refusal.err.message);
    if (code == 0)
        take_results(node, op, &request->command);
    else if (!is_accepted_late(world, &request->command))
        op->refused++;
    if (world_fault(world, FAULT_LOSS, world->plan.message_fault_ppm))
        return;
    struct response *response = sim_must(mem_alloc_zero(1, sizeof(*response)));
    response->op = op;
    response->code = code;
    response->home =
        code == ERR_WRONG_HOME ? world_node_named(world, request->command.refusal.home_region) : SIM_NODES_MAX;
    memcpy(response->results, request->results, sizeof(response->results));
    struct task *task = world_after(world, world_draw(world, 2 * SIM_MS) + 1, NULL, run_response);
    task->data = response;
    task->drop = drop_response;
}

/* --- The clients' loop --- */

static void arrive_after(struct world *world, struct op *op, uint64_t delay_us)
{
    struct task *task = world_after(world, delay_us, NULL, run_arrive);
    task->data = op;
    task->numbers[0] = op->target;
}

static void send_op(struct world *world, struct op *op)
{
    if (!world_fault(world, FAULT_LOSS, world->plan.message_fault_ppm))
        arrive_after(world, op, world_draw(world, 2 * SIM_MS) + 1);
    if (world_fault(world, FAULT_DUPLICATE, 3 * world->plan.message_fault_ppm))
        arrive_after(world, op, world_draw(world, 300 * SIM_MS) + 1);
    if (op->anywhere && world_chance(world, 400000)) { /* at two regions at once */
        choose_target(world, op, 1000000);
        arrive_after(world, op, world_draw(world, 2 * SIM_MS) + 1);
    }
    if (!op->finished)
        resend_after(world, op, world_between(world, SIM_S, 4 * SIM_S));
}

static bool all_accepted_since_heal(const struct world *world)
{
    bool all = true;
    for (size_t i = 0; i < world->partition_count; i++)
        all = all && world->clients->accepted_since_heal[i] > 0;
    return all;
}

static void run_client(struct world *world, struct task *task)
{
    if (world->healing && world->now_us > world->clients->stop_at_us && all_accepted_since_heal(world))
        return;
    send_op(world, make_op(world, task->numbers[0]));
}

void clients_start(struct world *world)
{
    struct clients *clients = sim_must(mem_alloc_zero(1, sizeof(*clients)));
    map_init(&clients->said, OPS_MAX, NULL);
    for (size_t i = 0; i < world->partition_count; i++)
        clients->home[i] = world_first_home(world, i);
    world->clients = clients;
    for (size_t i = 0; i < world->plan.client_count; i++)
        world_after(world, world_draw(world, SIM_S), NULL, run_client)->numbers[0] = i;
}

void clients_free(struct world *world)
{
    map_free(&world->clients->said);
    mem_free(world->clients->ops);
    mem_free(world->clients);
}

void clients_heal(struct world *world)
{
    world->clients->stop_at_us = world->now_us + HEAL_WORK_S * SIM_S;
}

bool clients_satisfied(struct world *world, char *why, size_t why_size)
{
    struct clients *clients = world->clients;
    for (size_t i = 0; i < clients->op_count; i++) {
        if (!clients->ops[i]->finished) {
            snprintf(why, why_size, "operation %zu has no answer", i);
            return false;
        }
    }
    for (size_t i = 0; i < world->partition_count; i++) {
        if (clients->accepted_since_heal[i] == 0) {
            snprintf(why, why_size, "nothing was accepted for partition %s since the heal", world->partition_names[i]);
            return false;
        }
    }
    return world->now_us > clients->stop_at_us;
}

/* --- The end --- */

static size_t count_in_truth(const struct world *world, const struct op *op)
{
    size_t count = 0;
    for (size_t i = 0; i < op->event_count; i++)
        count += truth_places(world, op->events[i].id) != NULL;
    return count;
}

void clients_check_end(struct world *world)
{
    for (size_t i = 0; i < world->clients->op_count && !world->failed; i++) {
        const struct op *op = world->clients->ops[i];
        size_t there = count_in_truth(world, op);
        if (op->reuses)
            continue;
        if (there != 0 && there != op->event_count)
            world_fail(world, NULL, "operation %zu has %zu of its %zu events in the logs", i, there, op->event_count);
        if (there != 0 && op->attempts == op->refused && op->attempts > 0)
            world_fail(world, NULL, "operation %zu was refused each time, and its events are in the logs", i);
    }
}

void clients_check_copies(struct world *world)
{
    for (size_t i = 0; i < world->clients->op_count && !world->failed; i++) {
        const struct op *op = world->clients->ops[i];
        for (size_t e = 0; op->copied && e < op->event_count; e++) {
            const struct truth_place *place = &op->kept[e];
            uint64_t held = 0;
            for (size_t n = 0; n < world->node_count; n++) {
                uint64_t size = node_held_size(&world->nodes[n], place->log);
                held = size > held ? size : held;
            }
            if (held <= place->index)
                world_fail(world, NULL,
                           "event %zu of operation %zu was acknowledged on all copies that its context asks "
                           "for, as entry %llu of %s, and of that %llu entries are left",
                           e, i, (unsigned long long)place->index, truth_origin(world, place->log),
                           (unsigned long long)held);
        }
    }
}

void clients_check_seizure(struct world *world, const struct truth_change *change, uint64_t asked_us)
{
    for (size_t i = 0; i < world->clients->op_count && !world->failed; i++) {
        const struct op *op = world->clients->ops[i];
        for (size_t e = 0; op->copied && op->copied_us < asked_us && e < op->event_count; e++) {
            const struct truth_log *of = &world->truth->logs[op->kept[e].log];
            const struct truth_entry *entry = &of->entries[op->kept[e].index];
            if (of->owner == change->previous && entry->partition == change->partition &&
                entry->epoch < change->epoch &&
                op->kept[e].index >= position_get(&change->basis, of->parts.region, of->parts.incarnation))
                world_fail(world, &world->nodes[change->previous],
                           "entry %llu of %s was answered on all copies that its context asks for, and a seizure that "
                           "was asked for later, unforced, leaves it out",
                           (unsigned long long)op->kept[e].index, of->origin);
        }
    }
}

/* --- Fates --- */

struct fates {
    size_t effective, late, lost, beyond; /* beyond: past what is known at the position */
    size_t commutative;                   /* of the effective: of these several may have one id, and one stands */
};

static struct fates fates_of(const struct world *world, const struct atlas *atlas, const uint8_t id[ENTRY_ID_SIZE])
{
    struct fates fates = {0};
    for (const struct truth_place *place = truth_places(world, id); place != NULL; place = place->next) {
        if (truth_is_lost(world, place->log, place->index))
            fates.lost++;
        else if (place->index >= atlas_applied(atlas, place->log))
            fates.beyond++;
        else if (atlas_late(atlas, place->log, place->index))
            fates.late++;
        else
            fates.effective++;
        fates.commutative += world->truth->logs[place->log].entries[place->index].commutative;
    }
    return fates;
}

/* Returns how many of its events are effective. */
static size_t check_fates(struct world *world, const struct atlas *atlas, const struct op *op)
{
    size_t effective = 0;
    for (size_t i = 0; i < op->event_count; i++) {
        struct fates fates = fates_of(world, atlas, op->events[i].id);
        if (fates.effective > 1 && fates.effective - 1 > fates.commutative)
            world_fail(world, NULL, "event %zu of operation %zu is effective %zu times", i, op->number,
                       fates.effective);
        if (fates.effective + fates.late + fates.beyond + fates.lost == 0 && op->accepted > 0 && !op->reuses)
            world_fail(world, NULL, "event %zu of operation %zu was acknowledged, and is in no log", i, op->number);
        effective += fates.effective > 0;
    }
    return effective;
}

void clients_check_fates(struct world *world, const struct atlas *atlas)
{
    for (size_t i = 0; i < world->clients->op_count && !world->failed; i++) {
        const struct op *op = world->clients->ops[i];
        size_t effective = check_fates(world, atlas, op);
        if (effective != 0 && effective != op->event_count && !op->crosses && !op->reuses && !op->settled)
            world_fail(world, NULL, "operation %zu has %zu effective events of %zu", i, effective, op->event_count);
    }
}
