/* One AppendRequest on its way: decoded, decided by the region, answered. Append and AppendStream share it. */
#ifndef RPC_APPEND_H
#define RPC_APPEND_H

#include "base/queue.h"
#include "rpc/call.h"

enum {
    APPEND_ARENA_MAX_BYTES = 48 * 1024 * 1024
}; /* a request within its limits needs less than half, its answer included */

struct append_job {
    struct rpc_append append;
    uint64_t tag;
    bool forward;      /* the caller wants it passed on when the home is elsewhere … */
    uint32_t hops;     /* … and so many regions did so already */
    size_t size_bytes; /* of the request */
    struct queue_link link;
};

/* Decodes the request; encoded is not needed afterwards. A bad request gives a job that is refused already: only memory
 * can fail. The caller owns the job. */
int append_job_new(struct bytes encoded, struct append_job **ret, struct err *err) MUST_USE;
/* The region must be done with it. */
void append_job_free(struct append_job *job);
/* Says who waits for it, once and before the submit. */
void append_job_expect(struct append_job *job, struct rpc_waiter *waiter);
/* Checks, prepares and submits, unless it is refused already; what fails becomes the refusal. Call append_job_wait
 * before anything else. */
void append_job_submit(struct append_job *job, struct rpc_backend *backend, struct sha256 *sha);
/* Waits until the region is done with it, on the waiter's own thread. When the caller is gone, or the server stops, the
 * region is told that nobody waits for copies any more. */
void append_job_wait(struct append_job *job, struct call *call);
/* After the wait, when the region accepted: the answer, in the job's arena. */
int append_job_answer(struct append_job *job, struct rpc_backend *backend, Tally__V1__AppendResponse *ret,
                      struct err *err) MUST_USE;

#endif
