/* TLS in tallyd.yaml: only where the files are. What is in them is looked at when the server starts, and again whenever
 * they change (client/tls.h). */
#include "server/config_tls.h"

enum { TEXT_MAX = 1023 };
static_assert((int)TEXT_MAX < (int)DISK_PATH_MAX_BYTES, "a path that was read fits");

#define REQUIRED_TEXT(key, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, struct file_tls, member, 1, TEXT_MAX)

const cyaml_schema_field_t config_tls_fields[] = {
    REQUIRED_TEXT("ca_file", ca_file),
    REQUIRED_TEXT("cert_file", cert_file),
    REQUIRED_TEXT("key_file", key_file),
    CYAML_FIELD_END,
};

static int take_file(struct server_config *config, const char *path, size_t number, const char **ret, struct err *err)
{
    char *out = config->tls_files[number];
    *ret = out;
    if (path[0] != '/')
        return disk_join(out, config->folder, path, err);
    copy_string(out, sizeof(config->tls_files[number]), path); /* it fits: the reader's limit for texts is lower */
    return 0;
}

int config_tls_take(struct server_config *config, const struct file_tls *from, struct err *err)
{
    if (from == NULL)
        return 0;
    int code = take_file(config, from->ca_file, 0, &config->tls.ca_file, err);
    if (code == 0)
        code = take_file(config, from->cert_file, 1, &config->tls.cert_file, err);
    if (code == 0)
        code = take_file(config, from->key_file, 2, &config->tls.key_file, err);
    return code == 0 ? 0 : err_wrap(err, code, "tls");
}

bool config_is_loopback(const char *address)
{
    static const char *const hosts[] = {"127.", "localhost:", "[::1]:", "[0:0:0:0:0:0:0:1]:"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (strncmp(address, hosts[i], strlen(hosts[i])) == 0)
            return true;
    }
    return false;
}
