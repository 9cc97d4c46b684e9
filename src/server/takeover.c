/* Automatic failover: a thread that carries out what region/takeover.h orders, with etcd (outside/etcd.h) and with the
 * region itself.
 *
 * At each step it asks the region's thread what is lost. So a region whose sequencer is stuck does not renew its lease:
 * what holds the lease is not a process, but a region that decides. It stops without giving its lease back: a restart
 * that is quicker than the lease is nobody's loss.
 *
 * Everybody goes on without this thread, and it waits for nobody longer than a timeout, but for the region. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "outside/etcd.h"
#include "rpc/operation.h"
#include "server/internal.h"

enum { STEP_MIN_MS = 20 };

struct guard {
    struct server *server;
    pthread_t thread;
    struct etcd *etcd;

    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stopping;
    struct takeover_status status; /* as of the last step */

    /* The thread's own. */
    struct takeover takeover;
    struct takeover_view view;
    size_t loss_count;
    struct region_loss losses[CONTEXT_PLACES_MAX];
    struct takeover_status told; /* what alarms were about */
    struct region_failover_report report;
};

/* --- The region --- */

static int answer_losses(struct server *server, struct question *question)
{
    struct guard *guard = question->ret;
    guard->loss_count = region_losses(server->region, guard->losses);
    return 0;
}

static int ask_losses(struct guard *guard)
{
    struct err err = {0};
    struct question question = {.answer = answer_losses, .ret = guard, .err = &err};
    return server_ask(guard->server, &question);
}

static const char *failed_check(const struct region_failover_report *report)
{
    for (size_t i = 0; i < report->check_count; i++) {
        if (!report->checks[i].ok)
            return report->checks[i].name;
    }
    return NULL;
}

static int decide(struct guard *guard, struct region_control *control, struct arena *arena, struct takeover_answer *ret)
{
    struct rpc_backend *backend = &guard->server->backend;
    struct rpc_append *append = arena_alloc_zero(arena, 1, sizeof(*append));
    int code = append == NULL ? err_no_memory(&ret->err, "a failover") : 0;
    if (code == 0)
        code = operation_projections_behind(backend, arena, &control->projections_behind, &ret->err);
    if (code != 0)
        return code;
    append->command.control = control;
    operation_decide(backend, NULL, append);
    ret->remaining = control->remaining;
    ret->err = append->command.refusal.err;
    return append->command.refusal.code;
}

/* The failover that an operator would ask for, unforced. */
static void seize(struct guard *guard, const struct takeover_order *order, struct takeover_answer *ret)
{
    enum { ARENA_MAX_BYTES = 1024 * 1024 };
    struct arena arena;
    char reason[CONTROL_REASON_MAX_BYTES];
    int size = snprintf(reason, sizeof(reason), "etcd: the lease of region %s has ended; claim of revision %llu",
                        order->home, (unsigned long long)order->revision);
    struct region_control control = {.type = REGION_FAILOVER,
                                     .context = bytes_of_string(order->context),
                                     .actor = BYTES_LITERAL("automatic"),
                                     .reason = bytes_of(reason, (size_t)size),
                                     .until_us = order->until_us,
                                     .report = &guard->report};
    copy_string(control.region, sizeof(control.region), order->home);
    memset(&guard->report, 0, sizeof(guard->report));
    memset(ret, 0, sizeof(*ret));
    arena_init(&arena, ARENA_MAX_BYTES);
    ret->code = decide(guard, &control, &arena, ret);
    ret->check = ret->code == 0 ? NULL : failed_check(&guard->report);
    arena_free(&arena);
    if (ret->code == 0)
        server_say(guard->server,
                   "ALARM: seized %zu partitions of context %s from region %s by the claim of revision %llu",
                   control.changed, order->context, order->home, (unsigned long long)order->revision);
}

/* --- Telling --- */

static bool is_alarming(enum takeover_stage stage)
{
    return stage == TAKEOVER_UNARMED || stage == TAKEOVER_UNKNOWN || stage == TAKEOVER_NOT_READY ||
           stage == TAKEOVER_REFUSED;
}

static bool same_loss(const struct takeover_status *a, const struct takeover_status *b)
{
    return a->stage == b->stage && strcmp(a->context, b->context) == 0 && strcmp(a->home, b->home) == 0 &&
           a->check == b->check;
}

static void tell(struct guard *guard, const struct takeover_status *status)
{
    const struct server *server = guard->server;
    if (status->state != guard->told.state && status->state == TAKEOVER_DEGRADED)
        server_say(
            server,
            "ALARM: automatic failover is DEGRADED to assisted, nobody is seized from by itself, appends go on: %s",
            status->detail);
    if (status->state != guard->told.state && status->state == TAKEOVER_ARMED)
        server_say(server, "automatic failover is armed, with a lease of %llu s in etcd",
                   (unsigned long long)(status->lease_us / 1000000));
    if (!same_loss(status, &guard->told) && status->stage != TAKEOVER_NOTHING)
        server_say(server, "%s%s", is_alarming(status->stage) ? "ALARM: " : "", status->loss);
    guard->told = *status;
}

static void publish(struct guard *guard)
{
    struct takeover_status status;
    takeover_status(&guard->takeover, clock_now().mono_us, guard->losses, guard->loss_count, &status);
    tell(guard, &status);
    pthread_mutex_lock(&guard->mutex);
    guard->status = status;
    pthread_mutex_unlock(&guard->mutex);
}

/* --- The thread --- */

/* False: the server stops. */
static bool pause_until(struct guard *guard, uint64_t until_us)
{
    uint64_t least_us = clock_now().mono_us + STEP_MIN_MS * 1000;
    uint64_t wake_us = until_us > least_us ? until_us : least_us;
    struct timespec until = {.tv_sec = (time_t)(wake_us / 1000000), .tv_nsec = (long)(wake_us % 1000000) * 1000};
    int waited = 0;
    pthread_mutex_lock(&guard->mutex);
    while (!guard->stopping && waited == 0)
        waited = pthread_cond_timedwait(&guard->stopped, &guard->mutex, &until);
    bool stopping = guard->stopping;
    pthread_mutex_unlock(&guard->mutex);
    return !stopping;
}

static void *run(void *context)
{
    struct guard *guard = context;
    struct takeover_answer answer;
    bool answered = false;
    while (!atomic_load(&guard->server->stopping)) {
        struct takeover_order order;
        int code = ask_losses(guard);
        if (code == ERR_UNAVAILABLE)
            break; /* the region's thread has stopped */
        if (code != 0) {
            (void)pause_until(guard, 0); /* without memory it could not ask; nobody would guard it any more */
            continue;
        }
        takeover_step(&guard->takeover, clock_now().mono_us, answered ? &answer : NULL, guard->losses,
                      guard->loss_count, &order);
        publish(guard);
        uint64_t sent_us = clock_now().mono_us;
        if (order.type == TAKEOVER_PAUSE) {
            memset(&answer, 0, sizeof(answer));
            if (!pause_until(guard, order.until_us))
                break;
        } else if (order.type == TAKEOVER_SEIZE) {
            seize(guard, &order, &answer);
        } else {
            etcd_carry_out(guard->etcd, &order, &guard->view, &answer);
        }
        answer.sent_us = sent_us;
        answered = true;
    }
    return NULL;
}

int guard_start(struct server *server, struct guard **ret, struct err *err)
{
    const struct etcd_config *config = &server->config->etcd;
    pthread_condattr_t attributes;
    if (config->endpoint_count == 0)
        return 0;
    struct guard *guard = mem_alloc_zero(1, sizeof(*guard));
    if (guard == NULL)
        return err_no_memory(err, "automatic failover");
    guard->server = server;
    takeover_init(&guard->takeover, config->region, config->lease_s * 1000000, clock_now().mono_us);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&guard->mutex, NULL);
    pthread_cond_init(&guard->stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    int code = etcd_new(config, &server->stopping, &guard->etcd, err);
    int failure = code == 0 ? pthread_create(&guard->thread, NULL, run, guard) : 0;
    if (failure != 0)
        code = err_errno(err, failure, "a thread cannot be started");
    if (code != 0) {
        etcd_free(guard->etcd);
        pthread_cond_destroy(&guard->stopped);
        pthread_mutex_destroy(&guard->mutex);
        mem_free(guard);
        return code;
    }
    *ret = guard;
    return 0;
}

void guard_stop(struct guard *guard)
{
    if (guard == NULL)
        return;
    pthread_mutex_lock(&guard->mutex);
    guard->stopping = true;
    pthread_mutex_unlock(&guard->mutex);
    pthread_cond_signal(&guard->stopped);
    pthread_join(guard->thread, NULL);
    etcd_free(guard->etcd);
    pthread_cond_destroy(&guard->stopped);
    pthread_mutex_destroy(&guard->mutex);
    mem_free(guard);
}

static bool any_automatic(const struct context_table *contexts)
{
    for (size_t i = 0; i < context_count(contexts); i++) {
        const struct context *context = context_at(contexts, i);
        if (context != NULL && context->rules.failover == FAILOVER_AUTOMATIC)
            return true;
    }
    return false;
}

void guard_status(struct server *server, struct takeover_status *ret)
{
    struct guard *guard = server->guard;
    memset(ret, 0, sizeof(*ret));
    if (guard == NULL && any_automatic(index_contexts(server->index))) {
        ret->state = TAKEOVER_DEGRADED;
        copy_string(ret->detail, sizeof(ret->detail), "this region has no etcd in its tallyd.yaml");
    }
    if (guard == NULL)
        return;
    pthread_mutex_lock(&guard->mutex);
    *ret = guard->status;
    pthread_mutex_unlock(&guard->mutex);
}
