/* A worker: one thread that keeps one projection up with the logs (projection/follower.h). Requests are served between
 * two steps, so they see whole states only. Each projection has its own, so that a database far away, or a digest of
 * a large one, keeps no other projection waiting; what lists and status need is copied after each step.
 *
 * A projection that takes payloads of a context which this region may not hold is refused, and one that was there
 * before the context said so stops: it would only ever hold the effects of events without their content.
 *
 * A projection whose SQL fails on an event stops there, in state "failed", with the error. One whose database cannot be
 * reached closes it and tries again, with a pause that grows from RETRY_FIRST_MS to RETRY_LAST_MS; its cursor lies in
 * the database, so nothing is lost or done twice. A rebuild that somebody asked for begins again then. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "domain/residency.h"
#include "server/projector.h"

enum { REQUESTS_MAX = 64, WAIT_MS = 200, RETRY_FIRST_MS = 250, RETRY_LAST_MS = 15000 };

/* --- State --- */

static bool in_postgres(const struct worker *worker)
{
    return worker->database[0] != '\0';
}

static void close_all(struct worker *worker)
{
    follower_free(worker->follower);
    projection_close(worker->projection);
    worker->follower = NULL;
    worker->projection = NULL;
}

static void stop_with(struct worker *worker, enum worker_state state, const struct err *err)
{
    bool again = worker->state == state && strcmp(worker->error, err->message) == 0;
    worker->state = state;
    memcpy(worker->error, err->message, sizeof(worker->error));
    if (!again)
        server_say(worker->server, "projection %s %s: %s", worker->name,
                   state == WORKER_WAITS ? "waits for its database" : "stopped", err->message);
}

static void wait_for_database(struct worker *worker, const struct err *err)
{
    worker->rebuild_again = worker->rebuild_again || (worker->follower != NULL && follower_rebuilds(worker->follower) &&
                                                      follower_reason(worker->follower)[0] == '\0');
    close_all(worker);
    worker->pause_ms = worker->pause_ms == 0 ? RETRY_FIRST_MS : worker->pause_ms * 2;
    if (worker->pause_ms > RETRY_LAST_MS)
        worker->pause_ms = RETRY_LAST_MS;
    worker->retry_at_us = clock_now().mono_us + worker->pause_ms * 1000;
    stop_with(worker, WORKER_WAITS, err);
}

/* What was cut short because the server stops has not failed: it goes on after the next start. */
static void fail(struct worker *worker, int code, const struct err *err)
{
    if (code == ERR_UNAVAILABLE && atomic_load(&worker->server->stopping)) {
        worker->state = WORKER_WAITS;
        worker->retry_at_us = UINT64_MAX;
        return;
    }
    if (code == ERR_UNAVAILABLE && in_postgres(worker))
        wait_for_database(worker, err);
    else
        stop_with(worker, WORKER_FAILED, err);
}

static void follow(struct worker *worker)
{
    if (worker->pause_ms > 0)
        server_say(worker->server, "projection %s: its database is back", worker->name);
    worker->state = WORKER_FOLLOWS;
    worker->error[0] = '\0';
}

int worker_adopt(struct worker *worker, struct projection *projection, struct err *err)
{
    const struct projection_server *server = projection_server_of(projection);
    int code = follower_new(projection, &worker->server->config->region.contexts, &worker->follower, err);
    if (code != 0)
        return code;
    if (server != NULL && worker->database[0] == '\0')
        copy_string(worker->database, sizeof(worker->database), server->name);
    worker->projection = projection;
    follow(worker);
    return 0;
}

struct projection *worker_let_go(struct worker *worker)
{
    struct projection *projection = worker->projection;
    worker->projection = NULL;
    close_all(worker);
    return projection;
}

static int open_projection(struct worker *worker, struct err *err)
{
    const struct projection_servers servers = {.items = worker->server->config->databases,
                                               .count = worker->server->config->database_count};
    const struct projection_bounds bounds = {.stopping = &worker->server->stopping};
    struct projection *projection = NULL;
    int code = projection_open(worker->folder, &servers, &bounds, &projection, err);
    if (code != 0)
        return code;
    code = worker_adopt(worker, projection, err);
    if (code != 0)
        projection_close(projection);
    return code;
}

static int rebuild_again(struct worker *worker, struct err *err)
{
    int code = worker->rebuild_again ? follower_rebuild(worker->follower, err) : 0;
    worker->rebuild_again = worker->rebuild_again && code != 0;
    return code;
}

static void say_status(struct worker *worker);

void worker_open(struct worker *worker)
{
    struct err err = {0};
    int code = open_projection(worker, &err);
    if (code == 0)
        code = rebuild_again(worker, &err);
    if (code != 0)
        fail(worker, code, &err);
    say_status(worker);
}

/* --- What others see --- */

static void describe_state(const struct worker *worker, struct rpc_projection *ret)
{
    bool rebuilds =
        worker->follower != NULL && follower_rebuild_position(worker->follower, &ret->rebuild_position, NULL) == 0;
    const char *reason = rebuilds ? follower_reason(worker->follower) : "";
    if (worker->state == WORKER_FAILED)
        snprintf(ret->state, sizeof(ret->state), "failed");
    else if (worker->state == WORKER_WAITS)
        snprintf(ret->state, sizeof(ret->state), "waiting");
    else if (rebuilds)
        snprintf(ret->state, sizeof(ret->state), "rebuilding%s%s", reason[0] == '\0' ? "" : ": ", reason);
    else
        snprintf(ret->state, sizeof(ret->state), "live");
}

/* Where a projection in PostgreSQL stood stays known while its database is away. */
static void describe(const struct worker *worker, struct rpc_projection *ret)
{
    memcpy(ret->name, worker->name, sizeof(ret->name));
    memcpy(ret->error, worker->error, sizeof(ret->error));
    memcpy(ret->database, worker->database, sizeof(ret->database));
    ret->rebuild_position = (struct position){.count = 0};
    describe_state(worker, ret);
    if (worker->follower == NULL)
        return;
    ret->generation = projection_generation(worker->projection);
    if (follower_position(worker->follower, &ret->position, NULL) != 0)
        ret->position = (struct position){.count = 0};
    char file[64];
    snprintf(file, sizeof(file), "gen-%llu.sqlite", (unsigned long long)ret->generation);
    if (in_postgres(worker) || disk_join(ret->file, worker->folder, file, NULL) != 0)
        ret->file[0] = '\0';
}

static void say_status(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    describe(worker, &worker->said);
    pthread_mutex_unlock(&worker->mutex);
}

void worker_status(struct worker *worker, struct rpc_projection *ret)
{
    pthread_mutex_lock(&worker->mutex);
    *ret = worker->said;
    pthread_mutex_unlock(&worker->mutex);
}

/* --- Requests --- */

static int rebuild(struct worker *worker, struct request *request)
{
    int code = follower_rebuild(worker->follower, request->err);
    if (code != 0)
        return code;
    worker->state = WORKER_FOLLOWS;
    worker->error[0] = '\0';
    say_status(worker);
    worker_status(worker, request->ret);
    return 0;
}

static int digest(struct worker *worker, struct request *request)
{
    struct rpc_projection_digest *ret = request->ret_digest;
    struct hash hash;
    memset(ret, 0, sizeof(*ret));
    if (worker->state == WORKER_FAILED)
        return err_set(request->err, ERR_UNAVAILABLE, "projection %s has stopped: %.300s", worker->name, worker->error);
    int code = projection_db_digest(projection_live(worker->projection), &hash, &ret->row_count, request->err);
    if (code == 0)
        code = follower_position(worker->follower, &ret->position, request->err);
    if (code != 0)
        return code;
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), ret->digest);
    ret->generation = projection_generation(worker->projection);
    return 0;
}

static int preview(struct worker *worker, const struct preview *asked, struct err *err)
{
    struct projection_db *live = projection_live(worker->projection);
    asked->ret->wanted = projection_db_wants(live, asked->event->entry);
    if (!asked->ret->wanted)
        return 0;
    if (worker->state == WORKER_FAILED)
        return err_set(err, ERR_INVALID, "the projection has stopped: %.300s", worker->error);
    int code = follower_position(worker->follower, &asked->ret->position, err);
    return code == 0 ? projection_db_preview(live, asked->event, asked->arena, &asked->ret->rows, err) : code;
}

static int take_snapshot(struct worker *worker, struct request *request)
{
    struct snapshot *ret = request->ret_snapshot;
    int code = follower_known(worker->follower, &ret->known, request->err);
    return code == 0 ? follower_position(worker->follower, &ret->position, request->err) : code;
}

static void release(struct worker *worker)
{
    worker->held_for[0] = '\0';
    if (worker->follower != NULL)
        follower_release(worker->follower);
}

/* A rebuild that goes on would take the place of what is compared. */
static int hold(struct worker *worker, struct hold *hold, struct err *err)
{
    const struct hash *sql = projection_sql_digest(worker->projection);
    struct position position;
    if (worker->state != WORKER_FOLLOWS || follower_rebuilds(worker->follower))
        return err_set(err, ERR_UNAVAILABLE, "projection %s is not live", worker->name);
    if (hold->sql != NULL && !hash_equal(hold->sql, sql))
        return err_set(err, ERR_MISMATCH, "projection %s has other SQL here", worker->name);
    if (worker->held_for[0] != '\0' && strcmp(worker->held_for, hold->peer) != 0)
        return err_set(err, ERR_BUSY, "projection %s is compared with region %s", worker->name, worker->held_for);
    int code = follower_position(worker->follower, &position, err);
    if (code == 0 && hold->at != NULL)
        code = drift_meet(&position, hold->at, &position);
    if (code != 0)
        return code;
    follower_hold(worker->follower, &position);
    snprintf(worker->held_for, sizeof(worker->held_for), "%s", hold->peer);
    worker->held_until_us = clock_now().mono_us + (uint64_t)HOLD_MS * 1000;
    hold->ret_at = position;
    hold->ret_sql = *sql;
    return 0;
}

static int serve(struct worker *worker, struct request *request)
{
    if (worker->state == WORKER_WAITS)
        return err_set(request->err, ERR_UNAVAILABLE, "projection %s waits for its database: %.300s", worker->name,
                       worker->error);
    if (worker->follower == NULL)
        return err_set(request->err, ERR_CORRUPT, "projection %s could not be opened: %.300s", worker->name,
                       worker->error);
    if (request->type == REQUEST_HOLD)
        return hold(worker, request->hold, request->err);
    if (request->type == REQUEST_RELEASE) {
        release(worker);
        return 0;
    }
    if (request->type == REQUEST_PREVIEW)
        return preview(worker, request->preview, request->err);
    if (request->type == REQUEST_SNAPSHOT)
        return take_snapshot(worker, request);
    return request->type == REQUEST_REBUILD ? rebuild(worker, request) : digest(worker, request);
}

static void answer(struct request *request, int code)
{
    pthread_mutex_lock(&request->mutex);
    request->code = code;
    request->done = true;
    pthread_cond_signal(&request->finished);
    pthread_mutex_unlock(&request->mutex);
}

static void serve_waiting(struct worker *worker)
{
    void *item = NULL;
    while (mailbox_receive(worker->requests, &item, 1, 0) == 1) {
        struct request *request = item;
        struct err err = {0};
        struct err *asked = request->err;
        request->err = &err; /* so that a failure is known here, too */
        int code = serve(worker, request);
        if (code != 0 && asked != NULL)
            *asked = err;
        if (code == ERR_UNAVAILABLE && worker->state == WORKER_FOLLOWS && request->type != REQUEST_HOLD)
            fail(worker, code, &err);
        answer(request, code);
    }
}

int worker_ask(struct worker *worker, struct request *request)
{
    pthread_mutex_init(&request->mutex, NULL);
    pthread_cond_init(&request->finished, NULL);
    int code = mailbox_try_send(worker->requests, request);
    if (code == 0) {
        server_changed(worker->server);
        pthread_mutex_lock(&request->mutex);
        while (!request->done)
            pthread_cond_wait(&request->finished, &request->mutex);
        pthread_mutex_unlock(&request->mutex);
        code = request->code;
    } else {
        code = err_set(request->err, code == ERR_BUSY ? ERR_BUSY : ERR_UNAVAILABLE,
                       "the projection takes no requests now; retry");
    }
    pthread_cond_destroy(&request->finished);
    pthread_mutex_destroy(&request->mutex);
    return code;
}

/* --- Following --- */

/* Before the logs are read: what is claimed of them is true of what they hold from then on. */
static void tell_passed(struct worker *worker, size_t log_count)
{
    struct server *server = worker->server;
    hlc passed[REGION_LOGS_MAX];
    if (!projection_db_total_order(projection_live(worker->projection)))
        return;
    for (size_t i = 0; i < log_count; i++)
        passed[i] = peers_passed(server->peers, server->store.logs[i]);
    follower_passed(worker->follower, passed, log_count);
}

int worker_check_residency(const struct server *server, const struct projection_spec *spec, struct err *err)
{
    const struct region_config *config = &server->config->region;
    const char *context = NULL;
    size_t at = 0;
    while ((context = projection_spec_next_payload_context(spec, &at)) != NULL) {
        if (!residency_allows(index_contexts(server->index), bytes_of_string(config->region), bytes_of_string(context)))
            return err_set(err, ERR_MISMATCH,
                           "projection %s takes :payload of context %.100s, and region %s may not hold its payloads "
                           "(payload_regions): run it in a region that may, or leave :payload out",
                           projection_spec_name(spec), context, config->region);
    }
    return 0;
}

static bool follow_round(struct worker *worker)
{
    struct server *server = worker->server;
    struct follower_progress progress = {.moved = false};
    struct err err = {0};
    size_t log_count = atomic_load(&server->store.log_count);
    tell_passed(worker, log_count);
    int code = worker_check_residency(server, projection_spec_of(worker->projection), &err);
    if (code == 0)
        code = follower_step(worker->follower, server->store.logs, log_count, &progress, &err);
    if (progress.begun)
        server_say(server, "projection %s is rebuilt: %s", worker->name, follower_reason(worker->follower));
    if (progress.switched)
        server_say(server, "projection %s: generation %llu is live", worker->name,
                   (unsigned long long)projection_generation(worker->projection));
    if (code != 0)
        fail(worker, code, &err);
    else
        worker->pause_ms = 0;
    return progress.moved;
}

static bool step(struct worker *worker)
{
    bool moved = false;
    if (worker->held_for[0] != '\0' && clock_now().mono_us >= worker->held_until_us)
        release(worker);
    if (worker->state == WORKER_WAITS && clock_now().mono_us >= worker->retry_at_us)
        worker_open(worker);
    if (worker->state == WORKER_FOLLOWS)
        moved = follow_round(worker);
    say_status(worker);
    return moved;
}

static void *run(void *context)
{
    struct worker *worker = context;
    struct server *server = worker->server;
    uint64_t seen = 0;
    while (!mailbox_closed(worker->requests)) {
        serve_waiting(worker);
        if (step(worker))
            server_changed(server);
        else if (atomic_load(&server->stopping))
            clock_sleep_ms(1); /* changes are not waited for any more */
        else
            seen = server_wait_change(server, seen, WAIT_MS);
    }
    serve_waiting(worker);
    return NULL;
}

/* --- Life cycle --- */

struct worker *worker_new(struct server *server, const char *name, const char *folder)
{
    struct worker *worker = mem_alloc_zero(1, sizeof(*worker));
    if (worker == NULL)
        return NULL;
    worker->server = server;
    worker->state = WORKER_WAITS; /* until it is open */
    worker->requests = mailbox_new(REQUESTS_MAX);
    if (worker->requests == NULL) {
        mem_free(worker);
        return NULL;
    }
    snprintf(worker->name, sizeof(worker->name), "%s", name);
    snprintf(worker->folder, sizeof(worker->folder), "%s", folder);
    pthread_mutex_init(&worker->mutex, NULL);
    return worker;
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    close_all(worker);
    pthread_mutex_destroy(&worker->mutex);
    mailbox_free(worker->requests);
    mem_free(worker);
}

int worker_start(struct worker *worker, struct err *err)
{
    say_status(worker);
    int failure = pthread_create(&worker->thread, NULL, run, worker);
    return failure == 0 ? 0 : err_errno(err, failure, "a thread cannot be started");
}

void worker_stop(struct worker *worker)
{
    mailbox_close(worker->requests);
    pthread_join(worker->thread, NULL);
}
