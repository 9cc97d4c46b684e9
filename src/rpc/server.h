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
const struct reflection *rpc_server_reflection(const struct rpc_server *server);

#endif
