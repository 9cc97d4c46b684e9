/* The HTTP side of a region, on libmicrohttpd: logs as static tiles (c2sp.org/tlog-tiles), a witness for the peers
 * (c2sp.org/tlog-witness), and what an operator watches. Nothing here changes a log. README.md beside this file lists
 * the paths.
 *
 * What it needs of the server is the admin_backend below: a table of functions, which may be called from any thread.
 *
 * Model: ADMIN_THREADS threads, each with a share of the ADMIN_CONNECTIONS_MAX connections. A connection that is silent
 * for ADMIN_TIMEOUT_S is closed. Whatever a client sends ends in an answer with a status, or in a closed connection. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/certificate.h"
#include "log/log.h"
#include "log/tiles.h"
#include "platform/disk.h"
#include "projection/drift.h"
#include "region/takeover.h"

enum {
    ADMIN_THREADS = 4,
    ADMIN_CONNECTIONS_MAX = 128,
    ADMIN_DRIFTS_MAX = 64,
    ADMIN_TIMEOUT_S = 15,
    ADMIN_HEADERS_MAX_BYTES = 32 * 1024, /* request line and headers of one request */
    ADMIN_REQUEST_MAX_BYTES = NOTE_MAX_BYTES + 8 * 1024,
};

/* A witness that is no peer, to which the own log's checkpoints are submitted. */
struct witness_status {
    char name[64]; /* as the configuration says it */
    bool up;       /* it cosigned the last one that was submitted */
    uint64_t cosigned_size;
    char error[TALLY_ERROR_MESSAGE_MAX_BYTES]; /* why it did not; "" */
};

/* A copy of the region's state at one moment. */
struct admin_status {
    bool accepting;
    size_t log_count;
    struct region_log_status logs[REGION_LOGS_MAX]; /* 0 is the own log */
    uint64_t tiles_sizes[REGION_LOGS_MAX];
    char tiles_errors[REGION_LOGS_MAX][TALLY_ERROR_MESSAGE_MAX_BYTES]; /* "": none */
    size_t peer_count;
    struct region_peer_status peers[REGION_PEERS_MAX];
    size_t context_count;
    struct region_context_status contexts[CONTEXT_PLACES_MAX]; /* by place in region_contexts */
    size_t drift_count;
    struct drift_verdict drifts[ADMIN_DRIFTS_MAX]; /* comparisons with peers, those that differ first */
    struct takeover_status takeover;
    struct certificate_status certificate;
    size_t witness_count;
    struct witness_status witnesses[REGION_WITNESSES_MAX];
    uint64_t now_mono_us;
};

struct admin_backend;

struct admin_backend_ops {
    /* Logs held: 0 is the own one. They stay open until admin_stop has returned. log_at: NULL past the end. tiles_at:
     * NULL while they are not open. */
    size_t (*log_count)(struct admin_backend *backend);
    struct log *(*log_at)(struct admin_backend *backend, size_t log);
    struct tiles *(*tiles_at)(struct admin_backend *backend, size_t log);
    /* Waits for the region's thread (milliseconds). ERR_UNAVAILABLE when stopping. *ret is large: allocate it. */
    int (*status)(struct admin_backend *backend, struct admin_status *ret, struct err *err);
    /* The checkpoint that the outside may see, appended to *out (NULL: not wanted), and its size; its tiles are there.
     * ERR_NOT_FOUND: none yet; ERR_UNAVAILABLE: its tiles are being made. */
    int (*checkpoint)(struct admin_backend *backend, size_t log, struct buf *out, uint64_t *ret_size, struct err *err);
    /* Tiles were found that contradict each other, or the entries. */
    void (*tiles_damaged)(struct admin_backend *backend, size_t log);
};

struct admin_backend {
    const struct admin_backend_ops *ops;
    const struct region_config *config; /* peers: the logs that are witnessed */
    struct disk *disk;
    const char *folder; /* the data directory: the witness keeps its state in <folder>/witness */
    const struct witness_keys *witness_keys;
    uint64_t start_mono_us;
};

struct admin;

/* Binds to "host:port" (port 0: a free one) and starts to serve. *ret_port gets the port. ERR_UNAVAILABLE when the
 * address is in use or cannot be bound; ERR_CORRUPT when the witness's state is damaged; disk errors, ERR_NO_MEMORY.
 * backend outlives the admin. */
int admin_start(struct admin_backend *backend, const char *listen, struct admin **ret, uint16_t *ret_port,
                struct err *err) MUST_USE;
/* Closes all connections and waits for the handlers. NULL is fine. */
void admin_stop(struct admin *admin);

#endif
