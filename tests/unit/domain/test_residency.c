/* Which region holds what an event says. */
#include "domain/residency.h"

#include <criterion/criterion.h>

#include "domain/control.h"

static const char *const europe[] = {"eu", "uk"};
static const char *const overseas[] = {"us"};
static const struct context contexts[] = {
    {.name = "bank", .default_home = "eu", .rules = {.payload_region_count = 2, .payload_regions = europe}},
    {.name = "shop", .default_home = "us"},
};
static const struct context_table table = {.count = 2, .contexts = contexts};

static enum residency at(const char *region, const char *context, const char *type, uint32_t flags)
{
    struct entry entry = {.context = bytes_of_string(context), .type = bytes_of_string(type), .flags = flags};
    return residency_of(&table, bytes_of_string(region), &entry);
}

Test(residency, payloads_are_held_where_the_context_says)
{
    cr_expect_eq(at("eu", "bank", "Deposited", 0), RESIDENCY_HELD);
    cr_expect_eq(at("uk", "bank", "Deposited", 0), RESIDENCY_HELD);
    cr_expect_eq(at("us", "bank", "Deposited", 0), RESIDENCY_WITHHELD);
    cr_expect_eq(at("us", "shop", "Ordered", 0), RESIDENCY_HELD, "a context that names no regions is held everywhere");
}

Test(residency, what_is_not_a_context_is_not_decided)
{
    cr_expect_eq(at("eu", "loans", "Deposited", 0), RESIDENCY_UNKNOWN);
}

Test(residency, every_region_holds_the_systems_own_events)
{
    cr_expect_eq(at("us", "bank", "$AuthoritySeized", ENTRY_FLAG_CONTROL), RESIDENCY_HELD);
    cr_expect_eq(at("us", "loans", "$LateSettled", ENTRY_FLAG_CONTROL), RESIDENCY_HELD);
    cr_expect_eq(at("us", "bank", "$AuthoritySeized", 0), RESIDENCY_WITHHELD, "a client's event is no control event");
    cr_expect_eq(at("us", "bank", "$FromTheFuture", ENTRY_FLAG_CONTROL), RESIDENCY_WITHHELD);
}

Test(residency, a_region_may_have_to_do_with_what_it_may_hold)
{
    cr_expect(residency_allows(&table, BYTES_LITERAL("uk"), BYTES_LITERAL("bank")));
    cr_expect_not(residency_allows(&table, BYTES_LITERAL("us"), BYTES_LITERAL("bank")));
    cr_expect(residency_allows(&table, BYTES_LITERAL("us"), BYTES_LITERAL("shop")));
    cr_expect(residency_allows(&table, BYTES_LITERAL("us"), BYTES_LITERAL("loans")));
}

Test(residency, a_source_lacks_what_it_may_not_hold_and_the_puller_does)
{
    static const struct context both[] = {
        {.name = "bank", .default_home = "eu", .rules = {.payload_region_count = 2, .payload_regions = europe}},
        {.name = "shop", .default_home = "us", .rules = {.payload_region_count = 1, .payload_regions = overseas}},
    };
    static const struct context_table two = {.count = 2, .contexts = both};
    cr_expect_str_eq(residency_lacks(&two, BYTES_LITERAL("us"), BYTES_LITERAL("uk")), "bank");
    cr_expect_str_eq(residency_lacks(&two, BYTES_LITERAL("eu"), BYTES_LITERAL("us")), "shop");
    cr_expect_null(residency_lacks(&two, BYTES_LITERAL("eu"), BYTES_LITERAL("uk")));
    cr_expect_null(residency_lacks(&table, BYTES_LITERAL("eu"), BYTES_LITERAL("us")), "the puller holds less");
    cr_expect_null(residency_lacks(&two, BYTES_LITERAL("us"), BYTES_LITERAL("ap")), "the puller holds neither");
}
