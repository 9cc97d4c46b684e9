/* The service Operations: homes, handover and failover. Changes travel as control commands, on the same way as batches
 * (rpc/append.h): the region decides, and the answer leaves when the change is durable. */
#include <stdio.h>

#include "rpc/methods.h"
#include "rpc/operation.h"
#include "tally/v1/operations.pb-c.h"

static int check_context(const char *context, struct err *err)
{
    return entry_check_name(bytes_of_string(context), ENTRY_NAME_MAX_BYTES, "context", err);
}

/* --- Homes --- */

static int fill_home(Tally__V1__HomeStatus *to, const struct rpc_home *from, struct arena *arena)
{
    tally__v1__home_status__init(to);
    to->partition = operation_text(arena, from->partition);
    to->region = operation_text(arena, from->region);
    to->successor = operation_text(arena, from->successor);
    to->epoch = from->epoch;
    to->released = from->released;
    return to->partition == NULL || to->region == NULL || to->successor == NULL ? ERR_NO_MEMORY : 0;
}

static int answer_homes(struct call *call, const struct rpc_homes *homes, struct arena *arena, struct err *err)
{
    Tally__V1__ListHomesResponse response;
    Tally__V1__HomeStatus *items = arena_alloc_zero(arena, homes->count, sizeof(*items));
    tally__v1__list_homes_response__init(&response);
    response.homes = arena_alloc_zero(arena, homes->count, sizeof(*response.homes));
    int code = items == NULL || response.homes == NULL ? ERR_NO_MEMORY : 0;
    for (size_t i = 0; code == 0 && i < homes->count; i++) {
        code = fill_home(&items[i], &homes->homes[i], arena);
        response.homes[i] = &items[i];
    }
    if (code != 0)
        return err_no_memory(err, "the homes");
    response.n_homes = homes->count;
    response.next = homes->next;
    return call_answer(call, &response.base);
}

static int list_homes(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__ListHomesRequest *request = (const Tally__V1__ListHomesRequest *)message;
    int code = check_context(request->context, err);
    if (code != 0)
        return code;
    struct rpc_homes *homes = arena_alloc_zero(arena, 1, sizeof(*homes));
    if (homes == NULL)
        return err_no_memory(err, "the homes");
    code = call->backend->ops->homes(call->backend, bytes_of_string(request->context), request->from, homes, err);
    return code == 0 ? answer_homes(call, homes, arena, err) : code;
}

int method_list_homes(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__list_homes_request__descriptor, list_homes, err);
}

/* --- Changes --- */

static int take_names(char **names, size_t count, struct region_control *control, struct arena *arena, struct err *err)
{
    if (count > REGION_CONTROL_PARTITIONS_MAX)
        return err_set(err, ERR_TOO_LARGE, "%zu partitions, at most %d at once", count, REGION_CONTROL_PARTITIONS_MAX);
    struct bytes *partitions = arena_alloc_zero(arena, count, sizeof(*partitions));
    if (partitions == NULL)
        return err_no_memory(err, "the partitions");
    for (size_t i = 0; i < count; i++) {
        partitions[i] = bytes_of_string(names[i]);
        int code = entry_check_name(partitions[i], ENTRY_NAME_MAX_BYTES, "partition", err);
        if (code != 0)
            return code;
    }
    control->partitions = partitions;
    control->partition_count = count;
    return 0;
}

static int take_region(const char *name, struct region_control *control, struct err *err)
{
    if (name[0] == '\0' || strlen(name) >= sizeof(control->region))
        return err_set(err, ERR_INVALID, "name a region");
    copy_string(control->region, sizeof(control->region), name);
    return 0;
}

static int take_people(const char *actor, const char *reason, bool force, struct region_control *control,
                       struct err *err)
{
    control->actor = actor[0] == '\0' ? BYTES_LITERAL("operator") : bytes_of_string(actor);
    control->reason = bytes_of_string(reason);
    control->forced = force;
    if (force && reason[0] == '\0')
        return err_set(err, ERR_INVALID, "to force it, say why: the reason stays in the log");
    int code = entry_check_name(control->actor, CONTROL_ACTOR_MAX_BYTES, "actor", err);
    if (code == 0 && reason[0] != '\0')
        code = entry_check_name(control->reason, CONTROL_REASON_MAX_BYTES, "reason", err);
    return code;
}

static int fill_result(struct call *call, const struct rpc_append *append, Tally__V1__ControlResponse *ret,
                       struct arena *arena, struct err *err)
{
    tally__v1__control_response__init(ret);
    ret->changed = append->command.control->changed;
    ret->remaining = append->command.control->remaining;
    ret->position = operation_own_position(call->backend, append->command.ticket, arena);
    return ret->position == NULL ? err_no_memory(err, "an answer") : 0;
}

static int change(struct call *call, struct region_control *control, Tally__V1__ControlResponse *ret,
                  struct arena *arena, struct err *err)
{
    struct rpc_append *append = arena_alloc_zero(arena, 1, sizeof(*append));
    if (append == NULL)
        return err_no_memory(err, "a command");
    append->command.control = control;
    operation_decide(call->backend, call, append);
    if (append->command.refusal.code != 0)
        return call_fail_refused(call, &append->command.refusal, &append->command, err);
    return fill_result(call, append, ret, arena, err);
}

static int handover(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__HandoverRequest *request = (const Tally__V1__HandoverRequest *)message;
    struct region_control *control = arena_alloc_zero(arena, 1, sizeof(*control));
    Tally__V1__ControlResponse response;
    if (control == NULL)
        return err_no_memory(err, "a command");
    control->type = REGION_HANDOVER;
    control->context = bytes_of_string(request->context);
    int code = check_context(request->context, err);
    if (code == 0)
        code = take_region(request->to, control, err);
    if (code == 0)
        code = take_people(request->actor, request->reason, request->force, control, err);
    if (code == 0)
        code = take_names(request->partitions, request->n_partitions, control, arena, err);
    if (code == 0)
        code = change(call, control, &response, arena, err);
    return code == 0 ? call_answer(call, &response.base) : code;
}

int method_handover(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__handover_request__descriptor, handover, err);
}

/* --- Failover --- */

static int fill_survivors(struct call *call, const struct region_failover_report *report,
                          const struct region_lost_log *log, Tally__V1__LogEvidence *to, struct arena *arena)
{
    const struct region_config *config = call->backend->config;
    Tally__V1__SurvivorEvidence *items = arena_alloc_zero(arena, config->peer_count, sizeof(*items));
    to->survivors = arena_alloc_zero(arena, config->peer_count, sizeof(*to->survivors));
    if (items == NULL || to->survivors == NULL)
        return ERR_NO_MEMORY;
    for (size_t peer = 0; peer < config->peer_count; peer++) {
        if (peer == report->peer)
            continue;
        Tally__V1__SurvivorEvidence *item = &items[to->n_survivors];
        tally__v1__survivor_evidence__init(item);
        item->region = operation_text(arena, config->peers[peer].region);
        item->reachable = report->peer_up[peer];
        item->size = log->held[peer];
        if (item->region == NULL)
            return ERR_NO_MEMORY;
        to->survivors[to->n_survivors++] = item;
    }
    return 0;
}

static int fill_logs(struct call *call, const struct region_failover_report *report, Tally__V1__FailoverResponse *to,
                     struct arena *arena)
{
    Tally__V1__LogEvidence *items = arena_alloc_zero(arena, report->log_count, sizeof(*items));
    to->logs = arena_alloc_zero(arena, report->log_count, sizeof(*to->logs));
    if (items == NULL || to->logs == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < report->log_count; i++) {
        const struct region_lost_log *log = &report->logs[i];
        tally__v1__log_evidence__init(&items[i]);
        items[i].origin = operation_text(arena, log->origin);
        items[i].size = log->size;
        items[i].indexed_size = log->indexed_size;
        items[i].checkpoint_size = log->checkpoint_size;
        items[i].known_size = log->known_size;
        int code = items[i].origin == NULL ? ERR_NO_MEMORY : fill_survivors(call, report, log, &items[i], arena);
        if (code != 0)
            return code;
        to->logs[i] = &items[i];
    }
    to->n_logs = report->log_count;
    return 0;
}

static int fill_checks(const struct region_failover_report *report, Tally__V1__FailoverResponse *to,
                       struct arena *arena)
{
    Tally__V1__ReadinessCheck *items = arena_alloc_zero(arena, report->check_count, sizeof(*items));
    to->checks = arena_alloc_zero(arena, report->check_count, sizeof(*to->checks));
    if (items == NULL || to->checks == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < report->check_count; i++) {
        tally__v1__readiness_check__init(&items[i]);
        items[i].name = operation_text(arena, report->checks[i].name);
        items[i].detail = operation_text(arena, report->checks[i].detail);
        items[i].ok = report->checks[i].ok;
        if (items[i].name == NULL || items[i].detail == NULL)
            return ERR_NO_MEMORY;
        to->checks[i] = &items[i];
    }
    to->n_checks = report->check_count;
    return 0;
}

static int fill_report(struct call *call, const struct region_failover_report *report, const char *from,
                       Tally__V1__FailoverResponse *ret, struct arena *arena, struct err *err)
{
    tally__v1__failover_response__init(ret);
    ret->from = operation_text(arena, from);
    ret->reachable = report->up;
    ret->heard = report->heard;
    ret->last_contact_ms_ago = report->last_contact_us_ago / 1000;
    ret->partition_count = report->partition_count;
    int code = ret->from == NULL ? ERR_NO_MEMORY : fill_logs(call, report, ret, arena);
    if (code == 0)
        code = fill_checks(report, ret, arena);
    return code == 0 ? 0 : err_no_memory(err, "the evidence");
}

static int failover(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    const Tally__V1__FailoverRequest *request = (const Tally__V1__FailoverRequest *)message;
    struct region_control *control = arena_alloc_zero(arena, 1, sizeof(*control));
    struct region_failover_report *report = arena_alloc_zero(arena, 1, sizeof(*report));
    Tally__V1__FailoverResponse response;
    Tally__V1__ControlResponse result;
    if (control == NULL || report == NULL)
        return err_no_memory(err, "the evidence");
    control->type = REGION_FAILOVER;
    control->context = bytes_of_string(request->context);
    int code = check_context(request->context, err);
    if (code == 0)
        code = take_region(request->from, control, err);
    if (code == 0)
        code = take_people(request->actor, request->reason, request->force, control, err);
    if (code == 0)
        code = take_names(request->partitions, request->n_partitions, control, arena, err);
    control->dry_run = request->dry_run;
    control->report = report;
    if (code == 0)
        code = operation_projections_behind(call->backend, arena, &control->projections_behind, err);
    if (code == 0)
        code = change(call, control, &result, arena, err);
    if (code == 0)
        code = fill_report(call, report, control->region, &response, arena, err);
    if (code == 0 && !request->dry_run)
        response.result = &result;
    return code == 0 ? call_answer(call, &response.base) : code;
}

int method_failover(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__failover_request__descriptor, failover, err);
}
