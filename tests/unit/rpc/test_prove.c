/* Prove: finding the entry, and waiting for a checkpoint. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"

#define PROVE "/tally.v1.Ledger/Prove"

static struct stage stage;
static struct outside outside;
static struct buf answer;

static void set_up(void)
{
    stage_init(&stage);
    stage_add_log(&stage);
    stage_append(&stage, 0, "s", 5, 10);
    stage_append(&stage, 1, "t", 3, 10);
    stage.provable_size = 5;
    buf_init(&answer, RPC_MESSAGE_MAX_BYTES);
}

static void tear_down(void)
{
    buf_free(&answer);
    stage_free(&stage);
}

TestSuite(prove, .init = set_up, .fini = tear_down);

static Tally__V1__ProveRequest request_of(char *origin, uint64_t index)
{
    Tally__V1__ProveRequest request;
    tally__v1__prove_request__init(&request);
    request.origin = origin;
    request.index = index;
    request.timeout_ms = 20000;
    return request;
}

static grpc_status_code ask(const Tally__V1__ProveRequest *request)
{
    return outside_unary(&outside, stage.port, PROVE, &request->base, &answer);
}

static void expect_receipt(const Tally__V1__ProveRequest *request, const char *origin, uint64_t index, const char *text)
{
    cr_assert_eq(ask(request), GRPC_STATUS_OK, "%s", outside.message);
    Tally__V1__ProveResponse *response = tally__v1__prove_response__unpack(NULL, answer.size_bytes, answer.data);
    cr_assert_not_null(response);
    cr_expect_str_eq(response->origin, origin);
    cr_expect_eq(response->index, index);
    cr_expect(bytes_equal(bytes_of(response->receipt.data, response->receipt.len), bytes_of_string(text)));
    tally__v1__prove_response__free_unpacked(response, NULL);
    outside_close(&outside);
}

static void expect_refused(const Tally__V1__ProveRequest *request, grpc_status_code code, const char *part)
{
    cr_expect_eq(ask(request), code, "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, part), "%s", outside.message);
    outside_close(&outside);
}

/* The id that the maker gave to an entry. */
static void id_of(size_t log, uint64_t index, uint8_t out[ENTRY_ID_SIZE])
{
    memcpy(out, stage.makers[log].chain.log_id, 8);
    put_u64_be(out + 8, index);
}

Test(prove, finds_an_entry_by_its_place)
{
    char own[] = OWN_ORIGIN;
    char peer[] = PEER_ORIGIN;
    char none[] = "";
    Tally__V1__ProveRequest request = request_of(own, 3);
    expect_receipt(&request, OWN_ORIGIN, 3, "log 0, entry 3");
    request = request_of(none, 4);
    expect_receipt(&request, OWN_ORIGIN, 4, "log 0, entry 4");
    request = request_of(peer, 2);
    expect_receipt(&request, PEER_ORIGIN, 2, "log 1, entry 2");
}

Test(prove, finds_an_entry_by_its_event)
{
    char none[] = "";
    uint8_t id[ENTRY_ID_SIZE];
    Tally__V1__ProveRequest request = request_of(none, 0);
    request.event_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    id_of(0, 2, id);
    expect_receipt(&request, OWN_ORIGIN, 2, "log 0, entry 2");
    id_of(1, 1, id);
    expect_receipt(&request, PEER_ORIGIN, 1, "log 1, entry 1");
}

Test(prove, waits_for_the_checkpoint)
{
    char own[] = OWN_ORIGIN;
    Tally__V1__ProveRequest request = request_of(own, 4);
    stage.provable_size = 4;
    outside_open(&outside, stage.port, PROVE, 30000);
    outside_write_message(&outside, &request.base);
    outside_writes_done(&outside);
    pthread_mutex_lock(&stage.mutex);
    stage.provable_size = 5;
    pthread_mutex_unlock(&stage.mutex);
    stage_change(&stage);
    cr_expect(outside_read(&outside, &answer));
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_OK);
    outside_close(&outside);
}

Test(prove, gives_up_after_the_time_that_was_given)
{
    char own[] = OWN_ORIGIN;
    Tally__V1__ProveRequest request = request_of(own, 4);
    stage.provable_size = 4;
    request.timeout_ms = 1;
    expect_refused(&request, GRPC_STATUS_DEADLINE_EXCEEDED, "no checkpoint covers it");
}

Test(prove, refuses_what_is_not_there)
{
    char own[] = OWN_ORIGIN;
    char other[] = "bank/asia/1";
    char malformed[] = "nonsense";
    uint8_t id[ENTRY_ID_SIZE] = {0xee};
    Tally__V1__ProveRequest request = request_of(own, 5);
    expect_refused(&request, GRPC_STATUS_NOT_FOUND, "there is no entry 5");
    request = request_of(other, 0);
    expect_refused(&request, GRPC_STATUS_NOT_FOUND, "bank/asia/1");
    request = request_of(malformed, 0);
    expect_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "origin");
    request = request_of(own, 0);
    request.event_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    expect_refused(&request, GRPC_STATUS_NOT_FOUND, "no event with that id");
    request.event_id.len = 15;
    expect_refused(&request, GRPC_STATUS_INVALID_ARGUMENT, "15 bytes");
}
