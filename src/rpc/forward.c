/* Forwarding (forward.h): one unary call to the home, on a connection that is kept for the next.
 *
 * The request goes on as it came, with the number of hops added at its end: of a number that stands twice in a message
 * the last one counts. So the home sees what the client said, ids included, and a repetition is a repetition whichever
 * way it takes. A region that has passed a request on has decided nothing about it, and keeps nothing of it. */
#include "rpc/forward.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "client/channel.h"
#include "entry/wire.h"
#include "tally/v1/ledger.pb-c.h"

enum { FIELD_HOPS = 4, HOPS_FIELD_MAX_BYTES = 16, DETAIL_MAX_BYTES = 64 * 1024 };

struct forwarder {
    const struct region_config *config;
    struct tls *tls;
    pthread_mutex_t mutex;
    size_t in_flight;
    struct channel *channels[REGION_PEERS_MAX]; /* opened when first needed */
};

int forwarder_new(const struct region_config *config, struct tls *tls, struct forwarder **ret, struct err *err)
{
    struct forwarder *forwarder = mem_alloc_zero(1, sizeof(*forwarder));
    if (forwarder == NULL)
        return err_no_memory(err, "the forwarder");
    forwarder->config = config;
    forwarder->tls = tls;
    INVARIANT(pthread_mutex_init(&forwarder->mutex, NULL) == 0);
    *ret = forwarder;
    return 0;
}

void forwarder_free(struct forwarder *forwarder)
{
    if (forwarder == NULL)
        return;
    for (size_t i = 0; i < REGION_PEERS_MAX; i++)
        channel_close(forwarder->channels[i]);
    pthread_mutex_destroy(&forwarder->mutex);
    mem_free(forwarder);
}

bool forward_wanted(const struct append_job *job)
{
    const struct region_refusal *refusal = &job->append.command.refusal;
    return job->forward && job->hops < FORWARD_HOPS_MAX && refusal->code == ERR_WRONG_HOME &&
           refusal->home_address[0] != '\0';
}

/* A place among those in flight, and the connection to the region. */
static int take_channel(struct forwarder *forwarder, const char *region, struct channel **ret, struct err *err)
{
    size_t peer = 0;
    int code = 0;
    while (peer < forwarder->config->peer_count && strcmp(forwarder->config->peers[peer].region, region) != 0)
        peer++;
    if (peer == forwarder->config->peer_count)
        return err_set(err, ERR_UNAVAILABLE, "region %s, the home, is not a peer of this one", region);
    pthread_mutex_lock(&forwarder->mutex);
    if (forwarder->in_flight >= FORWARDS_IN_FLIGHT_MAX)
        code = err_set(err, ERR_BUSY, "%d requests are being forwarded already; retry after a pause, or ask region %s",
                       FORWARDS_IN_FLIGHT_MAX, region);
    if (code == 0 && forwarder->channels[peer] == NULL)
        code = channel_open(forwarder->config->peers[peer].address, forwarder->tls, &forwarder->channels[peer], err);
    if (code == 0) {
        forwarder->in_flight++;
        *ret = forwarder->channels[peer];
    }
    pthread_mutex_unlock(&forwarder->mutex);
    return code;
}

static void give_back(struct forwarder *forwarder)
{
    pthread_mutex_lock(&forwarder->mutex);
    forwarder->in_flight--;
    pthread_mutex_unlock(&forwarder->mutex);
}

static void copy_bounded(char *out, size_t capacity, const char *text)
{
    snprintf(out, capacity, "%s", text);
}

/* The home's refusal becomes the job's. */
static void refuse_as_home(struct append_job *job, struct bytes encoded, int code, const struct err *why)
{
    struct region_refusal refusal = {.code = code, .err = *why};
    struct arena arena;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, DETAIL_MAX_BYTES);
    if (message_unpack(&tally__v1__error_detail__descriptor, encoded, &arena, &message, NULL) == 0) {
        const Tally__V1__ErrorDetail *detail = (const Tally__V1__ErrorDetail *)message;
        refusal.write_number = detail->write_number;
        refusal.retry_after_ms = detail->retry_after_ms;
        copy_bounded(refusal.expected, sizeof(refusal.expected), detail->expected);
        copy_bounded(refusal.actual, sizeof(refusal.actual), detail->actual);
        copy_bounded(refusal.home_region, sizeof(refusal.home_region), detail->home_region);
        copy_bounded(refusal.home_address, sizeof(refusal.home_address), detail->home_address);
        if (detail->event_id.len == ENTRY_ID_SIZE)
            memcpy(refusal.event_id, detail->event_id.data, ENTRY_ID_SIZE);
    }
    arena_free(&arena);
    job->append.command.refusal = refusal;
}

static int add_hop(struct bytes encoded, uint32_t hops, struct buf *out, struct err *err)
{
    uint8_t field[HOPS_FIELD_MAX_BYTES];
    uint8_t *end = wire_put_varint(wire_put_tag(field, FIELD_HOPS, WIRE_VARINT), hops);
    int code = buf_append(out, encoded);
    if (code == 0)
        code = buf_append(out, bytes_of(field, (size_t)(end - field)));
    return code == 0 ? 0 : err_no_memory(err, "a forwarded request");
}

static int answer_as_home(struct append_job *job, struct bytes encoded, ProtobufCMessage **ret, struct err *err)
{
    int code = message_unpack(&tally__v1__append_response__descriptor, encoded, &job->append.arena, ret, err);
    if (code != 0)
        return err_set(err, ERR_CORRUPT,
                       "region %s, the home, sent an answer that is none; append again, with the same ids",
                       job->append.command.refusal.home_region);
    return 0;
}

static int ask_home(struct append_job *job, struct channel *channel, struct bytes encoded, uint64_t timeout_ms,
                    ProtobufCMessage **ret, bool *ret_refused, struct err *err)
{
    struct buf request;
    struct buf response;
    struct buf detail;
    buf_init(&request, REGION_REQUEST_MAX_BYTES + HOPS_FIELD_MAX_BYTES);
    buf_init(&response, RPC_MESSAGE_MAX_BYTES);
    buf_init(&detail, DETAIL_MAX_BYTES);
    struct err why = {0};
    int code = add_hop(encoded, job->hops + 1, &request, err);
    if (code == 0) {
        code =
            channel_unary(channel, "/tally.v1.Ledger/Append", buf_bytes(&request),
                          timeout_ms < FORWARD_TIMEOUT_MS ? timeout_ms : FORWARD_TIMEOUT_MS, &response, &detail, &why);
        *ret_refused = code != 0 && detail.size_bytes > 0;
        if (code == 0)
            code = answer_as_home(job, buf_bytes(&response), ret, err);
        else if (*ret_refused)
            refuse_as_home(job, buf_bytes(&detail), code, &why);
        else
            err_set(err, code, "forwarded to region %s, the home: %.400s", job->append.command.refusal.home_region,
                    why.message);
    }
    buf_free(&detail);
    buf_free(&response);
    buf_free(&request);
    return code;
}

int forward_append(struct forwarder *forwarder, struct append_job *job, struct bytes encoded, uint64_t timeout_ms,
                   ProtobufCMessage **ret, bool *ret_refused, struct err *err)
{
    struct channel *channel = NULL;
    *ret_refused = false;
    int code = take_channel(forwarder, job->append.command.refusal.home_region, &channel, err);
    if (code != 0)
        return code;
    code = ask_home(job, channel, encoded, timeout_ms, ret, ret_refused, err);
    give_back(forwarder);
    return code;
}
