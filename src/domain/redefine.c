/* Which definitions may follow which (redefine.h): one check a row of the table. */
#include "domain/redefine.h"

#include <string.h>

static bool same_homes(const struct context *before, const struct context *after)
{
    bool same = strcmp(before->default_home, after->default_home) == 0 && before->home_count == after->home_count;
    for (size_t i = 0; same && i < before->home_count; i++) {
        bool found = false;
        for (size_t j = 0; !found && j < after->home_count; j++)
            found = strcmp(before->homes[i].partition, after->homes[j].partition) == 0 &&
                    strcmp(before->homes[i].region, after->homes[j].region) == 0;
        same = found;
    }
    return same;
}

static int check_homes(const struct context *before, const struct context *after, struct err *err)
{
    if (same_homes(before, after))
        return 0;
    return err_set(err, ERR_UNSUPPORTED,
                   "context %.64s: its homes of epoch 1 decide which entries count, so they stay; move partitions with "
                   "`tally handover %.64s --to REGION`",
                   before->name, before->name);
}

int redefine_check_payload_regions(const struct context *before, const struct context *after,
                                   const struct redefine_facts *facts, struct err *err)
{
    for (size_t i = 0; i < facts->region_count; i++) {
        struct bytes region = bytes_of_string(facts->regions[i]);
        if (rules_region_holds_payloads(&before->rules, region) && !rules_region_holds_payloads(&after->rules, region))
            return err_set(err, ERR_UNSUPPORTED,
                           "context %.64s: region %.64s may hold payloads of it, and nothing takes them back, so it "
                           "stays one of payload_regions; make another context for what it must not hold",
                           before->name, facts->regions[i]);
    }
    return 0;
}

int redefine_check_residency(const struct context *before, const struct context *after,
                             const struct redefine_facts *facts, struct err *err)
{
    int code = redefine_check_payload_regions(before, after, facts, err);
    for (size_t i = 0; code == 0 && i < facts->region_count; i++) {
        struct bytes region = bytes_of_string(facts->regions[i]);
        if (rules_region_holds_payloads(&after->rules, region) && !rules_region_holds_payloads(&before->rules, region))
            code =
                err_set(err, ERR_UNSUPPORTED,
                        "context %.64s: region %.64s is none of payload_regions, and joins them only where all regions "
                        "learn of it at once, or its copies of logs would stand still: change tallyd.yaml with all "
                        "regions stopped, while the context has the version from there; else make another context",
                        before->name, facts->regions[i]);
    }
    return code;
}

static int check_topology(const struct context *before, const struct context *after, const struct redefine_facts *facts,
                          struct err *err)
{
    enum topology from = before->rules.topology;
    enum topology to = after->rules.topology;
    if (from == TOPOLOGY_MULTI_HOME && to != TOPOLOGY_MULTI_HOME)
        return err_set(err, ERR_UNSUPPORTED,
                       "context %.64s is multi-home: regions accept its commutative events without asking, and what "
                       "they have accepted would come to be late; make another context",
                       before->name);
    if (from != to && to == TOPOLOGY_ACTIVE_PASSIVE && (facts->partitions_apart || before->home_count > 0))
        return err_set(err, ERR_UNSUPPORTED,
                       "context %.64s has partitions that go their own way (`tally homes %.64s`), so they could not "
                       "move together as active-passive promises",
                       before->name, before->name);
    return 0;
}

static int check_types(const struct context *before, const struct context *after, struct err *err)
{
    for (size_t i = 0; i < before->type_count; i++) {
        const struct context_type *old = &before->types[i];
        const struct context_type *new = context_type_find(after, bytes_of_string(old->type));
        if (old->commutative && (new == NULL || !new->commutative))
            return err_set(err, ERR_UNSUPPORTED,
                           "context %.64s: events of type %.64s are accepted in any region because they commute, and "
                           "would come to be late; give other events a type of another name",
                           before->name, old->type);
    }
    return 0;
}

static int check_lease(const struct context *before, const struct context *after, struct err *err)
{
    bool fences = before->rules.isolation == ISOLATION_FENCE && after->rules.isolation == ISOLATION_FENCE;
    if (!fences || before->rules.lease_ms == after->rules.lease_ms)
        return 0;
    return err_set(err, ERR_UNSUPPORTED,
                   "context %.64s fences by a lease of %u ms: regions that have not heard of another one would count "
                   "this, and two could accept at once; set isolation accept first, which gives that promise up, and "
                   "fence again when all regions have it",
                   before->name, (unsigned)before->rules.lease_ms);
}

int redefine_check(const struct context *before, const struct context *after, const struct redefine_facts *facts,
                   struct err *err)
{
    int code = check_homes(before, after, err);
    if (code == 0)
        code = redefine_check_residency(before, after, facts, err);
    if (code == 0)
        code = check_topology(before, after, facts, err);
    if (code == 0)
        code = check_types(before, after, err);
    return code == 0 ? check_lease(before, after, err) : code;
}
