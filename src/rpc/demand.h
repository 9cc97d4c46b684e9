/* What a read insists on: a position, an age, the home. */
#ifndef RPC_DEMAND_H
#define RPC_DEMAND_H

#include "log/log.h"
#include "rpc/call.h"
#include "tally/v1/ledger.pb-c.h"

/* Waits until the demand is met for a read of a stream, or of a log, and sends the ReadResponse that says as of when
 * the read is. ERR_MISMATCH: the position names an entry that is late; ERR_TIMEOUT; ERR_UNAVAILABLE: too old here;
 * ERR_WRONG_HOME (with the home in the detail); ERR_INVALID; as call_check. */
int demand_stream(struct call *call, const Tally__V1__ReadDemand *demand, struct bytes context, struct bytes stream,
                  struct err *err) MUST_USE;
int demand_log(struct call *call, const Tally__V1__ReadDemand *demand, struct log *log, struct err *err) MUST_USE;

#endif
