/* What is asked of etcd, byte for byte, and what is made of its answers, which are those of etcd 3.4. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "outside/etcd.h"

static const struct etcd_config config = {
    .endpoint_count = 1,
    .endpoints = {"http://127.0.0.1:2379"},
    .prefix = "/t",
    .cluster = "bank",
    .region = "us",
    .lease_s = 10,
};
static struct takeover_view view;
static struct takeover_answer answer;

static struct takeover_order order_of(enum takeover_order_type type)
{
    return (struct takeover_order){.type = type, .lease = 7, .revision = 5, .home = "eu", .context = "bank"};
}

static void expect_request(enum takeover_order_type type, const char *body)
{
    const struct takeover_order order = order_of(type);
    struct buf out;
    buf_init(&out, 16 * 1024);
    cr_assert_eq(etcd_request(&config, &order, &out), 0);
    cr_assert_eq(buf_terminate(&out), 0);
    cr_expect_str_eq((const char *)out.data, body);
    buf_free(&out);
}

static int take(enum takeover_order_type type, const char *body, struct err *err)
{
    const struct takeover_order order = order_of(type);
    memset(&answer, 0, sizeof(answer));
    return etcd_answer(&config, &order, bytes_of_string(body), &view, &answer, err);
}

static void refused(enum takeover_order_type type, const char *body, const char *word)
{
    struct err err = {0};
    cr_assert_eq(take(type, body, &err), ERR_CORRUPT, "%s", body);
    cr_assert_not_null(strstr(err.message, word), "\"%s\" is not in: %s", word, err.message);
}

Test(etcd, orders_become_requests)
{
    expect_request(TAKEOVER_GRANT, "{\"TTL\":\"10\"}");
    expect_request(TAKEOVER_KEEP, "{\"ID\":\"7\"}");
    /* /t/bank/ to /t/bank0 */
    expect_request(TAKEOVER_LOOK, "{\"key\":\"L3QvYmFuay8=\",\"range_end\":\"L3QvYmFuazA=\",\"limit\":\"547\"}");
    /* /t/bank/known/us, /t/bank/alive/us, /t/bank/claims/us/ to /t/bank/claims/us0 */
    expect_request(TAKEOVER_REGISTER, "{\"success\":[{\"requestPut\":{\"key\":\"L3QvYmFuay9rbm93bi91cw==\"}},"
                                      "{\"requestPut\":{\"key\":\"L3QvYmFuay9hbGl2ZS91cw==\",\"lease\":\"7\"}},"
                                      "{\"requestDeleteRange\":{\"key\":\"L3QvYmFuay9jbGFpbXMvdXMv\",\"range_end\":"
                                      "\"L3QvYmFuay9jbGFpbXMvdXMw\"}}]}");
    /* known/eu is there, alive/eu and claims/eu/bank are not, alive/us is held by the lease */
    expect_request(
        TAKEOVER_CLAIM,
        "{\"compare\":[{\"key\":\"L3QvYmFuay9rbm93bi9ldQ==\",\"target\":\"CREATE\",\"result\":\"GREATER\","
        "\"create_revision\":\"0\"},{\"key\":\"L3QvYmFuay9hbGl2ZS9ldQ==\",\"target\":\"CREATE\",\"result\":\"EQUAL\","
        "\"create_revision\":\"0\"},{\"key\":\"L3QvYmFuay9jbGFpbXMvZXUvYmFuaw==\",\"target\":\"CREATE\",\"result\":"
        "\"EQUAL\",\"create_revision\":\"0\"},{\"key\":\"L3QvYmFuay9hbGl2ZS91cw==\",\"target\":\"LEASE\",\"result\":"
        "\"EQUAL\",\"lease\":\"7\"}],\"success\":[{\"requestPut\":{\"key\":\"L3QvYmFuay9jbGFpbXMvZXUvYmFuaw==\","
        "\"value\":\"dXM=\"}}]}");
    expect_request(TAKEOVER_WITHDRAW,
                   "{\"compare\":[{\"key\":\"L3QvYmFuay9jbGFpbXMvZXUvYmFuaw==\",\"target\":\"CREATE\",\"result\":"
                   "\"EQUAL\",\"create_revision\":\"5\"}],\"success\":[{\"requestDeleteRange\":{\"key\":"
                   "\"L3QvYmFuay9jbGFpbXMvZXUvYmFuaw==\"}}]}");
}

#define HEADER                                                                                                         \
    "\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":\"10276657743932975437\",\"revision\":\"9\"}"

Test(etcd, leases_are_taken)
{
    cr_assert_eq(take(TAKEOVER_GRANT, "{" HEADER ",\"ID\":\"7587899145187603205\",\"TTL\":\"2\"}", NULL), 0);
    cr_expect_eq(answer.lease, 7587899145187603205u);
    cr_expect_eq(answer.lease_us, 2000000);
    cr_assert_eq(take(TAKEOVER_KEEP, "{\"result\":{" HEADER ",\"ID\":\"7\",\"TTL\":\"3\"}}", NULL), 0);
    cr_expect_eq(answer.lease_us, 3000000);
    cr_assert_eq(take(TAKEOVER_KEEP, "{\"result\":{" HEADER ",\"ID\":\"7\"}}", NULL), 0);
    cr_expect_eq(answer.lease_us, 0, "it has ended");
}

Test(etcd, transactions_say_whether_they_were_carried_out)
{
    cr_assert_eq(take(TAKEOVER_CLAIM, "{" HEADER ",\"succeeded\":true,\"responses\":[{}]}", NULL), 0);
    cr_expect(answer.granted);
    cr_expect_eq(answer.revision, 9);
    cr_assert_eq(take(TAKEOVER_CLAIM, "{" HEADER "}", NULL), 0);
    cr_expect_not(answer.granted);
    cr_assert_eq(take(TAKEOVER_WITHDRAW, "{" HEADER "}", NULL), 0);
    refused(TAKEOVER_REGISTER, "{" HEADER "}", "without condition");
}

Test(etcd, what_regions_keep_there_is_taken)
{
    /* alive/eu, claims/ap/bank by us, known/ap, known/eu */
    cr_assert_eq(take(TAKEOVER_LOOK,
                      "{" HEADER
                      ",\"kvs\":[{\"key\":\"L3QvYmFuay9hbGl2ZS9ldQ==\",\"create_revision\":\"2\",\"lease\":\"7\"},"
                      "{\"key\":\"L3QvYmFuay9jbGFpbXMvYXAvYmFuaw==\",\"create_revision\":\"5\",\"value\":\"dXM=\"},"
                      "{\"key\":\"L3QvYmFuay9rbm93bi9hcA==\",\"create_revision\":\"3\"},"
                      "{\"key\":\"L3QvYmFuay9rbm93bi9ldQ==\",\"create_revision\":\"2\"}],\"count\":\"4\"}",
                      NULL),
                 0);
    cr_expect_eq(answer.view, &view);
    cr_expect_eq(view.revision, 9);
    cr_assert_eq(view.region_count, 2);
    cr_expect_str_eq(view.regions[0].name, "eu");
    cr_expect(view.regions[0].known && view.regions[0].lease == 7);
    cr_expect_str_eq(view.regions[1].name, "ap");
    cr_expect(view.regions[1].known && view.regions[1].lease == 0);
    cr_assert_eq(view.claim_count, 1);
    cr_expect_str_eq(view.claims[0].home, "ap");
    cr_expect_str_eq(view.claims[0].context, "bank");
    cr_expect_str_eq(view.claims[0].by, "us");
    cr_expect_eq(view.claims[0].revision, 5);
    cr_assert_eq(take(TAKEOVER_LOOK, "{" HEADER "}", NULL), 0);
    cr_expect_eq(view.region_count + view.claim_count, 0);
}

Test(etcd, answers_that_are_not_etcds_are_refused)
{
    refused(TAKEOVER_GRANT, "", "empty");
    refused(TAKEOVER_GRANT, "<html>", "not one of etcd's");
    refused(TAKEOVER_GRANT, "[]", "no object");
    refused(TAKEOVER_GRANT, "{\"ID\":\"7\",\"ID\":\"8\",\"TTL\":\"2\"}", "not one of etcd's");
    refused(TAKEOVER_GRANT, "{\"ID\":7,\"TTL\":\"2\"}", "ID");
    refused(TAKEOVER_GRANT, "{\"ID\":\"-7\",\"TTL\":\"2\"}", "ID");
    refused(TAKEOVER_GRANT, "{\"ID\":\"18446744073709551615\",\"TTL\":\"2\"}", "ID");
    refused(TAKEOVER_GRANT, "{\"ID\":\"7\",\"TTL\":\"99999999\"}", "TTL");
    refused(TAKEOVER_GRANT, "{\"ID\":\"7\"}", "a lease");
    refused(TAKEOVER_KEEP, "{\"ID\":\"7\",\"TTL\":\"2\"}", "result");
    refused(TAKEOVER_KEEP, "{\"result\":{\"ID\":\"8\",\"TTL\":\"2\"}}", "a lease");
    refused(TAKEOVER_CLAIM, "{\"succeeded\":true}", "header");
    refused(TAKEOVER_CLAIM, "{\"header\":{},\"succeeded\":true}", "revision");
    refused(TAKEOVER_CLAIM, "{" HEADER ",\"succeeded\":\"true\"}", "succeeded");
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":{}}", "kvs");
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":[7]}", "kvs");
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":[{\"key\":\"*\"}]}", "key");
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":[{\"key\":\"L290aGVyL2tleQ==\"}]}", "a key"); /* /other/key */
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":[{\"key\":\"L3QvYmFuay9vdGhlcg==\"}]}",
            "no region's"); /* /t/bank/other */
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":[{\"key\":\"L3QvYmFuay9hbGl2ZS9ldQ==\"}]}", "a region"); /* no lease */
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":[{\"key\":\"L3QvYmFuay9rbm93bi8=\"}]}", "a region");     /* known/ */
    refused(TAKEOVER_LOOK, "{" HEADER ",\"kvs\":[{\"key\":\"L3QvYmFuay9jbGFpbXMvZXU=\",\"create_revision\":\"5\"}]}",
            "a claim"); /* claims/eu */
    refused(TAKEOVER_LOOK,
            "{" HEADER ",\"kvs\":[{\"key\":\"L3QvYmFuay9jbGFpbXMvYXAvYmFuaw==\",\"create_revision\":\"5\"}]}",
            "a claim"); /* by nobody */
}

Test(etcd, more_than_there_can_be_is_refused)
{
    struct err err = {0};
    struct buf body;
    char key[64];
    char name[32];
    cr_assert_eq(take(TAKEOVER_LOOK, "{" HEADER ",\"more\":true}", &err), ERR_TOO_LARGE);
    buf_init(&body, 1024 * 1024);
    cr_assert_eq(buf_append_string(&body, "{" HEADER ",\"kvs\":["), 0);
    for (int i = 0; i <= TAKEOVER_REGIONS_MAX; i++) {
        int size = snprintf(name, sizeof(name), "/t/bank/known/r%d", i);
        base64_encode(bytes_of(name, (size_t)size), key);
        cr_assert_eq(buf_append_format(&body, "%s{\"key\":\"%s\",\"create_revision\":\"3\"}", i == 0 ? "" : ",", key),
                     0);
    }
    cr_assert_eq(buf_append_string(&body, "]}"), 0);
    cr_assert_eq(buf_terminate(&body), 0);
    cr_assert_eq(take(TAKEOVER_LOOK, (const char *)body.data, &err), ERR_TOO_LARGE);
    cr_expect_not_null(strstr(err.message, "17 regions"), "%s", err.message);
    buf_free(&body);
}

Test(etcd, refusals_say_what_etcd_said)
{
    struct err err = {0};
    cr_expect_eq(
        etcd_refusal(404, BYTES_LITERAL("{\"error\":\"etcdserver: requested lease not found\",\"code\":5}"), &err),
        ERR_NOT_FOUND);
    cr_expect_str_eq(err.message, "HTTP 404: etcdserver: requested lease not found");
    cr_expect_eq(etcd_refusal(503, BYTES_LITERAL("{\"error\":\"etcdserver: no leader\",\"code\":14}"), &err),
                 ERR_UNAVAILABLE);
    cr_expect_eq(etcd_refusal(502, BYTES_LITERAL("<html>"), &err), ERR_UNAVAILABLE);
    cr_expect_str_eq(err.message, "HTTP 502: no reason that could be read");
    cr_expect_eq(etcd_refusal(500, bytes_of(NULL, 0), &err), ERR_UNAVAILABLE);
}
