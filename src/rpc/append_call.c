/* Append and AppendStream, a state machine a call.
 *
 *                 .-- message --> prepared --> decided --.
 *   requested --> |                                      |--> ending --> gone from memory
 *                 '-- no more messages ------------------'
 *
 * A message becomes a batch: prepared (append.h) here when it is small, by a helper when it is large, then submitted. A
 * stream reads the next message meanwhile, and prepares one at a time, so that batches reach the region in the order of
 * the messages. The region decides them in any order; answers go out in the order of the messages, one write at a time.
 * What is under way in a stream is bounded twice, by number and by bytes, from before a batch is prepared until its
 * answer is written; at the bound the message that was read waits, no other is read, and gRPC's flow control stops the
 * client. A call of Append has one message, and its answer goes out together with the status. A batch that is to be
 * forwarded (forward.h) waits for the home on a thread of its own.
 *
 * Reading ahead costs a packet each time: a read that waits lets gRPC tell the client at once that there is room for
 * more. So for a client that always waits for its answer, the next read starts together with the answer and is part of
 * the same packet. Who sends ahead is found out by trying: some messages are read ahead, and when one of them comes
 * before the answer to the one before, the following are too.
 *
 * Everything that happens sets what it is about and then calls `advance`, which starts all that can be started now and
 * frees the call when nothing is left. So the order in which things come does not matter.
 *
 * Invariants:
 *  1. At most one operation of each kind is with gRPC: reading, writing, ending, and the close notice from the start.
 *     Memory that gRPC writes to is the call's, and the call is freed only when all have come back.
 *  2. A batch that was submitted is in `batches` until the region is done with it, whatever becomes of the client.
 *  3. The call is over when its status has been sent (`ending`) or the client has gone before that (`gone`; gRPC needs
 * no status then). From then on no message is taken and no answer written; what is decided is dropped.
 *
 * A client that takes no bytes can hold up a write for as long as its connection lives (keepalive ends a dead one), but
 * not a status: when that could not be sent for a while the call is cancelled, which completes whatever is pending.
 * When nobody waits for an answer any more the region is told (give_up), until it has taken note. */
#include "rpc/append_call.h"

#include <grpc/byte_buffer.h>
#include <grpc/support/time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "platform/clock.h"
#include "rpc/append.h"
#include "rpc/forward.h"
#include "rpc/server.h"

enum {
    IN_FLIGHT_MAX_BYTES = 4 * REGION_REQUEST_MAX_BYTES,
    IN_PLACE_MAX_BYTES = 16 * 1024, /* what takes longer to prepare than handing it over */
    AHEAD_MESSAGES = 8,
    AHEAD_TRY_EVERY = 16,    /* of a client that waits for its answers, so often a message is read ahead all the same */
    REFUSE_TIMEOUT_MS = 100, /* a refusal that could not be sent for so long is given up */
};

/* In the job's arena. */
struct batch {
    struct queue_link link;
    struct append_call *call;
    struct append_job *job;
    struct appender_note note; /* it is decided, or has been forwarded */
    bool submitted;            /* by a helper */
    bool decided;
    bool given_up;
    bool forwarded;              /* with this outcome: */
    int code;                    /* 0, or */
    struct err err;              /* why not, unless */
    bool refused;                /* the home refused it, see the job */
    ProtobufCMessage *answer;    /* the home's */
    struct call_message message; /* kept when it may be forwarded */
};

struct append_call {
    struct queue_link link; /* among the appender's, once there is a client */
    struct appender *appender;
    enum append_method method;
    bool refused; /* there was no place for it */
    grpc_call *core;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    struct appender_tag bound, closed, read, written, ended;

    bool reading;
    bool read_all;              /* the client has no more to say, or nothing more is taken from it */
    grpc_byte_buffer *received; /* where gRPC writes */
    grpc_byte_buffer *message;  /* one that was read, and waits */
    bool reads_with_answer;     /* the read under way, of which the write is a part */
    bool reads_ahead;           /* the next message is read before what was taken is answered */
    unsigned ahead; /* messages that may come one by one until the client counts as waiting for its answers */
    unsigned taken; /* messages */

    bool preparing;                    /* another one, and what comes of it: */
    grpc_byte_buffer *preparing_bytes; /* until they are in one piece: */
    struct call_message preparing_message;
    struct batch *batch;
    int batch_code; /* why there is none */
    struct err batch_err;
    struct appender_task task;
    struct appender_note prepared;

    struct queue_link batches;
    size_t in_flight;
    size_t in_flight_bytes;

    bool writing;
    size_t writing_bytes; /* what is in flight no more when it is written */
    grpc_byte_buffer *sending;
    bool headers_sent;

    bool is_closed; /* the close notice came */
    int cancelled;  /* where gRPC writes with it */
    bool gone;
    bool ending;
    bool has_ended;
    bool hurried;
    uint64_t end_until_us; /* when sending the status is given up */
    int code;              /* why nothing more is taken from the client: what a stream ends with */
    struct err err;
};

static void advance(struct append_call *call);

static bool over(const struct append_call *call)
{
    return call->gone || call->ending;
}

static void start(struct append_call *call, const grpc_op *operations, size_t count, struct appender_tag *tag)
{
    grpc_call_error code = grpc_call_start_batch(call->core, operations, count, tag, NULL);
    INVARIANT(code == GRPC_CALL_OK);
}

/* --- The end --- */

static size_t add_headers(struct append_call *call, grpc_op *operations)
{
    if (call->headers_sent)
        return 0;
    operations[0] = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    call->headers_sent = true;
    return 1;
}

/* Sends the status, after the answer if there is one. detail NULL: all is well. */
static void end(struct append_call *call, const ProtobufCMessage *answer, const struct error_detail *detail)
{
    PRE(!over(call) && !call->writing);
    struct status_op status;
    grpc_op operations[3];
    size_t count = add_headers(call, operations);
    if (answer != NULL) {
        grpc_slice slice = call_pack(answer);
        call->sending = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        operations[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
        operations[count++].data.send_message.send_message = call->sending;
    }
    status_op_begin(detail, &status, &operations[count++]);
    call->ending = true;
    call->end_until_us =
        clock_now().mono_us + (call->refused ? REFUSE_TIMEOUT_MS : CALL_FINISH_TIMEOUT_MS) * (uint64_t)1000;
    call->appender->restless++;
    start(call, operations, count, &call->ended);
    status_op_end(&status);
}

static void fail(struct append_call *call, int code, const struct err *err)
{
    struct error_detail detail;
    error_detail_init_plain(&detail, code, err);
    end(call, NULL, &detail);
}

static void on_ended(struct appender_tag *tag, bool success)
{
    struct append_call *call = QUEUE_ITEM(tag, struct append_call, ended);
    (void)success;
    call->has_ended = true;
    advance(call);
}

static void give_up_batches(struct append_call *call)
{
    struct rpc_backend *backend = call->appender->backend;
    appender_flush(call->appender); /* so that the region knows them */
    for (struct queue_link *link = call->batches.next; link != &call->batches; link = link->next) {
        struct batch *batch = QUEUE_ITEM(link, struct batch, link);
        if (!batch->decided && !batch->given_up && !batch->forwarded)
            batch->given_up = backend->ops->give_up(backend, batch->job->append.command.number, NULL) == 0;
    }
}

static void on_closed(struct appender_tag *tag, bool success)
{
    struct append_call *call = QUEUE_ITEM(tag, struct append_call, closed);
    (void)success;
    call->is_closed = true;
    if (!call->ending) {
        call->gone = true;
        call->appender->restless++;
        give_up_batches(call);
    }
    advance(call);
}

void append_call_tick(struct append_call *call, uint64_t now_mono_us)
{
    if (call->gone || call->appender->backend->ops->stopping(call->appender->backend))
        give_up_batches(call);
    if (!call->ending || call->has_ended || call->hurried || now_mono_us < call->end_until_us)
        return;
    call->hurried = true;
    grpc_call_cancel(call->core, NULL);
}

static bool at_rest(const struct append_call *call)
{
    return call->is_closed && (call->has_ended || !call->ending) && !call->reading && !call->writing &&
           !call->preparing && queue_empty(&call->batches);
}

static void free_call(struct append_call *call)
{
    if (call->sending != NULL)
        grpc_byte_buffer_destroy(call->sending);
    if (call->core != NULL)
        grpc_call_unref(call->core);
    grpc_metadata_array_destroy(&call->metadata);
    mem_free(call);
}

static void leave(struct append_call *call)
{
    struct appender *appender = call->appender;
    bool refused = call->refused;
    queue_remove(&call->link);
    free_call(call);
    appender->restless--;
    if (refused)
        appender->refusing--;
    else
        rpc_server_give_place_back(appender->server); /* last: the server may stop then */
}

/* --- Answers --- */

static void free_batch(struct batch *batch)
{
    if (batch->message.bytes.data != NULL)
        call_message_free(&batch->message);
    append_job_free(batch->job); /* and with its arena the batch */
}

static void release_room(struct append_call *call, size_t size_bytes)
{
    call->in_flight--;
    call->in_flight_bytes -= size_bytes;
}

/* Whether the next message may be read now. */
static bool wants_message(const struct append_call *call)
{
    return call->method == APPEND_STREAM && !over(call) && !call->reading && !call->read_all && call->message == NULL &&
           (call->in_flight == 0 || call->reads_ahead);
}

static grpc_op reading_operation(struct append_call *call)
{
    grpc_op operation = {.op = GRPC_OP_RECV_MESSAGE};
    operation.data.recv_message.recv_message = &call->received;
    call->reading = true;
    return operation;
}

static void start_reading(struct append_call *call)
{
    grpc_op operation = reading_operation(call);
    start(call, &operation, 1, &call->read);
}

static void write_message(struct append_call *call, const ProtobufCMessage *message, size_t size_bytes)
{
    grpc_op operations[3];
    grpc_slice slice = call_pack(message);
    size_t count = add_headers(call, operations);
    call->sending = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    operations[count] = (grpc_op){.op = GRPC_OP_SEND_MESSAGE};
    operations[count++].data.send_message.send_message = call->sending;
    call->writing = true;
    call->writing_bytes = size_bytes;
    struct appender_tag *tag = &call->written;
    if (call->in_flight == 1 && !call->reads_ahead && !call->reading && !call->read_all) {
        operations[count++] = reading_operation(call);
        call->reads_with_answer = true;
        tag = &call->read; /* announced when both are done */
    }
    start(call, operations, count, tag);
}

static void finish_writing(struct append_call *call)
{
    call->writing = false;
    grpc_byte_buffer_destroy(call->sending);
    call->sending = NULL;
    release_room(call, call->writing_bytes);
}

static void on_written(struct appender_tag *tag, bool success)
{
    struct append_call *call = QUEUE_ITEM(tag, struct append_call, written);
    struct err err = {0};
    finish_writing(call);
    if (!success && !over(call))
        fail(call, err_set(&err, ERR_CANCELLED, "the caller is gone"), &err);
    advance(call);
}

static void write_refused(struct append_call *call, const struct batch *batch)
{
    const struct region_command *command = &batch->job->append.command;
    Tally__V1__AppendResponse response;
    struct error_detail detail;
    tally__v1__append_response__init(&response);
    error_detail_init(&detail, &command->refusal, command);
    response.tag = batch->job->tag;
    response.error = &detail.message;
    write_message(call, &response.base, batch->job->size_bytes);
}

static void answer_in_stream(struct append_call *call, const struct batch *batch)
{
    Tally__V1__AppendResponse response;
    struct err err = {0};
    if (batch->job->append.command.refusal.code != 0) {
        write_refused(call, batch);
        return;
    }
    int code = append_job_answer(batch->job, call->appender->backend, &response, &err);
    if (code == 0) {
        write_message(call, &response.base, batch->job->size_bytes);
    } else {
        release_room(call, batch->job->size_bytes);
        fail(call, code, &err);
    }
}

static void end_refused(struct append_call *call, const struct batch *batch)
{
    const struct region_command *command = &batch->job->append.command;
    struct error_detail detail;
    error_detail_init(&detail, &command->refusal, command);
    end(call, NULL, &detail);
}

static void answer_alone(struct append_call *call, const struct batch *batch)
{
    Tally__V1__AppendResponse response;
    struct err err = {0};
    release_room(call, batch->job->size_bytes);
    if (batch->forwarded && batch->code == 0) {
        end(call, batch->answer, NULL);
    } else if (batch->forwarded && !batch->refused) {
        fail(call, batch->code, &batch->err);
    } else if (batch->job->append.command.refusal.code != 0) {
        end_refused(call, batch);
    } else {
        int code = append_job_answer(batch->job, call->appender->backend, &response, &err);
        if (code == 0)
            end(call, &response.base, NULL);
        else
            fail(call, code, &err);
    }
}

/* --- Forwarding --- */

static uint64_t remaining_ms(const struct append_call *call)
{
    gpr_timespec deadline = gpr_convert_clock_type(call->deadline, GPR_CLOCK_MONOTONIC);
    int32_t left_ms = gpr_time_to_millis(gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC)));
    return left_ms < 1 ? 1 : (uint64_t)left_ms; /* of a deadline far away it makes INT32_MAX */
}

static void on_forwarded(struct appender_note *note)
{
    struct batch *batch = QUEUE_ITEM(note, struct batch, note);
    batch->decided = true;
    advance(batch->call);
}

static void *forward(void *context)
{
    struct batch *batch = context;
    struct appender *appender = batch->call->appender;
    batch->code = forward_append(rpc_server_forwarder(appender->server), batch->job, batch->message.bytes,
                                 remaining_ms(batch->call), &batch->answer, &batch->refused, &batch->err);
    appender_post(appender, &batch->note);
    return NULL;
}

/* The batch is undecided again until its thread is through. */
static void start_forwarding(struct batch *batch)
{
    batch->forwarded = true;
    batch->decided = false;
    batch->note.arrive = on_forwarded;
    if (rpc_server_start_thread(forward, batch) == 0)
        return;
    batch->decided = true;
    batch->code = err_set(&batch->err, ERR_BUSY, "no thread for this call: too many are running");
}

static bool answer_next(struct append_call *call)
{
    if (call->writing || queue_empty(&call->batches))
        return false;
    struct batch *batch = QUEUE_ITEM(call->batches.next, struct batch, link);
    if (batch->decided && !batch->forwarded && !over(call) && call->method == APPEND_UNARY &&
        forward_wanted(batch->job))
        start_forwarding(batch);
    if (!batch->decided)
        return false;
    queue_remove(&batch->link);
    if (over(call))
        release_room(call, batch->job->size_bytes);
    else if (call->method == APPEND_UNARY)
        answer_alone(call, batch);
    else
        answer_in_stream(call, batch);
    free_batch(batch);
    return true;
}

/* --- Messages --- */

static void on_read(struct appender_tag *tag, bool success)
{
    struct append_call *call = QUEUE_ITEM(tag, struct append_call, read);
    (void)success; /* a failure is the end of messages; the close notice says the rest */
    call->reading = false;
    if (call->reads_with_answer)
        finish_writing(call);
    call->reads_with_answer = false;
    if (call->received == NULL) {
        call->read_all = true;
    } else {
        call->message = call->received;
        call->received = NULL;
    }
    advance(call);
}

/* On any thread. */
static void on_done(struct rpc_append *append)
{
    struct batch *batch = append->context;
    appender_post(batch->call->appender, &batch->note);
}

static void on_decided(struct appender_note *note)
{
    struct batch *batch = QUEUE_ITEM(note, struct batch, note);
    batch->decided = true;
    advance(batch->call);
}

/* Makes call->batch of call->preparing_message. Any thread: nobody else touches these meanwhile. */
static void prepare(struct append_call *call, struct append_tools *tools)
{
    struct append_job *job = NULL;
    call->batch = NULL;
    call_message_take(call->preparing_bytes, &call->preparing_message);
    call->batch_code = append_job_new(call->preparing_message.bytes, &job, &call->batch_err);
    if (call->batch_code != 0)
        return;
    call->batch = arena_alloc_zero(&job->append.arena, 1, sizeof(*call->batch));
    if (call->batch == NULL) {
        call->batch_code = err_no_memory(&call->batch_err, "an append");
        append_job_free(job);
        return;
    }
    *call->batch = (struct batch){.call = call, .job = job, .note = {.arrive = on_decided}};
    job->append.done = on_done;
    job->append.context = call->batch;
    append_job_prepare(job, call->appender->backend, tools);
    call->batch->decided = job->append.command.refusal.code != 0;
}

/* Nothing more is taken from the client; what was taken is answered first. */
static void stop_reading(struct append_call *call, int code, const struct err *err)
{
    call->read_all = true;
    call->code = code;
    call->err = *err;
}

/* Whether it is too late to submit what a call of Append brought. Any thread. */
static bool too_late(const struct append_call *call)
{
    struct rpc_backend *backend = call->appender->backend;
    return call->method == APPEND_UNARY && backend->ops->stopping(backend);
}

/* The batch is among those of the call from now on, and with the region unless it is refused. */
static void keep(struct append_call *call, struct batch *batch)
{
    if (call->method == APPEND_UNARY && batch->job->forward)
        call_message_move(&call->preparing_message, &batch->message);
    queue_push_back(&call->batches, &batch->link);
    if (batch->submitted && over(call))
        give_up_batches(call);
    else if (!batch->submitted && !batch->decided)
        appender_submit(call->appender, &batch->job->append);
}

static void take_prepared(struct append_call *call)
{
    struct batch *batch = call->batch;
    struct err err = {0};
    size_t size_bytes = call->preparing_message.bytes.size_bytes;
    bool kept = batch != NULL && (batch->submitted || (!over(call) && !too_late(call)));
    call->preparing = false;
    call->batch = NULL;
    if (batch == NULL)
        stop_reading(call, call->batch_code, &call->batch_err);
    else if (kept)
        keep(call, batch);
    else
        stop_reading(call, err_set(&err, ERR_UNAVAILABLE, "the server is stopping; try again soon, or another region"),
                     &err);
    if (!kept) {
        append_job_free(batch == NULL ? NULL : batch->job);
        release_room(call, size_bytes);
    }
    if (call->preparing_message.bytes.data != NULL)
        call_message_free(&call->preparing_message);
}

static void on_prepared(struct appender_note *note)
{
    struct append_call *call = QUEUE_ITEM(note, struct append_call, prepared);
    take_prepared(call);
    advance(call);
}

/* On a helper's thread. It submits too, which spares a large batch one way through the appender; so the region may be
 * done with the batch before it is among those of the call. */
static void prepare_elsewhere(struct appender_task *task, struct append_tools *tools)
{
    struct append_call *call = QUEUE_ITEM(task, struct append_call, task);
    struct rpc_backend *backend = call->appender->backend;
    prepare(call, tools);
    if (call->batch != NULL && !call->batch->decided && !too_late(call)) {
        struct rpc_append *append = &call->batch->job->append;
        struct err err = {0};
        call->batch->submitted = true;
        if (backend->ops->submit(backend, &append, 1, &err) != 1)
            appender_refuse(append, &err);
    }
    appender_post(call->appender, &call->prepared);
}

static bool has_room(const struct append_call *call, size_t size_bytes)
{
    return call->in_flight == 0 ||
           (call->in_flight < RPC_APPENDS_IN_FLIGHT_MAX && call->in_flight_bytes + size_bytes <= IN_FLIGHT_MAX_BYTES);
}

static void look_ahead(struct append_call *call)
{
    if (call->in_flight > 0)
        call->ahead = AHEAD_MESSAGES;
    else if (call->ahead > 0)
        call->ahead--;
    call->reads_ahead = call->ahead > 0 || ++call->taken % AHEAD_TRY_EVERY == 0;
}

static bool take_message(struct append_call *call)
{
    size_t size_bytes = call->message == NULL ? 0 : grpc_byte_buffer_length(call->message);
    if (call->message == NULL || call->preparing || !has_room(call, size_bytes))
        return false;
    call->preparing_bytes = call->message;
    call->message = NULL;
    call->preparing = true;
    look_ahead(call);
    call->in_flight++;
    call->in_flight_bytes += size_bytes;
    if (size_bytes > IN_PLACE_MAX_BYTES) {
        appender_flush(call->appender); /* what this call submitted before comes before it */
        appender_help(call->appender, &call->task);
    } else {
        prepare(call, &call->appender->tools);
        take_prepared(call);
    }
    return true;
}

static void drop_message(struct append_call *call)
{
    if (call->message != NULL)
        grpc_byte_buffer_destroy(call->message);
    call->message = NULL;
}

/* --- All of it --- */

/* When everything that the client said is answered. */
static void end_of_messages(struct append_call *call)
{
    struct err err = {0};
    if (call->method == APPEND_UNARY && call->code == 0)
        fail(call, err_set(&err, ERR_INVALID, "the call carries no AppendRequest"), &err);
    else if (call->code != 0)
        fail(call, call->code, &call->err);
    else
        end(call, NULL, NULL);
}

/* Last in everything that happens: the call may be gone after it. */
static void advance(struct append_call *call)
{
    bool moved = true;
    while (moved) {
        if (over(call) || call->code != 0)
            drop_message(call);
        moved = take_message(call);
        if (wants_message(call))
            start_reading(call);
        moved = answer_next(call) || moved;
    }
    if (!over(call) && call->read_all && call->message == NULL && !call->preparing && !call->writing &&
        queue_empty(&call->batches))
        end_of_messages(call);
    if (over(call) && at_rest(call))
        leave(call);
}

static void on_bound(struct appender_tag *tag, bool success)
{
    struct append_call *call = QUEUE_ITEM(tag, struct append_call, bound);
    struct appender *appender = call->appender;
    struct err err = {0};
    appender_requested(appender, call->method, success);
    if (!success) {
        free_call(call);
        return;
    }
    queue_push_back(&appender->calls, &call->link);
    grpc_op operation = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    operation.data.recv_close_on_server.cancelled = &call->cancelled;
    start(call, &operation, 1, &call->closed);
    if (rpc_server_take_place(appender->server, false)) {
        start_reading(call);
        return;
    }
    call->refused = true;
    appender->refusing++;
    fail(call, err_set(&err, ERR_BUSY, "the server has %d calls running, its limit; try again soon", RPC_CALLS_MAX),
         &err);
}

bool append_call_request(struct appender *appender, enum append_method method)
{
    struct append_call *call = mem_alloc_zero(1, sizeof(*call));
    if (call == NULL)
        return false;
    call->appender = appender;
    call->method = method;
    call->ahead = AHEAD_MESSAGES;
    call->bound.complete = on_bound;
    call->closed.complete = on_closed;
    call->read.complete = on_read;
    call->written.complete = on_written;
    call->ended.complete = on_ended;
    call->task.run = prepare_elsewhere;
    call->prepared.arrive = on_prepared;
    queue_init(&call->batches);
    grpc_metadata_array_init(&call->metadata);
    appender_request(appender, method, &call->core, &call->deadline, &call->metadata, &call->bound);
    return true;
}

struct append_call *append_call_of(struct queue_link *link)
{
    return QUEUE_ITEM(link, struct append_call, link);
}
