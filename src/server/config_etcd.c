/* etcd in tallyd.yaml: what can be checked without asking it. */
#include "server/config_etcd.h"

#include <stdio.h>

enum { TEXT_MAX = 1023, LEASE_DEFAULT_S = 10 };
static_assert((int)TEXT_MAX < (int)DISK_PATH_MAX_BYTES, "a path that was read fits");

#define OPTIONAL_TEXT(key, member)                                                                                     \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_etcd, member, 1, TEXT_MAX)

static const cyaml_schema_value_t endpoint_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_MAX)};

const cyaml_schema_field_t config_etcd_fields[] = {
    CYAML_FIELD_SEQUENCE("endpoints", CYAML_FLAG_POINTER, struct file_etcd, endpoints, &endpoint_schema, 1,
                         ETCD_ENDPOINTS_MAX),
    OPTIONAL_TEXT("prefix", prefix),
    CYAML_FIELD_UINT_PTR("lease_s", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_etcd, lease_s),
    OPTIONAL_TEXT("ca_file", ca_file),
    OPTIONAL_TEXT("cert_file", cert_file),
    OPTIONAL_TEXT("key_file", key_file),
    CYAML_FIELD_END,
};

static int check_endpoint(const char *endpoint, struct err *err)
{
    const char *rest = NULL;
    if (strncmp(endpoint, "http://", 7) == 0)
        rest = endpoint + 7;
    else if (strncmp(endpoint, "https://", 8) == 0)
        rest = endpoint + 8;
    if (rest == NULL || rest[0] == '\0' || rest[strcspn(rest, "/?#@ ")] != '\0' ||
        strlen(endpoint) > ETCD_ENDPOINT_MAX_BYTES)
        return err_set(err, ERR_INVALID, "endpoint \"%.100s\" is not http://HOST:PORT or https://HOST:PORT", endpoint);
    return 0;
}

static int check_prefix(const char *prefix, struct err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    size_t size = strlen(prefix);
    if (prefix[0] != '/' || size < 2 || size > ETCD_PREFIX_MAX_BYTES || prefix[size - 1] == '/' ||
        prefix[strspn(prefix, allowed)] != '\0')
        return err_set(err, ERR_INVALID,
                       "prefix \"%.100s\" must begin with / and not end with it, have at most %d bytes, and only "
                       "letters, digits and /._-",
                       prefix, ETCD_PREFIX_MAX_BYTES);
    return 0;
}

static int take_file(struct server_config *config, const char *path, size_t number, const char **ret, struct err *err)
{
    if (path == NULL)
        return 0;
    char *out = config->etcd_files[number];
    *ret = out;
    if (path[0] != '/')
        return disk_join(out, config->folder, path, err);
    copy_string(out, sizeof(config->etcd_files[number]), path); /* it fits: the reader's limit for texts is lower */
    return 0;
}

static int take(struct server_config *config, const struct file_etcd *from, struct err *err)
{
    struct etcd_config *etcd = &config->etcd;
    int code = 0;
    *etcd = (struct etcd_config){.prefix = from->prefix == NULL ? "/tallystick" : from->prefix,
                                 .cluster = config->region.cluster,
                                 .region = config->region.region,
                                 .lease_s = from->lease_s == NULL ? LEASE_DEFAULT_S : *from->lease_s};
    for (unsigned i = 0; code == 0 && i < from->endpoints_count; i++) {
        code = check_endpoint(from->endpoints[i], err);
        etcd->endpoints[etcd->endpoint_count++] = from->endpoints[i];
    }
    if (code == 0)
        code = check_prefix(etcd->prefix, err);
    if (code == 0 && (etcd->lease_s < ETCD_LEASE_MIN_S || etcd->lease_s > ETCD_LEASE_MAX_S))
        code =
            err_set(err, ERR_INVALID, "lease_s must be %d to %d seconds", (int)ETCD_LEASE_MIN_S, (int)ETCD_LEASE_MAX_S);
    if (code == 0 && (from->cert_file == NULL) != (from->key_file == NULL))
        code = err_set(err, ERR_INVALID, "cert_file and key_file belong together");
    if (code == 0)
        code = take_file(config, from->ca_file, 0, &etcd->ca_file, err);
    if (code == 0)
        code = take_file(config, from->cert_file, 1, &etcd->cert_file, err);
    if (code == 0)
        code = take_file(config, from->key_file, 2, &etcd->key_file, err);
    return code == 0 ? 0 : err_wrap(err, code, "etcd");
}

int config_etcd_take(struct server_config *config, const struct file_etcd *from, struct err *err)
{
    if (from != NULL)
        return take(config, from, err);
    for (size_t i = 0; i < config->region.contexts.count; i++) {
        if (config->contexts[i].rules.failover == FAILOVER_AUTOMATIC)
            return err_set(err, ERR_INVALID,
                           "context %.64s: failover automatic needs a consensus service: say where etcd is (etcd: "
                           "endpoints), or choose assisted",
                           config->contexts[i].name);
    }
    return 0;
}
