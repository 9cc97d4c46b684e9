/* What the files of src/admin share: a request and its answer, without any HTTP library, and who answers what. Private.
 */
#ifndef ADMIN_ROUTE_H
#define ADMIN_ROUTE_H

#include <pthread.h>
#include <stdatomic.h>

#include "admin/admin.h"
#include "admin/witness.h"
#include "crypto/sha256.h"

enum {
    ADMIN_RESPONSE_MAX_BYTES = TILE_WIDTH * (ENTRY_MAX_BYTES + 2), /* a bundle of the largest entries */
    ADMIN_STATUS_CLASSES = 6,                                      /* 1xx to 5xx */
    ADMIN_ETAG_BYTES = 2 + 2 * 16 + 1,
};

#define ADMIN_TEXT    "text/plain; charset=utf-8"
#define ADMIN_FOREVER "public, max-age=31536000, immutable"
#define ADMIN_RECHECK "no-cache"
#define ADMIN_NEVER   "no-store"

struct request {
    const char *method;
    const char *path;
    const char *if_none_match; /* NULL when absent */
    struct bytes body;
    uint64_t wall_s;    /* when it came */
    struct sha256 *sha; /* for whoever answers */
};

/* All zeros but for body at the start. Texts are static. */
struct response {
    unsigned status;
    const char *content_type;
    const char *cache_control;
    const char *allow;           /* 405: the methods that there are */
    const char *security_policy; /* Content-Security-Policy, of pages */
    char etag[ADMIN_ETAG_BYTES]; /* "": none */
    unsigned retry_after_s;      /* 0: not said */
    struct buf body;
};

/* The tile or bundle that a reader could not be given last because it is damaged. */
struct damage {
    bool known;
    size_t log;
    struct tile_id tile;
    char message[TALLY_ERROR_MESSAGE_MAX_BYTES];
};

struct admin {
    struct admin_backend *backend;
    struct MHD_Daemon *daemon;
    struct witness *witness;
    atomic_uint_fast64_t answers[ADMIN_STATUS_CLASSES];
    pthread_mutex_t mutex; /* of damage */
    struct damage damage;
};

/* Answers anything. Any thread. */
void admin_answer(struct admin *admin, const struct request *request, struct response *response);

/* A refusal as a line of text. */
void response_refuse(struct response *response, unsigned status, const char *format, ...) PRINTF_LIKE(3, 4);
/* The refusal that stands for an error: 404, 503, 500 … */
void response_fail(struct response *response, int code, const struct err *err);

/* tlog.c: what is under a log's prefix; rest is the path after it. */
void tlog_answer(struct admin *admin, const struct request *request, size_t log, const char *rest,
                 struct response *response);
/* Reads again what was damaged: false when it is well by now, or nothing was. */
bool tlog_damaged(struct admin *admin, char ret_message[TALLY_ERROR_MESSAGE_MAX_BYTES]);
/* pages.c, metrics.c */
void page_dashboard(struct response *response);
void page_health(struct admin *admin, struct response *response);
void page_status(struct admin *admin, struct response *response);
void page_metrics(struct admin *admin, struct response *response);

/* A copy of the region's state; NULL after refusing. mem_free it. */
struct admin_status *admin_status_get(struct admin *admin, struct response *response);

/* dashboard.html, made into C by rules.mk. */
extern const unsigned char dashboard_html[];
extern const size_t dashboard_html_size_bytes;

#endif
