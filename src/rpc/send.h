/* Sending chunks: what reads and subscriptions share. */
#ifndef RPC_SEND_H
#define RPC_SEND_H

#include "rpc/call.h"
#include "rpc/chunk.h"

/* Sends the chunk as one ReadResponse and empties it. The errors of call_write and call_check. */
int send_chunk(struct call *call, struct chunk *chunk, struct bytes origin, struct bytes position, bool caught_up,
               struct err *err) MUST_USE;

#endif
