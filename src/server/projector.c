/* The projector: the list of projections, each with a worker that follows the logs (worker.c), and what the services
 * may ask of them. Projections are added, never removed, so the list is read without a lock: a worker is there before
 * the count says so. */
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "projection/check.h"
#include "projection/generation.h"
#include "server/projector.h"

struct projector {
    struct server *server;
    pthread_mutex_t creating; /* one at a time */
    atomic_size_t count;
    struct worker *workers[RPC_PROJECTIONS_MAX];
};

static int projection_folder(const struct server *server, const char *name, char out[DISK_PATH_MAX_BYTES],
                             struct err *err)
{
    char relative[PROJECTION_NAME_MAX_BYTES + 16];
    snprintf(relative, sizeof(relative), "projections/%s", name);
    return disk_join(out, server->config->folder, relative, err);
}

static struct projector *projector_of(struct rpc_backend *backend)
{
    return ((struct server *)(void *)backend)->projector;
}

struct worker *projector_worker(struct projector *projector, size_t at)
{
    return at < atomic_load(&projector->count) ? projector->workers[at] : NULL;
}

struct worker *projector_find(struct projector *projector, const char *name)
{
    for (size_t i = 0; i < atomic_load(&projector->count); i++) {
        if (strcmp(projector->workers[i]->name, name) == 0)
            return projector->workers[i];
    }
    return NULL;
}

static int find_worker(struct rpc_backend *backend, const char *name, struct worker **ret, struct err *err)
{
    *ret = projector_find(projector_of(backend), name);
    if (*ret != NULL)
        return 0;
    return err_set(err, ERR_NOT_FOUND, "there is no projection \"%.63s\"; make one with: tally projection create FILE",
                   name);
}

/* --- Creating --- */

static int find_database(const struct server *server, const char *name, const struct projection_server **ret,
                         struct err *err)
{
    const struct server_config *config = server->config;
    *ret = NULL;
    if (name[0] == '\0')
        return 0;
    for (size_t i = 0; i < config->database_count; i++) {
        if (strcmp(config->databases[i].name, name) == 0) {
            *ret = &config->databases[i];
            return 0;
        }
    }
    return err_set(err, ERR_NOT_FOUND,
                   "there is no database \"%.63s\": name it under projection_databases in tallyd.yaml, and start again",
                   name);
}

static int add(struct projector *projector, struct worker *worker, struct err *err)
{
    int code = worker_start(worker, err);
    if (code != 0)
        return code;
    size_t count = atomic_load(&projector->count);
    projector->workers[count] = worker;
    atomic_store(&projector->count, count + 1);
    return 0;
}

/* All of it or nothing: what nobody follows would be in the way of the next attempt. */
static int fill(struct projector *projector, struct worker *worker, struct bytes sql,
                const struct projection_server *database, struct err *err)
{
    const struct projection_bounds bounds = {.stopping = &projector->server->stopping};
    struct projection *projection = NULL;
    int code = projection_create(worker->folder, sql, database, &bounds, &projection, err);
    if (code != 0)
        return code;
    code = worker_adopt(worker, projection, err);
    if (code != 0)
        return projection_take_back(projection, code, err);
    code = add(projector, worker, err);
    return code == 0 ? 0 : projection_take_back(worker_let_go(worker), code, err);
}

static int make(struct projector *projector, const char *name, struct bytes sql,
                const struct projection_server *database, struct worker **ret, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    int code = projection_folder(projector->server, name, folder, err);
    if (code != 0)
        return code;
    struct worker *worker = worker_new(projector->server, name, folder);
    if (worker == NULL)
        return err_no_memory(err, "a projection");
    code = fill(projector, worker, sql, database, err);
    if (code != 0) {
        worker_free(worker);
        return code;
    }
    *ret = worker;
    return 0;
}

static int create_locked(struct projector *projector, const char *name, struct bytes sql, const char *database,
                         struct rpc_projection *ret, struct err *err)
{
    const struct projection_server *in = NULL;
    struct worker *worker = NULL;
    if (projector_find(projector, name) != NULL)
        return err_set(err, ERR_EXISTS, "projection %s exists already; rebuild it, or give the new SQL another name",
                       name);
    if (atomic_load(&projector->count) == RPC_PROJECTIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "there are %d projections, no more are allowed", RPC_PROJECTIONS_MAX);
    int code = find_database(projector->server, database, &in, err);
    if (code == 0)
        code = make(projector, name, sql, in, &worker, err);
    if (code == 0)
        worker_status(worker, ret);
    return code;
}

int projector_create(struct rpc_backend *backend, struct bytes sql, const char *database, struct rpc_projection *ret,
                     struct err *err)
{
    struct projector *projector = projector_of(backend);
    struct projection_spec *spec = NULL;
    char name[PROJECTION_NAME_MAX_BYTES + 1];
    int code = projection_spec_parse(sql, &spec, err);
    if (code != 0)
        return code;
    copy_string(name, sizeof(name), projection_spec_name(spec));
    code = worker_check_residency(projector->server, spec, err);
    projection_spec_free(spec);
    if (code != 0)
        return code;
    pthread_mutex_lock(&projector->creating);
    code = create_locked(projector, name, sql, database, ret, err);
    pthread_mutex_unlock(&projector->creating);
    return code;
}

/* --- Asking --- */

int projector_rebuild(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err)
{
    struct request request = {.type = REQUEST_REBUILD, .ret = ret, .err = err};
    struct worker *worker = NULL;
    int code = find_worker(backend, name, &worker, err);
    return code == 0 ? worker_ask(worker, &request) : code;
}

int projector_get(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err)
{
    struct worker *worker = NULL;
    int code = find_worker(backend, name, &worker, err);
    if (code == 0)
        worker_status(worker, ret);
    return code;
}

int projector_list(struct rpc_backend *backend, struct rpc_projection *ret, size_t *ret_count, struct err *err)
{
    struct projector *projector = projector_of(backend);
    size_t count = atomic_load(&projector->count);
    (void)err;
    for (size_t i = 0; i < count; i++)
        worker_status(projector->workers[i], &ret[i]);
    *ret_count = count;
    return 0;
}

int projector_digest(struct rpc_backend *backend, const char *name, struct rpc_projection_digest *ret, struct err *err)
{
    struct request request = {.type = REQUEST_DIGEST, .ret_digest = ret, .err = err};
    struct worker *worker = NULL;
    int code = find_worker(backend, name, &worker, err);
    return code == 0 ? worker_ask(worker, &request) : code;
}

int projector_preview(struct rpc_backend *backend, const char *name, const struct projection_event *event,
                      struct arena *arena, struct rpc_projection_preview *ret, struct err *err)
{
    const struct preview preview = {.event = event, .arena = arena, .ret = ret};
    struct request request = {.type = REQUEST_PREVIEW, .preview = &preview, .err = err};
    struct worker *worker = NULL;
    int code = find_worker(backend, name, &worker, err);
    return code == 0 ? worker_ask(worker, &request) : code;
}

/* --- Checking, on the asking thread --- */

static bool is_stopping(void *context)
{
    struct server *server = context;
    return atomic_load(&server->stopping);
}

static int read_sql(const struct server *server, const char *name, struct buf *out, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    char path[DISK_PATH_MAX_BYTES];
    int code = projection_folder(server, name, folder, err);
    if (code == 0)
        code = disk_join(path, folder, "projection.sql", err);
    return code == 0 ? disk_read_file(server->disk, path, out, err) : code;
}

static int run_check(struct server *server, const struct snapshot *snapshot, struct bytes sql,
                     const struct projection_server *database, uint64_t seeds, struct check_result *ret,
                     struct err *err)
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
    const struct projection_bounds bounds = {.stopping = &server->stopping};
    const struct check_subject subject = {.sql = sql,
                                          .server = database,
                                          .bounds = &bounds,
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
    const struct projection_server *database = NULL;
    struct worker *worker = NULL;
    struct snapshot snapshot;
    struct check_result result;
    struct buf sql;
    buf_init(&snapshot.known, GENERATION_AUTHORITY_MAX_BYTES);
    buf_init(&sql, PROJECTION_SQL_MAX_BYTES);
    struct request request = {.type = REQUEST_SNAPSHOT, .ret_snapshot = &snapshot, .err = err};
    int code = find_worker(backend, name, &worker, err);
    if (code == 0)
        code = worker_ask(worker, &request);
    if (code == 0)
        code = find_database(server, worker->database, &database, err);
    if (code == 0)
        code = read_sql(server, name, &sql, err);
    if (code == 0)
        code = run_check(server, &snapshot, buf_bytes(&sql), database, seeds, &result, err);
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

struct opening {
    struct projector *projector;
    struct err *err;
};

/* What lies in files is open once the server is ready; what lies in a database may take its time. */
static int open_kept(void *context, const char *name, bool is_dir)
{
    struct opening *opening = context;
    struct projector *projector = opening->projector;
    char folder[DISK_PATH_MAX_BYTES];
    char database[PROJECTION_SERVER_NAME_MAX_BYTES + 1] = "";
    if (!is_dir || atomic_load(&projector->count) == RPC_PROJECTIONS_MAX || strlen(name) > PROJECTION_NAME_MAX_BYTES)
        return 0;
    int code = projection_folder(projector->server, name, folder, opening->err);
    if (code != 0)
        return code;
    struct worker *worker = worker_new(projector->server, name, folder);
    if (worker == NULL)
        return err_no_memory(opening->err, "a projection");
    if (projection_folder_server(folder, database, NULL) != 0 || database[0] == '\0')
        worker_open(worker);
    else
        copy_string(worker->database, sizeof(worker->database), database);
    code = add(projector, worker, opening->err);
    if (code != 0)
        worker_free(worker);
    return code;
}

int projector_start(struct server *server, struct projector **ret, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct projector *projector = mem_alloc_zero(1, sizeof(*projector));
    if (projector == NULL)
        return err_no_memory(err, "the projector");
    struct opening opening = {.projector = projector, .err = err};
    projector->server = server;
    pthread_mutex_init(&projector->creating, NULL);
    for (size_t i = 0; i < server->config->database_count; i++)
        server->config->databases[i].stopping = &server->stopping;
    int code = disk_join(folder, server->config->folder, "projections", err);
    if (code == 0)
        code = disk_make_dir(server->disk, folder, err);
    if (code == 0)
        code = disk_list(server->disk, folder, open_kept, &opening, err);
    if (code != 0)
        return code; /* the process ends */
    *ret = projector;
    return 0;
}

void projector_stop(struct projector *projector)
{
    for (size_t i = 0; i < atomic_load(&projector->count); i++) {
        worker_stop(projector->workers[i]);
        worker_free(projector->workers[i]);
    }
    pthread_mutex_destroy(&projector->creating);
    mem_free(projector);
}
