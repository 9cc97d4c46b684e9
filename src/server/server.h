/* A region's server: opens a data directory, runs its threads, serves. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdint.h>

#include "base/err.h"

struct server;

/* A region may have to begin a new incarnation of its log (region/incarnation.c). The server has made it durable then,
 * and calls `ended` once, from one of its threads: the owner stops it and starts it again with fresh_incarnation set to
 * the number given. */
struct server_life {
    uint64_t fresh_incarnation; /* begun by the life before this one, in this process; 0: none */
    void (*ended)(void *context, uint64_t fresh_incarnation);
    void *context;
};

/* Loads the configuration of the data directory, takes its lock, opens and recovers the logs, brings the index up and
 * starts to serve. Blocks until it serves. Errors: of server_config_load; ERR_LOCKED (another tallyd runs on it);
 * ERR_CORRUPT (damage, with the repair); ERR_UNAVAILABLE (the port is in use); disk errors. Signals that should not
 * reach the threads must be blocked before. life is copied. */
int server_start(const char *folder, const struct server_life *life, struct server **ret, struct err *err) MUST_USE;
/* What to print once it serves: "region eu ready on 127.0.0.1:7401, HTTP on 127.0.0.1:7480". out holds 640 bytes. */
void server_describe(const struct server *server, char *out);
/* Ends all calls, lets what was accepted become durable, flushes and closes. */
void server_stop(struct server *server);

#endif
