/* The part of tallyd.yaml that says where etcd is, for contexts whose failover is `automatic`. */
#ifndef SERVER_CONFIG_ETCD_H
#define SERVER_CONFIG_ETCD_H

#include <cyaml/cyaml.h>

#include "server/config.h"

/* What the YAML reader makes of it. Optional parts are NULL. */
struct file_etcd {
    char **endpoints;
    unsigned endpoints_count;
    char *prefix;
    uint64_t *lease_s;
    char *ca_file;
    char *cert_file;
    char *key_file;
};

extern const cyaml_schema_field_t config_etcd_fields[]; /* of struct file_etcd */

/* from NULL: there is none, and no context of the file may ask for it. Otherwise config->etcd borrows from it and from
 * config, whose names are set. ERR_INVALID, ERR_TOO_LARGE. */
int config_etcd_take(struct server_config *config, const struct file_etcd *from, struct err *err) MUST_USE;

#endif
