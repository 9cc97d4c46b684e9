/* The part of tallyd.yaml that says which files TLS uses. */
#ifndef SERVER_CONFIG_TLS_H
#define SERVER_CONFIG_TLS_H

#include <cyaml/cyaml.h>

#include "server/config.h"

/* What the YAML reader makes of it. All three are required. */
struct file_tls {
    char *ca_file;
    char *cert_file;
    char *key_file;
};

extern const cyaml_schema_field_t config_tls_fields[]; /* of struct file_tls */

/* from NULL: there is none, and config->tls stays empty. Otherwise config->tls points into config. The files are not
 * read: tls_open does that. ERR_TOO_LARGE. */
int config_tls_take(struct server_config *config, const struct file_tls *from, struct err *err) MUST_USE;
/* Whether an address, "host:port", can only be reached from this machine. */
bool config_is_loopback(const char *address);

#endif
