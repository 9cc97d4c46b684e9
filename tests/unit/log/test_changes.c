/* Changes of authority as an auditor keeps them: who held an epoch in good faith, and who counts. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "verify/changes.h"

enum { EU, US, US_2, LOGS };

static struct cluster *cluster;
static struct changes changes;
static const struct context_home homes[] = {{.partition = "q", .region = "us"}};
static const struct context bank = {.name = "bank", .default_home = "eu", .home_count = 1, .homes = homes};
static const struct context_table contexts = {.count = 1, .contexts = &bank};

#define BANK BYTES_LITERAL("bank")
#define ALL  BYTES_LITERAL("*")
#define P    BYTES_LITERAL("p")
#define Q    BYTES_LITERAL("q")

static void setup(void)
{
    static const struct origin origins[LOGS] = {{"bank", "eu", 1}, {"bank", "us", 1}, {"bank", "us", 2}};
    cluster = mem_alloc_zero(1, sizeof(*cluster));
    cluster->log_count = LOGS;
    for (size_t i = 0; i < LOGS; i++)
        cluster->logs[i].origin = origins[i];
    changes_init(&changes, cluster, &contexts);
}

static void teardown(void)
{
    changes_free(&changes);
    mem_free(cluster);
}

TestSuite(changes, .init = setup, .fini = teardown);

static void add(size_t log, uint64_t index, enum control_kind kind, struct bytes partition, uint64_t epoch,
                const char *basis)
{
    struct control_authority said = {.actor = BYTES_LITERAL("operator")};
    struct buf payload;
    buf_init(&payload, CONTROL_PAYLOAD_MAX_BYTES);
    if (kind == CONTROL_AUTHORITY_RELEASED)
        said.successor = bytes_of_string(basis);
    else
        cr_assert_eq(position_parse(bytes_of_string(basis), &said.basis, NULL), 0);
    cr_assert_eq(control_authority_encode(kind, &said, &payload, NULL), 0);
    struct chain_entry entry = {.frame = {.has_payload = true, .payload = buf_bytes(&payload)},
                                .entry = {.index = index,
                                          .time = 100 * (log + 1) + index,
                                          .context = BANK,
                                          .partition = partition,
                                          .type = bytes_of_string(control_type(kind)),
                                          .epoch = epoch,
                                          .flags = ENTRY_FLAG_CONTROL}};
    cr_assert_eq(changes_add(&changes, log, &entry, NULL), 0);
    buf_free(&payload);
}

Test(changes, the_home_of_epoch_1_is_that_of_the_contexts)
{
    cr_assert_eq(changes_held_from(&changes, BANK, P, 1, EU), 0);
    cr_assert_eq(changes_held_from(&changes, BANK, P, 1, US), UINT64_MAX);
    cr_assert_eq(changes_held_from(&changes, BANK, Q, 1, US_2), 0);
    cr_assert(changes_begun(&changes, BANK, P, 1));
    cr_assert_not(changes_begun(&changes, BANK, P, 2));
}

Test(changes, a_region_holds_an_epoch_from_its_own_change_on_in_this_and_later_incarnations)
{
    add(US, 5, CONTROL_AUTHORITY_SEIZED, ALL, 2, "eu@3,us@5");
    changes_settle(&changes);
    cr_assert_eq(changes_held_from(&changes, BANK, P, 2, US), 5);
    cr_assert_eq(changes_held_from(&changes, BANK, P, 2, US_2), 0);
    cr_assert_eq(changes_held_from(&changes, BANK, P, 2, EU), UINT64_MAX);
    cr_assert_eq(changes_held_from(&changes, BANK, Q, 2, US), UINT64_MAX, "q has a home of its own");
    cr_assert(changes_begun(&changes, BANK, P, 2));
    cr_assert_not(changes_begun(&changes, BANK, Q, 2));
}

Test(changes, one_that_lost_is_kept_but_does_not_count)
{
    add(US, 5, CONTROL_AUTHORITY_SEIZED, ALL, 2, "eu@3,us@5");
    add(EU, 9, CONTROL_AUTHORITY_SEIZED, ALL, 2, "eu@9");
    changes_settle(&changes);
    cr_assert_not(changes.list[0]->counts);
    cr_assert(changes.list[1]->counts);
    cr_assert_eq(changes_held_from(&changes, BANK, P, 2, US), 5);
    cr_assert_eq(changes_overtaking(&changes, BANK, P, 2, US, 6), changes.list[1]);
}

Test(changes, what_is_late_is_explained_by_the_change_whose_basis_ends_it)
{
    add(US, 5, CONTROL_AUTHORITY_SEIZED, ALL, 2, "eu@3,us@5");
    changes_settle(&changes);
    cr_assert_null(changes_overtaking(&changes, BANK, P, 1, EU, 2));
    cr_assert_eq(changes_overtaking(&changes, BANK, P, 1, EU, 3), changes.list[0]);
    cr_assert_null(changes_overtaking(&changes, BANK, Q, 1, EU, 3));
}

Test(changes, a_taking_rests_on_what_lies_below_its_basis)
{
    add(EU, 4, CONTROL_AUTHORITY_RELEASED, P, 1, "us");
    const struct change *release = changes_find(&changes, false, BANK, P, 1);
    cr_assert_eq(release, changes.list[0]);
    cr_assert_null(changes_find(&changes, false, BANK, ALL, 1));
    struct authority_event taking = {.index = 7};
    cr_assert_eq(position_parse(BYTES_LITERAL("eu@4"), &taking.change.basis, NULL), 0);
    cr_assert_not(changes_rest_on(&taking, US, release, &changes));
    cr_assert_eq(position_parse(BYTES_LITERAL("eu@5"), &taking.change.basis, NULL), 0);
    cr_assert(changes_rest_on(&taking, US, release, &changes));
    cr_assert(changes_rest_on(&taking, EU, release, &changes), "before it in the same log");
}

Test(changes, what_is_malformed_or_no_change_is_left_out)
{
    struct chain_entry entry = {.frame = {.has_payload = true, .payload = BYTES_LITERAL("\x12")},
                                .entry = {.context = BANK,
                                          .partition = ALL,
                                          .type = BYTES_LITERAL("$AuthoritySeized"),
                                          .epoch = 2,
                                          .flags = ENTRY_FLAG_CONTROL}};
    cr_assert_eq(changes_add(&changes, US, &entry, NULL), 0);
    entry.entry.flags = 0;
    cr_assert_eq(changes_add(&changes, US, &entry, NULL), 0);
    cr_assert_eq(changes.count, 0);
}
