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
        for (size_t j = 0; code == 0 && j < i; j++) {
            if (strcmp(context->name, table->contexts[j].name) == 0)
                code = err_set(err, ERR_INVALID, "context %s is declared twice", context->name);
        }
        if (code != 0)
            return code;
    }
    return 0;
}

/* XOR of the hashes of all parts: the same whatever their order; parts are unique, so none cancels another. */
static void mix_part(struct hash *mixed, struct sha256 *sha, const char *context, const char *partition,
                     const char *region)
{
    const struct bytes parts[] = {BYTES_LITERAL("tallystick-context\0"), bytes_of(context, strlen(context) + 1),
                                  bytes_of(partition, strlen(partition) + 1), bytes_of(region, strlen(region) + 1)};
    struct hash hash = sha256_parts(sha, parts, 4);
    for (size_t i = 0; i < HASH_SIZE; i++)
        mixed->bytes[i] ^= hash.bytes[i];
}

struct hash context_table_digest(const struct context_table *table, struct sha256 *sha)
{
    struct hash mixed = {0};
    for (size_t i = 0; i < table->count; i++) {
        const struct context *context = &table->contexts[i];
        mix_part(&mixed, sha, context->name, "", context->default_home);
        for (size_t j = 0; j < context->home_count; j++)
            mix_part(&mixed, sha, context->name, context->homes[j].partition, context->homes[j].region);
    }
    return sha256_of(sha, bytes_of(mixed.bytes, HASH_SIZE));
}
