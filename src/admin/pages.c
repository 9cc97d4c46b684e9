/* What people and load balancers look at: the dashboard, /health, /status. JSON through jansson. */
#include <jansson.h>
#include <stdio.h>

#include "admin/route.h"
#include "base/mem.h"

#define DASHBOARD_POLICY                                                                                               \
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "                  \
    "frame-ancestors 'none'"

static uint64_t behind(uint64_t known, uint64_t held)
{
    return known > held ? known - held : 0;
}

static int collect(const char *text, size_t size, void *context)
{
    return buf_append(context, bytes_of(text, size)) == 0 ? 0 : -1;
}

/* Takes the value over; NULL counts as out of memory. */
static void answer_json(unsigned status, json_t *value, struct response *response)
{
    if (value == NULL || json_dump_callback(value, collect, &response->body, JSON_INDENT(2)) != 0 ||
        buf_append_byte(&response->body, '\n') != 0) {
        response_refuse(response, 503, "memory ran out");
    } else {
        response->status = status;
        response->content_type = "application/json";
        response->cache_control = ADMIN_NEVER;
    }
    json_decref(value);
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)(value < INT64_MAX ? value : INT64_MAX));
}

void page_dashboard(struct response *response)
{
    if (buf_append(&response->body, bytes_of(dashboard_html, dashboard_html_size_bytes)) != 0) {
        response_refuse(response, 503, "memory ran out");
        return;
    }
    response->status = 200;
    response->content_type = "text/html; charset=utf-8";
    response->cache_control = ADMIN_RECHECK;
    response->security_policy = DASHBOARD_POLICY;
}

/* --- Health --- */

/* fatal: the region cannot do its work, and a load balancer should look elsewhere. A peer that is down is none of that:
 * taking this region out as well would make one outage two. */
static void add_reason(json_t *reasons, const char *reason, bool fatal, const char *about, const char *detail)
{
    (void)json_array_append_new(
        reasons, json_pack("{s:s,s:b,s:s,s:s}", "reason", reason, "fatal", fatal, "about", about, "detail", detail));
}

static bool add_log_reasons(const struct admin_status *status, json_t *reasons)
{
    bool fatal = false;
    if (!status->accepting) {
        fatal = true;
        add_reason(reasons, "not accepting", true, status->logs[0].origin, status->logs[0].detail);
    }
    for (size_t i = 0; i < status->log_count; i++) {
        const struct region_log_status *log = &status->logs[i];
        if (log->state == REGION_LOG_FORKED) {
            fatal = true;
            add_reason(reasons, "forked", true, log->origin, log->detail);
        }
        if (status->tiles_errors[i][0] != '\0') {
            fatal = true;
            add_reason(reasons, "damaged", true, log->origin, status->tiles_errors[i]);
        }
    }
    return fatal;
}

static void add_peer_reasons(const struct admin *admin, const struct admin_status *status, json_t *reasons)
{
    for (size_t i = 0; i < status->peer_count; i++) {
        if (!status->peers[i].up)
            add_reason(reasons, "peer down", false, admin->backend->config->peers[i].region, status->peers[i].error);
    }
}

/* Not fatal: both sides see it, and to take both out would make two outages of a wrong read model. */
static void add_drift_reasons(const struct admin_status *status, json_t *reasons)
{
    for (size_t i = 0; i < status->drift_count && status->drifts[i].differs; i++) {
        const struct drift_verdict *drift = &status->drifts[i];
        char detail[TALLY_ERROR_MESSAGE_MAX_BYTES];
        snprintf(detail, sizeof(detail), "differs from region %s at %.200s: here %s, there %s", drift->region,
                 drift->position, drift->ours, drift->theirs);
        add_reason(reasons, "drift", false, drift->subject, detail);
    }
}

static void add_context_reasons(const struct admin_status *status, json_t *reasons)
{
    for (size_t i = 0; i < status->context_count; i++) {
        if (status->contexts[i].advice[0] != '\0')
            add_reason(reasons, "home lost", false, status->contexts[i].name, status->contexts[i].advice);
    }
}

/* Not fatal: the data plane does not need it. */
static void add_takeover_reasons(const struct admin_status *status, json_t *reasons)
{
    const struct takeover_status *takeover = &status->takeover;
    if (takeover->state == TAKEOVER_DEGRADED)
        add_reason(reasons, "automatic failover degraded to assisted", false, "etcd", takeover->detail);
    if (takeover->stage == TAKEOVER_NOT_READY || takeover->stage == TAKEOVER_REFUSED ||
        takeover->stage == TAKEOVER_UNKNOWN)
        add_reason(reasons, "not seized", false, takeover->context, takeover->loss);
}

/* Not fatal: what is published lacks a cosignature that an auditor may ask for. */
static void add_witness_reasons(const struct admin_status *status, json_t *reasons)
{
    for (size_t i = 0; i < status->witness_count; i++) {
        if (status->witnesses[i].error[0] != '\0')
            add_reason(reasons, "witness", false, status->witnesses[i].name, status->witnesses[i].error);
    }
}

/* Fatal once it has ended: nobody can connect any more. */
static bool add_certificate_reasons(const struct admin_status *status, json_t *reasons)
{
    const struct certificate_status *from = &status->certificate;
    bool expired = from->state == CERTIFICATE_EXPIRED;
    char detail[64];
    char end[CERTIFICATE_TIME_TEXT_BYTES];
    if (expired || from->state == CERTIFICATE_ENDS_SOON) {
        certificate_time_format(from->certificate.end_s, end);
        (void)snprintf(detail, sizeof(detail), "%s at %s", expired ? "it expired" : "it ends", end);
        add_reason(reasons, expired ? "certificate expired" : "certificate ends soon", expired,
                   from->certificate.subject, detail);
    }
    if (from->problem[0] != '\0')
        add_reason(reasons, "certificate not taken up", false, from->certificate.subject, from->problem);
    return expired;
}

void page_health(struct admin *admin, struct response *response)
{
    char damage[TALLY_ERROR_MESSAGE_MAX_BYTES];
    struct admin_status *status = admin_status_get(admin, response);
    if (status == NULL)
        return;
    json_t *reasons = json_array();
    bool fatal = add_log_reasons(status, reasons);
    fatal = add_certificate_reasons(status, reasons) || fatal;
    if (tlog_damaged(admin, damage)) {
        fatal = true;
        add_reason(reasons, "damaged", true, "found by a reader", damage);
    }
    add_peer_reasons(admin, status, reasons);
    add_drift_reasons(status, reasons);
    add_context_reasons(status, reasons);
    add_takeover_reasons(status, reasons);
    add_witness_reasons(status, reasons);
    answer_json(
        fatal ? 503 : 200,
        json_pack("{s:b,s:s,s:o}", "healthy", !fatal, "region", admin->backend->config->region, "reasons", reasons),
        response);
    mem_free(status);
}

/* --- Status --- */

static json_t *logs_json(struct admin *admin, const struct admin_status *status)
{
    json_t *logs = json_array();
    for (size_t i = 0; i < status->log_count; i++) {
        const struct region_log_status *log = &status->logs[i];
        uint64_t shown = 0;
        if (admin->backend->ops->checkpoint(admin->backend, i, NULL, &shown, NULL) != 0)
            shown = 0;
        (void)json_array_append_new(
            logs, json_pack("{s:s,s:b,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "origin", log->origin, "own", i == 0,
                            "state", region_log_state_name(log->state), "detail", log->detail, "size",
                            number(log->size), "indexed_size", number(log->indexed_size), "checkpoint_size",
                            number(log->checkpoint_size), "published_size", number(log->published_size), "tiles_size",
                            number(status->tiles_sizes[i]), "shown_size", number(shown), "lag",
                            number(behind(log->known_size, log->size)), "queued_open", number(log->queued_open)));
    }
    return logs;
}

static json_t *peers_json(const struct admin *admin, const struct admin_status *status)
{
    json_t *peers = json_array();
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct region_peer_status *peer = &status->peers[i];
        json_t *ago = json_null();
        if (peer->heard)
            ago = number(behind(status->now_mono_us, peer->last_contact_mono_us) / 1000);
        (void)json_array_append_new(peers, json_pack("{s:s,s:s,s:b,s:o,s:s,s:o,s:o}", "region",
                                                     admin->backend->config->peers[i].region, "address",
                                                     admin->backend->config->peers[i].address, "connected", peer->up,
                                                     "last_contact_ms_ago", ago, "error", peer->error, "mirrored_size",
                                                     number(peer->mirrored_size), "lag",
                                                     number(behind(status->logs[0].size, peer->mirrored_size))));
    }
    return peers;
}

void page_status(struct admin *admin, struct response *response)
{
    const struct region_config *config = admin->backend->config;
    struct admin_status *status = admin_status_get(admin, response);
    if (status == NULL)
        return;
    answer_json(200,
                json_pack("{s:s,s:s,s:b,s:o,s:o,s:o}", "cluster", config->cluster, "region", config->region,
                          "accepting", status->accepting, "uptime_ms",
                          number(behind(status->now_mono_us, admin->backend->start_mono_us) / 1000), "logs",
                          logs_json(admin, status), "peers", peers_json(admin, status)),
                response);
    mem_free(status);
}
