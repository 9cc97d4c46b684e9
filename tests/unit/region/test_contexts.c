/* Contexts that are created and changed while the region runs: who decides, what is refused, and from when on it
 * counts. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "unit/region/fixture.h"

/* --- Support --- */

struct wish {
    struct order order; /* first: the fixture counts its answers */
    struct region_define define;
};

static int ask(struct site *site, struct wish *wish, const struct context *context, uint64_t expected_version)
{
    order_init(&wish->order);
    wish->define = (struct region_define){.context = context,
                                          .expected_version = expected_version,
                                          .actor = BYTES_LITERAL("test"),
                                          .dry_run = wish->define.dry_run};
    wish->order.command.define = &wish->define;
    site_step(site, (struct region_event){.type = REGION_COMMAND, .command = &wish->order.command});
    return wish->order.command.refusal.code;
}

static void define(struct site *site, const struct context *context, uint64_t expected_version)
{
    struct wish wish = {.define.dry_run = false};
    cr_assert_eq(ask(site, &wish, context, expected_version), 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_eq(wish.define.version, expected_version + 1);
    cr_assert_not(wish.define.already);
    site_written_all(site, 0);
    cr_assert_eq(wish.order.answers, 1);
    site_indexed(site, 0);
}

static void expect_refused(struct site *site, const struct context *context, uint64_t expected_version, int code,
                           const char *words)
{
    struct region_log_status before, after;
    struct wish wish = {.define.dry_run = false};
    site_written_all(site, 0);
    region_log_status(site->region, 0, &before);
    int got = ask(site, &wish, context, expected_version);
    const char *message = wish.order.command.refusal.err.message;
    cr_assert_eq(got, code, "%s: %s", tally_error_name(got), message);
    cr_assert_not_null(strstr(message, words), "\"%s\" does not say \"%s\"", message, words);
    site_written_all(site, 0);
    region_log_status(site->region, 0, &after);
    cr_assert_eq(before.size, after.size, "a refused command leaves nothing");
}

static const struct context *found(const struct site *site, const char *name)
{
    return context_find(region_contexts(site->region), bytes_of_string(name));
}

/* One event to a stream of a context; the code. */
static int try_append(struct site *site, const char *context, uint64_t id, struct order *order)
{
    order_init(order);
    order_one(order, "s", id, "{}");
    order->writes[0].context = bytes_of_string(context);
    site_submit(site, order);
    return order->command.refusal.code;
}

static void expect_append(struct site *site, const char *context, uint64_t id)
{
    struct order order;
    cr_assert_eq(try_append(site, context, id, &order), 0, "%s", order.command.refusal.err.message);
    site_written_all(site, 0);
}

static const struct context cart = {.name = "cart", .default_home = "eu"};
static const struct context cart_of_us = {.name = "cart", .default_home = "us"};

/* --- Creating --- */

Test(contexts, one_that_is_created_accepts_events_once_its_creation_is_indexed)
{
    struct site *site = site_alone();
    struct order order;
    struct wish wish = {.define.dry_run = false};
    cr_assert_eq(try_append(site, "cart", 1, &order), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "tally context create"));
    cr_assert_eq(ask(site, &wish, &cart, 0), 0, "%s", wish.order.command.refusal.err.message);
    cr_assert_eq(wish.order.answers, 0, "not before it is durable");
    cr_assert_not_null(found(site, "cart"));
    cr_assert_eq(try_append(site, "cart", 1, &order), ERR_UNAVAILABLE);
    site_written_all(site, 0);
    cr_assert_eq(wish.order.answers, 1);
    cr_assert_eq(wish.define.version, 1);
    cr_assert_eq(try_append(site, "cart", 1, &order), ERR_UNAVAILABLE);
    site_indexed(site, 0);
    expect_append(site, "cart", 1);
    site_free(site);
}

Test(contexts, one_is_created_once)
{
    struct site *site = site_alone();
    const struct context other = {.name = "cart",
                                  .default_home = "eu",
                                  .promises = {.durability = {0, 0}, .recovery_point = {0, 0, 0}},
                                  .rules.topology = TOPOLOGY_MULTI_HOME};
    define(site, &cart, 0);
    expect_refused(site, &other, 0, ERR_EXISTS, "tally context set");
    const struct context till = {.name = "till", .default_home = "eu", .rules.topology = TOPOLOGY_MULTI_HOME};
    expect_refused(site, &till, 0, ERR_EXISTS, "version is 1");
    site_free(site);
}

Test(contexts, asking_again_for_what_is_in_force_changes_nothing)
{
    struct site *site = site_alone();
    struct wish wish = {.define.dry_run = false};
    define(site, &cart, 0);
    for (uint64_t expected = 0; expected < 2; expected++) {
        cr_assert_eq(ask(site, &wish, &cart, expected), 0);
        cr_assert(wish.define.already);
        cr_assert_eq(wish.define.version, 1);
    }
    expect_refused(site, &cart, 2, ERR_VERSION_CONFLICT, "version 1, not 2");
    site_free(site);
}

Test(contexts, a_dry_run_answers_and_changes_nothing)
{
    struct site *site = site_alone();
    struct wish wish = {.define.dry_run = true};
    const struct context bad = {.name = "cart", .default_home = "mars"};
    cr_assert_eq(ask(site, &wish, &cart, 0), 0);
    cr_assert_eq(wish.define.version, 1);
    cr_assert_null(found(site, "cart"));
    cr_assert_eq(ask(site, &wish, &bad, 0), ERR_INVALID);
    define(site, &cart, 0);
    site_free(site);
}

Test(contexts, one_that_makes_no_sense_here_is_refused)
{
    struct site *site = site_accepting("us");
    const char *const nowhere[] = {"mars", "eu"};
    const struct context_home home[] = {{"p", "mars"}};
    struct context bad = {.name = "cart", .default_home = "mars"};
    expect_refused(site, &bad, 0, ERR_INVALID, "default_home mars is neither");
    bad.default_home = "eu";
    bad.promises.durability.peers = 2;
    expect_refused(site, &bad, 0, ERR_INVALID, "asks for 2 peers, the cluster has 1");
    bad.promises.durability.peers = 0;
    bad.rules.payload_regions = nowhere;
    bad.rules.payload_region_count = 2;
    expect_refused(site, &bad, 0, ERR_INVALID, "payload_regions: mars");
    bad.rules.payload_region_count = 0;
    bad.homes = home;
    bad.home_count = 1;
    expect_refused(site, &bad, 0, ERR_INVALID, "home mars of partition p");
    bad.rules.topology = TOPOLOGY_ACTIVE_PASSIVE;
    expect_refused(site, &bad, 0, ERR_INVALID, "active-passive");
    site_free(site);
    site = site_alone();
    bad = cart;
    bad.promises.recovery_point.events = 1;
    expect_refused(site, &bad, 0, ERR_INVALID, "recovery_point needs a peer");
    site_free(site);
}

Test(contexts, names_of_the_system_cannot_be_defined)
{
    struct site *site = site_alone();
    const struct context system = {.name = CONTEXT_SYSTEM, .default_home = "eu"};
    const struct context star = {.name = "*", .default_home = "eu"};
    expect_refused(site, &system, 1, ERR_INVALID, "kept for the system");
    expect_refused(site, &star, 0, ERR_INVALID, "kept for the system");
    site_free(site);
}

/* --- Changing --- */

Test(contexts, a_context_of_the_configuration_is_changed_too)
{
    struct site *site = site_alone();
    struct context till = {.name = "till", .default_home = "eu", .rules.failover = FAILOVER_ASSISTED};
    define(site, &till, 1);
    cr_assert_eq(found(site, "till")->rules.failover, FAILOVER_ASSISTED);
    cr_assert_eq(context_version(found(site, "till")), 2);
    till.rules.failover = FAILOVER_MANUAL;
    expect_refused(site, &till, 1, ERR_VERSION_CONFLICT, "version 2, not 1");
    define(site, &till, 2);
    expect_append(site, "till", 1);
    site_free(site);
}

Test(contexts, what_is_not_there_cannot_be_changed)
{
    struct site *site = site_alone();
    expect_refused(site, &cart, 1, ERR_NOT_FOUND, "tally context create");
    site_free(site);
}

Test(contexts, what_would_break_a_promise_is_refused_with_the_reason)
{
    struct site *site = site_accepting("us");
    const char *const eu[] = {"eu"};
    struct context till = {.name = "till", .default_home = "us"};
    expect_refused(site, &till, 1, ERR_UNSUPPORTED, "tally handover till");
    till.default_home = "eu";
    till.rules.payload_regions = eu;
    till.rules.payload_region_count = 1;
    expect_refused(site, &till, 1, ERR_UNSUPPORTED, "region us may hold payloads");
    struct context card = {
        .name = "card", .default_home = "eu", .rules = {.payload_region_count = 1, .payload_regions = eu}};
    define(site, &card, 0);
    card.rules.payload_region_count = 0;
    expect_refused(site, &card, 1, ERR_UNSUPPORTED, "region us is none of payload_regions");
    site_free(site);
}

Test(contexts, partitions_that_moved_alone_cannot_be_made_to_move_together)
{
    struct site *site = site_accepting("us");
    struct context till = {.name = "till", .default_home = "eu", .rules.topology = TOPOLOGY_ACTIVE_PASSIVE};
    struct order order;
    struct bytes partition = BYTES_LITERAL("p");
    struct region_control control = {
        .type = REGION_HANDOVER, .context = BYTES_LITERAL("till"), .partition_count = 1, .partitions = &partition};
    snprintf(control.region, sizeof(control.region), "us");
    order_init(&order);
    order.command.control = &control;
    site_step(site, (struct region_event){.type = REGION_COMMAND, .command = &order.command});
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    expect_refused(site, &till, 1, ERR_UNSUPPORTED, "go their own way");
    site_free(site);
}

Test(contexts, there_are_only_so_many_versions_and_contexts)
{
    static struct wish wishes[CONTEXT_VERSIONS_MAX + CONTEXTS_MAX];
    struct wish *wish = wishes;
    struct site *site = site_alone();
    struct context till = {.name = "till", .default_home = "eu"};
    char name[32];
    for (uint64_t version = 1; version < CONTEXT_VERSIONS_MAX; version++) {
        till.rules.failover = version % 2 == 1 ? FAILOVER_ASSISTED : FAILOVER_MANUAL;
        cr_assert_eq(ask(site, wish, &till, version), 0, "%s", wish->order.command.refusal.err.message);
        wish++;
        if (version % 20 == 0)
            site_written_all(site, 0);
    }
    till.rules.topology = TOPOLOGY_MULTI_HOME;
    expect_refused(site, &till, CONTEXT_VERSIONS_MAX, ERR_TOO_LARGE, "1000 versions");
    struct context one = cart;
    one.name = name;
    for (size_t i = context_count(region_contexts(site->region)); i < CONTEXTS_MAX; i++) {
        snprintf(name, sizeof(name), "c%zu", i);
        cr_assert_eq(ask(site, wish, &one, 0), 0, "%s", wish->order.command.refusal.err.message);
        wish++;
        if (i % 20 == 0)
            site_written_all(site, 0);
    }
    expect_refused(site, &cart, 0, ERR_TOO_LARGE, "256 contexts");
    site_free(site);
}

Test(contexts, a_recovery_point_that_is_set_holds_from_the_next_append_on)
{
    struct site *site = site_accepting("us");
    struct context till = {
        .name = "till", .default_home = "eu", .promises.recovery_point = {.events = 2, .then = BOUND_REFUSE}};
    struct order order;
    expect_append(site, "till", 1);
    define(site, &till, 1); /* the first event counts: it is in eu alone */
    expect_append(site, "till", 2);
    cr_assert_eq(try_append(site, "till", 3, &order), ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "recovery point"));
    till.promises.recovery_point = (struct recovery_point){.events = 0};
    define(site, &till, 2);
    expect_append(site, "till", 4);
    site_free(site);
}

Test(contexts, a_durability_that_is_set_holds_from_the_next_append_on)
{
    struct site *site = site_accepting("us");
    const struct context till = {.name = "till", .default_home = "eu", .promises.durability.peers = 1};
    struct region_context_status status;
    struct order order;
    define(site, &till, 1);
    cr_assert_eq(try_append(site, "till", 1, &order), 0);
    site_written_all(site, 0);
    cr_assert_eq(order.answers, 0);
    const struct region_held held = {.origin = "demo/eu/1", .size = 2};
    site_hello(site, "us", &held, 1);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.command.copies, 1);
    site_peer_down(site, "us");
    cr_assert_eq(try_append(site, "till", 2, &order), ERR_UNAVAILABLE);
    region_context_status(site->region, 2, &status);
    cr_assert_str_eq(status.name, "till");
    cr_assert(status.away);
    site_free(site);
}

/* --- Other regions --- */

/* Everything of `from` is at `to`, durable and indexed. */
static void send(struct site *to, struct site *from)
{
    site_written_all(from, 0);
    site_indexed(from, 0);
    site_meet(to, from);
    site_send_blocks(to, from, from->config.region);
    uint32_t log = site_log_number(to, from->config.region);
    site_written_all(to, log);
    site_indexed(to, log);
}

static struct site *us_with_eu(void)
{
    struct site *site = site_new("us", "eu");
    site_tick(site, 0);
    site_hello(site, "eu", NULL, 0);
    cr_assert(region_accepting(site->region));
    return site;
}

Test(contexts, somebody_else_than_the_systems_home_names_the_home)
{
    struct site *us = us_with_eu();
    struct wish wish = {.define.dry_run = false};
    cr_assert_eq(ask(us, &wish, &cart, 0), ERR_WRONG_HOME);
    cr_assert_str_eq(wish.order.command.refusal.home_region, "eu");
    cr_assert_str_eq(wish.order.command.refusal.home_address, "eu.example:7001");
    site_free(us);
}

Test(contexts, the_home_of_a_context_accepts_when_it_has_indexed_its_creation)
{
    struct site *eu = site_accepting("us");
    struct site *us = us_with_eu();
    struct order order;
    define(eu, &cart_of_us, 0);
    cr_assert_eq(try_append(eu, "cart", 1, &order), ERR_WRONG_HOME);
    cr_assert_eq(try_append(us, "cart", 1, &order), ERR_NOT_FOUND);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    cr_assert_not_null(found(us, "cart"));
    cr_assert_eq(try_append(us, "cart", 1, &order), ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "index"));
    site_indexed(us, site_log_number(us, "eu"));
    expect_append(us, "cart", 1);
    site_free(eu);
    site_free(us);
}

Test(contexts, definitions_survive_a_crash)
{
    struct site *eu = site_accepting("us");
    struct site *us = us_with_eu();
    define(eu, &cart_of_us, 0);
    struct context changed = cart_of_us;
    changed.rules.failover = FAILOVER_ASSISTED;
    define(eu, &changed, 1);
    send(us, eu);
    us = site_restart(us);
    cr_assert_eq(context_version(found(us, "cart")), 2);
    cr_assert_eq(found(us, "cart")->rules.failover, FAILOVER_ASSISTED);
    eu = site_restart(eu);
    cr_assert_eq(context_version(found(eu, "cart")), 2);
    site_free(eu);
    site_free(us);
}

/* --- Failures --- */

Test(contexts, a_definition_that_lacked_memory_leaves_nothing_or_counts_later)
{
    uint64_t failures = 0;
    for (uint64_t at = 1;; at++) {
        struct site *site = site_alone();
        struct wish wish = {.define.dry_run = false};
        order_init(&wish.order);
        wish.define = (struct region_define){.context = &cart, .actor = BYTES_LITERAL("test")};
        wish.order.command.define = &wish.define;
        uint64_t before = mem_allocation_count();
        int code =
            site_step_failing(site, (struct region_event){.type = REGION_COMMAND, .command = &wish.order.command}, at);
        bool done = mem_allocation_count() - before < at;
        if (code == 0)
            code = wish.order.command.refusal.code;
        cr_assert(code == 0 || code == ERR_NO_MEMORY || code == ERR_BUSY, "%s", wish.order.command.refusal.err.message);
        failures += code != 0;
        site_tick(site, 1000);
        cr_assert_eq(found(site, "cart") != NULL, code == 0, "allocation %llu", (unsigned long long)at);
        site_free(site);
        if (done)
            break;
    }
    cr_assert_gt(failures, 5);
}
