/* grpc.health.v1: Check answers now, Watch answers at each change. Known services: "" (the server) and
 * "tally.v1.Ledger". */
#include "grpc/health/v1/health.pb-c.h"
#include "rpc/methods.h"
#include "rpc/server.h"

static bool is_known(const char *service)
{
    return service[0] == '\0' || strcmp(service, "tally.v1.Ledger") == 0;
}

static int read_service(struct call *call, struct arena *arena, const char **ret, struct err *err)
{
    ProtobufCMessage *message = NULL;
    int code = call_read_request(call, &grpc__health__v1__health_check_request__descriptor, arena, &message, err);
    if (code == 0)
        *ret = ((const Grpc__Health__V1__HealthCheckRequest *)message)->service;
    return code;
}

static void fill(Grpc__Health__V1__HealthCheckResponse *response, bool serving)
{
    grpc__health__v1__health_check_response__init(response);
    response->status = serving ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

int method_health_check(struct call *call, struct err *err)
{
    struct arena arena;
    const char *service = NULL;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    int code = read_service(call, &arena, &service, err);
    if (code == 0 && !is_known(service))
        code =
            err_set(err, ERR_NOT_FOUND, "no service of that name reports its health; known: \"\", \"tally.v1.Ledger\"");
    arena_free(&arena);
    if (code != 0)
        return code;
    Grpc__Health__V1__HealthCheckResponse response;
    fill(&response, rpc_server_serving(call->server));
    return call_answer(call, &response.base);
}

static int watch(struct call *call, bool known, struct err *err)
{
    Grpc__Health__V1__HealthCheckResponse response;
    bool serving = rpc_server_serving(call->server);
    for (;;) {
        fill(&response, serving);
        if (!known)
            response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
        int code = call_write_message(call, &response.base, err);
        bool before = serving;
        while (code == 0 && (serving == before || !known)) {
            serving = rpc_server_wait_serving(call->server, before, CALL_POLL_MS);
            code = call_check(call, err);
        }
        if (code != 0)
            return code;
    }
}

int method_health_watch(struct call *call, struct err *err)
{
    struct arena arena;
    const char *service = NULL;
    arena_init(&arena, MESSAGE_ARENA_MAX_BYTES);
    int code = read_service(call, &arena, &service, err);
    bool known = code == 0 && is_known(service);
    arena_free(&arena);
    return code != 0 ? code : watch(call, known, err);
}
