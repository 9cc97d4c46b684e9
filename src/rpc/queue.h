/* Queued commands at their home, from their places to commands of the region: used by the server's settler. */
#ifndef RPC_QUEUE_H
#define RPC_QUEUE_H

#include "rpc/rpc.h"

/* Reads the command from its log, has the region decide it, and waits until the verdict is durable. 0: it is decided,
 * now or before; *ret_verdict says how. Errors of region_verdict (region/region.h), of reading the log, ERR_NO_MEMORY:
 * it is open as before; ERR_TIMEOUT (operation_decide): it is decided, and too few copies are known of. Any thread. */
int queue_decide(struct rpc_backend *backend, const struct index_queued *queued, struct region_verdict *ret_verdict,
                 struct err *err) MUST_USE;

#endif
