/* What the files of src/server share. Private.
 *
 * Threads, and what each one owns:
 *   sequencer   region (region_step), the only caller of it; takes messages from `mail`
 *   writer      every log's writing side; takes jobs from `jobs`; creates mirrors
 *   indexer     the index's writing side; reads logs
 *   settler     nothing; asks the region to settle late events as the contexts say, and to decide queued commands
 *   workers     one a projection: its database; takes requests (projector.h)
 *   scrubber    nothing; reads sealed segments again, and raises the alarm for damage
 *   comparer    nothing; compares what was derived with what peers have (drift.c)
 *   guard       the conversation with etcd; renews the lease there, and has the region seize what is lost
 *   tiler       every log's Merkle tiles; decides which checkpoint is shown
 *   submitter   the conversation with witnesses that are no peers
 *   keeper      nothing; looks after the files of TLS
 *   peers       one thread a peer says hello, two a pull (one reads, one acknowledges)
 *   gRPC        see rpc/rpc.h
 *   HTTP        see admin/admin.h
 * The sequencer never waits for anybody: others may wait for it. So waiting has no cycles. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "admin/admin.h"
#include "index/index.h"
#include "log/log.h"
#include "log/tiles.h"
#include "platform/clock.h"
#include "platform/disk.h"
#include "platform/mailbox.h"
#include "reconcile/applier.h"
#include "region/life.h"
#include "region/takeover.h"
#include "rpc/rpc.h"
#include "server/config.h"
#include "server/server.h"

enum {
    SERVER_MAIL_MAX = 8192,
    SERVER_COMMANDS_MAX = 8192, /* that wait for the sequencer, in fewer messages */
    SERVER_JOBS_MAX = 16384,    /* more than the region can have in flight: sending never waits */
};

struct server;

enum message_type { MESSAGE_EVENT, MESSAGE_COMMANDS, MESSAGE_QUESTION };

/* Something to be looked up on the region's thread. Lives on the asking thread's stack until done. */
struct question {
    int (*answer)(struct server *server, struct question *question);
    struct bytes context;
    struct bytes partition;
    const char *region;
    const struct origin *log;
    const struct region_lease_question *lease;
    uint64_t from; /* or the number of a peer */
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
    struct rpc_append *appends; /* COMMANDS: in this order, by `next` */
    struct question *question;
};

enum job_type { JOB_WRITE, JOB_CHECKPOINT, JOB_CREATE_LOG, JOB_EVIDENCE, JOB_BEGIN_INCARNATION };

/* One thing for the writer. Owns a reference of block, note and reason. */
struct job {
    enum job_type type;
    uint32_t log;
    uint64_t size;
    bool published;
    bool fresh;
    bool fork;
    struct block *block;
    struct buf note;
    struct buf reason;                     /* why evidence is kept */
    char text[ENTRY_ORIGIN_MAX_BYTES + 1]; /* origin of the log to create */
};

struct drift;
struct guard;
struct keeper;
struct peers;
struct projector;
struct submitter;
struct tiler;

struct server {
    struct rpc_backend backend;
    struct admin_backend admin_backend;
    struct disk *disk;
    struct server_config *config;
    struct server_life life;
    struct disk_file *lock;
    struct index *index;
    struct region *region;
    struct applier *applier; /* the starting thread's, then the indexer's */
    struct sha256 *sha;      /* the starting thread's */

    struct store store; /* the logs */

    struct mailbox *mail;
    struct mailbox *jobs;
    atomic_size_t commands_waiting; /* in mail */
    struct peers *peers;
    struct projector *projector;
    struct drift *drift;
    struct tiler *tiler;
    struct submitter *submitter; /* NULL: no witnesses are configured */
    struct guard *guard;         /* NULL: no etcd is configured */
    struct tls *tls;             /* NULL: no TLS is configured */
    struct keeper *keeper;       /* NULL: likewise */
    struct rpc_server *rpc;
    struct admin *admin;
    pthread_t sequencer, writer, indexer, settler, scrubber;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t change_counter;
    atomic_bool stopping;         /* calls should end */
    atomic_bool indexer_stopping; /* after the last write */
    atomic_bool accepting;
    atomic_uint_fast64_t scrub_passes;
    atomic_uint_fast64_t scrub_read_bytes; /* of this pass */
};

/* A line on stderr, with time and region, and never more than one: control characters become '?'. */
void server_say(const struct server *server, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same, and the process ends with status 1: for a failed write or sync, after which nothing may be acknowledged. */
__attribute__((noreturn)) void server_die(const struct server *server, const char *format, ...) PRINTF_LIKE(2, 3);

void server_changed(struct server *server);
uint64_t server_wait_change(struct server *server, uint64_t seen, uint64_t timeout_ms);

/* backend.c: has the region's thread answer, and waits for it. ERR_UNAVAILABLE when it has stopped. */
int server_ask(struct server *server, struct question *question) MUST_USE;

/* takeover.c. *ret is left alone when no etcd is configured. */
int guard_start(struct server *server, struct guard **ret, struct err *err) MUST_USE;
/* Once server->stopping is set, and while the region's thread still answers. NULL is fine. */
void guard_stop(struct guard *guard);
/* Any thread. */
void guard_status(struct server *server, struct takeover_status *ret);

/* submitter.c. *ret is left alone when no witnesses are configured. */
int submitter_start(struct server *server, struct submitter **ret, struct err *err) MUST_USE;
/* Once server->stopping is set, and before the tiler stops. NULL is fine. */
void submitter_stop(struct submitter *submitter);
/* How many there are. Any thread. */
size_t submitter_status(struct server *server, struct witness_status ret[REGION_WITNESSES_MAX]);

/* keeper.c: which warning about the own certificate was the last, and when (monotonic). Starts zeroed. */
struct certificate_warning {
    enum certificate_state said;
    uint64_t said_us;
};
/* Whether to warn now of a certificate in this state: when it comes to end soon, or has ended, and again every 24 hours
 * while that is so. */
bool certificate_warning_due(struct certificate_warning *last, enum certificate_state state, uint64_t mono_us);

/* keeper.c. *ret is left alone without TLS. */
int keeper_start(struct server *server, struct keeper **ret, struct err *err) MUST_USE;
/* Once server->stopping is set. NULL is fine. */
void keeper_stop(struct keeper *keeper);
/* Any thread. */
void keeper_status(struct server *server, struct certificate_status *ret);

/* messages.c. NULL when memory runs out. */
struct message *message_new(enum region_event_type type);
void message_free(struct message *message);
/* Waits for room; frees the message when the sequencer has stopped. */
void message_send(struct server *server, struct message *message);

/* sequencer.c, writer.c, indexer.c, settler.c: thread bodies; the context is the server. */
void *sequencer_run(void *context);
void *writer_run(void *context);
void *indexer_run(void *context);
void *settler_run(void *context);
/* queue.c, the settler's: has the region decide the queued commands whose home it is, in order. */
void queue_run(struct server *server);
/* Applies what the logs have and the index has not, before the region starts. */
int indexer_catch_up(struct server *server, struct err *err) MUST_USE;

/* peers.c: threads that talk to peers. The sequencer calls these; none waits. */
int peers_start(struct server *server, struct peers **ret, struct err *err) MUST_USE;
void peers_hello(struct peers *peers, size_t peer, const struct region_lease_question *question);
/* A peer called us: if our last hello to it failed, say it again now. */
void peers_contact(struct peers *peers, size_t peer);
void peers_open_pull(struct peers *peers, size_t peer, uint32_t log, const char *origin, uint64_t from_index);
void peers_close_pull(struct peers *peers, size_t peer, uint32_t log);
void peers_acknowledge(struct peers *peers, size_t peer, uint32_t log, uint64_t size, uint64_t cosigned_size,
                       struct bytes cosignature);
/* A time that entries of the log come after which are not durable here: as its region claimed, or UINT64_MAX for one
 * that is silent, or whose log has ended. 0: nothing is known. Any thread. */
hlc peers_passed(struct peers *peers, const struct log *log);
/* For calls of others; until peers_stop. */
struct channel *peers_channel(struct peers *peers, size_t peer);
/* Cancels everything and waits for the threads. */
void peers_stop(struct peers *peers);

/* scrub.c: a thread body, and its share of the status (any thread). */
void *scrubber_run(void *context);
void scrubber_status(struct server *server, struct rpc_status *ret);

/* drift.c: compares with peers, and keeps what was found. */
int drift_start(struct server *server, struct drift **ret, struct err *err) MUST_USE;
/* Before the peers' channels close. */
void drift_stop(struct drift *drift);
int drift_compare(struct rpc_backend *backend, const struct rpc_comparison *asked, struct rpc_comparison *ret,
                  struct err *err);
/* As drift_list of projection/drift.h. Any thread. */
size_t drift_verdicts(struct drift *drift, const char *subject, struct drift_verdict *ret, size_t max);

/* projector.c */
int projector_start(struct server *server, struct projector **ret, struct err *err) MUST_USE;
/* Once nobody asks it, and before the peers stop: workers ask them (peers_passed). */
void projector_stop(struct projector *projector);
int projector_create(struct rpc_backend *backend, struct bytes sql, const char *database, struct rpc_projection *ret,
                     struct err *err);
int projector_rebuild(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err);
int projector_get(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err);
int projector_list(struct rpc_backend *backend, struct rpc_projection *ret, size_t *ret_count, struct err *err);
int projector_digest(struct rpc_backend *backend, const char *name, struct rpc_projection_digest *ret, struct err *err);
int projector_preview(struct rpc_backend *backend, const char *name, const struct projection_event *event,
                      struct arena *arena, struct rpc_projection_preview *ret, struct err *err);
int projector_check(struct rpc_backend *backend, const char *name, uint64_t seeds, struct rpc_projection_check *ret,
                    struct err *err);

/* tiler.c: the thread, and what others may ask about a log. Any thread. */
int tiler_start(struct server *server, struct tiler **ret, struct err *err) MUST_USE;
void tiler_stop(struct tiler *tiler);
/* NULL until they are open. */
struct tiles *tiler_tiles(struct tiler *tiler, size_t log);
/* The checkpoint that is shown, appended to *out (NULL: not wanted), and its size: the tiles cover it. ERR_NOT_FOUND:
 * none yet; ERR_UNAVAILABLE: the tiles are being made. */
int tiler_checkpoint(struct tiler *tiler, size_t log, struct buf *out, uint64_t *ret_size, struct err *err) MUST_USE;
/* Why the tiles do not follow the log, "" when they do. */
void tiler_error(struct tiler *tiler, size_t log, char out[TALLY_ERROR_MESSAGE_MAX_BYTES]);
/* A reader found tiles that contradict each other, or the entries: they are made again. */
void tiler_damaged(struct tiler *tiler, size_t log);
/* Appends a receipt (crypto/receipt.h). ERR_UNAVAILABLE until a checkpoint that is shown covers the entry, and while
 * tiles are made again that were found to be damaged. */
int tiler_prove(struct tiler *tiler, size_t log, uint64_t index, struct buf *out, struct err *err) MUST_USE;
/* That the own log at a checkpoint, which the tiles cover, extends its first old_size entries (from 1, fewer than it
 * has). ERR_UNAVAILABLE while tiles are made again that were found to be damaged; disk errors. With a sha of the
 * caller's own. */
int tiler_prove_consistency(struct tiler *tiler, struct sha256 *sha, uint64_t old_size,
                            const struct checkpoint *checkpoint, struct merkle_proof *ret, struct err *err) MUST_USE;

/* admin_backend.c: what HTTP may ask. */
extern const struct admin_backend_ops server_admin_ops;

/* backend.c: what the services may ask. */
extern const struct rpc_backend_ops server_backend_ops;

#endif
