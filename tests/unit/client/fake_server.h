/* A gRPC server that does what a test says, one call after the other: also what a real one never would. */
#ifndef TEST_CLIENT_FAKE_SERVER_H
#define TEST_CLIENT_FAKE_SERVER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/bytes.h"

struct fake_server;
struct fake_call;

/* Runs on the server's thread for each call; a call that it does not end is ended with OK. */
typedef void fake_handler(struct fake_call *call, void *context);

/* *ret_address ("127.0.0.1:port") lives as long as the server. Dies when it cannot start. */
struct fake_server *fake_server_start(fake_handler *handler, void *context, const char **ret_address);
/* Cancels the call that runs, and waits. */
void fake_server_stop(struct fake_server *server);

bool fake_method_is(const struct fake_call *call, const char *method);
/* The next message; false when there will be none. */
bool fake_read(struct fake_call *call, struct buf *out);
bool fake_send(struct fake_call *call, struct bytes message);
/* detail (may be empty) goes into "tally-error-bin". Once. */
void fake_end(struct fake_call *call, int grpc_status, const char *message, struct bytes detail);
/* Waits until the client cancels. */
void fake_wait_cancelled(struct fake_call *call);

#endif
