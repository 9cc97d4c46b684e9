/* The append load: callers that send prepared batches and wait for durable answers.
 *
 * A caller is a call of its own on one of a few connections. With one batch in flight a single thread sends and then
 * waits; with more, a second thread takes the answers, which come in the order of the requests. --unary makes each
 * batch a call of its own instead.
 *
 * Without a rate the loop is closed: a batch is due when the one that it had to wait for was answered. With a rate it
 * is open: batch n is due n intervals after the start, whatever the server does, and its latency is counted from when
 * it was due, so that a stall is charged to all batches that it held up (no coordinated omission).
 *
 * Batches that the server refuses for want of room are counted and not sent again; every other failure ends the
 * benchmark. Each answer must have one result an event. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "bench.h"
#include "platform/clock.h"

enum {
    ANSWER_MAX_BYTES = CHANNEL_MESSAGE_MAX_BYTES,
    BUSY_PAUSE_MS = 1,
    CALLER_STACK_BYTES = 256 * 1024,
};

struct caller {
    struct bench_append *append;
    size_t number;
    struct channel *channel;
    struct channel_call *call; /* NULL with --unary */
    struct load *load;
    struct buf answer;
    pthread_t sender, receiver;
    bool sender_started, receiver_started;
    pthread_mutex_t mutex; /* of everything below */
    pthread_cond_t changed;
    uint64_t *due_us; /* ring of in_flight times */
    uint64_t sent;
    uint64_t answered;
    bool done_sending;
    struct err failure;
    struct bench_append_counts counts;
};

struct bench_append {
    struct bench_config config;
    struct channel *channels[BENCH_CONNECTIONS_MAX];
    struct caller *callers;
    size_t caller_count;
    uint64_t start_us;
    atomic_uint_fast64_t batches_left;
    atomic_uint_fast64_t end_us; /* when the last answer came */
    atomic_size_t running;
    atomic_bool stop;
};

/* --- One caller --- */

static void set_failure(struct caller *caller, int code, const struct err *err)
{
    pthread_mutex_lock(&caller->mutex);
    if (caller->failure.code == 0) {
        caller->failure = *err;
        caller->failure.code = code;
    }
    pthread_cond_broadcast(&caller->changed);
    pthread_mutex_unlock(&caller->mutex);
    atomic_store(&caller->append->stop, true);
}

/* Whether there is one more batch to send. */
static bool take_batch(struct bench_append *append)
{
    const struct bench_config *config = &append->config;
    if (atomic_load(&append->stop))
        return false;
    if (config->seconds != 0 && clock_now().mono_us - append->start_us >= config->seconds * 1000000)
        return false;
    if (config->events == 0)
        return true;
    uint64_t left = atomic_load(&append->batches_left);
    while (left > 0 && !atomic_compare_exchange_weak(&append->batches_left, &left, left - 1)) {
    }
    return left > 0;
}

/* When the caller's batch `number` is due; waits until then. */
static uint64_t wait_until_due(const struct caller *caller, uint64_t number)
{
    const struct bench_append *append = caller->append;
    const struct bench_config *config = &append->config;
    uint64_t now_us = clock_now().mono_us;
    if (config->rate == 0)
        return now_us;
    double turn = (double)number * (double)append->caller_count + (double)caller->number;
    uint64_t due_us = append->start_us + (uint64_t)(turn * (double)config->batch * 1e6 / (double)config->rate);
    while (now_us < due_us && !atomic_load(&append->stop)) {
        clock_sleep_us(due_us - now_us < 100000 ? due_us - now_us : 100000);
        now_us = clock_now().mono_us;
    }
    return due_us;
}

static int check_answer(struct caller *caller, struct load_answer *found, struct err *err)
{
    const struct bench_config *config = &caller->append->config;
    int rc = load_check_answer(buf_bytes(&caller->answer), found, err);
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

/* Takes one answer into account; `due_us` is of its batch. */
static void count_answer(struct caller *caller, const struct load_answer *found, uint64_t due_us)
{
    uint64_t now_us = clock_now().mono_us;
    uint64_t batch = caller->append->config.batch;
    pthread_mutex_lock(&caller->mutex);
    struct bench_append_counts *counts = &caller->counts;
    if (found->refused) {
        counts->refused += batch;
    } else {
        counts->events += found->results - found->duplicates;
        counts->duplicates += found->duplicates;
        counts->batches++;
        histogram_add(&counts->latency, now_us - due_us);
    }
    caller->answered++;
    pthread_cond_broadcast(&caller->changed);
    pthread_mutex_unlock(&caller->mutex);
    atomic_store(&caller->append->end_us, now_us);
    if (found->refused)
        clock_sleep_ms(BUSY_PAUSE_MS);
}

static int receive(struct caller *caller, struct err *err)
{
    struct load_answer found;
    buf_clear(&caller->answer);
    int rc = channel_call_read(caller->call, &caller->answer, NULL, err);
    if (rc == 0)
        rc = check_answer(caller, &found, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&caller->mutex);
    uint64_t due_us = caller->due_us[caller->answered % caller->append->config.in_flight];
    pthread_mutex_unlock(&caller->mutex);
    count_answer(caller, &found, due_us);
    return 0;
}

static void note_sent(struct caller *caller, uint64_t due_us)
{
    pthread_mutex_lock(&caller->mutex);
    caller->due_us[caller->sent % caller->append->config.in_flight] = due_us;
    caller->sent++;
    pthread_cond_broadcast(&caller->changed);
    pthread_mutex_unlock(&caller->mutex);
}

static int call_once(struct caller *caller, uint64_t due_us, struct err *err)
{
    struct load_answer found = {0};
    struct bytes request = load_next(caller->load, clock_now().wall_us / 1000);
    note_sent(caller, due_us);
    buf_clear(&caller->answer);
    int rc = channel_unary(caller->channel, "/tally.v1.Ledger/Append", request, caller->append->config.timeout_ms,
                           &caller->answer, NULL, err);
    if (rc == ERR_BUSY)
        found.refused = true;
    else if (rc == 0)
        rc = check_answer(caller, &found, err);
    if (rc == 0 || rc == ERR_BUSY)
        count_answer(caller, &found, due_us);
    return rc == ERR_BUSY ? 0 : rc;
}

/* Waits for a free place, so that `due` of a closed loop is when the batch could really be sent. */
static bool wait_for_place(struct caller *caller)
{
    pthread_mutex_lock(&caller->mutex);
    while (caller->failure.code == 0 && caller->sent - caller->answered == caller->append->config.in_flight)
        pthread_cond_wait(&caller->changed, &caller->mutex);
    bool good = caller->failure.code == 0;
    pthread_mutex_unlock(&caller->mutex);
    return good;
}

static int send_one(struct caller *caller, uint64_t due_us, struct err *err)
{
    note_sent(caller, due_us);
    return channel_call_write(caller->call, load_next(caller->load, clock_now().wall_us / 1000), err);
}

static void *send_all(void *context)
{
    struct caller *caller = context;
    bool alone = caller->append->config.in_flight == 1;
    struct err err = {0};
    int rc = 0;
    for (uint64_t number = 0; rc == 0 && wait_for_place(caller) && take_batch(caller->append); number++) {
        uint64_t due_us = wait_until_due(caller, number);
        if (caller->call == NULL)
            rc = call_once(caller, due_us, &err);
        else
            rc = send_one(caller, due_us, &err);
        if (rc == 0 && caller->call != NULL && alone)
            rc = receive(caller, &err);
    }
    if (rc == 0 && caller->call != NULL)
        rc = channel_call_writes_done(caller->call, &err);
    if (rc != 0)
        set_failure(caller, rc, &err);
    pthread_mutex_lock(&caller->mutex);
    caller->done_sending = true;
    pthread_cond_broadcast(&caller->changed);
    pthread_mutex_unlock(&caller->mutex);
    atomic_fetch_sub(&caller->append->running, 1);
    return NULL;
}

/* Whether another answer is to come. */
static bool expects_answer(struct caller *caller)
{
    pthread_mutex_lock(&caller->mutex);
    while (caller->failure.code == 0 && caller->sent == caller->answered && !caller->done_sending)
        pthread_cond_wait(&caller->changed, &caller->mutex);
    bool expects = caller->failure.code == 0 && caller->sent > caller->answered;
    pthread_mutex_unlock(&caller->mutex);
    return expects;
}

static void *receive_all(void *context)
{
    struct caller *caller = context;
    struct err err = {0};
    int rc = 0;
    while (rc == 0 && expects_answer(caller))
        rc = receive(caller, &err);
    if (rc != 0) {
        set_failure(caller, rc, &err);
        channel_call_cancel(caller->call); /* the sender may wait for flow control */
    }
    atomic_fetch_sub(&caller->append->running, 1);
    return NULL;
}

/* --- All of them --- */

static int start_thread(pthread_t *thread, void *(*run)(void *), struct caller *caller, struct err *err)
{
    pthread_attr_t attributes;
    INVARIANT(pthread_attr_init(&attributes) == 0);
    INVARIANT(pthread_attr_setstacksize(&attributes, CALLER_STACK_BYTES) == 0);
    atomic_fetch_add(&caller->append->running, 1);
    int failure = pthread_create(thread, &attributes, run, caller);
    pthread_attr_destroy(&attributes);
    if (failure != 0)
        atomic_fetch_sub(&caller->append->running, 1);
    return failure == 0 ? 0 : err_errno(err, failure, "a thread for a caller");
}

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
    caller->number = number;
    caller->channel = append->channels[number % (size_t)config->connections];
    buf_init(&caller->answer, ANSWER_MAX_BYTES);
    histogram_init(&caller->counts.latency);
    INVARIANT(pthread_mutex_init(&caller->mutex, NULL) == 0);
    INVARIANT(pthread_cond_init(&caller->changed, NULL) == 0);
    append->caller_count++;
    caller->due_us = mem_alloc_zero((size_t)config->in_flight, sizeof(*caller->due_us));
    if (caller->due_us == NULL)
        return err_no_memory(err, "a caller");
    int rc = load_new(&shape, seed, &caller->load, err);
    if (rc == 0 && !config->unary)
        rc = channel_call_open(caller->channel, "/tally.v1.Ledger/AppendStream", 0, &caller->call, err);
    return rc;
}

static int start_caller(struct caller *caller, struct err *err)
{
    int rc = start_thread(&caller->sender, send_all, caller, err);
    if (rc != 0)
        return rc;
    caller->sender_started = true;
    if (caller->call == NULL || caller->append->config.in_flight == 1)
        return 0;
    rc = start_thread(&caller->receiver, receive_all, caller, err);
    caller->receiver_started = rc == 0;
    return rc;
}

int bench_append_start(const struct bench_config *config, struct bench_append **ret, struct err *err)
{
    struct bench_append *append = mem_alloc_zero(1, sizeof(*append));
    if (append == NULL)
        return err_no_memory(err, "a load");
    append->config = *config;
    append->callers = mem_alloc_zero((size_t)config->callers, sizeof(*append->callers));
    atomic_store(&append->batches_left, (config->events + config->batch - 1) / config->batch);
    int rc = append->callers == NULL ? err_no_memory(err, "callers") : 0;
    for (size_t i = 0; rc == 0 && i < config->connections; i++)
        rc = channel_open(config->server, &append->channels[i], err);
    for (size_t i = 0; rc == 0 && i < config->callers; i++)
        rc = open_caller(append, i, err);
    append->start_us = clock_now().mono_us;
    atomic_store(&append->end_us, append->start_us);
    for (size_t i = 0; rc == 0 && i < config->callers; i++)
        rc = start_caller(&append->callers[i], err);
    if (rc != 0) {
        struct err ignored = {0};
        for (size_t i = 0; i < append->caller_count; i++)
            set_failure(&append->callers[i], rc, err == NULL ? &ignored : err);
        rc = bench_append_join(append, err);
        bench_append_free(append);
        return rc;
    }
    *ret = append;
    return 0;
}

void bench_append_counts(struct bench_append *append, struct bench_append_counts *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < append->caller_count; i++) {
        struct caller *caller = &append->callers[i];
        pthread_mutex_lock(&caller->mutex);
        ret->events += caller->counts.events;
        ret->duplicates += caller->counts.duplicates;
        ret->refused += caller->counts.refused;
        ret->batches += caller->counts.batches;
        histogram_merge(&ret->latency, &caller->counts.latency);
        pthread_mutex_unlock(&caller->mutex);
    }
    ret->elapsed_us = atomic_load(&append->end_us) - append->start_us;
}

bool bench_append_finished(struct bench_append *append)
{
    return atomic_load(&append->running) == 0;
}

void bench_append_stop(struct bench_append *append)
{
    atomic_store(&append->stop, true);
}

int bench_append_join(struct bench_append *append, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < append->caller_count; i++) {
        struct caller *caller = &append->callers[i];
        if (caller->sender_started)
            (void)pthread_join(caller->sender, NULL);
        if (caller->receiver_started)
            (void)pthread_join(caller->receiver, NULL);
        if (rc == 0 && caller->failure.code != 0)
            rc = err_set(err, caller->failure.code, "%s", caller->failure.message);
    }
    return rc;
}

void bench_append_free(struct bench_append *append)
{
    if (append == NULL)
        return;
    for (size_t i = 0; i < append->caller_count; i++) {
        struct caller *caller = &append->callers[i];
        channel_call_close(caller->call);
        load_free(caller->load);
        buf_free(&caller->answer);
        mem_free(caller->due_us);
        pthread_cond_destroy(&caller->changed);
        pthread_mutex_destroy(&caller->mutex);
    }
    for (size_t i = 0; i < BENCH_CONNECTIONS_MAX; i++)
        channel_close(append->channels[i]);
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
    while (bench_live() && !bench_append_finished(append)) {
        clock_sleep_ms(BENCH_REDRAW_MS);
        bench_append_counts(append, &counts);
        bench_show_live(&counts, 0);
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
