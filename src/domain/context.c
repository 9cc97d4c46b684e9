/* Contexts (context.h). The digest is the same for equal configurations, whatever their order. */
#include "domain/context.h"

#include "base/assert.h"
#include "base/mem.h"
#include "entry/entry.h"

size_t context_count(const struct context_table *table)
{
    return table->live == NULL ? table->count : atomic_load_explicit(&table->live->count, memory_order_acquire);
}

const struct context *context_at(const struct context_table *table, size_t place)
{
    PRE(place < context_count(table));
    return table->live == NULL ? &table->contexts[place]
                               : atomic_load_explicit(&table->live->at[place], memory_order_acquire);
}

const struct context *context_known_at(const struct context_table *table, size_t place)
{
    const struct context *context = context_at(table, place);
    if (context != NULL || table->live == NULL)
        return context;
    return atomic_load_explicit(&table->live->known[place], memory_order_acquire);
}

const struct context *context_known(const struct context_table *table, struct bytes name)
{
    size_t count = context_count(table);
    for (size_t i = 0; i < count; i++) {
        const struct context *context = context_known_at(table, i);
        if (context != NULL && bytes_equal(bytes_of_string(context->name), name))
            return context;
    }
    return NULL;
}

uint64_t context_version(const struct context *context)
{
    return context->changed + 1;
}

uint32_t context_least_peers(const struct context *context)
{
    return context->least_peers == 0 ? context->promises.durability.peers : context->least_peers;
}

static const struct context *find(const struct context_table *table, struct bytes name, size_t *ret_place)
{
    size_t count = context_count(table);
    for (size_t i = 0; i < count; i++) {
        const struct context *context = context_at(table, i);
        if (context != NULL && bytes_equal(bytes_of_string(context->name), name)) {
            *ret_place = i;
            return context;
        }
    }
    return NULL;
}

const struct context *context_find(const struct context_table *table, struct bytes name)
{
    size_t place = 0;
    return find(table, name, &place);
}

int context_authority(const struct context_table *table, struct bytes context, struct bytes partition,
                      struct authority *ret, struct err *err)
{
    const struct context *found = context_find(table, context);
    if (found == NULL)
        return err_set(
            err, ERR_NOT_FOUND,
            "there is no context \"%.*s\" here: make it with `tally context create`; if that was done just now, "
            "this region hears of it in a moment",
            (int)context.size_bytes, (const char *)context.data);
    *ret = (struct authority){.region = found->default_home, .epoch = CONTEXT_EPOCH_FIRST};
    for (size_t i = 0; i < found->home_count; i++) {
        if (bytes_equal(bytes_of_string(found->homes[i].partition), partition))
            ret->region = found->homes[i].region;
    }
    return 0;
}

bool context_has_home(const struct context_table *table, struct bytes context, struct bytes partition)
{
    const struct context *found = context_find(table, context);
    for (size_t i = 0; found != NULL && i < found->home_count; i++) {
        if (bytes_equal(bytes_of_string(found->homes[i].partition), partition))
            return true;
    }
    return false;
}

const struct promises *context_promises(const struct context_table *table, struct bytes context, size_t *ret_number)
{
    const struct context *found = find(table, context, ret_number);
    return found == NULL ? NULL : &found->promises;
}

size_t context_home_count(const struct context_table *table, struct bytes context)
{
    const struct context *found = context_find(table, context);
    return found == NULL ? 0 : found->home_count;
}

struct bytes context_home_partition(const struct context_table *table, struct bytes context, size_t at)
{
    const struct context *found = context_find(table, context);
    PRE(found != NULL && at < found->home_count);
    return bytes_of_string(found->homes[at].partition);
}

/* --- Late events --- */

static const char *const late_policy_names[] = {
    [LATE_MANUAL] = "manual",
    [LATE_ACCEPT] = "accept",
    [LATE_DROP_DUPLICATE] = "drop-duplicate",
    [LATE_COMPENSATE] = "compensate",
};
enum { LATE_POLICY_COUNT = sizeof(late_policy_names) / sizeof(late_policy_names[0]) };

const struct context_type *context_type_find(const struct context *context, struct bytes type)
{
    for (size_t i = 0; i < context->type_count; i++) {
        if (bytes_equal(bytes_of_string(context->types[i].type), type))
            return &context->types[i];
    }
    return NULL;
}

bool context_accepts_anywhere(const struct context *context, struct bytes type)
{
    if (context == NULL || context->rules.topology != TOPOLOGY_MULTI_HOME)
        return false;
    const struct context_type *rule = context_type_find(context, type);
    return rule != NULL && rule->commutative;
}

bool context_frees_more(const struct context *a, const struct context *b)
{
    for (size_t i = 0; a != NULL && i < a->type_count; i++) {
        struct bytes type = bytes_of_string(a->types[i].type);
        if (context_accepts_anywhere(a, type) && !context_accepts_anywhere(b, type))
            return true;
    }
    return false;
}

enum late_policy context_late_policy(const struct context_table *table, struct bytes context, struct bytes type)
{
    const struct context *found = context_find(table, context);
    const struct context_type *rule = found == NULL ? NULL : context_type_find(found, type);
    return rule == NULL ? LATE_MANUAL : rule->late;
}

const char *late_policy_name(enum late_policy policy)
{
    PRE((size_t)policy < LATE_POLICY_COUNT);
    return late_policy_names[policy];
}

int late_policy_parse(const char *name, enum late_policy *ret, struct err *err)
{
    for (size_t i = 0; i < LATE_POLICY_COUNT; i++) {
        if (strcmp(late_policy_names[i], name) == 0) {
            *ret = (enum late_policy)i;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "settle: \"%.64s\" is none of accept, drop-duplicate, compensate, manual", name);
}

/* --- Checking --- */

static int check_region(const char *region, const char *context, struct err *err)
{
    if (region == NULL || region[0] == '\0')
        return err_set(err, ERR_INVALID, "context %s: a home must name a region", context);
    return 0;
}

static int check_homes(const struct context *context, struct err *err)
{
    if (context->home_count > CONTEXT_HOMES_MAX)
        return err_set(err, ERR_TOO_LARGE, "context %s has %zu homes, the limit is %d", context->name,
                       context->home_count, CONTEXT_HOMES_MAX);
    for (size_t i = 0; i < context->home_count; i++) {
        const struct context_home *home = &context->homes[i];
        int code = entry_check_name(bytes_of_string(home->partition), ENTRY_NAME_MAX_BYTES, "partition", err);
        if (code == 0)
            code = check_region(home->region, context->name, err);
        for (size_t j = 0; code == 0 && j < i; j++) {
            if (strcmp(home->partition, context->homes[j].partition) == 0)
                code = err_set(err, ERR_INVALID, "context %s gives partition %s two homes", context->name,
                               home->partition);
        }
        if (code != 0)
            return code;
    }
    return 0;
}

static int check_types(const struct context *context, struct err *err)
{
    if (context->type_count > CONTEXT_TYPES_MAX)
        return err_set(err, ERR_TOO_LARGE, "context %s has rules for %zu event types, the limit is %d", context->name,
                       context->type_count, CONTEXT_TYPES_MAX);
    for (size_t i = 0; i < context->type_count; i++) {
        const struct context_type *rule = &context->types[i];
        int code = entry_check_name(bytes_of_string(rule->type), ENTRY_NAME_MAX_BYTES, "type", err);
        if (code == 0 && rule->commutative && context->rules.topology != TOPOLOGY_MULTI_HOME)
            code = err_set(err, ERR_INVALID, "context %s: type %s is commutative, but the topology is not multi-home",
                           context->name, rule->type);
        for (size_t j = 0; code == 0 && j < i; j++) {
            if (strcmp(rule->type, context->types[j].type) == 0)
                code =
                    err_set(err, ERR_INVALID, "context %s has two rules for event type %s", context->name, rule->type);
        }
        if (code != 0)
            return code;
    }
    return 0;
}

/* Whoever is the home must hold the payloads (rule 5 of DESIGN.md); active-passive has one home. */
static int check_rules(const struct context *context, struct err *err)
{
    const struct context_rules *rules = &context->rules;
    int code = rules_check(rules, context->name, err);
    if (code != 0)
        return code;
    if (rules->topology == TOPOLOGY_ACTIVE_PASSIVE && context->home_count > 0)
        return err_set(err, ERR_INVALID, "context %s is active-passive: it has one home, and no homes of partitions",
                       context->name);
    const char *without =
        rules_region_holds_payloads(rules, bytes_of_string(context->default_home)) ? NULL : context->default_home;
    for (size_t i = 0; i < context->home_count; i++) {
        if (!rules_region_holds_payloads(rules, bytes_of_string(context->homes[i].region)))
            without = context->homes[i].region;
    }
    if (without != NULL)
        return err_set(err, ERR_INVALID, "context %s: %s is a home, so it must be one of payload_regions",
                       context->name, without);
    return 0;
}

int context_check(const struct context *context, struct err *err)
{
    int code = entry_check_name(bytes_of_string(context->name), ENTRY_NAME_MAX_BYTES, "context", err);
    if (code == 0 && context->name[0] == '$' && strcmp(context->name, CONTEXT_SYSTEM) != 0)
        code = err_set(err, ERR_INVALID, "context %s: names that start with $ are kept for the system", context->name);
    if (code == 0)
        code = check_region(context->default_home, context->name, err);
    if (code == 0)
        code = check_homes(context, err);
    if (code == 0)
        code = check_types(context, err);
    if (code == 0)
        code = check_rules(context, err);
    return code == 0 ? promises_check(&context->promises, context->name, err) : code;
}

static bool is_one_of(const char *region, const char *const *regions, size_t region_count)
{
    size_t at = 0;
    while (at < region_count && strcmp(regions[at], region) != 0)
        at++;
    return at < region_count;
}

static int check_named_regions(const struct context *context, const char *const *regions, size_t region_count,
                               struct err *err)
{
    if (!is_one_of(context->default_home, regions, region_count))
        return err_set(err, ERR_INVALID, "context %.64s: default_home %.64s is neither this region nor a peer",
                       context->name, context->default_home);
    for (size_t i = 0; i < context->home_count; i++) {
        if (!is_one_of(context->homes[i].region, regions, region_count))
            return err_set(err, ERR_INVALID,
                           "context %.64s: home %.64s of partition %.64s is neither this region nor a peer",
                           context->name, context->homes[i].region, context->homes[i].partition);
    }
    for (size_t i = 0; i < context->rules.payload_region_count; i++) {
        if (!is_one_of(context->rules.payload_regions[i], regions, region_count))
            return err_set(err, ERR_INVALID, "context %.64s: payload_regions: %.64s is neither this region nor a peer",
                           context->name, context->rules.payload_regions[i]);
    }
    return 0;
}

/* Regions beside a home that keep what its events say: their copies are the ones that count. */
static size_t copies_possible(const struct context *context, size_t region_count)
{
    size_t named = context->rules.payload_region_count;
    return (named == 0 || named > region_count ? region_count : named) - 1;
}

int context_check_cluster(const struct context *context, const char *const *regions, size_t region_count,
                          struct err *err)
{
    const struct promises *promises = &context->promises;
    bool bounded = promises->recovery_point.events > 0 || promises->recovery_point.seconds > 0;
    size_t copies = copies_possible(context, region_count);
    if (promises->durability.peers > copies)
        return err_set(err, ERR_INVALID, "context %.64s: durability asks for %u peers, the cluster has %zu%s",
                       context->name, (unsigned)promises->durability.peers, copies,
                       context->rules.payload_region_count == 0 ? "" : " that may hold its payloads");
    if (bounded && copies == 0)
        return err_set(err, ERR_INVALID,
                       "context %.64s: recovery_point needs a peer that holds a copy, payloads included",
                       context->name);
    return check_named_regions(context, regions, region_count, err);
}

int context_table_check(const struct context_table *table, struct err *err)
{
    if (table->count > CONTEXTS_MAX)
        return err_set(err, ERR_TOO_LARGE, "%zu contexts, the limit is %d", table->count, CONTEXTS_MAX);
    for (size_t i = 0; i < table->count; i++) {
        int code = context_check(&table->contexts[i], err);
        for (size_t j = 0; code == 0 && j < i; j++) {
            if (strcmp(table->contexts[i].name, table->contexts[j].name) == 0)
                code = err_set(err, ERR_INVALID, "context %s is declared twice", table->contexts[i].name);
        }
        if (code != 0)
            return code;
    }
    return 0;
}

/* --- Digest --- */

/* XOR of the hashes of all parts: the same whatever their order; parts are unique, so none cancels another. */
static void mix_part(struct hash *mixed, struct sha256 *sha, struct bytes kind, const char *context, const char *name,
                     const char *value)
{
    const struct bytes parts[] = {kind, bytes_of(context, strlen(context) + 1), bytes_of(name, strlen(name) + 1),
                                  bytes_of(value, strlen(value) + 1)};
    struct hash hash = sha256_parts(sha, parts, 4);
    for (size_t i = 0; i < HASH_SIZE; i++)
        mixed->bytes[i] ^= hash.bytes[i];
}

/* A rule that says what no rule would say is the same as none. */
static void mix_type(struct hash *mixed, struct sha256 *sha, const char *context, const struct context_type *rule)
{
    if (rule->late != LATE_MANUAL)
        mix_part(mixed, sha, BYTES_LITERAL("tallystick-late\0"), context, rule->type, late_policy_name(rule->late));
    if (rule->override)
        mix_part(mixed, sha, BYTES_LITERAL("tallystick-type\0"), context, rule->type, "override");
    if (rule->commutative)
        mix_part(mixed, sha, BYTES_LITERAL("tallystick-type\0"), context, rule->type, "commutative");
}

struct hash context_table_digest(const struct context_table *table, struct sha256 *sha)
{
    const struct bytes home = BYTES_LITERAL("tallystick-context\0");
    struct hash mixed = {0};
    for (size_t i = 0; i < table->count; i++) {
        const struct context *context = &table->contexts[i];
        mix_part(&mixed, sha, home, context->name, "", context->default_home);
        rules_mix(&context->rules, context->name, sha, &mixed);
        promises_mix(&context->promises, context->name, sha, &mixed);
        for (size_t j = 0; j < context->home_count; j++)
            mix_part(&mixed, sha, home, context->name, context->homes[j].partition, context->homes[j].region);
        for (size_t j = 0; j < context->type_count; j++)
            mix_type(&mixed, sha, context->name, &context->types[j]);
    }
    return sha256_of(sha, bytes_of(mixed.bytes, HASH_SIZE));
}
