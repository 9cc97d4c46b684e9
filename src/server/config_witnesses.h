/* The part of tallyd.yaml that names witnesses that are no peers, to which the own log's checkpoints are submitted. */
#ifndef SERVER_CONFIG_WITNESSES_H
#define SERVER_CONFIG_WITNESSES_H

#include <cyaml/cyaml.h>

#include "server/config.h"

/* What the YAML reader makes of one. */
struct file_witness {
    char *name;
    char *key;
    char *url;
};

extern const cyaml_schema_value_t config_witness_schema; /* of struct file_witness */

/* config->witness_urls and ->witness_names borrow from `from`. Peers are known already. ERR_INVALID. */
int config_witnesses_take(struct server_config *config, const struct file_witness *from, size_t count,
                          struct err *err) MUST_USE;

#endif
