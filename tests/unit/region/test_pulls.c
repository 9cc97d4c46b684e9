/* How copies of logs grow: sources, bad blocks, back-off. */
#include <criterion/criterion.h>

#include "region/region_internal.h"
#include "unit/region/fixture.h"

/* us, with events of context "shop" in its own log. */
static struct site *source(uint64_t events)
{
    struct site *us = site_new("us", "eu ap");
    site_tick(us, 0);
    site_hello(us, "eu", NULL, 0);
    site_hello(us, "ap", NULL, 0);
    for (uint64_t i = 1; i <= events; i++) {
        struct order order;
        order_one(&order, "cart", i, "1");
        order.writes[0].context = BYTES_LITERAL("shop");
        site_submit(us, &order);
        site_written_all(us, 0);
    }
    cr_assert_eq(us->logs[0].durable_size, events);
    return us;
}

/* Sends one block on the pull of us's log at eu. */
static void send_block(struct site *eu, const char *peer, struct block *block)
{
    site_step(eu, (struct region_event){.type = REGION_PULL_BLOCK,
                                        .peer = site_peer(eu, peer),
                                        .log = site_log_number(eu, "us"),
                                        .block = block});
}

/* A copy of a block with one byte of its last payload changed; its CRC is right again. */
static struct block *spoiled(const struct block *block)
{
    struct block *copy = NULL;
    const uint8_t *id = block->data + 24;
    struct err err = {0};
    cr_assert_eq(block_new(block->first_index, id, &copy, &err), 0);
    struct bytes elements = block_body(block);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        struct bytes encoded;
        struct frame frame;
        uint8_t payload[16];
        cr_assert_eq(frame_next_element(&elements, &encoded, NULL), 0);
        cr_assert_eq(frame_parse(encoded, &frame, NULL), 0);
        cr_assert_leq(frame.payload.size_bytes, sizeof(payload));
        memcpy(payload, frame.payload.data, frame.payload.size_bytes);
        payload[0] ^= i + 1 == block->entry_count ? 1 : 0;
        frame.payload = bytes_of(payload, frame.payload.size_bytes);
        cr_assert_eq(block_add(copy, &frame, &err), 0);
    }
    block_seal(copy);
    return copy;
}

static bool is_pulling_from(const struct site *site, const char *peer)
{
    return site->region->logs[site_log_number(site, "us")]->source == site_peer(site, peer);
}

/* --- Growing --- */

Test(pulls, a_pull_opens_where_the_mirror_ends)
{
    struct site *us = source(3);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->size, 0);
    site_send_blocks(eu, us, "us");
    site_written_all(eu, site_log_number(eu, "us"));
    site_step(eu, (struct region_event){
                      .type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = site_log_number(eu, "us")});
    cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 0);
    site_tick(eu, REGION_BACKOFF_FIRST_US);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->size, 3);
    site_free(us);
    site_free(eu);
}

Test(pulls, a_block_is_written_as_it_came_and_acknowledged_when_durable)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_eq(site_effect(eu, REGION_WRITE)->block, us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_SEND_ACK), 0);
    site_written(eu, site_log_number(eu, "us"));
    cr_assert_eq(site_effect(eu, REGION_SEND_ACK)->size, 1);
    cr_assert_eq(site_effect(eu, REGION_SEND_ACK)->peer, site_peer(eu, "us"));
    site_free(us);
    site_free(eu);
}

/* Else logs that wait for each other's bases fill what is kept in memory, and the one that they wait for never comes.
 */
Test(pulls, a_log_of_which_nothing_is_kept_goes_beyond_the_limit_by_one_block)
{
    struct site *us = source(2);
    struct site *eu = site_accepting("us ap");
    struct overlay *overlay = &eu->region->overlay;
    site_meet(eu, us);
    uint32_t log = site_log_number(eu, "us");
    overlay->count += REGION_UNINDEXED_MAX; /* as if others waited for the index */
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 1);
    site_written(eu, log);
    send_block(eu, "us", us->logs[0].blocks[1]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_eq(site_count(eu, REGION_CLOSE_PULL), 1);
    cr_assert_eq(site_count(eu, REGION_ALARM), 0);
    site_indexed(eu, log);
    site_tick(eu, OVERLAY_GRACE_US);
    cr_assert_not(overlay_holds(overlay, log));
    site_step(eu, (struct region_event){.type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = log});
    site_hello(eu, "us", NULL, 0);
    site_tick(eu, REGION_BACKOFF_MAX_US);
    site_hello(eu, "us", NULL, 0);
    cr_assert(is_pulling_from(eu, "us"));
    send_block(eu, "us", us->logs[0].blocks[1]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 1);
    overlay->count -= REGION_UNINDEXED_MAX;
    site_free(us);
    site_free(eu);
}

Test(pulls, what_is_stored_already_is_taken_whatever_the_limit_says)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    struct err err = {0};
    site_meet(eu, us);
    eu->region->overlay.count += REGION_UNINDEXED_MAX;
    cr_assert_eq(region_found_block(eu->region, site_log_number(eu, "us"), us->logs[0].blocks[0], &err), 0, "%s",
                 err.message);
    eu->region->overlay.count -= REGION_UNINDEXED_MAX;
    site_free(us);
    site_free(eu);
}

/* What was hashed to check it is not hashed again to write and to apply it. */
Test(pulls, a_block_that_was_checked_has_the_notes_of_its_maker)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    const struct block *made = us->logs[0].blocks[0];
    struct block *received = NULL;
    site_meet(eu, us);
    cr_assert_eq(block_from_bytes(block_bytes(made), &received, NULL), 0);
    cr_assert_not(block_has_leaves(received));
    send_block(eu, "us", received);
    cr_assert(block_has_leaves(received));
    for (uint32_t i = 0; i < made->entry_count; i++) {
        cr_assert_neq(block_fingerprint(made, i), 0);
        cr_assert_eq(block_fingerprint(received, i), block_fingerprint(made, i));
        cr_assert(hash_equal(&received->notes[i].leaf, &made->notes[i].leaf));
    }
    block_release(received);
    site_free(us);
    site_free(eu);
}

Test(pulls, several_blocks_may_be_written_at_once_up_to_a_limit)
{
    struct site *us = source(REGION_MIRROR_WRITES_MAX + 1);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    for (size_t i = 0; i < REGION_MIRROR_WRITES_MAX; i++) {
        send_block(eu, "us", us->logs[0].blocks[i]);
        cr_assert_eq(site_count(eu, REGION_WRITE), 1);
    }
    send_block(eu, "us", us->logs[0].blocks[REGION_MIRROR_WRITES_MAX]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_eq(site_count(eu, REGION_ALARM), 0, "a slow disk is nobody's fault");
    cr_assert_eq(site_count(eu, REGION_CLOSE_PULL), 1);
    site_free(us);
    site_free(eu);
}

Test(pulls, every_failing_allocation_of_a_block_pauses_the_pull_and_accuses_nobody)
{
    struct site *us = source(1);
    uint64_t at = 0;
    bool taken = false;
    while (!taken) {
        struct site *eu = site_accepting("us ap");
        site_meet(eu, us);
        uint32_t log = site_log_number(eu, "us");
        struct region_event event = {
            .type = REGION_PULL_BLOCK, .log = log, .block = us->logs[0].blocks[0], .peer = site_peer(eu, "us")};
        cr_assert_eq(site_step_failing(eu, event, ++at), 0);
        taken = site_count(eu, REGION_WRITE) == 1;
        cr_assert_eq(site_count(eu, REGION_ALARM), 0);
        cr_assert_eq(site_count(eu, REGION_CLOSE_PULL), taken ? 0 : 1);
        cr_assert_eq(eu->region->overlay.count, taken ? 1 : 0);
        site_free(eu);
    }
    cr_assert_gt(at, 1);
    site_free(us);
}

/* --- What does not fit --- */

/* us sent something wrong: not taken, alarm, pull closed, left alone for REGION_PENALTY_US. */
static void expect_rejected(struct site *eu)
{
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_eq(site_count(eu, REGION_ALARM), 1);
    cr_assert_eq(site_effect(eu, REGION_CLOSE_PULL)->peer, site_peer(eu, "us"));
    cr_assert_eq(eu->region->overlay.count, 0);
    site_step(eu, (struct region_event){
                      .type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = site_log_number(eu, "us")});
    uint64_t end_us = eu->now.mono_us + REGION_PENALTY_US;
    while (eu->now.mono_us + 1000000 < end_us) {
        cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 0);
        site_hello(eu, "us", NULL, 0);
        site_tick(eu, 1000000);
    }
    cr_assert_leq(eu->update.deadline_mono_us, end_us);
    site_hello(eu, "us", NULL, 0);
    site_tick(eu, end_us - eu->now.mono_us);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->size, 0);
}

Test(pulls, a_block_that_starts_elsewhere_is_rejected)
{
    struct site *us = source(2);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    send_block(eu, "us", us->logs[0].blocks[1]);
    expect_rejected(eu);
    site_free(us);
    site_free(eu);
}

Test(pulls, a_block_with_another_prev_is_rejected)
{
    struct site *us = source(2);
    struct site *other = source(1);
    struct site *eu = site_accepting("us ap");
    other->now.wall_us += 5000000; /* so that its first entry is another one */
    site_free(other);
    other = site_new("us", "eu ap");
    other->now.wall_us += 5000000;
    site_tick(other, 0);
    site_hello(other, "eu", NULL, 0);
    site_hello(other, "ap", NULL, 0);
    for (uint64_t i = 1; i <= 2; i++) {
        struct order order;
        order_one(&order, "cart", i, "1");
        order.writes[0].context = BYTES_LITERAL("shop");
        site_submit(other, &order);
        site_written_all(other, 0);
    }
    site_meet(eu, us);
    send_block(eu, "us", us->logs[0].blocks[0]);
    send_block(eu, "us", other->logs[0].blocks[1]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_eq(site_count(eu, REGION_ALARM), 1);
    cr_assert_eq(site_count(eu, REGION_CLOSE_PULL), 1);
    cr_assert_eq(eu->region->overlay.count, 1, "the good block stays");
    site_free(us);
    site_free(other);
    site_free(eu);
}

Test(pulls, a_block_of_another_log_is_rejected)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    site_append(eu, "s", 50);
    site_indexed(eu, 0);
    site_tick(eu, 2 * OVERLAY_GRACE_US);
    send_block(eu, "us", eu->logs[0].blocks[0]);
    expect_rejected(eu);
    site_free(us);
    site_free(eu);
}

Test(pulls, a_corrupt_block_is_rejected)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    struct block *bad = spoiled(us->logs[0].blocks[0]);
    site_meet(eu, us);
    send_block(eu, "us", bad);
    expect_rejected(eu);
    site_send_blocks(eu, us, "us");
    cr_assert_eq(site_count(eu, REGION_WRITE), 1, "the good block is taken afterwards");
    block_release(bad);
    site_free(us);
    site_free(eu);
}

Test(pulls, a_block_that_is_corrupt_at_its_end_is_rejected_as_a_whole)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    struct order order;
    order_init(&order);
    order_write(&order, "cart", STREAM_ANY, 0)->context = BYTES_LITERAL("shop");
    order_event(&order, 2, "1");
    order_event(&order, 3, "1");
    site_submit(us, &order);
    site_written_all(us, 0);
    struct block *bad = spoiled(us->logs[0].blocks[1]);
    site_meet(eu, us);
    send_block(eu, "us", us->logs[0].blocks[0]);
    send_block(eu, "us", bad);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0);
    cr_assert_eq(eu->region->overlay.count, 1, "the ids of its good entries are forgotten");
    cr_assert_eq(mirror_size(&eu->region->logs[site_log_number(eu, "us")]->mirror), 1);
    block_release(bad);
    site_free(us);
    site_free(eu);
}

Test(pulls, a_pull_that_ends_with_corruption_blocks_its_peer)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    struct err err = {.code = ERR_CORRUPT, .message = "a block whose CRC is wrong"};
    site_meet(eu, us);
    site_step(eu, (struct region_event){.type = REGION_PULL_CLOSED,
                                        .peer = site_peer(eu, "us"),
                                        .log = site_log_number(eu, "us"),
                                        .err = &err});
    site_tick(eu, REGION_BACKOFF_MAX_US);
    site_hello(eu, "us", NULL, 0);
    cr_assert_not(is_pulling_from(eu, "us"));
    site_free(us);
    site_free(eu);
}

Test(pulls, messages_of_a_closed_pull_are_ignored)
{
    struct site *us = source(2);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    send_block(eu, "us", us->logs[0].blocks[1]); /* closes the pull */
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_eq(eu->update.effect_count, 0);
    site_free(us);
    site_free(eu);
}

/* --- Back-off --- */

Test(pulls, a_pull_that_fails_again_and_again_waits_longer_each_time)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    uint64_t pause_us = REGION_BACKOFF_FIRST_US;
    site_meet(eu, us);
    for (int i = 0; i < 10; i++) {
        site_step(eu, (struct region_event){
                          .type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = site_log_number(eu, "us")});
        site_hello(eu, "us", NULL, 0);
        site_tick(eu, pause_us - 1);
        cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 0);
        site_tick(eu, 1);
        cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 1);
        pause_us = 2 * pause_us < REGION_BACKOFF_MAX_US ? 2 * pause_us : REGION_BACKOFF_MAX_US;
    }
    send_block(eu, "us", us->logs[0].blocks[0]);
    site_step(eu, (struct region_event){
                      .type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = site_log_number(eu, "us")});
    site_hello(eu, "us", NULL, 0);
    site_tick(eu, REGION_BACKOFF_FIRST_US);
    cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 1, "a good block forgives");
    site_free(us);
    site_free(eu);
}

/* The pull of us's log at eu fails, because us cannot be reached. */
static void fail_pull(struct site *eu)
{
    struct err err = {0};
    (void)err_set(&err, ERR_UNAVAILABLE, "us cannot be reached");
    site_step(eu, (struct region_event){.type = REGION_PULL_CLOSED,
                                        .peer = site_peer(eu, "us"),
                                        .log = site_log_number(eu, "us"),
                                        .err = &err});
}

Test(pulls, why_a_pull_failed_is_said_until_one_is_open_again)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    const struct region_log *log = eu->region->logs[site_log_number(eu, "us")];
    fail_pull(eu);
    cr_assert_str_eq(log->detail, "pull from us: us cannot be reached");
    site_hello(eu, "us", NULL, 0);
    site_tick(eu, REGION_BACKOFF_FIRST_US - 1);
    cr_assert_str_eq(log->detail, "pull from us: us cannot be reached", "it is not pulled yet");
    site_tick(eu, 1);
    cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 1);
    cr_assert_str_eq(log->detail, "", "although us has nothing new to send");
    site_free(us);
    site_free(eu);
}

Test(pulls, what_a_source_sent_wrong_is_said_until_a_good_block_came)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    const struct region_log *log = eu->region->logs[site_log_number(eu, "us")];
    struct block *bad = spoiled(us->logs[0].blocks[0]);
    send_block(eu, "us", bad);
    block_release(bad);
    cr_assert(strncmp(log->detail, "peer us: ", 9) == 0, "%s", log->detail);
    site_step(eu, (struct region_event){
                      .type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = site_log_number(eu, "us")});
    site_hello(eu, "us", NULL, 0);
    site_tick(eu, eu->region->config.limits.penalty_us);
    site_hello(eu, "us", NULL, 0);
    site_tick(eu, 1);
    cr_assert(is_pulling_from(eu, "us"));
    cr_assert(strncmp(log->detail, "peer us: ", 9) == 0, "%s", log->detail);
    send_block(eu, "us", us->logs[0].blocks[0]);
    cr_assert_str_eq(log->detail, "");
    site_free(us);
    site_free(eu);
}

/* --- Sources --- */

/* ap says that it holds this much of us's log. */
static void relay_holds(struct site *eu, uint64_t size)
{
    struct region_held held = {.origin = "demo/us/1", .size = size};
    site_hello(eu, "ap", &held, 1);
}

Test(pulls, without_the_owner_a_relay_is_the_source)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_peer_down(eu, "us");
    relay_holds(eu, 1);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "ap"));
    send_block(eu, "ap", us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 1);
    site_free(us);
    site_free(eu);
}

Test(pulls, a_relay_that_holds_nothing_is_no_source)
{
    struct site *eu = site_accepting("us ap");
    site_peer_down(eu, "us");
    relay_holds(eu, 0);
    cr_assert_eq(site_count(eu, REGION_OPEN_PULL), 0);
    site_free(eu);
}

Test(pulls, a_pull_moves_to_the_owner_when_it_comes_up)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_peer_down(eu, "us");
    relay_holds(eu, 1);
    site_meet(eu, us);
    cr_assert_eq(site_effect(eu, REGION_CLOSE_PULL)->peer, site_peer(eu, "ap"));
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "us"));
    send_block(eu, "ap", us->logs[0].blocks[0]);
    cr_assert_eq(site_count(eu, REGION_WRITE), 0, "the relay's last words come too late");
    site_free(us);
    site_free(eu);
}

Test(pulls, a_pull_moves_to_a_relay_when_the_owner_goes_down)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    relay_holds(eu, 1);
    cr_assert(is_pulling_from(eu, "us"));
    site_peer_down(eu, "us");
    cr_assert_eq(site_effect(eu, REGION_CLOSE_PULL)->peer, site_peer(eu, "us"));
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "ap"));
    site_free(us);
    site_free(eu);
}

Test(pulls, a_pull_that_was_closed_is_not_opened_again_before_it_has_reported)
{
    struct site *us = source(1);
    struct site *eu = site_accepting("us ap");
    site_meet(eu, us);
    relay_holds(eu, 1);
    site_peer_down(eu, "us"); /* moves to ap; the pull from us has not reported yet */
    site_meet(eu, us);
    cr_assert(is_pulling_from(eu, "ap"));
    site_step(eu, (struct region_event){
                      .type = REGION_PULL_CLOSED, .peer = site_peer(eu, "us"), .log = site_log_number(eu, "us")});
    cr_assert(is_pulling_from(eu, "us"));
    site_free(us);
    site_free(eu);
}

Test(pulls, a_relay_that_has_given_all_it_holds_is_left_for_one_that_holds_more)
{
    struct site *us = source(2);
    struct site *eu = site_accepting("us ap sa");
    struct region_held held = {.origin = "demo/us/1", .size = 2};
    site_peer_down(eu, "us");
    relay_holds(eu, 1);
    site_hello(eu, "sa", &held, 1);
    cr_assert(is_pulling_from(eu, "ap"), "it still has something to give");
    send_block(eu, "ap", us->logs[0].blocks[0]);
    cr_assert_eq(site_effect(eu, REGION_CLOSE_PULL)->peer, site_peer(eu, "ap"));
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "sa"));
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->size, 1);
    send_block(eu, "sa", us->logs[0].blocks[1]);
    relay_holds(eu, 1);
    cr_assert(is_pulling_from(eu, "sa"), "nobody holds more");
    site_free(us);
    site_free(eu);
}
