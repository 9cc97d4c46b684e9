#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"

#define SUBSCRIBE "/tally.v1.Ledger/Subscribe"

struct listener {
    struct outside outside;
    struct buf bytes;
    uint64_t next[2]; /* by log: own, peer; entries must come in this order */
    size_t count;
    size_t caught_up;
    char position[256];
};

static void listen_open(struct listener *listener, struct stage *stage, char *position, char *context, char *stream)
{
    Tally__V1__SubscribeRequest request;
    tally__v1__subscribe_request__init(&request);
    request.position = position;
    request.context = context;
    request.stream = stream;
    *listener = (struct listener){0};
    buf_init(&listener->bytes, 4 * 1024 * 1024);
    outside_open(&listener->outside, stage->port, SUBSCRIBE, 30000);
    outside_write_message(&listener->outside, &request.base);
    outside_writes_done(&listener->outside);
}

static bool listen_next(struct listener *listener, bool every)
{
    if (!outside_read(&listener->outside, &listener->bytes))
        return false;
    Tally__V1__ReadResponse *response =
        tally__v1__read_response__unpack(NULL, listener->bytes.size_bytes, listener->bytes.data);
    cr_assert_not_null(response);
    size_t log = strcmp(response->origin, OWN_ORIGIN) == 0 ? 0 : 1;
    for (size_t i = 0; i < response->n_events; i++) {
        uint64_t index = response->events[i]->entry->index;
        if (every)
            cr_assert_eq(index, listener->next[log], "a gap or a duplicate at %llu", (unsigned long long)index);
        cr_assert_geq(index, listener->next[log]);
        listener->next[log] = index + 1;
    }
    listener->count += response->n_events;
    listener->caught_up += response->caught_up ? 1 : 0;
    snprintf(listener->position, sizeof(listener->position), "%s", response->position);
    tally__v1__read_response__free_unpacked(response, NULL);
    return true;
}

static void listen_until(struct listener *listener, size_t count, bool every)
{
    while (listener->count < count || listener->caught_up == 0)
        cr_assert(listen_next(listener, every));
    cr_assert_eq(listener->count, count);
    cr_assert_eq(listener->caught_up, 1);
}

static void listen_close(struct listener *listener)
{
    outside_cancel(&listener->outside);
    outside_finish(&listener->outside);
    outside_close(&listener->outside);
    buf_free(&listener->bytes);
}

static struct stage stage;
static struct listener listener;
static char none[] = "";

static void set_up(void)
{
    stage_init(&stage);
}

static void tear_down(void)
{
    stage_free(&stage);
}

TestSuite(subscribe, .init = set_up, .fini = tear_down);

Test(subscribe, catches_up_and_goes_on_live)
{
    stage_append(&stage, 0, "s", 500, 2000);
    listen_open(&listener, &stage, none, none, none);
    listen_until(&listener, 500, true);
    cr_expect_str_eq(listener.position, "eu@500");
    stage_append(&stage, 0, "s", 3, 10);
    listen_until(&listener, 503, true);
    cr_expect_str_eq(listener.position, "eu@503");
    listen_close(&listener);
}

Test(subscribe, an_empty_region_is_caught_up_at_once)
{
    listen_open(&listener, &stage, none, none, none);
    listen_until(&listener, 0, true);
    cr_expect_str_eq(listener.position, "");
    listen_close(&listener);
}

Test(subscribe, begins_inside_a_block)
{
    stage_append(&stage, 0, "s", 10, 10);
    listen_open(&listener, &stage, (char[]){"eu@4"}, none, none);
    listener.next[0] = 4;
    listen_until(&listener, 6, true);
    listen_close(&listener);
}

Test(subscribe, waits_for_a_position_that_is_not_reached)
{
    stage_append(&stage, 0, "s", 2, 10);
    listen_open(&listener, &stage, (char[]){"eu@4"}, none, none);
    listener.next[0] = 4;
    listen_until(&listener, 0, true);
    stage_append(&stage, 0, "s", 5, 10);
    listen_until(&listener, 3, true);
    listen_close(&listener);
}

Test(subscribe, a_log_that_appears_later_is_included_from_its_start)
{
    stage_append(&stage, 0, "s", 2, 10);
    listen_open(&listener, &stage, none, none, none);
    listen_until(&listener, 2, true);
    stage_add_log(&stage);
    stage_append(&stage, 1, "t", 3, 10);
    listen_until(&listener, 5, true);
    cr_expect_str_eq(listener.position, "eu@2,us@3");
    listen_close(&listener);
}

Test(subscribe, a_filter_lets_only_its_stream_pass_and_the_position_counts_the_rest)
{
    stage_append(&stage, 0, "noise", 5, 10);
    stage_append(&stage, 0, "wanted", 2, 10);
    stage_append(&stage, 0, "noise", 5, 10);
    listen_open(&listener, &stage, none, (char[]){"bank"}, (char[]){"wanted"});
    listen_until(&listener, 2, false);
    cr_expect_str_eq(listener.position, "eu@12");
    listen_close(&listener);
    listen_open(&listener, &stage, none, (char[]){"other"}, none);
    listen_until(&listener, 0, false);
    listen_close(&listener);
}

Test(subscribe, entries_that_come_while_it_catches_up_are_neither_lost_nor_repeated)
{
    listen_open(&listener, &stage, none, none, none);
    for (size_t i = 0; i < 200; i++)
        stage_append(&stage, 0, "s", 1 + i % 3, 1000);
    size_t total = log_durable_size(stage.logs[0]);
    listen_until(&listener, total, true);
    listen_close(&listener);
}

Test(subscribe, ends_when_the_server_stops)
{
    listen_open(&listener, &stage, none, none, none);
    listen_until(&listener, 0, true);
    atomic_store(&stage.stopping, true);
    stage_change(&stage);
    cr_expect_not(listen_next(&listener, true));
    cr_expect_eq(outside_finish(&listener.outside), GRPC_STATUS_UNAVAILABLE);
    outside_close(&listener.outside);
    buf_free(&listener.bytes);
}

static void expect_refused(char *position, char *context, char *stream)
{
    listen_open(&listener, &stage, position, context, stream);
    cr_expect_not(listen_next(&listener, true));
    cr_expect_eq(outside_finish(&listener.outside), GRPC_STATUS_INVALID_ARGUMENT, "%s", listener.outside.message);
    outside_close(&listener.outside);
    buf_free(&listener.bytes);
}

Test(subscribe, bad_requests_are_refused)
{
    expect_refused((char[]){"eu@"}, none, none);
    expect_refused((char[]){"eu@1,eu@2"}, none, none);
    expect_refused(none, none, (char[]){"s"});
    expect_refused(none, (char[]){"a\tb"}, none);
}
