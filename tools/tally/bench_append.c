/* The append load: callers that send prepared batches and wait for durable answers.
 *
 * A caller is a call of its own on one of a few connections, with so many batches under way; --unary makes each batch a
 * call of its own instead. One thread drives all of them, on one queue (client/channel.h): client and server often
 * share the machine that is measured, and with a thread for each caller most of the load's cost is handing over.
 *
 * Without a rate the loop is closed: a batch is due when the one that it had to wait for was answered. With a rate it
 * is open: batch n is due n intervals after the start, whatever the server does, and its latency is counted from when
 * it was due, so that a stall is charged to all batches that it held up (no coordinated omission). Batches are the
 * callers' in turn; one whose caller has no place free waits for it, and others do not wait for that one.
 *
 * Batches that the server refuses for want of room are counted and not sent again, and their caller pauses; every other
 * failure ends the benchmark. Each answer must have one result an event. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/queue.h"
#include "bench.h"
#include "connect.h"
#include "platform/clock.h"

enum {
    ANSWER_MAX_BYTES = CHANNEL_MESSAGE_MAX_BYTES,
    BUSY_PAUSE_US = 1000,
    LOOK_US = 100 * 1000, /* how often the thread looks whether it is to stop */
};

struct caller {
    struct bench_append *append;
    struct channel *channel;
    struct channel_call *call; /* NULL with --unary */
    struct load *load;
    uint64_t *due_us;    /* ring of in_flight times */
    uint64_t due;        /* batches that may be sent by now; without a rate all may */
    uint64_t first_turn; /* the number of its first batch among all callers' */
    uint64_t sent;
    uint64_t answered;
    bool writing;
    bool paused;
    uint64_t paused_until_us;
    struct queue_link link; /* among those that pause */
};

struct bench_append {
    struct bench_config config;
    struct channel *channels[BENCH_CONNECTIONS_MAX];
    struct channel_queue *queue;
    struct caller *callers;
    size_t caller_count;
    struct buf answer;
    pthread_t thread;
    bool started;
    struct queue_link paused; /* in the order in which they go on */
    uint64_t turn;            /* with a rate: batches that have come due */
    uint64_t batches_taken;
    uint64_t under_way;
    uint64_t start_us;
    struct err failure;
    atomic_uint_fast64_t end_us; /* when the last answer came */
    atomic_bool running;
    atomic_bool stop;
    pthread_mutex_t mutex; /* of counts */
    struct bench_append_counts counts;
};

/* --- Sending --- */

/* Whether there is one more batch to send. */
static bool take_batch(struct bench_append *append, uint64_t now_us)
{
    const struct bench_config *config = &append->config;
    if (atomic_load(&append->stop) || append->failure.code != 0)
        return false;
    if (config->seconds != 0 && now_us - append->start_us >= config->seconds * 1000000)
        return false;
    if (config->events != 0 && append->batches_taken * config->batch >= config->events)
        return false;
    append->batches_taken++;
    return true;
}

static uint64_t turn_due_us(const struct bench_append *append, uint64_t turn)
{
    const struct bench_config *config = &append->config;
    return append->start_us + (uint64_t)((double)turn * (double)config->batch * 1e6 / (double)config->rate);
}

static bool may_send(const struct caller *caller)
{
    const struct bench_config *config = &caller->append->config;
    return !caller->writing && !caller->paused && caller->sent - caller->answered < config->in_flight &&
           (config->rate == 0 || caller->sent < caller->due);
}

static int send_batch(struct caller *caller, uint64_t now_us)
{
    struct bench_append *append = caller->append;
    const struct bench_config *config = &append->config;
    struct bytes request = load_next(caller->load, clock_now().wall_us / 1000);
    uint64_t turn = caller->first_turn + caller->sent * append->caller_count;
    caller->due_us[caller->sent % config->in_flight] = config->rate == 0 ? now_us : turn_due_us(append, turn);
    caller->sent++;
    append->under_way++;
    if (caller->call == NULL)
        return channel_queue_unary(append->queue, caller->channel, "/tally.v1.Ledger/Append", request,
                                   config->timeout_ms, caller, &append->failure);
    if (config->in_flight == 1)
        return channel_queue_ask(caller->call, request, &append->failure);
    caller->writing = true;
    return channel_queue_write(caller->call, request, &append->failure);
}

/* Whatever the caller may send now. */
static int send_all(struct caller *caller)
{
    int rc = 0;
    while (rc == 0 && may_send(caller)) {
        uint64_t now_us = clock_now().mono_us;
        if (!take_batch(caller->append, now_us))
            return 0;
        rc = send_batch(caller, now_us);
    }
    return rc;
}

/* --- Answers --- */

static int check_answer(struct bench_append *append, struct load_answer *found, struct err *err)
{
    const struct bench_config *config = &append->config;
    int rc = load_check_answer(buf_bytes(&append->answer), found, err);
    if (rc != 0)
        return rc;
    if (found->refused && found->code != ERR_BUSY)
        return err_set(err, found->code == 0 ? ERR_CORRUPT : found->code, "%.*s", (int)found->reason.size_bytes,
                       (const char *)found->reason.data);
    if (!found->refused && found->results != config->batch)
        return err_set(err, ERR_CORRUPT, "a batch of %" PRIu64 " events was answered with %zu results", config->batch,
                       found->results);
    return 0;
}

static void count_answer(struct caller *caller, const struct load_answer *found, uint64_t now_us)
{
    struct bench_append *append = caller->append;
    uint64_t due_us = caller->due_us[caller->answered % append->config.in_flight];
    pthread_mutex_lock(&append->mutex);
    struct bench_append_counts *counts = &append->counts;
    if (found->refused) {
        counts->refused += append->config.batch;
    } else {
        counts->events += found->results - found->duplicates;
        counts->duplicates += found->duplicates;
        counts->batches++;
        histogram_add(&counts->latency, now_us - due_us);
    }
    pthread_mutex_unlock(&append->mutex);
    caller->answered++;
    append->under_way--;
    atomic_store(&append->end_us, now_us);
    if (!found->refused || caller->paused)
        return;
    caller->paused = true;
    caller->paused_until_us = now_us + BUSY_PAUSE_US;
    queue_push_back(&append->paused, &caller->link);
}

static int take_answer(struct caller *caller, struct channel_call *call)
{
    struct bench_append *append = caller->append;
    struct load_answer found = {0};
    struct err *err = &append->failure;
    buf_clear(&append->answer);
    int rc = channel_queue_take(call, &append->answer, NULL, err);
    if (rc == ERR_BUSY && caller->call == NULL) {
        found.refused = true;
        rc = 0;
    } else if (rc == 0) {
        rc = check_answer(append, &found, err);
    }
    if (rc != 0)
        return rc;
    append->failure = (struct err){0};
    count_answer(caller, &found, clock_now().mono_us);
    if (caller->call != NULL && append->config.in_flight > 1)
        channel_queue_read(caller->call);
    return 0;
}

/* --- The thread --- */

/* With a rate: gives callers the batches that have come due. *ret_us: when the next one does. */
static int let_come_due(struct bench_append *append, uint64_t now_us, uint64_t *ret_us)
{
    int rc = 0;
    while (rc == 0 && turn_due_us(append, append->turn) <= now_us) {
        struct caller *caller = &append->callers[append->turn++ % append->caller_count];
        caller->due++;
        rc = send_all(caller);
    }
    *ret_us = turn_due_us(append, append->turn);
    return rc;
}

static int let_go_on(struct bench_append *append, uint64_t now_us, uint64_t *ret_us)
{
    int rc = 0;
    while (rc == 0 && !queue_empty(&append->paused)) {
        struct caller *caller = QUEUE_ITEM(append->paused.next, struct caller, link);
        if (caller->paused_until_us > now_us) {
            *ret_us = caller->paused_until_us < *ret_us ? caller->paused_until_us : *ret_us;
            break;
        }
        queue_remove(&caller->link);
        caller->paused = false;
        rc = send_all(caller);
    }
    return rc;
}

static int handle(const struct channel_event *event)
{
    struct caller *caller = event->context;
    int rc = 0;
    if (event->happened == CHANNEL_WRITTEN)
        caller->writing = false;
    else
        rc = take_answer(caller, event->call);
    return rc == 0 ? send_all(caller) : rc;
}

/* Whether a batch will still be sent, or an answer is to come. */
static bool goes_on(const struct bench_append *append, uint64_t now_us)
{
    const struct bench_config *config = &append->config;
    bool over = atomic_load(&append->stop) ||
                (config->seconds != 0 && now_us - append->start_us >= config->seconds * 1000000) ||
                (config->events != 0 && append->batches_taken * config->batch >= config->events);
    return append->under_way > 0 || !over;
}

static void *drive(void *context)
{
    struct bench_append *append = context;
    bool timed = append->config.rate != 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < append->caller_count; i++) {
        if (append->callers[i].call != NULL && append->config.in_flight > 1)
            channel_queue_read(append->callers[i].call);
        rc = send_all(&append->callers[i]);
    }
    while (rc == 0) {
        struct channel_event event;
        uint64_t now_us = clock_now().mono_us;
        uint64_t next_us = now_us + LOOK_US;
        if (!goes_on(append, now_us))
            break;
        if (timed)
            rc = let_come_due(append, now_us, &next_us);
        if (rc == 0)
            rc = let_go_on(append, now_us, &next_us);
        next_us = next_us < now_us + LOOK_US ? next_us : now_us + LOOK_US;
        if (rc == 0 && channel_queue_next(append->queue, next_us, &event))
            rc = handle(&event);
    }
    append->failure.code = rc;
    atomic_store(&append->running, false);
    return NULL;
}

/* --- All of them --- */

static int open_caller(struct bench_append *append, size_t number, struct err *err)
{
    struct caller *caller = &append->callers[number];
    const struct bench_config *config = &append->config;
    struct load_shape shape = {.context = config->context,
                               .partition = config->partition,
                               .events = (size_t)config->batch,
                               .payload_bytes = (size_t)config->payload_bytes,
                               .streams = config->streams};
    uint64_t seed = 0;
    entropy_fill(&seed, sizeof(seed));
    caller->append = append;
    caller->first_turn = number;
    caller->channel = append->channels[number % (size_t)config->connections];
    append->caller_count++;
    caller->due_us = mem_alloc_zero((size_t)config->in_flight, sizeof(*caller->due_us));
    if (caller->due_us == NULL)
        return err_no_memory(err, "a caller");
    int rc = load_new(&shape, seed, &caller->load, err);
    if (rc == 0 && !config->unary)
        rc = channel_queue_open(append->queue, caller->channel, "/tally.v1.Ledger/AppendStream", caller, &caller->call,
                                err);
    return rc;
}

static int open_all(struct bench_append *append, struct err *err)
{
    const struct bench_config *config = &append->config;
    append->callers = mem_alloc_zero((size_t)config->callers, sizeof(*append->callers));
    int rc = append->callers == NULL ? err_no_memory(err, "callers") : channel_queue_new(&append->queue, err);
    for (size_t i = 0; rc == 0 && i < config->connections; i++)
        rc = connect_channel(config->server, &append->channels[i], err);
    for (size_t i = 0; rc == 0 && i < config->callers; i++)
        rc = open_caller(append, i, err);
    return rc;
}

int bench_append_start(const struct bench_config *config, struct bench_append **ret, struct err *err)
{
    struct bench_append *append = mem_alloc_zero(1, sizeof(*append));
    if (append == NULL)
        return err_no_memory(err, "a load");
    append->config = *config;
    buf_init(&append->answer, ANSWER_MAX_BYTES);
    queue_init(&append->paused);
    histogram_init(&append->counts.latency);
    INVARIANT(pthread_mutex_init(&append->mutex, NULL) == 0);
    int rc = open_all(append, err);
    append->start_us = clock_now().mono_us;
    atomic_store(&append->end_us, append->start_us);
    atomic_store(&append->running, true);
    if (rc == 0 && pthread_create(&append->thread, NULL, drive, append) != 0)
        rc = err_set(err, ERR_BUSY, "no thread for the load: too many are running");
    if (rc != 0) {
        bench_append_free(append);
        return rc;
    }
    append->started = true;
    *ret = append;
    return 0;
}

void bench_append_counts(struct bench_append *append, struct bench_append_counts *ret)
{
    pthread_mutex_lock(&append->mutex);
    *ret = append->counts;
    pthread_mutex_unlock(&append->mutex);
    ret->elapsed_us = atomic_load(&append->end_us) - append->start_us;
}

bool bench_append_finished(struct bench_append *append)
{
    return !atomic_load(&append->running);
}

void bench_append_stop(struct bench_append *append)
{
    atomic_store(&append->stop, true);
}

int bench_append_join(struct bench_append *append, struct err *err)
{
    PRE(append->started);
    (void)pthread_join(append->thread, NULL);
    if (append->failure.code == 0)
        return 0;
    return err_set(err, append->failure.code, "%s", append->failure.message);
}

void bench_append_free(struct bench_append *append)
{
    if (append == NULL)
        return;
    channel_queue_free(append->queue);
    for (size_t i = 0; i < append->caller_count; i++) {
        load_free(append->callers[i].load);
        mem_free(append->callers[i].due_us);
    }
    for (size_t i = 0; i < BENCH_CONNECTIONS_MAX; i++)
        channel_close(append->channels[i]);
    buf_free(&append->answer);
    pthread_mutex_destroy(&append->mutex);
    mem_free(append->callers);
    mem_free(append);
}

int bench_run_append(const struct bench_config *config, struct err *err)
{
    struct bench_append *append = NULL;
    struct bench_append_counts counts;
    int rc = bench_append_start(config, &append, err);
    if (rc != 0)
        return rc;
    struct bench_drawn drawn = {0};
    while (bench_live() && !bench_append_finished(append)) {
        clock_sleep_ms(BENCH_REDRAW_MS);
        bench_append_counts(append, &counts);
        bench_show_live(&drawn, counts.events, clock_now().mono_us - append->start_us, &counts.latency, NULL);
    }
    rc = bench_append_join(append, err);
    bench_append_counts(append, &counts);
    bench_append_free(append);
    bench_clear_live();
    if (rc != 0)
        return rc;
    if (config->json)
        return print_json(bench_json_append(&counts, config), err);
    bench_show_append(&counts, config);
    return 0;
}
