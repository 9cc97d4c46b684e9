/* What a region's effects become: the table that a new effect is added to. The server's is sequencer.c.
 *
 * A process may be killed between any two effects; kill_after counts them down. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

static struct job *new_job(enum job_type type, const struct region_effect *effect)
{
    struct job *job = sim_must(mem_alloc_zero(1, sizeof(*job)));
    job->type = type;
    job->log = effect->log;
    job->size = effect->size;
    job->published = effect->published;
    job->fresh = effect->fresh;
    buf_init(&job->note, NOTE_MAX_BYTES);
    INVARIANT(effect->note.size_bytes == 0 || buf_append(&job->note, buf_bytes(&effect->note)) == 0);
    return job;
}

static const char *log_name(struct node *node, uint32_t log, struct region_log_status *status)
{
    region_log_status(node->region, log, status);
    return status->origin;
}

static void do_write(struct node *node, struct region_effect *effect)
{
    struct job *job = new_job(JOB_WRITE, effect);
    job->block = block_retain(effect->block);
    node_add_job(node, job);
}

static void do_save_checkpoint(struct node *node, struct region_effect *effect)
{
    struct region_log_status status;
    const char *origin = log_name(node, effect->log, &status);
    if (effect->log == 0 && !effect->published) {
        rotators_check_signed(node, buf_bytes(&effect->note));
        truth_signs(node->world, origin, effect->size, false);
    }
    oracle_note(node, origin, buf_bytes(&effect->note));
    node_add_job(node, new_job(JOB_CHECKPOINT, effect));
}

static void operator_answered(struct node *node, const struct request *request)
{
    const struct region_command *command = &request->command;
    int code = command->refusal.code;
    if (command->control != NULL && code == 0)
        seizures_answered(node, request);
    node->world->counts.changes_refused += code != 0;
    world_trace(node->world, node, "the operator is told: %s", code == 0 ? "done" : command->refusal.err.message);
}

void effects_answer(struct node *node, struct region_command *command)
{
    struct request *request = QUEUE_ITEM(command, struct request, command);
    if (request->by_guard) {
        guards_answered(node, request);
    } else if (command->control != NULL || command->define != NULL) {
        operator_answered(node, request);
    } else if (command->settle != NULL) {
        settlers_answered(node, request);
    } else if (request->urgent != NULL) {
        overriders_answered(node, request);
    } else if (command->verdict != NULL || command->elsewhere != REGION_ELSEWHERE_REFUSE) {
        queuers_answered(node, request);
    } else {
        oracle_answer(node, request);
        clients_answered(node, request);
    }
    queue_remove(&request->link);
    request_free(request);
}

static void do_answer(struct node *node, struct region_effect *effect)
{
    effects_answer(node, effect->command);
}

static void do_create_log(struct node *node, struct region_effect *effect)
{
    struct region_log_status status;
    struct job *job = new_job(JOB_CREATE_LOG, effect);
    INVARIANT(buf_append_string(&job->note, log_name(node, effect->log, &status)) == 0);
    INVARIANT(buf_append_byte(&job->note, 0) == 0);
    node_add_job(node, job);
}

static void do_open_pull(struct node *node, struct region_effect *effect)
{
    struct region_log_status status;
    pulls_open(node, effect->peer, effect->log, log_name(node, effect->log, &status), effect->size);
}

static void do_close_pull(struct node *node, struct region_effect *effect)
{
    pulls_close(node, effect->peer, effect->log);
}

static void do_send_ack(struct node *node, struct region_effect *effect)
{
    oracle_acknowledges(node, effect);
    pulls_acknowledge(node, effect);
}

static void do_hello(struct node *node, struct region_effect *effect)
{
    net_hello(node, effect->peer, &effect->question);
}

static void do_begin_incarnation(struct node *node, struct region_effect *effect)
{
    world_trace(node->world, node, "%s", effect->text);
    node->world->counts.lives++;
    node->lives++;
    node_add_job(node, new_job(JOB_BEGIN_INCARNATION, effect));
}

/* Alarms that a fault of this run explains. */
static bool is_explained(const struct world *world, const char *text)
{
    const struct plan *plan = &world->plan;
    if (strncmp(text, "context bank is at its recovery point ", 38) == 0)
        return world->contexts[0].promises.recovery_point.events > 0;
    if (strncmp(text, "context bank needs ", 19) == 0)
        return true;
    if (strncmp(text, "LOST: ", 6) == 0)
        return plan->enabled[FAULT_LOST_LOGS];
    if (strstr(text, "which this region began in an earlier life, and was heard of only now") != NULL)
        return plan->accept_isolated || plan->enabled[FAULT_OLD_BACKUP];
    if (strstr(text, "is not complete here") != NULL)
        return plan->outside < SIM_NODES_MAX;
    bool damaged = plan->enabled[FAULT_GARBLE] || plan->enabled[FAULT_FORGE];
    bool disordered = plan->enabled[FAULT_DUPLICATE] || plan->enabled[FAULT_REORDER];
    if (strstr(text, "whose signature does not verify") != NULL)
        return damaged && plan->rotate_every_us > 0; /* a peer left out a damaged line, by the only key known here */
    if (strstr(text, "is lost; ") != NULL)
        return true; /* assisted failover: whoever does not answer for long enough */
    if (strstr(text, "is FENCED") != NULL)
        return true; /* any fault, and the pause between two leases, may keep a region from getting one */
    if (strstr(text, "does not fit log") != NULL)
        return damaged || disordered;
    return strstr(text, "that is not signed by its key") != NULL && damaged;
}

static void do_alarm(struct node *node, struct region_effect *effect)
{
    world_trace(node->world, node, "ALARM %s", effect->text);
    if (!is_explained(node->world, effect->text))
        world_fail(node->world, node, "an alarm that no fault explains: %s", effect->text);
}

typedef void effect_fn(struct node *node, struct region_effect *effect);

static const struct {
    effect_fn *run;
    const char *name;
} effects[] = {
    [REGION_WRITE] = {do_write, "write"},
    [REGION_SAVE_CHECKPOINT] = {do_save_checkpoint, "save checkpoint"},
    [REGION_ANSWER] = {do_answer, "answer"},
    [REGION_CREATE_LOG] = {do_create_log, "create log"},
    [REGION_OPEN_PULL] = {do_open_pull, "open pull"},
    [REGION_CLOSE_PULL] = {do_close_pull, "close pull"},
    [REGION_SEND_ACK] = {do_send_ack, "send ack"},
    [REGION_HELLO] = {do_hello, "hello"},
    [REGION_ALARM] = {do_alarm, "alarm"},
    [REGION_BEGIN_INCARNATION] = {do_begin_incarnation, "begin incarnation"},
};

void effects_carry_out(struct node *node)
{
    struct world *world = node->world;
    for (size_t i = 0; i < node->update.effect_count; i++) {
        struct region_effect *effect = &node->update.effects[i];
        INVARIANT(effect->type < sizeof(effects) / sizeof(effects[0]));
        if (node->kill_after > 0 && --node->kill_after == 0) {
            node_crash(node, false, "killed between two effects");
            node_restart_after(node, world_between(world, 10 * SIM_MS, 3 * SIM_S));
            return;
        }
        world_trace(world, node, "%s: log %u peer %zu size %llu", effects[effect->type].name, (unsigned)effect->log,
                    effect->peer, (unsigned long long)effect->size);
        effects[effect->type].run(node, effect);
        if (!node->up)
            return;
    }
}
