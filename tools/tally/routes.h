/* Homes that an import learned from refusals: where to send what a region refused because its home is elsewhere.
 *
 * Threads: any. */
#ifndef TALLY_ROUTES_H
#define TALLY_ROUTES_H

#include "base/err.h"
#include "options.h"
#include "tally/client.h"

enum { ROUTES_MAX = 4096, ROUTE_REGIONS_MAX = 64 };

struct routes;

/* to: REGION=HOST:PORT, which count more than what regions say of each other; outlives the routes. ERR_NO_MEMORY. */
int routes_new(const struct option_values *to, struct routes **ret, struct err *err) MUST_USE;
/* Nobody may use a client of it any more. NULL is fine. */
void routes_free(struct routes *routes);

/* The home of the partition, as learned; NULL when nothing was. Lives as long as the routes. */
struct tally_client *routes_find(struct routes *routes, const char *context, const char *partition);
/* Keeps it. ERR_TOO_LARGE, ERR_NO_MEMORY, ERR_INVALID (the address is none). */
int routes_learn(struct routes *routes, const char *context, const char *partition, const char *region,
                 const char *address) MUST_USE;

/* The address in a --to for this region, or NULL. */
const char *routes_given_address(const struct option_values *to, const char *region);

#endif
