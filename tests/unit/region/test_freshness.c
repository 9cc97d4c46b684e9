/* How old a read may be, seen from us. */
#include <criterion/criterion.h>

#include "unit/region/fixture.h"

enum { MS_US = 1000 };

static struct region_freshness freshness_of(const struct site *site, const char *partition)
{
    struct region_freshness freshness;
    struct err err = {0};
    int code = region_freshness(site->region, BYTES_LITERAL("bank"), bytes_of_string(partition), &freshness, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    return freshness;
}

static void hello_of_eu(struct site *site, uint64_t size)
{
    const struct region_held held = {.origin = "demo/eu/1", .size = size};
    site_hello(site, "eu", &held, 1);
}

Test(freshness, a_home_is_never_stale)
{
    struct site *site = site_new("us", "eu");
    cr_assert_eq(freshness_of(site, "west").staleness_us, 0);
    cr_assert(freshness_of(site, "west").at_home);
    site_free(site);
}

Test(freshness, a_home_that_was_not_heard_of_is_unknown)
{
    struct site *site = site_new("us", "eu");
    struct region_freshness freshness = freshness_of(site, "north");
    cr_assert_eq(freshness.staleness_us, REGION_STALENESS_UNKNOWN);
    cr_assert_not(freshness.at_home);
    cr_assert_str_eq(freshness.home, "eu");
    cr_assert_str_eq(freshness.home_address, "eu.example:7001");
    site_free(site);
}

Test(freshness, it_counts_from_when_the_hello_was_asked_for)
{
    struct site *site = site_new("us", "eu");
    site_tick(site, 0);
    site->now.mono_us += 30 * MS_US; /* until it is answered */
    hello_of_eu(site, 0);
    site_tick(site, 10 * MS_US);
    cr_assert_eq(freshness_of(site, "north").staleness_us, 40 * MS_US);
    site_free(site);
}

Test(freshness, what_the_home_has_must_be_indexed_here_first)
{
    struct site *eu = site_alone();
    struct site *us = site_new("us", "eu");
    site_append(eu, "s", 1);
    site_tick(us, 0);
    hello_of_eu(us, 0);
    site_tick(us, 2000 * MS_US); /* asks again */
    cr_assert_eq(site_count(us, REGION_HELLO), 1);
    hello_of_eu(us, 1);
    site_tick(us, 5 * MS_US);
    cr_assert_eq(freshness_of(us, "north").staleness_us, 2005 * MS_US);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    cr_assert_eq(freshness_of(us, "north").staleness_us, 2005 * MS_US, "durable is not indexed");
    site_indexed(us, site_log_number(us, "eu"));
    cr_assert_eq(freshness_of(us, "north").staleness_us, 5 * MS_US);
    site_free(eu);
    site_free(us);
}

Test(freshness, without_a_partition_the_worst_of_the_context_counts)
{
    struct site *site = site_new("us", "eu");
    cr_assert_str_eq(freshness_of(site, "").home, "eu");
    cr_assert_eq(freshness_of(site, "").staleness_us, REGION_STALENESS_UNKNOWN);
    site_free(site);
}

Test(freshness, a_context_that_does_not_exist_is_refused)
{
    struct site *site = site_new("us", "eu");
    struct region_freshness freshness;
    cr_assert_eq(region_freshness(site->region, BYTES_LITERAL("none"), BYTES_LITERAL("x"), &freshness, NULL),
                 ERR_NOT_FOUND);
    site_free(site);
}
