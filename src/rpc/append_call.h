/* A call of Append or AppendStream as a state machine on the appender's thread: nothing of it waits. */
#ifndef RPC_APPEND_CALL_H
#define RPC_APPEND_CALL_H

#include "rpc/appender.h"

struct append_call;

/* Gets a call ready for the next client and requests it. False when memory runs out. */
bool append_call_request(struct appender *appender, enum append_method method);
/* Now and then, while the call is ending or the server stops. */
void append_call_tick(struct append_call *call, uint64_t now_mono_us);
/* From the links of appender_calls. */
struct append_call *append_call_of(struct queue_link *link);

#endif
