/* Dashboard, health and status: what is said, and with which status. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>

#include "support.h"

static struct stage stage;

static void set_up(void)
{
    stage_init(&stage);
}

static void tear_down(void)
{
    stage_free(&stage);
}

TestSuite(pages, .init = set_up, .fini = tear_down);

static json_t *get_json(const char *path, unsigned status)
{
    struct response *response = get(&stage, path);
    cr_assert_eq(response->status, status, "%s: %u", path, response->status);
    cr_assert_str_eq(response->content_type, "application/json");
    json_t *parsed = json_loadb((const char *)response->body.data, response->body.size_bytes, 0, NULL);
    cr_assert_not_null(parsed);
    return parsed;
}

/* The health must have this status and exactly one reason. */
static void expect_reason(unsigned status, const char *reason, bool fatal)
{
    json_t *health = get_json("/health", status);
    json_t *reasons = json_object_get(health, "reasons");
    cr_assert_eq(json_array_size(reasons), 1);
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(reasons, 0), "reason")), reason);
    cr_expect_eq(json_is_true(json_object_get(json_array_get(reasons, 0), "fatal")), fatal);
    cr_expect_eq(json_is_true(json_object_get(health, "healthy")), !fatal);
    json_decref(health);
}

Test(pages, a_region_that_works_is_healthy)
{
    json_t *health = get_json("/health", 200);
    cr_expect(json_is_true(json_object_get(health, "healthy")));
    cr_expect_eq(json_array_size(json_object_get(health, "reasons")), 0);
    json_decref(health);
}

Test(pages, a_region_that_does_not_accept_is_not_healthy)
{
    stage.status.accepting = false;
    stage.status.logs[0].state = REGION_LOG_WAITING;
    expect_reason(503, "not accepting", true);
}

Test(pages, a_forked_log_is_not_healthy)
{
    stage.status.log_count = 2;
    stage.status.logs[1].state = REGION_LOG_FORKED;
    snprintf(stage.status.logs[1].origin, sizeof(stage.status.logs[1].origin), PEER_ORIGIN);
    expect_reason(503, "forked", true);
}

Test(pages, damage_is_not_healthy)
{
    snprintf(stage.status.tiles_errors[0], sizeof(stage.status.tiles_errors[0]), "a block is damaged");
    expect_reason(503, "damaged", true);
}

Test(pages, damage_that_a_reader_found_is_not_healthy)
{
    stage.admin.damage = (struct damage){.known = true, .tile = {.level = 0, .number = 0, .width = 3}};
    expect_reason(503, "damaged", true);
    stage_append(&stage, 3);
    stage_show(&stage);
    json_decref(get_json("/health", 200)); /* the tile can be had now */
}

Test(pages, a_peer_that_is_down_is_a_reason_but_no_outage)
{
    stage.status.peers[0].up = false;
    expect_reason(200, "peer down", false);
}

Test(pages, drift_is_a_reason_but_no_outage)
{
    stage.status.drifts[0] = (struct drift_verdict){.subject = "sums", .region = "us", .differs = true};
    stage.status.drift_count = 1;
    expect_reason(200, "drift", false);
}

Test(pages, automatic_failover_that_is_none_is_a_reason_but_no_outage)
{
    stage.status.takeover = (struct takeover_status){.state = TAKEOVER_DEGRADED};
    expect_reason(200, "automatic failover degraded to assisted", false);
    stage.status.takeover = (struct takeover_status){.state = TAKEOVER_ARMED, .stage = TAKEOVER_NOT_READY};
    expect_reason(200, "not seized", false);
}

Test(pages, a_witness_that_does_not_cosign_is_a_reason_but_no_outage)
{
    stage.status.witness_count = 1;
    stage.status.witnesses[0] = (struct witness_status){.name = "acme", .error = "HTTP 500"};
    expect_reason(200, "witness", false);
}

Test(pages, status_shows_logs_and_peers)
{
    stage.status.logs[0].size = 10;
    stage.status.logs[0].known_size = 12;
    stage.status.peers[0] = (struct region_peer_status){.up = true, .heard = true, .mirrored_size = 7};
    json_t *status = get_json("/status", 200);
    json_t *log = json_array_get(json_object_get(status, "logs"), 0);
    json_t *peer = json_array_get(json_object_get(status, "peers"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(status, "region")), "eu");
    cr_expect_str_eq(json_string_value(json_object_get(log, "origin")), OWN_ORIGIN);
    cr_expect_eq(json_integer_value(json_object_get(log, "size")), 10);
    cr_expect_eq(json_integer_value(json_object_get(log, "lag")), 2);
    cr_expect_str_eq(json_string_value(json_object_get(peer, "region")), "us");
    cr_expect_eq(json_integer_value(json_object_get(peer, "lag")), 3);
    json_decref(status);
}

Test(pages, a_peer_never_heard_of_has_no_last_contact)
{
    stage.status.peers[0] = (struct region_peer_status){.up = false};
    json_t *status = get_json("/status", 200);
    json_t *peer = json_array_get(json_object_get(status, "peers"), 0);
    cr_expect(json_is_null(json_object_get(peer, "last_contact_ms_ago")));
    json_decref(status);
}

Test(pages, the_dashboard_loads_nothing_from_elsewhere)
{
    struct response *response = get(&stage, "/");
    cr_expect_eq(response->status, 200);
    cr_expect_str_eq(response->content_type, "text/html; charset=utf-8");
    cr_expect_not_null(strstr(response->security_policy, "default-src 'none'"));
    cr_expect_null(strstr(body_text(response), "http://"));
    cr_expect_null(strstr(body_text(response), "https://"));
    cr_expect_null(strstr(body_text(response), "src="));
}
