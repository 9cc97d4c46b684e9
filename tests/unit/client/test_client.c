#include <criterion/criterion.h>
#include <grpc/status.h>

#include "base/arena.h"
#include "base/assert.h"
#include "client/decode.h"
#include "fake_server.h"
#include "tally/client.h"
#include "tally/v1/ledger.pb-c.h"
#include "tally/v1/operations.pb-c.h"

enum { MESSAGE_MAX_BYTES = 1024 * 1024 };

struct session {
    struct fake_server *server;
    struct tally_client *client;
};

static struct session start(fake_handler *handler, void *context)
{
    struct session session = {0};
    const char *address = NULL;
    session.server = fake_server_start(handler, context, &address);
    cr_assert_eq(tally_client_open(address, &session.client, NULL), 0);
    return session;
}

static void stop(struct session *session)
{
    tally_client_close(session->client);
    fake_server_stop(session->server);
}

static struct buf buffer(void)
{
    struct buf buf;
    buf_init(&buf, MESSAGE_MAX_BYTES);
    return buf;
}

static void send_message(struct fake_call *call, const ProtobufCMessage *message)
{
    struct buf bytes = buffer();
    cr_assert_eq(buf_reserve(&bytes, protobuf_c_message_get_packed_size(message) + 1), 0);
    bytes.size_bytes = protobuf_c_message_pack(message, bytes.data);
    (void)fake_send(call, buf_bytes(&bytes));
    buf_free(&bytes);
}

/* --- A server that appends --- */

static char own_origin[] = "bank/eu/1";
static char other_origin[] = "bank/us/1";
static char position[] = "eu@7";
static char refusal_message[] = "the stream is at 4";
static char refusal_actual[] = "4";

/* Answers one request: a result an event, the second one a duplicate elsewhere; a stream called "refused" is. */
static void answer_append(struct fake_call *call, const Tally__V1__AppendRequest *request)
{
    Tally__V1__AppendResponse response;
    Tally__V1__AppendResult results[16];
    Tally__V1__AppendResult *pointers[16];
    Tally__V1__ErrorDetail detail;
    size_t count = 0;
    tally__v1__append_response__init(&response);
    for (size_t w = 0; w < request->n_writes; w++) {
        for (size_t e = 0; e < request->writes[w]->n_events; e++, count++) {
            tally__v1__append_result__init(&results[count]);
            results[count].index = 100 + count;
            results[count].stream_version = request->writes[w]->events[e]->payload.len;
            results[count].duplicate = count == 1;
            if (count == 1)
                results[count].origin = other_origin;
            pointers[count] = &results[count];
        }
    }
    response.origin = own_origin;
    response.position = position;
    response.tag = request->tag;
    response.n_results = count;
    response.results = pointers;
    if (strcmp(request->writes[0]->stream, "refused") == 0) {
        tally__v1__error_detail__init(&detail);
        detail.number = ERR_VERSION_CONFLICT;
        detail.message = refusal_message;
        detail.actual = refusal_actual;
        response.error = &detail;
        response.n_results = 0;
    }
    send_message(call, &response.base);
}

static void append_handler(struct fake_call *call, void *context)
{
    size_t *requests = context;
    struct buf message = buffer();
    while (fake_read(call, &message)) {
        Tally__V1__AppendRequest *request = tally__v1__append_request__unpack(NULL, message.size_bytes, message.data);
        PRE(request != NULL);
        ++*requests;
        answer_append(call, request);
        tally__v1__append_request__free_unpacked(request, NULL);
        buf_clear(&message);
    }
    buf_free(&message);
}

static const struct tally_event events[2] = {
    {.id = {1}, .type = "Deposited", .payload = {.data = "abc", .size = 3}},
    {.id = {2}, .type = "Withdrawn"},
};

static struct tally_write write_to(const char *stream)
{
    return (struct tally_write){
        .context = "bank", .partition = "eu", .stream = stream, .events = events, .event_count = 2};
}

Test(client, append_gives_a_result_for_each_event)
{
    size_t requests = 0;
    struct session session = start(append_handler, &requests);
    struct tally_write write = write_to("a");
    struct tally_answer *answer = NULL;
    struct err err = {0};
    cr_assert_eq(tally_append(session.client, &write, 1, 5000, &answer, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(answer->result_count, 2);
    cr_expect_str_eq(answer->position, "eu@7");
    cr_expect_eq(answer->results[0].index, 100);
    cr_expect_eq(answer->results[0].stream_version, 3, "the payload arrived");
    cr_expect_str_eq(answer->results[0].origin, "bank/eu/1");
    cr_expect(!answer->results[0].duplicate);
    cr_expect(answer->results[1].duplicate);
    cr_expect_str_eq(answer->results[1].origin, "bank/us/1");
    tally_answer_free(answer);
    stop(&session);
}

Test(client, batches_without_events_or_with_too_many_are_not_sent)
{
    size_t requests = 0;
    struct session session = start(append_handler, &requests);
    struct tally_write write = write_to("a");
    struct tally_answer *answer = NULL;
    cr_expect_eq(tally_append(session.client, &write, 0, 5000, &answer, NULL, NULL), ERR_INVALID);
    write.event_count = 0;
    cr_expect_eq(tally_append(session.client, &write, 1, 5000, &answer, NULL, NULL), ERR_INVALID);
    write.event_count = TALLY_BATCH_EVENTS_MAX + 1;
    cr_expect_eq(tally_append(session.client, &write, 1, 5000, &answer, NULL, NULL), ERR_TOO_LARGE);
    cr_expect_eq(requests, 0);
    stop(&session);
}

static void wrong_home_handler(struct fake_call *call, void *context)
{
    (void)context;
    uint8_t packed[256];
    char region[] = "us";
    char address[] = "10.0.0.1:7401";
    uint8_t id[16] = {9};
    Tally__V1__ErrorDetail detail;
    tally__v1__error_detail__init(&detail);
    detail.number = ERR_WRONG_HOME;
    detail.message = refusal_message;
    detail.home_region = region;
    detail.home_address = address;
    detail.write_number = 3;
    detail.event_id = (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    struct bytes bytes = bytes_of(packed, tally__v1__error_detail__pack(&detail, packed));
    fake_end(call, GRPC_STATUS_FAILED_PRECONDITION, "x", bytes);
}

Test(client, a_refusal_says_what_the_server_said)
{
    struct session session = start(wrong_home_handler, NULL);
    struct tally_write write = write_to("a");
    struct tally_answer *answer = NULL;
    struct tally_refusal refusal = {0};
    cr_expect_eq(tally_append(session.client, &write, 1, 5000, &answer, &refusal, NULL), ERR_WRONG_HOME);
    cr_expect_null(answer);
    cr_expect_str_eq(refusal.home_region, "us");
    cr_expect_str_eq(refusal.home_address, "10.0.0.1:7401");
    cr_expect_eq(refusal.write_number, 3);
    cr_assert(refusal.has_event_id);
    cr_expect_eq(refusal.event_id[0], 9);
    stop(&session);
}

static void too_few_handler(struct fake_call *call, void *context)
{
    (void)context;
    struct buf message = buffer();
    if (fake_read(call, &message)) {
        Tally__V1__AppendResponse response;
        tally__v1__append_response__init(&response);
        send_message(call, &response.base);
    }
    buf_free(&message);
}

Test(client, an_answer_with_too_few_results_is_corrupt)
{
    struct session session = start(too_few_handler, NULL);
    struct tally_write write = write_to("a");
    struct tally_answer *answer = NULL;
    cr_expect_eq(tally_append(session.client, &write, 1, 5000, &answer, NULL, NULL), ERR_CORRUPT);
    cr_expect_null(answer);
    stop(&session);
}

static void send_context(struct fake_call *call, void *context)
{
    const struct bytes *bytes = context;
    struct buf message = buffer();
    if (fake_read(call, &message))
        (void)fake_send(call, *bytes);
    buf_free(&message);
}

Test(client, answers_that_are_no_protobuf_are_corrupt)
{
    struct bytes garbage = BYTES_LITERAL("\xff\xff\xff\xff");
    struct session session = start(send_context, &garbage);
    struct tally_write write = write_to("a");
    struct tally_answer *answer = NULL;
    struct tally_status *status = NULL;
    struct tally_projections *projections = NULL;
    cr_expect_eq(tally_append(session.client, &write, 1, 5000, &answer, NULL, NULL), ERR_CORRUPT);
    cr_expect_eq(tally_status_get(session.client, 5000, &status, NULL), ERR_CORRUPT);
    cr_expect_eq(tally_projection_list(session.client, 5000, &projections, NULL), ERR_CORRUPT);
    stop(&session);
}

Test(client, an_answer_cannot_ask_for_memory_without_limit)
{
    static uint8_t many[MESSAGE_MAX_BYTES];
    for (size_t i = 0; i + 1 < sizeof(many); i += 2)
        many[i] = 0x3a; /* field 7, an empty LogStatus: two bytes that cost a hundred */
    struct bytes bytes = bytes_of(many, sizeof(many));
    struct session session = start(send_context, &bytes);
    struct tally_status *status = NULL;
    cr_expect_eq(tally_status_get(session.client, 5000, &status, NULL), ERR_CORRUPT);
    cr_expect_null(status);
    stop(&session);
}

/* --- Pipelined --- */

Test(client, an_appender_answers_in_order_and_refusals_do_not_end_it)
{
    size_t requests = 0;
    struct session session = start(append_handler, &requests);
    struct tally_appender *appender = NULL;
    const char *streams[] = {"a", "refused", "b"};
    cr_assert_eq(tally_appender_open(session.client, &appender, NULL), 0);
    for (uint64_t i = 0; i < 3; i++) {
        struct tally_write write = write_to(streams[i]);
        cr_assert_eq(tally_appender_send(appender, &write, 1, 40 + i, NULL), 0);
    }
    cr_assert_eq(tally_appender_finish(appender, NULL), 0);
    struct tally_answer *answer = NULL;
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert_eq(tally_appender_receive(appender, &answer, NULL), 0);
        cr_expect_eq(answer->tag, 40 + i);
        cr_expect_eq(answer->err.code, i == 1 ? ERR_VERSION_CONFLICT : 0);
        cr_expect_eq(answer->result_count, i == 1 ? 0 : 2);
        if (i == 1) {
            cr_expect_str_eq(answer->err.message, "the stream is at 4");
            cr_expect_str_eq(answer->refusal.actual, "4");
        }
        tally_answer_free(answer);
    }
    cr_expect_eq(tally_appender_receive(appender, &answer, NULL), ERR_END);
    tally_appender_close(appender);
    stop(&session);
}

/* --- Status and projections --- */

static void status_handler(struct fake_call *call, void *context)
{
    (void)context;
    char bank[] = "bank";
    char eu[] = "eu";
    char us[] = "us";
    char address[] = "10.0.0.2:7401";
    struct buf message = buffer();
    Tally__V1__StatusResponse response;
    Tally__V1__LogStatus log;
    Tally__V1__PeerStatus peer;
    Tally__V1__ContextStatus contexts;
    Tally__V1__ContextStatus__HomesEntry home;
    Tally__V1__RegionAddress region;
    Tally__V1__LogStatus *logs[] = {&log};
    Tally__V1__PeerStatus *peers[] = {&peer};
    Tally__V1__ContextStatus *context_list[] = {&contexts};
    Tally__V1__ContextStatus__HomesEntry *homes[] = {&home};
    Tally__V1__RegionAddress *regions[] = {&region};
    tally__v1__status_response__init(&response);
    tally__v1__log_status__init(&log);
    tally__v1__peer_status__init(&peer);
    tally__v1__context_status__init(&contexts);
    tally__v1__context_status__homes_entry__init(&home);
    tally__v1__region_address__init(&region);
    log.origin = own_origin;
    log.size = 12;
    log.lag = 3;
    peer.region = us;
    peer.connected = true;
    peer.mirrored_size = 9;
    home.key = us;
    home.value = us;
    contexts.name = bank;
    contexts.default_home = eu;
    contexts.n_homes = 1;
    contexts.homes = homes;
    region.region = us;
    region.address = address;
    response.region = eu;
    response.accepting = true;
    response.n_logs = response.n_peers = response.n_contexts = response.n_regions = 1;
    response.logs = logs;
    response.peers = peers;
    response.contexts = context_list;
    response.regions = regions;
    if (fake_read(call, &message))
        send_message(call, &response.base);
    buf_free(&message);
}

Test(client, status_gives_everything_and_finds_homes)
{
    struct session session = start(status_handler, NULL);
    struct tally_status *status = NULL;
    cr_assert_eq(tally_status_get(session.client, 5000, &status, NULL), 0);
    cr_expect_str_eq(status->region, "eu");
    cr_expect(status->accepting);
    cr_assert_eq(status->log_count, 1);
    cr_expect_eq(status->logs[0].size, 12);
    cr_expect_eq(status->logs[0].lag, 3);
    cr_assert_eq(status->peer_count, 1);
    cr_expect_eq(status->peers[0].mirrored_size, 9);
    cr_expect_str_eq(tally_status_home(status, "bank", "us"), "us");
    cr_expect_str_eq(tally_status_home(status, "bank", "fr"), "eu");
    cr_expect_null(tally_status_home(status, "shop", "us"));
    cr_expect_str_eq(tally_status_address(status, "us"), "10.0.0.2:7401");
    cr_expect_null(tally_status_address(status, "eu"));
    tally_status_free(status);
    stop(&session);
}

static void digest_handler(struct fake_call *call, void *context)
{
    char digest[] = "abcd";
    bool *waited = context;
    struct buf message = buffer();
    Tally__V1__ProjectionDigest response;
    tally__v1__projection_digest__init(&response);
    response.digest = digest;
    response.row_count = 5;
    if (fake_method_is(call, "/tally.v1.Ledger/DigestProjection") && fake_read(call, &message)) {
        Tally__V1__ProjectionRequest *request =
            tally__v1__projection_request__unpack(NULL, message.size_bytes, message.data);
        PRE(request != NULL);
        *waited = strcmp(request->name, "balances") == 0 && strcmp(request->at_least, "eu@7") == 0 &&
                  request->timeout_ms == 2000;
        tally__v1__projection_request__free_unpacked(request, NULL);
        send_message(call, &response.base);
    }
    buf_free(&message);
}

static void check_handler(struct fake_call *call, void *context)
{
    char table[] = "sums";
    bool *asked = context;
    struct buf message = buffer();
    Tally__V1__ProjectionCheck response;
    tally__v1__projection_check__init(&response);
    response.differs = true;
    response.seed = 4;
    response.table = table;
    if (fake_method_is(call, "/tally.v1.Ledger/CheckProjection") && fake_read(call, &message)) {
        Tally__V1__CheckProjectionRequest *request =
            tally__v1__check_projection_request__unpack(NULL, message.size_bytes, message.data);
        PRE(request != NULL);
        *asked = strcmp(request->name, "balances") == 0 && request->seeds == 7;
        tally__v1__check_projection_request__free_unpacked(request, NULL);
        send_message(call, &response.base);
    }
    buf_free(&message);
}

Test(client, a_check_says_what_differs)
{
    bool asked = false;
    struct session session = start(check_handler, &asked);
    struct tally_projection_check *check = NULL;
    cr_assert_eq(tally_projection_check(session.client, "balances", 7, 2000, &check, NULL), 0);
    cr_expect(asked);
    cr_expect(check->differs);
    cr_expect_eq(check->seed, 4);
    cr_expect_str_eq(check->table, "sums");
    tally_projection_check_free(check);
    stop(&session);
}

Test(client, a_digest_waits_for_a_position)
{
    bool waited = false;
    struct session session = start(digest_handler, &waited);
    struct tally_projection_digest *digest = NULL;
    cr_assert_eq(tally_projection_digest_get(session.client, "balances", "eu@7", 2000, &digest, NULL), 0);
    cr_expect(waited);
    cr_expect_str_eq(digest->digest, "abcd");
    cr_expect_eq(digest->row_count, 5);
    tally_projection_digest_free(digest);
    stop(&session);
}

static void receipt_handler(struct fake_call *call, void *context)
{
    uint8_t text[] = "the receipt";
    bool *asked_right = context;
    struct buf message = buffer();
    Tally__V1__ProveResponse response;
    tally__v1__prove_response__init(&response);
    response.origin = own_origin;
    response.index = 7;
    response.receipt = (ProtobufCBinaryData){.len = sizeof(text) - 1, .data = text};
    if (fake_method_is(call, "/tally.v1.Ledger/Prove") && fake_read(call, &message)) {
        Tally__V1__ProveRequest *request = tally__v1__prove_request__unpack(NULL, message.size_bytes, message.data);
        PRE(request != NULL);
        *asked_right =
            request->event_id.len == TALLY_ID_SIZE && request->event_id.data[0] == 9 && request->timeout_ms == 2000;
        tally__v1__prove_request__free_unpacked(request, NULL);
        send_message(call, &response.base);
    }
    buf_free(&message);
}

Test(client, a_receipt_is_asked_for_by_the_events_id)
{
    const uint8_t id[TALLY_ID_SIZE] = {9};
    bool asked_right = false;
    struct session session = start(receipt_handler, &asked_right);
    struct tally_receipt *receipt = NULL;
    cr_assert_eq(tally_prove(session.client, id, 2000, &receipt, NULL), 0);
    cr_expect(asked_right);
    cr_expect_str_eq(receipt->origin, own_origin);
    cr_expect_eq(receipt->index, 7);
    cr_expect_eq(receipt->text.size, strlen("the receipt"));
    tally_receipt_free(receipt);
    stop(&session);
}

/* --- Evidence --- */

/* Pages of names, one a call; a page says that there is more when there is. */
struct evidence_script {
    const char *pages[4][3];
    size_t call_count;
};

static void evidence_handler(struct fake_call *call, void *context)
{
    struct evidence_script *script = context;
    Tally__V1__ListEvidenceResponse response;
    Tally__V1__EvidenceItem items[3], *list[3];
    struct buf message = buffer();
    tally__v1__list_evidence_response__init(&response);
    const char *const *page = script->pages[script->call_count++];
    for (; response.n_items < 3 && page[response.n_items] != NULL; response.n_items++) {
        Tally__V1__EvidenceItem *item = &items[response.n_items];
        tally__v1__evidence_item__init(item);
        item->name = (char *)(uintptr_t)page[response.n_items];
        item->log = own_origin;
        item->note.len = 3;
        item->note.data = (uint8_t *)own_origin;
        list[response.n_items] = item;
    }
    response.items = list;
    response.more = script->call_count < 4 && script->pages[script->call_count][0] != NULL;
    if (fake_read(call, &message))
        send_message(call, &response.base);
    buf_free(&message);
}

#define NAME_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define NAME_2 "2222222222222222222222222222222222222222222222222222222222222222"
#define NAME_3 "3333333333333333333333333333333333333333333333333333333333333333"

Test(client, pages_of_evidence_are_put_together)
{
    struct evidence_script script = {.pages = {{NAME_1, NAME_2}, {NAME_3}}};
    struct session session = start(evidence_handler, &script);
    struct tally_evidence *evidence = NULL;
    cr_assert_eq(tally_evidence_get(session.client, false, 5000, &evidence, NULL), 0);
    cr_assert_eq(evidence->count, 3);
    cr_expect_str_eq(evidence->items[2].name, NAME_3);
    cr_expect_str_eq(evidence->items[0].log, "bank/eu/1");
    cr_expect_eq(memcmp(evidence->items[1].note, "ban", 3), 0);
    cr_expect_eq(script.call_count, 2);
    tally_evidence_free(evidence);
    stop(&session);
}

Test(client, evidence_that_is_out_of_order_or_has_no_names_is_refused)
{
    struct evidence_script scripts[] = {
        {.pages = {{NAME_2, NAME_1}}},
        {.pages = {{NAME_1, NAME_1}}},
        {.pages = {{NAME_2}, {NAME_2}}},
        {.pages = {{"../../etc/passwd"}}},
        {.pages = {{"111111111111111111111111111111111111111111111111111111111111111A"}}},
    };
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        struct session session = start(evidence_handler, &scripts[i]);
        struct tally_evidence *evidence = NULL;
        cr_expect_eq(tally_evidence_get(session.client, false, 5000, &evidence, NULL), ERR_CORRUPT, "script %zu", i);
        cr_expect_null(evidence);
        stop(&session);
    }
}
