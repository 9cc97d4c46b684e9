#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <grpc/status.h>
#include <stdio.h>

#include "base/assert.h"
#include "fake_server.h"
#include "tally/lane.h"
#include "tally/v1/ledger.pb-c.h"

enum { MESSAGE_MAX_BYTES = 1024 * 1024, SEEN_MAX = 64 };

/* A region that refuses some requests and remembers the first event id of those it takes. */
struct region {
    int refuse_count; /* the first requests are refused */
    int refuse_code;
    char *home_address; /* what is refused has its home there, in region us */
    uint8_t bad_id;     /* an event with this id is always refused as reused */
    size_t seen_count;
    uint8_t seen[SEEN_MAX];
};

static void refuse(struct fake_call *call, int code, uint8_t *id, char *home_address)
{
    char context[] = "bank";
    char partition[] = "eu";
    char home[] = "us";
    uint8_t packed[256];
    char message[] = "refused by the test";
    uint8_t event_id[16] = {0};
    Tally__V1__ErrorDetail detail;
    tally__v1__error_detail__init(&detail);
    detail.number = code;
    detail.message = message;
    if (home_address != NULL) {
        detail.context = context;
        detail.partition = partition;
        detail.home_region = home;
        detail.home_address = home_address;
    }
    if (id != NULL) {
        event_id[0] = *id;
        detail.event_id = (ProtobufCBinaryData){.len = sizeof(event_id), .data = event_id};
    }
    struct bytes bytes = bytes_of(packed, tally__v1__error_detail__pack(&detail, packed));
    fake_end(call, GRPC_STATUS_ABORTED, "x", bytes);
}

static void take(struct fake_call *call, struct region *region, const Tally__V1__AppendRequest *request)
{
    uint8_t packed[256];
    Tally__V1__AppendResponse response;
    Tally__V1__AppendResult result;
    Tally__V1__AppendResult *results[] = {&result};
    tally__v1__append_response__init(&response);
    tally__v1__append_result__init(&result);
    uint8_t id = request->writes[0]->events[0]->id.data[0];
    for (size_t i = 0; i < region->seen_count; i++)
        result.duplicate = result.duplicate || region->seen[i] == id;
    PRE(region->seen_count < SEEN_MAX);
    region->seen[region->seen_count++] = id;
    response.n_results = 1;
    response.results = results;
    (void)fake_send(call, bytes_of(packed, tally__v1__append_response__pack(&response, packed)));
}

static void region_handler(struct fake_call *call, void *context)
{
    struct region *region = context;
    struct buf message;
    buf_init(&message, MESSAGE_MAX_BYTES);
    if (fake_read(call, &message)) {
        Tally__V1__AppendRequest *request = tally__v1__append_request__unpack(NULL, message.size_bytes, message.data);
        PRE(request != NULL);
        uint8_t id = request->writes[0]->events[0]->id.data[0];
        if (region->refuse_count > 0) {
            region->refuse_count--;
            refuse(call, region->refuse_code, NULL, region->home_address);
        } else if (id == region->bad_id && id != 0) {
            refuse(call, ERR_ID_REUSED, &id, NULL);
        } else {
            take(call, region, request);
        }
        tally__v1__append_request__free_unpacked(request, NULL);
    }
    buf_free(&message);
}

struct fixture {
    struct fake_server *server;
    struct lane_target target;
    struct option_values to;
    struct routes *routes;
    struct lane_counts counts;
    struct lane *lane;
};

static void start(struct fixture *fixture, struct region *region, uint64_t retry_for_ms)
{
    cr_redirect_stderr();
    fixture->target.region = "eu";
    fixture->target.timeout_ms = 5000;
    fixture->target.retry_for_ms = retry_for_ms;
    if (region != NULL)
        fixture->server = fake_server_start(region_handler, region, &fixture->target.address);
    else
        fixture->target.address = "127.0.0.1:1";
    cr_assert_eq(tally_client_open(fixture->target.address, &fixture->target.client, NULL), 0);
    cr_assert_eq(routes_new(&fixture->to, &fixture->routes, NULL), 0);
    cr_assert_eq(lane_start(&fixture->target, fixture->routes, &fixture->counts, &fixture->lane, NULL), 0);
}

static void stop(struct fixture *fixture)
{
    tally_client_close(fixture->target.client);
    routes_free(fixture->routes);
    if (fixture->server != NULL)
        fake_server_stop(fixture->server);
}

static int send_event(struct fixture *fixture, uint8_t id, uint64_t line)
{
    struct batch *batch = NULL;
    struct ndjson_event event = {
        .context = "bank", .partition = "eu", .stream = "a", .event = {.id = {id}, .type = "Deposited"}};
    cr_assert_eq(batch_new(1, 1000, &batch, NULL), 0);
    cr_assert_eq(batch_add(batch, &event, line, NULL), 0);
    return lane_send(fixture->lane, batch);
}

Test(lane, batches_are_appended_in_order_and_counted)
{
    struct region region = {0};
    struct fixture fixture = {0};
    start(&fixture, &region, 5000);
    for (uint8_t i = 1; i <= 20; i++)
        cr_assert_eq(send_event(&fixture, i, i), 0);
    cr_assert_eq(send_event(&fixture, 7, 21), 0);
    cr_assert_eq(lane_finish(fixture.lane, NULL), 0);
    cr_assert_eq(region.seen_count, 21);
    for (uint8_t i = 0; i < 20; i++)
        cr_expect_eq(region.seen[i], i + 1);
    cr_expect_eq(atomic_load(&fixture.counts.added), 20);
    cr_expect_eq(atomic_load(&fixture.counts.duplicates), 1);
    stop(&fixture);
}

Test(lane, busy_and_unavailable_are_retried_and_nothing_overtakes)
{
    const int codes[] = {ERR_BUSY, ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_POISONED};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct region region = {.refuse_count = 2, .refuse_code = codes[i]};
        struct fixture fixture = {0};
        start(&fixture, &region, 5000);
        cr_assert_eq(send_event(&fixture, 1, 1), 0);
        cr_assert_eq(send_event(&fixture, 2, 2), 0);
        struct err err = {0};
        cr_expect_eq(lane_finish(fixture.lane, &err), 0, "%s", err.message);
        cr_assert_eq(region.seen_count, 2);
        cr_expect_eq(region.seen[0], 1);
        cr_expect_eq(region.seen[1], 2);
        stop(&fixture);
    }
}

Test(lane, a_refusal_ends_it_and_names_the_line)
{
    struct region region = {.bad_id = 2};
    struct fixture fixture = {0};
    struct err err = {0};
    start(&fixture, &region, 5000);
    cr_assert_eq(send_event(&fixture, 1, 11), 0);
    cr_assert_eq(send_event(&fixture, 2, 12), 0);
    int rc = 0;
    for (uint8_t i = 3; rc == 0 && i < 60; i++)
        rc = send_event(&fixture, i, i + 10u);
    cr_expect_eq(lane_finish(fixture.lane, &err), ERR_ID_REUSED);
    cr_expect_not_null(strstr(err.message, "line 12"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "refused by the test"), "%s", err.message);
    cr_expect_eq(region.seen_count, 1, "nothing after the refused batch");
    stop(&fixture);
}

Test(lane, a_region_that_stays_away_is_given_up_after_a_while)
{
    struct fixture fixture = {0};
    struct err err = {0};
    start(&fixture, NULL, 300);
    cr_assert_eq(send_event(&fixture, 1, 1), 0);
    cr_expect_eq(lane_finish(fixture.lane, &err), ERR_UNAVAILABLE);
    cr_expect_not_null(strstr(err.message, "region eu"), "%s", err.message);
    stop(&fixture);
}

Test(lane, follows_a_home_that_moves_and_keeps_the_order)
{
    struct region us = {0};
    const char *address = NULL;
    struct fake_server *server = fake_server_start(region_handler, &us, &address);
    char home_address[64];
    (void)snprintf(home_address, sizeof(home_address), "%s", address);
    struct region eu = {.refuse_count = 1, .refuse_code = ERR_WRONG_HOME, .home_address = home_address};
    struct fixture fixture = {0};
    start(&fixture, &eu, 5000);
    for (uint8_t i = 1; i <= 5; i++)
        cr_assert_eq(send_event(&fixture, i, i), 0);
    cr_assert_eq(lane_finish(fixture.lane, NULL), 0);
    cr_assert_eq(eu.seen_count, 0, "it was asked once");
    cr_assert_eq(us.seen_count, 5);
    for (uint8_t i = 0; i < 5; i++)
        cr_expect_eq(us.seen[i], i + 1);
    stop(&fixture);
    fake_server_stop(server);
}

Test(lane, a_wrong_home_without_an_address_ends_it)
{
    struct region eu = {.refuse_count = 1, .refuse_code = ERR_WRONG_HOME};
    struct fixture fixture = {0};
    struct err err = {0};
    start(&fixture, &eu, 5000);
    cr_assert_eq(send_event(&fixture, 1, 1), 0);
    cr_assert_eq(lane_finish(fixture.lane, &err), ERR_WRONG_HOME);
    stop(&fixture);
}
