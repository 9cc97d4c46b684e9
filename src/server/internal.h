/* What the files of src/server share. Private.
 *
 * Threads, and what each one owns:
 *   sequencer   region (region_step), the only caller of it; takes messages from `mail`
 *   writer      every log's writing side; takes jobs from `jobs`; creates mirrors
 *   indexer     the index's writing side; reads logs
 *   projector   every projection's database; takes requests
 *   peers       one thread a peer says hello, two a pull (one reads, one acknowledges)
 *   gRPC        see rpc/rpc.h
 * The sequencer never waits for anybody: others may wait for it. So waiting has no cycles. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "index/index.h"
#include "log/log.h"
#include "platform/clock.h"
#include "platform/disk.h"
#include "platform/mailbox.h"
#include "reconcile/applier.h"
#include "region/region.h"
#include "rpc/rpc.h"
#include "server/config.h"
#include "server/server.h"

enum {
    SERVER_MAIL_MAX = 8192,
    SERVER_JOBS_MAX = 16384, /* more than the region can have in flight: sending never waits */
};

struct server;

enum message_type { MESSAGE_EVENT, MESSAGE_QUESTION };

/* Something to be looked up on the region's thread. Lives on the asking thread's stack until done. */
struct question {
    int (*answer)(struct server *server, struct question *question);
    struct bytes context;
    const char *region;
    uint64_t from;
    void *ret;
    struct err *err;
    int code;
    pthread_mutex_t mutex;
    pthread_cond_t finished;
    bool done;
};

/* One thing for the sequencer. Owns what its event borrows. */
struct message {
    enum message_type type;
    struct region_event event;
    struct err err;
    struct buf note;
    struct arena arena;
    struct question *question;
};

enum job_type { JOB_WRITE, JOB_CHECKPOINT, JOB_CREATE_LOG, JOB_EVIDENCE };

/* One thing for the writer. Owns a reference of block, and note. */
struct job {
    enum job_type type;
    uint32_t log;
    uint64_t size;
    bool published;
    struct block *block;
    struct buf note;
    char text[ENTRY_ORIGIN_MAX_BYTES + 1]; /* origin of the log to create */
};

struct peers;
struct projector;

struct server {
    struct rpc_backend backend;
    struct disk *disk;
    struct server_config *config;
    struct disk_file *lock;
    struct log_options log_options;
    struct index *index;
    struct region *region;
    struct applier *applier; /* the starting thread's, then the indexer's */
    struct sha256 *sha;      /* the starting thread's */

    struct log *logs[REGION_LOGS_MAX];
    atomic_size_t log_count;

    struct mailbox *mail;
    struct mailbox *jobs;
    struct peers *peers;
    struct projector *projector;
    struct rpc_server *rpc;
    pthread_t sequencer, writer, indexer;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t change_counter;
    atomic_bool stopping;         /* calls should end */
    atomic_bool indexer_stopping; /* after the last write */
    atomic_bool accepting;
};

/* A line on stderr, with time and region. */
void server_say(const struct server *server, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same, and the process ends with status 1: for a failed write or sync, after which nothing may be acknowledged. */
__attribute__((noreturn)) void server_die(const struct server *server, const char *format, ...) PRINTF_LIKE(2, 3);

void server_changed(struct server *server);
uint64_t server_wait_change(struct server *server, uint64_t seen, uint64_t timeout_ms);

/* messages.c. NULL when memory runs out. */
struct message *message_new(enum region_event_type type);
void message_free(struct message *message);
/* Waits for room; frees the message when the sequencer has stopped. */
void message_send(struct server *server, struct message *message);

/* sequencer.c, writer.c, indexer.c: thread bodies; the context is the server. */
void *sequencer_run(void *context);
void *writer_run(void *context);
void *indexer_run(void *context);
/* Applies what the logs have and the index has not, before the region starts. */
int indexer_catch_up(struct server *server, struct err *err) MUST_USE;
/* "<data>/logs/<region>-<incarnation>" of an origin. */
int server_log_folder(const struct server *server, const char *origin, char out[DISK_PATH_MAX_BYTES],
                      struct err *err) MUST_USE;

/* peers.c: threads that talk to peers. The sequencer calls these; none waits. */
int peers_start(struct server *server, struct peers **ret, struct err *err) MUST_USE;
void peers_hello(struct peers *peers, size_t peer);
/* A peer called us: if our last hello to it failed, say it again now. */
void peers_contact(struct peers *peers, size_t peer);
void peers_open_pull(struct peers *peers, size_t peer, uint32_t log, const char *origin, uint64_t from_index);
void peers_close_pull(struct peers *peers, size_t peer, uint32_t log);
void peers_acknowledge(struct peers *peers, size_t peer, uint32_t log, uint64_t size, uint64_t cosigned_size,
                       struct bytes cosignature);
/* Cancels everything and waits for the threads. */
void peers_stop(struct peers *peers);

/* projector.c */
int projector_start(struct server *server, struct projector **ret, struct err *err) MUST_USE;
void projector_stop(struct projector *projector);
int projector_create(struct rpc_backend *backend, struct bytes sql, struct rpc_projection *ret, struct err *err);
int projector_rebuild(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err);
int projector_get(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err);
int projector_list(struct rpc_backend *backend, struct rpc_projection *ret, size_t *ret_count, struct err *err);
int projector_digest(struct rpc_backend *backend, const char *name, struct rpc_projection_digest *ret, struct err *err);
int projector_check(struct rpc_backend *backend, const char *name, uint64_t seeds, struct rpc_projection_check *ret,
                    struct err *err);

/* backend.c: what the services may ask. */
extern const struct rpc_backend_ops server_backend_ops;

#endif
