/* libmicrohttpd's side: it parses requests, this gathers their bodies, asks admin_answer, and hands the answer back.
 * The answer's memory goes to the library with a function that frees it. */
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>

#include "admin/route.h"
#include "base/mem.h"
#include "platform/clock.h"

/* One request on its way in. */
struct exchange {
    struct buf body;
    bool too_large;
};

static void free_body(void *memory)
{
    mem_free(memory);
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0' && MHD_add_response_header(response, name, value) == MHD_NO)
        return; /* memory ran out: the answer is right without it */
}

/* Takes the answer's body over. */
static enum MHD_Result send_response(struct MHD_Connection *connection, struct response *from)
{
    char seconds[16] = "";
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(from->body.size_bytes, from->body.data, free_body);
    if (response == NULL) {
        buf_free(&from->body);
        return MHD_NO;
    }
    if (from->retry_after_s > 0)
        snprintf(seconds, sizeof(seconds), "%u", from->retry_after_s);
    add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, from->content_type);
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, from->cache_control);
    add_header(response, MHD_HTTP_HEADER_ETAG, from->etag);
    add_header(response, MHD_HTTP_HEADER_ALLOW, from->allow);
    add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    add_header(response, "Content-Security-Policy", from->security_policy);
    add_header(response, "X-Content-Type-Options", "nosniff");
    enum MHD_Result result = MHD_queue_response(connection, from->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(struct admin *admin, struct MHD_Connection *connection, const char *url,
                              const char *method, struct exchange *exchange)
{
    struct response response = {0};
    struct request request = {
        .method = method,
        .path = url,
        .if_none_match = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH),
        .body = buf_bytes(&exchange->body),
        .wall_s = clock_now().wall_us / 1000000,
        .sha = sha256_new(),
    };
    buf_init(&response.body, ADMIN_RESPONSE_MAX_BYTES);
    if (exchange->too_large)
        response_refuse(&response, 413, "a request's body has at most %d bytes", ADMIN_REQUEST_MAX_BYTES);
    else if (request.sha == NULL)
        response_refuse(&response, 503, "memory ran out");
    else
        admin_answer(admin, &request, &response);
    sha256_free(request.sha);
    return send_response(connection, &response);
}

/* Called with the headers, then with each piece of the body, then once more. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_size, void **state)
{
    struct exchange *exchange = *state;
    (void)version;
    if (exchange == NULL) {
        exchange = mem_alloc_zero(1, sizeof(*exchange));
        if (exchange == NULL)
            return MHD_NO;
        buf_init(&exchange->body, ADMIN_REQUEST_MAX_BYTES);
        *state = exchange;
        return MHD_YES;
    }
    if (*data_size > 0) {
        if (!exchange->too_large && buf_append(&exchange->body, bytes_of(data, *data_size)) != 0)
            exchange->too_large = true;
        *data_size = 0;
        return MHD_YES;
    }
    return answer(context, connection, url, method, exchange);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *state;
    (void)context;
    (void)connection;
    (void)code;
    if (exchange == NULL)
        return;
    buf_free(&exchange->body);
    mem_free(exchange);
    *state = NULL;
}

/* "host:port", where the host may be a bracketed IPv6 address. *ret is freed by freeaddrinfo. */
static int resolve(const char *listen, struct addrinfo **ret, struct err *err)
{
    char host[REGION_ADDRESS_MAX_BYTES + 1];
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    const char *colon = strrchr(listen, ':');
    size_t size = colon == NULL ? 0 : (size_t)(colon - listen);
    if (size == 0 || size >= sizeof(host))
        return err_set(err, ERR_INVALID, "http_listen: \"%.100s\" is not HOST:PORT", listen);
    bool bracketed = listen[0] == '[' && listen[size - 1] == ']' && size > 2;
    snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? size - 2 : size), bracketed ? listen + 1 : listen);
    int failure = getaddrinfo(host, colon + 1, &hints, ret);
    if (failure != 0)
        return err_set(err, ERR_UNAVAILABLE, "http_listen: %.100s: %s", listen, gai_strerror(failure));
    return 0;
}

static int listen_on(struct admin *admin, const char *listen, uint16_t *ret_port, struct err *err)
{
    struct addrinfo *address = NULL;
    int code = resolve(listen, &address, err);
    if (code != 0)
        return code;
    unsigned flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD;
    if (address->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    admin->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, admin, MHD_OPTION_SOCK_ADDR, address->ai_addr,
                                     MHD_OPTION_THREAD_POOL_SIZE, (unsigned)ADMIN_THREADS, MHD_OPTION_CONNECTION_LIMIT,
                                     (unsigned)ADMIN_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                                     (unsigned)ADMIN_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                     (size_t)ADMIN_HEADERS_MAX_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                                     MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    freeaddrinfo(address);
    const union MHD_DaemonInfo *info =
        admin->daemon == NULL ? NULL : MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (info == NULL)
        return err_set(err, ERR_UNAVAILABLE,
                       "http_listen: %.100s cannot be bound: is it in use, or not of this machine?", listen);
    *ret_port = info->port;
    return 0;
}

int admin_start(struct admin_backend *backend, const char *listen, struct admin **ret, uint16_t *ret_port,
                struct err *err)
{
    struct keyring logs[REGION_PEERS_MAX];
    char folder[DISK_PATH_MAX_BYTES];
    struct admin *admin = mem_alloc_zero(1, sizeof(*admin));
    if (admin == NULL)
        return err_no_memory(err, "the HTTP server");
    admin->backend = backend;
    pthread_mutex_init(&admin->mutex, NULL);
    for (size_t i = 0; i < backend->config->peer_count; i++)
        logs[i] = backend->config->peers[i].log_keys;
    int code = disk_join(folder, backend->folder, "witness", err);
    if (code == 0)
        code = witness_open(backend->disk, folder, backend->witness_keys, logs, backend->config->peer_count,
                            &admin->witness, err);
    if (code == 0)
        code = listen_on(admin, listen, ret_port, err);
    if (code != 0)
        admin_stop(admin);
    else
        *ret = admin;
    return code;
}

void admin_stop(struct admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->daemon != NULL)
        MHD_stop_daemon(admin->daemon);
    witness_close(admin->witness);
    pthread_mutex_destroy(&admin->mutex);
    mem_free(admin);
}
