/* Decisions about late events, from their places to commands of the region: used by the method Settle and by the
 * server's own policies. */
#ifndef RPC_SETTLE_H
#define RPC_SETTLE_H

#include "rpc/rpc.h"

struct call;

enum {
    SETTLE_CHUNK_ITEMS_MAX = 256,             /* decided as one */
    SETTLE_CHUNK_MAX_BYTES = 2 * 1024 * 1024, /* of payloads that are appended again as one, but for the last */
};

struct settle_place {
    const char *origin;
    uint64_t index;
};

struct settle_request {
    enum settlement settlement;
    struct bytes actor;
    struct bytes reason;
    size_t place_count;
    const struct settle_place *places;
    const struct region_stream_write *compensation; /* NULL; else place_count is 1, and it has one event */
    struct call *call;                              /* that asks; NULL: the server itself does */
};

struct settle_outcome {
    uint64_t settled; /* decided now */
    uint64_t already; /* had been decided so before */
    uint64_t ticket;  /* the own log's size that has all of it; 0 when nothing had to be waited for */
    struct region_refusal refusal;
};

/* Reads what is to be accepted from the logs, submits, and waits until it is durable. Some places are decided as one;
 * at the first refusal it stops: *ret says what was done before, and ret->refusal has the refusal if the region made
 * it. Errors of region_settle (region/region.h), of reading logs, ERR_NO_MEMORY, ERR_TIMEOUT (operation_decide:
 * decided, and too few copies are known of). Any thread. */
int settle_places(struct rpc_backend *backend, const struct settle_request *request, struct settle_outcome *ret,
                  struct err *err) MUST_USE;

#endif
