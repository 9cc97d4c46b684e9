/* Answers of etcd: what is taken has its form, and everything else is refused with a reason. */
#include "fuzz/fuzz.h"
#include "outside/etcd.h"

static const struct etcd_config config = {
    .endpoint_count = 1,
    .endpoints = {"http://127.0.0.1:2379"},
    .prefix = "/tallystick",
    .cluster = "bank",
    .region = "us",
    .lease_s = 10,
};

static void check_view(const struct takeover_view *view)
{
    FUZZ_CHECK(view->revision != 0);
    FUZZ_CHECK(view->region_count <= TAKEOVER_REGIONS_MAX && view->claim_count <= TAKEOVER_CLAIMS_MAX);
    for (size_t i = 0; i < view->region_count; i++) {
        const struct takeover_region *region = &view->regions[i];
        FUZZ_CHECK(region->name[0] != '\0' && strchr(region->name, '/') == NULL);
        FUZZ_CHECK(region->known || region->lease != 0);
        for (size_t j = 0; j < i; j++)
            FUZZ_CHECK(strcmp(view->regions[j].name, region->name) != 0);
    }
    for (size_t i = 0; i < view->claim_count; i++) {
        const struct takeover_claim *claim = &view->claims[i];
        FUZZ_CHECK(claim->revision != 0 && claim->home[0] != '\0' && claim->by[0] != '\0');
        FUZZ_CHECK(claim->context[0] != '\0' && strlen(claim->context) <= ENTRY_NAME_MAX_BYTES);
    }
}

static void check(const struct takeover_order *order, const struct takeover_answer *answer,
                  const struct takeover_view *view)
{
    if (order->type == TAKEOVER_GRANT)
        FUZZ_CHECK(answer->lease != 0 && answer->lease_us != 0);
    if (order->type == TAKEOVER_KEEP)
        FUZZ_CHECK(answer->lease == order->lease);
    if (order->type == TAKEOVER_CLAIM && answer->granted)
        FUZZ_CHECK(answer->revision != 0);
    if (order->type == TAKEOVER_LOOK)
        check_view(view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct takeover_view view;
    static const enum takeover_order_type types[] = {TAKEOVER_LOOK, TAKEOVER_GRANT, TAKEOVER_KEEP,    TAKEOVER_REGISTER,
                                                     TAKEOVER_LOOK, TAKEOVER_CLAIM, TAKEOVER_WITHDRAW};
    struct bytes input = bytes_of(data, size);
    struct takeover_answer answer = {.code = 0};
    struct err err = {0};
    unsigned kind = fuzz_take_byte(&input) % 8;
    if (kind == 7) {
        FUZZ_CHECK(etcd_refusal(500, input, &err) == err.code && err.code < 0 && err.message[0] != '\0');
        return 0;
    }
    const struct takeover_order order = {
        .type = types[kind], .lease = 7, .revision = 5, .home = "eu", .context = "bank"};
    int code = etcd_answer(&config, &order, input, &view, &answer, &err);
    FUZZ_CHECK(code <= 0 && (code == 0 || (err.code == code && err.message[0] != '\0')));
    if (code == 0)
        check(&order, &answer, &view);
    return 0;
}
