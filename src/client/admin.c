/* Status and projections: one request, one answer, turned into plain structs in the arena of the answer. */
#include <string.h>

#include "base/mem.h"
#include "client/client_internal.h"
#include "tally/v1/ledger.pb-c.h"

enum { PROJECTION_WAIT_DEFAULT_MS = 30 * 1000, PROJECTION_ANSWER_GRACE_MS = 5 * 1000 };

/* Each starts with the public part, whose address the free functions get. */
struct status_answer {
    struct tally_status public;
    struct arena arena;
};
struct projections_answer {
    struct tally_projections public;
    struct arena arena;
};
struct digest_answer {
    struct tally_projection_digest public;
    struct arena arena;
};
struct check_answer {
    struct tally_projection_check public;
    struct arena arena;
};

/* --- Status --- */

static bool logs_fill(const Tally__V1__StatusResponse *from, struct arena *arena, struct tally_status *ret)
{
    struct tally_log_status *logs = arena_alloc_zero(arena, from->n_logs, sizeof(*logs));
    if (logs == NULL)
        return false;
    for (size_t i = 0; i < from->n_logs; i++) {
        const Tally__V1__LogStatus *log = from->logs[i];
        logs[i] = (struct tally_log_status){
            .origin = log->origin,
            .own = log->own,
            .size = log->size,
            .indexed_size = log->indexed_size,
            .checkpoint_size = log->checkpoint_size,
            .published_size = log->published_size,
            .lag = log->lag,
            .lost_from = log->lost_from,
            .lost_to = log->lost_to,
            .queued_open = log->queued_open,
            .state = log->state,
            .detail = log->detail,
        };
    }
    ret->logs = logs;
    ret->log_count = from->n_logs;
    return true;
}

static bool peers_fill(const Tally__V1__StatusResponse *from, struct arena *arena, struct tally_status *ret)
{
    struct tally_peer_status *peers = arena_alloc_zero(arena, from->n_peers, sizeof(*peers));
    if (peers == NULL)
        return false;
    for (size_t i = 0; i < from->n_peers; i++) {
        const Tally__V1__PeerStatus *peer = from->peers[i];
        peers[i] = (struct tally_peer_status){
            .region = peer->region,
            .address = peer->address,
            .connected = peer->connected,
            .last_contact_ms_ago = peer->last_contact_ms_ago,
            .error = peer->error,
            .mirrored_size = peer->mirrored_size,
            .lag = peer->lag,
            .certificate_end_s = peer->certificate_end_s,
        };
    }
    ret->peers = peers;
    ret->peer_count = from->n_peers;
    return true;
}

static bool context_fill(const Tally__V1__ContextStatus *from, struct arena *arena, struct tally_context_status *ret)
{
    struct tally_home *homes = arena_alloc_zero(arena, from->n_homes, sizeof(*homes));
    if (homes == NULL)
        return false;
    for (size_t i = 0; i < from->n_homes; i++)
        homes[i] = (struct tally_home){.partition = from->homes[i]->key, .region = from->homes[i]->value};
    *ret = (struct tally_context_status){.name = from->name,
                                         .default_home = from->default_home,
                                         .home_count = from->n_homes,
                                         .homes = homes,
                                         .durability_peers = from->durability_peers,
                                         .when_away = from->when_away,
                                         .away = from->away,
                                         .degraded_writes = from->degraded_writes,
                                         .recovery_events = from->recovery_events,
                                         .recovery_seconds = from->recovery_seconds,
                                         .recovery_then = from->recovery_then,
                                         .ahead_events = from->ahead_events,
                                         .ahead_ms = from->ahead_ms,
                                         .past_bound = from->past_bound,
                                         .lease_ms = from->lease_ms,
                                         .lease_held = from->lease_held,
                                         .lease_left_ms = from->lease_left_ms,
                                         .lease_granters = from->lease_granters,
                                         .lease_needed = from->lease_needed,
                                         .failover = from->failover,
                                         .advice = from->advice,
                                         .failover_ready = from->failover_ready};
    return true;
}

static bool contexts_fill(const Tally__V1__StatusResponse *from, struct arena *arena, struct tally_status *ret)
{
    struct tally_context_status *contexts = arena_alloc_zero(arena, from->n_contexts, sizeof(*contexts));
    struct tally_region_address *regions = arena_alloc_zero(arena, from->n_regions, sizeof(*regions));
    if (contexts == NULL || regions == NULL)
        return false;
    for (size_t i = 0; i < from->n_contexts; i++)
        if (!context_fill(from->contexts[i], arena, &contexts[i]))
            return false;
    for (size_t i = 0; i < from->n_regions; i++)
        regions[i] =
            (struct tally_region_address){.region = from->regions[i]->region, .address = from->regions[i]->address};
    ret->contexts = contexts;
    ret->context_count = from->n_contexts;
    ret->regions = regions;
    ret->region_count = from->n_regions;
    return true;
}

static bool health_fill(const Tally__V1__StatusResponse *from, struct arena *arena, struct tally_status *ret)
{
    struct tally_damage *damages = arena_alloc_zero(arena, from->n_damages, sizeof(*damages));
    struct tally_drift *drifts = arena_alloc_zero(arena, from->n_drifts, sizeof(*drifts));
    if (damages == NULL || drifts == NULL)
        return false;
    for (size_t i = 0; i < from->n_drifts; i++)
        drifts[i] = (struct tally_drift){.subject = from->drifts[i]->subject,
                                         .region = from->drifts[i]->region,
                                         .position = from->drifts[i]->position,
                                         .ours = from->drifts[i]->ours,
                                         .theirs = from->drifts[i]->theirs};
    ret->drifts = drifts;
    ret->drift_count = from->n_drifts;
    for (size_t i = 0; i < from->n_damages; i++) {
        const Tally__V1__Damage *damage = from->damages[i];
        damages[i] = (struct tally_damage){.origin = damage->origin,
                                           .file = damage->file,
                                           .offset = damage->offset,
                                           .first_index = damage->first_index,
                                           .end_index = damage->end_index,
                                           .what = damage->what};
    }
    ret->automatic = (struct tally_automatic_failover){.state = "off", .detail = "", .loss = ""};
    if (from->automatic != NULL)
        ret->automatic = (struct tally_automatic_failover){.state = from->automatic->state,
                                                           .detail = from->automatic->detail,
                                                           .loss = from->automatic->loss,
                                                           .revision = from->automatic->revision,
                                                           .contact_ms_ago = from->automatic->contact_ms_ago,
                                                           .lease_ms = from->automatic->lease_ms,
                                                           .takeovers = from->automatic->takeovers,
                                                           .refusals = from->automatic->refusals};
    ret->certificate = (struct tally_certificate){.state = "none", .subject = "", .problem = ""};
    if (from->certificate != NULL)
        ret->certificate = (struct tally_certificate){.state = from->certificate->state,
                                                      .subject = from->certificate->subject,
                                                      .begin_s = from->certificate->begin_s,
                                                      .end_s = from->certificate->end_s,
                                                      .problem = from->certificate->problem};
    ret->health = from->health;
    ret->damages = damages;
    ret->damage_count = from->n_damages;
    if (from->scrub != NULL) {
        ret->scrub_mib_per_s = from->scrub->mib_per_s;
        ret->scrub_passes = from->scrub->passes;
        ret->scrub_read_bytes = from->scrub->read_bytes;
    }
    return true;
}

int tally_status_get(struct tally_client *client, uint64_t timeout_ms, struct tally_status **ret, struct err *err)
{
    struct status_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    if (answer == NULL)
        return err_no_memory(err, "a status");
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    Tally__V1__StatusRequest request;
    tally__v1__status_request__init(&request);
    ProtobufCMessage *message = NULL;
    int rc = client_call(client, "/tally.v1.Ledger/Status", &request.base, &tally__v1__status_response__descriptor,
                         timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0) {
        const Tally__V1__StatusResponse *from = (const Tally__V1__StatusResponse *)message;
        answer->public = (struct tally_status){
            .cluster = from->cluster,
            .region = from->region,
            .version = from->version,
            .uptime_ms = from->uptime_ms,
            .accepting = from->accepting,
            .position = from->position,
        };
        if (!logs_fill(from, &answer->arena, &answer->public) || !peers_fill(from, &answer->arena, &answer->public) ||
            !contexts_fill(from, &answer->arena, &answer->public) ||
            !health_fill(from, &answer->arena, &answer->public))
            rc = err_no_memory(err, "a status");
    }
    if (rc != 0) {
        tally_status_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

void tally_status_free(struct tally_status *public)
{
    if (public == NULL)
        return;
    struct status_answer *answer = (struct status_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

const char *tally_status_home(const struct tally_status *status, const char *context, const char *partition)
{
    for (size_t i = 0; i < status->context_count; i++) {
        const struct tally_context_status *found = &status->contexts[i];
        if (strcmp(found->name, context) != 0)
            continue;
        for (size_t h = 0; h < found->home_count; h++)
            if (strcmp(found->homes[h].partition, partition) == 0)
                return found->homes[h].region;
        return found->default_home;
    }
    return NULL;
}

const char *tally_status_address(const struct tally_status *status, const char *region)
{
    for (size_t i = 0; i < status->region_count; i++)
        if (strcmp(status->regions[i].region, region) == 0)
            return status->regions[i].address;
    return NULL;
}

/* --- Projections --- */

/* The wait happens in the server: the call itself must outlast it. */
static uint64_t wait_deadline_ms(const char *at_least, uint64_t timeout_ms)
{
    if (at_least == NULL || at_least[0] == '\0')
        return timeout_ms;
    return (timeout_ms == 0 ? PROJECTION_WAIT_DEFAULT_MS : timeout_ms) + PROJECTION_ANSWER_GRACE_MS;
}

static struct tally_projection projection_of(const Tally__V1__ProjectionStatus *from)
{
    return (struct tally_projection){
        .name = from->name,
        .generation = from->generation,
        .position = from->position,
        .state = from->state,
        .error = from->error,
        .rebuild_position = from->rebuild_position,
        .file = from->file,
        .database = from->database,
    };
}

static int projections_fill(struct projections_answer *answer, Tally__V1__ProjectionStatus *const *from, size_t count,
                            struct err *err)
{
    struct tally_projection *items = arena_alloc_zero(&answer->arena, count, sizeof(*items));
    if (items == NULL)
        return err_no_memory(err, "projections");
    for (size_t i = 0; i < count; i++)
        items[i] = projection_of(from[i]);
    answer->public = (struct tally_projections){.count = count, .items = items};
    return 0;
}

/* All calls that answer with ProjectionStatus, or with a list of them when `list`. */
static int projections_call(struct tally_client *client, const char *method, const ProtobufCMessage *request, bool list,
                            uint64_t timeout_ms, struct tally_projections **ret, struct err *err)
{
    struct projections_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    if (answer == NULL)
        return err_no_memory(err, "projections");
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    const ProtobufCMessageDescriptor *type =
        list ? &tally__v1__list_projections_response__descriptor : &tally__v1__projection_status__descriptor;
    ProtobufCMessage *message = NULL;
    int rc = client_call(client, method, request, type, timeout_ms, &answer->arena, &message, NULL, err);
    if (rc == 0 && list) {
        const Tally__V1__ListProjectionsResponse *all = (const Tally__V1__ListProjectionsResponse *)message;
        rc = projections_fill(answer, all->projections, all->n_projections, err);
    } else if (rc == 0) {
        Tally__V1__ProjectionStatus *one = (Tally__V1__ProjectionStatus *)message;
        rc = projections_fill(answer, &one, 1, err);
    }
    if (rc != 0) {
        tally_projections_free(&answer->public);
        return rc;
    }
    *ret = &answer->public;
    return 0;
}

int tally_projection_create(struct tally_client *client, const char *sql, const char *database, uint64_t timeout_ms,
                            struct tally_projections **ret, struct err *err)
{
    Tally__V1__CreateProjectionRequest request;
    tally__v1__create_projection_request__init(&request);
    request.sql = client_text(sql);
    request.database = client_text(database == NULL ? "" : database);
    return projections_call(client, "/tally.v1.Ledger/CreateProjection", &request.base, false, timeout_ms, ret, err);
}

int tally_projection_rebuild(struct tally_client *client, const char *name, uint64_t timeout_ms,
                             struct tally_projections **ret, struct err *err)
{
    Tally__V1__ProjectionRequest request;
    tally__v1__projection_request__init(&request);
    request.name = client_text(name);
    return projections_call(client, "/tally.v1.Ledger/RebuildProjection", &request.base, false, timeout_ms, ret, err);
}

int tally_projection_get(struct tally_client *client, const char *name, const char *at_least, uint64_t timeout_ms,
                         struct tally_projections **ret, struct err *err)
{
    Tally__V1__ProjectionRequest request;
    tally__v1__projection_request__init(&request);
    request.name = client_text(name);
    request.at_least = client_text(at_least);
    request.timeout_ms = timeout_ms;
    return projections_call(client, "/tally.v1.Ledger/GetProjection", &request.base, false,
                            wait_deadline_ms(at_least, timeout_ms), ret, err);
}

int tally_projection_list(struct tally_client *client, uint64_t timeout_ms, struct tally_projections **ret,
                          struct err *err)
{
    Tally__V1__ListProjectionsRequest request;
    tally__v1__list_projections_request__init(&request);
    return projections_call(client, "/tally.v1.Ledger/ListProjections", &request.base, true, timeout_ms, ret, err);
}

void tally_projections_free(struct tally_projections *public)
{
    if (public == NULL)
        return;
    struct projections_answer *answer = (struct projections_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

int tally_projection_digest_get(struct tally_client *client, const char *name, const char *at_least,
                                uint64_t timeout_ms, struct tally_projection_digest **ret, struct err *err)
{
    struct digest_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    if (answer == NULL)
        return err_no_memory(err, "a digest");
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    Tally__V1__ProjectionRequest request;
    tally__v1__projection_request__init(&request);
    request.name = client_text(name);
    request.at_least = client_text(at_least);
    request.timeout_ms = timeout_ms;
    ProtobufCMessage *message = NULL;
    int rc = client_call(client, "/tally.v1.Ledger/DigestProjection", &request.base,
                         &tally__v1__projection_digest__descriptor, wait_deadline_ms(at_least, timeout_ms),
                         &answer->arena, &message, NULL, err);
    if (rc != 0) {
        tally_projection_digest_free(&answer->public);
        return rc;
    }
    const Tally__V1__ProjectionDigest *from = (const Tally__V1__ProjectionDigest *)message;
    answer->public = (struct tally_projection_digest){
        .name = from->name,
        .position = from->position,
        .digest = from->digest,
        .row_count = from->row_count,
        .generation = from->generation,
    };
    *ret = &answer->public;
    return 0;
}

void tally_projection_digest_free(struct tally_projection_digest *public)
{
    if (public == NULL)
        return;
    struct digest_answer *answer = (struct digest_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}

int tally_projection_check(struct tally_client *client, const char *name, uint64_t seeds, uint64_t timeout_ms,
                           struct tally_projection_check **ret, struct err *err)
{
    struct check_answer *answer = mem_alloc_zero(1, sizeof(*answer));
    if (answer == NULL)
        return err_no_memory(err, "a check");
    arena_init(&answer->arena, ANSWER_MEMORY_MAX_BYTES);
    Tally__V1__CheckProjectionRequest request;
    tally__v1__check_projection_request__init(&request);
    request.name = client_text(name);
    request.seeds = seeds;
    ProtobufCMessage *message = NULL;
    int rc = client_call(client, "/tally.v1.Ledger/CheckProjection", &request.base,
                         &tally__v1__projection_check__descriptor, timeout_ms, &answer->arena, &message, NULL, err);
    if (rc != 0) {
        tally_projection_check_free(&answer->public);
        return rc;
    }
    const Tally__V1__ProjectionCheck *from = (const Tally__V1__ProjectionCheck *)message;
    answer->public = (struct tally_projection_check){
        .name = from->name,
        .position = from->position,
        .event_count = from->event_count,
        .seeds = from->seeds,
        .differs = from->differs,
        .seed = from->seed,
        .table = from->table,
    };
    *ret = &answer->public;
    return 0;
}

void tally_projection_check_free(struct tally_projection_check *public)
{
    if (public == NULL)
        return;
    struct check_answer *answer = (struct check_answer *)(void *)public;
    arena_free(&answer->arena);
    mem_free(answer);
}
