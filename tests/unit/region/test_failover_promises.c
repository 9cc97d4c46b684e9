/* What a failover's evidence says about the promises of a context. Seen from us, which is to seize what eu had. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "unit/region/fixture.h"

static const struct region_check *check_named(const struct region_failover_report *report, const char *name)
{
    for (size_t i = 0; i < report->check_count; i++) {
        if (strcmp(report->checks[i].name, name) == 0)
            return &report->checks[i];
    }
    cr_assert_fail("there is no check %s", name);
    return NULL;
}

/* us knew eu with so many entries, and ap; then those that are named went down. */
static struct site *survivor(const struct promises *promises, uint64_t known_size, const char *down)
{
    struct site *site = site_new_promising("us", "eu ap", promises);
    const struct region_held held = {.origin = "demo/eu/1", .size = known_size};
    site_tick(site, 0);
    site_hello(site, "eu", &held, 1);
    site_hello(site, "ap", NULL, 0);
    site_peer_down(site, "eu");
    if (down[0] != '\0')
        site_peer_down(site, down);
    return site;
}

static void expect_check(const struct promises *promises, uint64_t known_size, const char *down, const char *name,
                         bool ok)
{
    struct site *site = survivor(promises, known_size, down);
    struct region_failover_report *report = mem_alloc_zero(1, sizeof(*report));
    struct err err = {0};
    cr_assert_eq(region_failover_report(site->region, BYTES_LITERAL("bank"), "eu", report, &err), 0, "%s", err.message);
    cr_assert_eq(check_named(report, name)->ok, ok, "%s", check_named(report, name)->detail);
    mem_free(report);
    site_free(site);
}

Test(failover_promises, a_context_without_copies_promises_none)
{
    expect_check(&(struct promises){.durability.peers = 0}, 0, "ap", "copies", true);
}

Test(failover_promises, with_one_of_two_peers_all_survivors_copies_are_needed)
{
    const struct promises promises = {.durability.peers = 1};
    expect_check(&promises, 0, "", "copies", true);
    expect_check(&promises, 0, "ap", "copies", false);
}

Test(failover_promises, with_both_peers_one_copy_is_enough)
{
    expect_check(&(struct promises){.durability.peers = 2}, 0, "ap", "copies", true);
}

Test(failover_promises, what_is_missing_is_held_against_the_recovery_point)
{
    const struct promises promises = {.recovery_point = {.events = 5, .then = BOUND_REFUSE}};
    expect_check(&promises, 5, "", "recovery-point", true);
    expect_check(&promises, 6, "", "recovery-point", false);
    expect_check(&(struct promises){.durability.peers = 0}, 6, "", "recovery-point", true);
}

Test(failover_promises, too_few_copies_need_force_and_a_reason)
{
    const struct promises promises = {.durability.peers = 1};
    struct site *site = survivor(&promises, 0, "ap");
    struct region_control seize = {
        .type = REGION_FAILOVER, .region = "eu", .context = BYTES_LITERAL("bank"), .actor = BYTES_LITERAL("op")};
    struct order order;
    order_init(&order);
    order.command.control = &seize;
    site_decide(site, &order);
    cr_assert_eq(order.command.refusal.code, ERR_UNAVAILABLE);
    order_init(&order);
    order.command.control = &seize;
    seize.forced = true;
    seize.reason = BYTES_LITERAL("ap burns as well");
    site_decide(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    site_free(site);
}
