/* Items of reconciliation as messages. */
#ifndef RPC_LATE_H
#define RPC_LATE_H

#include "base/arena.h"
#include "rpc/rpc.h"
#include "tally/v1/operations.pb-c.h"

/* The item as the index has it. For a duplicate that is effective, whose names the index does not keep, they are read
 * from the log. Everything in *ret lives in the arena. ERR_NO_MEMORY, errors of reading logs. */
int late_fill(struct rpc_backend *backend, const struct index_late *item, Tally__V1__LateItem *ret, struct arena *arena,
              struct err *err) MUST_USE;

#endif
