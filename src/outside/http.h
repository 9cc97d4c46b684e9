/* An HTTP client for the services that a region asks something of: one POST at a time, one answer. Nothing in an answer
 * is believed: sizes and times are bounded, redirects are not followed, and proxies of the environment are not used. */
#ifndef OUTSIDE_HTTP_H
#define OUTSIDE_HTTP_H

#include <stdatomic.h>

#include "base/buf.h"

enum {
    HTTP_URL_MAX_BYTES = 1023,
    HTTP_TYPE_MAX_BYTES = 100, /* of an answer's content type, cut off */
};

/* Files for TLS, or NULL: the system's authorities, no certificate of our own. Texts outlive the client. */
struct http_options {
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    uint64_t timeout_ms;          /* of a whole exchange, connecting included */
    const atomic_bool *cancelled; /* looked at about once a second while an exchange lasts; NULL: never cancelled */
};

struct http_client;

/* For one thread; a connection is kept open between calls. *ret is owned by the caller: http_client_free.
 * ERR_NO_MEMORY. */
int http_client_new(const struct http_options *options, struct http_client **ret, struct err *err) MUST_USE;
/* NULL is fine. */
void http_client_free(struct http_client *client);

struct http_answer {
    long status;
    char content_type[HTTP_TYPE_MAX_BYTES + 1]; /* "" when there is none */
};

/* Sends `body` and replaces *out by the body of the answer, whatever its status. ERR_TOO_LARGE past out->max_bytes (the
 * exchange is broken off), ERR_TIMEOUT, ERR_CANCELLED, ERR_UNAVAILABLE naming the URL and why; ERR_NO_MEMORY. */
int http_post(struct http_client *client, const char *url, const char *content_type, struct bytes body, struct buf *out,
              struct http_answer *ret, struct err *err) MUST_USE;

#endif
