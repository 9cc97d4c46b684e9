/* The part of the service Operations that is about contexts: which there are, and defining them. What is shown is what
 * the index has applied; a definition is answered when it is durable, and here when the index has it, too, so that who
 * asks again sees it. */
#include <stdlib.h>

#include "index/index.h"
#include "rpc/methods.h"
#include "rpc/operation.h"
#include "tally/v1/operations.pb-c.h"

enum { INDEX_WAIT_MS = 5000, INDEX_POLL_MS = 100 };

static int no_memory(struct err *err)
{
    return err_no_memory(err, "the contexts");
}

/* --- Showing --- */

static char *text(struct arena *arena, const char *from)
{
    return operation_text(arena, from);
}

static int fill_scalars(Tally__V1__ContextPolicy *to, const struct context *from, struct arena *arena)
{
    const struct promises *promises = &from->promises;
    to->name = text(arena, from->name);
    to->default_home = text(arena, from->default_home);
    to->topology = text(arena, topology_name(from->rules.topology));
    to->isolation = text(arena, isolation_name(from->rules.isolation));
    to->lease_ms = from->rules.lease_ms;
    to->failover = text(arena, failover_mode_name(from->rules.failover));
    to->durability_peers = promises->durability.peers;
    to->when_away = text(arena, when_away_name(promises->durability.when_away));
    to->recovery_events = promises->recovery_point.events;
    to->recovery_seconds = promises->recovery_point.seconds;
    to->recovery_then = text(arena, bound_action_name(promises->recovery_point.then));
    bool all = to->name != NULL && to->default_home != NULL && to->topology != NULL && to->isolation != NULL &&
               to->failover != NULL && to->when_away != NULL && to->recovery_then != NULL;
    return all ? 0 : ERR_NO_MEMORY;
}

static int fill_regions(Tally__V1__ContextPolicy *to, const struct context_rules *rules, struct arena *arena)
{
    to->payload_regions = arena_alloc_zero(arena, rules->payload_region_count, sizeof(*to->payload_regions));
    for (size_t i = 0; to->payload_regions != NULL && i < rules->payload_region_count; i++) {
        to->payload_regions[i] = text(arena, rules->payload_regions[i]);
        if (to->payload_regions[i] == NULL)
            return ERR_NO_MEMORY;
        to->n_payload_regions++;
    }
    return to->payload_regions == NULL ? ERR_NO_MEMORY : 0;
}

static int fill_homes(Tally__V1__ContextPolicy *to, const struct context *from, struct arena *arena)
{
    Tally__V1__PartitionHome *homes = arena_alloc_zero(arena, from->home_count, sizeof(*homes));
    to->homes = arena_alloc_zero(arena, from->home_count, sizeof(*to->homes));
    if (homes == NULL || to->homes == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->home_count; i++) {
        tally__v1__partition_home__init(&homes[i]);
        homes[i].partition = text(arena, from->homes[i].partition);
        homes[i].region = text(arena, from->homes[i].region);
        if (homes[i].partition == NULL || homes[i].region == NULL)
            return ERR_NO_MEMORY;
        to->homes[to->n_homes++] = &homes[i];
    }
    return 0;
}

static int fill_types(Tally__V1__ContextPolicy *to, const struct context *from, struct arena *arena)
{
    Tally__V1__EventTypeRule *rules = arena_alloc_zero(arena, from->type_count, sizeof(*rules));
    to->event_types = arena_alloc_zero(arena, from->type_count, sizeof(*to->event_types));
    if (rules == NULL || to->event_types == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->type_count; i++) {
        tally__v1__event_type_rule__init(&rules[i]);
        rules[i].type = text(arena, from->types[i].type);
        rules[i].settle = text(arena, late_policy_name(from->types[i].late));
        rules[i].override = from->types[i].override;
        rules[i].commutative = from->types[i].commutative;
        if (rules[i].type == NULL || rules[i].settle == NULL)
            return ERR_NO_MEMORY;
        to->event_types[to->n_event_types++] = &rules[i];
    }
    return 0;
}

static int fill_source(const struct call *call, Tally__V1__ContextVersion *to, const struct context_source *source,
                       struct arena *arena)
{
    struct origin origin = {.incarnation = source->incarnation};
    char name[ENTRY_ORIGIN_MAX_BYTES + 1];
    copy_string(origin.cluster, sizeof(origin.cluster), call->backend->config->cluster);
    copy_string(origin.region, sizeof(origin.region), source->region);
    origin_format(&origin, name);
    to->defined = arena_alloc_zero(arena, 1, sizeof(*to->defined));
    if (to->defined == NULL)
        return ERR_NO_MEMORY;
    tally__v1__log_place__init(to->defined);
    to->defined->origin = text(arena, name);
    to->defined->index = source->index;
    to->time = source->time;
    to->actor = text(arena, source->actor);
    to->reason = text(arena, source->reason);
    return to->defined->origin == NULL || to->actor == NULL || to->reason == NULL ? ERR_NO_MEMORY : 0;
}

static int fill_context(const struct call *call, Tally__V1__ContextVersion *to, const struct context *from, bool lists,
                        struct arena *arena)
{
    tally__v1__context_version__init(to);
    to->policy = arena_alloc_zero(arena, 1, sizeof(*to->policy));
    if (to->policy == NULL)
        return ERR_NO_MEMORY;
    tally__v1__context_policy__init(to->policy);
    to->version = context_version(from);
    int code = fill_scalars(to->policy, from, arena);
    if (code == 0)
        code = fill_regions(to->policy, &from->rules, arena);
    if (code == 0 && lists)
        code = fill_homes(to->policy, from, arena);
    if (code == 0 && lists)
        code = fill_types(to->policy, from, arena);
    return code == 0 && from->source != NULL ? fill_source(call, to, from->source, arena) : code;
}

static int list_contexts(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    (void)message;
    const struct context_table *table = index_contexts(call->backend->index);
    size_t count = context_count(table);
    Tally__V1__ListContextsResponse response;
    Tally__V1__ContextVersion *items = arena_alloc_zero(arena, count, sizeof(*items));
    tally__v1__list_contexts_response__init(&response);
    response.contexts = arena_alloc_zero(arena, count, sizeof(*response.contexts));
    if (items == NULL || response.contexts == NULL)
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const struct context *context = context_at(table, i);
        Tally__V1__ContextVersion *item = &items[response.n_contexts];
        if (context == NULL)
            continue;
        if (fill_context(call, item, context, false, arena) != 0)
            return no_memory(err);
        response.contexts[response.n_contexts++] = item;
    }
    return call_answer(call, &response.base);
}

int method_list_contexts(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__list_contexts_request__descriptor, list_contexts, err);
}

static int show_context(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__ShowContextRequest *request = (const Tally__V1__ShowContextRequest *)message;
    const struct context_table *table = index_contexts(call->backend->index);
    const struct context *context = context_find(table, bytes_of_string(request->name));
    Tally__V1__ContextVersion response;
    if (context == NULL)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no context \"%.100s\" here: `tally context list` names those that are", request->name);
    if (fill_context(call, &response, context, true, arena) != 0)
        return no_memory(err);
    return call_answer(call, &response.base);
}

int method_show_context(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__show_context_request__descriptor, show_context, err);
}

/* --- Defining --- */

static int compare_homes(const void *a, const void *b)
{
    return strcmp(((const struct context_home *)a)->partition, ((const struct context_home *)b)->partition);
}

/* Sorted, so that whoever decides need not. */
static int take_homes(const Tally__V1__ContextPolicy *from, struct context *to, struct arena *arena, struct err *err)
{
    struct context_home *homes = arena_alloc_zero(arena, from->n_homes, sizeof(*homes));
    if (from->n_homes > CONTEXT_HOMES_MAX)
        return err_set(err, ERR_TOO_LARGE, "%zu homes, the limit is %d", from->n_homes, CONTEXT_HOMES_MAX);
    if (homes == NULL)
        return no_memory(err);
    for (size_t i = 0; i < from->n_homes; i++)
        homes[i] = (struct context_home){.partition = from->homes[i]->partition, .region = from->homes[i]->region};
    qsort(homes, from->n_homes, sizeof(*homes), compare_homes);
    to->homes = homes;
    to->home_count = from->n_homes;
    return 0;
}

static int take_types(const Tally__V1__ContextPolicy *from, struct context *to, struct arena *arena, struct err *err)
{
    struct context_type *types = arena_alloc_zero(arena, from->n_event_types, sizeof(*types));
    int code = 0;
    if (from->n_event_types > CONTEXT_TYPES_MAX)
        return err_set(err, ERR_TOO_LARGE, "rules for %zu event types, the limit is %d", from->n_event_types,
                       CONTEXT_TYPES_MAX);
    if (types == NULL)
        return no_memory(err);
    for (size_t i = 0; code == 0 && i < from->n_event_types; i++) {
        const Tally__V1__EventTypeRule *rule = from->event_types[i];
        types[i] =
            (struct context_type){.type = rule->type, .override = rule->override, .commutative = rule->commutative};
        if (rule->settle[0] != '\0')
            code = late_policy_parse(rule->settle, &types[i].late, err);
    }
    to->types = types;
    to->type_count = from->n_event_types;
    return code;
}

static int take_rules(const Tally__V1__ContextPolicy *from, struct context_rules *to, struct err *err)
{
    int code = from->topology[0] == '\0' ? 0 : topology_parse(from->topology, &to->topology, err);
    if (code == 0 && from->isolation[0] != '\0')
        code = isolation_parse(from->isolation, &to->isolation, err);
    if (code == 0 && from->failover[0] != '\0')
        code = failover_mode_parse(from->failover, &to->failover, err);
    to->lease_ms = from->lease_ms;
    to->payload_region_count = from->n_payload_regions;
    to->payload_regions = (const char *const *)from->payload_regions;
    return code;
}

static int take_promises(const Tally__V1__ContextPolicy *from, struct promises *to, struct err *err)
{
    to->durability.peers = from->durability_peers;
    to->recovery_point.events = from->recovery_events;
    to->recovery_point.seconds = from->recovery_seconds;
    int code = from->when_away[0] == '\0' ? 0 : when_away_parse(from->when_away, &to->durability.when_away, err);
    if (code == 0 && from->recovery_then[0] != '\0')
        code = bound_action_parse(from->recovery_then, &to->recovery_point.then, err);
    return code;
}

static int take_policy(const Tally__V1__ContextPolicy *from, struct context *to, struct arena *arena, struct err *err)
{
    if (from == NULL)
        return err_set(err, ERR_INVALID, "say what the context shall be");
    *to = (struct context){.name = from->name, .default_home = from->default_home};
    int code = take_homes(from, to, arena, err);
    if (code == 0)
        code = take_types(from, to, arena, err);
    if (code == 0)
        code = take_rules(from, &to->rules, err);
    if (code == 0)
        code = take_promises(from, &to->promises, err);
    return code == 0 ? context_check(to, err) : code;
}

static int take_people(const Tally__V1__DefineContextRequest *from, struct region_define *to, struct err *err)
{
    to->actor = from->actor[0] == '\0' ? BYTES_LITERAL("operator") : bytes_of_string(from->actor);
    to->reason = bytes_of_string(from->reason);
    int code = entry_check_name(to->actor, CONTROL_ACTOR_MAX_BYTES, "actor", err);
    if (code == 0 && from->reason[0] != '\0')
        code = entry_check_name(to->reason, CONTROL_REASON_MAX_BYTES, "reason", err);
    return code;
}

/* For a while at most: the definition counts, whoever shows it. */
static void wait_for_index(struct rpc_backend *backend, uint64_t size)
{
    uint32_t log = 0;
    uint64_t seen = 0;
    if (index_log(backend->index, log_origin(backend->ops->log_at(backend, 0)), &log, NULL) != 0)
        return;
    for (int i = 0; i < INDEX_WAIT_MS / INDEX_POLL_MS; i++) {
        if (index_applied_size(backend->index, log) >= size || backend->ops->stopping(backend))
            return;
        seen = backend->ops->wait_change(backend, seen, INDEX_POLL_MS);
    }
}

static int decide(struct call *call, struct region_define *define, Tally__V1__DefineContextResponse *ret,
                  struct arena *arena, struct err *err)
{
    struct rpc_append *append = arena_alloc_zero(arena, 1, sizeof(*append));
    if (append == NULL)
        return err_no_memory(err, "a command");
    append->command.define = define;
    operation_decide(call->backend, call, append);
    if (append->command.refusal.code != 0)
        return call_fail_refused(call, &append->command.refusal, &append->command, err);
    tally__v1__define_context_response__init(ret);
    ret->version = define->version;
    ret->already = define->already;
    ret->position = operation_own_position(call->backend, append->command.ticket, arena);
    wait_for_index(call->backend, append->command.ticket);
    return ret->position == NULL ? err_no_memory(err, "an answer") : 0;
}

static int define_context(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__DefineContextRequest *request = (const Tally__V1__DefineContextRequest *)message;
    struct context context;
    struct region_define define = {
        .context = &context, .expected_version = request->expected_version, .dry_run = request->dry_run};
    Tally__V1__DefineContextResponse response;
    int code = take_policy(request->policy, &context, arena, err);
    if (code == 0)
        code = take_people(request, &define, err);
    if (code == 0)
        code = decide(call, &define, &response, arena, err);
    return code == 0 ? call_answer(call, &response.base) : code;
}

int method_define_context(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__define_context_request__descriptor, define_context, err);
}
