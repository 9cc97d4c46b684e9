/* The evidence for a failover: every check, held and broken. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "unit/region/fixture.h"

static const struct region_check *check_named(const struct region_failover_report *report, const char *name)
{
    for (size_t i = 0; i < report->check_count; i++) {
        if (strcmp(report->checks[i].name, name) == 0)
            return &report->checks[i];
    }
    cr_assert_fail("there is no check %s", name);
    abort(); /* not reached */
}

static struct region_failover_report *report_of(struct site *site, const char *from)
{
    struct region_failover_report *report = calloc(1, sizeof(*report));
    struct err err = {0};
    cr_assert_not_null(report);
    cr_assert_eq(region_failover_report(site->region, BYTES_LITERAL("bank"), from, report, &err), 0, "%s", err.message);
    return report;
}

static void expect(struct site *site, const char *from, const char *name, bool ok, const char *part)
{
    struct region_failover_report *report = report_of(site, from);
    const struct region_check *check = check_named(report, name);
    cr_assert_eq(check->ok, ok, "%s: %s", name, check->detail);
    cr_assert_not_null(strstr(check->detail, part), "%s: %s", name, check->detail);
    free(report);
}

Test(failover, a_region_that_answers_fails_the_check_and_a_silent_one_passes)
{
    struct site *eu = site_accepting("us ap");
    expect(eu, "us", "silent", false, "answers");
    site_peer_down(eu, "us");
    site_tick(eu, 3000000);
    expect(eu, "us", "silent", true, "3000 ms ago");
    site_free(eu);
}

Test(failover, survivors_that_do_not_answer_are_named)
{
    struct site *eu = site_accepting("us ap");
    expect(eu, "us", "survivors", true, "every other");
    site_peer_down(eu, "ap");
    expect(eu, "us", "survivors", false, "ap");
    site_free(eu);
}

Test(failover, what_a_survivor_holds_and_this_region_does_not_is_told)
{
    struct site *eu = site_accepting("us ap");
    struct region_held held[] = {{.origin = "demo/us/1", .size = 7}};
    site_hello(eu, "ap", held, 1);
    expect(eu, "us", "complete", false, "ap holds 7");
    struct region_failover_report *report = report_of(eu, "us");
    cr_assert_eq(report->log_count, 1);
    cr_assert_eq(report->logs[0].known_size, 7);
    cr_assert_eq(report->logs[0].held[site_peer(eu, "ap")], 7);
    cr_assert_eq(report->partition_count, 1, "west");
    free(report);
    site_peer_down(eu, "ap");
    expect(eu, "us", "complete", true, "here");
    site_free(eu);
}

Test(failover, entries_that_are_received_and_not_indexed_fail_the_check)
{
    struct site *eu = site_accepting("us");
    struct site *us = site_new("us", "eu");
    site_tick(us, 0);
    site_hello(us, "eu", NULL, 0);
    struct order order;
    order_init(&order);
    order_write(&order, "s", STREAM_ANY, 0)->partition = BYTES_LITERAL("west");
    order_event(&order, 1, "{}");
    site_submit(us, &order);
    site_written_all(us, 0);
    site_meet(eu, us);
    site_send_blocks(eu, us, "us");
    expect(eu, "us", "indexed", false, "0 of 1");
    uint32_t log = site_log_number(eu, "us");
    site_written_all(eu, log);
    expect(eu, "us", "indexed", false, "0 of 1");
    site_indexed(eu, log);
    expect(eu, "us", "indexed", true, "applied");
    expect(eu, "us", "signed", true, "rest on its chain");
    site_free(us);
    site_free(eu);
}

Test(failover, only_peers_and_known_contexts_can_be_asked_about)
{
    struct site *eu = site_accepting("us");
    struct region_failover_report *report = calloc(1, sizeof(*report));
    cr_assert_eq(region_failover_report(eu->region, BYTES_LITERAL("bank"), "mars", report, NULL), ERR_INVALID);
    cr_assert_eq(region_failover_report(eu->region, BYTES_LITERAL("bank"), "eu", report, NULL), ERR_INVALID);
    cr_assert_eq(region_failover_report(eu->region, BYTES_LITERAL("none"), "us", report, NULL), ERR_NOT_FOUND);
    free(report);
    site_free(eu);
}

Test(failover, without_a_bound_the_age_of_the_last_drill_is_only_told)
{
    struct site *eu = site_accepting("us ap");
    expect(eu, "us", "drill", true, "no home of the context was ever changed");
    site_free(eu);
}

static void certificate_ends(struct site *site, uint64_t end_s)
{
    site_step(site, (struct region_event){.type = REGION_CERTIFICATE, .certificate_end_s = end_s});
}

static void peer_certificate_ends(struct site *site, const char *peer, uint64_t end_s)
{
    site_step(site, (struct region_event){
                        .type = REGION_PEER_HELLO, .peer = site_peer(site, peer), .certificate_end_s = end_s});
}

Test(failover, a_certificate_that_ends_within_the_hour_fails_the_check)
{
    struct site *eu = site_accepting("us ap");
    uint64_t now_s = eu->now.wall_us / 1000000;
    expect(eu, "us", "certificate", true, "no TLS");
    certificate_ends(eu, now_s + 3700);
    peer_certificate_ends(eu, "ap", now_s + 3700);
    expect(eu, "us", "certificate", true, "an hour and more");
    certificate_ends(eu, now_s + 3500);
    expect(eu, "us", "certificate", false, "of region eu ends");
    certificate_ends(eu, now_s - 1);
    expect(eu, "us", "certificate", false, "of region eu expired");
    certificate_ends(eu, now_s + 9999);
    peer_certificate_ends(eu, "ap", now_s + 3500);
    expect(eu, "us", "certificate", false, "of region ap ends");
    site_free(eu);
}

Test(failover, a_region_whose_certificate_has_expired_may_be_alive)
{
    struct site *eu = site_accepting("us ap");
    uint64_t now_s = eu->now.wall_us / 1000000;
    peer_certificate_ends(eu, "us", now_s + 100);
    site_peer_down(eu, "us");
    expect(eu, "us", "certificate", true, "");
    site_tick(eu, 101000000);
    expect(eu, "us", "certificate", false, "may be alive, and only shut out");
    site_free(eu);
}

/* --- Clocks --- */

/* A hello of the peer, who read its clock so many milliseconds ahead of the one here, asked took_us ago. */
static void tell_clock(struct site *site, const char *peer, int64_t ahead_ms, uint64_t took_us)
{
    site_step(site, (struct region_event){.type = REGION_PEER_HELLO,
                                          .peer = site_peer(site, peer),
                                          .asked_us = site->now.mono_us - took_us,
                                          .wall_us = (uint64_t)((int64_t)site->now.wall_us + ahead_ms * 1000)});
}

Test(failover, a_clock_here_that_no_peer_agrees_with_fails_the_check)
{
    struct site *eu = site_accepting("us ap");
    expect(eu, "us", "clock", true, "0 peers agree");
    tell_clock(eu, "us", -2500, 100000);
    expect(eu, "us", "clock", false, "us is 2400 ms behind");
    tell_clock(eu, "ap", 2001, 100000);
    expect(eu, "us", "clock", false, "us is 2400 ms behind, ap is 2001 ms ahead");
    tell_clock(eu, "ap", 0, 0);
    expect(eu, "us", "clock", true, "most peers agree with it; but us is 2400 ms behind");
    tell_clock(eu, "us", 1999, 0);
    expect(eu, "us", "clock", true, "2 peers agree");
    site_free(eu);
}

Test(failover, what_a_hello_took_is_in_favour_of_the_peers_clock)
{
    struct site *eu = site_accepting("us");
    site_tick(eu, 5000000);
    tell_clock(eu, "us", -4000, 2000000);
    expect(eu, "us", "clock", true, "1 peers agree");
    tell_clock(eu, "us", -4001, 2000000);
    expect(eu, "us", "clock", false, "us is 2001 ms behind");
    tell_clock(eu, "us", 2001, 2000000);
    expect(eu, "us", "clock", false, "us is 2001 ms ahead");
    site_free(eu);
}

Test(failover, a_clock_here_that_was_set_since_the_last_hello_fails_the_check)
{
    struct site *eu = site_accepting("us");
    tell_clock(eu, "us", 0, 0);
    site_tick(eu, 60000000);
    expect(eu, "us", "clock", true, "1 peers agree");
    eu->now.wall_us += 3000000;
    site_step(eu, (struct region_event){.type = REGION_TIMER});
    expect(eu, "us", "clock", false, "us is 3000 ms behind");
    site_free(eu);
}

Test(failover, no_clock_is_too_wrong_to_be_compared)
{
    struct site *eu = site_accepting("us");
    site_step(eu, (struct region_event){.type = REGION_PEER_HELLO,
                                        .peer = site_peer(eu, "us"),
                                        .asked_us = eu->now.mono_us,
                                        .wall_us = UINT64_MAX});
    expect(eu, "us", "clock", false, "ms ahead");
    site_step(eu,
              (struct region_event){
                  .type = REGION_PEER_HELLO, .peer = site_peer(eu, "us"), .asked_us = eu->now.mono_us, .wall_us = 1});
    expect(eu, "us", "clock", false, "ms behind");
    site_free(eu);
}
