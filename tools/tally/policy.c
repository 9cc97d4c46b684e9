/* Policies of contexts: options, and what is shown (policy.h). */
#include "policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

enum { VALUE_MAX_BYTES = 1024 * 1024 };

static int no_memory(struct err *err)
{
    return err_no_memory(err, "a policy");
}

/* --- Options --- */

/* "NAME=VALUE", cut at the last '='. */
static int split(const char *text, const char *option, const char *form, struct arena *arena, const char **ret_name,
                 const char **ret_value, struct err *err)
{
    const char *equals = strrchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0')
        return err_set(err, ERR_INVALID, "%s \"%.100s\" is not %s", option, text, form);
    size_t size = (size_t)(equals - text);
    char *name = arena_alloc_zero(arena, 1, size + 1);
    if (name == NULL)
        return no_memory(err);
    memcpy(name, text, size);
    *ret_name = name;
    *ret_value = equals + 1;
    return 0;
}

static int take_homes(const struct option_values *values, struct arena *arena, struct tally_context_policy *ret,
                      struct err *err)
{
    struct tally_partition_home *homes = arena_alloc_zero(arena, values->count, sizeof(*homes));
    int rc = homes == NULL ? no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < values->count; i++)
        rc = split(values->items[i], "--home", "PARTITION=REGION", arena, &homes[i].partition, &homes[i].region, err);
    if (rc == 0 && values->count > 0) {
        ret->homes = homes;
        ret->home_count = values->count;
    }
    return rc;
}

/* "accept,override": what is done about late ones, and what the type may do. */
static int take_words(const char *words, struct arena *arena, struct tally_event_type *type, struct err *err)
{
    type->settle = "manual";
    while (*words != '\0') {
        size_t size = strcspn(words, ",");
        char *word = arena_alloc_zero(arena, 1, size + 1);
        if (word == NULL)
            return no_memory(err);
        memcpy(word, words, size);
        if (strcmp(word, "override") == 0)
            type->override = true;
        else if (strcmp(word, "commutative") == 0)
            type->commutative = true;
        else
            type->settle = word;
        words += size + (words[size] == ',');
    }
    return 0;
}

/* Rules of types that are named anew take the place of those before. */
static int take_types(const struct option_values *values, struct arena *arena, struct tally_context_policy *ret,
                      struct err *err)
{
    struct tally_event_type *types = arena_alloc_zero(arena, ret->type_count + values->count, sizeof(*types));
    size_t count = ret->type_count;
    if (types == NULL)
        return no_memory(err);
    for (size_t i = 0; i < count; i++)
        types[i] = ret->types[i];
    for (size_t i = 0; i < values->count; i++) {
        struct tally_event_type type = {.override = false};
        const char *words = NULL;
        size_t at = 0;
        int rc = split(values->items[i], "--type", "TYPE=WORD[,WORD]", arena, &type.type, &words, err);
        if (rc == 0)
            rc = take_words(words, arena, &type, err);
        if (rc != 0)
            return rc;
        while (at < count && strcmp(types[at].type, type.type) != 0)
            at++;
        types[at] = type;
        count += at == count;
    }
    ret->types = types;
    ret->type_count = count;
    return 0;
}

static void take_text(const char *given, const char **value)
{
    if (given != NULL)
        *value = given;
}

static void take_number(uint64_t given, uint64_t *value)
{
    if (given != POLICY_UNSET)
        *value = given;
}

static int take_small(uint64_t given, const char *option, uint32_t *value, struct err *err)
{
    if (given == POLICY_UNSET)
        return 0;
    if (given > UINT32_MAX)
        return err_set(err, ERR_INVALID, "%s: %" PRIu64 " is too large", option, given);
    *value = (uint32_t)given;
    return 0;
}

/* "*" stands for every region. */
static void take_payload_regions(const struct option_values *values, struct tally_context_policy *ret)
{
    bool all = values->count == 1 && strcmp(values->items[0], "*") == 0;
    if (values->count == 0)
        return;
    ret->payload_regions = values->items;
    ret->payload_region_count = all ? 0 : values->count;
}

bool policy_is_given(const struct policy_options *options)
{
    const char *const texts[] = {options->default_home, options->topology,  options->isolation,
                                 options->failover,     options->when_away, options->recovery_then};
    const uint64_t numbers[] = {options->lease_ms, options->peers, options->recovery_events, options->recovery_seconds};
    bool given = options->homes.count + options->payload_regions.count + options->types.count > 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        given = given || texts[i] != NULL;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        given = given || numbers[i] != POLICY_UNSET;
    return given;
}

int policy_change(const struct tally_context_policy *before, const char *name, const struct policy_options *options,
                  struct arena *arena, struct tally_context_policy *ret, struct err *err)
{
    struct tally_context_policy policy = {.topology = "home-affinity",
                                          .isolation = "accept",
                                          .failover = "manual",
                                          .when_away = "refuse",
                                          .recovery_then = "warn"};
    if (before != NULL)
        policy = *before;
    policy.name = name;
    take_text(options->default_home, &policy.default_home);
    take_text(options->topology, &policy.topology);
    take_text(options->isolation, &policy.isolation);
    take_text(options->failover, &policy.failover);
    take_text(options->when_away, &policy.when_away);
    take_text(options->recovery_then, &policy.recovery_then);
    take_number(options->recovery_events, &policy.recovery_events);
    take_number(options->recovery_seconds, &policy.recovery_seconds);
    take_payload_regions(&options->payload_regions, &policy);
    int rc = take_small(options->lease_ms, "--lease-ms", &policy.lease_ms, err);
    if (rc == 0)
        rc = take_small(options->peers, "--peers", &policy.durability_peers, err);
    if (rc == 0)
        rc = take_homes(&options->homes, arena, &policy, err);
    if (rc == 0)
        rc = take_types(&options->types, arena, &policy, err);
    if (rc == 0)
        *ret = policy;
    return rc;
}

/* --- Showing --- */

struct lines {
    struct policy_line *lines;
    size_t count;
    struct arena *arena;
    bool failed;
};

static void add(struct lines *lines, const char *key, const char *value)
{
    lines->failed = lines->failed || value == NULL;
    lines->lines[lines->count++] = (struct policy_line){.key = key, .value = value == NULL ? "" : value};
}

static void add_number(struct lines *lines, const char *key, uint64_t value)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "%" PRIu64, value);
    add(lines, key, value == 0 ? "" : arena_copy(lines->arena, text, (size_t)size + 1));
}

/* Takes over the text. */
static void add_text(struct lines *lines, const char *key, struct buf *text, int code)
{
    if (code == 0)
        code = buf_terminate(text);
    add(lines, key, code == 0 ? arena_copy(lines->arena, text->data, text->size_bytes + 1) : NULL);
    buf_free(text);
}

static void add_homes(struct lines *lines, const struct tally_context_policy *policy)
{
    struct buf text;
    int code = 0;
    buf_init(&text, VALUE_MAX_BYTES);
    for (size_t i = 0; code == 0 && i < policy->home_count; i++)
        code =
            buf_append_format(&text, "%s%s=%s", i == 0 ? "" : " ", policy->homes[i].partition, policy->homes[i].region);
    add_text(lines, "homes", &text, code);
}

static void add_regions(struct lines *lines, const struct tally_context_policy *policy)
{
    struct buf text;
    int code = 0;
    buf_init(&text, VALUE_MAX_BYTES);
    for (size_t i = 0; code == 0 && i < policy->payload_region_count; i++)
        code = buf_append_format(&text, "%s%s", i == 0 ? "" : " ", policy->payload_regions[i]);
    add_text(lines, "payload_regions", &text, code);
}

static void add_types(struct lines *lines, const struct tally_context_policy *policy)
{
    struct buf text;
    int code = 0;
    buf_init(&text, VALUE_MAX_BYTES);
    for (size_t i = 0; code == 0 && i < policy->type_count; i++) {
        const struct tally_event_type *type = &policy->types[i];
        code = buf_append_format(&text, "%s%s=%s%s%s", i == 0 ? "" : " ", type->type, type->settle,
                                 type->override ? ",override" : "", type->commutative ? ",commutative" : "");
    }
    add_text(lines, "event_types", &text, code);
}

const struct policy_line *policy_lines(const struct tally_context_policy *policy, struct arena *arena)
{
    struct lines lines = {.lines = arena_alloc_zero(arena, POLICY_LINES, sizeof(*lines.lines)), .arena = arena};
    if (lines.lines == NULL)
        return NULL;
    add(&lines, "default_home", policy->default_home == NULL ? "" : policy->default_home);
    add_homes(&lines, policy);
    add(&lines, "topology", policy->topology);
    add(&lines, "isolation", policy->isolation);
    add_number(&lines, "lease_ms", policy->lease_ms);
    add(&lines, "failover", policy->failover);
    add_regions(&lines, policy);
    add_types(&lines, policy);
    add_number(&lines, "durability.peers", policy->durability_peers);
    add(&lines, "durability.when_away", policy->durability_peers == 0 ? "" : policy->when_away);
    add_number(&lines, "recovery_point.events", policy->recovery_events);
    add_number(&lines, "recovery_point.seconds", policy->recovery_seconds);
    bool bounded = policy->recovery_events > 0 || policy->recovery_seconds > 0;
    add(&lines, "recovery_point.then", bounded ? policy->recovery_then : "");
    add(&lines, "name", policy->name);
    return lines.failed ? NULL : lines.lines;
}
