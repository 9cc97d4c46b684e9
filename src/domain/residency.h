/* Residency: which regions hold what an event says. A context may name the regions that hold the payloads of its events
 * (rules.h, payload_regions); every other region holds their entries alone, and can verify and cosign all the same.
 * Pure functions of the table of contexts: whoever sends, whoever stores and whoever audits decides by these, at the
 * moment of sending, storing or auditing. A context that is not in force, because its creation came too late, is
 * treated as that creation says: its entries are in logs all the same. One that nothing has created yet nobody can
 * decide about, and a copy of the log waits there for the definition, which its home had when it accepted them.
 *
 * Control events are the system's own: every region obeys them, so every region holds them whole, whatever context they
 * are about. A queued command, which carries what a client said, is therefore only kept for contexts that every region
 * holds whole (region/elsewhere.c). One of a kind that this version does not know may hold anything, so it is treated
 * like a client's. */
#ifndef DOMAIN_RESIDENCY_H
#define DOMAIN_RESIDENCY_H

#include "domain/context.h"
#include "entry/entry.h"

enum residency {
    RESIDENCY_HELD,     /* the region holds the payload, and an entry without it is not whole there */
    RESIDENCY_WITHHELD, /* the region may not hold it */
    RESIDENCY_UNKNOWN,  /* the table does not know the context: nobody may decide yet */
};

enum residency residency_of(const struct context_table *contexts, struct bytes region, const struct entry *entry);

/* Whether a home, an operator's command or a projection of the region may have to do with payloads of the context; true
 * for a context that the table does not know, which is refused elsewhere. */
bool residency_allows(const struct context_table *contexts, struct bytes region, struct bytes context);

/* The first context whose payloads `puller` holds and `source` may not; NULL when there is none: then `source` can give
 * `puller` any log whole. */
const char *residency_lacks(const struct context_table *contexts, struct bytes source, struct bytes puller);

#endif
