/* What HTTP may ask of the server: the table of admin/admin.h. Any thread. */
#include <stddef.h>

#include "base/mem.h"
#include "server/internal.h"

static struct server *server_of(struct admin_backend *backend)
{
    return (struct server *)(void *)((char *)backend - offsetof(struct server, admin_backend));
}

static size_t log_count(struct admin_backend *backend)
{
    return atomic_load(&server_of(backend)->store.log_count);
}

static struct log *log_at(struct admin_backend *backend, size_t log)
{
    return log < log_count(backend) ? server_of(backend)->store.logs[log] : NULL;
}

static struct tiles *tiles_at(struct admin_backend *backend, size_t log)
{
    return tiler_tiles(server_of(backend)->tiler, log);
}

static int status(struct admin_backend *backend, struct admin_status *ret, struct err *err)
{
    struct server *server = server_of(backend);
    struct rpc_status *from = mem_alloc_zero(1, sizeof(*from));
    int code = from == NULL ? err_no_memory(err, "the status") : 0;
    if (code == 0)
        code = server_backend_ops.status(&server->backend, from, err);
    if (code == 0) {
        ret->accepting = from->accepting;
        ret->now_mono_us = from->now_mono_us;
        ret->log_count = from->log_count;
        ret->peer_count = from->peer_count;
        memcpy(ret->logs, from->logs, sizeof(ret->logs));
        memcpy(ret->peers, from->peers, sizeof(ret->peers));
        ret->context_count = from->context_count;
        ret->drift_count = drift_verdicts(server->drift, NULL, ret->drifts, ADMIN_DRIFTS_MAX);
        memcpy(ret->contexts, from->contexts, sizeof(ret->contexts));
        ret->takeover = from->takeover;
        ret->certificate = from->certificate;
        ret->witness_count = submitter_status(server, ret->witnesses);
        for (size_t i = 0; i < ret->log_count; i++) {
            struct tiles *tiles = tiler_tiles(server->tiler, i);
            ret->tiles_sizes[i] = tiles == NULL ? 0 : tiles_size(tiles);
            tiler_error(server->tiler, i, ret->tiles_errors[i]);
        }
    }
    mem_free(from);
    return code;
}

static int checkpoint(struct admin_backend *backend, size_t log, struct buf *out, uint64_t *ret_size, struct err *err)
{
    return tiler_checkpoint(server_of(backend)->tiler, log, out, ret_size, err);
}

static void tiles_damaged(struct admin_backend *backend, size_t log)
{
    tiler_damaged(server_of(backend)->tiler, log);
}

const struct admin_backend_ops server_admin_ops = {
    .log_count = log_count,
    .log_at = log_at,
    .tiles_at = tiles_at,
    .status = status,
    .checkpoint = checkpoint,
    .tiles_damaged = tiles_damaged,
};
