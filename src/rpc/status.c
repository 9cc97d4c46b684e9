/* Status: a copy of the region's state, taken on the region's own thread, and what the configuration says. */
#include <stdio.h>

#include "base/mem.h"
#include "platform/clock.h"
#include "rpc/held.h"
#include "rpc/methods.h"

enum { STATUS_ARENA_MAX_BYTES = 16 * 1024 * 1024, POSITION_TEXT_MAX_BYTES = 16 * 1024 };

static char *copy_text(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text) + 1);
}

static uint64_t behind(uint64_t known, uint64_t held)
{
    return known > held ? known - held : 0;
}

static int add_logs(Tally__V1__StatusResponse *response, const struct rpc_status *status, struct arena *arena)
{
    Tally__V1__LogStatus *logs = arena_alloc_zero(arena, status->log_count, sizeof(*logs));
    response->logs = arena_alloc_zero(arena, status->log_count, sizeof(*response->logs));
    if (logs == NULL || response->logs == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < status->log_count; i++) {
        const struct region_log_status *from = &status->logs[i];
        tally__v1__log_status__init(&logs[i]);
        logs[i].origin = copy_text(arena, from->origin);
        logs[i].state = copy_text(arena, region_log_state_name(from->state));
        logs[i].detail = copy_text(arena, from->detail);
        if (logs[i].origin == NULL || logs[i].state == NULL || logs[i].detail == NULL)
            return ERR_NO_MEMORY;
        logs[i].size = from->size;
        logs[i].indexed_size = from->indexed_size;
        logs[i].checkpoint_size = from->checkpoint_size;
        logs[i].published_size = from->published_size;
        logs[i].own = i == 0;
        logs[i].lost_from = from->lost_from;
        logs[i].lost_to = from->lost_to;
        logs[i].queued_open = from->queued_open;
        logs[i].lag = behind(from->known_size, from->size);
        response->logs[i] = &logs[i];
    }
    response->n_logs = status->log_count;
    return 0;
}

static int fill_peer(Tally__V1__PeerStatus *to, const struct region_peer_config *config,
                     const struct region_peer_status *from, const struct rpc_status *status, struct arena *arena)
{
    const char *error = from->error;
    if (!from->heard && error[0] == '\0')
        error = "not heard of since this region started";
    tally__v1__peer_status__init(to);
    to->region = copy_text(arena, config->region);
    to->address = copy_text(arena, config->address);
    to->error = copy_text(arena, error);
    if (to->region == NULL || to->address == NULL || to->error == NULL)
        return ERR_NO_MEMORY;
    to->connected = from->up;
    if (from->heard)
        to->last_contact_ms_ago = behind(status->now_mono_us, from->last_contact_mono_us) / 1000;
    to->mirrored_size = from->mirrored_size;
    to->certificate_end_s = from->certificate_end_s;
    to->lag = behind(status->log_count > 0 ? status->logs[0].size : 0, from->mirrored_size);
    return 0;
}

static int add_peers(Tally__V1__StatusResponse *response, const struct region_config *config,
                     const struct rpc_status *status, struct arena *arena)
{
    size_t count = status->peer_count < config->peer_count ? status->peer_count : config->peer_count;
    Tally__V1__PeerStatus *peers = arena_alloc_zero(arena, count, sizeof(*peers));
    response->peers = arena_alloc_zero(arena, count, sizeof(*response->peers));
    if (peers == NULL || response->peers == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        int code = fill_peer(&peers[i], &config->peers[i], &status->peers[i], status, arena);
        if (code != 0)
            return code;
        response->peers[i] = &peers[i];
    }
    response->n_peers = count;
    return 0;
}

static int fill_policy(Tally__V1__ContextStatus *to, const struct promises *policy,
                       const struct region_context_status *status, struct arena *arena)
{
    to->durability_peers = policy->durability.peers;
    to->when_away = copy_text(arena, when_away_name(policy->durability.when_away));
    to->away = status->away;
    to->degraded_writes = status->degraded_count;
    to->recovery_events = policy->recovery_point.events;
    to->recovery_seconds = policy->recovery_point.seconds;
    to->recovery_then = copy_text(arena, bound_action_name(policy->recovery_point.then));
    to->ahead_events = status->ahead_events;
    to->ahead_ms = status->ahead_ms;
    to->past_bound = status->past_bound;
    return to->when_away == NULL || to->recovery_then == NULL ? ERR_NO_MEMORY : 0;
}

static int fill_rules(Tally__V1__ContextStatus *to, const struct context_rules *rules,
                      const struct region_context_status *status, struct arena *arena)
{
    to->lease_ms = rules->lease_ms;
    to->lease_held = status->lease_held;
    to->lease_left_ms = status->lease_left_ms;
    to->lease_granters = status->lease_granters;
    to->lease_needed = status->lease_needed;
    to->failover = copy_text(arena, failover_mode_name(rules->failover));
    to->advice = copy_text(arena, status->advice);
    to->failover_ready = status->failover_ready;
    return to->failover == NULL || to->advice == NULL ? ERR_NO_MEMORY : 0;
}

static int fill_context(Tally__V1__ContextStatus *to, const struct context *from,
                        const struct region_context_status *status, struct arena *arena)
{
    tally__v1__context_status__init(to);
    to->name = copy_text(arena, from->name);
    to->default_home = copy_text(arena, from->default_home);
    Tally__V1__ContextStatus__HomesEntry *homes = arena_alloc_zero(arena, from->home_count, sizeof(*homes));
    to->homes = arena_alloc_zero(arena, from->home_count, sizeof(*to->homes));
    if (to->name == NULL || to->default_home == NULL || homes == NULL || to->homes == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < from->home_count; i++) {
        tally__v1__context_status__homes_entry__init(&homes[i]);
        homes[i].key = copy_text(arena, from->homes[i].partition);
        homes[i].value = copy_text(arena, from->homes[i].region);
        if (homes[i].key == NULL || homes[i].value == NULL)
            return ERR_NO_MEMORY;
        to->homes[i] = &homes[i];
    }
    to->n_homes = from->home_count;
    int code = fill_policy(to, &from->promises, status, arena);
    return code == 0 ? fill_rules(to, &from->rules, status, arena) : code;
}

/* The region may know of a context before its index does: the policy shown is the index's, what follows from it is the
 * region's. */
static const struct region_context_status *status_of(const struct rpc_status *status, const struct context *context)
{
    static const struct region_context_status nothing;
    for (size_t i = 0; i < status->context_count; i++) {
        if (strcmp(status->contexts[i].name, context->name) == 0)
            return &status->contexts[i];
    }
    return &nothing;
}

static int add_contexts(Tally__V1__StatusResponse *response, const struct context_table *table,
                        const struct rpc_status *status, struct arena *arena)
{
    size_t count = context_count(table);
    Tally__V1__ContextStatus *contexts = arena_alloc_zero(arena, count, sizeof(*contexts));
    response->contexts = arena_alloc_zero(arena, count, sizeof(*response->contexts));
    if (contexts == NULL || response->contexts == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const struct context *context = context_at(table, i);
        Tally__V1__ContextStatus *to = &contexts[response->n_contexts];
        if (context == NULL)
            continue;
        int code = fill_context(to, context, status_of(status, context), arena);
        if (code != 0)
            return code;
        response->contexts[response->n_contexts++] = to;
    }
    return 0;
}

/* This region first, then its peers. */
static int add_regions(Tally__V1__StatusResponse *response, const struct region_config *config, struct arena *arena)
{
    size_t count = 1 + config->peer_count;
    Tally__V1__RegionAddress *regions = arena_alloc_zero(arena, count, sizeof(*regions));
    response->regions = arena_alloc_zero(arena, count, sizeof(*response->regions));
    if (regions == NULL || response->regions == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        tally__v1__region_address__init(&regions[i]);
        regions[i].region = copy_text(arena, i == 0 ? config->region : config->peers[i - 1].region);
        regions[i].address = copy_text(arena, i == 0 ? config->address : config->peers[i - 1].address);
        if (regions[i].region == NULL || regions[i].address == NULL)
            return ERR_NO_MEMORY;
        response->regions[i] = &regions[i];
    }
    response->n_regions = count;
    return 0;
}

static int add_position(Tally__V1__StatusResponse *response, const struct rpc_status *status, struct arena *arena,
                        struct err *err)
{
    struct position position = {0};
    struct buf text;
    int code = 0;
    buf_init(&text, POSITION_TEXT_MAX_BYTES);
    for (size_t i = 0; i < status->log_count && code == 0; i++)
        code = held_set_position(&position, bytes_of_string(status->logs[i].origin), status->logs[i].size, err);
    if (code == 0)
        code = position_format(&position, &text);
    if (code == 0)
        code = buf_terminate(&text);
    if (code == 0)
        response->position = copy_text(arena, (const char *)text.data);
    buf_free(&text);
    return code == 0 && response->position == NULL ? ERR_NO_MEMORY : code;
}

static int add_damages(Tally__V1__StatusResponse *response, const struct rpc_status *status, struct arena *arena)
{
    Tally__V1__Damage *damages = arena_alloc_zero(arena, status->damage_count, sizeof(*damages));
    response->damages = arena_alloc_zero(arena, status->damage_count, sizeof(*response->damages));
    if (damages == NULL || response->damages == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < status->damage_count; i++) {
        const struct rpc_damage *from = &status->damages[i];
        char file[DISK_PATH_MAX_BYTES + 32];
        snprintf(file, sizeof(file), "%s/%020llu.seg", from->folder, (unsigned long long)from->finding.segment);
        tally__v1__damage__init(&damages[i]);
        damages[i].origin = copy_text(arena, status->logs[from->log].origin);
        damages[i].file = copy_text(arena, file);
        damages[i].what = copy_text(arena, from->finding.what);
        if (damages[i].origin == NULL || damages[i].file == NULL || damages[i].what == NULL)
            return ERR_NO_MEMORY;
        damages[i].offset = from->finding.offset;
        damages[i].first_index = from->finding.first_index;
        damages[i].end_index = from->finding.end_index;
        response->damages[i] = &damages[i];
    }
    response->n_damages = status->damage_count;
    return 0;
}

static int add_drifts(Tally__V1__StatusResponse *response, const struct rpc_status *status, struct arena *arena)
{
    Tally__V1__Drift *drifts = arena_alloc_zero(arena, status->drift_count, sizeof(*drifts));
    response->drifts = arena_alloc_zero(arena, status->drift_count, sizeof(*response->drifts));
    if (drifts == NULL || response->drifts == NULL)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < status->drift_count && status->drifts[i].differs; i++) {
        const struct drift_verdict *from = &status->drifts[i];
        tally__v1__drift__init(&drifts[i]);
        drifts[i].subject = copy_text(arena, from->subject);
        drifts[i].region = copy_text(arena, from->region);
        drifts[i].position = copy_text(arena, from->position);
        drifts[i].ours = copy_text(arena, from->ours);
        drifts[i].theirs = copy_text(arena, from->theirs);
        if (drifts[i].subject == NULL || drifts[i].region == NULL || drifts[i].position == NULL ||
            drifts[i].ours == NULL || drifts[i].theirs == NULL)
            return ERR_NO_MEMORY;
        response->drifts[response->n_drifts++] = &drifts[i];
    }
    return 0;
}

static int add_automatic(Tally__V1__StatusResponse *response, const struct rpc_status *status, struct arena *arena)
{
    const struct takeover_status *from = &status->takeover;
    Tally__V1__AutomaticFailover *to = arena_alloc_zero(arena, 1, sizeof(*to));
    if (to == NULL)
        return ERR_NO_MEMORY;
    tally__v1__automatic_failover__init(to);
    to->state = copy_text(arena, takeover_state_name(from->state));
    to->detail = copy_text(arena, from->detail);
    to->loss = copy_text(arena, from->loss);
    if (to->state == NULL || to->detail == NULL || to->loss == NULL)
        return ERR_NO_MEMORY;
    to->revision = from->revision;
    if (from->contact_us != 0)
        to->contact_ms_ago = behind(status->now_mono_us, from->contact_us) / 1000;
    to->lease_ms = from->lease_us / 1000;
    to->takeovers = from->takeovers;
    to->refusals = from->refusals;
    response->automatic = to;
    return 0;
}

static int add_certificate(Tally__V1__StatusResponse *response, const struct certificate_status *from,
                           struct arena *arena)
{
    Tally__V1__Certificate *to = arena_alloc_zero(arena, 1, sizeof(*to));
    if (to == NULL)
        return ERR_NO_MEMORY;
    tally__v1__certificate__init(to);
    to->state = copy_text(arena, certificate_state_name(from->state));
    to->subject = copy_text(arena, from->certificate.subject);
    to->problem = copy_text(arena, from->problem);
    if (to->state == NULL || to->subject == NULL || to->problem == NULL)
        return ERR_NO_MEMORY;
    to->begin_s = from->certificate.begin_s;
    to->end_s = from->certificate.end_s;
    response->certificate = to;
    return 0;
}

static bool certificate_alarms(const struct certificate_status *status)
{
    return status->state == CERTIFICATE_ENDS_SOON || status->state == CERTIFICATE_EXPIRED || status->problem[0] != '\0';
}

static int add_health(Tally__V1__StatusResponse *response, const struct rpc_status *status, struct arena *arena)
{
    Tally__V1__Scrub *scrub = arena_alloc_zero(arena, 1, sizeof(*scrub));
    bool degraded = status->damage_count > 0 || (status->drift_count > 0 && status->drifts[0].differs) ||
                    certificate_alarms(&status->certificate);
    for (size_t i = 0; i < status->log_count; i++)
        degraded = degraded || status->logs[i].state == REGION_LOG_FORKED ||
                   status->logs[i].lost_to > status->logs[i].lost_from;
    response->health = copy_text(arena, degraded ? "degraded" : "ok");
    if (scrub == NULL || response->health == NULL)
        return ERR_NO_MEMORY;
    tally__v1__scrub__init(scrub);
    scrub->mib_per_s = status->scrub_mib_per_s;
    scrub->passes = status->scrub_passes;
    scrub->read_bytes = status->scrub_read_bytes;
    response->scrub = scrub;
    int code = add_damages(response, status, arena);
    return code == 0 ? add_drifts(response, status, arena) : code;
}

static int build(struct rpc_backend *backend, const struct rpc_status *status, struct arena *arena,
                 Tally__V1__StatusResponse *response, struct err *err)
{
    const struct region_config *config = backend->config;
    tally__v1__status_response__init(response);
    response->cluster = copy_text(arena, config->cluster);
    response->region = copy_text(arena, config->region);
    response->version = copy_text(arena, RPC_SERVER_VERSION);
    if (response->cluster == NULL || response->region == NULL || response->version == NULL)
        return ERR_NO_MEMORY;
    response->uptime_ms = behind(status->now_mono_us, backend->start_mono_us) / 1000;
    response->accepting = status->accepting;
    int code = add_position(response, status, arena, err);
    if (code == 0)
        code = add_logs(response, status, arena);
    if (code == 0)
        code = add_peers(response, config, status, arena);
    if (code == 0)
        code = add_contexts(response, index_contexts(backend->index), status, arena);
    if (code == 0)
        code = add_regions(response, config, arena);
    if (code == 0)
        code = add_automatic(response, status, arena);
    if (code == 0)
        code = add_certificate(response, &status->certificate, arena);
    if (code == 0)
        code = add_health(response, status, arena);
    return code;
}

static int answer_status(struct call *call, struct arena *arena, struct err *err)
{
    struct rpc_status *status = mem_alloc_zero(1, sizeof(*status));
    if (status == NULL)
        return err_no_memory(err, "the status");
    Tally__V1__StatusResponse response;
    int code = call->backend->ops->status(call->backend, status, err);
    if (code == 0)
        code = build(call->backend, status, arena, &response, err);
    mem_free(status);
    if (code == ERR_NO_MEMORY)
        return err_no_memory(err, "the status");
    return code != 0 ? code : call_answer(call, &response.base);
}

int method_status(struct call *call, struct err *err)
{
    struct arena arena;
    arena_init(&arena, STATUS_ARENA_MAX_BYTES);
    ProtobufCMessage *request = NULL;
    int code = call_read_request(call, &tally__v1__status_request__descriptor, &arena, &request, err);
    if (code == 0)
        code = answer_status(call, &arena, err);
    arena_free(&arena);
    return code;
}
