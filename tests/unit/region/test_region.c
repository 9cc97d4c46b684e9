/* Life cycle, forks, and what a status page shows. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "unit/region/fixture.h"

/* --- Start --- */

/* What region_new says to a log of eu that holds `entry_count` entries, and to the checkpoint stored beside it. */
static int start_with(const struct checkpoint *checkpoint, const char *signing_region, struct err *err)
{
    struct site *site = site_alone();
    struct region_log_found found = {.origin = "demo/eu/1"};
    struct note_signer signer;
    struct buf note;
    struct region *region = NULL;
    for (uint64_t i = 1; i <= 3; i++)
        site_append(site, "s", i);
    chain_init(&found.chain, site->sha, BYTES_LITERAL("demo/eu/1"));
    for (size_t i = 0; i < site->logs[0].block_count; i++) {
        const struct block *block = site->logs[0].blocks[i];
        cr_assert_eq(
            chain_check_block(&found.chain, site->sha, block_body(block), block->entry_count, NULL, NULL, NULL, NULL),
            0);
    }
    struct checkpoint signed_one = *checkpoint;
    if (signed_one.size == 3 && hash_equal(&signed_one.root, &(struct hash){0}))
        signed_one.root = merkle_range_root(&found.chain.range, site->sha);
    buf_init(&note, NOTE_MAX_BYTES);
    site_log_signer(signing_region, &signer);
    cr_assert_eq(checkpoint_sign(&signed_one, &signer, &note, NULL), 0);
    found.checkpoint = buf_bytes(&note);
    int code = region_new(&site->config, &found, 1, site->index, &region, err);
    region_free(region);
    buf_free(&note);
    site_free(site);
    return code;
}

Test(region, starts_with_the_checkpoint_of_its_log)
{
    struct err err = {0};
    cr_assert_eq(start_with(&(struct checkpoint){.origin = "demo/eu/1", .size = 3}, "eu", &err), 0, "%s", err.message);
}

Test(region, refuses_a_stored_checkpoint_that_is_ahead_of_the_log)
{
    struct err err = {0};
    cr_assert_eq(start_with(&(struct checkpoint){.origin = "demo/eu/1", .size = 4}, "eu", &err), ERR_MISMATCH);
    cr_assert_not_null(strstr(err.message, "has 3 entries, but its stored checkpoint covers 4"), "%s", err.message);
}

Test(region, refuses_a_stored_checkpoint_of_another_root)
{
    struct err err = {0};
    struct checkpoint other = {.origin = "demo/eu/1", .size = 3, .root = {.bytes = {1}}};
    cr_assert_eq(start_with(&other, "eu", &err), ERR_MISMATCH);
}

Test(region, refuses_a_stored_checkpoint_signed_by_another_key)
{
    struct err err = {0};
    int code = start_with(&(struct checkpoint){.origin = "demo/eu/1", .size = 3}, "us", &err);
    cr_assert_neq(code, 0);
    cr_assert_not_null(strstr(err.message, "stored checkpoint of log demo/eu/1"), "%s", err.message);
}

/* What region_new says to a mirror of this origin. */
static int start_with_mirror(const char *origin, struct err *err)
{
    struct site *site = site_new("eu", "us");
    struct region_log_found found[2] = {{.origin = "demo/eu/1"}, {.checkpoint = {0}}};
    struct region *region = NULL;
    snprintf(found[1].origin, sizeof(found[1].origin), "%s", origin);
    for (size_t i = 0; i < 2; i++)
        chain_init(&found[i].chain, site->sha, bytes_of_string(found[i].origin));
    int code = region_new(&site->config, found, 2, site->index, &region, err);
    region_free(region);
    site_free(site);
    return code;
}

Test(region, refuses_a_mirror_of_a_region_that_is_no_peer)
{
    struct err err = {0};
    cr_assert_eq(start_with_mirror("demo/us/1", &err), 0, "%s", err.message);
    cr_assert_eq(start_with_mirror("demo/ap/1", &err), ERR_MISMATCH);
    cr_assert_not_null(strstr(err.message, "list it in tallyd.yaml"), "%s", err.message);
    cr_assert_eq(start_with_mirror("other/us/1", &err), ERR_MISMATCH);
}

Test(region, a_restart_loses_nothing_that_was_answered)
{
    struct site *site = site_alone();
    struct order order;
    site_append(site, "s", 1);
    order_one(&order, "s", 2, "1");
    site_submit(site, &order); /* not durable, so not answered */
    site = site_restart(site);
    site_tick(site, 0);
    order_init(&order);
    order_write(&order, "s", STREAM_AT, 0);
    order_event(&order, 2, "1");
    site_submit(site, &order);
    site_written_all(site, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert_not(order.results[0].duplicate);
    cr_assert_eq(order.results[0].index, 1);
    site_free(site);
}

/* --- Forks --- */

/* us held a log of eu that eu has no more of, and eu has appended anew since. */
static struct site *forked_mirror(struct site **ret_eu)
{
    struct site *us = site_new("us", "eu");
    struct site *eu = site_accepting("us");
    struct site *other = site_accepting("us");
    site_tick(us, 0);
    site_append(eu, "s", 1);
    site_append(other, "s", 2);
    site_meet(us, eu);
    site_send_blocks(us, eu, "eu");
    site_written_all(us, site_log_number(us, "eu"));
    site_tick(other, 1000000);
    if (other->logs[0].saving)
        site_saved(other, 0);
    cr_assert_eq(other->logs[0].note_size, 1);
    site_send_note(us, other, "eu");
    site_free(other);
    *ret_eu = eu;
    return us;
}

Test(region, another_root_for_a_size_stops_the_mirror_with_an_alarm_and_the_evidence)
{
    struct site *eu = NULL;
    struct site *us = forked_mirror(&eu);
    const struct region_effect *alarm = site_effect(us, REGION_ALARM);
    cr_assert_not_null(strstr(alarm->text, "FORK"));
    cr_assert(alarm->fork);
    cr_assert_gt(alarm->note.size_bytes, 0);
    cr_assert_eq(site_count(us, REGION_CLOSE_PULL), 1);
    cr_assert_eq(site_count(us, REGION_SAVE_CHECKPOINT), 0);
    cr_assert_eq(site_state(us, site_log_number(us, "eu")), REGION_LOG_FORKED);
    site_free(us);
    site_free(eu);
}

Test(region, a_forked_mirror_stays_stopped)
{
    struct site *eu = NULL;
    struct site *us = forked_mirror(&eu);
    uint32_t log = site_log_number(us, "eu");
    site_append(eu, "s", 3);
    site_step(us, (struct region_event){.type = REGION_PULL_CLOSED, .log = log});
    site_meet(us, eu);
    cr_assert_eq(site_count(us, REGION_OPEN_PULL), 0);
    site_send_blocks(us, eu, "eu");
    cr_assert_eq(site_count(us, REGION_WRITE), 0);
    site_tick(us, 60000000);
    cr_assert_eq(site_count(us, REGION_OPEN_PULL), 0);
    cr_assert_eq(site_state(us, log), REGION_LOG_FORKED);
    site_free(us);
    site_free(eu);
}

Test(region, a_fork_of_one_log_leaves_the_others_alone)
{
    struct site *eu = NULL;
    struct site *us = forked_mirror(&eu);
    struct order order;
    cr_assert(region_accepting(us->region));
    order_one(&order, "cart", 9, "1");
    order.writes[0].context = BYTES_LITERAL("shop");
    site_submit(us, &order);
    site_written_all(us, 0);
    cr_assert_eq(order.command.refusal.code, 0);
    site_free(us);
    site_free(eu);
}

Test(region, a_peer_that_holds_more_of_the_own_log_stops_a_region_that_accepts)
{
    struct site *eu = site_accepting("us");
    struct order order;
    site_append(eu, "s", 1);
    struct region_held held = {.origin = "demo/eu/1", .size = 5};
    site_hello(eu, "us", &held, 1);
    cr_assert_not_null(strstr(site_effect(eu, REGION_ALARM)->text, "FORK"));
    cr_assert_eq(site_state(eu, 0), REGION_LOG_FORKED);
    order_one(&order, "s", 2, "1");
    site_submit(eu, &order);
    cr_assert_eq(order.command.refusal.code, ERR_UNAVAILABLE);
    site_hello(eu, "us", NULL, 0);
    cr_assert_eq(site_state(eu, 0), REGION_LOG_FORKED);
    site_free(eu);
}

Test(region, a_fork_of_the_own_log_still_answers_what_becomes_durable)
{
    struct site *eu = site_accepting("us");
    struct order order;
    order_one(&order, "s", 1, "1");
    site_submit(eu, &order);
    struct region_held held = {.origin = "demo/eu/1", .size = 5};
    site_hello(eu, "us", &held, 1);
    cr_assert_eq(order.answers, 0);
    site_written_all(eu, 0);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.command.refusal.code, 0);
    site_free(eu);
}

/* --- Status --- */

Test(region, status_counts_what_is_durable_and_what_is_known_elsewhere)
{
    struct site *us = site_new("us", "eu");
    struct site *eu = site_accepting("us");
    struct region_log_status status;
    struct order order;
    site_tick(us, 0);
    site_append(eu, "s", 1);
    order_one(&order, "s", 2, "1");
    site_submit(eu, &order);
    region_log_status(eu->region, 0, &status);
    cr_assert_str_eq(status.origin, "demo/eu/1");
    cr_assert_eq(status.state, REGION_LOG_ACCEPTING);
    cr_assert_eq(status.size, 1);
    cr_assert_eq(status.indexed_size, 0);
    site_indexed(eu, 0);
    site_meet(us, eu);
    region_log_status(us->region, site_log_number(us, "eu"), &status);
    cr_assert_eq(status.state, REGION_LOG_MIRRORING);
    cr_assert_eq(status.size, 0);
    cr_assert_eq(status.known_size, 1);
    region_log_status(eu->region, 0, &status);
    cr_assert_eq(status.indexed_size, 1);
    site_free(us);
    site_free(eu);
}

Test(region, every_state_has_a_name_of_its_own)
{
    for (int a = REGION_LOG_WAITING; a <= REGION_LOG_FORKED; a++) {
        cr_assert_gt(strlen(region_log_state_name((enum region_log_state)a)), 0);
        for (int b = a + 1; b <= REGION_LOG_FORKED; b++)
            cr_assert_str_neq(region_log_state_name((enum region_log_state)a),
                              region_log_state_name((enum region_log_state)b));
    }
}
