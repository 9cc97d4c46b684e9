#include <criterion/criterion.h>

#include "domain/redefine.h"

static const char *const cluster[] = {"asia", "eu", "us"};
static const char *const two[] = {"eu", "us"};
static const struct context_home homes[] = {{"US", "us"}, {"JP", "asia"}};
static const struct context_home turned[] = {{"JP", "asia"}, {"US", "us"}};
static const struct context_type commutative[] = {{.type = "Counted", .commutative = true}};
static struct redefine_facts facts;
static struct context before, after;

static void set_up(void)
{
    facts = (struct redefine_facts){.region_count = 3, .regions = cluster};
    before = (struct context){.name = "bank", .default_home = "eu"};
    after = before;
}

TestSuite(redefine, .init = set_up);

static void expect_refused(const char *reason)
{
    struct err err = {0};
    cr_assert_eq(redefine_check(&before, &after, &facts, &err), ERR_UNSUPPORTED, "%s", reason);
    cr_assert_not_null(strstr(err.message, reason), "'%s' lacks '%s'", err.message, reason);
}

static void expect_allowed(void)
{
    struct err err = {0};
    cr_assert_eq(redefine_check(&before, &after, &facts, &err), 0, "%s", err.message);
}

Test(redefine, the_same_again_is_allowed)
{
    before.homes = homes;
    before.home_count = 2;
    after = before;
    after.homes = turned;
    expect_allowed();
}

Test(redefine, homes_stay)
{
    after.default_home = "us";
    expect_refused("tally handover bank");
    after = before;
    after.homes = homes;
    after.home_count = 2;
    expect_refused("tally handover bank");
    before = after;
    after.home_count = 1;
    expect_refused("homes of epoch 1");
}

Test(redefine, a_region_stays_among_those_that_hold_payloads)
{
    after.rules.payload_regions = two;
    after.rules.payload_region_count = 2;
    expect_refused("region asia may hold payloads");
    before.rules = after.rules;
    after.rules.payload_region_count = 1;
    expect_refused("region us may hold payloads");
}

Test(redefine, no_region_joins_those_that_hold_payloads)
{
    before.rules.payload_regions = two;
    before.rules.payload_region_count = 2;
    after.rules.payload_regions = cluster;
    after.rules.payload_region_count = 3;
    expect_refused("region asia is none of payload_regions");
    after.rules.payload_region_count = 0;
    expect_refused("region asia is none of payload_regions");
    cr_expect_eq(redefine_check_payload_regions(&before, &after, &facts, NULL), 0, "in a log it is read as it says");
    after.rules = before.rules;
    expect_allowed();
}

Test(redefine, a_list_of_all_regions_and_none_say_the_same)
{
    after.rules.payload_regions = cluster;
    after.rules.payload_region_count = 3;
    expect_allowed();
}

Test(redefine, up_the_ladder_is_allowed_and_back_while_all_partitions_move_together)
{
    before.rules.topology = TOPOLOGY_ACTIVE_PASSIVE;
    after.rules.topology = TOPOLOGY_HOME_AFFINITY;
    expect_allowed();
    after.rules.topology = TOPOLOGY_MULTI_HOME;
    expect_allowed();
    before.rules.topology = TOPOLOGY_HOME_AFFINITY;
    expect_allowed();
    after.rules.topology = TOPOLOGY_ACTIVE_PASSIVE;
    expect_allowed();
}

Test(redefine, partitions_that_go_their_own_way_cannot_be_active_passive)
{
    after.rules.topology = TOPOLOGY_ACTIVE_PASSIVE;
    facts.partitions_apart = true;
    expect_refused("tally homes bank");
    facts.partitions_apart = false;
    before.homes = after.homes = homes;
    before.home_count = after.home_count = 2;
    expect_refused("go their own way");
    before.rules.topology = TOPOLOGY_ACTIVE_PASSIVE;
    expect_allowed();
}

Test(redefine, multi_home_stays)
{
    before.rules.topology = TOPOLOGY_MULTI_HOME;
    expect_refused("multi-home");
    after.rules.topology = TOPOLOGY_ACTIVE_PASSIVE;
    expect_refused("multi-home");
}

Test(redefine, a_type_that_commutes_stays_so)
{
    before.rules.topology = after.rules.topology = TOPOLOGY_MULTI_HOME;
    before.types = commutative;
    before.type_count = 1;
    expect_refused("type Counted");
    after = before;
    before.type_count = 0;
    expect_allowed();
}

Test(redefine, settlement_and_override_of_types_are_free)
{
    static const struct context_type rules[] = {{.type = "Paid", .late = LATE_ACCEPT, .override = true}};
    before.types = rules;
    before.type_count = 1;
    expect_allowed();
    after = before;
    before.type_count = 0;
    expect_allowed();
}

Test(redefine, a_lease_stays_while_it_fences)
{
    before.rules.isolation = after.rules.isolation = ISOLATION_FENCE;
    before.rules.lease_ms = 5000;
    after.rules.lease_ms = 4999;
    expect_refused("isolation accept first");
    after.rules.lease_ms = 5001;
    expect_refused("5000 ms");
    after.rules = (struct context_rules){.isolation = ISOLATION_ACCEPT};
    expect_allowed();
    before.rules = after.rules;
    after.rules = (struct context_rules){.isolation = ISOLATION_FENCE, .lease_ms = 700};
    expect_allowed();
}

Test(redefine, durability_recovery_point_and_failover_are_free)
{
    after.promises = (struct promises){.durability = {.peers = 2}, .recovery_point = {.events = 5}};
    after.rules.failover = FAILOVER_ASSISTED;
    expect_allowed();
    const struct context other = before;
    before = after;
    after = other;
    expect_allowed();
}
