/* The projector's two halves: projector.c keeps the list and answers callers, worker.c follows the logs with one
 * projection on a thread of its own. Private to src/server. */
#ifndef SERVER_PROJECTOR_H
#define SERVER_PROJECTOR_H

#include "base/buf.h"
#include "projection/drift.h"
#include "projection/follower.h"
#include "server/internal.h"

/* Whether the region may hold what the projection takes of events. ERR_MISMATCH. Any thread. */
int worker_check_residency(const struct server *server, const struct projection_spec *spec, struct err *err) MUST_USE;

/* Where a projection stands: all that a check needs, so that it leaves the worker alone. */
struct snapshot {
    struct position position;
    struct buf known;
};

enum request_type { REQUEST_REBUILD, REQUEST_DIGEST, REQUEST_PREVIEW, REQUEST_SNAPSHOT, REQUEST_HOLD, REQUEST_RELEASE };

enum { HOLD_MS = 2000 };

/* A wish to meet another region at one position (projection/drift.h). */
struct hold {
    const char *peer;
    const struct position *at; /* NULL: where it stands */
    const struct hash *sql;    /* of the other side; NULL: ours, which is left in ret_sql */
    struct position ret_at;    /* where it will stand, HOLD_MS long: *at, or a place past it */
    struct hash ret_sql;
};

/* An event whose effect is asked for; the texts of *ret live in the arena. */
struct preview {
    const struct projection_event *event;
    struct arena *arena;
    struct rpc_projection_preview *ret;
};

/* Lives on the asking thread's stack until done. */
struct request {
    enum request_type type;
    struct rpc_projection *ret;
    struct rpc_projection_digest *ret_digest;
    const struct preview *preview;
    struct snapshot *ret_snapshot;
    struct hold *hold;
    struct err *err;
    int code;
    pthread_mutex_t mutex;
    pthread_cond_t finished;
    bool done;
};

enum worker_state {
    WORKER_FOLLOWS,
    WORKER_WAITS, /* for its database, which cannot be reached: tried again and again */
    WORKER_FAILED /* until somebody rebuilds it, or the server starts again */
};

struct worker {
    struct server *server;
    char name[PROJECTION_NAME_MAX_BYTES + 1];
    char folder[DISK_PATH_MAX_BYTES];
    char database[PROJECTION_SERVER_NAME_MAX_BYTES + 1]; /* "": SQLite; does not change once the thread runs */
    pthread_t thread;
    struct mailbox *requests;

    /* The thread's own; the creator's before it runs. */
    struct projection *projection; /* NULL when it is not open, like follower */
    struct follower *follower;
    enum worker_state state;
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES];
    uint64_t pause_ms;
    uint64_t retry_at_us;
    char held_for[DRIFT_NAME_MAX_BYTES + 1]; /* "": not held */
    uint64_t held_until_us;
    bool rebuild_again; /* one that was asked for was lost with the connection */

    pthread_mutex_t mutex;
    struct rpc_projection said; /* how it stood after the last step */
};

/* The projections there are; NULL past the end. Workers stay until projector_stop. Any thread. */
struct worker *projector_worker(struct projector *projector, size_t at);
struct worker *projector_find(struct projector *projector, const char *name);

/* A worker that has no projection yet; it opens it when it runs, or worker_open does before. The folder is that of the
 * projection `name`, which need not be there. NULL when memory runs out. */
struct worker *worker_new(struct server *server, const char *name, const char *folder);
void worker_free(struct worker *worker);
/* Opens the projection of its folder; a failure is kept as the worker's state. */
void worker_open(struct worker *worker);
/* Takes over a projection that is open. Errors of follower_new; then the projection is still the caller's. */
int worker_adopt(struct worker *worker, struct projection *projection, struct err *err) MUST_USE;
/* Gives it back, open; only before the thread runs. */
struct projection *worker_let_go(struct worker *worker);
int worker_start(struct worker *worker, struct err *err) MUST_USE;
/* Ends the thread. */
void worker_stop(struct worker *worker);
/* How it stood after its last step. Any thread; waits for nothing. */
void worker_status(struct worker *worker, struct rpc_projection *ret);
/* Waits until the worker has done what is asked, between two steps. Any thread. */
int worker_ask(struct worker *worker, struct request *request);

#endif
