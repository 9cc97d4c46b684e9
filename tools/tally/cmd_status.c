/* tally status: one region, or several side by side. */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "connect.h"
#include "crypto/certificate.h"
#include "output.h"
#include "tally/client.h"

static void print_logs(const struct tally_status *status)
{
    printf("  %-24s %-12s %12s %12s %12s %12s %8s\n", "log", "state", "size", "indexed", "signed", "published", "lag");
    for (size_t i = 0; i < status->log_count; i++) {
        const struct tally_log_status *log = &status->logs[i];
        printf("  ");
        print_string(log->origin);
        printf("%*s ", (int)(strlen(log->origin) < 24 ? 24 - strlen(log->origin) : 0), "");
        print_string(log->state);
        printf("%*s %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %8" PRIu64 "\n",
               (int)(strlen(log->state) < 12 ? 12 - strlen(log->state) : 0), "", log->size, log->indexed_size,
               log->checkpoint_size, log->published_size, log->lag);
        if (log->queued_open > 0)
            printf("    %" PRIu64 " command%s in it wait%s for the home (tally ticket list --open)\n", log->queued_open,
                   log->queued_open == 1 ? "" : "s", log->queued_open == 1 ? "s" : "");
        if (log->detail[0] != '\0') {
            printf("    ");
            print_string(log->detail);
            putchar('\n');
        }
    }
}

static void print_peers(const struct tally_status *status)
{
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct tally_peer_status *peer = &status->peers[i];
        printf("  peer ");
        print_string(peer->region);
        printf(" (");
        print_string(peer->address);
        printf("): %s, last contact %" PRIu64 ".%" PRIu64 " s ago, holds %" PRIu64 " of our entries, lag %" PRIu64,
               peer->connected ? "connected" : "not connected", peer->last_contact_ms_ago / 1000,
               peer->last_contact_ms_ago % 1000 / 100, peer->mirrored_size, peer->lag);
        if (peer->certificate_end_s != 0) {
            char end[CERTIFICATE_TIME_TEXT_BYTES];
            certificate_time_format(peer->certificate_end_s, end);
            printf(", certificate until %s", end);
        }
        if (peer->error[0] != '\0') {
            printf(": ");
            print_string(peer->error);
        }
        putchar('\n');
    }
}

static void print_health(const struct tally_status *status)
{
    printf("  health ");
    print_string(status->health);
    if (status->scrub_mib_per_s == 0)
        printf(", scrub off\n");
    else
        printf(", scrub at %" PRIu64 " MiB/s: %" PRIu64 " passes, %" PRIu64 " MiB read in this one\n",
               status->scrub_mib_per_s, status->scrub_passes, status->scrub_read_bytes >> 20);
    for (size_t i = 0; i < status->damage_count; i++) {
        const struct tally_damage *damage = &status->damages[i];
        printf("  DAMAGED ");
        print_string(damage->origin);
        printf(", entries %" PRIu64 " to %" PRIu64 ": ", damage->first_index, damage->end_index - 1);
        print_string(damage->file);
        printf(", offset %" PRIu64 ": ", damage->offset);
        print_string(damage->what);
        putchar('\n');
    }
    for (size_t i = 0; i < status->drift_count; i++) {
        const struct tally_drift *drift = &status->drifts[i];
        printf("  DRIFT ");
        print_string(drift->subject);
        printf(" differs from region ");
        print_string(drift->region);
        printf(" at ");
        print_string(drift->position[0] != '\0' ? drift->position : "(start)");
        printf(": here ");
        print_string(drift->ours);
        printf(", there ");
        print_string(drift->theirs);
        putchar('\n');
    }
}

/* A context that promises no more than its home's disk needs no line. */
static void print_promises(const struct tally_context_status *context)
{
    bool bounded = context->recovery_events > 0 || context->recovery_seconds > 0;
    if (context->durability_peers == 0 && !bounded)
        return;
    printf("  context ");
    print_string(context->name);
    if (context->durability_peers > 0) {
        printf(": answers on %" PRIu32 " peers, else ", context->durability_peers);
        print_string(context->when_away);
        printf("%s, %" PRIu64 " degraded writes", context->away ? ", PEERS ARE AWAY" : "", context->degraded_writes);
    }
    if (bounded) {
        printf("%s %" PRIu64 " events here alone, the oldest for %" PRIu64 " ms; bound",
               context->durability_peers > 0 ? ";" : ":", context->ahead_events, context->ahead_ms);
        if (context->recovery_events > 0)
            printf(" %" PRIu64 " events", context->recovery_events);
        if (context->recovery_seconds > 0)
            printf(" %" PRIu64 " s", context->recovery_seconds);
        printf(", then ");
        print_string(context->recovery_then);
        printf("%s", context->past_bound ? ", PAST IT" : "");
    }
    putchar('\n');
}

static void print_lease(const struct tally_context_status *context)
{
    if (context->lease_ms > 0) {
        printf("  context ");
        print_string(context->name);
        printf(": %s, %" PRIu32 " regions grant a lease of %" PRIu64 " ms, %" PRIu32 " must",
               context->lease_held ? "fenced, lease held" : "FENCED, NO LEASE", context->lease_granters,
               context->lease_ms, context->lease_needed);
        if (context->lease_held)
            printf(", %" PRIu64 " ms left", context->lease_left_ms);
        putchar('\n');
    }
    if (context->advice[0] != '\0') {
        printf("  HOME LOST: ");
        print_string(context->advice);
        putchar('\n');
    }
}

static void print_automatic(const struct tally_automatic_failover *automatic)
{
    bool degraded = strcmp(automatic->state, "degraded") == 0;
    if (strcmp(automatic->state, "off") == 0)
        return;
    printf("  automatic failover ");
    print_string(degraded ? "DEGRADED to assisted" : automatic->state);
    if (automatic->detail[0] != '\0') {
        printf(": ");
        print_string(automatic->detail);
    } else {
        printf(": lease of %" PRIu64 " s in etcd, at revision %" PRIu64 ", heard of %" PRIu64 " ms ago; %" PRIu64
               " takeovers, %" PRIu64 " refusals",
               automatic->lease_ms / 1000, automatic->revision, automatic->contact_ms_ago, automatic->takeovers,
               automatic->refusals);
    }
    putchar('\n');
    if (automatic->loss[0] != '\0') {
        printf("  ");
        print_string(automatic->loss);
        putchar('\n');
    }
}

static void print_certificate(const struct tally_certificate *certificate)
{
    char end[CERTIFICATE_TIME_TEXT_BYTES];
    if (strcmp(certificate->state, "none") == 0)
        return;
    bool valid = strcmp(certificate->state, "valid") == 0;
    certificate_time_format(certificate->end_s, end);
    printf("  certificate of ");
    print_string(certificate->subject);
    printf(": ");
    print_string(valid ? "valid" : strcmp(certificate->state, "expired") == 0 ? "EXPIRED" : "ENDS SOON");
    printf(valid ? " until %s" : ", at %s: replace it while the region runs", end);
    if (certificate->problem[0] != '\0') {
        printf("; files that are there are NOT in use: ");
        print_string(certificate->problem);
    }
    putchar('\n');
}

static void print_status(const char *address, const struct tally_status *status)
{
    printf("region ");
    print_string(status->region);
    printf(" of cluster ");
    print_string(status->cluster);
    printf(" at %s: %s, version ", address, status->accepting ? "accepting" : "NOT accepting");
    print_string(status->version);
    printf(", up %" PRIu64 " s\n  position ", status->uptime_ms / 1000);
    print_string(status->position[0] != '\0' ? status->position : "(empty)");
    putchar('\n');
    print_logs(status);
    print_peers(status);
    for (size_t i = 0; i < status->context_count; i++) {
        print_promises(&status->contexts[i]);
        print_lease(&status->contexts[i]);
    }
    print_automatic(&status->automatic);
    print_certificate(&status->certificate);
    print_health(status);
}

/* --- As JSON --- */

static json_t *logs_json(const struct tally_status *status)
{
    json_t *logs = json_array();
    for (size_t i = 0; i < status->log_count; i++) {
        const struct tally_log_status *log = &status->logs[i];
        (void)json_array_append_new(
            logs, json_pack("{s:o,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "origin", json_cstring(log->origin),
                            "own", log->own, "size", json_number(log->size), "indexed_size",
                            json_number(log->indexed_size), "checkpoint_size", json_number(log->checkpoint_size),
                            "published_size", json_number(log->published_size), "lag", json_number(log->lag),
                            "lost_from", json_number(log->lost_from), "lost_to", json_number(log->lost_to),
                            "queued_open", json_number(log->queued_open), "state", json_cstring(log->state), "detail",
                            json_cstring(log->detail)));
    }
    return logs;
}

static json_t *peers_json(const struct tally_status *status)
{
    json_t *peers = json_array();
    for (size_t i = 0; i < status->peer_count; i++) {
        const struct tally_peer_status *peer = &status->peers[i];
        (void)json_array_append_new(
            peers, json_pack("{s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o}", "region", json_cstring(peer->region), "address",
                             json_cstring(peer->address), "connected", peer->connected, "last_contact_ms_ago",
                             json_number(peer->last_contact_ms_ago), "error", json_cstring(peer->error),
                             "mirrored_size", json_number(peer->mirrored_size), "lag", json_number(peer->lag),
                             "certificate_end_s", json_number(peer->certificate_end_s)));
    }
    return peers;
}

static json_t *durability_json(const struct tally_context_status *context)
{
    return json_pack("{s:i,s:o,s:b,s:o}", "peers", (int)context->durability_peers, "when_away",
                     json_cstring(context->when_away), "away", context->away, "degraded_writes",
                     json_number(context->degraded_writes));
}

static json_t *recovery_point_json(const struct tally_context_status *context)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:b}", "events", json_number(context->recovery_events), "seconds",
                     json_number(context->recovery_seconds), "then", json_cstring(context->recovery_then),
                     "ahead_events", json_number(context->ahead_events), "ahead_ms", json_number(context->ahead_ms),
                     "past", context->past_bound);
}

static json_t *lease_json(const struct tally_context_status *context)
{
    return json_pack("{s:o,s:b,s:o,s:i,s:i}", "ms", json_number(context->lease_ms), "held", context->lease_held,
                     "left_ms", json_number(context->lease_left_ms), "granters", (int)context->lease_granters, "needed",
                     (int)context->lease_needed);
}

static json_t *failover_json(const struct tally_context_status *context)
{
    return json_pack("{s:o,s:o,s:b}", "mode", json_cstring(context->failover), "advice", json_cstring(context->advice),
                     "ready", context->failover_ready);
}

static json_t *contexts_json(const struct tally_status *status)
{
    json_t *contexts = json_array();
    for (size_t i = 0; i < status->context_count; i++) {
        const struct tally_context_status *context = &status->contexts[i];
        json_t *homes = json_object();
        for (size_t h = 0; h < context->home_count; h++)
            (void)json_object_set_new(homes, context->homes[h].partition, json_cstring(context->homes[h].region));
        (void)json_array_append_new(
            contexts, json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "name", json_cstring(context->name), "default_home",
                                json_cstring(context->default_home), "homes", homes, "durability",
                                durability_json(context), "recovery_point", recovery_point_json(context), "lease",
                                lease_json(context), "failover", failover_json(context)));
    }
    return contexts;
}

static json_t *damages_json(const struct tally_status *status)
{
    json_t *damages = json_array();
    for (size_t i = 0; i < status->damage_count; i++) {
        const struct tally_damage *damage = &status->damages[i];
        (void)json_array_append_new(damages,
                                    json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "origin", json_cstring(damage->origin),
                                              "file", json_cstring(damage->file), "offset", json_number(damage->offset),
                                              "first_index", json_number(damage->first_index), "end_index",
                                              json_number(damage->end_index), "what", json_cstring(damage->what)));
    }
    return damages;
}

static json_t *drifts_json(const struct tally_status *status)
{
    json_t *drifts = json_array();
    for (size_t i = 0; i < status->drift_count; i++) {
        const struct tally_drift *drift = &status->drifts[i];
        (void)json_array_append_new(drifts, json_pack("{s:o,s:o,s:o,s:o,s:o}", "subject", json_cstring(drift->subject),
                                                      "region", json_cstring(drift->region), "position",
                                                      json_cstring(drift->position), "ours", json_cstring(drift->ours),
                                                      "theirs", json_cstring(drift->theirs)));
    }
    return drifts;
}

static json_t *scrub_json(const struct tally_status *status)
{
    return json_pack("{s:o,s:o,s:o}", "mib_per_s", json_number(status->scrub_mib_per_s), "passes",
                     json_number(status->scrub_passes), "read_bytes", json_number(status->scrub_read_bytes));
}

static json_t *automatic_json(const struct tally_automatic_failover *automatic)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "state", json_cstring(automatic->state), "detail",
                     json_cstring(automatic->detail), "loss", json_cstring(automatic->loss), "revision",
                     json_number(automatic->revision), "contact_ms_ago", json_number(automatic->contact_ms_ago),
                     "lease_ms", json_number(automatic->lease_ms), "takeovers", json_number(automatic->takeovers),
                     "refusals", json_number(automatic->refusals));
}

static json_t *certificate_json(const struct tally_certificate *certificate)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "state", json_cstring(certificate->state), "subject",
                     json_cstring(certificate->subject), "begin_s", json_number(certificate->begin_s), "end_s",
                     json_number(certificate->end_s), "problem", json_cstring(certificate->problem));
}

static json_t *status_json(const char *address, const struct tally_status *status)
{
    json_t *regions = json_object();
    for (size_t i = 0; i < status->region_count; i++)
        (void)json_object_set_new(regions, status->regions[i].region, json_cstring(status->regions[i].address));
    return json_pack("{s:s,s:b,s:o,s:o,s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "server", address,
                     "reachable", true, "cluster", json_cstring(status->cluster), "region",
                     json_cstring(status->region), "version", json_cstring(status->version), "uptime_ms",
                     json_number(status->uptime_ms), "accepting", status->accepting, "position",
                     json_cstring(status->position), "logs", logs_json(status), "peers", peers_json(status), "contexts",
                     contexts_json(status), "regions", regions, "health", json_cstring(status->health), "damages",
                     damages_json(status), "scrub", scrub_json(status), "drifts", drifts_json(status), "automatic",
                     automatic_json(&status->automatic), "certificate", certificate_json(&status->certificate));
}

/* --- The command --- */

static int status_of(const char *address, const struct common *common, struct err *err)
{
    struct tally_client *client = NULL;
    struct tally_status *status = NULL;
    int rc = connect_client(address, &client, err);
    if (rc == 0)
        rc = tally_status_get(client, common->timeout_ms, &status, err);
    if (rc == 0 && common->json)
        rc = print_json(status_json(address, status), err);
    else if (rc == 0)
        print_status(address, status);
    tally_status_free(status);
    tally_client_close(client);
    return rc;
}

static int run_status(const struct command *command, int argc, char **argv)
{
    struct common common = {.timeout_ms = COMMON_TIMEOUT_MS};
    struct option_values servers = {0};
    const struct option options[] = {
        {"server", "HOST:PORT", OPTION_TEXTS, &servers,
         "a region to ask, repeatable (default: $TALLY_SERVER, or 127.0.0.1:7401)"},
        OPTION_TIMEOUT(common),
        OPTION_JSON(common),
    };
    struct arguments arguments;
    int exit_with = 0;
    if (!options_parse(command, OPTIONS(options), argc, argv, 0, 0, &arguments, &exit_with))
        return exit_with;
    if (servers.count == 0)
        servers.items[servers.count++] = server_address(NULL);
    int worst = EXIT_OK;
    for (size_t i = 0; i < servers.count; i++) {
        struct err err = {0};
        if (status_of(servers.items[i], &common, &err) == 0)
            continue;
        int code = fail(&err, common.json);
        worst = code > worst ? code : worst;
    }
    struct err err = {0};
    if (output_flush(&err) != 0)
        return fail(&err, common.json);
    return worst;
}

const struct command command_status = {
    .name = "status",
    .arguments = "",
    .summary = "what regions hold, and how far behind they are",
    .help =
        "Shows each region's logs (its own and its copies of the others'), what is signed and published, its peers, "
        "and\n"
        "lag: how many entries the source is known to have that are not here yet. With --json one object a line.\n\n"
        "Example:\n"
        "  tally status --server 127.0.0.1:7401 --server 127.0.0.1:7402",
    .connects = true,
    .run = run_status,
};
