/* Late events through the service: what us accepted of a partition whose home is eu has come too late. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"
#include "tally/v1/operations.pb-c.h"

enum { LATE = 5 };

static struct stage stage;
static struct buf answer;
static struct outside outside;

static void start(void)
{
    stage_init(&stage);
    stage_add_log(&stage);
    stage.makers[1].partition = "p";
    buf_init(&answer, 8 * 1024 * 1024);
}

static void end(void)
{
    buf_free(&answer);
    stage_free(&stage);
}

TestSuite(late, .init = start, .fini = end);

/* protobuf-c's strings are never const. */
static char *text(const char *from)
{
    return (char *)(uintptr_t)from;
}

static grpc_status_code ask(const char *method, const ProtobufCMessage *request)
{
    char path[64];
    snprintf(path, sizeof(path), "/tally.v1.Operations/%s", method);
    buf_clear(&answer);
    grpc_status_code status = outside_unary(&outside, stage.port, path, request, &answer);
    return status;
}

static void expect_refused(const char *method, const ProtobufCMessage *request, grpc_status_code status,
                           const char *word)
{
    cr_expect_eq(ask(method, request), status, "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, word), "\"%s\" is not in \"%s\"", word, outside.message);
    outside_close(&outside);
}

static void *answered(const char *method, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type)
{
    cr_assert_eq(ask(method, request), GRPC_STATUS_OK, "%s", outside.message);
    outside_close(&outside);
    void *message = protobuf_c_message_unpack(type, NULL, answer.size_bytes, answer.data);
    cr_assert_not_null(message);
    return message;
}

static Tally__V1__LogPlace place_of(char *origin, uint64_t index)
{
    Tally__V1__LogPlace place;
    tally__v1__log_place__init(&place);
    place.origin = origin;
    place.index = index;
    return place;
}

/* --- ListLate --- */

static Tally__V1__ListLateResponse *list(const Tally__V1__ListLateRequest *request)
{
    return answered("ListLate", &request->base, &tally__v1__list_late_response__descriptor);
}

Test(late, a_list_comes_in_pages_that_join_without_a_gap)
{
    Tally__V1__ListLateRequest request;
    tally__v1__list_late_request__init(&request);
    Tally__V1__LogPlace after;
    char origin[64];
    uint64_t seen = 0;
    bool more = true;
    stage_append(&stage, 1, "s", LATE, 10);
    request.limit = 2;
    while (more) {
        Tally__V1__ListLateResponse *page = list(&request);
        for (size_t i = 0; i < page->n_items; i++) {
            cr_expect_eq(page->items[i]->place->index, seen++);
            cr_expect_str_eq(page->items[i]->place->origin, PEER_ORIGIN);
            cr_expect_str_eq(page->items[i]->state, "open");
            cr_expect_str_eq(page->items[i]->partition, "p");
        }
        more = page->next != NULL;
        if (more) {
            snprintf(origin, sizeof(origin), "%s", page->next->origin);
            after = place_of(origin, page->next->index);
            request.after = &after;
        }
        tally__v1__list_late_response__free_unpacked(page, NULL);
    }
    cr_expect_eq(seen, LATE);
}

Test(late, a_list_is_narrowed_by_state_and_partition)
{
    Tally__V1__ListLateRequest request;
    tally__v1__list_late_request__init(&request);
    stage_append(&stage, 1, "s", LATE, 10);
    request.state = text("rejected");
    Tally__V1__ListLateResponse *page = list(&request);
    cr_expect_eq(page->n_items, 0);
    tally__v1__list_late_response__free_unpacked(page, NULL);
    request.state = text("open");
    request.partition = text("q");
    page = list(&request);
    cr_expect_eq(page->n_items, 0);
    tally__v1__list_late_response__free_unpacked(page, NULL);
    request.state = text("opne");
    expect_refused("ListLate", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "compensation owed");
}

/* --- ShowLate --- */

Test(late, an_item_is_shown_with_both_versions_of_its_stream)
{
    Tally__V1__ShowLateRequest request;
    tally__v1__show_late_request__init(&request);
    Tally__V1__LogPlace place = place_of(text(PEER_ORIGIN), 0);
    stage_append(&stage, 0, "s", 2, 10);
    stage.makers[1].partition = "p";
    stage_append(&stage, 1, "other", 1, 10);
    request.place = &place;
    Tally__V1__ShowLateResponse *shown =
        answered("ShowLate", &request.base, &tally__v1__show_late_response__descriptor);
    cr_expect_str_eq(shown->item->stream, "other");
    cr_expect_eq(shown->n_late, 1);
    cr_expect_eq(shown->n_effective, 0, "of this stream nothing counts");
    tally__v1__show_late_response__free_unpacked(shown, NULL);
}

static Tally__V1__ShowLateResponse *show_with_projections(uint64_t index)
{
    Tally__V1__ShowLateRequest request;
    tally__v1__show_late_request__init(&request);
    Tally__V1__LogPlace place = place_of(text(PEER_ORIGIN), index);
    request.place = &place;
    request.projections = true;
    return answered("ShowLate", &request.base, &tally__v1__show_late_response__descriptor);
}

Test(late, projections_are_asked_what_the_event_would_change_as_the_streams_next)
{
    stage_append(&stage, 0, "s", 2, 10);
    stage_append(&stage, 1, "s", 1, 10);
    Tally__V1__ShowLateResponse *shown = show_with_projections(0);
    cr_assert_eq(shown->n_projections, 1);
    const Tally__V1__ShownProjection *projection = shown->projections[0];
    cr_expect_str_eq(projection->name, "balances");
    cr_expect_str_eq(projection->error, "");
    cr_expect_eq(projection->changed, 2);
    cr_assert_eq(projection->n_rows, 1);
    cr_expect_str_eq(projection->rows[0]->table, "versions");
    cr_expect_str_eq(projection->rows[0]->without, "");
    cr_expect_str_eq(projection->rows[0]->with, "{\"version\":2}");
    tally__v1__show_late_response__free_unpacked(shown, NULL);
}

Test(late, a_projection_that_cannot_say_is_told_and_one_without_statements_is_not)
{
    stage_append(&stage, 1, "odd", 1, 10);
    stage_append(&stage, 1, "ignored", 1, 10);
    Tally__V1__ShowLateResponse *shown = show_with_projections(0);
    cr_assert_eq(shown->n_projections, 1);
    cr_expect_str_eq(shown->projections[0]->error, "it is odd");
    cr_expect_eq(shown->projections[0]->n_rows, 0);
    tally__v1__show_late_response__free_unpacked(shown, NULL);
    shown = show_with_projections(1);
    cr_expect_eq(shown->n_projections, 0);
    tally__v1__show_late_response__free_unpacked(shown, NULL);
}

Test(late, what_counts_is_no_item)
{
    Tally__V1__ShowLateRequest request;
    tally__v1__show_late_request__init(&request);
    Tally__V1__LogPlace place = place_of(text("bank/eu/1"), 0);
    stage_append(&stage, 0, "s", 1, 10);
    request.place = &place;
    expect_refused("ShowLate", &request.base, GRPC_STATUS_NOT_FOUND, "entry 0 of log bank/eu/1");
    request.place = NULL;
    expect_refused("ShowLate", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "origin");
}

/* --- Settle --- */

static void settle_many(size_t count, Tally__V1__SettleRequest *request, Tally__V1__LogPlace *places,
                        Tally__V1__LogPlace **list_of)
{
    for (size_t i = 0; i < count; i++) {
        places[i] = place_of(text(PEER_ORIGIN), i);
        list_of[i] = &places[i];
    }
    tally__v1__settle_request__init(request);
    request->places = list_of;
    request->n_places = count;
    request->settlement = text("accept");
}

Test(late, what_is_accepted_is_read_from_its_log)
{
    Tally__V1__SettleRequest request;
    Tally__V1__LogPlace places[2];
    Tally__V1__LogPlace *list_of[2];
    stage_append(&stage, 1, "s", 2, 777);
    settle_many(2, &request, places, list_of);
    Tally__V1__SettleResponse *settled = answered("Settle", &request.base, &tally__v1__settle_response__descriptor);
    cr_expect_eq(settled->settled, 2);
    cr_expect_eq(stage.submitted, 1, "as one");
    cr_expect_str_eq(settled->position, "eu@2");
    tally__v1__settle_response__free_unpacked(settled, NULL);
}

Test(late, many_are_decided_some_at_a_time)
{
    enum { MANY = 300 };
    static Tally__V1__LogPlace places[MANY];
    static Tally__V1__LogPlace *list_of[MANY];
    Tally__V1__SettleRequest request;
    stage_append(&stage, 1, "s", MANY, 10);
    settle_many(MANY, &request, places, list_of);
    request.settlement = text("reject");
    Tally__V1__SettleResponse *settled = answered("Settle", &request.base, &tally__v1__settle_response__descriptor);
    cr_expect_eq(settled->settled, MANY);
    cr_expect_eq(stage.submitted, 2);
    tally__v1__settle_response__free_unpacked(settled, NULL);
}

Test(late, large_payloads_are_accepted_some_at_a_time)
{
    enum { MANY = 5 };
    Tally__V1__SettleRequest request;
    Tally__V1__LogPlace places[MANY];
    Tally__V1__LogPlace *list_of[MANY];
    for (size_t i = 0; i < MANY; i++)
        stage_append(&stage, 1, "s", 1, 1000 * 1000);
    settle_many(MANY, &request, places, list_of);
    Tally__V1__SettleResponse *settled = answered("Settle", &request.base, &tally__v1__settle_response__descriptor);
    cr_expect_eq(settled->settled, MANY);
    cr_expect_eq(stage.submitted, 2);
    tally__v1__settle_response__free_unpacked(settled, NULL);
}

Test(late, a_refusal_of_the_region_says_why_to_machines_too)
{
    Tally__V1__SettleRequest request;
    Tally__V1__LogPlace place;
    Tally__V1__LogPlace *list_of;
    stage_append(&stage, 1, "s", 1, 10);
    settle_many(1, &request, &place, &list_of);
    stage.refuse_with = ERR_WRONG_HOME;
    cr_assert_eq(ask("Settle", &request.base), GRPC_STATUS_FAILED_PRECONDITION);
    cr_assert_not_null(outside.detail);
    cr_expect_str_eq(outside.detail->code, "WRONG_HOME");
    outside_close(&outside);
}

/* Sends a decision that the region holds back. */
static void settle_and_wait(void)
{
    Tally__V1__SettleRequest request;
    Tally__V1__LogPlace place;
    Tally__V1__LogPlace *list_of;
    stage_append(&stage, 1, "s", 1, 10);
    settle_many(1, &request, &place, &list_of);
    stage.hold = true;
    outside_open(&outside, stage.port, "/tally.v1.Operations/Settle", 30000);
    outside_write_message(&outside, &request.base);
    outside_writes_done(&outside);
    stage_wait_submitted(&stage, 1);
}

Test(late, when_the_caller_is_gone_the_region_is_told_that_nobody_waits_for_copies)
{
    settle_and_wait();
    outside_cancel(&outside);
    cr_expect_eq(outside_finish(&outside), GRPC_STATUS_CANCELLED);
    outside_close(&outside);
    stage_wait_given_up(&stage, 1);
    stage_release(&stage);
}

static void *release_when_given_up(void *context)
{
    (void)context;
    stage_wait_given_up(&stage, 1);
    stage_release(&stage);
    return NULL;
}

Test(late_at_the_end, when_the_server_stops_a_decision_does_not_wait_for_copies, .init = start)
{
    pthread_t releaser;
    settle_and_wait();
    cr_assert_eq(pthread_create(&releaser, NULL, release_when_given_up, NULL), 0);
    end(); /* waits for the decision, which the region lets go of when it is told */
    pthread_join(releaser, NULL);
    (void)outside_finish(&outside);
    outside_close(&outside);
}

Test(late, a_decision_that_cannot_be_meant_is_refused_before_the_region_sees_it)
{
    Tally__V1__SettleRequest request;
    Tally__V1__LogPlace places[2];
    Tally__V1__LogPlace *list_of[2];
    Tally__V1__Compensation compensation;
    tally__v1__compensation__init(&compensation);
    stage_append(&stage, 1, "s", 2, 10);
    settle_many(2, &request, places, list_of);
    request.settlement = text("approve");
    expect_refused("Settle", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "approve");
    request.settlement = text("accept");
    request.compensation = &compensation;
    expect_refused("Settle", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "compensat");
    request.settlement = text("compensate");
    expect_refused("Settle", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "one place");
    request.n_places = 1;
    expect_refused("Settle", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "id");
    request.compensation = NULL;
    request.n_places = 0;
    expect_refused("Settle", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "places");
    request.n_places = 1;
    request.settlement = text("accept");
    places[0].origin = text("bank/nowhere/1");
    expect_refused("Settle", &request.base, GRPC_STATUS_NOT_FOUND, "nowhere");
    cr_expect_eq(stage.submitted, 0);
}

Test(late, a_compensating_event_keeps_the_rules_of_every_event)
{
    Tally__V1__SettleRequest request;
    Tally__V1__LogPlace place;
    Tally__V1__LogPlace *list_of;
    Tally__V1__Compensation compensation;
    tally__v1__compensation__init(&compensation);
    Tally__V1__NewEvent event;
    tally__v1__new_event__init(&event);
    uint8_t id[16] = {9};
    stage_append(&stage, 1, "s", 1, 10);
    settle_many(1, &request, &place, &list_of);
    request.settlement = text("compensate");
    request.compensation = &compensation;
    compensation.event = &event;
    compensation.stream = text("s");
    event.id = (ProtobufCBinaryData){.data = id, .len = sizeof(id)};
    event.type = text("$Mine");
    expect_refused("Settle", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "kept for the system");
}

/* --- LateDigest, Report --- */

Test(late, the_digest_comes_with_the_position_it_stands_for)
{
    Tally__V1__LateDigestRequest request;
    tally__v1__late_digest_request__init(&request);
    stage_append(&stage, 0, "s", 2, 10);
    stage_append(&stage, 1, "s", 3, 10);
    Tally__V1__LateDigestResponse *digest =
        answered("LateDigest", &request.base, &tally__v1__late_digest_response__descriptor);
    cr_expect_eq(strlen(digest->digest), 64);
    cr_expect_str_eq(digest->position, "eu@2,us@3");
    cr_expect_eq(digest->item_count, 3);
    tally__v1__late_digest_response__free_unpacked(digest, NULL);
}

Test(late, a_report_needs_a_context)
{
    Tally__V1__ReportRequest request;
    tally__v1__report_request__init(&request);
    expect_refused("Report", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "context");
    request.context = text("bank");
    request.to_unix_ms = UINT64_MAX;
    expect_refused("Report", &request.base, GRPC_STATUS_INVALID_ARGUMENT, "milliseconds");
}
