/* Versions of contexts (versions.h). Each is looked for among the others of its name: a context has at most
 * CONTEXT_VERSIONS_MAX that honest regions write, and one with many more was never written by one. */
#include "verify/versions.h"

#include "base/mem.h"
#include "domain/definition.h"
#include "domain/definitions.h"
#include "domain/redefine.h"

enum { FIRST_CAPACITY = 4 };

void versions_init(struct versions *versions)
{
    map_init(&versions->by_name, CONTEXT_PLACES_MAX, NULL);
}

static void free_list(struct version_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i].context);
    mem_free(list->items);
    mem_free(list);
}

void versions_free(struct versions *versions)
{
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&versions->by_name, &at, &key, &value))
        free_list(value);
    map_free(&versions->by_name);
}

static int find_or_add(struct versions *versions, struct bytes name, struct version_list **ret, struct err *err)
{
    *ret = map_get(&versions->by_name, name);
    if (*ret != NULL)
        return 0;
    struct version_list *list = mem_alloc_zero(1, sizeof(*list));
    int code = list == NULL ? ERR_NO_MEMORY : map_put(&versions->by_name, name, list);
    if (code != 0)
        mem_free(list);
    if (code == ERR_TOO_LARGE)
        return err_set(err, code, "more than %d contexts were defined", CONTEXT_PLACES_MAX);
    if (code != 0)
        return err_no_memory(err, "the versions of contexts");
    *ret = list;
    return 0;
}

static int grow(struct version_list *list, struct err *err)
{
    if (list->count < list->capacity)
        return 0;
    if (list->count == DEFINITIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d definitions of a context", DEFINITIONS_MAX);
    size_t capacity = list->capacity == 0 ? FIRST_CAPACITY : 2 * list->capacity;
    struct version_item *items = mem_resize(list->items, capacity * sizeof(*items));
    if (items == NULL)
        return err_no_memory(err, "the versions of contexts");
    list->items = items;
    list->capacity = capacity;
    return 0;
}

int versions_add(struct versions *versions, struct bytes name, struct bytes payload, size_t log, uint64_t index,
                 struct err *err)
{
    struct definition definition;
    struct version_list *list = NULL;
    if (definition_parse(payload, &definition, NULL) != 0)
        return 0;
    int code = find_or_add(versions, name, &list, err);
    if (code == 0)
        code = grow(list, err);
    if (code != 0)
        return code;
    struct context *context = definition_build(name, &definition);
    if (context == NULL)
        return err_no_memory(err, "the versions of contexts");
    if (list->count == 0)
        list->name = bytes_of_string(context->name);
    list->items[list->count++] =
        (struct version_item){.version = definition.version, .log = log, .index = index, .context = context};
    return 0;
}

void versions_count(struct versions *versions, struct bytes name, size_t log, uint64_t index)
{
    struct version_list *list = map_get(&versions->by_name, name);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        if (list->items[i].log == log && list->items[i].index == index)
            list->items[i].counts = true;
    }
}

static bool lets_override(const struct context *context, struct bytes type)
{
    const struct context_type *found = context == NULL ? NULL : context_type_find(context, type);
    return found != NULL && found->override;
}

bool versions_let_override(const struct versions *versions, const struct context_table *configuration,
                           struct bytes context, struct bytes type)
{
    const struct version_list *list = map_get(&versions->by_name, context);
    bool lets = lets_override(context_find(configuration, context), type);
    for (size_t i = 0; !lets && list != NULL && i < list->count; i++)
        lets = lets_override(list->items[i].context, type);
    return lets;
}

/* --- Judging --- */

struct judging {
    const struct context_table *configuration;
    struct redefine_facts facts;
    versions_fault_fn *fault;
    void *context;
};

/* One that counts and is of this version, in `count` items; NULL when there is none. */
static const struct version_item *find(const struct version_list *list, size_t count, uint64_t version)
{
    for (size_t i = 0; i < count; i++) {
        if (list->items[i].counts && list->items[i].version == version)
            return &list->items[i];
    }
    return NULL;
}

static void judge_item(const struct judging *judging, const struct version_list *list, size_t at)
{
    const struct version_item *item = &list->items[at];
    const struct version_item *same = find(list, at, item->version);
    const struct context *configured = context_find(judging->configuration, list->name);
    struct err reason = {0};
    if (same != NULL)
        judging->fault(judging->context, VERSION_REPEATED, item, same, "");
    if (item->version == 1)
        return;
    const struct version_item *other = find(list, list->count, item->version - 1);
    const struct context *before = other != NULL ? other->context : item->version == 2 ? configured : NULL;
    if (before == NULL) {
        judging->fault(judging->context, item->version == 2 ? VERSION_NO_FIRST : VERSION_GAP, item, NULL, "");
        return;
    }
    /* An auditor need not know the list of the configuration. */
    bool told = other != NULL || before->rules.payload_region_count > 0;
    if (told && redefine_check_payload_regions(before, item->context, &judging->facts, &reason) != 0)
        judging->fault(judging->context, VERSION_TAKES_OUT, item, other, reason.message);
}

void versions_judge(const struct versions *versions, const struct context_table *configuration,
                    const char *const *regions, size_t region_count, versions_fault_fn *fault, void *context)
{
    const struct judging judging = {.configuration = configuration,
                                    .facts = {.region_count = region_count, .regions = regions},
                                    .fault = fault,
                                    .context = context};
    size_t at = 0;
    struct bytes key;
    void *value = NULL;
    while (map_next(&versions->by_name, &at, &key, &value)) {
        const struct version_list *list = value;
        for (size_t i = 0; i < list->count; i++) {
            if (list->items[i].counts)
                judge_item(&judging, list, i);
        }
    }
}
