/* Rules of contexts about homes. */
#include <criterion/criterion.h>

#include "domain/context.h"

static const char *const europe[] = {"eu", "uk"};
static const char *const europe_turned[] = {"uk", "eu"};

static struct hash mixed(const struct context_rules *rules)
{
    struct sha256 *sha = sha256_new();
    struct hash ret = {0};
    cr_assert_not_null(sha);
    rules_mix(rules, "bank", sha, &ret);
    sha256_free(sha);
    return ret;
}

static bool equal(const struct context_rules *a, const struct context_rules *b)
{
    struct hash x = mixed(a), y = mixed(b);
    return memcmp(x.bytes, y.bytes, HASH_SIZE) == 0;
}

static void refused(const struct context_rules *rules, int code, const char *word)
{
    struct err err = {0};
    cr_assert_eq(rules_check(rules, "bank", &err), code, "%s", word);
    cr_expect_not_null(strstr(err.message, word), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "bank"), "%s", err.message);
}

Test(rules, names_and_their_inverses)
{
    enum topology topology;
    enum isolation isolation;
    enum failover_mode mode;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(topology_parse(topology_name((enum topology)i), &topology, NULL), 0);
        cr_expect_eq((int)topology, i);
        cr_assert_eq(failover_mode_parse(failover_mode_name((enum failover_mode)i), &mode, NULL), 0);
        cr_expect_eq((int)mode, i);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(isolation_parse(isolation_name((enum isolation)i), &isolation, NULL), 0);
        cr_expect_eq((int)isolation, i);
    }
    struct err err = {0};
    cr_expect_eq(topology_parse("star", &topology, &err), ERR_INVALID);
    cr_expect_not_null(strstr(err.message, "star"));
    cr_expect_eq(isolation_parse("", &isolation, NULL), ERR_INVALID);
    cr_expect_eq(failover_mode_parse("auto", &mode, NULL), ERR_INVALID);
}

Test(rules, a_lease_belongs_to_a_fence)
{
    refused(&(struct context_rules){.lease_ms = 1000}, ERR_INVALID, "fence");
    refused(&(struct context_rules){.isolation = ISOLATION_FENCE}, ERR_INVALID, "lease_ms");
    refused(&(struct context_rules){.isolation = ISOLATION_FENCE, .lease_ms = RULES_LEASE_MIN_MS - 1}, ERR_INVALID,
            "lease_ms");
    refused(&(struct context_rules){.isolation = ISOLATION_FENCE, .lease_ms = RULES_LEASE_MAX_MS + 1}, ERR_INVALID,
            "lease_ms");
    const struct context_rules good = {.isolation = ISOLATION_FENCE, .lease_ms = RULES_LEASE_MIN_MS};
    cr_expect_eq(rules_check(&good, "bank", NULL), 0);
}

Test(rules, payload_regions_are_named_once)
{
    const char *const twice[] = {"eu", "eu"};
    const char *const nameless[] = {""};
    refused(&(struct context_rules){.payload_region_count = 2, .payload_regions = twice}, ERR_INVALID, "twice");
    refused(&(struct context_rules){.payload_region_count = RULES_PAYLOAD_REGIONS_MAX + 1, .payload_regions = twice},
            ERR_TOO_LARGE, "payload_regions");
    struct context_rules empty = {.payload_region_count = 1, .payload_regions = nameless};
    cr_expect_eq(rules_check(&empty, "bank", NULL), ERR_INVALID);
}

Test(rules, no_payload_regions_means_all)
{
    const struct context_rules some = {.payload_region_count = 2, .payload_regions = europe};
    cr_expect(rules_region_holds_payloads(&some, BYTES_LITERAL("uk")));
    cr_expect_not(rules_region_holds_payloads(&some, BYTES_LITERAL("us")));
    cr_expect(rules_region_holds_payloads(&(struct context_rules){0}, BYTES_LITERAL("us")));
}

Test(rules, the_digest_tells_them_apart_but_not_the_order_of_regions)
{
    const struct context_rules none = {0};
    const struct context_rules fence = {.isolation = ISOLATION_FENCE, .lease_ms = 1000};
    const struct context_rules longer = {.isolation = ISOLATION_FENCE, .lease_ms = 1001};
    const struct context_rules passive = {.topology = TOPOLOGY_ACTIVE_PASSIVE};
    const struct context_rules automatic = {.failover = FAILOVER_AUTOMATIC};
    const struct context_rules regions = {.payload_region_count = 2, .payload_regions = europe};
    const struct context_rules turned = {.payload_region_count = 2, .payload_regions = europe_turned};
    const struct context_rules fewer = {.payload_region_count = 1, .payload_regions = europe};
    cr_expect(equal(&regions, &turned));
    const struct context_rules *all[] = {&none, &fence, &longer, &passive, &automatic, &regions, &fewer};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        for (size_t j = 0; j < i; j++)
            cr_expect_not(equal(all[i], all[j]), "%zu and %zu", i, j);
    }
}
