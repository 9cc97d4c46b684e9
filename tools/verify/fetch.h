/* Getting the files of a static log, from a folder or over HTTP. What comes back is only bytes: nothing in a server's
 * answer is believed. Sizes, times and redirects are bounded. */
#ifndef VERIFY_FETCH_H
#define VERIFY_FETCH_H

#include <stdbool.h>

#include "base/buf.h"
#include "platform/disk.h"

enum {
    FETCH_TIMEOUT_MS = 30 * 1000,
    FETCH_CONNECT_TIMEOUT_MS = 10 * 1000,
    FETCH_REDIRECTS_MAX = 3,
    FETCH_ATTEMPTS = 3,
    FETCH_PAUSE_MS = 300,
};

struct fetch;

bool fetch_is_url(const char *base);
/* base: a folder, or an http(s) URL. Belongs to one thread; a connection is kept open between calls. *ret is owned by
 * the caller: fetch_close. ERR_NO_MEMORY, ERR_TOO_LARGE (a path that is too long). */
int fetch_open(struct disk *disk, const char *base, struct fetch **ret, struct err *err) MUST_USE;
void fetch_close(struct fetch *fetch);
/* Replaces *out by the contents of base/name. ERR_NOT_FOUND (also HTTP 404 and 410), ERR_TOO_LARGE past out->max_bytes,
 * ERR_TIMEOUT, ERR_IO naming the URL and what the server or the system said, ERR_NO_MEMORY. A request that the network
 * or the server failed is tried again. */
int fetch_get(struct fetch *fetch, const char *name, struct buf *out, struct err *err) MUST_USE;

#endif
