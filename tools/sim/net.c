/* The network between regions: links that delay and can be cut, one way or both, and the unary call Hello over them.
 *
 * Hello is what src/server/peers.c and src/rpc/replication.c make of it: one call at a time to a peer, a timeout, and
 * another one when it was asked for meanwhile. */
#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

uint64_t net_latency(struct world *world, size_t from, size_t to)
{
    uint64_t latency = world_between(world, world->plan.latency_us / 2, 2 * world->plan.latency_us);
    if (world_fault(world, FAULT_DELAY, world->plan.message_fault_ppm))
        latency += world_draw(world, SIM_S);
    return latency + (world->healing ? 0 : world->links[from][to].extra_us);
}

bool net_cut(const struct world *world, size_t from, size_t to)
{
    return world->links[from][to].cut;
}

/* --- Hello --- */

static void start_hello(struct node *node, size_t peer);

static void drop_mail(struct world *world, struct task *task)
{
    (void)world;
    if (task->data != NULL)
        mail_free(task->data);
}

static void end_call(struct node *node, size_t peer, bool failed, struct mail *mail)
{
    struct hello_state *state = &node->hello[peer];
    state->running = false;
    state->last_failed = failed;
    mail->event.peer = peer;
    node_post(node, mail);
    if (state->wanted)
        start_hello(node, peer);
}

static bool is_current(const struct task *task)
{
    const struct hello_state *state = &task->node->hello[task->numbers[0]];
    return state->running && state->call == task->numbers[1];
}

static void run_failed(struct world *world, struct task *task)
{
    (void)world;
    if (!is_current(task))
        return;
    struct mail *mail = mail_new(REGION_PEER_DOWN);
    err_set(&mail->err, ERR_UNAVAILABLE, "no answer");
    end_call(task->node, task->numbers[0], true, mail);
}

static void run_response(struct world *world, struct task *task)
{
    struct node *node = task->node;
    size_t other = node_of_peer(node, task->numbers[0]);
    struct mail *mail = task->data;
    task->data = NULL;
    mail->event.asked_us = node->hello[task->numbers[0]].asked_us;
    if (!is_current(task) || net_cut(world, other, node->number)) {
        mail_free(mail);
        return;
    }
    world_trace(world, node, "hears from %s, which holds %zu logs", world->region_names[other], mail->event.held_count);
    end_call(node, task->numbers[0], false, mail);
}

/* What a region says it holds, and grants: the durable sizes and the stored notes. */
static struct mail *describe_held(struct node *node, size_t asker, const struct region_lease_question *question)
{
    struct mail *mail = mail_new(REGION_PEER_HELLO);
    struct region_lease_answer lease;
    region_lease_asked(node->region, node_now(node), asker, question, &lease);
    mail->event.granted = lease.granted;
    mail->event.abstains = lease.abstains;
    mail->event.left_us = lease.left_us;
    mail->event.wall_us = node_now(node).wall_us;
    size_t count = atomic_load(&node->store.log_count);
    mail->held = sim_must(mem_alloc_zero(count, sizeof(struct region_held)));
    mail->held_notes = sim_must(mem_alloc_zero(count, sizeof(struct buf)));
    mail->event.held_count = count;
    for (size_t i = 0; i < count; i++) {
        struct log *log = node->store.logs[i];
        struct bytes origin = log_origin(log);
        memcpy(mail->held[i].origin, origin.data, origin.size_bytes);
        mail->held[i].size = log_durable_size(log);
        mail->held[i].obeyed = i < lease.log_count ? lease.obeyed[i] : 0;
        buf_init(&mail->held_notes[i], NOTE_MAX_BYTES);
        if (log_load_checkpoint(log, false, &mail->held_notes[i], NULL) != 0)
            buf_clear(&mail->held_notes[i]);
        mail->held[i].checkpoint = buf_bytes(&mail->held_notes[i]);
        if (mail->held_notes[i].size_bytes > 0)
            oracle_note(node, mail->held[i].origin, mail->held[i].checkpoint);
    }
    return mail;
}

/* The request arrives. numbers: the caller's peer and call, the caller, its boot. */
static void run_request(struct world *world, struct task *task)
{
    struct node *caller = &world->nodes[task->numbers[2]];
    size_t peer = task->numbers[0];
    struct node *other = &world->nodes[node_of_peer(caller, peer)];
    if (caller->boot != task->numbers[3] || net_cut(world, caller->number, other->number))
        return;
    if (other->up && other->paused_until_us > world->now_us) {
        struct task *again = world_at(world, other->paused_until_us, NULL, run_request);
        memcpy(again->numbers, task->numbers, sizeof(task->numbers));
        return;
    }
    uint64_t latency = net_latency(world, other->number, caller->number);
    task_fn *then = other->up ? run_response : run_failed;
    if (world_fault(world, FAULT_LOSS, world->plan.message_fault_ppm))
        return;
    struct task *answer = world_after(world, latency, caller, then);
    memcpy(answer->numbers, task->numbers, sizeof(task->numbers));
    if (!other->up)
        return;
    answer->data = describe_held(other, node_peer_of(other, caller->number), &caller->hello[peer].asks);
    answer->drop = drop_mail;
    net_contact(other, caller->number);
}

static void start_hello(struct node *node, size_t peer)
{
    struct world *world = node->world;
    struct hello_state *state = &node->hello[peer];
    state->running = true;
    state->wanted = false;
    state->call++;
    state->asked_us = node_now(node).mono_us;
    state->asks = state->question;
    struct task *timeout = world_after(world, world->plan.call_timeout_us, node, run_failed);
    timeout->numbers[0] = peer;
    timeout->numbers[1] = state->call;
    if (world_fault(world, FAULT_LOSS, world->plan.message_fault_ppm))
        return;
    uint64_t latency = net_latency(world, node->number, node_of_peer(node, peer));
    struct task *request = world_after(world, latency, NULL, run_request);
    request->numbers[0] = peer;
    request->numbers[1] = state->call;
    request->numbers[2] = node->number;
    request->numbers[3] = node->boot;
}

static void want_hello(struct node *node, size_t peer)
{
    node->hello[peer].wanted = true;
    if (!node->hello[peer].running)
        start_hello(node, peer);
}

void net_hello(struct node *node, size_t peer, const struct region_lease_question *question)
{
    PRE(peer < node->config.peer_count);
    node->hello[peer].question = *question;
    want_hello(node, peer);
}

void net_contact(struct node *node, size_t other)
{
    size_t peer = node_peer_of(node, other);
    if (node->hello[peer].last_failed)
        want_hello(node, peer);
}
