/* The fold of definitions (definitions.h).
 *
 * Of each name all definitions are kept, ordered by (version, time, region, incarnation, index). After each event that
 * may matter, what they come to is worked out anew and, where it differs from what is published, a new struct context
 * takes its place: one store, so that readers see the one or the other.
 *
 * Failure: memory is had before anything is changed, except that a definition may be kept and not yet published; to
 * repeat the call mends that. */
#include "domain/definitions.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/planted.h"
#include "domain/authority.h"
#include "domain/definition.h"

enum { FIRST_CAPACITY = 2 };

struct version {
    struct context *context; /* owned; its homes are the definition's */
    struct context_source *source;
    uint64_t epoch;
    size_t basis_count;
    struct position_log *basis; /* owned */
};

struct defined {
    bool placed;
    size_t place;
    size_t count;
    size_t capacity;
    struct version *versions;
    const struct context *creation; /* what is published: as in struct outcome */
    const struct context *latest;
    uint32_t least_peers;
};

/* A context in force: the policy of one definition with the homes of another. */
struct published {
    struct context context;
    struct published *next;
};

void definitions_init(struct definitions *definitions, const struct context_table *configuration)
{
    memset(definitions, 0, sizeof(*definitions));
    definitions->configuration = configuration;
    definitions->table = *configuration;
    definitions->table.live = &definitions->places;
    for (size_t i = 0; i < configuration->count; i++)
        atomic_store_explicit(&definitions->places.at[i], &configuration->contexts[i], memory_order_relaxed);
    atomic_store_explicit(&definitions->places.count, configuration->count, memory_order_release);
    map_init(&definitions->names, CONTEXT_PLACES_MAX, NULL);
}

static void free_version(struct version *version)
{
    mem_free(version->context);
    mem_free(version->basis);
}

static void free_defined(struct defined *defined)
{
    for (size_t i = 0; i < defined->count; i++)
        free_version(&defined->versions[i]);
    mem_free(defined->versions);
    mem_free(defined);
}

void definitions_free(struct definitions *definitions)
{
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&definitions->names, &at, &key, &value))
        free_defined(value);
    map_free(&definitions->names);
    while (definitions->published != NULL) {
        struct published *next = definitions->published->next;
        mem_free(definitions->published);
        definitions->published = next;
    }
}

/* --- Keeping --- */

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_versions(const struct version *a, const struct version *b)
{
    int order = compare_numbers(a->context->changed, b->context->changed);
    if (order == 0)
        order = compare_numbers(a->source->time, b->source->time);
    if (order == 0)
        order = strcmp(a->source->region, b->source->region);
    if (order == 0)
        order = compare_numbers(a->source->incarnation, b->source->incarnation);
    return order != 0 ? order : compare_numbers(a->source->index, b->source->index);
}

static int no_memory(struct err *err)
{
    return err_no_memory(err, "the definitions of contexts");
}

/* What the event says, with memory of its own. */
static int version_of(const struct authority_event *event, struct version *ret, struct err *err)
{
    struct definition definition;
    int code = definition_parse(event->definition, &definition, err);
    if (code != 0)
        return code;
    struct version version = {.context = definition_build(event->partition, &definition),
                              .epoch = event->epoch,
                              .basis_count = definition.basis.count};
    version.basis = mem_alloc(definition.basis.count * sizeof(*version.basis));
    if (version.context == NULL || version.basis == NULL) {
        free_version(&version);
        return no_memory(err);
    }
    memcpy(version.basis, definition.basis.logs, definition.basis.count * sizeof(*version.basis));
    version.source = (struct context_source *)(uintptr_t)version.context->source;
    copy_string(version.source->region, sizeof(version.source->region), event->region);
    version.source->incarnation = event->incarnation;
    version.source->index = event->index;
    version.source->time = event->time;
    version.context->created = version.context->changed == 0 ? version.source : NULL;
    *ret = version;
    return 0;
}

static const struct context *configured(const struct definitions *definitions, struct bytes name)
{
    return context_find(definitions->configuration, name);
}

static int find_or_add(struct definitions *definitions, struct bytes name, struct defined **ret, struct err *err)
{
    struct defined *defined = map_get(&definitions->names, name);
    if (defined == NULL) {
        defined = mem_alloc_zero(1, sizeof(*defined));
        int code = defined == NULL ? ERR_NO_MEMORY : map_put(&definitions->names, name, defined);
        if (code != 0)
            mem_free(defined);
        if (code == ERR_TOO_LARGE)
            return err_set(err, code, "more than %d contexts were defined", CONTEXT_PLACES_MAX);
        if (code != 0)
            return no_memory(err);
        defined->creation = configured(definitions, name);
        defined->latest = defined->creation;
        defined->least_peers = defined->creation == NULL ? 0 : defined->creation->promises.durability.peers;
    }
    *ret = defined;
    return 0;
}

/* Keeps it in order, or frees it when it is there already. */
static int keep(struct definitions *definitions, struct defined *defined, struct version *version, struct err *err)
{
    size_t at = 0;
    while (at < defined->count && compare_versions(&defined->versions[at], version) < 0)
        at++;
    if (at < defined->count && compare_versions(&defined->versions[at], version) == 0) {
        free_version(version);
        return 0;
    }
    if (definitions->count == DEFINITIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d definitions of contexts", DEFINITIONS_MAX);
    if (defined->count == defined->capacity) {
        size_t grown = defined->capacity == 0 ? FIRST_CAPACITY : 2 * defined->capacity;
        struct version *more = mem_resize(defined->versions, grown * sizeof(*more));
        if (more == NULL)
            return no_memory(err);
        defined->versions = more;
        defined->capacity = grown;
    }
    memmove(&defined->versions[at + 1], &defined->versions[at], (defined->count - at) * sizeof(*version));
    defined->versions[at] = *version;
    defined->count++;
    definitions->count++;
    return 0;
}

/* --- What they come to --- */

struct outcome {
    const struct context *creation; /* NULL: the context does not exist */
    const struct context *latest;
    uint32_t least_peers;
};

static bool counts(const struct authority_table *by, const struct version *version)
{
    const struct context_source *source = version->source;
    return PLANTED(obey_late_definitions) ||
           !authority_is_late(by, bytes_of_string(CONTEXT_SYSTEM), bytes_of_string(version->context->name),
                              version->epoch, source->region, source->incarnation, source->index);
}

static void take_least(struct outcome *outcome, const struct context *context)
{
    uint32_t peers = context->promises.durability.peers;
    if (peers > 0 && (outcome->least_peers == 0 || peers < outcome->least_peers))
        outcome->least_peers = peers;
}

static struct outcome outcome_of(const struct definitions *definitions, const struct authority_table *by,
                                 struct bytes name, const struct defined *defined)
{
    struct outcome outcome = {.creation = configured(definitions, name)};
    outcome.latest = outcome.creation;
    if (outcome.creation != NULL)
        take_least(&outcome, outcome.creation);
    for (size_t i = 0; i < defined->count; i++) {
        const struct version *version = &defined->versions[i];
        bool creates = version->context->changed == 0;
        bool repeats = outcome.latest != NULL && outcome.latest->changed >= version->context->changed;
        if (creates != (outcome.creation == NULL) || repeats || !counts(by, version))
            continue;
        if (creates)
            outcome.creation = version->context;
        outcome.latest = version->context;
        take_least(&outcome, version->context);
    }
    return outcome;
}

/* --- Publishing --- */

static int find_place(struct definitions *definitions, struct bytes name, struct defined *defined, struct err *err)
{
    size_t count = atomic_load_explicit(&definitions->places.count, memory_order_relaxed);
    if (defined->placed)
        return 0;
    for (size_t i = 0; i < definitions->configuration->count; i++) {
        if (bytes_equal(bytes_of_string(definitions->configuration->contexts[i].name), name)) {
            defined->placed = true;
            defined->place = i;
            return 0;
        }
    }
    if (count == CONTEXT_PLACES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d contexts were defined", CONTEXT_PLACES_MAX);
    defined->placed = true;
    defined->place = count;
    atomic_store_explicit(&definitions->places.count, count + 1, memory_order_release);
    return 0;
}

/* The policy of `latest` with the homes of `creation`. */
static int combine(struct definitions *definitions, const struct outcome *outcome, const struct context **ret,
                   struct err *err)
{
    if (outcome->creation == NULL) {
        *ret = NULL;
        return 0;
    }
    struct published *published = mem_alloc(sizeof(*published));
    if (published == NULL)
        return no_memory(err);
    published->context = *outcome->latest;
    published->context.default_home = outcome->creation->default_home;
    published->context.home_count = outcome->creation->home_count;
    published->context.homes = outcome->creation->homes;
    published->context.created = outcome->creation->created;
    published->context.least_peers = outcome->least_peers;
    published->next = definitions->published;
    definitions->published = published;
    *ret = &published->context;
    return 0;
}

static int refresh(struct definitions *definitions, const struct authority_table *by, struct bytes name,
                   struct defined *defined, struct err *err)
{
    const struct context *context = NULL;
    struct outcome outcome = outcome_of(definitions, by, name, defined);
    const struct context *first = defined->versions[0].context;
    int code = find_place(definitions, name, defined, err);
    if (code != 0)
        return code;
    if (configured(definitions, name) == NULL && first->changed == 0)
        atomic_store_explicit(&definitions->places.known[defined->place], first, memory_order_release);
    bool same = defined->creation == outcome.creation && defined->latest == outcome.latest &&
                defined->least_peers == outcome.least_peers;
    if (same)
        return 0;
    code = combine(definitions, &outcome, &context, err);
    if (code != 0)
        return code;
    atomic_store_explicit(&definitions->places.at[defined->place], context, memory_order_release);
    definitions->creations += defined->creation != outcome.creation;
    defined->creation = outcome.creation;
    defined->latest = outcome.latest;
    defined->least_peers = outcome.least_peers;
    return 0;
}

int definitions_add(struct definitions *definitions, const struct authority_table *by,
                    const struct authority_event *event, struct err *err)
{
    struct version version;
    struct defined *defined = NULL;
    int code = version_of(event, &version, err);
    if (code != 0)
        return code;
    code = find_or_add(definitions, event->partition, &defined, err);
    if (code == 0)
        code = keep(definitions, defined, &version, err);
    if (code != 0) {
        free_version(&version);
        return code;
    }
    return refresh(definitions, by, event->partition, defined, err);
}

int definitions_refresh(struct definitions *definitions, const struct authority_table *by, struct err *err)
{
    size_t at = 0;
    struct bytes name;
    void *value = NULL;
    int code = 0;
    while (code == 0 && map_next(&definitions->names, &at, &name, &value))
        code = refresh(definitions, by, name, value, err);
    return code;
}

/* --- What an event can make late --- */

bool definitions_know(const struct definitions *definitions, struct bytes name)
{
    return map_get(&definitions->names, name) != NULL && configured(definitions, name) == NULL;
}

static const char *home_in(const struct context *creation, struct bytes partition)
{
    for (size_t i = 0; i < creation->home_count; i++) {
        if (bytes_equal(bytes_of_string(creation->homes[i].partition), partition))
            return creation->homes[i].region;
    }
    return creation->default_home;
}

bool definitions_named_home(const struct definitions *definitions, struct bytes name, struct bytes partition,
                            const char *region)
{
    const struct defined *defined = map_get(&definitions->names, name);
    if (!definitions_know(definitions, name))
        return false;
    for (size_t i = 0; i < defined->count && defined->versions[i].context->changed == 0; i++) {
        if (strcmp(home_in(defined->versions[i].context, partition), region) == 0)
            return true;
    }
    return false;
}

bool definitions_named_anywhere(const struct definitions *definitions, struct bytes name, struct bytes type)
{
    const struct defined *defined = map_get(&definitions->names, name);
    for (size_t i = 0; defined != NULL && i < defined->count; i++) {
        if (context_accepts_anywhere(defined->versions[i].context, type))
            return true;
    }
    return false;
}

static bool is_version(const struct version *version, const struct authority_event *event)
{
    const struct context_source *source = version->source;
    return strcmp(source->region, event->region) == 0 && source->incarnation == event->incarnation &&
           source->index == event->index;
}

/* Everything, when a definition takes back that some type may be accepted anywhere: no home writes one. */
static uint64_t taken_back_from(const struct definitions *definitions, const struct authority_event *event)
{
    struct definition definition;
    const struct context *before = context_find(&definitions->table, event->partition);
    if (!context_frees_more(before, NULL) || definition_parse(event->definition, &definition, NULL) != 0)
        return UINT64_MAX;
    struct context *after = definition_build(event->partition, &definition);
    bool takes_back = after == NULL || context_frees_more(before, after);
    mem_free(after);
    return takes_back ? 0 : UINT64_MAX;
}

/* A creation that is the first of its name lets nothing count that its writer had applied: there was no such context.
 * With several, each may have been in force in between. */
static uint64_t created_from(const struct definitions *definitions, const struct authority_event *event,
                             const char *region, uint64_t incarnation)
{
    const struct defined *defined = map_get(&definitions->names, event->partition);
    struct definition definition;
    if (configured(definitions, event->partition) != NULL ||
        definition_parse(event->definition, &definition, NULL) != 0 || definition.version != 1)
        return UINT64_MAX;
    for (size_t i = 0; defined != NULL && i < defined->count; i++) {
        if (!is_version(&defined->versions[i], event))
            return 0;
    }
    return position_get(&definition.basis, region, incarnation);
}

/* Whether it matters to entries if this version comes to count, or to count no more. */
static bool decides_about_entries(const struct definitions *definitions, const struct version *version)
{
    bool creates =
        version->context->changed == 0 && configured(definitions, bytes_of_string(version->context->name)) == NULL;
    return creates || context_frees_more(version->context, NULL);
}

/* Everything, when such a version may come to count, or to count no more. */
static uint64_t changed_from(const struct definitions *definitions, const struct authority_table *by,
                             const struct authority_event *event)
{
    size_t at = 0;
    struct bytes name;
    void *value = NULL;
    while (map_next(&definitions->names, &at, &name, &value)) {
        const struct defined *defined = value;
        bool concerned = bytes_equal(event->partition, bytes_of_string(CONTROL_ALL_PARTITIONS)) ||
                         bytes_equal(event->partition, name);
        for (size_t i = 0; concerned && i < defined->count; i++) {
            const struct context_source *source = defined->versions[i].source;
            if (decides_about_entries(definitions, &defined->versions[i]) &&
                authority_own_affected_from(by, event, source->region, source->incarnation) <= source->index)
                return 0;
        }
    }
    return UINT64_MAX;
}

uint64_t definitions_affected_from(const struct definitions *definitions, const struct authority_table *by,
                                   const struct authority_event *event, const char *region, uint64_t incarnation)
{
    if (event->kind != CONTROL_CONTEXT_DEFINED)
        return changed_from(definitions, by, event);
    uint64_t created = created_from(definitions, event, region, incarnation);
    uint64_t taken_back = taken_back_from(definitions, event);
    return created < taken_back ? created : taken_back;
}
