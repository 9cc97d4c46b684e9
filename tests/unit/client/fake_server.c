#include "fake_server.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct fake_server {
    grpc_server *grpc;
    grpc_completion_queue *queue;
    pthread_t thread;
    fake_handler *handler;
    void *context;
    char address[32];
};

struct fake_call {
    grpc_call *grpc;
    grpc_completion_queue *queue; /* of its own */
    grpc_call_details details;
    grpc_metadata_array headers;
    int cancelled;
    bool headers_sent;
    bool ended;
    char close_tag;
    char tag;
};

static bool run(struct fake_call *call, const grpc_op *ops, size_t count)
{
    grpc_call_error error = grpc_call_start_batch(call->grpc, ops, count, &call->tag, NULL);
    PRE(error == GRPC_CALL_OK);
    return grpc_completion_queue_pluck(call->queue, &call->tag, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).success != 0;
}

static void send_headers(struct fake_call *call)
{
    grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    if (!call->headers_sent)
        (void)run(call, &op, 1);
    call->headers_sent = true;
}

bool fake_method_is(const struct fake_call *call, const char *method)
{
    return grpc_slice_str_cmp(call->details.method, method) == 0;
}

bool fake_read(struct fake_call *call, struct buf *out)
{
    grpc_byte_buffer *message = NULL;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &message};
    (void)run(call, &op, 1);
    if (message == NULL)
        return false;
    grpc_byte_buffer_reader reader;
    int ready = grpc_byte_buffer_reader_init(&reader, message);
    PRE(ready != 0);
    grpc_slice *slice = NULL;
    while (grpc_byte_buffer_reader_peek(&reader, &slice)) {
        int rc = buf_append(out, bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)));
        PRE(rc == 0);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(message);
    return true;
}

bool fake_send(struct fake_call *call, struct bytes message)
{
    send_headers(call);
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)message.data, message.size_bytes);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
    bool sent = run(call, &op, 1);
    grpc_byte_buffer_destroy(buffer);
    return sent;
}

void fake_end(struct fake_call *call, int grpc_status, const char *message, struct bytes detail)
{
    PRE(!call->ended);
    send_headers(call);
    grpc_slice text = grpc_slice_from_copied_string(message);
    grpc_metadata trailer = {
        .key = grpc_slice_from_static_string("tally-error-bin"),
        .value = grpc_slice_from_copied_buffer((const char *)detail.data, detail.size_bytes),
    };
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)grpc_status;
    op.data.send_status_from_server.status_details = &text;
    op.data.send_status_from_server.trailing_metadata = &trailer;
    op.data.send_status_from_server.trailing_metadata_count = detail.size_bytes > 0 ? 1 : 0;
    (void)run(call, &op, 1);
    grpc_slice_unref(trailer.value);
    grpc_slice_unref(text);
    call->ended = true;
}

static void wait_closed(struct fake_call *call)
{
    (void)grpc_completion_queue_pluck(call->queue, &call->close_tag, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

void fake_wait_cancelled(struct fake_call *call)
{
    /* The close is collected once more at the end, so only its effect is awaited here. */
    while (__atomic_load_n(&call->cancelled, __ATOMIC_SEQ_CST) == 0)
        (void)grpc_completion_queue_pluck(
            call->queue, &call->tag, gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(2, GPR_TIMESPAN)),
            NULL);
}

static void serve_call(struct fake_server *server, struct fake_call *call)
{
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &call->cancelled};
    grpc_call_error error = grpc_call_start_batch(call->grpc, &close, 1, &call->close_tag, NULL);
    PRE(error == GRPC_CALL_OK);
    server->handler(call, server->context);
    if (!call->ended)
        fake_end(call, GRPC_STATUS_OK, "", bytes_of(NULL, 0));
    wait_closed(call);
    grpc_call_unref(call->grpc);
}

static void *serve(void *context)
{
    struct fake_server *server = context;
    for (;;) {
        struct fake_call call = {.queue = grpc_completion_queue_create_for_pluck(NULL)};
        grpc_call_details_init(&call.details);
        grpc_metadata_array_init(&call.headers);
        grpc_call_error error = grpc_server_request_call(server->grpc, &call.grpc, &call.details, &call.headers,
                                                         call.queue, server->queue, &call.tag);
        grpc_event event = {0};
        if (error == GRPC_CALL_OK)
            event = grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        bool got_call = event.success != 0 && event.tag == &call.tag;
        if (got_call)
            serve_call(server, &call);
        grpc_metadata_array_destroy(&call.headers);
        grpc_call_details_destroy(&call.details);
        grpc_completion_queue_destroy(call.queue);
        if (!got_call)
            return NULL;
    }
}

struct fake_server *fake_server_start(fake_handler *handler, void *context, const char **ret_address)
{
    struct fake_server *server = mem_alloc_zero(1, sizeof(*server));
    PRE(server != NULL);
    grpc_init();
    server->handler = handler;
    server->context = context;
    server->queue = grpc_completion_queue_create_for_next(NULL);
    server->grpc = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(server->grpc, server->queue, NULL);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->grpc, "127.0.0.1:0", credentials);
    grpc_server_credentials_release(credentials);
    PRE(port > 0);
    (void)snprintf(server->address, sizeof(server->address), "127.0.0.1:%d", port);
    grpc_server_start(server->grpc);
    int failed = pthread_create(&server->thread, NULL, serve, server);
    PRE(failed == 0);
    *ret_address = server->address;
    return server;
}

void fake_server_stop(struct fake_server *server)
{
    char tag;
    grpc_server_shutdown_and_notify(server->grpc, server->queue, &tag);
    grpc_server_cancel_all_calls(server->grpc);
    (void)pthread_join(server->thread, NULL);
    grpc_completion_queue_shutdown(server->queue);
    while (grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        continue;
    grpc_server_destroy(server->grpc);
    grpc_completion_queue_destroy(server->queue);
    grpc_shutdown();
    mem_free(server);
}
