/* One call being served, with blocking operations on it.
 *
 * Threads: one thread reads and one (the same or another) writes and finishes. call_cancelled may be asked by both. */
#ifndef RPC_CALL_H
#define RPC_CALL_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "rpc/errors.h"
#include "rpc/message.h"
#include "rpc/rpc.h"

enum {
    CALL_POLL_MS = 250,             /* how often a waiting call looks whether its client is still there */
    CALL_FINISH_TIMEOUT_MS = 10000, /* a status that could not be sent for so long is given up */
};

struct call;

/* What serves a method. Reads and writes on the call, and returns 0 or a code with err set: the status that the call
 * ends with. It may call call_fail_refused to say more about an error. */
typedef int method_fn(struct call *call, struct err *err);

struct call {
    struct rpc_server *server;
    struct rpc_backend *backend;
    method_fn *run;
    grpc_call *core;
    grpc_completion_queue *queue;
    grpc_call_details details;
    grpc_metadata_array metadata;
    pthread_mutex_t mutex; /* of closed and finishing */
    bool closed;           /* the close notice has been taken: before we finish it means that the client is gone */
    bool finishing;
    int cancelled; /* where gRPC writes with the close notice */
    bool headers_sent;
    grpc_byte_buffer *writing; /* the message that is under way; the writing thread's */
    grpc_byte_buffer *answer;  /* goes out together with the status */
    bool has_detail;
    struct error_detail detail;
    char tag_read, tag_write, tag_status, tag_close; /* only their addresses are used */
};

/* A call waiting to be bound to a client's by grpc_server_request_call. NULL when memory runs out. */
struct call *call_new(struct rpc_server *server, struct rpc_backend *backend);
/* The call has finished, or was never bound. */
void call_free(struct call *call);

/* Once, after the call was bound and before anything else: asks to be told when the client goes away. */
void call_begin(struct call *call);

/* A message from the client. bytes are valid until call_message_free. */
struct call_message {
    struct bytes bytes;
    grpc_slice slice;
};
void call_message_free(struct call_message *message);
/* To another place: a short message lies inside the struct, so that it must not be copied by assignment. */
void call_message_move(struct call_message *from, struct call_message *to);
/* Takes over what gRPC received. */
void call_message_take(grpc_byte_buffer *received, struct call_message *ret);
/* The packed bytes, in a slice that the caller owns. */
grpc_slice call_pack(const ProtobufCMessage *message);

/* Waits for the next message. ERR_END when the client has no more, ERR_CANCELLED when it is gone (or sent more than
 * RPC_MESSAGE_MAX_BYTES). */
int call_read(struct call *call, struct call_message *ret, struct err *err) MUST_USE;
/* The one request of a call whose client does not stream, decoded into the arena. */
int call_read_request(struct call *call, const ProtobufCMessageDescriptor *type, struct arena *arena,
                      ProtobufCMessage **ret, struct err *err) MUST_USE;

/* Sends the slices as one message, once there is room for it (flow control): it waits for the message before, not for
 * this one. Takes the slices over, also on failure. ERR_CANCELLED. */
int call_write(struct call *call, grpc_slice *slices, size_t slice_count, struct err *err) MUST_USE;
int call_write_message(struct call *call, const ProtobufCMessage *message, struct err *err) MUST_USE;
/* Keeps the message to send it together with the status: for calls with one answer. Always 0. */
int call_answer(struct call *call, const ProtobufCMessage *message);

/* Whether the client is gone: it cancelled, its deadline passed, the connection broke. */
bool call_cancelled(struct call *call);
/* 0, ERR_CANCELLED when the client is gone, ERR_UNAVAILABLE when the server stops. */
int call_check(struct call *call, struct err *err) MUST_USE;
/* Waits, at most CALL_POLL_MS and not past timeout_ms, for something to change; *seen is the counter of
 * rpc_backend_ops.wait_change. As call_check. */
int call_wait_change(struct call *call, uint64_t *seen, uint64_t timeout_ms, struct err *err) MUST_USE;

/* Remembers the refusal for the ErrorDetail that the call will end with; returns its code, with err set. */
int call_fail_refused(struct call *call, const struct region_refusal *refusal, const struct region_command *command,
                      struct err *err) MUST_USE;
/* Sends the status (and the answer, with code 0) and waits until it is out, at most timeout_ms. Does nothing the second
 * time. After it a reader's pending call_read ends. By the thread that writes, or once that has ended. */
void call_finish(struct call *call, int code, const struct err *err, uint64_t timeout_ms);

#endif
