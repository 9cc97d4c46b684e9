/* What methods may ask of the server they run in. */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "rpc/reflection.h"
#include "rpc/rpc.h"

bool rpc_server_serving(struct rpc_server *server);
/* Waits until the state is not `before` or the time is over; returns the state. */
bool rpc_server_wait_serving(struct rpc_server *server, bool before, uint64_t timeout_ms);
struct forwarder;
struct forwarder *rpc_server_forwarder(struct rpc_server *server);
/* Counts a call in if there is room; reserved: it may use the reserved places. Any thread. */
bool rpc_server_take_place(struct rpc_server *server, bool reserved);
/* It has ended. The server may be gone after it. */
void rpc_server_give_place_back(struct rpc_server *server);
/* A detached thread. ERR_BUSY (too many are running), ERR_NO_MEMORY. */
int rpc_server_start_thread(void *(*run)(void *context), void *context) MUST_USE;
const struct reflection *rpc_server_reflection(const struct rpc_server *server);

#endif
