/* Calls on gRPC core's C API.
 *
 * gRPC core is asynchronous: operations are started in batches under a tag, and their completion appears on a
 * completion queue. Here each call has a queue of its own, of the "pluck" kind, so that two threads of one call can
 * each wait for their own tag: a reader for CALL_READ, a writer for CALL_WRITE. The core drives the sockets from inside
 * these waits; no thread of ours runs beside them.
 *
 * A streaming call starts with two batches that nobody waits for at first:
 *   CALL_OPEN    send our headers, receive the server's
 *   CALL_STATUS  receive the status; this completes exactly once, when everything about the call is over
 * A read that yields no message means that the call is over: then CALL_STATUS is collected, and from then on every read
 * gives the same answer.
 *
 * Invariants:
 *  1. Each batch started is collected before the call is freed; channel_call_close cancels first, so that all end.
 *  2. `ended`, the status and the trailing metadata belong to the reading side: only channel_call_read, and close after
 * it, touch them.
 *  3. Writes never look at the status: a failed one says that the call is over, and the reader learns why.
 *
 * Calls that share a queue (channel_queue) are the same, but for who collects: the tags lead to the call, and one
 * thread takes them as they come. A read without a message is reported once CALL_STATUS has come too.
 *
 * What the server says went wrong is in the trailing metadata "tally-error-bin" (an ErrorDetail). It is a hint from
 * outside: it is decoded under a memory ceiling, and an unknown number falls back to the gRPC status. */
#include "client/channel.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/queue.h"
#include "client/decode.h"
#include "client/tls.h"
#include "tally/v1/ledger.pb-c.h"

enum {
    KEEPALIVE_TIME_MS = 10 * 1000,
    KEEPALIVE_TIMEOUT_MS = 5 * 1000,
    CONNECT_TIMEOUT_MS = 5 * 1000,
    RECONNECT_FIRST_MS = 100,
    RECONNECT_MAX_MS = 2 * 1000,
    HTTP2_FRAME_MAX_BYTES = 1024 * 1024,
    DETAIL_MEMORY_MAX_BYTES = 64 * 1024,
    PORT_MAX = 65535,
};

#define DETAIL_KEY "tally-error-bin"

struct channel {
    grpc_channel *grpc; /* with tls: replaced, under the mutex, when tls has taken up other files */
    struct tls *tls;
    uint64_t tls_version; /* that grpc was made with */
    pthread_mutex_t mutex;
    char address[CHANNEL_ADDRESS_MAX_BYTES + 1];
};

enum call_tag { CALL_OPEN, CALL_STATUS, CALL_READ, CALL_WRITE, CALL_TAGS };

struct channel_queue {
    grpc_completion_queue *grpc;
    struct queue_link calls;
};

/* Its address is the tag. */
struct call_mark {
    struct channel_call *call;
    enum call_tag tag;
};

struct channel_call {
    struct channel *channel;
    grpc_completion_queue *queue;
    grpc_call *grpc;
    struct call_mark marks[CALL_TAGS];
    bool ended; /* CALL_STATUS was collected */
    uint64_t silence_ms;
    atomic_bool cancelled;
    grpc_metadata_array headers;
    grpc_metadata_array trailers;
    grpc_status_code status;
    grpc_slice status_text;

    /* Of a call on a shared queue: */
    struct queue_link link;
    void *context;
    bool unary;
    bool asking;  /* the read under way writes too */
    bool reading; /* CHANNEL_READ is owed */
    grpc_byte_buffer *received;
    grpc_byte_buffer *sending;
};

/* --- Addresses --- */

static bool host_valid(struct bytes host)
{
    if (host.size_bytes >= 2 && host.data[0] == '[') {
        if (host.data[host.size_bytes - 1] != ']')
            return false;
        host = bytes_of(host.data + 1, host.size_bytes - 2);
        for (size_t i = 0; i < host.size_bytes; i++)
            if (strchr("0123456789abcdefABCDEF:.", host.data[i]) == NULL || host.data[i] == 0)
                return false;
        return host.size_bytes > 0;
    }
    for (size_t i = 0; i < host.size_bytes; i++) {
        uint8_t c = host.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '-' && c != '_')
            return false;
    }
    return host.size_bytes > 0;
}

static int address_check(const char *address, struct err *err)
{
    size_t size = strlen(address);
    const char *colon = strrchr(address, ':');
    uint64_t port = 0;
    if (size > CHANNEL_ADDRESS_MAX_BYTES)
        return err_set(err, ERR_INVALID, "an address of %zu bytes is too long: at most %d", size,
                       CHANNEL_ADDRESS_MAX_BYTES);
    if (colon == NULL || !host_valid(bytes_of(address, (size_t)(colon - address))) ||
        parse_u64(colon + 1, strlen(colon + 1), &port) != 0 || port == 0 || port > PORT_MAX)
        return err_set(err, ERR_INVALID, "\"%s\" is not an address: write HOST:PORT, such as 127.0.0.1:7401", address);
    return 0;
}

/* The explicit scheme keeps gRPC from reading a host called "unix" as one; its URI parser wants brackets escaped. */
static void address_target(const char *address, char *out, size_t out_size)
{
    const char prefix[] = "dns:///";
    size_t used = sizeof(prefix) - 1;
    PRE(out_size >= used + CHANNEL_ADDRESS_MAX_BYTES + 5);
    memcpy(out, prefix, used);
    for (const char *c = address; *c != '\0'; c++) {
        if (*c == '[' || *c == ']') {
            memcpy(out + used, *c == '[' ? "%5B" : "%5D", 3);
            used += 3;
        } else {
            out[used++] = *c;
        }
    }
    out[used] = '\0';
}

/* --- Channels --- */

static void log_nothing(gpr_log_func_args *args)
{
    (void)args;
}

void channel_keep_quiet(void)
{
    if (getenv("GRPC_VERBOSITY") == NULL)
        gpr_set_log_function(log_nothing);
}

static grpc_arg integer_arg(const char *key, int value)
{
    union {
        const char *borrowed;
        char *unused_as_mutable;
    } name = {.borrowed = key};
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = name.unused_as_mutable, .value.integer = value};
}

/* Takes the credentials over. NULL when memory ran out. */
static grpc_channel *channel_create(const char *address, grpc_channel_credentials *credentials)
{
    char target[CHANNEL_ADDRESS_MAX_BYTES + 16];
    address_target(address, target, sizeof(target));
    grpc_arg args[] = {
        integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, CHANNEL_MESSAGE_MAX_BYTES),
        integer_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, CHANNEL_MESSAGE_MAX_BYTES),
        integer_arg(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, HTTP2_FRAME_MAX_BYTES),
        integer_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_TIME_MS),
        integer_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        integer_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        integer_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS),
        integer_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
        integer_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_MAX_MS),
        integer_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        integer_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        integer_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
        integer_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
    };
    grpc_channel_args all = {.num_args = sizeof(args) / sizeof(args[0]), .args = args};
    if (credentials == NULL)
        return NULL;
    grpc_channel *grpc = grpc_channel_create(target, credentials, &all);
    grpc_channel_credentials_release(credentials);
    return grpc;
}

static grpc_channel_credentials *credentials_of(struct tls *tls, uint64_t *ret_version)
{
    return tls == NULL ? grpc_insecure_credentials_create() : tls_channel_credentials(tls, ret_version);
}

int channel_open(const char *address, struct tls *tls, struct channel **ret, struct err *err)
{
    int rc = address_check(address, err);
    if (rc != 0)
        return rc;
    struct channel *channel = mem_alloc_zero(1, sizeof(*channel));
    if (channel == NULL)
        return err_no_memory(err, "a channel");
    memcpy(channel->address, address, strlen(address) + 1);
    channel->tls = tls;
    grpc_init();
    channel->grpc = channel_create(address, credentials_of(tls, &channel->tls_version));
    if (channel->grpc == NULL) {
        grpc_shutdown();
        mem_free(channel);
        return err_no_memory(err, "a channel");
    }
    INVARIANT(pthread_mutex_init(&channel->mutex, NULL) == 0);
    *ret = channel;
    return 0;
}

void channel_close(struct channel *channel)
{
    if (channel == NULL)
        return;
    grpc_channel_destroy(channel->grpc);
    grpc_shutdown();
    pthread_mutex_destroy(&channel->mutex);
    mem_free(channel);
}

/* Under the mutex. Calls that are under way keep the connection that they have; without memory so do new ones. */
static void follow_tls(struct channel *channel)
{
    if (tls_version(channel->tls) == channel->tls_version)
        return;
    uint64_t version = 0;
    grpc_channel *grpc = channel_create(channel->address, credentials_of(channel->tls, &version));
    if (grpc == NULL)
        return;
    grpc_channel_destroy(channel->grpc);
    channel->grpc = grpc;
    channel->tls_version = version;
}

static grpc_call *create_call(struct channel *channel, grpc_completion_queue *queue, grpc_slice method,
                              gpr_timespec deadline)
{
    if (channel->tls == NULL)
        return grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method, NULL, deadline,
                                        NULL);
    pthread_mutex_lock(&channel->mutex);
    follow_tls(channel);
    grpc_call *call =
        grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method, NULL, deadline, NULL);
    pthread_mutex_unlock(&channel->mutex);
    return call;
}

/* --- Bytes in and out --- */

static int message_check(struct bytes message, struct err *err)
{
    if (message.size_bytes > CHANNEL_MESSAGE_MAX_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a message of %zu bytes is over the limit of %d", message.size_bytes,
                       CHANNEL_MESSAGE_MAX_BYTES);
    return 0;
}

static grpc_byte_buffer *message_make(struct bytes message)
{
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)message.data, message.size_bytes);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

/* Takes the message over. */
static int message_take(grpc_byte_buffer *message, struct buf *out, struct err *err)
{
    size_t size_before = out->size_bytes;
    grpc_byte_buffer_reader reader;
    int rc = 0;
    if (!grpc_byte_buffer_reader_init(&reader, message)) {
        grpc_byte_buffer_destroy(message);
        return err_set(err, ERR_CORRUPT, "a message that cannot be decompressed");
    }
    grpc_slice *slice = NULL;
    while (rc == 0 && grpc_byte_buffer_reader_peek(&reader, &slice))
        rc = buf_append(out, bytes_of(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)));
    if (rc != 0) {
        out->size_bytes = size_before;
        rc = err_set(err, rc, "a message of %zu bytes does not fit", grpc_byte_buffer_length(message));
    }
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(message);
    return rc;
}

/* --- Why a call ended --- */

static int status_to_code(grpc_status_code status)
{
#define STATUS_TO_CODE(name, value, grpc, meaning)                                                                     \
    if (status == GRPC_STATUS_##grpc)                                                                                  \
        return (value);
    TALLY_ERROR_MAP(STATUS_TO_CODE)
#undef STATUS_TO_CODE
    return status == GRPC_STATUS_UNAUTHENTICATED ? ERR_PERMISSION : ERR_IO;
}

static bool code_known(int code)
{
#define CODE_KNOWN(name, value, grpc, meaning)                                                                         \
    if (code == (value))                                                                                               \
        return true;
    TALLY_ERROR_MAP(CODE_KNOWN)
#undef CODE_KNOWN
    return false;
}

/* The server's own words, if it sent any that can be understood; otherwise 0. */
static int error_from_detail(struct bytes bytes, struct err *err)
{
    struct arena arena;
    arena_init(&arena, DETAIL_MEMORY_MAX_BYTES);
    ProtobufCAllocator allocator = decode_allocator(&arena);
    Tally__V1__ErrorDetail *detail = tally__v1__error_detail__unpack(&allocator, bytes.size_bytes, bytes.data);
    int code = 0;
    if (detail != NULL && code_known(detail->number))
        code = err_set(err, detail->number, "%s", detail->message);
    arena_free(&arena);
    return code;
}

static struct bytes trailer_find(const grpc_metadata_array *trailers)
{
    for (size_t i = 0; i < trailers->count; i++)
        if (grpc_slice_str_cmp(trailers->metadata[i].key, DETAIL_KEY) == 0)
            return bytes_of(GRPC_SLICE_START_PTR(trailers->metadata[i].value),
                            GRPC_SLICE_LENGTH(trailers->metadata[i].value));
    return bytes_of(NULL, 0);
}

/* A connection was made and then broken off: by a server that wants TLS, or believes no certificate of ours. Whether
 * the close or a reset comes first is chance. */
static bool was_broken_off(const char *text)
{
    return strstr(text, "Socket closed") != NULL || strstr(text, "reset by peer") != NULL ||
           strstr(text, "Broken pipe") != NULL;
}

/* What an operator can make of gRPC's words, which are not the same in every version: where none fits, they stand
 * alone. */
static const char *explain_unreachable(bool tls, const char *text)
{
    if (!tls)
        return was_broken_off(text) ? ". Does it want TLS (tls: in its tallyd.yaml)? Then say which certificate to "
                                      "show: --tls-ca, --tls-cert and --tls-key, or TALLY_TLS_CA, TALLY_TLS_CERT and "
                                      "TALLY_TLS_KEY"
                                    : "";
    if (strstr(text, "wrong version number") != NULL)
        return ". It does not speak TLS: set tls: in its tallyd.yaml, or connect without";
    if (strstr(text, "certificate verify failed") != NULL)
        return ". Its certificate has expired, or none of the CAs given has signed it";
    if (strstr(text, "is not in peer certificate") != NULL)
        return ". Its certificate must name the host of this address (subjectAltName)";
    return was_broken_off(text)
               ? ". Does it believe the certificate that was shown to it? Its ca_file must have the CA "
                 "that signed it"
               : "";
}

static int refuse_unreachable(const struct channel_call *call, struct err *err)
{
    char text[TALLY_ERROR_MESSAGE_MAX_BYTES / 2];
    size_t size = GRPC_SLICE_LENGTH(call->status_text);
    if (size > sizeof(text) - 1)
        size = sizeof(text) - 1;
    memcpy(text, GRPC_SLICE_START_PTR(call->status_text), size);
    text[size] = '\0';
    return err_set(err, ERR_UNAVAILABLE, "%s cannot be reached: %s%s", call->channel->address, text,
                   explain_unreachable(call->channel->tls != NULL, text));
}

/* After the status was received: ERR_END for OK, otherwise what went wrong. */
static int call_outcome(struct channel_call *call, struct buf *detail, struct err *err)
{
    if (atomic_load(&call->cancelled))
        return err_set(err, ERR_CANCELLED, "the call to %s was cancelled", call->channel->address);
    if (call->status == GRPC_STATUS_OK)
        return err_set(err, ERR_END, "%s has sent everything", call->channel->address);
    struct bytes trailer = trailer_find(&call->trailers);
    int code = trailer.size_bytes == 0 ? 0 : error_from_detail(trailer, err);
    if (code != 0) {
        int rc = detail == NULL ? 0 : buf_append(detail, trailer);
        return rc == 0 ? code : err_set(err, rc, "the error's detail does not fit");
    }
    int text_size = (int)GRPC_SLICE_LENGTH(call->status_text);
    const char *text = (const char *)GRPC_SLICE_START_PTR(call->status_text);
    if (call->status == GRPC_STATUS_CANCELLED)
        return err_set(err, ERR_UNAVAILABLE, "%s broke the call off: it is probably stopping", call->channel->address);
    if (call->status == GRPC_STATUS_UNAVAILABLE)
        return refuse_unreachable(call, err);
    if (call->status == GRPC_STATUS_DEADLINE_EXCEEDED)
        return err_set(err, ERR_TIMEOUT, "%s did not answer in time", call->channel->address);
    return err_set(err, status_to_code(call->status), "%s: %.*s", call->channel->address, text_size, text);
}

/* --- Calls --- */

static gpr_timespec deadline_after(uint64_t timeout_ms)
{
    if (timeout_ms == 0 || timeout_ms > INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)timeout_ms, GPR_TIMESPAN));
}

/* Waits for the batch under this tag; whether it succeeded. */
static bool call_collect(struct channel_call *call, enum call_tag tag)
{
    grpc_event event =
        grpc_completion_queue_pluck(call->queue, &call->marks[tag], gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    INVARIANT(event.type == GRPC_OP_COMPLETE);
    return event.success != 0;
}

/* Fails only for batches that are against the rules, which would be our own mistake. */
static void call_start(struct channel_call *call, const grpc_op *ops, size_t count, enum call_tag tag)
{
    grpc_call_error error = grpc_call_start_batch(call->grpc, ops, count, &call->marks[tag], NULL);
    INVARIANT(error == GRPC_CALL_OK);
}

/* The call has a queue of its own when queue is NULL. */
static int call_new(struct channel *channel, struct channel_queue *queue, const char *method, uint64_t timeout_ms,
                    struct channel_call **ret, struct err *err)
{
    struct channel_call *call = mem_alloc_zero(1, sizeof(*call));
    if (call == NULL)
        return err_no_memory(err, "a call");
    grpc_slice name = grpc_slice_from_copied_string(method);
    call->channel = channel;
    call->queue = queue != NULL ? queue->grpc : grpc_completion_queue_create_for_pluck(NULL);
    call->grpc = create_call(channel, call->queue, name, deadline_after(timeout_ms));
    grpc_slice_unref(name);
    for (enum call_tag tag = 0; tag < CALL_TAGS; tag++)
        call->marks[tag] = (struct call_mark){.call = call, .tag = tag};
    atomic_init(&call->cancelled, false);
    call->status_text = grpc_empty_slice();
    grpc_metadata_array_init(&call->headers);
    grpc_metadata_array_init(&call->trailers);
    *ret = call;
    return 0;
}

/* Leaves the queue alone. */
static void call_free_shared(struct channel_call *call)
{
    if (call->sending != NULL)
        grpc_byte_buffer_destroy(call->sending);
    if (call->received != NULL)
        grpc_byte_buffer_destroy(call->received);
    grpc_slice_unref(call->status_text);
    grpc_metadata_array_destroy(&call->trailers);
    grpc_metadata_array_destroy(&call->headers);
    grpc_call_unref(call->grpc);
    mem_free(call);
}

static void call_free(struct channel_call *call)
{
    grpc_completion_queue *queue = call->queue;
    call_free_shared(call);
    grpc_completion_queue_destroy(queue);
}

static grpc_op op_status(struct channel_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &call->trailers;
    op.data.recv_status_on_client.status = &call->status;
    op.data.recv_status_on_client.status_details = &call->status_text;
    return op;
}

static void start_unary(struct channel_call *call, struct bytes request)
{
    call->sending = message_make(request);
    grpc_op ops[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->sending},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &call->headers},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->received},
        op_status(call),
    };
    call_start(call, ops, sizeof(ops) / sizeof(ops[0]), CALL_STATUS);
}

static int take_unary(struct channel_call *call, struct buf *out, struct buf *detail, struct err *err)
{
    if (call->status != GRPC_STATUS_OK)
        return call_outcome(call, detail, err);
    if (call->received == NULL)
        return err_set(err, ERR_CORRUPT, "%s answered without a message", call->channel->address);
    grpc_byte_buffer *message = call->received;
    call->received = NULL;
    return message_take(message, out, err);
}

int channel_unary(struct channel *channel, const char *method, struct bytes request, uint64_t timeout_ms,
                  struct buf *out, struct buf *detail, struct err *err)
{
    struct channel_call *call = NULL;
    int rc = message_check(request, err);
    if (rc == 0)
        rc = call_new(channel, NULL, method, timeout_ms, &call, err);
    if (rc != 0)
        return rc;
    start_unary(call, request);
    (void)call_collect(call, CALL_STATUS);
    rc = take_unary(call, out, detail, err);
    call_free(call);
    return rc;
}

static void start_stream(struct channel_call *call)
{
    grpc_op status = op_status(call);
    call_start(call, &status, 1, CALL_STATUS);
    grpc_op open[] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &call->headers},
    };
    call_start(call, open, sizeof(open) / sizeof(open[0]), CALL_OPEN);
}

int channel_call_open(struct channel *channel, const char *method, uint64_t silence_ms, struct channel_call **ret,
                      struct err *err)
{
    struct channel_call *call = NULL;
    int rc = call_new(channel, NULL, method, 0, &call, err);
    if (rc != 0)
        return rc;
    call->silence_ms = silence_ms;
    start_stream(call);
    *ret = call;
    return 0;
}

static int write_failure(struct channel_call *call, struct err *err)
{
    if (atomic_load(&call->cancelled))
        return err_set(err, ERR_CANCELLED, "the call to %s was cancelled", call->channel->address);
    return err_set(err, ERR_UNAVAILABLE, "the call to %s has ended", call->channel->address);
}

int channel_call_write(struct channel_call *call, struct bytes message, struct err *err)
{
    int rc = message_check(message, err);
    if (rc != 0)
        return rc;
    if (atomic_load(&call->cancelled))
        return write_failure(call, err);
    grpc_byte_buffer *buffer = message_make(message);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
    call_start(call, &op, 1, CALL_WRITE);
    bool sent = call_collect(call, CALL_WRITE);
    grpc_byte_buffer_destroy(buffer);
    return sent ? 0 : write_failure(call, err);
}

int channel_call_writes_done(struct channel_call *call, struct err *err)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    call_start(call, &op, 1, CALL_WRITE);
    return call_collect(call, CALL_WRITE) ? 0 : write_failure(call, err);
}

/* A server that says nothing for too long has its call ended, which completes the batch. */
static void collect_read(struct channel_call *call)
{
    gpr_timespec deadline = deadline_after(call->silence_ms);
    if (grpc_completion_queue_pluck(call->queue, &call->marks[CALL_READ], deadline, NULL).type == GRPC_OP_COMPLETE)
        return;
    (void)grpc_call_cancel_with_status(call->grpc, GRPC_STATUS_DEADLINE_EXCEEDED, "silence", NULL);
    (void)call_collect(call, CALL_READ);
}

int channel_call_read(struct channel_call *call, struct buf *out, struct buf *detail, struct err *err)
{
    if (call->ended || atomic_load(&call->cancelled))
        goto over;
    grpc_byte_buffer *message = NULL;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &message};
    call_start(call, &op, 1, CALL_READ);
    collect_read(call);
    if (message != NULL)
        return message_take(message, out, err);
over:
    if (!call->ended)
        (void)call_collect(call, CALL_STATUS);
    call->ended = true;
    return call_outcome(call, detail, err);
}

void channel_call_cancel(struct channel_call *call)
{
    atomic_store(&call->cancelled, true);
    (void)grpc_call_cancel(call->grpc, NULL);
}

void channel_call_close(struct channel_call *call)
{
    if (call == NULL)
        return;
    (void)grpc_call_cancel(call->grpc, NULL);
    (void)call_collect(call, CALL_OPEN);
    if (!call->ended)
        (void)call_collect(call, CALL_STATUS);
    call_free(call);
}

/* --- Many calls, one thread --- */

int channel_queue_new(struct channel_queue **ret, struct err *err)
{
    struct channel_queue *queue = mem_alloc_zero(1, sizeof(*queue));
    if (queue == NULL)
        return err_no_memory(err, "a queue of calls");
    grpc_init();
    queue->grpc = grpc_completion_queue_create_for_next(NULL);
    queue_init(&queue->calls);
    *ret = queue;
    return 0;
}

void channel_queue_free(struct channel_queue *queue)
{
    if (queue == NULL)
        return;
    for (struct queue_link *link = queue->calls.next; link != &queue->calls; link = link->next)
        (void)grpc_call_cancel(QUEUE_ITEM(link, struct channel_call, link)->grpc, NULL);
    grpc_completion_queue_shutdown(queue->grpc);
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    while (grpc_completion_queue_next(queue->grpc, never, NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    struct queue_link *link = NULL;
    while ((link = queue_pop_front(&queue->calls)) != NULL)
        call_free_shared(QUEUE_ITEM(link, struct channel_call, link));
    grpc_completion_queue_destroy(queue->grpc);
    mem_free(queue);
    grpc_shutdown();
}

/* Whether this is something to report. */
static bool note_event(struct channel_call *call, enum call_tag tag, enum channel_happened *ret)
{
    switch (tag) {
    case CALL_WRITE:
        grpc_byte_buffer_destroy(call->sending);
        call->sending = NULL;
        *ret = CHANNEL_WRITTEN;
        return true;
    case CALL_READ:
        if (call->asking) {
            grpc_byte_buffer_destroy(call->sending);
            call->sending = NULL;
            call->asking = false;
        }
        call->reading = call->received == NULL && !call->ended;
        *ret = CHANNEL_READ;
        return !call->reading;
    case CALL_STATUS:
        call->ended = true;
        *ret = CHANNEL_READ;
        return call->unary || call->reading;
    default:
        return false;
    }
}

bool channel_queue_next(struct channel_queue *queue, uint64_t until_mono_us, struct channel_event *ret)
{
    gpr_timespec until = until_mono_us > INT64_MAX ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
                                                   : gpr_time_from_micros((int64_t)until_mono_us, GPR_CLOCK_MONOTONIC);
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue->grpc, until, NULL);
        if (event.type != GRPC_OP_COMPLETE)
            return false;
        const struct call_mark *mark = event.tag;
        struct channel_call *call = mark->call;
        if (!note_event(call, mark->tag, &ret->happened))
            continue;
        ret->call = call;
        ret->context = call->context;
        return true;
    }
}

static int open_shared(struct channel_queue *queue, struct channel *channel, const char *method, uint64_t timeout_ms,
                       void *context, struct channel_call **ret, struct err *err)
{
    struct channel_call *call = NULL;
    int rc = call_new(channel, queue, method, timeout_ms, &call, err);
    if (rc != 0)
        return rc;
    call->context = context;
    queue_push_back(&queue->calls, &call->link);
    *ret = call;
    return 0;
}

int channel_queue_open(struct channel_queue *queue, struct channel *channel, const char *method, void *context,
                       struct channel_call **ret, struct err *err)
{
    int rc = open_shared(queue, channel, method, 0, context, ret, err);
    if (rc == 0)
        start_stream(*ret);
    return rc;
}

int channel_queue_write(struct channel_call *call, struct bytes message, struct err *err)
{
    PRE(call->sending == NULL);
    int rc = message_check(message, err);
    if (rc != 0)
        return rc;
    call->sending = message_make(message);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->sending};
    call_start(call, &op, 1, CALL_WRITE);
    return 0;
}

void channel_queue_read(struct channel_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->received};
    call_start(call, &op, 1, CALL_READ);
}

int channel_queue_ask(struct channel_call *call, struct bytes message, struct err *err)
{
    PRE(call->sending == NULL);
    int rc = message_check(message, err);
    if (rc != 0)
        return rc;
    call->sending = message_make(message);
    call->asking = true;
    grpc_op ops[] = {
        {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->sending},
        {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->received},
    };
    call_start(call, ops, sizeof(ops) / sizeof(ops[0]), CALL_READ);
    return 0;
}

int channel_queue_unary(struct channel_queue *queue, struct channel *channel, const char *method, struct bytes request,
                        uint64_t timeout_ms, void *context, struct err *err)
{
    struct channel_call *call = NULL;
    int rc = message_check(request, err);
    if (rc == 0)
        rc = open_shared(queue, channel, method, timeout_ms, context, &call, err);
    if (rc != 0)
        return rc;
    call->unary = true;
    start_unary(call, request);
    return 0;
}

int channel_queue_take(struct channel_call *call, struct buf *out, struct buf *detail, struct err *err)
{
    grpc_byte_buffer *message = call->received;
    int rc = 0;
    if (call->unary) {
        rc = take_unary(call, out, detail, err);
        queue_remove(&call->link);
        call_free_shared(call);
    } else if (message == NULL) {
        rc = call_outcome(call, detail, err);
    } else {
        call->received = NULL;
        rc = message_take(message, out, err);
    }
    return rc;
}
