/* What the tests of the services share: a region that lives in memory and a log folder, served on a free port, and a
 * gRPC client on the core C API. */
#ifndef TEST_RPC_SUPPORT_H
#define TEST_RPC_SUPPORT_H

#include <grpc/grpc.h>
#include <stdatomic.h>

#include "crypto/note.h"
#include "log/log.h"
#include "rpc/rpc.h"
#include "tally/v1/ledger.pb-c.h"
#include "tally/v1/replication.pb-c.h"

#define OWN_ORIGIN  "bank/eu/1"
#define PEER_ORIGIN "bank/us/1"

enum { STAGE_LOGS_MAX = 2 };

/* Sealed blocks of valid entries, made one after the other. */
struct maker {
    struct sha256 *sha;
    struct chain chain;
    const char *partition; /* whose home is the log's region */
};
void maker_init(struct maker *maker, const char *origin);
void maker_free(struct maker *maker);
/* entry_count events of one stream in context "bank"; versions count on from first_version, ids from the entry's index.
 */
struct block *maker_block(struct maker *maker, const char *stream, uint64_t first_version, uint32_t entry_count,
                          size_t payload_size_bytes);

/* Region eu of cluster bank with the peer us. Its "region" accepts every command at once, unless told otherwise. */
struct stage {
    struct rpc_backend backend; /* first */
    struct region_config config;
    struct context contexts[1];       /* of the configuration: for a test to change */
    struct note_signer peer_cosigner; /* of us */
    struct rpc_server *server;
    uint16_t port;
    char folder[256];
    size_t log_count;
    struct log *logs[STAGE_LOGS_MAX];
    struct maker makers[STAGE_LOGS_MAX];
    pthread_mutex_t mutex; /* of the logs' writing side, the counter and what is below */
    pthread_cond_t changed;
    uint64_t counter;
    atomic_bool stopping;
    size_t submitted;
    bool hold;       /* commands stay with the region until stage_release */
    int refuse_with; /* 0: accept */
    struct rpc_append *held;
    size_t given_up;
    uint64_t staleness_us; /* 0: this is the home */
    uint64_t late_from;    /* entries of us from here on are late, if they are not here */
    size_t acknowledgements;
    uint64_t acknowledged_size;
    uint64_t cosigned_size;
    struct buf note; /* of the own log; empty: none */
    uint64_t projection_size;
    uint64_t provable_size; /* entries that a receipt can be had for */
};

void stage_init(struct stage *stage); /* with the own log, serving */
void stage_free(struct stage *stage);
void stage_add_log(struct stage *stage); /* the mirror */
/* Appends events to a log and to the index. */
void stage_append(struct stage *stage, size_t log, const char *stream, uint32_t entry_count, size_t payload_size_bytes);
void stage_store_note(struct stage *stage, uint64_t size);
void stage_change(struct stage *stage);
/* Lets go of what was held. */
void stage_release(struct stage *stage);
void stage_wait_submitted(struct stage *stage, size_t count);
void stage_wait_given_up(struct stage *stage, size_t count);

/* One call from the outside. */
struct outside {
    grpc_channel *channel;
    grpc_completion_queue *queue;
    grpc_call *call;
    grpc_metadata_array headers;
    grpc_metadata_array trailers;
    grpc_status_code status;
    grpc_slice status_text;
    char message[1024];             /* the status message, after outside_finish */
    Tally__V1__ErrorDetail *detail; /* NULL when there was none */
};

void outside_open(struct outside *outside, uint16_t port, const char *method, uint64_t timeout_ms);
void outside_write(struct outside *outside, struct bytes message);
void outside_write_message(struct outside *outside, const ProtobufCMessage *message);
void outside_writes_done(struct outside *outside);
/* False when the server has no more to say. *out is replaced. */
bool outside_read(struct outside *outside, struct buf *out);
void outside_cancel(struct outside *outside);
/* Waits for the status. */
grpc_status_code outside_finish(struct outside *outside);
void outside_close(struct outside *outside);

/* A call with one request and at most one answer. */
grpc_status_code outside_unary(struct outside *outside, uint16_t port, const char *method,
                               const ProtobufCMessage *request, struct buf *answer);

#endif
