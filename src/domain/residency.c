/* Which regions hold what an event says (residency.h). */
#include "domain/residency.h"

#include "domain/control.h"

bool residency_allows(const struct context_table *contexts, struct bytes region, struct bytes context)
{
    const struct context *found = context_find(contexts, context);
    return found == NULL || rules_region_holds_payloads(&found->rules, region);
}

enum residency residency_of(const struct context_table *contexts, struct bytes region, const struct entry *entry)
{
    if (control_kind_of(entry) != CONTROL_UNKNOWN)
        return RESIDENCY_HELD;
    const struct context *found = context_find(contexts, entry->context);
    if (found == NULL)
        return RESIDENCY_UNKNOWN;
    return rules_region_holds_payloads(&found->rules, region) ? RESIDENCY_HELD : RESIDENCY_WITHHELD;
}

const char *residency_lacks(const struct context_table *contexts, struct bytes source, struct bytes puller)
{
    for (size_t i = 0; i < contexts->count; i++) {
        const struct context_rules *rules = &contexts->contexts[i].rules;
        if (rules_region_holds_payloads(rules, puller) && !rules_region_holds_payloads(rules, source))
            return contexts->contexts[i].name;
    }
    return NULL;
}
