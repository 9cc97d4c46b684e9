/* One AppendRequest on its way: decoded, decided by the region, answered. Append and AppendStream share it. */
#ifndef RPC_APPEND_H
#define RPC_APPEND_H

#include "platform/clock.h"
#include "rpc/call.h"

enum {
    APPEND_ARENA_MAX_BYTES = 48 * 1024 * 1024
}; /* a request within its limits needs less than half, its answer included */

struct append_job {
    struct rpc_append append; /* first: whoever is told of the append finds the job */
    uint64_t tag;
    bool forward;      /* the caller wants it passed on when the home is elsewhere … */
    uint32_t hops;     /* … and so many regions did so already */
    size_t size_bytes; /* of the request */
};

/* What a thread that prepares jobs has at hand. */
struct append_tools {
    struct sha256 *sha;
    struct entropy_pool entropy;
};

/* Decodes the request; encoded is not needed afterwards. A bad request gives a job that is refused already: only memory
 * can fail. The caller owns the job. Any thread, as the next ones. */
int append_job_new(struct bytes encoded, struct append_job **ret, struct err *err) MUST_USE;
/* The region must be done with it. NULL is fine. */
void append_job_free(struct append_job *job);
/* Checks it, draws salts, hashes and looks up, unless it is refused already; what fails becomes the refusal. May wait
 * for a disk. */
void append_job_prepare(struct append_job *job, struct rpc_backend *backend, struct append_tools *tools);
/* When the region accepted: the answer, in the job's arena. */
int append_job_answer(struct append_job *job, struct rpc_backend *backend, Tally__V1__AppendResponse *ret,
                      struct err *err) MUST_USE;

#endif
