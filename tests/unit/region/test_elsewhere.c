/* Commands that us keeps for eu, the home of context "bank", and what eu decides. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "unit/region/fixture.h"

struct pair {
    struct site *eu;
    struct site *us;
};

static struct pair separated(void)
{
    struct pair pair = {.eu = site_accepting("us"), .us = site_new("us", "eu")};
    site_tick(pair.us, 0);
    site_meet(pair.us, pair.eu);
    return pair;
}

static void end(struct pair *pair)
{
    site_free(pair->eu);
    site_free(pair->us);
}

/* `to` receives and indexes what `from` has in its own log. */
static void give(struct site *to, struct site *from)
{
    uint32_t mirror = 0;
    site_tick(to, 10 * 1000 * 1000);
    site_meet(to, from);
    mirror = site_log_number(to, from->config.region);
    site_send_blocks(to, from, from->config.region);
    site_written_all(to, mirror);
    site_indexed(to, mirror);
}

static uint64_t size_of(const struct site *site)
{
    return site->logs[0].durable_size;
}

/* --- Keeping --- */

static int try_queue(struct site *site, struct order *order)
{
    order->command.elsewhere = REGION_ELSEWHERE_QUEUE;
    site_submit(site, order);
    site_written_all(site, 0);
    cr_assert_eq(order->answers, 1);
    return order->command.refusal.code;
}

static uint64_t queue(struct site *site, const char *stream, uint64_t id, enum stream_expectation expectation)
{
    struct order order;
    order_one(&order, stream, id, "1");
    order.writes[0].expectation = expectation;
    cr_assert_eq(try_queue(site, &order), 0, "%s", order.command.refusal.err.message);
    cr_assert(order.command.queued);
    cr_assert_eq(order.command.ticket, order.command.queued_size);
    return order.command.queued_size - 1;
}

Test(elsewhere, a_command_for_another_home_is_kept_and_answered_when_it_is_durable)
{
    struct pair pair = separated();
    struct order order;
    order_one(&order, "s", 1, "1");
    order.command.elsewhere = REGION_ELSEWHERE_QUEUE;
    site_submit(pair.us, &order);
    cr_expect_eq(order.answers, 0);
    site_written_all(pair.us, 0);
    cr_expect_eq(order.answers, 1);
    cr_expect_eq(order.command.refusal.code, 0);
    cr_expect(order.command.queued);
    cr_expect_eq(order.command.queued_size, 1);
    site_indexed(pair.us, 0);
    cr_expect_eq(index_queue_open(pair.us->index, 0).count, 1);
    struct index_event event;
    uint8_t id[ENTRY_ID_SIZE];
    event_id_of(1, id);
    cr_expect_eq(index_event(pair.us->index, id, &event, NULL), ERR_NOT_FOUND, "it has no effect yet");
    end(&pair);
}

Test(elsewhere, without_the_callers_wish_it_is_refused)
{
    struct pair pair = separated();
    struct order order;
    order_one(&order, "s", 1, "1");
    site_submit(pair.us, &order);
    cr_expect_eq(order.command.refusal.code, ERR_WRONG_HOME);
    end(&pair);
}

Test(elsewhere, at_the_home_it_is_an_append)
{
    struct pair pair = separated();
    struct order order;
    order_one(&order, "s", 1, "1");
    cr_assert_eq(try_queue(pair.eu, &order), 0);
    cr_expect_not(order.command.queued);
    cr_expect_eq(order.results[0].index, 0);
    end(&pair);
}

Test(elsewhere, the_same_command_again_is_where_it_is)
{
    struct pair pair = separated();
    uint64_t first = queue(pair.us, "s", 1, STREAM_ANY);
    cr_expect_eq(queue(pair.us, "s", 1, STREAM_ANY), first, "not indexed");
    site_indexed(pair.us, 0);
    site_tick(pair.us, 1000 * 1000);
    cr_expect_eq(queue(pair.us, "s", 1, STREAM_ANY), first, "indexed");
    cr_expect_eq(queue(pair.us, "s", 1, STREAM_NONE), first + 1, "another expectation is another command");
    cr_expect_eq(queue(pair.us, "t", 2, STREAM_ANY), first + 2);
    cr_expect_eq(size_of(pair.us), 3);
    end(&pair);
}

Test(elsewhere, a_repeated_command_is_answered_when_the_first_is_durable)
{
    struct pair pair = separated();
    struct order first;
    struct order again;
    order_one(&first, "s", 1, "1");
    order_one(&again, "s", 1, "1");
    first.command.elsewhere = again.command.elsewhere = REGION_ELSEWHERE_QUEUE;
    site_submit(pair.us, &first);
    site_submit(pair.us, &again);
    cr_expect_eq(again.answers, 0);
    site_written_all(pair.us, 0);
    cr_expect_eq(again.answers, 1);
    cr_expect_eq(again.command.queued_size, 1);
    end(&pair);
}

Test(elsewhere, writes_of_two_partitions_are_not_kept)
{
    struct pair pair = separated();
    struct order order;
    order_one(&order, "s", 1, "1");
    order_write(&order, "t", STREAM_ANY, 0)->partition = BYTES_LITERAL("south");
    order_event(&order, 2, "1");
    cr_expect_eq(try_queue(pair.us, &order), ERR_INVALID);
    cr_expect_not(order.command.queued);
    cr_expect_eq(size_of(pair.us), 0);
    end(&pair);
}

Test(elsewhere, payloads_that_some_region_may_not_hold_are_not_kept)
{
    static const char *const regions[] = {"eu", "us"};
    struct pair pair = separated();
    struct order order;
    pair.us->table[0].rules.payload_region_count = 1;
    pair.us->table[0].rules.payload_regions = regions;
    order_one(&order, "s", 1, "1");
    cr_expect_eq(try_queue(pair.us, &order), ERR_PERMISSION);
    pair.us->table[0].rules.payload_region_count = 2;
    order_one(&order, "s", 1, "1");
    cr_expect_eq(try_queue(pair.us, &order), 0);
    pair.us->table[0].rules.payload_region_count = 0;
    end(&pair);
}

Test(elsewhere, an_id_that_a_client_has_taken_is_no_ticket)
{
    struct pair pair = separated();
    struct order order;
    struct index_queued queued;
    uint64_t at = queue(pair.us, "s", 1, STREAM_ANY);
    site_indexed(pair.us, 0);
    cr_assert_eq(index_queue_at(pair.us->index, (struct index_place){.index = at}, &queued, NULL), 0);
    struct site *other = site_new("us", "eu");
    site_tick(other, 0);
    site_meet(other, pair.eu);
    order_one(&order, "own", 9, "1");
    order.writes[0].partition = BYTES_LITERAL("west");
    memcpy(order.events[0][0].id, queued.event_id, ENTRY_ID_SIZE);
    site_submit(other, &order);
    site_written_all(other, 0);
    cr_assert_eq(order.command.refusal.code, 0);
    order_one(&order, "s", 1, "1");
    cr_expect_eq(try_queue(other, &order), ERR_EXISTS);
    site_free(other);
    end(&pair);
}

/* --- Deciding --- */

struct judgement {
    struct order order; /* first */
    struct region_verdict verdict;
};

static void judgement_init(struct judgement *judgement, const char *log, uint64_t index, const char *stream,
                           uint64_t id, enum stream_expectation expectation)
{
    memset(judgement, 0, sizeof(*judgement));
    order_one(&judgement->order, stream, id, "1");
    judgement->order.writes[0].expectation = expectation;
    snprintf(judgement->verdict.origin, sizeof(judgement->verdict.origin), "demo/%s/1", log);
    judgement->verdict.index = index;
    judgement->order.command.verdict = &judgement->verdict;
}

static int judge(struct site *site, struct judgement *judgement, uint64_t index, const char *stream, uint64_t id,
                 enum stream_expectation expectation)
{
    judgement_init(judgement, "us", index, stream, id, expectation);
    site_submit(site, &judgement->order);
    site_written_all(site, 0);
    cr_assert_eq(judgement->order.answers, 1);
    return judgement->order.command.refusal.code;
}

static struct index_queued queued_at(const struct site *site, const char *region, uint64_t index)
{
    char origin[ENTRY_ORIGIN_MAX_BYTES + 1];
    struct index_queued queued;
    struct index_place place = {.index = index};
    snprintf(origin, sizeof(origin), "demo/%s/1", region);
    cr_assert_eq(index_log(site->index, bytes_of_string(origin), &place.log, NULL), 0);
    cr_assert_eq(index_queue_at(site->index, place, &queued, NULL), 0);
    return queued;
}

Test(elsewhere, the_home_appends_the_events_and_its_verdict_in_one_block)
{
    struct pair pair = separated();
    struct judgement judgement;
    struct index_event event;
    uint8_t id[ENTRY_ID_SIZE];
    queue(pair.us, "s", 1, STREAM_NONE);
    give(pair.eu, pair.us);
    size_t blocks = pair.eu->logs[0].block_count;
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_NONE), 0, "%s",
                 judgement.order.command.refusal.err.message);
    cr_expect_eq(judgement.verdict.err.code, 0);
    cr_expect_not(judgement.verdict.already);
    cr_expect_eq(judgement.order.command.ticket, 2);
    cr_expect_eq(pair.eu->logs[0].block_count, blocks + 1);
    site_indexed(pair.eu, 0);
    event_id_of(1, id);
    cr_assert_eq(index_event(pair.eu->index, id, &event, NULL), 0);
    cr_expect_eq(event.place.index, 0);
    cr_expect_eq(queued_at(pair.eu, "us", 0).state, INDEX_QUEUED_ACCEPTED);
    cr_expect_eq(queued_at(pair.eu, "us", 0).decision.index, 1);
    give(pair.us, pair.eu);
    site_indexed(pair.us, 0);
    cr_expect_eq(queued_at(pair.us, "us", 0).state, INDEX_QUEUED_ACCEPTED, "the region that kept it knows");
    cr_expect_eq(index_queue_open(pair.us->index, 0).count, 0);
    end(&pair);
}

Test(elsewhere, what_would_be_refused_again_is_refused_for_good)
{
    struct pair pair = separated();
    struct judgement judgement;
    site_append(pair.eu, "s", 9);
    queue(pair.us, "s", 1, STREAM_NONE);
    give(pair.eu, pair.us);
    uint64_t size = size_of(pair.eu);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_NONE), 0);
    cr_expect_eq(judgement.verdict.err.code, ERR_VERSION_CONFLICT);
    cr_expect_eq(size_of(pair.eu), size + 1, "the verdict alone");
    site_indexed(pair.eu, 0);
    cr_expect_eq(queued_at(pair.eu, "us", 0).state, INDEX_QUEUED_REFUSED);
    cr_expect_eq(queued_at(pair.eu, "us", 0).code, ERR_VERSION_CONFLICT);
    end(&pair);
}

Test(elsewhere, a_command_is_decided_once)
{
    struct pair pair = separated();
    struct judgement judgement;
    queue(pair.us, "s", 1, STREAM_ANY);
    give(pair.eu, pair.us);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0);
    uint64_t size = size_of(pair.eu);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0);
    cr_expect(judgement.verdict.already, "not indexed");
    site_indexed(pair.eu, 0);
    site_tick(pair.eu, 1000 * 1000);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0);
    cr_expect(judgement.verdict.already, "indexed");
    cr_expect_eq(size_of(pair.eu), size);
    end(&pair);
}

Test(elsewhere, a_command_whose_events_came_another_way_is_accepted_without_a_second_effect)
{
    struct pair pair = separated();
    struct judgement judgement;
    queue(pair.us, "s", 1, STREAM_NONE);
    give(pair.eu, pair.us);
    site_append(pair.eu, "s", 1);
    uint64_t size = size_of(pair.eu);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_NONE), 0);
    cr_expect_eq(judgement.verdict.err.code, 0);
    cr_expect(judgement.order.results[0].duplicate);
    cr_expect_eq(size_of(pair.eu), size + 1, "the verdict alone");
    end(&pair);
}

Test(elsewhere, commands_of_a_partition_are_decided_in_the_order_of_their_log)
{
    struct pair pair = separated();
    struct judgement judgement;
    queue(pair.us, "s", 1, STREAM_ANY);
    queue(pair.us, "s", 2, STREAM_ANY);
    give(pair.eu, pair.us);
    cr_expect_eq(judge(pair.eu, &judgement, 1, "s", 2, STREAM_ANY), ERR_BUSY);
    cr_expect_eq(size_of(pair.eu), 0);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0);
    cr_expect_eq(judge(pair.eu, &judgement, 1, "s", 2, STREAM_ANY), 0, "the first is decided, and not indexed");
    cr_expect_eq(judgement.order.results[0].stream_version, 1);
    end(&pair);
}

Test(elsewhere, only_what_was_kept_is_decided)
{
    struct pair pair = separated();
    struct judgement judgement;
    queue(pair.us, "s", 1, STREAM_ANY);
    give(pair.eu, pair.us);
    cr_expect_eq(judge(pair.eu, &judgement, 0, "s", 2, STREAM_ANY), ERR_MISMATCH, "another id");
    cr_expect_eq(judge(pair.eu, &judgement, 0, "t", 1, STREAM_ANY), ERR_MISMATCH, "another stream");
    cr_expect_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_NONE), ERR_MISMATCH, "another expectation");
    cr_expect_eq(judge(pair.eu, &judgement, 5, "s", 1, STREAM_ANY), ERR_NOT_FOUND, "no such entry");
    judgement_init(&judgement, "ap", 0, "s", 1, STREAM_ANY);
    site_submit(pair.eu, &judgement.order);
    cr_expect_eq(judgement.order.command.refusal.code, ERR_NOT_FOUND, "no such log");
    cr_expect_eq(size_of(pair.eu), 0);
    end(&pair);
}

Test(elsewhere, who_is_not_the_home_does_not_decide)
{
    struct pair pair = separated();
    struct judgement judgement;
    queue(pair.us, "s", 1, STREAM_ANY);
    site_indexed(pair.us, 0);
    cr_expect_eq(judge(pair.us, &judgement, 0, "s", 1, STREAM_ANY), ERR_WRONG_HOME);
    cr_expect_eq(queued_at(pair.us, "us", 0).state, INDEX_QUEUED_OPEN);
    end(&pair);
}

Test(elsewhere, a_restarted_home_waits_for_its_index_before_it_decides)
{
    struct pair pair = separated();
    struct judgement judgement;
    queue(pair.us, "s", 1, STREAM_ANY);
    give(pair.eu, pair.us);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0);
    pair.eu = site_restart(pair.eu);
    site_tick(pair.eu, 0);
    site_meet(pair.eu, pair.us);
    site_indexed(pair.eu, 0);
    uint64_t size = size_of(pair.eu);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0, "%s",
                 judgement.order.command.refusal.err.message);
    cr_expect(judgement.verdict.already);
    cr_expect_eq(size_of(pair.eu), size);
    end(&pair);
}

/* --- Another home --- */

static void seize(struct site *site, const char *from)
{
    struct order order;
    struct region_control wanted = {.type = REGION_FAILOVER,
                                    .context = BYTES_LITERAL("bank"),
                                    .actor = BYTES_LITERAL("test"),
                                    .reason = BYTES_LITERAL("it is lost"),
                                    .forced = true};
    snprintf(wanted.region, sizeof(wanted.region), "%s", from);
    order_init(&order);
    order.command.control = &wanted;
    site_peer_down(site, from);
    site_decide(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    site_indexed(site, 0);
}

Test(elsewhere, a_verdict_of_a_home_that_was_overtaken_is_late_and_the_new_home_decides)
{
    struct pair pair = separated();
    struct judgement judgement;
    queue(pair.us, "s", 1, STREAM_ANY);
    give(pair.eu, pair.us);
    site_indexed(pair.us, 0);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0);
    seize(pair.us, "eu");
    give(pair.us, pair.eu);
    cr_expect_eq(queued_at(pair.us, "us", 0).state, INDEX_QUEUED_OPEN, "eu's verdict came too late");
    cr_assert_eq(judge(pair.us, &judgement, 0, "s", 1, STREAM_ANY), 0, "%s",
                 judgement.order.command.refusal.err.message);
    cr_expect_not(judgement.verdict.already);
    cr_expect_not(judgement.order.results[0].duplicate, "eu's event has no effect");
    site_indexed(pair.us, 0);
    cr_expect_eq(queued_at(pair.us, "us", 0).state, INDEX_QUEUED_ACCEPTED);
    cr_expect_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0, "eu does not know yet");
    end(&pair);
}

Test(elsewhere, a_region_keeps_so_many_and_no_more)
{
    struct pair pair = separated();
    struct judgement judgement;
    struct order order;
    pair.us->config.limits.queued_open = 2;
    pair.us = site_restart(pair.us);
    site_tick(pair.us, 0);
    site_meet(pair.us, pair.eu);
    queue(pair.us, "s", 1, STREAM_ANY);
    site_indexed(pair.us, 0);
    queue(pair.us, "s", 2, STREAM_ANY);
    order_one(&order, "s", 3, "1");
    cr_expect_eq(try_queue(pair.us, &order), ERR_BUSY, "one is indexed, one is not");
    cr_expect_eq(size_of(pair.us), 2);
    cr_expect_eq(queue(pair.us, "s", 2, STREAM_ANY), 1, "a repetition needs no room");
    site_indexed(pair.us, 0);
    give(pair.eu, pair.us);
    cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0);
    give(pair.us, pair.eu);
    queue(pair.us, "s", 3, STREAM_ANY);
    end(&pair);
}

Test(elsewhere, a_command_that_is_taken_back_is_not_counted)
{
    struct pair pair = separated();
    for (uint64_t fail_at = 1;; fail_at++) {
        struct order order;
        cr_assert_lt(fail_at, 100);
        order_one(&order, "s", fail_at, "1");
        order.command.elsewhere = REGION_ELSEWHERE_QUEUE;
        site_prepare(pair.us, &order);
        uint64_t size = size_of(pair.us);
        int code = site_step_failing(pair.us, (struct region_event){.type = REGION_COMMAND, .command = &order.command},
                                     fail_at);
        site_written_all(pair.us, 0);
        bool done = code == 0 && order.command.refusal.code == 0;
        cr_assert_eq(size_of(pair.us), size + done, "failure %llu", (unsigned long long)fail_at);
        if (done)
            break;
        cr_assert_eq(order.command.queued, false);
    }
    end(&pair);
}

Test(elsewhere, a_verdict_that_fails_for_memory_leaves_the_command_open)
{
    for (uint64_t fail_at = 1;; fail_at++) {
        struct pair pair = separated();
        struct judgement judgement;
        cr_assert_lt(fail_at, 100);
        queue(pair.us, "s", 1, STREAM_ANY);
        give(pair.eu, pair.us);
        judgement_init(&judgement, "us", 0, "s", 1, STREAM_ANY);
        site_prepare(pair.eu, &judgement.order);
        int code = site_step_failing(
            pair.eu, (struct region_event){.type = REGION_COMMAND, .command = &judgement.order.command}, fail_at);
        site_written_all(pair.eu, 0);
        bool done = code == 0 && judgement.order.command.refusal.code == 0;
        cr_assert_eq(size_of(pair.eu), done ? 2 : 0, "failure %llu", (unsigned long long)fail_at);
        if (!done)
            cr_assert_eq(judge(pair.eu, &judgement, 0, "s", 1, STREAM_ANY), 0, "it can be asked again");
        cr_expect_not(judgement.verdict.already);
        end(&pair);
        if (done)
            return;
    }
}
