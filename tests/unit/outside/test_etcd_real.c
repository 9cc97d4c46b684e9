/* The orders, carried out by a real etcd: that its transactions are what region/takeover.h takes them for. Each test is
 * a cluster of its own. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "outside/etcd.h"

enum { LEASE_S = 2, WAITS_MAX = 600 };

static struct takeover_view view;
static const char *cluster;

static struct etcd *client_of(const char *region)
{
    struct etcd *etcd = NULL;
    const struct etcd_config config = {.endpoint_count = 1,
                                       .endpoints = {getenv("TALLY_TEST_ETCD")},
                                       .prefix = "/test",
                                       .cluster = cluster,
                                       .region = region,
                                       .lease_s = LEASE_S};
    cr_assert_not_null(config.endpoints[0], "run this by make unit");
    cr_assert_eq(etcd_new(&config, NULL, &etcd, NULL), 0);
    return etcd;
}

static struct takeover_answer carry_out(struct etcd *etcd, struct takeover_order order)
{
    struct takeover_answer answer;
    for (int i = 0; i < WAITS_MAX; i++) { /* half a second is little for a machine with much to do */
        etcd_carry_out(etcd, &order, &view, &answer);
        if (answer.code != ERR_TIMEOUT)
            break;
    }
    return answer;
}

static struct takeover_answer expect(struct etcd *etcd, struct takeover_order order)
{
    struct takeover_answer answer = carry_out(etcd, order);
    cr_assert_eq(answer.code, 0, "%s", answer.err.message);
    return answer;
}

/* Registered, with the lease that it gets. */
static uint64_t join(struct etcd *etcd)
{
    uint64_t lease = expect(etcd, (struct takeover_order){.type = TAKEOVER_GRANT}).lease;
    expect(etcd, (struct takeover_order){.type = TAKEOVER_REGISTER, .lease = lease});
    return lease;
}

static const struct takeover_region *look_at(struct etcd *etcd, const char *name)
{
    expect(etcd, (struct takeover_order){.type = TAKEOVER_LOOK});
    for (size_t i = 0; i < view.region_count; i++) {
        if (strcmp(view.regions[i].name, name) == 0)
            return &view.regions[i];
    }
    return NULL;
}

static void keep(struct etcd *etcd, uint64_t lease)
{
    cr_assert_gt(expect(etcd, (struct takeover_order){.type = TAKEOVER_KEEP, .lease = lease}).lease_us, 0);
}

/* Until eu's lease has ended, while the others renew theirs. */
static void wait_lost(struct etcd *us, uint64_t of_us, struct etcd *ap, uint64_t of_ap)
{
    const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
    for (int i = 0; i < WAITS_MAX && look_at(us, "eu")->lease != 0; i++) {
        keep(us, of_us);
        keep(ap, of_ap);
        nanosleep(&pause, NULL);
    }
    cr_assert_eq(look_at(us, "eu")->lease, 0);
    cr_assert(look_at(us, "eu")->known);
}

static struct takeover_answer claim(struct etcd *etcd, uint64_t lease)
{
    return expect(etcd,
                  (struct takeover_order){
                      .type = TAKEOVER_CLAIM, .lease = lease, .home = "eu", .context = "a context / with \"signs\""});
}

Test(etcd_real, a_loss_is_claimed_once_and_the_home_removes_the_claim_when_it_is_back)
{
    cluster = "claims";
    struct etcd *eu = client_of("eu");
    struct etcd *us = client_of("us");
    struct etcd *ap = client_of("ap");
    uint64_t of_us = join(us);
    uint64_t of_ap = join(ap);
    cr_assert_not(claim(us, of_us).granted, "eu is not known");
    uint64_t of_eu = join(eu);
    cr_assert_not(claim(us, of_us).granted, "eu is alive");
    keep(eu, of_eu);
    wait_lost(us, of_us, ap, of_ap);
    cr_assert_not(claim(us, of_ap).granted, "not by the lease of another");
    struct takeover_answer granted = claim(us, of_us);
    cr_assert(granted.granted);
    cr_assert_not(claim(ap, of_ap).granted, "us has it");
    cr_assert_not(claim(us, of_us).granted, "and does not get it twice");
    look_at(ap, "eu");
    cr_assert_eq(view.claim_count, 1);
    cr_expect_str_eq(view.claims[0].by, "us");
    cr_expect_str_eq(view.claims[0].home, "eu");
    cr_expect_str_eq(view.claims[0].context, "a context / with \"signs\"");
    cr_expect_eq(view.claims[0].revision, granted.revision);
    join(eu);
    cr_assert_neq(look_at(us, "eu")->lease, 0);
    cr_assert_eq(view.claim_count, 0);
    etcd_free(eu);
    etcd_free(us);
    etcd_free(ap);
}

Test(etcd_real, only_the_claim_of_that_revision_is_withdrawn)
{
    cluster = "withdrawals";
    struct etcd *eu = client_of("eu");
    struct etcd *us = client_of("us");
    struct etcd *ap = client_of("ap");
    join(eu);
    uint64_t of_us = join(us);
    uint64_t of_ap = join(ap);
    wait_lost(us, of_us, ap, of_ap);
    struct takeover_order withdrawal = {
        .type = TAKEOVER_WITHDRAW, .home = "eu", .context = "a context / with \"signs\""};
    withdrawal.revision = claim(us, of_us).revision + 1;
    expect(us, withdrawal);
    look_at(us, "eu");
    cr_assert_eq(view.claim_count, 1);
    withdrawal.revision--;
    expect(us, withdrawal);
    look_at(us, "eu");
    cr_assert_eq(view.claim_count, 0);
    cr_assert(claim(ap, of_ap).granted);
    etcd_free(eu);
    etcd_free(us);
    etcd_free(ap);
}

Test(etcd_real, a_lease_that_there_is_not_registers_nobody)
{
    cluster = "leases";
    struct etcd *us = client_of("us");
    cr_assert_eq(carry_out(us, (struct takeover_order){.type = TAKEOVER_REGISTER, .lease = 12345}).code, ERR_NOT_FOUND);
    cr_assert_eq(expect(us, (struct takeover_order){.type = TAKEOVER_KEEP, .lease = 12345}).lease_us, 0);
    cr_assert_null(look_at(us, "us"));
    etcd_free(us);
}

Test(etcd_real, after_a_failure_the_next_endpoint_is_asked)
{
    struct takeover_answer answer;
    struct etcd *etcd = NULL;
    const struct takeover_order order = {.type = TAKEOVER_LOOK};
    const struct etcd_config config = {.endpoint_count = 2,
                                       .endpoints = {"http://127.0.0.1:9", getenv("TALLY_TEST_ETCD")},
                                       .prefix = "/test",
                                       .cluster = "endpoints",
                                       .region = "us",
                                       .lease_s = 60};
    cr_assert_eq(etcd_new(&config, NULL, &etcd, NULL), 0);
    etcd_carry_out(etcd, &order, &view, &answer);
    cr_assert_eq(answer.code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(answer.err.message, "127.0.0.1:9"), "%s", answer.err.message);
    expect(etcd, order);
    etcd_free(etcd);
}
