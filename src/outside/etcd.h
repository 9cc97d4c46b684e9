/* What automatic failover asks of etcd (region/takeover.h), over the JSON gateway of its v3 API (etcd 3.4 or later).
 * Keys lie under <prefix>/<cluster>/. */
#ifndef OUTSIDE_ETCD_H
#define OUTSIDE_ETCD_H

#include "outside/http.h"
#include "region/takeover.h"

enum {
    ETCD_ENDPOINTS_MAX = 8,
    ETCD_ENDPOINT_MAX_BYTES = 255,
    ETCD_PREFIX_MAX_BYTES = 100,
    ETCD_LEASE_MIN_S = 2, /* etcd grants none that is shorter, with its own times at their defaults */
    ETCD_LEASE_MAX_S = 600,
    ETCD_ANSWER_MAX_BYTES = 1024 * 1024,
    ETCD_TIMEOUT_MAX_MS = 2000, /* of one exchange; less with a short lease */
};

/* Texts are borrowed, and outlive the client. */
struct etcd_config {
    size_t endpoint_count;                     /* from 1 */
    const char *endpoints[ETCD_ENDPOINTS_MAX]; /* "http://host:port", or https, without a path */
    const char *prefix;                        /* begins with '/', and does not end with one */
    const char *cluster;
    const char *region;
    uint64_t lease_s;
    const char *ca_file; /* NULL: see http.h */
    const char *cert_file;
    const char *key_file;
};

struct etcd;

/* For one thread. *ret is owned by the caller: etcd_free. ERR_NO_MEMORY. */
int etcd_new(const struct etcd_config *config, const atomic_bool *cancelled, struct etcd **ret,
             struct err *err) MUST_USE;
void etcd_free(struct etcd *etcd);

/* Carries out an order that the service is for: all but PAUSE and SEIZE. Fills what it says of code 0 in *ret (view: in
 * `view`, which the caller gives room for), code and err otherwise: ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_CANCELLED,
 * ERR_NOT_FOUND (the lease of a registration has ended), ERR_CORRUPT (an answer that etcd does not give),
 * ERR_TOO_LARGE, ERR_NO_MEMORY. After a failure the next order goes to the next endpoint. Does not set sent_us. */
void etcd_carry_out(struct etcd *etcd, const struct takeover_order *order, struct takeover_view *view,
                    struct takeover_answer *ret);

/* --- Bodies of requests and answers. Pure. --- */

/* Appends the body that carries the order out. ERR_TOO_LARGE, ERR_NO_MEMORY. */
int etcd_request(const struct etcd_config *config, const struct takeover_order *order, struct buf *out) MUST_USE;
/* Takes the body of an answer with status 200 to such an order. ERR_CORRUPT, ERR_TOO_LARGE (more regions or claims than
 * there can be), ERR_NO_MEMORY; then *ret and *view are of no use. */
int etcd_answer(const struct etcd_config *config, const struct takeover_order *order, struct bytes body,
                struct takeover_view *view, struct takeover_answer *ret, struct err *err) MUST_USE;
/* The error that the body of another status stands for; never 0. */
int etcd_refusal(long status, struct bytes body, struct err *err);

#endif
