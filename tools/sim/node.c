/* A region's process: how it starts from its disk, how it ends, its clock, and the mail to its region.
 *
 * This is what src/server does with threads. The order of a start is the server's: logs, index, region, then the first
 * timer. Mail is handled one by one, in order, after a little time, as the sequencer thread would. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

#define EPOCH_US ((uint64_t)1700000000 * SIM_S)

enum { MAIL_BATCH_MAX = 16 };

/* --- Clock --- */

static uint64_t mono_now(const struct node *node)
{
    uint64_t passed = node->world->now_us - node->drift_since_us;
    return node->mono_base_us + passed * (uint64_t)(1000000 + node->drift_ppm) / 1000000;
}

struct time_now node_now(const struct node *node)
{
    uint64_t mono_us = mono_now(node);
    return (struct time_now){.wall_us = (uint64_t)((int64_t)(EPOCH_US + mono_us) + node->wall_offset_us),
                             .mono_us = mono_us};
}

void node_set_drift(struct node *node, int64_t ppm)
{
    node->mono_base_us = mono_now(node);
    node->drift_since_us = node->world->now_us;
    node->drift_ppm = ppm;
}

void node_set_wall(struct node *node)
{
    node->wall_offset_us = (int64_t)node->world->now_us - (int64_t)mono_now(node);
}

static uint64_t world_time_of(const struct node *node, uint64_t mono_us)
{
    uint64_t now = mono_now(node);
    if (mono_us <= now)
        return node->world->now_us;
    return node->world->now_us + (mono_us - now) * 1000000 / (uint64_t)(1000000 + node->drift_ppm) + 1;
}

/* --- Who is who --- */

size_t node_peer_of(const struct node *node, size_t other)
{
    PRE(other != node->number);
    return other < node->number ? other : other - 1;
}

size_t node_of_peer(const struct node *node, size_t peer)
{
    return peer < node->number ? peer : peer + 1;
}

bool node_find_log(const struct node *node, const char *origin, uint32_t *ret)
{
    for (uint32_t i = 0; i < atomic_load(&node->store.log_count); i++) {
        if (bytes_equal(log_origin(node->store.logs[i]), bytes_of_string(origin))) {
            *ret = i;
            return true;
        }
    }
    return false;
}

uint64_t node_durable_size(const struct node *node, const char *origin)
{
    uint32_t log = 0;
    if (!node->up || !node_find_log(node, origin, &log))
        return 0;
    return log_durable_size(node->store.logs[log]);
}

uint64_t node_held_size(const struct node *node, size_t log)
{
    return node->up ? node_durable_size(node, truth_origin(node->world, log)) : node->was_durable[log];
}

static void configure(struct node *node)
{
    struct world *world = node->world;
    struct region_config *config = &node->config;
    snprintf(config->cluster, sizeof(config->cluster), "sim");
    snprintf(config->address, sizeof(config->address), "%s:1", config->region);
    config->contexts = (struct context_table){.count = 2, .contexts = world->contexts};
    config->checkpoint_interval_us = world->plan.checkpoint_interval_us;
    config->hello_interval_us = world->plan.hello_interval_us;
    config->peer_timeout_us = world->plan.peer_timeout_us;
    config->peer_count = world->node_count - 1;
    config->limits = world->plan.limits;
    config->isolation_wait_us = world->plan.isolation_wait_us;
}

void node_init(struct world *world, size_t number)
{
    struct node *node = &world->nodes[number];
    char cosigner[64];
    char region[sizeof(world->region_names[number])];
    copy_string(region, sizeof(region), world->region_names[number]);
    node->world = world;
    node->number = number;
    memcpy(node->config.region, world->region_names[number], sizeof(world->region_names[number]));
    snprintf(node->origin, sizeof(node->origin), "sim/%s/1", region);
    snprintf(node->folder, sizeof(node->folder), "%s", region);
    snprintf(cosigner, sizeof(cosigner), "%s-cosigner", region);
    node->disk = sim_disk_new(prng_next(&world->prng));
    node->mono_base_us = world_between(world, 1, 1000000) * SIM_S;
    node_set_wall(node);
    keys_add(world, node->origin, NOTE_KEY_ED25519, &node->log_keys);
    keys_add(world, cosigner, NOTE_KEY_COSIGNATURE, &node->cosign_keys);
    for (size_t i = 0; i < SIM_NODES_MAX; i++) {
        node->log_keys.brought[i] = 1;
        node->cosign_keys.brought[i] = 1;
    }
    configure(node);
    queue_init(&node->mail);
    queue_init(&node->jobs);
    queue_init(&node->requests);
    region_update_init(&node->update);
}

static void know_peers(struct node *node)
{
    for (size_t peer = 0; peer < node->config.peer_count; peer++) {
        const struct node *other = &node->world->nodes[node_of_peer(node, peer)];
        struct region_peer_config *config = &node->config.peers[peer];
        memcpy(config->region, other->config.region, sizeof(config->region));
        memcpy(config->address, other->config.address, sizeof(config->address));
    }
}

/* --- Mail --- */

struct mail *mail_new(enum region_event_type type)
{
    struct mail *mail = sim_must(mem_alloc_zero(1, sizeof(*mail)));
    mail->event.type = type;
    buf_init(&mail->note, NOTE_MAX_BYTES);
    return mail;
}

void mail_free(struct mail *mail)
{
    block_release(mail->event.block);
    buf_free(&mail->note);
    for (size_t i = 0; mail->held_notes != NULL && i < mail->event.held_count; i++)
        buf_free(&mail->held_notes[i]);
    mem_free(mail->held_notes);
    mem_free(mail->held);
    mem_free(mail);
}

/* What did not get the memory that it needs: a command is answered with that, and for any other event the process ends,
 * as the server's does. */
static void step_failed(struct node *node, struct region_event *event, int code, const struct err *err)
{
    if (event->type == REGION_COMMAND) {
        event->command->refusal.code = code;
        event->command->refusal.err = *err;
        effects_answer(node, event->command);
        return;
    }
    node_crash(node, false, "memory ran out");
    node_restart_after(node, world_between(node->world, 10 * SIM_MS, SIM_S));
}

static void step(struct node *node, struct region_event *event)
{
    struct world *world = node->world;
    struct err err = {0};
    event->now = node_now(node);
    world->counts.steps++;
    if (world_fault(world, FAULT_NO_MEMORY, world->plan.message_fault_ppm))
        mem_fail_at(world_between(world, 1, 40));
    int code = region_step(node->region, event, &node->update, &err);
    mem_fail_at(0);
    if (code == 0 && event->type == REGION_COMMAND && event->command->control == NULL)
        fence_decided(node, event->command);
    if (code == 0)
        guards_stepped(node);
    if (code != 0)
        step_failed(node, event, code, &err);
    else
        effects_carry_out(node);
}

static void run_timer(struct world *world, struct task *task);

/* After steps: when the next timer is due, and whether the region has begun or ceased to accept. */
static void after_steps(struct node *node)
{
    uint64_t deadline_us = node->update.deadline_mono_us;
    bool accepting = region_accepting(node->region);
    if (accepting != node->accepting) {
        node->accepting = accepting;
        world_trace(node->world, node, accepting ? "accepting" : "not accepting");
        if (accepting)
            oracle_accepting(node);
    }
    oracle_limits(node);
    if (deadline_us == UINT64_MAX)
        return;
    uint64_t at_us = world_time_of(node, deadline_us);
    if (node->timer_at_us != 0 && node->timer_at_us <= at_us && node->timer_at_us > node->world->now_us)
        return;
    node->timer_at_us = at_us <= node->world->now_us ? node->world->now_us + 1 : at_us;
    world_at(node->world, node->timer_at_us, node, run_timer);
}

static void run_timer(struct world *world, struct task *task)
{
    struct node *node = task->node;
    (void)world;
    if (task->at_us >= node->timer_at_us)
        node->timer_at_us = 0;
    if (node_now(node).mono_us >= node->update.deadline_mono_us) {
        struct region_event event = {.type = REGION_TIMER};
        step(node, &event);
    }
    if (node->up)
        after_steps(node);
}

static void run_steps(struct world *world, struct task *task)
{
    struct node *node = task->node;
    node->step_waits = false;
    for (int i = 0; i < MAIL_BATCH_MAX && node->up && !queue_empty(&node->mail); i++) {
        struct mail *mail = QUEUE_ITEM(queue_pop_front(&node->mail), struct mail, link);
        node->mail_count--;
        mail->event.note = buf_bytes(&mail->note);
        mail->event.err = &mail->err;
        mail->event.held = mail->held;
        if (mail->event.type == REGION_PEER_HELLO)
            node->heard = true;
        step(node, &mail->event);
        mail_free(mail);
    }
    if (!node->up)
        return;
    after_steps(node);
    if (!queue_empty(&node->mail) && !node->step_waits) {
        node->step_waits = true;
        world_after(world, world_between(world, 1, 200), node, run_steps);
    }
}

void node_post(struct node *node, struct mail *mail)
{
    PRE(node->up);
    queue_push_back(&node->mail, &mail->link);
    node->mail_count++;
    if (node->step_waits)
        return;
    node->step_waits = true;
    world_after(node->world, world_between(node->world, 1, 200), node, run_steps);
}

/* --- The indexer --- */

static void run_indexer(struct world *world, struct task *task)
{
    struct node *node = task->node;
    struct applier_progress progress = {.moved = false};
    struct err err = {0};
    node->indexer_waits = false;
    int code = applier_step(node->applier, node->store.logs, atomic_load(&node->store.log_count), &progress, &err);
    if (code != 0) {
        world_trace(world, node, "the index cannot follow: %s", err.message);
        node_crash(node, false, "the index cannot follow a log");
        node_restart_after(node, world_between(world, 10 * SIM_MS, SIM_S));
        return;
    }
    if (!progress.moved)
        return;
    struct mail *mail = mail_new(REGION_INDEXED);
    mail->event.log = (uint32_t)progress.log;
    mail->event.size = progress.size;
    node_post(node, mail);
    node_changed(node);
}

void node_changed(struct node *node)
{
    if (!node->indexer_waits) {
        node->indexer_waits = true;
        uint64_t usual_us = node->world->healing ? 2 * SIM_MS : node->world->plan.index_lag_us;
        uint64_t most = world_chance(node->world, 20000) ? 400 * SIM_MS : usual_us;
        world_after(node->world, world_between(node->world, 1, most), node, run_indexer);
    }
    pulls_node_changed(node);
    projector_changed(node);
}

/* --- Start and end --- */

void request_free(struct request *request)
{
    arena_free(&request->arena);
    mem_free(request);
}

static void free_process(struct node *node)
{
    struct queue_link *link = NULL;
    while ((link = queue_pop_front(&node->mail)) != NULL)
        mail_free(QUEUE_ITEM(link, struct mail, link));
    while ((link = queue_pop_front(&node->jobs)) != NULL) {
        struct job *job = QUEUE_ITEM(link, struct job, link);
        block_release(job->block);
        buf_free(&job->note);
        mem_free(job);
    }
    while ((link = queue_pop_front(&node->requests)) != NULL)
        request_free(QUEUE_ITEM(link, struct request, link));
    region_update_clear(&node->update);
    region_free(node->region);
    index_close(node->index);
    store_close(&node->store);
    applier_free(node->applier);
    sha256_free(node->sha);
    node->region = NULL;
    node->index = NULL;
    node->applier = NULL;
    node->sha = NULL;
    node->mail_count = 0;
    node->job_count = 0;
    node->up = false;
}

void node_free(struct node *node)
{
    if (node->up) {
        pulls_node_down(node);
        projector_crash(node);
    }
    free_process(node);
    region_update_free(&node->update);
    sim_disk_free(node->disk);
    sim_disk_free(node->backup);
    for (size_t i = 0; i < SIM_KEYS_MAX; i++) {
        note_signer_wipe(&node->log_keys.signers[i]);
        note_signer_wipe(&node->cosign_keys.signers[i]);
    }
}

static void remember_durable(struct node *node)
{
    for (size_t log = 0; log < truth_log_count(node->world); log++) {
        uint32_t number = 0;
        if (node_find_log(node, truth_origin(node->world, log), &number))
            node->was_durable[log] = log_durable_size(node->store.logs[number]);
    }
}

void node_crash(struct node *node, bool power_lost, const char *why)
{
    struct world *world = node->world;
    PRE(node->up);
    world_trace(world, node, "ends: %s%s", why, power_lost ? ", and power is lost" : "");
    world->counts.crashes++;
    remember_durable(node);
    pulls_node_down(node);
    projector_crash(node);
    free_process(node);
    node->boot++;
    sim_disk_restart(node->disk, power_lost);
}

static void run_restart(struct world *world, struct task *task)
{
    (void)world;
    if (!task->node->up && !task->node->held_down)
        node_boot(task->node);
}

void node_restart_after(struct node *node, uint64_t delay_us)
{
    world_after(node->world, delay_us, node, run_restart);
}

static void say_opened(void *context, const char *folder, const struct log_recovery *recovery)
{
    struct node *node = context;
    world_trace(node->world, node, "opens %s: %llu entries, %llu bytes cut", folder, (unsigned long long)recovery->size,
                (unsigned long long)recovery->cut_bytes);
}

/* The index is made from the logs before the region starts to decide. */
static int catch_up(struct node *node, struct err *err)
{
    struct applier_progress progress = {.moved = true};
    int code = 0;
    while (code == 0 && progress.moved)
        code = applier_step(node->applier, node->store.logs, atomic_load(&node->store.log_count), &progress, err);
    return code;
}

/* Which incarnation this is, and what is left of the lives before: the server's find_life. */
static int find_life(struct node *node, struct err *err)
{
    struct region_config *config = &node->config;
    int code = life_find_mark(&node->store, &config->restored, err);
    if (code == 0)
        code = life_find_incarnation(&node->store, config->region, &config->incarnation, err);
    if (code != 0)
        return code;
    snprintf(node->origin, sizeof(node->origin), "sim/%s/%llu", config->region,
             (unsigned long long)config->incarnation);
    for (size_t i = 0; code == 0 && i < node->log_keys.count; i++)
        code = note_verifier_rename(&node->log_keys.signers[i].verifier, node->origin, err);
    config->fresh = config->incarnation == node->fresh_incarnation;
    config->accept_isolated = node->world->plan.accept_isolated && node->lives < SIM_LIVES_MAX;
    return code == 0 ? life_forget_lost_log(&node->store, node->origin, err) : code;
}

static int open_all(struct node *node, struct err *err)
{
    node->store = (struct store){
        .disk = sim_disk_seam(node->disk), .folder = node->folder, .log_options = node->world->plan.log_options};
    node->sha = sim_must(sha256_new());
    node->index = sim_must(index_memory_new(&node->config.contexts));
    index_limit(node->index, &node->world->plan.index_limits);
    int code = find_life(node, err);
    node->fresh_incarnation = 0;
    if (code == 0)
        code = store_open(&node->store, node->origin, say_opened, node, err);
    if (code == 0)
        code = applier_new(node->index, &node->config.contexts, &node->applier, err);
    if (code == 0)
        applier_limit(node->applier, &node->world->plan.applier_limits);
    if (code == 0)
        code = catch_up(node, err);
    if (code == 0)
        code = store_make_region(&node->store, &node->config, node->index, &node->region, err);
    return code;
}

/* What did not let it start: a disk that failed is tried again, a flipped bit is repaired from a copy by an operator,
 * everything else is a bug. */
static void start_failed(struct node *node, int code, const struct err *err)
{
    struct world *world = node->world;
    bool stopped = sim_disk_stopped(node->disk);
    world_trace(world, node, "does not start: %s", err->message);
    free_process(node);
    node->boot++;
    sim_disk_restart(node->disk, false);
    if (!stopped && code != ERR_IO && code != ERR_NO_SPACE && !(code == ERR_CORRUPT && node->rotten)) {
        world_fail(world, node, "region %s does not start: %s", node->config.region, err->message);
        return;
    }
    if (node->rotten)
        rot_repair(node);
    node_restart_after(node, world_between(world, 10 * SIM_MS, SIM_S));
}

void node_boot(struct node *node)
{
    struct world *world = node->world;
    struct err err = {0};
    PRE(!node->up);
    know_peers(node);
    keys_read(node);
    node->boot++;
    world->counts.boots++;
    node->step_waits = false;
    node->writer_busy = false;
    node->indexer_waits = false;
    node->accepting = false;
    node->heard = false;
    node->paused_until_us = 0;
    node->kill_after = 0;
    node->timer_at_us = 0;
    memset(node->hello, 0, sizeof(node->hello));
    memset(node->checked, 0, sizeof(node->checked));
    int code = open_all(node, &err);
    if (code != 0) {
        start_failed(node, code, &err);
        return;
    }
    node->up = true;
    world_trace(world, node, "starts, process %llu", (unsigned long long)node->boot);
    oracle_booted(node);
    projector_boot(node);
    guards_boot(node);
    struct region_event timer = {.type = REGION_TIMER};
    step(node, &timer);
    if (node->up) {
        after_steps(node);
        node_changed(node);
    }
}
