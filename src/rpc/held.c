/* Looking for a log by its origin among those that the backend shows (held.h). */
#include "rpc/held.h"

#include "base/assert.h"
#include "platform/clock.h"

enum { INDEX_WAIT_MS = 5000 };

int held_find(struct rpc_backend *backend, struct bytes origin, struct log **ret, size_t *ret_number, struct err *err)
{
    size_t count = backend->ops->log_count(backend);
    for (size_t i = 0; i < count; i++) {
        struct log *log = backend->ops->log_at(backend, i);
        if (origin.size_bytes != 0 && !bytes_equal(origin, log_origin(log)))
            continue;
        if (ret != NULL)
            *ret = log;
        if (ret_number != NULL)
            *ret_number = i;
        return 0;
    }
    int code = entry_check_origin(origin, err);
    if (code != 0)
        return code;
    return err_set(err, ERR_NOT_FOUND, "region %s holds no log %.*s; Status lists the %zu logs that it holds",
                   backend->config->region, (int)origin.size_bytes, (const char *)origin.data, count);
}

int held_frame(struct rpc_backend *backend, const char *origin, uint64_t index, struct block **ret_block,
               struct bytes *ret, struct err *err)
{
    struct log *log = NULL;
    struct block *block = NULL;
    int code = held_find(backend, bytes_of_string(origin), &log, NULL, err);
    if (code == 0)
        code = log_read_block(log, index, &block, err);
    if (code != 0)
        return code;
    code = block_find(block, index, ret, err);
    if (code != 0) {
        block_release(block);
        return code;
    }
    *ret_block = block;
    return 0;
}

void held_origin(struct log *log, struct origin *ret)
{
    int code = origin_parse(log_origin(log), ret, NULL);
    INVARIANT(code == 0);
}

int held_set_position(struct position *position, struct bytes origin, uint64_t size, struct err *err)
{
    struct origin parsed;
    int code = origin_parse(origin, &parsed, err);
    if (code != 0)
        return code;
    if (position_set(position, parsed.region, parsed.incarnation, size) != 0)
        return err_set(err, ERR_TOO_LARGE, "a position names at most %d logs", POSITION_LOGS_MAX);
    return 0;
}

int held_wait_indexed(struct call *call, struct err *err)
{
    struct rpc_backend *backend = call->backend;
    struct log *own = backend->ops->log_at(backend, 0);
    uint64_t size = log_durable_size(own);
    uint64_t deadline_us = clock_now().mono_us + INDEX_WAIT_MS * 1000ull;
    uint64_t seen = backend->ops->wait_change(backend, 0, 0);
    uint32_t number = 0;
    int code = index_log(backend->index, log_origin(own), &number, err);
    while (code == 0 && index_applied_size(backend->index, number) < size) {
        uint64_t now_us = clock_now().mono_us;
        if (now_us >= deadline_us)
            return err_set(err, ERR_UNAVAILABLE,
                           "the index is at %llu of %llu entries; try again when it has caught up",
                           (unsigned long long)index_applied_size(backend->index, number), (unsigned long long)size);
        code = call_wait_change(call, &seen, (deadline_us - now_us) / 1000 + 1, err);
    }
    return code;
}
