/* Appends that reached a region which is not the home, passed on to the home. */
#ifndef RPC_FORWARD_H
#define RPC_FORWARD_H

#include "rpc/append.h"

enum {
    FORWARD_HOPS_MAX = 2,        /* regions that pass one request on: a home that has just moved, and no circles */
    FORWARDS_IN_FLIGHT_MAX = 64, /* of one region */
    FORWARD_TIMEOUT_MS = 5000,   /* at most, whatever the caller's deadline */
};

struct forwarder;

struct tls;

/* config and tls (NULL: plaintext) outlive it. ERR_NO_MEMORY. */
int forwarder_new(const struct region_config *config, struct tls *tls, struct forwarder **ret,
                  struct err *err) MUST_USE;
/* No call may be in it. NULL is fine. */
void forwarder_free(struct forwarder *forwarder);

/* Whether this refusal is to be passed on: the caller asked for it, the home is known, and the hops are not used up. */
bool forward_wanted(const struct append_job *job);
/* Sends the encoded AppendRequest to the home that the job's refusal names, and waits, at most so long (and at most
 * FORWARD_TIMEOUT_MS). *ret is the home's answer, in the job's arena. A refusal of the home becomes the job's, with
 * *ret_refused set. Other errors: ERR_BUSY (too many in flight), ERR_UNAVAILABLE (the home cannot be reached),
 * ERR_TIMEOUT (whether it took effect is unknown), ERR_CORRUPT, ERR_NO_MEMORY. Any thread. */
int forward_append(struct forwarder *forwarder, struct append_job *job, struct bytes encoded, uint64_t timeout_ms,
                   ProtobufCMessage **ret, bool *ret_refused, struct err *err) MUST_USE;

#endif
