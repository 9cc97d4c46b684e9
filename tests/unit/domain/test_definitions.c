/* The contexts that follow from control events: what is created, changed, overtaken, and in which order it was heard.
 */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "base/prng.h"
#include "domain/authority.h"
#include "domain/definition.h"

static const struct context configured[] = {
    {.name = "bank", .default_home = "us", .promises = {.durability = {.peers = 2}}},
    {.name = CONTEXT_SYSTEM, .default_home = "eu"},
};
static const struct context_table configuration = {.count = 2, .contexts = configured};
static struct authority_table table;

static void set_up(void)
{
    authority_table_init(&table, &configuration);
}

static void tear_down(void)
{
    authority_table_free(&table);
}

TestSuite(definitions, .init = set_up, .fini = tear_down);

/* --- Events --- */

/* A definition of `name`; its log, epoch, index and time. */
struct made {
    const char *name;
    uint64_t version;
    struct context policy;
    const char *region;
    uint64_t epoch;
    uint64_t index;
    hlc time;
    const char *basis;
};

static struct buf payloads[8];
static size_t payload_count;

static void free_payloads(void)
{
    while (payload_count > 0)
        buf_free(&payloads[--payload_count]);
}

static struct authority_event define(const struct made *made)
{
    struct position basis = {.count = 0};
    struct context policy = made->policy;
    struct buf *payload = &payloads[payload_count++];
    cr_assert_leq(payload_count, sizeof(payloads) / sizeof(payloads[0]));
    policy.name = made->name;
    if (policy.default_home == NULL)
        policy.default_home = "eu";
    if (made->basis != NULL)
        cr_assert_eq(position_parse(bytes_of_string(made->basis), &basis, NULL), 0);
    const struct definition_source source = {
        .version = made->version, .context = &policy, .basis = &basis, .actor = BYTES_LITERAL("operator")};
    buf_init(payload, DEFINITION_PAYLOAD_MAX_BYTES);
    cr_assert_eq(definition_encode(&source, payload, NULL), 0);
    return (struct authority_event){.kind = CONTROL_CONTEXT_DEFINED,
                                    .context = BYTES_LITERAL(CONTEXT_SYSTEM),
                                    .partition = bytes_of_string(made->name),
                                    .epoch = made->epoch == 0 ? 1 : made->epoch,
                                    .region = made->region == NULL ? "eu" : made->region,
                                    .incarnation = 1,
                                    .index = made->index,
                                    .time = made->time,
                                    .definition = buf_bytes(payload)};
}

/* A region seizes all of "$system". */
static struct authority_event seize(const char *region, uint64_t index, const char *basis)
{
    struct authority_event event = {.kind = CONTROL_AUTHORITY_SEIZED,
                                    .context = BYTES_LITERAL(CONTEXT_SYSTEM),
                                    .partition = BYTES_LITERAL("*"),
                                    .epoch = 2,
                                    .region = region,
                                    .incarnation = 1,
                                    .index = index,
                                    .time = 50};
    cr_assert_eq(position_parse(bytes_of_string(basis), &event.change.basis, NULL), 0);
    return event;
}

static void apply(const struct authority_event *event)
{
    struct err err = {0};
    cr_assert_eq(authority_apply(&table, event, &err), 0, "%s", err.message);
}

static void apply_made(const struct made *made)
{
    struct authority_event event = define(made);
    apply(&event);
    free_payloads();
}

static const struct context *found(const char *name)
{
    return context_find(table.contexts, bytes_of_string(name));
}

static bool is_late(const char *context, const char *region)
{
    return authority_is_late(&table, bytes_of_string(context), BYTES_LITERAL("p"), 1, region, 1, 100);
}

/* --- Creating and changing --- */

Test(definitions, without_any_the_contexts_are_those_of_the_configuration)
{
    cr_assert_eq(context_count(table.contexts), 2);
    cr_assert_eq(found("bank"), &configured[0]);
    cr_assert_eq(context_at(table.contexts, 1), &configured[1]);
    cr_assert_eq(context_version(found("bank")), 1);
    cr_assert_null(found("shop"));
}

Test(definitions, one_of_version_1_creates_a_context_with_its_homes)
{
    static const struct context_home homes[] = {{"p", "asia"}};
    cr_assert(is_late("shop", "us"), "nobody may write what does not exist");
    apply_made(&(struct made){
        .name = "shop", .version = 1, .policy = {.default_home = "us", .home_count = 1, .homes = homes}, .index = 7});
    const struct context *shop = found("shop");
    cr_assert_not_null(shop);
    cr_assert_str_eq(shop->default_home, "us");
    cr_assert_eq(context_version(shop), 1);
    cr_assert_eq(shop->created, shop->source);
    cr_assert_eq(shop->source->index, 7);
    cr_assert_not(is_late("shop", "asia"));
    cr_assert(is_late("shop", "us"));
    cr_assert_eq(context_count(table.contexts), 3);
}

Test(definitions, a_later_version_changes_the_policy_and_keeps_the_homes)
{
    apply_made(&(struct made){.name = "shop", .version = 1, .policy = {.default_home = "us"}, .index = 1});
    apply_made(&(struct made){
        .name = "shop", .version = 2, .policy = {.rules = {.topology = TOPOLOGY_MULTI_HOME}}, .index = 2});
    const struct context *shop = found("shop");
    cr_assert_eq(shop->rules.topology, TOPOLOGY_MULTI_HOME);
    cr_assert_str_eq(shop->default_home, "us");
    cr_assert_eq(context_version(shop), 2);
    cr_assert_eq(shop->source->index, 2);
    cr_assert_eq(shop->created->index, 1);
}

Test(definitions, a_context_of_the_configuration_is_changed_in_its_place)
{
    apply_made(&(struct made){.name = "bank", .version = 2, .index = 3});
    const struct context *bank = context_at(table.contexts, 0);
    cr_assert_eq(bank, found("bank"));
    cr_assert_eq(bank->promises.durability.peers, 0);
    cr_assert_eq(context_least_peers(bank), 2, "what was promised before is in the logs");
    cr_assert_str_eq(bank->default_home, "us");
    cr_assert_null(bank->created);
    cr_assert_eq(context_count(table.contexts), 2);
}

Test(definitions, nobody_creates_what_the_configuration_has)
{
    apply_made(&(struct made){.name = "bank", .version = 1, .policy = {.default_home = "asia"}});
    cr_assert_eq(found("bank"), &configured[0]);
}

Test(definitions, what_was_not_created_does_not_exist)
{
    apply_made(&(struct made){.name = "shop", .version = 2});
    cr_assert_null(found("shop"));
    apply_made(&(struct made){.name = "shop", .version = 1, .index = 9});
    cr_assert_eq(context_version(found("shop")), 2);
}

Test(definitions, the_smallest_durability_is_remembered)
{
    apply_made(&(struct made){.name = "shop", .version = 1});
    cr_assert_eq(context_least_peers(found("shop")), 0);
    apply_made(
        &(struct made){.name = "shop", .version = 2, .policy = {.promises = {.durability = {3, 0}}}, .index = 2});
    cr_assert_eq(context_least_peers(found("shop")), 3);
    apply_made(
        &(struct made){.name = "shop", .version = 3, .policy = {.promises = {.durability = {1, 0}}}, .index = 3});
    apply_made(
        &(struct made){.name = "shop", .version = 4, .policy = {.promises = {.durability = {2, 0}}}, .index = 4});
    cr_assert_eq(context_least_peers(found("shop")), 1);
}

Test(definitions, a_reader_that_found_a_version_keeps_it)
{
    apply_made(&(struct made){.name = "shop", .version = 1});
    const struct context *first = found("shop");
    for (uint64_t version = 2; version < 40; version++)
        apply_made(&(struct made){.name = "shop", .version = version, .index = version});
    cr_assert_eq(context_version(first), 1);
    cr_assert_str_eq(first->name, "shop");
    cr_assert_eq(context_version(found("shop")), 39);
}

/* --- Authority of "$system" --- */

Test(definitions, one_that_its_home_did_not_write_counts_for_nothing)
{
    apply_made(&(struct made){.name = "shop", .version = 1, .region = "us"});
    cr_assert_null(found("shop"));
    apply_made(&(struct made){.name = "shop", .version = 1, .epoch = 2});
    cr_assert_null(found("shop"));
}

Test(definitions, a_seizure_overtakes_what_it_did_not_know_and_a_new_creation_stands)
{
    struct authority_event seized = seize("us", 5, "eu@10");
    apply_made(&(struct made){.name = "shop", .version = 1, .index = 9, .policy = {.default_home = "eu"}});
    apply_made(&(struct made){.name = "shop", .version = 2, .index = 12});
    apply_made(&(struct made){.name = "lost", .version = 1, .index = 11, .policy = {.default_home = "eu"}});
    cr_assert_not(is_late("lost", "eu"));
    apply(&seized);
    cr_assert_eq(context_version(found("shop")), 1, "version 2 came too late");
    cr_assert_null(found("lost"));
    cr_assert_null(context_at(table.contexts, 3));
    cr_assert(is_late("lost", "eu"));
    apply_made(&(struct made){
        .name = "lost", .version = 1, .index = 6, .region = "us", .epoch = 2, .policy = {.default_home = "us"}});
    cr_assert_eq(found("lost"), context_at(table.contexts, 3));
    cr_assert(is_late("lost", "eu"));
    cr_assert_not(is_late("lost", "us"));
}

Test(definitions, the_order_of_arrival_does_not_matter)
{
    const struct made made[] = {
        {.name = "shop", .version = 1, .index = 9, .policy = {.default_home = "eu"}, .time = 1},
        {.name = "shop", .version = 2, .index = 12, .time = 2},
        {.name = "shop",
         .version = 2,
         .region = "us",
         .epoch = 2,
         .index = 6,
         .time = 60,
         .policy = {.promises = {{1, 0}, {0, 0, 0}}}},
        {.name = "lost", .version = 1, .index = 11, .policy = {.default_home = "eu"}, .time = 3},
        {.name = "lost",
         .version = 1,
         .region = "us",
         .epoch = 2,
         .index = 7,
         .policy = {.default_home = "us"},
         .time = 61},
        {.name = "bank", .version = 2, .index = 3, .time = 4},
    };
    enum { MADE = sizeof(made) / sizeof(made[0]), EVENTS = MADE + 1 };
    struct prng prng;
    prng_seed(&prng, 7);
    struct authority_event events[EVENTS];
    for (size_t i = 0; i < MADE; i++)
        events[i] = define(&made[i]);
    events[MADE] = seize("us", 5, "eu@10");
    for (size_t run = 0; run < 200; run++) {
        for (size_t i = EVENTS - 1; i > 0; i--) {
            size_t other = (size_t)prng_below(&prng, i + 1);
            struct authority_event swapped = events[i];
            events[i] = events[other];
            events[other] = swapped;
        }
        tear_down();
        set_up();
        for (size_t i = 0; i < EVENTS; i++)
            apply(&events[i]);
        apply(&events[0]);
        cr_assert_eq(context_version(found("shop")), 2);
        cr_assert_eq(found("shop")->source->time, 60);
        cr_assert_eq(found("shop")->promises.durability.peers, 1);
        cr_assert_str_eq(found("lost")->default_home, "us");
        cr_assert_eq(context_version(found("bank")), 2);
    }
    free_payloads();
}

/* --- What can become late --- */

static uint64_t affected(const struct authority_event *event, const char *region)
{
    return authority_affected_from(&table, event, region, 1);
}

Test(definitions, a_creation_concerns_entries_past_what_its_writer_had_applied)
{
    struct authority_event event = define(&(struct made){.name = "shop", .version = 1, .basis = "us@40"});
    const struct entry entry = {.context = BYTES_LITERAL("shop"), .partition = BYTES_LITERAL("p")};
    const struct entry other = {.context = BYTES_LITERAL("bank"), .partition = BYTES_LITERAL("p")};
    cr_assert_eq(affected(&event, "us"), 40);
    cr_assert_eq(affected(&event, "asia"), 0);
    cr_assert(authority_concerns(&table, &event, &entry));
    cr_assert_not(authority_concerns(&table, &event, &other));
    free_payloads();
}

Test(definitions, a_second_creation_concerns_everything)
{
    apply_made(&(struct made){.name = "shop", .version = 1, .index = 3});
    struct authority_event event =
        define(&(struct made){.name = "shop", .version = 1, .index = 4, .region = "us", .basis = "us@40"});
    cr_assert_eq(affected(&event, "us"), 0);
    free_payloads();
}

Test(definitions, a_change_of_policy_makes_nothing_late)
{
    struct authority_event event = define(&(struct made){.name = "shop", .version = 2});
    struct authority_event created = define(&(struct made){.name = "bank", .version = 1});
    cr_assert_eq(affected(&event, "us"), UINT64_MAX);
    cr_assert_eq(affected(&created, "us"), UINT64_MAX);
    free_payloads();
}

Test(definitions, a_seizure_that_knew_all_creations_concerns_no_context)
{
    const struct entry entry = {.context = BYTES_LITERAL("shop"), .partition = BYTES_LITERAL("p")};
    apply_made(&(struct made){.name = "shop", .version = 1, .index = 9});
    struct authority_event knowing = seize("us", 5, "eu@10");
    struct authority_event ignorant = seize("us", 5, "eu@9");
    cr_assert_eq(affected(&knowing, "eu"), 10);
    cr_assert_eq(affected(&knowing, "asia"), 0, "of \"$system\" alone");
    cr_assert_eq(affected(&ignorant, "eu"), 0);
    cr_assert_eq(affected(&ignorant, "us"), 0);
    cr_assert(authority_concerns(&table, &ignorant, &entry));
}

/* --- Types that any region may accept --- */

static const struct context_type counted[] = {{.type = "Counted", .commutative = true}};
static const struct context open_to_all = {.rules.topology = TOPOLOGY_MULTI_HOME, .type_count = 1, .types = counted};
static struct entry count_of_bank(void)
{
    return (struct entry){.index = 3,
                          .context = BYTES_LITERAL("bank"),
                          .partition = BYTES_LITERAL("p"),
                          .type = BYTES_LITERAL("Counted"),
                          .flags = ENTRY_FLAG_COMMUTATIVE,
                          .epoch = ENTRY_EPOCH_OF_NONE};
}

static bool counts_anywhere(void)
{
    struct entry entry = count_of_bank();
    return !authority_entry_is_late(&table, &entry, "asia", 7);
}

Test(definitions, commutative_events_count_from_the_definition_that_lets_them_be_accepted_anywhere)
{
    const struct entry paid = {.context = BYTES_LITERAL("bank"),
                               .partition = BYTES_LITERAL("p"),
                               .type = BYTES_LITERAL("Counted"),
                               .epoch = 1};
    cr_expect_not(counts_anywhere());
    apply_made(&(struct made){.name = "bank", .version = 2, .policy = open_to_all, .index = 3});
    cr_expect(counts_anywhere());
    cr_expect(authority_entry_is_late(&table, &paid, "asia", 7), "its type alone does not make it one");
    cr_expect(definitions_named_anywhere(&table.definitions, BYTES_LITERAL("bank"), BYTES_LITERAL("Counted")));
    cr_expect_not(definitions_named_anywhere(&table.definitions, BYTES_LITERAL("bank"), BYTES_LITERAL("Paid")));
}

Test(definitions, a_definition_that_takes_it_back_concerns_all_entries)
{
    struct authority_event more = define(&(struct made){.name = "bank", .version = 2, .policy = open_to_all});
    cr_expect_eq(affected(&more, "us"), UINT64_MAX, "what begins to count was put aside");
    free_payloads();
    apply_made(&(struct made){.name = "bank", .version = 2, .policy = open_to_all, .index = 3});
    struct authority_event same =
        define(&(struct made){.name = "bank", .version = 3, .policy = open_to_all, .index = 4});
    struct authority_event none = define(&(struct made){.name = "bank", .version = 3, .index = 4});
    cr_expect_eq(affected(&same, "us"), UINT64_MAX);
    cr_expect_eq(affected(&none, "us"), 0);
    struct entry entry = count_of_bank();
    cr_expect(authority_concerns(&table, &none, &entry));
    cr_assert_eq(authority_apply(&table, &none, NULL), 0);
    cr_expect_not(counts_anywhere());
    free_payloads();
}

Test(definitions, a_seizure_that_did_not_know_of_it_concerns_commutative_events)
{
    apply_made(&(struct made){.name = "bank", .version = 2, .policy = open_to_all, .index = 9});
    struct authority_event knowing = seize("us", 5, "eu@10");
    struct authority_event ignorant = seize("us", 5, "eu@9");
    cr_expect_eq(affected(&knowing, "asia"), 0, "of \"$system\" alone");
    cr_expect_eq(affected(&ignorant, "us"), 0);
    struct entry entry = count_of_bank();
    cr_expect(authority_concerns(&table, &ignorant, &entry));
    cr_assert_eq(authority_apply(&table, &ignorant, NULL), 0);
    cr_expect_not(counts_anywhere());
    cr_expect(definitions_named_anywhere(&table.definitions, BYTES_LITERAL("bank"), BYTES_LITERAL("Counted")),
              "an honest region may have believed it");
}

/* --- Events from entries --- */

static int event_of(struct entry *entry, struct authority_event *ret)
{
    const struct origin origin = {.cluster = "demo", .region = "eu", .incarnation = 1};
    struct authority_event made = define(&(struct made){.name = "shop", .version = 2});
    int code = authority_event_of(entry, made.definition, &origin, ret, NULL);
    free_payloads();
    return code;
}

Test(definitions, one_stands_in_the_system_context_under_a_name_of_its_own)
{
    struct authority_event event;
    struct entry entry = {.flags = ENTRY_FLAG_CONTROL,
                          .type = BYTES_LITERAL("$ContextDefined"),
                          .context = BYTES_LITERAL(CONTEXT_SYSTEM),
                          .partition = BYTES_LITERAL("shop"),
                          .epoch = 1,
                          .index = 5};
    cr_assert_eq(event_of(&entry, &event), 0);
    cr_assert_eq(event.kind, CONTROL_CONTEXT_DEFINED);
    cr_assert_eq(event.index, 5);
    entry.context = BYTES_LITERAL("bank");
    cr_assert_eq(event_of(&entry, &event), ERR_CORRUPT);
    entry.context = BYTES_LITERAL(CONTEXT_SYSTEM);
    entry.partition = BYTES_LITERAL("*");
    cr_assert_eq(event_of(&entry, &event), ERR_CORRUPT);
    entry.partition = BYTES_LITERAL(CONTEXT_SYSTEM);
    cr_assert_eq(event_of(&entry, &event), ERR_CORRUPT);
    entry.partition = BYTES_LITERAL("shop");
    entry.epoch = 0;
    cr_assert_eq(event_of(&entry, &event), ERR_CORRUPT);
}

/* --- Failures --- */

Test(definitions, one_that_lacked_memory_counts_when_it_is_applied_again)
{
    struct authority_event event = define(&(struct made){.name = "shop", .version = 1});
    struct authority_event seized = seize("us", 5, "");
    size_t failures = 0;
    for (uint64_t at = 1;; at++) {
        mem_fail_at(at);
        int code = authority_apply(&table, &event, NULL);
        mem_fail_at(0);
        if (code == 0)
            break;
        cr_assert_eq(code, ERR_NO_MEMORY);
        failures++;
        tear_down();
        set_up();
    }
    cr_assert_gt(failures, 3);
    cr_assert_not_null(found("shop"));
    for (uint64_t at = 1;; at++) {
        mem_fail_at(at);
        int code = authority_apply(&table, &seized, NULL);
        mem_fail_at(0);
        if (code == 0)
            break;
        cr_assert_eq(code, ERR_NO_MEMORY);
    }
    cr_assert_null(found("shop"));
    free_payloads();
}
