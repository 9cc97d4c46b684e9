/* The writer: the one thread that makes things durable. Blocks of one log that wait together go to the log in one call.
 * A write, sync or checkpoint that fails ends the process: after it nothing may be acknowledged, and a restart recovers
 * what is durable. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "server/internal.h"

enum { JOBS_BATCH_MAX = 256, EVIDENCE_FILES_MAX = 1000 };

static void free_job(struct job *job)
{
    if (job->block != NULL)
        block_release(job->block);
    buf_free(&job->note);
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

/* Writes the run of blocks for one log that starts at jobs[0]; returns how many jobs it took. */
static size_t write_run(struct server *server, struct job **jobs, size_t count)
{
    struct block *blocks[JOBS_BATCH_MAX];
    struct err err = {0};
    size_t run = 0;
    while (run < count && jobs[run]->type == JOB_WRITE && jobs[run]->log == jobs[0]->log) {
        blocks[run] = jobs[run]->block;
        run++;
    }
    if (log_append(server->store.logs[jobs[0]->log], blocks, run, &err) != 0)
        server_die(server,
                   "a write failed, stopping at once (nothing after it was acknowledged; a restart recovers what is "
                   "durable): %s",
                   err.message);
    for (size_t i = 0; i < run; i++)
        report(server, REGION_WRITTEN, jobs[i]->log, jobs[i]->size);
    return run;
}

static void save_checkpoint(struct server *server, const struct job *job)
{
    struct err err = {0};
    int code = job->log == 0 && !job->published ? life_remember_signed(server, buf_bytes(&job->note), &err) : 0;
    if (code == 0 && job->log == 0 && !job->published)
        code = life_remove_mark(server, &err);
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
    if (life_begin(server, job->size, &err) != 0)
        server_die(server, "the log of incarnation %llu could not be made, stopping: %s", (unsigned long long)job->size,
                   err.message);
    server_say(server, "log %s/%s/%llu begins; starting again with it", server->config->region.cluster,
               server->config->region.region, (unsigned long long)job->size);
    server->life.ended(server->life.context, job->fresh ? job->size : 0);
}

static int count_name(void *context, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    (*(size_t *)context)++;
    return 0;
}

/* A file named after its contents: the same note is kept once. EVIDENCE_FILES_MAX bounds what a hostile peer can make
 * us store. */
static int store_evidence(struct server *server, const char *folder, struct bytes note, char *path, struct err *err)
{
    struct sha256 *sha = sha256_new();
    char name[2 * HASH_SIZE + sizeof(".note")];
    uint32_t mode = 0;
    size_t count = 0;
    if (sha == NULL)
        return err_no_memory(err, "the evidence");
    struct hash hash = sha256_of(sha, note);
    sha256_free(sha);
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), name);
    memcpy(name + 2 * HASH_SIZE, ".note", sizeof(".note"));
    int code = disk_join(path, folder, name, err);
    if (code != 0 || disk_mode(server->disk, path, &mode, NULL) == 0)
        return code;
    code = disk_list(server->disk, folder, count_name, &count, err);
    if (code == 0 && count >= EVIDENCE_FILES_MAX)
        code = err_set(err, ERR_TOO_LARGE, "%zu files are there already; look at them and move them away", count);
    return code != 0 ? code : disk_replace_file(server->disk, path, note, 0, err);
}

static void keep_evidence(struct server *server, const struct job *job)
{
    char folder[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    struct err err = {0};
    int code = disk_join(folder, server->config->folder, "evidence", &err);
    if (code == 0)
        code = disk_make_dir(server->disk, folder, &err);
    if (code == 0)
        code = store_evidence(server, folder, buf_bytes(&job->note), path, &err);
    if (code == 0)
        server_say(server, "evidence kept in %s", path);
    else
        server_say(server, "evidence could not be kept in %s: %s", folder, err.message);
}

static size_t carry_out(struct server *server, struct job **jobs, size_t count)
{
    switch (jobs[0]->type) {
    case JOB_WRITE:
        return write_run(server, jobs, count);
    case JOB_CHECKPOINT:
        save_checkpoint(server, jobs[0]);
        return 1;
    case JOB_CREATE_LOG:
        create_log(server, jobs[0]);
        return 1;
    case JOB_EVIDENCE:
        keep_evidence(server, jobs[0]);
        return 1;
    case JOB_BEGIN_INCARNATION:
        begin_incarnation(server, jobs[0]);
        return 1;
    }
    INVARIANT(!"a job of a known type");
    return 0;
}

void *writer_run(void *context)
{
    struct server *server = context;
    struct job *jobs[JOBS_BATCH_MAX];
    while (true) {
        size_t count = mailbox_receive(server->jobs, (void **)jobs, JOBS_BATCH_MAX, UINT64_MAX);
        if (count == 0)
            break;
        for (size_t i = 0; i < count;)
            i += carry_out(server, jobs + i, count - i);
        for (size_t i = 0; i < count; i++)
            free_job(jobs[i]);
        server_changed(server);
    }
    return NULL;
}
