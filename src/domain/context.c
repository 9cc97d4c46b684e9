/* The table of contexts: kept sorted by name, so that equal configurations give equal digests whatever their order. */
#include "domain/context.h"

#include "base/assert.h"
#include "base/mem.h"
#include "entry/entry.h"

static const struct context *find_context(const struct context_table *table, struct bytes name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (bytes_equal(bytes_of_string(table->contexts[i].name), name))
            return &table->contexts[i];
    }
    return NULL;
}

int context_authority(const struct context_table *table, struct bytes context, struct bytes partition,
                      struct authority *ret, struct err *err)
{
    const struct context *found = find_context(table, context);
    if (found == NULL)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no context \"%.*s\": declare it under `contexts` in every region's tallyd.yaml",
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
    const struct context *found = find_context(table, context);
    for (size_t i = 0; found != NULL && i < found->home_count; i++) {
        if (bytes_equal(bytes_of_string(found->homes[i].partition), partition))
            return true;
    }
    return false;
}

const struct promises *context_promises(const struct context_table *table, struct bytes context, size_t *ret_number)
{
    const struct context *found = find_context(table, context);
    if (found == NULL)
        return NULL;
    *ret_number = (size_t)(found - table->contexts);
    return &found->promises;
}

size_t context_home_count(const struct context_table *table, struct bytes context)
{
    const struct context *found = find_context(table, context);
    return found == NULL ? 0 : found->home_count;
}

struct bytes context_home_partition(const struct context_table *table, struct bytes context, size_t at)
{
    const struct context *found = find_context(table, context);
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

enum late_policy context_late_policy(const struct context_table *table, struct bytes context, struct bytes type)
{
    const struct context *found = find_context(table, context);
    for (size_t i = 0; found != NULL && i < found->late_count; i++) {
        if (bytes_equal(bytes_of_string(found->late[i].type), type))
            return found->late[i].policy;
    }
    return LATE_MANUAL;
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

static int check_late(const struct context *context, struct err *err)
{
    if (context->late_count > CONTEXT_LATE_TYPES_MAX)
        return err_set(err, ERR_TOO_LARGE, "context %s has rules for late events of %zu types, the limit is %d",
                       context->name, context->late_count, CONTEXT_LATE_TYPES_MAX);
    for (size_t i = 0; i < context->late_count; i++) {
        int code = entry_check_name(bytes_of_string(context->late[i].type), ENTRY_NAME_MAX_BYTES, "type", err);
        for (size_t j = 0; code == 0 && j < i; j++) {
            if (strcmp(context->late[i].type, context->late[j].type) == 0)
                code = err_set(err, ERR_INVALID, "context %s has two rules for late events of type %s", context->name,
                               context->late[i].type);
        }
        if (code != 0)
            return code;
    }
    return 0;
}

int context_table_check(const struct context_table *table, struct err *err)
{
    if (table->count > CONTEXTS_MAX)
        return err_set(err, ERR_TOO_LARGE, "%zu contexts, the limit is %d", table->count, CONTEXTS_MAX);
    for (size_t i = 0; i < table->count; i++) {
        const struct context *context = &table->contexts[i];
        int code = entry_check_name(bytes_of_string(context->name), ENTRY_NAME_MAX_BYTES, "context", err);
        if (code == 0 && context->name[0] == '$')
            code =
                err_set(err, ERR_INVALID, "context %s: names that start with $ are kept for the system", context->name);
        if (code == 0)
            code = check_region(context->default_home, context->name, err);
        if (code == 0)
            code = check_homes(context, err);
        if (code == 0)
            code = check_late(context, err);
        if (code == 0)
            code = promises_check(&context->promises, context->name, err);
        for (size_t j = 0; code == 0 && j < i; j++) {
            if (strcmp(context->name, table->contexts[j].name) == 0)
                code = err_set(err, ERR_INVALID, "context %s is declared twice", context->name);
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

struct hash context_table_digest(const struct context_table *table, struct sha256 *sha)
{
    const struct bytes home = BYTES_LITERAL("tallystick-context\0");
    const struct bytes late = BYTES_LITERAL("tallystick-late\0");
    struct hash mixed = {0};
    for (size_t i = 0; i < table->count; i++) {
        const struct context *context = &table->contexts[i];
        mix_part(&mixed, sha, home, context->name, "", context->default_home);
        promises_mix(&context->promises, context->name, sha, &mixed);
        for (size_t j = 0; j < context->home_count; j++)
            mix_part(&mixed, sha, home, context->name, context->homes[j].partition, context->homes[j].region);
        for (size_t j = 0; j < context->late_count; j++) {
            if (context->late[j].policy != LATE_MANUAL) /* the same as not saying so */
                mix_part(&mixed, sha, late, context->name, context->late[j].type,
                         late_policy_name(context->late[j].policy));
        }
    }
    return sha256_of(sha, bytes_of(mixed.bytes, HASH_SIZE));
}
