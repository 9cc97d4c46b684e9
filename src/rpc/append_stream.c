/* AppendStream: many batches under way on one call.
 *
 * The reading thread decodes and submits; the call's own thread waits for each batch and answers, in the order of the
 * requests. It is woken when a batch is done, not when one comes in: a job is in the queue before the region has it.
 * What is under way is bounded twice, by number and by bytes; at the bound the reader stops taking messages, and gRPC's
 * flow control stops the client.
 *
 * Whatever ends the call, the batches that were submitted are waited for: the region owns them until it is done. When
 * the client is gone (or memory for an answer is not to be had) the answers are dropped and the call is finished first,
 * which also ends a read that waits. */
#include "base/assert.h"
#include "rpc/append.h"
#include "rpc/methods.h"

enum { IN_FLIGHT_MAX_BYTES = 4 * REGION_REQUEST_MAX_BYTES };

struct append_stream {
    struct call *call;
    struct sha256 *sha; /* the reader's */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct rpc_waiter waiter; /* of the call's thread: for each job, and for the reader's end */
    struct queue_link jobs;   /* not taken by the call's thread */
    size_t in_flight;         /* from before the submit until answered */
    size_t in_flight_bytes;
    bool ended;     /* the reader is through */
    bool abandoned; /* nobody will read answers any more */
    int code;       /* why the reader ended: 0 when the client had no more to say */
    struct err err;
};

/* False when the stream was abandoned. */
static bool wait_for_room(struct append_stream *stream, size_t size_bytes)
{
    pthread_mutex_lock(&stream->mutex);
    while (
        !stream->abandoned && stream->in_flight > 0 &&
        (stream->in_flight == RPC_APPENDS_IN_FLIGHT_MAX || stream->in_flight_bytes + size_bytes > IN_FLIGHT_MAX_BYTES))
        pthread_cond_wait(&stream->changed, &stream->mutex);
    bool room = !stream->abandoned;
    if (room) {
        stream->in_flight++;
        stream->in_flight_bytes += size_bytes;
    }
    pthread_mutex_unlock(&stream->mutex);
    return room;
}

static void release_room(struct append_stream *stream, size_t size_bytes)
{
    pthread_mutex_lock(&stream->mutex);
    stream->in_flight--;
    stream->in_flight_bytes -= size_bytes;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
}

static int take_request(struct append_stream *stream, struct err *err)
{
    struct call_message message;
    int code = call_read(stream->call, &message, err);
    if (code != 0)
        return code;
    size_t size_bytes = message.bytes.size_bytes;
    if (!wait_for_room(stream, size_bytes)) {
        call_message_free(&message);
        return err_set(err, ERR_CANCELLED, "the caller is gone");
    }
    struct append_job *job = NULL;
    code = append_job_new(message.bytes, &job, err);
    call_message_free(&message);
    if (code != 0) {
        release_room(stream, size_bytes);
        return code;
    }
    append_job_expect(job, &stream->waiter);
    pthread_mutex_lock(&stream->mutex);
    queue_push_back(&stream->jobs, &job->link);
    pthread_mutex_unlock(&stream->mutex);
    append_job_submit(job, stream->call->backend, stream->sha);
    return 0;
}

static void *read_requests(void *context)
{
    struct append_stream *stream = context;
    struct err err = {0};
    int code = 0;
    while (code == 0)
        code = take_request(stream, &err);
    pthread_mutex_lock(&stream->mutex);
    stream->ended = true;
    if (code != ERR_END) {
        stream->code = code;
        stream->err = err;
    }
    pthread_mutex_unlock(&stream->mutex);
    rpc_waiter_post(&stream->waiter);
    return NULL;
}

/* The next batch in order; NULL when there will be none. */
static struct append_job *next_job(struct append_stream *stream)
{
    for (;;) {
        pthread_mutex_lock(&stream->mutex);
        struct queue_link *link = queue_pop_front(&stream->jobs);
        bool ended = stream->ended;
        pthread_mutex_unlock(&stream->mutex);
        if (link != NULL || ended)
            return link == NULL ? NULL : QUEUE_ITEM(link, struct append_job, link);
        (void)rpc_waiter_take(&stream->waiter, UINT64_MAX);
    }
}

static int answer_refused(struct call *call, struct append_job *job, struct err *err)
{
    Tally__V1__AppendResponse response;
    struct error_detail detail;
    tally__v1__append_response__init(&response);
    error_detail_init(&detail, &job->append.command.refusal, &job->append.command);
    response.tag = job->tag;
    response.error = &detail.message;
    return call_write_message(call, &response.base, err);
}

static int answer(struct call *call, struct append_job *job, struct err *err)
{
    if (job->append.command.refusal.code != 0)
        return answer_refused(call, job, err);
    Tally__V1__AppendResponse response;
    int code = append_job_answer(job, call->backend, &response, err);
    return code != 0 ? code : call_write_message(call, &response.base, err);
}

/* Ends the call now, so that the reader ends too; the batches that are left are still waited for. */
static void abandon(struct append_stream *stream, int code, const struct err *err)
{
    pthread_mutex_lock(&stream->mutex);
    stream->abandoned = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
    call_finish(stream->call, code, err, CALL_FINISH_TIMEOUT_MS);
}

static int answer_all(struct append_stream *stream, struct err *err)
{
    int code = 0;
    struct append_job *job = NULL;
    while ((job = next_job(stream)) != NULL) {
        append_job_wait(job, stream->call);
        if (code == 0) {
            code = answer(stream->call, job, err);
            if (code != 0)
                abandon(stream, code, err);
        }
        release_room(stream, job->size_bytes);
        append_job_free(job);
    }
    return code;
}

int method_append_stream(struct call *call, struct err *err)
{
    struct append_stream stream = {.call = call, .sha = sha256_new()};
    if (stream.sha == NULL)
        return err_no_memory(err, "a hash");
    queue_init(&stream.jobs);
    INVARIANT(pthread_mutex_init(&stream.mutex, NULL) == 0);
    INVARIANT(pthread_cond_init(&stream.changed, NULL) == 0);
    rpc_waiter_init(&stream.waiter);
    pthread_t reader;
    rpc_waiter_expect(&stream.waiter);
    int code = pthread_create(&reader, NULL, read_requests, &stream);
    if (code == 0) {
        code = answer_all(&stream, err);
        pthread_join(reader, NULL);
        if (code == 0 && stream.code != 0)
            code = err_set(err, stream.code, "%s", stream.err.message);
    } else {
        code = err_set(err, ERR_BUSY, "no thread for this call: too many are running");
        rpc_waiter_post(&stream.waiter);
    }
    rpc_waiter_destroy(&stream.waiter);
    pthread_cond_destroy(&stream.changed);
    pthread_mutex_destroy(&stream.mutex);
    sha256_free(stream.sha);
    return code;
}
