/* Policies (policy.h). The decisions of a run over all items depend on the index alone; whoever submits them may be
 * overtaken by another decision or a change of homes, and is then refused by the region, which has the last word. */
#include "reconcile/policy.h"

#include "base/assert.h"

bool policy_decide(const struct context_table *contexts, const struct authority_table *authority, const char *region,
                   const struct index_late *item, enum settlement *ret)
{
    static const enum settlement settlements[] = {
        [LATE_ACCEPT] = SETTLED_ACCEPTED,
        [LATE_DROP_DUPLICATE] = SETTLED_DROPPED,
        [LATE_COMPENSATE] = SETTLED_COMPENSATE,
    };
    struct authority_now now;
    struct bytes context = bytes_of_string(item->context);
    if (item->state != INDEX_LATE_OPEN || item->commutative)
        return false;
    enum late_policy policy = context_late_policy(contexts, context, bytes_of_string(item->type));
    if (policy == LATE_MANUAL || (policy == LATE_ACCEPT && item->fingerprint == 0))
        return false;
    if (authority_now(authority, context, bytes_of_string(item->partition), &now, NULL) != 0 || now.released ||
        strcmp(now.region, region) != 0)
        return false;
    *ret = settlements[policy];
    return true;
}

int policy_next(struct index *index, const struct context_table *contexts, const struct authority_table *authority,
                const char *region, struct index_late_cursor *cursor, struct index_late *items,
                struct policy_decision *ret, size_t *ret_count, bool *ret_end, struct err *err)
{
    size_t scanned = 0;
    size_t count = 0;
    int code = index_late_scan(index, cursor, items, POLICY_DECISIONS_MAX, &scanned, err);
    if (code != 0)
        return code;
    for (size_t i = 0; i < scanned; i++) {
        struct policy_decision *decision = &ret[count];
        if (!policy_decide(contexts, authority, region, &items[i], &decision->settlement))
            continue;
        decision->place = items[i].place;
        memcpy(decision->origin, items[i].origin, sizeof(decision->origin));
        memcpy(decision->context, items[i].context, sizeof(decision->context));
        count++;
    }
    *ret_count = count;
    *ret_end = scanned < POLICY_DECISIONS_MAX;
    return 0;
}
