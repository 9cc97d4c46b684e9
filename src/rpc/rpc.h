/* The gRPC side of a region: services Ledger, Operations and Replication (proto/tally/v1), grpc.health.v1 and server
 * reflection, on gRPC core's C API.
 *
 * What the services need of the server that they run in is the rpc_backend below: a table of functions, so that this
 * module knows nothing of threads, configuration or the region's wiring. All of them may be called from any thread, and
 * those that wait say so.
 *
 * Model. One thread, the appender, drives all connections and serves Append and AppendStream: their calls are state
 * machines on one completion queue, because with a thread for each call of one event nearly all time went into handing
 * over between threads (appender.h, append_call.h). Everything else is plain blocking code: an acceptor takes the other
 * calls and gives each to a thread of its own, with a completion queue that its thread waits on; bidirectional calls
 * have a second thread for reading. What is hot there (reads, replication) sends whole blocks, so threads are few. At
 * most RPC_CALLS_MAX calls run, of both kinds together, and RPC_CALLS_RESERVED more for peers and health checks; what
 * is over that is answered RESOURCE_EXHAUSTED. */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "crypto/certificate.h"
#include "log/evidence.h"
#include "log/log.h"
#include "projection/drift.h"
#include "projection/projection.h"
#include "region/takeover.h"

enum {
    RPC_CALLS_MAX = 256,
    RPC_CALLS_RESERVED = 64,                 /* more, for peers and health checks: clients cannot crowd them out */
    RPC_MESSAGE_MAX_BYTES = 9 * 1024 * 1024, /* a block and its envelope */
    RPC_APPENDS_IN_FLIGHT_MAX = 64,          /* batches of one AppendStream */
    RPC_READ_CHUNK_BYTES = 256 * 1024,       /* target size of a ReadResponse */
    RPC_PROTOCOL = 2,                        /* of Replication */
    RPC_PROJECTIONS_MAX = 64,
    RPC_DRIFTS_MAX = 64,
    RPC_CHECK_SEEDS_MAX = 1000,
    RPC_HOMES_MAX = 1000, /* of one page */
    RPC_DAMAGES_MAX = 64,
};

#define RPC_SERVER_VERSION "0.1.0" /* as Status shows it */

/* A batch on its way through the region. Owned by who submits it; between submit and done the region has it. */
struct rpc_append {
    struct region_command command; /* first: the backend finds the append from the command */
    struct arena arena;            /* everything that the command points to */
    /* Called once, on any thread, which it must not hold up. The append may be gone when it returns. */
    void (*done)(struct rpc_append *append);
    void *context;           /* for done */
    struct rpc_append *next; /* the backend's, from submit until done */
};

/* The backend calls this, from any thread, once it is done with append->command. */
static inline void rpc_append_done(struct rpc_append *append)
{
    append->done(append);
}

struct rpc_projection {
    char name[64];
    char state[512]; /* "live", "rebuilding" (by itself: ": " and why), "waiting", "failed" */
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES];
    char file[DISK_PATH_MAX_BYTES]; /* "" when it lies in a database */
    char database[64];              /* as the configuration names it; "": in files */
    uint64_t generation;
    struct position position;
    struct position rebuild_position;
};

struct rpc_projection_digest {
    char digest[2 * HASH_SIZE + 1];
    uint64_t row_count;
    uint64_t generation;
    struct position position;
};

struct rpc_projection_preview {
    bool wanted; /* the projection has statements for the event; false: the rest means nothing */
    struct position position;
    struct projection_preview rows;
};

/* A damaged place of a log. */
struct rpc_damage {
    size_t log;
    const char *folder; /* lives as long as the log */
    struct scrub_finding finding;
};

/* What a peer asks us to compare, and what it is told (projection/drift.h). */
struct rpc_comparison {
    const char *region;  /* the asker: a peer of ours */
    const char *subject; /* borrowed, as region */
    struct hash sql;
    struct position position;
    struct hash digest;
    bool has_digest;
};

struct rpc_projection_check {
    struct position position;
    uint64_t event_count;
    uint64_t seeds;
    bool differs;
    uint64_t seed;
    char table[256];
};

/* A copy of the region's state at one moment. */
struct rpc_status {
    bool accepting;
    size_t log_count;
    struct region_log_status logs[REGION_LOGS_MAX]; /* 0 is the own log */
    size_t peer_count;
    struct region_peer_status peers[REGION_PEERS_MAX];
    size_t context_count;
    struct region_context_status contexts[CONTEXT_PLACES_MAX]; /* by place in region_contexts */
    uint64_t now_mono_us;
    size_t damage_count;
    struct rpc_damage damages[RPC_DAMAGES_MAX];
    size_t drift_count;
    struct drift_verdict drifts[RPC_DRIFTS_MAX]; /* those that differ first */
    struct takeover_status takeover;
    struct certificate_status certificate;
    uint64_t scrub_mib_per_s; /* 0: off */
    uint64_t scrub_passes;
    uint64_t scrub_read_bytes; /* of the pass under way */
};

struct rpc_home {
    char partition[ENTRY_NAME_MAX_BYTES + 1];
    char region[64];
    char successor[64]; /* when released */
    uint64_t epoch;
    bool released;
};

/* A page of the homes of one context. */
struct rpc_homes {
    size_t count;
    struct rpc_home homes[RPC_HOMES_MAX];
    uint64_t next; /* where the next page begins; 0: there is none */
};

/* A time that entries come after which are not durable now: each was decided within RPC_IN_FLIGHT_US. A clock that is
 * set back, or a disk that is slower than that, breaks the claim; who relies on it must notice. */
enum { RPC_IN_FLIGHT_US = 1000 * 1000 };
static inline hlc rpc_passed_time(uint64_t wall_us)
{
    return wall_us < RPC_IN_FLIGHT_US ? 0 : ((wall_us - RPC_IN_FLIGHT_US) / 1000) << 16;
}

struct rpc_backend;

struct rpc_backend_ops {
    /* Hands commands to the region, in that order, and returns how many: when fewer than count (1 or more), err says
     * why, ERR_BUSY (its queue is full), ERR_UNAVAILABLE (it is stopping) or ERR_NO_MEMORY, and done is not called for
     * the rest. Does not wait. Together they cost the region's thread one wake-up. */
    size_t (*submit)(struct rpc_backend *backend, struct rpc_append *const *appends, size_t count, struct err *err);
    /* Nobody waits for the command with that number any more: if it waits for copies alone, done is called soon. */
    int (*give_up)(struct rpc_backend *backend, uint64_t number, struct err *err);
    /* Logs held: 0 is the own one. They stay open until rpc_server_stop has returned. log_at: NULL past the end. */
    size_t (*log_count)(struct rpc_backend *backend);
    struct log *(*log_at)(struct rpc_backend *backend, size_t log);
    /* Waits until the change counter differs from `seen` or timeout_ms passed; returns the counter. It counts whenever
     * a log grew, a checkpoint was stored, the index moved or a projection moved. Returns at once when the server is
     * stopping. */
    uint64_t (*wait_change)(struct rpc_backend *backend, uint64_t seen, uint64_t timeout_ms);
    bool (*stopping)(struct rpc_backend *backend);
    /* Asks the region's thread; waits for it (milliseconds). ERR_UNAVAILABLE when stopping. *ret is large: allocate it.
     */
    int (*status)(struct rpc_backend *backend, struct rpc_status *ret, struct err *err);
    /* The own certificate. Does not wait. */
    void (*certificate)(struct rpc_backend *backend, struct certificate_status *ret);
    /* Waits as status does: homes of a context from `from` on (0, or rpc_homes.next). ERR_NOT_FOUND: no such context.
     */
    int (*homes)(struct rpc_backend *backend, struct bytes context, uint64_t from, struct rpc_homes *ret,
                 struct err *err);
    /* Likewise: see region_freshness; and region_log_staleness when context is empty, of region `home`. */
    int (*freshness)(struct rpc_backend *backend, struct bytes context, struct bytes partition, const char *home,
                     struct region_freshness *ret, struct err *err);
    /* Likewise: see region_tail_is_late. ERR_EXISTS when it is. */
    int (*check_tail)(struct rpc_backend *backend, struct bytes context, struct bytes partition,
                      const struct origin *log, uint64_t index, struct err *err);
    /* Likewise: see region_lease_asked; peer_region is a peer's. */
    int (*lease)(struct rpc_backend *backend, const char *peer_region, const struct region_lease_question *question,
                 struct region_lease_answer *ret, struct err *err);
    /* The latest signed note of a log: published (cosigned) if there is one and `published`, appended to *out.
     * ERR_NOT_FOUND. */
    int (*checkpoint)(struct rpc_backend *backend, size_t log, bool published, struct buf *out, struct err *err);
    /* evidence_each on the data directory; reads files on the calling thread. */
    int (*evidence)(struct rpc_backend *backend, bool resolved, evidence_fn *each, void *context, struct err *err);
    /* Appends the receipt of an entry (crypto/receipt.h) to *out. ERR_UNAVAILABLE until a published checkpoint covers
     * it; does not wait. */
    int (*prove)(struct rpc_backend *backend, size_t log, uint64_t index, struct buf *out, struct err *err);
    /* A peer that pulls has stored: see REGION_ACKNOWLEDGED. ERR_INVALID for an unknown peer. */
    int (*acknowledged)(struct rpc_backend *backend, const char *peer_region, size_t log, uint64_t size,
                        uint64_t cosigned_size, struct bytes cosignature, struct err *err);
    /* A peer said hello or pulls: resets its back-off, so that both directions come up together. */
    void (*peer_contact)(struct rpc_backend *backend, const char *peer_region);

    int (*projection_create)(struct rpc_backend *backend, struct bytes sql, const char *database,
                             struct rpc_projection *ret, struct err *err);
    int (*projection_rebuild)(struct rpc_backend *backend, const char *name, struct rpc_projection *ret,
                              struct err *err);
    int (*projection_get)(struct rpc_backend *backend, const char *name, struct rpc_projection *ret, struct err *err);
    /* ret has room for RPC_PROJECTIONS_MAX. */
    int (*projection_list)(struct rpc_backend *backend, struct rpc_projection *ret, size_t *ret_count, struct err *err);
    /* Waits for the projection's thread; may take as long as reading the whole projection. */
    int (*projection_digest)(struct rpc_backend *backend, const char *name, struct rpc_projection_digest *ret,
                             struct err *err);
    /* What the event would change (projection_db_preview). Waits for the projection's thread; an err that says more
     * comes with ret->wanted. */
    int (*projection_preview)(struct rpc_backend *backend, const char *name, const struct projection_event *event,
                              struct arena *arena, struct rpc_projection_preview *ret, struct err *err);
    /* Goes to the asked position, holds there and compares, keeps the verdict; *ret gets position and digest, or,
     * without a digest, where both can meet. Waits up to about two seconds. ERR_NOT_FOUND, ERR_MISMATCH (another SQL),
     * ERR_BUSY (with another peer), ERR_UNAVAILABLE, ERR_TIMEOUT (the position is not reached). */
    int (*compare)(struct rpc_backend *backend, const struct rpc_comparison *asked, struct rpc_comparison *ret,
                   struct err *err);
    /* Replays everything seeds + 1 times on the calling thread; ends early when the server is stopping. */
    int (*projection_check)(struct rpc_backend *backend, const char *name, uint64_t seeds,
                            struct rpc_projection_check *ret, struct err *err);
};

struct tls;

struct rpc_backend {
    const struct rpc_backend_ops *ops;
    const struct region_config *config; /* cluster, region, peers, contexts */
    struct index *index;
    struct tls *tls; /* client/tls.h: of the server, and of what it passes on to peers; NULL: plaintext */
    struct hash contexts_digest;
    uint64_t start_mono_us;
};

struct rpc_server;

/* Binds to "host:port" (port 0: a free one) and starts to serve. *ret_port gets the port. ERR_UNAVAILABLE when the
 * address is in use or cannot be bound (SO_REUSEPORT is off, so that two servers never share a port). backend outlives
 * the server. */
int rpc_server_start(struct rpc_backend *backend, const char *listen, struct rpc_server **ret, uint16_t *ret_port,
                     struct err *err) MUST_USE;
/* grpc.health.v1: NOT_SERVING until this says otherwise; for "" and "tally.v1.Ledger". Any thread. */
void rpc_server_set_serving(struct rpc_server *server, bool serving);
/* Refuses new calls, cancels those that run, waits for all, frees. The backend must answer stopping() with true before
 * this. */
void rpc_server_stop(struct rpc_server *server);

#endif
