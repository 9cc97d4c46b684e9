/* Who answers what, and what caches are told. */
#include <criterion/criterion.h>

#include "support.h"

static struct stage stage;

static void set_up(void)
{
    stage_init(&stage);
    stage_append(&stage, 3);
    stage_show(&stage);
}

static void tear_down(void)
{
    stage_free(&stage);
}

TestSuite(route, .init = set_up, .fini = tear_down);

Test(route, every_page_is_there)
{
    static const char *const paths[] = {"/", "/health", "/status", "/metrics", "/" OWN_ORIGIN "/checkpoint"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        cr_expect_eq(get(&stage, paths[i])->status, 200, "%s", paths[i]);
}

Test(route, paths_of_nobody_are_404)
{
    static const char *const paths[] = {"",
                                        "/nothing",
                                        "//",
                                        "/health/",
                                        "/Health",
                                        "/" OWN_ORIGIN,
                                        "/" OWN_ORIGIN "/",
                                        "/" OWN_ORIGIN "/nothing",
                                        "/" OWN_ORIGIN "//checkpoint",
                                        "/bank/eu/2/checkpoint",
                                        "/bank/eu/11/checkpoint",
                                        "/" PEER_ORIGIN "/checkpoint",
                                        "/../" OWN_ORIGIN "/checkpoint",
                                        "/" OWN_ORIGIN "/../1/checkpoint"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        cr_expect_eq(get(&stage, paths[i])->status, 404, "%s", paths[i]);
}

Test(route, head_is_answered_like_get)
{
    cr_expect_eq(ask(&stage, "HEAD", "/health", bytes_of(NULL, 0))->status, 200);
}

Test(route, other_methods_are_refused_with_those_that_there_are)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct response *response = ask(&stage, methods[i], "/health", bytes_of(NULL, 0));
        cr_expect_eq(response->status, 405, "%s", methods[i]);
        cr_expect_str_eq(response->allow, "GET, HEAD");
    }
}

Test(route, submissions_are_only_posted)
{
    struct response *response = get(&stage, "/add-checkpoint");
    cr_expect_eq(response->status, 405);
    cr_expect_str_eq(response->allow, "POST");
}

Test(route, who_has_the_answer_is_not_sent_it_again)
{
    char etag[ADMIN_ETAG_BYTES];
    struct request request = {.method = "GET", .path = "/" OWN_ORIGIN "/checkpoint", .sha = stage.sha};
    struct response response = {0};
    memcpy(etag, get(&stage, request.path)->etag, sizeof(etag));
    cr_assert_neq(etag[0], '\0');
    buf_init(&response.body, ADMIN_RESPONSE_MAX_BYTES);
    request.if_none_match = etag;
    admin_answer(&stage.admin, &request, &response);
    cr_expect_eq(response.status, 304);
    cr_expect_eq(response.body.size_bytes, 0);
    cr_expect_str_eq(response.etag, etag);
    buf_free(&response.body);
}

Test(route, the_etag_changes_with_the_checkpoint)
{
    char etag[ADMIN_ETAG_BYTES];
    memcpy(etag, get(&stage, "/" OWN_ORIGIN "/checkpoint")->etag, sizeof(etag));
    stage_append(&stage, 1);
    stage_show(&stage);
    cr_expect_str_neq(get(&stage, "/" OWN_ORIGIN "/checkpoint")->etag, etag);
}

Test(route, refusals_have_a_text_and_are_not_kept)
{
    struct response *response = get(&stage, "/nothing");
    cr_expect_str_eq(response->content_type, ADMIN_TEXT);
    cr_expect_str_eq(response->cache_control, ADMIN_NEVER);
    cr_expect_eq(response->etag[0], '\0');
    cr_expect_gt(response->body.size_bytes, 10);
}

Test(route, answers_are_counted_by_class)
{
    get(&stage, "/health");
    get(&stage, "/nothing");
    get(&stage, "/nothing");
    cr_expect_eq(atomic_load(&stage.admin.answers[2]), 1);
    cr_expect_eq(atomic_load(&stage.admin.answers[4]), 2);
}

Test(route, a_region_that_stops_says_so)
{
    stage.refuse_with = ERR_UNAVAILABLE;
    struct response *response = get(&stage, "/status");
    cr_expect_eq(response->status, 503);
    cr_expect_eq(response->retry_after_s, 1);
}
