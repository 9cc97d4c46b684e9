/* The projector: one thread that keeps every projection up with the logs (projection/follower.h). Requests are served
 * between two steps, so they see whole states only.
 *
 * A projection that takes payloads of a context which this region may not hold is refused, and one that was there
 * before the context said so stops: it would only ever hold the effects of events without their content.
 *
 * A projection whose SQL fails on an event stops there, in state "failed", with the error; the rest go on. Create it
 * anew, or rebuild it, to try again. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "domain/residency.h"
#include "projection/check.h"
#include "projection/follower.h"
#include "projection/generation.h"
#include "server/internal.h"

enum { REQUESTS_MAX = 64, WAIT_MS = 200 };

struct kept {
    struct projection *projection; /* NULL when it could not be opened, like follower */
    struct follower *follower;
    char name[PROJECTION_NAME_MAX_BYTES + 1];
    bool failed;
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES];
};

enum request_type { REQUEST_CREATE, REQUEST_REBUILD, REQUEST_GET, REQUEST_LIST, REQUEST_DIGEST, REQUEST_SNAPSHOT };

/* Where a projection stands: all that a check needs, so that it leaves the projector alone. */
struct snapshot {
    struct position position;
    struct buf known;
};

/* Lives on the asking thread's stack until done. */
struct request {
    enum request_type type;
    const char *name;
    struct bytes sql;
    struct rpc_projection *ret;
    size_t *ret_count;
    struct rpc_projection_digest *ret_digest;
    struct snapshot *ret_snapshot;
    struct err *err;
    int code;
    pthread_mutex_t mutex;
    pthread_cond_t finished;
    bool done;
};

struct projector {
    struct server *server;
    pthread_t thread;
    struct mailbox *requests;
    size_t count;
    struct kept kept[RPC_PROJECTIONS_MAX];
};

static int projection_folder(const struct projector *projector, const char *name, char out[DISK_PATH_MAX_BYTES],
                             struct err *err)
{
    char relative[PROJECTION_NAME_MAX_BYTES + 16];
    snprintf(relative, sizeof(relative), "projections/%s", name);
    return disk_join(out, projector->server->config->folder, relative, err);
}

static struct kept *find_kept(struct projector *projector, const char *name)
{
    for (size_t i = 0; i < projector->count; i++) {
        if (strcmp(projector->kept[i].name, name) == 0)
            return &projector->kept[i];
    }
    return NULL;
}

static void fail(struct projector *projector, struct kept *kept, const struct err *err)
{
    kept->failed = true;
    memcpy(kept->error, err->message, sizeof(kept->error));
    server_say(projector->server, "projection %s stopped: %s", kept->name, err->message);
}

/* --- Applying --- */

static int check_residency(const struct projector *projector, const char *name, const struct projection_db *db,
                           struct err *err)
{
    const struct region_config *config = &projector->server->config->region;
    const char *context = NULL;
    size_t at = 0;
    while ((context = projection_db_next_payload_context(db, &at)) != NULL) {
        if (!residency_allows(&config->contexts, bytes_of_string(config->region), bytes_of_string(context)))
            return err_set(err, ERR_MISMATCH,
                           "projection %s takes :payload of context %.100s, and region %s may not hold its payloads "
                           "(payload_regions): run it in a region that may, or leave :payload out",
                           name, context, config->region);
    }
    return 0;
}

static int open_follower(const struct projector *projector, struct kept *kept, struct err *err)
{
    return follower_new(kept->projection, &projector->server->config->region.contexts, &kept->follower, err);
}

static bool apply_round(struct projector *projector, struct kept *kept)
{
    struct server *server = projector->server;
    struct follower_progress progress = {.moved = false};
    struct err err = {0};
    int code = check_residency(projector, kept->name, projection_live(kept->projection), &err);
    if (code == 0)
        code =
            follower_step(kept->follower, server->store.logs, atomic_load(&server->store.log_count), &progress, &err);
    if (code != 0)
        fail(projector, kept, &err);
    if (progress.begun)
        server_say(server, "projection %s is rebuilt: %s", kept->name, follower_reason(kept->follower));
    if (progress.switched)
        server_say(server, "projection %s: generation %llu is live", kept->name,
                   (unsigned long long)projection_generation(kept->projection));
    return progress.moved;
}

/* --- Requests --- */

static int describe(const struct projector *projector, struct kept *kept, struct rpc_projection *ret, struct err *err)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->name, kept->name, sizeof(ret->name));
    memcpy(ret->error, kept->error, sizeof(ret->error));
    snprintf(ret->state, sizeof(ret->state), "%s", kept->failed ? "failed" : "live");
    if (kept->follower == NULL)
        return 0;
    ret->generation = projection_generation(kept->projection);
    char relative[PROJECTION_NAME_MAX_BYTES + 64];
    snprintf(relative, sizeof(relative), "projections/%s/gen-%llu.sqlite", kept->name,
             (unsigned long long)ret->generation);
    int code = disk_join(ret->file, projector->server->config->folder, relative, err);
    if (code == 0)
        code = follower_position(kept->follower, &ret->position, err);
    if (code != 0)
        return code;
    if (follower_rebuild_position(kept->follower, &ret->rebuild_position, NULL) == 0 && !kept->failed) {
        const char *reason = follower_reason(kept->follower);
        snprintf(ret->state, sizeof(ret->state), "rebuilding%s%s", reason[0] == '\0' ? "" : ": ", reason);
    }
    return 0;
}

static int check_spec(const struct projector *projector, const struct projection_spec *spec, struct err *err)
{
    struct projection_db *db = NULL;
    int code = projection_db_open("", spec, &db, err);
    if (code != 0)
        return code;
    code = check_residency(projector, projection_spec_name(spec), db, err);
    projection_db_close(db);
    return code;
}

static int create(struct projector *projector, struct request *request)
{
    struct projection_spec *spec = NULL;
    char folder[DISK_PATH_MAX_BYTES];
    struct kept kept = {.failed = false};
    int code = projection_spec_parse(request->sql, &spec, request->err);
    if (code != 0)
        return code;
    snprintf(kept.name, sizeof(kept.name), "%s", projection_spec_name(spec));
    code = check_spec(projector, spec, request->err);
    projection_spec_free(spec);
    if (code != 0)
        return code;
    if (find_kept(projector, kept.name) != NULL)
        return err_set(request->err, ERR_EXISTS,
                       "projection %s exists already; rebuild it, or give the new SQL another name", kept.name);
    if (projector->count == RPC_PROJECTIONS_MAX)
        return err_set(request->err, ERR_TOO_LARGE, "there are %d projections, no more are allowed",
                       RPC_PROJECTIONS_MAX);
    code = projection_folder(projector, kept.name, folder, request->err);
    if (code == 0)
        code = projection_create(folder, request->sql, &kept.projection, request->err);
    if (code == 0)
        code = open_follower(projector, &kept, request->err);
    if (code != 0) {
        projection_close(kept.projection);
        return code;
    }
    projector->kept[projector->count] = kept;
    return describe(projector, &projector->kept[projector->count++], request->ret, request->err);
}

static int rebuild(struct projector *projector, struct kept *kept, struct request *request)
{
    int code = follower_rebuild(kept->follower, request->err);
    if (code != 0)
        return code;
    kept->failed = false;
    kept->error[0] = '\0';
    return describe(projector, kept, request->ret, request->err);
}

static int digest(struct kept *kept, struct request *request)
{
    struct rpc_projection_digest *ret = request->ret_digest;
    struct projection_db *live = projection_live(kept->projection);
    struct hash hash;
    memset(ret, 0, sizeof(*ret));
    if (kept->failed)
        return err_set(request->err, ERR_UNAVAILABLE, "projection %s has stopped: %.300s", kept->name, kept->error);
    int code = projection_db_digest(live, &hash, &ret->row_count, request->err);
    if (code == 0)
        code = follower_position(kept->follower, &ret->position, request->err);
    if (code != 0)
        return code;
    hex_encode(bytes_of(hash.bytes, HASH_SIZE), ret->digest);
    ret->generation = projection_generation(kept->projection);
    return 0;
}

static int take_snapshot(struct kept *kept, struct request *request)
{
    struct snapshot *ret = request->ret_snapshot;
    int code = follower_known(kept->follower, &ret->known, request->err);
    return code == 0 ? follower_position(kept->follower, &ret->position, request->err) : code;
}

static int list(struct projector *projector, struct request *request)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < projector->count; i++)
        code = describe(projector, &projector->kept[i], &request->ret[i], request->err);
    if (code == 0)
        *request->ret_count = projector->count;
    return code;
}

static int serve(struct projector *projector, struct request *request)
{
    if (request->type == REQUEST_CREATE)
        return create(projector, request);
    if (request->type == REQUEST_LIST)
        return list(projector, request);
    struct kept *kept = find_kept(projector, request->name);
    if (kept == NULL)
        return err_set(request->err, ERR_NOT_FOUND,
                       "there is no projection \"%.63s\"; make one with: tally projection create FILE", request->name);
    if (request->type == REQUEST_GET)
        return describe(projector, kept, request->ret, request->err);
    if (kept->follower == NULL)
        return err_set(request->err, ERR_CORRUPT, "projection %s could not be opened: %.300s", kept->name, kept->error);
    if (request->type == REQUEST_SNAPSHOT)
        return take_snapshot(kept, request);
    return request->type == REQUEST_REBUILD ? rebuild(projector, kept, request) : digest(kept, request);
}

static void serve_waiting(struct projector *projector)
{
    void *item = NULL;
    while (mailbox_receive(projector->requests, &item, 1, 0) == 1) {
        struct request *request = item;
        int code = serve(projector, request);
        pthread_mutex_lock(&request->mutex);
        request->code = code;
        request->done = true;
        pthread_cond_signal(&request->finished);
        pthread_mutex_unlock(&request->mutex);
    }
}

static int ask(struct rpc_backend *backend, struct request *request)
{
    struct server *server = (struct server *)(void *)backend;
    pthread_mutex_init(&request->mutex, NULL);
    pthread_cond_init(&request->finished, NULL);
    int code = mailbox_try_send(server->projector->requests, request);
    if (code == 0) {
        server_changed(server);
        pthread_mutex_lock(&request->mutex);
        while (!request->done)
            pthread_cond_wait(&request->finished, &request->mutex);
        pthread_mutex_unlock(&request->mutex);
        code = request->code;
    } else {
        code = err_set(request->err, code == ERR_BUSY ? ERR_BUSY : ERR_UNAVAILABLE,
                       "the projector takes no requests now; retry");
    }
    pthread_cond_destroy(&request->finished);
    pthread_mutex_destroy(&request->mutex);
    return code;
}

int projector_create(struct rpc_backend *backend, struct bytes sql, struct rpc_projection *ret, struct err *err)
{
    struct request request = {.type = REQUEST_CREATE, .sql = sql, .ret = ret, .err = err};
    return ask(backend, &request);
}

int projector_rebuild(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err)
{
    struct request request = {.type = REQUEST_REBUILD, .name = name, .ret = ret, .err = err};
    return ask(backend, &request);
}

int projector_get(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err)
{
    struct request request = {.type = REQUEST_GET, .name = name, .ret = ret, .err = err};
    return ask(backend, &request);
}

int projector_list(struct rpc_backend *backend, struct rpc_projection *ret, size_t *ret_count, struct err *err)
{
    struct request request = {.type = REQUEST_LIST, .ret = ret, .ret_count = ret_count, .err = err};
    return ask(backend, &request);
}

int projector_digest(struct rpc_backend *backend, const char *name, struct rpc_projection_digest *ret, struct err *err)
{
    struct request request = {.type = REQUEST_DIGEST, .name = name, .ret_digest = ret, .err = err};
    return ask(backend, &request);
}

/* --- Checking, on the asking thread --- */

static bool is_stopping(void *context)
{
    struct server *server = context;
    return atomic_load(&server->stopping);
}

static int read_sql(const struct projector *projector, const char *name, struct buf *out, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    int code = projection_folder(projector, name, folder, err);
    if (code == 0)
        code = disk_join(path, folder, "projection.sql", err);
    return code == 0 ? disk_read_file(projector->server->disk, path, out, err) : code;
}

static int run_check(struct server *server, const struct snapshot *snapshot, struct bytes sql, uint64_t seeds,
                     struct check_result *ret, struct err *err)
{
    uint64_t ends[REGION_LOGS_MAX];
    size_t log_count = atomic_load(&server->store.log_count);
    for (size_t i = 0; i < log_count; i++) {
        struct origin origin;
        int code = origin_parse(log_origin(server->store.logs[i]), &origin, err);
        if (code != 0)
            return code;
        ends[i] = position_get(&snapshot->position, origin.region, origin.incarnation);
    }
    const struct check_subject subject = {.sql = sql,
                                          .contexts = &server->config->region.contexts,
                                          .logs = server->store.logs,
                                          .log_count = log_count,
                                          .ends = ends,
                                          .known = buf_bytes(&snapshot->known),
                                          .seed_count = seeds,
                                          .stop = is_stopping,
                                          .context = server};
    return projection_check(&subject, ret, err);
}

int projector_check(struct rpc_backend *backend, const char *name, uint64_t seeds, struct rpc_projection_check *ret,
                    struct err *err)
{
    struct server *server = (struct server *)(void *)backend;
    struct snapshot snapshot;
    struct check_result result;
    struct buf sql;
    buf_init(&snapshot.known, GENERATION_AUTHORITY_MAX_BYTES);
    buf_init(&sql, PROJECTION_SQL_MAX_BYTES);
    struct request request = {.type = REQUEST_SNAPSHOT, .name = name, .ret_snapshot = &snapshot, .err = err};
    int code = ask(backend, &request);
    if (code == 0)
        code = read_sql(server->projector, name, &sql, err);
    if (code == 0)
        code = run_check(server, &snapshot, buf_bytes(&sql), seeds, &result, err);
    buf_free(&sql);
    buf_free(&snapshot.known);
    if (code != 0)
        return code;
    *ret = (struct rpc_projection_check){.position = snapshot.position,
                                         .event_count = result.event_count,
                                         .seeds = result.seeds_run,
                                         .differs = result.differs,
                                         .seed = result.seed};
    copy_string(ret->table, sizeof(ret->table), result.differs ? result.table : "");
    return 0;
}

/* --- Life cycle --- */

static void *run(void *context)
{
    struct projector *projector = context;
    struct server *server = projector->server;
    uint64_t seen = 0;
    while (!mailbox_closed(projector->requests)) {
        bool moved = false;
        serve_waiting(projector);
        for (size_t i = 0; i < projector->count; i++) {
            struct kept *kept = &projector->kept[i];
            if (!kept->failed && apply_round(projector, kept))
                moved = true;
        }
        if (moved)
            server_changed(server);
        else if (atomic_load(&server->stopping))
            clock_sleep_ms(1); /* changes are not waited for any more */
        else
            seen = server_wait_change(server, seen, WAIT_MS);
    }
    serve_waiting(projector);
    return NULL;
}

static int open_kept(void *context, const char *name, bool is_dir)
{
    struct projector *projector = context;
    char folder[DISK_PATH_MAX_BYTES];
    struct err err = {0};
    if (!is_dir || projector->count == RPC_PROJECTIONS_MAX || strlen(name) > PROJECTION_NAME_MAX_BYTES)
        return 0;
    struct kept *kept = &projector->kept[projector->count++];
    snprintf(kept->name, sizeof(kept->name), "%s", name);
    int code = projection_folder(projector, name, folder, &err);
    if (code == 0)
        code = projection_open(folder, &kept->projection, &err);
    if (code == 0)
        code = open_follower(projector, kept, &err);
    if (code != 0)
        fail(projector, kept, &err);
    return 0;
}

int projector_start(struct server *server, struct projector **ret, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct projector *projector = mem_alloc_zero(1, sizeof(*projector));
    if (projector == NULL)
        return err_no_memory(err, "the projector");
    projector->server = server;
    projector->requests = mailbox_new(REQUESTS_MAX);
    int code = projector->requests == NULL ? err_no_memory(err, "the projector") : 0;
    if (code == 0)
        code = disk_join(folder, server->config->folder, "projections", err);
    if (code == 0)
        code = disk_make_dir(server->disk, folder, err);
    if (code == 0)
        code = disk_list(server->disk, folder, open_kept, projector, err);
    if (code != 0)
        return code; /* the process ends */
    *ret = projector;
    int failure = pthread_create(&projector->thread, NULL, run, projector);
    return failure == 0 ? 0 : err_errno(err, failure, "a thread cannot be started");
}

void projector_stop(struct projector *projector)
{
    mailbox_close(projector->requests);
    pthread_join(projector->thread, NULL);
    for (size_t i = 0; i < projector->count; i++) {
        follower_free(projector->kept[i].follower);
        projection_close(projector->kept[i].projection);
    }
    mailbox_free(projector->requests);
    mem_free(projector);
}
