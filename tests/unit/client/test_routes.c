#include <criterion/criterion.h>
#include <stdio.h>

#include "tally/routes.h"

static struct option_values to = {.count = 1, .items = {"us=10.0.0.2:7401"}};

static struct routes *routes_made(void)
{
    struct routes *routes = NULL;
    cr_assert_eq(routes_new(&to, &routes, NULL), 0);
    return routes;
}

Test(routes, nothing_is_known_before_it_is_learned)
{
    struct routes *routes = routes_made();
    cr_assert_null(routes_find(routes, "bank", "eu"));
    cr_assert_eq(routes_learn(routes, "bank", "eu", "us", "10.0.0.9:7401"), 0);
    cr_assert_not_null(routes_find(routes, "bank", "eu"));
    cr_assert_null(routes_find(routes, "bank", "us"));
    cr_assert_null(routes_find(routes, "shop", "eu"));
    routes_free(routes);
}

Test(routes, partitions_of_one_region_share_a_connection_and_a_later_home_replaces_it)
{
    struct routes *routes = routes_made();
    cr_assert_eq(routes_learn(routes, "bank", "a", "us", "10.0.0.9:7401"), 0);
    cr_assert_eq(routes_learn(routes, "bank", "b", "us", "10.0.0.9:7401"), 0);
    cr_assert_eq(routes_find(routes, "bank", "a"), routes_find(routes, "bank", "b"));
    cr_assert_eq(routes_learn(routes, "bank", "a", "ap", "10.0.0.3:7401"), 0);
    cr_assert_neq(routes_find(routes, "bank", "a"), routes_find(routes, "bank", "b"));
    routes_free(routes);
}

Test(routes, an_address_that_is_none_is_not_learned_unless_the_operator_gave_another)
{
    struct routes *routes = routes_made();
    cr_assert_eq(routes_learn(routes, "bank", "a", "ap", "nowhere"), ERR_INVALID);
    cr_assert_null(routes_find(routes, "bank", "a"));
    cr_assert_eq(routes_learn(routes, "bank", "a", "us", "nowhere"), 0);
    cr_assert_str_eq(routes_given_address(&to, "us"), "10.0.0.2:7401");
    cr_assert_null(routes_given_address(&to, "u"));
    routes_free(routes);
}

Test(routes, learned_homes_are_bounded)
{
    struct routes *routes = routes_made();
    char partition[16];
    for (int i = 0; i < ROUTES_MAX; i++) {
        (void)snprintf(partition, sizeof(partition), "p%d", i);
        cr_assert_eq(routes_learn(routes, "bank", partition, "us", ""), 0);
    }
    cr_assert_eq(routes_learn(routes, "bank", "one more", "us", ""), ERR_TOO_LARGE);
    cr_assert_eq(routes_learn(routes, "bank", "p7", "us", ""), 0, "what is known can change");
    routes_free(routes);
}
