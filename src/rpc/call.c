/* Blocking calls on top of gRPC's completion queues.
 *
 * gRPC takes batches of operations and announces each batch on a completion queue under a tag. Every call here has a
 * queue of its own from which a thread plucks exactly the tag it waits for, so that "start and pluck" makes a blocking
 * operation, and the reading thread never takes the writing thread's event.
 *
 *   begin    RECV_CLOSE, not waited for: its completion is the notice that the client is gone (or, after the status,
 * that all is over) read     RECV_MESSAGE write    SEND_MESSAGE, with SEND_INITIAL_METADATA in front the first time
 *   finish   SEND_STATUS (with the answer of a unary call), then the close notice is waited for
 *
 * Invariants:
 *  1. Every batch that was started is plucked before the queue is destroyed; that is also when memory that gRPC writes
 * to (cancelled, the received buffer) may go.
 *  2. The close notice is plucked by one thread at a time: under the mutex without waiting, or by call_finish once
 * `finishing` keeps the others away.
 *  3. At most one read and one write are under way. A write goes on while the next message is made: who writes waits
 * for the one before.
 *
 * A client that takes no bytes can hold up a write for as long as its connection lives (keepalive ends a dead one), but
 * not a status: after the time given to call_finish the call is cancelled, which completes whatever is pending. */
#include "rpc/call.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/time.h>

#include "base/assert.h"
#include "base/mem.h"

/* Without polling: the appender's thread drives the connections (appender.h), and with others polling beside it each
 * event would wake a thread that hands it on. */
static grpc_completion_queue *create_queue(void)
{
    grpc_completion_queue_attributes attributes = {.version = GRPC_CQ_CURRENT_VERSION,
                                                   .cq_completion_type = GRPC_CQ_PLUCK,
                                                   .cq_polling_type = GRPC_CQ_NON_POLLING};
    return grpc_completion_queue_create(grpc_completion_queue_factory_lookup(&attributes), &attributes, NULL);
}

struct call *call_new(struct rpc_server *server, struct rpc_backend *backend)
{
    struct call *call = mem_alloc_zero(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->server = server;
    call->backend = backend;
    call->queue = create_queue();
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    INVARIANT(pthread_mutex_init(&call->mutex, NULL) == 0);
    return call;
}

void call_free(struct call *call)
{
    if (call->answer != NULL)
        grpc_byte_buffer_destroy(call->answer);
    if (call->core != NULL)
        grpc_call_unref(call->core);
    grpc_completion_queue_shutdown(call->queue);
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    while (grpc_completion_queue_pluck(call->queue, NULL, never, NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_completion_queue_destroy(call->queue);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    pthread_mutex_destroy(&call->mutex);
    mem_free(call);
}

static gpr_timespec in_ms(uint64_t timeout_ms)
{
    if (timeout_ms > INT32_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)timeout_ms, GPR_TIMESPAN));
}

static void start(struct call *call, const grpc_op *operations, size_t count, void *tag)
{
    grpc_call_error code = grpc_call_start_batch(call->core, operations, count, tag, NULL);
    INVARIANT(code == GRPC_CALL_OK);
}

/* Waits for the batch. False when it failed, which means that the call is over. */
static bool wait_for(struct call *call, void *tag)
{
    grpc_event event = grpc_completion_queue_pluck(call->queue, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    INVARIANT(event.type == GRPC_OP_COMPLETE);
    return event.success != 0;
}

void call_begin(struct call *call)
{
    grpc_op operation = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    operation.data.recv_close_on_server.cancelled = &call->cancelled;
    start(call, &operation, 1, &call->tag_close);
}

bool call_cancelled(struct call *call)
{
    pthread_mutex_lock(&call->mutex);
    if (!call->closed && !call->finishing) {
        gpr_timespec now = gpr_inf_past(GPR_CLOCK_MONOTONIC);
        grpc_event event = grpc_completion_queue_pluck(call->queue, &call->tag_close, now, NULL);
        call->closed = event.type == GRPC_OP_COMPLETE;
    }
    bool cancelled = call->closed || call->finishing;
    pthread_mutex_unlock(&call->mutex);
    return cancelled;
}

int call_check(struct call *call, struct err *err)
{
    if (call_cancelled(call))
        return err_set(err, ERR_CANCELLED, "the caller is gone");
    if (call->backend->ops->stopping(call->backend))
        return err_set(err, ERR_UNAVAILABLE, "the server is stopping; try again soon, or another region");
    return 0;
}

int call_wait_change(struct call *call, uint64_t *seen, uint64_t timeout_ms, struct err *err)
{
    int code = call_check(call, err);
    if (code != 0)
        return code;
    uint64_t wait_ms = timeout_ms < CALL_POLL_MS ? timeout_ms : CALL_POLL_MS;
    *seen = call->backend->ops->wait_change(call->backend, *seen, wait_ms);
    return 0;
}

void call_message_free(struct call_message *message)
{
    grpc_slice_unref(message->slice);
    *message = (struct call_message){0};
}

static struct bytes slice_bytes(const grpc_slice *slice)
{
    return bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

void call_message_move(struct call_message *from, struct call_message *to)
{
    to->slice = from->slice;
    to->bytes = slice_bytes(&to->slice);
    *from = (struct call_message){0};
}

void call_message_take(grpc_byte_buffer *received, struct call_message *ret)
{
    grpc_byte_buffer_reader reader;
    int readable = grpc_byte_buffer_reader_init(&reader, received);
    INVARIANT(readable != 0); /* nothing is compressed */
    ret->slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(received);
    ret->bytes = slice_bytes(&ret->slice);
}

int call_read(struct call *call, struct call_message *ret, struct err *err)
{
    grpc_byte_buffer *received = NULL;
    grpc_op operation = {.op = GRPC_OP_RECV_MESSAGE};
    operation.data.recv_message.recv_message = &received;
    start(call, &operation, 1, &call->tag_read);
    wait_for(call, &call->tag_read);
    if (received == NULL)
        return call_cancelled(call) ? err_set(err, ERR_CANCELLED, "the caller is gone")
                                    : err_set(err, ERR_END, "the caller has no more to say");
    call_message_take(received, ret);
    return 0;
}

int call_read_request(struct call *call, const ProtobufCMessageDescriptor *type, struct arena *arena,
                      ProtobufCMessage **ret, struct err *err)
{
    struct call_message message;
    int code = call_read(call, &message, err);
    if (code == ERR_END)
        return err_set(err, ERR_INVALID, "the call carries no %s", type->short_name);
    if (code != 0)
        return code;
    code = message_unpack(type, message.bytes, arena, ret, err);
    call_message_free(&message);
    return code;
}

/* Adds the headers to a batch if they are still to be sent. */
static size_t add_headers(struct call *call, grpc_op *operations)
{
    if (call->headers_sent)
        return 0;
    operations[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    call->headers_sent = true;
    return 1;
}

/* Waits for the message that is under way, if there is one. False when it could not be sent, or not in time: then the
 * call is over, or is cancelled. */
static bool finish_write(struct call *call, uint64_t timeout_ms)
{
    if (call->writing == NULL)
        return true;
    grpc_event event = grpc_completion_queue_pluck(call->queue, &call->tag_write, in_ms(timeout_ms), NULL);
    if (event.type == GRPC_QUEUE_TIMEOUT) {
        grpc_call_cancel(call->core, NULL);
        event.success = wait_for(call, &call->tag_write);
    }
    grpc_byte_buffer_destroy(call->writing);
    call->writing = NULL;
    return event.success != 0;
}

int call_write(struct call *call, grpc_slice *slices, size_t slice_count, struct err *err)
{
    bool sent = finish_write(call, UINT64_MAX);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(slices, slice_count);
    for (size_t i = 0; i < slice_count; i++)
        grpc_slice_unref(slices[i]);
    if (!sent) {
        grpc_byte_buffer_destroy(buffer);
        return err_set(err, ERR_CANCELLED, "the caller is gone");
    }
    grpc_op operations[2];
    size_t count = add_headers(call, operations);
    operations[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    operations[count].data.send_message.send_message = buffer;
    call->writing = buffer;
    start(call, operations, count + 1, &call->tag_write);
    return 0;
}

grpc_slice call_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

int call_write_message(struct call *call, const ProtobufCMessage *message, struct err *err)
{
    grpc_slice slice = call_pack(message);
    return call_write(call, &slice, 1, err);
}

int call_answer(struct call *call, const ProtobufCMessage *message)
{
    PRE(call->answer == NULL);
    grpc_slice slice = call_pack(message);
    call->answer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return 0;
}

int call_fail_refused(struct call *call, const struct region_refusal *refusal, const struct region_command *command,
                      struct err *err)
{
    error_detail_init(&call->detail, refusal, command);
    call->has_detail = true;
    return err_set(err, refusal->code, "%s", refusal->err.message);
}

/* Waits for the status and then for the close notice; cancels what takes too long. */
static void wait_for_end(struct call *call, uint64_t timeout_ms)
{
    grpc_event event = grpc_completion_queue_pluck(call->queue, &call->tag_status, in_ms(timeout_ms), NULL);
    if (event.type == GRPC_QUEUE_TIMEOUT) {
        grpc_call_cancel(call->core, NULL);
        wait_for(call, &call->tag_status);
    }
    wait_for(call, &call->tag_close);
    call->closed = true;
}

static void send_status(struct call *call, int code, const struct err *err)
{
    grpc_op operations[3];
    size_t count = add_headers(call, operations);
    if (code == 0 && call->answer != NULL) {
        operations[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
        operations[count++].data.send_message.send_message = call->answer;
    }
    if (code != 0 && !call->has_detail)
        error_detail_init_plain(&call->detail, code, err);
    struct status_op status;
    status_op_begin(code == 0 ? NULL : &call->detail, &status, &operations[count++]);
    start(call, operations, count, &call->tag_status);
    status_op_end(&status);
}

void call_finish(struct call *call, int code, const struct err *err, uint64_t timeout_ms)
{
    finish_write(call, timeout_ms);
    pthread_mutex_lock(&call->mutex);
    bool over = call->closed || call->finishing;
    call->finishing = true;
    pthread_mutex_unlock(&call->mutex);
    if (over)
        return;
    send_status(call, code, err);
    wait_for_end(call, timeout_ms);
}
