/* The sequencer: the thread that owns the region. It takes messages, calls region_step, and carries out what the update
 * says by handing it on: nothing here waits, for a disk or for another thread. */
#include "base/assert.h"
#include "base/mem.h"
#include "server/internal.h"

enum { MAIL_BATCH_MAX = 256, RECEIVE_MAX_MS = 1000 };

static void send_job(struct server *server, struct job *job)
{
    int code = mailbox_try_send(server->jobs, job);
    INVARIANT(code == 0); /* SERVER_JOBS_MAX is above what the region lets be in flight */
}

static struct job *new_job(struct server *server, enum job_type type, const struct region_effect *effect)
{
    struct job *job = mem_alloc_zero(1, sizeof(*job));
    if (job == NULL)
        server_die(server, "memory ran out");
    job->type = type;
    job->log = effect->log;
    job->size = effect->size;
    job->published = effect->published;
    job->fresh = effect->fresh;
    job->fork = effect->fork;
    buf_init(&job->note, NOTE_MAX_BYTES);
    buf_init(&job->reason, TALLY_ERROR_MESSAGE_MAX_BYTES);
    if (effect->note.size_bytes > 0 && buf_append(&job->note, buf_bytes(&effect->note)) != 0)
        server_die(server, "memory ran out");
    return job;
}

static void raise_alarm(struct server *server, const struct region_effect *effect)
{
    server_say(server, "ALARM: %s", effect->text);
    if (effect->note.size_bytes == 0)
        return;
    struct job *job = new_job(server, JOB_EVIDENCE, effect);
    if (buf_append_string(&job->reason, effect->text) != 0 || buf_append_byte(&job->reason, 0) != 0)
        server_die(server, "memory ran out");
    send_job(server, job);
}

static void carry_out(struct server *server, struct region_effect *effect)
{
    struct job *job = NULL;
    struct region_log_status status;
    switch (effect->type) {
    case REGION_WRITE:
        job = new_job(server, JOB_WRITE, effect);
        job->block = block_retain(effect->block);
        send_job(server, job);
        return;
    case REGION_SAVE_CHECKPOINT:
        send_job(server, new_job(server, JOB_CHECKPOINT, effect));
        return;
    case REGION_CREATE_LOG:
        job = new_job(server, JOB_CREATE_LOG, effect);
        region_log_status(server->region, effect->log, &status);
        memcpy(job->text, status.origin, sizeof(job->text));
        send_job(server, job);
        return;
    case REGION_ANSWER:
        rpc_append_done((struct rpc_append *)(void *)effect->command);
        return;
    case REGION_OPEN_PULL:
        region_log_status(server->region, effect->log, &status);
        peers_open_pull(server->peers, effect->peer, effect->log, status.origin, effect->size);
        return;
    case REGION_CLOSE_PULL:
        peers_close_pull(server->peers, effect->peer, effect->log);
        return;
    case REGION_SEND_ACK:
        peers_acknowledge(server->peers, effect->peer, effect->log, effect->size, effect->cosigned_size,
                          buf_bytes(&effect->note));
        return;
    case REGION_HELLO:
        peers_hello(server->peers, effect->peer, &effect->question);
        return;
    case REGION_ALARM:
        raise_alarm(server, effect);
        return;
    case REGION_BEGIN_INCARNATION:
        server_say(server, "ALARM: %s", effect->text);
        send_job(server, new_job(server, JOB_BEGIN_INCARNATION, effect));
        return;
    }
    INVARIANT(!"an effect of a known type");
}

static void step(struct server *server, const struct region_event *event, struct region_update *update)
{
    struct err err = {0};
    int code = region_step(server->region, event, update, &err);
    if (code != 0 && event->type != REGION_COMMAND) /* without it, answers would wait for ever */
        server_die(server, "an event could not be handled, stopping: %s", err.message);
    if (code != 0) {
        event->command->refusal.code = code;
        event->command->refusal.err = err;
        rpc_append_done((struct rpc_append *)(void *)event->command);
        return;
    }
    for (size_t i = 0; i < update->effect_count; i++)
        carry_out(server, &update->effects[i]);
}

static void answer(struct server *server, struct question *question)
{
    int code = question->answer(server, question);
    pthread_mutex_lock(&question->mutex);
    question->code = code;
    question->done = true;
    pthread_cond_signal(&question->finished);
    pthread_mutex_unlock(&question->mutex);
}

/* An append may be gone as soon as it is answered. */
static void decide(struct server *server, struct rpc_append *append, struct region_update *update)
{
    struct region_event event = {.type = REGION_COMMAND, .now = clock_now()};
    while (append != NULL) {
        event.command = &append->command;
        append = append->next;
        step(server, &event, update);
        atomic_fetch_sub(&server->commands_waiting, 1);
    }
}

static void handle(struct server *server, struct message *message, struct region_update *update)
{
    if (message->type == MESSAGE_QUESTION) {
        answer(server, message->question);
    } else if (message->type == MESSAGE_COMMANDS) {
        decide(server, message->appends, update);
    } else {
        message->event.now = clock_now();
        message->event.note = buf_bytes(&message->note);
        message->event.err = &message->err;
        step(server, &message->event, update);
    }
    message_free(message);
}

static void follow_accepting(struct server *server)
{
    bool accepting = region_accepting(server->region);
    if (atomic_exchange(&server->accepting, accepting) == accepting)
        return;
    server_say(server, accepting ? "accepting appends" : "not accepting appends");
    pthread_mutex_lock(&server->mutex); /* against stop_threads, which frees rpc once stopping is set */
    if (!atomic_load(&server->stopping))
        rpc_server_set_serving(server->rpc, accepting);
    pthread_mutex_unlock(&server->mutex);
}

void *sequencer_run(void *context)
{
    struct server *server = context;
    struct region_update update;
    void *items[MAIL_BATCH_MAX];
    region_update_init(&update);
    struct region_event timer = {.type = REGION_TIMER, .now = clock_now()};
    step(server, &timer, &update);
    while (true) {
        uint64_t now_us = clock_now().mono_us;
        uint64_t wait_ms = 0;
        if (update.deadline_mono_us > now_us) {
            wait_ms = (update.deadline_mono_us - now_us + 999) / 1000;
            wait_ms = wait_ms < RECEIVE_MAX_MS ? wait_ms : RECEIVE_MAX_MS;
        }
        size_t count = mailbox_receive(server->mail, items, MAIL_BATCH_MAX, wait_ms);
        if (count == 0 && mailbox_closed(server->mail))
            break;
        for (size_t i = 0; i < count; i++)
            handle(server, items[i], &update);
        timer.now = clock_now();
        if (timer.now.mono_us >= update.deadline_mono_us)
            step(server, &timer, &update);
        follow_accepting(server);
    }
    region_update_free(&update);
    return NULL;
}
