/* The appender: one thread on one completion queue.
 *
 * With a thread for each call, an append of one event cost some sixty microseconds of processor time, of which most
 * went into handing over: gRPC's poller woke the call's reader, the sequencer the thread that answers, and each call
 * wrote by itself. Here the thread that reads a connection also decodes what came, submits it, and starts the answers
 * of all that became durable together. Per group commit it is woken once, not per event.
 *
 * One poller. gRPC (epoll1) lets one of the threads that wait on its queues poll for all, and hands that duty to the
 * next whenever the first has something to do. So a second waiting thread costs two switches an event without being of
 * use. Therefore this queue alone polls and drives every connection of the server; the queues of other calls are
 * plain ones, whose threads wait on a condition (call.c).
 *
 * The thread waits in gRPC only. What others tell it goes to an inbox (platform/inbox.h), and whoever finds the thread
 * asleep wakes it through its queue. The C interface of gRPC 1.51 has no alarms; what posts to a queue at once is an
 * empty batch of operations, so there is a call that goes nowhere for that purpose, the bell:
 *
 *   inbox_doze, wait on the queue, inbox_rise: `called` says that the bell is still to be heard; until it was, the
 *   thread does not doze again, but may wait, because the bell will end the wait
 *
 * Commands go to the region together, as many as came in one read of a connection: one message, one wake-up of the
 * sequencer, and one block of the log for them. They are handed over when nothing else is there to be read, before
 * answers are written, and at READY_MAX.
 *
 * What takes long is left to helpers: decoding and hashing of large requests, so that one call's megabytes do not delay
 * others' events, and so that several calls' batches use several processors.
 *
 * The bounds: each call has at most one task and a bounded number of batches; calls are counted by the server; of calls
 * that are refused, REFUSALS_MAX may be ending, and until one has ended gRPC is asked for no new call. */
#include "rpc/appender.h"

#include <grpc/support/time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/clock.h"
#include "platform/mailbox.h"
#include "rpc/append_call.h"

enum { HELPERS = 4, REFUSALS_MAX = 64, READY_MAX = 64, TICK_MS = 50 };

struct helper {
    struct mailbox *tasks;
    struct append_tools tools;
    pthread_t thread;
};

struct appender_thread {
    struct appender appender; /* first */
    grpc_server *core;
    grpc_completion_queue *queue;
    void *methods[APPEND_METHODS];
    bool requested[APPEND_METHODS];
    bool closed;  /* core gives out no calls any more */
    bool started; /* threads run */
    bool quit;
    bool is_stopping;
    uint64_t next_tick_us;
    struct rpc_append *ready[READY_MAX];
    size_t ready_count;
    size_t ready_turns; /* events that were taken since the first of them was ready */
    struct inbox inbox;
    grpc_channel *nowhere;
    grpc_call *bell;
    struct appender_tag rung;
    bool called; /* the bell was rung, and has not been taken from the queue */
    struct appender_note stopping, stop;
    pthread_t thread;
    struct mailbox *tasks;
    size_t helper_count; /* that run */
    struct helper helpers[HELPERS];
};

static struct appender_thread *of(struct appender *appender)
{
    return (struct appender_thread *)(void *)appender;
}

/* --- Telling the thread --- */

/* On the thread of who posts. */
static void wake(void *context)
{
    struct appender_thread *thread = context;
    grpc_call_error code = grpc_call_start_batch(thread->bell, NULL, 0, &thread->rung, NULL);
    INVARIANT(code == GRPC_CALL_OK);
}

static void hear(struct appender_tag *tag, bool success)
{
    struct appender_thread *thread = QUEUE_ITEM(tag, struct appender_thread, rung);
    INVARIANT(success && thread->called);
    thread->called = false;
}

void appender_post(struct appender *appender, struct appender_note *note)
{
    inbox_post(&of(appender)->inbox, &note->item);
}

void appender_refuse(struct rpc_append *append, const struct err *err)
{
    append->command.refusal.code = err->code;
    append->command.refusal.err = *err;
    rpc_append_done(append);
}

void appender_flush(struct appender *appender)
{
    struct appender_thread *thread = of(appender);
    struct err err = {0};
    size_t count = thread->ready_count;
    thread->ready_count = 0;
    thread->ready_turns = 0;
    size_t taken = count == 0 ? 0 : appender->backend->ops->submit(appender->backend, thread->ready, count, &err);
    for (size_t i = taken; i < count; i++)
        appender_refuse(thread->ready[i], &err);
}

void appender_submit(struct appender *appender, struct rpc_append *append)
{
    struct appender_thread *thread = of(appender);
    thread->ready[thread->ready_count++] = append;
    if (thread->ready_count == READY_MAX)
        appender_flush(appender);
}

static void take_notes(struct appender_thread *thread)
{
    struct inbox_item *item = inbox_take(&thread->inbox);
    if (item != NULL)
        appender_flush(&thread->appender); /* answers take a while: the region has something to do meanwhile */
    while (item != NULL) {
        struct appender_note *note = (struct appender_note *)(void *)item;
        item = item->next; /* first: the note may be gone after it has arrived */
        note->arrive(note);
    }
}

/* --- The thread --- */

void appender_request(struct appender *appender, enum append_method method, grpc_call **call, gpr_timespec *deadline,
                      grpc_metadata_array *metadata, struct appender_tag *tag)
{
    struct appender_thread *thread = of(appender);
    grpc_call_error code = grpc_server_request_registered_call(thread->core, thread->methods[method], call, deadline,
                                                               metadata, NULL, thread->queue, thread->queue, tag);
    INVARIANT(code == GRPC_CALL_OK);
}

void appender_requested(struct appender *appender, enum append_method method, bool success)
{
    of(appender)->requested[method] = false;
    if (!success)
        of(appender)->closed = true;
}

/* Keeps a call of each method requested. When memory has run out the next turn tries again. */
static void request_calls(struct appender_thread *thread)
{
    for (enum append_method method = 0; method < APPEND_METHODS; method++) {
        if (!thread->requested[method] && !thread->closed && thread->appender.refusing < REFUSALS_MAX)
            thread->requested[method] = append_call_request(&thread->appender, method);
    }
}

static bool wants_ticks(const struct appender_thread *thread)
{
    bool all = thread->requested[APPEND_UNARY] && thread->requested[APPEND_STREAM];
    return thread->appender.restless > 0 || thread->is_stopping || (!all && !thread->closed);
}

static void tick(struct appender_thread *thread)
{
    uint64_t now_us = clock_now().mono_us;
    if (now_us < thread->next_tick_us)
        return;
    thread->next_tick_us = now_us + TICK_MS * 1000;
    struct queue_link *head = &thread->appender.calls;
    for (struct queue_link *link = head->next; link != head; link = link->next)
        append_call_tick(append_call_of(link), now_us);
}

static void complete(grpc_event event)
{
    struct appender_tag *tag = event.tag;
    if (event.type == GRPC_OP_COMPLETE)
        tag->complete(tag, event.success != 0);
}

static void wait_for_event(struct appender_thread *thread, bool ticking)
{
    gpr_timespec until = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (ticking)
        until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(TICK_MS, GPR_TIMESPAN));
    bool dozing = !thread->called && inbox_doze(&thread->inbox);
    if (!dozing && !thread->called)
        return;
    grpc_event event = grpc_completion_queue_next(thread->queue, until, NULL);
    if (dozing)
        thread->called = inbox_rise(&thread->inbox);
    complete(event);
}

/* While commands are ready for the region: takes what is there, and only when nothing is hands them over. */
static void take_event_or_flush(struct appender_thread *thread)
{
    gpr_timespec at_once = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    grpc_event event = grpc_completion_queue_next(thread->queue, at_once, NULL);
    complete(event);
    if (event.type != GRPC_OP_COMPLETE || ++thread->ready_turns == READY_MAX)
        appender_flush(&thread->appender);
}

static void *run(void *context)
{
    struct appender_thread *thread = context;
    while (!thread->quit || thread->requested[APPEND_UNARY] || thread->requested[APPEND_STREAM]) {
        take_notes(thread);
        request_calls(thread);
        bool ticking = wants_ticks(thread);
        if (ticking)
            tick(thread);
        if (thread->ready_count > 0)
            take_event_or_flush(thread);
        else
            wait_for_event(thread, ticking);
    }
    return NULL;
}

/* --- Helpers --- */

static void *help(void *context)
{
    struct helper *helper = context;
    void *task = NULL;
    while (mailbox_receive(helper->tasks, &task, 1, UINT64_MAX) == 1)
        ((struct appender_task *)task)->run(task, &helper->tools);
    return NULL;
}

void appender_help(struct appender *appender, struct appender_task *task)
{
    int code = mailbox_try_send(of(appender)->tasks, task);
    INVARIANT(code == 0); /* it has room for all calls that run */
}

static int start_helpers(struct appender_thread *thread, struct err *err)
{
    for (size_t i = 0; i < HELPERS; i++) {
        if (pthread_create(&thread->helpers[i].thread, NULL, help, &thread->helpers[i]) != 0)
            return err_set(err, ERR_BUSY, "no thread for the gRPC server: too many are running");
        thread->helper_count++;
    }
    return 0;
}

static void stop_helpers(struct appender_thread *thread)
{
    mailbox_close(thread->tasks);
    while (thread->helper_count > 0)
        pthread_join(thread->helpers[--thread->helper_count].thread, NULL);
}

/* --- Starting and stopping --- */

static void begin_stopping(struct appender_note *note)
{
    struct appender_thread *thread = QUEUE_ITEM(note, struct appender_thread, stopping);
    thread->is_stopping = true;
    thread->next_tick_us = 0;
}

static void quit(struct appender_note *note)
{
    QUEUE_ITEM(note, struct appender_thread, stop)->quit = true;
}

static bool alloc_parts(struct appender_thread *thread)
{
    thread->appender.tools.sha = sha256_new();
    thread->tasks = mailbox_new(RPC_CALLS_MAX);
    bool good = thread->appender.tools.sha != NULL && thread->tasks != NULL;
    for (size_t i = 0; i < HELPERS; i++) {
        thread->helpers[i].tasks = thread->tasks;
        thread->helpers[i].tools.sha = sha256_new();
        good = good && thread->helpers[i].tools.sha != NULL;
    }
    return good;
}

static void free_parts(struct appender_thread *thread)
{
    for (size_t i = 0; i < HELPERS; i++)
        sha256_free(thread->helpers[i].tools.sha);
    mailbox_free(thread->tasks);
    sha256_free(thread->appender.tools.sha);
    mem_free(thread);
}

static void make_bell(struct appender_thread *thread)
{
    grpc_slice name = grpc_slice_from_static_string("/bell");
    thread->nowhere = grpc_lame_client_channel_create("nowhere", GRPC_STATUS_UNAVAILABLE, "there is no server");
    thread->bell = grpc_channel_create_call(thread->nowhere, NULL, GRPC_PROPAGATE_DEFAULTS, thread->queue, name, NULL,
                                            gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

int appender_new(struct rpc_server *server, struct rpc_backend *backend, struct appender **ret, struct err *err)
{
    struct appender_thread *thread = mem_alloc_zero(1, sizeof(*thread));
    if (thread == NULL)
        return err_no_memory(err, "the gRPC server");
    thread->appender.server = server;
    thread->appender.backend = backend;
    queue_init(&thread->appender.calls);
    if (!alloc_parts(thread)) {
        free_parts(thread);
        return err_no_memory(err, "the gRPC server");
    }
    thread->rung.complete = hear;
    thread->stopping.arrive = begin_stopping;
    thread->stop.arrive = quit;
    inbox_init(&thread->inbox, wake, thread);
    thread->queue = grpc_completion_queue_create_for_next(NULL);
    make_bell(thread);
    *ret = &thread->appender;
    return 0;
}

void appender_attach(struct appender *appender, grpc_server *core)
{
    static const char *const paths[APPEND_METHODS] = {
        [APPEND_UNARY] = "/tally.v1.Ledger/Append",
        [APPEND_STREAM] = "/tally.v1.Ledger/AppendStream",
    };
    struct appender_thread *thread = of(appender);
    thread->core = core;
    grpc_server_register_completion_queue(core, thread->queue, NULL);
    for (size_t i = 0; i < APPEND_METHODS; i++) {
        thread->methods[i] = grpc_server_register_method(core, paths[i], NULL, GRPC_SRM_PAYLOAD_NONE, 0);
        INVARIANT(thread->methods[i] != NULL);
    }
}

int appender_start(struct appender *appender, struct err *err)
{
    struct appender_thread *thread = of(appender);
    int code = start_helpers(thread, err);
    if (code != 0)
        return code;
    if (pthread_create(&thread->thread, NULL, run, thread) != 0)
        return err_set(err, ERR_BUSY, "no thread for the gRPC server: too many are running");
    thread->started = true;
    return 0;
}

void appender_stopping(struct appender *appender)
{
    appender_post(appender, &of(appender)->stopping);
}

void appender_stop(struct appender *appender)
{
    struct appender_thread *thread = of(appender);
    if (thread->started) {
        appender_post(appender, &thread->stop);
        pthread_join(thread->thread, NULL);
        INVARIANT(queue_empty(&appender->calls));
    }
    stop_helpers(thread);
    inbox_leave(&thread->inbox);
    grpc_call_unref(thread->bell);
    grpc_channel_destroy(thread->nowhere);
    grpc_completion_queue_shutdown(thread->queue);
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    while (grpc_completion_queue_next(thread->queue, never, NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
}

void appender_free(struct appender *appender)
{
    grpc_completion_queue_destroy(of(appender)->queue);
    free_parts(of(appender));
}

grpc_completion_queue *appender_queue(struct appender *appender)
{
    return of(appender)->queue;
}
