/* Opening and closing a region's server. The order is the argument:
 *  1. configuration and lock: nothing is touched before both are had;
 *  2. logs are recovered; damage stops the start here, with the repair in the message;
 *  3. the index is brought up to the logs, so that the region starts with nothing unindexed;
 *  4. the region decides from chains, checkpoints and peers whether it may accept;
 *  5. threads, then the port: whoever connects finds everything there.
 * Stopping goes the other way: calls first, then what they wait for. */
#include "server/server.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "client/tls.h"
#include "server/config_tls.h"
#include "server/internal.h"

static int take_lock(struct server *server, struct err *err)
{
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, server->config->folder, "LOCK", err);
    if (code == 0)
        code = disk_open(server->disk, path, DISK_WRITE | DISK_CREATE, &server->lock, err);
    if (code == 0)
        code = disk_lock(server->lock, err);
    if (code == ERR_LOCKED)
        code = err_set(err, code, "%s is in use by another tallyd", server->config->folder);
    return code;
}

static void say_opened(void *context, const char *folder, const struct log_recovery *recovery)
{
    const struct server *server = context;
    server_say(server, "log %s: %llu entries, recovered by reading %llu bytes", folder,
               (unsigned long long)recovery->size, (unsigned long long)recovery->scanned_bytes);
    if (recovery->cut_bytes > 0)
        server_say(server, "log %s: cut a torn tail of %llu bytes at %s offset %llu; nobody had been told of it",
                   folder, (unsigned long long)recovery->cut_bytes, recovery->cut_segment,
                   (unsigned long long)recovery->cut_offset);
    if (!recovery->direct)
        server_say(server, "log %s: this file system refuses direct writes; using buffered writes with fdatasync",
                   folder);
}

struct removal {
    struct disk *disk;
    const char *folder;
    struct err *err;
};

static int remove_file(void *context, const char *name, bool is_dir)
{
    struct removal *removal = context;
    char path[DISK_PATH_MAX_BYTES];
    int code = disk_join(path, removal->folder, name, removal->err);
    return code == 0 && !is_dir ? disk_remove(removal->disk, path, removal->err) : code;
}

static uint64_t held_size(const struct store *store, const char *origin)
{
    for (size_t i = 0; i < atomic_load(&store->log_count); i++) {
        if (bytes_equal(log_origin(store->logs[i]), bytes_of_string(origin)))
            return log_durable_size(store->logs[i]);
    }
    return 0;
}

/* An index that claims more than the logs hold, of a log whose folder is gone too, reflects files that are gone: it
 * goes as well, and is made again. Else what comes back of them would count as not indexed, and never be. */
static bool index_is_ahead(struct server *server)
{
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    for (uint32_t number = 0; index_origin(server->index, number, origin, NULL) == 0; number++) {
        if (index_applied_size(server->index, number) > held_size(&server->store, origin))
            return true;
    }
    return false;
}

/* Whether the index has, or gets, a number for each log. */
static bool index_has_numbers(struct server *server)
{
    uint32_t number = 0;
    bool has = true;
    for (size_t i = 0; has && i < atomic_load(&server->store.log_count); i++)
        has = index_log(server->index, log_origin(server->store.logs[i]), &number, NULL) == 0;
    return has;
}

static int remake_index(struct server *server, const char *folder, const char *why, struct err *err)
{
    struct removal removal = {.disk = server->disk, .folder = folder, .err = err};
    server_say(server, "the index is made again from the logs: %s", why);
    index_close(server->index);
    server->index = NULL;
    int code = disk_list(server->disk, folder, remove_file, &removal, err);
    return code == 0 ? index_rocksdb_open(folder, &server->config->region.contexts, &server->index, err) : code;
}

static int open_index(struct server *server, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    int code = disk_join(folder, server->config->folder, "index", err);
    if (code != 0)
        return code;
    code = index_rocksdb_open(folder, &server->config->region.contexts, &server->index, err);
    if (code == ERR_CORRUPT)
        code = remake_index(server, folder, err->message, err);
    else if (code == 0 && index_is_ahead(server))
        code = remake_index(server, folder, "it is ahead of the logs", err);
    else if (code == 0 && !index_has_numbers(server))
        code = remake_index(server, folder, "it has no place for another log", err);
    return code == 0 ? indexer_catch_up(server, err) : code;
}

static int start_thread(pthread_t *thread, void *(*run)(void *), struct server *server, struct err *err)
{
    int failure = pthread_create(thread, NULL, run, server);
    return failure == 0 ? 0 : err_errno(err, failure, "a thread cannot be started");
}

/* Once a thread runs, a failure to start the next one ends the process: it happens only when the machine is out of
 * threads. */
static void start_threads(struct server *server)
{
    struct err err = {0};
    int code = peers_start(server, &server->peers, &err);
    if (code == 0)
        code = start_thread(&server->writer, writer_run, server, &err);
    if (code == 0)
        code = start_thread(&server->indexer, indexer_run, server, &err);
    if (code == 0)
        code = start_thread(&server->scrubber, scrubber_run, server, &err);
    if (code == 0)
        code = projector_start(server, &server->projector, &err);
    if (code == 0)
        code = drift_start(server, &server->drift, &err);
    if (code == 0)
        code = tiler_start(server, &server->tiler, &err);
    if (code != 0)
        server_die(server, "%s", err.message);
}

/* The port that was bound takes the place of the one that was asked for, which may be 0. */
static void set_port(char *address, uint16_t port)
{
    char *colon = strrchr(address, ':');
    snprintf(colon, REGION_ADDRESS_MAX_BYTES - (size_t)(colon - address), ":%u", port);
}

/* After the sequencer, which its handlers wait for. */
static int serve_http(struct server *server, struct err *err)
{
    uint16_t port = 0;
    if (server->config->http_listen[0] == '\0')
        return 0;
    int code = admin_start(&server->admin_backend, server->config->http_listen, &server->admin, &port, err);
    if (code == 0)
        set_port(server->config->http_listen, port);
    return code;
}

static int serve(struct server *server, struct err *err)
{
    uint16_t port = 0;
    int code = rpc_server_start(&server->backend, server->config->listen, &server->rpc, &port, err);
    if (code != 0)
        return code;
    set_port(server->config->listen, port);
    code = start_thread(&server->sequencer, sequencer_run, server, err);
    if (code == 0)
        code = start_thread(&server->settler, settler_run, server, err);
    if (code == 0)
        code = guard_start(server, &server->guard, err);
    if (code == 0)
        code = submitter_start(server, &server->submitter, err);
    if (code == 0)
        code = keeper_start(server, &server->keeper, err);
    if (code != 0)
        server_die(server, "%s", err->message);
    return serve_http(server, err);
}

static void init_waiting(struct server *server)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void close_files(struct server *server)
{
    region_free(server->region);
    applier_free(server->applier);
    index_close(server->index);
    store_close(&server->store);
    disk_close(server->lock);
    mailbox_free(server->mail);
    mailbox_free(server->jobs);
    tls_free(server->tls);
    sha256_free(server->sha);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->mutex);
    server_config_free(server->config);
    mem_free(server);
}

/* Which incarnation this is, and what is left of the lives before. */
static int find_life(struct server *server, struct err *err)
{
    struct server_config *config = server->config;
    uint64_t incarnation = 0;
    int code = life_find_mark(&server->store, &config->region.restored, err);
    if (code == 0)
        code = life_find_incarnation(&server->store, config->region.region, &incarnation, err);
    if (code == 0)
        code = server_config_set_incarnation(config, incarnation, err);
    if (code == 0)
        code = life_forget_lost_log(&server->store, config->origin, err);
    config->region.fresh = config->region.incarnation == server->life.fresh_incarnation;
    return code;
}

static int open_tls(struct server *server, struct err *err)
{
    const struct server_config *config = server->config;
    if (config->tls.ca_file != NULL)
        return tls_open(server->disk, &config->tls, TLS_REGION, clock_now(), &server->tls, err);
    if (!config_is_loopback(config->listen))
        server_say(server,
                   "WARNING: %s is served without TLS: whoever reaches it may append and read everything; set tls: in "
                   "tallyd.yaml, or keep it on a private network",
                   config->listen);
    return 0;
}

static int prepare(struct server *server, struct err *err)
{
    server->sha = sha256_new();
    server->mail = mailbox_new(SERVER_MAIL_MAX);
    server->jobs = mailbox_new(SERVER_JOBS_MAX);
    if (server->sha == NULL || server->mail == NULL || server->jobs == NULL)
        return err_no_memory(err, "the server");
    server->store.disk = server->disk;
    server->store.folder = server->config->folder;
    server->store.log_options = (struct log_options){.segment_size_bytes = server->config->segment_size_bytes};
    int code = take_lock(server, err);
    if (code == 0)
        code = open_tls(server, err);
    if (code == 0)
        code = find_life(server, err);
    if (code == 0)
        code = store_open(&server->store, server->config->origin, say_opened, server, err);
    if (code == 0)
        code = open_index(server, err);
    if (code == 0)
        code = store_make_region(&server->store, &server->config->region, server->index, &server->region, err);
    if (code != 0)
        return code;
    server->backend = (struct rpc_backend){.ops = &server_backend_ops,
                                           .config = &server->config->region,
                                           .index = server->index,
                                           .tls = server->tls,
                                           .start_mono_us = clock_now().mono_us};
    server->admin_backend = (struct admin_backend){.ops = &server_admin_ops,
                                                   .config = &server->config->region,
                                                   .disk = server->disk,
                                                   .folder = server->config->folder,
                                                   .witness_keys = &server->config->witness,
                                                   .start_mono_us = server->backend.start_mono_us};
    server->backend.contexts_digest = context_table_digest(&server->config->region.contexts, server->sha);
    return 0;
}

static void stop_threads(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    atomic_store(&server->stopping, true);
    pthread_mutex_unlock(&server->mutex);
    server_changed(server);
    admin_stop(server->admin);
    if (server->rpc != NULL)
        rpc_server_stop(server->rpc);
    guard_stop(server->guard);
    submitter_stop(server->submitter);
    keeper_stop(server->keeper);
    if (server->rpc != NULL)
        pthread_join(server->settler, NULL); /* it waits for answers, which end with the mail */
    mailbox_close(
        server->mail); /* from here on messages of other threads are dropped: nobody waits for them any more */
    if (server->rpc != NULL)
        pthread_join(server->sequencer, NULL);
    drift_stop(server->drift);
    peers_stop(server->peers);
    mailbox_close(server->jobs);
    pthread_join(server->writer, NULL);
    atomic_store(&server->indexer_stopping, true);
    server_changed(server);
    pthread_join(server->indexer, NULL);
    pthread_join(server->scrubber, NULL);
    projector_stop(server->projector);
    tiler_stop(server->tiler);
}

int server_start(const char *folder, const struct server_life *life, struct server **ret, struct err *err)
{
    struct server *server = mem_alloc_zero(1, sizeof(*server));
    if (server == NULL)
        return err_no_memory(err, "the server");
    init_waiting(server);
    server->life = *life;
    server->disk = disk_posix();
    int code = server_config_load(server->disk, folder, &server->config, err);
    if (code == 0)
        code = prepare(server, err);
    if (code == 0) {
        start_threads(server);
        code = serve(server, err);
        if (code != 0)
            stop_threads(server);
    }
    if (code != 0) {
        close_files(server);
        return code;
    }
    *ret = server;
    return 0;
}

void server_describe(const struct server *server, char *out)
{
    const char *http = server->config->http_listen;
    snprintf(out, 640, "region %s ready on %s%s%s", server->config->region.region, server->config->listen,
             http[0] == '\0' ? "" : ", HTTP on ", http);
}

void server_stop(struct server *server)
{
    stop_threads(server);
    close_files(server);
}
