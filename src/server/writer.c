/* The writer: the one thread that makes things durable. Blocks of one log that wait together go to the log in one call.
 * A write, sync or checkpoint that fails ends the process: after it nothing may be acknowledged, and a restart recovers
 * what is durable. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/evidence.h"
#include "server/internal.h"

enum { JOBS_BATCH_MAX = 256 };

static void free_job(struct job *job)
{
    if (job->block != NULL)
        block_release(job->block);
    buf_free(&job->note);
    buf_free(&job->reason);
    mem_free(job);
}

static void report(struct server *server, enum region_event_type type, uint32_t log, uint64_t size)
{
    struct message *message = message_new(type);
    if (message == NULL)
        server_die(server, "memory ran out");
    message->event.log = log;
    message->event.size = size;
    message_send(server, message);
}

/* Whether a block may be written before this job, which was asked for earlier: what is about its own log keeps its
 * order, other logs' blocks and checkpoints are nothing to it. */
static bool may_overtake(const struct job *earlier, uint32_t log)
{
    return (earlier->type == JOB_WRITE || earlier->type == JOB_CHECKPOINT) && earlier->log != log;
}

/* Writes all blocks of jobs[0]'s log that wait and may go together, in one call: when the disk is slow, a log must not
 * wait once for each block of the others. Takes their jobs: NULL is left where they were. */
static void write_run(struct server *server, struct job **jobs, size_t count)
{
    struct block *blocks[JOBS_BATCH_MAX];
    struct job *taken[JOBS_BATCH_MAX];
    struct err err = {0};
    uint32_t log = jobs[0]->log;
    size_t run = 0;
    for (size_t i = 0; i < count; i++) {
        if (jobs[i] == NULL || (i > 0 && may_overtake(jobs[i], log)))
            continue;
        if (jobs[i]->type != JOB_WRITE)
            break;
        taken[run] = jobs[i];
        blocks[run++] = jobs[i]->block;
        jobs[i] = NULL;
    }
    if (log_append(server->store.logs[log], blocks, run, &err) != 0)
        server_die(server,
                   "a write failed, stopping at once (nothing after it was acknowledged; a restart recovers what is "
                   "durable): %s",
                   err.message);
    for (size_t i = 0; i < run; i++) {
        report(server, REGION_WRITTEN, log, taken[i]->size);
        free_job(taken[i]);
    }
}

static void save_checkpoint(struct server *server, const struct job *job)
{
    struct err err = {0};
    int code = job->log == 0 && !job->published
                   ? life_remember_signed(&server->store, server->config->origin, buf_bytes(&job->note), &err)
                   : 0;
    if (code == 0)
        code = log_save_checkpoint(server->store.logs[job->log], buf_bytes(&job->note), job->published, &err);
    if (code != 0)
        server_die(server, "a checkpoint could not be stored, stopping: %s", err.message);
    else
        report(server, REGION_CHECKPOINT_SAVED, job->log, job->size);
}

static void create_log(struct server *server, const struct job *job)
{
    struct err err = {0};
    INVARIANT(job->log == atomic_load(&server->store.log_count));
    if (store_add_log(&server->store, job->text, &err) != 0)
        server_die(server, "the copy of log %s could not be made, stopping: %s", job->text, err.message);
    server_say(server, "keeping a copy of log %s", job->text);
}

static void begin_incarnation(struct server *server, const struct job *job)
{
    struct err err = {0};
    if (life_begin(&server->store, server->config->origin, job->size, job->fresh, &err) != 0)
        server_die(server, "the log of incarnation %llu could not be made, stopping: %s", (unsigned long long)job->size,
                   err.message);
    server_say(server, "log %s/%s/%llu begins; starting again with it", server->config->region.cluster,
               server->config->region.region, (unsigned long long)job->size);
    server->life.ended(server->life.context, job->fresh ? job->size : 0);
}

static void keep_evidence(struct server *server, const struct job *job)
{
    struct sha256 *sha = sha256_new();
    struct evidence what = {.fork = job->fork, .kept_at_ms = clock_now().wall_us / 1000};
    struct err err = {0};
    struct bytes origin = log_origin(server->store.logs[job->log]);
    memcpy(what.log, origin.data, origin.size_bytes);
    copy_string(what.reason, sizeof(what.reason), (const char *)job->reason.data);
    int code = sha == NULL
                   ? err_no_memory(&err, "the evidence")
                   : evidence_keep(server->disk, server->config->folder, buf_bytes(&job->note), sha, &what, &err);
    sha256_free(sha);
    if (code == 0)
        server_say(server, "evidence kept in %s/evidence/%s.note", server->config->folder, what.name);
    else
        server_say(server, "evidence could not be kept in %s/evidence: %s", server->config->folder, err.message);
}

/* Takes jobs[0], and whatever goes together with it. */
static void carry_out(struct server *server, struct job **jobs, size_t count)
{
    struct job *job = jobs[0];
    switch (job->type) {
    case JOB_WRITE:
        write_run(server, jobs, count);
        return;
    case JOB_CHECKPOINT:
        save_checkpoint(server, job);
        break;
    case JOB_CREATE_LOG:
        create_log(server, job);
        break;
    case JOB_EVIDENCE:
        keep_evidence(server, job);
        break;
    case JOB_BEGIN_INCARNATION:
        begin_incarnation(server, job);
        break;
    }
    free_job(job);
}

void *writer_run(void *context)
{
    struct server *server = context;
    struct job *jobs[JOBS_BATCH_MAX];
    while (true) {
        size_t count = mailbox_receive(server->jobs, (void **)jobs, JOBS_BATCH_MAX, UINT64_MAX);
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++) {
            if (jobs[i] != NULL)
                carry_out(server, jobs + i, count - i);
        }
        server_changed(server);
    }
    return NULL;
}
