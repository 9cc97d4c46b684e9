#include <criterion/criterion.h>

#include <stdio.h>

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "support.h"

static struct stage stage;
static struct outside outside;
static struct buf bytes;

static void set_up(void)
{
    stage_init(&stage);
    buf_init(&bytes, 4 * 1024 * 1024);
}

static void tear_down(void)
{
    stage_free(&stage);
    buf_free(&bytes);
}

TestSuite(server, .init = set_up, .fini = tear_down);

Test(server, a_port_in_use_is_not_shared)
{
    char listen[32];
    struct err err = {0};
    struct rpc_server *second = NULL;
    uint16_t port = 0;
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", (unsigned)stage.port);
    cr_expect_eq(rpc_server_start(&stage.backend, listen, &second, &port, &err), ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, listen), "%s", err.message);
    cr_expect_null(second);
}

Test(server, an_address_that_is_none_cannot_be_bound)
{
    struct rpc_server *second = NULL;
    uint16_t port = 0;
    cr_expect_eq(rpc_server_start(&stage.backend, "no such host:x", &second, &port, NULL), ERR_UNAVAILABLE);
}

Test(server, an_unknown_method_is_refused)
{
    Tally__V1__StatusRequest request;
    tally__v1__status_request__init(&request);
    cr_expect_eq(outside_unary(&outside, stage.port, "/tally.v1.Ledger/Delete", &request.base, &bytes),
                 GRPC_STATUS_UNIMPLEMENTED);
    outside_close(&outside);
}

static Grpc__Health__V1__HealthCheckResponse *health_of(struct outside *call)
{
    cr_assert(outside_read(call, &bytes));
    Grpc__Health__V1__HealthCheckResponse *response =
        grpc__health__v1__health_check_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    return response;
}

static void expect_health(struct outside *call, int status)
{
    Grpc__Health__V1__HealthCheckResponse *response = health_of(call);
    cr_expect_eq((int)response->status, status);
    grpc__health__v1__health_check_response__free_unpacked(response, NULL);
}

static void health_open(const char *method, char *service)
{
    Grpc__Health__V1__HealthCheckRequest request;
    grpc__health__v1__health_check_request__init(&request);
    request.service = service;
    outside_open(&outside, stage.port, method, 30000);
    outside_write_message(&outside, &request.base);
    outside_writes_done(&outside);
}

static grpc_status_code health_now(void)
{
    health_open("/grpc.health.v1.Health/Check", (char[]){""});
    expect_health(&outside, 1);
    grpc_status_code status = outside_finish(&outside);
    outside_close(&outside);
    return status;
}

Test(server, calls_over_the_limit_are_refused_and_others_go_on)
{
    static struct outside open[RPC_CALLS_MAX];
    Tally__V1__SubscribeRequest subscribe;
    Tally__V1__StatusRequest status;
    tally__v1__subscribe_request__init(&subscribe);
    tally__v1__status_request__init(&status);
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        outside_open(&open[i], stage.port, "/tally.v1.Ledger/Subscribe", 0);
        outside_write_message(&open[i], &subscribe.base);
        outside_writes_done(&open[i]);
        cr_assert(outside_read(&open[i], &bytes));
    }
    cr_expect_eq(outside_unary(&outside, stage.port, "/tally.v1.Ledger/Status", &status.base, &bytes),
                 GRPC_STATUS_RESOURCE_EXHAUSTED);
    outside_close(&outside);
    cr_expect_eq(health_now(), GRPC_STATUS_OK, "health checks have places of their own");
    for (size_t i = 0; i < RPC_CALLS_MAX; i++) {
        outside_cancel(&open[i]);
        outside_finish(&open[i]);
        outside_close(&open[i]);
    }
}

Test(server, health_is_checked_by_service)
{
    char *services[] = {(char[]){""}, (char[]){"tally.v1.Ledger"}};
    for (size_t i = 0; i < 2; i++) {
        for (int serving = 0; serving <= 1; serving++) {
            rpc_server_set_serving(stage.server, serving != 0);
            health_open("/grpc.health.v1.Health/Check", services[i]);
            expect_health(&outside, serving != 0 ? 1 : 2);
            cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK);
            outside_close(&outside);
        }
    }
    health_open("/grpc.health.v1.Health/Check", (char[]){"nobody"});
    cr_expect_not(outside_read(&outside, &bytes));
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_NOT_FOUND);
    outside_close(&outside);
}

Test(server, health_is_watched)
{
    health_open("/grpc.health.v1.Health/Watch", (char[]){""});
    expect_health(&outside, 1);
    rpc_server_set_serving(stage.server, false);
    expect_health(&outside, 2);
    rpc_server_set_serving(stage.server, true);
    expect_health(&outside, 1);
    outside_cancel(&outside);
    outside_finish(&outside);
    outside_close(&outside);
    health_open("/grpc.health.v1.Health/Watch", (char[]){"nobody"});
    expect_health(&outside, 3);
    outside_cancel(&outside);
    outside_finish(&outside);
    outside_close(&outside);
}

static Grpc__Reflection__V1__ServerReflectionResponse *reflect(Grpc__Reflection__V1__ServerReflectionRequest *request)
{
    outside_write_message(&outside, &request->base);
    cr_assert(outside_read(&outside, &bytes));
    Grpc__Reflection__V1__ServerReflectionResponse *response =
        grpc__reflection__v1__server_reflection_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    return response;
}

static void check_reflection(const char *method)
{
    Grpc__Reflection__V1__ServerReflectionRequest request;
    Grpc__Reflection__V1__ServerReflectionResponse *response = NULL;
    outside_open(&outside, stage.port, method, 30000);
    grpc__reflection__v1__server_reflection_request__init(&request);
    request.message_request_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    request.list_services = (char[]){""};
    response = reflect(&request);
    cr_assert_not_null(response->list_services_response);
    cr_expect_eq(response->list_services_response->n_service, 6);
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = (char[]){"tally.v1.Ledger"};
    response = reflect(&request);
    cr_assert_eq(response->message_response_case,
                 GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE);
    cr_expect_eq(response->file_descriptor_response->n_file_descriptor_proto, 2);
    cr_expect_str_eq(response->original_request->file_containing_symbol, "tally.v1.Ledger");
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
    request.file_containing_symbol = (char[]){"tally.v1.Nothing"};
    response = reflect(&request);
    cr_assert_eq(response->message_response_case,
                 GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE);
    cr_expect_eq(response->error_response->error_code, GRPC_STATUS_NOT_FOUND);
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
    outside_writes_done(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK, "%s", outside.message);
    outside_close(&outside);
}

Test(server, reflection_answers_under_both_names)
{
    check_reflection("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    check_reflection("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
}

Test(server, status_tells_logs_peers_contexts_and_position)
{
    Tally__V1__StatusRequest request;
    tally__v1__status_request__init(&request);
    stage_append(&stage, 0, "s", 5, 10);
    stage_add_log(&stage);
    stage_append(&stage, 1, "t", 2, 10);
    cr_assert_eq(outside_unary(&outside, stage.port, "/tally.v1.Ledger/Status", &request.base, &bytes), GRPC_STATUS_OK,
                 "%s", outside.message);
    Tally__V1__StatusResponse *response = tally__v1__status_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    cr_expect_str_eq(response->cluster, "bank");
    cr_expect_str_eq(response->region, "eu");
    cr_expect_str_eq(response->position, "eu@5,us@2");
    cr_expect(response->accepting);
    cr_expect_eq(response->uptime_ms, 5000);
    cr_assert_eq(response->n_logs, 2);
    cr_expect(response->logs[0]->own);
    cr_expect_not(response->logs[1]->own);
    cr_expect_str_eq(response->logs[0]->state, "accepting");
    cr_expect_eq(response->logs[0]->lag, 2);
    cr_expect_eq(response->logs[0]->queued_open, 9);
    cr_assert_eq(response->n_peers, 1);
    cr_expect_str_eq(response->peers[0]->region, "us");
    cr_expect_eq(response->peers[0]->last_contact_ms_ago, 2000);
    cr_expect_eq(response->peers[0]->lag, 4);
    cr_assert_eq(response->n_contexts, 1);
    cr_expect_str_eq(response->contexts[0]->default_home, "eu");
    cr_assert_eq(response->n_regions, 2);
    cr_expect_str_eq(response->regions[0]->address, "eu.example:7000");
    cr_expect_str_eq(response->regions[1]->address, "us.example:7000");
    tally__v1__status_response__free_unpacked(response, NULL);
    outside_close(&outside);
}

static grpc_status_code ask_projection(const char *method, char *name, char *at_least, uint64_t timeout_ms)
{
    Tally__V1__ProjectionRequest request;
    tally__v1__projection_request__init(&request);
    request.name = name;
    request.at_least = at_least;
    request.timeout_ms = timeout_ms;
    grpc_status_code status = outside_unary(&outside, stage.port, method, &request.base, &bytes);
    outside_close(&outside);
    return status;
}

Test(server, a_projection_is_waited_for)
{
    static const char *const get = "/tally.v1.Ledger/GetProjection";
    char name[] = "balances";
    stage.projection_size = 3;
    cr_expect_eq(ask_projection(get, name, (char[]){"eu@3"}, 0), GRPC_STATUS_OK);
    cr_expect_eq(ask_projection(get, name, (char[]){"eu@4"}, 50), GRPC_STATUS_DEADLINE_EXCEEDED);
    cr_expect_not_null(strstr(outside.message, "eu@4"), "%s", outside.message);
    cr_expect_eq(ask_projection(get, name, (char[]){"eu@x"}, 50), GRPC_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(ask_projection(get, (char[]){"other"}, (char[]){""}, 0), GRPC_STATUS_NOT_FOUND);
    cr_expect_eq(ask_projection(get, (char[]){""}, (char[]){""}, 0), GRPC_STATUS_INVALID_ARGUMENT);
}

Test(server, a_projections_digest_comes_with_what_it_stands_for)
{
    char name[] = "balances";
    cr_assert_eq(ask_projection("/tally.v1.Ledger/DigestProjection", name, (char[]){""}, 0), GRPC_STATUS_OK);
    Tally__V1__ProjectionDigest *digest = tally__v1__projection_digest__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(digest);
    cr_expect_str_eq(digest->name, "balances");
    cr_expect_str_eq(digest->digest, "abcd");
    cr_expect_eq(digest->row_count, 7);
    tally__v1__projection_digest__free_unpacked(digest, NULL);
}

static grpc_status_code ask_check(char *name, uint64_t seeds)
{
    Tally__V1__CheckProjectionRequest request;
    tally__v1__check_projection_request__init(&request);
    request.name = name;
    request.seeds = seeds;
    grpc_status_code status =
        outside_unary(&outside, stage.port, "/tally.v1.Ledger/CheckProjection", &request.base, &bytes);
    outside_close(&outside);
    return status;
}

Test(server, a_projections_check_says_what_differs)
{
    cr_assert_eq(ask_check((char[]){"balances"}, 0), GRPC_STATUS_OK);
    Tally__V1__ProjectionCheck *check = tally__v1__projection_check__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(check);
    cr_expect_str_eq(check->name, "balances");
    cr_expect_eq(check->seeds, 10);
    cr_expect_eq(check->event_count, 9);
    cr_expect(check->differs);
    cr_expect_eq(check->seed, 2);
    cr_expect_str_eq(check->table, "sums");
    tally__v1__projection_check__free_unpacked(check, NULL);
    cr_expect_eq(ask_check((char[]){"balances"}, 1001), GRPC_STATUS_INVALID_ARGUMENT);
    cr_expect_eq(ask_check((char[]){""}, 1), GRPC_STATUS_INVALID_ARGUMENT);
}

Test(server, projections_are_created_listed_and_rebuilt)
{
    Tally__V1__CreateProjectionRequest create;
    Tally__V1__ListProjectionsRequest list;
    tally__v1__create_projection_request__init(&create);
    tally__v1__list_projections_request__init(&list);
    cr_expect_eq(outside_unary(&outside, stage.port, "/tally.v1.Ledger/CreateProjection", &create.base, &bytes),
                 GRPC_STATUS_INVALID_ARGUMENT, "an empty one");
    outside_close(&outside);
    create.sql = (char[]){"-- a projection"};
    cr_expect_eq(outside_unary(&outside, stage.port, "/tally.v1.Ledger/CreateProjection", &create.base, &bytes),
                 GRPC_STATUS_OK);
    outside_close(&outside);
    cr_expect_eq(outside_unary(&outside, stage.port, "/tally.v1.Ledger/ListProjections", &list.base, &bytes),
                 GRPC_STATUS_OK);
    Tally__V1__ListProjectionsResponse *response =
        tally__v1__list_projections_response__unpack(NULL, bytes.size_bytes, bytes.data);
    cr_assert_not_null(response);
    cr_assert_eq(response->n_projections, 1);
    cr_expect_str_eq(response->projections[0]->state, "live");
    tally__v1__list_projections_response__free_unpacked(response, NULL);
    outside_close(&outside);
    char name[] = "balances";
    cr_expect_eq(ask_projection("/tally.v1.Ledger/RebuildProjection", name, (char[]){""}, 0), GRPC_STATUS_OK);
    cr_expect_eq(ask_projection("/tally.v1.Ledger/RebuildProjection", name, (char[]){"eu@1"}, 0),
                 GRPC_STATUS_INVALID_ARGUMENT);
}
