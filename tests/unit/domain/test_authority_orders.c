/* The fold of authority where order, repetition and conflict could show: competing claims, releases before what they
 * end, incarnations, spans, and from where on an event can make anything late. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/prng.h"
#include "domain/authority.h"

static const struct context_home homes[] = {{"q", "b"}};
static const struct context contexts[] = {{.name = "shop", .default_home = "a", .home_count = 1, .homes = homes},
                                          {.name = "bank", .default_home = "c"}};
static const struct context_table known = {.count = 2, .contexts = contexts};

static struct authority_table table;

static void set_up(void)
{
    authority_table_init(&table, &known);
}

static void tear_down(void)
{
    authority_table_free(&table);
}

TestSuite(authority_orders, .init = set_up, .fini = tear_down);

static struct position position(const char *text)
{
    struct position position;
    cr_assert_eq(position_parse(bytes_of_string(text), &position, NULL), 0, "%s", text);
    return position;
}

static struct authority_event change(enum control_kind kind, const char *partition, uint64_t epoch, const char *region,
                                     uint64_t index, hlc time, const char *basis)
{
    return (struct authority_event){.kind = kind,
                                    .context = BYTES_LITERAL("shop"),
                                    .partition = bytes_of_string(partition),
                                    .epoch = epoch,
                                    .region = region,
                                    .incarnation = 1,
                                    .index = index,
                                    .time = time,
                                    .change = {.basis = position(basis)}};
}

static struct authority_event seized(const char *partition, uint64_t epoch, const char *region, uint64_t index,
                                     hlc time, const char *basis)
{
    return change(CONTROL_AUTHORITY_SEIZED, partition, epoch, region, index, time, basis);
}

static struct authority_event released(const char *partition, uint64_t epoch, const char *region, hlc time,
                                       const char *successor)
{
    struct authority_event event = change(CONTROL_AUTHORITY_RELEASED, partition, epoch, region, 9, time, "");
    event.change.successor = bytes_of_string(successor);
    return event;
}

static void apply(struct authority_event event)
{
    struct err err = {0};
    cr_assert_eq(authority_apply(&table, &event, &err), 0, "%s", err.message);
}

static void expect_home(const char *partition, const char *region, uint64_t epoch)
{
    struct authority_now now;
    cr_assert_eq(authority_now(&table, BYTES_LITERAL("shop"), bytes_of_string(partition), &now, NULL), 0);
    cr_assert_str_eq(now.region, region);
    cr_assert_eq(now.epoch, epoch);
}

static void expect_released(const char *partition, const char *successor)
{
    struct authority_now now;
    cr_assert_eq(authority_now(&table, BYTES_LITERAL("shop"), bytes_of_string(partition), &now, NULL), 0);
    cr_assert_eq(now.released, successor[0] != '\0');
    cr_assert_str_eq(now.successor, successor);
}

static bool late(const char *partition, uint64_t epoch, const char *region, uint64_t incarnation, uint64_t index)
{
    return authority_is_late(&table, BYTES_LITERAL("shop"), bytes_of_string(partition), epoch, region, incarnation,
                             index);
}

/* --- Homes --- */

Test(authority_orders, the_highest_epoch_is_the_home)
{
    apply(seized("p", 3, "c", 5, 30, "a@4"));
    apply(seized("p", 2, "b", 5, 10, "a@4"));
    expect_home("p", "c", 3);
    expect_home("r", "a", 1);
}

Test(authority_orders, other_contexts_are_not_concerned)
{
    struct authority_event event = seized("p", 2, "b", 5, 10, "");
    event.context = BYTES_LITERAL("bank");
    apply(event);
    expect_home("p", "a", 1);
}

Test(authority_orders, of_two_incarnations_at_the_same_time_the_smaller_wins_whichever_comes_first)
{
    struct authority_event first = seized("p", 2, "b", 9, 10, "a@4");
    struct authority_event second = seized("p", 2, "b", 3, 10, "a@7");
    second.incarnation = 2;
    apply(second);
    apply(first);
    cr_assert_not(late("p", 1, "a", 1, 3));
    cr_assert(late("p", 1, "a", 1, 4));
}

/* --- Releases --- */

Test(authority_orders, a_release_that_comes_before_the_epoch_it_ends_counts_later)
{
    apply(released("p", 2, "b", 20, "c"));
    expect_home("p", "a", 1);
    expect_released("p", "");
    apply(seized("p", 2, "b", 5, 10, ""));
    expect_released("p", "c");
}

Test(authority_orders, of_two_releases_the_earlier_counts)
{
    apply(released("p", 1, "a", 12, "c"));
    apply(released("p", 1, "a", 11, "b"));
    apply(released("p", 1, "a", 13, "c"));
    expect_released("p", "b");
}

Test(authority_orders, a_release_of_one_partition_under_a_home_of_all_counts_for_that_one)
{
    apply(seized("*", 2, "b", 5, 10, ""));
    apply(released("p", 2, "b", 11, "c"));
    expect_released("p", "c");
    expect_released("r", "");
}

/* --- All partitions --- */

Test(authority_orders, a_change_of_all_that_knew_of_own_ones_does_not_speak_of_that_partition)
{
    apply(seized("*", 2, "b", 5, 10, ""));
    apply(seized("p", 3, "c", 5, 20, "b@6"));
    apply(seized("*", 4, "b", 7, 30, "c@6"));
    expect_home("p", "c", 3);
    expect_home("r", "b", 4);
    cr_assert(late("p", 4, "b", 1, 8));
    cr_assert_not(late("r", 4, "b", 1, 8));
}

Test(authority_orders, a_change_of_all_that_knew_of_no_own_one_competes)
{
    apply(seized("p", 2, "c", 5, 20, ""));
    apply(seized("*", 2, "b", 5, 10, ""));
    expect_home("p", "b", 2);
    cr_assert(late("p", 2, "c", 1, 8));
    apply(seized("p", 3, "c", 9, 21, "c@9"));
    expect_home("p", "c", 3);
    cr_assert_not(late("p", 2, "c", 1, 8), "epoch 3 rests on it");
    cr_assert(late("p", 2, "b", 1, 8), "and knew nothing of this");
}

/* --- What the present home rests on --- */

Test(authority_orders, who_goes_on_from_a_loser_makes_its_entries_count)
{
    apply(seized("p", 2, "b", 5, 20, "a@4"));
    apply(seized("p", 2, "c", 5, 10, "a@6"));
    cr_assert(late("p", 2, "b", 1, 6), "c was earlier");
    apply(seized("p", 3, "a", 9, 30, "a@9,b@8"));
    cr_assert_not(late("p", 2, "b", 1, 6));
    cr_assert(late("p", 2, "c", 1, 6), "a had not heard of it");
    cr_assert(late("p", 1, "a", 1, 5), "nor had b of this");
}

Test(authority_orders, a_change_that_turns_up_later_changes_nothing_below_the_present_home)
{
    apply(seized("p", 2, "b", 5, 20, "a@4"));
    apply(seized("p", 3, "a", 9, 30, "a@9,b@8"));
    struct authority_event event = seized("p", 2, "c", 5, 10, "a@6");
    cr_assert_eq(authority_affected_from(&table, &event, "b", 1), UINT64_MAX);
    apply(event);
    cr_assert_not(late("p", 2, "b", 1, 6));
    expect_home("p", "a", 3);
}

Test(authority_orders, a_release_counts_though_a_change_of_all_took_the_partition)
{
    apply(seized("p", 2, "c", 5, 20, ""));
    apply(seized("*", 2, "b", 5, 10, ""));
    apply(released("p", 2, "b", 30, "c"));
    expect_released("p", "c");
}

Test(authority_orders, own_changes_stand_when_all_began_that_epoch_after)
{
    apply(seized("*", 2, "b", 5, 20, ""));
    apply(seized("p", 2, "c", 5, 10, ""));
    expect_home("p", "c", 2);
    expect_home("r", "b", 2);
}

/* --- Late --- */

Test(authority_orders, a_log_that_the_basis_does_not_name_counts_as_0)
{
    apply(seized("p", 2, "b", 5, 10, "a@4"));
    cr_assert(late("p", 1, "a", 2, 0));
}

Test(authority_orders, without_any_change_a_new_incarnation_of_the_home_is_not_late)
{
    cr_assert_not(late("p", 1, "a", 2, 0));
}

Test(authority_orders, what_another_region_accepts_is_late)
{
    cr_assert(late("p", 1, "b", 1, 0));
    cr_assert(late("p", 2, "a", 1, 0));
}

Test(authority_orders, what_follows_the_change_in_its_log_is_not_late)
{
    apply(seized("p", 2, "b", 5, 10, "a@4"));
    cr_assert_not(late("p", 2, "b", 1, 6));
    cr_assert_not(late("p", 2, "b", 2, 0));
}

Test(authority_orders, what_claims_an_epoch_before_it_began_is_late)
{
    struct authority_event event = seized("p", 2, "b", 5, 10, "a@4");
    event.incarnation = 2;
    apply(event);
    cr_assert(late("p", 2, "b", 2, 4));
    cr_assert(late("p", 2, "b", 1, 1000));
    cr_assert_not(late("p", 2, "b", 3, 0));
}

Test(authority_orders, in_the_log_of_the_change_its_own_place_counts_not_the_basis)
{
    apply(seized("p", 2, "a", 8, 10, "a@4,b@7"));
    cr_assert_not(late("p", 1, "a", 1, 7));
    cr_assert(late("p", 1, "a", 1, 9));
}

Test(authority_orders, the_loser_makes_nothing_late)
{
    apply(seized("p", 2, "c", 5, 11, "a@2"));
    cr_assert(late("p", 1, "a", 1, 3));
    apply(seized("p", 2, "b", 5, 10, "a@4"));
    cr_assert_not(late("p", 1, "a", 1, 3));
    cr_assert(late("p", 1, "a", 1, 4));
}

Test(authority_orders, every_later_winner_counts)
{
    apply(seized("p", 2, "b", 5, 10, "a@9"));
    apply(seized("p", 4, "c", 5, 20, "a@3,b@8"));
    cr_assert(late("p", 1, "a", 1, 3));
    cr_assert_not(late("p", 2, "b", 1, 7));
    cr_assert(late("p", 2, "b", 1, 8));
}

Test(authority_orders, a_span_says_the_same_as_asking_one_by_one)
{
    apply(seized("p", 2, "b", 5, 10, "a@4"));
    apply(seized("p", 3, "c", 5, 10, "b@12"));
    struct authority_span span = authority_span(&table, BYTES_LITERAL("shop"), BYTES_LITERAL("p"), 2, "b", 1);
    cr_assert_eq(span.begin, 5);
    cr_assert_eq(span.end, 12);
    span = authority_span(&table, BYTES_LITERAL("shop"), BYTES_LITERAL("p"), 2, "c", 1);
    cr_assert_eq(span.end, 0);
}

/* --- Ready --- */

Test(authority_orders, a_release_is_always_ready)
{
    struct authority_event event = released("p", 1, "a", 10, "b");
    struct position nothing = {0};
    cr_assert(authority_ready(&table, &event, &nothing));
}

/* --- Events --- */

static struct entry entry_of(enum control_kind kind, uint64_t epoch)
{
    return (struct entry){.index = 5,
                          .time = 10,
                          .flags = ENTRY_FLAG_CONTROL,
                          .context = BYTES_LITERAL("shop"),
                          .partition = BYTES_LITERAL("p"),
                          .type = bytes_of_string(control_type(kind)),
                          .epoch = epoch};
}

static int event_of(struct entry entry, struct bytes payload, struct authority_event *ret)
{
    static const struct origin origin = {.cluster = "t", .region = "b", .incarnation = 3};
    return authority_event_of(&entry, payload, &origin, ret, NULL);
}

Test(authority_orders, an_event_has_what_entry_log_and_payload_say)
{
    struct authority_event event;
    cr_assert_eq(event_of(entry_of(CONTROL_AUTHORITY_SEIZED, 2), BYTES_LITERAL("\x12\3a@4"), &event), 0);
    cr_assert_eq(event.kind, CONTROL_AUTHORITY_SEIZED);
    cr_assert_str_eq(event.region, "b");
    cr_assert_eq(event.incarnation, 3);
    cr_assert_eq(event.index, 5);
    cr_assert_eq(event.epoch, 2);
    cr_assert_eq(event.time, 10);
    cr_assert_eq(position_get(&event.change.basis, "a", 1), 4);
}

Test(authority_orders, what_is_no_authority_event_is_told_apart)
{
    struct authority_event event = {.kind = CONTROL_AUTHORITY_TAKEN};
    cr_assert_eq(event_of(entry_of(CONTROL_LATE_SETTLED, 2), BYTES_LITERAL(""), &event), 0);
    cr_assert_eq(event.kind, CONTROL_UNKNOWN);
    struct entry client = entry_of(CONTROL_AUTHORITY_TAKEN, 2);
    client.flags = 0;
    event.kind = CONTROL_AUTHORITY_TAKEN;
    cr_assert_eq(event_of(client, BYTES_LITERAL(""), &event), 0);
    cr_assert_eq(event.kind, CONTROL_UNKNOWN);
}

Test(authority_orders, epochs_out_of_bounds_are_refused)
{
    struct authority_event event = {.index = 77};
    struct bytes none = BYTES_LITERAL("");
    struct bytes to_c = BYTES_LITERAL("\x0a\1c");
    cr_assert_eq(event_of(entry_of(CONTROL_AUTHORITY_TAKEN, 1), none, &event), ERR_CORRUPT);
    cr_assert_eq(event_of(entry_of(CONTROL_AUTHORITY_TAKEN, AUTHORITY_EPOCH_MAX + 1), none, &event), ERR_CORRUPT);
    cr_assert_eq(event_of(entry_of(CONTROL_AUTHORITY_RELEASED, 0), to_c, &event), ERR_CORRUPT);
    cr_assert_eq(event_of(entry_of(CONTROL_AUTHORITY_TAKEN, 2), BYTES_LITERAL("x"), &event), ERR_CORRUPT);
    cr_assert_eq(event.index, 77);
    cr_assert_eq(event_of(entry_of(CONTROL_AUTHORITY_TAKEN, AUTHORITY_EPOCH_MAX), none, &event), 0);
    cr_assert_eq(event_of(entry_of(CONTROL_AUTHORITY_RELEASED, 1), to_c, &event), 0);
}

/* --- Limits and failures --- */

Test(authority_orders, more_releases_of_one_epoch_than_the_limit_are_refused)
{
    char region[16];
    int code = 0;
    size_t accepted = 0;
    for (; code == 0; accepted++) {
        snprintf(region, sizeof(region), "r%zu", accepted);
        struct authority_event event = released("p", 1, region, 10, "b");
        code = authority_apply(&table, &event, NULL);
    }
    cr_assert_eq(code, ERR_TOO_LARGE);
    cr_assert_eq(accepted - 1, 64);
    apply(released("p", 1, "r3", 9, "c"));
}

Test(authority_orders, running_out_of_memory_changes_nothing)
{
    apply(seized("p", 2, "b", 5, 10, "a@4"));
    struct authority_event events[] = {seized("p", 2, "c", 5, 9, "a@6"), seized("p", 3, "c", 5, 12, "a@6"),
                                       released("p", 2, "b", 11, "c"), seized("*", 2, "c", 5, 50, "a@1")};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        int code = ERR_NO_MEMORY;
        for (uint64_t at = 1; code != 0; at++) {
            mem_fail_at(at);
            code = authority_apply(&table, &events[i], NULL);
            mem_fail_at(0);
            if (code == 0)
                break;
            cr_assert_eq(code, ERR_NO_MEMORY);
            if (i == 0)
                expect_home("p", "b", 2);
        }
    }
    expect_home("p", "c", 3);
}

/* --- Walking --- */

/* --- Any order --- */

enum { EVENTS = 14, SIZES = 12, EPOCHS = 5, ROUNDS = 1500, LOGS = 9, LIVES = 3 };

static const char *const partition_names[] = {"p", "q", "*"};
static const char *const region_names[] = {"a", "b", "c"};

static uint64_t life_of(size_t log)
{
    return 1 + log / 3;
}

/* Of every log, or of those of one region before one of its lives. */
static struct position random_basis(struct prng *prng, const char *region, uint64_t before)
{
    struct position basis = {.count = 0};
    for (size_t log = 0; log < LOGS; log++) {
        const char *name = region_names[log % 3];
        uint64_t size = prng_below(prng, SIZES) * prng_below(prng, 2);
        if (region == NULL || (strcmp(region, name) == 0 && life_of(log) < before))
            cr_assert_eq(position_set(&basis, name, life_of(log), size), 0);
    }
    return basis;
}

/* The first entry of a later log says what it continues. */
static struct authority_event continued(const char *region, uint64_t incarnation, struct position basis)
{
    return (struct authority_event){.kind = CONTROL_LOG_CONTINUED,
                                    .context = bytes_of_string(CONTROL_SYSTEM_CONTEXT),
                                    .partition = BYTES_LITERAL("*"),
                                    .epoch = 1,
                                    .region = region,
                                    .incarnation = incarnation,
                                    .change = {.basis = basis}};
}

/* No two events have one place; of one life two may tell different things, which a log cannot. */
static struct authority_event random_event(struct prng *prng, uint64_t index)
{
    const char *partition = partition_names[prng_below(prng, 3)];
    const char *region = region_names[prng_below(prng, 3)];
    hlc time = 1 + prng_below(prng, 6);
    struct authority_event event;
    if (prng_below(prng, 5) == 0)
        event = released(partition, 1 + prng_below(prng, EPOCHS), region, time, region_names[prng_below(prng, 3)]);
    else
        event = seized(partition, 2 + prng_below(prng, EPOCHS), region, index, time, "");
    if (event.kind != CONTROL_AUTHORITY_RELEASED)
        event.change.basis = random_basis(prng, NULL, 0);
    event.incarnation = 1 + prng_below(prng, LIVES);
    event.index = index;
    return event;
}

static void expect_same(const struct authority_table *one, const struct authority_table *two, unsigned long long seed)
{
    for (size_t p = 0; p < 3; p++) {
        struct bytes context = BYTES_LITERAL("shop");
        struct bytes partition = bytes_of_string(partition_names[p]);
        struct authority_now a;
        struct authority_now b;
        cr_assert_eq(authority_now(one, context, partition, &a, NULL), 0);
        cr_assert_eq(authority_now(two, context, partition, &b, NULL), 0);
        cr_assert_str_eq(a.region, b.region, "seed %llu", seed);
        cr_assert_eq(a.epoch, b.epoch, "seed %llu", seed);
        cr_assert_eq(a.released, b.released, "seed %llu", seed);
        cr_assert_str_eq(a.successor, b.successor, "seed %llu", seed);
        for (uint64_t epoch = 1; epoch <= EPOCHS + 1; epoch++) {
            for (size_t log = 0; log < LOGS; log++) {
                struct authority_span s =
                    authority_span(one, context, partition, epoch, region_names[log % 3], life_of(log));
                struct authority_span t =
                    authority_span(two, context, partition, epoch, region_names[log % 3], life_of(log));
                cr_assert_eq(s.begin, t.begin, "seed %llu", seed);
                cr_assert_eq(s.end, t.end, "seed %llu", seed);
            }
        }
    }
}

Test(authority_orders, any_order_and_any_repetition_gives_the_same)
{
    for (unsigned long long seed = 1; seed <= ROUNDS / 10; seed++) {
        struct prng prng;
        struct authority_event events[EVENTS];
        struct authority_table other;
        prng_seed(&prng, seed);
        for (size_t i = 0; i < EVENTS; i++)
            events[i] = random_event(&prng, 1 + i);
        for (size_t log = 3; log < LOGS; log++) {
            const char *region = region_names[log % 3];
            if (prng_below(&prng, 2) == 0)
                events[log] = continued(region, life_of(log), random_basis(&prng, region, life_of(log)));
        }
        tear_down();
        set_up();
        authority_table_init(&other, &known);
        for (size_t i = 0; i < EVENTS; i++)
            apply(events[i]);
        for (size_t i = EVENTS; i > 0; i--) {
            size_t at = prng_below(&prng, i);
            cr_assert_eq(authority_apply(&other, &events[at], NULL), 0);
            if (prng_below(&prng, 3) == 0)
                cr_assert_eq(authority_apply(&other, &events[at], NULL), 0);
            struct authority_event swapped = events[at];
            events[at] = events[i - 1];
            events[i - 1] = swapped;
        }
        expect_same(&table, &other, seed);
        authority_table_free(&other);
    }
}

/* What the event makes late, or late no more, in one log lies at or past what authority_affected_from said. */
static void expect_affected(const struct authority_table *before, const struct authority_table *after,
                            const struct authority_event *event, size_t log, unsigned long long seed)
{
    const char *region = region_names[log % 3];
    uint64_t incarnation = life_of(log);
    bool life = event->kind == CONTROL_LOG_CONTINUED;
    uint64_t from = authority_affected_from(before, event, region, incarnation);
    for (size_t p = 0; p < 2; p++) {
        struct bytes partition = bytes_of_string(partition_names[p]);
        bool concerned =
            life || bytes_equal(event->partition, partition) || bytes_equal(event->partition, BYTES_LITERAL("*"));
        for (uint64_t epoch = 1; epoch <= EPOCHS + 1; epoch++) {
            for (uint64_t index = 0; index < 2 * SIZES; index++) {
                bool was =
                    authority_is_late(before, BYTES_LITERAL("shop"), partition, epoch, region, incarnation, index);
                bool is = authority_is_late(after, BYTES_LITERAL("shop"), partition, epoch, region, incarnation, index);
                if (was != is)
                    cr_assert(concerned && index >= from, "seed %llu", seed);
            }
        }
    }
}

/* Where the next event of each log can be: past those before it, and past what others have rested on. */
static void place_event(struct prng *prng, struct authority_event *event, uint64_t next[LOGS])
{
    size_t own = 0;
    for (size_t log = 0; log < LOGS; log++) {
        if (strcmp(event->region, region_names[log % 3]) == 0 && event->incarnation == life_of(log))
            own = log;
    }
    bool begins = next[own] == 0 && event->incarnation > 1 && prng_below(prng, 2) == 0;
    if (begins)
        *event = continued(event->region, event->incarnation, random_basis(prng, event->region, event->incarnation));
    for (size_t log = 0; log < LOGS; log++) {
        uint64_t size = position_get(&event->change.basis, region_names[log % 3], life_of(log));
        next[log] = size > next[log] ? size : next[log];
    }
    event->index = begins ? 0 : 1 + next[own] + prng_below(prng, 3);
    next[own] = event->index + 1;
}

Test(authority_orders, nothing_changes_before_the_place_that_a_change_names)
{
    for (unsigned long long seed = 1; seed <= ROUNDS; seed++) {
        struct prng prng;
        struct authority_table before;
        uint64_t next[LOGS] = {0};
        prng_seed(&prng, seed);
        tear_down();
        set_up();
        authority_table_init(&before, &known);
        for (size_t i = 0; i < LOGS; i++) {
            struct authority_event event = random_event(&prng, 0);
            place_event(&prng, &event, next);
            apply(event);
            for (size_t log = 0; log < LOGS; log++)
                expect_affected(&before, &table, &event, log, seed);
            cr_assert_eq(authority_apply(&before, &event, NULL), 0);
        }
        authority_table_free(&before);
    }
}

Test(authority_orders, an_ordinary_change_affects_nothing_below_its_basis)
{
    apply(seized("p", 2, "b", 5, 10, "a@4"));
    apply(seized("r", 7, "b", 6, 11, "a@1"));
    struct authority_event event = seized("p", 3, "c", 8, 20, "a@5,b@30");
    cr_assert_eq(authority_affected_from(&table, &event, "a", 1), 5);
    cr_assert_eq(authority_affected_from(&table, &event, "b", 1), 30);
    cr_assert_eq(authority_affected_from(&table, &event, "c", 1), 8);
    struct authority_event release = released("p", 2, "b", 20, "c");
    cr_assert_eq(authority_affected_from(&table, &release, "b", 1), UINT64_MAX);
}
