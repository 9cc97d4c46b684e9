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

static int open_log(struct server *server, const char *folder, struct bytes origin, struct err *err)
{
    struct log_recovery recovery;
    size_t count = atomic_load(&server->log_count);
    if (count == REGION_LOGS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d logs in %s/logs", REGION_LOGS_MAX, server->config->folder);
    int code = log_open(server->disk, folder, origin, &server->log_options, &server->logs[count], &recovery, err);
    if (code != 0)
        return code;
    atomic_store(&server->log_count, count + 1);
    server_say(server, "log %s: %llu entries, recovered by reading %llu bytes", folder,
               (unsigned long long)recovery.size, (unsigned long long)recovery.scanned_bytes);
    if (recovery.cut_bytes > 0)
        server_say(server, "log %s: cut a torn tail of %llu bytes at %s offset %llu; nobody had been told of it",
                   folder, (unsigned long long)recovery.cut_bytes, recovery.cut_segment,
                   (unsigned long long)recovery.cut_offset);
    if (!recovery.direct)
        server_say(server, "log %s: this file system refuses direct writes; using buffered writes with fdatasync",
                   folder);
    return 0;
}

static int open_own_log(struct server *server, struct err *err)
{
    char folder[DISK_PATH_MAX_BYTES];
    struct bytes origin = bytes_of_string(server->config->origin);
    int code = server_log_folder(server, server->config->origin, folder, err);
    if (code != 0)
        return code;
    code = open_log(server, folder, origin, err);
    if (code != ERR_NOT_FOUND)
        return code;
    code = life_forget_notes(server, folder, err);
    if (code == 0)
        code = log_create(server->disk, folder, origin, &server->log_options, err);
    if (code == 0)
        code = open_log(server, folder, origin, err);
    return code;
}

struct mirror_walk {
    struct server *server;
    const char *logs_folder;
    struct err *err;
};

/* A folder that was being made when the process died holds no segment yet: it is filled again when the peer is met. */
static int open_mirror(void *context, const char *name, bool is_dir)
{
    struct mirror_walk *walk = context;
    char folder[DISK_PATH_MAX_BYTES];
    char own[DISK_PATH_MAX_BYTES];
    int code = server_log_folder(walk->server, walk->server->config->origin, own, walk->err);
    if (code == 0)
        code = disk_join(folder, walk->logs_folder, name, walk->err);
    if (code != 0 || !is_dir || strcmp(own, folder) == 0)
        return code;
    code = open_log(walk->server, folder, bytes_of(NULL, 0), walk->err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

static int check_cluster(const struct server *server, struct err *err)
{
    for (size_t i = 0; i < atomic_load(&server->log_count); i++) {
        struct origin origin;
        char text[ENTRY_ORIGIN_MAX_BYTES + 1];
        struct bytes name = log_origin(server->logs[i]);
        int code = origin_parse(name, &origin, err);
        if (code != 0)
            return code;
        origin_format(&origin, text);
        if (strcmp(origin.cluster, server->config->region.cluster) != 0)
            return err_set(err, ERR_MISMATCH, "%s holds log %s of another cluster; the configuration says %s",
                           server->config->folder, text, server->config->region.cluster);
    }
    return 0;
}

static int open_logs(struct server *server, struct err *err)
{
    char logs_folder[DISK_PATH_MAX_BYTES];
    struct mirror_walk walk = {.server = server, .logs_folder = logs_folder, .err = err};
    int code = disk_join(logs_folder, server->config->folder, "logs", err);
    if (code == 0)
        code = life_find_incarnation(server, err);
    if (code == 0)
        code = open_own_log(server, err);
    if (code == 0)
        code = disk_list(server->disk, logs_folder, open_mirror, &walk, err);
    return code == 0 ? check_cluster(server, err) : code;
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

/* An index that claims more than the logs hold reflects files that are gone: it goes too, and is made again. */
static bool index_is_ahead(struct server *server)
{
    for (size_t i = 0; i < atomic_load(&server->log_count); i++) {
        uint32_t number = 0;
        if (index_log(server->index, log_origin(server->logs[i]), &number, NULL) != 0 ||
            index_applied_size(server->index, number) > log_durable_size(server->logs[i]))
            return true;
    }
    return false;
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
    return code == 0 ? indexer_catch_up(server, err) : code;
}

static int load_note(struct log *log, struct buf *out, struct err *err)
{
    int code = log_load_checkpoint(log, false, out, err);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* What the index has not applied of a log: a change of homes may wait for a basis that is not here yet. */
static int give_unindexed(struct server *server, uint32_t log, struct err *err)
{
    struct region_log_status status;
    region_log_status(server->region, log, &status);
    uint64_t next = status.indexed_size;
    int code = 0;
    while (code == 0 && next < status.size) {
        struct block *block = NULL;
        code = log_read_block(server->logs[log], next, &block, err);
        if (code != 0)
            return code;
        code = region_found_block(server->region, log, block, err);
        next = block->first_index + block->entry_count;
        block_release(block);
    }
    return code;
}

/* Of any incarnation of this region. */
static bool is_own(const struct server *server, struct bytes origin)
{
    struct origin parts;
    return origin_parse(origin, &parts, NULL) == 0 && strcmp(parts.region, server->config->region.region) == 0;
}

static int make_region(struct server *server, struct err *err)
{
    size_t count = atomic_load(&server->log_count);
    struct region_log_found *found = mem_alloc_zero(count, sizeof(*found));
    struct buf *notes = mem_alloc_zero(2 * count, sizeof(*notes)); /* the logs' notes, then those that were signed */
    int code = found == NULL || notes == NULL ? err_no_memory(err, "the region") : 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        struct bytes origin = log_origin(server->logs[i]);
        memcpy(found[i].origin, origin.data, origin.size_bytes);
        log_chain(server->logs[i], &found[i].chain);
        buf_init(&notes[i], NOTE_MAX_BYTES);
        buf_init(&notes[count + i], NOTE_MAX_BYTES);
        code = load_note(server->logs[i], &notes[i], err);
        if (code == 0 && is_own(server, origin))
            code = life_load_signed(server, origin, &notes[count + i], err);
        found[i].checkpoint = buf_bytes(&notes[i]);
        found[i].signed_note = buf_bytes(&notes[count + i]);
    }
    if (code == 0)
        code = region_new(&server->config->region, found, count, server->index, &server->region, err);
    for (uint32_t i = 0; code == 0 && i < count; i++)
        code = give_unindexed(server, i, err);
    for (size_t i = 0; notes != NULL && i < 2 * count; i++)
        buf_free(&notes[i]);
    mem_free(notes);
    mem_free(found);
    return code;
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
    if (code != 0)
        server_die(server, "%s", err.message);
}

static int serve(struct server *server, struct err *err)
{
    uint16_t port = 0;
    int code = rpc_server_start(&server->backend, server->config->listen, &server->rpc, &port, err);
    if (code != 0)
        return code;
    char *colon = strrchr(server->config->listen, ':');
    snprintf(colon, REGION_ADDRESS_MAX_BYTES - (size_t)(colon - server->config->listen), ":%u", port);
    code = start_thread(&server->sequencer, sequencer_run, server, err);
    if (code != 0)
        server_die(server, "%s", err->message);
    return 0;
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
    for (size_t i = 0; i < atomic_load(&server->log_count); i++)
        log_close(server->logs[i]);
    disk_close(server->lock);
    mailbox_free(server->mail);
    mailbox_free(server->jobs);
    sha256_free(server->sha);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->mutex);
    server_config_free(server->config);
    mem_free(server);
}

static int prepare(struct server *server, struct err *err)
{
    server->sha = sha256_new();
    server->mail = mailbox_new(SERVER_MAIL_MAX);
    server->jobs = mailbox_new(SERVER_JOBS_MAX);
    if (server->sha == NULL || server->mail == NULL || server->jobs == NULL)
        return err_no_memory(err, "the server");
    server->log_options = (struct log_options){.segment_size_bytes = server->config->segment_size_bytes};
    int code = take_lock(server, err);
    if (code == 0)
        code = life_find_mark(server, err);
    if (code == 0)
        code = open_logs(server, err);
    if (code == 0)
        code = open_index(server, err);
    server->config->region.fresh = server->config->region.incarnation == server->life.fresh_incarnation;
    if (code == 0)
        code = make_region(server, err);
    if (code != 0)
        return code;
    server->backend = (struct rpc_backend){.ops = &server_backend_ops,
                                           .config = &server->config->region,
                                           .index = server->index,
                                           .start_mono_us = clock_now().mono_us};
    server->backend.contexts_digest = context_table_digest(&server->config->region.contexts, server->sha);
    return 0;
}

static void stop_threads(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    atomic_store(&server->stopping, true);
    pthread_mutex_unlock(&server->mutex);
    server_changed(server);
    if (server->rpc != NULL)
        rpc_server_stop(server->rpc);
    mailbox_close(
        server->mail); /* from here on messages of other threads are dropped: nobody waits for them any more */
    if (server->rpc != NULL)
        pthread_join(server->sequencer, NULL);
    peers_stop(server->peers);
    mailbox_close(server->jobs);
    pthread_join(server->writer, NULL);
    atomic_store(&server->indexer_stopping, true);
    server_changed(server);
    pthread_join(server->indexer, NULL);
    pthread_join(server->scrubber, NULL);
    projector_stop(server->projector);
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
    snprintf(out, 512, "region %s ready on %s", server->config->region.region, server->config->listen);
}

void server_stop(struct server *server)
{
    stop_threads(server);
    close_files(server);
}
