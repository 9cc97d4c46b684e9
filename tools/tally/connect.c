/* How commands connect (connect.h). */
#include "connect.h"

#include "client/tls.h"
#include "options.h"
#include "platform/clock.h"

static const struct tally_tls *fallback;
static struct tls *shared; /* of all channels; lives as long as the process */

void connect_set_fallback(const struct tally_tls *files)
{
    fallback = files;
}

/* False: plaintext. */
static bool files_of(struct tally_tls *ret)
{
    *ret = options_tls();
    if (ret->ca_file == NULL && ret->cert_file == NULL && ret->key_file == NULL && fallback != NULL)
        *ret = *fallback;
    return ret->ca_file != NULL || ret->cert_file != NULL || ret->key_file != NULL;
}

int connect_client(const char *address, struct tally_client **ret, struct err *err)
{
    struct tally_tls files;
    return files_of(&files) ? tally_client_open_tls(address, &files, ret, err) : tally_client_open(address, ret, err);
}

int connect_channel(const char *address, struct channel **ret, struct err *err)
{
    struct tally_tls files;
    int rc =
        files_of(&files) && shared == NULL ? tls_open(disk_posix(), &files, TLS_CLIENT, clock_now(), &shared, err) : 0;
    return rc == 0 ? channel_open(address, shared, ret, err) : rc;
}
