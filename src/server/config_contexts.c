/* Contexts of tallyd.yaml: from what the YAML reader found to domain/context.h. Whether a context makes sense is
 * context_table_check's and context_check_cluster's to say. */
#include "server/config_contexts.h"

#include "base/mem.h"

enum { TEXT_MAX = 1023 };

struct file_context_home {
    char *partition;
    char *home;
};

struct file_event_type {
    char *type;
    char *settle;
    bool override;
    bool commutative;
};

struct file_durability {
    uint64_t peers;
    char *when_away;
};

struct file_recovery_point {
    uint64_t events;
    uint64_t seconds;
    char *then;
};

#define TEXT(key, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, TEXT_MAX)
#define OPTIONAL_TEXT(key, type, member)                                                                               \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 1, TEXT_MAX)

static const cyaml_schema_field_t home_fields[] = {
    TEXT("partition", struct file_context_home, partition),
    TEXT("home", struct file_context_home, home),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t home_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_context_home, home_fields)};

static const cyaml_schema_field_t type_fields[] = {
    TEXT("type", struct file_event_type, type),
    OPTIONAL_TEXT("settle", struct file_event_type, settle),
    CYAML_FIELD_BOOL("override", CYAML_FLAG_OPTIONAL, struct file_event_type, override),
    CYAML_FIELD_BOOL("commutative", CYAML_FLAG_OPTIONAL, struct file_event_type, commutative),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t type_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_event_type, type_fields)};

static const cyaml_schema_field_t durability_fields[] = {
    CYAML_FIELD_UINT("peers", CYAML_FLAG_DEFAULT, struct file_durability, peers),
    OPTIONAL_TEXT("when_away", struct file_durability, when_away),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t recovery_point_fields[] = {
    CYAML_FIELD_UINT("events", CYAML_FLAG_OPTIONAL, struct file_recovery_point, events),
    CYAML_FIELD_UINT("seconds", CYAML_FLAG_OPTIONAL, struct file_recovery_point, seconds),
    TEXT("then", struct file_recovery_point, then),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t region_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_MAX)};

static const cyaml_schema_field_t context_fields[] = {
    TEXT("name", struct file_context, name),
    TEXT("default_home", struct file_context, default_home),
    OPTIONAL_TEXT("topology", struct file_context, topology),
    OPTIONAL_TEXT("isolation", struct file_context, isolation),
    CYAML_FIELD_UINT_PTR("lease_ms", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_context, lease_ms),
    OPTIONAL_TEXT("failover", struct file_context, failover),
    CYAML_FIELD_SEQUENCE("payload_regions", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_context,
                         payload_regions, &region_schema, 1, RULES_PAYLOAD_REGIONS_MAX),
    CYAML_FIELD_SEQUENCE("homes", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_context, homes, &home_schema, 0,
                         CONTEXT_HOMES_MAX),
    CYAML_FIELD_SEQUENCE("event_types", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_context, event_types,
                         &type_schema, 0, CONTEXT_TYPES_MAX),
    CYAML_FIELD_MAPPING_PTR("durability", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_context, durability,
                            durability_fields),
    CYAML_FIELD_MAPPING_PTR("recovery_point", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct file_context,
                            recovery_point, recovery_point_fields),
    CYAML_FIELD_END,
};
const cyaml_schema_value_t config_context_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct file_context, context_fields)};

static int take_promises(const struct file_context *from, struct promises *ret, struct err *err)
{
    const struct file_durability *durability = from->durability;
    const struct file_recovery_point *point = from->recovery_point;
    int code = 0;
    if (durability != NULL) {
        bool fits = durability->peers <= PROMISES_PEERS_MAX;
        ret->durability.peers = fits ? (uint32_t)durability->peers : PROMISES_PEERS_MAX + 1; /* refused by its check */
        if (durability->when_away != NULL)
            code = when_away_parse(durability->when_away, &ret->durability.when_away, err);
    }
    if (code == 0 && point != NULL) {
        ret->recovery_point.events = point->events;
        ret->recovery_point.seconds = point->seconds;
        code = bound_action_parse(point->then, &ret->recovery_point.then, err);
    }
    return code;
}

static int take_rules(const struct file_context *from, struct context_rules *ret, struct err *err)
{
    int code = from->topology == NULL ? 0 : topology_parse(from->topology, &ret->topology, err);
    if (code == 0 && from->isolation != NULL)
        code = isolation_parse(from->isolation, &ret->isolation, err);
    if (code == 0 && from->failover != NULL)
        code = failover_mode_parse(from->failover, &ret->failover, err);
    if (from->lease_ms != NULL) /* what is too large is refused by its check */
        ret->lease_ms = *from->lease_ms > RULES_LEASE_MAX_MS ? RULES_LEASE_MAX_MS + 1 : (uint32_t)*from->lease_ms;
    ret->payload_region_count = from->payload_regions_count;
    ret->payload_regions = (const char *const *)from->payload_regions;
    return code;
}

static int take_type(const struct file_event_type *from, struct context_type *to, struct err *err)
{
    *to = (struct context_type){.type = from->type, .override = from->override, .commutative = from->commutative};
    int code = from->settle == NULL ? 0 : late_policy_parse(from->settle, &to->late, err);
    return code == 0 ? 0 : err_wrap(err, code, "event_types: type %.64s", from->type);
}

int config_context_take(const struct file_context *from, struct context *to, struct err *err)
{
    struct context_home *homes = mem_alloc_zero(from->homes_count, sizeof(*homes));
    struct context_type *types = mem_alloc_zero(from->event_types_count, sizeof(*types));
    *to = (struct context){.name = from->name,
                           .default_home = from->default_home,
                           .home_count = from->homes_count,
                           .homes = homes,
                           .type_count = from->event_types_count,
                           .types = types};
    if (homes == NULL || types == NULL)
        return err_no_memory(err, "the contexts");
    for (unsigned i = 0; i < from->homes_count; i++)
        homes[i] = (struct context_home){.partition = from->homes[i].partition, .region = from->homes[i].home};
    int code = take_rules(from, &to->rules, err);
    for (unsigned i = 0; code == 0 && i < from->event_types_count; i++)
        code = take_type(&from->event_types[i], &types[i], err);
    if (code == 0)
        code = take_promises(from, &to->promises, err);
    return code == 0 ? 0 : err_wrap(err, code, "context %.64s", from->name);
}

void config_context_free(struct context *context)
{
    mem_free((void *)(uintptr_t)context->homes);
    mem_free((void *)(uintptr_t)context->types);
}

/* --- The system's context --- */

static const char *smallest_region(const struct region_config *region)
{
    const char *smallest = region->region;
    for (size_t i = 0; i < region->peer_count; i++) {
        if (strcmp(region->peers[i].region, smallest) < 0)
            smallest = region->peers[i].region;
    }
    return smallest;
}

struct context config_system_context(const char *home, const struct region_config *region)
{
    return (struct context){.name = CONTEXT_SYSTEM,
                            .default_home = home == NULL ? smallest_region(region) : home,
                            .rules.topology = TOPOLOGY_ACTIVE_PASSIVE};
}
