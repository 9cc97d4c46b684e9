/* Hello, who is up, and rule 3: neither accepting nor signing before the peers have told. */
#include <criterion/criterion.h>

#include "unit/region/fixture.h"

static struct region_peer_status peer_status(const struct site *site, const char *peer)
{
    struct region_peer_status status;
    region_peer_status(site->region, site_peer(site, peer), &status);
    return status;
}

/* --- Rule 3 --- */

Test(peers, a_cluster_of_one_accepts_at_once)
{
    struct site *site = site_new("eu", "");
    cr_assert_not(region_accepting(site->region));
    site_tick(site, 0);
    cr_assert(region_accepting(site->region));
    cr_assert_eq(site->update.deadline_mono_us, UINT64_MAX);
    site_free(site);
}

Test(peers, a_region_asks_every_peer_at_the_start)
{
    struct site *site = site_new("eu", "us ap");
    site_tick(site, 0);
    cr_assert_eq(site_count(site, REGION_HELLO), 2);
    cr_assert_eq(site_state(site, 0), REGION_LOG_WAITING);
    site_free(site);
}

Test(peers, one_answer_is_not_enough_while_another_peer_may_still_tell)
{
    struct site *site = site_new("eu", "us ap");
    site_tick(site, 0);
    site_hello(site, "us", NULL, 0);
    cr_assert_not(region_accepting(site->region));
    struct region_log_status status;
    region_log_status(site->region, 0, &status);
    cr_assert_not_null(strstr(status.detail, "not heard: ap"), "%s", status.detail);
    site_peer_down(site, "ap");
    cr_assert(region_accepting(site->region));
    region_log_status(site->region, 0, &status);
    cr_assert_str_eq(status.detail, "");
    site_free(site);
}

Test(peers, with_no_peer_heard_it_waits_for_ever)
{
    struct site *site = site_new("eu", "us ap");
    site_tick(site, 0);
    site_peer_down(site, "us");
    site_peer_down(site, "ap");
    cr_assert_not(region_accepting(site->region));
    for (int i = 0; i < 20; i++) {
        site_tick(site, 1000000);
        site_peer_down(site, "us");
        site_peer_down(site, "ap");
    }
    cr_assert_not(region_accepting(site->region));
    site_hello(site, "ap", NULL, 0);
    cr_assert(region_accepting(site->region));
    site_free(site);
}

Test(peers, nothing_is_signed_before_the_peers_have_told)
{
    struct site *site = site_accepting("us");
    site_append(site, "s", 1);
    site->logs[0].note_size = 0; /* the checkpoint was not stored before the crash */
    buf_clear(&site->logs[0].note);
    site = site_restart(site);
    for (int i = 0; i < 5; i++) {
        site_tick(site, 1000000);
        cr_assert_eq(site_count(site, REGION_SAVE_CHECKPOINT), 0);
    }
    struct region_held held = {.origin = "demo/eu/1", .size = 1};
    site_hello(site, "us", &held, 1);
    cr_assert_eq(site_effect(site, REGION_SAVE_CHECKPOINT)->size, 1);
    site_free(site);
}

/* eu has lost its log, us holds all of it. */
static struct site *lost(uint64_t size, struct site **ret_us)
{
    struct site *eu = site_accepting("us ap");
    struct site *us = site_new("us", "eu ap");
    site_tick(us, 0);
    for (uint64_t i = 1; i <= size; i++)
        site_append(eu, "s", i);
    site_tick(eu, 1000000);
    if (eu->logs[0].saving)
        site_saved(eu, 0);
    if (eu->logs[0].saving)
        site_saved(eu, 0);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    site_send_note(us, eu, "eu");
    if (us->logs[site_log_number(us, "eu")].saving)
        site_saved(us, site_log_number(us, "eu"));
    site_free(eu);
    *ret_us = us;
    eu = site_new("eu", "us ap");
    site_tick(eu, 0);
    return eu;
}

Test(peers, a_region_that_lost_entries_pulls_them_back_before_it_accepts)
{
    struct site *us = NULL;
    struct site *eu = lost(3, &us);
    struct order order;
    site_peer_down(eu, "ap");
    site_meet(eu, us);
    cr_assert_eq(site_state(eu, 0), REGION_LOG_RESTORING);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->log, 0);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->size, 0);
    order_one(&order, "s", 9, "1");
    site_submit(eu, &order);
    cr_assert_eq(order.command.refusal.code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "restoring"));
    site_send_blocks(eu, us, "eu");
    site_written(eu, 0);
    site_written(eu, 0);
    cr_assert_not(region_accepting(eu->region), "one write is not durable yet");
    site_written(eu, 0);
    cr_assert(region_accepting(eu->region));
    cr_assert_eq(site_count(eu, REGION_CLOSE_PULL), 1);
    site_free(us);
    site_free(eu);
}

Test(peers, a_region_that_gets_back_more_than_it_was_told_of_waits_until_that_is_durable_too)
{
    struct site *us = NULL;
    struct site *eu = lost(3, &us);
    struct region_held less = {.origin = "demo/eu/1", .size = 1};
    site_peer_down(eu, "ap");
    site_hello(eu, "us", &less, 1);
    site_send_blocks(eu, us, "eu");
    site_written(eu, 0);
    cr_assert_not(region_accepting(eu->region));
    site_written(eu, 0);
    cr_assert_not(region_accepting(eu->region));
    site_written(eu, 0);
    cr_assert(region_accepting(eu->region));
    site_free(us);
    site_free(eu);
}

Test(peers, what_was_restored_counts)
{
    struct site *us = NULL;
    struct site *eu = lost(3, &us);
    struct order order;
    site_peer_down(eu, "ap");
    site_meet(eu, us);
    site_send_blocks(eu, us, "eu");
    site_written_all(eu, 0);
    order_one(&order, "s", 2, "1");
    site_submit(eu, &order);
    cr_assert(order.results[0].duplicate);
    order_init(&order);
    order_write(&order, "s", STREAM_AT, 2);
    order_event(&order, 9, "1");
    site_submit(eu, &order);
    site_written_all(eu, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert_eq(order.results[0].index, 3);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    cr_assert_eq(us->logs[site_log_number(us, "eu")].durable_size, 4, "what it goes on with fits its mirrors");
    site_free(us);
    site_free(eu);
}

Test(peers, a_restoring_region_stores_the_checkpoint_that_comes_back)
{
    struct site *us = NULL;
    struct site *eu = lost(3, &us);
    site_peer_down(eu, "ap");
    site_meet(eu, us);
    uint32_t log = site_log_number(us, "eu");
    cr_assert_eq(us->logs[log].note_size, 3);
    site_send_blocks(eu, us, "eu");
    site_send_note(eu, us, "eu");
    cr_assert_eq(site_count(eu, REGION_SAVE_CHECKPOINT), 0, "its entries are not durable yet");
    site_written(eu, 0);
    site_written(eu, 0);
    site_written(eu, 0);
    cr_assert_eq(site_effect(eu, REGION_SAVE_CHECKPOINT)->size, 3);
    site_saved(eu, 0);
    cr_assert(region_accepting(eu->region));
    site_free(us);
    site_free(eu);
}

Test(peers, a_restoring_region_turns_to_a_peer_that_holds_more)
{
    struct site *us = NULL;
    struct site *eu = lost(3, &us);
    struct region_held less = {.origin = "demo/eu/1", .size = 1};
    site_peer_down(eu, "us");
    site_hello(eu, "ap", &less, 1);
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "ap"));
    site_step(eu, (struct region_event){.type = REGION_PULL_BLOCK,
                                        .peer = site_peer(eu, "ap"),
                                        .block = us->logs[site_log_number(us, "eu")].blocks[0]});
    site_meet(eu, us);
    cr_assert_eq(site_effect(eu, REGION_CLOSE_PULL)->peer, site_peer(eu, "ap"));
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->peer, site_peer(eu, "us"));
    cr_assert_eq(site_effect(eu, REGION_OPEN_PULL)->size, 1);
    site_free(us);
    site_free(eu);
}

/* --- Who is up --- */

Test(peers, a_hello_is_repeated_after_the_interval)
{
    struct site *site = site_accepting("us");
    uint64_t interval_us = site->config.hello_interval_us;
    cr_assert_eq(site->update.deadline_mono_us, site->now.mono_us + interval_us);
    site_tick(site, interval_us - 1);
    cr_assert_eq(site_count(site, REGION_HELLO), 0);
    site_tick(site, 1);
    cr_assert_eq(site_count(site, REGION_HELLO), 1);
    site_tick(site, interval_us);
    cr_assert_eq(site_count(site, REGION_HELLO), 0, "the first one is still under way");
    site_free(site);
}

Test(peers, a_peer_that_is_silent_for_too_long_is_down_by_the_timer_alone)
{
    struct site *site = site_accepting("us");
    uint64_t end_us = site->now.mono_us + 2 * site->config.peer_timeout_us;
    cr_assert(peer_status(site, "us").up);
    while (peer_status(site, "us").up) { /* the hello under way is never answered */
        cr_assert_leq(site->update.deadline_mono_us, end_us, "no deadline would have noticed");
        site_tick(site, site->update.deadline_mono_us - site->now.mono_us);
    }
    cr_assert_gt(site->now.mono_us, peer_status(site, "us").last_contact_mono_us + site->config.peer_timeout_us);
    cr_assert_not_null(strstr(peer_status(site, "us").error, "not heard of for"));
    site_hello(site, "us", NULL, 0);
    cr_assert(peer_status(site, "us").up);
    cr_assert_str_eq(peer_status(site, "us").error, "");
    site_free(site);
}

Test(peers, an_acknowledgement_is_a_sign_of_life)
{
    struct site *site = site_accepting("us");
    for (int i = 0; i < 10; i++) {
        site_tick(site, site->config.peer_timeout_us / 2);
        site_step(site, (struct region_event){.type = REGION_ACKNOWLEDGED, .peer = site_peer(site, "us")});
    }
    cr_assert(peer_status(site, "us").up);
    site_free(site);
}

Test(peers, a_peer_that_fails_is_down_and_says_why)
{
    struct site *site = site_accepting("us");
    site_peer_down(site, "us");
    cr_assert_not(peer_status(site, "us").up);
    cr_assert(peer_status(site, "us").heard);
    cr_assert_str_eq(peer_status(site, "us").error, "no route");
    cr_assert(region_accepting(site->region), "a dead peer stops nobody");
    site_free(site);
}

/* --- Logs that peers hold --- */

Test(peers, a_log_of_a_peer_that_was_not_known_gets_a_mirror)
{
    struct site *site = site_accepting("us ap");
    struct region_held held[] = {{.origin = "demo/us/1", .size = 5}, {.origin = "demo/ap/1", .size = 0}};
    site_hello(site, "us", held, 2);
    cr_assert_eq(site_count(site, REGION_CREATE_LOG), 2);
    cr_assert_eq(region_log_count(site->region), 3);
    site_hello(site, "us", held, 2);
    cr_assert_eq(site_count(site, REGION_CREATE_LOG), 0);
    site_free(site);
}

Test(peers, logs_that_no_peer_can_own_are_left_alone)
{
    struct site *site = site_accepting("us");
    struct region_held held[] = {{.origin = "other/us/1", .size = 5},
                                 {.origin = "demo/mars/1", .size = 5},
                                 {.origin = "demo/eu/2", .size = 5},
                                 {.origin = "../../etc", .size = 5}};
    site_hello(site, "us", held, sizeof(held) / sizeof(held[0]));
    cr_assert_eq(region_log_count(site->region), 1);
    cr_assert_eq(site_count(site, REGION_CREATE_LOG), 0);
    site_free(site);
}

Test(peers, the_folder_of_a_mirror_comes_before_its_pull)
{
    struct site *site = site_accepting("us");
    struct region_held held = {.origin = "demo/us/1", .size = 5};
    site_hello(site, "us", &held, 1);
    cr_assert_lt(site_effect(site, REGION_CREATE_LOG), site_effect(site, REGION_OPEN_PULL));
    site_free(site);
}

Test(peers, an_acknowledgement_of_what_was_never_written_is_an_alarm_and_counts_for_nothing)
{
    struct site *site = site_accepting("us");
    site_append(site, "s", 1);
    site_step(site, (struct region_event){.type = REGION_ACKNOWLEDGED, .peer = 0, .size = 2});
    cr_assert_eq(site_count(site, REGION_ALARM), 1);
    cr_assert_eq(peer_status(site, "us").mirrored_size, 0);
    site_step(site, (struct region_event){.type = REGION_ACKNOWLEDGED, .peer = 0, .size = 1});
    cr_assert_eq(site_count(site, REGION_ALARM), 0);
    cr_assert_eq(peer_status(site, "us").mirrored_size, 1);
    site_free(site);
}
