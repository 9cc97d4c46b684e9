/* What the methods of the service Operations share. */
#ifndef RPC_OPERATION_H
#define RPC_OPERATION_H

#include "domain/position.h"
#include "rpc/call.h"

/* Serves a method with one request: decodes it and gives it to the operation, with an arena for the answer. */
typedef int operation_fn(struct call *call, ProtobufCMessage *message, struct arena *arena, struct err *err);
int operation_run(struct call *call, const ProtobufCMessageDescriptor *type, operation_fn *operation,
                  struct err *err) MUST_USE;

/* For a command (region_command.number): no other one of this process has it, and 0 is none. Any thread. */
uint64_t operation_number(void);

/* How long a thread of the server's own waits for copies. */
enum { OPERATION_PATIENCE_MS = 2000 };

/* Gives the command a number, submits it and waits until the region has answered: it has the append until then. The
 * answer, or why it could not be submitted, is in append->command. Copies in peers are not waited for once the client
 * of the call is gone (call NULL, for a thread of the server's own: after OPERATION_PATIENCE_MS), or the server stops:
 * then the answer is ERR_TIMEOUT, and what was decided stands in the log. Any thread; that of the call. */
void operation_decide(struct rpc_backend *backend, struct call *call, struct rpc_append *append);

/* A live projection may be so many entries behind what is here: a second's work or less. */
enum { PROJECTION_BEHIND_MAX = 100000 };

/* Says which projections a failover here would leave behind, in a text of the arena; *ret NULL: none. */
int operation_projections_behind(struct rpc_backend *backend, struct arena *arena, const char **ret,
                                 struct err *err) MUST_USE;

/* Texts for answers; NULL when memory runs out. */
char *operation_text(struct arena *arena, const char *text);
char *operation_position_text(struct arena *arena, const struct position *position);
/* The position at which the own log has this size. */
char *operation_own_position(struct rpc_backend *backend, uint64_t size, struct arena *arena);

#endif
