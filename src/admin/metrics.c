/* /metrics: Prometheus text format 0.0.4. Every number is a table row: name, type, help, and how to read it, so that
 * what is exported can be seen at a glance and each family is written once. */
#include "admin/route.h"
#include "base/mem.h"

struct sample {
    const struct admin_status *status;
    size_t at; /* which log, peer or context */
};

struct family {
    const char *name;
    const char *type;
    const char *help;
    double (*read)(const struct sample *sample);
};

/* --- Logs --- */

static double log_size(const struct sample *sample)
{
    return (double)sample->status->logs[sample->at].size;
}

static double log_indexed(const struct sample *sample)
{
    return (double)sample->status->logs[sample->at].indexed_size;
}

static double log_signed(const struct sample *sample)
{
    return (double)sample->status->logs[sample->at].checkpoint_size;
}

static double log_published(const struct sample *sample)
{
    return (double)sample->status->logs[sample->at].published_size;
}

static double log_tiles(const struct sample *sample)
{
    return (double)sample->status->tiles_sizes[sample->at];
}

static double log_lag(const struct sample *sample)
{
    const struct region_log_status *log = &sample->status->logs[sample->at];
    return log->known_size > log->size ? (double)(log->known_size - log->size) : 0;
}

static double log_queued(const struct sample *sample)
{
    return (double)sample->status->logs[sample->at].queued_open;
}

static double log_forked(const struct sample *sample)
{
    return sample->status->logs[sample->at].state == REGION_LOG_FORKED;
}

static double log_damaged(const struct sample *sample)
{
    return sample->status->tiles_errors[sample->at][0] != '\0';
}

static const struct family log_families[] = {
    {"tally_log_entries", "gauge", "Durable entries of the log here.", log_size},
    {"tally_log_indexed_entries", "gauge", "Entries that the index has applied.", log_indexed},
    {"tally_log_signed_entries", "gauge", "Entries that the latest signed checkpoint covers.", log_signed},
    {"tally_log_published_entries", "gauge", "Entries that a peer has cosigned.", log_published},
    {"tally_log_tiles_entries", "gauge", "Entries that the Merkle tiles cover.", log_tiles},
    {"tally_log_lag_entries", "gauge", "Entries known to exist elsewhere that are not here.", log_lag},
    {"tally_log_queued_commands", "gauge", "Commands in the log that wait for their homes.", log_queued},
    {"tally_log_forked", "gauge", "1 when two histories of the log were seen.", log_forked},
    {"tally_log_damaged", "gauge", "1 when the log's tiles cannot be made.", log_damaged},
};

/* --- Peers --- */

static double peer_up(const struct sample *sample)
{
    return sample->status->peers[sample->at].up;
}

static double peer_contact(const struct sample *sample)
{
    const struct region_peer_status *peer = &sample->status->peers[sample->at];
    uint64_t now_us = sample->status->now_mono_us;
    return now_us > peer->last_contact_mono_us ? (double)(now_us - peer->last_contact_mono_us) / 1e6 : 0;
}

static double peer_mirrored(const struct sample *sample)
{
    return (double)sample->status->peers[sample->at].mirrored_size;
}

static double peer_certificate(const struct sample *sample)
{
    return (double)sample->status->peers[sample->at].certificate_end_s;
}

static const struct family peer_families[] = {
    {"tally_peer_up", "gauge", "1 when the peer answers.", peer_up},
    {"tally_peer_last_contact_seconds", "gauge", "Time since the peer was heard of.", peer_contact},
    {"tally_peer_mirrored_entries", "gauge", "Entries of this region's log that the peer has stored.", peer_mirrored},
    {"tally_peer_certificate_expires_seconds", "gauge",
     "Unix time when the peer's TLS certificate ends; 0 when it has none, or was not heard of.", peer_certificate},
};

/* --- Contexts --- */

static double context_away(const struct sample *sample)
{
    return sample->status->contexts[sample->at].away;
}

static double context_degraded(const struct sample *sample)
{
    return (double)sample->status->contexts[sample->at].degraded_count;
}

static double context_ahead(const struct sample *sample)
{
    return (double)sample->status->contexts[sample->at].ahead_events;
}

static double context_ahead_seconds(const struct sample *sample)
{
    return (double)sample->status->contexts[sample->at].ahead_ms / 1e3;
}

static double context_past(const struct sample *sample)
{
    return sample->status->contexts[sample->at].past_bound;
}

static double context_lease(const struct sample *sample)
{
    const struct region_context_status *context = &sample->status->contexts[sample->at];
    return context->lease_needed == 0 || context->lease_held;
}

static double context_lease_seconds(const struct sample *sample)
{
    return (double)sample->status->contexts[sample->at].lease_left_ms / 1e3;
}

static double context_home_lost(const struct sample *sample)
{
    return sample->status->contexts[sample->at].advice[0] != '\0';
}

static const struct family context_families[] = {
    {"tally_context_peers_away", "gauge", "1 when fewer peers answer than the context's durability needs.",
     context_away},
    {"tally_context_degraded_writes_total", "counter", "Writes accepted on fewer copies than the context asks for.",
     context_degraded},
    {"tally_context_ahead_events", "gauge", "Events of the context, if it has a recovery point, that are here alone.",
     context_ahead},
    {"tally_context_ahead_seconds", "gauge", "Time since the oldest of them was accepted.", context_ahead_seconds},
    {"tally_context_past_recovery_point", "gauge", "1 when the recovery point is not kept, or held writes back.",
     context_past},
    {"tally_context_lease_held", "gauge", "0 when the context is fenced and this region holds no lease for it.",
     context_lease},
    {"tally_context_lease_left_seconds", "gauge", "For how long the lease lasts without further grants.",
     context_lease_seconds},
    {"tally_context_home_lost", "gauge", "1 when failover is assisted and a home of the context does not answer.",
     context_home_lost},
};

/* --- Automatic failover --- */

static double takeover_state(const struct sample *sample, enum takeover_state state)
{
    return sample->status->takeover.state == state;
}

static double takeover_armed(const struct sample *sample)
{
    return takeover_state(sample, TAKEOVER_ARMED);
}

static double takeover_degraded(const struct sample *sample)
{
    return takeover_state(sample, TAKEOVER_DEGRADED);
}

static double takeover_contact(const struct sample *sample)
{
    uint64_t contact_us = sample->status->takeover.contact_us;
    uint64_t now_us = sample->status->now_mono_us;
    return contact_us != 0 && now_us > contact_us ? (double)(now_us - contact_us) / 1e6 : 0;
}

static double takeover_count(const struct sample *sample)
{
    return (double)sample->status->takeover.takeovers;
}

static double takeover_refusals(const struct sample *sample)
{
    return (double)sample->status->takeover.refusals;
}

static const struct family takeover_families[] = {
    {"tally_automatic_failover_armed", "gauge", "1 when a home that is lost will be claimed.", takeover_armed},
    {"tally_automatic_failover_degraded", "gauge", "1 when etcd is out of reach: failover is assisted.",
     takeover_degraded},
    {"tally_automatic_failover_contact_seconds", "gauge", "Time since etcd was heard of; 0 when it never was.",
     takeover_contact},
    {"tally_automatic_failovers_total", "counter", "Failovers that this region made by itself.", takeover_count},
    {"tally_automatic_failover_refusals_total", "counter", "Attempts that a readiness check stopped.",
     takeover_refusals},
};

/* --- Comparisons with peers --- */

static double drift_differs(const struct sample *sample)
{
    return sample->status->drifts[sample->at].differs;
}

static double drift_comparisons(const struct sample *sample)
{
    return (double)sample->status->drifts[sample->at].comparisons;
}

static const struct family drift_families[] = {
    {"tally_drift", "gauge", "1 when a projection, or the queue of late events, differs from a peer's at one position.",
     drift_differs},
    {"tally_drift_comparisons_total", "counter", "Comparisons made with the peer.", drift_comparisons},
};

/* --- Writing --- */

static int head(struct buf *out, const char *name, const char *type, const char *help)
{
    return buf_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Origins and region names hold nothing that a label would have to escape. */
static int logs(const struct admin_status *status, struct buf *out)
{
    int code = 0;
    for (size_t f = 0; code == 0 && f < sizeof(log_families) / sizeof(log_families[0]); f++) {
        code = head(out, log_families[f].name, log_families[f].type, log_families[f].help);
        for (size_t i = 0; code == 0 && i < status->log_count; i++) {
            const struct sample sample = {.status = status, .at = i};
            code = buf_append_format(out, "%s{origin=\"%s\",own=\"%s\"} %.0f\n", log_families[f].name,
                                     status->logs[i].origin, i == 0 ? "true" : "false", log_families[f].read(&sample));
        }
    }
    return code;
}

static int peers(const struct admin *admin, const struct admin_status *status, struct buf *out)
{
    int code = 0;
    for (size_t f = 0; code == 0 && f < sizeof(peer_families) / sizeof(peer_families[0]); f++) {
        code = head(out, peer_families[f].name, peer_families[f].type, peer_families[f].help);
        for (size_t i = 0; code == 0 && i < status->peer_count; i++) {
            const struct sample sample = {.status = status, .at = i};
            code = buf_append_format(out, "%s{region=\"%s\"} %.3f\n", peer_families[f].name,
                                     admin->backend->config->peers[i].region, peer_families[f].read(&sample));
        }
    }
    return code;
}

/* Names of contexts are any UTF-8 without control characters. */
static int label(struct buf *out, const char *text)
{
    int code = 0;
    for (; code == 0 && *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            code = buf_append_byte(out, '\\');
        if (code == 0)
            code = buf_append_byte(out, (uint8_t)*text);
    }
    return code;
}

static int contexts(const struct admin_status *status, struct buf *out)
{
    int code = 0;
    for (size_t f = 0; code == 0 && f < sizeof(context_families) / sizeof(context_families[0]); f++) {
        code = head(out, context_families[f].name, context_families[f].type, context_families[f].help);
        for (size_t i = 0; code == 0 && i < status->context_count; i++) {
            if (status->contexts[i].name[0] == '\0')
                continue;
            const struct sample sample = {.status = status, .at = i};
            code = buf_append_format(out, "%s{context=\"", context_families[f].name);
            if (code == 0)
                code = label(out, status->contexts[i].name);
            if (code == 0)
                code = buf_append_format(out, "\"} %.3f\n", context_families[f].read(&sample));
        }
    }
    return code;
}

static int takeovers(const struct admin_status *status, struct buf *out)
{
    const struct sample sample = {.status = status};
    int code = 0;
    for (size_t f = 0; code == 0 && f < sizeof(takeover_families) / sizeof(takeover_families[0]); f++) {
        const struct family *family = &takeover_families[f];
        code = head(out, family->name, family->type, family->help);
        if (code == 0)
            code = buf_append_format(out, "%s %.3f\n", family->name, family->read(&sample));
    }
    return code;
}

static double witness_up(const struct sample *sample)
{
    return sample->status->witnesses[sample->at].up;
}

static double witness_cosigned(const struct sample *sample)
{
    return (double)sample->status->witnesses[sample->at].cosigned_size;
}

static const struct family witness_families[] = {
    {"tally_witness_up", "gauge", "1 when the witness cosigned the last checkpoint that was submitted.", witness_up},
    {"tally_witness_cosigned_entries", "gauge", "Entries of this region's log that the witness has cosigned.",
     witness_cosigned},
};

static int witnesses(const struct admin_status *status, struct buf *out)
{
    int code = 0;
    for (size_t f = 0; code == 0 && f < sizeof(witness_families) / sizeof(witness_families[0]); f++) {
        const struct family *family = &witness_families[f];
        code = head(out, family->name, family->type, family->help);
        for (size_t i = 0; code == 0 && i < status->witness_count; i++) {
            const struct sample sample = {.status = status, .at = i};
            code = buf_append_format(out, "%s{witness=\"", family->name);
            if (code == 0)
                code = label(out, status->witnesses[i].name);
            if (code == 0)
                code = buf_append_format(out, "\"} %.0f\n", family->read(&sample));
        }
    }
    return code;
}

static int drifts(const struct admin_status *status, struct buf *out)
{
    int code = 0;
    for (size_t f = 0; code == 0 && f < sizeof(drift_families) / sizeof(drift_families[0]); f++) {
        code = head(out, drift_families[f].name, drift_families[f].type, drift_families[f].help);
        for (size_t i = 0; code == 0 && i < status->drift_count; i++) {
            const struct sample sample = {.status = status, .at = i};
            code =
                buf_append_format(out, "%s{subject=\"%s\",region=\"%s\"} %.0f\n", drift_families[f].name,
                                  status->drifts[i].subject, status->drifts[i].region, drift_families[f].read(&sample));
        }
    }
    return code;
}

static int answers(struct admin *admin, struct buf *out)
{
    int code = head(out, "tally_http_answers_total", "counter", "HTTP answers by class of status.");
    for (unsigned i = 1; code == 0 && i < ADMIN_STATUS_CLASSES; i++)
        code = buf_append_format(out, "tally_http_answers_total{status=\"%uxx\"} %llu\n", i,
                                 (unsigned long long)atomic_load(&admin->answers[i]));
    return code;
}

static int general(const struct admin *admin, const struct admin_status *status, struct buf *out)
{
    int code = head(out, "tally_accepting", "gauge", "1 when the region accepts appends.");
    if (code == 0)
        code = buf_append_format(out, "tally_accepting %d\n", status->accepting ? 1 : 0);
    if (code == 0)
        code = head(out, "tally_uptime_seconds", "gauge", "Time since the start.");
    if (code == 0)
        code = buf_append_format(out, "tally_uptime_seconds %.3f\n",
                                 (double)(status->now_mono_us - admin->backend->start_mono_us) / 1e6);
    if (code == 0)
        code = head(out, "tally_certificate_expires_seconds", "gauge",
                    "Unix time when the TLS certificate that this region shows ends; 0 without TLS.");
    if (code == 0)
        code = buf_append_format(out, "tally_certificate_expires_seconds %llu\n",
                                 (unsigned long long)status->certificate.certificate.end_s);
    return code;
}

void page_metrics(struct admin *admin, struct response *response)
{
    struct admin_status *status = admin_status_get(admin, response);
    if (status == NULL)
        return;
    int code = general(admin, status, &response->body);
    if (code == 0)
        code = logs(status, &response->body);
    if (code == 0)
        code = peers(admin, status, &response->body);
    if (code == 0)
        code = contexts(status, &response->body);
    if (code == 0)
        code = takeovers(status, &response->body);
    if (code == 0)
        code = witnesses(status, &response->body);
    if (code == 0)
        code = drifts(status, &response->body);
    if (code == 0)
        code = answers(admin, &response->body);
    mem_free(status);
    if (code != 0) {
        response_refuse(response, 503, "memory ran out");
        return;
    }
    response->status = 200;
    response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    response->cache_control = ADMIN_NEVER;
}
