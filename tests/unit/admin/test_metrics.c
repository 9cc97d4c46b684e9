/* Metrics in Prometheus's text format. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "support.h"

static struct stage stage;

static void set_up(void)
{
    stage_init(&stage);
    stage.status.logs[0].size = 1234;
    stage.status.logs[0].known_size = 1240;
    stage.status.logs[0].queued_open = 3;
    stage.status.peers[0].mirrored_size = 1200;
}

static void tear_down(void)
{
    stage_free(&stage);
}

TestSuite(metrics, .init = set_up, .fini = tear_down);

static const char *metrics(void)
{
    struct response *response = get(&stage, "/metrics");
    cr_assert_eq(response->status, 200);
    cr_assert_str_eq(response->content_type, "text/plain; version=0.0.4; charset=utf-8");
    return body_text(response);
}

static void expect_line(const char *line)
{
    cr_expect_not_null(strstr(metrics(), line), "%s is not in:\n%s", line, metrics());
}

Test(metrics, have_the_logs_numbers)
{
    expect_line("\ntally_log_entries{origin=\"bank/eu/1\",own=\"true\"} 1234\n");
    expect_line("\ntally_log_lag_entries{origin=\"bank/eu/1\",own=\"true\"} 6\n");
    expect_line("\ntally_log_queued_commands{origin=\"bank/eu/1\",own=\"true\"} 3\n");
    expect_line("\ntally_log_forked{origin=\"bank/eu/1\",own=\"true\"} 0\n");
}

Test(metrics, have_the_peers_numbers)
{
    expect_line("\ntally_peer_up{region=\"us\"} 1.000\n");
    expect_line("\ntally_peer_mirrored_entries{region=\"us\"} 1200.000\n");
}

Test(metrics, have_automatic_failover)
{
    stage.status.takeover = (struct takeover_status){.state = TAKEOVER_DEGRADED, .takeovers = 2, .refusals = 5};
    expect_line("\ntally_automatic_failover_armed 0.000\n");
    expect_line("\ntally_automatic_failover_degraded 1.000\n");
    expect_line("\ntally_automatic_failovers_total 2.000\n");
    expect_line("\ntally_automatic_failover_refusals_total 5.000\n");
}

Test(metrics, have_the_witnesses)
{
    stage.status.witness_count = 1;
    stage.status.witnesses[0] = (struct witness_status){.name = "acme", .up = true, .cosigned_size = 77};
    expect_line("\ntally_witness_up{witness=\"acme\"} 1\n");
    expect_line("\ntally_witness_cosigned_entries{witness=\"acme\"} 77\n");
}

Test(metrics, have_the_comparisons_with_peers)
{
    stage.status.drifts[0] =
        (struct drift_verdict){.subject = "sums", .region = "us", .differs = true, .comparisons = 3};
    stage.status.drifts[1] = (struct drift_verdict){.subject = "late events", .region = "us", .comparisons = 9};
    stage.status.drift_count = 2;
    expect_line("\ntally_drift{subject=\"sums\",region=\"us\"} 1\n");
    expect_line("\ntally_drift{subject=\"late events\",region=\"us\"} 0\n");
    expect_line("\ntally_drift_comparisons_total{subject=\"sums\",region=\"us\"} 3\n");
}

Test(metrics, say_whether_the_region_accepts)
{
    expect_line("\ntally_accepting 1\n");
    stage.status.accepting = false;
    expect_line("\ntally_accepting 0\n");
}

Test(metrics, count_answers)
{
    get(&stage, "/nothing");
    expect_line("\ntally_http_answers_total{status=\"4xx\"} 1\n");
}

/* Every sample belongs to the family that was announced last, and ends in a number. */
Test(metrics, are_well_formed)
{
    char family[128] = "";
    const char *line = metrics();
    for (const char *end = strchr(line, '\n'); end != NULL; line = end + 1, end = strchr(line, '\n')) {
        char text[512];
        char *rest = NULL;
        cr_assert_lt(end - line, (ptrdiff_t)sizeof(text));
        memcpy(text, line, (size_t)(end - line));
        text[end - line] = '\0';
        if (strncmp(text, "# HELP ", 7) == 0) {
            snprintf(family, sizeof(family), "%.*s", (int)strcspn(text + 7, " "), text + 7);
            continue;
        }
        if (strncmp(text, "# TYPE ", 7) == 0) {
            cr_expect_eq(strncmp(text + 7, family, strlen(family)), 0, "%s", text);
            continue;
        }
        cr_expect_eq(strncmp(text, family, strlen(family)), 0, "%s is not of family %s", text, family);
        const char *number = strrchr(text, ' ');
        cr_assert_not_null(number);
        (void)strtod(number + 1, &rest);
        cr_expect_eq(*rest, '\0', "%s", text);
    }
    cr_expect_eq(*line, '\0', "the last line ends");
}
