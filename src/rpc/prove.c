/* Prove: a receipt for one entry, named by its event's id or by its place. The backend makes it; what is here is
 * finding the entry, and waiting until a published checkpoint covers it. */
#include "base/mem.h"
#include "crypto/receipt.h"
#include "platform/clock.h"
#include "rpc/held.h"
#include "rpc/methods.h"

enum { PROVE_WAIT_DEFAULT_MS = 30 * 1000, PROVE_WAIT_MAX_MS = 3600 * 1000 };

/* Where the entry is. An id that the index does not have once it has caught up is nowhere in this region. */
static int find_entry(struct call *call, const Tally__V1__ProveRequest *request, size_t *ret_log, uint64_t *ret_index,
                      struct err *err)
{
    struct rpc_backend *backend = call->backend;
    struct index_event event;
    char origin[INDEX_ORIGIN_MAX_BYTES + 1];
    if (request->event_id.len == 0) {
        *ret_index = request->index;
        return held_find(backend, bytes_of_string(request->origin), NULL, ret_log, err);
    }
    if (request->event_id.len != ENTRY_ID_SIZE)
        return err_set(err, ERR_INVALID, "event_id has %zu bytes; an id has %d", request->event_id.len, ENTRY_ID_SIZE);
    int code = held_wait_indexed(call, err);
    if (code == 0)
        code = index_event(backend->index, request->event_id.data, &event, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, code, "region %s holds no event with that id", backend->config->region);
    if (code == 0)
        code = index_origin(backend->index, event.place.log, origin, err);
    if (code == 0)
        code = held_find(backend, bytes_of_string(origin), NULL, ret_log, err);
    if (code == 0)
        *ret_index = event.place.index;
    return code;
}

static int wait_for_receipt(struct call *call, uint64_t timeout_ms, size_t log, uint64_t index, struct buf *out,
                            struct err *err)
{
    struct rpc_backend *backend = call->backend;
    if (index >= log_durable_size(backend->ops->log_at(backend, log)))
        return err_set(err, ERR_NOT_FOUND, "the log has %llu entries here; there is no entry %llu",
                       (unsigned long long)log_durable_size(backend->ops->log_at(backend, log)),
                       (unsigned long long)index);
    if (timeout_ms == 0)
        timeout_ms = PROVE_WAIT_DEFAULT_MS;
    if (timeout_ms > PROVE_WAIT_MAX_MS)
        timeout_ms = PROVE_WAIT_MAX_MS;
    uint64_t deadline_us = clock_now().mono_us + timeout_ms * 1000;
    uint64_t seen = backend->ops->wait_change(backend, 0, 0);
    while (true) {
        struct err why = {0};
        int code = backend->ops->prove(backend, log, index, out, &why);
        if (code != ERR_UNAVAILABLE)
            return code == 0 ? 0 : err_set(err, code, "%s", why.message);
        uint64_t now_us = clock_now().mono_us;
        if (now_us >= deadline_us)
            return err_set(err, ERR_TIMEOUT, "no receipt within %llu ms: %s", (unsigned long long)timeout_ms,
                           why.message);
        code = call_wait_change(call, &seen, (deadline_us - now_us) / 1000 + 1, err);
        if (code != 0)
            return code;
    }
}

static int prove(struct call *call, const Tally__V1__ProveRequest *request, struct buf *receipt, struct err *err)
{
    size_t log = 0;
    uint64_t index = 0;
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1] = "";
    int code = find_entry(call, request, &log, &index, err);
    if (code == 0)
        code = wait_for_receipt(call, request->timeout_ms, log, index, receipt, err);
    if (code != 0)
        return code;
    struct bytes name = log_origin(call->backend->ops->log_at(call->backend, log));
    memcpy(origin, name.data, name.size_bytes);
    Tally__V1__ProveResponse response;
    tally__v1__prove_response__init(&response);
    response.origin = origin;
    response.index = index;
    response.receipt = (ProtobufCBinaryData){.len = receipt->size_bytes, .data = receipt->data};
    return call_answer(call, &response.base);
}

int method_prove(struct call *call, struct err *err)
{
    struct arena arena;
    struct buf receipt;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    buf_init(&receipt, RECEIPT_MAX_BYTES);
    int code = call_read_request(call, &tally__v1__prove_request__descriptor, &arena, &message, err);
    if (code == 0)
        code = prove(call, (const Tally__V1__ProveRequest *)message, &receipt, err);
    buf_free(&receipt);
    arena_free(&arena);
    return code;
}
