/* The machine of automatic failover: what it orders after which answers. tests/fuzz/fuzz_takeover.c lets several of
 * them loose on one service. */
#include <criterion/criterion.h>

#include "region/takeover.h"

enum { SECOND_US = 1000 * 1000, LEASE_S = 4 };

static struct takeover takeover;
static struct takeover_view view;
static struct takeover_order order;
static struct region_loss losses[2];
static size_t loss_count;
static uint64_t now_us;

static void step(const struct takeover_answer *answer)
{
    takeover_step(&takeover, now_us, answer, losses, loss_count, &order);
}

static void expect(enum takeover_order_type type)
{
    cr_assert_eq(order.type, type, "order %d, expected %d, at %llu us", order.type, type, (unsigned long long)now_us);
}

static void answer_with(struct takeover_answer answer)
{
    answer.sent_us = now_us;
    now_us += 1000;
    step(&answer);
}

static void done(void)
{
    answer_with((struct takeover_answer){.code = 0});
}

static void fail(int code)
{
    struct takeover_answer answer = {.code = code};
    err_set(&answer.err, code, "planned");
    answer_with(answer);
}

static void look(void)
{
    expect(TAKEOVER_LOOK);
    answer_with((struct takeover_answer){.view = &view});
}

static void lease(void)
{
    answer_with((struct takeover_answer){.lease = 7, .lease_us = LEASE_S * SECOND_US});
}

static struct takeover_region *in_view(const char *name)
{
    for (size_t i = 0; i < view.region_count; i++) {
        if (strcmp(view.regions[i].name, name) == 0)
            return &view.regions[i];
    }
    struct takeover_region *region = &view.regions[view.region_count++];
    copy_string(region->name, sizeof(region->name), name);
    return region;
}

static void see(const char *name, uint64_t of_lease)
{
    struct takeover_region *region = in_view(name);
    region->known = true;
    region->lease = of_lease;
}

static void see_claim(const char *by, uint64_t revision)
{
    struct takeover_claim *claim = &view.claims[0];
    copy_string(claim->home, sizeof(claim->home), "eu");
    copy_string(claim->context, sizeof(claim->context), "bank");
    copy_string(claim->by, sizeof(claim->by), by);
    claim->revision = revision;
    view.claim_count = 1;
}

static void lose(const char *check)
{
    copy_string(losses[0].region, sizeof(losses[0].region), "eu");
    copy_string(losses[0].context, sizeof(losses[0].context), "bank");
    losses[0].check = check;
    copy_string(losses[0].detail, sizeof(losses[0].detail), check == NULL ? "" : "not now");
    loss_count = 1;
}

/* Carries out what comes with what the service would say, for so long. */
static void live(uint64_t us)
{
    uint64_t until_us = now_us + us;
    while (now_us < until_us) {
        if (order.type == TAKEOVER_PAUSE) {
            now_us = order.until_us > now_us ? order.until_us : now_us;
            done();
        } else if (order.type == TAKEOVER_GRANT || order.type == TAKEOVER_KEEP) {
            lease();
        } else if (order.type == TAKEOVER_LOOK) {
            look();
        } else {
            expect(TAKEOVER_REGISTER);
            done();
        }
    }
}

static struct takeover_status status(void)
{
    struct takeover_status ret;
    takeover_status(&takeover, now_us, losses, loss_count, &ret);
    return ret;
}

/* us, armed; eu is known, and alive. */
static void set_up(void)
{
    now_us = 100 * SECOND_US;
    memset(&view, 0, sizeof(view));
    memset(losses, 0, sizeof(losses));
    loss_count = 0;
    see("us", 7);
    see("eu", 9);
    takeover_init(&takeover, "us", LEASE_S * SECOND_US, now_us);
    step(NULL);
    live((LEASE_S + 1) * SECOND_US);
    cr_assert_eq(status().state, TAKEOVER_ARMED);
}

TestSuite(takeover, .init = set_up);

/* Up to the order that is neither of the routine, nor a pause. */
static void until(enum takeover_order_type type)
{
    for (unsigned i = 0; i < 1000 && order.type != type; i++) {
        if (order.type == TAKEOVER_PAUSE) {
            now_us = order.until_us > now_us ? order.until_us : now_us;
            done();
        } else if (order.type == TAKEOVER_KEEP || order.type == TAKEOVER_GRANT) {
            lease();
        } else if (order.type == TAKEOVER_REGISTER) {
            done();
        } else {
            look();
        }
    }
    expect(type);
}

static void claim(void)
{
    see("eu", 0);
    lose(NULL);
    until(TAKEOVER_CLAIM);
    cr_assert_str_eq(order.home, "eu");
    cr_assert_str_eq(order.context, "bank");
    cr_assert_eq(order.lease, 7);
    answer_with((struct takeover_answer){.granted = true, .revision = 55});
    see_claim("us", 55);
}

Test(takeover, a_lease_comes_first_then_the_key_then_a_look)
{
    takeover_init(&takeover, "us", LEASE_S * SECOND_US, now_us);
    step(NULL);
    expect(TAKEOVER_GRANT);
    cr_assert_eq(status().state, TAKEOVER_ARMING);
    lease();
    expect(TAKEOVER_REGISTER);
    cr_assert_eq(order.lease, 7);
    done();
    look();
    expect(TAKEOVER_PAUSE);
}

Test(takeover, the_lease_is_renewed_three_times_in_its_time)
{
    unsigned renewals = 0;
    uint64_t until_us = now_us + 2 * LEASE_S * SECOND_US;
    while (now_us < until_us) {
        renewals += order.type == TAKEOVER_KEEP;
        live(1);
    }
    cr_assert_geq(renewals, 5);
    cr_assert_leq(renewals, 7);
}

Test(takeover, a_lease_that_has_ended_is_replaced_and_the_key_put_again)
{
    until(TAKEOVER_KEEP);
    answer_with((struct takeover_answer){.lease_us = 0});
    expect(TAKEOVER_GRANT);
    lease();
    expect(TAKEOVER_REGISTER);
}

Test(takeover, a_key_that_somebody_removed_is_put_again)
{
    see("us", 0);
    for (unsigned i = 0; i < 10 && order.type != TAKEOVER_LOOK; i++)
        live(1);
    look();
    expect(TAKEOVER_REGISTER);
}

Test(takeover, a_loss_is_claimed_and_seized_with_the_claims_revision)
{
    claim();
    expect(TAKEOVER_SEIZE);
    cr_assert_eq(order.revision, 55);
    cr_assert_leq(order.until_us, now_us + TAKEOVER_DECIDE_US);
    cr_assert_eq(status().stage, TAKEOVER_CLAIMED);
    loss_count = 0;
    done();
    cr_assert_eq(status().takeovers, 1);
    cr_assert_eq(status().stage, TAKEOVER_NOTHING);
    live(60 * SECOND_US); /* and nothing else is ordered */
}

Test(takeover, what_one_step_did_not_seize_is_seized_by_the_next_under_the_same_claim)
{
    claim();
    expect(TAKEOVER_SEIZE);
    answer_with((struct takeover_answer){.remaining = 3});
    look();
    expect(TAKEOVER_SEIZE);
    cr_assert_eq(order.revision, 55);
}

Test(takeover, a_home_that_is_alive_is_not_claimed)
{
    lose(NULL);
    live(60 * SECOND_US);
    cr_assert_eq(status().stage, TAKEOVER_RENEWS);
}

Test(takeover, a_home_that_never_registered_is_not_claimed)
{
    view.region_count = 1;
    lose(NULL);
    live(60 * SECOND_US);
    cr_assert_eq(status().stage, TAKEOVER_UNKNOWN);
}

Test(takeover, what_fails_a_check_is_not_claimed_and_said)
{
    see("eu", 0);
    lose("survivors");
    live(60 * SECOND_US);
    cr_assert_eq(status().stage, TAKEOVER_NOT_READY);
    cr_assert_str_eq(status().loss, "context bank: region eu is lost, and NOT seized: check survivors fails: not now");
}

Test(takeover, what_another_one_claimed_is_left_to_it)
{
    see("eu", 0);
    see_claim("ap", 50);
    lose(NULL);
    live(60 * SECOND_US);
    cr_assert_eq(status().stage, TAKEOVER_OTHERS);
    cr_assert_not_null(strstr(status().loss, "region ap has the claim of revision 50"), "%s", status().loss);
}

Test(takeover, a_claim_that_was_not_granted_leads_to_nothing)
{
    see("eu", 0);
    lose(NULL);
    until(TAKEOVER_CLAIM);
    answer_with((struct takeover_answer){.granted = false, .revision = 51});
    see_claim("ap", 50);
    live(60 * SECOND_US);
}

Test(takeover, a_claim_whose_answer_was_lost_is_found_and_taken_up_and_never_withdrawn)
{
    see("eu", 0);
    lose(NULL);
    until(TAKEOVER_CLAIM);
    fail(ERR_TIMEOUT);
    see_claim("us", 60);
    until(TAKEOVER_SEIZE);
    cr_assert_eq(order.revision, 60);
    for (unsigned i = 0; i < 3 * TAKEOVER_TRIES_MAX; i++) {
        fail(ERR_UNAVAILABLE);
        until(TAKEOVER_SEIZE);
    }
}

Test(takeover, a_refused_failover_is_tried_again_after_a_fresh_look_and_then_the_claim_is_withdrawn)
{
    claim();
    for (unsigned i = 0; i < TAKEOVER_TRIES_MAX; i++) {
        uint64_t before_us = now_us;
        expect(TAKEOVER_SEIZE);
        fail(ERR_UNAVAILABLE);
        cr_assert_eq(status().stage, TAKEOVER_REFUSED);
        cr_assert_eq(status().refusals, i + 1);
        if (i + 1 < TAKEOVER_TRIES_MAX) {
            until(TAKEOVER_SEIZE);
            cr_assert_geq(now_us, before_us + TAKEOVER_TRY_US);
        }
    }
    expect(TAKEOVER_WITHDRAW);
    cr_assert_eq(order.revision, 55);
    view.claim_count = 0;
    done();
    live(TAKEOVER_REST_US / 2);
    cr_assert_not_null(strstr(status().loss, "NOT seized: planned"), "%s", status().loss);
    until(TAKEOVER_CLAIM);
}

Test(takeover, a_claim_under_which_something_was_seized_is_not_withdrawn)
{
    claim();
    answer_with((struct takeover_answer){.remaining = 3});
    until(TAKEOVER_SEIZE);
    for (unsigned i = 0; i < 2 * TAKEOVER_TRIES_MAX; i++) {
        fail(ERR_UNAVAILABLE);
        until(TAKEOVER_SEIZE);
    }
}

Test(takeover, a_home_that_is_back_ends_the_attempt)
{
    claim();
    fail(ERR_UNAVAILABLE);
    see("eu", 9);
    view.claim_count = 0;
    loss_count = 0;
    live(60 * SECOND_US);
}

Test(takeover, a_loss_that_is_none_any_more_gives_the_claim_back)
{
    claim();
    fail(ERR_BUSY);
    loss_count = 0;
    until(TAKEOVER_WITHDRAW);
}

Test(takeover, a_claim_that_was_seen_long_ago_is_looked_at_again_before_the_attempt)
{
    claim();
    expect(TAKEOVER_SEIZE);
    fail(ERR_BUSY);
    now_us += 2 * SECOND_US;
    until(TAKEOVER_LOOK);
    see_claim("ap", 77); /* somebody else's by now */
    look();
    live(60 * SECOND_US);
}

Test(takeover, out_of_touch_is_degraded_and_armed_only_a_lease_after_it_is_back)
{
    see("eu", 0);
    lose(NULL);
    for (unsigned i = 0; i < 100 && status().state != TAKEOVER_DEGRADED; i++) {
        now_us = order.type == TAKEOVER_PAUSE && order.until_us > now_us ? order.until_us : now_us;
        if (order.type == TAKEOVER_PAUSE)
            done();
        else
            fail(ERR_TIMEOUT);
    }
    cr_assert_eq(status().state, TAKEOVER_DEGRADED);
    cr_assert_eq(status().stage, TAKEOVER_UNARMED);
    cr_assert_not_null(strstr(status().detail, "planned"));
    until(TAKEOVER_LOOK);
    uint64_t back_us = now_us;
    until(TAKEOVER_CLAIM);
    cr_assert_geq(now_us, back_us + (LEASE_S - 1) * SECOND_US);
}

Test(takeover, a_context_whose_checks_fail_does_not_hold_up_another)
{
    claim();
    losses[1] = losses[0];
    copy_string(losses[1].context, sizeof(losses[1].context), "shop");
    loss_count = 2;
    until(TAKEOVER_SEIZE);
    for (unsigned i = 0; i < TAKEOVER_TRIES_MAX; i++) {
        fail(ERR_UNAVAILABLE);
        if (i + 1 < TAKEOVER_TRIES_MAX)
            until(TAKEOVER_SEIZE);
    }
    expect(TAKEOVER_WITHDRAW);
    view.claim_count = 0;
    done();
    until(TAKEOVER_CLAIM);
    cr_assert_str_eq(order.context, "shop");
}

Test(takeover, what_is_not_there_any_more_needs_no_seizure)
{
    claim();
    fail(ERR_NOT_FOUND);
    cr_assert_eq(status().refusals, 0);
    loss_count = 0;
    live(60 * SECOND_US);
}

Test(takeover, states_have_names)
{
    cr_expect_str_eq(takeover_state_name(TAKEOVER_OFF), "off");
    cr_expect_str_eq(takeover_state_name(TAKEOVER_ARMING), "arming");
    cr_expect_str_eq(takeover_state_name(TAKEOVER_ARMED), "armed");
    cr_expect_str_eq(takeover_state_name(TAKEOVER_DEGRADED), "degraded");
}
