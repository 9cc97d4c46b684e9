/* The thread that drives the server's connections and serves all calls of Append and AppendStream, and the helpers
 * beside it. append_call.h has what is done with a call; this is where the thread waits, and how others tell it
 * something. */
#ifndef RPC_APPENDER_H
#define RPC_APPENDER_H

#include <grpc/grpc.h>

#include "base/queue.h"
#include "platform/inbox.h"
#include "rpc/append.h"

enum append_method { APPEND_UNARY, APPEND_STREAM, APPEND_METHODS };

/* What gRPC announces under its address: `complete` runs on the appender's thread. Part of what it is about. */
struct appender_tag {
    void (*complete)(struct appender_tag *tag, bool success);
};

/* Something that another thread tells the appender: `arrive` runs on the appender's thread. Part of what it is about,
 * and on its way at most once at a time. */
struct appender_note {
    struct inbox_item item; /* first */
    void (*arrive)(struct appender_note *note);
};

/* Something for a helper: `run` may take its time, and ends by posting a note. */
struct appender_task {
    void (*run)(struct appender_task *task, struct append_tools *tools);
};

/* What is known to the calls. Of the appender's thread, unless it says otherwise. */
struct appender {
    struct rpc_server *server;   /* any thread */
    struct rpc_backend *backend; /* any thread */
    struct append_tools tools;
    struct queue_link calls; /* those that have a client */
    size_t restless;         /* calls that want append_call_tick: those that are ending */
    size_t refusing;         /* calls that are being refused */
};

/* ERR_NO_MEMORY. */
int appender_new(struct rpc_server *server, struct rpc_backend *backend, struct appender **ret,
                 struct err *err) MUST_USE;
/* Gives core, which is not started yet, the queue and the methods. */
void appender_attach(struct appender *appender, grpc_server *core);
/* Once core is started: takes calls. ERR_BUSY (no thread). */
int appender_start(struct appender *appender, struct err *err) MUST_USE;
/* The backend says that it is stopping: calls that wait for copies alone wait no longer. Any thread, once. */
void appender_stopping(struct appender *appender);
/* Waits for the thread, if there is one, and empties the queue. No call may be left, and core must be down. Before core
 * is destroyed. */
void appender_stop(struct appender *appender);
/* After core was destroyed. */
void appender_free(struct appender *appender);
/* Where core may announce something while the appender has no thread. */
grpc_completion_queue *appender_queue(struct appender *appender);

/* Any thread; what the note is part of may be gone when it returns. */
void appender_post(struct appender *appender, struct appender_note *note);
/* Hands it to the region, together with others that follow at once: append->done is called, on any thread, also when
 * it could not be handed over, with the reason as its refusal. On the appender's thread, as the next ones. */
void appender_submit(struct appender *appender, struct rpc_append *append);
/* Any thread: the answer to an append that could not be handed to the region. */
void appender_refuse(struct rpc_append *append, const struct err *err);
/* What was submitted is with the region when this returns. */
void appender_flush(struct appender *appender);
/* Gives a task to the helpers. Each call may have one. */
void appender_help(struct appender *appender, struct appender_task *task);
/* Asks core for the next call of a method: announced under the tag. */
void appender_request(struct appender *appender, enum append_method method, grpc_call **call, gpr_timespec *deadline,
                      grpc_metadata_array *metadata, struct appender_tag *tag);
/* It has come, or, without success, none will come any more. */
void appender_requested(struct appender *appender, enum append_method method, bool success);

#endif
