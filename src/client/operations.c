/* Homes, handover and failover: one request, one answer, turned into plain structs in the arena of the answer. Homes
 * come in pages, which are put together here. */
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "tally/v1/operations.pb-c.h"

enum { HOMES_MAX = 1024 * 1024, HOMES_MEMORY_MAX_BYTES = 512 * 1024 * 1024 };

/* Each starts with the public part, whose address the free functions get. */
struct homes_answer {
    struct tally_homes public;
    struct tally_home_status *homes;
    struct arena arena;
};
struct failover_answer {
    struct tally_failover public;
    struct arena arena;
};

/* --- Homes --- */

static int homes_add(struct homes_answer *answer, const Tally__V1__ListHomesResponse *page, struct err *err)
{
    size_t count = answer->public.count + page->n_homes;
    if (count > HOMES_MAX)
        return err_set(err, ERR_TOO_LARGE, "more than %d homes", HOMES_MAX);
    struct tally_home_status *homes = mem_resize(answer->homes, (count + 1) * sizeof(*homes));
    if (homes == NULL)
        return err_no_memory(err, "the homes");
    answer->homes = homes;
    for (size_t i = 0; i < page->n_homes; i++) {
        const Tally__V1__HomeStatus *from = page->homes[i];
        homes[answer->public.count++] = (struct tally_home_status){.partition = from->partition,
                                                                   .region = from->region,
                                                                   .epoch = from->epoch,
                                                                   .released = from->released,
                                                                   .successor = from->successor};
    }
    answer->public.homes = homes;
    return 0;
}

int tally_homes_get(struct tally_client *client, const char *context, uint64_t timeout_ms, struct tally_homes **ret,
                    struct err *err)
{
    struct homes_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    Tally__V1__ListHomesRequest request;
    tally__v1__list_homes_request__init(&request);
    request.context = client_text(context);
    if (answer == NULL)
        return err_no_memory(err, "the homes");
    arena_init(&answer->arena, HOMES_MEMORY_MAX_BYTES);
    int rc = 0;
    do {
        ProtobufCMessage *message = NULL;
        rc = client_call(client, "/tally.v1.Operations/ListHomes", &request.base,
                         &tally__v1__list_homes_response__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
        const Tally__V1__ListHomesResponse *page = (const Tally__V1__ListHomesResponse *)message;
        if (rc == 0 && page->next != 0 && page->next <= request.from)
            rc = err_set(err, ERR_CORRUPT, "the pages of homes go back");
        if (rc == 0)
            rc = homes_add(answer, page, err);
        if (rc == 0)
            request.from = page->next;
    } while (rc == 0 && request.from != 0);
    if (rc != 0) {
        tally_homes_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_homes_free(struct tally_homes *public)
{
    if (public == NULL)
        return;
    struct homes_answer *answer = (struct homes_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer->homes);
    mem_free(answer);
}

/* --- Changes --- */

static int names_of(const struct tally_change *change, struct arena *arena, char ***ret, struct err *err)
{
    char **names = arena_alloc_zero(arena, change->partition_count, sizeof(*names));
    if (names == NULL)
        return err_no_memory(err, "the partitions");
    for (size_t i = 0; i < change->partition_count; i++)
        names[i] = client_text(change->partitions[i]);
    *ret = names;
    return 0;
}

static struct tally_changed changed_of(const Tally__V1__ControlResponse *from)
{
    struct tally_changed changed = {.changed = from->changed, .remaining = from->remaining};
    copy_string(changed.position, sizeof(changed.position), from->position);
    return changed;
}

int tally_handover(struct tally_client *client, const struct tally_change *change, uint64_t timeout_ms,
                   struct tally_changed *ret, struct err *err)
{
    struct arena arena;
    ProtobufCMessage *message = NULL;
    Tally__V1__HandoverRequest request;
    tally__v1__handover_request__init(&request);
    request.context = client_text(change->context);
    request.to = client_text(change->region);
    request.actor = client_text(change->actor);
    request.reason = client_text(change->reason);
    request.force = change->force;
    request.n_partitions = change->partition_count;
    arena_init(&arena, ANSWER_MEMORY_MAX_BYTES);
    int rc = names_of(change, &arena, &request.partitions, err);
    if (rc == 0)
        rc = client_call(client, "/tally.v1.Operations/Handover", &request.base,
                         &tally__v1__control_response__descriptor, timeout_ms, &arena, &message, NULL, err);
    if (rc == 0)
        *ret = changed_of((const Tally__V1__ControlResponse *)message);
    arena_free(&arena);
    return rc;
}

/* --- Failover --- */

static const struct tally_survivor *survivors_of(const Tally__V1__LogEvidence *from, struct arena *arena)
{
    struct tally_survivor *survivors = arena_alloc_zero(arena, from->n_survivors, sizeof(*survivors));
    for (size_t i = 0; survivors != NULL && i < from->n_survivors; i++)
        survivors[i] = (struct tally_survivor){.region = from->survivors[i]->region,
                                               .reachable = from->survivors[i]->reachable,
                                               .size = from->survivors[i]->size};
    return survivors;
}

static int failover_fill(struct failover_answer *answer, const Tally__V1__FailoverResponse *from, struct err *err)
{
    struct tally_failover *public = &answer->public;
    struct tally_lost_log *logs = arena_alloc_zero(&answer->arena, from->n_logs, sizeof(*logs));
    struct tally_check *checks = arena_alloc_zero(&answer->arena, from->n_checks, sizeof(*checks));
    if (logs == NULL || checks == NULL)
        return err_no_memory(err, "the evidence");
    for (size_t i = 0; i < from->n_logs; i++) {
        const Tally__V1__LogEvidence *log = from->logs[i];
        logs[i] = (struct tally_lost_log){.origin = log->origin,
                                          .size = log->size,
                                          .indexed_size = log->indexed_size,
                                          .checkpoint_size = log->checkpoint_size,
                                          .known_size = log->known_size,
                                          .survivor_count = log->n_survivors,
                                          .survivors = survivors_of(log, &answer->arena)};
        if (logs[i].survivors == NULL)
            return err_no_memory(err, "the evidence");
    }
    for (size_t i = 0; i < from->n_checks; i++)
        checks[i] = (struct tally_check){
            .name = from->checks[i]->name, .ok = from->checks[i]->ok, .detail = from->checks[i]->detail};
    *public = (struct tally_failover){.from = from->from,
                                      .reachable = from->reachable,
                                      .heard = from->heard,
                                      .last_contact_ms_ago = from->last_contact_ms_ago,
                                      .log_count = from->n_logs,
                                      .logs = logs,
                                      .check_count = from->n_checks,
                                      .checks = checks,
                                      .partition_count = from->partition_count,
                                      .done = from->result != NULL};
    if (from->result != NULL)
    public->result = changed_of(from->result);
    return 0;
}

int tally_failover(struct tally_client *client, const struct tally_change *change, bool dry_run, uint64_t timeout_ms,
                   struct tally_failover **ret, struct err *err)
{
    struct failover_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    ProtobufCMessage *message = NULL;
    Tally__V1__FailoverRequest request;
    if (answer == NULL)
        return err_no_memory(err, "the evidence");
    tally__v1__failover_request__init(&request);
    request.context = client_text(change->context);
    request.from = client_text(change->region);
    request.actor = client_text(change->actor);
    request.reason = client_text(change->reason);
    request.force = change->force;
    request.dry_run = dry_run;
    request.n_partitions = change->partition_count;
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    int rc = names_of(change, &answer->arena, &request.partitions, err);
    if (rc == 0)
        rc = client_call(client, "/tally.v1.Operations/Failover", &request.base,
                         &tally__v1__failover_response__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0)
        rc = failover_fill(answer, (const Tally__V1__FailoverResponse *)message, err);
    if (rc != 0) {
        tally_failover_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_failover_free(struct tally_failover *public)
{
    if (public == NULL)
        return;
    struct failover_answer *answer = (struct failover_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}
