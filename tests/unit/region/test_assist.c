/* Homes that are lost: the advice, and what automatic failover is told of them. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "unit/region/fixture.h"

static struct region_loss *losses;

static void set_up(void)
{
    losses = calloc(CONTEXT_PLACES_MAX, sizeof(*losses));
    cr_assert_not_null(losses);
}

static void tear_down(void)
{
    free(losses);
}

TestSuite(assist, .init = set_up, .fini = tear_down);

/* eu, that accepts; us is the home of bank's partition "west". */
static struct site *site_with(enum failover_mode mode)
{
    struct site *site = site_new_ruled("eu", "us ap", &(struct context_rules){.failover = mode});
    site_tick(site, 0);
    site_hello(site, "us", NULL, 0);
    site_hello(site, "ap", NULL, 0);
    cr_assert(region_accepting(site->region));
    return site;
}

static struct region_context_status status_of(const struct site *site)
{
    struct region_context_status status;
    region_context_status(site->region, 0, &status);
    return status;
}

static void tick(struct site *site)
{
    site_tick(site, 1000 * 1000);
}

Test(assist, a_lost_home_is_told_with_the_command_and_taken_back_when_it_is_there_again)
{
    struct site *eu = site_with(FAILOVER_ASSISTED);
    tick(eu);
    cr_assert_str_empty(status_of(eu).advice);
    site_peer_down(eu, "us");
    tick(eu);
    cr_assert_not_null(strstr(status_of(eu).advice, "ready: tally failover bank --from us"), "%s",
                       status_of(eu).advice);
    cr_assert(status_of(eu).failover_ready);
    cr_assert_eq(region_losses(eu->region, losses), 0, "nothing acts for assisted contexts");
    site_hello(eu, "us", NULL, 0);
    tick(eu);
    cr_assert_str_empty(status_of(eu).advice);
    site_free(eu);
}

Test(assist, nothing_is_said_of_a_manual_context)
{
    struct site *eu = site_with(FAILOVER_MANUAL);
    site_peer_down(eu, "us");
    tick(eu);
    cr_assert_str_empty(status_of(eu).advice);
    cr_assert_eq(region_losses(eu->region, losses), 0);
    site_free(eu);
}

Test(assist, the_loss_of_an_automatic_context_names_home_and_context)
{
    struct site *eu = site_with(FAILOVER_AUTOMATIC);
    cr_assert_eq(region_losses(eu->region, losses), 0);
    site_peer_down(eu, "us");
    tick(eu);
    cr_assert_eq(region_losses(eu->region, losses), 1);
    cr_assert_str_eq(losses[0].context, "bank");
    cr_assert_str_eq(losses[0].region, "us");
    cr_assert_null(losses[0].check);
    site_free(eu);
}

Test(assist, the_loss_says_which_check_fails)
{
    struct site *eu = site_with(FAILOVER_AUTOMATIC);
    site_peer_down(eu, "us");
    site_peer_down(eu, "ap");
    tick(eu);
    cr_assert_eq(region_losses(eu->region, losses), 1);
    cr_assert_str_eq(losses[0].check, "survivors");
    cr_assert_not_null(strstr(losses[0].detail, "ap"), "%s", losses[0].detail);
    site_free(eu);
}

static struct order failover(struct site *eu, struct region_control *control, uint64_t until_us)
{
    static struct order order;
    *control = (struct region_control){.type = REGION_FAILOVER,
                                       .region = "us",
                                       .context = BYTES_LITERAL("bank"),
                                       .actor = BYTES_LITERAL("automatic"),
                                       .reason = BYTES_LITERAL("claim of revision 7"),
                                       .until_us = until_us};
    order_init(&order);
    order.command.control = control;
    site_decide(eu, &order);
    if (order.answers == 0)
        site_hello(eu, "ap", NULL, 0); /* it is asked what it holds */
    if (order.answers == 0)
        site_written_all(eu, 0);
    cr_assert_eq(order.answers, 1);
    return order;
}

Test(assist, what_was_seized_is_not_lost_any_more)
{
    struct region_control control;
    struct site *eu = site_with(FAILOVER_AUTOMATIC);
    site_peer_down(eu, "us");
    tick(eu);
    cr_assert_eq(region_losses(eu->region, losses), 1);
    struct order order = failover(eu, &control, eu->now.mono_us + 1000 * 1000);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert_eq(control.changed, 1);
    cr_assert_eq(region_losses(eu->region, losses), 0);
    site_free(eu);
}

Test(assist, a_failover_that_is_decided_too_late_is_refused)
{
    struct region_control control;
    struct site *eu = site_with(FAILOVER_AUTOMATIC);
    site_peer_down(eu, "us");
    tick(eu);
    struct order order = failover(eu, &control, eu->now.mono_us - 1);
    cr_assert_eq(order.command.refusal.code, ERR_TIMEOUT);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "too old"), "%s", order.command.refusal.err.message);
    cr_assert_eq(control.changed, 0);
    site_free(eu);
}
