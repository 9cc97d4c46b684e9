/* Finding the logs that this region holds. */
#ifndef RPC_HELD_H
#define RPC_HELD_H

#include "domain/position.h"
#include "rpc/call.h"
#include "rpc/rpc.h"

/* The log with that origin; empty: the own one. ERR_NOT_FOUND says which there are. The outputs may be NULL. */
int held_find(struct rpc_backend *backend, struct bytes origin, struct log **ret, size_t *ret_number,
              struct err *err) MUST_USE;
/* One entry's frame, encoded: *ret lies in *ret_block, which the caller releases. Errors of held_find, log_read_block
 * and block_find. */
int held_frame(struct rpc_backend *backend, const char *origin, uint64_t index, struct block **ret_block,
               struct bytes *ret, struct err *err) MUST_USE;
/* The origin of a log that this region holds, taken apart. */
void held_origin(struct log *log, struct origin *ret);
/* Sets the log's component of a position. */
int held_set_position(struct position *position, struct bytes origin, uint64_t size, struct err *err) MUST_USE;
/* Waits, some seconds, until the own log's entries that are durable now are indexed: whoever was answered an append
 * finds it. ERR_UNAVAILABLE after that; as call_check. */
int held_wait_indexed(struct call *call, struct err *err) MUST_USE;

#endif
