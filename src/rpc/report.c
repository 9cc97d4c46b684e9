/* The report of a reconciliation: the figures of reconcile/report.h, with who is the home of what, how far logs are
 * published, and how far projections are. Each part is a copy of what is known when it is taken; the position says what
 * the figures reflect. */
#include "reconcile/report.h"

#include "rpc/held.h"
#include "rpc/late.h"
#include "rpc/methods.h"
#include "rpc/operation.h"

enum { CHANGES_MAX = 1000 };
#define UNIX_MS_MAX ((UINT64_C(1) << 48) - 1) /* what a hybrid time can hold */

struct making {
    struct call *call;
    const Tally__V1__ReportRequest *request;
    struct arena *arena;
    struct report *report;
    struct rpc_status *status;
    size_t log_count;
    struct log *logs[INDEX_LOGS_MAX];
    uint64_t published_sizes[INDEX_LOGS_MAX];
    Tally__V1__ReportResponse response;
};

static int no_memory(struct err *err)
{
    return err_no_memory(err, "a report");
}

static char *origin_text(struct making *making, size_t log)
{
    struct bytes origin = log_origin(making->logs[log]);
    char *text = arena_alloc_zero(making->arena, origin.size_bytes + 1, 1);
    if (text != NULL)
        memcpy(text, origin.data, origin.size_bytes);
    return text;
}

/* --- Gathering --- */

static int take_status(struct making *making, struct err *err)
{
    struct rpc_backend *backend = making->call->backend;
    int code = backend->ops->status(backend, making->status, err);
    if (code != 0)
        return code;
    size_t count = backend->ops->log_count(backend);
    making->log_count = count < making->status->log_count ? count : making->status->log_count;
    for (size_t i = 0; i < making->log_count; i++) {
        const struct region_log_status *log = &making->status->logs[i];
        making->logs[i] = backend->ops->log_at(backend, i);
        making->published_sizes[i] = log->published_size;
        if (i > 0 && log->checkpoint_size > log->published_size) /* of a mirror: this region cosigns what it stores */
            making->published_sizes[i] = log->checkpoint_size;
    }
    return 0;
}

static hlc time_at(uint64_t unix_ms)
{
    return unix_ms << 16;
}

static int keep_going(void *context, struct err *err)
{
    return call_check(context, err);
}

static int gather(struct making *making, struct err *err)
{
    struct rpc_backend *backend = making->call->backend;
    const Tally__V1__ReportRequest *request = making->request;
    const struct report_filter filter = {.context = bytes_of_string(request->context),
                                         .epoch = request->epoch,
                                         .from = time_at(request->from_unix_ms),
                                         .to = time_at(request->to_unix_ms)};
    int code = held_wait_indexed(making->call, err);
    if (code == 0)
        code = take_status(making, err);
    if (code == 0)
        code = report_gather(backend->index, &backend->config->contexts, making->logs, making->published_sizes,
                             making->log_count, &filter, keep_going, making->call, making->report, err);
    return code;
}

/* --- Filling --- */

static int fill_accepted(struct making *making, struct err *err)
{
    const struct report *report = making->report;
    Tally__V1__ReportResponse *to = &making->response;
    Tally__V1__AcceptedRow *rows = arena_alloc_zero(making->arena, report->row_count, sizeof(*rows));
    to->accepted = arena_alloc_zero(making->arena, report->row_count, sizeof(*to->accepted));
    if (rows == NULL || to->accepted == NULL)
        return no_memory(err);
    for (size_t i = 0; i < report->row_count; i++) {
        const struct report_row *from = &report->rows[i];
        tally__v1__accepted_row__init(&rows[i]);
        rows[i].origin = origin_text(making, from->log);
        rows[i].epoch = from->epoch;
        rows[i].effective = from->effective;
        rows[i].late = from->late;
        rows[i].overrides = from->overrides;
        rows[i].published = from->published;
        rows[i].first_time = from->first_time;
        rows[i].last_time = from->last_time;
        if (rows[i].origin == NULL)
            return no_memory(err);
        to->accepted[to->n_accepted++] = &rows[i];
    }
    return 0;
}

static int fill_logs(struct making *making, struct err *err)
{
    Tally__V1__ReportResponse *to = &making->response;
    Tally__V1__ReportLog *logs = arena_alloc_zero(making->arena, making->log_count, sizeof(*logs));
    to->logs = arena_alloc_zero(making->arena, making->log_count, sizeof(*to->logs));
    if (logs == NULL || to->logs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < making->log_count; i++) {
        const struct region_log_status *from = &making->status->logs[i];
        tally__v1__report_log__init(&logs[i]);
        logs[i].origin = origin_text(making, i);
        logs[i].size = from->size;
        logs[i].indexed_size = from->indexed_size;
        logs[i].checkpoint_size = from->checkpoint_size;
        logs[i].published_size = making->published_sizes[i];
        if (logs[i].origin == NULL)
            return no_memory(err);
        to->logs[to->n_logs++] = &logs[i];
    }
    return 0;
}

static uint64_t entries_behind(const struct position *applied, const struct position *consumed)
{
    uint64_t behind = 0;
    for (size_t i = 0; i < applied->count; i++) {
        const struct position_log *log = &applied->logs[i];
        uint64_t size = position_get(consumed, log->region, log->incarnation);
        behind += log->size > size ? log->size - size : 0;
    }
    return behind;
}

static int fill_projections(struct making *making, struct err *err)
{
    struct rpc_backend *backend = making->call->backend;
    Tally__V1__ReportResponse *to = &making->response;
    struct rpc_projection *from = arena_alloc_zero(making->arena, RPC_PROJECTIONS_MAX, sizeof(*from));
    Tally__V1__ReportProjection *made = arena_alloc_zero(making->arena, RPC_PROJECTIONS_MAX, sizeof(*made));
    size_t count = 0;
    to->projections = arena_alloc_zero(making->arena, RPC_PROJECTIONS_MAX, sizeof(*to->projections));
    if (from == NULL || made == NULL || to->projections == NULL)
        return no_memory(err);
    int code = backend->ops->projection_list(backend, from, &count, err);
    for (size_t i = 0; code == 0 && i < count; i++) {
        tally__v1__report_projection__init(&made[i]);
        made[i].name = operation_text(making->arena, from[i].name);
        made[i].state = operation_text(making->arena, from[i].state);
        made[i].position = operation_position_text(making->arena, &from[i].position);
        made[i].behind = entries_behind(&making->report->position, &from[i].position);
        made[i].stale = made[i].behind > 0 || strcmp(from[i].state, "live") != 0;
        if (made[i].name == NULL || made[i].state == NULL || made[i].position == NULL)
            return no_memory(err);
        to->projections[to->n_projections++] = &made[i];
    }
    return code;
}

static int fill_homes(struct making *making, struct err *err)
{
    struct rpc_backend *backend = making->call->backend;
    Tally__V1__ReportResponse *to = &making->response;
    struct rpc_homes *homes = arena_alloc_zero(making->arena, 1, sizeof(*homes));
    if (homes == NULL)
        return no_memory(err);
    int code = backend->ops->homes(backend, bytes_of_string(making->request->context), 0, homes, err);
    if (code != 0)
        return code;
    Tally__V1__HomeStatus *made = arena_alloc_zero(making->arena, homes->count, sizeof(*made));
    to->homes = arena_alloc_zero(making->arena, homes->count, sizeof(*to->homes));
    if (made == NULL || to->homes == NULL)
        return no_memory(err);
    for (size_t i = 0; i < homes->count; i++) {
        tally__v1__home_status__init(&made[i]);
        made[i].partition = operation_text(making->arena, homes->homes[i].partition);
        made[i].region = operation_text(making->arena, homes->homes[i].region);
        made[i].successor = operation_text(making->arena, homes->homes[i].successor);
        made[i].epoch = homes->homes[i].epoch;
        made[i].released = homes->homes[i].released;
        if (made[i].partition == NULL || made[i].region == NULL || made[i].successor == NULL)
            return no_memory(err);
        to->homes[to->n_homes++] = &made[i];
    }
    to->more_homes = homes->next != 0;
    return 0;
}

static char *copy_of(struct arena *arena, struct bytes text)
{
    char *copy = arena_alloc_zero(arena, text.size_bytes + 1, 1);
    if (copy != NULL && text.size_bytes > 0)
        memcpy(copy, text.data, text.size_bytes);
    return copy;
}

/* Who asked for the change, and why, as its entry says. An entry that cannot be read leaves the texts empty: the rest
 * of the report does not hang on it. */
static int fill_why(struct making *making, const struct authority_record *from, Tally__V1__ReportChange *to,
                    struct err *err)
{
    struct origin named = {.incarnation = from->incarnation};
    struct control_authority said;
    struct block *block = NULL;
    struct bytes encoded;
    struct frame frame;
    char origin[256];
    copy_string(named.cluster, sizeof(named.cluster), making->call->backend->config->cluster);
    copy_string(named.region, sizeof(named.region), from->region);
    origin_format(&named, origin);
    if (held_frame(making->call->backend, origin, from->index, &block, &encoded, NULL) != 0)
        return 0;
    int code = 0;
    if (frame_parse(encoded, &frame, NULL) == 0 &&
        control_authority_parse(from->kind, frame.payload, &said, NULL) == 0) {
        to->actor = copy_of(making->arena, said.actor);
        to->reason = copy_of(making->arena, said.reason);
        to->forced = said.forced;
        code = to->actor == NULL || to->reason == NULL ? no_memory(err) : 0;
    }
    block_release(block);
    return code;
}

static int fill_change(struct making *making, const struct authority_record *from, Tally__V1__ReportChange *to,
                       struct err *err)
{
    struct position basis = {.count = 0};
    int code = 0;
    for (size_t i = 0; code == 0 && i < from->basis_count; i++)
        code = position_set(&basis, from->basis[i].region, from->basis[i].incarnation, from->basis[i].size);
    tally__v1__report_change__init(to);
    to->partition = arena_alloc_zero(making->arena, from->partition.size_bytes + 1, 1);
    to->kind = operation_text(making->arena, from->kind == CONTROL_AUTHORITY_SEIZED ? "seized" : "taken");
    to->region = operation_text(making->arena, from->region);
    to->basis = operation_position_text(making->arena, &basis);
    to->epoch = from->epoch;
    to->time = from->time;
    if (code != 0 || to->partition == NULL || to->kind == NULL || to->region == NULL || to->basis == NULL)
        return no_memory(err);
    memcpy(to->partition, from->partition.data, from->partition.size_bytes);
    return fill_why(making, from, to, err);
}

static int walk_changes(struct making *making, const struct authority_table *table, Tally__V1__ReportChange *made,
                        struct err *err)
{
    Tally__V1__ReportResponse *to = &making->response;
    struct authority_walk at = {.partition = 0};
    struct authority_record record;
    int code = 0;
    while (code == 0 && authority_next(table, &at, &record)) {
        if (!bytes_equal(record.context, bytes_of_string(making->request->context)) ||
            (making->request->epoch != 0 && record.epoch != making->request->epoch))
            continue;
        to->more_changes = to->n_changes == CHANGES_MAX;
        if (to->more_changes)
            return 0;
        code = fill_change(making, &record, &made[to->n_changes], err);
        to->changes[to->n_changes] = &made[to->n_changes];
        to->n_changes += code == 0;
    }
    return code;
}

static int fill_changes(struct making *making, struct err *err)
{
    struct rpc_backend *backend = making->call->backend;
    struct authority_table table;
    Tally__V1__ReportChange *made = arena_alloc_zero(making->arena, CHANGES_MAX, sizeof(*made));
    making->response.changes = arena_alloc_zero(making->arena, CHANGES_MAX, sizeof(*making->response.changes));
    if (made == NULL || making->response.changes == NULL)
        return no_memory(err);
    authority_table_init(&table, &backend->config->contexts);
    int code = index_authority(backend->index, &table, err);
    if (code == 0)
        code = walk_changes(making, &table, made, err);
    authority_table_free(&table);
    return code;
}

static int fill_states(struct making *making, struct err *err)
{
    Tally__V1__ReportResponse *to = &making->response;
    Tally__V1__StateCount *made = arena_alloc_zero(making->arena, REPORT_STATES, sizeof(*made));
    to->states = arena_alloc_zero(making->arena, REPORT_STATES, sizeof(*to->states));
    if (made == NULL || to->states == NULL)
        return no_memory(err);
    for (size_t i = 0; i < REPORT_STATES; i++) {
        tally__v1__state_count__init(&made[i]);
        made[i].state = operation_text(making->arena, index_late_state_name((enum index_late_state)i));
        made[i].count = making->report->states[i];
        if (made[i].state == NULL)
            return no_memory(err);
        to->states[to->n_states++] = &made[i];
    }
    return 0;
}

static int fill_owed(struct making *making, struct err *err)
{
    const struct report *report = making->report;
    Tally__V1__ReportResponse *to = &making->response;
    Tally__V1__LateItem *made = arena_alloc_zero(making->arena, report->owed_count, sizeof(*made));
    to->owed = arena_alloc_zero(making->arena, report->owed_count, sizeof(*to->owed));
    int code = made == NULL || to->owed == NULL ? no_memory(err) : 0;
    for (size_t i = 0; code == 0 && i < report->owed_count; i++) {
        code = late_fill(making->call->backend, &report->owed[i], &made[i], making->arena, err);
        to->owed[to->n_owed++] = &made[i];
    }
    to->more_owed = report->more_owed;
    return code;
}

static int report(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err)
{
    struct making *making = arena_alloc_zero(arena, 1, sizeof(*making));
    if (making == NULL)
        return no_memory(err);
    making->call = call;
    making->request = (const Tally__V1__ReportRequest *)message;
    making->arena = arena;
    making->report = arena_alloc_zero(arena, 1, sizeof(*making->report));
    making->status = arena_alloc_zero(arena, 1, sizeof(*making->status));
    tally__v1__report_response__init(&making->response);
    if (making->report == NULL || making->status == NULL)
        return no_memory(err);
    static int (*const parts[])(struct making *, struct err *) = {
        fill_homes, gather, fill_accepted, fill_logs, fill_projections, fill_changes, fill_states, fill_owed};
    int code = entry_check_name(bytes_of_string(making->request->context), ENTRY_NAME_MAX_BYTES, "context", err);
    if (code == 0 && (making->request->from_unix_ms > UNIX_MS_MAX || making->request->to_unix_ms > UNIX_MS_MAX))
        code = err_set(err, ERR_INVALID, "times are Unix milliseconds");
    for (size_t i = 0; code == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
        code = parts[i](making, err);
    if (code != 0)
        return code;
    making->response.position = operation_position_text(arena, &making->report->position);
    return making->response.position == NULL ? no_memory(err) : call_answer(call, &making->response.base);
}

int method_report(struct call *call, struct err *err)
{
    return operation_run(call, &tally__v1__report_request__descriptor, report, err);
}
