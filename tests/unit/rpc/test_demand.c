/* What a read insists on, as the service answers it. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "support.h"

#define READ_STREAM "/tally.v1.Ledger/ReadStream"

static struct stage stage;
static char context[] = "bank";
static char stream[] = "s";

static void set_up(void)
{
    stage_init(&stage);
    stage_append(&stage, 0, "s", 3, 10);
}

static void tear_down(void)
{
    stage_free(&stage);
}

TestSuite(demand, .init = set_up, .fini = tear_down);

/* Reads with the demand; returns the status, the first message in *ret_first and how many came. */
static grpc_status_code read_with(Tally__V1__ReadDemand *demand, struct outside *outside,
                                  Tally__V1__ReadResponse **ret_first, size_t *ret_count)
{
    Tally__V1__ReadStreamRequest request;
    struct buf message;
    tally__v1__read_stream_request__init(&request);
    request.context = context;
    request.stream = stream;
    request.demand = demand;
    *ret_first = NULL;
    *ret_count = 0;
    buf_init(&message, 1024 * 1024);
    outside_open(outside, stage.port, READ_STREAM, 20000);
    outside_write_message(outside, &request.base);
    outside_writes_done(outside);
    while (outside_read(outside, &message)) {
        if ((*ret_count)++ == 0)
            *ret_first = tally__v1__read_response__unpack(NULL, message.size_bytes, message.data);
        buf_clear(&message);
    }
    buf_free(&message);
    return outside_finish(outside);
}

static void expect_read(Tally__V1__ReadDemand *demand, grpc_status_code status, const char *part)
{
    struct outside outside;
    Tally__V1__ReadResponse *first = NULL;
    size_t count = 0;
    cr_expect_eq(read_with(demand, &outside, &first, &count), status, "%s", outside.message);
    cr_expect_not_null(strstr(outside.message, part), "%s", outside.message);
    if (first != NULL)
        tally__v1__read_response__free_unpacked(first, NULL);
    outside_close(&outside);
}

static Tally__V1__ReadDemand demand_of(char *at_least)
{
    Tally__V1__ReadDemand demand;
    tally__v1__read_demand__init(&demand);
    demand.at_least = at_least;
    demand.timeout_ms = 50;
    return demand;
}

Test(demand, the_first_message_says_as_of_when_and_has_no_events)
{
    char none[] = "";
    Tally__V1__ReadDemand demand = demand_of(none);
    struct outside outside;
    Tally__V1__ReadResponse *first = NULL;
    size_t count = 0;
    stage.staleness_us = 1234567;
    cr_assert_eq(read_with(&demand, &outside, &first, &count), GRPC_STATUS_OK, "%s", outside.message);
    cr_assert_eq(count, 2);
    cr_expect_eq(first->n_events, 0);
    cr_expect_str_eq(first->as_of, "eu@3");
    cr_expect_eq(first->staleness_ms, 1234);
    cr_expect_not(first->staleness_unknown);
    cr_expect_str_eq(first->home, "us");
    tally__v1__read_response__free_unpacked(first, NULL);
    outside_close(&outside);
}

Test(demand, a_position_that_is_here_is_met_and_one_that_is_not_times_out)
{
    char here[] = "eu@3";
    char ahead[] = "eu@4";
    char nonsense[] = "eu@@";
    Tally__V1__ReadDemand demand = demand_of(here);
    expect_read(&demand, GRPC_STATUS_OK, "");
    demand = demand_of(ahead);
    expect_read(&demand, GRPC_STATUS_DEADLINE_EXCEEDED, "does not hold all");
    demand = demand_of(nonsense);
    expect_read(&demand, GRPC_STATUS_INVALID_ARGUMENT, "at_least");
}

Test(demand, a_tail_that_is_not_here_and_can_only_be_late_is_refused_at_once)
{
    char tail[] = "us@8";
    Tally__V1__ReadDemand demand = demand_of(tail);
    demand.timeout_ms = 15000;
    stage.late_from = 7;
    expect_read(&demand, GRPC_STATUS_FAILED_PRECONDITION, "entry 7 is late");
    stage.late_from = 8;
    demand.timeout_ms = 50;
    expect_read(&demand, GRPC_STATUS_DEADLINE_EXCEEDED, "");
}

Test(demand, an_answer_that_may_be_too_old_is_refused)
{
    char none[] = "";
    Tally__V1__ReadDemand demand = demand_of(none);
    stage.staleness_us = 500000;
    demand.max_staleness_ms = 500;
    expect_read(&demand, GRPC_STATUS_OK, "");
    demand.max_staleness_ms = 499;
    expect_read(&demand, GRPC_STATUS_UNAVAILABLE, "may be 500 ms old");
    stage.staleness_us = REGION_STALENESS_UNKNOWN;
    expect_read(&demand, GRPC_STATUS_UNAVAILABLE, "has not heard");
}

Test(demand, home_only_is_met_at_the_home_alone)
{
    char none[] = "";
    Tally__V1__ReadDemand demand = demand_of(none);
    demand.home_only = true;
    expect_read(&demand, GRPC_STATUS_OK, "");
    stage.staleness_us = 1;
    expect_read(&demand, GRPC_STATUS_FAILED_PRECONDITION, "the home is region us");
}
