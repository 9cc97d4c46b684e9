#include <criterion/criterion.h>
#include <string.h>

#include "domain/context.h"

static void expect_bad(const struct promises *promises, const char *word)
{
    struct err err = {0};
    cr_assert_eq(promises_check(promises, "payments", &err), ERR_INVALID);
    cr_assert(strstr(err.message, "payments") != NULL && strstr(err.message, word) != NULL, "%s", err.message);
}

static struct hash digest_of(const struct promises *promises)
{
    struct sha256 *sha = sha256_new();
    const struct context context = {.name = "payments", .default_home = "eu", .promises = *promises};
    const struct context_table table = {.count = 1, .contexts = &context};
    struct hash digest = context_table_digest(&table, sha);
    sha256_free(sha);
    return digest;
}

Test(promises, every_name_is_read_back)
{
    enum when_away away = AWAY_REFUSE;
    enum bound_action action = BOUND_WARN;
    for (int i = 0; i <= AWAY_DEGRADE; i++) {
        cr_assert_eq(when_away_parse(when_away_name((enum when_away)i), &away, NULL), 0);
        cr_assert_eq(away, (enum when_away)i);
    }
    for (int i = 0; i <= BOUND_REFUSE; i++) {
        cr_assert_eq(bound_action_parse(bound_action_name((enum bound_action)i), &action, NULL), 0);
        cr_assert_eq(action, (enum bound_action)i);
    }
}

Test(promises, names_that_are_none_are_refused)
{
    enum when_away away = AWAY_DEGRADE;
    enum bound_action action = BOUND_REFUSE;
    struct err err = {0};
    cr_assert_eq(when_away_parse("Refuse", &away, &err), ERR_INVALID);
    cr_assert(strstr(err.message, "degrade") != NULL);
    cr_assert_eq(bound_action_parse("", &action, &err), ERR_INVALID);
    cr_assert(strstr(err.message, "throttle") != NULL);
    cr_assert(away == AWAY_DEGRADE && action == BOUND_REFUSE, "outputs are untouched");
}

Test(promises, the_largest_numbers_are_accepted)
{
    const struct promises promises = {
        .durability = {.peers = PROMISES_PEERS_MAX, .when_away = AWAY_DEGRADE},
        .recovery_point = {.events = PROMISES_EVENTS_MAX, .seconds = PROMISES_SECONDS_MAX, .then = BOUND_REFUSE}};
    cr_assert_eq(promises_check(&promises, "payments", NULL), 0);
}

Test(promises, numbers_past_their_limits_are_refused)
{
    expect_bad(&(struct promises){.durability.peers = PROMISES_PEERS_MAX + 1}, "limit is 16");
    expect_bad(&(struct promises){.recovery_point.events = PROMISES_EVENTS_MAX + 1ull}, "recovery_point");
    expect_bad(&(struct promises){.recovery_point.seconds = PROMISES_SECONDS_MAX + 1ull}, "recovery_point");
}

Test(promises, an_action_without_its_bound_is_refused)
{
    expect_bad(&(struct promises){.durability.when_away = AWAY_DEGRADE}, "set peers");
    expect_bad(&(struct promises){.recovery_point.then = BOUND_THROTTLE}, "set events or seconds");
}

Test(promises, every_field_changes_the_digest_of_contexts)
{
    const struct promises policies[] = {
        {.durability.peers = 0},
        {.durability.peers = 1},
        {.durability = {.peers = 1, .when_away = AWAY_DEGRADE}},
        {.recovery_point.events = 1},
        {.recovery_point.seconds = 1},
        {.recovery_point = {.seconds = 1, .then = BOUND_REFUSE}},
    };
    enum { COUNT = sizeof(policies) / sizeof(policies[0]) };
    for (size_t i = 0; i < COUNT; i++) {
        struct hash a = digest_of(&policies[i]);
        for (size_t j = 0; j < i; j++) {
            struct hash b = digest_of(&policies[j]);
            cr_assert_not(hash_equal(&a, &b), "policies %zu and %zu", i, j);
        }
    }
}
