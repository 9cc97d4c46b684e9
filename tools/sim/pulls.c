/* Pulls: an ordered stream of blocks and checkpoints one way and of acknowledgements the other, with a window, that can
 * break at any moment. What is sent, and what is believed, is decided in replication/source.c; what is taken, in the
 * region.
 *
 * Every pull that was opened reports PULL_CLOSED once, unless its process is gone. A pull is freed when both sides have
 * closed it and no task speaks of it any more. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

enum { STORE_WINDOW_BLOCKS = 16, RETRY_US = 50 * 1000 };

struct message {
    struct queue_link link;
    uint64_t arrives_us;
    bool is_block;
    struct buf bytes;
};

struct pull {
    struct queue_link link; /* world->pulls */
    size_t task_count;
    struct node *puller;
    struct node *from;
    uint64_t puller_boot, from_boot;
    bool puller_open; /* has not reported PULL_CLOSED */
    bool cancelled;   /* by the puller */
    bool serving;
    uint32_t log;        /* the puller's number */
    uint32_t served_log; /* the source's */
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    uint64_t from_index;
    struct source source;
    bool pump_waits;
    struct queue_link messages;
    size_t in_flight;
    uint64_t last_arrival_us;
    uint64_t ends[STORE_WINDOW_BLOCKS]; /* of blocks that are not stored yet */
    size_t end_count;
    bool ack_waits;
    bool ack_travels;
    uint64_t stored_size, cosigned_size;
    struct buf cosignature;
    bool was_cut; /* at the last look of the keepalive */
};

/* --- Life cycle --- */

static void free_message(struct message *message)
{
    buf_free(&message->bytes);
    mem_free(message);
}

static void stop_serving(struct pull *pull)
{
    if (pull->serving)
        source_close(&pull->source);
    pull->serving = false;
}

static void free_pull(struct pull *pull)
{
    struct queue_link *link = NULL;
    stop_serving(pull);
    while ((link = queue_pop_front(&pull->messages)) != NULL)
        free_message(QUEUE_ITEM(link, struct message, link));
    queue_remove(&pull->link);
    buf_free(&pull->cosignature);
    mem_free(pull);
}

static void free_when_over(struct pull *pull)
{
    if (pull->task_count == 0 && !pull->puller_open && !pull->serving)
        free_pull(pull);
}

static void drop_task(struct world *world, struct task *task)
{
    struct pull *pull = task->data;
    (void)world;
    pull->task_count--;
}

static void pull_task(struct pull *pull, uint64_t delay_us, task_fn *run)
{
    struct task *task = world_after(pull->puller->world, delay_us, NULL, run);
    task->data = pull;
    task->drop = drop_task;
    pull->task_count++;
}

/* Each task of a pull begins with this. */
static struct pull *pull_of(struct task *task)
{
    struct pull *pull = task->data;
    pull->task_count--;
    return pull;
}

static bool puller_lives(const struct pull *pull)
{
    return pull->puller_open && pull->puller->up && pull->puller->boot == pull->puller_boot;
}

static bool is_paused(const struct node *node)
{
    return node->paused_until_us > node->world->now_us;
}

/* The puller learns that the pull is over. */
static void close_puller(struct pull *pull, int code, const char *why)
{
    if (puller_lives(pull)) {
        struct mail *mail = mail_new(REGION_PULL_CLOSED);
        mail->event.peer = node_peer_of(pull->puller, pull->from->number);
        mail->event.log = pull->log;
        err_set(&mail->err, code, "%s", why);
        node_post(pull->puller, mail);
        world_trace(pull->puller->world, pull->puller, "pull of %s from %s is closed: %s", pull->origin,
                    pull->from->config.region, why);
    }
    pull->puller_open = false;
}

static void run_closed(struct world *world, struct task *task)
{
    struct pull *pull = pull_of(task);
    (void)world;
    if (pull->puller_open)
        close_puller(pull, ERR_UNAVAILABLE, pull->cancelled ? "the pull was ended" : "the connection broke");
    free_when_over(pull);
}

/* The connection is gone; the source knows now, the puller after a while. */
static void break_pull(struct pull *pull)
{
    struct world *world = pull->puller->world;
    stop_serving(pull);
    pull_task(pull, world_between(world, SIM_MS, world->plan.keepalive_us), run_closed);
}

static void run_keepalive(struct world *world, struct task *task)
{
    struct pull *pull = pull_of(task);
    bool cut = net_cut(world, pull->puller->number, pull->from->number) ||
               net_cut(world, pull->from->number, pull->puller->number);
    if (!puller_lives(pull)) {
        pull->puller_open = false;
        stop_serving(pull);
    } else if (pull->serving && cut && pull->was_cut) {
        break_pull(pull);
    } else if (pull->serving) {
        pull_task(pull, world->plan.keepalive_us, run_keepalive);
    }
    pull->was_cut = cut;
    free_when_over(pull);
}

/* --- From source to puller --- */

static void run_delivery(struct world *world, struct task *task);

static void garble(struct world *world, struct message *message)
{
    if (message->bytes.size_bytes > 0 && world_fault(world, FAULT_GARBLE, world->plan.message_fault_ppm))
        message->bytes.data[world_draw(world, message->bytes.size_bytes)] ^= (uint8_t)(1u << world_draw(world, 8));
    if (message->is_block && world_fault(world, FAULT_FORGE, world->plan.message_fault_ppm) &&
        forge_block(world, &message->bytes))
        world_trace(world, NULL, "a block is forged");
}

static void reorder(struct world *world, struct pull *pull, struct message *message)
{
    if (queue_empty(&pull->messages) || pull->in_flight < 2 ||
        !world_fault(world, FAULT_REORDER, world->plan.message_fault_ppm))
        return;
    struct message *before = QUEUE_ITEM(pull->messages.prev, struct message, link);
    struct buf bytes = before->bytes;
    bool is_block = before->is_block;
    before->bytes = message->bytes;
    before->is_block = message->is_block;
    message->bytes = bytes;
    message->is_block = is_block;
}

static void send(struct pull *pull, bool is_block, struct bytes bytes)
{
    struct world *world = pull->puller->world;
    struct message *message = sim_must(mem_alloc_zero(1, sizeof(*message)));
    message->is_block = is_block;
    buf_init(&message->bytes, BLOCK_HEADER_BYTES + BLOCK_BODY_MAX_BYTES);
    INVARIANT(buf_append(&message->bytes, bytes) == 0);
    garble(world, message);
    reorder(world, pull, message);
    message->arrives_us = world->now_us + net_latency(world, pull->from->number, pull->puller->number);
    if (message->arrives_us <= pull->last_arrival_us)
        message->arrives_us = pull->last_arrival_us + 1;
    pull->last_arrival_us = message->arrives_us;
    bool first = queue_empty(&pull->messages);
    queue_push_back(&pull->messages, &message->link);
    pull->in_flight++;
    if (first)
        pull_task(pull, message->arrives_us - world->now_us, run_delivery);
}

static void send_twice_perhaps(struct pull *pull, bool is_block, struct bytes bytes)
{
    struct world *world = pull->puller->world;
    send(pull, is_block, bytes);
    if (world_fault(world, FAULT_DUPLICATE, world->plan.message_fault_ppm))
        send(pull, is_block, bytes);
}

/* One block, or the checkpoint behind what was sent. False when there is nothing to send, or no more. */
static bool send_next(struct pull *pull)
{
    struct world *world = pull->puller->world;
    struct block *block = NULL;
    struct err err = {0};
    int code = source_next_block(&pull->source, &block, &err);
    if (code == 0) {
        send_twice_perhaps(pull, true, block_bytes(block));
        block_release(block);
        return true;
    }
    if (code != ERR_END) {
        world_trace(world, pull->from, "cannot serve %s: %s", pull->origin, err.message);
        if (code != ERR_IO && !pull->from->rotten && !pull->puller->rotten)
            world_fail(world, pull->from, "a source cannot serve log %s: %s", pull->origin, err.message);
        stop_serving(pull);
        close_puller(pull, code, err.message);
        return false;
    }
    struct bytes note = source_next_checkpoint(&pull->source);
    if (note.size_bytes == 0)
        return false;
    oracle_note(pull->from, pull->origin, note);
    send_twice_perhaps(pull, false, note);
    return true;
}

static void run_pump(struct world *world, struct task *task)
{
    struct pull *pull = pull_of(task);
    pull->pump_waits = false;
    if (pull->serving && is_paused(pull->from)) {
        pull->pump_waits = true;
        pull_task(pull, pull->from->paused_until_us - world->now_us, run_pump);
        return;
    }
    while (pull->serving && pull->in_flight < world->plan.pull_window && send_next(pull)) {
        if (world_fault(world, FAULT_LOSS, world->plan.message_fault_ppm / 4))
            break_pull(pull);
    }
    free_when_over(pull);
}

static void pump_soon(struct pull *pull)
{
    struct world *world = pull->puller->world;
    if (!pull->serving || pull->pump_waits)
        return;
    pull->pump_waits = true;
    pull_task(pull, world_between(world, 1, 2 * SIM_MS), run_pump);
}

/* The puller reads the message at the front. */
static void receive(struct pull *pull)
{
    struct message *message = QUEUE_ITEM(queue_pop_front(&pull->messages), struct message, link);
    struct mail *mail = mail_new(message->is_block ? REGION_PULL_BLOCK : REGION_PULL_CHECKPOINT);
    struct err err = {0};
    int code = 0;
    pull->in_flight--;
    mail->event.peer = node_peer_of(pull->puller, pull->from->number);
    mail->event.log = pull->log;
    if (message->is_block)
        code = block_from_bytes(buf_bytes(&message->bytes), &mail->event.block, &err);
    else
        code = buf_append(&mail->note, buf_bytes(&message->bytes));
    free_message(message);
    if (code != 0) {
        mail_free(mail);
        stop_serving(pull);
        close_puller(pull, code, err.message);
        return;
    }
    if (mail->event.block != NULL && pull->end_count < STORE_WINDOW_BLOCKS)
        pull->ends[pull->end_count++] = mail->event.block->first_index + mail->event.block->entry_count;
    node_post(pull->puller, mail);
}

static void run_delivery(struct world *world, struct task *task)
{
    struct pull *pull = pull_of(task);
    if (!puller_lives(pull) || queue_empty(&pull->messages)) {
        free_when_over(pull);
        return;
    }
    const struct message *first = QUEUE_ITEM(pull->messages.next, struct message, link);
    bool waits = net_cut(world, pull->from->number, pull->puller->number) || is_paused(pull->puller) ||
                 (first->is_block && pull->end_count == STORE_WINDOW_BLOCKS);
    if (waits) {
        pull_task(pull, RETRY_US, run_delivery);
        return;
    }
    receive(pull);
    pump_soon(pull);
    if (pull->puller_open && !queue_empty(&pull->messages)) {
        const struct message *next = QUEUE_ITEM(pull->messages.next, struct message, link);
        uint64_t delay = next->arrives_us > world->now_us ? next->arrives_us - world->now_us : 1;
        pull_task(pull, delay, run_delivery);
    }
    free_when_over(pull);
}

/* --- From puller to source --- */

static struct pull *find_pull(const struct node *node, size_t peer, uint32_t log)
{
    struct world *world = node->world;
    size_t from = node_of_peer(node, peer);
    for (struct queue_link *link = world->pulls.next; link != &world->pulls; link = link->next) {
        struct pull *pull = QUEUE_ITEM(link, struct pull, link);
        if (pull->puller == node && pull->from->number == from && pull->log == log && puller_lives(pull) &&
            !pull->cancelled)
            return pull;
    }
    return NULL;
}

static void deliver_ack(struct pull *pull)
{
    struct world *world = pull->puller->world;
    struct err err = {0};
    int code = source_check_acknowledged(pull->source.log, pull->stored_size, pull->cosigned_size,
                                         buf_bytes(&pull->cosignature), &err);
    if (code != 0) {
        world_fail(world, pull->from, "an acknowledgement of %s for %s cannot be true: %s", pull->puller->config.region,
                   pull->origin, err.message);
        return;
    }
    struct mail *mail = mail_new(REGION_ACKNOWLEDGED);
    mail->event.peer = node_peer_of(pull->from, pull->puller->number);
    mail->event.log = pull->served_log;
    mail->event.size = pull->stored_size;
    mail->event.cosigned_size = pull->cosigned_size;
    INVARIANT(buf_append(&mail->note, buf_bytes(&pull->cosignature)) == 0);
    world->counts.cosignatures += pull->cosignature.size_bytes > 0;
    node_post(pull->from, mail);
    buf_clear(&pull->cosignature);
    pull->cosigned_size = 0;
    pull->ack_waits = false;
}

static void run_ack(struct world *world, struct task *task)
{
    struct pull *pull = pull_of(task);
    if (!puller_lives(pull) || pull->cancelled || !pull->serving) {
        pull->ack_travels = false;
        free_when_over(pull);
        return;
    }
    if (net_cut(world, pull->puller->number, pull->from->number) || is_paused(pull->from)) {
        pull_task(pull, RETRY_US, run_ack);
        return;
    }
    pull->ack_travels = false;
    if (pull->ack_waits)
        deliver_ack(pull);
    free_when_over(pull);
}

void pulls_acknowledge(struct node *node, const struct region_effect *effect)
{
    struct pull *pull = find_pull(node, effect->peer, effect->log);
    if (pull == NULL)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < pull->end_count; i++) {
        if (pull->ends[i] > effect->size)
            pull->ends[kept++] = pull->ends[i];
    }
    pull->end_count = kept;
    pull->stored_size = effect->size;
    pull->ack_waits = true;
    if (effect->note.size_bytes > 0) {
        buf_clear(&pull->cosignature);
        INVARIANT(buf_append(&pull->cosignature, buf_bytes(&effect->note)) == 0);
        pull->cosigned_size = effect->cosigned_size;
    }
    if (pull->ack_travels)
        return;
    pull->ack_travels = true;
    pull_task(pull, net_latency(node->world, node->number, pull->from->number), run_ack);
}

/* --- Opening and closing --- */

static int load_stored(void *context, struct buf *out)
{
    const struct pull *pull = context;
    return source_load_stored(pull->source.log, out);
}

static enum residency residency(void *context, const struct entry *entry)
{
    const struct pull *pull = context;
    return residency_of(&pull->from->config.contexts, bytes_of_string(pull->puller->config.region), entry);
}

static int open_source(struct pull *pull, struct log *log, struct err *err)
{
    return source_open(&pull->source, log, pull->from_index, load_stored, residency, pull, err);
}

static void serve(struct pull *pull)
{
    struct world *world = pull->puller->world;
    struct node *from = pull->from;
    struct err err = {0};
    int code = node_find_log(from, pull->origin, &pull->served_log)
                   ? open_source(pull, from->store.logs[pull->served_log], &err)
                   : err_set(&err, ERR_NOT_FOUND, "no such log is held here");
    if (code != 0) {
        close_puller(pull, code, err.message);
        return;
    }
    pull->serving = true;
    pull->from_boot = from->boot;
    net_contact(from, pull->puller->number);
    pump_soon(pull);
    pull_task(pull, world->plan.keepalive_us, run_keepalive);
}

static void run_connect(struct world *world, struct task *task)
{
    struct pull *pull = pull_of(task);
    if (!puller_lives(pull))
        pull->puller_open = false;
    else if (!pull->from->up || is_paused(pull->from) || net_cut(world, pull->puller->number, pull->from->number))
        pull_task(pull, world_between(world, 1, world->plan.call_timeout_us), run_closed);
    else if (!pull->cancelled)
        serve(pull);
    free_when_over(pull);
}

void pulls_open(struct node *node, size_t peer, uint32_t log, const char *origin, uint64_t from_index)
{
    struct world *world = node->world;
    struct pull *pull = sim_must(mem_alloc_zero(1, sizeof(*pull)));
    pull->puller = node;
    pull->from = &world->nodes[node_of_peer(node, peer)];
    pull->puller_boot = node->boot;
    pull->puller_open = true;
    pull->log = log;
    pull->from_index = from_index;
    copy_string(pull->origin, sizeof(pull->origin), origin);
    queue_init(&pull->messages);
    buf_init(&pull->cosignature, NOTE_MAX_BYTES);
    queue_push_back(&world->pulls, &pull->link);
    pull_task(pull, net_latency(world, node->number, pull->from->number), run_connect);
}

void pulls_close(struct node *node, size_t peer, uint32_t log)
{
    struct pull *pull = find_pull(node, peer, log);
    if (pull == NULL)
        return;
    pull->cancelled = true;
    stop_serving(pull);
    pull_task(pull, world_between(node->world, 1, 10 * SIM_MS), run_closed);
}

void pulls_node_changed(struct node *node)
{
    struct world *world = node->world;
    for (struct queue_link *link = world->pulls.next; link != &world->pulls; link = link->next) {
        struct pull *pull = QUEUE_ITEM(link, struct pull, link);
        if (pull->from == node)
            pump_soon(pull);
    }
}

void pulls_node_down(struct node *node)
{
    struct world *world = node->world;
    for (struct queue_link *link = world->pulls.next; link != &world->pulls; link = link->next) {
        struct pull *pull = QUEUE_ITEM(link, struct pull, link);
        if (pull->puller == node && pull->puller_boot == node->boot) {
            pull->puller_open = false;
            stop_serving(pull);
        }
        if (pull->from == node && pull->serving)
            break_pull(pull);
    }
}

void pulls_lose_sent(struct node *node)
{
    struct world *world = node->world;
    for (struct queue_link *link = world->pulls.next; link != &world->pulls; link = link->next) {
        struct pull *pull = QUEUE_ITEM(link, struct pull, link);
        struct queue_link *message = NULL;
        while (pull->from == node && (message = queue_pop_front(&pull->messages)) != NULL) {
            free_message(QUEUE_ITEM(message, struct message, link));
            pull->in_flight--;
        }
    }
}

void pulls_free(struct world *world)
{
    while (!queue_empty(&world->pulls))
        free_pull(QUEUE_ITEM(world->pulls.next, struct pull, link));
}
