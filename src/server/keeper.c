/* Keeps the certificate that this region shows: takes up files that were replaced, tells the region how long the
 * certificate is good for (a failover asks, region/failover.c), and warns an operator in time.
 *
 * Every LOOK_INTERVAL_MS the three files are read (client/tls.h). Files that are being replaced one after the other do
 * not belong together for a moment: so what is wrong with them is said when it is still wrong at the next look, once
 * for each complaint, and stays in the status until good files are there.
 *
 * A warning is repeated daily: a certificate that ends is the one loss that everybody could see coming. */
#include "base/assert.h"
#include "base/mem.h"
#include "client/tls.h"
#include "server/internal.h"

enum { LOOK_INTERVAL_MS = 1000, SAY_AGAIN_S = 24 * 3600 };

struct keeper {
    struct server *server;
    pthread_t thread;
    pthread_mutex_t mutex; /* of problem */
    char problem[TALLY_ERROR_MESSAGE_MAX_BYTES];
    char complaint[TALLY_ERROR_MESSAGE_MAX_BYTES]; /* of the last look; "" */
    struct certificate_warning warning;
};

static void tell_region(struct server *server, const struct certificate *certificate)
{
    struct message *message = message_new(REGION_CERTIFICATE);
    if (message == NULL)
        server_die(server, "memory ran out");
    message->event.certificate_end_s = certificate->end_s;
    message_send(server, message);
}

static void set_problem(struct keeper *keeper, const char *problem)
{
    pthread_mutex_lock(&keeper->mutex);
    copy_string(keeper->problem, sizeof(keeper->problem), problem);
    pthread_mutex_unlock(&keeper->mutex);
}

static void say_problem(struct keeper *keeper, const char *complaint)
{
    bool repeated = strcmp(keeper->complaint, complaint) == 0;
    copy_string(keeper->complaint, sizeof(keeper->complaint), complaint);
    if (!repeated || strcmp(keeper->problem, complaint) == 0)
        return;
    set_problem(keeper, complaint);
    server_say(keeper->server, "ALARM: the TLS files are not taken up, and what was in use stays in use: %s",
               complaint);
}

static void look(struct keeper *keeper, struct time_now now)
{
    struct server *server = keeper->server;
    struct err err = {0};
    bool changed = false;
    if (tls_refresh(server->tls, now, &changed, &err) != 0) {
        say_problem(keeper, err.message);
        return;
    }
    keeper->complaint[0] = '\0';
    set_problem(keeper, "");
    if (!changed)
        return;
    struct certificate certificate;
    char end[CERTIFICATE_TIME_TEXT_BYTES];
    tls_certificate(server->tls, &certificate);
    certificate_time_format(certificate.end_s, end);
    server_say(server, "the TLS files were replaced: new connections use the certificate of %s, which ends at %s",
               certificate.subject, end);
    tell_region(server, &certificate);
}

bool certificate_warning_due(struct certificate_warning *last, enum certificate_state state, uint64_t mono_us)
{
    bool again = mono_us - last->said_us >= (uint64_t)SAY_AGAIN_S * 1000000;
    if (state == last->said && !again)
        return false;
    *last = (struct certificate_warning){.said = state, .said_us = mono_us};
    return state == CERTIFICATE_ENDS_SOON || state == CERTIFICATE_EXPIRED;
}

static void warn(struct keeper *keeper, struct time_now now)
{
    struct certificate certificate;
    char end[CERTIFICATE_TIME_TEXT_BYTES];
    tls_certificate(keeper->server->tls, &certificate);
    enum certificate_state state = certificate_state(certificate.begin_s, certificate.end_s, now.wall_us / 1000000);
    if (!certificate_warning_due(&keeper->warning, state, now.mono_us))
        return;
    certificate_time_format(certificate.end_s, end);
    if (state == CERTIFICATE_ENDS_SOON)
        server_say(keeper->server,
                   "ALARM: the TLS certificate of %s ends at %s: replace it in time, while the region runs",
                   certificate.subject, end);
    else
        server_say(
            keeper->server,
            "ALARM: the TLS certificate of %s EXPIRED at %s: nobody can connect any more; put a new one in its place",
            certificate.subject, end);
}

static void *keeper_run(void *context)
{
    struct keeper *keeper = context;
    struct server *server = keeper->server;
    struct certificate certificate;
    tls_certificate(server->tls, &certificate);
    tell_region(server, &certificate);
    while (!atomic_load(&server->stopping)) {
        struct time_now now = clock_now();
        look(keeper, now);
        warn(keeper, now);
        uint64_t until_us = now.mono_us + (uint64_t)LOOK_INTERVAL_MS * 1000;
        struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000) * 1000};
        int waited = 0;
        pthread_mutex_lock(&server->mutex);
        while (!atomic_load(&server->stopping) && waited == 0)
            waited = pthread_cond_timedwait(&server->changed, &server->mutex, &until);
        pthread_mutex_unlock(&server->mutex);
    }
    return NULL;
}

int keeper_start(struct server *server, struct keeper **ret, struct err *err)
{
    if (server->tls == NULL)
        return 0;
    struct keeper *keeper = mem_alloc_zero(1, sizeof(*keeper));
    if (keeper == NULL)
        return err_no_memory(err, "the keeper of certificates");
    keeper->server = server;
    INVARIANT(pthread_mutex_init(&keeper->mutex, NULL) == 0);
    int failure = pthread_create(&keeper->thread, NULL, keeper_run, keeper);
    *ret = keeper; /* on failure the process ends */
    return failure == 0 ? 0 : err_errno(err, failure, "a thread cannot be started");
}

void keeper_stop(struct keeper *keeper)
{
    if (keeper == NULL)
        return;
    pthread_join(keeper->thread, NULL);
    pthread_mutex_destroy(&keeper->mutex);
    mem_free(keeper);
}

void keeper_status(struct server *server, struct certificate_status *ret)
{
    struct keeper *keeper = server->keeper;
    *ret = (struct certificate_status){.state = CERTIFICATE_NONE};
    if (keeper == NULL)
        return;
    tls_certificate(server->tls, &ret->certificate);
    ret->state = certificate_state(ret->certificate.begin_s, ret->certificate.end_s, clock_now().wall_us / 1000000);
    pthread_mutex_lock(&keeper->mutex);
    copy_string(ret->problem, sizeof(ret->problem), keeper->problem);
    pthread_mutex_unlock(&keeper->mutex);
}
