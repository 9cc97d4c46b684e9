/* Requests to etcd's gateway and its answers, as JSON (etcd.h). Pure.
 *
 * The gateway maps protocol buffers to JSON: 64-bit numbers are strings of decimal digits, bytes are base64, and what
 * has its default (0, false, empty) is left out. Requests are put together from numbers and base64 alone, so nothing
 * has to be escaped.
 *
 * Answers come from outside: the size is bounded by the caller, objects may have more fields than are read here, and
 * each field that is read has exactly one form, or the answer is refused as a whole. Keys under the prefix that are
 * not ours are refused too: somebody writes there who does not know what it is for. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "outside/etcd.h"

enum {
    KEY_MAX_BYTES = ETCD_PREFIX_MAX_BYTES + 3 * 64 + 32 + ENTRY_NAME_MAX_BYTES,
    BASE64_MAX_BYTES = BASE64_ENCODED_SIZE(KEY_MAX_BYTES) + 1,
    LEASE_TTL_MAX_S = 1000 * 1000, /* of an answer: etcd may grant more than was asked for */
    KEYS_MAX = 2 * TAKEOVER_REGIONS_MAX + TAKEOVER_CLAIMS_MAX,
};

/* --- Requests --- */

struct key {
    char base64[BASE64_MAX_BYTES];
};

/* <prefix>/<cluster>/ and what follows it; last: instead of the last byte, the one above it, which makes the end of the
 * range of all keys that begin so. */
static struct key key_of(const struct etcd_config *config, const char *kind, const char *first, const char *second,
                         bool last)
{
    char text[KEY_MAX_BYTES + 1];
    struct key key;
    int size = snprintf(text, sizeof(text), "%s/%s/%s%s%s%s", config->prefix, config->cluster, kind, first,
                        second == NULL ? "" : "/", second == NULL ? "" : second);
    PRE(size > 0 && (size_t)size < sizeof(text));
    text[size - 1] += last;
    base64_encode(bytes_of(text, (size_t)size), key.base64);
    return key;
}

static int request_register(const struct etcd_config *config, uint64_t lease, struct buf *out)
{
    struct key known = key_of(config, "known/", config->region, NULL, false);
    struct key alive = key_of(config, "alive/", config->region, NULL, false);
    struct key claims = key_of(config, "claims/", config->region, "", false);
    struct key claims_end = key_of(config, "claims/", config->region, "", true);
    return buf_append_format(out,
                             "{\"success\":[{\"requestPut\":{\"key\":\"%s\"}},"
                             "{\"requestPut\":{\"key\":\"%s\",\"lease\":\"%" PRIu64 "\"}},"
                             "{\"requestDeleteRange\":{\"key\":\"%s\",\"range_end\":\"%s\"}}]}",
                             known.base64, alive.base64, lease, claims.base64, claims_end.base64);
}

static int request_claim(const struct etcd_config *config, const struct takeover_order *order, struct buf *out)
{
    struct key home_known = key_of(config, "known/", order->home, NULL, false);
    struct key home_alive = key_of(config, "alive/", order->home, NULL, false);
    struct key own_alive = key_of(config, "alive/", config->region, NULL, false);
    struct key claim = key_of(config, "claims/", order->home, order->context, false);
    char by[BASE64_ENCODED_SIZE(64) + 1];
    base64_encode(bytes_of_string(config->region), by);
    return buf_append_format(
        out,
        "{\"compare\":[{\"key\":\"%s\",\"target\":\"CREATE\",\"result\":\"GREATER\",\"create_revision\":\"0\"},"
        "{\"key\":\"%s\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"},"
        "{\"key\":\"%s\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"},"
        "{\"key\":\"%s\",\"target\":\"LEASE\",\"result\":\"EQUAL\",\"lease\":\"%" PRIu64 "\"}],"
        "\"success\":[{\"requestPut\":{\"key\":\"%s\",\"value\":\"%s\"}}]}",
        home_known.base64, home_alive.base64, claim.base64, own_alive.base64, order->lease, claim.base64, by);
}

static int request_withdraw(const struct etcd_config *config, const struct takeover_order *order, struct buf *out)
{
    struct key claim = key_of(config, "claims/", order->home, order->context, false);
    return buf_append_format(
        out,
        "{\"compare\":[{\"key\":\"%s\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"%" PRIu64
        "\"}],\"success\":[{\"requestDeleteRange\":{\"key\":\"%s\"}}]}",
        claim.base64, order->revision, claim.base64);
}

static int request_look(const struct etcd_config *config, struct buf *out)
{
    struct key from = key_of(config, "", "", NULL, false);
    struct key to = key_of(config, "", "", NULL, true);
    return buf_append_format(out, "{\"key\":\"%s\",\"range_end\":\"%s\",\"limit\":\"%d\"}", from.base64, to.base64,
                             KEYS_MAX + 1);
}

int etcd_request(const struct etcd_config *config, const struct takeover_order *order, struct buf *out)
{
    switch (order->type) {
    case TAKEOVER_GRANT:
        return buf_append_format(out, "{\"TTL\":\"%" PRIu64 "\"}", config->lease_s);
    case TAKEOVER_KEEP:
        return buf_append_format(out, "{\"ID\":\"%" PRIu64 "\"}", order->lease);
    case TAKEOVER_REGISTER:
        return request_register(config, order->lease, out);
    case TAKEOVER_LOOK:
        return request_look(config, out);
    case TAKEOVER_CLAIM:
        return request_claim(config, order, out);
    case TAKEOVER_WITHDRAW:
        return request_withdraw(config, order, out);
    case TAKEOVER_PAUSE:
    case TAKEOVER_SEIZE:
        break;
    }
    INVARIANT(!"an order that etcd carries out");
}

/* --- Fields of answers --- */

static int corrupt(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "the answer is not one of etcd's: %s", what);
}

/* A number as the gateway writes it; absent: 0. */
static int take_number(const json_t *object, const char *name, uint64_t most, uint64_t *ret, struct err *err)
{
    const json_t *field = json_object_get(object, name);
    uint64_t value = 0;
    if (field == NULL) {
        *ret = 0;
        return 0;
    }
    if (!json_is_string(field) || parse_u64(json_string_value(field), json_string_length(field), &value) != 0 ||
        value > most)
        return corrupt(err, name);
    *ret = value;
    return 0;
}

/* Bytes; absent: none. Terminated, for those that are text. */
static int take_bytes(const json_t *object, const char *name, char *out, size_t out_max_bytes, size_t *ret_size,
                      struct err *err)
{
    const json_t *field = json_object_get(object, name);
    size_t size = 0;
    if (field != NULL && (!json_is_string(field) || base64_decode(json_string_value(field), json_string_length(field),
                                                                  (uint8_t *)out, out_max_bytes, &size) != 0))
        return corrupt(err, name);
    out[size] = '\0';
    *ret_size = size;
    return 0;
}

static int take_revision(const json_t *answer, uint64_t *ret, struct err *err)
{
    const json_t *header = json_object_get(answer, "header");
    int code = json_is_object(header) ? take_number(header, "revision", INT64_MAX, ret, err) : corrupt(err, "header");
    return code == 0 && *ret == 0 ? corrupt(err, "revision") : code;
}

/* --- What is under the prefix --- */

static struct takeover_region *region_of(struct takeover_view *view, const char *name)
{
    for (size_t i = 0; i < view->region_count; i++) {
        if (strcmp(view->regions[i].name, name) == 0)
            return &view->regions[i];
    }
    if (view->region_count == TAKEOVER_REGIONS_MAX)
        return NULL;
    struct takeover_region *region = &view->regions[view->region_count++];
    memset(region, 0, sizeof(*region));
    copy_string(region->name, sizeof(region->name), name);
    return region;
}

static bool is_region_name(const char *name)
{
    return name[0] != '\0' && strlen(name) < sizeof(((struct takeover_region *)NULL)->name) &&
           strchr(name, '/') == NULL && entry_check_name(bytes_of_string(name), 63, "region", NULL) == 0;
}

static int add_claim(const char *rest, const char *by, uint64_t revision, struct takeover_view *view, struct err *err)
{
    struct takeover_claim *claim = &view->claims[view->claim_count];
    const char *slash = strchr(rest, '/');
    if (view->claim_count == TAKEOVER_CLAIMS_MAX)
        return err_set(err, ERR_TOO_LARGE, "etcd holds more than %d claims", TAKEOVER_CLAIMS_MAX);
    if (slash == NULL || (size_t)(slash - rest) >= sizeof(claim->home) || revision == 0)
        return corrupt(err, "a claim");
    memcpy(claim->home, rest, (size_t)(slash - rest));
    claim->home[slash - rest] = '\0';
    if (!is_region_name(claim->home) || !is_region_name(by) ||
        entry_check_name(bytes_of_string(slash + 1), ENTRY_NAME_MAX_BYTES, "context", NULL) != 0)
        return corrupt(err, "a claim");
    copy_string(claim->by, sizeof(claim->by), by);
    copy_string(claim->context, sizeof(claim->context), slash + 1);
    claim->revision = revision;
    view->claim_count++;
    return 0;
}

static int add_region(const char *name, bool alive, uint64_t lease, struct takeover_view *view, struct err *err)
{
    if (!is_region_name(name) || (alive && lease == 0))
        return corrupt(err, "a region");
    struct takeover_region *region = region_of(view, name);
    if (region == NULL)
        return err_set(err, ERR_TOO_LARGE, "etcd holds more than %d regions", TAKEOVER_REGIONS_MAX);
    if (alive)
        region->lease = lease;
    else
        region->known = true;
    return 0;
}

/* One key and its value; `start` is what all keys begin with. */
static int add_key(const json_t *found, const char *start, struct takeover_view *view, struct err *err)
{
    char key[KEY_MAX_BYTES + 1];
    char value[64 + 1];
    size_t key_size = 0;
    size_t value_size = 0;
    size_t start_size = strlen(start);
    uint64_t revision = 0;
    uint64_t lease = 0;
    int code = json_is_object(found) ? 0 : corrupt(err, "kvs");
    if (code == 0)
        code = take_bytes(found, "key", key, KEY_MAX_BYTES, &key_size, err);
    if (code == 0)
        code = take_bytes(found, "value", value, 64, &value_size, err);
    if (code == 0)
        code = take_number(found, "create_revision", INT64_MAX, &revision, err);
    if (code == 0)
        code = take_number(found, "lease", INT64_MAX, &lease, err);
    if (code != 0)
        return code;
    if (memchr(key, '\0', key_size) != NULL || memchr(value, '\0', value_size) != NULL ||
        strncmp(key, start, start_size) != 0)
        return corrupt(err, "a key");
    const char *rest = key + start_size;
    if (strncmp(rest, "known/", 6) == 0)
        return add_region(rest + 6, false, 0, view, err);
    if (strncmp(rest, "alive/", 6) == 0)
        return add_region(rest + 6, true, lease, view, err);
    if (strncmp(rest, "claims/", 7) == 0)
        return add_claim(rest + 7, value, revision, view, err);
    return corrupt(err, "a key that is no region's");
}

static int answer_look(const struct etcd_config *config, const json_t *answer, struct takeover_view *view,
                       struct err *err)
{
    char start[KEY_MAX_BYTES + 1];
    const json_t *found = json_object_get(answer, "kvs");
    snprintf(start, sizeof(start), "%s/%s/", config->prefix, config->cluster);
    view->region_count = 0;
    view->claim_count = 0;
    int code = take_revision(answer, &view->revision, err);
    if (code == 0 && found != NULL && !json_is_array(found))
        code = corrupt(err, "kvs");
    if (code == 0 && json_is_true(json_object_get(answer, "more")))
        code = err_set(err, ERR_TOO_LARGE, "etcd holds more than %d keys under %.100s", KEYS_MAX, start);
    for (size_t i = 0; code == 0 && i < json_array_size(found); i++)
        code = add_key(json_array_get(found, i), start, view, err);
    return code;
}

/* --- Answers --- */

static int answer_lease(const json_t *answer, uint64_t expected, struct takeover_answer *ret, struct err *err)
{
    uint64_t ttl_s = 0;
    int code = take_number(answer, "ID", INT64_MAX, &ret->lease, err);
    if (code == 0)
        code = take_number(answer, "TTL", LEASE_TTL_MAX_S, &ttl_s, err);
    if (code == 0 && (ret->lease == 0 || (expected != 0 && ret->lease != expected) || (expected == 0 && ttl_s == 0)))
        code = corrupt(err, "a lease");
    ret->lease_us = ttl_s * 1000 * 1000;
    return code;
}

static int answer_keep(const json_t *answer, uint64_t lease, struct takeover_answer *ret, struct err *err)
{
    const json_t *result = json_object_get(answer, "result");
    return json_is_object(result) ? answer_lease(result, lease, ret, err) : corrupt(err, "result");
}

static int answer_transaction(const json_t *answer, struct takeover_answer *ret, struct err *err)
{
    const json_t *succeeded = json_object_get(answer, "succeeded");
    if (succeeded != NULL && !json_is_boolean(succeeded))
        return corrupt(err, "succeeded");
    ret->granted = json_is_true(succeeded);
    return take_revision(answer, &ret->revision, err);
}

static int take_answer(const struct etcd_config *config, const struct takeover_order *order, const json_t *answer,
                       struct takeover_view *view, struct takeover_answer *ret, struct err *err)
{
    int code = 0;
    switch (order->type) {
    case TAKEOVER_GRANT:
        return answer_lease(answer, 0, ret, err);
    case TAKEOVER_KEEP:
        return answer_keep(answer, order->lease, ret, err);
    case TAKEOVER_LOOK:
        ret->view = view;
        return answer_look(config, answer, view, err);
    case TAKEOVER_REGISTER:
        code = answer_transaction(answer, ret, err);
        return code == 0 && !ret->granted ? corrupt(err, "a transaction without condition failed") : code;
    case TAKEOVER_CLAIM:
    case TAKEOVER_WITHDRAW:
        return answer_transaction(answer, ret, err);
    case TAKEOVER_PAUSE:
    case TAKEOVER_SEIZE:
        break;
    }
    INVARIANT(!"an order that etcd carries out");
}

static json_t *parse(struct bytes body, struct err *err)
{
    json_error_t where;
    json_t *answer = json_loadb((const char *)body.data, body.size_bytes, JSON_REJECT_DUPLICATES, &where);
    if (answer == NULL)
        (void)corrupt(err, where.text);
    else if (!json_is_object(answer))
        (void)corrupt(err, "it is no object");
    if (json_is_object(answer))
        return answer;
    json_decref(answer);
    return NULL;
}

int etcd_answer(const struct etcd_config *config, const struct takeover_order *order, struct bytes body,
                struct takeover_view *view, struct takeover_answer *ret, struct err *err)
{
    json_t *answer = body.size_bytes == 0 ? NULL : parse(body, err);
    if (answer == NULL)
        return body.size_bytes == 0 ? corrupt(err, "it is empty") : ERR_CORRUPT;
    int code = take_answer(config, order, answer, view, ret, err);
    json_decref(answer);
    return code;
}

int etcd_refusal(long status, struct bytes body, struct err *err)
{
    enum { GRPC_NOT_FOUND = 5, SHOWN_MAX = 200 };
    json_t *answer = body.size_bytes == 0 ? NULL : parse(body, NULL);
    const json_t *message = json_object_get(answer, "error");
    const json_t *number = json_object_get(answer, "code");
    int code =
        json_is_integer(number) && json_integer_value(number) == GRPC_NOT_FOUND ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
    (void)err_set(err, code, "HTTP %ld: %.*s", status, SHOWN_MAX,
                  json_is_string(message) ? json_string_value(message) : "no reason that could be read");
    json_decref(answer);
    return code;
}
