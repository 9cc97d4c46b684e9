/* The writer of a simulated process: takes jobs in order, after the time that a disk takes, and carries them out with
 * the real log. Whatever fails ends the process, as it does the server's. */
#include "base/assert.h"
#include "base/mem.h"
#include "sim/sim.h"

enum { BATCH_MAX = 32 };

static void run_writer(struct world *world, struct task *task);

void node_add_job(struct node *node, struct job *job)
{
    queue_push_back(&node->jobs, &job->link);
    node->job_count++;
    if (node->writer_busy)
        return;
    node->writer_busy = true;
    uint64_t most = world_chance(node->world, 10000) ? 200 * SIM_MS : 2 * SIM_MS;
    world_after(node->world, world_between(node->world, 50, most), node, run_writer);
}

static struct job *first_job(struct node *node)
{
    return queue_empty(&node->jobs) ? NULL : QUEUE_ITEM(node->jobs.next, struct job, link);
}

static void finish_job(struct node *node, struct job *job)
{
    queue_remove(&job->link);
    node->job_count--;
    block_release(job->block);
    buf_free(&job->note);
    mem_free(job);
}

static void report(struct node *node, enum region_event_type type, const struct job *job)
{
    struct mail *mail = mail_new(type);
    mail->event.log = job->log;
    mail->event.size = job->size;
    node_post(node, mail);
}

/* The run of blocks of one log at the front goes to the log in one call. */
static int write_run(struct node *node, struct err *err)
{
    struct job *jobs[BATCH_MAX];
    struct block *blocks[BATCH_MAX];
    uint32_t log = first_job(node)->log;
    size_t count = 0;
    for (struct queue_link *link = node->jobs.next; link != &node->jobs && count < BATCH_MAX; link = link->next) {
        struct job *job = QUEUE_ITEM(link, struct job, link);
        if (job->type != JOB_WRITE || job->log != log)
            break;
        jobs[count] = job;
        blocks[count++] = job->block;
    }
    int code = log_append(node->store.logs[log], blocks, count, err);
    if (code != 0)
        return code;
    truth_follow(node, log);
    for (size_t i = 0; i < count; i++) {
        report(node, REGION_WRITTEN, jobs[i]);
        finish_job(node, jobs[i]);
    }
    return 0;
}

static int save_checkpoint(struct node *node, struct job *job, struct err *err)
{
    int code = 0;
    if (job->log == 0 && !job->published)
        code = life_remember_signed(&node->store, node->origin, buf_bytes(&job->note), err);
    if (code != 0)
        return code;
    code = log_save_checkpoint(node->store.logs[job->log], buf_bytes(&job->note), job->published, err);
    if (code != 0)
        return code;
    node->world->counts.checkpoints++;
    if (job->log == 0 && !job->published)
        truth_signs(node->world, node->origin, job->size, true);
    report(node, REGION_CHECKPOINT_SAVED, job);
    finish_job(node, job);
    return 0;
}

static int create_log(struct node *node, struct job *job, struct err *err)
{
    INVARIANT(job->log == atomic_load(&node->store.log_count));
    int code = store_add_log(&node->store, (const char *)job->note.data, err);
    if (code == 0)
        finish_job(node, job);
    return code;
}

/* The log is durable: the process ends, and one that has it as its own takes its place. */
static int begin_incarnation(struct node *node, struct job *job, struct err *err)
{
    int code = life_begin(&node->store, node->origin, job->size, job->fresh, err);
    if (code != 0)
        return code;
    node->fresh_incarnation = job->fresh ? job->size : 0;
    node_crash(node, false, "it begins a new incarnation");
    node_restart_after(node, world_between(node->world, 1, 50 * SIM_MS));
    return 0;
}

static int carry_out(struct node *node, struct job *job, struct err *err)
{
    switch (job->type) {
    case JOB_WRITE:
        return write_run(node, err);
    case JOB_CHECKPOINT:
        return save_checkpoint(node, job, err);
    case JOB_CREATE_LOG:
        return create_log(node, job, err);
    case JOB_BEGIN_INCARNATION:
        return begin_incarnation(node, job, err);
    }
    INVARIANT(!"a job of a known type");
    return 0;
}

static void run_writer(struct world *world, struct task *task)
{
    struct node *node = task->node;
    struct err err = {0};
    node->writer_busy = false;
    struct job *job = first_job(node);
    int code = job == NULL ? 0 : carry_out(node, job, &err);
    if (code != 0) {
        bool stopped = sim_disk_stopped(node->disk);
        world_trace(world, node, "the writer fails: %s", err.message);
        if (!stopped && code != ERR_IO && code != ERR_NO_SPACE) {
            world_fail(world, node, "the writer cannot go on, and no fault explains it: %s", err.message);
            return;
        }
        node_crash(node, stopped && world_chance(world, 500000), "the disk failed");
        node_restart_after(node, world_between(world, 10 * SIM_MS, 3 * SIM_S));
        return;
    }
    if (!node->up)
        return;
    node_changed(node);
    job = first_job(node);
    if (job != NULL) {
        node->writer_busy = true;
        uint64_t most = world_chance(world, 10000) ? 200 * SIM_MS : 2 * SIM_MS;
        world_after(world, world_between(world, 50, most), node, run_writer);
    }
}
