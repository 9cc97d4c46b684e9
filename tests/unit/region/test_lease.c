/* Leases: who may accept for a fenced context, and who may be seized from. */
#include "region/lease.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/mem.h"
#include "unit/region/fixture.h"

enum { LEASE_MS = 2000, LEASE_US = LEASE_MS * 1000 };

/* --- Sites of a cluster whose context "bank" is fenced --- */

static struct site *fenced(const char *region, const char *peers)
{
    struct site *site =
        site_new_ruled(region, peers, &(struct context_rules){.isolation = ISOLATION_FENCE, .lease_ms = LEASE_MS});
    site_tick(site, 0);
    return site;
}

/* `from` answers a hello of `to` that `to` asks now, and tells of its logs. */
static struct region_lease_answer meet(struct site *to, struct site *from)
{
    const struct region_lease_question question = {.abstain = false};
    struct region_lease_answer answer;
    region_lease_asked(from->region, from->now, site_peer(from, to->config.region), &question, &answer);
    site_meet_granting(to, from, &answer);
    return answer;
}

static int append(struct site *site, uint64_t id, char *ret_message)
{
    struct order order;
    order_one(&order, "s", id, "1");
    site_submit(site, &order);
    if (order.answers == 0)
        site_written_all(site, 0);
    cr_assert_eq(order.answers, 1);
    if (ret_message != NULL)
        strcpy(ret_message, order.command.refusal.err.message);
    return order.command.refusal.code;
}

static void pass(struct site *site, uint64_t us)
{
    site->now.mono_us += us;
    site->now.wall_us += us;
}

/* --- Held --- */

Test(lease, a_fenced_home_accepts_while_more_than_half_grant_it)
{
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct site *eu = fenced("eu", "us ap");
    struct site *us = fenced("us", "eu ap");
    site_peer_down(eu, "ap");
    site_hello(eu, "us", NULL, 0);
    cr_assert(region_accepting(eu->region));
    cr_assert_eq(append(eu, 1, message), ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(message, "2 of 3 regions"), "%s", message);
    cr_assert_not_null(strstr(message, "us (answers"), "%s", message);
    cr_assert_not_null(strstr(message, "ap (does not answer)"), "%s", message);
    meet(us, eu); /* each has an empty disk, and believes itself only when it knows what the others obey */
    site_hello(us, "ap", NULL, 0);
    site_hello(eu, "ap", NULL, 0);
    cr_assert(meet(eu, us).granted);
    cr_assert_eq(append(eu, 2, NULL), 0);
    site_free(us);
    site_free(eu);
}

/* eu and us, which have both begun, and eu holds a lease by us's grant. ap never answers again. */
static void pair(struct site **eu, struct site **us)
{
    *eu = fenced("eu", "us ap");
    *us = fenced("us", "eu ap");
    site_hello(*eu, "ap", NULL, 0);
    site_hello(*us, "ap", NULL, 0);
    meet(*us, *eu);
    cr_assert(meet(*eu, *us).granted);
    cr_assert_eq(append(*eu, 1000, NULL), 0);
}

Test(lease, it_ends_when_it_is_not_granted_again_and_is_counted_from_before_it_was_asked_for)
{
    struct site *eu = NULL;
    struct site *us = NULL;
    pair(&eu, &us);
    pass(eu, LEASE_US - 1);
    cr_assert_eq(append(eu, 1, NULL), 0);
    pass(eu, 1);
    cr_assert_eq(append(eu, 2, NULL), ERR_UNAVAILABLE);
    eu->asked_us[site_peer(eu, "us")] = eu->now.mono_us;
    pass(us, LEASE_US);
    pass(eu, LEASE_US - 10); /* the answer takes long */
    meet(eu, us);
    cr_assert_eq(append(eu, 3, NULL), 0);
    pass(eu, 10);
    cr_assert_eq(append(eu, 4, NULL), ERR_UNAVAILABLE, "counted from when it asked");
    site_free(us);
    site_free(eu);
}

Test(lease, what_was_decided_under_it_and_is_durable_after_it_is_not_acknowledged)
{
    struct site *eu = NULL;
    struct site *us = NULL;
    struct order order;
    pair(&eu, &us);
    order_one(&order, "s", 1, "1");
    site_submit(eu, &order);
    cr_assert_eq(order.answers, 0);
    pass(eu, LEASE_US);
    site_written_all(eu, 0);
    cr_assert_eq(order.answers, 1);
    cr_assert_eq(order.command.refusal.code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "again with the same ids"));
    cr_assert_eq(append(eu, 1, NULL), ERR_UNAVAILABLE, "a repetition is acknowledged under a lease, too");
    eu->asked_us[site_peer(eu, "us")] = eu->now.mono_us;
    pass(us, LEASE_US);
    meet(eu, us);
    cr_assert_eq(append(eu, 1, NULL), 0);
    site_free(us);
    site_free(eu);
}

Test(lease, contexts_that_are_not_fenced_need_none)
{
    struct site *eu = fenced("eu", "us ap");
    struct order order;
    site_peer_down(eu, "ap");
    site_hello(eu, "us", NULL, 0);
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0)->context = BYTES_LITERAL("till");
    order_event(&order, 1, "1");
    site_submit(eu, &order);
    site_written_all(eu, 0);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    site_free(eu);
}

Test(lease, it_lasts_longer_for_those_who_wait_than_for_its_holder_whatever_their_clocks_do)
{
    const uint64_t lengths[] = {500 * 1000, 3600u * 1000 * 1000};
    for (size_t i = 0; i < 2; i++) {
        uint64_t holder_real = lengths[i] * 1000000 / (1000000 - LEASE_DRIFT_PPM); /* a slow clock */
        uint64_t waiter_real = lease_stretched_us(lengths[i]) * 1000000 / (1000000 + LEASE_DRIFT_PPM); /* a fast one */
        cr_assert_geq(waiter_real, holder_real);
    }
}

/* --- Granted --- */

Test(lease, a_region_without_a_disk_grants_nothing_until_others_have_told_whom_they_obey)
{
    const struct region_lease_question question = {.abstain = false};
    struct region_lease_answer answer;
    struct site *us = fenced("us", "eu ap");
    region_lease_asked(us->region, us->now, site_peer(us, "eu"), &question, &answer);
    cr_assert_not(answer.granted);
    site_hello(us, "eu", NULL, 0);
    region_lease_asked(us->region, us->now, site_peer(us, "eu"), &question, &answer);
    cr_assert_not(answer.granted, "eu alone may be the home that was overtaken");
    struct region_held unknown[] = {{.origin = "demo/ap/1", .size = 3, .obeyed = 3}};
    site_hello(us, "ap", unknown, 1);
    region_lease_asked(us->region, us->now, site_peer(us, "eu"), &question, &answer);
    cr_assert_not(answer.granted, "what ap obeys is not here yet");
    site_hello(us, "ap", NULL, 0);
    region_lease_asked(us->region, us->now, site_peer(us, "eu"), &question, &answer);
    cr_assert(answer.granted);
    site_free(us);
}

Test(lease, a_start_counts_as_a_grant_to_everybody)
{
    struct site *us = fenced("us", "eu ap");
    const struct region_lease_question about = {.about = "eu", .lease_us = LEASE_US, .abstain = true};
    struct region_lease_answer answer;
    region_lease_asked(us->region, us->now, site_peer(us, "ap"), &about, &answer);
    cr_assert_not(answer.abstains);
    cr_assert_eq(answer.left_us, lease_stretched_us(LEASE_US));
    pass(us, lease_stretched_us(LEASE_US));
    region_lease_asked(us->region, us->now, site_peer(us, "ap"), &about, &answer);
    cr_assert(answer.abstains);
    site_free(us);
}

Test(lease, who_abstains_grants_nothing_for_as_long_as_a_lease_lasts)
{
    struct site *eu = NULL;
    struct site *us = NULL;
    pair(&eu, &us);
    const struct region_lease_question about = {.about = "eu", .lease_us = LEASE_US, .abstain = true};
    const struct region_lease_question nothing = {.abstain = false};
    struct region_lease_answer answer;
    pass(us, lease_stretched_us(LEASE_US));
    region_lease_asked(us->region, us->now, site_peer(us, "ap"), &about, &answer);
    cr_assert(answer.abstains);
    region_lease_asked(us->region, us->now, site_peer(us, "eu"), &nothing, &answer);
    cr_assert_not(answer.granted);
    pass(us, lease_stretched_us(LEASE_US));
    region_lease_asked(us->region, us->now, site_peer(us, "eu"), &nothing, &answer);
    cr_assert(answer.granted);
    site_free(us);
    site_free(eu);
}

/* --- Seizures --- */

static void fail_over(struct site *site, const char *from, bool forced, struct order *order,
                      struct region_control *control)
{
    order_init(order);
    *control = (struct region_control){.type = REGION_FAILOVER,
                                       .context = BYTES_LITERAL("bank"),
                                       .actor = BYTES_LITERAL("operator"),
                                       .reason = BYTES_LITERAL("a test"),
                                       .forced = forced};
    strcpy(control->region, from);
    order->command = (struct region_command){.control = control};
    site_decide(site, order);
    if (order->answers == 0)
        site_written_all(site, 0);
    cr_assert_eq(order->answers, 1);
}

static struct authority_now now_of(const struct site *site)
{
    struct authority_now now;
    cr_assert_eq(
        authority_now(region_authority(site->region), BYTES_LITERAL("bank"), BYTES_LITERAL("north"), &now, NULL), 0);
    return now;
}

Test(lease, a_seizure_waits_until_the_lost_home_cannot_have_a_lease)
{
    struct order order;
    struct region_control control;
    struct site *eu = NULL;
    struct site *us = NULL;
    pair(&eu, &us);
    site_peer_down(us, "eu");
    fail_over(us, "eu", false, &order, &control);
    cr_assert_eq(order.command.refusal.code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(order.command.refusal.err.message, "may hold a lease"), "%s",
                       order.command.refusal.err.message);
    pass(us, lease_stretched_us(LEASE_US));
    us->abstains = true;
    fail_over(us, "eu", false, &order, &control);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert_str_eq(now_of(us).region, "us");
    cr_assert_not(now_of(us).unfenced);
    cr_assert_eq(append(us, 7, NULL), ERR_UNAVAILABLE, "it has no lease of its own yet");
    site_free(us);
    site_free(eu);
}

Test(lease, a_forced_seizure_begins_an_epoch_without_leases_and_says_so_in_the_log)
{
    struct order order;
    struct region_control control;
    struct site *eu = NULL;
    struct site *us = NULL;
    pair(&eu, &us);
    site_peer_down(us, "eu");
    site_peer_down(us, "ap");
    fail_over(us, "eu", true, &order, &control);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert(now_of(us).unfenced);
    site_indexed(us, 0);
    cr_assert_eq(append(us, 7, NULL), 0);
    site_free(us);
    site_free(eu);
}

Test(lease, a_home_that_is_left_alone_goes_on_by_force_and_is_fenced_again_without)
{
    struct order order;
    struct region_control control;
    struct site *eu = NULL;
    struct site *us = NULL;
    pair(&eu, &us);
    pass(eu, LEASE_US);
    fail_over(eu, "eu", false, &order, &control);
    cr_assert_eq(order.command.refusal.code, ERR_UNAVAILABLE);
    fail_over(eu, "eu", true, &order, &control);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert(now_of(eu).unfenced);
    site_indexed(eu, 0);
    cr_assert_eq(append(eu, 7, NULL), 0);
    eu->asked_us[site_peer(eu, "us")] = eu->now.mono_us;
    pass(us, LEASE_US);
    meet(eu, us);
    fail_over(eu, "eu", false, &order, &control);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    cr_assert_not(now_of(eu).unfenced);
    site_free(us);
    site_free(eu);
}

/* As where a disk was lost: the own log is back, with what us had taken over by a basis, and the index has nothing of
 * either. A seizure by the index's position would make all of us's entries late. */
Test(lease, a_home_does_not_seize_from_itself_what_its_index_does_not_show)
{
    struct order order;
    struct region_control control;
    struct site *eu = NULL;
    struct site *us = NULL;
    pair(&eu, &us);
    fail_over(eu, "eu", false, &order, &control);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    for (int forced = 0; forced < 2; forced++) {
        fail_over(eu, "eu", forced == 1, &order, &control);
        cr_expect_eq(order.command.refusal.code, ERR_BUSY);
        cr_expect_not_null(strstr(order.command.refusal.err.message, "not all of what made this region a home"), "%s",
                           order.command.refusal.err.message);
    }
    site_indexed(eu, 0);
    fail_over(eu, "eu", false, &order, &control);
    cr_expect_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    site_free(us);
    site_free(eu);
}

/* --- Two homes --- */

/* us seizes by force of a bug: as soon as it likes, and fenced. What others then do is what the header promises. */
Test(lease, a_granter_tells_a_new_home_that_it_obeys_only_when_the_old_ones_grant_has_ended)
{
    const struct region_lease_question nothing = {.abstain = false};
    struct region_lease_answer answer;
    struct order order;
    struct region_control control;
    struct site *eu = NULL;
    struct site *us = NULL;
    struct site *ap = fenced("ap", "eu us");
    pair(&eu, &us);
    meet(ap, eu);
    meet(ap, us);
    uint64_t before_us = us->now.mono_us;
    region_lease_asked(ap->region, ap->now, site_peer(ap, "eu"), &nothing, &answer);
    cr_assert(answer.granted);
    site_peer_down(us, "eu");
    pass(us, lease_stretched_us(LEASE_US)); /* its clock is ahead */
    us->abstains = true;
    fail_over(us, "eu", false, &order, &control);
    cr_assert_eq(order.command.refusal.code, 0, "%s", order.command.refusal.err.message);
    meet(ap, us);
    site_send_blocks(ap, us, "us");
    site_written_all(ap, site_log_number(ap, "us"));
    cr_assert_str_eq(now_of(ap).region, "us", "it obeys");
    uint32_t log = site_log_number(ap, "us");
    region_lease_asked(ap->region, ap->now, site_peer(ap, "us"), &nothing, &answer);
    cr_assert_eq(answer.obeyed[log], 0, "and does not say so to us …");
    region_lease_asked(ap->region, ap->now, site_peer(ap, "eu"), &nothing, &answer);
    cr_assert_eq(answer.obeyed[log], us->logs[0].durable_size, "… but to eu, which may not count this one");
    pass(ap, lease_stretched_us(LEASE_US));
    region_lease_asked(ap->region, ap->now, site_peer(ap, "us"), &nothing, &answer);
    cr_assert_eq(answer.obeyed[log], us->logs[0].durable_size);
    cr_assert_gt(us->now.mono_us, before_us);
    site_free(ap);
    site_free(us);
    site_free(eu);
}
