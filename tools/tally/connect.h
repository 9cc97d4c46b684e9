/* Connections of all commands: plaintext, or TLS with the files that --tls-ca, --tls-cert and --tls-key name, or the
 * environment (options.h). */
#ifndef TALLY_CONNECT_H
#define TALLY_CONNECT_H

#include "client/channel.h"
#include "tally/client.h"

/* As tally_client_open and tally_client_open_tls. */
int connect_client(const char *address, struct tally_client **ret, struct err *err) MUST_USE;
/* As channel_open. The files are read once for the whole process. One thread. */
int connect_channel(const char *address, struct channel **ret, struct err *err) MUST_USE;
/* What is used where neither options nor environment say anything: a region's own files. Borrowed; ca_file NULL: none.
 */
void connect_set_fallback(const struct tally_tls *files);

#endif
