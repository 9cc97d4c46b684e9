/* TLS for both sides of gRPC: three files, checked, and taken up again when they are replaced.
 *
 * Both sides show a certificate, and believe only one that a CA of ca_file signed. A region uses the same three files
 * as a server and as its peers' client. A connection that is up stays up when its certificate ends or is replaced; the
 * next one uses what is there then. */
#ifndef CLIENT_TLS_H
#define CLIENT_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"
#include "crypto/certificate.h"
#include "platform/disk.h"
#include "tally/client.h"

enum {
    TLS_LOOK_INTERVAL_MS = 1000, /* files are looked at this often at most, where calls do it */
    TLS_HANDSHAKE_TIMEOUT_MS =
        5 * 1000, /* who connects and does not finish the handshake in that time is disconnected */
};

struct tls;
struct grpc_channel_credentials;
struct grpc_server_credentials;

enum tls_side {
    TLS_CLIENT, /* looks at the files itself when calls are made: there is nobody else to do it */
    TLS_REGION, /* server, and client of peers; somebody calls tls_refresh */
};

/* Reads and checks the files. Paths are copied. Errors of certificate_examine and disk_read_file, each with the file's
 * name; ERR_PERMISSION: everybody can read the key; ERR_INVALID: one of the three is missing. */
int tls_open(struct disk *disk, const struct tally_tls *files, enum tls_side side, struct time_now now,
             struct tls **ret, struct err *err) MUST_USE;
/* Everything made of it was closed. Wipes the key. NULL is fine. */
void tls_free(struct tls *tls);

/* Reads the files again. When they have changed and are good, they are in use from now on and *ret_changed is true. On
 * an error, as for tls_open, what was in use stays in use: while files are being replaced one after the other, they do
 * not belong together for a moment. Any thread. */
int tls_refresh(struct tls *tls, struct time_now now, bool *ret_changed, struct err *err) MUST_USE;
/* What is in use. Any thread. */
void tls_certificate(struct tls *tls, struct certificate *ret);

/* For channel.c: counts what was in use so far; a side TLS_CLIENT looks at its files first. Any thread. */
uint64_t tls_version(struct tls *tls);
/* Of what is in use, with its version; NULL when memory ran out. The caller's to release. */
struct grpc_channel_credentials *tls_channel_credentials(struct tls *tls, uint64_t *ret_version);
/* Take up what is replaced by themselves, and need tls as long as the server lives. NULL when memory ran out. The
 * caller's to release. */
struct grpc_server_credentials *tls_server_credentials(struct tls *tls);

#endif
