/* Payloads where they may not be (residency.h). A log's longest copy is what everything else is judged by; here each
 * copy counts by itself, because each lies somewhere else. */
#include "verify/residency.h"

#include "domain/residency.h"

struct search {
    const struct cluster *cluster;
    const struct context_table *contexts;
    size_t copy;
    residency_found_fn *found;
    void *context;
};

static bool names_regions(const struct context_table *contexts)
{
    bool names = false;
    for (size_t i = 0; !names && i < context_count(contexts); i++) {
        const struct context *context = context_known_at(contexts, i);
        names = context != NULL && context->rules.payload_region_count > 0;
    }
    return names;
}

static bool holds_all(const struct context_table *contexts, struct bytes region)
{
    bool all = true;
    for (size_t i = 0; all && i < context_count(contexts); i++) {
        const struct context *context = context_known_at(contexts, i);
        all = context == NULL || rules_region_holds_payloads(&context->rules, region);
    }
    return all;
}

static int on_entry(void *context, size_t log, const struct chain_entry *item, struct err *err)
{
    struct search *search = context;
    struct bytes holder = bytes_of_string(search->cluster->holders[search->copy]);
    (void)log;
    (void)err;
    if (item->frame.has_payload && residency_of(search->contexts, holder, &item->entry) == RESIDENCY_WITHHELD)
        search->found(search->context, search->copy, &item->entry);
    return 0;
}

int residency_check(const struct cluster *cluster, struct disk *disk, const struct context_table *contexts,
                    residency_found_fn *found, void *context, struct residency_result *ret, struct err *err)
{
    struct search search = {.cluster = cluster, .contexts = contexts, .found = found, .context = context};
    int code = 0;
    *ret = (struct residency_result){.asked = names_regions(contexts)};
    for (size_t i = 0; code == 0 && ret->asked && i < cluster->copy_count; i++) {
        if (cluster->holders[i][0] == '\0') {
            ret->copies_of_nobody++;
        } else if (!holds_all(contexts, bytes_of_string(cluster->holders[i]))) {
            search.copy = i;
            ret->copies_read++;
            code = cluster_read_copy(cluster, i, disk, on_entry, &search, err);
        }
    }
    return code;
}
