/* Recovery points: how far a home runs ahead of its copies. */
#include <criterion/criterion.h>
#include <string.h>

#include "unit/region/fixture.h"

enum { SECOND_US = 1000000 };

static struct promises bound(uint64_t events, uint64_t seconds, enum bound_action then)
{
    return (struct promises){.recovery_point = {.events = events, .seconds = seconds, .then = then}};
}

static void acknowledge(struct site *site, const char *peer, uint64_t size)
{
    site_step(site, (struct region_event){.type = REGION_ACKNOWLEDGED, .peer = site_peer(site, peer), .size = size});
}

static struct region_context_status status_of(const struct site *site)
{
    struct region_context_status status;
    region_context_status(site->region, 0, &status);
    return status;
}

static int try_events(struct site *site, uint64_t first_id, unsigned count, struct region_refusal *ret)
{
    struct order order;
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0);
    for (unsigned i = 0; i < count; i++)
        order_event(&order, first_id + i, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.answers, 1);
    if (ret != NULL)
        *ret = order.command.refusal;
    return order.command.refusal.code;
}

Test(bounds, what_is_ahead_is_counted_until_a_peer_has_it)
{
    const struct promises promises = bound(10, 0, BOUND_WARN);
    struct site *site = site_promising("us", &promises);
    cr_assert_eq(try_events(site, 1, 3, NULL), 0);
    cr_assert_eq(try_events(site, 4, 2, NULL), 0);
    cr_assert_eq(status_of(site).ahead_events, 5);
    acknowledge(site, "us", 3);
    cr_assert_eq(status_of(site).ahead_events, 2);
    site_tick(site, 7000);
    cr_assert_eq(status_of(site).ahead_ms, 7);
    acknowledge(site, "us", 5);
    cr_assert_eq(status_of(site).ahead_events, 0);
    cr_assert_eq(status_of(site).ahead_ms, 0);
    site_free(site);
}

Test(bounds, other_contexts_do_not_count)
{
    const struct promises promises = bound(1, 0, BOUND_REFUSE);
    struct site *site = site_promising("us", &promises);
    struct order order;
    order_one(&order, "t", 1, "1");
    order.writes[0].context = BYTES_LITERAL("till");
    site_submit(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(status_of(site).ahead_events, 0);
    cr_assert_eq(try_events(site, 2, 1, NULL), 0);
    site_free(site);
}

Test(bounds, refuse_keeps_the_home_within_its_bound)
{
    const struct promises promises = bound(3, 0, BOUND_REFUSE);
    struct site *site = site_promising("us", &promises);
    struct region_refusal refusal;
    cr_assert_eq(try_events(site, 1, 2, NULL), 0);
    cr_assert_eq(try_events(site, 3, 2, &refusal), ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(refusal.err.message, "recovery point"));
    cr_assert_eq(site->logs[0].durable_size, 2, "a refused batch leaves nothing");
    cr_assert_eq(try_events(site, 3, 1, NULL), 0, "what fits is accepted");
    cr_assert(status_of(site).past_bound);
    acknowledge(site, "us", 3);
    cr_assert_not(status_of(site).past_bound);
    cr_assert_eq(try_events(site, 4, 2, NULL), 0);
    site_free(site);
}

Test(bounds, throttle_asks_for_a_pause)
{
    const struct promises promises = bound(1, 0, BOUND_THROTTLE);
    struct site *site = site_promising("us", &promises);
    struct region_refusal refusal;
    cr_assert_eq(try_events(site, 1, 1, NULL), 0);
    cr_assert_eq(try_events(site, 2, 1, &refusal), ERR_BUSY);
    cr_assert_gt(refusal.retry_after_ms, 0);
    site_free(site);
}

Test(bounds, warn_accepts_and_raises_one_alarm)
{
    const struct promises promises = bound(1, 0, BOUND_WARN);
    struct site *site = site_promising("us", &promises);
    struct order order;
    cr_assert_eq(try_events(site, 1, 1, NULL), 0);
    order_one(&order, "s", 2, "1");
    site_submit(site, &order);
    cr_assert_eq(site_count(site, REGION_ALARM), 1);
    cr_assert_not_null(strstr(site_effect(site, REGION_ALARM)->text, "2 events"));
    site_written_all(site, 0);
    cr_assert_eq(site_count(site, REGION_ALARM), 0);
    cr_assert(status_of(site).past_bound);
    site_free(site);
}

Test(bounds, seconds_count_from_the_oldest_event_that_is_ahead)
{
    const struct promises promises = bound(0, 2, BOUND_REFUSE);
    struct site *site = site_promising("us", &promises);
    cr_assert_eq(try_events(site, 1, 1, NULL), 0);
    site_tick(site, SECOND_US);
    cr_assert_eq(try_events(site, 2, 1, NULL), 0);
    site_tick(site, SECOND_US);
    cr_assert_eq(try_events(site, 3, 1, NULL), ERR_UNAVAILABLE);
    acknowledge(site, "us", 1);
    cr_assert_eq(try_events(site, 3, 1, NULL), 0);
    site_free(site);
}

Test(bounds, a_repetition_takes_the_home_no_further)
{
    const struct promises promises = bound(1, 0, BOUND_REFUSE);
    struct site *site = site_promising("us", &promises);
    cr_assert_eq(try_events(site, 1, 1, NULL), 0);
    cr_assert_eq(try_events(site, 1, 1, NULL), 0);
    cr_assert_eq(status_of(site).ahead_events, 1);
    site_free(site);
}

Test(bounds, a_batch_that_never_fits_says_so)
{
    const struct promises promises = bound(2, 0, BOUND_THROTTLE);
    struct site *site = site_promising("us", &promises);
    cr_assert_eq(try_events(site, 1, 3, NULL), ERR_TOO_LARGE);
    site_free(site);
}

Test(bounds, the_copies_that_durability_asks_for_are_what_counts)
{
    struct promises promises = bound(10, 0, BOUND_WARN);
    promises.durability.peers = 2;
    struct site *site = site_promising("us ap", &promises);
    struct order order;
    order_one(&order, "s", 1, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    acknowledge(site, "us", 1);
    cr_assert_eq(status_of(site).ahead_events, 1);
    acknowledge(site, "ap", 1);
    cr_assert_eq(status_of(site).ahead_events, 0);
    site_free(site);
}

Test(bounds, many_batches_are_never_counted_too_low)
{
    const struct promises promises = bound(1000, 0, BOUND_WARN);
    struct site *site = site_promising("us", &promises);
    for (uint64_t i = 0; i < 200; i++)
        cr_assert_eq(try_events(site, 1 + i, 1, NULL), 0);
    cr_assert_eq(status_of(site).ahead_events, 200);
    acknowledge(site, "us", 199);
    cr_assert_geq(status_of(site).ahead_events, 1);
    acknowledge(site, "us", 200);
    cr_assert_eq(status_of(site).ahead_events, 0);
    site_free(site);
}

Test(bounds, after_a_start_the_tail_that_no_peer_holds_is_ahead)
{
    const struct promises promises = bound(3, 0, BOUND_REFUSE);
    struct site *site = site_promising("us", &promises);
    const struct region_held held = {.origin = "demo/eu/1", .size = 1};
    cr_assert_eq(try_events(site, 1, 3, NULL), 0);
    site = site_restart(site);
    site_tick(site, 0);
    site_hello(site, "us", &held, 1);
    cr_assert(region_accepting(site->region));
    cr_assert_eq(status_of(site).ahead_events, 2);
    cr_assert_eq(try_events(site, 4, 2, NULL), ERR_UNAVAILABLE);
    acknowledge(site, "us", 3);
    cr_assert_eq(try_events(site, 4, 2, NULL), 0);
    site_free(site);
}
