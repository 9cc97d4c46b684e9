/* The part of tallyd.yaml that says what contexts there are. */
#ifndef SERVER_CONFIG_CONTEXTS_H
#define SERVER_CONFIG_CONTEXTS_H

#include <cyaml/cyaml.h>

#include "region/region.h"

/* What the YAML reader makes of one context. Optional parts are NULL or 0. */
struct file_context {
    char *name;
    char *default_home;
    char *topology;
    char *isolation;
    uint64_t *lease_ms;
    char *failover;
    char **payload_regions;
    unsigned payload_regions_count;
    struct file_context_home *homes;
    unsigned homes_count;
    struct file_event_type *event_types;
    unsigned event_types_count;
    struct file_durability *durability;
    struct file_recovery_point *recovery_point;
};

extern const cyaml_schema_value_t config_context_schema; /* of struct file_context */

/* *to borrows texts from `from`; config_context_free in any case. ERR_INVALID naming the context; ERR_NO_MEMORY. */
int config_context_take(const struct file_context *from, struct context *to, struct err *err) MUST_USE;
/* The context in which others are defined. home NULL: the region with the smallest name, of all of the cluster. Borrows
 * from both. */
struct context config_system_context(const char *home, const struct region_config *region);
void config_context_free(struct context *context);

#endif
