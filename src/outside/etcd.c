/* Exchanges with etcd (etcd.h): one POST an order. */
#include "outside/etcd.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

enum { REQUEST_MAX_BYTES = 16 * 1024 };

struct etcd {
    struct etcd_config config;
    struct http_client *http;
    size_t endpoint; /* that is asked next */
    struct buf request;
    struct buf answer;
};

/* A renewal that takes a quarter of the lease leaves time for two more. */
static uint64_t timeout_ms(const struct etcd_config *config)
{
    uint64_t quarter_ms = config->lease_s * 1000 / 4;
    return quarter_ms < ETCD_TIMEOUT_MAX_MS ? quarter_ms : ETCD_TIMEOUT_MAX_MS;
}

int etcd_new(const struct etcd_config *config, const atomic_bool *cancelled, struct etcd **ret, struct err *err)
{
    struct etcd *etcd = mem_alloc_zero(1, sizeof(*etcd));
    if (etcd == NULL)
        return err_no_memory(err, "the client of etcd");
    const struct http_options options = {.ca_file = config->ca_file,
                                         .cert_file = config->cert_file,
                                         .key_file = config->key_file,
                                         .timeout_ms = timeout_ms(config),
                                         .cancelled = cancelled};
    PRE(config->endpoint_count > 0 && config->endpoint_count <= ETCD_ENDPOINTS_MAX);
    etcd->config = *config;
    buf_init(&etcd->request, REQUEST_MAX_BYTES);
    buf_init(&etcd->answer, ETCD_ANSWER_MAX_BYTES);
    int code = http_client_new(&options, &etcd->http, err);
    if (code != 0) {
        etcd_free(etcd);
        return code;
    }
    *ret = etcd;
    return 0;
}

void etcd_free(struct etcd *etcd)
{
    if (etcd == NULL)
        return;
    http_client_free(etcd->http);
    buf_free(&etcd->request);
    buf_free(&etcd->answer);
    mem_free(etcd);
}

static const char *path_of(enum takeover_order_type type)
{
    switch (type) {
    case TAKEOVER_GRANT:
        return "/v3/lease/grant";
    case TAKEOVER_KEEP:
        return "/v3/lease/keepalive";
    case TAKEOVER_LOOK:
        return "/v3/kv/range";
    case TAKEOVER_REGISTER:
    case TAKEOVER_CLAIM:
    case TAKEOVER_WITHDRAW:
        return "/v3/kv/txn";
    case TAKEOVER_PAUSE:
    case TAKEOVER_SEIZE:
        break;
    }
    INVARIANT(!"an order that etcd carries out");
}

static int exchange(struct etcd *etcd, const struct takeover_order *order, struct takeover_view *view,
                    struct takeover_answer *ret, struct err *err)
{
    char url[HTTP_URL_MAX_BYTES + 1];
    struct http_answer answer;
    buf_clear(&etcd->request);
    if (etcd_request(&etcd->config, order, &etcd->request) != 0)
        return err_no_memory(err, "a request to etcd");
    int size = snprintf(url, sizeof(url), "%s%s", etcd->config.endpoints[etcd->endpoint], path_of(order->type));
    PRE(size > 0 && (size_t)size < sizeof(url));
    int code = http_post(etcd->http, url, "application/json", buf_bytes(&etcd->request), &etcd->answer, &answer, err);
    if (code == 0 && answer.status != 200)
        code = etcd_refusal(answer.status, buf_bytes(&etcd->answer), err);
    else if (code == 0)
        code = etcd_answer(&etcd->config, order, buf_bytes(&etcd->answer), view, ret, err);
    return code == 0 ? 0 : err_wrap(err, code, "etcd at %.100s", etcd->config.endpoints[etcd->endpoint]);
}

void etcd_carry_out(struct etcd *etcd, const struct takeover_order *order, struct takeover_view *view,
                    struct takeover_answer *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->code = exchange(etcd, order, view, ret, &ret->err);
    if (ret->code != 0)
        etcd->endpoint = (etcd->endpoint + 1) % etcd->config.endpoint_count;
}
