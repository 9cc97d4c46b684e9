/* The fold of authority against the rules in authority.h, on one small history at a time. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "domain/authority.h"

static const struct context_home homes[] = {{"JP", "asia"}};
static const struct context contexts[] = {{.name = "payments", .default_home = "eu", .home_count = 1, .homes = homes}};
static const struct context_table context_table = {.count = 1, .contexts = contexts};

static struct authority_table table;

static void setup(void)
{
    authority_table_init(&table, &context_table);
}

static void teardown(void)
{
    authority_table_free(&table);
}

TestSuite(authority, .init = setup, .fini = teardown);

static struct authority_event change(enum control_kind kind, const char *partition, uint64_t epoch, const char *region,
                                     hlc time, const char *basis)
{
    struct authority_event event = {.kind = kind,
                                    .context = BYTES_LITERAL("payments"),
                                    .partition = bytes_of_string(partition),
                                    .epoch = epoch,
                                    .region = region,
                                    .incarnation = 1,
                                    .index = 500,
                                    .time = time};
    cr_assert_eq(position_parse(bytes_of_string(basis), &event.change.basis, NULL), 0, "%s", basis);
    return event;
}

static struct authority_event seized(const char *partition, uint64_t epoch, const char *region, hlc time,
                                     const char *basis)
{
    return change(CONTROL_AUTHORITY_SEIZED, partition, epoch, region, time, basis);
}

static struct authority_event released(const char *partition, uint64_t epoch, const char *region, const char *successor)
{
    struct authority_event event = change(CONTROL_AUTHORITY_RELEASED, partition, epoch, region, 50, "");
    event.change.successor = bytes_of_string(successor);
    return event;
}

static void apply(struct authority_event event)
{
    struct err err = {0};
    cr_assert_eq(authority_apply(&table, &event, &err), 0, "%s", err.message);
}

static struct authority_now now_of(const char *partition)
{
    struct authority_now now = {0};
    struct err err = {0};
    int code = authority_now(&table, BYTES_LITERAL("payments"), bytes_of_string(partition), &now, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    return now;
}

static void expect_home(const char *partition, const char *region, uint64_t epoch)
{
    struct authority_now now = now_of(partition);
    cr_assert_str_eq(now.region, region, "%s is at %s", partition, now.region);
    cr_assert_eq(now.epoch, epoch, "%s is in epoch %llu", partition, (unsigned long long)now.epoch);
}

static bool away(const char *partition, const char *region, uint64_t incarnation, uint64_t index)
{
    return authority_was_away(&table, BYTES_LITERAL("payments"), bytes_of_string(partition), region, incarnation,
                              index);
}

static bool late(const char *partition, uint64_t epoch, const char *region, uint64_t incarnation, uint64_t index)
{
    return authority_is_late(&table, BYTES_LITERAL("payments"), bytes_of_string(partition), epoch, region, incarnation,
                             index);
}

/* --- Homes and epochs --- */

Test(authority, before_any_change_the_contexts_homes_hold)
{
    expect_home("DE", "eu", 1);
    expect_home("JP", "asia", 1);
    cr_assert_not(late("DE", 1, "eu", 1, 1000));
    cr_assert(late("DE", 1, "us", 1, 0), "nobody else is the home");
    cr_assert(late("DE", 2, "eu", 1, 0), "an epoch that nobody began");
}

Test(authority, an_unknown_context_is_not_found)
{
    struct authority_now now = {.epoch = 77};
    cr_assert_eq(authority_now(&table, BYTES_LITERAL("orders"), BYTES_LITERAL("DE"), &now, NULL), ERR_NOT_FOUND);
    cr_assert_eq(now.epoch, 77);
}

Test(authority, a_seizure_moves_one_partition)
{
    apply(seized("DE", 2, "us", 100, "eu@10"));
    expect_home("DE", "us", 2);
    expect_home("FR", "eu", 1);
}

Test(authority, a_change_of_the_star_moves_all_that_have_no_home_of_their_own)
{
    apply(seized("*", 2, "us", 100, "eu@10"));
    expect_home("DE", "us", 2);
    expect_home("FR", "us", 2);
    expect_home("JP", "asia", 1);
}

Test(authority, own_changes_follow_those_of_the_star)
{
    apply(seized("*", 2, "us", 100, "eu@10"));
    apply(seized("DE", 3, "eu", 200, "eu@20,us@30"));
    expect_home("DE", "eu", 3);
    expect_home("FR", "us", 2);
}

Test(authority, a_change_of_the_star_competes_where_nobody_knew_of_the_other)
{
    apply(seized("DE", 2, "asia", 200, "eu@10"));
    expect_home("DE", "asia", 2);
    apply(seized("*", 2, "us", 100, "eu@10"));
    expect_home("DE", "us", 2);
}

Test(authority, a_release_waits_for_its_successor)
{
    apply(released("DE", 1, "eu", "us"));
    struct authority_now now = now_of("DE");
    cr_assert(now.released);
    cr_assert_str_eq(now.successor, "us");
    cr_assert_str_eq(now.region, "eu");
    apply(change(CONTROL_AUTHORITY_TAKEN, "DE", 2, "us", 100, "eu@501"));
    now = now_of("DE");
    cr_assert_not(now.released);
    cr_assert_str_eq(now.region, "us");
}

Test(authority, only_the_home_can_release)
{
    apply(released("DE", 1, "us", "asia"));
    cr_assert_not(now_of("DE").released);
    apply(released("DE", 2, "eu", "asia"));
    cr_assert_not(now_of("DE").released, "not an epoch to come either");
}

/* --- Winners --- */

Test(authority, the_earlier_of_two_seizures_wins_whichever_is_met_first)
{
    apply(seized("DE", 2, "us", 200, "eu@10"));
    apply(seized("DE", 2, "asia", 100, "eu@10"));
    expect_home("DE", "asia", 2);
    apply(seized("FR", 2, "asia", 100, "eu@10"));
    apply(seized("FR", 2, "us", 200, "eu@10"));
    expect_home("FR", "asia", 2);
}

Test(authority, at_one_time_the_smaller_region_name_wins)
{
    apply(seized("DE", 2, "us", 100, "eu@10"));
    apply(seized("DE", 2, "asia", 100, "eu@10"));
    expect_home("DE", "asia", 2);
}

Test(authority, the_losers_entries_are_late)
{
    apply(seized("DE", 2, "us", 200, "eu@10"));
    cr_assert_not(late("DE", 2, "us", 1, 600));
    apply(seized("DE", 2, "asia", 100, "eu@10"));
    cr_assert(late("DE", 2, "us", 1, 600));
    cr_assert_not(late("DE", 2, "asia", 1, 600));
}

/* --- Late entries --- */

Test(authority, entries_at_or_past_the_basis_are_late)
{
    apply(seized("DE", 2, "us", 100, "eu@10"));
    cr_assert_not(late("DE", 1, "eu", 1, 9));
    cr_assert(late("DE", 1, "eu", 1, 10));
    cr_assert(late("DE", 1, "eu", 1, 11));
    cr_assert_not(late("FR", 1, "eu", 1, 11), "another partition");
}

Test(authority, a_log_that_the_basis_does_not_name_counts_as_empty)
{
    apply(seized("DE", 2, "us", 100, "eu@10"));
    cr_assert(late("DE", 1, "eu", 2, 0), "a new incarnation");
}

Test(authority, the_smallest_basis_of_all_later_epochs_counts)
{
    apply(seized("DE", 2, "us", 100, "eu@10"));
    apply(seized("DE", 3, "asia", 200, "eu@5,us@510"));
    cr_assert_not(late("DE", 1, "eu", 1, 4));
    cr_assert(late("DE", 1, "eu", 1, 5));
    cr_assert_not(late("DE", 2, "us", 1, 509));
    cr_assert(late("DE", 2, "us", 1, 510));
}

Test(authority, a_region_is_away_wherever_it_is_late_under_every_epoch)
{
    apply(seized("DE", 2, "us", 100, "eu@10"));
    cr_expect_not(away("DE", "eu", 1, 9));
    cr_expect(away("DE", "eu", 1, 10));
    cr_expect(away("DE", "us", 1, 499));
    cr_expect_not(away("DE", "us", 1, 500));
    struct authority_event back = seized("DE", 3, "eu", 200, "eu@20,us@510");
    back.index = 30;
    apply(back);
    cr_expect(away("DE", "eu", 1, 10), "what came too late stays so when the region is the home again");
    cr_expect(away("DE", "eu", 1, 29));
    cr_expect_not(away("DE", "eu", 1, 30));
    cr_expect_not(away("DE", "us", 1, 509));
    cr_expect(away("DE", "us", 1, 510));
    cr_expect_not(away("JP", "asia", 1, 0), "the home that the context gives");
    cr_expect(away("JP", "eu", 1, 0));
}

/* --- One table whatever the order --- */

enum { EVENTS = 6 };

static void fill_history(struct authority_event out[EVENTS])
{
    out[0] = seized("*", 2, "us", 100, "eu@10");
    out[1] = seized("DE", 2, "asia", 150, "eu@12");
    out[2] = seized("DE", 3, "asia", 200, "eu@12,us@510");
    out[3] = seized("DE", 3, "eu", 190, "eu@20,us@505");
    out[4] = released("DE", 3, "eu", "us");
    out[5] = seized("FR", 2, "asia", 90, "eu@8");
}

static uint64_t answers(void)
{
    const char *partitions[] = {"DE", "FR", "IT", "JP", "*"};
    const char *regions[] = {"eu", "us", "asia"};
    struct buf text;
    buf_init(&text, 65536);
    for (size_t p = 0; p < 5; p++) {
        struct authority_now now = now_of(partitions[p]);
        cr_assert_eq(buf_append_format(&text, "%s %llu %d %s\n", now.region, (unsigned long long)now.epoch,
                                       now.released, now.successor),
                     0);
        for (uint64_t epoch = 1; epoch <= 3; epoch++) {
            for (size_t r = 0; r < 3; r++) {
                for (uint64_t index = 0; index < 25; index++)
                    cr_assert_eq(buf_append_byte(&text, late(partitions[p], epoch, regions[r], 1, index) ? 'l' : '.'),
                                 0);
            }
        }
    }
    uint64_t digest = crc32c(0, buf_bytes(&text));
    buf_free(&text);
    return digest;
}

/* And home under one epoch at most. */
static void expect_away_where_late(void)
{
    const char *partitions[] = {"DE", "FR", "IT", "JP", "*"};
    const char *regions[] = {"eu", "us", "asia"};
    for (size_t p = 0; p < 5; p++) {
        for (size_t r = 0; r < 3; r++) {
            for (uint64_t index = 0; index < 520; index++) {
                size_t counts = 0;
                for (uint64_t epoch = 1; epoch <= 3; epoch++)
                    counts += !late(partitions[p], epoch, regions[r], 1, index);
                cr_assert_eq(away(partitions[p], regions[r], 1, index), counts == 0, "%s in %s at %llu", partitions[p],
                             regions[r], (unsigned long long)index);
            }
        }
    }
}

static void permute(struct authority_event *events, size_t at, uint64_t expected, size_t *tried)
{
    if (at == EVENTS) {
        authority_table_free(&table);
        setup();
        for (size_t i = 0; i < EVENTS; i++)
            apply(events[i]);
        apply(events[*tried % EVENTS]); /* and one of them twice */
        cr_assert_eq(answers(), expected, "order %zu", *tried);
        ++*tried;
        return;
    }
    for (size_t i = at; i < EVENTS; i++) {
        struct authority_event held = events[at];
        events[at] = events[i];
        events[i] = held;
        permute(events, at + 1, expected, tried);
        events[i] = events[at];
        events[at] = held;
    }
}

Test(authority, the_answers_are_the_same_in_all_orders)
{
    static struct authority_event events[EVENTS];
    size_t tried = 0;
    fill_history(events);
    for (size_t i = 0; i < EVENTS; i++)
        apply(events[i]);
    expect_home("FR", "asia", 2);
    expect_home("IT", "us", 2);
    expect_away_where_late();
    permute(events, 0, answers(), &tried);
    cr_assert_eq(tried, 720);
}

/* --- Events --- */

Test(authority, a_change_is_ready_once_its_basis_is_applied)
{
    struct authority_event event = seized("DE", 2, "us", 100, "eu@10,us@5");
    struct position applied;
    cr_assert_eq(position_parse(BYTES_LITERAL("eu@9,us@500"), &applied, NULL), 0);
    cr_assert_not(authority_ready(&table, &event, &applied));
    cr_assert_eq(position_set(&applied, "eu", 1, 10), 0);
    cr_assert(authority_ready(&table, &event, &applied));
    event = released("DE", 1, "eu", "us");
    applied.count = 0;
    cr_assert(authority_ready(&table, &event, &applied), "a release rests on nothing");
}

Test(authority, an_event_is_read_from_an_entry)
{
    const struct origin origin = {.cluster = "demo", .region = "us", .incarnation = 3};
    struct entry entry = {.index = 7,
                          .time = 99,
                          .context = BYTES_LITERAL("payments"),
                          .partition = BYTES_LITERAL("DE"),
                          .type = BYTES_LITERAL("$AuthoritySeized"),
                          .epoch = 2,
                          .flags = ENTRY_FLAG_CONTROL};
    struct authority_event event;
    struct bytes payload = BYTES_LITERAL("\x12\x05"
                                         "eu@10");
    cr_assert_eq(authority_event_of(&entry, payload, &origin, &event, NULL), 0);
    cr_assert_eq(event.kind, CONTROL_AUTHORITY_SEIZED);
    cr_assert_str_eq(event.region, "us");
    cr_assert_eq(event.incarnation, 3);
    cr_assert_eq(event.index, 7);
    cr_assert_eq(position_get(&event.change.basis, "eu", 1), 10);
    entry.epoch = 1;
    cr_assert_eq(authority_event_of(&entry, payload, &origin, &event, NULL), ERR_CORRUPT, "epoch 1 is never begun");
    entry.epoch = AUTHORITY_EPOCH_MAX + 1;
    cr_assert_eq(authority_event_of(&entry, payload, &origin, &event, NULL), ERR_CORRUPT);
    entry.epoch = 2;
    cr_assert_eq(authority_event_of(&entry, BYTES_LITERAL("\xFF"), &origin, &event, NULL), ERR_CORRUPT);
    entry.flags = 0;
    cr_assert_eq(authority_event_of(&entry, payload, &origin, &event, NULL), 0);
    cr_assert_eq(event.kind, CONTROL_UNKNOWN, "a client's event");
}

Test(authority, memory_that_runs_out_changes_no_answer)
{
    apply(seized("*", 2, "us", 100, "eu@10"));
    uint64_t before = answers();
    struct authority_event event = seized("DE", 3, "asia", 200, "eu@12,us@510");
    int code = ERR_NO_MEMORY;
    uint64_t failures = 0;
    for (uint64_t at = 1; code != 0; at++) {
        mem_fail_at(at);
        code = authority_apply(&table, &event, NULL);
        mem_fail_at(0);
        cr_assert(code == 0 || code == ERR_NO_MEMORY);
        cr_assert(code == 0 || answers() == before, "allocation %llu", (unsigned long long)at);
        failures += code != 0;
    }
    cr_assert_geq(failures, 2);
    expect_home("DE", "asia", 3);
}

Test(authority, the_walk_shows_every_winning_change_once)
{
    struct authority_event events[EVENTS];
    struct authority_walk at = {0};
    struct authority_record record;
    size_t count = 0;
    fill_history(events);
    for (size_t i = 0; i < EVENTS; i++)
        apply(events[i]);
    while (authority_next(&table, &at, &record)) {
        cr_assert(bytes_equal(record.context, BYTES_LITERAL("payments")));
        if (bytes_equal(record.partition, BYTES_LITERAL("DE")) && record.epoch == 3) {
            cr_assert_str_eq(record.region, "eu");
            cr_assert(record.released);
            cr_assert_str_eq(record.successor, "us");
            cr_assert_eq(record.basis_count, 2);
        }
        count++;
    }
    cr_assert_eq(count, 3, "asia's change of DE under epoch 2 was not known to eu");
}
