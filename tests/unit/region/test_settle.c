/* Settling: eu was lost with a tail that us did not have, us seized partition "north", and the tail came back. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "entry/frame.h"
#include "unit/region/fixture.h"

enum { LATE_ID = 2, OTHER_LATE_ID = 3 };

struct pair {
    struct site *eu;
    struct site *us;
    uint32_t mirror; /* us's number of eu's log */
};

static void give(struct pair *pair)
{
    site_meet(pair->us, pair->eu);
    site_send_blocks(pair->us, pair->eu, "eu");
    site_written_all(pair->us, pair->mirror);
    site_indexed(pair->us, pair->mirror);
}

static void control(struct site *site, enum region_control_type type, const char *other)
{
    struct order order;
    struct region_control wanted = {.type = type, .context = BYTES_LITERAL("bank"), .actor = BYTES_LITERAL("test")};
    snprintf(wanted.region, sizeof(wanted.region), "%s", other);
    wanted.partition_count = 1;
    wanted.partitions = &(struct bytes){(const uint8_t *)"north", 5};
    order_init(&order);
    order.command.control = &wanted;
    site_decide(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    site_indexed(site, 0);
}

/* Stream s has event 1 in eu's log from before the loss, and events 2 and 3 from after it. */
static struct pair reunited(void)
{
    struct pair pair = {.eu = site_accepting("us"), .us = site_new("us", "eu")};
    site_tick(pair.us, 0);
    site_meet(pair.us, pair.eu);
    pair.mirror = site_log_number(pair.us, "eu");
    site_append(pair.eu, "s", 1);
    give(&pair);
    site_peer_down(pair.us, "eu");
    control(pair.us, REGION_FAILOVER, "eu");
    site_append(pair.eu, "s", LATE_ID);
    site_append(pair.eu, "s", OTHER_LATE_ID);
    site_tick(pair.us, 10 * 1000 * 1000);
    give(&pair);
    return pair;
}

static void end(struct pair *pair)
{
    site_free(pair->eu);
    site_free(pair->us);
}

static struct index_late item_at(const struct pair *pair, uint64_t index)
{
    struct index_late late;
    struct index_place place = {.index = index};
    cr_assert_eq(index_log(pair->us->index, BYTES_LITERAL("demo/eu/1"), &place.log, NULL), 0);
    cr_assert_eq(index_late_at(pair->us->index, place, &late, NULL), 0);
    return late;
}

static enum index_late_state state_at(const struct pair *pair, uint64_t index)
{
    return item_at(pair, index).state;
}

static uint64_t size_of(const struct site *site)
{
    return site->logs[0].durable_size;
}

/* --- Asking --- */

struct decision {
    struct order order; /* first */
    struct region_settle settle;
    struct region_settle_item items[ORDER_WRITES_MAX];
};

static void decision_init(struct decision *decision, enum settlement settlement)
{
    memset(decision, 0, sizeof(*decision));
    order_init(&decision->order);
    decision->settle = (struct region_settle){.settlement = settlement,
                                              .actor = BYTES_LITERAL("anna"),
                                              .reason = BYTES_LITERAL("checked"),
                                              .items = decision->items};
    decision->order.command.settle = &decision->settle;
}

/* A further item of eu's log, with its content when id is not 0. */
static void decision_add(struct decision *decision, uint64_t index, uint64_t id)
{
    struct region_settle_item *item = &decision->items[decision->settle.item_count++];
    snprintf(item->origin, sizeof(item->origin), "demo/eu/1");
    item->index = index;
    order_write(&decision->order, "s", STREAM_ANY, 0);
    if (id != 0)
        order_event(&decision->order, id, "1");
}

static int decide(struct site *site, struct decision *decision)
{
    struct err err = {0};
    cr_assert_eq(region_command_prepare(&decision->order.command, site->sha, site->index, &err), 0, "%s", err.message);
    site_decide(site, &decision->order);
    site_written_all(site, 0);
    cr_assert_eq(decision->order.answers, 1);
    return decision->order.command.refusal.code;
}

static int ask(struct site *site, struct decision *decision, enum settlement settlement, uint64_t index, uint64_t id)
{
    decision_init(decision, settlement);
    decision_add(decision, index, id);
    return decide(site, decision);
}

/* --- After a failover --- */

Test(settle, a_stream_goes_on_at_the_new_home)
{
    struct pair pair = reunited();
    struct order order;
    order_one(&order, "s", 50, "1");
    order.writes[0].expectation = STREAM_AT;
    site_submit(pair.us, &order);
    cr_expect_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_expect_eq(order.results[0].stream_version, 1);
    end(&pair);
}

/* --- Accept --- */

Test(settle, a_tail_that_came_back_waits_for_a_decision)
{
    struct pair pair = reunited();
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_OPEN);
    cr_expect_eq(state_at(&pair, 2), INDEX_LATE_OPEN);
    end(&pair);
}

Test(settle, accepting_appends_the_same_event_with_the_homes_epoch_and_next_version)
{
    struct pair pair = reunited();
    struct decision decision;
    struct index_event event;
    uint8_t id[ENTRY_ID_SIZE];
    cr_assert_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0, "%s",
                 decision.order.command.refusal.err.message);
    cr_expect_eq(decision.settle.settled, 1);
    cr_expect_eq(decision.order.command.ticket, 3, "the event and the decision");
    site_indexed(pair.us, 0);
    event_id_of(LATE_ID, id);
    cr_assert_eq(index_event(pair.us->index, id, &event, NULL), 0);
    cr_expect_not(event.late);
    cr_expect_eq(event.place.index, 1);
    cr_expect_eq(event.stream_version, 1);
    cr_expect_eq(item_at(&pair, 1).fingerprint, event.fingerprint);
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_ACCEPTED);
    end(&pair);
}

Test(settle, an_accepted_event_and_its_decision_stand_in_one_block)
{
    struct pair pair = reunited();
    struct decision decision;
    size_t blocks = pair.us->logs[0].block_count;
    cr_assert_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0);
    cr_expect_eq(pair.us->logs[0].block_count, blocks + 1);
    cr_expect_eq(pair.us->logs[0].blocks[blocks]->entry_count, 2);
    end(&pair);
}

Test(settle, several_events_of_one_stream_are_accepted_in_their_order)
{
    struct pair pair = reunited();
    struct decision decision;
    struct index_head head;
    decision_init(&decision, SETTLED_ACCEPTED);
    decision_add(&decision, 1, LATE_ID);
    decision_add(&decision, 2, OTHER_LATE_ID);
    cr_assert_eq(decide(pair.us, &decision), 0);
    site_indexed(pair.us, 0);
    cr_assert_eq(index_head(pair.us->index, BYTES_LITERAL("bank"), BYTES_LITERAL("s"), &head, NULL), 0);
    cr_expect_eq(head.version, 2);
    cr_expect_eq(state_at(&pair, 2), INDEX_LATE_ACCEPTED);
    end(&pair);
}

Test(settle, what_is_not_the_late_events_content_is_not_accepted)
{
    struct pair pair = reunited();
    struct decision decision;
    uint64_t size = size_of(pair.us);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, OTHER_LATE_ID), ERR_MISMATCH, "another id");
    decision_init(&decision, SETTLED_ACCEPTED);
    decision_add(&decision, 1, 0);
    order_event(&decision.order, LATE_ID, "2");
    cr_expect_eq(decide(pair.us, &decision), ERR_MISMATCH, "another payload");
    cr_expect_eq(size_of(pair.us), size);
    end(&pair);
}

Test(settle, without_its_payload_an_event_is_not_accepted)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, 0), ERR_NOT_FOUND);
    end(&pair);
}

Test(settle, one_refused_item_takes_the_whole_command_back)
{
    struct pair pair = reunited();
    struct decision decision;
    uint64_t size = size_of(pair.us);
    decision_init(&decision, SETTLED_ACCEPTED);
    decision_add(&decision, 1, LATE_ID);
    decision_add(&decision, 0, 1);
    cr_assert_eq(decide(pair.us, &decision), ERR_NOT_FOUND);
    cr_expect_eq(decision.order.command.refusal.write_number, 1);
    cr_expect_eq(decision.settle.settled, 0);
    cr_expect_eq(size_of(pair.us), size);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0, "nothing of it was remembered");
    end(&pair);
}

/* --- Once --- */

Test(settle, the_same_decision_again_is_done_already)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_assert_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0);
    uint64_t size = size_of(pair.us);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0, "not indexed yet");
    cr_expect(decision.items[0].already);
    cr_expect_eq(decision.settle.settled, 0);
    site_indexed(pair.us, 0);
    site_tick(pair.us, 1000 * 1000);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0, "indexed");
    cr_expect(decision.items[0].already);
    cr_expect_eq(size_of(pair.us), size);
    end(&pair);
}

Test(settle, a_repeated_decision_is_answered_when_the_first_is_durable)
{
    struct pair pair = reunited();
    struct decision first;
    struct decision again;
    decision_init(&first, SETTLED_REJECTED);
    decision_add(&first, 1, 0);
    decision_init(&again, SETTLED_REJECTED);
    decision_add(&again, 1, 0);
    site_decide(pair.us, &first.order);
    site_decide(pair.us, &again.order);
    cr_expect_eq(again.order.answers, 0);
    site_written_all(pair.us, 0);
    cr_expect_eq(again.order.answers, 1);
    cr_expect(again.items[0].already);
    end(&pair);
}

Test(settle, another_decision_about_a_decided_item_is_refused)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_assert_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), 0);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), ERR_EXISTS, "not indexed yet");
    site_indexed(pair.us, 0);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_DROPPED, 1, 0), ERR_EXISTS, "indexed");
    cr_expect_not_null(strstr(decision.order.command.refusal.err.message, "rejected"));
    end(&pair);
}

Test(settle, a_command_repeated_at_the_new_home_makes_the_late_event_a_duplicate_that_nobody_decides)
{
    struct pair pair = reunited();
    struct decision decision;
    site_append(pair.us, "s", LATE_ID);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), ERR_EXISTS, "not indexed yet: %s",
                 decision.order.command.refusal.err.message);
    site_indexed(pair.us, 0);
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_DUPLICATE);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), ERR_EXISTS);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), ERR_EXISTS);
    end(&pair);
}

Test(settle, a_command_repeated_just_now_makes_it_a_duplicate_before_the_index_shows_it)
{
    struct pair pair = reunited();
    struct decision decision;
    site_append(pair.us, "s", LATE_ID);
    cr_assert_eq(state_at(&pair, 1), INDEX_LATE_OPEN, "the index is behind");
    cr_assert_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), ERR_EXISTS);
    cr_assert_eq(ask(pair.us, &decision, SETTLED_COMPENSATE, 1, 0), ERR_EXISTS);
    cr_assert_eq(ask(pair.us, &decision, SETTLED_REJECTED, 2, 0), 0, "the other one is open");
    end(&pair);
}

Test(settle, a_command_repeated_after_its_late_event_was_accepted_has_no_second_effect)
{
    struct pair pair = reunited();
    struct decision decision;
    struct order again;
    cr_assert_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0);
    order_one(&again, "s", LATE_ID, "1");
    site_submit(pair.us, &again);
    cr_expect_eq(again.command.refusal.code, 0);
    cr_expect(again.results[0].duplicate);
    cr_expect_eq(again.results[0].index, 1);
    end(&pair);
}

Test(settle, after_a_restart_decisions_are_known_from_the_index)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_assert_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), 0);
    pair.us = site_restart(pair.us);
    site_tick(pair.us, 0);
    site_meet(pair.us, pair.eu);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), 0, "%s", decision.order.command.refusal.err.message);
    cr_expect(decision.items[0].already);
    end(&pair);
}

Test(settle, a_log_that_was_pulled_back_is_indexed_before_anything_is_decided)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_assert_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), 0);
    site_meet(pair.eu, pair.us);
    site_send_blocks(pair.eu, pair.us, "us");
    site_written_all(pair.eu, site_log_number(pair.eu, "us"));
    site_free(pair.us);
    pair.us = site_new("us", "eu");
    site_tick(pair.us, 0);
    site_meet(pair.us, pair.eu);
    site_send_blocks(pair.us, pair.eu, "us");
    site_written_all(pair.us, 0);
    site_send_blocks(pair.us, pair.eu, "eu");
    site_written_all(pair.us, site_log_number(pair.us, "eu"));
    site_tick(pair.us, 1000 * 1000);
    cr_assert(region_accepting(pair.us->region));
    cr_expect_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), ERR_BUSY, "it was rejected in another life");
    end(&pair);
}

/* --- Drop, reject, compensate --- */

Test(settle, dropping_and_rejecting_are_decisions_alone)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_assert_eq(ask(pair.us, &decision, SETTLED_DROPPED, 1, 0), 0);
    cr_assert_eq(ask(pair.us, &decision, SETTLED_REJECTED, 2, 0), 0);
    cr_expect_eq(size_of(pair.us), 3);
    site_indexed(pair.us, 0);
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_DROPPED);
    cr_expect_eq(state_at(&pair, 2), INDEX_LATE_REJECTED);
    end(&pair);
}

/* Event `id` of the last write names the late event as its cause. */
static void caused_by(struct decision *decision, const uint8_t late_id[ENTRY_ID_SIZE])
{
    decision->order.events[decision->order.command.write_count - 1][0].causation_id = bytes_of(late_id, ENTRY_ID_SIZE);
}

Test(settle, a_compensation_is_owed_until_the_event_that_compensates_is_there)
{
    struct pair pair = reunited();
    struct decision decision;
    uint8_t late_id[ENTRY_ID_SIZE];
    event_id_of(LATE_ID, late_id);
    cr_assert_eq(ask(pair.us, &decision, SETTLED_COMPENSATE, 1, 0), 0);
    site_indexed(pair.us, 0);
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_COMPENSATION_OWED);
    decision_init(&decision, SETTLED_COMPENSATE);
    decision_add(&decision, 1, 77);
    caused_by(&decision, late_id);
    cr_assert_eq(decide(pair.us, &decision), 0);
    cr_expect_not(decision.items[0].already);
    site_indexed(pair.us, 0);
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_COMPENSATED);
    end(&pair);
}

Test(settle, a_compensation_can_stand_beside_its_decision)
{
    struct pair pair = reunited();
    struct decision decision;
    uint8_t late_id[ENTRY_ID_SIZE];
    event_id_of(LATE_ID, late_id);
    decision_init(&decision, SETTLED_COMPENSATE);
    decision_add(&decision, 1, 77);
    caused_by(&decision, late_id);
    cr_assert_eq(decide(pair.us, &decision), 0, "%s", decision.order.command.refusal.err.message);
    cr_expect_eq(size_of(pair.us), 3);
    site_indexed(pair.us, 0);
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_COMPENSATED);
    end(&pair);
}

Test(settle, an_event_that_names_another_cause_compensates_nothing)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_expect_eq(ask(pair.us, &decision, SETTLED_COMPENSATE, 1, 77), ERR_INVALID);
    cr_expect_eq(size_of(pair.us), 1);
    end(&pair);
}

/* --- Refusals --- */

Test(settle, effective_entries_and_unknown_places_are_no_items)
{
    struct pair pair = reunited();
    struct decision decision;
    cr_expect_eq(ask(pair.us, &decision, SETTLED_REJECTED, 0, 0), ERR_NOT_FOUND, "before the basis");
    cr_expect_eq(ask(pair.us, &decision, SETTLED_REJECTED, 99, 0), ERR_NOT_FOUND, "past the end");
    decision_init(&decision, SETTLED_REJECTED);
    decision_add(&decision, 1, 0);
    snprintf(decision.items[0].origin, sizeof(decision.items[0].origin), "demo/nowhere/1");
    cr_expect_eq(decide(pair.us, &decision), ERR_NOT_FOUND, "no such log");
    end(&pair);
}

Test(settle, who_is_not_the_home_names_the_home)
{
    struct pair pair = reunited();
    struct decision decision;
    site_step(pair.us, (struct region_event){.type = REGION_TIMER});
    control(pair.us, REGION_HANDOVER, "eu");
    cr_expect_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), ERR_WRONG_HOME);
    cr_expect_str_eq(decision.order.command.refusal.home_region, "eu");
    cr_expect_str_eq(decision.order.command.refusal.home_address, "eu.example:7001");
    end(&pair);
}

Test(settle, a_decision_of_a_home_that_was_overtaken_is_late_and_the_item_is_open_again)
{
    struct pair pair = reunited();
    struct decision decision;
    site_meet(pair.eu, pair.us);
    site_send_blocks(pair.eu, pair.us, "us");
    site_written_all(pair.eu, site_log_number(pair.eu, "us"));
    site_indexed(pair.eu, 0); /* what the seizure rests on */
    site_indexed(pair.eu, site_log_number(pair.eu, "us"));
    cr_assert_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), 0);
    site_indexed(pair.us, 0);
    cr_assert_eq(state_at(&pair, 1), INDEX_LATE_REJECTED);
    site_peer_down(pair.eu, "us");
    control(pair.eu, REGION_FAILOVER, "us");
    site_tick(pair.us, 10 * 1000 * 1000);
    give(&pair);
    cr_expect_eq(state_at(&pair, 1), INDEX_LATE_OPEN);
    cr_expect_eq(ask(pair.us, &decision, SETTLED_REJECTED, 1, 0), ERR_WRONG_HOME);
    end(&pair);
}

Test(settle, running_out_of_memory_anywhere_leaves_nothing_behind)
{
    for (uint64_t fail_at = 1;; fail_at++) {
        struct pair pair = reunited();
        struct decision decision;
        struct err err = {0};
        decision_init(&decision, SETTLED_ACCEPTED);
        decision_add(&decision, 1, LATE_ID);
        cr_assert_eq(region_command_prepare(&decision.order.command, pair.us->sha, pair.us->index, &err), 0);
        int code = site_step_failing(
            pair.us, (struct region_event){.type = REGION_COMMAND, .command = &decision.order.command}, fail_at);
        site_written_all(pair.us, 0);
        bool done = code == 0 && decision.order.command.refusal.code == 0;
        cr_assert_eq(size_of(pair.us), done ? 3 : 1, "failure %llu", (unsigned long long)fail_at);
        if (!done)
            cr_assert_eq(ask(pair.us, &decision, SETTLED_ACCEPTED, 1, LATE_ID), 0, "it can be asked again");
        end(&pair);
        if (done)
            return;
    }
}
