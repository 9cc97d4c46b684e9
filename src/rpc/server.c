/* The server: the appender, which drives all connections and serves appends (appender.h); one acceptor thread for the
 * other calls, and a thread for each of them.
 *
 * The acceptor keeps one request for a new call open at gRPC's server. What comes in is matched against the method
 * table and given a thread of its own, which begins the call, runs the method and finishes it. Calls of unknown
 * methods, and those over RPC_CALLS_MAX, are finished by the acceptor itself, with little patience, so that a caller
 * who does not take its status cannot hold up the others.
 *
 * Stopping:
 *   1. gRPC refuses new calls and connections; the acceptor's open request comes back empty.
 *   2. Calls have STOP_GRACE_MS to end by themselves: the backend says that it is stopping, which those that wait
 * notice; appends that are under way get their answer.
 *   3. What is left is cancelled, which ends every blocked read and write.
 *   4. When the last call has been freed, gRPC announces that the server is down, and the acceptor ends.
 *   5. The last call has said goodbye under the mutex; then the appender ends, and everything is destroyed. */
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "client/channel.h"
#include "client/tls.h"
#include "platform/clock.h"
#include "rpc/appender.h"
#include "rpc/descriptors.h"
#include "rpc/forward.h"
#include "rpc/methods.h"
#include "rpc/server.h"

enum {
    CALL_STACK_BYTES = 1024 * 1024,
    REFUSE_TIMEOUT_MS = 100,
    STOP_GRACE_MS = 500,
    NO_MEMORY_PAUSE_MS = 50,
    KEEPALIVE_TIME_MS = 30000,
    KEEPALIVE_TIMEOUT_MS = 10000,
    CLIENT_PING_INTERVAL_MIN_MS = 5000,
    HTTP2_FRAME_MAX_BYTES = 1024 * 1024,
    STREAMS_PER_CONNECTION_MAX =
        2 * RPC_CALLS_MAX, /* over the server's limit, so that it refuses rather than lets wait */
    COMPRESSION_NONE_ONLY = 1 << GRPC_COMPRESS_NONE, /* a small message cannot become a large one */
};

struct method {
    const char *path;
    method_fn *run;
    bool reserved; /* may use the reserved places */
};

static const struct method METHODS[] = {
    {"/tally.v1.Ledger/ReadStream", method_read_stream, false},
    {"/tally.v1.Ledger/ReadLog", method_read_log, false},
    {"/tally.v1.Ledger/Subscribe", method_subscribe, false},
    {"/tally.v1.Ledger/Status", method_status, false},
    {"/tally.v1.Ledger/Prove", method_prove, false},
    {"/tally.v1.Ledger/ShowTicket", method_show_ticket, false},
    {"/tally.v1.Ledger/ListTickets", method_list_tickets, false},
    {"/tally.v1.Ledger/CreateProjection", method_create_projection, false},
    {"/tally.v1.Ledger/RebuildProjection", method_rebuild_projection, false},
    {"/tally.v1.Ledger/GetProjection", method_get_projection, false},
    {"/tally.v1.Ledger/ListProjections", method_list_projections, false},
    {"/tally.v1.Ledger/DigestProjection", method_digest_projection, false},
    {"/tally.v1.Ledger/CheckProjection", method_check_projection, false},
    {"/tally.v1.Operations/ListHomes", method_list_homes, true},
    {"/tally.v1.Operations/ListContexts", method_list_contexts, true},
    {"/tally.v1.Operations/ShowContext", method_show_context, true},
    {"/tally.v1.Operations/DefineContext", method_define_context, true},
    {"/tally.v1.Operations/Handover", method_handover, true},
    {"/tally.v1.Operations/Failover", method_failover, true},
    {"/tally.v1.Operations/ListLate", method_list_late, true},
    {"/tally.v1.Operations/ShowLate", method_show_late, true},
    {"/tally.v1.Operations/Settle", method_settle, true},
    {"/tally.v1.Operations/LateDigest", method_late_digest, false},
    {"/tally.v1.Operations/Report", method_report, false},
    {"/tally.v1.Operations/ListEvidence", method_list_evidence, true},
    {"/tally.v1.Replication/Hello", method_hello, true},
    {"/tally.v1.Replication/Pull", method_pull, true},
    {"/tally.v1.Replication/Compare", method_compare, true},
    {"/grpc.health.v1.Health/Check", method_health_check, true},
    {"/grpc.health.v1.Health/Watch", method_health_watch, false},
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", method_reflection, false},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", method_reflection, false},
};

struct rpc_server {
    struct rpc_backend *backend;
    grpc_server *core;
    struct appender *appender;
    grpc_completion_queue *queue; /* of the acceptor; does not poll */
    pthread_t acceptor;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* running, stopping, serving */
    size_t running;         /* calls */
    bool stopping;
    bool serving;
    struct reflection reflection;
    struct forwarder *forwarder;
    char tag_shutdown; /* only its address is used */
};

bool rpc_server_serving(struct rpc_server *server)
{
    pthread_mutex_lock(&server->mutex);
    bool serving = server->serving;
    pthread_mutex_unlock(&server->mutex);
    return serving;
}

/* Under the mutex: waits for `changed` until the deadline. False when it has passed. */
static bool wait_changed(struct rpc_server *server, uint64_t deadline_us)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_us / 1000000),
                             .tv_nsec = (long)(deadline_us % 1000000) * 1000};
    return pthread_cond_timedwait(&server->changed, &server->mutex, &until) == 0;
}

bool rpc_server_wait_serving(struct rpc_server *server, bool before, uint64_t timeout_ms)
{
    uint64_t deadline_us = clock_now().mono_us + timeout_ms * 1000;
    pthread_mutex_lock(&server->mutex);
    while (server->serving == before && !server->stopping && wait_changed(server, deadline_us)) {
    }
    bool serving = server->serving;
    pthread_mutex_unlock(&server->mutex);
    return serving;
}

struct forwarder *rpc_server_forwarder(struct rpc_server *server)
{
    return server->forwarder;
}

const struct reflection *rpc_server_reflection(const struct rpc_server *server)
{
    return &server->reflection;
}

void rpc_server_set_serving(struct rpc_server *server, bool serving)
{
    pthread_mutex_lock(&server->mutex);
    server->serving = serving;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
}

/* --- Calls --- */

bool rpc_server_take_place(struct rpc_server *server, bool reserved)
{
    pthread_mutex_lock(&server->mutex);
    bool room = server->running < RPC_CALLS_MAX + (reserved ? RPC_CALLS_RESERVED : 0);
    if (room)
        server->running++;
    pthread_mutex_unlock(&server->mutex);
    return room;
}

void rpc_server_give_place_back(struct rpc_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->running--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
}

static void *serve_call(void *context)
{
    struct call *call = context;
    struct rpc_server *server = call->server;
    struct err err = {0};
    call_begin(call);
    int code = call->run(call, &err);
    call_finish(call, code, &err, CALL_FINISH_TIMEOUT_MS);
    call_free(call);
    rpc_server_give_place_back(server);
    return NULL;
}

/* On the acceptor's thread. */
static void refuse_call(struct call *call, int code, const struct err *err)
{
    call_begin(call);
    call_finish(call, code, err, REFUSE_TIMEOUT_MS);
    call_free(call);
}

int rpc_server_start_thread(void *(*run)(void *context), void *context)
{
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return ERR_NO_MEMORY;
    pthread_attr_setstacksize(&attributes, CALL_STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int code = pthread_create(&thread, &attributes, run, context) == 0 ? 0 : ERR_BUSY;
    pthread_attr_destroy(&attributes);
    return code;
}

static const struct method *find_method(grpc_slice path)
{
    for (size_t i = 0; i < sizeof(METHODS) / sizeof(METHODS[0]); i++) {
        if (grpc_slice_str_cmp(path, METHODS[i].path) == 0)
            return &METHODS[i];
    }
    return NULL;
}

static void dispatch(struct rpc_server *server, struct call *call)
{
    struct err err = {0};
    const struct method *method = find_method(call->details.method);
    int code = 0;
    if (method == NULL)
        code = err_set(&err, ERR_UNSUPPORTED, "this server has no such method; server reflection lists what it serves");
    else if (!rpc_server_take_place(server, method->reserved))
        code = err_set(&err, ERR_BUSY, "the server has %d calls running, its limit; try again soon", RPC_CALLS_MAX);
    if (code != 0) {
        refuse_call(call, code, &err);
        return;
    }
    call->run = method->run;
    code = rpc_server_start_thread(serve_call, call);
    if (code != 0) {
        rpc_server_give_place_back(server);
        refuse_call(call, err_set(&err, code, "no thread for this call: too many are running"), &err);
    }
}

static struct call *request_call(struct rpc_server *server)
{
    struct call *call = NULL;
    while ((call = call_new(server, server->backend)) == NULL)
        clock_sleep_ms(NO_MEMORY_PAUSE_MS);
    grpc_call_error code = grpc_server_request_call(server->core, &call->core, &call->details, &call->metadata,
                                                    call->queue, server->queue, call);
    INVARIANT(code == GRPC_CALL_OK);
    return call;
}

/* Until the open request has come back empty and gRPC has announced that the server is down, in either order. */
static void *accept_calls(void *context)
{
    struct rpc_server *server = context;
    struct call *open = request_call(server);
    bool down = false;
    while (open != NULL || !down) {
        grpc_event event = grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        INVARIANT(event.type == GRPC_OP_COMPLETE);
        if (event.tag == &server->tag_shutdown) {
            down = true;
        } else if (event.success != 0) {
            struct call *call = open;
            open = request_call(server);
            dispatch(server, call);
        } else {
            call_free(open);
            open = NULL;
        }
    }
    return NULL;
}

/* --- Starting and stopping --- */

static grpc_arg integer(const char *key, int value)
{
    union {
        const char *in;
        char *out;
    } name = {.in = key}; /* gRPC's keys are not const; it only reads them */
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = name.out, .value.integer = value};
}

static grpc_server *create_core(void)
{
    grpc_arg list[] = {
        integer(GRPC_ARG_ALLOW_REUSEPORT, 0),
        integer(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX_BYTES),
        integer(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX_BYTES),
        integer(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_PER_CONNECTION_MAX),
        integer(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, HTTP2_FRAME_MAX_BYTES),
        integer(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_TIME_MS),
        integer(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        integer(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        integer(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, CLIENT_PING_INTERVAL_MIN_MS),
        integer(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, TLS_HANDSHAKE_TIMEOUT_MS),
        integer(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, COMPRESSION_NONE_ONLY),
    };
    grpc_channel_args args = {.num_args = sizeof(list) / sizeof(list[0]), .args = list};
    return grpc_server_create(&args, NULL);
}

static int bind_address(struct rpc_server *server, const char *listen, uint16_t *ret_port, struct err *err)
{
    struct tls *tls = server->backend->tls;
    grpc_server_credentials *credentials =
        tls == NULL ? grpc_insecure_server_credentials_create() : tls_server_credentials(tls);
    if (credentials == NULL)
        return err_no_memory(err, "the gRPC server");
    int port = grpc_server_add_http2_port(server->core, listen, credentials);
    grpc_server_credentials_release(credentials);
    if (port <= 0 || port > UINT16_MAX)
        return err_set(err, ERR_UNAVAILABLE, "cannot listen on %s: is another process using it?", listen);
    *ret_port = (uint16_t)port;
    return 0;
}

/* No call is left, and core is down. */
static void destroy_core(struct rpc_server *server)
{
    appender_stop(server->appender);
    grpc_completion_queue_shutdown(server->queue);
    gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    while (grpc_completion_queue_next(server->queue, never, NULL).type != GRPC_QUEUE_SHUTDOWN) {
    }
    grpc_server_destroy(server->core);
    grpc_completion_queue_destroy(server->queue);
    appender_free(server->appender);
}

static void destroy_rest(struct rpc_server *server)
{
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->mutex);
    forwarder_free(server->forwarder);
    mem_free(server);
    grpc_shutdown();
}

/* gRPC wants a server shut down even if it never ran. Without the appender's thread this one polls. */
static void shut_down_unstarted(struct rpc_server *server, bool appending)
{
    grpc_completion_queue *queue = appending ? server->queue : appender_queue(server->appender);
    grpc_server_shutdown_and_notify(server->core, queue, &server->tag_shutdown);
    grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    INVARIANT(event.tag == &server->tag_shutdown);
    destroy_core(server);
    destroy_rest(server);
}

static void init_sync(struct rpc_server *server)
{
    pthread_condattr_t monotonic;
    INVARIANT(pthread_condattr_init(&monotonic) == 0);
    INVARIANT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    INVARIANT(pthread_mutex_init(&server->mutex, NULL) == 0);
    INVARIANT(pthread_cond_init(&server->changed, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
}

/* For the acceptor: the appender's thread polls. */
static grpc_completion_queue *create_queue(void)
{
    grpc_completion_queue_attributes attributes = {
        .version = GRPC_CQ_CURRENT_VERSION, .cq_completion_type = GRPC_CQ_NEXT, .cq_polling_type = GRPC_CQ_NON_POLLING};
    return grpc_completion_queue_create(grpc_completion_queue_factory_lookup(&attributes), &attributes, NULL);
}

int rpc_server_start(struct rpc_backend *backend, const char *listen, struct rpc_server **ret, uint16_t *ret_port,
                     struct err *err)
{
    struct rpc_server *server = mem_alloc_zero(1, sizeof(*server));
    if (server == NULL)
        return err_no_memory(err, "the gRPC server");
    server->backend = backend;
    int code = forwarder_new(backend->config, backend->tls, &server->forwarder, err);
    if (code != 0) {
        mem_free(server);
        return code;
    }
    code = reflection_init(&server->reflection, bytes_of(descriptors_data, descriptors_size_bytes), err);
    INVARIANT(code == 0);
    init_sync(server);
    channel_keep_quiet();
    grpc_init();
    code = appender_new(server, backend, &server->appender, err);
    if (code != 0) {
        destroy_rest(server);
        return code;
    }
    server->core = create_core();
    appender_attach(server->appender, server->core);
    server->queue = create_queue();
    grpc_server_register_completion_queue(server->core, server->queue, NULL);
    uint16_t port = 0;
    code = bind_address(server, listen, &port, err);
    bool appending = false;
    if (code == 0) {
        grpc_server_start(server->core);
        code = appender_start(server->appender, err);
        appending = code == 0;
    }
    if (appending && pthread_create(&server->acceptor, NULL, accept_calls, server) != 0)
        code = err_set(err, ERR_BUSY, "no thread for the gRPC server: too many are running");
    if (code != 0) {
        shut_down_unstarted(server, appending);
        return code;
    }
    *ret = server;
    *ret_port = port;
    return 0;
}

/* Waits until no call runs, at most so long. */
static void wait_for_calls(struct rpc_server *server, uint64_t deadline_us)
{
    pthread_mutex_lock(&server->mutex);
    while (server->running > 0 && wait_changed(server, deadline_us)) {
    }
    pthread_mutex_unlock(&server->mutex);
}

void rpc_server_stop(struct rpc_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->stopping = true;
    server->serving = false;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
    appender_stopping(server->appender);
    grpc_server_shutdown_and_notify(server->core, server->queue, &server->tag_shutdown);
    wait_for_calls(server, clock_now().mono_us + STOP_GRACE_MS * 1000ull);
    grpc_server_cancel_all_calls(server->core);
    pthread_join(server->acceptor, NULL);
    pthread_mutex_lock(&server->mutex);
    while (server->running > 0)
        pthread_cond_wait(&server->changed, &server->mutex);
    pthread_mutex_unlock(&server->mutex);
    destroy_core(server);
    destroy_rest(server);
}
