#include <criterion/criterion.h>
#include <stdio.h>

#include "domain/context.h"
#include "entry/entry.h"

static const struct context_home payment_homes[] = {{"US", "us"}, {"JP", "asia"}};
static const struct context contexts[] = {
    {.name = "payments", .default_home = "eu", .home_count = 2, .homes = payment_homes},
    {.name = "audit", .default_home = "us"}};
static const struct context_table table = {.count = 2, .contexts = contexts};

static struct authority authority_of(const char *context, const char *partition)
{
    struct authority authority = {0};
    struct err err = {0};
    int code = context_authority(&table, bytes_of_string(context), bytes_of_string(partition), &authority, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    return authority;
}

static void expect_bad(const struct context_table *bad, int code, const char *word)
{
    struct err err = {0};
    int got = context_table_check(bad, &err);
    cr_assert_eq(got, code, "%s: %s", tally_error_name(got), err.message);
    cr_assert(strstr(err.message, word) != NULL, "'%s' lacks '%s'", err.message, word);
    cr_assert_eq(context_table_check(bad, NULL), code);
}

static void expect_bad_context(const struct context *bad, int code, const char *word)
{
    expect_bad(&(struct context_table){.count = 1, .contexts = bad}, code, word);
}

/* --- Who owns a partition --- */

Test(context, a_partition_without_a_home_of_its_own_is_at_the_default_home)
{
    cr_assert_str_eq(authority_of("payments", "DE").region, "eu");
    cr_assert_str_eq(authority_of("audit", "DE").region, "us");
}

Test(context, a_partition_with_a_home_of_its_own_is_there)
{
    cr_assert_str_eq(authority_of("payments", "US").region, "us");
    cr_assert_str_eq(authority_of("payments", "JP").region, "asia");
}

Test(context, a_home_belongs_to_one_context_alone)
{
    cr_assert_str_eq(authority_of("audit", "JP").region, "us");
}

Test(context, names_are_compared_whole)
{
    cr_assert_str_eq(authority_of("payments", "U").region, "eu");
    cr_assert_str_eq(authority_of("payments", "USA").region, "eu");
    cr_assert_str_eq(authority_of("payments", "us").region, "eu");
    struct authority authority;
    cr_assert_eq(context_authority(&table, BYTES_LITERAL("payment"), BYTES_LITERAL("US"), &authority, NULL),
                 ERR_NOT_FOUND);
    cr_assert_eq(context_authority(&table, BYTES_LITERAL("payments\0"), BYTES_LITERAL("US"), &authority, NULL),
                 ERR_NOT_FOUND, "a name with a NUL is another name");
}

Test(context, only_what_is_listed_has_a_home_of_its_own)
{
    cr_assert(context_has_home(&table, BYTES_LITERAL("payments"), BYTES_LITERAL("US")));
    cr_assert_not(context_has_home(&table, BYTES_LITERAL("payments"), BYTES_LITERAL("DE")));
    cr_assert_not(context_has_home(&table, BYTES_LITERAL("audit"), BYTES_LITERAL("US")));
    cr_assert_not(context_has_home(&table, BYTES_LITERAL("orders"), BYTES_LITERAL("US")));
}

Test(context, every_partition_starts_in_the_first_epoch)
{
    cr_assert_eq(authority_of("payments", "DE").epoch, CONTEXT_EPOCH_FIRST);
    cr_assert_eq(authority_of("payments", "US").epoch, CONTEXT_EPOCH_FIRST);
}

Test(context, an_unknown_context_is_not_found_and_the_message_says_what_to_do)
{
    struct authority authority = {.region = "untouched", .epoch = 77};
    struct err err = {0};
    cr_assert_eq(context_authority(&table, BYTES_LITERAL("orders"), BYTES_LITERAL("DE"), &authority, &err),
                 ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "\"orders\""), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "tally context create"), "%s", err.message);
    cr_assert_str_eq(authority.region, "untouched");
    cr_assert_eq(authority.epoch, 77);
}

Test(context, an_empty_table_knows_nobody)
{
    struct authority authority;
    cr_assert_eq(
        context_authority(&(struct context_table){0}, BYTES_LITERAL("payments"), BYTES_LITERAL("DE"), &authority, NULL),
        ERR_NOT_FOUND);
}

/* --- Which tables are refused --- */

Test(context, a_good_table_passes)
{
    struct err err = {0};
    cr_assert_eq(context_table_check(&table, &err), 0, "%s", err.message);
    cr_assert_eq(context_table_check(&(struct context_table){0}, &err), 0);
}

Test(context, a_context_needs_a_name_that_an_entry_can_carry)
{
    char long_name[ENTRY_NAME_MAX_BYTES + 2];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    expect_bad_context(&(struct context){.name = "", .default_home = "eu"}, ERR_INVALID, "context must not be empty");
    expect_bad_context(&(struct context){.name = "a\nb", .default_home = "eu"}, ERR_INVALID, "control characters");
    expect_bad_context(&(struct context){.name = "\xFF", .default_home = "eu"}, ERR_INVALID, "UTF-8");
    expect_bad_context(&(struct context){.name = long_name, .default_home = "eu"}, ERR_TOO_LARGE, "limit is 255");
    long_name[ENTRY_NAME_MAX_BYTES] = '\0';
    const struct context longest = {.name = long_name, .default_home = "eu"};
    cr_assert_eq(context_table_check(&(struct context_table){.count = 1, .contexts = &longest}, NULL), 0);
}

Test(context, names_of_the_system_are_kept_for_it)
{
    expect_bad_context(&(struct context){.name = "$systems", .default_home = "eu"}, ERR_INVALID, "start with $");
    const struct context system = {.name = CONTEXT_SYSTEM, .default_home = "eu"};
    cr_assert_eq(context_check(&system, NULL), 0);
}

Test(context, a_context_needs_a_default_home)
{
    expect_bad_context(&(struct context){.name = "payments", .default_home = NULL}, ERR_INVALID,
                       "payments: a home must name a region");
    expect_bad_context(&(struct context){.name = "payments", .default_home = ""}, ERR_INVALID, "must name a region");
}

Test(context, a_home_needs_a_partition_and_a_region)
{
    const struct context_home no_partition = {"", "us"};
    const struct context_home no_region = {"US", ""};
    const struct context_home null_region = {"US", NULL};
    expect_bad_context(
        &(struct context){.name = "payments", .default_home = "eu", .home_count = 1, .homes = &no_partition},
        ERR_INVALID, "partition must not be");
    expect_bad_context(
        &(struct context){.name = "payments", .default_home = "eu", .home_count = 1, .homes = &no_region}, ERR_INVALID,
        "must name a region");
    expect_bad_context(
        &(struct context){.name = "payments", .default_home = "eu", .home_count = 1, .homes = &null_region},
        ERR_INVALID, "must name a region");
}

Test(context, a_partition_has_one_home)
{
    const struct context_home homes[] = {{"US", "us"}, {"JP", "asia"}, {"US", "asia"}};
    expect_bad_context(&(struct context){.name = "payments", .default_home = "eu", .home_count = 3, .homes = homes},
                       ERR_INVALID, "partition US two homes");
}

Test(context, a_context_is_declared_once)
{
    const struct context twice[] = {{.name = "audit", .default_home = "us"},
                                    {.name = "payments", .default_home = "eu"},
                                    {.name = "audit", .default_home = "us"}};
    expect_bad(&(struct context_table){.count = 3, .contexts = twice}, ERR_INVALID, "audit is declared twice");
}

Test(context, one_fault_behind_good_contexts_is_found)
{
    const struct context second[] = {{.name = "audit", .default_home = "us"}, {.name = "$x", .default_home = "us"}};
    expect_bad(&(struct context_table){.count = 2, .contexts = second}, ERR_INVALID, "$x");
}

Test(context, contexts_are_limited)
{
    static struct context many[CONTEXTS_MAX + 1];
    static char names[CONTEXTS_MAX + 1][8];
    for (size_t i = 0; i <= CONTEXTS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "c%zu", i);
        many[i] = (struct context){.name = names[i], .default_home = "eu"};
    }
    cr_assert_eq(context_table_check(&(struct context_table){.count = CONTEXTS_MAX, .contexts = many}, NULL), 0);
    expect_bad(&(struct context_table){.count = CONTEXTS_MAX + 1, .contexts = many}, ERR_TOO_LARGE, "limit is 256");
}

Test(context, homes_are_limited)
{
    static struct context_home many[CONTEXT_HOMES_MAX + 1];
    static char names[CONTEXT_HOMES_MAX + 1][8];
    for (size_t i = 0; i <= CONTEXT_HOMES_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "p%zu", i);
        many[i] = (struct context_home){names[i], "eu"};
    }
    const struct context most = {
        .name = "payments", .default_home = "eu", .home_count = CONTEXT_HOMES_MAX, .homes = many};
    cr_assert_eq(context_table_check(&(struct context_table){.count = 1, .contexts = &most}, NULL), 0);
    expect_bad_context(
        &(struct context){.name = "payments", .default_home = "eu", .home_count = CONTEXT_HOMES_MAX + 1, .homes = many},
        ERR_TOO_LARGE, "limit is 4096");
}

/* --- The digest --- */

static struct hash digest_of(const struct context *of, size_t count)
{
    struct sha256 *sha = sha256_new();
    struct hash digest = context_table_digest(&(struct context_table){.count = count, .contexts = of}, sha);
    sha256_free(sha);
    return digest;
}

static void expect_other_digest(const struct context *of, size_t count, const char *what)
{
    struct hash usual = digest_of(contexts, 2);
    struct hash other = digest_of(of, count);
    cr_assert_not(hash_equal(&usual, &other), "%s", what);
}

Test(context, the_digest_does_not_depend_on_the_order)
{
    const struct context_home turned_homes[] = {{"JP", "asia"}, {"US", "us"}};
    const struct context turned[] = {
        {.name = "audit", .default_home = "us"},
        {.name = "payments", .default_home = "eu", .home_count = 2, .homes = turned_homes}};
    struct hash a = digest_of(contexts, 2);
    struct hash b = digest_of(turned, 2);
    cr_assert(hash_equal(&a, &b));
}

Test(context, the_digest_depends_on_everything_else)
{
    const struct context_home other_region[] = {{"US", "eu"}, {"JP", "asia"}};
    const struct context_home other_partition[] = {{"CA", "us"}, {"JP", "asia"}};
    const struct context_home swapped[] = {{"US", "asia"}, {"JP", "us"}};
    expect_other_digest(
        (const struct context[]){{.name = "payments", .default_home = "eu", .home_count = 2, .homes = other_region},
                                 {.name = "audit", .default_home = "us"}},
        2, "region of a home");
    expect_other_digest(
        (const struct context[]){{.name = "payments", .default_home = "eu", .home_count = 2, .homes = other_partition},
                                 {.name = "audit", .default_home = "us"}},
        2, "partition of a home");
    expect_other_digest(
        (const struct context[]){{.name = "payments", .default_home = "eu", .home_count = 2, .homes = swapped},
                                 {.name = "audit", .default_home = "us"}},
        2, "which home is where");
    expect_other_digest(
        (const struct context[]){{.name = "payments", .default_home = "eu", .home_count = 1, .homes = payment_homes},
                                 {.name = "audit", .default_home = "us"}},
        2, "a home less");
    expect_other_digest(
        (const struct context[]){{.name = "payments", .default_home = "eu"},
                                 {.name = "audit", .default_home = "us", .home_count = 2, .homes = payment_homes}},
        2, "homes of the other context");
    expect_other_digest(
        (const struct context[]){{.name = "payments", .default_home = "us", .home_count = 2, .homes = payment_homes},
                                 {.name = "audit", .default_home = "us"}},
        2, "a default home");
    expect_other_digest(
        (const struct context[]){{.name = "payment", .default_home = "eu", .home_count = 2, .homes = payment_homes},
                                 {.name = "audit", .default_home = "us"}},
        2, "a name");
    expect_other_digest(contexts, 1, "a context less");
    expect_other_digest(contexts, 0, "nothing at all");
}

Test(context, the_digest_keeps_neighbouring_names_apart)
{
    const struct context a[] = {{.name = "ab", .default_home = "c"}};
    const struct context b[] = {{.name = "a", .default_home = "bc"}};
    struct hash first = digest_of(a, 1);
    struct hash second = digest_of(b, 1);
    cr_assert_not(hash_equal(&first, &second));
}

/* --- Late events --- */

static const struct context_type frozen_rules[] = {{.type = "CardFrozen", .late = LATE_ACCEPT},
                                                   {.type = "Heartbeat", .late = LATE_DROP_DUPLICATE}};
static const struct context with_rules = {
    .name = "payments", .default_home = "eu", .type_count = 2, .types = frozen_rules};

Test(context, a_late_event_is_settled_by_the_rule_of_its_type_or_by_a_person)
{
    const struct context_table rules = {.count = 1, .contexts = &with_rules};
    cr_expect_eq(context_late_policy(&rules, BYTES_LITERAL("payments"), BYTES_LITERAL("CardFrozen")), LATE_ACCEPT);
    cr_expect_eq(context_late_policy(&rules, BYTES_LITERAL("payments"), BYTES_LITERAL("Heartbeat")),
                 LATE_DROP_DUPLICATE);
    cr_expect_eq(context_late_policy(&rules, BYTES_LITERAL("payments"), BYTES_LITERAL("Paid")), LATE_MANUAL);
    cr_expect_eq(context_late_policy(&rules, BYTES_LITERAL("audit"), BYTES_LITERAL("CardFrozen")), LATE_MANUAL);
}

Test(context, the_names_of_policies_are_read_as_they_are_written)
{
    for (enum late_policy policy = LATE_MANUAL; policy <= LATE_COMPENSATE; policy++) {
        enum late_policy read = LATE_MANUAL;
        cr_assert_eq(late_policy_parse(late_policy_name(policy), &read, NULL), 0);
        cr_expect_eq(read, policy);
    }
    enum late_policy untouched = LATE_COMPENSATE;
    cr_expect_eq(late_policy_parse("drop", &untouched, NULL), ERR_INVALID);
    cr_expect_eq(untouched, LATE_COMPENSATE);
}

Test(context, two_rules_for_one_type_are_refused)
{
    const struct context_type twice[] = {{.type = "Paid", .late = LATE_ACCEPT},
                                         {.type = "Paid", .late = LATE_COMPENSATE}};
    expect_bad_context(&(struct context){.name = "payments", .default_home = "eu", .type_count = 2, .types = twice},
                       ERR_INVALID, "type Paid");
    const struct context_type nameless[] = {{.type = "", .late = LATE_ACCEPT}};
    expect_bad_context(&(struct context){.name = "payments", .default_home = "eu", .type_count = 1, .types = nameless},
                       ERR_INVALID, "type must not be");
}

Test(context, the_digest_depends_on_rules_for_late_events_but_not_on_their_order)
{
    const struct context_type turned[] = {{.type = "Heartbeat", .late = LATE_DROP_DUPLICATE},
                                          {.type = "CardFrozen", .late = LATE_ACCEPT}};
    const struct context_type other[] = {{.type = "CardFrozen", .late = LATE_COMPENSATE},
                                         {.type = "Heartbeat", .late = LATE_DROP_DUPLICATE}};
    const struct context_type spoken[] = {{.type = "Paid", .late = LATE_MANUAL}};
    struct hash usual = digest_of(&with_rules, 1);
    struct hash same =
        digest_of(&(struct context){.name = "payments", .default_home = "eu", .type_count = 2, .types = turned}, 1);
    struct hash differs =
        digest_of(&(struct context){.name = "payments", .default_home = "eu", .type_count = 2, .types = other}, 1);
    struct hash none = digest_of(&(struct context){.name = "payments", .default_home = "eu"}, 1);
    struct hash manual =
        digest_of(&(struct context){.name = "payments", .default_home = "eu", .type_count = 1, .types = spoken}, 1);
    cr_expect(hash_equal(&usual, &same));
    cr_expect_not(hash_equal(&usual, &differs));
    cr_expect_not(hash_equal(&usual, &none));
    cr_expect(hash_equal(&none, &manual), "manual is what happens anyway");
}

/* Regions compare digests over the network: all must compute the same one, whatever their version. */
Test(context, the_digest_of_a_known_table_never_changes)
{
    char hex[2 * HASH_SIZE + 1];
    struct hash digest = digest_of(contexts, 2);
    hex_encode(bytes_of(digest.bytes, HASH_SIZE), hex);
    cr_assert_str_eq(hex, "ebd0f133fa8e7058221348e06bec4a5caeed7250132bccb1f7c9f8d1fc9ec7ef");
}

Test(context, rules_must_fit_the_context)
{
    static const struct context_home us[] = {{"north", "us"}};
    static const char *const eu_only[] = {"eu"};
    const struct context_type commutes[] = {{.type = "Counted", .commutative = true}};
    expect_bad_context(&(struct context){.name = "payments",
                                         .default_home = "eu",
                                         .home_count = 1,
                                         .homes = us,
                                         .rules.topology = TOPOLOGY_ACTIVE_PASSIVE},
                       ERR_INVALID, "active-passive");
    expect_bad_context(&(struct context){.name = "payments", .default_home = "eu", .type_count = 1, .types = commutes},
                       ERR_INVALID, "commutative");
    expect_bad_context(&(struct context){.name = "payments",
                                         .default_home = "us",
                                         .rules = {.payload_region_count = 1, .payload_regions = eu_only}},
                       ERR_INVALID, "payload_regions");
    expect_bad_context(&(struct context){.name = "payments",
                                         .default_home = "eu",
                                         .home_count = 1,
                                         .homes = us,
                                         .rules = {.payload_region_count = 1, .payload_regions = eu_only}},
                       ERR_INVALID, "payload_regions");
    const struct context many = {.name = "payments",
                                 .default_home = "eu",
                                 .type_count = 1,
                                 .types = commutes,
                                 .rules.topology = TOPOLOGY_MULTI_HOME};
    cr_expect_eq(context_table_check(&(struct context_table){.count = 1, .contexts = &many}, NULL), 0);
}

Test(context, types_are_accepted_anywhere_where_they_commute_and_the_topology_says_so)
{
    const struct context_type types[] = {{.type = "Counted", .commutative = true}, {.type = "Paid"}};
    const struct context_rules many = {.topology = TOPOLOGY_MULTI_HOME};
    const struct context one_home = {.name = "bank", .type_count = 2, .types = types};
    const struct context open = {.name = "bank", .type_count = 2, .types = types, .rules = many};
    const struct context open_to_none = {.name = "bank", .type_count = 1, .types = types + 1, .rules = many};
    cr_expect(context_accepts_anywhere(&open, BYTES_LITERAL("Counted")));
    cr_expect_not(context_accepts_anywhere(&open, BYTES_LITERAL("Paid")));
    cr_expect_not(context_accepts_anywhere(&open, BYTES_LITERAL("Other")));
    cr_expect_not(context_accepts_anywhere(&one_home, BYTES_LITERAL("Counted")));
    cr_expect_not(context_accepts_anywhere(NULL, BYTES_LITERAL("Counted")));
    cr_expect(context_frees_more(&open, &one_home));
    cr_expect(context_frees_more(&open, NULL));
    cr_expect_not(context_frees_more(&open, &open));
    cr_expect_not(context_frees_more(&open_to_none, NULL));
    cr_expect_not(context_frees_more(NULL, &open));
}

Test(context, the_digest_depends_on_what_types_may_do)
{
    const struct context_type plain[] = {{.type = "CardFrozen"}};
    const struct context_type overrides[] = {{.type = "CardFrozen", .override = true}};
    const struct context_type commutes[] = {{.type = "CardFrozen", .commutative = true}};
    struct context context = {.name = "payments", .default_home = "eu", .type_count = 1, .types = plain};
    struct hash none = digest_of(&context, 1);
    context.types = overrides;
    struct hash first = digest_of(&context, 1);
    context.types = commutes;
    struct hash second = digest_of(&context, 1);
    cr_expect(memcmp(none.bytes, first.bytes, HASH_SIZE) != 0);
    cr_expect(memcmp(first.bytes, second.bytes, HASH_SIZE) != 0);
}
