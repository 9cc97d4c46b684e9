/* Contexts: which there are, and defining them. Answers are turned into plain structs in the arena of the answer. */
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "client/client_internal.h"
#include "tally/contexts.h"
#include "tally/v1/operations.pb-c.h"

/* Starts with the public part, whose address tally_contexts_free gets. */
struct contexts_answer {
    struct tally_contexts public;
    struct arena arena;
};

static int no_memory(struct err *err)
{
    return err_no_memory(err, "the contexts");
}

/* --- Showing --- */

static int take_lists(const Tally__V1__ContextPolicy *from, struct tally_context_policy *to, struct arena *arena)
{
    struct tally_partition_home *homes = arena_alloc_zero(arena, from->n_homes, sizeof(*homes));
    struct tally_event_type *types = arena_alloc_zero(arena, from->n_event_types, sizeof(*types));
    if (homes == NULL || types == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->n_homes; i++)
        homes[i] =
            (struct tally_partition_home){.partition = from->homes[i]->partition, .region = from->homes[i]->region};
    for (size_t i = 0; i < from->n_event_types; i++)
        types[i] = (struct tally_event_type){.type = from->event_types[i]->type,
                                             .settle = from->event_types[i]->settle,
                                             .override = from->event_types[i]->override,
                                             .commutative = from->event_types[i]->commutative};
    to->home_count = from->n_homes;
    to->homes = homes;
    to->type_count = from->n_event_types;
    to->types = types;
    return 0;
}

static int take_context(const Tally__V1__ContextVersion *from, struct tally_context *to, struct arena *arena,
                        struct err *err)
{
    const Tally__V1__ContextPolicy *policy = from->policy;
    if (policy == NULL)
        return err_set(err, ERR_CORRUPT, "the answer has a context without its policy");
    *to = (struct tally_context){.policy = {.name = policy->name,
                                            .default_home = policy->default_home,
                                            .topology = policy->topology,
                                            .isolation = policy->isolation,
                                            .lease_ms = policy->lease_ms,
                                            .failover = policy->failover,
                                            .payload_region_count = policy->n_payload_regions,
                                            .payload_regions = (const char *const *)policy->payload_regions,
                                            .durability_peers = policy->durability_peers,
                                            .when_away = policy->when_away,
                                            .recovery_events = policy->recovery_events,
                                            .recovery_seconds = policy->recovery_seconds,
                                            .recovery_then = policy->recovery_then},
                                 .version = from->version,
                                 .time_unix_ms = hlc_unix_ms(from->time),
                                 .actor = from->actor,
                                 .reason = from->reason};
    if (from->defined != NULL)
        to->defined = (struct tally_place){.origin = from->defined->origin, .index = from->defined->index};
    return take_lists(policy, &to->policy, arena) == 0 ? 0 : no_memory(err);
}

static int take_all(struct contexts_answer *answer, Tally__V1__ContextVersion *const *from, size_t count,
                    struct err *err)
{
    struct tally_context *items = arena_alloc_zero(&answer->arena, count, sizeof(*items));
    int rc = items == NULL ? no_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = take_context(from[i], &items[i], &answer->arena, err);
    answer->public = (struct tally_contexts){.count = count, .items = items};
    return rc;
}

static struct contexts_answer *new_answer(void)
{
    struct contexts_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    if (answer != NULL)
        arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    return answer;
}

static int give(struct contexts_answer *answer, int rc, struct tally_contexts **ret)
{
    if (rc == 0)
        *ret = &answer->public;
    else
        tally_contexts_free(&answer->public);
    return rc;
}

int tally_context_list(struct tally_client *client, uint64_t timeout_ms, struct tally_contexts **ret, struct err *err)
{
    struct contexts_answer *answer = new_answer();
    ProtobufCMessage *message = NULL;
    Tally__V1__ListContextsRequest request;
    tally__v1__list_contexts_request__init(&request);
    if (answer == NULL)
        return no_memory(err);
    int rc =
        client_call(client, "/tally.v1.Operations/ListContexts", &request.base,
                    &tally__v1__list_contexts_response__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
    const Tally__V1__ListContextsResponse *response = (const Tally__V1__ListContextsResponse *)message;
    if (rc == 0)
        rc = take_all(answer, response->contexts, response->n_contexts, err);
    return give(answer, rc, ret);
}

int tally_context_show(struct tally_client *client, const char *name, uint64_t timeout_ms, struct tally_contexts **ret,
                       struct err *err)
{
    struct contexts_answer *answer = new_answer();
    ProtobufCMessage *message = NULL;
    Tally__V1__ShowContextRequest request;
    tally__v1__show_context_request__init(&request);
    request.name = client_text(name);
    if (answer == NULL)
        return no_memory(err);
    int rc = client_call(client, "/tally.v1.Operations/ShowContext", &request.base,
                         &tally__v1__context_version__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0)
        rc = take_all(answer, (Tally__V1__ContextVersion *const *)&message, 1, err);
    return give(answer, rc, ret);
}

void tally_contexts_free(struct tally_contexts *public)
{
    if (public == NULL)
        return;
    struct contexts_answer *answer = (struct contexts_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

/* --- Defining --- */

static int put_homes(const struct tally_context_policy *from, Tally__V1__ContextPolicy *to, struct arena *arena)
{
    Tally__V1__PartitionHome *homes = arena_alloc_zero(arena, from->home_count, sizeof(*homes));
    to->homes = arena_alloc_zero(arena, from->home_count, sizeof(*to->homes));
    if (homes == NULL || to->homes == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->home_count; i++) {
        tally__v1__partition_home__init(&homes[i]);
        homes[i].partition = client_text(from->homes[i].partition);
        homes[i].region = client_text(from->homes[i].region);
        to->homes[to->n_homes++] = &homes[i];
    }
    return 0;
}

static int put_types(const struct tally_context_policy *from, Tally__V1__ContextPolicy *to, struct arena *arena)
{
    Tally__V1__EventTypeRule *rules = arena_alloc_zero(arena, from->type_count, sizeof(*rules));
    to->event_types = arena_alloc_zero(arena, from->type_count, sizeof(*to->event_types));
    if (rules == NULL || to->event_types == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->type_count; i++) {
        tally__v1__event_type_rule__init(&rules[i]);
        rules[i].type = client_text(from->types[i].type);
        rules[i].settle = client_text(from->types[i].settle);
        rules[i].override = from->types[i].override;
        rules[i].commutative = from->types[i].commutative;
        to->event_types[to->n_event_types++] = &rules[i];
    }
    return 0;
}

static int put_policy(const struct tally_context_policy *from, Tally__V1__ContextPolicy *to, struct arena *arena)
{
    tally__v1__context_policy__init(to);
    to->name = client_text(from->name);
    to->default_home = client_text(from->default_home);
    to->topology = client_text(from->topology);
    to->isolation = client_text(from->isolation);
    to->lease_ms = from->lease_ms;
    to->failover = client_text(from->failover);
    to->durability_peers = from->durability_peers;
    to->when_away = client_text(from->when_away);
    to->recovery_events = from->recovery_events;
    to->recovery_seconds = from->recovery_seconds;
    to->recovery_then = client_text(from->recovery_then);
    to->payload_regions = arena_alloc_zero(arena, from->payload_region_count, sizeof(*to->payload_regions));
    if (to->payload_regions == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->payload_region_count; i++)
        to->payload_regions[to->n_payload_regions++] = client_text(from->payload_regions[i]);
    int rc = put_homes(from, to, arena);
    return rc == 0 ? put_types(from, to, arena) : rc;
}

int tally_context_define(struct tally_client *client, const struct tally_define *define, uint64_t timeout_ms,
                         struct tally_defined *ret, struct tally_refusal *ret_refusal, struct err *err)
{
    struct arena arena;
    ProtobufCMessage *message = NULL;
    Tally__V1__ContextPolicy policy;
    Tally__V1__DefineContextRequest request;
    tally__v1__define_context_request__init(&request);
    request.policy = &policy;
    request.expected_version = define->expected_version;
    request.actor = client_text(define->actor);
    request.reason = client_text(define->reason);
    request.dry_run = define->dry_run;
    arena_init(&arena, REQUEST_MEMORY_MAX_BYTES);
    int rc = put_policy(define->policy, &policy, &arena) == 0 ? 0 : no_memory(err);
    if (rc == 0)
        rc = client_call(client, "/tally.v1.Operations/DefineContext", &request.base,
                         &tally__v1__define_context_response__descriptor, timeout_ms, &arena, &message, ret_refusal,
                         err);
    if (rc == 0) {
        const Tally__V1__DefineContextResponse *response = (const Tally__V1__DefineContextResponse *)message;
        ret->version = response->version;
        ret->already = response->already;
        copy_string(ret->position, sizeof(ret->position), response->position);
    }
    arena_free(&arena);
    return rc;
}
