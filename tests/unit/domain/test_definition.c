#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "domain/definition.h"
#include "domain/fields.h"
#include "entry/entry.h"

static struct buf out;
static struct position basis;

static void set_up(void)
{
    buf_init(&out, 2 * DEFINITION_PAYLOAD_MAX_BYTES);
    cr_assert_eq(position_parse(BYTES_LITERAL("eu@7,us.2@9"), &basis, NULL), 0);
}

static void tear_down(void)
{
    buf_free(&out);
}

TestSuite(definition, .init = set_up, .fini = tear_down);

static const struct context_home homes[] = {{"US", "us"}, {"JP", "asia"}};
static const struct context_type types[] = {
    {.type = "Paid", .late = LATE_MANUAL},
    {.type = "Refunded", .late = LATE_COMPENSATE, .override = true},
    {.type = "Counted", .late = LATE_DROP_DUPLICATE, .commutative = true},
};
static const char *const regions[] = {"us", "asia", "eu"};
static const struct context full = {
    .name = "bank",
    .default_home = "eu",
    .home_count = 2,
    .homes = homes,
    .type_count = 3,
    .types = types,
    .rules = {.topology = TOPOLOGY_MULTI_HOME,
              .isolation = ISOLATION_FENCE,
              .lease_ms = 5000,
              .failover = FAILOVER_AUTOMATIC,
              .payload_region_count = 3,
              .payload_regions = regions},
    .promises = {.durability = {.peers = 2, .when_away = AWAY_DEGRADE},
                 .recovery_point = {.events = 100, .seconds = 30, .then = BOUND_REFUSE}},
};
static const struct context small = {.name = "bank", .default_home = "eu"};

static int encode(const struct context *context, uint64_t version, struct err *err)
{
    const struct definition_source source = {.version = version,
                                             .context = context,
                                             .basis = &basis,
                                             .actor = BYTES_LITERAL("operator"),
                                             .reason = BYTES_LITERAL("die B\xc3\xb6rse \xc3\xb6"
                                                                     "ffnet")};
    buf_clear(&out);
    return definition_encode(&source, &out, err);
}

static struct context *read_back(const struct context *context, uint64_t version)
{
    struct definition definition;
    struct err err = {0};
    cr_assert_eq(encode(context, version, &err), 0, "%s", err.message);
    cr_assert_eq(definition_parse(buf_bytes(&out), &definition, &err), 0, "%s", err.message);
    cr_assert_eq(definition.version, version);
    cr_assert(position_equal(&definition.basis, version == 1 ? &basis : &(struct position){.count = 0}));
    struct context *built = definition_build(BYTES_LITERAL("bank"), &definition);
    cr_assert_not_null(built);
    cr_assert_eq(context_version(built), version);
    return built;
}

static void expect_policy(const struct context *got)
{
    cr_assert_eq(got->rules.topology, TOPOLOGY_MULTI_HOME);
    cr_assert_eq(got->rules.isolation, ISOLATION_FENCE);
    cr_assert_eq(got->rules.lease_ms, 5000);
    cr_assert_eq(got->rules.failover, FAILOVER_AUTOMATIC);
    cr_assert_eq(got->rules.payload_region_count, 3);
    cr_assert_str_eq(got->rules.payload_regions[0], "asia");
    cr_assert_str_eq(got->rules.payload_regions[2], "us");
    cr_assert_eq(memcmp(&got->promises.durability, &full.promises.durability, sizeof(struct durability)), 0);
    cr_assert_eq(got->promises.recovery_point.events, 100);
    cr_assert_eq(got->promises.recovery_point.seconds, 30);
    cr_assert_eq(got->promises.recovery_point.then, BOUND_REFUSE);
    cr_assert_eq(got->type_count, 2, "a rule that says nothing is left out");
    cr_assert_str_eq(got->types[0].type, "Counted");
    cr_assert(got->types[0].commutative && !got->types[0].override && got->types[0].late == LATE_DROP_DUPLICATE);
    cr_assert_str_eq(got->types[1].type, "Refunded");
    cr_assert(!got->types[1].commutative && got->types[1].override && got->types[1].late == LATE_COMPENSATE);
}

Test(definition, what_creates_a_context_says_everything_in_order)
{
    struct context *got = read_back(&full, 1);
    expect_policy(got);
    cr_assert_str_eq(got->name, "bank");
    cr_assert_str_eq(got->default_home, "eu");
    cr_assert_eq(got->home_count, 2);
    cr_assert_str_eq(got->homes[0].partition, "JP");
    cr_assert_str_eq(got->homes[0].region, "asia");
    cr_assert_str_eq(got->homes[1].partition, "US");
    cr_assert_str_eq(got->source->actor, "operator");
    cr_assert_not_null(strstr(got->source->reason, "ffnet"));
    mem_free(got);
}

Test(definition, later_versions_leave_the_homes_out)
{
    struct context *got = read_back(&full, 7);
    expect_policy(got);
    cr_assert_eq(got->home_count, 0);
    cr_assert_str_eq(got->default_home, "");
    mem_free(got);
}

Test(definition, a_small_one_takes_a_few_bytes)
{
    struct context *got = read_back(&small, 2);
    cr_assert_eq(got->type_count + got->rules.payload_region_count, 0);
    cr_assert_lt(out.size_bytes, 40);
    mem_free(got);
}

Test(definition, equal_policies_have_one_encoding)
{
    const struct context_home turned_homes[] = {homes[1], homes[0]};
    const struct context_type turned_types[] = {types[2], types[1]};
    const char *const turned_regions[] = {"eu", "us", "asia"};
    struct context turned = full;
    struct buf first;
    turned.homes = turned_homes;
    turned.types = turned_types;
    turned.type_count = 2;
    turned.rules.payload_regions = turned_regions;
    cr_assert_eq(encode(&full, 1, NULL), 0);
    buf_init(&first, out.size_bytes);
    cr_assert_eq(buf_append(&first, buf_bytes(&out)), 0);
    cr_assert_eq(encode(&turned, 1, NULL), 0);
    cr_assert(bytes_equal(buf_bytes(&first), buf_bytes(&out)));
    buf_free(&first);
}

/* --- Refusals --- */

Test(definition, what_cannot_be_read_is_not_written)
{
    struct err err = {0};
    struct context bad = small;
    bad.promises.durability.peers = PROMISES_PEERS_MAX + 1;
    cr_assert_eq(encode(&bad, 2, &err), ERR_INVALID);
    cr_assert_eq(out.size_bytes, 0);
    bad = small;
    bad.default_home = "";
    cr_assert_eq(encode(&bad, 1, &err), ERR_INVALID);
    cr_assert_eq(encode(&small, 0, &err), ERR_INVALID);
    cr_assert_eq(encode(&small, DEFINITION_VERSION_MAX + 1, &err), ERR_INVALID);
}

Test(definition, one_that_is_too_long_is_refused)
{
    static struct context_type many[CONTEXT_TYPES_MAX];
    static char names[CONTEXT_TYPES_MAX][ENTRY_NAME_MAX_BYTES + 1];
    struct err err = {0};
    for (size_t i = 0; i < CONTEXT_TYPES_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "%04zu%0200d", i, 0);
        many[i] = (struct context_type){.type = names[i], .late = LATE_ACCEPT};
    }
    struct context large = small;
    large.types = many;
    large.type_count = CONTEXT_TYPES_MAX;
    cr_assert_eq(encode(&large, 2, &err), ERR_TOO_LARGE);
    cr_assert_not_null(strstr(err.message, "61440"), "%s", err.message);
    cr_assert_eq(out.size_bytes, 0);
}

Test(definition, no_prefix_and_no_longer_text_is_read)
{
    struct definition definition;
    size_t read = 0;
    cr_assert_eq(encode(&full, 1, NULL), 0);
    for (size_t size = 0; size < out.size_bytes; size++) {
        uint8_t *cut = mem_alloc(size);
        memcpy(cut, out.data, size);
        read += definition_parse(bytes_of(cut, size), &definition, NULL) == 0;
        mem_free(cut);
    }
    cr_assert_leq(read, 20, "only where a field ends may a shorter one begin to be whole");
    cr_assert_eq(buf_append_byte(&out, 0), 0);
    cr_assert_eq(definition_parse(buf_bytes(&out), &definition, NULL), ERR_CORRUPT);
}

/* version 2, then one member of a list. */
static int parse_members(uint32_t field, struct bytes first, struct bytes second)
{
    struct definition definition;
    buf_clear(&out);
    cr_assert_eq(fields_put_number(&out, 1, 2), 0);
    cr_assert_eq(fields_put_member(&out, field, first), 0);
    cr_assert_eq(fields_put_member(&out, field, second), 0);
    return definition_parse(buf_bytes(&out), &definition, NULL);
}

Test(definition, lists_are_sorted_and_name_nothing_twice)
{
    cr_assert_eq(parse_members(9, BYTES_LITERAL("asia"), BYTES_LITERAL("eu")), 0);
    cr_assert_eq(parse_members(9, BYTES_LITERAL("eu"), BYTES_LITERAL("asia")), ERR_CORRUPT);
    cr_assert_eq(parse_members(9, BYTES_LITERAL("eu"), BYTES_LITERAL("eu")), ERR_CORRUPT);
    cr_assert_eq(parse_members(9, BYTES_LITERAL(""), BYTES_LITERAL("eu")), ERR_CORRUPT);
    cr_assert_eq(parse_members(10,
                               BYTES_LITERAL("\x0a\x01"
                                             "a\x10\x01"),
                               BYTES_LITERAL("\x0a\x01"
                                             "b\x18\x01")),
                 0);
    cr_assert_eq(parse_members(10,
                               BYTES_LITERAL("\x0a\x01"
                                             "b\x10\x01"),
                               BYTES_LITERAL("\x0a\x01"
                                             "a\x18\x01")),
                 ERR_CORRUPT);
}

Test(definition, a_rule_for_a_type_says_something_that_is_known)
{
    const struct bytes good = BYTES_LITERAL("\x0a\x01"
                                            "b\x10\x03");
    cr_assert_eq(parse_members(10,
                               BYTES_LITERAL("\x0a\x01"
                                             "a\x20\x01"),
                               good),
                 0);
    cr_assert_eq(parse_members(10,
                               BYTES_LITERAL("\x0a\x01"
                                             "a"),
                               good),
                 ERR_CORRUPT, "nothing");
    cr_assert_eq(parse_members(10,
                               BYTES_LITERAL("\x0a\x01"
                                             "a\x10\x04"),
                               good),
                 ERR_CORRUPT, "settlement 4");
    cr_assert_eq(parse_members(10,
                               BYTES_LITERAL("\x0a\x01"
                                             "a\x18\x02"),
                               good),
                 ERR_CORRUPT, "override 2");
    cr_assert_eq(parse_members(10, BYTES_LITERAL("\x10\x01"), good), ERR_CORRUPT, "no type");
}

Test(definition, homes_stand_in_version_1_alone)
{
    struct definition definition;
    const struct bytes home = BYTES_LITERAL("\x0a\x01p\x12\x02us");
    cr_assert_eq(parse_members(4, home, home), ERR_CORRUPT);
    buf_clear(&out);
    cr_assert_eq(fields_put_number(&out, 1, 1), 0);
    cr_assert_eq(definition_parse(buf_bytes(&out), &definition, NULL), ERR_CORRUPT, "a creation without a home");
    cr_assert_eq(fields_put_text(&out, 3, BYTES_LITERAL("eu")), 0);
    cr_assert_eq(definition_parse(buf_bytes(&out), &definition, NULL), 0);
    cr_assert_eq(fields_put_member(&out, 4, home), 0);
    cr_assert_eq(definition_parse(buf_bytes(&out), &definition, NULL), 0);
    cr_assert_eq(definition.home_count, 1);
}

Test(definition, numbers_past_what_they_mean_are_refused)
{
    static const struct {
        uint32_t field;
        uint64_t most;
    } numbers[] = {{5, TOPOLOGY_MULTI_HOME},  {6, ISOLATION_FENCE},       {7, RULES_LEASE_MAX_MS},
                   {8, FAILOVER_AUTOMATIC},   {11, PROMISES_PEERS_MAX},   {12, AWAY_DEGRADE},
                   {13, PROMISES_EVENTS_MAX}, {14, PROMISES_SECONDS_MAX}, {15, BOUND_REFUSE}};
    struct definition definition;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        for (uint64_t over = 0; over < 2; over++) {
            buf_clear(&out);
            cr_assert_eq(fields_put_number(&out, 1, 2), 0);
            cr_assert_eq(fields_put_number(&out, numbers[i].field, numbers[i].most + over), 0);
            cr_assert_eq(definition_parse(buf_bytes(&out), &definition, NULL), over == 0 ? 0 : ERR_CORRUPT, "field %u",
                         numbers[i].field);
        }
    }
}

Test(definition, building_without_memory_gives_nothing)
{
    struct definition definition;
    cr_assert_eq(encode(&full, 1, NULL), 0);
    cr_assert_eq(definition_parse(buf_bytes(&out), &definition, NULL), 0);
    mem_fail_at(1);
    cr_assert_null(definition_build(BYTES_LITERAL("bank"), &definition));
    mem_fail_at(0);
}
